//! Which unit announced which host name, remembered in the own application bag.
//!
//! The mirror alone cannot tell a host from its namesake: a token is for one host name and serves
//! once, so a second unit under the same name waits for ever. The memory also lets a standby that
//! takes over tell hosts that left meanwhile. It is written only together with other news.
//!
//! On the wire: key [`databag::HOSTS`], a JSON object of host name to unit name; several units in
//! the order of their coming, separated by spaces, where more than one announced the name.

use std::borrow::Cow;
use std::collections::{BTreeSet, HashMap, HashSet};
use std::fmt;

use serde::de::{MapAccess, Visitor};
use serde::{Deserialize, Deserializer};

use crate::databag::{self, HOSTNAME, HOSTS};
use crate::mirror::Mirror;
use crate::snapshot::{Scope, Snapshot, UnitName};

/// A host name and the unit that announces it now.
pub type Announced<'a> = (&'a str, &'a UnitName);

/// Host names with the units that announced them, first comer first.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Hosts {
    /// In the order of names.
    claims: Vec<Claim>,
}

type Claim = (String, Vec<UnitName>);

impl Hosts {
    /// What the own application bags remember. A text that is not ours counts as no memory.
    pub fn remembered(facts: &Snapshot) -> Self {
        let bags = facts.relations.values().map(|relation| &relation.own_app);
        let mut texts: Vec<&str> = bags
            .filter_map(|bag| Some(bag.get(HOSTS)?.as_str()))
            .collect();
        // Relations end equal.
        texts.dedup();
        Hosts::from_texts(&texts)
    }

    fn from_texts(texts: &[&str]) -> Self {
        let mut hosts = Hosts::default();
        for text in texts {
            if let Ok(Memory(claims)) = serde_json::from_str(text) {
                hosts.claims.extend(claims);
            }
        }
        hosts.settle();
        hosts
    }

    /// Makes one claim of all claims to a name, earlier ones first.
    fn settle(&mut self) {
        self.claims.sort_by(|(one, _), (other, _)| one.cmp(other));
        self.claims.dedup_by(|(later, units), (name, first)| {
            let same = later == name;
            if same {
                first.append(units);
            }
            same
        });
        for (_, units) in &mut self.claims {
            if units.len() > 1 {
                let mut seen = HashSet::new();
                units.retain(|unit| seen.insert(unit.clone()));
            }
        }
        self.claims.retain(|(_, units)| !units.is_empty());
    }

    /// Brings the memory up to date. Returns the host names that nobody announces any more and
    /// that still wait for a token: their placeholders must go.
    ///
    /// The first unit of a name whose token is known stays in the memory when it leaves, because
    /// it may have spent that token.
    pub fn update(
        &mut self,
        facts: &Snapshot,
        announced: &[Announced<'_>],
        mirror: &Mirror<'_>,
    ) -> BTreeSet<String> {
        let name_of: HashMap<&UnitName, &str> = announced
            .iter()
            .map(|(name, unit)| (*unit, *name))
            .collect();
        let gone = gone(facts);

        let mut steady: HashSet<&UnitName> = HashSet::new();
        let mut dropped = BTreeSet::new();
        self.claims.retain_mut(|(name, units)| {
            let spent = || mirror.has_real(&databag::mirror_key(name));
            let mut is_first = true;
            units.retain(|unit| {
                let first = std::mem::replace(&mut is_first, false);
                let stays = match name_of.get_key_value(unit) {
                    Some((unit, now)) => {
                        let same = memo(now) == *name;
                        steady.extend(same.then_some(*unit));
                        same
                    }
                    None => !gone(unit),
                };
                stays || (first && spent())
            });
            if units.is_empty() {
                dropped.insert(name.clone());
            }
            !units.is_empty()
        });
        // A bag from before this memory existed knows the host only by its placeholder.
        let departed = facts.departed.as_ref();
        dropped.extend(
            departed
                .and_then(|departed| departed.bag.get(HOSTNAME))
                .cloned(),
        );

        let news = announced
            .iter()
            .filter(|(name, unit)| !(steady.contains(unit) && name_of[unit] == *name))
            .map(|(name, unit)| (memo(name).into_owned(), vec![(*unit).clone()]));
        self.claims.extend(news);
        self.settle();
        dropped.retain(|name| self.place(name).is_err());
        dropped
    }

    fn place(&self, name: &str) -> Result<usize, usize> {
        let claims = &self.claims;
        claims.binary_search_by(|(claimed, _)| claimed.as_str().cmp(name))
    }

    /// Drops all memory of a host.
    pub fn forget(&mut self, name: &str) {
        if let Ok(place) = self.place(name) {
            self.claims.remove(place);
        }
    }

    /// The text for the databag, or `None` where there is nothing to remember.
    pub fn to_text(&self) -> Option<String> {
        if self.claims.is_empty() {
            return None;
        }
        let mut text = String::from("{");
        for (name, units) in &self.claims {
            if text.len() > 1 {
                text.push(',');
            }
            // A string always has a JSON form.
            text.extend(serde_json::to_string(name));
            text.push_str(":\"");
            for (place, unit) in units.iter().enumerate() {
                if place > 0 {
                    text.push(' ');
                }
                text.push_str(unit.as_str());
            }
            text.push('"');
        }
        text.push('}');
        Some(text)
    }

    /// Host names with the units that announced them, in order of name.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &[UnitName])> {
        self.claims
            .iter()
            .map(|(name, units)| (name.as_str(), units.as_slice()))
    }
}

/// The host names that units announce now, in (relation, unit) order.
pub fn announced(facts: &Snapshot) -> Vec<Announced<'_>> {
    facts
        .relations
        .values()
        .flat_map(|relation| &relation.units)
        .filter_map(|(unit, bag)| Some((bag.get(HOSTNAME)?.as_str(), unit)))
        .filter(|(hostname, _)| !hostname.is_empty())
        .collect()
}

/// Of what units announce now, the mirror keys of names that can have a token and are not in the
/// mirror.
pub fn placeholders<'a>(
    announced: &[Announced<'a>],
    mirror: &Mirror<'_>,
) -> Vec<(String, &'a UnitName)> {
    announced
        .iter()
        .map(|(name, unit)| (name, databag::mirror_key(name), *unit))
        .filter(|(name, key, _)| mirror.get(key).is_none() && databag::is_hostname(name))
        .map(|(_, key, unit)| (key, unit))
        .collect()
}

/// What one application bag remembers, in the order of its text: a map would look up each name only
/// to find that it comes last.
struct Memory(Vec<Claim>);

impl<'de> Deserialize<'de> for Memory {
    fn deserialize<D: Deserializer<'de>>(text: D) -> Result<Self, D::Error> {
        text.deserialize_map(ReadMemory)
    }
}

struct ReadMemory;

impl<'de> Visitor<'de> for ReadMemory {
    type Value = Memory;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("host names with their units")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Memory, A::Error> {
        let mut claims = Vec::new();
        while let Some((name, units)) = map.next_entry::<String, String>()? {
            let units = units.split(' ').filter_map(|unit| unit.parse().ok());
            claims.push((name, units.collect()));
        }
        Ok(Memory(claims))
    }
}

/// A name as it is remembered: no unit can fill our bag with one that no host has.
fn memo(hostname: &str) -> Cow<'_, str> {
    if hostname.len() <= 255 {
        hostname.into()
    } else {
        databag::printable(hostname).into()
    }
}

/// Tells a unit that is certainly not there any more: this hook says so, or everything was read,
/// and Juju neither shows it nor expects it.
fn gone(facts: &Snapshot) -> impl Fn(&UnitName) -> bool {
    let relation_with = |app: &str| {
        let mut relations = facts.relations.values();
        relations.find(|relation| relation.remote_app.as_deref() == Some(app))
    };
    let whole = facts.scope == Scope::Whole;
    move |unit| {
        if facts
            .departed
            .as_ref()
            .is_some_and(|departed| departed.unit == *unit)
        {
            return true;
        }
        whole
            && relation_with(unit.app()).is_some_and(|relation| {
                let expected = relation.expected.as_ref();
                !relation.units.contains_key(unit)
                    && expected.is_some_and(|expected| !expected.contains(unit))
            })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_is_forgotten_alone() {
        let mut hosts = Hosts::from_texts(&[r#"{"h0":"a/0","h1":"a/1 b/1"}"#]);
        hosts.forget("h0");
        assert_eq!(hosts.to_text().as_deref(), Some(r#"{"h1":"a/1 b/1"}"#));
        hosts.forget("h1");
        assert_eq!(hosts.to_text(), None);
    }

    #[test]
    fn a_name_longer_than_any_host_has_is_cut() {
        assert_eq!(memo(&"x".repeat(255)), "x".repeat(255));
        assert!(memo(&"x".repeat(256)).len() < 100);
    }
}

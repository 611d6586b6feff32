//! Which unit announced which host name, remembered in the own application bag.
//!
//! The mirror alone cannot tell a host from its namesake: a token is for one host name and serves
//! once, so a second unit under the same name waits for ever. The memory also lets a standby that
//! takes over tell hosts that left meanwhile. It is written only together with other news.
//!
//! On the wire: key [`databag::HOSTS`], a JSON object of host name to unit name; several units in
//! the order of their coming, separated by spaces, where more than one announced the name.

use std::borrow::Cow;
use std::cell::LazyCell;
use std::cmp::Ordering;
use std::collections::BTreeSet;

use serde::Deserialize;

use crate::databag::{self, HOSTNAME, HOSTS};
use crate::entries::Entries;
use crate::snapshot::{Scope, Snapshot, UnitName};

/// A host name that a unit announces now.
#[derive(Clone, Copy, Debug)]
pub struct Announced<'a> {
    /// The host name.
    pub name: &'a str,
    /// The unit.
    pub unit: &'a UnitName,
    /// Its place in (relation, unit) order.
    pub place: usize,
}

/// Host names with the units that announced them, first comer first.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Hosts<'a> {
    /// In the order of names.
    claims: Vec<Claim<'a>>,
}

type Claim<'a> = (Cow<'a, str>, Vec<&'a str>);

impl<'a> Hosts<'a> {
    /// What the own application bags remember. A text that is not ours counts as no memory.
    pub fn remembered(facts: &'a Snapshot) -> Self {
        let bags = facts.relations.values().map(|relation| &relation.own_app);
        let mut texts: Vec<&str> = bags
            .filter_map(|bag| Some(bag.get(HOSTS)?.as_str()))
            .collect();
        // Relations end equal.
        texts.dedup();
        Hosts::from_texts(&texts)
    }

    fn from_texts(texts: &[&'a str]) -> Self {
        let mut claims = Vec::new();
        for text in texts {
            if let Ok(Entries(entries)) = serde_json::from_str(text) {
                claims.extend(entries.into_iter().map(claim));
            }
        }
        Hosts::settled(claims)
    }

    /// Makes one claim of all claims to a name, earlier ones first.
    fn settled(mut claims: Vec<Claim<'a>>) -> Self {
        claims.sort_by(|(one, _), (other, _)| one.cmp(other));
        claims.dedup_by(|(later, units), (name, first)| {
            let same = later == name;
            if same {
                first.append(units);
            }
            same
        });
        for (_, units) in &mut claims {
            keep_first_mentions(units);
        }
        claims.retain(|(_, units)| !units.is_empty());
        Hosts { claims }
    }

    /// Brings the memory up to date. Returns the host names that nobody announces any more and
    /// that still wait for a token: their placeholders must go.
    ///
    /// The first unit of a name that `has_value` stays in the memory when it leaves, because it may
    /// have spent that token.
    pub fn update(
        &mut self,
        facts: &'a Snapshot,
        announced: &[Announced<'a>],
        has_value: impl Fn(&str) -> bool,
    ) -> BTreeSet<String> {
        let now = announced.iter();
        let now = now.map(|host| (memo(host.name), vec![host.unit.as_str()]));
        let mut now = Hosts::settled(now.collect()).claims.into_iter().peekable();

        // Looked at only for a unit that does not say what it said before.
        let announcers = LazyCell::new(|| -> BTreeSet<&str> {
            let units = announced.iter().map(|host| host.unit.as_str());
            units.collect()
        });
        let gone = gone(facts);
        let mut dropped = BTreeSet::new();
        for (name, mut units) in std::mem::take(&mut self.claims) {
            let mut claimants = loop {
                match now.peek().map(|(other, _)| other.cmp(&name)) {
                    Some(Ordering::Less) => self.claims.extend(now.next()),
                    Some(Ordering::Equal) => break now.next().unwrap_or_default().1,
                    _ => break Vec::new(),
                }
            };
            // Most units say what they said before.
            if units != claimants {
                let current: BTreeSet<&str> = claimants.iter().copied().collect();
                let mut is_first = true;
                units.retain(|unit| {
                    let is_first = std::mem::take(&mut is_first);
                    current.contains(unit)
                        || !announcers.contains(unit) && !gone(unit)
                        || is_first && has_value(&name)
                });
                units.append(&mut claimants);
                keep_first_mentions(&mut units);
            }
            if units.is_empty() {
                dropped.insert(name.into_owned());
            } else {
                self.claims.push((name, units));
            }
        }
        self.claims.extend(now);

        // A bag from before this memory existed knows the host only by its placeholder.
        let departed = facts.departed.as_ref();
        dropped.extend(
            departed
                .and_then(|departed| departed.bag.get(HOSTNAME))
                .cloned(),
        );
        dropped.retain(|name| self.place(name).is_err());
        dropped
    }

    fn place(&self, name: &str) -> Result<usize, usize> {
        let claims = &self.claims;
        claims.binary_search_by(|(claimed, _)| claimed.as_ref().cmp(name))
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
        let mut text = vec![b'{'];
        for (name, units) in &self.claims {
            if text.len() > 1 {
                text.push(b',');
            }
            // A string always has a JSON form, and memory takes it.
            let _ = serde_json::to_writer(&mut text, name);
            text.extend_from_slice(b":\"");
            for (place, unit) in units.iter().enumerate() {
                if place > 0 {
                    text.push(b' ');
                }
                text.extend_from_slice(unit.as_bytes());
            }
            text.push(b'"');
        }
        text.push(b'}');
        String::from_utf8(text).ok()
    }

    /// Host names with the units that announced them, in order of name.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &[&'a str])> {
        self.claims
            .iter()
            .map(|(name, units)| (name.as_ref(), units.as_slice()))
    }
}

fn keep_first_mentions(units: &mut Vec<&str>) {
    if units.len() > 1 {
        let mut seen = BTreeSet::new();
        units.retain(|unit| seen.insert(*unit));
    }
}

/// The host names that units announce now, in the order of names, as they are remembered, and then
/// of (relation, unit).
pub fn announced(facts: &Snapshot) -> Vec<Announced<'_>> {
    let units = facts
        .relations
        .values()
        .flat_map(|relation| &relation.units)
        .filter_map(|(unit, bag)| Some((bag.get(HOSTNAME)?.as_str(), unit)))
        .filter(|(hostname, _)| !hostname.is_empty());
    let mut announced: Vec<Announced<'_>> = units
        .enumerate()
        .map(|(place, (name, unit))| Announced { name, unit, place })
        .collect();
    announced.sort_by(|one, other| memo(one.name).cmp(&memo(other.name)));
    announced
}

/// Borrowed from the text where it stands there without escapes.
#[derive(Deserialize)]
struct Text<'a>(#[serde(borrow)] Cow<'a, str>);

fn claim<'a>((Text(name), Text(units)): (Text<'a>, Text<'a>)) -> Claim<'a> {
    let units = match units {
        Cow::Borrowed(units) => units.split(' ').filter(|unit| UnitName::is(unit)).collect(),
        // No unit has a name that needs escapes.
        Cow::Owned(_) => Vec::new(),
    };
    (name, units)
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
fn gone(facts: &Snapshot) -> impl Fn(&str) -> bool {
    let departed = facts.departed.as_ref();
    let departed = departed.map(|departed| departed.unit.as_str());
    let is_absent = |unit: &UnitName| {
        let mut relations = facts.relations.values();
        let relation =
            relations.find(|relation| relation.remote_app.as_deref() == Some(unit.app()));
        relation.is_some_and(|relation| {
            let expected = relation.expected.as_ref();
            !relation.units.contains_key(unit)
                && expected.is_some_and(|expected| !expected.contains(unit))
        })
    };
    move |unit| {
        departed == Some(unit)
            || facts.scope == Scope::Whole && unit.parse().is_ok_and(|unit| is_absent(&unit))
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

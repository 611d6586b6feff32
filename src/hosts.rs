//! Which unit announced which host name, remembered in the own application bag.
//!
//! The mirror alone cannot tell a host from its namesake: a token is for one host name and serves
//! once, so a second unit under the same name waits for ever. The memory also lets a standby that
//! takes over tell hosts that left meanwhile. It is written only together with other news.
//!
//! On the wire: key [`databag::HOSTS`], a JSON object of host name to unit name; several units in
//! the order of their coming, separated by spaces, where more than one announced the name.

use std::borrow::Cow;
use std::cell::OnceCell;
use std::collections::{BTreeMap, BTreeSet, HashMap};

use crate::databag::{self, HOSTNAME, HOSTS};
use crate::mirror::Mirror;
use crate::snapshot::{Scope, Snapshot, UnitName};

/// A host name and the unit that announces it now.
pub type Announced<'a> = (&'a str, &'a UnitName);

/// Host names with the units that announced them, first comer first.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Hosts {
    claims: BTreeMap<String, Vec<UnitName>>,
}

impl Hosts {
    /// What the own application bags remember. A text that is not ours counts as no memory.
    pub fn remembered(facts: &Snapshot) -> Self {
        let mut hosts = Hosts::default();
        for relation in facts.relations.values() {
            hosts.merge(relation.own_app.get(HOSTS).map_or("", String::as_str));
        }
        hosts
    }

    fn merge(&mut self, text: &str) {
        let Ok(remembered) = serde_json::from_str::<BTreeMap<String, String>>(text) else {
            return;
        };
        for (name, units) in remembered {
            for unit in units.split(' ').filter_map(|unit| unit.parse().ok()) {
                self.claim(Cow::Borrowed(&name), &unit);
            }
        }
    }

    fn claim(&mut self, name: Cow<'_, str>, unit: &UnitName) {
        match self.claims.get_mut(&*name) {
            Some(units) if units.contains(unit) => {}
            Some(units) => units.push(unit.clone()),
            None => {
                self.claims.insert(name.into_owned(), vec![unit.clone()]);
            }
        }
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
        let names: OnceCell<HashMap<&UnitName, &str>> = OnceCell::new();
        let collected = || {
            announced
                .iter()
                .map(|(name, unit)| (*unit, *name))
                .collect()
        };
        let name_of = |unit: &UnitName| names.get_or_init(collected).get(unit).copied();
        let gone = gone(facts);

        // Claims, announcements and the mirror are in the order of names, so they are walked
        // together: a hundred thousand look-ups would cost more than all the rest.
        let mut spent = mirror.real_names().peekable();
        let mut rest = announced;
        let mut news: Vec<Announced<'_>> = Vec::new();
        let mut dropped = BTreeSet::new();
        self.claims.retain(|name, units| {
            let (earlier, later) = split(rest, |now| now < name.as_str());
            let (here, later) = split(later, |now| now == name);
            rest = later;
            while spent.next_if(|spent| *spent < name.as_str()).is_some() {}
            let spent = spent.peek() == Some(&name.as_str());

            let mut is_first = true;
            units.retain(|unit| {
                let first = std::mem::replace(&mut is_first, false);
                let announces_it =
                    memo(name) == *name && here.iter().any(|(_, here)| *here == unit);
                let renamed = || name_of(unit).is_some_and(|now| memo(now) != *name);
                (spent && first) || !(gone(unit) || !announces_it && renamed())
            });
            news.extend(earlier);
            news.extend(here.iter().filter(|(_, unit)| !units.contains(unit)));
            if units.is_empty() {
                dropped.insert(name.clone());
            }
            !units.is_empty()
        });
        news.extend(rest);
        // A bag from before this memory existed knows the host only by its placeholder.
        let departed = facts.departed.as_ref();
        dropped.extend(
            departed
                .and_then(|departed| departed.bag.get(HOSTNAME))
                .cloned(),
        );

        for (hostname, unit) in news {
            self.claim(memo(hostname), unit);
        }
        dropped.retain(|name| !self.claims.contains_key(name));
        dropped
    }

    /// Drops all memory of a host.
    pub fn forget(&mut self, name: &str) {
        self.claims.remove(name);
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
            text.push_str(&serde_json::Value::from(name.as_str()).to_string());
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

/// Of what units announce now, the mirror keys of names that can have a token and are not in the
/// mirror.
pub fn placeholders<'a>(
    announced: &[Announced<'a>],
    mirror: &Mirror<'_>,
) -> Vec<(String, &'a UnitName)> {
    let mut known = mirror.names().peekable();
    let mut is_known = |name: &str| {
        while known.next_if(|known| *known < name).is_some() {}
        known.peek() == Some(&name)
    };
    let names = announced.iter();
    names
        .filter(|(hostname, _)| !is_known(hostname))
        .filter(|(hostname, _)| databag::is_hostname(hostname))
        .map(|(hostname, unit)| (databag::mirror_key(hostname), *unit))
        .collect()
}

/// The host names that units announce now, in order; units of one name are in theirs.
pub fn announced(facts: &Snapshot) -> Vec<Announced<'_>> {
    let units = facts
        .relations
        .values()
        .flat_map(|relation| &relation.units);
    let mut announced: Vec<_> = units
        .filter_map(|(unit, bag)| Some((bag.get(HOSTNAME)?.as_str(), unit)))
        .filter(|(hostname, _)| !hostname.is_empty())
        .collect();
    announced.sort_by_key(|(hostname, _)| *hostname);
    announced
}

/// What `holds` at the beginning, and what comes after it.
fn split<'a, 'b>(
    announced: &'b [Announced<'a>],
    holds: impl Fn(&str) -> bool,
) -> (&'b [Announced<'a>], &'b [Announced<'a>]) {
    let end = announced.iter().position(|(name, _)| !holds(name));
    announced.split_at(end.unwrap_or(announced.len()))
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
        let mut hosts = Hosts::default();
        hosts.merge(r#"{"h0":"a/0","h1":"a/1 b/1"}"#);
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

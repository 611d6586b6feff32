//! Retiring a host: the one way in which a real value of the mirror is replaced, because an
//! operator says so.
//!
//! A token that was used or has expired is worthless to its host, and a secret in a databag all the
//! same. Taking the key away would only make the placeholder, and then another token, come back;
//! so a short constant stays in its place. It is a real value by the rules of the mirror, and a
//! real value is never replaced: a communicator that still shows the token does not bring it back.

use std::collections::BTreeMap;

use crate::databag::{
    self, Change, Changes, Databag, HOSTNAME, HOSTS, RETIRED, is_real, mirror_key,
};
use crate::hosts::Hosts;
use crate::reconcile::Writes;
use crate::snapshot::{RelationId, Snapshot, UnitName};

/// Whether a host is retired that a living unit still announces.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Force {
    /// No: its unit may still need the token.
    No,
    /// Yes: the operator knows better.
    Yes,
}

/// What retiring a host means for our bags.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Retirement {
    /// The changes; none if the host was retired before.
    pub writes: BTreeMap<RelationId, Writes>,
    /// What becomes of the host's key.
    pub outcome: Outcome,
}

/// What becomes of a retired host's key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Its value is replaced by [`RETIRED`].
    Retired,
    /// It goes: it had no value yet, and no unit announces the host.
    Removed,
    /// It was retired before.
    Unchanged,
}

impl Outcome {
    /// The word for it.
    pub fn as_str(self) -> &'static str {
        match self {
            Outcome::Retired => "retired",
            Outcome::Removed => "removed",
            Outcome::Unchanged => "unchanged",
        }
    }
}

/// Why a host cannot be retired.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NotRetired {
    /// None of our bags has a key for it.
    Unknown,
    /// A unit announces it.
    Announced(UnitName),
}

/// Decides what retiring `host` changes. `facts` must show the whole world.
///
/// # Errors
/// When the host is unknown, or a living unit announces it and `force` does not say otherwise.
pub fn retire(facts: &Snapshot, host: &str, force: Force) -> Result<Retirement, NotRetired> {
    let key = mirror_key(host);
    let own_bags = || {
        let relations = facts.relations.values();
        relations.flat_map(|relation| std::iter::once(&relation.own_app).chain(&relation.own_unit))
    };
    if !own_bags().any(|bag| bag.contains_key(&key)) {
        return Err(NotRetired::Unknown);
    }
    let announcer = facts
        .relations
        .values()
        .flat_map(|relation| &relation.units)
        .find(|(_, bag)| bag.get(HOSTNAME).is_some_and(|name| name == host));
    if let (Some((unit, _)), Force::No) = (announcer, force) {
        return Err(NotRetired::Announced(unit.clone()));
    }

    let has_value = own_bags().any(|bag| bag.get(&key).is_some_and(|value| is_real(value)));
    // A placeholder that is taken from a host that announces itself would come back at once.
    let removed = !has_value && announcer.is_none();
    let target = (!removed).then_some(RETIRED);
    let memory = removed.then(|| {
        let mut hosts = Hosts::remembered(facts);
        hosts.forget(host);
        hosts.to_text()
    });

    let mut writes = BTreeMap::new();
    for (id, relation) in &facts.relations {
        let mut app = difference(&relation.own_app, &key, target);
        if let Some(memory) = &memory {
            app.extend(difference(&relation.own_app, HOSTS, memory.as_deref()));
        }
        let own_unit = relation.own_unit.as_ref();
        let unit = own_unit.map_or_else(Changes::new, |bag| difference(bag, &key, target));
        let both = Writes { app, unit };
        if both != Writes::default() {
            writes.insert(*id, both);
        }
    }
    let outcome = match (writes.is_empty(), removed) {
        (true, _) => Outcome::Unchanged,
        (_, true) => Outcome::Removed,
        (_, false) => Outcome::Retired,
    };
    Ok(Retirement { writes, outcome })
}

fn difference(bag: &Databag, key: &str, target: Option<&str>) -> Changes {
    let change = match (bag.get(key), target) {
        (Some(held), Some(target)) if held == target => return Changes::new(),
        (None, None) => return Changes::new(),
        (_, Some(target)) => Change::Set(target.to_owned()),
        (Some(_), None) => Change::Remove,
    };
    Changes::from([(key.to_owned(), change)])
}

/// The facts as they are once `writes` are made.
pub fn after(facts: &Snapshot, writes: &BTreeMap<RelationId, Writes>) -> Snapshot {
    let mut facts = facts.clone();
    for (id, relation) in &mut facts.relations {
        if let Some(Writes { app, unit }) = writes.get(id) {
            databag::apply(&mut relation.own_app, app);
            if let Some(own_unit) = &mut relation.own_unit {
                databag::apply(own_unit, unit);
            }
        }
    }
    facts
}

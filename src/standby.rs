//! What a distributor unit that is not leader does: step back once another unit is up, and guard
//! applications that must not bootstrap.
//!
//! A standby may not read the application bags (Juju 3 refuses), so it learns what is decided from
//! the unit bags of its siblings, which are readable by name.

use std::collections::{BTreeMap, BTreeSet};

use crate::bootstrap::must_not_bootstrap;
use crate::databag::{
    self, BOOTSTRAP_APP, Change, Changes, DOWN, Databag, GUARD, GUARD_VALUE, MIRROR, is_real,
};
use crate::snapshot::{RelationId, is_cross_model};

/// What a standby knows of one relation.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct StandbyRelation {
    /// The remote application, where it was asked for.
    pub remote_app: Option<String>,
    /// Whether goal-state expects a unit of that application.
    pub has_units: bool,
    /// Our unit's bag.
    pub own_unit: Databag,
    /// The bags of the other distributor units in this relation; empty where there are none or
    /// none was read.
    pub siblings: Vec<Databag>,
}

/// Changes of the own unit bags, by relation.
pub type StandbyPlan = BTreeMap<RelationId, Changes>;

/// Decides what a standby's unit bags should hold. `configured` is the option `bootstrap-app`.
pub fn stand_by(
    relations: &BTreeMap<RelationId, StandbyRelation>,
    configured: Option<&str>,
) -> StandbyPlan {
    let siblings = || relations.values().flat_map(|relation| &relation.siblings);
    let published = siblings()
        .filter(|bag| databag::is_up(bag))
        .find_map(|bag| bag.get(BOOTSTRAP_APP).map(String::as_str));
    let bootstrap = configured.or(published).or_else(|| foreseen(relations));
    let clustered = siblings()
        .flat_map(databag::mirror_of)
        .any(|(_, value)| is_real(value));

    let apps: BTreeSet<&str> = relations
        .values()
        .filter_map(|relation| relation.remote_app.as_deref())
        .collect();

    let mut plan = StandbyPlan::new();
    for (id, relation) in relations {
        let mut changes = Changes::new();
        if steps_back(relation) {
            changes.insert(MIRROR.to_owned(), Change::Set(DOWN.to_owned()));
        }
        let elsewhere = match (bootstrap, relation.remote_app.as_deref()) {
            (Some(bootstrap), Some(app)) => must_not_bootstrap(app, bootstrap, &apps),
            _ => false,
        };
        let guarded = relation.own_unit.contains_key(GUARD);
        if (clustered || elsewhere) && !guarded && !shows_a_value(&relation.own_unit) {
            changes.insert(GUARD.to_owned(), Change::Set(GUARD_VALUE.to_owned()));
        } else if guarded && !clustered && bootstrap.is_some() && !elsewhere {
            // It was another application's turn when the guard went up.
            changes.insert(GUARD.to_owned(), Change::Remove);
        }
        if !changes.is_empty() {
            plan.insert(*id, changes);
        }
    }
    plan
}

/// Whom the leader will choose, as long as none has spoken: consumers may look at this unit first.
/// Only the leader learns whether an application of another model has units.
fn foreseen(relations: &BTreeMap<RelationId, StandbyRelation>) -> Option<&str> {
    let mut siblings = relations.values().flat_map(|relation| &relation.siblings);
    let somebody_led = siblings.any(|bag| bag.contains_key(MIRROR));
    let is_ours = |relation: &StandbyRelation| {
        let app = relation.remote_app.as_deref();
        app.is_some_and(|app| !is_cross_model(app))
    };
    if somebody_led || !relations.values().all(is_ours) {
        return None;
    }
    let first = relations.values().find(|relation| relation.has_units);
    first.and_then(|relation| relation.remote_app.as_deref())
}

/// A unit that led keeps its mirror up until another unit's is: consumers read only mirrors that
/// are up, and with none they neither mint nor join. Without a sibling there is nobody to wait for.
fn steps_back(relation: &StandbyRelation) -> bool {
    databag::is_up(&relation.own_unit)
        && (relation.siblings.is_empty() || relation.siblings.iter().any(databag::is_up))
}

/// Any real value keeps a released consumer from bootstrapping, even in a bag that is not up.
fn shows_a_value(own_unit: &Databag) -> bool {
    databag::mirror_of(own_unit).any(|(_, value)| is_real(value))
}

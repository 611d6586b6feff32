//! Builders for snapshots, so that a test states only what matters to it.

use std::collections::BTreeMap;

use microcluster_token_distributor::databag::{Change, Databag};
use microcluster_token_distributor::reconcile::{Plan, Writes};
use microcluster_token_distributor::snapshot::{
    Departed, Relation, RelationId, Scope, Snapshot, UnitName,
};

/// A databag from pairs.
pub(crate) fn bag<const N: usize>(pairs: [(&str, &str); N]) -> Databag {
    pairs
        .map(|(key, value)| (key.to_owned(), value.to_owned()))
        .into()
}

pub(crate) fn unit(name: &str) -> UnitName {
    name.parse().expect("a unit name")
}

/// Starts a snapshot without relations.
pub(crate) fn world() -> World {
    World::default()
}

#[derive(Clone, Default)]
pub(crate) struct World(pub(crate) Snapshot);

impl World {
    /// Adds a relation whose own bags are empty.
    pub(crate) fn relation(mut self, id: u64, app: &str) -> Self {
        let relation = Relation {
            remote_app: Some(app.to_owned()),
            own_unit: Some(Databag::new()),
            ..Relation::default()
        };
        self.0.relations.insert(RelationId(id), relation);
        self
    }

    /// Adds a unit to the latest relation.
    pub(crate) fn unit<const N: usize>(mut self, name: &str, pairs: [(&str, &str); N]) -> Self {
        self.latest().units.insert(unit(name), bag(pairs));
        self
    }

    /// What goal-state says of the latest relation.
    pub(crate) fn expects<const N: usize>(mut self, units: [&str; N]) -> Self {
        self.latest().expected = Some(units.map(unit).into());
        self
    }

    pub(crate) fn own_app<const N: usize>(mut self, pairs: [(&str, &str); N]) -> Self {
        self.latest().own_app = bag(pairs);
        self
    }

    pub(crate) fn own_unit<const N: usize>(mut self, pairs: [(&str, &str); N]) -> Self {
        self.latest().own_unit = Some(bag(pairs));
        self
    }

    pub(crate) fn configured(mut self, bootstrap_app: &str) -> Self {
        self.0.config.bootstrap_app = Some(bootstrap_app.to_owned());
        self
    }

    pub(crate) fn log_level(mut self, log_level: &str) -> Self {
        self.0.config.log_level = Some(log_level.to_owned());
        self
    }

    pub(crate) fn departed<const N: usize>(mut self, name: &str, pairs: [(&str, &str); N]) -> Self {
        self.0.departed = Some(Departed {
            unit: unit(name),
            bag: bag(pairs),
        });
        self
    }

    /// What one event shows: no unit bag of ours was read.
    pub(crate) fn part(mut self) -> Self {
        self.0.scope = Scope::Part;
        for relation in self.0.relations.values_mut() {
            relation.own_unit = None;
        }
        self
    }

    fn latest(&mut self) -> &mut Relation {
        let latest = self.0.relations.iter_mut().next_back();
        latest.expect("a relation first").1
    }
}

/// What Juju makes of the plan: the bags after the hook.
pub(crate) fn after(facts: &Snapshot, plan: &Plan) -> Snapshot {
    let mut facts = facts.clone();
    facts.departed = None;
    for (id, Writes { app, unit }) in &plan.writes {
        let relation = facts
            .relations
            .get_mut(id)
            .expect("only relations that exist are written");
        apply(&mut relation.own_app, app);
        let own_unit = relation.own_unit.as_mut();
        match own_unit {
            Some(own_unit) => apply(own_unit, unit),
            None => assert!(unit.is_empty(), "a bag that was not read is not written"),
        }
    }
    facts
}

fn apply(bag: &mut Databag, changes: &BTreeMap<String, Change>) {
    for (key, change) in changes {
        match change {
            Change::Set(value) => bag.insert(key.clone(), value.clone()),
            Change::Remove => bag.remove(key),
        };
    }
}

//! Builders, so that a test states only what matters to it.

use microcluster_token_distributor::core::everything;
use microcluster_token_distributor::core::evidence::{Relation, World};
use microcluster_token_distributor::core::ledger::{Ledger, Options, Place};
use microcluster_token_distributor::core::names::{RelationId, UnitName};
use microcluster_token_distributor::core::plan::{self, Plan};
use microcluster_token_distributor::core::queue::Moment;
use microcluster_token_distributor::core::wire::{Change, Changes, Databag};

/// Keys and their values.
pub(crate) type Pairs<'a> = &'a [(&'a str, &'a str)];

/// A databag from pairs.
pub(crate) fn bag(pairs: Pairs<'_>) -> Databag {
    let owned = pairs
        .iter()
        .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()));
    owned.collect()
}

/// A ledger from the pairs of its databag.
pub(crate) fn ledger(pairs: Pairs<'_>) -> Ledger {
    Ledger::from(bag(pairs))
}

pub(crate) fn unit(name: &str) -> UnitName {
    name.parse().expect("a unit name")
}

/// The distributor unit that leads.
pub(crate) fn leader() -> UnitName {
    unit("d/0")
}

/// Of these tests' applications, those with a name that Juju makes are of another model.
pub(crate) fn place(app: &str) -> Place {
    match app.starts_with("remote-") {
        true => Place::Elsewhere,
        false => Place::Here,
    }
}

/// Changes as text: `key=value`, `key-` for one that goes, in the order of keys.
pub(crate) fn shown(changes: &Changes) -> String {
    let words = changes.iter().map(|(key, change)| match change {
        Change::Set(value) => format!("{key}={value}"),
        Change::Remove => format!("{key}-"),
    });
    words.collect::<Vec<_>>().join(" ")
}

/// All that a plan writes, a line for each bag.
pub(crate) fn written(plan: &Plan) -> Vec<String> {
    let mut lines = Vec::new();
    for (id, writes) in &plan.writes {
        for (bag, changes) in [("app", &writes.app), ("unit", &writes.unit)] {
            if !changes.is_empty() {
                lines.push(format!("{id} {bag}: {}", shown(changes)));
            }
        }
    }
    let ledger = plan.ledger_changes();
    if !ledger.is_empty() {
        lines.push(format!("ledger: {}", shown(&ledger)));
    }
    lines
}

/// Starts a world without relations.
pub(crate) fn world() -> Builder {
    Builder(World {
        units_were_read: true,
        siblings_are_news: true,
        ..World::default()
    })
}

#[derive(Clone)]
pub(crate) struct Builder(pub(crate) World);

impl Builder {
    /// Adds a relation whose own bags are empty and whose units goal-state does not list.
    pub(crate) fn relation(mut self, id: u64, app: &str) -> Self {
        let relation = Relation {
            app: app.to_owned(),
            place: place(app),
            own_app: Some(Databag::new()),
            own_unit: Some(Databag::new()),
            ..Relation::default()
        };
        self.0.relations.insert(RelationId(id), relation);
        self
    }

    /// Adds a unit to the latest relation.
    pub(crate) fn unit(mut self, name: &str, pairs: Pairs<'_>) -> Self {
        self.latest().units.insert(unit(name), bag(pairs));
        self
    }

    /// What goal-state says of the latest relation.
    pub(crate) fn expects(mut self, units: &[&str]) -> Self {
        self.latest().expected = Some(units.iter().map(|name| unit(name)).collect());
        self
    }

    pub(crate) fn own_app(mut self, pairs: Pairs<'_>) -> Self {
        self.latest().own_app = Some(bag(pairs));
        self
    }

    pub(crate) fn own_unit(mut self, pairs: Pairs<'_>) -> Self {
        self.latest().own_unit = Some(bag(pairs));
        self
    }

    /// What another distributor unit shows in the latest relation.
    pub(crate) fn sibling(mut self, name: &str, pairs: Pairs<'_>) -> Self {
        self.latest().siblings.insert(unit(name), bag(pairs));
        self
    }

    /// A relation that Juju lists and does not serve.
    pub(crate) fn passed_over(mut self, id: u64, app: &str) -> Self {
        let app = Some(app.to_owned());
        self.0.passed_over.insert(RelationId(id), app);
        self
    }

    pub(crate) fn option(mut self, bootstrap_app: &str) -> Self {
        self.0.options = Options {
            bootstrap_app: Some(bootstrap_app.to_owned()),
            ..Options::default()
        };
        self
    }

    /// What the leader plans when it looks at everything.
    pub(crate) fn plan(&self, before: &Ledger) -> Plan {
        let learned = everything::learned(before, &self.0, &leader());
        plan::of(before, learned, Some(&self.0), &Moment::default())
    }

    fn latest(&mut self) -> &mut Relation {
        let latest = self.0.relations.iter_mut().next_back();
        latest.expect("a relation first").1
    }
}

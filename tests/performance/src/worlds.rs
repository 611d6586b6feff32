//! Facts for the pure core, as large as needed.

use std::collections::BTreeMap;

use microcluster_token_distributor::core::everything;
use microcluster_token_distributor::core::evidence::{self, Relation};
use microcluster_token_distributor::core::ledger::Ledger;
use microcluster_token_distributor::core::names::{RelationId, UnitName};
use microcluster_token_distributor::core::plan::{self, Plan};
use microcluster_token_distributor::core::queue::Moment;
use microcluster_token_distributor::core::wire::{
    Databag, HOSTNAME, MIRROR, MIRROR_PREFIX, UP, apply, mirror_key,
};
use serde::{Deserialize, Serialize};

/// As long as one with a single member's address, shortened so that those of 100 000 hosts fit into
/// a databag.
const SHORT_TOKEN: usize = 80;

const RELATION: RelationId = RelationId(1);

/// What a leader remembers and what it sees.
#[derive(Clone, Debug, Default)]
pub struct Facts {
    /// What it remembers.
    pub ledger: Ledger,
    /// What it sees.
    pub world: evidence::World,
}

impl Facts {
    /// What it does when it looks at everything.
    pub fn plan(&self) -> Plan {
        let learned = everything::learned(&self.ledger, &self.world, &unit("distributor", 0));
        plan::of(&self.ledger, learned, Some(&self.world), &Moment::default())
    }
}

/// What the core is asked about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum World {
    /// Every unit has just announced itself.
    Burst,
    /// Every token is mirrored, nothing is new.
    AtRest,
    /// As before, and one more unit has announced itself.
    Newcomer,
}

impl World {
    /// All of them.
    pub const ALL: [World; 3] = [World::Burst, World::AtRest, World::Newcomer];

    /// A leader's view of it.
    pub fn facts(self, units: usize) -> Facts {
        match self {
            World::Burst => burst(units),
            World::AtRest => at_rest(units, |_| SHORT_TOKEN),
            World::Newcomer => {
                let mut facts = at_rest(units - 1, |_| SHORT_TOKEN);
                let (name, bag) = announcement(units - 1);
                of_relation(&mut facts).units.insert(name, bag);
                facts
            }
        }
    }

    /// What it is called in a table.
    pub fn title(self) -> &'static str {
        match self {
            World::Burst => "all announce themselves",
            World::AtRest => "nothing new",
            World::Newcomer => "one newcomer",
        }
    }
}

/// A host name as LXD machines of Juju have it.
pub fn hostname(number: usize) -> String {
    format!("juju-3f2a1b-{number}")
}

fn unit(app: &str, number: usize) -> UnitName {
    match format!("{app}/{number}").parse() {
        Ok(name) => name,
        Err(_) => unreachable!("an application and a number name a unit"),
    }
}

fn announcement(number: usize) -> (UnitName, Databag) {
    let text = str::to_owned;
    let bag = Databag::from([
        (text("egress-subnets"), text("10.0.0.1/32")),
        (text(HOSTNAME), hostname(number)),
        (text("ingress-address"), text("10.0.0.1")),
    ]);
    (unit("microovn", number), bag)
}

fn of_relation(facts: &mut Facts) -> &mut Relation {
    facts.world.relations.entry(RELATION).or_default()
}

/// A leader's view of one application in which every unit has just announced itself.
pub fn burst(units: usize) -> Facts {
    let relation = Relation {
        app: "microovn".to_owned(),
        units: (0..units).map(announcement).collect(),
        own_app: Some(Databag::new()),
        own_unit: Some(Databag::new()),
        ..Relation::default()
    };
    let world = evidence::World {
        relations: BTreeMap::from([(RELATION, relation)]),
        units_were_read: true,
        siblings_are_news: true,
        ..evidence::World::default()
    };
    Facts {
        ledger: Ledger::default(),
        world,
    }
}

/// The same, with a token from the first unit for everybody; `size` says how long each one is.
pub fn minted(units: usize, size: impl Fn(usize) -> usize) -> Facts {
    let mut facts = burst(units);
    if let Some(communicator) = of_relation(&mut facts).units.values_mut().next() {
        communicator.insert(MIRROR.to_owned(), UP.to_owned());
        communicator.extend((0..units).map(|number| {
            let token = "t".repeat(size(number));
            (mirror_key(&hostname(number)), token)
        }));
    }
    facts
}

/// The same, with everything mirrored: nothing is new, and what is shown already takes no turn.
pub fn at_rest(units: usize, size: impl Fn(usize) -> usize) -> Facts {
    let mut facts = minted(units, size);
    let relation = of_relation(&mut facts);
    let tokens = relation.units.values().next().into_iter().flatten();
    let tokens = tokens.filter(|(key, _)| key.starts_with(MIRROR_PREFIX));
    relation.own_unit = Some(
        tokens
            .map(|(key, token)| (key.clone(), token.clone()))
            .collect(),
    );
    let plan = facts.plan();
    facts.ledger = plan.ledger;
    for (id, writes) in plan.writes {
        if let Some(relation) = facts.world.relations.get_mut(&id) {
            apply(relation.own_app.get_or_insert_default(), &writes.app);
            apply(relation.own_unit.get_or_insert_default(), &writes.unit);
        }
    }
    facts
}

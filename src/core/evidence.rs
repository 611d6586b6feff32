//! What was looked at, partial by design: each fact is absent until somebody looks.

use std::collections::{BTreeMap, BTreeSet};

use crate::core::goal::GoalState;
use crate::core::ledger::{Options, Place};
use crate::core::names::{RelationId, UnitName};
use crate::core::wire::{BOOTSTRAP_APP, Databag, MIRROR};

/// What is to be looked at. Whoever decides asks for no more than it needs: a look at everything for
/// each news would make every hook as long as the cluster is large.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Scope {
    /// Whether this unit leads.
    Leadership,
    /// What Juju expects to be there.
    Goal,
    /// The options.
    Options,
    /// The bags of these units.
    Units(Vec<(RelationId, UnitName)>),
    /// The bags of these units of a relation, which Juju has not shown yet, as far as it pays.
    Newcomers(RelationId, Vec<UnitName>),
    /// The units that relation-list lists in these relations.
    Joined(Vec<RelationId>),
    /// Which of these relations Juju serves, among those that it lists.
    Served(Vec<RelationId>),
    /// The own unit bags of these relations, for a standby; of all that Juju lists where there is no
    /// list.
    OwnBags(Option<Vec<RelationId>>),
    /// This new relation and others that the ledger does not list, and no remote unit. Consumers act
    /// on what they see a second after the relation was made, so every call counts: what the ledger
    /// was published to is taken from the ledger.
    NewRelation(RelationId),
    /// Every relation and every unit, and why.
    Everything(&'static str),
}

/// What one hook has looked at so far.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Evidence {
    /// Seconds since 1970.
    pub now: u64,
    /// How often this hook has waited.
    pub pauses: u32,
    /// [`Scope::Leadership`].
    pub leads: Option<bool>,
    /// [`Scope::Goal`]; `Some(None)` where goal-state fails.
    pub goal: Option<Option<GoalState>>,
    /// [`Scope::Options`].
    pub options: Option<Options>,
    /// [`Scope::Units`]; `None` is a unit that is not there, or whose relation is not.
    pub bags: BTreeMap<(RelationId, UnitName), Option<Databag>>,
    /// [`Scope::Newcomers`], in the order of reading.
    pub newcomers: Option<Vec<(UnitName, Databag)>>,
    /// [`Scope::Joined`].
    pub joined: Option<BTreeMap<RelationId, BTreeSet<UnitName>>>,
    /// [`Scope::Served`].
    pub served: Option<BTreeSet<RelationId>>,
    /// [`Scope::OwnBags`].
    pub own_bags: Option<BTreeMap<RelationId, OwnBag>>,
    /// [`Scope::NewRelation`] or [`Scope::Everything`].
    pub world: Option<World>,
}

/// What a standby sees of one relation.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct OwnBag {
    /// The remote application.
    pub app: String,
    /// Whether it is of this model.
    pub place: Place,
    /// Whether it has a unit; `None` where goal-state does not tell.
    pub has_units: Option<bool>,
    /// Our unit's bag.
    pub own_unit: Databag,
}

/// Everything beside the ledger that one distributor unit can see, or all of it but the remote units.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct World {
    /// The options.
    pub options: Options,
    /// The relations on the endpoint `microcluster-cluster` that Juju serves, without one that is
    /// being broken.
    pub relations: BTreeMap<RelationId, Relation>,
    /// Relations that Juju lists and does not serve, with their applications, as far as known.
    pub passed_over: BTreeMap<RelationId, Option<String>>,
    /// Whether the remote units were read. They are not in relation-created: what they have to say
    /// comes when they join.
    pub units_were_read: bool,
    /// The unit whose hook this is: its bag is certainly not an old one.
    pub in_hook_of: Option<UnitName>,
    /// Whether the bags of other distributor units may hold what the ledger lacks: another unit
    /// published last, or the charm was replaced. Otherwise they show what the ledger once held; the
    /// bag of a former leader whose machine is lost never changes.
    pub siblings_are_news: bool,
}

/// One relation with a consumer application.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Relation {
    /// The remote application's name here, which is not its own if it is of another model.
    pub app: String,
    /// Whether it is of this model, by goal-state.
    pub place: Place,
    /// The bags of the remote units, by name. A unit that Juju expects and that has not entered the
    /// relation has none.
    pub units: BTreeMap<UnitName, Databag>,
    /// The units that relation-list lists. `None` is unknown, and then nothing rests on it.
    pub joined: Option<BTreeSet<UnitName>>,
    /// The units that goal-state expects to be there and to stay. `None` is unknown: goal-state
    /// failed, or lists no unit of the application. It lists none of another model, and none of a
    /// subordinate application whose principals are others.
    pub expected: Option<BTreeSet<UnitName>>,
    /// Our application's bag. `None` where a unit that does not lead may not read it.
    pub own_app: Option<Databag>,
    /// Our unit's bag. `None` where the input of the command line does not show it.
    pub own_unit: Option<Databag>,
    /// The bags of the other distributor units.
    pub siblings: BTreeMap<UnitName, Databag>,
}

impl Relation {
    /// Whether our bags or those of other distributor units show something.
    pub fn has_a_past(&self) -> bool {
        let shows = |bag: &Databag| bag.contains_key(MIRROR) || bag.contains_key(BOOTSTRAP_APP);
        let own = self.own_app.iter().chain(&self.own_unit);
        own.chain(self.siblings.values()).any(shows)
    }

    /// Whether some unit is here or on its way; `None` where nobody can tell.
    pub fn has_units(&self) -> Option<bool> {
        if !self.units.is_empty() || self.joined.as_ref().is_some_and(|units| !units.is_empty()) {
            return Some(true);
        }
        self.expected.as_ref().map(|units| !units.is_empty())
    }
}

impl World {
    /// Whether Juju lists the relation, served or not.
    pub fn lists(&self, id: RelationId) -> bool {
        self.relations.contains_key(&id) || self.passed_over.contains_key(&id)
    }

    /// Whether a bag of ours, or of another distributor unit, shows this value under `key`.
    pub fn shows(&self, key: &str, value: &str) -> bool {
        let bags = |relation: &'_ Relation| {
            let siblings = relation.siblings.values();
            let mut bags = relation.own_unit.iter().chain(siblings);
            bags.any(|bag| bag.get(key).is_some_and(|shown| shown == value))
        };
        self.relations.values().any(bags)
    }

    /// Whether a unit that was heard of is certainly not there any more: its application is related
    /// no longer, or Juju does not expect it. An agent shows a unit until it ran relation-departed
    /// for it, and meanwhile another may have its host name.
    pub fn is_gone(&self, unit: &UnitName) -> bool {
        let may_be_passed_over =
            |app: &Option<String>| app.as_deref().is_none_or(|app| app == unit.app());
        if !self.units_were_read || self.passed_over.values().any(may_be_passed_over) {
            return false;
        }
        let mut relations = self
            .relations
            .values()
            .filter(|relation| relation.app == unit.app());
        relations
            .all(|relation| is_gone(unit, relation.expected.as_ref(), relation.joined.as_ref()))
    }
}

/// Whether a unit is certainly not in a relation any more (spec 3.6). `expected` are the units that
/// goal-state lists for its application, `joined` those that relation-list lists; each may be
/// unknown.
///
/// Where goal-state lists units of an application and not this one, Juju has removed it, even if
/// this agent still lists it. Where it lists none, that says nothing, and relation-list decides.
pub fn is_gone(
    unit: &UnitName,
    expected: Option<&BTreeSet<UnitName>>,
    joined: Option<&BTreeSet<UnitName>>,
) -> bool {
    let known = expected.or(joined);
    known.is_some_and(|units| !units.contains(unit))
}

//! Hook tools in, facts out. It asks for as little as the question at hand needs, because every
//! question is a process and a call that the agent answers one at a time.

use std::collections::{BTreeMap, BTreeSet};

use crate::databag::Databag;
use crate::hook_tools::{Bag, GoalState, HookTools, ToolError};
use crate::hosts::Hosts;
use crate::report::View;
use crate::snapshot::{Config, Departed, Relation, RelationId, Scope, Snapshot, UnitName};
use crate::standby::StandbyRelation;

/// What a hook asks not to be counted: Juju may still list both while they leave.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Leaving {
    /// The relation of a relation-broken.
    pub relation: Option<RelationId>,
    /// The unit of a relation-departed.
    pub unit: Option<(RelationId, Departed)>,
}

/// The answer, or `None` where the relation has vanished meanwhile.
fn unless_gone<T>(answer: Result<T, ToolError>) -> Result<Option<T>, ToolError> {
    match answer {
        Err(error) if error.is_relation_gone() => Ok(None),
        answer => answer.map(Some),
    }
}

/// A unit's bag, empty where Juju has none.
fn unit_bag(
    tools: &HookTools<'_>,
    relation: RelationId,
    unit: &UnitName,
) -> Result<Databag, ToolError> {
    match tools.relation_get(relation, Bag::Unit(unit)) {
        Err(error) if error.is_unit_absent() => Ok(Databag::new()),
        bag => bag,
    }
}

/// What one unit brings: its bag beside our application bag of that relation.
///
/// # Errors
/// When a hook tool fails for another reason than that the relation has vanished.
pub fn event(
    tools: &HookTools<'_>,
    relation: RelationId,
    unit: &UnitName,
) -> Result<Snapshot, ToolError> {
    let mut facts = Snapshot {
        scope: Scope::Part,
        ..Snapshot::default()
    };
    let Some(bag) = unless_gone(unit_bag(tools, relation, unit))? else {
        return Ok(facts);
    };
    let Some(own_app) = unless_gone(tools.relation_get(relation, Bag::OwnApp))? else {
        return Ok(facts);
    };
    let mut observed = Relation {
        remote_app: Some(unit.app().to_owned()),
        own_app,
        ..Relation::default()
    };
    observed.units.insert(unit.clone(), bag);
    facts.relations.insert(relation, observed);
    Ok(facts)
}

/// Adds our own bags of every relation, and the options: enough to write what an event brings.
///
/// # Errors
/// When a hook tool fails for another reason than that a relation has vanished.
pub fn own_bags(tools: &HookTools<'_>, facts: &mut Snapshot) -> Result<(), ToolError> {
    facts.config = config(tools)?;
    for id in tools.relation_ids()? {
        let relation = facts.relations.entry(id).or_default();
        if relation.own_app.is_empty() {
            let Some(own_app) = unless_gone(tools.relation_get(id, Bag::OwnApp))? else {
                facts.relations.remove(&id);
                continue;
            };
            relation.own_app = own_app;
        }
        match unless_gone(tools.relation_get(id, Bag::OwnUnit))? {
            Some(own_unit) => relation.own_unit = Some(own_unit),
            None => drop(facts.relations.remove(&id)),
        }
    }
    Ok(())
}

/// Adds the units of a relation that goal-state expects and that have announced nothing yet as far
/// as `facts` remember. Juju shows those that it has not let join from their live bags.
///
/// Their number may be large, so it stops where it no longer pays: at machines that are only being
/// made and are in no relation yet.
///
/// # Errors
/// When a hook tool fails for another reason than that the relation has vanished.
pub fn newcomers(
    tools: &HookTools<'_>,
    facts: &mut Snapshot,
    relation: RelationId,
) -> Result<(), ToolError> {
    /// Units read at a time.
    const CHUNK: usize = 8;
    /// Units without a bag among them that end the search.
    const ABSENT: usize = 3;

    let silent = silent_units(tools, facts, relation)?;
    let Some(observed) = facts.relations.get_mut(&relation) else {
        return Ok(());
    };
    for chunk in silent.chunks(CHUNK) {
        let known = observed.units.len();
        for ((_, unit), bag) in chunk.iter().zip(tools.relation_get_each(chunk)) {
            if let Some(bag) = unless_gone(bag)?.flatten() {
                observed.units.insert(unit.clone(), bag);
            }
        }
        let absent = chunk.len() - (observed.units.len() - known);
        if absent >= ABSENT {
            break;
        }
    }
    Ok(())
}

/// Units on their way into a relation of whom nobody has heard.
fn silent_units(
    tools: &HookTools<'_>,
    facts: &Snapshot,
    id: RelationId,
) -> Result<Vec<(RelationId, UnitName)>, ToolError> {
    let Some(relation) = facts.relations.get(&id) else {
        return Ok(Vec::new());
    };
    let app = relation.remote_app.as_deref().unwrap_or_default();
    let expected = tools.goal_state()?.remote_units(app).into_iter().flatten();
    let hosts = Hosts::remembered(facts);
    let announced: BTreeSet<&str> = hosts.iter().flat_map(|(_, units)| units).copied().collect();
    let is_silent =
        |unit: &UnitName| !announced.contains(unit.as_str()) && !relation.units.contains_key(unit);
    let silent = expected.filter(is_silent);
    Ok(silent.map(|unit| (id, unit)).collect())
}

/// Our application bags of every relation, and nothing else.
///
/// # Errors
/// When a hook tool fails for another reason than that a relation has vanished.
pub fn application_bags(tools: &HookTools<'_>) -> Result<Snapshot, ToolError> {
    let mut facts = Snapshot {
        scope: Scope::Part,
        ..Snapshot::default()
    };
    for id in tools.relation_ids()? {
        if let Some(own_app) = unless_gone(tools.relation_get(id, Bag::OwnApp))? {
            let relation = Relation {
                own_app,
                ..Relation::default()
            };
            facts.relations.insert(id, relation);
        }
    }
    Ok(facts)
}

/// Every relation with our own bags, but no unit's.
///
/// # Errors
/// When a hook tool fails for another reason than that a relation has vanished.
pub fn relations(tools: &HookTools<'_>) -> Result<Snapshot, ToolError> {
    let mut facts = Snapshot {
        scope: Scope::Relations,
        config: config(tools)?,
        ..Snapshot::default()
    };
    let ids = tools.relation_ids()?;
    let goal = tools.goal_state()?;
    for id in ids {
        if let Some(relation) = unless_gone(own_side(tools, id, goal, true))? {
            facts.relations.insert(id, relation);
        }
    }
    Ok(facts)
}

/// Everything: every relation, every unit that is here or on its way.
///
/// # Errors
/// When a hook tool fails for another reason than that a relation has vanished.
pub fn whole(tools: &HookTools<'_>, leaving: Leaving) -> Result<Snapshot, ToolError> {
    whole_as(tools, leaving, true)
}

/// Everything as any distributor unit can see it, with the unit bags of the others.
///
/// # Errors
/// When a hook tool fails for another reason than that a relation has vanished.
pub fn view(tools: &HookTools<'_>, is_leader: bool) -> Result<View, ToolError> {
    let facts = whole_as(tools, Leaving::default(), is_leader)?;
    let goal = tools.goal_state()?;
    let siblings = siblings(tools, goal);
    let mut bags: BTreeMap<RelationId, BTreeMap<UnitName, Databag>> = BTreeMap::new();
    for id in facts.relations.keys() {
        let reads: Vec<_> = siblings.iter().map(|unit| (*id, unit.clone())).collect();
        for ((_, unit), bag) in reads.iter().zip(tools.relation_get_each(&reads)) {
            if let Some(bag) = unless_gone(bag)?.flatten() {
                bags.entry(*id).or_default().insert(unit.clone(), bag);
            }
        }
    }
    let view = View {
        unit: tools.own_unit().clone(),
        is_leader,
        facts,
        siblings: bags,
        failing: goal.failing().collect(),
    };
    Ok(match is_leader {
        true => view,
        false => view.through_published_copies(),
    })
}

/// `is_leader`: whether to read the application bags, which Juju shows only to the leader.
fn whole_as(
    tools: &HookTools<'_>,
    leaving: Leaving,
    is_leader: bool,
) -> Result<Snapshot, ToolError> {
    let mut facts = Snapshot {
        config: config(tools)?,
        ..Snapshot::default()
    };
    let ids = tools.relation_ids()?;
    let goal = tools.goal_state()?;

    let mut reads = Vec::new();
    for id in ids {
        if leaving.relation == Some(id) {
            continue;
        }
        let Some(mut relation) = unless_gone(own_side(tools, id, goal, is_leader))? else {
            continue;
        };
        let Some(members) = unless_gone(tools.relation_list(id))? else {
            continue;
        };
        let departed = leaving
            .unit
            .as_ref()
            .filter(|(departed_from, _)| *departed_from == id);
        let is_leaving = |unit: &UnitName| departed.is_some_and(|(_, leaver)| leaver.unit == *unit);

        if let Some(expected) = &mut relation.expected {
            expected.retain(|unit| !is_leaving(unit));
        }
        let to_come = relation.expected.iter().flatten();
        let mut units = BTreeSet::new();
        units.extend(members.iter().chain(to_come));
        let staying = units.into_iter().filter(|unit| !is_leaving(unit));
        reads.extend(staying.map(|unit| (id, unit.clone())));
        facts.relations.insert(id, relation);
    }

    let bags = tools.relation_get_each(&reads);
    for ((id, unit), bag) in reads.into_iter().zip(bags) {
        let Some(bag) = unless_gone(bag)? else {
            facts.relations.remove(&id);
            continue;
        };
        if let (Some(bag), Some(relation)) = (bag, facts.relations.get_mut(&id)) {
            relation.units.insert(unit, bag);
        }
    }
    facts.departed = leaving.unit.map(|(_, departed)| departed);
    Ok(facts)
}

fn own_side(
    tools: &HookTools<'_>,
    id: RelationId,
    goal: &GoalState,
    is_leader: bool,
) -> Result<Relation, ToolError> {
    let app = tools.relation_list_app(id)?;
    Ok(Relation {
        expected: goal.remote_units(&app).map(Iterator::collect),
        remote_app: Some(app),
        own_app: match is_leader {
            true => tools.relation_get(id, Bag::OwnApp)?,
            false => Databag::new(),
        },
        own_unit: Some(tools.relation_get(id, Bag::OwnUnit)?),
        ..Relation::default()
    })
}

/// The options that matter to a decision.
///
/// # Errors
/// When `config-get` fails.
pub fn config(tools: &HookTools<'_>) -> Result<Config, ToolError> {
    let options = tools.config_get()?;
    let text = |name: &str| {
        let value = options.get(name)?.as_str()?.trim();
        (!value.is_empty()).then(|| value.to_owned())
    };
    Ok(Config {
        bootstrap_app: text("bootstrap-app"),
        log_level: text("log-level"),
    })
}

/// What a standby must know to step back or to guard an application: its own bags, and those of
/// its siblings where its own cannot answer.
///
/// # Errors
/// When a hook tool fails for another reason than that a relation has vanished.
pub fn standby(tools: &HookTools<'_>) -> Result<BTreeMap<RelationId, StandbyRelation>, ToolError> {
    let mut relations = BTreeMap::new();
    for id in tools.relation_ids()? {
        let Some(own_unit) = unless_gone(tools.relation_get(id, Bag::OwnUnit))? else {
            continue;
        };
        let Some(app) = unless_gone(tools.relation_list_app(id))? else {
            continue;
        };
        let relation = StandbyRelation {
            remote_app: Some(app),
            own_unit,
            ..StandbyRelation::default()
        };
        relations.insert(id, relation);
    }
    if relations.is_empty() {
        return Ok(relations);
    }
    let goal = tools.goal_state()?;
    let siblings = siblings(tools, goal);
    for (id, relation) in &mut relations {
        relation.siblings = sibling_bags(tools, *id, &siblings)?;
        let app = relation.remote_app.as_deref().unwrap_or_default();
        let mut units = goal.remote_units(app).into_iter().flatten();
        relation.has_units = units.next().is_some();
    }
    Ok(relations)
}

/// The bags of all siblings in one relation.
fn sibling_bags(
    tools: &HookTools<'_>,
    relation: RelationId,
    siblings: &[UnitName],
) -> Result<Vec<Databag>, ToolError> {
    let mut bags = Vec::new();
    for sibling in siblings {
        bags.extend(unless_gone(unit_bag(tools, relation, sibling))?);
    }
    Ok(bags)
}

/// The other units of this charm's application.
fn siblings(tools: &HookTools<'_>, goal: &GoalState) -> Vec<UnitName> {
    let own = tools.own_unit();
    goal.siblings().filter(|unit| unit != own).collect()
}

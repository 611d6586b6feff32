//! Hook tools in, what the core needs to know out.
//!
//! One relation's trouble is that relation's (spec 7): one that Juju lists and no longer serves is
//! passed over. An own unit bag is read first, because it decides which relations these are.

use std::collections::{BTreeMap, BTreeSet};

use crate::core::evidence::{Evidence, OwnBag, Relation, Scope, World};
use crate::core::ledger::{Ledger, Options, Place};
use crate::core::names::{RelationId, UnitName};
use crate::core::show;
use crate::core::turn::Occasion;
use crate::core::wire::Databag;
use crate::juju::hook_tools::{Bag, HookTools, ToolError};
use crate::report::check::UNSERVED_REMEDY;

/// Looks at what `scope` names, and notes it in `evidence`.
///
/// # Errors
/// When a hook tool fails for another reason than that Juju does not serve a relation.
pub(super) fn at(
    tools: &HookTools<'_>,
    ledger: &Ledger,
    occasion: &Occasion,
    scope: Scope,
    evidence: &mut Evidence,
) -> Result<(), ToolError> {
    match scope {
        Scope::Leadership => evidence.leads = Some(tools.is_leader()?),
        Scope::Goal if evidence.pauses > 0 => evidence.goal = Some(tools.goal_state_now()),
        Scope::Goal => evidence.goal = Some(tools.goal_state().cloned()),
        Scope::Options => evidence.options = Some(options(tools)?),
        Scope::Units(units) => {
            for (relation, unit) in units {
                let bag = unit_bag(tools, relation, &unit)?;
                evidence.bags.insert((relation, unit), bag);
            }
        }
        Scope::Newcomers(relation, units) => {
            evidence.newcomers = Some(bags_of_newcomers(tools, relation, units)?);
        }
        Scope::Joined(relations) => {
            let joined = |id| Some((id, tools.relation_list(id).ok()?.into_iter().collect()));
            evidence.joined = Some(relations.into_iter().filter_map(joined).collect());
        }
        Scope::Served(relations) => {
            let listed = tools.relation_ids()?.into_iter();
            let asked = listed.filter(|id| relations.contains(id));
            evidence.served = Some(asked.filter(|id| is_served(tools, *id)).collect());
        }
        Scope::OwnBags(relations) => {
            let relations = match relations {
                Some(relations) => relations,
                None => tools.relation_ids()?,
            };
            evidence.own_bags = Some(own_bags(tools, ledger, relations)?);
        }
        Scope::NewRelation(_) | Scope::Everything(_) => {
            evidence.world = Some(world(tools, ledger, &scope, occasion, true)?);
            evidence.goal.get_or_insert(tools.goal_state().cloned());
        }
    }
    Ok(())
}

/// Looks at everything that one distributor unit can see beside the ledger. Only a leader may read
/// application bags.
///
/// # Errors
/// When a hook tool fails for another reason than that Juju does not serve a relation.
pub fn world(
    tools: &HookTools<'_>,
    ledger: &Ledger,
    scope: &Scope,
    occasion: &Occasion,
    is_leader: bool,
) -> Result<World, ToolError> {
    let new_relation = match scope {
        Scope::NewRelation(id) => Some(*id),
        _ => None,
    };
    let (broken, departed) = occasion.leaving();
    let mut world = World {
        options: options(tools)?,
        units_were_read: new_relation.is_none(),
        in_hook_of: match occasion {
            Occasion::Heard(_, unit) => Some(unit.clone()),
            _ => None,
        },
        siblings_are_news: *occasion == Occasion::TakeOver || !ledger.is_led_by(tools.own_unit()),
        ..World::default()
    };
    let mut reads = Vec::new();
    for id in tools.relation_ids()? {
        if broken == Some(id) {
            continue;
        }
        let as_published = match new_relation {
            Some(new) if new != id => as_published(tools, ledger, id),
            _ => None,
        };
        let relation = match as_published {
            Some(relation) => Some(relation),
            None => relation(tools, id, departed, is_leader)?,
        };
        let members = match (&relation, new_relation) {
            (Some(_), None) => unless_unserved(tools.relation_list(id))?,
            (None, None) => None,
            (_, Some(_)) => Some(Vec::new()),
        };
        let (Some(mut relation), Some(members)) = (relation, members) else {
            pass_over(&mut world, tools, ledger, id);
            continue;
        };
        let members = members.into_iter();
        let joined: BTreeSet<UnitName> = members.filter(|unit| departed != Some(unit)).collect();
        let units: BTreeSet<&UnitName> = joined
            .iter()
            .chain(relation.expected.iter().flatten())
            .collect();
        reads.extend(units.into_iter().map(|unit| (id, unit.clone())));
        relation.place = place(tools, ledger, &relation.app);
        if new_relation.is_none() {
            see_joined(tools, &mut relation, joined, departed);
        }
        world.relations.insert(id, relation);
    }
    // A unit that Juju removes sees its relations broken one by one. They stay where they are, so
    // it must not decide as if they were gone.
    let goal = tools.goal_state();
    if goal.and_then(|goal| goal.is_leaving(tools.own_unit())) == Some(true) {
        let listed = ledger.relations.iter();
        let broken = listed.filter(|(id, listed)| listed.is_current && !world.lists(**id));
        let broken: Vec<_> = broken
            .map(|(id, listed)| (*id, Some(listed.app.clone())))
            .collect();
        world.passed_over.extend(broken);
    }
    if new_relation.is_none() || ledger.leader.is_none() {
        read_siblings(tools, ledger, &mut world)?;
    }
    if new_relation.is_some() {
        return Ok(world);
    }
    for ((id, unit), bag) in reads.iter().zip(tools.relation_get_each(&reads)) {
        match bag {
            Err(error) if error.is_relation_gone() => {
                if world.relations.remove(id).is_some() {
                    pass_over(&mut world, tools, ledger, *id);
                }
            }
            // Juju hides a unit whose application it has already taken out of the relation.
            Err(error) if error.is_denied() => {}
            bag => {
                if let (Some(bag), Some(relation)) = (bag?, world.relations.get_mut(id)) {
                    relation.units.insert(unit.clone(), bag);
                }
            }
        }
    }
    Ok(world)
}

/// Notes which units relation-list lists, where their absence tells something: while goal-state
/// fails, one that is not listed may be on its way.
fn see_joined(
    tools: &HookTools<'_>,
    relation: &mut Relation,
    joined: BTreeSet<UnitName>,
    departed: Option<&UnitName>,
) {
    let Some(goal) = tools.goal_state() else {
        return;
    };
    let leaves = |unit: &UnitName| unit.app() == relation.app;
    let was_last = joined.is_empty() && departed.is_some_and(leaves);
    if was_last && relation.expected.is_none() && goal.lists(&relation.app) {
        // Juju knows the application, and its last unit has just left: it has no units.
        relation.expected = Some(BTreeSet::new());
    }
    relation.joined = Some(joined);
}

fn pass_over(world: &mut World, tools: &HookTools<'_>, ledger: &Ledger, id: RelationId) {
    let listed = ledger.relations.get(&id).map(|listed| listed.app.clone());
    let app = listed.or_else(|| tools.relation_list_app(id).ok());
    tracing::warn!(
        "relation {id}{}: Juju lists it and does not serve it, so it is passed over; {UNSERVED_REMEDY}",
        app.as_ref()
            .map_or(String::new(), |app| format!(" with {app}"))
    );
    world.passed_over.insert(id, app);
}

/// A relation whose bags show the ledger, without a call but for goal-state.
fn as_published(tools: &HookTools<'_>, ledger: &Ledger, id: RelationId) -> Option<Relation> {
    let listed = ledger
        .relations
        .get(&id)
        .filter(|listed| listed.is_current)?;
    Some(Relation {
        app: listed.app.clone(),
        place: ledger.place(&listed.app),
        expected: expected(tools, &listed.app),
        own_app: Some(show::app_bag(ledger, id)),
        own_unit: Some(show::unit_bag(ledger, id)),
        ..Relation::default()
    })
}

/// A relation without its units' bags. `None`: Juju does not serve it.
fn relation(
    tools: &HookTools<'_>,
    id: RelationId,
    departed: Option<&UnitName>,
    is_leader: bool,
) -> Result<Option<Relation>, ToolError> {
    let own_unit = match tools.relation_get(id, Bag::OwnUnit) {
        Err(error) if error.is_relation_unserved() => return Ok(None),
        bag => Some(bag?),
    };
    let Some(app) = unless_unserved(tools.relation_list_app(id))? else {
        return Ok(None);
    };
    let own_app = match is_leader {
        true => match tools.relation_get(id, Bag::OwnApp) {
            // Although the own unit bag was readable: leadership is lost.
            Err(error) if error.is_denied() => return Err(error),
            bag => match unless_unserved(bag)? {
                Some(bag) => Some(bag),
                None => return Ok(None),
            },
        },
        false => None,
    };
    let mut expected = expected(tools, &app);
    if let (Some(units), Some(unit)) = (&mut expected, departed) {
        units.remove(unit);
    }
    Ok(Some(Relation {
        expected: expected.filter(|units| !units.is_empty()),
        app,
        own_app,
        own_unit,
        ..Relation::default()
    }))
}

/// Reads what the other distributor units show: the Python charm left tokens in the unit bag of
/// whoever led. Goal-state names the units that exist. While no ledger was ever published, those of
/// the numbers below ours may have led and be gone; their bags stay readable.
fn read_siblings(
    tools: &HookTools<'_>,
    ledger: &Ledger,
    world: &mut World,
) -> Result<(), ToolError> {
    /// How many units that are gone are asked for.
    const FORMER_UNITS: u64 = 8;

    let own = tools.own_unit();
    let mut siblings: BTreeSet<UnitName> = tools
        .goal_state()
        .into_iter()
        .flat_map(|goal| goal.siblings())
        .collect();
    if ledger.leader.is_none() {
        let lower = own.number().saturating_sub(FORMER_UNITS)..own.number();
        siblings.extend(lower.filter_map(|number| format!("{}/{number}", own.app()).parse().ok()));
    }
    siblings.remove(own);
    let relations = world.relations.keys();
    let reads: Vec<_> = relations
        .flat_map(|id| siblings.iter().map(|unit| (*id, unit.clone())))
        .collect();
    for ((id, unit), bag) in reads.iter().zip(tools.relation_get_each(&reads)) {
        match bag {
            Err(error) if error.is_relation_gone() || error.is_denied() => {
                if world.relations.remove(id).is_some() {
                    pass_over(world, tools, ledger, *id);
                }
            }
            bag => {
                if let (Some(bag), Some(relation)) = (bag?, world.relations.get_mut(id)) {
                    relation.siblings.insert(unit.clone(), bag);
                }
            }
        }
    }
    Ok(())
}

/// Whether Juju serves a relation.
pub(super) fn is_served(tools: &HookTools<'_>, relation: RelationId) -> bool {
    tools.relation_get(relation, Bag::OwnUnit).is_ok()
}

/// The bag of one remote unit. `None`: the unit or its relation is not there.
///
/// # Errors
/// When `relation-get` fails for another reason.
pub(super) fn unit_bag(
    tools: &HookTools<'_>,
    relation: RelationId,
    unit: &UnitName,
) -> Result<Option<Databag>, ToolError> {
    match tools.relation_get(relation, Bag::Unit(unit)) {
        Err(error) if error.is_relation_unserved() => Ok(None),
        bag => bag.map(Some),
    }
}

/// Whether `app` is of this model. Where goal-state cannot tell, what the ledger knows of it stays,
/// unless it is that goal-state did not list the name.
fn place(tools: &HookTools<'_>, ledger: &Ledger, app: &str) -> Place {
    let mut listed = ledger.relations.values();
    let known = match listed.any(|listed| listed.app == app) {
        true => ledger.place(app),
        false => Place::Unknown,
    };
    match tools.goal_state().map(|goal| goal.place(app)) {
        Some(Some(place)) => place,
        Some(None) if known == Place::Elsewhere => Place::Unknown,
        _ => known,
    }
}

/// The units of `app` that are to stay; `None` where nobody can tell.
fn expected(tools: &HookTools<'_>, app: &str) -> Option<BTreeSet<UnitName>> {
    tools.goal_state()?.expected(app)
}

/// The bags of units that Juju has not shown yet. Juju shows them from their live bags.
///
/// They may be many, so it stops where it no longer pays: at machines that are only being made and
/// are in no relation yet.
///
/// # Errors
/// When `relation-get` fails for another reason than that a unit or its relation is not there.
fn bags_of_newcomers(
    tools: &HookTools<'_>,
    relation: RelationId,
    units: Vec<UnitName>,
) -> Result<Vec<(UnitName, Databag)>, ToolError> {
    /// Units read at a time.
    const CHUNK: usize = 8;
    /// Units without a bag among them that end the search.
    const ABSENT: usize = 3;

    let reads: Vec<_> = units.into_iter().map(|unit| (relation, unit)).collect();
    let mut bags = Vec::new();
    for chunk in reads.chunks(CHUNK) {
        let known = bags.len();
        for ((_, unit), bag) in chunk.iter().zip(tools.relation_get_each(chunk)) {
            match bag {
                Err(error) if error.is_relation_unserved() => {}
                bag => bags.extend(bag?.map(|bag| (unit.clone(), bag))),
            }
        }
        if chunk.len() - (bags.len() - known) >= ABSENT {
            break;
        }
    }
    Ok(bags)
}

/// The options of this charm.
///
/// # Errors
/// When `config-get` fails.
fn options(tools: &HookTools<'_>) -> Result<Options, ToolError> {
    let options = tools.config_get()?;
    let text = |name: &str| Options::text(options.get(name)?.as_str()?);
    Ok(Options {
        bootstrap_app: text("bootstrap-app"),
        log_level: text("log-level"),
    })
}

/// What a standby must know of `relations`. Where the ledger lists a relation, it says whose it is.
fn own_bags(
    tools: &HookTools<'_>,
    ledger: &Ledger,
    relations: Vec<RelationId>,
) -> Result<BTreeMap<RelationId, OwnBag>, ToolError> {
    let mut all = BTreeMap::new();
    for id in relations {
        let Some(own_unit) = unless_unserved(tools.relation_get(id, Bag::OwnUnit))? else {
            continue;
        };
        let (app, place) = match ledger.relations.get(&id) {
            Some(listed) => (listed.app.clone(), ledger.place(&listed.app)),
            None => match unless_unserved(tools.relation_list_app(id))? {
                Some(app) => {
                    let place = place(tools, ledger, &app);
                    (app, place)
                }
                None => continue,
            },
        };
        // Only a choice that nobody has made yet depends on it.
        let has_units = match ledger.bootstrap_app {
            Some(_) => None,
            None => expected(tools, &app).map(|_| true),
        };
        let own = OwnBag {
            app,
            place,
            has_units,
            own_unit,
        };
        all.insert(id, own);
    }
    Ok(all)
}

/// Passes over what failed because Juju does not serve the relation.
fn unless_unserved<T>(read: Result<T, ToolError>) -> Result<Option<T>, ToolError> {
    match read {
        Err(error) if error.is_relation_unserved() => Ok(None),
        read => read.map(Some),
    }
}

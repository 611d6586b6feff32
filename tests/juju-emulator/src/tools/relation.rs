//! The tools that look at relations and write databags.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::{Value, json};

use super::grammar::{Arguments, go_quoted, key_values};
use super::{Call, Reply, Stop};
use crate::agent::{RelationEvent, RelationState};
use crate::charm::Role;
use crate::document;
use crate::model::{Content, JujuGeneration, Relation, Side};
use crate::names::{AppName, RelationId, UnitName, is_application_name};
use crate::quirks::Complaint;

/// The relation that `-r` names, else the hook's own.
fn chosen(call: &Call<'_>, arguments: &Arguments) -> Result<RelationId, Stop> {
    let given = arguments.option("relation").and_then(|id| id.parse().ok());
    given
        .map(RelationId)
        .or(call.context.relation.as_ref().map(|own| own.id))
        .ok_or_else(|| Stop::usage("no relation id specified"))
}

/// Fails if every tool is to complain of the relation.
pub(super) fn is_served(call: &Call<'_>, id: RelationId) -> Result<(), Stop> {
    match call.model.complaint(id, &call.agent.unit) {
        // With `-r` the grammar has refused it.
        Some(Complaint::UnknownNumber) => Err(Stop::usage("no relation id specified")),
        Some(complaint) => complaint
            .words(id)
            .map_or(Ok(()), |words| Err(Stop::failure(words))),
        None => Ok(()),
    }
}

/// The relation, for a look at bags that are not the unit's or the leader's own.
fn relation<'a>(call: &'a Call<'_>, id: RelationId) -> Result<&'a Relation, Stop> {
    call.model.served(id, &call.agent.unit).ok_or_else(|| {
        Stop::failure(match call.model.generation {
            JujuGeneration::Three => "permission denied",
            JujuGeneration::Four => "relation not found",
        })
    })
}

/// The own side of the relation, for a look at its own bags: Juju says nothing of what is missing,
/// and of a leader's application bag Juju 4 says it in other words.
fn own_side<'a>(call: &'a Call<'_>, id: RelationId, of_app: bool) -> Result<&'a Side, Stop> {
    let relation = call.model.served(id, &call.agent.unit);
    relation
        .and_then(|relation| relation.own_side(own_app(call)))
        .ok_or_else(|| {
            Stop::failure(match call.model.generation {
                JujuGeneration::Four if of_app => "permission denied (unauthorized access)",
                _ => "permission denied",
            })
        })
}

fn own_app<'a>(call: &'a Call<'_>) -> &'a str {
    call.agent.unit.application()
}

/// Joined units as the hook sees them: those whose joined hook was committed, and its own.
fn is_member(call: &Call<'_>, id: RelationId, state: &RelationState, unit: &UnitName) -> bool {
    match call.context.event() {
        Some((of, RelationEvent::Joined { unit: joining, .. })) if of == id && joining == unit => {
            true
        }
        Some((of, RelationEvent::Departed { unit: leaving })) if of == id && leaving == unit => {
            false
        }
        _ => state.members.contains_key(unit),
    }
}

pub(super) fn ids(call: &mut Call<'_>, mut arguments: Arguments) -> Result<Reply, Stop> {
    let own = call.context.relation.as_ref();
    let endpoint = arguments
        .next()
        .or_else(|| own.map(|relation| relation.endpoint.clone()))
        .ok_or_else(|| Stop::usage("no endpoint name specified"))?;
    arguments.nothing_left()?;
    let mut ids: Vec<String> = call
        .agent
        .relations
        .iter()
        .filter(|(id, state)| state.endpoint == endpoint && !is_omitted(call, **id, state))
        .map(|(id, _)| format!("{endpoint}:{id}"))
        .collect();
    ids.sort();
    Ok(Value::from(ids).into())
}

/// A relation without members is not listed while it is suspended, nor once it was dying when the
/// agent started. One that was removed later still is, even in its relation-broken: the agent does
/// not refresh what it remembers of the relation's life. A peer relation is neither.
fn is_omitted(call: &Call<'_>, id: RelationId, state: &RelationState) -> bool {
    let over = |relation: &Relation| relation.suspended || state.started_dying;
    state.members.is_empty() && call.model.relations.get(&id).is_some_and(over)
}

pub(super) fn list(call: &mut Call<'_>, arguments: Arguments) -> Result<Reply, Stop> {
    let id = chosen(call, &arguments)?;
    arguments.nothing_left()?;
    is_served(call, id)?;
    let Some(state) = call.agent.relations.get(&id) else {
        return Ok(json!([]).into());
    };
    if arguments.switch("app") {
        return Ok(Value::from(state.remote_app.as_str()).into());
    }
    let joining = match call.context.event() {
        Some((of, RelationEvent::Joined { unit, .. })) if of == id => Some(unit),
        _ => None,
    };
    let mut units: Vec<UnitName> = state
        .members
        .keys()
        .filter(|unit| is_member(call, id, state, unit))
        .chain(joining.filter(|unit| !state.members.contains_key(*unit)))
        .map(|unit| state.shown_unit(unit))
        .collect();
    units.sort();
    units.dedup();
    let shown: Vec<&str> = units.iter().map(UnitName::as_str).collect();
    Ok(json!(shown).into())
}

pub(super) fn get(call: &mut Call<'_>, mut arguments: Arguments) -> Result<Reply, Stop> {
    let id = chosen(call, &arguments)?;
    let key = arguments.next().filter(|key| key != "-" && !key.is_empty());
    let mut of_app = arguments.switch("app");
    let target = match arguments.next() {
        Some(target) if of_app => match UnitName::parse(&target) {
            Some(unit) => unit.application().to_owned(),
            None if is_application_name(&target) => target,
            None => {
                let target = go_quoted(&target);
                return Err(Stop::usage(format!("invalid application name {target}")));
            }
        },
        Some(target) => match UnitName::parse(&target) {
            Some(unit) => unit.as_str().to_owned(),
            None => return Err(Stop::usage(not_a_unit(&target))),
        },
        None => {
            let own = call.context.relation.as_ref();
            let unit = own.and_then(|relation| relation.remote_unit.clone());
            let app = own.and_then(|relation| relation.remote_app.clone());
            match (unit, app) {
                (Some(unit), _) if !of_app => unit,
                (_, Some(app)) => {
                    of_app = true;
                    app
                }
                _ => return Err(Stop::usage("no unit or application specified")),
            }
        }
    };
    arguments.nothing_left()?;
    is_served(call, id)?;
    let content = if of_app {
        app_content(call, id, &target)?
    } else {
        unit_content(call, id, &target)?
    };
    Ok(match key {
        Some(key) => {
            let value = content.get(&key).map(String::as_str);
            value.map_or(Value::Null, Value::from).into()
        }
        None => content.into(),
    })
}

fn not_a_unit(target: &str) -> String {
    let quoted = go_quoted(target);
    if is_application_name(target) {
        format!("expected unit name, got application name {quoted}")
    } else {
        format!("invalid unit name {quoted}")
    }
}

/// A unit's bag: the own one from the buffer, a joined unit's from the cache that outlives the
/// hook, any other read once in this hook.
fn unit_content(call: &mut Call<'_>, id: RelationId, shown: &str) -> Result<Content, Stop> {
    if call.agent.unit.as_str() == shown {
        return own_unit_bag(call, id).map(|bag| Arc::clone(bag));
    }
    let Some(target) = UnitName::parse(shown) else {
        return Err(Stop::usage(not_a_unit(shown)));
    };
    let shown_as = |relation| side_shown_as(relation, own_app(call), target.application());
    let real = match call.model.relations.get(&id).map(shown_as) {
        Some(Some(side)) => UnitName::new(side.app.as_str(), target.number()),
        Some(None) => return Err(unknown_unit(call, "permission denied")),
        None => target,
    };
    let member = call
        .agent
        .relations
        .get(&id)
        .is_some_and(|state| is_member(call, id, state, &real));
    let kept = if member {
        call.agent
            .relations
            .get(&id)
            .and_then(|state| state.cache.get(&real))
    } else {
        call.context.others.get(&(id, real.clone()))
    };
    if let Some(kept) = kept {
        return Ok(Arc::clone(kept));
    }
    let relation = relation(call, id)?;
    let side = relation
        .sides
        .iter()
        .find(|side| side.app.as_str() == real.application());
    let bag = side.and_then(|side| {
        side.unit_bag(real.as_str()).filter(|bag| {
            // Juju 4 keeps no trace of a departed unit that had nothing in its bag.
            side.members.contains_key(&real)
                || call.model.generation == JujuGeneration::Three
                || !bag.content.is_empty()
        })
    });
    let Some(content) = bag.map(|bag| Arc::clone(&bag.content)) else {
        let text = format!(
            "cannot read settings for unit {unit:?} in relation {key:?}: unit {unit:?}: \
             settings not found",
            unit = shown,
            key = relation.key()
        );
        return Err(unknown_unit(call, &text));
    };
    if member {
        if let Some(state) = call.agent.relations.get_mut(&id) {
            state.cache.insert(real, Arc::clone(&content));
        }
    } else {
        call.context.others.insert((id, real), Arc::clone(&content));
    }
    Ok(content)
}

fn unknown_unit(call: &Call<'_>, three: &str) -> Stop {
    Stop::failure(match call.model.generation {
        JujuGeneration::Three => three,
        JujuGeneration::Four => "relation unit not found",
    })
}

/// The side whose application `own` knows as `app`.
fn side_shown_as<'a>(relation: &'a Relation, own: &str, app: &str) -> Option<&'a Side> {
    if own == app {
        return relation.own_side(own);
    }
    relation
        .remote_side(own)
        .filter(|side| side.shown_app() == app)
}

fn app_content(call: &mut Call<'_>, id: RelationId, app: &str) -> Result<Content, Stop> {
    if own_app(call) == app {
        return own_app_content(call, id);
    }
    let read = (id, AppName::new(app));
    if let Some(content) = call.context.apps.get(&read) {
        return Ok(Arc::clone(content));
    }
    let relation = relation(call, id)?;
    let side = side_shown_as(relation, own_app(call), app)
        .ok_or_else(|| Stop::failure("permission denied"))?;
    let content = Arc::clone(&side.app_bag.content);
    call.context.apps.insert(read, Arc::clone(&content));
    Ok(content)
}

fn own_app_content(call: &mut Call<'_>, id: RelationId) -> Result<Content, Stop> {
    if call.context.is_leader(call.agent, call.model) {
        return own_app_bag(call, id).map(|bag| Arc::clone(bag));
    }
    // Fixed for the hook like any bag that comes from the controller.
    let read = (id, AppName::new(own_app(call)));
    if let Some(content) = call.context.apps.get(&read) {
        return Ok(Arc::clone(content));
    }
    let relation = call.model.served(id, &call.agent.unit).ok_or_else(|| {
        let is_peer = |state: &RelationState| state.remote_app.as_str() == own_app(call);
        let peer = call.agent.relations.get(&id).is_some_and(is_peer);
        Stop::failure(match call.model.generation {
            JujuGeneration::Three => "permission denied",
            JujuGeneration::Four if peer => "relation not found",
            JujuGeneration::Four => "getting regular relation by key: relation not found",
        })
    })?;
    let readable = relation.is_peer() || call.model.generation == JujuGeneration::Four;
    let side = relation.own_side(own_app(call)).filter(|_| readable);
    let content = match side {
        Some(side) => Arc::clone(&side.app_bag.content),
        None => return Err(Stop::failure("permission denied")),
    };
    call.context.apps.insert(read, Arc::clone(&content));
    Ok(content)
}

/// The own unit bag as this hook has it. Having read it is enough for Juju to send it back.
fn own_unit_bag<'a>(call: &'a mut Call<'_>, id: RelationId) -> Result<&'a mut Content, Stop> {
    if !call.context.unit_bags.contains_key(&id) {
        let bag = own_side(call, id, false)?.unit_bag(call.agent.unit.as_str());
        let content = bag.map(|bag| Arc::clone(&bag.content)).unwrap_or_default();
        call.context.unit_bags.insert(id, content);
    }
    Ok(call.context.unit_bags.entry(id).or_default())
}

/// The own application bag as this hook has it. The controller shows it to a leader whose lease is
/// lost in a peer relation of Juju 3 only.
fn own_app_bag<'a>(call: &'a mut Call<'_>, id: RelationId) -> Result<&'a mut Content, Stop> {
    if !call.context.app_bags.contains_key(&id) {
        let side = own_side(call, id, true)?;
        let any_unit = side.role == Role::Peer && call.model.generation == JujuGeneration::Three;
        if !any_unit && !call.model.is_leader(&call.agent.unit) {
            return Err(Stop::failure("permission denied"));
        }
        let content = Arc::clone(&side.app_bag.content);
        call.context.app_bags.insert(id, content);
    }
    Ok(call.context.app_bags.entry(id).or_default())
}

/// Why nothing can be written: the bag has to be read first.
fn not_read(stop: Stop, of_app: bool) -> Stop {
    match stop {
        Stop::Error { code: 1, message } if of_app => Stop::failure(format!(
            "cannot read relation application settings: {message}"
        )),
        Stop::Error { code: 1, message } => {
            Stop::failure(format!("cannot read relation settings: {message}"))
        }
        other => other,
    }
}

pub(super) fn set(call: &mut Call<'_>, arguments: Arguments) -> Result<Reply, Stop> {
    let id = chosen(call, &arguments)?;
    let given = key_values(&arguments.positional)?;
    let mut settings = match call.document(&arguments)? {
        Some(document) => document::parse(&document).map_err(Stop::failure)?,
        None => BTreeMap::new(),
    };
    settings.extend(given);
    let of_app = arguments.switch("app");
    if of_app && !call.context.is_leader(call.agent, call.model) {
        return Err(Stop::failure("cannot write relation settings"));
    }
    is_served(call, id).map_err(|stop| not_read(stop, of_app))?;
    let bag = if of_app {
        own_app_bag(call, id)
    } else {
        own_unit_bag(call, id)
    };
    let bag = bag.map_err(|stop| not_read(stop, of_app))?;
    let written = !settings.is_empty();
    for (key, value) in settings {
        if bag.get(&key).map(String::as_str).unwrap_or_default() == value {
            continue;
        }
        let bag = Arc::make_mut(bag);
        if value.is_empty() {
            bag.remove(&key);
        } else {
            bag.insert(key, value);
        }
    }
    // Even the same value again makes the commit depend on the lease.
    if written && of_app {
        call.context.app_bags_written.insert(id);
    }
    let notice = arguments
        .option("format")
        .map(|_| "--format flag deprecated for command \"relation-set\"\n");
    Ok(Reply {
        value: None,
        notice,
    })
}

//! The tools about the unit itself: leadership, configuration, status, log, actions.

use std::collections::BTreeMap;
use std::time::{Duration, UNIX_EPOCH};

use serde_json::{Map, Value, json};

use super::grammar::{Arguments, go_quoted};
use super::{Call, Reply, Stop};
use crate::context::ActionRun;
use crate::model::{JujuGeneration, Life, Model, OFFERING_MODEL, Relation, Side, Status};
use crate::names::UnitName;
use crate::quirks::{ConsumedOffer, Omissions};

pub(super) fn is_leader(call: &mut Call<'_>, arguments: Arguments) -> Result<Reply, Stop> {
    arguments.nothing_left()?;
    let leads = call.context.is_leader(call.agent, call.model);
    Ok(Value::Bool(leads).into())
}

pub(super) fn config_get(call: &mut Call<'_>, mut arguments: Arguments) -> Result<Reply, Stop> {
    let key = arguments.next();
    arguments.nothing_left()?;
    let all = arguments.switch("all");
    if let (true, Some(key)) = (all, &key) {
        return Err(Stop::usage(format!(
            "cannot use argument --all together with key {}",
            go_quoted(key)
        )));
    }
    let app = call.agent.unit.application();
    let model = &call.model;
    let config = call
        .context
        .config
        .get_or_insert_with(|| model.config_of(app));
    let value = match key {
        Some(key) => config.get(&key).cloned().flatten().unwrap_or(Value::Null),
        None => config
            .iter()
            .filter(|(_, value)| all || value.is_some())
            .map(|(key, value)| (key.clone(), value.clone().unwrap_or(Value::Null)))
            .collect(),
    };
    Ok(value.into())
}

pub(super) fn status_set(call: &mut Call<'_>, mut arguments: Arguments) -> Result<Reply, Stop> {
    let status = arguments
        .next()
        .ok_or_else(|| Stop::usage("invalid args, require <status> [message]"))?;
    if !["maintenance", "blocked", "waiting", "active"].contains(&status.as_str()) {
        return Err(Stop::usage(format!(
            "invalid status {}, expected one of [maintenance blocked waiting active]",
            go_quoted(&status)
        )));
    }
    let message = arguments.next().unwrap_or_default();
    arguments.nothing_left()?;
    if arguments.switch("application") {
        if !call.context.is_leader(call.agent, call.model) {
            return Err(Stop::failure("this unit is not the leader"));
        }
        let app = call.agent.unit.application();
        call.model.set_application_status(app, &status, &message);
    } else {
        let unit = &call.agent.unit;
        call.model.set_workload(unit, &status, &message, true);
    }
    Ok(Reply::default())
}

fn status_object(status: &Status) -> Value {
    json!({"message": status.message, "status": status.status, "status-data": {}})
}

pub(super) fn status_get(call: &mut Call<'_>, arguments: Arguments) -> Result<Reply, Stop> {
    arguments.nothing_left()?;
    if arguments.switch("application") {
        if !call.context.is_leader(call.agent, call.model) {
            return Err(Stop::failure(
                "finding application status: this unit is not the leader",
            ));
        }
        let app = call.agent.unit.application();
        let units: Map<String, Value> = call
            .model
            .units
            .iter()
            .filter(|(name, _)| name.application() == app)
            .map(|(name, unit)| (name.to_string(), status_object(&unit.workload)))
            .collect();
        let application = call.model.applications.get(app);
        let status = application.and_then(|app| app.status.clone());
        let mut value = status_object(&status.unwrap_or(Status {
            status: "unknown".to_owned(),
            message: String::new(),
        }));
        if let Some(object) = value.as_object_mut() {
            object.insert("units".to_owned(), units.into());
        }
        return Ok(json!({ "application-status": value }).into());
    }
    if call.context.status.is_none() {
        let unit = call.model.units.get(&call.agent.unit);
        call.context.status = unit.map(|unit| unit.workload.clone());
    }
    let Some(status) = &call.context.status else {
        return Err(Stop::failure("unit not found"));
    };
    let value = if arguments.switch("include-data") {
        status_object(status)
    } else {
        json!({"status": status.status})
    };
    Ok(value.into())
}

pub(super) fn juju_log(call: &mut Call<'_>, arguments: Arguments) -> Result<Reply, Stop> {
    if arguments.positional.is_empty() {
        return Err(Stop::usage("no message specified"));
    }
    let asked = match arguments.option("log-level") {
        _ if arguments.switch("debug") => "DEBUG",
        Some(level) => level,
        None => "INFO",
    };
    let upper = asked.to_uppercase();
    let level = match upper.as_str() {
        "TRACE" | "DEBUG" | "INFO" | "ERROR" | "CRITICAL" => upper.as_str(),
        "WARN" | "WARNING" => "WARNING",
        _ => "INFO",
    };
    let unit = call.agent.unit.clone();
    if level == "INFO" && upper != "INFO" {
        let text = format!("Specified log level of \"{asked}\" is not valid");
        call.model.log(&unit, "WARNING", text);
    }
    let words = arguments.positional.join(" ");
    let text = match &call.context.relation {
        Some(relation) => format!("{}:{}: {words}", relation.endpoint, relation.id),
        None => words,
    };
    call.model.log(&unit, level, text);
    Ok(Reply::default())
}

pub(super) fn application_version_set(
    call: &mut Call<'_>,
    mut arguments: Arguments,
) -> Result<Reply, Stop> {
    let version = arguments
        .next()
        .ok_or_else(|| Stop::usage("no version specified"))?;
    arguments.nothing_left()?;
    if let Some(unit) = call.model.units.get_mut(&call.agent.unit) {
        unit.workload_version = version;
    }
    Ok(Reply::default())
}

fn action<'a>(call: &'a mut Call<'_>) -> Result<&'a mut ActionRun, Stop> {
    let action = call.context.action.as_mut();
    action.ok_or_else(|| Stop::failure("not running an action"))
}

pub(super) fn action_get(call: &mut Call<'_>, mut arguments: Arguments) -> Result<Reply, Stop> {
    let key = arguments.next();
    arguments.nothing_left()?;
    let parameters = Value::Object(action(call)?.parameters.clone());
    let value = match key.filter(|key| !key.is_empty()) {
        None => parameters,
        Some(path) => path
            .split('.')
            .try_fold(&parameters, |value, part| value.get(part))
            .cloned()
            .unwrap_or(Value::Null),
    };
    Ok(value.into())
}

pub(super) fn action_set(call: &mut Call<'_>, arguments: Arguments) -> Result<Reply, Stop> {
    let generation = call.model.generation;
    let mut settings = Vec::new();
    for argument in &arguments.positional {
        let Some((path, value)) = argument.split_once('=') else {
            return Err(Stop::usage(format!(
                "argument {} must be of the form key...=value",
                go_quoted(argument)
            )));
        };
        let parts: Vec<&str> = path.split('.').collect();
        for part in &parts {
            check_action_key(part, generation)?;
        }
        settings.push((parts, value));
    }
    let results = &mut action(call)?.results;
    for (path, value) in settings {
        insert_at(results, &path, value);
    }
    Ok(Reply::default())
}

fn check_action_key(key: &str, generation: JujuGeneration) -> Result<(), Stop> {
    let inner = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
    let valid =
        key.starts_with(inner) && key.ends_with(inner) && key.chars().all(|c| inner(c) || c == '-');
    if !valid {
        let allowed = match generation {
            JujuGeneration::Three => "lowercase alphanumeric, hyphens and periods",
            JujuGeneration::Four => "lowercase alphanumeric and hyphens",
        };
        return Err(Stop::usage(format!(
            "key {} must start and end with lowercase alphanumeric, and contain only {allowed}",
            go_quoted(key)
        )));
    }
    if ["stdout", "stdout-encoding", "stderr", "stderr-encoding"].contains(&key) {
        return Err(Stop::usage(format!(
            "cannot set reserved action key {}",
            go_quoted(key)
        )));
    }
    Ok(())
}

fn insert_at(results: &mut Map<String, Value>, path: &[&str], value: &str) {
    let [key, deeper @ ..] = path else { return };
    if deeper.is_empty() {
        results.insert((*key).to_owned(), value.into());
        return;
    }
    let entry = results.entry((*key).to_owned()).or_insert(Value::Null);
    if !entry.is_object() {
        *entry = json!({});
    }
    if let Some(inner) = entry.as_object_mut() {
        insert_at(inner, deeper, value);
    }
}

pub(super) fn action_fail(call: &mut Call<'_>, mut arguments: Arguments) -> Result<Reply, Stop> {
    let message = arguments.next();
    arguments.nothing_left()?;
    action(call)?.failure = Some(message.unwrap_or_else(|| {
        "action failed without reason given, check action for errors".to_owned()
    }));
    Ok(Reply::default())
}

pub(super) fn action_log(call: &mut Call<'_>, arguments: Arguments) -> Result<Reply, Stop> {
    if arguments.positional.is_empty() {
        return Err(Stop::usage("no message specified"));
    }
    let line = arguments.positional.join(" ");
    action(call)?.log.push(line);
    Ok(Reply::default())
}

pub(super) fn goal_state(call: &mut Call<'_>, arguments: Arguments) -> Result<Reply, Stop> {
    arguments.nothing_left()?;
    if let Some(words) = &call.model.quirks.goal_state_fails {
        return Err(Stop::failure(words.as_str()));
    }
    let mut omissions = call.model.quirks.goal_state_omits.take();
    let value = goal_state_of(call.agent.unit.application(), call.model, &mut omissions);
    call.model.quirks.goal_state_omits = omissions;
    Ok(value.into())
}

fn goal_state_of(app: &str, model: &Model, omissions: &mut Option<Omissions>) -> Value {
    let mut relations: BTreeMap<String, Map<String, Value>> = BTreeMap::new();
    for relation in model.relations.values().filter(|r| !r.is_peer()) {
        let (Some(own), Some(remote)) = (relation.own_side(app), relation.remote_side(app)) else {
            continue;
        };
        // Across models the offering side learns nothing, and the consuming side nothing of units.
        if own.over || relation.is_offered_by(app) {
            continue;
        }
        let Some(name) = name_in_goal_state(relation, remote, model) else {
            continue;
        };
        // An application that is left out takes its units with it.
        if is_left_out(omissions, None) {
            continue;
        }
        let status = if relation.suspended {
            "suspended"
        } else {
            "joined"
        };
        let known = relations.entry(own.endpoint.clone()).or_default();
        known.insert(name, goal(model, status, relation.since));
        if !relation.cross_model {
            known.extend(unit_goals(remote.app.as_str(), model, omissions));
        }
    }
    // Of its own units it is right all the while.
    let units = unit_goals(app, model, &mut None);
    json!({"units": units, "relations": relations})
}

fn goal(model: &Model, status: &str, since: Duration) -> Value {
    let since = timestamp(Duration::from_secs(model.epoch) + since);
    json!({"status": status, "since": since})
}

fn is_left_out(omissions: &mut Option<Omissions>, unit: Option<&UnitName>) -> bool {
    let Some(omissions) = omissions else {
        return false;
    };
    let left_out = omissions.strikes();
    if !left_out {
        omissions.listed.extend(unit.cloned());
    }
    left_out
}

/// The units of a subordinate are listed to nobody, not even to themselves.
fn unit_goals(app: &str, model: &Model, omissions: &mut Option<Omissions>) -> Map<String, Value> {
    let application = model.applications.get(app);
    if application.is_some_and(|application| application.charm.subordinate) {
        return Map::new();
    }
    let three = model.generation == JujuGeneration::Three;
    model
        .units
        .iter()
        .filter(|(name, _)| name.application() == app)
        .filter(|(name, _)| !is_left_out(omissions, Some(name)))
        .map(|(name, unit)| {
            let status = match unit.life {
                Life::Dying => "dying",
                // Juju 4 leaves out what an agent says.
                Life::Alive if three && unit.error.is_some() => "error",
                Life::Alive => unit.workload.status.as_str(),
            };
            (name.to_string(), goal(model, status, unit.workload_since))
        })
        .collect()
}

/// How the application at the other end is listed, if at all.
fn name_in_goal_state(relation: &Relation, remote: &Side, model: &Model) -> Option<String> {
    if !relation.cross_model {
        return Some(remote.app.to_string());
    }
    let usual = match (model.generation, &remote.alias) {
        (JujuGeneration::Three, _) => ConsumedOffer::Url,
        (JujuGeneration::Four, None) => ConsumedOffer::Name,
        (JujuGeneration::Four, Some(_)) => ConsumedOffer::Nothing,
    };
    match model.quirks.consumed_offers.unwrap_or(usual) {
        ConsumedOffer::Name => Some(remote.shown_app().to_owned()),
        ConsumedOffer::Url => Some(format!("{OFFERING_MODEL}.{}", remote.app)),
        ConsumedOffer::Nothing => None,
    }
}

/// A time since 1970 as `2026-05-28 20:26:40Z`.
fn timestamp(since: Duration) -> String {
    let time = UNIX_EPOCH + since;
    humantime::format_rfc3339_seconds(time)
        .to_string()
        .replace('T', " ")
}

//! What a plan changes, in words.

use std::collections::BTreeMap;

use serde::Serialize;

use super::{View, listed};
use crate::core::fingerprint::fingerprint;
use crate::core::plan::Plan;
use crate::core::wire::{
    self, BOOTSTRAP_APP, Change, GUARD, MAY_BOOTSTRAP, MIRROR, NUDGE, PROTOCOL, SPENT_PREFIX,
    Value, printable,
};
use crate::report::table::columns;

/// One change of one key.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct PlannedChange {
    /// The key.
    pub key: String,
    /// What becomes of it.
    pub change: String,
    /// The bags that it changes in: `ledger`, `3 unit`, `3 app`, by relation number.
    pub bags: Vec<String>,
    /// Why.
    pub why: String,
}

/// The changes of `plan`, which was made of `view`.
pub fn planned_changes(view: &View, plan: &Plan) -> Vec<PlannedChange> {
    let mut bags: BTreeMap<(String, Option<String>), Vec<String>> = BTreeMap::new();
    let mut add = |key: &str, change: &Change, bag: String| {
        let value = match change {
            Change::Set(value) => Some(value.clone()),
            Change::Remove => None,
        };
        bags.entry((key.to_owned(), value)).or_default().push(bag);
    };
    for (key, change) in &plan.ledger_changes() {
        add(key, change, "ledger".to_owned());
    }
    for (id, writes) in &plan.writes {
        for (key, change) in &writes.app {
            add(key, change, format!("{id} app"));
        }
        for (key, change) in &writes.unit {
            add(key, change, format!("{id} unit"));
        }
    }
    let bags = bags.into_iter();
    let changes = bags.map(|((key, value), bags)| PlannedChange {
        change: outcome(&key, value.as_deref()),
        why: reason(&key, value.as_deref(), view, plan),
        key: printable(&key),
        bags,
    });
    changes.collect()
}

/// The planned changes as a table.
pub fn change_table(changes: &[PlannedChange]) -> String {
    let head = ["KEY", "BECOMES", "IN", "WHY"].map(str::to_owned);
    let line = |change: &PlannedChange| {
        [
            change.key.clone(),
            change.change.clone(),
            listed(change.bags.iter().cloned()),
            change.why.clone(),
        ]
    };
    let rows: Vec<_> = std::iter::once(head)
        .chain(changes.iter().map(line))
        .collect();
    columns(&rows)
}

fn outcome(key: &str, value: Option<&str>) -> String {
    let Some(value) = value else {
        return "removed".to_owned();
    };
    match Value::from(value) {
        // When its turn began is as it happens.
        Value::Text(turn) if key == "let-in" => {
            turn.split(' ').next().map(printable).unwrap_or_default()
        }
        Value::Text(token) if wire::mirrored(key).is_some() => {
            format!("token {}", fingerprint(&token))
        }
        value => printable(value.as_str()),
    }
}

fn reason(key: &str, value: Option<&str>, view: &View, plan: &Plan) -> String {
    let fixed = match (key, value) {
        (BOOTSTRAP_APP, _) => "the application that may bootstrap the cluster",
        (PROTOCOL, _) => "this charm uses the second protocol",
        (MAY_BOOTSTRAP, _) => "whether this application may bootstrap",
        (MIRROR, Some(wire::UP)) => "consumers read only a mirror that is up",
        (MIRROR, _) => "no application may bootstrap yet",
        (NUDGE, _) => "makes consumers act again",
        (GUARD, Some(_)) => "keeps this application from bootstrapping a second cluster",
        (GUARD, None) => "it may bootstrap, or there is a cluster to join",
        ("leader", _) => "the unit that published last",
        ("communicators", _) => "the units that make tokens",
        ("other-models", _) => "the applications of other models",
        ("left-out", _) => "the first key that did not fit",
        ("queue", _) => "the hosts whose turn is to come",
        ("let-in", _) => "the host in turn",
        _ if key.starts_with("host-") => "who announced this host name",
        _ if key.starts_with("relation-") => "this relation shows the ledger",
        _ if key.starts_with("option-") => "the option as the charm last read it",
        _ if key.starts_with(SPENT_PREFIX) => "refused or retired tokens",
        _ => return of_mirror(key, value, view, plan),
    };
    fixed.to_owned()
}

/// Where the value of a mirror key comes from.
fn of_mirror(key: &str, value: Option<&str>, view: &View, plan: &Plan) -> String {
    let name = wire::mirrored(key).unwrap_or_default();
    if plan.ledger.queue.iter().any(|queued| queued == name) && value.is_none() {
        return "held until its turn".to_owned();
    }
    let Some(value) = value else {
        return "no unit announces this host any more".to_owned();
    };
    let is_known = view
        .ledger
        .mirror
        .get(name)
        .is_some_and(|held| held.as_str() == value);
    if is_known {
        return "the ledger has it".to_owned();
    }
    let claims = plan.ledger.hosts.get(name).into_iter().flatten();
    let announcer = claims.map(|claim| claim.unit.to_string()).next();
    match (Value::from(value), announcer) {
        (Value::Placeholder, Some(unit)) => format!("announced by {unit}"),
        (Value::Placeholder, None) => "named without a value".to_owned(),
        (Value::Member, _) => "the host is in the cluster".to_owned(),
        (Value::Retired, _) => "an operator removed its token".to_owned(),
        (Value::Text(token), _) => {
            let relations = view.world.relations.values();
            let mut units = relations.flat_map(|relation| &relation.units);
            let giver = units.find(|(_, bag)| wire::is_up(bag) && bag.get(key) == Some(&token));
            giver.map_or_else(
                || "published before".to_owned(),
                |(unit, _)| format!("given by {unit}"),
            )
        }
    }
}

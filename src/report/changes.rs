//! What a plan changes, in words.

use std::collections::BTreeMap;

use serde::Serialize;

use super::listed;
use crate::core::evidence::World;
use crate::core::fingerprint::fingerprint;
use crate::core::ledger::Key;
use crate::core::plan::Plan;
use crate::core::wire::{self, Change, GUARD, MAY_BOOTSTRAP, MIRROR, PROTOCOL, Value, printable};
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

/// The changes of `plan`, which was made of `world`.
pub fn planned_changes(plan: &Plan, world: &World) -> Vec<PlannedChange> {
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
        why: reason(&key, value.as_deref(), plan, world),
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

fn reason(key: &str, value: Option<&str>, plan: &Plan, world: &World) -> String {
    let fixed = match (key, value) {
        (PROTOCOL, _) => "this charm uses the second protocol",
        (MAY_BOOTSTRAP, _) => "whether this application may bootstrap",
        (MIRROR, Some(wire::UP)) => "consumers read only a mirror that is up",
        (MIRROR, _) => "no application may bootstrap yet",
        (GUARD, Some(_)) => "keeps this application from bootstrapping a second cluster",
        (GUARD, None) => "it may bootstrap, or there is a cluster to join",
        _ => match Key::parse(key) {
            Some(Key::Mirror(name)) => return of_mirror(name, value, plan, world),
            known => known.map_or("", Key::why),
        },
    };
    fixed.to_owned()
}

/// Where the value of a mirror key comes from.
fn of_mirror(name: &str, value: Option<&str>, plan: &Plan, world: &World) -> String {
    if plan.ledger.queue.iter().any(|queued| queued == name) && value.is_none() {
        return "held until its turn".to_owned();
    }
    let Some(value) = value else {
        return "no unit announces this host any more".to_owned();
    };
    let known = plan.before.mirror.get(name);
    if known.is_some_and(|known| known.as_str() == value) {
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
            let relations = world.relations.values();
            let mut units = relations.flat_map(|relation| &relation.units);
            let giver = units.find(|(_, bag)| {
                wire::is_up(bag) && bag.get(&wire::mirror_key(name)) == Some(&token)
            });
            giver.map_or_else(
                || "published before".to_owned(),
                |(unit, _)| format!("given by {unit}"),
            )
        }
    }
}

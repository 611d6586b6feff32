//! Whether to go on: one word, and why.

use serde::Serialize;

use super::model::Lack;
use crate::core::evidence::World;
use crate::core::plan::Plan;
use crate::core::wire::{self, Change, Value, mirror_key, printable};
use crate::report::check::Finding;

/// Whether to go on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Verdict {
    /// Nothing in the input speaks against it.
    Go,
    /// Something does.
    Stop,
    /// The input does not show enough to say so.
    NotEnough,
}

impl Verdict {
    /// The word for it.
    pub fn as_str(self) -> &'static str {
        match self {
            Verdict::Go => "go",
            Verdict::Stop => "stop",
            Verdict::NotEnough => "not enough",
        }
    }

    /// The exit status of `plan`, beside 1 for input that cannot be used and 2 for wrong usage.
    pub fn exit_status(self) -> u8 {
        match self {
            Verdict::Go => 0,
            Verdict::Stop => 3,
            Verdict::NotEnough => 4,
        }
    }
}

/// The findings that are to be ended before the charm is refreshed. With any other, the refresh is
/// no worse than staying.
const STOPS: [&str; 4] = [
    "bootstrap-app-not-related",
    "databag-full",
    "hosts-wait",
    "nobody-mints",
];

/// Why to stop, and the verdict with that.
pub fn verdict(
    lacks: &[Lack],
    lost_tokens: Vec<String>,
    findings: &[Finding],
) -> (Verdict, Vec<String>) {
    let stops = findings
        .iter()
        .filter(|finding| STOPS.contains(&finding.kind));
    // What to do about it follows in the finding.
    let stops = stops.map(|finding| {
        finding
            .text
            .split(';')
            .next()
            .unwrap_or_default()
            .to_owned()
    });
    let reasons: Vec<String> = lost_tokens.into_iter().chain(stops).collect();
    let verdict = match reasons.is_empty() {
        _ if lacks.iter().any(|lack| lack.matters) => Verdict::NotEnough,
        true => Verdict::Go,
        false => Verdict::Stop,
    };
    (verdict, reasons)
}

/// The tokens that are shown now and would not be any more, although they still serve. The rules do
/// not allow it, but where a relation was passed over while the ledger changed.
pub fn lost_tokens(world: &World, plan: &Plan) -> Vec<String> {
    let mut lost = Vec::new();
    for (id, relation) in &world.relations {
        let changes = plan.writes.get(id).map(|writes| &writes.unit);
        for (name, value) in relation.own_unit.iter().flat_map(wire::mirror_values) {
            let change = changes.and_then(|changes| changes.get(&mirror_key(name)));
            let becomes = match change {
                Some(Change::Remove) => "is removed",
                Some(Change::Set(new)) if is_token(new) => "becomes another token",
                _ => continue,
            };
            if is_token(value) && !plan.ledger.is_spent(name, value) {
                let name = printable(name);
                lost.push(format!("relation {id}: the token of {name} {becomes}"));
            }
        }
    }
    lost
}

fn is_token(value: &str) -> bool {
    matches!(Value::from(value), Value::Text(_))
}

//! What the distributor in the input would do, and whether to go on with that.

use serde::Serialize;

use super::model::{Distributor, Lack};
use crate::core::plan::Plan;
use crate::core::wire::{self, Change, Value, mirror_key, printable};
use crate::report::View;
use crate::report::changes::{PlannedChange, planned_changes};
use crate::report::check::{Finding, findings};
use crate::report::hosts::{Host, Report};

/// Whether to go on.
#[derive(Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Verdict {
    Go,
    Stop,
    /// The input does not show enough to say so.
    NotEnough,
}

/// The findings that are to be ended before the charm is refreshed. With any other, the refresh is
/// no worse than staying.
const STOPS: [&str; 4] = [
    "bootstrap-app-not-related",
    "databag-full",
    "hosts-wait",
    "nobody-mints",
];

/// What the plan itself corrects, and that a relation is passed over, which only Juju shows.
const NO_FINDINGS: [&str; 2] = ["out-of-date", "relation-passed-over"];

/// What `plan` answers.
#[derive(Serialize)]
#[serde(rename_all = "kebab-case")]
pub(super) struct Situation {
    pub(super) verdict: Verdict,
    /// Why not to go on.
    pub(super) reasons: Vec<String>,
    pub(super) unit: String,
    /// Its status once the changes are written, as are the hosts.
    pub(super) status: String,
    #[serde(flatten)]
    pub(super) report: Report,
    /// `None` where they rest on what the input does not show.
    pub(super) changes: Option<Vec<PlannedChange>>,
    pub(super) findings: Vec<Finding>,
    pub(super) incomplete: Vec<Lack>,
}

/// What `explain` answers.
#[derive(Serialize)]
pub(super) struct Explained<'a> {
    pub(super) host: &'a Host,
    pub(super) next: String,
    pub(super) changes: Option<Vec<PlannedChange>>,
    pub(super) incomplete: &'a [Lack],
}

impl Situation {
    pub(super) fn of(distributor: &Distributor, bootstrap_app: Option<&str>) -> Self {
        let view = distributor.view(bootstrap_app);
        let plan = view.plan();
        let then = after(&view, &plan);
        let report = Report::of(&then);
        let mut findings = findings(&then, &then.plan(), &report);
        findings.retain(|finding| !NO_FINDINGS.contains(&finding.kind));
        let incomplete = distributor.lacks();
        let is_enough = !incomplete.iter().any(|lack| lack.matters);
        let lost = if is_enough {
            lost_tokens(&view, &plan)
        } else {
            Vec::new()
        };
        let stops = findings.iter().filter(|it| STOPS.contains(&it.kind));
        // What to do about it follows in the finding.
        let stops = stops.filter_map(|finding| finding.text.split(';').next());
        let reasons: Vec<String> = lost.into_iter().chain(stops.map(str::to_owned)).collect();
        Situation {
            verdict: match reasons.is_empty() {
                _ if !is_enough => Verdict::NotEnough,
                true => Verdict::Go,
                false => Verdict::Stop,
            },
            reasons,
            unit: view.unit.to_string(),
            status: plan.clone().applied(&[]).status().to_string(),
            report,
            changes: is_enough.then(|| planned_changes(&plan, &view.world)),
            findings,
            incomplete,
        }
    }

    pub(super) fn explain(&self, host: &str) -> Option<Explained<'_>> {
        let host = self.report.host(host)?;
        let is_its = |change: &&PlannedChange| {
            let (_, name) = change.key.split_once('-').unwrap_or_default();
            name == host.host
        };
        let changes = self.changes.as_ref();
        let changes = changes.map(|changes| changes.iter().filter(is_its).cloned().collect());
        Some(Explained {
            host,
            next: self.report.next(host),
            changes,
            incomplete: &self.incomplete,
        })
    }
}

/// The tokens that are shown now and would not be any more, although they still serve. The rules do
/// not allow it, but where a relation was passed over while the ledger changed.
fn lost_tokens(view: &View, plan: &Plan) -> Vec<String> {
    let mut lost = Vec::new();
    for (id, relation) in &view.world.relations {
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

/// The view once the plan is carried out.
fn after(view: &View, plan: &Plan) -> View {
    let mut view = view.clone();
    view.ledger = plan.ledger.clone();
    for (id, relation) in &mut view.world.relations {
        if let Some(writes) = plan.writes.get(id) {
            let app = relation.own_app.iter_mut().map(|bag| (bag, &writes.app));
            let unit = relation.own_unit.iter_mut().map(|bag| (bag, &writes.unit));
            app.chain(unit)
                .for_each(|(bag, changes)| wire::apply(bag, changes));
        }
    }
    view
}

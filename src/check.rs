//! Everything this charm can know to be wrong, each finding with its remedy. Nothing is changed.

use serde::Serialize;

use crate::databag::{self, BOOTSTRAP_APP, Databag, GUARD, is_real};
use crate::reconcile::{CAPACITY, Plan};
use crate::report::{Report, State, View, numbers};
use crate::snapshot::{Relation, RelationId, is_cross_model};
use crate::status::Problem;

/// Something that is wrong, or may soon be.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// One word for scripts.
    pub kind: &'static str,
    /// What is wrong; then what to do.
    pub text: String,
}

/// Looks for everything that is wrong in `view`, of which `plan` and `report` were made.
pub fn findings(view: &View, plan: &Plan, report: &Report) -> Vec<Finding> {
    let mut findings: Vec<Finding> = Vec::new();
    let mut find = |kind, text| findings.push(Finding { kind, text });
    let leader = format!("{}/leader", view.unit.app());

    for problem in &plan.overview.problems {
        find(kind(problem), problem.to_string());
    }
    for unit in &view.failing {
        let remedy = match unit.app() == view.unit.app() {
            true => "the last line at ERROR of its log tells why".to_owned(),
            false => format!(
                "if it is relation-changed of its relation with this charm, and five minutes later \
                 the unit is still in error: juju resolved --no-retry {unit}"
            ),
        };
        find(
            "hook-fails",
            format!("{unit}: a hook fails, and Juju tries it again; {remedy}"),
        );
    }
    for host in report.hosts.iter().filter(|host| host.values.len() > 1) {
        let name = &host.host;
        let values: Vec<String> = host
            .values
            .iter()
            .map(|held| format!("{} in {}", held.fingerprint, numbers(&held.relations)))
            .collect();
        find(
            "values-disagree",
            format!(
                "{name}: relations show different values ({}), and each keeps its own; a host that \
                 joined is well, one that could not needs another name",
                values.join(", ")
            ),
        );
    }
    waiting(report, &mut find);
    for (id, relation) in &view.facts.relations {
        bags(*id, relation, &leader, &mut find);
        let siblings = view.siblings.get(id).into_iter().flatten();
        let up: Vec<&str> = siblings
            .filter(|(_, bag)| databag::is_up(bag))
            .map(|(unit, _)| unit.as_str())
            .collect();
        let own_is_up = view.is_leader && relation.own_unit.as_ref().is_some_and(databag::is_up);
        if up.len() + usize::from(own_is_up) > 1 {
            find(
                "two-mirrors-up",
                format!(
                    "relation {id}: {} shows its mirror up beside another distributor unit; it \
                     steps back at its next hook: if it is lost, remove it",
                    up.join(" and ")
                ),
            );
        }
        let app = relation.remote_app.as_deref().unwrap_or_default();
        if is_cross_model(app) && view.facts.config.bootstrap_app.is_none() {
            find(
                "cross-model",
                format!(
                    "relation {id}: {app} has another name in its own model; if it is to bootstrap, \
                     set the option bootstrap-app to that name"
                ),
            );
        }
    }
    // A standby does not see what the leader holds, so it cannot know what the leader would write.
    if view.is_leader {
        for (id, writes) in &plan.writes {
            let keys = writes.keys();
            if keys.contains(GUARD) {
                find(
                    "guard-out-of-date",
                    format!(
                        "relation {id}: the guard against a second cluster is not as it should be; \
                         run resync on {leader}"
                    ),
                );
            }
            find(
                "out-of-date",
                format!(
                    "relation {id}: {} {} not as they should be; run resync on {leader}",
                    keys.len(),
                    if keys.len() == 1 {
                        "key is"
                    } else {
                        "keys are"
                    }
                ),
            );
        }
    }
    findings
}

fn kind(problem: &Problem) -> &'static str {
    match problem {
        Problem::NotRelated { .. } => "bootstrap-app-not-related",
        Problem::CrossModel => "bootstrap-app-cross-model",
        Problem::Full { .. } => "databag-full",
        Problem::Refused { .. } => "host-name-refused",
        Problem::Contested { .. } => "host-name-contested",
        Problem::LogLevel { .. } => "log-level",
    }
}

fn waiting(report: &Report, find: &mut impl FnMut(&'static str, String)) {
    let hosts = || report.hosts.iter().filter(|host| host.waits());
    let waiting = hosts().count();
    let stranger = hosts().find(|host| host.state != State::Member);
    let Some(first) = stranger.or_else(|| hosts().next()) else {
        return;
    };
    let kind = match report.communicators.is_empty() {
        true => "nobody-mints",
        false => "hosts-wait",
    };
    let hosts = if waiting == 1 {
        "host waits"
    } else {
        "hosts wait"
    };
    find(
        kind,
        format!(
            "{waiting} {hosts} for a token, {} first: {}",
            first.host,
            report.next(first)
        ),
    );
}

fn bags(
    id: RelationId,
    relation: &Relation,
    leader: &str,
    find: &mut impl FnMut(&'static str, String),
) {
    let own_unit = relation.own_unit.as_ref();
    if !relation.own_app.contains_key(BOOTSTRAP_APP) {
        find(
            "no-bootstrap-app",
            format!(
                "relation {id}: no application may bootstrap yet; add a unit to one, set the \
                 option bootstrap-app, or run resync on {leader}"
            ),
        );
    }
    if own_unit.is_some_and(|bag| !databag::is_up(bag)) {
        find(
            "mirror-not-up",
            format!("relation {id}: no consumer reads our mirror; run resync on {leader}"),
        );
    }
    let copies = own_unit.map_or(0, |unit| differing(&relation.own_app, unit));
    if copies > 0 {
        find(
            "copy-differs",
            format!(
                "relation {id}: the unit bag shows {copies} other {} than the application bag; \
                 each keeps its own",
                if copies == 1 { "value" } else { "values" }
            ),
        );
    }
    for (bag, size) in [
        ("application", databag::size(&relation.own_app)),
        ("unit", own_unit.map_or(0, databag::size)),
    ] {
        if size > CAPACITY / 5 * 4 {
            let percent = size.saturating_mul(100) / CAPACITY;
            find(
                "databag-fills",
                format!(
                    "relation {id}: the {bag} bag is {percent} % full; retire hosts that are gone"
                ),
            );
        }
    }
}

/// How many keys have real values that differ.
fn differing(app: &Databag, unit: &Databag) -> usize {
    databag::mirror_of(app)
        .filter(|(key, value)| {
            let copy = unit.get(*key);
            is_real(value) && copy.is_some_and(|copy| is_real(copy) && copy != value)
        })
        .count()
}

/// The findings as lines of text.
pub fn lines(findings: &[Finding]) -> String {
    let lines: Vec<String> = findings
        .iter()
        .map(|finding| format!("{}: {}", finding.kind, finding.text))
        .collect();
    lines.join("\n")
}

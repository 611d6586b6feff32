//! Everything that this charm can know to be wrong, each finding with its remedy. Nothing is
//! changed.

use serde::Serialize;

use super::View;
use crate::core::ledger::Place;
use crate::core::plan::{Plan, Writes};
use crate::core::room::{CAPACITY, MOST_KEYS, Size};
use crate::core::status;
use crate::core::wire::{self, BOOTSTRAP_APP};
use crate::report::hosts::{Report, State};

/// What ends a relation that Juju lists and does not serve. Juju 4 forgets one whose other model was
/// destroyed, and its agents do not.
pub const UNSERVED_REMEDY: &str = "if it stays so: juju remove-relation --force, or, where that \
    answers not found, restart the machine agent of each unit of this application";

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
    let leader = format!("{}/leader", view.unit.app());
    let problems = status::problems(&plan.ledger);
    let problems = problems.iter().map(|it| (it.kind(), it.to_string()));
    let found = problems
        .chain(passed_over(view))
        .chain(failing_hooks(view))
        .chain(disagreeing_values(report))
        .chain(waiting_hosts(report))
        .chain(unheard_hosts(view, plan))
        .chain(queue(plan, report))
        .chain(relations(view, &leader))
        .chain(sizes(view))
        .chain(out_of_date(plan, &leader));
    found.map(|(kind, text)| Finding { kind, text }).collect()
}

type Found = (&'static str, String);

fn passed_over(view: &View) -> impl Iterator<Item = Found> {
    view.world.passed_over.iter().map(|(id, app)| {
        let app = app.as_deref().map(|app| format!(" with {app}"));
        let text = format!(
            "relation {id}{}: Juju lists it and does not serve it; other relations work; \
             {UNSERVED_REMEDY}",
            app.unwrap_or_default()
        );
        ("relation-passed-over", text)
    })
}

fn failing_hooks(view: &View) -> impl Iterator<Item = Found> {
    view.failing.iter().map(|unit| {
        let remedy = match unit.app() == view.unit.app() {
            true => "read the last line at ERROR in its log".to_owned(),
            false => format!(
                "if it is relation-changed of its relation with this charm, and five minutes later \
                 the unit is still in error: juju resolved --no-retry {unit}"
            ),
        };
        let text = format!("{unit}: a hook fails, and Juju tries it again; {remedy}");
        ("hook-fails", text)
    })
}

fn disagreeing_values(report: &Report) -> impl Iterator<Item = Found> {
    let hosts = report.hosts.iter();
    let differing = hosts.filter(|host| !host.other_values.is_empty());
    differing.map(|host| {
        let others = host.other_values.iter();
        let numbers: Vec<String> = others.map(|other| other.relation.to_string()).collect();
        let text = format!(
            "{}: relation {} shows a token of the Python charm, and the ledger has another; if the \
             host has joined, do nothing; otherwise run retire-host",
            host.host,
            numbers.join(", ")
        );
        ("values-disagree", text)
    })
}

fn waiting_hosts(report: &Report) -> Option<Found> {
    let mut hosts = report.hosts.iter();
    let first = hosts.find(|host| host.state == State::Waiting)?;
    let kind = match report.communicators.is_empty() {
        true => "nobody-mints",
        false => "hosts-wait",
    };
    let count = match report.count(State::Waiting) {
        1 => "1 host waits".to_owned(),
        count => format!("{count} hosts wait"),
    };
    let (first, next) = (&first.host, report.next(first));
    let text = format!("{count} for a token, {first} first; {next}");
    Some((kind, text))
}

fn unheard_hosts(view: &View, plan: &Plan) -> Option<Found> {
    let announced = &plan.ledger.hosts;
    let is_unheard = |name: &&String| !view.ledger.hosts.contains_key(*name);
    let unheard: Vec<&String> = announced.keys().filter(is_unheard).collect();
    let text = format!(
        "{} of {} announced hosts have no key yet, {} first; update-status adds them, and resync \
         does so at once",
        unheard.len(),
        announced.len(),
        wire::printable(unheard.first()?)
    );
    Some(("host-not-heard", text))
}

/// Hosts in the queue wait for others, not for a person; one that keeps them waiting may need one.
fn queue(plan: &Plan, report: &Report) -> Option<Found> {
    let turn = plan.ledger.let_in.as_ref()?;
    let count = match report.count(State::Queued) {
        0 => return None,
        1 => "1 host waits for its turn".to_owned(),
        queued => format!("{queued} hosts wait for their turn"),
    };
    let text = format!(
        "{count}: a cluster takes in one joining host at a time, and {} is joining; a host that does \
         not join is passed by",
        wire::printable(&turn.host)
    );
    Some(("hosts-queue", text))
}

fn relations(view: &View, leader: &str) -> Vec<Found> {
    let mut findings = Vec::new();
    for (id, relation) in &view.world.relations {
        let mut add = |kind, what: String| {
            findings.push((kind, format!("relation {id}: {what}")));
        };
        let own_app = relation.own_app.as_ref();
        if own_app.is_some_and(|bag| !bag.contains_key(BOOTSTRAP_APP)) {
            add(
                "no-bootstrap-app",
                format!(
                    "no application may bootstrap yet; add a unit to one, set the option \
                     bootstrap-app, or run resync on {leader}"
                ),
            );
        }
        let own_unit = relation.own_unit.as_ref();
        if own_unit.is_some_and(|bag| !wire::is_up(bag)) {
            add(
                "mirror-not-up",
                format!(
                    "the leader does not say mirror=up, so consumers ignore its data; run resync \
                     on {leader}"
                ),
            );
        }
        let siblings = relation.siblings.iter().filter(|(_, bag)| wire::is_up(bag));
        let up: Vec<&str> = siblings.map(|(unit, _)| unit.as_str()).collect();
        if !up.is_empty() && own_unit.is_some_and(wire::is_up) {
            add(
                "two-mirrors-up",
                format!(
                    "{} says mirror=up, and so does the leader; the next hook of the former leader \
                     ends that; if its machine is lost, remove the unit",
                    up.join(" and ")
                ),
            );
        }
        let where_it_is = match relation.place {
            Place::Here => continue,
            Place::Elsewhere => "is of another model",
            Place::Unknown => "may be of another model",
        };
        if view.world.options.bootstrap_app.is_none() {
            add(
                "cross-model",
                format!(
                    "{} {where_it_is}, where it has another name; if it is to bootstrap, set the \
                     option bootstrap-app to that name",
                    relation.app
                ),
            );
        }
    }
    findings
}

fn sizes(view: &View) -> impl Iterator<Item = Found> {
    let ledger = ("the ledger".to_owned(), Size::of(&view.ledger.to_databag()));
    let relations = view.world.relations.iter().filter_map(|(id, relation)| {
        let size = Size::of(relation.own_unit.as_ref()?);
        Some((format!("the unit bag of relation {id}"), size))
    });
    [ledger]
        .into_iter()
        .chain(relations)
        .filter_map(|(bag, size)| {
            let percent = (size.bytes * 100 / CAPACITY).max(size.keys * 100 / MOST_KEYS);
            let text = format!("{bag} is {percent} % full; retire hosts that are gone");
            (percent > 80).then_some(("databag-fills", text))
        })
}

fn out_of_date(plan: &Plan, leader: &str) -> Option<Found> {
    let keys: usize = plan.writes.values().map(Writes::count).sum();
    let ledger = plan.ledger_changes().len();
    let text = format!(
        "relation data is out of date ({ledger} keys of the ledger, {keys} of relations); run \
         resync on {leader}"
    );
    let is_published = plan.ledger.leader.is_some();
    (!plan.is_idle() && is_published).then_some(("out-of-date", text))
}

/// The findings as lines of text.
pub fn lines(findings: &[Finding]) -> String {
    let lines: Vec<String> = findings
        .iter()
        .map(|finding| format!("{}: {}", finding.kind, finding.text))
        .collect();
    lines.join("\n")
}

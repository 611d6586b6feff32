//! Everything that this charm can know to be wrong, each finding with its remedy. Nothing is
//! changed.

use serde::Serialize;

use super::View;
use crate::core::ledger::{CAPACITY, MOST_KEYS, Place, Size};
use crate::core::plan::{Plan, Writes};
use crate::core::status;
use crate::core::wire::{self, BOOTSTRAP_APP};
use crate::report::hosts::{Host, Report, State};

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
    let mut findings = Findings(Vec::new());
    let leader = format!("{}/leader", view.unit.app());

    for problem in status::problems(&plan.ledger) {
        findings.add(problem.kind(), problem.to_string());
    }
    for (id, app) in &view.world.passed_over {
        let app = app
            .as_deref()
            .map_or(String::new(), |app| format!(" with {app}"));
        findings.add(
            "relation-passed-over",
            format!(
                "relation {id}{app}: Juju lists it and does not serve it; other relations work; \
                 {UNSERVED_REMEDY}"
            ),
        );
    }
    for unit in &view.failing {
        let remedy = match unit.app() == view.unit.app() {
            true => "read the last line at ERROR in its log".to_owned(),
            false => format!(
                "if it is relation-changed of its relation with this charm, and five minutes later \
                 the unit is still in error: juju resolved --no-retry {unit}"
            ),
        };
        findings.add(
            "hook-fails",
            format!("{unit}: a hook fails, and Juju tries it again; {remedy}"),
        );
    }
    for host in report
        .hosts
        .iter()
        .filter(|host| !host.other_values.is_empty())
    {
        let numbers: Vec<String> = host
            .other_values
            .iter()
            .map(|other| other.relation.to_string())
            .collect();
        findings.add(
            "values-disagree",
            format!(
                "{}: relation {} shows a token of the Python charm, and the ledger has another; \
                 if the host has joined, do nothing; otherwise run retire-host",
                host.host,
                numbers.join(", ")
            ),
        );
    }
    findings.waiting(view, plan, report);
    findings.queue(plan, report);
    findings.relations(view, &leader);
    findings.sizes(view);
    if !plan.is_idle() && plan.ledger.leader.is_some() {
        let keys: usize = plan.writes.values().map(Writes::count).sum();
        let ledger = plan.ledger_changes().len();
        findings.add(
            "out-of-date",
            format!(
                "relation data is out of date ({ledger} keys of the ledger, {keys} of \
                 relations); run resync on {leader}"
            ),
        );
    }
    findings.0
}

struct Findings(Vec<Finding>);

impl Findings {
    fn add(&mut self, kind: &'static str, text: String) {
        self.0.push(Finding { kind, text });
    }

    fn waiting(&mut self, view: &View, plan: &Plan, report: &Report) {
        let hosts: Vec<&Host> = report
            .hosts
            .iter()
            .filter(|host| host.state == State::Waiting)
            .collect();
        if let Some(first) = hosts.first() {
            let kind = match report.communicators.is_empty() {
                true => "nobody-mints",
                false => "hosts-wait",
            };
            let count = match hosts.len() {
                1 => "1 host waits".to_owned(),
                count => format!("{count} hosts wait"),
            };
            let next = report.next(first);
            self.add(
                kind,
                format!("{count} for a token, {} first; {next}", first.host),
            );
        }
        let is_unheard = |name: &&String| !view.ledger.hosts.contains_key(*name);
        let unheard: Vec<&String> = plan.ledger.hosts.keys().filter(is_unheard).collect();
        if let Some(first) = unheard.first() {
            self.add(
                "host-not-heard",
                format!(
                    "{} of {} announced hosts have no key yet, {} first; update-status adds them, \
                     and resync does so at once",
                    unheard.len(),
                    plan.ledger.hosts.len(),
                    wire::printable(first)
                ),
            );
        }
    }

    /// Hosts in the queue wait for others, not for a person; one that keeps them waiting may need one.
    fn queue(&mut self, plan: &Plan, report: &Report) {
        let queued = report.count(State::Queued);
        let Some(turn) = plan.ledger.let_in.as_ref().filter(|_| queued > 0) else {
            return;
        };
        let count = match queued {
            1 => "1 host waits for its turn".to_owned(),
            queued => format!("{queued} hosts wait for their turn"),
        };
        self.add(
            "hosts-queue",
            format!(
                "{count}: a cluster takes in one joining host at a time, and {} is joining; a host \
                 that does not join is passed by",
                wire::printable(&turn.host)
            ),
        );
    }

    fn relations(&mut self, view: &View, leader: &str) {
        for (id, relation) in &view.world.relations {
            let own_app = relation.own_app.as_ref();
            if own_app.is_some_and(|bag| !bag.contains_key(BOOTSTRAP_APP)) {
                self.add(
                    "no-bootstrap-app",
                    format!(
                        "relation {id}: no application may bootstrap yet; add a unit to one, set the \
                         option bootstrap-app, or run resync on {leader}"
                    ),
                );
            }
            let own_unit = relation.own_unit.as_ref();
            if own_unit.is_some_and(|bag| !wire::is_up(bag)) {
                self.add(
                    "mirror-not-up",
                    format!(
                        "relation {id}: the leader does not say mirror=up, so consumers ignore its \
                         data; run resync on {leader}"
                    ),
                );
            }
            let siblings = relation.siblings.iter().filter(|(_, bag)| wire::is_up(bag));
            let up: Vec<&str> = siblings.map(|(unit, _)| unit.as_str()).collect();
            if !up.is_empty() && own_unit.is_some_and(wire::is_up) {
                self.add(
                    "two-mirrors-up",
                    format!(
                        "relation {id}: {} says mirror=up, and so does the leader; the next hook of \
                         the former leader ends that; if its machine is lost, remove the unit",
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
                self.add(
                    "cross-model",
                    format!(
                        "relation {id}: {} {where_it_is}, where it has another name; if it is to \
                         bootstrap, set the option bootstrap-app to that name",
                        relation.app
                    ),
                );
            }
        }
    }

    fn sizes(&mut self, view: &View) {
        let ledger = ("the ledger".to_owned(), view.ledger.size());
        let relations = view.world.relations.iter().filter_map(|(id, relation)| {
            let size = Size::of(relation.own_unit.as_ref()?);
            Some((format!("the unit bag of relation {id}"), size))
        });
        for (bag, size) in std::iter::once(ledger).chain(relations) {
            let percent = (size.bytes * 100 / CAPACITY).max(size.keys * 100 / MOST_KEYS);
            if percent > 80 {
                self.add(
                    "databag-fills",
                    format!("{bag} is {percent} % full; retire hosts that are gone"),
                );
            }
        }
    }
}

/// The findings as lines of text.
pub fn lines(findings: &[Finding]) -> String {
    let lines: Vec<String> = findings
        .iter()
        .map(|finding| format!("{}: {}", finding.kind, finding.text))
        .collect();
    lines.join("\n")
}

//! The operator's actions: a name and parameters in, results or a refusal out.
//!
//! Results are texts under lower-case dotted keys; `json` holds the same for scripts. Only
//! `show-mirror` with `reveal=true` and one host shows a value of the mirror.

use serde::Serialize;
use serde_json::{Map, Value};

use crate::core::evidence::World;
use crate::core::fingerprint::fingerprint;
use crate::core::note::{Level, Note};
use crate::core::operator::{Force, Order, Outcome, Refused};
use crate::core::plan::{Applied, Plan};
use crate::core::wire::{RETIRED, Value as MirrorValue, printable};
use crate::report::changes::{change_table, planned_changes};
use crate::report::check::{self, Finding};
use crate::report::hosts::{self, Host, Report, State};
use crate::report::{self, View};

/// Linux takes 128 KiB in one argument, and every result is one.
pub const LONGEST_RESULT: usize = 100 * 1024;

/// What an operator asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// Show the mirror: of every host, or of one, or the very value of one.
    ShowMirror(Subject),
    /// Look for what is wrong.
    Check,
    /// Change something.
    Order(Order),
}

/// What `show-mirror` is about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Subject {
    /// Every host.
    All,
    /// One host, its value hidden.
    One(String),
    /// One host with its value.
    Revealed(String),
}

/// Why an action is not carried out.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// `actions.yaml` has no such action, or an older one than this executable has.
    #[error(
        "no action {0:?}: there are show-mirror, resync, retire-host, resolve-host, check and forget"
    )]
    Unknown(String),
    /// A parameter is not what it must be.
    #[error("parameter {name} must be {expected}")]
    Parameter {
        /// Its name.
        name: &'static str,
        /// What it must be.
        expected: &'static str,
    },
    /// A value is revealed for one host only.
    #[error("reveal=true needs host=NAME: it shows the value of one host")]
    RevealsOne,
    /// An order is not carried out.
    #[error(transparent)]
    Order(#[from] Refused),
    /// A value that cannot be an argument of `action-set`.
    #[error("the value of {0} is too long for a result: juju show-unit shows it")]
    TooLong(String),
}

impl Action {
    /// Reads an action as `action-get` gives its parameters. Juju has checked them against
    /// `actions.yaml`, but a refresh may have changed that meanwhile.
    ///
    /// # Errors
    /// When there is no such action, or a parameter is not what it must be.
    pub fn parse(name: &str, parameters: &Map<String, Value>) -> Result<Self, Refusal> {
        match name {
            "show-mirror" => {
                let host = host(parameters)?;
                let reveal = flag(parameters, "reveal")?;
                Ok(Action::ShowMirror(match (host, reveal) {
                    (None, false) => Subject::All,
                    (Some(host), false) => Subject::One(host),
                    (Some(host), true) => Subject::Revealed(host),
                    (None, true) => return Err(Refusal::RevealsOne),
                }))
            }
            "resync" => Ok(Action::Order(Order::Resync)),
            "retire-host" => Ok(Action::Order(Order::Retire {
                host: named_host(parameters)?,
                force: force(parameters)?,
            })),
            "resolve-host" => Ok(Action::Order(Order::Resolve {
                host: named_host(parameters)?,
                is_member: match parameters.get("member") {
                    Some(Value::Bool(is_member)) => *is_member,
                    _ => {
                        return Err(Refusal::Parameter {
                            name: "member",
                            expected: "true or false",
                        });
                    }
                },
            })),
            "forget" => Ok(Action::Order(Order::Forget {
                force: force(parameters)?,
            })),
            "check" => Ok(Action::Check),
            _ => Err(Refusal::Unknown(printable(name))),
        }
    }
}

fn named_host(parameters: &Map<String, Value>) -> Result<String, Refusal> {
    host(parameters)?.ok_or(Refusal::Parameter {
        name: "host",
        expected: "a host name",
    })
}

fn host(parameters: &Map<String, Value>) -> Result<Option<String>, Refusal> {
    match parameters.get("host") {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(host)) if !host.is_empty() => Ok(Some(host.clone())),
        Some(_) => Err(Refusal::Parameter {
            name: "host",
            expected: "a host name",
        }),
    }
}

fn force(parameters: &Map<String, Value>) -> Result<Force, Refusal> {
    flag(parameters, "force").map(|force| match force {
        true => Force::Yes,
        false => Force::No,
    })
}

fn flag(parameters: &Map<String, Value>, name: &'static str) -> Result<bool, Refusal> {
    match parameters.get(name) {
        None | Some(Value::Null) => Ok(false),
        Some(Value::Bool(flag)) => Ok(*flag),
        Some(_) => Err(Refusal::Parameter {
            name,
            expected: "true or false",
        }),
    }
}

/// What `action-set` is given, in order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Results(pub Vec<(&'static str, String)>);

impl Results {
    fn set(&mut self, key: &'static str, value: impl ToString) {
        self.0.push((key, value.to_string()));
    }

    /// Sets `key` to as many of `items` as fit, and says under `shortened` if these are not all.
    fn set_fitting<T>(&mut self, key: &'static str, items: &[T], text: impl Fn(&[T]) -> String) {
        let mut shown = items;
        let mut whole = text(shown);
        while whole.len() > LONGEST_RESULT && !shown.is_empty() {
            shown = &shown[..shown.len() / 2];
            whole = text(shown);
        }
        self.set(key, whole);
        if shown.len() < items.len() {
            self.shortened(format!("{key} shows {} of {}", shown.len(), items.len()));
        }
    }

    fn shortened(&mut self, how: String) {
        match self.0.iter_mut().find(|(key, _)| *key == "shortened") {
            Some((_, text)) => *text = format!("{text}; {how}"),
            None => self.set("shortened", how),
        }
    }
}

/// What `show-mirror` answers.
///
/// # Errors
/// When it is about a host that is not there, or reveals what no result can hold.
pub fn show_mirror(view: &View, subject: &Subject) -> Result<Results, Refusal> {
    let report = Report::of(view);
    let mut results = Results::default();
    results.set("leader", view.is_leader);
    match subject {
        Subject::All => show_all(view, &report, &mut results),
        Subject::One(name) | Subject::Revealed(name) => {
            let host = report
                .host(name)
                .ok_or_else(|| Refused::NoHost(name.clone()))?;
            results.set("state", host.state.as_str());
            results.set("next", report.next(host));
            if matches!(subject, Subject::Revealed(_)) {
                reveal(view, name, &mut results)?;
            }
            results.set("mirror", hosts::table(&[host]));
            results.set("json", json(host));
        }
    }
    Ok(results)
}

fn show_all(view: &View, report: &Report, results: &mut Results) {
    /// The answer for scripts.
    #[derive(Serialize)]
    #[serde(rename_all = "kebab-case")]
    struct Answer<'a> {
        leader: bool,
        bootstrap_app: &'a Option<String>,
        communicators: &'a [String],
        counts: Counts,
        hosts: &'a [&'a Host],
        other_keys: &'a [String],
        notes: &'a [String],
    }

    let counts = Counts::of(report);
    results.set("hosts.total", counts.total);
    results.set("hosts.waiting", counts.waiting);
    results.set("hosts.queued", counts.queued);
    results.set("hosts.token", counts.token);
    results.set("hosts.member", counts.member);
    results.set("hosts.retired", counts.retired);
    results.set("hosts.invalid", counts.invalid);
    if let Some(app) = &report.bootstrap_app {
        results.set("bootstrap-app", app);
    }
    let notes = warnings(&view.plan());
    if !notes.is_empty() {
        results.set_fitting("notes", &notes, |notes| notes.join("\n"));
    }

    let answer = |hosts: &[&Host]| {
        json(&Answer {
            leader: view.is_leader,
            bootstrap_app: &report.bootstrap_app,
            communicators: &report.communicators,
            counts,
            hosts,
            other_keys: fitting_keys(&report.other_keys),
            notes: &notes[..notes.len().min(100)],
        })
    };
    let mut hosts: Vec<&Host> = report.hosts.iter().collect();
    if answer(&hosts).len().max(hosts::table(&hosts).len()) > LONGEST_RESULT {
        hosts.retain(|host| matches!(host.state, State::Waiting | State::Invalid));
        results.shortened("hosts that are fine are only counted".to_owned());
    }
    results.set_fitting("mirror", &hosts, hosts::table);
    results.set_fitting("json", &hosts, answer);
}

/// Any unit that is up can add keys, each up to 80 characters as shown.
fn fitting_keys(keys: &[String]) -> &[String] {
    &keys[..keys.len().min(100)]
}

#[derive(Clone, Copy, Serialize)]
struct Counts {
    total: usize,
    waiting: usize,
    queued: usize,
    token: usize,
    member: usize,
    retired: usize,
    invalid: usize,
    other_keys: usize,
}

impl Counts {
    fn of(report: &Report) -> Self {
        let invalid = report.count(State::Invalid);
        Counts {
            total: report.hosts.len() - invalid,
            waiting: report.count(State::Waiting),
            queued: report.count(State::Queued),
            token: report.count(State::Token) + report.count(State::LetIn),
            member: report.count(State::Member),
            retired: report.count(State::Retired),
            invalid,
            other_keys: report.other_keys.len(),
        }
    }
}

fn reveal(view: &View, host: &str, results: &mut Results) -> Result<(), Refusal> {
    let held = view.ledger.mirror.get(host);
    let value = held.and_then(MirrorValue::text);
    if let Some(value) = value {
        // An argument cannot hold a NUL either.
        if value.len() > LONGEST_RESULT || value.contains('\0') {
            return Err(Refusal::TooLong(printable(host)));
        }
        results.set("fingerprint", fingerprint(value));
        results.set("value", value);
    }
    Ok(())
}

/// What is worth a person's attention in a plan.
pub fn warnings(plan: &Plan) -> Vec<String> {
    let notes = plan.notes.iter();
    notes
        .filter(|note| note.level == Level::Warning)
        .map(|Note { text, .. }| text.clone())
        .collect()
}

/// What an order answers once it is carried out.
pub fn carried_out(order: &Order, applied: &Applied, world: &World) -> Results {
    #[derive(Serialize)]
    struct Answer<'a> {
        host: &'a str,
        outcome: &'static str,
    }

    let mut results = Results::default();
    let status = applied.status();
    match order {
        Order::Resync => {
            let changes = planned_changes(&applied.plan, world);
            results.set("changed", changes.len());
            results.set("status", status);
            if !changes.is_empty() {
                results.set_fitting("changes", &changes, change_table);
            }
            results.set_fitting("json", &changes, |changes| json(&changes));
        }
        Order::Forget { .. } => {
            results.set("changed", applied.ledger_changes().len());
            results.set("status", status);
        }
        Order::Retire { host, .. } | Order::Resolve { host, .. } => {
            let outcome = applied.plan.outcome.unwrap_or(Outcome::Unchanged);
            results.set("host", printable(host));
            results.set("outcome", outcome.as_str());
            if outcome == Outcome::Retired {
                results.set("value", RETIRED);
            }
            results.set("status", status);
            let outcome = outcome.as_str();
            results.set("json", json(&Answer { host, outcome }));
        }
    }
    results
}

/// What `check` answers.
pub fn checked(view: &View) -> Results {
    #[derive(Serialize)]
    struct Answer<'a> {
        leader: bool,
        count: usize,
        findings: &'a [Finding],
    }

    let plan = view.plan();
    let report = Report::of(view);
    let findings = check::findings(view, &plan, &report);
    let mut results = Results::default();
    results.set("leader", view.is_leader);
    results.set("findings", findings.len());
    if !findings.is_empty() {
        results.set_fitting("report", &findings, check::lines);
    }
    results.set_fitting("json", &findings, |shown| {
        json(&Answer {
            leader: view.is_leader,
            count: findings.len(),
            findings: shown,
        })
    });
    results
}

fn json(answer: &impl Serialize) -> String {
    report::value(answer).to_string()
}

//! What `juju status` says (spec 8): whether to wait or to act, and how. A function of the ledger.

use std::fmt;

use crate::core::choose::ledger_shows_cluster;
use crate::core::ledger::{Claim, Ledger, Place, Protocol};
use crate::core::names::UnitName;
use crate::core::wire::{is_hostname, printable};

/// A workload status with its message, as `status-set` takes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Status {
    /// Juju's word for it.
    pub kind: StatusKind,
    /// One line of at most [`LONGEST_MESSAGE`] characters.
    pub message: String,
}

/// The statuses that this charm shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StatusKind {
    /// All is well.
    Active,
    /// It resolves itself.
    Waiting,
    /// A person must act.
    Blocked,
}

impl StatusKind {
    /// Juju's word for it.
    pub fn as_str(self) -> &'static str {
        match self {
            StatusKind::Active => "active",
            StatusKind::Waiting => "waiting",
            StatusKind::Blocked => "blocked",
        }
    }
}

impl fmt::Display for Status {
    fn fmt(&self, text: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(text, "{}: {}", self.kind.as_str(), self.message)
    }
}

/// The most characters of a message.
pub const LONGEST_MESSAGE: usize = 160;

/// The values of `log-level`, the least severe first.
pub const LOG_LEVELS: [&str; 6] = ["trace", "debug", "info", "warning", "error", "critical"];

/// What a person must know of a host whose tokens were refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Help {
    /// Two tokens and more did not serve. The charm cannot see why, and the host's own log says it.
    NoTokenServes {
        /// How many.
        tokens: usize,
    },
    /// The communicator speaks the first protocol, and its library mints one token for a name.
    NobodyMintsAgain,
}

/// What only a person can mend. The text names the remedy; the order of the variants is the order
/// in which a person should hear of them.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Problem {
    /// The option `bootstrap-app` names an application that is not related.
    NotRelated {
        /// The option's value.
        app: String,
    },
    /// The chosen application is known here under another name than its own.
    CrossModel,
    /// A databag has no room.
    Full {
        /// The first key that was left out.
        key: String,
    },
    /// A host name that microcluster cannot mint a token for.
    InvalidName {
        /// The host name.
        name: String,
        /// The first unit that announced it.
        unit: UnitName,
    },
    /// More than one unit announced a host name.
    Contested {
        /// The host name.
        name: String,
        /// The first unit that announced it.
        first: UnitName,
        /// How many more did.
        more: usize,
    },
    /// Another unit announced a host name than the one that may have used its token, which is gone.
    SecondUnit {
        /// The host name.
        name: String,
    },
    /// The token of a host was refused, and no other will come by itself.
    Refused {
        /// The host name.
        name: String,
        /// What is to be done.
        help: Help,
    },
    /// The option `log-level` is none of [`LOG_LEVELS`].
    LogLevel {
        /// The option's value.
        value: String,
    },
}

impl Problem {
    /// One word for scripts.
    pub fn kind(&self) -> &'static str {
        match self {
            Problem::NotRelated { .. } => "bootstrap-app-not-related",
            Problem::CrossModel => "bootstrap-app-cross-model",
            Problem::Full { .. } => "databag-full",
            Problem::InvalidName { .. } => "host-name-invalid",
            Problem::Contested { .. } | Problem::SecondUnit { .. } => "host-name-contested",
            Problem::Refused { .. } => "token-refused",
            Problem::LogLevel { .. } => "log-level",
        }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, text: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Problem::NotRelated { app } => write!(
                text,
                "config bootstrap-app: {} is not related; relate it or set another",
                short(app)
            ),
            Problem::CrossModel => text.write_str(
                "config bootstrap-app: set it to the name that the application related across \
                 models has in its own model",
            ),
            Problem::Full { key } => write!(
                text,
                "databag full: {} is left out; retire hosts that are gone",
                short(key)
            ),
            Problem::InvalidName { name, unit } => write!(
                text,
                "host name {:?} of {unit}: microcluster refuses it; rename the host",
                short(name)
            ),
            Problem::Contested { name, first, more } => {
                let name = short(name);
                match more {
                    1 => write!(
                        text,
                        "host name {name}: another unit beside {first} has it; redeploy the other \
                         under another name"
                    ),
                    more => write!(
                        text,
                        "host name {name}: {more} more units beside {first} have it; redeploy all \
                         but {first} under other names"
                    ),
                }
            }
            Problem::SecondUnit { name } => write!(
                text,
                "host name {}: the same machine again, or a second one; run resolve-host, \
                 member=true if it is in the cluster, else false",
                short(name)
            ),
            Problem::Refused { name, help } => {
                let name = short(name);
                match help {
                    Help::NoTokenServes { tokens } => write!(
                        text,
                        "host {name}: {tokens} tokens did not serve; the log of its unit says why"
                    ),
                    Help::NobodyMintsAgain => write!(
                        text,
                        "host {name}: its token was refused, and the communicator makes only one \
                         token for a name; redeploy it under another name"
                    ),
                }
            }
            Problem::LogLevel { value } => write!(
                text,
                "config log-level: {:?} is none of {}",
                short(value),
                LOG_LEVELS.join(", ")
            ),
        }
    }
}

/// A name as a status has room for it.
fn short(name: &str) -> String {
    cut(printable(name), 40)
}

/// At most so many characters of `text`.
fn cut(text: String, longest: usize) -> String {
    if text.chars().count() <= longest {
        return text;
    }
    text.chars().take(longest - 1).chain(['…']).collect()
}

/// What a person must mend, the most urgent first.
pub fn problems(ledger: &Ledger) -> Vec<Problem> {
    let mut problems = Vec::new();
    let apps = ledger.apps();
    match &ledger.options.bootstrap_app {
        // One of another model may be meant: here it has another name.
        Some(app)
            if !apps.is_empty()
                && !apps
                    .iter()
                    .any(|related| related == app || ledger.place(related) != Place::Here) =>
        {
            problems.push(Problem::NotRelated { app: app.clone() });
        }
        // Once a cluster exists, nobody asks for permission any more.
        None if ledger
            .bootstrap_app
            .as_deref()
            .is_some_and(|app| ledger.place(app) == Place::Elsewhere)
            && !ledger_shows_cluster(ledger) =>
        {
            problems.push(Problem::CrossModel);
        }
        _ => {}
    }
    if let Some(value) = &ledger.options.log_level
        && !LOG_LEVELS.contains(&value.to_lowercase().as_str())
    {
        let value = value.clone();
        problems.push(Problem::LogLevel { value });
    }
    if let Some(key) = &ledger.left_out {
        problems.push(Problem::Full { key: key.clone() });
    }
    let hosts = ledger.hosts.iter();
    problems.extend(hosts.filter_map(|(name, claims)| of_claims(name, claims)));
    let refused = ledger.spent.keys().filter_map(|name| {
        Some(Problem::Refused {
            name: name.clone(),
            help: needs_help(ledger, name)?,
        })
    });
    problems.extend(refused);
    problems.sort();
    problems
}

/// Why a person must look at the host of this name, if so. It stays so until the host is a
/// member or nobody claims the name, whatever is shown meanwhile.
pub fn needs_help(ledger: &Ledger, name: &str) -> Option<Help> {
    let tokens = ledger.spent.get(name)?.len();
    let mut speak = ledger.communicators.values();
    let nobody_mints_again =
        !ledger.communicators.is_empty() && speak.all(|speaks| *speaks == Protocol::First);
    match tokens {
        _ if ledger.has_member(name) || ledger.claimants(name).next().is_none() => None,
        _ if ledger.waits(name) && nobody_mints_again => Some(Help::NobodyMintsAgain),
        0 | 1 => None,
        tokens => Some(Help::NoTokenServes { tokens }),
    }
}

fn of_claims(name: &str, claims: &[Claim]) -> Option<Problem> {
    let name = name.to_owned();
    if !is_hostname(&name) {
        let unit = claims.first()?.unit.clone();
        return Some(Problem::InvalidName { name, unit });
    }
    let mut claimants = claims.iter().filter(|claim| !claim.is_gone);
    let first = claimants.next()?.unit.clone();
    match claimants.count() {
        0 if claims.len() > 1 => Some(Problem::SecondUnit { name }),
        0 => None,
        // An operator said that they are one machine.
        _ if claims.iter().any(Claim::is_resolved) => None,
        more => Some(Problem::Contested { name, first, more }),
    }
}

/// The leader's status.
pub fn of(ledger: &Ledger) -> Status {
    let status = |kind, message| Status { kind, message };
    let problems = problems(ledger);
    if let Some(first) = problems.first() {
        let more = match problems.len() - 1 {
            0 => String::new(),
            more => format!(" (+{more} more)"),
        };
        // Names of applications can be long; the log has the whole line.
        let first = cut(first.to_string(), LONGEST_MESSAGE - more.len());
        return status(StatusKind::Blocked, format!("{first}{more}"));
    }
    let names = ledger.mirror.keys().filter(|name| is_hostname(name));
    let hosts = match names.count() {
        1 => "1 host".to_owned(),
        hosts => format!("{hosts} hosts"),
    };
    let waiting = ledger
        .waiting()
        .into_iter()
        .filter(|name| is_hostname(name));
    let turns = match ledger.queue.len() {
        0 => None,
        1 => Some("1 host waits for its turn".to_owned()),
        queued => Some(format!("{queued} hosts wait for their turn")),
    };
    match (waiting.count(), turns) {
        _ if ledger.apps().is_empty() => {
            status(StatusKind::Active, "no microcluster related".to_owned())
        }
        (0, None) => status(StatusKind::Active, hosts),
        (0, Some(turns)) => status(StatusKind::Waiting, turns),
        (waiting, turns) => {
            let tokens = format!("{waiting} of {hosts} waiting for a join token");
            let both = [Some(tokens), turns].into_iter().flatten();
            status(StatusKind::Waiting, both.collect::<Vec<_>>().join(", "))
        }
    }
}

/// The status of a unit that is not leader.
pub fn standby() -> Status {
    Status {
        kind: StatusKind::Active,
        message: "standby".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::wire::Databag;

    fn ledger(pairs: &[(&str, &str)]) -> Ledger {
        let owned = |(key, value): &(&str, &str)| ((*key).to_owned(), (*value).to_owned());
        Ledger::from(pairs.iter().map(owned).collect::<Databag>())
    }

    #[test]
    fn a_person_sees_whether_to_wait_or_to_act() {
        let m = ("relation-1", "m");
        for (pairs, text) in [
            (vec![], "active: no microcluster related"),
            (
                vec![("relation-1", "m -")],
                "active: no microcluster related",
            ),
            (vec![m], "active: 0 hosts"),
            (vec![m, ("mirror-h", "member")], "active: 1 host"),
            (
                vec![m, ("mirror-h", "member"), ("mirror-i", "token")],
                "active: 2 hosts",
            ),
            (
                vec![m, ("mirror-h", "empty")],
                "waiting: 1 of 1 host waiting for a join token",
            ),
            (
                vec![m, ("mirror-h", "empty"), ("mirror-i", "token")],
                "waiting: 1 of 2 hosts waiting for a join token",
            ),
            (
                vec![m, ("mirror-h", "token"), ("queue", "h")],
                "waiting: 1 host waits for its turn",
            ),
            (
                vec![
                    m,
                    ("mirror-h", "empty"),
                    ("mirror-i", "token"),
                    ("mirror-j", "token"),
                    ("queue", "i j"),
                ],
                "waiting: 1 of 3 hosts waiting for a join token, 2 hosts wait for their turn",
            ),
            (
                vec![m, ("mirror-h", "foobar"), ("spent-h", "72ad2699")],
                "waiting: 1 of 1 host waiting for a join token",
            ),
            (
                vec![
                    m,
                    ("mirror-h", "foobar"),
                    ("host-h", "m/1"),
                    ("spent-h", "00000000 72ad2699"),
                ],
                "blocked: host h: 2 tokens did not serve; the log of its unit says why",
            ),
            (
                vec![
                    m,
                    ("mirror-h", "another"),
                    ("host-h", "m/1"),
                    ("spent-h", "00000000 72ad2699 11111111"),
                ],
                "blocked: host h: 3 tokens did not serve; the log of its unit says why",
            ),
            (
                vec![
                    m,
                    ("mirror-h", "another"),
                    ("host-h", "m/1*"),
                    ("spent-h", "00000000 72ad2699"),
                ],
                "active: 1 host",
            ),
            (
                vec![
                    m,
                    ("mirror-h", "foobar"),
                    ("host-h", "m/1"),
                    ("spent-h", "72ad2699"),
                    ("communicators", "m/0"),
                ],
                "blocked: host h: its token was refused, and the communicator makes only one \
                 token for a name; redeploy it under another name",
            ),
            (
                vec![m, ("host---help", "m/1")],
                "blocked: host name \"--help\" of m/1: microcluster refuses it; rename the host",
            ),
            (
                vec![m, ("host-h", "m/1 m/2"), ("option-log-level", "loud")],
                "blocked: host name h: another unit beside m/1 has it; redeploy the other under \
                 another name (+1 more)",
            ),
            (
                vec![m, ("host-h", "m/1- n/1"), ("mirror-h", "token")],
                "blocked: host name h: the same machine again, or a second one; run resolve-host, \
                 member=true if it is in the cluster, else false",
            ),
            (
                vec![m, ("host-h", "m/1- n/1 n/2"), ("mirror-h", "token")],
                "blocked: host name h: another unit beside n/1 has it; redeploy the other under \
                 another name",
            ),
            (
                vec![m, ("host-h", "m/1!* n/1*"), ("mirror-h", "member")],
                "active: 1 host",
            ),
            (
                vec![m, ("host-h", "m/1-"), ("mirror-h", "token")],
                "active: 1 host",
            ),
            (
                vec![("option-log-level", "loud")],
                "blocked: config log-level: \"loud\" is none of trace, debug, info, warning, \
                 error, critical",
            ),
            (
                vec![m, ("option-bootstrap-app", "x")],
                "blocked: config bootstrap-app: x is not related; relate it or set another",
            ),
            (
                vec![
                    ("relation-1", "ovn-east"),
                    ("other-models", "ovn-east"),
                    ("option-bootstrap-app", "x"),
                ],
                "active: 0 hosts",
            ),
            (
                vec![
                    ("relation-1", "ovn-east"),
                    ("other-models", "ovn-east"),
                    ("bootstrap-app", "ovn-east"),
                ],
                "blocked: config bootstrap-app: set it to the name that the application related \
                 across models has in its own model",
            ),
            (
                vec![
                    m,
                    ("other-models", "m?"),
                    ("bootstrap-app", "m"),
                    ("mirror-h", "empty"),
                ],
                "waiting: 1 of 1 host waiting for a join token",
            ),
            (
                vec![m, ("left-out", "mirror-h")],
                "blocked: databag full: mirror-h is left out; retire hosts that are gone",
            ),
        ] {
            assert_eq!(of(&ledger(&pairs)).to_string(), text, "{pairs:?}");
        }
    }

    #[test]
    fn a_message_names_the_first_case_and_fits_its_line() {
        let units: Vec<String> = (0..40).map(|number| format!("microovn/{number}")).collect();
        let units = units.join(" ");
        let status = of(&ledger(&[("host-ubuntu", &units)]));
        assert_eq!(
            status.message,
            "host name ubuntu: 39 more units beside microovn/0 have it; redeploy all but \
             microovn/0 under other names"
        );
        // Applications of other models have long names, and any may have.
        for app in ["remote-0123456789abcdef0123456789abcdef", &"a".repeat(200)] {
            let units = format!("{app}/10 {app}/11 {app}/12");
            let pairs = [("host-ubuntu", units.as_str()), ("host-a_b", "m/1")];
            let message = of(&ledger(&pairs)).message;
            assert!(message.chars().count() <= LONGEST_MESSAGE, "{message}");
            let pairs = [("host-ubuntu", units.as_str()), ("host-v", &units)];
            let two = of(&ledger(&pairs)).message;
            assert!(two.chars().count() <= LONGEST_MESSAGE, "{two}");
            assert!(two.ends_with(" (+1 more)"), "{two}");
            let contested = of(&ledger(&pairs[..1])).message;
            assert!(contested.chars().count() <= LONGEST_MESSAGE, "{contested}");
            assert!(contested.starts_with("host name ubuntu: 2 more units"));
        }
        let long = "x".repeat(255);
        for key in [
            "host-",
            "option-bootstrap-app",
            "option-log-level",
            "left-out",
        ] {
            let key = if key == "host-" {
                format!("host-{long}")
            } else {
                key.to_owned()
            };
            let value = if key.starts_with("host-") {
                "m/0"
            } else {
                &long
            };
            let mut pairs: Vec<(&str, &str)> = vec![("relation-1", "m"), (&key, value)];
            for name in ["host-1", "host-2"] {
                pairs.push((name, "m/9"));
            }
            let status = of(&ledger(&pairs));
            let length = status.message.chars().count();
            assert!(length <= LONGEST_MESSAGE, "{length}: {}", status.message);
        }
    }
}

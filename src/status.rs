//! What `juju status` says: whether to wait or to act, and how.

use std::fmt;

use crate::databag::printable;

/// A workload status with its message, as `status-set` takes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Status {
    /// Juju's word for it.
    pub kind: StatusKind,
    /// One short line.
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

/// The values of `log-level`, the least severe first.
pub const LOG_LEVELS: [&str; 6] = ["trace", "debug", "info", "warning", "error", "critical"];

/// What only a person can mend. The text names the remedy; the order of the variants is the order
/// in which a person should hear of them.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Problem {
    /// `bootstrap-app` names an application that is not related.
    NotRelated {
        /// The configured name.
        app: String,
    },
    /// The chosen application is known here under another name than its own.
    CrossModel,
    /// The bags are full.
    Full {
        /// How many keys were left out.
        left_out: usize,
    },
    /// A host name that microcluster cannot mint a token for.
    Refused {
        /// The host name.
        hostname: String,
        /// Who announced it.
        unit: String,
    },
    /// More than one unit announced a host name.
    Contested {
        /// The host name.
        hostname: String,
        /// Who announced it, first comer first.
        units: Vec<String>,
    },
    /// `log-level` is none of [`LOG_LEVELS`].
    LogLevel {
        /// The configured value.
        value: String,
    },
}

impl Problem {
    /// A name that no token can be minted for.
    pub fn refused(hostname: &str, units: &[&str]) -> Self {
        Problem::Refused {
            hostname: hostname.to_owned(),
            unit: units.first().copied().unwrap_or_default().to_owned(),
        }
    }

    /// A name that a second unit announced.
    pub fn contested(hostname: &str, units: &[&str]) -> Self {
        Problem::Contested {
            hostname: hostname.to_owned(),
            units: units.iter().map(ToString::to_string).collect(),
        }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, text: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Problem::NotRelated { app } => write!(
                text,
                "{CONFIG}bootstrap-app: {} is not related; relate it or set another",
                printable(app)
            ),
            Problem::CrossModel => write!(
                text,
                "{CONFIG}bootstrap-app: set it to the name that the application related across \
                 models has in its own model"
            ),
            Problem::Full { left_out } => write!(
                text,
                "databag full: {left_out} {} left out; retire hosts that are gone",
                if *left_out == 1 { "key" } else { "keys" }
            ),
            Problem::Refused { hostname, unit } => write!(
                text,
                "host name {:?} of {unit} is refused by microcluster; rename the host",
                printable(hostname)
            ),
            Problem::Contested { hostname, units } => write!(
                text,
                "host name {} was announced by {}; its token serves one unit: redeploy the last \
                 under another name",
                printable(hostname),
                units.join(", then ")
            ),
            Problem::LogLevel { value } => write!(
                text,
                "{CONFIG}log-level: {:?} is none of {}",
                printable(value),
                LOG_LEVELS.join(", ")
            ),
        }
    }
}

/// How every message about an option begins. Only a look at the options can lift such a status.
pub const CONFIG: &str = "config ";

/// What the status is computed from.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Overview {
    /// Whether any application is related.
    pub related: bool,
    /// Hosts with a token or a placeholder.
    pub hosts: usize,
    /// Of these, hosts without a token.
    pub waiting: usize,
    /// What a person must mend.
    pub problems: Vec<Problem>,
}

impl Overview {
    /// The status, the most severe finding first.
    pub fn status(&self) -> Status {
        let status = |kind, message| Status { kind, message };
        if let Some(worst) = self.problems.iter().min() {
            let more = match self.problems.len() - 1 {
                0 => String::new(),
                more => format!(" (+{more} more)"),
            };
            return status(StatusKind::Blocked, format!("{worst}{more}"));
        }
        let hosts = match self.hosts {
            1 => "1 host".to_owned(),
            hosts => format!("{hosts} hosts"),
        };
        match self.waiting {
            _ if !self.related => status(StatusKind::Active, "no microcluster related".to_owned()),
            0 => status(StatusKind::Active, hosts),
            waiting => status(
                StatusKind::Waiting,
                format!("{waiting} of {hosts} waiting for a join token"),
            ),
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

    #[test]
    fn a_person_sees_whether_to_wait_or_to_act() {
        let refused = Problem::refused("--help", &["microovn/1"]);
        let loud = Problem::LogLevel {
            value: "loud".to_owned(),
        };
        for (related, hosts, waiting, problems, text) in [
            (false, 0, 0, vec![], "active no microcluster related"),
            (true, 0, 0, vec![], "active 0 hosts"),
            (true, 1, 0, vec![], "active 1 host"),
            (true, 3, 0, vec![], "active 3 hosts"),
            (
                true,
                3,
                1,
                vec![],
                "waiting 1 of 3 hosts waiting for a join token",
            ),
            (
                true,
                1,
                1,
                vec![],
                "waiting 1 of 1 host waiting for a join token",
            ),
            (
                true,
                3,
                1,
                vec![refused.clone()],
                "blocked host name \"--help\" of microovn/1 is refused by microcluster; rename the host",
            ),
            (
                true,
                3,
                0,
                vec![loud.clone(), refused],
                "blocked host name \"--help\" of microovn/1 is refused by microcluster; rename the host (+1 more)",
            ),
            (
                false,
                0,
                0,
                vec![loud],
                "blocked config log-level: \"loud\" is none of trace, debug, info, warning, error, critical",
            ),
        ] {
            let status = Overview {
                related,
                hosts,
                waiting,
                problems,
            }
            .status();
            assert_eq!(format!("{} {}", status.kind.as_str(), status.message), text);
        }
    }
}

//! The seam: everything a consumer charm touches outside its own memory.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::ControlFlow;
use std::sync::Arc;

use serde::Deserialize;

use super::Crash;

/// One relation databag.
pub type Databag = BTreeMap<String, String>;

/// What a command left behind.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CommandOutput {
    /// Exit status; 0 is success.
    pub status: i32,
    /// Everything printed to standard output.
    pub stdout: Vec<u8>,
    /// Everything printed to standard error.
    pub stderr: Vec<u8>,
}

impl CommandOutput {
    /// A success that printed `stdout`.
    pub fn success(stdout: impl Into<Vec<u8>>) -> Self {
        CommandOutput {
            stdout: stdout.into(),
            ..CommandOutput::default()
        }
    }

    /// A failure with its message.
    pub fn failure(status: i32, stderr: impl Into<Vec<u8>>) -> Self {
        CommandOutput {
            status,
            stderr: stderr.into(),
            ..CommandOutput::default()
        }
    }
}

/// Whose databag: a unit's or an application's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// `relation-get … UNIT`
    Unit,
    /// `relation-get --app … APPLICATION`
    Application,
}

/// What a consumer charm can touch: hook tools, its snap's command line, its host's name.
///
/// The first five methods make a host. The provided ones say the same as the hook tool or command
/// they stand for; a model of hundreds of units overrides them to skip the JSON.
pub trait Host {
    /// Runs a hook tool.
    fn hook_tool(&mut self, tool: &str, args: &[String], stdin: Option<&[u8]>) -> CommandOutput;

    /// Runs the snap's command, for example with `["cluster", "list", "-f", "json"]`.
    fn microovn(&mut self, args: &[&str]) -> CommandOutput;

    /// The kernel's node name (`uname -n`), at most 64 characters, perhaps with dots.
    fn hostname(&self) -> String;

    /// One second of waiting because some member of the cluster is still `PENDING`.
    ///
    /// The library sleeps and asks again without any limit, and only a heartbeat of the cluster
    /// ends it. A real process sleeps a little here; a model on a virtual clock moves this hook's
    /// time on, usually straight to
    /// [`Cloud::next_heartbeat`](crate::microcluster::Cloud::next_heartbeat).
    /// `Break` says that no heartbeat will ever help (a dead `PENDING` member): the real hook would
    /// hang without end, so [`dispatch`](super::dispatch) gives up with [`HANGS`](super::HANGS).
    fn wait_for_pending(&mut self) -> ControlFlow<()>;

    /// Seconds since some moment that stays the same.
    fn now(&self) -> u64;

    /// One `cluster list`, reduced to what the library takes from it.
    fn census(&mut self) -> Result<Census, ListError> {
        let output = self.microovn(&["cluster", "list", "-f", "json"]);
        Ok(Census::of(members(&output)?.iter().map(Row::columns)))
    }

    /// One `cluster list`, reduced to what the second protocol's library takes from it. A list of
    /// nobody is none.
    fn standing(&mut self) -> Result<Standing, ListError> {
        let output = self.microovn(&["cluster", "list", "-f", "json"]);
        let members = members(&output)?;
        if members.is_empty() {
            return Err(ListError::Unreadable);
        }
        Ok(Standing::of(
            &self.hostname(),
            members.iter().map(Row::columns),
        ))
    }

    /// One `relation-get` of a whole databag.
    fn relation_get(
        &mut self,
        relation: &str,
        owner: &str,
        level: Level,
    ) -> Result<Arc<Databag>, Crash> {
        let mut args = vec!["--format=json".to_owned(), "-r".to_owned(), relation.into()];
        if level == Level::Application {
            args.push("--app".into());
        }
        args.extend(["-".to_owned(), owner.to_owned()]);
        let output = self.hook_tool("relation-get", &args, None);
        let bag: Option<Databag> = Crash::unless_relation_is_gone("relation-get", output)?;
        Ok(Arc::new(bag.unwrap_or_default()))
    }
}

/// The columns of `cluster list` that the library reads.
#[derive(Deserialize)]
struct Row {
    name: String,
    role: String,
    status: String,
}

impl Row {
    fn columns(&self) -> (&str, &str, &str) {
        (&self.name, &self.role, &self.status)
    }
}

fn members(list: &CommandOutput) -> Result<Vec<Row>, ListError> {
    if list.status != 0 {
        return Err(ListError::Refused(list.status));
    }
    serde_json::from_slice(&list.stdout).map_err(|_| ListError::Unreadable)
}

/// What the library takes from one `cluster list`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Census {
    /// Some member has joined but not yet been given a role.
    pub pending: bool,
    /// The member that mints tokens: the smallest name among the voters that are online.
    pub communicator: Option<String>,
}

impl Census {
    /// Takes name, role and status of each member.
    ///
    /// A member counts as a voter if its role is a *substring* of `voter`; so does one whose role
    /// is the empty string, which microcluster does print now and then.
    pub fn of<'a>(members: impl IntoIterator<Item = (&'a str, &'a str, &'a str)>) -> Self {
        let mut pending = false;
        let mut communicator: Option<&str> = None;
        for (name, role, status) in members {
            pending |= role == "PENDING";
            if "voter".contains(role) && status == "ONLINE" {
                communicator = Some(communicator.map_or(name, |smallest| smallest.min(name)));
            }
        }
        Census {
            pending,
            communicator: communicator.map(str::to_owned),
        }
    }
}

/// What the second protocol's library takes from one `cluster list`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Standing {
    /// This host's own entry.
    pub own: Own,
    /// Some member votes. Unlike in [`Census::of`], a voter is only who is called exactly that.
    pub votes: bool,
    /// The smallest name among the voters that are online.
    pub lowest_voter: Option<String>,
    /// The names of all members.
    pub members: BTreeSet<String>,
    /// Every member is online.
    pub all_online: bool,
}

/// How `cluster list` shows the host on which it runs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Own {
    /// Not at all: the host is half in.
    #[default]
    Absent,
    /// Without a role: it may be in a moment later, or outside.
    Pending,
    /// With a role.
    In,
}

impl Standing {
    /// Takes name, role and status of each member.
    pub fn of<'a>(
        hostname: &str,
        members: impl IntoIterator<Item = (&'a str, &'a str, &'a str)>,
    ) -> Self {
        let mut standing = Standing {
            all_online: true,
            ..Standing::default()
        };
        let mut lowest: Option<&str> = None;
        for (name, role, status) in members {
            standing.members.insert(name.to_owned());
            standing.all_online &= status == "ONLINE";
            standing.votes |= role == "voter";
            if role == "voter" && status == "ONLINE" {
                lowest = Some(lowest.map_or(name, |lowest| lowest.min(name)));
            }
            if name == hostname {
                standing.own = match role {
                    "" | "PENDING" => Own::Pending,
                    _ => Own::In,
                };
            }
        }
        standing.lowest_voter = lowest.map(str::to_owned);
        standing
    }

    /// Whether this host is the communicator. While nobody votes (before a heartbeat, and for a while
    /// after the only voter has left) it is who says so already, or the only member.
    pub fn is_communicator(&self, hostname: &str, says_up: bool) -> bool {
        if self.votes {
            return self.lowest_voter.as_deref() == Some(hostname);
        }
        self.own != Own::Absent && (says_up || self.members.len() == 1)
    }
}

/// Why `cluster list` gave nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ListError {
    /// The command failed: not in a cluster, or not every member answered in time.
    #[error("cluster list failed with code {0}")]
    Refused(i32),
    /// The command succeeded and printed something that is not a list of members.
    #[error("cluster list did not print the JSON we expect")]
    Unreadable,
}

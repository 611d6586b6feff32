//! Juju's hook tools, one function for each. No other module starts a process.
//!
//! Databags travel over standard input and output. Nothing secret is in an argument, so an
//! error can show the whole command; and no error ever shows what a tool printed as data.

use std::cell::OnceCell;
use std::collections::BTreeMap;
use std::fmt;
use std::io::{self, Write};
use std::iter;
use std::panic::resume_unwind;
use std::process::{Command, ExitStatus, Output, Stdio};
use std::thread;
use std::time::Duration;

use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};
use tracing::warn;

use crate::core::goal::GoalState;
use crate::core::ledger::Ledger;
use crate::core::names::{ENDPOINT, PEER_ENDPOINT, RelationId, UnitName, is_application};
use crate::core::status::Status;
use crate::core::wire::{Databag, printable};
use crate::juju::environment;

/// Something that can run a hook tool: Juju's own, or a model in the same process.
pub trait Agent {
    /// Runs `tool` with `arguments`, `stdin` piped into it, and waits for its end.
    ///
    /// # Errors
    /// When it cannot be started or waited for.
    fn call(&self, tool: &str, arguments: &[String], stdin: Option<&[u8]>) -> io::Result<Output>;

    /// Runs `tool` once for each of `calls` and answers in their order.
    fn call_each(&self, tool: &str, calls: &[Vec<String>]) -> Vec<io::Result<Output>> {
        calls
            .iter()
            .map(|arguments| self.call(tool, arguments, None))
            .collect()
    }

    /// Waits. Hooks of one machine exclude each other, so it is never for long.
    fn wait(&self, pause: Duration) {
        thread::sleep(pause);
    }

    /// Says what no hook tool could say: Juju shows standard error in its own log.
    fn complain(&self, text: &str) {
        eprintln!("{text}");
    }
}

/// Juju's hook tools, found through `PATH`.
#[derive(Clone, Copy, Debug, Default)]
pub struct Processes;

impl Agent for Processes {
    fn call(&self, tool: &str, arguments: &[String], stdin: Option<&[u8]>) -> io::Result<Output> {
        #[expect(
            clippy::disallowed_methods,
            reason = "the only place that starts processes"
        )]
        let mut command = Command::new(tool);
        command
            .args(arguments)
            .stdin(if stdin.is_some() {
                Stdio::piped()
            } else {
                Stdio::null()
            })
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let mut child = command.spawn()?;
        let Some((mut pipe, document)) = child.stdin.take().zip(stdin) else {
            return child.wait_with_output();
        };
        thread::scope(|scope| {
            // Written beside the reading, or two full pipes would wait for each other. A tool that
            // leaves without reading breaks the pipe; its exit status says more than that error.
            scope.spawn(move || drop(pipe.write_all(document)));
            child.wait_with_output()
        })
    }

    /// The agent answers one tool at a time, but the processes start and end beside each other,
    /// and they are most of the cost.
    fn call_each(&self, tool: &str, calls: &[Vec<String>]) -> Vec<io::Result<Output>> {
        /// Enough to keep the agent busy; more would only wait in its queue.
        const AT_ONCE: usize = 4;

        let call = |arguments: &Vec<String>| self.call(tool, arguments, None);
        let share = calls.len().div_ceil(AT_ONCE).max(1);
        thread::scope(|scope| {
            let shares = calls.chunks(share);
            let threads: Vec<_> = shares
                .map(|share| scope.spawn(move || share.iter().map(call).collect::<Vec<_>>()))
                .collect();
            let answers = threads.into_iter().map(|thread| thread.join());
            answers
                .flat_map(|answers| answers.unwrap_or_else(|panic| resume_unwind(panic)))
                .collect()
        })
    }
}

/// A hook tool did not do what it should.
#[derive(Debug, thiserror::Error)]
pub enum ToolError {
    /// It could not be started.
    #[error("cannot start `{command}`")]
    Start {
        /// What was to be run.
        command: CommandLine,
        /// Why.
        source: io::Error,
    },
    /// It said no.
    #[error("`{command}` failed ({status}): {message}")]
    Failed {
        /// What was run.
        command: CommandLine,
        /// How it ended.
        status: ExitStatus,
        /// What it wrote on standard error.
        message: String,
    },
    /// It printed something else than the JSON expected. Only the place is kept: the text around
    /// it may hold a token.
    #[error("`{command}` printed no {expected} (line {line}, column {column})")]
    Unreadable {
        /// What was run.
        command: CommandLine,
        /// What it should have printed.
        expected: &'static str,
        /// Counted from 1; 0 where the text as a whole is of another kind.
        line: usize,
        /// Counted from 1, in bytes.
        column: usize,
    },
}

impl ToolError {
    fn complaint(&self) -> &str {
        match self {
            ToolError::Failed { message, .. } => message,
            _ => "",
        }
    }

    /// Juju does not serve this relation: it is gone, or going, or this unit is not in it. Juju may
    /// list it all the same.
    pub fn is_relation_gone(&self) -> bool {
        let complaint = self.complaint();
        let numbered = || {
            let words: Vec<&str> = complaint.split_whitespace().collect();
            let mut threes = words.windows(4);
            threes.any(|four| {
                let is_number = four[1].bytes().all(|byte| byte.is_ascii_digit());
                four[0].ends_with("relation") && is_number && four[2] == "not" && four[3] == "found"
            })
        };
        complaint.contains("relation not found") || numbered()
    }

    /// The unit has not entered the relation: Juju 3's words, then Juju 4's.
    pub fn is_unit_absent(&self) -> bool {
        let complaint = self.complaint();
        complaint.contains("settings not found") || complaint.contains("relation unit not found")
    }

    /// Juju refuses. Of an own unit bag that means that the relation is going. Of an own
    /// application bag it may also mean that leadership is lost.
    pub fn is_denied(&self) -> bool {
        self.complaint().contains("permission denied")
    }

    /// What any of these says when an own unit bag is read or written.
    pub fn is_relation_unserved(&self) -> bool {
        self.is_relation_gone() || self.is_unit_absent() || self.is_denied()
    }
}

/// A tool and its arguments, as a person would type them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CommandLine(Vec<String>);

impl CommandLine {
    fn new(tool: &str, arguments: &[impl AsRef<str>]) -> Self {
        let arguments = arguments.iter().map(AsRef::as_ref);
        let words = iter::once(tool).chain(arguments);
        CommandLine(words.map(str::to_owned).collect())
    }
}

impl fmt::Display for CommandLine {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        // A text for the log has lines, and may be longer than anybody wants to read in an error.
        let words: Vec<String> = self.0.iter().map(|word| printable(word)).collect();
        formatter.write_str(&words.join(" "))
    }
}

/// The workload status as Juju holds it.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct ShownStatus {
    /// Juju's word for it.
    pub status: String,
    /// Its line.
    #[serde(default)]
    pub message: String,
}

impl ShownStatus {
    /// Whether it is this one.
    pub fn is(&self, status: &Status) -> bool {
        self.status == status.kind.as_str() && self.message == status.message
    }
}

/// The statuses of the application and of its units, as the leader may ask for them.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct ShownStatuses {
    application_status: ShownApplication,
}

#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
struct ShownApplication {
    #[serde(flatten)]
    status: ShownStatus,
    #[serde(default)]
    units: BTreeMap<String, ShownStatus>,
}

impl ShownStatuses {
    /// Whether the application shows this status.
    pub fn application_is(&self, status: &Status) -> bool {
        self.application_status.status.is(status)
    }

    /// Whether `unit` shows this status.
    pub fn unit_is(&self, unit: &UnitName, status: &Status) -> bool {
        let shown = self.application_status.units.get(unit.as_str());
        shown.is_some_and(|shown| shown.is(status))
    }
}

/// Whose bag of a relation is meant.
#[derive(Clone, Copy, Debug)]
pub enum Bag<'a> {
    /// Our application's.
    OwnApp,
    /// Our unit's.
    OwnUnit,
    /// Another unit's, by name.
    Unit(&'a UnitName),
}

/// The hook tools of the unit that this process runs for.
pub struct HookTools<'a> {
    agent: &'a dyn Agent,
    own_unit: UnitName,
    goal: OnceCell<Option<GoalState>>,
}

impl<'a> HookTools<'a> {
    /// The tools of `own_unit`, run by `agent`.
    pub fn new(agent: &'a dyn Agent, own_unit: UnitName) -> Self {
        HookTools {
            agent,
            own_unit,
            goal: OnceCell::new(),
        }
    }

    /// The unit we are.
    pub fn own_unit(&self) -> &UnitName {
        &self.own_unit
    }

    /// Whether this unit leads its application. True is good for 30 seconds from the call.
    pub fn is_leader(&self) -> Result<bool, ToolError> {
        self.json("true or false", "is-leader", &["--format=json"])
    }

    /// The relations on our endpoint.
    pub fn relation_ids(&self) -> Result<Vec<RelationId>, ToolError> {
        self.ids_on(ENDPOINT)
    }

    /// The peer relation, whose application bag is the ledger. `None` where Juju does not show it:
    /// before the first relation-created, and at the very end of a unit. Juju 3.6.5 can show
    /// several ids for it; they name one bag, and the highest stays.
    pub fn peer_relation(&self) -> Result<Option<RelationId>, ToolError> {
        Ok(self.ids_on(PEER_ENDPOINT)?.into_iter().max())
    }

    fn ids_on(&self, endpoint: &str) -> Result<Vec<RelationId>, ToolError> {
        let arguments = ["--format=json", endpoint];
        let ids: Vec<String> = self.json("list of relation ids", "relation-ids", &arguments)?;
        ids.iter()
            .map(|id| environment::relation_id(id))
            .collect::<Option<_>>()
            .ok_or_else(|| unreadable("relation-ids", &arguments, "list of relation ids"))
    }

    /// The ledger. Any unit of this application may read it.
    pub fn ledger_get(&self, peer: RelationId) -> Result<Ledger, ToolError> {
        let relation = peer_id(peer);
        let app = self.own_unit.app();
        let arguments = ["--format=json", "-r", &relation, "--app", "-", app];
        self.json("databag", "relation-get", &arguments)
    }

    /// Merges `document` into the ledger's databag. Only the leader may.
    pub fn ledger_set(&self, peer: RelationId, document: &str) -> Result<(), ToolError> {
        let relation = peer_id(peer);
        let arguments = ["-r", &relation, "--app", "--file", "-"];
        self.run("relation-set", &arguments, Some(document.as_bytes()))
            .map(drop)
    }

    /// The remote units that have joined. Our own is never among them.
    pub fn relation_list(&self, relation: RelationId) -> Result<Vec<UnitName>, ToolError> {
        let relation = id(relation);
        let arguments = ["--format=json", "-r", &relation];
        let units: Vec<String> = self.json("list of units", "relation-list", &arguments)?;
        let units: Option<Vec<UnitName>> = units.iter().map(|unit| unit.parse().ok()).collect();
        let mut units =
            units.ok_or_else(|| unreadable("relation-list", &arguments, "list of units"))?;
        // Juju 4.0.0 and 4.0.1 list units of our own application, too.
        units.retain(|unit| unit.app() != self.own_unit.app());
        Ok(units)
    }

    /// The remote application, also where it has no unit.
    pub fn relation_list_app(&self, relation: RelationId) -> Result<String, ToolError> {
        let relation = id(relation);
        let arguments = ["--format=json", "--app", "-r", &relation];
        let app: String = self.json("application name", "relation-list", &arguments)?;
        match is_application(&app) {
            true => Ok(app),
            false => Err(unreadable("relation-list", &arguments, "application name")),
        }
    }

    /// A whole databag. Juju sends our own unit's back at the end of the hook once it was read.
    pub fn relation_get(&self, relation: RelationId, bag: Bag<'_>) -> Result<Databag, ToolError> {
        let relation = id(relation);
        let start = ["--format=json", "-r", &relation];
        let end: &[&str] = match bag {
            Bag::OwnApp => &["--app", "-", self.own_unit.app()],
            Bag::OwnUnit => &["-", self.own_unit.as_str()],
            Bag::Unit(unit) => &["-", unit.as_str()],
        };
        self.json("databag", "relation-get", &[&start, end].concat())
    }

    /// The bags of many units, in their order. `None` where Juju has none: the unit has not entered
    /// the relation, or (Juju 4) has left it without ever writing.
    pub fn relation_get_each(
        &self,
        units: &[(RelationId, UnitName)],
    ) -> Vec<Result<Option<Databag>, ToolError>> {
        let calls: Vec<Vec<String>> = units
            .iter()
            .map(|(relation, unit)| {
                let relation = id(*relation);
                ["--format=json", "-r", &relation, "-", unit.as_str()]
                    .map(str::to_owned)
                    .into()
            })
            .collect();
        let outputs = self.agent.call_each("relation-get", &calls);
        let answers = calls.iter().zip(outputs).map(|(arguments, output)| {
            let command = CommandLine::new("relation-get", arguments);
            match checked(command, output).and_then(|printed| parse("databag", printed)) {
                Err(error) if error.is_unit_absent() => Ok(None),
                bag => bag.map(Some),
            }
        });
        answers.collect()
    }

    /// Merges `document` (see [`crate::juju::document`]) into one of our own bags. Juju keeps it
    /// back until this hook ends well.
    pub fn relation_set(
        &self,
        relation: RelationId,
        bag: Bag<'_>,
        document: &str,
    ) -> Result<(), ToolError> {
        let relation = id(relation);
        let arguments: &[&str] = match bag {
            Bag::OwnApp => &["-r", &relation, "--app", "--file", "-"],
            Bag::OwnUnit | Bag::Unit(_) => &["-r", &relation, "--file", "-"],
        };
        self.run("relation-set", arguments, Some(document.as_bytes()))
            .map(drop)
    }

    /// What Juju expects to be there. The controller is asked once in a hook.
    ///
    /// It is advice: certain cross-model relations make it fail on every call. `None` where it
    /// fails, and the hook goes on without what it would show.
    pub fn goal_state(&self) -> Option<&GoalState> {
        self.goal.get_or_init(|| self.goal_state_now()).as_ref()
    }

    /// The same as it is now: Juju answers each call anew.
    pub fn goal_state_now(&self) -> Option<GoalState> {
        match self.json("goal state", "goal-state", &["--format=json"]) {
            Ok(goal) => Some(goal),
            Err(error) => {
                warn!("what Juju expects to be there is not known: {error}");
                None
            }
        }
    }

    /// Waits inside this hook.
    pub fn wait(&self, pause: Duration) {
        self.agent.wait(pause);
    }

    /// Whether an answering goal-state does not list this unit any more, or lists it as leaving.
    pub fn has_no_future(&self) -> bool {
        let goal = self.goal_state();
        goal.is_some_and(|goal| goal.is_leaving(&self.own_unit) != Some(false))
    }

    /// All options that are set or have a default.
    pub fn config_get(&self) -> Result<BTreeMap<String, Value>, ToolError> {
        self.json("configuration", "config-get", &["--format=json"])
    }

    /// The workload status that is shown.
    pub fn status_get(&self) -> Result<ShownStatus, ToolError> {
        self.json("status", "status-get", &["--include-data", "--format=json"])
    }

    /// Shows a workload status, at once and whatever becomes of the hook.
    pub fn status_set(&self, status: &Status) -> Result<(), ToolError> {
        let arguments = [status.kind.as_str(), "--", &status.message];
        self.run("status-set", &arguments, None).map(drop)
    }

    /// The statuses of the application and its units. Only the leader may ask.
    pub fn status_get_of_all(&self) -> Result<ShownStatuses, ToolError> {
        let arguments = ["--application", "--include-data", "--format=json"];
        self.json("status", "status-get", &arguments)
    }

    /// Shows a status of the application. Only the leader may.
    pub fn status_set_of_application(&self, status: &Status) -> Result<(), ToolError> {
        let arguments = ["--application", status.kind.as_str(), "--", &status.message];
        self.run("status-set", &arguments, None).map(drop)
    }

    /// Shows the version of what this charm runs, which is this charm.
    pub fn application_version_set(&self, version: &str) -> Result<(), ToolError> {
        self.run("application-version-set", &["--", version], None)
            .map(drop)
    }

    /// The parameters of the running action, with their defaults.
    pub fn action_get(&self) -> Result<Map<String, Value>, ToolError> {
        self.json("parameters", "action-get", &["--format=json"])
    }

    /// Sets results of the running action. One of them may be a token, so an error shows no more
    /// than their keys.
    pub fn action_set(&self, results: &[(&str, String)]) -> Result<(), ToolError> {
        let arguments: Vec<String> = results
            .iter()
            .map(|(key, value)| format!("{key}={value}"))
            .collect();
        let output = self.agent.call("action-set", &arguments, None);
        let keys: Vec<String> = results.iter().map(|(key, _)| format!("{key}=..")).collect();
        checked(CommandLine::new("action-set", &keys), output).map(drop)
    }

    /// Marks the running action as failed. The process must end well all the same, or Juju shows
    /// its exit status in place of `message`.
    pub fn action_fail(&self, message: &str) -> Result<(), ToolError> {
        self.run("action-fail", &["--", message], None).map(drop)
    }

    /// Shows `text` at once to whoever waits for the running action.
    pub fn action_log(&self, text: &str) -> Result<(), ToolError> {
        self.run("action-log", &["--", text], None).map(drop)
    }

    /// Logs `text`, which may have several lines.
    pub fn juju_log(&self, level: &str, text: &str) -> Result<(), ToolError> {
        // One argument can be 128 KiB long. The dashes let a text begin with one.
        self.run("juju-log", &["--log-level", level, "--", text], None)
            .map(drop)
    }

    fn json<T: DeserializeOwned>(
        &self,
        expected: &'static str,
        tool: &str,
        arguments: &[&str],
    ) -> Result<T, ToolError> {
        parse(expected, self.run(tool, arguments, None)?)
    }

    fn run(
        &self,
        tool: &str,
        arguments: &[&str],
        stdin: Option<&[u8]>,
    ) -> Result<Printed, ToolError> {
        let owned: Vec<String> = arguments.iter().copied().map(str::to_owned).collect();
        let output = self.agent.call(tool, &owned, stdin);
        checked(CommandLine::new(tool, arguments), output)
    }
}

/// What a tool that did its work printed.
struct Printed {
    command: CommandLine,
    text: Vec<u8>,
}

fn checked(command: CommandLine, output: io::Result<Output>) -> Result<Printed, ToolError> {
    match output {
        Err(source) => Err(ToolError::Start { command, source }),
        Ok(Output { status, stdout, .. }) if status.success() => Ok(Printed {
            command,
            text: stdout,
        }),
        Ok(Output { status, stderr, .. }) => Err(ToolError::Failed {
            command,
            status,
            message: String::from_utf8_lossy(&stderr).trim().to_owned(),
        }),
    }
}

fn parse<T: DeserializeOwned>(expected: &'static str, printed: Printed) -> Result<T, ToolError> {
    let Printed { command, text } = printed;
    // Once for the whole text, or the parser would check every string by itself.
    let (line, column) = match std::str::from_utf8(&text) {
        Ok(text) => match serde_json::from_str(text) {
            Ok(value) => return Ok(value),
            Err(error) => (error.line(), error.column()),
        },
        Err(error) => {
            let (read, _) = text.split_at(error.valid_up_to());
            let mut lines = read.split(|byte| *byte == b'\n');
            let last = lines.next_back().map_or(0, <[u8]>::len);
            (lines.count() + 1, last + 1)
        }
    };
    Err(ToolError::Unreadable {
        command,
        expected,
        line,
        column,
    })
}

/// Text before the colon would be ignored by Juju, but people read commands, too.
fn id(relation: RelationId) -> String {
    format!("{ENDPOINT}:{relation}")
}

fn peer_id(peer: RelationId) -> String {
    format!("{PEER_ENDPOINT}:{peer}")
}

fn unreadable(tool: &str, arguments: &[&str], expected: &'static str) -> ToolError {
    ToolError::Unreadable {
        command: CommandLine::new(tool, arguments),
        expected,
        line: 0,
        column: 0,
    }
}

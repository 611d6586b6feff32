//! What happened: one record per hook and one per commit, for tests to look at.

use std::time::Duration;

use serde_json::{Map, Value};

use crate::model::BagChange;
use crate::names::{RelationId, UnitName};
use crate::process::Ending;

/// How much is remembered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Detail {
    /// Everything, arguments of tools and differences of databags included.
    Full,
    /// Only what can be counted. For histories of very many hooks.
    Counts,
}

/// A tool that a hook called. Standard input is never kept: it may be a secret.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ToolCall {
    /// Its name.
    pub tool: String,
    /// Its arguments, without the name.
    pub arguments: Vec<String>,
    /// How much standard input it was given.
    pub stdin: usize,
    /// Its exit status.
    pub code: i32,
}

/// A hook, action or command that was run.
#[derive(Debug, Clone)]
pub struct HookRun {
    /// On which unit.
    pub unit: UnitName,
    /// The hook's or action's full name.
    pub hook: String,
    /// Which relation it was about.
    pub relation: Option<RelationId>,
    /// Which remote unit it was about, by the name the unit knows it under.
    pub remote_unit: Option<String>,
    /// How the process ended.
    pub ending: Ending,
    /// Its flush was accepted.
    pub committed: bool,
    /// Its flush changed a databag.
    pub wrote: bool,
    /// Why the hook counts as failed, if it does.
    pub failure: Option<String>,
    /// The last thing that a failed hook logged as an error.
    pub complaint: Option<String>,
    /// The tools it called, in order.
    pub tool_calls: Vec<ToolCall>,
    /// How long it took, by the clock on the wall.
    pub duration: Duration,
    /// When it began, by the model's clock.
    pub started: Duration,
    /// What the process printed.
    pub stdout: Vec<u8>,
    /// What the process complained about.
    pub stderr: Vec<u8>,
}

impl HookRun {
    /// How often it called `tool`.
    pub fn calls_of(&self, tool: &str) -> usize {
        self.tool_calls
            .iter()
            .filter(|call| call.tool == tool)
            .count()
    }

    /// Standard error as text.
    pub fn stderr_text(&self) -> String {
        String::from_utf8_lossy(&self.stderr).into_owned()
    }
}

/// A commit that changed databags.
#[derive(Debug, Clone)]
pub struct Commit {
    /// Whose hook.
    pub unit: UnitName,
    /// Which hook.
    pub hook: String,
    /// When, by the model's clock.
    pub at: Duration,
    /// What changed. Empty values and keys apart, this is all that was written.
    pub changes: Vec<BagChange>,
}

/// What an action left.
#[derive(Debug, Clone, PartialEq)]
pub struct ActionResult {
    /// `None` for completed, else why it failed.
    pub failure: Option<String>,
    /// Results, with Juju's own `return-code`, `stdout` and `stderr`.
    pub results: Map<String, Value>,
    /// Lines of `action-log`.
    pub log: Vec<String>,
}

impl ActionResult {
    /// Of a task that failed before the charm was started.
    pub(crate) fn refused(refusal: String) -> Self {
        Self {
            failure: Some(refusal),
            results: Map::new(),
            log: Vec::new(),
        }
    }
}

/// A line of a status table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnitStatus {
    /// The unit.
    pub unit: UnitName,
    /// It holds the lease.
    pub leader: bool,
    /// Workload status.
    pub workload: String,
    /// `idle`, `executing` or `error`.
    pub agent: String,
    /// The machine's number.
    pub machine: u32,
    /// Of the workload status, or of the failed hook.
    pub message: String,
}

//! What can go wrong, as data: a test says which fault strikes where, and the driver makes it so.

use std::time::Duration;

use crate::names::{RelationId, UnitName};

/// What happens at a tool call, instead of it or to its output.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Effect {
    /// The charm's process is killed with SIGKILL before the tool does anything.
    Kill,
    /// The charm's process is ended with SIGTERM before the tool does anything.
    Terminate,
    /// The tool fails with this exit status and message and does nothing.
    Fail {
        /// Its exit status.
        code: i32,
        /// Printed after `ERROR `.
        message: String,
    },
    /// The tool answers this much later. In-process charms notice nothing.
    Hang(Duration),
    /// The tool works but prints this instead.
    Print(Vec<u8>),
    /// The tool works but prints only the first half of its output.
    Truncate,
    /// The tool works but prints invalid UTF-8 inside its output.
    InvalidUtf8,
    /// The lease goes to nobody right before the call.
    LoseLeadership,
    /// Somebody starts to remove a relation right before the call.
    RemoveRelation(RelationId),
    /// Somebody removes a relation with force right before the call.
    ForceRemoveRelation(RelationId),
}

impl Effect {
    pub(crate) fn is_on_output(&self) -> bool {
        matches!(self, Self::Print(_) | Self::Truncate | Self::InvalidUtf8)
    }
}

/// A fault.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fault {
    /// Something happens at a tool call.
    AtCall {
        /// Which call of the hook, counted from 1.
        call: usize,
        /// Count only calls of this tool.
        tool: Option<String>,
        /// What happens.
        effect: Effect,
    },
    /// The controller refuses the hook's flush.
    RefuseCommit,
    /// The charm is started without `PATH`.
    NoPath,
    /// A tool is not there.
    MissingTool(String),
    /// After a relation-changed the same hook is run once more.
    DuplicateChanged,
}

/// A fault and where it strikes: everywhere, unless narrowed down; once, unless [`Self::always`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Injection {
    fault: Fault,
    unit: Option<String>,
    hook: Option<String>,
    always: bool,
}

impl Injection {
    /// Injects `fault`.
    #[must_use]
    pub fn new(fault: Fault) -> Self {
        Self {
            fault,
            unit: None,
            hook: None,
            always: false,
        }
    }

    /// Injects `effect` at the `call`-th tool call of a hook, counted from 1.
    #[must_use]
    pub fn at_call(call: usize, effect: Effect) -> Self {
        Self::new(Fault::AtCall {
            call,
            tool: None,
            effect,
        })
    }

    /// Injects `effect` at the `call`-th call of `tool` in a hook, counted from 1.
    #[must_use]
    pub fn at_tool(tool: &str, call: usize, effect: Effect) -> Self {
        Self::new(Fault::AtCall {
            call,
            tool: Some(tool.to_owned()),
            effect,
        })
    }

    /// Only on this unit.
    #[must_use]
    pub fn on(mut self, unit: &str) -> Self {
        self.unit = Some(unit.to_owned());
        self
    }

    /// Only in hooks (or actions) of this full name.
    #[must_use]
    pub fn during(mut self, hook: &str) -> Self {
        self.hook = Some(hook.to_owned());
        self
    }

    /// Again and again.
    #[must_use]
    pub fn always(mut self) -> Self {
        self.always = true;
        self
    }

    /// What strikes.
    #[must_use]
    pub fn fault(&self) -> &Fault {
        &self.fault
    }

    fn concerns(&self, unit: &UnitName, hook: &str) -> bool {
        self.unit
            .as_deref()
            .is_none_or(|only| only == unit.as_str())
            && self.hook.as_deref().is_none_or(|only| only == hook)
    }
}

/// The faults of a model that have not struck yet.
#[derive(Debug, Clone, Default)]
pub(crate) struct Faults {
    waiting: Vec<Injection>,
}

impl Faults {
    pub(crate) fn add(&mut self, injection: Injection) {
        self.waiting.push(injection);
    }

    pub(crate) fn clear(&mut self) {
        self.waiting.clear();
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    /// Whatever strikes in a hook that matches `which`; a one-time fault is used up by that.
    pub(crate) fn take<T>(
        &mut self,
        unit: &UnitName,
        hook: &str,
        which: impl Fn(&Fault) -> Option<T>,
    ) -> Vec<T> {
        let mut struck = Vec::new();
        self.waiting.retain(|injection| {
            let hit = injection
                .concerns(unit, hook)
                .then(|| which(&injection.fault))
                .flatten();
            let used_up = hit.is_some() && !injection.always;
            struck.extend(hit);
            !used_up
        });
        struck
    }
}

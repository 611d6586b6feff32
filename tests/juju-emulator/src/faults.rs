//! What can go wrong, as data: a test says which fault strikes where, and the driver makes it so.

use std::time::Duration;

use crate::names::{RelationId, UnitName};
use crate::quirks::Complaint;

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
    /// The lease is lost, and no unit takes it, right before the call.
    LoseLeadership,
    /// The same, and the agent does not know it before the hook ends: `is-leader` still says yes,
    /// the controller no.
    LoseLease,
    /// An operator starts to remove a relation right before the call.
    RemoveRelation(RelationId),
    /// An operator removes a relation with force right before the call.
    ForceRemoveRelation(RelationId),
}

impl Effect {
    pub(crate) fn is_on_output(&self) -> bool {
        matches!(self, Self::Print(_) | Self::Truncate | Self::InvalidUtf8)
    }
}

/// Every way in which Juju refuses a call of `tool`; where the call is about a relation, it is
/// `relation`, as in `cluster:0`.
pub fn refusals(tool: &str, relation: &str) -> Vec<Effect> {
    let fail = |code, message: String| Effect::Fail { code, message };
    let mut words: Vec<&str> = vec![
        "connection is shut down",
        "dial unix /var/lib/juju/agents/unit-p-0/agent.socket: connect: connection refused",
    ];
    words.extend_from_slice(match tool {
        "is-leader" => &["leadership status unknown: connection is shut down"],
        "goal-state" => &["unit not found", "permission denied"],
        "config-get" | "status-get" | "status-set" | "application-version-set" => {
            &["permission denied"]
        }
        _ => &[],
    });
    let mut refusals: Vec<Effect> = words.into_iter().map(|text| fail(1, text.into())).collect();
    let number = relation
        .rsplit_once(':')
        .and_then(|(_, id)| id.parse().ok());
    let asks = match tool {
        "relation-get" | "relation-list" => &[""][..],
        "relation-set" => &[
            "cannot read relation settings: ",
            "cannot read relation application settings: ",
        ],
        _ => &[],
    };
    if let (Some(id), false) = (number.map(RelationId), asks.is_empty()) {
        let complaints = Complaint::ALL.into_iter();
        let texts: Vec<String> = complaints
            .filter_map(|complaint| complaint.words(id))
            .collect();
        for ask in asks {
            refusals.extend(texts.iter().map(|text| fail(1, format!("{ask}{text}"))));
        }
        let unknown = format!("invalid value \"{relation}\" for option -r: relation not found");
        refusals.push(fail(2, unknown));
    }
    refusals
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
    /// Something happens at every tool call.
    AtEveryCall {
        /// Only at calls of this tool.
        tool: Option<String>,
        /// Only at calls about this relation, as in `cluster:0`.
        relation: Option<String>,
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
    pub fn new(fault: Fault) -> Self {
        Self {
            fault,
            unit: None,
            hook: None,
            always: false,
        }
    }

    /// Injects `effect` at the `call`-th tool call of a hook, counted from 1.
    pub fn at_call(call: usize, effect: Effect) -> Self {
        Self::new(Fault::AtCall {
            call,
            tool: None,
            effect,
        })
    }

    /// Injects `effect` at the `call`-th call of `tool` in a hook, counted from 1.
    pub fn at_tool(tool: &str, call: usize, effect: Effect) -> Self {
        Self::new(Fault::AtCall {
            call,
            tool: Some(tool.to_owned()),
            effect,
        })
    }

    /// Injects `effect` at every call of `tool`, or of every tool, as long as it is not cleared.
    pub fn at_every(tool: Option<&str>, effect: Effect) -> Self {
        Self::new(Fault::AtEveryCall {
            tool: tool.map(str::to_owned),
            relation: None,
            effect,
        })
        .always()
    }

    /// The same, only at calls about `relation`, as in `cluster:0`.
    pub fn at_every_about(tool: &str, relation: &str, effect: Effect) -> Self {
        Self::new(Fault::AtEveryCall {
            tool: Some(tool.to_owned()),
            relation: Some(relation.to_owned()),
            effect,
        })
        .always()
    }

    /// Only on this unit.
    pub fn on(mut self, unit: &str) -> Self {
        self.unit = Some(unit.to_owned());
        self
    }

    /// Only in hooks (or actions) of this full name.
    pub fn during(mut self, hook: &str) -> Self {
        self.hook = Some(hook.to_owned());
        self
    }

    /// Again and again.
    pub fn always(mut self) -> Self {
        self.always = true;
        self
    }

    /// What strikes.
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

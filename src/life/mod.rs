//! One hook or action from beginning to end: whose turn it is, what is read, what is written.

pub mod actions;

mod apply;
mod leader;
pub mod look;
mod run_action;
mod standby;

use tracing::{debug, error, info, warn};

use crate::core::ledger::Ledger;
use crate::core::names::{RelationId, UnitName};
use crate::core::note::{Level, Note};
use crate::juju::environment::{Hook, HookError};
use crate::juju::hook_tools::{Agent, HookTools, ToolError};
use crate::juju::log::{DEFAULT_LEVEL, Journal};
use leader::Leaving;

/// Why a hook failed. Juju runs it again.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// The environment is not one that Juju gives.
    #[error(transparent)]
    Hook(#[from] HookError),
    /// `JUJU_UNIT_NAME` is not set or no unit name.
    #[error("JUJU_UNIT_NAME is not usable: {0:?}")]
    OwnUnit(String),
    /// Juju does not show the peer relation. Without it nothing is known, which is not the same as
    /// knowing that there is nothing.
    #[error("Juju does not show the peer relation `cluster`, which holds the ledger")]
    NoPeerRelation,
    /// A hook tool failed.
    #[error(transparent)]
    Tool(#[from] ToolError),
}

/// Runs the hook that the environment tells, with the hook tools of `agent`. `now` is in seconds
/// since 1970.
///
/// # Errors
/// When a hook tool fails, or the ledger is not there. What was written is then lost by Juju's
/// rules, and the same hook runs again.
pub fn dispatch(
    variable: impl Fn(&str) -> Option<String>,
    agent: &dyn Agent,
    now: u64,
) -> Result<(), RunError> {
    let hook = Hook::from_environment(&variable)?;
    if hook == Hook::Other {
        return Ok(());
    }
    let name = variable("JUJU_UNIT_NAME").unwrap_or_default();
    let own_unit: UnitName = name.parse().map_err(|_| RunError::OwnUnit(name))?;
    let tools = HookTools::new(agent, own_unit);
    let journal = Journal::default();

    let mut run = Run {
        tools: &tools,
        now,
        log_level: None,
        may_follow_another: matches!(hook, Hook::LeaderElected | Hook::Upgrade),
    };
    let outcome = journal.keep(|| {
        let outcome = run
            .hook(hook)
            .or_else(|failure| run.unless_leaving(failure));
        if let Err(failure) = &outcome {
            journal.retract_changes();
            error!("{}", chain(failure));
        }
        outcome
    });
    let level = run.log_level.as_deref().unwrap_or(DEFAULT_LEVEL);
    if let Err(error) = journal.send(&tools, level) {
        agent.complain(&format!("warning: {}", chain(&error)));
    }
    outcome
}

/// An error with its causes on one line.
pub fn chain(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(error.source(), |cause| cause.source());
    causes.fold(error.to_string(), |text, cause| format!("{text}: {cause}"))
}

struct Run<'a> {
    tools: &'a HookTools<'a>,
    now: u64,
    /// The option, once it is known.
    log_level: Option<String>,
    /// Whether another unit may have published since this one did, the Python charm among them.
    may_follow_another: bool,
}

/// The ledger and where it is.
struct Memory {
    peer: RelationId,
    ledger: Ledger,
}

impl Run<'_> {
    fn hook(&mut self, hook: Hook) -> Result<(), RunError> {
        match hook {
            Hook::Other => Ok(()),
            Hook::Action(name) => self.action(&name),
            // No peer relation is visible yet, and there is nothing to do for it.
            Hook::Install => {
                self.show_version();
                Ok(())
            }
            Hook::Upgrade => {
                self.show_version();
                self.look_at_everything()
            }
            Hook::LeaderElected | Hook::LookAtEverything => self.look_at_everything(),
            Hook::RelationCreated { relation } => {
                let memory = self.memory()?;
                match self.tools.is_leader()? {
                    true => self.relation_created(&memory, relation),
                    false => self.look_as_standby(&memory),
                }
            }
            Hook::UnitJoined { relation, unit } => self.unit_joined(relation, &unit),
            Hook::UnitChanged { relation, unit } => self.unit_changed(relation, &unit),
            Hook::UnitDeparted { relation, unit } => self.unit_departed(relation, &unit),
            Hook::RelationBroken { relation } => self.relation_broken(relation),
            Hook::LedgerChanged { peer } => self.ledger_changed(peer),
            Hook::UpdateStatus => {
                let memory = self.memory()?;
                match self.tools.is_leader()? {
                    true => self.update_status(&memory),
                    false => self.look_as_standby(&memory),
                }
            }
        }
    }

    /// Juju may take the peer relation from a unit that it removes before the last hooks of other
    /// relations. There is nothing to be done for them any more.
    fn unless_leaving(&self, failure: RunError) -> Result<(), RunError> {
        match failure {
            RunError::NoPeerRelation if self.tools.has_no_future() => Ok(()),
            failure => Err(failure),
        }
    }

    fn look_at_everything(&mut self) -> Result<(), RunError> {
        let memory = self.memory()?;
        match self.tools.is_leader()? {
            true => self.everything(&memory, Leaving::default()),
            false => self.look_as_standby(&memory),
        }
    }

    fn show_version(&self) {
        let version = env!("CARGO_PKG_VERSION");
        if let Err(error) = self.tools.application_version_set(version) {
            warn!("the version cannot be shown: {error}");
        }
    }

    /// The ledger.
    fn memory(&mut self) -> Result<Memory, RunError> {
        let peer = self.tools.peer_relation()?;
        self.memory_in(peer.ok_or(RunError::NoPeerRelation)?)
    }

    /// The ledger in relation-broken: Juju may take the peer relation first, and then there is
    /// nothing to be done any more.
    fn memory_if_any(&mut self) -> Result<Option<Memory>, RunError> {
        match self.memory() {
            Err(RunError::NoPeerRelation) => Ok(None),
            Err(RunError::Tool(error)) if error.is_relation_unserved() => Ok(None),
            memory => memory.map(Some),
        }
    }

    fn memory_in(&mut self, peer: RelationId) -> Result<Memory, RunError> {
        let ledger = self.tools.ledger_get(peer)?;
        self.log_level.clone_from(&ledger.options.log_level);
        Ok(Memory { peer, ledger })
    }

    fn own_unit(&self) -> &UnitName {
        self.tools.own_unit()
    }
}

fn log(notes: &[Note]) {
    for note in notes {
        match note.level {
            Level::Debug => debug!("{}", note.text),
            Level::Info => info!("{}", note.text),
            Level::Warning => warn!("{}", note.text),
        }
    }
}

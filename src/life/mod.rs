//! One hook or action from beginning to end: look, decide, write.

pub mod actions;

mod apply;
pub mod look;
mod run_action;

use std::collections::BTreeMap;

use tracing::{debug, error, info, warn};

use crate::core::evidence::{Evidence, Scope};
use crate::core::learn::says_something;
use crate::core::ledger::Ledger;
use crate::core::names::{RelationId, UnitName};
use crate::core::note::{Level, Note};
use crate::core::operator::Refused;
use crate::core::plan::Applied;
use crate::core::turn::{Facts, Occasion, Turn, turn};
use crate::juju::environment::{Hook, HookError};
use crate::juju::hook_tools::{Agent, HookTools, ToolError};
use crate::juju::log::{DEFAULT_LEVEL, Journal};

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

    let mut life = Life {
        tools: &tools,
        now,
        log_level: None,
    };
    let outcome = journal.keep(|| {
        let outcome = life
            .hook(hook)
            .or_else(|failure| life.unless_leaving(failure));
        if let Err(failure) = &outcome {
            journal.retract_changes();
            error!("{}", chain(failure));
        }
        outcome
    });
    let level = life.log_level.as_deref().unwrap_or(DEFAULT_LEVEL);
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

struct Life<'a> {
    tools: &'a HookTools<'a>,
    now: u64,
    /// The option, once it is known.
    log_level: Option<String>,
}

/// How a turn ended.
enum End {
    /// There was nothing to write.
    Nothing,
    /// An operator's order is not carried out.
    Refused(Refused),
    /// What was written, from what was looked at.
    Written(Box<(Applied, Evidence)>),
}

impl Life<'_> {
    fn hook(&mut self, hook: Hook) -> Result<(), RunError> {
        let mut evidence = Evidence::default();
        let occasion = match hook {
            Hook::Other => return Ok(()),
            Hook::Action(name) => return self.action(&name),
            Hook::Install => {
                self.show_version();
                return Ok(());
            }
            Hook::Upgrade => {
                self.show_version();
                Occasion::TakeOver
            }
            // Most units have said nothing yet, and their hooks end after one call.
            Hook::Joined(relation, unit) => {
                let bag = look::unit_bag(self.tools, relation, &unit)?;
                if !bag.as_ref().is_some_and(says_something) {
                    return Ok(());
                }
                evidence.bags = BTreeMap::from([((relation, unit.clone()), bag)]);
                Occasion::Heard(relation, unit)
            }
            Hook::Event(occasion) => occasion,
        };
        match self.memory(&occasion) {
            // Juju may take the peer relation first, and then there is nothing to be done any more.
            Err(RunError::NoPeerRelation) if matches!(occasion, Occasion::Broken(_)) => Ok(()),
            Err(RunError::Tool(error))
                if matches!(occasion, Occasion::Broken(_)) && error.is_relation_unserved() =>
            {
                Ok(())
            }
            memory => {
                let (peer, ledger) = memory?;
                self.live(peer, &ledger, &occasion, evidence).map(drop)
            }
        }
    }

    /// Looks as far as the decision asks for, and writes what it says.
    fn live(
        &mut self,
        peer: RelationId,
        ledger: &Ledger,
        occasion: &Occasion,
        mut evidence: Evidence,
    ) -> Result<End, RunError> {
        evidence.now = self.now;
        loop {
            let facts = Facts {
                ledger,
                unit: self.tools.own_unit(),
                occasion,
                evidence: &evidence,
            };
            match turn(&facts) {
                Turn::Nothing => return Ok(End::Nothing),
                Turn::Refuse(refused) => return Ok(End::Refused(refused)),
                Turn::Look(scope) => {
                    if let Scope::Everything(reason) = &scope {
                        debug!("{reason}: looking at everything");
                    }
                    look::at(self.tools, ledger, occasion, scope, &mut evidence)?;
                    if let Some(world) = &evidence.world {
                        self.log_level.clone_from(&world.options.log_level);
                    }
                }
                Turn::Wait(pause) => {
                    self.tools.wait(pause);
                    evidence.now += pause.as_secs();
                    evidence.pauses += 1;
                    evidence.goal = None;
                }
                Turn::Write(plan) => {
                    log(&plan.notes);
                    let applied = apply::plan(self.tools, peer, *plan)?;
                    apply::status(self.tools, &applied);
                    return Ok(End::Written(Box::new((applied, evidence))));
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

    fn show_version(&self) {
        let version = env!("CARGO_PKG_VERSION");
        if let Err(error) = self.tools.application_version_set(version) {
            warn!("the version cannot be shown: {error}");
        }
    }

    /// The ledger, and the peer relation that holds it.
    fn memory(&mut self, occasion: &Occasion) -> Result<(RelationId, Ledger), RunError> {
        let peer = match occasion {
            Occasion::LedgerWritten(peer) => *peer,
            _ => {
                let peer = self.tools.peer_relation()?;
                peer.ok_or(RunError::NoPeerRelation)?
            }
        };
        let ledger = self.tools.ledger_get(peer)?;
        self.log_level.clone_from(&ledger.options.log_level);
        Ok((peer, ledger))
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

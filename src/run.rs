//! One hook from beginning to end.

mod action;

use std::collections::BTreeSet;

use tracing::{debug, error, info, warn};

use crate::apply;
use crate::databag::{self, Change, MIRROR, NUDGE, PLACEHOLDER, UP};
use crate::hook::{Hook, HookError};
use crate::hook_tools::{Agent, HookTools, ShownStatus, ToolError};
use crate::logging::{DEFAULT_LEVEL, Journal};
use crate::nudge::nudge;
use crate::observe::{self, Leaving};
use crate::reconcile::{Level, Plan, reconcile};
use crate::snapshot::{Departed, RelationId, Scope, Snapshot, UnitName};
use crate::standby::{StandbyPlan, stand_by};
use crate::status::{self, CONFIG, Overview, Status, StatusKind};

/// Why a hook failed. Juju runs it again.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// The environment is not one that Juju gives.
    #[error(transparent)]
    Hook(#[from] HookError),
    /// `JUJU_UNIT_NAME` is not set or no unit name.
    #[error("JUJU_UNIT_NAME is not usable: {0:?}")]
    OwnUnit(String),
    /// A hook tool failed.
    #[error(transparent)]
    Tool(#[from] ToolError),
}

/// Runs the hook that the environment tells, with the hook tools of `agent`. `now` is in seconds
/// since 1970.
///
/// # Errors
/// When a hook tool fails. What was written is then lost by Juju's rules, and the same hook runs
/// again.
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
    };
    let outcome = tracing::subscriber::with_default(journal.clone(), || {
        let outcome = run.hook(hook);
        if let Err(failure) = &outcome {
            journal.retract_changes();
            error!("{}", chain(failure));
        }
        outcome
    });
    match outcome {
        Ok(()) => run.flush(&journal),
        Err(failure) => {
            // The first error is the one to hear of; one that follows from it is not.
            let _ = run.flush(&journal);
            Err(failure)
        }
    }
    .map_err(RunError::from)
}

/// An error with its causes on one line.
pub fn chain(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(error.source(), |cause| cause.source());
    causes.fold(error.to_string(), |text, cause| format!("{text}: {cause}"))
}

struct Run<'a> {
    tools: &'a HookTools<'a>,
    now: u64,
    /// The option, once it was read.
    log_level: Option<String>,
}

impl Run<'_> {
    fn hook(&mut self, hook: Hook) -> Result<(), ToolError> {
        match hook {
            Hook::Other => Ok(()),
            Hook::Action(name) => self.action(&name),
            Hook::Install => self.version(),
            Hook::Upgrade => {
                self.version()?;
                self.everything(Leaving::default())
            }
            Hook::Resync => self.everything(Leaving::default()),
            Hook::RelationCreated => {
                if self.tools.is_leader()? {
                    self.relation_created()
                } else {
                    self.stand_by()
                }
            }
            Hook::RelationBroken { relation } => {
                if self.tools.is_leader()? {
                    self.relation_broken(relation)?;
                }
                Ok(())
            }
            Hook::UnitChanged { relation, unit } => {
                if self.tools.is_leader()? {
                    self.unit_changed(relation, &unit)
                } else {
                    self.step_back(relation)
                }
            }
            Hook::UnitDeparted { relation, unit } => {
                if self.tools.is_leader()? {
                    self.unit_departed(relation, unit)?;
                }
                Ok(())
            }
            Hook::UpdateStatus => {
                if self.tools.is_leader()? {
                    self.update_status()
                } else {
                    self.stand_by()
                }
            }
        }
    }

    fn version(&self) -> Result<(), ToolError> {
        self.tools
            .application_version_set(env!("CARGO_PKG_VERSION"))
    }

    fn everything(&mut self, leaving: Leaving) -> Result<(), ToolError> {
        if self.tools.is_leader()? {
            self.reconcile_whole(leaving).map(drop)
        } else {
            self.stand_by()
        }
    }

    /// Consumers come about a second after the relation, and the released ones act on what they see
    /// then. So a new relation gets what is known at once; its units are read when they join.
    fn relation_created(&mut self) -> Result<(), ToolError> {
        let facts = observe::relations(self.tools)?;
        let plan = reconcile(&facts);
        if plan.needs_whole {
            return self.reconcile_whole(Leaving::default());
        }
        self.carry_out(&facts, &plan)
    }

    /// What one unit brings. Most hooks bring nothing, and these end after two questions.
    fn unit_changed(&mut self, relation: RelationId, unit: &UnitName) -> Result<(), ToolError> {
        let mut facts = observe::event(self.tools, relation, unit)?;
        let mut plan = reconcile(&facts);
        if plan.needs_whole {
            return self.look_at_everything();
        }
        if plan.look_around {
            observe::newcomers(self.tools, &mut facts, relation)?;
            plan = reconcile(&facts);
        }
        if plan.is_idle() {
            return Ok(());
        }
        observe::own_bags(self.tools, &mut facts)?;
        let plan = reconcile(&facts);
        if plan.needs_whole {
            return self.look_at_everything();
        }
        self.carry_out(&facts, &plan)
    }

    fn look_at_everything(&mut self) -> Result<(), ToolError> {
        debug!("what this unit brings is too little to decide: looking at everything");
        self.reconcile_whole(Leaving::default())
    }

    /// A unit that Juju removes sees its relations broken one by one, and may still be leader. They
    /// stay where they are, so it must not decide as if they were gone.
    fn relation_broken(&mut self, relation: RelationId) -> Result<(), ToolError> {
        if self.tools.goal_state()?.is_leaving(self.tools.own_unit()) {
            return Ok(());
        }
        self.reconcile_whole(Leaving {
            relation: Some(relation),
            unit: None,
        })
    }

    fn unit_departed(&mut self, relation: RelationId, unit: UnitName) -> Result<(), ToolError> {
        let mut facts = observe::event(self.tools, relation, &unit)?;
        let Some(observed) = facts.relations.get_mut(&relation) else {
            return Ok(());
        };
        let bag = observed.units.remove(&unit).unwrap_or_default();
        let departed = Departed { unit, bag };
        facts.departed = Some(departed.clone());
        if !reconcile(&facts).needs_whole {
            return Ok(());
        }
        let communicator_lost = databag::is_up(&departed.bag);
        let facts = observe::whole(
            self.tools,
            Leaving {
                relation: None,
                unit: Some((relation, departed)),
            },
        )?;
        let mut plan = reconcile(&facts);
        if communicator_lost {
            add_nudge(&mut plan, &facts, self.now, true);
        }
        self.carry_out(&facts, &plan)
    }

    fn reconcile_whole(&mut self, leaving: Leaving) -> Result<(), ToolError> {
        let facts = observe::whole(self.tools, leaving)?;
        self.carry_out(&facts, &reconcile(&facts))
    }

    /// Status from the application bags alone, and a nudge where hosts have waited for long.
    fn update_status(&mut self) -> Result<(), ToolError> {
        let mut facts = observe::application_bags(self.tools)?;
        let plan = reconcile(&facts);
        let shown = self.tools.status_get()?;
        let status = plan.overview_before.status();
        // What blocks may be gone, or may be what the application bags cannot show. The options
        // are looked at when they change.
        let blocked = shown.status == StatusKind::Blocked.as_str();
        let look_closer = blocked && shown.message != status.message;
        // Juju runs no leader-elected where leadership was lost and won again within one hook. What
        // that hook brought was left to a leader who never was.
        let stood_by = shown.is(&status::standby());
        if plan.needs_whole || stood_by || (look_closer && !shown.message.starts_with(CONFIG)) {
            return self.reconcile_whole(Leaving::default());
        }
        let Overview { hosts, waiting, .. } = plan.overview_before;
        if waiting > 0 {
            if waiting == hosts {
                // No token at all: perhaps nobody is left who may bootstrap.
                facts = observe::whole(self.tools, Leaving::default())?;
            } else {
                observe::own_bags(self.tools, &mut facts)?;
            }
            let mut plan = reconcile(&facts);
            add_nudge(&mut plan, &facts, self.now, false);
            return self.carry_out(&facts, &plan);
        }
        if look_closer {
            return Ok(());
        }
        apply::status(self.tools, &shown, &status)
    }

    fn carry_out(&mut self, facts: &Snapshot, plan: &Plan) -> Result<(), ToolError> {
        self.log_level = Some(log_level(facts));
        for note in &plan.notes {
            match note.level {
                Level::Debug => debug!("{}", note.text),
                Level::Info => info!("{}", note.text),
                Level::Warning => warn!("{}", note.text),
            }
        }
        apply::writes(self.tools, &plan.writes)?;

        let (before, status) = (plan.overview_before.status(), plan.overview.status());
        if facts.scope == Scope::Part && before == status {
            return Ok(());
        }
        let shown = self.tools.status_get()?;
        if facts.scope == Scope::Part && is_beyond_us(&shown, &before) {
            return Ok(());
        }
        apply::status(self.tools, &shown, &status)
    }

    /// A unit that is not leader must not stay up, or consumers would weigh two mirrors.
    fn step_back(&mut self, relation: RelationId) -> Result<(), ToolError> {
        let mirror = match self.tools.relation_get_own(relation, MIRROR) {
            Err(error) if error.is_relation_gone() => None,
            mirror => mirror?,
        };
        if mirror.as_deref() == Some(UP) {
            self.stand_by()?;
        }
        Ok(())
    }

    fn stand_by(&mut self) -> Result<(), ToolError> {
        let relations = observe::standby(self.tools)?;
        let config = observe::config(self.tools)?;
        let plan = stand_by(&relations, config.bootstrap_app.as_deref());
        self.log_level = Some(config.log_level.unwrap_or_else(|| DEFAULT_LEVEL.to_owned()));
        log_standby(&plan);
        apply::standby(self.tools, &plan)?;
        let shown = self.tools.status_get()?;
        apply::status(self.tools, &shown, &status::standby())
    }

    fn flush(&mut self, journal: &Journal) -> Result<(), ToolError> {
        if self.log_level.is_none() {
            if !journal.has_news() {
                return Ok(());
            }
            let config = observe::config(self.tools)?;
            self.log_level = config.log_level;
        }
        journal.flush(
            self.tools,
            self.log_level.as_deref().unwrap_or(DEFAULT_LEVEL),
        )
    }
}

fn log_level(facts: &Snapshot) -> String {
    let level = facts.config.log_level.as_deref();
    level.unwrap_or(DEFAULT_LEVEL).to_owned()
}

/// A blocked status that the bags at hand do not explain: only a look at everything may lift it.
fn is_beyond_us(shown: &ShownStatus, explained: &Status) -> bool {
    shown.status == StatusKind::Blocked.as_str() && shown.message != explained.message
}

/// Adds the nudge to every relation, if it is due.
fn add_nudge(plan: &mut Plan, facts: &Snapshot, now: u64, at_once: bool) {
    let waiting: BTreeSet<&str> = facts
        .relations
        .values()
        .flat_map(|relation| databag::mirror_of(&relation.own_app))
        .filter(|(_, value)| *value == PLACEHOLDER)
        .map(|(key, _)| key)
        .collect();
    let held = facts
        .relations
        .values()
        .filter_map(|relation| relation.own_unit.as_ref()?.get(NUDGE))
        .map(String::as_str);
    let Some(value) = nudge(held, &waiting, now, at_once) else {
        return;
    };
    for id in facts.relations.keys() {
        let unit = &mut plan.writes.entry(*id).or_default().unit;
        unit.insert(NUDGE.to_owned(), Change::Set(value.clone()));
    }
}

fn log_standby(plan: &StandbyPlan) {
    for (id, changes) in plan {
        for (key, change) in changes {
            match change {
                Change::Set(value) if key == MIRROR => info!("relation {id}: mirror {value}"),
                Change::Set(_) => info!("relation {id}: guarded, another application bootstraps"),
                Change::Remove => info!("relation {id}: guard removed"),
            }
        }
    }
}

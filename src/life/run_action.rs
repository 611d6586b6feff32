//! An action from beginning to end. A refusal ends well: Juju shows its text only then.

use tracing::{info, warn};

use super::actions::{self, Action, LONGEST_RESULT, Refusal, Results};
use super::look::{self, Leaving, Scope};
use super::{Memory, Run, RunError};
use crate::core::learn::{self, Learned};
use crate::core::ledger::Ledger;
use crate::core::note::Level;
use crate::core::operator::{self, Force, Outcome};
use crate::core::plan::Plan;
use crate::core::wire::printable;
use crate::core::world::World;
use crate::report::View;
use crate::report::changes::planned_changes;

/// Why an action has no results.
#[derive(Debug, thiserror::Error)]
enum NoResults {
    #[error(transparent)]
    Refused(#[from] Refusal),
    #[error(transparent)]
    Run(#[from] RunError),
}

impl Run<'_> {
    /// Runs the action `name`.
    pub(super) fn action(&mut self, name: &str) -> Result<(), RunError> {
        match self.results(name) {
            Ok(Results(results)) => self.tools.action_set(&results)?,
            Err(NoResults::Refused(refusal)) => self.tools.action_fail(&refusal.to_string())?,
            Err(NoResults::Run(error)) => return Err(error),
        }
        Ok(())
    }

    fn results(&mut self, name: &str) -> Result<Results, NoResults> {
        let parameters = self.tools.action_get().map_err(RunError::from)?;
        let action = Action::parse(name, &parameters)?;
        let memory = self.memory()?;
        let is_leader = self.tools.is_leader().map_err(RunError::from)?;
        if let (Some(action), false) = (action.needs_leader(), is_leader) {
            let app = self.own_unit().app().to_owned();
            return Err(Refusal::NotLeader { action, app }.into());
        }
        match action {
            Action::ShowMirror(subject) => Ok(actions::show_mirror(
                &self.view(&memory, is_leader)?,
                &subject,
            )?),
            Action::Check => Ok(actions::checked(&self.view(&memory, is_leader)?)),
            Action::Resync => Ok(self.resync(&memory)?),
            Action::RetireHost { host, force } => self.decide(&memory, &host, |ledger, world| {
                let retired = operator::retire(ledger, world, &host, force);
                retired.map_err(|error| error.refusal(&host))
            }),
            Action::ResolveHost { host, is_member } => {
                self.decide(&memory, &host, |ledger, world| {
                    let resolved = operator::resolve(ledger, world, &host, is_member);
                    resolved.map_err(|error| error.refusal(&host))
                })
            }
            Action::Forget { force } => self.forget(&memory, force),
        }
    }

    /// Everything that this unit can see. The ledger is there for a standby, too.
    fn view(&mut self, memory: &Memory, is_leader: bool) -> Result<View, RunError> {
        let nothing = Leaving::default();
        let ledger = memory.ledger.clone();
        let world = look::world(self.tools, &ledger, Scope::Everything, &nothing, is_leader)?;
        let goal = self.tools.goal_state();
        let view = View {
            unit: self.own_unit().clone(),
            is_leader,
            moment: self.moment(&ledger, &ledger),
            ledger,
            world,
            failing: goal.into_iter().flat_map(|goal| goal.failing()).collect(),
        };
        Ok(view.through_leader())
    }

    fn resync(&mut self, memory: &Memory) -> Result<Results, RunError> {
        let view = self.view(memory, true)?;
        let plan = view.plan();
        let changes = planned_changes(&view, &plan);
        let status = plan.status();
        self.log_to_caller(&plan);
        self.carry_out_everything(memory, plan)?;
        Ok(actions::resynced(&changes, &status))
    }

    /// Carries out what an operator decides of `host`, from everything that is to be seen.
    fn decide(
        &mut self,
        memory: &Memory,
        host: &str,
        decide: impl FnOnce(&Ledger, &World) -> Result<(Ledger, Outcome), Refusal>,
    ) -> Result<Results, NoResults> {
        let before = &memory.ledger;
        let world = self.look(before, Scope::Everything, &Leaving::default())?;
        let seen = learn::everything(before, &world, self.own_unit());
        let (ledger, outcome) = decide(&seen.ledger, &world)?;
        if outcome != Outcome::Unchanged {
            let host = printable(host);
            info!("host {host}: {} by an operator", outcome.as_str());
        }
        let learned = match outcome {
            // The next token may be in a bag that will not change again.
            Outcome::Renewed => {
                let again = learn::everything(&ledger, &world, self.own_unit());
                let notes = [seen.notes, again.notes].concat();
                Learned { notes, ..again }
            }
            _ => Learned { ledger, ..seen },
        };
        let plan = self.plan_of_everything(before, learned, &world);
        let status = plan.status();
        self.carry_out_everything(memory, plan)?;
        Ok(actions::decided(host, outcome, &status))
    }

    fn forget(&mut self, memory: &Memory, force: Force) -> Result<Results, NoResults> {
        let before = &memory.ledger;
        let world = self.look(before, Scope::Everything, &Leaving::default())?;
        let learned = learn::everything(before, &world, self.own_unit());
        let forgotten = operator::forget(&learned.ledger, &world, self.own_unit(), force);
        let learned = forgotten.map_err(|unit| Refusal::IsMember {
            unit: unit.to_string(),
        })?;
        info!("the ledger is emptied by an operator");
        let plan = self.plan_of_everything(before, learned, &world);
        let (changed, status) = (plan.ledger_changes().len(), plan.status());
        self.carry_out_everything(memory, plan)?;
        Ok(actions::forgotten(changed, &status))
    }

    /// Shows what changes to whoever waits for the action. It only speaks to people, so its failure
    /// is a warning.
    fn log_to_caller(&self, plan: &Plan) {
        let mut text = String::new();
        for note in plan.notes.iter().filter(|note| note.level == Level::Info) {
            if text.len() + note.text.len() >= LONGEST_RESULT {
                break;
            }
            if !text.is_empty() {
                text.push('\n');
            }
            text.push_str(&note.text);
        }
        if text.is_empty() {
            return;
        }
        if let Err(error) = self.tools.action_log(&text) {
            warn!("what changes cannot be shown: {error}");
        }
    }
}

//! An action from beginning to end. A refusal ends well: Juju shows its text only then.

use tracing::warn;

use super::actions::{self, Action, LONGEST_RESULT, Refusal, Results};
use super::{End, Life, RunError, look};
use crate::core::evidence::{Evidence, Scope};
use crate::core::note::Level;
use crate::core::operator::Order;
use crate::core::plan::Plan;
use crate::core::queue::Moment;
use crate::core::turn::Occasion;
use crate::report::View;

/// Why an action has no results.
#[derive(Debug, thiserror::Error)]
enum NoResults {
    #[error(transparent)]
    Refused(#[from] Refusal),
    #[error(transparent)]
    Run(#[from] RunError),
}

impl Life<'_> {
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
        match Action::parse(name, &parameters)? {
            Action::ShowMirror(subject) => Ok(actions::show_mirror(&self.view()?, &subject)?),
            Action::Check => Ok(actions::checked(&self.view()?)),
            Action::Order(order) => self.order(order),
        }
    }

    fn order(&mut self, order: Order) -> Result<Results, NoResults> {
        let occasion = Occasion::Order(order.clone());
        let (peer, ledger) = self.memory(&occasion)?;
        match self.live(peer, &ledger, &occasion, Evidence::default())? {
            End::Refused(refused) => Err(Refusal::from(refused).into()),
            End::Nothing => Ok(Results::default()),
            End::Written(written) => {
                let (applied, evidence) = *written;
                if order == Order::Resync {
                    self.log_to_caller(&applied.plan);
                }
                let world = evidence.world.unwrap_or_default();
                Ok(actions::carried_out(&order, &applied, &world))
            }
        }
    }

    /// Everything that this unit can see. The ledger is there for a standby, too.
    fn view(&mut self) -> Result<View, RunError> {
        let occasion = Occasion::Anything;
        let (_, ledger) = self.memory(&occasion)?;
        let is_leader = self.tools.is_leader()?;
        let scope = Scope::Everything("an operator asks");
        let world = look::world(self.tools, &ledger, &scope, &occasion, is_leader)?;
        let goal = self.tools.goal_state();
        let view = View {
            unit: self.tools.own_unit().clone(),
            is_leader,
            moment: Moment::of(self.now, &ledger, &ledger, goal),
            ledger,
            world,
            failing: goal.into_iter().flat_map(|goal| goal.failing()).collect(),
        };
        Ok(view.through_leader())
    }

    /// Shows what has changed to whoever waits for the action. It only speaks to people, so its
    /// failure is a warning.
    fn log_to_caller(&self, plan: &Plan) {
        let notes = plan.notes.iter().filter(|note| note.level == Level::Info);
        let mut room = LONGEST_RESULT;
        let lines = notes.map(|note| note.text.as_str()).take_while(|line| {
            let fits = line.len() < room;
            room = room.saturating_sub(line.len() + 1);
            fits
        });
        let text = lines.collect::<Vec<_>>().join("\n");
        if text.is_empty() {
            return;
        }
        if let Err(error) = self.tools.action_log(&text) {
            warn!("what changes cannot be shown: {error}");
        }
    }
}

//! An action from beginning to end. A refusal ends well: Juju shows its text only then.

use tracing::info;

use super::Run;
use crate::actions::{self, Action, LONGEST_RESULT, Refusal, Results};
use crate::apply;
use crate::databag::printable;
use crate::hook_tools::ToolError;
use crate::observe::{self, Leaving};
use crate::reconcile::{Level, Plan, reconcile};
use crate::report::{Report, planned_changes};
use crate::retire::{Force, after, retire};

/// Why an action has no results.
#[derive(Debug, thiserror::Error)]
enum NoResults {
    #[error(transparent)]
    Refused(#[from] Refusal),
    #[error(transparent)]
    Tool(#[from] ToolError),
}

impl Run<'_> {
    /// Runs the action `name`.
    pub(super) fn action(&mut self, name: &str) -> Result<(), ToolError> {
        match self.results(name) {
            Ok(Results(results)) => self.tools.action_set(&results),
            Err(NoResults::Refused(refusal)) => self.tools.action_fail(&refusal.to_string()),
            Err(NoResults::Tool(error)) => Err(error),
        }
    }

    fn results(&mut self, name: &str) -> Result<Results, NoResults> {
        let action = Action::parse(name, &self.tools.action_get()?)?;
        let is_leader = self.tools.is_leader()?;
        if let (Some(action), false) = (action.needs_leader(), is_leader) {
            let app = self.tools.own_unit().app().to_owned();
            return Err(Refusal::NotLeader { action, app }.into());
        }
        Ok(match action {
            Action::ShowMirror(subject) => {
                let view = observe::view(self.tools, is_leader)?;
                actions::show_mirror(&view, &subject)?
            }
            Action::Resync => self.resync()?,
            Action::RetireHost { host, force } => self.retire_host(&host, force)?,
            Action::Check => actions::checked(&observe::view(self.tools, is_leader)?),
        })
    }

    fn resync(&mut self) -> Result<Results, ToolError> {
        let facts = observe::whole(self.tools, Leaving::default())?;
        let plan = reconcile(&facts);
        self.tell(&plan)?;
        self.carry_out(&facts, &plan)?;
        let changes = planned_changes(&facts, &plan, &Report::of(&facts));
        Ok(actions::resynced(&changes, &plan.overview.status()))
    }

    fn retire_host(&mut self, host: &str, force: Force) -> Result<Results, NoResults> {
        let facts = observe::whole(self.tools, Leaving::default())?;
        let retirement = retire(&facts, host, force).map_err(|error| error.refusal(host))?;
        let outcome = retirement.outcome;
        apply::writes(self.tools, &retirement.writes)?;
        info!(
            "host {}: {} by an operator",
            printable(host),
            outcome.as_str()
        );

        // What else is to be done, the status among it, follows from the bags as they are now.
        let facts = after(&facts, &retirement.writes);
        let plan = reconcile(&facts);
        self.carry_out(&facts, &plan)?;
        let relations = retirement.writes.len();
        let status = plan.overview.status();
        Ok(actions::retired(host, outcome, relations, &status))
    }

    /// Tells who waits for the action what changes, as it is logged.
    fn tell(&self, plan: &Plan) -> Result<(), ToolError> {
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
        match text.is_empty() {
            true => Ok(()),
            false => self.tools.action_log(&text),
        }
    }
}

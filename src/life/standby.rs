//! What a unit that is not leader does (spec 5): it steps back once another has published, and
//! guards applications that must not bootstrap.

use tracing::info;

use super::{Memory, Run, RunError, apply, leader::Leaving, look};
use crate::core::names::RelationId;
use crate::core::standby::{StandbyPlan, standby_plan};
use crate::core::status;
use crate::core::wire::{Change, MIRROR};

impl Run<'_> {
    /// `cluster-relation-changed`: the ledger alone says whose turn it is. The leader's own echo
    /// ends after one call, unless hosts wait for their turn.
    pub(super) fn ledger_changed(&mut self, peer: RelationId) -> Result<(), RunError> {
        let memory = self.memory_in(peer)?;
        if memory.ledger.is_led_by(self.own_unit()) {
            return self.clock(&memory);
        }
        if memory.ledger.leader.is_none() {
            return Ok(());
        }
        let relations = memory.ledger.relations.keys().copied().collect();
        let plan = self.standby_plan(&memory, relations)?;
        if plan.is_empty() {
            return Ok(());
        }
        match self.tools.is_leader()? {
            // Leadership came back, and another unit has published meanwhile.
            true => self.everything(&memory, Leaving::default()),
            false => self.carry_out_standby(&plan),
        }
    }

    /// The same in hooks that may have met a relation that the ledger does not list yet.
    pub(super) fn look_as_standby(&mut self, memory: &Memory) -> Result<(), RunError> {
        let relations = self.tools.relation_ids()?;
        let plan = self.standby_plan(memory, relations)?;
        self.carry_out_standby(&plan)
    }

    fn standby_plan(
        &self,
        memory: &Memory,
        relations: Vec<RelationId>,
    ) -> Result<StandbyPlan, RunError> {
        let mut ledger = memory.ledger.clone();
        if ledger.leader.is_none() {
            // Nobody has read the options for the ledger yet.
            ledger.options = look::options(self.tools)?;
        }
        let relations = look::standby(self.tools, &ledger, relations)?;
        Ok(standby_plan(&ledger, self.own_unit(), &relations))
    }

    fn carry_out_standby(&self, plan: &StandbyPlan) -> Result<(), RunError> {
        for (id, changes) in plan {
            for (key, change) in changes {
                match change {
                    Change::Set(value) if key == MIRROR => info!("relation {id}: mirror {value}"),
                    Change::Set(_) => info!("relation {id}: guarded, it must not bootstrap"),
                    Change::Remove => {}
                }
            }
        }
        apply::standby(self.tools, plan)?;
        apply::status(self.tools, &status::standby());
        Ok(())
    }
}

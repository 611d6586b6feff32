//! What people and scripts see: facts in, plain values and text out. Nothing is decided here,
//! and no value of the mirror is shown, only fingerprints.

pub mod changes;
pub mod check;
pub mod hosts;
pub mod table;

use std::collections::BTreeSet;

use serde::Serialize;
use serde_json::Value;

use crate::core::everything;
use crate::core::evidence::World;
use crate::core::ledger::Ledger;
use crate::core::names::UnitName;
use crate::core::plan::{self, Plan};
use crate::core::queue::Moment;

/// What one distributor unit can know.
#[derive(Clone, Debug)]
pub struct View {
    /// The unit that looks.
    pub unit: UnitName,
    /// Whether it leads.
    pub is_leader: bool,
    /// When it looks, and what it knows of the host in turn.
    pub moment: Moment,
    /// The ledger. Every distributor unit can read it.
    pub ledger: Ledger,
    /// Everything else. [`View::through_leader`] puts the leader's unit bags in it.
    pub world: World,
    /// The units, of either side, of which Juju says that a hook fails.
    pub failing: BTreeSet<UnitName>,
}

impl View {
    /// What a standby sees: the bags that matter are the leader's, and its unit bag is readable.
    #[must_use]
    pub fn through_leader(mut self) -> Self {
        let leader = self.ledger.leader.as_ref().map(|leader| &leader.unit);
        if let (false, Some(leader)) = (self.is_leader, leader) {
            for relation in self.world.relations.values_mut() {
                let own_unit = relation.own_unit.take();
                relation.own_unit = relation.siblings.remove(leader);
                if let Some(own_unit) = own_unit {
                    relation.siblings.insert(self.unit.clone(), own_unit);
                }
            }
        }
        self
    }

    /// The unit that the plan is for: the leader that the ledger names, or the unit that looks.
    fn planning_unit(&self) -> &UnitName {
        match &self.ledger.leader {
            Some(leader) if !self.is_leader => &leader.unit,
            _ => &self.unit,
        }
    }

    /// What the leader would do if it looked at everything now.
    pub fn plan(&self) -> Plan {
        let learned = everything::learned(&self.ledger, &self.world, self.planning_unit());
        plan::of(&self.ledger, learned, Some(&self.world), &self.moment)
    }
}

/// An answer for scripts.
pub fn value(answer: &impl Serialize) -> Value {
    // Maps with keys that are text always have a JSON form.
    serde_json::to_value(answer).unwrap_or_default()
}

/// Names in one text, or a dash.
fn listed(names: impl IntoIterator<Item = String>) -> String {
    let text = names.into_iter().collect::<Vec<_>>().join(", ");
    match text.is_empty() {
        true => "-".to_owned(),
        false => text,
    }
}

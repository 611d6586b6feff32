//! What Juju expects to be there, by goal-state. It is advice: it may fail, and leaves things out.

use std::collections::{BTreeMap, BTreeSet};

use serde::Deserialize;

use crate::core::ledger::Place;
use crate::core::names::{ENDPOINT, UnitName};
use crate::core::queue::Workload;
use crate::core::time::seconds_since_1970;

/// What goal-state prints: the units of this charm's application, and by endpoint the related
/// applications and their units, each with a status.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
pub struct GoalState {
    #[serde(default)]
    units: BTreeMap<String, Goal>,
    #[serde(default)]
    relations: BTreeMap<String, BTreeMap<String, Goal>>,
}

#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
struct Goal {
    #[serde(default)]
    status: String,
    /// See [`seconds_since_1970`].
    #[serde(default)]
    since: String,
}

impl Goal {
    fn is_leaving(&self) -> bool {
        matches!(self.status.as_str(), "dying" | "dead")
    }
}

impl GoalState {
    /// The units of this charm's application. One that is leaving may have published, too.
    pub fn siblings(&self) -> impl Iterator<Item = UnitName> {
        self.units.keys().filter_map(|name| name.parse().ok())
    }

    /// The units of `app` on our endpoint that are to stay. `None` is unknown: Juju lists no such
    /// unit. It never lists those of other models, nor those of a subordinate application whose
    /// principals are others.
    pub fn expected(&self, app: &str) -> Option<BTreeSet<UnitName>> {
        let goals = self.relations.get(ENDPOINT).into_iter().flatten();
        let staying = goals.filter(|(_, goal)| !goal.is_leaving());
        let units = staying.filter_map(|(name, _)| name.parse().ok());
        let units: BTreeSet<_> = units.filter(|unit: &UnitName| unit.app() == app).collect();
        (!units.is_empty()).then_some(units)
    }

    /// Whether `app` is of this model. `None`: Juju lists the name and no unit of it.
    pub fn place(&self, app: &str) -> Option<Place> {
        let goals = self.relations.get(ENDPOINT).into_iter().flatten();
        let mut units = goals.filter_map(|(name, _)| name.parse().ok());
        match self.lists(app) {
            false => Some(Place::Elsewhere),
            true if units.any(|unit: UnitName| unit.app() == app) => Some(Place::Here),
            true => None,
        }
    }

    /// Whether Juju lists the application `app` on our endpoint by this name.
    pub fn lists(&self, app: &str) -> bool {
        let goals = self.relations.get(ENDPOINT);
        goals.is_some_and(|goals| goals.contains_key(app))
    }

    /// What is said of the workloads of these units on our endpoint.
    pub fn workloads(&self, units: &[&UnitName]) -> BTreeMap<UnitName, Workload> {
        let said = |unit: &UnitName| {
            let goal = self.relations.get(ENDPOINT)?.get(unit.as_str())?;
            let workload = Workload {
                status: goal.status.clone(),
                since: seconds_since_1970(&goal.since)?,
            };
            Some((unit.clone(), workload))
        };
        units.iter().filter_map(|unit| said(unit)).collect()
    }

    /// Whether Juju is removing the unit `own` of ours. `None` where it is not listed.
    pub fn is_leaving(&self, own: &UnitName) -> Option<bool> {
        self.units.get(own.as_str()).map(Goal::is_leaving)
    }

    /// The units, ours and those on our endpoint, of which a hook fails. Juju 3 shows it; Juju 4
    /// goes on showing what the charm said of its workload.
    pub fn failing(&self) -> impl Iterator<Item = UnitName> {
        let remote = self.relations.get(ENDPOINT).into_iter().flatten();
        let failing = self.units.iter().chain(remote);
        failing
            .filter(|(_, goal)| goal.status == "error")
            // An application that is related has a status as well.
            .filter_map(|(name, _)| name.parse().ok())
    }
}

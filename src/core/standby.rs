//! What a distributor unit that is not leader shows: the guard, and `mirror=down` once another unit
//! leads. A bag that is down keeps nothing but the guard.

use std::collections::BTreeMap;

use crate::core::bootstrap::{Application, choose};
use crate::core::ledger::{Ledger, Listed, Place};
use crate::core::names::{RelationId, UnitName};
use crate::core::publish::{is_ours_in_unit_bag, needs_guard};
use crate::core::wire::{
    self, Changes, DOWN, Databag, GUARD, GUARD_VALUE, MIRROR, Value, difference,
};

/// What a standby knows of one relation.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct StandbyRelation {
    /// The remote application.
    pub app: String,
    /// Whether it is of this model.
    pub place: Place,
    /// Whether it has a unit; `None` where goal-state does not tell.
    pub has_units: Option<bool>,
    /// Our unit's bag.
    pub own_unit: Databag,
}

/// The changes of the own unit bags of a standby, by relation.
pub type StandbyPlan = BTreeMap<RelationId, Changes>;

/// Decides what the unit bags of the standby `unit` hold.
pub fn standby_plan(
    ledger: &Ledger,
    unit: &UnitName,
    relations: &BTreeMap<RelationId, StandbyRelation>,
) -> StandbyPlan {
    // While the ledger names this unit, its bags show the ledger, and nobody else has published.
    let shows_the_ledger = |id: &RelationId| ledger.is_led_by(unit) && ledger.is_shown_in(*id);
    let others = relations.iter().filter(|(id, _)| !shows_the_ledger(id));
    let ledger = with_relations(ledger, relations);
    let mut plan = StandbyPlan::new();
    for (id, relation) in others {
        let changes = changes(&ledger, unit, relation);
        if !changes.is_empty() {
            plan.insert(*id, changes);
        }
    }
    plan
}

fn changes(ledger: &Ledger, unit: &UnitName, relation: &StandbyRelation) -> Changes {
    let own = &relation.own_unit;
    // Until another unit has published, consumers need a mirror that is up: they neither mint nor
    // join without one.
    let led = own.contains_key(MIRROR);
    let steps_back = led && ledger.is_led_by_another(unit);
    let mut target = Databag::new();
    if steps_back {
        target.insert(MIRROR.to_owned(), DOWN.to_owned());
    }
    let keeps = led && !steps_back;
    let shows_a_value =
        keeps && wire::mirror_values(own).any(|(_, value)| Value::from(value).is_real());
    if !shows_a_value && needs_guard(ledger, &relation.app) {
        target.insert(GUARD.to_owned(), GUARD_VALUE.to_owned());
    }
    difference(own, &target, |key| match keeps {
        true => key == GUARD,
        false => is_ours_in_unit_bag(key),
    })
}

/// The ledger with the relations that this unit sees and that no leader has published to yet, and
/// while no application is chosen, with the one that the leader will choose.
fn with_relations(ledger: &Ledger, relations: &BTreeMap<RelationId, StandbyRelation>) -> Ledger {
    let mut ledger = ledger.clone();
    for (id, relation) in relations {
        let listed = Listed {
            app: relation.app.clone(),
            is_current: true,
        };
        ledger.relations.insert(*id, listed);
        ledger.places.insert(relation.app.clone(), relation.place);
    }
    if ledger.bootstrap_app.is_none() {
        ledger.bootstrap_app = foreseen(&ledger, relations).map(str::to_owned);
    }
    ledger
}

/// The application that the leader will choose. The leader alone sees which units have joined, so
/// nothing can be foreseen where goal-state does not tell whether an earlier application has some.
fn foreseen<'a>(
    ledger: &'a Ledger,
    relations: &'a BTreeMap<RelationId, StandbyRelation>,
) -> Option<&'a str> {
    let option = ledger.options.bootstrap_app.as_deref();
    let is_known = |relation: &&StandbyRelation| relation.has_units.is_some();
    let applications = relations.values().take_while(is_known);
    let applications = applications.map(|relation| Application {
        name: &relation.app,
        has_units: relation.has_units,
        is_up: false,
    });
    choose(option, None, false, &applications.collect::<Vec<_>>())
}

//! Every reason to look at everything: when the ledger and one bag are not enough to decide.
//!
//! A law holds over them: however far a hook looked, looking at everything after it writes nothing.

use std::collections::{BTreeMap, BTreeSet};

use crate::core::choose::{bag_shows_cluster, ledger_shows_cluster};
use crate::core::everything;
use crate::core::evidence::{Scope, is_gone};
use crate::core::goal::GoalState;
use crate::core::learn;
use crate::core::ledger::{Ledger, Place};
use crate::core::names::{RelationId, UnitName};
use crate::core::turn::Facts;
use crate::core::turn::Occasion::{
    self, Anything, Broken, Created, Departed, Heard, Order, TakeOver, UpdateStatus,
};

/// Units without a claim whose bags update-status reads each time: enough to find those whose hooks
/// never ran.
pub const UNHEARD_UNITS: usize = 8;

/// A reason to look at everything.
pub struct Reason {
    /// A few words for the log.
    pub name: &'static str,
    /// On which occasions it is asked.
    pub on: fn(&Occasion) -> bool,
    /// Whether it speaks, or what must be looked at to know.
    pub speaks: fn(&Facts<'_>) -> Result<bool, Scope>,
}

/// The reasons, what costs nothing to ask first.
pub const REASONS: [Reason; 15] = [
    Reason {
        name: "anything may have changed",
        on: |occasion| matches!(occasion, Anything | TakeOver | Broken(_) | Order(_)),
        speaks: |_| Ok(true),
    },
    Reason {
        name: "this unit did not publish last",
        on: |occasion| matches!(occasion, Heard(..) | Departed(..) | UpdateStatus),
        speaks: |facts| Ok(!facts.ledger.is_led_by(facts.unit)),
    },
    Reason {
        // With a new relation a leader may publish for the first time.
        name: "another unit published last",
        on: |occasion| matches!(occasion, Created(_)),
        speaks: |facts| Ok(facts.ledger.is_led_by_another(facts.unit)),
    },
    Reason {
        name: "the relation may not show the ledger",
        on: |occasion| matches!(occasion, Heard(..) | Departed(..)),
        speaks: |facts| {
            let event = facts.event();
            Ok(event.is_some_and(|(id, _)| !facts.ledger.is_settled_in(id)))
        },
    },
    Reason {
        name: "no application is chosen",
        on: |occasion| matches!(occasion, Heard(..) | Departed(..) | UpdateStatus),
        speaks: |facts| {
            let ledger = facts.ledger;
            Ok(ledger.bootstrap_app.is_none() && !ledger.apps().is_empty())
        },
    },
    Reason {
        name: "a key had no room",
        on: |occasion| matches!(occasion, Heard(..) | Departed(..) | UpdateStatus),
        speaks: |facts| {
            let is_asked = facts.ledger.left_out.is_some();
            Ok(is_asked && (facts.event().is_none() || facts.is_news()?))
        },
    },
    Reason {
        name: "hosts wait for a token",
        on: |occasion| matches!(occasion, UpdateStatus),
        speaks: |facts| Ok(!facts.ledger.waiting().is_empty()),
    },
    Reason {
        name: "a bag that will not change again may hold a token",
        on: |occasion| matches!(occasion, Heard(..) | Departed(..)),
        speaks: |facts| Ok(facts.learned_from_unit()?.asks_for_everything),
    },
    Reason {
        name: "the choice may have rested on the unit that left",
        on: |occasion| matches!(occasion, Departed(..)),
        speaks: |facts| {
            let left = facts.event();
            let before = facts.ledger;
            let chosen = before.bootstrap_app.as_deref();
            let rested = left.is_some_and(|(_, unit)| chosen == Some(unit.app()))
                || ledger_shows_cluster(before)
                || facts.event_bag()?.is_some_and(bag_shows_cluster);
            Ok(rested && !ledger_shows_cluster(&facts.learned_from_unit()?.ledger))
        },
    },
    Reason {
        name: "Juju says now where the application is",
        on: |occasion| matches!(occasion, Heard(..)),
        speaks: |facts| {
            let app = facts.event().map_or("", |(_, unit)| unit.app());
            let is_asked =
                facts.ledger.place(app) == Place::Unknown && facts.event_bag()?.is_some();
            Ok(is_asked && facts.goal()?.is_some_and(|goal| goal.place(app).is_some()))
        },
    },
    Reason {
        name: "another application would be chosen",
        on: |occasion| matches!(occasion, Created(_)),
        speaks: |facts| {
            let Some(chosen) = &facts.ledger.bootstrap_app else {
                return Ok(false);
            };
            let world = facts.new_relation()?;
            let learned = everything::learned(facts.ledger, world, facts.unit);
            Ok(learned.ledger.bootstrap_app.as_ref() != Some(chosen))
        },
    },
    Reason {
        // Juju runs no config-changed for `juju config --reset`.
        name: "the options are others",
        on: |occasion| matches!(occasion, UpdateStatus),
        speaks: |facts| Ok(*facts.options()? != facts.ledger.options),
    },
    Reason {
        name: "a relation is yet to be read",
        on: |occasion| matches!(occasion, UpdateStatus),
        speaks: |facts| {
            Ok(facts
                .ledger
                .relations
                .values()
                .any(|listed| listed.is_unread))
        },
    },
    Reason {
        name: "Juju serves a relation again",
        on: |occasion| matches!(occasion, UpdateStatus),
        speaks: |facts| Ok(!facts.served_again()?.is_empty()),
    },
    Reason {
        name: "a unit left or spoke in a hook that never ran",
        on: |occasion| matches!(occasion, UpdateStatus),
        speaks: |facts| Ok(lost_a_unit(facts.ledger, facts.goal()?) || unheard_unit_speaks(facts)?),
    },
];

/// The units that update-status reads: of those that have no claim, not always the same ones, for
/// some may never announce a host.
///
/// Where goal-state lists no unit of an application, those that have `joined` its relation count.
pub fn next_unheard(
    ledger: &Ledger,
    goal: Option<&GoalState>,
    joined: &BTreeMap<RelationId, BTreeSet<UnitName>>,
    now: u64,
) -> Vec<(RelationId, UnitName)> {
    let current = ledger
        .relations
        .iter()
        .filter(|(_, listed)| listed.is_current);
    let mut unheard: Vec<_> = current
        .flat_map(|(id, listed)| {
            let expected = goal.and_then(|goal| goal.expected(&listed.app));
            let units = expected.or_else(|| joined.get(id).cloned());
            without_claim(ledger, units.unwrap_or_default()).map(|unit| (*id, unit))
        })
        .collect();
    // Update-status comes every five minutes.
    let round = usize::try_from(now / 300).unwrap_or_default();
    if let Some(first) = (round * UNHEARD_UNITS).checked_rem(unheard.len()) {
        unheard.rotate_left(first);
    }
    unheard.truncate(UNHEARD_UNITS);
    unheard
}

/// Those of `units` that have no claim, or one that counts as gone.
pub fn without_claim(
    ledger: &Ledger,
    mut units: BTreeSet<UnitName>,
) -> impl Iterator<Item = UnitName> + use<> {
    for claim in ledger
        .hosts
        .values()
        .flatten()
        .filter(|claim| !claim.is_gone)
    {
        units.remove(&claim.unit);
    }
    units.into_iter()
}

fn unheard_unit_speaks(facts: &Facts<'_>) -> Result<bool, Scope> {
    let unheard = next_unheard(
        facts.ledger,
        facts.goal()?,
        &facts.joined()?,
        facts.evidence.now,
    );
    let bags = &facts.evidence.bags;
    let unread = unheard.iter().filter(|unit| !bags.contains_key(unit));
    let unread: Vec<_> = unread.cloned().collect();
    if !unread.is_empty() {
        return Err(Scope::Units(unread));
    }
    Ok(unheard.iter().any(|key| {
        let bag = bags.get(key).and_then(Option::as_ref);
        bag.is_some_and(|bag| learn::unit(facts.ledger, &key.1, bag).ledger != *facts.ledger)
    }))
}

/// Whether the ledger counts on a unit that is gone: it left in a hook whose writes were lost.
fn lost_a_unit(ledger: &Ledger, goal: Option<&GoalState>) -> bool {
    let Some(goal) = goal else {
        return false;
    };
    let apps = ledger.apps().into_iter();
    let expected: BTreeMap<&str, _> = apps.map(|app| (app, goal.expected(app))).collect();
    let is_gone = |unit: &UnitName| {
        let expected = expected.get(unit.app());
        expected.is_some_and(|expected| is_gone(unit, expected.as_ref(), None))
    };
    let mut hosts = ledger.hosts.iter();
    let counts_on = |name: &str, unit| is_gone(unit) && !ledger.keeps_claim(name, unit);
    ledger.communicators.keys().any(is_gone)
        || hosts.any(|(name, claims)| claims.iter().any(|claim| counts_on(name, &claim.unit)))
}

//! What the leader knows once it has looked at everything: all that is learned, which application may
//! bootstrap, and where the ledger is published.

use std::collections::BTreeSet;

use crate::core::choose;
use crate::core::evidence::World;
use crate::core::learn::{self, Learned};
use crate::core::ledger::{Ledger, Listed, Place};
use crate::core::names::UnitName;

/// What `unit` knows once it has looked at `world`.
pub fn learned(before: &Ledger, world: &World, unit: &UnitName) -> Learned {
    let mut learned = learn::everything(before, world);
    let chosen = choose::settle(&mut learned.ledger, world);
    learned.notes.extend(chosen);
    list_relations(before, &mut learned.ledger, world);
    learned.ledger.name_leader(unit);
    learned
}

/// Notes which relations the ledger is published to. Where units may have come and gone unseen, the
/// next event of the relation looks at everything.
fn list_relations(before: &Ledger, ledger: &mut Ledger, world: &World) {
    for (id, relation) in &world.relations {
        let app = relation.app.clone();
        match relation.place {
            Place::Here => drop(ledger.places.remove(&app)),
            place => drop(ledger.places.insert(app, place)),
        }
        let is_unread = !world.units_were_read
            && match before.relations.get(id) {
                Some(listed) => listed.is_unread || !listed.is_current,
                None => relation.has_a_past(),
            };
        let listed = Listed {
            is_unread,
            ..Listed::of(&relation.app, true)
        };
        ledger.relations.insert(*id, listed);
    }
    for (id, app) in &world.passed_over {
        if let Some(app) = app {
            ledger.relations.insert(*id, Listed::of(app, false));
        }
    }
    let apps = ledger.relations.values().map(|listed| listed.app.clone());
    let apps: BTreeSet<String> = apps.collect();
    ledger.places.retain(|app, _| apps.contains(app));
    // One that broke, or is suspended, cannot be written to.
    for (id, listed) in &mut ledger.relations {
        listed.is_current = world.relations.contains_key(id);
        listed.is_unread &= listed.is_current;
    }
}

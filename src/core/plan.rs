//! What is to be written: the difference of two ledgers.

use std::collections::{BTreeMap, BTreeSet};

use crate::core::learn::{Learned, clear_used_tokens};
use crate::core::ledger::{Ledger, Size};
use crate::core::names::RelationId;
use crate::core::note::Note;
use crate::core::publish::{app_bag, is_ours_in_app_bag, is_ours_in_unit_bag, unit_bag};
use crate::core::queue::{Moment, take_turns};
use crate::core::status::{self, Problem, Status};
use crate::core::wire::{self, Change, Changes, Databag, GUARD, MIRROR, Value, difference};
use crate::core::world::{Relation, World};

/// What is to be done. It holds only differences from what is there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan {
    /// The ledger as it is.
    pub before: Ledger,
    /// The ledger as it should be.
    pub ledger: Ledger,
    /// The changes of each relation's own bags; a relation without any is not in here.
    pub writes: BTreeMap<RelationId, Writes>,
    /// What is worth logging, in order.
    pub notes: Vec<Note>,
}

/// The changes of one relation's own bags.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Writes {
    /// Our application's bag.
    pub app: Changes,
    /// Our unit's bag.
    pub unit: Changes,
}

impl Plan {
    /// The changes of the ledger's databag.
    pub fn ledger_changes(&self) -> Changes {
        self.ledger.changes_since(&self.before)
    }

    /// Whether there is nothing to write.
    pub fn is_idle(&self) -> bool {
        self.writes.is_empty() && self.ledger == self.before
    }

    /// The status once this is written.
    pub fn status(&self) -> Status {
        status::of(&self.ledger)
    }

    /// Whether the status is another than before.
    pub fn changes_the_status(&self) -> bool {
        self.status() != status::of(&self.before)
    }

    /// Logs the problems that are not among those `logged` before.
    fn note_problems(&mut self, logged: &[Problem]) {
        let problems = status::problems(&self.ledger).into_iter();
        let news = problems.filter(|problem| !logged.contains(problem));
        let notes = news.map(|problem| Note::warning(problem.to_string()));
        self.notes.extend(notes);
    }
}

/// What an event changes: the bags show the ledger as it was `before`.
pub fn of_event(before: &Ledger, learned: Learned, moment: &Moment) -> Plan {
    let Learned {
        mut ledger,
        mut notes,
        ..
    } = learned;
    notes.extend(take_turns(before, &mut ledger, moment, |_, _| false));
    let mut plan = Plan {
        before: before.clone(),
        writes: differences(before, &ledger),
        ledger,
        notes,
    };
    plan.note_problems(&status::problems(before));
    plan
}

/// What update-status changes where nobody waits: used tokens are cleared for all together.
pub fn of_update_status(before: &Ledger, moment: &Moment) -> Plan {
    let mut learned = Learned::nothing(before);
    clear_used_tokens(&mut learned.ledger, &mut learned.notes);
    of_event(before, learned, moment)
}

fn differences(before: &Ledger, after: &Ledger) -> BTreeMap<RelationId, Writes> {
    let current = after
        .relations
        .iter()
        .filter(|(_, listed)| listed.is_current);
    let writes = current.map(|(id, _)| {
        let app = difference(&app_bag(before, *id), &app_bag(after, *id), |_| true);
        let unit = difference(&unit_bag(before, *id), &unit_bag(after, *id), |_| true);
        (*id, Writes { app, unit })
    });
    writes.filter(|(_, writes)| !writes.is_empty()).collect()
}

/// What looking at everything changes: the bags show what `world` says.
pub fn of_everything(before: &Ledger, learned: Learned, world: &World, moment: &Moment) -> Plan {
    let Learned {
        mut ledger,
        mut notes,
        ..
    } = learned;
    let is_shown = |name: &str, token: &str| world.shows(&wire::mirror_key(name), token);
    notes.extend(take_turns(before, &mut ledger, moment, is_shown));
    let (writes, left_out) = repairs(before, &ledger, world);
    if ledger.left_out.is_none() {
        ledger.left_out = left_out.first().cloned();
    }
    for (id, writes) in &writes {
        notes.extend(published(*id, writes, &ledger, before));
    }
    let mut plan = Plan {
        before: before.clone(),
        ledger,
        writes,
        notes,
    };
    plan.note_problems(&[]);
    plan
}

/// The differences from the bags that were read, and the keys that have no room there.
fn repairs(
    before: &Ledger,
    after: &Ledger,
    world: &World,
) -> (BTreeMap<RelationId, Writes>, BTreeSet<String>) {
    let mut all = BTreeMap::new();
    let mut left_out = BTreeSet::new();
    for (id, relation) in &world.relations {
        let writes = Writes {
            app: relation.own_app.as_ref().map_or_else(Changes::new, |held| {
                difference(held, &app_bag(after, *id), is_ours_in_app_bag)
            }),
            unit: unit_repairs(before, after, *id, relation, &mut left_out),
        };
        if !writes.is_empty() {
            all.insert(*id, writes);
        }
    }
    (all, left_out)
}

fn unit_repairs(
    before: &Ledger,
    after: &Ledger,
    id: RelationId,
    relation: &Relation,
    left_out: &mut BTreeSet<String>,
) -> Changes {
    let Some(held) = &relation.own_unit else {
        return Changes::new();
    };
    let mut changes = difference(held, &unit_bag(after, id), is_ours_in_unit_bag);
    // What stands in a bag that missed changes was in the ledger once.
    let listed = before.relations.get(&id);
    let missed_changes = listed.is_some_and(|listed| !listed.is_current);
    for (name, value) in wire::mirror_values(held) {
        if !missed_changes && stays(before, after, name, &Value::from(value)) {
            changes.remove(&wire::mirror_key(name));
        }
    }
    leave_out(held, &mut changes, left_out);
    changes
}

/// Rule 5 of what is learned: where the Python charm left another real value in an own unit bag
/// than the ledger has, that bag keeps it until the ledger's value changes. A spent one is no token
/// any more.
fn stays(before: &Ledger, after: &Ledger, name: &str, held: &Value) -> bool {
    match (held, before.mirror.get(name), after.mirror.get(name)) {
        (Value::Text(token), ..) if after.is_spent(name, token) => false,
        (Value::Text(_), Some(former @ Value::Text(_)), Some(value @ Value::Text(_))) => {
            former == value
        }
        (Value::Text(_), _, Some(Value::Text(_))) => true,
        _ => false,
    }
}

/// Takes out of `changes` what the bag has no room for, the last names first.
fn leave_out(held: &Databag, changes: &mut Changes, left_out: &mut BTreeSet<String>) {
    let mut size = Size::of(held);
    changes.retain(|key, change| {
        let old = held.get(key).map(String::len);
        match change {
            Change::Remove => {
                size.bytes -= old.map_or(0, |old| key.len() + old);
                size.keys -= usize::from(old.is_some());
                true
            }
            Change::Set(value) => {
                let bytes = match old {
                    Some(old) => value.len().saturating_sub(old),
                    None => key.len() + value.len(),
                };
                let keys = usize::from(old.is_none());
                let has_room = size.has_room(bytes, keys);
                if has_room {
                    size.bytes += bytes;
                    size.keys += keys;
                } else {
                    left_out.insert(wire::printable(key));
                }
                has_room
            }
        }
    });
}

/// What is merely shown again, in a new relation or by a new leader: a line for each relation.
fn published(id: RelationId, writes: &Writes, after: &Ledger, before: &Ledger) -> Vec<Note> {
    let mut notes = Vec::new();
    if let Some(Change::Set(value)) = writes.unit.get(MIRROR) {
        notes.push(Note::info(format!("relation {id}: mirror {value}")));
    }
    if let Some(Change::Set(_)) = writes.unit.get(GUARD) {
        notes.push(Note::info(format!(
            "relation {id}: guarded, it must not bootstrap"
        )));
    }
    let names = writes.unit.keys().filter_map(|key| wire::mirrored(key));
    let known = names.filter(|name| {
        let value = after.mirror.get(*name);
        value.is_some() && value == before.mirror.get(*name)
    });
    match known.count() {
        0 => {}
        1 => notes.push(Note::info(format!("relation {id}: 1 known key published"))),
        known => notes.push(Note::info(format!(
            "relation {id}: {known} known keys published"
        ))),
    }
    notes
}

impl Writes {
    /// Whether nothing changes.
    pub fn is_empty(&self) -> bool {
        self.app.is_empty() && self.unit.is_empty()
    }

    /// How many keys change in both bags.
    pub fn count(&self) -> usize {
        self.app.len() + self.unit.len()
    }
}

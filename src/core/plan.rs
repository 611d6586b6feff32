//! What is to be written: the difference of two ledgers.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};

use crate::core::evidence::{OwnBag, World};
use crate::core::learn::Learned;
use crate::core::ledger::{Ledger, Listed};
use crate::core::names::{RelationId, UnitName};
use crate::core::note::Note;
use crate::core::operator::Outcome;
use crate::core::queue::{Moment, take_turns};
use crate::core::room::leave_out;
use crate::core::show;
use crate::core::status::{self, Status};
use crate::core::wire::{self, Change, Changes, Databag, GUARD, MIRROR, Value, difference};

/// What is to be done. It holds only differences from what is there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan {
    /// Whether the leader acts, or a standby.
    pub role: Role,
    /// The ledger as it is.
    pub before: Ledger,
    /// The ledger as it should be.
    pub ledger: Ledger,
    /// The changes of each relation's own bags; a relation without any is not in here.
    pub writes: BTreeMap<RelationId, Writes>,
    /// What is worth logging, in order.
    pub notes: Vec<Note>,
    /// Whether the status is compared with what Juju shows, and not with what the ledger said before.
    pub compares_the_status: bool,
    /// What became of an operator's order.
    pub outcome: Option<Outcome>,
}

/// Who acts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// The leader. It alone writes the ledger and application bags.
    Leader,
    /// Any other unit.
    Standby,
}

/// The changes of one relation's own bags.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Writes {
    /// Our application's bag.
    pub app: Changes,
    /// Our unit's bag.
    pub unit: Changes,
}

/// A plan that was written. Only this has a status: a relation that turned out not to be served does
/// not count.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Applied {
    /// What was planned.
    pub plan: Plan,
    /// The ledger as it is now.
    pub ledger: Ledger,
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

    fn idle(ledger: &Ledger, notes: Vec<Note>) -> Self {
        Plan {
            role: Role::Leader,
            before: ledger.clone(),
            ledger: ledger.clone(),
            writes: BTreeMap::new(),
            notes,
            compares_the_status: false,
            outcome: None,
        }
    }

    /// What is there once this is written, but to the relations of `unserved`: the ledger notes that
    /// their bags may not show it.
    pub fn applied(self, unserved: &[RelationId]) -> Applied {
        let mut ledger = self.ledger.clone();
        for id in unserved {
            if let Some(listed) = ledger.relations.get_mut(id) {
                *listed = Listed::of(&listed.app, false);
            }
        }
        Applied { plan: self, ledger }
    }
}

impl Applied {
    /// The changes of the ledger's databag.
    pub fn ledger_changes(&self) -> Changes {
        self.ledger.changes_since(&self.plan.before)
    }

    /// The status now.
    pub fn status(&self) -> Status {
        match self.plan.role {
            Role::Leader => status::of(&self.ledger),
            Role::Standby => status::standby(),
        }
    }

    /// Whether the leader's status is another than before.
    pub fn changes_the_status(&self) -> bool {
        status::of(&self.ledger) != status::of(&self.plan.before)
    }
}

/// What the leader writes once it has learned something. `seen` is what was looked at as a whole;
/// without it, the bags show the ledger as it was `before`.
pub fn of(before: &Ledger, learned: Learned, seen: Option<&World>, moment: &Moment) -> Plan {
    let Learned {
        mut ledger,
        mut notes,
        ..
    } = learned;
    let is_shown = |name: &str, token: &str| {
        seen.is_some_and(|world| world.shows(&wire::mirror_key(name), token))
    };
    notes.extend(take_turns(before, &mut ledger, moment, is_shown));
    if seen.is_none() && ledger == *before {
        return Plan::idle(before, notes);
    }
    let mut writes = BTreeMap::new();
    let mut left_out = BTreeSet::new();
    for (id, bags) in bags(before, &ledger, seen) {
        let unit = bags.unit.map_or_else(Changes::new, |held| {
            let mut changes = unit_changes(before, &ledger, id, &held);
            left_out.append(&mut leave_out(&held, &mut changes));
            changes
        });
        let app = bags.app.map_or_else(Changes::new, |held| {
            difference(&held, &show::app_bag(&ledger, id), show::is_ours_in_app_bag)
        });
        let changes = Writes { app, unit };
        if !changes.is_empty() {
            writes.insert(id, changes);
        }
    }
    if ledger.left_out.is_none() {
        ledger.left_out = left_out.pop_first();
    }
    // What is merely shown again, and problems that stay, are news only to who looks at everything.
    let mut logged = status::problems(before);
    if seen.is_some() {
        logged.clear();
        let shown = writes.iter();
        notes.extend(shown.flat_map(|(id, writes)| published(*id, writes, &ledger, before)));
    }
    let problems = status::problems(&ledger).into_iter();
    let news = problems.filter(|problem| !logged.contains(problem));
    notes.extend(news.map(|problem| Note::warning(problem.to_string())));
    Plan {
        ledger,
        writes,
        compares_the_status: seen.is_some(),
        ..Plan::idle(before, notes)
    }
}

/// The own bags of one relation as they are; `None` where the input of the command line does not show
/// one.
struct OwnBags<'a> {
    app: Option<Cow<'a, Databag>>,
    unit: Option<Cow<'a, Databag>>,
}

/// The bags that can be written.
fn bags<'a>(
    before: &Ledger,
    after: &Ledger,
    seen: Option<&'a World>,
) -> Vec<(RelationId, OwnBags<'a>)> {
    if let Some(world) = seen {
        let relations = world.relations.iter().map(|(id, relation)| {
            let app = relation.own_app.as_ref().map(Cow::Borrowed);
            let unit = relation.own_unit.as_ref().map(Cow::Borrowed);
            (*id, OwnBags { app, unit })
        });
        return relations.collect();
    }
    let current = after
        .relations
        .iter()
        .filter(|(_, listed)| listed.is_current);
    let as_published = current.map(|(id, _)| {
        let app = Some(Cow::Owned(show::app_bag(before, *id)));
        let unit = Some(Cow::Owned(show::unit_bag(before, *id)));
        (*id, OwnBags { app, unit })
    });
    as_published.collect()
}

fn unit_changes(before: &Ledger, after: &Ledger, id: RelationId, held: &Databag) -> Changes {
    let mut changes = difference(held, &show::unit_bag(after, id), show::is_ours_in_unit_bag);
    // What stands in a bag that missed changes was in the ledger once.
    let listed = before.relations.get(&id);
    let missed_changes = listed.is_some_and(|listed| !listed.is_current);
    for (name, value) in wire::mirror_values(held) {
        if !missed_changes && stays(before, after, name, &Value::from(value)) {
            changes.remove(&wire::mirror_key(name));
        }
    }
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

/// What the standby `unit` writes: its own unit bags alone.
pub fn of_standby(
    before: &Ledger,
    unit: &UnitName,
    relations: &BTreeMap<RelationId, OwnBag>,
) -> Plan {
    let seen = show::seen_by_standby(before, relations);
    // While the ledger names this unit, its bags show the ledger, and nobody else has published.
    let shows_the_ledger = |id: &RelationId| before.is_led_by(unit) && before.is_shown_in(*id);
    let mut writes = BTreeMap::new();
    let mut notes = Vec::new();
    for (id, relation) in relations.iter().filter(|(id, _)| !shows_the_ledger(id)) {
        let target = show::standby_bag(&seen, unit, relation);
        let unit = difference(&relation.own_unit, &target, show::is_ours_in_unit_bag);
        if !unit.is_empty() {
            let app = Changes::new();
            let changes = Writes { app, unit };
            notes.extend(published(*id, &changes, before, before));
            writes.insert(*id, changes);
        }
    }
    Plan {
        role: Role::Standby,
        writes,
        compares_the_status: true,
        ..Plan::idle(before, notes)
    }
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
    let known = writes.unit.iter().filter(|(key, change)| {
        let value = wire::mirrored(key).and_then(|name| {
            let value = after.mirror.get(name)?;
            (before.mirror.get(name) == Some(value)).then_some(value)
        });
        value.is_some() && **change != Change::Remove
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

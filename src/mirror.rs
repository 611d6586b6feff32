//! The mirror: one value for every mirror key, chosen among all bags that name it.
//!
//! A real value beats a placeholder, and among real values the first in the order of precedence
//! wins: own application bags, own unit bags (both in relation order), then units that say
//! `mirror=up` in (relation, unit) order. The application bags come first because they are the
//! truth: they outlive every unit.

use std::borrow::Cow;
use std::collections::BTreeSet;

use crate::databag::{self, Databag, PLACEHOLDER, is_real};
use crate::reconcile::Note;
use crate::snapshot::{RelationId, Snapshot, UnitName};

/// What is known of one key.
#[derive(Clone, Copy, Debug)]
pub struct Mirrored<'a> {
    /// A real value or [`PLACEHOLDER`].
    pub value: &'a str,
    /// Where it comes from.
    pub source: Source<'a>,
    /// Its place in the order of precedence, lower is earlier.
    pub rank: usize,
}

/// Who gave a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source<'a> {
    /// Our own bags of this relation.
    Own(RelationId),
    /// A unit whose mirror is up.
    Copied(&'a UnitName),
    /// A unit that announced its host name.
    Announced(&'a UnitName),
}

/// Every mirror key with its value, in the order of keys.
#[derive(Debug, Default)]
pub struct Mirror<'a> {
    keys: Vec<(Cow<'a, str>, Mirrored<'a>)>,
    offers: usize,
}

impl<'a> Mirror<'a> {
    /// Collects the real values of `facts`. What disagrees becomes a note.
    pub fn of_real_values(facts: &'a Snapshot, notes: &mut Vec<Note>) -> Self {
        let mut mirror = Mirror::default();
        for (source, bag) in own_bags(facts).chain(copied_bags(facts)) {
            for (key, value) in databag::mirror_of(bag).filter(|(_, value)| is_real(value)) {
                mirror.offer(key, value, source);
            }
        }
        mirror.settle(|key, kept, other| notes.extend(disagreement(key, kept, other)));
        mirror
    }

    /// Adds a placeholder for every key that somebody named without a value, but not for a key
    /// that only our own bags name and whose host is among `dropped`.
    pub fn add_placeholders(
        &mut self,
        facts: &'a Snapshot,
        hosts: Vec<(String, &'a UnitName)>,
        dropped: &BTreeSet<String>,
    ) {
        for (source, bag) in own_bags(facts) {
            for key in valueless(bag) {
                if !databag::mirrored(key).is_some_and(|name| dropped.contains(name)) {
                    self.offer(key, PLACEHOLDER, source);
                }
            }
        }
        for (source, bag) in copied_bags(facts) {
            for key in valueless(bag) {
                self.offer(key, PLACEHOLDER, source);
            }
        }
        for (key, unit) in hosts {
            self.offer(key, PLACEHOLDER, Source::Announced(unit));
        }
        self.settle(|_, _, _| {});
    }

    /// The entry for `key`.
    pub fn get(&self, key: &str) -> Option<&Mirrored<'a>> {
        let place = self.keys.binary_search_by(|(held, _)| (**held).cmp(key));
        let (_, mirrored) = self.keys.get(place.ok()?)?;
        Some(mirrored)
    }

    /// Whether `key` has a value that is more than a placeholder.
    pub fn has_real(&self, key: &str) -> bool {
        self.get(key)
            .is_some_and(|mirrored| is_real(mirrored.value))
    }

    /// Whether any key has a real value: some communicator has minted, so a cluster exists.
    pub fn has_any_real(&self) -> bool {
        self.iter().any(|(_, mirrored)| is_real(mirrored.value))
    }

    /// All keys in order.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &Mirrored<'a>)> {
        self.keys
            .iter()
            .map(|(key, mirrored)| (key.as_ref(), mirrored))
    }

    /// Offers a value, to be taken if no earlier one names the key.
    fn offer(&mut self, key: impl Into<Cow<'a, str>>, value: &'a str, source: Source<'a>) {
        let offered = Mirrored {
            value,
            source,
            rank: self.offers,
        };
        self.offers += 1;
        self.keys.push((key.into(), offered));
    }

    /// Keeps the first offer for each key; `passed_over` hears of every other one.
    fn settle(&mut self, mut passed_over: impl FnMut(&str, &Mirrored<'a>, &Mirrored<'a>)) {
        // Every bag is in order already, and the sort makes use of that: a map would look up each
        // of a hundred thousand keys three times over.
        self.keys.sort_by(|(one, _), (other, _)| one.cmp(other));
        self.keys.dedup_by(|(key, later), (kept_key, kept)| {
            let is_known = key == kept_key;
            if is_known {
                passed_over(key, kept, later);
            }
            is_known
        });
    }
}

fn valueless(bag: &Databag) -> impl Iterator<Item = &str> {
    databag::mirror_of(bag)
        .filter(|(_, value)| !is_real(value))
        .map(|(key, _)| key)
}

fn own_bags(facts: &Snapshot) -> impl Iterator<Item = (Source<'_>, &Databag)> {
    let app = facts
        .relations
        .iter()
        .map(|(id, relation)| (*id, &relation.own_app));
    let unit = facts
        .relations
        .iter()
        .filter_map(|(id, relation)| Some((*id, relation.own_unit.as_ref()?)));
    app.chain(unit).map(|(id, bag)| (Source::Own(id), bag))
}

fn copied_bags(facts: &Snapshot) -> impl Iterator<Item = (Source<'_>, &Databag)> {
    facts
        .relations
        .values()
        .flat_map(|relation| &relation.units)
        .filter(|(_, bag)| databag::is_up(bag))
        .map(|(unit, bag)| (Source::Copied(unit), bag))
}

/// The note for a value that is passed over, if a person should know of it. A communicator that
/// still shows the token it minted before ours was kept is daily life and gets none.
fn disagreement(key: &str, kept: &Mirrored<'_>, other: &Mirrored<'_>) -> Option<Note> {
    if kept.value == other.value {
        return None;
    }
    let key = databag::printable(key);
    match (kept.source, other.source) {
        (Source::Own(first), Source::Own(second)) => Some(Note::warning(format!(
            "{key}: relations {first} and {second} hold different values; each keeps its own"
        ))),
        (Source::Copied(first), Source::Copied(second)) => Some(Note::warning(format!(
            "{key}: {first} and {second} give different values; that of {first} is taken"
        ))),
        _ => None,
    }
}

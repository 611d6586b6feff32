//! The mirror: one value for every mirror key, chosen among all bags that name it.
//!
//! A real value beats a placeholder, and among real values the first in the order of precedence
//! wins: own application bags, own unit bags (both in relation order), then units that say
//! `mirror=up` in (relation, unit) order. The application bags come first because they are the
//! truth: they outlive every unit.

use std::cmp::Ordering;
use std::collections::BTreeSet;

use crate::databag::{self, Databag, PLACEHOLDER, is_real, mirror_key};
use crate::hosts::Announced;
use crate::reconcile::Note;
use crate::snapshot::{RelationId, Snapshot, UnitName};

/// What is known of one name.
#[derive(Clone, Copy, Debug)]
pub struct Mirrored<'a> {
    /// A real value or [`PLACEHOLDER`].
    pub value: &'a str,
    /// Where it comes from.
    pub source: Source<'a>,
    /// Its place in the order of precedence among real values or placeholders, lower is earlier;
    /// the values of one bag have the same.
    pub rank: usize,
}

/// Who gave a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source<'a> {
    /// Our own bags of this relation.
    Own(RelationId),
    /// A unit whose mirror is up.
    Copied(&'a UnitName),
    /// A unit that announced its host name, one that can have a token.
    Announced(&'a UnitName),
}

/// A bag that may hold mirror keys, with who wrote it.
pub type Sourced<'a> = (Source<'a>, &'a Databag);

/// Every name that a mirror key has after its prefix, with its value, in the order of names.
#[derive(Debug, Default)]
pub struct Mirror<'a> {
    names: Vec<(&'a str, Mirrored<'a>)>,
    /// While the mirror is made: offers, in order of their coming, that belong between these.
    unplaced: Vec<(&'a str, Mirrored<'a>)>,
}

impl<'a> Mirror<'a> {
    /// Collects what `bags` hold, earlier ones first, and a placeholder for every host that is
    /// `announced` and can have a token. A placeholder that only our own bags name is passed over
    /// if its host is among `dropped`. What disagrees becomes a note.
    pub fn of(
        bags: &[Sourced<'a>],
        announced: &[Announced<'a>],
        dropped: &BTreeSet<String>,
        notes: &mut Vec<Note>,
    ) -> Self {
        let mut mirror = Mirror::default();
        for (rank, &(source, bag)) in bags.iter().enumerate() {
            let is_dropped = |name: &str, value: &str| {
                matches!(source, Source::Own(_)) && !is_real(value) && dropped.contains(name)
            };
            let held = databag::mirror_by_name(bag);
            let held = held.filter(|(name, value)| !is_dropped(name, value));
            let offers = held.map(|(name, value)| {
                let value = if is_real(value) { value } else { PLACEHOLDER };
                (name, Mirrored::new(value, source, rank))
            });
            mirror.offer(offers, notes);
        }
        let first_comers = announced.chunk_by(|one, other| one.name == other.name);
        let offers = first_comers
            .filter_map(<[_]>::first)
            .filter(|host| databag::is_hostname(host.name))
            .map(|host| {
                let source = Source::Announced(host.unit);
                let mirrored = Mirrored::new(PLACEHOLDER, source, bags.len() + host.place);
                (host.name, mirrored)
            });
        mirror.offer(offers, notes);
        mirror.settle(notes);
        mirror
    }

    /// Takes offers of different names, in the order of names.
    fn offer(
        &mut self,
        offers: impl Iterator<Item = (&'a str, Mirrored<'a>)>,
        notes: &mut Vec<Note>,
    ) {
        let mut next = 0;
        for (name, offered) in offers {
            match seek(&self.names, next, name) {
                Ok(place) => {
                    notes.extend(self.names[place].1.weigh(name, offered));
                    next = place + 1;
                }
                Err(end) if end == self.names.len() => {
                    self.names.push((name, offered));
                    next = end + 1;
                }
                Err(place) => {
                    self.unplaced.push((name, offered));
                    next = place;
                }
            }
        }
        // Most bags are alike, so those that follow should find these names in their place. Not
        // for a few: each time costs a walk through all.
        if self.unplaced.len() > self.names.len() {
            self.settle(notes);
        }
    }

    fn settle(&mut self, notes: &mut Vec<Note>) {
        if self.unplaced.is_empty() {
            return;
        }
        self.names.append(&mut self.unplaced);
        self.names.sort_by_key(|(name, _)| *name);
        self.names.dedup_by(|(name, later), (known, kept)| {
            let is_known = name == known;
            if is_known {
                notes.extend(kept.weigh(name, *later));
            }
            is_known
        });
    }

    /// What the own application bags alone hold.
    pub fn published(facts: &'a Snapshot) -> Self {
        let nobody = BTreeSet::new();
        Mirror::of(&own_app_bags(facts), &[], &nobody, &mut Vec::new())
    }

    /// The entry for a name.
    pub fn get(&self, name: &str) -> Option<&Mirrored<'a>> {
        let place = self.names.binary_search_by(|(held, _)| (*held).cmp(name));
        let (_, mirrored) = self.names.get(place.ok()?)?;
        Some(mirrored)
    }

    /// Whether any name has a real value: some communicator has minted, so a cluster exists.
    pub fn has_any_real(&self) -> bool {
        self.iter().any(|(_, mirrored)| is_real(mirrored.value))
    }

    /// All names in order.
    pub fn iter(&self) -> impl Iterator<Item = (&'a str, &Mirrored<'a>)> {
        self.names.iter().map(|(name, mirrored)| (*name, mirrored))
    }
}

/// The bags that the mirror is made of, in the order of precedence.
pub fn bags(facts: &Snapshot) -> Vec<Sourced<'_>> {
    let own_unit = facts
        .relations
        .iter()
        .filter_map(|(id, relation)| Some((Source::Own(*id), relation.own_unit.as_ref()?)));
    let copied = facts
        .relations
        .values()
        .flat_map(|relation| &relation.units)
        .filter(|(_, bag)| databag::is_up(bag))
        .map(|(unit, bag)| (Source::Copied(unit), bag));
    let mut bags = own_app_bags(facts);
    bags.extend(own_unit.chain(copied));
    bags
}

fn own_app_bags(facts: &Snapshot) -> Vec<Sourced<'_>> {
    facts
        .relations
        .iter()
        .map(|(id, relation)| (Source::Own(*id), &relation.own_app))
        .collect()
}

/// Where a name stands or would stand that comes after all before `next`. Most often it is `next`
/// itself: bags that are alike ask for one name after the other.
fn seek(names: &[(&str, Mirrored<'_>)], next: usize, name: &str) -> Result<usize, usize> {
    let order = names.get(next).map(|(known, _)| (*known).cmp(name));
    match order {
        Some(Ordering::Equal) => Ok(next),
        Some(Ordering::Less) => {
            let rest = &names[next + 1..];
            let place = rest.binary_search_by(|(known, _)| (*known).cmp(name));
            place
                .map(|place| next + 1 + place)
                .map_err(|place| next + 1 + place)
        }
        _ => Err(next),
    }
}

impl<'a> Mirrored<'a> {
    fn new(value: &'a str, source: Source<'a>, rank: usize) -> Self {
        Mirrored {
            value,
            source,
            rank,
        }
    }

    /// Keeps the better of two: a real value before a placeholder, the first of two real ones. The
    /// note is for a value that is passed over, if a person should know of it. A communicator that
    /// still shows the token it minted before ours was kept is daily life and gets none.
    fn weigh(&mut self, name: &str, later: Mirrored<'a>) -> Option<Note> {
        if !is_real(later.value) {
            return None;
        }
        if !is_real(self.value) {
            *self = later;
            return None;
        }
        let differs = || self.value != later.value;
        let text = match (self.source, later.source) {
            (Source::Own(first), Source::Own(second)) if differs() => {
                format!("relations {first} and {second} hold different values; each keeps its own")
            }
            (Source::Copied(first), Source::Copied(second)) if differs() => {
                format!("{first} and {second} give different values; that of {first} is taken")
            }
            _ => return None,
        };
        let key = databag::printable(&mirror_key(name));
        Some(Note::warning(format!("{key}: {text}")))
    }
}

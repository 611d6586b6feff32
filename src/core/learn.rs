//! What is learned (spec 3): `ledger` + evidence → `ledger`.
//!
//! Evidence is one unit's bag ([`unit()`]), the departure of a unit ([`departure`]), or everything
//! ([`everything`]): first who claims which name and which token it refuses, then what is offered.
//! Where no two units contradict each other, the order of events does not matter.

use std::collections::HashMap;

use crate::core::evidence::World;
use crate::core::ledger::{Because, Claim, Key, Ledger, Protocol, printed_key};
use crate::core::names::UnitName;
use crate::core::note::Note;
use crate::core::room::Size;
use crate::core::spent::refused;
use crate::core::wire::{self, Databag, HOSTNAME, MEMBER, MIRROR, Value, is_hostname, printable};

/// What was learned.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Learned {
    /// The ledger as it should be now.
    pub ledger: Ledger,
    /// What changed, and what a person may want to know.
    pub notes: Vec<Note>,
    /// A unit claims a name that it did not claim before.
    pub has_new_claim: bool,
    /// Everything is to be looked at. A token that the mirror holds was refused, or the member of a
    /// name that another unit claims is gone: a bag that will not change again may hold the next
    /// token. Or one of several claimants is the member now, and of the others some may be gone.
    pub asks_for_everything: bool,
}

impl Learned {
    /// Nothing new.
    pub fn nothing(ledger: &Ledger) -> Self {
        Learner::of(ledger).learned()
    }
}

/// Whether there is anything to learn from a unit's bag.
pub fn says_something(bag: &Databag) -> bool {
    announced(bag).is_some() || wire::is_up(bag)
}

/// Learns the bag of the unit whose hook this is.
pub fn unit(ledger: &Ledger, unit: &UnitName, bag: &Databag) -> Learned {
    unit_and_others(ledger, unit, bag, [])
}

/// The same, and the bags of `others` beside it, in their order.
pub fn unit_and_others<'a>(
    ledger: &Ledger,
    unit: &UnitName,
    bag: &Databag,
    others: impl IntoIterator<Item = (&'a UnitName, &'a Databag)>,
) -> Learned {
    let mut learner = Learner::of(ledger);
    learner.says(unit, bag, true);
    learner.offers(unit, bag);
    for (other, bag) in others {
        learner.says(other, bag, false);
        learner.offers(other, bag);
    }
    learner.learned()
}

/// Learns that a unit has departed. Its bag stays readable, and may hold tokens that nobody has
/// read yet.
pub fn departure(ledger: &Ledger, unit: &UnitName, bag: &Databag) -> Learned {
    let mut learner = Learner::of(ledger);
    learner.offers(unit, bag);
    learner.forget(unit);
    learner.learned()
}

/// Learns everything that is to be seen.
pub fn everything(before: &Ledger, world: &World) -> Learned {
    let mut learner = Learner::of(before);
    if is_of_another_cluster(before, world) {
        learner.note(Note::info(
            "the ledger is emptied: none of the relations that it lists exists any more",
        ));
        learner.ledger = before.emptied();
    }
    learner.index_claims();
    // A new look finds out anew what has no room.
    learner.ledger.left_out = None;
    learner.ledger.options = world.options.clone();
    learner.forget_gone_units(world);

    let served = || world.relations.values();
    let units = || served().flat_map(|relation| &relation.units);
    let own_bags = served().flat_map(|relation| &relation.own_unit);
    let siblings = served().flat_map(|relation| relation.siblings.values());
    let siblings = siblings.filter(|_| world.siblings_are_news);
    let published: Vec<&Databag> = own_bags.chain(siblings).collect();
    learner.published(&published);
    // All that is said comes before all that is offered: a refused token makes room for the next,
    // whoever offers it.
    for (unit, bag) in units().filter(|(unit, _)| !world.is_gone(unit)) {
        learner.says(unit, bag, world.in_hook_of.as_ref() == Some(unit));
    }
    for (unit, bag) in units() {
        learner.offers(unit, bag);
    }
    if learner.takes_a_token {
        learner.published(&published);
    }
    // A name whose member is known now needs no first claimant that is gone.
    learner.forget_gone_units(world);
    learner.learned()
}

/// Whether the ledger is of a cluster that is gone (spec 2): something is to be published to a
/// relation that it does not list, and Juju lists none of those that it does. A suspended relation
/// is not listed either and comes back with its cluster, so this is asked no earlier.
fn is_of_another_cluster(ledger: &Ledger, world: &World) -> bool {
    let mut known = ledger.relations.keys();
    let mut served = world.relations.keys();
    !ledger.relations.is_empty()
        && served.any(|id| !ledger.relations.contains_key(id))
        && !known.any(|id| world.lists(*id))
}

/// Gives the name of each member the constant in place of its used token (spec 3, rule 3). Each
/// such change runs a hook of every consumer, so update-status does it, for all members together.
pub fn clear_used_tokens(ledger: &mut Ledger, notes: &mut Vec<Note>) {
    let names = ledger.hosts.keys().filter(|name| ledger.has_member(name));
    let names: Vec<String> = names.cloned().collect();
    for name in names {
        ledger.end_refusals(&name);
        if ledger.use_token(&name) {
            let key = printed_key(&name);
            notes.push(Note::info(format!("{key}: member, its token is used")));
        }
    }
}

/// A ledger in the making.
struct Learner {
    ledger: Ledger,
    notes: Vec<Note>,
    /// The size of the databag, once somebody asked for room.
    size: Option<Size>,
    /// Who claims which name, where many claims are looked for.
    claimed: Option<HashMap<UnitName, String>>,
    has_new_claim: bool,
    /// One of several units that claim a name is the member now.
    has_new_member: bool,
    /// A name takes a token that took none before: its token was refused, or its member is gone.
    takes_a_token: bool,
}

impl Learner {
    fn of(ledger: &Ledger) -> Self {
        Learner {
            ledger: ledger.clone(),
            notes: Vec::new(),
            size: None,
            claimed: None,
            has_new_claim: false,
            has_new_member: false,
            takes_a_token: false,
        }
    }

    fn learned(self) -> Learned {
        Learned {
            ledger: self.ledger,
            notes: self.notes,
            has_new_claim: self.has_new_claim,
            asks_for_everything: self.takes_a_token || self.has_new_member,
        }
    }

    fn note(&mut self, note: Note) {
        self.notes.push(note);
    }

    fn index_claims(&mut self) {
        let hosts = self.ledger.hosts.iter();
        let claims = hosts.flat_map(|(name, claims)| claims.iter().map(move |claim| (name, claim)));
        let claimed = claims.map(|(name, claim)| (claim.unit.clone(), name.clone()));
        self.claimed = Some(claimed.collect());
    }

    /// What a unit says of itself. A bag without a name takes no claim back: no consumer deletes its
    /// own, and a new leader may still hold the empty bag that it read when the unit joined.
    fn says(&mut self, unit: &UnitName, bag: &Databag, in_its_own_hook: bool) {
        let speaks = Protocol::spoken_in(bag);
        if let Some(name) = announced(bag) {
            // Whoever has been communicator is in the cluster.
            let says_member = bag.contains_key(MEMBER) || bag.contains_key(MIRROR);
            let claim = Claim {
                member: says_member.then_some(Because::UnitSays),
                speaks,
                ..Claim::of(unit.clone())
            };
            self.claim(&name, claim, in_its_own_hook);
            self.refusal(&name, unit, bag);
        }
        match wire::is_up(bag) {
            true => self.ledger.communicators.insert(unit.clone(), speaks),
            false => self.ledger.communicators.remove(unit),
        };
    }

    /// Rule 3: the unit's claim is noted, and the name gets a value.
    fn claim(&mut self, name: &String, claim: Claim, in_its_own_hook: bool) {
        let had_member = self.ledger.has_member(name);
        let is_member = claim.is_member();
        let unit = &claim.unit;
        if let Some(known) = self.claim_under(name, unit) {
            let now = known.heard_again(&claim, in_its_own_hook);
            if now != *known
                && let Some(known) = self.claim_to_change(name, unit)
            {
                *known = now;
            }
        } else {
            // One name for each unit.
            if let Some(former) = self.claim_of(unit) {
                self.unclaim(&former, unit);
            }
            // A space and three marks.
            let unit_bytes = unit.as_str().len() + 4;
            let is_first = !self.ledger.hosts.contains_key(name);
            if !self.make_room(&Key::Host(name).print(), unit_bytes, usize::from(is_first)) {
                return;
            }
            if let Some(claimed) = &mut self.claimed {
                claimed.insert(unit.clone(), name.clone());
            }
            let claims = self.ledger.hosts.entry(name.clone()).or_default();
            claims.push(claim);
            self.has_new_claim = true;
        }
        let claims = self.ledger.hosts.get(name);
        let has_others = claims.is_some_and(|claims| claims.len() > 1);
        self.has_new_member |= has_others && is_member && !had_member;
        self.settle(name);
    }

    /// The second protocol: which token a claimant refuses. A member needs none.
    fn refusal(&mut self, name: &str, unit: &UnitName, bag: &Databag) {
        /// A colon, a fingerprint, and a space.
        const BYTES: usize = 10;

        let claim = self.claim_under(name, unit);
        let is_member = claim.is_some_and(Claim::is_member);
        let is_news =
            |print: &&String| !is_member && !self.ledger.is_spent_fingerprint(name, print);
        let mut refuses = refused(bag).filter(is_news);
        if refuses.is_some_and(|print| self.ledger.holds(name, print)) {
            self.spend(name, unit);
            refuses = None;
        }
        let Some(claim) = self.claim_under(name, unit) else {
            return;
        };
        let is_noted = claim.refuses.as_ref() == refuses;
        let bytes = unit.as_str().len() + BYTES;
        if !is_noted
            && (refuses.is_none() || self.make_room(&Key::Refused(name).print(), bytes, 1))
            && let Some(claim) = self.claim_to_change(name, unit)
        {
            claim.refuses = refuses.cloned();
        }
    }

    /// The second protocol: a unit that claims a name refuses the token that the mirror holds for it.
    fn spend(&mut self, name: &str, unit: &UnitName) {
        /// A fingerprint, and a space before it.
        const BYTES: usize = 9;

        let is_first = !self.ledger.spent.contains_key(name);
        if self.make_room(&Key::Spent(name).print(), BYTES, usize::from(is_first)) {
            self.ledger.spend(name);
            let key = printed_key(name);
            self.note(Note::info(format!("{key}: token refused by {unit}")));
            self.takes_a_token = true;
        }
    }

    fn claim_under(&self, name: &str, unit: &UnitName) -> Option<&Claim> {
        let mut claims = self.ledger.hosts.get(name)?.iter();
        claims.find(|claim| claim.unit == *unit)
    }

    /// Only to change it: that copies all hosts.
    fn claim_to_change(&mut self, name: &str, unit: &UnitName) -> Option<&mut Claim> {
        let mut claims = self.ledger.hosts.get_mut(name)?.iter_mut();
        claims.find(|claim| claim.unit == *unit)
    }

    /// Rules 3 and 4: gives a name the value that its claims and its present value ask for, and none
    /// to a name that microcluster refuses.
    fn settle(&mut self, name: &str) {
        let claims = self.ledger.hosts.get(name);
        let Some(claims) = claims.filter(|_| is_hostname(name)) else {
            return;
        };
        let member = claims.iter().find(|claim| claim.is_member());
        let held = self.ledger.mirror.get(name);
        let (value, what, claim) = match (held, member) {
            (None | Some(Value::Placeholder), Some(_)) => (Value::Member, "member", member),
            (None | Some(Value::Member | Value::Retired), None) => {
                (Value::Placeholder, "placeholder for", claims.first())
            }
            _ => return,
        };
        self.takes_a_token |= held.is_some() && value == Value::Placeholder;
        if let Some(Claim { unit, .. }) = claim {
            let whence = format!("{what} {unit}");
            self.set(name, value, &whence);
        }
    }

    /// Rule 2: a unit that is up has its mirror keys copied.
    fn offers(&mut self, unit: &UnitName, bag: &Databag) {
        if !wire::is_up(bag) {
            return;
        }
        let own_name = announced(bag);
        let mut differing = 0;
        for (name, value) in wire::mirror_values(bag) {
            // A member needs no token for its own name.
            if own_name.as_deref() == Some(name) {
                continue;
            }
            differing += usize::from(self.offer(name, value, &format!("value from {unit}")));
        }
        if differing > 0 {
            self.note(Note::debug(format!(
                "{unit} offers {differing} other {} than the mirror holds; the first to come stays",
                if differing == 1 { "value" } else { "values" }
            )));
        }
    }

    /// Rule 5: a real value takes the place of none, of a placeholder, and of a spent token. Says
    /// whether another value stays in its place.
    fn offer(&mut self, name: &str, value: &str, whence: &str) -> bool {
        let value = Value::from(value);
        let held = self.ledger.mirror.get(name);
        let takes = match (&value, held) {
            // These words are this charm's to say.
            (Value::Member | Value::Retired, _) => return false,
            (Value::Text(token), _) if self.ledger.is_spent(name, token) => return false,
            (_, None) => true,
            (value, Some(Value::Placeholder)) => value.is_real(),
            (value, Some(held)) => self.ledger.replaces_spent(name, held, value),
        };
        if takes {
            let whence = match value {
                Value::Placeholder => whence.replace("value from", "placeholder for"),
                _ => whence.to_owned(),
            };
            self.set(name, value, &whence);
            if let Some(unit) = self.ledger.refusing(name).cloned() {
                self.spend(name, &unit);
            }
            return false;
        }
        let (Some(Value::Text(held)), Value::Text(offered)) = (held, &value) else {
            return false;
        };
        held != offered
    }

    /// What bags of ours or of siblings show, the Python charm's among them. A name's placeholder
    /// comes from its claim alone. The constants are this charm's and stand in the ledger; a former
    /// leader that has not stepped back shows what they once were.
    fn published(&mut self, bags: &[&Databag]) {
        for (name, value) in bags.iter().flat_map(|bag| wire::mirror_values(bag)) {
            if let Value::Text(text) = Value::from(value) {
                self.offer(name, &text, "published before");
            }
        }
    }

    fn set(&mut self, name: &str, value: Value, whence: &str) {
        let held = self.ledger.mirror.get(name);
        let held_bytes = held.map(|held| held.as_str().len());
        let key = wire::mirror_key(name);
        let growth = value.as_str().len().saturating_sub(held_bytes.unwrap_or(0));
        if !self.make_room(&key, growth, usize::from(held.is_none())) {
            return;
        }
        self.note(Note::info(format!("{}: {whence}", printable(&key))));
        self.ledger.mirror.insert(name.to_owned(), value);
    }

    /// Rule 7: what no longer fits is left out, the latest first.
    fn make_room(&mut self, key: &str, bytes: usize, keys: usize) -> bool {
        let bytes = bytes + key.len() * keys;
        let of_ledger = || Size::of(&self.ledger.to_databag());
        let has_room = self.size.get_or_insert_with(of_ledger).grow(bytes, keys);
        if !has_room && self.ledger.left_out.is_none() {
            let key = printable(key);
            self.note(Note::warning(format!(
                "{key}: no room in the databag, left out"
            )));
            self.ledger.left_out = Some(key);
        }
        has_room
    }

    /// Rule 6: a unit that has departed.
    fn forget(&mut self, unit: &UnitName) {
        self.ledger.communicators.remove(unit);
        let Some(name) = self.claim_of(unit) else {
            return;
        };
        if !self.ledger.keeps_claim(&name, unit) {
            self.unclaim(&name, unit);
        } else if self
            .claim_under(&name, unit)
            .is_some_and(|claim| !claim.is_gone)
            && let Some(claim) = self.claim_to_change(&name, unit)
        {
            // It may have used that token, so a second unit under the same name is to be noticed.
            claim.refuses = None;
            claim.is_gone = true;
        }
    }

    fn forget_gone_units(&mut self, world: &World) {
        let claims = self.ledger.hosts.values().flatten();
        // A member that goes leaves its name to the others, so it goes last.
        let (members, others): (Vec<_>, Vec<_>) = claims.partition(|claim| claim.is_member());
        let claims = others.into_iter().chain(members).map(|claim| &claim.unit);
        let heard_of = claims.chain(self.ledger.communicators.keys());
        let gone = heard_of.filter(|unit| world.is_gone(unit));
        let gone: Vec<UnitName> = gone.cloned().collect();
        for unit in gone {
            self.forget(&unit);
        }
        // There may be more room now.
        self.size = None;
    }

    /// Takes a claim back, and with the last one the placeholder.
    fn unclaim(&mut self, name: &str, unit: &UnitName) {
        let Some(claims) = self.ledger.hosts.get_mut(name) else {
            return;
        };
        let was_member = claims
            .iter()
            .any(|claim| claim.unit == *unit && claim.is_member());
        claims.retain(|claim| claim.unit != *unit);
        if let Some(claimed) = &mut self.claimed {
            claimed.remove(unit);
        }
        // Its member has used the token, and after this nobody would know.
        if was_member {
            self.ledger.use_token(name);
        }
        self.end_claims(name);
        self.settle(name);
    }

    /// Once nobody claims a name any more, its placeholder goes, and what was said of its tokens.
    fn end_claims(&mut self, name: &str) {
        if self
            .ledger
            .hosts
            .get(name)
            .is_some_and(|claims| !claims.is_empty())
        {
            return;
        }
        self.ledger.hosts.remove(name);
        self.ledger.end_refusals(name);
        if self.ledger.mirror.get(name) == Some(&Value::Placeholder) {
            self.ledger.mirror.remove(name);
            let key = printed_key(name);
            self.note(Note::info(format!(
                "{key}: placeholder removed, nobody announces it"
            )));
        }
    }

    /// The name that a unit claims.
    fn claim_of(&self, unit: &UnitName) -> Option<String> {
        if let Some(claimed) = &self.claimed {
            return claimed.get(unit).cloned();
        }
        let mut hosts = self.ledger.hosts.iter();
        let is_claimant =
            |(_, claims): &(&String, &Vec<Claim>)| claims.iter().any(|claim| claim.unit == *unit);
        hosts.find(is_claimant).map(|(name, _)| name.clone())
    }
}

/// The name that the unit which wrote `bag` claims, as the ledger notes it.
fn announced(bag: &Databag) -> Option<String> {
    let name = bag.get(MEMBER).or(bag.get(HOSTNAME));
    name.map(|name| noted(name))
}

/// A name as the ledger notes it. No host has a longer one than 255 characters, so no unit can fill
/// the ledger with its name.
fn noted(name: &str) -> String {
    match name.len() {
        0..=255 => name.to_owned(),
        _ => printable(name),
    }
}

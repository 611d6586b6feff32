//! One host at a time (spec 6): which tokens are shown, and when.
//!
//! A cluster takes in one joining member at a time; where several join at once tokens are spent in
//! vain, and with enough of them the cluster is lost (microcluster-contract 1). So a new token is
//! held, its name at the end of [`Ledger::queue`], and the first of the queue is let in when the
//! turn of [`Ledger::let_in`] is over. Learning knows nothing of this: whoever makes a plan calls
//! [`take_turns`] with the ledger before and after.

use std::collections::{BTreeMap, BTreeSet};

use crate::core::ledger::{Ledger, Protocol, printed_key};
use crate::core::names::UnitName;
use crate::core::note::Note;
use crate::core::wire::{Value, is_hostname};

/// Seconds until a host of the first protocol is passed by. The command that joins ends after 30.
pub const PATIENCE: u64 = 60;

/// Seconds until a host of the second protocol is passed by: it tries a token twice, and says so.
pub const PATIENCE_WITH_SECOND: u64 = 120;

/// Names in the queue and placeholders that are shown, together at most. A token lives for three
/// hours, and so many hosts are let in or passed by within them.
pub const MOST_AT_ONCE: usize = 200;

/// The host whose token was shown last and that is not known to be in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Turn {
    /// Its name.
    pub host: String,
    /// When its token was shown, in seconds since 1970.
    pub since: u64,
    /// How often the ledger was written since then only to run this charm again.
    pub ticks: u64,
}

/// What Juju says of a unit's workload.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Workload {
    /// Juju's word for the status.
    pub status: String,
    /// Since when, in seconds since 1970.
    pub since: u64,
}

/// When a plan is made, and what Juju says then of the units that [`asks_about`] names.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Moment {
    /// Seconds since 1970.
    pub now: u64,
    /// A unit that is not in here is one of which Juju says nothing.
    pub workloads: BTreeMap<UnitName, Workload>,
}

impl Moment {
    /// For somebody who has no clock: as if the token of the host in turn had just been shown.
    pub fn without_a_clock(ledger: &Ledger) -> Self {
        Moment {
            now: ledger.let_in.as_ref().map_or(0, |turn| turn.since),
            ..Moment::default()
        }
    }
}

/// The units whose workload tells whether the turn is over: those of the host in turn that have no
/// other word for it, if somebody waits behind them.
pub fn asks_about<'a>(before: &Ledger, after: &'a Ledger) -> Vec<&'a UnitName> {
    let Some(turn) = &after.let_in else {
        return Vec::new();
    };
    let somebody_waits = !after.queue.is_empty() || new_tokens(before, after).next().is_some();
    if !somebody_waits || has_left(after, &turn.host) {
        return Vec::new();
    }
    let claims = after.hosts.get(&turn.host).into_iter().flatten();
    let silent = claims.filter(|claim| claim.speaks == Protocol::First);
    silent.map(|claim| &claim.unit).collect()
}

/// Decides whose turn it is. `after` has learned something since `before`, or nothing. `is_shown`
/// says whether a bag of ours shows this token of this name already: what was shown stays shown.
pub fn take_turns(
    before: &Ledger,
    after: &mut Ledger,
    moment: &Moment,
    is_shown: impl Fn(&str, &str) -> bool,
) -> Vec<Note> {
    let mut notes = Vec::new();
    hold(before, after, is_shown, &mut notes);
    if let Some(turn) = &after.let_in
        && (has_left(after, &turn.host)
            || !after.queue.is_empty() && is_over(after, turn, moment, &mut notes))
    {
        after.let_in = None;
    }
    if after.let_in.is_none() && !after.queue.is_empty() {
        let host = after.queue.remove(0);
        notes.push(Note::info(format!(
            "{}: shown, {} behind it",
            printed_key(&host),
            after.queue.len()
        )));
        after.let_in = Some(Turn {
            host,
            since: moment.now,
            ticks: 0,
        });
    }
    notes
}

/// Changes the ledger only so that Juju runs this charm's `cluster-relation-changed` again.
pub fn tick(ledger: &mut Ledger) {
    if let Some(turn) = &mut ledger.let_in {
        turn.ticks = turn.ticks.saturating_add(1);
    }
}

/// Whether somebody waits for a host that will say by no event of its own that it is in.
pub fn needs_the_clock(ledger: &Ledger) -> bool {
    !ledger.queue.is_empty()
        && ledger.let_in.as_ref().is_none_or(|turn| {
            let mut claims = ledger.hosts.get(&turn.host).into_iter().flatten();
            !claims.any(|claim| claim.speaks == Protocol::Second)
        })
}

/// What is shown of the mirror: nothing of a name in the queue, and no more placeholders than can
/// be let in.
pub fn shown(ledger: &Ledger) -> impl Iterator<Item = (&str, &Value)> {
    let held: BTreeSet<&str> = ledger.queue.iter().map(String::as_str).collect();
    let mut placeholders = MOST_AT_ONCE.saturating_sub(held.len());
    let mirror = ledger.mirror.iter();
    let values = mirror.map(|(name, value)| (name.as_str(), value));
    values.filter(move |(name, value)| match value {
        Value::Placeholder => {
            let has_room = placeholders > 0;
            placeholders = placeholders.saturating_sub(1);
            has_room
        }
        _ => !held.contains(name),
    })
}

/// Holds what is new, and lets names go that need no turn any more.
fn hold(
    before: &Ledger,
    after: &mut Ledger,
    is_shown: impl Fn(&str, &str) -> bool,
    notes: &mut Vec<Note>,
) {
    let is_shown = |name: &str, ledger: &Ledger| {
        let token = ledger.mirror.get(name).and_then(Value::text);
        token.is_some_and(|token| is_shown(name, token))
    };
    let new: Vec<String> = new_tokens(before, after)
        .filter(|name| !after.queue.iter().any(|queued| queued == name))
        .map(str::to_owned)
        .collect();
    if new.is_empty() && after.queue.is_empty() {
        return;
    }
    let mut queue = std::mem::take(&mut after.queue);
    queue.extend(new);
    for name in &queue {
        // Its token was never shown, so there is nothing to be cleared later.
        if after.has_member(name) {
            after.use_token(name);
        }
    }
    queue.retain(|name| !has_left(after, name) && !is_shown(name, after));
    let held = |name: &&String| !before.queue.contains(name);
    for name in queue.iter().filter(held) {
        let key = printed_key(name);
        notes.push(Note::debug(format!("{key}: held until its turn")));
    }
    after.queue = queue;
}

/// The names whose token is new, of hosts that a unit claims and that have no member.
fn new_tokens<'a>(before: &'a Ledger, after: &'a Ledger) -> impl Iterator<Item = &'a str> {
    let changed = match before.mirror.is_same(&after.mirror) {
        true => None,
        false => Some(after.mirror.iter()),
    };
    let values = changed.into_iter().flatten();
    let new = values.filter(|(name, value)| {
        value.text().is_some() && before.mirror.get(*name) != Some(value) && is_hostname(name)
    });
    new.map(|(name, _)| name.as_str())
        .filter(|name| !has_left(after, name))
}

/// Whether a host needs no turn: it is in, nobody claims its name, or it has no token that serves.
fn has_left(ledger: &Ledger, name: &str) -> bool {
    let token = ledger.mirror.get(name).and_then(Value::text);
    ledger.has_member(name)
        || !ledger.hosts.contains_key(name)
        || token.is_none_or(|token| ledger.is_spent(name, token))
}

/// Whether the turn of a host that is not known to be in is over: the word of its unit's workload
/// first, time last.
fn is_over(ledger: &Ledger, turn: &Turn, moment: &Moment, notes: &mut Vec<Note>) -> bool {
    let claims = ledger.hosts.get(&turn.host).map_or(&[][..], Vec::as_slice);
    let has_ended = |unit: &UnitName| {
        let workload = moment.workloads.get(unit);
        workload.is_some_and(|workload| {
            workload.since > turn.since
                && !["maintenance", "waiting"].contains(&workload.status.as_str())
        })
    };
    let is_second = |speaks: Protocol| speaks == Protocol::Second;
    let mut silent = claims.iter().filter(|claim| !is_second(claim.speaks));
    if silent.any(|claim| has_ended(&claim.unit)) {
        return true;
    }
    let patience = match claims.iter().any(|claim| is_second(claim.speaks)) {
        true => PATIENCE_WITH_SECOND,
        false => PATIENCE,
    };
    // A clock that went back says nothing of how long it has been.
    let waited = moment.now.checked_sub(turn.since);
    let is_passed_by = waited.is_none_or(|waited| waited >= patience);
    if is_passed_by {
        notes.push(Note::warning(format!(
            "{}: passed by, the host has not said that it is in; its token stays shown; look at \
             its unit",
            printed_key(&turn.host)
        )));
    }
    is_passed_by
}

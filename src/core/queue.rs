//! One host at a time (spec 6): which tokens are shown, and when.
//!
//! A cluster takes in one joining member at a time; where several join at once tokens are spent in
//! vain, and with enough of them the cluster is lost (microcluster-contract 1). So a new token is
//! held, its name at the end of [`Ledger::queue`], and the first of the queue is let in when the
//! turn of [`Ledger::let_in`] is over. Learning knows nothing of this: whoever makes a plan calls
//! [`take_turns`] with the ledger before and after.

use std::collections::{BTreeMap, BTreeSet};

use crate::core::goal::GoalState;
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
    /// Now, and what goal-state says of the units that [`asks_about`] names.
    pub fn of(now: u64, before: &Ledger, after: &Ledger, goal: Option<&GoalState>) -> Self {
        let asked = asks_about(before, after);
        Moment {
            now,
            workloads: goal.map_or_else(BTreeMap::new, |goal| goal.workloads(&asked)),
        }
    }

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
    let claims = after.claimants(&turn.host);
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
    hold(before, after, is_shown);
    if let Some(turn) = &after.let_in
        && (has_left(after, &turn.host)
            || !after.queue.is_empty() && is_over(after, turn, moment, &mut notes))
    {
        after.let_in = None;
    }
    if after.let_in.is_none() && !after.queue.is_empty() {
        let host = after.queue.remove(0);
        if before.queue.contains(&host) {
            let behind = after.queue.len();
            let key = printed_key(&host);
            notes.push(Note::info(format!("{key}: its turn, {behind} behind it")));
        }
        after.let_in = Some(Turn {
            host,
            since: moment.now,
            ticks: 0,
        });
    }
    let held = after
        .queue
        .iter()
        .filter(|name| !before.queue.contains(name));
    notes.extend(held.map(|name| {
        let key = printed_key(name);
        Note::debug(format!("{key}: held until its turn"))
    }));
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
            let mut claims = ledger.claimants(&turn.host);
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
fn hold(before: &Ledger, after: &mut Ledger, is_shown: impl Fn(&str, &str) -> bool) {
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
        || ledger.claimants(name).next().is_none()
        || token.is_none_or(|token| ledger.is_spent(name, token))
}

/// Whether the turn of a host that is not known to be in is over: the word of its unit's workload
/// first, time last.
fn is_over(ledger: &Ledger, turn: &Turn, moment: &Moment, notes: &mut Vec<Note>) -> bool {
    let claims = || ledger.claimants(&turn.host);
    let has_ended = |unit: &UnitName| {
        let workload = moment.workloads.get(unit);
        workload.is_some_and(|workload| {
            workload.since > turn.since
                && !["maintenance", "waiting"].contains(&workload.status.as_str())
        })
    };
    let is_second = |speaks: Protocol| speaks == Protocol::Second;
    let mut silent = claims().filter(|claim| !is_second(claim.speaks));
    if silent.any(|claim| has_ended(&claim.unit)) {
        return true;
    }
    let patience = match claims().any(|claim| is_second(claim.speaks)) {
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

#[cfg(test)]
mod tests {
    use super::*;

    const SHOWN: u64 = 1000;

    fn ledger(pairs: &[(&str, &str)]) -> Ledger {
        pairs.iter().copied().collect()
    }

    /// The queue, who is let in, and what is shown, after so many seconds.
    fn turns(
        before: &[(&str, &str)],
        learned: &[(&str, &str)],
        workloads: &[(&str, &str, u64)],
        seconds: u64,
    ) -> (String, String, String) {
        let before = ledger(before);
        let mut bag = before.to_databag();
        bag.extend(
            learned
                .iter()
                .map(|(key, value)| ((*key).to_owned(), (*value).to_owned())),
        );
        bag.retain(|_, value| !value.is_empty());
        let mut after = Ledger::from(bag);
        let workload = |(unit, status, since): &(&str, &str, u64)| {
            let status = (*status).to_owned();
            (
                unit.parse().expect("a unit"),
                Workload {
                    status,
                    since: SHOWN + since,
                },
            )
        };
        let moment = Moment {
            now: SHOWN + seconds,
            workloads: workloads.iter().map(workload).collect(),
        };
        take_turns(&before, &mut after, &moment, |_, token| token == "python");
        let names: Vec<&str> = shown(&after).map(|(name, _)| name).collect();
        let turn = after.let_in.as_ref();
        (
            after.queue.join(" "),
            turn.map_or_else(String::new, |turn| turn.host.clone()),
            names.join(" "),
        )
    }

    #[test]
    fn a_new_token_of_a_host_that_is_not_in_waits_for_its_turn() {
        let h = ("host-h", "m/1");
        let i = ("host-i", "m/2");
        for (case, before, learned, queue, let_in, shows) in [
            (
                "a single host waits for nobody",
                vec![h],
                vec![("mirror-h", "T")],
                "",
                "h",
                "h",
            ),
            (
                "of two that come together the first is let in",
                vec![h, i, ("mirror-h", "empty"), ("mirror-i", "empty")],
                vec![("mirror-h", "T"), ("mirror-i", "U")],
                "i",
                "h",
                "h",
            ),
            (
                "another is in turn",
                vec![h, i, ("mirror-h", "T"), ("let-in", "h 1000")],
                vec![("mirror-i", "U")],
                "i",
                "h",
                "h",
            ),
            (
                "nobody claims the name",
                vec![],
                vec![("mirror-h", "T")],
                "",
                "",
                "h",
            ),
            (
                "no host has this name",
                vec![("host-a_b", "m/1")],
                vec![("mirror-a_b", "T")],
                "",
                "",
                "a_b",
            ),
            (
                "it is in",
                vec![("host-h", "m/1*")],
                vec![("mirror-h", "T")],
                "",
                "",
                "h",
            ),
            (
                "it is known",
                vec![h, ("mirror-h", "T")],
                vec![],
                "",
                "",
                "h",
            ),
            (
                "it is no token",
                vec![h],
                vec![("mirror-h", "retired")],
                "",
                "",
                "h",
            ),
            (
                "a bag of ours shows it",
                vec![h],
                vec![("mirror-h", "python")],
                "",
                "",
                "h",
            ),
            (
                "it takes the place of a spent one",
                vec![
                    h,
                    i,
                    ("mirror-h", "foobar"),
                    ("spent-h", "72ad2699"),
                    ("mirror-i", "U"),
                    ("let-in", "i 1000"),
                ],
                vec![("mirror-h", "T")],
                "h",
                "i",
                "i",
            ),
        ] {
            let is = turns(&before, &learned, &[], 0);
            assert_eq!(
                (is.0.as_str(), is.1.as_str(), is.2.as_str()),
                (queue, let_in, shows),
                "{case}"
            );
        }
    }

    #[test]
    fn a_name_leaves_the_queue_when_it_needs_no_turn() {
        let waits = [
            ("host-h", "m/1"),
            ("host-i", "m/2"),
            ("mirror-h", "T"),
            ("mirror-i", "foobar"),
            ("let-in", "h 1000"),
            ("queue", "i"),
        ];
        for (case, learned, shows) in [
            ("it is in", ("host-i", "m/2*"), "h i"),
            ("nobody claims it", ("host-i", ""), "h i"),
            ("its token is spent", ("spent-i", "72ad2699"), "h i"),
            ("its token is taken away", ("mirror-i", "retired"), "h i"),
        ] {
            let is = turns(&waits, &[learned], &[], 1);
            assert_eq!(
                (is.0.as_str(), is.1.as_str(), is.2.as_str()),
                ("", "h", shows),
                "{case}"
            );
        }
        let mut member = ledger(&[&waits[..], &[("host-i", "m/2*")]].concat());
        take_turns(&ledger(&waits), &mut member, &Moment::default(), |_, _| {
            false
        });
        assert_eq!(
            member.mirror["i"],
            Value::Member,
            "a token that was never shown"
        );
    }

    #[test]
    fn a_turn_is_over_by_word_first_and_by_time_last() {
        let first = [
            ("host-h", "m/1"),
            ("host-i", "m/2"),
            ("mirror-h", "foobar"),
            ("mirror-i", "U"),
            ("let-in", "h 1000"),
            ("queue", "i"),
        ];
        let second = ("host-h", "m/1+");
        for (case, learned, workloads, seconds, is_over) in [
            ("nothing is known", vec![], vec![], 59, false),
            ("it has had its time", vec![], vec![], 60, true),
            ("it says when it is in", vec![second], vec![], 119, false),
            ("and does not", vec![second], vec![], 120, true),
            ("it is in", vec![("host-h", "m/1*")], vec![], 1, true),
            ("nobody claims it", vec![("host-h", "")], vec![], 1, true),
            (
                "its token is spent",
                vec![("spent-h", "72ad2699")],
                vec![],
                1,
                true,
            ),
            (
                "its token is taken away",
                vec![("mirror-h", "member")],
                vec![],
                1,
                true,
            ),
            (
                "its unit is active",
                vec![],
                vec![("m/1", "active", 1)],
                2,
                true,
            ),
            (
                "its unit is blocked",
                vec![],
                vec![("m/1", "blocked", 1)],
                2,
                true,
            ),
            (
                "its unit joins",
                vec![],
                vec![("m/1", "maintenance", 1)],
                2,
                false,
            ),
            (
                "its unit waits",
                vec![],
                vec![("m/1", "waiting", 1)],
                2,
                false,
            ),
            (
                "that was before",
                vec![],
                vec![("m/1", "active", 0)],
                2,
                false,
            ),
            (
                "another unit is active",
                vec![],
                vec![("m/2", "active", 1)],
                2,
                false,
            ),
            (
                "its own word counts",
                vec![second],
                vec![("m/1", "active", 1)],
                2,
                false,
            ),
        ] {
            let (queue, let_in, shows) = turns(&first, &learned, &workloads, seconds);
            let is = (queue.as_str(), let_in.as_str(), shows.as_str());
            match is_over {
                true => assert_eq!(is, ("", "i", "h i"), "{case}"),
                false => assert_eq!(is, ("i", "h", "h"), "{case}"),
            }
        }
        let mut after = ledger(&first);
        let earlier = Moment {
            now: SHOWN - 1,
            ..Moment::default()
        };
        take_turns(&ledger(&first), &mut after, &earlier, |_, _| false);
        assert_eq!(after.queue, [""; 0], "a clock that went back");
        let nobody_waits = &first[..5];
        let is = turns(nobody_waits, &[], &[], 3600);
        assert_eq!(is.1, "h", "nothing is written while nobody waits");
    }

    #[test]
    fn a_turn_is_asked_about_only_where_somebody_waits_for_a_unit_that_does_not_say_it() {
        let all = [
            ("host-h", "m/1"),
            ("host-i", "m/2"),
            ("mirror-h", "T"),
            ("mirror-i", "U"),
            ("let-in", "h 1000"),
            ("queue", "i"),
        ];
        for (case, changed, asked) in [
            ("somebody waits", ("queue", "i"), vec!["m/1"]),
            ("nobody waits", ("queue", ""), vec![]),
            ("nobody is in turn", ("let-in", ""), vec![]),
            ("it is in", ("host-h", "m/1*"), vec![]),
            ("it says so itself", ("host-h", "m/1+"), vec![]),
        ] {
            let pairs = all
                .iter()
                .filter(|(key, _)| *key != changed.0)
                .chain([&changed]);
            let is: Ledger = pairs
                .filter(|(_, value)| !value.is_empty())
                .copied()
                .collect();
            let units: Vec<&str> = asks_about(&is, &is)
                .into_iter()
                .map(UnitName::as_str)
                .collect();
            assert_eq!(units, asked, "{case}");
            assert_eq!(
                needs_the_clock(&is),
                !is.queue.is_empty() && changed.1 != "m/1+",
                "{case}"
            );
        }
    }

    #[test]
    fn no_more_placeholders_are_shown_than_hosts_can_be_let_in() {
        let names: Vec<String> = (0..MOST_AT_ONCE + 50)
            .map(|number| format!("h{number:03}"))
            .collect();
        let empty = |name: &String| (format!("mirror-{name}"), "empty".to_owned());
        let mut ledger: Ledger = names.iter().map(empty).collect();
        assert_eq!(shown(&ledger).count(), MOST_AT_ONCE);
        for name in &names[..150] {
            ledger.mirror.insert(name.clone(), Value::from("T"));
            ledger.queue.push(name.clone());
        }
        let first: Vec<&str> = shown(&ledger).map(|(name, _)| name).collect();
        assert_eq!(first, names[150..MOST_AT_ONCE].iter().collect::<Vec<_>>());
    }

    #[test]
    fn a_tick_changes_the_ledger_and_never_the_same_way_twice() {
        let mut ledger = ledger(&[("let-in", "h 1000")]);
        let mut seen = BTreeSet::new();
        for _ in 0..3 {
            tick(&mut ledger);
            let text = ledger.to_databag()["let-in"].clone();
            assert_eq!(Ledger::from(ledger.to_databag()), ledger);
            assert!(seen.insert(text));
        }
        assert!(seen.contains("h 1000 3"));
    }
}

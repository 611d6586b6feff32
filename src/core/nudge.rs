//! The nudge: a key whose every change makes consumers act again.
//!
//! A consumer acts only when our databag changes. If the communicator is lost, or one `cluster add`
//! fails, nobody tries again. So the leader changes one key of its unit bags from time to time.
//! Each change runs a hook of every consumer, hence the backoff: 5 minutes, doubling to 6 hours,
//! from the start again when other hosts wait.
//!
//! The value says all that is needed for the next one: `<serial> <attempt> <unix seconds>
//! <who waits>`. The serial only grows, because Juju 4 announces no change to a content that it has
//! delivered before.

use std::collections::BTreeSet;

use crate::core::fingerprint::fnv1a;

const FIRST_PAUSE: u64 = 5 * 60;
const LONGEST_PAUSE: u64 = 6 * 60 * 60;

/// The next value of the nudge key, or `None` while it is too early or nobody waits.
///
/// `held` is the present value; `now` is in seconds since 1970. `at_once` skips the pause: the
/// communicator has just departed, so consumers have to choose another.
pub fn nudge(
    held: Option<&str>,
    waiting: &BTreeSet<&str>,
    now: u64,
    at_once: bool,
) -> Option<String> {
    if waiting.is_empty() {
        return None;
    }
    let last = held.and_then(Nudge::parse);
    let who = fingerprint(waiting);
    let serial = last
        .as_ref()
        .map_or(1, |last| last.serial.saturating_add(1));
    let attempt = match &last {
        Some(last) if last.who == who && !at_once => {
            // A clock that went back (another machine's, say) must not silence us.
            let early = now >= last.at && now - last.at < pause(last.attempt);
            if early {
                return None;
            }
            last.attempt.saturating_add(1)
        }
        _ => 1,
    };
    Some(format!("{serial} {attempt} {now} {who:016x}"))
}

/// Seconds to wait after the given attempt, counted from 1.
fn pause(attempt: u32) -> u64 {
    let doublings = attempt.saturating_sub(1).min(16);
    (FIRST_PAUSE << doublings).min(LONGEST_PAUSE)
}

struct Nudge {
    serial: u64,
    attempt: u32,
    at: u64,
    who: u64,
}

impl Nudge {
    fn parse(text: &str) -> Option<Self> {
        let mut words = text.split(' ');
        Some(Nudge {
            serial: words.next()?.parse().ok()?,
            attempt: words.next()?.parse().ok()?,
            at: words.next()?.parse().ok()?,
            who: u64::from_str_radix(words.next()?, 16).ok()?,
        })
    }
}

/// Two sets that collide only cost a longer pause.
fn fingerprint(waiting: &BTreeSet<&str>) -> u64 {
    fnv1a(waiting.iter().flat_map(|name| name.bytes().chain([0])))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn waiting(names: &[&'static str]) -> BTreeSet<&'static str> {
        names.iter().copied().collect()
    }

    #[test]
    fn pauses_double_from_five_minutes_to_six_hours() {
        let minutes: Vec<u64> = (1..=9).map(|attempt| pause(attempt) / 60).collect();
        assert_eq!(minutes, [5, 10, 20, 40, 80, 160, 320, 360, 360]);
        assert_eq!(pause(u32::MAX), LONGEST_PAUSE);
    }

    #[test]
    fn it_comes_after_its_pause_and_not_before() {
        let waiting = waiting(&["h1"]);
        let first = nudge(None, &waiting, 1000, false).expect("the first comes at once");
        for (now, due) in [(1000, false), (1299, false), (1300, true), (999, true)] {
            assert_eq!(
                nudge(Some(&first), &waiting, now, false).is_some(),
                due,
                "{now}"
            );
        }
        let second = nudge(Some(&first), &waiting, 1300, false).expect("due");
        assert!(nudge(Some(&second), &waiting, 1300 + 599, false).is_none());
        assert!(nudge(Some(&second), &waiting, 1300 + 600, false).is_some());
    }

    #[test]
    fn other_hosts_or_a_lost_communicator_start_it_again() {
        let first = nudge(None, &waiting(&["h1"]), 1000, false).expect("first");
        let second = nudge(Some(&first), &waiting(&["h1"]), 1300, false).expect("second");
        for (hosts, at_once) in [(waiting(&["h1", "h2"]), false), (waiting(&["h1"]), true)] {
            let next = nudge(Some(&second), &hosts, 1301, at_once).expect("at once");
            assert!(next.starts_with("3 1 1301 "), "{next}");
        }
    }

    #[test]
    fn a_value_never_comes_back() {
        let mut seen = BTreeSet::new();
        let mut held: Option<String> = None;
        for round in 0..100 {
            let names = if round % 2 == 0 {
                waiting(&["a"])
            } else {
                waiting(&["b"])
            };
            held = nudge(held.as_deref(), &names, 1000, true);
            assert!(seen.insert(held.clone()), "{held:?}");
        }
    }

    #[test]
    fn nobody_waiting_is_left_alone_and_rubbish_starts_anew() {
        assert_eq!(nudge(None, &waiting(&[]), 1000, true), None);
        for rubbish in ["", "x", "1 2 3", "1 2 3 zz", "-1 1 1 1"] {
            let next = nudge(Some(rubbish), &waiting(&["h"]), 5, false).expect("due");
            assert!(next.starts_with("1 1 5 "), "{next}");
        }
    }

    #[test]
    fn names_do_not_run_together() {
        assert_ne!(
            fingerprint(&waiting(&["ab", "c"])),
            fingerprint(&waiting(&["a", "bc"]))
        );
    }
}

//! What the commands and daemons of the hosts have written down, and what follows from it.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io;

use serde::{Deserialize, Serialize};

use crate::network::Host;

/// One line of a host's file of events.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct Event {
    /// Nanoseconds since 1970.
    pub time: u64,
    /// On which host.
    pub host: String,
    /// What happened.
    pub what: What,
    /// Whom a token is for.
    #[serde(default)]
    pub name: String,
    /// What the command complained about, if it failed.
    #[serde(default)]
    pub error: Option<String>,
}

/// What an event is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
pub enum What {
    /// `cluster bootstrap` has ended.
    #[serde(rename = "bootstrap")]
    Bootstrap,
    /// `cluster add` has ended.
    #[serde(rename = "add")]
    Add,
    /// `cluster join` begins.
    #[serde(rename = "join begins")]
    JoinBegins,
    /// `cluster join` has ended.
    #[serde(rename = "join ends")]
    JoinEnds,
    /// The daemon is a member, which it may become when the command has given up.
    #[serde(rename = "daemon has joined")]
    DaemonHasJoined,
}

impl Event {
    /// Whether its host is in a cluster now.
    pub fn is_entry(&self) -> bool {
        match self.what {
            What::Bootstrap => self.error.is_none(),
            What::DaemonHasJoined => true,
            _ => false,
        }
    }

    /// Whether a token was minted.
    pub fn is_token(&self) -> bool {
        self.what == What::Add && self.error.is_none()
    }
}

/// Hosts that have founded or joined a cluster.
pub fn members(events: &[Event]) -> BTreeSet<&str> {
    let entries = events.iter().filter(|event| event.is_entry());
    entries.map(|event| event.host.as_str()).collect()
}

/// Tokens that were minted for hosts that had founded or joined a cluster.
pub fn minted_for_members(events: &[Event]) -> usize {
    let tokens = events.iter().enumerate().filter(|(_, it)| it.is_token());
    tokens
        .filter(|(at, token)| members(&events[..*at]).contains(token.name.as_str()))
        .count()
}

/// Everything that has happened on some hosts, in order.
pub fn read<'a>(hosts: impl IntoIterator<Item = &'a Host>) -> io::Result<Vec<Event>> {
    let mut events = Vec::new();
    for host in hosts {
        let text = match fs::read_to_string(host.events()) {
            Ok(text) => text,
            // Nothing has happened there.
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            Err(error) => return Err(error),
        };
        for line in text.lines() {
            events.push(serde_json::from_str::<Event>(line)?);
        }
    }
    events.sort_by_key(|event| event.time);
    Ok(events)
}

/// How the joins went.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Joins {
    /// Commands that were started.
    pub begun: usize,
    /// Commands that reported failure: how many for each complaint, with the host's name.
    pub failures: BTreeMap<String, usize>,
    /// Hosts that became members after their command had reported failure.
    pub members_late: usize,
    /// The most that were under way at one moment.
    pub most_at_once: usize,
}

impl Joins {
    /// Commands that reported failure.
    pub fn failed(&self) -> usize {
        self.failures.values().sum()
    }
}

/// Counts the joins. One is under way from its command's beginning to its end, or, where the daemon
/// goes on and becomes a member, to then.
pub fn joins(events: &[Event]) -> Joins {
    let mut counted = Joins::default();
    // Per host: the begin of the command that runs, and the end that was last seen.
    let mut running: BTreeMap<&str, u64> = BTreeMap::new();
    let mut spans: BTreeMap<&str, Vec<(u64, u64, bool)>> = BTreeMap::new();
    for event in events {
        let host = event.host.as_str();
        match event.what {
            What::JoinBegins => {
                counted.begun += 1;
                running.insert(host, event.time);
            }
            What::JoinEnds => {
                if let Some(error) = &event.error {
                    let failure = format!("{host}: {error}");
                    *counted.failures.entry(failure).or_default() += 1;
                }
                if let Some(begin) = running.remove(host) {
                    let span = (begin, event.time, event.error.is_some());
                    spans.entry(host).or_default().push(span);
                }
            }
            What::DaemonHasJoined => {
                let last = spans.get_mut(host).and_then(|spans| spans.last_mut());
                if let (false, Some((_, end, true))) = (running.contains_key(host), last) {
                    counted.members_late += 1;
                    *end = event.time;
                }
            }
            What::Bootstrap | What::Add => {}
        }
    }
    let ended = spans.into_values().flatten();
    let ended = ended.map(|(begin, end, _)| (begin, end));
    let unended = running.into_values().map(|begin| (begin, u64::MAX));
    counted.most_at_once = most_at_once(ended.chain(unended));
    counted
}

fn most_at_once(spans: impl Iterator<Item = (u64, u64)>) -> usize {
    let mut moments: Vec<(u64, bool)> = spans
        .flat_map(|(begin, end)| [(begin, true), (end, false)])
        .collect();
    // Where one ends as another begins, they do not overlap.
    moments.sort_unstable();
    let (mut now, mut most) = (0_usize, 0);
    for (_, begins) in moments {
        if begins {
            now += 1;
            most = most.max(now);
        } else {
            now = now.saturating_sub(1);
        }
    }
    most
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(time: u64, host: &str, what: What) -> Event {
        Event {
            time,
            host: host.to_owned(),
            what,
            name: String::new(),
            error: None,
        }
    }

    fn failure(time: u64, host: &str) -> Event {
        Event {
            error: Some("no".to_owned()),
            ..event(time, host, What::JoinEnds)
        }
    }

    #[test]
    fn a_token_is_useless_once_its_host_is_in() {
        let token = |time, name: &str| Event {
            name: name.to_owned(),
            ..event(time, "a", What::Add)
        };
        let events = [
            event(1, "a", What::Bootstrap),
            token(2, "b"),
            event(3, "b", What::JoinBegins),
            token(4, "b"),
            event(5, "b", What::DaemonHasJoined),
            token(6, "b"),
            token(7, "a"),
        ];
        assert_eq!(minted_for_members(&events), 2);
    }

    #[test]
    fn joins_one_after_the_other_do_not_overlap() {
        let events = [
            event(1, "a", What::JoinBegins),
            event(2, "a", What::DaemonHasJoined),
            event(3, "a", What::JoinEnds),
            event(3, "b", What::JoinBegins),
            event(4, "b", What::JoinEnds),
        ];
        let counted = joins(&events);
        assert_eq!((counted.begun, counted.failed()), (2, 0));
        assert_eq!((counted.most_at_once, counted.members_late), (1, 0));
    }

    #[test]
    fn a_join_without_an_end_is_under_way_for_ever() {
        let events = [
            event(1, "a", What::JoinBegins),
            event(9, "b", What::JoinBegins),
            event(10, "b", What::JoinEnds),
        ];
        assert_eq!(joins(&events).most_at_once, 2);
    }

    #[test]
    fn a_join_goes_on_until_the_daemon_is_a_member() {
        let events = [
            event(1, "a", What::JoinBegins),
            failure(5, "a"),
            event(6, "b", What::JoinBegins),
            event(7, "a", What::DaemonHasJoined),
            event(8, "b", What::JoinEnds),
        ];
        let counted = joins(&events);
        assert_eq!((counted.failed(), counted.members_late), (1, 1));
        assert_eq!(counted.most_at_once, 2);
    }
}

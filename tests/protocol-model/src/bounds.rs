//! The setups that are explored, each to its end. Their names say what is in them.

use microovn::consumer::Release::{self, Newest, Released, Second};

use crate::setup::{Faults, Setup, Start};

/// A setup with the words for it.
#[derive(Clone, Debug)]
pub struct Bound {
    /// What is in it and what may happen to it.
    pub name: &'static str,
    /// The setup.
    pub setup: Setup,
}

type Row = (&'static str, &'static [Release]);

const FIRST: &[Release] = &[Released, Newest];

const SHORT: &[Row] = &[
    ("2 hosts, 1 unit, 1 failure", &[Released, Newest, Second]),
    ("1 and 1 host, 1 unit", &[Newest, Second]),
    ("1 host, 2 units, 1 move", &[Newest, Second]),
    ("2 hosts, 1 unit, 1 expires", &[Second]),
    ("3 hosts joined, 1 unit, 1 redeployed", &[Second]),
    ("2 hosts, 1 unit, 1 redeployed", &[Second]),
    ("2 hosts joined, 2 units, 1 redeployed, 1 move", &[Second]),
];

const LONG: &[Row] = &[
    ("3 hosts, 1 unit, 1 failure", FIRST),
    ("3 hosts, 1 unit, 1 machine lost", FIRST),
    ("1 host, 2 units, 1 move, 1 failure", FIRST),
    ("2 hosts, 2 units", &[Released, Newest, Second]),
    ("2 hosts, 1 unit replaced", &[Newest]),
    ("2 and 1 host, related later, 1 unit", &[Newest]),
    ("2 hosts, 1 unit, 1 expires, update-status", &[Second]),
    ("2 hosts, 1 unit, 1 machine lost", &[Second]),
    ("2 hosts, 1 unit, 1 consumer hook lost", &[Second]),
    ("3 hosts, 1 unit, 1 expires", &[Second]),
    ("2 hosts joined, 1 unit, 1 redeployed, 1 expires", &[Second]),
    ("3 hosts joined, 1 unit, 1 redeployed, 1 expires", &[Second]),
];

const LARGE: &[Row] = &[
    ("2 hosts, 1 unit replaced", &[Released, Second]),
    // Its application gets another leader, which has not seen a value yet: it may not bootstrap.
    ("3 hosts, 1 unit, 1 machine lost", &[Second]),
    ("2 hosts, 2 units, 1 move", &[Released]),
    ("1 and 1 host, 2 units", &[Newest]),
];

/// Those that a plain test run affords.
pub fn short() -> Vec<Bound> {
    bounds(SHORT)
}

/// Those that take minutes.
pub fn long() -> Vec<Bound> {
    bounds(LONG)
}

/// Bounds that take longer than anybody waits for; they are explored when they are asked for.
pub fn large() -> Vec<Bound> {
    bounds(LARGE)
}

fn bounds(rows: &[Row]) -> Vec<Bound> {
    let each = |&(name, releases): &Row| {
        let of = move |&release| Bound {
            name,
            setup: setup(name, release),
        };
        releases.iter().map(of).collect::<Vec<_>>()
    };
    rows.iter().flat_map(each).collect()
}

/// The setup of this name.
pub fn setup(name: &str, release: Release) -> Setup {
    let mut setup = Setup {
        release,
        hosts: Vec::new(),
        distributors: 1,
        start: Start::Deployed,
        related_later: false,
        faults: Faults::default(),
        broken_rule: None,
    };
    let faults = &mut setup.faults;
    for part in name.split(", ") {
        let (count, what) = part.split_once(' ').unwrap_or(("1", part));
        let count: u8 = count.parse().unwrap_or(1);
        match what {
            "host" | "hosts" => setup.hosts = vec![0; count.into()],
            "hosts joined" => {
                setup.hosts = vec![0; count.into()];
                setup.start = Start::Joined;
            }
            "and 1 host" => {
                setup.hosts = vec![0; count.into()];
                setup.hosts.push(1);
            }
            "later" => setup.related_later = true,
            "unit" | "units" => setup.distributors = count,
            "unit replaced" => (faults.losses, faults.additions) = (count, count),
            "failure" => faults.failures = count,
            "move" => faults.moves = count,
            "machine lost" => faults.machines = count,
            "redeployed" => faults.redeployments = count,
            "consumer hook lost" => faults.consumer_failures = count,
            "expires" => {
                faults.expiries = count;
                // Who has joined long ago hears of it at update-status.
                faults.update_statuses += u8::from(setup.start == Start::Joined);
            }
            "update-status" => faults.update_statuses = 1,
            _ => unreachable!("no bound has {part:?}"),
        }
    }
    setup
}

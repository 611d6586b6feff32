//! The setups that are explored, each to its end.

use microovn::consumer::Release;

use crate::world::{Faults, Rules, Setup};

/// A setup with the words for it.
#[derive(Clone, Debug)]
pub struct Bound {
    /// What is in it and what may happen to it.
    pub name: &'static str,
    /// The setup.
    pub setup: Setup,
}

/// Nothing goes wrong.
const CALM: Faults = Faults {
    moves: 0,
    failures: 0,
    losses: 0,
    additions: 0,
    machines: 0,
};

/// Those that a plain test run affords.
pub fn short() -> Vec<Bound> {
    let failure = Faults {
        failures: 1,
        ..CALM
    };
    let mut bounds = Vec::new();
    for release in Release::FIRST_PROTOCOL {
        bounds.push(bound(
            "2 hosts, 1 unit, 1 failure",
            release,
            &[0, 0],
            1,
            failure,
        ));
    }
    let newest = Release::Newest;
    bounds.push(bound("1 and 1 host, 1 unit", newest, &[0, 1], 1, CALM));
    bounds
}

/// Those that take minutes.
pub fn long() -> Vec<Bound> {
    let failure = Faults {
        failures: 1,
        ..CALM
    };
    let both = Faults {
        moves: 1,
        ..failure
    };
    let replaced = Faults {
        losses: 1,
        additions: 1,
        ..CALM
    };
    let killed = Faults {
        machines: 1,
        ..CALM
    };
    let mut bounds = Vec::new();
    for release in Release::FIRST_PROTOCOL {
        bounds.extend([
            bound(
                "3 hosts, 1 unit, 1 failure",
                release,
                &[0, 0, 0],
                1,
                failure,
            ),
            bound(
                "3 hosts, 1 unit, 1 machine lost",
                release,
                &[0, 0, 0],
                1,
                killed,
            ),
            bound("1 host, 2 units, 1 move, 1 failure", release, &[0], 2, both),
            bound("2 hosts, 1 unit replaced", release, &[0, 0], 1, replaced),
        ]);
    }
    let (released, newest) = (Release::Released, Release::Newest);
    let mut later = bound(
        "2 and 1 host, related later, 1 unit",
        newest,
        &[0, 0, 1],
        1,
        CALM,
    );
    later.setup.related_later = true;
    bounds.extend([
        bound("2 hosts, 2 units", released, &[0, 0], 2, CALM),
        bound("2 hosts, 2 units", newest, &[0, 0], 2, CALM),
        later,
    ]);
    bounds
}

/// Bounds that take longer than anybody waits for; they are explored when they are asked for.
#[must_use]
pub fn large() -> Vec<Bound> {
    let moves = Faults { moves: 1, ..CALM };
    let (released, newest) = (Release::Released, Release::Newest);
    vec![
        bound("2 hosts, 2 units, 1 move", released, &[0, 0], 2, moves),
        bound("1 and 1 host, 2 units", newest, &[0, 1], 2, CALM),
    ]
}

fn bound(
    name: &'static str,
    release: Release,
    hosts: &[usize],
    distributors: u8,
    faults: Faults,
) -> Bound {
    Bound {
        name,
        setup: Setup {
            release,
            hosts: hosts.to_vec(),
            distributors,
            related_later: false,
            faults,
            last_first: false,
            rules: Rules::Charm,
        },
    }
}

//! The setups that are explored, each to its end.

use microovn::consumer::Release;

use crate::setup::{Faults, Setup, Start};

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
    consumer_failures: 0,
    losses: 0,
    additions: 0,
    machines: 0,
    redeployments: 0,
    expiries: 0,
    update_statuses: 0,
};
const FAILURE: Faults = Faults {
    failures: 1,
    ..CALM
};
const MOVE: Faults = Faults { moves: 1, ..CALM };
const MACHINE: Faults = Faults {
    machines: 1,
    ..CALM
};
const REPLACED: Faults = Faults {
    losses: 1,
    additions: 1,
    ..CALM
};
const EXPIRY: Faults = Faults {
    expiries: 1,
    ..CALM
};
const REDEPLOYED: Faults = Faults {
    redeployments: 1,
    ..CALM
};
const CONSUMER_FAILURE: Faults = Faults {
    consumer_failures: 1,
    ..CALM
};

/// Those that a plain test run affords.
pub fn short() -> Vec<Bound> {
    let (newest, second) = (Release::Newest, Release::Second);
    let mut bounds = Vec::new();
    for release in Release::ALL {
        bounds.push(bound(
            "2 hosts, 1 unit, 1 failure",
            release,
            &[0, 0],
            1,
            FAILURE,
        ));
    }
    for release in [newest, second] {
        bounds.extend([
            bound("1 and 1 host, 1 unit", release, &[0, 1], 1, CALM),
            bound("1 host, 2 units, 1 move", release, &[0], 2, MOVE),
        ]);
    }
    bounds.push(bound(
        "2 hosts, 1 unit, 1 expires",
        second,
        &[0, 0],
        1,
        EXPIRY,
    ));
    bounds.extend([
        joined(
            "3 hosts joined, 1 unit, 1 redeployed",
            &[0, 0, 0],
            1,
            REDEPLOYED,
        ),
        bound(
            "2 hosts, 1 unit, 1 redeployed",
            second,
            &[0, 0],
            1,
            REDEPLOYED,
        ),
        joined(
            "2 hosts joined, 2 units, 1 redeployed, 1 move",
            &[0, 0],
            2,
            Faults {
                moves: 1,
                ..REDEPLOYED
            },
        ),
    ]);
    bounds
}

/// Those that take minutes.
pub fn long() -> Vec<Bound> {
    let both = Faults {
        moves: 1,
        ..FAILURE
    };
    let mut bounds = Vec::new();
    for release in Release::FIRST_PROTOCOL {
        bounds.extend([
            bound(
                "3 hosts, 1 unit, 1 failure",
                release,
                &[0, 0, 0],
                1,
                FAILURE,
            ),
            bound(
                "3 hosts, 1 unit, 1 machine lost",
                release,
                &[0, 0, 0],
                1,
                MACHINE,
            ),
            bound("1 host, 2 units, 1 move, 1 failure", release, &[0], 2, both),
        ]);
    }
    let (released, newest, second) = (Release::Released, Release::Newest, Release::Second);
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
        bound("2 hosts, 1 unit replaced", newest, &[0, 0], 1, REPLACED),
        later,
    ]);
    let later_expiry = Faults {
        update_statuses: 1,
        ..EXPIRY
    };
    let redeployed_and_expired = Faults {
        expiries: 1,
        update_statuses: 1,
        ..REDEPLOYED
    };
    bounds.extend([
        bound(
            "2 hosts, 1 unit, 1 expires, update-status",
            second,
            &[0, 0],
            1,
            later_expiry,
        ),
        bound(
            "2 hosts, 1 unit, 1 machine lost",
            second,
            &[0, 0],
            1,
            MACHINE,
        ),
        bound(
            "2 hosts, 1 unit, 1 consumer hook lost",
            second,
            &[0, 0],
            1,
            CONSUMER_FAILURE,
        ),
        bound("2 hosts, 2 units", second, &[0, 0], 2, CALM),
        bound("3 hosts, 1 unit, 1 expires", second, &[0, 0, 0], 1, EXPIRY),
        joined(
            "2 hosts joined, 1 unit, 1 redeployed, 1 expires",
            &[0, 0],
            1,
            redeployed_and_expired,
        ),
        joined(
            "3 hosts joined, 1 unit, 1 redeployed, 1 expires",
            &[0, 0, 0],
            1,
            redeployed_and_expired,
        ),
    ]);
    bounds
}

/// Bounds that take longer than anybody waits for; they are explored when they are asked for.
pub fn large() -> Vec<Bound> {
    let (released, newest, second) = (Release::Released, Release::Newest, Release::Second);
    vec![
        bound("2 hosts, 1 unit replaced", released, &[0, 0], 1, REPLACED),
        bound("2 hosts, 1 unit replaced", second, &[0, 0], 1, REPLACED),
        // Its application gets another leader, which has not seen a value yet: it may not bootstrap.
        bound(
            "3 hosts, 1 unit, 1 machine lost",
            second,
            &[0, 0, 0],
            1,
            MACHINE,
        ),
        bound("2 hosts, 2 units, 1 move", released, &[0, 0], 2, MOVE),
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
            start: Start::Deployed,
            related_later: false,
            faults,
            last_first: false,
            broken_rule: None,
        },
    }
}

/// With consumers of the second protocol that have joined.
fn joined(name: &'static str, hosts: &[usize], distributors: u8, faults: Faults) -> Bound {
    let mut bound = bound(name, Release::Second, hosts, distributors, faults);
    bound.setup.start = Start::Joined;
    bound
}

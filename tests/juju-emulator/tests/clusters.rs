//! Clusters form, one per model, and stay one whatever is lost, on the virtual clock.

use std::collections::BTreeMap;
use std::time::Duration;

use juju_emulator::JujuGeneration::{Four, Three};
use juju_emulator::clock::Timeline;
use juju_emulator::deployment::{DISTRIBUTOR, Deployment, Setup};
use microcluster_token_distributor::core::wire::Value;
use microovn::consumer::Release::{self, Newest, Released};

/// Each case is played with this many seeds on each Juju.
const SEEDS: u64 = 50;
/// Longer than any orderly history takes; three ticks of update-status.
const PATIENCE: Duration = Duration::from_secs(20 * 60);

/// Every case of consumers, on both generations of Juju and for every seed.
fn every(cases: &[(Release, usize, usize)], mut play: impl FnMut(&Setup)) {
    for &(consumer, apps, distributor_units) in cases {
        for juju in [Three, Four] {
            for seed in 0..SEEDS {
                play(&Setup {
                    juju,
                    seed,
                    apps,
                    distributor_units,
                    consumer,
                    ..Setup::default()
                });
            }
        }
    }
}

fn related(setup: &Setup) -> Timeline {
    let mut timeline = Timeline::related(setup).expect("related");
    joined(setup, &mut timeline);
    timeline
}

/// Lets time pass until every host is a member of the one cluster.
fn joined(setup: &Setup, timeline: &mut Timeline) {
    let limit = timeline.now() + PATIENCE;
    let all_joined =
        |deployment: &Deployment| deployment.outcome().expect("readable").is_one_cluster();
    timeline
        .run_on(limit, |_, _, deployment| all_joined(deployment))
        .expect("played");
    let outcome = timeline.deployment.outcome().expect("readable");
    assert!(outcome.is_one_cluster(), "{setup:?}: {outcome}");
}

/// What the ledger has for each host: a token, or that it is a member and needs none.
fn values(deployment: &Deployment) -> BTreeMap<String, Value> {
    let mut mirror = BTreeMap::clone(&deployment.ledger().mirror);
    mirror.retain(|_, value| value.is_real());
    assert!(!mirror.is_empty());
    mirror
}

fn nothing_was_lost(setup: &Setup, before: &BTreeMap<String, Value>, timeline: &Timeline) {
    let after = values(&timeline.deployment);
    for (host, value) in before {
        let kept = after
            .get(host)
            .is_some_and(|after| after == value || *after == Value::Member);
        assert!(kept, "{setup:?}: the value of {host} is gone");
    }
}

/// A host that comes after the loss shows that the cluster still grows.
fn one_more_joins(setup: &Setup, timeline: &mut Timeline) {
    let app = timeline.deployment.apps()[0].clone();
    timeline.deployment.add_unit(&app).expect("added");
    joined(setup, timeline);
}

const CASES: [(Release, usize, usize); 6] = [
    (Released, 1, 1),
    (Released, 1, 3),
    (Newest, 1, 1),
    (Newest, 1, 3),
    (Newest, 2, 1),
    (Newest, 2, 3),
];

#[test]
fn every_host_ends_in_one_cluster_and_no_unit_is_left_with_a_failing_hook() {
    every(&CASES, |setup| {
        let mut timeline = related(setup);
        if setup.apps * setup.distributor_units > 1 {
            return;
        }
        // A hook that fails because its view is old is tried again with the same view.
        let later = Duration::from_secs(30 * 60);
        timeline.run_on(later, |_, _, _| false).expect("played");
        let units = timeline.deployment.world.status();
        let stuck = units.iter().any(|unit| unit.agent == "error");
        assert!(!stuck, "{setup:?}: {units:?}");
    });
}

#[test]
fn the_cluster_grows_under_another_leader() {
    every(&[(Released, 1, 3), (Newest, 2, 3)], |setup| {
        let mut timeline = related(setup);
        let before = values(&timeline.deployment);
        let leader = timeline.deployment.leader();
        let world = &mut timeline.deployment.world;
        let mut units = world.model().units_of(DISTRIBUTOR).into_iter();
        let other = units.find(|unit| Some(unit) != leader.as_ref());
        let other = other.expect("three units");
        world.set_leader(other.as_str()).expect("possible");
        one_more_joins(setup, &mut timeline);
        nothing_was_lost(setup, &before, &timeline);
    });
}

/// With all units of the distributor, and before another comes, `also` is lost.
fn lose_all_distributors(setup: &Setup, also: impl FnOnce(&mut Deployment)) {
    let mut timeline = related(setup);
    // Every host settles before the fire: one that has only just joined may not yet vote.
    let minute = Duration::from_secs(60);
    timeline
        .run(timeline.now() + minute, |_, _, _| false)
        .expect("played");
    let before = values(&timeline.deployment);
    let world = &mut timeline.deployment.world;
    for unit in world.model().units_of(DISTRIBUTOR) {
        world.lose_unit(unit.as_str()).expect("there");
    }
    also(&mut timeline.deployment);
    timeline
        .run(timeline.now() + minute, |_, _, _| false)
        .expect("played");
    let world = &mut timeline.deployment.world;
    world.add_unit(DISTRIBUTOR).expect("added");
    one_more_joins(setup, &mut timeline);
    nothing_was_lost(setup, &before, &timeline);
}

#[test]
fn nothing_is_lost_with_all_distributor_units() {
    every(&[(Released, 1, 1), (Newest, 2, 3)], |setup| {
        lose_all_distributors(setup, |_| {});
    });
}

#[test]
fn nothing_is_lost_with_the_communicator_beside() {
    every(&[(Released, 1, 1), (Newest, 2, 3)], |setup| {
        lose_all_distributors(setup, |deployment| {
            let communicator = deployment.communicator().expect("readable");
            let communicator = communicator.expect("a member that is up");
            deployment.lose(communicator.as_str()).expect("there");
        });
    });
}

//! A unit that stays in error, counted: a consumer of the first protocol whose hook fails while its
//! view of our unit bag is out of date, and is tried again with the same view.
//!
//! With the ledger in the peer relation no hook runs on a consumer before its view is renewed, so
//! none is stuck.

use std::time::Duration;

use juju_emulator::clock::Timeline;
use juju_emulator::deployment::Setup;
use microovn::consumer::Release;

/// Deployments of each kind.
const SEEDS: u64 = 100;

#[test]
fn no_unit_is_left_with_a_failing_hook() {
    for consumer in Release::FIRST_PROTOCOL {
        let mut stuck = 0;
        for seed in 0..SEEDS {
            let setup = Setup {
                seed,
                consumer,
                ..Setup::default()
            };
            let mut timeline = Timeline::related(&setup).expect("related");
            let half_an_hour = Duration::from_secs(30 * 60);
            timeline
                .run_on(half_an_hour, |_, _, _| false)
                .expect("played");
            let outcome = timeline.deployment.outcome().expect("readable");
            assert!(outcome.is_one_cluster(), "seed {seed}: {outcome}");
            let units = timeline.deployment.world.status();
            stuck += u64::from(units.iter().any(|unit| unit.agent == "error"));
        }
        println!("{consumer}: a unit is stuck in {stuck} of {SEEDS} deployments");
        assert_eq!(stuck, 0, "{consumer}");
    }
}

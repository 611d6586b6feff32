//! A few random histories and troubles; `juju-emulator chaos` plays many.

use juju_emulator::JujuGeneration;
use juju_emulator::chaos::Plot;
use juju_emulator::deployment::Provider;
use juju_emulator::{chaos, parallel, trouble};

fn promises_hold(plot: Plot) -> chaos::History {
    let mut total = chaos::History::default();
    for seed in 0..15 {
        for juju in [JujuGeneration::Three, JujuGeneration::Four] {
            match chaos::play(seed, juju, plot, &Provider::Library, 200, &mut |_| {}) {
                Ok(history) => total.add(&history),
                Err(error) => panic!("seed {seed}, {juju:?}: {error}"),
            }
        }
    }
    total
}

#[test]
fn promises_hold_while_goal_state_leaves_out_units_and_applications() {
    let total = promises_hold(Plot::GoalState);
    assert!(total.commits > 100, "{total:?}");
    assert_eq!(total.failed_hooks, 0, "{total:?}");
}

#[test]
fn promises_hold_in_random_histories() {
    let total = promises_hold(Plot::Faults);
    // A campaign in which nothing goes wrong, or nothing is written, checks nothing.
    assert!(total.failed_hooks > 20, "{total:?}");
    assert!(total.commits > 100, "{total:?}");
}

#[test]
fn no_healthy_relation_is_neglected_for_another() {
    let mut total = trouble::Count::default();
    let mut neglected = Vec::new();
    let parts: Vec<_> = trouble::parts().into_iter().step_by(3).collect();
    for part in parallel::each(&parts, None, trouble::Part::play) {
        let (count, found) = part.expect("played");
        total.add(&count);
        neglected.extend(found);
    }
    println!("{total:?}");
    for neglect in &neglected {
        println!("{}: {}", neglect.case, neglect.what);
    }
    assert_eq!(neglected.len(), 0, "{total:?}");
    assert!(total.news > 500, "{total:?}");
}

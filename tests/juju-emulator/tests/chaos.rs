//! A few random histories; `juju-emulator chaos` plays many.

use juju_emulator::JujuGeneration;
use juju_emulator::chaos;
use juju_emulator::deployment::Provider;

#[test]
fn promises_hold_in_random_histories() {
    let mut total = chaos::History::default();
    for seed in 0..15 {
        for juju in [JujuGeneration::Three, JujuGeneration::Four] {
            match chaos::play(seed, juju, &Provider::Library, 200, &mut |_| {}) {
                Ok(history) => total.add(&history),
                Err(error) => panic!("seed {seed}, {juju:?}: {error}"),
            }
        }
    }
    // A campaign in which nothing goes wrong, or nothing is written, checks nothing.
    assert!(total.failed_hooks > 20, "{total:?}");
    assert!(total.commits > 100, "{total:?}");
}

//! The short bounds, the faults that the checker must find, and the abstraction it rests on.

use std::collections::BTreeMap;

use microovn::consumer::{ListError, Release};
use microovn::microcluster;
use protocol_model::bounds::{Bound, short};
use protocol_model::check::check;
use protocol_model::cloud::{Cloud, hostname};
use protocol_model::steps::{Step, World};

#[test]
fn no_interleaving_breaks_a_promise() {
    for Bound { name, setup } in short() {
        let release = setup.release;
        let report = check(setup, 2);
        println!(
            "{name}, {release}: {} states, depth {}",
            report.states, report.depth
        );
        assert!(
            report.broken.is_empty(),
            "{name}, {release}: {:#?}",
            report.broken
        );
    }
}

/// The promises that the first bound breaks under other rules, each with a history.
fn broken(rules: Rules) -> Vec<(&'static str, Vec<Step>)> {
    let mut bound = short().swap_remove(0);
    bound.setup.rules = rules;
    check(bound.setup, 2).broken
}

#[test]
fn placeholders_that_overwrite_tokens_are_found() {
    let broken = broken(Rules::PlaceholdersOverwriteTokens);
    let (promise, history) = broken.first().expect("a token is lost");
    assert!(promise.contains("no value is lost"), "{promise}");
    assert!(
        history.len() > 5,
        "a token must be minted first: {history:?}"
    );
}

#[test]
fn a_mirror_that_goes_up_before_the_permission_is_found() {
    let broken = broken(Rules::MirrorUpBeforePermission);
    let promises: Vec<_> = broken.iter().map(|(promise, _)| *promise).collect();
    assert!(
        promises.contains(&"no mirror is up without a permission"),
        "{promises:?}"
    );
}

#[test]
fn two_released_applications_split_and_the_checker_sees_it() {
    // Nobody promises otherwise: a released consumer that sees nothing bootstraps.
    let mut bound = short().pop().expect("two applications");
    bound.setup.release = Release::Released;
    let world = World::from(bound.setup);
    let mut state = world.first();
    for _ in 0..2 {
        let start = world
            .steps(&state)
            .into_iter()
            .find(|step| matches!(step, Step::Start(Unit::Consumer(_), _)));
        let start = start.expect("both joins are due");
        state = world.after(&state, start, 0);
    }
    assert!(state.is_split());
}

#[test]
fn the_cloud_of_the_model_answers_as_the_one_it_stands_for() {
    const MACHINES: u8 = 3;
    let mut random = fastrand::Rng::with_seed(4);
    let (mut done, mut refused) = (0, 0);
    for seed in 0..400 {
        let mut model = Cloud::default();
        let mut real = microcluster::Cloud::new(microcluster::Settings::default(), seed);
        let mut now = 0;
        let mut dead = [false; MACHINES as usize];
        // The same token in both worlds.
        let mut tokens: BTreeMap<String, String> = BTreeMap::new();
        for _ in 0..30 {
            now += 20;
            let machine = random.u8(0..MACHINES);
            // The dead run no commands.
            if dead[usize::from(machine)] {
                continue;
            }
            let name = hostname(machine);
            let both = match random.u8(0..6) {
                // A second cluster and its first are one story each.
                0 if model.clusters() == 0 => (
                    model.bootstrap(machine).is_ok(),
                    real.bootstrap(&name, now).is_ok(),
                ),
                1 | 2 => {
                    let other = hostname(random.u8(0..MACHINES));
                    let minted = (
                        model.add(machine, &other),
                        real.add(&name, &other, None, now),
                    );
                    let both = (minted.0.is_ok(), minted.1.is_ok());
                    if let (Ok(short), Ok(long)) = minted {
                        tokens.insert(short, long);
                    }
                    both
                }
                3 | 4 => {
                    let Some(at) = (!tokens.is_empty()).then(|| random.usize(0..tokens.len()))
                    else {
                        continue;
                    };
                    let (short, long) = tokens.iter().nth(at).expect("in range");
                    (
                        model.join(machine, short).is_ok(),
                        real.join(&name, long, now).is_ok(),
                    )
                }
                5 if random.u8(0..8) == 0 && model.living() > 1 => {
                    dead[usize::from(machine)] = true;
                    model.kill(machine);
                    real.kill(&name);
                    continue;
                }
                _ => continue,
            };
            assert_eq!(both.0, both.1, "seed {seed}");
            if both.0 {
                done += 1
            } else {
                refused += 1
            }
            // Hooks wait until nobody is pending.
            real.advance(now + 10);
            for machine in 0..MACHINES {
                let shown = model.census(machine).map_err(|_| ListError::Refused(1));
                let real = real.census(&hostname(machine), now + 10);
                assert_eq!(
                    shown,
                    real.map_err(|_| ListError::Refused(1)),
                    "seed {seed}"
                );
            }
        }
    }
    assert!(
        done > 1000 && refused > 1000,
        "{done} done, {refused} refused"
    );
}

//! The short bounds, the broken rules that the checker must find, and the abstraction it rests on.

use std::collections::BTreeMap;

use microovn::consumer::{ListError, Release};
use microovn::microcluster;
use protocol_model::bounds::{Bound, setup, short};
use protocol_model::check::{
    ENDS_WELL, End, NO_STEP_BREAKS, ONE_CLUSTER, ONE_MAY_BOOTSTRAP, PERMISSION_FIRST, check, find,
};
use protocol_model::cloud::{Cloud, hostname};
use protocol_model::setup::Rule;
use protocol_model::state::{Broken, Unit};
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

/// The checker finds the promise broken once the charm, or its consumer, does not know the rule; as
/// long as it does, no promise is.
fn found_without(
    rule: Rule,
    name: &str,
    promise: &'static str,
    by_step: Option<Broken>,
    end: Option<End>,
    most: usize,
) {
    let mut setup = setup(name, Release::Second);
    let intact = check(setup.clone(), 2);
    assert!(intact.broken.is_empty(), "{rule:?}: {:#?}", intact.broken);
    setup.broken_rule = Some(rule);
    let found = find(promise, setup).expect("the promise is broken");
    println!("{rule:?}: {found:?}");
    assert_eq!(found.by_step, by_step, "{rule:?}");
    assert!(end.is_none_or(|end| found.end == end), "{found:?}");
    assert!(found.history.len() <= most, "{found:?}");
}

/// A rule, the setup in which it is missed, the promise that is broken, by which step and how it
/// ends, and the most steps to where.
macro_rules! broken_rules {
    ($($test:ident: $rule:ident, $setup:literal, $promise:ident, $step:expr, $end:expr, $most:expr;)*) => {$(
        #[test]
        fn $test() {
            found_without(Rule::$rule, $setup, $promise, $step, $end, $most);
        }
    )*};
}

const OUTSIDE: Option<End> = Some(End::HostOutside);
const LEFT: Option<End> = Some(End::TokenLeft);
const MANY: usize = 100;

broken_rules! {
    leaders_that_step_down_too_early_are_found:
        StepDownComesLast, "1 host, 2 units, 1 move", NO_STEP_BREAKS, Some(Broken::DownTooEarly), None, 8;
    standbys_that_do_not_follow_the_ledger_are_found:
        StandbysFollowTheLedger, "1 host, 2 units, 1 move", ENDS_WELL, None, Some(End::NotOneMirror), 8;
    placeholders_that_overwrite_tokens_are_found:
        PlaceholdersOverwriteNothing, "2 hosts, 1 unit", NO_STEP_BREAKS, Some(Broken::ValueLost), None, 21;
    mirrors_that_go_up_before_the_permission_are_found:
        PermissionComesFirst, "1 host, 1 unit", PERMISSION_FIRST, None, None, 7;
    refused_tokens_that_stay_are_found:
        RefusedTokensAreReplaced, "2 hosts, 1 unit, 1 expires", ENDS_WELL, None, OUTSIDE, 11;
    spent_tokens_that_are_learned_again_are_found:
        SpentTokensAreNotLearned, "2 hosts, 1 unit, 1 expires", ENDS_WELL, None, OUTSIDE, 11;
    spent_tokens_that_are_no_longer_shown_are_found:
        SpentTokensStayShown, "2 hosts, 1 unit, 1 expires", NO_STEP_BREAKS, Some(Broken::ValueLost), None, MANY;
    members_that_are_not_answered_are_found:
        MembersAreAnswered, "2 hosts, 1 unit", ENDS_WELL, None, LEFT, MANY;
    two_applications_that_may_bootstrap_are_found:
        OneMayBootstrap, "1 and 1 host, 1 unit", ONE_MAY_BOOTSTRAP, None, None, MANY;
    // Of two hosts each is communicator in its turn, and known by that.
    consumers_that_do_not_say_that_they_are_members_are_found:
        MembersSaySo, "3 hosts joined, 1 unit", ENDS_WELL, None, LEFT, MANY;
    consumers_that_bootstrap_without_permission_are_found:
        BootstrapNeedsPermission, "1 and 1 host, 1 unit", ONE_CLUSTER, None, None, MANY;
    consumers_that_do_not_say_what_they_were_refused_are_found:
        RefusalsAreSaid, "2 hosts, 1 unit, 1 expires", ENDS_WELL, None, OUTSIDE, MANY;
    communicators_that_mint_nothing_for_spent_tokens_are_found:
        SpentTokensAreMintedAnew, "2 hosts, 1 unit, 1 expires", ENDS_WELL, None, OUTSIDE, MANY;
    communicators_that_do_not_say_so_are_found:
        CommunicatorsAreUp, "2 hosts, 1 unit", ENDS_WELL, None, OUTSIDE, MANY;
    consumers_that_keep_their_tokens_are_found:
        OutlivedTokensAreDeleted, "2 hosts, 1 unit", ENDS_WELL, None, LEFT, MANY;
}

#[test]
fn two_released_applications_split_and_the_checker_sees_it() {
    // Nobody promises otherwise: a released consumer that sees nothing bootstraps.
    let world = World::from(setup("1 and 1 host, 1 unit", Release::Released));
    let mut state = world.first();
    for _ in 0..2 {
        let start = world
            .steps(&state)
            .into_iter()
            .find(|step| matches!(step, Step::Start(Unit::Consumer(_), _)));
        let start = start.expect("both joins are due");
        state = world.after(&state, start);
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
                5 if random.u8(0..8) == 0
                    && model.living() > 1
                    && model.survives_without(machine) =>
                {
                    dead[usize::from(machine)] = true;
                    real.kill(&name);
                    if model.is_member(machine) {
                        let others = (0..MACHINES).filter(|other| *other != machine);
                        let mut members = others.filter(|other| model.is_member(*other));
                        let other = hostname(members.next().expect("others live"));
                        let removed = real.remove_by_force(&other, &name, now);
                        assert_eq!(removed, Ok(()), "seed {seed}");
                    }
                    model.kill(machine);
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

//! The short bounds, the broken rules that the checker must find, and the abstraction it rests on.

use std::collections::BTreeMap;

use microovn::consumer::{ListError, Release};
use microovn::microcluster;
use protocol_model::bounds::{Bound, short};
use protocol_model::check::{
    BrokenPromise, ENDS_WELL, End, NO_STEP_BREAKS, ONE_CLUSTER, ONE_MAY_BOOTSTRAP,
    PERMISSION_FIRST, check, find,
};
use protocol_model::cloud::{Cloud, hostname};
use protocol_model::setup::{Faults, Rule, Setup, Start};
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

/// Consumers of the second protocol with one distributor unit, all deployed at once.
fn second(hosts: &[usize]) -> Setup {
    Setup {
        release: Release::Second,
        hosts: hosts.to_vec(),
        distributors: 1,
        start: Start::Deployed,
        related_later: false,
        faults: Faults::default(),
        last_first: false,
        broken_rule: None,
    }
}

/// How the checker finds the promise broken once the charm, or its consumer, does not know the
/// rule; as long as it does, no promise is.
fn found_without(rule: Rule, mut setup: Setup, promise: &'static str) -> BrokenPromise {
    let intact = check(setup.clone(), 2);
    assert!(intact.broken.is_empty(), "{rule:?}: {:#?}", intact.broken);
    setup.broken_rule = Some(rule);
    let found = find(promise, setup).expect("the promise is broken");
    println!(
        "{rule:?}: {:?}, {:?}, {} steps: {:?}",
        found.by_step,
        found.end,
        found.history.len(),
        found.history
    );
    found
}

fn moved() -> Setup {
    let mut setup = second(&[0]);
    setup.distributors = 2;
    setup.faults.moves = 1;
    setup
}

#[test]
fn a_leader_that_steps_down_before_the_next_is_up_is_found() {
    let found = found_without(Rule::StepDownComesLast, moved(), NO_STEP_BREAKS);
    assert_eq!(found.by_step, Some(Broken::DownTooEarly));
    assert!(found.history.len() <= 8, "{found:?}");
}

#[test]
fn standbys_that_do_not_follow_the_ledger_are_found() {
    let found = found_without(Rule::StandbysFollowTheLedger, moved(), ENDS_WELL);
    assert_eq!(found.end, End::NotOneMirror);
    assert!(found.history.len() <= 8, "{found:?}");
}

#[test]
fn placeholders_that_overwrite_tokens_are_found() {
    let found = found_without(
        Rule::PlaceholdersOverwriteNothing,
        second(&[0, 0]),
        NO_STEP_BREAKS,
    );
    assert_eq!(found.by_step, Some(Broken::ValueLost));
    assert!(found.history.len() <= 21, "{found:?}");
}

#[test]
fn a_mirror_that_goes_up_before_the_permission_is_found() {
    let found = found_without(Rule::PermissionComesFirst, second(&[0]), PERMISSION_FIRST);
    assert!(found.history.len() <= 7, "{found:?}");
}

/// One of two hosts may find that its token has expired.
fn expiring() -> Setup {
    let mut setup = second(&[0, 0]);
    setup.faults.expiries = 1;
    setup
}

#[test]
fn refused_tokens_that_stay_are_found() {
    let found = found_without(Rule::RefusedTokensAreReplaced, expiring(), ENDS_WELL);
    assert_eq!(found.end, End::HostOutside);
    assert!(found.history.len() <= 11, "{found:?}");
}

#[test]
fn spent_tokens_that_are_learned_again_are_found() {
    let found = found_without(Rule::SpentTokensAreNotLearned, expiring(), ENDS_WELL);
    assert_eq!(found.end, End::HostOutside);
    assert!(found.history.len() <= 11, "{found:?}");
}

#[test]
fn spent_tokens_that_are_no_longer_shown_are_found() {
    let found = found_without(Rule::SpentTokensStayShown, expiring(), NO_STEP_BREAKS);
    assert_eq!(found.by_step, Some(Broken::ValueLost));
}

#[test]
fn members_that_are_not_answered_are_found() {
    let found = found_without(Rule::MembersAreAnswered, second(&[0, 0]), ENDS_WELL);
    assert_eq!(found.end, End::TokenLeft);
}

#[test]
fn two_applications_that_may_bootstrap_are_found() {
    let found = found_without(Rule::OneMayBootstrap, second(&[0, 1]), ONE_MAY_BOOTSTRAP);
    assert_eq!(found.by_step, None);
}

#[test]
fn consumers_that_do_not_say_that_they_are_members_are_found() {
    // Of two hosts each is communicator in its turn, and known by that.
    let mut joined = second(&[0, 0, 0]);
    joined.start = Start::Joined;
    let found = found_without(Rule::MembersSaySo, joined, ENDS_WELL);
    assert_eq!(found.end, End::TokenLeft);
}

#[test]
fn consumers_that_bootstrap_without_permission_are_found() {
    let rule = Rule::BootstrapNeedsPermission;
    found_without(rule, second(&[0, 1]), ONE_CLUSTER);
}

#[test]
fn consumers_that_do_not_say_what_they_were_refused_are_found() {
    let found = found_without(Rule::RefusalsAreSaid, expiring(), ENDS_WELL);
    assert_eq!(found.end, End::HostOutside);
}

#[test]
fn communicators_that_mint_nothing_for_spent_tokens_are_found() {
    let found = found_without(Rule::SpentTokensAreMintedAnew, expiring(), ENDS_WELL);
    assert_eq!(found.end, End::HostOutside);
}

#[test]
fn communicators_that_do_not_say_so_are_found() {
    let found = found_without(Rule::CommunicatorsAreUp, second(&[0, 0]), ENDS_WELL);
    assert_eq!(found.end, End::HostOutside);
}

#[test]
fn consumers_that_keep_their_tokens_are_found() {
    let rule = Rule::OutlivedTokensAreDeleted;
    let found = found_without(rule, second(&[0, 0]), ENDS_WELL);
    assert_eq!(found.end, End::TokenLeft);
}

#[test]
fn two_released_applications_split_and_the_checker_sees_it() {
    // Nobody promises otherwise: a released consumer that sees nothing bootstraps.
    let mut setup = second(&[0, 1]);
    setup.release = Release::Released;
    let world = World::from(setup);
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

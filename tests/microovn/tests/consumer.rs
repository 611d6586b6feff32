//! The consumers' rules, one table or story each (wire protocol, section 5).

mod support;

use std::time::Duration;

use microovn::consumer::Release::{Newest, Released};
use microovn::consumer::{Census, HANGS, Release, State};
use microovn::microcluster::{Cloud, Settings};
use support::{Unit, databag};

const JOINED: &str = "cluster-relation-joined";
const CHANGED: &str = "cluster-relation-changed";
const UP: (&str, &str) = ("mirror", "up");
const WAITING: &str = "maintenance Waiting for token distrbutor relation";

#[derive(Debug, PartialEq)]
enum Seen {
    Bootstraps,
    BootstrapsAndStaysDeferred,
    Nothing,
    Deferred,
}

fn outcome(unit: &mut Unit) -> Seen {
    assert_eq!(unit.run(JOINED), 0);
    let deferred = !unit.state.deferred.is_empty();
    let commands = unit.commands();
    match (commands.first().map(String::as_str), deferred) {
        (None, false) => Seen::Nothing,
        (None, true) => Seen::Deferred,
        (Some("cluster bootstrap"), false) => Seen::Bootstraps,
        (Some("cluster bootstrap"), true) => Seen::BootstrapsAndStaysDeferred,
        _ => panic!("unexpected {commands:?}"),
    }
}

#[test]
fn an_unclustered_leader_decides_at_relation_joined_as_in_the_field() {
    use Seen::*;
    type Bag<'a> = &'a [(&'a str, &'a str)];
    let rows: &[(&str, Bag<'_>, Bag<'_>, Seen, Seen)] = &[
        (
            "no mirror up, app bag empty",
            &[],
            &[],
            Bootstraps,
            Deferred,
        ),
        (
            "mirror up, app bag empty (hazard 1)",
            &[UP],
            &[],
            Bootstraps,
            Nothing,
        ),
        (
            "no mirror up, bootstrap-app is mine",
            &[],
            &[("bootstrap-app", "C")],
            Bootstraps,
            BootstrapsAndStaysDeferred,
        ),
        (
            "mirror up, bootstrap-app is mine",
            &[UP],
            &[("bootstrap-app", "C")],
            Bootstraps,
            Bootstraps,
        ),
        (
            "mirror up, bootstrap-app is another's",
            &[UP],
            &[("bootstrap-app", "other")],
            Bootstraps,
            Nothing,
        ),
        (
            "mirror up, app bag has only another key",
            &[UP],
            &[("held", "yes")],
            Bootstraps,
            Deferred,
        ),
        (
            "a mirrored value, mirror up",
            &[UP, ("mirror-x", "1")],
            &[("bootstrap-app", "C")],
            Nothing,
            Nothing,
        ),
        (
            "a mirrored value, mirror down",
            &[("mirror", "down"), ("mirror-x", "1")],
            &[("bootstrap-app", "C")],
            Nothing,
            Deferred,
        ),
        (
            "the bare key is a mirrored value",
            &[("mirror-", "1")],
            &[("bootstrap-app", "C")],
            Nothing,
            Deferred,
        ),
        (
            "placeholders are no values, other keys are none either",
            &[
                UP,
                ("mirror-h0", "empty"),
                ("mirror_x", "1"),
                ("my-mirror-x", "1"),
            ],
            &[("bootstrap-app", "C")],
            Bootstraps,
            Bootstraps,
        ),
    ];
    for (case, unit_bag, app_bag, released, newest) in rows {
        for (release, expected) in [(Released, released), (Newest, newest)] {
            let case = format!("{release}: {case}");
            let mut unit = Unit::new(release, "h0")
                .leader()
                .distributor("P/0", unit_bag)
                .app_bag(app_bag);
            assert_eq!(outcome(&mut unit), *expected, "{case}");
            let bootstrapped = matches!(expected, Bootstraps | BootstrapsAndStaysDeferred);
            assert_eq!(unit.state.in_cluster, bootstrapped, "{case}");
            // A placeholder that is already there is answered at once.
            let minted = unit.world.own.remove("mirror-h0").is_some();
            assert_eq!(
                minted,
                bootstrapped && unit_bag.contains(&("mirror-h0", "empty")),
                "{case}"
            );
            match bootstrapped {
                true => unit.own_is(&[("hostname", "h0"), UP], &case),
                false => unit.own_is(&[("hostname", "h0")], &case),
            }
        }
    }
}

#[test]
fn only_an_unclustered_leader_bootstraps() {
    for release in Release::FIRST_PROTOCOL {
        let permitted = |unit: Unit| {
            unit.distributor("P/0", &[UP])
                .app_bag(&[("bootstrap-app", "C")])
        };
        let mut follower = permitted(Unit::new(release, "h0"));
        assert_eq!(outcome(&mut follower), Seen::Nothing, "{release}: follower");
        let mut member = permitted(Unit::new(release, "h0").leader().member("h0", &[]));
        assert_eq!(outcome(&mut member), Seen::Nothing, "{release}: member");
        member.own_is(
            &[("hostname", "h0")],
            "a member's mirror is the changed hook's business",
        );
    }
}

#[test]
fn a_bootstrap_goes_through_these_statuses() {
    let mut unit = Unit::new(Released, "h0").leader().distributor("P/0", &[UP]);
    assert_eq!(unit.run(JOINED), 0);
    assert_eq!(
        unit.statuses(),
        [
            "active Cluster bootstrapped",
            "waiting Waiting on pending nodes",
            "active Cluster bootstrapped",
            "waiting Waiting on pending nodes",
            "active Cluster bootstrapped",
        ]
    );
    assert_eq!(unit.world.now, 10, "the first heartbeat ends the wait");
}

#[test]
fn only_the_patched_release_recovers_a_bootstrap_that_was_forgotten() {
    for (release, recovers) in [(Released, true), (Newest, false)] {
        let mut unit = Unit::new(release, "h0")
            .leader()
            .member("h0", &[])
            .distributor("P/0", &[UP])
            .app_bag(&[("bootstrap-app", "C")]);
        unit.state = State::default();
        assert_eq!(unit.run(JOINED), 0);
        assert_eq!(unit.state.in_cluster, recovers, "{release}");
        assert_eq!(unit.commands().is_empty(), recovers, "{release}");
        assert_eq!(
            unit.state.deferred.len(),
            usize::from(!recovers),
            "{release}"
        );
        let blocked = "blocked Unable to bootstrap cluster".to_owned();
        assert_eq!(unit.statuses().contains(&blocked), !recovers, "{release}");
    }
}

#[test]
fn a_host_joins_with_the_token_the_mirrors_show() {
    for release in Release::FIRST_PROTOCOL {
        let mut unit = Unit::new(release, "h1").beside("h0", &[]);
        let token = unit.world.cloud.add("h0", "h1", None, 0).unwrap();

        let mut unit = unit.distributor("P/0", &[UP, ("mirror-h1", "empty")]);
        assert_eq!(unit.run(CHANGED), 0);
        assert_eq!(
            unit.statuses(),
            ["maintenance Token not in mirror", WAITING],
            "{release}"
        );
        assert_eq!(
            unit.commands(),
            [""; 0],
            "{release}: a placeholder is no token"
        );

        let mut unit = unit.distributor("P/0", &[("mirror", "down"), ("mirror-h1", &token)]);
        assert_eq!(unit.run(CHANGED), 0);
        assert_eq!(
            unit.commands(),
            [""; 0],
            "{release}: a mirror that is down is not read"
        );

        let mut unit = unit.distributor("P/0", &[UP, ("mirror-h1", &token)]);
        assert_eq!(unit.run(CHANGED), 0);
        assert_eq!(
            unit.commands(),
            [format!("cluster join {token}")],
            "{release}"
        );
        assert_eq!(
            unit.state,
            State {
                in_cluster: true,
                deferred: vec![],
                ..State::default()
            },
            "{release}"
        );
        assert_eq!(unit.statuses().last().unwrap(), "active ", "{release}");
        unit.own_is(&[], "h0 is the smaller voter");
        assert_eq!(unit.world.cloud.clusters(), [["h0", "h1"]], "{release}");
    }
}

#[test]
fn a_refused_join_is_tried_again_in_every_later_hook_with_the_data_of_then() {
    for release in Release::FIRST_PROTOCOL {
        let mut unit = Unit::new(release, "h1")
            .beside("h0", &[])
            .distributor("P/0", &[UP, ("mirror-h1", "stale")]);
        assert_eq!(unit.run(CHANGED), 0, "{release}");
        assert_eq!(
            unit.statuses(),
            [
                "maintenance Joining cluster",
                "blocked Joining cluster failed",
                WAITING
            ],
            "{release}: the charm's own handler hides the block"
        );
        assert!(unit.world.log[0].contains("h1") && unit.world.log[0].contains("stale"));
        assert_eq!(unit.commands(), ["cluster join stale"], "{release}");

        assert_eq!(unit.run("config-changed"), 0, "{release}");
        assert_eq!(unit.commands(), ["cluster join stale"], "{release}");
        assert_eq!(
            unit.statuses().last().unwrap(),
            "blocked Joining cluster failed"
        );

        assert_eq!(unit.run(CHANGED), 0, "{release}");
        assert_eq!(
            unit.commands(),
            ["cluster join stale"],
            "{release}: queued once, run once"
        );
        assert_eq!(unit.state.deferred.len(), 1, "{release}");

        let token = unit.world.cloud.add("h0", "h1", None, 0).unwrap();
        let mut unit = unit.distributor("P/0", &[UP, ("mirror-h1", &token)]);
        assert_eq!(unit.run("update-status"), 0, "{release}");
        assert_eq!(
            unit.state,
            State {
                in_cluster: true,
                deferred: vec![],
                ..State::default()
            },
            "{release}"
        );
    }
}

#[test]
fn only_the_patched_release_recovers_a_join_that_was_forgotten() {
    for (release, recovers) in [(Released, true), (Newest, false)] {
        let mut unit = Unit::new(release, "h1")
            .member("h0", &["h1"])
            .distributor("P/0", &[UP, ("mirror-h1", "used")]);
        unit.state = State::default();
        assert_eq!(unit.run(CHANGED), 0, "{release}");
        assert_eq!(unit.state.in_cluster, recovers, "{release}");
        assert_eq!(
            unit.state.deferred.len(),
            usize::from(!recovers),
            "{release}"
        );
    }
}

#[test]
fn an_empty_queue_and_an_unobserved_hook_touch_nothing() {
    for release in Release::FIRST_PROTOCOL {
        for hook in [
            "start",
            "cluster-relation-created",
            "cluster-relation-departed",
            "stop",
        ] {
            let mut unit = Unit::new(release, "h0").leader().distributor("P/0", &[UP]);
            assert_eq!(unit.run(hook), 0);
            unit.own_is(&[], hook);
            assert_eq!(unit.statuses(), [""; 0], "{release} {hook}");
            assert_eq!(unit.commands(), [""; 0], "{release} {hook}");
        }
    }
}

#[test]
fn the_newest_release_bootstraps_from_a_deferred_event_and_defers_again_without_a_mirror() {
    let mut unit = Unit::new(Newest, "h0").leader().distributor("P/0", &[]);
    assert_eq!(outcome(&mut unit), Seen::Deferred);
    // The application bag comes first, in a hook in which the unit's bag is still the old one.
    let mut unit = unit.app_bag(&[("bootstrap-app", "C")]);
    assert_eq!(unit.run("cluster-relation-changed"), 0);
    assert_eq!(unit.commands(), ["cluster bootstrap"]);
    assert_eq!(unit.state.deferred.len(), 1);
    let mut unit = unit.distributor("P/0", &[UP]);
    assert_eq!(unit.run("update-status"), 0);
    assert_eq!(
        unit.state,
        State {
            in_cluster: true,
            deferred: vec![],
            ..State::default()
        }
    );
    assert_eq!(unit.commands(), [""; 0]);
}

#[test]
fn a_deferred_leader_reads_the_app_bag_even_when_every_distributor_unit_is_gone() {
    let mut unit = Unit::new(Newest, "h0").leader().distributor("P/0", &[]);
    assert_eq!(outcome(&mut unit), Seen::Deferred);
    let mut unit = unit.app_bag(&[("bootstrap-app", "C")]);
    unit.world.remote.clear();
    assert_eq!(unit.run("update-status"), 0);
    assert_eq!(unit.commands(), ["cluster bootstrap"]);
    assert_eq!(unit.state.deferred.len(), 1);
}

#[test]
fn hazard_1_the_newest_leader_never_comes_back_to_an_empty_app_bag() {
    let mut unit = Unit::new(Newest, "h0").leader().distributor("P/0", &[UP]);
    assert_eq!(outcome(&mut unit), Seen::Nothing);
    let mut unit = unit.app_bag(&[("bootstrap-app", "C")]);
    for hook in [CHANGED, "update-status", "leader-elected"] {
        assert_eq!(unit.run(hook), 0);
    }
    assert_eq!(unit.commands(), [""; 0]);
    assert_eq!(
        outcome(&mut unit),
        Seen::Bootstraps,
        "only a new distributor unit helps"
    );
}

#[test]
fn hazard_6_a_second_released_application_splits_unless_some_value_is_there_at_joined() {
    for (case, shown, clusters) in [
        ("the bag is still empty", &[][..], 2),
        ("only placeholders", &[UP, ("mirror-h0", "empty")], 2),
        ("a guard value, mirror not up", &[("mirror-_", "guard")], 1),
    ] {
        let mut unit = Unit::new(Released, "h9")
            .leader()
            .beside("h0", &["h1"])
            .distributor("P/0", shown);
        assert_eq!(unit.run(JOINED), 0);
        assert_eq!(unit.world.cloud.clusters().len(), clusters, "{case}");
    }
}

#[test]
fn the_communicator_raises_its_mirror_and_mints() {
    for release in Release::FIRST_PROTOCOL {
        let mut unit = Unit::new(release, "h0").member("h0", &["h1"]).distributor(
            "P/0",
            &[
                UP,
                ("mirror-h1", "real"),
                ("mirror-h2", "empty"),
                ("mirror-h3", "empty"),
                ("mirror-bad_name", "empty"),
                ("mirror-h5", "empty"),
            ],
        );
        unit.world.own = databag(&[("mirror-h3", "minted before")]);
        assert_eq!(unit.run(CHANGED), 0);
        let lists = |command: &&String| command.starts_with("cluster list");
        let lists = unit.world.commands.iter().filter(lists).count();
        assert_eq!(lists, 4, "{release}: twice two");
        assert_eq!(
            unit.commands(),
            ["cluster add bad_name", "cluster add h2", "cluster add h5"],
            "{release}: not the real one, not its own; a failure stops nothing"
        );
        let keys: Vec<&String> = unit.world.own.keys().collect();
        assert_eq!(
            keys,
            ["mirror", "mirror-h2", "mirror-h3", "mirror-h5"],
            "{release}"
        );
        assert_eq!(unit.world.own["mirror"], "up");
        assert_eq!(
            unit.world.own["mirror-h2"],
            unit.world.own["mirror-h2"].trim()
        );
        assert_eq!(unit.world.own["mirror-h3"], "minted before", "{release}");

        assert_eq!(unit.run(CHANGED), 0);
        assert_eq!(
            unit.commands(),
            ["cluster add bad_name"],
            "{release}: once minted, never again"
        );
    }
}

#[test]
fn placeholders_are_answered_only_where_every_mirror_agrees() {
    for (case, first, second, minted) in [
        ("no mirror up", &[("mirror-h2", "empty")][..], &[][..], 0),
        (
            "one of two is up",
            &[UP, ("mirror-h2", "empty")],
            &[("mirror-h2", "t")],
            1,
        ),
        (
            "both show it",
            &[UP, ("mirror-h2", "empty")],
            &[UP, ("mirror-h2", "empty")],
            1,
        ),
        ("one knows nothing", &[UP, ("mirror-h2", "empty")], &[UP], 1),
        (
            "one has the token",
            &[UP, ("mirror-h2", "empty")],
            &[UP, ("mirror-h2", "t")],
            0,
        ),
    ] {
        for tie in [|_| 0, |n: usize| n - 1] {
            let mut unit = Unit::new(Newest, "h0")
                .member("h0", &[])
                .distributor("P/0", first)
                .distributor("P/1", second);
            unit.tie = tie;
            assert_eq!(unit.run(CHANGED), 0);
            assert_eq!(unit.commands().len(), minted, "{case}");
        }
    }
}

#[test]
fn a_former_communicator_takes_its_mirror_down() {
    type Bag<'a> = &'a [(&'a str, &'a str)];
    let rows: &[(&str, Bag<'_>, Bag<'_>, Option<&str>)] = &[
        ("never was", &[("mirror-h5", "empty")], &[], Some("-")),
        (
            "nothing to lose",
            &[("mirror-h5", "t")],
            &[UP],
            Some("down"),
        ),
        ("already down", &[], &[("mirror", "down")], Some("down")),
        (
            "lost, and ours",
            &[("mirror-h5", "empty")],
            &[UP, ("mirror-h5", "t")],
            Some("up"),
        ),
        (
            "down comes up again",
            &[("mirror-h5", "empty")],
            &[("mirror", "down"), ("mirror-h5", "t")],
            Some("up"),
        ),
        (
            "ours is a placeholder, too",
            &[("mirror-h5", "empty")],
            &[UP, ("mirror-h5", "empty")],
            Some("down"),
        ),
        (
            "never minted (hazard 7)",
            &[("mirror-h5", "empty")],
            &[UP],
            None,
        ),
        (
            "ours is met first",
            &[("mirror-h5", "empty"), ("mirror-h6", "empty")],
            &[UP, ("mirror-h5", "t")],
            Some("up"),
        ),
        (
            "the foreign one is met first (hazard 7)",
            &[("mirror-h5", "empty"), ("mirror-h6", "empty")],
            &[UP, ("mirror-h6", "t")],
            None,
        ),
    ];
    for release in Release::FIRST_PROTOCOL {
        for (case, shown, own, mirror) in rows {
            let case = format!("{release}: {case}");
            let shown: Vec<_> = shown.iter().copied().chain([UP]).collect();
            let mut unit = Unit::new(release, "h1")
                .member("h0", &["h1"])
                .distributor("P/0", &shown)
                .own(own);
            let status = unit.run(CHANGED);
            assert_eq!(unit.commands(), [""; 0], "{case}: it mints nothing");
            match mirror {
                None => {
                    assert_eq!(status, 1, "{case}");
                    unit.own_is(own, &case);
                    assert!(
                        unit.world.log[0].contains("KeyError: 'mirror-h5'"),
                        "{case}"
                    );
                }
                Some(mirror) => {
                    assert_eq!(status, 0, "{case}");
                    let written = unit.world.own.get("mirror").map_or("-", String::as_str);
                    assert_eq!(written, *mirror, "{case}");
                }
            }
        }
    }
}

#[test]
fn with_two_mirrors_up_the_order_of_a_python_set_decides_where_the_walk_crashes() {
    for (tie, status) in [((|_| 0) as fn(usize) -> usize, 0), (|n| n - 1, 1)] {
        let mut unit = Unit::new(Released, "h1")
            .member("h0", &["h1"])
            .distributor("P/0", &[UP, ("mirror-h5", "empty")])
            .distributor("P/1", &[UP, ("mirror-h6", "empty")])
            .own(&[UP, ("mirror-h5", "t")]);
        unit.tie = tie;
        assert_eq!(unit.run(CHANGED), status);
    }
}

#[test]
fn a_crash_forgets_the_join_it_followed_and_keeps_the_queue() {
    // A mirror raised before the host was installed anew lets a crash follow a join at once.
    let unit = Unit::new(Newest, "h1").beside("h0", &[]).own(&[UP]);
    let mut unit = unit.distributor("P/0", &[UP, ("mirror-h1", "stale")]);
    assert_eq!(unit.run(CHANGED), 0);
    let queued = unit.state.clone();
    assert_eq!(queued.deferred.len(), 1);

    let token = unit.world.cloud.add("h0", "h1", None, 0).unwrap();
    let shown = [UP, ("mirror-h1", token.as_str()), ("mirror-h5", "empty")];
    let mut unit = unit.distributor("P/0", &shown);
    assert_eq!(unit.run("update-status"), 1);
    assert_eq!(unit.state, queued, "hazard 21");
    assert_eq!(
        unit.world.cloud.clusters(),
        [["h0", "h1"]],
        "the cluster keeps the member"
    );
}

#[test]
fn conflicting_tokens_are_settled_by_majority_and_then_by_chance() {
    for (case, tokens, first, last) in [
        ("one mirror", &["a"][..], "a", "a"),
        ("a tie (hazard 8)", &["a", "b"], "a", "b"),
        ("a majority", &["a", "b", "b"], "b", "b"),
        ("a majority met last", &["b", "b", "a"], "b", "b"),
        (
            "placeholders do not vote",
            &["empty", "empty", "a"],
            "a",
            "a",
        ),
    ] {
        for (tie, expected) in [((|_| 0) as fn(usize) -> usize, first), (|n| n - 1, last)] {
            let mut unit = Unit::new(Released, "h1");
            unit.tie = tie;
            for (number, token) in tokens.iter().enumerate() {
                let name = format!("P/{number}");
                unit = unit.distributor(&name, &[UP, ("mirror-h1", token)]);
            }
            assert_eq!(unit.run(CHANGED), 0);
            assert_eq!(
                unit.commands(),
                [format!("cluster join {expected}")],
                "{case}"
            );
        }
    }
}

#[test]
fn hazard_16_a_second_communicator_gets_no_token_while_the_first_ones_is_outstanding() {
    let mut unit = Unit::new(Newest, "h0")
        .member("h1", &["h0", "h2"])
        .distributor("P/0", &[UP, ("mirror-h5", "empty")]);
    unit.world.cloud.add("h1", "h5", None, 100).unwrap();
    assert_eq!(unit.run(CHANGED), 0);
    assert_eq!(unit.commands(), ["cluster add h5"]);
    unit.own_is(&[UP], "refused, and to be tried again");

    unit.world.now += 10_800;
    assert_eq!(unit.run(CHANGED), 0);
    assert!(unit.world.own.contains_key("mirror-h5"));
}

#[test]
fn a_failing_list_means_no_communicator_and_leaves_the_waiting_status_behind() {
    for release in Release::FIRST_PROTOCOL {
        let mut unit = Unit::new(release, "h0")
            .member("h0", &[])
            .distributor("P/0", &[UP, ("mirror-h5", "empty")])
            .own(&[UP, ("mirror-h5", "t")]);
        unit.world.refuse.insert("cluster list");
        assert_eq!(unit.run(CHANGED), 0);
        assert_eq!(
            unit.statuses(),
            [
                "waiting Waiting on pending nodes",
                "waiting Waiting on pending nodes",
                "active "
            ],
            "{release}: then MicroOVN's own handler"
        );
        assert_eq!(unit.world.own["mirror"], "up", "down and up again");
    }
    let mut unit = Unit::new(Newest, "h0")
        .leader()
        .distributor("P/0", &[UP])
        .app_bag(&[("bootstrap-app", "C")]);
    unit.world.refuse.insert("cluster list");
    assert_eq!(unit.run(JOINED), 0);
    assert_eq!(
        unit.statuses().last().unwrap(),
        "waiting Waiting on pending nodes"
    );
    unit.own_is(&[("hostname", "h0")], "a cluster, and no mirror");
}

#[test]
fn a_dead_pending_member_hangs_the_changed_hook() {
    let mut unit = Unit::new(Released, "h0")
        .member("h0", &[])
        .distributor("P/0", &[UP]);
    let token = unit.world.cloud.add("h0", "h1", None, 100).unwrap();
    unit.world.cloud.join("h1", &token, 100).unwrap();
    unit.world.cloud.kill("h1");
    let before = unit.state.clone();
    assert_eq!(unit.run(CHANGED), HANGS);
    assert_eq!(unit.state, before);
    unit.own_is(&[], "nothing of a hook that never ended");
}

#[test]
fn the_communicator_is_the_smallest_online_voter_by_substring() {
    for (case, members, communicator) in [
        (
            "the smallest",
            &[("b", "voter", "ONLINE"), ("a", "voter", "ONLINE")][..],
            Some("a"),
        ),
        (
            "as text",
            &[("h2", "voter", "ONLINE"), ("h10", "voter", "ONLINE")],
            Some("h10"),
        ),
        (
            "dead",
            &[("a", "voter", "UNREACHABLE"), ("b", "voter", "ONLINE")],
            Some("b"),
        ),
        (
            "no vote",
            &[("a", "stand-by", "ONLINE"), ("b", "spare", "ONLINE")],
            None,
        ),
        (
            "an empty role counts",
            &[("a", "", "ONLINE"), ("b", "voter", "ONLINE")],
            Some("a"),
        ),
        ("upgrading", &[("a", "voter", "NEEDS UPGRADE")], None),
        ("nobody", &[], None),
    ] {
        let census = Census::of(members.iter().copied());
        assert_eq!(census.communicator.as_deref(), communicator, "{case}");
        assert!(!census.pending, "{case}");
    }
    assert!(Census::of([("a", "voter", "ONLINE"), ("b", "PENDING", "ONLINE")]).pending);
}

#[test]
fn a_deferred_event_of_a_relation_that_is_gone_crashes_every_later_hook() {
    let mut unit = Unit::new(Newest, "h0").distributor("P/0", &[]);
    assert_eq!(outcome(&mut unit), Seen::Deferred);
    unit.world.gone = true;
    let queued = unit.state.clone();
    for hook in ["update-status", "stop", "remove"] {
        assert_eq!(unit.run(hook), 1, "{hook}");
        assert_eq!(unit.state, queued, "{hook}");
    }
}

#[test]
fn install_waits_for_the_relation_and_remove_leaves_the_cluster() {
    for release in Release::FIRST_PROTOCOL {
        let mut unit = Unit::new(release, "h1");
        unit.world.gone = true;
        assert_eq!(unit.run("install"), 0);
        assert_eq!(
            unit.statuses(),
            [WAITING, "maintenance Installing microovn snap", WAITING],
            "{release}"
        );
        unit.world.gone = false;
        assert_eq!(unit.run("remove"), 0);
        assert_eq!(unit.commands(), [""; 0], "{release}: in no cluster");

        let mut unit = Unit::new(release, "h1").member("h0", &["h1"]);
        assert_eq!(unit.run("remove"), 0);
        assert_eq!(unit.world.cloud.clusters(), [["h0"]], "{release}");

        let mut last = Unit::new(release, "h0").member("h0", &[]);
        assert_eq!(
            last.run("remove"),
            0,
            "{release}: the refusal is only logged"
        );
        assert_eq!(
            last.world.log,
            ["failed removing h0 from cluster"],
            "{release}"
        );
    }
}

#[test]
fn a_member_whose_data_did_not_change_writes_nothing() {
    let own = [("hostname", "h0"), UP, ("mirror-h1", "t")];
    let mut unit = Unit::new(Released, "h0")
        .member("h0", &["h1"])
        .distributor("P/0", &[UP, ("mirror-h1", "t")])
        .own(&own);
    for hook in [JOINED, CHANGED, CHANGED] {
        assert_eq!(unit.run(hook), 0);
    }
    assert_eq!(unit.world.own, databag(&own));
    assert_eq!(unit.world.writes, 0);
}

/// `h1` tried to join, was told of failure, and is a member all the same.
fn told_of_failure(release: Release) -> Unit {
    let mut unit = Unit::new(release, "h1").beside("h0", &[]);
    let cloud = &mut unit.world.cloud;
    let token = cloud.add("h0", "h1", None, 100).unwrap();
    let mut unit = unit.distributor("P/0", &[UP, ("mirror-h1", &token)]);
    unit.world.refuse.insert("cluster join");
    assert_eq!(unit.run(CHANGED), 0);
    assert!(!unit.state.in_cluster);
    let cloud = &mut unit.world.cloud;
    cloud.join("h1", &token, 100).unwrap();
    unit.world.refuse.clear();
    unit.world.now = 120;
    unit.commands();
    unit.statuses();
    unit
}

#[test]
fn a_member_that_was_told_of_failure_never_learns_it_in_0_8_and_at_once_where_the_list_decides() {
    for (release, learns) in [(Newest, false), (Released, true)] {
        let mut unit = told_of_failure(release);
        for hook in ["config-changed", CHANGED, "leader-elected"] {
            assert_eq!(unit.run(hook), 0, "{release}: {hook}");
            assert_eq!(unit.state.in_cluster, learns, "{release}: {hook}");
        }
        let tries = unit.commands().len();
        assert_eq!(tries, if learns { 1 } else { 3 }, "{release}");
        let blocked = "blocked Joining cluster failed".to_owned();
        let last = unit.statuses().pop();
        assert_eq!(last == Some(blocked), !learns, "{release}");
    }
}

#[test]
fn where_the_list_decides_a_host_whose_daemon_is_about_to_empty_itself_counts_as_joined() {
    let fails = |seed: u64| {
        let mut unit = Unit::new(Released, "h1");
        unit.world.cloud = Cloud::new(Settings::default(), seed);
        let mut unit = unit.beside("h0", &[]);
        let cloud = &mut unit.world.cloud;
        let tokens = ["h1", "h2"].map(|name| cloud.add("h0", name, None, 100).unwrap());
        for (name, token) in ["h1", "h2"].iter().zip(&tokens) {
            let now = Duration::from_secs(100);
            cloud.begin_join(name, token, now).unwrap();
        }
        let failed = cloud.end_join("h1", Duration::from_secs(102)).is_err();
        (failed && !cloud.is_half_joined("h1")).then_some(unit)
    };
    let unit = (0..500).find_map(fails).expect("some seed fails so");
    let mut unit = unit.distributor("P/0", &[UP, ("mirror-h1", "spent")]);
    unit.world.now = 103;
    assert_eq!(unit.run(CHANGED), 0);
    assert!(unit.state.in_cluster, "the list succeeded");
    assert!(!unit.world.cloud.is_member("h1"));
    assert!(unit.world.cloud.list("h1", 110).is_err());
}

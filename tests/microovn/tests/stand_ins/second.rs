//! What the test vectors do not say of the second protocol's consumer, whose rules are in
//! `vectors.rs`, and what stories do not say of the others.

use std::time::Duration;

use crate::support::{RELATION, Unit};
use microovn::consumer::Release::{Released, Second};
use microovn::consumer::{Census, RelationEvent, RelationEventKind};
use microovn::microcluster::{Cloud, Settings};

type Bag<'a> = &'a [(&'a str, &'a str)];

const CHANGED: &str = "cluster-relation-changed";
const UP: (&str, &str) = ("mirror", "up");
const DOWN: (&str, &str) = ("mirror", "down");
const SPEAKS_2: (&str, &str) = ("protocol", "2");
const EVENTS: [&str; 8] = [
    "cluster-relation-created",
    "cluster-relation-joined",
    CHANGED,
    "leader-elected",
    "config-changed",
    "start",
    "update-status",
    "upgrade-charm",
];

fn unit(machine: &str) -> Unit {
    Unit::new(Second, machine)
}

/// Time passes until every member has its role.
fn heartbeat(unit: &mut Unit) {
    unit.world.now += 100;
    unit.world.cloud.advance(unit.world.now);
}

/// Its own bag, beside what every member announces.
fn member_bag<'a>(machine: &'a str, beside: Bag<'a>) -> Vec<(&'a str, &'a str)> {
    let announced = [("hostname", machine), SPEAKS_2, ("member", machine)];
    announced
        .into_iter()
        .chain(beside.iter().copied())
        .collect()
}

#[test]
fn every_event_is_the_same_pass() {
    for event in EVENTS {
        let mut unit = unit("h0")
            .leader()
            .distributor("P/0", &[UP, ("mirror-h1", "empty")])
            .app_bag(&[SPEAKS_2, ("may-bootstrap", "true")]);
        assert_eq!(unit.run(event), 0, "{event}");
        assert_eq!(
            unit.commands(),
            ["cluster bootstrap", "cluster add h1"],
            "{event}"
        );
        let token = unit.world.own["mirror-h1"].clone();
        unit.own_is(&member_bag("h0", &[UP, ("mirror-h1", &token)]), event);
        assert!(unit.state.deferred.is_empty(), "{event}");
        assert_eq!(unit.world.writes, 1, "{event}: one write");

        for again in EVENTS {
            assert_eq!(unit.run(again), 0, "{event}, then {again}");
        }
        assert_eq!(unit.commands(), [""; 0], "{event}: nothing is left to do");
        assert_eq!(unit.world.writes, 1, "{event}: nothing is written twice");
    }
}

#[test]
fn departed_and_broken_and_unknown_events_only_stop() {
    for event in ["cluster-relation-departed", "stop", "secret-changed"] {
        let unclustered = unit("h0").leader();
        let member = unit("h0").member("h0", &[]);
        for mut unit in [unclustered, member] {
            unit = unit
                .distributor("P/0", &[UP, ("mirror-h1", "empty")])
                .app_bag(&[("may-bootstrap", "true")]);
            assert_eq!(unit.run(event), 0, "{event}");
            assert_eq!(unit.commands(), [""; 0], "{event}");
            assert_eq!(unit.world.writes, 0, "{event}");
        }
    }
}

#[test]
fn without_a_relation_nothing_happens() {
    for event in EVENTS {
        let mut unit = unit("h0").leader();
        unit.world.gone = true;
        assert_eq!(unit.run(event), 0, "{event}");
        assert_eq!(unit.commands(), [""; 0], "{event}");
    }
}

#[test]
fn what_an_earlier_revision_deferred_is_dropped() {
    let mut unit = unit("h0");
    unit.state.deferred.push(RelationEvent {
        kind: RelationEventKind::Joined,
        relation: RELATION.to_owned(),
        app: Some("P".to_owned()),
        unit: Some("P/0".to_owned()),
    });
    assert_eq!(unit.run("upgrade-charm"), 0);
    assert!(unit.state.deferred.is_empty());
}

#[test]
fn nothing_in_a_foreign_bag_makes_it_fail() {
    let rubbish: &[Bag<'_>] = &[
        &[UP, ("mirror-", "empty"), ("mirror-_x", "empty")],
        &[UP, ("mirror-1", "empty"), ("mirror-a..b", "empty")],
        &[UP, ("mirror-h0", "\u{0}\u{1f600}"), ("spent-h0", "   , ;")],
        &[("mirror", "sideways"), ("mirror-h0", "token")],
        &[
            UP,
            ("mirror-h1", "member"),
            ("spent-", "x"),
            ("member", "h7"),
        ],
    ];
    for bag in rubbish {
        for mut unit in [
            unit("h0").leader(),
            unit("h0").member("h0", &[]),
            unit("h0").member("h0", &[]).own(&[DOWN]),
        ] {
            unit = unit
                .distributor("P/0", bag)
                .app_bag(&[("protocol", "two"), ("may-bootstrap", "perhaps")]);
            assert_eq!(unit.run(CHANGED), 0, "{bag:?}");
            let minted = unit
                .commands()
                .into_iter()
                .any(|command| command.contains("add"));
            assert!(!minted, "{bag:?}: no valid host name");
        }
    }
}

#[test]
fn rule_4_it_waits_for_no_heartbeat() {
    let mut unit = unit("h0").member("h0", &["h1"]);
    let token = unit.world.cloud.add("h0", "h2", None, 100).unwrap();
    unit.world.cloud.join("h2", &token, 100).unwrap();
    unit = unit.distributor("P/0", &[UP, ("mirror-h3", "empty")]);
    assert_eq!(unit.run(CHANGED), 0);
    assert_eq!(unit.world.now, 100, "another's state delays nothing");
    assert!(unit.world.own.contains_key("mirror-h3"));

    let mut new = Unit::new(Second, "h0")
        .leader()
        .distributor("P/0", &[UP, ("mirror-h1", "empty")])
        .app_bag(&[("may-bootstrap", "true")]);
    assert_eq!(new.run(CHANGED), 0);
    assert_eq!(new.world.now, 0, "nor does its own");
    assert!(new.world.own.contains_key("mirror-h1"));
}

#[test]
fn rule_8_no_token_is_said() {
    let mut unit = unit("h0")
        .member("h0", &[])
        .distributor("P/0", &[UP, ("mirror-h1", "empty")]);
    assert_eq!(unit.run(CHANGED), 0);
    let minted = unit.world.own["mirror-h1"].clone();
    let mut joiner = Unit::new(Second, "h1").distributor("P/0", &[UP, ("mirror-h1", &minted)]);
    for _ in 0..3 {
        assert_eq!(joiner.run("update-status"), 0);
    }
    for unit in [&mut unit, &mut joiner] {
        let mut said = unit.world.log.clone();
        said.extend(unit.statuses());
        assert!(!said.is_empty());
        assert!(said.iter().all(|line| !line.contains(&minted)), "{said:?}");
    }
}

#[test]
fn a_pass_that_juju_drops_is_made_up_for_by_the_next() {
    // What the command did is done; what the hook wrote and noted is lost.
    let bootstrapped = unit("h0")
        .leader()
        .distributor("P/0", &[UP, ("mirror-h1", "empty")])
        .app_bag(&[("may-bootstrap", "true")]);
    let mut joined = unit("h1").beside("h0", &[]);
    let token = joined.world.cloud.add("h0", "h1", None, 100).unwrap();
    let joined = joined.distributor("P/0", &[UP, ("mirror-h1", &token)]);
    for mut unit in [bootstrapped, joined] {
        let (own, state) = (unit.world.own.clone(), unit.state.clone());
        assert_eq!(unit.run(CHANGED), 0);
        (unit.world.own, unit.state) = (own, state);
        unit.commands();
        heartbeat(&mut unit);
        assert_eq!(unit.run(CHANGED), 0);
        assert!(unit.state.in_cluster);
        assert_eq!(unit.world.own["member"], unit.world.own["hostname"]);
        let again = unit.commands();
        assert!(
            again
                .iter()
                .all(|command| command.starts_with("cluster add")),
            "{again:?}"
        );
    }
}

#[test]
fn a_relation_that_juju_refuses_costs_no_other_one_anything() {
    for words in [
        "permission denied",
        "permission denied (unauthorized access)",
        "relation 0 not found",
        "relation unit not found",
        "relation not found",
    ] {
        for call in [
            "relation-list cluster:0",
            "relation-get cluster:0 - P/0",
            "relation-get cluster:0 - C/0",
            "relation-get cluster:0 --app - P",
            "relation-set cluster:0",
            "",
        ] {
            for event in EVENTS {
                let mut unit = unit("h1").beside("h0", &[]);
                let token = unit.world.cloud.add("h0", "h1", None, 100).unwrap();
                unit = unit.distributor("P/0", &[UP, ("mirror-h1", &token)]);
                unit.world.dangling = Some((call, words));
                assert_eq!(unit.run(event), 0, "{words}, {call}, {event}");
                unit.own_is(&member_bag("h1", &[]), words);
                let is_passed_over = unit
                    .world
                    .log
                    .iter()
                    .any(|line| line.contains("refused for"));
                // Where reading finds no relation, its bags count as empty.
                let reads_nothing = words == "relation not found" && !call.contains("set");
                assert!(is_passed_over || reads_nothing, "{words}, {call}, {event}");
            }
        }
    }
}

#[test]
fn a_unit_that_is_removed_has_left_when_its_list_fails() {
    for (refuse, complains) in [
        (&["cluster remove"][..], true),
        (&["cluster remove", "cluster list"], false),
    ] {
        let mut unit = unit("h1").member("h0", &["h1"]);
        unit.world.refuse.extend(refuse);
        assert_eq!(unit.run("remove"), 0);
        assert_eq!(unit.commands(), ["cluster remove h1"]);
        assert_eq!(!unit.world.log.is_empty(), complains, "{refuse:?}");
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

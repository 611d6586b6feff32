//! When a hook looks at everything: each reason with what makes it speak, and the nearest case in which
//! it stays silent. Goal-state is as Juju prints it.

use std::collections::{BTreeMap, BTreeSet};

use crate::support::{Pairs, bag, leader, ledger, unit, world};
use microcluster_token_distributor::core::evidence::{Evidence, Scope};
use microcluster_token_distributor::core::goal::GoalState;
use microcluster_token_distributor::core::ledger::Options;
use microcluster_token_distributor::core::names::{RelationId, UnitName};
use microcluster_token_distributor::core::operator::{Order, Refused};
use microcluster_token_distributor::core::reasons::{REASONS, UNHEARD_UNITS, next_unheard};
use microcluster_token_distributor::core::turn::{Facts, Occasion, PAUSE, Turn, turn};
use serde_json::json;

const ID: RelationId = RelationId(1);

/// A ledger of this unit, with one relation and one host.
const SETTLED: Pairs<'_> = &[
    ("bootstrap-app", "a"),
    ("host-h", "a/0"),
    ("leader", "d/0 1"),
    ("mirror-h", "empty"),
    ("relation-1", "a"),
];

fn heard() -> Occasion {
    Occasion::Heard(ID, unit("a/0"))
}

fn departed() -> Occasion {
    Occasion::Departed(ID, unit("a/0"))
}

/// Goal-state with these units of application `a`, this unit among ours.
fn goal(units: &[&str]) -> GoalState {
    let active = json!({"status": "active", "since": "2026-11-29 12:00:00Z"});
    let mut related: BTreeMap<&str, _> = units.iter().map(|unit| (*unit, &active)).collect();
    related.insert("a", &active);
    let all = json!({"units": {"d/0": active}, "relations": {"microcluster-cluster": related}});
    serde_json::from_value(all).expect("as Juju prints it")
}

/// What a leader knows that has looked at all but everything.
fn known(says: Pairs<'_>) -> Evidence {
    Evidence {
        leads: Some(true),
        goal: Some(Some(goal(&["a/0"]))),
        options: Some(Options::default()),
        bags: BTreeMap::from([((ID, unit("a/0")), Some(bag(says)))]),
        newcomers: Some(Vec::new()),
        joined: Some(BTreeMap::new()),
        served: Some(BTreeSet::new()),
        ..Evidence::default()
    }
}

fn decided(pairs: Pairs<'_>, occasion: &Occasion, evidence: &Evidence) -> Turn {
    // A later pair of a key replaces an earlier one, and an empty value removes it.
    let mut held = bag(&[SETTLED, pairs].concat());
    held.retain(|_, value| !value.is_empty());
    turn(&Facts {
        ledger: &held.into(),
        unit: &leader(),
        occasion,
        evidence,
    })
}

/// The reason to look at everything, if one speaks.
fn reason(pairs: Pairs<'_>, occasion: &Occasion, evidence: &Evidence) -> Option<&'static str> {
    match decided(pairs, occasion, evidence) {
        Turn::Look(Scope::Everything(reason)) => Some(reason),
        Turn::Look(Scope::NewRelation(_)) | Turn::Nothing | Turn::Write(_) => None,
        other => panic!("{other:?}"),
    }
}

#[test]
fn each_reason_speaks_where_it_must_and_is_silent_beside_it() {
    let quiet = || known(&[("hostname", "h")]);
    let update = Occasion::UpdateStatus;
    let nobody_waits = ("mirror-h", "member");
    let member = ("host-h", "a/0*");
    let refused = "72ad2699";
    let mut tried = BTreeSet::new();
    for (name, occasion, speaks, evidence, silent, beside) in [
        (
            "anything may have changed",
            Occasion::Anything,
            &[][..],
            quiet(),
            &[][..],
            None,
        ),
        (
            "this unit did not publish last",
            heard(),
            &[("leader", "d/1 2")],
            known(&[("hostname", "i")]),
            &[("leader", "d/0 3")],
            None,
        ),
        (
            "another unit published last",
            Occasion::Created(ID),
            &[("leader", "d/1 2")],
            quiet(),
            &[("leader", "")],
            None,
        ),
        (
            "the relation may not show the ledger",
            heard(),
            &[("relation-1", "a -")],
            quiet(),
            &[],
            None,
        ),
        (
            "no application is chosen",
            heard(),
            &[("bootstrap-app", "")],
            quiet(),
            &[],
            None,
        ),
        (
            "hosts wait for a token",
            update.clone(),
            &[],
            quiet(),
            &[nobody_waits, member],
            None,
        ),
        (
            "a key had no room",
            heard(),
            &[("left-out", "mirror-x")],
            known(&[("hostname", "i")]),
            &[],
            None,
        ),
        (
            "a bag that will not change again may hold a token",
            heard(),
            &[("mirror-h", "foobar")],
            known(&[("hostname", "h"), ("refused", refused)]),
            &[("mirror-h", "another")],
            None,
        ),
        (
            "the choice may have rested on the unit that left",
            departed(),
            &[],
            quiet(),
            &[("host-i", "a/1*"), ("mirror-i", "member")],
            None,
        ),
        (
            "Juju says now where the application is",
            heard(),
            &[("other-models", "a?")],
            quiet(),
            &[("other-models", "a?")],
            Some(Evidence {
                goal: Some(Some(goal(&[]))),
                ..quiet()
            }),
        ),
        (
            "another application would be chosen",
            Occasion::Created(ID),
            &[("bootstrap-app", "b")],
            Evidence {
                world: Some({
                    let mut seen = world().relation(1, "a").expects(&["a/0"]).0;
                    seen.units_were_read = false;
                    seen
                }),
                ..quiet()
            },
            &[],
            None,
        ),
        (
            "the options are others",
            update.clone(),
            &[nobody_waits, member, ("option-log-level", "debug")],
            quiet(),
            &[nobody_waits, member],
            None,
        ),
        (
            "a relation is yet to be read",
            update.clone(),
            &[nobody_waits, member, ("relation-2", "b ?")],
            quiet(),
            &[nobody_waits, member, ("relation-2", "b")],
            None,
        ),
        (
            "Juju serves a relation again",
            update.clone(),
            &[nobody_waits, member, ("relation-2", "b -")],
            Evidence {
                served: Some(BTreeSet::from([RelationId(2)])),
                ..quiet()
            },
            &[nobody_waits, member, ("relation-2", "b -")],
            Some(quiet()),
        ),
        (
            "a unit left or spoke in a hook that never ran",
            update,
            &[nobody_waits, member, ("host-i", "a/1")],
            quiet(),
            &[nobody_waits, member],
            None,
        ),
    ] {
        assert_eq!(reason(speaks, &occasion, &evidence), Some(name));
        if name != "anything may have changed" {
            let beside = beside.as_ref().unwrap_or(&evidence);
            assert_eq!(reason(silent, &occasion, beside), None, "beside: {name}");
        }
        tried.insert(name);
    }
    let all: BTreeSet<&str> = REASONS.iter().map(|reason| reason.name).collect();
    assert_eq!(tried, all);
}

#[test]
fn a_unit_that_no_hook_has_heard_is_found_by_update_status() {
    let joined = [("mirror-h", "member"), ("host-h", "a/0*")];
    let mut evidence = known(&[]);
    evidence.goal = Some(Some(goal(&["a/0", "a/1"])));
    let unheard = unit("a/1");
    let asked = Turn::Look(Scope::Units(vec![(ID, unheard.clone())]));
    assert_eq!(decided(&joined, &Occasion::UpdateStatus, &evidence), asked);
    for (says, finds) in [(&[][..], false), (&[("hostname", "i")], true)] {
        evidence.bags.insert((ID, unheard.clone()), Some(bag(says)));
        let found = reason(&joined, &Occasion::UpdateStatus, &evidence);
        assert_eq!(found.is_some(), finds, "{says:?}");
    }
}

#[test]
fn update_status_reads_eight_unheard_units_and_comes_round_to_all() {
    let names: Vec<String> = (0..20).map(|number| format!("a/{number}")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let expected = goal(&names);
    let before = ledger(SETTLED);
    let mut read: BTreeSet<UnitName> = BTreeSet::new();
    for round in 0..3 {
        let units = next_unheard(&before, Some(&expected), &BTreeMap::new(), round * 300);
        assert_eq!(units.len(), 8);
        assert_eq!(units.len(), UNHEARD_UNITS);
        read.extend(units.into_iter().map(|(_, unit)| unit));
    }
    // The one that has announced a host is not asked again.
    assert_eq!(read.len(), 19);
    assert!(!read.contains(&unit("a/0")));
    // Unless it was taken for gone: then it may be there all the same.
    let taken_for_gone = ledger(&[SETTLED, &[("host-h", "a/0-")]].concat());
    let units = next_unheard(&taken_for_gone, Some(&goal(&["a/0"])), &BTreeMap::new(), 0);
    assert_eq!(units, [(ID, unit("a/0"))]);
}

#[test]
fn leadership_is_asked_only_where_there_is_something_to_write() {
    let mut evidence = known(&[("hostname", "h")]);
    evidence.leads = None;
    assert_eq!(decided(&[], &heard(), &evidence), Turn::Nothing);
    let news = Evidence {
        bags: known(&[("hostname", "h"), ("mirror", "up")]).bags,
        ..evidence.clone()
    };
    let asks = Turn::Look(Scope::Leadership);
    assert_eq!(decided(&[], &heard(), &news), asks);
    let leads = |leads| Evidence {
        leads: Some(leads),
        ..news.clone()
    };
    assert!(matches!(
        decided(&[], &heard(), &leads(true)),
        Turn::Write(_)
    ));
    assert_eq!(decided(&[], &heard(), &leads(false)), Turn::Nothing);
    let order = Occasion::Order(Order::Resync);
    let refused = Turn::Refuse(Refused::NotLeader("resync", "d".to_owned()));
    assert_eq!(decided(&[], &order, &leads(false)), refused);
}

#[test]
fn a_relation_that_is_broken_tells_nothing_to_a_unit_that_may_be_leaving() {
    let broken = Occasion::Broken(ID);
    let with = |goal| Evidence {
        goal: Some(goal),
        ..known(&[])
    };
    let stays = with(Some(goal(&["a/0"])));
    let name = "anything may have changed";
    assert_eq!(reason(&[], &broken, &stays), Some(name));
    assert_eq!(decided(&[], &broken, &with(None)), Turn::Nothing);
    let not_listed = with(Some(GoalState::default()));
    assert_eq!(decided(&[], &broken, &not_listed), Turn::Nothing);
}

#[test]
fn the_leaders_own_echo_waits_while_hosts_do_and_writes_a_tick_in_the_end() {
    let queued = [
        ("host-i", "a/1"),
        ("mirror-h", "T"),
        ("mirror-i", "U"),
        ("let-in", "h 1000"),
        ("queue", "i"),
    ];
    let echo = Occasion::LedgerWritten(RelationId(0));
    let mut evidence = known(&[]);
    evidence.goal = Some(None);
    assert_eq!(decided(&[], &echo, &evidence), Turn::Nothing);
    evidence.now = 1000;
    for pauses in 0..2 {
        evidence.pauses = pauses;
        assert_eq!(decided(&queued, &echo, &evidence), Turn::Wait(PAUSE));
    }
    evidence.pauses = 2;
    let Turn::Write(plan) = decided(&queued, &echo, &evidence) else {
        panic!("it writes a tick");
    };
    assert_eq!(plan.ledger.to_databag()["let-in"], "h 1000 1");
    evidence.now = 1060;
    let Turn::Write(plan) = decided(&queued, &echo, &evidence) else {
        panic!("it lets the next in");
    };
    assert_eq!(plan.ledger.to_databag()["let-in"], "i 1060");
}

//! Which operation comes next: the contract's sections 4.3, 4.4 and 4.6.

use std::collections::BTreeSet;

use crate::support::{BOTH, DB, Rig, stdout};
use juju_emulator::JujuGeneration::{Four, Three};
use juju_emulator::agent::Hook;
use juju_emulator::world::Begun;
use juju_emulator::{RelationId, ToolOutput, UnitName};

const SEEDS: std::ops::Range<u64> = 0..40;

fn at(hooks: &[&str], name: &str) -> usize {
    let found = hooks.iter().position(|hook| *hook == name);
    found.unwrap_or_else(|| panic!("{name} not in {hooks:?}"))
}

#[test]
fn the_first_start_has_one_order() {
    for generation in BOTH {
        let mut firsts = BTreeSet::new();
        for seed in SEEDS {
            let mut rig = Rig::fresh(generation, seed, 1, 1);
            rig.world.integrate("p:db", "r:db").unwrap();
            rig.settle();
            let hooks = rig.world.hooks_of("p/0");
            firsts.insert(hooks[1].to_owned());
            let mut created = [hooks[1], hooks[2]];
            created.sort_unstable();
            assert_eq!(hooks[0], "install", "{hooks:?}");
            assert_eq!(created, ["db-relation-created", "friends-relation-created"]);
            assert_eq!(
                hooks[3..],
                [
                    "leader-elected",
                    "config-changed",
                    "start",
                    "db-relation-joined",
                    "db-relation-changed"
                ]
            );
        }
        assert_eq!(firsts.len(), 2, "relation-created has no order: {firsts:?}");
    }
}

#[test]
fn joined_is_followed_by_changed_of_the_same_unit_within_its_relation() {
    for seed in SEEDS {
        let mut rig = Rig::fresh(Four, seed, 3, 4);
        rig.world.integrate("p:db", "r:db").unwrap();
        rig.settle();
        let runs: Vec<_> = rig
            .world
            .runs()
            .iter()
            .filter(|run| run.unit.as_str() == "p/1" && run.relation == Some(DB))
            .collect();
        let joined: Vec<&str> = runs
            .iter()
            .filter(|run| run.hook.ends_with("joined"))
            .filter_map(|run| run.remote_unit.as_deref())
            .collect();
        let mut everybody = joined.clone();
        everybody.sort_unstable();
        assert_eq!(everybody, ["r/0", "r/1", "r/2", "r/3"]);
        for pair in runs
            .windows(2)
            .filter(|pair| pair[0].hook.ends_with("joined"))
        {
            assert_eq!(pair[1].hook, "db-relation-changed");
            assert_eq!(pair[1].remote_unit, pair[0].remote_unit);
        }
    }
}

#[test]
fn an_application_bag_comes_before_the_first_unit() {
    let mut rig = Rig::settled(Four, 1, 1);
    rig.write("r/0", DB, "--app name=value");
    rig.settle();
    rig.world.add_unit("p").unwrap();
    rig.settle();
    let runs: Vec<(&str, Option<&str>)> = rig
        .world
        .runs()
        .iter()
        .filter(|run| run.unit.as_str() == "p/1" && run.relation == Some(DB))
        .map(|run| (run.hook.as_str(), run.remote_unit.as_deref()))
        .collect();
    assert_eq!(
        runs,
        [
            ("db-relation-created", None),
            ("db-relation-changed", None),
            ("db-relation-joined", Some("r/0")),
            ("db-relation-changed", Some("r/0")),
        ]
    );
}

#[test]
fn departed_comes_before_application_news_and_those_before_joined() {
    let mut rig = Rig::settled(Four, 1, 2);
    rig.write("r/0", DB, "--app name=value");
    rig.write("r/0", DB, "unit=news");
    rig.world.lose_unit("r/1").unwrap();
    let newcomer = rig.world.add_unit("r").unwrap();
    // Only the newcomer acts until it has entered the scope.
    while !rig.world.model().relations[&DB].sides[1]
        .members
        .contains_key(&newcomer)
    {
        let begun = rig.world.begin(&newcomer);
        match begun {
            Begun::Open(open) => rig.world.finish(*open),
            Begun::Internal => {}
            Begun::Nothing => panic!("the newcomer never enters"),
        }
    }
    rig.world.clear_history();
    rig.settle();
    let runs: Vec<(&str, Option<&str>)> = rig
        .world
        .runs()
        .iter()
        .filter(|run| run.unit.as_str() == "p/0")
        .map(|run| (run.hook.as_str(), run.remote_unit.as_deref()))
        .collect();
    assert_eq!(
        runs,
        [
            ("db-relation-departed", Some("r/1")),
            ("db-relation-changed", None),
            ("db-relation-joined", Some("r/2")),
            ("db-relation-changed", Some("r/2")),
            ("db-relation-changed", Some("r/0")),
        ]
    );
}

#[test]
fn a_unit_can_be_joined_before_it_has_seen_the_relation() {
    let early = SEEDS.filter(|seed| {
        let mut rig = Rig::fresh(Four, *seed, 1, 1);
        rig.world.integrate("p:db", "r:db").unwrap();
        rig.settle();
        let at = |unit: &str, hook: &str| {
            let runs = rig.world.runs();
            let found =
                |run: &&juju_emulator::HookRun| run.unit.as_str() == unit && run.hook == hook;
            runs.iter().position(|run| found(&run)).unwrap()
        };
        at("p/0", "db-relation-joined") < at("r/0", "db-relation-created")
    });
    // p has to get from its own created to joined while r does nothing: rare, but it happens.
    assert!(early.count() > 0);
}

#[test]
fn update_status_runs_only_when_nothing_else_is_due() {
    let mut rig = Rig::settled(Three, 1, 1);
    rig.world.fire_update_status("p/0").unwrap();
    rig.settle();
    assert_eq!(rig.world.hooks_of("p/0"), ["update-status"]);
    rig.world.clear_history();
    rig.world.fire_update_status("p/0").unwrap();
    rig.world.set_config("p", &[("name", "x")]).unwrap();
    rig.settle();
    assert_eq!(
        rig.world.hooks_of("p/0"),
        ["config-changed"],
        "the tick is swallowed"
    );
}

#[test]
fn configuration_comes_before_news_of_relations() {
    let mut rig = Rig::settled(Three, 1, 1);
    rig.world.set_config("p", &[("name", "x")]).unwrap();
    rig.write("r/0", DB, "a=b");
    rig.world.clear_history();
    rig.settle();
    assert_eq!(
        rig.world.hooks_of("p/0"),
        ["config-changed", "db-relation-changed"]
    );
    rig.world.clear_history();
    rig.world.set_config("p", &[("name", "x")]).unwrap();
    assert_eq!(rig.settle(), 0, "the same value again is no change");
}

#[test]
fn a_new_leader_runs_leader_elected_before_anything_of_its_relations() {
    let mut rig = Rig::settled(Four, 2, 1);
    rig.write("r/0", DB, "a=b");
    rig.world.clear_history();
    rig.world.lose_leadership("p").unwrap();
    rig.settle();
    assert_eq!(
        rig.world.hooks_of("p/1"),
        ["leader-elected", "db-relation-changed"]
    );
    assert_eq!(
        rig.world.hooks_of("p/0"),
        ["db-relation-changed"],
        "nothing runs on losing"
    );
    assert!(rig.world.status()[1].leader);
}

#[test]
fn a_dying_unit_parts_stops_and_is_removed() {
    for generation in BOTH {
        let mut rig = Rig::settled(generation, 2, 2);
        rig.world.remove_unit("p/1").unwrap();
        rig.settle();
        let hooks = rig.world.hooks_of("p/1");
        let last = hooks.len() - 2;
        assert_eq!(hooks[last..], ["stop", "remove"]);
        let mut relations = hooks[..last].to_vec();
        relations.sort_unstable();
        assert_eq!(
            relations,
            [
                "db-relation-broken",
                "db-relation-departed",
                "db-relation-departed",
                "friends-relation-departed",
            ],
            "{generation:?}: no broken for peers"
        );
        let broken = at(&hooks, "db-relation-broken");
        assert!(at(&hooks, "db-relation-departed") < broken);
        assert_eq!(rig.world.hooks_of("r/0"), ["db-relation-departed"]);
        let told: &[&str] = match generation {
            Three => &["friends-relation-departed"],
            Four => &[],
        };
        assert_eq!(rig.world.hooks_of("p/0"), told);
        assert!(rig.world.model().unit("p/1").is_err());
    }
}

#[test]
fn the_departing_unit_is_named() {
    let mut rig = Rig::settled(Three, 2, 1);
    let told = std::rc::Rc::new(std::cell::RefCell::new(Vec::new()));
    let kept = std::rc::Rc::clone(&told);
    rig.charms(move |unit, environment, _| {
        if let Some(departing) = environment.get("JUJU_DEPARTING_UNIT") {
            let remote = environment["JUJU_REMOTE_UNIT"].clone();
            kept.borrow_mut()
                .push((unit.to_string(), remote, departing.clone()));
        }
        0
    });
    rig.world.remove_unit("p/1").unwrap();
    rig.settle();
    told.borrow_mut().sort();
    let row = |unit: &str, remote: &str, departing: &str| {
        (unit.to_owned(), remote.to_owned(), departing.to_owned())
    };
    assert_eq!(
        *told.borrow(),
        [
            row("p/0", "p/1", "p/1"),
            row("p/1", "p/0", "p/1"),
            row("p/1", "r/0", "p/1"),
            row("r/0", "p/1", "p/1"),
        ]
    );
}

#[test]
fn juju_3_says_a_unit_departed_as_soon_as_it_dies_and_juju_4_once_it_left() {
    for (generation, hooks) in [(Three, &["db-relation-departed"][..]), (Four, &[])] {
        let mut rig = Rig::settled(generation, 1, 2);
        rig.world.remove_unit("r/1").unwrap();
        let provider = UnitName::new("p", 0);
        while let Begun::Open(open) = rig.world.begin(&provider) {
            rig.world.finish(*open);
        }
        assert_eq!(rig.world.hooks_of("p/0"), hooks);
    }
}

#[test]
fn a_removed_relation_parts_and_breaks_on_both_sides_and_is_gone() {
    for generation in BOTH {
        let mut rig = Rig::settled(generation, 1, 2);
        rig.write("p/0", DB, "--app a=b");
        rig.settle();
        rig.world.clear_history();
        rig.world.remove_relation(DB).unwrap();
        rig.settle();
        let departed = "db-relation-departed";
        assert_eq!(
            rig.world.hooks_of("p/0"),
            [departed, departed, "db-relation-broken"]
        );
        assert_eq!(rig.world.hooks_of("r/1"), [departed, "db-relation-broken"]);
        assert!(rig.world.model().relation(DB).is_err());
        assert!(rig.world.app_bag(DB, "p").is_empty());
        assert_eq!(rig.world.integrate("p:db", "r:db").unwrap(), RelationId(2));
    }
}

#[test]
fn a_relation_removed_with_force_runs_no_hook_and_is_listed_until_the_agent_restarts() {
    for generation in BOTH {
        for (forgets, restarts, listed) in [
            (false, false, true),
            (false, true, false),
            (true, false, false),
        ] {
            let mut rig = Rig::settled(generation, 1, 1);
            rig.world.model_mut().quirks.forgets_gone_relations = forgets;
            rig.world.model_mut().force_remove_relation(DB).unwrap();
            if restarts {
                rig.world.restart_agent("p/0").unwrap();
            }
            rig.settle();
            assert_eq!(rig.world.hooks_of("p/0"), [""; 0]);
            let ids = stdout(&rig.ask("p/0", "relation-ids db"));
            assert_eq!(ids, if listed { "db:1\n" } else { "" });
            let members = rig.ask("p/0", "relation-list -r 1");
            let app = rig.ask("p/0", "relation-list --app -r 1");
            let bag = rig.ask("p/0", "relation-get -r 1 --app - r");
            if listed {
                let words = match generation {
                    Three => "permission denied",
                    Four => "relation not found",
                };
                assert_eq!(stdout(&members), "r/0\n");
                assert_eq!(stdout(&app), "r\n");
                assert_eq!(bag, ToolOutput::error(1, words));
            } else {
                assert_eq!([members.code, app.code, bag.code], [2, 2, 2]);
            }
        }
    }
}

#[test]
fn a_suspended_relation_breaks_and_begins_anew_with_the_application_bag_kept() {
    for generation in BOTH {
        let mut rig = Rig::settled(generation, 1, 1);
        rig.write("p/0", DB, "--app a=b");
        rig.write("p/0", DB, "c=d");
        rig.settle();
        rig.world.clear_history();
        rig.world.suspend_relation(DB).unwrap();
        rig.settle();
        let end = ["db-relation-departed", "db-relation-broken"];
        assert_eq!(rig.world.hooks_of("p/0"), end);
        rig.world.clear_history();
        rig.world.resume_relation(DB).unwrap();
        rig.settle();
        let mut begin = vec![
            "db-relation-created",
            "db-relation-joined",
            "db-relation-changed",
        ];
        assert_eq!(rig.world.hooks_of("p/0"), begin);
        begin.insert(1, "db-relation-changed");
        assert_eq!(
            rig.world.hooks_of("r/0"),
            begin,
            "the application bag is news again"
        );
        assert_eq!(rig.world.app_bag(DB, "p")["a"], "b");
        assert!(!rig.world.unit_bag(DB, "p/0").contains_key("c"));
    }
}

#[test]
fn a_relation_that_is_over_is_listed_unless_the_agent_knows_it_and_has_no_members_left() {
    for (suspend, restart, expected) in [
        (true, false, ""),
        (true, true, ""),
        (false, false, "db:1\n"),
        (false, true, ""),
    ] {
        let mut rig = Rig::settled(Four, 1, 1);
        if suspend {
            rig.world.suspend_relation(DB).unwrap();
        } else {
            rig.world.remove_relation(DB).unwrap();
        }
        if restart {
            rig.world.restart_agent("p/0").unwrap();
        }
        let listed = stdout(&rig.ask("p/0", "relation-ids db"));
        assert_eq!(listed, "db:1\n", "it has a member");
        rig.charms(|unit, environment, _| {
            let breaks = environment["JUJU_HOOK_NAME"] == "db-relation-broken";
            i32::from(breaks && unit.as_str() == "p/0")
        });
        while rig.world.agent("p/0").unwrap().failed.is_none() {
            assert!(rig.world.step(), "relation-broken never runs");
        }
        // In whatever hook comes next, its own broken or another.
        let broken = rig.world.agent("p/0").unwrap().failed.clone().unwrap().hook;
        for hook in [Hook::UpdateStatus, broken] {
            let listed = stdout(&rig.ask_in("p/0", hook, "relation-ids db"));
            assert_eq!(listed, expected, "suspend: {suspend}, restart: {restart}");
        }
        let peers = stdout(&rig.ask("p/0", "relation-ids friends"));
        assert_eq!(
            peers, "friends:0\n",
            "it has no members and is there all the same"
        );
    }
}

#[test]
fn after_a_restart_the_agent_does_not_know_whom_a_broken_relation_was_with() {
    for (restart, expected) in [(false, "r"), (true, "")] {
        let mut rig = Rig::settled(Four, 1, 1);
        let seen = std::rc::Rc::new(std::cell::RefCell::new(None));
        let kept = std::rc::Rc::clone(&seen);
        rig.charms(move |unit, environment, _| {
            if unit.as_str() == "p/0" && environment["JUJU_HOOK_NAME"] == "db-relation-broken" {
                *kept.borrow_mut() = environment.get("JUJU_REMOTE_APP").cloned();
            }
            0
        });
        if restart {
            rig.world.restart_agent("p/0").unwrap();
        }
        rig.world.remove_relation(DB).unwrap();
        rig.settle();
        assert_eq!(seen.borrow().as_deref(), Some(expected));
    }
}

#[test]
fn after_a_restart_a_dying_unit_breaks_even_its_peer_relation() {
    let mut rig = Rig::settled(Four, 2, 0);
    rig.world.restart_agent("p/1").unwrap();
    rig.world.remove_unit("p/1").unwrap();
    rig.settle();
    let hooks = rig.world.hooks_of("p/1");
    assert!(hooks.contains(&"friends-relation-broken"), "{hooks:?}");
}

#[test]
fn a_lost_unit_runs_nothing_and_its_lease_goes_to_another() {
    let mut rig = Rig::settled(Four, 3, 1);
    rig.world.lose_unit("p/0").unwrap();
    rig.settle();
    assert_eq!(rig.world.hooks_of("p/0"), [""; 0]);
    assert_eq!(rig.world.hooks_of("r/0"), ["db-relation-departed"]);
    let leaders = rig.world.status().into_iter().filter(|unit| unit.leader);
    assert_eq!(
        leaders
            .filter(|unit| unit.unit.application() == "p")
            .count(),
        1
    );
}

#[test]
fn the_same_seed_makes_the_same_history() {
    let history = |seed| {
        let mut rig = Rig::fresh(Three, seed, 3, 5);
        rig.world.integrate("p:db", "r:db").unwrap();
        rig.settle();
        let runs = rig.world.runs().iter();
        runs.map(|run| (run.unit.clone(), run.hook.clone(), run.remote_unit.clone()))
            .collect::<Vec<_>>()
    };
    assert_eq!(history(7), history(7));
    assert_ne!(history(7), history(8));
}

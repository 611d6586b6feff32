//! Peer relations: the contract's second section 7.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::rc::Rc;
use std::time::Duration;

use juju_emulator::JujuGeneration::{Four, Three};
use juju_emulator::agent::Hook;
use juju_emulator::clock::{Happened, Pace, Timeline};
use juju_emulator::deployment::DISTRIBUTOR;
use juju_emulator::model::{Flush, ModelError};
use juju_emulator::{
    CallTool, Charm, Effect, Injection, JujuGeneration, Metadata, RelationId, Setup, UnitName,
};

use crate::support::{BOTH, DB, Environment, PEER, Rig, Tools, changed, stdout};

const READ: &str = "relation-get -r friends:0 --app --format=json - p";

fn charm(metadata: &str) -> Charm {
    Charm::in_process(Metadata::parse(metadata, "", "").unwrap(), |_| {
        |_: &Environment, _: &mut CallTool<'_>| 0
    })
}

fn without_peers() -> Charm {
    charm("{name: provider, provides: {db: {interface: sql}, other: {interface: http}}}")
}

fn with_peers() -> Charm {
    charm(
        "
        name: provider
        provides: {db: {interface: sql}, other: {interface: http}}
        peers: {friends: {interface: friends}}
        ",
    )
}

/// What several calls in one hook of `unit` answer, each an exit status and the output or the text
/// after `ERROR `, and whether the hook is committed.
fn told(rig: &mut Rig, unit: &str, hook: Hook, lines: &[&str]) -> (Vec<(i32, String)>, bool) {
    let answers = Rc::new(RefCell::new(Vec::new()));
    let (kept, lines) = (Rc::clone(&answers), lines.join("\n"));
    let run = rig.during(unit, hook, move |tools| {
        for line in lines.lines() {
            let output = tools.call(line);
            let text = match output.code {
                0 => stdout(&output),
                _ => String::from_utf8(output.stderr).unwrap(),
            };
            let text = text.trim_start_matches("ERROR ").trim_end().to_owned();
            kept.borrow_mut().push((output.code, text));
        }
    });
    (answers.take(), run.committed)
}

fn rows(rows: &[(i32, &str)]) -> Vec<(i32, String)> {
    let row = |(code, text): &(i32, &str)| (*code, (*text).to_owned());
    rows.iter().map(row).collect()
}

/// Unit, hook, remote unit and remote application of hooks of `friends`.
type Heard = Vec<(String, String, String, String)>;

fn heard_while_settling(rig: &mut Rig) -> Heard {
    let heard = Rc::new(RefCell::new(Vec::new()));
    let kept = Rc::clone(&heard);
    rig.charms(move |unit, environment, _| {
        let variable = |name: &str| environment.get(name).cloned().unwrap_or_default();
        if variable("JUJU_RELATION") == "friends" {
            kept.borrow_mut().push((
                unit.to_string(),
                variable("JUJU_HOOK_NAME"),
                variable("JUJU_REMOTE_UNIT"),
                variable("JUJU_REMOTE_APP"),
            ));
        }
        0
    });
    rig.settle();
    rig.charms_do_nothing();
    let mut heard = heard.take();
    heard.sort();
    heard
}

#[test]
fn every_unit_reads_the_own_application_bag_of_a_peer_relation() {
    let outside = Hook::UpdateStatus;
    let no_app = "expected unit name, got application name \"p\"";
    let no_target = "no unit or application specified";
    for generation in BOTH {
        let mut rig = Rig::settled(generation, 2, 1);
        rig.write("p/0", PEER, "--app a=1");
        rig.write("r/0", DB, "--app b=2");
        rig.settle();
        for unit in ["p/0", "p/1"] {
            for (hook, line, code, text) in [
                (outside.clone(), READ, 0, "{\"a\":\"1\"}"),
                (
                    outside.clone(),
                    "relation-get --format=json -r friends:0 --app - p",
                    0,
                    "{\"a\":\"1\"}",
                ),
                (
                    outside.clone(),
                    "relation-get -r 0 --app --format=json - p/1",
                    0,
                    "{\"a\":\"1\"}",
                ),
                (outside.clone(), "relation-get -r 0 --app a p", 0, "1"),
                (outside.clone(), "relation-get -r 0 - p", 2, no_app),
                (outside.clone(), "relation-get -r 0 --app -", 2, no_target),
                // The hook's remote application, in the relation that is named.
                (
                    changed("r/0"),
                    "relation-get -r 1 --app --format=json -",
                    0,
                    "{\"b\":\"2\"}",
                ),
            ] {
                let (answers, _) = told(&mut rig, unit, hook, &[line]);
                assert_eq!(
                    answers,
                    rows(&[(code, text)]),
                    "{generation:?} {unit}: {line}"
                );
            }
        }
    }
}

#[test]
fn only_the_leader_that_still_leads_sees_what_it_has_written_and_not_committed() {
    let lines = ["relation-set -r 0 --app a=2", READ, "config-get name", READ];
    for generation in BOTH {
        for (loses, last) in [(false, "{\"a\":\"2\"}"), (true, "{\"a\":\"1\"}")] {
            let mut rig = Rig::settled(generation, 2, 1);
            rig.write("p/0", PEER, "--app a=1");
            if loses {
                rig.world
                    .inject(Injection::at_tool("config-get", 1, Effect::LoseLeadership));
            }
            let (answers, committed) = told(&mut rig, "p/0", Hook::UpdateStatus, &lines);
            let expected = [(0, ""), (0, "{\"a\":\"2\"}"), (0, "<a & b>"), (0, last)];
            assert_eq!(answers, rows(&expected));
            assert_eq!(committed, !loses);
            let (answers, _) = told(&mut rig, "p/1", Hook::UpdateStatus, &[READ]);
            let stored = if loses { "1" } else { "2" };
            assert_eq!(answers, rows(&[(0, &format!("{{\"a\":\"{stored}\"}}"))]));
        }
    }
}

#[test]
fn a_standby_reads_an_application_bag_once_in_a_hook() {
    for generation in BOTH {
        let mut rig = Rig::settled(generation, 2, 1);
        rig.write("p/0", PEER, "--app a=1");
        rig.world.inject(Injection::at_tool(
            "config-get",
            1,
            Effect::ForceRemoveRelation(PEER),
        ));
        let lines = [READ, "config-get name", READ];
        let (answers, _) = told(&mut rig, "p/1", Hook::UpdateStatus, &lines);
        let bag = (0, "{\"a\":\"1\"}");
        assert_eq!(answers, rows(&[bag, (0, "<a & b>"), bag]));
    }
}

#[test]
fn a_lease_lost_unheard_is_checked_where_the_controller_checks_it() {
    let no = (1, "permission denied");
    let no_write = (
        1,
        "cannot read relation application settings: permission denied",
    );
    for (generation, own_peer, peer_write, own_db, db_write) in [
        (Three, (0, "{\"a\":\"1\"}"), (0, ""), no, no_write),
        (Four, no, no_write, no, no_write),
    ] {
        for loses in [true, false] {
            let mut rig = Rig::settled(generation, 2, 1);
            rig.write("p/0", PEER, "--app a=1");
            if loses {
                rig.world
                    .inject(Injection::at_call(1, Effect::LoseLease).on("p/0"));
            }
            let lines = [
                "is-leader",
                READ,
                "relation-set -r 0 --app a=2",
                "relation-get -r 1 --app --format=json - p",
                "relation-set -r 1 --app a=2",
                "is-leader",
            ];
            let (answers, committed) = told(&mut rig, "p/0", Hook::UpdateStatus, &lines);
            let yes = (0, "True");
            let expected = if loses {
                [yes, own_peer, peer_write, own_db, db_write, yes]
            } else {
                [yes, (0, "{\"a\":\"1\"}"), (0, ""), (0, "{}"), (0, ""), yes]
            };
            assert_eq!(answers, rows(&expected), "{generation:?}, loses: {loses}");
            // Juju 4 has refused the write at the tool, so there is nothing to refuse at the end.
            assert_eq!(committed, !loses || generation == Four);
            assert_eq!(rig.world.app_bag(PEER, "p")["a"] == "2", !loses);
        }
    }
}

#[test]
fn a_write_to_the_own_application_bag_is_announced_to_every_unit() {
    for generation in BOTH {
        for units in [1, 3] {
            let mut rig = Rig::settled(generation, units, 1);
            rig.write("p/0", PEER, "--app a=1");
            let heard = heard_while_settling(&mut rig);
            let expected: Heard = (0..units)
                .map(|unit| {
                    let hook = "friends-relation-changed".to_owned();
                    (format!("p/{unit}"), hook, String::new(), "p".to_owned())
                })
                .collect();
            assert_eq!(heard, expected);
            rig.write("p/0", PEER, "--app a=1");
            assert_eq!(heard_while_settling(&mut rig), [], "no change, no hook");
        }
    }
}

#[test]
fn the_peer_relation_is_there_from_the_first_relation_created_on() {
    for generation in BOTH {
        let mut rig = Rig::fresh(generation, 1, 1, 1);
        rig.world.integrate("p:db", "r:db").unwrap();
        let seen = Rc::new(RefCell::new(Vec::new()));
        let kept = Rc::clone(&seen);
        let look = move |unit: &UnitName, environment: &Environment, tools: &mut CallTool<'_>| {
            if unit.as_str() == "p/0" {
                let hook = environment["JUJU_HOOK_NAME"].clone();
                let mut tools = Tools(tools);
                let ids = tools.text("relation-ids friends");
                if hook == "leader-elected" {
                    assert_eq!(tools.call("relation-set -r 0 --app a=1").code, 0);
                }
                kept.borrow_mut().push((hook, ids));
            }
            0
        };
        rig.charms(look);
        let storage = Hook::Named("data-storage-attached".to_owned());
        rig.world.run_hook("p/0", storage).unwrap();
        rig.settle();
        for (hook, ids) in seen.borrow().iter() {
            let before = ["install", "data-storage-attached"].contains(&hook.as_str());
            let expected = if before { "" } else { "friends:0\n" };
            assert_eq!(ids, expected, "{hook}");
        }
        assert!(seen.borrow().len() > 6, "{seen:?}");
        assert_eq!(rig.world.app_bag(PEER, "p")["a"], "1");
    }
}

#[test]
fn the_peer_relation_survives_its_units_and_goes_with_the_application() {
    for generation in BOTH {
        let mut rig = Rig::settled(generation, 1, 1);
        rig.write("p/0", PEER, "--app a=1");
        rig.world.remove_unit("p/0").unwrap();
        rig.settle();
        assert!(rig.world.model().units_of("p").is_empty());
        rig.world.add_unit("p").unwrap();
        rig.settle();
        assert_eq!(
            stdout(&rig.ask("p/1", "relation-ids friends")),
            "friends:0\n"
        );
        assert_eq!(stdout(&rig.ask("p/1", READ)), "{\"a\":\"1\"}\n");
        rig.world.remove_application("p").unwrap();
        rig.settle();
        let gone = rig.world.model().relation(PEER).err();
        assert_eq!(gone, Some(ModelError::NoRelation(PEER)));
    }
}

#[test]
fn a_refresh_keeps_drops_or_makes_the_peer_relation_as_this_juju_does() {
    for generation in BOTH {
        let mut rig = Rig::settled(generation, 1, 1);
        rig.write("p/0", PEER, "--app a=1");
        rig.world.refresh("p", &with_peers()).unwrap();
        rig.settle();
        let kept = rig.world.app_bag(PEER, "p");
        assert_eq!(kept["a"], "1", "{generation:?}");
    }

    let mut rig = Rig::settled(Three, 1, 1);
    rig.write("p/0", PEER, "--app a=1");
    rig.world.refresh("p", &without_peers()).unwrap();
    rig.settle();
    assert!(rig.world.model().relation(PEER).is_err());
    rig.world.refresh("p", &with_peers()).unwrap();
    rig.settle();
    let again = RelationId(2);
    assert!(rig.world.app_bag(again, "p").is_empty());
    assert!(rig.world.model().relation(again).unwrap().is_peer());
    assert!(
        rig.world
            .hooks_of("p/0")
            .ends_with(&["friends-relation-created"])
    );

    let mut rig = Rig::settled(Four, 1, 1);
    rig.world.remove_unit("p/0").unwrap();
    rig.settle();
    assert!(
        rig.world.refresh("p", &without_peers()).is_err(),
        "not even without units"
    );

    for (generation, expected) in [(Three, "friends:1\n"), (Four, "")] {
        let mut rig = Rig::fresh(generation, 1, 0, 1);
        rig.world.remove_application("p").unwrap();
        rig.world.deploy("p", &without_peers(), 1, &[]).unwrap();
        rig.settle();
        rig.world.refresh("p", &with_peers()).unwrap();
        rig.settle();
        let peers = rig.world.model().relations.values();
        let peers: String = peers
            .filter(|relation| relation.is_peer())
            .map(|relation| format!("friends:{}\n", relation.id))
            .collect();
        assert_eq!(peers, expected, "{generation:?}");
    }
}

#[test]
fn several_ids_of_one_peer_endpoint_show_one_bag() {
    for generation in BOTH {
        let mut rig = Rig::settled(generation, 2, 1);
        rig.write("p/0", PEER, "--app a=1");
        rig.settle();
        let ids = |rig: &mut Rig| stdout(&rig.ask("p/1", "relation-ids friends --format=json"));
        assert_eq!(ids(&mut rig), "[\"friends:0\"]\n");
        let twin = rig.world.model_mut().repeat_peer_relation(PEER).unwrap();
        assert_eq!(twin, RelationId(2));
        rig.settle();
        assert_eq!(ids(&mut rig), "[\"friends:0\",\"friends:2\"]\n");
        for (writes_to, value) in [(PEER, "2"), (twin, "3")] {
            rig.write("p/0", writes_to, &format!("--app a={value}"));
            let heard = heard_while_settling(&mut rig);
            assert_eq!(
                heard.len(),
                4,
                "each id has its hook on each unit: {heard:?}"
            );
            for id in [PEER, twin] {
                let line = format!("relation-get -r {id} --app a p");
                assert_eq!(stdout(&rig.ask("p/1", &line)), format!("{value}\n"));
            }
        }
        assert!(rig.world.model_mut().repeat_peer_relation(DB).is_err());
    }
}

/// The hooks of `p/0` once both its relations have news, by seed.
fn orders(generation: JujuGeneration, prepare: impl Fn(&mut Rig)) -> BTreeSet<Vec<String>> {
    let order = |seed| {
        let mut rig = Rig::fresh(generation, seed, 2, 1);
        rig.world.set_leader("p/0").unwrap();
        rig.world.integrate("p:db", "r:db").unwrap();
        rig.settle();
        prepare(&mut rig);
        rig.write("p/1", PEER, "a=1");
        rig.write("r/0", DB, "a=1");
        rig.world.clear_history();
        rig.settle();
        rig.world
            .hooks_of("p/0")
            .iter()
            .map(ToString::to_string)
            .collect()
    };
    (0..20).map(order).collect()
}

#[test]
fn peers_come_last_unless_in_2_9_or_after_a_restart() {
    let last = BTreeSet::from([["db-relation-changed", "friends-relation-changed"]
        .map(str::to_owned)
        .to_vec()]);
    for generation in BOTH {
        assert_eq!(orders(generation, |_| {}), last);
        let turned = orders(generation, |rig| {
            rig.world.model_mut().quirks.peers_come_last = false;
        });
        assert_eq!(turned.len(), 2, "{turned:?}");
        let restarted = orders(generation, |rig| {
            rig.world.restart_agent("p/0").unwrap();
        });
        assert_eq!(restarted.len(), 2, "{restarted:?}");
    }
}

#[test]
fn after_a_restart_the_peer_relation_may_break_before_the_others() {
    for (restart, expected) in [(false, &[None][..]), (true, &[Some(false), Some(true)])] {
        let before_db = |seed| {
            let mut rig = Rig::fresh(Four, seed, 1, 1);
            rig.world.integrate("p:db", "r:db").unwrap();
            rig.settle();
            if restart {
                rig.world.restart_agent("p/0").unwrap();
            }
            rig.world.clear_history();
            rig.world.remove_unit("p/0").unwrap();
            rig.settle();
            let hooks = rig.world.hooks_of("p/0");
            let at = |name: &str| hooks.iter().position(|hook| *hook == name);
            at("friends-relation-broken").map(|peer| peer < at("db-relation-broken").unwrap())
        };
        let seen: BTreeSet<Option<bool>> = (0..20).map(before_db).collect();
        assert_eq!(seen, expected.iter().copied().collect());
    }
}

#[test]
fn juju_4_does_not_announce_that_a_peer_has_gone() {
    let list = "relation-list -r 0 --format=json";
    let both = "[\"p/1\",\"p/2\"]\n";
    for (generation, peers_depart, listed, departed) in [
        (Three, false, "[\"p/1\"]\n", 1),
        (Four, true, "[\"p/1\"]\n", 1),
        (Four, false, both, 0),
    ] {
        let mut rig = Rig::settled(generation, 3, 1);
        rig.world.model_mut().quirks.peers_depart = peers_depart;
        let count = |rig: &Rig| {
            let hooks = rig.world.hooks_of("p/0");
            hooks
                .iter()
                .filter(|hook| **hook == "friends-relation-departed")
                .count()
        };
        rig.world.remove_unit("p/2").unwrap();
        rig.settle();
        assert_eq!(count(&rig), departed, "{generation:?}");
        assert_eq!(stdout(&rig.ask("p/0", list)), listed);
        // goal-state knows better.
        let goal: serde_json::Value =
            serde_json::from_str(&stdout(&rig.ask("p/0", "goal-state --format=json"))).unwrap();
        let units: Vec<&String> = goal["units"].as_object().unwrap().keys().collect();
        assert_eq!(units, ["p/0", "p/1"]);
        let endpoints: Vec<&String> = goal["relations"].as_object().unwrap().keys().collect();
        assert_eq!(endpoints, ["db"], "peers are not there");

        rig.world.restart_agent("p/0").unwrap();
        rig.settle();
        assert_eq!(count(&rig), 1);
        assert_eq!(stdout(&rig.ask("p/0", list)), "[\"p/1\"]\n");
        // What goes after the restart is lost again.
        rig.world.lose_unit("p/1").unwrap();
        rig.settle();
        assert_eq!(count(&rig), if listed == both { 1 } else { 2 });
    }
}

#[test]
fn a_virtual_clock_counts_the_hooks_of_a_peer_relation() {
    let setup = Setup {
        distributor_units: 3,
        units: 1,
        ..Setup::default()
    };
    let mut deployment = setup.deploy().unwrap();
    deployment.relate_all().unwrap();
    let pace = Pace {
        update_status: None,
        ..Pace::default()
    };
    let mut timeline = Timeline::new(deployment, pace.clone());
    timeline.start_within(Duration::ZERO);
    timeline
        .run(Duration::from_secs(600), |_, _, _| false)
        .unwrap();
    let start = timeline.now();
    timeline.plan(start, |deployment| {
        let leader = deployment.leader().unwrap();
        let model = deployment.world.model_mut();
        let mut relations = model.relations.values();
        let peer = relations.find(|r| r.is_peer() && r.own_side(DISTRIBUTOR).is_some());
        let id = peer.unwrap().id;
        let content = [("unknown".to_owned(), "1".to_owned())].into();
        let flush = Flush {
            app_bags: [(id, std::sync::Arc::new(content))].into(),
            ..Flush::default()
        };
        model.commit(&leader, flush).unwrap();
        Ok(())
    });
    let mut told = BTreeSet::new();
    let mut lasted = Vec::new();
    timeline
        .run(Duration::from_secs(1200), |now, happened, _| {
            if let Happened::Ended(run) = happened
                && run.hook == "cluster-relation-changed"
            {
                told.insert(run.unit.to_string());
                let tools = u32::try_from(run.tool_calls.len()).unwrap();
                lasted.push((now - run.started, pace.distributor + pace.tool * tools));
            }
            false
        })
        .unwrap();
    let everybody: BTreeSet<String> = (0..3).map(|unit| format!("{DISTRIBUTOR}/{unit}")).collect();
    assert_eq!(told, everybody);
    for (took, expected) in lasted {
        assert_eq!(took, expected);
    }
}

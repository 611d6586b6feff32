//! What is buffered, what is committed, who may, and when others see it: the contract's sections
//! 2, 4.1, 4.2, 4.5 and 4.8.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;

use crate::support::{BOTH, DB, PEER, Rig, Tools, changed, stdout};
use juju_emulator::JujuGeneration::{Four, Three};
use juju_emulator::agent::Hook;
use juju_emulator::model::{BagChange, BagOwner};
use juju_emulator::process::Ending;
use juju_emulator::world::Begun;
use juju_emulator::{AppName, Charm, Effect, Fault, Injection, Metadata, UnitName};

#[test]
fn a_commit_holds_everything_a_hook_wrote_and_nothing_else() {
    let mut rig = Rig::settled(Four, 1, 1);
    let run = rig.during("p/0", Hook::UpdateStatus, |tools| {
        tools.text("relation-set -r 1 a=1");
        tools.text("relation-set -r 1 --app b=2");
        tools.text("relation-set -r 0 c=3 ingress-address=me");
        assert_eq!(tools.text("relation-get -r 1 a p/0"), "1\n");
        assert_eq!(tools.text("relation-get -r 1 --app b p"), "2\n");
    });
    assert!(run.committed);
    let change = |relation, owner, key: &str, value: &str| BagChange {
        relation,
        owner,
        keys: BTreeMap::from([(key.to_owned(), (None, Some(value.to_owned())))]),
    };
    let unit = BagOwner::Unit(UnitName::new("p", 0));
    let [commit] = rig.world.commits() else {
        panic!("{:?}", rig.world.commits());
    };
    assert_eq!(
        commit.changes,
        [
            change(PEER, unit.clone(), "c", "3"),
            change(DB, unit, "a", "1"),
            change(DB, BagOwner::App(AppName::new("p")), "b", "2"),
        ]
    );
}

#[test]
fn network_keys_of_a_charm_are_dropped_by_juju_4_only() {
    for (generation, expected) in [(Three, "me"), (Four, "10.0.0.1")] {
        let mut rig = Rig::settled(generation, 1, 1);
        rig.write("p/0", DB, "ingress-address=me");
        assert_eq!(rig.world.unit_bag(DB, "p/0")["ingress-address"], expected);
    }
}

#[test]
fn a_failed_hook_loses_its_writes_but_not_its_status() {
    for generation in BOTH {
        let mut rig = Rig::settled(generation, 1, 1);
        rig.world.set_automatic_retry(false);
        rig.charms(|_, _, tools| {
            let mut tools = Tools(tools);
            tools.text("relation-set -r 1 a=1");
            tools.text("state-set a=1");
            tools.text("status-set active early");
            tools.text("application-version-set 9");
            7
        });
        let run = rig.world.run_hook("p/0", Hook::UpdateStatus).unwrap();
        assert_eq!((run.ending, run.committed), (Ending::Exited(7), false));
        assert!(!rig.world.unit_bag(DB, "p/0").contains_key("a"));
        let (_, unit) = rig.world.model().unit("p/0").unwrap();
        assert!(unit.state.is_empty());
        assert_eq!(
            (
                unit.workload.message.as_str(),
                unit.workload_version.as_str()
            ),
            ("early", "9")
        );
        let status = &rig.world.status()[0];
        assert_eq!(
            (status.agent.as_str(), status.message.as_str()),
            ("error", "hook failed: \"update-status\"")
        );
    }
}

#[test]
fn a_unit_in_error_gets_no_other_hook_until_the_failed_one_succeeds() {
    let mut rig = Rig::settled(Three, 1, 1);
    rig.write("r/0", DB, "a=b");
    rig.world.set_config("p", &[("name", "x")]).unwrap();
    rig.world.clear_history();
    let mut failures = 3;
    rig.charms(move |unit, environment, _| {
        let fails = unit.as_str() == "p/0" && environment["JUJU_HOOK_NAME"] == "config-changed";
        failures -= i32::from(fails);
        i32::from(fails && failures >= 0)
    });
    rig.settle();
    let hooks = rig.world.hooks_of("p/0");
    assert_eq!(
        hooks,
        [
            "config-changed",
            "config-changed",
            "config-changed",
            "config-changed",
            "db-relation-changed"
        ]
    );
}

#[test]
fn resolved_without_retry_calls_a_hook_done() {
    let mut rig = Rig::settled(Three, 1, 1);
    rig.world.set_automatic_retry(false);
    rig.charms(|_, environment, _| i32::from(environment["JUJU_HOOK_NAME"] == "config-changed"));
    rig.world.set_config("p", &[("name", "x")]).unwrap();
    rig.settle();
    assert_eq!(rig.world.status()[0].agent, "error");
    rig.world.resolved("p/0", false).unwrap();
    rig.settle();
    assert_eq!(rig.world.status()[0].agent, "idle");
    assert_eq!(rig.world.hooks_of("p/0"), ["config-changed"]);
}

#[test]
fn a_lease_lost_during_a_hook_loses_everything_the_hook_wrote() {
    for generation in BOTH {
        let mut rig = Rig::settled(generation, 2, 1);
        let fault = Effect::LoseLeadership;
        rig.world.inject(
            Injection::at_call(3, fault)
                .on("p/0")
                .during("update-status"),
        );
        let seen = Rc::new(RefCell::new(Vec::new()));
        let kept = Rc::clone(&seen);
        let run = rig.during("p/0", Hook::UpdateStatus, move |tools| {
            for line in [
                "relation-set -r 1 --app a=1",
                "relation-set -r 1 a=1",
                "is-leader",
                "relation-set -r 1 --app b=1",
            ] {
                let output = tools.call(line);
                kept.borrow_mut().push((output.code, stdout(&output)));
            }
        });
        let expected = [(0, ""), (0, ""), (0, "False\n"), (1, "")];
        assert_eq!(
            *seen.borrow(),
            expected.map(|(code, text)| (code, text.to_owned()))
        );
        assert!(!run.committed);
        assert!(
            run.failure
                .unwrap()
                .contains("checking leadership continuity")
        );
        assert!(rig.world.app_bag(DB, "p").is_empty());
        assert!(!rig.world.unit_bag(DB, "p/0").contains_key("a"));
        assert!(rig.world.commits().is_empty());
    }
}

#[test]
fn a_hook_that_only_reads_the_application_bag_does_not_depend_on_the_lease() {
    let mut rig = Rig::settled(Four, 2, 1);
    rig.world
        .inject(Injection::at_call(2, Effect::LoseLeadership).on("p/0"));
    let run = rig.during("p/0", Hook::UpdateStatus, |tools| {
        tools.text("relation-get -r 1 --app - p");
        tools.text("relation-set -r 1 a=1");
    });
    assert!(run.committed);
    // The same value again is enough to depend on it.
    rig.world.set_leader("p/0").unwrap();
    rig.write("p/0", DB, "--app a=1");
    rig.world
        .inject(Injection::at_call(2, Effect::LoseLeadership).on("p/0"));
    let run = rig.during("p/0", Hook::UpdateStatus, |tools| {
        tools.text("relation-set -r 1 --app a=1");
        tools.text("config-get");
    });
    assert!(!run.committed);
}

#[test]
fn no_is_final_within_a_hook() {
    let mut rig = Rig::settled(Four, 2, 1);
    rig.during("p/1", Hook::UpdateStatus, |tools| {
        assert_eq!(tools.text("is-leader"), "False\n");
        assert_eq!(tools.text("is-leader"), "False\n");
    });
    rig.world.set_leader("p/1").unwrap();
    assert_eq!(stdout(&rig.ask("p/1", "is-leader")), "True\n");
}

#[test]
fn own_application_bag_is_hidden_from_standbys_by_juju_3_only() {
    for (generation, code, text) in [(Three, 1, ""), (Four, 0, "{\"a\":\"1\"}\n")] {
        let mut rig = Rig::settled(generation, 2, 1);
        rig.write("p/0", DB, "--app a=1");
        let output = rig.ask("p/1", "relation-get -r 1 --app --format=json - p");
        assert_eq!((output.code, stdout(&output).as_str()), (code, text));
    }
}

#[test]
fn a_bag_over_the_quota_fails_at_the_end_of_the_hook() {
    let mut rig = Rig::settled(Four, 1, 1);
    for (size, committed) in [(15 << 20, true), (17 << 20, false)] {
        let run = rig.during("p/0", Hook::UpdateStatus, move |tools| {
            let big = "x".repeat(size);
            let output = tools.call(&format!("relation-set -r 1 --app big={big}"));
            assert_eq!(output.code, 0);
        });
        assert_eq!(run.committed, committed, "{size}");
    }
}

#[test]
fn having_read_the_own_bag_makes_a_commit_depend_on_the_relation() {
    for generation in BOTH {
        for (line, committed) in [
            ("relation-get -r 1 - p/0", false),
            ("relation-list -r 1", true),
        ] {
            let mut rig = Rig::settled(generation, 1, 1);
            rig.world.inject(
                Injection::at_tool("config-get", 1, Effect::ForceRemoveRelation(DB)).on("p/0"),
            );
            let run = rig.during("p/0", Hook::UpdateStatus, move |tools| {
                tools.text(line);
                tools.text("config-get");
            });
            assert_eq!(run.committed, committed, "{line}");
            if let Some(failure) = run.failure {
                let words = match generation {
                    Three => "permission denied",
                    Four => "expected 1 relations but found 0",
                };
                assert!(failure.contains(words), "{failure}");
            }
        }
    }
}

#[test]
fn one_change_is_one_hook_and_no_change_is_none() {
    for generation in BOTH {
        let mut rig = Rig::settled(generation, 1, 1);
        let mut hooks_after = |writes: &[&str]| {
            for write in writes {
                rig.write("r/0", DB, write);
            }
            rig.world.clear_history();
            rig.settle();
            rig.world.hooks_of("p/0").len()
        };
        assert_eq!(hooks_after(&["a=1"]), 1);
        assert_eq!(hooks_after(&["a=1"]), 0, "an identical value");
        assert_eq!(
            hooks_after(&["a=2", "a=3", "b=1"]),
            1,
            "several changes, one hook"
        );
        assert_eq!(hooks_after(&["--app a=1"]), 1);
        assert_eq!(hooks_after(&["--app a=1"]), 0);
        assert_eq!(hooks_after(&["--app a=2", "a=4"]), 2, "two bags, two hooks");
        let there_and_back = hooks_after(&["a=5", "a=4"]);
        match generation {
            Three => assert_eq!(there_and_back, 1, "a counter sees it"),
            Four => assert_eq!(there_and_back, 0, "a content hash does not"),
        }
    }
}

#[test]
fn juju_4_does_not_see_text_that_moves_between_neighbours() {
    for (generation, hooks) in [(Three, 1), (Four, 0)] {
        let mut rig = Rig::settled(generation, 1, 1);
        rig.during("r/0", Hook::UpdateStatus, |tools| {
            tools.call_with("relation-set -r 1 --app --file -", Some(b"{a: b, c: d}"));
        });
        rig.settle();
        rig.during("r/0", Hook::UpdateStatus, |tools| {
            tools.call_with(
                "relation-set -r 1 --app --file -",
                Some(b"{a: b c d, c: ''}"),
            );
        });
        rig.world.clear_history();
        rig.settle();
        assert_eq!(rig.world.app_bag(DB, "r")["a"], "b c d");
        assert_eq!(rig.world.hooks_of("p/0").len(), hooks);
    }
}

#[test]
fn peers_see_the_application_bag_of_their_own_and_so_does_its_writer() {
    let mut rig = Rig::settled(Four, 2, 1);
    rig.write("p/0", PEER, "--app a=1");
    rig.write("p/0", PEER, "b=1");
    rig.world.clear_history();
    rig.settle();
    assert_eq!(rig.world.hooks_of("p/0"), ["friends-relation-changed"]);
    assert_eq!(
        rig.world.hooks_of("p/1"),
        ["friends-relation-changed", "friends-relation-changed"]
    );
    let own = "relation-set -r 1 --app a=1";
    rig.ask("p/0", own);
    rig.world.clear_history();
    rig.settle();
    assert_eq!(
        rig.world.hooks_of("p/1"),
        [""; 0],
        "own bags of other relations are no news"
    );
}

#[test]
fn a_joined_units_bag_is_kept_until_its_own_hook() {
    let mut rig = Rig::settled(Four, 1, 2);
    let read = "relation-get -r 1 a r/0";
    rig.write("r/0", DB, "a=1");
    rig.settle();
    assert_eq!(stdout(&rig.ask("p/0", read)), "1\n");
    rig.write("r/0", DB, "a=2");
    assert_eq!(
        stdout(&rig.ask("p/0", read)),
        "1\n",
        "stale in any other hook"
    );
    assert_eq!(stdout(&rig.ask_in("p/0", changed("r/1"), read)), "1\n");
    assert_eq!(stdout(&rig.ask_in("p/0", changed("r/0"), read)), "2\n");
    rig.write("r/0", DB, "a=3");
    rig.world.restart_agent("p/0").unwrap();
    assert_eq!(
        stdout(&rig.ask("p/0", read)),
        "3\n",
        "a restarted agent has forgotten"
    );
}

#[test]
fn a_bag_never_read_before_is_read_as_it_is_now() {
    let mut rig = Rig::settled(Four, 1, 1);
    rig.write("r/0", DB, "a=1");
    assert_eq!(stdout(&rig.ask("p/0", "relation-get -r 1 a r/0")), "1\n");
}

#[test]
fn application_bags_are_fresh_in_every_hook_and_fixed_within_it() {
    let mut rig = Rig::settled(Four, 1, 1);
    rig.write("r/0", DB, "--app a=1");
    let read = "relation-get -r 1 --app a r";
    assert_eq!(stdout(&rig.ask("p/0", read)), "1\n");
    rig.write("r/0", DB, "--app a=2");
    assert_eq!(stdout(&rig.ask("p/0", read)), "2\n");
}

#[test]
fn a_unit_not_joined_yet_is_read_live_in_each_hook() {
    let mut rig = Rig::settled(Four, 1, 1);
    let newcomer = rig.world.add_unit("r").unwrap();
    while !rig.world.agent("r/1").unwrap().started {
        if let Begun::Open(open) = rig.world.begin(&newcomer) {
            rig.world.finish(*open);
        }
    }
    let read = "relation-get -r 1 a r/1";
    for value in ["1", "2"] {
        rig.write("r/1", DB, &format!("a={value}"));
        assert_eq!(stdout(&rig.ask("p/0", read)), format!("{value}\n"));
    }
    assert_eq!(stdout(&rig.ask("p/0", "relation-list -r 1")), "r/0\n");
}

#[test]
fn a_departed_units_bag_stays_readable_until_the_relation_goes() {
    for generation in BOTH {
        let mut rig = Rig::settled(generation, 2, 2);
        rig.write("r/1", DB, "a=1");
        rig.write("p/1", DB, "b=2");
        rig.settle();
        rig.world.remove_unit("r/1").unwrap();
        rig.world.lose_unit("p/1").unwrap();
        rig.settle();
        assert_eq!(stdout(&rig.ask("p/0", "relation-list -r 1")), "r/0\n");
        assert_eq!(stdout(&rig.ask("p/0", "relation-get -r 1 a r/1")), "1\n");
        assert_eq!(
            stdout(&rig.ask("p/0", "relation-get -r 1 b p/1")),
            "2\n",
            "a sibling"
        );
        rig.world.remove_relation(DB).unwrap();
        rig.settle();
        assert_eq!(rig.ask("p/0", "relation-get -r 1 a r/1").code, 2);
    }
}

#[test]
fn application_bags_outlive_all_units() {
    let mut rig = Rig::settled(Four, 1, 1);
    rig.write("p/0", DB, "--app a=1");
    rig.settle();
    rig.world.lose_unit("p/0").unwrap();
    rig.settle();
    rig.world.add_unit("p").unwrap();
    rig.settle();
    assert_eq!(
        stdout(&rig.ask("p/1", "relation-get -r 1 --app a p")),
        "1\n"
    );
    assert_eq!(
        stdout(&rig.ask("r/0", "relation-get -r 1 --app a p")),
        "1\n"
    );
}

#[test]
fn across_models_the_offering_side_sees_another_name() {
    let mut rig = Rig::fresh(Four, 3, 1, 2);
    let (id, alias) = rig.world.integrate_across_models("p:db", "r:db").unwrap();
    rig.settle();
    rig.write("r/1", id, "a=1");
    rig.settle();
    assert!(alias.starts_with("remote-") && alias.len() == 39);
    assert_eq!(
        stdout(&rig.ask("p/0", "relation-list -r 1")),
        format!("{alias}/0\n{alias}/1\n")
    );
    assert_eq!(
        stdout(&rig.ask("p/0", "relation-list --app -r 1")),
        format!("{alias}\n")
    );
    assert_eq!(
        stdout(&rig.ask("p/0", &format!("relation-get -r 1 a {alias}/1"))),
        "1\n"
    );
    assert_eq!(stdout(&rig.ask("r/0", "relation-list -r 1")), "p/0\n");
    assert_eq!(
        stdout(&rig.ask("p/0", "goal-state --format=json"))
            .matches("remote")
            .count(),
        0
    );
    let joined = rig
        .world
        .runs()
        .iter()
        .find(|run| run.hook == "db-relation-joined" && run.unit.as_str() == "p/0");
    assert_eq!(joined.unwrap().remote_unit, Some(format!("{alias}/0")));
}

#[test]
fn a_refresh_runs_upgrade_charm_then_configuration_then_new_endpoints() {
    for generation in BOTH {
        let mut rig = Rig::settled(generation, 1, 1);
        let metadata = "
            name: provider
            provides: {db: {interface: sql}, more: {interface: sql}}
            peers: {friends: {interface: friends}, chums: {interface: chums}}
        ";
        let charm = Charm::in_process(Metadata::parse(metadata, "", "").unwrap(), |_| {
            |_: &crate::support::Environment, _: &mut juju_emulator::CallTool<'_>| 0
        });
        rig.world.refresh("p", &charm).unwrap();
        rig.settle();
        let chums: &[&str] = match generation {
            Three => &["chums-relation-created"],
            // It makes peer relations when it deploys, and never later.
            Four => &[],
        };
        let expected = [&["upgrade-charm", "config-changed"], chums].concat();
        assert_eq!(rig.world.hooks_of("p/0"), expected);
    }
}

#[test]
fn a_refresh_that_drops_an_endpoint_in_use_is_refused() {
    let keeps_peer = "{name: provider, peers: {friends: {interface: friends}}}";
    let keeps_db = "{name: provider, provides: {db: {interface: sql}}}";
    let changes_db = "
        name: provider
        provides: {db: {interface: nosql}}
        peers: {friends: {interface: friends}}
    ";
    for (generation, metadata, refusal) in [
        (
            Three,
            keeps_peer,
            Some("would break relation \"r:db p:db\""),
        ),
        (
            Four,
            keeps_peer,
            Some("charm has no corresponding relation \"db\""),
        ),
        (
            Three,
            changes_db,
            Some("would break relation \"r:db p:db\""),
        ),
        (Three, keeps_db, None),
        (
            Four,
            keeps_db,
            Some(
                "charm has no corresponding peer relation \"friends\". Please scale down to 0 units to refresh",
            ),
        ),
    ] {
        let mut rig = Rig::settled(generation, 2, 1);
        let charm = Charm::in_process(Metadata::parse(metadata, "", "").unwrap(), |_| {
            |_: &crate::support::Environment, _: &mut juju_emulator::CallTool<'_>| 0
        });
        let refused = rig
            .world
            .refresh("p", &charm)
            .err()
            .map(|error| error.to_string());
        assert_eq!(refused.as_deref(), refusal, "{generation:?} {metadata}");
        rig.settle();
    }
}

#[test]
fn juju_4_commits_only_for_a_unit_in_the_scope() {
    for (generation, leaves, committed) in [
        (Three, true, true),
        (Four, true, false),
        (Four, false, true),
    ] {
        let mut rig = Rig::settled(generation, 1, 1);
        rig.charms(|_, _, tools| Tools(tools).call("relation-set -r 0 --app a=1").code);
        rig.world.fire_update_status("p/0").unwrap();
        let leader = UnitName::new("p", 0);
        let Begun::Open(open) = rig.world.begin(&leader) else {
            panic!("update-status is due");
        };
        if leaves {
            rig.world.model_mut().leave_scope(PEER, &leader);
        }
        rig.world.finish(*open);
        assert_eq!(rig.world.runs()[0].committed, committed, "{generation:?}");
    }
}

#[test]
fn a_refused_commit_is_a_failed_hook_and_is_tried_again() {
    let mut rig = Rig::settled(Three, 1, 1);
    rig.charms(|_, environment, tools| {
        if environment["JUJU_HOOK_NAME"] == "config-changed" {
            Tools(tools).text("relation-set -r 1 a=1");
        }
        0
    });
    rig.world
        .inject(Injection::new(Fault::RefuseCommit).on("p/0"));
    rig.world.set_config("p", &[("name", "x")]).unwrap();
    rig.settle();
    let committed: Vec<bool> = rig
        .world
        .runs()
        .iter()
        .filter(|run| run.unit.as_str() == "p/0")
        .map(|run| run.committed)
        .collect();
    assert_eq!(committed, [false, true]);
    assert_eq!(rig.world.unit_bag(DB, "p/0")["a"], "1");
}

#[test]
fn two_contexts_are_open_at_once_and_each_sees_the_model_of_its_beginning() {
    let mut rig = Rig::settled(Four, 1, 1);
    rig.charms(|unit, environment, tools| {
        if environment["JUJU_HOOK_NAME"] == "update-status" {
            let mut tools = Tools(tools);
            let other = if unit.application() == "p" {
                "r/0"
            } else {
                "p/0"
            };
            let seen = tools.text(&format!("relation-get -r 1 --format=json a {other}"));
            tools.text(&format!(
                "relation-set -r 1 a=saw-{}",
                seen.trim_end().replace('"', "")
            ));
        }
        0
    });
    let mut opened = Vec::new();
    for unit in ["p/0", "r/0"] {
        rig.world.fire_update_status(unit).unwrap();
        let unit = UnitName::parse(unit).unwrap();
        let Begun::Open(open) = rig.world.begin(&unit) else {
            panic!("update-status is due");
        };
        assert!(
            matches!(rig.world.begin(&unit), Begun::Nothing),
            "one at a time per unit"
        );
        opened.push(open);
    }
    assert!(rig.world.commits().is_empty());
    for open in opened {
        rig.world.finish(*open);
    }
    for unit in ["p/0", "r/0"] {
        assert_eq!(rig.world.unit_bag(DB, unit)["a"], "saw-null");
    }
}

#[test]
fn an_agent_restarted_during_a_hook_takes_it_for_failed() {
    let mut rig = Rig::settled(Four, 1, 1);
    rig.charms(|_, _, tools| {
        Tools(tools).text("relation-set -r 1 a=1");
        0
    });
    rig.world.fire_update_status("p/0").unwrap();
    let Begun::Open(open) = rig.world.begin(&UnitName::new("p", 0)) else {
        panic!("update-status is due");
    };
    rig.world.restart_agent("p/0").unwrap();
    rig.world.finish(*open);
    assert!(!rig.world.unit_bag(DB, "p/0").contains_key("a"));
    assert_eq!(rig.world.status()[0].agent, "error");
}

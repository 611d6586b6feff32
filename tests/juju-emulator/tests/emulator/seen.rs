//! What was seen on a real controller: the contract's section 9. The table in this package's
//! `README.md` says which test plays which line.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;
use std::time::Duration;

use juju_emulator::JujuGeneration::{Four, Three};
use juju_emulator::agent::{Hook, RERUN_PAUSE};
use juju_emulator::clock::{Happened, Pace, Timeline};
use juju_emulator::deployment::DISTRIBUTOR;
use juju_emulator::process::Ending;
use juju_emulator::show_unit::show_unit;
use juju_emulator::world::Begun;
use juju_emulator::{
    CallTool, Charm, Complaint, ConsumedOffer, Effect, Injection, JujuGeneration, Metadata,
    Omissions, Party, RelationId, Setup, ToolOutput, UnitName, Unserved,
};
use serde_json::{Value, json};

use crate::support::{BOTH, DB, Environment, PEER, Rig, Tools, changed, stdout};

const GOAL: &str = "goal-state --format=json";

fn read(text: &str) -> Value {
    serde_json::from_str(text).unwrap()
}

fn goal_of(rig: &mut Rig, unit: &str) -> Value {
    read(&stdout(&rig.ask(unit, GOAL)))
}

fn keys(value: &Value) -> Vec<&str> {
    value
        .as_object()
        .unwrap()
        .keys()
        .map(String::as_str)
        .collect()
}

fn unit(name: &str) -> UnitName {
    UnitName::parse(name).unwrap()
}

/// Writes so many keys to the application bag of the peer relation, numbered from `first`.
fn write_keys(rig: &mut Rig, first: usize, count: usize) -> Option<String> {
    let run = rig.during("p/0", Hook::UpdateStatus, move |tools| {
        let keys = (first..first + count).map(|key| (format!("k{key}"), "v"));
        let document = serde_json::to_vec(&keys.collect::<BTreeMap<_, _>>()).unwrap();
        let line = "relation-set -r 0 --app --file -";
        assert_eq!(tools.call_with(line, Some(&document)).code, 0);
    });
    run.failure
}

#[test]
fn juju_4_takes_10_921_keys_in_one_bag_and_fails_at_the_flush_of_more() {
    let mut rig = Rig::settled(Three, 1, 1);
    assert_eq!(write_keys(&mut rig, 0, 10_922), None);

    let mut rig = Rig::settled(Four, 1, 1);
    let failure = write_keys(&mut rig, 0, 10_922).unwrap();
    assert!(failure.contains("too many SQL variables"), "{failure}");
    assert_eq!(write_keys(&mut rig, 0, 10_921), None);
    let one_more = write_keys(&mut rig, 10_921, 1).unwrap();
    assert!(
        one_more.contains("too many SQL variables"),
        "the whole bag counts"
    );
    assert_eq!(rig.world.app_bag(PEER, "p").len(), 10_921);
}

#[test]
fn an_option_that_is_set_runs_config_changed_twice_on_juju_4() {
    for (generation, times) in [(Three, 1), (Four, 2)] {
        let mut orders = BTreeSet::new();
        for seed in 0..20 {
            let mut rig = Rig::fresh(generation, seed, 1, 1);
            rig.world.integrate("p:db", "r:db").unwrap();
            rig.settle();
            let first = rig.world.hooks_of("p/0").into_iter();
            let first = first.filter(|hook| *hook == "config-changed").count();
            assert_eq!(first, 1, "a new unit is told once");
            rig.world.clear_history();
            rig.world.set_config("p", &[("name", "x")]).unwrap();
            rig.write("r/0", DB, "a=b");
            rig.world.clear_history();
            rig.settle();
            let hooks = rig.world.hooks_of("p/0");
            assert_eq!(hooks[0], "config-changed");
            let count = hooks
                .iter()
                .filter(|hook| **hook == "config-changed")
                .count();
            assert_eq!(count, times, "{generation:?} {hooks:?}");
            orders.insert(hooks.into_iter().map(str::to_owned).collect::<Vec<_>>());
            rig.world.set_config("p", &[("name", "x")]).unwrap();
            assert_eq!(rig.settle(), 0, "the same value is no change");
        }
        assert_eq!(
            orders.len(),
            times,
            "the second is before or after: {orders:?}"
        );
    }
}

#[test]
fn of_an_option_that_is_reset_juju_4_tells_no_agent() {
    for (generation, hooks) in [(Three, &["config-changed"][..]), (Four, &[])] {
        let mut rig = Rig::settled(generation, 1, 1);
        rig.world.set_config("p", &[("name", "x")]).unwrap();
        rig.settle();
        assert_eq!(stdout(&rig.ask("p/0", "config-get name")), "x\n");
        rig.world.clear_history();
        rig.world.reset_config("p", &["name"]).unwrap();
        rig.settle();
        assert_eq!(rig.world.hooks_of("p/0"), hooks, "{generation:?}");
        assert_eq!(stdout(&rig.ask("p/0", "config-get name")), "<a & b>\n");
        assert!(rig.world.reset_config("p", &["no-such"]).is_err());
    }
}

#[test]
fn a_relation_with_a_model_that_was_destroyed_by_force_stays_until_the_agent_restarts() {
    let mut rig = Rig::fresh(Four, 1, 2, 2);
    rig.world.set_leader("p/0").unwrap();
    let (id, alias) = rig.world.integrate_across_models("p:db", "r:db").unwrap();
    rig.settle();
    rig.world.clear_history();
    rig.world.destroy_model_of("r").unwrap();
    rig.settle();
    for asks in ["p/0", "p/1"] {
        assert_eq!(
            rig.world.hooks_of(asks),
            [""; 0],
            "neither departed nor broken"
        );
        rig.world.clear_history();
        assert_eq!(stdout(&rig.ask(asks, "relation-ids db")), "db:1\n");
        let members = stdout(&rig.ask(asks, "relation-list -r 1"));
        assert_eq!(members, format!("{alias}/0\n{alias}/1\n"));
        let own_unit = rig.ask(asks, &format!("relation-get -r 1 - {asks}"));
        assert_eq!(own_unit, ToolOutput::error(1, "permission denied"));
        let words = match asks {
            "p/0" => "permission denied (unauthorized access)",
            _ => "getting regular relation by key: relation not found",
        };
        let own_app = rig.ask(asks, "relation-get -r 1 --app - p");
        assert_eq!(own_app, ToolOutput::error(1, words), "{asks}");
    }
    let error = rig.world.remove_relation(id).unwrap_err();
    assert!(error.to_string().contains("not found"), "{error}");
    rig.world.restart_agent("p/0").unwrap();
    rig.settle();
    assert_eq!(stdout(&rig.ask("p/0", "relation-ids db")), "");
    assert_eq!(stdout(&rig.ask("p/1", "relation-ids db")), "db:1\n");
}

#[test]
fn a_leader_that_leaves_leads_and_writes_until_it_is_removed() {
    let mut rig = Rig::settled(Four, 2, 1);
    let asked = Rc::new(RefCell::new(Vec::new()));
    let kept = Rc::clone(&asked);
    rig.charms(move |unit, environment, tools| {
        if unit.as_str() == "p/0" {
            let hook = environment["JUJU_HOOK_NAME"].clone();
            let mut tools = Tools(tools);
            let leads = tools.text("is-leader");
            let wrote = tools
                .call(&format!("relation-set -r 0 --app last={hook}"))
                .code;
            kept.borrow_mut().push((hook, leads, wrote));
        }
        0
    });
    rig.world.remove_unit("p/0").unwrap();
    rig.settle();
    let hooks: Vec<String> = asked
        .borrow()
        .iter()
        .map(|(hook, ..)| hook.clone())
        .collect();
    for hook in [
        "db-relation-departed",
        "db-relation-broken",
        "stop",
        "remove",
    ] {
        assert!(hooks.iter().any(|run| run == hook), "{hook} of {hooks:?}");
    }
    for (hook, leads, wrote) in asked.borrow().iter() {
        assert_eq!((leads.as_str(), *wrote), ("True\n", 0), "{hook}");
    }
    assert_eq!(rig.world.app_bag(PEER, "p")["last"], "remove");
    let runs: Vec<(&str, &str)> = rig
        .world
        .runs()
        .iter()
        .map(|run| (run.unit.as_str(), run.hook.as_str()))
        .collect();
    let at = |wanted| runs.iter().position(|run| *run == wanted).unwrap();
    assert!(
        at(("p/0", "remove")) < at(("p/1", "leader-elected")),
        "{runs:?}"
    );
}

#[test]
fn the_lease_of_a_stopped_agent_is_another_units_after_42_seconds() {
    let mut rig = Rig::settled(Four, 2, 1);
    rig.world.stop_agent("p/0").unwrap();
    let leads = |rig: &mut Rig, after: u64| {
        rig.world.model_mut().now = Duration::from_secs(after);
        rig.settle();
        let leader = rig.world.model().application("p").unwrap().leader.clone();
        leader.unwrap().to_string()
    };
    assert_eq!(leads(&mut rig, 41), "p/0");
    assert_eq!(leads(&mut rig, 42), "p/1");
    assert_eq!(rig.world.hooks_of("p/1").last(), Some(&"leader-elected"));
}

#[test]
fn nothing_of_a_unit_runs_while_its_agent_is_stopped() {
    let mut rig = Rig::settled(Four, 2, 1);
    rig.world.stop_agent("p/0").unwrap();
    rig.write("r/0", DB, "a=b");
    rig.settle();
    assert_eq!(rig.world.hooks_of("p/0"), [""; 0]);
    assert!(
        goal_of(&mut rig, "p/1")["units"]["p/0"].is_object(),
        "Juju goes on listing it"
    );
    rig.world.start_agent("p/0").unwrap();
    rig.settle();
    assert_eq!(rig.world.hooks_of("p/0"), ["db-relation-changed"]);
    // It renewed its lease in time.
    rig.world.model_mut().now = Duration::from_secs(100);
    rig.settle();
    assert!(rig.world.model().is_leader(&unit("p/0")));
}

#[test]
fn goal_state_is_live_within_a_hook() {
    let mut rig = Rig::settled(Four, 1, 1);
    let remove = Effect::ForceRemoveRelation(DB);
    rig.world.inject(Injection::at_call(4, remove));
    rig.world.model_mut().now = Duration::from_secs(90);
    rig.during("p/0", Hook::UpdateStatus, |tools| {
        let before = read(&tools.text(GOAL));
        assert_eq!(before["units"]["p/0"]["status"], "unknown");
        assert_eq!(before["units"]["p/0"]["since"], "2026-05-28 20:26:40Z");
        tools.text("status-set active");
        let after = read(&tools.text(GOAL));
        assert_eq!(after["units"]["p/0"]["status"], "active");
        assert_eq!(after["units"]["p/0"]["since"], "2026-05-28 20:28:10Z");
        assert!(after["relations"]["db"]["r/0"].is_object());
        assert_eq!(read(&tools.text(GOAL))["relations"], json!({}));
    });
}

#[test]
fn goal_state_lists_a_unit_from_its_first_moment_to_its_last() {
    let mut rig = Rig::settled(Four, 1, 1);
    let new = rig.world.add_unit("r").unwrap();
    let status = |rig: &mut Rig| {
        let goal = goal_of(rig, "p/0");
        goal["relations"]["db"]["r/1"]["status"]
            .as_str()
            .map(str::to_owned)
    };
    assert_eq!(status(&mut rig).as_deref(), Some("unknown"), "no machine");
    assert!(matches!(rig.world.begin(&new), Begun::Internal));
    assert_eq!(status(&mut rig).as_deref(), Some("waiting"));
    let Begun::Open(install) = rig.world.begin(&new) else {
        panic!("install is due");
    };
    assert_eq!(status(&mut rig).as_deref(), Some("maintenance"));
    rig.world.finish(*install);
    rig.settle();
    rig.ask("r/1", "status-set active");
    assert_eq!(status(&mut rig).as_deref(), Some("active"));
    rig.world.remove_unit("r/1").unwrap();
    assert_eq!(status(&mut rig).as_deref(), Some("dying"));
    assert_eq!(goal_of(&mut rig, "r/0")["units"]["r/1"]["status"], "dying");
    rig.settle();
    assert_eq!(status(&mut rig), None);
    assert_eq!(goal_of(&mut rig, "r/0")["units"]["r/1"], Value::Null);
}

/// `s`, a subordinate application, related to `p` and with a unit on the machine of each unit of
/// `r`.
fn with_subordinate(generation: JujuGeneration) -> Rig {
    let mut rig = Rig::settled(generation, 1, 2);
    let metadata = "{name: sub, subordinate: true, requires: {db: {interface: sql}}}";
    let charm = Charm::in_process(Metadata::parse(metadata, "", "").unwrap(), |_| {
        |_: &Environment, _: &mut CallTool<'_>| 0
    });
    rig.world.deploy("s", &charm, 0, &[]).unwrap();
    rig.world.integrate("p:db", "s:db").unwrap();
    for principal in ["r/0", "r/1"] {
        rig.world.add_subordinate("s", principal).unwrap();
    }
    rig.settle();
    rig
}

#[test]
fn goal_state_lists_a_subordinate_application_and_none_of_its_units() {
    for generation in BOTH {
        let mut rig = with_subordinate(generation);
        let members = stdout(&rig.ask("p/0", "relation-list -r 2"));
        assert_eq!(members, "s/0\ns/1\n");
        let goal = goal_of(&mut rig, "p/0");
        assert_eq!(keys(&goal["relations"]["db"]), ["r", "r/0", "r/1", "s"]);
        assert_eq!(keys(&goal["units"]), ["p/0"]);
    }
}

#[test]
fn a_subordinate_shares_the_machine_of_its_principal_and_goes_with_it() {
    let mut rig = with_subordinate(Four);
    assert!(
        rig.world.add_unit("s").is_err(),
        "it has no machine of its own"
    );
    assert!(rig.world.add_subordinate("r", "p/0").is_err());
    let machine = |rig: &Rig, name: &str| rig.world.model().unit(name).unwrap().1.machine;
    assert_eq!(machine(&rig, "s/1"), machine(&rig, "r/1"));
    // Its own goal-state does not list even itself.
    let run = rig.world.run_hook("s/0", Hook::UpdateStatus).unwrap();
    assert!(run.committed);
    rig.world.clear_history();
    rig.world.remove_unit("r/1").unwrap();
    rig.settle();
    assert!(rig.world.model().unit("s/1").is_err());
    let removed: Vec<&str> = rig
        .world
        .runs()
        .iter()
        .filter(|run| run.hook == "remove")
        .map(|run| run.unit.as_str())
        .collect();
    assert_eq!(
        removed,
        ["s/1", "r/1"],
        "a principal waits for its subordinates"
    );
    rig.world.lose_unit("r/0").unwrap();
    assert!(rig.world.model().unit("s/0").is_err());
}

#[test]
fn a_subordinate_does_not_find_itself_in_its_goal_state() {
    let metadata = "{name: sub, subordinate: true, requires: {db: {interface: sql}}}";
    let seen = Rc::new(RefCell::new(None));
    let kept = Rc::clone(&seen);
    let charm = Charm::in_process(Metadata::parse(metadata, "", "").unwrap(), move |_| {
        let kept = Rc::clone(&kept);
        move |environment: &Environment, tools: &mut CallTool<'_>| {
            assert_eq!(environment["JUJU_PRINCIPAL_UNIT"], "r/0");
            *kept.borrow_mut() = Some(Tools(tools).text(GOAL));
            0
        }
    });
    let mut rig = Rig::settled(Four, 1, 1);
    rig.world.deploy("s", &charm, 0, &[]).unwrap();
    rig.world.integrate("p:db", "s:db").unwrap();
    rig.world.add_subordinate("s", "r/0").unwrap();
    rig.settle();
    let goal = read(seen.borrow().as_deref().unwrap());
    assert_eq!(goal["units"], json!({}));
    assert_eq!(keys(&goal["relations"]["db"]), ["p", "p/0"]);
}

#[test]
fn goal_state_across_models_has_no_units_and_on_the_offering_side_nothing() {
    let url = "controller:admin/elsewhere.p";
    for (generation, alias, knob, listed) in [
        (Three, None, None, Some(url)),
        (Three, Some("east"), None, Some(url)),
        (Four, None, None, Some("p")),
        (Four, Some("east"), None, None),
        (Four, Some("east"), Some(ConsumedOffer::Name), Some("east")),
        (Four, Some("east"), Some(ConsumedOffer::Url), Some(url)),
        (Three, Some("east"), Some(ConsumedOffer::Nothing), None),
    ] {
        let mut rig = Rig::fresh(generation, 1, 1, 1);
        match alias {
            Some(name) => rig.world.integrate_consumed_as("p:db", "r:db", name),
            None => rig.world.integrate_across_models("p:db", "r:db"),
        }
        .unwrap();
        rig.world.model_mut().quirks.consumed_offers = knob;
        rig.settle();
        assert_eq!(goal_of(&mut rig, "p/0")["relations"], json!({}));
        let goal = goal_of(&mut rig, "r/0");
        let expected: Vec<&str> = listed.into_iter().collect();
        let found = goal["relations"].get("db").map(keys).unwrap_or_default();
        assert_eq!(found, expected, "{generation:?} {alias:?} {knob:?}");
    }
}

#[test]
fn an_offer_consumed_under_an_alias_has_no_other_name_in_the_consuming_model() {
    for generation in BOTH {
        let mut rig = Rig::fresh(generation, 1, 2, 1);
        rig.world
            .integrate_consumed_as("p:db", "r:db", "east")
            .unwrap();
        rig.world
            .integrate_consumed_as("p:db", "r:db", "west")
            .unwrap_err();
        rig.settle();
        rig.write("p/1", DB, "a=1");
        rig.settle();
        let mut ask = |line| stdout(&rig.ask("r/0", line));
        assert_eq!(ask("relation-list -r 1"), "east/0\neast/1\n");
        assert_eq!(ask("relation-list -r 1 --app"), "east\n");
        assert_eq!(ask("relation-get -r 1 a east/1"), "1\n");
        assert_eq!(rig.ask("r/0", "relation-get -r 1 a p/1").code, 1);
        let mut runs = rig.world.runs().iter();
        let joined =
            runs.find(|run| run.hook == "db-relation-joined" && run.unit.as_str() == "r/0");
        assert!(
            joined
                .unwrap()
                .remote_unit
                .as_deref()
                .unwrap()
                .starts_with("east/")
        );
    }
}

#[test]
fn a_cross_model_relation_made_again_has_another_name_and_number() {
    let mut rig = Rig::fresh(Four, 1, 1, 1);
    let first = rig.world.integrate_across_models("p:db", "r:db").unwrap();
    rig.settle();
    rig.world.remove_relation(first.0).unwrap();
    rig.settle();
    let second = rig.world.integrate_across_models("p:db", "r:db").unwrap();
    rig.settle();
    assert_ne!(first.0, second.0);
    assert_ne!(first.1, second.1);
    let members = stdout(&rig.ask("p/0", "relation-list -r 2"));
    assert_eq!(
        members,
        format!("{}/0\n", second.1),
        "the unit keeps its number"
    );
}

#[test]
fn juju_4_ends_a_cross_model_relation_with_any_unit_of_the_offering_application() {
    for (generation, ends) in [(Three, false), (Four, true)] {
        for lost in [false, true] {
            let mut rig = Rig::fresh(generation, 1, 2, 2);
            rig.world.set_leader("p/0").unwrap();
            let (id, alias) = rig.world.integrate_across_models("p:db", "r:db").unwrap();
            rig.settle();
            rig.world.clear_history();
            if lost {
                rig.world.lose_unit("p/1").unwrap();
            } else {
                rig.world.remove_unit("p/1").unwrap();
            }
            rig.settle();
            let departed = "db-relation-departed";
            let consuming: &[&str] = match ends {
                true => &[departed, departed, "db-relation-broken"],
                false => &[departed],
            };
            assert_eq!(rig.world.hooks_of("r/0"), consuming, "{generation:?}");
            let of_db = |hook: &&str| hook.starts_with("db-");
            assert_eq!(
                rig.world.hooks_of("p/0").into_iter().filter(of_db).count(),
                0
            );
            let listed = stdout(&rig.ask("p/0", "relation-list -r 1"));
            assert_eq!(listed, format!("{alias}/0\n{alias}/1\n"));
            if ends {
                assert_eq!(stdout(&rig.ask("r/0", "relation-ids db")), "");
                let (again, _) = rig.world.integrate_across_models("p:db", "r:db").unwrap();
                rig.settle();
                assert_ne!(again, id);
                let members = stdout(&rig.ask("r/0", &format!("relation-list -r {again}")));
                assert_eq!(members, "p/0\n");
            }
        }
    }
}

#[test]
fn relation_created_is_run_for_peers_at_any_time() {
    let first = |seed| {
        let mut rig = Rig::fresh(Four, seed, 1, 1);
        rig.world.integrate("p:db", "r:db").unwrap();
        rig.settle();
        rig.world.hooks_of("p/0")[1].to_owned()
    };
    let firsts: BTreeSet<String> = (0..20).map(first).collect();
    assert_eq!(firsts.len(), 2, "{firsts:?}");
}

#[test]
fn relation_broken_lists_its_relation_and_its_bags_are_there() {
    let mut rig = Rig::settled(Four, 1, 1);
    rig.write("r/0", DB, "a=1");
    rig.settle();
    let answers = Rc::new(RefCell::new(Vec::new()));
    let kept = Rc::clone(&answers);
    rig.charms(move |unit, environment, tools| {
        if unit.as_str() == "p/0" && environment["JUJU_HOOK_NAME"] == "db-relation-broken" {
            for line in [
                "relation-ids db",
                "relation-get -r 1 a r/0",
                "relation-get -r 1 --format=json egress-subnets p/0",
                "relation-set -r 1 b=1",
            ] {
                let output = Tools(tools).call(line);
                kept.borrow_mut().push((output.code, stdout(&output)));
            }
        }
        0
    });
    rig.world.remove_relation(DB).unwrap();
    rig.settle();
    let row = |text: &str| (0, text.to_owned());
    let expected = [row("db:1\n"), row("1\n"), row("\"10.0.0.1/32\"\n"), row("")];
    assert_eq!(*answers.borrow(), expected);
}

#[test]
fn show_unit_has_the_own_applications_bag_on_juju_4_and_the_related_ones_on_3() {
    for (generation, data) in [(Three, "theirs"), (Four, "ours")] {
        let mut rig = Rig::settled(generation, 2, 2);
        rig.world.set_leader("r/0").unwrap();
        rig.settle();
        rig.write("p/0", DB, "--app whose=ours");
        rig.write("r/0", DB, "--app whose=theirs");
        rig.write("p/0", PEER, "--app ledger=1");
        rig.write("r/1", DB, "hostname=h1");
        rig.world.add_unit("r").unwrap();
        let text = show_unit(rig.world.model(), &["p/0", "r/1"]).unwrap();
        let shown: Value = serde_yaml::from_str(&text).unwrap();
        assert_eq!(keys(&shown), ["p/0", "r/1"]);
        assert_eq!(shown["p/0"]["leader"], true);
        let relations = shown["p/0"]["relation-info"].as_array().unwrap();
        let [peer, db] = relations.as_slice() else {
            panic!("{text}");
        };
        assert_eq!(
            (&peer["relation-id"], &db["relation-id"]),
            (&json!(0), &json!(1))
        );
        assert_eq!(peer["application-data"], json!({"ledger": "1"}));
        assert_eq!(peer["local-unit"]["in-scope"], true);
        assert_eq!(keys(&peer["related-units"]), ["p/1"]);
        assert_eq!(db["application-data"], json!({"whose": data}));
        assert_eq!(db.get("local-unit"), None, "for peers alone");
        assert_eq!(db.get("cross-model"), None);
        assert_eq!(
            (&db["endpoint"], &db["related-endpoint"]),
            (&json!("db"), &json!("db"))
        );
        assert_eq!(keys(&db["related-units"]), ["r/0", "r/1", "r/2"]);
        assert_eq!(db["related-units"]["r/1"]["data"]["hostname"], "h1");
        assert_eq!(db["related-units"]["r/2"]["in-scope"], false);
        assert!(show_unit(rig.world.model(), &["p/9"]).is_err());
    }
}

#[test]
fn show_unit_of_juju_4_never_says_that_a_relation_is_across_models() {
    for (generation, said) in [(Three, Some(&json!(true))), (Four, None)] {
        let mut rig = Rig::fresh(generation, 1, 1, 1);
        let (_, alias) = rig.world.integrate_across_models("p:db", "r:db").unwrap();
        rig.settle();
        let text = show_unit(rig.world.model(), &["p/0"]).unwrap();
        let shown: Value = serde_yaml::from_str(&text).unwrap();
        let db = &shown["p/0"]["relation-info"][1];
        assert_eq!(db.get("cross-model"), said);
        assert_eq!(keys(&db["related-units"]), [format!("{alias}/0")]);
    }
}

#[test]
fn the_applications_row_is_some_units_unless_the_leader_sets_it() {
    let mut rig = Rig::settled(Four, 3, 1);
    rig.ask("p/0", "status-set active leads");
    for standby in ["p/1", "p/2"] {
        rig.ask(standby, "status-set active standby");
    }
    let row = |rig: &Rig| rig.world.model().application_row("p").unwrap();
    assert_eq!(
        (row(&rig).status.as_str(), row(&rig).message.as_str()),
        ("active", "standby")
    );
    rig.ask("p/0", "status-set blocked help");
    assert_eq!(row(&rig).message, "help", "the gravest");
    rig.ask("p/0", "status-set --application active leads");
    assert_eq!(
        (row(&rig).status.as_str(), row(&rig).message.as_str()),
        ("active", "leads")
    );
}

#[test]
fn a_killed_hook_runs_again_after_4_6_seconds_and_nothing_before_it() {
    let setup = Setup {
        units: 1,
        ..Setup::default()
    };
    let mut deployment = setup.deploy().unwrap();
    deployment.relate_all().unwrap();
    let pace = Pace {
        update_status: None,
        ..Pace::default()
    };
    let mut timeline = Timeline::new(deployment, pace);
    let limit = Duration::from_secs(600);
    timeline.run(limit, |_, _, _| false).unwrap();
    let start = timeline.now();
    timeline.plan(start, |deployment| {
        let kill = Injection::at_call(1, Effect::Kill).during("config-changed");
        deployment.world.inject(kill);
        deployment
            .world
            .set_config(DISTRIBUTOR, &[("log-level", "debug")])?;
        Ok(())
    });
    let mut ended = Vec::new();
    timeline
        .run(2 * limit, |now, happened, _| {
            if let Happened::Ended(run) = happened
                && run.unit.application() == DISTRIBUTOR
            {
                ended.push((run.hook.clone(), run.ending.clone(), run.started, now));
            }
            false
        })
        .unwrap();
    let [(first, killed, _, at), (second, well, again, _), ..] = ended.as_slice() else {
        panic!("{ended:?}");
    };
    assert_eq!(
        (first.as_str(), second.as_str()),
        ("config-changed", "config-changed")
    );
    assert_eq!((killed, well), (&Ending::Signalled(9), &Ending::Exited(0)));
    assert_eq!(*again, *at + RERUN_PAUSE);
    assert_eq!(RERUN_PAUSE, Duration::from_millis(4600));
}

#[test]
fn a_parameter_that_an_action_does_not_have_fails_the_call_on_juju_3_and_the_task_on_4() {
    for generation in BOTH {
        let mut rig = Rig::settled(generation, 1, 1);
        rig.charms(|_, _, _| panic!("the charm is not started"));
        let given = json!({"copies": 1, "nonsense": true})
            .as_object()
            .unwrap()
            .clone();
        let ran = rig.world.run_action("p/0", "backup", given);
        let refusal = match generation {
            Three => ran.unwrap_err().to_string(),
            Four => ran.unwrap().failure.unwrap(),
        };
        assert!(refusal.contains("\"nonsense\" is not allowed"), "{refusal}");
    }
}

#[test]
fn actions_run_while_a_unit_is_in_error() {
    let mut rig = Rig::settled(Four, 1, 1);
    rig.world.set_automatic_retry(false);
    rig.charms(|_, environment, _| i32::from(environment["JUJU_HOOK_NAME"] == "config-changed"));
    rig.world.set_config("p", &[("name", "x")]).unwrap();
    rig.settle();
    assert_eq!(rig.world.status()[0].agent, "error");
    let given = json!({"copies": 1}).as_object().unwrap().clone();
    assert_eq!(
        rig.world
            .run_action("p/0", "backup", given)
            .unwrap()
            .failure,
        None
    );
}

#[test]
fn without_a_subnet_bags_have_no_addresses_and_network_get_fails() {
    for (knows, length, code) in [(true, 2, 0), (false, 0, 1)] {
        let mut rig = Rig::fresh(Four, 1, 1, 1);
        rig.world.model_mut().quirks.knows_no_subnet = !knows;
        rig.world.integrate("p:db", "r:db").unwrap();
        rig.settle();
        assert_eq!(rig.world.unit_bag(DB, "p/0").len(), length);
        assert_eq!(rig.ask("p/0", "network-get db").code, code);
    }
}

#[test]
fn one_side_of_a_relation_can_be_refused_alone() {
    for complaint in Complaint::ALL {
        let mut rig = Rig::settled(Four, 1, 2);
        let only = Some(Party::Application(juju_emulator::AppName::new("r")));
        let refused = Unserved { complaint, only };
        rig.world.model_mut().stop_serving(DB, refused).unwrap();
        for asks in ["r/0", "r/1"] {
            let own = rig.ask(asks, &format!("relation-get -r 1 - {asks}"));
            assert_ne!(own.code, 0, "{complaint:?} {asks}");
        }
        assert_eq!(rig.ask("p/0", "relation-get -r 1 - p/0").code, 0);
        assert_eq!(rig.ask("p/0", "relation-get -r 1 - r/0").code, 0);
    }
}

#[test]
fn goal_state_can_leave_out_by_chance_and_never_says_more() {
    let mut rig = Rig::settled(Four, 3, 3);
    let all = goal_of(&mut rig, "p/0");
    let said = |value: &Value| -> BTreeSet<String> {
        let relations = value["relations"].get("db").map(keys).unwrap_or_default();
        let units = keys(&value["units"]);
        units
            .into_iter()
            .chain(relations)
            .map(str::to_owned)
            .collect()
    };
    let whole = said(&all);
    assert_eq!(whole.len(), 7);
    for (percent, least, most) in [(0, 7, 7), (100, 3, 3), (40, 3, 7)] {
        let mut seen = BTreeSet::new();
        rig.world.model_mut().quirks.goal_state_omits = Some(Omissions::new(percent, 1));
        for _ in 0..40 {
            let said = said(&goal_of(&mut rig, "p/0"));
            assert!(said.is_subset(&whole), "{said:?}");
            assert!(said.contains("r") || !said.iter().any(|name| name.starts_with('r')));
            seen.insert(said.len());
        }
        assert!(
            seen.iter().all(|count| (least..=most).contains(count)),
            "{seen:?}"
        );
        assert!((percent == 40) == (seen.len() > 3), "{percent}: {seen:?}");
    }
}

#[test]
fn contents_that_juju_4_takes_for_equal_are_committed_and_never_delivered() {
    let mut rig = Rig::settled(Four, 1, 1);
    for document in [&b"{nn: b, oo: d}"[..], b"{nn: b oo d, oo: ''}"] {
        rig.settle();
        rig.world.clear_history();
        rig.during("r/0", Hook::UpdateStatus, move |tools| {
            tools.call_with("relation-set -r 1 --file -", Some(document));
        });
    }
    rig.settle();
    assert_eq!(rig.world.hooks_of("p/0"), [""; 0]);
    assert_eq!(rig.world.unit_bag(RelationId(1), "r/0")["nn"], "b oo d");
    let late = rig.ask_in("p/0", changed("r/0"), "relation-get nn");
    assert_eq!(
        stdout(&late),
        "b oo d\n",
        "a hook for another reason shows it"
    );
}

#[test]
fn the_table_names_tests_that_are_there() {
    let sources = [
        include_str!("commit.rs"),
        include_str!("order.rs"),
        include_str!("peers.rs"),
        include_str!("seen.rs"),
        include_str!("../cases.rs"),
    ];
    let rows = include_str!("../../README.md").lines();
    let cells = rows.filter_map(|row| row.strip_prefix("| ")?.rsplit(" | ").next());
    let code = cells.flat_map(|cell| cell.split('`').skip(1).step_by(2));
    let named: Vec<&str> = code.filter(|name| !name.ends_with(".rs")).collect();
    assert!(named.len() > 30, "{named:?}");
    for name in named {
        let declaration = format!("fn {name}()");
        assert!(
            sources.iter().any(|source| source.contains(&declaration)),
            "{name}"
        );
    }
}

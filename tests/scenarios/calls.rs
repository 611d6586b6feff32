//! How many hook tools each hook calls: every call is a process, and a question that the agent
//! answers one at a time.

use juju_emulator::JujuGeneration;
use juju_emulator::deployment::Provider;

use crate::stage::{BOTH, LEADER, SECRET, STANDBY, Stage};

/// A leader and a standby at rest, with `units` consumer units whose tokens are mirrored.
fn settled(juju: JujuGeneration, units: usize, provider: &Provider) -> Stage {
    let mut stage = Stage::new(juju, 2).related("microovn", units);
    for number in 0..units {
        let host = format!("h{number}");
        stage.says(&format!("microovn/{number}"), &[("hostname", &host)]);
    }
    let keys: Vec<String> = (1..units)
        .map(|number| format!("mirror-h{number}"))
        .collect();
    let tokens = keys.iter().map(|key| (key.as_str(), SECRET));
    let up: Vec<(&str, &str)> = tokens.chain([("mirror", "up")]).collect();
    stage.says("microovn/0", &up);
    let mut stage = stage.played_by(provider);
    // A first look at everything leaves what is not worth a hook of every consumer.
    stage.hook(LEADER, "update-status").succeeds();
    stage.settle();
    stage.world.clear_history();
    stage
}

fn counts_are_as_specified(juju: JujuGeneration, units: usize, provider: &Provider) {
    let mut stage = settled(juju, units, provider);
    assert_eq!(stage.status(LEADER), format!("active {units} hosts"));
    assert_eq!(stage.status(STANDBY), "active standby");

    // What a look at everything asks besides every unit, and what a standby asks to see whether it
    // is in anybody's way. None of it grows with the number of units.
    let (everything, stand_by) = (units + 12, 6);
    for (hook, leader, standby) in [
        ("install", 1, 1),
        ("leader-elected", everything, stand_by),
        ("config-changed", everything, stand_by),
        ("start", everything, stand_by),
        ("upgrade-charm", everything + 1, stand_by + 1),
        ("update-status", 6, stand_by),
        ("stop", 0, 0),
        ("remove", 0, 0),
        ("a-hook-of-2031", 0, 0),
    ] {
        for (unit, calls) in [(LEADER, leader), (STANDBY, standby)] {
            let played = stage.hook(unit, hook);
            assert_eq!(
                played.succeeds().wrote(&[]).calls(),
                calls,
                "{juju:?}: {hook} of {unit}: {:?}",
                played.run.tool_calls
            );
        }
    }
    // A standby reads the ledger before it knows that it need not ask whether it leads.
    for (event, remote, leader, standby) in [
        ("created", "microovn", 10, stand_by),
        ("joined", "microovn/1", 3, 3),
        ("changed", "microovn/0", 3, 3),
        ("changed", "microovn/1", 3, 3),
        ("changed", "microovn", 0, 0),
        ("departed", "microovn/5000", 3, 3),
        ("changed", "mtd", 1, 2),
        ("broken", "microovn", 10, 3),
    ] {
        for (unit, calls) in [(LEADER, leader), (STANDBY, standby)] {
            let played = stage.relation_hook(unit, event, remote);
            // Of a relation that is over the ledger keeps a mark, and the status goes.
            if event != "broken" {
                played.wrote(&[]);
            }
            assert_eq!(
                played.succeeds().calls(),
                calls,
                "{juju:?}: {event} {remote} of {unit}: {:?}",
                played.run.tool_calls
            );
        }
    }
}

#[test]
fn a_hook_of_three_units_calls_as_few_tools_as_specified() {
    for juju in BOTH {
        counts_are_as_specified(juju, 3, &Provider::Executable);
    }
}

#[test]
fn a_hook_of_a_thousand_units_calls_as_few_tools_as_specified() {
    counts_are_as_specified(JujuGeneration::Four, 1000, &Provider::Library);
}

#[test]
fn news_that_changes_the_status_costs_eight_calls_and_one_for_each_relation() {
    for relations in [1, 3] {
        let mut stage = Stage::new(JujuGeneration::Four, 2).related("microovn", 3);
        stage.says("microovn/0", &[("hostname", "h0"), ("mirror", "up")]);
        for app in ["a", "b"].into_iter().take(relations - 1) {
            stage = stage.related(app, 0);
        }
        let mut stage = stage.played_by(&Provider::Executable);
        // An agent goes on showing the bags it knows until their own relation-changed.
        stage.world.restart_agent(LEADER).expect("it is there");
        // An announcement asks what else is to come, and reads those who have not been heard.
        stage.says("microovn/1", &[("hostname", "h1")]);
        stage.says("microovn/2", &[("hostname", "h2")]);
        let played = stage.changed("microovn/1");
        assert_eq!(
            played.succeeds().calls(),
            8 + relations + 2,
            "{:?}",
            played.run.tool_calls
        );
        assert_eq!(stage.ledger()["mirror-h2"], "empty");
        stage.says("microovn/0", &[("mirror-h1", SECRET)]);
        let played = stage.changed("microovn/0");
        assert_eq!(
            played.succeeds().calls(),
            8 + relations,
            "{:?}",
            played.run.tool_calls
        );
        for app in ["microovn", "a", "b"].into_iter().take(relations) {
            assert_eq!(stage.shown(LEADER, app)["mirror-h1"], SECRET);
        }
        // The standby sees the next news before the leader does, and asks whether it leads.
        stage.says("microovn/0", &[("mirror-h2", SECRET)]);
        let played = stage.relation_hook(STANDBY, "changed", "microovn/0");
        assert_eq!(played.succeeds().wrote(&[]).calls(), 3);
    }
}

#[test]
fn a_unit_that_leaves_asks_nothing_of_those_that_stay() {
    let mut stage = settled(JujuGeneration::Four, 3, &Provider::Executable);
    stage.world.remove_unit(LEADER).expect("it is there");
    let played = stage.relation_hook(LEADER, "departed", "microovn/1");
    assert_eq!(played.succeeds().wrote(&[]).calls(), 0);
}

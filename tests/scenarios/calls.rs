//! How many hook tools each hook calls: every call is a process, and a question that the agent
//! answers one at a time.

use juju_emulator::JujuGeneration;
use juju_emulator::deployment::Provider;

use crate::stage::{LEADER, SECRET, STANDBY, Stage};

/// A leader and a standby at rest, with `units` consumer units whose tokens are mirrored.
fn settled(units: usize, provider: &Provider) -> Stage {
    let mut stage = Stage::new(JujuGeneration::Four, 2).related("microovn", units);
    for number in 0..units {
        let host = format!("h{number}");
        stage.says(&format!("microovn/{number}"), &[("hostname", &host)]);
    }
    let keys: Vec<String> = (0..units)
        .map(|number| format!("mirror-h{number}"))
        .collect();
    let tokens = keys.iter().map(|key| (key.as_str(), SECRET));
    let up: Vec<(&str, &str)> = tokens.chain([("mirror", "up")]).collect();
    stage.says("microovn/0", &up);
    let mut stage = stage.played_by(provider);
    // The standby may have run before there was a mirror to see.
    stage.hook(STANDBY, "update-status").succeeds();
    stage
}

fn counts_are_as_specified(units: usize, provider: &Provider) {
    let mut stage = settled(units, provider);
    assert_eq!(stage.status(LEADER), format!("active {units} hosts"));
    assert_eq!(stage.status(STANDBY), "active standby");

    // What a look at everything asks besides every unit, and what a standby asks to see whether it
    // is in anybody's way. None of it grows with the number of units.
    let (everything, stand_by) = (units + 9, 8);
    for (hook, leader, standby) in [
        ("install", 1, 1),
        ("leader-elected", everything, stand_by),
        ("config-changed", everything, stand_by),
        ("start", everything, stand_by),
        ("upgrade-charm", everything + 1, stand_by + 1),
        ("update-status", 4, stand_by),
        ("stop", 0, 0),
        ("remove", 0, 0),
        ("a-hook-of-2031", 0, 0),
        ("cluster-relation-changed", 0, 0),
    ] {
        for (unit, calls) in [(LEADER, leader), (STANDBY, standby)] {
            let played = stage.hook(unit, hook);
            assert_eq!(
                played.succeeds().wrote(&[]).calls(),
                calls,
                "{hook} of {unit}"
            );
        }
    }
    // Whether a unit leads has to be asked, so a standby's least is one call where anything at all
    // depends on it.
    for (event, remote, leader, standby) in [
        ("created", "microovn", 8, stand_by),
        ("joined", "microovn/1", 3, 2),
        ("changed", "microovn/0", 3, 2),
        ("changed", "microovn/1", 3, 2),
        ("changed", "microovn", 0, 0),
        ("departed", "microovn/2", 3, 1),
        ("broken", "microovn", 6, 1),
    ] {
        for (unit, calls) in [(LEADER, leader), (STANDBY, standby)] {
            let played = stage.relation_hook(unit, event, remote);
            assert_eq!(
                played.succeeds().wrote(&[]).calls(),
                calls,
                "{event} {remote} of {unit}"
            );
        }
    }
}

#[test]
fn a_hook_of_three_units_calls_as_few_tools_as_specified() {
    counts_are_as_specified(3, &Provider::Executable);
}

#[test]
fn a_hook_of_a_thousand_units_calls_as_few_tools_as_specified() {
    counts_are_as_specified(1000, &Provider::Library);
}

#[test]
fn a_unit_that_leaves_asks_nothing_of_those_that_stay() {
    let mut stage = settled(3, &Provider::Executable);
    stage.world.remove_unit(LEADER).expect("it is there");
    let played = stage.relation_hook(LEADER, "departed", "microovn/1");
    assert_eq!(played.succeeds().wrote(&[]).calls(), 0);
}

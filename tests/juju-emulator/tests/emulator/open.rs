//! Hooks that are open while something else happens.

use juju_emulator::JujuGeneration::{Four, Three};
use juju_emulator::world::{Begun, OpenHook};
use juju_emulator::{Complaint, UnitName, Unserved};

use crate::support::{DB, PEER, Rig, Tools};

/// Begins the update-status hook of a unit.
fn begin(rig: &mut Rig, unit: &str) -> OpenHook {
    rig.world.fire_update_status(unit).unwrap();
    match rig.world.begin(&UnitName::parse(unit).unwrap()) {
        Begun::Open(open) => *open,
        _ => panic!("update-status is due"),
    }
}

/// What becomes of a hook of `p/0` that writes to the ledger, after `meanwhile`.
fn after(mut rig: Rig, meanwhile: impl FnOnce(&mut Rig)) -> (bool, String) {
    rig.charms(|_, _, tools| Tools(tools).call("relation-set -r 0 --app a=1").code);
    let open = begin(&mut rig, "p/0");
    meanwhile(&mut rig);
    rig.world.finish(open);
    let run = rig.world.runs().last().unwrap();
    (run.committed, run.failure.clone().unwrap_or_default())
}

#[test]
fn juju_4_commits_only_for_a_unit_in_the_scope() {
    let leave = |rig: &mut Rig| {
        rig.world
            .model_mut()
            .leave_scope(PEER, &UnitName::new("p", 0))
    };
    for (generation, committed) in [(Three, true), (Four, false)] {
        assert_eq!(
            after(Rig::settled(generation, 1, 1), leave).0,
            committed,
            "{generation:?}"
        );
        assert!(after(Rig::settled(generation, 1, 1), |_| {}).0);
    }
}

#[test]
fn a_commit_that_names_a_relation_not_served_is_refused() {
    for (generation, words) in [
        (Three, "permission denied"),
        (Four, "expected 1 relations but found 0"),
    ] {
        let (committed, failure) = after(Rig::settled(generation, 1, 1), |rig| {
            let usual = Unserved {
                complaint: Complaint::Usual,
                only: None,
            };
            rig.world.model_mut().stop_serving(PEER, usual).unwrap();
        });
        assert!(!committed && failure.contains(words), "{failure}");
    }
}

#[test]
fn an_agent_restarted_during_a_hook_takes_it_for_failed() {
    let (committed, failure) = after(Rig::settled(Four, 1, 1), |rig| {
        rig.world.restart_agent("p/0").unwrap();
    });
    assert_eq!((committed, &*failure), (false, "agent died"));
}

#[test]
fn two_contexts_are_open_at_once_and_each_sees_the_model_of_its_beginning() {
    let mut rig = Rig::settled(Four, 1, 1);
    rig.charms(|unit, _, tools| {
        let other = if unit.application() == "p" {
            "r/0"
        } else {
            "p/0"
        };
        let mut tools = Tools(tools);
        let seen = tools.text(&format!("relation-get -r 1 --format=json a {other}"));
        tools
            .call(&format!("relation-set -r 1 a=saw-{}", seen.trim_end()))
            .code
    });
    let mut opened = Vec::new();
    for unit in ["p/0", "r/0"] {
        opened.push(begin(&mut rig, unit));
        let again = rig.world.begin(&UnitName::parse(unit).unwrap());
        assert!(matches!(again, Begun::Nothing), "one at a time per unit");
    }
    assert!(rig.world.commits().is_empty());
    opened.into_iter().for_each(|open| rig.world.finish(open));
    for unit in ["p/0", "r/0"] {
        assert_eq!(rig.world.unit_bag(DB, unit)["a"], "saw-null");
    }
}

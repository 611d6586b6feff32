//! What only some Jujus do, with the knob turned and not.

use juju_emulator::JujuGeneration::{Four, Three};
use juju_emulator::faults::refusals;
use juju_emulator::tools::TOOLS;
use juju_emulator::{Complaint, Effect, Injection, ToolOutput, Unserved};

use crate::support::{BOTH, PEER, Rig, stdout};

const OWN_APP: &str = "relation-get -r 0 --app a p";
const OWN_UNIT: &str = "relation-get -r 0 - p/0";
const PEER_UNIT: &str = "relation-get -r 0 - p/1";
const LIST: &str = "relation-list -r 0";
const REMOTE: &str = "relation-list -r 0 --app";
const SET_APP: &str = "relation-set -r 0 --app a=2";
const SET_UNIT: &str = "relation-set -r 0 a=2";
const NOTHING: &str = "relation-set -r 0";

fn unserved(complaint: Complaint) -> Unserved {
    Unserved {
        complaint,
        only: None,
    }
}

fn refusal(code: i32, message: &str) -> ToolOutput {
    ToolOutput::error(code, message)
}

#[test]
fn a_relation_that_is_listed_and_not_served_answers_as_asked() {
    let unknown = "invalid value \"0\" for option -r: relation not found";
    for generation in BOTH {
        for complaint in Complaint::ALL {
            let mut rig = Rig::settled(generation, 2, 1);
            rig.write("p/0", PEER, "--app a=1");
            let model = rig.world.model_mut();
            model.stop_serving(PEER, unserved(complaint)).unwrap();
            assert_eq!(
                stdout(&rig.ask("p/0", "relation-ids friends")),
                "friends:0\n"
            );
            for line in [
                OWN_APP, OWN_UNIT, PEER_UNIT, LIST, REMOTE, SET_APP, SET_UNIT,
            ] {
                let output = rig.ask("p/0", line);
                let words = match complaint {
                    Complaint::Usual => "permission denied",
                    Complaint::PermissionDenied => "permission denied",
                    Complaint::Unauthorized => "permission denied (unauthorized access)",
                    Complaint::NumberNotFound => "relation 0 not found",
                    Complaint::NotFound => "relation not found",
                    Complaint::KeyNotFound => "getting regular relation by key: relation not found",
                    Complaint::UnitNotFound => "relation unit not found",
                    Complaint::UnknownNumber => {
                        assert_eq!(output, refusal(2, unknown), "{line}");
                        continue;
                    }
                };
                if complaint == Complaint::Usual && [LIST, REMOTE].contains(&line) {
                    assert_eq!(output.code, 0, "the agent remembers: {line}");
                    continue;
                }
                // Each tool asks the controller in its own way.
                let words = match (complaint, generation, line) {
                    (Complaint::Usual, Four, PEER_UNIT) => "relation not found",
                    (Complaint::Usual, Four, OWN_APP | SET_APP) => {
                        "permission denied (unauthorized access)"
                    }
                    _ => words,
                };
                let before = match line {
                    SET_APP => "cannot read relation application settings: ",
                    SET_UNIT => "cannot read relation settings: ",
                    _ => "",
                };
                let expected = refusal(1, &format!("{before}{words}"));
                assert_eq!(output, expected, "{generation:?} {complaint:?} {line}");
            }
            // A standby's look at the ledger.
            let words = match (complaint, generation) {
                (Complaint::Usual, Three) => "permission denied".to_owned(),
                (Complaint::Usual, Four) => "relation not found".to_owned(),
                _ => complaint.words(PEER).unwrap_or_default(),
            };
            let output = rig.ask("p/1", OWN_APP);
            if complaint != Complaint::UnknownNumber {
                assert_eq!(output, refusal(1, &words), "{generation:?} {complaint:?}");
            }
            // Other relations are served, and this one again.
            assert_eq!(rig.ask("p/0", "relation-list -r 1").code, 0);
            rig.world.model_mut().serve_again(PEER);
            assert_eq!(stdout(&rig.ask("p/0", OWN_APP)), "1\n");
        }
    }
}

#[test]
fn every_refusal_of_every_tool_can_be_had() {
    let mut rig = Rig::settled(Four, 1, 1);
    let mut count = 0;
    for tool in TOOLS {
        for effect in refusals(tool, "friends:0") {
            let Effect::Fail { code, message } = effect.clone() else {
                panic!("{effect:?} is no refusal");
            };
            rig.world.inject(Injection::at_every(Some(tool), effect));
            for _ in 0..2 {
                assert_eq!(rig.ask("p/0", tool), refusal(code, &message), "{tool}");
            }
            let other = if tool == "is-leader" {
                NOTHING
            } else {
                "is-leader"
            };
            assert_eq!(rig.ask("p/0", other).code, 0, "only that tool");
            rig.world.clear_faults();
            count += 1;
        }
    }
    assert!(count > 40, "{count}");
    let all = Effect::Fail {
        code: 1,
        message: "connection is shut down".to_owned(),
    };
    rig.world.inject(Injection::at_every(None, all));
    for line in ["is-leader", LIST, "goal-state"] {
        assert_eq!(rig.ask("p/0", line).code, 1);
    }
}

#[test]
fn a_tool_can_be_refused_about_one_relation() {
    let mut rig = Rig::settled(Four, 1, 1);
    let denied = Effect::Fail {
        code: 1,
        message: "permission denied".to_owned(),
    };
    let about = Injection::at_every_about("relation-list", "friends:0", denied);
    rig.world.inject(about);
    for (line, code) in [
        ("relation-list -r friends:0", 1),
        ("relation-list -r friends:0", 1),
        ("relation-list -r db:1", 0),
        ("relation-get -r friends:0 - p/0", 0),
    ] {
        assert_eq!(rig.ask("p/0", line).code, code, "{line}");
    }
}

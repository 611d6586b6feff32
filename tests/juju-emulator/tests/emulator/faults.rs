//! Faults happen at the chosen call, and do what they say.

use std::time::Duration;

use juju_emulator::JujuGeneration::Four;
use juju_emulator::agent::Hook;
use juju_emulator::process::Ending;
use juju_emulator::{Effect, Fault, Injection, ToolOutput};

use crate::process::Shell;
use crate::support::{DB, Rig, Tools};

#[test]
fn a_fault_strikes_once_at_its_call_on_its_unit_in_its_hook() {
    let mut rig = Rig::settled(Four, 2, 1);
    let fail = Effect::Fail {
        code: 1,
        message: "no".to_owned(),
    };
    let injection = Injection::at_tool("is-leader", 2, fail);
    rig.world
        .inject(injection.on("p/0").during("update-status"));
    for (unit, hook, codes) in [
        ("p/1", Hook::UpdateStatus, [0, 0, 0]),
        ("p/0", Hook::Start, [0, 0, 0]),
        ("p/0", Hook::UpdateStatus, [0, 0, 1]),
        ("p/0", Hook::UpdateStatus, [0, 0, 0]),
    ] {
        let run = rig.during(unit, hook, |tools| {
            for line in ["is-leader", "config-get", "is-leader"] {
                tools.call(line);
            }
        });
        let answered: Vec<i32> = run.tool_calls.iter().map(|call| call.code).collect();
        assert_eq!(answered, codes, "{unit} {}", run.hook);
    }
}

#[test]
fn output_is_spoilt_as_asked() {
    for (effect, stdout) in [
        (Effect::Print(b"rubbish".to_vec()), &b"rubbish"[..]),
        (Effect::Truncate, b"fal"),
        (Effect::InvalidUtf8, b"fal\xff\xfese\n"),
        (Effect::Hang(Duration::from_millis(1)), b"false\n"),
    ] {
        let mut rig = Rig::settled(Four, 2, 1);
        rig.world.inject(Injection::at_call(1, effect.clone()));
        let output = rig.ask("p/1", "is-leader --format=json");
        let expected = ToolOutput {
            code: 0,
            stdout: stdout.to_vec(),
            ..ToolOutput::default()
        };
        assert_eq!(output, expected, "{effect:?}");
    }
}

#[test]
fn a_tool_that_reads_standard_input_is_one_call() {
    let script = "echo a: 1 | relation-set -r 0 --file -; echo $?; is-leader --format=json";
    let mut shell = Shell::new(Four, "exit 0");
    shell.world.settle(100).unwrap();
    let charm = shell.world.places("s/0").unwrap().charm.join("dispatch");
    std::fs::write(charm, format!("#!/bin/sh\n{script}\n")).unwrap();
    for (call, stdout) in [(1, "rubbish0\ntrue\n"), (2, "0\nrubbish")] {
        let rubbish = Effect::Print(b"rubbish".to_vec());
        shell.world.inject(Injection::at_call(call, rubbish));
        let run = shell.run();
        assert_eq!(String::from_utf8(run.stdout).unwrap(), stdout);
        assert_eq!(run.tool_calls.len(), 2);
    }
}

#[test]
fn a_killed_charm_of_either_kind_is_run_again_at_once() {
    for (effect, signal) in [(Effect::Kill, 9), (Effect::Terminate, 15)] {
        let mut rig = Rig::settled(Four, 1, 1);
        rig.charms(|_, environment, tools| {
            let mut tools = Tools(tools);
            if environment["JUJU_HOOK_NAME"] == "config-changed" {
                tools.call("relation-set -r 1 a=1");
                tools.call("is-leader");
                tools.call("relation-set -r 1 b=1");
            }
            0
        });
        rig.world.set_config("p", &[("name", "x")]).unwrap();
        rig.world
            .inject(Injection::at_call(2, effect.clone()).on("p/0"));
        assert!(rig.world.step());
        assert!(!rig.world.unit_bag(DB, "p/0").contains_key("a"));
        assert_eq!(rig.world.runs()[0].ending, Ending::Signalled(signal));
        assert_eq!(rig.world.status()[0].agent, "idle");
        rig.settle();
        assert_eq!(rig.world.unit_bag(DB, "p/0")["b"], "1");
        assert!(
            rig.world
                .hooks_of("p/0")
                .starts_with(&["config-changed", "config-changed"])
        );

        let mut shell = Shell::new(Four, "is-leader; is-leader; echo alive");
        shell.world.inject(Injection::at_call(2, effect));
        let run = shell.run();
        assert_eq!(run.ending, Ending::Signalled(signal));
        assert_eq!(
            run.stdout,
            b"False
",
            "only the first tool answered"
        );
    }
}

#[test]
fn a_process_may_outlive_sigterm() {
    let mut shell = Shell::new(
        Four,
        "trap 'echo caught' TERM; is-leader; is-leader; exit 0",
    );
    shell.world.inject(Injection::at_call(1, Effect::Terminate));
    let run = shell.run();
    assert_eq!(run.ending, Ending::Exited(0));
    assert!(run.stdout.starts_with(b"caught\n"), "{run:?}");
    assert_eq!(run.tool_calls.len(), 2);
}

#[test]
fn a_charm_can_be_left_without_path_or_without_a_tool() {
    let script = "echo \"[$PATH]\"; is-leader; echo $?";
    let mut shell = Shell::new(Four, script);
    shell
        .world
        .inject(Injection::new(Fault::MissingTool("is-leader".to_owned())));
    let run = shell.run();
    assert!(run.stdout.ends_with(b"]\n127\n"), "{run:?}");
    assert!(shell.run().stdout.ends_with(b"False\n0\n"), "it is back");
    // A shell falls back to a path of its own, which has no hook tools.
    shell.world.inject(Injection::new(Fault::NoPath));
    assert!(shell.run().stdout.ends_with(b"\n127\n"));
}

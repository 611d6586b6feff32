//! Every kind of hook and action, with every fault, at log level trace: a token is in databags
//! and nowhere else, and nothing is written to any file. [`Stage`] looks for tokens after each of
//! them, in all that it left.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::time::Duration;

use juju_emulator::deployment::Provider;
use juju_emulator::process::Ending;
use juju_emulator::{Effect, Fault, Injection, JujuGeneration};

use crate::failures::{files, news};
use crate::stage::{APP, LEADER, Pairs, SECRET, STANDBY, Stage};

/// What Juju runs a charm for.
#[derive(Clone, Copy, Debug)]
enum Deed {
    Hook(&'static str),
    Relation(&'static str, &'static str),
    /// Parameters are those that reveal nothing.
    Action(&'static str, Pairs<'static>),
}

const DEEDS: [Deed; 23] = [
    Deed::Hook("install"),
    Deed::Hook("leader-elected"),
    Deed::Hook("config-changed"),
    Deed::Hook("start"),
    Deed::Hook("upgrade-charm"),
    Deed::Hook("update-status"),
    Deed::Hook("stop"),
    Deed::Relation("created", "microovn"),
    Deed::Relation("joined", "microovn/1"),
    Deed::Relation("changed", "microovn/0"),
    Deed::Relation("changed", "microovn"),
    Deed::Relation("departed", "microovn/0"),
    Deed::Relation("departed", "microovn/1"),
    Deed::Relation("changed", "mtd"),
    Deed::Action("show-mirror", &[]),
    Deed::Action("show-mirror", &[("host", "h1")]),
    Deed::Action("resync", &[]),
    Deed::Action("retire-host", &[("host", "h9")]),
    Deed::Action("retire-host", &[("host", "h1")]),
    Deed::Action("resolve-host", &[("host", "h1"), ("member", "false")]),
    Deed::Action("check", &[]),
    Deed::Action("forget", &[("force", "true")]),
    // After this the agent no longer knows the relation.
    Deed::Relation("broken", "microcloud"),
];

/// A model with tokens that are mirrored, tokens that are news, two that disagree, and a former
/// leader whose tokens are to go down.
fn tokens(provider: &Provider) -> Stage {
    let mut stage = news(JujuGeneration::Four, provider);
    let level = [("log-level", "trace")];
    stage.world.set_config(APP, &level).expect("an option");
    stage.settle();
    stage.says("microovn/0", &[("mirror-h9", SECRET)]);
    let other = format!("{SECRET}2");
    stage.says("microcloud/0", &[("mirror", "up"), ("mirror-h9", &other)]);
    let left = [("mirror", "up"), ("mirror-h9", SECRET)];
    stage.unit_bag("microovn", STANDBY, &left);
    for unit in [LEADER, STANDBY] {
        stage.world.restart_agent(unit).expect("it is there");
    }
    stage.world.clear_history();
    stage
}

/// Does it, and says which tools were called.
fn do_it(stage: &mut Stage, unit: &str, deed: Deed) -> Vec<String> {
    match deed {
        Deed::Hook(name) => drop(stage.hook(unit, name)),
        Deed::Relation(event, remote) => drop(stage.relation_hook(unit, event, remote)),
        Deed::Action(name, parameters) => drop(stage.action(unit, name, parameters)),
    }
    let run = stage.world.runs().last().expect("it was run");
    run.tool_calls
        .iter()
        .map(|call| call.tool.clone())
        .collect()
}

/// Everything that can go wrong at a tool call; what is printed holds a token wherever it can.
fn effects() -> Vec<Effect> {
    let fail = |code, message: &str| Effect::Fail {
        code,
        message: message.to_owned(),
    };
    let print = |text: String| Effect::Print(text.into_bytes());
    vec![
        Effect::Kill,
        Effect::Terminate,
        fail(1, "connection is shut down"),
        fail(
            2,
            "invalid value \"microcluster-cluster:1\" for option -r: relation not found",
        ),
        Effect::Hang(Duration::from_millis(5)),
        print(SECRET.to_owned()),
        print(format!("\"{SECRET}\"")),
        print(format!("{{\"mirror-h1\":\"{SECRET}")),
        print(format!(
            "{{\"mirror-h1\":[\"{SECRET}\"],\"{SECRET}\":{{}}}}"
        )),
        print(format!("[\"{SECRET}\",{{\"{SECRET}\":1}}]")),
        print(format!("{SECRET}\n").repeat(2000)),
        Effect::Truncate,
        Effect::InvalidUtf8,
        Effect::LoseLeadership,
    ]
}

#[test]
fn no_fault_at_any_call_of_any_hook_shows_a_token() {
    let (mut struck, mut mirrored) = (0, 0);
    let all_effects = |stage: &Stage| {
        let relation = stage.relation("microovn");
        let removed = [
            Effect::RemoveRelation(relation),
            Effect::ForceRemoveRelation(relation),
        ];
        effects().into_iter().chain(removed).collect::<Vec<_>>()
    };
    let every = effects().len() + 2;
    for unit in [LEADER, STANDBY] {
        for deed in DEEDS {
            let mut stage = tokens(&Provider::Library);
            let calls = do_it(&mut stage, unit, deed).len();
            let bags = stage.all_bags();
            mirrored += usize::from(bags.iter().any(|bag| bag.contains_key("mirror-h9")));
            for (call, which) in (1..=calls).flat_map(|call| (0..every).map(move |at| (call, at))) {
                let mut stage = tokens(&Provider::Library);
                let effect = all_effects(&stage).swap_remove(which);
                stage.world.inject(Injection::at_call(call, effect));
                do_it(&mut stage, unit, deed);
                struck += 1;
            }
        }
    }
    assert!(struck > 3000, "only {struck} faults");
    assert!(
        mirrored > 5,
        "tokens were mirrored in {mirrored} hooks only"
    );
}

#[test]
fn no_fault_of_the_executable_shows_a_token_or_leaves_a_file() {
    let faults = [Fault::NoPath, Fault::RefuseCommit, Fault::DuplicateChanged];
    let mut ends = [0, 0, 0];
    for deed in DEEDS {
        let mut stage = tokens(&Provider::Executable);
        let before = files(&stage);
        for unit in [LEADER, STANDBY] {
            let tools = do_it(&mut stage, unit, deed);
            // Each fault at another call; the library is struck at all of them.
            let effects = effects().into_iter().zip((1..=tools.len()).cycle());
            let at_calls = effects.map(|(effect, call)| Injection::at_call(call, effect));
            let tools = BTreeSet::from_iter(tools)
                .into_iter()
                .map(Fault::MissingTool);
            let faults = tools.chain(faults.clone()).map(Injection::new);
            for (round, injection) in at_calls.chain(faults).enumerate() {
                let key = format!("mirror-{unit}-{round}");
                stage.says("microovn/0", &[(&key, SECRET)]);
                stage.world.set_leader(LEADER).expect("it is there");
                stage.world.restart_agent(unit).expect("it is there");
                stage.world.inject(injection);
                do_it(&mut stage, unit, deed);
                stage.world.clear_faults();
                let run = stage.world.runs().last().expect("it was run");
                ends[match run.ending {
                    Ending::Exited(0) => 0,
                    Ending::Exited(_) => 1,
                    _ => 2,
                }] += 1;
                stage.world.clear_history();
            }
        }
        assert_eq!(
            before,
            files(&stage),
            "{deed:?}: no file is written anywhere"
        );
    }
    assert!(ends.iter().all(|ends| *ends > 30), "{ends:?}");
}

/// Makes `script` what Juju runs for `unit`; `{run}` in it is what it would have run.
fn dispatched_by(stage: &Stage, unit: &str, script: &str) {
    let charm = &stage.world.places(unit).expect("it is there").charm;
    let dispatch = charm.join("dispatch");
    let run = "./bin/microcluster-token-distributor";
    let script = format!("#!/bin/sh\n{}\n", script.replace("{run}", run));
    fs::remove_file(&dispatch).expect("it was there");
    fs::write(&dispatch, script).expect("written");
    fs::set_permissions(&dispatch, fs::Permissions::from_mode(0o755)).expect("executable");
}

/// Everything, and all of it ends well, though `cage` comes before.
fn ends_well_behind(cage: &str) {
    let mut stage = tokens(&Provider::Executable);
    for unit in [LEADER, STANDBY] {
        dispatched_by(&stage, unit, &format!("{cage} {{run}}"));
    }
    let before = files(&stage);
    for (deed, unit) in DEEDS
        .into_iter()
        .flat_map(|deed| [(deed, LEADER), (deed, STANDBY)])
    {
        stage.world.restart_agent(unit).expect("it is there");
        do_it(&mut stage, unit, deed);
        let run = stage.world.runs().last().expect("it was run");
        assert_eq!(
            run.ending,
            Ending::Exited(0),
            "{deed:?}: {}",
            run.stderr_text()
        );
    }
    assert_eq!(before, files(&stage));
}

/// What a process behind `cage` says when it writes into a file of the charm.
fn written_behind(cage: &str) -> String {
    let mut stage = tokens(&Provider::Executable);
    dispatched_by(&stage, LEADER, &format!("{cage} sh -c 'echo x > probe'"));
    let run = stage.hook(LEADER, "start").run;
    assert_ne!(run.ending, Ending::Exited(0), "the cage holds");
    run.stderr_text()
}

#[test]
fn a_full_disk_changes_nothing() {
    // No process may write a byte to any file.
    let cage = "ulimit -f 0; exec";
    written_behind(cage);
    ends_well_behind(cage);
}

#[test]
fn a_read_only_file_system_changes_nothing() {
    let cage = "exec unshare --map-root-user --mount sh -c \
                'mount -o remount,bind,ro / && cd \"$PWD\" && exec \"$@\"' sh";
    let said = written_behind(cage);
    if !said.contains("Read-only file system") {
        eprintln!("not tried: a file system cannot be made read-only here: {said}");
        return;
    }
    ends_well_behind(cage);
}

//! What the charm makes of tools that fail, lie or are not there, of relations and leases that
//! vanish, and of its own sudden end.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use juju_emulator::deployment::Provider;
use juju_emulator::process::Ending;
use juju_emulator::record::ToolCall;
use juju_emulator::{Effect, Fault, Injection, JujuGeneration};

use crate::stage::{APP, BOTH, LEADER, Played, SECRET, STANDBY, Stage};

/// The tools that a look at everything cannot do without.
const NEEDED: [&str; 6] = [
    "is-leader",
    "config-get",
    "relation-ids",
    "relation-list",
    "relation-get",
    "relation-set",
];

/// The tools that advise, or whose output only people read.
const ADVICE: [&str; 5] = [
    "application-version-set",
    "goal-state",
    "status-get",
    "status-set",
    "juju-log",
];

/// A leader and a standby with two relations, and news in both that no hook has seen yet.
pub(crate) fn news(juju: JujuGeneration, provider: &Provider) -> Stage {
    let mut stage = Stage::new(juju, 2)
        .related("microovn", 2)
        .related("microcloud", 1)
        .played_by(provider);
    let up = [("hostname", "h0"), ("mirror", "up"), ("mirror-h1", SECRET)];
    stage.says("microovn/0", &up);
    stage.says("microovn/1", &[("hostname", "h1")]);
    stage.says("microcloud/0", &[("hostname", "h2")]);
    // An agent goes on showing the bags it knows until their own relation-changed; one that has
    // just started knows none.
    stage.world.restart_agent(LEADER).expect("it is there");
    stage
}

/// The hook that needs all of it.
fn look_at_everything(stage: &mut Stage) -> Played {
    stage.hook(LEADER, "upgrade-charm")
}

/// The mirror, with all news in it, in the ledger and what `unit` shows in every relation.
#[track_caller]
fn is_mirrored_by(stage: &Stage, unit: &str, apps: &[&str]) {
    for app in apps {
        for bag in [stage.ledger(), stage.shown(unit, app)] {
            let mirror: Vec<(&str, &str)> = bag
                .iter()
                .filter(|(key, _)| key.starts_with("mirror-"))
                .map(|(key, value)| (key.as_str(), value.as_str()))
                .collect();
            let expected = [
                ("mirror-h0", "member"),
                ("mirror-h1", SECRET),
                ("mirror-h2", "empty"),
            ];
            assert_eq!(mirror, expected, "{unit} to {app}");
        }
        assert_eq!(stage.shown_by_app(app)["bootstrap-app"], "microovn");
        assert_eq!(stage.shown(unit, app)["mirror"], "up");
    }
    assert_eq!(
        stage.status(unit),
        "waiting 1 of 3 hosts waiting for a join token"
    );
}

/// The faults are over; the failed hook is run again.
#[track_caller]
fn recovers(mut stage: Stage) {
    stage.retry();
    is_mirrored_by(&stage, LEADER, &["microovn", "microcloud"]);
}

/// It logged the complaint that it also wrote to standard error.
#[track_caller]
fn logged_its_complaint(played: &Played) {
    let stderr = played.run.stderr_text();
    let complaint = stderr.trim().strip_prefix("error: ").expect("an error");
    let logged = format!("ERROR {complaint}");
    assert_eq!(played.logged.first(), Some(&logged), "{:?}", played.logged);
}

#[test]
fn a_tool_that_fails_fails_the_hook_with_its_own_message() {
    let mut stage = news(JujuGeneration::Four, &Provider::Executable);
    for tool in NEEDED {
        stage.world.inject(Injection::at_tool(tool, 1, unwell()));
        let played = look_at_everything(&mut stage);
        played.fails(&format!("`{tool} "));
        played.fails("` failed (exit status: 3): ERROR the agent is not well");
        logged_its_complaint(&played);
    }
    recovers(stage);
}

fn unwell() -> Effect {
    Effect::Fail {
        code: 3,
        message: "the agent is not well".to_owned(),
    }
}

/// A tool that advises has failed as `complaint` says: the hook has done its work all the same.
#[track_caller]
fn goes_on(stage: &Stage, played: &Played, tool: &str, complaint: &str) {
    let stderr = played.succeeds().run.stderr_text();
    let warnings = played
        .logged
        .iter()
        .filter(|line| line.starts_with("WARNING "));
    let said: String = warnings.cloned().chain([stderr]).collect();
    assert!(said.contains(tool), "{tool}: {said:?}");
    assert!(said.contains(complaint), "{tool}: {said:?}");
    for app in ["microovn", "microcloud"] {
        assert_eq!(stage.shown(LEADER, app)["mirror-h1"], SECRET, "{tool}");
    }
}

#[test]
fn advice_that_fails_is_a_warning() {
    for juju in BOTH {
        for tool in ADVICE {
            let mut stage = news(juju, &Provider::Executable);
            stage
                .world
                .inject(Injection::at_every(Some(tool), unwell()));
            let played = look_at_everything(&mut stage);
            let complaint = "failed (exit status: 3): ERROR the agent is not well";
            goes_on(&stage, &played, tool, complaint);

            let mut stage = news(juju, &Provider::Executable);
            let missing = Injection::new(Fault::MissingTool(tool.to_owned()));
            stage.world.inject(missing);
            let played = look_at_everything(&mut stage);
            goes_on(&stage, &played, tool, "cannot start `");
        }
    }
}

/// As while certain cross-model relations exist.
#[test]
fn goal_state_may_fail_at_every_try() {
    for (juju, words) in BOTH
        .into_iter()
        .flat_map(|juju| [(juju, "unit not found"), (juju, "permission denied")])
    {
        let mut stage = news(juju, &Provider::Executable);
        stage.world.model_mut().quirks.goal_state_fails = Some(words.to_owned());
        for hook in ["config-changed", "update-status", "leader-elected"] {
            let played = stage.hook(LEADER, hook);
            let warned = format!("ERROR {words}");
            let mut logged = played.succeeds().logged.iter();
            assert!(
                logged.any(|line| line.starts_with("WARNING ") && line.contains(&warned)),
                "{hook}: {:?}",
                played.logged
            );
            stage.hook(STANDBY, hook).succeeds();
        }
        is_mirrored_by(&stage, LEADER, &["microovn", "microcloud"]);
        let mut stage = stage.related("fresh", 1);
        stage.says("fresh/0", &[("hostname", "h3")]);
        stage.settle();
        assert_eq!(stage.shown(LEADER, "fresh")["mirror-h1"], SECRET);
        assert_eq!(stage.shown(LEADER, "fresh")["mirror-h3"], "empty");
        assert_eq!(
            stage.shown(STANDBY, "fresh")["mirror-_bootstraps-elsewhere"],
            "true"
        );
    }
}

#[test]
fn a_tool_that_cannot_be_started_fails_the_hook() {
    let mut stage = news(JujuGeneration::Four, &Provider::Executable);
    for tool in NEEDED {
        stage
            .world
            .inject(Injection::new(Fault::MissingTool(tool.to_owned())));
        let played = look_at_everything(&mut stage);
        played.fails(&format!("cannot start `{tool} "));
        played.fails("`: No such file or directory");
        logged_its_complaint(&played);
    }
    stage.world.inject(Injection::new(Fault::NoPath));
    let played = look_at_everything(&mut stage);
    assert_eq!(played.run.ending, Ending::Exited(1));
    let stderr = played.run.stderr_text();
    assert!(
        stderr.contains("error: cannot start `relation-ids "),
        "{stderr}"
    );
    recovers(stage);
}

/// The tools that print, each asked in all the ways it is asked: the calls of `played`, by number.
fn questions(played: &Played) -> BTreeMap<String, usize> {
    let mute = [
        "application-version-set",
        "relation-set",
        "status-set",
        "juju-log",
    ];
    let calls = played.run.tool_calls.iter().zip(1..);
    let asking = calls.filter(|(call, _)| !mute.contains(&call.tool.as_str()));
    let way = |call: &ToolCall| {
        let arguments = call
            .arguments
            .iter()
            .map(|argument| match argument.split_once('/') {
                Some((app, _)) if app != APP => "another unit",
                _ => argument.as_str(),
            });
        let words: Vec<&str> = [call.tool.as_str()].into_iter().chain(arguments).collect();
        words.join(" ").replace("-cluster:2", "-cluster:1")
    };
    asking.map(|(call, number)| (way(call), number)).collect()
}

/// What a tool may print that is not what was asked for.
fn rubbish(question: &str) -> Vec<Effect> {
    let mut rubbish = vec![
        SECRET.to_owned(),
        format!("{{\"mirror-h1\": \"{SECRET}"),
        format!("[{{\"{SECRET}\": true}}]"),
        String::new(),
        SECRET.repeat((20 << 20) / SECRET.len()),
    ];
    // Any object is a configuration.
    if !question.starts_with("config-get") {
        rubbish.push(format!(
            "{{\"{SECRET}\": {{}}, \"status\": null, \"units\": 0}}"
        ));
    }
    let rubbish = rubbish
        .into_iter()
        .map(|text| Effect::Print(text.into_bytes()));
    rubbish
        .chain([Effect::Truncate, Effect::InvalidUtf8])
        .collect()
}

#[test]
fn output_that_is_not_the_json_expected_fails_the_hook_and_is_never_shown() {
    let mut stage = news(JujuGeneration::Four, &Provider::Executable);
    stage.world.inject(Injection::new(Fault::RefuseCommit));
    let questions = questions(&look_at_everything(&mut stage));
    assert_eq!(questions.len(), 13, "{questions:#?}");

    for (question, call) in questions {
        let tool = question.split(' ').next().expect("a tool");
        for effect in rubbish(&question) {
            let injection = Injection::at_call(call, effect);
            if ADVICE.contains(&tool) {
                let mut stage = news(JujuGeneration::Four, &Provider::Executable);
                stage.world.inject(injection);
                let played = look_at_everything(&mut stage);
                goes_on(&stage, &played, tool, "` printed no ");
                continue;
            }
            stage.world.inject(injection);
            let played = look_at_everything(&mut stage);
            played.fails(&format!("`{tool} "));
            played.fails("` printed no ");
            played.fails(" (line ");
            played.fails(", column ");
            logged_its_complaint(&played);
        }
    }
    recovers(stage);
}

#[test]
fn a_tool_that_takes_its_time_is_waited_for() {
    let mut stage = news(JujuGeneration::Four, &Provider::Executable);
    let pause = Duration::from_millis(100);
    for tool in NEEDED.into_iter().chain(ADVICE) {
        let hang = Injection::at_tool(tool, 1, Effect::Hang(pause));
        stage.world.inject(hang.always());
    }
    let played = look_at_everything(&mut stage);
    played.succeeds();
    assert!(played.run.duration > pause * 9, "{:?}", played.run.duration);
    stage.world.clear_faults();
    recovers(stage);
}

#[test]
fn a_missing_executable_is_named() {
    let mut stage = news(JujuGeneration::Four, &Provider::Executable);
    let charm = &stage.world.places(LEADER).expect("it is there").charm;
    let executable = charm.join("bin/microcluster-token-distributor");
    let aside = charm.join("bin/aside");
    fs::rename(&executable, &aside).expect("moved");
    let played = look_at_everything(&mut stage);
    let stderr = played.run.stderr_text();
    assert_eq!(played.run.ending, Ending::Exited(127), "{stderr}");
    assert!(
        stderr.contains("./bin/microcluster-token-distributor: not found"),
        "{stderr}"
    );
    fs::rename(&aside, &executable).expect("moved");
    recovers(stage);
}

#[test]
fn a_leader_that_cannot_be_asked_whether_it_leads_is_no_standby() {
    let mut stage = news(JujuGeneration::Four, &Provider::Executable);
    for hook in ["leader-elected", "update-status", "config-changed"] {
        let message = "leadership status unknown: connection is shut down".to_owned();
        let fail = Effect::Fail { code: 1, message };
        stage.world.inject(Injection::at_tool("is-leader", 1, fail));
        stage.hook(LEADER, hook).fails("leadership status unknown");
    }
    for bag in stage.all_bags() {
        assert_ne!(bag.get("mirror").map(String::as_str), Some("down"));
    }
    recovers(stage);
}

#[test]
fn a_relation_that_is_not_found_counts_as_absent() {
    for call in 1.. {
        let mut stage = news(JujuGeneration::Four, &Provider::Library);
        let message = "invalid value \"microcluster-cluster:1\" for option -r: relation not found";
        let gone = Effect::Fail {
            code: 2,
            message: message.to_owned(),
        };
        stage.world.inject(Injection::at_call(call, gone));
        let played = look_at_everything(&mut stage);
        let Some(asked) = played.run.tool_calls.get(call - 1) else {
            assert!(call > 20, "only {call} calls");
            return;
        };
        let named = asked
            .arguments
            .iter()
            .find(|text| text.starts_with("microcluster-cluster:"));
        let Some(named) = named else { continue };
        // Of one unit's bag that says no more than that the unit is gone.
        if asked.arguments.last().is_some_and(|unit| unit == STANDBY) {
            continue;
        }
        played.succeeds();
        let (gone, other) = match named.as_str() {
            "microcluster-cluster:1" => ("microovn", "microcloud"),
            _ => ("microcloud", "microovn"),
        };
        let to = |app: &str| {
            let about = format!(" to {app}: mirror-");
            played
                .wrote
                .iter()
                .filter(|line| line.contains(&about))
                .count()
        };
        if asked.tool != "relation-set" {
            assert_eq!(to(gone), 0, "{asked:?}: {:?}", played.wrote);
        }
        assert_ne!(to(other), 0, "{asked:?}: {:?}", played.wrote);
        // It was there all the time, so the next look finds it.
        look_at_everything(&mut stage).succeeds();
        is_mirrored_by(&stage, LEADER, &["microovn", "microcloud"]);
    }
}

#[test]
fn a_relation_removed_by_force_in_the_middle_of_a_hook_hurts_no_other() {
    for juju in BOTH {
        for call in 1.. {
            let mut stage = news(juju, &Provider::Library);
            let gone = Effect::ForceRemoveRelation(stage.relation("microcloud"));
            stage.world.inject(Injection::at_call(call, gone));
            let played = look_at_everything(&mut stage);
            if played.calls() < call {
                break;
            }
            // Juju 3's agent goes on listing the relation, and denies what is in it, for as long as
            // the hook is in error.
            let retry = juju == JujuGeneration::Four;
            stage.world.resolved(LEADER, retry).expect("it is there");
            stage.settle();
            for bag in [stage.ledger(), stage.shown(LEADER, "microovn")] {
                assert_eq!(bag["mirror-h1"], SECRET, "{juju:?}, call {call}");
                assert_eq!(bag["mirror-h0"], "member", "{juju:?}, call {call}");
            }
        }
    }
}

#[test]
fn leadership_lost_in_the_middle_fails_the_hook_and_the_retry_is_a_standbys() {
    for juju in BOTH {
        for call in 1.. {
            let mut stage = news(juju, &Provider::Library);
            stage
                .world
                .inject(Injection::at_call(call, Effect::LoseLeadership));
            let played = look_at_everything(&mut stage);
            if played.calls() < call {
                played.succeeds();
                break;
            }
            let asked = played
                .run
                .tool_calls
                .iter()
                .position(|asked| asked.tool == "is-leader");
            if call <= asked.expect("it asks") + 1 {
                played.succeeds();
                assert!(!played.wrote.iter().any(|line| line.starts_with("mtd to")));
            } else {
                assert!(!played.run.committed, "{juju:?}, call {call}");
                played.wrote(&[]);
            }
            stage.retry();
            stage.hook(LEADER, "update-status").succeeds();
            assert_eq!(stage.status(LEADER), "active standby");
            is_mirrored_by(&stage, STANDBY, &["microovn", "microcloud"]);
            for app in ["microovn", "microcloud"] {
                let former = stage.world.unit_bag(stage.relation(app), LEADER);
                assert_eq!(former["mirror"], "down", "{juju:?}, call {call}: {app}");
            }
        }
    }
}

#[test]
fn leadership_lost_before_the_commit_is_not_taken_for_a_crash() {
    let mut stage = news(JujuGeneration::Four, &Provider::Executable);
    let lose = Injection::at_tool("relation-set", 1, Effect::LoseLeadership);
    stage.world.inject(lose);
    let played = look_at_everything(&mut stage);
    played
        .fails("relation-set -r microcluster-cluster:1 --app --file -` failed (exit status: 1): ");
    played.fails("ERROR cannot write relation settings");
    logged_its_complaint(&played);
}

#[test]
fn a_refused_commit_is_made_again() {
    let mut stage = news(JujuGeneration::Four, &Provider::Executable);
    stage.world.inject(Injection::new(Fault::RefuseCommit));
    let played = look_at_everything(&mut stage);
    assert!(!played.run.committed);
    recovers(stage);
}

#[test]
fn killed_at_any_call_and_run_again_it_ends_the_same() {
    let mut stage = news(JujuGeneration::Four, &Provider::Executable);
    let before = files(&stage);
    look_at_everything(&mut stage).succeeds();
    let whole = stage.all_bags();
    for call in 1.. {
        let mut stage = news(JujuGeneration::Four, &Provider::Library);
        stage.world.inject(Injection::at_call(call, Effect::Kill));
        let played = look_at_everything(&mut stage);
        if played.calls() < call {
            break;
        }
        assert!(matches!(played.run.ending, Ending::Signalled(9)));
        played.wrote(&[]);
        stage.settle();
        is_mirrored_by(&stage, LEADER, &["microovn", "microcloud"]);
    }
    // The same with real signals, where only one host has news.
    for (effect, signal) in [(Effect::Kill, 9), (Effect::Terminate, 15)] {
        let mut struck = 0;
        for call in 1.. {
            let host = format!("mirror-x{signal}-{call}");
            stage.says("microovn/0", &[(&host, SECRET)]);
            stage.world.inject(Injection::at_call(call, effect.clone()));
            let played = stage.changed("microovn/0");
            if played.run.committed {
                stage.world.clear_faults();
                break;
            }
            assert_eq!(played.run.ending, Ending::Signalled(signal));
            played.wrote(&[]);
            stage.settle();
            struck += 1;
            for app in ["microovn", "microcloud"] {
                assert_eq!(stage.shown(LEADER, app)[&host], SECRET);
            }
        }
        assert!(struck > 7, "only {struck} calls");
    }
    assert_eq!(whole.len(), stage.all_bags().len());
    assert_eq!(before, files(&stage), "no file is written anywhere");
}

/// The files of all machines, but for the sockets that agents make.
pub(crate) fn files(stage: &Stage) -> BTreeMap<PathBuf, (u64, SystemTime)> {
    let charm = &stage.world.places(LEADER).expect("it is there").charm;
    let root = charm
        .ancestors()
        .nth(3)
        .expect("the folder of all machines");
    let mut found = BTreeMap::new();
    look_into(root, &mut found);
    assert!(found.len() > 20, "{found:#?}");
    found
}

fn look_into(folder: &Path, found: &mut BTreeMap<PathBuf, (u64, SystemTime)>) {
    for entry in fs::read_dir(folder).expect("a folder") {
        let entry = entry.expect("an entry");
        let metadata = entry.path().symlink_metadata().expect("it is there");
        if metadata.is_dir() {
            look_into(&entry.path(), found);
        } else if entry.file_name() != "agent.socket" {
            let modified = metadata.modified().expect("a time");
            found.insert(entry.path(), (metadata.len(), modified));
        }
    }
}

/// Juju runs `leader-elected` only where an agent sees leadership come, and an agent sees nothing
/// while a hook runs.
#[test]
fn what_came_while_leadership_was_away_is_served_later() {
    for juju in BOTH {
        for distributors in [1, 2] {
            let mut stage = Stage::new(juju, distributors)
                .related("microovn", 2)
                .played_by(&Provider::Library);
            stage.hook(LEADER, "leader-elected").succeeds();
            stage.says("microovn/1", &[("hostname", "h1")]);
            let away = Injection::at_call(1, Effect::LoseLeadership);
            stage.world.inject(away.on(LEADER));
            stage.changed("microovn/1").succeeds();
            assert_eq!(stage.ledger().get("mirror-h1"), None, "{juju:?}");

            stage.world.set_leader(LEADER).expect("it is there");
            stage.hook(LEADER, "update-status").succeeds();
            let shown = stage.shown(LEADER, "microovn");
            assert_eq!(shown["mirror-h1"], "empty", "{juju:?}, {distributors}");
            assert_eq!(shown["mirror"], "up");
            assert_eq!(
                stage.status(LEADER),
                "waiting 1 of 1 host waiting for a join token"
            );
        }
    }
}

/// An event that cannot be answered from the ledger means everything, and the unit that left is in
/// no list any more.
#[test]
fn the_bag_of_a_unit_that_left_is_read_before_everything_is() {
    for juju in BOTH {
        let mut stage = Stage::new(juju, 1)
            .related("microovn", 2)
            .played_by(&Provider::Library);
        stage.says("microovn/1", &[("hostname", "h1")]);
        stage.changed("microovn/1").succeeds();
        stage.says("microovn/0", &[("mirror", "up"), ("mirror-h1", SECRET)]);
        stage.ledger_says(&[("leader", "mtd/7 7")]);
        let played = stage.relation_hook(LEADER, "departed", "microovn/0");
        played.succeeds();
        assert_eq!(stage.ledger()["mirror-h1"], SECRET, "{juju:?}");
        assert_eq!(stage.shown(LEADER, "microovn")["mirror-h1"], SECRET);
    }
}

#[test]
fn a_leader_that_is_removed_does_not_take_its_broken_relations_for_gone() {
    for juju in BOTH {
        let mut stage = Stage::new(juju, 2)
            .related("microovn", 1)
            .related("microcloud", 1);
        stage.says("microovn/0", &[("hostname", "h0")]);
        stage.says("microcloud/0", &[("hostname", "h1")]);
        let mut stage = stage.played_by(&Provider::Library);
        stage.world.remove_unit(LEADER).expect("it is there");
        stage
            .relation_hook(LEADER, "broken", "microovn")
            .succeeds()
            .wrote(&[]);
        stage.hook(LEADER, "leader-elected").succeeds();
        let ledger = stage.ledger();
        assert_eq!(ledger["host-h0"], "microovn/0", "{juju:?}");
        assert_eq!(ledger["mirror-h0"], "empty");
        assert_eq!(ledger["bootstrap-app"], "microovn");
        assert_eq!(stage.shown(LEADER, "microcloud")["mirror-h0"], "empty");
    }
}

#[test]
fn a_broken_relation_stays_where_goal_state_does_not_show_whether_this_unit_leaves() {
    let mut stage = Stage::new(JujuGeneration::Four, 1)
        .related("microovn", 1)
        .played_by(&Provider::Library);
    let silent = Effect::Print(b"{}".to_vec());
    stage
        .world
        .inject(Injection::at_tool("goal-state", 1, silent));
    let played = stage.relation_hook(LEADER, "broken", "microovn");
    played.succeeds().wrote(&[]);
}

#[test]
fn a_sibling_that_is_leaving_is_read() {
    for juju in BOTH {
        let mut stage = Stage::new(juju, 2)
            .related("microovn", 1)
            .played_by(&Provider::Library);
        stage.unit_bag(
            "microovn",
            STANDBY,
            &[("mirror", "up"), ("mirror-h1", SECRET)],
        );
        stage.world.remove_unit(STANDBY).expect("it is there");
        stage.hook(LEADER, "upgrade-charm").succeeds();
        assert_eq!(stage.ledger()["mirror-h1"], SECRET, "{juju:?}");
    }
}

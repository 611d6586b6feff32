//! Charms that are real processes: how they are started, what they find, how they end.

use std::collections::BTreeMap;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::{Duration, Instant};

use juju_emulator::JujuGeneration::{Four, Three};
use juju_emulator::agent::Hook;
use juju_emulator::process::Ending;
use juju_emulator::{Charm, HookRun, JujuGeneration, World};
use serde_json::{Map, json};
use tempfile::TempDir;

const METADATA: &str = "{name: shell, peers: {friends: {interface: friends}}}";

/// A unit `s/0` whose charm is a shell script, before anything was run.
pub(crate) struct Shell {
    pub(crate) world: World,
    folder: TempDir,
}

impl Shell {
    pub(crate) fn new(generation: JujuGeneration, script: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("metadata.yaml"), METADATA).unwrap();
        std::fs::write(folder.path().join("actions.yaml"), "{go: {}}").unwrap();
        write_script(&folder.path().join("dispatch"), script);
        let mut shell = Self {
            world: World::new(generation, 1),
            folder,
        };
        let charm = shell.charm();
        shell.world.deploy("s", &charm, 1, &[]).unwrap();
        shell
    }

    fn charm(&self) -> Charm {
        Charm::directory(self.folder.path()).unwrap()
    }

    pub(crate) fn run(&mut self) -> HookRun {
        self.world.run_hook("s/0", Hook::UpdateStatus).unwrap()
    }
}

fn write_script(path: &Path, script: &str) {
    std::fs::write(path, format!("#!/bin/sh\n{script}\n")).unwrap();
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o755)).unwrap();
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

#[test]
fn the_environment_is_built_from_nothing() {
    let common = "APT_LISTCHANGES_FRONTEND CHARM_DIR CLOUD_API_VERSION DEBIAN_FRONTEND \
        JUJU_AGENT_SOCKET_ADDRESS JUJU_AGENT_SOCKET_NETWORK JUJU_API_ADDRESSES \
        JUJU_AVAILABILITY_ZONE JUJU_CHARM_DIR JUJU_CHARM_FTP_PROXY JUJU_CHARM_HTTPS_PROXY \
        JUJU_CHARM_HTTP_PROXY JUJU_CHARM_NO_PROXY JUJU_CONTEXT_ID JUJU_DISPATCH_PATH \
        JUJU_HOOK_NAME JUJU_MACHINE_ID JUJU_MODEL_NAME JUJU_MODEL_UUID JUJU_PRINCIPAL_UNIT \
        JUJU_UNIT_NAME JUJU_VERSION LANG PATH TERM";
    let of_4 = "JUJU_CHARM_TRACE_CONFIG_CA_CERT JUJU_CHARM_TRACE_CONFIG_GRPC \
        JUJU_CHARM_TRACE_CONFIG_HTTP";
    for (generation, more) in [
        (Three, "JUJU_METER_INFO JUJU_METER_STATUS JUJU_SLA"),
        (Four, of_4),
    ] {
        // Straight from the kernel: a shell would add variables of its own.
        let script = "exec /bin/cat /proc/self/environ";
        let run = Shell::new(generation, script).run();
        let stdout = text(&run.stdout);
        let environment: BTreeMap<&str, &str> = stdout
            .split_terminator('\0')
            .map(|line| line.split_once('=').unwrap())
            // dash sets this one for whatever it starts.
            .filter(|(name, _)| *name != "PWD")
            .collect();
        let mut expected: Vec<&str> = common.split(' ').chain(more.split(' ')).collect();
        expected.sort_unstable();
        assert_eq!(environment.keys().copied().collect::<Vec<_>>(), expected);
        assert_eq!(environment["JUJU_DISPATCH_PATH"], "hooks/update-status");
        assert_eq!(environment["JUJU_UNIT_NAME"], "s/0");
        let agents = environment["CHARM_DIR"].strip_suffix("/agents/unit-s-0/charm");
        let tools = format!("{}/tools/unit-s-0:", agents.unwrap());
        assert!(environment["PATH"].starts_with(&tools));
    }
}

#[test]
fn a_charm_runs_in_its_folder_without_input_and_its_output_is_logged() {
    let mut shell = Shell::new(Four, "pwd; wc -c; echo oops >&2; echo $#");
    let run = shell.run();
    let folder = shell
        .world
        .places("s/0")
        .unwrap()
        .charm
        .display()
        .to_string();
    assert_eq!(text(&run.stdout), format!("{folder}\n0\n0\n"));
    let log = shell.world.model().log.iter();
    let log: Vec<String> = log
        .map(|line| format!("{} {}", line.level, line.text))
        .collect();
    let pwd = format!("DEBUG {folder}");
    assert_eq!(log, [&*pwd, "DEBUG 0", "DEBUG 0", "WARNING oops"]);
}

#[test]
fn endings_are_distinguished() {
    for (script, ending, agent, rerun) in [
        ("exit 0", Ending::Exited(0), "idle", false),
        ("exit 101", Ending::Exited(101), "error", false),
        ("kill -ABRT $$", Ending::Signalled(6), "error", false),
        ("kill -KILL $$", Ending::Signalled(9), "idle", true),
        ("kill -TERM $$", Ending::Signalled(15), "idle", true),
    ] {
        let mut shell = Shell::new(Four, script);
        let run = shell.run();
        assert_eq!(run.ending, ending, "{script}");
        assert_eq!(run.committed, ending.is_success());
        assert_eq!(shell.world.status()[0].agent, agent, "{script}");
        assert_eq!(
            shell.world.agent("s/0").unwrap().queued.is_some(),
            rerun,
            "{script}"
        );
    }
}

#[test]
fn what_can_be_run_is_chosen_as_juju_does() {
    let mut shell = Shell::new(Four, "echo dispatch");
    assert_eq!(text(&shell.run().stdout), "dispatch\n");
    let charm = shell.world.places("s/0").unwrap().charm.clone();
    let dispatch = charm.join("dispatch");
    std::fs::set_permissions(&dispatch, std::fs::Permissions::from_mode(0o644)).unwrap();
    let run = shell.run();
    assert!(
        matches!(run.ending, Ending::Failed(_)),
        "no fallback: {run:?}"
    );
    std::fs::remove_file(dispatch).unwrap();
    let missing = shell.run();
    assert_eq!((missing.ending, missing.failure), (Ending::Missing, None));
    std::fs::create_dir(charm.join("hooks")).unwrap();
    write_script(&charm.join("hooks/update-status"), "echo hook");
    assert_eq!(text(&shell.run().stdout), "hook\n");
    let result = shell.world.run_action("s/0", "go", Map::new()).unwrap();
    let expected = "action not implemented on unit \"s/0\"";
    assert_eq!(result.failure.as_deref(), Some(expected));
    std::fs::remove_file(charm.join("metadata.yaml")).unwrap();
    assert_eq!(
        shell.run().failure.as_deref(),
        Some("charm missing from disk")
    );
}

#[test]
fn standard_input_is_read_only_if_a_tool_wants_it() {
    let script = "
        echo '{\"a\": \"1\"}' | relation-set -r 0 --file -
        relation-set -r 0 --file - </dev/null
        echo b: 2 >file; relation-set -r 0 --file file c=3
        sleep 60 | is-leader & sleep 0.01; relation-get -r 0 --format=json - s/0
        kill %1 2>/dev/null; exit 0";
    let mut shell = Shell::new(Four, script);
    shell.world.settle(1).unwrap_err();
    let mut world = shell.world;
    world.set_automatic_retry(false);
    world.run_hook("s/0", Hook::Install).unwrap();
    let unit = juju_emulator::UnitName::new("s", 0);
    while world.agent("s/0").unwrap().relations.is_empty() {
        world.begin(&unit);
    }
    let run = world.run_hook("s/0", Hook::UpdateStatus).unwrap();
    assert!(
        text(&run.stdout).contains("\"a\":\"1\",\"b\":\"2\",\"c\":\"3\""),
        "{run:?}"
    );
    let inputs: Vec<usize> = run.tool_calls.iter().map(|call| call.stdin).collect();
    assert_eq!(inputs[..3], [11, 0, 0]);
    assert_eq!(
        world.unit_bag(juju_emulator::RelationId(0), "s/0")["c"],
        "3"
    );
}

#[test]
fn tools_outside_their_hook_say_so() {
    let script = "
        env -u JUJU_CONTEXT_ID is-leader
        env -u JUJU_AGENT_SOCKET_ADDRESS is-leader
        JUJU_CONTEXT_ID=old is-leader
        JUJU_AGENT_SOCKET_ADDRESS=/nowhere is-leader
        ln -s $(command -v is-leader) open-port; ./open-port 80; echo $?; juju-reboot";
    let run = Shell::new(Four, script).run();
    let lines: Vec<String> = run.stderr_text().lines().map(str::to_owned).collect();
    assert_eq!(
        lines[..5],
        [
            "ERROR JUJU_CONTEXT_ID not set",
            "ERROR JUJU_AGENT_SOCKET_ADDRESS not set",
            "ERROR bad request: wrong context ID; got \"old\"",
            "ERROR dial unix /nowhere: connect: no such file or directory",
            "ERROR bad request: unknown command: open-port",
        ]
    );
    assert_eq!(text(&run.stdout), "1\n");
    assert_eq!(
        run.ending,
        Ending::Exited(127),
        "a tool that does not exist is not found"
    );
}

#[test]
fn a_process_left_behind_does_not_hold_up_the_hook() {
    let started = Instant::now();
    let run = Shell::new(Four, "sleep 60 & echo done").run();
    assert_eq!(
        (text(&run.stdout).as_str(), run.committed),
        ("done\n", true)
    );
    assert!(started.elapsed() < Duration::from_secs(50));
}

#[test]
fn a_hook_that_hangs_is_killed() {
    let mut shell = Shell::new(Four, "exec sleep 60");
    shell.world.set_deadline(Duration::from_millis(50));
    let run = shell.run();
    assert!(matches!(run.ending, Ending::Failed(_)), "{run:?}");
    assert_eq!(shell.world.status()[0].agent, "error");
}

#[test]
fn tools_cost_what_the_test_says() {
    let mut shell = Shell::new(Four, "is-leader & is-leader & is-leader & wait");
    shell.world.set_tool_cost(Duration::from_millis(40));
    let run = shell.run();
    assert_eq!(run.calls_of("is-leader"), 3);
    assert!(
        run.duration >= Duration::from_millis(120),
        "they queue: {:?}",
        run.duration
    );
}

#[test]
fn actions_are_processes_too() {
    let script = "
        echo out; printf '\\377' >&2
        action-set a=1; action-log note; action-fail because";
    let mut shell = Shell::new(Four, script);
    let result = shell.world.run_action("s/0", "go", Map::new()).unwrap();
    let expected = json!({
        "a": "1", "return-code": 0, "stdout": "out\n", "stderr": "/w==", "stderr-encoding": "base64",
    });
    assert_eq!(serde_json::Value::Object(result.results), expected);
    assert_eq!(
        (result.failure.as_deref(), &*result.log),
        (Some("because"), &["note".to_owned()][..])
    );
}

#[test]
fn a_machine_can_have_executables_of_its_own() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("metadata.yaml"), METADATA).unwrap();
    write_script(&folder.path().join("dispatch"), "hello");
    let mut world = World::new(Four, 1);
    world.set_machine_setup(|unit, bin| {
        write_script(&bin.join("hello"), &format!("echo hello from {unit}"));
    });
    let charm = Charm::directory(folder.path()).unwrap();
    world.deploy("s", &charm, 2, &[]).unwrap();
    let run = world.run_hook("s/1", Hook::UpdateStatus).unwrap();
    assert_eq!(text(&run.stdout), "hello from s/1\n");
}

#[test]
fn a_refresh_puts_the_new_files_in_place_when_the_agent_gets_to_it() {
    let mut shell = Shell::new(Four, "echo old");
    shell.world.settle(100).unwrap();
    shell.world.clear_history();
    write_script(&shell.folder.path().join("dispatch"), "echo new");
    let charm = shell.charm();
    shell.world.refresh("s", &charm).unwrap();
    assert_eq!(text(&shell.run().stdout), "old\n");
    shell.world.clear_history();
    shell.world.settle(100).unwrap();
    let runs: Vec<(&str, String)> = shell
        .world
        .runs()
        .iter()
        .map(|run| (run.hook.as_str(), text(&run.stdout)))
        .collect();
    let new = || "new\n".to_owned();
    assert_eq!(runs, [("upgrade-charm", new()), ("config-changed", new())]);
}

#[test]
fn a_packed_charm_is_unpacked_with_its_run_bits() {
    let folder = tempfile::tempdir().unwrap();
    let packed = folder.path().join("shell.charm");
    let mut zip = zip::ZipWriter::new(std::fs::File::create(&packed).unwrap());
    let dispatch = "#!/bin/sh\necho packed\n";
    for (name, content, mode) in [
        ("metadata.yaml", METADATA, 0o644),
        ("dispatch", dispatch, 0o755),
    ] {
        let options = zip::write::SimpleFileOptions::default().unix_permissions(mode);
        zip.start_file(name, options).unwrap();
        std::io::Write::write_all(&mut zip, content.as_bytes()).unwrap();
    }
    zip.finish().unwrap();
    let charm = Charm::unpack(&packed, &folder.path().join("unpacked")).unwrap();
    let mut world = World::new(Four, 1);
    world.deploy("s", &charm, 1, &[]).unwrap();
    let run = world.run_hook("s/0", Hook::UpdateStatus).unwrap();
    assert_eq!(text(&run.stdout), "packed\n");
}

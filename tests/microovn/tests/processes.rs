//! The two executables as Juju and a machine would run them.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::thread;

use microovn::cloud_directory::CloudDirectory;
use microovn::consumer::{Release, State};
use microovn::layout::{charm_directory, machine_bin};
use microovn::microcluster::{Cloud, Settings};
use tempfile::TempDir;

const CHARM: &str = env!("CARGO_BIN_EXE_microovn-charm");
const COMMAND: &str = env!("CARGO_BIN_EXE_microovn");

/// Hook tools of a unit that is leader and sees one distributor unit: bags are files, `own` is the
/// last document written per key, and everything written is kept in `written`.
const TOOLS: &[(&str, &str)] = &[
    ("is-leader", "echo true"),
    ("relation-list", "echo '[\"P/0\"]'"),
    (
        "relation-get",
        "for owner; do :; done\ncase $owner in C/0) echo '{}';; P/0) cat \"$BAGS/unit\";; P) cat \"$BAGS/app\";; esac",
    ),
    (
        "relation-set",
        "cat >> \"$BAGS/written\"; echo >> \"$BAGS/written\"",
    ),
    (
        "status-get",
        "echo '{\"status\":\"maintenance\",\"message\":\"\"}'",
    ),
    ("status-set", ":"),
    ("juju-log", "echo \"$4\" >> \"$BAGS/log\""),
];

struct Machine {
    root: PathBuf,
    bin: PathBuf,
}

impl Machine {
    fn new(folder: &Path, name: &str) -> Self {
        let root = folder.join(name);
        let bin = root.join("bin");
        machine_bin(&bin, Path::new(COMMAND), name, &folder.join("cloud")).unwrap();
        Machine { root, bin }
    }

    fn run(&self, command: &str, args: &[&str]) -> Output {
        let mut command = Command::new(self.bin.join(command));
        command.env_clear().args(args).output().unwrap()
    }

    fn microovn(&self, args: &[&str]) -> (i32, String) {
        let output = self.run("microovn", args);
        let stdout = String::from_utf8(output.stdout).unwrap();
        (output.status.code().unwrap(), stdout)
    }

    fn install_charm(&self, release: Release) {
        charm_directory(&self.root.join("charm"), Path::new(CHARM), release).unwrap();
        for (tool, script) in TOOLS {
            let path = self.bin.join(tool);
            fs::write(&path, format!("#!/bin/sh\n{script}\n")).unwrap();
            fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
        }
        self.show("unit", "{}");
        self.show("app", "{}");
    }

    fn show(&self, bag: &str, content: &str) {
        fs::write(self.root.join(bag), content).unwrap();
    }

    /// Starts `dispatch` as Juju does and returns its exit status.
    fn dispatch(&self, hook: &str) -> i32 {
        let charm = self.root.join("charm");
        let output = Command::new(charm.join("dispatch"))
            .current_dir(&charm)
            .env_clear()
            .env("PATH", format!("{}:/usr/bin:/bin", self.bin.display()))
            .env("BAGS", &self.root)
            .env("JUJU_DISPATCH_PATH", format!("hooks/{hook}"))
            .env("JUJU_UNIT_NAME", "C/0")
            .env("JUJU_RELATION_ID", "cluster:1")
            .env("JUJU_REMOTE_APP", "P")
            .env("JUJU_REMOTE_UNIT", "P/0")
            .output()
            .unwrap();
        assert_eq!(String::from_utf8_lossy(&output.stderr), "", "{hook}");
        output.status.code().unwrap()
    }

    fn written(&self) -> String {
        fs::read_to_string(self.root.join("written")).unwrap_or_default()
    }

    fn state(&self) -> State {
        let json = fs::read(self.root.join("charm/.unit-state.json")).unwrap();
        serde_json::from_slice(&json).unwrap()
    }
}

fn cloud(folder: &TempDir) -> CloudDirectory {
    let cloud = Cloud::new(Settings::default(), 1);
    CloudDirectory::create(&folder.path().join("cloud"), cloud).unwrap()
}

fn clusters(cloud: &CloudDirectory) -> Vec<Vec<String>> {
    let names = |names: Vec<&str>| names.into_iter().map(str::to_owned).collect();
    cloud
        .update(|cloud, _| cloud.clusters().into_iter().map(names).collect())
        .unwrap()
}

#[test]
fn machines_form_a_cluster_through_their_commands() {
    let folder = TempDir::new().unwrap();
    let cloud = cloud(&folder);
    let [h0, h1, odd] = ["h0", "h1", "h 'one'"].map(|name| Machine::new(folder.path(), name));
    assert_eq!(odd.run("hostname", &[]).stdout, b"h 'one'\n");
    let list = ["cluster", "list", "-f", "json"];
    assert_eq!(h0.microovn(&list), (1, String::new()));
    assert_eq!(h0.microovn(&["cluster", "bootstrap"]), (0, String::new()));
    assert_eq!(h0.microovn(&["cluster", "add", "h 'one'"]).0, 1);
    let (status, token) = h0.microovn(&["cluster", "add", "h1"]);
    assert_eq!(status, 0);
    assert_eq!(h1.microovn(&["cluster", "join", token.trim()]).0, 0);
    assert_eq!(clusters(&cloud), [["h0", "h1"]]);
}

#[test]
fn the_clock_moves_only_for_those_who_wait_and_for_tests() {
    let folder = TempDir::new().unwrap();
    let cloud = cloud(&folder);
    let now = || cloud.update(|_, now| *now).unwrap();
    let h0 = Machine::new(folder.path(), "h0");
    h0.microovn(&["cluster", "bootstrap"]);
    assert_eq!(now(), 0);
    for second in 1..=10 {
        assert!(
            h0.microovn(&["cluster", "list", "-f", "json"])
                .1
                .contains("PENDING")
        );
        assert_eq!(now(), second);
    }
    assert!(
        h0.microovn(&["cluster", "list", "-f", "json"])
            .1
            .contains("voter")
    );
    assert_eq!(now(), 10);
    h0.microovn(&["cluster", "add", "h1"]);
    assert_eq!(h0.microovn(&["cluster", "add", "h1"]).0, 1);
    cloud.advance(10_800).unwrap();
    assert_eq!(h0.microovn(&["cluster", "add", "h1"]).0, 0);
}

#[test]
fn commands_at_the_same_time_lose_nothing() {
    let folder = TempDir::new().unwrap();
    let cloud = cloud(&folder);
    let machines: Vec<Machine> = (0..8)
        .map(|number| Machine::new(folder.path(), &format!("h{number}")))
        .collect();
    thread::scope(|scope| {
        for machine in &machines {
            scope.spawn(|| assert_eq!(machine.microovn(&["cluster", "bootstrap"]).0, 0));
        }
    });
    assert_eq!(clusters(&cloud).len(), 8);
}

#[test]
fn a_charm_bootstraps_mints_and_remembers() {
    for release in Release::FIRST_PROTOCOL {
        let folder = TempDir::new().unwrap();
        let cloud = cloud(&folder);
        let h0 = Machine::new(folder.path(), "h0");
        h0.install_charm(release);
        h0.show("unit", "{\"mirror\":\"up\",\"mirror-h1\":\"empty\"}");
        h0.show("app", "{\"bootstrap-app\":\"C\"}");
        assert_eq!(h0.dispatch("cluster-relation-joined"), 0, "{release}");
        assert!(h0.state().in_cluster, "{release}");
        assert_eq!(clusters(&cloud), [["h0"]], "{release}");
        let written = h0.written();
        let lines: Vec<&str> = written.lines().collect();
        assert_eq!(
            lines[..2],
            ["{\"hostname\":\"h0\"}", "{\"mirror\":\"up\"}"],
            "{release}"
        );
        assert!(lines[2].starts_with("{\"mirror-h1\":\"eyJz"), "{release}");
    }
}

#[test]
fn a_crashed_charm_exits_1_and_forgets_the_hook() {
    let folder = TempDir::new().unwrap();
    let _cloud = cloud(&folder);
    let h0 = Machine::new(folder.path(), "h0");
    h0.install_charm(Release::Newest);
    assert_eq!(h0.dispatch("cluster-relation-joined"), 0);
    let before = h0.state();
    assert_eq!(before.deferred.len(), 1);
    h0.show("unit", "no json");
    assert_eq!(h0.dispatch("cluster-relation-changed"), 1);
    assert_eq!(h0.state(), before);
    let log = fs::read_to_string(h0.root.join("log")).unwrap();
    assert!(
        log.contains("relation-get did not print the JSON we expect"),
        "{log}"
    );
}

#[test]
fn a_charm_directory_is_what_juju_and_the_executable_expect() {
    let folder = TempDir::new().unwrap();
    for release in Release::FIRST_PROTOCOL {
        let charm = folder.path().join(release.to_string());
        charm_directory(&charm, Path::new(CHARM), release).unwrap();
        let metadata = fs::read_to_string(charm.join("metadata.yaml")).unwrap();
        assert!(metadata.starts_with("name: microovn\n"));
        assert!(metadata.contains("interface: worker-cluster\n    limit: 1\n"));
        assert_eq!(
            fs::read_to_string(charm.join("release")).unwrap(),
            format!("{release}\n")
        );
        for executable in ["dispatch", "bin/microovn-charm"] {
            let mode = fs::metadata(charm.join(executable))
                .unwrap()
                .permissions()
                .mode();
            assert_ne!(mode & 0o111, 0, "{executable}");
        }
    }
}

//! The demonstration, as a person runs it.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Command, Output, Stdio};

use juju_emulator::library;
use rustix::process::{Pid, Signal, kill_process};
use zip::ZipWriter;
use zip::write::SimpleFileOptions;

fn demo(arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_juju-emulator"));
    command.arg("demo").args(["--seed", "1"]).args(arguments);
    command.output().expect("the demonstration starts")
}

fn shown(output: &Output) -> Vec<&str> {
    let text = str::from_utf8(&output.stdout).expect("text");
    text.lines().collect()
}

#[test]
fn three_hosts_become_one_cluster() {
    let output = demo(&[]);
    let lines = shown(&output);
    assert!(output.status.success(), "{lines:#?}");
    assert_eq!(
        lines[..4],
        [
            "$ juju deploy microovn -n 3",
            "$ juju deploy microcluster-token-distributor",
            "$ juju integrate microovn:cluster \\",
            "    microcluster-token-distributor:microcluster-cluster",
        ]
    );
    let told = |what: &str| lines.iter().filter(|line| line.contains(what)).count();
    for (what, times) in [
        ("announces", 3),
        ("lets microovn bootstrap", 1),
        ("bootstraps on", 1),
        ("as a member", 1),
        ("joins as", 2),
        ("  3 hosts", 1),
        ("idle", 4),
        ("  member", 1),
        (" bytes)", 2),
    ] {
        assert_eq!(told(what), times, "{what}: {lines:#?}");
    }
    assert_eq!(lines[lines.len() - 1], "3 of 3 hosts in one cluster");

    // A token is one long word, and this is no terminal.
    assert!(lines.iter().all(|line| line.len() <= 80), "{lines:#?}");
    assert!(!output.stdout.contains(&0x1b));
    let built = String::from_utf8_lossy(&output.stderr);
    assert!(built.starts_with("Building 3 programs"), "{built}");
    assert!(built.lines().all(|line| line.len() <= 80), "{built}");
}

/// In the middle, so that its machines have files.
#[test]
fn a_demonstration_that_is_interrupted_leaves_nothing_behind() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut child = Command::new(env!("CARGO_BIN_EXE_juju-emulator"))
        .args(["demo", "--units", "30"])
        .env("TMPDIR", folder.path())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .expect("the demonstration starts");
    let stdout = child.stdout.take().expect("a pipe");
    let mut lines = BufReader::new(stdout).lines();
    let announces =
        |line: &io::Result<String>| line.as_ref().is_ok_and(|it| it.contains("announces"));
    assert!(lines.any(|line| announces(&line)), "it has begun");
    assert!(folder.path().read_dir().expect("read").next().is_some());
    let id = Pid::from_child(&child);
    kill_process(id, Signal::INT).expect("it runs");
    let status = child.wait().expect("it ends");
    assert_eq!(status.code(), Some(130));
    let left: Vec<_> = folder.path().read_dir().expect("read").collect();
    assert!(left.is_empty(), "{left:?}");
}

#[test]
fn the_example_charm_with_the_library_forms_a_cluster() {
    let output = demo(&["--consumer", "library", "--units", "2"]);
    let stderr = String::from_utf8_lossy(&output.stderr);
    if library::python().is_err() {
        assert_eq!(output.status.code(), Some(1));
        assert!(output.stdout.is_empty());
        assert!(
            stderr.starts_with("error: there is no Python with ops"),
            "{stderr}"
        );
        assert!(stderr.contains("`make library` sets it up"), "{stderr}");
        return;
    }
    let lines = shown(&output);
    assert!(output.status.success(), "{lines:#?} {stderr}");
    assert_eq!(
        lines[0],
        "$ juju deploy ./consumer-charm.charm microovn -n 2"
    );
    assert_eq!(lines[lines.len() - 1], "2 of 2 hosts in one cluster");
    let lines = lines.into_iter().chain(stderr.lines());
    assert!(lines.clone().all(|line| line.len() <= 80), "{lines:#?}");
}

#[test]
fn a_distributor_that_does_nothing_is_a_failure() {
    let folder = tempfile::tempdir().expect("a folder");
    let charm = folder.path().join("idle.charm");
    pack_idle_charm(&charm);
    let output = demo(&["--units", "2", "--charm", charm.to_str().expect("text")]);
    let lines = shown(&output);
    assert_eq!(output.status.code(), Some(1), "{lines:#?}");
    assert_eq!(lines[lines.len() - 1], "0 of 2 hosts in 0 clusters");
}

#[test]
fn a_charm_that_is_not_there_is_an_error() {
    let output = demo(&["--charm", "/nowhere.charm"]);
    assert_eq!(output.status.code(), Some(1));
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(stderr.contains("error: "), "{stderr}");
    assert!(stderr.contains("/nowhere.charm"), "{stderr}");
}

fn pack_idle_charm(path: &Path) {
    let mut charm = ZipWriter::new(File::create(path).expect("a file"));
    let metadata = include_str!("../../../metadata.yaml");
    for (name, mode, content) in [
        ("metadata.yaml", 0o644, metadata),
        ("dispatch", 0o755, "#!/bin/sh\n"),
    ] {
        let options = SimpleFileOptions::default().unix_permissions(mode);
        charm.start_file(name, options).expect("an entry");
        charm.write_all(content.as_bytes()).expect("its content");
    }
    charm.finish().expect("a charm");
}

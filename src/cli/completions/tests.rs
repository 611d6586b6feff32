use std::io::Write;
use std::process::{Command as Process, Stdio};

use clap::CommandFactory;

use super::*;
use crate::cli::Cli;

fn script(shell: Shell) -> String {
    completions(&Cli::command(), shell)
}

/// What bash offers for the last of `words`, in a folder with one file.
fn offered(words: &[&str]) -> Option<Vec<String>> {
    let folder = tempfile::tempdir().expect("a folder");
    std::fs::write(folder.path().join("units 1.yaml"), "").expect("written");
    #[expect(clippy::disallowed_methods, reason = "no hook runs here")]
    let mut bash = Process::new("bash");
    let child = bash
        .args(["--norc", "--noprofile", "-s", "--"])
        .args(words)
        .current_dir(folder.path())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn();
    let mut child = match child {
        Ok(child) => child,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return None,
        Err(error) => panic!("bash: {error}"),
    };
    let asking = "COMP_WORDS=(\"$@\")\nCOMP_CWORD=$(($# - 1))\n\
                  _microcluster_token_distributor\nprintf '%s\\n' \"${COMPREPLY[@]}\"\n";
    let mut stdin = child.stdin.take().expect("it is piped");
    let script = script(Shell::Bash) + asking;
    stdin.write_all(script.as_bytes()).expect("it reads");
    drop(stdin);
    let output = child.wait_with_output().expect("it ends");
    assert!(output.status.success(), "{words:?}");
    let offered = String::from_utf8(output.stdout).expect("text");
    Some(
        offered
            .lines()
            .filter(|line| !line.is_empty())
            .map(str::to_owned)
            .collect(),
    )
}

#[test]
fn bash_offers_what_can_follow() {
    let file = "units 1.yaml";
    for (words, expected) in [
        (
            &[""][..],
            &["plan", "explain", "completions", "--help", "--version"][..],
        ),
        (&["p"], &["plan"]),
        (&["--v"], &["--version"]),
        (&["x"], &[]),
        (
            &["plan", ""],
            &[
                file,
                "--bootstrap-app",
                "--distributor",
                "--format",
                "--help",
            ],
        ),
        (&["plan", "u"], &[file]),
        (&["plan", "--f"], &["--format"]),
        (&["plan", "--format", ""], &["table", "json", "yaml"]),
        (&["plan", "--format", "y"], &["yaml"]),
        (&["plan", "--format", "="], &["table", "json", "yaml"]),
        (&["plan", "--format", "=", "j"], &["json"]),
        (&["plan", "--bootstrap-app", ""], &[]),
        (&["plan", "--bootstrap-app", "=", ""], &[]),
        (&["plan", "--distributor", ""], &[]),
        (&["explain", "host", "--d"], &["--distributor"]),
        (&["plan", "--format", "json", "u"], &[file]),
        (&["explain", "host", "u"], &[file]),
        (&["explain", "--format", "t"], &["table"]),
        (&["completions", ""], &["bash", "zsh", "fish", "--help"]),
        (&["completions", "u"], &[]),
        (&["paln", ""], &[]),
    ] {
        let words = [&["microcluster-token-distributor"], words].concat();
        let Some(offered) = offered(&words) else {
            return;
        };
        let mut offered: Vec<&str> = offered.iter().map(String::as_str).collect();
        let mut expected = expected.to_vec();
        offered.sort_unstable();
        expected.sort_unstable();
        assert_eq!(offered, expected, "{words:?}");
    }
}

#[test]
fn zsh_and_fish_say_the_same() {
    insta::assert_snapshot!("zsh", script(Shell::Zsh));
    insta::assert_snapshot!("fish", script(Shell::Fish));
}

#[test]
fn an_apostrophe_ends_no_word() {
    assert_eq!(quoted("Juju's"), "'Juju'\\''s'");
}

//! The command line, as the real executable: what it prints for situations that people send in.
//!
//! The files below `data/show-unit` have the layout of `juju show-unit` 3.6, and of 4.1 where they
//! are JSON. `INSTA_UPDATE=always` writes new snapshots; read the difference before you commit it.

use std::io::Write;
use std::process::{Command, Output, Stdio};

use insta::assert_snapshot;
use serde_json::Value;

const SITUATIONS: [&str; 7] = [
    "fresh.yaml",
    "waiting.yaml",
    "split-values.json",
    "two-applications.yaml",
    "cross-model.yaml",
    "total-loss.yaml",
    "consumer-only.yaml",
];

/// Runs the executable in the folder of the situations, as a laptop would: no variable of Juju's.
fn run(arguments: &[&str], stdin: &str) -> Output {
    #[expect(clippy::disallowed_methods, reason = "no hook runs here")]
    let mut command = Command::new(env!("CARGO_BIN_EXE_microcluster-token-distributor"));
    let mut child = command
        .args(arguments)
        .env_clear()
        .current_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/show-unit"))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("it starts");
    let mut pipe = child.stdin.take().expect("it is piped");
    // One that does not read its input breaks the pipe.
    let _ = pipe.write_all(stdin.as_bytes());
    drop(pipe);
    child.wait_with_output().expect("it ends")
}

/// Everything it prints, with its exit status.
fn shown(arguments: &[&str], stdin: &str) -> String {
    let Output {
        status,
        stdout,
        stderr,
    } = run(arguments, stdin);
    let (stdout, stderr) = (String::from_utf8(stdout), String::from_utf8(stderr));
    let mut text = stdout.expect("text") + &stderr.expect("text");
    if let Some(code) = status.code().filter(|code| *code != 0) {
        text.push_str(&format!("exit status {code}\n"));
    }
    text
}

fn situation(name: &str) -> String {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/show-unit");
    std::fs::read_to_string(format!("{folder}/{name}")).expect("a situation")
}

#[test]
fn a_plan_for_each_situation() {
    for name in SITUATIONS {
        let (name, _) = name.rsplit_once('.').expect("a file");
        let file = SITUATIONS.iter().find(|file| file.starts_with(name));
        assert_snapshot!(name, shown(&["plan", file.expect("itself")], ""));
    }
}

#[test]
fn the_story_of_a_host_in_each_state() {
    for (state, host, file) in [
        ("waiting", "juju-3f2a1c-3", "waiting.yaml"),
        ("token", "juju-3f2a1c-2", "waiting.yaml"),
        ("member", "juju-3f2a1c-1", "waiting.yaml"),
        ("split", "arm-1", "split-values.json"),
        ("refused", "42", "two-applications.yaml"),
        ("member-waiting", "juju-3f2a1c-3", "total-loss.yaml"),
        ("unknown", "juju-3f2a1c-9", "waiting.yaml"),
    ] {
        assert_snapshot!(
            format!("explain-{state}"),
            shown(&["explain", host, file], "")
        );
    }
}

#[test]
fn the_option_that_show_unit_does_not_show_can_be_given() {
    let arguments = ["plan", "cross-model.yaml", "--bootstrap-app", "microovn"];
    assert_snapshot!("cross-model-configured", shown(&arguments, ""));
}

#[test]
fn help_is_help() {
    assert_snapshot!("help", shown(&["--help"], ""));
    assert_snapshot!("help-plan", shown(&["plan", "--help"], ""));
    let version = format!(
        "microcluster-token-distributor {}\n",
        env!("CARGO_PKG_VERSION")
    );
    assert_eq!(shown(&["--version"], ""), version);
}

#[test]
fn json_and_yaml_say_the_same() {
    for file in SITUATIONS {
        let as_json = run(&["plan", "--format", "json", file], "").stdout;
        let as_yaml = run(&["plan", "--format", "yaml", file], "").stdout;
        let from_json: Option<Value> = serde_json::from_slice(&as_json).ok();
        let from_yaml: Option<Value> = serde_yaml::from_slice(&as_yaml).ok();
        assert_eq!(
            from_json,
            from_yaml.filter(|value| !value.is_null()),
            "{file}"
        );
    }
}

#[test]
fn several_files_and_standard_input_are_taken_together() {
    let whole = situation("waiting.yaml");
    let at = whole.find("\nmicroovn/0:").expect("the consumer's unit") + 1;
    let (distributor, consumer) = whole.split_at(at);
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("distributor.yaml");
    std::fs::write(&file, distributor).expect("written");
    let expected = shown(&["plan", "waiting.yaml"], "");
    let file = file.to_str().expect("text");
    assert_eq!(shown(&["plan", file, "-"], consumer), expected);
    assert_eq!(shown(&["plan"], &whole), expected);
    // As an editor on another system leaves it.
    let edited = format!("\u{feff}{}", whole.replace('\n', "\r\n"));
    assert_eq!(shown(&["plan"], &edited), expected);
    let edited = format!("\u{feff}{}", situation("split-values.json"));
    assert_eq!(
        shown(&["plan"], &edited),
        shown(&["plan", "split-values.json"], "")
    );
}

/// Juju 3 shows application data of the other side, Juju 4 of the own; the plan is the same.
#[test]
fn either_side_may_show_our_application_bag() {
    let four: Value = serde_json::from_str(&situation("split-values.json")).expect("JSON");
    let mut three = four.clone();
    let ours = "microcluster-token-distributor/0";
    for (at, consumer) in ["microovn/0", "microovn-arm64/0"].iter().enumerate() {
        let own = &mut three[ours]["relation-info"][at]["application-data"];
        let data = own.take();
        *own = serde_json::json!({});
        three[*consumer]["relation-info"][0]["application-data"] = data;
    }
    assert_eq!(
        shown(&["plan"], &three.to_string()),
        shown(&["plan"], &four.to_string())
    );
}

#[test]
fn bad_input_is_refused_by_its_place_and_never_quoted() {
    let unit = |relation: &str| {
        format!(
            "mtd/0:\n  leader: true\n  relation-info:\n  - endpoint: microcluster-cluster\n{relation}"
        )
    };
    for (case, input, complaint) in [
        ("nothing", String::new(), "standard input is empty"),
        ("blanks", " \n".to_owned(), "standard input is empty"),
        ("null", "# SECRET\n".to_owned(), "the whole is no map"),
        ("a list", "- SECRET".to_owned(), "the whole is no map"),
        ("no YAML", "mtd/0: [SECRET".to_owned(), "not YAML (line "),
        (
            "no JSON",
            "{\"SECRET\"".to_owned(),
            "not JSON (line 1, column 9)",
        ),
        (
            "a key twice",
            "a/0: {}\n a/0: SECRET\n".to_owned(),
            "not YAML (line ",
        ),
        (
            "no unit",
            "SECRET: {}".to_owned(),
            "unit 1 is no unit by its name",
        ),
        ("no map", "mtd/0: SECRET".to_owned(), "unit 1 is no map"),
        (
            "no number",
            unit("    relation-id: SECRET\n"),
            "unit 1, relation 1 is no relation with its number",
        ),
        (
            "no databag",
            unit("    relation-id: 1\n    application-data:\n      mirror-h: [SECRET]\n"),
            "unit 1, relation 1, application-data is no databag",
        ),
        (
            "no remote unit",
            unit("    relation-id: 1\n    related-units:\n      SECRET:\n        in-scope: true\n"),
            "unit 1, relation 1, related unit 1 is no unit by its name",
        ),
        (
            "no distributor",
            "a/0: {}".to_owned(),
            "add `juju show-unit APP/N`",
        ),
    ] {
        let output = run(&["plan"], &input);
        let stderr = String::from_utf8(output.stderr).expect("text");
        assert_eq!(output.status.code(), Some(1), "{case}: {stderr}");
        assert!(stderr.starts_with("error: "), "{case}: {stderr}");
        assert!(stderr.contains(complaint), "{case}: {stderr}");
        assert_eq!(stderr.lines().count(), 1, "{case}: {stderr}");
        assert!(!stderr.contains("SECRET"), "{case}: {stderr}");
    }
    let missing = shown(&["plan", "nowhere.yaml"], "");
    assert!(missing.starts_with("error: cannot read nowhere.yaml: No such file"));
}

#[test]
fn wrong_usage_has_its_own_exit_status() {
    for arguments in [
        &["paln"][..],
        &["plan", "--formt", "json"],
        &["plan", "--format", "toml"],
        &["explain"],
        &["completions", "tcsh"],
    ] {
        let output = run(arguments, "");
        assert_eq!(output.status.code(), Some(2), "{arguments:?}");
        assert!(output.stdout.is_empty(), "{arguments:?}");
    }
}

#[test]
fn no_token_is_ever_printed() {
    let token = |word: &&str| word.starts_with("eyJ");
    for file in SITUATIONS {
        let text = situation(file);
        let words = text.split(|character: char| !character.is_ascii_alphanumeric());
        let tokens: Vec<&str> = words.filter(token).collect();
        assert!(!tokens.is_empty() || ["fresh.yaml", "cross-model.yaml"].contains(&file));
        for format in ["table", "json", "yaml"] {
            for arguments in [&["plan"][..], &["explain", "juju-3f2a1c-2"]] {
                let all = [arguments, &["--format", format, file]].concat();
                let printed = shown(&all, "");
                let leaks = tokens.iter().any(|token| printed.contains(&token[..12]));
                assert!(!leaks, "{all:?}");
            }
        }
    }
}

#[test]
fn completions_name_every_command_and_option() {
    for shell in ["bash", "zsh", "fish"] {
        let script = shown(&["completions", shell], "");
        for word in [
            "plan",
            "explain",
            "completions",
            "--format",
            "json",
            "--bootstrap-app",
            "fish",
        ] {
            // Fish has options without their dashes.
            let word = word.trim_start_matches('-');
            assert!(script.contains(word), "{shell} {word}");
        }
        assert!(!script.contains("exit status"), "{script}");
    }
}

#[test]
fn nothing_is_coloured() {
    for arguments in [&["--help"][..], &["plan", "--x"], &["plan", "waiting.yaml"]] {
        assert!(!shown(arguments, "").contains('\u{1b}'), "{arguments:?}");
    }
}

#[test]
fn everything_fits_a_terminal_of_80_columns() {
    for file in SITUATIONS {
        // An error is one line, for logs and scripts.
        let printed = String::from_utf8(run(&["plan", file], "").stdout).expect("text");
        for line in printed.lines() {
            assert!(line.chars().count() <= 80, "{file}: {line}");
        }
    }
}

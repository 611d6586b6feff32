//! The command line, as the real executable: what it prints for situations that people send in.
//!
//! The files below `data/show-unit` have the layout of `juju show-unit` 3.6, and of 4.1 where they
//! are JSON. `INSTA_UPDATE=always` writes new snapshots; read the difference before you commit it.

use std::io::Write;
use std::process::{Command, Output, Stdio};

use insta::assert_snapshot;
use serde_json::Value;

const SITUATIONS: [&str; 10] = [
    "fresh.yaml",
    "waiting.yaml",
    "standby.yaml",
    "split-values.json",
    "two-applications.yaml",
    "cross-model.yaml",
    "members-and-refusals.yaml",
    "python-charm.yaml",
    "total-loss.yaml",
    "consumer-only.yaml",
];

/// Runs the executable in the folder of the situations, as a laptop would: no variable of Juju's.
fn run(arguments: &[&str], stdin: impl AsRef<[u8]>) -> Output {
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
    let _ = pipe.write_all(stdin.as_ref());
    drop(pipe);
    child.wait_with_output().expect("it ends")
}

/// Everything it prints, with its exit status.
fn shown(arguments: &[&str], stdin: impl AsRef<[u8]>) -> String {
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

/// The answer to `plan --format json`.
fn planned(arguments: &[&str], stdin: impl AsRef<[u8]>) -> Value {
    let output = run(&[&["plan", "--format", "json"], arguments].concat(), stdin);
    let complaint = String::from_utf8_lossy(&output.stderr).into_owned();
    serde_json::from_slice(&output.stdout).expect(&complaint)
}

/// The changes as `KEY becomes VALUE in BAGS`, where the input shows enough for a plan.
fn changes(plan: &Value) -> Option<Vec<String>> {
    let changes = plan["changes"].as_array()?.iter().map(|change| {
        let bags: Vec<_> = change["bags"]
            .as_array()?
            .iter()
            .map(Value::as_str)
            .collect();
        let bags = bags.into_iter().collect::<Option<Vec<_>>>()?.join(", ");
        let (key, becomes) = (change["key"].as_str()?, change["change"].as_str()?);
        Some(format!("{key} becomes {becomes} in {bags}"))
    });
    changes.collect()
}

fn incomplete(plan: &Value) -> String {
    let lines = plan["incomplete"].as_array().expect("a list").iter();
    lines
        .filter_map(Value::as_str)
        .collect::<Vec<_>>()
        .join("\n")
}

/// A file that was made after a report from the field.
fn case(name: &str) -> String {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/cases");
    std::fs::read_to_string(format!("{folder}/{name}")).expect("a case")
}

/// Without the lines of one relation in the dump of one unit.
fn without_relation(dump: &str, id: u64) -> String {
    let begin = dump
        .find(&format!("  - relation-id: {id}\n"))
        .expect("it is there");
    let rest = &dump[begin + 1..];
    let ends = ["\n  - relation-id", "\nm/", "\nmicroovn"].map(|next| rest.find(next));
    let end = ends
        .into_iter()
        .flatten()
        .min()
        .map_or(rest.len(), |end| end + 1);
    format!("{}{}", &dump[..begin], &rest[end..])
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
        ("unheard", "juju-3f2a1c-4", "standby.yaml"),
        ("refused", "juju-3f2a1c-3", "members-and-refusals.yaml"),
        (
            "refused-twice",
            "juju-3f2a1c-4",
            "members-and-refusals.yaml",
        ),
        ("retired", "juju-3f2a1c-9", "members-and-refusals.yaml"),
        ("token", "juju-3f2a1c-2", "waiting.yaml"),
        ("member", "juju-3f2a1c-1", "waiting.yaml"),
        ("split", "arm-1", "split-values.json"),
        ("invalid", "42", "two-applications.yaml"),
        ("lost-member", "juju-3f2a1c-3", "total-loss.yaml"),
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

/// Reports from the field, with the answer that each should have had. What is read of them is
/// tested in cli_input.rs.
#[test]
fn each_case_from_the_field_has_its_right_answer() {
    for file in [
        // The consumer's bag is under its own local-unit.
        "juju-4.0.5.yaml",
        // The consumer's endpoint is called as the distributor's, and is not.
        "same-endpoint-name.yaml",
        "other-endpoint-name.yaml",
    ] {
        let plan = planned(&[], case(file));
        assert_eq!(
            plan["status"], "waiting: 1 of 1 host waiting for a join token",
            "{file}"
        );
        assert_eq!(changes(&plan), Some(vec![]), "{file}");
        let story = shown(&["explain", "h"], case(file));
        assert!(story.contains("h     waiting  m/0"), "{file}: {story}");
    }
    // Sibling: a second unit of the distributor in the dump, which its own dump shows as related.
    let sibling = case("juju-4.0.5.yaml").replace(
        "mirror-h: empty}}\nm/0:",
        "mirror-h: empty}}\n    related-units: {d/1: {in-scope: true, data: {}}}\nm/0:",
    );
    assert_eq!(changes(&planned(&[], sibling)), Some(vec![]));
    // Sibling: the consumer has announced itself and has not been heard.
    let unheard = case("juju-4.0.5.yaml").replace("host-h: m/0, mirror-h: empty, ", "");
    let unheard = unheard.replace("mirror: up, mirror-h: empty", "mirror: up");
    let wanted = [
        "host-h becomes m/0 in ledger",
        "mirror-h becomes empty in ledger, 2 unit",
    ];
    let plan = planned(&[], unheard);
    assert_eq!(changes(&plan), Some(wanted.map(str::to_owned).into()));

    // What options of show-unit leave out stays as it is.
    for file in ["related-unit-option.yaml", "app-option.yaml"] {
        let plan = planned(&[], case(file));
        assert_eq!(
            plan["status"], "waiting: 1 of 2 hosts waiting for a join token",
            "{file}"
        );
        // There is a cluster, and this dump is of a charm that did not say so yet.
        let told = "may-bootstrap becomes false in 2 app".to_owned();
        assert_eq!(changes(&plan), Some(vec![told]), "{file}");
        let lacks = incomplete(&plan);
        assert!(lacks.contains("the unit bag"), "{file}: {lacks}");
        assert!(
            lacks.contains("whether m has more units"),
            "{file}: {lacks}"
        );
    }

    // One plan for each distributor, and none writes what is the other's.
    let plans = planned(&[], case("two-distributors.yaml"));
    for (plan, [unit, host, relation]) in plans
        .as_array()
        .expect("two")
        .iter()
        .zip([["d/0", "h", "1"], ["e/0", "i", "2"]])
    {
        assert_eq!(plan["unit"], unit);
        assert_eq!(plan["hosts"].as_array().map(Vec::len), Some(1), "{unit}");
        assert_eq!(plan["hosts"][0]["host"], host, "{unit}");
        let told = format!("may-bootstrap becomes false in {relation} app");
        assert_eq!(changes(plan), Some(vec![told]), "{unit}");
    }
    // Siblings: one of them is asked for, one that is not there, a host of the other.
    let two = case("two-distributors.yaml");
    assert_eq!(planned(&["--distributor", "e"], &two)["unit"], "e/0");
    let none = shown(&["plan", "--distributor", "x"], &two);
    assert!(
        none.starts_with("error: ") && none.ends_with("d, e\nexit status 1\n"),
        "{none}"
    );
    assert!(shown(&["explain", "i"], &two).contains("b/0"));
    let other = shown(&["explain", "i", "--distributor", "d"], &two);
    assert!(other.starts_with("error: no host"), "{other}");

    let twice = shown(&["plan"], case("same-unit-twice.yaml"));
    assert!(
        twice.starts_with("error: unit a/0 is in the input twice and differs"),
        "{twice}"
    );
    // Sibling: the same dump twice needs no choice.
    let once = case("same-endpoint-name.yaml");
    assert_eq!(shown(&["plan"], once.repeat(2)), shown(&["plan"], &once));

    // What people paste is read as if it was whole.
    let expected = shown(&["plan"], &once);
    let indented: String = once.lines().map(|line| format!("    {line}\n")).collect();
    let documents = once.replace("m/0:\n  charm", "---\nm/0:\n  charm");
    let utf16: Vec<u8> = once.encode_utf16().flat_map(u16::to_le_bytes).collect();
    for pasted in [indented.into_bytes(), documents.into_bytes(), utf16] {
        assert_eq!(shown(&["plan"], pasted), expected);
    }
    let complaint = shown(&["plan"], case("lines-min.yaml"));
    assert!(
        complaint.contains("not YAML (line 4, column "),
        "{complaint}"
    );
    // Sibling: behind a mark and a prompt.
    let complaint = shown(&["plan"], "\u{feff}$ juju show-unit a/0\n\na/0: [\n");
    assert!(
        complaint.contains("not YAML (line 3, column "),
        "{complaint}"
    );

    let status = shown(&["plan"], "Model  Controller\nm      c\n");
    assert!(
        status.contains("is from `juju status`; `juju show-unit` shows"),
        "{status}"
    );
}

#[test]
fn the_option_is_read_as_the_charm_reads_it() {
    let once = case("same-endpoint-name.yaml");
    let unset = shown(&["plan"], &once);
    // Siblings: what a shell makes of an unset option, of one with a line end, of the present one.
    for empty in ["", " ", "\n"] {
        assert_eq!(shown(&["plan", "--bootstrap-app", empty], &once), unset);
    }
    let set = shown(&["plan", "--bootstrap-app", "m"], &once);
    for padded in [" m", "m\n"] {
        assert_eq!(shown(&["plan", "--bootstrap-app", padded], &once), set);
    }
    assert!(
        set.contains("option-bootstrap-app  m        ledger"),
        "{set}"
    );
    let other = planned(&["--bootstrap-app", " x"], &once);
    assert_eq!(
        other["status"],
        "blocked: config bootstrap-app: x is not related; relate it or set another"
    );
}

/// A plan rests on the ledger, or, before the first publication, on everything.
#[test]
fn nothing_is_predicted_from_what_the_input_lacks() {
    let waiting = situation("waiting.yaml");
    let python = situation("python-charm.yaml");
    let consumer = python.find("\nmicroovn/0:").expect("the consumer's dump") + 1;
    for (case, input, host, lack) in [
        (
            "juju show-unit --endpoint",
            without_relation(&waiting, 0),
            "unknown",
            "the ledger is not in the input: run juju show-unit microcluster-token-distributor/0",
        ),
        (
            "the distributor's dump alone, before the refresh from the Python charm",
            python[..consumer].to_owned(),
            "unknown",
            "not in the input: the distributor's application bag",
        ),
        (
            "another model, before the first publication",
            ledgerless(&situation("cross-model.yaml")),
            "unknown",
            "relation 5 goes to another model",
        ),
    ] {
        let plan = planned(&[], &input);
        for open in ["status", "changes", "findings", "bootstrap-app"] {
            assert!(plan[open].is_null(), "{case}: {open}");
        }
        let hosts = plan["hosts"].as_array().expect("a list");
        assert_eq!(hosts.last().expect(case)["state"], host, "{case}");
        assert!(
            incomplete(&plan).contains(lack),
            "{case}: {}",
            incomplete(&plan)
        );
        let name = hosts
            .last()
            .and_then(|host| host["host"].as_str())
            .expect("a name");
        let story = shown(&["explain", name], &input);
        assert!(
            story.contains("the input does not show whether"),
            "{case}: {story}"
        );
        assert!(!story.contains("would write"), "{case}: {story}");
    }
}

/// The dump with an empty ledger.
fn ledgerless(dump: &str) -> String {
    let head = "    application-data:\n      bootstrap-app";
    let begin = dump.find(head).expect("a ledger");
    let end = begin + dump[begin..].find("    local-unit").expect("an own bag");
    format!(
        "{}    application-data: {{}}\n{}",
        &dump[..begin],
        &dump[end..]
    )
}

#[test]
fn no_removal_rests_on_absence() {
    let shows_no_removal = |case: &str, input: &str| {
        let plan = planned(&[], input);
        let changes = changes(&plan).expect(case);
        assert!(
            !changes.iter().any(|change| change.contains("removed")),
            "{case}: {changes:?}"
        );
        assert!(
            !changes.iter().any(|change| change.starts_with("relation-")),
            "{case}: {changes:?}"
        );
        assert_ne!(plan["incomplete"], serde_json::json!([]), "{case}");
        plan
    };
    // A key that no unit announces, as far as the input shows: m/1, which it lacks, may have.
    let whole = case("same-endpoint-name.yaml");
    let stale = whole.replace("mirror-h: empty}}}", "mirror-h: empty, mirror-i: empty}}}");
    let plan = planned(&[], &stale);
    assert_eq!(
        changes(&plan),
        Some(vec!["mirror-i becomes removed in 1 unit".to_owned()])
    );
    let other = stale.replace("host-h: m/0,", "host-h: m/0 m/1,");
    shows_no_removal("a unit that only the ledger knows", &other);
    // A relation that only the ledger names keeps its hosts, and its application is related.
    let more =
        "host-n: n/0, mirror-n: empty, option-bootstrap-app: n, relation-1: m, relation-7: n";
    let unseen = whole.replace("relation-1: m", more);
    let unseen = unseen.replace("bootstrap-app: m,", "bootstrap-app: n,");
    let plan = shows_no_removal("a relation that was not dumped", &unseen);
    assert_eq!(plan["hosts"].as_array().map(Vec::len), Some(2));
    let status = plan["status"].as_str().expect("it is known");
    assert!(status.starts_with("waiting: 2 of 2 hosts"), "{status}");
    // Sibling: one that the ledger marks as broken, in a dump that an option made.
    let broken = case("related-unit-option.yaml").replace(
        "relation-2: m",
        "host-n: n/0, mirror-n: empty, relation-2: m, relation-7: n -",
    );
    let plan = shows_no_removal("a relation that may still be listed", &broken);
    assert_eq!(plan["hosts"].as_array().map(Vec::len), Some(3));
}

/// What the ledger was published to shows the ledger, also where the input lacks it.
#[test]
fn news_goes_to_bags_that_the_input_lacks() {
    let plan = planned(&["standby.yaml"], "");
    let wanted = [
        "host-juju-3f2a1c-4 becomes microovn/3 in ledger",
        "mirror-juju-3f2a1c-4 becomes empty in ledger, 2 unit",
    ];
    assert_eq!(changes(&plan), Some(wanted.map(str::to_owned).into()));
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
        let own = &mut three[ours]["relation-info"][at + 1]["application-data"];
        let data = own.take();
        *own = serde_json::json!({});
        three[*consumer]["relation-info"][0]["application-data"] = data;
    }
    assert_eq!(
        shown(&["plan"], three.to_string()),
        shown(&["plan"], four.to_string())
    );
}

#[test]
fn bad_input_is_refused_by_its_place_and_never_quoted() {
    let unit = |relation: &str| {
        format!(
            "mtd/0:\n  charm: c\n  relation-info:\n  - endpoint: microcluster-cluster\n{relation}"
        )
    };
    for (case, input, complaint) in [
        ("nothing", String::new(), "standard input is empty"),
        ("blanks", " \n".to_owned(), "standard input is empty"),
        (
            "a remark",
            "# SECRET\n".to_owned(),
            "standard input is empty",
        ),
        (
            "a list",
            "- SECRET".to_owned(),
            "line 1 is not from `juju show-unit`",
        ),
        (
            "no YAML",
            "mtd/0: [SECRET".to_owned(),
            "not YAML (line 1, column 8)",
        ),
        (
            "no JSON",
            "{\"SECRET\"".to_owned(),
            "standard input ends within line 1",
        ),
        (
            "a key twice",
            "a/0: {charm: SECRET, charm: b}\n".to_owned(),
            "line 1, column 6 is not what",
        ),
        (
            "no unit",
            "SECRET: {}".to_owned(),
            "line 1 is not from `juju show-unit`",
        ),
        (
            "no map",
            "mtd/0: SECRET".to_owned(),
            "line 1, column 8 is not what",
        ),
        (
            "no charm",
            "mtd/0: {leader: true}".to_owned(),
            "unit mtd/0 (line 1) shows no charm",
        ),
        (
            "no number",
            unit("    relation-id: SECRET\n"),
            "line 5, column 18 is not what",
        ),
        (
            "no databag",
            unit("    relation-id: 1\n    application-data:\n      mirror-h: [SECRET]\n"),
            "line 7, column 17 is not what",
        ),
        (
            "no remote unit",
            unit("    relation-id: 1\n    related-units:\n      SECRET:\n        in-scope: true\n"),
            "line 7, column 7 is not what",
        ),
        (
            "no distributor",
            "a/0: {charm: b}".to_owned(),
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
            "--distributor",
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
    let hosts = [
        "juju-3f2a1c-1",
        "juju-3f2a1c-3",
        "juju-3f2a1c-4",
        "arm-1",
        "edge-2",
        "42",
    ];
    let stories = hosts.iter().map(|host| vec!["explain", host]);
    let commands: Vec<Vec<&str>> = stories.chain([vec!["plan"]]).collect();
    let on_files = commands
        .iter()
        .flat_map(|command| SITUATIONS.map(|file| [&command[..], &[file]].concat()));
    let help = [
        vec!["--help"],
        vec!["plan", "--help"],
        vec!["explain", "--help"],
    ];
    for arguments in on_files.chain(help) {
        // An error is one line, for logs and scripts.
        let printed = String::from_utf8(run(&arguments, "").stdout).expect("text");
        for line in printed.lines() {
            assert!(line.chars().count() <= 80, "{arguments:?}: {line}");
        }
    }
}

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
    run_by(&[], arguments, stdin)
}

/// Runs it by a command that takes it as its last arguments, or by none.
fn run_by(by: &[&str], arguments: &[&str], stdin: impl AsRef<[u8]>) -> Output {
    let executable = [env!("CARGO_BIN_EXE_microcluster-token-distributor")];
    let words = [by, &executable, arguments].concat();
    #[expect(clippy::disallowed_methods, reason = "no hook runs here")]
    let mut command = Command::new(words[0]);
    let mut child = command
        .args(&words[1..])
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
        .filter_map(|lack| lack["text"].as_str())
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

/// Reports from the field, with the answer that each should have had.
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
        assert_eq!(plan["verdict"], "not-enough", "{file}");
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

    // With two distributors there is a plan for one of them, and it writes nothing of the other's.
    let two = case("two-distributors.yaml");
    let which = shown(&["plan"], &two);
    assert!(
        which.starts_with("error: the input has these token distributors: d, e. Choose"),
        "{which}"
    );
    for (app, unit, host, relation) in [("d", "d/0", "h", 1), ("e", "e/0", "i", 2)] {
        let plan = planned(&["--app", app], &two);
        assert_eq!(plan["unit"], unit);
        assert_eq!(plan["hosts"].as_array().map(Vec::len), Some(1), "{unit}");
        assert_eq!(plan["hosts"][0]["host"], host, "{unit}");
        let told = format!("may-bootstrap becomes false in {relation} app");
        assert_eq!(changes(&plan), Some(vec![told]), "{unit}");
    }
    // Siblings: one that is not there; a host of the other one.
    let none = shown(&["plan", "--app", "x"], &two);
    assert!(none.contains("these token distributors: d, e."), "{none}");
    let other = shown(&["explain", "i", "--app", "d"], &two);
    assert!(other.starts_with("error: no host"), "{other}");
}

/// A Python charm whose only relation is across models: Juju shows the hosts' bags, and not ours.
#[test]
fn across_models_what_was_seen_is_said_and_what_was_not_is_named() {
    let dump = case("plan-cross-model-python.yaml");
    let output = run(&["plan"], &dump);
    assert_eq!(output.status.code(), Some(4), "it is not a plan");
    let plan = planned(&[], &dump);
    assert_eq!(plan["verdict"], "not-enough");
    let states = ["edge-1", "edge-2"].map(|host| (host, "waiting"));
    let hosts = plan["hosts"].as_array().expect("a list").iter();
    let hosts: Vec<_> = hosts
        .map(|host| (host["host"].as_str(), host["state"].as_str()))
        .collect();
    assert_eq!(hosts, states.map(|(host, state)| (Some(host), Some(state))));
    assert_eq!(plan["findings"][0]["kind"], "bootstrap-app-cross-model");
    assert!(
        plan["status"]
            .as_str()
            .is_some_and(|it| it.starts_with("blocked: "))
    );
    let lacks = incomplete(&plan);
    assert!(
        lacks.contains("no dump of this model shows the distributor's application bag, and the"),
        "{lacks}"
    );
    // A bag that was not seen may hold a token, or name an application.
    let planned_changes = changes(&plan).expect("the ledger is seen");
    let guess = |change: &&String| change.starts_with("mirror-") || change.starts_with("boot");
    assert_eq!(planned_changes.iter().find(guess), None);
    // Sibling: two of them with the same name.
    let contested = planned(&[], dump.replace("hostname: edge-2", "hostname: edge-1"));
    let kinds = contested["findings"].as_array().expect("a list").iter();
    assert!(
        kinds
            .clone()
            .any(|finding| finding["kind"] == "host-name-contested")
    );
    // Siblings: Juju 4 never says that a relation is across models, and shows our application bag.
    let four = dump.replace("    cross-model: true\n", "");
    assert!(incomplete(&planned(&[], &four)).contains("relation 5 is across models"));
    let four = four.replace(
        "    related-endpoint: cluster\n    application-data: {}\n    related-units",
        "    related-endpoint: cluster\n    application-data: {bootstrap-app: x}\n    related-units",
    );
    let lacks = incomplete(&planned(&[], &four));
    assert!(
        lacks.ends_with("shows the unit bag of microcluster-token-distributor/0"),
        "{lacks}"
    );
    // Sibling: a local relation beside it keeps its plan.
    let local = situation("python-charm.yaml");
    let begin = dump.find("  - relation-id: 5").expect("it is there");
    let both = local.replacen(
        "microovn/0:\n  machine",
        &format!("{}microovn/0:\n  machine", &dump[begin..]),
        1,
    );
    let plan = planned(&[], both);
    assert_eq!(plan["verdict"], "not-enough");
    let changes = changes(&plan).expect("the ledger is seen");
    for wanted in [
        "host-juju-3f2a1c-1 becomes microovn/0* in ledger",
        "may-bootstrap becomes false in 2 app",
    ] {
        assert!(
            changes.contains(&wanted.to_owned()),
            "{wanted}: {changes:?}"
        );
    }
}

/// A consumer that writes an application bag of its own does not make it ours.
#[test]
fn whose_application_bag_a_dump_shows_is_told_by_what_is_in_it() {
    let three = case("other-endpoint-name.yaml");
    let ours = "{bootstrap-app: m, may-bootstrap: \"true\", protocol: \"2\"}";
    let theirs = "    related-endpoint: cluster\n";
    let written = format!("{theirs}    application-data: {{version: 1}}\n");
    let three_written = three.replacen(theirs, &written, 2);
    let three_written = three_written.replacen(&written, theirs, 1);
    assert!(three_written.contains("version"));
    let four = three_written
        .replace(
            &format!("    application-data: {ours}"),
            "    application-data: {other: 1}",
        )
        .replace("{version: 1}", ours);
    let plain = planned(&[], &three);
    assert_eq!(incomplete(&plain), "");
    for dump in [&three_written, &four] {
        let plan = planned(&[], dump);
        assert_eq!(plan, plain, "{dump}");
    }
    // Dumps of both releases in one input, or a consumer that writes our key: nobody can tell.
    let unclear = planned(&[], four.replace("{other: 1}", ours));
    assert_eq!(unclear["verdict"], "not-enough");
    assert!(incomplete(&unclear).contains("the distributor's application bag"));
}

/// The stop rules of docs/how-to/refresh.md: an input for each, and one beside it that is no reason.
#[test]
fn each_reason_to_stop_stops_and_its_neighbour_does_not() {
    let joined = situation("python-charm.yaml");
    let placeholder = |text: &str| {
        let lines = text
            .lines()
            .map(|line| match line.split_once("mirror-juju-3f2a1c-3: ") {
                Some((indent, _)) => format!("{indent}mirror-juju-3f2a1c-3: empty\n"),
                None => format!("{line}\n"),
            });
        lines.collect::<String>()
    };
    let ours = case("other-endpoint-name.yaml").replace("mirror-h: empty", "mirror-h: tok");
    let marked = |token: &str| {
        let marked = ours.replace("relation-1: m}", "relation-1: m -}");
        marked.replace(
            "mirror: up, mirror-h: tok",
            &format!("mirror: up, mirror-h: {token}"),
        )
    };
    let filled = |keys: u32| {
        let fillers: String = (0..keys)
            .map(|key| format!(", mirror-x{key}: member"))
            .collect();
        let filled = ours.replace(", relation-1: m}", &format!("{fillers}, relation-1: m}}"));
        filled.replace(
            "{m/0: {in-scope: true, data: {hostname: h}}}",
            "{m/0: {in-scope: true, data: {hostname: h}}, m/1: {in-scope: true, data: {hostname: i, member: i}}}",
        )
    };
    let option = ["--bootstrap-app", "nobody"];
    for (rule, arguments, input, verdict, reason) in [
        ("all joined", &[][..], joined.clone(), "go", ""),
        (
            "a host waits",
            &[],
            placeholder(&joined),
            "stop",
            "1 host waits for a token, juju-3f2a1c-3 first",
        ),
        (
            "a host that says that it is in",
            &[],
            placeholder(&joined).replace(
                "hostname: juju-3f2a1c-3",
                "hostname: juju-3f2a1c-3\n          mirror: down",
            ),
            "go",
            "",
        ),
        (
            "no cluster yet",
            &[],
            situation("fresh.yaml"),
            "stop",
            "2 hosts wait for a token",
        ),
        (
            "no room for a host",
            &[],
            filled(9_994),
            "stop",
            "databag full: host-i is left out",
        ),
        ("room for it", &[], filled(5_000), "go", ""),
        (
            "a token becomes another",
            &[],
            marked("other"),
            "stop",
            "relation 1: the token of h becomes another token",
        ),
        ("a token that stays", &[], marked("tok"), "go", ""),
        (
            "the option names an application that is not related",
            &option,
            ours.clone(),
            "stop",
            "config bootstrap-app: nobody is not related",
        ),
        (
            "the option names one that is",
            &["--bootstrap-app", "m"],
            ours.clone(),
            "go",
            "",
        ),
        (
            "a name that two units have",
            &[],
            joined.replace("hostname: juju-3f2a1c-3", "hostname: juju-3f2a1c-2"),
            "go",
            "",
        ),
        (
            "no leader",
            &[],
            joined.replacen("  leader: true\n", "", 1),
            "not-enough",
            "",
        ),
        (
            "a consumer that does not lead",
            &[],
            joined.replace(
                "ch:amd64/microovn-48\n  leader: true\n",
                "ch:amd64/microovn-48\n",
            ),
            "go",
            "",
        ),
    ] {
        let plan = planned(arguments, &input);
        assert_eq!(plan["verdict"], verdict, "{rule}: {plan:#}");
        let reasons = plan["reasons"].to_string();
        assert!(reasons.contains(reason), "{rule}: {reasons}");
        assert_eq!(verdict == "stop", reasons != "[]", "{rule}: {reasons}");
        let text = run(&[&["plan"], arguments].concat(), &input);
        let status = ["go", "", "", "stop", "not-enough"];
        let status = status.iter().position(|it| *it == verdict);
        assert_eq!(text.status.code(), status.map(|it| it as i32), "{rule}");
        let text = String::from_utf8(text.stdout).expect("text");
        assert!(
            text.starts_with(&verdict.replace('-', " ")),
            "{rule}: {text}"
        );
    }
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
    let input = without_relation(&situation("waiting.yaml"), 0);
    let plan = planned(&[], &input);
    for open in ["status", "changes", "findings", "bootstrap-app"] {
        assert!(plan[open].is_null(), "{open}");
    }
    assert_eq!(plan["verdict"], "not-enough");
    assert_eq!(plan["hosts"][2]["state"], "unknown");
    assert!(incomplete(&plan).starts_with("the ledger: run juju show-unit"));
    let story = shown(&["explain", "juju-3f2a1c-3"], &input);
    assert!(story.contains("the input does not show whether"), "{story}");
    assert!(!story.contains("writes"), "{story}");

    let python = situation("python-charm.yaml");
    let consumer = python.find("\nmicroovn/0:").expect("the consumer's dump") + 1;
    for (case, input, lack) in [
        (
            "the distributor's dump alone, before the refresh from the Python charm",
            python[..consumer].to_owned(),
            "relation 2: the distributor's application bag",
        ),
        (
            "another model, before the first publication",
            ledgerless(&situation("cross-model.yaml")),
            "relation 5 is across models",
        ),
    ] {
        let plan = planned(&[], &input);
        assert_eq!(plan["verdict"], "not-enough", "{case}");
        assert!(incomplete(&plan).starts_with(lack), "{case}");
        let changes = changes(&plan).expect("the ledger is seen");
        let guess = |change: &&String| {
            let rests_on_more = ["bootstrap-app", "may-bootstrap", "mirror becomes"];
            change.contains("becomes empty")
                || rests_on_more.iter().any(|key| change.starts_with(key))
        };
        assert_eq!(changes.iter().find(guess), None, "{case}");
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
    // Sibling: a dump that an option made, which lacks m/1. It may announce that name.
    let part = stale.replace(
        "local-unit: {in-scope: true, data: {ingress-address: 10.0.0.1}}",
        "",
    );
    shows_no_removal("a dump that lacks units", &part);
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
fn bad_input_is_refused_in_one_line_that_quotes_nothing() {
    for (case, input, complaint) in [
        (
            "a list",
            "- SECRET".to_owned(),
            "line 1, column 1 is not what",
        ),
        (
            "no unit of the distributor",
            "a/0: {charm: SECRET}".to_owned(),
            "Add: juju show-unit DISTRIBUTOR/N",
        ),
        (
            "two documents",
            "a/0: {charm: SECRET}\n---\nb/0: {charm: c}\n".to_owned(),
            "has several documents",
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
        for format in ["table", "json"] {
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

/// How the hosts of a Python charm came: a token has the address of each member that there was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Came {
    Together,
    OneByOne,
}

/// Two units of a Python charm that has served so many hosts: its leader, and a consumer. The last
/// hosts wait. On Juju 4 a dump shows the own application bag, on Juju 3 the other one's.
fn python_charm(hosts: usize, waiting: usize, came: Came, juju: u8) -> String {
    let token = |host: usize| {
        let members = match came {
            Came::Together => 1,
            Came::OneByOne => host,
        };
        // As long as base64 of a secret, a fingerprint and so many addresses.
        format!("eyJ{}{host:05}", "x".repeat(232 + 24 * members))
    };
    let value = |host: usize| match host >= hosts - waiting {
        true => "empty".to_owned(),
        false => token(host),
    };
    let mirror = |bag: &dyn Fn(usize) -> String| -> String {
        let line = |host| format!("          mirror-juju-3f2a1c-{host}: {}\n", bag(host));
        (1..hosts).map(line).collect()
    };
    let unit = |name: String, lines: &str| {
        format!(
            "      {name}:\n        in-scope: true\n        data:\n          ingress-address: 10.20.30.5\n{lines}"
        )
    };
    let consumers: String = (0..hosts)
        .map(|host| {
            let minted: String = match host {
                0 => {
                    let shown = mirror(&token);
                    let shown = shown.lines().take(hosts - waiting - 1);
                    let shown: String = shown.map(|line| format!("{line}\n")).collect();
                    format!("          mirror: up\n{shown}")
                }
                _ => String::new(),
            };
            let name = format!("          hostname: juju-3f2a1c-{host}\n");
            unit(format!("microovn/{host}"), &(name + &minted))
        })
        .collect();
    let shown = unit(
        "microcluster-token-distributor/0".to_owned(),
        &("          mirror: up\n".to_owned() + &mirror(&value)),
    );
    let (ours, theirs) = match juju {
        4 => ("{bootstrap-app: microovn}", "{}"),
        _ => ("{}", "{bootstrap-app: microovn}"),
    };
    format!(
        "microcluster-token-distributor/0:
  charm: ch:amd64/microcluster-token-distributor-9
  leader: true
  relation-info:
  - relation-id: 0
    endpoint: cluster
    related-endpoint: cluster
    application-data: {{}}
    local-unit:
      in-scope: true
      data: {{ingress-address: 10.20.30.4}}
  - relation-id: 2
    endpoint: microcluster-cluster
    related-endpoint: cluster
    application-data: {ours}
    related-units:
{consumers}microovn/0:
  charm: ch:amd64/microovn-48
  leader: true
  relation-info:
  - relation-id: 2
    endpoint: cluster
    related-endpoint: microcluster-cluster
    application-data: {theirs}
    related-units:
{shown}"
    )
}

/// The refresh guide asks for two units, and the answer is one screen.
#[test]
fn two_units_are_enough_for_clusters_of_any_usual_size() {
    // 64 MB for everything that a process has, its executable and its stack included.
    let limited = ["sh", "-c", "ulimit -v 65536; exec \"$@\"", "sh"];
    for hosts in [3, 30, 300] {
        for came in [Came::Together, Came::OneByOne] {
            for juju in [3, 4] {
                let case = format!("{hosts} {came:?}, Juju {juju}");
                for (waiting, first, code) in [
                    (0, "go: no host waits, and every token stays\n", 0),
                    (2, "stop: 2 hosts wait for a token, juju-3f2a1c-", 3),
                ] {
                    let dump = python_charm(hosts, waiting, came, juju);
                    let output = run_by(&limited, &["plan"], &dump);
                    let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
                    assert_eq!(output.status.code(), Some(code), "{case}: {stderr}");
                    let text = String::from_utf8(output.stdout).expect("text");
                    assert!(text.starts_with(first), "{case}: {text}");
                    let lines = text.lines().count();
                    assert!(lines <= 30, "{case}: {lines} lines");
                }
            }
        }
    }
    // What is larger is refused, within the same memory.
    let output = run_by(
        &limited,
        &["plan"],
        python_charm(1200, 0, Came::OneByOne, 4),
    );
    let stderr = String::from_utf8(output.stderr).expect("text");
    assert_eq!(output.status.code(), Some(1), "{stderr}");
    assert!(
        stderr.contains(
            "run: juju show-unit microcluster-token-distributor/0 microovn/0 > units.yaml"
        ),
        "{stderr}"
    );
}

#[test]
fn all_names_every_host_and_every_change() {
    let dump = python_charm(30, 0, Came::Together, 4);
    let all = shown(&["plan", "--all"], &dump);
    let few = shown(&["plan"], &dump);
    for host in (0..30).map(|host| format!("juju-3f2a1c-{host} ")) {
        assert!(all.contains(&host), "{host}");
    }
    assert!(
        few.contains("  29        mirror-*              token "),
        "{few}"
    );
}

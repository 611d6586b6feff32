//! The command line, as the real executable: what it prints for situations that people send in.
//!
//! The files below `data/show-unit` have the layout of `juju show-unit` 3.6, and of 4.1 where they
//! are JSON; those below `data/cases` were made after reports from the field.
//! `INSTA_UPDATE=always` writes new snapshots; read the difference before you commit it.

use std::io::Write;
use std::process::{Command, Output, Stdio};

use insta::assert_snapshot;
use microcluster_token_distributor::core::fingerprint::fingerprint;
use serde_json::Value;

const SITUATIONS: [&str; 9] = [
    "fresh.yaml",
    "waiting.yaml",
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

fn data(file: &str) -> Vec<u8> {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data");
    std::fs::read(format!("{folder}/{file}")).expect("a file")
}

/// A file that was made after a report from the field.
fn case(name: &str) -> String {
    String::from_utf8(data(&format!("cases/{name}"))).expect("text")
}

fn situation(name: &str) -> String {
    String::from_utf8(data(&format!("show-unit/{name}"))).expect("text")
}

#[test]
fn a_plan_for_each_situation() {
    for name in SITUATIONS {
        let (title, _) = name.rsplit_once('.').expect("a file");
        assert_snapshot!(title, shown(&["plan", name], ""));
    }
}

#[test]
fn the_story_of_a_host_in_each_state() {
    for (state, host, file) in [
        ("waiting", "juju-3f2a1c-3", "waiting.yaml"),
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
        // Juju 4.0.5 shows no units of the other side, so there may be more.
        let is_whole = file != "juju-4.0.5.yaml";
        assert_eq!(changes(&plan), is_whole.then(Vec::new), "{file}");
        let story = shown(&["explain", "h"], case(file));
        assert!(story.contains("h     waiting  m/0"), "{file}: {story}");
    }
    // Sibling: the consumer has announced itself and has not been heard.
    let unheard = case("other-endpoint-name.yaml").replace("host-h: m/0, mirror-h: empty, ", "");
    let unheard = unheard.replace("mirror: up, mirror-h: empty", "mirror: up");
    let wanted = [
        "host-h becomes m/0 in ledger",
        "mirror-h becomes empty in ledger, 1 unit",
    ];
    let plan = planned(&[], unheard);
    assert_eq!(changes(&plan), Some(wanted.map(str::to_owned).into()));
}

/// A Python charm whose only relation is across models: Juju shows the hosts' bags, and not ours.
#[test]
fn across_models_what_was_seen_is_said_and_what_was_not_is_named() {
    let dump = case("plan-cross-model-python.yaml");
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
    assert!(incomplete(&plan).contains("relation 5 is across models: no dump"));
    // A bag that was not seen may hold a token, or name an application.
    assert_eq!(changes(&plan), None);
    // Sibling: two of them with the same name.
    let contested = planned(&[], dump.replace("hostname: edge-2", "hostname: edge-1"));
    let kinds = contested["findings"].as_array().expect("a list").iter();
    assert!(
        kinds
            .clone()
            .any(|finding| finding["kind"] == "host-name-contested")
    );
    // Sibling: Juju 4 never says that a relation is across models.
    // A name that somebody chose does not say it either.
    let four = dump.replace("    cross-model: true\n", "");
    let named = dump.replace("remote-7f1e3a5c9b2d4e6f8a0b1c2d3e4f5a6b", "far");
    for dump in [four, named] {
        assert!(incomplete(&planned(&[], &dump)).contains("relation 5 is across models"));
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
    assert!(incomplete(&unclear).starts_with("relation 1: what both sides"));
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
            "a placeholder becomes a token",
            &[],
            marked("empty"),
            "go",
            "",
        ),
        (
            "a token that did not serve becomes another",
            &[],
            marked("other").replace(
                "relation-1: m -}",
                &format!("spent-h: {}, relation-1: m -}}", fingerprint("other")),
            ),
            "go",
            "",
        ),
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
            "one side of the relation",
            &[],
            joined[..joined.find("\nmicroovn/0:").expect("the other") + 1].to_owned(),
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
    let set = shown(&["plan", "--bootstrap-app", " m\n"], &once);
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

/// No change is shown that may rest on what the input lacks, and what it lacks is named.
#[test]
fn nothing_is_predicted_from_what_the_input_lacks() {
    let python = situation("python-charm.yaml");
    let whole = case("other-endpoint-name.yaml");
    let consumer = |dump: &str, name: &str| dump.find(name).expect("the consumer's dump");
    let three_hosts = python_charm(3, 0, Came::Together, 4);
    // The ledger names a relation with a host that the dump does not list.
    let unseen = "host-n: n/0, mirror-n: empty, relation-1: m, relation-7: n";
    for (name, input, lack) in [
        (
            "one side, before the refresh from the Python charm",
            python[..consumer(&python, "microovn/0:\n  machine")].to_owned(),
            "relation 2: what both sides have written there; run juju show-unit \
             microcluster-token-distributor/0 microovn/0; if Juju does not find microovn, it is \
             across models, and no dump shows this",
        ),
        (
            "one side",
            whole[..consumer(&whole, "m/0:\n  charm")].to_owned(),
            "relation 1: what both sides have written there; run juju show-unit d/0 m/0;",
        ),
        (
            "one side of Juju 4",
            three_hosts[..consumer(&three_hosts, "microovn/0:\n  charm")].to_owned(),
            "relation 2: what both sides have written there;",
        ),
        (
            "a relation",
            whole.replace("relation-1: m", unseen),
            "relation 7: what both sides have written there; run juju show-unit d/0 n/N;",
        ),
    ] {
        let plan = planned(&[], &input);
        assert_eq!(plan["verdict"], "not-enough", "{name}");
        assert!(incomplete(&plan).starts_with(lack), "{name}: {plan:#}");
        assert_eq!(changes(&plan), None, "{name}");
    }
    // Siblings, which show everything.
    let entered = "{m/0: {in-scope: true, data: {hostname: h}}";
    let absent = format!("{entered}, m/1: {{in-scope: false, data: {{}}}}");
    let standby = "mirror-h: empty}}, d/1: {in-scope: true, data: {mirror: up, mirror-h: tok}}}";
    for (name, input, wanted) in [
        (
            "Juju lists a unit that has not entered",
            whole.replace(entered, &absent),
            None,
        ),
        (
            "a unit that the ledger knows and Juju does not list is gone",
            whole.replace("host-h: m/0", "host-h: m/1"),
            Some("host-h becomes m/0 in ledger"),
        ),
        (
            "no unit announces this host",
            whole.replace("mirror-h: empty}}}", "mirror-h: empty, mirror-i: empty}}}"),
            Some("mirror-i becomes removed in 1 unit"),
        ),
        (
            "a standby published last",
            whole
                .replace("leader: d/0 1", "leader: d/1 1")
                .replace("mirror-h: empty}}}", standby),
            Some("mirror-h becomes token 129c28a4 in ledger, 1 unit"),
        ),
    ] {
        let plan = planned(&[], &input);
        assert_eq!(plan["incomplete"], serde_json::json!([]), "{name}");
        let changes = changes(&plan).expect(name);
        let is_there = |wanted: &str| changes.iter().any(|change| change == wanted);
        assert!(
            wanted.map_or(changes.is_empty(), is_there),
            "{name}: {changes:?}"
        );
    }
}

/// Numbers of relations and names of applications are a model's.
#[test]
fn a_relation_of_another_model_is_no_part_of_it() {
    let whole =
        case("other-endpoint-name.yaml").replace("up, mirror-h: empty", "up, mirror-h: tok");
    let at = whole.find("m/0:\n  charm").expect("the consumer's dump");
    let (own, consumer) = whole.split_at(at);
    let across = own.replace("m/0: {in", "remote-7f1e3a5c9b2d4e6f8a0b1c2d3e4f5a6b/0: {in");
    let offer = "    cross-model: true\n    related-endpoint";
    for (name, own, consumer) in [
        ("the same number", &*across, consumer.to_owned()),
        (
            "another number",
            own,
            consumer.replace("relation-id: 1", "relation-id: 9"),
        ),
        (
            "another distributor",
            own,
            consumer.replace("{d/0: {in", "{x/0: {in"),
        ),
        (
            "an offer",
            own,
            consumer.replace("    related-endpoint", offer),
        ),
    ] {
        assert_eq!(
            planned(&[], own.to_owned() + &consumer),
            planned(&[], own),
            "{name}"
        );
    }
}

/// What people and other systems make of a file, and what they leave.
#[test]
fn one_document_of_show_unit_is_read() {
    let whole = situation("waiting.yaml");
    let expected = shown(&["plan", "waiting.yaml"], "");
    for (way, text) in [
        ("standard input", whole.clone()),
        (
            "Windows",
            format!("\u{feff}{}", whole.replace('\n', "\r\n")),
        ),
        (
            "indented",
            whole.lines().map(|line| format!("  {line}\n")).collect(),
        ),
        ("marks of a document", format!("---\n{whole}...\n")),
        ("remarks", format!("# juju show-unit\n{whole}")),
    ] {
        assert_eq!(shown(&["plan"], &text), expected, "{way}");
        assert_eq!(shown(&["plan", "-"], &text), expected, "{way}");
    }
    let json = format!("\u{feff}{}", situation("split-values.json"));
    assert_eq!(
        shown(&["plan"], json),
        shown(&["plan", "split-values.json"], "")
    );
    // go-yaml prints these without quotes, and old releases print empty units as JSON.
    let whole = case("other-endpoint-name.yaml");
    for host in ["1e3", "0x1", "yes", "no-1"] {
        let named = whole.replace("mirror-h: empty", &format!("mirror-{host}: tok"));
        let named = named.replace("hostname: h}", &format!("hostname: {host}}}"));
        let plan = planned(&[], named);
        assert_eq!(plan["hosts"][0]["host"], host, "{plan:#}");
    }
    let empty = "local-unit: {in-scope: false, data: null}\n    application-data: {bootstrap-app";
    let nulls = whole.replace(
        "application-data: {bootstrap-app: m, may",
        &format!("{empty}: m, may"),
    );
    assert_eq!(planned(&[], nulls), planned(&[], &whole));
}

#[test]
fn anything_else_is_refused_in_one_line_that_says_what_to_do_and_quotes_nothing() {
    let whole = case("other-endpoint-name.yaml");
    let relation = |lines: &str| {
        let head = "mtd/0:\n  charm: c\n  relation-info:\n  - endpoint: e\n";
        format!("{head}{lines}").into_bytes()
    };
    let second = |leads: bool| {
        format!("{whole}d/1: {{charm: microcluster-token-distributor, leader: {leads}}}\n")
    };
    let more = "m/1:\n  charm: m\n  relation-info:\n  - relation-id: 1\n    endpoint: cluster\n    related-endpoint: microcluster-cluster\n    related-units: {d/0: {in-scope: true, data: {mirror: down}}}\n";
    let not_shown = "is not what one `juju show-unit` prints. Run: juju show-unit";
    assert_eq!(shown(&["plan"], second(false)), shown(&["plan"], &whole));
    for (name, input, complaint) in [
        (
            "two YAML documents",
            data("cases/two-yaml-docs-min.yaml"),
            not_shown,
        ),
        (
            "two JSON documents",
            data("cases/two-json-min.json"),
            not_shown,
        ),
        (
            "UTF-16",
            data("cases/utf16.yaml"),
            "write it with: juju show-unit ... | Out-File",
        ),
        (
            "gzip",
            b"\x1f\x8b\x08\0".into(),
            "Unpack it if it is packed",
        ),
        ("nothing", b" \n".into(), "standard input is empty"),
        ("a list", b"- SECRET".into(), "line 1, column 1 is not what"),
        (
            "an open list",
            data("cases/lines-min.yaml"),
            "line 4, column",
        ),
        (
            "half of JSON",
            b"{\"a/0\":\n{\"charm\"".into(),
            "line 3, column 1",
        ),
        (
            "juju status",
            b"model:\n  name: m\nmachines: {}\n".into(),
            not_shown,
        ),
        ("juju status as JSON", b"{\"model\":{}}".into(), not_shown),
        (
            "a table",
            b"Model  Controller\nm      c\n".into(),
            not_shown,
        ),
        (
            "a lost indent",
            b"a/0:\n    charm: a\n  b/0:\n    charm: b\n".into(),
            not_shown,
        ),
        (
            "no charm",
            b"mtd/0: {leader: true}".into(),
            "line 1, column 8",
        ),
        (
            "no number",
            relation("    relation-id: SECRET\n"),
            "line 5, column 18",
        ),
        (
            "no databag",
            relation("    relation-id: 1\n    application-data:\n      k: [SECRET]\n"),
            not_shown,
        ),
        (
            "no unit's name",
            relation("    relation-id: 1\n    related-units:\n      SECRET: {in-scope: true}\n"),
            "line 7, column 7",
        ),
        (
            "a unit twice",
            data("cases/same-unit-twice.yaml"),
            "unit a/0 is in the input twice",
        ),
        (
            "a part",
            data("cases/related-unit-option.yaml"),
            "an option left out a part of d/0",
        ),
        (
            "another part",
            data("cases/app-option.yaml"),
            "an option left out a part of d/0",
        ),
        (
            "two leaders",
            second(true).into(),
            "d/0 and d/1 both lead, so the input is from two",
        ),
        (
            "two times",
            format!("{whole}{more}").into(),
            "the bags of d/0 in relation 1 differ, so the input is from two times. Run one",
        ),
        (
            "no leader",
            data("cases/indented-min.yaml"),
            "of a in the input leads. Ask for the leader",
        ),
        (
            "no distributor",
            b"a/0: {charm: SECRET}".into(),
            "no unit of the token distributor. Ask",
        ),
        (
            "several",
            data("cases/two-distributors.yaml"),
            "distributors: d, e. Ask for one, and",
        ),
        (
            "much",
            [&b"#"[..], &b"x".repeat(10 << 20)].concat(),
            "run: juju show-unit DISTRIBUTOR/N",
        ),
    ] {
        let output = run(&["plan"], &input);
        let stderr = String::from_utf8(output.stderr).expect("text");
        assert_eq!(output.status.code(), Some(1), "{name}: {stderr}");
        assert!(stderr.starts_with("error: "), "{name}: {stderr}");
        assert!(stderr.contains(complaint), "{name}: {stderr}");
        assert_eq!(stderr.lines().count(), 1, "{name}: {stderr}");
        assert!(!stderr.contains("SECRET"), "{name}: {stderr}");
    }
    let missing = shown(&["plan", "nowhere.yaml"], "");
    assert!(missing.starts_with("error: cannot read nowhere.yaml: No such file"));
}

#[test]
fn wrong_usage_has_its_own_exit_status() {
    for arguments in [&["paln"][..], &["plan", "--format", "toml"], &["explain"]] {
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
fn everything_fits_a_terminal_of_80_columns_without_colours() {
    let hosts = [
        "juju-3f2a1c-1",
        "juju-3f2a1c-3",
        "juju-3f2a1c-4",
        "arm-1",
        "edge-2",
        "42",
    ];
    let stories = hosts.iter().map(|host| vec!["explain", host]);
    let commands: Vec<Vec<&str>> = stories
        .chain([vec!["plan"], vec!["plan", "--all"]])
        .collect();
    let on_files = commands
        .iter()
        .flat_map(|command| SITUATIONS.map(|file| [&command[..], &[file]].concat()));
    let help = [
        &["--help"][..],
        &["plan", "--help"],
        &["explain", "--help"],
        &["plan", "--x"],
    ];
    for arguments in on_files.chain(help.map(<[&str]>::to_vec)) {
        let output = run(&arguments, "");
        assert!(!output.stderr.contains(&0x1b), "{arguments:?}");
        // An error is one line, for logs and scripts.
        let printed = String::from_utf8(output.stdout).expect("text");
        for line in printed.lines() {
            assert!(line.chars().count() <= 80, "{arguments:?}: {line}");
            assert!(!line.contains('\u{1b}'), "{arguments:?}: {line}");
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
    let large = python_charm(1200, 0, Came::OneByOne, 4);
    let output = run_by(&limited, &["plan"], large);
    let stderr = String::from_utf8(output.stderr).expect("text");
    assert_eq!(output.status.code(), Some(1), "{stderr}");
    assert!(
        stderr.contains("is too large. The distributor's leader and one unit of"),
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

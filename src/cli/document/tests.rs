use super::*;

/// The names of the units, or the complaint.
fn read(text: &str) -> Result<Vec<String>, String> {
    match Document::parse("FILE", text.as_bytes()) {
        Ok(document) => Ok(document
            .units
            .iter()
            .map(|unit| unit.name.to_string())
            .collect()),
        Err(error) => Err(error.to_string()),
    }
}

/// Name, number of relations and of related units of each, and the notes.
fn outline(text: &str) -> (Vec<(String, usize)>, Vec<String>) {
    let document = Document::parse("FILE", text.as_bytes()).expect(text);
    let units = document.units.iter().map(|unit| {
        let relations = unit.relations.iter();
        let members = relations.map(|relation| relation.related_units.len() + 1);
        (unit.name.to_string(), members.sum())
    });
    (units.collect(), document.notes)
}

const TWO: &str = "\
a/0:
  charm: ch:amd64/a-1
  relation-info:
  - relation-id: 1
    endpoint: e
    related-units:
      b/0:
        in-scope: true
        data:
          hostname: h
b/0:
  charm: b
";

fn two() -> Vec<(String, usize)> {
    vec![("a/0".to_owned(), 2), ("b/0".to_owned(), 0)]
}

fn map_lines(text: &str, change: impl Fn(&str) -> String) -> String {
    text.lines().map(|line| change(line) + "\n").collect()
}

#[test]
fn pastes_are_read_as_they_were_printed() {
    let json = r#"{"a/0":{"charm":"a","relation-info":[{"relation-id":1,"endpoint":"e","related-units":{"b/0":{"in-scope":true,"data":{}}}}]}}"#;
    for (case, text) in [
        ("as printed", TWO.to_owned()),
        ("indented", map_lines(TWO, |line| format!("    {line}"))),
        (
            "indented, but for the first line",
            map_lines(TWO, |line| format!("    {line}"))
                .trim_start()
                .to_owned(),
        ),
        (
            "from a web page",
            map_lines(TWO, |line| format!("\u{a0}\u{a0}{line}")),
        ),
        (
            "with Windows line ends",
            map_lines(TWO, |line| format!("{line}\r")),
        ),
        (
            "with blank lines",
            map_lines(TWO, |line| format!("{line}\n")),
        ),
        (
            "quoted names",
            TWO.replace("a/0:", "\"a/0\":")
                .replace("\nb/0:", "\n'b/0':"),
        ),
        (
            "documents",
            format!("---\n{}...\n", TWO.replace("\nb/0:", "\n---\nb/0:")),
        ),
        (
            "a comment of somebody's",
            TWO.replace("\nb/0:", "\n# and\nb/0:"),
        ),
        ("JSON, then YAML", format!("{json}\nb/0:\n  charm: b\n")),
        (
            "YAML, then JSON",
            TWO.replace("b/0:\n  charm: b\n", r#"{"b/0":{"charm":"b"}}"#),
        ),
        (
            "JSON twice on one line",
            format!(r#"{json}{{"b/0":{{"charm":"b"}}}}"#),
        ),
        (
            "indented JSON",
            format!("  {json}\n  {{\n    \"b/0\": {{\"charm\": \"b\"}}\n  }}\n"),
        ),
    ] {
        assert_eq!(outline(&text), (two(), Vec::new()), "{case}:\n{text}");
    }
}

#[test]
fn lines_around_the_dump_are_left_out_with_a_note() {
    let note = |lines: &str| {
        vec![format!(
            "FILE: {lines} not from `juju show-unit` and left out"
        )]
    };
    for (case, text, notes) in [
        (
            "a prompt",
            format!("me@there:~$ juju show-unit a/0 b/0\n{TWO}me@there:~$ exit\n"),
            [note("line 1 is"), note("line 14 is")].concat(),
        ),
        (
            "a prompt between",
            TWO.replace("\nb/0:", "\n$ juju show-unit b/0\nb/0:"),
            note("line 11 is"),
        ),
        (
            "a warning",
            format!("Warning: Permanently added the host.\n\nWARNING something\n{TWO}"),
            [note("line 1 is"), note("line 3 is")].concat(),
        ),
        (
            "a banner",
            format!(
                "Welcome to Ubuntu 24.04\n * Documentation:  https://there\n  System load:  0.0\n\n{TWO}"
            ),
            note("lines 1 to 3 are"),
        ),
        (
            "a banner between",
            TWO.replace(
                "\nb/0:",
                "\nWelcome to Ubuntu 24.04\n * Documentation:  https://there\nb/0:",
            ),
            note("lines 11 to 12 are"),
        ),
        (
            "a fence",
            format!("```yaml\n{TWO}```\n"),
            [note("line 1 is"), note("line 14 is")].concat(),
        ),
        (
            "a word in the middle",
            TWO.replace(
                "    endpoint: e\n",
                "    endpoint: e\nERROR of another job\n",
            ),
            note("line 6 is"),
        ),
        (
            "JSON with a prompt",
            format!(
                "$ juju show-unit\n{{\"a/0\": {{\"charm\": \"a\"}}}} $ exit\n{}",
                &TWO[TWO.find("b/0:\n  charm").unwrap()..]
            ),
            note("lines 1 to 2 are"),
        ),
    ] {
        let (units, given) = outline(&text);
        assert_eq!(units.len(), 2, "{case}");
        assert_eq!(given, notes, "{case}");
    }
}

#[test]
fn what_cannot_be_read_is_named_by_file_and_line() {
    let many = "a: b\n".repeat(1000);
    for (case, text, complaint) in [
        ("nothing", "", "FILE is empty"),
        ("blanks", " \n\n", "FILE is empty"),
        ("a comment", "# SECRET\n", "FILE is empty"),
        (
            "no YAML after blank lines",
            "\n\n\na/0: [\n",
            "not YAML (line 4, column ",
        ),
        (
            "no YAML within",
            "$ x\na/0:\n  charm: a\n  leader: [SECRET\nb/0:\n  charm: b\n",
            "not YAML (line 4, column ",
        ),
        (
            "the second document",
            "a/0:\n  charm: a\n---\nb/0:\n\n  charm: [\n",
            "not YAML (line 6, column ",
        ),
        (
            "no JSON after blank lines",
            "\n\n {\"a/0\" SECRET\n",
            "not JSON (line 3, column 9)",
        ),
        (
            "the second JSON",
            "{\"a/0\":{\"charm\":\"a\"}}\n\n{\"b/0\":\n{]}",
            "not JSON (line 4, column 2)",
        ),
        ("a tab", "a/0:\n\tcharm: a\n", "not YAML (line 2, column "),
        (
            "a line beside the others",
            "a/0:\n    charm: a\n  leader: true\n",
            "not YAML (line 3, column ",
        ),
        (
            "the same after a prompt",
            "a/0:\n    charm: a\n$ x\n    machine: x\n  leader: true\n",
            "not YAML (line 5, column ",
        ),
        (
            "an open quote",
            "\na/0:\n  charm: \"SECRET\n",
            "not YAML (line 3, column ",
        ),
        (
            "an open quote above a unit",
            "a/0:\n  charm: \"SECRET\nb/0:\n  charm: b\n",
            "not YAML (line 2, column ",
        ),
        (
            "JSON that ends",
            "\n{\"a/0\": {\"charm\":\n",
            "FILE ends within line ",
        ),
        (
            "YAML that ends",
            "a/0:\n  machine: \"0\"\n",
            "unit a/0 (line 1) shows no charm",
        ),
        (
            "a unit without anything",
            "a/0:\n",
            "FILE: unit a/0 (line 1) shows no charm",
        ),
        (
            "a list",
            "- SECRET\n",
            "line 1 is not from `juju show-unit`, nor is any other",
        ),
        (
            "a list in JSON",
            "[{\"a/0\": {}}]",
            "line 1 is not from `juju show-unit`",
        ),
        (
            "words",
            "SECRET: x\n",
            "line 1 is not from `juju show-unit`",
        ),
        (
            "much else",
            &many,
            "line 1 is not from `juju show-unit`, and many more",
        ),
        (
            "a map of something",
            "SECRET:\n  foo: 1\n",
            "line 1 is not from `juju show-unit`, but begins something else",
        ),
        (
            "JSON of something",
            "{\"SECRET\": 1}",
            "line 1 is not from `juju show-unit`",
        ),
        (
            "a text for a unit",
            "a/0: SECRET\n",
            "line 1, column 6 is not what",
        ),
        (
            "no number",
            "a/0:\n  charm: a\n  relation-info:\n  - relation-id: SECRET\n",
            "line 4, column ",
        ),
        (
            "no relation's number",
            "a/0:\n  charm: a\n  relation-info:\n  - endpoint: SECRET\n",
            "unit a/0 (line 1) has a relation without its number",
        ),
        (
            "no databag",
            "a/0:\n  charm: a\n  relation-info:\n  - relation-id: 1\n    application-data:\n      SECRET: [x]\n",
            "line 6, column ",
        ),
        (
            "a key twice",
            "a/0:\n  charm: a\n  relation-info:\n  - relation-id: 1\n    application-data:\n      k: SECRET\n      k: x\n",
            "is not what",
        ),
        (
            "a field twice",
            "a/0:\n  charm: a\n  charm: SECRET\n",
            "is not what",
        ),
        (
            "a relation twice",
            "a/0:\n  charm: a\n  relation-info:\n  - {relation-id: 1, endpoint: e}\n  - {relation-id: 1, endpoint: e}\n",
            "unit a/0 (line 1) has one relation twice",
        ),
        (
            "only the end of it",
            "      m/0:\n        in-scope: true\n        data: {mirror-h: SECRET}\n",
            "unit m/0 (line 1) is one of a relation's units",
        ),
        (
            "the end with more",
            "    related-units:\n      m/0:\n        in-scope: true\n",
            "line 1 is not from `juju show-unit`, but begins",
        ),
    ] {
        let error = read(text).expect_err(case);
        assert!(error.contains(complaint), "{case}: {error}");
        assert!(
            error.contains("FILE") && !error.contains("SECRET"),
            "{case}: {error}"
        );
        assert!(!error.contains('\n'), "{case}: {error}");
    }
}

#[test]
fn the_output_of_another_command_is_named() {
    for (command, text) in [
        (
            "juju status",
            "model:\n  name: m\napplications:\n  a:\n    units:\n      a/0: {}\n",
        ),
        (
            "juju status",
            "{\"model\":{\"name\":\"m\"},\"machines\":{}}",
        ),
        (
            "juju status",
            "Model  Controller  Cloud/Region\nm      c           lxd\n\nUnit  Workload\na/0*  active\n",
        ),
        ("juju status", "Unit  Workload  Agent\na/0*  active  idle\n"),
        ("juju status", "      a/0:\n        workload-status: {}\n"),
        (
            "juju show-application",
            "a:\n  charm: a\n  base: ubuntu@24.04\n",
        ),
        ("juju show-model", "m:\n  name: admin/m\n  short-name: m\n"),
        (
            "juju export-bundle",
            "default-base: ubuntu@24.04/stable\napplications: {}\n",
        ),
        ("juju export-bundle", "bundle: kubernetes\n"),
    ] {
        let error = read(text).expect_err(command);
        let named = format!("line 1 is from `{command}`; `juju show-unit` shows");
        assert!(error.contains(&named), "{command}: {error}");
    }
    let both = format!("Model  Controller\nm      c\n\n{TWO}");
    assert_eq!(
        outline(&both).0,
        two(),
        "a table beside the dump is left out"
    );
}

#[test]
fn a_value_is_the_text_as_written_whatever_else_it_could_be() {
    let values = [
        "1e3",
        "0o14",
        "0x1f",
        "1_000",
        "null",
        "~x",
        "yes",
        "1.10",
        ".5",
        "2026-01-01",
    ];
    for value in values {
        let text = format!(
            "a/0:\n  charm: a\n  relation-info:\n  - relation-id: 1\n    endpoint: e\n    \
             application-data: {{k: {value}, gone: \"\"}}\n"
        );
        let document = Document::parse("FILE", text.as_bytes()).expect(value);
        let bag = &document.units[0].relations[0].application_data;
        assert_eq!(*bag, [("k".to_owned(), value.to_owned())].into(), "{value}");
    }
}

#[test]
fn everything_that_is_needed_of_a_unit_is_kept() {
    let text = "\
a/0:
  machine: \"0\"
  opened-ports: []
  charm: ch:amd64/a-1
  leader: true
  relation-info:
  - relation-id: 3
    endpoint: e
    cross-model: true
    related-endpoint: f
    application-data: {k: v}
    local-unit:
      in-scope: true
      data: {l: \"1\"}
    related-units:
      b/10:
        in-scope: false
        data: {}
      b/2:
        in-scope: true
        data: {m: n}
";
    let member = |in_scope, bag: Databag| Member { in_scope, bag };
    let bag = |key: &str, value: &str| Databag::from([(key.to_owned(), value.to_owned())]);
    let name = |name: &str| name.parse::<UnitName>().expect("a name");
    let expected = ShownUnit {
        name: name("a/0"),
        place: "FILE line 1".to_owned(),
        charm: "ch:amd64/a-1".to_owned(),
        is_leader: true,
        relations: vec![ShownRelation {
            id: RelationId(3),
            endpoint: "e".to_owned(),
            related_endpoint: "f".to_owned(),
            is_cross_model: true,
            application_data: bag("k", "v"),
            local_unit: Some(member(true, bag("l", "1"))),
            related_units: vec![
                (name("b/2"), member(true, bag("m", "n"))),
                (name("b/10"), member(false, Databag::new())),
            ],
        }],
    };
    let document = Document::parse("FILE", text.as_bytes()).expect("it is one");
    assert_eq!(document.units, [expected]);
    // As old releases print JSON.
    let text = r#"{"a/0":{"charm":"a","relation-info":[{"relation-id":3,"endpoint":"e","application-data":{},"local-unit":{"in-scope":false,"data":null}}]}}"#;
    let document = Document::parse("FILE", text.as_bytes()).expect("it is one");
    assert_eq!(document.units[0].relations[0].local_unit, None);
}

#[test]
fn what_is_too_large_is_refused_before_it_costs_anything() {
    let too_large = |result: Result<(), InputError>| {
        assert!(
            matches!(result, Err(InputError::TooLarge { .. })),
            "{result:?}"
        );
    };
    too_large(read_all(LARGEST + 1));
    read_all(LARGEST).expect("as much is read");
    let entries = "x,".repeat(1_100_000);
    let yaml = format!("a/0:\n  charm: a\n  x: [{entries}]\n");
    too_large(Document::parse("FILE", yaml.as_bytes()).map(drop));
    let json = format!(
        "{{\"a/0\":{{\"charm\":\"a\",\"x\":[{}1]}}}}",
        "1,".repeat(1_100_000)
    );
    too_large(Document::parse("FILE", json.as_bytes()).map(drop));
}

fn read_all(bytes: usize) -> Result<(), InputError> {
    super::read("FILE", io::repeat(b'a').take(bytes as u64)).map(drop)
}

//! What is read of the files that people give the command line, and what is refused.
//!
//! The files below `data/cases` were made after reports from the field; each case has siblings.

use microcluster_token_distributor::cli::document::{Document, InputError};
use microcluster_token_distributor::cli::model::Distributor;

fn case(name: &str) -> Vec<u8> {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/cases");
    std::fs::read(format!("{folder}/{name}")).expect("a case")
}

fn text(name: &str) -> String {
    String::from_utf8(case(name)).expect("text")
}

fn distributor(inputs: &[&str]) -> Result<Distributor, InputError> {
    let documents = inputs
        .iter()
        .map(|input| Document::parse("FILE", input.as_bytes()));
    Distributor::of(documents.collect::<Result<_, _>>()?, None)
}

fn lacks(input: &str) -> Vec<String> {
    let distributor = distributor(&[input]).expect(input);
    let lacks = distributor.lacks().into_iter();
    lacks.map(|lack| lack.text).collect()
}

fn refused(input: &[u8]) -> String {
    match Document::parse("FILE", input) {
        Ok(document) => panic!("{document:?} was read"),
        Err(error) => error.to_string(),
    }
}

#[test]
fn one_document_of_show_unit_is_read() {
    let whole = text("other-endpoint-name.yaml");
    let expected = Document::parse("FILE", whole.as_bytes()).expect("it is read");
    assert_eq!(expected.units.len(), 2);
    let lines = |change: &dyn Fn(&str) -> String| -> String { whole.lines().map(change).collect() };
    for (way, text) in [
        ("indented", lines(&|line| format!("  {line}\n"))),
        ("Windows", lines(&|line| format!("{line}\r\n"))),
        (
            "the mark that PowerShell writes",
            format!("\u{feff}{whole}"),
        ),
        (
            "a document that begins and ends",
            format!("---\n{whole}...\n"),
        ),
        ("remarks", format!("# juju show-unit d/0 m/0\n{whole}")),
    ] {
        let document = Document::parse("FILE", text.as_bytes()).expect(way);
        assert_eq!(document, expected, "{way}");
    }
    let indented = Document::parse("FILE", &case("indented-min.yaml")).expect("it is read");
    assert_eq!(indented.units.len(), 2);
    // go-yaml prints these without quotes.
    let plain = "a/0: {charm: c, relation-info: [{relation-id: 1, endpoint: e, application-data: {a: 1e3, b: yes, c: ~x, d: 0o7}}]}";
    let document = Document::parse("FILE", plain.as_bytes()).expect("it is read");
    let shown = document.units[0].1.relations().next().expect("one");
    let values: Vec<&str> = shown
        .application_data
        .values()
        .map(String::as_str)
        .collect();
    assert_eq!(values, ["1e3", "yes", "~x", "0o7"]);
    // Old releases print these for every relation, as JSON.
    let empty = r#"{"a/0":{"charm":"c","relation-info":[{"relation-id":1,"endpoint":"e","application-data":null,"local-unit":{"in-scope":false,"data":null},"related-units":null}]}}"#;
    let document = Document::parse("FILE", empty.as_bytes()).expect("it is read");
    let shown = document.units[0].1.relations().next().expect("one");
    assert!(shown.local_unit().is_none() && shown.related_units().next().is_none());
}

#[test]
fn anything_else_is_refused_in_words_that_say_what_to_do() {
    let utf16: Vec<u8> = "a/0: {}"
        .encode_utf16()
        .flat_map(u16::to_le_bytes)
        .collect();
    let unit = |relation: &str| {
        format!("mtd/0:\n  charm: c\n  relation-info:\n  - endpoint: e\n{relation}").into_bytes()
    };
    for (name, input, complaint) in [
        (
            "two YAML documents",
            case("two-yaml-docs-min.yaml"),
            "Run one `juju show-unit` for all units",
        ),
        (
            "two JSON documents",
            case("two-json-min.json"),
            "Run one `juju show-unit` for all units",
        ),
        (
            "UTF-16",
            case("utf16.yaml"),
            "write it with: juju show-unit ... | Out-File -Encoding utf8",
        ),
        ("UTF-16 without a mark", utf16, "is not UTF-8"),
        (
            "gzip",
            b"\x1f\x8b\x08\0".into(),
            "Unpack it if it is packed",
        ),
        (
            "the same unit twice",
            case("same-unit-twice.yaml"),
            "unit a/0 is in the input twice",
        ),
        (
            "the same unit twice in JSON",
            br#"{"a/0":{"charm":"a"},"a/0":{"charm":"a"}}"#.into(),
            "unit a/0 is in the input twice",
        ),
        (
            "an open list below blank lines",
            case("lines-min.yaml"),
            "line 4, column",
        ),
        ("nothing", b"".into(), "is empty"),
        ("blanks", b" \n".into(), "is empty"),
        (
            "JSON that ends too early",
            b"{\"a/0\":\n{\"charm\"".into(),
            "line 2, column",
        ),
        (
            "juju status",
            b"model:\n  name: m\nmachines: {}\n".into(),
            "line 1, column 1 is not what `juju show-unit` prints. Run: juju show-unit",
        ),
        (
            "a table",
            b"Model  Controller\nm      c\n".into(),
            "is not what `juju show-unit` prints",
        ),
        (
            "juju status as JSON",
            b"{\"model\":{}}".into(),
            "line 1, column 8",
        ),
        (
            "an indent that the first line lost",
            b"a/0:\n    charm: a\n  b/0:\n    charm: b\n".into(),
            "is not what",
        ),
        (
            "no charm",
            b"mtd/0: {leader: true}".into(),
            "line 1, column 8",
        ),
        (
            "no number",
            unit("    relation-id: SECRET\n"),
            "line 5, column 18",
        ),
        (
            "no databag",
            unit("    relation-id: 1\n    application-data:\n      k: [SECRET]\n"),
            "is not what",
        ),
        (
            "a key twice",
            unit("    relation-id: 1\n    application-data:\n      k: SECRET\n      k: b\n"),
            "is not what",
        ),
        (
            "no unit's name",
            unit("    relation-id: 1\n    related-units:\n      SECRET: {in-scope: true}\n"),
            "line 7, column 7",
        ),
    ] {
        let complaint_seen = refused(&input);
        assert!(
            complaint_seen.contains(complaint),
            "{name}: {complaint_seen}"
        );
        assert!(
            !complaint_seen.contains("SECRET"),
            "{name}: {complaint_seen}"
        );
    }
    // Sibling: twice in two files.
    let one = text("other-endpoint-name.yaml");
    let error = distributor(&[&one, &one]).expect_err("it is there twice");
    assert_eq!(
        error.to_string(),
        "unit d/0 is in the input twice. Keep the later one"
    );
}

#[test]
fn what_is_too_large_is_refused_with_the_units_to_ask_for() {
    let bag = format!("        mirror-h: {}\n", "x".repeat(1 << 20));
    let units = (0..15).map(|unit| {
        format!("m/{unit}:\n  charm: m\n  relation-info:\n  - related-units:\n      d/0:\n{bag}")
    });
    let large: String = units.collect();
    let complaint = refused(large.as_bytes());
    assert!(
        complaint.contains("run: juju show-unit m/0 d/0 > units.yaml"),
        "{complaint}"
    );
    let json = format!(
        r#"{{"d/0":{{"charm":"c"}},"remote-0123456789abcdef0123456789abcdef/0":{{}},"m/7":"{}"}}"#,
        "x".repeat(13 << 20)
    );
    let complaint = refused(json.as_bytes());
    assert!(
        complaint.contains("run: juju show-unit d/0 m/7 > units.yaml"),
        "{complaint}"
    );
    // What is short and has many entries takes more memory than what is long.
    for many in [
        "a: b\n".repeat(1 << 20),
        format!("a/0: [{}]", "[],".repeat(1 << 20)),
        format!("{{\"a/0\":{{\"x\":[{}0]}}}}", "0,".repeat(1 << 20)),
    ] {
        assert!(refused(many.as_bytes()).contains("is too large"));
    }
}

#[test]
fn what_is_not_in_the_input_is_named_with_the_command_that_shows_it() {
    let whole = text("other-endpoint-name.yaml");
    assert_eq!(lacks(&whole), [""; 0]);
    assert_eq!(lacks(&text("same-endpoint-name.yaml")), [""; 0]);
    assert!(lacks(&text("related-unit-option.yaml"))[0].starts_with(
        "relation 2: the unit bag of d/0, and whether m has more units; run \
         juju show-unit d/0 m/0, without options"
    ));
    // Sibling: --endpoint leaves out the peer relation. No ledger is not an empty ledger.
    let (from, to) = ("  - relation-id: 0", "  - relation-id: 1");
    let (from, to) = (
        whole.find(from).expect("peers"),
        whole.find(to).expect("consumers"),
    );
    let ledgerless = format!("{}{}", &whole[..from], &whole[to..]);
    assert!(lacks(&ledgerless)[0].starts_with("the ledger: run juju show-unit d/0"));
    // Sibling: a unit that the ledger knows and that a whole dump does not list is gone. A name
    // keeps a first claimant that is gone while it has a token.
    assert_eq!(
        lacks(&whole.replace("host-h: m/0", "host-h: m/0 m/1")),
        [""; 0]
    );
    // Sibling: Juju lists a unit that has not entered the relation.
    let scope = whole.replace(
        "{m/0: {in-scope: true, data: {hostname: h}}}",
        "{m/0: {in-scope: true, data: {hostname: h}}, m/1: {in-scope: false, data: {}}}",
    );
    assert_eq!(lacks(&scope), [""; 0]);
    // Sibling: no consumer, so Juju 3 shows none of our bags.
    let own = &whole[..whole.find("m/0:\n  charm").expect("the consumer's dump")];
    let alone = lacks(own);
    assert!(
        alone[0].starts_with(
            "relation 1: the distributor's application bag, and the unit bag of d/0; run"
        ),
        "{alone:?}"
    );
    // Sibling: the name of an application of another model does not show that it is one.
    assert!(
        alone[0].ends_with("if Juju does not find m, it is across models, and no dump shows this")
    );
}

#[test]
fn two_dumps_that_contradict_each_other_are_named() {
    let whole = text("other-endpoint-name.yaml");
    let other = |leads: bool, ledger: &str| {
        format!(
            "d/1:\n  charm: microcluster-token-distributor\n  leader: {leads}\n  relation-info:\n  - relation-id: 0\n    endpoint: cluster\n    application-data: {{{ledger}}}\n"
        )
    };
    let same = "bootstrap-app: m, leader: d/0 1, host-h: m/0, mirror-h: empty, relation-1: m";
    for (case, more, said) in [
        (
            "two leaders",
            other(true, same),
            Some("d/0 and d/1 both lead, so"),
        ),
        (
            "two ledgers",
            other(false, "leader: d/0 2"),
            Some("the units of d show two ledgers, so"),
        ),
        ("one of each", other(false, same), None),
    ] {
        let lacks = lacks(&(whole.clone() + &more));
        let contradictions: Vec<&String> = lacks
            .iter()
            .filter(|lack| lack.contains("two times"))
            .collect();
        match said {
            Some(said) => assert!(contradictions[0].starts_with(said), "{case}: {lacks:?}"),
            None => assert_eq!(contradictions, [""; 0], "{case}"),
        }
    }
    let second = "m/1:\n  charm: m\n  relation-info:\n  - relation-id: 1\n    endpoint: cluster\n    related-endpoint: microcluster-cluster\n    related-units: {d/0: {in-scope: true, data: {mirror: down}}}\n";
    let lacks = lacks(&(whole + second));
    assert!(
        lacks[0].starts_with("the bags of relation 1 differ, so"),
        "{lacks:?}"
    );
}

/// Numbers of relations and names of applications are a model's.
#[test]
fn a_relation_of_another_model_is_no_part_of_it() {
    let whole = text("other-endpoint-name.yaml");
    let at = whole.find("m/0:\n  charm").expect("the consumer's dump");
    let (own, consumer) = whole.split_at(at);
    let saas = "remote-7f1e3a5c9b2d4e6f8a0b1c2d3e4f5a6b";
    let across = own.replace("m/0: {in", &format!("{saas}/0: {{in"));
    for (case, own, consumer) in [
        ("the same number", &*across, consumer.to_owned()),
        (
            "another number",
            &across,
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
            consumer.replace(
                "    related-endpoint",
                "    cross-model: true\n    related-endpoint",
            ),
        ),
    ] {
        let both = distributor(&[own, &consumer]).expect(case);
        let texts = |distributor: &Distributor| -> Vec<String> {
            distributor
                .lacks()
                .into_iter()
                .map(|lack| lack.text)
                .collect()
        };
        let alone = distributor(&[own]).expect(case);
        assert_eq!(texts(&both), texts(&alone), "{case}");
        assert_eq!(both.view(None).world, alone.view(None).world, "{case}");
    }
    let lacks = lacks(&across);
    assert!(
        lacks[0].starts_with("relation 1 is across models: no dump of this model shows"),
        "{lacks:?}"
    );
}

//! What people paste as the output of `juju show-unit`, as the command line understands it.
//!
//! The files below `data/cases` were made after reports from the field; each case has siblings.

use std::time::Instant;

use microcluster_token_distributor::cli::document::{Document, InputError};
use microcluster_token_distributor::cli::model::{Distributor, Relation, Seen, ShownModel, Unseen};
use microcluster_token_distributor::core::names::{RelationId, UnitName};
use microcluster_token_distributor::core::wire::Databag;

fn case(name: &str) -> Vec<u8> {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/cases");
    std::fs::read(format!("{folder}/{name}")).expect("a case")
}

fn text(name: &str) -> String {
    String::from_utf8(case(name)).expect("text")
}

fn model(inputs: &[&[u8]]) -> Result<ShownModel, InputError> {
    let documents = inputs.iter().map(|input| Document::parse("FILE", input));
    ShownModel::of(documents.collect::<Result<_, _>>()?)
}

fn only(input: &str) -> Distributor {
    let mut model = model(&[input.as_bytes()]).expect(input);
    assert_eq!(model.distributors.len(), 1, "{input}");
    model.distributors.pop_first().expect("one").1
}

fn refused(input: &[u8]) -> String {
    model(&[input]).expect_err("it is refused").to_string()
}

fn name(unit: &str) -> UnitName {
    unit.parse().expect("a unit's name")
}

fn relation(distributor: &Distributor, id: u64) -> &Relation {
    &distributor.relations[&RelationId(id)]
}

fn bag(settings: &[(&str, &str)]) -> Databag {
    let settings = settings
        .iter()
        .map(|(key, value)| (key.to_string(), value.to_string()));
    settings.collect()
}

fn unit_names(document: &Document) -> Vec<&str> {
    document
        .units
        .iter()
        .map(|unit| unit.name.as_str())
        .collect()
}

/// What the distributor writes into its application bag.
const APPLICATION: [(&str, &str); 3] = [
    ("bootstrap-app", "m"),
    ("may-bootstrap", "true"),
    ("protocol", "2"),
];

const UNSEEN: Seen<Databag> = Seen::Unseen(Unseen::NotInInput);

#[test]
fn a_bag_belongs_to_the_unit_it_is_named_after() {
    let consumer = Seen::Shown(bag(&[("hostname", "h")]));
    let own = Seen::Shown(bag(&[("mirror", "up"), ("mirror-h", "empty")]));
    let application = Seen::Shown(bag(&APPLICATION));

    let distributor = only(&text("juju-4.0.5.yaml"));
    assert_eq!(
        relation(&distributor, 2).remote_units,
        [(name("m/0"), consumer.clone())].into()
    );
    assert_eq!(
        relation(&distributor, 2).own_units,
        [(name("d/0"), own.clone())].into()
    );
    assert_eq!(
        relation(&distributor, 2).remote_app,
        Seen::Shown("m".to_owned())
    );
    assert_eq!(relation(&distributor, 2).own_application, application);
    // The input does not show whether m has more units.
    assert_eq!(
        relation(&distributor, 2).are_all,
        Seen::Unseen(Unseen::NotInInput)
    );

    // Sibling: that release names units of the own side as related units.
    let siblings = text("juju-4.0.5.yaml").replace(
        "mirror-h: empty}}\nm/0:",
        "mirror-h: empty}}\n    related-units: {d/1: {in-scope: true, data: {mirror: down}}}\nm/0:",
    ) + "    related-units: {m/1: {in-scope: true, data: {hostname: i}}}\n";
    let distributor = only(&siblings);
    let units = [
        (name("d/0"), own),
        (name("d/1"), Seen::Shown(bag(&[("mirror", "down")]))),
    ];
    assert_eq!(relation(&distributor, 2).own_units, units.into());
    let units = [
        (name("m/0"), consumer),
        (name("m/1"), Seen::Shown(bag(&[("hostname", "i")]))),
    ];
    assert_eq!(relation(&distributor, 2).remote_units, units.into());
}

#[test]
fn what_options_leave_out_is_unseen_and_not_gone() {
    let distributor = only(&text("related-unit-option.yaml"));
    let shown = relation(&distributor, 2);
    assert!(shown.remote_units[&name("m/0")].shown().is_some());
    assert_eq!(
        shown.remote_units[&name("m/1")],
        UNSEEN,
        "the ledger knows it"
    );
    assert_eq!(shown.are_all, Seen::Unseen(Unseen::NotInInput));
    assert_eq!(shown.own_units[&name("d/0")], UNSEEN);
    let lacks = distributor.lacks().join("\n");
    assert!(
        lacks.contains(
            "relation 2: not in the input: the unit bag of d/0, the unit bag of m/1, and whether m \
             has more units; run juju show-unit d/0 m/0, without options"
        ),
        "{lacks}"
    );

    let distributor = only(&text("app-option.yaml"));
    let shown = relation(&distributor, 2);
    let units = [(name("m/0"), UNSEEN), (name("m/1"), UNSEEN)];
    assert_eq!(shown.remote_units, units.into());
    assert_eq!(shown.own_units, [(name("d/0"), UNSEEN)].into());
    assert_eq!(shown.own_application, Seen::Shown(bag(&APPLICATION)));

    // Sibling: --endpoint leaves out the peer relation. No ledger is not an empty ledger.
    let whole = text("other-endpoint-name.yaml");
    let (from, to) = ("  - relation-id: 0", "  - relation-id: 1");
    let (from, to) = (
        whole.find(from).expect("peers"),
        whole.find(to).expect("consumers"),
    );
    let distributor = only(&format!("{}{}", &whole[..from], &whole[to..]));
    assert_eq!(distributor.ledger, UNSEEN);
    assert!(distributor.lacks()[0].starts_with("the ledger is not in the input"));
    // Sibling: a unit that the ledger does not know is left out as well.
    let unknown = text("related-unit-option.yaml").replace(", host-h: m/1", "");
    assert_eq!(
        relation(&only(&unknown), 2).are_all,
        Seen::Unseen(Unseen::NotInInput)
    );
    // Sibling: a whole dump from before a unit came that the ledger of a later one knows.
    let later = whole.replace("host-h: m/0", "host-h: m/0 m/1");
    assert_eq!(
        relation(&only(&later), 1).remote_units[&name("m/1")],
        UNSEEN
    );
    assert_eq!(
        relation(&only(&later), 1).are_all,
        Seen::Unseen(Unseen::NotInInput)
    );
    // Sibling: Juju lists a unit that has not entered the relation. It is known not to be there.
    let scope = whole.replace(
        "{m/0: {in-scope: true, data: {hostname: h}}}",
        "{m/0: {in-scope: true, data: {hostname: h}}, m/1: {in-scope: false, data: {}}}",
    );
    let distributor = only(&scope);
    assert_eq!(
        relation(&distributor, 1).remote_units[&name("m/1")],
        Seen::Unseen(Unseen::NotInScope)
    );
    assert_eq!(relation(&distributor, 1).are_all, Seen::Shown(()));
    assert_eq!(distributor.lacks(), [""; 0]);
}

#[test]
fn each_distributor_has_its_own_relations() {
    let model = model(&[&case("two-distributors.yaml")]).expect("it is read");
    let ids = |app: &str| -> Vec<u64> {
        let relations = &model.distributors[app].relations;
        relations.keys().map(|id| id.0).collect()
    };
    assert_eq!(model.distributors.keys().collect::<Vec<_>>(), ["d", "e"]);
    assert_eq!((ids("d"), ids("e")), (vec![1], vec![2]));
    let ledgers = model
        .distributors
        .values()
        .map(|one| one.ledger.shown().expect("shown"));
    let tokens: Vec<_> = ledgers
        .map(|ledger| ledger.contains_key("mirror-h"))
        .collect();
    assert_eq!(tokens, [true, false]);

    // Sibling: one of them is asked for, or one that is not there.
    assert_eq!(model.chosen(None).expect("all").len(), 2);
    assert_eq!(model.chosen(Some("e")).expect("one")[0].app, "e");
    let error = model.chosen(Some("x")).expect_err("none").to_string();
    assert!(error.ends_with("but of d, e"), "{error}");
}

#[test]
fn a_consumer_of_two_distributors_goes_to_each_by_its_relation() {
    let consumer = "a/0:
  charm: ch:amd64/microovn-48
  relation-info:
  - relation-id: 1
    endpoint: cluster
    related-endpoint: microcluster-cluster
    related-units: {d/0: {in-scope: true, data: {mirror: up}}}
  - relation-id: 9
    endpoint: standby
    related-endpoint: microcluster-cluster
    related-units: {e/0: {in-scope: true, data: {mirror: up, k: v}}}
  - relation-id: 8
    endpoint: cluster
    related-endpoint: microcluster-cluster
";
    let model = model(&[&case("two-distributors.yaml"), consumer.as_bytes()]).expect("it is read");
    let (d, e) = (&model.distributors["d"], &model.distributors["e"]);
    assert_eq!(
        relation(d, 1).own_units[&name("d/0")],
        Seen::Shown(bag(&[("mirror", "up")]))
    );
    assert_eq!(
        relation(e, 9).own_units[&name("e/0")],
        Seen::Shown(bag(&[("k", "v"), ("mirror", "up")]))
    );
    // The input does not show whose the third is.
    assert_eq!(model.notes.len(), 1, "{:?}", model.notes);
    assert!(model.notes[0].starts_with("relation 8 of a/0 is with none of"));
}

#[test]
fn sides_are_distinguished_by_charm_and_unit_and_not_by_endpoint() {
    let (same, other) = (
        only(&text("same-endpoint-name.yaml")),
        only(&text("other-endpoint-name.yaml")),
    );
    assert_eq!(same, other);
    assert_eq!(same.units, [name("d/0")].into());
    assert_eq!(relation(&same, 1).remote_app, Seen::Shown("m".to_owned()));
    assert_eq!(relation(&same, 1).are_all, Seen::Shown(()));
    assert_eq!(same.lacks(), [""; 0]);

    // Sibling: a unit of the distributor that shows another charm is the distributor's by its name.
    let refreshed = "d/1:\n  charm: local:something-0\n";
    let model =
        model(&[&case("same-endpoint-name.yaml"), refreshed.as_bytes()]).expect("it is read");
    assert_eq!(
        model.distributors["d"].units,
        [name("d/0"), name("d/1")].into()
    );
    // Sibling: a consumer that is called as the distributor's charm.
    let called = text("same-endpoint-name.yaml").replace("m/0", "microcluster-token-distributor/0");
    assert_eq!(only(&called).app, "d");
}

#[test]
fn another_models_relation_is_left_out() {
    let whole = text("other-endpoint-name.yaml");
    let at = whole.find("m/0:\n  charm").expect("the consumer's dump");
    let (own, consumer) = whole.split_at(at);
    let saas = "remote-7f1e3a5c9b2d4e6f8a0b1c2d3e4f5a6b";
    let own = own.replace("m/0: {in", &format!("{saas}/0: {{in")).replace(
        "    related-endpoint: cluster\n    related-units",
        "    related-endpoint: cluster\n    cross-model: true\n    related-units",
    );
    let model = model(&[own.as_bytes(), consumer.as_bytes()]).expect("it is read");
    let shown = relation(&model.distributors["d"], 1);
    assert_eq!(shown.remote_app, Seen::Shown(saas.to_owned()));
    assert!(shown.is_cross_model);
    for unseen in [&shown.own_application, &shown.own_units[&name("d/0")]] {
        assert_eq!(*unseen, Seen::Unseen(Unseen::OtherModel));
    }
    assert_eq!(shown.are_all, Seen::Unseen(Unseen::OtherModel));
    assert_eq!(model.notes.len(), 1, "{:?}", model.notes);
    let lacks = model.distributors["d"].lacks();
    assert!(
        lacks
            .iter()
            .all(|lack| lack.contains("goes to another model, so Juju does not show")),
        "{lacks:?}"
    );
}

/// Siblings: the application has the same name there, and so has the relation's number.
#[test]
fn a_namesake_in_another_model_is_left_out() {
    let whole = text("other-endpoint-name.yaml");
    let at = whole.find("m/0:\n  charm").expect("the consumer's dump");
    let (own, consumer) = whole.split_at(at);
    let alone = model(&[own.as_bytes()]).expect("it is read");
    for (case, consumer) in [
        (
            "its distributor",
            consumer.replace("{d/0: {in", "{x/0: {in"),
        ),
        (
            "its offer",
            consumer.replace(
                "    related-endpoint",
                "    cross-model: true\n    related-endpoint",
            ),
        ),
    ] {
        let both = model(&[own.as_bytes(), consumer.as_bytes()]).expect(case);
        assert_eq!(both.distributors, alone.distributors, "{case}");
        assert_eq!(both.notes.len(), 1, "{case}: {:?}", both.notes);
    }
}

#[test]
fn two_dumps_of_a_unit_agree_or_are_refused() {
    let complaint = refused(&case("same-unit-twice.yaml"));
    assert_eq!(
        complaint,
        "unit a/0 is in the input twice and differs (FILE line 1, and FILE line 3): keep the later \
         one; units of two models go into two runs"
    );
    // Sibling: in two files, as JSON, in one JSON object.
    let one = "{\"a/0\":{\"charm\":\"microcluster-token-distributor\"}}";
    let two = one.replace("\"}}", "\",\"leader\":true}}");
    let error = model(&[one.as_bytes(), two.as_bytes()])
        .expect_err("they differ")
        .to_string();
    assert!(
        error.starts_with("unit a/0 is in the input twice"),
        "{error}"
    );
    let both = format!(
        "{},{}",
        one.trim_end_matches('}').to_owned() + "}",
        &two[1..]
    );
    assert!(refused(both.as_bytes()).starts_with("unit a/0 is in the input twice"));
    // Sibling: the same thing twice needs no choice.
    let file = case("two-distributors.yaml");
    assert_eq!(
        model(&[&file, &file]).expect("it is read"),
        model(&[&file]).expect("it is read")
    );
}

#[test]
fn pastes_documents_and_encodings_are_read() {
    for (file, units) in [
        ("indented-min.yaml", &["a/0", "b/0"][..]),
        ("two-yaml-docs-min.yaml", &["a/0", "b/0"]),
        ("two-json-min.json", &["a/0", "b/0"]),
        ("utf16.yaml", &["a/0"]),
    ] {
        let document = Document::parse(file, &case(file)).expect(file);
        assert_eq!(unit_names(&document), units, "{file}");
        assert_eq!(document.notes, [""; 0], "{file}");
    }
    // Siblings: each way to spoil a file, on a file that matters, changes nothing.
    let whole = text("other-endpoint-name.yaml");
    let expected = only(&whole);
    let lines = |change: &dyn Fn(&str) -> String| -> String { whole.lines().map(change).collect() };
    let utf16 = |unit: fn(u16) -> [u8; 2]| whole.encode_utf16().flat_map(unit).collect::<Vec<u8>>();
    for (way, bytes) in [
        (
            "indented",
            lines(&|line| format!("  {line}\n")).into_bytes(),
        ),
        ("Windows", lines(&|line| format!("{line}\r\n")).into_bytes()),
        ("a mark", format!("\u{feff}{whole}").into_bytes()),
        (
            "documents",
            whole
                .replace("m/0:\n  charm", "---\nm/0:\n  charm")
                .into_bytes(),
        ),
        (
            "a prompt",
            format!("$ juju show-unit d/0 m/0\n{whole}").into_bytes(),
        ),
        ("UTF-16 BE", utf16(u16::to_be_bytes)),
        ("UTF-16 LE", utf16(u16::to_le_bytes)),
    ] {
        let model = model(&[&bytes]).expect(way);
        assert_eq!(model.distributors["d"], expected, "{way}");
    }
}

#[test]
fn the_line_is_the_files() {
    let complaint = refused(&case("lines-min.yaml"));
    assert!(
        complaint.starts_with("FILE: not YAML (line 4, column "),
        "{complaint}"
    );
    // Sibling: in the second document of a paste, in UTF-16 and with Windows line ends.
    let text =
        "\u{feff}\r\n$ juju show-unit\r\na/0:\r\n  charm: a\r\n---\r\n\r\nb/0:\r\n  charm: [\r\n";
    let bytes: Vec<u8> = text.encode_utf16().flat_map(u16::to_le_bytes).collect();
    let complaint = refused(&bytes);
    assert!(
        complaint.starts_with("FILE: not YAML (line 8, column "),
        "{complaint}"
    );
}

#[test]
fn large_input_is_refused_at_once() {
    let begun = Instant::now();
    let pairs = "a: b\n".repeat(12 << 20);
    assert!(refused(pairs.as_bytes()).contains("line 1 is not from `juju show-unit`"));
    // Siblings: inside a unit, as a list, as JSON.
    let inside = format!("a/0:\n  charm: a\n  x:\n{}", "   a: b\n".repeat(6 << 20));
    assert!(refused(inside.as_bytes()).contains("is too large"));
    let list = format!("a/0: [{}]", "[],".repeat(16 << 20));
    assert!(refused(list.as_bytes()).contains("is too large"));
    let json = format!("{{\"a/0\":{{\"x\":[{}0]}}}}", "0,".repeat(16 << 20));
    assert!(refused(json.as_bytes()).contains("is too large"));
    // Far from the half minute that one of them took.
    assert!(begun.elapsed().as_secs() < 10, "{:?}", begun.elapsed());
}

#[test]
fn another_commands_output_is_named() {
    for (command, input) in [
        (
            "juju status",
            "Model  Controller  Cloud/Region  Version\nm      c  lxd  3.6\n\nApp  Version\n",
        ),
        (
            "juju status",
            "model:\n  name: m\n  type: iaas\nmachines: {}\n",
        ),
        (
            "juju status",
            "{\"model\":{\"name\":\"m\"},\"applications\":{}}",
        ),
        (
            "juju show-application",
            "microovn:\n  charm: microovn\n  base: ubuntu@24.04\n",
        ),
        ("juju show-model", "m:\n  name: admin/m\n  model-uuid: x\n"),
        (
            "juju export-bundle",
            "default-base: ubuntu@24.04/stable\napplications:\n",
        ),
    ] {
        let complaint = refused(input.as_bytes());
        assert!(
            complaint.contains(&format!("is from `{command}`; `juju show-unit`")),
            "{complaint}"
        );
    }
}

/// The files of the other tests of the command line, which are whole dumps of both sides.
#[test]
fn whole_dumps_lack_nothing_but_what_another_model_has() {
    let read = |file: &str| {
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/show-unit");
        std::fs::read(format!("{folder}/{file}")).expect("a situation")
    };
    for (file, relations, lacks) in [
        ("fresh.yaml", &[2][..], 0),
        ("waiting.yaml", &[2], 0),
        ("two-applications.yaml", &[2, 10], 0),
        ("total-loss.yaml", &[8], 0),
        ("python-charm.yaml", &[2], 0),
        ("members-and-refusals.yaml", &[2], 0),
        // No unit leads, and it was not shown its own side of the relation.
        ("standby.yaml", &[2], 2),
        ("cross-model.yaml", &[5], 1),
    ] {
        let model = model(&[&read(file)]).expect(file);
        let distributor = &model.distributors["microcluster-token-distributor"];
        let ids: Vec<u64> = distributor.relations.keys().map(|id| id.0).collect();
        assert_eq!(ids, relations, "{file}");
        assert_eq!(
            distributor.lacks().len(),
            lacks,
            "{file}: {:?}",
            distributor.lacks()
        );
        assert_eq!(
            [distributor.notes.clone(), model.notes].concat(),
            [""; 0],
            "{file}"
        );
    }
    let error = refused(&read("consumer-only.yaml"));
    assert!(
        error.ends_with("add `juju show-unit microcluster-token-distributor/0`"),
        "{error}"
    );
}

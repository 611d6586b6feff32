use super::*;

#[test]
fn the_charm_is_known_by_its_name_however_it_was_deployed() {
    for (charm, expected) in [
        ("microcluster-token-distributor", true),
        ("ch:amd64/microcluster-token-distributor-14", true),
        ("ch:amd64/noble/microcluster-token-distributor-14", true),
        ("local:microcluster-token-distributor-0", true),
        ("local:noble/microcluster-token-distributor-0", true),
        ("ch:amd64/microovn-48", false),
        ("ch:amd64/microcluster-token-distributor-k8s-3", false),
        ("ch:amd64/not-microcluster-token-distributor-3", false),
        ("microcluster-token-distributor-", false),
        ("", false),
    ] {
        assert_eq!(is_distributor(charm), expected, "{charm}");
    }
}

#[test]
fn an_option_is_read_as_the_charm_reads_it_and_else_as_the_ledger_has_it() {
    let distributor = only(&own("d/0", true, "option-bootstrap-app: m", RELATION));
    for (given, read) in [
        (None, Some("m")),
        (Some(""), None),
        (Some(" \t\n"), None),
        (Some(" microovn"), Some("microovn")),
        (Some("microovn\n"), Some("microovn")),
        (Some("microovn"), Some("microovn")),
    ] {
        let view = distributor.view(given).expect("a unit is known");
        let options = view.world.options;
        assert_eq!(options.bootstrap_app.as_deref(), read, "{given:?}");
    }
}

fn model(text: &str) -> Result<ShownModel, InputError> {
    ShownModel::of(vec![Document::parse("FILE", text.as_bytes())?])
}

fn only(text: &str) -> Distributor {
    let mut model = model(text).expect(text);
    model.distributors.pop_first().expect("not empty").1
}

/// A unit of the distributor, with the ledger's and its relations' lines.
fn own(unit: &str, is_leader: bool, ledger: &str, relations: &str) -> String {
    format!(
        "{unit}:
  charm: local:microcluster-token-distributor-0
  leader: {is_leader}
  relation-info:
  - relation-id: 0
    endpoint: cluster
    application-data: {{{ledger}}}
    local-unit: {{in-scope: true, data: {{}}}}
    related-units: {{d/7: {{in-scope: true, data: {{}}}}, d/8: {{in-scope: false, data: {{}}}}}}
{relations}"
    )
}

const RELATION: &str = "  - relation-id: 1
    endpoint: microcluster-cluster
    related-endpoint: cluster
";

#[test]
fn the_unit_that_replaces_the_leader_is_most_like_one() {
    let up = "    related-units: {d/1: {in-scope: true, data: {mirror: up}}}\n";
    let consumer = format!(
        "m/0:\n  charm: m\n  relation-info:\n  - relation-id: 1\n    endpoint: cluster\n    \
         related-endpoint: microcluster-cluster\n{up}"
    );
    for (case, text, expected) in [
        (
            "the leader",
            own("d/0", true, "leader: d/7 1", RELATION) + &consumer,
            "d/0",
        ),
        (
            "the ledger",
            own("d/0", false, "leader: d/7 1", RELATION) + &consumer,
            "d/7",
        ),
        (
            // The input does not show who leads after it.
            "a unit that left",
            own("d/0", false, "leader: d/8 1", RELATION),
            "d/8",
        ),
        (
            "the mirror",
            own("d/0", false, "", RELATION) + &consumer,
            "d/1",
        ),
        ("the first", own("d/0", false, "", RELATION), "d/0"),
    ] {
        let distributor = only(&text);
        let stand_in = distributor.stand_in();
        let stand_in = stand_in.as_ref().map(UnitName::as_str);
        assert_eq!(stand_in, Some(expected), "{case}");
        let stands_in = distributor
            .lacks()
            .iter()
            .any(|lack| lack.starts_with("no unit in the input leads"));
        assert_eq!(stands_in, case != "the leader", "{case}");
    }
}

#[test]
fn what_does_not_fit_together_is_said() {
    let other = |ledger: &str| own("d/1", true, ledger, "");
    for (case, text, notes) in [
        (
            "the same",
            own("d/0", false, "mirror-h: t", "") + &other("mirror-h: t"),
            &[][..],
        ),
        (
            "ledgers",
            own("d/0", false, "mirror-h: t", "") + &other(""),
            &["different ledgers"],
        ),
        (
            "leaders",
            own("d/0", true, "", "") + &other(""),
            &["d/0 and d/1 both lead"],
        ),
        (
            "bags",
            own(
                "d/0",
                true,
                "",
                &format!(
                    "{RELATION}    related-units: {{m/0: {{in-scope: true, data: {{a: b}}}}}}\n"
                ),
            ) + &own(
                "d/1",
                false,
                "",
                &format!("{RELATION}    related-units: {{m/0: {{in-scope: true, data: {{}}}}}}\n"),
            ),
            &["relation 1: its units show different bags"],
        ),
    ] {
        let given = only(&text).notes;
        assert_eq!(given.len(), notes.len(), "{case}: {given:?}");
        for (given, note) in given.iter().zip(notes) {
            assert!(given.contains(note), "{case}: {given}");
        }
    }
    // What a unit wrote counts, and then what came first.
    let member = |member: &str| format!("{RELATION}    related-units: {{m/0: {{{member}}}}}\n");
    for (first, second) in [
        ("in-scope: true, data: {a: b}", "in-scope: true, data: {}"),
        ("in-scope: true, data: {a: b}", "in-scope: false, data: {}"),
        ("in-scope: false, data: {}", "in-scope: true, data: {a: b}"),
    ] {
        let text = own("d/0", true, "", &member(first)) + &own("d/1", false, "", &member(second));
        let bag = only(&text).relations[&RelationId(1)].remote_units
            [&"m/0".parse().expect("a name")]
            .clone();
        assert_eq!(
            bag,
            Seen::Shown([("a".to_owned(), "b".to_owned())].into()),
            "{text}"
        );
    }
    // The leader's ledger is the one that counts.
    let ledger = only(&(own("d/0", false, "mirror-h: t", "") + &other(""))).ledger;
    assert_eq!(ledger, Seen::Shown(Databag::new()));
}

#[test]
fn an_empty_application_bag_is_one_only_if_both_sides_are_there() {
    let remote = "m/0:\n  charm: m\n  relation-info:\n  - {relation-id: 1, endpoint: cluster, related-endpoint: microcluster-cluster, application-data: {}}\n";
    let unseen = Seen::Unseen(Unseen::NotInInput);
    for (case, text, expected) in [
        ("ours alone", own("d/0", true, "", RELATION), unseen.clone()),
        ("theirs alone", own("d/0", true, "", "") + remote, unseen),
        (
            "both",
            own("d/0", true, "", RELATION) + remote,
            Seen::Shown(Databag::new()),
        ),
    ] {
        let distributor = only(&text);
        assert_eq!(
            distributor.relations[&RelationId(1)].own_application,
            expected,
            "{case}"
        );
    }
}

#[test]
fn a_relation_that_only_the_ledger_names_is_lacking() {
    let text = own(
        "d/0",
        true,
        "relation-1: m, relation-2: n, relation-3: o -",
        RELATION,
    );
    let distributor = only(&text);
    assert_eq!(
        distributor.relations[&RelationId(1)].remote_app,
        Seen::Shown("m".to_owned())
    );
    let lacks = distributor.lacks().join("\n");
    assert!(
        lacks.contains("relation 2 with n is in the ledger and not in the input"),
        "{lacks}"
    );
    assert!(
        !lacks.contains("relation 3") && !lacks.contains("relation 1 with"),
        "{lacks}"
    );
}

#[test]
fn without_a_distributor_the_unit_to_add_is_named() {
    let text = "m/0:\n  charm: m\n  relation-info:\n  - relation-id: 1\n    endpoint: e\n    related-endpoint: microcluster-cluster\n";
    let error = model(text).expect_err("there is none").to_string();
    assert!(error.ends_with("add `juju show-unit APP/N`"), "{error}");
    let text = format!("{text}    related-units: {{d/3: {{in-scope: true, data: {{}}}}}}\n");
    let error = model(&text).expect_err("there is none").to_string();
    assert!(error.ends_with("add `juju show-unit d/3`"), "{error}");
}

//! The rules of the reconciliation, one test for each, as tables where there are cases.

mod support;

use microcluster_token_distributor::databag::{Databag, GUARD, GUARD_VALUE};
use microcluster_token_distributor::reconcile::{CAPACITY, Level, reconcile};
use microcluster_token_distributor::snapshot::{RelationId, Scope, Snapshot};
use microcluster_token_distributor::standby::{StandbyRelation, stand_by};
use support::{World, after, bag, world};

const CROSS_MODEL: &str = "remote-0123456789abcdef0123456789abcdef";

/// Both own bags of a relation after the hook.
fn own_bags(world: &World, relation: u64) -> (Databag, Databag) {
    let facts = settled(world);
    let relation = &facts.relations[&RelationId(relation)];
    (
        relation.own_app.clone(),
        relation.own_unit.clone().unwrap_or_default(),
    )
}

/// The world after one reconciliation; a second one must have nothing to do.
fn settled(world: &World) -> Snapshot {
    let facts = after(&world.0, &reconcile(&world.0));
    let again = reconcile(&facts);
    assert!(again.is_silent(), "a second run writes {:?}", again.writes);
    facts
}

/// The value of a key in the application bag of relation 1, checked to be in the unit bag too.
fn mirrored(world: &World, key: &str) -> Option<String> {
    let (app, unit) = own_bags(world, 1);
    assert_eq!(
        app.get(key),
        unit.get(key),
        "both bags show the same mirror"
    );
    app.get(key).cloned()
}

fn warnings(world: &World) -> Vec<String> {
    let notes = reconcile(&world.0).notes.into_iter();
    notes
        .filter(|note| note.level == Level::Warning)
        .map(|note| note.text)
        .collect()
}

fn status(world: &World) -> String {
    let status = reconcile(&world.0).overview.status();
    format!("{} {}", status.kind.as_str(), status.message)
}

#[test]
fn a_fresh_relation_gets_everything_in_one_plan() {
    let world = world()
        .relation(1, "microovn")
        .unit(
            "microovn/0",
            [("hostname", "h0"), ("ingress-address", "10.0.0.5")],
        )
        .unit("microovn/1", [("hostname", "h1")]);
    let (app, unit) = own_bags(&world, 1);
    assert_eq!(
        app,
        bag([
            ("bootstrap-app", "microovn"),
            ("hosts", r#"{"h0":"microovn/0","h1":"microovn/1"}"#),
            ("mirror-h0", "empty"),
            ("mirror-h1", "empty"),
        ])
    );
    assert_eq!(
        unit,
        bag([
            ("bootstrap-app", "microovn"),
            ("mirror", "up"),
            ("mirror-h0", "empty"),
            ("mirror-h1", "empty"),
        ])
    );
}

#[test]
fn only_keys_with_the_exact_prefix_are_copied() {
    let world = world().relation(1, "a").unit(
        "a/0",
        [
            ("mirror", "up"),
            ("mirror-h0", "t"),
            ("mirror-", "bare"),
            ("mirror_x", "t"),
            ("xmirror-y", "t"),
            (GUARD, "t"),
        ],
    );
    let (app, unit) = own_bags(&world, 1);
    let keys = |bag: Databag| bag.into_keys().collect::<Vec<_>>().join(" ");
    assert_eq!(keys(app), "bootstrap-app mirror- mirror-h0");
    assert_eq!(keys(unit), "bootstrap-app mirror mirror- mirror-h0");
}

#[test]
fn only_a_unit_that_says_exactly_up_is_copied() {
    for (mirror, copied) in [
        ("up", true),
        ("down", false),
        ("Up", false),
        ("up ", false),
        ("yes", false),
    ] {
        let world = world()
            .relation(1, "a")
            .unit("a/0", [("mirror", mirror), ("mirror-h0", "t")]);
        assert_eq!(
            mirrored(&world, "mirror-h0").is_some(),
            copied,
            "{mirror:?}"
        );
    }
    let world = world().relation(1, "a").unit("a/0", [("mirror-h0", "t")]);
    assert_eq!(mirrored(&world, "mirror-h0"), None, "no mirror at all");
}

#[test]
fn every_host_name_gets_a_placeholder_whatever_its_mirror() {
    for mirror in ["up", "down", "x"] {
        let world = world()
            .relation(1, "a")
            .unit("a/0", [("hostname", "h0"), ("mirror", mirror)]);
        assert_eq!(
            mirrored(&world, "mirror-h0").as_deref(),
            Some("empty"),
            "{mirror}"
        );
    }
}

#[test]
fn a_new_relation_is_served_before_its_units_are_read() {
    let relations = |held: &str, expects: bool| {
        let first = world().relation(1, "a").own_app([("bootstrap-app", held)]);
        let first = if expects {
            first.expects(["a/0"])
        } else {
            first.expects([])
        };
        let mut world = first.relation(2, "b").expects(["b/0"]);
        world.0.scope = Scope::Relations;
        world
    };
    let plan = reconcile(&relations("a", true).0);
    assert!(!plan.needs_whole && !plan.look_around);
    let second = &plan.writes[&RelationId(2)];
    assert!(second.unit.contains_key(GUARD) && second.app.contains_key("bootstrap-app"));
    // Only units can tell whether a cluster speaks for an application that has left.
    assert!(reconcile(&relations("a", false).0).needs_whole);
    assert!(!reconcile(&relations("a", false).configured("b").0).needs_whole);
}

#[test]
fn a_relation_that_came_when_nobody_could_be_chosen_is_guarded_before_it_hears_of_the_choice() {
    let mut world = world()
        .relation(1, "a")
        .own_app([("bootstrap-app", "a")])
        .unit("a/0", [("hostname", "h0")])
        .relation(2, "b")
        .part();
    let second = world.0.relations.get_mut(&RelationId(2));
    second.expect("just made").remote_app = None;
    assert!(reconcile(&world.0).needs_whole);
}

#[test]
fn a_relation_that_comes_back_is_looked_at_with_its_units() {
    let held = [("bootstrap-app", "a"), ("mirror-h0", "empty")];
    let relation = || world().relation(1, "a").expects(["a/0"]).own_app(held);
    // Hosts may have left while it was suspended, or before this unit came.
    for (mut world, has_a_past) in [
        (relation().own_unit([]), true),
        (
            relation().own_unit([("mirror", "up"), ("mirror-h0", "empty")]),
            false,
        ),
    ] {
        world.0.scope = Scope::Relations;
        assert_eq!(reconcile(&world.0).needs_whole, has_a_past);
    }
}

#[test]
fn a_standby_guards_as_the_leader_will() {
    let relation = |app: &str, has_units, siblings: &[Databag]| StandbyRelation {
        remote_app: Some(app.to_owned()),
        has_units,
        siblings: siblings.to_vec(),
        ..StandbyRelation::default()
    };
    let up = bag([("mirror", "up"), ("bootstrap-app", "b")]);
    let down = bag([("mirror", "down")]);
    for (case, first, second, guarded) in [
        (
            "nobody has spoken",
            relation("a", true, &[]),
            relation("b", true, &[]),
            Some(2),
        ),
        (
            "no units there",
            relation("a", false, &[]),
            relation("b", true, &[]),
            Some(1),
        ),
        (
            "the leader has",
            relation("a", true, &[up]),
            relation("b", true, &[]),
            Some(1),
        ),
        (
            "somebody led once",
            relation("a", true, &[down]),
            relation("b", true, &[]),
            None,
        ),
        (
            "far away",
            relation(CROSS_MODEL, false, &[]),
            relation("b", true, &[]),
            None,
        ),
    ] {
        let relations = [(RelationId(1), first), (RelationId(2), second)].into();
        let plan = stand_by(&relations, None);
        let guards: Vec<u64> = plan.keys().map(|id| id.0).collect();
        assert_eq!(guards, Vec::from_iter(guarded), "{case}");
    }
}

#[test]
fn a_standby_that_led_steps_back_once_another_leads_and_guards_until_it_shows_a_value() {
    let up = bag([("mirror", "up"), ("bootstrap-app", "b")]);
    let minted = bag([("mirror", "up"), ("bootstrap-app", "b"), ("mirror-h0", "t")]);
    let down = bag([("mirror", "down"), ("mirror-h0", "empty")]);
    let led = bag([("mirror", "up")]);
    let led_with_a_token = bag([("mirror", "up"), ("mirror-h0", "t")]);
    let guarded = bag([(GUARD, GUARD_VALUE)]);
    for (case, own_unit, siblings, changes) in [
        ("nobody else is there", &led, vec![], "mirror"),
        ("nobody else leads yet", &led, vec![&down], ""),
        (
            "another leads",
            &led,
            vec![&down, &up],
            "mirror mirror-_bootstraps-elsewhere",
        ),
        ("it shows a token", &led_with_a_token, vec![&up], "mirror"),
        ("it never led", &guarded, vec![&up], ""),
        (
            "a cluster exists",
            &down,
            vec![&minted],
            "mirror-_bootstraps-elsewhere",
        ),
        ("and it guards", &guarded, vec![&minted], ""),
    ] {
        let relation = StandbyRelation {
            remote_app: Some("a".to_owned()),
            has_units: true,
            own_unit: own_unit.clone(),
            siblings: siblings.into_iter().cloned().collect(),
        };
        let plan = stand_by(&[(RelationId(1), relation)].into(), None);
        let keys = plan
            .get(&RelationId(1))
            .map(|changes| changes.keys().cloned().collect());
        let keys: Vec<String> = keys.unwrap_or_default();
        assert_eq!(keys.join(" "), changes, "{case}");
    }
}

#[test]
fn a_refused_host_name_gets_a_note_and_no_placeholder() {
    for hostname in ["--help", "node_1", "42", "a..b", "a\nb", "é"] {
        let world = world()
            .relation(1, "a")
            .unit("a/0", [("hostname", hostname)])
            .unit("a/1", [("hostname", "h1")]);
        assert_eq!(mirrored(&world, &format!("mirror-{hostname}")), None);
        assert_eq!(mirrored(&world, "mirror-h1").as_deref(), Some("empty"));
        assert!(
            status(&world).starts_with("blocked host name "),
            "{}",
            status(&world)
        );
        assert!(warnings(&world).iter().any(|note| note.contains("a/0")));
    }
}

#[test]
fn a_real_value_is_never_overwritten_emptied_or_removed() {
    // What the bags hold, what a unit that is up offers, what is kept.
    for (case, app, unit, offered, kept) in [
        ("nothing held yet", None, None, "empty", "empty"),
        ("the token arrives", Some("empty"), Some("empty"), "A", "A"),
        ("the token arrives at once", None, None, "A", "A"),
        (
            "a placeholder comes late",
            Some("A"),
            Some("A"),
            "empty",
            "A",
        ),
        ("another token comes late", Some("A"), Some("A"), "B", "A"),
        ("the copy was lost", Some("A"), None, "B", "A"),
        ("the copy fell back", Some("A"), Some("empty"), "B", "A"),
        ("the truth was lost", None, Some("A"), "B", "A"),
        ("the truth fell back", Some("empty"), Some("A"), "B", "A"),
    ] {
        let mut world = world().relation(1, "a").unit(
            "a/0",
            [("mirror", "up"), ("mirror-h0", offered), ("hostname", "h0")],
        );
        let relation = world
            .0
            .relations
            .get_mut(&RelationId(1))
            .expect("just made");
        relation
            .own_app
            .extend(app.map(|value| ("mirror-h0".to_owned(), value.to_owned())));
        let own_unit = relation.own_unit.as_mut().expect("just made");
        own_unit.extend(unit.map(|value| ("mirror-h0".to_owned(), value.to_owned())));
        assert_eq!(
            mirrored(&world, "mirror-h0").as_deref(),
            Some(kept),
            "{case}"
        );
    }
}

#[test]
fn all_relations_show_one_mirror() {
    let world = world()
        .relation(9, "a")
        .unit(
            "a/0",
            [("mirror", "up"), ("mirror-h0", "t0"), ("hostname", "h0")],
        )
        .relation(10, "b")
        .unit("b/0", [("hostname", "h1")]);
    let (first, first_unit) = own_bags(&world, 9);
    let (second, second_unit) = own_bags(&world, 10);
    assert_eq!(first, second);
    assert_eq!(first_unit, second_unit);
    assert_eq!(first["mirror-h0"], "t0");
    assert_eq!(first["mirror-h1"], "empty");
}

#[test]
fn relations_that_already_differ_keep_their_own() {
    let world = world()
        .relation(1, "a")
        .own_app([("mirror-h0", "A")])
        .relation(2, "b")
        .own_unit([("mirror-h0", "B")])
        .relation(3, "c");
    assert_eq!(own_bags(&world, 1).0["mirror-h0"], "A");
    assert_eq!(
        own_bags(&world, 2).0["mirror-h0"],
        "B",
        "the copy becomes the truth"
    );
    assert_eq!(own_bags(&world, 2).1["mirror-h0"], "B");
    assert_eq!(
        own_bags(&world, 3).0["mirror-h0"],
        "A",
        "the first by number"
    );
    assert_eq!(
        warnings(&world),
        ["mirror-h0: relations 1 and 2 hold different values; each keeps its own"]
    );
}

#[test]
fn values_are_chosen_in_the_order_of_precedence() {
    // Application bags before unit bags before units, each by number and not by text.
    let all = world()
        .relation(9, "a")
        .own_unit([("mirror-k", "unit 9")])
        .unit("a/10", [("mirror", "up"), ("mirror-k", "a/10")])
        .unit("a/9", [("mirror", "up"), ("mirror-k", "a/9")])
        .relation(10, "b")
        .own_app([("mirror-k", "app 10")])
        .unit("b/0", [("mirror", "up"), ("mirror-k", "b/0")])
        .relation(11, "c");
    let mut facts = all.0.clone();
    for (forget, chosen) in [("", "app 10"), ("app", "unit 9"), ("unit", "a/9")] {
        for relation in facts.relations.values_mut() {
            match forget {
                "app" => relation.own_app.clear(),
                "unit" => relation.own_unit = Some(Databag::new()),
                _ => {}
            }
        }
        assert_eq!(own_bags(&World(facts.clone()), 11).0["mirror-k"], chosen);
    }
    assert_eq!(
        warnings(&World(facts)),
        [
            "mirror-k: a/9 and a/10 give different values; that of a/9 is taken",
            "mirror-k: a/9 and b/0 give different values; that of a/9 is taken",
        ]
    );
}

#[test]
fn communicators_that_agree_get_one_note() {
    let up = [("mirror", "up"), ("mirror-k", "token")];
    let world = world().relation(1, "a").unit("a/0", up).unit("a/1", up);
    let plan = reconcile(&world.0);
    let notes: Vec<&str> = plan.notes.iter().map(|note| note.text.as_str()).collect();
    let told = [
        "bootstrap-app: a",
        "mirror-k: value from a/0",
        "relation 1: mirror up",
    ];
    assert_eq!(notes, told);
}

#[test]
fn a_departed_host_takes_its_placeholder_along_but_not_its_token() {
    for (case, held, stays) in [("waiting", "empty", false), ("minted", "t", true)] {
        let world = world()
            .relation(1, "a")
            .own_app([("bootstrap-app", "a"), ("mirror-h0", held)])
            .own_unit([("mirror-h0", held)])
            .relation(2, "b")
            .own_app([("mirror-h0", held)])
            .own_unit([("mirror-h0", held)])
            .unit("b/1", [("hostname", "h1")])
            .departed("a/0", [("hostname", "h0")]);
        for relation in [1, 2] {
            let (app, unit) = own_bags(&world, relation);
            assert_eq!(app.contains_key("mirror-h0"), stays, "{case}");
            assert_eq!(unit.contains_key("mirror-h0"), stays, "{case}");
        }
    }
}

#[test]
fn a_namesake_keeps_the_placeholder() {
    let world = world()
        .relation(1, "a")
        .own_app([("mirror-h0", "empty"), ("hosts", r#"{"h0":"a/0 a/1"}"#)])
        .unit("a/1", [("hostname", "h0")])
        .departed("a/0", [("hostname", "h0")]);
    assert_eq!(mirrored(&world, "mirror-h0").as_deref(), Some("empty"));
    assert_eq!(own_bags(&world, 1).0["hosts"], r#"{"h0":"a/1"}"#);
}

#[test]
fn a_host_that_left_unseen_takes_its_placeholder_along() {
    for (case, expected, stays) in [("gone", vec![], false), ("on its way", vec!["a/0"], true)] {
        let mut world = world()
            .relation(1, "a")
            .own_app([("mirror-h0", "empty"), ("hosts", r#"{"h0":"a/0"}"#)])
            .own_unit([("mirror-h0", "empty")])
            .unit("a/1", [("hostname", "h1")]);
        let relation = world
            .0
            .relations
            .get_mut(&RelationId(1))
            .expect("just made");
        relation.expected = Some(expected.into_iter().map(support::unit).collect());
        assert_eq!(mirrored(&world, "mirror-h0").is_some(), stays, "{case}");
    }
    let unknown = world().relation(1, CROSS_MODEL).own_app([
        ("mirror-h0", "empty"),
        ("hosts", &format!(r#"{{"h0":"{CROSS_MODEL}/0"}}"#)),
    ]);
    assert!(
        mirrored(&unknown, "mirror-h0").is_some(),
        "goal-state is blind across models"
    );
}

#[test]
fn a_host_that_takes_another_name_leaves_no_placeholder_behind() {
    let world = world()
        .relation(1, "a")
        .own_app([("mirror-old", "empty"), ("hosts", r#"{"old":"a/0"}"#)])
        .own_unit([("mirror-old", "empty")])
        .unit("a/0", [("hostname", "new")]);
    assert_eq!(mirrored(&world, "mirror-old"), None);
    assert_eq!(mirrored(&world, "mirror-new").as_deref(), Some("empty"));
}

#[test]
fn a_name_that_two_units_announce_is_shown() {
    // The second unit of a name: its namesake is there, or has left with the token spent.
    for (case, value, first_is_there) in [("living", "empty", true), ("returned", "t", false)] {
        let mut world = world()
            .relation(1, "a")
            .own_app([("mirror-h0", value), ("hosts", r#"{"h0":"a/0"}"#)])
            .unit("a/7", [("hostname", "h0")]);
        if first_is_there {
            world = world.unit("a/0", [("hostname", "h0")]);
        }
        assert_eq!(
            status(&world),
            "blocked host name h0 was announced by a/0, then a/7; its token serves one unit: \
             redeploy the last under another name",
            "{case}"
        );
        let mut facts = settled(&world);
        let relation = facts.relations.get_mut(&RelationId(1)).expect("just made");
        relation.units.remove(&support::unit("a/7"));
        let left = World(facts).departed("a/7", [("hostname", "h0")]);
        assert!(!status(&left).starts_with("blocked"), "{case}");
    }
}

#[test]
fn only_the_first_unit_of_a_name_is_remembered_beyond_its_departure_and_only_with_a_token() {
    for (case, value, remembered) in [
        ("it may have spent the token", "t", Some(r#"{"h0":"a/0"}"#)),
        ("nothing to spend", "empty", None),
    ] {
        let world = world()
            .relation(1, "a")
            .own_app([("mirror-h0", value), ("hosts", r#"{"h0":"a/0 a/1"}"#)])
            .own_unit([("mirror-h0", value)])
            .expects([]);
        let (app, _) = own_bags(&world, 1);
        assert_eq!(app.get("hosts").map(String::as_str), remembered, "{case}");
        assert_eq!(app.contains_key("mirror-h0"), remembered.is_some());
    }
}

#[test]
fn units_of_a_name_are_remembered_in_the_order_of_their_coming() {
    let hosts = r#"{"h0":"a/7 a/0"}"#;
    let world = world()
        .relation(1, "a")
        .own_app([("mirror-h0", "empty"), ("hosts", hosts)])
        .unit("a/0", [("hostname", "h0")])
        .unit("a/7", [("hostname", "h0")]);
    assert_eq!(own_bags(&world, 1).0["hosts"], hosts);
}

#[test]
fn a_unit_that_is_related_twice_may_have_two_names() {
    let world = world()
        .relation(1, "a")
        .own_app([("hosts", r#"{"h1":"a/0"}"#)])
        .unit("a/0", [("hostname", "h0")])
        .relation(2, "a")
        .unit("a/0", [("hostname", "h1")]);
    assert_eq!(own_bags(&world, 1).0["hosts"], r#"{"h0":"a/0","h1":"a/0"}"#);
}

#[test]
fn a_unit_that_two_relations_remember_is_one_unit() {
    let world = world()
        .relation(1, "a")
        .own_app([("mirror-h0", "t"), ("hosts", r#"{"h0":"a/0"}"#)])
        .unit("a/0", [("hostname", "h0")])
        .relation(2, "b")
        .own_app([("hosts", r#"{"h0":"a/0","h1":"b/1"}"#)])
        .unit("b/1", [("hostname", "h1")]);
    assert_eq!(own_bags(&world, 2).0["hosts"], r#"{"h0":"a/0","h1":"b/1"}"#);
    assert_eq!(
        status(&world),
        "waiting 1 of 2 hosts waiting for a join token"
    );
}

#[test]
fn a_note_tells_of_each_change_once_and_of_what_is_shown_again_as_a_number() {
    let world = world()
        .relation(1, "a")
        .own_app([("mirror-gone", "empty"), ("mirror-h9", "t")])
        .unit(
            "a/0",
            [("mirror", "up"), ("mirror-h1", "t"), ("mirror-h3", "empty")],
        )
        .unit("a/1", [("hostname", "h2")])
        .relation(2, "b")
        .own_app([("mirror-h8", "t")])
        .own_unit([("mirror-h8", "t")])
        .departed("a/7", [("hostname", "gone")]);
    let plan = reconcile(&world.0);
    let notes = plan.notes.iter();
    let notes: Vec<&str> = notes.map(|note| note.text.as_str()).collect();
    assert_eq!(
        notes,
        [
            "bootstrap-app: a",
            "mirror-gone: placeholder removed, its host is gone",
            "mirror-h1: value from a/0",
            "mirror-h2: placeholder for a/1",
            "mirror-h3: placeholder for a/0",
            "relation 1: mirror up",
            "relation 1: 2 known keys published",
            "relation 2: mirror up",
            "relation 2: 1 known key published",
        ]
    );
    let keys: Vec<&str> = plan.writes[&RelationId(2)].keys().into_iter().collect();
    assert_eq!(
        keys,
        [
            "bootstrap-app",
            "hosts",
            "mirror",
            "mirror-h1",
            "mirror-h2",
            "mirror-h3",
            "mirror-h9",
        ]
    );
}

#[test]
fn memory_alone_wakes_nobody() {
    // As an application bag that another author wrote: no memory of hosts, and nothing new.
    let world = world()
        .relation(1, "a")
        .own_app([("bootstrap-app", "a"), ("mirror-h0", "t")])
        .own_unit([("bootstrap-app", "a"), ("mirror", "up"), ("mirror-h0", "t")])
        .unit("a/0", [("hostname", "h0")]);
    assert!(reconcile(&world.0).is_idle());
    let another = world.clone().relation(2, "b");
    assert!(!reconcile(&another.0).is_idle());
    let news = world.unit("a/1", [("hostname", "h1")]);
    assert_eq!(own_bags(&news, 1).0["hosts"], r#"{"h0":"a/0","h1":"a/1"}"#);
}

#[test]
fn one_asks_for_company_when_a_host_announces_itself_or_none_has() {
    let known = [("bootstrap-app", "a"), ("mirror-h0", "t")];
    for (case, own_app, hostname, look_around) in [
        ("the first word", vec![], None, true),
        ("a new host", known.to_vec(), Some("h1"), true),
        ("a known host", known.to_vec(), Some("h0"), false),
        ("a silent unit", known.to_vec(), None, false),
    ] {
        let mut world = world().relation(1, "a").unit("a/1", []);
        let relation = world
            .0
            .relations
            .get_mut(&RelationId(1))
            .expect("just made");
        relation.own_app = own_app
            .iter()
            .map(|(key, value)| ((*key).into(), (*value).into()))
            .collect();
        if let Some(hostname) = hostname {
            world = world.unit("a/1", [("hostname", hostname)]);
        }
        assert_eq!(
            reconcile(&world.part().0).look_around,
            look_around,
            "{case}"
        );
    }
}

#[test]
fn bags_are_kept_below_their_capacity() {
    let big = "x".repeat(CAPACITY / 3);
    let world = world()
        .relation(1, "a")
        .unit(
            "a/0",
            [
                ("mirror", "up"),
                ("mirror-a", &big),
                ("mirror-b", &big),
                ("mirror-c", &big),
            ],
        )
        .unit("a/1", [("hostname", "h1")]);
    let (app, unit) = own_bags(&world, 1);
    for bag in [&app, &unit] {
        let size: usize = bag.iter().map(|(key, value)| key.len() + value.len()).sum();
        assert!(size < CAPACITY, "{size}");
    }
    assert!(app.contains_key("mirror-a") && app.contains_key("mirror-b"));
    assert!(
        !app.contains_key("mirror-c"),
        "the last in precedence is left out"
    );
    assert_eq!(app["mirror-h1"], "empty", "and keeps no one else out");
    assert_eq!(
        status(&world),
        "blocked databag full: 1 key left out; retire hosts that are gone"
    );
}

#[test]
fn what_no_longer_fits_is_the_last_in_precedence_not_in_the_alphabet() {
    let kept = |facts: &Snapshot, relation: u64| {
        let plan = reconcile(facts);
        let keys = plan.writes[&RelationId(relation)].app.keys();
        let keys: Vec<String> = keys
            .filter(|key| key.starts_with("mirror-"))
            .cloned()
            .collect();
        keys.join(" ")
    };
    let two = |z: usize, b: usize| {
        world()
            .relation(1, "a")
            .own_app([("bootstrap-app", "a")])
            .unit("a/0", [("mirror", "up"), ("mirror-z", &"x".repeat(z))])
            .unit("a/1", [("mirror", "up"), ("mirror-b", &"x".repeat(b))])
    };
    // Beside the values: the keys, `bootstrap-app` of `a`, and in the unit bag that the mirror is up.
    let (in_app, in_unit) = (16 + 14, 16 + 14 + 8);
    let half = CAPACITY / 2;
    let rest = CAPACITY - half;
    assert_eq!(
        kept(&two(half, rest - in_unit - 1).0, 1),
        "mirror-b mirror-z"
    );
    assert_eq!(kept(&two(half, rest - in_unit).0, 1), "mirror-z");
    assert_eq!(kept(&two(half, rest - in_unit + 1).0, 1), "mirror-z");
    assert_eq!(kept(&two(half, rest).0, 1), "mirror-z");
    let part = |b| two(half, b).part().0;
    assert_eq!(kept(&part(rest - in_app - 1), 1), "mirror-b mirror-z");
    assert_eq!(kept(&part(rest - in_app), 1), "mirror-z");
    assert_eq!(kept(&part(rest), 1), "mirror-z");

    let most = "x".repeat(CAPACITY / 3 * 2);
    let nobody_chosen = world()
        .relation(1, "a")
        .own_app([("mirror-z", &most)])
        .relation(2, "b")
        .own_app([("mirror-b", &most)])
        .relation(3, "c");
    assert_eq!(kept(&nobody_chosen.0, 3), "mirror-z");
    assert_eq!(kept(&nobody_chosen.part().0, 3), "mirror-z");
}

#[test]
fn what_is_replaced_or_removed_makes_room() {
    let token = |length: usize| "x".repeat(length);
    let held = [("bootstrap-app", "a"), ("mirror-j", "empty")];
    let relation = || {
        let relation = world().relation(1, "a").own_app(held);
        relation.own_unit([held[0], held[1], ("mirror", "up")])
    };
    let replaced = |length| {
        let up = [
            ("mirror", "up"),
            ("mirror-j", "t"),
            ("mirror-k", &*token(length)),
        ];
        relation().unit("a/0", up)
    };
    let removed = |length| {
        let up = [("mirror", "up"), ("mirror-k", &*token(length))];
        relation()
            .unit("a/0", up)
            .departed("a/1", [("hostname", "j")])
    };
    let full = CAPACITY - "bootstrap-appamirrorupmirror-k".len();
    for (world, fits) in [
        (replaced(full - "mirror-jt".len() - 1), true),
        (replaced(full - "mirror-jt".len()), false),
        (removed(full - 1), true),
        (removed(full), false),
    ] {
        assert_eq!(mirrored(&world, "mirror-k").is_some(), fits);
    }
}

#[test]
fn a_token_has_room_before_a_placeholder() {
    let full = "x".repeat(CAPACITY - "bootstrap-appamirror-xmirror-ztoken".len() - 1);
    let world = world()
        .relation(1, "a")
        .own_app([("bootstrap-app", "a"), ("mirror-x", &full)])
        .relation(2, "b")
        .own_app([("mirror-b", "empty")])
        .unit("b/0", [("mirror", "up"), ("mirror-z", "token")])
        .part();
    let plan = reconcile(&world.0);
    let app = &plan.writes[&RelationId(1)].app;
    assert!(app.contains_key("mirror-z") && !app.contains_key("mirror-b"));
}

#[test]
fn a_placeholder_that_we_hold_has_room_before_one_that_is_new() {
    let rest = r#"bootstrap-appamirror-xhosts{"b":"a/1","z":"a/0"}mirror-yempty"#;
    let full = "x".repeat(CAPACITY - rest.len() - 1);
    let world = world()
        .relation(1, "a")
        .own_app([("bootstrap-app", "a"), ("mirror-x", &full)])
        .unit("a/0", [("hostname", "z")])
        .unit("a/1", [("hostname", "b")])
        .relation(2, "b")
        .own_app([("mirror-y", "empty")])
        .part();
    let plan = reconcile(&world.0);
    let app = &plan.writes[&RelationId(1)].app;
    let keys: Vec<&str> = app.keys().map(String::as_str).collect();
    assert_eq!(keys, ["hosts", "mirror-y"]);
}

#[test]
fn a_host_named_like_the_guard_is_forgotten_like_any_other() {
    let memory = r#"{"_bootstraps-elsewhere":"b/0"}"#;
    let world = world()
        .relation(1, "a")
        .own_app([("bootstrap-app", "a"), ("hosts", memory)])
        .unit("a/0", [])
        .relation(2, "b")
        .own_app([("bootstrap-app", "a"), ("hosts", memory)])
        .own_unit([(GUARD, "true"), ("mirror", "up")])
        .unit("b/0", [("hostname", "good")]);
    let (app, _) = own_bags(&world, 2);
    assert_eq!(app["hosts"], r#"{"good":"b/0"}"#);
}

#[test]
fn namesakes_of_no_host_stay_in_the_order_of_their_coming() {
    let long = "y".repeat(300);
    let (first, second) = (format!("{long}z"), format!("{long}a"));
    let world = world()
        .relation(1, "a")
        .unit("a/0", [("hostname", &first)])
        .unit("a/10", [("hostname", &second)]);
    let (app, _) = own_bags(&world, 1);
    assert!(app["hosts"].ends_with(r#"":"a/0 a/10"}"#));
}

#[test]
fn what_a_full_bag_holds_stays() {
    let big = "x".repeat(CAPACITY + 1);
    let world = world()
        .relation(1, "a")
        .own_app([("mirror-a", &big)])
        .own_unit([("mirror-a", &big)])
        .unit("a/1", [("hostname", "h1")]);
    let (app, _) = own_bags(&world, 1);
    assert_eq!(app["mirror-a"].len(), big.len());
    assert!(!app.contains_key("mirror-h1"));
    let again = reconcile(&settled(&world));
    assert!(
        again.is_silent() && !again.is_idle(),
        "it goes on saying so"
    );
}

#[test]
fn bootstrap_app_is_the_first_that_applies() {
    let two = || {
        world()
            .relation(9, "a")
            .unit("a/0", [])
            .relation(10, "b")
            .unit("b/0", [])
    };
    for (case, world, chosen) in [
        ("lowest relation number", two(), Some("a")),
        ("the option", two().configured("b"), Some("b")),
        ("the option, unrelated", two().configured("c"), Some("c")),
        (
            "an application without units is passed over",
            world()
                .relation(9, "a")
                .expects([])
                .relation(10, "b")
                .expects(["b/0"]),
            Some("b"),
        ),
        (
            "nobody has units",
            world().relation(9, "a").expects([]),
            None,
        ),
        ("nobody is seen", world().relation(9, "a"), None),
        (
            "a unit that is up has bootstrapped",
            two().unit("b/1", [("mirror", "up")]),
            Some("b"),
        ),
        (
            "what is settled",
            two().own_app([("bootstrap-app", "b")]),
            Some("b"),
        ),
        (
            "what is settled, units unknown",
            world()
                .relation(9, "a")
                .own_app([("bootstrap-app", "a")])
                .relation(10, "b")
                .unit("b/0", []),
            Some("a"),
        ),
        (
            "the settled one lost its units before any cluster",
            world()
                .relation(9, "a")
                .own_app([("bootstrap-app", "a")])
                .expects([])
                .relation(10, "b")
                .unit("b/0", []),
            Some("b"),
        ),
        (
            "the settled one left before any cluster",
            two().own_app([("bootstrap-app", "gone")]),
            Some("a"),
        ),
        (
            "the settled one left a token",
            two().own_app([("bootstrap-app", "gone"), ("mirror-h0", "t")]),
            Some("gone"),
        ),
        (
            "the settled one left a member that was communicator",
            two()
                .own_app([("bootstrap-app", "gone")])
                .unit("b/1", [("mirror", "down")]),
            Some("gone"),
        ),
        (
            "a placeholder is no cluster",
            two().own_app([("bootstrap-app", "gone"), ("mirror-h0", "empty")]),
            Some("a"),
        ),
    ] {
        let facts = settled(&world);
        for relation in facts.relations.values() {
            let unit = relation.own_unit.as_ref().expect("read");
            let shown = relation.own_app.get("bootstrap-app").map(String::as_str);
            assert_eq!(shown, chosen, "{case}");
            assert_eq!(
                unit.get("mirror").map(String::as_str),
                chosen.map(|_| "up"),
                "{case}"
            );
            assert_eq!(
                unit.get("bootstrap-app"),
                relation.own_app.get("bootstrap-app")
            );
        }
    }
}

#[test]
fn a_mirror_without_permission_goes_down() {
    let world = world()
        .relation(1, "a")
        .own_unit([("mirror", "up")])
        .expects([]);
    assert_eq!(own_bags(&world, 1).1["mirror"], "down");
}

#[test]
fn an_application_that_must_not_bootstrap_is_guarded_until_tokens_exist() {
    let two = world()
        .relation(1, "a")
        .unit("a/0", [])
        .relation(2, "b")
        .unit("b/0", []);
    assert!(
        !own_bags(&two, 1).1.contains_key(GUARD),
        "never where it must bootstrap"
    );
    let (app, unit) = own_bags(&two, 2);
    assert_eq!(unit[GUARD], GUARD_VALUE);
    assert!(!app.contains_key(GUARD));

    let mut facts = settled(&two);
    let first = facts.relations.get_mut(&RelationId(1)).expect("just made");
    first.units.insert(
        support::unit("a/0"),
        bag([("mirror", "up"), ("mirror-h0", "t")]),
    );
    let (_, unit) = own_bags(&World(facts), 2);
    assert!(!unit.contains_key(GUARD), "the token itself guards now");
    assert_eq!(unit["mirror-h0"], "t");
}

#[test]
fn the_status_says_whether_to_wait_or_to_act() {
    let host = || world().relation(1, "a").unit("a/0", [("hostname", "h0")]);
    for (world, text) in [
        (world(), "active no microcluster related"),
        (world().configured("b"), "active no microcluster related"),
        (
            world().log_level("loud"),
            "blocked config log-level: \"loud\" is none of trace, debug, info, warning, error, critical",
        ),
        (world().log_level("INFO"), "active no microcluster related"),
        (world().relation(1, "a"), "active 0 hosts"),
        (host(), "waiting 1 of 1 host waiting for a join token"),
        (host().own_app([("mirror-h0", "t")]), "active 1 host"),
        (
            host().own_app([
                ("mirror-h0", "t"),
                ("mirror-note", "text"),
                ("mirror-_x", "y"),
            ]),
            "active 2 hosts",
        ),
        (
            host().configured("b"),
            "blocked config bootstrap-app: b is not related; relate it or set another",
        ),
        (
            world()
                .relation(1, CROSS_MODEL)
                .unit(&format!("{CROSS_MODEL}/0"), []),
            "blocked config bootstrap-app: set it to the name that the application related across \
             models has in its own model",
        ),
        (
            world()
                .relation(1, CROSS_MODEL)
                .unit(&format!("{CROSS_MODEL}/0"), [])
                .configured("a"),
            "active 0 hosts",
        ),
    ] {
        assert_eq!(status(&world), text);
        let again = reconcile(&settled(&world));
        assert!(again.is_idle(), "{text}: {again:?}");
    }
}

#[test]
fn a_part_of_the_world_suffices_only_where_nothing_hangs_on_the_rest() {
    fn event<const N: usize>(pairs: [(&str, &str); N]) -> World {
        world().relation(1, "a").own_app(pairs)
    }
    for (case, world, needs_whole) in [
        ("nobody may bootstrap yet", event([("x", "y")]), true),
        ("settled", event([("bootstrap-app", "a")]), false),
        ("settled on another", event([("bootstrap-app", "b")]), false),
        (
            "a waiting host departs",
            event([("bootstrap-app", "b")])
                .own_app([("bootstrap-app", "b"), ("mirror-h0", "empty")])
                .departed("a/0", [("hostname", "h0")]),
            true,
        ),
        (
            "a waiting host takes another name",
            event([
                ("bootstrap-app", "b"),
                ("mirror-h0", "empty"),
                ("hosts", r#"{"h0":"a/0"}"#),
            ])
            .unit("a/0", [("hostname", "h1")]),
            true,
        ),
        (
            "a member takes another name",
            event([
                ("bootstrap-app", "b"),
                ("mirror-h0", "t"),
                ("hosts", r#"{"h0":"a/0"}"#),
            ])
            .unit("a/0", [("hostname", "h1")]),
            false,
        ),
        (
            "a member departs",
            event([("bootstrap-app", "b")])
                .own_app([("bootstrap-app", "b"), ("mirror-h0", "t")])
                .departed("a/0", [("hostname", "h0")]),
            false,
        ),
        (
            "the bootstrap application shrinks before its cluster",
            event([("bootstrap-app", "a")]).departed("a/0", []),
            true,
        ),
        (
            "the last to tell of a cluster departs",
            event([("bootstrap-app", "b")]).departed("a/0", [("mirror-h0", "empty")]),
            true,
        ),
        (
            "another application shrinks before the cluster",
            event([("bootstrap-app", "b")]).departed("a/0", []),
            false,
        ),
        (
            "the bootstrap application shrinks later",
            event([("bootstrap-app", "a"), ("mirror-h0", "t")]).departed("a/0", []),
            false,
        ),
        (
            "the communicator departs while nobody waits",
            event([("bootstrap-app", "b"), ("mirror-h0", "t")])
                .departed("a/0", [("hostname", "h0"), ("mirror", "up")]),
            false,
        ),
        (
            "a member departs while hosts wait",
            event([("bootstrap-app", "b")])
                .own_app([
                    ("bootstrap-app", "b"),
                    ("mirror-h1", "empty"),
                    ("mirror-h0", "t"),
                ])
                .departed("a/0", [("hostname", "h0")]),
            false,
        ),
        (
            "the communicator departs while hosts wait",
            event([("bootstrap-app", "b")])
                .own_app([
                    ("bootstrap-app", "b"),
                    ("mirror-h1", "empty"),
                    ("mirror-h0", "t"),
                ])
                .departed("a/0", [("hostname", "h0"), ("mirror", "up")]),
            true,
        ),
    ] {
        assert_eq!(
            reconcile(&world.part().0).needs_whole,
            needs_whole,
            "{case}"
        );
    }
}

#[test]
fn news_for_a_relation_that_has_heard_of_the_choice_needs_no_look_at_everything() {
    let chosen = [("bootstrap-app", "a")];
    let mut facts = world()
        .relation(2, "b")
        .own_app(chosen)
        .relation(1, "a")
        .own_app(chosen)
        .unit("a/0", [("hostname", "h0")])
        .part()
        .0;
    let other = facts.relations.get_mut(&RelationId(2)).expect("just made");
    other.remote_app = None;
    let plan = reconcile(&facts);
    assert!(plan.writes.len() == 2 && !plan.needs_whole);
}

#[test]
fn values_are_opaque() {
    for value in [
        "null",
        "yes",
        "1e3",
        "\u{0}\u{7f}\u{85}\u{2028}",
        "😀",
        " ",
        "emptY",
        "empty ",
    ] {
        let world = world()
            .relation(1, "a")
            .unit("a/0", [("mirror", "up"), ("mirror-k", value)]);
        assert_eq!(mirrored(&world, "mirror-k").as_deref(), Some(value));
    }
}

#[test]
fn a_part_of_the_world_never_lifts_a_guard_it_cannot_judge() {
    let whole = world()
        .relation(1, CROSS_MODEL)
        .unit(&format!("{CROSS_MODEL}/0"), [("hostname", "h9")])
        .relation(2, "a")
        .unit("a/0", [("hostname", "h0")])
        .own_app([("bootstrap-app", "a")]);
    let guarded = settled(&whole);
    let own_unit = |facts: &Snapshot| facts.relations[&RelationId(1)].own_unit.clone();
    assert!(own_unit(&guarded).is_some_and(|bag| bag.contains_key(GUARD)));

    let mut part = guarded.clone();
    part.scope = Scope::Part;
    let other = part.relations.get_mut(&RelationId(2)).expect("just made");
    (other.remote_app, other.units) = (None, Default::default());
    assert_eq!(
        own_unit(&after(&part, &reconcile(&part))),
        own_unit(&guarded)
    );
}

#[test]
fn the_first_to_come_makes_us_look_whether_the_chosen_application_is_still_there() {
    for (case, hosts, unit, needs_whole) in [
        ("nobody is known", "{}", "b/0", true),
        ("the chosen one's own unit", "{}", "a/0", false),
        ("others are known", r#"{"h1":"b/1"}"#, "b/0", false),
    ] {
        let world = world()
            .relation(1, unit.split('/').next().expect("an application"))
            .unit(unit, [("hostname", "h0")])
            .own_app([("bootstrap-app", "a"), ("hosts", hosts)])
            .part();
        assert_eq!(reconcile(&world.0).needs_whole, needs_whole, "{case}");
    }
}

#[test]
fn a_problem_is_remembered_at_once_and_found_only_once() {
    let world = world()
        .relation(1, "a")
        .own_app([("bootstrap-app", "a"), ("hosts", r#"{"h1":"a/1"}"#)])
        .unit("a/0", [("hostname", "42")])
        .part();
    let plan = reconcile(&world.0);
    assert!(!plan.is_idle() && plan.overview.problems.len() == 1);
    let again = reconcile(&after(&world.0, &plan));
    assert!(again.is_idle(), "{again:?}");
}

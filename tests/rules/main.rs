//! The rules of what the leader and a standby write, one test for each, as tables where there are
//! cases. Each compares all that is written.

#[path = "../support/mod.rs"]
mod support;
mod turns;

use std::collections::BTreeMap;

use microcluster_token_distributor::core::evidence::{Evidence, OwnBag};
use microcluster_token_distributor::core::fingerprint::fingerprint;
use microcluster_token_distributor::core::learn::{self, Learned};
use microcluster_token_distributor::core::ledger::Ledger;
use microcluster_token_distributor::core::names::RelationId;
use microcluster_token_distributor::core::nudge::nudge;
use microcluster_token_distributor::core::operator::{self, Force, Refused};
use microcluster_token_distributor::core::plan;
use microcluster_token_distributor::core::queue::Moment;
use microcluster_token_distributor::core::room::{CAPACITY, MOST_KEYS, Size};
use microcluster_token_distributor::core::turn::{self, Facts, Occasion, Turn};
use microcluster_token_distributor::core::wire::{GUARD, MIRROR_PREFIX};
use support::{Pairs, bag, leader, ledger, shown, unit, world, written};

const CROSS_MODEL: &str = "remote-0123456789abcdef0123456789abcdef";

/// A ledger of one relation with application `a`, which may bootstrap.
const SETTLED: Pairs<'_> = &[
    ("bootstrap-app", "a"),
    ("leader", "d/0 1"),
    ("relation-1", "a"),
];

fn settled(pairs: Pairs<'_>) -> Ledger {
    ledger(&[SETTLED, pairs].concat())
}

/// What learning changes of a ledger.
fn learned(before: &Ledger, learned: &Learned) -> String {
    shown(&learned.ledger.changes_since(before))
}

/// What is written when one unit is heard.
fn event(before: &Ledger, name: &str, pairs: Pairs<'_>) -> Vec<String> {
    let learned = learn::unit(before, &unit(name), &bag(pairs));
    written(&plan::of(before, learned, None, &Moment::default()))
}

/// What update-status writes where nothing else is to be looked at.
fn update_status(before: &Ledger) -> Vec<String> {
    let evidence = Evidence {
        leads: Some(true),
        goal: Some(None),
        options: Some(before.options.clone()),
        joined: Some(BTreeMap::new()),
        ..Evidence::default()
    };
    match turn::turn(&Facts {
        ledger: before,
        unit: &leader(),
        occasion: &Occasion::UpdateStatus,
        evidence: &evidence,
    }) {
        Turn::Write(plan) => written(&plan),
        other => panic!("{other:?}"),
    }
}

// Section 1.

#[test]
fn spec_1_keys_that_are_not_of_this_charm_stay_in_its_bags() {
    let world = world()
        .relation(1, "a")
        .expects(&["a/0"])
        .own_app(&[
            ("bootstrap-app", "a"),
            ("may-bootstrap", "true"),
            ("operators", "note"),
            ("protocol", "2"),
        ])
        .own_unit(&[("ingress-address", "10.0.0.5"), ("mirror", "up")]);
    assert_eq!(written(&world.plan(&settled(&[]))), [""; 0]);
    let other: Pairs<'_> = &[("leader", "d/0 1"), ("bootstrap-app", "a")];
    let own: Pairs<'_> = &[("ingress-address", "10.0.0.5"), ("mirror-h", "T")];
    assert_eq!(
        stands_by(other, &[(1, "a", None, own)]),
        ["1: mirror-h-"],
        "a standby's"
    );
}

// Section 2.

#[test]
fn spec_2_a_fresh_relation_gets_everything_in_one_commit() {
    let world = world()
        .relation(1, "a")
        .unit(
            "a/0",
            &[("hostname", "h0"), ("ingress-address", "10.0.0.5")],
        )
        .unit("a/1", &[("hostname", "h1")]);
    assert_eq!(
        written(&world.plan(&Ledger::default())),
        [
            "1 app: bootstrap-app=a may-bootstrap=true protocol=2",
            "1 unit: mirror=up mirror-h0=empty mirror-h1=empty",
            "ledger: bootstrap-app=a host-h0=a/0 host-h1=a/1 leader=d/0 1 mirror-h0=empty \
             mirror-h1=empty relation-1=a",
        ]
    );
}

#[test]
fn spec_2_what_the_bags_show_is_the_difference_of_two_ledgers() {
    let before = settled(&[("relation-2", "b"), ("relation-3", "c -")]);
    assert_eq!(
        event(&before, "a/0", &[("hostname", "h0")]),
        [
            "1 unit: mirror-h0=empty",
            "2 unit: mirror-h0=empty",
            "ledger: host-h0=a/0 mirror-h0=empty",
        ]
    );
}

#[test]
fn spec_2_a_ledger_whose_relations_are_all_gone_is_emptied_when_another_is_published_to() {
    let before = settled(&[
        ("mirror-h0", "token"),
        ("host-h0", "a/0"),
        ("nudge", "1 1 1 0"),
        ("leader", "d/0 7"),
    ]);
    let anew = || world().relation(4, "a").expects(&["a/0"]);
    for (case, world, keeps) in [
        ("made anew", anew(), false),
        ("nothing to publish to", world(), true),
        ("one is still there", anew().relation(1, "a"), true),
        ("one is passed over", anew().passed_over(1, "a"), true),
    ] {
        let after = world.plan(&before).ledger.to_databag();
        assert_eq!(after.contains_key("mirror-h0"), keeps, "{case}");
        assert_eq!(after["nudge"], "1 1 1 0", "{case}: a counter goes on");
        assert_eq!(after["leader"], "d/0 7", "{case}: so does the other");
    }
}

#[test]
fn spec_2_a_relation_that_is_not_served_is_marked() {
    let before = settled(&[("relation-2", "b")]);
    let relation = || {
        world()
            .relation(1, "a")
            .expects(&["a/0"])
            .own_app(&[
                ("bootstrap-app", "a"),
                ("may-bootstrap", "true"),
                ("protocol", "2"),
            ])
            .own_unit(&[("mirror", "up")])
    };
    for (case, world) in [
        ("broken or suspended", relation()),
        ("passed over", relation().passed_over(2, "b")),
    ] {
        assert_eq!(
            written(&world.plan(&before)),
            ["ledger: relation-2=b -"],
            "{case}"
        );
    }
}

#[test]
fn spec_2_another_leader_signs_with_a_number_that_grows() {
    let before = ledger(&[("leader", "d/1 7")]);
    assert_eq!(written(&world().plan(&before)), ["ledger: leader=d/0 8"]);
}

#[test]
fn spec_2_what_the_python_charm_published_is_learned_in_one_commit() {
    let python: Pairs<'_> = &[
        ("mirror", "up"),
        ("mirror-h0", "T0"),
        ("mirror-h1", "empty"),
    ];
    let app: Pairs<'_> = &[("bootstrap-app", "z")];
    let relation = || {
        world()
            .relation(1, "a")
            .own_app(app)
            .unit("a/0", &[("hostname", "h0")])
            .unit("a/1", &[("hostname", "h1")])
    };
    let in_the_ledger = "ledger: bootstrap-app=z host-h0=a/0 host-h1=a/1 leader=d/0 1 mirror-h0=T0 \
                         mirror-h1=empty relation-1=a";
    let in_the_application_bag = "1 app: may-bootstrap=false protocol=2";
    assert_eq!(
        written(&relation().own_unit(python).plan(&Ledger::default())),
        [in_the_application_bag, in_the_ledger],
        "on this unit"
    );
    assert_eq!(
        written(&relation().sibling("d/7", python).plan(&Ledger::default())),
        [
            in_the_application_bag,
            "1 unit: mirror=up mirror-h0=T0 mirror-h1=empty",
            in_the_ledger,
        ],
        "on a leader that is gone"
    );
}

#[test]
fn spec_2_after_a_return_real_values_come_before_placeholders() {
    let before = settled(&[("mirror-h0", "empty"), ("host-h0", "a/0")]);
    let world = world()
        .relation(1, "a")
        .unit("a/0", &[("hostname", "h0")])
        .own_app(&[
            ("bootstrap-app", "a"),
            ("may-bootstrap", "true"),
            ("protocol", "2"),
        ])
        .own_unit(&[("mirror", "up"), ("mirror-h0", "minted by python")]);
    assert_eq!(
        written(&world.plan(&before)),
        [
            "1 app: may-bootstrap=false",
            "ledger: mirror-h0=minted by python"
        ]
    );
}

// Section 3.

#[test]
fn spec_3_1_only_keys_with_the_exact_prefix_are_copied() {
    let offered: Pairs<'_> = &[
        ("mirror", "up"),
        ("mirror-h0", "t"),
        ("mirror-", "bare"),
        ("mirror_x", "t"),
        ("xmirror-y", "t"),
        (GUARD, "t"),
    ];
    assert_eq!(
        event(&settled(&[]), "a/0", offered),
        [
            "1 app: may-bootstrap=false",
            "1 unit: mirror-=bare mirror-h0=t",
            "ledger: communicators=a/0 mirror-=bare mirror-h0=t",
        ]
    );
}

#[test]
fn spec_3_2_only_a_unit_that_says_exactly_up_is_copied() {
    for (mirror, copied) in [("up", true), ("down", false), ("Up", false), ("up ", false)] {
        let writes = event(
            &settled(&[]),
            "a/0",
            &[("mirror", mirror), ("mirror-k", "t")],
        );
        let expected: &[&str] = match copied {
            true => &[
                "1 app: may-bootstrap=false",
                "1 unit: mirror-k=t",
                "ledger: communicators=a/0 mirror-k=t",
            ],
            false => &[],
        };
        assert_eq!(writes, expected, "{mirror:?}");
    }
    assert!(
        event(&settled(&[]), "a/0", &[("mirror-k", "t")]).is_empty(),
        "no mirror at all"
    );
}

#[test]
fn spec_3_2_a_consumers_empty_makes_a_placeholder_and_replaces_nothing() {
    let up = ("mirror", "up");
    let known = ("communicators", "a/0");
    for (held, written) in [
        (
            None,
            vec!["1 unit: mirror-k=empty", "ledger: mirror-k=empty"],
        ),
        (Some("T"), vec![]),
        (Some("member"), vec![]),
    ] {
        let mut pairs = vec![known];
        pairs.extend(held.map(|value| ("mirror-k", value)));
        assert_eq!(
            event(&settled(&pairs), "a/0", &[up, ("mirror-k", "empty")]),
            written,
            "{held:?}"
        );
    }
    let asks = bag(&[up, ("mirror-k", "empty")]);
    let now = learn::unit(&settled(&[known]), &unit("a/0"), &asks);
    let notes: Vec<_> = now.notes.iter().map(|note| note.text.as_str()).collect();
    assert_eq!(notes, ["mirror-k: placeholder for a/0"]);
}

#[test]
fn spec_3_2_values_are_opaque() {
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
        let offer = [("mirror", "up"), ("mirror-k", value)];
        let learned = learn::unit(&settled(&[]), &unit("a/0"), &bag(&offer));
        assert_eq!(learned.ledger.to_databag()["mirror-k"], value);
    }
}

#[test]
fn spec_3_3_a_name_has_the_value_that_its_claims_ask_for() {
    let h = ("hostname", "h");
    for (case, before, name, says, changes, asks) in [
        (
            "announced",
            vec![],
            "a/0",
            vec![h],
            "host-h=a/0 mirror-h=empty",
            false,
        ),
        (
            "its mirror is down",
            vec![],
            "a/0",
            vec![h, ("mirror", "down")],
            "host-h=a/0* mirror-h=member",
            false,
        ),
        (
            "its mirror is up, whatever it offers for itself",
            vec![],
            "a/0",
            vec![h, ("mirror", "up"), ("mirror-h", "T")],
            "communicators=a/0 host-h=a/0* mirror-h=member",
            false,
        ),
        (
            "in place of a placeholder",
            vec![("mirror-h", "empty"), ("host-h", "a/0")],
            "a/0",
            vec![h, ("mirror", "down")],
            "host-h=a/0* mirror-h=member",
            false,
        ),
        (
            "a used token stays for now",
            vec![("mirror-h", "T"), ("host-h", "a/0")],
            "a/0",
            vec![h, ("mirror", "down")],
            "host-h=a/0*",
            false,
        ),
        (
            "once a member, always",
            vec![("mirror-h", "member"), ("host-h", "a/0*")],
            "a/0",
            vec![h],
            "",
            false,
        ),
        (
            "one name for each unit",
            vec![("mirror-g", "empty"), ("host-g", "a/0")],
            "a/0",
            vec![h],
            "host-g- host-h=a/0 mirror-g- mirror-h=empty",
            false,
        ),
        (
            "another beside the member",
            vec![("mirror-h", "member"), ("host-h", "a/0*")],
            "a/1",
            vec![h],
            "host-h=a/0* a/1",
            false,
        ),
        (
            "another where no member is left",
            vec![("mirror-h", "member")],
            "a/1",
            vec![h],
            "host-h=a/1 mirror-h=empty",
            true,
        ),
        (
            "another after one that was retired",
            vec![("mirror-h", "retired")],
            "a/1",
            vec![h],
            "host-h=a/1 mirror-h=empty",
            true,
        ),
    ] {
        let before = settled(&before);
        let learned_now = learn::unit(&before, &unit(name), &bag(&says));
        assert_eq!(learned(&before, &learned_now), changes, "{case}");
        // A bag that was read before may hold its token.
        assert_eq!(learned_now.asks_for_everything, asks, "{case}");
    }
}

#[test]
fn spec_3_3_a_used_token_goes_at_update_status_and_with_no_other_write() {
    let before = settled(&[
        ("mirror-h", "T"),
        ("host-h", "a/0*"),
        ("spent-h", "00000000"),
    ]);
    assert!(event(&before, "a/0", &[("hostname", "h")]).is_empty());
    assert_eq!(
        event(&before, "a/1", &[("hostname", "i")]),
        [
            "1 unit: mirror-i=empty",
            "ledger: host-i=a/1 mirror-i=empty",
        ]
    );
    let new_relation = world()
        .relation(1, "a")
        .unit("a/0", &[("hostname", "h"), ("member", "h")])
        .relation(2, "b");
    let shown = new_relation.plan(&before).ledger.to_databag();
    assert_eq!((&*shown["mirror-h"], &*shown["relation-2"]), ("T", "b"));
    assert_eq!(
        update_status(&before),
        [
            "1 unit: mirror-h=member spent-h-",
            "ledger: mirror-h=member spent-h-"
        ]
    );
}

#[test]
fn spec_3_4_a_refused_host_name_is_noted_and_gets_no_placeholder() {
    for name in ["--help", "node_1", "42", "a..b", "a\nb", "é"] {
        let before = settled(&[]);
        let learned = learn::unit(&before, &unit("a/0"), &bag(&[("hostname", name)]));
        let plan = plan::of(&before, learned, None, &Moment::default());
        assert_eq!(written(&plan), [format!("ledger: host-{name}=a/0")]);
        assert!(
            plan.clone()
                .applied(&[])
                .status()
                .to_string()
                .starts_with("blocked: host name ")
        );
        assert!(
            plan.notes.iter().any(|note| note.text.contains("a/0")),
            "{name:?}"
        );
    }
}

#[test]
fn spec_3_4_a_refused_host_name_takes_no_token_so_nothing_is_looked_for() {
    let before = settled(&[("mirror-a_b", "retired"), ("host-a_b", "a/0")]);
    let again = learn::unit(&before, &unit("a/0"), &bag(&[("hostname", "a_b")]));
    assert_eq!(learned(&before, &again), "");
    assert!(!again.asks_for_everything);
}

#[test]
fn spec_3_5_a_real_value_is_never_overwritten_emptied_or_removed() {
    let host = ("host-h", "a/1");
    for (case, held, offered, changes) in [
        ("nothing held", None, "T", "mirror-h=T"),
        ("the token arrives", Some("empty"), "T", "mirror-h=T"),
        ("a placeholder comes late", Some("T"), "empty", ""),
        ("another token comes late", Some("T"), "U", ""),
        ("the same again", Some("T"), "T", ""),
        ("the word of this charm", Some("empty"), "retired", ""),
        ("for a member", Some("member"), "T", ""),
    ] {
        let mut pairs = vec![host, ("communicators", "a/0")];
        pairs.extend(held.map(|value| ("mirror-h", value)));
        let before = settled(&pairs);
        let offer = bag(&[("mirror", "up"), ("mirror-h", offered)]);
        let now = learn::unit(&before, &unit("a/0"), &offer);
        assert_eq!(learned(&before, &now), changes, "{case}");
        let notes = now.notes.iter().map(|note| note.text.as_str());
        let differs: Vec<&str> = notes.filter(|note| note.contains(" offers ")).collect();
        let expected = match case {
            "another token comes late" => {
                vec!["a/0 offers 1 other value than the mirror holds; the first to come stays"]
            }
            _ => vec![],
        };
        assert_eq!(differs, expected, "{case}");
    }
}

#[test]
fn spec_3_5_a_real_value_of_the_python_charm_stays_until_the_ledgers_changes() {
    let bags = |world: support::Builder| {
        world
            .own_app(&[
                ("bootstrap-app", "a"),
                ("may-bootstrap", "false"),
                ("protocol", "2"),
            ])
            .own_unit(&[("mirror", "up"), ("mirror-h", "other")])
    };
    let before = settled(&[("mirror-h", "T"), ("host-h", "a/0")]);
    let waits = bags(world().relation(1, "a")).unit("a/0", &[("hostname", "h")]);
    assert_eq!(written(&waits.plan(&before)), [""; 0]);
    let refused = fingerprint("T");
    let refuses = bags(world().relation(1, "a"))
        .unit("a/0", &[("hostname", "h"), ("refused", &refused)])
        .unit("a/1", &[("mirror", "up"), ("mirror-h", "U")]);
    assert_eq!(
        written(&refuses.plan(&before)),
        [
            format!("1 unit: mirror-h=U spent-h={refused}"),
            format!("ledger: communicators=a/1 let-in=h 0 mirror-h=U spent-h={refused}"),
        ]
    );
    let joins = bags(world().relation(1, "a"))
        .unit("a/0", &[("hostname", "h"), ("member", "h")])
        .unit("a/1", &[("hostname", "i")]);
    assert_eq!(
        written(&joins.plan(&before)),
        [
            "1 unit: mirror-i=empty",
            "ledger: host-h=a/0* host-i=a/1 mirror-i=empty",
        ]
    );
}

#[test]
fn spec_3_5_each_bag_of_the_python_charm_keeps_its_own_value_of_a_host() {
    let shows = |id, value| {
        world()
            .relation(1, "a")
            .own_unit(&[("mirror", "up"), ("mirror-h", "T")])
            .relation(id, "b")
            .own_unit(&[("mirror", "up"), ("mirror-h", value)])
            .unit("b/0", &[("hostname", "h")])
    };
    let own_units = |value| {
        let lines = written(&shows(2, value).plan(&Ledger::default()));
        let lines = lines.into_iter().filter(|line| line.contains(" unit: "));
        lines.collect::<Vec<_>>()
    };
    assert_eq!(own_units("U"), [""; 0], "another token");
    assert_eq!(own_units("empty"), ["2 unit: mirror-h=T"], "a placeholder");
}

#[test]
fn second_2_a_leader_that_comes_back_does_not_keep_a_token_that_was_refused_meanwhile() {
    let spent = fingerprint("refused");
    let before = settled(&[
        ("mirror-h", "T"),
        ("host-h", "a/0"),
        ("spent-h", &spent),
        ("leader", "d/1 2"),
    ]);
    let world = world()
        .relation(1, "a")
        .own_unit(&[("mirror", "up"), ("mirror-h", "refused")])
        .unit("a/0", &[("hostname", "h")]);
    assert!(written(&world.plan(&before)).contains(&format!("1 unit: mirror-h=T spent-h={spent}")));
}

#[test]
fn spec_3_5_a_relation_that_was_passed_over_shows_the_ledger_again() {
    let before = settled(&[("mirror-h", "T"), ("host-h", "a/0"), ("relation-1", "a -")]);
    let world = world()
        .relation(1, "a")
        .own_app(&[
            ("bootstrap-app", "a"),
            ("may-bootstrap", "false"),
            ("protocol", "2"),
        ])
        .own_unit(&[("mirror", "up"), ("mirror-h", "once in the ledger")])
        .unit("a/0", &[("hostname", "h")]);
    assert_eq!(
        written(&world.plan(&before)),
        ["1 unit: mirror-h=T", "ledger: relation-1=a"]
    );
}

#[test]
fn spec_3_6_a_departed_unit_takes_its_claim_and_the_last_its_placeholder() {
    let refused = fingerprint("T");
    for (case, before, name, changes) in [
        (
            "it waits",
            vec![("mirror-h", "empty"), ("host-h", "a/0")],
            "a/0",
            "host-h- mirror-h-",
        ),
        (
            "another waits",
            vec![("mirror-h", "empty"), ("host-h", "a/0 a/1")],
            "a/0",
            "host-h=a/1",
        ),
        (
            "it has a token",
            vec![("mirror-h", "T"), ("host-h", "a/0")],
            "a/0",
            "host-h=a/0-",
        ),
        (
            "a second has",
            vec![("mirror-h", "T"), ("host-h", "a/0 a/1")],
            "a/1",
            "host-h=a/0",
        ),
        (
            "its token was refused",
            vec![("mirror-h", "T"), ("host-h", "a/0"), ("spent-h", &refused)],
            "a/0",
            "host-h- spent-h-",
        ),
        (
            "it was a member",
            vec![("mirror-h", "member"), ("host-h", "a/0*")],
            "a/0",
            "host-h-",
        ),
        (
            "its token is used",
            vec![("mirror-h", "T"), ("host-h", "a/0*"), ("spent-h", "1")],
            "a/0",
            "host-h- mirror-h=member spent-h-",
        ),
        (
            "a member leaves its name to another",
            vec![("mirror-h", "member"), ("host-h", "a/0* a/1")],
            "a/0",
            "host-h=a/1 mirror-h=empty",
        ),
        (
            "the communicator",
            vec![("communicators", "a/0 a/1")],
            "a/0",
            "communicators=a/1",
        ),
        (
            "a stranger",
            vec![("mirror-h", "empty"), ("host-h", "a/0")],
            "a/9",
            "",
        ),
    ] {
        let before = settled(&before);
        let now = learn::departure(&before, &unit(name), &bag(&[]));
        assert_eq!(learned(&before, &now), changes, "{case}");
    }
}

#[test]
fn spec_3_6_a_whole_application_that_goal_state_leaves_out_is_unknown() {
    let units = |names: &[&str]| Some(names.iter().map(|name| unit(name)).collect());
    for (case, expected, joined, gone) in [
        (
            "others are listed and not it",
            &["a/1"][..],
            Some(&["a/0", "a/1"][..]),
            true,
        ),
        ("it is listed", &["a/0"], Some(&[]), false),
        (
            "none is listed, and it has joined",
            &[],
            Some(&["a/0"]),
            false,
        ),
        (
            "none is listed, and it has not joined",
            &[],
            Some(&["a/1"]),
            true,
        ),
        ("nothing is known", &[], None, false),
    ] {
        let mut world = world().relation(1, "a").0;
        let relation = world.relations.get_mut(&RelationId(1)).expect("made");
        relation.expected = units(expected).filter(|_| !expected.is_empty());
        relation.joined = joined.and_then(units);
        assert_eq!(world.is_gone(&unit("a/0")), gone, "{case}");
    }
}

#[test]
fn spec_3_6_a_first_claimant_that_comes_back_is_gone_no_more() {
    let before = settled(&[("mirror-h", "T"), ("host-h", "a/0")]);
    let left = learn::departure(&before, &unit("a/0"), &bag(&[])).ledger;
    assert_eq!(shown(&left.changes_since(&before)), "host-h=a/0-");
    let back = learn::unit(&left, &unit("a/0"), &bag(&[("hostname", "h")])).ledger;
    assert_eq!(back, before);
}

#[test]
fn spec_3_6_tokens_of_a_departed_communicator_that_no_unit_has_read_are_learned() {
    let before = settled(&[("mirror-h", "empty"), ("host-h", "a/1")]);
    let left = learn::departure(
        &before,
        &unit("a/0"),
        &bag(&[("mirror", "up"), ("mirror-h", "T")]),
    );
    assert_eq!(learned(&before, &left), "mirror-h=T");
}

#[test]
fn spec_3_6_a_first_claimant_that_is_gone_stays_until_the_member_of_its_name_is_known() {
    let before = settled(&[("mirror-h", "T"), ("host-h", "a/0 a/1")]);
    let shows: Pairs<'_> = &[("mirror", "up"), ("mirror-h", "T")];
    let relation = |says: Pairs<'_>| {
        world()
            .relation(1, "a")
            .expects(&["a/1"])
            .own_app(&[
                ("bootstrap-app", "a"),
                ("may-bootstrap", "false"),
                ("protocol", "2"),
            ])
            .own_unit(shows)
            .unit("a/1", says)
    };
    let waits = relation(&[("hostname", "h")]);
    assert_eq!(written(&waits.plan(&before)), ["ledger: host-h=a/0- a/1"]);
    let joined: Pairs<'_> = &[("hostname", "h"), ("member", "h")];
    assert_eq!(
        written(&relation(joined).plan(&before)),
        ["ledger: host-h=a/1*"]
    );
    let heard = learn::unit(&before, &unit("a/1"), &bag(joined));
    assert!(
        heard.asks_for_everything,
        "an event cannot know who is gone"
    );
}

#[test]
fn spec_3_7_what_no_longer_fits_is_left_out_and_said() {
    let rest: usize =
        Size::of(&settled(&[]).to_databag()).bytes + [MIRROR_PREFIX, "x"].concat().len();
    for (free, fits) in [
        (0, false),
        ("mirror-yT".len() - 1, false),
        ("mirror-yT".len(), true),
    ] {
        let value = "x".repeat(CAPACITY - 1 - rest - free - "communicatorsa/0".len());
        let before = settled(&[("mirror-x", &value), ("communicators", "a/0")]);
        let offer = bag(&[("mirror", "up"), ("mirror-y", "T")]);
        let learned_now = learn::unit(&before, &unit("a/0"), &offer);
        let changes = learned(&before, &learned_now);
        assert_eq!(
            changes,
            if fits {
                "mirror-y=T"
            } else {
                "left-out=mirror-y"
            },
            "{free}"
        );
        let plan = plan::of(&before, learned_now, None, &Moment::default());
        let status = plan.clone().applied(&[]).status().to_string();
        assert_eq!(status.starts_with("blocked: databag full: mirror-y"), !fits);
    }
}

#[test]
fn spec_3_7_a_bag_has_at_most_ten_thousand_keys() {
    let mut offer = bag(&[("mirror", "up")]);
    offer.extend((0..MOST_KEYS).map(|number| (format!("mirror-{number:05}"), "T".to_owned())));
    let learned = learn::unit(&settled(&[]), &unit("a/0"), &offer).ledger;
    // What was left out has room beyond.
    assert_eq!(Size::of(&learned.to_databag()).keys, MOST_KEYS);
    assert_eq!(learned.left_out.as_deref(), Some("mirror-09995"));
    assert!(learned.mirror.contains_key("09994"));
}

#[test]
fn spec_3_7_a_host_that_is_noted_gets_its_token_where_no_further_key_has_room() {
    let keys: Vec<String> = (0..MOST_KEYS)
        .map(|number| format!("mirror-h{number}"))
        .collect();
    let pairs: Vec<_> = keys.iter().map(|key| (key.as_str(), "empty")).collect();
    let before = settled(&pairs);
    let offer = bag(&[("mirror", "up"), ("mirror-h7", "T"), ("mirror-new", "T")]);
    let learned_now = learn::unit(&before, &unit("a/0"), &offer);
    assert_eq!(
        learned(&before, &learned_now),
        "communicators=a/0 left-out=mirror-new mirror-h7=T"
    );
}

#[test]
fn spec_3_7_what_is_said_of_a_host_and_of_its_tokens_needs_room_too() {
    let (t, u) = (fingerprint("T"), fingerprint("U"));
    let has_token: Pairs<'_> = &[("mirror-h", "T"), ("host-h", "a/1")];
    for (case, held, says, key, bytes) in [
        (
            "who announces it",
            &[][..],
            vec![("hostname", "h")],
            "host-h",
            "host-ha/1 +!*".len(),
        ),
        (
            "which token is refused",
            has_token,
            vec![("hostname", "h"), ("refused", &t)],
            "spent-h",
            "spent-h 01234567".len(),
        ),
        (
            "that another would be",
            has_token,
            vec![("hostname", "h"), ("refused", &u)],
            "refused-h",
            "refused-ha/1: 01234567".len(),
        ),
    ] {
        let rest = Size::of(&settled(&[held, &[("mirror-x", "")]].concat()).to_databag()).bytes;
        for (free, fits) in [(bytes - 1, false), (bytes, true)] {
            let value = "x".repeat(CAPACITY - 1 - rest - free);
            let before = settled(&[held, &[("mirror-x", &value)]].concat());
            let learned = learn::unit(&before, &unit("a/1"), &bag(&says)).ledger;
            assert_eq!(learned.to_databag().contains_key(key), fits, "{case}");
            let left_out = learned.left_out.as_deref();
            assert_eq!(left_out == Some(key), !fits, "{case}");
        }
    }
}

#[test]
fn spec_3_7_each_unit_bag_has_room_of_its_own() {
    let own = |more: Pairs<'_>, bytes: usize| {
        let mut own = bag(&[&[("mirror", "up"), ("mirror-x", "")], more].concat());
        let fill = bytes - Size::of(&own).bytes;
        own.insert("mirror-x".to_owned(), "x".repeat(fill));
        own
    };
    let with_keys = |keys: usize| {
        let mut own = bag(&[("mirror", "up"), ("mirror-a", "empty"), ("mirror-x", "T")]);
        let others = (own.len()..keys).map(|number| (format!("x{number}"), "x".to_owned()));
        own.extend(others);
        own
    };
    let key = "mirror-hempty".len();
    let goes: Pairs<'_> = &[("mirror-a", "empty")];
    for (case, own, fits) in [
        ("too few bytes", own(&[], CAPACITY - key), false),
        ("enough bytes", own(&[], CAPACITY - 1 - key), true),
        (
            "what goes makes too little room",
            own(goes, CAPACITY),
            false,
        ),
        ("what goes makes enough room", own(goes, CAPACITY - 1), true),
        ("too many keys", with_keys(MOST_KEYS), false),
        (
            "what goes makes room for a key",
            with_keys(MOST_KEYS - 1),
            true,
        ),
    ] {
        let own: Vec<_> = own.iter().map(|(key, value)| (&**key, &**value)).collect();
        let world = world()
            .relation(1, "a")
            .own_unit(&own)
            .unit("a/0", &[("hostname", "h")]);
        let plan = world.plan(&settled(&[("mirror-x", "T")]));
        let writes = &plan.writes[&RelationId(1)].unit;
        assert_eq!(writes.contains_key("mirror-h"), fits, "{case}");
        let left_out = plan.ledger.left_out.as_deref();
        assert_eq!(left_out == Some("mirror-h"), !fits, "{case}");
    }
}

#[test]
fn spec_3_7_a_look_at_everything_finds_out_anew_what_has_no_room() {
    let before = settled(&[("left-out", "mirror-h")]);
    let world = world()
        .relation(1, "a")
        .expects(&["a/0"])
        .own_app(&[
            ("bootstrap-app", "a"),
            ("may-bootstrap", "true"),
            ("protocol", "2"),
        ])
        .own_unit(&[("mirror", "up")]);
    assert_eq!(written(&world.plan(&before)), ["ledger: left-out-"]);
}

// Section 4.

#[test]
fn spec_4_bootstrap_app_is_the_first_that_applies() {
    let two = || {
        world()
            .relation(9, "a")
            .unit("a/0", &[])
            .relation(10, "b")
            .unit("b/0", &[])
    };
    let chosen: Pairs<'_> = &[("bootstrap-app", "b"), ("relation-10", "b")];
    let gone: Pairs<'_> = &[("bootstrap-app", "gone"), ("relation-9", "a")];
    let with = |more| [gone, &[more]].concat();
    for (case, before, world, app) in [
        ("1 the option", vec![], two().option("b"), Some("b")),
        (
            "1 the option, unrelated",
            chosen.to_vec(),
            two().option("c"),
            Some("c"),
        ),
        ("2 the ledger's", chosen.to_vec(), two(), Some("b")),
        (
            "2 the ledger's, units unknown",
            chosen.to_vec(),
            world().relation(9, "a").unit("a/0", &[]).relation(10, "b"),
            Some("b"),
        ),
        (
            "2 it has no units",
            chosen.to_vec(),
            world()
                .relation(9, "a")
                .unit("a/0", &[])
                .relation(10, "b")
                .expects(&[]),
            Some("a"),
        ),
        ("2 it is not related", gone.to_vec(), two(), Some("a")),
        (
            "2 a value tells of its cluster",
            with(("mirror-h", "T")),
            two(),
            Some("gone"),
        ),
        (
            "2 a placeholder does not",
            with(("mirror-h", "empty")),
            two(),
            Some("a"),
        ),
        (
            "2 a member does",
            with(("host-h", "a/0*")),
            two().unit("a/0", &[("member", "h")]),
            Some("gone"),
        ),
        (
            "2 so does one that has no host name and is still expected",
            with(("host-h_0", "a/0*")),
            world().relation(9, "a").expects(&["a/0"]),
            Some("gone"),
        ),
        (
            "2 a unit that was up does",
            gone.to_vec(),
            two().unit("b/1", &[("mirror", "down")]),
            Some("gone"),
        ),
        (
            "2 a unit with tokens does",
            gone.to_vec(),
            two().unit("b/1", &[("mirror-h", "T")]),
            Some("gone"),
        ),
        (
            "3 a unit is up",
            vec![],
            two().unit("b/1", &[("mirror", "up")]),
            Some("b"),
        ),
        ("4 the lowest number", vec![], two(), Some("a")),
        (
            "4 with a unit",
            vec![],
            world()
                .relation(9, "a")
                .expects(&[])
                .relation(10, "b")
                .expects(&["b/0"]),
            Some("b"),
        ),
        (
            "nobody",
            vec![],
            world().relation(9, "a").expects(&[]),
            None,
        ),
        ("nobody is seen", vec![], world().relation(9, "a"), None),
        (
            "nobody any more",
            chosen.to_vec(),
            world().relation(10, "b").expects(&[]),
            None,
        ),
    ] {
        let plan = world.plan(&ledger(&before));
        assert_eq!(plan.ledger.bootstrap_app.as_deref(), app, "{case}");
        for writes in plan.writes.values() {
            let app = app.map(|app| format!("bootstrap-app={app} "));
            assert_eq!(
                shown(&writes.app).starts_with(app.as_deref().unwrap_or("-")),
                app.is_some(),
                "{case}"
            );
            let unit = format!("{} ", shown(&writes.unit));
            assert_eq!(unit.contains("mirror=up "), app.is_some(), "{case}");
        }
    }
}

#[test]
fn spec_4_a_choice_stays_while_a_former_leaders_mirror_is_up() {
    let before = settled(&[]);
    let world = world()
        .relation(1, "a")
        .expects(&[])
        .own_app(&[
            ("bootstrap-app", "a"),
            ("may-bootstrap", "true"),
            ("protocol", "2"),
        ])
        .own_unit(&[("mirror", "up")])
        .sibling("d/1", &[("mirror", "up")]);
    assert_eq!(written(&world.plan(&before)), [""; 0]);
}

#[test]
fn spec_4_the_guard_is_shown_where_no_application_may_bootstrap_until_a_value_shows_it() {
    let two = |value: Option<&str>| {
        let pairs = value.map(|value| ("mirror-h", value));
        let up = [("mirror", "up")].into_iter().chain(pairs);
        let second = world().relation(1, "a").relation(2, "b").unit("b/0", &[]);
        match value {
            Some(_) => second.unit("b/1", &up.collect::<Vec<_>>()),
            None => second,
        }
    };
    let before = settled(&[]);
    assert_eq!(
        written(&two(None).plan(&before)),
        [
            "1 app: bootstrap-app=a may-bootstrap=true protocol=2",
            "1 unit: mirror=up",
            "2 app: bootstrap-app=a may-bootstrap=false protocol=2",
            "2 unit: mirror=up mirror-_bootstraps-elsewhere=true",
            "ledger: relation-2=b",
        ]
    );
    assert_eq!(
        written(&two(Some("T")).plan(&before))[1..],
        [
            "1 unit: mirror=up mirror-h=T",
            "2 app: bootstrap-app=a may-bootstrap=false protocol=2",
            "2 unit: mirror=up mirror-h=T",
            "ledger: communicators=b/1 mirror-h=T relation-2=b",
        ]
    );
}

#[test]
fn spec_4_the_chosen_application_stays_the_only_one_while_its_relation_is_passed_over() {
    let before = settled(&[("relation-2", CROSS_MODEL), ("other-models", CROSS_MODEL)]);
    let world = world()
        .relation(2, CROSS_MODEL)
        .own_app(&[
            ("bootstrap-app", "a"),
            ("may-bootstrap", "false"),
            ("protocol", "2"),
        ])
        .own_unit(&[("mirror", "up"), (GUARD, "true")])
        .passed_over(1, "a");
    assert_eq!(written(&world.plan(&before)), ["ledger: relation-1=a -"]);
}

fn relations(all: &[(u64, &str, Option<bool>, Pairs<'_>)]) -> BTreeMap<RelationId, OwnBag> {
    let relations = all.iter().map(|(id, app, has_units, own_unit)| {
        let relation = OwnBag {
            app: (*app).to_owned(),
            place: support::place(app),
            has_units: *has_units,
            own_unit: bag(own_unit),
        };
        (RelationId(*id), relation)
    });
    relations.collect()
}

/// What the standby `d/9` writes, by relation.
fn stands_by(before: Pairs<'_>, all: &[(u64, &str, Option<bool>, Pairs<'_>)]) -> Vec<String> {
    let plan = plan::of_standby(&ledger(before), &unit("d/9"), &relations(all));
    let lines = plan
        .writes
        .iter()
        .map(|(id, writes)| format!("{id}: {}", shown(&writes.unit)));
    lines.collect()
}

#[test]
fn spec_4_a_standby_guards_as_the_leader_does_or_will() {
    let yes = Some(true);
    let chosen: Pairs<'_> = &[
        ("leader", "d/0 1"),
        ("bootstrap-app", "a"),
        ("relation-1", "a"),
    ];
    let guards = |id| vec![format!("{id}: {GUARD}=true")];
    for (case, before, all, expected) in [
        (
            "it foresees the choice",
            vec![],
            [(1, "a", yes), (2, "b", yes)],
            guards(2),
        ),
        (
            "no units there",
            vec![],
            [(1, "a", Some(false)), (2, "b", yes)],
            guards(1),
        ),
        (
            "the option",
            vec![("option-bootstrap-app", "b")],
            [(1, "a", yes), (2, "b", yes)],
            guards(1),
        ),
        (
            "another model",
            vec![],
            [(1, CROSS_MODEL, None), (2, "b", yes)],
            vec![],
        ),
        (
            "the leader has chosen",
            chosen.to_vec(),
            [(1, "a", None), (2, "b", None)],
            guards(2),
        ),
        (
            "the leader has not",
            vec![("leader", "d/0 1"), ("relation-1", "a")],
            [(1, "a", None), (2, "b", None)],
            vec![],
        ),
        (
            "a cluster exists",
            [chosen, &[("mirror-h", "T")]].concat(),
            [(1, "a", None), (2, "b", None)],
            [guards(1), guards(2)].concat(),
        ),
    ] {
        let all = all.map(|(id, app, has_units)| (id, app, has_units, &[][..]));
        assert_eq!(stands_by(&before, &all), expected, "{case}");
    }
}

#[test]
fn spec_2_a_standby_that_led_goes_down_once_another_leads_and_keeps_the_guard_alone() {
    let led: Pairs<'_> = &[
        ("mirror", "up"),
        ("mirror-h", "T"),
        ("nudge", "1"),
        ("spent-h", "1"),
    ];
    let other: Pairs<'_> = &[
        ("leader", "d/0 1"),
        ("bootstrap-app", "a"),
        ("mirror-h", "T"),
    ];
    let itself: Pairs<'_> = &[("leader", "d/9 1"), ("bootstrap-app", "a")];
    for (case, before, own, expected) in [
        (
            "another leads",
            other,
            led,
            "1: mirror=down mirror-_bootstraps-elsewhere=true mirror-h- nudge- spent-h-",
        ),
        ("nobody else has published", itself, led, ""),
        ("nobody has", &[], led, ""),
        (
            "it is down",
            other,
            &[("mirror", "down"), (GUARD, "true")],
            "",
        ),
        (
            "it never led",
            other,
            &[(GUARD, "true"), ("mirror-h", "T")],
            "1: mirror-h-",
        ),
    ] {
        let all = [(1, "a", None, own)];
        assert_eq!(stands_by(before, &all).join("; "), expected, "{case}");
    }
}

// Section 6.

#[test]
fn spec_6_the_nudge_comes_at_once_and_then_ever_more_seldom() {
    let waits = settled(&[("mirror-h", "empty"), ("host-h", "a/1")]);
    let refused = fingerprint("T");
    let other = settled(&[("mirror-i", "T"), ("spent-i", &refused), ("host-i", "a/2")]);
    let nobody = settled(&[("mirror-h", "member"), ("mirror-i", "T")]);
    let mut held: Option<String> = None;
    for (case, ledger, minutes, communicator_left, comes) in [
        ("nobody waits", &nobody, 0, true, false),
        ("somebody waits", &waits, 0, false, true),
        ("too early", &waits, 4, false, false),
        ("after five minutes", &waits, 5, false, true),
        ("ten minutes must pass now", &waits, 14, false, false),
        ("the communicator has left", &waits, 14, true, true),
        (
            "others wait: their token was refused",
            &other,
            15,
            false,
            true,
        ),
        ("from the start again", &other, 20, false, true),
    ] {
        let next = nudge(
            held.as_deref(),
            &ledger.waiting(),
            minutes * 60,
            communicator_left,
        );
        assert_eq!(next.is_some(), comes, "{case}");
        assert!(
            next.is_none() || next != held,
            "{case}: a value never comes back"
        );
        held = next.or(held);
    }
}

// The second protocol, the distributor's rules.

#[test]
fn second_1_a_unit_that_says_member_is_the_member_of_that_name() {
    assert_eq!(
        event(&settled(&[]), "a/0", &[("hostname", "g"), ("member", "h")]),
        [
            "1 app: may-bootstrap=false",
            "1 unit: mirror-h=member",
            "ledger: host-h=a/0* mirror-h=member"
        ]
    );
}

#[test]
fn second_1_a_unit_takes_its_word_back_in_its_own_hook() {
    let name = ("hostname", "h");
    let speaks = ("protocol", "2");
    let member = ("mirror-h", "member");
    for (case, claim, bag, changes) in [
        (
            "it says member no more",
            "a/1+*",
            vec![name, speaks],
            "host-h=a/1+ mirror-h=empty",
        ),
        (
            "it says so",
            "a/1+*",
            vec![name, speaks, ("member", "h")],
            "",
        ),
        (
            "it has been communicator",
            "a/1+*",
            vec![name, speaks, ("mirror", "down")],
            "",
        ),
        ("an operator said so", "a/1+!*", vec![name, speaks], ""),
        ("it has no word for it", "a/1*", vec![name], ""),
        ("its bag is empty", "a/1+*", vec![], ""),
    ] {
        let before = settled(&[("host-h", claim), member]);
        let now = learn::unit(&before, &unit("a/1"), &support::bag(&bag));
        assert_eq!(learned(&before, &now), changes, "{case}");
        // In a hook of others its bag may be an old one.
        let mut world = world().relation(1, "a").unit("a/1", &bag);
        let looked = world.plan(&before).ledger.to_databag();
        assert_eq!(looked["mirror-h"], "member", "{case}: looked at");
        world.0.in_hook_of = Some(unit("a/1"));
        let looked = world.plan(&before).ledger.to_databag();
        let value = now.ledger.to_databag()["mirror-h"].clone();
        assert_eq!(looked["mirror-h"], value, "{case}: looked at in its hook");
    }
}

#[test]
fn second_2_a_refused_token_is_spent_and_shown_until_another_comes() {
    let (t, u) = (fingerprint("T"), fingerprint("U"));
    let before = |more: Pairs<'_>| {
        settled(
            &[
                &[
                    ("mirror-h", "T"),
                    ("host-h", "a/1"),
                    ("communicators", "a/0*"),
                ],
                more,
            ]
            .concat(),
        )
    };
    let refusal = |print: &str| bag(&[("hostname", "h"), ("refused", print)]);
    for (case, before, name, says, changes, asks) in [
        (
            "its claimant refuses",
            before(&[]),
            "a/1",
            refusal(&t),
            format!("spent-h={t}"),
            true,
        ),
        (
            "it was another token",
            before(&[]),
            "a/1",
            refusal(&u),
            format!("refused-h=a/1:{u}"),
            false,
        ),
        (
            "it has joined all the same",
            before(&[]),
            "a/1",
            bag(&[("hostname", "h"), ("member", "h"), ("refused", &t)]),
            "host-h=a/1*".to_owned(),
            false,
        ),
        (
            "it is no fingerprint",
            before(&[]),
            "a/1",
            refusal("T T"),
            String::new(),
            false,
        ),
        (
            "it is known",
            before(&[("spent-h", &t)]),
            "a/1",
            refusal(&t),
            String::new(),
            false,
        ),
        (
            "the next token comes",
            before(&[("spent-h", &t)]),
            "a/0",
            bag(&[("protocol", "2"), ("mirror", "up"), ("mirror-h", "U")]),
            "mirror-h=U".to_owned(),
            false,
        ),
        (
            "the same token comes",
            before(&[("spent-h", &t)]),
            "a/0",
            bag(&[("protocol", "2"), ("mirror", "up"), ("mirror-h", "T")]),
            String::new(),
            false,
        ),
    ] {
        let now = learn::unit(&before, &unit(name), &says);
        assert_eq!(learned(&before, &now), changes, "{case}");
        assert_eq!(now.asks_for_everything, asks, "{case}");
    }
    // A communicator may offer a used token again once its member is gone. The host that has its name
    // by now has said already that it does not serve, and does not say so twice.
    for (held, claims) in [("empty", "a/1"), ("member", "a/0* a/1")] {
        let before = settled(&[("mirror-h", held), ("host-h", claims)]);
        let noted = learn::unit(&before, &unit("a/1"), &refusal(&t));
        assert_eq!(
            learned(&before, &noted),
            format!("refused-h=a/1:{t}"),
            "{held}"
        );
        let again = learn::unit(&noted.ledger, &unit("a/1"), &refusal(&t));
        assert_eq!(learned(&noted.ledger, &again), "", "{held}");
        let left = learn::departure(&noted.ledger, &unit("a/0"), &bag(&[]));
        let offered = learn::unit(
            &left.ledger,
            &unit("a/2"),
            &bag(&[("mirror", "up"), ("mirror-h", "T")]),
        );
        assert_eq!(
            learned(&left.ledger, &offered),
            format!("communicators=a/2 mirror-h=T refused-h- spent-h={t}"),
            "{held}"
        );
        assert!(offered.asks_for_everything, "{held}");
        let gone = learn::departure(&noted.ledger, &unit("a/1"), &bag(&[]));
        assert!(
            !gone.ledger.to_databag().contains_key("refused-h"),
            "{held}"
        );
    }
    // While a unit that claims the name may still try a token, the spent ones are remembered.
    let shared = settled(&[("mirror-h", "T"), ("host-h", "a/0* a/1"), ("spent-h", &t)]);
    let mut cleared = shared.clone();
    learn::clear_used_tokens(&mut cleared, &mut Vec::new());
    assert_eq!(shown(&cleared.changes_since(&shared)), "mirror-h=member");
    // A value that is spent is never learned, not even where none is held.
    let spent = settled(&[("mirror-h", "empty"), ("host-h", "a/1"), ("spent-h", &t)]);
    let offer = bag(&[("mirror", "up"), ("mirror-h", "T")]);
    let now = learn::unit(&spent, &unit("a/0"), &offer);
    assert_eq!(learned(&spent, &now), "communicators=a/0");
}

#[test]
fn second_2_the_next_token_is_found_wherever_it_is() {
    let t = fingerprint("T");
    let next: Pairs<'_> = &[("mirror", "up"), ("mirror-h", "U"), ("protocol", "2")];
    let refuses: Pairs<'_> = &[("hostname", "h"), ("refused", &t)];
    let before = settled(&[("mirror-h", "T"), ("host-h", "a/1")]);
    let relation = || {
        world()
            .relation(1, "a")
            .own_app(&[
                ("bootstrap-app", "a"),
                ("may-bootstrap", "false"),
                ("protocol", "2"),
            ])
            .own_unit(&[("mirror", "up"), ("mirror-h", "T")])
            .unit("a/1", refuses)
    };
    let shows = format!("1 unit: mirror-h=U spent-h={t}");
    for (case, world, communicators) in [
        (
            "read earlier",
            relation().unit("a/0", next),
            "communicators=a/0* ",
        ),
        (
            "read later",
            relation().unit("a/2", next),
            "communicators=a/2* ",
        ),
        (
            "published by another unit",
            relation().sibling("d/7", &[("mirror-h", "U")]),
            "",
        ),
    ] {
        // A token that a bag of ours shows already takes no turn.
        let turn = if communicators.is_empty() {
            ""
        } else {
            "let-in=h 0 "
        };
        let ledger = format!("ledger: {communicators}{turn}mirror-h=U spent-h={t}");
        assert_eq!(
            written(&world.plan(&before)),
            [shows.clone(), ledger],
            "{case}"
        );
    }
}

#[test]
fn second_3_a_host_whose_token_is_spent_waits_and_the_status_says_when_no_other_comes() {
    let (t, u) = (fingerprint("T"), fingerprint("U"));
    let both = format!("{u} {t}");
    let second = ("communicators", "a/0*");
    for (case, spent, communicators, status) in [
        (
            "another is minted",
            t.as_str(),
            second,
            "waiting: 1 of 1 host waiting for a join token",
        ),
        (
            "two were refused",
            &both,
            second,
            "blocked: host h: 2 tokens did not serve",
        ),
        (
            "nobody mints again",
            &t,
            ("communicators", "a/0"),
            "blocked: host h: its token was refused",
        ),
    ] {
        let ledger = settled(&[
            ("mirror-h", "T"),
            ("host-h", "a/1"),
            ("spent-h", spent),
            communicators,
        ]);
        let plan = plan::of(&ledger, Learned::nothing(&ledger), None, &Moment::default());
        assert!(plan.is_idle());
        assert!(
            plan.clone()
                .applied(&[])
                .status()
                .to_string()
                .starts_with(status),
            "{case}: {}",
            plan.clone().applied(&[]).status()
        );
    }
}

#[test]
fn second_4_relations_made_anew_learn_their_members_and_mint_nothing() {
    let before = settled(&[("mirror-h", "member"), ("host-h", "a/0*")]);
    let world = world()
        .relation(2, "a")
        .unit("a/0", &[("hostname", "h"), ("member", "h")]);
    assert_eq!(
        written(&world.plan(&before)),
        [
            "2 app: bootstrap-app=a may-bootstrap=false protocol=2",
            "2 unit: mirror=up mirror-h=member",
            "ledger: relation-1- relation-2=a",
        ]
    );
}

// What an operator asks for.

#[test]
fn an_operator_says_whether_a_host_is_in_the_cluster() {
    let t = fingerprint("T");
    let renewed = format!("host-h=a/1 mirror-h=empty spent-h={t}");
    let member = Ok("host-h=a/1!* mirror-h=member");
    let again = vec![("mirror-h", "T"), ("host-h", "a/0- a/1")];
    let says: Pairs<'_> = &[("hostname", "h")];
    let in_it: Pairs<'_> = &[("hostname", "h"), ("member", "h")];
    for (case, before, bag, is_member, expected) in [
        ("the same machine again", again.clone(), says, true, member),
        (
            "a second machine",
            again.clone(),
            says,
            false,
            Ok(renewed.as_str()),
        ),
        (
            "the word is taken back",
            vec![("mirror-h", "member"), ("host-h", "a/1*")],
            says,
            false,
            Ok("host-h=a/1 mirror-h=empty"),
        ),
        (
            "its tokens did not serve, and yet it is in",
            vec![
                ("mirror-h", "T"),
                ("host-h", "a/1"),
                ("spent-h", "00000000 11111111"),
            ],
            says,
            true,
            Ok("host-h=a/1!* mirror-h=member spent-h-"),
        ),
        (
            "a relation that Juju goes on listing beside the one that was made again",
            vec![("mirror-h", "T"), ("host-h", "a/1 a/2")],
            says,
            true,
            Ok("host-h=a/1!* a/2!* mirror-h=member"),
        ),
        (
            "it says itself that it is in",
            vec![("mirror-h", "member"), ("host-h", "a/1*")],
            in_it,
            false,
            Err(Refused::SaysMember(unit("a/1"))),
        ),
        (
            "nobody has the name",
            vec![("mirror-h", "T"), ("host-h", "a/0-")],
            &[],
            true,
            Err(Refused::NotAnnounced("h".to_owned())),
        ),
        (
            "no such host",
            vec![],
            &[],
            true,
            Err(Refused::NoHost("h".to_owned())),
        ),
    ] {
        let before = settled(&before);
        let world = world()
            .relation(1, "a")
            .expects(&["a/1", "a/2"])
            .unit("a/1", bag)
            .0;
        let resolved = operator::resolve(&before, &world, "h", is_member);
        let changes = resolved.map(|(after, _)| shown(&after.changes_since(&before)));
        assert_eq!(changes, expected.map(str::to_owned), "{case}");
    }
}

#[test]
fn an_operator_retires_a_host() {
    let t = fingerprint("T");
    let spent = format!("host-h=a/1 mirror-h=empty spent-h={t}");
    for (case, before, present, force, expected) in [
        (
            "its host is gone",
            vec![("mirror-h", "T"), ("host-h", "a/0")],
            vec![],
            Force::No,
            Ok("host-h- mirror-h=retired"),
        ),
        (
            "it waits in vain",
            vec![("mirror-h", "empty")],
            vec![],
            Force::No,
            Ok("mirror-h-"),
        ),
        (
            "a living host",
            vec![("mirror-h", "T"), ("host-h", "a/0")],
            vec!["a/0"],
            Force::No,
            Err(Refused::Announced("h".to_owned(), unit("a/0"))),
        ),
        (
            "a living host by force",
            vec![("mirror-h", "T"), ("host-h", "a/0")],
            vec!["a/0"],
            Force::Yes,
            Ok("host-h=a/0!* mirror-h=retired"),
        ),
        (
            "a living host that refuses another token, by force",
            vec![("mirror-h", "T"), ("host-h", "a/0"), ("refused-h", "a/0:0")],
            vec!["a/0"],
            Force::Yes,
            Ok("host-h=a/0!* mirror-h=retired refused-h-"),
        ),
        (
            "a living host whose token was refused, by force",
            vec![("mirror-h", "T"), ("host-h", "a/1"), ("spent-h", &t)],
            vec!["a/1"],
            Force::Yes,
            Ok("mirror-h=empty"),
        ),
        (
            "a living host that waits, by force",
            vec![("mirror-h", "empty"), ("host-h", "a/0")],
            vec!["a/0"],
            Force::Yes,
            Ok("host-h=a/0!* mirror-h=retired"),
        ),
        (
            "another has its name",
            vec![("mirror-h", "T"), ("host-h", "a/0 a/1")],
            vec!["a/1"],
            Force::Yes,
            Ok(spent.as_str()),
        ),
        (
            "nobody of that name",
            vec![],
            vec![],
            Force::Yes,
            Err(Refused::NoHost("h".to_owned())),
        ),
    ] {
        let before = settled(&before);
        let present: Vec<&str> = present;
        let mut world = world().relation(1, "a").expects(&present);
        for name in &present {
            world = world.unit(name, &[("hostname", "h")]);
        }
        let retired = operator::retire(&before, &world.0, "h", force);
        let changes = retired.map(|(after, _)| shown(&after.changes_since(&before)));
        assert_eq!(changes, expected.map(str::to_owned), "{case}");
    }
}

#[test]
fn second_5_an_operator_forgets_a_cluster_unless_a_unit_is_a_member() {
    let before = settled(&[
        ("mirror-h", "T"),
        ("host-h", "a/0*"),
        ("mirror-k", "U"),
        ("nudge", "1 1 1 0"),
    ]);
    let lost = world()
        .relation(1, "a")
        .unit("a/1", &[("hostname", "i")])
        .expects(&["a/1"]);
    let forgotten =
        operator::forget(&before, &lost.0, &leader(), Force::No).expect("its member is gone");
    assert_eq!(
        learned(&before, &forgotten),
        "host-h- host-i=a/1 mirror-h- mirror-i=empty mirror-k-"
    );
    let alive = world()
        .relation(1, "a")
        .unit("a/0", &[("hostname", "h"), ("member", "h")]);
    let refused = operator::forget(&before, &alive.0, &leader(), Force::No);
    assert_eq!(refused.map(|_| ()), Err(Refused::IsMember(unit("a/0"))));
    let forced = operator::forget(&before, &alive.0, &leader(), Force::Yes).expect("forced");
    assert_eq!(learned(&before, &forced), "mirror-h=member mirror-k-");
}

// Section 8.

#[test]
fn spec_8_a_new_status_and_a_mirror_that_goes_up_are_said_and_nothing_twice() {
    let before = settled(&[]);
    let event = |pairs| {
        let learned = learn::unit(&before, &unit("a/0"), &bag(pairs));
        plan::of(&before, learned, None, &Moment::default())
    };
    assert!(
        event(&[("hostname", "h")])
            .applied(&[])
            .changes_the_status()
    );
    assert!(
        !event(&[("mirror", "up"), ("mirror-_x", "T")])
            .applied(&[])
            .changes_the_status()
    );
    let fresh = world().relation(1, "a").unit("a/0", &[]);
    let goes_up = |plan: &plan::Plan| {
        let mut notes = plan.notes.iter();
        notes.any(|note| note.text == "relation 1: mirror up")
    };
    let plan = fresh.plan(&Ledger::default());
    assert!(goes_up(&plan));
    let shows: Vec<_> = plan.writes[&RelationId(1)].unit.keys().collect();
    assert_eq!(shows, ["mirror"]);
    let again = fresh.own_unit(&[("mirror", "up")]).plan(&plan.ledger);
    assert!(!goes_up(&again));
}

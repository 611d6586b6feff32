//! The actions: what they take, what they answer, what they write, and the same in a model.

use std::collections::{BTreeMap, BTreeSet};

use juju_emulator::deployment::{DISTRIBUTOR, Deployment, Provider, Setup};
use juju_emulator::record::ActionResult;
use juju_emulator::{JujuGeneration, UnitName, WorldError};
use microcluster_token_distributor::core::everything;
use microcluster_token_distributor::core::evidence::{Relation, World};
use microcluster_token_distributor::core::fingerprint::fingerprint;
use microcluster_token_distributor::core::ledger::{Ledger, Place};
use microcluster_token_distributor::core::names::{self, RelationId};
use microcluster_token_distributor::core::operator::{Force, Order, Refused, retire};
use microcluster_token_distributor::core::plan;
use microcluster_token_distributor::core::queue::Moment;
use microcluster_token_distributor::core::room::CAPACITY;
use microcluster_token_distributor::core::show;
use microcluster_token_distributor::core::wire::Databag;
use microcluster_token_distributor::life::actions::{
    Action, LONGEST_RESULT, Refusal, Results, Subject, checked, show_mirror,
};
use microcluster_token_distributor::report::View;
use microcluster_token_distributor::report::check::findings;
use microcluster_token_distributor::report::hosts::{Report, State};
use serde_json::{Map, Value, json};

/// Is in every token of these tests.
const SECRET: &str = "eyJzZWNyZXQi";

type Pairs<'a> = &'a [(&'a str, &'a str)];

fn parameters(value: Value) -> Map<String, Value> {
    value.as_object().expect("parameters by name").clone()
}

fn bag(pairs: Pairs<'_>) -> Databag {
    let owned = |(key, value): &(&str, &str)| ((*key).to_owned(), (*value).to_owned());
    pairs.iter().map(owned).collect()
}

fn unit(name: &str) -> names::UnitName {
    name.parse().expect("a unit name")
}

/// What the leader sees of one relation with `a`: this ledger, which its bags show, and these
/// units.
fn leader(ledger: Pairs<'_>, units: &[(&str, Pairs<'_>)]) -> View {
    let mut ledger = bag(ledger);
    for (key, value) in [
        ("leader", "mtd/0 1"),
        ("relation-1", "a"),
        ("bootstrap-app", "a"),
    ] {
        ledger
            .entry(key.to_owned())
            .or_insert_with(|| value.to_owned());
    }
    let ledger = Ledger::from(ledger);
    let id = RelationId(1);
    let units: BTreeMap<_, _> = units
        .iter()
        .map(|(name, pairs)| (unit(name), bag(pairs)))
        .collect();
    let relation = Relation {
        joined: None,
        place: Place::Here,
        app: "a".to_owned(),
        expected: Some(units.keys().cloned().collect()),
        units,
        own_app: Some(show::app_bag(&ledger, id)),
        own_unit: Some(show::unit_bag(&ledger, id)),
        siblings: BTreeMap::new(),
    };
    let world = World {
        relations: [(id, relation)].into(),
        units_were_read: true,
        ..World::default()
    };
    View {
        unit: unit("mtd/0"),
        is_leader: true,
        moment: Moment::without_a_clock(&ledger),
        ledger,
        world,
        failing: BTreeSet::new(),
    }
}

const COMMUNICATOR: (&str, Pairs<'static>) = (
    "a/0",
    &[
        ("hostname", "h0"),
        ("mirror", "up"),
        ("mirror-h2", "eyJzZWNyZXQiC"),
    ],
);

/// One communicator, one host that waits, one with a token, one whose unit has left.
fn four_hosts() -> View {
    leader(
        &[
            ("mirror-h0", "member"),
            ("mirror-h1", "empty"),
            ("mirror-h2", "eyJzZWNyZXQiC"),
            ("mirror-gone", "eyJzZWNyZXQiG"),
            ("host-h0", "a/0*"),
            ("host-h1", "a/1"),
            ("host-h2", "a/2"),
            ("communicators", "a/0"),
        ],
        &[
            COMMUNICATOR,
            ("a/1", &[("hostname", "h1")]),
            ("a/2", &[("hostname", "h2")]),
        ],
    )
}

#[test]
fn parameters_are_read_or_refused_with_one_clear_sentence() {
    let all = |subject| Ok(Action::ShowMirror(subject));
    let retire = |host: &str, force| {
        let host = host.to_owned();
        Ok(Action::Order(Order::Retire { host, force }))
    };
    for (name, given, read) in [
        ("show-mirror", json!({}), all(Subject::All)),
        (
            "show-mirror",
            json!({"host": "h0", "reveal": false}),
            all(Subject::One("h0".to_owned())),
        ),
        (
            "show-mirror",
            json!({"host": "h0", "reveal": true}),
            all(Subject::Revealed("h0".to_owned())),
        ),
        (
            "show-mirror",
            json!({"reveal": true}),
            Err("reveal=true needs host=NAME: it shows the value of one host"),
        ),
        (
            "show-mirror",
            json!({"host": 7}),
            Err("parameter host must be a host name"),
        ),
        (
            "show-mirror",
            json!({"host": "h0", "reveal": "yes"}),
            Err("parameter reveal must be true or false"),
        ),
        ("resync", json!({}), Ok(Action::Order(Order::Resync))),
        (
            "retire-host",
            json!({"host": "h0"}),
            retire("h0", Force::No),
        ),
        (
            "retire-host",
            json!({"host": "h0", "force": true}),
            retire("h0", Force::Yes),
        ),
        (
            "retire-host",
            json!({}),
            Err("parameter host must be a host name"),
        ),
        (
            "retire-host",
            json!({"host": ""}),
            Err("parameter host must be a host name"),
        ),
        (
            "resolve-host",
            json!({"host": "h0", "member": false}),
            Ok(Action::Order(Order::Resolve {
                host: "h0".to_owned(),
                is_member: false,
            })),
        ),
        (
            "resolve-host",
            json!({"host": "h0"}),
            Err("parameter member must be true or false"),
        ),
        ("check", json!({}), Ok(Action::Check)),
        (
            "forget",
            json!({}),
            Ok(Action::Order(Order::Forget { force: Force::No })),
        ),
        (
            "forget",
            json!({"force": true}),
            Ok(Action::Order(Order::Forget { force: Force::Yes })),
        ),
        (
            "restart",
            json!({}),
            Err(
                "no action \"restart\": there are show-mirror, resync, retire-host, resolve-host, \
                 check and forget",
            ),
        ),
    ] {
        let action = Action::parse(name, &parameters(given.clone()));
        let action = action.map_err(|refusal| refusal.to_string());
        assert_eq!(action, read.map_err(str::to_owned), "{name} {given}");
    }
}

#[test]
fn a_host_is_waiting_has_a_token_is_a_member_or_is_retired() {
    let spent = fingerprint(SECRET);
    for (case, ledger, state) in [
        ("announced only", vec![("host-h0", "a/0")], State::Waiting),
        (
            "placeholder",
            vec![("host-h0", "a/0"), ("mirror-h0", "empty")],
            State::Waiting,
        ),
        (
            "token",
            vec![("host-h0", "a/0"), ("mirror-h0", SECRET)],
            State::Token,
        ),
        ("its unit left", vec![("mirror-h0", SECRET)], State::Token),
        (
            "a token that was refused",
            vec![
                ("host-h0", "a/0"),
                ("mirror-h0", SECRET),
                ("spent-h0", spent.as_str()),
            ],
            State::Waiting,
        ),
        (
            "a member whose token is still there",
            vec![("host-h0", "a/0*"), ("mirror-h0", SECRET)],
            State::Member,
        ),
        (
            "member",
            vec![("host-h0", "a/0*"), ("mirror-h0", "member")],
            State::Member,
        ),
        (
            "a member that left",
            vec![("mirror-h0", "member")],
            State::Member,
        ),
        ("retired", vec![("mirror-h0", "retired")], State::Retired),
    ] {
        let report = Report::of(&leader(&ledger, &[]));
        assert_eq!(report.host("h0").expect("a host").state, state, "{case}");
    }
}

#[test]
fn the_story_of_a_host_names_who_announced_it_and_who_gave_its_token() {
    let report = Report::of(&four_hosts());
    let names: Vec<&str> = report.hosts.iter().map(|host| host.host.as_str()).collect();
    assert_eq!(names, ["gone", "h0", "h1", "h2"]);
    let host = report.host("h2").expect("a host");
    assert_eq!(host.announced_by, ["a/2"]);
    assert_eq!(host.given_by.as_deref(), Some("a/0"));
    let gone = report.host("gone").expect("a host");
    assert_eq!((gone.announced_by.len(), &gone.given_by), (0, &None));
    assert_eq!(report.communicators, ["a/0"]);
}

#[test]
fn an_invalid_name_has_its_story_and_its_remedy() {
    let view = leader(
        &[("host-node_1\n", "a/3"), ("mirror-h0", "empty")],
        &[("a/3", &[("hostname", "node_1\n")])],
    );
    let report = Report::of(&view);
    for name in ["node_1\n", r"node_1\n"] {
        let host = report.host(name).expect("a host");
        assert_eq!(host.host, r"node_1\n");
        assert_eq!(host.state, State::Invalid);
        let next = report.next(host);
        assert!(next.contains("remove a/3, give the machine"), "{next}");
    }

    let results = show_mirror(&view, &Subject::All).expect("answers");
    assert_presentable(&results);
    // As many as the status counts.
    assert_eq!(result(&results, "hosts.total"), "1");
    assert_eq!(result(&results, "hosts.invalid"), "1");

    // A key that no unit announces is no host.
    let report = Report::of(&leader(&[("mirror-node_1", "empty")], &[]));
    assert_eq!(report.host("node_1"), None);
    assert_eq!(report.other_keys, ["mirror-node_1"]);
}

#[test]
fn who_can_help_a_host_that_waits_depends_on_what_there_is() {
    let waits = [("host-h1", "a/1"), ("mirror-h1", "empty")];
    let announces: (&str, Pairs<'_>) = ("a/1", &[("hostname", "h1")]);
    let mut undecided = leader(&waits, &[announces]);
    undecided.ledger.bootstrap_app = None;
    for (case, view, remedy) in [
        ("nobody chosen", undecided, "add a unit to one, or set"),
        (
            "no cluster yet",
            leader(&waits, &[announces]),
            "add a unit to the token distributor, and a tries again",
        ),
        (
            "a cluster without communicator",
            leader(
                &[&waits[..], &[("mirror-h0", SECRET)]].concat(),
                &[announces],
            ),
            "repair the first voter of the cluster",
        ),
        (
            "a communicator",
            four_hosts(),
            "a/0 makes a token; if it does not, run cluster list on a member",
        ),
    ] {
        let report = Report::of(&view);
        let next = report.next(report.host("h1").expect("a host"));
        assert!(next.contains(remedy), "{case}: {next}");
        let found = findings(&view, &view.plan(), &report);
        assert!(
            found.iter().any(|finding| finding.text.contains(&next)),
            "{case}: {found:?}"
        );
    }
}

#[test]
fn a_relation_that_keeps_another_token_is_shown_with_its_fingerprint() {
    let mut view = four_hosts();
    let relation = view.world.relations.get_mut(&RelationId(1));
    let bag = relation.expect("there").own_unit.as_mut().expect("read");
    bag.insert("mirror-h2".to_owned(), format!("{SECRET}other"));
    let report = Report::of(&view);
    let host = report.host("h2").expect("a host");
    let [other] = &host.other_values[..] else {
        panic!("{host:?}");
    };
    assert_eq!(other.relation, 1);
    assert_ne!(Some(&other.fingerprint), host.fingerprint.as_ref());
    assert!(report.next(host).contains("different tokens"));
}

#[test]
fn retiring_replaces_renews_removes_or_refuses() {
    let token = ("mirror-h", SECRET);
    let empty = ("mirror-h", "empty");
    let (first, other) = (("host-h", "a/1"), ("host-h", "a/1 a/2"));
    let one: &[(&str, Pairs<'_>)] = &[("a/1", &[("hostname", "h")])];
    let second: &[(&str, Pairs<'_>)] = &[("a/2", &[("hostname", "h")])];
    let nobody: &[(&str, Pairs<'_>)] = &[];
    let (no, yes) = (Force::No, Force::Yes);
    for (case, ledger, units, force, outcome, then) in [
        (
            "a token",
            vec![token],
            nobody,
            no,
            "retired",
            Some("retired"),
        ),
        (
            "still announced",
            vec![token, first],
            one,
            no,
            "announced by a/1",
            None,
        ),
        (
            "by force",
            vec![token, first],
            one,
            yes,
            "retired",
            Some("retired"),
        ),
        ("a placeholder", vec![empty], nobody, no, "removed", None),
        (
            "announced, no token",
            vec![empty, first],
            one,
            no,
            "announced by a/1",
            None,
        ),
        (
            "another unit has the name",
            vec![token, other],
            second,
            yes,
            "renewed",
            Some("empty"),
        ),
        (
            "again",
            vec![("mirror-h", "retired")],
            nobody,
            no,
            "unchanged",
            Some("retired"),
        ),
    ] {
        let view = leader(&ledger, units);
        let word = match retire(&view.ledger, &view.world, "h", force) {
            Ok((ledger, outcome)) => {
                let value = ledger.mirror.get("h").map(|value| value.as_str());
                assert_eq!(value, then, "{case}");
                // The next look at everything changes nothing about it.
                let learned = everything::learned(&ledger, &view.world, &view.unit);
                let plan = plan::of(&ledger, learned, Some(&view.world), &view.moment);
                let value = plan.ledger.mirror.get("h").map(|value| value.as_str());
                assert_eq!(value, then, "{case}: looked at again");
                outcome.as_str().to_owned()
            }
            Err(Refused::Announced(_, unit)) => format!("announced by {unit}"),
            Err(Refused::NoHost(_)) => "unknown".to_owned(),
            Err(refused) => format!("{refused:?}"),
        };
        assert_eq!(word, outcome, "{case}");
    }
    let view = four_hosts();
    assert_eq!(
        retire(&view.ledger, &view.world, "h9", Force::Yes),
        Err(Refused::NoHost("h9".to_owned()))
    );
}

/// Juju's rule for the keys of results, and no token in any value.
fn assert_presentable(results: &Results) {
    for (key, value) in &results.0 {
        for part in key.split('.') {
            let inner = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
            assert!(
                part.bytes().all(|byte| inner(byte) || byte == b'-'),
                "{key}"
            );
            assert!(part.bytes().next().is_some_and(inner), "{key}");
            assert!(part.bytes().last().is_some_and(inner), "{key}");
            assert!(!["stdout", "stderr"].contains(&part), "{key}");
        }
        assert!(value.len() <= LONGEST_RESULT, "{key} is {}", value.len());
        assert!(!value.contains(SECRET), "{key} shows a token");
    }
    let json = result(results, "json");
    serde_json::from_str::<Value>(json).expect("json is JSON");
}

fn result<'a>(results: &'a Results, key: &str) -> &'a str {
    let mut results = results.0.iter();
    let (_, value) = results.find(|(known, _)| *known == key).expect("a result");
    value
}

#[test]
fn a_value_is_shown_only_where_it_is_asked_for() {
    let view = four_hosts();
    for subject in [Subject::All, Subject::One("h2".to_owned())] {
        assert_presentable(&show_mirror(&view, &subject).expect("answers"));
    }
    assert_presentable(&checked(&view));
    let revealed = show_mirror(&view, &Subject::Revealed("h2".to_owned())).expect("answers");
    assert_eq!(result(&revealed, "value"), "eyJzZWNyZXQiC");
    let mut elsewhere = revealed.0.iter().filter(|(key, _)| *key != "value");
    assert!(elsewhere.all(|(_, value)| !value.contains(SECRET)));

    let unknown = show_mirror(&view, &Subject::One("h9".to_owned()));
    assert_eq!(
        unknown,
        Err(Refusal::Order(Refused::NoHost("h9".to_owned())))
    );
}

#[test]
fn a_value_that_no_argument_can_hold_is_refused() {
    for value in ["x".repeat(LONGEST_RESULT + 1), "a\0b".to_owned()] {
        let view = leader(&[("mirror-h", &value)], &[]);
        let answer = show_mirror(&view, &Subject::Revealed("h".to_owned()));
        assert_eq!(answer, Err(Refusal::TooLong("h".to_owned())));
    }
}

#[test]
fn many_hosts_still_fit_and_the_counts_are_whole() {
    for (waiting, shortened) in [(0, 3000), (40, 2960), (3000, 0)] {
        let names: Vec<(String, &str)> = (0..3000)
            .flat_map(|host| {
                let name = format!("juju-3f2a1c-with-a-long-name-{host}");
                let value = if host < waiting { "empty" } else { SECRET };
                [
                    (format!("mirror-{name}"), value),
                    (format!("host-{name}"), "a/0"),
                ]
            })
            .collect();
        let pairs: Vec<(&str, &str)> = names
            .iter()
            .map(|(key, value)| (key.as_str(), *value))
            .collect();
        let results = show_mirror(&leader(&pairs, &[]), &Subject::All).expect("answers");
        assert_presentable(&results);
        assert_eq!(result(&results, "hosts.total"), "3000");
        assert_eq!(result(&results, "hosts.waiting"), waiting.to_string());
        assert!(result(&results, "shortened").starts_with("hosts that are fine"));
        let json: Value = serde_json::from_str(result(&results, "json")).expect("JSON");
        let hosts = json["hosts"].as_array().expect("a list").len();
        match shortened {
            0 => assert!(hosts > 200, "{hosts} as many as fit"),
            _ => assert_eq!(hosts, 3000 - shortened),
        }
        assert_eq!(json["counts"]["total"], 3000);
    }
}

/// A ledger and bags in which nothing is wrong.
fn well() -> View {
    leader(
        &[
            ("mirror-h0", "member"),
            ("host-h0", "a/0*"),
            ("communicators", "a/0"),
        ],
        &[("a/0", &[("hostname", "h0"), ("mirror", "up")])],
    )
}

#[test]
fn check_finds_each_kind_of_trouble() {
    let full = "x".repeat(CAPACITY / 10 * 9);
    let with = |change: &dyn Fn(&mut View)| {
        let mut view = well();
        change(&mut view);
        view
    };
    let relation = |view: &mut View, change: &dyn Fn(&mut Relation)| {
        change(view.world.relations.get_mut(&RelationId(1)).expect("there"));
    };
    let says = |view: &mut View, name: &str, pairs: Pairs<'_>| {
        relation(view, &|relation| {
            relation.units.insert(unit(name), bag(pairs));
            let expected = relation.expected.as_mut().expect("it is known");
            expected.insert(unit(name));
        });
    };
    let refused = fingerprint(SECRET);
    for (kind, view) in [
        ("", well()),
        (
            "bootstrap-app-not-related",
            with(&|view| view.world.options.bootstrap_app = Some("b".to_owned())),
        ),
        (
            "log-level",
            with(&|view| view.world.options.log_level = Some("loud".to_owned())),
        ),
        (
            "host-name-invalid",
            with(&|view| says(view, "a/1", &[("hostname", "--help")])),
        ),
        (
            "host-name-contested",
            with(&|view| says(view, "a/1", &[("hostname", "h0")])),
        ),
        (
            "host-not-heard",
            with(&|view| says(view, "a/1", &[("hostname", "h1")])),
        ),
        (
            "token-refused",
            leader(
                &[
                    ("mirror-h1", SECRET),
                    ("host-h1", "a/1"),
                    ("spent-h1", &format!("00000000 {refused}")),
                ],
                &[("a/1", &[("hostname", "h1")])],
            ),
        ),
        (
            "databag-full",
            leader(
                &[("mirror-x", &full)],
                &[("a/0", &[("mirror", "up"), ("mirror-y", &full)])],
            ),
        ),
        (
            "values-disagree",
            with(&|view| {
                view.ledger.mirror.insert("h1".to_owned(), SECRET.into());
                relation(view, &|relation| {
                    let bag = relation.own_unit.as_mut().expect("read");
                    bag.insert("mirror-h1".to_owned(), format!("{SECRET}2"));
                });
            }),
        ),
        ("hosts-wait", four_hosts()),
        (
            "nobody-mints",
            leader(
                &[("mirror-h0", "empty"), ("host-h0", "a/0")],
                &[("a/0", &[("hostname", "h0")])],
            ),
        ),
        (
            "no-bootstrap-app",
            with(&|view| relation(view, &|relation| relation.own_app = Some(Databag::new()))),
        ),
        (
            "mirror-not-up",
            with(&|view| {
                relation(view, &|relation| {
                    relation.own_unit = Some(bag(&[("mirror", "down")]));
                });
            }),
        ),
        (
            "out-of-date",
            with(&|view| {
                relation(view, &|relation| {
                    relation.own_unit = Some(bag(&[("mirror", "up"), ("nudge", "1 1 1 0")]));
                });
            }),
        ),
        (
            "two-mirrors-up",
            with(&|view| {
                relation(view, &|relation| {
                    let up = bag(&[("mirror", "up")]);
                    relation.siblings.insert(unit("mtd/1"), up);
                });
            }),
        ),
        (
            "relation-passed-over",
            with(&|view| {
                view.world
                    .passed_over
                    .insert(RelationId(2), Some("b".to_owned()));
            }),
        ),
        ("databag-fills", leader(&[("mirror-x", &full)], &[])),
        (
            "cross-model",
            with(&|view| {
                relation(view, &|relation| relation.place = Place::Elsewhere);
            }),
        ),
        (
            "hook-fails",
            with(&|view| view.failing = BTreeSet::from([unit("a/0")])),
        ),
    ] {
        let found = findings(&view, &view.plan(), &Report::of(&view));
        let kinds: Vec<&str> = found.iter().map(|finding| finding.kind).collect();
        match kind {
            "" => assert_eq!(kinds, [""; 0], "{found:?}"),
            kind => assert!(kinds.contains(&kind), "{kind}: {found:?}"),
        }
        assert!(found.iter().all(|finding| !finding.text.contains(SECRET)));
        if kind == "out-of-date" {
            let text = &found[0].text;
            assert!(
                text.contains("(0 keys of the ledger, 2 of relations)"),
                "{text}"
            );
        }
    }
}

#[test]
fn check_names_the_units_whose_hook_fails() {
    let mut view = four_hosts();
    view.failing = BTreeSet::from([unit("a/1"), unit("mtd/1")]);
    let results = checked(&view);
    let report = result(&results, "report");
    assert!(report.contains("hook-fails: a/1: "), "{report}");
    assert!(
        report.contains("juju resolved --no-retry a/1\n"),
        "{report}"
    );
    assert!(report.contains("hook-fails: mtd/1: "), "{report}");
    assert!(!report.contains("--no-retry mtd/1"), "{report}");
}

// The same in a model, with the real executable and consumers that form a cluster.

fn deployed(juju: JujuGeneration) -> Deployment {
    let setup = Setup {
        juju,
        distributor_units: 2,
        distributor: Provider::Executable,
        ..Setup::default()
    };
    let mut deployment = setup.deploy().expect("deployed");
    deployment.relate_all().expect("related");
    deployment.settle().expect("settled");
    deployment
}

fn units(deployment: &Deployment) -> (String, String) {
    let leader = deployment.leader().expect("a leader").as_str().to_owned();
    let standby = match leader.ends_with("/0") {
        true => format!("{DISTRIBUTOR}/1"),
        false => format!("{DISTRIBUTOR}/0"),
    };
    (leader, standby)
}

fn run(deployment: &mut Deployment, unit: &str, action: &str, given: Value) -> ActionResult {
    let ran = deployment.world.run_action(unit, action, parameters(given));
    let result = ran.expect("Juju takes the parameters");
    let code = &result.results["return-code"];
    assert!(code == 0 || code == "0", "{action}: {code}");
    result
}

#[test]
fn every_action_works_in_a_model_or_says_where_it_does() {
    for juju in [JujuGeneration::Three, JujuGeneration::Four] {
        let mut deployment = deployed(juju);
        let (leader, standby) = units(&deployment);
        // One that has a token: the name of a communicator says only that it is a member.
        let ledger = deployment.ledger();
        let mut tokens = ledger.mirror.iter();
        let has_token = tokens.find_map(|(host, value)| Some((host, value.text()?)));
        let (host, token) = has_token.expect("two hosts have joined with a token");

        for (unit, is_leader) in [(&leader, "true"), (&standby, "false")] {
            let all = run(&mut deployment, unit, "show-mirror", json!({}));
            assert_eq!(all.failure, None, "{unit}");
            assert_eq!(all.results["leader"], is_leader);
            assert_eq!(all.results["hosts"]["total"], "3", "{:?}", all.results);
            assert_eq!(all.results["hosts"]["waiting"], "0");
            let json: Value = serde_json::from_str(all.results["json"].as_str().unwrap()).unwrap();
            assert_eq!(json["hosts"].as_array().unwrap().len(), 3);

            let one = run(&mut deployment, unit, "show-mirror", json!({"host": host}));
            assert!(!one.results.contains_key("value"));
            let revealed = json!({"host": host, "reveal": true});
            let one = run(&mut deployment, unit, "show-mirror", revealed);
            assert_eq!(one.results["value"], token);

            let lonely = run(
                &mut deployment,
                unit,
                "show-mirror",
                json!({"reveal": true}),
            );
            assert!(
                lonely
                    .failure
                    .is_some_and(|text| text.contains("host=NAME"))
            );
            let unknown = run(&mut deployment, unit, "show-mirror", json!({"host": "h9"}));
            assert!(unknown.failure.is_some_and(|text| text.contains("no host")));

            let check = run(&mut deployment, unit, "check", json!({}));
            assert_eq!(check.failure, None);
            assert_eq!(check.results["findings"], "0", "{unit} {:?}", check.results);
        }

        for (action, given) in [
            ("resync", json!({})),
            ("retire-host", json!({"host": host})),
            ("resolve-host", json!({"host": host, "member": true})),
            ("forget", json!({})),
        ] {
            let refused = run(&mut deployment, &standby, action, given);
            let expected = format!("this unit is not leader: run {action} on {DISTRIBUTOR}/leader");
            assert_eq!(refused.failure, Some(expected));
        }

        let commits = deployment.world.commits().len();
        let resync = run(&mut deployment, &leader, "resync", json!({}));
        assert_eq!(resync.results["changed"], "0");
        assert_eq!(resync.results["status"], "active: 3 hosts");
        assert_eq!(
            deployment.world.commits().len(),
            commits,
            "nothing was written"
        );
    }
}

#[test]
fn a_retired_host_stays_retired_in_a_model() {
    let mut deployment = deployed(JujuGeneration::Three);
    let (leader, _) = units(&deployment);
    let ledger = deployment.ledger();
    let has_token = |unit: &UnitName| {
        let value = ledger.mirror.get(&deployment.hostname(unit.as_str()));
        value.is_some_and(|value| value.text().is_some())
    };
    let joined = deployment.consumer_units().into_iter().find(has_token);
    let unit = joined.expect("two hosts have joined with a token");
    let host = deployment.hostname(unit.as_str());
    let key = format!("mirror-{host}");
    let relation = deployment.relation("microovn").expect("related");

    let living = run(
        &mut deployment,
        &leader,
        "retire-host",
        json!({"host": host}),
    );
    assert!(
        living
            .failure
            .is_some_and(|text| text.contains(&format!("is announced by {unit}")))
    );
    let unknown = run(
        &mut deployment,
        &leader,
        "retire-host",
        json!({"host": "h9"}),
    );
    assert!(
        unknown
            .failure
            .is_some_and(|text| text.contains("no host \"h9\""))
    );

    deployment
        .world
        .remove_unit(unit.as_str())
        .expect("removed");
    deployment.settle().expect("settled");
    let retired = run(
        &mut deployment,
        &leader,
        "retire-host",
        json!({"host": host}),
    );
    assert_eq!(retired.failure, None);
    assert_eq!(retired.results["outcome"], "retired");
    deployment.settle().expect("settled");
    deployment.add_unit("microovn").expect("added");
    deployment.settle().expect("settled");
    run(&mut deployment, &leader, "resync", json!({}));

    assert_eq!(deployment.ledger_bag()[&key], "retired");
    assert_eq!(
        deployment.world.unit_bag(relation, &leader)[&key],
        "retired"
    );
    let again = run(
        &mut deployment,
        &leader,
        "retire-host",
        json!({"host": host}),
    );
    assert_eq!(again.results["outcome"], "unchanged");
    let show = run(
        &mut deployment,
        &leader,
        "show-mirror",
        json!({"host": host}),
    );
    assert_eq!(show.results["state"], "retired");
}

#[test]
fn bad_parameters_are_refused_on_leader_and_standby() {
    // Juju 4 takes a call with an unknown parameter, and fails its task.
    let mut deployment = deployed(JujuGeneration::Three);
    let (leader, standby) = units(&deployment);
    for unit in [&leader, &standby] {
        // By Juju, before the charm runs.
        for (action, given) in [
            ("show-mirror", json!({"hosts": "h0"})),
            ("show-mirror", json!({"host": 7})),
            ("show-mirror", json!({"reveal": "yes"})),
            ("resync", json!({"force": true})),
            ("retire-host", json!({})),
            ("retire-host", json!({"force": true})),
            ("retire-host", json!({"host": "h0", "force": "yes"})),
            ("retire-host", json!({"host": "h0", "reveal": true})),
            ("resolve-host", json!({"host": "h0"})),
            ("check", json!({"host": "h0"})),
            ("forget", json!({"host": "h0"})),
            ("forget", json!({"force": "yes"})),
            ("restart", json!({})),
        ] {
            let ran = deployment
                .world
                .run_action(unit, action, parameters(given.clone()));
            assert!(
                matches!(ran, Err(WorldError::Action(_))),
                "{unit} {action} {given}"
            );
        }
        // By the charm, with one sentence and no result.
        for (action, given, sentence) in [
            (
                "show-mirror",
                json!({"host": ""}),
                "parameter host must be a host name",
            ),
            (
                "show-mirror",
                json!({"reveal": true}),
                "reveal=true needs host=NAME: it shows the value of one host",
            ),
            (
                "show-mirror",
                json!({"host": "h9"}),
                "no host \"h9\" in the mirror: show-mirror lists the hosts",
            ),
            (
                "retire-host",
                json!({"host": ""}),
                "parameter host must be a host name",
            ),
        ] {
            let refused = run(&mut deployment, unit, action, given);
            assert_eq!(refused.failure.as_deref(), Some(sentence), "{unit}");
            assert!(!refused.results.contains_key("json"), "{unit} {action}");
        }
    }
}

/// Whatever becomes of the distributor's units.
#[test]
fn a_retired_host_outlives_its_leader_and_all_units() {
    let mut deployment = deployed(JujuGeneration::Three);
    let (first, second) = units(&deployment);
    let relation = deployment.relation("microovn").expect("related");
    let bag_of = |unit: &UnitName| deployment.world.unit_bag(relation, unit.as_str());
    let (minters, others): (Vec<_>, Vec<_>) =
        deployment.consumer_units().into_iter().partition(|unit| {
            bag_of(unit)
                .get("mirror")
                .is_some_and(|mirror| mirror == "up")
        });
    let (minter, living) = (minters[0].as_str().to_owned(), &others[0]);
    let host = deployment.hostname(living.as_str());
    let key = format!("mirror-{host}");
    let token = bag_of(&minters[0])[&key].clone();

    let refused = |deployment: &mut Deployment, leader: &str| {
        let answer = run(deployment, leader, "retire-host", json!({"host": host}));
        let sentence = answer.failure.expect("a living unit may need it");
        assert!(
            sentence.contains(&format!("is announced by {living}")),
            "{sentence}"
        );
    };
    refused(&mut deployment, &first);
    let forced = json!({"host": host, "force": true});
    let retired = run(&mut deployment, &first, "retire-host", forced.clone());
    assert_eq!(retired.results["outcome"], "retired", "{retired:?}");

    let stays_retired = |deployment: &mut Deployment, leader: &str| {
        deployment.settle().expect("settled");
        run(deployment, leader, "resync", json!({}));
        let minted = &deployment.world.unit_bag(relation, &minter)[&key];
        assert_eq!(*minted, token, "the communicator still shows it");
        for bag in [
            deployment.ledger_bag(),
            deployment.world.unit_bag(relation, leader),
        ] {
            assert_eq!(bag[&key], "retired", "{leader}");
        }
    };
    stays_retired(&mut deployment, &first);
    deployment.world.lose_unit(&first).expect("lost");
    deployment.world.set_leader(&second).expect("elected");
    stays_retired(&mut deployment, &second);
    deployment.world.lose_unit(&second).expect("lost");
    deployment.settle().expect("settled");
    let third = deployment.add_unit(DISTRIBUTOR).expect("added");
    let third = third.as_str();
    deployment.world.set_leader(third).expect("elected");
    stays_retired(&mut deployment, third);

    // Another host that lives is as safe from the newcomer.
    let other = deployment.hostname(&minter);
    let answer = run(
        &mut deployment,
        third,
        "retire-host",
        json!({"host": other}),
    );
    let sentence = answer.failure.expect("a living unit may need it");
    assert!(sentence.contains("force=true"), "{sentence}");
    assert_eq!(
        run(&mut deployment, third, "retire-host", forced).results["outcome"],
        "unchanged"
    );
}

#[test]
fn a_lost_cluster_is_forgotten_and_the_next_one_forms() {
    for juju in [JujuGeneration::Three, JujuGeneration::Four] {
        let mut deployment = deployed(juju);
        let (leader, _) = units(&deployment);
        let refused = run(&mut deployment, &leader, "forget", json!({}));
        let sentence = refused.failure.expect("the communicator is a member");
        assert!(
            sentence.contains("is a member of the cluster: force=true"),
            "{sentence}"
        );
        for unit in deployment.consumer_units() {
            deployment.lose(unit.as_str()).expect("lost");
        }
        deployment.settle().expect("settled");
        assert!(
            deployment.ledger().has_real_value(),
            "nothing is forgotten without the action"
        );
        let forgotten = run(&mut deployment, &leader, "forget", json!({}));
        assert_eq!(forgotten.failure, None);
        assert_ne!(forgotten.results["changed"], "0");
        assert_eq!(forgotten.results["status"], "active: 0 hosts");
        assert!(deployment.ledger().mirror.is_empty());
        for _ in 0..2 {
            deployment.add_unit("microovn").expect("added");
        }
        deployment.settle().expect("settled");
        assert_eq!(deployment.ledger().mirror.len(), 2);
    }
}

/// Hazard 5 of docs/hazards.md: a consumer asks for permission to bootstrap only while it leads and
/// a distributor unit joins.
#[test]
fn the_remedy_is_named_when_a_leader_was_lost_before_it_bootstrapped() {
    let mut deployment = (0..100)
        .find_map(|seed| {
            let setup = Setup {
                seed,
                ..Setup::default()
            };
            let mut deployment = setup.deploy().expect("deployed");
            deployment.relate_all().expect("related");
            let units = deployment.consumer_units();
            // The others have run their hooks while another unit led.
            loop {
                let world = &deployment.world;
                let (leaders, others): (Vec<_>, Vec<_>) =
                    units.iter().partition(|unit| world.model().is_leader(unit));
                let has_joined = |unit: &&UnitName| {
                    let hooks = world.hooks_of(unit.as_str());
                    hooks.iter().any(|hook| hook.ends_with("relation-joined"))
                };
                if leaders.iter().any(has_joined) {
                    return None;
                }
                if leaders.len() == 1 && others.iter().all(has_joined) {
                    let leader = leaders[0].as_str().to_owned();
                    deployment.lose(&leader).expect("lost");
                    deployment.settle().expect("settled");
                    return Some(deployment);
                }
                deployment.world.step().then_some(())?;
            }
        })
        .expect("one of a hundred deployments");
    assert_eq!(deployment.outcome().expect("readable").clusters, 0);

    let leader = deployment.leader().expect("a leader").as_str().to_owned();
    let found = run(&mut deployment, &leader, "check", json!({}));
    let report = found.results["report"].as_str().expect("findings");
    assert!(report.starts_with("nobody-mints: 2 hosts wait"), "{report}");
    let remedy = "add a unit to the token distributor, and microovn tries again";
    assert!(report.contains(remedy), "{report}");

    deployment.add_unit(DISTRIBUTOR).expect("added");
    deployment.settle().expect("settled");
    let outcome = deployment.outcome().expect("readable");
    assert!(outcome.is_one_cluster(), "{outcome}");
}

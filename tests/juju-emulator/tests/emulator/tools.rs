//! What hook tools print, their exit codes and error texts: the contract's section 3 as tables.

use std::cell::RefCell;
use std::rc::Rc;

use crate::support::{BOTH, Rig, Tools, changed, db_hook, stdout};
use juju_emulator::JujuGeneration::{Four, Three};
use juju_emulator::agent::{Hook, RelationEvent};
use juju_emulator::{ToolOutput, UnitName};
use serde_json::{Map, Value, json};

/// (who asks, what, exit code, text after `ERROR `)
type Refusal = (&'static str, &'static str, i32, &'static str);

const REFUSED_EVERYWHERE: &[Refusal] = &[
    // Grammar.
    (
        "p/0",
        "is-leader --bogus",
        2,
        "option provided but not defined: --bogus",
    ),
    (
        "p/0",
        "is-leader -x",
        2,
        "option provided but not defined: -x",
    ),
    ("p/0", "relation-get -r", 2, "option needs an argument: -r"),
    (
        "p/0",
        "relation-get --relation",
        2,
        "option needs an argument: --relation",
    ),
    ("p/0", "is-leader x", 2, "unrecognized args: [\"x\"]"),
    (
        "p/0",
        "relation-ids db x y",
        2,
        "unrecognized args: [\"x\" \"y\"]",
    ),
    (
        "p/0",
        "is-leader --format=x",
        2,
        "invalid value \"x\" for option --format: unknown format \"x\"",
    ),
    (
        "p/0",
        "goal-state --format smart",
        2,
        "invalid value \"smart\" for option --format: unknown format \"smart\"",
    ),
    (
        "p/0",
        "no-such-tool",
        1,
        "bad request: unknown command: no-such-tool",
    ),
    // Relations.
    ("p/0", "relation-get", 2, "no relation id specified"),
    ("p/0", "relation-list", 2, "no relation id specified"),
    ("p/0", "relation-set a=b", 2, "no relation id specified"),
    ("p/0", "relation-ids", 2, "no endpoint name specified"),
    (
        "p/0",
        "relation-get -r foo:x",
        2,
        "invalid value \"foo:x\" for option -r: invalid relation id",
    ),
    (
        "p/0",
        "relation-set --relation=foo:9 a=b",
        2,
        "invalid value \"foo:9\" for option --relation: relation not found",
    ),
    (
        "p/0",
        "relation-list -rfoo:9",
        2,
        "invalid value \"foo:9\" for option -r: relation not found",
    ),
    (
        "p/0",
        "relation-get -r 1",
        2,
        "no unit or application specified",
    ),
    (
        "p/0",
        "relation-get -r 1 - r",
        2,
        "expected unit name, got application name \"r\"",
    ),
    (
        "p/0",
        "relation-get -r 1 - R/x",
        2,
        "invalid unit name \"R/x\"",
    ),
    ("p/0", "relation-get -r 1 --app - s", 1, "permission denied"),
    (
        "p/0",
        "relation-set -r 1 x",
        2,
        "expected \"key=value\", got \"x\"",
    ),
    (
        "p/0",
        "relation-set -r 1 =x",
        2,
        "expected \"key=value\", got \"=x\"",
    ),
    (
        "p/0",
        "relation-set -r 1 a=1 a=2",
        2,
        "key \"a\" specified more than once",
    ),
    (
        "p/1",
        "relation-set -r 1 --app a=b",
        1,
        "cannot write relation settings",
    ),
    (
        "p/0",
        "relation-set -r 1 --file /nowhere/x",
        1,
        "open /nowhere/x: no such file or directory",
    ),
    // The others.
    (
        "p/0",
        "config-get --all name",
        2,
        "cannot use argument --all together with key \"name\"",
    ),
    (
        "p/0",
        "status-set merry",
        2,
        "invalid status \"merry\", expected one of [maintenance blocked waiting active]",
    ),
    (
        "p/0",
        "status-set",
        2,
        "invalid args, require <status> [message]",
    ),
    (
        "p/0",
        "status-set active -x",
        2,
        "option provided but not defined: -x",
    ),
    (
        "p/1",
        "status-set --application active",
        1,
        "this unit is not the leader",
    ),
    (
        "p/1",
        "status-get --application",
        1,
        "finding application status: this unit is not the leader",
    ),
    ("p/0", "juju-log", 2, "no message specified"),
    ("p/0", "application-version-set", 2, "no version specified"),
    ("p/0", "action-get", 1, "not running an action"),
    ("p/0", "action-set a=b", 1, "not running an action"),
    ("p/0", "action-fail", 1, "not running an action"),
    ("p/0", "action-log x", 1, "not running an action"),
    (
        "p/0",
        "action-set x",
        2,
        "argument \"x\" must be of the form key...=value",
    ),
    (
        "p/0",
        "action-set a.stdout=x",
        2,
        "cannot set reserved action key \"stdout\"",
    ),
    ("p/0", "state-get --strict k", 1, "\"k\" not found"),
    ("p/0", "network-get", 2, "no arguments specified"),
    (
        "p/0",
        "network-get nothing",
        1,
        "no network config found for binding \"nothing\"",
    ),
];

const REFUSED_BY_THREE: &[Refusal] = &[
    ("p/1", "relation-get -r 1 --app - p", 1, "permission denied"),
    (
        "p/0",
        "relation-get -r 1 - r/9",
        1,
        "cannot read settings for unit \"r/9\" in relation \"r:db p:db\": unit \"r/9\": settings not found",
    ),
    ("p/0", "relation-get -r 1 - s/0", 1, "permission denied"),
    (
        "p/0",
        "action-set A=x",
        2,
        "key \"A\" must start and end with lowercase alphanumeric, and contain only lowercase alphanumeric, hyphens and periods",
    ),
];

const REFUSED_BY_FOUR: &[Refusal] = &[
    (
        "p/0",
        "relation-get -r 1 - r/9",
        1,
        "relation unit not found",
    ),
    (
        "p/0",
        "action-set a-=x",
        2,
        "key \"a-\" must start and end with lowercase alphanumeric, and contain only lowercase alphanumeric and hyphens",
    ),
];

#[test]
fn refusals_have_their_exit_code_and_their_words() {
    for (generation, more) in [(Three, REFUSED_BY_THREE), (Four, REFUSED_BY_FOUR)] {
        let mut rig = Rig::settled(generation, 2, 1);
        for (unit, line, code, message) in REFUSED_EVERYWHERE.iter().chain(more) {
            let expected = ToolOutput {
                code: *code,
                stderr: format!("ERROR {message}\n").into_bytes(),
                ..ToolOutput::default()
            };
            assert_eq!(
                rig.ask(unit, line),
                expected,
                "{generation:?}: {unit} {line}"
            );
        }
    }
}

#[test]
fn answers_outside_relation_hooks() {
    for generation in BOTH {
        let mut rig = Rig::settled(generation, 2, 11);
        rig.write("r/0", crate::support::DB, "k=v x=1=2");
        rig.write("p/0", crate::support::DB, "--app a=b");
        rig.settle();
        for (unit, line, expected) in [
            ("p/0", "is-leader", "True\n"),
            ("p/1", "is-leader --format json", "false\n"),
            ("p/0", "is-leader --format=yaml", "true\n"),
            ("p/0", "relation-ids db --format=json", "[\"db:1\"]\n"),
            ("p/0", "relation-ids friends", "friends:0\n"),
            ("p/0", "relation-ids other --format=json", "[]\n"),
            ("p/0", "relation-ids nonsense", ""),
            (
                "p/0",
                "relation-list -r 1 --format=json",
                "[\"r/0\",\"r/1\",\"r/10\",\"r/2\",\"r/3\",\"r/4\",\"r/5\",\"r/6\",\"r/7\",\"r/8\",\"r/9\"]\n",
            ),
            (
                "p/0",
                "relation-list --format=json -r anything:1 --app",
                "\"r\"\n",
            ),
            ("p/0", "relation-list --app -r 0 --format=json", "\"p\"\n"),
            (
                "p/0",
                "relation-list -r friends:0 --format=json",
                "[\"p/1\"]\n",
            ),
            ("p/0", "relation-get -r 1 k r/0", "v\n"),
            ("p/0", "relation-get k r/0 -r db:1 --format=json", "\"v\"\n"),
            ("p/0", "relation-get -r 1 x r/0 --format=json", "\"1=2\"\n"),
            (
                "p/0",
                "relation-get -r 1 missing r/0 --format=json",
                "null\n",
            ),
            ("p/0", "relation-get -r 1 missing r/0", ""),
            (
                "r/0",
                "relation-get -r 1 --app - p --format=json",
                "{\"a\":\"b\"}\n",
            ),
            (
                "r/0",
                "relation-get -r 1 --app - p/1 --format=json",
                "{\"a\":\"b\"}\n",
            ),
            ("r/0", "relation-get -r 1 --app --format=json '' r", "{}\n"),
            ("p/1", "relation-get -r 0 --app - p --format=json", "{}\n"),
            (
                "p/0",
                "relation-model-get -r 1 --format=json",
                "{\"uuid\":\"2a7ba2e3-5d1f-4c0e-8a63-000000000001\"}\n",
            ),
            (
                "p/0",
                "config-get --format=json",
                "{\"big\":false,\"name\":\"\\u003ca \\u0026 b\\u003e\"}\n",
            ),
            (
                "p/0",
                "config-get -a --format=json",
                "{\"big\":false,\"count\":null,\"name\":\"\\u003ca \\u0026 b\\u003e\"}\n",
            ),
            ("p/0", "config-get name", "<a & b>\n"),
            ("p/0", "config-get count --format=json", "null\n"),
            ("p/0", "config-get nonsense --format=json", "null\n"),
            (
                "p/0",
                "status-get --format=json",
                "{\"status\":\"unknown\"}\n",
            ),
            (
                "p/0",
                "status-get --include-data --format=json",
                "{\"message\":\"\",\"status\":\"unknown\",\"status-data\":{}}\n",
            ),
            ("p/0", "state-get k --format=json", "\"\"\n"),
            ("p/0", "state-get --format=json", "{}\n"),
            ("p/0", "network-get db --ingress-address", "10.0.0.1\n"),
            (
                "p/0",
                "network-get db --egress-subnets --format=json",
                "[\"10.0.0.1/32\"]\n",
            ),
            ("p/0", "relation-set -r 1", ""),
        ] {
            assert_eq!(stdout(&rig.ask(unit, line)), expected, "{unit} {line}");
        }
    }
}

#[test]
fn own_unit_bag_has_what_juju_puts_there() {
    for (generation, expected) in [
        (
            Three,
            "{\"egress-subnets\":\"10.0.0.1/32\",\"ingress-address\":\"10.0.0.1\",\"private-address\":\"10.0.0.1\"}\n",
        ),
        (
            Four,
            "{\"egress-subnets\":\"10.0.0.1/32\",\"ingress-address\":\"10.0.0.1\"}\n",
        ),
    ] {
        let mut rig = Rig::settled(generation, 1, 1);
        let line = "relation-get -r 1 - p/0 --format=json";
        assert_eq!(stdout(&rig.ask("p/0", line)), expected);
    }
}

#[test]
fn a_relation_hook_knows_its_relation_and_its_remote() {
    let app_changed = db_hook(RelationEvent::AppChanged {
        app: juju_emulator::AppName::new("r"),
        version: 0,
    });
    for (hook, line, expected) in [
        (changed("r/1"), "relation-get who", "r1\n"),
        (changed("r/1"), "relation-get who r/0", ""),
        (changed("r/1"), "relation-get --app who", "app\n"),
        (changed("r/1"), "relation-ids", "db:1\n"),
        (changed("r/1"), "relation-list", "r/0\nr/1\n"),
        (app_changed.clone(), "relation-get who", "app\n"),
        (
            app_changed,
            "relation-get --format=json",
            "{\"who\":\"app\"}\n",
        ),
        (db_hook(RelationEvent::Created), "relation-get who", "app\n"),
        (db_hook(RelationEvent::Broken), "relation-get who", "app\n"),
        (
            db_hook(RelationEvent::Departed {
                unit: UnitName::new("r", 1),
            }),
            "relation-list",
            "r/0\n",
        ),
    ] {
        // Not all of these hooks are really due, so each begins from the same state.
        let mut rig = Rig::settled(Three, 1, 2);
        rig.write("r/1", crate::support::DB, "who=r1");
        rig.write("r/0", crate::support::DB, "--app who=app");
        rig.settle();
        let answer = rig.ask_in("p/0", hook.clone(), line);
        assert_eq!(stdout(&answer), expected, "{hook:?} {line}");
    }
}

#[test]
fn relation_ids_sort_as_text() {
    let mut rig = Rig::settled(Three, 1, 1);
    let charm = juju_emulator::Charm::in_process(
        juju_emulator::Metadata::parse("{name: s, requires: {db: {interface: sql}}}", "", "")
            .unwrap(),
        |_| |_: &crate::support::Environment, _: &mut juju_emulator::CallTool<'_>| 0,
    );
    for number in 2..=10 {
        let app = format!("s{number}");
        rig.world.deploy(&app, &charm, 0, &[]).unwrap();
        rig.world.integrate("p:db", &format!("{app}:db")).unwrap();
    }
    rig.settle();
    let ids = stdout(&rig.ask("p/0", "relation-ids db"));
    assert_eq!(
        ids,
        "db:1\ndb:10\ndb:2\ndb:3\ndb:4\ndb:5\ndb:6\ndb:7\ndb:8\ndb:9\n"
    );
}

#[test]
fn relation_set_merges_deletes_and_reads_documents() {
    let mut rig = Rig::settled(Four, 1, 1);
    let seen = Rc::new(RefCell::new(Vec::new()));
    let kept = Rc::clone(&seen);
    rig.during(
        "p/0",
        Hook::UpdateStatus,
        move |tools: &mut Tools<'_, '_>| {
            for (line, stdin) in [
                ("relation-set -r 1 a=1 b=2=3", None),
                (
                    "relation-set -r 1 --file - b=over c=",
                    Some(&br#"{"a": null, "b": "x", "c": "y", "d=": "z"}"#[..]),
                ),
                ("relation-set -r 1 --file -", Some(&b""[..])),
                ("relation-set -r 1 missing=", None),
                ("relation-set -r 1 d=again --format=json", None),
            ] {
                let output = tools.call_with(line, stdin);
                assert_eq!((output.code, output.stdout), (0, Vec::new()), "{line}");
                let bag = tools.text("relation-get -r 1 --format=json - p/0");
                let mut bag: Map<String, Value> = serde_json::from_str(&bag).unwrap();
                bag.retain(|key, _| key.len() < 3);
                kept.borrow_mut().push(Value::Object(bag));
            }
            let refused = tools.call_with("relation-set -r 1 --file -", Some(b"[1]"));
            assert_eq!(refused.code, 1);
            assert!(refused.stderr.starts_with(b"ERROR yaml: "), "{refused:?}");
        },
    );
    let expected = [
        json!({"a": "1", "b": "2=3"}),
        json!({"b": "over", "d=": "z"}),
        json!({"b": "over", "d=": "z"}),
        json!({"b": "over", "d=": "z"}),
        json!({"b": "over", "d": "again", "d=": "z"}),
    ];
    assert_eq!(*seen.borrow(), expected);
}

#[test]
fn values_are_printed_as_go_prints_them() {
    let mut rig = Rig::settled(Four, 1, 1);
    let line = "relation-set -r 1 k=<&>\u{2028}\u{2029}\u{7f}\u{85}é\"\\";
    assert_eq!(rig.ask("p/0", line), ToolOutput::default());
    let line = "relation-get -r 1 k p/0 --format=json";
    let expected = "\"\\u003c\\u0026\\u003e\\u2028\\u2029\u{7f}\u{85}é\\\"\\\\\"\n";
    assert_eq!(stdout(&rig.ask("p/0", line)), expected);
}

#[test]
fn a_message_that_begins_with_a_dash_needs_two_before_it() {
    let mut rig = Rig::settled(Four, 1, 1);
    assert_eq!(rig.ask("p/0", "status-set active -- -x-").code, 0);
    assert_eq!(rig.world.status()[0].message, "-x-");
    assert_eq!(rig.ask("p/0", "juju-log -l Warn -- --help me").code, 0);
    assert_eq!(rig.ask("p/0", "juju-log -l loud hello").code, 0);
    let log: Vec<(&str, &str)> = rig
        .world
        .model()
        .log
        .iter()
        .map(|line| (line.level.as_str(), line.text.as_str()))
        .collect();
    let complaint = "Specified log level of \"loud\" is not valid";
    assert_eq!(
        log,
        [
            ("WARNING", "--help me"),
            ("WARNING", complaint),
            ("INFO", "hello")
        ]
    );
    assert_eq!(rig.ask("p/0", "is-leader --help").code, 0);
}

#[test]
fn the_log_says_which_relation_it_is_about() {
    let mut rig = Rig::settled(Four, 1, 1);
    rig.ask_in("p/0", changed("r/0"), "juju-log two words");
    assert_eq!(rig.world.model().log[0].text, "db:1: two words");
}

#[test]
fn the_own_status_is_read_once_per_hook() {
    let mut rig = Rig::settled(Four, 1, 1);
    rig.during("p/0", Hook::UpdateStatus, |tools| {
        assert_eq!(tools.text("status-get"), "status: unknown\n");
        tools.text("status-set active");
        assert_eq!(tools.text("status-get"), "status: unknown\n");
    });
    assert_eq!(stdout(&rig.ask("p/0", "status-get")), "status: active\n");
}

#[test]
fn goal_state_lists_units_that_have_not_joined() {
    let mut rig = Rig::fresh(Four, 1, 1, 2);
    rig.world.integrate("p:db", "r:db").unwrap();
    rig.world.remove_unit("r/1").unwrap();
    let text = stdout(&rig.ask("p/0", "goal-state --format=json"));
    let since = "2026-05-28 20:26:40Z";
    let expected = json!({
        "relations": {"db": {
            "r": {"since": since, "status": "joined"},
            "r/0": {"since": since, "status": "unknown"},
            "r/1": {"since": since, "status": "dying"},
        }},
        "units": {"p/0": {"since": since, "status": "unknown"}},
    });
    assert_eq!(serde_json::from_str::<Value>(&text).unwrap(), expected);
    assert!(stdout(&rig.ask("p/0", "goal-state")).starts_with("relations:\n"));
}

/// Seen in the facade that the agents ask: Juju 3 reads a unit's status as `juju status` shows it,
/// Juju 4 that of the workload alone, though its documents name an error among the statuses.
#[test]
fn goal_state_shows_a_failed_hook_in_juju_3_only() {
    for (generation, status) in [(Three, "error"), (Four, "active")] {
        let mut rig = Rig::settled(generation, 2, 1);
        for unit in ["p/1", "r/0"] {
            rig.during(unit, Hook::UpdateStatus, |tools| {
                tools.text("status-set active");
            });
        }
        rig.charms(|unit, _, _| i32::from(unit.as_str() != "p/0"));
        for unit in ["p/1", "r/0"] {
            rig.world.run_hook(unit, Hook::UpdateStatus).unwrap();
        }
        let text = stdout(&rig.ask("p/0", "goal-state --format=json"));
        let goal: Value = serde_json::from_str(&text).unwrap();
        assert_eq!(goal["units"]["p/1"]["status"], status, "{generation:?}");
        assert_eq!(
            goal["relations"]["db"]["r/0"]["status"], status,
            "{generation:?}"
        );
    }
}

#[test]
fn state_is_kept_by_the_controller() {
    let mut rig = Rig::settled(Four, 1, 1);
    rig.during("p/0", Hook::UpdateStatus, |tools| {
        tools.text("state-set a=1 b=");
        assert_eq!(
            tools.text("state-get --format=json"),
            "{\"a\":\"1\",\"b\":\"\"}\n"
        );
        tools.text("state-delete a");
        let long = "x".repeat(257);
        let refused = tools.call(&format!("state-set {long}=1"));
        assert_eq!(
            refused.stderr,
            b"ERROR max allowed key length (256) exceeded\n"
        );
    });
    assert_eq!(
        stdout(&rig.ask("p/0", "state-get - --format=json")),
        "{\"b\":\"\"}\n"
    );
}

#[test]
fn actions_are_validated_and_leave_results() {
    let mut rig = Rig::settled(Three, 1, 1);
    for (given, refusal) in [
        (
            json!({}),
            "validation failed: (root) : \"copies\" property is missing and required, given {}",
        ),
        (
            json!({"copies": "x"}),
            "validation failed: (root).copies : must be of type integer, given \"x\"",
        ),
        (
            json!({"copies": 1, "to": 2}),
            "validation failed: (root) : additional property \"to\" is not allowed, given {\"copies\":1,\"to\":2}",
        ),
        (
            json!({"copies": 1, "target": "moon"}),
            "validation failed: (root).target : must match one of the enum values [\"disk\", \"tape\"], given \"moon\"",
        ),
    ] {
        let given = given.as_object().unwrap().clone();
        let error = rig.world.run_action("p/0", "backup", given).unwrap_err();
        assert_eq!(error.to_string(), refusal);
    }
    rig.charms(|_, environment, tools| {
        assert_eq!(environment["JUJU_DISPATCH_PATH"], "actions/backup");
        assert_eq!(environment["JUJU_HOOK_NAME"], "");
        let mut tools = Tools(tools);
        let all = tools.text("action-get --format=json");
        assert_eq!(
            all,
            "{\"copies\":2,\"plan\":{\"at\":\"night\"},\"target\":\"disk\"}\n"
        );
        assert_eq!(tools.text("action-get plan.at"), "night\n");
        assert_eq!(tools.text("action-get plan.by --format=json"), "null\n");
        tools.text("action-set a=1 b.c=2 return-code=9");
        tools.text("action-set a.b=3");
        tools.text("action-log so far");
        tools.text("action-fail no-tape");
        tools.text("relation-set -r 1 --app done=yes");
        0
    });
    let given = json!({"copies": 2, "plan": {"at": "night"}});
    let result = rig
        .world
        .run_action("p/0", "backup", given.as_object().unwrap().clone());
    let result = result.unwrap();
    let expected = json!({"a": {"b": "3"}, "b": {"c": "2"}, "return-code": 0});
    assert_eq!(Value::Object(result.results), expected);
    assert_eq!(result.failure.as_deref(), Some("no-tape"));
    assert_eq!(result.log, ["so far"]);
    // action-fail is no reason to lose what was written.
    assert_eq!(rig.world.app_bag(crate::support::DB, "p")["done"], "yes");
}

#[test]
fn an_action_that_exits_non_zero_loses_its_message_and_its_writes() {
    let mut rig = Rig::settled(Four, 1, 1);
    rig.charms(|_, _, tools| {
        let mut tools = Tools(tools);
        tools.text("relation-set -r 1 --app done=yes");
        tools.text("action-set got=this-far");
        tools.text("action-fail no-tape");
        3
    });
    let given = json!({"copies": 2}).as_object().unwrap().clone();
    let result = rig.world.run_action("p/0", "backup", given).unwrap();
    assert_eq!(result.failure.as_deref(), Some("exit status 3"));
    assert_eq!(result.results["got"], "this-far");
    assert_eq!(result.results["return-code"], 3);
    assert!(rig.world.app_bag(crate::support::DB, "p").is_empty());
    assert_eq!(
        rig.world.status()[0].agent,
        "idle",
        "an action never puts a unit in error"
    );
}

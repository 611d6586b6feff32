//! An in-place refresh from the Python charm, back to it, and forward again.

use std::collections::BTreeMap;

use juju_emulator::deployment::Provider;
use juju_emulator::python::Rules;

use crate::stage::{APP, BOTH, LEADER, SECRET, STANDBY, Stage};

fn token(text: &str) -> String {
    format!("{SECRET}{text}")
}

/// Two relations as the Python charm left them: all it ever wrote is in unit bags, but for
/// `bootstrap-app`, which its later releases wrote into the application bag.
fn left_by_python(bootstrap_app: bool, mut stage: Stage) -> Stage {
    for app in ["microovn", "microcloud"] {
        stage.says(&format!("{app}/0"), &[("hostname", &format!("{app}-0"))]);
        stage.says(&format!("{app}/1"), &[("hostname", &format!("{app}-1"))]);
        if bootstrap_app {
            stage.app_bag(app, &[("bootstrap-app", "microovn")]);
        }
    }
    stage.unit_bag(
        "microovn",
        LEADER,
        &[
            ("mirror", "up"),
            ("mirror-microovn-0", &token("a")),
            ("mirror-microovn-1", &token("b")),
            ("mirror-microcloud-0", &token("first")),
            ("mirror-gone", &token("c")),
        ],
    );
    stage.unit_bag(
        "microcloud",
        LEADER,
        &[
            ("mirror", "up"),
            ("mirror-microovn-0", &token("a")),
            ("mirror-microcloud-0", &token("second")),
            ("mirror-microcloud-1", "empty"),
        ],
    );
    stage
}

/// No key is written twice, and none that had a token goes back to a placeholder.
#[track_caller]
fn nothing_is_written_twice_or_minted_again(wrote: &[String]) {
    let mut times = BTreeMap::new();
    for written in wrote {
        let (key, value) = written.split_once('=').expect("a value");
        *times.entry(key).or_insert(0) += 1;
        assert!(value != "empty" || key.ends_with("-waits"), "{written}");
    }
    assert!(times.values().all(|times| *times == 1), "{wrote:#?}");
}

#[test]
fn the_ledger_is_made_of_the_unit_bags_which_stay_as_they_are() {
    for (juju, bootstrap_app) in BOTH
        .into_iter()
        .flat_map(|juju| [(juju, false), (juju, true)])
    {
        let stage = Stage::new(juju, 1)
            .related("microovn", 2)
            .related("microcloud", 2);
        let mut stage = left_by_python(bootstrap_app, stage);
        stage.settle();
        let before = ["microovn", "microcloud"].map(|app| stage.shown(LEADER, app));

        let mut stage = stage.played_by_and_watched(&Provider::Executable);
        let mut first = stage.wrote_since(0);
        first.retain(|line| !line.contains("mirror-microcloud-1="));
        nothing_is_written_twice_or_minted_again(&first);
        assert_eq!(stage.world.commits().len(), 1, "one hook writes it all");

        for (app, before) in ["microovn", "microcloud"].into_iter().zip(before) {
            let bag = stage.shown(LEADER, app);
            for (key, value) in before {
                assert_eq!(bag[&key], value, "{app}: {key} is kept");
            }
            // What only the other relation knew is known here, too.
            for (key, value) in [
                ("mirror-microovn-1", token("b")),
                ("mirror-gone", token("c")),
                ("mirror-microcloud-1", "empty".to_owned()),
            ] {
                assert_eq!(bag[key], value, "{app}: {key}");
                assert_eq!(stage.ledger()[key], value, "{key}");
            }
            assert_eq!(stage.shown_by_app(app)["bootstrap-app"], "microovn");
        }
        // Each relation keeps the value it had, and `check` says so.
        assert_eq!(stage.ledger()["mirror-microcloud-0"], token("first"));
        assert_eq!(
            stage.shown(LEADER, "microcloud")["mirror-microcloud-0"],
            token("second")
        );
        let found = stage.action(LEADER, "check", &[]);
        let report = found.results["report"].as_str().expect("findings");
        assert!(report.contains("values-disagree: microcloud-0"), "{report}");
        assert_eq!(
            stage.status(LEADER),
            "waiting 1 of 5 hosts waiting for a join token"
        );

        for hook in ["upgrade-charm", "config-changed", "start"] {
            stage.hook(LEADER, hook).succeeds().wrote(&[]);
        }
    }
}

/// The Python charm with two units, the second of which leads. The first has been leader, and its
/// bag alone holds the token of h1: the communicator that gave it is gone. h-waits has none.
fn a_former_leader_holds_a_token(juju: juju_emulator::JujuGeneration, rules: Rules) -> Stage {
    let stage = Stage::new(juju, 2).related("microovn", 3);
    let mut stage = stage.played_by(&Provider::Python(rules));
    stage.says("microovn/1", &[("hostname", "h1")]);
    stage.says(
        "microovn/0",
        &[
            ("hostname", "h0"),
            ("mirror", "up"),
            ("mirror-h1", &token("1")),
        ],
    );
    stage.settle();
    assert_eq!(stage.shown(LEADER, "microovn")["mirror-h1"], token("1"));
    stage.world.lose_unit("microovn/0").expect("it was there");
    stage.settle();
    stage.world.set_leader(STANDBY).expect("it is there");
    stage.says("microovn/2", &[("hostname", "h-waits")]);
    stage.settle();
    let shown = stage.shown(STANDBY, "microovn");
    assert_eq!(shown["mirror-h1"], "empty", "{juju:?}: it is lost there");
    assert_eq!(shown["mirror-h-waits"], "empty");
    stage
}

#[test]
fn a_token_that_only_a_former_leader_holds_is_found() {
    for juju in BOTH {
        for rules in [Rules::B, Rules::E] {
            for is_alive in [true, false] {
                let mut stage = a_former_leader_holds_a_token(juju, rules);
                if !is_alive {
                    stage.world.lose_unit(LEADER).expect("it was there");
                    stage.settle();
                }
                let stage = stage.played_by_and_watched(&Provider::Executable);
                let case = format!("{juju:?} {rules:?}, alive: {is_alive}");
                assert_eq!(stage.ledger()["mirror-h1"], token("1"), "{case}");
                let shown = stage.shown(STANDBY, "microovn");
                assert_eq!(shown["mirror-h1"], token("1"), "{case}");
                assert_eq!(shown["mirror-h-waits"], "empty", "{case}");
                nothing_is_written_twice_or_minted_again(&stage.wrote_since(0));
                let commits = stage.world.commits().iter();
                let of_leader = commits.filter(|commit| commit.unit.as_str() == STANDBY);
                assert_eq!(of_leader.count(), 1, "{case}");
                if is_alive {
                    let former = stage.shown(LEADER, "microovn");
                    assert_eq!(former["mirror"], "down", "{case}");
                    assert_eq!(former.get("mirror-h1"), None, "{case}");
                }
            }
        }
    }
}

#[test]
fn back_to_the_python_charm_and_forward_again_nothing_is_lost() {
    for juju in BOTH {
        for rules in [Rules::B, Rules::E] {
            let case = format!("{juju:?} {rules:?}");
            let stage = a_former_leader_holds_a_token(juju, rules);
            let mut stage = stage.played_by(&Provider::Executable);
            // Whatever was shown stays shown.
            let ours = stage.shown(STANDBY, "microovn");
            stage.refresh(&Provider::Python(rules));
            stage.settle();
            let theirs = stage.shown(STANDBY, "microovn");
            for (key, value) in &ours {
                assert_eq!(theirs.get(key), Some(value), "{case}: {key}");
            }
            // Meanwhile the host that waited gets its token, and another host comes.
            stage.enter("microovn");
            stage.says("microovn/3", &[("hostname", "h3")]);
            let up = [("mirror", "up"), ("mirror-h-waits", &token("2"))];
            stage.says("microovn/1", &up);
            stage.settle();
            let mut stage = stage.played_by_and_watched(&Provider::Executable);
            for bag in [stage.ledger(), stage.shown(STANDBY, "microovn")] {
                assert_eq!(bag["mirror-h-waits"], token("2"), "{case}");
                assert_eq!(bag["mirror-h3"], "empty", "{case}");
            }
            let tokens = stage.wrote_since(0).into_iter();
            let mut back = tokens.filter(|line| line.contains("mirror-h-waits=empty"));
            assert_eq!(back.next(), None, "{case}");
            // The name of a member, which needs no token any more.
            assert_eq!(stage.ledger()["host-h1"], "microovn/1*", "{case}");
            assert_eq!(
                stage.status(STANDBY),
                "waiting 1 of 3 hosts waiting for a join token",
                "{case}"
            );
            stage.hook(STANDBY, "config-changed").succeeds().wrote(&[]);
        }
    }
}

#[test]
fn the_workload_version_is_that_of_the_charm() {
    let stage = Stage::new(BOTH[0], 1).played_by(&Provider::Executable);
    let (_, unit) = stage
        .world
        .model()
        .unit(&format!("{APP}/0"))
        .expect("it is there");
    assert_eq!(unit.workload_version, env!("CARGO_PKG_VERSION"));
}

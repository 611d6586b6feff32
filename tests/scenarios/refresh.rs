//! An in-place refresh from the Python charm.

use std::collections::BTreeMap;

use juju_emulator::deployment::Provider;

use crate::stage::{APP, BOTH, LEADER, SECRET, Stage};

fn token(text: &str) -> String {
    format!("{SECRET}{text}")
}

/// Two relations as the Python charm left them: all it ever wrote stands in unit bags, but for
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

#[test]
fn unit_bags_are_kept_and_application_bags_filled_in_with_nothing_written_twice() {
    for (juju, bootstrap_app) in BOTH
        .into_iter()
        .flat_map(|juju| [(juju, false), (juju, true)])
    {
        let stage = Stage::new(juju, 1)
            .related("microovn", 2)
            .related("microcloud", 2);
        let mut stage = left_by_python(bootstrap_app, stage);
        stage.settle();
        let before = ["microovn", "microcloud"].map(|app| stage.own_bags(app));

        let mut stage = stage.played_by_and_watched(&Provider::Executable);
        let first = stage.wrote_since(0);
        let mut times = BTreeMap::new();
        for written in &first {
            let (key, _) = written.split_once('=').expect("a value");
            *times.entry(key).or_insert(0) += 1;
        }
        assert!(times.values().all(|times| *times == 1), "{first:#?}");
        assert_eq!(stage.world.commits().len(), 1, "one hook writes it all");

        for (app, [_, unit_before]) in ["microovn", "microcloud"].into_iter().zip(before) {
            let [app_bag, unit_bag] = stage.own_bags(app);
            for (key, value) in unit_before {
                assert_eq!(unit_bag[&key], value, "{app}: {key} is kept");
                if key.starts_with("mirror-") {
                    assert_eq!(app_bag[&key], value, "{app}: {key} is filled in");
                }
            }
            assert_eq!(app_bag["bootstrap-app"], "microovn");
            assert_eq!(unit_bag["bootstrap-app"], "microovn");
            // What only the other relation knew is known here, too.
            for (key, value) in [
                ("mirror-microovn-1", token("b")),
                ("mirror-gone", token("c")),
                ("mirror-microcloud-1", "empty".to_owned()),
            ] {
                assert_eq!(
                    (&app_bag[key], &unit_bag[key]),
                    (&value, &value),
                    "{app}: {key}"
                );
            }
        }
        // Each relation keeps the value it had.
        assert_eq!(
            stage.own_bags("microovn")[0]["mirror-microcloud-0"],
            token("first")
        );
        assert_eq!(
            stage.own_bags("microcloud")[0]["mirror-microcloud-0"],
            token("second")
        );
        assert_eq!(
            stage.status(LEADER),
            "waiting 1 of 5 hosts waiting for a join token"
        );

        for hook in ["upgrade-charm", "config-changed", "start"] {
            stage.hook(LEADER, hook).succeeds().wrote(&[]);
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

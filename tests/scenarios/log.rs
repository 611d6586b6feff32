//! What an operator reads: the log and the status.

use juju_emulator::deployment::Provider;
use juju_emulator::{JujuGeneration, UnitName};
use microcluster_token_distributor::core::fingerprint::fingerprint;

use crate::stage::{APP, BOTH, LEADER, Pairs, Played, SECRET, STANDBY, Stage};

fn stage(juju: JujuGeneration) -> Stage {
    let stage = Stage::new(juju, 1).related("microovn", 3);
    stage.played_by(&Provider::Executable)
}

#[track_caller]
fn logged(played: &Played, expected: &[&str]) {
    assert_eq!(played.succeeds().logged, expected);
    // Consecutive lines of a level are one call.
    assert_eq!(played.run.calls_of("juju-log"), expected.len());
}

#[test]
fn each_change_is_one_line_that_names_the_key_and_never_the_value() {
    let mut stage = stage(JujuGeneration::Four);
    stage.says("microovn/1", &[("hostname", "h1")]);
    logged(
        &stage.changed("microovn/1"),
        &["INFO microcluster-cluster:1: mirror-h1: placeholder for microovn/1"],
    );
    stage.says(
        "microovn/0",
        &[("hostname", "h0"), ("mirror", "up"), ("mirror-h1", SECRET)],
    );
    logged(
        &stage.changed("microovn/0"),
        &[
            "INFO microcluster-cluster:1: mirror-h0: member microovn/0\n\
             mirror-h1: value from microovn/0",
        ],
    );
    logged(&stage.changed("microovn/0"), &[]);
}

#[test]
fn lines_of_one_level_go_together_and_those_of_another_apart() {
    let mut stage = stage(JujuGeneration::Four);
    let up = [
        ("mirror", "up"),
        ("mirror-h1", SECRET),
        ("mirror-h2", SECRET),
    ];
    stage.says("microovn/0", &up);
    stage.says("microovn/1", &[("hostname", "--help")]);
    stage.world.restart_agent(LEADER).expect("it is there");
    logged(
        &stage.hook(LEADER, "config-changed"),
        &[
            "INFO mirror-h1: value from microovn/0\nmirror-h2: value from microovn/0",
            "WARNING host name \"--help\" of microovn/1: microcluster refuses it; rename the host",
        ],
    );
}

#[test]
fn log_level_is_honoured_and_a_bad_one_counts_as_the_default() {
    let news: Pairs<'_> = &[("mirror", "up"), ("mirror-h1", SECRET)];
    let info = "INFO microcluster-cluster:1: mirror-h1: value from microovn/0";
    for (level, expected) in [
        ("trace", &[info][..]),
        ("debug", &[info]),
        ("info", &[info]),
        ("INFO", &[info]),
        ("warning", &[]),
        ("error", &[]),
        ("critical", &[]),
        ("loud", &[info]),
    ] {
        let mut stage = stage(JujuGeneration::Four);
        stage
            .world
            .set_config(APP, &[("log-level", level)])
            .expect("an option");
        let lines = stage.world.model().log.len();
        stage.settle();
        let warning = "WARNING config log-level: \"loud\" is none of trace, debug, info, warning, \
                       error, critical";
        let warned = stage.logged_since(lines).contains(&warning.to_owned());
        assert_eq!(warned, level == "loud");
        stage.says("microovn/0", news);
        logged(&stage.changed("microovn/0"), expected);
    }
}

#[test]
fn decisions_are_logged_for_who_asks_for_them() {
    let decision = "DEBUG microcluster-cluster:1: microovn/0 offers 1 other value than the mirror \
                    holds; the first to come stays";
    for (level, seen) in [("debug", true), ("info", false)] {
        let mut stage = stage(JujuGeneration::Four);
        stage
            .world
            .set_config(APP, &[("log-level", level)])
            .expect("an option");
        stage.settle();
        stage.says("microovn/0", &[("mirror", "up"), ("mirror-h1", SECRET)]);
        stage.changed("microovn/0").succeeds();
        let other = format!("{SECRET}2");
        stage.says(
            "microovn/0",
            &[("mirror-h1", &other), ("mirror-h2", &other)],
        );
        let played = stage.changed("microovn/0");
        let said = played.succeeds().logged.contains(&decision.to_owned());
        assert_eq!(said, seen, "{level}: {:?}", played.logged);
    }
}

#[test]
fn a_status_says_whether_to_wait_or_to_act() {
    for juju in BOTH {
        let stage = Stage::new(juju, 1).played_by(&Provider::Executable);
        assert_eq!(stage.status(LEADER), "active no microcluster related");

        let mut stage = stage.related("microovn", 3);
        assert_eq!(stage.status(LEADER), "active 0 hosts");
        for host in ["h0", "h1", "h2"] {
            stage.says(&host.replace('h', "microovn/"), &[("hostname", host)]);
        }
        stage.settle();
        assert_eq!(
            stage.status(LEADER),
            "waiting 3 of 3 hosts waiting for a join token"
        );
        // Whoever has a mirror is a member, and waits for nothing.
        stage.says("microovn/0", &[("mirror", "up"), ("mirror-h1", SECRET)]);
        stage.settle();
        assert_eq!(
            stage.status(LEADER),
            "waiting 1 of 3 hosts waiting for a join token"
        );
        stage.says("microovn/0", &[("mirror-h2", SECRET)]);
        stage.settle();
        assert_eq!(stage.status(LEADER), "active 3 hosts");

        for (option, value, status) in [
            (
                "bootstrap-app",
                "microcloud",
                "blocked config bootstrap-app: microcloud is not related; relate it or set another",
            ),
            ("bootstrap-app", "", "active 3 hosts"),
            (
                "log-level",
                "loud",
                "blocked config log-level: \"loud\" is none of trace, debug, info, warning, error, \
                 critical",
            ),
            ("log-level", "info", "active 3 hosts"),
        ] {
            stage
                .world
                .set_config(APP, &[(option, value)])
                .expect("an option");
            stage.settle();
            assert_eq!(stage.status(LEADER), status);
        }
        stage.says("microovn/2", &[("hostname", "a_b")]);
        stage.settle();
        assert_eq!(
            stage.status(LEADER),
            "blocked host name \"a_b\" of microovn/2: microcluster refuses it; rename the host"
        );
    }
}

#[test]
fn many_units_under_one_name_have_a_status_that_can_be_read() {
    for juju in BOTH {
        let mut stage = Stage::new(juju, 2).related("microovn", 40);
        for unit in 0..40 {
            stage.says(&format!("microovn/{unit}"), &[("hostname", "ubuntu")]);
        }
        let mut stage = stage.played_by(&Provider::Executable);
        let status = "blocked host name ubuntu: 39 more units beside microovn/0 have it; redeploy \
                      all but microovn/0 under other names";
        assert_eq!(stage.status(LEADER), status);
        stage.says("microovn/39", &[("hostname", "a_b")]);
        stage.settle();
        let status = stage.status(LEADER);
        assert!(status.ends_with(" (+1 more)"), "{status}");
        assert!(status.chars().count() <= "blocked ".len() + 160, "{status}");
        assert_eq!(stage.status(STANDBY), "active standby");
    }
}

/// As in some 4.0.x.
#[test]
fn a_unit_whose_hooks_never_fire_is_found_by_update_status() {
    let stage = Stage::new(JujuGeneration::Four, 1).related("microovn", 1);
    let mut stage = stage.played_by(&Provider::Executable);
    let silent = ["microovn/1"].into_iter().filter_map(UnitName::parse);
    stage.world.model_mut().quirks.silent_units = silent.collect();
    stage.enter("microovn");
    stage.says("microovn/1", &[("hostname", "h1")]);
    stage.settle();
    assert_eq!(stage.ledger().get("mirror-h1"), None);
    stage.hook(LEADER, "update-status").succeeds();
    assert_eq!(stage.ledger()["host-h1"], "microovn/1");
    assert_eq!(stage.shown(LEADER, "microovn")["mirror-h1"], "empty");
}

#[test]
fn a_status_is_set_only_when_it_differs() {
    let stage = Stage::new(JujuGeneration::Four, 2).related("microovn", 1);
    let mut stage = stage.played_by(&Provider::Executable);
    assert_eq!(stage.status(STANDBY), "active standby");
    for unit in [LEADER, STANDBY] {
        for hook in ["update-status", "config-changed"] {
            let played = stage.hook(unit, hook);
            assert_eq!(
                played.succeeds().run.calls_of("status-set"),
                0,
                "{hook} of {unit}"
            );
        }
    }
}

#[test]
fn a_former_leader_is_standby_as_soon_as_it_steps_back() {
    let mut stage = Stage::new(JujuGeneration::Four, 2)
        .related("microovn", 1)
        .played_by(&Provider::Library);
    assert_eq!(stage.status(LEADER), "active 0 hosts");
    stage.world.set_leader(STANDBY).expect("it is there");
    stage.hook(STANDBY, "leader-elected").succeeds();
    stage.relation_hook(LEADER, "changed", APP).succeeds();
    assert_eq!(stage.shown(LEADER, "microovn")["mirror"], "down");
    assert_eq!(stage.status(LEADER), "active standby");
}

#[test]
fn each_change_outside_the_mirror_has_its_line() {
    let mut stage = stage(JujuGeneration::Four);
    stage
        .world
        .set_config(APP, &[("bootstrap-app", "other")])
        .expect("an option");
    let played = stage.hook(LEADER, "config-changed");
    let chosen = "INFO bootstrap-app: other";
    assert!(played.logged[0].starts_with(chosen), "{:?}", played.logged);
    let mut stage = self::stage(JujuGeneration::Four);
    stage.says("microovn/0", &[("mirror", "up"), ("mirror-h1", "token")]);
    stage.changed("microovn/0").succeeds();
    let refused = fingerprint("token");
    stage.says("microovn/1", &[("hostname", "h1"), ("refused", &refused)]);
    let played = stage.changed("microovn/1");
    let line = "mirror-h1: token refused by microovn/1";
    assert!(played.logged[0].contains(line), "{:?}", played.logged);
    let played = stage.hook(LEADER, "update-status");
    let nudged = "INFO nudge: hosts wait, so consumers act again";
    assert!(played.logged[0].starts_with(nudged), "{:?}", played.logged);
}

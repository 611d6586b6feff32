//! What the charm makes of advice that says less than there is: goal-state that leaves out a whole
//! application, names of applications of other models, options that are reset without a hook, and
//! relations across models that are made anew.

use juju_emulator::deployment::Provider;
use juju_emulator::{Effect, Injection};

use crate::stage::{BOTH, LEADER, SECRET, STANDBY, Stage};

/// From now on goal-state says this of the related applications, and nothing else.
fn goal_state_says(stage: &mut Stage, related: &str) {
    let text = format!(
        r#"{{"units": {{"mtd/0": {{"status": "active"}}, "mtd/1": {{"status": "active"}}}},
            "relations": {{"microcluster-cluster": {{{related}}}}}}}"#
    );
    let says = Effect::Print(text.into_bytes());
    stage
        .world
        .inject(Injection::at_every(Some("goal-state"), says));
}

/// A subordinate application: goal-state lists it and none of its units.
#[test]
fn a_host_of_a_subordinate_application_keeps_its_placeholder_in_every_hook() {
    for juju in BOTH {
        let mut stage = Stage::new(juju, 2)
            .related("ovn", 1)
            .related("b", 1)
            .played_by(&Provider::Executable);
        let others = r#""ovn": {"status": "joined"}, "b": {"status": "joined"}"#;
        goal_state_says(&mut stage, others);
        stage.says("ovn/0", &[("hostname", "h0")]);
        stage.settle();
        for hook in [
            "update-status",
            "config-changed",
            "start",
            "upgrade-charm",
            "leader-elected",
        ] {
            stage.hook(LEADER, hook).succeeds();
            stage.hook(STANDBY, hook).succeeds();
            stage.settle();
            assert_eq!(stage.ledger()["mirror-h0"], "empty", "{juju:?} {hook}");
            assert_eq!(stage.shown(LEADER, "ovn")["mirror-h0"], "empty", "{hook}");
            assert_eq!(
                stage.status(LEADER),
                "waiting 1 of 1 host waiting for a join token",
                "{juju:?} {hook}"
            );
        }
        assert_eq!(stage.action(LEADER, "resync", &[]).failure, None);
        stage.action(LEADER, "retire-host", &[("host", "h9")]);
        stage.relation_hook(LEADER, "created", "b").succeeds();
        assert_eq!(stage.ledger()["mirror-h0"], "empty", "{juju:?}");
        assert_eq!(stage.shown_by_app("ovn")["may-bootstrap"], "true");
    }
}

#[test]
fn a_unit_that_juju_removed_is_gone_where_goal_state_lists_others_of_its_application() {
    for juju in BOTH {
        let mut stage = Stage::new(juju, 1)
            .related("m", 2)
            .played_by(&Provider::Executable);
        stage.says("m/0", &[("hostname", "h0")]);
        stage.says("m/1", &[("hostname", "h1")]);
        stage.settle();
        let remaining = r#""m": {"status": "joined"}, "m/0": {"status": "active"}"#;
        goal_state_says(&mut stage, remaining);
        stage.hook(LEADER, "update-status").succeeds();
        assert!(!stage.ledger().contains_key("mirror-h1"), "{juju:?}");
        assert_eq!(stage.ledger()["mirror-h0"], "empty", "{juju:?}");
    }
}

/// Our model consumes the application's offer under an alias. Juju 3 lists it by its URL, Juju 4 not
/// at all, or by the alias and without its units.
#[test]
fn an_application_consumed_under_an_alias_bootstraps_with_the_option_and_is_named_without_it() {
    let answers = [
        r#""admin/net.microovn": {"status": "joined"}"#,
        "",
        r#""ovn-east": {"status": "joined"}"#,
    ];
    for (juju, answer) in BOTH
        .into_iter()
        .flat_map(|juju| answers.map(|answer| (juju, answer)))
    {
        for option in ["microovn", ""] {
            let mut stage = Stage::new(juju, 2).related_across_models("microovn", "ovn-east", 1);
            goal_state_says(&mut stage, answer);
            let mut stage = stage.played_by(&Provider::Executable);
            stage
                .world
                .set_config("mtd", &[("bootstrap-app", option)])
                .expect("an option");
            stage.settle();
            stage.says("microovn/0", &[("hostname", "h0")]);
            stage.settle();
            stage.hook(LEADER, "config-changed").succeeds();
            stage.hook(STANDBY, "config-changed").succeeds();
            let case = format!("{juju:?} {answer} {option}");
            assert_eq!(
                stage.shown_by_app("microovn")["may-bootstrap"],
                "true",
                "{case}"
            );
            for unit in [LEADER, STANDBY] {
                let shown = stage.shown(unit, "microovn");
                assert!(
                    !shown.contains_key("mirror-_bootstraps-elsewhere"),
                    "{case}"
                );
            }
            let status = stage.status(LEADER);
            let is_told = status.starts_with("blocked config bootstrap-app: set it to the name");
            // An alias that Juju lists may as well be a subordinate application of this model.
            assert_eq!(
                is_told,
                option.is_empty() && !answer.contains("ovn-east"),
                "{case}"
            );
            assert_eq!(status.starts_with("waiting"), !is_told, "{case}: {status}");
            let found = stage.action(LEADER, "check", &[]);
            let report = found.results["report"].as_str().expect("findings");
            assert_eq!(
                report.contains("cross-model: "),
                option.is_empty(),
                "{case}: {report}"
            );
        }
    }
}

/// Juju runs no hook for it (4.0.14).
#[test]
fn an_option_that_is_reset_without_a_hook_is_noticed_at_update_status() {
    for juju in BOTH {
        let mut stage = Stage::new(juju, 1)
            .related("microovn", 1)
            .played_by(&Provider::Executable);
        let option = |stage: &mut Stage, value| {
            let set = stage.world.set_config("mtd", &[("bootstrap-app", value)]);
            set.expect("an option");
        };
        option(&mut stage, "nobody");
        stage.settle();
        let blocked = "blocked config bootstrap-app: nobody is not related";
        assert!(stage.status(LEADER).starts_with(blocked));
        option(&mut stage, "");
        stage.hook(LEADER, "update-status").succeeds();
        assert_eq!(stage.status(LEADER), "active 0 hosts", "{juju:?}");
        assert_eq!(stage.shown_by_app("microovn")["may-bootstrap"], "true");
    }
}

/// Hosts of the first protocol, which do not say that they are in the cluster.
#[test]
fn a_cross_model_relation_made_anew_comes_back_to_active_once_an_operator_has_said_who_is_in() {
    for juju in BOTH {
        let mut stage = Stage::new(juju, 1)
            .related("local", 0)
            .related_across_models("microovn", "remote-0123456789abcdef0123456789abcdef", 3)
            .played_by(&Provider::Executable);
        let tokens = ["1", "2"].map(|number| format!("{SECRET}{number}"));
        let say = |stage: &mut Stage, app: &str| {
            let up = [
                ("hostname", "h0"),
                ("mirror", "up"),
                ("mirror-h1", tokens[0].as_str()),
                ("mirror-h2", tokens[1].as_str()),
            ];
            stage.says(&format!("{app}/1"), &[("hostname", "h1")]);
            stage.says(&format!("{app}/2"), &[("hostname", "h2")]);
            stage.says(&format!("{app}/0"), &up);
            stage.settle();
        };
        say(&mut stage, "microovn");
        assert_eq!(stage.status(LEADER), "active 3 hosts");

        // All that the distributor sees of a relation that is made anew: the hosts come back with
        // units of an application that has another name.
        for unit in ["microovn/0", "microovn/1", "microovn/2"] {
            stage.world.lose_unit(unit).expect("it is there");
        }
        let relation = stage.relation("microovn");
        stage.world.remove_relation(relation).expect("it is there");
        stage.settle();
        let again = "remote-fedcba9876543210fedcba9876543210";
        let mut stage = stage.related_across_models("again", again, 3);
        say(&mut stage, "again");
        let blocked = |host: &str, more: &str| {
            format!(
                "blocked host name {host}: the same machine again, or a second one; run \
                 resolve-host, member=true if it is in the cluster, else false{more}"
            )
        };
        assert_eq!(
            stage.status(LEADER),
            blocked("h1", " (+1 more)"),
            "{juju:?}"
        );

        let resolve = |stage: &mut Stage, host, member| {
            let given = [("host", host), ("member", member)];
            let answered = stage.action(LEADER, "resolve-host", &given);
            stage.settle();
            answered
        };
        let answered = resolve(&mut stage, "h1", "true");
        assert_eq!(answered.results["outcome"], "member", "{answered:?}");
        assert_eq!(stage.ledger()["mirror-h1"], "member");
        assert_eq!(stage.status(LEADER), blocked("h2", ""), "{juju:?}");
        assert_eq!(
            resolve(&mut stage, "h2", "true").results["outcome"],
            "member"
        );
        for hook in ["update-status", "config-changed", "upgrade-charm"] {
            stage.hook(LEADER, hook).succeeds();
            assert_eq!(stage.status(LEADER), "active 3 hosts", "{juju:?} {hook}");
        }

        // It was a second machine after all.
        let answered = resolve(&mut stage, "h2", "false");
        assert_eq!(answered.results["outcome"], "renewed", "{answered:?}");
        assert_eq!(stage.shown(LEADER, "local")["mirror-h2"], "empty");
        let refused = resolve(&mut stage, "h0", "false");
        assert!(refused.failure.expect("refused").contains("says itself"));
    }
}

/// Its list hangs on every member, so nobody makes a token.
#[test]
fn hosts_that_wait_lead_to_a_member_that_does_not_answer() {
    let mut stage = Stage::new(BOTH[1], 1)
        .related("microovn", 2)
        .played_by(&Provider::Executable);
    stage.says("microovn/0", &[("hostname", "h0"), ("mirror", "up")]);
    stage.says("microovn/1", &[("hostname", "h1")]);
    stage.settle();
    let found = stage.action(LEADER, "check", &[]);
    let report = found.results["report"].as_str().expect("findings");
    assert!(report.contains("run cluster list on a member"), "{report}");
}

#[test]
fn the_leader_speaks_for_the_application() {
    for juju in BOTH {
        let mut stage = Stage::new(juju, 2)
            .related("microovn", 1)
            .played_by(&Provider::Executable);
        let shown = |stage: &Stage| {
            let application = &stage.world.model().applications["mtd"];
            let status = application.status.as_ref().expect("it is set");
            format!("{} {}", status.status, status.message)
        };
        assert_eq!(shown(&stage), "active 0 hosts", "{juju:?}");
        stage.says("microovn/0", &[("hostname", "h0")]);
        stage.settle();
        assert_eq!(shown(&stage), stage.status(LEADER));
        assert_eq!(stage.status(STANDBY), "active standby");
        stage.world.set_leader(STANDBY).expect("it is there");
        stage.settle();
        assert_eq!(shown(&stage), stage.status(STANDBY));
        assert_eq!(
            shown(&stage),
            "waiting 1 of 1 host waiting for a join token"
        );
    }
}

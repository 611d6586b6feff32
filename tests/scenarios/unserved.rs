//! Spec section 7: relations that Juju lists and no longer serves, and a peer relation that is not
//! there. `chaos` of the emulator plays every hook with every refusal; here are the words for people.

use juju_emulator::deployment::Provider;
use juju_emulator::faults::refusals;
use juju_emulator::{Complaint, Effect, Injection, JujuGeneration, Unserved};

use crate::failures::news;
use crate::stage::{BOTH, LEADER, Pairs, Played, SECRET, STANDBY, Stage};

fn stops_serving(stage: &mut Stage, app: &str, complaint: Complaint) {
    let id = stage.relation(app);
    let unserved = Unserved {
        complaint,
        only: None,
    };
    let model = stage.world.model_mut();
    model.stop_serving(id, unserved).expect("it is there");
}

#[test]
fn the_other_relation_is_served_and_check_names_this_one() {
    for (juju, complaint) in BOTH
        .into_iter()
        .flat_map(|juju| Complaint::ALL.map(|complaint| (juju, complaint)))
    {
        let mut stage = news(juju, &Provider::Executable);
        stops_serving(&mut stage, "microcloud", complaint);
        let case = format!("{juju:?} {complaint:?}");
        let played = stage.hook(LEADER, "config-changed");
        let warning = "WARNING relation 2 with microcloud: Juju lists it and does not serve it, so \
                       it is passed over";
        let mut logged = played.succeeds().logged.iter();
        assert!(
            logged.any(|line| line.starts_with(warning)),
            "{case}: {:?}",
            played.logged
        );
        assert_eq!(
            stage.shown(LEADER, "microovn")["mirror-h1"],
            SECRET,
            "{case}"
        );
        assert_eq!(stage.ledger()["relation-2"], "microcloud -", "{case}");
        for unit in [LEADER, STANDBY] {
            let found = stage.action(unit, "check", &[]);
            assert_eq!(found.failure, None, "{case}");
            let report = found.results["report"].as_str().expect("findings");
            let expected = "relation-passed-over: relation 2 with microcloud: Juju lists it and \
                            does not serve it";
            assert!(report.contains(expected), "{case}, {unit}: {report}");
            assert!(
                report.contains("restart the machine agent"),
                "{case}: {report}"
            );
        }
        // Served again, it is shown what it has missed.
        let id = stage.relation("microcloud");
        stage.world.model_mut().serve_again(id);
        stage.says("microcloud/0", &[("other", "news")]);
        stage
            .relation_hook(LEADER, "changed", "microcloud/0")
            .succeeds();
        assert_eq!(
            stage.shown(LEADER, "microcloud")["mirror-h1"],
            SECRET,
            "{case}"
        );
        assert_eq!(stage.ledger()["relation-2"], "microcloud", "{case}");
        assert_eq!(stage.ledger()["mirror-h2"], "empty", "{case}");
    }
}

#[test]
fn relation_created_publishes_to_one_that_is_served_again_and_its_next_event_reads_it() {
    for juju in BOTH {
        let mut stage = news(juju, &Provider::Executable);
        stops_serving(&mut stage, "microcloud", Complaint::ALL[0]);
        stage.hook(LEADER, "config-changed").succeeds();
        assert!(!stage.ledger().contains_key("mirror-h2"), "{juju:?}");
        let id = stage.relation("microcloud");
        stage.world.model_mut().serve_again(id);
        stage
            .relation_hook(LEADER, "created", "microovn")
            .succeeds();
        assert_eq!(stage.ledger()["relation-2"], "microcloud ?", "{juju:?}");
        assert_eq!(
            stage.shown(LEADER, "microcloud")["mirror-h1"],
            SECRET,
            "{juju:?}"
        );
        stage.hook(LEADER, "update-status").succeeds();
        assert_eq!(stage.ledger()["relation-2"], "microcloud", "{juju:?}");
        assert_eq!(stage.ledger()["mirror-h2"], "empty", "{juju:?}");
    }
}

#[test]
fn what_an_application_bag_denies_the_own_unit_bag_decides() {
    // Leadership is lost, and the agent has not heard of it.
    for juju in BOTH {
        let mut stage = news(juju, &Provider::Executable);
        let lost = Injection::at_tool("config-get", 1, Effect::LoseLease);
        stage.world.inject(lost);
        let played = stage.hook(LEADER, "config-changed");
        assert!(!played.run.committed, "{juju:?}");
        played.wrote(&[]);
        assert!(
            played.run.stderr_text().contains("permission denied"),
            "{juju:?}: {}",
            played.run.stderr_text()
        );
    }
}

/// Everything that Juju runs a charm for.
fn all_deeds(stage: &mut Stage, unit: &str) -> Vec<(String, Played)> {
    let hooks = [
        "install",
        "leader-elected",
        "config-changed",
        "start",
        "upgrade-charm",
        "update-status",
        "stop",
        "remove",
    ];
    let relation_hooks = [
        ("created", "microovn"),
        ("joined", "microovn/1"),
        ("changed", "microovn/0"),
        ("departed", "microovn/1"),
        ("broken", "microcloud"),
    ];
    let mut played = Vec::new();
    for hook in hooks {
        played.push((hook.to_owned(), stage.hook(unit, hook)));
    }
    for (event, remote) in relation_hooks {
        played.push((event.to_owned(), stage.relation_hook(unit, event, remote)));
    }
    played
}

/// Hooks in which Juju may not show the peer relation yet, or no more.
const WITHOUT_PEERS: [&str; 4] = ["install", "stop", "remove", "broken"];

/// The actions end with exit status 1, so Juju keeps nothing of what they wrote.
fn all_actions_fail(stage: &mut Stage, unit: &str) {
    let actions: [(&str, Pairs<'_>); 6] = [
        ("show-mirror", &[]),
        ("check", &[]),
        ("resync", &[]),
        ("retire-host", &[("host", "h1")]),
        ("resolve-host", &[("host", "h1"), ("member", "true")]),
        ("forget", &[("force", "true")]),
    ];
    for (action, parameters) in actions {
        let answered = stage.action(unit, action, parameters);
        assert!(answered.failure.is_some(), "{action}: {answered:?}");
        assert!(!answered.results.contains_key("json"), "{action}");
    }
}

#[test]
fn a_peer_relation_that_is_absent_is_never_an_empty_ledger() {
    for (juju, unit) in BOTH
        .into_iter()
        .flat_map(|juju| [(juju, LEADER), (juju, STANDBY)])
    {
        let mut stage = news(juju, &Provider::Executable);
        stage.hook(LEADER, "config-changed").succeeds();
        let before = stage.all_bags();
        let nothing = Effect::Print(b"[]".to_vec());
        let absent = Injection::at_every_about("relation-ids", "cluster", nothing);
        stage.world.inject(absent);
        for (hook, played) in all_deeds(&mut stage, unit) {
            if WITHOUT_PEERS.contains(&hook.as_str()) {
                played.succeeds().wrote(&[]);
            } else {
                played.fails("Juju does not show the peer relation `cluster`");
            }
        }
        all_actions_fail(&mut stage, unit);
        assert_eq!(stage.all_bags(), before, "{juju:?} {unit}");
    }
}

#[test]
fn a_ledger_that_cannot_be_read_fails_the_hook() {
    for unit in [LEADER, STANDBY] {
        for refusal in refusals("relation-get", "cluster:0") {
            let mut stage = news(JujuGeneration::Four, &Provider::Executable);
            stage.hook(LEADER, "config-changed").succeeds();
            let before = stage.all_bags();
            let refused = Injection::at_every_about("relation-get", "cluster:0", refusal.clone());
            stage.world.inject(refused);
            for (hook, played) in all_deeds(&mut stage, unit) {
                let text = format!("{refusal:?}");
                let is_of_relation = text.contains("found") || text.contains("denied");
                if WITHOUT_PEERS.contains(&hook.as_str()) && (hook != "broken" || is_of_relation) {
                    played.succeeds().wrote(&[]);
                } else {
                    played.fails("`relation-get --format=json -r cluster:0 --app - mtd` failed");
                }
            }
            let changed = stage.relation_hook(unit, "changed", "mtd");
            changed.fails("`relation-get --format=json -r cluster:0 --app - mtd` failed");
            all_actions_fail(&mut stage, unit);
            assert_eq!(stage.all_bags(), before, "{refusal:?}");
        }
    }
}

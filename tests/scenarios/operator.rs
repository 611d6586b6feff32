//! What the actions make of a host, on leader and standby.

use juju_emulator::deployment::Provider;
use juju_emulator::record::ActionResult;

use crate::stage::{BOTH, LEADER, Pairs, SECRET, STANDBY, Stage};

fn answers(stage: &mut Stage, unit: &str, action: &str, given: Pairs<'_>) -> ActionResult {
    let answered = stage.action(unit, action, given);
    assert_eq!(answered.failure, None, "{action} on {unit}");
    answered
}

/// A communicator and two hosts with tokens.
fn stage() -> Stage {
    let mut stage = Stage::new(BOTH[1], 2).related("microovn", 3);
    for unit in ["1", "2"] {
        let host = format!("h{unit}");
        stage.says(&format!("microovn/{unit}"), &[("hostname", &host)]);
    }
    let up = [
        ("hostname", "h0"),
        ("mirror", "up"),
        ("mirror-h1", SECRET),
        ("mirror-h2", SECRET),
        ("mirror-nobody", "empty"),
    ];
    stage.says("microovn/0", &up);
    let stage = stage.played_by(&Provider::Executable);
    assert_eq!(stage.ledger()["mirror-h1"], SECRET);
    stage
}

#[test]
fn a_standby_shows_what_the_leader_shows() {
    let mut stage = stage();
    for (action, given) in [
        ("show-mirror", &[][..]),
        ("show-mirror", &[("host", "h1")]),
        ("check", &[]),
    ] {
        let [leader, standby] = [LEADER, STANDBY].map(|unit| {
            let mut results = answers(&mut stage, unit, action, given).results;
            let leads = results.remove("leader").expect("it says so");
            assert_eq!(leads, (unit == LEADER).to_string());
            let json = results.remove("json").expect("for scripts");
            let leads = format!("\"leader\":{}", unit == LEADER);
            let json = json.as_str().expect("text").replace(&leads, "");
            (results, json)
        });
        assert_eq!(leader, standby, "{action} {given:?}");
    }
    for (action, given) in [
        ("resync", &[][..]),
        ("retire-host", &[("host", "h1"), ("force", "true")]),
        ("forget", &[("force", "true")]),
    ] {
        let before = stage.all_bags();
        let refused = stage.action(STANDBY, action, given);
        let sentence = format!("this unit is not leader: run {action} on mtd/leader");
        assert_eq!(refused.failure, Some(sentence));
        assert_eq!(stage.all_bags(), before);
    }
}

#[test]
fn a_host_is_retired_renewed_removed_or_left_as_it_is() {
    let mut stage = stage();
    let retire = |stage: &mut Stage, host: &str, force: bool| {
        let force = if force { &[("force", "true")][..] } else { &[] };
        let given = [&[("host", host)], force].concat();
        let results = answers(stage, LEADER, "retire-host", &given).results;
        assert_eq!(results["host"], host);
        let outcome = results["outcome"].as_str().expect("text").to_owned();
        assert_eq!(results.contains_key("value"), outcome == "retired");
        outcome
    };
    // A unit that is there needs its token, unless the operator knows better.
    let refused = stage.action(LEADER, "retire-host", &[("host", "h1")]);
    assert_eq!(
        refused.failure.as_deref(),
        Some("h1 is announced by microovn/1, which may still need its token: force=true overrides")
    );
    assert_eq!(retire(&mut stage, "h1", true), "retired");
    assert_eq!(retire(&mut stage, "h1", true), "unchanged");
    for bag in [stage.ledger(), stage.shown(LEADER, "microovn")] {
        assert_eq!(bag["mirror-h1"], "retired");
    }

    // A second unit has the name of one that is gone.
    stage.enter("microovn");
    stage.says("microovn/3", &[("hostname", "h2")]);
    stage.settle();
    stage.world.lose_unit("microovn/2").expect("it was there");
    stage.settle();
    assert_eq!(stage.ledger()["mirror-h2"], SECRET, "the token stays");
    assert_eq!(retire(&mut stage, "h2", true), "renewed");
    assert_eq!(stage.shown(LEADER, "microovn")["mirror-h2"], "empty");
    // The old token does not come back from the communicator; another does.
    stage.settle();
    stage.hook(LEADER, "update-status").succeeds();
    assert_eq!(stage.ledger()["mirror-h2"], "empty");
    let other = format!("{SECRET}2");
    stage.says("microovn/0", &[("mirror-h2", &other)]);
    stage.settle();
    assert_eq!(stage.shown(LEADER, "microovn")["mirror-h2"], other);

    // A name that the communicator knows and no unit announces.
    assert_eq!(stage.ledger()["mirror-nobody"], "empty");
    assert_eq!(retire(&mut stage, "nobody", false), "removed");
    assert_eq!(stage.ledger().get("mirror-nobody"), None);
    let unknown = stage.action(LEADER, "retire-host", &[("host", "h9")]);
    assert_eq!(
        unknown.failure.as_deref(),
        Some("no host \"h9\" in the mirror: show-mirror lists the hosts")
    );
}

#[test]
fn a_value_is_revealed_to_who_asks_for_it_alone() {
    for unit in [LEADER, STANDBY] {
        let mut stage = stage();
        let mut given = serde_json::Map::new();
        given.insert("host".to_owned(), "h1".into());
        given.insert("reveal".to_owned(), true.into());
        let answered = stage.world.run_action(unit, "show-mirror", given);
        let results = answered.expect("it can run").results;
        assert_eq!(results["value"], SECRET, "{unit}");
        for (key, value) in results.iter().filter(|(key, _)| *key != "value") {
            assert!(!value.to_string().contains(SECRET), "{unit}: {key}");
        }
    }
}

#[test]
fn forgetting_keeps_what_the_units_say_and_nothing_else() {
    let mut stage = stage();
    stage.world.lose_unit("microovn/1").expect("it was there");
    stage.settle();
    assert_eq!(stage.ledger()["mirror-h1"], SECRET);
    let refused = stage.action(LEADER, "forget", &[]);
    assert_eq!(
        refused.failure.as_deref(),
        Some("microovn/0 is a member of the cluster: force=true forgets its cluster all the same")
    );
    stage.world.lose_unit("microovn/0").expect("it was there");
    stage.settle();
    let answered = answers(&mut stage, LEADER, "forget", &[]);
    assert_eq!(
        answered.results["status"],
        "waiting: 1 of 1 host waiting for a join token"
    );
    for bag in [stage.ledger(), stage.shown(LEADER, "microovn")] {
        assert_eq!(bag.get("mirror-h1"), None);
        assert_eq!(bag["mirror-h2"], "empty");
    }
}

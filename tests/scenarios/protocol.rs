//! The second protocol as it is in databags, beside consumers of the first.

use juju_emulator::deployment::Provider;
use microcluster_token_distributor::core::fingerprint::fingerprint;

use crate::stage::{BOTH, LEADER, Pairs, SECRET, Stage};

fn token(number: u8) -> String {
    format!("{SECRET}{number}")
}

/// Two applications, the first of which may bootstrap, and a communicator that has given h1 its
/// first token.
fn a_token_is_given(speaks: Pairs<'_>) -> Stage {
    let mut stage = Stage::new(BOTH[1], 1)
        .related("microovn", 3)
        .related("microcloud", 0)
        .played_by(&Provider::Executable);
    let up = [("hostname", "h0"), ("mirror", "up")];
    stage.says("microovn/0", &[&up, speaks].concat());
    stage.says("microovn/1", &[("hostname", "h1"), ("protocol", "2")]);
    stage.settle();
    assert_eq!(stage.shown(LEADER, "microovn")["mirror-h1"], "empty");
    stage.says("microovn/0", &[("mirror-h1", &token(1))]);
    stage.settle();
    assert_eq!(stage.shown(LEADER, "microovn")["mirror-h1"], token(1));
    stage
}

fn refuses(stage: &mut Stage, number: u8) {
    let refused = fingerprint(&token(number));
    stage.says("microovn/1", &[("refused", &refused)]);
    stage.settle();
}

#[test]
fn each_application_sees_whether_it_may_bootstrap() {
    for juju in BOTH {
        let stage = Stage::new(juju, 2)
            .related("microovn", 1)
            .related("microcloud", 1)
            .played_by(&Provider::Executable);
        for (app, may) in [("microovn", "true"), ("microcloud", "false")] {
            let bag = stage.shown_by_app(app);
            let pairs: Vec<(&str, &str)> = bag
                .iter()
                .map(|(key, value)| (key.as_str(), value.as_str()))
                .collect();
            let expected = [
                ("bootstrap-app", "microovn"),
                ("may-bootstrap", may),
                ("protocol", "2"),
            ];
            assert_eq!(pairs, expected, "{juju:?}: {app}");
        }
    }
}

#[test]
fn nobody_may_bootstrap_from_the_first_sign_of_a_cluster_on() {
    let stage = a_token_is_given(&[("protocol", "2")]);
    for app in ["microovn", "microcloud"] {
        assert_eq!(stage.shown_by_app(app)["may-bootstrap"], "false");
    }
}

#[test]
fn both_words_move_in_the_commit_that_chooses_another() {
    let mut stage = Stage::new(BOTH[1], 1)
        .related("microovn", 1)
        .related("microcloud", 1)
        .played_by(&Provider::Executable);
    let option = [("bootstrap-app", "microcloud")];
    stage
        .world
        .set_config("mtd", &option)
        .expect("there is such an option");
    stage.settle();
    let mut wrote = stage.wrote_since(0);
    wrote.retain(|line| line.contains("may-bootstrap"));
    wrote.sort();
    let expected = [
        "mtd to microcloud: may-bootstrap=true",
        "mtd to microovn: may-bootstrap=false",
    ];
    assert_eq!(wrote, expected);
    assert_eq!(stage.world.commits().len(), 1);
}

#[test]
fn the_token_of_a_member_is_in_no_bag_of_ours() {
    let mut stage = a_token_is_given(&[("protocol", "2"), ("member", "h0")]);
    stage.says("microovn/1", &[("member", "h1")]);
    stage.settle();
    // Noted at once; the value goes with the next write, or here.
    assert_eq!(stage.ledger()["host-h1"], "microovn/1+*");
    stage.hook(LEADER, "update-status").succeeds();
    for bag in stage.all_bags() {
        assert!(bag.values().all(|value| !value.contains(SECRET)));
    }
    for app in ["microovn", "microcloud"] {
        assert_eq!(stage.shown(LEADER, app)["mirror-h1"], "member");
    }
    assert_eq!(stage.status(LEADER), "active 2 hosts");
}

#[test]
fn a_refused_token_stays_shown_until_there_is_another() {
    let mut stage = a_token_is_given(&[("protocol", "2")]);
    refuses(&mut stage, 1);
    let spent = fingerprint(&token(1));
    for bag in [
        stage.ledger(),
        stage.shown(LEADER, "microovn"),
        stage.shown(LEADER, "microcloud"),
    ] {
        assert_eq!(bag["mirror-h1"], token(1));
        assert_eq!(bag["spent-h1"], spent);
    }
    assert_eq!(
        stage.status(LEADER),
        "waiting 1 of 2 hosts waiting for a join token"
    );
    stage.says("microovn/0", &[("mirror-h1", &token(2))]);
    stage.settle();
    let bag = stage.shown(LEADER, "microovn");
    assert_eq!((&bag["mirror-h1"], &bag["spent-h1"]), (&token(2), &spent));
    assert_eq!(stage.status(LEADER), "active 2 hosts");
    // An old refusal that comes late says nothing of the new token.
    stage.world.restart_agent(LEADER).expect("it is there");
    stage.hook(LEADER, "config-changed").succeeds().wrote(&[]);

    refuses(&mut stage, 2);
    assert_eq!(
        stage.status(LEADER),
        "blocked host h1: 2 tokens did not serve; the log of its unit says why"
    );
    // It stays so while the next is shown.
    stage.says("microovn/0", &[("mirror-h1", &token(3))]);
    stage.settle();
    assert_eq!(stage.shown(LEADER, "microovn")["mirror-h1"], token(3));
    assert!(
        stage
            .status(LEADER)
            .starts_with("blocked host h1: 2 tokens")
    );
    stage.says("microovn/1", &[("member", "h1")]);
    stage.settle();
    stage.hook(LEADER, "update-status").succeeds();
    assert_eq!(stage.shown(LEADER, "microovn").get("spent-h1"), None);
    assert_eq!(stage.status(LEADER), "active 2 hosts");
}

#[test]
fn a_refusal_blocks_at_once_where_the_communicator_makes_one_token_for_a_name() {
    let mut stage = a_token_is_given(&[]);
    refuses(&mut stage, 1);
    assert_eq!(
        stage.status(LEADER),
        "blocked host h1: its token was refused, and the communicator makes only one token \
         for a name; redeploy it under another name"
    );
}

#[test]
fn a_refusal_of_another_token_is_ignored() {
    let mut stage = a_token_is_given(&[("protocol", "2")]);
    refuses(&mut stage, 7);
    assert_eq!(stage.ledger().get("spent-h1"), None);
    assert_eq!(stage.status(LEADER), "active 2 hosts");
}

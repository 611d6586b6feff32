//! What was seen on a real controller, and takes more than a story to tell.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use juju_emulator::JujuGeneration::{Four, Three};
use juju_emulator::agent::{Hook, RERUN_PAUSE};
use juju_emulator::clock::{Happened, Pace, Timeline};
use juju_emulator::deployment::{DISTRIBUTOR, DeploymentError};
use juju_emulator::model::Flush;
use juju_emulator::process::Ending;
use juju_emulator::show_unit::show_unit;
use juju_emulator::world::Begun;
use juju_emulator::{Deployment, Effect, Injection, Setup};
use serde_json::{Value, json};

use crate::support::{DB, PEER, Rig, stdout};

fn keys(value: &Value) -> Vec<&str> {
    value
        .as_object()
        .unwrap()
        .keys()
        .map(String::as_str)
        .collect()
}

/// Writes so many keys to the application bag of the peer relation, numbered from `first`.
fn write_keys(rig: &mut Rig, first: usize, count: usize) -> Option<String> {
    let run = rig.during("p/0", Hook::UpdateStatus, move |tools| {
        let keys = (first..first + count).map(|key| (format!("k{key}"), "v"));
        let document = serde_json::to_vec(&keys.collect::<BTreeMap<_, _>>()).unwrap();
        let line = "relation-set -r 0 --app --file -";
        assert_eq!(tools.call_with(line, Some(&document)).code, 0);
    });
    run.failure
}

#[test]
fn juju_4_takes_10_921_keys_in_one_bag_and_fails_at_the_flush_of_more() {
    let mut rig = Rig::settled(Three, 1, 1);
    assert_eq!(write_keys(&mut rig, 0, 10_922), None);

    let mut rig = Rig::settled(Four, 1, 1);
    let failure = write_keys(&mut rig, 0, 10_922).unwrap();
    assert!(failure.contains("too many SQL variables"), "{failure}");
    assert_eq!(write_keys(&mut rig, 0, 10_921), None);
    let one_more = write_keys(&mut rig, 10_921, 1).unwrap();
    assert!(
        one_more.contains("too many SQL variables"),
        "the whole bag counts"
    );
    assert_eq!(rig.world.app_bag(PEER, "p").len(), 10_921);
}

#[test]
fn goal_state_lists_a_unit_from_its_first_moment_to_its_last() {
    let mut rig = Rig::settled(Four, 1, 1);
    let new = rig.world.add_unit("r").unwrap();
    let status = |rig: &mut Rig| {
        let goal = stdout(&rig.ask("p/0", "goal-state --format=json"));
        let goal: Value = serde_json::from_str(&goal).unwrap();
        goal["relations"]["db"]["r/1"]["status"]
            .as_str()
            .map(str::to_owned)
    };
    assert_eq!(status(&mut rig).as_deref(), Some("unknown"), "no machine");
    assert!(matches!(rig.world.begin(&new), Begun::Internal));
    assert_eq!(status(&mut rig).as_deref(), Some("waiting"));
    let Begun::Open(install) = rig.world.begin(&new) else {
        panic!("install is due");
    };
    assert_eq!(status(&mut rig).as_deref(), Some("maintenance"));
    rig.world.finish(*install);
    rig.settle();
    rig.ask("r/1", "status-set active");
    assert_eq!(status(&mut rig).as_deref(), Some("active"));
    rig.world.remove_unit("r/1").unwrap();
    assert_eq!(status(&mut rig).as_deref(), Some("dying"));
    rig.settle();
    assert_eq!(status(&mut rig), None);
}

#[test]
fn show_unit_has_the_own_applications_bag_on_juju_4_and_the_related_ones_on_3() {
    for (generation, data) in [(Three, "theirs"), (Four, "ours")] {
        let mut rig = Rig::settled(generation, 2, 2);
        rig.world.set_leader("r/0").unwrap();
        rig.settle();
        rig.write("p/0", DB, "--app whose=ours");
        rig.write("r/0", DB, "--app whose=theirs");
        rig.write("p/0", PEER, "--app ledger=1");
        rig.write("r/1", DB, "hostname=h1");
        rig.world.add_unit("r").unwrap();
        let text = show_unit(rig.world.model(), &["p/0", "r/1"]).unwrap();
        let shown: Value = serde_yaml::from_str(&text).unwrap();
        assert_eq!(keys(&shown), ["p/0", "r/1"]);
        assert_eq!(shown["p/0"]["leader"], true);
        let relations = shown["p/0"]["relation-info"].as_array().unwrap();
        let [peer, db] = relations.as_slice() else {
            panic!("{text}");
        };
        assert_eq!(
            (&peer["relation-id"], &db["relation-id"]),
            (&json!(0), &json!(1))
        );
        assert_eq!(peer["application-data"], json!({"ledger": "1"}));
        assert_eq!(peer["local-unit"]["in-scope"], true);
        assert_eq!(keys(&peer["related-units"]), ["p/1"]);
        assert_eq!(db["application-data"], json!({"whose": data}));
        assert_eq!(db.get("local-unit"), None, "for peers alone");
        assert_eq!(db.get("cross-model"), None);
        assert_eq!(
            (&db["endpoint"], &db["related-endpoint"]),
            (&json!("db"), &json!("db"))
        );
        assert_eq!(keys(&db["related-units"]), ["r/0", "r/1", "r/2"]);
        assert_eq!(db["related-units"]["r/1"]["data"]["hostname"], "h1");
        assert_eq!(db["related-units"]["r/2"]["in-scope"], false);
        assert!(show_unit(rig.world.model(), &["p/9"]).is_err());
    }
}

#[test]
fn show_unit_of_juju_4_never_says_that_a_relation_is_across_models() {
    for (generation, said) in [(Three, Some(&json!(true))), (Four, None)] {
        let mut rig = Rig::fresh(generation, 1, 1, 1);
        let (_, alias) = rig.world.integrate_across_models("p:db", "r:db").unwrap();
        rig.settle();
        let text = show_unit(rig.world.model(), &["p/0"]).unwrap();
        let shown: Value = serde_yaml::from_str(&text).unwrap();
        let db = &shown["p/0"]["relation-info"][1];
        assert_eq!(db.get("cross-model"), said);
        assert_eq!(keys(&db["related-units"]), [format!("{alias}/0")]);
    }
}

/// A deployment at rest, without update-status.
fn at_rest(setup: &Setup) -> Timeline {
    let mut deployment = setup.deploy().unwrap();
    deployment.relate_all().unwrap();
    let pace = Pace {
        update_status: None,
        ..Pace::default()
    };
    let mut timeline = Timeline::new(deployment, pace);
    timeline
        .run(Duration::from_secs(600), |_, _, _| false)
        .unwrap();
    timeline
}

/// The distributor's hooks from now on: unit, hook, ending, begin, end and number of calls.
type Ended = (String, String, Ending, Duration, Duration, usize);

fn hooks_after(
    mut timeline: Timeline,
    step: fn(&mut Deployment) -> Result<(), DeploymentError>,
) -> Vec<Ended> {
    timeline.plan(timeline.now(), step);
    let mut ended = Vec::new();
    timeline
        .run(Duration::from_secs(1200), |now, happened, _| {
            if let Happened::Ended(run) = happened
                && run.unit.application() == DISTRIBUTOR
            {
                let (unit, hook) = (run.unit.to_string(), run.hook.clone());
                ended.push((
                    unit,
                    hook,
                    run.ending.clone(),
                    run.started,
                    now,
                    run.tool_calls.len(),
                ));
            }
            false
        })
        .unwrap();
    ended
}

#[test]
fn a_killed_hook_runs_again_after_4_6_seconds_and_nothing_before_it() {
    let ended = hooks_after(
        at_rest(&Setup {
            units: 1,
            ..Setup::default()
        }),
        |deployment| {
            let kill = Injection::at_call(1, Effect::Kill).during("config-changed");
            deployment.world.inject(kill);
            Ok(deployment
                .world
                .set_config(DISTRIBUTOR, &[("log-level", "debug")])?)
        },
    );
    let [
        (_, first, killed, _, at, _),
        (_, second, well, again, ..),
        ..,
    ] = ended.as_slice()
    else {
        panic!("{ended:?}");
    };
    assert_eq!([first, second], ["config-changed", "config-changed"]);
    assert_eq!((killed, well), (&Ending::Signalled(9), &Ending::Exited(0)));
    assert_eq!(*again, *at + RERUN_PAUSE);
    assert_eq!(RERUN_PAUSE, Duration::from_millis(4600));
}

#[test]
fn a_virtual_clock_counts_the_hooks_of_a_peer_relation() {
    let setup = Setup {
        distributor_units: 3,
        units: 1,
        ..Setup::default()
    };
    let ended = hooks_after(at_rest(&setup), |deployment| {
        let leader = deployment.leader().unwrap();
        let model = deployment.world.model_mut();
        let mut relations = model.relations.values();
        let peer = relations.find(|r| r.is_peer() && r.own_side(DISTRIBUTOR).is_some());
        let content = [("unknown".to_owned(), "1".to_owned())].into();
        let flush = Flush {
            app_bags: [(peer.unwrap().id, std::sync::Arc::new(content))].into(),
            ..Flush::default()
        };
        model.commit(&leader, flush).unwrap();
        Ok(())
    });
    let told = ended
        .iter()
        .filter(|(_, hook, ..)| hook == "cluster-relation-changed");
    let told: BTreeSet<&str> = told.map(|(unit, ..)| unit.as_str()).collect();
    assert_eq!(told.len(), 3, "{ended:?}");
    let pace = Pace::default();
    for (_, _, _, began, at, calls) in &ended {
        let calls = u32::try_from(*calls).unwrap();
        assert_eq!(*at - *began, pace.distributor + pace.tool * calls);
    }
}

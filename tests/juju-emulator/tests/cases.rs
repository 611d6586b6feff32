//! Reports from the field, a story each, told with our charm and with the rules of the Python charm:
//! what the hosts get, and what people are told. The table is in this package's `README.md`.

use std::collections::BTreeSet;
use std::time::Duration;

use juju_emulator::JujuGeneration::{Four, Three};
use juju_emulator::clock::{Happened, Pace, Timeline};
use juju_emulator::deployment::{DISTRIBUTOR, Deployment, Place, Provider, Setup};
use juju_emulator::python::Rules;
use juju_emulator::{AppName, Complaint, Party, UnitName, Unserved};
use microovn::consumer::Release::{Newest, Second};
use microovn::microcluster::Settings;
use serde_json::Value;

const PROVIDERS: [Provider; 2] = [Provider::Library, Provider::Python(Rules::E)];

/// A story as it goes with one charm on one Juju.
struct Tale {
    timeline: Timeline,
    seen: Vec<String>,
    /// Consumer hooks that failed.
    failed: usize,
    /// Keys and values of all tokens that consumers have shown.
    tokens: BTreeSet<(String, String)>,
}

impl Tale {
    fn begin(setup: &Setup) -> Self {
        let deployment = setup.deploy().expect("deployed");
        let mut tale = Tale {
            timeline: Timeline::new(deployment, Pace::default()),
            seen: Vec::new(),
            failed: 0,
            tokens: BTreeSet::new(),
        };
        tale.minutes(1);
        tale
    }

    fn model(&mut self) -> &mut Deployment {
        &mut self.timeline.deployment
    }

    fn app(&self, number: usize) -> String {
        self.timeline.deployment.apps()[number].clone()
    }

    fn relate(&mut self) {
        self.model().relate_all().expect("related");
        self.minutes(10);
    }

    fn minutes(&mut self, minutes: u64) {
        let until = self.timeline.now() + Duration::from_secs(60 * minutes);
        let (failed, tokens) = (&mut self.failed, &mut self.tokens);
        let listen = |_, happened: Happened<'_>, deployment: &Deployment| {
            if let Happened::Ended(run) = happened
                && let Some(id) = deployment.relation(run.unit.application())
            {
                *failed += usize::from(run.failure.is_some());
                let bag = deployment.world.unit_bag(id, run.unit.as_str());
                let pairs = bag.iter().map(|(key, value)| (key.clone(), value.clone()));
                tokens.extend(pairs.filter(|(key, _)| key.starts_with("mirror-")));
            }
            false
        };
        self.timeline.run_on(until, listen).expect("played");
    }

    fn outcome(&self) -> String {
        let outcome = self.timeline.deployment.outcome();
        outcome.expect("readable").to_string()
    }

    /// Notes how far the hosts have come, and what `juju status` has for the leader.
    fn look(&mut self) {
        let leader = self.model().leader().expect("one leads");
        let status = self.model().world.status().into_iter();
        let mut of_leader = status.filter(|status| status.unit == leader);
        let status = of_leader.next().expect("it is there");
        let said = match status.agent.as_str() {
            "error" => "error".to_owned(),
            _ => format!("{} {}", status.workload, status.message),
        };
        let outcome = self.outcome();
        self.seen.push(format!("{outcome}: {}", said.trim_end()));
    }

    /// Runs an action of the leader; the Python charm has none.
    fn action(&mut self, name: &str, given: &[(&str, Value)]) -> String {
        let leader = self.model().leader().expect("one leads");
        let given = given.iter().cloned();
        let given = given.map(|(key, value)| (key.to_owned(), value)).collect();
        let answered = self.model().world.run_action(leader.as_str(), name, given);
        answered.map_or_else(|_| "no action".to_owned(), |said| format!("{said:?}"))
    }

    /// Whether the action `check` says so.
    fn check(&mut self, words: &str) {
        let finds = self.action("check", &[]).contains(words);
        self.seen.push(format!("check says it: {finds}"));
    }

    /// Sets the option `bootstrap-app`; the Python charm has none.
    fn option(&mut self, value: &str) {
        let options = [("bootstrap-app", value)];
        drop(self.model().world.set_config(DISTRIBUTOR, &options));
    }

    /// The youngest unit that does not lead its application: it bootstraps nothing.
    fn follower(&mut self) -> UnitName {
        let model = self.timeline.deployment.world.model();
        let mut units = self.timeline.deployment.consumer_units().into_iter().rev();
        let follower = units.find(|unit| !model.is_leader(unit));
        follower.expect("there are more")
    }
}

/// Tells a story on both Jujus with both charms, and compares what was seen.
fn side_by_side(setup: &Setup, story: impl Fn(&mut Tale), ours: &[&str], python: &[&str]) {
    for juju in [Three, Four] {
        for (distributor, expected) in PROVIDERS.into_iter().zip([ours, python]) {
            let case = format!("{juju:?} {distributor:?}");
            let mut tale = Tale::begin(&Setup {
                juju,
                distributor,
                // Joins at once are another story.
                cluster: Settings::tidy(),
                ..setup.clone()
            });
            story(&mut tale);
            assert_eq!(tale.seen, expected, "{case}");
        }
    }
}

fn with_library() -> Setup {
    Setup {
        consumer: Second,
        ..Setup::default()
    }
}

fn in_two_models() -> Setup {
    Setup {
        apps: 2,
        units: 2,
        places: vec![Place::Here, Place::Consuming],
        ..Setup::default()
    }
}

#[test]
fn a_subordinate_application_of_which_goal_state_lists_no_unit() {
    let setup = Setup {
        places: vec![Place::Subordinate],
        ..Setup::default()
    };
    let story = |tale: &mut Tale| {
        // Two hosts wait, through rounds of update-status, for the one that bootstraps.
        let mut units = tale.model().consumer_units().into_iter();
        let is_leader = |unit: &UnitName| tale.timeline.deployment.world.model().is_leader(unit);
        let leader = units.find(is_leader).expect("one leads");
        let on = tale.timeline.now() + Duration::from_secs(660);
        tale.timeline.turn_off(&leader, on);
        tale.relate();
        tale.look();
        tale.minutes(10);
        tale.look();
    };
    let ours = [
        "0 of 3 hosts in 0 clusters: waiting 2 of 2 hosts waiting for a join token",
        "3 of 3 hosts in one cluster: active 3 hosts",
    ];
    let python = [
        "0 of 3 hosts in 0 clusters: active",
        "3 of 3 hosts in one cluster: active",
    ];
    side_by_side(&setup, story, &ours, &python);
}

/// Side by side are the libraries here: v1, and 0.8 in Python.
#[test]
fn a_relation_that_juju_lists_and_refuses_to_its_consumer() {
    for consumer in [Second, Newest] {
        for (juju, complaint) in [Three, Four]
            .into_iter()
            .flat_map(|juju| Complaint::ALL.map(|complaint| (juju, complaint)))
        {
            let mut tale = Tale::begin(&Setup {
                juju,
                consumer,
                ..Setup::default()
            });
            tale.relate();
            let app = tale.app(0);
            let id = tale.model().relation(&app).expect("related");
            let only = Some(Party::Application(AppName::new(&app)));
            let world = &mut tale.timeline.deployment.world;
            let refused = world
                .model_mut()
                .stop_serving(id, Unserved { complaint, only });
            refused.expect("it is there");
            for unit in tale.model().consumer_units() {
                // Its agent then runs config-changed and start.
                let restarted = tale.model().world.restart_agent(unit.as_str());
                restarted.expect("it is there");
            }
            tale.minutes(15);
            tale.model().world.remove_relation(id).expect("it is there");
            tale.minutes(2);
            tale.model().world.model_mut().serve_again(id);
            tale.minutes(2);
            tale.relate();
            let case = format!("{consumer} {juju:?} {complaint:?}");
            assert_eq!(tale.failed, 0, "{case}");
            assert_eq!(tale.outcome(), "3 of 3 hosts in one cluster", "{case}");
        }
    }
}

#[test]
fn a_host_that_refuses_each_token() {
    let story = |tale: &mut Tale| {
        let host = tale.follower();
        tale.model().set_wrong_network(&host).expect("it is there");
        let key = format!("mirror-{}", tale.model().hostname(host.as_str()));
        tale.relate();
        for minutes in [0, 20, 1410] {
            tale.minutes(minutes);
            let tokens = tale.tokens.iter().filter(|(of, _)| *of == key);
            let count = tokens.count();
            tale.seen.push(format!("tokens: {count}"));
            tale.look();
        }
    };
    let others = "2 of 3 hosts in one cluster";
    let blocked = |tokens| {
        format!(
            "{others}: blocked host nc1-microovn-1: {tokens} tokens did not serve; the log of its \
             unit says why"
        )
    };
    let ours = [
        "tokens: 2",
        &format!("{others}: active 3 hosts"),
        "tokens: 4",
        &blocked(3),
        "tokens: 10",
        &blocked(9),
    ];
    let active = format!("{others}: active");
    let python = ["tokens: 1", active.as_str()].repeat(3);
    side_by_side(&with_library(), story, &ours, &python);
}

#[test]
fn an_offer_that_is_consumed_under_an_alias() {
    let setup = Setup {
        places: vec![Place::Offering],
        ..Setup::default()
    };
    let with = |option: &'static str| {
        move |tale: &mut Tale| {
            tale.option(option);
            tale.relate();
            tale.look();
        }
    };
    let nobody = "0 of 3 hosts in 0 clusters: active";
    let told = "0 of 3 hosts in 0 clusters: blocked config bootstrap-app: set it to the name that \
                the application related across models has in its own model";
    side_by_side(&setup, with(""), &[told], &[nobody]);
    let formed = "3 of 3 hosts in one cluster: active 3 hosts";
    side_by_side(&setup, with("microovn"), &[formed], &[nobody]);
}

#[test]
fn a_cross_model_relation_that_is_made_again() {
    let story = |tale: &mut Tale| {
        tale.relate();
        let app = tale.app(1);
        let id = tale.model().relation(&app).expect("related");
        tale.model().world.remove_relation(id).expect("it is there");
        tale.minutes(2);
        tale.model().relate(&app).expect("again");
        tale.minutes(10);
        tale.look();
        for number in 0..2 {
            let host = tale.model().hostname(&format!("{app}/{number}"));
            let given = [("host", host.into()), ("member", true.into())];
            tale.action("resolve-host", &given);
        }
        tale.minutes(6);
        tale.look();
    };
    let ours = [
        "4 of 4 hosts in one cluster: blocked host name n9e-microovn-arm64-0: the same machine \
         again, or a second one; run resolve-host, member=true if it is in the cluster, else false \
         (+1 more)",
        "4 of 4 hosts in one cluster: active 4 hosts",
    ];
    let python = ["4 of 4 hosts in one cluster: active"; 2];
    side_by_side(&in_two_models(), story, &ours, &python);
}

#[test]
fn a_member_whose_machine_goes_dark() {
    let story = |tale: &mut Tale| {
        tale.relate();
        let lost = tale.follower();
        let host = tale.model().hostname(lost.as_str());
        let went_dark = tale.model().lose_machine(lost.as_str());
        went_dark.expect("it is there");
        tale.model().add_unit(lost.application()).expect("added");
        tale.minutes(15);
        tale.look();
        tale.check("run cluster list on a member");
        for unit in tale.model().consumer_units() {
            let removed = tale.model().remove_member(&unit, &host);
            removed.expect("readable");
        }
        tale.minutes(15);
        tale.seen.push(tale.outcome());
    };
    let ours = [
        "2 of 3 hosts in one cluster: waiting 1 of 4 hosts waiting for a join token",
        "check says it: true",
        "3 of 3 hosts in one cluster",
    ];
    let python = [
        "2 of 3 hosts in one cluster: active",
        "check says it: false",
        "3 of 3 hosts in one cluster",
    ];
    side_by_side(&with_library(), story, &ours, &python);
}

#[test]
fn an_option_that_is_reset() {
    let story = |tale: &mut Tale| {
        tale.option("nobody");
        tale.relate();
        tale.look();
        let world = &mut tale.model().world;
        drop(world.reset_config(DISTRIBUTOR, &["bootstrap-app"]));
        tale.minutes(10);
        tale.look();
    };
    let ours = [
        "0 of 3 hosts in 0 clusters: blocked config bootstrap-app: nobody is not related; relate \
         it or set another",
        "3 of 3 hosts in one cluster: active 3 hosts",
    ];
    // It has no option.
    let python = ["3 of 3 hosts in one cluster: active"; 2];
    side_by_side(&with_library(), story, &ours, &python);
}

#[test]
fn a_consuming_model_that_is_destroyed_by_force() {
    let story = |tale: &mut Tale| {
        tale.relate();
        let [here, there] = [0, 1].map(|number| tale.app(number));
        let destroyed = tale.model().world.destroy_model_of(&there);
        destroyed.expect("it is there");
        tale.model().add_unit(&here).expect("added");
        tale.minutes(15);
        tale.look();
        tale.check("restart the machine agent");
    };
    let ours = [
        "3 of 3 hosts in one cluster: active 5 hosts",
        "check says it: true",
    ];
    let python = ["2 of 3 hosts in one cluster: error", "check says it: false"];
    side_by_side(&in_two_models(), story, &ours, &python);
}

#[test]
fn the_row_of_the_application_in_juju_status() {
    let setup = Setup {
        distributor_units: 3,
        ..Setup::default()
    };
    let story = |tale: &mut Tale| {
        tale.relate();
        let application = &tale.model().world.model().applications[DISTRIBUTOR];
        let row = match &application.status {
            Some(status) => format!("{} {}", status.status, status.message),
            None => "some unit's".to_owned(),
        };
        tale.seen.push(row);
    };
    side_by_side(&setup, story, &["active 3 hosts"], &["some unit's"]);
}

#[test]
fn three_hosts_that_are_related_together() {
    let failed = |distributor: Provider| -> usize {
        let hooks = (0..50).map(|seed| {
            let mut tale = Tale::begin(&Setup {
                seed,
                distributor: distributor.clone(),
                cluster: Settings::tidy(),
                ..Setup::default()
            });
            tale.relate();
            tale.failed
        });
        hooks.sum()
    };
    assert_eq!(PROVIDERS.map(failed), [0, 14]);
}

/// Juju 4 takes the relation from the consuming model; there it is made again.
#[test]
fn a_distributor_unit_that_is_removed_under_consumers_of_another_model() {
    let setup = Setup {
        distributor_units: 2,
        consumer: Second,
        ..in_two_models()
    };
    let story = |tale: &mut Tale| {
        tale.relate();
        let leader = tale.model().leader();
        let units = tale.model().world.model().units_of(DISTRIBUTOR);
        let mut standbys = units.iter().filter(|unit| Some(*unit) != leader.as_ref());
        let standby = standbys.next().expect("there are two");
        let removed = tale.model().world.remove_unit(standby.as_str());
        removed.expect("it is there");
        tale.minutes(2);
        let app = tale.app(1);
        if !tale.model().is_related(&app) {
            tale.model().relate(&app).expect("again");
        }
        tale.model().add_unit(&app).expect("added");
        tale.minutes(15);
        for number in 0..2 {
            let host = tale.model().hostname(&format!("{app}/{number}"));
            let given = [("host", host.into()), ("member", true.into())];
            tale.action("resolve-host", &given);
        }
        tale.minutes(6);
        tale.look();
        let tokens = tale.tokens.len();
        tale.seen.push(format!("tokens: {tokens}"));
    };
    let ours = ["5 of 5 hosts in one cluster: active 5 hosts", "tokens: 4"];
    let theirs = ["5 of 5 hosts in one cluster: active", "tokens: 4"];
    side_by_side(&setup, story, &ours, &theirs);
}

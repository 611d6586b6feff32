//! A model in which the test says what consumers write and which hook of the distributor runs.
//!
//! Databags are named `unit to application`, `mtd to application` and `the ledger`. The
//! distributor's units are `mtd/0`, the leader, and its standbys; before [`Stage::played_by`] they
//! do nothing at all. Consumers never do: their bags hold what the test puts there.

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::sync::Arc;
use std::time::Duration;

use juju_emulator::agent::{Hook, RelationEvent};
use juju_emulator::deployment::{Clock, Provider};
use juju_emulator::model::{BagOwner, Flush};
use juju_emulator::process::Ending;
use juju_emulator::record::ActionResult;
use juju_emulator::{
    AppName, CallTool, Charm, HookRun, JujuGeneration, Metadata, RelationId, UnitName, World,
};
use tempfile::TempDir;

pub(crate) const BOTH: [JujuGeneration; 2] = [JujuGeneration::Three, JujuGeneration::Four];
pub(crate) const APP: &str = "mtd";
pub(crate) const LEADER: &str = "mtd/0";
pub(crate) const STANDBY: &str = "mtd/1";
/// Is in every token, and must never be anywhere but in a databag.
pub(crate) const SECRET: &str = "eyJzZWNyZXQi";

pub(crate) type Bag = BTreeMap<String, String>;
pub(crate) type Pairs<'a> = &'a [(&'a str, &'a str)];

pub(crate) struct Stage {
    pub(crate) world: World,
    relations: BTreeMap<String, RelationId>,
    /// Holds the charm's files; goes with the stage.
    folder: TempDir,
}

/// A hook that was run, and what came of it.
pub(crate) struct Played {
    pub(crate) run: HookRun,
    /// Every key that changed, as `owner: key=value`, without the value of one that went.
    pub(crate) wrote: Vec<String>,
    /// What it logged, as `LEVEL text`, one for each call.
    pub(crate) logged: Vec<String>,
}

impl Stage {
    /// A distributor without relations.
    pub(crate) fn new(juju: JujuGeneration, distributor_units: usize) -> Self {
        let mut world = World::new(juju, 1);
        let metadata = include_str!("../../metadata.yaml");
        let distributor = idle(metadata, include_str!("../../config.yaml"));
        world
            .deploy(APP, &distributor, distributor_units, &[])
            .expect("deployed");
        world.set_leader(LEADER).expect("it is there");
        // A hook that never ends well must not be tried without end.
        world.set_automatic_retry(false);
        Stage {
            world,
            relations: BTreeMap::new(),
            folder: TempDir::new().expect("a folder"),
        }
    }

    /// Deploys and relates a consumer application.
    pub(crate) fn related(mut self, app: &str, units: usize) -> Self {
        let metadata =
            format!("{{name: {app}, requires: {{cluster: {{interface: worker-cluster}}}}}}");
        self.world
            .deploy(app, &idle(&metadata, ""), 0, &[])
            .expect("deployed");
        let provider = format!("{APP}:microcluster-cluster");
        let id = self.world.integrate(&provider, &format!("{app}:cluster"));
        let id = id.expect("related");
        self.relations.insert(app.to_owned(), id);
        for _ in 0..units {
            self.enter(app);
        }
        self.settle();
        self
    }

    /// The same with an application of another model, which the distributor knows as `name` alone.
    pub(crate) fn related_across_models(mut self, app: &str, name: &str, units: usize) -> Self {
        let metadata =
            format!("{{name: {app}, requires: {{cluster: {{interface: worker-cluster}}}}}}");
        self.world
            .deploy(app, &idle(&metadata, ""), 0, &[])
            .expect("deployed");
        self.integrate_across_models(app, name);
        for _ in 0..units {
            self.enter(app);
        }
        self.settle();
        self
    }

    /// Relates an application that is there, as one of another model.
    pub(crate) fn integrate_across_models(&mut self, app: &str, name: &str) {
        let provider = format!("{APP}:microcluster-cluster");
        let model = self.world.model_mut();
        let id = model.integrate_across_models(&provider, &format!("{app}:cluster"), name, None);
        self.relations.insert(app.to_owned(), id.expect("related"));
    }

    /// A consumer application gets one more unit: of the model alone, no agent runs anything for
    /// it.
    pub(crate) fn enter(&mut self, app: &str) {
        let id = self.relation(app);
        let model = self.world.model_mut();
        let unit = model.add_unit(app).expect("added");
        model.enter_scope(id, &unit);
        // Nobody here waits for a host that joins: whoever is let in is in at once.
        let host = model.units.get_mut(&unit).expect("just added");
        host.workload.status = "active".to_owned();
        host.workload_since = Duration::from_secs(86_400);
    }

    /// Puts the charm in the place of what was there, as `juju refresh` does, and lets it run.
    ///
    /// What consumers said before has been delivered to those who did nothing about it.
    pub(crate) fn played_by(self, provider: &Provider) -> Self {
        let mut stage = self.played_by_and_watched(provider);
        stage.world.clear_history();
        stage
    }

    /// The same, with what it did remembered.
    pub(crate) fn played_by_and_watched(mut self, provider: &Provider) -> Self {
        self.settle();
        self.world.clear_history();
        self.refresh(provider);
        self.settle();
        self
    }

    pub(crate) fn refresh(&mut self, provider: &Provider) {
        let folder = TempDir::new_in(self.folder.path())
            .expect("a folder")
            .keep();
        let charm = provider
            .charm(&folder.join("charm"), &Clock::default())
            .expect("the charm");
        self.world.refresh(APP, &charm).expect("refreshed");
        if *provider == Provider::Executable {
            self.world.follow_the_machines_clock();
        }
    }

    pub(crate) fn relation(&self, app: &str) -> RelationId {
        self.relations[app]
    }

    /// A consumer unit adds to its databag.
    pub(crate) fn says(&mut self, unit: &str, pairs: Pairs<'_>) {
        let app = unit.split('/').next().expect("an application");
        self.unit_bag(app, unit, pairs);
    }

    /// A unit's databag in the relation with `app` gets these, whoever's unit it is.
    pub(crate) fn unit_bag(&mut self, app: &str, unit: &str, pairs: Pairs<'_>) {
        let id = self.relation(app);
        let mut bag = (*self.world.unit_bag(id, unit)).clone();
        bag.extend(owned(pairs));
        self.flush(
            unit,
            Flush {
                unit_bags: BTreeMap::from([(id, Arc::new(bag))]),
                ..Flush::default()
            },
        );
    }

    /// The distributor's application bag in the relation with `app` gets these.
    pub(crate) fn app_bag(&mut self, app: &str, pairs: Pairs<'_>) {
        let id = self.relation(app);
        let mut bag = (*self.world.app_bag(id, APP)).clone();
        bag.extend(owned(pairs));
        self.flush(
            LEADER,
            Flush {
                app_bags: BTreeMap::from([(id, Arc::new(bag))]),
                ..Flush::default()
            },
        );
    }

    /// The ledger gets these.
    pub(crate) fn ledger_says(&mut self, pairs: Pairs<'_>) {
        let peer = self.peer();
        let mut bag = self.ledger();
        bag.extend(owned(pairs));
        self.flush(
            LEADER,
            Flush {
                app_bags: BTreeMap::from([(peer, Arc::new(bag))]),
                ..Flush::default()
            },
        );
    }

    fn flush(&mut self, unit: &str, flush: Flush) {
        let unit = UnitName::parse(unit).expect("a unit name");
        self.world
            .model_mut()
            .commit(&unit, flush)
            .expect("accepted");
    }

    /// The peer relation.
    pub(crate) fn peer(&self) -> RelationId {
        let mut relations = self.world.model().relations.values();
        let peer = relations.find(|relation| relation.is_peer());
        peer.expect("a peer relation").id
    }

    /// The application bag of the peer relation.
    pub(crate) fn ledger(&self) -> Bag {
        (*self.world.app_bag(self.peer(), APP)).clone()
    }

    /// What `unit` shows in the relation with `app`.
    pub(crate) fn shown(&self, unit: &str, app: &str) -> Bag {
        (*self.world.unit_bag(self.relation(app), unit)).clone()
    }

    /// What the distributor's application shows in the relation with `app`.
    pub(crate) fn shown_by_app(&self, app: &str) -> Bag {
        (*self.world.app_bag(self.relation(app), APP)).clone()
    }

    pub(crate) fn status(&self, unit: &str) -> String {
        let status = self.world.status().into_iter();
        let mut of_unit = status.filter(|status| status.unit.as_str() == unit);
        let status = of_unit.next().expect("it is there");
        format!("{} {}", status.workload, status.message)
    }

    /// Everything that the distributor's units hold.
    pub(crate) fn all_bags(&self) -> Vec<Bag> {
        let units = self.world.model().units_of(APP);
        let bags = self.relations.values().flat_map(|id| {
            let of_units = units
                .iter()
                .map(|unit| self.world.unit_bag(*id, unit.as_str()));
            of_units.chain([self.world.app_bag(*id, APP)])
        });
        let bags = bags.map(|bag| (*bag).clone());
        bags.chain([self.ledger()]).collect()
    }

    /// Lets everything run that is due, and all of it must end well.
    #[track_caller]
    pub(crate) fn settle(&mut self) {
        self.world.settle(10_000).expect("at rest");
        self.keeps_its_secrets();
        for status in self.world.status() {
            assert_ne!(status.agent, "error", "{status:?}");
        }
    }

    /// Runs the leader's failed hook again, and then everything else.
    #[track_caller]
    pub(crate) fn retry(&mut self) {
        self.world.resolved(LEADER, true).expect("it is there");
        self.settle();
    }

    /// Runs one hook that is about no relation.
    pub(crate) fn hook(&mut self, unit: &str, name: &str) -> Played {
        let hook = match name {
            "install" => Hook::Install,
            "leader-elected" => Hook::LeaderElected,
            "config-changed" => Hook::ConfigChanged(0),
            "start" => Hook::Start,
            "upgrade-charm" => Hook::UpgradeCharm,
            "update-status" => Hook::UpdateStatus,
            // Without the ends that these have in a model: the unit goes on.
            other => Hook::Named(other.to_owned()),
        };
        self.play(unit, hook)
    }

    /// Runs relation-changed of the leader for what a consumer unit has said.
    pub(crate) fn changed(&mut self, remote: &str) -> Played {
        self.relation_hook(LEADER, "changed", remote)
    }

    /// Runs a relation hook of one of our units for a consumer unit, or for a whole application.
    pub(crate) fn relation_hook(&mut self, unit: &str, event: &str, remote: &str) -> Played {
        let app = remote.split('/').next().expect("an application");
        let remote_unit = || UnitName::parse(remote).expect("a unit name");
        let event = match event {
            "created" => RelationEvent::Created,
            "joined" => RelationEvent::Joined {
                unit: remote_unit(),
                version: 0,
            },
            "changed" if remote == app => RelationEvent::AppChanged {
                app: AppName::new(app),
                version: 0,
            },
            "changed" => RelationEvent::UnitChanged {
                unit: remote_unit(),
                version: 0,
            },
            "departed" => RelationEvent::Departed {
                unit: remote_unit(),
            },
            "broken" => RelationEvent::Broken,
            other => panic!("{other} is no relation event"),
        };
        let (id, endpoint) = match app {
            APP => (self.peer(), "cluster"),
            app => (self.relation(app), "microcluster-cluster"),
        };
        let hook = Hook::Relation {
            id,
            endpoint: endpoint.to_owned(),
            event,
        };
        self.play(unit, hook)
    }

    /// Runs an action, which may be refused, and looks for tokens in what it answers, too.
    pub(crate) fn action(&mut self, unit: &str, name: &str, parameters: Pairs<'_>) -> ActionResult {
        let parameters = owned(parameters).map(|(name, value)| match value.as_str() {
            "true" => (name, true.into()),
            "false" => (name, false.into()),
            _ => (name, value.into()),
        });
        let answered = self.world.run_action(unit, name, parameters.collect());
        self.keeps_its_secrets();
        let answered = answered.expect("it can run");
        let text = format!("{answered:?}");
        assert!(
            !text.contains(SECRET),
            "a token in the answer of {name}: {text}"
        );
        answered
    }

    fn play(&mut self, unit: &str, hook: Hook) -> Played {
        let commits = self.world.commits().len();
        let lines = self.world.model().log.len();
        let run = self.world.run_hook(unit, hook).expect("it can run");
        self.keeps_its_secrets();
        Played {
            run,
            wrote: self.wrote_since(commits),
            logged: self.logged_since(lines),
        }
    }

    pub(crate) fn wrote_since(&self, commits: usize) -> Vec<String> {
        let mut wrote = Vec::new();
        for change in self.world.commits()[commits..]
            .iter()
            .flat_map(|commit| &commit.changes)
        {
            let owner = match &change.owner {
                BagOwner::App(app) => app.as_str(),
                BagOwner::Unit(unit) => unit.as_str(),
            };
            let relations = self.relations.iter();
            let mut named = relations.filter(|(_, id)| **id == change.relation);
            let bag = match named.next() {
                Some((app, _)) => format!("{owner} to {app}"),
                None => "the ledger".to_owned(),
            };
            for (key, (_, value)) in &change.keys {
                let value = value.as_deref().unwrap_or_default();
                // When its turn began is as it happens.
                let value = match key.as_str() {
                    "let-in" => value.split(' ').next().unwrap_or_default(),
                    _ => value,
                };
                wrote.push(format!("{bag}: {key}={value}"));
            }
        }
        wrote
    }

    /// What the charm said with juju-log, without what the agent logs by itself.
    pub(crate) fn logged_since(&self, lines: usize) -> Vec<String> {
        let said = self.world.model().log[lines..].iter();
        said.map(|line| format!("{} {}", line.level, line.text))
            .collect()
    }

    /// A token is in databags and nowhere else.
    fn keeps_its_secrets(&self) {
        let nowhere = |place: &dyn Debug, text: &str| {
            assert!(!text.contains(SECRET), "a token in {place:?}: {text}");
        };
        for run in self.world.runs() {
            let of = (&run.unit, &run.hook);
            nowhere(&of, &String::from_utf8_lossy(&run.stdout));
            nowhere(&of, &run.stderr_text());
            nowhere(&of, &format!("{:?}{:?}", run.failure, run.tool_calls));
        }
        for line in &self.world.model().log {
            nowhere(&"the log", &line.text);
        }
        for status in self.world.status() {
            nowhere(&"a status", &status.message);
        }
    }
}

impl Played {
    /// It ended well.
    #[track_caller]
    pub(crate) fn succeeds(&self) -> &Self {
        assert!(
            self.run.committed,
            "{}: {:?}",
            self.run.stderr_text(),
            self.run.failure
        );
        self
    }

    /// It exited 1 with this complaint on standard error, as one line, and wrote nothing.
    #[track_caller]
    pub(crate) fn fails(&self, complaint: &str) -> &Self {
        let stderr = self.run.stderr_text();
        assert_eq!(self.run.ending, Ending::Exited(1), "{stderr}");
        assert!(stderr.starts_with("error: "), "{stderr:?}");
        assert!(stderr.contains(complaint), "{stderr:?} lacks {complaint:?}");
        assert_eq!(stderr.lines().count(), 1, "{stderr:?}");
        self.wrote(&[])
    }

    /// It wrote exactly this.
    #[track_caller]
    pub(crate) fn wrote(&self, expected: &[&str]) -> &Self {
        assert_eq!(self.wrote, expected, "{:?}", self.run.hook);
        self
    }

    /// How many hook tools it called.
    pub(crate) fn calls(&self) -> usize {
        self.run.tool_calls.len()
    }
}

/// A charm whose hooks do nothing.
fn idle(metadata: &str, config: &str) -> Charm {
    let metadata = Metadata::parse(metadata, config, "").expect("metadata");
    let hook = |_: &BTreeMap<String, String>, _: &mut CallTool<'_>| 0;
    Charm::in_process(metadata, move |_| hook)
}

fn owned(pairs: Pairs<'_>) -> impl Iterator<Item = (String, String)> {
    let owned = |(key, value): &(&str, &str)| ((*key).to_owned(), (*value).to_owned());
    pairs.iter().map(owned)
}

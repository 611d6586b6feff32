//! A model with the distributor and its consumers in it, as one value: what the demonstration, the
//! simulations and most tests play with.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::str::FromStr;

use fastrand::Rng;
use microcluster_token_distributor::core::ledger::Ledger;
use microovn::cloud_directory::CloudDirectory;
use microovn::consumer::{Release, State};
use microovn::layout;
use microovn::microcluster::{Cloud, Settings};
use tempfile::TempDir;

use crate::charm::{CallTool, Charm, CharmError, Metadata};
use crate::executables;
use crate::library;
use crate::model::{Content, JujuGeneration, Life};
use crate::names::{RelationId, UnitName};
use crate::players::{Consumer, Distributor, Progress};
use crate::python::{Python, Rules};
use crate::world::World;

pub use crate::players::Clock;

/// The name under which the distributor is deployed.
pub const DISTRIBUTOR: &str = "microcluster-token-distributor";

/// What to deploy.
#[derive(Clone, Debug)]
pub struct Setup {
    /// Which Juju.
    pub juju: JujuGeneration,
    /// Everything that happens by chance follows from it.
    pub seed: u64,
    /// Consumer applications.
    pub apps: usize,
    /// Units of each.
    pub units: usize,
    /// Units of the distributor.
    pub distributor_units: usize,
    /// Which consumer.
    pub consumer: Release,
    /// Another consumer, in this process: every second application has it, or every second unit of
    /// the only one.
    pub beside: Option<Release>,
    /// What plays the distributor.
    pub distributor: Provider,
    /// How consumers run.
    pub consumers: Form,
    /// How their clusters behave.
    pub cluster: Settings,
    /// Where each application is; those that are not named are [`Place::Here`].
    pub places: Vec<Place>,
}

impl Default for Setup {
    fn default() -> Self {
        Setup {
            juju: JujuGeneration::Four,
            seed: 0,
            apps: 1,
            units: 3,
            distributor_units: 1,
            consumer: Release::Newest,
            beside: None,
            distributor: Provider::Library,
            consumers: Form::Values,
            cluster: Settings::default(),
            places: Vec::new(),
        }
    }
}

/// Where a consumer application is, as the distributor's model sees it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Place {
    /// In the model.
    #[default]
    Here,
    /// In the model, as a subordinate of an application that does nothing else.
    Subordinate,
    /// In another model, which consumes the distributor's offer.
    Consuming,
    /// In another model, whose offer of it the distributor's model consumes under another name.
    Offering,
}

impl Place {
    /// All of them.
    pub const ALL: [Self; 4] = [
        Self::Here,
        Self::Subordinate,
        Self::Consuming,
        Self::Offering,
    ];
}

/// The application on whose machines the units of a subordinate one are.
fn principal_of(app: &str) -> String {
    format!("principal-of-{app}")
}

/// What plays the distributor.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Provider {
    /// The charm's library, in this process.
    Library,
    /// A model of the Python charm, in this process.
    Python(Rules),
    /// The charm's executable, built from this workspace.
    Executable,
    /// A `.charm` file.
    Packed(PathBuf),
}

/// How consumers run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// In this process.
    Values,
    /// As processes, on a cloud in a file.
    Processes,
    /// The example charm with the library in Python, as processes on a cloud in a file.
    Library(library::Version),
}

/// A deployment that cannot be made, or did not come to rest.
pub type DeploymentError = crate::Failure;

/// Consumers that are processes cannot do this.
const PROCESSES: &str = "consumers have to run in this process for that";

enum Hosts {
    Values(Consumers),
    Directory(CloudDirectory),
}

impl Hosts {
    /// Machines whose commands are processes, on a cloud in a file.
    fn of_processes(
        world: &mut World,
        names: &Names,
        cloud: Cloud,
        folder: &Path,
    ) -> Result<Self, DeploymentError> {
        let cloud_path = folder.join("cloud");
        let directory = CloudDirectory::create(&cloud_path, cloud)?;
        let command = executables::executable("microovn", "microovn")?;
        let names = names.clone();
        world.set_machine_setup(move |unit, bin| {
            let hostname = names.of(unit.as_str());
            // A machine without its commands fails its unit's first hook, visibly.
            let _ = layout::machine_bin(bin, &command, &hostname, &cloud_path);
        });
        Ok(Hosts::Directory(directory))
    }
}

/// What consumers in this process share.
#[derive(Clone)]
struct Consumers {
    cloud: Rc<RefCell<Cloud>>,
    clock: Clock,
    names: Names,
    seed: u64,
    units: Rc<RefCell<BTreeMap<UnitName, ConsumerUnit>>>,
}

/// Which consumer a unit is, and what it remembers.
struct ConsumerUnit {
    release: Release,
    state: Rc<RefCell<State>>,
}

impl Consumers {
    fn charm(&self, release: impl Fn(&UnitName) -> Release + 'static) -> Result<Charm, CharmError> {
        let metadata = Metadata::parse(layout::METADATA, "", "")?;
        let consumers = self.clone();
        Ok(Charm::in_process(metadata, move |unit| {
            let release = release(unit);
            let mut units = consumers.units.borrow_mut();
            // A unit that is refreshed keeps what it remembers.
            let refreshed = units.remove(unit).map(|unit| unit.state);
            let state = refreshed.unwrap_or_default();
            let known = ConsumerUnit {
                release,
                state: Rc::clone(&state),
            };
            units.insert(unit.clone(), known);
            Consumer {
                release,
                state,
                machine: consumers.names.of(unit.as_str()),
                cloud: Rc::clone(&consumers.cloud),
                clock: consumers.clock.clone(),
                rng: Rng::with_seed(consumers.seed),
                progress: Progress::default(),
            }
        }))
    }
}

/// A distributor with consumers, deployed and not yet related.
pub struct Deployment {
    /// The model.
    pub world: World,
    /// The clock that consumers and the distributor's library share.
    pub clock: Clock,
    apps: Vec<String>,
    places: BTreeMap<String, Place>,
    relations: BTreeMap<String, RelationId>,
    names: Names,
    hosts: Hosts,
    consumer: Charm,
    /// Holds what processes need; goes with the deployment.
    folder: TempDir,
}

/// The names of the machines, which are their host names until one is redeployed: in no order that
/// follows from the units' names, so that any host may have to become communicator.
#[derive(Clone)]
struct Names(u64);

impl Names {
    fn of(&self, unit: &str) -> String {
        let salt = unit.bytes().fold(self.0, |hash, byte| {
            hash.wrapping_mul(31).wrapping_add(u64::from(byte))
        });
        let prefix = Rng::with_seed(salt).u8(..);
        format!("n{prefix:02x}-{}", unit.replace('/', "-"))
    }
}

/// The name of the n-th consumer application.
pub fn app_name(number: usize) -> String {
    match number {
        0 => "microovn".to_owned(),
        1 => "microovn-arm64".to_owned(),
        number => format!("microovn-{}", number + 1),
    }
}

impl Setup {
    /// Which consumer a unit is.
    fn release(&self) -> impl Fn(&UnitName) -> Release + use<> {
        let (first, beside) = (self.consumer, self.beside.unwrap_or(self.consumer));
        let apps: Vec<String> = (0..self.apps).map(app_name).collect();
        move |unit| {
            let is_of = |app: &String| app == unit.application();
            let turn = match apps.len() {
                1 => usize::try_from(unit.number()).ok(),
                _ => apps.iter().position(is_of),
            };
            if turn.is_some_and(|turn| turn % 2 == 1) {
                beside
            } else {
                first
            }
        }
    }

    /// Deploys the consumers first and then the distributor; relates nothing.
    pub fn deploy(&self) -> Result<Deployment, DeploymentError> {
        let folder = TempDir::new()?;
        let mut world = World::new(self.juju, self.seed);
        let clock = Clock::default();
        let names = Names(self.seed);

        let cloud = Cloud::new(self.cluster.clone(), self.seed);
        let (hosts, consumer) = match self.consumers {
            Form::Values => {
                let consumers = Consumers {
                    cloud: Rc::new(RefCell::new(cloud)),
                    clock: clock.clone(),
                    names: names.clone(),
                    seed: self.seed,
                    units: Rc::default(),
                };
                let consumer = consumers.charm(self.release())?;
                (Hosts::Values(consumers), consumer)
            }
            Form::Processes => {
                let charm = folder.path().join("microovn");
                let executable = executables::executable("microovn", "microovn-charm")?;
                layout::charm_directory(&charm, &executable, self.consumer)?;
                let hosts = Hosts::of_processes(&mut world, &names, cloud, folder.path())?;
                (hosts, Charm::directory(charm)?)
            }
            Form::Library(version) => {
                let charm = version.charm(folder.path())?;
                let hosts = Hosts::of_processes(&mut world, &names, cloud, folder.path())?;
                (hosts, charm)
            }
        };
        let distributor = self
            .distributor
            .charm(&folder.path().join("distributor"), &clock)?;

        let apps: Vec<String> = (0..self.apps).map(app_name).collect();
        let places = apps.iter().cloned().zip(self.places.iter().copied());
        let mut deployment = Deployment {
            world,
            clock,
            apps: Vec::new(),
            places: places.collect(),
            relations: BTreeMap::new(),
            names,
            hosts,
            consumer,
            folder,
        };
        for app in &apps {
            deployment.add_app(app, self.units)?;
        }
        match self.distributor {
            Provider::Executable => deployment.world.follow_the_machines_clock(),
            _ => deployment.world.let_steps_take_time(),
        }
        let units = self.distributor_units;
        deployment
            .world
            .deploy(DISTRIBUTOR, &distributor, units, &[])?;
        Ok(deployment)
    }
}

impl Provider {
    /// The charm; `folder` is for its files.
    pub fn charm(&self, folder: &Path, clock: &Clock) -> Result<Charm, DeploymentError> {
        let metadata = |actions| {
            Metadata::parse(
                include_str!("../../../metadata.yaml"),
                include_str!("../../../config.yaml"),
                actions,
            )
        };
        match self {
            Provider::Python(rules) => {
                let rules = *rules;
                Ok(Charm::in_process(metadata("")?, move |unit| Python {
                    rules,
                    rng: Rng::with_seed(u64::from(unit.number())),
                }))
            }
            Provider::Library => {
                let metadata = metadata(include_str!("../../../actions.yaml"))?;
                let clock = clock.clone();
                Ok(Charm::in_process(metadata, move |_| {
                    Distributor::new(clock.clone())
                }))
            }
            Provider::Executable => executables::distributor(folder),
            Provider::Packed(path) => Ok(Charm::unpack(path, folder)?),
        }
    }
}

impl Deployment {
    /// The consumer applications.
    pub fn apps(&self) -> &[String] {
        &self.apps
    }

    /// Deploys one more consumer application.
    pub fn add_app(&mut self, app: &str, units: usize) -> Result<(), DeploymentError> {
        let charm = self.charm_of(app);
        self.world.deploy(app, &charm, 0, &[])?;
        if self.place(app) == Place::Subordinate {
            let metadata = Metadata::parse("{name: principal}", "", "")?;
            let hook = |_: &BTreeMap<String, String>, _: &mut CallTool<'_>| 0;
            let idle = Charm::in_process(metadata, move |_| hook);
            self.world.deploy(&principal_of(app), &idle, 0, &[])?;
        }
        self.apps.push(app.to_owned());
        for _ in 0..units {
            self.add_unit(app)?;
        }
        Ok(())
    }

    /// Where a consumer application is.
    pub fn place(&self, app: &str) -> Place {
        self.places.get(app).copied().unwrap_or_default()
    }

    fn charm_of(&self, app: &str) -> Charm {
        match self.place(app) {
            Place::Subordinate => self.consumer.clone().subordinate(),
            _ => self.consumer.clone(),
        }
    }

    /// Adds a unit to a consumer application, with its principal where it needs one.
    pub fn add_unit(&mut self, app: &str) -> Result<UnitName, DeploymentError> {
        if self.place(app) == Place::Subordinate {
            let principal = self.world.add_unit(&principal_of(app))?;
            return Ok(self.world.add_subordinate(app, principal.as_str())?);
        }
        Ok(self.world.add_unit(app)?)
    }

    /// Adds a unit on a machine that has the host name of another, as a machine does that was
    /// installed anew.
    pub fn redeploy(&mut self, app: &str, hostname: &str) -> Result<UnitName, DeploymentError> {
        if matches!(self.hosts, Hosts::Directory(_)) {
            return Err(PROCESSES.into());
        }
        let unit = self.add_unit(app)?;
        let machine = self.names.of(unit.as_str());
        self.with_cloud(|cloud| cloud.set_hostname(&machine, hostname))?;
        Ok(unit)
    }

    /// Refreshes all consumers to another one. Each unit gets there when its agent is idle.
    pub fn refresh_consumers(&mut self, release: Release) -> Result<(), DeploymentError> {
        let Hosts::Values(consumers) = &self.hosts else {
            return Err(PROCESSES.into());
        };
        self.consumer = consumers.charm(move |_| release)?;
        self.refresh_apps()
    }

    fn refresh_apps(&mut self) -> Result<(), DeploymentError> {
        for app in &self.apps {
            self.world.refresh(app, &self.charm_of(app))?;
        }
        Ok(())
    }

    /// Refreshes all consumers to another charm with the library, or to another version of it. Each
    /// unit gets there when its agent is idle.
    pub fn refresh_library(&mut self, version: library::Version) -> Result<(), DeploymentError> {
        self.consumer = version.charm(self.folder.path())?;
        self.refresh_apps()
    }

    /// Which consumer a unit is now; nothing where consumers are processes.
    pub fn release_of(&self, unit: &UnitName) -> Option<Release> {
        let Hosts::Values(consumers) = &self.hosts else {
            return None;
        };
        let units = consumers.units.borrow();
        units.get(unit).map(|unit| unit.release)
    }

    /// Relates one consumer application to the distributor.
    pub fn relate(&mut self, app: &str) -> Result<RelationId, DeploymentError> {
        let provider = format!("{DISTRIBUTOR}:microcluster-cluster");
        let consumer = format!("{app}:cluster");
        let id = match self.place(app) {
            Place::Here | Place::Subordinate => self.world.integrate(&provider, &consumer)?,
            Place::Consuming => self.world.integrate_across_models(&provider, &consumer)?.0,
            Place::Offering => {
                let name = format!("{app}-east");
                self.world
                    .integrate_consumed_as(&consumer, &provider, &name)?
                    .0
            }
        };
        self.relations.insert(app.to_owned(), id);
        Ok(id)
    }

    /// Relates all consumer applications, with nothing in between.
    pub fn relate_all(&mut self) -> Result<(), DeploymentError> {
        for app in self.apps.clone() {
            self.relate(&app)?;
        }
        Ok(())
    }

    /// The relation of a consumer application.
    pub fn relation(&self, app: &str) -> Option<RelationId> {
        self.relations.get(app).copied()
    }

    /// Whether the relation of a consumer application is there to stay, on both sides.
    pub fn is_related(&self, app: &str) -> bool {
        let relation = self.relation(app).map(|id| self.world.model().relation(id));
        matches!(relation, Some(Ok(relation)) if relation.life == Life::Alive
            && relation.sides.iter().all(|side| !side.over))
    }

    /// The relation of `app` was removed behind this value's back.
    pub fn forget_relation(&mut self, app: &str) {
        self.relations.remove(app);
    }

    /// Lets everything run until nothing is due.
    pub fn settle(&mut self) -> Result<(), DeploymentError> {
        let units: usize = self.world.status().len();
        self.world.settle(2_000 + 400 * units * units)?;
        Ok(())
    }

    /// The host name of the machine that a unit is on.
    pub fn hostname(&self, unit: &str) -> String {
        let machine = self.names.of(unit);
        match &self.hosts {
            Hosts::Values(consumers) => {
                let mut cloud = consumers.cloud.borrow_mut();
                cloud.hostname(&machine).to_owned()
            }
            Hosts::Directory(_) => machine,
        }
    }

    /// The consumer units that are there.
    pub fn consumer_units(&self) -> Vec<UnitName> {
        let units = self
            .apps
            .iter()
            .flat_map(|app| self.world.model().units_of(app));
        units.collect()
    }

    /// The distributor's application bag of its peer relation.
    pub fn ledger_bag(&self) -> Content {
        let mut relations = self.world.model().relations.values();
        let peer = relations
            .find(|relation| relation.is_peer() && relation.own_side(DISTRIBUTOR).is_some());
        peer.map(|peer| self.world.app_bag(peer.id, DISTRIBUTOR))
            .unwrap_or_default()
    }

    /// What the distributor remembers.
    pub fn ledger(&self) -> Ledger {
        Ledger::from((*self.ledger_bag()).clone())
    }

    /// The distributor unit that leads.
    pub fn leader(&self) -> Option<UnitName> {
        let model = self.world.model();
        model
            .units_of(DISTRIBUTOR)
            .into_iter()
            .find(|unit| model.is_leader(unit))
    }

    /// The unit on the machine that mints tokens for its cluster; of several clusters, the first.
    pub fn communicator(&self) -> Result<Option<UnitName>, DeploymentError> {
        let now = self.clock.now();
        let units = self.consumer_units();
        let communicator = self.with_cloud(|cloud| {
            let machines = units.iter().map(|unit| self.names.of(unit.as_str()));
            let mut censuses = machines.filter_map(|machine| cloud.census(&machine, now).ok());
            censuses.next()?.communicator
        })?;
        let is_it = |unit: &UnitName| Some(self.hostname(unit.as_str())) == communicator;
        Ok(units.into_iter().find(is_it))
    }

    /// Takes a unit away together with its machine, as a fire would. A person takes its member out
    /// of the cluster by force, as has to be done before anybody else joins.
    pub fn lose(&mut self, unit: &str) -> Result<(), DeploymentError> {
        let hostname = self.hostname(unit);
        self.lose_machine(unit)?;
        for other in self.consumer_units() {
            self.remove_member(&other, &hostname)?;
        }
        Ok(())
    }

    /// Takes a unit away together with its machine. Its member stays in the cluster, dead.
    pub fn lose_machine(&mut self, unit: &str) -> Result<(), DeploymentError> {
        let machine = self.names.of(unit);
        self.with_cloud(|cloud| cloud.kill(&machine))?;
        self.world.lose_unit(unit)?;
        Ok(())
    }

    /// From now on members cannot reach a unit's machine, and each of its joins fails.
    pub fn set_wrong_network(&self, unit: &UnitName) -> Result<(), DeploymentError> {
        let machine = self.names.of(unit.as_str());
        self.with_cloud(|cloud| cloud.set_wrong_network(&machine, true))
    }

    /// Whether a unit's host is a member of a cluster.
    pub fn is_member(&self, unit: &UnitName) -> bool {
        let machine = self.names.of(unit.as_str());
        let member = self.with_cloud(|cloud| cloud.is_member(&machine));
        member.unwrap_or_default()
    }

    /// Takes a member out of its cluster by a command on the machine of `unit`, dead or not.
    pub fn remove_member(&self, unit: &UnitName, hostname: &str) -> Result<(), DeploymentError> {
        let (machine, now) = (self.names.of(unit.as_str()), self.clock.now());
        // A refusal is the cluster's own affair, and shows in the outcome.
        self.with_cloud(|cloud| drop(cloud.remove_by_force(&machine, hostname, now)))
    }

    /// The member names of each cluster.
    pub fn clusters(&self) -> Result<Vec<Vec<String>>, DeploymentError> {
        self.with_cloud(|cloud| {
            let clusters = cloud.clusters().into_iter();
            clusters
                .map(|members| members.into_iter().map(str::to_owned).collect())
                .collect()
        })
    }

    /// Reads or changes the machines' clusters.
    pub fn with_cloud<T>(&self, act: impl FnOnce(&mut Cloud) -> T) -> Result<T, DeploymentError> {
        match &self.hosts {
            Hosts::Values(consumers) => Ok(act(&mut consumers.cloud.borrow_mut())),
            Hosts::Directory(directory) => Ok(directory.update(|cloud, _| act(cloud))?),
        }
    }

    /// How often a unit that is a process ran `cluster bootstrap` or `cluster join`.
    pub fn entries(&self, unit: &UnitName) -> Result<u32, DeploymentError> {
        Ok(self.directory()?.entries(&self.names.of(unit.as_str()))?)
    }

    /// The time on the clock of consumers that are processes, in seconds.
    pub fn cloud_clock(&self) -> Result<u64, DeploymentError> {
        Ok(self.directory()?.update(|_, now| *now)?)
    }

    /// Lets so many seconds pass on that clock.
    pub fn pass_cloud_time(&self, seconds: u64) -> Result<(), DeploymentError> {
        Ok(self.directory()?.advance(seconds)?)
    }

    fn directory(&self) -> Result<&CloudDirectory, DeploymentError> {
        match &self.hosts {
            Hosts::Directory(directory) => Ok(directory),
            Hosts::Values(_) => Err("consumers have to be processes for that".into()),
        }
    }

    /// How far the hosts have come.
    pub fn outcome(&self) -> Result<Outcome, DeploymentError> {
        let clusters = self.clusters()?;
        let units = self.consumer_units();
        let joined = self.with_cloud(|cloud| {
            let is_member = |unit: &&UnitName| cloud.is_member(&self.names.of(unit.as_str()));
            units.iter().filter(is_member).count()
        })?;
        Ok(Outcome {
            clusters: clusters.len(),
            hosts: units.len(),
            joined,
        })
    }
}

/// How far the hosts have come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Outcome {
    /// Separate clusters; more than one is a split.
    pub clusters: usize,
    /// Hosts of the consumer units that are there.
    pub hosts: usize,
    /// Of these, members of any cluster.
    pub joined: usize,
}

impl Outcome {
    /// One cluster, and everybody in it.
    pub fn is_one_cluster(self) -> bool {
        self.clusters == 1 && self.joined == self.hosts
    }
}

impl std::fmt::Display for Outcome {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Outcome {
            clusters,
            hosts,
            joined,
        } = self;
        match clusters {
            1 => write!(formatter, "{joined} of {hosts} hosts in one cluster"),
            clusters => write!(
                formatter,
                "{joined} of {hosts} hosts in {clusters} clusters"
            ),
        }
    }
}

impl std::fmt::Display for JujuGeneration {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str(match self {
            JujuGeneration::Three => "3",
            JujuGeneration::Four => "4",
        })
    }
}

/// `3` or `4`, as on the command line.
impl FromStr for JujuGeneration {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "3" => Ok(JujuGeneration::Three),
            "4" => Ok(JujuGeneration::Four),
            other => Err(format!("{other:?} is neither 3 nor 4")),
        }
    }
}

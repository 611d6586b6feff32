//! A model with the distributor and its consumers in it, as one value: what the demonstration, the
//! simulations and most tests play with.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::rc::Rc;
use std::str::FromStr;

use fastrand::Rng;
use microovn::cloud_directory::{CloudDirectory, CloudDirectoryError};
use microovn::consumer::{Release, State};
use microovn::layout;
use microovn::microcluster::{Cloud, Settings};
use tempfile::TempDir;

use crate::charm::{Charm, CharmError, Metadata};
use crate::executables::{self, BuildError, DistributorError};
use crate::model::JujuGeneration;
use crate::names::{RelationId, UnitName};
use crate::players::{Consumer, Distributor};
use crate::python::{Python, Rules};
use crate::world::{World, WorldError};

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
    /// What plays the distributor.
    pub distributor: Provider,
    /// How consumers run.
    pub consumers: Form,
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
            distributor: Provider::Library,
            consumers: Form::Values,
        }
    }
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
}

/// A deployment that cannot be made, or did not come to rest.
#[derive(Debug, thiserror::Error)]
pub enum DeploymentError {
    /// The model refuses, or does not settle.
    #[error(transparent)]
    World(#[from] WorldError),
    /// The distributor cannot be built.
    #[error(transparent)]
    Distributor(#[from] DistributorError),
    /// A consumer cannot be built.
    #[error(transparent)]
    Build(#[from] BuildError),
    /// A charm cannot be read.
    #[error(transparent)]
    Charm(#[from] CharmError),
    /// A file cannot be written.
    #[error("cannot lay out the deployment")]
    Files(#[from] std::io::Error),
    /// The cloud cannot be read.
    #[error(transparent)]
    Cloud(#[from] CloudDirectoryError),
}

enum Hosts {
    Values(Rc<RefCell<Cloud>>),
    Directory(CloudDirectory),
}

/// A distributor with consumers, deployed and not yet related.
pub struct Deployment {
    /// The model.
    pub world: World,
    /// The clock that consumers and the distributor's library share.
    pub clock: Clock,
    apps: Vec<String>,
    relations: BTreeMap<String, RelationId>,
    names: Names,
    hosts: Hosts,
    consumer: Charm,
    /// Holds what processes need; goes with the deployment.
    _folder: TempDir,
}

/// The host names of the machines: in no order that follows from the units' names, so that any
/// host may have to become communicator.
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
#[must_use]
pub fn app_name(number: usize) -> String {
    match number {
        0 => "microovn".to_owned(),
        1 => "microovn-arm64".to_owned(),
        number => format!("microovn-{}", number + 1),
    }
}

impl Setup {
    /// Deploys the consumers first and then the distributor; relates nothing.
    ///
    /// # Errors
    /// When something cannot be built or written.
    pub fn deploy(&self) -> Result<Deployment, DeploymentError> {
        let folder = TempDir::new()?;
        let mut world = World::new(self.juju, self.seed);
        let clock = Clock::default();
        let names = Names(self.seed);

        let cloud = Cloud::new(Settings::default(), self.seed);
        let (hosts, consumer) = match self.consumers {
            Form::Values => {
                let cloud = Rc::new(RefCell::new(cloud));
                let consumer = in_process_consumer(self, &cloud, &clock, &names)?;
                (Hosts::Values(cloud), consumer)
            }
            Form::Processes => {
                let cloud_path = folder.path().join("cloud");
                let directory = CloudDirectory::create(&cloud_path, cloud)?;
                let command = executables::executable("microovn", "microovn")?;
                let names = names.clone();
                world.set_machine_setup(move |unit, bin| {
                    let hostname = names.of(unit.as_str());
                    // A machine without its commands fails its unit's first hook, visibly.
                    let _ = layout::machine_bin(bin, &command, &hostname, &cloud_path);
                });
                let charm = folder.path().join("microovn");
                let executable = executables::executable("microovn", "microovn-charm")?;
                layout::charm_directory(&charm, &executable, self.consumer)?;
                (Hosts::Directory(directory), Charm::directory(charm)?)
            }
        };
        let distributor = self
            .distributor
            .charm(&folder.path().join("distributor"), &clock)?;

        let apps: Vec<String> = (0..self.apps).map(app_name).collect();
        for app in &apps {
            world.deploy(app, &consumer, self.units, &[])?;
        }
        world.deploy(DISTRIBUTOR, &distributor, self.distributor_units, &[])?;
        Ok(Deployment {
            world,
            clock,
            apps,
            relations: BTreeMap::new(),
            names,
            hosts,
            consumer,
            _folder: folder,
        })
    }
}

impl Provider {
    /// The charm; `folder` is for its files.
    ///
    /// # Errors
    /// When it cannot be built or unpacked.
    pub fn charm(&self, folder: &std::path::Path, clock: &Clock) -> Result<Charm, DeploymentError> {
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
                Ok(Charm::in_process(metadata, move |_| Distributor {
                    clock: clock.clone(),
                }))
            }
            Provider::Executable => Ok(executables::distributor(folder)?),
            Provider::Packed(path) => Ok(Charm::unpack(path, folder)?),
        }
    }
}

fn in_process_consumer(
    setup: &Setup,
    cloud: &Rc<RefCell<Cloud>>,
    clock: &Clock,
    names: &Names,
) -> Result<Charm, CharmError> {
    let metadata = Metadata::parse(layout::METADATA, "", "")?;
    let (release, seed) = (setup.consumer, setup.seed);
    let (cloud, clock, names) = (Rc::clone(cloud), clock.clone(), names.clone());
    Ok(Charm::in_process(metadata, move |unit| Consumer {
        release,
        state: State::default(),
        hostname: names.of(unit.as_str()),
        cloud: Rc::clone(&cloud),
        clock: clock.clone(),
        rng: Rng::with_seed(seed),
    }))
}

impl Deployment {
    /// The consumer applications.
    #[must_use]
    pub fn apps(&self) -> &[String] {
        &self.apps
    }

    /// Deploys one more consumer application.
    ///
    /// # Errors
    /// The name is taken.
    pub fn add_app(&mut self, app: &str, units: usize) -> Result<(), DeploymentError> {
        self.world.deploy(app, &self.consumer, units, &[])?;
        self.apps.push(app.to_owned());
        Ok(())
    }

    /// Adds a unit to a consumer application.
    ///
    /// # Errors
    /// No such application.
    pub fn add_unit(&mut self, app: &str) -> Result<UnitName, DeploymentError> {
        Ok(self.world.add_unit(app)?)
    }

    /// Relates one consumer application to the distributor.
    ///
    /// # Errors
    /// It is related already.
    pub fn relate(&mut self, app: &str) -> Result<RelationId, DeploymentError> {
        let provider = format!("{DISTRIBUTOR}:microcluster-cluster");
        let id = self.world.integrate(&provider, &format!("{app}:cluster"))?;
        self.relations.insert(app.to_owned(), id);
        Ok(id)
    }

    /// Relates all consumer applications, with nothing in between.
    ///
    /// # Errors
    /// One is related already.
    pub fn relate_all(&mut self) -> Result<(), DeploymentError> {
        for app in self.apps.clone() {
            self.relate(&app)?;
        }
        Ok(())
    }

    /// The relation of a consumer application.
    #[must_use]
    pub fn relation(&self, app: &str) -> Option<RelationId> {
        self.relations.get(app).copied()
    }

    /// The relation of `app` was removed behind this value's back.
    pub fn forget_relation(&mut self, app: &str) {
        self.relations.remove(app);
    }

    /// Lets everything run until nothing is due.
    ///
    /// # Errors
    /// Something fails for ever.
    pub fn settle(&mut self) -> Result<(), DeploymentError> {
        let units: usize = self.world.status().len();
        self.world.settle(2_000 + 400 * units * units)?;
        Ok(())
    }

    /// The name of the machine that a unit is on.
    #[must_use]
    pub fn hostname(&self, unit: &str) -> String {
        self.names.of(unit)
    }

    /// The consumer units that are there.
    #[must_use]
    pub fn consumer_units(&self) -> Vec<UnitName> {
        let units = self
            .apps
            .iter()
            .flat_map(|app| self.world.model().units_of(app));
        units.collect()
    }

    /// The distributor unit that leads.
    #[must_use]
    pub fn leader(&self) -> Option<UnitName> {
        let model = self.world.model();
        model
            .units_of(DISTRIBUTOR)
            .into_iter()
            .find(|unit| model.is_leader(unit))
    }

    /// The unit on the machine that mints tokens for its cluster; of several clusters, the first.
    ///
    /// # Errors
    /// The cloud cannot be read.
    pub fn communicator(&self) -> Result<Option<UnitName>, DeploymentError> {
        let now = self.clock.now();
        let units = self.consumer_units();
        self.with_cloud(|cloud| {
            let census = units
                .iter()
                .find_map(|unit| cloud.census(&self.hostname(unit.as_str()), now).ok());
            let communicator = census?.communicator?;
            let mut units = units.iter();
            let unit = units.find(|unit| self.hostname(unit.as_str()) == communicator);
            unit.cloned()
        })
    }

    /// Takes a unit away together with its machine, as a fire would.
    ///
    /// # Errors
    /// No such unit.
    pub fn lose(&mut self, unit: &str) -> Result<(), DeploymentError> {
        let hostname = self.hostname(unit);
        self.with_cloud(|cloud| cloud.kill(&hostname))?;
        self.world.lose_unit(unit)?;
        Ok(())
    }

    /// The member names of each cluster.
    ///
    /// # Errors
    /// The cloud cannot be read.
    pub fn clusters(&self) -> Result<Vec<Vec<String>>, DeploymentError> {
        self.with_cloud(|cloud| {
            let clusters = cloud.clusters().into_iter();
            clusters
                .map(|members| members.into_iter().map(str::to_owned).collect())
                .collect()
        })
    }

    /// Reads or changes the machines' clusters.
    ///
    /// # Errors
    /// The cloud cannot be read.
    pub fn with_cloud<T>(&self, act: impl FnOnce(&mut Cloud) -> T) -> Result<T, DeploymentError> {
        match &self.hosts {
            Hosts::Values(cloud) => Ok(act(&mut cloud.borrow_mut())),
            Hosts::Directory(directory) => Ok(directory.update(|cloud, _| act(cloud))?),
        }
    }

    /// How far the hosts have come.
    ///
    /// # Errors
    /// The cloud cannot be read.
    pub fn outcome(&self) -> Result<Outcome, DeploymentError> {
        let clusters = self.clusters()?;
        let hosts: BTreeSet<String> = self
            .consumer_units()
            .iter()
            .map(|unit| self.hostname(unit.as_str()))
            .collect();
        let joined = clusters
            .iter()
            .flatten()
            .filter(|name| hosts.contains(*name))
            .count();
        Ok(Outcome {
            clusters: clusters.len(),
            hosts: hosts.len(),
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
    #[must_use]
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

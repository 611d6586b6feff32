//! The consumer library, in a charm of real processes on emulated machines.
//!
//! The charm is `tests/library/consumer-charm`; its Python is that of `make library`, or any that
//! has ops.

use std::fs;
use std::io;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;

use juju_emulator::JujuGeneration::{self, Four, Three};
use juju_emulator::charm::Charm;
use juju_emulator::deployment::{Clock, DISTRIBUTOR, Provider};
use juju_emulator::executables::{executable, workspace};
use juju_emulator::names::RelationId;
use juju_emulator::python::Rules;
use juju_emulator::world::World;
use microovn::cloud_directory::CloudDirectory;
use microovn::layout;
use microovn::microcluster::{Cloud, Settings};
use tempfile::TempDir;

const APP: &str = "microovn";
/// More than any orderly history of a few units takes.
const STEPS: usize = 4_000;

/// The folder of a virtual environment with ops.
fn python() -> Option<PathBuf> {
    let ours = workspace().join("target/venv");
    let has_ops = |python: &Path| {
        let mut import = Command::new(python);
        let output = import.args(["-c", "import ops"]).output();
        output.is_ok_and(|output| output.status.success())
    };
    if has_ops(&ours.join("bin/python")) {
        return ours.canonicalize().ok();
    }
    eprintln!("skipped: there is no Python with ops in target/venv; `make library` puts it there");
    None
}

/// An unpacked charm: the files of `tests/library/NAME`, the library of major version `version`
/// from `library`, and the environment.
fn lay_out(name: &str, library: &Path, into: &Path, environment: &Path) -> io::Result<Charm> {
    let source = workspace().join("tests/library").join(name);
    let below = "charms/microcluster_token_distributor";
    fs::create_dir_all(into.join("src"))?;
    fs::create_dir_all(into.join("lib").join(below))?;
    for file in ["metadata.yaml", "dispatch", "src/charm.py"] {
        fs::copy(source.join(file), into.join(file))?;
    }
    for version in fs::read_dir(library.join(below))? {
        let version = version?.path();
        let target = into
            .join("lib")
            .join(below)
            .join(version.file_name().unwrap());
        fs::create_dir_all(&target)?;
        let module = "token_distributor.py";
        fs::copy(version.join(module), target.join(module))?;
    }
    symlink(environment, into.join("venv"))?;
    Charm::directory(into).map_err(io::Error::other)
}

struct Play {
    world: World,
    cloud: CloudDirectory,
    relation: Option<RelationId>,
    /// What the consumers are refreshed to.
    refreshed: Charm,
    _folder: TempDir,
}

/// The consumer that is deployed first.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Consumer {
    V0,
    V1,
}

impl Play {
    /// Two consumers and a distributor, not yet related. None if there is no Python for it.
    fn new(
        juju: JujuGeneration,
        seed: u64,
        consumer: Consumer,
        provider: &Provider,
    ) -> Option<Self> {
        let environment = python()?;
        let folder = TempDir::new().unwrap();
        let root = workspace();
        let lay_out = |name: &str, library: PathBuf| {
            lay_out(name, &library, &folder.path().join(name), &environment).unwrap()
        };
        let refreshed = lay_out("consumer-charm", root.join("lib"));
        let consumer = match consumer {
            Consumer::V0 => {
                let name = "consumer-charm-v0";
                lay_out(name, root.join("tests/library").join(name).join("lib"))
            }
            Consumer::V1 => refreshed.clone(),
        };
        let cloud_path = folder.path().join("cloud");
        let cloud = Cloud::new(Settings::default(), seed);
        let cloud = CloudDirectory::create(&cloud_path, cloud).unwrap();
        let command = executable("microovn", "microovn").unwrap();
        let mut world = World::new(juju, seed);
        world.set_machine_setup(move |unit, bin| {
            // Names in another order than the units', so that any host may become communicator.
            let number = unit.as_str().rsplit('/').next().unwrap();
            let number: u64 = number.parse().unwrap();
            let hostname = format!("h{}", (number * 7 + 3 * seed + 5) % 10);
            layout::machine_bin(bin, &command, &hostname, &cloud_path).unwrap();
        });
        let files = folder.path().join("distributor");
        let distributor = provider.charm(&files, &Clock::default()).unwrap();
        world.deploy(APP, &consumer, 2, &[]).unwrap();
        world.deploy(DISTRIBUTOR, &distributor, 1, &[]).unwrap();
        Some(Self {
            world,
            cloud,
            relation: None,
            refreshed,
            _folder: folder,
        })
    }

    fn relate(&mut self) {
        let provider = format!("{DISTRIBUTOR}:microcluster-cluster");
        let consumer = format!("{APP}:cluster");
        self.relation = Some(self.world.integrate(&provider, &consumer).unwrap());
    }

    fn refresh(&mut self) {
        self.world.refresh(APP, &self.refreshed).unwrap();
    }

    /// Lets everything run until nothing is due.
    fn settle(&mut self) {
        self.world.settle(STEPS).unwrap();
        for run in self.world.runs() {
            let said = String::from_utf8_lossy(&run.stderr);
            assert_eq!(run.failure, None, "{} {}: {said}", run.unit, run.hook);
        }
    }

    /// All hosts are in one cluster, and all units say that they are.
    fn is_one_cluster_of(&self, hosts: usize) {
        let sizes = |cloud: &mut Cloud| -> Vec<usize> {
            let clusters = cloud.clusters();
            clusters.iter().map(Vec::len).collect()
        };
        let sizes = self.cloud.update(|cloud, _| sizes(cloud)).unwrap();
        assert_eq!(sizes, [hosts]);
        for unit in self.world.model().units_of(APP) {
            let bag = self.world.unit_bag(self.relation.unwrap(), unit.as_str());
            assert_eq!(bag.get("member"), bag.get("hostname"), "{unit}");
            assert_eq!(bag.get("protocol").map(String::as_str), Some("2"), "{unit}");
        }
        for unit in self.world.status() {
            assert_eq!(unit.workload, "active", "{}: {}", unit.unit, unit.message);
        }
    }

    fn grows_to(&mut self, hosts: usize) {
        self.world.add_unit(APP).unwrap();
        self.settle();
        self.is_one_cluster_of(hosts);
    }
}

#[test]
fn a_cluster_forms_and_grows() {
    let Some(mut play) = Play::new(Four, 0, Consumer::V1, &Provider::Executable) else {
        return;
    };
    play.relate();
    play.settle();
    play.is_one_cluster_of(2);
    play.grows_to(3);
}

#[test]
fn a_cluster_forms_and_grows_with_the_python_charm() {
    let Some(mut play) = Play::new(Three, 1, Consumer::V1, &Provider::Python(Rules::E)) else {
        return;
    };
    play.relate();
    play.settle();
    play.is_one_cluster_of(2);
    play.grows_to(3);
}

#[test]
fn members_of_major_version_0_are_refreshed() {
    let Some(mut play) = Play::new(Three, 2, Consumer::V0, &Provider::Executable) else {
        return;
    };
    play.relate();
    play.settle();
    play.refresh();
    play.settle();
    play.is_one_cluster_of(2);
    play.grows_to(3);
}

/// At any time: while a host waits for its token, with events put off, before anybody bootstrapped.
#[test]
fn a_refresh_in_mid_flight_goes_on() {
    for (seed, steps) in (3..).zip([8, 14, 20]) {
        let Some(mut play) = Play::new(Four, seed, Consumer::V0, &Provider::Executable) else {
            return;
        };
        // Installed and started.
        play.settle();
        play.relate();
        for _ in 0..steps {
            play.world.step();
        }
        play.refresh();
        play.settle();
        play.is_one_cluster_of(2);
    }
}

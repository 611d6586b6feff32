//! The consumer library in charms of real processes: how they are laid out, and a history that
//! checks what the library promises.
//!
//! The charm is `tests/library/consumer-charm`; its Python is that of `make library`.

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::LazyLock;
use std::time::Duration;

use microcluster_token_distributor::core::wire::{Value, mirrored};

use crate::Failure;
use crate::charm::Charm;
use crate::deployment::{Deployment, Form, Provider, Setup};
use crate::executables::workspace;
use crate::model::JujuGeneration;

/// No hook may wait for longer, on the clock of its cluster: that of the wall depends on the machine.
const LONGEST_HOOK: Duration = Duration::from_secs(45);

/// A charm, and the major version of the library in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Version {
    /// A stand-in that leaves what version 0 leaves behind.
    V0,
    /// The one in `lib`.
    V1,
    /// No library: the charm forms its cluster over a peer relation.
    Peer,
    /// The same charm, moved to the library in `lib`.
    Moved,
}

impl Version {
    fn name(self) -> &'static str {
        match self {
            Self::V0 => "v0",
            Self::V1 => "v1",
            Self::Peer => "peer",
            Self::Moved => "moved",
        }
    }

    /// The folders of the charm and of the library, and the library's version.
    fn sources(self) -> (PathBuf, Option<(PathBuf, &'static str)>) {
        let (root, lib) = (workspace().join("tests/library"), workspace().join("lib"));
        match self {
            Self::V0 => {
                let charm = root.join("consumer-charm-v0");
                let library = charm.join("lib");
                (charm, Some((library, "v0")))
            }
            Self::V1 => (root.join("consumer-charm"), Some((lib, "v1"))),
            Self::Peer => (root.join("peer-charm"), None),
            Self::Moved => (root.join("moved-charm"), Some((lib, "v1"))),
        }
    }

    /// The charm, unpacked below `folder`.
    pub fn charm(self, folder: &Path) -> Result<Charm, Failure> {
        let environment = python()?;
        let (source, library) = self.sources();
        let into = folder.join(format!("consumer-{}", self.name()));
        let lay_out = || -> io::Result<()> {
            fs::create_dir_all(into.join("src"))?;
            for file in ["metadata.yaml", "dispatch", "src/charm.py"] {
                fs::copy(source.join(file), into.join(file))?;
            }
            if source.join("config.yaml").exists() {
                fs::copy(source.join("config.yaml"), into.join("config.yaml"))?;
            }
            if let Some((library, version)) = library {
                let folder = Path::new("charms/microcluster_token_distributor").join(version);
                let module = folder.join("token_distributor.py");
                fs::create_dir_all(into.join("lib").join(folder))?;
                fs::copy(library.join(&module), into.join("lib").join(&module))?;
            }
            symlink(environment, into.join("venv"))
        };
        lay_out()?;
        Ok(Charm::directory(into)?)
    }
}

/// The virtual environment that `make library` sets up.
pub fn python() -> Result<PathBuf, Failure> {
    // The import takes as long as a hook.
    static FOUND: LazyLock<Option<PathBuf>> = LazyLock::new(|| {
        let environment = workspace().join("target/venv").canonicalize().ok()?;
        let mut import = Command::new(environment.join("bin/python"));
        let output = import.args(["-c", "import ops"]).output().ok()?;
        output.status.success().then_some(environment)
    });
    let missing = "there is no Python with ops in target/venv; `make library` sets it up";
    FOUND.clone().ok_or_else(|| missing.into())
}

/// Hosts become one cluster. [`Formation::play`] checks what the library promises.
#[derive(Clone, Debug)]
pub struct Formation {
    /// Which Juju.
    pub juju: JujuGeneration,
    /// Everything that happens by chance follows from it.
    pub seed: u64,
    /// Hosts that are there from the beginning.
    pub hosts: usize,
    /// Hosts that come when these are one cluster.
    pub later: usize,
    /// What plays the distributor.
    pub provider: Provider,
    /// Start with major version 0, and refresh after so many hooks from the relation on.
    pub refresh_after: Option<usize>,
}

/// What a formation came to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Formed {
    /// Hooks of all units.
    pub hooks: usize,
    /// Of these, between the relation and the refresh.
    pub hooks_to_refresh: usize,
    /// The longest hook of a consumer, on the wall's clock.
    pub longest: Duration,
    /// The longest that a hook waited on the clusters' clock.
    pub longest_wait: Duration,
    /// Tokens that were written, and looked for in all other places.
    pub tokens: usize,
}

impl Formed {
    /// Adds another formation up.
    pub fn add(&mut self, other: &Self) {
        self.hooks += other.hooks;
        self.hooks_to_refresh += other.hooks_to_refresh;
        self.longest = self.longest.max(other.longest);
        self.longest_wait = self.longest_wait.max(other.longest_wait);
        self.tokens += other.tokens;
    }
}

fn unless(kept: bool, broken: impl FnOnce() -> String) -> Result<(), Failure> {
    match kept {
        true => Ok(()),
        false => Err(broken().into()),
    }
}

impl Formation {
    /// With the library from the beginning, on each Juju in turn.
    pub fn new(seed: u64, hosts: usize, provider: Provider) -> Self {
        Self {
            juju: match seed.is_multiple_of(2) {
                true => JujuGeneration::Four,
                false => JujuGeneration::Three,
            },
            seed,
            hosts,
            later: 0,
            provider,
            refresh_after: None,
        }
    }

    /// Plays it to its end.
    pub fn play(&self) -> Result<Formed, Failure> {
        let first = match self.refresh_after {
            None => Version::V1,
            Some(_) => Version::V0,
        };
        let mut deployment = Setup {
            juju: self.juju,
            seed: self.seed,
            units: self.hosts,
            distributor: self.provider.clone(),
            consumers: Form::Library(first),
            ..Setup::default()
        }
        .deploy()?;
        let mut formed = Formed::default();
        // Machines of every second seed are not up yet.
        if self.seed.is_multiple_of(2) || self.refresh_after.is_some() {
            run(&mut deployment, &mut formed, None)?;
        }
        deployment.relate_all()?;
        if let Some(hooks) = self.refresh_after {
            formed.hooks_to_refresh = run(&mut deployment, &mut formed, Some(hooks))?;
            deployment.refresh_library(Version::V1)?;
        }
        run(&mut deployment, &mut formed, None)?;
        check(&deployment)?;
        for _ in 0..self.later {
            let app = deployment.apps()[0].clone();
            deployment.add_unit(&app)?;
            run(&mut deployment, &mut formed, None)?;
            check(&deployment)?;
        }
        formed.hooks = deployment.world.runs().len();
        formed.tokens = look_for_tokens(&deployment)?;
        Ok(formed)
    }
}

/// Hosts that formed their cluster over a peer relation move to the distributor: they are refreshed, then
/// related, and then one more host comes. Returns what it came to at each of the last two moments.
pub fn move_a_cluster(seed: u64, provider: Provider) -> Result<[Formed; 2], Failure> {
    let mut deployment = Setup {
        seed,
        distributor: provider,
        consumers: Form::Library(Version::Peer),
        ..Setup::default()
    }
    .deploy()?;
    let mut formed = Formed::default();
    run(&mut deployment, &mut formed, None)?;
    // All members have their role.
    deployment.pass_cloud_time(60)?;
    deployment.refresh_library(Version::Moved)?;
    run(&mut deployment, &mut formed, None)?;
    deployment.relate_all()?;
    let mut moments = [formed; 2];
    for (moment, is_new) in moments.iter_mut().zip([false, true]) {
        if is_new {
            let app = deployment.apps()[0].clone();
            deployment.add_unit(&app)?;
        }
        run(&mut deployment, &mut formed, None)?;
        check(&deployment)?;
        formed.hooks = deployment.world.runs().len();
        formed.tokens = look_for_tokens(&deployment)?;
        *moment = formed;
    }
    Ok(moments)
}

/// Runs so many hooks, or all that are due if these are fewer, and counts them.
fn run(
    deployment: &mut Deployment,
    formed: &mut Formed,
    hooks: Option<usize>,
) -> Result<usize, Failure> {
    /// More than any orderly history of a few units takes.
    const MOST: usize = 1_000;

    let before = deployment.world.runs().len();
    loop {
        let so_far = deployment.world.runs().len();
        let count = so_far - before;
        if hooks.is_some_and(|hooks| count >= hooks) {
            return Ok(count);
        }
        unless(count < MOST, || "hooks without end".to_owned())?;
        let clock = deployment.cloud_clock()?;
        if !deployment.world.step() {
            return Ok(count);
        }
        let waited = Duration::from_secs(deployment.cloud_clock()? - clock);
        formed.longest_wait = formed.longest_wait.max(waited);
        for run in &deployment.world.runs()[so_far..] {
            let what = format!("{} {}", run.unit, run.hook);
            if let Some(failure) = &run.failure {
                let why = run.complaint.as_ref().unwrap_or(failure);
                return Err(format!("{what} failed: {why}").into());
            }
            unless(waited <= LONGEST_HOOK, || {
                format!("{what} waited {waited:?}")
            })?;
            if deployment
                .apps()
                .iter()
                .any(|app| app == run.unit.application())
            {
                formed.longest = formed.longest.max(run.duration);
            }
        }
    }
}

/// All hosts are in one cluster, each after one command, and every unit says so.
fn check(deployment: &Deployment) -> Result<(), Failure> {
    let outcome = deployment.outcome()?;
    unless(outcome.is_one_cluster(), || outcome.to_string())?;
    for unit in deployment.consumer_units() {
        let entries = deployment.entries(&unit)?;
        unless(entries == 1, || {
            format!("{unit} ran bootstrap and join {entries} times")
        })?;
        let relation = deployment.relation(unit.application());
        let bag = relation.map(|relation| deployment.world.unit_bag(relation, unit.as_str()));
        let says = |key: &str| bag.as_ref().and_then(|bag| bag.get(key).cloned());
        let is_said = says("member").is_some_and(|name| name == deployment.hostname(unit.as_str()))
            && says("protocol").is_some_and(|version| version == "2");
        unless(is_said, || {
            format!("{unit} does not say that it is a member")
        })?;
    }
    for unit in deployment.world.status() {
        unless(unit.workload == "active", || {
            format!("{} is {}: {}", unit.unit, unit.workload, unit.message)
        })?;
    }
    Ok(())
}

/// Looks for every token that was ever in a databag in all other places, and counts them.
fn look_for_tokens(deployment: &Deployment) -> Result<usize, Failure> {
    let commits = deployment.world.commits().iter();
    let changes = commits.flat_map(|commit| &commit.changes);
    let written = changes.flat_map(|change| &change.keys);
    let tokens: BTreeSet<&str> = written
        .filter(|(key, _)| mirrored(key).is_some())
        .filter_map(|(_, (_, value))| value.as_deref())
        .filter(|value| matches!(Value::from(*value), Value::Text(_)))
        .collect();
    let shows = |text: &[u8]| {
        let found = |token: &&str| {
            text.windows(token.len())
                .any(|part| part == token.as_bytes())
        };
        tokens.iter().any(found)
    };
    for run in deployment.world.runs() {
        let arguments = run.tool_calls.iter().flat_map(|call| &call.arguments);
        let texts = arguments
            .chain(&run.failure)
            .chain(&run.complaint)
            .map(String::as_bytes);
        let mut texts = texts.chain([run.stdout.as_slice(), run.stderr.as_slice()]);
        unless(!texts.any(shows), || {
            format!("a token left the databags in {} {}", run.unit, run.hook)
        })?;
    }
    for unit in deployment.world.status() {
        let Some(places) = deployment.world.places(unit.unit.as_str()) else {
            continue;
        };
        // A charm in this process has no files.
        for file in files(&places.charm)? {
            unless(!shows(&fs::read(&file)?), || {
                format!("a token is in {}", file.display())
            })?;
        }
    }
    Ok(tokens.len())
}

/// The files in a folder and below; a link to the environment is none of them.
fn files(folder: &Path) -> io::Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    if !folder.exists() {
        return Ok(files);
    }
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let kind = entry.file_type()?;
        if kind.is_dir() {
            files.extend(self::files(&entry.path())?);
        } else if kind.is_file() {
            files.push(entry.path());
        }
    }
    Ok(files)
}

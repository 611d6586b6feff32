//! A play: hosts, charms and a relation, and what comes of it.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, BinaryHeap};
use std::fmt;
use std::fs::{self, Permissions};
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use fastrand::Rng;
use juju_emulator::charm::Code;
use juju_emulator::deployment::{self, Clock};
use juju_emulator::model::{BagOwner, Content};
use juju_emulator::python::Rules;
use juju_emulator::world::{Launched, Progress, RunningHook, Step};
use juju_emulator::{
    Charm, Failure, JujuGeneration, RelationId, UnitName, World, executables, library,
};
use microovn::consumer::Release;
use microovn::layout;
use serde::{Deserialize, Serialize};

use crate::events::{self, Event, Joins};
use crate::network::Network;
use crate::trouble::{Course, Scene, Trouble};

pub(crate) use juju_emulator::deployment::DISTRIBUTOR;

/// The application whose units are the hosts.
pub(crate) const CONSUMER: &str = "microovn";

/// Until a unit's agent hears of what another's has committed (contract of Juju, section 9).
const NEWS: std::ops::Range<f64> = 0.3..1.5;
/// After the first failure of a hook; every further one doubles it.
const FIRST_RETRY: Duration = Duration::from_secs(5);
/// A hook that is not done by then counts as stuck.
const LONGEST_HOOK: Duration = Duration::from_secs(1800);
/// How long nothing may happen before a play ends in which not every host is in.
const STILLNESS: Duration = Duration::from_secs(130);
/// How long the last hooks may go on once all hosts are in.
const AFTERMATH: Duration = Duration::from_secs(60);

/// Which charm the hosts have.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub enum Consumer {
    /// A stand-in for MicroOVN's charm of today, with library 0.3
    Released,
    /// A stand-in for one with library 0.8
    Newest,
    /// The example charm with our library, in Python
    Library,
}

/// Which distributor.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub enum Provider {
    /// This charm
    Ours,
    /// The rules of the Python charm
    Python,
}

/// What to play.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Play {
    /// Hosts that are there when the charms are related.
    pub units: usize,
    /// Hosts that come one after the other once these are in.
    pub later: usize,
    /// Units that are removed one after the other once all are in.
    pub leave: usize,
    /// The charm is `ready` only once there is nothing else to do.
    pub hold: bool,
    /// Who is removed takes itself out by force.
    pub force: bool,
    /// Their charm.
    pub consumer: Consumer,
    /// The distributor.
    pub provider: Provider,
    /// A packed distributor, instead of one that is built from this workspace.
    pub charm: Option<PathBuf>,
    /// Units of the distributor.
    pub distributor_units: usize,
    /// What runs as daemon and command of the hosts.
    pub program: PathBuf,
    /// From one heartbeat of the cluster to the next.
    pub heartbeat: Duration,
    /// From one update-status hook to the next.
    pub update_status: Duration,
    /// What a hook of a stand-in takes to start, as one in Python does.
    pub startup: Duration,
    /// What goes wrong.
    pub trouble: Option<Trouble>,
    /// How long a person takes to remove a dead member.
    pub repair_after: Duration,
    /// The play ends by then.
    pub limit: Duration,
    /// News arrives as it says.
    pub seed: u64,
    /// Say what happens while it happens.
    pub trace: bool,
}

/// What came of a play.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Report {
    /// Hosts that were there.
    pub hosts: usize,
    /// Of these, hosts that could have come in, and stay: the trouble did not cost them.
    pub expected: usize,
    /// Units that were removed, and are gone.
    pub left: usize,
    /// Hosts that find themselves in their own list, with a role.
    pub members: usize,
    /// Separate clusters.
    pub clusters: usize,
    /// Members by role, as `cluster list` says.
    pub roles: BTreeMap<String, usize>,
    /// Members, as some member lists them, that are not `ONLINE` or whose unit has left.
    pub left_behind: BTreeSet<String>,
    /// Hosts whose list shows others and not themselves.
    pub half_in: Vec<String>,
    /// Units that are not members, with their status.
    pub left_out: BTreeMap<String, String>,
    /// Units that are members, with a status that is not active.
    pub inactive: BTreeMap<String, String>,
    /// How the joins went.
    pub joins: Joins,
    /// Tokens that were minted.
    pub minted: usize,
    /// Of these, between the trouble and its end.
    pub minted_in_trouble: usize,
    /// Of these, for hosts that were in a cluster before.
    pub minted_for_members: usize,
    /// From the relation to the last bootstrap or join.
    pub last_join: Option<f64>,
    /// Hooks of the hosts' units while their charm was not ready.
    pub hooks_on_hold: usize,
    /// Hooks of the hosts' units since the relation.
    pub consumer_hooks: usize,
    /// Of these, failed ones.
    pub failed_hooks: Vec<String>,
    /// Hooks of the distributor since the relation.
    pub distributor_hooks: usize,
    /// Of these, failed ones.
    pub failed_distributor_hooks: Vec<String>,
    /// What the trouble did.
    pub trouble: Vec<String>,
}

/// The names of the hosts, by unit.
pub(crate) struct Hosts {
    relation: Option<RelationId>,
    by_unit: BTreeMap<UnitName, String>,
}

impl Hosts {
    /// In no order that follows from the units' names, so that any may have to become communicator.
    fn new(units: usize, seed: u64) -> Self {
        let mut rng = Rng::with_seed(seed);
        let mut numbers: Vec<usize> = (1..=units).collect();
        rng.shuffle(&mut numbers);
        let units = numbers.into_iter().enumerate().map(|(unit, number)| {
            let unit = UnitName::new(CONSUMER, u32::try_from(unit).unwrap_or(u32::MAX));
            (unit, format!("host-{number:03}"))
        });
        Self {
            relation: None,
            by_unit: units.collect(),
        }
    }

    pub(crate) fn count(&self) -> usize {
        self.by_unit.len()
    }

    fn names(&self) -> Vec<String> {
        let mut names: Vec<String> = self.by_unit.values().cloned().collect();
        names.sort();
        names
    }

    fn host(&self, unit: &UnitName) -> Option<&str> {
        self.by_unit.get(unit).map(String::as_str)
    }

    /// The unit on a host.
    pub(crate) fn unit(&self, host: &str) -> &str {
        let mut units = self.by_unit.iter();
        units
            .find(|(_, name)| *name == host)
            .map_or("", |(unit, _)| unit.as_str())
    }

    /// The host of the unit that came last, which never leads.
    pub(crate) fn last(&self) -> &str {
        let last = self.by_unit.iter().max_by_key(|(unit, _)| unit.number());
        last.map_or("", |(_, name)| name)
    }

    /// What a unit shows to the distributor.
    pub(crate) fn bag(&self, world: &World, unit: &str) -> Content {
        let bag = self.relation.map(|id| world.unit_bag(id, unit));
        bag.unwrap_or_default()
    }

    /// The host that mints tokens.
    pub(crate) fn communicator(&self, world: &World) -> Option<&str> {
        let mut units = self.by_unit.iter();
        let mints = |unit: &UnitName| {
            let bag = self.bag(world, unit.as_str());
            bag.get("mirror").is_some_and(|mirror| mirror == "up")
        };
        let found = units.find(|(unit, _)| world.agent(unit.as_str()).is_ok() && mints(unit));
        found.map(|(_, name)| name.as_str())
    }
}

impl Play {
    /// Builds what the play runs, which a sandbox cannot: it has no network.
    pub fn build(&self) -> Result<(), Failure> {
        executables::executable("juju-emulator", "jujuc")?;
        match self.consumer {
            Consumer::Released | Consumer::Newest => {
                executables::executable("microovn", "microovn-charm")?;
            }
            Consumer::Library => drop(library::python()?),
        }
        if self.provider == Provider::Ours && self.charm.is_none() {
            let name = "microcluster-token-distributor";
            executables::executable(name, name)?;
        }
        Ok(())
    }

    /// Plays it, in a sandbox whose files are in `folder`.
    pub fn run(&self, folder: &Path) -> Result<Report, Failure> {
        let hosts = Hosts::new(self.units + self.later, self.seed);
        let names = hosts.names();
        let network = Network::new(&names, &folder.join("hosts"), &self.program, self.heartbeat)?;
        let mut world = World::new(JujuGeneration::Four, self.seed);
        world.set_deadline(LONGEST_HOOK);
        let scripts: BTreeMap<String, (String, String)> = network
            .hosts()
            .iter()
            .map(|host| {
                let name = host.name();
                let hostname = format!("#!/bin/sh\necho {name}\n");
                (
                    hosts.unit(name).to_owned(),
                    (hostname, host.microovn_script()),
                )
            })
            .collect();
        world.set_machine_setup(move |unit, bin| {
            if let Some((hostname, microovn)) = scripts.get(unit.as_str()) {
                for (name, text) in [("hostname", hostname), ("microovn", microovn)] {
                    // A machine without its commands fails its unit's first hook, visibly.
                    let _ = write_script(&bin.join(name), text);
                }
            }
        });
        let consumer = self.consumer_charm(&folder.join("charms"))?;
        let distributor = self.distributor_charm(&folder.join("distributor"))?;
        let flags = [("hold", self.hold), ("force", self.force)];
        let options: Vec<(&str, &str)> = flags
            .iter()
            .filter_map(|(option, is_set)| is_set.then_some((*option, "true")))
            .collect();
        world.deploy(CONSUMER, &consumer, self.units, &options)?;
        world.deploy(DISTRIBUTOR, &distributor, self.distributor_units, &[])?;
        let trouble = self.trouble;
        Driver {
            play: self,
            world,
            network,
            hosts,
            course: trouble.map(|trouble| Course::new(trouble, self.repair_after)),
            rng: Rng::with_seed(self.seed),
            begun: Instant::now(),
            related: Duration::ZERO,
            agenda: BinaryHeap::new(),
            serial: 0,
            told: BTreeSet::new(),
            running: BTreeMap::new(),
            open: BTreeMap::new(),
            progress: mpsc::channel(),
            struck: None,
            mended: 0,
            left: BTreeSet::new(),
            report: Report::default(),
        }
        .run()
    }

    fn consumer_charm(&self, folder: &Path) -> Result<Charm, Failure> {
        let release = match self.consumer {
            Consumer::Released => Release::Released,
            Consumer::Newest => Release::Newest,
            Consumer::Library => {
                fs::create_dir_all(folder)?;
                let charm = library::Version::V1.charm(folder)?;
                real_time(&charm)?;
                return Ok(charm);
            }
        };
        let directory = folder.join(CONSUMER);
        let executable = executables::executable("microovn", "microovn-charm")?;
        layout::charm_directory(&directory, &executable, release)?;
        let charm = Charm::directory(directory)?;
        real_time(&charm)?;
        Ok(charm)
    }

    fn distributor_charm(&self, folder: &Path) -> Result<Charm, Failure> {
        let provider = match (self.provider, &self.charm) {
            (Provider::Python, _) => deployment::Provider::Python(Rules::E),
            (Provider::Ours, None) => deployment::Provider::Executable,
            (Provider::Ours, Some(path)) => deployment::Provider::Packed(path.clone()),
        };
        provider.charm(folder, &Clock::default())
    }
}

/// Tells a consumer that a second of waiting has to be one.
fn real_time(charm: &Charm) -> Result<(), Failure> {
    if let Code::Directory(directory) = &charm.code {
        fs::write(directory.join(layout::REAL_TIME_FILE), "")?;
    }
    Ok(())
}

fn write_script(path: &Path, text: &str) -> io::Result<()> {
    fs::write(path, text)?;
    fs::set_permissions(path, Permissions::from_mode(0o755))
}

#[derive(Clone, PartialEq, Eq, PartialOrd, Ord)]
enum Due {
    /// An idle agent hears that it may have something to do.
    News(UnitName),
    Retry(UnitName),
    UpdateStatus(UnitName),
    /// A hook of a charm in this process has taken its time.
    Ends(UnitName),
}

struct Driver<'a> {
    play: &'a Play,
    world: World,
    network: Network,
    hosts: Hosts,
    course: Option<Course>,
    rng: Rng,
    begun: Instant,
    /// When the charms were related.
    related: Duration,
    /// The earliest first; of several, what was planned first.
    agenda: BinaryHeap<Reverse<(Duration, u64, Due)>>,
    serial: u64,
    /// Idle agents that are about to hear of something.
    told: BTreeSet<UnitName>,
    running: BTreeMap<UnitName, Box<RunningHook>>,
    /// Hooks of charms in this process, which end later than they run.
    open: BTreeMap<UnitName, Box<juju_emulator::world::OpenHook>>,
    progress: (Sender<Progress>, Receiver<Progress>),
    /// When the trouble struck, and when it did the last thing, in nanoseconds since 1970.
    struck: Option<u64>,
    mended: u64,
    /// Units that were removed, and are gone.
    left: BTreeSet<UnitName>,
    report: Report,
}

impl Driver<'_> {
    fn run(mut self) -> Result<Report, Failure> {
        // Deployed, and nothing related: machines come up.
        self.go_on(|driver| Ok(driver.is_at_rest()))?;
        self.world.clear_history();
        for unit in self.world.status() {
            self.plan_update_status(unit.unit);
        }
        self.with_course(|course, scene| course.prepare(scene))?;
        let provider = format!("{DISTRIBUTOR}:microcluster-cluster");
        let consumer = format!("{CONSUMER}:cluster");
        self.hosts.relation = Some(self.world.integrate(&provider, &consumer)?);
        self.related = self.now();
        let related = since_1970();
        self.say(format_args!("related"));
        if self.play.hold {
            self.hold()?;
        }
        if self.grow()? {
            self.shrink()?;
        }
        self.tell(related)
    }

    /// Nobody may do anything for a cluster while the charm is not ready.
    fn hold(&mut self) -> Result<(), Failure> {
        self.settle(|_, _| true)?;
        for (unit, host) in &self.hosts.by_unit {
            let bag = self.hosts.bag(&self.world, unit.as_str());
            if bag.contains_key("hostname") {
                return Err(format!("{host} is announced before its charm is ready").into());
            }
        }
        if !self.events()?.is_empty() {
            return Err("there is a command before its charm is ready".into());
        }
        let runs = self.world.runs().iter();
        let hooks = runs.filter(|run| run.unit.application() == CONSUMER);
        self.report.hooks_on_hold = hooks.count();
        self.world.set_config(CONSUMER, &[("hold", "false")])?;
        self.say(format_args!("ready"));
        Ok(())
    }

    /// Lets hosts come in, first those that are there; returns whether all did.
    fn grow(&mut self) -> Result<bool, Failure> {
        let mut expected = self.expected() - self.play.later;
        let are_in = |expected| {
            move |driver: &Self, events: &[Event]| {
                let trouble_is_over = driver.course.as_ref().is_none_or(Course::is_over);
                driver.members_in(events) >= expected && trouble_is_over
            }
        };
        let mut all_in = self.settle(are_in(expected))?;
        for _ in 0..self.play.later {
            if !all_in {
                return Ok(false);
            }
            let unit = self.world.add_unit(CONSUMER)?;
            self.say(format_args!("{unit} comes"));
            self.plan_update_status(unit);
            expected += 1;
            all_in = self.settle(are_in(expected))?;
        }
        Ok(all_in)
    }

    /// Removes units, each once the one before it is gone: the communicator, as long as there is one.
    fn shrink(&mut self) -> Result<(), Failure> {
        for _ in 0..self.play.leave {
            let communicator = self.hosts.communicator(&self.world);
            let unit = match communicator.map(|host| self.hosts.unit(host)) {
                Some(unit) => UnitName::parse(unit),
                None => self.world.model().units_of(CONSUMER).into_iter().next(),
            };
            let Some(unit) = unit else { break };
            self.say(format_args!("{unit} is removed"));
            self.world.remove_unit(unit.as_str())?;
            if !self.settle(|driver, _| driver.world.agent(unit.as_str()).is_err())? {
                break;
            }
            self.left.insert(unit);
        }
        Ok(())
    }

    /// Goes on until `done` and nothing more happens, and says whether it came to that: it does not
    /// where nothing happens any more, or time is up.
    fn settle(&mut self, done: impl Fn(&Self, &[Event]) -> bool) -> Result<bool, Failure> {
        let mut still_since = None;
        let mut done_since = None;
        self.go_on(|driver| {
            let now = driver.now();
            let events = driver.events()?;
            let joined = events::members(&events).len();
            driver.trouble(&events, joined)?;
            if driver.is_at_rest() {
                still_since.get_or_insert(now);
            } else {
                still_since = None;
            }
            if done(driver, &events) {
                done_since.get_or_insert(now);
            }
            let for_long =
                |since: Option<Duration>, limit| since.is_some_and(|since| now - since > limit);
            let settled = done_since.is_some() && for_long(still_since, Duration::from_secs(2));
            Ok(settled
                || for_long(done_since, AFTERMATH)
                || for_long(still_since, STILLNESS)
                || now - driver.related > driver.play.limit)
        })?;
        Ok(done_since.is_some())
    }

    fn tell(mut self, related: u64) -> Result<Report, Failure> {
        let events = self.events()?;
        let mut report = std::mem::take(&mut self.report);
        report.hosts = self.hosts.count();
        report.expected = self.expected().saturating_sub(self.play.leave);
        report.left = self.left.len();
        let struck = self.course.as_ref().and_then(|course| course.host.clone());
        // A host that cannot be in is no part of the count: its joins never reach the cluster.
        let cut_off = |event: &&Event| {
            self.play.trouble == Some(Trouble::WrongNetwork) && struck.as_ref() == Some(&event.host)
        };
        let reached: Vec<Event> = events.iter().filter(|it| !cut_off(it)).cloned().collect();
        report.joins = events::joins(&reached);
        let tokens = || events.iter().filter(|event| event.is_token());
        report.minted = tokens().count();
        report.minted_for_members = events::minted_for_members(&events);
        if let Some(struck) = self.struck {
            let meanwhile = struck..self.mended;
            let in_trouble = tokens().filter(|token| meanwhile.contains(&token.time));
            report.minted_in_trouble = in_trouble.count();
        }
        let mut entered = events.iter().filter(|event| event.is_entry());
        let last = entered.next_back().map(|event| event.time);
        report.last_join =
            last.map(|last| Duration::from_nanos(last.saturating_sub(related)).as_secs_f64());

        let mut roles: BTreeMap<String, usize> = BTreeMap::new();
        let mut clusters: BTreeSet<Vec<String>> = BTreeSet::new();
        let statuses = self.world.status();
        for (unit, name) in &self.hosts.by_unit {
            let status = statuses.iter().find(|status| status.unit == *unit);
            let Some(status) = status else { continue };
            let said = format!("{}: {}", status.workload, status.message);
            // One that is dark or dead has no part in this.
            let listed =
                if struck.as_ref() == Some(name) && self.play.trouble != Some(Trouble::HalfIn) {
                    None
                } else {
                    self.settled_members(name)?
                };
            let own = listed.as_ref().and_then(|members| {
                members
                    .iter()
                    .find(|member| member.name == *name && member.role != "PENDING")
            });
            match (own, &listed) {
                (Some(own), Some(members)) => {
                    report.members += 1;
                    *roles.entry(own.role.clone()).or_default() += 1;
                    let is_there = |member: &&crate::Member| {
                        let unit = self.hosts.unit(&member.name);
                        member.status == "ONLINE" && self.world.agent(unit).is_ok()
                    };
                    let behind = members.iter().filter(|member| !is_there(member));
                    report.left_behind.extend(behind.map(|it| it.name.clone()));
                    let mut names: Vec<String> = members.iter().map(|it| it.name.clone()).collect();
                    names.sort();
                    clusters.insert(names);
                    if status.workload != "active" {
                        report.inactive.insert(unit.to_string(), said);
                    }
                }
                (None, listed) => {
                    if listed.is_some() {
                        report.half_in.push(name.clone());
                    }
                    report.left_out.insert(unit.to_string(), said);
                }
                (Some(_), None) => {}
            }
        }
        report.roles = roles;
        report.clusters = clusters.len();
        for run in self.world.runs() {
            // A machine that is lost takes its hooks with it.
            let is_lost = self.world.agent(run.unit.as_str()).is_err();
            let failed = run.failure.is_some() && (!is_lost || self.left.contains(&run.unit));
            let words = || format!("{} {}", run.unit, run.hook);
            let (hooks, failures) = match run.unit.application() {
                DISTRIBUTOR => (
                    &mut report.distributor_hooks,
                    &mut report.failed_distributor_hooks,
                ),
                _ => (&mut report.consumer_hooks, &mut report.failed_hooks),
            };
            *hooks += 1;
            if failed {
                failures.push(words());
            }
        }
        Ok(report)
    }

    /// What a host lists once no role is pending, or a while has passed.
    fn settled_members(&self, name: &str) -> Result<Option<Vec<crate::Member>>, Failure> {
        let begun = Instant::now();
        let patience = self.play.heartbeat * 4 + Duration::from_secs(5);
        loop {
            let host = self.network.host(name)?;
            let Ok(members) = host.members()? else {
                return Ok(None);
            };
            let pending = members.iter().any(|member| member.role == "PENDING");
            if !pending || begun.elapsed() > patience {
                return Ok(Some(members));
            }
            std::thread::sleep(self.play.heartbeat / 4);
        }
    }

    fn expected(&self) -> usize {
        let costs = self.play.trouble.is_some_and(Trouble::costs_a_host);
        self.hosts.count() - usize::from(costs)
    }

    /// Hosts that are in, without the one that the trouble strikes.
    fn members_in(&self, events: &[Event]) -> usize {
        let struck = self
            .course
            .as_ref()
            .and_then(|course| course.host.as_deref());
        let members = events::members(events).into_iter();
        members.filter(|host| Some(*host) != struck).count()
    }

    fn events(&self) -> Result<Vec<Event>, Failure> {
        Ok(events::read(self.network.hosts())?)
    }

    fn trouble(&mut self, events: &[Event], joined: usize) -> Result<(), Failure> {
        let said = self.with_course(|course, scene| {
            course.go_on(Scene {
                events,
                joined,
                ..scene
            })
        })?;
        if let Some(said) = said.flatten() {
            self.say(format_args!("{said}"));
            self.struck.get_or_insert_with(since_1970);
            self.mended = since_1970();
            self.report.trouble.push(said);
        }
        Ok(())
    }

    fn with_course<T>(
        &mut self,
        act: impl FnOnce(&mut Course, Scene<'_>) -> Result<T, Failure>,
    ) -> Result<Option<T>, Failure> {
        let Some(course) = &mut self.course else {
            return Ok(None);
        };
        let scene = Scene {
            world: &mut self.world,
            network: &mut self.network,
            hosts: &self.hosts,
            events: &[],
            joined: 0,
        };
        act(course, scene).map(Some)
    }

    /// Lets everything happen until `done` says that it is enough; it is asked often.
    fn go_on(
        &mut self,
        mut done: impl FnMut(&mut Self) -> Result<bool, Failure>,
    ) -> Result<(), Failure> {
        const OFTEN: Duration = Duration::from_millis(50);

        let mut asked = Instant::now();
        loop {
            self.set_clock();
            self.tell_agents();
            while let Some(due) = self.take_due() {
                self.happen(due);
                self.tell_agents();
            }
            if asked.elapsed() >= OFTEN {
                asked = Instant::now();
                if done(self)? {
                    return Ok(());
                }
            }
            let next = self.agenda.peek().map(|Reverse((at, ..))| *at);
            let pause = next.map_or(OFTEN, |at| at.saturating_sub(self.now()).min(OFTEN));
            match self.progress.1.recv_timeout(pause) {
                Ok(progress) => self.advance(progress),
                // This value has a sender itself.
                Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => {}
            }
        }
    }

    fn now(&self) -> Duration {
        self.begun.elapsed()
    }

    /// What the distributor reads of statuses is compared with its machine's clock.
    fn set_clock(&mut self) {
        let since_1970 = Duration::from_nanos(since_1970());
        let model = self.world.model_mut();
        model.now = since_1970.saturating_sub(Duration::from_secs(model.epoch));
    }

    fn plan(&mut self, pause: Duration, due: Due) {
        self.serial += 1;
        let at = self.now() + pause;
        self.agenda.push(Reverse((at, self.serial, due)));
    }

    fn plan_update_status(&mut self, unit: UnitName) {
        let pause = self.play.update_status.mul_f64(self.rng.f64());
        self.plan(pause, Due::UpdateStatus(unit));
    }

    fn take_due(&mut self) -> Option<Due> {
        let now = self.now();
        let Reverse((at, ..)) = self.agenda.peek()?;
        if *at > now {
            return None;
        }
        self.agenda.pop().map(|Reverse((_, _, due))| due)
    }

    /// Whether nothing is going on or planned, apart from update-status.
    fn is_at_rest(&self) -> bool {
        let waits = |due: &Due| matches!(due, Due::UpdateStatus(_));
        let runs = |hook: &RunningHook| hook.name() != "update-status";
        !self.running.values().any(|hook| runs(hook))
            && self.open.is_empty()
            && self.agenda.iter().all(|Reverse((_, _, due))| waits(due))
    }

    /// Agents that work ask by themselves when they are done; idle ones hear a little later.
    fn tell_agents(&mut self) {
        for unit in self.world.take_awake() {
            let agent = self.world.agent(unit.as_str());
            let idle = agent.is_ok_and(|agent| !agent.busy);
            if idle && self.told.insert(unit.clone()) {
                let width = NEWS.end - NEWS.start;
                let pause = Duration::from_secs_f64(NEWS.start + width * self.rng.f64());
                self.plan(pause, Due::News(unit));
            }
        }
    }

    fn happen(&mut self, due: Due) {
        match due {
            Due::News(unit) => {
                self.told.remove(&unit);
                self.act(&unit, false);
            }
            Due::Retry(unit) => self.act(&unit, true),
            Due::UpdateStatus(unit) => {
                // A unit that is gone has no timer any more.
                if self.world.fire_update_status(unit.as_str()).is_ok() {
                    self.plan(self.play.update_status, Due::UpdateStatus(unit));
                }
            }
            Due::Ends(unit) => {
                if let Some(open) = self.open.remove(&unit) {
                    self.finish(&unit, *open);
                }
            }
        }
    }

    /// Lets an agent begin what it has to do, if anything.
    fn act(&mut self, unit: &UnitName, retry: bool) {
        let host = self.hosts.host(unit);
        let off = host.zip(self.course.as_ref());
        if off.is_some_and(|(host, course)| course.is_off(host)) {
            return;
        }
        let is_stand_in = host.is_some() && self.play.consumer != Consumer::Library;
        let startup = if is_stand_in {
            self.play.startup
        } else {
            Duration::ZERO
        };
        loop {
            match self.world.launch(unit, retry, startup, &self.progress.0) {
                Launched::Nothing => return,
                Launched::Internal => {}
                Launched::Running(hook) => {
                    self.running.insert(unit.clone(), hook);
                    return;
                }
                Launched::Ran(open) => {
                    // As long as the hook of the Python charm takes, by its tools.
                    let tools = u32::try_from(open.calls().len()).unwrap_or(u32::MAX);
                    let pause = Rules::STARTUP + Duration::from_millis(20) * tools;
                    self.open.insert(unit.clone(), open);
                    self.plan(pause, Due::Ends(unit.clone()));
                    return;
                }
            }
        }
    }

    fn advance(&mut self, progress: Progress) {
        self.set_clock();
        let unit = progress.unit().clone();
        let Some(hook) = self.running.remove(&unit) else {
            return;
        };
        match self.world.advance(hook, progress) {
            Step::Running(hook) => drop(self.running.insert(unit, hook)),
            Step::Ended(open) => self.finish(&unit, *open),
        }
    }

    fn finish(&mut self, unit: &UnitName, open: juju_emulator::world::OpenHook) {
        self.set_clock();
        self.world.finish(open);
        self.say_last();
        let agent = self.world.agent(unit.as_str()).ok();
        let attempts = agent.and_then(|agent| Some(agent.failed.as_ref()?.attempts));
        if let Some(attempts) = attempts {
            let doublings = attempts.saturating_sub(1).min(6);
            self.plan(FIRST_RETRY * (1 << doublings), Due::Retry(unit.clone()));
        }
        self.act(unit, false);
    }

    fn say(&self, what: fmt::Arguments<'_>) {
        if self.play.trace {
            eprintln!("{:8.2} {what}", self.now().as_secs_f64());
        }
    }

    /// Says what the last hook did: names of keys, no values.
    fn say_last(&self) {
        let (true, Some(run)) = (self.play.trace, self.world.runs().last()) else {
            return;
        };
        let commit = self.world.commits().last();
        let commit = commit.filter(|commit| run.wrote && commit.unit == run.unit);
        let mut wrote = String::new();
        for change in commit.iter().flat_map(|commit| &commit.changes) {
            let owner = match &change.owner {
                BagOwner::App(app) => app.to_string(),
                BagOwner::Unit(unit) => unit.to_string(),
            };
            let keys: Vec<&str> = change.keys.keys().map(String::as_str).collect();
            wrote += &format!(" [{owner}: {}]", keys.join(" "));
        }
        let status = self.world.status();
        let status = status.iter().find(|status| status.unit == run.unit);
        let status = status.map_or(String::new(), |it| {
            format!("{}: {}", it.workload, it.message)
        });
        let host = self.hosts.host(&run.unit).unwrap_or_default();
        let failure = run
            .failure
            .as_deref()
            .map_or(String::new(), |why| format!(" FAILED {why}"));
        self.say(format_args!(
            "{} {host} {} {:.1}s{failure}{wrote} ({status})",
            run.unit,
            run.hook,
            run.duration.as_secs_f64(),
        ));
        if run.failure.is_some() {
            let text = run.stderr_text();
            let last: Vec<&str> = text.lines().rev().take(5).collect();
            for line in last.iter().rev() {
                self.say(format_args!("    {line}"));
            }
        }
    }
}

fn since_1970() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.map_or(0, |since| {
        u64::try_from(since.as_nanos()).unwrap_or(u64::MAX)
    })
}

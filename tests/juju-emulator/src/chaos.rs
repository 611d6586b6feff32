//! Random histories with faults, and what must hold after every commit of one.
//!
//! A history is a model with consumers and distributors in which operators come and go, machines
//! burn, leaders change, hook tools fail in every way, and the hooks run in any order that Juju
//! allows. It follows from its seed alone, so a seed is all that a report needs.

use std::collections::{BTreeMap, BTreeSet};

use clap::ValueEnum;
use fastrand::Rng;
use microcluster_token_distributor::core::choose::ledger_shows_cluster;
use microcluster_token_distributor::core::ledger::{Ledger, REFUSED_PREFIX};
use microcluster_token_distributor::core::names::RelationId as CoreId;
use microcluster_token_distributor::core::show;
use microcluster_token_distributor::core::wire::{self, BOOTSTRAP_APP, HOSTNAME, Value};
use microovn::consumer::Release;

use crate::agent::Hook;
use crate::deployment::{DISTRIBUTOR, Deployment, DeploymentError, Place, Provider, Setup};
use crate::faults::{Effect, Fault, Injection};
use crate::model::{BagChange, BagOwner, Content, JujuGeneration, Life, Relation};
use crate::names::{AppName, RelationId, UnitName};
use crate::quirks::{Complaint, ConsumedOffer, Omissions, Party, Unserved};
use crate::world::Begun;

/// The endpoint under test.
const ENDPOINT: &str = "microcluster-cluster";

/// What a history was, and whether everybody was served in the end.
#[derive(Clone, Copy, Debug, Default)]
pub struct History {
    /// Operations that agents ran.
    pub steps: usize,
    /// Commits that changed databags, each followed by the checks.
    pub commits: usize,
    /// Faults and operator's deeds.
    pub events: usize,
    /// Hooks of the distributor that failed, all of them by a fault.
    pub failed_hooks: usize,
    /// Consumer units that no fault of ours holds: their hooks crash as the protocol's hazards say.
    pub crashed_consumers: usize,
    /// Clusters beside another at the end, each founded where no word of ours could reach.
    pub untold: usize,
}

impl History {
    /// Adds another history's counts.
    pub fn add(&mut self, other: &History) {
        self.steps += other.steps;
        self.commits += other.commits;
        self.events += other.events;
        self.failed_hooks += other.failed_hooks;
        self.crashed_consumers += other.crashed_consumers;
        self.untold += other.untold;
    }
}

/// A promise broken.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{promise} ({hook} of {unit})")]
pub struct Violation {
    /// Which promise.
    pub promise: String,
    /// Whose hook broke it, or was looked at after.
    pub unit: String,
    /// Which hook.
    pub hook: String,
}

/// Why a history ended early.
#[derive(Debug, thiserror::Error)]
pub enum ChaosError {
    /// A promise was broken.
    #[error("broken promise: {0}")]
    Violation(#[from] Violation),
    /// The model could not be made.
    #[error(transparent)]
    Deployment(#[from] DeploymentError),
}

/// Hears every hook, deed and commit, one line each; keys, never values.
pub type Listener<'a> = dyn FnMut(&str) + 'a;

/// What happens in a history, and where its consumers are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Plot {
    /// Faults of every kind, on consumers in the distributor's model.
    Faults,
    /// `goal-state` leaves out units and applications at random. Consumers are in this model or in
    /// others, subordinate or not. Nothing else goes wrong.
    GoalState,
    /// Juju refuses a relation to one side alone, and options are reset. Nothing else goes wrong.
    OneSide,
}

impl Plot {
    /// Whether a hook of the distributor can fail in it.
    fn has_faults(self) -> bool {
        self == Plot::Faults
    }
}

/// Plays the history of `seed`.
///
/// # Errors
/// A promise was broken, or the model could not be made.
pub fn play(
    seed: u64,
    juju: JujuGeneration,
    plot: Plot,
    distributor: &Provider,
    length: usize,
    listener: &mut Listener<'_>,
) -> Result<History, ChaosError> {
    let mut rng = Rng::with_seed(seed);
    let mut setup = Setup {
        juju,
        seed,
        apps: rng.usize(1..=2),
        units: rng.usize(1..=3),
        distributor_units: rng.usize(1..=3),
        consumer: some_release(&mut rng),
        beside: rng.bool().then(|| some_release(&mut rng)),
        distributor: distributor.clone(),
        ..Setup::default()
    };
    if plot != Plot::Faults {
        let place = |rng: &mut Rng| Place::ALL[rng.usize(..Place::ALL.len())];
        setup.places = (0..setup.apps).map(|_| place(&mut rng)).collect();
        // A released consumer of an application that must not bootstrap may do so all the same.
        setup.consumer = some_obedient_release(&mut rng);
        setup.beside = rng.bool().then(|| some_obedient_release(&mut rng));
    }
    let mut deployment = setup.deploy()?;
    if plot == Plot::GoalState {
        let quirks = &mut deployment.world.model_mut().quirks;
        let percent = [5, 20, 50, 100][rng.usize(..4)];
        quirks.goal_state_omits = Some(Omissions::new(percent, seed));
        quirks.consumed_offers = [
            None,
            Some(ConsumedOffer::Name),
            Some(ConsumedOffer::Url),
            Some(ConsumedOffer::Nothing),
        ][rng.usize(..4)];
    }
    let mut chaos = Chaos {
        plot,
        promises: Promises::default(),
        history: History::default(),
        operator_spoke: false,
        leadership_was_lost: false,
        clusters: 0,
        founders: BTreeSet::new(),
        deployment,
        rng,
        listener,
    };
    for _ in 0..length {
        if chaos.rng.u8(..) < 40 {
            chaos.deed()?;
        } else {
            chaos.step()?;
        }
    }
    chaos.heal()?;
    chaos.judge()?;
    Ok(chaos.history)
}

fn some_release(rng: &mut Rng) -> Release {
    Release::ALL[rng.usize(..Release::ALL.len())]
}

/// One that bootstraps with permission only.
fn some_obedient_release(rng: &mut Rng) -> Release {
    [Release::Newest, Release::Second][rng.usize(..2)]
}

/// Something that an operator does, or that goes wrong. Most that make no sense now become a fault.
/// Seeds replay the same histories only while their order stays.
#[derive(Clone, Copy, Debug, ValueEnum)]
enum Deed {
    Relate,
    ElectLeader,
    LoseLeadership,
    AddConsumer,
    RemoveConsumer,
    LoseConsumer,
    AddDistributor,
    RemoveDistributor,
    LoseDistributor,
    RestartDistributor,
    RestartConsumer,
    UpdateStatus,
    RemoveRelation,
    SuspendOrResume,
    SetLogLevel,
    SetBootstrapApp,
    RepeatChanged,
    RefreshConsumers,
    RedeployConsumer,
    ExpireTokens,
    InjectFault,
    // Not among the faults.
    RefuseOneSide,
    ServeAgain,
    ResetOptions,
}

impl Deed {
    /// Each is as likely as any other, among the faults the first and the last twice so.
    fn draw(plot: Plot, rng: &mut Rng) -> Self {
        use Deed::*;

        const WITHOUT_FAULTS: [Deed; 13] = [
            Relate,
            ElectLeader,
            LoseLeadership,
            AddConsumer,
            RemoveConsumer,
            AddDistributor,
            RemoveDistributor,
            RestartDistributor,
            RestartConsumer,
            UpdateStatus,
            UpdateStatus,
            RepeatChanged,
            SetLogLevel,
        ];
        const ONE_SIDE: [Deed; 4] = [RefuseOneSide, RefuseOneSide, ServeAgain, ResetOptions];

        if plot == Plot::Faults {
            let deeds = Deed::value_variants();
            let drawn = usize::from(rng.u8(..23)).saturating_sub(1);
            return deeds[drawn.min(InjectFault as usize)];
        }
        if plot == Plot::OneSide && rng.u8(..100) < 40 {
            return ONE_SIDE[rng.usize(..ONE_SIDE.len())];
        }
        WITHOUT_FAULTS[rng.usize(..WITHOUT_FAULTS.len())]
    }
}

struct Chaos<'a> {
    plot: Plot,
    listener: &'a mut Listener<'a>,
    deployment: Deployment,
    rng: Rng,
    promises: Promises,
    history: History,
    /// An operator did what may change the settled `bootstrap-app`.
    operator_spoke: bool,
    /// Leadership was to be lost in a hook, or between two.
    leadership_was_lost: bool,
    /// So many there were after the last hook of a consumer.
    clusters: usize,
    /// Hosts that founded one which nobody could prevent, see [`History::untold`].
    founders: BTreeSet<String>,
}

impl Chaos<'_> {
    fn step(&mut self) -> Result<bool, Violation> {
        self.forget_what_goal_state_listed();
        let clock = &self.deployment.clock;
        clock.set(clock.now() + 1);
        self.promises
            .forget_permission_unless(a_cluster_is_known(&self.deployment));
        let moved = self.deployment.world.step();
        self.history.steps += usize::from(moved);
        self.check()?;
        Ok(moved)
    }

    fn forget_what_goal_state_listed(&mut self) {
        let quirks = &mut self.deployment.world.model_mut().quirks;
        if let Some(omissions) = &mut quirks.goal_state_omits {
            omissions.listed.clear();
        }
    }

    /// Checks what was committed since the last look.
    fn check(&mut self) -> Result<(), Violation> {
        let world = &self.deployment.world;
        for run in world.runs() {
            let distributor = run.unit.application() == DISTRIBUTOR;
            self.history.failed_hooks += usize::from(distributor && run.failure.is_some());
            self.history.crashed_consumers += usize::from(!distributor && run.failure.is_some());
            let remote = run.remote_unit.as_deref().unwrap_or_default();
            let failure = run.failure.as_deref().unwrap_or_default();
            (self.listener)(&format!("{}: {} {remote} {failure}", run.unit, run.hook));
            if !distributor && !self.plot.has_faults() {
                let clusters = self
                    .deployment
                    .clusters()
                    .map_or(0, |clusters| clusters.len());
                let before = std::mem::replace(&mut self.clusters, clusters);
                self.promises.knew_a_cluster &= before > 0;
                let knew = self.promises.knew_a_cluster;
                if before > 0
                    && clusters > before
                    && (!knew || no_word_reaches(&self.deployment, &run.unit))
                {
                    let host = self.deployment.hostname(run.unit.as_str());
                    self.founders.insert(host);
                }
            }
            if distributor && run.failure.is_some() && !self.plot.has_faults() {
                let complaint = run.complaint.as_deref().unwrap_or(failure);
                return Err(Violation {
                    promise: format!("a hook failed where nothing did: {complaint}"),
                    unit: run.unit.to_string(),
                    hook: run.hook.clone(),
                });
            }
            // Faults are for distributors alone.
            if let Some(failure) = &run.failure
                && self.deployment.release_of(&run.unit) == Some(Release::Second)
            {
                return Err(Violation {
                    promise: format!("a consumer of the second protocol failed: {failure}"),
                    unit: run.unit.to_string(),
                    hook: run.hook.clone(),
                });
            }
        }
        for commit in world.commits() {
            self.history.commits += 1;
            (self.listener)(&format!(
                "  {} wrote {:?}",
                commit.unit,
                keys(&commit.changes)
            ));
            let violation = |promise: String| Violation {
                promise,
                unit: commit.unit.to_string(),
                hook: commit.hook.clone(),
            };
            if commit.unit.application() == DISTRIBUTOR {
                let ledger = self.deployment.ledger();
                let before = self.promises.value_stays(ledger).map_err(violation)?;
                for change in &commit.changes {
                    let relation = world.model().relation(change.relation);
                    let is_peer = relation.is_ok_and(Relation::is_peer);
                    only_known_keys(change, is_peer).map_err(violation)?;
                    if is_peer {
                        no_known_unit_is_forgotten(&self.deployment, &commit.unit, &before, change)
                            .map_err(violation)?;
                    }
                    shows_the_ledger(&self.deployment, &commit.unit, change).map_err(violation)?;
                    goes_down_after_the_next(&self.deployment, &commit.unit, change)
                        .map_err(violation)?;
                    if !self.operator_spoke {
                        self.promises.permission_stays(change).map_err(violation)?;
                    }
                }
                let mut relations = world.model().relations.values();
                relations
                    .try_for_each(up_only_with_permission)
                    .map_err(violation)?;
            }
        }
        self.deployment.world.clear_history();
        Ok(())
    }

    /// Something that an operator does, or that goes wrong.
    fn deed(&mut self) -> Result<(), ChaosError> {
        use Deed::*;

        self.history.events += 1;
        self.forget_what_goal_state_listed();
        self.promises
            .forget_permission_unless(a_cluster_is_known(&self.deployment));
        let rng = &mut self.rng;
        let deployment = &mut self.deployment;
        let distributors = deployment.world.model().units_of(DISTRIBUTOR);
        let consumers = deployment.consumer_units();
        let apps = deployment.apps().to_vec();
        let app = apps[rng.usize(..apps.len())].clone();
        let some = |units: &[UnitName], rng: &mut Rng| {
            (!units.is_empty()).then(|| units[rng.usize(..units.len())].to_string())
        };
        let distributor = some(&distributors, rng);
        let consumer = some(&consumers, rng);
        let related = deployment.relation(&app);
        let is_over = related.is_some() && !deployment.is_related(&app);
        // Juju 4.0.14 takes the relation from the distributor's model, and what the distributor said
        // last stays with the units of the offering application, old and new: a permission, maybe,
        // that no charm can take back.
        let juju = deployment.world.model().generation;
        let offering: Vec<String> = apps
            .iter()
            .filter(|app| juju == JujuGeneration::Four && deployment.place(app) == Place::Offering)
            .cloned()
            .collect();
        let leaves_its_last_word = |unit: &str| {
            offering
                .iter()
                .any(|app| unit.starts_with(&format!("{app}/")))
        };
        let world = &mut deployment.world;
        let deed = Deed::draw(self.plot, rng);
        (self.listener)(&format!(
            "deed {deed:?}: {app}, {distributor:?}, {consumer:?}"
        ));
        // A deed that the model refuses (no such unit any more, say) is no deed.
        match (deed, distributor, consumer) {
            (Relate, ..) if related.is_none() || is_over => drop(deployment.relate(&app)),
            (RefuseOneSide, ..) => {
                if let Some(id) = related {
                    let side = [DISTRIBUTOR, app.as_str()][rng.usize(..2)];
                    let unserved = Unserved {
                        complaint: Complaint::ALL[rng.usize(..Complaint::ALL.len())],
                        only: Some(Party::Application(AppName::new(side))),
                    };
                    (self.listener)(&format!("  refused: {unserved:?}"));
                    drop(world.model_mut().stop_serving(id, unserved));
                }
            }
            (ServeAgain, ..) => related
                .into_iter()
                .for_each(|id| world.model_mut().serve_again(id)),
            (ResetOptions, ..) => drop(world.reset_config(DISTRIBUTOR, &["log-level"])),
            (ElectLeader, Some(unit), _) => drop(world.set_leader(&unit)),
            (LoseLeadership, ..) => {
                self.leadership_was_lost = true;
                drop(world.lose_leadership(DISTRIBUTOR));
            }
            (AddConsumer, ..) if consumers.len() < 8 => drop(deployment.add_unit(&app)),
            (RemoveConsumer, _, Some(unit))
                if consumers.len() > 1 && !leaves_its_last_word(&unit) =>
            {
                drop(world.remove_unit(&unit));
            }
            (LoseConsumer, _, Some(unit)) if consumers.len() > 1 => drop(deployment.lose(&unit)),
            (AddDistributor, ..) if distributors.len() < 4 => drop(world.add_unit(DISTRIBUTOR)),
            (RemoveDistributor, Some(unit), _) if distributors.len() > 1 => {
                drop(world.remove_unit(&unit));
            }
            (LoseDistributor, Some(unit), _) => drop(world.lose_unit(&unit)),
            (RestartDistributor, Some(unit), _) => drop(world.restart_agent(&unit)),
            (RestartConsumer, _, Some(unit)) => drop(world.restart_agent(&unit)),
            (UpdateStatus, Some(unit), _) => drop(world.fire_update_status(&unit)),
            (RemoveRelation, ..) if rng.u8(..) < 60 => self.remove_relation(&app)?,
            (SuspendOrResume, ..) => {
                if let Some(id) = related {
                    let suspend = rng.bool();
                    let world = &mut deployment.world;
                    drop(if suspend {
                        world.suspend_relation(id)
                    } else {
                        world.resume_relation(id)
                    });
                    if suspend {
                        // A suspended relation hides what it knows, so another may be chosen.
                        self.operator_spoke = true;
                    }
                }
            }
            (SetLogLevel, ..) => {
                let log_level = ["info", "debug", "loud", "ERROR"][rng.usize(..4)];
                drop(world.set_config(DISTRIBUTOR, &[("log-level", log_level)]));
            }
            (SetBootstrapApp, ..) if rng.u8(..) < 60 => {
                self.operator_spoke = true;
                let choice = [app.as_str(), "", "nobody"][rng.usize(..3)];
                drop(world.set_config(DISTRIBUTOR, &[("bootstrap-app", choice)]));
            }
            (RepeatChanged, Some(unit), Some(remote)) => {
                if let Some(id) = related {
                    // A late or repeated event; Juju never shows one of a unit it does not know, nor to one
                    // that leaves.
                    let world = &deployment.world;
                    let stays = matches!(world.model().unit(&unit), Ok((_, unit)) if unit.life == Life::Alive);
                    let agent = world.agent(&unit).ok().filter(|_| stays);
                    let known = agent
                        .and_then(|agent| agent.relations.get(&id))
                        .is_some_and(|state| state.members.contains_key(remote.as_str()));
                    if known {
                        drop(deployment.world.run_changed(&unit, id, Some(&remote)));
                    }
                }
            }
            (RefreshConsumers, ..) => drop(deployment.refresh_consumers(some_release(rng))),
            (RedeployConsumer, _, Some(unit)) if consumers.len() > 1 => {
                let hostname = deployment.hostname(&unit);
                drop(deployment.lose(&unit));
                drop(deployment.redeploy(&app, &hostname));
            }
            (ExpireTokens, ..) => {
                let life = deployment.with_cloud(|cloud| cloud.settings().token_life)?;
                deployment.clock.set(deployment.clock.now() + life);
            }
            (_, Some(unit), _) if self.plot.has_faults() => {
                let injection = self.fault();
                (self.listener)(&format!("  fault on {unit}: {:?}", injection.fault()));
                self.deployment.world.inject(injection.on(&unit));
            }
            _ => {}
        }
        self.check()?;
        Ok(())
    }

    fn remove_relation(&mut self, app: &str) -> Result<(), ChaosError> {
        if let Some(id) = self.deployment.relation(app) {
            drop(self.deployment.world.remove_relation(id));
            self.deployment.forget_relation(app);
        }
        Ok(())
    }

    fn fault(&mut self) -> Injection {
        let rng = &mut self.rng;
        let call = rng.usize(1..=12);
        let relations: Vec<RelationId> = self
            .deployment
            .world
            .model()
            .relations
            .keys()
            .copied()
            .collect();
        let fail = |message: &str| Effect::Fail {
            code: 1,
            message: message.to_owned(),
        };
        let effect = match rng.u8(..11) {
            0 => Effect::Kill,
            1 => Effect::Terminate,
            2 => fail("connection is shut down"),
            3 => fail("permission denied"),
            4 => Effect::Print(b"not what was asked for".to_vec()),
            5 => Effect::Print(Vec::new()),
            6 => Effect::Truncate,
            7 => Effect::InvalidUtf8,
            8 => {
                self.leadership_was_lost = true;
                Effect::LoseLeadership
            }
            9 => return Injection::new(Fault::RefuseCommit),
            _ if rng.bool() || relations.is_empty() => {
                return Injection::new(Fault::DuplicateChanged);
            }
            _ => {
                self.leadership_was_lost = true;
                Effect::LoseLeadership
            }
        };
        Injection::at_call(call, effect)
    }

    /// Ends the faults, sees to it that there is a distributor and that everybody is related, and
    /// lets everything run.
    fn heal(&mut self) -> Result<(), ChaosError> {
        self.deployment.world.clear_faults();
        let relations = self.deployment.world.model().relations.keys();
        for id in relations.copied().collect::<Vec<_>>() {
            self.deployment.world.model_mut().serve_again(id);
        }
        self.deployment.world.model_mut().quirks.goal_state_omits = None;
        self.deployment
            .world
            .set_config(DISTRIBUTOR, &[("log-level", "info")])
            .ok();
        if self
            .deployment
            .world
            .model()
            .units_of(DISTRIBUTOR)
            .is_empty()
        {
            drop(self.deployment.world.add_unit(DISTRIBUTOR));
        }
        for app in self.deployment.apps().to_vec() {
            if let Some(id) = self.deployment.relation(&app)
                && (self.plot.has_faults() || self.deployment.is_related(&app))
            {
                drop(self.deployment.world.resume_relation(id));
            } else {
                drop(self.deployment.relate(&app));
            }
        }
        for _ in 0..3 {
            for _ in 0..600 {
                if !self.step()? {
                    break;
                }
            }
            for unit in self.deployment.world.model().units_of(DISTRIBUTOR) {
                drop(self.deployment.world.fire_update_status(unit.as_str()));
                self.drain(&unit)?;
            }
        }
        Ok(())
    }

    /// Lets one distributor unit do all it has to do. A consumer that crashes at every try, as some
    /// do, would keep a model of random steps from coming to rest.
    fn drain(&mut self, unit: &UnitName) -> Result<(), Violation> {
        /// Far more than any unit has to do.
        const ENOUGH: usize = 500;

        for _ in 0..ENOUGH {
            match self.deployment.world.begin(unit) {
                Begun::Nothing => break,
                Begun::Internal => {}
                Begun::Open(open) => self.deployment.world.finish(*open),
            }
            self.history.steps += 1;
            self.check()?;
        }
        Ok(())
    }

    /// What must hold once nothing is due.
    fn judge(&mut self) -> Result<(), Violation> {
        let at_rest = |promise: String| Violation {
            promise,
            unit: DISTRIBUTOR.to_owned(),
            hook: "at rest".to_owned(),
        };
        let world = &mut self.deployment.world;
        for unit in world.model().units_of(DISTRIBUTOR) {
            let agent = world
                .agent(unit.as_str())
                .map_err(|error| at_rest(error.to_string()))?;
            if let Some(failed) = &agent.failed {
                return Err(at_rest(format!(
                    "{unit} is stuck in {}",
                    failed.hook.name()
                )));
            }
        }
        let Some(leader) = self.deployment.leader() else {
            return Ok(());
        };
        every_relation_shows_the_ledger(&self.deployment, &leader).map_err(at_rest)?;
        nothing_secret_was_said(&self.deployment, &self.promises).map_err(at_rest)?;
        self.full_reconciliation_is_silent(&leader)?;

        // Juju 4 announces no bag that flips back to what was delivered before, as that of a unit
        // whose relation was suspended does. Only a fresh look shows such a host.
        let world = &mut self.deployment.world;
        drop(world.restart_agent(leader.as_str()));
        drop(world.run_hook(leader.as_str(), config_changed()));
        every_host_is_named(&self.deployment, &leader).map_err(at_rest)?;
        if !self.plot.has_faults() {
            self.history.untold =
                no_cluster_splits(&self.deployment, &self.founders).map_err(at_rest)?;
        }
        Ok(())
    }

    fn full_reconciliation_is_silent(&mut self, leader: &UnitName) -> Result<(), Violation> {
        let world = &mut self.deployment.world;
        world.clear_history();
        let run = world.run_hook(leader.as_str(), config_changed());
        let committed = run.is_ok_and(|run| run.committed);
        let (plot, leadership_was_lost) = (self.plot, self.leadership_was_lost);
        let is_of_nobody = |change: &BagChange| {
            let hosts = &self.promises.ledger.hosts;
            let mut names = change
                .keys
                .keys()
                .map(|key| key.strip_prefix(wire::MIRROR_PREFIX));
            names.all(|name| name.is_some_and(|name| !hosts.contains_key(name)))
        };
        let is_excused = |changes: &[BagChange]| {
            // What goal-state says again of where applications are shows only in the ledger.
            (plot == Plot::GoalState && only_keys(changes, &["other-models"]))
                // A hook that lost leadership for a moment drops what it heard, and no later hook
                // says again that a unit is a member or communicator. With that, its turn ends.
                // Nor that there is a token for a host that has gone since.
                || (leadership_was_lost
                    && (only_notes_who_is_in(changes) || changes.iter().all(is_of_nobody)))
        };
        match world.commits().first() {
            Some(commit) if committed && !is_excused(&commit.changes) => Err(Violation {
                promise: format!(
                    "a full reconciliation still writes {:?}",
                    keys(&commit.changes)
                ),
                unit: leader.to_string(),
                hook: "config-changed".to_owned(),
            }),
            _ => Ok(()),
        }
    }
}

/// Whether nothing else changes than who is a member or communicator, and what comes of it: the turn
/// of a host ends, and the tokens of others are shown, as many as leave the queue.
fn only_notes_who_is_in(changes: &[BagChange]) -> bool {
    let of_unit = |change: &&BagChange| matches!(change.owner, BagOwner::Unit(_));
    let (shown, noted): (Vec<_>, Vec<_>) = changes.iter().partition(of_unit);
    let queue = noted.iter().filter_map(|change| change.keys.get("queue"));
    let names = |text: &Option<String>| -> BTreeSet<String> {
        let words = text.as_deref().unwrap_or_default().split(' ');
        words.map(str::to_owned).collect()
    };
    let let_in: BTreeSet<String> = queue
        .flat_map(|(before, after)| &names(before) - &names(after))
        .collect();
    let is_let_in = |key: &String| {
        key.strip_prefix(wire::MIRROR_PREFIX)
            .is_some_and(|name| let_in.contains(name))
    };
    let noted: Vec<BagChange> = noted.into_iter().cloned().collect();
    only_keys(&noted, &["communicators", "host-", "let-in", "queue"])
        && shown.iter().all(|change| change.keys.keys().all(is_let_in))
}

/// Whether only application bags change, in keys that begin so.
fn only_keys(changes: &[BagChange], beginnings: &[&str]) -> bool {
    let is_one = |key: &String| {
        beginnings
            .iter()
            .any(|beginning| key.starts_with(beginning))
    };
    changes
        .iter()
        .all(|change| matches!(change.owner, BagOwner::App(_)) && change.keys.keys().all(is_one))
}

/// The hook in which the leader looks at everything.
fn config_changed() -> Hook {
    Hook::Named("config-changed".into())
}

/// Keys by bag, without values.
fn keys(changes: &[BagChange]) -> Vec<String> {
    let keys = changes.iter().flat_map(|change| {
        change
            .keys
            .keys()
            .map(move |key| format!("{:?} {key}", change.owner))
    });
    keys.collect()
}

/// What was promised, with what has to be remembered for it.
#[derive(Default)]
struct Promises {
    /// The ledger after the last commit.
    ledger: Ledger,
    /// Every value that a consumer wrote and the ledger held.
    secrets: BTreeSet<String>,
    /// The settled `bootstrap-app` once a cluster exists.
    permitted: Option<String>,
    /// The ledger has shown that a cluster exists.
    knew_a_cluster: bool,
}

impl Promises {
    /// A token, once in the ledger, stays there with the same bytes, until its host is a member or
    /// has refused it. Only a ledger of a cluster that is gone is emptied. Returns the ledger before.
    fn value_stays(&mut self, ledger: Ledger) -> Result<Ledger, String> {
        let before = std::mem::replace(&mut self.ledger, ledger);
        let ledger = &self.ledger;
        let mut listed = before.relations.keys();
        let is_emptied =
            !before.relations.is_empty() && !listed.any(|id| ledger.relations.contains_key(id));
        for (name, value) in before.mirror.iter() {
            let Value::Text(token) = value else {
                continue;
            };
            let may_follow = match ledger.mirror.get(name) {
                Some(after) if after == value => true,
                Some(Value::Member) => before.has_member(name) || ledger.has_member(name),
                Some(Value::Text(_)) => ledger.is_spent(name, token),
                Some(Value::Placeholder) => before.has_member(name),
                _ => is_emptied,
            };
            if !may_follow && !is_emptied {
                return Err(format!("the value of {name:?} was changed or removed"));
            }
        }
        let knows = ledger_shows_cluster(ledger);
        self.knew_a_cluster |= knows;
        // The last host that was a sign of the cluster is gone, and another has its name.
        if !knows || is_emptied {
            self.permitted = None;
        }
        let texts = ledger.mirror.values().filter_map(Value::text);
        self.secrets.extend(texts.map(str::to_owned));
        Ok(before)
    }

    /// With the last sign of a cluster, the settled choice is gone.
    fn forget_permission_unless(&mut self, a_cluster_is_known: bool) {
        if !a_cluster_is_known {
            self.permitted = None;
        }
    }

    /// `bootstrap-app` never changes once a cluster exists.
    fn permission_stays(&mut self, change: &BagChange) -> Result<(), String> {
        if let Some((_, Some(app))) = change.keys.get(BOOTSTRAP_APP) {
            if self
                .permitted
                .as_ref()
                .is_some_and(|permitted| permitted != app)
            {
                return Err(format!(
                    "{BOOTSTRAP_APP} changed to {app} though a cluster exists"
                ));
            }
            self.permitted = Some(app.clone());
        }
        Ok(())
    }
}

/// Only what the wire and the ledger have is written, and where they have it.
fn only_known_keys(change: &BagChange, is_peer: bool) -> Result<(), String> {
    let is_known = |key: &str| match &change.owner {
        BagOwner::App(_) if is_peer => {
            // A unit with a number, and a host with a time: one of them suits every key that does
            // not need a claim beside it.
            key.starts_with(REFUSED_PREFIX)
                || ["x/0 1", "x 1"].into_iter().any(|value| {
                    let bag = BTreeMap::from([(key.to_owned(), value.to_owned())]);
                    !Ledger::from(bag).to_databag().is_empty()
                })
        }
        BagOwner::App(_) => show::is_ours_in_app_bag(key),
        BagOwner::Unit(_) => !is_peer && show::is_ours_in_unit_bag(key),
    };
    match change.keys.keys().find(|key| !is_known(key)) {
        Some(key) => Err(format!(
            "{key:?} was written to the bag of {:?}",
            change.owner
        )),
        None => Ok(()),
    }
}

/// What a leader's unit bag shows is a function of the ledger, wherever it has just written.
fn shows_the_ledger(
    deployment: &Deployment,
    unit: &UnitName,
    change: &BagChange,
) -> Result<(), String> {
    let ledger = deployment.ledger();
    let is_own_bag = matches!(&change.owner, BagOwner::Unit(owner) if owner == unit);
    let leads = ledger
        .leader
        .as_ref()
        .is_some_and(|leader| leader.unit.as_str() == unit.as_str());
    if !is_own_bag || !leads {
        return Ok(());
    }
    let id = core_id(change.relation);
    let mut bag = (*deployment.world.unit_bag(change.relation, unit.as_str())).clone();
    if !ledger.is_shown_in(id) {
        return Ok(());
    }
    bag.retain(|key, _| show::is_ours_in_unit_bag(key));
    let target = show::unit_bag(&ledger, id);
    let changes = wire::difference(&bag, &target, |_| true);
    match changes.is_empty() {
        true => Ok(()),
        false => Err(format!(
            "relation {} does not show the ledger in {:?}",
            change.relation,
            changes.keys().collect::<Vec<_>>()
        )),
    }
}

/// A placeholder stays as long as Juju lists, on the unit that decides, a living unit of its name
/// that it has heard of: by the ledger, or in a bag that it has read. Unless goal-state has just
/// listed another unit of that application and not this one, which is the sign of one that Juju
/// removed (spec, section 3.6).
fn no_known_unit_is_forgotten(
    deployment: &Deployment,
    unit: &UnitName,
    before: &Ledger,
    change: &BagChange,
) -> Result<(), String> {
    let model = deployment.world.model();
    let omissions = model.quirks.goal_state_omits.as_ref();
    let seems_gone = |unit: &UnitName| {
        omissions.is_some_and(|omissions| {
            let mut listed = omissions.listed.iter();
            !omissions.listed.contains(unit)
                && listed.any(|other| other.application() == unit.application())
        })
    };
    let Ok(agent) = deployment.world.agent(unit.as_str()) else {
        return Ok(());
    };
    let is_lost = |(before, after): &(Option<String>, Option<String>)| {
        before.as_deref() == Some(wire::PLACEHOLDER) && after.is_none()
    };
    let lost = change.keys.iter().filter(|(_, values)| is_lost(values));
    for name in lost.filter_map(|(key, _)| key.strip_prefix(wire::MIRROR_PREFIX)) {
        let claims = before.hosts.get(name);
        for relation in serving(deployment) {
            let Some(state) = agent.relations.get(&relation.id) else {
                continue;
            };
            let has_it = |unit: &&UnitName| {
                let side = relation.own_side(unit.application());
                let Some((side, member)) =
                    side.and_then(|side| Some((side, side.members.get(*unit)?)))
                else {
                    return false;
                };
                let announces = |bag: &Content| bag.get(HOSTNAME).is_some_and(|host| host == name);
                let shown = side.shown_unit(unit);
                let is_known = state.cache.get(*unit).is_some_and(announces)
                    || claims
                        .into_iter()
                        .flatten()
                        .any(|claim| claim.unit.as_str() == shown.as_str());
                is_known
                    && is_alive(deployment, unit)
                    && !seems_gone(unit)
                    && announces(&member.bag.content)
            };
            if let Some(unit) = state.members.keys().find(has_it) {
                return Err(format!(
                    "relation {}: the placeholder of {unit}, which is listed and alive, is lost",
                    relation.id
                ));
            }
        }
    }
    Ok(())
}

fn is_alive(deployment: &Deployment, unit: &UnitName) -> bool {
    let unit = deployment.world.model().units.get(unit);
    unit.is_some_and(|unit| unit.life == Life::Alive)
}

/// Whether a consumer of the first protocol cannot have heard that there is a cluster. It decides on
/// our application bag, which is live, and on its own view of our unit bags, which Juju renews with
/// their hooks alone: our bags may show a value by now, or no unit of ours has run a hook yet.
fn no_word_reaches(deployment: &Deployment, unit: &UnitName) -> bool {
    let id = deployment.relation(unit.application());
    let relation = id.and_then(|id| deployment.world.model().relation(id).ok());
    let Some((relation, side)) =
        relation.and_then(|relation| Some((relation, relation.own_side(DISTRIBUTOR)?)))
    else {
        return false;
    };
    let shows =
        |bag: &Content| wire::mirror_values(bag).any(|(_, value)| Value::from(value).is_real());
    let has_begun = |unit: &UnitName| {
        let agent = deployment.world.agent(unit.as_str()).ok();
        agent.is_some_and(|agent| agent.relations.get(&relation.id).is_some_and(|r| r.created))
    };
    deployment.release_of(unit) != Some(Release::Second)
        && (side
            .members
            .values()
            .any(|member| shows(&member.bag.content))
            || !side.members.keys().any(has_begun))
}

/// Clusters with a unit that is there to stay. One whose members are all gone or going is none.
fn clusters_to_stay(deployment: &Deployment) -> Result<Vec<Vec<String>>, DeploymentError> {
    let units = deployment.consumer_units().into_iter();
    let staying = units.filter(|unit| is_alive(deployment, unit));
    let hosts: BTreeSet<String> = staying
        .map(|unit| deployment.hostname(unit.as_str()))
        .collect();
    let mut clusters = deployment.clusters()?;
    clusters.retain(|members| members.iter().any(|member| hosts.contains(member)));
    Ok(clusters)
}

/// There is one cluster at most, but for those that nobody could prevent, which it counts.
fn no_cluster_splits(
    deployment: &Deployment,
    founders: &BTreeSet<String>,
) -> Result<usize, String> {
    let clusters = clusters_to_stay(deployment).map_err(|error| error.to_string())?;
    let is_untold = |members: &&Vec<String>| members.iter().any(|host| founders.contains(host));
    let untold = clusters.iter().filter(is_untold).count();
    match clusters.len() - untold {
        0 | 1 => Ok(clusters.len().saturating_sub(1)),
        several => Err(format!("{several} clusters: {clusters:?}")),
    }
}

fn core_id(id: RelationId) -> CoreId {
    CoreId(id.0.into())
}

/// A former leader goes down only after the new one has published, in the same relation.
fn goes_down_after_the_next(
    deployment: &Deployment,
    unit: &UnitName,
    change: &BagChange,
) -> Result<(), String> {
    let goes_down = change
        .keys
        .get(wire::MIRROR)
        .is_some_and(|(before, after)| {
            before.as_deref() == Some(wire::UP) && after.as_deref() == Some(wire::DOWN)
        });
    if !goes_down {
        return Ok(());
    }
    let ledger = deployment.ledger();
    let Some(next) = ledger
        .leader
        .as_ref()
        .filter(|next| next.unit.as_str() != unit.as_str())
    else {
        return Err("it goes down although no other unit leads".to_owned());
    };
    let bag = deployment
        .world
        .unit_bag(change.relation, next.unit.as_str());
    let is_current = ledger.is_shown_in(core_id(change.relation));
    let is_member = !bag.is_empty();
    match is_current && is_member && ledger.bootstrap_app.is_some() && !wire::is_up(&bag) {
        true => Err(format!("it goes down before {} is up", next.unit)),
        false => Ok(()),
    }
}

fn up_only_with_permission(relation: &Relation) -> Result<(), String> {
    let Some(side) = relation.own_side(DISTRIBUTOR) else {
        return Ok(());
    };
    let up = side
        .members
        .values()
        .any(|member| wire::is_up(&member.bag.content));
    if up && !side.app_bag.content.contains_key(BOOTSTRAP_APP) {
        return Err(format!(
            "relation {} is up without {BOOTSTRAP_APP}",
            relation.id
        ));
    }
    Ok(())
}

fn serving(deployment: &Deployment) -> impl Iterator<Item = &Relation> {
    let relations = deployment.world.model().relations.values();
    relations.filter(|relation| {
        !relation.suspended
            && !relation.is_peer()
            && relation.life == Life::Alive
            && relation
                .own_side(DISTRIBUTOR)
                .is_some_and(|side| side.endpoint == ENDPOINT && !side.over)
    })
}

/// Whether anything that this charm can read is a sign of a cluster.
fn a_cluster_is_known(deployment: &Deployment) -> bool {
    ledger_shows_cluster(&deployment.ledger())
}

/// At rest, the leader shows the ledger in every relation that Juju serves.
fn every_relation_shows_the_ledger(
    deployment: &Deployment,
    leader: &UnitName,
) -> Result<(), String> {
    let ledger = deployment.ledger();
    for relation in serving(deployment) {
        let id = core_id(relation.id);
        let mut bag = (*deployment.world.unit_bag(relation.id, leader.as_str())).clone();
        bag.retain(|key, _| show::is_ours_in_unit_bag(key));
        if bag != show::unit_bag(&ledger, id) {
            return Err(format!("relation {} does not show the ledger", relation.id));
        }
    }
    Ok(())
}

fn every_host_is_named(deployment: &Deployment, leader: &UnitName) -> Result<(), String> {
    let ledger = deployment.ledger();
    for relation in serving(deployment) {
        for (unit, member) in relation.counterparts(leader) {
            let hostname = member.bag.content.get(HOSTNAME);
            if let Some(hostname) = hostname.filter(|name| !ledger.mirror.contains_key(*name)) {
                return Err(format!(
                    "relation {}: {hostname} of {unit} has no key",
                    relation.id
                ));
            }
        }
    }
    Ok(())
}

/// No mirror value is in a log line or a status of the distributor.
fn nothing_secret_was_said(deployment: &Deployment, promises: &Promises) -> Result<(), String> {
    let model = deployment.world.model();
    let secrets = &promises.secrets;
    let lines = model
        .log
        .iter()
        .filter(|line| line.unit.application() == DISTRIBUTOR);
    let said = lines.map(|line| line.text.clone());
    let shown = deployment
        .world
        .status()
        .into_iter()
        .map(|status| status.message);
    for text in said.chain(shown) {
        if let Some(secret) = secrets.iter().find(|secret| text.contains(secret.as_str())) {
            return Err(format!("a value of {} characters was shown", secret.len()));
        }
    }
    Ok(())
}

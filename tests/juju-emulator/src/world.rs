//! The driver: a model, its agents and their machines, moved one operation at a time.
//!
//! [`World::begin`] starts an operation of one unit and runs the charm's code, which reads the
//! model as it is; [`World::finish`] applies what the operation left. Whoever keeps time may do
//! other things in between. [`World::step`] does both for a unit chosen at random, and everything
//! random comes from one seed.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use fastrand::Rng;
use serde_json::{Map, Value};

use crate::agent::{ActionRequest, Again, Agent, FailedHook, Hook, Operation, RelationEvent};
use crate::charm::{Charm, Code, InProcess};
use crate::context::{Context, Places};
use crate::executables;
use crate::faults::{Effect, Fault, Faults, Injection};
use crate::machines::Machines;
use crate::model::{Content, JujuGeneration, Model, ModelError, Refused};
use crate::names::{AppName, RelationId, UnitName};
use crate::process::{self, Ending, Finished, Served};
use crate::record::{ActionResult, Commit, Detail, HookRun, ToolCall, UnitStatus};
use crate::tools::{self, ToolAnswer, ToolOutput, ToolRequest};
use crate::wire;

mod live;

pub use live::{Launched, Progress, RunningHook, Step};

/// Why the driver cannot do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum WorldError {
    /// The model refuses.
    #[error(transparent)]
    Model(#[from] ModelError),
    /// A file of a machine could not be made.
    #[error("cannot prepare a machine")]
    Machine(#[from] std::io::Error),
    /// An executable that charms need could not be built.
    #[error(transparent)]
    Executable(#[from] crate::Failure),
    /// An action the charm does not have, or with parameters it does not take.
    #[error("{0}")]
    Action(String),
    /// The unit is in the middle of something.
    #[error("{0} is busy")]
    Busy(UnitName),
    /// The model does not come to rest.
    #[error("not settled after {steps} steps; hooks in error: {errors:?}")]
    Unsettled {
        /// How many were taken.
        steps: usize,
        /// Units in error and the hooks that failed.
        errors: Vec<(UnitName, String)>,
    },
}

/// The charm a unit has in place.
enum Installed {
    Process(Places),
    InProcess(Box<dyn InProcess>, Places),
}

impl Installed {
    fn places(&self) -> &Places {
        match self {
            Self::Process(places) | Self::InProcess(_, places) => places,
        }
    }
}

/// An operation that has begun: the charm's code has run, nothing of it is committed.
pub struct OpenHook {
    unit: UnitName,
    context: Context,
    finished: Finished,
    calls: Vec<ToolCall>,
    complaint: Option<String>,
    duration: Duration,
    started: Duration,
    /// What tools have answered, for a charm that pauses.
    answers: Vec<ToolOutput>,
    pause: Option<Duration>,
}

impl OpenHook {
    /// Whose it is.
    pub fn unit(&self) -> &UnitName {
        &self.unit
    }

    /// The hook's or action's name.
    pub fn name(&self) -> String {
        self.context.operation.name()
    }

    /// The tools it called.
    pub fn calls(&self) -> &[ToolCall] {
        &self.calls
    }

    /// How long it pauses, if it has not ended; then see it through with [`World::resume`].
    pub fn pause(&self) -> Option<Duration> {
        self.pause
    }
}

/// What [`World::begin`] did.
pub enum Begun {
    /// The unit has nothing to do.
    Nothing,
    /// The agent did something that takes no time and runs nothing of the charm.
    Internal,
    /// The charm has run; see it through with [`World::finish`].
    Open(Box<OpenHook>),
}

/// Called for each new machine with its unit and the folder on its `PATH` that is its own.
type MachineSetup = dyn Fn(&UnitName, &Path);

/// A model with agents that act.
pub struct World {
    model: Model,
    agents: BTreeMap<UnitName, Agent>,
    charms: BTreeMap<AppName, Charm>,
    installed: BTreeMap<UnitName, Installed>,
    machines: Option<Machines>,
    machine_setup: Option<Box<MachineSetup>>,
    seed: u64,
    rng: Rng,
    serial: u64,
    next_action: u32,
    /// How much time passes with each [`World::step`].
    step_takes: Duration,
    /// Units that may have something to do. Everybody else is known to have nothing.
    awake: BTreeSet<UnitName>,
    faults: Faults,
    detail: Detail,
    runs: Vec<HookRun>,
    commits: Vec<Commit>,
    action_results: BTreeMap<u32, ActionResult>,
    automatic_retry: bool,
    deadline: Duration,
    tool_cost: Duration,
    keep_log: bool,
}

impl World {
    /// An empty model. Everything that happens in it by chance follows from `seed`.
    pub fn new(generation: JujuGeneration, seed: u64) -> Self {
        Self {
            model: Model::new(generation),
            agents: BTreeMap::new(),
            charms: BTreeMap::new(),
            installed: BTreeMap::new(),
            machines: None,
            machine_setup: None,
            seed,
            rng: Rng::with_seed(seed),
            serial: 0,
            next_action: 1,
            step_takes: Duration::ZERO,
            awake: BTreeSet::new(),
            faults: Faults::default(),
            detail: Detail::Full,
            runs: Vec::new(),
            commits: Vec::new(),
            action_results: BTreeMap::new(),
            automatic_retry: true,
            // Long enough for a machine that has much else to do.
            deadline: Duration::from_secs(600),
            tool_cost: Duration::ZERO,
            keep_log: true,
        }
    }

    // What can be set about the world itself.

    /// How much is remembered of what happens.
    pub fn set_detail(&mut self, detail: Detail) {
        self.detail = detail;
        self.keep_log = detail == Detail::Full;
    }

    /// Whether failed hooks are tried again by themselves; otherwise only by [`World::resolved`].
    pub fn set_automatic_retry(&mut self, retry: bool) {
        self.automatic_retry = retry;
    }

    /// After how long a charm's process counts as stuck and is killed.
    pub fn set_deadline(&mut self, deadline: Duration) {
        self.deadline = deadline;
    }

    /// What each hook tool of a charm's process costs, on top, while no other tool can run.
    pub fn set_tool_cost(&mut self, cost: Duration) {
        self.tool_cost = cost;
    }

    /// What is done to each new machine of a charm that runs as processes: `setup` is given the
    /// unit and a folder that is on the charm's `PATH`.
    pub fn set_machine_setup(&mut self, setup: impl Fn(&UnitName, &Path) + 'static) {
        self.machine_setup = Some(Box::new(setup));
    }

    /// Makes something go wrong.
    pub fn inject(&mut self, injection: Injection) {
        self.faults.add(injection);
    }

    /// Forgets all faults that have not struck.
    pub fn clear_faults(&mut self) {
        self.faults.clear();
    }

    // What operators do.

    /// Deploys `charm` as `app` with so many units.
    pub fn deploy(
        &mut self,
        app: &str,
        charm: &Charm,
        units: usize,
        config: &[(&str, &str)],
    ) -> Result<Vec<UnitName>, WorldError> {
        self.model
            .deploy(app, Arc::clone(&charm.metadata), config)?;
        self.charms.insert(AppName::new(app), charm.clone());
        (0..units).map(|_| self.add_unit(app)).collect()
    }

    /// Adds a unit.
    pub fn add_unit(&mut self, app: &str) -> Result<UnitName, WorldError> {
        let unit = self.model.add_unit(app)?;
        self.start(unit)
    }

    /// Adds a unit of a subordinate application beside a principal unit, on its machine.
    pub fn add_subordinate(&mut self, app: &str, principal: &str) -> Result<UnitName, WorldError> {
        let unit = self.model.add_subordinate(app, principal)?;
        self.start(unit)
    }

    fn start(&mut self, unit: UnitName) -> Result<UnitName, WorldError> {
        let application = self.model.application(unit.application())?;
        let charm = Arc::clone(&application.charm);
        let agent = Agent::new(unit.clone(), application.revision, charm);
        self.agents.insert(unit.clone(), agent);
        self.install(&unit)?;
        Ok(unit)
    }

    fn install(&mut self, unit: &UnitName) -> Result<(), WorldError> {
        let charm = self
            .charms
            .get(unit.application())
            .ok_or_else(|| ModelError::NoApplication(unit.application().to_owned()))?;
        let installed = match &charm.code {
            Code::InProcess(factory) => Installed::InProcess(factory(unit), Places::usual(unit)),
            Code::Directory(directory) => {
                let machines = match &mut self.machines {
                    Some(machines) => machines,
                    none => none.insert(Machines::new(&executables::jujuc()?)?),
                };
                let known = self.installed.contains_key(unit);
                let machine = self.model.unit(unit.as_str())?.1.machine;
                let places = machines.install(unit, machine, directory)?;
                if let (false, Some(setup)) = (known, &self.machine_setup) {
                    setup(unit, &places.machine_bin);
                }
                Installed::Process(places)
            }
        };
        self.installed.insert(unit.clone(), installed);
        Ok(())
    }

    /// Removes a unit gracefully: its agent runs its last hooks.
    pub fn remove_unit(&mut self, unit: &str) -> Result<(), WorldError> {
        Ok(self.model.remove_unit(unit)?)
    }

    /// A unit's machine is gone, as after `remove-machine --force`: no hook of it runs any more.
    pub fn lose_unit(&mut self, unit: &str) -> Result<(), WorldError> {
        self.model.drop_unit(unit)?;
        self.forget_lost_units();
        Ok(())
    }

    /// The model of an application that consumes offers of this one is destroyed with `--force`.
    pub fn destroy_model_of(&mut self, app: &str) -> Result<(), WorldError> {
        self.model.destroy_model_of(app)?;
        self.charms.remove(app);
        self.forget_lost_units();
        Ok(())
    }

    /// With a machine go its agents.
    fn forget_lost_units(&mut self) {
        let units = &self.model.units;
        self.agents.retain(|unit, _| units.contains_key(unit));
        self.installed.retain(|unit, _| units.contains_key(unit));
    }

    /// Removes an application, its relations and its units gracefully.
    pub fn remove_application(&mut self, app: &str) -> Result<(), WorldError> {
        Ok(self.model.remove_application(app)?)
    }

    /// Relates two endpoints, each `app:endpoint`.
    pub fn integrate(&mut self, one: &str, other: &str) -> Result<RelationId, WorldError> {
        Ok(self.model.integrate(one, other)?)
    }

    /// Relates two endpoints as if `consumer` were in another model: the application of `offer`
    /// knows it only as `remote-<32 hex digits>`, and that name is returned too.
    pub fn integrate_across_models(
        &mut self,
        offer: &str,
        consumer: &str,
    ) -> Result<(RelationId, String), WorldError> {
        let remote = self.remote_name();
        let id = self
            .model
            .integrate_across_models(offer, consumer, &remote, None)?;
        Ok((id, remote))
    }

    /// The same, where the consuming model gave the offer a name of its own: `juju consume OFFER
    /// NAME`.
    pub fn integrate_consumed_as(
        &mut self,
        offer: &str,
        consumer: &str,
        name: &str,
    ) -> Result<(RelationId, String), WorldError> {
        let remote = self.remote_name();
        let id = self
            .model
            .integrate_across_models(offer, consumer, &remote, Some(name))?;
        Ok((id, remote))
    }

    /// Juju 4 makes a new one for every relation.
    fn remote_name(&mut self) -> String {
        format!("remote-{:032x}", self.rng.u128(..))
    }

    /// Removes a relation gracefully.
    pub fn remove_relation(&mut self, id: RelationId) -> Result<(), WorldError> {
        Ok(self.model.remove_relation(id)?)
    }

    /// Suspends a relation.
    pub fn suspend_relation(&mut self, id: RelationId) -> Result<(), WorldError> {
        Ok(self.model.set_suspended(id, true)?)
    }

    /// Resumes a suspended relation.
    pub fn resume_relation(&mut self, id: RelationId) -> Result<(), WorldError> {
        Ok(self.model.set_suspended(id, false)?)
    }

    /// Sets options.
    pub fn set_config(&mut self, app: &str, values: &[(&str, &str)]) -> Result<(), WorldError> {
        Ok(self.model.set_config(app, values)?)
    }

    /// Gives options their defaults again.
    pub fn reset_config(&mut self, app: &str, keys: &[&str]) -> Result<(), WorldError> {
        Ok(self.model.reset_config(app, keys)?)
    }

    /// Refreshes an application to another charm.
    pub fn refresh(&mut self, app: &str, charm: &Charm) -> Result<(), WorldError> {
        self.model.refresh(app, Arc::clone(&charm.metadata))?;
        self.charms.insert(AppName::new(app), charm.clone());
        Ok(())
    }

    /// Gives a unit the lease of its application.
    pub fn set_leader(&mut self, unit: &str) -> Result<(), WorldError> {
        Ok(self.model.set_leader(unit)?)
    }

    /// Takes the lease from its holder; some other unit claims it.
    pub fn lose_leadership(&mut self, app: &str) -> Result<(), WorldError> {
        Ok(self.model.vacate_leadership(app)?)
    }

    /// Stops and starts a unit's agent: what it only had in memory is gone. A hook that is open
    /// counts as failed.
    pub fn restart_agent(&mut self, unit: &str) -> Result<(), WorldError> {
        let agent = self.agents.get_mut(unit);
        let agent = agent.ok_or_else(|| ModelError::NoUnit(unit.to_owned()))?;
        agent.restart(&self.model);
        self.wake(unit);
        Ok(())
    }

    /// The update-status timer of a unit fires.
    pub fn fire_update_status(&mut self, unit: &str) -> Result<(), WorldError> {
        self.agent_mut(unit)?.update_status_due = true;
        self.wake(unit);
        Ok(())
    }

    /// `juju resolved`: a failed hook is run again, or, without `retry`, called done.
    pub fn resolved(&mut self, unit: &str, retry: bool) -> Result<(), WorldError> {
        let (unit, _) = self.model.unit(unit)?;
        let agent = self.agent_mut(unit.as_str())?;
        if let Some(failed) = agent.failed.take() {
            if retry {
                agent.queued = Some(failed.hook);
            } else {
                let mut agent = agent.clone();
                agent.completed(&failed.hook, &mut self.model);
                self.agents.insert(unit.clone(), agent);
            }
            self.set_error(&unit, None);
        }
        self.wake(unit.as_str());
        Ok(())
    }

    /// Runs a hook of a unit now, whatever else is due.
    pub fn run_hook(&mut self, unit: &str, hook: Hook) -> Result<HookRun, WorldError> {
        self.run_now(unit, Operation::Run(hook))
    }

    /// Runs relation-changed of a unit now, as if the remote unit (or without one, the remote
    /// application) had news.
    pub fn run_changed(
        &mut self,
        unit: &str,
        id: RelationId,
        remote: Option<&str>,
    ) -> Result<HookRun, WorldError> {
        let (name, _) = self.model.unit(unit)?;
        let relation = self.model.relation(id)?;
        let (Some(own), Some(side)) = (
            relation.own_side(name.application()),
            relation.remote_side(name.application()),
        ) else {
            return Err(ModelError::NoRelation(id).into());
        };
        let event = match remote {
            Some(remote) => {
                let bag = side.unit_bag(remote);
                let (remote, version) = UnitName::parse(remote)
                    .zip(bag.map(|bag| bag.version))
                    .ok_or_else(|| ModelError::NoUnit(remote.to_owned()))?;
                RelationEvent::UnitChanged {
                    unit: remote,
                    version,
                }
            }
            None => RelationEvent::AppChanged {
                app: side.app.clone(),
                version: side.app_bag.version,
            },
        };
        let endpoint = own.endpoint.clone();
        self.run_hook(
            unit,
            Hook::Relation {
                id,
                endpoint,
                event,
            },
        )
    }

    /// Runs an action of a unit now.
    pub fn run_action(
        &mut self,
        unit: &str,
        action: &str,
        parameters: Map<String, Value>,
    ) -> Result<ActionResult, WorldError> {
        let (name, _) = self.model.unit(unit)?;
        let charm = &self.agent(unit)?.charm;
        let spec = charm.actions.get(action).ok_or_else(|| {
            WorldError::Action(format!(
                "action {action:?} not defined on unit {:?}",
                name.as_str()
            ))
        })?;
        let parameters = match (spec.accept(parameters), self.model.generation) {
            (Ok(parameters), _) => parameters,
            (Err(refusal), JujuGeneration::Three) => return Err(WorldError::Action(refusal)),
            (Err(refusal), JujuGeneration::Four) => return Ok(ActionResult::refused(refusal)),
        };
        let id = self.next_action;
        self.next_action += 1;
        let request = ActionRequest {
            id,
            name: action.to_owned(),
            parameters,
        };
        self.run_now(unit, Operation::Act(request))?;
        self.action_results
            .remove(&id)
            .ok_or_else(|| WorldError::Action(format!("action {id} was aborted")))
    }

    fn run_now(&mut self, unit: &str, operation: Operation) -> Result<HookRun, WorldError> {
        let (unit, _) = self.model.unit(unit)?;
        if self.agent(unit.as_str())?.busy {
            return Err(WorldError::Busy(unit));
        }
        let open = self.open(&unit, operation);
        let run = self.close(open);
        Ok(run)
    }

    // How time passes.

    /// Lets a second pass with each step, so that what comes later has a later time.
    pub fn let_steps_take_time(&mut self) {
        self.step_takes = Duration::from_secs(1);
    }

    /// The same, and the model's time is that of this machine from now on, for a charm that is an
    /// executable and asks the machine for the time.
    pub fn follow_the_machines_clock(&mut self) {
        self.let_steps_take_time();
        let since = SystemTime::now().duration_since(UNIX_EPOCH);
        let since = since.unwrap_or_default().as_secs();
        self.model.epoch = since.saturating_sub(self.model.now.as_secs());
    }

    /// Lets one unit, chosen at random among those that can, do one thing. `false` if nothing is
    /// due anywhere.
    pub fn step(&mut self) -> bool {
        self.model.now += self.step_takes;
        loop {
            self.gather_woken();
            if self.awake.is_empty() {
                return false;
            }
            let chosen = self.rng.usize(..self.awake.len());
            let Some(unit) = self.awake.iter().nth(chosen).cloned() else {
                return false;
            };
            match self.begin(&unit) {
                Begun::Nothing => {}
                Begun::Internal => return true,
                Begun::Open(open) => {
                    self.finish(*open);
                    return true;
                }
            }
        }
    }

    /// Steps until nothing is due, and says how many steps it took.
    pub fn settle(&mut self, limit: usize) -> Result<usize, WorldError> {
        for steps in 0..limit {
            if !self.step() {
                return Ok(steps);
            }
        }
        let errors = self
            .agents
            .iter()
            .filter_map(|(unit, agent)| Some((unit.clone(), agent.failed.as_ref()?.hook.name())))
            .collect();
        Err(WorldError::Unsettled {
            steps: limit,
            errors,
        })
    }

    /// Units that may have something to do, after whatever happened so far.
    pub fn awake(&mut self) -> &BTreeSet<UnitName> {
        self.gather_woken();
        &self.awake
    }

    /// Takes the units that may have something to do; the caller sees to each of them.
    pub fn take_awake(&mut self) -> BTreeSet<UnitName> {
        self.gather_woken();
        std::mem::take(&mut self.awake)
    }

    fn gather_woken(&mut self) {
        let woken = self.model.take_woken();
        self.awake.extend(woken);
    }

    fn wake(&mut self, unit: &str) {
        if let Some((unit, _)) = self.agents.get_key_value(unit) {
            self.awake.insert(unit.clone());
        }
    }

    /// Begins the next operation of `unit`, if anything is due.
    pub fn begin(&mut self, unit: &UnitName) -> Begun {
        let again = Again {
            failed: self.automatic_retry,
            killed: true,
        };
        self.begin_again(unit, again)
    }

    /// Like [`World::begin`], but the caller says whether a hook that failed or was killed may run
    /// again now.
    pub fn begin_with(&mut self, unit: &UnitName, retry: bool) -> Begun {
        let again = Again {
            failed: retry,
            killed: retry,
        };
        self.begin_again(unit, again)
    }

    fn begin_again(&mut self, unit: &UnitName, again: Again) -> Begun {
        match self.next(unit, again) {
            Ok(operation) => Begun::Open(Box::new(self.open(unit, operation))),
            Err(begun) => begun,
        }
    }

    /// The next operation of `unit` that runs something of the charm. What runs nothing is done.
    fn next(&mut self, unit: &UnitName, again: Again) -> Result<Operation, Begun> {
        let operation = self
            .agents
            .get(unit)
            .and_then(|agent| agent.next_operation(&self.model, &mut self.rng, again));
        let Some(operation) = operation else {
            self.awake.remove(unit);
            return Err(Begun::Nothing);
        };
        self.awake.insert(unit.clone());
        match operation {
            Operation::Run(_) | Operation::Act(_) => Ok(operation),
            internal => {
                self.do_internally(unit, internal);
                Err(Begun::Internal)
            }
        }
    }

    fn do_internally(&mut self, unit: &UnitName, operation: Operation) {
        let Some(agent) = self.agents.get_mut(unit) else {
            return;
        };
        match operation {
            Operation::StartMachine => {
                agent.on_machine = true;
                if self.model.units.get(unit).is_some_and(|u| !u.workload_set) {
                    let message = "agent initialising";
                    self.model.set_workload(unit, "waiting", message, false);
                }
            }
            Operation::ClaimLeadership => self.model.claim_leadership(unit),
            Operation::Resign => {
                agent.leader = false;
                // A leader-elected that has become pointless is not run again.
                if agent
                    .failed
                    .as_ref()
                    .is_some_and(|f| f.hook == Hook::LeaderElected)
                {
                    agent.failed = None;
                    self.set_error(unit, None);
                } else if agent.queued == Some(Hook::LeaderElected) {
                    agent.queued = None;
                }
            }
            Operation::EnterScopes(relations) => {
                agent.entered(&relations);
                for (id, ..) in relations {
                    self.model.enter_scope(id, unit);
                }
            }
            Operation::ForgetRelations(relations) => {
                for id in relations {
                    agent.forget(id);
                }
            }
            Operation::Upgrade => self.upgrade(unit),
            Operation::Vanish => {
                // Cannot fail: an agent that acts has a unit.
                let _ = self.lose_unit(unit.as_str());
            }
            Operation::Run(_) | Operation::Act(_) => {}
        }
    }

    fn upgrade(&mut self, unit: &UnitName) {
        let Ok(application) = self.model.application(unit.application()) else {
            return;
        };
        let (revision, charm) = (application.revision, Arc::clone(&application.charm));
        if let Some(agent) = self.agents.get_mut(unit) {
            agent.revision = revision;
            agent.charm = charm;
            agent.upgrading = true;
            agent.queued = Some(Hook::UpgradeCharm);
        }
        if let Err(error) = self.install(unit) {
            self.model
                .log(unit, "ERROR", format!("cannot upgrade the charm: {error}"));
        }
    }

    /// The agent begins an operation: from now on it is busy.
    fn prepare(&mut self, unit: &UnitName, operation: Operation) -> (Agent, Context) {
        self.serial += 1;
        self.before(unit, &operation);
        let places = self.places_of(unit);
        let mut agent = match self.agents.remove(unit) {
            Some(agent) => agent,
            None => unreachable!("only units with an agent open a context"),
        };
        if let Operation::Run(hook) = &operation {
            agent.starting(hook);
        }
        agent.busy = true;
        // A retried request is still at the front of the queue.
        if agent.requests.front() == Some(&operation) {
            agent.requests.pop_front();
        }
        let mut context = Context::open(operation, &agent, &self.model, &places, self.serial);
        let name = context.operation.name();
        if !self.faults.is_empty() {
            let no_path = |fault: &Fault| (*fault == Fault::NoPath).then_some(());
            if !self.faults.take(unit, &name, no_path).is_empty() {
                context.environment.remove("PATH");
            }
        }
        (agent, context)
    }

    fn places_of(&self, unit: &UnitName) -> Places {
        let installed = self.installed.get(unit);
        installed.map_or_else(
            || Places::usual(unit),
            |installed| installed.places().clone(),
        )
    }

    fn open(&mut self, unit: &UnitName, operation: Operation) -> OpenHook {
        let (mut agent, mut context) = self.prepare(unit, operation);
        let name = context.operation.name();
        let started = Instant::now();
        let mut session = Session {
            model: &mut self.model,
            agent: &mut agent,
            context: &mut context,
            faults: &mut self.faults,
            name: &name,
            detail: self.detail,
            calls: Vec::new(),
            killed: None,
            is_process: false,
            held: None,
            resumed: false,
            answers: Vec::new(),
            pause: None,
        };
        let finished = match self.installed.get_mut(unit) {
            Some(Installed::InProcess(charm, _)) => session.run_in_process(charm.as_mut()),
            Some(Installed::Process(places)) => {
                session.run_process(places, self.tool_cost, self.deadline)
            }
            None => Finished::without_output(Ending::Failed("charm missing from disk".to_owned())),
        };
        let (calls, answers, pause) = (session.calls, session.answers, session.pause);
        self.agents.insert(unit.clone(), agent);
        OpenHook {
            unit: unit.clone(),
            context,
            finished,
            calls,
            complaint: self.complaint_of(unit),
            duration: started.elapsed(),
            started: self.model.now,
            answers,
            pause,
        }
    }

    /// The last error that a unit has just logged.
    fn complaint_of(&self, unit: &UnitName) -> Option<String> {
        let lines = self.model.log.iter().rev();
        let mut own = lines.take_while(|line| line.unit == *unit);
        let error = own.find(|line| line.level == "ERROR")?;
        Some(error.text.clone())
    }

    /// Goes on with a hook that has paused, in the model as it is now. A hook whose unit is gone or
    /// whose agent has died meanwhile ends.
    pub fn resume(&mut self, mut open: OpenHook) -> OpenHook {
        open.pause = None;
        let lives = |agent: &Agent| !agent.died;
        let charm = self.installed.get_mut(&open.unit);
        let (Some(Installed::InProcess(charm, _)), true) =
            (charm, self.agents.get(&open.unit).is_some_and(lives))
        else {
            return open;
        };
        let Some(agent) = self.agents.get_mut(&open.unit) else {
            return open;
        };
        let started = Instant::now();
        let name = open.context.operation.name();
        let mut session = Session {
            model: &mut self.model,
            agent,
            context: &mut open.context,
            faults: &mut self.faults,
            name: &name,
            detail: self.detail,
            calls: open.calls,
            killed: None,
            is_process: false,
            held: None,
            resumed: true,
            answers: open.answers,
            pause: None,
        };
        open.finished = session.run_in_process(charm.as_mut());
        (open.calls, open.answers, open.pause) = (session.calls, session.answers, session.pause);
        open.complaint = self.complaint_of(&open.unit).or(open.complaint);
        open.duration += started.elapsed();
        open
    }

    fn before(&mut self, unit: &UnitName, operation: &Operation) {
        match operation {
            Operation::Run(Hook::Install) => {
                let unset = self.model.units.get(unit).is_some_and(|u| !u.workload_set);
                if unset {
                    let message = "installing charm software";
                    self.model.set_workload(unit, "maintenance", message, false);
                }
            }
            Operation::Run(Hook::Stop) => {
                let message = "stopping charm software";
                self.model.set_workload(unit, "maintenance", message, false);
            }
            _ => {}
        }
    }

    /// Ends an operation: commits or drops what it left, and records it.
    pub fn finish(&mut self, open: OpenHook) {
        self.close(open);
    }

    fn close(&mut self, open: OpenHook) -> HookRun {
        let OpenHook {
            unit,
            mut context,
            finished,
            calls,
            complaint,
            duration,
            started,
            ..
        } = open;
        let Finished {
            ending,
            stdout,
            stderr,
        } = finished;
        let operation = std::mem::replace(&mut context.operation, Operation::Resign);
        let name = operation.name();
        let relation = context.relation.take();
        let action = context.action.take();
        let mut run = HookRun {
            unit: unit.clone(),
            hook: name.clone(),
            relation: relation.as_ref().map(|relation| relation.id),
            remote_unit: relation.and_then(|relation| relation.remote_unit),
            ending,
            committed: false,
            wrote: false,
            failure: None,
            tool_calls: calls,
            duration,
            started,
            stdout,
            complaint: None,
            stderr,
        };
        self.log_output(&run);
        // A unit that was lost meanwhile takes its hook with it.
        let died = match self.agents.get_mut(&unit) {
            Some(agent) => {
                agent.busy = false;
                std::mem::take(&mut agent.died)
            }
            None => true,
        };
        if run.ending.is_success() && !died {
            match self.commit(&unit, &name, context) {
                Ok(wrote) => (run.committed, run.wrote) = (true, wrote),
                Err(refused) => run.failure = Some(refused.to_string()),
            }
        } else {
            run.failure = Some(failure_text(&run.ending, died));
            run.complaint = complaint;
        }
        match operation {
            Operation::Run(hook) => self.hook_ended(&unit, hook, &mut run),
            Operation::Act(_) => {
                if let Some(action) = action {
                    let result = action_result(action, &run);
                    self.action_results.insert(result.0, result.1);
                }
            }
            _ => {}
        }
        if !self.keep_log {
            self.model.log.clear();
        }
        self.wake(unit.as_str());
        let mut recorded = run.clone();
        if self.detail == Detail::Counts {
            recorded.stdout = Vec::new();
            recorded.stderr = Vec::new();
        }
        self.runs.push(recorded);
        run
    }

    fn log_output(&mut self, run: &HookRun) {
        for (level, output) in [("DEBUG", &run.stdout), ("WARNING", &run.stderr)] {
            for line in String::from_utf8_lossy(output).lines() {
                self.model.log(&run.unit, level, line);
            }
        }
    }

    /// Says whether it changed anything.
    fn commit(&mut self, unit: &UnitName, name: &str, context: Context) -> Result<bool, Refused> {
        let refuse = |fault: &Fault| (*fault == Fault::RefuseCommit).then_some(());
        if !self.faults.is_empty() && !self.faults.take(unit, name, refuse).is_empty() {
            return Err(Refused::Injected);
        }
        let changes = self.model.commit(unit, context.into_flush())?;
        let wrote = !changes.is_empty();
        if wrote && self.detail == Detail::Full {
            self.commits.push(Commit {
                unit: unit.clone(),
                hook: name.to_owned(),
                at: self.model.now,
                changes,
            });
        }
        Ok(wrote)
    }

    fn hook_ended(&mut self, unit: &UnitName, hook: Hook, run: &mut HookRun) {
        let Some(mut agent) = self.agents.remove(unit) else {
            return;
        };
        if run.committed {
            agent.completed(&hook, &mut self.model);
            self.set_error(unit, None);
            let twice = |fault: &Fault| (*fault == Fault::DuplicateChanged).then_some(());
            let changed = matches!(
                hook.relation(),
                Some((
                    _,
                    RelationEvent::UnitChanged { .. } | RelationEvent::AppChanged { .. }
                ))
            );
            if changed && !self.faults.take(unit, &run.hook, twice).is_empty() {
                agent.queued = Some(hook);
            }
        } else if run.ending.is_rerun() {
            run.failure = None;
            agent.failed = None;
            agent.killed = true;
            agent.queued = Some(hook);
            self.set_error(unit, None);
        } else {
            let attempts = agent.failed.as_ref().map_or(0, |failed| failed.attempts);
            let reason = run.failure.clone().unwrap_or_default();
            self.model.log(
                unit,
                "ERROR",
                format!("hook {:?} failed: {reason}", run.hook),
            );
            self.set_error(unit, Some(format!("hook failed: {:?}", run.hook)));
            agent.failed = Some(FailedHook {
                hook,
                attempts: attempts + 1,
            });
        }
        // After its last hook the unit is gone from the model, and its agent with it.
        if self.model.units.contains_key(unit) {
            self.agents.insert(unit.clone(), agent);
        } else {
            self.installed.remove(unit);
            self.awake.remove(unit);
        }
    }

    fn set_error(&mut self, unit: &UnitName, error: Option<String>) {
        if let Some(unit) = self.model.units.get_mut(unit) {
            unit.error = error;
        }
    }

    // What can be seen.

    /// The seed everything random follows from.
    pub fn seed(&self) -> u64 {
        self.seed
    }

    /// The controller's truth.
    pub fn model(&self) -> &Model {
        &self.model
    }

    /// The controller's truth, to be changed behind everybody's back.
    pub fn model_mut(&mut self) -> &mut Model {
        &mut self.model
    }

    /// The agent of a unit.
    pub fn agent(&self, unit: &str) -> Result<&Agent, WorldError> {
        let agent = self.agents.get(unit);
        Ok(agent.ok_or_else(|| ModelError::NoUnit(unit.to_owned()))?)
    }

    fn agent_mut(&mut self, unit: &str) -> Result<&mut Agent, WorldError> {
        let agent = self.agents.get_mut(unit);
        Ok(agent.ok_or_else(|| ModelError::NoUnit(unit.to_owned()))?)
    }

    /// Where a unit's files are; for an in-process charm, where they would be.
    pub fn places(&self, unit: &str) -> Option<&Places> {
        self.installed.get(unit).map(Installed::places)
    }

    /// The folder on a unit's `PATH` that belongs to its machine.
    pub fn machine_bin(&self, unit: &str) -> Option<PathBuf> {
        self.places(unit).map(|places| places.machine_bin.clone())
    }

    /// A unit's databag; empty if it never was in the relation.
    pub fn unit_bag(&self, id: RelationId, unit: &str) -> Content {
        let bag = self.model.relations.get(&id).and_then(|relation| {
            let app = UnitName::parse(unit)?;
            relation.own_side(app.application())?.unit_bag(unit)
        });
        bag.map(|bag| Arc::clone(&bag.content)).unwrap_or_default()
    }

    /// An application's databag; empty if it is not in the relation.
    pub fn app_bag(&self, id: RelationId, app: &str) -> Content {
        let side = self.model.relations.get(&id).and_then(|r| r.own_side(app));
        side.map(|side| Arc::clone(&side.app_bag.content))
            .unwrap_or_default()
    }

    /// Every hook that was run, in order.
    pub fn runs(&self) -> &[HookRun] {
        &self.runs
    }

    /// Every commit that changed something, in order.
    pub fn commits(&self) -> &[Commit] {
        &self.commits
    }

    /// Forgets past hooks and commits, so that a test can look at what comes.
    pub fn clear_history(&mut self) {
        self.runs.clear();
        self.commits.clear();
        self.model.log.clear();
    }

    /// The full names of the hooks a unit has run, in order.
    pub fn hooks_of(&self, unit: &str) -> Vec<&str> {
        self.runs
            .iter()
            .filter(|run| run.unit.as_str() == unit)
            .map(|run| run.hook.as_str())
            .collect()
    }

    /// The status of every unit.
    pub fn status(&self) -> Vec<UnitStatus> {
        let mut units: Vec<UnitStatus> = self
            .model
            .units
            .iter()
            .map(|(name, unit)| {
                let busy = self.agents.get(name).is_some_and(|agent| agent.busy);
                let (workload, agent, message) = match &unit.error {
                    Some(error) => ("error", "error", error),
                    None if busy => (
                        unit.workload.status.as_str(),
                        "executing",
                        &unit.workload.message,
                    ),
                    None => (
                        unit.workload.status.as_str(),
                        "idle",
                        &unit.workload.message,
                    ),
                };
                UnitStatus {
                    unit: name.clone(),
                    leader: self.model.is_leader(name),
                    workload: workload.to_owned(),
                    agent: agent.to_owned(),
                    machine: unit.machine,
                    message: message.clone(),
                }
            })
            .collect();
        units.sort_by(|a, b| {
            let key = |s: &UnitStatus| (s.unit.application().to_owned(), s.unit.number());
            key(a).cmp(&key(b))
        });
        units
    }
}

fn failure_text(ending: &Ending, died: bool) -> String {
    match ending {
        _ if died => "agent died".to_owned(),
        Ending::Exited(code) => format!("exit status {code}"),
        Ending::Signalled(signal) => format!("signal {signal}"),
        Ending::Missing => "missing".to_owned(),
        Ending::Failed(reason) => reason.clone(),
    }
}

fn action_result(action: crate::context::ActionRun, run: &HookRun) -> (u32, ActionResult) {
    let mut results = action.results;
    let code = match run.ending {
        Ending::Exited(code) => code,
        _ => -1,
    };
    results.insert("return-code".to_owned(), code.into());
    let mut stderr = run.stderr.clone();
    let flush_failed = run.ending.is_success() && !run.committed;
    if let (true, Some(failure)) = (flush_failed, &run.failure) {
        stderr.extend_from_slice(failure.as_bytes());
    }
    for (name, output) in [("stdout", &run.stdout), ("stderr", &stderr)] {
        if output.is_empty() {
            continue;
        }
        match std::str::from_utf8(output) {
            Ok(text) => results.insert(name.to_owned(), text.into()),
            Err(_) => {
                results.insert(format!("{name}-encoding"), "base64".into());
                results.insert(name.to_owned(), STANDARD.encode(output).into())
            }
        };
    }
    let failure = match (&run.ending, action.failure) {
        (Ending::Missing, _) => Some(format!(
            "action not implemented on unit {:?}",
            run.unit.as_str()
        )),
        (Ending::Exited(0), failure) if run.committed => failure,
        (Ending::Exited(0), _) => run.failure.clone(),
        _ => run.failure.clone(),
    };
    let result = ActionResult {
        failure,
        results,
        log: action.log,
    };
    (action.id, result)
}

/// A charm that is running, and everything its tools may touch.
struct Session<'a> {
    model: &'a mut Model,
    agent: &'a mut Agent,
    context: &'a mut Context,
    faults: &'a mut Faults,
    name: &'a str,
    detail: Detail,
    calls: Vec<ToolCall>,
    /// Set once a fault has killed the charm: from then on nothing it says counts.
    killed: Option<Ending>,
    /// The charm is a process: signals really reach it, and how it ends is its own affair.
    is_process: bool,
    /// What will strike once a tool has its standard input.
    held: Option<(String, Vec<Effect>)>,
    /// The charm has paused and goes on.
    resumed: bool,
    /// What its tools have answered, if it may pause.
    answers: Vec<ToolOutput>,
    /// How long it pauses now.
    pause: Option<Duration>,
}

enum Reply {
    Output(ToolOutput),
    WantsStdin,
    Kill(Ending),
}

impl Session<'_> {
    fn run_in_process(&mut self, charm: &mut dyn InProcess) -> Finished {
        let environment = std::mem::take(&mut self.context.environment);
        let places = PathBuf::from(
            environment
                .get("JUJU_CHARM_DIR")
                .cloned()
                .unwrap_or_default(),
        );
        let (may_pause, resumed) = (charm.may_pause(), self.resumed);
        let mut given = std::mem::take(&mut self.answers).into_iter();
        let mut answers = Vec::new();
        let mut call = |tool: &str, arguments: &[String], stdin: Option<&[u8]>| {
            let output = given.next().unwrap_or_else(|| {
                let request = ToolRequest {
                    tool,
                    arguments,
                    stdin: Some(stdin.unwrap_or_default()),
                    directory: &places,
                };
                match self.answer(request) {
                    Reply::Output(output) => output,
                    // Standard input was given, so it is not asked for.
                    Reply::WantsStdin => ToolOutput::default(),
                    // The caller is dead by now; what it gets must not look like an answer.
                    Reply::Kill(_) => ToolOutput::error(1, "connection is shut down"),
                }
            });
            if may_pause {
                answers.push(output.clone());
            }
            output
        };
        let code = match resumed {
            true => charm.resume(&environment, &mut call),
            false => charm.dispatch(&environment, &mut call),
        };
        self.answers = answers;
        // A charm that a fault has killed does not go on.
        self.pause = charm.take_pause().filter(|_| self.killed.is_none());
        self.context.environment = environment;
        Finished {
            ending: self.killed.take().unwrap_or(Ending::Exited(code)),
            stdout: Vec::new(),
            stderr: Vec::new(),
        }
    }

    fn run_process(&mut self, places: &Places, cost: Duration, deadline: Duration) -> Finished {
        let command = match self.command(places) {
            Ok(command) => command,
            Err(ending) => return Finished::without_output(ending),
        };
        let missing = self
            .faults
            .take(&self.agent.unit, self.name, |fault| match fault {
                Fault::MissingTool(tool) => Some(tool.clone()),
                _ => None,
            });
        let hidden = crate::machines::HiddenTools::new(&places.tools, &missing);
        let socket = places.socket.clone();
        let result = process::run(command, &socket, deadline, &mut |request| {
            let served = self.serve(request);
            // Asking for standard input is not the end of the call.
            if !matches!(served, Served::Answer(wire::Response::WantsStdin)) {
                std::thread::sleep(cost);
            }
            served
        });
        drop(hidden);
        result.unwrap_or_else(Finished::unserved)
    }

    /// The process of the operation.
    fn command(&mut self, places: &Places) -> Result<Command, Ending> {
        if !places.charm.join("metadata.yaml").exists() {
            return Err(Ending::Failed("charm missing from disk".to_owned()));
        }
        let kind = match self.context.operation {
            Operation::Act(_) => "actions",
            _ => "hooks",
        };
        let dispatch = places.charm.join("dispatch");
        let named = places.charm.join(kind).join(self.name);
        let executable = [dispatch, named].into_iter().find(|path| path.exists());
        let Some(executable) = executable else {
            let text = format!("skipped {:?} hook (missing)", self.name);
            self.model.log(&self.agent.unit, "INFO", text);
            return Err(Ending::Missing);
        };
        let mut command = Command::new(executable);
        command
            .current_dir(&places.charm)
            .env_clear()
            .envs(&self.context.environment);
        self.is_process = true;
        Ok(command)
    }

    fn serve(&mut self, request: &wire::Request) -> Served {
        if self.killed.is_some() {
            return Served::Kill(Ending::killed());
        }
        let reply = if request.context == self.context.id {
            self.answer(ToolRequest {
                tool: &request.tool,
                arguments: &request.arguments,
                stdin: request.stdin.as_deref(),
                directory: Path::new(&request.directory),
            })
        } else {
            let message = format!("bad request: wrong context ID; got {:?}", request.context);
            Reply::Output(ToolOutput::error(1, &message))
        };
        match reply {
            Reply::WantsStdin => Served::Answer(wire::Response::WantsStdin),
            Reply::Kill(ending) => Served::Kill(ending),
            Reply::Output(output) => Served::Answer(wire::Response::Done {
                code: output.code,
                stdout: output.stdout,
                stderr: output.stderr,
            }),
        }
    }

    fn answer(&mut self, request: ToolRequest<'_>) -> Reply {
        if self.killed.is_some() {
            return Reply::Kill(Ending::killed());
        }
        // A call that comes back with its standard input is the same call.
        let again = self.held.take_if(|(tool, _)| tool == request.tool);
        let mut effects = match again {
            Some((_, effects)) => effects,
            None if self.faults.is_empty() => Vec::new(),
            None => self.effects_at(request),
        };
        let mut output = None;
        for effect in &effects {
            match effect {
                Effect::Kill | Effect::Terminate => {
                    let ending = if *effect == Effect::Kill {
                        Ending::killed()
                    } else {
                        Ending::terminated()
                    };
                    // A process may outlive SIGTERM, and call more tools.
                    if !(self.is_process && *effect == Effect::Terminate) {
                        self.killed = Some(ending.clone());
                    }
                    self.record(request, -1);
                    return Reply::Kill(ending);
                }
                Effect::Fail { code, message } => {
                    output = Some(ToolOutput::error(*code, message));
                }
                Effect::Hang(time) => std::thread::sleep(*time),
                // These may find that there is nothing left to take away.
                Effect::LoseLeadership => {
                    let _ = self.model.vacate_leadership(self.agent.unit.application());
                }
                Effect::LoseLease => {
                    self.context.trust_lease(self.agent, self.model);
                    let _ = self.model.vacate_leadership(self.agent.unit.application());
                }
                Effect::RemoveRelation(id) => drop(self.model.remove_relation(*id)),
                Effect::ForceRemoveRelation(id) => drop(self.model.force_remove_relation(*id)),
                Effect::Print(_) | Effect::Truncate | Effect::InvalidUtf8 => {}
            }
        }
        let mut output = match output {
            Some(output) => output,
            None => match tools::answer(request, self.context, self.agent, self.model) {
                ToolAnswer::Done(output) => output,
                ToolAnswer::WantsStdin => {
                    effects.retain(Effect::is_on_output);
                    self.held = Some((request.tool.to_owned(), effects));
                    return Reply::WantsStdin;
                }
            },
        };
        for effect in effects {
            match effect {
                Effect::Print(rubbish) => output.stdout = rubbish,
                Effect::Truncate => output.stdout.truncate(output.stdout.len() / 2),
                Effect::InvalidUtf8 => {
                    let middle = output.stdout.len() / 2;
                    output.stdout.splice(middle..middle, [0xff, 0xfe]);
                }
                _ => {}
            }
        }
        self.record(request, output.code);
        Reply::Output(output)
    }

    /// What strikes at this call.
    fn effects_at(&mut self, request: ToolRequest<'_>) -> Vec<Effect> {
        let all = self.calls.len() + 1;
        let same = |call: &&ToolCall| call.tool == request.tool;
        let of_tool = self.calls.iter().filter(same).count() + 1;
        self.faults
            .take(&self.agent.unit, self.name, |fault| match fault {
                Fault::AtCall { call, tool, effect } => {
                    let count = match tool {
                        None => all,
                        Some(tool) if tool == request.tool => of_tool,
                        Some(_) => return None,
                    };
                    (*call == count).then(|| effect.clone())
                }
                Fault::AtEveryCall {
                    tool,
                    relation,
                    effect,
                } => {
                    let meant = tool.as_deref().is_none_or(|tool| tool == request.tool)
                        && relation
                            .as_ref()
                            .is_none_or(|relation| request.arguments.contains(relation));
                    meant.then(|| effect.clone())
                }
                _ => None,
            })
    }

    fn record(&mut self, request: ToolRequest<'_>, code: i32) {
        let arguments = match self.detail {
            Detail::Full => request.arguments.to_vec(),
            Detail::Counts => Vec::new(),
        };
        self.calls.push(ToolCall {
            tool: request.tool.to_owned(),
            arguments,
            stdin: request.stdin.map_or(0, <[u8]>::len),
            code,
        });
    }
}

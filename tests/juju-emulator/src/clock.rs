//! A deployment on a virtual clock: every unit's agent works by itself.
//!
//! A hook sees the model as it is when it looks; what it writes appears when it ends. Half of a
//! consumer's hook passes before it looks at anything: an interpreter starts. Where it waits, for a
//! join or a heartbeat, or the distributor for its pause, others begin and end hooks meanwhile. The
//! seed decides everything, so a run can be had again.

use std::cmp::Ordering;
use std::collections::{BTreeMap, BTreeSet, BinaryHeap};
use std::ops::Range;
use std::time::Duration;

use fastrand::Rng;

use crate::agent::RERUN_PAUSE;
use crate::deployment::{DISTRIBUTOR, Deployment, DeploymentError, Setup};
use crate::names::{RelationId, UnitName};
use crate::record::HookRun;
use crate::world::{Begun, OpenHook};

/// How long things take.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pace {
    /// A consumer's hook, beside the seconds that it waits for its cluster.
    pub consumer: Range<Duration>,
    /// A distributor's hook, beside its hook tools.
    pub distributor: Duration,
    /// One hook tool of the distributor.
    pub tool: Duration,
    /// Until an idle agent hears of a change.
    pub notice: Range<Duration>,
    /// Between two units that hear of their new relation, and so between two announcements.
    pub meeting: Range<Duration>,
    /// Between two update-status hooks, give or take a fifth; `None` for never.
    pub update_status: Option<Duration>,
}

impl Default for Pace {
    fn default() -> Self {
        Pace {
            consumer: Duration::from_millis(500)..Duration::from_millis(1500),
            distributor: Duration::from_millis(5),
            tool: Duration::from_millis(20),
            // As seen on a real controller: "news travels from one unit's commit to another's hook
            // in 0.3 to 1.5 s", and announcements are "a second or more apart".
            notice: Duration::from_millis(300)..Duration::from_millis(1500),
            meeting: Duration::from_millis(1000)..Duration::from_millis(1500),
            update_status: Some(Duration::from_secs(300)),
        }
    }
}

impl Pace {
    /// News travels in no time, and all units of an application hear of a relation in one instant,
    /// as on no real machine.
    pub fn tidy() -> Self {
        Pace {
            notice: Duration::ZERO..Duration::from_millis(50),
            meeting: Duration::ZERO..Duration::ZERO,
            ..Pace::default()
        }
    }
}

/// After the first failure of a hook; every further one doubles it.
const FIRST_RETRY: Duration = Duration::from_secs(5);
const LONGEST_RETRY: Duration = Duration::from_secs(300);

/// Something an operator does, or an accident.
type Step = dyn FnOnce(&mut Deployment) -> Result<(), DeploymentError>;

enum Event {
    /// An idle agent hears that it may have something to do.
    Notice(UnitName),
    /// A hook that has paused goes on.
    Resumes(Box<OpenHook>),
    Ends(Box<OpenHook>),
    Retry(UnitName),
    Tick(UnitName),
    Step(Box<Step>),
}

struct Due {
    at: Duration,
    /// What was planned first comes first.
    serial: u64,
    event: Event,
}

// A heap gives its greatest first, so the earliest is the greatest.
impl Ord for Due {
    fn cmp(&self, other: &Self) -> Ordering {
        (other.at, other.serial).cmp(&(self.at, self.serial))
    }
}

impl PartialOrd for Due {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Due {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for Due {}

/// What has just happened.
#[derive(Debug)]
pub enum Happened<'a> {
    /// A hook began.
    Began(&'a UnitName, &'a str),
    /// A hook went on after it had paused.
    Resumed(&'a UnitName),
    /// A hook ended.
    Ended(&'a HookRun),
}

/// A deployment and its clock.
pub struct Timeline {
    /// What it is about.
    pub deployment: Deployment,
    pace: Pace,
    rng: Rng,
    now: Duration,
    serial: u64,
    agenda: BinaryHeap<Due>,
    /// Of the agenda, everything but the ticks of update-status.
    pending: usize,
    /// Idle agents that are about to hear of something.
    told: BTreeSet<UnitName>,
    /// Units whose update-status timer runs.
    ticking: BTreeSet<UnitName>,
    /// Units whose machine is off until then.
    off: BTreeMap<UnitName, Duration>,
    /// How long open hooks of consumers still take once they have nothing to wait for.
    rest: BTreeMap<UnitName, Duration>,
    /// Units that have heard of their relation, and when the next may.
    met: BTreeSet<(UnitName, RelationId)>,
    next_meeting: Duration,
}

impl Timeline {
    /// A clock for a deployment that has just been made.
    pub fn new(deployment: Deployment, pace: Pace) -> Self {
        let seed = deployment.world.seed();
        deployment.clock.start();
        Timeline {
            deployment,
            pace,
            rng: Rng::with_seed(seed ^ 0x7469_6d65),
            now: Duration::ZERO,
            serial: 0,
            agenda: BinaryHeap::new(),
            pending: 0,
            told: BTreeSet::new(),
            ticking: BTreeSet::new(),
            off: BTreeMap::new(),
            rest: BTreeMap::new(),
            met: BTreeSet::new(),
            next_meeting: Duration::ZERO,
        }
    }

    /// Everything deployed and related, at the usual pace; machines come up within ten seconds.
    pub fn related(setup: &Setup) -> Result<Self, DeploymentError> {
        let mut deployment = setup.deploy()?;
        deployment.relate_all()?;
        let mut timeline = Timeline::new(deployment, Pace::default());
        timeline.start_within(Duration::from_secs(10));
        Ok(timeline)
    }

    /// The time since the deployment was made.
    pub fn now(&self) -> Duration {
        self.now
    }

    /// Plans something for a time, at the earliest for now.
    pub fn plan(
        &mut self,
        at: Duration,
        step: impl FnOnce(&mut Deployment) -> Result<(), DeploymentError> + 'static,
    ) {
        self.due(at.max(self.now), Event::Step(Box::new(step)));
    }

    /// Turns a unit's machine off until some time, [`Duration::MAX`] for good. Juju goes on showing
    /// the unit and its databags; a hook that is open still ends.
    pub fn turn_off(&mut self, unit: &UnitName, until: Duration) {
        self.off.insert(unit.clone(), until);
    }

    /// Lets agents that have done nothing yet begin at any time within `spread`.
    pub fn start_within(&mut self, spread: Duration) {
        for unit in self.deployment.world.take_awake() {
            let at = self.now + self.within(Duration::ZERO..spread);
            self.start_timer(&unit);
            self.told.insert(unit.clone());
            // Who is related before its machine is up hears of the relation when it is.
            if let Some(relation) = self.deployment.relation(unit.application()) {
                self.met.insert((unit.clone(), relation));
            }
            self.due(at, Event::Notice(unit));
        }
    }

    /// Whether nothing is going on or planned, apart from update-status.
    pub fn is_at_rest(&mut self) -> bool {
        self.tell_agents();
        self.pending == 0
    }

    /// Lets time pass until nothing but update-status is due, or `stop` says so, or `limit`, a
    /// time since the beginning, is reached. `stop` hears of everything; then the world forgets it.
    pub fn run(
        &mut self,
        limit: Duration,
        mut stop: impl FnMut(Duration, Happened<'_>, &Deployment) -> bool,
    ) -> Result<(), DeploymentError> {
        loop {
            if self.is_at_rest() {
                return Ok(());
            }
            if self.next(limit, &mut stop)?.is_break() {
                return Ok(());
            }
        }
    }

    /// As [`Timeline::run`], but goes on through times in which only update-status is due.
    pub fn run_on(
        &mut self,
        limit: Duration,
        mut stop: impl FnMut(Duration, Happened<'_>, &Deployment) -> bool,
    ) -> Result<(), DeploymentError> {
        loop {
            self.tell_agents();
            if self.next(limit, &mut stop)?.is_break() {
                return Ok(());
            }
        }
    }

    fn next(
        &mut self,
        limit: Duration,
        stop: &mut impl FnMut(Duration, Happened<'_>, &Deployment) -> bool,
    ) -> Result<std::ops::ControlFlow<()>, DeploymentError> {
        use std::ops::ControlFlow::{Break, Continue};

        if self.agenda.peek().is_none_or(|due| due.at > limit) {
            self.set(limit.max(self.now));
            return Ok(Break(()));
        }
        let Some(Due { at, event, .. }) = self.agenda.pop() else {
            return Ok(Break(()));
        };
        self.pending -= usize::from(!matches!(event, Event::Tick(_)));
        self.set(at);
        let mut stops = false;
        match event {
            Event::Step(step) => step(&mut self.deployment)?,
            Event::Notice(unit) => {
                self.told.remove(&unit);
                stops |= self.act(&unit, false, stop);
            }
            Event::Retry(unit) => stops |= self.act(&unit, true, stop),
            Event::Tick(unit) => {
                self.ticking.remove(&unit);
                // A unit that is gone has no timer any more.
                if self
                    .deployment
                    .world
                    .fire_update_status(unit.as_str())
                    .is_ok()
                {
                    self.start_timer(&unit);
                }
            }
            Event::Resumes(open) => {
                let open = Box::new(self.deployment.world.resume(*open));
                let happened = Happened::Resumed(open.unit());
                stops |= stop(self.now, happened, &self.deployment);
                self.follow(open);
            }
            Event::Ends(open) => {
                let unit = open.unit().clone();
                self.deployment.world.finish(*open);
                if let Some(run) = self.deployment.world.runs().last() {
                    stops |= stop(self.now, Happened::Ended(run), &self.deployment);
                }
                self.deployment.world.clear_history();
                let agent = self.deployment.world.agent(unit.as_str()).ok();
                let killed = agent.is_some_and(|agent| agent.killed);
                let attempts = agent.and_then(|agent| Some(agent.failed.as_ref()?.attempts));
                if killed {
                    self.due(self.now + RERUN_PAUSE, Event::Retry(unit.clone()));
                }
                if let Some(attempts) = attempts {
                    let doublings = attempts.saturating_sub(1).min(6);
                    let pause = (FIRST_RETRY * (1 << doublings)).min(LONGEST_RETRY);
                    self.due(self.now + pause, Event::Retry(unit.clone()));
                }
                stops |= self.act(&unit, false, stop);
            }
        }
        Ok(if stops { Break(()) } else { Continue(()) })
    }

    fn set(&mut self, now: Duration) {
        self.now = now;
        self.deployment.world.model_mut().now = now;
        self.deployment.clock.set_time(now);
    }

    fn due(&mut self, at: Duration, event: Event) {
        self.pending += usize::from(!matches!(event, Event::Tick(_)));
        self.serial += 1;
        self.agenda.push(Due {
            at,
            serial: self.serial,
            event,
        });
    }

    /// Agents that work ask by themselves when they are done; idle ones hear a little later.
    fn tell_agents(&mut self) {
        for unit in self.deployment.world.take_awake() {
            let agent = self.deployment.world.agent(unit.as_str());
            let idle = agent.is_ok_and(|agent| !agent.busy);
            if idle && self.told.insert(unit.clone()) {
                let hears = self.now + self.within(self.pace.notice.clone());
                let at = self.meets(&unit, hears);
                self.start_timer(&unit);
                self.due(at, Event::Notice(unit));
            }
        }
    }

    /// When a unit that hears of something at some time begins to act on it: one after the other
    /// where the news is their relation.
    fn meets(&mut self, unit: &UnitName, hears: Duration) -> Duration {
        let Some(relation) = self.deployment.relation(unit.application()) else {
            return hears;
        };
        if !self.met.insert((unit.clone(), relation)) {
            return hears;
        }
        let at = hears.max(self.next_meeting);
        self.next_meeting = at + self.within(self.pace.meeting.clone());
        at
    }

    fn start_timer(&mut self, unit: &UnitName) {
        if let Some(interval) = self.pace.update_status
            && self.ticking.insert(unit.clone())
        {
            let pause = self.within(interval * 4 / 5..interval * 6 / 5);
            self.due(self.now + pause, Event::Tick(unit.clone()));
        }
    }

    fn within(&mut self, range: Range<Duration>) -> Duration {
        let width = range.end.saturating_sub(range.start);
        range.start + width.mul_f64(self.rng.f64())
    }

    /// Lets an agent begin what it has to do, if anything. Says whether to stop.
    fn act(
        &mut self,
        unit: &UnitName,
        retry: bool,
        stop: &mut impl FnMut(Duration, Happened<'_>, &Deployment) -> bool,
    ) -> bool {
        if let Some(&until) = self.off.get(unit)
            && until > self.now
        {
            // Whatever is due waits for the machine, and a unit that was informed is not informed
            // again.
            if self.told.insert(unit.clone()) && until < Duration::MAX {
                self.due(until, Event::Notice(unit.clone()));
            }
            return false;
        }
        let startup = self.within(self.pace.consumer.clone()) / 2;
        loop {
            self.deployment.clock.set_startup(startup);
            match self.deployment.world.begin_with(unit, retry) {
                Begun::Nothing => return false,
                Begun::Internal => {}
                Begun::Open(open) => {
                    let name = open.name();
                    let stops = stop(self.now, Happened::Began(unit, &name), &self.deployment);
                    let rest = match open.pause() {
                        Some(_) => startup,
                        // A process has run to its end.
                        None => 2 * startup,
                    };
                    self.rest.insert(unit.clone(), rest);
                    self.follow(open);
                    return stops;
                }
            }
        }
    }

    /// Plans how an open hook goes on.
    fn follow(&mut self, open: Box<OpenHook>) {
        if let Some(pause) = open.pause() {
            self.due(self.now + pause, Event::Resumes(open));
            return;
        }
        let takes = match open.unit().application() == DISTRIBUTOR {
            true => {
                let tools = u32::try_from(open.calls().len()).unwrap_or(u32::MAX);
                self.pace.distributor + self.pace.tool * tools
            }
            false => self.rest.remove(open.unit()).unwrap_or_default(),
        };
        self.due(self.now + takes, Event::Ends(open));
    }
}

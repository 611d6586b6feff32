//! The state of a model and what one step makes of it.
//!
//! Juju's agents as far as charms can tell: what is due next in each relation and in which order,
//! which unit bags are cached and since when, what a commit changes for whom, and what is retried.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use microcluster_token_distributor::databag::{
    BOOTSTRAP_APP, Change, Databag, HOSTNAME, MIRROR, PLACEHOLDER, apply, is_real, is_up,
    mirror_key, mirror_of,
};
use microcluster_token_distributor::reconcile::Writes;
use microcluster_token_distributor::snapshot::{RelationId, UnitName};
use microovn::consumer::Release;
use one_hook::{RelationView, View};

use crate::cloud::{Cloud, hostname};
use crate::consumer::{self, DISTRIBUTOR, Memory};
use crate::memo::Memo;

/// The consumers' applications, in the order of their relations.
const APPS: [&str; 2] = ["a", "b"];

/// What stays the same in every state of one model.
#[derive(Clone, Debug)]
pub struct Setup {
    /// Which consumer all applications run.
    pub release: Release,
    /// The application of each host, by number: 0 or 1.
    pub hosts: Vec<usize>,
    /// How many units the distributor begins with.
    pub distributors: u8,
    /// The second application is related later, at any time.
    pub related_later: bool,
    /// How many faults of each kind may happen, at any time.
    pub faults: Faults,
    /// Consumers meet the last of several equal mirrors first.
    pub last_first: bool,
    /// The rules that the distributor follows.
    pub rules: Rules,
}

/// Whose rules.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rules {
    /// The charm's.
    Charm,
    /// The charm's, but announcing a host makes its key a placeholder again.
    PlaceholdersOverwriteTokens,
    /// The charm's, but the mirror goes up one hook before the permission.
    MirrorUpBeforePermission,
}

/// Faults still to come.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Faults {
    /// Leadership moves although the leader lives.
    pub moves: u8,
    /// A distributor hook is lost at its end, or its commit refused, and it runs again.
    pub failures: u8,
    /// A distributor unit is lost.
    pub losses: u8,
    /// A distributor unit is added.
    pub additions: u8,
    /// A consumer's machine is lost, but never the last member of a cluster.
    pub machines: u8,
}

/// Everything that differs between two moments.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct State {
    distributors: Vec<Distributor>,
    consumers: Vec<Consumer>,
    /// The distributor's application bags, by relation; `None` before it exists.
    app_bags: Vec<Option<Arc<Databag>>>,
    leader: Option<u8>,
    cloud: Cloud,
    faults: Faults,
    broken: Option<Broken>,
}

/// A promise that a step broke.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Broken {
    /// A bag lost a real value, or got another in its place.
    ValueLost,
    /// The bootstrap application changed though there was a cluster.
    BootstrapAppChanged,
    /// A distributor hook ended in an error by itself.
    HookError,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Distributor {
    alive: bool,
    /// Relations whose relation-created is due.
    created: BTreeSet<usize>,
    elected: bool,
    /// Its unit bags, by relation.
    bags: Vec<Arc<Databag>>,
    agent: Agent,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Consumer {
    alive: bool,
    bag: Arc<Databag>,
    memory: Memory,
    app_changed: bool,
    agent: Agent,
}

/// What a unit's agent does and knows.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
struct Agent {
    /// Remote units, by number.
    seen: BTreeMap<u8, Seen>,
    /// The hook that runs, with what it will commit.
    running: Option<(Hook, Commit)>,
    /// A hook that failed and runs again before any other.
    retry: Option<Hook>,
}

/// What an agent knows of one remote unit.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
struct Seen {
    joined: bool,
    /// relation-changed follows relation-joined at once.
    just_joined: bool,
    changed: bool,
    departed: bool,
    cached: Option<Arc<Databag>>,
}

/// A hook of either side.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Hook {
    /// relation-created of a relation
    Created(usize),
    /// leader-elected
    Elected,
    /// relation-joined of a relation and a remote unit
    Joined(usize, u8),
    /// relation-changed of a relation, for a remote unit's bag or the application's
    Changed(usize, Option<u8>),
    /// relation-departed of a relation and a remote unit
    Departed(usize, u8),
    /// update-status
    UpdateStatus,
}

/// What a hook has written and not committed: whole bags, as the agent sends them.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
struct Commit {
    app: BTreeMap<usize, Arc<Databag>>,
    unit: BTreeMap<usize, Arc<Databag>>,
    memory: Option<Memory>,
}

/// A unit of either side.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Unit {
    /// One of the distributor's.
    Distributor(u8),
    /// A consumer's, with its machine's number.
    Consumer(u8),
}

/// What may happen next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// A hook starts: it reads, and does to the cloud what it does.
    Start(Unit, Hook),
    /// A hook ends and commits.
    End(Unit),
    /// A distributor hook is lost at its end.
    Fail(u8),
    /// A distributor unit becomes leader.
    Lead(u8),
    /// A distributor unit is lost.
    Lose(u8),
    /// A distributor unit is added.
    Add,
    /// A consumer's machine is lost.
    Kill(u8),
    /// The second application is related.
    Relate,
}

/// A setup and how its states follow each other.
pub struct World {
    setup: Setup,
    distributor_hooks: Memo<DistributorHook, DistributorRan>,
    consumer_hooks: Memo<ConsumerHook, ConsumerRan>,
}

/// Everything that a distributor hook depends on.
#[derive(PartialEq, Eq, Hash)]
struct DistributorHook {
    hook: Hook,
    number: u8,
    is_leader: bool,
    now: u64,
    app_bags: Vec<Option<Arc<Databag>>>,
    /// The unit bags of all living distributor units.
    siblings: Vec<(u8, Vec<Arc<Databag>>)>,
    /// Each consumer: whether it lives, has joined, and its bag as the agent shows it.
    consumers: Vec<(bool, bool, Arc<Databag>)>,
}

/// What a distributor hook wrote, read, and whether it ended well.
#[derive(Clone)]
struct DistributorRan {
    writes: Arc<BTreeMap<RelationId, Writes>>,
    reads: Arc<BTreeSet<u8>>,
    is_ok: bool,
}

/// Everything that a consumer hook depends on.
#[derive(PartialEq, Eq, Hash)]
struct ConsumerHook {
    hook: Hook,
    number: u8,
    members: BTreeMap<u8, Arc<Databag>>,
    app_bag: Arc<Databag>,
    own: Arc<Databag>,
    memory: Memory,
    cloud: Cloud,
}

/// What a consumer hook wrote, remembers and read, and the cloud after it.
#[derive(Clone)]
struct ConsumerRan {
    committed: Option<(Arc<Databag>, Memory)>,
    reads: BTreeSet<u8>,
    cloud: Cloud,
}

impl From<Setup> for World {
    fn from(setup: Setup) -> Self {
        World {
            setup,
            distributor_hooks: Memo::default(),
            consumer_hooks: Memo::default(),
        }
    }
}

impl World {
    /// What stays the same.
    pub fn setup(&self) -> &Setup {
        &self.setup
    }

    /// The number of relations that there will be.
    fn relations(&self) -> usize {
        self.setup.hosts.iter().max().map_or(0, |last| last + 1)
    }

    /// The state in which everything is deployed and nothing has run.
    pub fn first(&self) -> State {
        let relations = self.relations();
        let mut state = State {
            distributors: Vec::new(),
            consumers: Vec::new(),
            app_bags: vec![None; relations],
            leader: None,
            cloud: Cloud::default(),
            faults: self.setup.faults,
            broken: None,
        };
        for _ in &self.setup.hosts {
            state.consumers.push(Consumer {
                alive: true,
                bag: Arc::default(),
                memory: Memory::default(),
                app_changed: false,
                agent: Agent::default(),
            });
        }
        for relation in 0..relations {
            if relation == 0 || !self.setup.related_later {
                state.app_bags[relation] = Some(Arc::default());
            }
        }
        for _ in 0..self.setup.distributors {
            state.add(relations);
        }
        state.lead(0);
        state
    }

    /// The unit that leads its application: the second, so that the smallest name is another's and
    /// the communicator changes.
    fn leads(&self, consumer: u8) -> bool {
        let app = self.app(consumer);
        let mut of_app = (0..).zip(&self.setup.hosts).filter(|(_, of)| **of == app);
        let first = of_app.next();
        of_app.next().or(first).map(|(number, _)| number) == Some(consumer)
    }

    fn app(&self, consumer: u8) -> usize {
        self.setup.hosts[usize::from(consumer)]
    }

    fn consumers(&self, app: usize) -> impl Iterator<Item = u8> {
        (0..)
            .zip(&self.setup.hosts)
            .filter(move |(_, of)| **of == app)
            .map(|(number, _)| number)
    }

    fn consumer_name(&self, consumer: u8) -> UnitName {
        name(APPS[self.app(consumer)], consumer)
    }

    /// What may happen in a state.
    pub fn steps(&self, state: &State) -> Vec<Step> {
        let mut steps = Vec::new();
        for (number, distributor) in state.living() {
            let unit = Unit::Distributor(number);
            let start = |hook| Step::Start(unit, hook);
            if distributor.agent.running.is_some() {
                steps.push(Step::End(unit));
                if state.faults.failures > 0 {
                    steps.push(Step::Fail(number));
                }
            } else {
                steps.extend(self.due(state, unit).into_iter().map(start));
            }
            if state.leader != Some(number) && (state.leader.is_none() || state.faults.moves > 0) {
                steps.push(Step::Lead(number));
            }
            if state.faults.losses > 0 {
                steps.push(Step::Lose(number));
            }
        }
        for (number, consumer) in (0..).zip(&state.consumers) {
            if !consumer.alive {
                continue;
            }
            let unit = Unit::Consumer(number);
            if consumer.agent.running.is_some() {
                steps.push(Step::End(unit));
            } else {
                let start = |hook| Step::Start(unit, hook);
                steps.extend(self.due(state, unit).into_iter().map(start));
            }
            let others_remain = state.cloud.living() > usize::from(state.cloud.is_member(number));
            if state.faults.machines > 0 && others_remain {
                steps.push(Step::Kill(number));
            }
        }
        if state.faults.additions > 0 {
            steps.push(Step::Add);
        }
        if state.app_bags.iter().any(Option::is_none) {
            steps.push(Step::Relate);
        }
        steps
    }

    /// The hooks of which a unit's agent runs one next.
    pub fn due(&self, state: &State, unit: Unit) -> Vec<Hook> {
        let agent = state.agent(unit);
        if let Some(retry) = agent.retry {
            return vec![retry];
        }
        match unit {
            Unit::Distributor(number) => {
                let distributor = &state.distributors[usize::from(number)];
                if let Some(relation) = distributor.created.first() {
                    return vec![Hook::Created(*relation)];
                }
                if distributor.elected {
                    return vec![Hook::Elected];
                }
                let related = (0..).zip(&state.app_bags).filter(|(_, bag)| bag.is_some());
                related
                    .filter_map(|(relation, _)| {
                        let remote: Vec<u8> = self.consumers(relation).collect();
                        agent.due(relation, &remote, &|c| {
                            state.consumers[usize::from(c)].alive
                        })
                    })
                    .collect()
            }
            Unit::Consumer(number) => {
                let relation = self.app(number);
                if state.app_bags[relation].is_none() {
                    return Vec::new();
                }
                let consumer = &state.consumers[usize::from(number)];
                let all: Vec<u8> = (0..).take(state.distributors.len()).collect();
                let alive = |d: u8| state.distributors[usize::from(d)].alive;
                let next = match agent.next_of_members(relation) {
                    None if consumer.app_changed => Some(Hook::Changed(relation, None)),
                    None => agent.due(relation, &all, &alive),
                    next => next,
                };
                next.into_iter().collect()
            }
        }
    }

    /// What a step makes of a state. `now` only matters to nudges.
    pub fn after(&self, state: &State, step: Step, now: u64) -> State {
        let mut state = state.clone();
        match step {
            Step::Start(unit, hook) => {
                state.agent_mut(unit).take(hook);
                match unit {
                    Unit::Distributor(number) => {
                        self.run_distributor(&mut state, number, hook, now)
                    }
                    Unit::Consumer(number) => self.run_consumer(&mut state, number, hook),
                }
            }
            Step::End(unit) => self.end(&mut state, unit),
            Step::Fail(number) => {
                state.faults.failures -= 1;
                let agent = state.agent_mut(Unit::Distributor(number));
                agent.retry = agent.running.take().map(|(hook, _)| hook);
            }
            Step::Lead(number) => {
                if state.leader.is_some() {
                    state.faults.moves -= 1;
                }
                state.lead(number);
            }
            Step::Lose(number) => {
                state.faults.losses -= 1;
                state.lose(number);
            }
            Step::Add => {
                state.faults.additions = state.faults.additions.saturating_sub(1);
                state.add(self.relations());
            }
            Step::Kill(number) => {
                state.faults.machines -= 1;
                state.cloud.kill(number);
                let consumer = &mut state.consumers[usize::from(number)];
                consumer.alive = false;
                consumer.agent = Agent::default();
                consumer.app_changed = false;
                for distributor in &mut state.distributors {
                    distributor.agent.loses(number);
                }
            }
            Step::Relate => {
                for relation in 0..self.relations() {
                    if state.app_bags[relation].is_none() {
                        state.app_bags[relation] = Some(Arc::default());
                        for distributor in &mut state.distributors {
                            distributor.created.insert(relation);
                        }
                    }
                }
            }
        }
        state
    }

    fn run_distributor(&self, state: &mut State, number: u8, hook: Hook, now: u64) {
        let distributor = &mut state.distributors[usize::from(number)];
        match hook {
            Hook::Created(relation) => drop(distributor.created.remove(&relation)),
            Hook::Elected => distributor.elected = false,
            _ => {}
        }
        let ran = self
            .distributor_hooks
            .get(self.distributor_hook(state, number, hook, now), |hook| {
                self.distributor_ran(hook)
            });
        for consumer in ran.reads.iter() {
            let live = Arc::clone(&state.consumers[usize::from(*consumer)].bag);
            let distributor = &mut state.distributors[usize::from(number)];
            distributor.agent.reads(*consumer, live);
        }
        if !ran.is_ok {
            state.broken = Some(Broken::HookError);
        }
        let mut commit = Commit::default();
        for (id, writes) in ran.writes.iter() {
            let relation = index(*id);
            let mut writes = writes.clone();
            let app_bag = state.app_bags[relation].as_deref().expect("it is related");
            let unit_bag = &*state.distributors[usize::from(number)].bags[relation];
            self.bend(&mut writes, state, hook, relation);
            for (bag, changes, to) in [
                (app_bag, &writes.app, &mut commit.app),
                (unit_bag, &writes.unit, &mut commit.unit),
            ] {
                if !changes.is_empty() {
                    let mut bag = bag.clone();
                    apply(&mut bag, changes);
                    to.insert(relation, Arc::new(bag));
                }
            }
        }
        let agent = state.agent_mut(Unit::Distributor(number));
        // Without writes, ending later shows nothing that starting the next hook later does not.
        agent.running = (commit != Commit::default()).then_some((hook, commit));
    }

    /// Breaks the rules, where the model is to show that this is noticed.
    fn bend(&self, writes: &mut Writes, state: &State, hook: Hook, relation: usize) {
        let announces = |consumer: u8| {
            let bag = &state.consumers[usize::from(consumer)].bag;
            bag.contains_key(HOSTNAME)
        };
        match (self.setup.rules, hook) {
            (Rules::Charm, _) => {}
            (Rules::PlaceholdersOverwriteTokens, Hook::Changed(_, Some(consumer)))
                if announces(consumer) =>
            {
                let key = mirror_key(&hostname(consumer));
                for changes in [&mut writes.app, &mut writes.unit] {
                    changes.insert(key.clone(), Change::Set(PLACEHOLDER.to_owned()));
                }
            }
            (Rules::MirrorUpBeforePermission, _) => {
                let bag = state.app_bags[relation].as_deref();
                if bag.is_some_and(|bag| bag.is_empty()) && writes.unit.contains_key(MIRROR) {
                    writes.app.clear();
                }
            }
            _ => {}
        }
    }

    fn distributor_hook(&self, state: &State, number: u8, hook: Hook, now: u64) -> DistributorHook {
        let agent = state.agent(Unit::Distributor(number));
        let siblings = state.living();
        let shown = |(consumer, remote): (u8, &Consumer)| {
            let seen = agent.seen.get(&consumer).filter(|seen| seen.joined);
            let cached = seen.and_then(|seen| seen.cached.as_ref());
            let bag = Arc::clone(cached.unwrap_or(&remote.bag));
            (remote.alive, seen.is_some(), bag)
        };
        DistributorHook {
            hook,
            number,
            is_leader: state.leader == Some(number),
            now,
            app_bags: state.app_bags.clone(),
            siblings: siblings
                .map(|(number, unit)| (number, unit.bags.clone()))
                .collect(),
            consumers: (0..).zip(&state.consumers).map(shown).collect(),
        }
    }

    fn distributor_ran(&self, hook: &DistributorHook) -> DistributorRan {
        let ran = one_hook::run(
            &self.distributor_view(hook),
            &self.event(hook.hook),
            hook.now,
        );
        let consumers = ran
            .reads
            .iter()
            .filter(|(_, unit)| unit.app() != DISTRIBUTOR);
        let number = |unit: &UnitName| unit.as_str().rsplit('/').next()?.parse().ok();
        DistributorRan {
            reads: Arc::new(consumers.filter_map(|(_, unit)| number(unit)).collect()),
            writes: Arc::new(ran.writes),
            is_ok: ran.result.is_ok(),
        }
    }

    fn distributor_view(&self, hook: &DistributorHook) -> View {
        let mut relations = BTreeMap::new();
        for (relation, app_bag) in hook.app_bags.iter().enumerate() {
            let Some(app_bag) = app_bag else { continue };
            let mut view = RelationView {
                app: APPS[relation].to_owned(),
                own_app: Arc::clone(app_bag),
                ..RelationView::default()
            };
            let mut expected = BTreeSet::new();
            for consumer in self.consumers(relation) {
                let (alive, joined, bag) = &hook.consumers[usize::from(consumer)];
                let unit = self.consumer_name(consumer);
                if *joined {
                    view.members.insert(unit.clone());
                }
                if *alive {
                    expected.insert(unit.clone());
                }
                view.units.insert(unit, Arc::clone(bag));
            }
            view.expected = Some(expected);
            for (sibling, bags) in &hook.siblings {
                let bag = Arc::clone(&bags[relation]);
                view.units.insert(name(DISTRIBUTOR, *sibling), bag);
            }
            relations.insert(RelationId(relation as u64 + 1), view);
        }
        let siblings = hook.siblings.iter();
        View {
            unit: name(DISTRIBUTOR, hook.number),
            is_leader: hook.is_leader,
            relations,
            siblings: siblings
                .map(|(number, _)| name(DISTRIBUTOR, *number))
                .collect(),
            config: BTreeMap::new(),
            status: ("unknown".to_owned(), String::new()),
        }
    }

    fn event(&self, hook: Hook) -> one_hook::Event {
        let relation = |kind, relation: usize, unit: Option<u8>| {
            let unit = unit.map(|unit| self.consumer_name(unit).to_string());
            one_hook::Event::Relation(kind, relation as u64 + 1, unit)
        };
        match hook {
            Hook::Created(of) => relation("created", of, None),
            Hook::Elected => one_hook::Event::Plain("leader-elected"),
            Hook::Joined(of, unit) => relation("joined", of, Some(unit)),
            Hook::Changed(of, unit) => relation("changed", of, unit),
            Hook::Departed(of, unit) => relation("departed", of, Some(unit)),
            Hook::UpdateStatus => one_hook::Event::Plain("update-status"),
        }
    }

    fn run_consumer(&self, state: &mut State, number: u8, hook: Hook) {
        let relation = self.app(number);
        let consumer = &mut state.consumers[usize::from(number)];
        if hook == Hook::Changed(relation, None) {
            consumer.app_changed = false;
        }
        let mut members = BTreeMap::new();
        for (distributor, seen) in &consumer.agent.seen {
            if seen.joined {
                let live = &state.distributors[usize::from(*distributor)].bags[relation];
                let bag = seen.cached.as_ref().unwrap_or(live);
                members.insert(*distributor, Arc::clone(bag));
            }
        }
        let ran = self.consumer_hooks.get(
            ConsumerHook {
                hook,
                number,
                members: members.clone(),
                app_bag: state.app_bags[relation].clone().unwrap_or_default(),
                own: Arc::clone(&consumer.bag),
                memory: consumer.memory.clone(),
                cloud: state.cloud.clone(),
            },
            |hook| self.consumer_ran(hook),
        );
        state.cloud = ran.cloud;
        for distributor in ran.reads {
            consumer
                .agent
                .reads(distributor, Arc::clone(&members[&distributor]));
        }
        match ran.committed {
            None => consumer.agent.retry = Some(hook),
            Some((bag, memory)) if bag == consumer.bag => consumer.memory = memory,
            Some((bag, memory)) => {
                let commit = Commit {
                    unit: [(relation, bag)].into(),
                    memory: Some(memory),
                    ..Commit::default()
                };
                consumer.agent.running = Some((hook, commit));
            }
        }
    }

    fn consumer_ran(&self, hook: &ConsumerHook) -> ConsumerRan {
        let view = consumer::View {
            release: self.setup.release,
            unit: self.consumer_name(hook.number).to_string(),
            machine: hook.number,
            is_leader: self.leads(hook.number),
            members: &hook.members,
            app_bag: Arc::clone(&hook.app_bag),
            own: Arc::clone(&hook.own),
            last_first: self.setup.last_first,
        };
        let event = match hook.hook {
            Hook::Joined(_, unit) => consumer::Event::Joined(unit),
            Hook::Changed(_, unit) => consumer::Event::Changed(unit),
            _ => consumer::Event::Other,
        };
        let mut cloud = hook.cloud.clone();
        let ran = consumer::run(&view, event, &hook.memory, &mut cloud);
        ConsumerRan {
            committed: ran.committed.map(|(bag, memory)| (Arc::new(bag), memory)),
            reads: ran.reads,
            cloud,
        }
    }

    fn end(&self, state: &mut State, unit: Unit) {
        let Some((hook, commit)) = state.agent_mut(unit).running.take() else {
            return;
        };
        match unit {
            Unit::Distributor(number) => {
                if !commit.app.is_empty() && state.leader != Some(number) {
                    // Juju checks the lease at the commit and drops everything.
                    state.agent_mut(unit).retry = Some(hook);
                    return;
                }
                for (relation, bag) in commit.app {
                    let clustered = state.cloud.clusters() > 0;
                    let held = state.app_bags[relation].replace(Arc::clone(&bag));
                    let held = held.unwrap_or_default();
                    let named = held.get(BOOTSTRAP_APP);
                    if clustered && named.is_some() && named != bag.get(BOOTSTRAP_APP) {
                        state.broken = Some(Broken::BootstrapAppChanged);
                    }
                    state.notice_losses(&held, &bag);
                    if held != bag {
                        for consumer in self.consumers(relation) {
                            let consumer = &mut state.consumers[usize::from(consumer)];
                            consumer.app_changed = consumer.alive;
                        }
                    }
                }
                for (relation, bag) in commit.unit {
                    let own = &mut state.distributors[usize::from(number)].bags[relation];
                    let held = std::mem::replace(own, Arc::clone(&bag));
                    state.notice_losses(&held, &bag);
                    if held != bag {
                        for consumer in self.consumers(relation) {
                            let consumer = &mut state.consumers[usize::from(consumer)];
                            consumer.agent.hears_of(number);
                        }
                    }
                }
            }
            Unit::Consumer(number) => {
                let consumer = &mut state.consumers[usize::from(number)];
                if let Some(memory) = commit.memory {
                    consumer.memory = memory;
                }
                for bag in commit.unit.into_values() {
                    consumer.bag = bag;
                }
                for distributor in &mut state.distributors {
                    distributor.agent.hears_of(number);
                }
            }
        }
    }

    /// The consumers that should be members by now, and are not.
    pub fn outside<'a>(&'a self, state: &'a State) -> impl Iterator<Item = u8> + 'a {
        let living = (0..)
            .zip(&state.consumers)
            .filter(|(_, consumer)| consumer.alive);
        let related = living.filter(|(number, _)| state.app_bags[self.app(*number)].is_some());
        related
            .filter(|(number, consumer)| {
                let joined = consumer.memory.in_cluster && state.cloud.is_member(*number);
                !joined && !self.is_out_of_reach(state, *number)
            })
            .map(|(number, _)| number)
    }

    /// The host's one token names dead members only, or died with the machine that minted it, or
    /// nobody lives who could mint one: no distributor can mend that.
    fn is_out_of_reach(&self, state: &State, consumer: u8) -> bool {
        let key = mirror_key(&hostname(consumer));
        let app_bag = state.app_bags[self.app(consumer)].as_ref();
        let token = app_bag
            .and_then(|bag| bag.get(&key))
            .filter(|value| is_real(value));
        let is_shown = |token| {
            let mut living = state.consumers.iter().filter(|consumer| consumer.alive);
            living.any(|consumer| consumer.bag.get(&key).is_some_and(|held| held == token))
        };
        // It expires after three hours; there is no time here.
        let outstanding = state.cloud.outstanding(&hostname(consumer));
        let died = token.is_none() && outstanding.is_some_and(|token| !is_shown(token));
        token.is_some_and(|token| state.cloud.answering(token).is_none())
            || died
            || state.cloud.clusters() > 0 && state.cloud.living() == 0
    }
}

impl State {
    /// Whether the hosts have formed more than one cluster.
    pub fn is_split(&self) -> bool {
        self.cloud.clusters() > 1
    }

    /// The promise that the last step broke.
    pub fn broken(&self) -> Option<Broken> {
        self.broken
    }

    /// Whether a mirror is up in a relation whose application bag names nobody.
    pub fn shows_a_mirror_without_permission(&self) -> bool {
        (0..).zip(&self.app_bags).any(|(relation, app_bag)| {
            let permits = app_bag
                .as_ref()
                .is_some_and(|bag| bag.contains_key(BOOTSTRAP_APP));
            !permits
                && self
                    .living()
                    .any(|(_, unit)| is_up(&unit.bags[relation as usize]))
        })
    }

    /// Whether a real value stands in a unit's bag alone, which goes with the unit.
    pub fn keeps_a_value_in_a_unit_bag_alone(&self) -> bool {
        (0usize..).zip(&self.app_bags).any(|(relation, app_bag)| {
            let app_bag = app_bag.as_deref();
            self.living()
                .flat_map(|(_, unit)| mirror_of(&unit.bags[relation]))
                .any(|(key, value)| {
                    is_real(value) && app_bag.and_then(|bag| bag.get(key)).is_none()
                })
        })
    }

    /// Whether two relations name different applications.
    pub fn names_two_applications(&self) -> bool {
        let bags = self.app_bags.iter().flatten();
        let named: BTreeSet<_> = bags.filter_map(|bag| bag.get(BOOTSTRAP_APP)).collect();
        named.len() > 1
    }

    /// The units whose hook runs.
    pub fn running(&self) -> Option<Unit> {
        self.units()
            .find(|unit| self.agent(*unit).running.is_some())
    }

    /// All living units, the distributor's first.
    pub fn units(&self) -> impl Iterator<Item = Unit> {
        let consumers = (0..)
            .zip(&self.consumers)
            .filter(|(_, consumer)| consumer.alive);
        self.living()
            .map(|(number, _)| Unit::Distributor(number))
            .chain(consumers.map(|(number, _)| Unit::Consumer(number)))
    }

    /// Whether a unit's last hook failed.
    pub fn retries(&self, unit: Unit) -> bool {
        self.agent(unit).retry.is_some()
    }

    /// The step without which nobody leads, if nobody does.
    pub fn needs_a_leader(&self) -> Option<Step> {
        match (self.leader, self.living().next()) {
            (Some(_), _) => None,
            (None, Some((number, _))) => Some(Step::Lead(number)),
            (None, None) => Some(Step::Add),
        }
    }

    fn living(&self) -> impl Iterator<Item = (u8, &Distributor)> {
        (0..)
            .zip(&self.distributors)
            .filter(|(_, distributor)| distributor.alive)
    }

    fn agent(&self, unit: Unit) -> &Agent {
        match unit {
            Unit::Distributor(number) => &self.distributors[usize::from(number)].agent,
            Unit::Consumer(number) => &self.consumers[usize::from(number)].agent,
        }
    }

    fn agent_mut(&mut self, unit: Unit) -> &mut Agent {
        match unit {
            Unit::Distributor(number) => &mut self.distributors[usize::from(number)].agent,
            Unit::Consumer(number) => &mut self.consumers[usize::from(number)].agent,
        }
    }

    fn lead(&mut self, number: u8) {
        self.leader = Some(number);
        for (other, distributor) in (0..).zip(&mut self.distributors) {
            distributor.elected = other == number;
        }
    }

    fn lose(&mut self, number: u8) {
        let distributor = &mut self.distributors[usize::from(number)];
        distributor.alive = false;
        distributor.agent = Agent::default();
        distributor.elected = false;
        distributor.created.clear();
        if self.leader == Some(number) {
            self.leader = None;
        }
        for consumer in &mut self.consumers {
            consumer.agent.loses(number);
        }
    }

    fn add(&mut self, relations: usize) {
        let related = (0..).zip(&self.app_bags).filter(|(_, bag)| bag.is_some());
        self.distributors.push(Distributor {
            alive: true,
            created: related.map(|(relation, _)| relation).collect(),
            elected: false,
            bags: vec![Arc::default(); relations],
            agent: Agent::default(),
        });
    }

    fn notice_losses(&mut self, held: &Databag, now: &Databag) {
        let mut real = mirror_of(held).filter(|(_, value)| is_real(value));
        if real.any(|(key, value)| now.get(key).map(String::as_str) != Some(value)) {
            self.broken = Some(Broken::ValueLost);
        }
    }
}

impl Agent {
    /// The next hook among units that have joined and what comes before all others.
    fn next_of_members(&self, relation: usize) -> Option<Hook> {
        let find = |is: fn(&Seen) -> bool| {
            let found = self.seen.iter().find(|(_, seen)| is(seen));
            found.map(|(unit, _)| *unit)
        };
        find(|seen| seen.just_joined)
            .map(|unit| Hook::Changed(relation, Some(unit)))
            .or_else(|| find(|seen| seen.departed).map(|unit| Hook::Departed(relation, unit)))
    }

    /// The next hook of a relation, but for a change of the application bag.
    fn due(&self, relation: usize, remote: &[u8], alive: &dyn Fn(u8) -> bool) -> Option<Hook> {
        let of_relation = |unit: &u8| remote.contains(unit);
        let find = |is: fn(&Seen) -> bool| {
            let mut seen = self.seen.iter().filter(|(unit, _)| of_relation(unit));
            seen.find(|(_, seen)| is(seen)).map(|(unit, _)| *unit)
        };
        let is_new = |unit: &&u8| alive(**unit) && !self.seen.contains_key(unit);
        find(|seen| seen.just_joined)
            .map(|unit| Hook::Changed(relation, Some(unit)))
            .or_else(|| find(|seen| seen.departed).map(|unit| Hook::Departed(relation, unit)))
            .or_else(|| {
                remote
                    .iter()
                    .find(is_new)
                    .map(|unit| Hook::Joined(relation, *unit))
            })
            .or_else(|| {
                let changed = find(|seen| seen.changed);
                changed.map(|unit| Hook::Changed(relation, Some(unit)))
            })
    }

    /// A hook starts: what it tells is told.
    fn take(&mut self, hook: Hook) {
        self.retry = None;
        match hook {
            Hook::Joined(_, unit) => {
                let joined = Seen {
                    joined: true,
                    just_joined: true,
                    ..Seen::default()
                };
                self.seen.insert(unit, joined);
            }
            Hook::Changed(_, Some(unit)) => {
                if let Some(seen) = self.seen.get_mut(&unit) {
                    seen.just_joined = false;
                    seen.changed = false;
                    seen.cached = None;
                }
            }
            Hook::Departed(_, unit) => {
                self.seen.insert(unit, Seen::default());
            }
            _ => {}
        }
    }

    fn reads(&mut self, unit: u8, bag: Arc<Databag>) {
        if let Some(seen) = self.seen.get_mut(&unit).filter(|seen| seen.joined) {
            seen.cached.get_or_insert(bag);
        }
    }

    fn hears_of(&mut self, unit: u8) {
        if let Some(seen) = self.seen.get_mut(&unit).filter(|seen| seen.joined) {
            seen.changed = true;
        }
    }

    fn loses(&mut self, unit: u8) {
        if let Some(seen) = self.seen.get_mut(&unit).filter(|seen| seen.joined) {
            seen.departed = true;
        }
    }
}

fn name(app: &str, number: u8) -> UnitName {
    format!("{app}/{number}").parse().expect("a unit name")
}

fn index(id: RelationId) -> usize {
    usize::try_from(id.0).expect("a small number") - 1
}

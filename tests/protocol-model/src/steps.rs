//! What may happen in a state, and what one step makes of it.
//!
//! Juju's agents as far as charms can tell: what is due next in each relation and in which order,
//! which unit bags are cached and since when, what a commit changes for whom, and what is retried.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use microcluster_token_distributor::core::names::{RelationId, UnitName};
use microcluster_token_distributor::core::plan::Writes;
use microcluster_token_distributor::core::wire::{
    BOOTSTRAP_APP, Changes, Databag, Value, apply, mirror_key,
};
use microovn::consumer::Release;
use one_hook::{RelationView, View};

use crate::bag::Bag;
use crate::broken_rules;
use crate::cloud::{Cloud, hostname};
use crate::consumer::{self, DISTRIBUTOR, Memory};
use crate::hook_cache::HookCache;
use crate::setup::{Setup, Start};
use crate::state::{Broken, Commit, Consumer, Hook, State, Unit};

/// The consumers' applications, in the order of their relations.
const APPS: [&str; 2] = ["a", "b"];
/// The peer relation.
const PEER: RelationId = RelationId(9);

/// What may happen next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// A hook starts: it reads, and does to the cloud what it does.
    Start(Unit, Hook),
    /// A hook ends and commits.
    End(Unit),
    /// A hook is lost at its end.
    Fail(Unit),
    /// A distributor unit becomes leader.
    Lead(u8),
    /// A distributor unit is lost.
    Lose(u8),
    /// A distributor unit is added.
    Add,
    /// A consumer's machine is lost.
    Kill(u8),
    /// A consumer unit leaves and is removed, and a new one has its host name.
    Redeploy(u8),
    /// The token of a consumer's host expires.
    Expire(u8),
    /// The second application is related.
    Relate,
    /// Everything is at rest, and update-status comes for every unit.
    UpdateStatus,
}

/// A setup and how its states follow each other.
pub struct World {
    setup: Setup,
    distributor_hooks: HookCache<DistributorHook, DistributorRan>,
    consumer_hooks: HookCache<ConsumerHook, ConsumerRan>,
}

/// Everything that a distributor hook depends on.
#[derive(PartialEq, Eq, Hash)]
struct DistributorHook {
    hook: Hook,
    number: u8,
    is_leader: bool,
    now: u64,
    app_bags: Vec<Option<Bag>>,
    ledger: Bag,
    /// The unit bags of all living distributor units.
    siblings: Vec<(u8, Vec<Bag>)>,
    /// The consumers, by number.
    consumers: Vec<Shown>,
}

/// A consumer as a distributor's agent shows it.
#[derive(PartialEq, Eq, Hash)]
struct Shown {
    app: usize,
    alive: bool,
    joined: bool,
    bag: Bag,
}

/// What a distributor hook wrote, read, and whether it ended well.
#[derive(Clone)]
struct DistributorRan {
    writes: Arc<BTreeMap<RelationId, Writes>>,
    ledger: Arc<Changes>,
    reads: Arc<BTreeSet<u8>>,
    is_ok: bool,
}

/// Everything that a consumer hook depends on.
#[derive(PartialEq, Eq, Hash)]
struct ConsumerHook {
    hook: Hook,
    number: u8,
    machine: u8,
    is_leader: bool,
    members: BTreeMap<u8, Bag>,
    app_bag: Bag,
    own: Bag,
    memory: Memory,
    cloud: Cloud,
}

/// What a consumer hook wrote, remembers and read, and the cloud after it.
#[derive(Clone)]
struct ConsumerRan {
    committed: Option<(Bag, Memory)>,
    reads: BTreeSet<u8>,
    cloud: Cloud,
}

impl From<Setup> for World {
    fn from(setup: Setup) -> Self {
        World {
            setup,
            distributor_hooks: HookCache::default(),
            consumer_hooks: HookCache::default(),
        }
    }
}

impl World {
    /// What stays the same.
    pub fn setup(&self) -> &Setup {
        &self.setup
    }

    fn is_second(&self) -> bool {
        self.setup.release == Release::Second
    }

    /// The number of relations that there will be.
    fn relations(&self) -> usize {
        self.setup.hosts.iter().max().map_or(0, |last| last + 1)
    }

    /// The state in which histories begin.
    pub fn first(&self) -> State {
        let deployed = self.deployed();
        match self.setup.start {
            Start::Deployed => deployed,
            Start::Joined => {
                let rested = self.at_rest_after(deployed);
                self.at_rest_after(self.after(&rested, Step::UpdateStatus))
            }
        }
    }

    /// Everything is deployed, and nothing has run.
    fn deployed(&self) -> State {
        let relations = self.relations();
        let mut state = State {
            distributors: Vec::new(),
            consumers: Vec::new(),
            app_bags: vec![None; relations],
            ledger: Bag::default(),
            leader: None,
            consumer_leaders: Vec::new(),
            cloud: Cloud::default(),
            faults: self.setup.faults,
            update_statuses: 0,
            broken: None,
        };
        for machine in (0..).take(self.setup.hosts.len()) {
            state.add_consumer(machine, self.is_second());
        }
        for relation in 0..relations {
            if relation == 0 || !self.setup.related_later {
                state.app_bags[relation] = Some(Bag::default());
            }
            // The second unit leads, so that the smallest name is another's and the communicator
            // changes.
            let units = self.units_of(&state, relation);
            let leader = units.get(1).or(units.first()).copied();
            state.consumer_leaders.push(leader);
        }
        for _ in 0..self.setup.distributors {
            state.add();
        }
        state.lead(0);
        state
    }

    /// The application of a consumer unit.
    fn app(&self, consumer: &Consumer) -> usize {
        self.setup.hosts[usize::from(consumer.machine)]
    }

    /// All units that an application ever had.
    fn units_of(&self, state: &State, app: usize) -> Vec<u8> {
        let consumers = (0..).zip(&state.consumers);
        let of_app = consumers.filter(|(_, consumer)| self.app(consumer) == app);
        of_app.map(|(number, _)| number).collect()
    }

    fn is_related(&self, state: &State, consumer: &Consumer) -> bool {
        state.app_bags[self.app(consumer)].is_some()
    }

    /// What may happen in a state.
    pub fn steps(&self, state: &State) -> Vec<Step> {
        let faults = &state.faults;
        let mut steps = Vec::new();
        for unit in state.units() {
            if state.agent(unit).running.is_none() {
                let start = |hook| Step::Start(unit, hook);
                steps.extend(self.due(state, unit).into_iter().map(start));
                continue;
            }
            steps.push(Step::End(unit));
            let failures = match unit {
                Unit::Distributor(_) => faults.failures,
                Unit::Consumer(_) => faults.consumer_failures,
            };
            if failures > 0 {
                steps.push(Step::Fail(unit));
            }
        }
        for (number, _) in state.living() {
            if state.leader != Some(number) && (state.leader.is_none() || faults.moves > 0) {
                steps.push(Step::Lead(number));
            }
            if faults.losses > 0 {
                steps.push(Step::Lose(number));
            }
        }
        for (number, consumer) in state.living_consumers() {
            let is_member = state.cloud.is_member(consumer.machine);
            let others_remain = state.cloud.living() > usize::from(is_member);
            let nobody_began = self.is_second() && state.cloud.clusters() == 0;
            let has_siblings = self.living_units_of(state, self.app(consumer)).count() > 1;
            let is_missed = others_remain || nobody_began && has_siblings;
            if faults.machines > 0 && is_missed && state.cloud.survives_without(consumer.machine) {
                steps.push(Step::Kill(number));
            }
            let is_idle = consumer.agent.running.is_none();
            if faults.redeployments > 0 && is_idle && (others_remain || nobody_began) {
                steps.push(Step::Redeploy(number));
            }
            let token = state.cloud.outstanding(&hostname(consumer.machine));
            if faults.expiries > 0 && token.is_some() {
                steps.push(Step::Expire(number));
            }
        }
        if faults.additions > 0 {
            steps.push(Step::Add);
        }
        if state.app_bags.iter().any(Option::is_none) {
            steps.push(Step::Relate);
        }
        let is_at_rest = || state.leader.is_some() && self.is_at_rest(state);
        if faults.update_statuses > 0 && is_at_rest() {
            steps.push(Step::UpdateStatus);
        }
        steps
    }

    fn living_units_of<'a>(
        &'a self,
        state: &'a State,
        app: usize,
    ) -> impl Iterator<Item = u8> + 'a {
        let living = state.living_consumers();
        let of_app = living.filter(move |(_, consumer)| self.app(consumer) == app);
        of_app.map(|(number, _)| number)
    }

    fn is_at_rest(&self, state: &State) -> bool {
        let mut units = state.units();
        units.all(|unit| state.agent(unit).running.is_none() && self.due(state, unit).is_empty())
    }

    /// The hooks of which a unit's agent runs one next.
    pub fn due(&self, state: &State, unit: Unit) -> Vec<Hook> {
        let agent = state.agent(unit);
        if let Some(retry) = agent.retry {
            return vec![retry];
        }
        let mut due: Vec<Hook> = Vec::new();
        match unit {
            Unit::Distributor(number) => {
                let distributor = &state.distributors[usize::from(number)];
                if let Some(relation) = distributor.created.first() {
                    return vec![Hook::Created(*relation)];
                }
                if agent.elected {
                    return vec![Hook::Elected];
                }
                for (relation, _) in related(state) {
                    let remote = self.units_of(state, relation);
                    let alive = |unit| state.consumer(unit).alive;
                    due.extend(agent.due(relation, &remote, &alive));
                }
                due.extend(distributor.ledger_changed.then_some(Hook::LedgerChanged));
            }
            Unit::Consumer(number) => {
                let consumer = state.consumer(number);
                let relation = self.app(consumer);
                if !self.is_related(state, consumer) {
                    return Vec::new();
                }
                if consumer.created {
                    return vec![Hook::Created(relation)];
                }
                if agent.elected {
                    return vec![Hook::Elected];
                }
                let all: Vec<u8> = (0..).take(state.distributors.len()).collect();
                let alive = |d: u8| state.distributors[usize::from(d)].alive;
                due.extend(match agent.next_of_members(relation) {
                    None if consumer.app_changed => Some(Hook::Changed(relation, None)),
                    None => agent.due(relation, &all, &alive),
                    next => next,
                });
            }
        }
        due.extend(agent.update_status.then_some(Hook::UpdateStatus));
        due
    }

    /// What a step makes of a state.
    pub fn after(&self, state: &State, step: Step) -> State {
        let mut state = state.clone();
        match step {
            Step::Start(unit, hook) => {
                state.agent_mut(unit).take(hook);
                match unit {
                    Unit::Distributor(number) => self.run_distributor(&mut state, number, hook),
                    Unit::Consumer(number) => self.run_consumer(&mut state, number, hook),
                }
            }
            Step::End(unit) => self.end(&mut state, unit),
            Step::Fail(unit) => {
                match unit {
                    Unit::Distributor(_) => state.faults.failures -= 1,
                    Unit::Consumer(_) => state.faults.consumer_failures -= 1,
                }
                let agent = state.agent_mut(unit);
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
                state.add();
            }
            Step::Kill(number) => {
                state.faults.machines -= 1;
                state.cloud.kill(state.consumer(number).machine);
                state.lose_consumer(number);
                self.elect(&mut state);
            }
            Step::Redeploy(number) => {
                state.faults.redeployments -= 1;
                let machine = state.consumer(number).machine;
                state.cloud.leave(machine);
                state.lose_consumer(number);
                state.add_consumer(machine, self.is_second());
                self.elect(&mut state);
            }
            Step::Expire(number) => {
                state.faults.expiries -= 1;
                let name = hostname(state.consumer(number).machine);
                state.cloud.expire(&name);
            }
            Step::Relate => {
                for relation in 0..self.relations() {
                    if state.app_bags[relation].is_none() {
                        state.app_bags[relation] = Some(Bag::default());
                        for distributor in &mut state.distributors {
                            distributor.created.insert(relation);
                        }
                    }
                }
            }
            Step::UpdateStatus => {
                state.faults.update_statuses = state.faults.update_statuses.saturating_sub(1);
                state.update_statuses += 1;
                for unit in state.units().collect::<Vec<_>>() {
                    state.agent_mut(unit).update_status = true;
                }
            }
        }
        state
    }

    /// Much time passes in which nothing goes wrong: all tokens have expired, and update-status
    /// comes. The first protocol promises nothing where a token expires.
    pub fn after_a_while(&self, state: &State) -> State {
        let mut state = self.after(state, Step::UpdateStatus);
        if self.is_second() {
            state.cloud.expire_all();
        }
        state
    }

    /// What a fair schedule makes of a state, to its end.
    pub fn at_rest_after(&self, mut state: State) -> State {
        while let Some(next) = self.fair(&state) {
            state = next;
        }
        state
    }

    /// The next state in a schedule that is fair: each hook ends before the next one starts, and a
    /// hook that fails waits until nothing else is due.
    pub fn fair(&self, state: &State) -> Option<State> {
        if state.leader.is_none() {
            let step = match state.living().next() {
                Some((number, _)) => Step::Lead(number),
                None => Step::Add,
            };
            return Some(self.after(state, step));
        }
        if let Some(unit) = state.running() {
            return Some(self.after(state, Step::End(unit)));
        }
        let (retrying, others): (Vec<_>, Vec<_>) =
            state.units().partition(|unit| state.retries(*unit));
        for unit in others.into_iter().chain(retrying) {
            if let Some(hook) = self.due(state, unit).into_iter().next() {
                let next = self.after(state, Step::Start(unit, hook));
                // One that fails again changes nothing; others may.
                if next != *state {
                    return Some(next);
                }
            }
        }
        None
    }

    /// An application whose leader is gone gets another. One of the first protocol gets none: a new
    /// leader that has not heard of the cluster yet founds another, and no distributor can help it.
    fn elect(&self, state: &mut State) {
        if !self.is_second() {
            return;
        }
        for app in 0..self.relations() {
            let leader = state.consumer_leaders[app];
            if leader.is_some_and(|leader| state.consumer(leader).alive) {
                continue;
            }
            let next = self.living_units_of(state, app).next();
            state.consumer_leaders[app] = next;
            if let Some(next) = next {
                state.agent_mut(Unit::Consumer(next)).elected = true;
            }
        }
    }

    fn run_distributor(&self, state: &mut State, number: u8, hook: Hook) {
        let distributor = &mut state.distributors[usize::from(number)];
        match hook {
            Hook::Created(relation) => drop(distributor.created.remove(&relation)),
            Hook::LedgerChanged => distributor.ledger_changed = false,
            _ => {}
        }
        let ran = self
            .distributor_hooks
            .get(self.distributor_hook(state, number, hook), |hook| {
                self.distributor_ran(hook)
            });
        for consumer in ran.reads.iter() {
            let live = Bag::clone(&state.consumer(*consumer).bag);
            let distributor = &mut state.distributors[usize::from(number)];
            distributor.agent.reads(*consumer, live);
        }
        if !ran.is_ok {
            state.broken = Some(Broken::HookError);
        }
        let mut commit = Commit::default();
        for (id, writes) in ran.writes.iter() {
            let relation = index(*id);
            let app_bag = state.app_bags[relation].as_ref().expect("it is related");
            let unit_bag = &state.distributors[usize::from(number)].bags[relation];
            for (bag, changes, to) in [
                (app_bag, &writes.app, &mut commit.app),
                (unit_bag, &writes.unit, &mut commit.unit),
            ] {
                to.extend(written(bag, changes).map(|bag| (relation, bag)));
            }
        }
        commit.ledger = written(&state.ledger, &ran.ledger);
        let agent = state.agent_mut(Unit::Distributor(number));
        // Without writes, ending later shows nothing that starting the next hook later does not.
        agent.running = (commit != Commit::default()).then_some((hook, commit));
    }

    fn distributor_hook(&self, state: &State, number: u8, hook: Hook) -> DistributorHook {
        /// Between two update-status: longer than every pause of the nudge.
        const PAUSE: u64 = 12 * 60 * 60;

        let agent = state.agent(Unit::Distributor(number));
        let siblings = state.living();
        let shown = |(consumer, remote): (u8, &Consumer)| {
            let seen = agent.seen.get(&consumer).filter(|seen| seen.joined);
            let cached = seen.and_then(|seen| seen.cached.as_ref());
            Shown {
                app: self.app(remote),
                alive: remote.alive,
                joined: seen.is_some(),
                bag: Bag::clone(cached.unwrap_or(&remote.bag)),
            }
        };
        DistributorHook {
            hook,
            number,
            is_leader: state.leader == Some(number),
            now: 1000 + u64::from(state.update_statuses) * PAUSE,
            app_bags: state.app_bags.clone(),
            ledger: Bag::clone(&state.ledger),
            siblings: siblings
                .map(|(number, unit)| (number, unit.bags.clone()))
                .collect(),
            consumers: (0..).zip(&state.consumers).map(shown).collect(),
        }
    }

    fn distributor_ran(&self, hook: &DistributorHook) -> DistributorRan {
        let view = self.distributor_view(hook);
        let mut ran = one_hook::run(&view, &event(hook), hook.now);
        if let Some(rule) = self.setup.broken_rule {
            let changed = match hook.hook {
                Hook::Changed(_, Some(unit)) => Some(&*hook.consumers[usize::from(unit)].bag),
                _ => None,
            };
            let announcer = changed.and_then(broken_rules::announced);
            broken_rules::without(rule, &view, hook.hook, announcer, &mut ran);
        }
        let consumers = ran
            .reads
            .iter()
            .filter(|(_, unit)| unit.app() != DISTRIBUTOR);
        let number = |unit: &UnitName| unit.as_str().rsplit('/').next()?.parse().ok();
        DistributorRan {
            reads: Arc::new(consumers.filter_map(|(_, unit)| number(unit)).collect()),
            writes: Arc::new(ran.writes),
            ledger: Arc::new(ran.ledger),
            is_ok: ran.result.is_ok(),
        }
    }

    fn distributor_view(&self, hook: &DistributorHook) -> View {
        let mut relations = BTreeMap::new();
        for (relation, app_bag) in hook.app_bags.iter().enumerate() {
            let Some(app_bag) = app_bag else { continue };
            let mut view = RelationView {
                app: APPS[relation].to_owned(),
                own_app: app_bag.shared(),
                ..RelationView::default()
            };
            let mut expected = BTreeSet::new();
            let consumers = (0..).zip(&hook.consumers);
            for (number, consumer) in consumers.filter(|(_, consumer)| consumer.app == relation) {
                let unit = name(APPS[relation], number);
                if consumer.joined {
                    view.members.insert(unit.clone());
                }
                if consumer.alive {
                    expected.insert(unit.clone());
                }
                view.units.insert(unit, consumer.bag.shared());
            }
            view.expected = Some(expected);
            for (sibling, bags) in &hook.siblings {
                let bag = bags[relation].shared();
                view.units.insert(name(DISTRIBUTOR, *sibling), bag);
            }
            relations.insert(RelationId(relation as u64 + 1), view);
        }
        let siblings = hook.siblings.iter();
        View {
            unit: name(DISTRIBUTOR, hook.number),
            is_leader: hook.is_leader,
            relations,
            peers: [PEER].into(),
            ledger: Ok(hook.ledger.shared()),
            siblings: siblings
                .map(|(number, _)| name(DISTRIBUTOR, *number))
                .collect(),
            config: BTreeMap::new(),
            status: ("unknown".to_owned(), String::new()),
        }
    }

    fn run_consumer(&self, state: &mut State, number: u8, hook: Hook) {
        let app = self.app(state.consumer(number));
        let is_leader = state.consumer_leaders[app] == Some(number);
        let consumer = &mut state.consumers[usize::from(number)];
        match hook {
            Hook::Created(_) => consumer.created = false,
            Hook::Changed(_, None) => consumer.app_changed = false,
            _ => {}
        }
        let mut members = BTreeMap::new();
        for (distributor, seen) in &consumer.agent.seen {
            if seen.joined {
                let live = &state.distributors[usize::from(*distributor)].bags[app];
                let bag = seen.cached.as_ref().unwrap_or(live);
                members.insert(*distributor, Bag::clone(bag));
            }
        }
        let ran = self.consumer_hooks.get(
            ConsumerHook {
                hook,
                number,
                machine: consumer.machine,
                is_leader,
                members: members.clone(),
                app_bag: state.app_bags[app].clone().unwrap_or_default(),
                own: Bag::clone(&consumer.bag),
                memory: consumer.memory.clone(),
                cloud: state.cloud.clone(),
            },
            |hook| self.consumer_ran(app, hook),
        );
        state.cloud = ran.cloud;
        for distributor in ran.reads {
            consumer
                .agent
                .reads(distributor, Bag::clone(&members[&distributor]));
        }
        match ran.committed {
            // The first protocol's fail where one that was communicator meets a placeholder.
            None if self.is_second() => state.broken = Some(Broken::HookError),
            None => consumer.agent.retry = Some(hook),
            Some((bag, memory)) if bag == consumer.bag => consumer.memory = memory,
            Some((bag, memory)) => {
                let commit = Commit {
                    unit: [(app, bag)].into(),
                    memory: Some(memory),
                    ..Commit::default()
                };
                consumer.agent.running = Some((hook, commit));
            }
        }
    }

    fn consumer_ran(&self, app: usize, hook: &ConsumerHook) -> ConsumerRan {
        let mut members = hook.members.clone();
        let mut app_bag = Databag::clone(&hook.app_bag);
        if let Some(rule) = self.setup.broken_rule {
            broken_rules::consumer_reads(rule, &mut members, &mut app_bag);
        }
        let view = consumer::View {
            release: self.setup.release,
            unit: name(APPS[app], hook.number).to_string(),
            machine: hook.machine,
            is_leader: hook.is_leader,
            members: &members,
            app_bag: Arc::new(app_bag),
            own: hook.own.shared(),
        };
        let event = match hook.hook {
            Hook::Created(_) => consumer::Event::Created,
            Hook::Elected => consumer::Event::Elected,
            Hook::Joined(_, unit) => consumer::Event::Joined(unit),
            Hook::Changed(_, unit) => consumer::Event::Changed(unit),
            Hook::Departed(_, unit) => consumer::Event::Departed(unit),
            Hook::UpdateStatus => consumer::Event::UpdateStatus,
            Hook::LedgerChanged => unreachable!("consumers are no peers of the distributor"),
        };
        let mut cloud = hook.cloud.clone();
        let mut ran = consumer::run(&view, event, &hook.memory, &mut cloud);
        if let (Some(rule), Some((bag, _))) = (self.setup.broken_rule, &mut ran.committed) {
            broken_rules::consumer_writes(rule, &hook.own, bag);
        }
        ConsumerRan {
            committed: ran.committed.map(|(bag, memory)| (bag.into(), memory)),
            reads: ran.reads,
            cloud,
        }
    }

    /// A hook ends: all its bags are committed together, or none.
    fn end(&self, state: &mut State, unit: Unit) {
        let Some((hook, commit)) = state.agent_mut(unit).running.take() else {
            return;
        };
        match unit {
            Unit::Distributor(number) => {
                let needs_to_lead = !commit.app.is_empty() || commit.ledger.is_some();
                if needs_to_lead && state.leader != Some(number) {
                    // Juju checks the lease at the commit and drops everything.
                    state.agent_mut(unit).retry = Some(hook);
                    return;
                }
                self.commit(state, number, commit);
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

    fn commit(&self, state: &mut State, number: u8, commit: Commit) {
        for (relation, bag) in commit.app {
            let clustered = state.cloud.clusters() > 0;
            let held = state.app_bags[relation].replace(Bag::clone(&bag));
            let held = held.unwrap_or_default();
            let named = held.get(BOOTSTRAP_APP);
            if clustered && named.is_some() && named != bag.get(BOOTSTRAP_APP) {
                state.broken = Some(Broken::BootstrapAppChanged);
            }
            for consumer in self.units_of(state, relation) {
                let consumer = &mut state.consumers[usize::from(consumer)];
                consumer.app_changed = consumer.alive;
            }
        }
        for (relation, bag) in commit.unit {
            state.notice_early_step_down(number, relation, &bag);
            state.distributors[usize::from(number)].bags[relation] = bag;
            for consumer in self.units_of(state, relation) {
                let consumer = &mut state.consumers[usize::from(consumer)];
                consumer.agent.hears_of(number);
            }
        }
        if let Some(ledger) = commit.ledger {
            state.notice_losses(&ledger);
            state.ledger = ledger;
            // Juju tells every unit of the application, the writer too.
            for distributor in &mut state.distributors {
                distributor.ledger_changed = distributor.alive;
            }
            self.run_own_echo(state, number);
        }
        state.notice_bags_that_differ(number);
    }

    /// The writer hears of its own ledger. A hook that reads the ledger alone, and nothing in it but
    /// its own unit's name, does the same whenever it runs until the next one is due; so it runs at
    /// once, unless it writes.
    fn run_own_echo(&self, state: &mut State, number: u8) {
        let hook = self.distributor_hook(state, number, Hook::LedgerChanged);
        let ran = self
            .distributor_hooks
            .get(hook, |hook| self.distributor_ran(hook));
        let writes = !ran.writes.is_empty() || !ran.ledger.is_empty();
        if state.is_led_in_the_ledger_by(number) && ran.is_ok && !writes {
            state.distributors[usize::from(number)].ledger_changed = false;
        }
    }

    /// The consumers that should be members by now, and are not.
    pub fn outside<'a>(&'a self, state: &'a State) -> impl Iterator<Item = u8> + 'a {
        let related = state
            .living_consumers()
            .filter(|(_, consumer)| self.is_related(state, consumer));
        related
            .filter(|(_, consumer)| {
                let is_member = state.cloud.is_member(consumer.machine);
                let joined = consumer.memory.in_cluster && is_member;
                !joined && !self.is_out_of_reach(state, consumer)
            })
            .map(|(number, _)| number)
    }

    /// No distributor can mend it: nobody lives who could mint a token, or, in the first protocol,
    /// the host's one token names dead members only or died with the machine that minted it.
    fn is_out_of_reach(&self, state: &State, consumer: &Consumer) -> bool {
        if state.cloud.clusters() > 0 && state.cloud.living() == 0 {
            return true;
        }
        if self.is_second() {
            return false;
        }
        let host = hostname(consumer.machine);
        let key = mirror_key(&host);
        let token = state.ledger.get(&key).map(|value| Value::from(&**value));
        let token = token.as_ref().and_then(Value::text);
        let is_shown = |token: &str| {
            let mut living = state.living_consumers();
            living.any(|(_, consumer)| consumer.bag.get(&key).is_some_and(|held| held == token))
        };
        // It expires after three hours; there is no time here.
        let outstanding = state.cloud.outstanding(&host);
        let died = token.is_none() && outstanding.is_some_and(|token| !is_shown(token));
        died || token.is_some_and(|token| state.cloud.answering(token).is_none())
    }
}

fn related(state: &State) -> impl Iterator<Item = (usize, &Bag)> {
    let bags = (0..).zip(&state.app_bags);
    bags.filter_map(|(relation, bag)| Some((relation, bag.as_ref()?)))
}

/// The bag with the changes, if that is another.
fn written(bag: &Databag, changes: &Changes) -> Option<Bag> {
    let mut written = bag.clone();
    apply(&mut written, changes);
    (written != *bag).then(|| written.into())
}

fn event(hook: &DistributorHook) -> one_hook::Event {
    let relation = |kind, relation: usize, unit: Option<u8>| {
        let unit = unit.map(|unit| name(APPS[relation], unit).to_string());
        one_hook::Event::Relation(kind, relation as u64 + 1, unit)
    };
    match hook.hook {
        Hook::Created(of) => relation("created", of, None),
        Hook::Elected => one_hook::Event::Plain("leader-elected"),
        Hook::Joined(of, unit) => relation("joined", of, Some(unit)),
        Hook::Changed(of, unit) => relation("changed", of, unit),
        Hook::Departed(of, unit) => relation("departed", of, Some(unit)),
        Hook::LedgerChanged => one_hook::Event::Peer("changed", PEER.0, None),
        Hook::UpdateStatus => one_hook::Event::Plain("update-status"),
    }
}

fn name(app: &str, number: u8) -> UnitName {
    format!("{app}/{number}").parse().expect("a unit name")
}

fn index(id: RelationId) -> usize {
    usize::try_from(id.0).expect("a small number") - 1
}

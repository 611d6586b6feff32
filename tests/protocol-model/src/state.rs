//! Everything that differs between two moments, and what must hold in each.

use std::collections::{BTreeMap, BTreeSet};

use microcluster_token_distributor::core::ledger::Ledger;
use microcluster_token_distributor::core::wire::{
    BOOTSTRAP_APP, DOWN, Databag, GUARD, MAY_BOOTSTRAP, MIRROR, PLACEHOLDER, Value, is_up,
    mirror_values,
};

use crate::bag::Bag;
use crate::cloud::{Cloud, hostname};
use crate::consumer::{DISTRIBUTOR, Memory};
use crate::setup::Faults;

/// Everything that differs between two moments.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct State {
    pub(crate) distributors: Vec<Distributor>,
    pub(crate) consumers: Vec<Consumer>,
    /// The distributor's application bags, by relation; `None` before it exists.
    pub(crate) app_bags: Vec<Option<Bag>>,
    /// The distributor's application bag of the peer relation.
    pub(crate) ledger: Bag,
    /// The distributor's leader.
    pub(crate) leader: Option<u8>,
    /// The leaders of the consumers' applications.
    pub(crate) consumer_leaders: Vec<Option<u8>>,
    pub(crate) cloud: Cloud,
    pub(crate) faults: Faults,
    /// How often update-status has come for every unit.
    pub(crate) update_statuses: u8,
    pub(crate) broken: Option<Broken>,
}

/// A promise that a step broke.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Broken {
    /// A value became a placeholder or went, or a token that still serves was replaced.
    ValueLost,
    /// The leader's unit bag shows another mirror than the ledger that it committed with it, but
    /// for hosts that wait for their turn.
    LedgerNotShown,
    /// A former leader went down before another mirror was up, or kept more than the guard.
    DownTooEarly,
    /// The bootstrap application changed though there was a cluster.
    BootstrapAppChanged,
    /// A distributor hook ended in an error by itself, or one of a consumer of the second protocol.
    HookError,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Distributor {
    pub(crate) alive: bool,
    /// Relations whose relation-created is due.
    pub(crate) created: BTreeSet<usize>,
    /// `cluster-relation-changed` is due.
    pub(crate) ledger_changed: bool,
    /// Its unit bags, by relation. They outlive it.
    pub(crate) bags: Vec<Bag>,
    pub(crate) agent: Agent,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Consumer {
    pub(crate) alive: bool,
    /// The machine's number, from which its host name comes. A redeployed unit has the one of the
    /// unit before it.
    pub(crate) machine: u8,
    pub(crate) bag: Bag,
    pub(crate) memory: Memory,
    /// relation-created is due, to which the first protocol's consumers say nothing.
    pub(crate) created: bool,
    pub(crate) app_changed: bool,
    pub(crate) agent: Agent,
}

/// What a unit's agent does and knows.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct Agent {
    /// Remote units, by number.
    pub(crate) seen: BTreeMap<u8, Seen>,
    /// leader-elected is due.
    pub(crate) elected: bool,
    /// update-status is due.
    pub(crate) update_status: bool,
    /// The hook that runs, with what it will commit.
    pub(crate) running: Option<(Hook, Commit)>,
    /// A hook that failed and runs again before any other.
    pub(crate) retry: Option<Hook>,
}

/// What an agent knows of one remote unit.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct Seen {
    pub(crate) joined: bool,
    /// relation-changed follows relation-joined at once.
    just_joined: bool,
    changed: bool,
    departed: bool,
    /// The bag as it was when a hook first read it. It is shown until the unit's next hook.
    pub(crate) cached: Option<Bag>,
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
    /// relation-changed of the peer relation, for the ledger
    LedgerChanged,
    /// update-status
    UpdateStatus,
}

/// What a hook has written and not committed: whole bags, as the agent sends them.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct Commit {
    pub(crate) app: BTreeMap<usize, Bag>,
    pub(crate) unit: BTreeMap<usize, Bag>,
    pub(crate) ledger: Option<Bag>,
    pub(crate) memory: Option<Memory>,
}

/// A unit of either side.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Unit {
    /// One of the distributor's.
    Distributor(u8),
    /// A consumer's.
    Consumer(u8),
}

/// What must hold.
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
            !permits && self.mirrors_up(relation) > 0
        })
    }

    /// Whether more than one application may bootstrap, in the words of either protocol.
    pub fn permits_two_applications(&self) -> bool {
        let bags = || self.app_bags.iter().flatten();
        let named: BTreeSet<_> = bags().filter_map(|bag| bag.get(BOOTSTRAP_APP)).collect();
        let words = bags().filter_map(|bag| bag.get(MAY_BOOTSTRAP));
        named.len() > 1 || words.filter(|word| *word == "true").count() > 1
    }

    /// Whether one mirror is up in each relation, as it must be at rest.
    pub fn shows_one_mirror(&self) -> bool {
        let relations = (0..).zip(&self.app_bags).filter(|(_, bag)| bag.is_some());
        relations
            .map(|(relation, _)| self.mirrors_up(relation))
            .all(|up| up == 1)
    }

    /// Whether a token of a living host stands in a bag of a living unit or in the ledger. The token
    /// of a host that is gone stays, for nobody says that it does not serve.
    pub fn shows_a_token(&self) -> bool {
        let distributors = self.living().flat_map(|(_, unit)| &unit.bags);
        let consumers = self.living_consumers().map(|(_, consumer)| &consumer.bag);
        let hosts = self.living_consumers();
        let hosts: BTreeSet<String> = hosts
            .map(|(_, consumer)| hostname(consumer.machine))
            .collect();
        distributors
            .chain(consumers)
            .chain([&self.ledger])
            .any(|bag| tokens(bag).any(|(name, _)| hosts.contains(name)))
    }

    fn mirrors_up(&self, relation: usize) -> usize {
        let bags = self.living().map(|(_, unit)| &unit.bags[relation]);
        bags.filter(|bag| is_up(bag)).count()
    }

    /// Looks at the ledger that a commit is about to replace.
    pub(crate) fn notice_losses(&mut self, now: &Databag) {
        let held = self.ledger.clone();
        for (name, token) in tokens(&held) {
            let is_lost = match mirror_values(now).find(|(other, _)| *other == name) {
                None | Some((_, PLACEHOLDER)) => true,
                Some((_, value)) => value != token && self.cloud.is_live(name, token),
            };
            if is_lost {
                self.broken = Some(Broken::ValueLost);
            }
        }
    }

    /// Looks at a unit bag that a commit is about to replace.
    pub(crate) fn notice_early_step_down(&mut self, number: u8, relation: usize, now: &Databag) {
        let units = || (0..).zip(&self.distributors);
        let bag = |unit: &Distributor| Bag::clone(&unit.bags[relation]);
        let (mut own, others): (Vec<_>, Vec<_>) = units().partition(|(unit, _)| *unit == number);
        let was_up = own.pop().is_some_and(|(_, unit)| is_up(&bag(unit)));
        if !was_up || is_up(now) {
            return;
        }
        // Another leader's bag counts although its machine may be lost by now.
        let is_replaced = others.iter().any(|(_, unit)| is_up(&bag(unit)));
        let keeps_the_guard_alone = now
            .iter()
            .all(|(key, value)| key == GUARD || key == MIRROR && value == DOWN);
        if !is_replaced || !keeps_the_guard_alone {
            self.broken = Some(Broken::DownTooEarly);
        }
    }

    /// Whether the ledger names this unit as the one that published last.
    pub(crate) fn is_led_in_the_ledger_by(&self, number: u8) -> bool {
        let leader = self.ledger.get("leader");
        leader.and_then(|leader| leader.split(' ').next())
            == Some(&format!("{DISTRIBUTOR}/{number}"))
    }

    /// Compares the leader's unit bags with the ledger.
    pub(crate) fn notice_bags_that_differ(&mut self, number: u8) {
        let leads = self.is_led_in_the_ledger_by(number);
        let bags = &self.distributors[usize::from(number)].bags;
        let listed = (0..)
            .zip(bags)
            .filter(|(relation, _)| is_listed(&self.ledger, *relation));
        let mut listed = listed.map(|(_, bag)| bag);
        // A token whose host waits for its turn is in the ledger and not shown.
        let held = Ledger::from(Databag::clone(&self.ledger)).queue;
        let is_shown = |(name, _): &(&str, &str)| !held.iter().any(|waits| waits == name);
        let shown = || mirror_values(&self.ledger).filter(is_shown);
        if leads && listed.any(|bag| !mirror_values(bag).eq(shown())) {
            self.broken = Some(Broken::LedgerNotShown);
        }
    }
}

fn is_listed(ledger: &Databag, relation: usize) -> bool {
    ledger.contains_key(&format!("relation-{}", relation + 1))
}

/// The mirror's tokens, with the names of their hosts.
pub(crate) fn tokens(bag: &Databag) -> impl Iterator<Item = (&str, &str)> {
    mirror_values(bag).filter(|(_, value)| Value::from(*value).text().is_some())
}

/// Who is there, and what is next for them.
impl State {
    /// The units whose hook runs.
    pub fn running(&self) -> Option<Unit> {
        self.units()
            .find(|unit| self.agent(*unit).running.is_some())
    }

    /// All living units, the distributor's first.
    pub fn units(&self) -> impl Iterator<Item = Unit> {
        let distributors = self.living().map(|(number, _)| Unit::Distributor(number));
        let consumers = self.living_consumers();
        distributors.chain(consumers.map(|(number, _)| Unit::Consumer(number)))
    }

    /// Whether a unit's last hook failed.
    pub fn retries(&self, unit: Unit) -> bool {
        self.agent(unit).retry.is_some()
    }

    pub(crate) fn living(&self) -> impl Iterator<Item = (u8, &Distributor)> {
        (0..)
            .zip(&self.distributors)
            .filter(|(_, distributor)| distributor.alive)
    }

    pub(crate) fn living_consumers(&self) -> impl Iterator<Item = (u8, &Consumer)> {
        (0..)
            .zip(&self.consumers)
            .filter(|(_, consumer)| consumer.alive)
    }

    pub(crate) fn consumer(&self, number: u8) -> &Consumer {
        &self.consumers[usize::from(number)]
    }

    pub(crate) fn agent(&self, unit: Unit) -> &Agent {
        match unit {
            Unit::Distributor(number) => &self.distributors[usize::from(number)].agent,
            Unit::Consumer(number) => &self.consumer(number).agent,
        }
    }

    pub(crate) fn agent_mut(&mut self, unit: Unit) -> &mut Agent {
        match unit {
            Unit::Distributor(number) => &mut self.distributors[usize::from(number)].agent,
            Unit::Consumer(number) => &mut self.consumers[usize::from(number)].agent,
        }
    }

    pub(crate) fn lead(&mut self, number: u8) {
        self.leader = Some(number);
        for (other, distributor) in (0..).zip(&mut self.distributors) {
            distributor.agent.elected = other == number;
        }
    }

    pub(crate) fn lose(&mut self, number: u8) {
        let distributor = &mut self.distributors[usize::from(number)];
        distributor.alive = false;
        distributor.agent = Agent::default();
        distributor.ledger_changed = false;
        distributor.created.clear();
        if self.leader == Some(number) {
            self.leader = None;
        }
        for consumer in &mut self.consumers {
            consumer.agent.loses(number);
        }
    }

    pub(crate) fn add(&mut self) {
        let related = (0..).zip(&self.app_bags).filter(|(_, bag)| bag.is_some());
        self.distributors.push(Distributor {
            alive: true,
            created: related.map(|(relation, _)| relation).collect(),
            ledger_changed: !self.ledger.is_empty(),
            bags: vec![Bag::default(); self.app_bags.len()],
            agent: Agent::default(),
        });
    }

    /// A new unit on a machine of this number.
    pub(crate) fn add_consumer(&mut self, machine: u8, hears_created: bool) {
        self.consumers.push(Consumer {
            alive: true,
            machine,
            bag: Bag::default(),
            memory: Memory::default(),
            created: hears_created,
            app_changed: false,
            agent: Agent::default(),
        });
    }

    pub(crate) fn lose_consumer(&mut self, number: u8) {
        let consumer = &mut self.consumers[usize::from(number)];
        consumer.alive = false;
        consumer.agent = Agent::default();
        consumer.created = false;
        consumer.app_changed = false;
        for distributor in &mut self.distributors {
            distributor.agent.loses(number);
        }
    }
}

impl Agent {
    /// The next hook among units that have joined and what comes before all others.
    pub(crate) fn next_of_members(&self, relation: usize) -> Option<Hook> {
        let find = |is: fn(&Seen) -> bool| {
            let found = self.seen.iter().find(|(_, seen)| is(seen));
            found.map(|(unit, _)| *unit)
        };
        find(|seen| seen.just_joined)
            .map(|unit| Hook::Changed(relation, Some(unit)))
            .or_else(|| find(|seen| seen.departed).map(|unit| Hook::Departed(relation, unit)))
    }

    /// The next hook of a relation, but for a change of the application bag.
    pub(crate) fn due(
        &self,
        relation: usize,
        remote: &[u8],
        alive: &dyn Fn(u8) -> bool,
    ) -> Option<Hook> {
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
    pub(crate) fn take(&mut self, hook: Hook) {
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
            Hook::Elected => self.elected = false,
            Hook::UpdateStatus => self.update_status = false,
            _ => {}
        }
    }

    pub(crate) fn reads(&mut self, unit: u8, bag: Bag) {
        if let Some(seen) = self.seen.get_mut(&unit).filter(|seen| seen.joined) {
            seen.cached.get_or_insert(bag);
        }
    }

    pub(crate) fn hears_of(&mut self, unit: u8) {
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

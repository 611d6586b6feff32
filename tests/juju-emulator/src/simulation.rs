//! One scenario played to its end on the virtual clock, and what came of it.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use microcluster_token_distributor::core::wire::{self, Value};
use microovn::consumer::Release;
use microovn::microcluster::{self, is_valid_name};
use serde::Serialize;

use crate::clock::{Happened, Pace, Timeline};
use crate::deployment::{DISTRIBUTOR, Deployment, DeploymentError, Outcome, Provider, Setup};
use crate::names::{RelationId, UnitName};
use crate::python::Rules;
use crate::record::Detail;

/// What is played.
#[derive(Clone, Debug)]
pub struct Scenario {
    /// What is deployed.
    pub setup: Setup,
    /// How long things take.
    pub pace: Pace,
    /// When applications are related.
    pub relate: Relate,
    /// When hosts come.
    pub arrival: Arrival,
    /// How long after the first relation all consumers are refreshed, and to which.
    pub refresh: Option<(Duration, Release)>,
    /// What goes wrong while the first hosts join.
    pub troubles: Vec<Trouble>,
    /// What happens once everybody has joined, one after the other.
    pub acts: Vec<Act>,
    /// How long after the last host has come a host may be without a cluster.
    pub patience: Duration,
}

/// When applications are related.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Relate {
    /// All in one instant, when every machine is up and idle.
    Together,
    /// When every machine is up, with so much time between two.
    InTurn(Duration),
    /// With the deployment, before any machine is up. Machines come up within so much time.
    AtDeployment(Duration),
}

/// When hosts come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Arrival {
    /// All are there when their application is related.
    Burst,
    /// One is, and the others are added one by one, with so much time between two.
    Trickle(Duration),
}

/// Something that goes wrong while hosts join.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Trouble {
    /// Members cannot reach one host: each of its joins fails.
    WrongNetwork,
    /// A host announces itself, and its agent does nothing any more.
    AgentDown,
    /// Half of the hosts have joined, and the machine of the leading distributor dies with its
    /// mirror up.
    LoseDistributor,
    /// Half of the hosts have joined, and the communicator's machine dies. A person removes its
    /// member at once.
    LoseCommunicator,
    /// Half of the hosts have joined, and a member's machine dies. Its member is removed ten
    /// minutes later.
    DeadMember,
}

/// Something that happens to a cluster. Each ends with a host that has to join.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Act {
    /// Two hosts come, and the communicator dies before it has answered them.
    KillCommunicator,
    /// The machine of the distributor's leader is lost, and Juju does not learn it: its mirror
    /// stays up.
    KillDistributor,
    /// All relations are removed, and made anew.
    RemakeRelations,
    /// A unit leaves, and another comes on a machine of the same host name.
    Redeploy,
    /// A machine dies, and a unit comes on another machine of the same host name. Half an hour
    /// later a person removes the dead member.
    RedeployLost,
    /// A host announces itself and is off until its token has expired.
    ExpireToken,
}

/// What came of it. Everything is counted from the first relation on.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Report {
    /// The seed it follows from.
    pub seed: u64,
    /// Separate clusters; more than one is a split.
    pub clusters: usize,
    /// Consumer units that are there.
    pub hosts: usize,
    /// Of these, members of a cluster.
    pub joined: usize,
    /// Hosts that cannot join, whatever anybody does.
    pub excused: usize,
    /// What the clusters counted.
    pub cluster: microcluster::Tally,
    /// Seconds from the first relation, or from the last act, until the last one's hook that joined
    /// ended, if all did.
    pub seconds: Option<f64>,
    /// Hooks of consumers.
    pub consumer_hooks: usize,
    /// Of these, failed ones.
    pub consumer_crashes: usize,
    /// Of these, by consumers that know the second protocol.
    pub second_protocol_failures: usize,
    /// Consumer units that are in error at the end.
    pub stuck: usize,
    /// Hooks of the distributor.
    pub provider_hooks: usize,
    /// Of these, failed ones.
    pub provider_crashes: usize,
    /// Hooks of the distributor that changed a databag before everybody had joined.
    pub writes_until_joined: usize,
    /// Hook tools that the distributor called.
    pub provider_calls: usize,
    /// Bytes in the databag of the distributor that was ever the fullest.
    pub largest_bag: usize,
    /// Tokens that their host could have joined with when the distributor stopped showing them.
    pub live_tokens_replaced: usize,
    /// Tokens in the distributor's databags ten minutes after the last host joined, or at the end.
    /// Among them are those of a unit whose machine is lost, which cannot be removed.
    pub tokens_left: usize,
    /// The same in the databags of consumers that know the second protocol.
    pub consumer_tokens_left: usize,
}

impl Report {
    /// One cluster, and everybody in it who can be.
    pub fn is_one_cluster(&self) -> bool {
        self.clusters == 1 && self.joined + self.excused >= self.hosts
    }
}

/// Hears everything that happens, for people who want to see it.
pub type Listener<'a> = dyn FnMut(Duration, &Happened<'_>, &Deployment) + 'a;

/// All at once and in no trouble, as on real machines.
impl From<Setup> for Scenario {
    fn from(setup: Setup) -> Self {
        Scenario {
            setup,
            pace: Pace::default(),
            relate: Relate::Together,
            arrival: Arrival::Burst,
            refresh: None,
            troubles: Vec::new(),
            acts: Vec::new(),
            patience: Duration::from_secs(3600),
        }
    }
}

impl Scenario {
    /// Plays it.
    pub fn play(&self) -> Result<Report, DeploymentError> {
        self.play_to(Detail::Counts, &mut |_, _, _| {})
    }

    /// Plays it before a listener.
    pub fn play_to(
        &self,
        detail: Detail,
        listener: &mut Listener<'_>,
    ) -> Result<Report, DeploymentError> {
        let first = match self.arrival {
            Arrival::Burst => self.setup.units,
            Arrival::Trickle(_) => 1,
        };
        let setup = Setup {
            units: first,
            ..self.setup.clone()
        };
        let mut deployment = setup.deploy()?;
        deployment.world.set_detail(detail);
        let mut timeline = Timeline::new(deployment, self.pace());
        let settled = self.relate(&mut timeline)?;
        let last_host = self.let_hosts_come(&mut timeline, settled);
        if let Some((after, release)) = self.refresh {
            timeline.plan(settled + after, move |deployment| {
                deployment.refresh_consumers(release)
            });
        }
        let mut play = Play {
            tally: Tally::new(self.setup.apps * self.setup.units, settled),
            timeline,
            patience: self.patience,
            listener,
        };
        for trouble in &self.troubles {
            play.trouble(*trouble)?;
        }
        play.follow(last_host.max(play.timeline.now()))?;
        for act in &self.acts {
            play.act(*act)?;
        }
        play.end()
    }

    fn pace(&self) -> Pace {
        let mut pace = self.pace.clone();
        if let Provider::Python(_) = self.setup.distributor {
            pace.distributor = Rules::STARTUP;
        }
        pace
    }

    /// Relates the applications, now or as a plan, and returns the time of the first relation.
    fn relate(&self, timeline: &mut Timeline) -> Result<Duration, DeploymentError> {
        let between = match self.relate {
            Relate::AtDeployment(spread) => {
                timeline.deployment.relate_all()?;
                timeline.start_within(spread);
                return Ok(Duration::ZERO);
            }
            Relate::Together => Duration::ZERO,
            Relate::InTurn(between) => between,
        };
        timeline.run(Duration::MAX, |_, _, _| false)?;
        let settled = timeline.now();
        let apps = timeline.deployment.apps().to_vec();
        for (app, turn) in apps.into_iter().zip(0..) {
            timeline.plan(settled + between * turn, move |deployment| {
                deployment.relate(&app).map(drop)
            });
        }
        Ok(settled)
    }

    /// Plans what is to come and returns when the last one does.
    fn let_hosts_come(&self, timeline: &mut Timeline, from: Duration) -> Duration {
        let mut at = from;
        if let Relate::InTurn(between) = self.relate {
            at += between * u32::try_from(self.setup.apps).unwrap_or(u32::MAX);
        }
        if let Arrival::Trickle(between) = self.arrival {
            for app in timeline.deployment.apps().to_vec() {
                for _ in 1..self.setup.units {
                    at += between;
                    let app = app.clone();
                    timeline.plan(at, move |deployment| deployment.add_unit(&app).map(drop));
                }
            }
        }
        at
    }
}

/// A scenario under way.
struct Play<'a, 'b> {
    timeline: Timeline,
    tally: Tally,
    patience: Duration,
    listener: &'a mut Listener<'b>,
}

impl Play<'_, '_> {
    /// Lets time pass until things are as wanted, or until `limit`.
    fn until(
        &mut self,
        limit: Duration,
        mut wanted: impl FnMut(&Tally, &Deployment) -> bool,
    ) -> Result<(), DeploymentError> {
        self.timeline.run_on(limit, |now, happened, deployment| {
            (self.listener)(now, &happened, deployment);
            self.tally.note(now, &happened, deployment);
            wanted(&self.tally, deployment)
        })
    }

    /// Lets time pass until nothing but update-status is due, or until `limit`.
    fn rest(&mut self, limit: Duration) -> Result<(), DeploymentError> {
        self.timeline.run(limit, |now, happened, deployment| {
            (self.listener)(now, &happened, deployment);
            self.tally.note(now, &happened, deployment);
            false
        })
    }

    /// Lets time pass until everybody has joined and all is calm; patience begins at `from`.
    fn follow(&mut self, from: Duration) -> Result<(), DeploymentError> {
        let limit = from + self.patience;
        loop {
            self.rest(limit)?;
            if self.tally.joined_at.is_some() || self.timeline.now() >= limit {
                return Ok(());
            }
            self.until(limit, |tally, _| tally.joined_at.is_some())?;
        }
    }

    /// Waits for the moment of a trouble, and makes it.
    fn trouble(&mut self, trouble: Trouble) -> Result<(), DeploymentError> {
        let limit = self.timeline.now() + self.patience;
        match trouble {
            Trouble::WrongNetwork => {
                if let Some(unit) = self.follower() {
                    self.timeline.deployment.set_wrong_network(&unit)?;
                    self.tally.excuse();
                }
            }
            Trouble::AgentDown => {
                if let Some(unit) = self.follower() {
                    self.tally.excuse();
                    self.until(limit, |_, deployment| has_announced(deployment, &unit))?;
                    self.timeline.turn_off(&unit, Duration::MAX);
                }
            }
            Trouble::LoseDistributor => {
                self.until(limit, half_have_joined)?;
                self.lose_leader();
            }
            Trouble::LoseCommunicator => {
                self.until(limit, half_have_joined)?;
                if let Some(unit) = self.timeline.deployment.communicator()? {
                    self.timeline.deployment.lose(unit.as_str())?;
                    self.tally.expected -= 1;
                }
            }
            Trouble::DeadMember => {
                self.until(limit, half_have_joined)?;
                let deployment = &mut self.timeline.deployment;
                let communicator = deployment.communicator()?;
                let units = deployment.consumer_units().into_iter();
                let mut members = units.filter(|unit| deployment.is_member(unit));
                if let Some(unit) = members.find(|unit| Some(unit) != communicator.as_ref()) {
                    let hostname = deployment.hostname(unit.as_str());
                    deployment.lose_machine(unit.as_str())?;
                    self.tally.expected -= 1;
                    let removed = self.timeline.now() + Duration::from_secs(10 * 60);
                    self.timeline.plan(removed, move |deployment| {
                        for other in deployment.consumer_units() {
                            deployment.remove_member(&other, &hostname)?;
                        }
                        Ok(())
                    });
                }
            }
        }
        Ok(())
    }

    /// The youngest unit that does not lead its application: it bootstraps nothing.
    fn follower(&self) -> Option<UnitName> {
        let deployment = &self.timeline.deployment;
        let mut units = deployment.consumer_units().into_iter().rev();
        units.find(|unit| !deployment.world.model().is_leader(unit))
    }

    /// The machine of the leading distributor dies with its mirror up. Juju shows its unit and its
    /// databags on, and gives its leadership to another.
    fn lose_leader(&mut self) {
        let now = self.timeline.now();
        if let Some(leader) = self.timeline.deployment.leader() {
            self.timeline.turn_off(&leader, Duration::MAX);
        }
        self.timeline.plan(now + LEASE, |deployment| {
            if deployment.world.model().units_of(DISTRIBUTOR).len() == 1 {
                deployment.world.add_unit(DISTRIBUTOR)?;
            }
            Ok(deployment.world.lose_leadership(DISTRIBUTOR)?)
        });
    }

    /// Plays an act, and waits for those who have to join after it.
    fn act(&mut self, act: Act) -> Result<(), DeploymentError> {
        let app = self.timeline.deployment.apps()[0].clone();
        let from = match act {
            Act::KillCommunicator => self.kill_communicator(&app)?,
            Act::KillDistributor => self.kill_distributor(&app)?,
            Act::RemakeRelations => self.remake_relations(&app)?,
            Act::Redeploy => self.redeploy(&app)?,
            Act::RedeployLost => self.redeploy_lost(&app)?,
            Act::ExpireToken => self.expire_token(&app)?,
        };
        self.follow(from)
    }

    /// From now on so many hosts are expected to be members.
    fn expect(&mut self, hosts: usize) -> Duration {
        let now = self.timeline.now();
        self.tally.expect(hosts - self.tally.report.excused, now);
        now
    }

    fn hosts(&self) -> usize {
        self.timeline.deployment.consumer_units().len()
    }

    fn kill_communicator(&mut self, app: &str) -> Result<Duration, DeploymentError> {
        for _ in 0..2 {
            self.timeline.deployment.add_unit(app)?;
        }
        self.expect(self.hosts());
        self.until(self.timeline.now() + self.patience, |_, deployment| {
            somebody_waits(deployment)
        })?;
        if let Some(communicator) = self.timeline.deployment.communicator()? {
            self.timeline.deployment.lose(communicator.as_str())?;
        }
        Ok(self.expect(self.hosts()))
    }

    fn kill_distributor(&mut self, app: &str) -> Result<Duration, DeploymentError> {
        let now = self.expect(self.hosts() + 1);
        self.lose_leader();
        Ok(self.add_unit_later(app, now + 2 * LEASE))
    }

    fn remake_relations(&mut self, app: &str) -> Result<Duration, DeploymentError> {
        let from = self.expect(self.hosts() + 1);
        let deployment = &mut self.timeline.deployment;
        for app in deployment.apps().to_vec() {
            if let Some(id) = deployment.relation(&app) {
                deployment.world.remove_relation(id)?;
                deployment.forget_relation(&app);
            }
        }
        self.rest(from + self.patience)?;
        self.timeline.deployment.relate_all()?;
        let now = self.timeline.now();
        Ok(self.add_unit_later(app, now + Duration::from_secs(60)))
    }

    fn add_unit_later(&mut self, app: &str, at: Duration) -> Duration {
        let app = app.to_owned();
        self.timeline
            .plan(at, move |deployment| deployment.add_unit(&app).map(drop));
        at
    }

    /// The youngest unit that is no communicator: what becomes of it needs no other unit.
    fn somebody(&self, app: &str) -> Result<Option<UnitName>, DeploymentError> {
        let deployment = &self.timeline.deployment;
        let communicator = deployment.communicator()?;
        let mut units = deployment.world.model().units_of(app).into_iter().rev();
        Ok(units.find(|unit| Some(unit) != communicator.as_ref()))
    }

    fn redeploy(&mut self, app: &str) -> Result<Duration, DeploymentError> {
        let Some(leaves) = self.somebody(app)? else {
            return Ok(self.timeline.now());
        };
        let hostname = self.timeline.deployment.hostname(leaves.as_str());
        self.timeline
            .deployment
            .world
            .remove_unit(leaves.as_str())?;
        let is_gone = |_: &Tally, deployment: &Deployment| {
            let units = deployment.world.model().units_of(leaves.application());
            !units.contains(&leaves)
        };
        self.until(self.timeline.now() + self.patience, is_gone)?;
        self.timeline.deployment.redeploy(app, &hostname)?;
        Ok(self.expect(self.hosts()))
    }

    fn redeploy_lost(&mut self, app: &str) -> Result<Duration, DeploymentError> {
        let Some(lost) = self.somebody(app)? else {
            return Ok(self.timeline.now());
        };
        let deployment = &mut self.timeline.deployment;
        let hostname = deployment.hostname(lost.as_str());
        deployment.lose_machine(lost.as_str())?;
        deployment.redeploy(app, &hostname)?;
        let now = self.expect(self.hosts());
        let removed = now + Duration::from_secs(30 * 60);
        self.timeline.plan(removed, move |deployment| {
            if let Some(member) = deployment.communicator()? {
                deployment.remove_member(&member, &hostname)?;
            }
            Ok(())
        });
        Ok(removed)
    }

    fn expire_token(&mut self, app: &str) -> Result<Duration, DeploymentError> {
        /// A little more than a token lives.
        const OFF: Duration = Duration::from_secs(10_800 + 600);

        let unit = self.timeline.deployment.add_unit(app)?;
        let now = self.expect(self.hosts());
        self.until(now + self.patience, |_, deployment| {
            has_announced(deployment, &unit)
        })?;
        let on = self.timeline.now() + OFF;
        self.timeline.turn_off(&unit, on);
        Ok(on)
    }

    /// What came of it, once second thoughts had their time.
    fn end(mut self) -> Result<Report, DeploymentError> {
        /// Two rounds of update-status.
        const LATER: Duration = Duration::from_secs(10 * 60);

        let mut report = self.tally.report(&self.timeline.deployment)?;
        if let Some(joined_at) = self.tally.joined_at {
            let listener = &mut self.listener;
            let later = joined_at + LATER;
            self.timeline.run_on(later, |now, happened, deployment| {
                listener(now, &happened, deployment);
                false
            })?;
        }
        (report.tokens_left, report.consumer_tokens_left) = tokens_left(&self.timeline.deployment);
        Ok(report)
    }
}

/// Tokens in the distributor's databags, and in those of consumers that know the second protocol.
fn tokens_left(deployment: &Deployment) -> (usize, usize) {
    let count = |bag: &BTreeMap<String, String>| tokens(bag).count();
    let (mut ours, mut theirs) = (0, 0);
    for relation in deployment.world.model().relations.values() {
        for side in &relation.sides {
            let members = side.members.iter();
            if side.app.as_str() == DISTRIBUTOR {
                ours += count(&side.app_bag.content);
                ours += members
                    .map(|(_, member)| count(&member.bag.content))
                    .sum::<usize>();
            } else {
                theirs += members
                    .filter(|(unit, _)| deployment.release_of(unit) == Some(Release::Second))
                    .map(|(_, member)| count(&member.bag.content))
                    .sum::<usize>();
            }
        }
    }
    (ours, theirs)
}

/// The join tokens of a bag: host name and token.
fn tokens(bag: &BTreeMap<String, String>) -> impl Iterator<Item = (&str, &str)> {
    let values = wire::mirror_values(bag);
    values.filter(|(name, value)| {
        matches!(Value::from(*value), Value::Text(_)) && is_valid_name(name)
    })
}

/// Bytes in the fullest of the databags that a unit of the distributor writes.
fn largest_bag(deployment: &Deployment, unit: &UnitName) -> usize {
    let size = |bag: &BTreeMap<String, String>| -> usize {
        bag.iter().map(|(key, value)| key.len() + value.len()).sum()
    };
    let apps = deployment.apps().iter();
    let relations = apps.filter_map(|app| deployment.relation(app));
    let bags = relations.flat_map(|id| {
        let unit = deployment.world.unit_bag(id, unit.as_str());
        [unit, deployment.world.app_bag(id, DISTRIBUTOR)]
    });
    let bags = bags.chain([deployment.ledger_bag()]);
    bags.map(|bag| size(&bag)).max().unwrap_or_default()
}

/// Until Juju gives a silent unit's leadership to another.
const LEASE: Duration = Duration::from_secs(42);

fn has_announced(deployment: &Deployment, unit: &UnitName) -> bool {
    deployment.relation(unit.application()).is_some_and(|id| {
        let bag = deployment.world.unit_bag(id, unit.as_str());
        bag.contains_key(wire::HOSTNAME)
    })
}

fn half_have_joined(tally: &Tally, deployment: &Deployment) -> bool {
    let outcome = deployment.outcome();
    outcome.is_ok_and(|outcome| 2 * outcome.joined >= tally.expected)
}

fn somebody_waits(deployment: &Deployment) -> bool {
    deployment.leader().is_some_and(|leader| {
        let relations = deployment
            .apps()
            .iter()
            .filter_map(|app| deployment.relation(app));
        relations
            .map(|id| deployment.world.unit_bag(id, leader.as_str()))
            .any(|bag| {
                bag.iter()
                    .any(|(key, value)| key.starts_with("mirror-") && value == "empty")
            })
    })
}

struct Tally {
    report: Report,
    expected: usize,
    from: Duration,
    /// Units whose open hook made them members.
    joining: BTreeSet<UnitName>,
    /// What was last known of the clusters' size and the number of hosts.
    known: (usize, usize),
    /// When the last one's hook that joined ended.
    joined_at: Option<Duration>,
    /// The tokens that distributors showed last: relation, name, token.
    offered: BTreeSet<(RelationId, String, String)>,
}

impl Tally {
    fn new(expected: usize, from: Duration) -> Self {
        Tally {
            report: Report::default(),
            expected,
            from,
            joining: BTreeSet::new(),
            known: (0, 0),
            joined_at: None,
            offered: BTreeSet::new(),
        }
    }

    /// From now on, so many members are waited for.
    fn expect(&mut self, hosts: usize, now: Duration) {
        self.expected = hosts;
        self.from = now;
        self.joined_at = None;
        self.report.seconds = None;
    }

    /// One host cannot join, whatever anybody does.
    fn excuse(&mut self) {
        self.expected -= 1;
        self.report.excused += 1;
    }

    fn note(&mut self, now: Duration, happened: &Happened<'_>, deployment: &Deployment) {
        let run = match happened {
            Happened::Began(unit, _) | Happened::Resumed(unit) => {
                let members = deployment
                    .with_cloud(|cloud| cloud.members())
                    .unwrap_or_default();
                if members > self.known.0 && unit.application() != DISTRIBUTOR {
                    self.joining.insert((*unit).clone());
                }
                self.known.0 = members;
                return;
            }
            Happened::Ended(run) => run,
        };
        if run.wrote && run.unit.application() == DISTRIBUTOR {
            self.note_replaced(deployment);
        }
        let crash = usize::from(run.failure.is_some());
        let report = &mut self.report;
        if run.unit.application() == DISTRIBUTOR {
            report.provider_hooks += 1;
            report.provider_crashes += crash;
            report.provider_calls += run.tool_calls.len();
            report.writes_until_joined += usize::from(run.wrote && self.joined_at.is_none());
            if run.wrote {
                report.largest_bag = report.largest_bag.max(largest_bag(deployment, &run.unit));
            }
            return;
        }
        report.consumer_hooks += 1;
        if deployment.release_of(&run.unit) == Some(Release::Second) {
            report.second_protocol_failures += crash;
        }
        report.consumer_crashes += crash;
        self.joining.remove(&run.unit);
        if self.joined_at.is_none() && self.known.0 >= self.expected && self.joining.is_empty() {
            let outcome = deployment.outcome();
            if outcome.is_ok_and(|outcome| outcome.joined >= self.expected) {
                self.joined_at = Some(now);
                self.report.seconds = Some((now - self.from).as_secs_f64());
            }
        }
    }

    /// Remembers the tokens that a hook has shown.
    /// Counts the tokens that have gone from all of the distributor's bags in a relation, although
    /// their host could still have joined with them.
    fn note_replaced(&mut self, deployment: &Deployment) {
        let now = deployment.clock.now();
        let apps = deployment.apps().iter();
        let relations: BTreeSet<RelationId> =
            apps.filter_map(|app| deployment.relation(app)).collect();
        let mut offered = BTreeSet::new();
        for &id in &relations {
            for unit in deployment.world.model().units_of(DISTRIBUTOR) {
                let bag = deployment.world.unit_bag(id, unit.as_str());
                let tokens =
                    tokens(&bag).map(|(name, token)| (id, name.to_owned(), token.to_owned()));
                offered.extend(tokens);
            }
        }
        // A relation that was removed takes its tokens along.
        let gone = self.offered.difference(&offered);
        let replaced = gone.filter(|(id, name, token)| {
            let live = deployment.with_cloud(|cloud| cloud.is_live(name, token, now));
            relations.contains(id) && live.unwrap_or_default()
        });
        self.report.live_tokens_replaced += replaced.count();
        self.offered = offered;
    }

    fn report(&self, deployment: &Deployment) -> Result<Report, DeploymentError> {
        let Outcome {
            clusters,
            hosts,
            joined,
        } = deployment.outcome()?;
        let units = deployment.world.status();
        let stuck = units
            .iter()
            .filter(|unit| unit.unit.application() != DISTRIBUTOR && unit.agent == "error");
        Ok(Report {
            stuck: stuck.count(),
            seed: deployment.world.seed(),
            clusters,
            hosts,
            joined,
            cluster: deployment.with_cloud(|cloud| cloud.tally())?,
            ..self.report.clone()
        })
    }
}

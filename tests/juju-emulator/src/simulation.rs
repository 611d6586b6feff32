//! One scenario played to its end on the virtual clock, and what came of it.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use microcluster_token_distributor::databag::{self, is_real};
use serde::Serialize;

use crate::clock::{Happened, Pace, Timeline};
use crate::deployment::{DISTRIBUTOR, Deployment, DeploymentError, Outcome, Provider, Setup};
use crate::names::UnitName;
use crate::python::Rules;
use crate::record::{Detail, HookRun};

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
    /// The communicator dies while hosts wait for it, and two more hosts have just come.
    pub communicator_dies: bool,
    /// How long after the last host has come somebody may be without a cluster.
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
    /// Seconds until the last one's hook that joined ended, if all did.
    pub seconds: Option<f64>,
    /// Hooks of consumers.
    pub consumer_hooks: usize,
    /// Of these, failed ones.
    pub consumer_crashes: Crashes,
    /// Consumer units that are in error at the end.
    pub stuck: usize,
    /// Hooks of the distributor.
    pub provider_hooks: usize,
    /// Of these, failed ones.
    pub provider_crashes: usize,
    /// Hooks of the distributor that changed a databag before everybody had joined.
    pub writes_until_joined: usize,
    /// Hooks of the distributor that changed a databag.
    pub provider_writes: usize,
    /// Hook tools that the distributor called.
    pub provider_calls: usize,
    /// Hook tools that consumers called.
    pub consumer_calls: usize,
    /// Bytes in the fullest databag of the distributor's leader.
    pub largest_bag: usize,
}

/// Consumer hooks that failed, by what was known of the token that they missed when they began.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Crashes {
    /// Nobody had minted it: only who shows no placeholder at all prevents these.
    pub unanswered: usize,
    /// It stood in the communicator's bag, and the distributor's next hook had not ended.
    pub under_way: usize,
    /// The distributor showed it, and Juju gave the consumer an older view.
    pub old_view: usize,
    /// They failed for another reason.
    pub other: usize,
}

impl Crashes {
    /// All of them.
    #[must_use]
    pub fn all(&self) -> usize {
        self.unanswered + self.under_way + self.old_view + self.other
    }
}

impl Report {
    /// One cluster, and everybody in it.
    #[must_use]
    pub fn is_one_cluster(&self) -> bool {
        self.clusters == 1 && self.joined == self.hosts
    }
}

/// Hears everything that happens, for people who want to see it.
pub type Listener<'a> = dyn FnMut(Duration, &Happened<'_>, &Deployment) + 'a;

impl Scenario {
    /// Plays it.
    ///
    /// # Errors
    /// Something cannot be deployed.
    pub fn play(&self) -> Result<Report, DeploymentError> {
        self.play_to(Detail::Counts, &mut |_, _, _| {})
    }

    /// Plays it before a listener.
    ///
    /// # Errors
    /// Something cannot be deployed.
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

        let mut tally = Tally::new(self.setup.apps * self.setup.units, settled);
        let limit = last_host + self.patience;
        tally.follow(&mut timeline, limit, listener)?;
        if self.communicator_dies {
            tally = self.kill_communicator(&mut timeline, listener)?;
        }
        tally.report(&timeline.deployment)
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

    /// Two hosts come; as soon as they have placeholders, who should answer them dies.
    fn kill_communicator(
        &self,
        timeline: &mut Timeline,
        listener: &mut Listener<'_>,
    ) -> Result<Tally, DeploymentError> {
        let app = timeline.deployment.apps()[0].clone();
        for _ in 0..2 {
            timeline.deployment.add_unit(&app)?;
        }
        timeline.run_on(
            timeline.now() + self.patience,
            |now, happened, deployment| {
                listener(now, &happened, deployment);
                somebody_waits(deployment)
            },
        )?;
        if let Some(communicator) = timeline.deployment.communicator()? {
            timeline.deployment.lose(communicator.as_str())?;
        }
        let from = timeline.now();
        let hosts = timeline.deployment.consumer_units().len();
        let mut tally = Tally::new(hosts, from);
        tally.follow(timeline, from + self.patience, listener)?;
        Ok(tally)
    }
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

/// The key whose token a former communicator looked for in its own bag.
fn missed_key(run: &HookRun) -> Option<String> {
    let (_, key) = run.complaint.as_ref()?.rsplit_once("KeyError: '")?;
    let (key, _) = key.split_once('\'')?;
    Some(key.to_owned())
}

struct Tally {
    report: Report,
    /// Since when a consumer, and the distributor, have shown a token.
    minted: BTreeMap<String, Duration>,
    shown: BTreeMap<String, Duration>,
    expected: usize,
    from: Duration,
    /// Units whose open hook made them members.
    joining: BTreeSet<UnitName>,
    /// What was last known of the clusters' size and the number of hosts.
    known: (usize, usize),
    all_joined: bool,
}

impl Tally {
    fn new(expected: usize, from: Duration) -> Self {
        Tally {
            report: Report::default(),
            minted: BTreeMap::new(),
            shown: BTreeMap::new(),
            expected,
            from,
            joining: BTreeSet::new(),
            known: (0, 0),
            all_joined: false,
        }
    }

    fn follow(
        &mut self,
        timeline: &mut Timeline,
        limit: Duration,
        listener: &mut Listener<'_>,
    ) -> Result<(), DeploymentError> {
        loop {
            timeline.run(limit, |now, happened, deployment| {
                listener(now, &happened, deployment);
                self.note(now, &happened, deployment);
                false
            })?;
            if self.all_joined || timeline.now() >= limit {
                return Ok(());
            }
            timeline.run_on(limit, |now, happened, deployment| {
                listener(now, &happened, deployment);
                self.note(now, &happened, deployment);
                self.all_joined
            })?;
        }
    }

    fn note(&mut self, now: Duration, happened: &Happened<'_>, deployment: &Deployment) {
        let run = match happened {
            Happened::Began(unit, _) => {
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
        self.note_tokens(now, run, deployment);
        let crash = usize::from(run.failure.is_some());
        let report = &mut self.report;
        if run.unit.application() == DISTRIBUTOR {
            report.provider_hooks += 1;
            report.provider_crashes += crash;
            report.provider_calls += run.tool_calls.len();
            report.provider_writes += usize::from(run.wrote);
            report.writes_until_joined += usize::from(run.wrote && !self.all_joined);
            return;
        }
        report.consumer_hooks += 1;
        if crash > 0 {
            let known = |at: Option<&Duration>| at.is_some_and(|at| *at <= run.started);
            let crashes = &mut report.consumer_crashes;
            *match missed_key(run) {
                None => &mut crashes.other,
                Some(key) if known(self.shown.get(&key)) => &mut crashes.old_view,
                Some(key) if known(self.minted.get(&key)) => &mut crashes.under_way,
                Some(_) => &mut crashes.unanswered,
            } += 1;
        }
        report.consumer_calls += run.tool_calls.len();
        self.joining.remove(&run.unit);
        if !self.all_joined && self.known.0 >= self.expected && self.joining.is_empty() {
            let outcome = deployment.outcome();
            self.all_joined = outcome.is_ok_and(|outcome| outcome.joined >= self.expected);
            if self.all_joined {
                self.report.seconds = Some((now - self.from).as_secs_f64());
            }
        }
    }

    /// Remembers the tokens that a hook has shown.
    fn note_tokens(&mut self, now: Duration, run: &HookRun, deployment: &Deployment) {
        if !run.wrote {
            return;
        }
        let known = if run.unit.application() == DISTRIBUTOR {
            &mut self.shown
        } else {
            &mut self.minted
        };
        for app in deployment.apps() {
            let Some(id) = deployment.relation(app) else {
                continue;
            };
            let bag = deployment.world.unit_bag(id, run.unit.as_str());
            for (key, _) in databag::mirror_of(&bag).filter(|(_, value)| is_real(value)) {
                if !known.contains_key(key) {
                    known.insert(key.to_owned(), now);
                }
            }
        }
    }

    fn report(self, deployment: &Deployment) -> Result<Report, DeploymentError> {
        let Outcome {
            clusters,
            hosts,
            joined,
        } = deployment.outcome()?;
        let size = |bag: &BTreeMap<String, String>| -> usize {
            bag.iter().map(|(key, value)| key.len() + value.len()).sum()
        };
        let leader = deployment.leader();
        let relations = deployment
            .apps()
            .iter()
            .filter_map(|app| deployment.relation(app));
        let bags = relations.flat_map(|id| {
            let unit = leader
                .iter()
                .map(move |unit| deployment.world.unit_bag(id, unit.as_str()));
            unit.chain([deployment.world.app_bag(id, DISTRIBUTOR)])
        });
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
            largest_bag: bags.map(|bag| size(&bag)).max().unwrap_or_default(),
            ..self.report
        })
    }
}

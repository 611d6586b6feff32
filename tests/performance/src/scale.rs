//! Deployments of many hosts on the virtual clock.

use std::collections::BTreeMap;
use std::time::Duration;

use juju_emulator::Detail;
use juju_emulator::clock::{Happened, Pace};
use juju_emulator::deployment::{DISTRIBUTOR, DeploymentError, Provider, Setup};
use juju_emulator::parallel;
use juju_emulator::python::Rules;
use juju_emulator::record::HookRun;
use juju_emulator::simulation::{Arrival, Report, Scenario};
use microovn::microcluster::Settings;
use serde::{Deserialize, Serialize};

/// The time between two hosts of a trickle.
pub const BETWEEN: Duration = Duration::from_secs(30);

/// Which distributor.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Who {
    /// This charm.
    Ours,
    /// The rules of the Python charm's library version 0.8.
    Pe,
}

/// Plays of one kind to be made.
#[derive(Clone, Copy, Debug)]
pub struct Plays {
    /// Which distributor.
    pub who: Who,
    /// How many hosts.
    pub hosts: usize,
    /// How often.
    pub seeds: u64,
}

/// How often hooks of one kind ran per host, and what they called.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct HookKind {
    /// Hooks per host.
    pub hooks: f64,
    /// Calls per host.
    pub tools: BTreeMap<String, f64>,
}

/// What came of plays of one kind. Numbers are medians.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Figure {
    /// Which distributor.
    pub who: Who,
    /// How many hosts.
    pub hosts: usize,
    /// How often it was played.
    pub plays: usize,
    /// Of these, how often one cluster of all hosts came of it.
    pub one_cluster: usize,
    /// Seconds until everybody had joined, where everybody did.
    pub seconds: Option<f64>,
    /// Hooks of the distributor that wrote before everybody had joined.
    pub writes: f64,
    /// Hooks of the distributor.
    pub provider_hooks: f64,
    /// Hook tools that it called, per host.
    pub calls_per_host: f64,
    /// Hooks of consumers.
    pub consumer_hooks: f64,
    /// Of these, failed ones.
    pub consumer_crashes: f64,
    /// The distributor's calls by kind of hook, over all plays.
    pub by_hook: BTreeMap<String, HookKind>,
}

/// All plays.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Scale {
    /// By hosts and distributor.
    pub figures: Vec<Figure>,
}

/// What is played for `PERFORMANCE.md`: hosts that come one by one. What becomes of hosts that
/// come at once, `simulate` shows. Plays of the Python charm are long, so there are fewer, and none
/// of a thousand hosts.
pub fn all_plays() -> Vec<Plays> {
    let mut plays = Vec::new();
    for hosts in [3, 10, 30, 100, 300] {
        for who in [Who::Ours, Who::Pe] {
            let seeds = match (who, hosts) {
                (Who::Ours, ..=100) => 5,
                (Who::Pe, ..=100) => 3,
                _ => 1,
            };
            plays.push(Plays { who, hosts, seeds });
        }
    }
    plays
}

/// Enough to see that it works.
pub fn few_plays() -> Vec<Plays> {
    let play = |who| {
        [3, 10].map(|hosts| Plays {
            who,
            hosts,
            seeds: 1,
        })
    };
    [Who::Ours, Who::Pe].into_iter().flat_map(play).collect()
}

/// Plays them, so many at a time, or one on each core. `told` hears of each that has ended.
pub fn measure(
    plays: &[Plays],
    jobs: Option<usize>,
    told: impl Fn(&Plays, &Report) + Sync,
) -> Result<Scale, DeploymentError> {
    let single: Vec<(usize, u64)> = (0..plays.len())
        .flat_map(|at| (0..plays[at].seeds).map(move |seed| (at, seed)))
        .collect();
    let played = parallel::each(&single, jobs, |&(at, seed)| {
        let one = plays[at].play(seed);
        one.inspect(|one| told(&plays[at], &one.report))
    });

    let mut groups: Vec<Vec<Played>> = plays.iter().map(|_| Vec::new()).collect();
    for ((at, _), one) in single.into_iter().zip(played) {
        groups[at].push(one?);
    }
    let figures = plays.iter().zip(&groups);
    Ok(Scale {
        figures: figures.map(|(plays, group)| plays.figure(group)).collect(),
    })
}

struct Played {
    report: Report,
    by_hook: BTreeMap<String, HookKind>,
}

impl Plays {
    fn play(&self, seed: u64) -> Result<Played, DeploymentError> {
        let setup = Setup {
            seed,
            units: self.hosts,
            distributor: match self.who {
                Who::Ours => Provider::Library,
                Who::Pe => Provider::Python(Rules::E),
            },
            cluster: Settings::tidy(),
            ..Setup::default()
        };
        let scenario = Scenario {
            pace: Pace::tidy(),
            arrival: Arrival::Trickle(BETWEEN),
            ..setup.into()
        };
        let mut by_hook: BTreeMap<String, HookKind> = BTreeMap::new();
        let report = scenario.play_to(Detail::Counts, &mut |_, happened, _| {
            if let Happened::Ended(run) = happened
                && run.unit.application() == DISTRIBUTOR
            {
                let kind = by_hook.entry(kind(run)).or_default();
                kind.hooks += 1.0;
                for call in &run.tool_calls {
                    *kind.tools.entry(call.tool.clone()).or_default() += 1.0;
                }
            }
        })?;
        Ok(Played { report, by_hook })
    }

    fn figure(&self, played: &[Played]) -> Figure {
        let median = |figure: &dyn Fn(&Report) -> f64| {
            let mut figures: Vec<f64> = played.iter().map(|one| figure(&one.report)).collect();
            figures.sort_by(f64::total_cmp);
            figures.get(figures.len() / 2).copied().unwrap_or_default()
        };
        let everybody = played.iter().all(|one| one.report.seconds.is_some());
        let mut by_hook: BTreeMap<String, HookKind> = BTreeMap::new();
        let share = 1.0 / (played.len() * self.hosts) as f64;
        for (name, kind) in played.iter().flat_map(|one| &one.by_hook) {
            let sum = by_hook.entry(name.clone()).or_default();
            sum.hooks += kind.hooks * share;
            for (tool, calls) in &kind.tools {
                *sum.tools.entry(tool.clone()).or_default() += calls * share;
            }
        }
        Figure {
            who: self.who,
            hosts: self.hosts,
            plays: played.len(),
            one_cluster: played
                .iter()
                .filter(|one| one.report.is_one_cluster())
                .count(),
            seconds: everybody.then(|| median(&|report| report.seconds.unwrap_or_default())),
            writes: median(&|report| report.writes_until_joined as f64),
            provider_hooks: median(&|report| report.provider_hooks as f64),
            calls_per_host: median(&|report| report.provider_calls as f64 / self.hosts as f64),
            consumer_hooks: median(&|report| report.consumer_hooks as f64),
            consumer_crashes: median(&|report| report.consumer_crashes as f64),
            by_hook,
        }
    }
}

fn kind(run: &HookRun) -> String {
    let name = run.hook.strip_prefix("microcluster-cluster-");
    let name = name.unwrap_or(&run.hook);
    let news = match (name, run.wrote) {
        ("relation-joined" | "relation-changed", true) => ", news",
        ("relation-joined" | "relation-changed", false) => ", nothing new",
        _ => "",
    };
    format!("{name}{news}")
}

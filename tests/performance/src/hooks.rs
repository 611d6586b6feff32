//! Whole hooks: the real executable in the emulated model, every hook tool at a price.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use juju_emulator::agent::Hook;
use juju_emulator::charm::{CallTool, Charm, Metadata};
use juju_emulator::deployment::DISTRIBUTOR;
use juju_emulator::record::HookRun;
use juju_emulator::world::Begun;
use juju_emulator::{Detail, JujuGeneration, RelationId, World};
use microcluster_token_distributor::core::wire::{HOSTNAME, MIRROR, UP, mirror_key};
use microovn::layout;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use tempfile::TempDir;

use crate::Measured;
use crate::executable::{Build, Taken, charm, put_under_meter, read_report};
use crate::worlds::hostname;

const APP: &str = "microovn";

/// As long as a real token with one member's address.
pub const TOKEN: usize = 264;

/// The Python charm in a hook with nothing new: units, milliseconds, hook-tool calls. Hook
/// tools took 1 ms. Measured once, on another machine.
pub const REFERENCE: [(usize, f64, usize); 3] =
    [(3, 224.0, 10), (100, 296.0, 107), (1000, 1203.0, 1007)];

/// A hook, run many times.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Figure {
    /// Hook-tool calls.
    pub calls: usize,
    /// The fastest run, in milliseconds.
    pub fastest: f64,
    /// Half of the runs were at most as long.
    pub median: f64,
}

/// All hooks at one size.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Size {
    /// Consumer units.
    pub units: usize,
    /// Bytes in the application databag.
    pub bag: usize,
    /// relation-changed of a unit, with nothing new.
    pub nothing_new: Figure,
    /// As many processes that do nothing, and what the hook tools cost: milliseconds, a median of
    /// runs in between.
    pub least: f64,
    /// leader-elected: a look at everything.
    pub everything: Figure,
    /// The executable alone, nothing new. Processor time is the least and memory the most of many.
    pub alone: Taken,
}

/// Everything about hooks.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Hooks {
    /// What every hook tool costs on top of its process, in milliseconds.
    pub tool_ms: f64,
    /// Bytes of the executable.
    pub executable: u64,
    /// By number of units.
    pub sizes: Vec<Size>,
}

/// Measures hooks with so many units each, and so often.
pub fn measure(units: &[usize], tool: Duration, runs: usize, build: Build) -> Measured<Hooks> {
    let executable = build.executable()?;
    let sizes = units.iter().map(|&units| {
        let folder = TempDir::new()?;
        let mut bench = Bench::new(units, &executable, folder.path())?;
        bench.measure(tool, runs)
    });
    Ok(Hooks {
        tool_ms: tool.as_secs_f64() * 1e3,
        executable: fs::metadata(&executable)?.len(),
        sizes: sizes.collect::<Measured<_>>()?,
    })
}

/// A model in which every token is mirrored.
struct Bench {
    world: World,
    relation: RelationId,
    units: usize,
    report: PathBuf,
}

impl Bench {
    fn new(units: usize, executable: &Path, folder: &Path) -> Measured<Self> {
        let mut world = World::new(JujuGeneration::Four, 0);
        world.set_detail(Detail::Counts);
        world.set_deadline(Duration::from_secs(600));
        world.deploy(APP, &announcers(units)?, units, &[])?;
        let real = charm(executable, &folder.join("charm"))?;
        // How units join does not matter, so it is not observed. What is shown already takes no turn.
        let blind = Charm::in_process((*real.metadata).clone(), move |_| {
            move |environment: &BTreeMap<String, String>, tools: &mut CallTool<'_>| {
                let variable = |name: &str| environment.get(name).map_or("", String::as_str);
                match variable("JUJU_HOOK_NAME") {
                    "microcluster-cluster-relation-created" => {
                        says(tokens(units), &variable, tools)
                    }
                    _ => 0,
                }
            }
        });
        world.deploy(DISTRIBUTOR, &blind, 1, &[])?;
        let [own, remote] = [
            format!("{DISTRIBUTOR}:microcluster-cluster"),
            format!("{APP}:cluster"),
        ];
        let relation = world.integrate(&own, &remote)?;
        let mut bench = Bench {
            world,
            relation,
            units,
            report: folder.join("report"),
        };
        bench.world.settle(1_000 + 100 * units)?;
        bench.install(&real)?;
        let first = bench.world.run_hook(&leader(), Hook::LeaderElected)?;
        match first.wrote {
            true => Ok(bench),
            false => Err(bench.unexpected(&first.hook, "it writes nothing")),
        }
    }

    /// Puts the real charm in place, and runs none of the hooks of a refresh: each would
    /// look at everything.
    fn install(&mut self, charm: &Charm) -> Measured<()> {
        self.world.refresh(DISTRIBUTOR, charm)?;
        let (leader, _) = self.world.model().unit(&leader())?;
        match self.world.begin(&leader) {
            Begun::Internal => Ok(()),
            Begun::Nothing | Begun::Open(_) => {
                let what = "the agent does not take the other charm first";
                Err(self.unexpected("upgrade-charm", what))
            }
        }
    }

    fn unexpected(&self, hook: &str, what: &str) -> Box<dyn std::error::Error + Send + Sync> {
        format!(
            "{hook} at {} units is not what is to be measured: {what}",
            self.units
        )
        .into()
    }

    fn measure(&mut self, tool: Duration, runs: usize) -> Measured<Size> {
        self.world.set_tool_cost(tool);
        let (mut nothing_new, mut least) = (Vec::new(), Vec::new());
        for run in 0..runs {
            let run = self.nothing_new(run)?;
            least.push(least_time(run.tool_calls.len(), tool)?.as_secs_f64() * 1e3);
            nothing_new.push(run);
        }
        let mut everything = Vec::new();
        for _ in 0..runs.div_ceil(10) {
            let run = self.world.run_hook(&leader(), Hook::LeaderElected)?;
            everything.push(self.silent(run)?);
        }

        if let Some(places) = self.world.places(&leader()) {
            put_under_meter(&places.charm, &self.report)?;
        }
        self.world.set_tool_cost(Duration::ZERO);
        for run in 0..runs {
            self.nothing_new(run)?;
        }
        let taken = read_report(&self.report)?;
        Ok(Size {
            units: self.units,
            bag: self.bag(),
            nothing_new: figure(&nothing_new),
            least: spread(least).1,
            everything: figure(&everything),
            alone: Taken {
                processor: taken.iter().filter_map(|taken| taken.processor).min(),
                memory: taken
                    .iter()
                    .map(|taken| taken.memory)
                    .max()
                    .unwrap_or_default(),
            },
        })
    }

    fn nothing_new(&mut self, run: usize) -> Measured<HookRun> {
        let remote = format!("{APP}/{}", run % self.units);
        let run = self
            .world
            .run_changed(&leader(), self.relation, Some(&remote))?;
        self.silent(run)
    }

    /// A hook that fails or writes is not the one whose cost is of interest.
    fn silent(&mut self, run: HookRun) -> Measured<HookRun> {
        self.world.clear_history();
        let what = match &run.failure {
            Some(failure) => format!("{failure}: {}", run.stderr_text()),
            None if run.wrote => "it writes".to_owned(),
            None => return Ok(run),
        };
        Err(self.unexpected(&run.hook, &what))
    }

    fn bag(&self) -> usize {
        let bag = self.world.app_bag(self.relation, DISTRIBUTOR);
        bag.iter().map(|(key, value)| key.len() + value.len()).sum()
    }
}

fn leader() -> String {
    format!("{DISTRIBUTOR}/0")
}

/// The shell that is `dispatch`, the executable and each hook tool, if none of them had to do
/// anything.
fn least_time(calls: usize, tool: Duration) -> std::io::Result<Duration> {
    let began = Instant::now();
    for _ in 0..2 + calls {
        Command::new("true").status()?;
    }
    Ok(began.elapsed() + tool * u32::try_from(calls).unwrap_or(u32::MAX))
}

fn figure(runs: &[HookRun]) -> Figure {
    let times = runs.iter().map(|run| run.duration.as_secs_f64() * 1e3);
    let (fastest, median) = spread(times.collect());
    let calls = runs.iter().map(|run| run.tool_calls.len());
    Figure {
        calls: calls.max().unwrap_or_default(),
        fastest,
        median,
    }
}

/// The least and the median.
fn spread(mut figures: Vec<f64>) -> (f64, f64) {
    figures.sort_by(f64::total_cmp);
    let at = |at: usize| figures.get(at).copied().unwrap_or_default();
    (at(0), at(figures.len() / 2))
}

/// Consumers that only announce themselves; the first has tokens for all.
fn announcers(units: usize) -> Measured<Charm> {
    let metadata = Metadata::parse(layout::METADATA, "", "")?;
    Ok(Charm::in_process(metadata, move |unit| {
        let number = unit.number() as usize;
        move |environment: &BTreeMap<String, String>, tools: &mut CallTool<'_>| {
            let variable = |name: &str| environment.get(name).map_or("", String::as_str);
            if variable("JUJU_HOOK_NAME") != "cluster-relation-joined" {
                return 0;
            }
            let mut bag = match number {
                0 => tokens(units),
                _ => Map::new(),
            };
            bag.insert(HOSTNAME.to_owned(), Value::String(hostname(number)));
            says(bag, &variable, tools)
        }
    }))
}

/// A mirror that is up, with a token for each host.
fn tokens(units: usize) -> Map<String, Value> {
    let text = |text: &str| Value::String(text.to_owned());
    let tokens = (0..units).map(|of| (mirror_key(&hostname(of)), text(&"t".repeat(TOKEN))));
    tokens.chain([(MIRROR.to_owned(), text(UP))]).collect()
}

/// Writes into the unit's own bag of the relation that the hook is about.
fn says<'a>(
    bag: Map<String, Value>,
    variable: &impl Fn(&str) -> &'a str,
    tools: &mut CallTool<'_>,
) -> i32 {
    let arguments = ["-r", variable("JUJU_RELATION_ID"), "--file", "-"];
    let document = Value::Object(bag).to_string();
    let arguments = arguments.map(str::to_owned);
    tools("relation-set", &arguments, Some(document.as_bytes())).code
}

//! The pure core: its time, and its memory as the executable beside this one
//! counts it.

use std::hint::black_box;
use std::process::Command;
use std::time::{Duration, Instant};

use juju_emulator::executables::executable;
use serde::{Deserialize, Serialize};

use crate::Measured;
use crate::worlds::World;

/// How long one thing takes, in milliseconds.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub struct Time {
    /// The fastest run.
    pub fastest: f64,
    /// Half of the runs were at most as long.
    pub median: f64,
}

/// The memory of the core, in bytes.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub struct Footprint {
    /// Of which facts.
    pub world: World,
    /// Of how many units.
    pub units: usize,
    /// What the facts take.
    pub input: usize,
    /// What deciding and encoding take at their peak, the plan included and the facts not.
    pub added: usize,
}

impl Footprint {
    /// How many times the input is needed on top of it.
    pub fn ratio(&self) -> f64 {
        self.added as f64 / self.input as f64
    }
}

/// One decision.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub struct Decision {
    /// How long it takes.
    pub time: Time,
    /// What it needs.
    pub memory: Footprint,
}

/// Everything about the core.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Core {
    /// By facts and then by number of units.
    pub decisions: Vec<Decision>,
}

/// Measures it for so many units each, and each thing for so long.
pub fn measure(units: &[usize], each: Duration) -> Measured<Core> {
    let decisions = footprints(units)?.into_iter().map(|memory| {
        let facts = memory.world.facts(memory.units);
        let time = time(each, || black_box(&facts).plan());
        Decision { time, memory }
    });
    Ok(Core {
        decisions: decisions.collect(),
    })
}

fn footprints(units: &[usize]) -> Measured<Vec<Footprint>> {
    let counter = executable("performance", "footprint")?;
    let output = Command::new(counter)
        .args(units.iter().map(usize::to_string))
        .output()?;
    Ok(serde_json::from_slice(&output.stdout)?)
}

/// What is made is dropped when the clock has stopped: the charm's process just ends.
fn time<T>(enough: Duration, make: impl Fn() -> T) -> Time {
    const RUNS: std::ops::Range<usize> = 5..1000;

    let mut runs = Vec::new();
    let began = Instant::now();
    while runs.len() < RUNS.start || (began.elapsed() < enough && runs.len() < RUNS.end) {
        let started = Instant::now();
        let made = make();
        runs.push(started.elapsed());
        drop(black_box(made));
    }
    runs.sort_unstable();
    let milliseconds = |run: Duration| run.as_secs_f64() * 1e3;
    Time {
        fastest: milliseconds(runs[0]),
        median: milliseconds(runs[runs.len() / 2]),
    }
}

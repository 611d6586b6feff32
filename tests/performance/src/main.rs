//! Measures what the charm costs, and writes it down where `PERFORMANCE.md` shows it.

use std::fs;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::{Parser, ValueEnum};
use juju_emulator::executables::workspace;
use microcluster_token_distributor::chain;
use performance::executable::Build;
use performance::results::{Machine, Results};
use performance::tables::{Table, fill, tables};
use performance::{Measured, core, hooks, scale};

/// Measures the charm and rewrites the tables and the figures of PERFORMANCE.md
#[derive(Parser)]
struct Args {
    /// What to measure; everything, if nothing is said
    sections: Vec<Section>,
    /// Small sizes and few runs: whether it works, not what it costs. Without --into it only prints
    #[arg(long)]
    quick: bool,
    /// Milliseconds that a hook tool costs on top of its process
    #[arg(long, default_value_t = 1.0, value_name = "MS")]
    tool_ms: f64,
    /// How many deployments to play at a time
    #[arg(long, value_name = "N")]
    jobs: Option<usize>,
    /// The folder of PERFORMANCE.md and performance.json, in place of this package
    #[arg(long, value_name = "FOLDER")]
    into: Option<PathBuf>,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Section {
    /// The pure core and the encoder
    Core,
    /// Whole hooks, run by the real executable
    Hooks,
    /// Deployments of many hosts, on a virtual clock
    Scale,
}

fn main() -> ExitCode {
    match run(&Args::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!("error: {}", chain(&*failure));
            ExitCode::FAILURE
        }
    }
}

fn run(args: &Args) -> Measured<()> {
    let into = match &args.into {
        Some(into) => Some(into.clone()),
        None => (!args.quick).then(|| workspace().join("tests/performance")),
    };
    let kept = into.as_ref().map(|into| into.join("performance.json"));
    let mut results = kept.as_deref().map(Results::load).unwrap_or_default();
    measure(args, &mut results)?;

    let (Some(into), Some(kept)) = (into, kept) else {
        print(&tables(&results));
        return Ok(());
    };
    fs::create_dir_all(&into)?;
    results.store(&kept)?;
    // serde_json may read a number back one bit off, which is enough to round it the other way:
    // what is shown is what the file says.
    let results = Results::load(&kept);
    let tables = tables(&results);
    print(&tables);
    let document = into.join("PERFORMANCE.md");
    if document.exists() {
        fs::write(&document, fill(&fs::read_to_string(&document)?, &tables))?;
    }
    Ok(())
}

fn print(tables: &[Table]) {
    for table in tables {
        println!("{}:\n\n{}", table.name, table.text);
    }
}

fn measure(args: &Args, results: &mut Results) -> Measured<()> {
    let wanted = |section| args.sections.is_empty() || args.sections.contains(&section);
    // The others would be the same on any machine.
    if wanted(Section::Core) || wanted(Section::Hooks) {
        results.machine = Machine::here();
    }
    if wanted(Section::Core) {
        let (units, each): (&[usize], _) = match args.quick {
            true => (&[3, 100, 1000], 20),
            false => (&[3, 10, 100, 1_000, 10_000], 4_000),
        };
        results.core = Some(core::measure(units, Duration::from_millis(each))?);
    }
    if wanted(Section::Hooks) {
        let (runs, build) = match args.quick {
            true => (2, Build::Plain),
            false => (50, Build::Packed),
        };
        let tool = Duration::from_secs_f64(args.tool_ms / 1e3);
        results.hooks = Some(hooks::measure(&[3, 100, 1000], tool, runs, build)?);
    }
    if wanted(Section::Scale) {
        let plays = match args.quick {
            true => scale::few_plays(),
            false => scale::all_plays(),
        };
        let told = |plays: &scale::Plays, _: &_| {
            eprintln!("played {:?} {}", plays.who, plays.hosts);
        };
        results.scale = Some(scale::measure(&plays, args.jobs, told)?);
    }
    Ok(())
}

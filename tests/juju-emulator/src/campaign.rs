//! `juju-emulator chaos`: many random histories, with a bar to watch.

use std::process::ExitCode;

use clap::Args as ClapArgs;
use comfy_table::{Table, presets};
use indicatif::{ProgressBar, ProgressStyle};
use juju_emulator::JujuGeneration;
use juju_emulator::chaos::{self, History};
use juju_emulator::deployment::Provider;
use juju_emulator::parallel;

/// What to play.
#[derive(ClapArgs)]
pub(crate) struct Args {
    /// Histories on each Juju
    #[arg(long, default_value_t = 300)]
    seeds: u64,
    /// The first seed; with `--seeds 1`, replays one history
    #[arg(long, default_value_t = 0)]
    from: u64,
    /// Play only this Juju
    #[arg(long)]
    juju: Option<JujuGeneration>,
    /// Operations and events of a history before it is healed
    #[arg(long, default_value_t = 200)]
    length: usize,
    /// Run the distributor's executable instead of its library: slower, and nothing is left out
    #[arg(long)]
    executable: bool,
    /// Print every hook and deed, and the names of the keys that each wrote
    #[arg(long)]
    trace: bool,
}

pub(crate) fn run(args: &Args) -> ExitCode {
    let generations = match args.juju {
        Some(juju) => vec![juju],
        None => vec![JujuGeneration::Three, JujuGeneration::Four],
    };
    let distributor = if args.executable {
        Provider::Executable
    } else {
        Provider::Library
    };
    let histories: Vec<(u64, JujuGeneration)> = (args.from..args.from + args.seeds)
        .flat_map(|seed| generations.iter().map(move |&juju| (seed, juju)))
        .collect();
    let bar = ProgressBar::new(histories.len() as u64).with_style(
        ProgressStyle::with_template("{bar:30} {pos} of {len} histories, {eta} left")
            .unwrap_or_else(|_| ProgressStyle::default_bar()),
    );

    // Lines of two histories are not to be mixed.
    let jobs = args.trace.then_some(1);
    let played = parallel::each(&histories, jobs, |&(seed, juju)| {
        let played = chaos::play(seed, juju, &distributor, args.length, &mut |line| {
            if args.trace {
                println!("{line}");
            }
        });
        bar.inc(1);
        played
    });
    bar.finish_and_clear();

    let mut total = History::default();
    let mut broken = Vec::new();
    for ((seed, juju), played) in histories.iter().zip(played) {
        match played {
            Ok(history) => total.add(&history),
            Err(error) => broken.push((seed, juju, error)),
        }
    }
    let mut table = Table::new();
    table.load_style(presets::NOTHING);
    for (name, count) in [
        ("histories", histories.len()),
        ("operations", total.steps),
        ("faults and operators' deeds", total.events),
        ("commits, each checked", total.commits),
        ("failed distributor hooks, by faults", total.failed_hooks),
        ("broken promises", broken.len()),
    ] {
        table.add_row([name.to_owned(), count.to_string()]);
    }
    println!("{table}");
    for (seed, juju, error) in &broken {
        let juju = juju.version().split('.').next().unwrap_or_default();
        println!("seed {seed} on Juju {juju}: {error}");
    }
    if broken.is_empty() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}

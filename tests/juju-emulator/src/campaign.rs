//! `juju-emulator chaos`: many random histories, with a bar to watch.

use std::process::ExitCode;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;

use clap::Args as ClapArgs;
use comfy_table::{Table, presets};
use indicatif::{ProgressBar, ProgressStyle};
use juju_emulator::JujuGeneration;
use juju_emulator::chaos::{self, History};
use juju_emulator::deployment::Provider;

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
    let histories = args.seeds * generations.len() as u64;
    let bar = ProgressBar::new(histories).with_style(
        ProgressStyle::with_template("{bar:30} {pos} of {len} histories, {eta} left")
            .unwrap_or_else(|_| ProgressStyle::default_bar()),
    );

    let next = AtomicU64::new(0);
    let totals = Mutex::new((History::default(), Vec::new()));
    let workers = thread::available_parallelism().map_or(1, usize::from);
    thread::scope(|scope| {
        for _ in 0..workers {
            scope.spawn(|| {
                loop {
                    let at = next.fetch_add(1, Ordering::Relaxed);
                    if at >= histories {
                        return;
                    }
                    let seed = args.from + at / generations.len() as u64;
                    let juju = generations[at as usize % generations.len()];
                    let played = chaos::play(seed, juju, &distributor, args.length, &mut |line| {
                        if args.trace {
                            println!("{line}");
                        }
                    });
                    if let Ok(mut totals) = totals.lock() {
                        match played {
                            Ok(history) => totals.0.add(&history),
                            Err(error) => totals.1.push((seed, juju, error.to_string())),
                        }
                    }
                    bar.inc(1);
                }
            });
        }
    });
    bar.finish_and_clear();

    let Ok((history, broken)) = totals.into_inner() else {
        return ExitCode::FAILURE;
    };
    let mut table = Table::new();
    table.load_style(presets::NOTHING);
    for (name, count) in [
        ("histories", histories as usize),
        ("operations", history.steps),
        ("faults and operators' deeds", history.events),
        ("commits, each checked", history.commits),
        ("failed distributor hooks, by faults", history.failed_hooks),
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

//! `juju-emulator chaos`: every trouble of one relation, and many random histories, with a bar to
//! watch.

use std::process::ExitCode;

use clap::{Args as ClapArgs, ValueEnum};
use comfy_table::{Table, presets};
use indicatif::{ProgressBar, ProgressStyle};
use juju_emulator::JujuGeneration;
use juju_emulator::chaos::{self, History, Plot};
use juju_emulator::deployment::Provider;
use juju_emulator::parallel;
use juju_emulator::trouble::{self, Count, Part};

/// What to play.
#[derive(ClapArgs)]
pub(crate) struct Args {
    /// Play only the troubles, or only one kind of histories
    #[arg(long)]
    only: Option<What>,
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

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum What {
    /// Every refusal that Juju has, of each tool, in each hook and action.
    Troubles,
    /// Random histories with faults.
    Histories,
    /// Random histories in which goal-state leaves out units and applications.
    GoalState,
    /// Random histories in which one side of a relation is refused, and options are reset.
    OneSide,
}

pub(crate) fn run(args: &Args) -> ExitCode {
    let is_played = |what| args.only.is_none_or(|only| only == what);
    // Each is played to its end whatever the others come to.
    let mut kept = !is_played(What::Troubles) || troubles();
    for (what, plot) in [
        (What::Histories, Plot::Faults),
        (What::GoalState, Plot::GoalState),
        (What::OneSide, Plot::OneSide),
    ] {
        kept &= !is_played(what) || histories(plot, args);
    }
    if kept {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}

fn bar(length: usize, of: &str) -> ProgressBar {
    let template = format!("{{bar:30}} {{pos}} of {{len}} {of}, {{eta}} left");
    let style = ProgressStyle::with_template(&template);
    ProgressBar::new(length as u64)
        .with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()))
}

fn show(rows: &[(&str, usize)]) {
    let mut table = Table::new();
    table.load_style(presets::NOTHING);
    for (name, count) in rows {
        table.add_row([(*name).to_owned(), count.to_string()]);
    }
    println!("{table}");
}

/// Says whether no healthy relation was neglected.
fn troubles() -> bool {
    let parts = trouble::parts();
    let bar = bar(parts.len(), "hooks and actions");
    let played = parallel::each(&parts, None, |part: &Part| {
        let played = part.play();
        bar.inc(1);
        played
    });
    bar.finish_and_clear();
    let mut total = Count::default();
    let mut wrong = Vec::new();
    for played in played {
        match played {
            Ok((count, neglected)) => {
                total.add(&count);
                let lines = neglected.iter();
                wrong.extend(lines.map(|neglect| format!("{}: {}", neglect.case, neglect.what)));
            }
            Err(error) => wrong.push(error.to_string()),
        }
    }
    show(&[
        ("troubles, each in one hook or action", total.cases),
        ("with a relation that is healthy", total.healthy),
        ("and news for it", total.news),
        ("healthy relations not served", wrong.len()),
    ]);
    for line in &wrong {
        println!("{line}");
    }
    wrong.is_empty()
}

/// Says whether every promise was kept.
fn histories(plot: Plot, args: &Args) -> bool {
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
    let bar = bar(histories.len(), "histories");
    let title = match plot {
        Plot::Faults => "histories with faults",
        Plot::GoalState => "histories in which goal-state leaves out things",
        Plot::OneSide => "histories in which one side is refused",
    };

    // Lines of two histories are not to be mixed.
    let jobs = args.trace.then_some(1);
    let played = parallel::each(&histories, jobs, |&(seed, juju)| {
        let played = chaos::play(seed, juju, plot, &distributor, args.length, &mut |line| {
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
    show(&[
        (title, histories.len()),
        ("operations", total.steps),
        ("faults and operators' deeds", total.events),
        ("commits, each checked", total.commits),
        ("failed distributor hooks, by faults", total.failed_hooks),
        ("clusters that nobody could prevent", total.untold),
        ("broken promises", broken.len()),
    ]);
    for (seed, juju, error) in &broken {
        let juju = juju.version().split('.').next().unwrap_or_default();
        println!("seed {seed} on Juju {juju}: {error}");
    }
    broken.is_empty()
}

//! `juju-emulator chaos`: every trouble of one relation, and many random histories, with a bar to
//! watch.

use std::process::ExitCode;

use clap::{Args as ClapArgs, ValueEnum};
use juju_emulator::JujuGeneration;
use juju_emulator::chaos::{self, History, Plot};
use juju_emulator::deployment::Provider;
use juju_emulator::trouble::{self, Count, Part};

use crate::{each, show};

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

/// Says whether no healthy relation was neglected.
fn troubles() -> bool {
    let parts = trouble::parts();
    let played = each("hooks and actions", &parts, None, Part::play);
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
        (
            "troubles, each in one hook or action",
            total.cases.to_string(),
        ),
        ("with a relation that is healthy", total.healthy.to_string()),
        ("and news for it", total.news.to_string()),
        ("healthy relations not served", wrong.len().to_string()),
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
    let title = match plot {
        Plot::Faults => "histories with faults",
        Plot::GoalState => "histories in which goal-state leaves out things",
        Plot::OneSide => "histories in which one side is refused",
    };

    // Lines of two histories are not to be mixed.
    let jobs = args.trace.then_some(1);
    let played = each("histories", &histories, jobs, |&(seed, juju)| {
        chaos::play(seed, juju, plot, &distributor, args.length, &mut |line| {
            if args.trace {
                println!("{line}");
            }
        })
    });

    let mut total = History::default();
    let mut broken = Vec::new();
    for ((seed, juju), played) in histories.iter().zip(played) {
        match played {
            Ok(history) => total.add(&history),
            Err(error) => broken.push((seed, juju, error)),
        }
    }
    show(&[
        (title, histories.len().to_string()),
        ("operations", total.steps.to_string()),
        ("faults and operators' deeds", total.events.to_string()),
        ("commits, each checked", total.commits.to_string()),
        (
            "failed distributor hooks, by faults",
            total.failed_hooks.to_string(),
        ),
        (
            "clusters that nobody could prevent",
            total.untold.to_string(),
        ),
        ("broken promises", broken.len().to_string()),
    ]);
    for (seed, juju, error) in &broken {
        println!("seed {seed} on Juju {juju}: {error}");
    }
    broken.is_empty()
}

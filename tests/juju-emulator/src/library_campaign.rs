//! `juju-emulator library`: formations with the consumer library, and a refresh to it after every
//! hook of one.

use std::process::ExitCode;
use std::time::Duration;

use clap::ValueEnum;
use juju_emulator::deployment::Provider;
use juju_emulator::library::{self, Formation, Formed};
use juju_emulator::python::Rules;
use microcluster_token_distributor::chain;

use crate::each;

/// What to play. Every charm runs as processes; a formation takes about ten seconds.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Play only the formations, or only the refreshes
    #[arg(long)]
    only: Option<What>,
    /// Formations with each distributor
    #[arg(long, default_value_t = 50)]
    seeds: u64,
    /// The first seed, and that of the refreshes
    #[arg(long, default_value_t = 0)]
    from: u64,
    /// Hosts of a cluster
    #[arg(long, default_value_t = 3)]
    hosts: usize,
    /// Which distributors: this charm, or the rules of the Python charm's version 0.8
    #[arg(long, value_enum, default_value = "ours,pe", value_delimiter = ',')]
    provider: Vec<ProviderName>,
    /// Refresh after every so many hooks
    #[arg(long, default_value = "1", value_name = "HOOKS")]
    every: std::num::NonZero<usize>,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum What {
    /// Hosts become one cluster, with the library from the beginning.
    Formations,
    /// They begin with major version 0, and are refreshed after so many hooks.
    Refreshes,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum ProviderName {
    Ours,
    Pe,
}

impl ProviderName {
    fn provider(self) -> Provider {
        match self {
            Self::Ours => Provider::Executable,
            Self::Pe => Provider::Python(Rules::E),
        }
    }

    fn words(self) -> &'static str {
        match self {
            Self::Ours => "with this distributor",
            Self::Pe => "with the rules of the Python charm",
        }
    }
}

/// Plays everything. The exit status says whether every promise was kept.
pub(crate) fn run(args: &Args) -> ExitCode {
    if let Err(error) = library::python() {
        anstream::eprintln!("error: {}", chain(&*error));
        return ExitCode::FAILURE;
    }
    let mut kept = true;
    for &provider in &args.provider {
        if args.only != Some(What::Refreshes) {
            let title = format!("formations {}", provider.words());
            kept &= show(&title, &args.formations(provider));
        }
        if args.only != Some(What::Formations) {
            let title = format!("refreshes {}", provider.words());
            kept &= args
                .refreshes(provider)
                .is_some_and(|formations| show(&title, &formations));
        }
    }
    if kept {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}

impl Args {
    fn formation(&self, provider: ProviderName, seed: u64) -> Formation {
        Formation::new(seed, self.hosts, provider.provider())
    }

    fn formations(&self, provider: ProviderName) -> Vec<Formation> {
        let seeds = self.from..self.from + self.seeds;
        seeds.map(|seed| self.formation(provider, seed)).collect()
    }

    /// One for each hook between the relation and the cluster at rest.
    fn refreshes(&self, provider: ProviderName) -> Option<Vec<Formation>> {
        let after = |hooks| Formation {
            refresh_after: Some(hooks),
            ..self.formation(provider, self.from)
        };
        match after(usize::MAX).play() {
            Ok(formed) => {
                let all = 0..=formed.hooks_to_refresh;
                Some(all.step_by(self.every.get()).map(after).collect())
            }
            Err(error) => {
                println!("a refresh of a cluster at rest: {error}");
                None
            }
        }
    }
}

/// Plays formations and prints their figures. Says whether every promise was kept.
fn show(title: &str, formations: &[Formation]) -> bool {
    let played = each(title, formations, None, Formation::play);
    let mut total = Formed::default();
    let mut broken = Vec::new();
    for (formation, played) in formations.iter().zip(played) {
        match played {
            Ok(formed) => total.add(&formed),
            Err(error) => broken.push((formation, chain(&*error))),
        }
    }
    let seconds = |time: Duration| format!("{:.1} s", time.as_secs_f32());
    crate::show(&[
        (title, formations.len().to_string()),
        ("hooks, none failed", total.hooks.to_string()),
        ("longest hook", seconds(total.longest)),
        (
            "longest wait on the cluster's clock",
            seconds(total.longest_wait),
        ),
        ("tokens, in no other place", total.tokens.to_string()),
        ("broken promises", broken.len().to_string()),
    ]);
    for (formation, error) in &broken {
        let hooks = formation
            .refresh_after
            .map(|hooks| format!(" after {hooks} hooks"));
        println!(
            "seed {}{}: {error}",
            formation.seed,
            hooks.unwrap_or_default()
        );
    }
    broken.is_empty()
}

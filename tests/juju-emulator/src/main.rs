//! `juju-emulator`: try the distributor out, and try to break it.

mod campaign;
mod demo;
mod library_campaign;
mod simulate;

use std::process::ExitCode;

use clap::{Parser, Subcommand};
use comfy_table::{Table, presets};
use indicatif::{ProgressBar, ProgressStyle};
use juju_emulator::parallel;

/// An emulated Juju model for the token distributor.
#[derive(Parser)]
struct CommandLine {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Show some hosts becoming one cluster
    Demo(demo::Args),
    /// Play random histories with faults, and check every commit
    Chaos(campaign::Args),
    /// Form clusters with the consumer library in Python, refresh to it, and check every hook
    Library(library_campaign::Args),
    /// Play scenarios on a virtual clock, many times, and count
    Simulate(Box<simulate::Args>),
}

fn main() -> ExitCode {
    match CommandLine::parse().command {
        Command::Chaos(args) => campaign::run(&args),
        Command::Demo(args) => demo::run(&args),
        Command::Library(args) => library_campaign::run(&args),
        Command::Simulate(args) => simulate::run(&args),
    }
}

/// [`parallel::each`] with a bar to watch, on standard error where that is a terminal.
fn each<T: Sync, R: Send>(
    of: &str,
    items: &[T],
    jobs: Option<usize>,
    work: impl Fn(&T) -> R + Sync,
) -> Vec<R> {
    let style = ProgressStyle::with_template("{bar:30} {pos} of {len} {msg}, {eta} left");
    let bar = ProgressBar::new(items.len() as u64)
        .with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()))
        .with_message(of.to_owned());
    let results = parallel::each(items, jobs, |item| {
        let result = work(item);
        bar.inc(1);
        result
    });
    bar.finish_and_clear();
    results
}

fn show(rows: &[(&str, String)]) {
    let mut table = Table::new();
    table.load_style(presets::NOTHING);
    table.add_rows(rows.iter().map(|(name, figure)| [*name, figure]));
    println!("{table}");
}

//! `juju-emulator`: try the distributor out, and try to break it.

mod campaign;
mod demo;
mod library_campaign;
mod simulate;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

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

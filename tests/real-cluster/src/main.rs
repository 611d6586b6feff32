//! `real-cluster`: plays of the emulated Juju model against a real microcluster.

use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};
use std::time::{Duration, Instant};

use clap::{Parser, Subcommand};
use real_cluster::{Consumer, Network, Play, Provider, Report, Trouble, sandbox};
use serde::Serialize;

/// The emulated Juju model against a real microcluster, in real time.
///
/// It needs root, because each host has a network of its own, and the microcluster that
/// `scripts/microcluster` builds. Nothing is left behind, however it ends.
#[derive(Parser)]
struct CommandLine {
    #[command(subcommand)]
    command: What,
}

#[derive(Subcommand)]
enum What {
    /// Form clusters through the distributor, and count
    Play(Args),
    /// Form a cluster in a loop of `add` and `join`, which is the least that it can take
    Loop(LoopArgs),
    /// Inside a sandbox: one play, from JSON to JSON
    #[command(hide = true)]
    OnePlay { play: String },
    /// Inside a sandbox: one loop, from JSON to JSON
    #[command(hide = true)]
    OneLoop {
        units: usize,
        heartbeat: f64,
        program: PathBuf,
    },
}

/// What to play. Options that take a list play every combination.
#[derive(clap::Args)]
struct Args {
    /// Hosts
    #[arg(long, default_value = "3", value_delimiter = ',', value_name = "N,...")]
    units: Vec<usize>,
    /// Hosts that come one after the other once these are in
    #[arg(long, default_value_t = 0, conflicts_with = "trouble")]
    later: usize,
    /// Units that are removed one after the other once all are in: the communicator, if there is one
    #[arg(long, default_value_t = 0, conflicts_with = "trouble")]
    leave: usize,
    /// Set the library's charm `ready` only once there is nothing else to do
    #[arg(long)]
    hold: bool,
    /// Have units of the library's charm leave by force
    #[arg(long)]
    force: bool,
    /// Which charm the hosts have
    #[arg(long, value_enum, default_value = "newest", value_delimiter = ',')]
    consumer: Vec<Consumer>,
    /// Which distributor
    #[arg(long, value_enum, default_value = "ours", value_delimiter = ',')]
    provider: Vec<Provider>,
    /// A packed distributor, instead of one that is built from this workspace
    #[arg(long, value_name = "FILE.charm")]
    charm: Option<PathBuf>,
    /// Units of the distributor [default: 1, or 3 if one is to be lost]
    #[arg(long, value_name = "N")]
    distributor_units: Option<usize>,
    /// What goes wrong
    #[arg(long, value_enum, value_delimiter = ',')]
    trouble: Vec<Trouble>,
    /// Seconds until a person removes a dead member
    #[arg(long, default_value_t = 60.0, value_name = "SECONDS")]
    repair_after: f64,
    /// Seconds from one heartbeat of the cluster to the next; a real one has 10
    #[arg(long, default_value_t = 1.0, value_name = "SECONDS")]
    heartbeat: f64,
    /// Seconds from one update-status hook to the next
    #[arg(long, default_value_t = 300.0, value_name = "SECONDS")]
    update_status: f64,
    /// Seconds that a hook of a stand-in takes to start, as a charm in Python does
    #[arg(long, default_value_t = 0.9, value_name = "SECONDS")]
    startup: f64,
    /// Seconds after which a play ends, whatever has become of it
    #[arg(long, default_value_t = 900.0, value_name = "SECONDS")]
    limit: f64,
    /// How often each combination is played
    #[arg(long, default_value_t = 1, value_name = "N")]
    runs: u64,
    /// The seed of the first play; the next have the next ones
    #[arg(long, default_value_t = 1, value_name = "N")]
    seed: u64,
    /// Which microcluster
    #[arg(long, default_value = sandbox::VERSION, value_name = "VERSION")]
    microcluster: String,
    /// Print a line of JSON for each play
    #[arg(long)]
    json: bool,
    /// Print every hook while it happens, with the names of the keys that it wrote
    #[arg(long)]
    trace: bool,
    /// Fail unless the hosts that could come in, and stay, are one cluster, all online, and no join
    /// and no hook failed and no token was made for a member
    #[arg(long)]
    check: bool,
    /// Fail unless joins were one at a time, too
    #[arg(long)]
    check_one_at_a_time: bool,
}

#[derive(clap::Args)]
struct LoopArgs {
    /// Hosts
    #[arg(long, default_value_t = 3, value_name = "N")]
    units: usize,
    /// Seconds from one heartbeat of the cluster to the next; a real one has 10
    #[arg(long, default_value_t = 1.0, value_name = "SECONDS")]
    heartbeat: f64,
    /// How often
    #[arg(long, default_value_t = 1, value_name = "N")]
    runs: u64,
    /// Which microcluster
    #[arg(long, default_value = sandbox::VERSION, value_name = "VERSION")]
    microcluster: String,
}

type Outcome<T> = Result<T, juju_emulator::Failure>;

fn main() -> ExitCode {
    let outcome = match CommandLine::parse().command {
        What::Play(args) => play(&args),
        What::Loop(args) => play_loop(&args),
        What::OnePlay { play } => one_play(&play),
        What::OneLoop {
            units,
            heartbeat,
            program,
        } => one_loop(units, Duration::from_secs_f64(heartbeat), &program),
    };
    match outcome {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("real-cluster: {error}");
            ExitCode::FAILURE
        }
    }
}

/// The program of this version, unless there can be no play here: then it says why.
fn program(version: &str) -> Option<PathBuf> {
    let program = sandbox::program(version);
    match sandbox::obstacle(&program) {
        None => Some(program),
        Some(obstacle) => {
            println!("skipped, nothing is played: {obstacle}");
            None
        }
    }
}

impl Args {
    /// Each combination, once for each run.
    fn plays(&self, program: &Path) -> Vec<Play> {
        let mut troubles: Vec<Option<Trouble>> = self.trouble.iter().copied().map(Some).collect();
        if troubles.is_empty() {
            troubles.push(None);
        }
        let mut plays = Vec::new();
        for &units in &self.units {
            for &consumer in &self.consumer {
                for &provider in &self.provider {
                    for &trouble in &troubles {
                        let runs = (self.seed..).take(usize::try_from(self.runs).unwrap_or(1));
                        let of_seed = |seed| Play {
                            units,
                            later: self.later,
                            leave: self.leave,
                            hold: self.hold,
                            force: self.force,
                            consumer,
                            provider,
                            charm: self.charm.clone(),
                            distributor_units: self.distributor_units.unwrap_or(match trouble {
                                Some(Trouble::DistributorLost) => 3,
                                _ => 1,
                            }),
                            program: program.to_owned(),
                            heartbeat: Duration::from_secs_f64(self.heartbeat),
                            update_status: Duration::from_secs_f64(self.update_status),
                            startup: Duration::from_secs_f64(self.startup),
                            trouble,
                            repair_after: Duration::from_secs_f64(self.repair_after),
                            limit: Duration::from_secs_f64(self.limit),
                            seed,
                            trace: self.trace,
                        };
                        plays.extend(runs.map(of_seed));
                    }
                }
            }
        }
        plays
    }
}

#[derive(Serialize)]
struct Line<'a> {
    play: &'a Play,
    report: &'a Report,
}

fn play(args: &Args) -> Outcome<bool> {
    let Some(program) = program(&args.microcluster) else {
        return Ok(true);
    };
    let mut good = true;
    for play in args.plays(&program) {
        play.build()?;
        let report: Report = in_sandbox(&["one-play", &serde_json::to_string(&play)?])?;
        if args.json {
            let (play, report) = (&play, &report);
            println!("{}", serde_json::to_string(&Line { play, report })?);
        } else {
            println!("{}", told(&play, &report)?);
        }
        good &= !args.check || is_good(&play, &report);
        good &= !args.check_one_at_a_time || report.joins.most_at_once <= 1;
    }
    Ok(good)
}

/// Whether a play came to what `--check` asks for.
fn is_good(play: &Play, report: &Report) -> bool {
    let is_one = report.members >= report.expected && report.clusters == 1;
    let is_whole = report.left == play.leave && report.left_behind.is_empty();
    let failed = report.failed_hooks.len() + report.failed_distributor_hooks.len();
    is_one && is_whole && failed + report.joins.failed() + report.minted_for_members == 0
}

/// Runs a command of this program in a sandbox, and reads what it prints.
fn in_sandbox<T: serde::de::DeserializeOwned>(arguments: &[&str]) -> Outcome<T> {
    let mut command: Command = sandbox::command(&std::env::current_exe()?);
    command
        .args(arguments)
        .stdin(Stdio::null())
        .stderr(Stdio::inherit());
    let output = command.output()?;
    if !output.status.success() {
        return Err(io::Error::other(format!("the play broke off: {}", output.status)).into());
    }
    Ok(serde_json::from_slice(&output.stdout)?)
}

fn one_play(play: &str) -> Outcome<bool> {
    let play: Play = serde_json::from_str(play)?;
    let folder = sandbox::furnish()?;
    println!("{}", serde_json::to_string(&play.run(&folder)?)?);
    Ok(true)
}

/// What was played, and what came of it.
fn told(play: &Play, report: &Report) -> Outcome<String> {
    let (provider, consumer) = (word(&play.provider), word(&play.consumer));
    let trouble = play.trouble.map(|trouble| format!(", {}", word(&trouble)));
    let (units, seed, trouble) = (play.units, play.seed, trouble.unwrap_or_default());
    let later = match play.later {
        0 => String::new(),
        later => format!(" and {later}"),
    };
    let leave = match play.leave {
        0 => String::new(),
        leave => format!(", {leave} leave"),
    };
    let report = serde_yaml::to_string(report)?;
    Ok(format!(
        "# {units}{later} hosts, {provider} with {consumer}{leave}{trouble}, seed {seed}\n{report}"
    ))
}

/// The word for a value on the command line.
fn word(value: &impl clap::ValueEnum) -> String {
    let value = value.to_possible_value();
    value.map_or(String::new(), |value| value.get_name().to_owned())
}

/// Prints what a loop takes.
fn play_loop(args: &LoopArgs) -> Outcome<bool> {
    let Some(program) = program(&args.microcluster) else {
        return Ok(true);
    };
    for _ in 0..args.runs {
        let (units, heartbeat) = (args.units.to_string(), args.heartbeat.to_string());
        let path = program.to_string_lossy();
        let seconds: Vec<f64> = in_sandbox(&["one-loop", &units, &heartbeat, &path])?;
        let total: f64 = seconds.iter().sum();
        let slowest = seconds.iter().copied().fold(0.0, f64::max);
        println!("{units} hosts in a loop: {total:.1} s, the slowest {slowest:.1} s");
    }
    Ok(true)
}

fn one_loop(units: usize, heartbeat: Duration, program: &Path) -> Outcome<bool> {
    let folder = sandbox::furnish()?;
    let names: Vec<String> = (1..=units)
        .map(|number| format!("host-{number:03}"))
        .collect();
    let network = Network::new(&names, &folder, program, heartbeat)?;
    let mut seconds = Vec::new();
    let (first, others) = network.hosts().split_first().ok_or("there are no hosts")?;
    let begun = Instant::now();
    first.must(&["bootstrap"])?;
    seconds.push(begun.elapsed().as_secs_f64());
    for host in others {
        let begun = Instant::now();
        let token = first.must(&["add", host.name()])?;
        host.must(&["join", token.trim()])?;
        seconds.push(begun.elapsed().as_secs_f64());
    }
    println!("{}", serde_json::to_string(&seconds)?);
    Ok(true)
}

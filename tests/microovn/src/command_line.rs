//! `microovn cluster …` in words: arguments in, exit status and output out.

use clap::{Parser, Subcommand, ValueEnum};
use serde::Serialize;

use crate::consumer::CommandOutput;
use crate::microcluster::{Cloud, Listed, Refusal, Role, Status};

/// The part of the command line that the real `microovn` has, too.
#[derive(Debug, Parser)]
#[command(name = "microovn", about = "Stand-in for the MicroOVN snap's command")]
pub struct Microovn {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// The command groups.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Found, grow, show and shrink a cluster
    #[command(subcommand)]
    Cluster(ClusterCommand),
}

/// `microovn cluster …`
#[derive(Debug, Subcommand)]
pub enum ClusterCommand {
    /// Found a cluster with this machine as its only member
    Bootstrap,
    /// Print a token with which NAME can join, once
    Add {
        /// Host name of the joiner
        name: String,
        /// Life of the token in seconds [default: 3 hours]
        #[arg(long)]
        timeout: Option<u64>,
    },
    /// Join the cluster that printed TOKEN
    Join {
        /// The token
        token: String,
    },
    /// Show the members
    List {
        /// How to show them
        #[arg(short, long, value_enum, default_value_t = Format::Table)]
        format: Format,
    },
    /// Take the member NAME out of the cluster
    Remove {
        /// Name of the member
        name: String,
        /// Also if it does not answer
        #[arg(long)]
        force: bool,
    },
}

/// Formats of `cluster list`.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub enum Format {
    /// For people
    Table,
    /// For programs
    Json,
}

/// Runs the arguments after `microovn` on one machine: the in-process form of the command.
pub fn microovn(cloud: &mut Cloud, machine: &str, args: &[&str], now: u64) -> CommandOutput {
    match Microovn::try_parse_from(std::iter::once(&"microovn").chain(args)) {
        Ok(command_line) => run(cloud, machine, &command_line.command, now),
        Err(error) => CommandOutput::failure(1, error.to_string()),
    }
}

/// Runs a command that has been read; any failure is a message on standard error and status 1.
pub fn run(cloud: &mut Cloud, machine: &str, command: &Command, now: u64) -> CommandOutput {
    let Command::Cluster(command) = command;
    match run_cluster(cloud, machine, command, now) {
        Ok(stdout) => CommandOutput::success(stdout),
        Err(refusal) => CommandOutput::failure(1, format!("Error: {refusal}\n")),
    }
}

fn run_cluster(
    cloud: &mut Cloud,
    machine: &str,
    command: &ClusterCommand,
    now: u64,
) -> Result<String, Refusal> {
    match command {
        ClusterCommand::Bootstrap => cloud.bootstrap(machine, now).map(|()| String::new()),
        ClusterCommand::Add { name, timeout } => {
            let token = cloud.add(machine, name, *timeout, now)?;
            Ok(token + "\n")
        }
        ClusterCommand::Join { token } => cloud.join(machine, token, now).map(|()| String::new()),
        ClusterCommand::List { format } => {
            let members = cloud.list(machine, now)?;
            Ok(match format {
                Format::Table => table(&members),
                Format::Json => json(&members),
            })
        }
        ClusterCommand::Remove { name, force } => {
            let removed = match force {
                true => cloud.remove_by_force(machine, name, now),
                false => cloud.remove(machine, name, now),
            };
            removed.map(|()| String::new())
        }
    }
}

fn table(members: &[Listed<'_>]) -> String {
    let row = |[name, address, role, status]: [&str; 4]| {
        format!("{name:<24} {address:<20} {role:<9} {status}\n")
    };
    let header = row(["NAME", "ADDRESS", "ROLE", "STATUS"]);
    let rows = members.iter().map(|member| {
        let (role, status) = (member.role.as_str(), member.status.as_str());
        row([member.name, member.address, role, status])
    });
    std::iter::once(header).chain(rows).collect()
}

/// A member as microcluster prints it. Consumers read name, role and status; what the others hold
/// here has the right type and no meaning.
#[derive(Serialize)]
struct Member<'a> {
    name: &'a str,
    address: &'a str,
    certificate: &'static str,
    role: Role,
    schema_internal_version: u64,
    schema_external_version: u64,
    last_heartbeat: &'static str,
    status: Status,
    extensions: [&'static str; 0],
    secret: &'static str,
}

fn json(members: &[Listed<'_>]) -> String {
    let members = members.iter().map(|member| Member {
        name: member.name,
        address: member.address,
        certificate: "-----BEGIN CERTIFICATE-----\n-----END CERTIFICATE-----\n",
        role: member.role,
        schema_internal_version: 1,
        schema_external_version: 1,
        last_heartbeat: "0001-01-01T00:00:00Z",
        status: member.status,
        extensions: [],
        secret: "",
    });
    let members: Vec<Member<'_>> = members.collect();
    serde_json::to_string(&members).expect("text and numbers are always JSON") + "\n"
}

//! The same executable on a laptop: what the charm would do with a model as `juju show-unit`
//! shows it, and why. It decides with the code that runs in the charm, and reaches no model.

mod completions;
pub mod document;
pub mod model;
mod output;
pub mod show_unit;

use std::ffi::OsString;
use std::io::{self, IsTerminal, Read, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Args, CommandFactory, Parser, Subcommand, ValueEnum};

use crate::chain;
use crate::check::findings;
use crate::databag::{mirror_key, printable};
use crate::reconcile::reconcile;
use crate::report::{Report, View, planned_changes};
use crate::retire::after;

pub use show_unit::{Document, InputError, Shown, combine};

/// Shows what the token distributor would do with a model, and why.
///
/// The input is what `juju show-unit` prints, as YAML or JSON. Name one unit of the distributor and
/// one of each related application, because Juju shows a unit what the other side wrote:
///
///   juju show-unit microcluster-token-distributor/0 microovn/0 > units.yaml
///   microcluster-token-distributor plan units.yaml
///
/// Tokens are never shown, only fingerprints that tell them apart. The output has no colours. Juju
/// itself starts this program without arguments.
#[derive(Debug, Parser)]
#[command(
    name = "microcluster-token-distributor",
    version,
    verbatim_doc_comment,
    arg_required_else_help = true,
    after_help = "Exit status: 0 done, 1 the input cannot be used, 2 wrong usage."
)]
pub struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Show every host, what would be written, and what is wrong
    Plan {
        #[command(flatten)]
        input: Input,
        #[command(flatten)]
        output: Output,
    },
    /// Tell the story of one host
    Explain {
        /// The host's name, as `hostname` prints it there
        host: String,
        #[command(flatten)]
        input: Input,
        #[command(flatten)]
        output: Output,
    },
    /// Print a completion script, to be sourced by a shell
    Completions {
        /// Which shell
        shell: Shell,
    },
}

#[derive(Debug, Args)]
struct Input {
    /// What `juju show-unit` printed; several are taken together [default: standard input]
    #[arg(value_name = "FILE")]
    files: Vec<PathBuf>,
    /// What the option bootstrap-app is set to; show-unit shows no options
    #[arg(long, value_name = "NAME")]
    bootstrap_app: Option<String>,
}

#[derive(Debug, Args)]
struct Output {
    /// How to show it
    #[arg(long, value_enum, default_value_t = Format::Table)]
    format: Format,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Format {
    Table,
    Json,
    Yaml,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Shell {
    Bash,
    Zsh,
    Fish,
}

/// Why nothing is shown.
#[derive(Debug, thiserror::Error)]
enum CliError {
    #[error(transparent)]
    Input(#[from] InputError),
    #[error("no host {0:?} in the input: `plan` lists the hosts")]
    NoHost(String),
    #[error("cannot write the answer")]
    Write(#[source] io::Error),
}

/// Runs the command line `arguments`, the program's name first.
pub fn run(arguments: impl IntoIterator<Item = OsString>) -> ExitCode {
    let cli = match Cli::try_parse_from(arguments) {
        Ok(cli) => cli,
        Err(error) => {
            // Help and version are errors to clap, too, and their exit status is 0.
            let _ = error.print();
            return ExitCode::from(u8::try_from(error.exit_code()).unwrap_or(2));
        }
    };
    match cli.answer().and_then(|answer| print(&answer)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {}", chain(&error));
            ExitCode::FAILURE
        }
    }
}

fn print(answer: &str) -> Result<(), CliError> {
    match io::stdout().write_all(answer.as_bytes()) {
        // Whoever reads us has seen enough.
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        written => written.map_err(CliError::Write),
    }
}

impl Cli {
    fn answer(&self) -> Result<String, CliError> {
        match &self.command {
            Command::Plan { input, output } => Ok(plan(&input.read()?, output.format)),
            Command::Explain {
                host,
                input,
                output,
            } => explain(&input.read()?, host, output.format),
            Command::Completions { shell } => Ok(completions::completions(&Cli::command(), *shell)),
        }
    }
}

impl Input {
    fn read(&self) -> Result<Shown, InputError> {
        let mut documents = Vec::new();
        for file in &self.files {
            let name = file.display().to_string();
            let text = match file.as_path() == Path::new("-") {
                true => read_stdin(),
                false => std::fs::read(file),
            };
            let text = text.map_err(|source| InputError::Read {
                file: name.clone(),
                source,
            })?;
            documents.push(Document::parse(&name, text)?);
        }
        if documents.is_empty() {
            let name = "standard input";
            let text = read_stdin().map_err(|source| InputError::Read {
                file: name.to_owned(),
                source,
            })?;
            documents.push(Document::parse(name, text)?);
        }
        let mut shown = combine(&documents)?;
        let bootstrap_app = model::option(self.bootstrap_app.as_deref());
        shown.view.facts.config.bootstrap_app = bootstrap_app.map(str::to_owned);
        Ok(shown)
    }
}

fn read_stdin() -> io::Result<Vec<u8>> {
    let mut stdin = io::stdin();
    if stdin.is_terminal() {
        eprintln!("waiting for the output of `juju show-unit` on standard input");
    }
    let mut text = Vec::new();
    stdin.read_to_end(&mut text)?;
    Ok(text)
}

fn plan(shown: &Shown, format: Format) -> String {
    let view = &shown.view;
    let plan = reconcile(&view.facts);
    let report = Report::of(&view.facts);
    let changes = planned_changes(&view.facts, &plan, &report);
    // What the plan itself mends is no finding.
    let then = View {
        facts: after(&view.facts, &plan.writes),
        ..view.clone()
    };
    let findings = findings(&then, &reconcile(&then.facts), &Report::of(&then.facts));
    let status = plan.overview.status();
    let answer = output::Planned {
        unit: view.unit.as_str(),
        status: format!("{}: {}", status.kind.as_str(), status.message),
        bootstrap_app: report.bootstrap_app.as_deref(),
        communicators: &report.communicators,
        hosts: &report.hosts,
        other_keys: &report.other_keys,
        changes: &changes,
        findings: &findings,
        incomplete: &shown.incomplete,
    };
    match format {
        Format::Table => answer.to_text(),
        Format::Json => output::json(&answer),
        Format::Yaml => output::yaml(&answer),
    }
}

fn explain(shown: &Shown, host: &str, format: Format) -> Result<String, CliError> {
    let view = &shown.view;
    let plan = reconcile(&view.facts);
    let report = Report::of(&view.facts);
    let Some(story) = report.host(host) else {
        return Err(CliError::NoHost(printable(host)));
    };
    let key = printable(&mirror_key(host));
    let mut changes = planned_changes(&view.facts, &plan, &report);
    changes.retain(|change| change.key == key);
    let answer = output::Explained {
        host: story,
        next: report.next(story),
        changes: &changes,
        incomplete: &shown.incomplete,
    };
    Ok(match format {
        Format::Table => answer.to_text(),
        Format::Json => output::json(&answer),
        Format::Yaml => output::yaml(&answer),
    })
}

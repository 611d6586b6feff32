//! The same executable on a laptop: what the charm would do with a model as `juju show-unit` shows
//! it, and why. It decides with the code that runs in the charm, and reaches no model.

mod document;
mod model;
mod output;
mod situation;

use std::ffi::OsString;
use std::fs::File;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand, ValueEnum};
use serde::Serialize;

use crate::chain;
use crate::core::wire::printable;
use crate::report;
use document::InputError;
use model::Distributor;
use situation::{Situation, Verdict};

/// Shows what the token distributor would do with a model, and why.
///
/// The input is what `juju show-unit` prints, as YAML or JSON. Name the leader of
/// the distributor and one unit of each related application, because Juju shows a
/// unit what the other side wrote:
///
///   juju show-unit microcluster-token-distributor/0 microovn/0 > units.yaml
///   microcluster-token-distributor plan units.yaml
///
/// The output has no colours. It shows fingerprints in place of tokens. Juju itself
/// starts this program without arguments.
#[derive(Debug, Parser)]
#[command(
    name = "microcluster-token-distributor",
    version,
    verbatim_doc_comment,
    arg_required_else_help = true,
    after_help = "\
Exit status:
  0  plan: go; explain: done
  1  the input cannot be used
  2  wrong usage
  3  plan: stop
  4  plan: the input is not enough"
)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Say whether to go on with a refresh, and what the charm would write
    Plan {
        #[command(flatten)]
        input: Input,
        /// Name every host, change and finding
        #[arg(long)]
        all: bool,
    },
    /// Show one host: how far it has come, and what happens next
    Explain {
        /// The host's name, as `hostname` prints it there
        host: String,
        #[command(flatten)]
        input: Input,
    },
}

#[derive(Debug, Args)]
struct Input {
    /// Output of `juju show-unit` [default: standard input]
    #[arg(value_name = "FILE", default_value = "-", hide_default_value = true)]
    file: PathBuf,
    /// The option bootstrap-app, if not as in the ledger
    #[arg(long, value_name = "NAME")]
    bootstrap_app: Option<String>,
    /// table or json
    #[arg(long, value_enum, default_value_t = Format::Table, hide_possible_values = true)]
    format: Format,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Format {
    Table,
    Json,
}

/// Why nothing is shown.
#[derive(Debug, thiserror::Error)]
enum CliError {
    #[error(transparent)]
    Input(#[from] InputError),
    #[error("no host {0:?} in the input: `plan --all` lists the hosts")]
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
    match cli.command.answer() {
        Ok(status) => ExitCode::from(status),
        Err(error) => {
            eprintln!("error: {}", chain(&error));
            ExitCode::FAILURE
        }
    }
}

impl Command {
    /// Prints the answer. Returns the exit status.
    fn answer(&self) -> Result<u8, CliError> {
        match self {
            Command::Plan { input, all } => {
                let situation = input.situation()?;
                input.print(&situation, || situation.to_text(*all))?;
                Ok(match situation.verdict {
                    Verdict::Go => 0,
                    Verdict::Stop => 3,
                    Verdict::NotEnough => 4,
                })
            }
            Command::Explain { host, input } => {
                let situation = input.situation()?;
                let story = situation.explain(host);
                let story = story.ok_or_else(|| CliError::NoHost(printable(host)))?;
                input.print(&story, || story.to_text())?;
                Ok(0)
            }
        }
    }
}

impl Input {
    fn situation(&self) -> Result<Situation, InputError> {
        let name = self.file.display().to_string();
        let units = match self.file == Path::new("-") {
            true => document::read("standard input", io::stdin()),
            false => match File::open(&self.file) {
                Ok(file) => document::read(&name, file),
                Err(error) => Err(InputError::Read(name, error)),
            },
        };
        let distributor = Distributor::of(&units?)?;
        Ok(Situation::of(&distributor, self.bootstrap_app.as_deref()))
    }

    fn print(&self, answer: &impl Serialize, text: impl Fn() -> String) -> Result<(), CliError> {
        let text = match self.format {
            Format::Table => text(),
            Format::Json => format!("{:#}\n", report::value(answer)),
        };
        match io::stdout().write_all(text.as_bytes()) {
            // The reader has seen enough.
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
            written => written.map_err(CliError::Write),
        }
    }
}

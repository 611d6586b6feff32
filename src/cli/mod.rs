//! The same executable on a laptop: what the charm would do with a model as `juju show-unit` shows
//! it, and why. It decides with the code that runs in the charm, and reaches no model.

mod completions;
pub mod document;
pub mod model;
mod output;

use std::ffi::OsString;
use std::io::{self, IsTerminal, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Args, CommandFactory, Parser, Subcommand, ValueEnum};
use serde::Serialize;

use crate::chain;
use crate::core::names::UnitName;
use crate::core::plan::Plan;
use crate::core::wire::{self, Change, printable};
use crate::report::View;
use crate::report::changes::{PlannedChange, planned_changes};
use crate::report::check::{Finding, findings};
use crate::report::hosts::Report;
use document::{Document, InputError};
use model::{Distributor, ShownModel};

/// Shows what the token distributor would do with a model, and why.
///
/// The input is what `juju show-unit` prints, as YAML or JSON. Name one unit of
/// the distributor and one of each related application, because Juju shows a unit
/// what the other side wrote:
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
    after_help = "Exit status: 0 done, 1 the input cannot be used, 2 wrong usage."
)]
pub struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Show what the charm would write, every host, and what is wrong
    Plan {
        #[command(flatten)]
        input: Input,
        #[command(flatten)]
        output: Output,
    },
    /// Show one host: how far it has come, and what happens next
    Explain {
        /// The host's name, as `hostname` prints it there
        host: String,
        #[command(flatten)]
        input: Input,
        #[command(flatten)]
        output: Output,
    },
    /// Print a completion script for a shell to source
    Completions {
        /// Which shell
        shell: Shell,
    },
}

#[derive(Debug, Args)]
struct Input {
    /// Output of `juju show-unit`, or several [default: standard input]
    #[arg(value_name = "FILE")]
    files: Vec<PathBuf>,
    /// The option bootstrap-app, if not as in the ledger
    #[arg(long, value_name = "NAME")]
    bootstrap_app: Option<String>,
    /// Only this distributor of several [default: all]
    #[arg(long, value_name = "APP")]
    distributor: Option<String>,
}

#[derive(Debug, Args)]
struct Output {
    /// table, json or yaml
    #[arg(long, value_enum, default_value_t = Format::Table, hide_possible_values = true)]
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
            Command::Plan { input, output } => {
                let situations = input.situations()?;
                let plans: Vec<_> = situations.iter().map(Situation::plan).collect();
                let text = |plan: &output::Planned| plan.to_text();
                Ok(output.format.show(&plans, text))
            }
            Command::Explain {
                host,
                input,
                output,
            } => {
                let situations = input.situations()?;
                let stories = situations
                    .iter()
                    .filter_map(|situation| situation.explain(host));
                let stories: Vec<_> = stories.collect();
                if stories.is_empty() {
                    return Err(CliError::NoHost(printable(host)));
                }
                let text = |story: &output::Explained| story.to_text();
                Ok(output.format.show(&stories, text))
            }
            Command::Completions { shell } => Ok(completions::completions(&Cli::command(), *shell)),
        }
    }
}

impl Format {
    /// One answer as it is; several, of several distributors, as a list.
    fn show<T: Serialize>(self, answers: &[T], text: impl Fn(&T) -> String) -> String {
        match (self, answers) {
            (Format::Table, _) => answers.iter().map(text).collect::<Vec<_>>().join("\n"),
            (Format::Json, [answer]) => output::json(answer),
            (Format::Json, answers) => output::json(&answers),
            (Format::Yaml, [answer]) => output::yaml(answer),
            (Format::Yaml, answers) => output::yaml(&answers),
        }
    }
}

impl Input {
    /// What the input shows of each distributor.
    fn situations(&self) -> Result<Vec<Situation>, InputError> {
        let mut files = self.files.clone();
        if files.is_empty() {
            files.push("-".into());
        }
        let documents: Result<_, _> = files.iter().map(|file| read(file)).collect();
        let model = ShownModel::of(documents?)?;
        let distributors = model.chosen(self.distributor.as_deref())?;
        let situation = |distributor: &Distributor| {
            let view = distributor.view(self.bootstrap_app.as_deref())?;
            let notes = model.notes.iter().chain(&distributor.notes).cloned();
            Some(Situation::of(distributor, view, notes.collect()))
        };
        Ok(distributors.into_iter().filter_map(situation).collect())
    }
}

fn read(file: &Path) -> Result<Document, InputError> {
    if file == Path::new("-") {
        let stdin = io::stdin();
        if stdin.is_terminal() {
            eprintln!("waiting for the output of `juju show-unit` on standard input");
        }
        let name = "standard input";
        return Document::parse(name, &document::read(name, stdin)?);
    }
    let name = file.display().to_string();
    let source = std::fs::File::open(file).map_err(|source| InputError::Read {
        file: name.clone(),
        source,
    })?;
    Document::parse(&name, &document::read(&name, source)?)
}

/// One distributor in the input, and what it would do.
///
/// Status, changes and findings are `None` where the input lacks what a plan rests on.
struct Situation {
    unit: UnitName,
    status: Option<String>,
    changes: Option<Vec<PlannedChange>>,
    findings: Option<Vec<Finding>>,
    /// The hosts once the changes are written.
    report: Report,
    incomplete: Vec<String>,
}

impl Situation {
    fn of(distributor: &Distributor, view: View, mut incomplete: Vec<String>) -> Self {
        let lacks = distributor.lacks();
        let mut plan = view.plan();
        if !distributor.shows_all_units() {
            keep_what_an_unseen_unit_may_have_announced(&mut plan);
        }
        // A plan is the difference from what the ledger says. Before it says anything, and where
        // the input does not show it, the plan rests on all the rest, and so on all that is
        // lacking.
        let is_known = view.ledger.leader.is_some() || lacks.is_empty();
        let then = after(&view, &plan);
        let mut report = Report::of(&then);
        if !is_known {
            report.leave_open();
        }
        incomplete.extend(lacks);
        Situation {
            changes: is_known.then(|| planned_changes(&view, &plan)),
            status: is_known.then(|| plan.status().to_string()),
            findings: is_known.then(|| findings_after(&then, &report)),
            unit: view.unit,
            report,
            incomplete,
        }
    }

    fn plan(&self) -> output::Planned<'_> {
        output::Planned {
            unit: self.unit.as_str(),
            status: self.status.as_deref(),
            bootstrap_app: self.report.bootstrap_app.as_deref(),
            communicators: &self.report.communicators,
            hosts: &self.report.hosts,
            other_keys: &self.report.other_keys,
            changes: self.changes.as_deref(),
            findings: self.findings.as_deref(),
            incomplete: &self.incomplete,
        }
    }

    fn explain(&self, host: &str) -> Option<output::Explained<'_>> {
        let story = self.report.host(host)?;
        let keys = ["mirror-", "host-", "spent-"].map(|of| printable(&[of, host].concat()));
        let changes = self.changes.as_ref().map(|changes| {
            let changes = changes.iter().filter(|change| keys.contains(&change.key));
            changes.cloned().collect()
        });
        Some(output::Explained {
            host: story,
            next: self.report.next(story),
            changes,
            incomplete: &self.incomplete,
        })
    }
}

/// What is wrong once the plan is carried out. What it mends itself is no finding, and that a
/// relation is passed over is something that only Juju shows.
fn findings_after(then: &View, report: &Report) -> Vec<Finding> {
    let mut findings = findings(then, &then.plan(), report);
    findings.retain(|finding| !["out-of-date", "relation-passed-over"].contains(&finding.kind));
    findings
}

/// A mirror key that no unit announces is removed. A unit that the input lacks may announce it.
fn keep_what_an_unseen_unit_may_have_announced(plan: &mut Plan) {
    for writes in plan.writes.values_mut() {
        writes
            .unit
            .retain(|key, change| *change != Change::Remove || wire::mirrored(key).is_none());
    }
    plan.writes.retain(|_, writes| !writes.is_empty());
}

/// The view once the plan is carried out.
fn after(view: &View, plan: &Plan) -> View {
    let mut view = view.clone();
    view.ledger = plan.ledger.clone();
    for (id, writes) in &plan.writes {
        if let Some(relation) = view.world.relations.get_mut(id) {
            if let Some(bag) = &mut relation.own_app {
                wire::apply(bag, &writes.app);
            }
            if let Some(bag) = &mut relation.own_unit {
                wire::apply(bag, &writes.unit);
            }
        }
    }
    view
}

//! The same executable on a laptop: what the charm would do with a model as `juju show-unit` shows
//! it, and why. It decides with the code that runs in the charm, and reaches no model.

pub mod document;
pub mod model;
mod output;
pub mod verdict;

use std::ffi::OsString;
use std::io::{self, IsTerminal, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand, ValueEnum};
use serde::Serialize;

use crate::chain;
use crate::core::plan::Plan;
use crate::core::wire::{self, Change, printable};
use crate::report::View;
use crate::report::changes::{PlannedChange, planned_changes};
use crate::report::check::{Finding, findings};
use crate::report::hosts::Report;
use document::{Document, InputError};
use model::{Distributor, Lack};
use verdict::{Verdict, lost_tokens, verdict};

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
pub struct Cli {
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
    /// Output of `juju show-unit`, or several [default: standard input]
    #[arg(value_name = "FILE")]
    files: Vec<PathBuf>,
    /// The option bootstrap-app, if not as in the ledger
    #[arg(long, value_name = "NAME")]
    bootstrap_app: Option<String>,
    /// The distributor, if the input has several
    #[arg(long, value_name = "APP")]
    app: Option<String>,
    /// table or json
    #[arg(long, value_enum, default_value_t = Format::Table, hide_possible_values = true)]
    format: Format,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
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
    let answer = cli.answer();
    match answer.and_then(|(answer, status)| print(&answer).map(|()| status)) {
        Ok(status) => ExitCode::from(status),
        Err(error) => {
            eprintln!("error: {}", chain(&error));
            ExitCode::FAILURE
        }
    }
}

fn print(answer: &str) -> Result<(), CliError> {
    match io::stdout().write_all(answer.as_bytes()) {
        // The reader has seen enough.
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        written => written.map_err(CliError::Write),
    }
}

impl Cli {
    /// The answer and the exit status.
    fn answer(&self) -> Result<(String, u8), CliError> {
        match &self.command {
            Command::Plan { input, all } => {
                let situation = input.situation()?;
                let text = match input.format {
                    Format::Table => situation.to_text(*all),
                    Format::Json => output::json(&situation),
                };
                Ok((text, situation.verdict.exit_status()))
            }
            Command::Explain { host, input } => {
                let situation = input.situation()?;
                let story = situation.explain(host);
                let story = story.ok_or_else(|| CliError::NoHost(printable(host)))?;
                let text = match input.format {
                    Format::Table => story.to_text(),
                    Format::Json => output::json(&story),
                };
                Ok((text, 0))
            }
        }
    }
}

impl Input {
    /// What the input shows.
    fn situation(&self) -> Result<Situation, InputError> {
        let mut files = self.files.clone();
        if files.is_empty() {
            files.push("-".into());
        }
        let documents: Result<_, _> = files.iter().map(|file| read(file)).collect();
        let distributor = Distributor::of(documents?, self.app.as_deref())?;
        let view = distributor.view(self.bootstrap_app.as_deref());
        Ok(Situation::of(&distributor, view))
    }
}

fn read(file: &Path) -> Result<Document, InputError> {
    if file == Path::new("-") {
        let stdin = io::stdin();
        if stdin.is_terminal() {
            eprintln!("waiting for the output of `juju show-unit` on standard input");
        }
        return Document::read("standard input", stdin);
    }
    let name = file.display().to_string();
    match std::fs::File::open(file) {
        Ok(source) => Document::read(&name, source),
        Err(source) => Err(InputError::Read { file: name, source }),
    }
}

/// What the distributor in the input would do.
///
/// Status, changes and findings are `None` where the ledger was not seen, on which they rest.
#[derive(Serialize)]
#[serde(rename_all = "kebab-case")]
struct Situation {
    verdict: Verdict,
    /// Why not to go on.
    reasons: Vec<String>,
    unit: String,
    status: Option<String>,
    /// The hosts once the changes are written.
    #[serde(flatten)]
    report: Report,
    changes: Option<Vec<PlannedChange>>,
    findings: Option<Vec<Finding>>,
    incomplete: Vec<Lack>,
}

impl Situation {
    fn of(distributor: &Distributor, view: View) -> Self {
        let lacks = distributor.lacks();
        let plan = view.plan();
        let then = after(&view, &plan);
        let mut report = Report::of(&then);
        let is_known = distributor.shows_the_ledger();
        let findings = is_known.then(|| findings_after(&then, &report));
        let status = plan.applied(&[]).status().to_string();
        let plan = without_guesses(distributor, &view, plan);
        let lost_tokens = lost_tokens(&view.world, &plan);
        let (verdict, reasons) =
            verdict(&lacks, lost_tokens, findings.as_deref().unwrap_or_default());
        if !is_known {
            report.leave_open();
        }
        Situation {
            verdict,
            reasons,
            changes: is_known.then(|| planned_changes(&plan, &view.world)),
            status: is_known.then_some(status),
            findings,
            unit: view.unit.to_string(),
            report,
            incomplete: lacks,
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

/// What is wrong once the plan is carried out. What it corrects itself is no finding, and that a
/// relation is passed over is something that only Juju shows.
fn findings_after(then: &View, report: &Report) -> Vec<Finding> {
    let mut findings = findings(then, &then.plan(), report);
    findings.retain(|finding| !["out-of-date", "relation-passed-over"].contains(&finding.kind));
    findings
}

/// The plan without what rests on something that the input does not show: a unit that it lacks may
/// announce a name that no other does, and before this charm has published, a bag that it lacks may
/// show a token or a choice.
fn without_guesses(distributor: &Distributor, view: &View, mut plan: Plan) -> Plan {
    let is_published = view.ledger.leader.is_some();
    let shows_units = distributor.shows_all_units();
    let shows_tokens = is_published || distributor.shows_all_own_bags();
    let shows_choice = is_published || distributor.shows_the_choice();
    let is_guess = |name: &str, value: Option<&str>| match value {
        None => !shows_units,
        Some(wire::PLACEHOLDER) => !shows_tokens && !view.ledger.mirror.contains_key(name),
        Some(_) => false,
    };
    for writes in plan.writes.values_mut() {
        let rests_on_choice = |key: &str| [wire::BOOTSTRAP_APP, wire::MAY_BOOTSTRAP].contains(&key);
        writes
            .app
            .retain(|key, _| shows_choice || !rests_on_choice(key));
        writes.unit.retain(|key, change| {
            let value = match change {
                Change::Set(value) => Some(value.as_str()),
                Change::Remove => None,
            };
            wire::mirrored(key).is_none_or(|name| !is_guess(name, value))
        });
    }
    plan.writes.retain(|_, writes| !writes.is_empty());
    let mirror = plan.ledger.mirror.iter();
    let guesses = mirror.filter(|(name, value)| is_guess(name, Some(value.as_str())));
    let guesses: Vec<String> = guesses.map(|(name, _)| name.clone()).collect();
    for name in guesses {
        plan.ledger.mirror.remove(&name);
    }
    // What bags of ours show already takes no turn.
    if !shows_tokens {
        plan.ledger.queue.clone_from(&view.ledger.queue);
        plan.ledger.let_in.clone_from(&view.ledger.let_in);
    }
    if !shows_choice {
        plan.ledger.bootstrap_app = view.ledger.bootstrap_app.clone();
    }
    plan
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

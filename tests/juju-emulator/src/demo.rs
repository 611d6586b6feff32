//! The demonstration: hosts become one cluster while a person watches.
//!
//! Every charm runs as processes, as on a real machine. What is shown of it comes from what hooks
//! committed and from who is in a cluster, not from what any charm says about itself.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Display;
use std::fs;
use std::io::{self, Write};
use std::path::PathBuf;
use std::process::{self, ExitCode};
use std::str::FromStr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use anstyle::{AnsiColor, Style};
use clap::value_parser;
use comfy_table::{ContentArrangement, Table, presets};
use juju_emulator::deployment::{DISTRIBUTOR, Deployment, Form, Provider, Setup};
use juju_emulator::library;
use juju_emulator::model::BagOwner;
use juju_emulator::record::Commit;
use juju_emulator::{Failure, JujuGeneration, UnitName, executables};
use microcluster_token_distributor::chain;
use microcluster_token_distributor::core::fingerprint::fingerprint;
use microcluster_token_distributor::core::wire::{BOOTSTRAP_APP, HOSTNAME, Value, mirrored};
use microovn::consumer::Release;
use tempfile::TempDir;

/// The usual width of a terminal.
const WIDTH: u16 = 80;

const FAINT: Style = Style::new().dimmed();
const BOLD: Style = Style::new().bold();
const GOOD: Style = AnsiColor::Green.on_default().bold();
const BAD: Style = AnsiColor::Red.on_default().bold();

/// What to show.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Units of each consumer application
    #[arg(long, default_value_t = 3, value_parser = value_parser!(u16).range(1..=100))]
    units: u16,
    /// Consumer applications
    #[arg(long, default_value_t = 1, value_parser = value_parser!(u16).range(1..=10))]
    apps: u16,
    /// Units of the distributor
    #[arg(long, default_value_t = 1, value_parser = value_parser!(u16).range(1..=10))]
    distributor_units: u16,
    /// Which library the MicroOVN stand-ins have; `library` is the one in `lib`,
    /// in an example charm in Python
    #[arg(long, default_value = "newest", value_name = "released|newest|library")]
    consumer: Consumer,
    /// Which Juju
    #[arg(long, default_value = "4", value_name = "3|4")]
    juju: JujuGeneration,
    /// Replays what chance decided in an earlier run
    #[arg(long)]
    seed: Option<u64>,
    /// Deploy this packed charm instead of building one
    #[arg(long, value_name = "PATH")]
    charm: Option<PathBuf>,
}

#[derive(Clone, Copy)]
enum Consumer {
    StandIn(Release),
    Library,
}

impl FromStr for Consumer {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match (text, text.parse()) {
            ("library", _) => Ok(Self::Library),
            (_, Ok(release)) => Ok(Self::StandIn(release)),
            _ => Err("neither a release nor `library`".to_owned()),
        }
    }
}

impl Args {
    fn setup(&self) -> Setup {
        let (consumer, consumers) = match self.consumer {
            Consumer::StandIn(release) => (release, Form::Processes),
            // Which stand-in it is does not matter then.
            Consumer::Library => (Release::Second, Form::Library(library::Version::V1)),
        };
        Setup {
            juju: self.juju,
            // Short enough to be typed again.
            seed: self.seed.unwrap_or_else(|| fastrand::u64(..1_000_000)),
            apps: self.apps.into(),
            units: self.units.into(),
            distributor_units: self.distributor_units.into(),
            beside: None,
            consumer,
            distributor: match &self.charm {
                Some(path) => Provider::Packed(path.clone()),
                None => Provider::Executable,
            },
            consumers,
            ..Setup::default()
        }
    }
}

/// Shows it. The exit status says whether the hosts became one cluster.
pub(crate) fn run(args: &Args) -> ExitCode {
    let folder = match one_folder_for_all_files() {
        Ok(folder) => folder,
        Err(error) => {
            anstream::eprintln!("{BAD}error:{BAD:#} cannot make a folder: {error}");
            return ExitCode::FAILURE;
        }
    };
    let shown = show(&args.setup(), &mut anstream::stdout().lock());
    // What fails because a person ended the demonstration is nothing to speak of.
    while IS_INTERRUPTED.load(Ordering::SeqCst) {
        thread::park();
    }
    drop(folder);
    match shown {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            anstream::eprintln!("{BAD}error:{BAD:#} {}", chain(&*error));
            ExitCode::FAILURE
        }
    }
}

/// Whether a person ended the demonstration.
static IS_INTERRUPTED: AtomicBool = AtomicBool::new(false);

/// The exit status of what Ctrl+C ended, as shells have it.
const INTERRUPTED: i32 = 130;

/// Puts all temporary files into one folder, which goes when the demonstration ends, in whatever way.
fn one_folder_for_all_files() -> io::Result<TempDir> {
    // Paths of sockets must be short, so this is no deeper than it has to be.
    let folder = tempfile::Builder::new().prefix("juju-demo-").tempdir()?;
    let path = folder.path().to_owned();
    // There is one demonstration in a process.
    let _ = tempfile::env::override_temp_dir(&path);
    ctrlc::set_handler(move || {
        IS_INTERRUPTED.store(true, Ordering::SeqCst);
        // A hook that still runs may write once more.
        let is_gone = || fs::remove_dir_all(&path).is_ok() || !path.exists();
        let _ = (0..100).any(|_| is_gone());
        process::exit(INTERRUPTED);
    })
    .map_err(io::Error::other)?;
    Ok(folder)
}

fn show(setup: &Setup, out: &mut impl Write) -> Result<bool, Failure> {
    if setup.consumers != Form::Processes {
        // Whoever has no Python for it need not wait for the build.
        library::python()?;
    }
    build(setup)?;
    let mut deployment = setup.deploy()?;
    for line in juju_lines(setup, deployment.apps()) {
        writeln!(out, "{FAINT}${FAINT:#} {BOLD}{line}{BOLD:#}")?;
    }
    writeln!(out)?;
    deployment.relate_all()?;
    show_timeline(&mut deployment, out)?;

    show_table(
        out,
        ["Unit", "Workload", "Agent", "Machine", "Message"],
        status_rows(&deployment),
    )?;
    show_table(
        out,
        ["Host", "Mirror in the ledger"],
        mirror_rows(&deployment),
    )?;

    let seed = setup.seed;
    writeln!(out, "\n{FAINT}The same again: --seed {seed}{FAINT:#}")?;
    let outcome = deployment.outcome()?;
    let style = if outcome.is_one_cluster() { GOOD } else { BAD };
    writeln!(out, "{style}{outcome}{style:#}")?;
    Ok(outcome.is_one_cluster())
}

/// Builds what the model runs, which takes a while the first time.
fn build(setup: &Setup) -> Result<(), Failure> {
    let stand_in = match setup.consumers {
        Form::Library(_) => (
            "microovn",
            "microovn",
            "the stand-in for the command microovn",
        ),
        _ => ("microovn", "microovn-charm", "the stand-in for MicroOVN"),
    };
    let mut packages = vec![("juju-emulator", "jujuc", "the hook tools"), stand_in];
    if setup.distributor == Provider::Executable {
        packages.push((DISTRIBUTOR, DISTRIBUTOR, "the token distributor"));
    }
    // Beside the output proper, so that this can go to a file.
    let count = packages.len();
    anstream::eprintln!(
        "{FAINT}Building {count} programs: a minute or two, the first time{FAINT:#}"
    );
    for (package, executable, what) in packages {
        anstream::eprint!("{FAINT}  {what}{FAINT:#}");
        let started = Instant::now();
        executables::executable(package, executable)?;
        let took = started.elapsed().as_secs_f32();
        anstream::eprintln!("{FAINT} {took:.1} s{FAINT:#}");
    }
    anstream::eprintln!();
    Ok(())
}

/// What one would type to get this deployment from a real Juju.
fn juju_lines(setup: &Setup, apps: &[String]) -> Vec<String> {
    let deploy = |what: String, units| match units {
        1 => format!("juju deploy {what}"),
        units => format!("juju deploy {what} -n {units}"),
    };
    let charm = match setup.consumers {
        Form::Library(_) => "./consumer-charm.charm",
        _ => "microovn",
    };
    let consumers = apps.iter().map(|app| match app.as_str() {
        app if app == charm => deploy(app.to_owned(), setup.units),
        alias => deploy(format!("{charm} {alias}"), setup.units),
    });
    let distributor = match &setup.distributor {
        Provider::Packed(path) => path.display().to_string(),
        _ => DISTRIBUTOR.to_owned(),
    };
    // In one line it is too wide for a terminal.
    let relations = apps.iter().map(|app| {
        format!("juju integrate {app}:cluster \\\n    {DISTRIBUTOR}:microcluster-cluster")
    });
    consumers
        .chain([deploy(distributor, setup.distributor_units)])
        .chain(relations)
        .collect()
}

/// Lets everything happen and prints what did.
fn show_timeline(deployment: &mut Deployment, out: &mut impl Write) -> Result<(), Failure> {
    /// Far more than a hundred units need; a model that never rests is shown as it is.
    const MOST_STEPS: usize = 100_000;

    let mut story = Story::new(deployment);
    let started = Instant::now();
    for _ in 0..MOST_STEPS {
        if !deployment.world.step() {
            break;
        }
        for Event { who, what } in story.news(deployment)? {
            let width = story.longest_name;
            let at = seconds(started.elapsed());
            let indent = at.len() + width + 4;
            let mut lines = wrapped(&what, usize::from(WIDTH).saturating_sub(indent)).into_iter();
            let first = lines.next().unwrap_or_default();
            writeln!(
                out,
                "{FAINT}{at}{FAINT:#}  {BOLD}{who:width$}{BOLD:#}  {first}"
            )?;
            for line in lines {
                writeln!(out, "{:indent$}{line}", "")?;
            }
        }
    }
    Ok(())
}

/// The words of `text` in lines of at most `width`.
fn wrapped(text: &str, width: usize) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    for word in text.split(' ') {
        match lines.last_mut() {
            Some(line) if line.len() + 1 + word.len() <= width => {
                line.push(' ');
                line.push_str(word);
            }
            _ => lines.push(word.to_owned()),
        }
    }
    lines
}

fn seconds(time: Duration) -> String {
    format!("{:6.2} s", time.as_secs_f32())
}

/// Something that a person would want to know.
struct Event {
    who: String,
    what: String,
}

/// What was printed so far.
struct Story {
    commits: usize,
    members: BTreeSet<String>,
    clusters: usize,
    units: BTreeMap<String, UnitName>,
    longest_name: usize,
}

impl Story {
    fn new(deployment: &Deployment) -> Self {
        let units = deployment.consumer_units();
        let statuses = deployment.world.status();
        let names = statuses.iter().map(|status| status.unit.as_str().len());
        Story {
            commits: 0,
            members: BTreeSet::new(),
            clusters: 0,
            longest_name: names.max().unwrap_or_default(),
            units: units
                .into_iter()
                .map(|unit| (deployment.hostname(unit.as_str()), unit))
                .collect(),
        }
    }

    /// What has happened since the last time.
    fn news(&mut self, deployment: &Deployment) -> Result<Vec<Event>, Failure> {
        let mut events = self.newcomers(&deployment.clusters()?);
        let commits = deployment.world.commits();
        events.extend(commits[self.commits..].iter().flat_map(told));
        self.commits = commits.len();
        Ok(events)
    }

    fn newcomers(&mut self, clusters: &[Vec<String>]) -> Vec<Event> {
        let mut events = Vec::new();
        for host in clusters.iter().flatten() {
            if !self.members.insert(host.clone()) {
                continue;
            }
            // One hook at a time: a cluster that is new was bootstrapped by whoever is new.
            let what = if clusters.len() > self.clusters {
                format!("bootstraps on {host}")
            } else {
                let (joined, all) = (self.members.len(), self.units.len());
                format!("joins as {host} ({joined} of {all})")
            };
            self.clusters = clusters.len();
            let who = self.units.get(host).map_or(host.as_str(), UnitName::as_str);
            events.push(Event {
                who: who.to_owned(),
                what,
            });
        }
        events
    }
}

/// What makes the hosts join, in the order in which one commit shows it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Deed {
    Announces,
    Chooses,
    Mints,
    Mirrors,
    KnowsMember,
    Asks,
}

impl Deed {
    /// What setting a key to a value means, and whom it is about.
    fn of<'a>(key: &'a str, value: &'a str, by_distributor: bool) -> Option<(Deed, &'a str)> {
        match (key, mirrored(key)) {
            (HOSTNAME, _) => Some((Deed::Announces, value)),
            (BOOTSTRAP_APP, _) => Some((Deed::Chooses, value)),
            (_, Some(host)) if !by_distributor => Some((Deed::Mints, host)),
            (_, Some(host)) => match Value::from(value) {
                Value::Text(_) => Some((Deed::Mirrors, host)),
                Value::Member => Some((Deed::KnowsMember, host)),
                Value::Placeholder => Some((Deed::Asks, host)),
                Value::Retired => None,
            },
            _ => None,
        }
    }

    fn words(self, whose: &BTreeSet<&str>) -> String {
        let names = listed(whose);
        let (tokens, members) = match whose.len() {
            1 => ("a token", "a member"),
            _ => ("tokens", "members"),
        };
        match self {
            Deed::Announces => format!("announces {names}"),
            Deed::Chooses => format!("lets {names} bootstrap the cluster"),
            Deed::Mints => format!("makes {tokens} for {names}"),
            Deed::Mirrors => format!("mirrors {tokens} for {names}"),
            Deed::KnowsMember => format!("notes {names} as {members}"),
            Deed::Asks => format!("asks for {tokens} for {names}"),
        }
    }
}

/// A commit in words.
fn told(commit: &Commit) -> Vec<Event> {
    let by_distributor = commit.unit.application() == DISTRIBUTOR;
    // The same deed in every relation is one.
    let mut deeds: BTreeMap<Deed, BTreeSet<&str>> = BTreeMap::new();
    for change in &commit.changes {
        // The ledger, an application bag, repeats the mirror.
        let is_application = matches!(change.owner, BagOwner::App(_));
        for (key, (_, value)) in &change.keys {
            let deed = value
                .as_ref()
                .and_then(|value| Deed::of(key, value, by_distributor));
            if let Some((deed, whom)) = deed
                && (deed == Deed::Chooses || !by_distributor || !is_application)
            {
                deeds.entry(deed).or_default().insert(whom);
            }
        }
    }
    let event = |(deed, whose): (Deed, BTreeSet<&str>)| Event {
        who: commit.unit.as_str().to_owned(),
        what: deed.words(&whose),
    };
    deeds.into_iter().map(event).collect()
}

/// Names as a sentence takes them, the first few of many.
fn listed(names: &BTreeSet<&str>) -> String {
    const SHOWN: usize = 4;

    let shown: Vec<&str> = names.iter().copied().take(SHOWN).collect();
    let shown = shown.join(", ");
    match names.len().saturating_sub(SHOWN) {
        0 => shown,
        more => format!("{shown} and {more} more"),
    }
}

fn status_rows(deployment: &Deployment) -> Vec<[String; 5]> {
    let rows = deployment.world.status().into_iter().map(|status| {
        let leader = if status.leader { "*" } else { "" };
        [
            format!("{}{leader}", status.unit),
            status.workload,
            status.agent,
            status.machine.to_string(),
            status.message,
        ]
    });
    rows.collect()
}

/// The mirror in the distributor's ledger, a token only by its fingerprint.
fn mirror_rows(deployment: &Deployment) -> Vec<[String; 2]> {
    let ledger = deployment.ledger();
    let rows = ledger.mirror.iter().map(|(host, value)| {
        let shown = match value {
            Value::Text(token) => format!("{} ({} bytes)", fingerprint(token), token.len()),
            Value::Placeholder => "none yet".to_owned(),
            value => value.as_str().to_owned(),
        };
        [host.clone(), shown]
    });
    rows.collect()
}

fn show_table<const N: usize>(
    out: &mut impl Write,
    header: [&str; N],
    rows: Vec<[String; N]>,
) -> io::Result<()> {
    let mut table = Table::new();
    table
        .load_style(presets::NOTHING)
        .set_content_arrangement(ContentArrangement::Dynamic)
        .set_width(WIDTH)
        .set_header(header)
        .add_rows(rows);
    for column in table.column_iter_mut() {
        column.set_padding((0, 2));
    }
    writeln!(out)?;
    for (number, line) in table.lines().enumerate() {
        let style = if number == 0 { BOLD } else { Style::new() };
        writeln!(out, "{}", Styled(style, line.trim_end()))?;
    }
    Ok(())
}

struct Styled<T>(Style, T);

impl<T: Display> Display for Styled<T> {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Styled(style, text) = self;
        write!(formatter, "{style}{text}{style:#}")
    }
}

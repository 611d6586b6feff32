//! Many plays of the same scenarios, and one line of figures for each scenario.

use std::fmt;
use std::io::{self, Write};
use std::ops::Range;
use std::process::ExitCode;
use std::str::FromStr;
use std::time::Duration;

use clap::ValueEnum;
use comfy_table::{CellAlignment, Table, presets};
use juju_emulator::JujuGeneration;
use juju_emulator::clock::Happened;
use juju_emulator::deployment::{Deployment, Provider, Setup};
use juju_emulator::python::Rules;
use juju_emulator::record::Detail;
use juju_emulator::simulation::{Act, Arrival, Relate, Report, Scenario, Trouble};
use microcluster_token_distributor::chain;
use microovn::consumer::{Release, UnknownRelease};
use microovn::microcluster::{Series, Settings};
use serde::Serialize;

use crate::each;

/// Between two relations in turn, and within which machines come up at deployment.
const MINUTE: Duration = Duration::from_secs(60);
/// Between two hosts that come one by one.
const BETWEEN: Duration = Duration::from_secs(30);

/// What to play. Options that take a list play every combination, but for troubles and acts.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Consumer applications
    #[arg(long, default_value = "1", value_delimiter = ',', value_name = "N,...")]
    apps: Vec<usize>,
    /// Units of each consumer application
    #[arg(long, default_value = "3", value_delimiter = ',', value_name = "N,...")]
    units: Vec<usize>,
    /// Units of the distributor
    #[arg(long, default_value = "1", value_delimiter = ',', value_name = "N,...")]
    distributor_units: Vec<usize>,
    /// Which consumer library: `released` is what MicroOVN has today, `second` has the second
    /// protocol; of two with a plus between, every second application has the other, or every
    /// second unit of a single one
    #[arg(
        long,
        default_value = "newest",
        value_delimiter = ',',
        value_name = "released|newest|second|ONE+OTHER,..."
    )]
    consumer: Vec<Mix>,
    /// Which Juju: 3 or 4
    #[arg(
        long,
        default_value = "4",
        value_delimiter = ',',
        value_name = "3|4,..."
    )]
    juju: Vec<JujuGeneration>,
    /// Which distributor: this charm, in this process or built for a machine, or the rules of the
    /// Python charm's versions 0.4 and 0.8
    #[arg(long, value_enum, default_value = "ours", value_delimiter = ',')]
    provider: Vec<ProviderName>,
    /// When applications are related: in one instant, one a minute, or before any machine is up
    #[arg(long, value_enum, default_value = "together", value_delimiter = ',')]
    relate: Vec<RelateName>,
    /// When hosts come: all at once, or one every 30 seconds
    #[arg(long, value_enum, default_value = "burst", value_delimiter = ',')]
    arrival: Vec<ArrivalName>,
    /// What goes wrong while hosts join
    #[arg(long, value_enum, value_delimiter = ',')]
    trouble: Vec<Trouble>,
    /// What happens once all have joined, one after the other
    #[arg(long, value_enum, value_delimiter = ',')]
    act: Vec<Act>,
    /// Which microcluster: `v2` is that of MicroOVN 24.03 and 25.03, `v3` that of 26.03
    #[arg(long, value_enum, default_value = "v2")]
    microcluster: Series,
    /// How often each scenario is played, or which seeds
    #[arg(long, default_value = "10", value_name = "COUNT|FROM-TO", value_parser = seeds)]
    seeds: Range<u64>,
    /// How many plays at a time
    #[arg(long, value_name = "N")]
    jobs: Option<usize>,
    /// What to print
    #[arg(long, value_enum, default_value = "table")]
    format: Format,
    /// Print every hook with the names of the keys that it wrote
    #[arg(long)]
    trace: bool,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Format {
    Table,
    Json,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum, Serialize)]
#[serde(rename_all = "kebab-case")]
enum ProviderName {
    Ours,
    Executable,
    Pb,
    Pe,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum, Serialize)]
#[serde(rename_all = "kebab-case")]
enum RelateName {
    Together,
    InTurn,
    AtDeployment,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum, Serialize)]
#[serde(rename_all = "kebab-case")]
enum ArrivalName {
    Burst,
    Trickle,
}

/// One consumer, or two side by side.
#[derive(Clone, Copy)]
struct Mix {
    first: Release,
    beside: Option<Release>,
}

impl fmt::Display for Mix {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.beside {
            None => write!(formatter, "{}", self.first),
            Some(beside) => write!(formatter, "{}+{beside}", self.first),
        }
    }
}

impl FromStr for Mix {
    type Err = UnknownRelease;

    fn from_str(text: &str) -> Result<Self, UnknownRelease> {
        let (first, beside) = match text.split_once('+') {
            None => (text, None),
            Some((first, beside)) => (first, Some(beside.parse()?)),
        };
        let first = first.parse()?;
        Ok(Mix { first, beside })
    }
}

fn seeds(text: &str) -> Result<Range<u64>, String> {
    let seeds = match text.split_once('-') {
        None => text.parse().map(|count| 0..count),
        Some((from, to)) => from
            .parse::<u64>()
            .and_then(|from| Ok(from..to.parse::<u64>()? + 1)),
    };
    seeds.map_err(|_| "neither a number nor two with a dash between".to_owned())
}

fn in_words<S: serde::Serializer>(
    value: impl fmt::Display,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    serializer.collect_str(&value)
}

/// What distinguishes one line of the table from another, and what was played.
#[derive(Clone, Serialize)]
struct Line {
    provider: ProviderName,
    #[serde(serialize_with = "in_words")]
    consumer: Mix,
    #[serde(serialize_with = "in_words")]
    juju: JujuGeneration,
    apps: usize,
    units: usize,
    distributor_units: usize,
    relate: RelateName,
    arrival: ArrivalName,
    reports: Vec<Report>,
}

impl Args {
    /// Every combination, the last option first to change.
    fn lines(&self) -> Vec<Line> {
        let first = Line {
            provider: self.provider[0],
            consumer: self.consumer[0],
            juju: self.juju[0],
            apps: 0,
            units: 0,
            distributor_units: 0,
            relate: self.relate[0],
            arrival: self.arrival[0],
            reports: Vec::new(),
        };
        let lines = with_each(&[first], &self.consumer, |line, it| line.consumer = it);
        let lines = with_each(&lines, &self.arrival, |line, it| line.arrival = it);
        let lines = with_each(&lines, &self.relate, |line, it| line.relate = it);
        let lines = with_each(&lines, &self.juju, |line, it| line.juju = it);
        let lines = with_each(&lines, &self.apps, |line, it| line.apps = it);
        let lines = with_each(&lines, &self.distributor_units, |line, it| {
            line.distributor_units = it
        });
        let lines = with_each(&lines, &self.units, |line, it| line.units = it);
        with_each(&lines, &self.provider, |line, it| line.provider = it)
    }

    fn scenario(&self, line: &Line, seed: u64) -> Scenario {
        let setup = Setup {
            juju: line.juju,
            seed,
            apps: line.apps,
            units: line.units,
            distributor_units: line.distributor_units,
            consumer: line.consumer.first,
            beside: line.consumer.beside,
            distributor: match line.provider {
                ProviderName::Ours => Provider::Library,
                ProviderName::Executable => Provider::Executable,
                ProviderName::Pb => Provider::Python(Rules::B),
                ProviderName::Pe => Provider::Python(Rules::E),
            },
            cluster: Settings {
                series: self.microcluster,
                ..Settings::default()
            },
            ..Setup::default()
        };
        Scenario {
            relate: match line.relate {
                RelateName::Together => Relate::Together,
                RelateName::InTurn => Relate::InTurn(MINUTE),
                RelateName::AtDeployment => Relate::AtDeployment(MINUTE),
            },
            arrival: match line.arrival {
                ArrivalName::Burst => Arrival::Burst,
                ArrivalName::Trickle => Arrival::Trickle(BETWEEN),
            },
            troubles: self.trouble.clone(),
            acts: self.act.clone(),
            ..setup.into()
        }
    }
}

fn with_each<T: Copy>(lines: &[Line], values: &[T], set: fn(&mut Line, T)) -> Vec<Line> {
    let with = |line: &Line, value: T| {
        let mut line = line.clone();
        set(&mut line, value);
        line
    };
    let each = |line| values.iter().map(move |value| with(line, *value));
    lines.iter().flat_map(each).collect()
}

/// Plays everything. The exit status says whether this charm made one cluster every time.
pub(crate) fn run(args: &Args) -> ExitCode {
    match simulate(args) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            anstream::eprintln!("error: {}", chain(&*error));
            ExitCode::FAILURE
        }
    }
}

fn simulate(args: &Args) -> Result<bool, juju_emulator::Failure> {
    let mut lines = args.lines();
    let plays: Vec<(usize, u64)> = (0..lines.len())
        .flat_map(|line| args.seeds.clone().map(move |seed| (line, seed)))
        .collect();
    let jobs = if args.trace { Some(1) } else { args.jobs };
    let reports = each("plays", &plays, jobs, |&(line, seed)| {
        let scenario = args.scenario(&lines[line], seed);
        match args.trace {
            true => scenario.play_to(Detail::Full, &mut trace),
            false => scenario.play(),
        }
    });
    for ((line, _), report) in plays.into_iter().zip(reports) {
        lines[line].reports.push(report?);
    }
    let mut out = io::stdout().lock();
    match args.format {
        Format::Table => writeln!(out, "{}", table(&lines))?,
        Format::Json => writeln!(out, "{}", serde_json::to_string_pretty(&lines)?)?,
    }
    let is_ours = |line: &&Line| !matches!(line.provider, ProviderName::Pb | ProviderName::Pe);
    let mut ours = lines.iter().filter(is_ours);
    Ok(ours.all(|line| line.reports.iter().all(Report::is_one_cluster)))
}

fn trace(now: Duration, happened: &Happened<'_>, deployment: &Deployment) {
    let at = now.as_secs_f64();
    let run = match happened {
        Happened::Began(unit, hook) => return println!("{at:10.3}  {unit}  {hook} ..."),
        Happened::Resumed(unit) => return println!("{at:10.3}  {unit}  goes on"),
        Happened::Ended(run) => run,
    };
    let about = run.remote_unit.as_deref().unwrap_or_default();
    let failure = run.failure.as_deref().map(|why| format!("  FAILED: {why}"));
    let (failure, calls) = (failure.unwrap_or_default(), run.tool_calls.len());
    println!(
        "{at:10.3}  {}  {} {about} ended, {calls} calls{failure}",
        run.unit, run.hook
    );
    for line in &deployment.world.model().log {
        println!("{:12}{} {}", "", line.level, line.text);
    }
    for change in deployment
        .world
        .commits()
        .iter()
        .flat_map(|commit| &commit.changes)
    {
        let keys: Vec<&str> = change.keys.keys().map(String::as_str).collect();
        println!(
            "{:12}{} {:?}: {}",
            "",
            change.relation,
            change.owner,
            keys.join(" ")
        );
    }
}

/// A column: its name and what is in it.
type Column = (&'static str, fn(&Line) -> String);

const COLUMNS: [Column; 22] = [
    ("provider", |line| name(line.provider)),
    ("consumer", |line| line.consumer.to_string()),
    ("juju", |line| line.juju.to_string()),
    ("apps×units", |line| {
        format!("{}×{}", line.apps, line.units)
    }),
    ("distr.", |line| line.distributor_units.to_string()),
    ("related", |line| name(line.relate)),
    ("hosts come", |line| name(line.arrival)),
    ("one cluster", |line| {
        let good = line.reports.iter().filter(|report| report.is_one_cluster());
        format!("{} of {}", good.count(), line.reports.len())
    }),
    ("joined", |line| {
        format!(
            "{} of {}",
            line.sum(|report| report.joined),
            line.sum(|report| report.hosts)
        )
    }),
    ("joins at once", |line| {
        let reports = line.reports.iter();
        let most = reports.map(|report| report.cluster.joins_at_once).max();
        most.unwrap_or_default().to_string()
    }),
    ("failed joins", |line| {
        line.sum(|report| report.cluster.failed_joins).to_string()
    }),
    ("half in", |line| {
        line.sum(|report| report.cluster.half_joined).to_string()
    }),
    ("tokens spent in vain", |line| {
        line.sum(|report| report.cluster.spent_in_vain).to_string()
    }),
    ("clusters lost", |line| {
        line.sum(|report| report.cluster.clusters_lost).to_string()
    }),
    ("seconds", |line| {
        spread(line.reports.iter().filter_map(|report| report.seconds), 1)
    }),
    ("consumer hooks", |line| {
        line.spread(|report| report.consumer_hooks)
    }),
    ("failed hooks", |line| {
        let consumers = line.sum(|report| report.consumer_crashes);
        let ours = line.sum(|report| report.provider_crashes);
        format!("{consumers}, {ours} of provider")
    }),
    ("in error", |line| {
        line.sum(|report| usize::from(report.stuck > 0)).to_string()
    }),
    ("live tokens replaced", |line| {
        line.sum(|report| report.live_tokens_replaced).to_string()
    }),
    ("tokens left", |line| {
        let theirs = line.sum(|report| report.consumer_tokens_left);
        format!(
            "{} ours, {theirs} theirs",
            line.sum(|report| report.tokens_left)
        )
    }),
    ("provider hooks", |line| {
        line.spread(|report| report.provider_hooks)
    }),
    ("calls/host", |line| {
        let per_host = |report: &Report| report.provider_calls as f64 / report.hosts.max(1) as f64;
        spread(line.reports.iter().map(per_host), 1)
    }),
];

fn name(value: impl ValueEnum) -> String {
    let value = value.to_possible_value();
    value.map_or_else(String::new, |value| value.get_name().to_owned())
}

impl Line {
    fn sum(&self, figure: fn(&Report) -> usize) -> usize {
        self.reports.iter().map(figure).sum()
    }

    fn spread(&self, figure: fn(&Report) -> usize) -> String {
        spread(self.reports.iter().map(|report| figure(report) as f64), 0)
    }
}

fn table(lines: &[Line]) -> Table {
    let mut table = Table::new();
    table
        .load_style(presets::ASCII_MARKDOWN)
        .set_header(COLUMNS.map(|(name, _)| name));
    for column in table.column_iter_mut().skip(7) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    for line in lines {
        table.add_row(COLUMNS.map(|(_, cell)| cell(line)));
    }
    table
}

/// The median, and the extremes where there are any.
fn spread(figures: impl Iterator<Item = f64>, digits: usize) -> String {
    let mut figures: Vec<f64> = figures.collect();
    figures.sort_by(f64::total_cmp);
    match figures.as_slice() {
        [] => "-".to_owned(),
        [least, .., most] if least < most => {
            let median = figures[figures.len() / 2];
            format!("{median:.digits$} ({least:.digits$}-{most:.digits$})")
        }
        [figure, ..] => format!("{figure:.digits$}"),
    }
}

//! Many plays of the same scenarios, and one line of figures for each scenario.

use std::fmt;
use std::io::{self, Write};
use std::ops::Range;
use std::process::ExitCode;
use std::str::FromStr;
use std::time::Duration;

use clap::ValueEnum;
use comfy_table::{CellAlignment, Table, presets};
use indicatif::{ProgressBar, ProgressStyle};
use juju_emulator::JujuGeneration;
use juju_emulator::clock::{Happened, Pace};
use juju_emulator::deployment::{Deployment, DeploymentError, Provider, Setup};
use juju_emulator::model::BagOwner;
use juju_emulator::parallel;
use juju_emulator::python::Rules;
use juju_emulator::record::Detail;
use juju_emulator::simulation::{Act, Arrival, Crashes, Relate, Report, Scenario, Trouble};
use microcluster_token_distributor::chain;
use microovn::consumer::{Release, UnknownRelease};
use microovn::microcluster::{Series, Settings};
use serde::Serialize;

/// What to play. Options that take a list play every combination.
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
    /// Refresh all consumers to this one
    #[arg(
        long,
        requires = "refresh_consumers",
        value_name = "released|newest|second"
    )]
    refresh_to: Option<Release>,
    /// Seconds from the first relation to that refresh
    #[arg(long, requires = "refresh_to", value_name = "SECONDS")]
    refresh_consumers: Option<f64>,
    /// Which Juju
    #[arg(
        long,
        default_value = "4",
        value_delimiter = ',',
        value_name = "3|4,..."
    )]
    juju: Vec<JujuGeneration>,
    /// Which distributor: this charm, or the rules of the Python charm's versions 0.4 and 0.8
    #[arg(long, value_enum, default_value = "ours", value_delimiter = ',')]
    provider: Vec<ProviderName>,
    /// When applications are related
    #[arg(long, value_enum, default_value = "together", value_delimiter = ',')]
    relate: Vec<RelateName>,
    /// Seconds between two relations, for `in-turn`
    #[arg(long, default_value_t = 60.0, value_name = "SECONDS")]
    every: f64,
    /// Seconds within which machines come up, for `at-deployment`
    #[arg(long, default_value_t = 60.0, value_name = "SECONDS")]
    spread: f64,
    /// When hosts come: all at once, or one by one
    #[arg(long, value_enum, default_value = "burst", value_delimiter = ',')]
    arrival: Vec<ArrivalName>,
    /// Seconds between two hosts, for `trickle`
    #[arg(long, default_value_t = 30.0, value_name = "SECONDS")]
    between: f64,
    /// Once all have joined, add two hosts and kill the communicator before it has answered them
    #[arg(long)]
    kill_communicator: bool,
    /// Then the machine of the leading distributor dies with its mirror up, and a host comes
    #[arg(long)]
    kill_distributor: bool,
    /// Then all relations are removed and made anew, and a host comes
    #[arg(long)]
    remake_relations: bool,
    /// Then a unit leaves, and another comes on a machine of the same host name
    #[arg(long)]
    redeploy: bool,
    /// Then a machine dies, a unit comes on another of the same host name, and half an hour later
    /// a person removes the dead member
    #[arg(long)]
    redeploy_lost: bool,
    /// Then a host comes, and is off until its token has expired
    #[arg(long)]
    expire_token: bool,
    /// Seconds between two update-status hooks, give or take a fifth; 0 for none
    #[arg(long, default_value_t = 300.0, value_name = "SECONDS")]
    update_status: f64,
    /// One host is in a network in which no member can reach it, so each of its joins fails
    #[arg(long)]
    wrong_network: bool,
    /// The agent of one host does nothing any more once the host has announced itself
    #[arg(long)]
    agent_down: bool,
    /// When half of the hosts have joined, the machine of the leading distributor dies
    #[arg(long)]
    lose_distributor: bool,
    /// When half of the hosts have joined, the communicator's machine dies, and a person removes
    /// its member
    #[arg(long)]
    lose_communicator: bool,
    /// When half of the hosts have joined, a member's machine dies, and its member is removed ten
    /// minutes later
    #[arg(long)]
    dead_member: bool,
    /// Which microcluster: `v2` is that of MicroOVN 24.03 and 25.03, `v3` that of 26.03
    #[arg(long, value_enum, default_value = "v2", value_name = "v2|v3")]
    microcluster: SeriesName,
    /// How things are spaced: as on real machines; or `tidy`, where announcements come in one
    /// instant, news travels in no time, and so do joins
    #[arg(long, value_enum, default_value = "real")]
    pace: PaceName,
    /// Consumers' hooks take 10 to 20 s, and news takes 5 s
    #[arg(long, conflicts_with = "pace")]
    load: bool,
    /// Milliseconds that a consumer's hook takes, if not as the pace says
    #[arg(long, value_name = "FROM-TO", value_parser = milliseconds)]
    consumer_hook: Option<Range<Duration>>,
    /// Milliseconds until an agent hears of a change, if not as the pace says
    #[arg(long, value_name = "FROM-TO", value_parser = milliseconds)]
    news: Option<Range<Duration>>,
    /// Milliseconds that our distributor's hook takes beside its hook tools
    #[arg(long, default_value_t = 5.0, value_name = "MS")]
    distributor_hook: f64,
    /// Milliseconds that a hook tool of the distributor takes
    #[arg(long, default_value_t = 20.0, value_name = "MS")]
    tool: f64,
    /// Seconds, after the last host has come, until a play ends whatever has become of it
    #[arg(long, default_value_t = 3600.0, value_name = "SECONDS")]
    patience: f64,
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
    /// As built for a machine, in a process for each hook
    Executable,
    Pb,
    Pe,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum, Serialize)]
#[serde(rename_all = "kebab-case")]
enum SeriesName {
    V2,
    V3,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum, Serialize)]
#[serde(rename_all = "kebab-case")]
enum PaceName {
    /// Units hear of a relation a second or more apart, and of a change after 0.3 to 1.5 s
    Real,
    /// As on no real machine
    Tidy,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum, Serialize)]
#[serde(rename_all = "kebab-case")]
enum RelateName {
    /// In one instant, when all machines are idle
    Together,
    /// When all machines are idle, one after the other
    InTurn,
    /// Before any machine is up
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

impl Serialize for Mix {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

fn milliseconds(text: &str) -> Result<Range<Duration>, String> {
    let (from, to) = text.split_once('-').unwrap_or((text, text));
    let read = |text: &str| text.parse().map(Duration::from_millis);
    match (read(from), read(to)) {
        (Ok(from), Ok(to)) if from <= to => Ok(from..to),
        _ => Err("neither a number nor two with a dash between".to_owned()),
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

/// What distinguishes one line of the table from another.
#[derive(Clone, Serialize)]
struct Line {
    provider: ProviderName,
    consumer: Mix,
    refresh_to: Option<Release>,
    #[serde(serialize_with = "juju_number")]
    juju: JujuGeneration,
    apps: usize,
    units: usize,
    distributor_units: usize,
    relate: RelateName,
    arrival: ArrivalName,
    troubles: Vec<Trouble>,
    acts: Vec<Act>,
}

fn juju_number<S: serde::Serializer>(
    juju: &JujuGeneration,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    serializer.serialize_u8(number(*juju))
}

fn number(juju: JujuGeneration) -> u8 {
    match juju {
        JujuGeneration::Three => 3,
        JujuGeneration::Four => 4,
    }
}

impl Line {
    fn consumers(&self) -> String {
        match self.refresh_to {
            None => self.consumer.to_string(),
            Some(release) => format!("{} → {release}", self.consumer),
        }
    }
}

#[derive(Serialize)]
struct Played {
    #[serde(flatten)]
    line: Line,
    reports: Vec<Report>,
}

impl Args {
    fn lines(&self) -> Vec<Line> {
        let mut lines = Vec::new();
        for &consumer in &self.consumer {
            for &arrival in &self.arrival {
                for &relate in &self.relate {
                    for &juju in &self.juju {
                        for &apps in &self.apps {
                            for &distributor_units in &self.distributor_units {
                                for &units in &self.units {
                                    lines.extend(self.provider.iter().map(|&provider| Line {
                                        provider,
                                        consumer,
                                        refresh_to: self.refresh_to,
                                        juju,
                                        apps,
                                        units,
                                        distributor_units,
                                        relate,
                                        arrival,
                                        troubles: self.troubles(),
                                        acts: self.acts(),
                                    }));
                                }
                            }
                        }
                    }
                }
            }
        }
        lines
    }

    fn troubles(&self) -> Vec<Trouble> {
        let troubles = [
            (self.wrong_network, Trouble::WrongNetwork),
            (self.agent_down, Trouble::AgentDown),
            (self.lose_distributor, Trouble::LoseDistributor),
            (self.lose_communicator, Trouble::LoseCommunicator),
            (self.dead_member, Trouble::DeadMember),
        ];
        let chosen = troubles.into_iter().filter(|(chosen, _)| *chosen);
        chosen.map(|(_, trouble)| trouble).collect()
    }

    fn pace(&self) -> Pace {
        let seconds = Duration::from_secs_f64;
        let pace = match self.pace {
            _ if self.load => Pace::loaded(),
            PaceName::Real => Pace::default(),
            PaceName::Tidy => Pace::tidy(),
        };
        Pace {
            consumer: self.consumer_hook.clone().unwrap_or(pace.consumer),
            notice: self.news.clone().unwrap_or(pace.notice),
            meeting: pace.meeting,
            distributor: seconds(self.distributor_hook / 1000.0),
            tool: seconds(self.tool / 1000.0),
            update_status: (self.update_status > 0.0).then(|| seconds(self.update_status)),
        }
    }

    fn cluster(&self) -> Settings {
        Settings {
            series: match self.microcluster {
                SeriesName::V2 => Series::V2,
                SeriesName::V3 => Series::V3,
            },
            ..match self.pace {
                PaceName::Real => Settings::default(),
                PaceName::Tidy => Settings::tidy(),
            }
        }
    }

    fn acts(&self) -> Vec<Act> {
        let acts = [
            (self.kill_communicator, Act::KillCommunicator),
            (self.remake_relations, Act::RemakeRelations),
            (self.redeploy, Act::Redeploy),
            (self.redeploy_lost, Act::RedeployLost),
            (self.expire_token, Act::ExpireToken),
            // The last: a unit that never answers keeps relations from going away.
            (self.kill_distributor, Act::KillDistributor),
        ];
        let chosen = acts.into_iter().filter(|(chosen, _)| *chosen);
        chosen.map(|(_, act)| act).collect()
    }

    fn scenario(&self, line: &Line, seed: u64) -> Scenario {
        let seconds = Duration::from_secs_f64;
        Scenario {
            setup: Setup {
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
                cluster: self.cluster(),
                ..Setup::default()
            },
            pace: self.pace(),
            relate: match line.relate {
                RelateName::Together => Relate::Together,
                RelateName::InTurn => Relate::InTurn(seconds(self.every)),
                RelateName::AtDeployment => Relate::AtDeployment(seconds(self.spread)),
            },
            arrival: match line.arrival {
                ArrivalName::Burst => Arrival::Burst,
                ArrivalName::Trickle => Arrival::Trickle(seconds(self.between)),
            },
            refresh: self.refresh_consumers.map(seconds).zip(line.refresh_to),
            troubles: line.troubles.clone(),
            acts: line.acts.clone(),
            patience: seconds(self.patience),
        }
    }
}

/// Plays everything. The exit status says whether this charm made one cluster every time.
pub(crate) fn run(args: &Args) -> ExitCode {
    match simulate(args) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            anstream::eprintln!("error: {}", chain(&error));
            ExitCode::FAILURE
        }
    }
}

#[derive(Debug, thiserror::Error)]
enum SimulateError {
    #[error(transparent)]
    Deployment(#[from] DeploymentError),
    #[error("cannot print")]
    Output(#[from] io::Error),
    #[error("cannot print JSON")]
    Json(#[from] serde_json::Error),
}

fn simulate(args: &Args) -> Result<bool, SimulateError> {
    let played = play(args)?;
    let mut out = io::stdout().lock();
    match args.format {
        Format::Table => writeln!(out, "{}", table(&played))?,
        Format::Json => {
            serde_json::to_writer_pretty(&mut out, &played)?;
            writeln!(out)?;
        }
    }
    let is_ours = |line: &Line| !matches!(line.provider, ProviderName::Pb | ProviderName::Pe);
    let mut ours = played.iter().filter(|played| is_ours(&played.line));
    Ok(ours.all(|played| played.reports.iter().all(Report::is_one_cluster)))
}

fn play(args: &Args) -> Result<Vec<Played>, DeploymentError> {
    let lines = args.lines();
    let plays: Vec<(usize, u64)> = (0..lines.len())
        .flat_map(|line| args.seeds.clone().map(move |seed| (line, seed)))
        .collect();
    let progress = progress(plays.len() as u64);
    let jobs = if args.trace { Some(1) } else { args.jobs };
    let reports = parallel::each(&plays, jobs, |&(line, seed)| {
        let scenario = args.scenario(&lines[line], seed);
        let report = match args.trace {
            true => scenario.play_to(Detail::Full, &mut trace),
            false => scenario.play(),
        };
        progress.inc(1);
        report
    });
    progress.finish_and_clear();

    let mut played: Vec<Played> = lines
        .into_iter()
        .map(|line| Played {
            line,
            reports: Vec::new(),
        })
        .collect();
    for ((line, _), report) in plays.into_iter().zip(reports) {
        played[line].reports.push(report?);
    }
    Ok(played)
}

/// Draws on standard error, and only where that is a terminal.
fn progress(plays: u64) -> ProgressBar {
    let bar = ProgressBar::new(plays);
    let style = ProgressStyle::with_template("{wide_bar} {pos}/{len} {eta}");
    if let Ok(style) = style {
        bar.set_style(style);
    }
    bar
}

fn trace(now: Duration, happened: &Happened<'_>, deployment: &Deployment) {
    let at = now.as_secs_f64();
    match happened {
        Happened::Began(unit, hook) => println!("{at:10.3}  {unit}  {hook} ..."),
        Happened::Resumed(unit) => println!("{at:10.3}  {unit}  goes on"),
        Happened::Ended(run) => {
            let about = run.remote_unit.as_deref().unwrap_or_default();
            let relation = run.relation.map(|id| format!(":{id}")).unwrap_or_default();
            let calls = run.tool_calls.len();
            let failure = run.failure.as_deref().map(|why| format!("  FAILED: {why}"));
            println!(
                "{at:10.3}  {}  {}{relation} {about} ended, {calls} calls{}",
                run.unit,
                run.hook,
                failure.unwrap_or_default()
            );
            for line in &deployment.world.model().log {
                println!("{:12}{} {}", "", line.level, line.text);
            }
            let commits = deployment.world.commits();
            for change in commits.iter().flat_map(|commit| &commit.changes) {
                let bag = match &change.owner {
                    BagOwner::App(_) => "application",
                    BagOwner::Unit(_) => "unit",
                };
                let keys: Vec<String> = change
                    .keys
                    .iter()
                    .map(|(key, (_, after))| match after.as_deref() {
                        None => format!("-{key}"),
                        Some(value) if value.len() < 20 => format!("{key}={value}"),
                        Some(_) => format!("{key}=..."),
                    })
                    .collect();
                println!(
                    "{:12}{bag} bag of {}: {}",
                    "",
                    change.relation,
                    keys.join(" ")
                );
            }
        }
    }
}

fn table(played: &[Played]) -> Table {
    const HEADER: [&str; 25] = [
        "provider",
        "consumer",
        "juju",
        "apps×units",
        "distr.",
        "related",
        "hosts come",
        "one cluster",
        "clusters",
        "joined",
        "joins at once",
        "failed joins",
        "half in",
        "tokens spent in vain",
        "clusters lost",
        "seconds",
        "consumer hooks",
        "crashed",
        "by protocol",
        "in error",
        "live tokens replaced",
        "tokens left",
        "provider hooks",
        "writes",
        "calls/host",
    ];
    let mut table = Table::new();
    table.load_style(presets::ASCII_MARKDOWN).set_header(HEADER);
    for column in table.column_iter_mut().skip(7) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    for Played { line, reports } in played {
        table.add_row(row(line, reports));
    }
    table
}

fn row(line: &Line, reports: &[Report]) -> Vec<String> {
    let name = |value: Option<clap::builder::PossibleValue>| {
        value.map_or_else(String::new, |value| value.get_name().to_owned())
    };
    let sum = |figure: fn(&Report) -> usize| reports.iter().map(figure).sum::<usize>();
    let one_cluster = reports
        .iter()
        .filter(|report| report.is_one_cluster())
        .count();
    let range = |figures: Vec<f64>, digits: usize| spread(figures, digits);
    let each = |figure: fn(&Report) -> usize| {
        let figures = reports.iter().map(|report| figure(report) as f64);
        range(figures.collect(), 0)
    };
    let seconds = reports.iter().filter_map(|report| report.seconds).collect();
    let per_host = reports
        .iter()
        .map(|report| report.provider_calls as f64 / report.hosts.max(1) as f64)
        .collect();
    let crashes = |kind: fn(&Crashes) -> usize| {
        let counts = reports.iter().map(|report| kind(&report.consumer_crashes));
        counts.sum::<usize>()
    };
    let mut crashed = crashes(Crashes::all).to_string();
    let kinds = [
        ("unanswered", crashes(|crashes| crashes.unanswered)),
        ("under way", crashes(|crashes| crashes.under_way)),
        ("old view", crashes(|crashes| crashes.old_view)),
        ("other", crashes(|crashes| crashes.other)),
        ("of provider", sum(|report| report.provider_crashes)),
    ];
    let kinds: Vec<String> = kinds
        .iter()
        .filter(|(_, count)| *count > 0)
        .map(|(kind, count)| format!("{count} {kind}"))
        .collect();
    if !kinds.is_empty() {
        crashed = format!("{crashed}: {}", kinds.join(", "));
    }
    let at_once = reports.iter().map(|report| report.cluster.joins_at_once);
    let most_at_once = at_once.max().unwrap_or_default();
    let mut failed = sum(|report| report.cluster.failed_joins).to_string();
    let (late, unaware) = (
        sum(|report| report.cluster.late_members),
        sum(|report| report.unaware),
    );
    if late + unaware > 0 {
        failed = format!("{failed}: {late} members later, {unaware} unaware");
    }
    let stuck = reports.iter().filter(|report| report.stuck > 0).count();
    vec![
        name(line.provider.to_possible_value()),
        line.consumers(),
        number(line.juju).to_string(),
        format!("{}×{}", line.apps, line.units),
        line.distributor_units.to_string(),
        name(line.relate.to_possible_value()),
        name(line.arrival.to_possible_value()),
        format!("{one_cluster} of {}", reports.len()),
        each(|report| report.clusters),
        format!(
            "{} of {}",
            sum(|report| report.joined),
            sum(|report| report.hosts)
        ),
        most_at_once.to_string(),
        failed,
        sum(|report| report.cluster.half_joined).to_string(),
        sum(|report| report.cluster.spent_in_vain).to_string(),
        sum(|report| report.cluster.clusters_lost).to_string(),
        range(seconds, 1),
        each(|report| report.consumer_hooks),
        crashed,
        format!(
            "{} first, {} second",
            sum(|report| report.first_protocol_failures),
            sum(|report| report.second_protocol_failures)
        ),
        format!("{stuck} of {}", reports.len()),
        sum(|report| report.live_tokens_replaced).to_string(),
        format!(
            "{} ours, {} theirs",
            sum(|report| report.tokens_left),
            sum(|report| report.consumer_tokens_left)
        ),
        each(|report| report.provider_hooks),
        each(|report| report.writes_until_joined),
        range(per_host, 1),
    ]
}

/// The median, and the extremes where there are any.
fn spread(mut figures: Vec<f64>, digits: usize) -> String {
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

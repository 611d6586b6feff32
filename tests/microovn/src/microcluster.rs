//! What `microovn cluster` talks to: machines, the clusters they formed, the tokens between them.
//!
//! It plays what was measured on real daemons (`README.md` beside this crate's manifest says which
//! line of the contract is played where, and which lines nobody plays). "Contract" below means
//! `microcluster-contract.md`, by its sections.
//!
//! Pure: time is a parameter and randomness is a seed. Commands take whole seconds, because only
//! heartbeats and the lives of tokens depend on them. A join has two moments, and whether two
//! overlap is all that matters: [`Cloud::begin_join`] and [`Cloud::end_join`] take a [`Duration`].
//! [`Cloud::took`] says how long a command took.
//!
//! Every bootstrap founds a cluster of its own and nothing ever merges two, so a split shows in
//! [`Cloud::clusters`].

mod cluster;
mod joining;

use std::collections::BTreeMap;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde::{Deserialize, Serialize};

use crate::consumer::{Census, Standing};
use cluster::{Cluster, Join, Member, Outstanding};
use joining::{End, TOO_MANY};

pub use joining::Series;

/// How microcluster behaves, with its defaults.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Settings {
    /// Where v2 and v3 differ, which one.
    pub series: Series,
    /// Seconds between two heartbeats of a cluster.
    pub heartbeat: u64,
    /// Seconds a token lives unless `add --timeout` says otherwise.
    pub token_life: u64,
    /// Voters a cluster of three or more wants.
    pub voters: usize,
    /// Stand-bys a cluster of three or more wants; further members are spares.
    pub stand_bys: usize,
    /// How long a host takes to join once its turn has come.
    pub join: std::ops::Range<Duration>,
    /// After which a command of the client gives up.
    pub limit: Duration,
}

impl Default for Settings {
    fn default() -> Self {
        Settings {
            series: Series::V2,
            heartbeat: 10,
            token_life: 10_800,
            voters: 3,
            stand_bys: 3,
            join: Duration::from_millis(300)..Duration::from_secs(2),
            limit: Duration::from_secs(30),
        }
    }
}

impl Settings {
    /// Joins take no time, so no two overlap, however many hosts begin at once: for models that
    /// are about something else. No real cluster is like that.
    pub fn tidy() -> Self {
        Settings {
            join: Duration::ZERO..Duration::ZERO,
            ..Settings::default()
        }
    }
}

/// A member's place in the cluster's database.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Role {
    /// Joined, and no heartbeat since.
    #[serde(rename = "PENDING")]
    Pending,
    /// Votes; only voters can be communicator.
    #[serde(rename = "voter")]
    Voter,
    /// Replicates without a vote.
    #[serde(rename = "stand-by")]
    StandBy,
    /// Neither.
    #[serde(rename = "spare")]
    Spare,
}

impl Role {
    /// As `list` prints it.
    pub fn as_str(self) -> &'static str {
        match self {
            Role::Pending => "PENDING",
            Role::Voter => "voter",
            Role::StandBy => "stand-by",
            Role::Spare => "spare",
        }
    }
}

/// Whether a member answers. Microcluster knows more states; the library distinguishes only
/// `ONLINE` from the rest.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum Status {
    /// It does.
    Online,
    /// Its daemon is stopped.
    Unreachable,
}

impl Status {
    /// As `list` prints it.
    pub fn as_str(self) -> &'static str {
        match self {
            Status::Online => "ONLINE",
            Status::Unreachable => "UNREACHABLE",
        }
    }
}

/// One row of `list`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Listed<'a> {
    /// The hostname it joined with.
    pub name: &'a str,
    /// IP address and port.
    pub address: &'a str,
    /// Its role.
    pub role: Role,
    /// Whether it answers.
    pub status: Status,
}

/// Why a command failed. The texts are not the real ones, which differ between versions.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// The daemon has neither bootstrapped nor joined.
    #[error("database is not yet initialized")]
    NotInitialized,
    /// The daemon waits for a database that does not open.
    #[error("database is still starting")]
    StillStarting,
    /// The daemon has already bootstrapped or joined, or is half in.
    #[error("unable to initialize cluster: database is online")]
    AlreadyInitialized,
    /// `add` failed. The real command says "taken" whatever the reason; the reason is for tests.
    #[error("name {name:?} is taken")]
    NotAdded {
        /// The name that got no token.
        name: String,
        /// The reason that the real command keeps to itself.
        reason: NotAdded,
    },
    /// `join` was given something that is no token.
    #[error("invalid join token")]
    MalformedToken,
    /// The token was used, has expired, or was minted for another name.
    #[error("failed to join cluster: no record of that token for {hostname:?}")]
    UnknownToken {
        /// The joiner.
        hostname: String,
    },
    /// The cluster has a member of the joiner's name.
    #[error("failed to join cluster: a member named {hostname:?} exists")]
    NameInUse {
        /// The joiner.
        hostname: String,
    },
    /// No member that the token names accepts the joiner.
    #[error("failed to join cluster: no join address answers")]
    NobodyAnswers,
    /// A join that had begun failed.
    #[error("failed to join cluster")]
    JoinFailed,
    /// Members, trust and dqlite disagree; v3 alone looks.
    #[error("membership consistency check failed after timeout")]
    Disagreement,
    /// The command took longer than it may.
    #[error("context deadline exceeded")]
    TimedOut,
    /// Too many voters are dead, or the database is lost.
    #[error("no available dqlite leader server found")]
    NoLeader,
    /// `remove` of a name that is no member's.
    #[error("no cluster member named {name:?}")]
    NoSuchMember {
        /// The name.
        name: String,
    },
    /// `remove` of the only member.
    #[error("cannot remove the last member")]
    LastMember,
    /// `remove` before any member has a role.
    #[error("cannot remove a member while all are pending")]
    AllPending,
    /// `remove` of a member that does not answer, without `--force`.
    #[error("member {name:?} does not answer")]
    MemberUnreachable {
        /// The name.
        name: String,
    },
    /// A join failed because of the dead member that is to be removed, and dqlite still counts it.
    #[error("a configuration change is already in progress")]
    ChangeInProgress,
    /// The daemon went away before it had answered. What it was asked for may be done all the same.
    #[error("EOF")]
    HungUp,
}

/// Why `add` failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NotAdded {
    /// See [`is_valid_name`].
    InvalidName,
    /// An earlier token for the name is neither used nor expired.
    Outstanding,
}

/// What was counted since the cloud was made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tally {
    /// The most joins of one cluster that were under way at one moment.
    pub joins_at_once: usize,
    /// Joins that began and reported failure, those among them that became members later.
    pub failed_joins: usize,
    /// Of these, those that became members later.
    pub late_members: usize,
    /// Of these, those that left the host half in.
    pub half_joined: usize,
    /// Tokens that a join took and that made no member.
    pub spent_in_vain: usize,
    /// Clusters that can do nothing any more.
    pub clusters_lost: usize,
}

/// All machines of a model and the clusters they formed.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Cloud {
    settings: Settings,
    /// State of the random generator, from which all secrets and all chances come.
    randomness: u64,
    machines: Vec<Machine>,
    by_name: BTreeMap<String, usize>,
    clusters: Vec<Cluster>,
    tally: Tally,
    took: Duration,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
struct Machine {
    hostname: String,
    power: Power,
    daemon: Daemon,
    /// Joins under this host name that failed.
    failures: u32,
    /// Members cannot reach it, although it reaches them.
    wrong_network: bool,
}

/// Whether a machine answers others.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
enum Power {
    /// It does.
    On,
    /// Its daemon is stopped, and connections are refused.
    Stopped,
    /// Packets are dropped.
    Dark,
}

/// What a daemon has in its state directory. The number is that of a cluster.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
enum Daemon {
    /// Nothing.
    Empty,
    /// It is a member.
    Member(usize),
    /// A join is under way.
    Joining(usize),
    /// Its command has reported failure, and it will be a member.
    Late(usize),
    /// An open database that no member knows.
    HalfJoined(usize),
    /// A join has failed, and the daemon empties itself at that second.
    Emptying(usize, u64),
    /// The cluster has removed it by force, and it does not know.
    Removed,
}

/// A join token's content, in the order it is written.
#[derive(Debug, Serialize, Deserialize)]
struct Token {
    secret: String,
    fingerprint: String,
    join_addresses: Vec<String>,
}

impl Token {
    fn read(text: &str) -> Option<Self> {
        let json = BASE64.decode(text.trim()).ok()?;
        serde_json::from_slice(&json).ok()
    }

    fn print(&self) -> String {
        BASE64.encode(serde_json::to_string(self).expect("three strings are always JSON"))
    }
}

/// What the commands take, in round figures (contract 4); `list` with a stopped member, contract 3.
mod takes {
    use std::time::Duration;

    pub(super) const ADD: Duration = Duration::from_millis(50);
    pub(super) const BOOTSTRAP: Duration = Duration::from_millis(150);
    pub(super) const LIST: Duration = Duration::from_millis(30);
    pub(super) const LIST_WITH_STOPPED: Duration = Duration::from_millis(150);
    pub(super) const REFUSAL: Duration = Duration::from_millis(20);
    pub(super) const REMOVE: Duration = Duration::from_millis(300);
    /// v3 looks for so long whether its lists agree (contract 1).
    pub(super) const LOOK: Duration = Duration::from_secs(5);
    /// Until a command finds that no voter leads (contract 3).
    pub(super) const NO_LEADER: Duration = Duration::from_secs(10);
}

/// After a failed join the own name was seen as `PENDING`, and so many seconds later the daemon was
/// empty (contract 2).
const EMPTIES_AFTER: u64 = 3;
/// "A daemon killed in the middle of a join and started again heals by itself within seconds."
const HEALS_AFTER: u64 = 5;
/// "... and are members": a command that reports failure is ahead of its daemon by up to so many
/// seconds (contract 1; how many was not measured).
const LATER: u64 = 10;
/// A join whose command was killed is ended by its daemon; here that late, in milliseconds, so that
/// whoever waits for the command comes first.
const ABANDONED_AFTER: u64 = 5_000;

impl Cloud {
    /// A cloud without machines; they appear when they are first named.
    pub fn new(settings: Settings, seed: u64) -> Self {
        Cloud {
            settings,
            randomness: seed,
            ..Cloud::default()
        }
    }

    /// How this cloud behaves.
    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    /// What was counted so far.
    pub fn tally(&self) -> Tally {
        self.tally
    }

    /// How long the last command took; of a join, [`Cloud::begin_join`] says it.
    pub fn took(&self) -> Duration {
        self.took
    }

    /// Gives a machine a host name other than its own name: two machines may share one (hazards 13
    /// and 15). Members keep the name they joined with.
    pub fn set_hostname(&mut self, machine: &str, hostname: &str) {
        let machine = self.machine(machine);
        self.machines[machine].hostname = hostname.to_owned();
    }

    /// The machine's host name.
    pub fn hostname(&mut self, machine: &str) -> &str {
        let machine = self.machine(machine);
        &self.machines[machine].hostname
    }

    /// Whether the machine is in a cluster: its members list it.
    pub fn is_member(&self, machine: &str) -> bool {
        let machine = self.by_name.get(machine);
        machine.is_some_and(|&machine| matches!(self.machines[machine].daemon, Daemon::Member(_)))
    }

    /// Whether the machine is half in: it has an open database, and no member lists it.
    pub fn is_half_joined(&self, machine: &str) -> bool {
        let machine = self.by_name.get(machine);
        machine
            .is_some_and(|&machine| matches!(self.machines[machine].daemon, Daemon::HalfJoined(_)))
    }

    /// The machine's daemon is stopped: connections to it are refused, and it sees no heartbeat.
    pub fn kill(&mut self, machine: &str) {
        self.power(machine, Power::Stopped);
    }

    /// The machine goes dark: whatever is sent to it is lost.
    pub fn darken(&mut self, machine: &str) {
        self.power(machine, Power::Dark);
    }

    /// The machine comes back with what it knew.
    pub fn revive(&mut self, machine: &str) {
        self.power(machine, Power::On);
    }

    fn power(&mut self, machine: &str, power: Power) {
        let machine = self.machine(machine);
        self.machines[machine].power = power;
        if power != Power::On
            && let Daemon::Joining(cluster) = self.machines[machine].daemon
        {
            // Contract 2: what fails in the middle can leave a host half in.
            let join = self.take_join(cluster, machine);
            debug_assert!(join.is_some(), "a daemon that joins has a join");
            let end = match self.one_in(3) {
                true => End::HalfJoined,
                false => End::Spent,
            };
            self.fail(cluster, machine, end, 0);
        }
    }

    /// Members cannot reach the machine: each of its joins fails and takes its token.
    pub fn set_wrong_network(&mut self, machine: &str, wrong: bool) {
        let machine = self.machine(machine);
        self.machines[machine].wrong_network = wrong;
    }

    /// The daemon is killed and started again. In the middle of a join the command fails, and the
    /// daemon heals by itself.
    pub fn kill_daemon(&mut self, machine: &str, now: u64) {
        let machine = self.machine(machine);
        if let Daemon::Joining(cluster) = self.machines[machine].daemon {
            let join = self.take_join(cluster, machine);
            debug_assert!(join.is_some(), "a daemon that joins has a join");
            self.be_late(cluster, machine, now + HEALS_AFTER);
        }
    }

    /// What a person does about a host that is half in, or that the cluster has removed by force
    /// (contract 2 and 3): afterwards the daemon is empty, and the cluster knows nothing of it.
    pub fn repair(&mut self, machine: &str) {
        let machine = self.machine(machine);
        match self.machines[machine].daemon {
            Daemon::HalfJoined(cluster) => {
                self.clusters[cluster].half_joined -= 1;
                self.machines[machine].daemon = Daemon::Empty;
            }
            Daemon::Removed => self.machines[machine].daemon = Daemon::Empty,
            _ => {}
        }
    }

    /// `cluster bootstrap`: founds a cluster with this machine as its only member.
    pub fn bootstrap(&mut self, machine: &str, now: u64) -> Result<(), Refusal> {
        self.took = takes::REFUSAL;
        let machine = self.empty(machine, now)?;
        self.took = takes::BOOTSTRAP;
        let fingerprint = self.random_hex();
        self.clusters.push(Cluster::new(fingerprint, now));
        self.enter(self.clusters.len() - 1, machine, now);
        Ok(())
    }

    /// `cluster add NAME [--timeout SECONDS]`: mints a token that `name` alone can use, once.
    ///
    /// Members are not asked: a token for one of them, or for this host, is minted, useless, and in
    /// the way of any other for that name (contract 4, `add NAME`).
    pub fn add(
        &mut self,
        machine: &str,
        name: &str,
        timeout: Option<u64>,
        now: u64,
    ) -> Result<String, Refusal> {
        self.took = takes::REFUSAL;
        let at = self.machine(machine);
        let cluster = match self.daemon(at, now) {
            Daemon::HalfJoined(cluster) | Daemon::Emptying(cluster, _) => {
                return self.add_half_joined(at, cluster);
            }
            _ => self.cluster_of(machine, now)?,
        };
        self.led(cluster)?;
        self.agreed(cluster)?;
        self.took = takes::ADD;
        let refused = |reason| Refusal::NotAdded {
            name: name.to_owned(),
            reason,
        };
        if !is_valid_name(name) {
            return Err(refused(NotAdded::InvalidName));
        }
        let secret = self.random_hex();
        let expires = now + timeout.unwrap_or(self.settings.token_life);
        let cluster = &mut self.clusters[cluster];
        cluster.outstanding.retain(|_, token| token.expires > now);
        if cluster.outstanding.contains_key(name) {
            return Err(refused(NotAdded::Outstanding));
        }
        let token = Token {
            secret: secret.clone(),
            fingerprint: cluster.fingerprint.clone(),
            join_addresses: cluster.addresses().map(str::to_owned).collect(),
        };
        let outstanding = Outstanding { secret, expires };
        cluster.outstanding.insert(name.to_owned(), outstanding);
        Ok(token.print())
    }

    /// A host that is half in mints what nobody can join with: its own address is in it (contract 2).
    fn add_half_joined(&mut self, machine: usize, cluster: usize) -> Result<String, Refusal> {
        if self.settings.series == Series::V3 {
            self.took = takes::LOOK;
            return Err(Refusal::Disagreement);
        }
        self.took = takes::ADD;
        let token = Token {
            secret: self.random_hex(),
            fingerprint: self.clusters[cluster].fingerprint.clone(),
            join_addresses: vec![address(machine)],
        };
        Ok(token.print())
    }

    /// `cluster join TOKEN` from beginning to end: this machine, under its host name, becomes a
    /// member. No other join overlaps it.
    pub fn join(&mut self, machine: &str, token: &str, now: u64) -> Result<(), Refusal> {
        let now = Duration::from_secs(now);
        let takes = self.begin_join(machine, token, now)?;
        let joined = self.end_join(machine, now);
        self.took = takes;
        joined
    }

    /// `cluster join TOKEN` begins. It takes as long as is answered, and then
    /// [`Cloud::end_join`] says what came of it.
    pub fn begin_join(
        &mut self,
        machine: &str,
        token: &str,
        now: Duration,
    ) -> Result<Duration, Refusal> {
        self.took = takes::REFUSAL;
        let (seconds, now) = (now.as_secs(), milliseconds(now));
        let machine = self.empty(machine, seconds)?;
        let hostname = self.machines[machine].hostname.clone();
        let token = Token::read(token).ok_or(Refusal::MalformedToken)?;
        let at = self.answering(&token).ok_or(Refusal::NobodyAnswers)?;
        self.beat(at, seconds);
        self.led(at)?;
        let known = self.clusters[at].outstanding.get(&hostname);
        if !known.is_some_and(|known| known.secret == token.secret && known.expires > seconds) {
            return Err(Refusal::UnknownToken { hostname });
        }
        // The two that are refused leave their token (contract 4, `join TOKEN`).
        if self.clusters[at].member(&hostname).is_some() {
            return Err(Refusal::NameInUse { hostname });
        }
        self.agreed(at)?;
        let Some(token) = self.clusters[at].outstanding.remove(&hostname) else {
            return Err(Refusal::UnknownToken { hostname });
        };

        let hopeless = self.machines[machine].wrong_network || self.has_dead_member(at);
        let width = self
            .settings
            .join
            .end
            .saturating_sub(self.settings.join.start);
        let own = self.settings.join.start + width.mul_f64(self.random(|random| random.f64()));
        let limit = milliseconds(self.settings.limit);
        let cluster = &mut self.clusters[at];
        // Contract 1: dqlite adds one node at a time, so nine at once take as long as nine in a row.
        let ends = match hopeless {
            true => now + limit,
            false => now.max(cluster.busy_until) + milliseconds(own),
        };
        if !hopeless {
            cluster.busy_until = ends;
        }
        let returns = ends.min(now + limit);
        cluster.joins.push(Join {
            machine,
            ends,
            returns,
            crowd: 1,
            hopeless,
            token,
        });
        let crowd = cluster.joins.len();
        for join in &mut cluster.joins {
            join.crowd = join.crowd.max(crowd);
        }
        self.machines[machine].daemon = Daemon::Joining(at);
        self.tally.joins_at_once = self.tally.joins_at_once.max(crowd);
        if crowd >= TOO_MANY && self.settings.series == Series::V2 {
            self.lose(at);
        }
        Ok(Duration::from_millis(returns - now))
    }

    /// A join that has begun ends.
    pub fn end_join(&mut self, machine: &str, now: Duration) -> Result<(), Refusal> {
        self.took = Duration::ZERO;
        let seconds = now.as_secs();
        let machine = self.machine(machine);
        match self.machines[machine].daemon {
            Daemon::Joining(cluster) => {
                self.beat(cluster, seconds);
                self.finish_join(cluster, machine, seconds)
            }
            // Its daemon was killed meanwhile, or ended the join without the command.
            Daemon::Member(_) => Ok(()),
            _ => Err(Refusal::HungUp),
        }
    }

    fn finish_join(&mut self, at: usize, machine: usize, now: u64) -> Result<(), Refusal> {
        let Some(join) = self.take_join(at, machine) else {
            return Err(Refusal::HungUp);
        };
        let (series, hopeless) = (self.settings.series, join.hopeless);
        let end = if self.clusters[at].lost {
            End::Spent
        } else if hopeless {
            self.end_of_hopeless(at, machine)
        } else {
            match self.random(|random| joining::end(series, join.crowd, random)) {
                End::Joined if join.returns < join.ends => End::Late,
                end => end,
            }
        };
        match end {
            End::Joined => {
                self.enter(at, machine, now);
                return Ok(());
            }
            End::Refused => {
                let hostname = self.machines[machine].hostname.clone();
                let token = join.token;
                self.clusters[at]
                    .outstanding
                    .entry(hostname)
                    .or_insert(token);
                self.machines[machine].daemon = Daemon::Empty;
                self.tally.failed_joins += 1;
                return Err(Refusal::Disagreement);
            }
            End::Late => {
                let later = 1 + self.random(|random| random.u64(..LATER));
                self.be_late(at, machine, join.ends.div_ceil(1000).max(now) + later);
            }
            End::Spent | End::HalfJoined => self.fail(at, machine, end, now),
        }
        Err(Refusal::JoinFailed)
    }

    /// Contract 3: the column "join of a new host". A host in a wrong network is its own affair.
    fn end_of_hopeless(&mut self, at: usize, machine: usize) -> End {
        if self.machines[machine].wrong_network {
            return End::Spent;
        }
        self.clusters[at].dead_joins += 1;
        if self.clusters[at].dead_joins == 2 {
            self.lose(at);
        }
        let members = self.clusters[at].members.iter();
        let mut powers = members.map(|member| self.machines[member.machine].power);
        match powers.any(|power| power == Power::Dark) || self.one_in(3) {
            true => End::HalfJoined,
            false => End::Spent,
        }
    }

    fn take_join(&mut self, at: usize, machine: usize) -> Option<Join> {
        let cluster = &mut self.clusters[at];
        let position = cluster
            .joins
            .iter()
            .position(|join| join.machine == machine)?;
        let join = cluster.joins.remove(position);
        if cluster.joins.is_empty() {
            cluster.busy_until = 0;
        }
        Some(join)
    }

    /// At the first failure under a name the daemon stays up for a while, at the second it deletes
    /// its state at once (contract 4, "a join that fails").
    fn fail(&mut self, at: usize, machine: usize, end: End, now: u64) {
        self.tally.failed_joins += 1;
        self.tally.spent_in_vain += 1;
        let machine = &mut self.machines[machine];
        machine.failures += 1;
        machine.daemon = match end {
            End::HalfJoined => {
                self.tally.half_joined += 1;
                self.clusters[at].half_joined += 1;
                Daemon::HalfJoined(at)
            }
            _ if machine.failures == 1 && machine.power == Power::On => {
                Daemon::Emptying(at, now + EMPTIES_AFTER)
            }
            _ => Daemon::Empty,
        };
    }

    fn be_late(&mut self, at: usize, machine: usize, when: u64) {
        self.tally.failed_joins += 1;
        self.tally.late_members += 1;
        self.machines[machine].daemon = Daemon::Late(at);
        self.clusters[at].late.push((machine, when));
    }

    fn lose(&mut self, at: usize) {
        if !self.clusters[at].lost {
            self.clusters[at].lost = true;
            self.tally.clusters_lost += 1;
        }
    }

    /// `cluster list`: all members of this machine's cluster, in the order they joined.
    pub fn list(&mut self, machine: &str, now: u64) -> Result<Vec<Listed<'_>>, Refusal> {
        let view = self.view(machine, now)?;
        Ok(self.rows(view, now).collect())
    }

    /// `cluster list` reduced to what a consumer takes from it; the way to afford a thousand hosts.
    pub fn census(&mut self, machine: &str, now: u64) -> Result<Census, Refusal> {
        let view = self.view(machine, now)?;
        let rows = self.rows(view, now);
        Ok(Census::of(rows.map(|row| {
            (row.name, row.role.as_str(), row.status.as_str())
        })))
    }

    /// `cluster list` reduced to what this machine is in its cluster.
    pub fn standing(&mut self, machine: &str, now: u64) -> Result<Standing, Refusal> {
        let view = self.view(machine, now)?;
        let machine = self.machine(machine);
        let rows = self.rows(view, now);
        Ok(Standing::of(
            &self.machines[machine].hostname,
            rows.map(|row| (row.name, row.role.as_str(), row.status.as_str())),
        ))
    }

    /// `cluster remove NAME`: the member leaves and its machine forgets the cluster.
    ///
    /// A host that removes itself is told of failure in four of six cases, and has left all the same
    /// (contract 4, `remove NAME`).
    pub fn remove(&mut self, machine: &str, name: &str, now: u64) -> Result<(), Refusal> {
        self.take_out(machine, name, false, now)
    }

    /// `cluster remove NAME --force`: the member need not answer.
    pub fn remove_by_force(&mut self, machine: &str, name: &str, now: u64) -> Result<(), Refusal> {
        self.take_out(machine, name, true, now)
    }

    fn take_out(
        &mut self,
        machine: &str,
        name: &str,
        force: bool,
        now: u64,
    ) -> Result<(), Refusal> {
        self.took = takes::REFUSAL;
        let at = self.cluster_of(machine, now)?;
        let own = self.machine(machine);
        self.led(at)?;
        let cluster = &self.clusters[at];
        let leaving = cluster
            .members
            .iter()
            .position(|member| member.name == name);
        let leaving = leaving.ok_or_else(|| Refusal::NoSuchMember {
            name: name.to_owned(),
        })?;
        if cluster.members.len() == 1 {
            return Err(Refusal::LastMember);
        }
        let role = |member: &Member, now| shown_role(member, now);
        if cluster
            .members
            .iter()
            .all(|member| role(member, now) == Role::Pending)
        {
            return Err(Refusal::AllPending);
        }
        let power = self.machines[cluster.members[leaving].machine].power;
        match force {
            true if power != Power::On && cluster.dead_joins > 0 => {
                return Err(Refusal::ChangeInProgress);
            }
            true => {}
            false => {
                if power == Power::Dark {
                    self.took = self.settings.limit;
                }
                if power != Power::On {
                    let name = name.to_owned();
                    return Err(Refusal::MemberUnreachable { name });
                }
                self.agreed(at)?;
            }
        }
        self.took = takes::REMOVE;
        let heartbeat = self.settings.heartbeat;
        let waits = u64::from(self.one_in(2)) * heartbeat;
        let cluster = &mut self.clusters[at];
        let member = cluster.members.remove(leaving);
        let votes = |member: &Member| member.role == Role::Voter;
        if votes(&member) && !cluster.members.iter().any(votes) {
            // "the list shows *no* voter for up to two heartbeats"
            cluster.no_voter_before = cluster.heartbeat_after(now, heartbeat) + waits;
        }
        self.machines[member.machine].daemon = match power {
            Power::On => Daemon::Empty,
            Power::Stopped | Power::Dark => Daemon::Removed,
        };
        match member.machine == own && self.random(|random| random.u8(..6)) < 4 {
            true => Err(Refusal::HungUp),
            false => Ok(()),
        }
    }

    /// Whether a host of that name could join with the token now.
    pub fn is_live(&self, name: &str, token: &str, now: u64) -> bool {
        let Some(token) = Token::read(token) else {
            return false;
        };
        let mut clusters = self.clusters.iter();
        let Some(cluster) = clusters.find(|cluster| cluster.fingerprint == token.fingerprint)
        else {
            return false;
        };
        let minted = cluster.outstanding.get(name);
        minted.is_some_and(|minted| minted.secret == token.secret && minted.expires > now)
            && cluster.member(name).is_none()
            && !cluster.lost
    }

    /// When this machine's cluster sees its next heartbeat; nothing outside a cluster.
    pub fn next_heartbeat(&self, machine: &str, now: u64) -> Option<u64> {
        let machine = &self.machines[*self.by_name.get(machine)?];
        let Daemon::Member(cluster) = machine.daemon else {
            return None;
        };
        Some(self.clusters[cluster].heartbeat_after(now, self.settings.heartbeat))
    }

    /// Lets time pass for every cluster.
    pub fn advance(&mut self, now: u64) {
        for cluster in 0..self.clusters.len() {
            self.beat(cluster, now);
        }
    }

    /// The names in each cluster, oldest cluster first, each in the order they joined. More than
    /// one cluster is a split.
    pub fn clusters(&self) -> Vec<Vec<&str>> {
        self.clusters.iter().map(Cluster::names).collect()
    }

    /// How many members all clusters have together.
    pub fn members(&self) -> usize {
        let members = self.clusters.iter().map(|cluster| cluster.members.len());
        members.sum()
    }

    fn machine(&mut self, name: &str) -> usize {
        if let Some(&known) = self.by_name.get(name) {
            return known;
        }
        self.machines.push(Machine {
            hostname: name.to_owned(),
            power: Power::On,
            daemon: Daemon::Empty,
            failures: 0,
            wrong_network: false,
        });
        let new = self.machines.len() - 1;
        self.by_name.insert(name.to_owned(), new);
        new
    }

    /// What a machine's daemon has, as of now.
    fn daemon(&mut self, machine: usize, now: u64) -> Daemon {
        match self.machines[machine].daemon {
            Daemon::Late(cluster) | Daemon::Joining(cluster) | Daemon::Member(cluster) => {
                self.beat(cluster, now);
            }
            Daemon::Emptying(_, until) if until <= now => {
                self.machines[machine].daemon = Daemon::Empty;
            }
            _ => {}
        }
        self.machines[machine].daemon
    }

    /// The machine, if it can bootstrap or join.
    fn empty(&mut self, machine: &str, now: u64) -> Result<usize, Refusal> {
        let machine = self.machine(machine);
        match self.daemon(machine, now) {
            // The daemon stays up after a first failure, and takes another join.
            Daemon::Empty | Daemon::Emptying(..) => Ok(machine),
            Daemon::Removed => Err(Refusal::StillStarting),
            Daemon::Member(_) | Daemon::Joining(_) | Daemon::Late(_) | Daemon::HalfJoined(_) => {
                Err(Refusal::AlreadyInitialized)
            }
        }
    }

    /// The cluster that the machine is a member of, as of now.
    fn cluster_of(&mut self, machine: &str, now: u64) -> Result<usize, Refusal> {
        let machine = self.machine(machine);
        match self.daemon(machine, now) {
            Daemon::Member(cluster) => Ok(cluster),
            Daemon::Late(_) | Daemon::Removed => Err(Refusal::StillStarting),
            Daemon::Empty | Daemon::Joining(_) | Daemon::HalfJoined(_) | Daemon::Emptying(..) => {
                Err(Refusal::NotInitialized)
            }
        }
    }

    /// The cluster that would let the bearer of the token in: the joiner tries each address.
    fn answering(&self, token: &Token) -> Option<usize> {
        let founded = |cluster: &Cluster| cluster.fingerprint == token.fingerprint;
        let at = self.clusters.iter().position(founded)?;
        let answers = self.clusters[at].members.iter().any(|member| {
            self.machines[member.machine].power == Power::On
                && token.join_addresses.contains(&member.address)
        });
        answers.then_some(at)
    }

    fn has_dead_member(&self, at: usize) -> bool {
        let mut members = self.clusters[at].members.iter();
        members.any(|member| self.machines[member.machine].power != Power::On)
    }

    fn led(&mut self, at: usize) -> Result<(), Refusal> {
        if self.clusters[at].has_leader(&self.machines) {
            return Ok(());
        }
        self.took = takes::NO_LEADER;
        Err(Refusal::NoLeader)
    }

    /// v2 looks at nothing.
    fn agreed(&mut self, at: usize) -> Result<(), Refusal> {
        if self.settings.series == Series::V2 || !self.clusters[at].disagrees() {
            return Ok(());
        }
        self.took = takes::LOOK;
        Err(Refusal::Disagreement)
    }

    fn enter(&mut self, cluster: usize, machine: usize, now: u64) {
        self.machines[machine].daemon = Daemon::Member(cluster);
        self.machines[machine].failures = 0;
        let settles = self.clusters[cluster].heartbeat_after(now, self.settings.heartbeat);
        self.clusters[cluster].members.push(Member {
            name: self.machines[machine].hostname.clone(),
            machine,
            address: address(machine),
            role: Role::Pending,
            settles,
        });
    }

    /// What `list` shows on a machine, if it succeeds there (contract 2 and 3).
    fn view(&mut self, machine: &str, now: u64) -> Result<View, Refusal> {
        self.took = takes::REFUSAL;
        let at = self.machine(machine);
        let cluster = match self.daemon(at, now) {
            Daemon::HalfJoined(cluster) => {
                self.took = takes::LIST_WITH_STOPPED;
                return Ok(View::OutsideOf(cluster));
            }
            Daemon::Emptying(cluster, _) => return Ok(View::AsPendingIn(cluster, at)),
            _ => self.cluster_of(machine, now)?,
        };
        self.led(cluster)?;
        let members = self.clusters[cluster].members.iter();
        let others = members.filter(|member| member.machine != at);
        let powers: Vec<Power> = others
            .map(|member| self.machines[member.machine].power)
            .collect();
        if powers.contains(&Power::Dark) {
            self.took = self.settings.limit;
            return Err(Refusal::TimedOut);
        }
        self.took = match powers.contains(&Power::Stopped) {
            true => takes::LIST_WITH_STOPPED,
            false => takes::LIST,
        };
        Ok(View::Inside(cluster))
    }

    fn rows(&self, view: View, now: u64) -> impl Iterator<Item = Listed<'_>> {
        let (cluster, trusted, own) = match view {
            View::Inside(cluster) => (cluster, true, None),
            View::OutsideOf(cluster) => (cluster, false, None),
            View::AsPendingIn(cluster, machine) => (cluster, true, Some(&self.machines[machine])),
        };
        let members = self.clusters[cluster].members.iter().map(move |member| {
            let answers = trusted && self.machines[member.machine].power == Power::On;
            Listed {
                name: &member.name,
                address: &member.address,
                role: shown_role(member, now),
                status: match answers {
                    true => Status::Online,
                    false => Status::Unreachable,
                },
            }
        });
        members.chain(own.map(|machine| Listed {
            name: &machine.hostname,
            address: "",
            role: Role::Pending,
            status: Status::Online,
        }))
    }

    /// Catches up on the heartbeats due by now: tokens expire, roles are handed out, hosts whose
    /// command gave up become members.
    fn beat(&mut self, at: usize, now: u64) {
        self.end_abandoned_joins(at, now);
        self.let_late_in(at, now);
        let cluster = &mut self.clusters[at];
        let beats = now.saturating_sub(cluster.last_heartbeat) / self.settings.heartbeat;
        let settled = |member: &Member| {
            let settled = member.role == Role::Pending && member.settles <= now;
            settled && self.machines[member.machine].power == Power::On
        };
        if beats == 0 && !cluster.members.iter().any(settled) {
            return;
        }
        cluster.last_heartbeat += beats * self.settings.heartbeat;
        cluster.outstanding.retain(|_, token| token.expires > now);
        if cluster.has_leader(&self.machines) {
            cluster.hand_out_roles(&self.machines, &self.settings, now);
        }
    }

    /// Contract 2: a command killed in the middle does no harm, the daemon finishes.
    fn end_abandoned_joins(&mut self, at: usize, now: u64) {
        let over = |join: &&Join| join.returns + ABANDONED_AFTER < now * 1000;
        while let Some(join) = self.clusters[at].joins.iter().find(over) {
            // Nobody reads what came of it.
            let _ = self.finish_join(at, join.machine, now);
        }
    }

    fn let_late_in(&mut self, at: usize, now: u64) {
        let due = |&(_, when): &(usize, u64)| when <= now;
        while let Some(first) = self.clusters[at].late.iter().position(due) {
            let (machine, when) = self.clusters[at].late.remove(first);
            if self.clusters[at].lost {
                self.machines[machine].daemon = Daemon::Empty;
            } else {
                self.enter(at, machine, when);
            }
        }
    }

    fn one_in(&mut self, chances: u32) -> bool {
        self.random(|random| random.u32(..chances)) == 0
    }

    fn random_hex(&mut self) -> String {
        self.random(|random| (0..4).map(|_| format!("{:016x}", random.u64(..))).collect())
    }

    fn random<T>(&mut self, draw: impl FnOnce(&mut fastrand::Rng) -> T) -> T {
        let mut random = fastrand::Rng::with_seed(self.randomness);
        let drawn = draw(&mut random);
        self.randomness = random.get_seed();
        drawn
    }
}

/// Whose list a machine shows; the numbers are those of a cluster and a machine.
#[derive(Clone, Copy)]
enum View {
    /// A member's.
    Inside(usize),
    /// That of a host that is half in: it finds the members, none of which answers it, and not
    /// itself.
    OutsideOf(usize),
    /// That of a host whose join has just failed: it finds itself, too.
    AsPendingIn(usize, usize),
}

fn shown_role(member: &Member, now: u64) -> Role {
    match now < member.settles {
        true => Role::Pending,
        false => member.role,
    }
}

fn milliseconds(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

/// Whether `add` takes a name: 1 to 255 characters, each dot-separated label 1 to 63 letters,
/// digits and inner dashes, and not digits alone.
pub fn is_valid_name(name: &str) -> bool {
    let is_valid_label = |label: &str| {
        (1..=63).contains(&label.len())
            && label
                .bytes()
                .all(|byte| byte == b'-' || byte.is_ascii_alphanumeric())
            && !label.starts_with('-')
            && !label.ends_with('-')
            && !label.bytes().all(|byte| byte.is_ascii_digit())
    };
    name.len() <= 255 && name.split('.').all(is_valid_label)
}

/// Thirteen characters and a port, whatever the machine, so that every member adds the same 28
/// bytes to a token.
fn address(machine: usize) -> String {
    let (high, middle, low) = (machine / 9000, machine / 100 % 90, machine % 100);
    format!("10.{}.{}.{}:6443", 100 + high, 10 + middle, 100 + low)
}

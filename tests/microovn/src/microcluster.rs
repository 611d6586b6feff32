//! What `microovn cluster` talks to: machines, the clusters they formed, the tokens between them.
//!
//! Pure: time is a parameter, in seconds, and randomness is a seed. Time only has to be roughly in
//! order: a hook on a virtual clock may run ahead of the others while it waits. What a cluster has
//! seen is not taken back, but a member counts as `PENDING` for everybody whose clock has not
//! reached its first heartbeat.
//!
//! Every bootstrap founds a cluster of its own and nothing ever merges two, so a split shows in
//! [`Cloud::clusters`]. Nothing here models quorum: a cluster goes on while any member lives.

use std::collections::BTreeMap;

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde::{Deserialize, Serialize};

use crate::consumer::{Census, Standing};

/// How microcluster behaves, with its defaults.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Settings {
    /// Seconds between two heartbeats of a cluster.
    pub heartbeat: u64,
    /// Seconds a token lives unless `add --timeout` says otherwise.
    pub token_life: u64,
    /// Voters a cluster wants.
    pub voters: usize,
    /// Stand-bys a cluster wants; further members are spares.
    pub stand_bys: usize,
    /// `list` asks one member after the other; milliseconds until a living one answers.
    pub probe: u64,
    /// Milliseconds until `list` gives a dead member up.
    pub probe_dead: u64,
    /// Milliseconds after which `list` fails as a whole.
    pub list_limit: u64,
    /// How many members a token names at most. The real one names all of them; a model of a
    /// thousand hosts that does not care for the size of tokens can save megabytes here.
    pub join_addresses: Option<usize>,
}

impl Default for Settings {
    fn default() -> Self {
        Settings {
            heartbeat: 10,
            token_life: 10_800,
            voters: 3,
            stand_bys: 3,
            probe: 10,
            probe_dead: 10_000,
            list_limit: 30_000,
            join_addresses: None,
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
    /// Its machine is dead.
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

/// Why a command was refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// The daemon has neither bootstrapped nor joined.
    #[error("daemon not yet initialized")]
    NotInitialized,
    /// The daemon has already bootstrapped or joined.
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
    /// `list` took longer than it may.
    #[error("context deadline exceeded")]
    ListTimedOut,
    /// `remove` of a name that is no member's.
    #[error("no cluster member named {name:?}")]
    NoSuchMember {
        /// The name.
        name: String,
    },
    /// `remove` of the only member.
    #[error("cannot remove the last member")]
    LastMember,
}

/// Why `add` failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NotAdded {
    /// See [`is_valid_name`].
    InvalidName,
    /// An earlier token for the name is neither used nor expired.
    Outstanding,
}

/// All machines of a model and the clusters they formed.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Cloud {
    settings: Settings,
    /// State of the random generator, from which all secrets come.
    randomness: u64,
    machines: Vec<Machine>,
    by_name: BTreeMap<String, usize>,
    clusters: Vec<Cluster>,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
struct Machine {
    hostname: String,
    alive: bool,
    cluster: Option<usize>,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
struct Cluster {
    fingerprint: String,
    /// In the order they joined.
    members: Vec<Member>,
    /// By the name they were minted for.
    outstanding: BTreeMap<String, Outstanding>,
    last_heartbeat: u64,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
struct Member {
    name: String,
    machine: usize,
    address: String,
    role: Role,
    /// When it sees its first heartbeat.
    settles: u64,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
struct Outstanding {
    secret: String,
    expires: u64,
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
}

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

    /// Whether the machine is in a cluster.
    pub fn is_member(&self, machine: &str) -> bool {
        let machine = self.by_name.get(machine);
        machine.is_some_and(|&machine| self.machines[machine].cluster.is_some())
    }

    /// The machine's power fails: it answers no request and sees no heartbeat.
    pub fn kill(&mut self, machine: &str) {
        let machine = self.machine(machine);
        self.machines[machine].alive = false;
    }

    /// The machine comes back with what it knew.
    pub fn revive(&mut self, machine: &str) {
        let machine = self.machine(machine);
        self.machines[machine].alive = true;
    }

    /// `cluster bootstrap`: founds a cluster with this machine as its only member.
    pub fn bootstrap(&mut self, machine: &str, now: u64) -> Result<(), Refusal> {
        let machine = self.uninitialized(machine)?;
        let fingerprint = self.random_hex();
        self.clusters.push(Cluster {
            fingerprint,
            members: Vec::new(),
            outstanding: BTreeMap::new(),
            last_heartbeat: now,
        });
        self.enter(self.clusters.len() - 1, machine, now);
        Ok(())
    }

    /// `cluster add NAME [--timeout SECONDS]`: mints a token that `name` alone can use, once.
    ///
    /// Members are not asked: a token for one of them is minted, and useless.
    pub fn add(
        &mut self,
        machine: &str,
        name: &str,
        timeout: Option<u64>,
        now: u64,
    ) -> Result<String, Refusal> {
        let cluster = self.cluster_of(machine, now)?;
        let refused = |reason| Refusal::NotAdded {
            name: name.to_owned(),
            reason,
        };
        if !is_valid_name(name) {
            return Err(refused(NotAdded::InvalidName));
        }
        let secret = self.random_hex();
        let expires = now + timeout.unwrap_or(self.settings.token_life);
        let most = self.settings.join_addresses.unwrap_or(usize::MAX);
        let cluster = &mut self.clusters[cluster];
        cluster.outstanding.retain(|_, token| token.expires > now);
        if cluster.outstanding.contains_key(name) {
            return Err(refused(NotAdded::Outstanding));
        }
        let token = Token {
            secret: secret.clone(),
            fingerprint: cluster.fingerprint.clone(),
            join_addresses: cluster.addresses().take(most).map(str::to_owned).collect(),
        };
        let outstanding = Outstanding { secret, expires };
        cluster.outstanding.insert(name.to_owned(), outstanding);
        let json = serde_json::to_string(&token).expect("three strings are always JSON");
        Ok(BASE64.encode(json))
    }

    /// `cluster join TOKEN`: this machine, under its host name, becomes a member.
    pub fn join(&mut self, machine: &str, token: &str, now: u64) -> Result<(), Refusal> {
        let machine = self.uninitialized(machine)?;
        let hostname = self.machines[machine].hostname.clone();
        let token = Token::read(token).ok_or(Refusal::MalformedToken)?;
        let founded = |cluster: &Cluster| cluster.fingerprint == token.fingerprint;
        let cluster = self
            .clusters
            .iter()
            .position(founded)
            .ok_or(Refusal::NobodyAnswers)?;
        // Members the token was too short to name would have been named by a real one.
        let shortened = self.settings.join_addresses.is_some();
        let answers = self.clusters[cluster].members.iter().any(|member| {
            self.machines[member.machine].alive
                && (shortened || token.join_addresses.contains(&member.address))
        });
        if !answers {
            return Err(Refusal::NobodyAnswers);
        }
        self.beat(cluster, now);
        let known = self.clusters[cluster].outstanding.get(&hostname);
        if !known.is_some_and(|known| known.secret == token.secret && known.expires > now) {
            return Err(Refusal::UnknownToken { hostname });
        }
        if self.clusters[cluster].member(&hostname).is_some() {
            return Err(Refusal::NameInUse { hostname });
        }
        self.clusters[cluster].outstanding.remove(&hostname);
        self.enter(cluster, machine, now);
        Ok(())
    }

    /// `cluster list`: all members of this machine's cluster, in the order they joined.
    pub fn list(&mut self, machine: &str, now: u64) -> Result<Vec<Listed<'_>>, Refusal> {
        let cluster = self.probe_all(machine, now)?;
        Ok(self.rows(cluster, now).collect())
    }

    /// `cluster list` reduced to what a consumer takes from it; the way to afford a thousand hosts.
    pub fn census(&mut self, machine: &str, now: u64) -> Result<Census, Refusal> {
        let cluster = self.probe_all(machine, now)?;
        let rows = self.rows(cluster, now);
        Ok(Census::of(rows.map(|row| {
            (row.name, row.role.as_str(), row.status.as_str())
        })))
    }

    /// `cluster list` reduced to what this machine is in its cluster.
    pub fn standing(&mut self, machine: &str, now: u64) -> Result<Standing, Refusal> {
        let cluster = self.probe_all(machine, now)?;
        let machine = self.machine(machine);
        let rows = self.rows(cluster, now);
        Ok(Standing::of(
            &self.machines[machine].hostname,
            rows.map(|row| (row.name, row.role.as_str(), row.status.as_str())),
        ))
    }

    /// `cluster remove NAME`: the member leaves and its machine forgets the cluster.
    pub fn remove(&mut self, machine: &str, name: &str, now: u64) -> Result<(), Refusal> {
        let cluster = self.cluster_of(machine, now)?;
        let members = &mut self.clusters[cluster].members;
        let leaving = members.iter().position(|member| member.name == name);
        let leaving = leaving.ok_or_else(|| Refusal::NoSuchMember {
            name: name.to_owned(),
        })?;
        if members.len() == 1 {
            return Err(Refusal::LastMember);
        }
        let member = members.remove(leaving);
        self.machines[member.machine].cluster = None;
        Ok(())
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
    }

    /// When this machine's cluster sees its next heartbeat; nothing outside a cluster.
    pub fn next_heartbeat(&self, machine: &str, now: u64) -> Option<u64> {
        let machine = &self.machines[*self.by_name.get(machine)?];
        Some(self.clusters[machine.cluster?].heartbeat_after(now, self.settings.heartbeat))
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
        self.clusters
            .iter()
            .map(|cluster| cluster.members.len())
            .sum()
    }

    fn machine(&mut self, name: &str) -> usize {
        if let Some(&known) = self.by_name.get(name) {
            return known;
        }
        self.machines.push(Machine {
            hostname: name.to_owned(),
            alive: true,
            cluster: None,
        });
        let new = self.machines.len() - 1;
        self.by_name.insert(name.to_owned(), new);
        new
    }

    fn uninitialized(&mut self, machine: &str) -> Result<usize, Refusal> {
        let machine = self.machine(machine);
        match self.machines[machine].cluster {
            None => Ok(machine),
            Some(_) => Err(Refusal::AlreadyInitialized),
        }
    }

    /// The machine's cluster, as of now.
    fn cluster_of(&mut self, machine: &str, now: u64) -> Result<usize, Refusal> {
        let machine = self.machine(machine);
        let cluster = self.machines[machine]
            .cluster
            .ok_or(Refusal::NotInitialized)?;
        self.beat(cluster, now);
        Ok(cluster)
    }

    fn enter(&mut self, cluster: usize, machine: usize, now: u64) {
        self.machines[machine].cluster = Some(cluster);
        let settles = self.clusters[cluster].heartbeat_after(now, self.settings.heartbeat);
        self.clusters[cluster].members.push(Member {
            name: self.machines[machine].hostname.clone(),
            machine,
            address: address(machine),
            role: Role::Pending,
            settles,
        });
    }

    fn probe_all(&mut self, machine: &str, now: u64) -> Result<usize, Refusal> {
        let cluster = self.cluster_of(machine, now)?;
        let takes = |member: &Member| match self.machines[member.machine].alive {
            true => self.settings.probe,
            false => self.settings.probe_dead,
        };
        let duration: u64 = self.clusters[cluster].members.iter().map(takes).sum();
        match duration > self.settings.list_limit {
            true => Err(Refusal::ListTimedOut),
            false => Ok(cluster),
        }
    }

    fn rows(&self, cluster: usize, now: u64) -> impl Iterator<Item = Listed<'_>> {
        self.clusters[cluster]
            .members
            .iter()
            .map(move |member| Listed {
                name: &member.name,
                address: &member.address,
                role: match now < member.settles {
                    true => Role::Pending,
                    false => member.role,
                },
                status: match self.machines[member.machine].alive {
                    true => Status::Online,
                    false => Status::Unreachable,
                },
            })
    }

    /// Catches up on the heartbeats due by now: tokens expire, roles are handed out.
    fn beat(&mut self, cluster: usize, now: u64) {
        let cluster = &mut self.clusters[cluster];
        let beats = now.saturating_sub(cluster.last_heartbeat) / self.settings.heartbeat;
        let settled = |member: &Member| {
            let settled = member.role == Role::Pending && member.settles <= now;
            settled && self.machines[member.machine].alive
        };
        if beats == 0 && !cluster.members.iter().any(settled) {
            return;
        }
        cluster.last_heartbeat += beats * self.settings.heartbeat;
        cluster.outstanding.retain(|_, token| token.expires > now);
        cluster.hand_out_roles(&self.machines, &self.settings, now);
    }

    fn random_hex(&mut self) -> String {
        let mut random = fastrand::Rng::with_seed(self.randomness);
        let hex = (0..4).map(|_| format!("{:016x}", random.u64(..))).collect();
        self.randomness = random.get_seed();
        hex
    }
}

impl Cluster {
    fn names(&self) -> Vec<&str> {
        self.members
            .iter()
            .map(|member| member.name.as_str())
            .collect()
    }

    /// The first heartbeat after `now`, which may be one that others have seen already.
    fn heartbeat_after(&self, now: u64, interval: u64) -> u64 {
        let phase = self.last_heartbeat % interval;
        let beats = (now + interval - phase) / interval;
        beats * interval + phase
    }

    fn addresses(&self) -> impl Iterator<Item = &str> {
        self.members.iter().map(|member| member.address.as_str())
    }

    fn member(&self, name: &str) -> Option<&Member> {
        self.members.iter().find(|member| member.name == name)
    }

    /// Living members are promoted, oldest first and stand-bys before spares, until there are
    /// enough of each role; a dead one that was replaced loses its role. A dead `PENDING` member
    /// stays what it is and keeps every consumer waiting.
    fn hand_out_roles(&mut self, machines: &[Machine], settings: &Settings, now: u64) {
        let alive = |member: &Member| machines[member.machine].alive;
        for member in self.members.iter_mut().filter(|member| alive(member)) {
            if member.role == Role::Pending && member.settles <= now {
                member.role = Role::Spare;
            }
        }
        let wanted = [
            (
                Role::Voter,
                settings.voters,
                [Role::StandBy, Role::Spare].as_slice(),
            ),
            (Role::StandBy, settings.stand_bys, &[Role::Spare]),
        ];
        for (role, wanted, from) in wanted {
            let holds = |member: &&mut Member| member.role == role;
            let held = self
                .members
                .iter_mut()
                .filter(holds)
                .filter(|m| alive(m))
                .count();
            let mut vacant = wanted.saturating_sub(held);
            for candidate in from {
                let candidates = self.members.iter_mut().filter(|m| m.role == *candidate);
                for member in candidates.filter(|m| alive(m)).take(vacant) {
                    member.role = role;
                    vacant -= 1;
                }
            }
            if vacant == 0 {
                for member in self.members.iter_mut().filter(holds).filter(|m| !alive(m)) {
                    member.role = Role::Spare;
                }
            }
        }
    }
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

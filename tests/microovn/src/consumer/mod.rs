//! The consumer half of the token distributor library, inside MicroOVN's charm, as one function.
//!
//! In: a hook's environment, what the unit remembers, a [`Host`]. Out: an exit status, what the
//! unit remembers next, and whatever was written through the host. The behaviour is that of the
//! wire protocol's section 5, **defects included**: this is what a distributor meets in the field,
//! so nothing here may be made better than it is there.

mod host;
mod model;
mod second;

use std::collections::BTreeMap;
use std::fmt;
use std::ops::ControlFlow;
use std::str::FromStr;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

pub use host::{Census, CommandOutput, Databag, Host, Level, ListError, Own, Standing};
use model::{Model, Status, is_placeholder, mirror_key};
pub use second::{Refusal, Tried, fingerprint};

/// The endpoint of the relation to the distributor.
const ENDPOINT: &str = "cluster";
/// The key in the distributor's application bag that permits one application to bootstrap.
const BOOTSTRAP_APP: &str = "bootstrap-app";
/// MicroOVN's status outside a cluster; the spelling is its own.
const WAITING_FOR_RELATION: &str = "Waiting for token distrbutor relation";

/// Exit status of a hook that the real charm would never finish, as `timeout` reports one.
///
/// It waits for a `PENDING` member that will not see another heartbeat.
pub const HANGS: i32 = 124;

/// Which consumer is meant.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Release {
    /// C3m, in every MicroOVN branch: bootstraps without permission, but asks `cluster list` before
    /// bootstrapping and after a refused join, and so recovers from an interrupted hook.
    Released,
    /// C5, the library's newest: defers without a mirror, obeys `bootstrap-app`, cannot recover.
    Newest,
    /// The library of the second protocol: says that it is a member and which token it was refused,
    /// defers nothing.
    Second,
}

impl Release {
    /// All, oldest first.
    pub const ALL: [Release; 3] = [Release::Released, Release::Newest, Release::Second];
    /// Those that know nothing of the second protocol.
    pub const FIRST_PROTOCOL: [Release; 2] = [Release::Released, Release::Newest];
}

impl fmt::Display for Release {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Release::Released => "released",
            Release::Newest => "newest",
            Release::Second => "second",
        })
    }
}

impl FromStr for Release {
    type Err = UnknownRelease;

    fn from_str(word: &str) -> Result<Self, UnknownRelease> {
        let named = |release: &Release| release.to_string() == word;
        let found = Release::ALL.into_iter().find(named);
        found.ok_or_else(|| UnknownRelease(word.to_owned()))
    }
}

/// A word that names no [`Release`].
#[derive(Debug, thiserror::Error)]
#[error("unknown release {0:?}, expected `released`, `newest` or `second`")]
pub struct UnknownRelease(String);

/// What a unit remembers from hook to hook.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct State {
    /// The unit bootstrapped or joined, and lived to write it down.
    pub in_cluster: bool,
    /// Events to be handled again, oldest first, in every later hook.
    pub deferred: Vec<RelationEvent>,
    /// The second protocol's: the tokens that joining failed with and that are still shown, by
    /// fingerprint.
    #[serde(default)]
    pub tried: BTreeMap<String, Tried>,
    /// The second protocol's: the last token of which the unit said that it was refused.
    #[serde(default)]
    pub refusal: Option<Refusal>,
    /// The second protocol's: the last list lacked this host.
    #[serde(default)]
    pub half_in: bool,
}

/// An event of the distributor's relation, as `ops` keeps it while it is deferred.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RelationEvent {
    /// Which of the library's two handlers it is for.
    pub kind: RelationEventKind,
    /// The relation's full id, `cluster:7`.
    pub relation: String,
    /// The remote application, if Juju named one.
    pub app: Option<String>,
    /// The remote unit; an application-level event has none.
    pub unit: Option<String>,
}

/// The two events of the relation that the library handles.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum RelationEventKind {
    /// `relation-joined`
    Joined,
    /// `relation-changed`, of a unit's databag or of the application's
    Changed,
}

/// What a handler wants done with its event.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Outcome {
    Done,
    Deferred,
}

/// An uncaught Python exception, or what replaces one.
#[derive(Debug, thiserror::Error)]
pub enum Crash {
    /// An ex-communicator looked up a token that it never minted (hazard 7).
    #[error("KeyError: '{0}'")]
    KeyError(String),
    /// A hook tool failed.
    #[error("ModelError: {tool}: {stderr}")]
    Refused {
        /// Its name.
        tool: &'static str,
        /// Its complaint.
        stderr: String,
    },
    /// A hook tool did not print the JSON that was asked for.
    #[error("{tool} did not print the JSON we expect")]
    Unreadable {
        /// Its name.
        tool: &'static str,
    },
    /// `cluster list` succeeded without printing a list.
    #[error("JSONDecodeError: {0}")]
    List(ListError),
    /// No crash: the hook waits for a `PENDING` member without end (see [`HANGS`]).
    #[error("waiting on pending nodes without end")]
    Hangs,
    /// The process was not started by Juju.
    #[error("JUJU_UNIT_NAME is not set")]
    NoUnitName,
    /// A relation hook without a relation.
    #[error("JUJU_RELATION_ID is not set")]
    NoRelationId,
}

impl Crash {
    /// The exception for a hook tool that failed.
    pub fn refused(tool: &'static str, output: &CommandOutput) -> Self {
        let stderr = String::from_utf8_lossy(&output.stderr).trim().to_owned();
        Crash::Refused { tool, stderr }
    }

    /// Reads a relation tool's answer; a relation that is gone answers nothing.
    pub fn unless_relation_is_gone<T: DeserializeOwned>(
        tool: &'static str,
        output: CommandOutput,
    ) -> Result<Option<T>, Crash> {
        if output.status == 0 {
            let read = serde_json::from_slice(&output.stdout);
            return read.map(Some).map_err(|_| Crash::Unreadable { tool });
        }
        let stderr = String::from_utf8_lossy(&output.stderr).to_lowercase();
        match stderr.contains("relation not found") {
            true => Ok(None),
            false => Err(Crash::refused(tool, &output)),
        }
    }
}

/// Runs one hook and returns its exit status.
///
/// `tie` is called with n > 1 and answers below n; it replaces the order in which Python happens
/// to walk its set of distributor units, once per hook. Always 0 walks them as Juju sorts them.
///
/// `ops` opens a transaction when it starts and commits stored state and deferred events as its
/// last deed. So a hook that crashes leaves `state` untouched: its event is not queued (Juju
/// retries the hook), the events it had already handled again stay queued, and a flag raised after
/// a join that did succeed is lost (hazard 21). Juju drops the databag writes of such a hook by
/// itself; statuses and the cluster keep what happened. The reverse needs no code: if the hook
/// succeeds and the controller then refuses its writes, the state is already committed.
pub fn dispatch(
    release: Release,
    environment: &BTreeMap<String, String>,
    state: &mut State,
    host: &mut dyn Host,
    tie: &mut dyn FnMut(usize) -> usize,
) -> i32 {
    let mut charm = Charm {
        release,
        state: state.clone(),
        model: Model::new(environment, host, tie),
    };
    match charm.run() {
        Ok(()) => {
            *state = charm.state;
            0
        }
        Err(Crash::Hangs) => HANGS,
        Err(crash) => {
            let line = format!("Uncaught exception while in charm code: {crash}");
            charm.model.log("ERROR", &line);
            1
        }
    }
}

struct Charm<'a> {
    release: Release,
    state: State,
    model: Model<'a>,
}

impl Charm<'_> {
    fn run(&mut self) -> Result<(), Crash> {
        let path = self.model.variable("JUJU_DISPATCH_PATH").unwrap_or("");
        let hook = path.strip_prefix("hooks/").unwrap_or("");
        match self.release {
            Release::Released | Release::Newest => self.run_first_protocol(hook),
            Release::Second => self.run_second_protocol(hook),
        }
    }

    fn run_second_protocol(&mut self, hook: &str) -> Result<(), Crash> {
        match hook {
            "update-status" => self.pass(true),
            "cluster-relation-created"
            | "cluster-relation-joined"
            | "cluster-relation-changed"
            | "leader-elected"
            | "config-changed"
            | "start"
            | "upgrade-charm" => self.pass(false),
            "install" => self.install(),
            "remove" => self.leave(),
            // In departed and broken above all: what is being taken away is nothing to act on.
            _ => Ok(()),
        }
    }

    fn run_first_protocol(&mut self, hook: &str) -> Result<(), Crash> {
        self.handle_deferred()?;
        match hook {
            "cluster-relation-joined" => self.relation_event(RelationEventKind::Joined),
            "cluster-relation-changed" => {
                self.relation_event(RelationEventKind::Changed)?;
                // MicroOVN's own handler comes after the library's and has the last word, so
                // neither a missing token nor a refused join is ever seen in the status.
                self.update_status()
            }
            "install" => self.install(),
            "update-status" => self.update_status(),
            "remove" => self.remove(),
            // Everything else, relation-created included, is not observed.
            _ => Ok(()),
        }
    }

    /// Deferred events come first, in every hook, in the order they were deferred, and see the data
    /// of today.
    fn handle_deferred(&mut self) -> Result<(), Crash> {
        for event in std::mem::take(&mut self.state.deferred) {
            if self.handle(&event)? == Outcome::Deferred {
                self.state.deferred.push(event);
            }
        }
        Ok(())
    }

    fn relation_event(&mut self, kind: RelationEventKind) -> Result<(), Crash> {
        let variable = |name| self.model.variable(name).map(str::to_owned);
        let event = RelationEvent {
            kind,
            relation: variable("JUJU_RELATION_ID").ok_or(Crash::NoRelationId)?,
            app: variable("JUJU_REMOTE_APP"),
            unit: variable("JUJU_REMOTE_UNIT"),
        };
        // ops does not queue an event twice, and an event it does not queue it does not emit: the
        // deferred one has just been handled with the same data.
        if self.state.deferred.contains(&event) {
            return Ok(());
        }
        if self.handle(&event)? == Outcome::Deferred {
            self.state.deferred.push(event);
        }
        Ok(())
    }

    fn handle(&mut self, event: &RelationEvent) -> Result<Outcome, Crash> {
        match event.kind {
            RelationEventKind::Joined => self.joined(&event.relation),
            RelationEventKind::Changed => self.changed(&event.relation),
        }
    }

    /// Section 5.1: publish the host's name and, as an unclustered leader, perhaps bootstrap.
    fn joined(&mut self, relation: &str) -> Result<Outcome, Crash> {
        let mut outcome = Outcome::Done;
        let allowed = match self.release {
            Release::Released => true,
            Release::Newest | Release::Second => {
                // Deferring does not return: the library goes on and may still bootstrap.
                if !self.model.any_mirror_is_up(relation)? {
                    outcome = Outcome::Deferred;
                }
                let app_bag = self.model.remote_app_bag(relation)?;
                let permitted = app_bag.get(BOOTSTRAP_APP);
                // An empty bag is *not* a reason to come back (hazard 1).
                if !app_bag.is_empty() && permitted.is_none() {
                    outcome = Outcome::Deferred;
                }
                permitted.map(String::as_str) == Some(self.model.own_app()?)
            }
        };
        let hostname = self.model.host.hostname();
        self.model.write(relation, "hostname", &hostname)?;

        let cluster_exists = self.model.any_data(relation)?;
        if self.state.in_cluster || !self.model.is_leader()? || cluster_exists || !allowed {
            return Ok(outcome);
        }
        let already = self.release == Release::Released && self.cluster_answers();
        if !already && self.model.host.microovn(&["cluster", "bootstrap"]).status != 0 {
            let line = format!("{hostname} unable to bootstrap cluster");
            self.model.log("ERROR", &line);
            self.model
                .set_status(Status::blocked("Unable to bootstrap cluster"))?;
            return Ok(Outcome::Deferred);
        }
        self.state.in_cluster = true;
        self.model
            .set_status(Status::active("Cluster bootstrapped"))?;
        self.handle_mirror(relation)?;
        Ok(outcome)
    }

    /// Section 5.2: join once a token is there; as a member, look after the mirror.
    fn changed(&mut self, relation: &str) -> Result<Outcome, Crash> {
        if !self.state.in_cluster {
            let hostname = self.model.host.hostname();
            let Some(token) = self.model.value(relation, &hostname)? else {
                self.model
                    .set_status(Status::maintenance("Token not in mirror"))?;
                return Ok(Outcome::Done);
            };
            self.model
                .set_status(Status::maintenance("Joining cluster"))?;
            let refused = self
                .model
                .host
                .microovn(&["cluster", "join", &token])
                .status
                != 0;
            if refused && !(self.release == Release::Released && self.cluster_answers()) {
                self.model
                    .set_status(Status::blocked("Joining cluster failed"))?;
                // The token is a secret, and the real charm logs it all the same (hazard 19).
                let line = format!("failed {hostname} joining cluster with token: {token}");
                self.model.log("ERROR", &line);
                return Ok(Outcome::Deferred);
            }
            self.state.in_cluster = true;
            self.model.set_status(Status::active("Joined cluster"))?;
        }
        self.handle_mirror(relation)?;
        Ok(Outcome::Done)
    }

    /// Whether `cluster list` works, which MicroOVN's patches take for "already a member".
    fn cluster_answers(&mut self) -> bool {
        // ListError::Unreadable is a success here: only the exit status is looked at.
        !matches!(self.model.host.census(), Err(ListError::Refused(_)))
    }

    /// Section 5.3: raise or lower the own mirror, then mint. Asks twice whether it may.
    fn handle_mirror(&mut self, relation: &str) -> Result<(), Crash> {
        if self.is_communicator()? {
            self.model.write(relation, "mirror", "up")?;
        } else if self.model.own(relation, "mirror")?.is_some() {
            self.lower_mirror(relation)?;
        }
        if self.is_communicator()? {
            self.mint(relation)?;
        }
        Ok(())
    }

    /// The "safe" way down: back up again if the distributor lost something that is ours.
    fn lower_mirror(&mut self, relation: &str) -> Result<(), Crash> {
        self.model.write(relation, "mirror", "down")?;
        for key in self.model.placeholders(relation)? {
            match self.model.own_mirrored(relation, &key)? {
                // The walk ends at the first key of ours; before it, a key that is not ours is
                // fatal. Which comes first is a matter of names (hazard 7).
                None => return Err(Crash::KeyError(mirror_key(&key))),
                Some(value) if is_placeholder(&value) => {}
                Some(_) => return self.model.write(relation, "mirror", "up"),
            }
        }
        Ok(())
    }

    /// A token for every placeholder that this unit has not answered before. A key it has answered
    /// once it never answers again, whatever became of the token (hazard 12).
    fn mint(&mut self, relation: &str) -> Result<(), Crash> {
        for key in self.model.placeholders(relation)? {
            if self.model.own_mirrored(relation, &key)?.is_some() {
                continue;
            }
            let output = self.model.host.microovn(&["cluster", "add", &key]);
            if output.status == 0 {
                let token = String::from_utf8_lossy(&output.stdout);
                self.model.write_mirrored(relation, &key, token.trim())?;
                self.model.log("INFO", &format!("added token for {key}"));
            } else {
                let line = format!("no token for {key}, code {}", output.status);
                self.model.log("INFO", &line);
            }
        }
        Ok(())
    }

    fn is_communicator(&mut self) -> Result<bool, Crash> {
        if !self.state.in_cluster || !self.wait_for_pending()? {
            return Ok(false);
        }
        let census = self.census()?;
        let hostname = self.model.host.hostname();
        Ok(census.is_some_and(|census| census.communicator == Some(hostname)))
    }

    /// Waits until every member has a role; false if the list failed, which leaves the waiting
    /// status behind.
    fn wait_for_pending(&mut self) -> Result<bool, Crash> {
        let before = self.model.status()?;
        self.model
            .set_status(Status::waiting("Waiting on pending nodes"))?;
        loop {
            match self.census()? {
                None => return Ok(false),
                Some(census) if census.pending => {
                    if let ControlFlow::Break(()) = self.model.host.wait_for_pending() {
                        return Err(Crash::Hangs);
                    }
                }
                Some(_) => break,
            }
        }
        self.model.set_status(before)?;
        Ok(true)
    }

    fn census(&mut self) -> Result<Option<Census>, Crash> {
        match self.model.host.census() {
            Ok(census) => Ok(Some(census)),
            Err(refused @ ListError::Refused(_)) => {
                let line = format!("{} calling {refused}", self.model.host.hostname());
                self.model.log("ERROR", &line);
                Ok(None)
            }
            Err(unreadable) => Err(Crash::List(unreadable)),
        }
    }

    /// Section 5.4. The library sets the status first. The charm installs its snap and sets it
    /// last.
    fn install(&mut self) -> Result<(), Crash> {
        if self.model.relation_ids(ENDPOINT)?.is_empty() {
            self.model
                .set_status(Status::maintenance(WAITING_FOR_RELATION))?;
        }
        self.model
            .set_status(Status::maintenance("Installing microovn snap"))?;
        self.update_status()
    }

    fn update_status(&mut self) -> Result<(), Crash> {
        self.model.set_status(match self.state.in_cluster {
            true => Status::active(""),
            false => Status::maintenance(WAITING_FOR_RELATION),
        })
    }

    /// Leaves the cluster; a refusal is only logged.
    fn remove(&mut self) -> Result<(), Crash> {
        if self.state.in_cluster {
            let hostname = self.model.host.hostname();
            if self
                .model
                .host
                .microovn(&["cluster", "remove", &hostname])
                .status
                != 0
            {
                let line = format!("failed removing {hostname} from cluster");
                self.model.log("ERROR", &line);
            }
        }
        self.model.set_status(Status::maintenance("Cleanup"))
    }
}

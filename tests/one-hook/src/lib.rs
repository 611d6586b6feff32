//! One hook of the charm as a function: what Juju would show it in, what it wrote out.
//!
//! It runs the whole library, from the environment to the encoded writes, and only the processes
//! are missing: a hook costs microseconds, so laws and models can run millions. What a hook means
//! for the rest of a model, its caches, its events, its commit, is the caller's affair.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::os::unix::process::ExitStatusExt;
use std::process::{ExitStatus, Output};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use microcluster_token_distributor::core::names::ENDPOINT;
use microcluster_token_distributor::core::names::{RelationId, UnitName};
use microcluster_token_distributor::core::plan::Writes;
use microcluster_token_distributor::core::wire::{Change, Changes, Databag, apply};
use microcluster_token_distributor::juju::environment::relation_id;
use microcluster_token_distributor::juju::hook_tools::Agent;
use microcluster_token_distributor::{RunError, dispatch};
use serde_json::{Map, Value, json};

/// The endpoint of the peer relation.
const PEER: &str = "cluster";

/// What Juju shows one unit during one hook.
#[derive(Clone, Debug)]
pub struct View {
    /// The unit whose hook it is.
    pub unit: UnitName,
    /// What `is-leader` answers.
    pub is_leader: bool,
    /// The relations on the charm's endpoint.
    pub relations: BTreeMap<RelationId, RelationView>,
    /// The peer relation's id: none before Juju's first relation-created; one bug of Juju lists
    /// several, which all show one bag.
    pub peers: BTreeSet<RelationId>,
    /// Our application's bag in the peer relation, which every unit may read; or, if Juju lists the
    /// relation and no longer serves it, the error text of every tool that is asked about it.
    pub ledger: Result<Arc<Databag>, &'static str>,
    /// All units of the charm, as goal-state lists them.
    pub siblings: BTreeSet<UnitName>,
    /// The options that are set.
    pub config: BTreeMap<String, String>,
    /// The status shown: Juju's word and the line.
    pub status: (String, String),
}

/// What Juju shows one unit of one relation.
#[derive(Clone, Debug, Default)]
pub struct RelationView {
    /// The remote application's name here.
    pub app: String,
    /// What `relation-list` lists.
    pub members: BTreeSet<UnitName>,
    /// The remote units that goal-state lists; `None` for an application of another model.
    pub expected: Option<BTreeSet<UnitName>>,
    /// Every unit bag that can be read by name, our own among them.
    pub units: BTreeMap<UnitName, Arc<Databag>>,
    /// Our application's bag, which only the leader may read.
    pub own_app: Arc<Databag>,
}

/// What became of a hook.
#[derive(Debug)]
pub struct Ran {
    /// How it ended. After an error Juju drops the writes.
    pub result: Result<(), RunError>,
    /// What `relation-set` was given.
    pub writes: BTreeMap<RelationId, Writes>,
    /// What `relation-set` was given for our application's bag in the peer relation. Juju
    /// informs every unit of the application of a commit that changes it, this one too.
    pub ledger: Changes,
    /// The status it leaves.
    pub status: (String, String),
    /// Whose unit bags it read.
    pub reads: BTreeSet<(RelationId, UnitName)>,
    /// How many hook tools it started.
    pub calls: usize,
}

/// A hook of a relation, or of none.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Event {
    /// A hook that Juju calls by this name alone.
    Plain(&'static str),
    /// A relation hook, by the end of its name, with the remote unit if it has one.
    Relation(&'static str, u64, Option<String>),
    /// The same of the peer relation. Without a unit, "changed" is about our application's bag.
    Peer(&'static str, u64, Option<String>),
}

impl Event {
    fn environment(&self, unit: &UnitName, name: &str) -> Option<String> {
        let (endpoint, kind, id, remote) = match self {
            Event::Plain(hook) => {
                return match name {
                    "JUJU_UNIT_NAME" => Some(unit.to_string()),
                    "JUJU_DISPATCH_PATH" => Some(format!("hooks/{hook}")),
                    _ => None,
                };
            }
            Event::Relation(kind, id, remote) => (ENDPOINT, *kind, id, remote),
            Event::Peer(kind, id, remote) => (PEER, *kind, id, remote),
        };
        match name {
            "JUJU_UNIT_NAME" => Some(unit.to_string()),
            "JUJU_DISPATCH_PATH" => Some(format!("hooks/{endpoint}-relation-{kind}")),
            "JUJU_RELATION_ID" => Some(format!("{endpoint}:{id}")),
            // Juju sets it to nothing where no unit is meant.
            "JUJU_REMOTE_UNIT" => Some(remote.clone().unwrap_or_default()),
            "JUJU_REMOTE_APP" if endpoint == PEER => Some(unit.app().to_owned()),
            "JUJU_DEPARTING_UNIT" if kind == "departed" => remote.clone(),
            _ => None,
        }
    }
}

/// Runs a hook to its end. `now` is in seconds since 1970.
pub fn run(view: &View, event: &Event, now: u64) -> Ran {
    let tools = Tools {
        view,
        said: Mutex::new(Said {
            status: view.status.clone(),
            ..Said::default()
        }),
    };
    let result = dispatch(|name| event.environment(&view.unit, name), &tools, now);
    let said = tools
        .said
        .into_inner()
        .unwrap_or_else(PoisonError::into_inner);
    Ran {
        result,
        writes: said.writes,
        ledger: said.ledger,
        status: said.status,
        reads: said.reads,
        calls: said.calls,
    }
}

struct Tools<'a> {
    view: &'a View,
    said: Mutex<Said>,
}

#[derive(Default)]
struct Said {
    writes: BTreeMap<RelationId, Writes>,
    ledger: Changes,
    status: (String, String),
    reads: BTreeSet<(RelationId, UnitName)>,
    calls: usize,
}

/// What a tool prints, or its complaint.
type Answer = Result<Value, &'static str>;

impl Tools<'_> {
    fn answer(&self, tool: &str, arguments: &[&str], stdin: Option<&[u8]>) -> Answer {
        let view = self.view;
        if let Some(answer) = self.peer_answer(tool, arguments, stdin) {
            return answer;
        }
        match (tool, arguments) {
            ("is-leader", ["--format=json"]) => Ok(json!(view.is_leader)),
            ("config-get", ["--format=json"]) => Ok(json!(view.config)),
            ("status-get", ["--include-data", "--format=json"]) => {
                let (status, message) = &self.said().status;
                Ok(json!({"status": status, "message": message, "status-data": {}}))
            }
            // The model knows one status, and the application shows that of the leader.
            ("status-get", ["--application", "--include-data", "--format=json"]) => {
                let (status, message) = &self.said().status;
                let shown = json!({"status": status, "message": message, "status-data": {}});
                let mut application = shown.clone();
                application["units"] = json!({view.unit.as_str(): shown});
                Ok(json!({ "application-status": application }))
            }
            ("status-set", ["--application", _, "--", _]) => Ok(Value::Null),
            ("status-set", [status, "--", message]) => {
                self.said().status = ((*status).to_owned(), (*message).to_owned());
                Ok(Value::Null)
            }
            ("application-version-set", ["--", _]) | ("juju-log", ["--log-level", _, "--", _]) => {
                Ok(Value::Null)
            }
            ("relation-ids", ["--format=json", ENDPOINT]) => {
                let ids = view.relations.keys();
                Ok(ids.map(|id| format!("{ENDPOINT}:{id}")).collect())
            }
            ("goal-state", ["--format=json"]) => Ok(self.goal_state()),
            ("relation-list", ["--format=json", "-r", id]) => {
                let members = self.relation(id)?.1.members.iter();
                Ok(members.map(UnitName::as_str).collect())
            }
            ("relation-list", ["--format=json", "--app", "-r", id]) => {
                Ok(json!(self.relation(id)?.1.app))
            }
            ("relation-get", ["--format=json", "-r", id, "--app", "-", app]) => {
                let (_, relation) = self.relation(id)?;
                match *app == view.unit.app() && view.is_leader {
                    true => Ok(json!(*relation.own_app)),
                    false => Err("ERROR permission denied"),
                }
            }
            ("relation-get", ["--format=json", "-r", id, key, unit]) => {
                let unit: UnitName = unit.parse().map_err(|_| "ERROR invalid unit name")?;
                let (id, relation) = self.relation(id)?;
                let bag = relation
                    .units
                    .get(&unit)
                    .ok_or("ERROR settings not found")?;
                self.said().reads.insert((id, unit));
                Ok(match *key {
                    "-" => json!(**bag),
                    key => json!(bag.get(key)),
                })
            }
            ("relation-set", ["-r", id, "--app", "--file", "-"]) => {
                let (id, _) = self.relation(id)?;
                if !view.is_leader {
                    return Err("ERROR cannot write relation settings: not the leader");
                }
                let changes = changes(stdin)?;
                let mut said = self.said();
                said.writes.entry(id).or_default().app.extend(changes);
                Ok(Value::Null)
            }
            ("relation-set", ["-r", id, "--file", "-"]) => {
                let (id, _) = self.relation(id)?;
                let changes = changes(stdin)?;
                let mut said = self.said();
                said.writes.entry(id).or_default().unit.extend(changes);
                Ok(Value::Null)
            }
            _ => Err("ERROR no such tool, or not with these arguments"),
        }
    }

    /// What the peer relation is asked for and given. `None` for everything else.
    fn peer_answer(&self, tool: &str, arguments: &[&str], stdin: Option<&[u8]>) -> Option<Answer> {
        let view = self.view;
        if let ("relation-ids", ["--format=json", PEER]) = (tool, arguments) {
            let ids = view.peers.iter();
            return Some(Ok(ids.map(|id| format!("{PEER}:{id}")).collect()));
        }
        let flag = arguments.iter().position(|argument| *argument == "-r")?;
        let id = relation_id(arguments.get(flag + 1)?)?;
        if !view.peers.contains(&id) {
            return None;
        }
        let app = view.unit.app();
        let siblings = view.siblings.iter().filter(|unit| **unit != view.unit);
        Some(match (tool, arguments) {
            ("relation-list", ["--format=json", "-r", _]) => {
                Ok(siblings.map(UnitName::as_str).collect())
            }
            ("relation-list", ["--format=json", "--app", "-r", _]) => Ok(json!(app)),
            ("relation-get", ["--format=json", "-r", _, "--app", key, target])
                if *target == app || *target == view.unit.as_str() =>
            {
                self.ledger().map(|ledger| match *key {
                    "-" => json!(*ledger),
                    key => json!(ledger.get(key)),
                })
            }
            ("relation-set", ["-r", _, "--app", "--file", "-"]) => {
                self.write_ledger(stdin).map(|()| Value::Null)
            }
            _ => Err("ERROR not answered here for the peer relation"),
        })
    }

    /// The ledger as this hook has it: with its own writes.
    fn ledger(&self) -> Result<Arc<Databag>, &'static str> {
        let mut ledger = self.view.ledger.clone()?;
        let said = self.said();
        if !said.ledger.is_empty() {
            apply(Arc::make_mut(&mut ledger), &said.ledger);
        }
        Ok(ledger)
    }

    fn write_ledger(&self, stdin: Option<&[u8]>) -> Result<(), &'static str> {
        if !self.view.is_leader {
            return Err("ERROR cannot write relation settings");
        }
        self.view.ledger.as_ref().map_err(|complaint| *complaint)?;
        let changes = changes(stdin)?;
        self.said().ledger.extend(changes);
        Ok(())
    }

    fn said(&self) -> std::sync::MutexGuard<'_, Said> {
        self.said.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn relation(&self, id: &str) -> Result<(RelationId, &RelationView), &'static str> {
        relation_id(id)
            .and_then(|id| Some((id, self.view.relations.get(&id)?)))
            .ok_or("ERROR relation not found")
    }

    fn goal_state(&self) -> Value {
        let goal = || json!({"status": "active", "since": "2026-08-17 10:00:00Z"});
        let siblings = self.view.siblings.iter();
        let units: Map<_, _> = siblings.map(|unit| (unit.to_string(), goal())).collect();
        let mut remote = Map::new();
        for relation in self.view.relations.values() {
            if let Some(expected) = &relation.expected {
                remote.insert(relation.app.clone(), goal());
                remote.extend(expected.iter().map(|unit| (unit.to_string(), goal())));
            }
        }
        match remote.is_empty() {
            true => json!({"units": units, "relations": {}}),
            false => json!({"units": units, "relations": {ENDPOINT: remote}}),
        }
    }
}

impl Agent for Tools<'_> {
    /// What Juju shows does not change within one hook here, so nobody waits for it.
    fn wait(&self, _pause: Duration) {}

    fn call(&self, tool: &str, arguments: &[String], stdin: Option<&[u8]>) -> io::Result<Output> {
        self.said().calls += 1;
        let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
        let (status, stdout, stderr) = match self.answer(tool, &arguments, stdin) {
            Ok(Value::Null) if tool.ends_with("-set") => (0, Vec::new(), ""),
            Ok(value) => (0, value.to_string().into_bytes(), ""),
            Err(complaint) => (1 << 8, Vec::new(), complaint),
        };
        Ok(Output {
            status: ExitStatus::from_raw(status),
            stdout,
            stderr: stderr.into(),
        })
    }
}

/// The encoder's documents are JSON, but for the mark that introduces a long key.
fn changes(document: Option<&[u8]>) -> Result<Changes, &'static str> {
    let settings: BTreeMap<String, String> = document
        .and_then(|document| serde_json::from_slice(document).ok())
        .ok_or("ERROR yaml: not read here")?;
    let change = |value: String| match value.is_empty() {
        true => Change::Remove,
        false => Change::Set(value),
    };
    Ok(settings
        .into_iter()
        .map(|(key, value)| (key, change(value)))
        .collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    const GET: [&str; 6] = ["--format=json", "-r", "cluster:9", "--app", "-", "mtd"];
    const SET: [&str; 5] = ["-r", "cluster:9", "--app", "--file", "-"];

    fn view(is_leader: bool) -> View {
        let unit = |name: &str| name.parse::<UnitName>().expect("a unit name");
        let bag = Databag::from([("a".to_owned(), "1".to_owned())]);
        View {
            unit: unit("mtd/0"),
            is_leader,
            relations: BTreeMap::new(),
            peers: BTreeSet::from([RelationId(9), RelationId(12)]),
            ledger: Ok(Arc::new(bag)),
            siblings: ["mtd/0", "mtd/1"].into_iter().map(unit).collect(),
            config: BTreeMap::new(),
            status: (String::new(), String::new()),
        }
    }

    fn tools(view: &View) -> Tools<'_> {
        Tools {
            view,
            said: Mutex::default(),
        }
    }

    #[test]
    fn every_unit_reads_the_ledger_and_the_leader_its_own_writes_in_it() {
        for is_leader in [true, false] {
            let view = view(is_leader);
            let tools = tools(&view);
            let ids = tools.answer("relation-ids", &["--format=json", "cluster"], None);
            assert_eq!(ids, Ok(json!(["cluster:9", "cluster:12"])));
            assert_eq!(
                tools.answer("relation-get", &GET, None),
                Ok(json!({"a": "1"}))
            );
            let list = ["--format=json", "-r", "cluster:9"];
            assert_eq!(
                tools.answer("relation-list", &list, None),
                Ok(json!(["mtd/1"]))
            );

            let wrote = tools.answer("relation-set", &SET, Some(br#"{"a": "", "b": "2"}"#));
            let shown = match is_leader {
                true => json!({"b": "2"}),
                false => json!({"a": "1"}),
            };
            assert_eq!(wrote.is_ok(), is_leader);
            // All ids of the endpoint show one bag.
            let mut other = GET;
            other[2] = "cluster:12";
            assert_eq!(tools.answer("relation-get", &other, None), Ok(shown));
            assert_eq!(tools.said().ledger.len(), if is_leader { 2 } else { 0 });
        }
    }

    #[test]
    fn a_peer_relation_that_is_not_there_or_not_served_has_no_ledger() {
        let mut view = view(true);
        view.ledger = Err("ERROR permission denied");
        for (tool, arguments) in [("relation-get", &GET[..]), ("relation-set", &SET)] {
            let answer = tools(&view).answer(tool, arguments, Some(b"{}"));
            assert_eq!(answer, Err("ERROR permission denied"));
        }
        view.peers.clear();
        let ids = tools(&view).answer("relation-ids", &["--format=json", "cluster"], None);
        assert_eq!(ids, Ok(json!([])));
        let get = tools(&view).answer("relation-get", &GET, None);
        assert_eq!(get, Err("ERROR relation not found"));
    }
}

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

use microcluster_token_distributor::databag::{Change, Changes, Databag};
use microcluster_token_distributor::hook::ENDPOINT;
use microcluster_token_distributor::hook_tools::Agent;
use microcluster_token_distributor::reconcile::Writes;
use microcluster_token_distributor::snapshot::{RelationId, UnitName};
use microcluster_token_distributor::{RunError, dispatch};
use serde_json::{Map, Value, json};

/// What Juju shows one unit during one hook.
#[derive(Clone, Debug)]
pub struct View {
    /// The unit whose hook it is.
    pub unit: UnitName,
    /// What `is-leader` answers.
    pub is_leader: bool,
    /// The relations on the charm's endpoint.
    pub relations: BTreeMap<RelationId, RelationView>,
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
    /// What `relation-set` was told.
    pub writes: BTreeMap<RelationId, Writes>,
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
}

impl Event {
    fn environment(&self, unit: &UnitName, name: &str) -> Option<String> {
        let relation = |id: &u64| Some(format!("{ENDPOINT}:{id}"));
        match (name, self) {
            ("JUJU_UNIT_NAME", _) => Some(unit.to_string()),
            ("JUJU_DISPATCH_PATH", Event::Plain(hook)) => Some(format!("hooks/{hook}")),
            ("JUJU_DISPATCH_PATH", Event::Relation(kind, ..)) => {
                Some(format!("hooks/{ENDPOINT}-relation-{kind}"))
            }
            ("JUJU_RELATION_ID", Event::Relation(_, id, _)) => relation(id),
            ("JUJU_REMOTE_UNIT", Event::Relation(_, _, remote)) => remote.clone(),
            ("JUJU_DEPARTING_UNIT", Event::Relation("departed", _, remote)) => remote.clone(),
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
    status: (String, String),
    reads: BTreeSet<(RelationId, UnitName)>,
    calls: usize,
}

/// What a tool prints, or its complaint.
type Answer = Result<Value, &'static str>;

impl Tools<'_> {
    fn answer(&self, tool: &str, arguments: &[&str], stdin: Option<&[u8]>) -> Answer {
        let view = self.view;
        match (tool, arguments) {
            ("is-leader", ["--format=json"]) => Ok(json!(view.is_leader)),
            ("config-get", ["--format=json"]) => Ok(json!(view.config)),
            ("status-get", ["--include-data", "--format=json"]) => {
                let (status, message) = &self.said().status;
                Ok(json!({"status": status, "message": message, "status-data": {}}))
            }
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

    fn said(&self) -> std::sync::MutexGuard<'_, Said> {
        self.said.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn relation(&self, id: &str) -> Result<(RelationId, &RelationView), &'static str> {
        microcluster_token_distributor::hook::relation_id(id)
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

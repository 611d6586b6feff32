//! What one hook, action or command sees of the model and has not committed yet.
//!
//! A context is opened when its operation begins and read and written through the hook tools. What
//! it buffers becomes a [`Flush`] at the end, which the driver commits or drops. Several contexts,
//! of different units, may be open at once.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use serde_json::{Map, Value};

use crate::agent::{Agent, Hook, Operation, RelationEvent};
use crate::model::{Content, Flush, JujuGeneration, Life, Model, Status};
use crate::names::{AppName, RelationId, UnitName};

/// Where the files of a unit are.
#[derive(Debug, Clone)]
pub struct Places {
    /// The unpacked charm.
    pub charm: PathBuf,
    /// Where hook tools find their agent.
    pub socket: PathBuf,
    /// Hook tools.
    pub tools: PathBuf,
    /// Executables of the machine that are not the system's.
    pub machine_bin: PathBuf,
}

impl Places {
    /// Where Juju has them. For charms that run in-process and never look.
    pub fn usual(unit: &UnitName) -> Self {
        let tag = unit.tag();
        let agent = Path::new("/var/lib/juju/agents").join(&tag);
        Self {
            charm: agent.join("charm"),
            socket: agent.join("agent.socket"),
            tools: Path::new("/var/lib/juju/tools").join(&tag),
            machine_bin: PathBuf::from("/usr/local/bin"),
        }
    }
}

/// The relation a hook is about, with names as the unit knows them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HookRelation {
    /// Its number.
    pub id: RelationId,
    /// The unit's own endpoint.
    pub endpoint: String,
    /// The unit it is about, if any.
    pub remote_unit: Option<String>,
    /// The application at the other end, if the agent knows it.
    pub remote_app: Option<String>,
}

/// What an action reads and leaves.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct ActionRun {
    /// Its number.
    pub id: u32,
    /// Parameters, defaults filled in.
    pub parameters: Map<String, Value>,
    /// Set with `action-set`.
    pub results: Map<String, Value>,
    /// Set with `action-fail`.
    pub failure: Option<String>,
    /// Said with `action-log`.
    pub log: Vec<String>,
}

/// An open context.
#[derive(Debug, Clone)]
pub struct Context {
    /// What `JUJU_CONTEXT_ID` says.
    pub id: String,
    /// What is being run.
    pub operation: Operation,
    /// The relation of a relation hook.
    pub relation: Option<HookRelation>,
    /// The charm's whole environment.
    pub environment: BTreeMap<String, String>,
    /// Present in an action.
    pub action: Option<ActionRun>,
    /// Own unit bags, as soon as they were read or written.
    pub(crate) unit_bags: BTreeMap<RelationId, Content>,
    /// Own application bags, as soon as they were read or written.
    pub(crate) app_bags: BTreeMap<RelationId, Content>,
    /// Which of the above were written.
    pub(crate) app_bags_written: BTreeSet<RelationId>,
    /// Bags of units that are not joined, read in this hook.
    pub(crate) others: BTreeMap<(RelationId, UnitName), Content>,
    /// Application bags that are not the leader's own, read in this hook, by their real names.
    pub(crate) apps: BTreeMap<(RelationId, AppName), Content>,
    pub(crate) config: Option<BTreeMap<String, Option<Value>>>,
    pub(crate) status: Option<Status>,
    denied_leadership: bool,
    /// The agent counts on a lease that the controller has given away.
    trusts_lost_lease: bool,
}

impl Context {
    /// Opens the context of `operation`, which `agent` is about to run. `serial` makes it unique.
    pub fn open(
        operation: Operation,
        agent: &Agent,
        model: &Model,
        places: &Places,
        serial: u64,
    ) -> Self {
        let relation = match &operation {
            Operation::Run(hook) => hook_relation(hook, agent),
            _ => None,
        };
        let action = match &operation {
            Operation::Act(request) => Some(ActionRun {
                id: request.id,
                parameters: request.parameters.clone(),
                ..ActionRun::default()
            }),
            _ => None,
        };
        let id = format!("{}-{}-{serial:019}", agent.unit, operation.name());
        let environment = environment(&id, &operation, relation.as_ref(), agent, model, places);
        Self {
            id,
            operation,
            relation,
            environment,
            action,
            unit_bags: BTreeMap::new(),
            app_bags: BTreeMap::new(),
            app_bags_written: BTreeSet::new(),
            others: BTreeMap::new(),
            apps: BTreeMap::new(),
            config: None,
            status: None,
            denied_leadership: false,
            trusts_lost_lease: false,
        }
    }

    /// The event of a relation hook.
    pub fn event(&self) -> Option<(RelationId, &RelationEvent)> {
        match &self.operation {
            Operation::Run(hook) => hook.relation(),
            _ => None,
        }
    }

    /// Whether the unit leads, as far as this hook can know: a no is final, a yes is asked again.
    pub(crate) fn is_leader(&mut self, agent: &Agent, model: &Model) -> bool {
        self.denied_leadership |= !model.is_leader(&agent.unit) && !self.trusts_lost_lease;
        !self.denied_leadership
    }

    /// From now on the agent does not hear of a lost lease.
    pub(crate) fn trust_lease(&mut self, agent: &Agent, model: &Model) {
        self.trusts_lost_lease = self.is_leader(agent, model);
    }

    /// Everything buffered.
    pub fn into_flush(self) -> Flush {
        let mut app_bags = self.app_bags;
        app_bags.retain(|id, _| self.app_bags_written.contains(id));
        Flush {
            unit_bags: self.unit_bags,
            app_bags,
        }
    }
}

fn hook_relation(hook: &Hook, agent: &Agent) -> Option<HookRelation> {
    let (id, event) = hook.relation()?;
    let state = agent.relations.get(&id)?;
    let known = !matches!(event, RelationEvent::Broken) || state.remote_app_known;
    Some(HookRelation {
        id,
        endpoint: state.endpoint.clone(),
        remote_unit: event.unit().map(|unit| state.shown_unit(unit).to_string()),
        remote_app: known.then(|| state.remote_app.to_string()),
    })
}

/// The environment of a charm's process, built from nothing.
fn environment(
    context_id: &str,
    operation: &Operation,
    relation: Option<&HookRelation>,
    agent: &Agent,
    model: &Model,
    places: &Places,
) -> BTreeMap<String, String> {
    let unit = &agent.unit;
    let machine = model.units.get(unit).map(|entry| entry.machine.to_string());
    let principal = model
        .units
        .get(unit)
        .and_then(|entry| entry.principal.clone());
    let principal = principal.map(|principal| principal.to_string());
    let charm = places.charm.display().to_string();
    let path = format!(
        "{}:{}:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
        places.tools.display(),
        places.machine_bin.display()
    );
    let mut set: Vec<(&str, String)> = vec![
        ("APT_LISTCHANGES_FRONTEND", "none".to_owned()),
        ("CHARM_DIR", charm.clone()),
        ("CLOUD_API_VERSION", String::new()),
        ("DEBIAN_FRONTEND", "noninteractive".to_owned()),
        (
            "JUJU_AGENT_SOCKET_ADDRESS",
            places.socket.display().to_string(),
        ),
        ("JUJU_AGENT_SOCKET_NETWORK", "unix".to_owned()),
        ("JUJU_API_ADDRESSES", "10.255.0.1:17070".to_owned()),
        ("JUJU_AVAILABILITY_ZONE", String::new()),
        ("JUJU_CHARM_DIR", charm),
        ("JUJU_CHARM_FTP_PROXY", String::new()),
        ("JUJU_CHARM_HTTPS_PROXY", String::new()),
        ("JUJU_CHARM_HTTP_PROXY", String::new()),
        ("JUJU_CHARM_NO_PROXY", String::new()),
        ("JUJU_CONTEXT_ID", context_id.to_owned()),
        ("JUJU_HOOK_NAME", String::new()),
        ("JUJU_MACHINE_ID", machine.unwrap_or_default()),
        ("JUJU_MODEL_NAME", model.name.clone()),
        ("JUJU_MODEL_UUID", model.uuid.clone()),
        ("JUJU_PRINCIPAL_UNIT", principal.unwrap_or_default()),
        ("JUJU_UNIT_NAME", unit.to_string()),
        ("JUJU_VERSION", model.generation.version().to_owned()),
        ("LANG", "C.UTF-8".to_owned()),
        ("PATH", path),
        ("TERM", "tmux-256color".to_owned()),
    ];
    let only_here = match model.generation {
        JujuGeneration::Three => ["JUJU_SLA", "JUJU_METER_STATUS", "JUJU_METER_INFO"],
        JujuGeneration::Four => [
            "JUJU_CHARM_TRACE_CONFIG_HTTP",
            "JUJU_CHARM_TRACE_CONFIG_GRPC",
            "JUJU_CHARM_TRACE_CONFIG_CA_CERT",
        ],
    };
    set.extend(only_here.map(|name| (name, String::new())));
    match operation {
        Operation::Run(hook) => {
            let name = hook.name();
            set.push(("JUJU_DISPATCH_PATH", format!("hooks/{name}")));
            set.push(("JUJU_HOOK_NAME", name));
        }
        Operation::Act(request) => {
            set.push(("JUJU_DISPATCH_PATH", format!("actions/{}", request.name)));
            set.push(("JUJU_ACTION_NAME", request.name.clone()));
            set.push(("JUJU_ACTION_UUID", request.id.to_string()));
            set.push(("JUJU_ACTION_TAG", format!("action-{}", request.id)));
        }
        _ => {}
    }
    if let Some(relation) = relation {
        let full = format!("{}:{}", relation.endpoint, relation.id);
        set.push(("JUJU_RELATION", relation.endpoint.clone()));
        set.push(("JUJU_RELATION_ID", full));
        set.push((
            "JUJU_REMOTE_UNIT",
            relation.remote_unit.clone().unwrap_or_default(),
        ));
        set.push((
            "JUJU_REMOTE_APP",
            relation.remote_app.clone().unwrap_or_default(),
        ));
        let departed = matches!(operation, Operation::Run(hook)
            if matches!(hook.relation(), Some((_, RelationEvent::Departed { .. }))));
        if departed {
            let app_alive = model
                .applications
                .get(unit.application())
                .is_some_and(|app| app.life == Life::Alive);
            let unit_alive = model.units.get(unit).is_some_and(|u| u.life == Life::Alive);
            let leaving = if app_alive && unit_alive {
                relation.remote_unit.clone().unwrap_or_default()
            } else {
                unit.to_string()
            };
            set.push(("JUJU_DEPARTING_UNIT", leaving));
        }
    }
    set.into_iter()
        .map(|(name, value)| (name.to_owned(), value))
        .collect()
}

//! The unit agent: what it remembers, and what it does next.
//!
//! [`Agent::next_operation`] is the order between operations, [`next_in_relation`] the order inside
//! one relation; both only look. [`Agent::completed`] is what a successful end changes.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use fastrand::Rng;
use serde_json::{Map, Value};

use crate::charm::Metadata;
use crate::model::{Content, JujuGeneration, Life, Model, Relation};
use crate::names::{AppName, RelationId, UnitName};

/// What a relation hook is about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RelationEvent {
    /// The relation is new to this unit.
    Created,
    /// A unit is there.
    Joined {
        /// Which.
        unit: UnitName,
        /// Of its bag, when the hook was decided on.
        version: u64,
    },
    /// A unit's bag is news.
    UnitChanged {
        /// Whose.
        unit: UnitName,
        /// Of its bag, when the hook was decided on.
        version: u64,
    },
    /// An application's bag is news.
    AppChanged {
        /// Whose.
        app: AppName,
        /// Of its bag, when the hook was decided on.
        version: u64,
    },
    /// A unit is gone.
    Departed {
        /// Which.
        unit: UnitName,
    },
    /// The relation is over for this unit.
    Broken,
}

impl RelationEvent {
    fn suffix(&self) -> &'static str {
        match self {
            Self::Created => "created",
            Self::Joined { .. } => "joined",
            Self::UnitChanged { .. } | Self::AppChanged { .. } => "changed",
            Self::Departed { .. } => "departed",
            Self::Broken => "broken",
        }
    }

    /// The remote unit, by its real name.
    pub fn unit(&self) -> Option<&UnitName> {
        match self {
            Self::Joined { unit, .. }
            | Self::UnitChanged { unit, .. }
            | Self::Departed { unit } => Some(unit),
            Self::Created | Self::AppChanged { .. } | Self::Broken => None,
        }
    }
}

/// A hook to run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Hook {
    /// `install`.
    Install,
    /// `start`.
    Start,
    /// `config-changed`, with the version of the configuration it is about.
    ConfigChanged(u64),
    /// `leader-elected`.
    LeaderElected,
    /// `upgrade-charm`.
    UpgradeCharm,
    /// `update-status`.
    UpdateStatus,
    /// `stop`.
    Stop,
    /// `remove`.
    Remove,
    /// A hook of a relation.
    Relation {
        /// Which relation.
        id: RelationId,
        /// By which of the unit's endpoints.
        endpoint: String,
        /// What happened.
        event: RelationEvent,
    },
    /// Any other, because the driver asked for it.
    Named(String),
}

impl Hook {
    /// The hook's full name.
    pub fn name(&self) -> String {
        match self {
            Self::Install => "install".to_owned(),
            Self::Start => "start".to_owned(),
            Self::ConfigChanged(_) => "config-changed".to_owned(),
            Self::LeaderElected => "leader-elected".to_owned(),
            Self::UpgradeCharm => "upgrade-charm".to_owned(),
            Self::UpdateStatus => "update-status".to_owned(),
            Self::Stop => "stop".to_owned(),
            Self::Remove => "remove".to_owned(),
            Self::Relation {
                endpoint, event, ..
            } => format!("{endpoint}-relation-{}", event.suffix()),
            Self::Named(name) => name.clone(),
        }
    }

    /// The relation it is about.
    pub fn relation(&self) -> Option<(RelationId, &RelationEvent)> {
        match self {
            Self::Relation { id, event, .. } => Some((*id, event)),
            _ => None,
        }
    }
}

/// An action to run, with its validated parameters.
#[derive(Debug, Clone, PartialEq)]
pub struct ActionRequest {
    /// Its number.
    pub id: u32,
    /// Its name.
    pub name: String,
    /// Parameters, defaults filled in.
    pub parameters: Map<String, Value>,
}

/// How long after the end of a killed charm its hook runs again.
pub const RERUN_PAUSE: Duration = Duration::from_millis(4600);

/// Which hooks may run again now, because their time has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Again {
    /// One that failed.
    pub failed: bool,
    /// One whose charm was killed.
    pub killed: bool,
}

/// What an agent can do next.
#[derive(Debug, Clone, PartialEq)]
pub enum Operation {
    /// The machine is there, and the agent starts on it. No hook.
    StartMachine,
    /// Take a lease that no unit holds. No hook.
    ClaimLeadership,
    /// Notice that the lease is gone. No hook.
    Resign,
    /// Enter the scope of relations it sees for the first time, each with the unit's endpoint and
    /// the application at the other end. No hook.
    EnterScopes(Vec<(RelationId, String, AppName)>),
    /// Forget relations that no longer exist. No hook.
    ForgetRelations(Vec<RelationId>),
    /// Put the new charm in place. No hook yet.
    Upgrade,
    /// Leave the model. No hook any more.
    Vanish,
    /// Run a hook.
    Run(Hook),
    /// Run an action.
    Act(ActionRequest),
}

impl Operation {
    /// The hook's or action's name; empty where nothing of the charm runs.
    pub fn name(&self) -> String {
        match self {
            Self::Run(hook) => hook.name(),
            Self::Act(action) => action.name.clone(),
            _ => String::new(),
        }
    }
}

/// What an agent remembers of a relation.
#[derive(Debug, Clone)]
pub struct RelationState {
    /// By which of its endpoints the unit takes part.
    pub endpoint: String,
    /// The application at the other end as the unit knows it; its own in a peer relation.
    pub remote_app: AppName,
    /// relation-created has run.
    pub created: bool,
    /// Joined units, each with the version of its bag last delivered.
    pub members: BTreeMap<UnitName, u64>,
    /// Versions of application bags last delivered.
    pub apps: BTreeMap<AppName, u64>,
    /// A unit whose joined hook has run and whose changed hook has not.
    pub changed_pending: Option<UnitName>,
    /// Bags of joined units, kept across hooks.
    pub cache: BTreeMap<UnitName, Content>,
    /// A restarted agent does not give relation-broken the remote application.
    pub remote_app_known: bool,
    /// A restarted agent no longer knows that a relation is a peer relation.
    pub peer_known: bool,
    /// The relation was dying when the agent started. Of one that dies later it does not notice.
    pub started_dying: bool,
    /// Peers that had gone when the agent started. Juju 4 does not inform it of those that go
    /// later.
    pub gone: BTreeSet<UnitName>,
}

impl RelationState {
    /// How the unit knows `unit` of the other end.
    pub fn shown_unit(&self, unit: &UnitName) -> UnitName {
        if unit.application() == self.remote_app.as_str() {
            unit.clone()
        } else {
            UnitName::new(self.remote_app.as_str(), unit.number())
        }
    }

    fn new(endpoint: String, remote_app: AppName) -> Self {
        Self {
            endpoint,
            remote_app,
            created: false,
            members: BTreeMap::new(),
            apps: BTreeMap::new(),
            changed_pending: None,
            cache: BTreeMap::new(),
            remote_app_known: true,
            peer_known: true,
            started_dying: false,
            gone: BTreeSet::new(),
        }
    }
}

/// A hook that failed and will be tried again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FailedHook {
    /// Which.
    pub hook: Hook,
    /// How often it has failed in a row.
    pub attempts: u32,
}

/// The agent of one unit.
#[derive(Debug, Clone)]
pub struct Agent {
    /// Its unit.
    pub unit: UnitName,
    /// Its machine is there.
    pub on_machine: bool,
    /// The install hook has run.
    pub installed: bool,
    /// The start hook has run.
    pub started: bool,
    /// The stop hook has run.
    pub stopped: bool,
    /// It believes to be leader (and has run, or is running, leader-elected).
    pub leader: bool,
    /// Which revision of the charm is in place.
    pub revision: u32,
    /// What the charm in place declares.
    pub charm: Arc<Metadata>,
    /// From the new charm being put in place until config-changed has run.
    pub upgrading: bool,
    /// The configuration that config-changed has seen.
    pub config_seen: Option<u64>,
    /// config-changed has run for an option that was set, and Juju 4 runs it once more.
    pub config_repeats: bool,
    /// update-status is due as soon as nothing else is.
    pub update_status_due: bool,
    /// A hook that must come before others of its kind: start, upgrade-charm, one that was killed.
    pub queued: Option<Hook>,
    /// A hook that failed; the unit is in error.
    pub failed: Option<FailedHook>,
    /// The charm was killed: nothing runs before its hook, [`RERUN_PAUSE`] later.
    pub killed: bool,
    /// Actions and commands waiting.
    pub requests: VecDeque<Operation>,
    /// Relations it takes part in.
    pub relations: BTreeMap<RelationId, RelationState>,
    /// A context is open: nothing else can start.
    pub busy: bool,
    /// The agent was restarted while a context was open.
    pub died: bool,
}

impl Agent {
    /// The agent of a fresh machine.
    pub fn new(unit: UnitName, revision: u32, charm: Arc<Metadata>) -> Self {
        Self {
            unit,
            on_machine: false,
            installed: false,
            started: false,
            stopped: false,
            leader: false,
            revision,
            charm,
            upgrading: false,
            config_seen: None,
            config_repeats: false,
            update_status_due: false,
            queued: None,
            failed: None,
            killed: false,
            requests: VecDeque::new(),
            relations: BTreeMap::new(),
            busy: false,
            died: false,
        }
    }

    /// What to do next, if anything. `again` says which hooks may run again now.
    pub fn next_operation(&self, model: &Model, rng: &mut Rng, again: Again) -> Option<Operation> {
        let unit = model.units.get(&self.unit)?;
        let application = model.applications.get(self.unit.application())?;
        if self.busy || (self.killed && !again.killed) {
            return None;
        }
        if !self.on_machine {
            return Some(Operation::StartMachine);
        }
        if model.may_claim_leadership(&self.unit) {
            return Some(Operation::ClaimLeadership);
        }
        let leads = model.is_leader(&self.unit);
        if self.leader && !leads {
            return Some(Operation::Resign);
        }
        if let Some(failed) = &self.failed {
            if let Some(request) = self.requests.front() {
                return Some(request.clone());
            }
            return again.failed.then(|| Operation::Run(failed.hook.clone()));
        }
        let alive = unit.life == Life::Alive;
        if let Some(operation) = self.catch_up_with_relations(model, alive) {
            return Some(operation);
        }
        if let Some(hook) = self.next_created(model, rng, alive) {
            return Some(Operation::Run(hook));
        }
        if self.installed && alive && leads && !self.leader {
            return Some(Operation::Run(Hook::LeaderElected));
        }
        if let Some(request) = self.requests.front() {
            return Some(request.clone());
        }
        if let Some(hook) = &self.queued {
            return Some(Operation::Run(hook.clone()));
        }
        if !alive {
            return self.next_while_dying(model, rng);
        }
        if !self.installed {
            return Some(Operation::Run(Hook::Install));
        }
        if self.revision != application.revision {
            return Some(Operation::Upgrade);
        }
        let config_changed = Operation::Run(Hook::ConfigChanged(application.config_version));
        // The repetition comes a second and a half later: before what is due meanwhile, or after.
        if self.config_seen != Some(application.config_version)
            || (self.config_repeats && rng.bool())
        {
            return Some(config_changed);
        }
        if let Some(hook) = self.next_relation_hook(model, rng, alive) {
            return Some(Operation::Run(hook));
        }
        if self.config_repeats {
            return Some(config_changed);
        }
        self.update_status_due
            .then_some(Operation::Run(Hook::UpdateStatus))
    }

    fn next_while_dying(&self, model: &Model, rng: &mut Rng) -> Option<Operation> {
        if !self.installed {
            return Some(Operation::Vanish);
        }
        if let Some(hook) = self.next_relation_hook(model, rng, false) {
            return Some(Operation::Run(hook));
        }
        if !self.stopped {
            return Some(Operation::Run(Hook::Stop));
        }
        // A principal waits for the subordinates on its machine.
        let is_alone = model.subordinates_of(&self.unit).is_empty();
        is_alone.then_some(Operation::Run(Hook::Remove))
    }

    fn catch_up_with_relations(&self, model: &Model, alive: bool) -> Option<Operation> {
        let gone: Vec<RelationId> = self
            .relations
            .keys()
            .filter(|id| !model.relations.contains_key(id))
            .copied()
            .filter(|id| self.is_peer(*id))
            .collect();
        if !gone.is_empty() {
            return Some(Operation::ForgetRelations(gone));
        }
        // During an upgrade new endpoints wait for config-changed.
        if !self.installed || !alive || self.upgrading {
            return None;
        }
        let app = self.unit.application();
        let fresh: Vec<(RelationId, String, AppName)> = model
            .relations
            .values()
            .filter(|r| r.life == Life::Alive && !r.suspended)
            .filter(|relation| !self.relations.contains_key(&relation.id))
            .filter_map(|relation| {
                let own = relation.own_side(app).filter(|side| !side.over)?;
                let endpoint = own.endpoint.clone();
                let remote = AppName::new(relation.remote_side(app)?.shown_app());
                Some((relation.id, endpoint, remote))
            })
            // While an old charm is in place, endpoints that only the new one has are skipped.
            .filter(|(_, endpoint, _)| self.charm.endpoints.contains_key(endpoint))
            .collect();
        (!fresh.is_empty()).then_some(Operation::EnterScopes(fresh))
    }

    fn is_peer(&self, id: RelationId) -> bool {
        let state = self.relations.get(&id);
        state.is_some_and(|state| state.remote_app.as_str() == self.unit.application())
    }

    fn next_created(&self, model: &Model, rng: &mut Rng, alive: bool) -> Option<Hook> {
        if !alive {
            return None;
        }
        self.choose_relation(model, rng, false, |relation, state| {
            let due = !state.created && relation.life == Life::Alive && !relation.suspended;
            due.then_some(RelationEvent::Created)
        })
    }

    fn next_relation_hook(&self, model: &Model, rng: &mut Rng, alive: bool) -> Option<Hook> {
        self.choose_relation(model, rng, true, |relation, state| {
            next_in_relation(&self.unit, alive, relation, state, model)
        })
    }

    /// One of the relations that have something to do: any, but where `peers_last`, those that the
    /// agent knows for peer relations come after all others.
    fn choose_relation(
        &self,
        model: &Model,
        rng: &mut Rng,
        peers_last: bool,
        due: impl Fn(&Relation, &RelationState) -> Option<RelationEvent>,
    ) -> Option<Hook> {
        let mut choices: Vec<(bool, Hook)> = Vec::new();
        for (id, state) in &self.relations {
            if self.charm.endpoints.contains_key(&state.endpoint)
                && let Some(relation) = model.relations.get(id)
                && let Some(event) = due(relation, state)
            {
                let hook = Hook::Relation {
                    id: *id,
                    endpoint: state.endpoint.clone(),
                    event,
                };
                choices.push((relation.is_peer() && state.peer_known, hook));
            }
        }
        if peers_last && choices.iter().any(|(peer, _)| !peer) {
            choices.retain(|(peer, _)| !peer);
        }
        if choices.is_empty() {
            return None;
        }
        let chosen = rng.usize(..choices.len());
        Some(choices.swap_remove(chosen).1)
    }

    /// What the start of a hook changes before anything of it runs.
    pub fn starting(&mut self, hook: &Hook) {
        // A pending tick is swallowed by whatever runs first.
        self.update_status_due = false;
        self.killed = false;
        if *hook == Hook::LeaderElected {
            self.leader = true;
        }
        let Hook::Relation { id, event, .. } = hook else {
            return;
        };
        let Some(state) = self.relations.get_mut(id) else {
            return;
        };
        match event {
            RelationEvent::Joined { unit, .. }
            | RelationEvent::UnitChanged { unit, .. }
            | RelationEvent::Departed { unit } => {
                state.cache.remove(unit);
            }
            RelationEvent::Created | RelationEvent::AppChanged { .. } | RelationEvent::Broken => {}
        }
    }

    /// What a successful end of a hook changes in the agent and, for the last hooks, in the model.
    pub fn completed(&mut self, hook: &Hook, model: &mut Model) {
        self.failed = None;
        if self.queued.as_ref() == Some(hook) {
            self.queued = None;
        }
        match hook {
            Hook::Install => self.installed = true,
            Hook::ConfigChanged(version) => {
                let is_news = self.config_seen.is_some_and(|seen| seen != *version);
                self.config_repeats = is_news && model.generation == JujuGeneration::Four;
                self.config_seen = Some(*version);
                self.upgrading = false;
                if !self.started {
                    self.queued = Some(Hook::Start);
                }
            }
            Hook::Start => {
                self.started = true;
                let unset = model.units.get(&self.unit).is_some_and(|u| !u.workload_set);
                if unset {
                    model.set_workload(&self.unit, "unknown", "", false);
                }
            }
            Hook::UpgradeCharm => self.config_seen = None,
            Hook::Stop => {
                self.stopped = true;
                model.set_workload(
                    &self.unit,
                    "maintenance",
                    "cleaning up prior to charm deletion",
                    false,
                );
            }
            Hook::Remove => {
                model.set_workload(&self.unit, "terminated", "", false);
                // Cannot fail: the unit was there to run the hook.
                let _ = model.drop_unit(self.unit.as_str());
            }
            Hook::Relation { id, event, .. } => self.relation_hook_completed(*id, event, model),
            Hook::LeaderElected | Hook::UpdateStatus | Hook::Named(_) => {}
        }
    }

    fn relation_hook_completed(
        &mut self,
        id: RelationId,
        event: &RelationEvent,
        model: &mut Model,
    ) {
        let Some(state) = self.relations.get_mut(&id) else {
            return;
        };
        match event {
            RelationEvent::Created => state.created = true,
            RelationEvent::Joined { unit, version } => {
                state.members.insert(unit.clone(), *version);
                state.changed_pending = Some(unit.clone());
            }
            RelationEvent::UnitChanged { unit, version } => {
                if let Some(delivered) = state.members.get_mut(unit) {
                    *delivered = *version;
                }
                if state.changed_pending.as_ref() == Some(unit) {
                    state.changed_pending = None;
                }
            }
            RelationEvent::AppChanged { app, version } => {
                state.apps.insert(app.clone(), *version);
            }
            RelationEvent::Departed { unit } => {
                state.members.remove(unit);
                state.gone.remove(unit);
            }
            RelationEvent::Broken => {
                self.relations.remove(&id);
                model.leave_scope(id, &self.unit);
            }
        }
    }

    /// The agent process is started anew: what it only had in memory is gone.
    pub fn restart(&mut self, model: &Model) {
        self.died = self.busy;
        self.killed = false;
        let gone = self
            .relations
            .keys()
            .filter(|id| !model.relations.contains_key(id));
        for id in gone.copied().collect::<Vec<_>>() {
            self.forget(id);
        }
        for (id, state) in &mut self.relations {
            state.cache.clear();
            state.remote_app_known = false;
            state.peer_known = false;
            if let Some(relation) = model.relations.get(id) {
                state.started_dying = relation.life == Life::Dying;
                let seen =
                    |name: &UnitName| relation.counterparts(&self.unit).any(|(n, _)| n == name);
                state.gone = state
                    .members
                    .keys()
                    .filter(|name| !seen(name))
                    .cloned()
                    .collect();
            }
        }
        // A relation whose scope was entered but whose created hook did not run never gets it.
        for state in self.relations.values_mut() {
            state.created = true;
        }
    }

    /// A relation is gone: nothing about it is run any more.
    pub fn forget(&mut self, id: RelationId) {
        self.relations.remove(&id);
        let queued = self.queued.as_ref().and_then(Hook::relation);
        if queued.is_some_and(|(of, _)| of == id) {
            self.queued = None;
        }
    }

    /// Starts to take part in relations.
    pub fn entered(&mut self, relations: &[(RelationId, String, AppName)]) {
        for (id, endpoint, remote_app) in relations {
            let state = RelationState::new(endpoint.clone(), remote_app.clone());
            self.relations.insert(*id, state);
        }
    }
}

/// What is due in one relation, by the order of a unit agent.
pub fn next_in_relation(
    unit: &UnitName,
    alive: bool,
    relation: &Relation,
    state: &RelationState,
    model: &Model,
) -> Option<RelationEvent> {
    let is_over = relation
        .own_side(unit.application())
        .is_some_and(|own| own.over);
    let ending = !alive || is_over || relation.suspended || relation.life == Life::Dying;
    let remote = relation.remote_side(unit.application())?;
    let seen = |name: &UnitName| {
        remote
            .members
            .get(name)
            .filter(|member| name != unit && !member.leaving)
    };
    if let Some(joined) = &state.changed_pending {
        return Some(RelationEvent::UnitChanged {
            unit: joined.clone(),
            version: remote
                .unit_bag(joined.as_str())
                .map_or(0, |bag| bag.version),
        });
    }
    let silent = |name: &UnitName| model.quirks.silent_units.contains(name);
    let departed_is_lost = relation.is_peer() && model.generation == JujuGeneration::Four;
    let gone = state.members.keys().find(|name| {
        ending || (seen(name).is_none() && (!departed_is_lost || state.gone.contains(*name)))
    });
    if let Some(gone) = gone {
        return Some(RelationEvent::Departed { unit: gone.clone() });
    }
    if ending {
        let known_peer = relation.is_peer() && state.peer_known;
        return (!known_peer).then_some(RelationEvent::Broken);
    }
    let delivered = state.apps.get(&remote.app).copied().unwrap_or_default();
    if remote.app_bag.version != delivered {
        return Some(RelationEvent::AppChanged {
            app: remote.app.clone(),
            version: remote.app_bag.version,
        });
    }
    let joined = relation
        .counterparts(unit)
        .find(|(name, _)| !state.members.contains_key(*name) && !silent(name));
    if let Some((name, member)) = joined {
        return Some(RelationEvent::Joined {
            unit: name.clone(),
            version: member.bag.version,
        });
    }
    state.members.iter().find_map(|(name, delivered)| {
        let version = seen(name)?.bag.version;
        (version != *delivered && !silent(name)).then(|| RelationEvent::UnitChanged {
            unit: name.clone(),
            version,
        })
    })
}

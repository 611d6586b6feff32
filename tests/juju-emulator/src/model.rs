//! The controller's truth: applications, units, relations, databags, leases. Plain data without
//! any I/O, cheap to clone (databags are shared), so that a test can look at it after every commit.
//!
//! Whatever changes here notes the units whose agents Juju would inform, in [`Model::take_woken`].

use std::collections::{BTreeMap, BTreeSet};
use std::hash::{DefaultHasher, Hasher};
use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;

use crate::charm::{Endpoint, Metadata, Role};
use crate::names::{AppName, RelationId, UnitName};
use crate::quirks::{Complaint, Party, Quirks, Unserved};

/// What a databag holds.
pub type Content = Arc<BTreeMap<String, String>>;

/// Juju's limit for one databag, the sum of key and value bytes.
pub const BAG_QUOTA: usize = 16 << 20;

/// How many keys Juju 4 can write in one databag; one more and the flush fails. Counted over the
/// whole bag after the write.
pub const MAX_KEYS: usize = 10_921;

/// When a model's time begins unless somebody says otherwise, in seconds since 1970: some day in 2026.
pub const EPOCH: u64 = 1_780_000_000;

/// The controller and the model that offers of other models come from.
pub const OFFERING_MODEL: &str = "controller:admin/elsewhere";

/// Keys that Juju itself writes into unit bags.
pub const NETWORK_KEYS: [&str; 2] = ["ingress-address", "egress-subnets"];

/// Which Juju is emulated. What the contract says of 2.9 alone is not, such as its limit for all
/// that a hook writes; where its relations come in any order, [`Quirks`] has a knob.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum JujuGeneration {
    /// 3.6.
    Three,
    /// 4.0 and 4.1.
    Four,
}

impl JujuGeneration {
    /// What `JUJU_VERSION` says.
    pub fn version(self) -> &'static str {
        match self {
            Self::Three => "3.6.9",
            Self::Four => "4.0.14",
        }
    }
}

/// Whether something is there to stay.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Life {
    /// It is.
    Alive,
    /// It goes once its hooks are done.
    Dying,
}

/// A workload status and the words beside it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Status {
    /// `active`, `blocked`, ...
    pub status: String,
    /// What the charm says about it.
    pub message: String,
}

impl Status {
    fn new(status: &str, message: &str) -> Self {
        Self {
            status: status.to_owned(),
            message: message.to_owned(),
        }
    }
}

/// A deployed application.
#[derive(Debug, Clone)]
pub struct Application {
    /// What its charm declares.
    pub charm: Arc<Metadata>,
    /// Counts refreshes.
    pub revision: u32,
    /// What the operator set; defaults are in the charm.
    pub config: BTreeMap<String, Value>,
    /// Counts changes of the above.
    pub config_version: u64,
    /// Who holds the lease.
    pub leader: Option<UnitName>,
    /// Who held it last, and may not take it back while there is another unit.
    pub deposed: Option<UnitName>,
    /// Alive or dying.
    pub life: Life,
    /// Set by the leader with `status-set --application`.
    pub status: Option<Status>,
    next_unit: u32,
}

/// A unit of an application.
#[derive(Debug, Clone)]
pub struct Unit {
    /// Alive or dying.
    pub life: Life,
    /// Its machine. A subordinate shares that of its principal.
    pub machine: u32,
    /// What the charm says of the workload.
    pub workload: Status,
    /// Whether the charm ever set the above.
    pub workload_set: bool,
    /// Since when the workload has this status: a status that is set again counts anew.
    pub workload_since: Duration,
    /// Of a subordinate unit, the unit on whose machine it is.
    pub principal: Option<UnitName>,
    /// The message of a failed hook, while the agent's status is `error`.
    pub error: Option<String>,
    /// Set with `application-version-set`.
    pub workload_version: String,
}

impl Unit {
    /// The address of the unit's machine.
    pub fn address(&self) -> String {
        let [_, high, middle, low] = self.machine.to_be_bytes();
        format!("10.{high}.{middle}.{}", u16::from(low) + 1)
    }
}

/// A databag and its version.
#[derive(Debug, Clone, Default)]
pub struct Bag {
    /// What is in it.
    pub content: Content,
    /// 0 for a bag never written; otherwise what agents compare to find out about changes.
    pub version: u64,
}

impl Bag {
    fn write(&mut self, content: Content, generation: JujuGeneration) {
        self.version = match generation {
            // A counter: every write that changes something is an event.
            JujuGeneration::Three => self.version + u64::from(self.content != content),
            // A function of the content: A, B, A between two looks is no event. Juju joins keys
            // and values with blanks, so text moved between neighbours is no event either.
            JujuGeneration::Four => {
                let mut hasher = DefaultHasher::new();
                for (key, value) in content.iter() {
                    for text in [key, value] {
                        hasher.write(text.as_bytes());
                        hasher.write(b" ");
                    }
                }
                hasher.finish().max(1)
            }
        };
        self.content = content;
    }
}

/// A unit that has entered a relation's scope.
#[derive(Debug, Clone, Default)]
pub struct Member {
    /// Its databag.
    pub bag: Bag,
    /// It is on its way out and hidden from the others already (Juju 3).
    pub leaving: bool,
}

/// One end of a relation.
#[derive(Debug, Clone)]
pub struct Side {
    /// The application there.
    pub app: AppName,
    /// By which of its endpoints.
    pub endpoint: String,
    /// Its part.
    pub role: Role,
    /// The name under which the other side knows the application, if another: `remote-<32 hex
    /// digits>` of a consuming application, and whatever an offer was consumed as.
    pub alias: Option<AppName>,
    /// The application's databag.
    pub app_bag: Bag,
    /// Units in scope.
    pub members: BTreeMap<UnitName, Member>,
    /// Databags of units that left. They stay readable as long as the relation exists.
    pub departed: BTreeMap<UnitName, Bag>,
    /// The model of this side has the relation no more, while that of the other side goes on with
    /// it and hears nothing.
    pub over: bool,
}

impl Side {
    /// The application's name as the other side sees it.
    pub fn shown_app(&self) -> &str {
        self.alias.as_ref().unwrap_or(&self.app).as_str()
    }

    /// A unit's name as the other side sees it.
    pub fn shown_unit(&self, unit: &UnitName) -> UnitName {
        match &self.alias {
            Some(alias) => UnitName::new(alias.as_str(), unit.number()),
            None => unit.clone(),
        }
    }

    /// The bag of a unit that is or was a member.
    pub fn unit_bag(&self, unit: &str) -> Option<&Bag> {
        match self.members.get(unit) {
            Some(member) => Some(&member.bag),
            None => self.departed.get(unit),
        }
    }
}

/// A relation: two sides, or one for a peer relation.
#[derive(Debug, Clone)]
pub struct Relation {
    /// Its number.
    pub id: RelationId,
    /// One or two ends.
    pub sides: Vec<Side>,
    /// Alive or dying.
    pub life: Life,
    /// Suspended by the operator.
    pub suspended: bool,
    /// The two sides are in different models; the first one offers.
    pub cross_model: bool,
    /// Since when it is there.
    pub since: Duration,
}

impl Relation {
    /// Whether both sides are the same application.
    pub fn is_peer(&self) -> bool {
        self.sides.len() == 1
    }

    /// Whether `app` is the offering side of a relation across models.
    pub fn is_offered_by(&self, app: &str) -> bool {
        self.cross_model && self.sides.first().is_some_and(|s| s.app.as_str() == app)
    }

    /// The side of `app`.
    pub fn own_side(&self, app: &str) -> Option<&Side> {
        self.sides.iter().find(|side| side.app.as_str() == app)
    }

    /// The side that a unit of `app` looks at: the other one, or the only one of a peer relation.
    pub fn remote_side(&self, app: &str) -> Option<&Side> {
        let own = self.sides.iter().position(|s| s.app.as_str() == app)?;
        self.sides.get(1 - own).or(self.sides.get(own))
    }

    fn own_side_mut(&mut self, app: &str) -> Option<&mut Side> {
        self.sides.iter_mut().find(|side| side.app.as_str() == app)
    }

    /// Units `unit` sees in scope, by their real names, sorted as text.
    pub fn counterparts<'a>(
        &'a self,
        unit: &'a UnitName,
    ) -> impl Iterator<Item = (&'a UnitName, &'a Member)> {
        self.remote_side(unit.application())
            .into_iter()
            .flat_map(|side| &side.members)
            .filter(move |(name, member)| *name != unit && !member.leaving)
    }

    /// Juju's name for it: `requirer:endpoint provider:endpoint`.
    pub fn key(&self) -> String {
        let mut sides: Vec<&Side> = self.sides.iter().collect();
        sides.sort_by_key(|side| side.role);
        let ends: Vec<String> = sides
            .iter()
            .map(|side| format!("{}:{}", side.app, side.endpoint))
            .collect();
        ends.join(" ")
    }
}

/// A line of the model's log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogLine {
    /// Whose agent wrote it.
    pub unit: UnitName,
    /// `DEBUG`, `INFO`, ...
    pub level: String,
    /// The text.
    pub text: String,
}

/// Whose databag.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum BagOwner {
    /// An application's.
    App(AppName),
    /// A unit's.
    Unit(UnitName),
}

/// What a commit changed in one databag.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BagChange {
    /// In which relation.
    pub relation: RelationId,
    /// Whose bag.
    pub owner: BagOwner,
    /// For each key that changed, its value before and after.
    pub keys: BTreeMap<String, (Option<String>, Option<String>)>,
}

/// What a hook leaves behind at its end.
#[derive(Debug, Clone, Default)]
pub struct Flush {
    /// Own unit bags, whole.
    pub unit_bags: BTreeMap<RelationId, Content>,
    /// Own application bags, whole. Any entry makes the commit depend on the lease.
    pub app_bags: BTreeMap<RelationId, Content>,
}

/// Why a flush was refused; everything in it is lost.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// Another unit has the lease.
    #[error("cannot apply changes: checking leadership continuity: {unit:?} is not leader of {app:?}", unit = unit.as_str(), app = unit.application())]
    NotLeader {
        /// Who thought it was leader.
        unit: UnitName,
    },
    /// A relation of the flush is gone (Juju 4).
    #[error("cannot apply changes: expected {expected} relations but found {found}")]
    RelationsGone {
        /// How many the flush names.
        expected: usize,
        /// How many of them exist.
        found: usize,
    },
    /// A relation of the flush is gone (Juju 3).
    #[error("cannot apply changes: permission denied")]
    PermissionDenied,
    /// A databag is too big.
    #[error(
        "cannot apply changes: databag of {size} bytes: quota limit exceeded: max allowed size is {BAG_QUOTA}"
    )]
    Quota {
        /// Its size.
        size: usize,
    },
    /// A databag has more keys than one statement can write (Juju 4).
    #[error("cannot apply changes: too many SQL variables")]
    TooManyKeys,
    /// The unit is not in the scope of a relation of the flush (Juju 4).
    #[error("cannot apply changes: relation unit not found")]
    NotInScope,
    /// A key that the database does not take.
    #[error("cannot apply changes: empty settings key")]
    EmptyKey,
    /// A fault that the driver asked for.
    #[error("cannot apply changes: connection to the controller lost")]
    Injected,
}

/// Why an operator's command is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ModelError {
    /// No such application.
    #[error("application {0:?} not found")]
    NoApplication(String),
    /// It is there already.
    #[error("application {0:?} already exists")]
    ApplicationExists(String),
    /// No such unit.
    #[error("unit {0:?} not found")]
    NoUnit(String),
    /// No such relation.
    #[error("relation {0} not found")]
    NoRelation(RelationId),
    /// No such endpoint, or text that is not `app:endpoint`.
    #[error("endpoint {0:?} not found")]
    NoEndpoint(String),
    /// The two endpoints do not fit.
    #[error("cannot relate {0:?} and {1:?}")]
    NotRelatable(String, String),
    /// They are related already.
    #[error("relation {0:?} already exists")]
    RelationExists(String),
    /// An option that the charm does not have, or a value of another type.
    #[error("option {0:?} does not exist or has another type")]
    BadOption(String),
    /// The new charm would break a relation.
    #[error("{0}")]
    RefreshRefused(String),
    /// Units of a subordinate application come with those of a principal one.
    #[error("cannot add unit: application {0:?} is subordinate")]
    Subordinate(String),
    /// A unit of this application has a machine of its own.
    #[error("application {0:?} is not subordinate")]
    NotSubordinate(String),
}

/// A Juju model.
#[derive(Debug, Clone)]
pub struct Model {
    /// Which Juju.
    pub generation: JujuGeneration,
    /// The model's name.
    pub name: String,
    /// The model's UUID.
    pub uuid: String,
    /// When the model's time began, in seconds since 1970.
    pub epoch: u64,
    /// The model's time since it began. Only the driver moves it.
    pub now: Duration,
    /// Applications by name.
    pub applications: BTreeMap<AppName, Application>,
    /// Units by name.
    pub units: BTreeMap<UnitName, Unit>,
    /// Relations by number.
    pub relations: BTreeMap<RelationId, Relation>,
    /// The log.
    pub log: Vec<LogLine>,
    /// What this Juju does otherwise than a healthy one.
    pub quirks: Quirks,
    unserved: BTreeMap<RelationId, Unserved>,
    next_relation: u32,
    next_machine: u32,
    woken: BTreeSet<UnitName>,
}

impl Model {
    /// An empty model.
    pub fn new(generation: JujuGeneration) -> Self {
        Self {
            generation,
            name: "emulated".to_owned(),
            uuid: "2a7ba2e3-5d1f-4c0e-8a63-000000000001".to_owned(),
            epoch: EPOCH,
            now: Duration::ZERO,
            applications: BTreeMap::new(),
            units: BTreeMap::new(),
            relations: BTreeMap::new(),
            log: Vec::new(),
            quirks: Quirks::default(),
            unserved: BTreeMap::new(),
            next_relation: 0,
            next_machine: 0,
            woken: BTreeSet::new(),
        }
    }

    /// Units whose agents have been informed of something since the last call.
    pub fn take_woken(&mut self) -> BTreeSet<UnitName> {
        std::mem::take(&mut self.woken)
    }

    /// Adds a line to the log.
    pub fn log(&mut self, unit: &UnitName, level: &str, text: impl Into<String>) {
        self.log.push(LogLine {
            unit: unit.clone(),
            level: level.to_owned(),
            text: text.into(),
        });
    }

    /// The application `name`.
    pub fn application(&self, name: &str) -> Result<&Application, ModelError> {
        self.applications
            .get(name)
            .ok_or_else(|| ModelError::NoApplication(name.to_owned()))
    }

    fn application_mut(&mut self, name: &str) -> Result<&mut Application, ModelError> {
        self.applications
            .get_mut(name)
            .ok_or_else(|| ModelError::NoApplication(name.to_owned()))
    }

    /// The unit `name`.
    pub fn unit(&self, name: &str) -> Result<(UnitName, &Unit), ModelError> {
        self.units
            .get_key_value(name)
            .map(|(name, unit)| (name.clone(), unit))
            .ok_or_else(|| ModelError::NoUnit(name.to_owned()))
    }

    /// The relation `id`.
    pub fn relation(&self, id: RelationId) -> Result<&Relation, ModelError> {
        self.relations.get(&id).ok_or(ModelError::NoRelation(id))
    }

    /// Stops serving a relation, which the agents go on to list.
    pub fn stop_serving(&mut self, id: RelationId, unserved: Unserved) -> Result<(), ModelError> {
        self.relation(id)?;
        self.unserved.insert(id, unserved);
        Ok(())
    }

    /// Serves a relation again.
    pub fn serve_again(&mut self, id: RelationId) {
        self.unserved.remove(&id);
    }

    /// What `unit` sees of a relation that is not served to it.
    pub fn complaint(&self, id: RelationId, unit: &UnitName) -> Option<Complaint> {
        let unserved = self.unserved.get(&id)?;
        let suffers = match &unserved.only {
            None => true,
            Some(Party::Unit(only)) => only == unit,
            Some(Party::Application(app)) => app.as_str() == unit.application(),
        };
        suffers.then_some(unserved.complaint)
    }

    /// The relation `id`, if it is there and served to `unit`.
    pub fn served(&self, id: RelationId, unit: &UnitName) -> Option<&Relation> {
        match self.complaint(id, unit) {
            Some(_) => None,
            None => self.relations.get(&id),
        }
    }

    /// The units of `app`, by number.
    pub fn units_of(&self, app: &str) -> Vec<UnitName> {
        let mut units: Vec<UnitName> = self
            .units
            .keys()
            .filter(|unit| unit.application() == app)
            .cloned()
            .collect();
        units.sort_by_key(UnitName::number);
        units
    }

    /// Whether `unit` holds its application's lease.
    pub fn is_leader(&self, unit: &UnitName) -> bool {
        self.applications
            .get(unit.application())
            .is_some_and(|app| app.leader.as_ref() == Some(unit))
    }

    /// All options of `unit`'s application: what is set, else the default.
    pub fn config_of(&self, app: &str) -> BTreeMap<String, Option<Value>> {
        let Some(app) = self.applications.get(app) else {
            return BTreeMap::new();
        };
        app.charm
            .options
            .iter()
            .map(|(name, option)| {
                let value = app.config.get(name).or(option.default.as_ref());
                (name.clone(), value.cloned())
            })
            .collect()
    }

    /// Adds an application without units.
    pub fn deploy(
        &mut self,
        name: &str,
        charm: Arc<Metadata>,
        config: &[(&str, &str)],
    ) -> Result<(), ModelError> {
        if self.applications.contains_key(name) {
            return Err(ModelError::ApplicationExists(name.to_owned()));
        }
        let config = config
            .iter()
            .map(|(key, value)| Ok(((*key).to_owned(), read_option(&charm, key, value)?)))
            .collect::<Result<_, ModelError>>()?;
        let application = Application {
            charm,
            revision: 0,
            config,
            config_version: 0,
            leader: None,
            deposed: None,
            life: Life::Alive,
            status: None,
            next_unit: 0,
        };
        self.applications.insert(AppName::new(name), application);
        self.add_peer_relations(name);
        Ok(())
    }

    fn add_peer_relations(&mut self, app: &str) {
        let Some(application) = self.applications.get(app) else {
            return;
        };
        let missing: Vec<String> = application
            .charm
            .endpoints
            .iter()
            .filter(|(name, endpoint)| {
                endpoint.role == Role::Peer && self.relations_on(app, name).next().is_none()
            })
            .map(|(name, _)| name.clone())
            .collect();
        for endpoint in missing {
            self.add_relation(vec![new_side(app, &endpoint, Role::Peer, None)], false);
        }
    }

    fn relations_on<'a>(
        &'a self,
        app: &'a str,
        endpoint: &'a str,
    ) -> impl Iterator<Item = &'a Relation> {
        self.relations.values().filter(move |relation| {
            relation
                .own_side(app)
                .is_some_and(|side| side.endpoint == endpoint)
        })
    }

    fn add_relation(&mut self, sides: Vec<Side>, cross_model: bool) -> RelationId {
        let id = RelationId(self.next_relation);
        self.next_relation += 1;
        let relation = Relation {
            id,
            sides,
            life: Life::Alive,
            suspended: false,
            cross_model,
            since: self.now,
        };
        self.relations.insert(id, relation);
        self.wake_relation(id);
        id
    }

    /// Adds a unit on a machine of its own. Until the machine is there, its status is `unknown`.
    pub fn add_unit(&mut self, app: &str) -> Result<UnitName, ModelError> {
        if self.application(app)?.charm.subordinate {
            return Err(ModelError::Subordinate(app.to_owned()));
        }
        let machine = self.next_machine;
        self.next_machine += 1;
        self.new_unit(app, machine, None)
    }

    /// Adds a unit of a subordinate application beside `principal`, on its machine.
    pub fn add_subordinate(&mut self, app: &str, principal: &str) -> Result<UnitName, ModelError> {
        if !self.application(app)?.charm.subordinate {
            return Err(ModelError::NotSubordinate(app.to_owned()));
        }
        let (principal, unit) = self.unit(principal)?;
        let machine = unit.machine;
        self.new_unit(app, machine, Some(principal))
    }

    fn new_unit(
        &mut self,
        app: &str,
        machine: u32,
        principal: Option<UnitName>,
    ) -> Result<UnitName, ModelError> {
        let now = self.now;
        let application = self.application_mut(app)?;
        let name = UnitName::new(app, application.next_unit);
        application.next_unit += 1;
        let unit = Unit {
            life: Life::Alive,
            machine,
            workload: Status::new("unknown", ""),
            workload_set: false,
            workload_since: now,
            principal,
            error: None,
            workload_version: String::new(),
        };
        self.units.insert(name.clone(), unit);
        self.woken.insert(name.clone());
        Ok(name)
    }

    /// The subordinate units on the machine of `principal`.
    pub(crate) fn subordinates_of(&self, principal: &UnitName) -> Vec<UnitName> {
        let units = self.units.iter();
        units
            .filter(|(_, unit)| unit.principal.as_ref() == Some(principal))
            .map(|(name, _)| name.clone())
            .collect()
    }

    /// Relates two endpoints, each `app:endpoint`.
    pub fn integrate(&mut self, one: &str, other: &str) -> Result<RelationId, ModelError> {
        let sides = self.sides_for(one, other)?;
        Ok(self.add_relation(sides, false))
    }

    /// Relates two endpoints as if they were in different models: the offering side knows the
    /// consumer only as `remote`, which is `remote-<32 hex digits>`; the consumer knows the offer by
    /// the name it was consumed as, its own if there is none.
    pub fn integrate_across_models(
        &mut self,
        offer: &str,
        consumer: &str,
        remote: &str,
        consumed_as: Option<&str>,
    ) -> Result<RelationId, ModelError> {
        let mut sides = self.sides_for(offer, consumer)?;
        for (side, alias) in sides.iter_mut().zip([consumed_as, Some(remote)]) {
            side.alias = alias.map(AppName::new);
        }
        Ok(self.add_relation(sides, true))
    }

    fn sides_for(&self, one: &str, other: &str) -> Result<Vec<Side>, ModelError> {
        let (first_app, first_name, first) = self.endpoint(one)?;
        let (second_app, second_name, second) = self.endpoint(other)?;
        let roles = (first.role, second.role);
        let fit = matches!(
            roles,
            (Role::Provider, Role::Requirer) | (Role::Requirer, Role::Provider)
        );
        // Juju lets an application relate to itself; the emulator distinguishes the sides by name.
        if !fit || first.interface != second.interface || first_app == second_app {
            return Err(ModelError::NotRelatable(one.to_owned(), other.to_owned()));
        }
        let related = self.relations_on(first_app, first_name).any(|relation| {
            relation
                .own_side(second_app)
                .is_some_and(|s| s.endpoint == second_name && !s.over)
        });
        if related {
            return Err(ModelError::RelationExists(format!("{one} {other}")));
        }
        Ok(vec![
            new_side(first_app, first_name, first.role, None),
            new_side(second_app, second_name, second.role, None),
        ])
    }

    fn endpoint<'a>(
        &'a self,
        text: &'a str,
    ) -> Result<(&'a str, &'a str, &'a Endpoint), ModelError> {
        let missing = || ModelError::NoEndpoint(text.to_owned());
        let (app, name) = text.split_once(':').ok_or_else(missing)?;
        let endpoint = self.application(app)?.charm.endpoints.get(name);
        Ok((app, name, endpoint.ok_or_else(missing)?))
    }

    /// Starts the removal of a unit, whose agent then runs its last hooks.
    pub fn remove_unit(&mut self, unit: &str) -> Result<(), ModelError> {
        let (unit, _) = self.unit(unit)?;
        if let Some(entry) = self.units.get_mut(&unit) {
            entry.life = Life::Dying;
        }
        for subordinate in self.subordinates_of(&unit) {
            self.remove_unit(subordinate.as_str())?;
        }
        if self.generation == JujuGeneration::Three {
            // Juju 3 hides a dying unit from the others at once; 4 waits until it left the scope.
            for relation in self.relations.values_mut() {
                if let Some(side) = relation.own_side_mut(unit.application())
                    && let Some(member) = side.members.get_mut(&unit)
                {
                    member.leaving = true;
                }
            }
            self.wake_counterparts_of(&unit);
        }
        self.woken.insert(unit);
        Ok(())
    }

    /// Takes a unit out of the model: its last hook is done, or its machine is lost.
    pub fn drop_unit(&mut self, unit: &str) -> Result<(), ModelError> {
        let (unit, _) = self.unit(unit)?;
        for subordinate in self.subordinates_of(&unit) {
            self.drop_unit(subordinate.as_str())?;
        }
        let ids: Vec<RelationId> = self.relations.keys().copied().collect();
        for id in ids {
            self.leave_scope(id, &unit);
        }
        let principal = self.units.remove(&unit).and_then(|entry| entry.principal);
        self.woken.extend(principal);
        let app = unit.application();
        if self.is_leader(&unit) {
            self.vacate_leadership(app)?;
        }
        self.end_consumption_of(app);
        let gone = self.application(app)?.life == Life::Dying && self.units_of(app).is_empty();
        if gone {
            self.applications.remove(app);
            self.relations
                .retain(|_, relation| !relation.is_peer() || relation.own_side(app).is_none());
        }
        Ok(())
    }

    /// With a unit of an offering application, Juju 4.0.14 takes the whole relation from the
    /// consuming model; the units that stay on the offering side hear nothing of it.
    fn end_consumption_of(&mut self, offering: &str) {
        if self.generation == JujuGeneration::Three {
            return;
        }
        let mut ended = Vec::new();
        for relation in self.relations.values_mut() {
            if relation.life == Life::Alive
                && relation.is_offered_by(offering)
                && let Some(consuming) = relation.sides.get_mut(1)
            {
                consuming.over = true;
                ended.push(consuming.app.clone());
            }
        }
        for consuming in ended {
            self.wake_application(consuming.as_str());
        }
    }

    /// The model of `app`, which consumes offers of this one, is destroyed with `--force`: no agent
    /// on the offering side is told anything, and the controller forgets the relations.
    pub fn destroy_model_of(&mut self, app: &str) -> Result<(), ModelError> {
        self.application(app)?;
        self.relations
            .retain(|_, relation| relation.own_side(app).is_none());
        self.units.retain(|unit, _| unit.application() != app);
        self.applications.remove(app);
        Ok(())
    }

    /// Starts the removal of an application, its units and its relations.
    pub fn remove_application(&mut self, app: &str) -> Result<(), ModelError> {
        self.application_mut(app)?.life = Life::Dying;
        let relations: Vec<RelationId> = self
            .relations
            .values()
            .filter(|relation| !relation.is_peer() && relation.own_side(app).is_some())
            .map(|relation| relation.id)
            .collect();
        for id in relations {
            self.remove_relation(id)?;
        }
        let units = self.units_of(app);
        if units.is_empty() {
            self.applications.remove(app);
            self.relations
                .retain(|_, relation| relation.own_side(app).is_none());
        }
        for unit in units {
            self.remove_unit(unit.as_str())?;
        }
        Ok(())
    }

    /// Starts the removal of a relation; it goes when the last unit has left it.
    pub fn remove_relation(&mut self, id: RelationId) -> Result<(), ModelError> {
        let relation = self
            .relations
            .get_mut(&id)
            .ok_or(ModelError::NoRelation(id))?;
        relation.life = Life::Dying;
        self.wake_relation(id);
        self.drop_relation_if_done(id);
        Ok(())
    }

    /// `remove-relation --force`: gone at once, databags and all.
    pub fn force_remove_relation(&mut self, id: RelationId) -> Result<(), ModelError> {
        self.relation(id)?;
        self.wake_relation(id);
        self.relations.remove(&id);
        Ok(())
    }

    /// Suspends or resumes a relation.
    pub fn set_suspended(&mut self, id: RelationId, suspended: bool) -> Result<(), ModelError> {
        let relation = self
            .relations
            .get_mut(&id)
            .ok_or(ModelError::NoRelation(id))?;
        relation.suspended = suspended;
        self.wake_relation(id);
        Ok(())
    }

    /// Sets options of an application: `juju config APP KEY=VALUE`. The value that an option has
    /// already is no change.
    pub fn set_config(&mut self, app: &str, values: &[(&str, &str)]) -> Result<(), ModelError> {
        let application = self.application_mut(app)?;
        let charm = Arc::clone(&application.charm);
        let mut config = application.config.clone();
        for (key, value) in values {
            config.insert((*key).to_owned(), read_option(&charm, key, value)?);
        }
        if config != application.config {
            application.config = config;
            application.config_version += 1;
        }
        self.wake_application(app);
        Ok(())
    }

    /// Gives options their defaults again: `juju config APP --reset KEY`. Juju 4 tells no agent.
    pub fn reset_config(&mut self, app: &str, keys: &[&str]) -> Result<(), ModelError> {
        let generation = self.generation;
        let application = self.application_mut(app)?;
        let unknown = |key: &&&str| !application.charm.options.contains_key(**key);
        if let Some(key) = keys.iter().find(unknown) {
            return Err(ModelError::BadOption((*key).to_owned()));
        }
        let before = application.config.len();
        application
            .config
            .retain(|key, _| !keys.contains(&key.as_str()));
        if application.config.len() < before && generation == JujuGeneration::Three {
            application.config_version += 1;
            self.wake_application(app);
        }
        Ok(())
    }

    /// Gives an application another charm.
    pub fn refresh(&mut self, app: &str, charm: Arc<Metadata>) -> Result<(), ModelError> {
        let old = Arc::clone(&self.application(app)?.charm);
        let mut dropped = Vec::new();
        for relation in self.relations.values() {
            let Some(side) = relation.own_side(app) else {
                continue;
            };
            let name = &side.endpoint;
            if charm.endpoints.get(name) == old.endpoints.get(name) {
                continue;
            }
            let refusal = match (self.generation, relation.is_peer()) {
                (JujuGeneration::Three, true) if !charm.endpoints.contains_key(name) => {
                    dropped.push(relation.id);
                    continue;
                }
                (JujuGeneration::Three, _) => {
                    format!("would break relation {:?}", relation.key())
                }
                (JujuGeneration::Four, true) => format!(
                    "charm has no corresponding peer relation {name:?}. \
                     Please scale down to 0 units to refresh"
                ),
                (JujuGeneration::Four, false) => {
                    format!("charm has no corresponding relation {name:?}")
                }
            };
            return Err(ModelError::RefreshRefused(refusal));
        }
        let application = self.application_mut(app)?;
        application
            .config
            .retain(|key, _| charm.options.contains_key(key));
        application.charm = charm;
        application.revision += 1;
        for id in dropped {
            self.relations.remove(&id);
        }
        // Juju 4 makes peer relations when it deploys, and never later.
        if self.generation == JujuGeneration::Three {
            self.add_peer_relations(app);
        }
        self.wake_application(app);
        Ok(())
    }

    /// Gives the lease of its application to `unit`.
    pub fn set_leader(&mut self, unit: &str) -> Result<(), ModelError> {
        let (unit, _) = self.unit(unit)?;
        let application = self.application_mut(unit.application())?;
        application.leader = Some(unit.clone());
        application.deposed = None;
        self.wake_application(unit.application());
        Ok(())
    }

    /// Takes the lease from its holder. The next agent of another unit to act claims it.
    pub fn vacate_leadership(&mut self, app: &str) -> Result<(), ModelError> {
        let application = self.application_mut(app)?;
        if let Some(leader) = application.leader.take() {
            application.deposed = Some(leader);
        }
        self.wake_application(app);
        Ok(())
    }

    /// Whether `unit` may take a lease that no unit holds.
    pub fn may_claim_leadership(&self, unit: &UnitName) -> bool {
        let Some(application) = self.applications.get(unit.application()) else {
            return false;
        };
        let alive = |name: &UnitName| self.units.get(name).is_some_and(|u| u.life == Life::Alive);
        let alone = || {
            !self.units.keys().any(|other| {
                other != unit && other.application() == unit.application() && alive(other)
            })
        };
        application.leader.is_none()
            && alive(unit)
            && (application.deposed.as_ref() != Some(unit) || alone())
    }

    /// Puts `unit` into the scope of a relation, with the keys Juju writes itself.
    pub fn enter_scope(&mut self, id: RelationId, unit: &UnitName) {
        let Some(entry) = self.units.get(unit) else {
            return;
        };
        let address = entry.address();
        let mut content = BTreeMap::from([
            ("egress-subnets".to_owned(), format!("{address}/32")),
            ("ingress-address".to_owned(), address.clone()),
        ]);
        if self.generation == JujuGeneration::Three {
            content.insert("private-address".to_owned(), address);
        }
        let generation = self.generation;
        let side = self
            .relations
            .get_mut(&id)
            .and_then(|relation| relation.own_side_mut(unit.application()));
        if let Some(side) = side {
            let mut member = Member::default();
            if let Some(former) = side.departed.remove(unit) {
                // The counter goes on where it was, so that the others see a change.
                member.bag.version = former.version;
            }
            member.bag.write(Arc::new(content), generation);
            side.members.insert(unit.clone(), member);
            self.wake_relation(id);
        }
    }

    /// Takes `unit` out of the scope of a relation. The last one out of a dying relation ends it.
    pub fn leave_scope(&mut self, id: RelationId, unit: &UnitName) {
        let side = self
            .relations
            .get_mut(&id)
            .and_then(|relation| relation.own_side_mut(unit.application()));
        if let Some(side) = side
            // What the consuming side does is not told where the relation goes on.
            && !side.over
            && let Some(member) = side.members.remove(unit)
        {
            side.departed.insert(unit.clone(), member.bag);
            self.wake_relation(id);
            self.drop_relation_if_done(id);
        }
    }

    fn drop_relation_if_done(&mut self, id: RelationId) {
        let done = self.relations.get(&id).is_some_and(|relation| {
            let has_left = |side: &Side| side.over || side.members.is_empty();
            relation.life == Life::Dying && relation.sides.iter().all(has_left)
        });
        if done {
            self.relations.remove(&id);
        }
    }

    /// Applies everything a hook of `unit` leaves behind, or nothing of it.
    pub fn commit(&mut self, unit: &UnitName, flush: Flush) -> Result<Vec<BagChange>, Refused> {
        self.check(unit, &flush)?;
        let generation = self.generation;
        let app = unit.application();
        let mut changes = Vec::new();
        for (id, mut content) in flush.unit_bags {
            let side = self
                .relations
                .get_mut(&id)
                .and_then(|r| r.own_side_mut(app));
            let Some(side) = side else { continue };
            // Even a unit that left may be made to write: it changes the bag that stays readable.
            let bag = match side.members.get_mut(unit) {
                Some(member) => &mut member.bag,
                None => side.departed.entry(unit.clone()).or_default(),
            };
            if generation == JujuGeneration::Four {
                keep_network_keys(&bag.content, &mut content);
            }
            if bag.content != content {
                changes.push(BagChange {
                    relation: id,
                    owner: BagOwner::Unit(unit.clone()),
                    keys: difference(&bag.content, &content),
                });
                bag.write(content, generation);
            }
        }
        for (id, content) in flush.app_bags {
            let side = self
                .relations
                .get_mut(&id)
                .and_then(|r| r.own_side_mut(app));
            let Some(side) = side else { continue };
            let bag = &mut side.app_bag;
            if bag.content != content {
                changes.push(BagChange {
                    relation: id,
                    owner: BagOwner::App(side.app.clone()),
                    keys: difference(&bag.content, &content),
                });
                bag.write(content, generation);
            }
        }
        for change in &changes {
            self.wake_counterparts(change.relation, unit);
        }
        Ok(changes)
    }

    fn check(&self, unit: &UnitName, flush: &Flush) -> Result<(), Refused> {
        if !flush.app_bags.is_empty() && !self.is_leader(unit) {
            return Err(Refused::NotLeader { unit: unit.clone() });
        }
        let named: BTreeSet<&RelationId> = flush
            .unit_bags
            .keys()
            .chain(flush.app_bags.keys())
            .collect();
        let found = named
            .iter()
            .filter(|id| self.served(***id, unit).is_some())
            .count();
        if found < named.len() {
            return Err(match self.generation {
                JujuGeneration::Three => Refused::PermissionDenied,
                JujuGeneration::Four => Refused::RelationsGone {
                    expected: named.len(),
                    found,
                },
            });
        }
        for content in flush.unit_bags.values().chain(flush.app_bags.values()) {
            let size = content
                .iter()
                .map(|(key, value)| key.len() + value.len())
                .sum();
            if size > BAG_QUOTA {
                return Err(Refused::Quota { size });
            }
            if self.generation == JujuGeneration::Four {
                if content.contains_key("") {
                    return Err(Refused::EmptyKey);
                }
                if content.len() > MAX_KEYS {
                    return Err(Refused::TooManyKeys);
                }
            }
        }
        let in_scope = |id: &&RelationId| {
            let own = self
                .relations
                .get(id)
                .and_then(|r| r.own_side(unit.application()));
            own.is_some_and(|side| side.members.contains_key(unit))
        };
        if self.generation == JujuGeneration::Four && !named.iter().all(in_scope) {
            return Err(Refused::NotInScope);
        }
        Ok(())
    }

    fn wake_application(&mut self, app: &str) {
        let units = self.units.keys().filter(|unit| unit.application() == app);
        self.woken.extend(units.cloned());
    }

    fn wake_relation(&mut self, id: RelationId) {
        let apps: Vec<AppName> = self
            .relations
            .get(&id)
            .map(|relation| relation.sides.iter().map(|side| side.app.clone()).collect())
            .unwrap_or_default();
        for app in apps {
            self.wake_application(app.as_str());
        }
    }

    fn wake_counterparts(&mut self, id: RelationId, unit: &UnitName) {
        let Some(relation) = self.relations.get(&id) else {
            return;
        };
        let side = relation.remote_side(unit.application());
        self.woken.extend(
            side.into_iter()
                .flat_map(|side| side.members.keys().cloned()),
        );
    }

    fn wake_counterparts_of(&mut self, unit: &UnitName) {
        let ids: Vec<RelationId> = self
            .relations
            .values()
            .filter(|relation| relation.own_side(unit.application()).is_some())
            .map(|relation| relation.id)
            .collect();
        for id in ids {
            self.wake_counterparts(id, unit);
        }
    }

    /// Sets a unit's workload status.
    pub fn set_workload(&mut self, unit: &UnitName, status: &str, message: &str, by_charm: bool) {
        let now = self.now;
        if let Some(entry) = self.units.get_mut(unit) {
            entry.workload = Status::new(status, message);
            entry.workload_set |= by_charm;
            entry.workload_since = now;
        }
    }

    /// Sets an application's status.
    pub fn set_application_status(&mut self, app: &str, status: &str, message: &str) {
        if let Some(application) = self.applications.get_mut(app) {
            application.status = Some(Status::new(status, message));
        }
    }

    /// Takes a vacant lease for `unit`.
    pub fn claim_leadership(&mut self, unit: &UnitName) {
        if self.may_claim_leadership(unit) {
            // Cannot fail: a unit that may claim exists.
            let _ = self.set_leader(unit.as_str());
        }
    }
}

fn new_side(app: &str, endpoint: &str, role: Role, alias: Option<AppName>) -> Side {
    Side {
        app: AppName::new(app),
        endpoint: endpoint.to_owned(),
        role,
        alias,
        app_bag: Bag::default(),
        members: BTreeMap::new(),
        departed: BTreeMap::new(),
        over: false,
    }
}

fn read_option(charm: &Metadata, key: &str, value: &str) -> Result<Value, ModelError> {
    charm
        .options
        .get(key)
        .and_then(|option| option.kind.read(value))
        .ok_or_else(|| ModelError::BadOption(key.to_owned()))
}

/// Juju 4 ignores what a charm does to these keys.
fn keep_network_keys(held: &Content, content: &mut Content) {
    for key in NETWORK_KEYS {
        if held.get(key) != content.get(key) {
            let content = Arc::make_mut(content);
            match held.get(key) {
                Some(value) => content.insert(key.to_owned(), value.clone()),
                None => content.remove(key),
            };
        }
    }
}

/// The keys whose values differ, with both values.
pub fn difference(
    before: &BTreeMap<String, String>,
    after: &BTreeMap<String, String>,
) -> BTreeMap<String, (Option<String>, Option<String>)> {
    let keys: BTreeSet<&String> = before.keys().chain(after.keys()).collect();
    keys.into_iter()
        .filter(|key| before.get(*key) != after.get(*key))
        .map(|key| {
            let pair = (before.get(key).cloned(), after.get(key).cloned());
            (key.clone(), pair)
        })
        .collect()
}

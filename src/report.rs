//! The story of each host, for people and for scripts: facts in, plain values out.
//!
//! It tells what is, not what should be, and it holds no value of the mirror, only fingerprints.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;
use serde_json::Value;

use crate::databag::{
    self, BOOTSTRAP_APP, Change, DOWN, Databag, GUARD, HOSTNAME, HOSTS, MIRROR, NUDGE, RETIRED,
    is_real, mirror_key, mirrored, printable,
};
use crate::fingerprint::fingerprint;
use crate::reconcile::Plan;
use crate::snapshot::{RelationId, Snapshot, UnitName};
use crate::table::columns;

/// What one distributor unit can know, with the bags of the others.
#[derive(Clone, Debug)]
pub struct View {
    /// The unit that looks.
    pub unit: UnitName,
    /// Whether it leads, and so may read the application bags.
    pub is_leader: bool,
    /// What it sees.
    pub facts: Snapshot,
    /// The unit bags of the other distributor units.
    pub siblings: BTreeMap<RelationId, BTreeMap<UnitName, Databag>>,
    /// The units, of either side, of which Juju says that a hook fails.
    pub failing: BTreeSet<UnitName>,
}

impl View {
    /// Puts the published copies where a unit that does not lead may not look: what the leader's
    /// unit bag says of the mirror is what its application bag says.
    pub fn through_published_copies(mut self) -> Self {
        for (id, relation) in &mut self.facts.relations {
            let siblings = self.siblings.get(id).into_iter().flat_map(BTreeMap::values);
            let copies = relation.own_unit.iter().chain(siblings);
            // With no mirror up, one that led before is the best there is.
            let mut led = copies
                .clone()
                .filter(|bag| databag::mirror_of(bag).next().is_some());
            let published = copies.clone().find(|bag| databag::is_up(bag));
            let published = published.or_else(|| led.next()).cloned();
            let published = published.unwrap_or_default();
            relation.own_app = published.clone();
            relation
                .own_app
                .retain(|key, _| ![MIRROR, NUDGE, GUARD].contains(&key.as_str()));
            relation.own_unit = Some(published);
        }
        self
    }
}

/// How far a host has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum State {
    /// It has no token yet.
    Waiting,
    /// Its token is there. Whether it was used, nobody tells us.
    Token,
    /// Its unit has been communicator, so it is in the cluster.
    Member,
    /// An operator retired its token.
    Retired,
    /// It never gets one: microcluster refuses its name.
    Refused,
}

impl State {
    /// The word for it.
    pub fn as_str(self) -> &'static str {
        match self {
            State::Waiting => "waiting",
            State::Token => "token",
            State::Member => "member",
            State::Retired => "retired",
            State::Refused => "refused",
        }
    }
}

/// A unit and the relation it was seen in.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Place {
    /// The unit's name.
    pub unit: String,
    /// The relation's number.
    pub relation: u64,
}

/// A real value of the mirror, without showing it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Held {
    /// See [`fingerprint`].
    pub fingerprint: String,
    /// The relations that show it.
    pub relations: Vec<u64>,
}

/// What is known of one host.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Host {
    /// Its name, as a person may see it.
    pub host: String,
    /// How far it has come.
    pub state: State,
    /// The units that announce the name now: one, unless it has left or has a namesake.
    pub announced_by: Vec<Place>,
    /// The unit whose own bag shows the same value: it minted it, or stands in for who did.
    pub given_by: Option<Place>,
    /// The values in our own bags: none while it waits, one, or more where relations disagree.
    pub values: Vec<Held>,
}

impl Host {
    /// Whether the status counts it among those that wait.
    pub fn waits(&self) -> bool {
        self.values.is_empty() && self.state != State::Refused
    }

    /// Whether nobody needs to look at it.
    pub fn is_fine(&self) -> bool {
        !matches!(self.state, State::Waiting | State::Refused) && self.values.len() == 1
    }
}

/// All that is known of all hosts.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Report {
    /// The application that may bootstrap, as the bags say.
    pub bootstrap_app: Option<String>,
    /// The units that mint tokens: their mirror is up.
    pub communicators: Vec<Place>,
    /// All hosts in order of name.
    pub hosts: Vec<Host>,
    /// Mirror keys that name no host.
    pub other_keys: Vec<String>,
}

impl Report {
    /// Tells the story of every host in `facts`.
    pub fn of(facts: &Snapshot) -> Self {
        let mut report = Report::default();
        let mut known: BTreeMap<&str, Known<'_>> = BTreeMap::new();
        for (id, bag) in own_bags(facts) {
            let chosen = bag.get(BOOTSTRAP_APP).map(|app| printable(app));
            report.bootstrap_app = report.bootstrap_app.or(chosen);
            for (name, value) in databag::mirror_by_name(bag) {
                known.entry(name).or_default().hold(value, id);
            }
        }
        for (id, unit, bag) in units(facts) {
            let place = Place {
                unit: unit.as_str().to_owned(),
                relation: id.0,
            };
            if databag::is_up(bag) {
                report.communicators.push(place.clone());
            }
            let mut has_minted = bag.contains_key(MIRROR);
            for (name, value) in databag::mirror_by_name(bag) {
                has_minted = true;
                // A name that nobody else knows is none of ours: it is of interest once mirrored.
                if let Some(known) = known.get_mut(name) {
                    known.offers.push((value, place.clone()));
                }
            }
            if let Some(name) = bag.get(HOSTNAME).filter(|name| !name.is_empty()) {
                let known = known.entry(name).or_default();
                known.announced_by.push(place);
                known.is_member |= has_minted;
            }
        }
        for (name, known) in known {
            if databag::is_hostname(name) || !known.announced_by.is_empty() {
                report.hosts.push(known.host(name));
            } else if known.is_held {
                report.other_keys.push(printable(&mirror_key(name)));
            }
        }
        report
    }

    /// The story of one host, by its name or as it is shown.
    pub fn host(&self, name: &str) -> Option<&Host> {
        let shown = printable(name);
        let mut hosts = self.hosts.iter();
        hosts.find(|host| host.host == name || host.host == shown)
    }

    /// How many hosts are in this state.
    pub fn count(&self, state: State) -> usize {
        let hosts = self.hosts.iter();
        hosts.filter(|host| host.state == state).count()
    }

    /// Whether some value or some unit tells that a cluster has been formed.
    fn shows_a_cluster(&self) -> bool {
        let mut hosts = self.hosts.iter();
        hosts.any(|host| !host.values.is_empty() || host.state == State::Member)
    }

    /// What happens next to `host`, and who can make it happen.
    pub fn next(&self, host: &Host) -> String {
        let name = &host.host;
        match (host.state, self.communicators.first()) {
            (State::Waiting, Some(Place { unit, .. })) => format!(
                "{unit} is to mint a token; if it does not, its log tells why `cluster add {name}` \
                 failed"
            ),
            (State::Waiting, None) => match &self.bootstrap_app {
                Some(_) if self.shows_a_cluster() => "no unit is communicator, so nobody mints: \
                     repair the first voter of the cluster, and members that are PENDING or \
                     unreachable"
                    .to_owned(),
                Some(app) => format!(
                    "no cluster yet, so nobody mints: the leader of {app} is to bootstrap; if it is \
                     up and does not, as after a change of leader, add a unit to the token \
                     distributor: {app} then tries again"
                ),
                None => "no application may bootstrap yet: add a unit to one, or set the option \
                         bootstrap-app"
                    .to_owned(),
            },
            (State::Token, _) if host.announced_by.is_empty() => {
                format!("no unit announces {name} any more; retire-host takes its token away")
            }
            (State::Token, _) if host.values.len() > 1 => format!(
                "relations show different values: {name} takes that of its own relation, and joins \
                 only if its cluster minted it"
            ),
            (State::Token, _) => {
                format!("{name} joins with this token, once, and within three hours of its minting")
            }
            (State::Member, _) if host.waits() => format!(
                "{name} is in the cluster and needs no token; it counts as waiting until it has \
                 one, and retire-host with force=true ends that"
            ),
            (State::Member, _) => "nothing: it is in the cluster".to_owned(),
            (State::Retired, _) => {
                format!("nothing: a unit that is to join needs another host name than {name}")
            }
            (State::Refused, _) => {
                let announcers = host.announced_by.iter();
                let units: Vec<&str> = announcers.map(|place| place.unit.as_str()).collect();
                format!(
                    "microcluster refuses this name, so nobody mints: remove {}, give the machine a \
                     name of letters, digits and hyphens, not of digits only, and add a unit there",
                    units.join(" and ")
                )
            }
        }
    }
}

/// An answer for scripts.
pub fn value(answer: &impl Serialize) -> Value {
    // Maps with keys that are text always have a JSON form.
    serde_json::to_value(answer).unwrap_or_default()
}

/// A table of hosts, one line each.
pub fn table(hosts: &[&Host]) -> String {
    let head = ["HOST", "STATE", "ANNOUNCED BY", "GIVEN BY", "FINGERPRINT"].map(str::to_owned);
    let line = |host: &&Host| {
        let announcers = host.announced_by.iter();
        let announced_by = or_dash(announcers.map(|place| {
            let Place { unit, relation } = place;
            format!("{unit} (relation {relation})")
        }));
        let fingerprints = or_dash(host.values.iter().map(|held| match host.values.len() {
            1 => held.fingerprint.clone(),
            _ => format!("{} (in {})", held.fingerprint, numbers(&held.relations)),
        }));
        let given_by = or_dash(host.given_by.iter().map(|place| place.unit.clone()));
        let state = host.state.as_str().to_owned();
        [
            host.host.clone(),
            state,
            announced_by,
            given_by,
            fingerprints,
        ]
    };
    let rows: Vec<_> = std::iter::once(head)
        .chain(hosts.iter().map(line))
        .collect();
    columns(&rows)
}

fn or_dash(parts: impl Iterator<Item = String>) -> String {
    let text = parts.collect::<Vec<_>>().join(", ");
    if text.is_empty() {
        "-".to_owned()
    } else {
        text
    }
}

/// Relations' numbers in one text.
pub(crate) fn numbers(relations: &[u64]) -> String {
    let numbers: Vec<String> = relations.iter().map(u64::to_string).collect();
    numbers.join(", ")
}

/// What the bags say of one host.
#[derive(Default)]
struct Known<'a> {
    /// Whether our own bags have a key for it.
    is_held: bool,
    /// The real values in our own bags, with the relations that show them.
    values: Vec<(&'a str, Vec<u64>)>,
    /// What units have under its key, whether their mirror is up or not.
    offers: Vec<(&'a str, Place)>,
    announced_by: Vec<Place>,
    is_member: bool,
}

impl<'a> Known<'a> {
    fn hold(&mut self, value: &'a str, relation: RelationId) {
        self.is_held = true;
        if !is_real(value) {
            return;
        }
        match self.values.iter_mut().find(|(held, _)| *held == value) {
            Some((_, relations)) if relations.contains(&relation.0) => {}
            Some((_, relations)) => relations.push(relation.0),
            None => self.values.push((value, vec![relation.0])),
        }
    }

    fn host(self, name: &str) -> Host {
        let is_retired = |(value, _): &(&str, _)| *value == RETIRED;
        let state = match self.values.is_empty() {
            _ if !databag::is_hostname(name) => State::Refused,
            false if self.values.iter().all(is_retired) => State::Retired,
            _ if self.is_member => State::Member,
            false => State::Token,
            true => State::Waiting,
        };
        let is_held = |offer: &str| self.values.iter().any(|(value, _)| *value == offer);
        let given_by = self.offers.iter().find(|(offer, _)| is_held(offer));
        Host {
            host: printable(name),
            state,
            given_by: given_by.map(|(_, place)| place.clone()),
            announced_by: self.announced_by,
            values: self
                .values
                .into_iter()
                .map(|(value, relations)| Held {
                    fingerprint: fingerprint(value),
                    relations,
                })
                .collect(),
        }
    }
}

fn own_bags(facts: &Snapshot) -> impl Iterator<Item = (RelationId, &Databag)> {
    facts.relations.iter().flat_map(|(id, relation)| {
        let own = std::iter::once(&relation.own_app).chain(&relation.own_unit);
        own.map(|bag| (*id, bag))
    })
}

fn units(facts: &Snapshot) -> impl Iterator<Item = (RelationId, &UnitName, &Databag)> {
    facts.relations.iter().flat_map(|(id, relation)| {
        let units = relation.units.iter();
        units.map(|(unit, bag)| (*id, unit, bag))
    })
}

/// One change that a plan makes, in words.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct PlannedChange {
    /// The relation's number.
    pub relation: u64,
    /// `application`, `unit`, or `both` where both bags get the same.
    pub bag: &'static str,
    /// The key.
    pub key: String,
    /// What becomes of it.
    pub change: String,
    /// Why.
    pub why: String,
}

/// The changes of `plan`, which was made of `facts`, whose story `report` tells.
pub fn planned_changes(facts: &Snapshot, plan: &Plan, report: &Report) -> Vec<PlannedChange> {
    let mut changes = Vec::new();
    for (id, writes) in &plan.writes {
        for key in writes.keys() {
            let (app, unit) = (writes.app.get(key), writes.unit.get(key));
            let bags = match (app, unit) {
                (Some(app), Some(unit)) if app == unit => vec![("both", app)],
                _ => [("application", app), ("unit", unit)]
                    .into_iter()
                    .filter_map(|(bag, change)| Some((bag, change?)))
                    .collect(),
            };
            changes.extend(bags.into_iter().map(|(bag, change)| PlannedChange {
                relation: id.0,
                bag,
                key: printable(key),
                change: outcome(key, change),
                why: reason(key, change, facts, report),
            }));
        }
    }
    changes
}

/// The planned changes as a table.
pub fn change_table(changes: &[PlannedChange]) -> String {
    let head = ["RELATION", "BAG", "KEY", "BECOMES", "WHY"].map(str::to_owned);
    let line = |change: &PlannedChange| {
        [
            change.relation.to_string(),
            change.bag.to_owned(),
            change.key.clone(),
            change.change.clone(),
            change.why.clone(),
        ]
    };
    let rows: Vec<_> = std::iter::once(head)
        .chain(changes.iter().map(line))
        .collect();
    columns(&rows)
}

fn outcome(key: &str, change: &Change) -> String {
    match change {
        Change::Remove => "removed".to_owned(),
        Change::Set(value) if key == HOSTS => format!("{} bytes", value.len()),
        Change::Set(value) if mirrored(key).is_none() => printable(value),
        Change::Set(value) if !is_real(value) => value.clone(),
        Change::Set(value) => format!("token {}", fingerprint(value)),
    }
}

fn reason(key: &str, change: &Change, facts: &Snapshot, report: &Report) -> String {
    let fixed = match (key, change) {
        (BOOTSTRAP_APP, _) => "the application that may bootstrap the cluster",
        (HOSTS, _) => "remembers which unit announced which host",
        (MIRROR, Change::Set(value)) if value == DOWN => "no application may bootstrap yet",
        (MIRROR, _) => "consumers read only a mirror that is up",
        (NUDGE, _) => "makes consumers look again",
        (GUARD, Change::Set(_)) => "keeps this application from bootstrapping a second cluster",
        (GUARD, Change::Remove) => "its application may bootstrap, or there is a cluster to join",
        (_, Change::Remove) => "no unit announces this host any more",
        (_, Change::Set(_)) => return source(key, change, facts, report),
    };
    fixed.to_owned()
}

/// Where the value of a mirror key comes from.
fn source(key: &str, change: &Change, facts: &Snapshot, report: &Report) -> String {
    let Change::Set(value) = change else {
        return String::new();
    };
    let own = own_bags(facts).find(|(_, bag)| bag.get(key) == Some(value));
    if let Some((id, _)) = own {
        return format!("known from relation {id}");
    }
    let giver = units(facts).find(|(_, _, bag)| databag::is_up(bag) && bag.get(key) == Some(value));
    if let Some((id, unit, _)) = giver {
        return format!("given by {unit} (relation {id})");
    }
    let host = mirrored(key).and_then(|name| report.host(name));
    match host.and_then(|host| host.announced_by.first()) {
        Some(Place { unit, relation }) => format!("announced by {unit} (relation {relation})"),
        None => "named without a value".to_owned(),
    }
}

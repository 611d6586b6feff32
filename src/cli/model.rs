//! What all units of all files show together, seen from each distributor in them.
//!
//! People do not dump a whole model. So everything here says whether it was seen, and if not, why:
//! what the input does not show may exist all the same, and a plan must not rest on its absence.
//!
//! What Juju shows to a unit depends on its release. Up to Juju 3: the unit bags and the
//! application bag of the other side. From Juju 4: the own application bag; and Juju 4.0.5 shows
//! the own side's unit bags in place of the other's. So a bag belongs to the unit that it is named
//! after, wherever it is, and an application bag with anything in it is the distributor's,
//! because consumers write none.

use std::collections::{BTreeMap, BTreeSet};

use super::document::{Document, InputError, ShownRelation, ShownUnit};
use crate::core::ledger::{Ledger, Options, Place};
use crate::core::names::{RelationId, UnitName};
use crate::core::publish::{app_bag, unit_bag};
use crate::core::queue::Moment;
use crate::core::wire::{Databag, is_up};
use crate::core::world::{self, World};
use crate::juju::environment::{ENDPOINT, PEER_ENDPOINT};
use crate::report::View;

/// The charm's name, in whatever way it was deployed.
const CHARM: &str = "microcluster-token-distributor";

/// Something that the input shows, or why it does not.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Seen<T> {
    /// It is in the input.
    Shown(T),
    /// It is not.
    Unseen(Unseen),
}

/// Why the input does not show something.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Unseen {
    /// It was not asked for, or an option such as `--related-unit` or `--app` left it out.
    NotInInput,
    /// Juju says that the unit has not entered the relation, or has left it.
    NotInScope,
    /// It is another model's.
    OtherModel,
}

impl<T> Default for Seen<T> {
    fn default() -> Self {
        Seen::Unseen(Unseen::NotInInput)
    }
}

impl<T> Seen<T> {
    /// What was seen.
    pub fn shown(&self) -> Option<&T> {
        match self {
            Seen::Shown(shown) => Some(shown),
            Seen::Unseen(_) => None,
        }
    }
}

/// All that the input shows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ShownModel {
    /// By the application's name, which is not empty.
    pub distributors: BTreeMap<String, Distributor>,
    /// What was left out, for all of them.
    pub notes: Vec<String>,
}

/// One distributor application.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Distributor {
    /// Its name.
    pub app: String,
    /// The units that are known, dumped or not.
    pub units: BTreeSet<UnitName>,
    /// Which unit leads.
    pub leader: Seen<UnitName>,
    /// The application bag of the peer relation.
    pub ledger: Seen<Databag>,
    /// Its relations with consumers.
    pub relations: BTreeMap<RelationId, Relation>,
    /// What is odd about the input.
    pub notes: Vec<String>,
    /// Whether a unit of it was dumped with all its relations, and not through an option that
    /// leaves some out.
    is_whole: bool,
}

/// One relation with a consumer.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Relation {
    /// The consumer's name in this model.
    pub remote_app: Seen<String>,
    /// Whether the consumer is in another model.
    pub is_cross_model: bool,
    /// The distributor's application bag.
    pub own_application: Seen<Databag>,
    /// The bags of the distributor's units, for every unit that is known.
    pub own_units: BTreeMap<UnitName, Seen<Databag>>,
    /// The bags of the consumer's units, for every unit that is known.
    pub remote_units: BTreeMap<UnitName, Seen<Databag>>,
    /// Whether these are all units of the consumer: if not seen, none that is absent is gone.
    pub are_all: Seen<()>,
    /// Whether units of either side were dumped.
    own_side: bool,
    remote_side: bool,
    /// Whether two dumps contradict each other.
    differs: bool,
}

/// Whether a charm, such as `ch:amd64/noble/microcluster-token-distributor-14`, is this one.
pub fn is_distributor(charm: &str) -> bool {
    let name = charm.rsplit(['/', ':']).next().unwrap_or_default();
    let revision = name.strip_prefix(CHARM);
    revision.is_some_and(|revision| {
        let number = revision.strip_prefix('-').unwrap_or_default();
        revision.is_empty() || number.parse::<u64>().is_ok()
    })
}

impl ShownModel {
    /// Puts the units of all files together.
    ///
    /// # Errors
    /// When two dumps of one unit disagree, or none is of a distributor.
    pub fn of(documents: Vec<Document>) -> Result<Self, InputError> {
        let mut notes = Vec::new();
        let mut units: BTreeMap<UnitName, ShownUnit> = BTreeMap::new();
        for document in documents {
            notes.extend(document.notes);
            for unit in document.units {
                // The same dump twice says nothing new, and nothing has to be chosen.
                match units.get(&unit.name) {
                    Some(known) if known.agrees_with(&unit) => {}
                    Some(known) => {
                        return Err(InputError::UnitTwice {
                            first: known.place.clone(),
                            second: unit.place,
                            unit: unit.name,
                        });
                    }
                    None => drop(units.insert(unit.name.clone(), unit)),
                }
            }
        }
        // While a unit is being refreshed from another charm, it is the distributor's all the same.
        let charmed = units.values().filter(|unit| is_distributor(&unit.charm));
        let mut distributors: BTreeMap<String, Distributor> = charmed
            .map(|unit| unit.name.app().to_owned())
            .map(|app| (app.clone(), Distributor::new(app)))
            .collect();
        if distributors.is_empty() {
            return Err(InputError::NoDistributor {
                unit: likely_distributor(units.values()),
            });
        }
        // Relations are known by their numbers once those of all distributors were read.
        let (own, others): (Vec<&ShownUnit>, Vec<_>) = units
            .values()
            .partition(|unit| distributors.contains_key(unit.name.app()));
        for unit in own {
            if let Some(distributor) = distributors.get_mut(unit.name.app()) {
                distributor.add_own(unit);
            }
        }
        for unit in others {
            for shown in &unit.relations {
                add_consumer(&mut distributors, unit, shown, &mut notes);
            }
        }
        for distributor in distributors.values_mut() {
            distributor.complete();
        }
        Ok(ShownModel {
            distributors,
            notes,
        })
    }

    /// The distributor of that name, or all.
    ///
    /// # Errors
    /// When there is none of that name.
    pub fn chosen(&self, app: Option<&str>) -> Result<Vec<&Distributor>, InputError> {
        let Some(app) = app else {
            return Ok(self.distributors.values().collect());
        };
        let known = || {
            let known: Vec<&str> = self.distributors.keys().map(String::as_str).collect();
            known.join(", ")
        };
        match self.distributors.get(app) {
            Some(distributor) => Ok(vec![distributor]),
            None => Err(InputError::OtherDistributor {
                app: app.to_owned(),
                known: known(),
            }),
        }
    }
}

/// The unit that consumers name, where none was dumped.
fn likely_distributor<'a>(units: impl Iterator<Item = &'a ShownUnit>) -> String {
    let relations = units.flat_map(|unit| &unit.relations);
    let mut served = relations.filter(|relation| relation.related_endpoint == ENDPOINT);
    let unit = served.find_map(|relation| relation.related_units.first());
    unit.map_or("APP/N", |(unit, _)| unit.as_str()).to_owned()
}

/// Finds the distributor that a consumer's relation is with.
fn add_consumer(
    distributors: &mut BTreeMap<String, Distributor>,
    unit: &ShownUnit,
    shown: &ShownRelation,
    notes: &mut Vec<String>,
) {
    if shown.related_endpoint != ENDPOINT {
        return;
    }
    let app = unit.name.app();
    // Numbers of relations are a model's: with another one's the units or applications differ.
    let related = shown.related_units.iter().map(|(unit, _)| unit.app());
    let named: BTreeSet<&str> = related.filter(|related| *related != app).collect();
    let numbered = distributors
        .values()
        .find(|distributor| distributor.relations.contains_key(&shown.id));
    let known = match (numbered, named.first()) {
        (Some(distributor), _) => Some(distributor.app.clone()),
        (None, Some(named)) => distributors.get(*named).map(|found| found.app.clone()),
        // With one there is no other choice; with several, the input does not show which.
        (None, None) if distributors.len() == 1 => distributors.keys().next().cloned(),
        (None, None) => None,
    };
    let is_theirs = |distributor: &&mut Distributor| {
        let relation = distributor.relations.get(&shown.id);
        let remote_app = relation.and_then(|relation| relation.remote_app.shown());
        !shown.is_cross_model
            && remote_app.is_none_or(|known| known == app)
            && named.iter().all(|named| *named == distributor.app)
    };
    let distributor = known.and_then(|known| distributors.get_mut(&known));
    match distributor.filter(is_theirs) {
        Some(distributor) => distributor.add_consumer(unit, shown),
        None => notes.push(format!(
            "relation {} of {} is with none of the distributors in the input, or from another \
             model; it is left out",
            shown.id, unit.name
        )),
    }
}

impl Distributor {
    fn new(app: String) -> Self {
        Distributor {
            app,
            units: BTreeSet::new(),
            leader: Seen::Unseen(Unseen::NotInInput),
            ledger: Seen::Unseen(Unseen::NotInInput),
            relations: BTreeMap::new(),
            notes: Vec::new(),
            is_whole: false,
        }
    }

    fn add_own(&mut self, unit: &ShownUnit) {
        self.units.insert(unit.name.clone());
        if unit.is_leader {
            match &self.leader {
                Seen::Shown(leader) => self.notes.push(format!(
                    "{leader} and {} both lead: the input is from different times",
                    unit.name
                )),
                Seen::Unseen(_) => self.leader = Seen::Shown(unit.name.clone()),
            }
        }
        // Juju shows a unit's own bag in a peer relation; --related-unit and --app leave it out.
        let peers = |shown: &&ShownRelation| shown.endpoint == PEER_ENDPOINT;
        let peers = unit.relations.iter().find(peers);
        let is_whole = peers.is_some_and(|shown| shown.local_unit.is_some());
        self.is_whole |= is_whole;
        if let Some(shown) = peers {
            self.add_peers(unit, shown);
        }
        for shown in &unit.relations {
            if shown.endpoint == ENDPOINT {
                self.add_relation(unit, shown, is_whole);
            }
        }
    }

    fn add_peers(&mut self, unit: &ShownUnit, shown: &ShownRelation) {
        let peers = shown.related_units.iter();
        let peers = peers.filter(|(unit, member)| member.in_scope && unit.app() == self.app);
        self.units.extend(peers.map(|(unit, _)| unit.clone()));
        let differs = |ledger: &Databag| *ledger != shown.application_data;
        if self.ledger.shown().is_some_and(differs) {
            self.notes.push(format!(
                "the units of {} show different ledgers: the input is from different times",
                self.app
            ));
        }
        // The leader writes it, so its dump is as good as any.
        if self.ledger.shown().is_none() || unit.is_leader {
            self.ledger = Seen::Shown(shown.application_data.clone());
        }
    }

    fn add_relation(&mut self, unit: &ShownUnit, shown: &ShownRelation, is_whole: bool) {
        let relation = self.relations.entry(shown.id).or_default();
        relation.is_cross_model |= shown.is_cross_model;
        relation.own_side = true;
        relation.add_bags(&self.app, unit, shown);
        let mut related = shown.related_units.iter().map(|(unit, _)| unit.app());
        if let Some(app) = related.find(|app| *app != self.app) {
            relation.remote_app = Seen::Shown(app.to_owned());
            if is_whole {
                relation.are_all = Seen::Shown(());
            }
        }
    }

    fn add_consumer(&mut self, unit: &ShownUnit, shown: &ShownRelation) {
        let relation = self.relations.entry(shown.id).or_default();
        relation.remote_side = true;
        relation.remote_app = Seen::Shown(unit.name.app().to_owned());
        relation.add_bags(&self.app, unit, shown);
        relation.remote_units.entry(unit.name.clone()).or_default();
    }

    /// Names everybody who is known from somewhere, and says what was not seen of them.
    fn complete(&mut self) {
        let claims = self.claims();
        for (id, app) in self.published() {
            if let Some(relation) = self.relations.get_mut(&id)
                && relation.remote_app.shown().is_none()
            {
                relation.remote_app = Seen::Shown(app);
            }
        }
        for relation in self.relations.values() {
            self.units.extend(relation.own_units.keys().cloned());
        }
        for (id, relation) in &mut self.relations {
            for unit in &self.units {
                relation.own_units.entry(unit.clone()).or_default();
            }
            let remote_app = relation.remote_app.shown();
            for unit in claims
                .iter()
                .filter(|unit| remote_app.is_some_and(|app| app == unit.app()))
            {
                relation.remote_units.entry(unit.clone()).or_default();
            }
            relation.complete();
            if relation.differs {
                self.notes.push(format!(
                    "relation {id}: its units show different bags: the input is from different times"
                ));
            }
        }
    }

    /// The units that announced a name, by the ledger. One that is gone stays there until its
    /// departure is seen, so it does not show whether a unit that the input lacks is gone.
    fn claims(&self) -> BTreeSet<UnitName> {
        let ledger = self.remembered();
        let claims = ledger.hosts.values().flatten();
        claims.map(|claim| claim.unit.clone()).collect()
    }

    /// The ledger, empty where it was not seen.
    fn remembered(&self) -> Ledger {
        self.ledger.shown().cloned().unwrap_or_default().into()
    }

    /// The relations with their applications whose bags show the ledger.
    fn published(&self) -> Vec<(RelationId, String)> {
        let relations = self.remembered().relations.into_iter();
        let current = relations.filter(|(_, listed)| listed.is_current);
        current.map(|(id, listed)| (id, listed.app)).collect()
    }

    /// The unit that a plan is made for: the leader. Where no unit in the input leads, the unit
    /// that published last, one that shows its mirror up, or the first.
    pub fn stand_in(&self) -> Option<UnitName> {
        let relations = self.relations.values();
        let mut bags = relations.flat_map(|relation| &relation.own_units);
        let mut up = || bags.find_map(|(unit, bag)| bag.shown().is_some_and(is_up).then_some(unit));
        let published = || Some(self.remembered().leader?.unit);
        let leader = self.leader.shown().cloned().or_else(published);
        leader.or_else(|| up().or_else(|| self.units.first()).cloned())
    }

    /// What the unit that a plan is made for sees, as far as the input shows it. `None` where no
    /// unit is known. Show-unit shows no options: `bootstrap_app` is what the person says of one.
    ///
    /// What was not seen is there as what the core takes for unknown, so that no decision rests on
    /// its absence: a relation without bags and without expected units, or one that is passed over.
    pub fn view(&self, bootstrap_app: Option<&str>) -> Option<View> {
        let unit = self.stand_in()?;
        let ledger = self.remembered();
        let unseen = self.published().into_iter().map(|(id, app)| {
            let relation = Relation {
                remote_app: Seen::Shown(app),
                ..Relation::default()
            };
            (id, relation)
        });
        let mut relations: BTreeMap<RelationId, Relation> = unseen.collect();
        relations.extend(self.relations.clone());
        let broken = ledger
            .relations
            .iter()
            .filter(|(_, listed)| !listed.is_current);
        let passed_over = broken.filter(|(id, _)| !self.is_whole && !relations.contains_key(id));
        let world = World {
            options: Options {
                bootstrap_app: match bootstrap_app {
                    Some(given) => Options::text(given),
                    None => ledger.options.bootstrap_app.clone(),
                },
                log_level: ledger.options.log_level.clone(),
            },
            passed_over: passed_over
                .map(|(id, listed)| (*id, Some(listed.app.clone())))
                .collect(),
            relations: relations
                .iter()
                .filter_map(|(id, relation)| Some((*id, relation.seen_by(&unit, *id, &ledger)?)))
                .collect(),
            units_were_read: true,
            siblings_are_news: !ledger.is_led_by(&unit),
        };
        Some(View {
            unit,
            is_leader: true,
            moment: Moment::without_a_clock(&ledger),
            ledger,
            world,
            failing: BTreeSet::new(),
        })
    }

    /// Whether every unit of every relation is in the input.
    pub fn shows_all_units(&self) -> bool {
        let mut relations = self.relations.values();
        let mut published = self.published().into_iter();
        self.is_whole
            && relations.all(|relation| relation.are_all.shown().is_some())
            && published.all(|(id, _)| self.relations.contains_key(&id))
    }

    /// What the input lacks for a plan, each with the command that shows it.
    pub fn lacks(&self) -> Vec<String> {
        let own = self.stand_in();
        let own = own.as_ref().map_or("APP/N", UnitName::as_str);
        let mut lacks = Vec::new();
        if self.leader.shown().is_none() {
            let why = match self.remembered().leader {
                Some(_) => ", which published last",
                None => "",
            };
            lacks.push(format!(
                "no unit in the input leads: this is the plan of {own}{why}"
            ));
        }
        if self.ledger.shown().is_none() {
            lacks.push(format!(
                "the ledger is not in the input: run juju show-unit {own}, without options"
            ));
        }
        for (id, app) in self.published() {
            if !self.relations.contains_key(&id) {
                lacks.push(format!(
                    "relation {id} with {app} is in the ledger and not in the input: run juju \
                     show-unit {own} {app}/N, without options"
                ));
            }
        }
        for (id, relation) in &self.relations {
            let unseen = relation.unseen();
            let unseen = match &unseen[..] {
                [one] => one.clone(),
                [some @ .., last] => format!("{}, and {last}", some.join(", ")),
                [] => continue,
            };
            let app = relation.remote_app.shown().map_or("APP", String::as_str);
            let remote = relation.remote_units.keys().next();
            let remote = remote.map_or_else(|| format!("{app}/N"), UnitName::to_string);
            lacks.push(match relation.is_cross_model {
                true => {
                    format!("relation {id} goes to another model, so Juju does not show {unseen}")
                }
                false => format!(
                    "relation {id}: not in the input: {unseen}; run juju show-unit {own} {remote}, \
                     without options"
                ),
            });
        }
        lacks
    }
}

impl Relation {
    /// Adds what is in one unit's dump, on whichever side it was made.
    fn add_bags(&mut self, own_app: &str, unit: &ShownUnit, shown: &ShownRelation) {
        let local = shown.local_unit.iter().map(|member| (&unit.name, member));
        let related = shown
            .related_units
            .iter()
            .map(|(unit, member)| (unit, member));
        for (name, member) in local.chain(related) {
            let bags = match name.app() == own_app {
                true => &mut self.own_units,
                false => &mut self.remote_units,
            };
            let bag = match member.in_scope {
                true => Seen::Shown(member.bag.clone()),
                false => Seen::Unseen(Unseen::NotInScope),
            };
            let known = bags.entry(name.clone()).or_default();
            self.differs |= *known != Seen::default() && *known != bag;
            if known.shown().is_none() {
                *known = bag;
            }
        }
        // An empty one may be the consumer's: see `complete`.
        let data = &shown.application_data;
        if !data.is_empty() {
            let known = self.own_application.shown();
            self.differs |= known.is_some_and(|known| known != data);
            if known.is_none() {
                self.own_application = Seen::Shown(data.clone());
            }
        }
    }

    fn complete(&mut self) {
        let unknown = match self.is_cross_model {
            true => Unseen::OtherModel,
            false => Unseen::NotInInput,
        };
        if self.own_application.shown().is_none() {
            self.own_application = match self.own_side && self.remote_side {
                // One of the two is ours, and both are empty.
                true => Seen::Shown(Databag::new()),
                false => Seen::Unseen(unknown.clone()),
            };
        }
        let mut bags = self
            .own_units
            .values_mut()
            .chain(self.remote_units.values_mut());
        if self.is_cross_model {
            bags.by_ref()
                .filter(|bag| **bag == Seen::default())
                .for_each(|bag| *bag = Seen::Unseen(Unseen::OtherModel));
        }
        let mut remotes = self.remote_units.values();
        let is_unknown = |bag: &Seen<Databag>| *bag == Seen::Unseen(unknown.clone());
        if self.is_cross_model || remotes.any(is_unknown) {
            self.are_all = Seen::Unseen(unknown);
        }
    }

    /// The relation as `own` sees it. `None` where the input does not show whose it is. What the
    /// ledger was published to shows the ledger, so the ledger replaces own bags that were not
    /// seen.
    fn seen_by(&self, own: &UnitName, id: RelationId, ledger: &Ledger) -> Option<world::Relation> {
        let shown = |bags: &BTreeMap<UnitName, Seen<Databag>>| -> BTreeMap<UnitName, Databag> {
            let bags = bags.iter();
            let shown = bags.filter_map(|(unit, bag)| Some((unit.clone(), bag.shown()?.clone())));
            shown.collect()
        };
        let published = |bag: fn(&Ledger, RelationId) -> Databag| {
            ledger.is_shown_in(id).then(|| bag(ledger, id))
        };
        let mut siblings = shown(&self.own_units);
        let own_unit = siblings.remove(own);
        let own_app = self.own_application.shown().cloned();
        let units = self.remote_units.keys().cloned();
        Some(world::Relation {
            app: self.remote_app.shown()?.clone(),
            place: self.place(ledger),
            units: shown(&self.remote_units),
            joined: None,
            expected: self.are_all.shown().map(|()| units.collect()),
            own_app: own_app.or_else(|| published(app_bag)),
            own_unit: own_unit.or_else(|| published(unit_bag)),
            siblings,
        })
    }

    /// Whether its application is of this model. A dump has no goal-state: where neither Juju 3 nor
    /// the ledger says it, a name that Juju makes for an application of another model tells it.
    fn place(&self, ledger: &Ledger) -> Place {
        let app = self.remote_app.shown().map_or("", String::as_str);
        let hex = app.strip_prefix("remote-");
        let is_made = hex
            .is_some_and(|hex| hex.len() == 32 && hex.bytes().all(|byte| byte.is_ascii_hexdigit()));
        match self.is_cross_model || is_made {
            true => Place::Elsewhere,
            false => ledger.place(app),
        }
    }

    /// What was not seen of it, in words.
    fn unseen(&self) -> Vec<String> {
        let mut unseen = Vec::new();
        if self.own_application.shown().is_none() {
            unseen.push("the distributor's application bag".to_owned());
        }
        for bags in [&self.own_units, &self.remote_units] {
            // One that has not entered the relation has none.
            let units = bags
                .iter()
                .filter(|(_, bag)| matches!(bag, Seen::Unseen(why) if *why != Unseen::NotInScope));
            let units: Vec<&UnitName> = units.map(|(unit, _)| unit).collect();
            match units[..] {
                [] => {}
                [unit] => unseen.push(format!("the unit bag of {unit}")),
                [unit, ref more @ ..] => {
                    unseen.push(format!("the unit bags of {unit} and {} more", more.len()));
                }
            }
        }
        if self.are_all.shown().is_none() {
            let app = self
                .remote_app
                .shown()
                .map_or("the other side", String::as_str);
            unseen.push(format!("whether {app} has more units"));
        }
        unseen
    }
}

#[cfg(test)]
mod tests;

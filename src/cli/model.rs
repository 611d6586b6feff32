//! What the units of all files show together, seen from one distributor.
//!
//! People do not dump a whole model. So what the input does not show stays absent here, and
//! [`Distributor::lacks`] names it: a plan must not rest on its absence.
//!
//! A unit bag belongs to the unit that it is named after, wherever it is. Whose the application bag
//! of a relation is depends on Juju's release, see [`Form`].

use std::collections::{BTreeMap, BTreeSet};

use super::document::{Document, InputError, Member, ShownRelation, ShownUnit};
use crate::core::evidence::{self, World};
use crate::core::ledger::{Ledger, Options, Place};
use crate::core::names::{ENDPOINT, PEER_ENDPOINT};
use crate::core::names::{RelationId, UnitName};
use crate::core::queue::Moment;
use crate::core::show::{app_bag, unit_bag};
use crate::core::wire::{BOOTSTRAP_APP, Databag, is_up};
use crate::report::View;

/// The charm's name, in whatever way it was deployed.
const CHARM: &str = "microcluster-token-distributor";

/// Whose application bag a unit's dump shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Form {
    /// The related application's: Juju 3.
    Related,
    /// The unit's own application's: Juju 4.
    Own,
}

/// One distributor application.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Distributor {
    app: String,
    first: UnitName,
    /// The units that are known, dumped or not.
    units: BTreeSet<UnitName>,
    leader: Option<UnitName>,
    /// The application bag of the peer relation.
    ledger: Option<Databag>,
    relations: BTreeMap<RelationId, Relation>,
    /// Whether a unit of it was dumped without an option that leaves something out.
    is_whole: bool,
    /// What is odd about the input.
    notes: Vec<String>,
}

/// One relation with a consumer.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Relation {
    /// The consumer's name in this model.
    app: Option<String>,
    is_cross_model: bool,
    /// The distributor's application bag.
    own_app: Option<Databag>,
    own_units: Bags,
    units: Bags,
    /// Whether `units` has every unit of the consumer.
    lists_all: bool,
    /// The application bags as the dumps of either side show them.
    shown_to_us: Option<Databag>,
    shown_to_them: Option<Databag>,
}

/// The unit bags that were seen. Juju lists a unit that is not in the relation, and it has none.
type Bags = BTreeMap<UnitName, Option<Databag>>;

/// Something that the input does not show.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Lack {
    /// What, and the command that shows it.
    pub text: String,
    /// Whether the plan may be another one with it.
    pub matters: bool,
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

/// Whether Juju made this name for an application of another model. No dump of this model shows its
/// units. An offer that this model consumes has a name of somebody's choice, which shows nothing.
pub(super) fn is_of_another_model(app: &str) -> bool {
    let hex = app.strip_prefix("remote-");
    hex.is_some_and(|hex| hex.len() == 32 && hex.bytes().all(|byte| byte.is_ascii_hexdigit()))
}

impl Distributor {
    /// What the files show of the distributor with that name, or of the only one.
    ///
    /// # Errors
    /// When a unit is in them twice, or it is not clear which distributor is meant.
    pub fn of(documents: Vec<Document>, app: Option<&str>) -> Result<Self, InputError> {
        let mut units: BTreeMap<UnitName, ShownUnit> = BTreeMap::new();
        for (name, unit) in documents.into_iter().flat_map(|document| document.units) {
            if units.insert(name.clone(), unit).is_some() {
                return Err(InputError::UnitTwice(name));
            }
        }
        // While a unit is being refreshed from another charm, it is the distributor's all the same.
        let charmed = units.iter().filter(|(_, unit)| is_distributor(&unit.charm));
        let known: BTreeMap<&str, &UnitName> =
            charmed.map(|(name, _)| (name.app(), name)).rev().collect();
        let first = match (app, known.first_key_value()) {
            (_, None) => return Err(InputError::NoDistributor(likely_distributor(&units))),
            (None, Some((_, first))) if known.len() == 1 => Some(*first),
            (None, Some(_)) => None,
            (Some(app), Some(_)) => known.get(app).copied(),
        };
        let mut distributor = match first {
            Some(first) => Distributor::new(first.clone()),
            None => {
                let known = known.into_keys().collect::<Vec<_>>().join(", ");
                return Err(InputError::WhichDistributor(known));
            }
        };
        let form = form(&units, &distributor.app);
        let (own, others): (Vec<_>, Vec<_>) = units
            .iter()
            .partition(|(name, _)| name.app() == distributor.app);
        for (name, unit) in own {
            distributor.add_own(name, unit);
        }
        // The consumers' relations are known by their numbers then.
        for (name, unit) in others {
            for shown in unit.relations() {
                distributor.add_consumer(name, shown);
            }
        }
        distributor.complete(form);
        Ok(distributor)
    }

    fn new(first: UnitName) -> Self {
        Distributor {
            app: first.app().to_owned(),
            first,
            units: BTreeSet::new(),
            leader: None,
            ledger: None,
            relations: BTreeMap::new(),
            is_whole: false,
            notes: Vec::new(),
        }
    }

    fn add_own(&mut self, name: &UnitName, unit: &ShownUnit) {
        self.units.insert(name.clone());
        if unit.leader
            && let Some(other) = self.leader.replace(name.clone())
        {
            self.contradicts(&format!("{other} and {name} both lead"));
        }
        // Juju shows a unit's own bag in a peer relation; --related-unit and --app leave it out.
        let peers = unit
            .relations()
            .find(|shown| shown.endpoint == PEER_ENDPOINT);
        let is_whole = peers.is_some_and(|shown| shown.local_unit().is_some());
        self.is_whole |= is_whole;
        if let Some(shown) = peers {
            let peers = shown.related_units();
            let peers = peers.filter(|(unit, member)| member.in_scope && unit.app() == self.app);
            self.units.extend(peers.map(|(unit, _)| unit.clone()));
            if let Some(other) = self.ledger.replace(shown.application_data.clone())
                && other != shown.application_data
            {
                self.contradicts(&format!("the units of {} show two ledgers", self.app));
            }
        }
        for shown in unit.relations().filter(|shown| shown.endpoint == ENDPOINT) {
            let relation = self.relations.entry(shown.id()).or_default();
            let mut related = shown.related_units().map(|(unit, _)| unit.app());
            if let Some(app) = related.find(|app| *app != self.app) {
                relation.app = Some(app.to_owned());
                relation.is_cross_model |= shown.cross_model || is_of_another_model(app);
                relation.lists_all |= is_whole && !relation.is_cross_model;
            }
            relation.shown_to_us = Some(shown.application_data.clone());
            self.add_bags(name, shown);
        }
    }

    /// Takes a consumer's relation if it is with this distributor. Numbers of relations are a
    /// model's: in a dump of another model the same number, or the same name, is another one's.
    fn add_consumer(&mut self, name: &UnitName, shown: &ShownRelation) {
        let mut related = shown.related_units().map(|(unit, _)| unit.app());
        let other = related.find(|app| *app != name.app());
        let is_ours = other.is_none_or(|app| app == self.app);
        if shown.related_endpoint != ENDPOINT || shown.cross_model || !is_ours {
            return;
        }
        let known = match self.relations.get(&shown.id()) {
            Some(relation) => relation.app.clone(),
            None if !self.is_whole && other.is_some() => None,
            None => return,
        };
        if known.is_none_or(|known| known == name.app()) {
            let relation = self.relations.entry(shown.id()).or_default();
            relation.app = Some(name.app().to_owned());
            relation.shown_to_them = Some(shown.application_data.clone());
            self.add_bags(name, shown);
        }
    }

    fn add_bags(&mut self, name: &UnitName, shown: &ShownRelation) {
        let local = shown.local_unit().map(|member| (name, member));
        let mut differ = false;
        let id = shown.id();
        let relation = self.relations.entry(id).or_default();
        for (unit, Member { in_scope, data }) in local.into_iter().chain(shown.related_units()) {
            let bags = match unit.app() == self.app {
                true => &mut relation.own_units,
                false => &mut relation.units,
            };
            let bag = in_scope.then(|| data.clone());
            let before = bags.insert(unit.clone(), bag.clone());
            differ |= before.is_some_and(|before| before != bag);
        }
        if differ {
            self.contradicts(&format!("the bags of relation {id} differ"));
        }
    }

    fn contradicts(&mut self, what: &str) {
        self.notes.push(format!(
            "{what}, so the input is from two times: run one juju show-unit for all units"
        ));
    }

    /// Decides what the dumps of one side alone do not say.
    fn complete(&mut self, form: Option<Form>) {
        let ledger = self.remembered();
        for (id, relation) in &mut self.relations {
            if relation.app.is_none() {
                relation.app = ledger.relations.get(id).map(|listed| listed.app.clone());
            }
            relation.is_cross_model |= relation.app.as_deref().is_some_and(is_of_another_model);
            self.units.extend(relation.own_units.keys().cloned());
            relation.own_app = match form {
                Some(Form::Own) => relation.shown_to_us.clone(),
                Some(Form::Related) => relation.shown_to_them.clone(),
                // Where both are empty, ours is.
                None => {
                    let both = [&relation.shown_to_us, &relation.shown_to_them];
                    let is_empty =
                        |bag: &&Option<Databag>| bag.as_ref().is_some_and(Databag::is_empty);
                    both.iter().all(is_empty).then(Databag::new)
                }
            };
        }
    }

    /// The ledger, empty where it was not seen.
    fn remembered(&self) -> Ledger {
        self.ledger.clone().unwrap_or_default().into()
    }

    /// Whether the input shows the ledger.
    pub fn shows_the_ledger(&self) -> bool {
        self.ledger.is_some()
    }

    /// Whether every unit of every relation is in the input.
    pub fn shows_all_units(&self) -> bool {
        let ledger = self.remembered();
        let mut listed = ledger.relations.iter();
        self.is_whole
            && self.relations.values().all(|relation| relation.lists_all)
            && listed.all(|(id, listed)| !listed.is_current || self.relations.contains_key(id))
    }

    /// Whether the input shows what the unit that is planned for publishes in every relation.
    pub fn shows_all_own_bags(&self) -> bool {
        let own = self.stand_in();
        let mut relations = self.relations.values();
        relations.all(|relation| relation.own_units.contains_key(&own))
    }

    /// Whether the input shows which application may bootstrap, or that none was chosen.
    pub fn shows_the_choice(&self) -> bool {
        let bags = || self.relations.values().map(|relation| &relation.own_app);
        bags().flatten().any(|bag| bag.contains_key(BOOTSTRAP_APP)) || bags().all(Option::is_some)
    }

    /// The unit that a plan is made for: the leader. Where no unit in the input leads, the unit
    /// that published last, one that shows its mirror up, or the first.
    pub fn stand_in(&self) -> UnitName {
        let published = || self.remembered().leader.map(|leader| leader.unit);
        let leader = self.leader.clone().or_else(published);
        let bags = || self.relations.values().flat_map(|it| &it.own_units);
        let up = || bags().find(|(_, bag)| bag.as_ref().is_some_and(is_up));
        let up = || up().map(|(unit, _)| unit.clone());
        leader.or_else(up).unwrap_or_else(|| self.first.clone())
    }

    /// What the unit that a plan is made for sees, as far as the input shows it. Show-unit shows no
    /// options: `bootstrap_app` is what the person says of one.
    ///
    /// What was not seen is there as what the core takes for unknown, so that no decision rests on
    /// its absence: a relation without bags and without expected units, or one that is passed over.
    pub fn view(&self, bootstrap_app: Option<&str>) -> View {
        let unit = self.stand_in();
        let ledger = self.remembered();
        let mut relations = BTreeMap::new();
        let mut passed_over = BTreeMap::new();
        for (id, listed) in &ledger.relations {
            let app = Some(listed.app.clone());
            match listed.is_current {
                _ if self.relations.contains_key(id) => {}
                true => {
                    let unseen = Relation {
                        app,
                        ..Relation::default()
                    };
                    relations.extend(Some(*id).zip(unseen.seen_by(&unit, *id, &ledger)));
                }
                false if self.is_whole => {}
                false => drop(passed_over.insert(*id, app)),
            }
        }
        for (id, relation) in &self.relations {
            relations.extend(Some(*id).zip(relation.seen_by(&unit, *id, &ledger)));
        }
        let options = Options {
            bootstrap_app: match bootstrap_app {
                Some(given) => Options::text(given),
                None => ledger.options.bootstrap_app.clone(),
            },
            log_level: ledger.options.log_level.clone(),
        };
        let world = World {
            options,
            passed_over,
            relations,
            units_were_read: true,
            siblings_are_news: !ledger.is_led_by(&unit),
        };
        View {
            unit,
            is_leader: true,
            moment: Moment::without_a_clock(&ledger),
            ledger,
            world,
            failing: BTreeSet::new(),
        }
    }

    /// What the input does not show, each with the command that shows it.
    pub fn lacks(&self) -> Vec<Lack> {
        let own = self.stand_in();
        let ledger = self.remembered();
        let matters = |text| Lack {
            text,
            matters: true,
        };
        let mut lacks: Vec<Lack> = self.notes.iter().cloned().map(matters).collect();
        if self.leader.is_none() {
            lacks.push(matters(format!(
                "no unit in the input leads, so this is the plan of {own}: add the leader"
            )));
        }
        if self.ledger.is_none() {
            lacks.push(matters(format!(
                "the ledger: run juju show-unit {own}, without options"
            )));
        }
        for (id, listed) in &ledger.relations {
            if listed.is_current && !self.relations.contains_key(id) {
                let app = &listed.app;
                let text = match is_of_another_model(app) {
                    true => format!("relation {id}: it is across models, and not in the input"),
                    false => format!("relation {id}: run juju show-unit {own} {app}/N"),
                };
                lacks.push(matters(text));
            }
        }
        for (id, relation) in &self.relations {
            // A ledger of this charm says what its bags show.
            let is_published = ledger.is_shown_in(*id);
            lacks.extend(relation.lack(*id, &self.units, &own, is_published));
        }
        lacks
    }
}

/// Tells the forms apart by what is in them. `None` where the input does not show it: our bag may be
/// empty, and a consumer may write one.
fn form(units: &BTreeMap<UnitName, ShownUnit>, distributor: &str) -> Option<Form> {
    let (mut related, mut own) = (false, false);
    for (name, unit) in units {
        for shown in unit.relations() {
            let is_ours = name.app() == distributor && shown.endpoint == ENDPOINT;
            let is_theirs = name.app() != distributor && shown.related_endpoint == ENDPOINT;
            let has_choice = shown.application_data.contains_key(BOOTSTRAP_APP);
            // Juju 4.0 never says that a relation is across models, and only Juju 4.0.5 shows a
            // unit's own bag in a relation with another application.
            related |= shown.cross_model || (is_theirs && has_choice);
            own |= is_ours && has_choice;
            own |= (is_ours || is_theirs) && shown.local_unit().is_some();
        }
    }
    match (related, own) {
        (true, false) => Some(Form::Related),
        (false, true) => Some(Form::Own),
        _ => None,
    }
}

/// The unit that consumers name, where none was dumped.
fn likely_distributor(units: &BTreeMap<UnitName, ShownUnit>) -> String {
    let relations = units.values().flat_map(ShownUnit::relations);
    let mut served = relations.filter(|shown| shown.related_endpoint == ENDPOINT);
    let unit = served.find_map(|shown| shown.related_units().next());
    unit.map_or("DISTRIBUTOR/N", |(unit, _)| unit.as_str())
        .to_owned()
}

impl Relation {
    /// The relation as `own` sees it. `None` where the input does not show whose it is. What the
    /// ledger was published to shows the ledger, so the ledger replaces own bags that were not
    /// seen.
    fn seen_by(
        &self,
        own: &UnitName,
        id: RelationId,
        ledger: &Ledger,
    ) -> Option<evidence::Relation> {
        let shown = |bags: &Bags| -> BTreeMap<UnitName, Databag> {
            let bags = bags.iter();
            let shown = bags.filter_map(|(unit, bag)| Some((unit.clone(), bag.clone()?)));
            shown.collect()
        };
        let published = |bag: fn(&Ledger, RelationId) -> Databag| {
            ledger.is_shown_in(id).then(|| bag(ledger, id))
        };
        let mut siblings = shown(&self.own_units);
        let own_unit = siblings.remove(own);
        Some(evidence::Relation {
            app: self.app.clone()?,
            place: self.place(ledger),
            units: shown(&self.units),
            joined: None,
            expected: self.lists_all.then(|| self.units.keys().cloned().collect()),
            own_app: self.own_app.clone().or_else(|| published(app_bag)),
            own_unit: own_unit.or_else(|| published(unit_bag)),
            siblings,
        })
    }

    /// Whether its application is of this model. A dump has no goal-state: where neither it nor the
    /// ledger says so, nothing is known but what the ledger knows.
    fn place(&self, ledger: &Ledger) -> Place {
        match self.is_cross_model {
            true => Place::Elsewhere,
            false => ledger.place(self.app.as_deref().unwrap_or_default()),
        }
    }

    fn lack(
        &self,
        id: RelationId,
        distributors: &BTreeSet<UnitName>,
        own: &UnitName,
        is_published: bool,
    ) -> Option<Lack> {
        let mut unseen = Vec::new();
        if self.own_app.is_none() {
            unseen.push("the distributor's application bag".to_owned());
        }
        let missing = distributors
            .iter()
            .filter(|unit| !self.own_units.contains_key(*unit));
        unseen.extend(missing.map(|unit| format!("the unit bag of {unit}")));
        let app = self.app.as_deref().unwrap_or("CONSUMER");
        if !self.lists_all && !self.is_cross_model {
            unseen.push(format!("whether {app} has more units"));
        }
        let unseen = match &unseen[..] {
            [] => return None,
            [one] => one.clone(),
            [some @ .., last] => format!("{}, and {last}", some.join(", ")),
        };
        let text = match self.is_cross_model {
            true => format!("relation {id} is across models: no dump of this model shows {unseen}"),
            false => {
                let unit = self.units.keys().next();
                let unit = unit.map_or_else(|| format!("{app}/N"), UnitName::to_string);
                format!(
                    "relation {id}: {unseen}; run juju show-unit {own} {unit}, without options; if \
                     Juju does not find {app}, it is across models, and no dump shows this"
                )
            }
        };
        Some(Lack {
            text,
            matters: !(self.is_cross_model && is_published),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_charm_is_known_in_every_form_of_its_name() {
        for (charm, is_ours) in [
            ("microcluster-token-distributor", true),
            ("ch:amd64/microcluster-token-distributor-14", true),
            ("ch:amd64/noble/microcluster-token-distributor-14", true),
            ("local:microcluster-token-distributor-0", true),
            ("ch:amd64/microovn-48", false),
            ("local:microcluster-token-distributor-fork-0", false),
            ("", false),
        ] {
            assert_eq!(is_distributor(charm), is_ours, "{charm}");
        }
    }
}

//! What the units of the input show together, seen from the leader of one distributor.
//!
//! People do not dump a whole model. So what the input does not show stays unknown here, and
//! [`Distributor::lacks`] names it: a plan must not rest on its absence.
//!
//! A unit bag belongs to the unit that it is named after, wherever it is. An application bag in a
//! dump is the other side's on Juju 3, and the own one on Juju 4.

use std::collections::{BTreeMap, BTreeSet};

use super::document::{InputError, Member, ShownRelation, Units};
use crate::core::evidence::{self, World};
use crate::core::ledger::{Ledger, Options, Place};
use crate::core::names::{ENDPOINT, PEER_ENDPOINT};
use crate::core::names::{RelationId, UnitName};
use crate::core::queue::Moment;
use crate::core::show::{app_bag, unit_bag};
use crate::core::wire::{BOOTSTRAP_APP, Databag};
use crate::report::View;

/// The charm's name, in whatever way it was deployed.
const CHARM: &str = "microcluster-token-distributor";

/// One distributor application.
pub(super) struct Distributor {
    leader: UnitName,
    ledger: Ledger,
    relations: BTreeMap<RelationId, Relation>,
}

/// One relation with a consumer.
#[derive(Default)]
struct Relation {
    /// The consumer's name in this model.
    app: Option<String>,
    is_cross_model: bool,
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
#[derive(serde::Serialize)]
pub(super) struct Lack {
    /// What, and the command that shows it.
    pub(super) text: String,
    /// Whether the plan may be another one with it.
    pub(super) matters: bool,
}

/// Whether a charm, such as `ch:amd64/noble/microcluster-token-distributor-14`, is this one.
fn is_distributor(charm: &str) -> bool {
    let name = charm.rsplit(['/', ':']).next().unwrap_or_default();
    name.strip_prefix(CHARM).is_some_and(|revision| {
        let number = revision.strip_prefix('-').map(str::parse::<u64>);
        revision.is_empty() || number.is_some_and(|number| number.is_ok())
    })
}

/// Whether Juju made this name for an application of another model. No dump of this model shows its
/// units. An offer that this model consumes has a name of somebody's choice, which shows nothing.
fn is_of_another_model(app: &str) -> bool {
    let hex = app.strip_prefix("remote-");
    hex.is_some_and(|hex| hex.len() == 32 && hex.bytes().all(|byte| byte.is_ascii_hexdigit()))
}

impl Distributor {
    /// What the input shows of its only distributor.
    pub(super) fn of(input: &Units) -> Result<Self, InputError> {
        let charmed = input.iter().filter(|(_, unit)| is_distributor(&unit.charm));
        let apps: BTreeSet<&str> = charmed.map(|(name, _)| name.app()).collect();
        let app = match apps.into_iter().collect::<Vec<_>>()[..] {
            [] => return Err(InputError::NoDistributor),
            [app] => app,
            ref several => return Err(InputError::SeveralDistributors(several.join(", "))),
        };
        // While a unit is being refreshed from another charm, it is the distributor's all the same.
        let of_app = input.iter().filter(|(name, _)| name.app() == app);
        let leads = of_app.filter(|(_, unit)| unit.leader).collect::<Vec<_>>();
        let (leader, unit) = match leads[..] {
            [] => return Err(InputError::NoLeader(app.to_owned())),
            [leads] => leads,
            [(one, _), (other, _), ..] => {
                return Err(InputError::TwoTimes(format!("{one} and {other} both lead")));
            }
        };
        let mut peers = unit.relations().filter(|it| it.endpoint == PEER_ENDPOINT);
        // Juju shows a unit's own bag there; an option such as --related-unit leaves it out.
        let peers = peers.find(|shown| shown.local_unit().is_some());
        let peers = peers.ok_or_else(|| InputError::NotWhole(leader.clone()))?;
        let mut distributor = Distributor {
            leader: leader.clone(),
            ledger: peers.application_data.clone().into(),
            relations: BTreeMap::new(),
        };
        for (id, listed) in &distributor.ledger.relations {
            if listed.is_current {
                let relation = distributor.relations.entry(*id).or_default();
                relation.is_cross_model = is_of_another_model(&listed.app);
                relation.app = Some(listed.app.clone());
            }
        }
        for shown in unit.relations().filter(|it| it.endpoint == ENDPOINT) {
            distributor.add_own(shown)?;
        }
        for (name, unit) in input.iter().filter(|(name, _)| name.app() != app) {
            for shown in unit.relations() {
                distributor.add_consumer(name, shown)?;
            }
        }
        Ok(distributor)
    }

    fn add_own(&mut self, shown: &ShownRelation) -> Result<(), InputError> {
        let relation = self.relations.entry(shown.id()).or_default();
        let mut related = shown.related_units().map(|(unit, _)| unit.app());
        if let Some(app) = related.find(|app| *app != self.leader.app()) {
            relation.is_cross_model = shown.cross_model || is_of_another_model(app);
            relation.app = Some(app.to_owned());
            relation.lists_all = true;
        }
        relation.shown_to_us = Some(shown.application_data.clone());
        relation.add_bags(&self.leader, shown, self.leader.app())
    }

    /// Takes a consumer's relation if it is with this distributor. Numbers of relations are a
    /// model's: in a dump of another model the same number, or the same name, is another one's.
    fn add_consumer(&mut self, name: &UnitName, shown: &ShownRelation) -> Result<(), InputError> {
        let ours = self.leader.app();
        let mut related = shown.related_units().map(|(unit, _)| unit.app());
        let is_with_us = related.all(|app| app == ours || app == name.app());
        let Some(relation) = self.relations.get_mut(&shown.id()) else {
            return Ok(());
        };
        let is_its = relation.app.as_deref().is_none_or(|app| app == name.app());
        if shown.cross_model || !is_with_us || !is_its {
            return Ok(());
        }
        relation.app = Some(name.app().to_owned());
        relation.shown_to_them = Some(shown.application_data.clone());
        relation.add_bags(name, shown, ours)
    }

    /// What the leader sees, as far as the input shows it. Show-unit shows no options:
    /// `bootstrap_app` is what the person says of one.
    ///
    /// What was not seen is there as what the core takes for unknown.
    pub(super) fn view(&self, bootstrap_app: Option<&str>) -> View {
        let ledger = self.ledger.clone();
        let relations = self.relations.iter();
        let relations = relations.filter_map(|(id, it)| Some((*id, self.seen(*id, it)?)));
        let mut options: Options = ledger.options.clone();
        if let Some(given) = bootstrap_app {
            options.bootstrap_app = Options::text(given);
        }
        View {
            unit: self.leader.clone(),
            is_leader: true,
            moment: Moment::without_a_clock(&ledger),
            world: World {
                in_hook_of: None,
                options,
                passed_over: BTreeMap::new(),
                relations: relations.collect(),
                units_were_read: true,
                siblings_are_news: !ledger.is_led_by(&self.leader),
            },
            ledger,
            failing: BTreeSet::new(),
        }
    }

    /// The relation as the leader sees it. `None` where the input does not show whose it is. What
    /// the ledger was published to shows the ledger, also where the input lacks it.
    fn seen(&self, id: RelationId, relation: &Relation) -> Option<evidence::Relation> {
        let shown = |bags: &Bags| -> BTreeMap<UnitName, Databag> {
            let bags = bags.iter();
            let shown = bags.filter_map(|(unit, bag)| Some((unit.clone(), bag.clone()?)));
            shown.collect()
        };
        let published = |bag: fn(&Ledger, RelationId) -> Databag| {
            let is_shown = self.ledger.is_shown_in(id);
            is_shown.then(|| bag(&self.ledger, id))
        };
        let mut siblings = shown(&relation.own_units);
        let own_unit = siblings.remove(&self.leader);
        let app = relation.app.clone()?;
        let all = relation.units.keys().cloned();
        Some(evidence::Relation {
            // A dump has no goal-state.
            place: match relation.is_cross_model {
                true => Place::Elsewhere,
                false => self.ledger.place(&app),
            },
            app,
            units: shown(&relation.units),
            joined: None,
            expected: relation.lists_all.then(|| all.collect()),
            own_app: relation.own_app().or_else(|| published(app_bag)),
            own_unit: own_unit.or_else(|| published(unit_bag)),
            siblings,
        })
    }

    /// What the input does not show, each with the command that shows it.
    pub(super) fn lacks(&self) -> Vec<Lack> {
        let lacks = self.relations.iter().filter_map(|(id, relation)| {
            let shows_ours = relation.own_units.contains_key(&self.leader);
            if shows_ours && relation.own_app().is_some() && relation.lists_all {
                return None;
            }
            let (own, app) = (&self.leader, relation.app.as_deref().unwrap_or("CONSUMER"));
            let unit = relation.units.keys().next();
            let unit = unit.map_or_else(|| format!("{app}/N"), UnitName::to_string);
            let text = match relation.is_cross_model {
                true => format!(
                    "relation {id} is across models: no dump of this model shows what the \
                     distributor has written there"
                ),
                false => format!(
                    "relation {id}: what both sides have written there; run juju show-unit {own} \
                     {unit}; if Juju does not find {app}, it is across models, and no dump shows \
                     this"
                ),
            };
            // A ledger of this charm says what its bags show.
            let matters = !relation.is_cross_model || !self.ledger.is_shown_in(*id);
            Some(Lack { text, matters })
        });
        lacks.collect()
    }
}

impl Relation {
    fn add_bags(
        &mut self,
        name: &UnitName,
        shown: &ShownRelation,
        ours: &str,
    ) -> Result<(), InputError> {
        let local = shown.local_unit().map(|member| (name, member));
        for (unit, Member { in_scope, data }) in local.into_iter().chain(shown.related_units()) {
            let bags = match unit.app() == ours {
                true => &mut self.own_units,
                false => &mut self.units,
            };
            let bag = in_scope.then(|| data.clone());
            if bags
                .insert(unit.clone(), bag.clone())
                .is_some_and(|before| before != bag)
            {
                let what = format!("the bags of {unit} in relation {} differ", shown.id());
                return Err(InputError::TwoTimes(what));
            }
        }
        Ok(())
    }

    /// The distributor's application bag: of the two the one that names a choice, or any if both are
    /// empty. `None` where the input does not show it; a consumer may write a bag of its own.
    fn own_app(&self) -> Option<Databag> {
        let sides = [&self.shown_to_us, &self.shown_to_them];
        let seen = || sides.iter().copied().flatten();
        let mut ours = seen().filter(|bag| bag.contains_key(BOOTSTRAP_APP));
        match (ours.next(), ours.next()) {
            (Some(one), None) => Some(one.clone()),
            (None, _) if seen().filter(|bag| bag.is_empty()).count() == sides.len() => {
                Some(Databag::new())
            }
            _ => None,
        }
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

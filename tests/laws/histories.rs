//! Laws over histories: the real hooks, from the environment to the encoded writes, one after the
//! other, with whatever happens to relations, units and leadership between them.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use microcluster_token_distributor::core::everything;
use microcluster_token_distributor::core::evidence::{Relation, World};
use microcluster_token_distributor::core::fingerprint::fingerprint;
use microcluster_token_distributor::core::ledger::{Ledger, Options, Place};
use microcluster_token_distributor::core::names::{RelationId, UnitName};
use microcluster_token_distributor::core::plan::Writes;
use microcluster_token_distributor::core::queue::Moment;
use microcluster_token_distributor::core::wire::{
    self, BOOTSTRAP_APP, Databag, GUARD, HOSTNAME, MIRROR, NUDGE, PLACEHOLDER, UP, Value,
    difference, is_hostname,
};
use microcluster_token_distributor::core::{plan, show};
use one_hook::{Event, Ran, RelationView, View};
use proptest::collection::{btree_map, btree_set, vec};
use proptest::option::weighted;
use proptest::prelude::*;
use proptest::sample::{Index, select};

use crate::one_in;
use crate::worlds::{APPS, TOKEN, consumer_bag, unit};

const PEER: u64 = 3;

/// When every hook runs, in seconds since 1970: time passes only where a law says so.
const NOW: u64 = 1000;

/// Our units.
const DISTRIBUTORS: usize = 3;

/// What may happen next. What is impossible just then does not happen.
#[derive(Clone, Debug)]
enum Step {
    /// An application is related; goal-state lists these units of it at once.
    Relate(usize, BTreeSet<u8>),
    /// A unit enters with this bag.
    Enter(usize, u8, Databag),
    /// A unit that is there writes these keys.
    Write(usize, Index, Databag),
    /// A unit deletes a key.
    Delete(usize, Index, &'static str),
    /// The token that is shown to a unit does not serve it.
    Refuse(usize, Index),
    /// A unit leaves.
    Leave(usize, Index),
    /// All units leave and the relation goes.
    Unrelate(usize),
    /// Another distributor unit takes over. The former leader may hear of it first.
    Elect(usize, bool),
    /// A distributor unit hears of the ledger.
    Hear(usize),
    /// The operator sets or resets the option `bootstrap-app`.
    Configure(Option<usize>),
    /// Goal-state begins to leave out this application's units, the application, or nothing.
    Advise(usize, Advice),
    /// Time passes.
    UpdateStatus,
}

/// What goal-state says of an application. It never says more than there is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Advice {
    /// The application and its units.
    All,
    /// The application and none of its units, as of a subordinate one.
    NoUnits,
    /// Nothing, as of an application of another model.
    Nothing,
}

fn step() -> impl Strategy<Value = Step> {
    let app = prop_oneof![3 => 0..2usize, 1 => 0..APPS.len()];
    let ours = 0..DISTRIBUTORS;
    prop_oneof![
        3 => (app.clone(), btree_set(0..3u8, 0..3)).prop_map(|(app, units)| Step::Relate(app, units)),
        6 => (app.clone(), 0..4u8, arrival())
            .prop_map(|(app, number, bag)| Step::Enter(app, number, bag)),
        4 => (app.clone(), any::<Index>(), arrival())
            .prop_map(|(app, who, bag)| Step::Write(app, who, bag)),
        2 => (app.clone(), any::<Index>(), select(vec![wire::MEMBER, HOSTNAME, wire::REFUSED]))
            .prop_map(|(app, who, key)| Step::Delete(app, who, key)),
        2 => (app.clone(), any::<Index>()).prop_map(|(app, who)| Step::Refuse(app, who)),
        2 => (app.clone(), any::<Index>()).prop_map(|(app, who)| Step::Leave(app, who)),
        1 => app.clone().prop_map(Step::Unrelate),
        1 => (ours.clone(), any::<bool>()).prop_map(|(who, late)| Step::Elect(who, late)),
        2 => ours.prop_map(Step::Hear),
        1 => weighted(0.5, app.clone()).prop_map(Step::Configure),
        1 => (app, select(vec![Advice::All, Advice::NoUnits, Advice::Nothing]))
            .prop_map(|(app, advice)| Step::Advise(app, advice)),
        1 => Just(Step::UpdateStatus),
    ]
}

/// What a consumer says. It keeps its name, and it refuses only what it was shown.
fn arrival() -> impl Strategy<Value = Databag> {
    consumer_bag().prop_map(|mut bag| {
        bag.remove(wire::REFUSED);
        bag
    })
}

#[derive(Clone, Debug, Default)]
struct Related {
    app: &'static str,
    planned: BTreeSet<UnitName>,
    units: BTreeMap<UnitName, Databag>,
    /// Bags of units that left stay readable by name.
    left: BTreeMap<UnitName, Databag>,
    own_app: Databag,
    own_units: [Databag; DISTRIBUTORS],
}

/// The part of Juju that our hooks see.
#[derive(Clone, Debug)]
struct Juju {
    relations: BTreeMap<RelationId, Related>,
    ledger: Databag,
    next_id: u64,
    leader: usize,
    /// Who has yet to hear of the ledger.
    unheard: BTreeSet<usize>,
    /// A former leader's mirror went down.
    went_down: bool,
    configured: Option<&'static str>,
    /// Of each application.
    advice: [Advice; APPS.len()],
    statuses: [(String, String); DISTRIBUTORS],
}

fn distributor(number: usize) -> UnitName {
    unit("distributor", number)
}

impl Juju {
    fn new() -> Self {
        Juju {
            relations: BTreeMap::new(),
            ledger: Databag::new(),
            next_id: 8,
            leader: 0,
            unheard: BTreeSet::new(),
            went_down: false,
            configured: None,
            // Goal-state knows no application of another model.
            advice: APPS.map(|app| match app.starts_with("remote-") {
                true => Advice::Nothing,
                false => Advice::All,
            }),
            statuses: Default::default(),
        }
    }

    fn id_of(&self, app: usize) -> Option<RelationId> {
        let mut relations = self.relations.iter();
        relations
            .find(|(_, related)| related.app == APPS[app])
            .map(|(id, _)| *id)
    }

    fn goes(&mut self, step: Step) {
        match step {
            Step::Relate(app, planned) => {
                if self.id_of(app).is_some() {
                    return;
                }
                let id = self.next_id;
                self.next_id += 1;
                let planned = planned.into_iter();
                let related = Related {
                    app: APPS[app],
                    planned: planned.map(|number| unit(APPS[app], number)).collect(),
                    ..Related::default()
                };
                self.relations.insert(RelationId(id), related);
                self.all_run(&Event::Relation("created", id, None));
            }
            Step::Enter(app, number, bag) => {
                let Some(id) = self.id_of(app) else { return };
                let related = self.relations.get_mut(&id).expect("found");
                let name = unit(related.app, number);
                // Numbers are never used again.
                if related.units.contains_key(&name) || related.left.contains_key(&name) {
                    return;
                }
                related.planned.remove(&name);
                related.units.insert(name.clone(), bag);
                self.all_run(&Event::Relation("joined", id.0, Some(name.to_string())));
                self.all_run(&Event::Relation("changed", id.0, Some(name.to_string())));
            }
            Step::Write(app, who, mut written) => {
                let Some(id) = self.id_of(app) else { return };
                let related = self.relations.get_mut(&id).expect("found");
                if related.units.is_empty() {
                    return;
                }
                let who = who.index(related.units.len());
                let (name, bag) = related.units.iter_mut().nth(who).expect("in range");
                let name = name.to_string();
                if bag.contains_key(HOSTNAME) {
                    written.remove(HOSTNAME);
                }
                bag.extend(written);
                self.all_run(&Event::Relation("changed", id.0, Some(name)));
            }
            Step::Delete(app, who, key) => {
                let Some(id) = self.id_of(app) else { return };
                let related = self.relations.get_mut(&id).expect("found");
                let who = who.index(related.units.len().max(1));
                let Some((name, bag)) = related.units.iter_mut().nth(who) else {
                    return;
                };
                bag.remove(key);
                let name = name.to_string();
                self.all_run(&Event::Relation("changed", id.0, Some(name)));
            }
            Step::Refuse(app, who) => {
                let Some(id) = self.id_of(app) else { return };
                let leader = self.leader;
                let related = self.relations.get_mut(&id).expect("found");
                let who = who.index(related.units.len().max(1));
                let Some((name, bag)) = related.units.iter_mut().nth(who) else {
                    return;
                };
                let hostname = bag.get(HOSTNAME).cloned().unwrap_or_default();
                let shown = related.own_units[leader].get(&wire::mirror_key(&hostname));
                let Some(Value::Text(token)) = shown.map(|text| Value::from(text.as_str())) else {
                    return;
                };
                bag.insert(wire::REFUSED.to_owned(), fingerprint(&token));
                let name = name.to_string();
                self.all_run(&Event::Relation("changed", id.0, Some(name)));
            }
            Step::Leave(app, who) => {
                let Some(id) = self.id_of(app) else { return };
                let units = &self.relations[&id].units;
                if let Some(name) = units.keys().nth(who.index(units.len().max(1))).cloned() {
                    self.leaves(id, name);
                }
            }
            Step::Unrelate(app) => {
                let Some(id) = self.id_of(app) else { return };
                let related = self.relations.get_mut(&id).expect("found");
                related.planned.clear();
                let names: Vec<UnitName> = related.units.keys().cloned().collect();
                for name in names {
                    self.leaves(id, name);
                }
                let event = Event::Relation("broken", id.0, None);
                for number in 0..DISTRIBUTORS {
                    self.run(number, &event);
                }
                self.relations.remove(&id);
                self.is_as_after_a_look_at_everything("broken");
            }
            Step::Elect(number, late) => {
                let former = self.leader;
                self.leader = number;
                if late && former != number {
                    self.run(former, &Event::Plain("update-status"));
                }
                self.run(number, &Event::Plain("leader-elected"));
                self.is_as_after_a_look_at_everything("leader-elected");
            }
            Step::Hear(number) => self.hears(number),
            Step::Configure(app) => {
                self.configured = app.map(|app| APPS[app]);
                self.all_run(&Event::Plain("config-changed"));
            }
            Step::Advise(app, advice) => {
                if !APPS[app].starts_with("remote-") {
                    self.advice[app] = advice;
                }
                self.all_run(&Event::Plain("start"));
            }
            Step::UpdateStatus => self.all_run(&Event::Plain("update-status")),
        }
    }

    fn hears(&mut self, number: usize) {
        if self.unheard.remove(&number) {
            let is_empty = !self.ledger.contains_key("queue");
            let ran = self.run(number, &Event::Peer("changed", PEER, None));
            if number == self.leader
                && is_empty
                && Ledger::from(self.ledger.clone()).is_led_by(&distributor(number))
            {
                assert_eq!(ran.calls, 1, "the leader's own echo");
            }
        }
    }

    fn leaves(&mut self, id: RelationId, name: UnitName) {
        let related = self.relations.get_mut(&id).expect("found");
        let bag = related.units.remove(&name).expect("it was there");
        related.left.insert(name.clone(), bag);
        self.all_run(&Event::Relation("departed", id.0, Some(name.to_string())));
    }

    /// The leader runs it first, then the others.
    fn all_run(&mut self, event: &Event) {
        let leader = self.leader;
        self.run(leader, event);
        // Juju runs relation-changed right after relation-joined, which may leave everything to it.
        if !matches!(event, Event::Relation("joined", ..)) {
            self.is_as_after_a_look_at_everything(&format!("{event:?}"));
        }
        for number in (0..DISTRIBUTORS).filter(|number| *number != leader) {
            self.run(number, event);
        }
    }

    fn run(&mut self, number: usize, event: &Event) -> Ran {
        let ran = one_hook::run(&self.view(number), event, NOW);
        assert!(ran.result.is_ok(), "{event:?}: {:?}", ran.result);
        assert!(!ran.status.1.contains(TOKEN));
        self.statuses[number].clone_from(&ran.status);
        let before = self.clone();
        for (id, Writes { app, unit }) in &ran.writes {
            let related = self.relations.get_mut(id).expect("it exists");
            assert!(app.is_empty() || number == self.leader);
            self.went_down |= number != self.leader && unit.contains_key(wire::MIRROR);
            wire::apply(&mut related.own_app, app);
            wire::apply(&mut related.own_units[number], unit);
        }
        if !ran.ledger.is_empty() {
            assert_eq!(number, self.leader, "only the leader writes the ledger");
            wire::apply(&mut self.ledger, &ran.ledger);
            self.unheard.extend(0..DISTRIBUTORS);
        }
        self.keeps_its_promises_since(&before);
        ran
    }

    /// What consumers are promised of each commit.
    fn keeps_its_promises_since(&self, before: &Juju) {
        let (old, new) = (
            Ledger::from(before.ledger.clone()),
            Ledger::from(self.ledger.clone()),
        );
        for (name, value) in old.mirror.iter() {
            // A member has used its token.
            let lost = matches!(value, Value::Text(_))
                && !old.has_member(name)
                && matches!(new.mirror.get(name), None | Some(Value::Placeholder));
            let is_emptied = new.hosts.is_empty()
                || !new
                    .relations
                    .keys()
                    .any(|id| old.relations.contains_key(id));
            assert!(!lost || is_emptied, "the token of {name} is lost");
        }
        self.lets_one_in_at_a_time_since(before);
        // Whatever goal-state leaves out.
        for (unit, bag) in self.relations.values().flat_map(|related| &related.units) {
            let name = bag
                .get(HOSTNAME)
                .filter(|_| !bag.contains_key(wire::MEMBER));
            let claims = name
                .and_then(|name| old.hosts.get(name))
                .into_iter()
                .flatten();
            if let Some(name) = name
                && claims.into_iter().any(|claim| claim.unit == *unit)
            {
                let is_lost = old.mirror.contains_key(name) && !new.mirror.contains_key(name);
                assert!(
                    !is_lost,
                    "{unit} is there, and the placeholder of {name} is lost"
                );
            }
        }
        for (id, related) in &self.relations {
            let is_up = |related: &Related| related.own_units.iter().any(wire::is_up);
            if is_up(related) {
                assert!(
                    related.own_app.contains_key(BOOTSTRAP_APP),
                    "{id}: up without a choice"
                );
            } else if related.own_app.contains_key(BOOTSTRAP_APP) {
                assert!(
                    !is_up(&before.relations[id]),
                    "{id}: a moment without a mirror up"
                );
            }
            let has_published = new.is_led_by(&distributor(self.leader));
            let up = related.own_units.iter().filter(|bag| wire::is_up(bag));
            if has_published && up.count() > 1 {
                let unheard = self.unheard.iter().filter(|number| **number != self.leader);
                assert!(
                    unheard.count() > 0,
                    "{id}: two mirrors up, and everybody has heard"
                );
            }
        }
    }

    /// Of the hosts that are not known to be in, one at most gets to see its token in one commit,
    /// and what was shown stays shown.
    fn lets_one_in_at_a_time_since(&self, before: &Juju) {
        let is_in = |ledger: &Databag, name: &str| {
            let claims = ledger.get(&format!("host-{name}"));
            claims.is_none_or(|claims| claims.contains('*'))
        };
        let token = |value: &&String| !["empty", "member", "retired"].contains(&value.as_str());
        let was_shown = |key: &str, token: &String| {
            let related = before.relations.values();
            let mut bags = related.flat_map(|related| &related.own_units);
            bags.any(|bag| bag.get(key) == Some(token))
        };
        let is_same = before.ledger.get("leader") == self.ledger.get("leader");
        for (id, related) in &self.relations {
            let key = format!("relation-{}", id.0);
            let is_listed =
                |ledger: &Databag| ledger.get(&key).is_some_and(|app| !app.ends_with(" -"));
            if !is_same || !is_listed(&before.ledger) || !is_listed(&self.ledger) {
                continue;
            }
            let (old, new) = (&before.relations[id].own_units, &related.own_units);
            let (old, new) = (&old[self.leader], &new[self.leader]);
            let names = new.iter().filter_map(|(key, value)| {
                let name = key.strip_prefix("mirror-")?;
                let is_new = token(&value) && !was_shown(key, value);
                (is_new && is_hostname(name) && !is_in(&self.ledger, name)).then_some(name)
            });
            let names: Vec<&str> = names.collect();
            assert!(names.len() <= 1, "{id}: let in together: {names:?}");
            for (key, value) in old.iter().filter(|(_, value)| token(value)) {
                let Some(name) = key.strip_prefix("mirror-") else {
                    continue;
                };
                let is_held = self.ledger.get(key) == Some(value);
                let is_shown = new.get(key) == Some(value);
                assert!(!is_held || is_shown, "{id}: the token of {name} was shown");
            }
        }
    }

    fn view(&self, number: usize) -> View {
        let relations = self.relations.iter().map(|(id, related)| {
            let all = related.units.iter().chain(&related.left);
            let bags = all.map(|(unit, bag)| (unit.clone(), Arc::new(bag.clone())));
            let own = (0..).zip(&related.own_units);
            let own = own.map(|(number, bag)| (distributor(number), Arc::new(bag.clone())));
            let view = RelationView {
                app: related.app.to_owned(),
                members: related.units.keys().cloned().collect(),
                expected: self.expected(related),
                units: bags.chain(own).collect(),
                own_app: Arc::new(related.own_app.clone()),
            };
            (*id, view)
        });
        let configured = self
            .configured
            .map(|app| ("bootstrap-app".to_owned(), app.to_owned()));
        View {
            unit: distributor(number),
            is_leader: number == self.leader,
            relations: relations.collect(),
            peers: [RelationId(PEER)].into(),
            ledger: Ok(Arc::new(self.ledger.clone())),
            siblings: (0..DISTRIBUTORS).map(distributor).collect(),
            config: configured.into_iter().collect(),
            status: self.statuses[number].clone(),
        }
    }

    fn advice(&self, related: &Related) -> Advice {
        let known = APPS.iter().zip(self.advice);
        let mut of_app = known.filter(|(app, _)| **app == related.app);
        of_app.next().expect("one of them").1
    }

    /// The units that goal-state lists, if it lists the application.
    fn expected(&self, related: &Related) -> Option<BTreeSet<UnitName>> {
        let here = related.units.keys().chain(&related.planned).cloned();
        match self.advice(related) {
            Advice::All => Some(here.collect()),
            Advice::NoUnits => Some(BTreeSet::new()),
            Advice::Nothing => None,
        }
    }

    fn place(&self, related: &Related) -> Place {
        let ledger = Ledger::from(self.ledger.clone());
        match self.expected(related) {
            None => Place::Elsewhere,
            Some(units) if !units.is_empty() => Place::Here,
            Some(_) => {
                let mut listed = ledger.relations.values();
                match listed.any(|listed| listed.app == related.app) {
                    true => ledger.place(related.app),
                    false => Place::Unknown,
                }
            }
        }
    }

    fn world(&self) -> World {
        let relations = self.relations.iter().map(|(id, related)| {
            let siblings = (0..).zip(&related.own_units);
            let siblings = siblings.filter(|(number, _)| *number != self.leader);
            let relation = Relation {
                app: related.app.to_owned(),
                place: self.place(related),
                units: related.units.clone(),
                joined: Some(related.units.keys().cloned().collect()),
                expected: self.expected(related).filter(|units| !units.is_empty()),
                own_app: Some(related.own_app.clone()),
                own_unit: Some(related.own_units[self.leader].clone()),
                siblings: siblings
                    .map(|(number, bag)| (distributor(number), bag.clone()))
                    .collect(),
            };
            (*id, relation)
        });
        World {
            relations: relations.collect(),
            options: Options {
                bootstrap_app: self.configured.map(str::to_owned),
                log_level: None,
            },
            passed_over: BTreeMap::new(),
            units_were_read: true,
            siblings_are_news: true,
            in_hook_of: None,
        }
    }

    /// After an event of the leader nothing is left to do, and what it shows is what the ledger says.
    fn is_as_after_a_look_at_everything(&self, event: &str) {
        let ledger = Ledger::from(self.ledger.clone());
        let own = distributor(self.leader);
        if !ledger.is_led_by(&own) {
            return;
        }
        for (id, related) in &self.relations {
            if !ledger.is_shown_in(*id) {
                continue;
            }
            let shown = show::unit_bag(&ledger, *id);
            let held = &related.own_units[self.leader];
            let unit = difference(held, &shown, show::is_ours_in_unit_bag);
            assert!(
                unit.is_empty(),
                "after {event}, the unit bag of {id} lacks {unit:?}"
            );
            let app = difference(&related.own_app, &show::app_bag(&ledger, *id), |_| true);
            assert!(
                app.is_empty(),
                "after {event}, the application bag of {id} lacks {app:?}"
            );
        }
        let world = self.world();
        let learned = everything::learned(&ledger, &world, &own);
        let moment = Moment {
            now: NOW,
            ..Moment::default()
        };
        let plan = plan::of(&ledger, learned, Some(&world), &moment);
        // A choice that rests on no unit stays while a former leader's mirror is up. Juju announces to
        // the leader nothing of when that goes down, so the next look withdraws it.
        let chooses_nobody = Ledger {
            bootstrap_app: None,
            ..ledger.clone()
        };
        let withdraws = self.went_down && plan.ledger == chooses_nobody;
        assert!(
            plan.is_idle() || withdraws,
            "after {event}, a look at everything writes {:?} {:?}",
            plan.ledger_changes(),
            plan.writes
        );
    }
}

proptest! {
    #![proptest_config(one_in(4))]

    #[test]
    fn after_every_event_a_look_at_everything_changes_nothing(
        steps in vec(step(), 1..20)
    ) {
        let mut juju = Juju::new();
        for step in steps {
            juju.goes(step);
        }
        for number in 0..DISTRIBUTORS {
            juju.hears(number);
        }
        for related in juju.relations.values() {
            let up = related.own_units.iter().filter(|bag| wire::is_up(bag));
            prop_assert!(up.count() <= 1, "everybody has heard who leads");
        }
    }

    #[test]
    fn a_hook_run_again_writes_nothing_and_asks_three_times(
        steps in vec(step(), 1..8), app in 0..APPS.len(), number in 0..DISTRIBUTORS
    ) {
        let mut juju = Juju::new();
        for step in steps {
            juju.goes(step);
        }
        let Some(id) = juju.id_of(app) else { return Ok(()) };
        let ledger = Ledger::from(juju.ledger.clone());
        // While nobody has announced a host, whoever comes first is asked for.
        let is_settled = ledger.bootstrap_app.is_some()
            && ledger.is_led_by(&distributor(juju.leader))
            && !ledger.hosts.is_empty();
        for name in juju.relations[&id].units.keys().map(UnitName::to_string) {
            let event = Event::Relation("changed", id.0, Some(name));
            let again = one_hook::run(&juju.view(number), &event, NOW);
            prop_assert!(again.writes.is_empty() && again.ledger.is_empty(), "{:?}", again.writes);
            prop_assert!(!is_settled || again.calls <= 3, "{} calls for nothing new", again.calls);
        }
    }

    #[test]
    fn the_order_of_events_does_not_matter_where_nobody_contradicts(
        (arrivals, shuffled) in arrivals().prop_flat_map(|arrivals| {
            (Just(arrivals.clone()), Just(arrivals).prop_shuffle())
        })
    ) {
        let mut ends = Vec::new();
        for order in [&arrivals, &shuffled] {
            let mut juju = Juju::new();
            for app in 0..2 {
                let here = arrivals.iter().filter(|(of, ..)| *of == app);
                let planned = here.map(|(_, number, _)| *number).collect();
                juju.goes(Step::Relate(app, planned));
            }
            for (app, number, bag) in order {
                juju.goes(Step::Enter(*app, *number, bag.clone()));
            }
            // Who came first is let in first, so everybody is.
            while juju.ledger.contains_key("queue") {
                juju.unheard.insert(juju.leader);
                juju.hears(juju.leader);
            }
            // Used tokens are cleared for all together.
            juju.goes(Step::UpdateStatus);
            let bags = juju.relations.into_values().map(|related| {
                let [mut unit, ..] = related.own_units;
                unit.remove(NUDGE);
                (related.own_app, unit)
            });
            let mut ledger = juju.ledger;
            ledger.remove(NUDGE);
            ledger.remove("let-in");
            ends.push((ledger, bags.collect::<Vec<_>>()));
        }
        prop_assert_eq!(&ends[0], &ends[1]);
    }

    #[test]
    fn absent_is_not_empty(steps in vec(step(), 1..8), number in 0..DISTRIBUTORS) {
        let mut juju = Juju::new();
        for step in steps {
            juju.goes(step);
        }
        let Some(id) = juju.relations.keys().next().copied() else { return Ok(()) };
        let member = juju.relations[&id].units.keys().next().map(ToString::to_string);
        // relation-joined of a unit that has said nothing leaves everything to relation-changed.
        let unit_events = ["changed", "departed"].into_iter().filter_map(|kind| {
            Some(Event::Relation(kind, id.0, Some(member.clone()?)))
        });
        let plain = ["leader-elected", "config-changed", "start", "upgrade-charm", "update-status"];
        let events: Vec<Event> = unit_events
            .chain(plain.map(Event::Plain))
            .chain([Event::Relation("created", id.0, None)])
            .collect();
        for refuses in [false, true] {
            let mut view = juju.view(number);
            if refuses {
                view.ledger = Err("ERROR permission denied");
            } else {
                view.peers.clear();
            }
            for event in &events {
                let ran = one_hook::run(&view, event, NOW);
                prop_assert!(ran.result.is_err(), "{event:?}");
                prop_assert!(ran.writes.is_empty() && ran.ledger.is_empty());
            }
            for event in [
                Event::Relation("broken", id.0, None),
                Event::Plain("stop"),
                Event::Plain("remove"),
                Event::Plain("install"),
            ] {
                let ran = one_hook::run(&view, &event, NOW);
                prop_assert!(ran.result.is_ok(), "{event:?}: {:?}", ran.result);
                prop_assert!(ran.writes.is_empty() && ran.ledger.is_empty());
            }
        }
    }

    #[test]
    fn a_refresh_from_the_python_charm_loses_nothing_and_mints_nothing_again(
        tokens in btree_map(select(vec!["h0", "h1", "h2", "h3"]), weighted(0.7, select(vec!["A", "B"])), 1..5),
        publisher in 0..DISTRIBUTORS,
        returns in any::<bool>(),
    ) {
        let mut juju = Juju::new();
        juju.leader = DISTRIBUTORS - 1;
        let is_departed = publisher < juju.leader;
        let name = |number| unit(APPS[0], number);
        let mut related = Related { app: APPS[0], ..Related::default() };
        for (number, hostname) in (0u8..).zip(tokens.keys()) {
            let bag = Databag::from([(HOSTNAME.to_owned(), (*hostname).to_owned())]);
            related.units.insert(name(number), bag);
        }
        let token = |which: Option<&str>| which.map_or(PLACEHOLDER.to_owned(), |it| format!("{TOKEN}{it}"));
        let shown = tokens.iter().map(|(hostname, which)| (format!("mirror-{hostname}"), token(*which)));
        related.own_units[publisher] = shown.collect();
        related.own_units[publisher].insert(MIRROR.to_owned(), UP.to_owned());
        related.own_app.insert(BOOTSTRAP_APP.to_owned(), "chosen-by-python".to_owned());
        // A token is a sign of a cluster, and then the choice stays.
        let has_token = tokens.values().any(Option::is_some);
        juju.relations.insert(RelationId(5), related);

        let event = Event::Plain("upgrade-charm");
        let mut view = juju.view(juju.leader);
        if is_departed {
            view.siblings.remove(&distributor(publisher));
        }
        let ran = one_hook::run(&view, &event, NOW);
        prop_assert!(ran.result.is_ok(), "{:?}", ran.result);
        let Writes { app, unit } = &ran.writes[&RelationId(5)];
        let leader = juju.leader;
        let related = juju.relations.get_mut(&RelationId(5)).expect("just made");
        wire::apply(&mut related.own_app, app);
        wire::apply(&mut related.own_units[leader], unit);
        wire::apply(&mut juju.ledger, &ran.ledger);
        for (hostname, which) in &tokens {
            let key = format!("mirror-{hostname}");
            prop_assert_eq!(related.own_units[leader].get(&key), Some(&token(*which)));
            prop_assert_eq!(juju.ledger.get(&key), Some(&token(*which)));
        }
        prop_assert!(wire::is_up(&related.own_units[leader]));
        if has_token {
            prop_assert_eq!(&related.own_app[BOOTSTRAP_APP], "chosen-by-python");
        }
        juju.is_as_after_a_look_at_everything("the refresh");
        // Whoever published goes down when it hears, if it is still there.
        juju.unheard.extend(0..DISTRIBUTORS);
        if returns {
            // The Python charm mints on, in the leader's bag; then this charm comes back.
            let related = juju.relations.get_mut(&RelationId(5)).expect("just made");
            for hostname in tokens.keys() {
                let key = format!("mirror-{hostname}");
                let held = related.own_units[leader].get_mut(&key).expect("shown");
                if held == PLACEHOLDER {
                    *held = format!("{TOKEN}python");
                }
            }
            let shown = related.own_units[leader].clone();
            juju.run(leader, &event);
            let now = &juju.relations[&RelationId(5)].own_units[leader];
            for (name, value) in wire::mirror_values(&shown) {
                prop_assert_eq!(now.get(&wire::mirror_key(name)).map(String::as_str), Some(value));
            }
            juju.is_as_after_a_look_at_everything("the return");
        }
    }
}

/// Units of two applications. Each has a host name of its own, and a key has one value.
fn arrivals() -> impl Strategy<Value = Vec<(usize, u8, Databag)>> {
    let mirror = select(vec![None, Some("up"), Some("down")]);
    let keys = btree_set(select(vec!["h00", "h01", "k", ""]), 0..4);
    let unit = (mirror, keys);
    btree_map((0..2usize, 0..4u8), unit, 0..6).prop_map(|units| {
        let bags = units.into_iter().map(|((app, number), (mirror, keys))| {
            let mut bag = Databag::new();
            bag.insert(HOSTNAME.to_owned(), format!("h{app}{number}"));
            bag.extend(mirror.map(|mirror| (MIRROR.to_owned(), mirror.to_owned())));
            for key in keys {
                bag.insert(format!("mirror-{key}"), format!("token for {key}"));
            }
            (app, number, bag)
        });
        bags.collect()
    })
}

fn bag(pairs: &[(&str, &str)]) -> Databag {
    let owned = pairs
        .iter()
        .map(|(key, value)| (key.to_string(), value.to_string()));
    owned.collect()
}

#[test]
fn a_history_shows_every_kind_of_key() {
    // The laws above would hold of hooks that do nothing; this history is written out.
    let mut juju = Juju::new();
    juju.goes(Step::Relate(0, [0, 1].into()));
    juju.goes(Step::Relate(1, [0].into()));
    juju.goes(Step::Enter(0, 0, bag(&[("hostname", "h0")])));
    juju.goes(Step::Enter(1, 0, bag(&[("hostname", "h9")])));
    for number in 0..DISTRIBUTORS {
        let relations = juju.relations.values();
        let guarded = relations.filter(|related| related.own_units[number].contains_key(GUARD));
        assert_eq!(guarded.count(), 1);
    }
    let up = bag(&[("mirror", "up"), ("mirror-h9", "a token")]);
    juju.goes(Step::Enter(0, 1, up));
    juju.goes(Step::Elect(1, true));
    for related in juju.relations.values() {
        assert!(
            wire::is_up(&related.own_units[0]),
            "nobody is without a mirror"
        );
    }
    juju.hears(0);
    let first = unit(APPS[0], 1);
    juju.leaves(RelationId(8), first);
    for related in juju.relations.values() {
        assert_eq!(related.own_app["bootstrap-app"], APPS[0]);
        assert_eq!(related.own_units[0]["mirror"], "down");
        assert!(
            related.own_units[0]
                .keys()
                .all(|key| [MIRROR, GUARD].contains(&key.as_str()))
        );
        let leader = &related.own_units[1];
        assert_eq!(leader["mirror"], "up");
        assert_eq!(leader["mirror-h9"], "a token");
        assert_eq!(leader["mirror-h0"], "empty");
        assert!(
            leader.contains_key(NUDGE),
            "the communicator left a host waiting"
        );
        assert!(!leader.contains_key(GUARD));
    }
}

#[test]
fn the_choice_is_made_again_when_the_last_word_of_a_cluster_departs() {
    for word in [("mirror", "down"), ("mirror-k", "T")] {
        let mut juju = Juju::new();
        juju.goes(Step::Relate(0, [].into()));
        juju.goes(Step::Enter(0, 0, bag(&[("hostname", "h0")])));
        juju.goes(Step::Relate(1, [].into()));
        juju.goes(Step::Enter(1, 0, bag(&[word])));
        juju.goes(Step::Enter(1, 1, bag(&[("hostname", "h2")])));
        juju.goes(Step::Unrelate(0));
        let chosen = |juju: &Juju| juju.ledger[BOOTSTRAP_APP].clone();
        assert_eq!(chosen(&juju), APPS[0], "{word:?} tells of its cluster");
        juju.leaves(RelationId(9), unit(APPS[1], 0));
        assert_eq!(chosen(&juju), APPS[1], "{word:?} has gone");
    }
}

#[test]
fn a_hook_costs_what_the_specification_says() {
    let mut juju = Juju::new();
    juju.goes(Step::Relate(0, [0, 1].into()));
    juju.goes(Step::Enter(
        0,
        0,
        bag(&[("hostname", "h0"), ("mirror", "up"), ("protocol", "2")]),
    ));
    juju.goes(Step::Enter(0, 1, bag(&[("hostname", "h1")])));
    let id = 8;
    let relation = |kind, unit: &str| Event::Relation(kind, id, Some(unit.to_owned()));
    let changed = relation("changed", "microovn/1");
    let minter = relation("changed", "microovn/0");
    let member = juju.relations.get_mut(&RelationId(id)).expect("related");
    let communicator = member.units.get_mut(&unit(APPS[0], 0)).expect("entered");
    communicator.insert("mirror-h1".to_owned(), "a token".to_owned());
    for (case, number, event, calls) in [
        ("news that changes the status", 0, &minter, 9),
        ("nothing new", 0, &changed, 3),
        ("a standby, news", 1, &minter, 4),
        ("a standby, nothing new", 1, &changed, 3),
    ] {
        let ran = one_hook::run(&juju.view(number), event, NOW);
        assert!(ran.calls <= calls, "{case}: {} calls", ran.calls);
        assert_eq!(ran.writes.is_empty(), !case.starts_with("news"));
    }
    juju.run(0, &minter);
    juju.hears(1);
    for (case, number, event, calls) in [
        ("its own echo", 0, Event::Peer("changed", PEER, None), 1),
        ("another's ledger", 1, Event::Peer("changed", PEER, None), 2),
        (
            "an application bag",
            0,
            Event::Relation("changed", id, None),
            0,
        ),
        ("update-status", 0, Event::Plain("update-status"), 6),
        ("install", 0, Event::Plain("install"), 1),
        ("a departure", 0, relation("departed", "microovn/9"), 3),
        (
            "a standby's departure",
            1,
            relation("departed", "microovn/9"),
            3,
        ),
        ("anything else", 0, Event::Plain("stop"), 0),
    ] {
        let ran = one_hook::run(&juju.view(number), &event, NOW);
        assert_eq!(ran.calls, calls, "{case}");
        assert!(ran.writes.is_empty() && ran.ledger.is_empty(), "{case}");
    }
}

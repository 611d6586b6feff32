//! Laws over histories: the real hooks, from the environment to the encoded writes, one after the
//! other, with whatever happens to relations, units and leadership between them.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use microcluster_token_distributor::databag::{
    self, BOOTSTRAP_APP, Databag, GUARD, HOSTNAME, HOSTS, MIRROR, NUDGE, is_real, mirror_of,
};
use microcluster_token_distributor::reconcile::{Writes, reconcile};
use microcluster_token_distributor::snapshot::{
    Config, Relation, RelationId, Scope, Snapshot, UnitName,
};
use one_hook::{Event, RelationView, View};
use proptest::collection::{btree_set, vec};
use proptest::option::weighted;
use proptest::prelude::*;
use proptest::sample::{Index, select};

use crate::one_in;
use crate::worlds::{APPS, consumer_bag, unit};

/// What may happen next. What is impossible just then does not happen.
#[derive(Clone, Debug)]
enum Step {
    /// An application is related; goal-state lists these units of it at once.
    Relate(usize, BTreeSet<u8>),
    /// A unit enters with this bag.
    Enter(usize, u8, Databag),
    /// A unit that is there writes these keys.
    Write(usize, Index, Databag),
    /// A unit leaves.
    Leave(usize, Index),
    /// All units leave and the relation goes.
    Unrelate(usize),
    /// The other distributor unit takes over.
    Elect,
    /// The operator sets or resets the option `bootstrap-app`.
    Configure(Option<usize>),
    /// Time passes.
    UpdateStatus,
}

fn step() -> impl Strategy<Value = Step> {
    let app = 0..APPS.len();
    prop_oneof![
        3 => (app.clone(), btree_set(0..3u8, 0..3)).prop_map(|(app, units)| Step::Relate(app, units)),
        6 => (app.clone(), 0..4u8, consumer_bag())
            .prop_map(|(app, number, bag)| Step::Enter(app, number, bag)),
        4 => (app.clone(), any::<Index>(), consumer_bag())
            .prop_map(|(app, who, bag)| Step::Write(app, who, bag)),
        2 => (app.clone(), any::<Index>()).prop_map(|(app, who)| Step::Leave(app, who)),
        1 => app.clone().prop_map(Step::Unrelate),
        1 => Just(Step::Elect),
        1 => weighted(0.5, app).prop_map(Step::Configure),
        1 => Just(Step::UpdateStatus),
    ]
}

#[derive(Clone, Debug, Default)]
struct Related {
    app: &'static str,
    planned: BTreeSet<UnitName>,
    units: BTreeMap<UnitName, Databag>,
    /// Bags of units that left stay readable by name.
    left: BTreeMap<UnitName, Databag>,
    own_app: Databag,
    own_units: [Databag; 2],
}

/// The part of Juju that the leader's hooks see, with two distributor units.
#[derive(Clone, Debug)]
struct Juju {
    relations: BTreeMap<RelationId, Related>,
    next_id: u64,
    leader: usize,
    configured: Option<&'static str>,
    statuses: [(String, String); 2],
    /// The leader was elected while nobody could be chosen, and has shown no mirror since.
    elected_in_vain: bool,
}

fn distributor(number: usize) -> UnitName {
    unit("distributor", number)
}

impl Juju {
    fn new() -> Self {
        Juju {
            relations: BTreeMap::new(),
            next_id: 8,
            leader: 0,
            configured: None,
            statuses: Default::default(),
            elected_in_vain: false,
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
                let related = Related {
                    app: APPS[app],
                    planned: planned
                        .into_iter()
                        .map(|number| unit(APPS[app], number))
                        .collect(),
                    ..Related::default()
                };
                self.relations.insert(RelationId(id), related);
                self.hook(Event::Relation("created", id, None));
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
                self.hook(Event::Relation("joined", id.0, Some(name.to_string())));
                self.hook(Event::Relation("changed", id.0, Some(name.to_string())));
            }
            Step::Write(app, who, written) => {
                let Some(id) = self.id_of(app) else { return };
                let related = self.relations.get_mut(&id).expect("found");
                if related.units.is_empty() {
                    return;
                }
                let who = who.index(related.units.len());
                let (name, bag) = related.units.iter_mut().nth(who).expect("in range");
                let name = name.to_string();
                bag.extend(written);
                self.hook(Event::Relation("changed", id.0, Some(name)));
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
                self.run(self.leader, &Event::Relation("broken", id.0, None));
                self.relations.remove(&id);
                self.is_as_after_a_look_at_everything("broken");
            }
            Step::Elect => {
                let former = self.leader;
                self.leader = 1 - former;
                self.hook(Event::Plain("leader-elected"));
                self.elected_in_vain = !self.shows_a_mirror();
                self.run(former, &Event::Plain("update-status"));
            }
            Step::Configure(app) => {
                self.configured = app.map(|app| APPS[app]);
                self.hook(Event::Plain("config-changed"));
            }
            Step::UpdateStatus => self.hook(Event::Plain("update-status")),
        }
    }

    fn shows_a_mirror(&self) -> bool {
        let mut relations = self.relations.values();
        relations.any(|related| related.own_units[self.leader].contains_key(MIRROR))
    }

    fn leaves(&mut self, id: RelationId, name: UnitName) {
        let related = self.relations.get_mut(&id).expect("found");
        let bag = related.units.remove(&name).expect("it was there");
        related.left.insert(name.clone(), bag);
        self.hook(Event::Relation("departed", id.0, Some(name.to_string())));
    }

    fn hook(&mut self, event: Event) {
        self.run(self.leader, &event);
        self.elected_in_vain &= !self.shows_a_mirror();
        self.is_as_after_a_look_at_everything(&format!("{event:?}"));
    }

    fn run(&mut self, number: usize, event: &Event) {
        let ran = one_hook::run(&self.view(number), event, 1000);
        assert!(ran.result.is_ok(), "{event:?}: {:?}", ran.result);
        self.statuses[number] = ran.status;
        for (id, Writes { app, unit }) in &ran.writes {
            let related = self.relations.get_mut(id).expect("it exists");
            let before = (related.own_app.clone(), related.own_units[number].clone());
            databag::apply(&mut related.own_app, app);
            databag::apply(&mut related.own_units[number], unit);
            assert_nothing_lost(&before.0, &related.own_app);
            assert_nothing_lost(&before.1, &related.own_units[number]);
        }
    }

    fn view(&self, number: usize) -> View {
        let relations = self.relations.iter().map(|(id, related)| {
            let all = related.units.iter().chain(&related.left);
            let bags = all.map(|(unit, bag)| (unit.clone(), Arc::new(bag.clone())));
            let own = (0..2).zip(&related.own_units);
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
            siblings: [0, 1].map(distributor).into(),
            config: configured.into_iter().collect(),
            status: self.statuses[number].clone(),
        }
    }

    /// Goal-state knows no application of another model.
    fn expected(&self, related: &Related) -> Option<BTreeSet<UnitName>> {
        let here = related.units.keys().chain(&related.planned).cloned();
        (!related.app.starts_with("remote-")).then(|| here.collect())
    }

    fn everything(&self) -> Snapshot {
        let relations = self.relations.iter().map(|(id, related)| {
            let relation = Relation {
                remote_app: Some(related.app.to_owned()),
                units: related.units.clone(),
                expected: self.expected(related),
                own_app: related.own_app.clone(),
                own_unit: Some(related.own_units[self.leader].clone()),
            };
            (*id, relation)
        });
        Snapshot {
            relations: relations.collect(),
            scope: Scope::Whole,
            config: Config {
                bootstrap_app: self.configured.map(str::to_owned),
                log_level: None,
            },
            departed: None,
        }
    }

    /// Nothing may be left to do but to remember of hosts what was no news when it came.
    fn is_as_after_a_look_at_everything(&self, event: &str) {
        let plan = reconcile(&self.everything());
        let is_memory =
            |writes: &Writes| writes.unit.is_empty() && writes.app.keys().all(|key| key == HOSTS);
        // A leader that was elected while nobody could be chosen shows its mirror with the first
        // host name. Only its own unit bag tells before, and to read that is one question too many.
        let mut app_bags = self.relations.values().map(|related| &related.own_app);
        let nobody_known = app_bags.all(|bag| mirror_of(bag).next().is_none());
        let shown = [MIRROR, BOOTSTRAP_APP, GUARD];
        let is_late = |writes: &Writes| {
            self.elected_in_vain
                && nobody_known
                && writes.app.is_empty()
                && writes.unit.keys().all(|key| shown.contains(&key.as_str()))
        };
        assert!(
            plan.writes
                .values()
                .all(|writes| is_memory(writes) || is_late(writes)),
            "after {event}, a look at everything writes {:?}",
            plan.writes
        );
    }
}

fn assert_nothing_lost(before: &Databag, now: &Databag) {
    for (key, value) in mirror_of(before).filter(|(_, value)| is_real(value)) {
        assert_eq!(now.get(key).map(String::as_str), Some(value), "{key}");
    }
}

proptest! {
    #![proptest_config(one_in(4))]

    #[test]
    fn after_every_event_a_look_at_everything_changes_nothing(
        steps in vec(step(), 1..12)
    ) {
        let mut juju = Juju::new();
        for step in steps {
            juju.goes(step);
        }
    }

    #[test]
    fn a_hook_run_again_writes_nothing(steps in vec(step(), 1..8), app in 0..APPS.len()) {
        let mut juju = Juju::new();
        for step in steps {
            juju.goes(step);
        }
        if let Some(id) = juju.id_of(app) {
            for name in juju.relations[&id].units.keys().map(UnitName::to_string) {
                let event = Event::Relation("changed", id.0, Some(name));
                let again = one_hook::run(&juju.view(juju.leader), &event, 1000);
                prop_assert!(again.writes.is_empty(), "{:?}", again.writes);
                // While nobody is known, the hook asks who else may be on the way.
                let own_app = &juju.relations[&id].own_app;
                let known = own_app.contains_key(HOSTS) && mirror_of(own_app).next().is_some();
                prop_assert!(!known || again.calls <= 3, "{} calls for nothing new", again.calls);
            }
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
            let bags = juju.relations.values().map(|related| {
                (related.own_app.clone(), related.own_units[0].clone())
            });
            ends.push(bags.collect::<Vec<_>>());
        }
        prop_assert_eq!(&ends[0], &ends[1]);
    }
}

/// Units of two applications. Each has a host name of its own, and a key has one value.
fn arrivals() -> impl Strategy<Value = Vec<(usize, u8, Databag)>> {
    let mirror = select(vec![None, Some("up"), Some("down")]);
    let keys = btree_set(select(vec!["h0", "h1", "k", ""]), 0..4);
    let unit = (mirror, keys, any::<bool>());
    proptest::collection::btree_map((0..2usize, 0..4u8), unit, 0..6).prop_map(|units| {
        let bags = units
            .into_iter()
            .map(|((app, number), (mirror, keys, minted))| {
                let mut bag = Databag::new();
                bag.insert(HOSTNAME.to_owned(), format!("h{app}{number}"));
                bag.extend(mirror.map(|mirror| (MIRROR.to_owned(), mirror.to_owned())));
                for key in keys {
                    let value = if minted {
                        format!("token for {key}")
                    } else {
                        "empty".to_owned()
                    };
                    bag.insert(format!("mirror-{key}"), value);
                }
                (app, number, bag)
            });
        bags.collect()
    })
}

#[test]
fn a_history_shows_every_kind_of_key() {
    // The laws above would hold of hooks that do nothing; this history is written out.
    let mut juju = Juju::new();
    let bag = |pairs: &[(&str, &str)]| -> Databag {
        let owned = pairs
            .iter()
            .map(|(key, value)| (key.to_string(), value.to_string()));
        owned.collect()
    };
    juju.goes(Step::Relate(0, [0, 1].into()));
    juju.goes(Step::Relate(1, [0].into()));
    juju.goes(Step::Enter(0, 0, bag(&[("hostname", "h0")])));
    juju.goes(Step::Enter(1, 0, bag(&[("hostname", "h9")])));
    let guarded = juju
        .relations
        .values()
        .filter(|r| r.own_units[0].contains_key(GUARD));
    assert_eq!(guarded.count(), 1);
    let up = bag(&[("mirror", "up"), ("mirror-h9", "a token")]);
    juju.goes(Step::Enter(0, 1, up));
    juju.goes(Step::Elect);
    let first = unit(APPS[0], 1);
    juju.leaves(RelationId(8), first);
    for related in juju.relations.values() {
        assert_eq!(related.own_app["bootstrap-app"], APPS[0]);
        assert_eq!(related.own_units[0]["mirror"], "down");
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

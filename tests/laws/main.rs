//! What holds in every world: the laws of the pure core, and of whole histories of hooks.
//!
//! `PROPTEST_CASES` sets how many worlds each law is tried on; a world that broke one is kept in
//! `tests/proptest-regressions/` and tried first.

mod histories;
mod oracle;
mod worlds;

use std::collections::{BTreeMap, BTreeSet};

use microcluster_token_distributor::databag::{
    self, BOOTSTRAP_APP, Change, Changes, DOWN, Databag, GUARD, GUARD_VALUE, HOSTS, MIRROR,
    PLACEHOLDER, UP, is_real, mirror_of,
};
use microcluster_token_distributor::document::encode;
use microcluster_token_distributor::reconcile::{CAPACITY, Plan, Writes, reconcile};
use microcluster_token_distributor::snapshot::{Relation, RelationId, Snapshot};
use microcluster_token_distributor::standby::{StandbyPlan, StandbyRelation, stand_by};
use proptest::collection::{btree_map, vec};
use proptest::prelude::*;
use proptest::test_runner::FileFailurePersistence;
use worlds::{TOKEN, part, standby, text, whole};

/// A share of the cases: laws over histories and over megabytes cost more than others.
pub(crate) fn one_in(share: u32) -> ProptestConfig {
    let config = ProptestConfig::default();
    ProptestConfig {
        cases: (config.cases / share).max(1),
        failure_persistence: Some(Box::new(FileFailurePersistence::Direct(
            "tests/proptest-regressions/laws.txt",
        ))),
        ..config
    }
}

fn leaders_world() -> impl Strategy<Value = Snapshot> {
    prop_oneof![3 => whole(), 1 => part()]
}

/// What Juju makes of the plan.
fn after(facts: &Snapshot, plan: &Plan) -> Snapshot {
    let mut facts = facts.clone();
    facts.departed = None;
    for (id, Writes { app, unit }) in &plan.writes {
        let relation = facts.relations.get_mut(id).expect("it exists");
        databag::apply(&mut relation.own_app, app);
        databag::apply(relation.own_unit.as_mut().expect("it was read"), unit);
    }
    facts
}

fn own_bags(facts: &Snapshot) -> oracle::OwnBags {
    let both = facts.relations.iter().map(|(id, relation)| {
        let unit = relation.own_unit.clone().expect("it was read");
        (*id, (relation.own_app.clone(), unit))
    });
    both.collect()
}

fn real_values(bag: &Databag) -> impl Iterator<Item = (&str, &str)> {
    mirror_of(bag).filter(|(_, value)| is_real(value))
}

/// Each bag with the changes planned for it.
fn changed_bags<'a>(facts: &'a Snapshot, plan: &'a Plan) -> Vec<(&'a Databag, &'a Changes)> {
    let both = plan.writes.iter().flat_map(|(id, Writes { app, unit })| {
        let relation = &facts.relations[id];
        let own_unit = relation.own_unit.as_ref().expect("it was read");
        [(&relation.own_app, app), (own_unit, unit)]
    });
    both.collect()
}

fn makes_a_difference(bag: &Databag, key: &str, change: &Change) -> bool {
    match change {
        Change::Set(value) => !value.is_empty() && bag.get(key) != Some(value),
        Change::Remove => bag.contains_key(key),
    }
}

proptest! {
    #![proptest_config(one_in(1))]

    #[test]
    fn every_bag_ends_as_the_rules_say_when_read_a_second_way(facts in leaders_world()) {
        let after = after(&facts, &reconcile(&facts));
        prop_assert_eq!(own_bags(&after), oracle::own_bags(&facts));
    }

    #[test]
    fn a_second_run_changes_nothing(facts in leaders_world()) {
        let after = after(&facts, &reconcile(&facts));
        let again = reconcile(&after);
        prop_assert!(again.is_silent(), "{:?}", again.writes);
        // What was said before the writes of the first run is what was true then.
        prop_assert_eq!(again.overview_before.hosts, reconcile(&facts).overview.hosts);
    }

    #[test]
    fn the_same_facts_give_the_same_plan(facts in leaders_world()) {
        let (first, second) = (reconcile(&facts), reconcile(&facts.clone()));
        prop_assert_eq!(&first, &second);
        for (id, writes) in &first.writes {
            prop_assert_eq!(encode(&writes.app), encode(&second.writes[id].app));
        }
    }

    #[test]
    fn a_real_value_stays_with_the_same_bytes(facts in leaders_world()) {
        let after = own_bags(&after(&facts, &reconcile(&facts)));
        for (id, (app, unit)) in own_bags(&facts) {
            for (before, now) in [(&app, &after[&id].0), (&unit, &after[&id].1)] {
                for (key, value) in real_values(before) {
                    prop_assert_eq!(now.get(key).map(String::as_str), Some(value));
                }
            }
        }
    }

    #[test]
    fn a_plan_writes_only_what_differs_and_only_its_own_keys(facts in leaders_world()) {
        let plan = reconcile(&facts);
        for (id, Writes { app, unit }) in &plan.writes {
            prop_assert!(!app.is_empty() || !unit.is_empty(), "{id} is mentioned for nothing");
            for key in app.keys() {
                let known = [BOOTSTRAP_APP, HOSTS].contains(&key.as_str());
                prop_assert!(known || databag::mirrored(key).is_some(), "application bag: {key}");
            }
            for key in unit.keys() {
                let known = [BOOTSTRAP_APP, MIRROR, GUARD].contains(&key.as_str());
                prop_assert!(known || databag::mirrored(key).is_some(), "unit bag: {key}");
            }
        }
        for (bag, changes) in changed_bags(&facts, &plan) {
            for (key, change) in changes {
                prop_assert!(makes_a_difference(bag, key, change), "{key:?} {change:?}");
            }
        }
    }

    #[test]
    fn all_relations_end_equal_but_for_values_they_held_before(facts in leaders_world()) {
        let bags = own_bags(&after(&facts, &reconcile(&facts)));
        let keys = |bag: &Databag| -> BTreeSet<String> {
            mirror_of(bag).map(|(key, _)| key.to_owned()).collect()
        };
        let before = own_bags(&facts);
        let held_before = |key: &str, value: &str| {
            before.values().any(|(app, unit)| {
                [app, unit].iter().any(|bag| bag.get(key).is_some_and(|held| held == value))
            })
        };
        let Some((first, _)) = bags.values().next() else { return Ok(()) };
        for (app, unit) in bags.values() {
            prop_assert_eq!(keys(app), keys(first));
            prop_assert_eq!(keys(unit), keys(first));
            prop_assert!(app.get(HOSTS) == first.get(HOSTS) || bags == before);
            for bag in [app, unit] {
                for (key, value) in mirror_of(bag).filter(|(key, value)| first[*key] != *value) {
                    prop_assert!(is_real(value) && is_real(&first[key]), "{key} differs");
                    prop_assert!(held_before(key, value), "{key} is of nobody");
                }
            }
        }
    }

    #[test]
    fn a_mirror_is_up_only_beside_a_permission(facts in leaders_world()) {
        for (app, unit) in own_bags(&after(&facts, &reconcile(&facts))).values() {
            if databag::is_up(unit) {
                prop_assert!(app.contains_key(BOOTSTRAP_APP));
            }
        }
    }

    #[test]
    fn no_plan_ever_prints_a_token(facts in leaders_world()) {
        let plan = reconcile(&facts);
        let shown = format!("{plan:?} {:?}", plan.overview.status());
        // The keys of these worlds hold no token, so what shows one is a value.
        prop_assert!(!shown.contains(TOKEN), "{shown}");
    }

    #[test]
    fn a_standby_only_steps_back_and_guards((relations, configured) in standby()) {
        let plan = stand_by(&relations, configured.as_deref());
        for (id, changes) in &plan {
            prop_assert!(!changes.is_empty());
            for (key, change) in changes {
                let allowed = match (key.as_str(), change) {
                    (MIRROR, Change::Set(value)) => value == DOWN,
                    (GUARD, Change::Set(value)) => value == GUARD_VALUE,
                    (GUARD, Change::Remove) => true,
                    _ => false,
                };
                prop_assert!(allowed, "{key} {change:?}");
                prop_assert!(makes_a_difference(&relations[id].own_unit, key, change));
            }
        }
        let again = stand_by(&after_standby(&relations, &plan), configured.as_deref());
        prop_assert!(again.is_empty(), "{again:?}");
    }

    #[test]
    fn a_standby_with_siblings_leaves_a_mirror_up((relations, configured) in standby()) {
        let plan = stand_by(&relations, configured.as_deref());
        let after = after_standby(&relations, &plan);
        for (id, relation) in &relations {
            let siblings_up = relation.siblings.iter().any(databag::is_up);
            if databag::is_up(&relation.own_unit) && !relation.siblings.is_empty() {
                prop_assert_eq!(databag::is_up(&after[id].own_unit), !siblings_up);
            }
        }
    }

    #[test]
    fn a_standby_never_guards_the_application_that_may_bootstrap(
        (mut relations, configured) in standby()
    ) {
        // Once there is a token there is a cluster, and a guard only helps.
        for bag in relations.values_mut().flat_map(|relation| &mut relation.siblings) {
            bag.retain(|key, value| databag::mirrored(key).is_none() || !is_real(value));
        }
        let bags = || relations.values().flat_map(|relation| &relation.siblings);
        let published = bags().find(|bag| databag::is_up(bag) && bag.contains_key(BOOTSTRAP_APP));
        let first = relations.values().find(|relation| relation.has_units);
        // Nobody has led yet, and nobody could see what this unit cannot.
        let foreseen = first.filter(|_| {
            bags().all(|bag| !bag.contains_key(MIRROR))
                && relations.values().all(|relation| {
                    relation.remote_app.as_ref().is_some_and(|app| !app.starts_with("remote-"))
                })
        });
        let bootstrap = configured
            .as_deref()
            .or(published.map(|bag| bag[BOOTSTRAP_APP].as_str()))
            .or(foreseen.and_then(|relation| relation.remote_app.as_deref()));
        let plan = stand_by(&relations, configured.as_deref());
        for (id, changes) in &plan {
            if relations[id].remote_app.as_deref() == bootstrap || bootstrap.is_none() {
                prop_assert!(!matches!(changes.get(GUARD), Some(Change::Set(_))), "{id}");
            }
        }
    }

    #[test]
    fn a_document_means_to_juju_exactly_its_changes(
        settings in btree_map(long_text(), prop::option::of(long_text()), 0..6)
    ) {
        let changes: Changes = settings
            .iter()
            .map(|(key, value)| (key.clone(), value.clone().map_or(Change::Remove, Change::Set)))
            .collect();
        let read = juju_emulator::document::parse(encode(&changes).as_bytes());
        let meant: BTreeMap<String, String> = settings
            .into_iter()
            .map(|(key, value)| (key, value.unwrap_or_default()))
            .collect();
        prop_assert_eq!(read, Ok(meant));
    }
}

fn long_text() -> impl Strategy<Value = String> {
    prop_oneof![
        8 => text(),
        // About as long as a key may be before it must be introduced.
        1 => (text(), 1000..1040usize).prop_map(|(tail, length)| "k".repeat(length) + &tail),
        1 => (text(), 160..180usize).prop_map(|(tail, length)| "é".repeat(length) + &tail),
    ]
}

fn after_standby(
    relations: &BTreeMap<RelationId, StandbyRelation>,
    plan: &StandbyPlan,
) -> BTreeMap<RelationId, StandbyRelation> {
    let mut relations = relations.clone();
    for (id, changes) in plan {
        let relation = relations.get_mut(id).expect("it exists");
        databag::apply(&mut relation.own_unit, changes);
    }
    relations
}

proptest! {
    // Each case moves tens of megabytes.
    #![proptest_config(one_in(64))]

    #[test]
    fn no_plan_fills_a_bag_beyond_what_juju_takes(
        mut facts in whole(),
        megabytes in vec((0..20usize, any::<prop::sample::Index>()), 1..4)
    ) {
        let relation = facts.relations.entry(RelationId(1)).or_insert_with(|| Relation {
            remote_app: Some("microovn".to_owned()),
            own_unit: Some(Databag::new()),
            ..Relation::default()
        });
        let app = relation.remote_app.clone().expect("all have one");
        relation.units.entry(worlds::unit(&app, 5)).or_default();
        let units: usize = facts.relations.values().map(|relation| relation.units.len()).sum();
        for (size, who) in &megabytes {
            let mut bags = facts.relations.values_mut().flat_map(|r| r.units.values_mut());
            let bag = bags.nth(who.index(units)).expect("in range");
            bag.insert(MIRROR.to_owned(), UP.to_owned());
            bag.insert(format!("mirror-{size}"), "x".repeat(size << 20));
        }
        let plan = reconcile(&facts);
        let before = own_bags(&facts);
        for (id, (app, unit)) in own_bags(&after(&facts, &plan)) {
            for (bag, before) in [(&app, &before[&id].0), (&unit, &before[&id].1)] {
                prop_assert!(databag::size(bag) < CAPACITY + (1 << 16));
                let missing = megabytes.iter().map(|(size, _)| format!("mirror-{size}"));
                for key in missing.filter(|key| !bag.contains_key(key)) {
                    prop_assert!(!app.contains_key(&key) && !unit.contains_key(&key));
                    let left_out = plan.overview.problems.iter().any(|problem| {
                        problem.to_string().starts_with("databag full")
                    });
                    prop_assert!(left_out, "{key} was left out in silence");
                }
                let mut held = before.iter().filter(|(_, value)| *value != PLACEHOLDER);
                prop_assert!(held.all(|(key, _)| {
                    bag.contains_key(key) || [HOSTS, GUARD].contains(&key.as_str())
                }), "something held was left out");
            }
        }
    }
}

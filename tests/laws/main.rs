//! What holds in every world: the laws of the pure core, and of whole histories of hooks.
//!
//! `PROPTEST_CASES` sets how many worlds each law is tried on; a world that broke one is kept in
//! `tests/proptest-regressions/` and tried first.

mod histories;
mod oracle;
mod turns;
mod worlds;

use std::collections::{BTreeMap, BTreeSet};

use microcluster_token_distributor::core::choose::choose;
use microcluster_token_distributor::core::everything;
use microcluster_token_distributor::core::evidence::OwnBag;
use microcluster_token_distributor::core::evidence::{Relation, World};
use microcluster_token_distributor::core::learn::{self, Learned};
use microcluster_token_distributor::core::ledger::Ledger;
use microcluster_token_distributor::core::names::{RelationId, UnitName};
use microcluster_token_distributor::core::plan::{self, Plan, Writes};
use microcluster_token_distributor::core::queue::Moment;
use microcluster_token_distributor::core::room::{CAPACITY, MOST_KEYS, Size};
use microcluster_token_distributor::core::show;
use microcluster_token_distributor::core::wire::{
    self, BOOTSTRAP_APP, Change, Changes, DOWN, Databag, GUARD, GUARD_VALUE, HOSTNAME, MEMBER,
    MIRROR, UP, Value, difference,
};
use microcluster_token_distributor::juju::document::encode;
use proptest::collection::{btree_map, vec};
use proptest::prelude::*;
use proptest::sample::Index;
use proptest::test_runner::FileFailurePersistence;
use worlds::{
    TOKEN, consumer_bag, leader, looked, past_and_present, standby, text, unit, without_used_tokens,
};

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

/// What Juju makes of the plan.
fn after(world: &World, plan: &Plan) -> World {
    let mut world = world.clone();
    for (id, writes) in &plan.writes {
        let relation = world.relations.get_mut(id).expect("it is served");
        wire::apply(relation.own_app.as_mut().expect("a leader's"), &writes.app);
        wire::apply(
            relation.own_unit.as_mut().expect("it was read"),
            &writes.unit,
        );
    }
    world
}

/// The units of a world, in the order in which everything is learned.
fn units(world: &World) -> impl Iterator<Item = (&UnitName, &Databag)> {
    world
        .relations
        .values()
        .flat_map(|relation| &relation.units)
}

/// The mirror once used tokens are cleared.
fn mirror_of(ledger: &Ledger) -> Databag {
    let mut ledger = ledger.clone();
    learn::clear_used_tokens(&mut ledger, &mut Vec::new());
    let bag = ledger.to_databag();
    let keys = wire::mirror_values(&bag);
    keys.map(|(name, value)| (wire::mirror_key(name), value.to_owned()))
        .collect()
}

fn makes_a_difference(bag: &Databag, key: &str, change: &Change) -> bool {
    match change {
        Change::Set(value) => !value.is_empty() && bag.get(key) != Some(value),
        Change::Remove => bag.contains_key(key),
    }
}

/// Whether `now` may stand where the ledger had the real value `before` (rule 5).
fn keeps(name: &str, before: &Ledger, now: &Ledger) -> bool {
    let spent = |token: &str| before.is_spent(name, token) || now.is_spent(name, token);
    // It is cleared at update-status, and until then the ledger has it.
    let is_used = before.has_member(name);
    let (Some(was), Some(is)) = (before.mirror.get(name), now.mirror.get(name)) else {
        // A constant goes with the last of several who had the name.
        let mut claims = before.hosts.get(name).into_iter().flatten();
        let was_shared = claims.any(|claim| !claim.is_member());
        return match before.mirror.get(name) {
            Some(Value::Text(_)) if !is_used => false,
            Some(Value::Text(_) | Value::Member | Value::Retired) => {
                was_shared && !now.hosts.contains_key(name)
            }
            Some(Value::Placeholder) | None => true,
        };
    };
    match (was, is) {
        (Value::Placeholder, _) => true,
        (Value::Text(was), Value::Text(is)) => was == is || spent(was) || is_used,
        // A member has used its token.
        (Value::Text(_), Value::Member) => true,
        (Value::Text(_), _) => is_used,
        // Another unit has the name now.
        (_, _) if was != is => {
            let members = before.hosts.get(name).into_iter().flatten();
            let members: Vec<_> = members.filter(|claim| claim.is_member()).collect();
            let was_shared = before
                .hosts
                .get(name)
                .is_some_and(|claims| claims.len() > 1);
            let mut claims = now.hosts.get(name).into_iter().flatten();
            was_shared || claims.any(|claim| members.iter().all(|member| member.unit != claim.unit))
        }
        (_, _) => true,
    }
}

proptest! {
    #![proptest_config(one_in(1))]

    #[test]
    fn the_mirror_ends_as_the_rules_say_when_read_a_second_way(
        (ledger, world) in past_and_present()
    ) {
        let learned = everything::learned(&ledger, &world, &leader());
        let seen = mirror_of(&learned.ledger);
        let (seen, expected) = oracle::mirrors(&ledger.to_databag(), &world, seen);
        prop_assert_eq!(seen, expected);
    }

    #[test]
    fn the_same_evidence_gives_the_same_bytes((ledger, world) in past_and_present()) {
        let (first, second) = (looked(&ledger, &world), looked(&ledger, &world.clone()));
        prop_assert_eq!(&first, &second);
        prop_assert_eq!(encode(&first.ledger_changes()), encode(&second.ledger_changes()));
    }

    #[test]
    fn a_second_look_at_everything_finds_nothing_to_do((ledger, world) in past_and_present()) {
        let world = without_used_tokens(&ledger, world);
        let plan = looked(&ledger, &world);
        let again = looked(&plan.ledger, &after(&world, &plan));
        prop_assert!(again.is_idle(), "{:?} {:?}", again.ledger_changes(), again.writes);
    }

    #[test]
    fn a_ledger_is_read_as_it_was_written((ledger, world) in past_and_present()) {
        let plan = looked(&ledger, &world);
        let mut bag = ledger.to_databag();
        wire::apply(&mut bag, &plan.ledger_changes());
        prop_assert_eq!(&bag, &plan.ledger.to_databag());
        prop_assert_eq!(Ledger::from(bag), plan.ledger);
    }

    #[test]
    fn learning_a_unit_twice_is_learning_it_once(
        (ledger, _) in past_and_present(), mut bag in consumer_bag(), departs in any::<bool>()
    ) {
        let unit = unit(worlds::APPS[0], 9);
        // What it offers for its own name counts once the name is not its own any more.
        bag.retain(|key, _| {
            let claims = wire::mirrored(key).and_then(|name| ledger.hosts.get(name));
            !claims.into_iter().flatten().any(|claim| claim.unit == unit)
        });
        let learn = |ledger: &Ledger| -> Learned {
            match departs {
                true => learn::departure(ledger, &unit, &bag),
                false => learn::unit(ledger, &unit, &bag),
            }
        };
        let once = learn(&ledger);
        let twice = learn(&once.ledger);
        // A refused token makes room for the next, which this unit's own bag may hold already.
        prop_assert!(once.asks_for_everything || twice.ledger == once.ledger);
        prop_assert!(once.asks_for_everything || !twice.has_new_claim);
    }

    #[test]
    fn everything_is_each_unit_in_order_once_those_that_are_gone_are_forgotten(
        (ledger, mut world) in past_and_present()
    ) {
        for relation in world.relations.values_mut() {
            relation.own_unit = None;
            relation.siblings.clear();
            // A refusal makes the charm look again.
            for bag in relation.units.values_mut() {
                bag.remove(wire::REFUSED);
            }
        }
        let whole = everything::learned(&ledger, &world, &leader()).ledger;
        let lists = |id: &RelationId| world.lists(*id);
        let is_another_cluster = !ledger.relations.is_empty()
            && !world.relations.is_empty()
            && !ledger.relations.keys().any(lists);
        let mut step = match is_another_cluster {
            true => ledger.emptied(),
            false => ledger.clone(),
        };
        let claims = step.hosts.values().flatten().map(|claim| &claim.unit);
        let known: BTreeSet<UnitName> = claims.chain(step.communicators.keys()).cloned().collect();
        let is_member = |unit: &UnitName| {
            let mut claims = step.hosts.values().flatten();
            claims.any(|claim| claim.unit == *unit && claim.is_member())
        };
        let gone = known.iter().filter(|unit| world.is_gone(unit));
        // A member goes last, or its name would be another's in between.
        let (members, mut gone): (Vec<_>, Vec<_>) = gone.partition(|unit| is_member(unit));
        gone.extend(members);
        let forget = |ledger: Ledger| {
            let departs = |ledger: Ledger, unit: &&UnitName| {
                learn::departure(&ledger, unit, &Databag::new()).ledger
            };
            gone.iter().fold(ledger, departs)
        };
        step = forget(step);
        let mut asks_again = true;
        for _ in 0..2 {
            if !std::mem::take(&mut asks_again) {
                break;
            }
            for (unit, bag) in units(&world) {
                let learned = match world.is_gone(unit) {
                    true => learn::departure(&step, unit, bag),
                    // Not in its own hook.
                    false => {
                        let nobody = (worlds::unit("nobody", 0), Databag::new());
                        let others = [(unit, bag)];
                        learn::unit_and_others(&step, &nobody.0, &nobody.1, others)
                    }
                };
                asks_again |= learned.asks_for_everything;
                step = learned.ledger;
            }
        }
        step = forget(step);
        prop_assert_eq!(mirror_of(&whole), mirror_of(&step));
        prop_assert_eq!(&whole.hosts, &step.hosts);
        prop_assert_eq!(&whole.spent, &step.spent);
        prop_assert_eq!(&whole.communicators, &step.communicators);
    }

    #[test]
    fn a_real_value_stays_but_for_members_and_refusals(
        (ledger, world) in past_and_present(), bag in consumer_bag(), number in 0..12u8
    ) {
        let unit = unit(worlds::APPS[0], number);
        let everything = everything::learned(&ledger, &world, &leader()).ledger;
        let is_another_cluster = !world.relations.is_empty()
            && !ledger.relations.keys().any(|id| world.lists(*id));
        let whole = (!is_another_cluster).then_some(everything);
        let one = learn::unit(&ledger, &unit, &bag).ledger;
        let none = learn::departure(&ledger, &unit, &bag).ledger;
        // A unit can take its word back that it is a member.
        let says_member = bag.contains_key(MEMBER) || bag.contains_key(MIRROR);
        let takes_back = |name: &String| {
            let mut claims = ledger.claimants(name);
            !says_member && claims.any(|claim| claim.unit == unit && claim.is_member())
        };
        for now in whole.iter().chain([&one, &none]) {
            for name in ledger.mirror.keys().filter(|name| !takes_back(name)) {
                prop_assert!(keeps(name, &ledger, now), "{name}: {:?}", now.mirror.get(name));
            }
        }
    }

    #[test]
    fn no_units_rubbish_keeps_anothers_token_out(
        (ledger, world) in past_and_present(), mut rubbish in consumer_bag(), departs in any::<bool>()
    ) {
        let (host, minter) = (unit(worlds::APPS[3], 20), unit(worlds::APPS[3], 21));
        // Whoever offers a token under the name itself was the first to come.
        rubbish.retain(|key, value| key != "mirror-fresh" && value != "fresh");
        let rubbisher = unit(worlds::APPS[3], 19);
        let announcement = Databag::from([(HOSTNAME.to_owned(), "fresh".to_owned())]);
        let offer = Databag::from([
            (MIRROR.to_owned(), UP.to_owned()),
            ("mirror-fresh".to_owned(), format!("{TOKEN}fresh")),
        ]);
        let mut ledger = everything::learned(&ledger, &world, &leader()).ledger;
        ledger = learn::unit(&ledger, &host, &announcement).ledger;
        ledger = match departs {
            true => learn::departure(&ledger, &rubbisher, &rubbish),
            false => learn::unit(&ledger, &rubbisher, &rubbish),
        }.ledger;
        ledger = learn::unit(&ledger, &minter, &offer).ledger;
        prop_assert_eq!(&ledger.to_databag()["mirror-fresh"], &format!("{TOKEN}fresh"));
    }

    #[test]
    fn a_ledger_of_relations_that_are_all_gone_is_emptied_and_no_other(
        (ledger, world) in past_and_present()
    ) {
        let learned = everything::learned(&ledger, &world, &leader()).ledger;
        let listed: BTreeSet<_> = ledger.relations.keys().collect();
        let is_there = |id: &&RelationId| world.lists(**id);
        if listed.iter().any(is_there) || world.relations.is_empty() {
            prop_assert!(listed.iter().all(|id| learned.relations.contains_key(id)));
        } else if !listed.is_empty() {
            let anew = everything::learned(&ledger.emptied(), &world, &leader()).ledger;
            prop_assert_eq!(learned, anew);
        }
    }

    #[test]
    fn what_the_bags_show_is_a_function_of_the_ledger((ledger, world) in past_and_present()) {
        let plan = looked(&ledger, &world);
        for (id, relation) in &after(&world, &plan).relations {
            let own_app = relation.own_app.as_ref().expect("a leader's");
            let app = difference(own_app, &show::app_bag(&plan.ledger, *id), show::is_ours_in_app_bag);
            prop_assert!(app.is_empty(), "{id}: {app:?}");
            let own_unit = relation.own_unit.as_ref().expect("it was read");
            let shown = show::unit_bag(&plan.ledger, *id);
            for (key, change) in difference(own_unit, &shown, show::is_ours_in_unit_bag) {
                // Where another charm left another real value, the bag keeps it.
                let held = own_unit.get(&key).map(|text| Value::from(text.as_str()));
                let is_anothers = matches!(held, Some(Value::Text(_)))
                    && matches!(change, Change::Set(_))
                    && wire::mirrored(&key).is_some();
                prop_assert!(is_anothers, "{id}: {key} {change:?}");
            }
        }
    }

    #[test]
    fn a_plan_writes_only_what_differs_and_only_its_own_keys((ledger, world) in past_and_present()) {
        let plan = looked(&ledger, &world);
        for (id, writes) in &plan.writes {
            prop_assert!(!writes.is_empty(), "{id} is mentioned for nothing");
            let relation = &world.relations[id];
            let (app, unit) = (relation.own_app.as_ref(), relation.own_unit.as_ref());
            for (key, change) in &writes.app {
                prop_assert!(show::is_ours_in_app_bag(key), "application bag: {key}");
                prop_assert!(makes_a_difference(app.expect("read"), key, change), "{key}");
            }
            for (key, change) in &writes.unit {
                prop_assert!(show::is_ours_in_unit_bag(key), "unit bag: {key}");
                prop_assert!(makes_a_difference(unit.expect("read"), key, change), "{key}");
            }
        }
        let bag = ledger.to_databag();
        for (key, change) in plan.ledger_changes() {
            prop_assert!(makes_a_difference(&bag, &key, &change), "ledger: {key} {change:?}");
        }
    }

    #[test]
    fn an_event_changes_what_the_bags_show_and_nothing_else(
        (ledger, world) in past_and_present(), bag in consumer_bag()
    ) {
        let before = looked(&ledger, &world).ledger;
        let learned = learn::unit(&before, &unit(worlds::APPS[0], 9), &bag);
        let plan = plan::of(&before, learned, None, &Moment::default());
        for (id, listed) in &plan.ledger.relations {
            let writes = plan.writes.get(id).cloned().unwrap_or_default();
            if !listed.is_current {
                prop_assert!(writes.is_empty(), "{id} may not be written");
                continue;
            }
            let mut unit = show::unit_bag(&before, *id);
            wire::apply(&mut unit, &writes.unit);
            prop_assert_eq!(unit, show::unit_bag(&plan.ledger, *id));
            let mut app = show::app_bag(&before, *id);
            wire::apply(&mut app, &writes.app);
            prop_assert_eq!(app, show::app_bag(&plan.ledger, *id));
        }
    }

    #[test]
    fn a_mirror_is_up_only_beside_a_permission((ledger, world) in past_and_present()) {
        let plan = looked(&ledger, &world);
        for relation in after(&world, &plan).relations.values() {
            let app = relation.own_app.as_ref().expect("a leader's");
            if relation.own_unit.as_ref().is_some_and(wire::is_up) {
                prop_assert!(app.contains_key(BOOTSTRAP_APP));
            }
        }
    }

    #[test]
    fn nothing_that_is_printed_shows_a_token((ledger, world) in past_and_present(), bag in consumer_bag()) {
        // The keys of these worlds hold no token, so what shows one is a value.
        let plan = looked(&ledger, &world);
        let status = plan.clone().applied(&[]).status().to_string();
        prop_assert!(!format!("{plan:?} {status}").contains(TOKEN), "{plan:?}");
        let learned = learn::unit(&ledger, &unit(worlds::APPS[0], 9), &bag);
        prop_assert!(!format!("{learned:?}").contains(TOKEN), "{learned:?}");
        let left = learn::departure(&ledger, &unit(worlds::APPS[0], 9), &bag);
        let plan = plan::of(&ledger, left, None, &Moment::default());
        prop_assert!(!format!("{plan:?}").contains(TOKEN), "{plan:?}");
    }

    #[test]
    fn a_standby_writes_only_what_a_standby_may((ledger, relations) in standby()) {
        let own = leader();
        let plan = plan::of_standby(&ledger, &own, &relations);
        for (id, Writes { unit: changes, .. }) in &plan.writes {
            prop_assert!(!changes.is_empty());
            let held = &relations[id].own_unit;
            let led = held.contains_key(MIRROR);
            for (key, change) in changes {
                let allowed = match (key.as_str(), change) {
                    (MIRROR, Change::Set(value)) => value == DOWN && led,
                    (MIRROR, Change::Remove) => false,
                    (GUARD, Change::Set(value)) => value == GUARD_VALUE,
                    (_, Change::Set(_)) => false,
                    (GUARD, Change::Remove) => true,
                    // What it showed goes when another leads.
                    (key, Change::Remove) => {
                        show::is_ours_in_unit_bag(key)
                            && (!led || ledger.is_led_by_another(&own))
                    }
                };
                prop_assert!(allowed, "{key} {change:?}");
                prop_assert!(makes_a_difference(held, key, change));
            }
        }
        let again = plan::of_standby(&ledger, &own, &after_standby(&relations, &plan));
        prop_assert!(again.is_idle(), "{again:?}");
    }

    #[test]
    fn a_standby_goes_down_once_another_leads_and_not_before((ledger, relations) in standby()) {
        let own = leader();
        let plan = plan::of_standby(&ledger, &own, &relations);
        let after = after_standby(&relations, &plan);
        for (id, relation) in &relations {
            if wire::is_up(&relation.own_unit) {
                let stays = !ledger.is_led_by_another(&own);
                prop_assert_eq!(wire::is_up(&after[id].own_unit), stays);
            }
            let mut rest = after[id].own_unit.clone();
            if rest.get(MIRROR).is_some_and(|mirror| mirror == DOWN) && ledger.is_led_by_another(&own) {
                rest.retain(|key, _| show::is_ours_in_unit_bag(key));
                rest.remove(MIRROR);
                rest.remove(GUARD);
                prop_assert!(rest.is_empty(), "a bag that is down keeps {:?}", rest.keys());
            }
        }
    }

    #[test]
    fn a_standby_never_guards_the_application_that_may_bootstrap((ledger, relations) in standby()) {
        // Once there is a cluster a guard only helps.
        let tells = microcluster_token_distributor::core::choose::ledger_shows_cluster;
        if tells(&ledger) {
            return Ok(());
        }
        let option = ledger.options.bootstrap_app.as_deref();
        // The leader may see units where goal-state tells this unit nothing.
        let first = relations.values().find(|relation| relation.has_units != Some(false));
        let first = first.filter(|relation| relation.has_units.is_some());
        let chosen = match &ledger.bootstrap_app {
            Some(chosen) => Some(chosen.as_str()),
            None => choose(option, None, false, &[]).or(first.map(|first| first.app.as_str())),
        };
        let plan = plan::of_standby(&ledger, &leader(), &relations);
        for (id, Writes { unit: changes, .. }) in &plan.writes {
            if chosen.is_none_or(|chosen| chosen == relations[id].app) {
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
    relations: &BTreeMap<RelationId, OwnBag>,
    plan: &Plan,
) -> BTreeMap<RelationId, OwnBag> {
    let mut relations = relations.clone();
    for (id, writes) in &plan.writes {
        let relation = relations.get_mut(id).expect("it exists");
        wire::apply(&mut relation.own_unit, &writes.unit);
    }
    relations
}

fn has_room(bag: &Databag) -> bool {
    let Size { bytes, keys } = Size::of(bag);
    bytes < CAPACITY + (1 << 16) && keys < MOST_KEYS + 100
}

proptest! {
    // Each case moves tens of megabytes.
    #![proptest_config(one_in(64))]

    #[test]
    fn no_plan_fills_a_bag_beyond_what_juju_takes(
        (ledger, mut world) in past_and_present(),
        megabytes in vec((0..20usize, any::<Index>()), 1..4),
        crowd in prop_oneof![2 => Just(0), 1 => 9_000..12_000usize],
    ) {
        let relation = world.relations.entry(RelationId(1)).or_insert_with(|| Relation {
            app: worlds::APPS[0].to_owned(),
            own_app: Some(Databag::new()),
            own_unit: Some(Databag::new()),
            ..Relation::default()
        });
        let many = relation.units.entry(unit(worlds::APPS[0], 5)).or_default();
        many.insert(MIRROR.to_owned(), UP.to_owned());
        many.extend((0..crowd).map(|number| (format!("mirror-c{number}"), "x".to_owned())));
        let all = units(&world).count();
        for (size, who) in &megabytes {
            let mut bags = world.relations.values_mut().flat_map(|r| r.units.values_mut());
            let bag = bags.nth(who.index(all)).expect("in range");
            bag.insert(MIRROR.to_owned(), UP.to_owned());
            bag.remove(MEMBER);
            bag.insert(format!("mirror-{size}"), "x".repeat(size << 20));
        }
        let plan = looked(&ledger, &world);
        prop_assert!(has_room(&plan.ledger.to_databag()));
        let offered = megabytes.iter().map(|(size, _)| size.to_string());
        for name in offered.filter(|name| !plan.ledger.mirror.contains_key(name)) {
            prop_assert!(plan.ledger.left_out.is_some(), "{name} was left out in silence");
        }
        for relation in after(&world, &plan).relations.values() {
            prop_assert!(has_room(relation.own_unit.as_ref().expect("read")));
        }
    }
}

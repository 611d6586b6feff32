//! Laws over the one decision: what is looked at is enough, and nothing is written for nothing.

use std::collections::{BTreeMap, BTreeSet};

use microcluster_token_distributor::core::evidence::{Evidence, Scope, World};
use microcluster_token_distributor::core::ledger::Ledger;
use microcluster_token_distributor::core::names::RelationId;
use microcluster_token_distributor::core::plan::Plan;
use microcluster_token_distributor::core::show;
use microcluster_token_distributor::core::turn::{Facts, Occasion, Turn, turn};
use microcluster_token_distributor::core::wire::{MAY_BOOTSTRAP, MEMBER, MIRROR};
use proptest::prelude::*;

use crate::worlds::{consumer_bag, leader, looked, past_and_present, unit, without_used_tokens};
use crate::{after, one_in};

/// What the hook of a leader writes. Goal-state says nothing.
fn played(ledger: &Ledger, world: &World, occasion: &Occasion) -> Option<Plan> {
    let mut evidence = Evidence {
        leads: Some(true),
        goal: Some(None),
        options: Some(world.options.clone()),
        newcomers: Some(Vec::new()),
        served: Some(BTreeSet::new()),
        ..Evidence::default()
    };
    loop {
        let facts = Facts {
            ledger,
            unit: &leader(),
            occasion,
            evidence: &evidence,
        };
        match turn(&facts) {
            Turn::Nothing => return None,
            Turn::Write(plan) => return Some(*plan),
            Turn::Look(scope) => look(world, ledger, occasion, scope, &mut evidence),
            Turn::Wait(pause) => {
                evidence.now += pause.as_secs();
                evidence.pauses += 1;
            }
            Turn::Refuse(refused) => panic!("{refused:?}"),
        }
    }
}

fn look(
    world: &World,
    ledger: &Ledger,
    occasion: &Occasion,
    scope: Scope,
    evidence: &mut Evidence,
) {
    match scope {
        Scope::Units(units) => {
            for (id, unit) in units {
                let relation = world.relations.get(&id);
                let bag = relation.and_then(|relation| relation.units.get(&unit).cloned());
                assert!(
                    evidence.bags.insert((id, unit), bag).is_none(),
                    "asked twice"
                );
            }
        }
        Scope::Joined(ids) => {
            let joined = |id: RelationId| {
                let relation = world.relations.get(&id)?;
                Some((id, relation.units.keys().cloned().collect()))
            };
            let all: BTreeMap<_, _> = ids.into_iter().filter_map(joined).collect();
            assert!(evidence.joined.replace(all).is_none(), "asked twice");
        }
        Scope::Everything(_) => {
            let mut seen = world.clone();
            seen.in_hook_of = match occasion {
                Occasion::Heard(_, unit) => Some(unit.clone()),
                _ => None,
            };
            evidence.world = Some(seen);
        }
        Scope::NewRelation(new) => {
            let mut seen = world.clone();
            seen.units_were_read = false;
            for (id, relation) in &mut seen.relations {
                relation.units.clear();
                if *id != new && ledger.is_shown_in(*id) {
                    relation.own_app = Some(show::app_bag(ledger, *id));
                    relation.own_unit = Some(show::unit_bag(ledger, *id));
                    relation.siblings.clear();
                }
            }
            evidence.world = Some(seen);
        }
        other => panic!("this is known: {other:?}"),
    }
}

/// A ledger and the world that it was published to.
fn settled(ledger: &Ledger, world: World) -> (Ledger, World) {
    let world = without_used_tokens(ledger, world);
    let plan = looked(ledger, &world);
    let world = after(&world, &plan);
    (plan.ledger, world)
}

proptest! {
    #![proptest_config(one_in(1))]

    #[test]
    fn a_hook_in_which_nothing_happened_writes_nothing((ledger, world) in past_and_present()) {
        let (ledger, world) = settled(&ledger, world);
        let mut occasions = vec![Occasion::Anything];
        if ledger.queue.is_empty() {
            occasions.push(Occasion::LedgerWritten(RelationId(0)));
        }
        for (id, relation) in &world.relations {
            occasions.push(Occasion::Created(*id));
            for (unit, bag) in relation.units.iter().filter(|(unit, _)| !world.is_gone(unit)) {
                // A word that is taken back is news to the unit's own hook alone.
                let says_member = bag.contains_key(MEMBER) || bag.contains_key(MIRROR);
                let mut claims = ledger.hosts.values().flatten();
                if says_member || !claims.any(|claim| claim.unit == *unit && claim.is_member()) {
                    occasions.push(Occasion::Heard(*id, unit.clone()));
                }
            }
        }
        for occasion in occasions {
            let plan = played(&ledger, &world, &occasion);
            if let Some(plan) = plan {
                prop_assert!(plan.is_idle(), "{occasion:?}: {:?}", plan.ledger_changes());
            }
        }
        // It clears tokens that are used and nudges those who wait, once.
        let plan = played(&ledger, &world, &Occasion::UpdateStatus);
        let plan = plan.expect("it compares the status");
        let again = played(&plan.ledger, &after(&world, &plan), &Occasion::UpdateStatus);
        prop_assert!(again.expect("the same").is_idle(), "{:?}", plan.ledger_changes());
    }

    #[test]
    fn after_an_event_a_look_at_everything_writes_nothing_more(
        (ledger, world) in past_and_present(), bag in consumer_bag(), number in 0..12u8,
        departs in any::<bool>()
    ) {
        let mut world = world;
        for relation in world.relations.values_mut() {
            (relation.expected, relation.joined) = (None, None);
        }
        let (ledger, mut world) = settled(&ledger, world);
        let Some(id) = world.relations.keys().next().copied() else { return Ok(()) };
        let relation = world.relations.get_mut(&id).expect("it is there");
        let name = unit(&relation.app, number);
        relation.units.insert(name.clone(), bag);
        let occasion = match departs {
            true => Occasion::Departed(id, name.clone()),
            false => Occasion::Heard(id, name.clone()),
        };
        let plan = played(&ledger, &world, &occasion);
        let now = plan.as_ref().map_or(&ledger, |plan| &plan.ledger);
        let mut then = match &plan {
            Some(plan) => after(&world, plan),
            None => world.clone(),
        };
        if departs {
            then.relations.get_mut(&id).expect("it is there").units.remove(&name);
        }
        // Whatever the hook looked at, the same hook has nothing to do once more.
        let once_more = played(now, &then, &occasion);
        if let Some(plan) = once_more.filter(|_| !departs) {
            prop_assert!(plan.is_idle(), "{occasion:?} once more: {:?}", plan.ledger_changes());
        }
        let again = looked(now, &then);
        prop_assert!(
            again.is_idle(),
            "{occasion:?}: {:?} {:?}", again.ledger_changes(), again.writes
        );
    }

    #[test]
    fn nobody_may_bootstrap_in_any_relation_where_a_cluster_exists(
        (ledger, world) in past_and_present()
    ) {
        let ledger = looked(&ledger, &world).ledger;
        let is_sign = |key: &String, value: &String| {
            let is_real = key.starts_with("mirror-") && value != "empty";
            is_real || key == "communicators" || key.starts_with("host-") && value.contains('*')
        };
        let bag = ledger.to_databag();
        let a_cluster_exists = bag.iter().any(|(key, value)| is_sign(key, value));
        for id in ledger.relations.keys() {
            let shown = show::app_bag(&ledger, *id);
            let may = shown.get(MAY_BOOTSTRAP).map(String::as_str);
            if a_cluster_exists && ledger.bootstrap_app.is_some() {
                prop_assert_eq!(may, Some("false"));
            }
        }
        let may = |id: &&RelationId| {
            let shown = show::app_bag(&ledger, **id);
            shown.get(MAY_BOOTSTRAP).is_some_and(|may| may == "true")
        };
        let current = ledger.relations.iter().filter(|(id, listed)| listed.is_current && may(id));
        let apps: BTreeSet<_> = current.map(|(_, listed)| listed.app.as_str()).collect();
        prop_assert!(apps.len() <= 1, "{apps:?}");
    }
}

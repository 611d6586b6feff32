//! What our bags of each relation show: a function of the ledger and the relation (spec 1), for the
//! leader and for a standby. How it is written, [`crate::life`] knows.

use std::collections::BTreeMap;

use crate::core::choose::{Application, choose, may_bootstrap, needs_guard};
use crate::core::evidence::OwnBag;
use crate::core::ledger::{Ledger, Listed};
use crate::core::names::{RelationId, UnitName};
use crate::core::queue;
use crate::core::wire::{
    self, BOOTSTRAP_APP, DOWN, Databag, GUARD, GUARD_VALUE, MAY_BOOTSTRAP, MIRROR, MIRROR_PREFIX,
    NUDGE, PROTOCOL, SECOND, SPENT_PREFIX, UP, Value,
};

/// The leader's unit bag of a relation.
///
/// `mirror=up` is never shown without `bootstrap-app` in the application bag: the newest consumer,
/// seeing a mirror up and no permission, gives up for good.
pub fn unit_bag(ledger: &Ledger, id: RelationId) -> Databag {
    let mut shows_a_value = false;
    let shown = queue::shown(ledger).inspect(|(_, value)| shows_a_value |= value.is_real());
    let mut bag: Databag = shown
        .map(|(name, value)| (wire::mirror_key(name), value.as_str().to_owned()))
        .collect();
    if ledger.bootstrap_app.is_some() {
        bag.insert(MIRROR.to_owned(), UP.to_owned());
    }
    if let Some(nudge) = &ledger.nudge {
        bag.insert(NUDGE.to_owned(), nudge.clone());
    }
    let spent = ledger.spent.iter();
    bag.extend(spent.map(|(name, prints)| ([SPENT_PREFIX, name].concat(), prints.join(" "))));
    let app = ledger.relations.get(&id).map(|listed| listed.app.as_str());
    if !shows_a_value && app.is_some_and(|app| needs_guard(ledger, app)) {
        bag.insert(GUARD.to_owned(), GUARD_VALUE.to_owned());
    }
    bag
}

/// Our application's bag of a relation.
pub fn app_bag(ledger: &Ledger, id: RelationId) -> Databag {
    let (Some(bootstrap), Some(listed)) = (&ledger.bootstrap_app, ledger.relations.get(&id)) else {
        return Databag::new();
    };
    let may = may_bootstrap(ledger, &listed.app).map(|may| (MAY_BOOTSTRAP, may.to_string()));
    [
        (BOOTSTRAP_APP, bootstrap.clone()),
        (PROTOCOL, SECOND.to_owned()),
    ]
    .into_iter()
    .chain(may)
    .map(|(key, value)| (key.to_owned(), value))
    .collect()
}

/// The unit bag of the standby `unit` in one relation: the guard, and `mirror=down` once another
/// unit leads. A bag that is down keeps nothing but the guard; until another unit has published it
/// keeps all, for consumers neither mint nor join without a mirror that is up.
///
/// `ledger` lists the relation, see [`seen_by_standby`].
pub fn standby_bag(ledger: &Ledger, unit: &UnitName, relation: &OwnBag) -> Databag {
    let held = &relation.own_unit;
    let led = held.contains_key(MIRROR);
    let steps_back = led && ledger.is_led_by_another(unit);
    let mut bag = match led && !steps_back {
        true => held.clone(),
        false => Databag::new(),
    };
    bag.remove(GUARD);
    if steps_back {
        bag.insert(MIRROR.to_owned(), DOWN.to_owned());
    }
    let shows_a_value = wire::mirror_values(&bag).any(|(_, value)| Value::from(value).is_real());
    if !shows_a_value && needs_guard(ledger, &relation.app) {
        bag.insert(GUARD.to_owned(), GUARD_VALUE.to_owned());
    }
    bag
}

/// The ledger with the relations that a standby sees and that no leader has published to yet, and
/// while no application is chosen, with the one that the leader will choose.
///
/// The leader alone sees which units have joined, so nothing can be foreseen where goal-state does
/// not tell whether an earlier application has some.
pub fn seen_by_standby(ledger: &Ledger, relations: &BTreeMap<RelationId, OwnBag>) -> Ledger {
    let mut seen = ledger.clone();
    for (id, relation) in relations {
        seen.relations.insert(*id, Listed::of(&relation.app, true));
        seen.places.insert(relation.app.clone(), relation.place);
    }
    if seen.bootstrap_app.is_none() {
        let known = relations
            .values()
            .take_while(|relation| relation.has_units.is_some());
        let applications = known.map(|relation| Application {
            name: &relation.app,
            has_units: relation.has_units,
            is_up: false,
        });
        let applications: Vec<_> = applications.collect();
        let option = ledger.options.bootstrap_app.as_deref();
        seen.bootstrap_app = choose(option, None, false, &applications).map(str::to_owned);
    }
    seen
}

/// Whether a key of an own unit bag is one that this charm writes.
pub fn is_ours_in_unit_bag(key: &str) -> bool {
    let prefixes = [MIRROR_PREFIX, SPENT_PREFIX];
    [MIRROR, NUDGE, PROTOCOL, MAY_BOOTSTRAP].contains(&key)
        || prefixes.iter().any(|prefix| key.starts_with(prefix))
}

/// Whether a key of an own application bag is one that this charm writes.
pub fn is_ours_in_app_bag(key: &str) -> bool {
    [BOOTSTRAP_APP, PROTOCOL, MAY_BOOTSTRAP].contains(&key)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::ledger::Listed;
    use crate::core::wire::Value;

    fn ledger(bootstrap: Option<&str>, values: &[(&str, &str)]) -> Ledger {
        let listed = |app: &str| Listed::of(app, true);
        Ledger {
            mirror: values
                .iter()
                .map(|(name, value)| ((*name).to_owned(), Value::from(*value)))
                .collect(),
            bootstrap_app: bootstrap.map(str::to_owned),
            relations: [(RelationId(1), listed("a")), (RelationId(2), listed("b"))].into(),
            ..Ledger::default()
        }
    }

    #[test]
    fn the_guard_is_shown_where_nobody_may_bootstrap_and_no_value_tells_it() {
        for (case, ledger, guarded) in [
            ("nobody is chosen", ledger(None, &[]), vec![]),
            ("another is chosen", ledger(Some("a"), &[]), vec![2]),
            (
                "placeholders tell nothing",
                ledger(Some("a"), &[("h", "empty")]),
                vec![2],
            ),
            (
                "a value tells it",
                ledger(Some("a"), &[("h", "token")]),
                vec![],
            ),
        ] {
            let ids = [1, 2].into_iter();
            let shows = |id: &u64| unit_bag(&ledger, RelationId(*id)).contains_key(GUARD);
            assert_eq!(ids.filter(shows).collect::<Vec<_>>(), guarded, "{case}");
        }
    }

    #[test]
    fn a_mirror_is_up_only_beside_a_choice() {
        let id = RelationId(1);
        let undecided = ledger(None, &[("h", "empty")]);
        assert!(!unit_bag(&undecided, id).contains_key(MIRROR));
        assert_eq!(app_bag(&undecided, id), Databag::new());
        let decided = ledger(Some("a"), &[("h", "empty")]);
        assert!(wire::is_up(&unit_bag(&decided, id)));
        assert_eq!(app_bag(&decided, id)[BOOTSTRAP_APP], "a");
    }
}

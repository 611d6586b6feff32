//! What the leader's bags of each relation show: a function of the ledger and the relation (spec 1).

use crate::core::bootstrap::{ledger_shows_cluster, must_not_bootstrap};
use crate::core::ledger::Ledger;
use crate::core::names::RelationId;
use crate::core::queue;
use crate::core::second_protocol;
use crate::core::wire::{
    self, BOOTSTRAP_APP, Databag, GUARD, GUARD_VALUE, MIRROR, MIRROR_PREFIX, NUDGE, UP,
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
    bag.extend(second_protocol::unit_keys(ledger));
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
    let owned = |(key, value): (&str, &str)| (key.to_owned(), value.to_owned());
    second_protocol::application_keys(ledger, &listed.app)
        .map(owned)
        .chain([owned((BOOTSTRAP_APP, bootstrap))])
        .collect()
}

/// Whether a relation whose own bag shows no real value needs the guard (spec 4): another
/// application is chosen, or a cluster exists.
pub fn needs_guard(ledger: &Ledger, app: &str) -> bool {
    ledger_shows_cluster(ledger) || must_not_bootstrap(ledger, app)
}

/// Whether a key of an own unit bag is one that the leader writes.
pub fn is_ours_in_unit_bag(key: &str) -> bool {
    [MIRROR, NUDGE].contains(&key)
        || key.starts_with(MIRROR_PREFIX)
        || second_protocol::is_ours(key)
}

/// Whether a key of an own application bag is one that the leader writes.
pub fn is_ours_in_app_bag(key: &str) -> bool {
    key == BOOTSTRAP_APP || second_protocol::is_ours(key)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::ledger::Listed;
    use crate::core::wire::Value;

    fn ledger(bootstrap: Option<&str>, values: &[(&str, &str)]) -> Ledger {
        let listed = |app: &str| Listed {
            app: app.to_owned(),
            is_current: true,
        };
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

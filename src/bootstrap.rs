//! Which application may bootstrap the cluster: one name, the same in every relation.

use std::collections::BTreeSet;

use crate::databag::{self, BOOTSTRAP_APP, Databag, MIRROR};
use crate::mirror::Mirror;
use crate::snapshot::{Relation, Scope, Snapshot, UnitName, is_cross_model};

/// Chooses the application, by the first of these that applies:
///
/// 1. the option `bootstrap-app`;
/// 2. what an own application bag already says, while that application is related and may have
///    units, or while any sign of a cluster exists: a consumer that has obeyed does not ask again;
/// 3. the application of the `communicator`, a unit whose mirror is up: it has bootstrapped;
/// 4. the application with the lowest relation number that has, or expects, a unit: one without
///    units would never bootstrap, and everybody would wait for it.
///
/// `None`: nobody to choose yet.
pub fn bootstrap_app<'a>(
    facts: &'a Snapshot,
    mirror: &Mirror<'_>,
    communicator: Option<&'a UnitName>,
) -> Option<&'a str> {
    if let Some(configured) = facts.config.bootstrap_app.as_deref() {
        return Some(configured);
    }
    let relations = || facts.relations.values();

    let held = relations().find_map(|relation| relation.own_app.get(BOOTSTRAP_APP));
    if let Some(held) = held {
        let alive = |relation: &Relation| {
            relation.remote_app.as_ref() == Some(held) && !relation.has_no_units()
        };
        // A part of the world cannot show that an application has left.
        let keep = facts.scope == Scope::Part
            || relations().any(alive)
            || mirror.has_any_real()
            || relations().any(shows_a_cluster);
        if keep {
            return Some(held);
        }
    }

    communicator.map(UnitName::app).or_else(|| {
        relations()
            .find(|relation| relation.has_units())
            .and_then(|relation| relation.remote_app.as_deref())
    })
}

fn shows_a_cluster(relation: &Relation) -> bool {
    relation.units.values().any(tells_of_a_cluster)
}

/// Whether this is the bag of a unit that has been communicator: it keeps its `mirror` key and its
/// own tokens for ever.
pub fn tells_of_a_cluster(bag: &Databag) -> bool {
    bag.contains_key(MIRROR) || databag::mirror_of(bag).next().is_some()
}

/// Whether `app` is certainly not the one that may bootstrap. `related` are all related
/// applications. One related across models may be the chosen one under another name, unless the
/// chosen name is that of somebody else.
pub fn must_not_bootstrap(app: &str, bootstrap: &str, related: &BTreeSet<&str>) -> bool {
    app != bootstrap && (!is_cross_model(app) || related.contains(bootstrap))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_an_application_of_another_model_may_be_the_chosen_one_under_another_name() {
        let remote = "remote-0123456789abcdef0123456789abcdef";
        for (app, bootstrap, related, must_not) in [
            ("a", "a", vec!["a"], false),
            ("b", "a", vec!["a", "b"], true),
            ("b", "a", vec!["b"], true),
            (remote, "a", vec![remote], false),
            (remote, "a", vec!["a", remote], true),
            (remote, remote, vec!["a", remote], false),
        ] {
            let related = related.into_iter().collect();
            assert_eq!(
                must_not_bootstrap(app, bootstrap, &related),
                must_not,
                "{app} beside {bootstrap}"
            );
        }
    }
}

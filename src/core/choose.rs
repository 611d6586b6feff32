//! Which application may bootstrap the cluster (spec 4): one name, the same in every relation.

use std::collections::BTreeSet;

use crate::core::evidence::World;
use crate::core::ledger::{Claim, Ledger, Place};
use crate::core::note::Note;
use crate::core::wire::{self, Databag, MEMBER, MIRROR, printable};

/// A related application, as far as the choice needs to know it.
#[derive(Clone, Copy, Debug)]
pub struct Application<'a> {
    /// Its name here.
    pub name: &'a str,
    /// Whether it has a unit, here or expected; `None` where nobody can tell.
    pub has_units: Option<bool>,
    /// Whether a unit of it says `mirror=up`: it has bootstrapped.
    pub is_up: bool,
}

/// Chooses the application, by the first of these that applies:
///
/// 1. the option `bootstrap-app`;
/// 2. the one that was chosen before, while it is related and not known to have no units, or while
///    a cluster exists: a consumer that has obeyed does not ask again;
/// 3. the application of a unit whose mirror is up: it has bootstrapped;
/// 4. the first application, in the order of relation numbers, that has a unit: one without units
///    would never bootstrap, and everybody would wait for it.
///
/// `None`: there is nobody to choose yet.
pub fn choose<'a>(
    option: Option<&'a str>,
    before: Option<&'a str>,
    a_cluster_exists: bool,
    applications: &[Application<'a>],
) -> Option<&'a str> {
    let stays = |chosen: &&str| {
        let mut relations = applications.iter();
        a_cluster_exists || relations.any(|app| app.name == *chosen && app.has_units != Some(false))
    };
    let first = |is_chosen: fn(&Application<'_>) -> bool| {
        let app = applications.iter().find(|app| is_chosen(app));
        app.map(|app| app.name)
    };
    option
        .or(before.filter(stays))
        .or_else(|| first(|app| app.is_up))
        .or_else(|| first(|app| app.has_units == Some(true)))
}

/// Chooses from everything that is to be seen, and says what has changed.
pub fn settle(ledger: &mut Ledger, world: &World) -> Option<Note> {
    let before = ledger.bootstrap_app.clone();
    let served = || world.relations.values();
    if ledger.bootstrap_app.is_none() {
        // The Python charm's choice, or that of a leader whose ledger was emptied.
        let published = served().filter_map(|relation| relation.own_app.as_ref());
        let mut published = published.filter_map(|bag| bag.get(wire::BOOTSTRAP_APP));
        ledger.bootstrap_app = published.next().cloned();
    }
    let chosen = choose(
        world.options.bootstrap_app.as_deref(),
        ledger.bootstrap_app.as_deref(),
        a_cluster_exists(ledger, world),
        &applications(world),
    );
    // A mirror that is up is never to be seen without a choice, and a former leader's may be: it
    // goes down in a hook of its own.
    let mut siblings = served().flat_map(|relation| relation.siblings.values());
    if chosen.is_some() || !siblings.any(wire::is_up) {
        ledger.bootstrap_app = chosen.map(str::to_owned);
    }
    (ledger.bootstrap_app != before).then(|| {
        let app = ledger.bootstrap_app.as_deref().map(printable);
        let app = app.unwrap_or_else(|| "removed, no application can be chosen".to_owned());
        Note::info(format!("bootstrap-app: {app}"))
    })
}

/// The related applications in the order of relation numbers.
pub fn applications(world: &World) -> Vec<Application<'_>> {
    let served = world.relations.iter().map(|(id, relation)| {
        let app = Application {
            name: &relation.app,
            has_units: relation.has_units(),
            is_up: relation.units.values().any(wire::is_up),
        };
        (*id, app)
    });
    let passed_over = world.passed_over.iter().filter_map(|(id, app)| {
        let app = Application {
            name: app.as_deref()?,
            has_units: None,
            is_up: false,
        };
        Some((*id, app))
    });
    let mut applications: Vec<_> = served.chain(passed_over).collect();
    applications.sort_by_key(|(id, _)| *id);
    applications.into_iter().map(|(_, app)| app).collect()
}

/// Whether anything tells that a cluster has been formed.
pub fn a_cluster_exists(ledger: &Ledger, world: &World) -> bool {
    let mut units = world
        .relations
        .values()
        .flat_map(|relation| relation.units.values());
    ledger_shows_cluster(ledger) || units.any(bag_shows_cluster)
}

/// Whether the ledger alone shows that a cluster has been formed.
pub fn ledger_shows_cluster(ledger: &Ledger) -> bool {
    let mut claims = ledger.hosts.values().flatten();
    ledger.has_real_value() || !ledger.communicators.is_empty() || claims.any(Claim::is_member)
}

/// Whether this is the bag of a unit that has been communicator, for such a unit keeps its `mirror`
/// key and its tokens, or of one that says that it is a member.
pub fn bag_shows_cluster(bag: &Databag) -> bool {
    bag.contains_key(MIRROR)
        || bag.contains_key(MEMBER)
        || wire::mirror_values(bag).next().is_some()
}

/// Whether `app` is certainly not the one that may bootstrap: another is chosen. One that may be of
/// another model may be the chosen one under another name, unless that name is somebody's here.
pub fn must_not_bootstrap(ledger: &Ledger, app: &str) -> bool {
    let chosen = ledger.bootstrap_app.as_deref();
    chosen.is_some_and(|chosen| {
        app != chosen && (ledger.place(app) == Place::Here || names_here(ledger).contains(chosen))
    })
}

/// Whether a relation with `app` whose own bag shows no real value needs the guard: another
/// application is chosen, or a cluster exists.
pub fn needs_guard(ledger: &Ledger, app: &str) -> bool {
    ledger_shows_cluster(ledger) || must_not_bootstrap(ledger, app)
}

/// What the application `app` is told: whether it may bootstrap. Nobody may where a cluster exists.
/// `None`: nobody is chosen, or the option names an application that none has here, and of several
/// applications of other models any may have that name there.
pub fn may_bootstrap(ledger: &Ledger, app: &str) -> Option<bool> {
    let chosen = ledger.bootstrap_app.as_deref()?;
    if needs_guard(ledger, app) {
        return Some(false);
    }
    let apps = ledger.apps().into_iter();
    let elsewhere = apps.filter(|app| ledger.place(app) != Place::Here);
    (app == chosen || elsewhere.count() == 1).then_some(true)
}

/// The names that related applications have here. The chosen one is among them, also while its
/// relation is passed over, unless the option gives it: that may be a name in another model.
fn names_here(ledger: &Ledger) -> BTreeSet<&str> {
    let mut names = ledger.apps();
    if ledger.bootstrap_app != ledger.options.bootstrap_app {
        names.extend(ledger.bootstrap_app.as_deref());
    }
    names
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::wire::Value;

    #[test]
    fn the_first_rule_that_applies_chooses() {
        let app = |name, has_units, is_up| Application {
            name,
            has_units,
            is_up,
        };
        let (a, b) = (app("a", Some(true), false), app("b", Some(true), false));
        let gone = app("a", Some(false), false);
        let unknown = app("a", None, false);
        let up = app("b", Some(true), true);
        for (case, option, before, exists, applications, chosen) in [
            ("nobody", None, None, false, vec![], None),
            ("the option", Some("x"), Some("a"), true, vec![a], Some("x")),
            ("it stays", None, Some("b"), false, vec![a, b], Some("b")),
            (
                "its relation is gone",
                None,
                Some("x"),
                false,
                vec![a],
                Some("a"),
            ),
            (
                "it has no units",
                None,
                Some("a"),
                false,
                vec![gone, b],
                Some("b"),
            ),
            (
                "nobody knows its units",
                None,
                Some("a"),
                false,
                vec![unknown, b],
                Some("a"),
            ),
            (
                "a cluster speaks for it",
                None,
                Some("x"),
                true,
                vec![a],
                Some("x"),
            ),
            ("a unit is up", None, None, false, vec![a, up], Some("b")),
            (
                "the first with units",
                None,
                None,
                false,
                vec![gone, b],
                Some("b"),
            ),
            (
                "unknown units are none",
                None,
                None,
                false,
                vec![unknown],
                None,
            ),
        ] {
            assert_eq!(
                choose(option, before, exists, &applications),
                chosen,
                "{case}"
            );
        }
    }

    #[test]
    fn an_application_learns_whether_it_may_bootstrap() {
        // `a` and `b` are of this model, `x` and `y` of others, and nobody knows of `u`.
        for (case, chosen, related, app, may, must_not) in [
            ("it is chosen", "a", "a b", "a", Some(true), false),
            ("another is", "a", "a b", "b", Some(false), true),
            (
                "another that is not related",
                "c",
                "b",
                "b",
                Some(false),
                true,
            ),
            (
                "across models, another is",
                "a",
                "a x",
                "x",
                Some(false),
                true,
            ),
            (
                "across models, it is chosen",
                "x",
                "x y",
                "x",
                Some(true),
                false,
            ),
            (
                "across models, another one is",
                "x",
                "x y",
                "y",
                Some(false),
                true,
            ),
            (
                "it has the chosen name there",
                "c",
                "x",
                "x",
                Some(true),
                false,
            ),
            ("or so it may be", "c", "u", "u", Some(true), false),
            ("it has it, and not b", "c", "b x", "x", Some(true), false),
            (
                "x has it, so b is not chosen",
                "c",
                "b x",
                "b",
                Some(false),
                true,
            ),
            ("one of two has it", "c", "x y", "x", None, false),
            ("one of them, nobody knows", "c", "x u", "x", None, false),
        ] {
            let mut pairs: Vec<(String, &str)> = [
                ("bootstrap-app", chosen),
                ("other-models", "u? x y"),
                (
                    "option-bootstrap-app",
                    if "abxyu".contains(chosen) { "" } else { chosen },
                ),
            ]
            .map(|(key, value)| (key.to_owned(), value))
            .into();
            pairs.extend(
                (1..)
                    .zip(related.split(' '))
                    .map(|(id, app)| (format!("relation-{id}"), app)),
            );
            let ledger: Ledger = pairs
                .into_iter()
                .filter(|(_, value)| !value.is_empty())
                .collect();
            assert_eq!(may_bootstrap(&ledger, app), may, "{case}");
            assert_eq!(must_not_bootstrap(&ledger, app), must_not, "{case}");
            let mut formed = ledger.clone();
            formed.mirror.insert("h".to_owned(), Value::Member);
            assert_eq!(
                may_bootstrap(&formed, app),
                Some(false),
                "{case}, and a cluster exists"
            );
        }
    }
}

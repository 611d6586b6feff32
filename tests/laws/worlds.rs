//! Worlds nobody would think of: any relations, units and databags, hostile text among them.

use std::collections::BTreeMap;

use microcluster_token_distributor::core::everything;
use microcluster_token_distributor::core::evidence::OwnBag;
use microcluster_token_distributor::core::evidence::{Relation, World};
use microcluster_token_distributor::core::fingerprint::fingerprint;
use microcluster_token_distributor::core::ledger::{Ledger, Options, Place};
use microcluster_token_distributor::core::names::{RelationId, UnitName};
use microcluster_token_distributor::core::queue::Moment;
use microcluster_token_distributor::core::wire::{
    self, BOOTSTRAP_APP, Databag, GUARD, GUARD_VALUE, HOSTNAME, MEMBER, MIRROR, NUDGE, PLACEHOLDER,
    PROTOCOL, REFUSED, SECOND, Value,
};
use microcluster_token_distributor::core::{plan, show};
use proptest::collection::{btree_map, btree_set, vec};
use proptest::option::{of, weighted};
use proptest::prelude::*;
use proptest::sample::{select, subsequence};

/// One of another model among them.
pub(crate) const APPS: [&str; 4] = [
    "microovn",
    "microovn-arm64",
    "remote-0123456789abcdef0123456789abcdef",
    "b",
];

/// Every token of these worlds contains this, and nothing else does.
pub(crate) const TOKEN: &str = "token-";

/// Host names, first those that microcluster takes.
const NAMES: [&str; 14] = [
    "h0", "h1", "h2", "node.lan", "0a", "H", "", "42", "--help", "a_b", "-x", "é", "a\nb", "😀",
];

/// Names of mirror keys that no unit here claims.
const FREE_NAMES: [&str; 4] = ["k", "note", "_x", ""];

/// Any characters, the ones that parsers stumble over far more often than chance would have them.
pub(crate) fn text() -> impl Strategy<Value = String> {
    let character = prop_oneof![
        4 => any::<char>(),
        2 => select(" \t\n\r\"'\\{}[]:,#&*!|>%@`?-\u{0}\u{7f}\u{85}\u{2028}\u{feff}\u{ffff}\u{10ffff}"
            .chars().collect::<Vec<_>>()),
        2 => prop::char::range(' ', '~'),
    ];
    vec(character, 1..12).prop_map(String::from_iter)
}

fn name() -> impl Strategy<Value = String> {
    prop_oneof![
        20 => select(&NAMES[..3]).prop_map(str::to_owned),
        8 => select(&NAMES[..]).prop_map(str::to_owned),
        1 => text(),
        1 => Just("x".repeat(300)),
    ]
}

fn token() -> impl Strategy<Value = String> {
    select(vec!["A", "B", "C"]).prop_map(|which| format!("{TOKEN}{which}"))
}

fn value() -> impl Strategy<Value = String> {
    prop_oneof![
        8 => token(),
        1 => text().prop_map(|rubbish| format!("{rubbish}{TOKEN}")),
        1 => select(vec!["null", "yes", "1e3", " empty", "Empty", "retired", "member"])
            .prop_map(str::to_owned),
    ]
}

/// What a unit offers: values for hosts, and anything for names that are no host's.
fn offers() -> impl Strategy<Value = Databag> {
    let of_hosts = btree_map(name(), value(), 0..3);
    let free = prop_oneof![2 => Just(PLACEHOLDER.to_owned()), 1 => value()];
    let of_nobody = btree_map(select(&FREE_NAMES[..]).prop_map(str::to_owned), free, 0..2);
    let strangers = btree_map(
        select(vec![GUARD, "mirror_x", "xmirror-y", "Mirror-h0"]).prop_map(str::to_owned),
        value(),
        0..2,
    );
    (of_hosts, of_nobody, weighted(0.1, strangers)).prop_map(|(hosts, nobody, strangers)| {
        let both = nobody.into_iter().chain(hosts);
        let keys = both.map(|(name, value)| (format!("mirror-{name}"), value));
        keys.chain(strangers.into_iter().flatten()).collect()
    })
}

fn mirror_state() -> impl Strategy<Value = Option<String>> {
    let state = prop_oneof![
        6 => Just("up".to_owned()),
        3 => Just("down".to_owned()),
        1 => select(vec!["UP", "up ", "true"]).prop_map(str::to_owned),
    ];
    weighted(0.4, state)
}

/// What a consumer unit may have written.
pub(crate) fn consumer_bag() -> impl Strategy<Value = Databag> {
    let others = btree_map(
        select(vec!["ingress-address", "hosts", NUDGE, BOOTSTRAP_APP]).prop_map(str::to_owned),
        text(),
        0..2,
    );
    let refused = weighted(0.2, token().prop_map(|token| fingerprint(&token)));
    let second = (any::<bool>(), weighted(0.15, name()), refused);
    (
        weighted(0.8, name()),
        mirror_state(),
        offers(),
        others,
        second,
    )
        .prop_map(
            |(hostname, mirror, keys, mut bag, (speaks, member, refused))| {
                bag.extend(keys);
                let mut set = |key: &str, value: Option<String>| {
                    // Juju has no empty values.
                    let value = value.filter(|value| !value.is_empty());
                    bag.extend(value.map(|value| (key.to_owned(), value)));
                };
                set(HOSTNAME, hostname);
                set(MIRROR, mirror);
                set(PROTOCOL, speaks.then(|| SECOND.to_owned()));
                set(MEMBER, member);
                set(REFUSED, refused);
                bag
            },
        )
}

fn app_name() -> impl Strategy<Value = String> {
    select(vec![APPS[0], APPS[1], APPS[2], "gone"]).prop_map(str::to_owned)
}

fn own_app_bag() -> impl Strategy<Value = Databag> {
    (weighted(0.6, app_name()), weighted(0.05, text())).prop_map(|(bootstrap, stranger)| {
        let bootstrap = bootstrap.map(|app| (BOOTSTRAP_APP.to_owned(), app));
        let stranger = stranger.map(|value| ("written-by-a-later-release".to_owned(), value));
        bootstrap.into_iter().chain(stranger).collect()
    })
}

/// What one of our units may show, the Python charm's among it.
fn own_unit_bag() -> impl Strategy<Value = Databag> {
    (
        btree_map(
            name(),
            prop_oneof![Just(PLACEHOLDER.to_owned()), value()],
            0..4,
        ),
        mirror_state(),
        of(app_name()),
        weighted(0.2, Just("3 1 1000 00000000000000ff".to_owned())),
        weighted(0.2, Just(GUARD_VALUE.to_owned())),
    )
        .prop_map(|(names, mirror, bootstrap, nudge, guard)| {
            let names = names.into_iter();
            let mut bag: Databag = names
                .map(|(name, value)| (format!("mirror-{name}"), value))
                .collect();
            bag.extend(mirror.map(|mirror| (MIRROR.to_owned(), mirror)));
            bag.extend(bootstrap.map(|app| (BOOTSTRAP_APP.to_owned(), app)));
            bag.extend(nudge.map(|nudge| (NUDGE.to_owned(), nudge)));
            bag.extend(guard.map(|guard| (GUARD.to_owned(), guard)));
            bag
        })
}

pub(crate) fn unit(app: &str, number: impl std::fmt::Display) -> UnitName {
    format!("{app}/{number}").parse().expect("a unit name")
}

/// The distributor unit that looks.
pub(crate) fn leader() -> UnitName {
    unit("distributor", 1)
}

/// Numbers of one and of two digits, because text sorts them otherwise.
fn numbers() -> impl Strategy<Value = u8> {
    select(vec![0, 1, 2, 9, 10, 11])
}

/// Goal-state lists no application of another model, and now and then not another one either.
fn place(app: &str) -> impl Strategy<Value = Place> + use<> {
    let others = match app == APPS[2] {
        true => vec![Place::Elsewhere],
        false => vec![
            Place::Here,
            Place::Here,
            Place::Here,
            Place::Elsewhere,
            Place::Unknown,
        ],
    };
    select(others)
}

fn relation(app: &'static str) -> impl Strategy<Value = Relation> {
    (
        btree_map(numbers(), consumer_bag(), 0..4),
        of(btree_set(numbers(), 0..4)),
        own_app_bag(),
        own_unit_bag(),
        btree_map(select(vec![0, 2]), own_unit_bag(), 0..2),
        any::<bool>(),
        place(app),
    )
        .prop_map(
            move |(units, expected, own_app, own_unit, siblings, is_list_known, place)| Relation {
                app: app.to_owned(),
                place,
                joined: is_list_known
                    .then(|| units.keys().map(|number| unit(app, number)).collect()),
                units: units
                    .into_iter()
                    .map(|(number, bag)| (unit(app, number), bag))
                    .collect(),
                // Goal-state never knows an application of another model.
                expected: expected.filter(|_| app != APPS[2]).map(|expected| {
                    let numbers = expected.into_iter();
                    numbers.map(|number| unit(app, number)).collect()
                }),
                own_app: Some(own_app),
                own_unit: Some(own_unit),
                siblings: siblings
                    .into_iter()
                    .map(|(number, bag)| (unit("distributor", number), bag))
                    .collect(),
            },
        )
}

/// Relation numbers with their applications. The later ones are those of relations made anew.
const RELATIONS: [(u64, &str); 6] = [
    (1, APPS[0]),
    (9, APPS[1]),
    (10, APPS[2]),
    (11, APPS[3]),
    (12, APPS[0]),
    (13, APPS[1]),
];

/// Everything that a leader may come to see at once.
pub(crate) fn world() -> impl Strategy<Value = World> {
    let relations = prop_oneof![
        7 => subsequence(&RELATIONS[..4], 0..4),
        1 => subsequence(&RELATIONS[2..], 0..3),
    ];
    let relations = relations.prop_flat_map(|relations| -> Vec<_> {
        let relations = relations.into_iter();
        relations
            .map(|(id, app)| (Just(RelationId(id)), relation(app)))
            .collect()
    });
    let options = (weighted(0.15, app_name()), weighted(0.1, text()));
    (relations, options, weighted(0.15, 0..4usize)).prop_map(
        |(relations, (bootstrap_app, log_level), unserved)| {
            let mut world = World {
                relations: relations.into_iter().collect(),
                options: Options {
                    bootstrap_app,
                    log_level,
                },
                units_were_read: true,
                siblings_are_news: true,
                ..World::default()
            };
            if let Some((id, app)) = unserved.map(|at| RELATIONS[at]) {
                world.relations.remove(&RelationId(id));
                world
                    .passed_over
                    .insert(RelationId(id), Some(app.to_owned()));
            }
            world
        },
    )
}

/// What a leader remembers and what it then sees. Some of its bags are as it left them, some as
/// another charm did.
pub(crate) fn past_and_present() -> impl Strategy<Value = (Ledger, World)> {
    let past = weighted(0.8, world());
    (past, world(), vec(weighted(0.3, Just(())), 6)).prop_map(|(past, mut world, foreign)| {
        let Some(past) = past else {
            return (Ledger::default(), world);
        };
        let ledger = looked(&Ledger::default(), &past).ledger;
        for ((id, relation), foreign) in world.relations.iter_mut().zip(foreign) {
            if foreign.is_none() && ledger.is_shown_in(*id) {
                relation.own_unit = Some(show::unit_bag(&ledger, *id));
                relation.own_app = Some(show::app_bag(&ledger, *id));
            }
        }
        (ledger, world)
    })
}

/// The world without tokens that hosts have used, in bags that nobody has cleared: the ledger has
/// forgotten such a token, and takes it for a new one once another unit has the name.
pub(crate) fn without_used_tokens(ledger: &Ledger, mut world: World) -> World {
    for relation in world.relations.values_mut() {
        let siblings = relation.siblings.values_mut();
        for bag in siblings.chain(relation.units.values_mut()) {
            bag.retain(|key, _| {
                let held = wire::mirrored(key).and_then(|name| ledger.mirror.get(name));
                !matches!(held, Some(Value::Member | Value::Retired))
            });
        }
    }
    world
}

/// What the leader does when it looks at everything.
pub(crate) fn looked(ledger: &Ledger, world: &World) -> plan::Plan {
    let learned = everything::learned(ledger, world, &leader());
    plan::of(ledger, learned, Some(world), &Moment::default())
}

/// What a standby remembers and sees.
pub(crate) fn standby() -> impl Strategy<Value = (Ledger, BTreeMap<RelationId, OwnBag>)> {
    let known = vec((own_unit_bag(), of(any::<bool>())), 0..4);
    (past_and_present(), known).prop_map(|((ledger, _), known)| {
        let numbered = known.into_iter().zip(RELATIONS);
        let relations = numbered.map(|((own_unit, has_units), (id, app))| {
            let relation = OwnBag {
                app: app.to_owned(),
                place: match app == APPS[2] {
                    true => Place::Elsewhere,
                    false => Place::Here,
                },
                has_units,
                own_unit,
            };
            (RelationId(id), relation)
        });
        (ledger, relations.collect())
    })
}

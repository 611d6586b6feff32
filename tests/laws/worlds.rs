//! Worlds nobody would think of: any relations, units and databags, hostile text among them.

use std::collections::BTreeMap;

use microcluster_token_distributor::databag::{
    BOOTSTRAP_APP, Databag, GUARD, GUARD_VALUE, HOSTNAME, HOSTS, MIRROR, NUDGE, PLACEHOLDER,
};
use microcluster_token_distributor::snapshot::{
    Config, Departed, Relation, RelationId, Scope, Snapshot, UnitName,
};
use microcluster_token_distributor::standby::StandbyRelation;
use proptest::collection::{btree_map, btree_set, vec};
use proptest::option::{of, weighted};
use proptest::prelude::*;
use proptest::sample::{Index, select, subsequence};

/// One of another model among them.
pub(crate) const APPS: [&str; 4] = [
    "microovn",
    "microovn-arm64",
    "remote-0123456789abcdef0123456789abcdef",
    "b",
];

/// Every token of these worlds contains this, and nothing else does.
pub(crate) const TOKEN: &str = "token-";

const NAMES: [&str; 14] = [
    "h0", "h1", "h2", "node.lan", "0a", "H", "", "42", "--help", "a_b", "-x", "é", "a\nb", "😀",
];

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

fn value() -> impl Strategy<Value = String> {
    prop_oneof![
        4 => Just(PLACEHOLDER.to_owned()),
        6 => select(vec!["A", "B", "C"]).prop_map(|which| format!("{TOKEN}{which}")),
        1 => text().prop_map(|rubbish| format!("{rubbish}{TOKEN}")),
        1 => select(vec!["null", "yes", "1e3", " empty", "Empty", "retired"]).prop_map(str::to_owned),
    ]
}

fn mirror_keys() -> impl Strategy<Value = Databag> {
    let key = prop_oneof![
        30 => name().prop_map(|name| format!("mirror-{name}")),
        1 => select(vec![GUARD, "mirror_x", "xmirror-y", "Mirror-h0"]).prop_map(str::to_owned),
    ];
    btree_map(key, value(), 0..4)
}

fn mirror_state() -> impl Strategy<Value = Option<String>> {
    let state = prop_oneof![
        6 => Just("up".to_owned()),
        3 => Just("down".to_owned()),
        1 => select(vec!["UP", "up ", "true"]).prop_map(str::to_owned),
    ];
    weighted(0.6, state)
}

/// What a consumer unit may have written.
pub(crate) fn consumer_bag() -> impl Strategy<Value = Databag> {
    let others = btree_map(
        select(vec!["ingress-address", HOSTS, NUDGE, BOOTSTRAP_APP]).prop_map(str::to_owned),
        text(),
        0..2,
    );
    (weighted(0.8, name()), mirror_state(), mirror_keys(), others).prop_map(
        |(hostname, mirror, keys, mut bag)| {
            bag.extend(keys);
            let hostname = hostname.filter(|hostname| !hostname.is_empty());
            bag.extend(hostname.map(|hostname| (HOSTNAME.to_owned(), hostname)));
            bag.extend(mirror.map(|mirror| (MIRROR.to_owned(), mirror)));
            bag
        },
    )
}

fn app_name() -> impl Strategy<Value = String> {
    select(vec![APPS[0], APPS[1], APPS[2], "gone"]).prop_map(str::to_owned)
}

fn hosts_text() -> impl Strategy<Value = String> {
    let unit = (select(&APPS[..]), 0..4u8).prop_map(|(app, number)| format!("{app}/{number}"));
    let hosts = btree_map(name(), vec(unit, 1..3), 1..4).prop_map(|hosts| {
        let joined: BTreeMap<_, _> = hosts
            .into_iter()
            .map(|(name, units)| (name, units.join(" ")))
            .collect();
        serde_json::to_string(&joined).expect("strings are JSON")
    });
    prop_oneof![
        8 => hosts,
        1 => text(),
        1 => select(vec!["{}", "[1]", "{\"h0\":1}", "{\"h0\":\"nobody\"}"]).prop_map(str::to_owned),
    ]
}

fn own_app_bag() -> impl Strategy<Value = Databag> {
    (
        mirror_keys(),
        weighted(0.6, app_name()),
        weighted(0.5, hosts_text()),
        weighted(0.05, text()),
    )
        .prop_map(|(mut bag, bootstrap, hosts, stranger)| {
            bag.remove(GUARD);
            bag.extend(bootstrap.map(|app| (BOOTSTRAP_APP.to_owned(), app)));
            bag.extend(hosts.map(|hosts| (HOSTS.to_owned(), hosts)));
            bag.extend(stranger.map(|value| ("written-by-a-later-release".to_owned(), value)));
            bag
        })
}

fn own_unit_bag() -> impl Strategy<Value = Databag> {
    (
        mirror_keys(),
        mirror_state(),
        of(app_name()),
        weighted(0.2, Just("3 1 1000 00000000000000ff".to_owned())),
        weighted(0.2, Just(GUARD_VALUE.to_owned())),
    )
        .prop_map(|(mut bag, mirror, bootstrap, nudge, guard)| {
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

/// Numbers of one and of two digits, because text sorts them otherwise.
fn numbers() -> impl Strategy<Value = u8> {
    select(vec![0, 1, 2, 9, 10, 11])
}

fn relation(app: &'static str) -> impl Strategy<Value = Relation> {
    (
        btree_map(numbers(), consumer_bag(), 0..4),
        of(btree_set(numbers(), 0..4)),
        own_app_bag(),
        own_unit_bag(),
    )
        .prop_map(move |(units, expected, own_app, own_unit)| Relation {
            remote_app: Some(app.to_owned()),
            units: units
                .into_iter()
                .map(|(number, bag)| (unit(app, number), bag))
                .collect(),
            expected: expected.map(|expected| {
                let numbers = expected.into_iter();
                numbers.map(|number| unit(app, number)).collect()
            }),
            own_app,
            own_unit: Some(own_unit),
        })
}

/// Everything a leader may come to see at once.
pub(crate) fn whole() -> impl Strategy<Value = Snapshot> {
    let ids = btree_set(select(vec![1, 2, 9, 10, 11]), 0..4);
    let relations = (ids, subsequence(&APPS[..], APPS.len()).prop_shuffle()).prop_flat_map(
        |(ids, apps)| -> Vec<_> {
            ids.into_iter()
                .zip(apps)
                .map(|(id, app)| (Just(RelationId(id)), relation(app)))
                .collect()
        },
    );
    let config = (weighted(0.15, app_name()), weighted(0.1, text()));
    let departed = weighted(0.3, (any::<Index>(), numbers(), consumer_bag()));
    (relations, config, departed).prop_map(|(relations, (bootstrap_app, log_level), departed)| {
        let mut facts = Snapshot {
            relations: relations.into_iter().collect(),
            config: Config {
                bootstrap_app,
                log_level,
            },
            ..Snapshot::default()
        };
        if let Some((index, number, bag)) = departed.filter(|_| !facts.relations.is_empty()) {
            let at = index.index(facts.relations.len());
            let relation = facts.relations.values_mut().nth(at).expect("in range");
            let app = relation.remote_app.as_deref().expect("all have one");
            let unit = unit(app, number);
            relation.units.remove(&unit);
            if let Some(expected) = &mut relation.expected {
                expected.remove(&unit);
            }
            facts.departed = Some(Departed { unit, bag });
        }
        facts
    })
}

/// What a hook about one unit shows, once our own bags were read as well.
pub(crate) fn part() -> impl Strategy<Value = Snapshot> {
    (whole(), any::<Index>(), any::<Index>()).prop_map(|(mut facts, about, who)| {
        facts.scope = Scope::Part;
        let about = (!facts.relations.is_empty()).then(|| about.index(facts.relations.len()));
        let departed = facts
            .departed
            .as_ref()
            .map(|departed| departed.unit.app().to_owned());
        for (at, relation) in facts.relations.values_mut().enumerate() {
            relation.expected = None;
            let here = match &departed {
                Some(app) => relation.remote_app.as_ref() == Some(app),
                None => Some(at) == about,
            };
            if !here {
                relation.remote_app = None;
            }
            let one = (here && departed.is_none() && !relation.units.is_empty())
                .then(|| who.index(relation.units.len()));
            let units = std::mem::take(&mut relation.units);
            relation.units = units
                .into_iter()
                .enumerate()
                .filter(|(at, _)| Some(*at) == one)
                .map(|(_, unit)| unit)
                .collect();
        }
        facts
    })
}

/// Everything a standby may come to see, and the option.
pub(crate) fn standby()
-> impl Strategy<Value = (BTreeMap<RelationId, StandbyRelation>, Option<String>)> {
    let relation = (own_unit_bag(), vec(own_unit_bag(), 0..3), any::<bool>());
    let relations = vec(relation, 0..4).prop_map(|relations| {
        let numbered = relations.into_iter().zip(APPS).zip(1..);
        numbered
            .map(|(((own_unit, siblings, has_units), app), id)| {
                let relation = StandbyRelation {
                    remote_app: Some(app.to_owned()),
                    has_units,
                    own_unit,
                    siblings,
                };
                (RelationId(id), relation)
            })
            .collect()
    });
    (relations, weighted(0.2, app_name()))
}

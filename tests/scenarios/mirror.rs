//! What consumers say comes out of the mirror byte for byte.

use std::collections::BTreeSet;

use juju_emulator::deployment::Provider;
use juju_emulator::recorded::recorded_documents;

use crate::stage::{BOTH, LEADER, Stage};

/// Everything that was recorded of Juju's parser as safe to write.
fn safe_values() -> Vec<String> {
    let documents = recorded_documents().into_iter();
    let safe = documents.filter(|document| document.name.starts_with("safe-"));
    let values: Vec<String> = safe.filter_map(|document| document.original).collect();
    assert!(values.len() > 40, "only {} safe values", values.len());
    values
}

/// A communicator says `pairs`; the ledger and our unit bag must say the same.
fn come_out_as_they_went_in(pairs: &[(String, String)]) {
    for juju in BOTH {
        let mut stage = Stage::new(juju, 1).related("microovn", 1);
        let said = pairs
            .iter()
            .map(|(key, value)| (key.as_str(), value.as_str()));
        let said: Vec<(&str, &str)> = said.chain([("mirror", "up")]).collect();
        stage.says("microovn/0", &said);
        let stage = stage.played_by(&Provider::Executable);
        for bag in [stage.ledger(), stage.shown(LEADER, "microovn")] {
            for (key, value) in pairs {
                assert_eq!(bag.get(key), Some(value), "{juju:?}: {key:?}");
            }
        }
    }
}

#[test]
fn safe_values_come_out_as_they_went_in() {
    // Juju has no empty values.
    let values = safe_values().into_iter().filter(|value| !value.is_empty());
    let numbered = values.enumerate();
    let pairs: Vec<_> = numbered
        .map(|(at, value)| (format!("mirror-{at}"), value))
        .collect();
    come_out_as_they_went_in(&pairs);
}

#[test]
fn hostile_keys_come_out_as_they_went_in() {
    let mut keys: BTreeSet<String> = safe_values().into_iter().collect();
    keys.retain(|key| key.len() < 10_000);
    // As encoded, these are around the longest that Juju takes without a mark, and far beyond.
    for length in [1000, 1013, 1014, 1015, 1021, 1022, 1023, 1024, 5000, 70_000] {
        keys.insert("k".repeat(length));
    }
    for (text, times) in [
        ("é", 169),
        ("é", 170),
        ("é", 171),
        ("😀", 300),
        ("\u{1}", 500),
        ("\"", 600),
    ] {
        keys.insert(text.repeat(times));
    }
    for text in [
        "", " ", ":", "? ", "# x", "{", "- ", "&a", "*a", "<<", "null", "~", "a: b", "\u{85}",
        "\u{2028}", "\u{feff}",
    ] {
        keys.insert(text.to_owned());
    }
    let pairs: Vec<_> = keys
        .into_iter()
        .map(|key| (format!("mirror-{key}"), "value".to_owned()))
        .collect();
    come_out_as_they_went_in(&pairs);
}

#[test]
fn a_value_that_comes_later_takes_the_same_way() {
    let mut stage = Stage::new(BOTH[1], 1).related("microovn", 2);
    stage.says("microovn/1", &[("hostname", "h1")]);
    let mut stage = stage.played_by(&Provider::Executable);
    stage.says(
        "microovn/0",
        &[("mirror", "up"), ("mirror-h1", "a\u{7f}\n\"😀\u{85} ")],
    );
    let value = "a\u{7f}\n\"😀\u{85} ";
    stage.changed("microovn/0").succeeds().wrote(&[
        &format!("mtd/0 to microovn: mirror-h1={value}"),
        "the ledger: communicators=microovn/0",
        "the ledger: let-in=h1",
        &format!("the ledger: mirror-h1={value}"),
        "mtd to microovn: may-bootstrap=false",
    ]);
}

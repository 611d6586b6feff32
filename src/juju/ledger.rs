//! The ledger as Juju prints its databag. It is made of that very text: with an entry for each
//! host, a databag in between would cost as much again.

use std::borrow::Cow;
use std::fmt;
use std::iter;

use serde::Deserialize;
use serde::de::{Deserializer, MapAccess, Visitor};

use crate::core::ledger::Ledger;

impl<'de> Deserialize<'de> for Ledger {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(Entries)
    }
}

struct Entries;

impl<'de> Visitor<'de> for Entries {
    type Value = Ledger;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a databag")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut bag: A) -> Result<Ledger, A::Error> {
        let entries = iter::from_fn(|| bag.next_entry::<Text<'_>, Text<'_>>().transpose());
        entries.collect()
    }
}

/// A key or a value, borrowed where it is printed without escapes.
#[derive(Deserialize)]
struct Text<'a>(#[serde(borrow)] Cow<'a, str>);

impl AsRef<str> for Text<'_> {
    fn as_ref(&self) -> &str {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::wire::{Databag, Value};

    #[test]
    fn a_ledger_is_read_as_its_databag_is() {
        let printed =
            r#"{"host-h0":"m/0*","leader":"d/1 7","mirror-h0":"member","mirror-\u00e9\"":"a\\b"}"#;
        let ledger: Ledger = serde_json::from_str(printed).expect("a databag");
        let bag: Databag = serde_json::from_str(printed).expect("a databag");
        assert_eq!(ledger, Ledger::from(bag));
        assert_eq!(ledger.mirror["é\""], Value::from("a\\b"));
    }

    #[test]
    fn what_is_no_databag_is_refused_where_it_is_none() {
        for printed in [
            "null",
            "[]",
            "{\"a\":1}",
            "{\"a\":\"b\"",
            "{\"a\":\"b\"}x",
            "{1:\"b\"}",
        ] {
            let place = |error: serde_json::Error| (error.line(), error.column());
            let ledger = serde_json::from_str::<Ledger>(printed).map_err(place);
            let bag = serde_json::from_str::<Databag>(printed).map_err(place);
            assert!(ledger.is_err(), "{printed}");
            assert_eq!(ledger.err(), bag.err(), "{printed}");
        }
    }
}

//! Databag changes as the document that `relation-set --file -` reads.
//!
//! Juju reads the document with a YAML parser of 2018 that refuses, or silently changes, much of
//! what a JSON library writes. Safe is a JSON object with quoted keys and values in which
//! everything outside printable ASCII is escaped as `\u` and four digits, but characters above
//! U+FFFF are written raw, because a pair of surrogate escapes is refused.

use crate::core::wire::{Change, Changes};

/// Longer quoted keys, as encoded, are refused unless `?` introduces them. Two quotes and the space
/// before the colon make 1024, which is as far as Juju's parser looks for that colon.
const LONGEST_PLAIN_KEY: usize = 1021;

/// Writes the document. A removed key has the empty value: `relation-set` merges, so a key that is
/// not mentioned stays, and only an empty value takes it away.
pub fn encode(changes: &Changes) -> String {
    let entries = || changes.iter().map(|(key, change)| (key, text(change)));
    let sizes = entries().map(|(key, value)| key.len() + value.len() + 8);
    let mut document = String::with_capacity(sizes.sum());
    document.push('{');
    for (key, value) in entries() {
        if document.len() > 1 {
            document.push(',');
        }
        let start = document.len();
        push_quoted(&mut document, key);
        // Every encoded byte but the two quotes counts; Juju's parser counts characters and allows
        // more, but it takes the mark before any key.
        if document.len() - start - 2 > LONGEST_PLAIN_KEY {
            document.insert_str(start, "? ");
        }
        document.push_str(" : ");
        push_quoted(&mut document, value);
    }
    document.push('}');
    document
}

fn text(change: &Change) -> &str {
    match change {
        Change::Set(value) => value,
        Change::Remove => "",
    }
}

fn push_quoted(document: &mut String, text: &str) {
    document.push('"');
    let mut rest = text;
    // Tokens are plain ASCII, so whole runs are copied.
    while let Some(at) = rest.find(|character| !is_plain(character)) {
        document.push_str(&rest[..at]);
        let character = rest[at..].chars().next().unwrap_or_default();
        match character {
            '"' | '\\' => document.extend(['\\', character]),
            _ => document.push_str(&format!("\\u{:04x}", u32::from(character))),
        }
        rest = &rest[at + character.len_utf8()..];
    }
    document.push_str(rest);
    document.push('"');
}

fn is_plain(character: char) -> bool {
    match character {
        '"' | '\\' => false,
        ' '..='~' => true,
        // The end of the range aside, these pass raw, and only raw.
        _ => character > '\u{ffff}',
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn encoded(key: &str, value: &str) -> String {
        encode(&Changes::from([(
            key.to_owned(),
            Change::Set(value.to_owned()),
        )]))
    }

    #[test]
    fn everything_but_printable_ascii_is_escaped() {
        for (value, document) in [
            ("plain", r#"{"k" : "plain"}"#),
            ("null", r#"{"k" : "null"}"#),
            ("a\"b\\c/", r#"{"k" : "a\"b\\c/"}"#),
            ("\u{0}\t\n\u{7f}", r#"{"k" : "\u0000\u0009\u000a\u007f"}"#),
            (
                "\u{85}é\u{2028}\u{ffff}",
                r#"{"k" : "\u0085\u00e9\u2028\uffff"}"#,
            ),
            ("😀", "{\"k\" : \"😀\"}"),
        ] {
            assert_eq!(encoded("k", value), document, "{value:?}");
        }
    }

    #[test]
    fn a_long_key_is_introduced() {
        for (key, introduced) in [
            ("k".repeat(1021), false),
            ("k".repeat(1022), true),
            ("é".repeat(170), false),
            ("é".repeat(171), true),
            ("😀".repeat(255), false),
            ("😀".repeat(256), true),
        ] {
            assert_eq!(
                encoded(&key, "v").starts_with("{? "),
                introduced,
                "{}",
                key.len()
            );
        }
    }

    #[test]
    fn a_removed_key_gets_the_empty_value() {
        let changes = Changes::from([
            ("a".to_owned(), Change::Remove),
            ("b".to_owned(), Change::Set("1".to_owned())),
        ]);
        assert_eq!(encode(&changes), r#"{"a" : "","b" : "1"}"#);
        assert_eq!(encode(&Changes::new()), "{}");
    }
}

//! The wire: every key and every special value that stands in a databag.
//!
//! Nothing here reads or writes a databag. It says what the texts in one mean.

use std::collections::BTreeMap;
use std::fmt;
use std::ops::Bound;

/// One databag: what `relation-get --format=json` prints. Juju has no empty values.
pub type Databag = BTreeMap<String, String>;

/// Own and consumer unit bags: whether this unit's mirror is to be read ([`UP`]) or not ([`DOWN`]).
pub const MIRROR: &str = "mirror";
/// The value of [`MIRROR`] that consumers and this charm read.
pub const UP: &str = "up";
/// The value of [`MIRROR`] of a unit that once said [`UP`].
pub const DOWN: &str = "down";
/// Every mirror key begins with exactly this; the bare prefix counts as a key.
pub const MIRROR_PREFIX: &str = "mirror-";
/// A mirror key's value that means "please mint a token".
pub const PLACEHOLDER: &str = "empty";
/// The constant under the name of a host that is in the cluster.
pub const MEMBER_VALUE: &str = "member";
/// The constant that `retire-host` puts where a token was.
pub const RETIRED: &str = "retired";
/// Own application bags and the ledger: the one application that may bootstrap.
pub const BOOTSTRAP_APP: &str = "bootstrap-app";
/// Consumer unit bags: the host's kernel name.
pub const HOSTNAME: &str = "hostname";
/// Own unit bags: changed to make consumers act again, see [`crate::core::nudge`].
pub const NUDGE: &str = "nudge";
/// Own unit bags: keeps an application that must not bootstrap from doing so.
///
/// The released consumer ignores [`BOOTSTRAP_APP`], but does not bootstrap once it sees any mirror
/// value. An underscore cannot stand in a host name, so nobody mints or joins by this key.
pub const GUARD: &str = "mirror-_bootstraps-elsewhere";
/// The value of [`GUARD`]: anything but [`PLACEHOLDER`].
pub const GUARD_VALUE: &str = "true";

/// Second protocol, own application bags and consumer unit bags: [`SECOND`].
pub const PROTOCOL: &str = "protocol";
/// The value of [`PROTOCOL`] that this charm writes and looks for.
pub const SECOND: &str = "2";
/// Second protocol, own application bags: `true` or `false`.
pub const MAY_BOOTSTRAP: &str = "may-bootstrap";
/// Second protocol, own unit bags: `spent-<hostname>`, fingerprints separated by spaces.
pub const SPENT_PREFIX: &str = "spent-";
/// Second protocol, consumer unit bags: the name under which this unit is in the cluster.
pub const MEMBER: &str = "member";
/// Second protocol, consumer unit bags: the fingerprint of the token that did not serve.
pub const REFUSED: &str = "refused";

/// The value of a mirror key.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Value {
    /// [`PLACEHOLDER`]: no value yet.
    Placeholder,
    /// [`MEMBER_VALUE`]: the host is in the cluster and needs no token.
    Member,
    /// [`RETIRED`]: an operator took the token away.
    Retired,
    /// What a consumer wrote, byte for byte: a token, or free text under a key that is no host's.
    Text(String),
}

impl Value {
    /// The text in a databag.
    pub fn as_str(&self) -> &str {
        match self {
            Value::Placeholder => PLACEHOLDER,
            Value::Member => MEMBER_VALUE,
            Value::Retired => RETIRED,
            Value::Text(text) => text,
        }
    }

    /// Whether consumers take it for a value: it is more than a request to mint one.
    pub fn is_real(&self) -> bool {
        *self != Value::Placeholder
    }

    /// The text that a consumer wrote.
    pub fn text(&self) -> Option<&str> {
        match self {
            Value::Text(text) => Some(text),
            _ => None,
        }
    }
}

impl From<&str> for Value {
    fn from(text: &str) -> Self {
        match text {
            PLACEHOLDER => Value::Placeholder,
            MEMBER_VALUE => Value::Member,
            RETIRED => Value::Retired,
            _ => Value::Text(text.to_owned()),
        }
    }
}

// A text may be a token, so not even a debug print shows one.
impl fmt::Debug for Value {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Value::Placeholder => "Placeholder",
            Value::Member => "Member",
            Value::Retired => "Retired",
            Value::Text(_) => "Text(..)",
        })
    }
}

/// The part of a mirror key after the prefix, or `None` where `key` is no key of the mirror.
///
/// [`GUARD`] looks like one and is none: it belongs to one relation and is never mirrored.
pub fn mirrored(key: &str) -> Option<&str> {
    key.strip_prefix(MIRROR_PREFIX).filter(|_| key != GUARD)
}

/// The mirror key of a host.
pub fn mirror_key(hostname: &str) -> String {
    [MIRROR_PREFIX, hostname].concat()
}

/// All mirror keys of `bag`, as the names after the prefix, with their values.
pub fn mirror_values(bag: &Databag) -> impl Iterator<Item = (&str, &str)> {
    // The map is sorted, so the keys with one prefix stand together.
    bag.range::<str, _>((Bound::Included(MIRROR_PREFIX), Bound::Unbounded))
        .take_while(|(key, _)| key.starts_with(MIRROR_PREFIX))
        .filter_map(|(key, value)| Some((mirrored(key)?, value.as_str())))
}

/// Whether the unit that wrote `bag` asks for its mirror to be copied.
pub fn is_up(bag: &Databag) -> bool {
    bag.get(MIRROR).is_some_and(|value| value == UP)
}

/// Whether microcluster's `cluster add` can mint a token for this name: 1 to 255 characters in
/// dot-separated labels of 1 to 63 characters `[-a-zA-Z0-9]`, none with `-` at an end, none of
/// digits only.
pub fn is_hostname(name: &str) -> bool {
    let is_label = |label: &str| {
        let bytes = label.as_bytes();
        (1..=63).contains(&bytes.len())
            && bytes
                .iter()
                .all(|byte| byte.is_ascii_alphanumeric() || *byte == b'-')
            && !bytes.iter().all(u8::is_ascii_digit)
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    name.len() <= 255 && name.split('.').all(is_label)
}

/// One difference between a databag and what it should hold.
#[derive(Clone, PartialEq, Eq)]
pub enum Change {
    /// The key gets this value.
    Set(String),
    /// The key goes.
    Remove,
}

// A value may be a token, so not even a debug print shows one.
impl fmt::Debug for Change {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Change::Set(value) if value == PLACEHOLDER => "Set(placeholder)",
            Change::Set(_) => "Set(..)",
            Change::Remove => "Remove",
        })
    }
}

/// All differences of one databag, by key.
pub type Changes = BTreeMap<String, Change>;

/// What makes `target` of `held`. Keys for which `is_ours` is false stay as they are.
pub fn difference(held: &Databag, target: &Databag, is_ours: impl Fn(&str) -> bool) -> Changes {
    let mut changes = Changes::new();
    for key in held.keys() {
        if !target.contains_key(key) && is_ours(key) {
            changes.insert(key.clone(), Change::Remove);
        }
    }
    for (key, value) in target {
        if held.get(key) != Some(value) {
            changes.insert(key.clone(), Change::Set(value.clone()));
        }
    }
    changes
}

/// What Juju makes of `bag`.
pub fn apply(bag: &mut Databag, changes: &Changes) {
    for (key, change) in changes {
        match change {
            Change::Set(value) => bag.insert(key.clone(), value.clone()),
            Change::Remove => bag.remove(key),
        };
    }
}

/// Text from outside as a person may see it: control characters escaped, never longer than a line.
pub fn printable(text: &str) -> String {
    const LONGEST: usize = 80;
    let is_plain = |byte| matches!(byte, b' '..=b'~') && !matches!(byte, b'"' | b'\'' | b'\\');
    if text.len() <= LONGEST && text.bytes().all(is_plain) {
        return text.to_owned();
    }
    let mut shown: String = text.escape_debug().take(LONGEST).collect();
    if text.escape_debug().count() > LONGEST {
        shown.push('…');
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mirror_key_begins_with_exactly_the_prefix() {
        for (key, suffix) in [
            ("mirror-h0", Some("h0")),
            ("mirror-", Some("")),
            ("mirror-mirror-x", Some("mirror-x")),
            ("mirror--", Some("-")),
            ("mirror", None),
            ("mirror_x", None),
            ("xmirror-y", None),
            ("Mirror-x", None),
            (GUARD, None),
        ] {
            assert_eq!(mirrored(key), suffix, "{key}");
            let bag = Databag::from([(key.to_owned(), "v".to_owned())]);
            let names: Vec<_> = mirror_values(&bag).map(|(name, _)| name).collect();
            assert_eq!(names, Vec::from_iter(suffix), "{key}");
        }
    }

    #[test]
    fn a_host_name_is_what_microcluster_can_mint_for() {
        let longest = format!("{0}.{0}.{0}.{0}", "a".repeat(63));
        for (name, valid) in [
            ("h0", true),
            ("juju-1a2b3c-4", true),
            ("node.example.com", true),
            ("0a", true),
            ("on", true),
            ("1e3", true),
            (longest.as_str(), true),
            (&format!("{longest}.a"), false),
            (&"a".repeat(64), false),
            ("", false),
            ("42", false),
            ("node.1.lan", false),
            ("node..lan", false),
            (".node", false),
            ("node.", false),
            ("--help", false),
            ("-a", false),
            ("a-", false),
            ("node_1", false),
            ("nœud", false),
            ("a b", false),
            ("a\n", false),
        ] {
            assert_eq!(is_hostname(name), valid, "{name:?}");
        }
    }

    #[test]
    fn the_guard_can_be_no_host() {
        let name = GUARD.strip_prefix(MIRROR_PREFIX).expect("consumers see it");
        assert!(!is_hostname(name));
        assert!(Value::from(GUARD_VALUE).is_real());
    }

    #[test]
    fn a_change_never_prints_a_token() {
        let token = Change::Set("eyJzZWNyZXQi".to_owned());
        assert_eq!(format!("{token:?}"), "Set(..)");
        let placeholder = Change::Set(PLACEHOLDER.to_owned());
        assert_eq!(format!("{placeholder:?}"), "Set(placeholder)");
    }

    #[test]
    fn rubbish_is_printable_on_one_line() {
        assert_eq!(printable("a\nb\u{7f}"), "a\\nb\\u{7f}");
        assert_eq!(printable(&"x".repeat(5000)).chars().count(), 81);
        assert_eq!(printable(&"x".repeat(80)), "x".repeat(80));
        assert_eq!(printable("\""), "\\\"");
        assert_eq!(printable(&"\n".repeat(40)), "\\n".repeat(40));
    }

    #[test]
    fn a_value_never_prints_a_token() {
        assert_eq!(format!("{:?}", Value::from("eyJzZWNyZXQi")), "Text(..)");
    }

    #[test]
    fn a_difference_leaves_keys_of_others_alone() {
        let held = Databag::from([("a", "1"), ("b", "2"), ("other", "3")].map(owned));
        let target = Databag::from([("a", "1"), ("c", "4")].map(owned));
        let changes = difference(&held, &target, |key| key != "other");
        let mut bag = held.clone();
        apply(&mut bag, &changes);
        assert_eq!(
            bag,
            Databag::from([("a", "1"), ("c", "4"), ("other", "3")].map(owned))
        );
        assert_eq!(changes.len(), 2);
    }

    #[test]
    fn changes_make_of_a_bag_what_juju_makes_of_it() {
        let mut bag = Databag::from([("ab", "cde"), ("f", "g"), ("kept", "")].map(owned));
        let changes = Changes::from([
            ("ab".to_owned(), Change::Set("new".to_owned())),
            ("f".to_owned(), Change::Remove),
        ]);
        apply(&mut bag, &changes);
        assert_eq!(bag, Databag::from([("ab", "new"), ("kept", "")].map(owned)));
    }

    fn owned((key, value): (&str, &str)) -> (String, String) {
        (key.to_owned(), value.to_owned())
    }
}

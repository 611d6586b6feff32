//! The wire: every key and every special value that stands in a databag.
//!
//! Nothing here reads or writes a databag; it only says what the texts in one mean.

use std::collections::BTreeMap;
use std::fmt;

/// One databag: what `relation-get --format=json` prints. Juju has no empty values.
pub type Databag = BTreeMap<String, String>;

/// Own and consumer unit bags: whether this unit's mirror counts ([`UP`]) or not ([`DOWN`]).
pub const MIRROR: &str = "mirror";
/// The value of [`MIRROR`] that consumers and this charm read.
pub const UP: &str = "up";
/// The value of [`MIRROR`] of a unit that once said [`UP`].
pub const DOWN: &str = "down";
/// Every mirror key begins with exactly this; the bare prefix counts as a key.
pub const MIRROR_PREFIX: &str = "mirror-";
/// A mirror key's value that means "please mint a token".
pub const PLACEHOLDER: &str = "empty";
/// The constant that `retire-host` leaves where a token was. Not empty, so a consumer that looks
/// for any data still finds some; no token, so it tells nobody anything.
pub const RETIRED: &str = "retired";
/// Own bags: the one application that may bootstrap.
pub const BOOTSTRAP_APP: &str = "bootstrap-app";
/// Consumer unit bags: the host's kernel name.
pub const HOSTNAME: &str = "hostname";
/// Own application bag: which unit announced which host name, see [`crate::hosts`].
pub const HOSTS: &str = "hosts";
/// Own unit bag: changed to make consumers look again, see [`crate::nudge`].
pub const NUDGE: &str = "nudge";
/// Own unit bag: keeps an application that must not bootstrap from doing so.
///
/// The released consumer ignores [`BOOTSTRAP_APP`], but does not bootstrap once it sees any mirror
/// value. An underscore cannot stand in a host name, so nobody mints or joins by this key.
pub const GUARD: &str = "mirror-_bootstraps-elsewhere";
/// The value of [`GUARD`]: anything but [`PLACEHOLDER`].
pub const GUARD_VALUE: &str = "true";

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

/// Whether a mirror value is more than a request to mint one.
pub fn is_real(value: &str) -> bool {
    value != PLACEHOLDER && !value.is_empty()
}

/// All mirror keys of `bag` with their values.
pub fn mirror_of(bag: &Databag) -> impl Iterator<Item = (&str, &str)> {
    // The map is sorted, so the keys with one prefix stand together.
    bag.range::<str, _>((
        std::ops::Bound::Included(MIRROR_PREFIX),
        std::ops::Bound::Unbounded,
    ))
    .map(|(key, value)| (key.as_str(), value.as_str()))
    .take_while(|(key, _)| key.starts_with(MIRROR_PREFIX))
    .filter(|(key, _)| *key != GUARD)
}

/// The same by the names that the keys have after the prefix, in the order of names.
pub fn mirror_by_name(bag: &Databag) -> impl Iterator<Item = (&str, &str)> {
    mirror_of(bag).filter_map(|(key, value)| Some((key.strip_prefix(MIRROR_PREFIX)?, value)))
}

/// Whether the unit that wrote `bag` asks for its mirror to be copied.
pub fn is_up(bag: &Databag) -> bool {
    bag.get(MIRROR).is_some_and(|value| value == UP)
}

/// Bytes that Juju counts against its limit: all keys and all values.
pub fn size(bag: &Databag) -> usize {
    bag.iter().map(|(key, value)| key.len() + value.len()).sum()
}

/// Whether microcluster's `cluster add` can mint a token for this name: 1 to 255 characters in
/// dot-separated labels of 1 to 63 characters `[-a-zA-Z0-9]`, none with `-` at an end, none of
/// digits only.
pub fn is_hostname(name: &str) -> bool {
    if name.len() > 255 {
        return false;
    }
    // In one pass: every hook asks this of every host.
    let mut label = Label::default();
    for byte in name.bytes() {
        match byte {
            b'.' if label.can_end() => {
                label = Label::default();
                continue;
            }
            b'-' if label.length == 0 => return false,
            b'-' | b'a'..=b'z' | b'A'..=b'Z' => label.has_other_than_digits = true,
            b'0'..=b'9' => {}
            _ => return false,
        }
        label.length += 1;
        label.ends_with_dash = byte == b'-';
    }
    label.can_end()
}

/// A part of a host name between dots, as far as it was read.
#[derive(Default)]
struct Label {
    length: usize,
    has_other_than_digits: bool,
    ends_with_dash: bool,
}

impl Label {
    fn can_end(&self) -> bool {
        (1..=63).contains(&self.length) && self.has_other_than_digits && !self.ends_with_dash
    }
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
            Change::Set(value) if !is_real(value) => "Set(placeholder)",
            Change::Set(_) => "Set(..)",
            Change::Remove => "Remove",
        })
    }
}

/// All differences of one databag, by key.
pub type Changes = BTreeMap<String, Change>;

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
            assert_eq!(
                mirror_of(&bag).count(),
                usize::from(suffix.is_some()),
                "{key}"
            );
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
        assert!(is_real(GUARD_VALUE));
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
    fn changes_make_of_a_bag_what_juju_makes_of_it() {
        let mut bag = Databag::from([("ab", "cde"), ("f", "g"), ("kept", "")].map(owned));
        assert_eq!(size(&bag), 11);
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

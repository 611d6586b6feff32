//! The names of relations, units and applications.

use std::cmp::Ordering;
use std::fmt;
use std::str::FromStr;

/// The endpoint whose relations this charm serves. Every other endpoint is left alone.
pub const ENDPOINT: &str = "microcluster-cluster";

/// The peer endpoint, whose application bag is the ledger.
pub const PEER_ENDPOINT: &str = "cluster";

/// A relation's number. Juju sorts relation ids as text (`:10` before `:9`); we never do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct RelationId(pub u64);

impl fmt::Display for RelationId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(formatter)
    }
}

/// A unit's name such as `microovn/3`, ordered by number, then by application.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct UnitName {
    name: String,
    number: u64,
}

impl UnitName {
    /// Whether `text` is a unit's name.
    pub fn is(text: &str) -> bool {
        number(text).is_some()
    }

    /// The whole name.
    pub fn as_str(&self) -> &str {
        &self.name
    }

    /// The number in the name.
    pub fn number(&self) -> u64 {
        self.number
    }

    /// The application's part of the name.
    pub fn app(&self) -> &str {
        self.name.rsplit_once('/').map_or("", |(app, _)| app)
    }
}

/// The text is not of the form `application/number`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a unit name")]
pub struct NotAUnitName;

impl FromStr for UnitName {
    type Err = NotAUnitName;

    fn from_str(name: &str) -> Result<Self, NotAUnitName> {
        Ok(UnitName {
            number: number(name).ok_or(NotAUnitName)?,
            name: name.to_owned(),
        })
    }
}

/// The number in a unit's name.
fn number(name: &str) -> Option<u64> {
    let (app, number) = name.rsplit_once('/')?;
    let is_numbered = number.bytes().all(|byte| byte.is_ascii_digit());
    (is_application(app) && is_numbered).then(|| number.parse().ok())?
}

/// Whether `text` can be an application's name. Juju allows no more, and what we write of a name
/// needs no escapes then.
pub fn is_application(text: &str) -> bool {
    let is_of_app = |byte: u8| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'-');
    !text.is_empty() && text.bytes().all(is_of_app)
}

impl Ord for UnitName {
    fn cmp(&self, other: &Self) -> Ordering {
        (self.number, &self.name).cmp(&(other.number, &other.name))
    }
}

impl PartialOrd for UnitName {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl fmt::Display for UnitName {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn units_are_ordered_by_number() {
        let mut units: Vec<UnitName> = ["m/10", "m/9", "b/2", "a/2"]
            .map(|name| name.parse().expect("a unit name"))
            .into();
        units.sort();
        let names: Vec<_> = units.iter().map(UnitName::as_str).collect();
        assert_eq!(names, ["a/2", "b/2", "m/9", "m/10"]);
    }

    #[test]
    fn only_an_application_and_a_number_name_a_unit() {
        for (text, valid) in [
            ("microovn/0", true),
            ("remote-00/12", true),
            ("microovn", false),
            ("/0", false),
            ("microovn/", false),
            ("microovn/+1", false),
            ("microovn/x", false),
            ("a b/0", false),
            ("a\"/0", false),
            ("a/b/0", false),
            ("", false),
        ] {
            assert_eq!(text.parse::<UnitName>().is_ok(), valid, "{text:?}");
        }
    }
}

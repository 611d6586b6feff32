//! Everything a decision may know, as plain values.

use std::cmp::Ordering;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::str::FromStr;

use crate::databag::Databag;

/// A relation's number. Juju sorts relation ids as text (`:10` before `:9`); we never do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct RelationId(pub u64);

impl fmt::Display for RelationId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(formatter)
    }
}

/// A unit's name such as `microovn/3`, ordered by number, then by application.
#[derive(Clone, Debug, PartialEq, Eq)]
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
    // Juju allows no more, and what we write of a name needs no escapes then.
    let is_of_app = |byte: u8| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'-');
    let is_named = !app.is_empty() && app.bytes().all(is_of_app);
    let is_numbered = number.bytes().all(|byte| byte.is_ascii_digit());
    (is_named && is_numbered).then(|| number.parse().ok())?
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

/// What the leader knows when it decides.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Snapshot {
    /// Relations on the endpoint `microcluster-cluster`, without one that is being broken.
    pub relations: BTreeMap<RelationId, Relation>,
    /// Whether these are all relations with all their units, or only what one hook is about.
    pub scope: Scope,
    /// The charm's options, where they were read.
    pub config: Config,
    /// The unit whose departure this hook tells.
    pub departed: Option<Departed>,
}

impl Snapshot {
    /// The related applications, as far as they were asked for.
    pub fn apps(&self) -> impl Iterator<Item = &str> {
        self.relations
            .values()
            .filter_map(|relation| relation.remote_app.as_deref())
    }
}

/// How much of the world a [`Snapshot`] shows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Scope {
    /// Every relation, every unit.
    #[default]
    Whole,
    /// Every relation, but no unit's bag.
    Relations,
    /// What one event brings, and own bags. What is absent may exist all the same.
    Part,
}

/// One relation with a consumer application.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Relation {
    /// The remote application's name here, `remote-<32 hex>` for one in another model. `None`
    /// where it was not asked for.
    pub remote_app: Option<String>,
    /// Remote units that were read, with their bags. A unit that Juju expects but that has not
    /// entered the relation has no bag and stands in `expected` alone.
    pub units: BTreeMap<UnitName, Databag>,
    /// Units that goal-state expects to be there and to stay. `None` where goal-state was not
    /// asked or does not know the application (it never knows those of other models).
    pub expected: Option<BTreeSet<UnitName>>,
    /// Our application's bag: the truth.
    pub own_app: Databag,
    /// Our unit's bag: the published copy. `None` where it was not read, and then no change of it
    /// is planned: Juju sends a unit bag that was merely read back whole at the end of the hook.
    pub own_unit: Option<Databag>,
}

impl Relation {
    /// Whether some unit is here or on its way.
    pub fn has_units(&self) -> bool {
        !self.units.is_empty()
            || self
                .expected
                .as_ref()
                .is_some_and(|units| !units.is_empty())
    }

    /// Whether it is certain that the application has no unit.
    pub fn has_no_units(&self) -> bool {
        self.units.is_empty() && self.expected.as_ref().is_some_and(BTreeSet::is_empty)
    }
}

/// A unit that is leaving the relation, as its bag says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Departed {
    /// Its name.
    pub unit: UnitName,
    /// Its bag, readable until the relation goes.
    pub bag: Databag,
}

/// The options that matter to a decision.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Config {
    /// `bootstrap-app`, if set.
    pub bootstrap_app: Option<String>,
    /// `log-level`, if set: whatever stands there.
    pub log_level: Option<String>,
}

/// Whether an application belongs to another model: Juju calls it `remote-` and 32 hex digits, and
/// in its own model it has another name.
pub fn is_cross_model(app: &str) -> bool {
    app.strip_prefix("remote-")
        .is_some_and(|hex| hex.len() == 32 && hex.bytes().all(|byte| byte.is_ascii_hexdigit()))
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

    #[test]
    fn a_cross_model_name_is_remote_and_32_hex_digits() {
        for (app, cross_model) in [
            ("remote-0123456789abcdef0123456789abcdef", true),
            ("remote-0123456789abcdef0123456789abcde", false),
            ("remote-0123456789abcdef0123456789abcdeg", false),
            ("remote", false),
            ("microovn", false),
        ] {
            assert_eq!(is_cross_model(app), cross_model, "{app}");
        }
    }
}

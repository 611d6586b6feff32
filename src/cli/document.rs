//! What `juju show-unit` prints, as YAML or JSON.
//!
//! Nothing is repaired: anything else is refused in words that say what to do instead.

use std::collections::BTreeMap;
use std::fmt;
use std::io::{self, Read};

use serde::Deserialize;
use serde::de::{Deserializer, MapAccess, Visitor};

use crate::core::names::{RelationId, UnitName};
use crate::core::wire::Databag;

/// Two units of a cluster of 300 hosts that came one by one have a quarter of that.
const LARGEST: u64 = 10 << 20;

/// Why the input cannot be used. It names files, lines and units, never their content, which may be
/// a token.
#[derive(Debug, thiserror::Error)]
pub(super) enum InputError {
    #[error("cannot read {0}")]
    Read(String, #[source] io::Error),
    #[error(
        "{0} is too large. The distributor's leader and one unit of each related application show \
         everything; run: juju show-unit DISTRIBUTOR/N CONSUMER/N > units.yaml"
    )]
    TooLarge(String),
    #[error(
        "{0} is not UTF-8 text. Unpack it if it is packed; in PowerShell, write it with: juju \
         show-unit ... | Out-File -Encoding utf8 units.yaml"
    )]
    NotUtf8(String),
    #[error("{0} is empty. It must have what `juju show-unit` prints")]
    Empty(String),
    /// Line and column are counted from 1.
    #[error(
        "{0}: line {1}, column {2} is not what one `juju show-unit` prints. Run: juju show-unit \
         DISTRIBUTOR/N CONSUMER/N > units.yaml, and keep the file as it is"
    )]
    NotShowUnit(String, usize, usize),
    #[error("unit {0} is in the input twice. Run one juju show-unit for all units")]
    UnitTwice(UnitName),
    #[error("the input has no unit of the token distributor. Ask for its leader, too")]
    NoDistributor,
    #[error("the input has several token distributors: {0}. Ask for one, and for its consumers")]
    SeveralDistributors(String),
    #[error("no unit of {0} in the input leads. Ask for the leader, which `juju status` stars")]
    NoLeader(String),
    #[error("an option left out a part of {0}. Run juju show-unit without options")]
    NotWhole(UnitName),
    #[error("{0}, so the input is from two times. Run one juju show-unit for all units")]
    TwoTimes(String),
}

/// The units of one file.
pub(super) type Units = BTreeMap<UnitName, ShownUnit>;

/// One unit as Juju shows it.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) struct ShownUnit {
    /// Where its charm comes from, such as `ch:amd64/microovn-48`.
    pub(super) charm: String,
    #[serde(default)]
    pub(super) leader: bool,
    #[serde(default)]
    relation_info: Option<Vec<ShownRelation>>,
}

/// One relation as Juju shows it to one unit.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) struct ShownRelation {
    relation_id: u64,
    /// The endpoint of this unit.
    pub(super) endpoint: String,
    /// Whether the other side is in another model. Juju 4.0 never says so.
    #[serde(default)]
    pub(super) cross_model: bool,
    /// An application bag: on Juju 3 the other side's, on Juju 4 the own one.
    #[serde(default, deserialize_with = "databag")]
    pub(super) application_data: Databag,
    #[serde(default)]
    local_unit: Option<Member>,
    #[serde(default)]
    related_units: Option<BTreeMap<Name, Member>>,
}

/// A unit in a relation.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "kebab-case", default)]
pub(super) struct Member {
    /// Whether it has entered the relation and not left it.
    pub(super) in_scope: bool,
    /// What it has written there.
    #[serde(deserialize_with = "databag")]
    pub(super) data: Databag,
}

impl ShownUnit {
    pub(super) fn relations(&self) -> impl Iterator<Item = &ShownRelation> {
        self.relation_info.iter().flatten()
    }
}

impl ShownRelation {
    /// Its number, which is the same on both sides in one model.
    pub(super) fn id(&self) -> RelationId {
        RelationId(self.relation_id)
    }

    /// This unit's own bag. Juju shows it in peer relations, and Juju 4.0.5 in all.
    pub(super) fn local_unit(&self) -> Option<&Member> {
        // As JSON, some releases print an empty one for every relation.
        let is_there = |member: &&Member| member.in_scope || !member.data.is_empty();
        self.local_unit.as_ref().filter(is_there)
    }

    /// The units of the other side.
    pub(super) fn related_units(&self) -> impl Iterator<Item = (&UnitName, &Member)> {
        let units = self.related_units.iter().flatten();
        units.map(|(name, member)| (&name.0, member))
    }
}

/// Reads and understands one file.
pub(super) fn read(file: &str, source: impl Read) -> Result<Units, InputError> {
    let mut bytes = Vec::new();
    let mut source = source.take(LARGEST + 1);
    let failed = |error| InputError::Read(file.to_owned(), error);
    if source.read_to_end(&mut bytes).map_err(failed)? as u64 > LARGEST {
        return Err(InputError::TooLarge(file.to_owned()));
    }
    let text = String::from_utf8(bytes).map_err(|_| InputError::NotUtf8(file.to_owned()))?;
    // PowerShell begins UTF-8 with a mark.
    let text = text.trim_start_matches('\u{feff}');
    if text.trim().is_empty() {
        return Err(InputError::Empty(file.to_owned()));
    }
    // JSON is YAML.
    let Pairs(pairs) = serde_yaml::from_str(text).map_err(|error| {
        let place = error.location();
        let (line, column) = place.map_or((1, 1), |place| (place.line(), place.column()));
        InputError::NotShowUnit(file.to_owned(), line, column)
    })?;
    let mut units = Units::new();
    for (Name(name), unit) in pairs {
        if units.insert(name.clone(), unit).is_some() {
            return Err(InputError::UnitTwice(name));
        }
    }
    Ok(units)
}

#[derive(Debug, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(try_from = "String")]
struct Name(UnitName);

impl TryFrom<String> for Name {
    type Error = &'static str;

    fn try_from(name: String) -> Result<Self, Self::Error> {
        name.parse().map(Name).map_err(|_| "no unit's name")
    }
}

/// Every unit of a file. A map keeps only the last of a name, which someone appended to the file.
struct Pairs(Vec<(Name, ShownUnit)>);

impl<'de> Deserialize<'de> for Pairs {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Entries;
        impl<'de> Visitor<'de> for Entries {
            type Value = Pairs;

            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str("units")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Pairs, A::Error> {
                let entries = std::iter::from_fn(|| map.next_entry().transpose());
                entries.collect::<Result<_, _>>().map(Pairs)
            }
        }
        deserializer.deserialize_map(Entries)
    }
}

/// Everything in a databag is text: go-yaml prints `1e3` without quotes, which other libraries take
/// for a number, and a host of that name would be lost.
fn databag<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Databag, D::Error> {
    Ok(Option::deserialize(deserializer)?.unwrap_or_default())
}

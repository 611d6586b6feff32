//! One file in, the units that `juju show-unit` prints in it out.
//!
//! Nothing is repaired: what is not one YAML or JSON document of that command, in UTF-8, is refused
//! in words that say what to do instead.

use std::collections::BTreeSet;
use std::fmt;
use std::io::{self, Read};
use std::marker::PhantomData;

use serde::de::{Deserialize, Deserializer, Error, MapAccess, Visitor};

use super::model::is_of_another_model;
use crate::core::names::{RelationId, UnitName};
use crate::core::wire::Databag;

/// Two units of a cluster of 300 hosts that came one by one have a quarter of that.
const LARGEST: usize = 10 << 20;

/// The YAML library keeps about 300 bytes for each entry, however short. A cluster of 1 000 hosts
/// has a sixth of that.
const MOST_ENTRIES: usize = 60_000;

/// Why the input cannot be used. It names files, lines and units, never their content, which may be
/// a token.
#[derive(Debug, thiserror::Error)]
pub enum InputError {
    /// It cannot be read.
    #[error("cannot read {file}")]
    Read {
        /// Which file.
        file: String,
        /// Why.
        source: io::Error,
    },
    /// Reading it would take more memory than is reasonable.
    #[error(
        "{file} is too large. The distributor's leader and one unit of each related application \
         show everything; run: juju show-unit {units} > units.yaml"
    )]
    TooLarge {
        /// Which file.
        file: String,
        /// The units to ask for, as far as it was read.
        units: String,
    },
    /// It is in another encoding, or packed.
    #[error(
        "{0} is not UTF-8 text. Unpack it if it is packed; in PowerShell, write it with: juju \
         show-unit ... | Out-File -Encoding utf8 units.yaml"
    )]
    NotUtf8(String),
    /// Nothing is in it.
    #[error("{0} is empty. It must have what `juju show-unit` prints")]
    Empty(String),
    /// More than one command wrote it.
    #[error(
        "{0} has several documents. Run one `juju show-unit` for all units, or name one file for \
         each document"
    )]
    SeveralDocuments(String),
    /// It is something else, or a part: at this line and column, counted from 1.
    #[error(
        "{0}: line {1}, column {2} is not what `juju show-unit` prints. Run: juju show-unit \
         DISTRIBUTOR/N CONSUMER/N > units.yaml, and keep the file as it is"
    )]
    NotShowUnit(String, usize, usize),
    /// One of the two is older, and the input does not show which.
    #[error("unit {0} is in the input twice. Keep the later one")]
    UnitTwice(UnitName),
    /// No unit of the distributor is in it. This is the one to add, as far as the input shows.
    #[error("the input has no unit of the token distributor. Add: juju show-unit {0}")]
    NoDistributor(String),
    /// It does not say which of these distributors is meant.
    #[error("the input has these token distributors: {0}. Choose one with --app")]
    WhichDistributor(String),
}

/// The units of one file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Document {
    /// Every unit is in it once.
    pub units: Vec<(UnitName, ShownUnit)>,
}

/// One unit as Juju shows it.
#[derive(Clone, Debug, PartialEq, Eq, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct ShownUnit {
    /// Where its charm comes from, such as `ch:amd64/microovn-48`.
    pub charm: String,
    /// Whether it leads its application.
    #[serde(default)]
    pub leader: bool,
    #[serde(default)]
    relation_info: Option<Vec<ShownRelation>>,
}

/// One relation as Juju shows it to one unit.
#[derive(Clone, Debug, PartialEq, Eq, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct ShownRelation {
    relation_id: u64,
    /// The endpoint of this unit.
    pub endpoint: String,
    /// The endpoint of the other side.
    #[serde(default)]
    pub related_endpoint: String,
    /// Whether the other side is in another model. Juju 4.0 never says so.
    #[serde(default)]
    pub cross_model: bool,
    /// An application bag: on Juju 3 the other side's, on Juju 4 the own one.
    #[serde(default, deserialize_with = "databag")]
    pub application_data: Databag,
    #[serde(default)]
    local_unit: Option<Member>,
    #[serde(default)]
    related_units: Option<Pairs<Name, Member>>,
}

/// A unit in a relation.
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Deserialize)]
#[serde(rename_all = "kebab-case", default)]
pub struct Member {
    /// Whether it has entered the relation and not left it.
    pub in_scope: bool,
    /// What it has written there.
    #[serde(deserialize_with = "databag")]
    pub data: Databag,
}

impl ShownUnit {
    /// Its relations.
    pub fn relations(&self) -> impl Iterator<Item = &ShownRelation> {
        self.relation_info.iter().flatten()
    }
}

impl ShownRelation {
    /// Its number, which is the same on both sides in one model.
    pub fn id(&self) -> RelationId {
        RelationId(self.relation_id)
    }

    /// This unit's own bag. Juju shows it in peer relations, and Juju 4.0.5 in all.
    pub fn local_unit(&self) -> Option<&Member> {
        // As JSON, some releases print an empty one for every relation.
        let is_there = |member: &&Member| member.in_scope || !member.data.is_empty();
        self.local_unit.as_ref().filter(is_there)
    }

    /// Usually all units of the other side. An option of `juju show-unit` leaves some out.
    pub fn related_units(&self) -> impl Iterator<Item = (&UnitName, &Member)> {
        let units = self.related_units.iter().flat_map(|units| &units.0);
        units.map(|(name, member)| (&name.0, member))
    }
}

impl Document {
    /// Reads and understands one file.
    ///
    /// # Errors
    /// When it cannot be read, or is not what `juju show-unit` prints.
    pub fn read(file: &str, source: impl Read) -> Result<Self, InputError> {
        let mut bytes = Vec::new();
        let read = source.take(LARGEST as u64 + 1).read_to_end(&mut bytes);
        read.map_err(|source| InputError::Read {
            file: file.to_owned(),
            source,
        })?;
        Document::parse(file, &bytes)
    }

    /// Understands one file.
    ///
    /// # Errors
    /// When it is not what `juju show-unit` prints.
    pub fn parse(file: &str, bytes: &[u8]) -> Result<Self, InputError> {
        let file = || file.to_owned();
        let begins_entry = |byte: &&u8| matches!(byte, b'\n' | b',' | b'[' | b'{' | b'-' | b'?');
        if bytes.len() > LARGEST || bytes.iter().filter(begins_entry).count() > MOST_ENTRIES {
            let units = units_to_ask_for(&String::from_utf8_lossy(bytes));
            return Err(InputError::TooLarge {
                file: file(),
                units,
            });
        }
        // UTF-16 is UTF-8 with zeros.
        let text = str::from_utf8(bytes)
            .ok()
            .filter(|text| !text.contains('\0'));
        let text = text.ok_or_else(|| InputError::NotUtf8(file()))?;
        // PowerShell begins UTF-8 with a mark.
        let text = text.strip_prefix('\u{feff}').unwrap_or(text);
        if text.trim().is_empty() {
            return Err(InputError::Empty(file()));
        }
        let units = match text.trim_start().starts_with('{') {
            true => only_json(text),
            false => only_yaml(text),
        };
        let units = units.map_err(|place| match place {
            Some((line, column)) => InputError::NotShowUnit(file(), line, column),
            None => InputError::SeveralDocuments(file()),
        })?;
        let mut names = BTreeSet::new();
        let twice = units.0.iter().find(|(name, _)| !names.insert(&name.0));
        if let Some((name, _)) = twice {
            return Err(InputError::UnitTwice(name.0.clone()));
        }
        let units = units.0.into_iter().map(|(name, unit)| (name.0, unit));
        Ok(Document {
            units: units.collect(),
        })
    }
}

type Units = Pairs<Name, ShownUnit>;

/// Line and column of what is wrong. `None`: there is more than one document.
type Place = Option<(usize, usize)>;

fn only_json(text: &str) -> Result<Units, Place> {
    let mut documents = serde_json::Deserializer::from_str(text).into_iter();
    let first = documents.next().unwrap_or_else(|| Ok(Pairs(Vec::new())));
    let first = first.map_err(|error| Some((error.line(), error.column())))?;
    match text[documents.byte_offset()..].trim().is_empty() {
        true => Ok(first),
        false => Err(None),
    }
}

fn only_yaml(text: &str) -> Result<Units, Place> {
    let mut documents = serde_yaml::Deserializer::from_str(text);
    let first = documents.next().ok_or(Some((1, 1)))?;
    let first = Units::deserialize(first).map_err(|error| {
        let place = error.location();
        Some(place.map_or((1, 1), |place| (place.line(), place.column())))
    })?;
    match documents.next() {
        None => Ok(first),
        Some(_) => Err(None),
    }
}

/// The first unit of each application in the text. A unit's name is a line or a quoted word there,
/// a token is neither.
fn units_to_ask_for(text: &str) -> String {
    let words = text.split(['\n', '"']);
    let words = words.map(|word| word.trim().trim_end_matches(':'));
    let mut apps = BTreeSet::new();
    let first = words
        .filter_map(|word| word.parse().ok())
        .filter(|unit: &UnitName| {
            !is_of_another_model(unit.app()) && apps.insert(unit.app().to_owned())
        });
    let units: Vec<String> = first.take(8).map(|unit| unit.to_string()).collect();
    match units.is_empty() {
        true => "DISTRIBUTOR/N CONSUMER/N".to_owned(),
        false => units.join(" "),
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Name(UnitName);

impl<'de> Deserialize<'de> for Name {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let name = String::deserialize(deserializer)?;
        name.parse().map(Name).map_err(Error::custom)
    }
}

/// Every entry of a map, as a library's own maps keep only the last of a key.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Pairs<K, V>(Vec<(K, V)>);

impl<'de, K: Deserialize<'de>, V: Deserialize<'de>> Deserialize<'de> for Pairs<K, V> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Entries<K, V>(PhantomData<(K, V)>);
        impl<'de, K: Deserialize<'de>, V: Deserialize<'de>> Visitor<'de> for Entries<K, V> {
            type Value = Pairs<K, V>;

            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str("a map")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut entries = Vec::new();
                while let Some(entry) = map.next_entry()? {
                    entries.push(entry);
                }
                Ok(Pairs(entries))
            }
        }
        deserializer.deserialize_map(Entries(PhantomData))
    }
}

/// Everything in a databag is text: go-yaml prints `1e3` without quotes, which other libraries take
/// for a number, and a host of that name would be lost.
fn databag<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Databag, D::Error> {
    let pairs: Option<Pairs<String, String>> = Option::deserialize(deserializer)?;
    let mut bag = Databag::new();
    for (key, value) in pairs.into_iter().flat_map(|pairs| pairs.0) {
        if bag.insert(key, value).is_some() {
            return Err(Error::custom("a key is there twice"));
        }
    }
    // Juju has no empty values.
    bag.retain(|_, value| !value.is_empty());
    Ok(bag)
}

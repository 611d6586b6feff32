//! The fields of `juju show-unit` that are needed here, typed.
//!
//! Types matter even where everything is text: go-yaml prints `1e3` without quotes because it is no
//! number to it, while to a younger YAML library it is one, and a host of that name would be lost.

use std::collections::BTreeMap;
use std::fmt;

use serde::Deserialize;
use serde::de::{Deserializer, Error, IgnoredAny, MapAccess, Visitor};

use super::{Member, ShownRelation, ShownUnit};
use crate::core::names::{RelationId, UnitName};
use crate::core::wire::Databag;

/// The map of units, and what else is a key of it.
#[derive(Debug, Default)]
pub(super) struct Units {
    pub(super) units: Vec<(UnitName, Unit)>,
    /// The first key that is no unit's name.
    pub(super) foreign: Option<String>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) struct Unit {
    charm: Option<String>,
    leader: Option<bool>,
    relation_info: Option<Vec<Relation>>,
    /// What units have in other places and in other commands' output.
    in_scope: Option<IgnoredAny>,
    workload_status: Option<IgnoredAny>,
    juju_status: Option<IgnoredAny>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "kebab-case")]
struct Relation {
    relation_id: Option<u64>,
    endpoint: Option<String>,
    related_endpoint: Option<String>,
    cross_model: Option<bool>,
    application_data: Option<Bag>,
    local_unit: Option<Shown>,
    related_units: Option<Unique<UnitKey, Option<Shown>>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "kebab-case")]
struct Shown {
    in_scope: Option<bool>,
    data: Option<Bag>,
}

type Bag = Unique<String, String>;

/// A map that has no key twice: of two values, neither is better.
#[derive(Debug)]
struct Unique<K, V>(BTreeMap<K, V>);

#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
struct UnitKey(UnitName);

/// Why a unit is none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Lack {
    /// Its place in the output of this command.
    OtherCommand(&'static str),
    /// A field.
    Field(&'static str),
}

impl Unit {
    pub(super) fn shown(self, name: UnitName, place: String) -> Result<ShownUnit, Lack> {
        if self.in_scope.is_some() {
            return Err(Lack::Field(
                "is one of a relation's units: what precedes it is missing, copy the whole",
            ));
        }
        if self.workload_status.is_some() || self.juju_status.is_some() {
            return Err(Lack::OtherCommand("juju status"));
        }
        let charm = self.charm.filter(|charm| !charm.is_empty());
        let charm = charm.ok_or(Lack::Field("shows no charm: copy the whole of it"))?;
        let relations = self.relation_info.unwrap_or_default();
        let relations = relations.into_iter().map(Relation::shown);
        let relations: Vec<ShownRelation> = relations.collect::<Result<_, _>>()?;
        let mut ids: Vec<RelationId> = relations.iter().map(|relation| relation.id).collect();
        ids.sort_unstable();
        if ids.windows(2).any(|pair| pair[0] == pair[1]) {
            // A relation of a unit with its own application is a peer's, and shown once.
            return Err(Lack::Field("has one relation twice: copy one dump only"));
        }
        Ok(ShownUnit {
            name,
            place,
            charm,
            is_leader: self.leader.unwrap_or(false),
            relations,
        })
    }
}

impl Relation {
    fn shown(self) -> Result<ShownRelation, Lack> {
        let id = self.relation_id.ok_or(Lack::Field(
            "has a relation without its number, which Juju 2.9 and later show",
        ))?;
        let endpoint = self
            .endpoint
            .ok_or(Lack::Field("has a relation without its endpoint"))?;
        let local_unit = self.local_unit.map(Shown::member);
        let related_units = self.related_units.map(|units| units.0).unwrap_or_default();
        let related_units = related_units
            .into_iter()
            .map(|(name, shown)| (name.0, shown.unwrap_or_default().member()));
        Ok(ShownRelation {
            id: RelationId(id),
            endpoint,
            related_endpoint: self.related_endpoint.unwrap_or_default(),
            is_cross_model: self.cross_model.unwrap_or(false),
            application_data: databag(self.application_data),
            // As JSON, old releases print an empty one for every relation.
            local_unit: local_unit.filter(|member| member.in_scope || !member.bag.is_empty()),
            related_units: related_units.collect(),
        })
    }
}

impl Shown {
    fn member(self) -> Member {
        Member {
            in_scope: self.in_scope.unwrap_or(false),
            bag: databag(self.data),
        }
    }
}

fn databag(bag: Option<Bag>) -> Databag {
    let mut bag = bag.map(|bag| bag.0).unwrap_or_default();
    // Juju has no empty values.
    bag.retain(|_, value| !value.is_empty());
    bag
}

impl<'de> Deserialize<'de> for Units {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Of;
        impl<'de> Visitor<'de> for Of {
            type Value = Units;

            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str("units")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Units, A::Error> {
                let mut read = Units::default();
                while let Some(key) = map.next_key::<String>()? {
                    match key.parse() {
                        // Of other output nothing is kept, however long it is.
                        _ if read.foreign.is_some() => drop(map.next_value::<IgnoredAny>()?),
                        Ok(name) => read.units.push((name, map.next_value()?)),
                        Err(_) => {
                            map.next_value::<IgnoredAny>()?;
                            read.foreign = Some(key);
                        }
                    }
                }
                Ok(read)
            }
        }
        deserializer.deserialize_map(Of)
    }
}

impl<'de> Deserialize<'de> for UnitKey {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let name = String::deserialize(deserializer)?;
        name.parse().map(UnitKey).map_err(Error::custom)
    }
}

impl<'de, K, V> Deserialize<'de> for Unique<K, V>
where
    K: Deserialize<'de> + Ord,
    V: Deserialize<'de>,
{
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Of<K, V>(std::marker::PhantomData<(K, V)>);
        impl<'de, K, V> Visitor<'de> for Of<K, V>
        where
            K: Deserialize<'de> + Ord,
            V: Deserialize<'de>,
        {
            type Value = Unique<K, V>;

            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str("a map")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut read = BTreeMap::new();
                while let Some((key, value)) = map.next_entry()? {
                    if read.insert(key, value).is_some() {
                        return Err(A::Error::custom("a key is here twice"));
                    }
                }
                Ok(Unique(read))
            }
        }
        deserializer.deserialize_map(Of(std::marker::PhantomData))
    }
}

//! The output of `juju show-unit` in, what a distributor unit sees out.
//!
//! Juju shows a unit the unit bags of the other side, never its own. As `application-data` Juju 3
//! shows the other side's bag and Juju 4 the own one. Consumers write none, so whatever stands
//! there, on whichever side, is the distributor's.

use std::collections::{BTreeMap, BTreeSet};
use std::io;

use serde_json::{Map, Value};

use crate::databag::{self, BOOTSTRAP_APP, Databag, HOSTS};
use crate::hook::ENDPOINT;
use crate::report::View;
use crate::snapshot::{Relation, RelationId, Snapshot, UnitName, is_cross_model};

/// Every name of this charm ends with this: `ch:amd64/…-12`, `local:…-0`.
const CHARM: &str = "microcluster-token-distributor";

/// Why the input cannot be used. It names places, never what stands there: that may be a token.
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
    /// It is no text.
    #[error("{file}: byte {at} is not UTF-8 text")]
    NotText {
        /// Which file.
        file: String,
        /// Counted from 1.
        at: usize,
    },
    /// Nothing is in it.
    #[error("{file} is empty: it should hold what `juju show-unit` prints")]
    Empty {
        /// Which file.
        file: String,
    },
    /// It is neither YAML nor JSON.
    #[error("{file}: not {format} (line {line}, column {column})")]
    Syntax {
        /// Which file.
        file: String,
        /// What it looks like.
        format: &'static str,
        /// Counted from 1.
        line: usize,
        /// Counted from 1.
        column: usize,
    },
    /// It is not what `juju show-unit` prints.
    #[error("{file}: not from juju show-unit: {place} is no {expected}")]
    Shape {
        /// Which file.
        file: String,
        /// Where in it.
        place: String,
        /// What should stand there.
        expected: &'static str,
    },
    /// No unit of the distributor is in it.
    #[error("the input shows no unit of the token distributor: add `juju show-unit {unit}`")]
    NoDistributor {
        /// The unit to add, as far as the input tells.
        unit: String,
    },
}

/// A file, read but not understood.
#[derive(Debug)]
pub struct Document {
    file: String,
    content: Value,
}

impl Document {
    /// Parses YAML, or JSON where the text begins like it.
    ///
    /// # Errors
    /// When it is neither.
    pub fn parse(file: &str, text: Vec<u8>) -> Result<Self, InputError> {
        let file = file.to_owned();
        let text = match String::from_utf8(text) {
            Ok(text) => text,
            Err(error) => {
                let at = error.utf8_error().valid_up_to() + 1;
                return Err(InputError::NotText { file, at });
            }
        };
        // A mark that some editors put before everything.
        let text = text.strip_prefix('\u{feff}').unwrap_or(&text).trim_start();
        if text.is_empty() {
            return Err(InputError::Empty { file });
        }
        let (format, parsed) = if text.starts_with('{') {
            let parsed = serde_json::from_str(text);
            (
                "JSON",
                parsed.map_err(|error| (error.line(), error.column())),
            )
        } else {
            let parsed = serde_yaml::from_str(text);
            let place = |error: serde_yaml::Error| {
                let location = error.location();
                location.map_or((1, 1), |location| (location.line(), location.column()))
            };
            ("YAML", parsed.map_err(place))
        };
        match parsed {
            Ok(content) => Ok(Document { file, content }),
            Err((line, column)) => Err(InputError::Syntax {
                file,
                format,
                line,
                column,
            }),
        }
    }

    fn units(&self) -> Result<Vec<ShownUnit>, InputError> {
        let root = Place {
            file: &self.file,
            value: &self.content,
            path: "the whole".to_owned(),
        };
        let units = root.map()?.iter().enumerate();
        units
            .map(|(at, (name, value))| {
                let unit = Place {
                    file: &self.file,
                    value,
                    path: format!("unit {}", at + 1),
                };
                ShownUnit::read(&unit, name)
            })
            .collect()
    }
}

/// A value in a document, and the way to it.
struct Place<'a> {
    file: &'a str,
    value: &'a Value,
    path: String,
}

impl<'a> Place<'a> {
    fn wrong(&self, expected: &'static str) -> InputError {
        InputError::Shape {
            file: self.file.to_owned(),
            place: self.path.clone(),
            expected,
        }
    }

    fn map(&self) -> Result<&'a Map<String, Value>, InputError> {
        self.value.as_object().ok_or_else(|| self.wrong("map"))
    }

    /// The value under `key`, unless there is none or it is null.
    fn get(&self, key: &str) -> Result<Option<Place<'a>>, InputError> {
        let value = self.map()?.get(key).filter(|value| !value.is_null());
        Ok(value.map(|value| Place {
            file: self.file,
            value,
            path: format!("{}, {key}", self.path),
        }))
    }

    fn text(&self, key: &str) -> Result<Option<&'a str>, InputError> {
        self.get(key)?
            .map(|place| place.value.as_str().ok_or_else(|| place.wrong("text")))
            .transpose()
    }

    fn flag(&self, key: &str) -> Result<bool, InputError> {
        self.get(key)?.map_or(Ok(false), |place| {
            let flag = place.value.as_bool();
            flag.ok_or_else(|| place.wrong("true or false"))
        })
    }

    fn bag(&self, key: &str) -> Result<Databag, InputError> {
        let mut bag = Databag::new();
        let Some(place) = self.get(key)? else {
            return Ok(bag);
        };
        for (key, value) in place.map()? {
            let value = match value {
                Value::Null => continue,
                Value::String(text) => text.clone(),
                // Somebody has edited the file by hand, without quotes.
                Value::Bool(_) | Value::Number(_) => value.to_string(),
                Value::Array(_) | Value::Object(_) => return Err(place.wrong("databag")),
            };
            bag.insert(key.clone(), value);
        }
        Ok(bag)
    }
}

/// One unit as Juju shows it.
struct ShownUnit {
    name: UnitName,
    is_leader: bool,
    is_distributor: bool,
    relations: Vec<ShownRelation>,
}

struct ShownRelation {
    id: RelationId,
    endpoint: String,
    related_endpoint: String,
    application_data: Databag,
    /// Juju shows this of peer relations only; should that change, it is welcome.
    local_unit: Option<Databag>,
    /// Units that have not entered the relation have no bag.
    related_units: Vec<(UnitName, Option<Databag>)>,
}

impl ShownUnit {
    fn read(place: &Place<'_>, name: &str) -> Result<Self, InputError> {
        let name = name.parse().map_err(|_| place.wrong("unit by its name"))?;
        let mut relations = Vec::new();
        if let Some(list) = place.get("relation-info")? {
            let items = list.value.as_array().ok_or_else(|| list.wrong("list"))?;
            for (at, value) in items.iter().enumerate() {
                relations.push(ShownRelation::read(&Place {
                    file: place.file,
                    value,
                    path: format!("{}, relation {}", place.path, at + 1),
                })?);
            }
        }
        let charm = place.text("charm")?.unwrap_or_default();
        let serves = |relation: &ShownRelation| relation.endpoint == ENDPOINT;
        Ok(ShownUnit {
            name,
            is_leader: place.flag("leader")?,
            is_distributor: charm.contains(CHARM) || relations.iter().any(serves),
            relations,
        })
    }
}

impl ShownRelation {
    fn read(place: &Place<'_>) -> Result<Self, InputError> {
        let text = |key| {
            place
                .text(key)
                .map(|text| text.unwrap_or_default().to_owned())
        };
        let id = place
            .get("relation-id")?
            .and_then(|id| id.value.as_u64())
            .ok_or_else(|| {
                place.wrong("relation with its number, which Juju 2.9 and later show")
            })?;
        let mut related_units = Vec::new();
        if let Some(units) = place.get("related-units")? {
            for (at, (name, value)) in units.map()?.iter().enumerate() {
                let unit = Place {
                    file: place.file,
                    value,
                    path: format!("{}, related unit {}", place.path, at + 1),
                };
                let name = name.parse().map_err(|_| unit.wrong("unit by its name"))?;
                let bag = match unit.flag("in-scope")? {
                    true => Some(unit.bag("data")?),
                    false => None,
                };
                related_units.push((name, bag));
            }
        }
        let local_unit = match place.get("local-unit")? {
            Some(local) if local.flag("in-scope")? => Some(local.bag("data")?),
            _ => None,
        };
        Ok(ShownRelation {
            id: RelationId(id),
            endpoint: text("endpoint")?,
            related_endpoint: text("related-endpoint")?,
            application_data: place.bag("application-data")?,
            local_unit,
            related_units,
        })
    }
}

/// What the input shows.
#[derive(Debug)]
pub struct Shown {
    /// The world as the leading distributor unit sees it, or one that stands in for it.
    pub view: View,
    /// What the input lacks, and how to get it.
    pub incomplete: Vec<String>,
}

/// Puts all units of all documents together.
///
/// # Errors
/// When a document is not from `juju show-unit`, or none shows a unit of the distributor.
pub fn combine(documents: &[Document]) -> Result<Shown, InputError> {
    let mut distributors = Vec::new();
    let mut consumers = Vec::new();
    for document in documents {
        for unit in document.units()? {
            match unit.is_distributor {
                true => distributors.push(unit),
                false => consumers.push(unit),
            }
        }
    }
    let mut incomplete = Vec::new();
    let mut world = World::default();
    for unit in &distributors {
        unit.relations
            .iter()
            .filter(|shown| shown.endpoint == ENDPOINT)
            .for_each(|shown| world.add_distributor(unit, shown));
    }
    for unit in &consumers {
        for shown in &unit.relations {
            if shown.related_endpoint == ENDPOINT && !world.add_consumer(unit, shown) {
                incomplete.push(format!(
                    "relation {} of {} is none of the distributor's relations here; it is ignored",
                    shown.id, unit.name
                ));
            }
        }
    }

    let leader = distributors.iter().find(|unit| unit.is_leader);
    let unit = match (leader, distributors.first()) {
        (Some(leader), _) => leader.name.clone(),
        (None, Some(first)) => {
            let unit = world.most_like_a_leader().unwrap_or(&first.name).clone();
            incomplete.push(format!(
                "no unit in the input is leader; {unit} stands in for it"
            ));
            unit
        }
        (None, None) => {
            let mut known = consumers.iter().flat_map(|unit| &unit.relations);
            let known = known.find(|shown| shown.related_endpoint == ENDPOINT);
            let unit = known.and_then(|shown| shown.related_units.first());
            let unit = unit.map_or("APP/N", |(unit, _)| unit.as_str()).to_owned();
            return Err(InputError::NoDistributor { unit });
        }
    };
    incomplete.extend(world.missing(&unit));
    Ok(Shown {
        view: world.seen_by(unit),
        incomplete,
    })
}

/// Relations, put together from both sides.
#[derive(Default)]
struct World {
    relations: BTreeMap<RelationId, Relation>,
    /// The unit bags of the distributor. Only consumers' units show them.
    distributors: BTreeMap<RelationId, BTreeMap<UnitName, Databag>>,
}

impl World {
    fn add_distributor(&mut self, unit: &ShownUnit, shown: &ShownRelation) {
        let relation = self.relations.entry(shown.id).or_default();
        add_application_data(relation, shown);
        // Cross-model, Juju shows the units that it has heard of, which may not be all.
        let mut expected = BTreeSet::new();
        for (name, bag) in &shown.related_units {
            relation.remote_app = Some(name.app().to_owned());
            expected.insert(name.clone());
            if let Some(bag) = bag {
                relation.units.insert(name.clone(), bag.clone());
            }
        }
        let across_models = relation.remote_app.as_deref().is_some_and(is_cross_model);
        relation.expected = (!across_models).then_some(expected);
        if let Some(bag) = &shown.local_unit {
            let distributors = self.distributors.entry(shown.id).or_default();
            distributors.insert(unit.name.clone(), bag.clone());
        }
    }

    /// Whether the relation is one that a distributor's unit shows: in another model, relations
    /// have other numbers.
    fn add_consumer(&mut self, unit: &ShownUnit, shown: &ShownRelation) -> bool {
        let app = unit.name.app();
        let relation = self.relations.get_mut(&shown.id).filter(|relation| {
            let known = relation.remote_app.as_deref();
            known.is_none_or(|known| known == app)
        });
        let Some(relation) = relation else {
            return false;
        };
        relation.remote_app = Some(app.to_owned());
        add_application_data(relation, shown);
        let distributors = self.distributors.entry(shown.id).or_default();
        for (name, bag) in &shown.related_units {
            if let Some(bag) = bag {
                distributors.insert(name.clone(), bag.clone());
            }
        }
        true
    }

    fn most_like_a_leader(&self) -> Option<&UnitName> {
        let mut bags = self.distributors.values().flatten();
        let up = bags.find(|(_, bag)| databag::is_up(bag));
        up.map(|(unit, _)| unit)
    }

    /// What the input lacks for the view of `own`.
    fn missing(&self, own: &UnitName) -> Vec<String> {
        let mut missing = Vec::new();
        for (id, relation) in &self.relations {
            let distributors = self.distributors.get(id);
            let what = match distributors {
                Some(bags) if bags.contains_key(own) => continue,
                None if relation.own_app.is_empty() => {
                    "the distributor's bags are not in the input, so the plan starts without them"
                }
                _ => "the distributor's unit bag is not in the input, so its changes are not shown",
            };
            let consumer = relation.expected.as_ref().and_then(BTreeSet::first);
            let remedy = match relation.remote_app.as_deref().is_some_and(is_cross_model) {
                true => "only the other model shows that".to_owned(),
                false => format!(
                    "juju show-unit {own} {} shows both sides",
                    consumer.map_or("APP/N", UnitName::as_str)
                ),
            };
            missing.push(format!("relation {id}: {what}; {remedy}"));
        }
        missing
    }

    fn seen_by(mut self, unit: UnitName) -> View {
        for (id, relation) in &mut self.relations {
            let distributors = self.distributors.get_mut(id);
            relation.own_unit = distributors.and_then(|bags| bags.remove(&unit));
        }
        View {
            unit,
            is_leader: true,
            facts: Snapshot {
                relations: self.relations,
                ..Snapshot::default()
            },
            siblings: self.distributors,
            failing: BTreeSet::new(),
        }
    }
}

/// Consumers write no application data, so whatever either side shows is ours.
fn add_application_data(relation: &mut Relation, shown: &ShownRelation) {
    let data = &shown.application_data;
    let is_ours = data.contains_key(BOOTSTRAP_APP)
        || data.contains_key(HOSTS)
        || databag::mirror_of(data).next().is_some();
    if is_ours {
        relation.own_app.clone_from(data);
    }
}

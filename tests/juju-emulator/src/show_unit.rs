//! `juju show-unit`, printed from a model: the dumps that operators send in.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::model::{Bag, JujuGeneration, Life, Model, ModelError, Relation, Side};
use crate::names::UnitName;

type Data = BTreeMap<String, String>;

#[derive(Serialize)]
#[serde(rename_all = "kebab-case")]
struct Shown {
    machine: String,
    opened_ports: [(); 0],
    public_address: String,
    charm: String,
    leader: bool,
    life: &'static str,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    relation_info: Vec<ShownRelation>,
}

#[derive(Serialize)]
#[serde(rename_all = "kebab-case")]
struct ShownRelation {
    relation_id: u32,
    endpoint: String,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    cross_model: bool,
    related_endpoint: String,
    application_data: Data,
    #[serde(skip_serializing_if = "Option::is_none")]
    local_unit: Option<ShownBag>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    related_units: BTreeMap<String, ShownBag>,
}

#[derive(Serialize)]
#[serde(rename_all = "kebab-case")]
struct ShownBag {
    in_scope: bool,
    data: Data,
}

impl ShownBag {
    fn of(bag: Option<&Bag>) -> Self {
        Self {
            in_scope: bag.is_some(),
            data: bag.map(|bag| (*bag.content).clone()).unwrap_or_default(),
        }
    }
}

/// What `juju show-unit UNIT...` prints, as YAML.
pub fn show_unit(model: &Model, units: &[&str]) -> Result<String, ModelError> {
    let shown: BTreeMap<&str, Shown> = units
        .iter()
        .map(|unit| Ok((*unit, shown(model, unit)?)))
        .collect::<Result<_, ModelError>>()?;
    // Cannot fail: maps with text as keys, and text, numbers and booleans in them.
    Ok(serde_yaml::to_string(&shown).unwrap_or_default())
}

fn shown(model: &Model, unit: &str) -> Result<Shown, ModelError> {
    let (name, unit) = model.unit(unit)?;
    let charm = &model.application(name.application())?.charm.name;
    let relations = model.relations.values();
    Ok(Shown {
        machine: unit.machine.to_string(),
        opened_ports: [],
        public_address: unit.address(),
        charm: format!("local:{charm}-0"),
        leader: model.is_leader(&name),
        life: match unit.life {
            Life::Alive => "alive",
            Life::Dying => "dying",
        },
        relation_info: relations
            .filter_map(|relation| shown_relation(model, relation, &name))
            .collect(),
    })
}

fn shown_relation(model: &Model, relation: &Relation, unit: &UnitName) -> Option<ShownRelation> {
    let own = relation.own_side(unit.application())?;
    let remote = relation.remote_side(unit.application())?;
    if own.over {
        return None;
    }
    let three = model.generation == JujuGeneration::Three;
    let application = if three { remote } else { own };
    let local = || ShownBag::of(own.members.get(unit).map(|member| &member.bag));
    Some(ShownRelation {
        relation_id: relation.id.0,
        endpoint: own.endpoint.clone(),
        cross_model: relation.cross_model && three,
        related_endpoint: remote.endpoint.clone(),
        application_data: (*application.app_bag.content).clone(),
        local_unit: relation.is_peer().then(local),
        related_units: related_units(model, relation, remote, unit),
    })
}

/// Units in scope, and of an application of this model those that are not, too.
fn related_units(
    model: &Model,
    relation: &Relation,
    remote: &Side,
    unit: &UnitName,
) -> BTreeMap<String, ShownBag> {
    let here = match relation.cross_model {
        true => Vec::new(),
        false => model.units_of(remote.app.as_str()),
    };
    let in_scope = remote.members.keys();
    in_scope
        .chain(&here)
        .filter(|name| *name != unit)
        .map(|name| {
            let bag = remote.members.get(name).map(|member| &member.bag);
            (remote.shown_unit(name).to_string(), ShownBag::of(bag))
        })
        .collect()
}

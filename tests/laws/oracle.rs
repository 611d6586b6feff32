//! The rules a second time: what every bag must hold afterwards, said for each key by itself and
//! by looking at everything again each time. Slow, and made of other parts than the charm.

use std::collections::{BTreeMap, BTreeSet};

use microcluster_token_distributor::databag::Databag;
use microcluster_token_distributor::snapshot::{Relation, RelationId, Scope, Snapshot, UnitName};

/// Our application's bag and our unit's, by relation.
pub(crate) type OwnBags = BTreeMap<RelationId, (Databag, Databag)>;

/// What the own bags of `facts` must hold after the leader's hook.
pub(crate) fn own_bags(facts: &Snapshot) -> OwnBags {
    let world = World(facts);
    let bootstrap = world.bootstrap_app();
    let hosts = world.hosts();
    let mut bags = OwnBags::new();
    let mut news = false;
    for (id, relation) in &facts.relations {
        let mut app = relation.own_app.clone();
        let mut unit = relation.own_unit.clone().expect("all bags were read");

        if let Some(bootstrap) = &bootstrap {
            app.insert("bootstrap-app".into(), bootstrap.clone());
            unit.insert("bootstrap-app".into(), bootstrap.clone());
            unit.insert("mirror".into(), "up".into());
        } else if world.is_up(&unit) && !app.contains_key("bootstrap-app") {
            unit.insert("mirror".into(), "down".into());
        }
        match world.must_be_guarded(relation, bootstrap.as_deref()) {
            Some(true) => drop(unit.insert("mirror-_bootstraps-elsewhere".into(), "true".into())),
            Some(false) => drop(unit.remove("mirror-_bootstraps-elsewhere")),
            None => {}
        }
        app.remove("hosts");
        if !hosts.is_empty() {
            let text = hosts.iter().map(|(name, units)| {
                let units: Vec<&str> = units.iter().map(UnitName::as_str).collect();
                (name.clone(), units.join(" ").into())
            });
            let text = serde_json::Value::Object(text.collect());
            app.insert("hosts".into(), text.to_string());
        }
        for key in world.keys() {
            let here = real(&app, &key).or_else(|| real(&unit, &key));
            let value = here.or_else(|| world.value(&key, &hosts));
            for bag in [&mut app, &mut unit] {
                match (real(bag, &key), &value) {
                    (Some(_), _) => {}
                    (None, Some(value)) => drop(bag.insert(key.clone(), value.clone())),
                    (None, None) => drop(bag.remove(&key)),
                }
            }
        }
        let without_memory = |bag: &Databag| -> Databag {
            let keys = bag.iter().filter(|(key, _)| *key != "hosts");
            keys.map(|(key, value)| (key.clone(), value.clone()))
                .collect()
        };
        news |= without_memory(&app) != without_memory(&relation.own_app);
        news |= Some(&unit) != relation.own_unit.as_ref();
        bags.insert(*id, (app, unit));
    }
    if !news && problems(&hosts) == problems(&world.remembered()) {
        // What is remembered of hosts is no reason to wake consumers, unless a person must act.
        for (id, (app, _)) in &mut bags {
            app.clone_from(&facts.relations[id].own_app);
        }
    }
    bags
}

/// The host names that a person must look at, with the units that are shown: the first of a name
/// that is refused, all of one that is contested.
fn problems(hosts: &BTreeMap<String, Vec<UnitName>>) -> BTreeMap<&String, &[UnitName]> {
    let shown = hosts.iter().filter_map(|(name, units)| {
        if !can_be_minted_for(name) {
            Some((name, &units[..1]))
        } else {
            (units.len() > 1).then_some((name, units.as_slice()))
        }
    });
    shown.collect()
}

/// A value that is one: neither a request to mint nor nothing.
fn real(bag: &Databag, key: &str) -> Option<String> {
    bag.get(key).filter(|value| *value != "empty").cloned()
}

fn is_mirror_key(key: &str) -> bool {
    key.len() >= 7 && &key.as_bytes()[..7] == b"mirror-" && key != "mirror-_bootstraps-elsewhere"
}

/// Letters, digits, inner dashes, dots between labels.
fn can_be_minted_for(name: &str) -> bool {
    let label = |label: &str| {
        let characters: Vec<char> = label.chars().collect();
        let is_digit = char::is_ascii_digit;
        let allowed = char::is_ascii_alphanumeric;
        match characters.as_slice() {
            [] => false,
            [only] => allowed(only) && !is_digit(only),
            [first, inner @ .., last] => {
                characters.len() < 64
                    && allowed(first)
                    && allowed(last)
                    && inner.iter().all(|c| allowed(c) || *c == '-')
                    && !characters.iter().all(is_digit)
            }
        }
    };
    name.chars().count() < 256 && name.split('.').all(label)
}

struct World<'a>(&'a Snapshot);

impl World<'_> {
    fn is_up(&self, bag: &Databag) -> bool {
        bag.get("mirror").map(String::as_str) == Some("up")
    }

    /// Every bag that can give a value, the first in precedence first.
    fn givers(&self) -> Vec<&Databag> {
        let relations = &self.0.relations;
        let mut bags: Vec<&Databag> = relations.values().map(|r| &r.own_app).collect();
        bags.extend(relations.values().filter_map(|r| r.own_unit.as_ref()));
        bags.extend(
            self.units()
                .map(|(_, bag)| bag)
                .filter(|bag| self.is_up(bag)),
        );
        bags
    }

    /// All remote units, by relation number and unit number.
    fn units(&self) -> impl Iterator<Item = (&UnitName, &Databag)> {
        self.0.relations.values().flat_map(|relation| {
            let mut units: Vec<_> = relation.units.iter().collect();
            units.sort_by_key(|(unit, _)| {
                let (_, number) = unit.as_str().split_once('/').expect("a unit name");
                number.parse::<u64>().expect("a unit number")
            });
            units
        })
    }

    fn hostname<'b>(&self, bag: &'b Databag) -> Option<&'b str> {
        bag.get("hostname").map(String::as_str)
    }

    fn keys(&self) -> BTreeSet<String> {
        let given = self
            .givers()
            .into_iter()
            .flat_map(|bag| bag.keys().cloned());
        let announced = self
            .units()
            .filter_map(|(_, bag)| self.hostname(bag))
            .filter(|name| can_be_minted_for(name))
            .map(|name| format!("mirror-{name}"));
        given
            .chain(announced)
            .filter(|key| is_mirror_key(key))
            .collect()
    }

    /// The one value that all relations without a real value of their own get; `None`: no such key.
    fn value(&self, key: &str, hosts: &BTreeMap<String, Vec<UnitName>>) -> Option<String> {
        if let Some(value) = self.givers().into_iter().find_map(|bag| real(bag, key)) {
            return Some(value);
        }
        let name = key.strip_prefix("mirror-").expect("only mirror keys");
        let wanted_by_a_unit = self.units().any(|(_, bag)| {
            self.is_up(bag) && bag.contains_key(key)
                || self.hostname(bag) == Some(name) && can_be_minted_for(name)
        });
        let held = self.0.relations.values().any(|relation| {
            let unit = relation.own_unit.as_ref().expect("all bags were read");
            relation.own_app.contains_key(key) || unit.contains_key(key)
        });
        let left = !hosts.contains_key(name)
            && (self.remembered().contains_key(name)
                || self.0.departed.as_ref().and_then(|d| self.hostname(&d.bag)) == Some(name));
        (wanted_by_a_unit || held && !left).then(|| "empty".to_owned())
    }

    fn any_value(&self) -> bool {
        self.givers().into_iter().any(|bag| {
            bag.keys()
                .any(|key| is_mirror_key(key) && real(bag, key).is_some())
        })
    }

    /// What the bags remember of who announced which name.
    fn remembered(&self) -> BTreeMap<String, Vec<UnitName>> {
        let mut hosts: BTreeMap<String, Vec<UnitName>> = BTreeMap::new();
        for relation in self.0.relations.values() {
            let text = relation.own_app.get("hosts").map_or("", String::as_str);
            let read: BTreeMap<String, String> = serde_json::from_str(text).unwrap_or_default();
            for (name, units) in read {
                for unit in units.split(' ').filter_map(|unit| unit.parse().ok()) {
                    let units = hosts.entry(name.clone()).or_default();
                    if !units.contains(&unit) {
                        units.push(unit);
                    }
                }
            }
        }
        hosts.retain(|_, units| !units.is_empty());
        hosts
    }

    /// What is to be remembered: whoever announced a name and has neither left nor taken another
    /// name since; and the first of a name that has a token, for good.
    fn hosts(&self) -> BTreeMap<String, Vec<UnitName>> {
        let short = |name: &str| match name.len() {
            ..256 => name.to_owned(),
            // However it is cut, one line and not the whole.
            _ => microcluster_token_distributor::databag::printable(name),
        };
        let announces: BTreeMap<&UnitName, String> = self
            .units()
            .filter_map(|(unit, bag)| Some((unit, short(self.hostname(bag)?))))
            .collect();
        let mut hosts = BTreeMap::new();
        let mut names: BTreeSet<String> = announces.values().cloned().collect();
        let remembered = self.remembered();
        names.extend(remembered.keys().cloned());
        for name in names {
            let key = format!("mirror-{name}");
            let has_token = self
                .givers()
                .into_iter()
                .any(|bag| is_mirror_key(&key) && real(bag, &key).is_some());
            let known = remembered.get(&name).map_or(&[][..], Vec::as_slice);
            let mut units: Vec<UnitName> = Vec::new();
            for (place, unit) in known.iter().enumerate() {
                let elsewhere = announces.get(unit).is_some_and(|now| *now != name);
                if has_token && place == 0 || !elsewhere && !self.has_left(unit) {
                    units.push(unit.clone());
                }
            }
            for (unit, _) in self.units() {
                if announces.get(unit) == Some(&name) && !units.contains(unit) {
                    units.push(unit.clone());
                }
            }
            if !units.is_empty() {
                hosts.insert(name, units);
            }
        }
        hosts
    }

    fn has_left(&self, unit: &UnitName) -> bool {
        if self.0.departed.as_ref().map(|departed| &departed.unit) == Some(unit) {
            return true;
        }
        let (app, _) = unit.as_str().split_once('/').expect("a unit name");
        self.0.scope == Scope::Whole
            && self.0.relations.values().any(|relation| {
                relation.remote_app.as_deref() == Some(app)
                    && !relation.units.contains_key(unit)
                    && matches!(&relation.expected, Some(expected) if !expected.contains(unit))
            })
    }

    /// Section 3 of the specification, rule by rule.
    fn bootstrap_app(&self) -> Option<String> {
        let relations = || self.0.relations.values();
        let configured = self.0.config.bootstrap_app.clone();
        let held = || {
            let held = relations().find_map(|relation| relation.own_app.get("bootstrap-app"))?;
            let related = relations().any(|relation| {
                let nobody = relation.units.is_empty()
                    && relation.expected.as_ref().is_some_and(BTreeSet::is_empty);
                relation.remote_app.as_deref() == Some(held) && !nobody
            });
            let sign = |(_, bag): (_, &Databag)| {
                bag.contains_key("mirror") || bag.keys().any(|key| is_mirror_key(key))
            };
            let keep = self.0.scope == Scope::Part
                || related
                || self.any_value()
                || self.units().any(sign);
            keep.then(|| held.clone())
        };
        let bootstrapped = || {
            let (unit, _) = self.units().find(|(_, bag)| self.is_up(bag))?;
            unit.as_str().split_once('/').map(|(app, _)| app.to_owned())
        };
        let first_with_units = || {
            let with_units = relations().find(|relation| {
                !relation.units.is_empty()
                    || matches!(&relation.expected, Some(expected) if !expected.is_empty())
            })?;
            with_units.remote_app.clone()
        };
        configured
            .or_else(held)
            .or_else(bootstrapped)
            .or_else(first_with_units)
    }

    /// Whether the relation must show the guard; `None` where that cannot be told.
    fn must_be_guarded(&self, relation: &Relation, bootstrap: Option<&str>) -> Option<bool> {
        if self.any_value() {
            return Some(false);
        }
        let (bootstrap, app) = (bootstrap?, relation.remote_app.as_deref()?);
        let chosen_is_related = self
            .0
            .relations
            .values()
            .any(|relation| relation.remote_app.as_deref() == Some(bootstrap));
        if app != bootstrap && app.starts_with("remote-") {
            // It may be the chosen one under another name, unless that is somebody else's.
            return (self.0.scope == Scope::Whole).then_some(chosen_is_related);
        }
        Some(app != bootstrap)
    }
}

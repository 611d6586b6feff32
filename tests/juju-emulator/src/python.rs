//! The rules of the Python charm, for comparison: which databags it reads and writes, in how many
//! hook tools, and when.
//!
//! Of the framework below it only what costs a hook tool is here: two lines of log when a hook
//! starts, a memory of what was read, one `relation-set` for each key.

use std::collections::BTreeMap;
use std::rc::Rc;

use fastrand::Rng;
use serde::de::DeserializeOwned;

use crate::charm::{CallTool, InProcess};

const ENDPOINT: &str = "microcluster-cluster";
const EMPTY: &str = "empty";

/// Which generation of the charm.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rules {
    /// Each relation by itself, whatever was copied last wins, no permission to bootstrap.
    B,
    /// One mirror for all relations, and a permission to bootstrap.
    E,
}

impl Rules {
    /// What a hook of this charm takes beside its hook tools: the interpreter and its imports.
    ///
    /// Measured with tools of 1 ms: 224 ms with 10 of them, 296 with 107, 1203 with 1007.
    pub const STARTUP: std::time::Duration = std::time::Duration::from_millis(200);
}

/// A unit with the Python charm.
pub(crate) struct Python {
    pub(crate) rules: Rules,
    /// Replaces the order in which Python iterates over its sets of units.
    pub(crate) rng: Rng,
}

/// A hook tool failed or did not print what was expected: the hook crashes.
struct Crash;

impl InProcess for Python {
    fn dispatch(
        &mut self,
        environment: &BTreeMap<String, String>,
        tools: &mut CallTool<'_>,
    ) -> i32 {
        let mut hook = Hook {
            environment,
            tools,
            rng: &mut self.rng,
            units: BTreeMap::new(),
            bags: BTreeMap::new(),
        };
        match hook.run(self.rules) {
            Ok(()) => 0,
            Err(Crash) => 1,
        }
    }
}

type Bag = BTreeMap<String, String>;

/// A databag is that of a unit or, without one, the own application's.
type Whose = (String, Option<String>);

struct Hook<'a, 'b> {
    environment: &'a BTreeMap<String, String>,
    tools: &'a mut CallTool<'b>,
    rng: &'a mut Rng,
    units: BTreeMap<String, Vec<String>>,
    bags: BTreeMap<Whose, Rc<Bag>>,
}

impl Hook<'_, '_> {
    fn run(&mut self, rules: Rules) -> Result<(), Crash> {
        self.log("DEBUG", "ops is up and running.")?;
        self.log("DEBUG", "Emitting a Juju event.")?;
        let hook = self.variable("JUJU_HOOK_NAME");
        match hook.strip_prefix(ENDPOINT).unwrap_or(&hook) {
            "start" => self.tell("status-set", &["active", "--", ""], None),
            "leader-elected" => {
                let relations = self.relations()?;
                match rules {
                    Rules::B => relations.iter().try_for_each(|id| self.mirror_one(id)),
                    Rules::E => self.mirror_all(&relations),
                }
            }
            "-relation-changed" => {
                if !self.is_leader()? {
                    return Ok(());
                }
                match rules {
                    Rules::B => self.mirror_one(&self.variable("JUJU_RELATION_ID")),
                    Rules::E => {
                        let relations = self.relations()?;
                        self.mirror_all(&relations)
                    }
                }
            }
            _ => Ok(()),
        }
    }

    /// Rules B: what any unit shows is copied as it is.
    fn mirror_one(&mut self, relation: &str) -> Result<(), Crash> {
        self.set_own(relation, "mirror", "up")?;
        for unit in self.units_of(relation)? {
            let bag = self.unit_bag(relation, &unit)?;
            if bag.get("mirror").is_some_and(|mirror| mirror == "up") {
                for (key, value) in bag.iter().filter(|(key, _)| key.contains("mirror-")) {
                    self.publish(relation, key, value)?;
                }
            }
            if let Some(key) = placeholder(&bag)
                && !self.own_unit_bag(relation)?.contains_key(&key)
            {
                self.publish(relation, &key, EMPTY)?;
            }
        }
        Ok(())
    }

    /// Rules E: a union over all relations, in which a value beats a placeholder.
    fn mirror_all(&mut self, relations: &[String]) -> Result<(), Crash> {
        self.permit(relations)?;
        let mut union = Bag::new();
        let mut offer = |key: String, value: &str| {
            let held = union.entry(key).or_insert_with(|| EMPTY.to_owned());
            if held == EMPTY && value != EMPTY {
                value.clone_into(held);
            }
        };
        for relation in relations {
            for (key, value) in self.own_unit_bag(relation)?.iter() {
                if key.starts_with("mirror-") {
                    offer(key.clone(), value);
                }
            }
            for unit in self.units_of(relation)? {
                let bag = self.unit_bag(relation, &unit)?;
                if bag.get("mirror").is_some_and(|mirror| mirror == "up") {
                    for (key, value) in bag.iter().filter(|(key, _)| key.starts_with("mirror-")) {
                        offer(key.clone(), value);
                    }
                }
                if let Some(key) = placeholder(&bag) {
                    offer(key, EMPTY);
                }
            }
        }
        for relation in relations {
            self.set_own(relation, "mirror", "up")?;
            for (key, value) in &union {
                let held = self.own_unit_bag(relation)?.get(key).cloned();
                if held.is_none() || value != EMPTY {
                    self.publish(relation, key, value)?;
                }
            }
        }
        Ok(())
    }

    /// The application that may bootstrap: what is in any relation, else the first relation's.
    fn permit(&mut self, relations: &[String]) -> Result<(), Crash> {
        let mut permitted = None;
        for relation in relations {
            let held = self.own_app_bag(relation)?.get("bootstrap-app").cloned();
            permitted = permitted.or(held);
        }
        let Some(first) = relations.first() else {
            return Ok(());
        };
        let permitted = match permitted {
            Some(permitted) => permitted,
            None => self.ask("relation-list", &["--app", "-r", first])?,
        };
        for relation in relations {
            let bag = self.own_app_bag(relation)?;
            if bag.get("bootstrap-app") != Some(&permitted) {
                let document = serde_json::json!({ "bootstrap-app": permitted }).to_string();
                let arguments = ["-r", relation, "--app", "--file", "-"];
                self.tell("relation-set", &arguments, Some(document.as_bytes()))?;
            }
        }
        Ok(())
    }

    fn publish(&mut self, relation: &str, key: &str, value: &str) -> Result<(), Crash> {
        let is_new = !self.own_unit_bag(relation)?.contains_key(key);
        self.set_own(relation, key, value)?;
        if is_new {
            self.log("INFO", &format!("added {key} to mirror"))?;
        }
        Ok(())
    }

    fn set_own(&mut self, relation: &str, key: &str, value: &str) -> Result<(), Crash> {
        if self.own_unit_bag(relation)?.get(key).map(String::as_str) == Some(value) {
            return Ok(());
        }
        let document = serde_json::json!({ key: value }).to_string();
        let arguments = ["-r", relation, "--file", "-"];
        self.tell("relation-set", &arguments, Some(document.as_bytes()))?;
        let whose = (relation.to_owned(), Some(self.variable("JUJU_UNIT_NAME")));
        let bag = self.bags.entry(whose).or_default();
        Rc::make_mut(bag).insert(key.to_owned(), value.to_owned());
        Ok(())
    }

    fn variable(&self, name: &str) -> String {
        self.environment.get(name).cloned().unwrap_or_default()
    }

    fn is_leader(&mut self) -> Result<bool, Crash> {
        self.ask("is-leader", &[])
    }

    fn relations(&mut self) -> Result<Vec<String>, Crash> {
        self.ask("relation-ids", &[ENDPOINT])
    }

    fn units_of(&mut self, relation: &str) -> Result<Vec<String>, Crash> {
        if let Some(units) = self.units.get(relation) {
            return Ok(units.clone());
        }
        let mut units: Vec<String> = self.ask("relation-list", &["-r", relation])?;
        self.rng.shuffle(&mut units);
        self.units.insert(relation.to_owned(), units.clone());
        Ok(units)
    }

    fn own_unit_bag(&mut self, relation: &str) -> Result<Rc<Bag>, Crash> {
        let unit = self.variable("JUJU_UNIT_NAME");
        self.unit_bag(relation, &unit)
    }

    fn unit_bag(&mut self, relation: &str, unit: &str) -> Result<Rc<Bag>, Crash> {
        self.bag(relation, Some(unit))
    }

    fn own_app_bag(&mut self, relation: &str) -> Result<Rc<Bag>, Crash> {
        self.bag(relation, None)
    }

    fn bag(&mut self, relation: &str, unit: Option<&str>) -> Result<Rc<Bag>, Crash> {
        let whose = (relation.to_owned(), unit.map(str::to_owned));
        if let Some(bag) = self.bags.get(&whose) {
            return Ok(Rc::clone(bag));
        }
        let bag: Rc<Bag> = Rc::new(match unit {
            Some(unit) => self.ask("relation-get", &["-r", relation, "-", unit])?,
            None => {
                let own = self.variable("JUJU_UNIT_NAME");
                let app = own.split('/').next().unwrap_or_default();
                self.ask("relation-get", &["-r", relation, "--app", "-", app])?
            }
        });
        self.bags.insert(whose, Rc::clone(&bag));
        Ok(bag)
    }

    fn log(&mut self, level: &str, line: &str) -> Result<(), Crash> {
        self.tell("juju-log", &["--log-level", level, "--", line], None)
    }

    fn ask<T: DeserializeOwned>(&mut self, tool: &str, arguments: &[&str]) -> Result<T, Crash> {
        let arguments: Vec<&str> = ["--format=json"].iter().chain(arguments).copied().collect();
        let stdout = self.call(tool, &arguments, None)?;
        serde_json::from_slice(&stdout).map_err(|_| Crash)
    }

    fn tell(&mut self, tool: &str, arguments: &[&str], stdin: Option<&[u8]>) -> Result<(), Crash> {
        self.call(tool, arguments, stdin).map(drop)
    }

    fn call(
        &mut self,
        tool: &str,
        arguments: &[&str],
        stdin: Option<&[u8]>,
    ) -> Result<Vec<u8>, Crash> {
        let arguments: Vec<String> = arguments.iter().map(|&text| text.to_owned()).collect();
        let output = (self.tools)(tool, &arguments, stdin);
        match output.code {
            0 => Ok(output.stdout),
            _ => Err(Crash),
        }
    }
}

fn placeholder(bag: &Bag) -> Option<String> {
    let hostname = bag
        .get("hostname")
        .filter(|hostname| !hostname.is_empty())?;
    Some(format!("mirror-{hostname}"))
}

//! The charm's view of its model during one hook, with the memory that `ops` has.
//!
//! Each databag, each relation's membership, the status and leadership are asked for once and then
//! remembered until the hook ends; writes go through to Juju at once and into that memory.

use std::collections::BTreeMap;
use std::rc::Rc;
use std::sync::Arc;

use serde::Deserialize;
use serde::de::DeserializeOwned;

use super::{Crash, Databag, Host, Level};

/// Prefix of every mirrored key, on both sides of the wire.
pub(super) const MIRROR_PREFIX: &str = "mirror-";
/// The value that asks the communicator for a token.
pub(super) const PLACEHOLDER: &str = "empty";

/// Picks one of `n` equally good candidates.
pub(super) type Tie<'a> = &'a mut dyn FnMut(usize) -> usize;

pub(super) struct Model<'a> {
    environment: &'a BTreeMap<String, String>,
    pub(super) host: &'a mut dyn Host,
    tie: Tie<'a>,
    relations: BTreeMap<String, Rc<Relation>>,
    databags: BTreeMap<(String, String, Level), Arc<Databag>>,
    status: Option<Status>,
    is_leader: Option<bool>,
}

/// The remote side of a relation.
struct Relation {
    /// In the order in which Python walks its set of units, which differs from process to process.
    units: Vec<String>,
    app: Option<String>,
}

/// A workload status with its message.
#[derive(Clone, Debug, Deserialize)]
pub(super) struct Status {
    #[serde(rename = "status")]
    name: String,
    #[serde(default)]
    message: String,
}

impl Status {
    pub(super) fn active(message: &str) -> Self {
        Status::new("active", message)
    }

    pub(super) fn blocked(message: &str) -> Self {
        Status::new("blocked", message)
    }

    pub(super) fn maintenance(message: &str) -> Self {
        Status::new("maintenance", message)
    }

    pub(super) fn waiting(message: &str) -> Self {
        Status::new("waiting", message)
    }

    fn new(name: &str, message: &str) -> Self {
        Status {
            name: name.to_owned(),
            message: message.to_owned(),
        }
    }
}

impl<'a> Model<'a> {
    pub(super) fn new(
        environment: &'a BTreeMap<String, String>,
        host: &'a mut dyn Host,
        tie: Tie<'a>,
    ) -> Self {
        Model {
            environment,
            host,
            tie,
            relations: BTreeMap::new(),
            databags: BTreeMap::new(),
            status: None,
            is_leader: None,
        }
    }

    /// A variable of the hook's environment; Juju sets many that are empty, which says nothing.
    pub(super) fn variable(&self, name: &str) -> Option<&'a str> {
        let value = self.environment.get(name)?;
        (!value.is_empty()).then_some(value)
    }

    pub(super) fn own_app(&self) -> Result<&'a str, Crash> {
        Ok(application(self.own_unit()?))
    }

    fn own_unit(&self) -> Result<&'a str, Crash> {
        self.variable("JUJU_UNIT_NAME").ok_or(Crash::NoUnitName)
    }

    /// Leadership is good for thirty seconds, longer than any hook of ours.
    pub(super) fn is_leader(&mut self) -> Result<bool, Crash> {
        if let Some(known) = self.is_leader {
            return Ok(known);
        }
        self.is_leader_still()
    }

    /// Leadership, asked for again.
    pub(super) fn is_leader_still(&mut self) -> Result<bool, Crash> {
        let is_leader = self.ask("is-leader", &["--format=json"])?;
        self.is_leader = Some(is_leader);
        Ok(is_leader)
    }

    pub(super) fn relation_ids(&mut self, endpoint: &str) -> Result<Vec<String>, Crash> {
        self.ask("relation-ids", &[endpoint, "--format=json"])
    }

    pub(super) fn status(&mut self) -> Result<Status, Crash> {
        if let Some(status) = &self.status {
            return Ok(status.clone());
        }
        self.ask(
            "status-get",
            &["--include-data", "--format=json", "--application=false"],
        )
    }

    pub(super) fn set_status(&mut self, status: Status) -> Result<(), Crash> {
        // The two dashes keep a message that begins with one from being read as an option.
        let args = ["--application=False", &status.name, "--", &status.message];
        self.tell("status-set", &args, None)?;
        self.status = Some(status);
        Ok(())
    }

    /// A log line that does not arrive must not fail the hook, so the answer is not looked at.
    pub(super) fn log(&mut self, level: &str, line: &str) {
        let args = ["--log-level", level, "--", line].map(str::to_owned);
        self.host.hook_tool("juju-log", &args, None);
    }

    /// The value the mirrors show for a key: the most frequent one that is no placeholder.
    pub(super) fn value(&mut self, relation: &str, key: &str) -> Result<Option<String>, Crash> {
        let key = mirror_key(key);
        let mirrors = self.mirrors(relation)?;
        let values: Vec<&str> = mirrors
            .iter()
            .filter_map(|mirror| mirror.get(&key).map(String::as_str))
            .filter(|value| *value != PLACEHOLDER)
            .collect();
        let count = |value| values.iter().filter(|other| **other == value).count();
        // Among equally frequent values Python's counter keeps the first it met (hazard 8); going
        // backwards makes `max_by_key`, which keeps the last, do the same.
        let winner = values.iter().rev().max_by_key(|value| count(**value));
        Ok(winner.map(|&value| value.to_owned()))
    }

    /// The keys, without their prefix, for which every mirror that knows them shows a placeholder,
    /// in the order in which the library walks them: mirror by mirror, keys as Juju sorts them.
    pub(super) fn placeholders(&mut self, relation: &str) -> Result<Vec<String>, Crash> {
        let mirrors = self.mirrors(relation)?;
        let mut placeholders = Vec::new();
        for (position, mirror) in mirrors.iter().enumerate() {
            for (key, suffix, _) in mirrored(mirror) {
                let already_met = mirrors[..position].iter().any(|m| m.contains_key(key));
                let shown = mirrors.iter().filter_map(|m| m.get(key));
                if !already_met && shown.clone().all(|value| value == PLACEHOLDER) {
                    placeholders.push(suffix.to_owned());
                }
            }
        }
        Ok(placeholders)
    }

    /// Whether any remote unit, its mirror up or not, shows a mirrored value.
    pub(super) fn any_data(&mut self, relation: &str) -> Result<bool, Crash> {
        let bags = self.unit_bags(relation)?;
        Ok(bags
            .iter()
            .any(|bag| mirrored(bag).any(|(_, _, value)| value != PLACEHOLDER)))
    }

    pub(super) fn any_mirror_is_up(&mut self, relation: &str) -> Result<bool, Crash> {
        Ok(!self.mirrors(relation)?.is_empty())
    }

    /// The databags of the remote units whose mirror is up.
    fn mirrors(&mut self, relation: &str) -> Result<Vec<Arc<Databag>>, Crash> {
        let mut bags = self.unit_bags(relation)?;
        bags.retain(|bag| bag.get("mirror").is_some_and(|mirror| mirror == "up"));
        Ok(bags)
    }

    /// The databags of all remote units, by the units' names.
    pub(super) fn unit_bags_by_name(&mut self, relation: &str) -> Result<Vec<Arc<Databag>>, Crash> {
        let mut units = self.relation(relation)?.units.clone();
        units.sort();
        let bag = |unit: &String| self.databag(relation, unit, Level::Unit);
        units.iter().map(bag).collect()
    }

    fn unit_bags(&mut self, relation: &str) -> Result<Vec<Arc<Databag>>, Crash> {
        let remote = self.relation(relation)?;
        let bag = |unit: &String| self.databag(relation, unit, Level::Unit);
        remote.units.iter().map(bag).collect()
    }

    /// The remote application's databag; empty if the application is not known.
    pub(super) fn remote_app_bag(&mut self, relation: &str) -> Result<Arc<Databag>, Crash> {
        match self.relation(relation)?.app.as_deref() {
            Some(app) => self.databag(relation, app, Level::Application),
            None => Ok(Arc::default()),
        }
    }

    pub(super) fn own(&mut self, relation: &str, key: &str) -> Result<Option<String>, Crash> {
        Ok(self.own_bag(relation)?.get(key).cloned())
    }

    pub(super) fn own_bag(&mut self, relation: &str) -> Result<Arc<Databag>, Crash> {
        let unit = self.own_unit()?;
        self.databag(relation, unit, Level::Unit)
    }

    /// The own unit's answer to a placeholder.
    pub(super) fn own_mirrored(
        &mut self,
        relation: &str,
        key: &str,
    ) -> Result<Option<String>, Crash> {
        self.own(relation, &mirror_key(key))
    }

    pub(super) fn write_mirrored(
        &mut self,
        relation: &str,
        key: &str,
        value: &str,
    ) -> Result<(), Crash> {
        self.write(relation, &mirror_key(key), value)
    }

    /// One `relation-set` per changed key; a value that is already there is not written again.
    pub(super) fn write(&mut self, relation: &str, key: &str, value: &str) -> Result<(), Crash> {
        if self.own(relation, key)?.as_deref() == Some(value) {
            return Ok(());
        }
        // In a relation that is gone this fails the hook, unlike reading: a deferred event whose
        // relation was removed crashes every later hook of its unit.
        self.set(relation, &BTreeMap::from([(key, value)]))?;
        let own = (
            relation.to_owned(),
            self.own_unit()?.to_owned(),
            Level::Unit,
        );
        if let Some(bag) = self.databags.get_mut(&own) {
            Arc::make_mut(bag).insert(key.to_owned(), value.to_owned());
        }
        Ok(())
    }

    /// Makes the own bag the given one, in one call of `relation-set`, if it is another.
    pub(super) fn replace_own(&mut self, relation: &str, bag: &Databag) -> Result<(), Crash> {
        let old = self.own_bag(relation)?;
        // An empty value removes its key.
        let removed = old.keys().filter(|key| !bag.contains_key(*key));
        let removed = removed.map(|key| (key.as_str(), ""));
        let changed = bag
            .iter()
            .filter(|(key, value)| old.get(*key) != Some(value));
        let changed = changed.map(|(key, value)| (key.as_str(), value.as_str()));
        let difference: BTreeMap<&str, &str> = removed.chain(changed).collect();
        if !difference.is_empty() {
            self.set(relation, &difference)?;
        }
        Ok(())
    }

    fn set(&mut self, relation: &str, entries: &BTreeMap<&str, &str>) -> Result<(), Crash> {
        let document = ascii(&serde_json::json!(entries).to_string());
        let args = ["-r", relation, "--file", "-"];
        self.tell("relation-set", &args, Some(document.as_bytes()))?;
        Ok(())
    }

    fn databag(
        &mut self,
        relation: &str,
        owner: &str,
        level: Level,
    ) -> Result<Arc<Databag>, Crash> {
        let whose = (relation.to_owned(), owner.to_owned(), level);
        if let Some(bag) = self.databags.get(&whose) {
            return Ok(Arc::clone(bag));
        }
        let bag = self.host.relation_get(relation, owner, level)?;
        self.databags.insert(whose, Arc::clone(&bag));
        Ok(bag)
    }

    fn relation(&mut self, relation: &str) -> Result<Rc<Relation>, Crash> {
        if let Some(known) = self.relations.get(relation) {
            return Ok(Rc::clone(known));
        }
        let args = ["--format=json", "-r", relation].map(str::to_owned);
        let output = self.host.hook_tool("relation-list", &args, None);
        let mut sorted: Vec<String> =
            Crash::unless_relation_is_gone("relation-list", output)?.unwrap_or_default();
        let mut units = Vec::with_capacity(sorted.len());
        while sorted.len() > 1 {
            units.push(sorted.remove((self.tie)(sorted.len())));
        }
        units.append(&mut sorted);
        let app = match units.first() {
            Some(unit) => Some(application(unit).to_owned()),
            None => self.remote_app(relation)?,
        };
        let remote = Rc::new(Relation { units, app });
        self.relations
            .insert(relation.to_owned(), Rc::clone(&remote));
        Ok(remote)
    }

    /// The name of a remote application none of whose units is known.
    fn remote_app(&mut self, relation: &str) -> Result<Option<String>, Crash> {
        if self.variable("JUJU_RELATION_ID") == Some(relation)
            && let Some(app) = self.variable("JUJU_REMOTE_APP")
        {
            return Ok(Some(app.to_owned()));
        }
        let args = ["--format=json", "--app", "-r", relation].map(str::to_owned);
        let output = self.host.hook_tool("relation-list", &args, None);
        Crash::unless_relation_is_gone("relation-list", output)
    }

    fn ask<T: DeserializeOwned>(&mut self, tool: &'static str, args: &[&str]) -> Result<T, Crash> {
        let stdout = self.tell(tool, args, None)?;
        serde_json::from_slice(&stdout).map_err(|_| Crash::Unreadable { tool })
    }

    fn tell(
        &mut self,
        tool: &'static str,
        args: &[&str],
        stdin: Option<&[u8]>,
    ) -> Result<Vec<u8>, Crash> {
        let args: Vec<String> = args.iter().map(|&arg| arg.to_owned()).collect();
        let output = self.host.hook_tool(tool, &args, stdin);
        match output.status {
            0 => Ok(output.stdout),
            _ => Err(Crash::refused(tool, &output)),
        }
    }
}

pub(super) fn mirror_key(key: &str) -> String {
    format!("{MIRROR_PREFIX}{key}")
}

pub(super) fn is_placeholder(value: &str) -> bool {
    value == PLACEHOLDER
}

/// The mirrored keys of a bag, each whole and without its prefix, and their values.
pub(super) fn mirrored(bag: &Databag) -> impl Iterator<Item = (&str, &str, &str)> {
    bag.iter().filter_map(|(key, value)| {
        Some((
            key.as_str(),
            key.strip_prefix(MIRROR_PREFIX)?,
            value.as_str(),
        ))
    })
}

fn application(unit: &str) -> &str {
    unit.split_once('/').map_or(unit, |(app, _)| app)
}

/// JSON as Python prints it: everything outside ASCII as `\u` escapes, in surrogate pairs where
/// needed. Juju's parser refuses the pairs, and so refuses this charm's write, as it would the real
/// one's.
fn ascii(json: &str) -> String {
    let mut escaped = String::with_capacity(json.len());
    for character in json.chars() {
        if character.is_ascii() {
            escaped.push(character);
        } else {
            for unit in character.encode_utf16(&mut [0; 2]) {
                escaped.push_str(&format!("\\u{unit:04x}"));
            }
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::ascii;

    #[test]
    fn json_is_escaped_as_python_escapes_it() {
        for (json, escaped) in [
            ("{\"k\":\"v\"}", "{\"k\":\"v\"}"),
            ("\"ä\"", "\"\\u00e4\""),
            ("\"😀\"", "\"\\ud83d\\ude00\""),
        ] {
            assert_eq!(ascii(json), escaped);
        }
    }
}

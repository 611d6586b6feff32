//! Answers for people and for scripts.

use serde::Serialize;
use serde_json::Value;

use crate::report::changes::{PlannedChange, change_table};
use crate::report::check::{self, Finding};
use crate::report::hosts::{self, Host};
use crate::report::table::folded;
use crate::report::value;

/// What `plan` answers.
#[derive(Serialize)]
#[serde(rename_all = "kebab-case")]
pub(super) struct Planned<'a> {
    pub(super) unit: &'a str,
    pub(super) status: String,
    pub(super) bootstrap_app: Option<&'a str>,
    pub(super) communicators: &'a [String],
    pub(super) hosts: &'a [Host],
    pub(super) other_keys: &'a [String],
    pub(super) changes: &'a [PlannedChange],
    pub(super) findings: Vec<Finding>,
    pub(super) incomplete: &'a [String],
}

/// What `explain` answers.
#[derive(Serialize)]
pub(super) struct Explained<'a> {
    pub(super) host: &'a Host,
    pub(super) next: String,
    pub(super) changes: Vec<PlannedChange>,
    pub(super) incomplete: &'a [String],
}

impl Planned<'_> {
    pub(super) fn to_text(&self) -> String {
        let mut text = format!("{}\n{}", self.unit, folded(&self.status));
        if !self.hosts.is_empty() {
            let hosts: Vec<&Host> = self.hosts.iter().collect();
            section(&mut text, "Hosts now", &hosts::table(&hosts));
        }
        match self.changes {
            [] => section(&mut text, "Nothing would be written", ""),
            changes => section(&mut text, "Would be written", &change_table(changes)),
        }
        if !self.findings.is_empty() {
            let findings = check::lines(&self.findings);
            section(&mut text, "Findings after that", &folded(&findings));
        }
        lacks(&mut text, self.incomplete);
        text
    }
}

impl Explained<'_> {
    pub(super) fn to_text(&self) -> String {
        let mut text = hosts::table(&[self.host]);
        if !self.changes.is_empty() {
            let changes = change_table(&self.changes);
            section(&mut text, "Would be written", &changes);
        }
        section(&mut text, "Next", &folded(&self.next));
        lacks(&mut text, self.incomplete);
        text
    }
}

fn lacks(text: &mut String, incomplete: &[String]) {
    if !incomplete.is_empty() {
        let incomplete = folded(&incomplete.join("\n"));
        section(text, "The input is incomplete", &incomplete);
    }
}

fn section(text: &mut String, title: &str, body: &str) {
    text.push('\n');
    text.push_str(title);
    text.push('\n');
    for line in body.lines() {
        text.push_str(format!("  {line}").trim_end());
        text.push('\n');
    }
}

pub(super) fn json(answer: &impl Serialize) -> String {
    format!("{:#}\n", value(answer))
}

/// YAML in which every text is quoted as in JSON, of which YAML is a superset. Writing these few
/// lines costs less of the executable than the library's emitter.
pub(super) fn yaml(answer: &impl Serialize) -> String {
    let mut text = String::new();
    push_yaml(&mut text, &value(answer), 0);
    text
}

fn push_yaml(text: &mut String, value: &Value, indent: usize) {
    match value {
        Value::Object(map) if !map.is_empty() => {
            for (at, (key, value)) in map.iter().enumerate() {
                // The first key of an item stands beside its dash.
                if at > 0 || !text.ends_with("- ") {
                    text.push_str(&" ".repeat(indent));
                }
                text.push_str(key);
                text.push(':');
                push_nested(text, value, indent + 2);
            }
        }
        Value::Array(items) if !items.is_empty() => {
            for item in items {
                text.push_str(&" ".repeat(indent));
                text.push_str("- ");
                push_yaml(text, item, indent + 2);
            }
        }
        scalar => text.push_str(&format!("{scalar}\n")),
    }
}

fn push_nested(text: &mut String, value: &Value, indent: usize) {
    let nests = match value {
        Value::Object(map) => !map.is_empty(),
        Value::Array(items) => !items.is_empty(),
        _ => false,
    };
    text.push(if nests { '\n' } else { ' ' });
    push_yaml(text, value, indent);
}

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
    /// `None`, as what follows, where the input lacks what a plan rests on.
    pub(super) status: Option<&'a str>,
    pub(super) bootstrap_app: Option<&'a str>,
    pub(super) communicators: &'a [String],
    pub(super) hosts: &'a [Host],
    pub(super) other_keys: &'a [String],
    pub(super) changes: Option<&'a [PlannedChange]>,
    pub(super) findings: Option<&'a [Finding]>,
    pub(super) incomplete: &'a [String],
}

/// What `explain` answers.
#[derive(Serialize)]
pub(super) struct Explained<'a> {
    pub(super) host: &'a Host,
    pub(super) next: String,
    pub(super) changes: Option<Vec<PlannedChange>>,
    pub(super) incomplete: &'a [String],
}

impl Planned<'_> {
    pub(super) fn to_text(&self) -> String {
        let status = self.status;
        let status = status.unwrap_or("The input lacks what a plan rests on: see below.");
        let mut text = format!("{}\n{}", self.unit, folded(status));
        if !self.hosts.is_empty() {
            let hosts: Vec<&Host> = self.hosts.iter().collect();
            section(&mut text, "Hosts", &hosts::table(&hosts));
        }
        changes(&mut text, self.changes, self.incomplete);
        if let Some(findings) = self.findings.filter(|found| !found.is_empty()) {
            section(
                &mut text,
                "Findings that remain",
                &folded(&check::lines(findings)),
            );
        }
        lacks(&mut text, self.incomplete);
        text
    }
}

impl Explained<'_> {
    pub(super) fn to_text(&self) -> String {
        let mut text = hosts::table(&[self.host]);
        changes(&mut text, self.changes.as_deref(), self.incomplete);
        section(&mut text, "Next", &folded(&self.next));
        lacks(&mut text, self.incomplete);
        text
    }
}

fn changes(text: &mut String, changes: Option<&[PlannedChange]>, incomplete: &[String]) {
    let by_what = match incomplete {
        [] => "",
        _ => ", as far as the input shows",
    };
    match changes {
        None => {}
        Some([]) => section(text, &format!("The charm would write nothing{by_what}"), ""),
        Some(changes) => section(
            text,
            &format!("The charm would write{by_what}"),
            &change_table(changes),
        ),
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
                // The first key of an item is on the line of its dash.
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

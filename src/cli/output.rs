//! Answers for people and for scripts.

use clap::Command;
use serde::Serialize;
use serde_json::Value;

use super::Shell;
use crate::check::{self, Finding};
use crate::report::{self, Host, Place, PlannedChange};

/// What `plan` answers.
#[derive(Serialize)]
#[serde(rename_all = "kebab-case")]
pub(super) struct Planned<'a> {
    pub(super) unit: &'a str,
    pub(super) status: String,
    pub(super) bootstrap_app: Option<&'a str>,
    pub(super) communicators: &'a [Place],
    pub(super) hosts: &'a [Host],
    pub(super) other_keys: &'a [String],
    pub(super) changes: &'a [PlannedChange],
    pub(super) findings: &'a [Finding],
    pub(super) incomplete: &'a [String],
}

/// What `explain` answers.
#[derive(Serialize)]
pub(super) struct Explained<'a> {
    pub(super) host: &'a Host,
    pub(super) next: String,
    pub(super) changes: &'a [PlannedChange],
    pub(super) incomplete: &'a [String],
}

impl Planned<'_> {
    pub(super) fn to_text(&self) -> String {
        let mut text = format!("{}\n{}\n", self.unit, self.status);
        if !self.hosts.is_empty() {
            let hosts: Vec<&Host> = self.hosts.iter().collect();
            section(&mut text, "Hosts now", &report::table(&hosts));
        }
        match self.changes {
            [] => section(&mut text, "Nothing would be written", ""),
            changes => section(
                &mut text,
                "Would be written",
                &report::change_table(changes),
            ),
        }
        if !self.findings.is_empty() {
            let findings = check::lines(self.findings);
            section(&mut text, "Findings after that", &folded(&findings));
        }
        lacks(&mut text, self.incomplete);
        text
    }
}

impl Explained<'_> {
    pub(super) fn to_text(&self) -> String {
        let mut text = report::table(&[self.host]);
        if !self.changes.is_empty() {
            let changes = report::change_table(self.changes);
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

/// Sentences for a terminal of 80 columns: what goes on from the line above is indented.
fn folded(text: &str) -> String {
    const WIDTH: usize = 78;
    let mut folded = String::new();
    for line in text.lines() {
        let mut length = 0;
        for word in line.split(' ') {
            let word_length = word.chars().count();
            if length > 0 && length + 1 + word_length > WIDTH {
                folded.push_str("\n  ");
                length = 2;
            } else if length > 0 {
                folded.push(' ');
                length += 1;
            }
            folded.push_str(word);
            length += word_length;
        }
        folded.push('\n');
    }
    folded
}

fn section(text: &mut String, title: &str, body: &str) {
    text.push('\n');
    text.push_str(title);
    text.push('\n');
    for line in body.lines() {
        text.push_str("  ");
        text.push_str(line);
        text.push('\n');
    }
}

pub(super) fn json(answer: &impl Serialize) -> String {
    format!("{:#}\n", report::value(answer))
}

/// YAML in which every text is quoted as in JSON, of which YAML is a superset. Writing these few
/// lines costs less of the executable than the library's emitter.
pub(super) fn yaml(answer: &impl Serialize) -> String {
    let mut text = String::new();
    push_yaml(&mut text, &report::value(answer), 0);
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

/// A completion script. It completes commands, options, their values and files; the library that
/// does more is larger than this whole module.
pub(super) fn completions(command: &Command, shell: Shell) -> String {
    let name = command.get_name();
    let function = name.replace('-', "_");
    let mut words: Vec<String> = Vec::new();
    for subcommand in command.get_subcommands() {
        words.push(subcommand.get_name().to_owned());
        for argument in subcommand.get_arguments() {
            words.extend(argument.get_long().map(|option| format!("--{option}")));
            let values = argument.get_possible_values();
            words.extend(values.iter().map(|value| value.get_name().to_owned()));
        }
    }
    words.extend(["--help", "--version"].map(str::to_owned));
    words.sort();
    words.dedup();
    let words = words.join(" ");
    match shell {
        Shell::Bash => format!(
            "_{function}() {{\n    COMPREPLY=($(compgen -f -W '{words}' -- \"${{COMP_WORDS[COMP_CWORD]}}\"))\n}}\n\
             complete -o filenames -F _{function} {name}\n"
        ),
        Shell::Zsh => format!(
            "#compdef {name}\n_{function}() {{\n    compadd -- {words}\n    _files\n}}\n\
             compdef _{function} {name}\n"
        ),
        Shell::Fish => format!("complete -c {name} -a '{words}'\n"),
    }
}

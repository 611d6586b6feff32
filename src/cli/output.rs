//! Answers for people and for scripts.

use std::collections::BTreeMap;

use serde::Serialize;

use super::Situation;
use super::model::Lack;
use super::verdict::Verdict;
use crate::report::changes::{PlannedChange, change_table};
use crate::report::check::{self, Finding};
use crate::report::hosts::{self, Host, State};
use crate::report::table::{columns, folded};
use crate::report::value;

/// As many hosts, or findings of one kind, fit one screen with the rest.
const MOST_NAMED: usize = 5;

/// What `explain` answers.
#[derive(Serialize)]
pub(super) struct Explained<'a> {
    pub(super) host: &'a Host,
    pub(super) next: String,
    pub(super) changes: Option<Vec<PlannedChange>>,
    pub(super) incomplete: &'a [Lack],
}

impl Situation {
    pub(super) fn to_text(&self, all: bool) -> String {
        let first = match self.verdict {
            Verdict::Go => "go: no host waits, and every token stays",
            Verdict::Stop => "",
            Verdict::NotEnough => "not enough: the plan rests on what is not in the input",
        };
        let word = match self.verdict {
            Verdict::NotEnough => "as far as the input shows",
            _ => self.verdict.as_str(),
        };
        let reasons = self.reasons.iter();
        let reasons = reasons.map(|reason| format!("{word}: {reason}"));
        let lines: Vec<String> = std::iter::once(first.to_owned()).chain(reasons).collect();
        let mut text = folded(lines.join("\n").trim_start());
        if let Some(status) = &self.status {
            text.push_str(&folded(&format!("{} then shows {status}", self.unit)));
        }
        self.show_hosts(&mut text, all);
        let table = if all { change_table } else { collapsed };
        show_changes(&mut text, self.changes.as_deref(), table);
        if let Some(findings @ [_, ..]) = self.findings.as_deref() {
            let findings = match all {
                true => check::lines(findings),
                false => first_of_each_kind(findings),
            };
            section(&mut text, "Findings that remain", &folded(&findings));
        }
        show_lacks(&mut text, &self.incomplete);
        text
    }

    fn show_hosts(&self, text: &mut String, all: bool) {
        if self.report.hosts.is_empty() {
            return;
        }
        let hosts = &self.report.hosts;
        let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
        for host in hosts {
            *counts.entry(host.state.as_str()).or_default() += 1;
        }
        let counts = counts
            .iter()
            .map(|(state, count)| format!("{count} {state}"));
        let counts: Vec<String> = counts.collect();
        let is_well = |host: &Host| matches!(host.state, State::Member | State::Token);
        let shown: Vec<&Host> = hosts.iter().filter(|host| all || !is_well(host)).collect();
        let most = if all { usize::MAX } else { MOST_NAMED };
        let mut body = match shown.is_empty() {
            true => String::new(),
            false => hosts::table(&shown[..shown.len().min(most)]),
        };
        if shown.len() > most {
            body.push_str(&format!("and {} more: --all\n", shown.len() - most));
        }
        section(text, &format!("Hosts: {}", counts.join(", ")), &body);
    }
}

impl Explained<'_> {
    pub(super) fn to_text(&self) -> String {
        let mut text = hosts::table(&[self.host]);
        show_changes(&mut text, self.changes.as_deref(), change_table);
        section(&mut text, "Next", &folded(&self.next));
        show_lacks(&mut text, self.incomplete);
        text
    }
}

/// The changes by the kind of their keys, with how many there are.
fn collapsed(changes: &[PlannedChange]) -> String {
    let mut kinds: BTreeMap<[String; 3], Vec<&PlannedChange>> = BTreeMap::new();
    for change in changes {
        let (kind, _) = change.key.split_once('-').unwrap_or_default();
        let (key, becomes) = match kind {
            "mirror" => ("mirror-*".to_owned(), first_word(&change.change)),
            "host" | "spent" | "refused" | "relation" | "option" => {
                let is_removed = change.change == "removed";
                let becomes = if is_removed { "removed" } else { "set" };
                (format!("{kind}-*"), becomes.to_owned())
            }
            _ => (change.key.clone(), change.change.clone()),
        };
        // A bag is `ledger`, or the number of a relation with `app` or `unit`.
        let bag = |bag: &String| match bag.rsplit_once(' ') {
            Some((_, side)) => format!("{side} bags"),
            None => bag.clone(),
        };
        let mut bags: Vec<String> = change.bags.iter().map(bag).collect();
        bags.dedup();
        let kind = [key, becomes, bags.join(", ")];
        kinds.entry(kind).or_default().push(change);
    }
    let head = ["HOW MANY", "KEY", "BECOMES", "IN"].map(str::to_owned);
    let row =
        |([key, becomes, bags], changes): (&[String; 3], &Vec<&PlannedChange>)| match changes[..] {
            [one] => [
                "1".to_owned(),
                one.key.clone(),
                one.change.clone(),
                one.bags.join(", "),
            ],
            _ => [
                changes.len().to_string(),
                key.clone(),
                becomes.clone(),
                bags.clone(),
            ],
        };
    let rows: Vec<_> = std::iter::once(head).chain(kinds.iter().map(row)).collect();
    columns(&rows)
}

fn first_word(text: &str) -> String {
    text.split(' ').next().unwrap_or_default().to_owned()
}

fn first_of_each_kind(findings: &[Finding]) -> String {
    let mut lines: Vec<(&Finding, usize)> = Vec::new();
    for finding in findings {
        match lines
            .iter_mut()
            .find(|(first, _)| first.kind == finding.kind)
        {
            Some((_, more)) => *more += 1,
            None => lines.push((finding, 0)),
        }
    }
    let line = |(first, more): &(&Finding, usize)| match more {
        0 => format!("{}: {}", first.kind, first.text),
        more => format!("{}: {} (+{more} more: --all)", first.kind, first.text),
    };
    lines.iter().map(line).collect::<Vec<_>>().join("\n")
}

fn show_changes(
    text: &mut String,
    changes: Option<&[PlannedChange]>,
    table: fn(&[PlannedChange]) -> String,
) {
    match changes {
        None => {}
        Some([]) => section(text, "The charm writes nothing", ""),
        Some(changes) => section(text, "What the charm writes", &table(changes)),
    }
}

fn show_lacks(text: &mut String, lacks: &[Lack]) {
    let lacks: String = lacks.iter().map(|lack| folded(&lack.text)).collect();
    if !lacks.is_empty() {
        section(text, "What the input does not show", &lacks);
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

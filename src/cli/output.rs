//! Answers for people.

use std::collections::BTreeMap;

use super::model::Lack;
use super::situation::{Explained, Situation, Verdict};
use crate::report::changes::{PlannedChange, change_table};
use crate::report::check::{self, Finding};
use crate::report::hosts::{self, Host, State};
use crate::report::table::{columns, folded};

/// As many hosts fit one screen with the rest.
const MOST_NAMED: usize = 5;

impl Situation {
    pub(super) fn to_text(&self, all: bool) -> String {
        let (first, word) = match self.verdict {
            Verdict::Go => ("go: no host waits, and every token stays\n", ""),
            Verdict::Stop => ("", "stop"),
            Verdict::NotEnough => (
                "not enough: the plan rests on what is not in the input\n",
                "as far as the input shows",
            ),
        };
        let reasons = self.reasons.iter();
        let reasons: String = reasons.map(|why| format!("{word}: {why}\n")).collect();
        let status = format!("{} then shows {}", self.unit, self.status);
        let mut text = folded(&[first, &reasons, &status].concat());
        self.show_hosts(&mut text, all);
        let table = if all { change_table } else { collapsed };
        show_changes(&mut text, self.changes.as_deref(), table);
        if !self.findings.is_empty() {
            let findings = match all {
                true => check::lines(&self.findings),
                false => first_of_each_kind(&self.findings),
            };
            section(&mut text, "Findings that remain", &folded(&findings));
        }
        show_lacks(&mut text, &self.incomplete);
        text
    }

    fn show_hosts(&self, text: &mut String, all: bool) {
        let hosts = &self.report.hosts;
        if hosts.is_empty() {
            return;
        }
        let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
        for host in hosts {
            *counts.entry(host.state.as_str()).or_default() += 1;
        }
        let counts = counts
            .iter()
            .map(|(state, count)| format!("{count} {state}"));
        let title = format!("Hosts: {}", counts.collect::<Vec<_>>().join(", "));
        let is_well = |host: &Host| matches!(host.state, State::Member | State::Token);
        let shown: Vec<&Host> = hosts.iter().filter(|host| all || !is_well(host)).collect();
        let named = if all {
            shown.len()
        } else {
            shown.len().min(MOST_NAMED)
        };
        let mut body = match named {
            0 => String::new(),
            named => hosts::table(&shown[..named]),
        };
        if shown.len() > named {
            body.push_str(&format!("and {} more: --all\n", shown.len() - named));
        }
        section(text, &title, &body);
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
        kinds.entry(kind(change)).or_default().push(change);
    }
    let mut rows = vec![["HOW MANY", "KEY", "BECOMES", "IN"].map(str::to_owned)];
    rows.extend(kinds.into_iter().map(|(kind, changes)| {
        let [key, becomes, bags] = match changes[..] {
            [one] => exactly(one),
            _ => kind,
        };
        [changes.len().to_string(), key, becomes, bags]
    }));
    columns(&rows)
}

fn exactly(change: &PlannedChange) -> [String; 3] {
    [
        change.key.clone(),
        change.change.clone(),
        change.bags.join(", "),
    ]
}

/// Its key without the name in it, what becomes of it without whose, and the bags without numbers.
fn kind(change: &PlannedChange) -> [String; 3] {
    let (family, _) = change.key.split_once('-').unwrap_or_default();
    let first = change.change.split(' ').next().unwrap_or_default();
    let becomes = match family {
        "mirror" => first,
        "host" | "spent" | "refused" | "relation" | "option" if first != "removed" => "set",
        "host" | "spent" | "refused" | "relation" | "option" => first,
        _ => return exactly(change),
    };
    // A bag is `ledger`, or the number of a relation with `app` or `unit`.
    let bags = change.bags.iter().map(|bag| match bag.split_once(' ') {
        Some((_, side)) => format!("{side} bags"),
        None => bag.clone(),
    });
    let mut bags: Vec<String> = bags.collect();
    bags.dedup();
    [format!("{family}-*"), becomes.to_owned(), bags.join(", ")]
}

fn first_of_each_kind(findings: &[Finding]) -> String {
    let mut kinds: Vec<&str> = findings.iter().map(|finding| finding.kind).collect();
    kinds.dedup();
    let line = |kind| {
        let mut alike = findings.iter().filter(|finding| finding.kind == kind);
        let first = alike.next().map_or("", |finding| &finding.text);
        match alike.count() {
            0 => format!("{kind}: {first}\n"),
            more => format!("{kind}: {first} (+{more} more: --all)\n"),
        }
    };
    kinds.into_iter().map(line).collect()
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
    text.push_str(&format!("\n{title}\n"));
    for line in body.lines() {
        text.push_str(&format!("  {line}\n"));
    }
}

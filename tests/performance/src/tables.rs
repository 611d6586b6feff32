//! What was measured as Markdown, and its place in a document.

use std::fmt::Write as _;

use crate::bound::{Bound, bound};
use crate::core::{Core, Decision};
use crate::hooks::{Hooks, REFERENCE, Size};
use crate::results::{Machine, Results};
use crate::scale::{Figure, Scale, Who};
use crate::worlds::World;

/// The hosts for which there are goals, and tables of calls.
const GOALS_AT: usize = 300;

/// A part of a document that is written by this program.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Table {
    /// Its name in the markers around it.
    pub name: &'static str,
    /// Its text.
    pub text: String,
}

/// Everything that can be said so far.
pub fn tables(results: &Results) -> Vec<Table> {
    let mut tables = vec![machine(&results.machine), goals(results)];
    if let Some(core) = &results.core {
        tables.push(decisions(core));
    }
    if let Some(hooks) = &results.hooks {
        tables.extend([nothing_new(hooks), alone(hooks), everything(hooks)]);
        tables.extend(alone_in_words(hooks));
    }
    if let Some(scale) = &results.scale {
        tables.push(scaled("trickle", scale));
        tables.push(by_hook("calls-trickle", scale));
    }
    tables
}

/// Puts `tables` between their markers, `<!-- NAME -->` and `<!-- end -->`. A table without a place
/// is left out.
pub fn fill(document: &str, tables: &[Table]) -> String {
    const END: &str = "<!-- end -->";

    let mut document = document.to_owned();
    for Table { name, text } in tables {
        let marker = format!("<!-- {name} -->\n");
        let Some((before, rest)) = document.split_once(&marker) else {
            continue;
        };
        let Some((_, after)) = rest.split_once(END) else {
            continue;
        };
        document = format!("{before}{marker}\n{text}\n{END}{after}");
    }
    document
}

fn markdown(name: &'static str, header: &[&str], rows: Vec<Vec<String>>) -> Table {
    let mut text = String::new();
    let mut line = |cells: &[String]| {
        // Writing to a string cannot fail.
        let _ = writeln!(text, "| {} |", cells.join(" | "));
    };
    line(&header.iter().map(ToString::to_string).collect::<Vec<_>>());
    line(&vec!["---".to_owned(); header.len()]);
    rows.iter().for_each(|row| line(row));
    Table { name, text }
}

/// Digits in groups of three.
fn whole(number: f64) -> String {
    let digits = format!("{number:.0}");
    let mut text = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(' ');
        }
        text.push(digit);
    }
    text
}

fn count(number: usize) -> String {
    whole(number as f64)
}

/// Three digits that say something.
fn figure(number: f64) -> String {
    match number {
        100.0.. => whole(number),
        10.0.. => format!("{number:.1}"),
        1.0.. => format!("{number:.2}"),
        _ => format!("{number:.3}"),
    }
}

fn machine(machine: &Machine) -> Table {
    let cores = match machine.cores {
        1 => "1 core".to_owned(),
        cores => format!("{cores} cores"),
    };
    Table {
        name: "machine",
        text: format!(
            "{}, {cores}; {}. The load average was {} at the start.\n",
            machine.processor.replace("(R)", ""),
            machine.rust,
            machine.load
        ),
    }
}

/// What was asked of the charm, and what it does.
fn goals(results: &Results) -> Table {
    let mut rows = Vec::new();
    let mut row = |goal: &str, is: String, met: bool| {
        let met = if met { "yes" } else { "**no**" };
        rows.push(vec![goal.to_owned(), is, met.to_owned()]);
    };
    if let Some(hooks) = &results.hooks {
        let calls = hooks.sizes.iter().map(|size| size.nothing_new.calls);
        let calls = calls.max().unwrap_or_default();
        row(
            "a hook without news calls at most 3 hook tools, at any size",
            count(calls),
            calls <= 3,
        );
        for (units, times) in [(3, 20.0), (1000, 100.0)] {
            let size = hooks.sizes.iter().find(|size| size.units == units);
            let reference = REFERENCE.iter().find(|(known, ..)| *known == units);
            if let (Some(size), Some((_, time, _))) = (size, reference) {
                let [faster, fastest] = [size.nothing_new.median, size.nothing_new.fastest]
                    .map(|of| (time / of).floor());
                row(
                    &format!(
                        "and takes {times} times less than the Python charm's at {} units",
                        count(units)
                    ),
                    format!(
                        "{} times, its fastest run {}",
                        whole(faster),
                        whole(fastest)
                    ),
                    faster >= times,
                );
            }
        }
        for size in &hooks.sizes {
            let at = format!("the executable alone, at {} units", count(size.units));
            if let Some(nanoseconds) = size.alone.processor {
                let time = nanoseconds as f64 / 1e6;
                row(
                    &format!("{at}: under 2 ms of a processor"),
                    format!("{} ms", figure(time)),
                    time < 2.0,
                );
            }
            let memory = size.alone.memory as f64 / 1e6;
            row(
                &format!("{at}: under 4 MB of memory"),
                format!("{memory:.2} MB"),
                memory < 4.0,
            );
        }
        row(
            "its size is at most 3 MB",
            format!("{:.2} MB", hooks.executable as f64 / 1e6),
            hooks.executable <= 3_000_000,
        );
    }
    if let Some(core) = &results.core {
        let largest = core.decisions.iter().map(|one| one.memory.units).max();
        let largest = || {
            let all = core.decisions.iter();
            all.filter(move |one| Some(one.memory.units) == largest)
        };
        let units = count(largest().next().map_or(0, |one| one.memory.units));
        let time = largest().map(|one| one.time.fastest).fold(0.0, f64::max);
        row(
            &format!("the pure core decides about {units} units in at most 60 ms"),
            format!("{} ms", figure(time)),
            time <= 60.0,
        );
        let memory = core.decisions.iter().map(|one| one.memory.ratio());
        let memory = memory.fold(0.0, f64::max);
        row(
            "and takes at most 4 times the memory of its input",
            format!("{memory:.2} times"),
            memory <= 4.0,
        );
    }
    if let Some(scale) = &results.scale {
        let mut figures = scale.figures.iter();
        let ours = figures.find(|one| one.who == Who::Ours && one.hosts == GOALS_AT);
        if let Some(ours) = ours {
            row(
                &format!("{GOALS_AT} hosts one by one: at most 26 hook tools per host"),
                format!("{:.1}", ours.calls_per_host),
                ours.calls_per_host <= 26.0,
            );
        }
    }
    markdown("goals", &["goal", "is", "met"], rows)
}

fn decisions(core: &Core) -> Table {
    let mut header = vec!["units"];
    header.extend(World::ALL.map(World::title));
    header.extend(["slowest, per unit", "memory on top of the input"]);
    let mut rows = Vec::new();
    let of = |world: World| {
        core.decisions
            .iter()
            .filter(move |one| one.memory.world == world)
    };
    for first in of(World::Burst) {
        let units = first.memory.units;
        let same: Vec<&Decision> = World::ALL
            .iter()
            .filter_map(|&world| of(world).find(|one| one.memory.units == units))
            .collect();
        let slowest = same.iter().map(|one| one.time.fastest).fold(0.0, f64::max);
        let most = same
            .iter()
            .map(|one| one.memory.ratio())
            .fold(0.0, f64::max);
        let mut row = vec![count(units)];
        row.extend(
            same.iter()
                .map(|one| format!("{} ms", figure(one.time.fastest))),
        );
        row.push(format!("{} µs", figure(slowest * 1e3 / units as f64)));
        row.push(format!("{most:.2} times"));
        rows.push(row);
    }
    markdown("core", &header, rows)
}

fn nothing_new(hooks: &Hooks) -> Table {
    let rows = hooks.sizes.iter().map(|size| {
        let hook = &size.nothing_new;
        let mut row = vec![
            count(size.units),
            count(hook.calls),
            format!("{} ms", figure(hook.fastest)),
            format!("{} ms", figure(hook.median)),
            format!("{} ms", figure(size.least)),
        ];
        let reference = REFERENCE.iter().find(|(units, ..)| *units == size.units);
        row.extend(match reference {
            Some((_, time, calls)) => [
                count(*calls),
                format!("{} ms", whole(*time)),
                format!("{} times", whole((time / hook.median).floor())),
            ],
            None => ["", "", ""].map(str::to_owned),
        });
        row
    });
    let header = [
        "units",
        "calls",
        "fastest run",
        "median",
        "the least",
        "Python charm: calls",
        "time",
        "median is less by",
    ];
    markdown("hook", &header, rows.collect())
}

fn alone(hooks: &Hooks) -> Table {
    let rows = hooks.sizes.iter().map(|size| {
        vec![
            count(size.units),
            format!("{} B", size.bag),
            processor_time(size),
            peak_memory(size),
        ]
    });
    let header = [
        "units",
        "application bag",
        "processor time",
        "memory at its peak",
    ];
    markdown("alone", &header, rows.collect())
}

/// The last row of [`alone`], for operators.
fn alone_in_words(hooks: &Hooks) -> Option<Table> {
    let size = hooks.sizes.last()?;
    let (hosts, time, memory) = (count(size.units), processor_time(size), peak_memory(size));
    Some(Table {
        name: "alone-in-words",
        text: format!(
            "- In such a hook, at {hosts} hosts, the executable takes {time} of processor time and \
             {memory} of memory.\n"
        ),
    })
}

fn processor_time(size: &Size) -> String {
    size.alone.processor.map_or_else(
        || "not measured".to_owned(),
        |nanoseconds| format!("{} ms", figure(nanoseconds as f64 / 1e6)),
    )
}

fn peak_memory(size: &Size) -> String {
    format!("{:.2} MB", size.alone.memory as f64 / 1e6)
}

fn everything(hooks: &Hooks) -> Table {
    let rows = hooks.sizes.iter().map(|size| {
        let hook = &size.everything;
        let tools = hook.calls as f64 * hooks.tool_ms;
        vec![
            count(size.units),
            count(hook.calls),
            format!("{} ms", whole(tools)),
            format!("{} ms", whole(hook.fastest)),
            format!("{} ms", whole(hook.median)),
        ]
    });
    let header = ["units", "calls", "the agent alone", "fastest run", "median"];
    markdown("everything", &header, rows.collect())
}

fn scaled(name: &'static str, scale: &Scale) -> Table {
    let mut rows = Vec::new();
    let mut hosts: Vec<usize> = scale.figures.iter().map(|one| one.hosts).collect();
    hosts.sort_unstable();
    hosts.dedup();
    for hosts in hosts {
        let same = scale.figures.iter().filter(|one| one.hosts == hosts);
        let least = bound(hosts);
        for one in same {
            rows.push(played(one));
            if one.who == Who::Ours {
                rows.push(least_row(hosts, &least));
            }
        }
    }
    let header = [
        "hosts",
        "distributor",
        "all joined after",
        "its writes",
        "its hooks",
        "calls per host",
        "consumer hooks",
        "plays",
    ];
    markdown(name, &header, rows)
}

fn least_row(hosts: usize, least: &Bound) -> Vec<String> {
    vec![
        count(hosts),
        "*bound*".to_owned(),
        format!("{} s", whole(least.seconds)),
        whole(least.writes),
        whole(least.provider_hooks),
        format!("{:.1}", least.calls_per_host),
        whole(least.consumer_hooks),
        String::new(),
    ]
}

fn played(one: &Figure) -> Vec<String> {
    let name = match one.who {
        Who::Ours => "**this charm**",
        Who::Pe => "Python, 0.8",
    };
    let seconds = match one.seconds {
        Some(seconds) => format!("{} s", whole(seconds)),
        None => "not within an hour".to_owned(),
    };
    vec![
        count(one.hosts),
        name.to_owned(),
        seconds,
        whole(one.writes),
        whole(one.provider_hooks),
        format!("{:.1}", one.calls_per_host),
        whole(one.consumer_hooks),
        one.plays.to_string(),
    ]
}

fn by_hook(name: &'static str, scale: &Scale) -> Table {
    let ours = scale
        .figures
        .iter()
        .filter(|one| one.who == Who::Ours && one.hosts <= GOALS_AT);
    let Some(one) = ours.max_by_key(|one| one.hosts) else {
        return markdown(name, &[], Vec::new());
    };
    let mut kinds: Vec<_> = one.by_hook.iter().collect();
    let calls = |tools: &std::collections::BTreeMap<String, f64>| tools.values().sum::<f64>();
    kinds.sort_by(|(_, a), (_, b)| calls(&b.tools).total_cmp(&calls(&a.tools)));
    let rows = kinds.iter().filter(|(_, kind)| calls(&kind.tools) >= 0.005);
    let rows = rows.map(|(hook, kind)| {
        let mut tools: Vec<_> = kind.tools.iter().collect();
        tools.sort_by(|(a, more), (b, less)| less.total_cmp(more).then(a.cmp(b)));
        let tools: Vec<String> = tools
            .iter()
            .filter(|(_, calls)| **calls >= 0.005)
            .map(|(tool, calls)| format!("{tool} {calls:.2}"))
            .collect();
        vec![
            (*hook).clone(),
            format!("{:.2}", kind.hooks),
            format!("{:.2}", calls(&kind.tools)),
            tools.join(", "),
        ]
    });
    let header = ["hook", "hooks per host", "calls per host", "which"];
    markdown(name, &header, rows.collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_between_the_markers_changes() {
        let document = "a\n<!-- x -->\nold\n<!-- end -->\nb\n<!-- y -->\n<!-- end -->\n";
        let table = |name, text: &str| Table {
            name,
            text: text.to_owned(),
        };
        let filled = fill(document, &[table("x", "new\n"), table("z", "lost\n")]);
        assert_eq!(
            filled,
            "a\n<!-- x -->\n\nnew\n\n<!-- end -->\nb\n<!-- y -->\n<!-- end -->\n"
        );
        assert_eq!(fill(&filled, &[table("x", "new\n")]), filled);
    }

    #[test]
    fn digits_are_in_groups_of_three() {
        for (number, text) in [
            (0, "0"),
            (999, "999"),
            (1000, "1 000"),
            (1234567, "1 234 567"),
        ] {
            assert_eq!(count(number), text);
        }
    }
}

//! What was measured as Markdown, and its place in a document.

use std::collections::BTreeSet;

use crate::bound::{Bound, bound};
use crate::core::{Core, Decision};
use crate::hooks::{Figure, Hooks, REFERENCE, Size};
use crate::results::{Machine, Results};
use crate::scale::{self, HookKind, Scale, Who};
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
        tables.push(trickle(scale));
        tables.push(by_hook(scale));
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

/// Cells are between bars.
fn markdown(name: &'static str, header: &str, rows: impl IntoIterator<Item = String>) -> Table {
    let rule = vec!["---"; header.split(" | ").count()].join(" | ");
    let lines = [header.to_owned(), rule].into_iter().chain(rows);
    let text = lines.map(|line| format!("| {line} |\n")).collect();
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
        rows.push(format!(
            "{goal} | {is} | {}",
            if met { "yes" } else { "**no**" }
        ));
    };
    if let Some(hooks) = &results.hooks {
        let calls = hooks.sizes.iter().map(|size| size.nothing_new.calls);
        let calls = calls.max().unwrap_or_default();
        let goal = "a hook without news calls at most 3 hook tools, at any size";
        row(goal, count(calls), calls <= 3);
        for (units, times) in [(3, 20.0), (1000, 100.0)] {
            let size = hooks.sizes.iter().find(|size| size.units == units);
            let reference = REFERENCE.iter().find(|(known, ..)| *known == units);
            if let (Some(size), Some((_, time, _))) = (size, reference) {
                let new = &size.nothing_new;
                let [faster, fastest] = [new.median, new.fastest].map(|of| (time / of).floor());
                let units = count(units);
                let goal = format!(
                    "and takes {times} times less than the Python charm's at {units} units"
                );
                let is = format!(
                    "{} times, its fastest run {}",
                    whole(faster),
                    whole(fastest)
                );
                row(&goal, is, faster >= times);
            }
        }
        for size in &hooks.sizes {
            let at = format!("the executable alone, at {} units", count(size.units));
            if let Some(nanoseconds) = size.alone.processor {
                let time = nanoseconds as f64 / 1e6;
                let goal = format!("{at}: under 2 ms of a processor");
                row(&goal, format!("{} ms", figure(time)), time < 2.0);
            }
            let goal = format!("{at}: under 4 MB of memory");
            row(&goal, peak_memory(size), size.alone.memory < 4_000_000);
        }
        let is = format!("{:.2} MB", hooks.executable as f64 / 1e6);
        row(
            "its size is at most 3 MB",
            is,
            hooks.executable <= 3_000_000,
        );
    }
    if let Some(core) = &results.core {
        let units = core
            .decisions
            .iter()
            .map(|one| one.memory.units)
            .max()
            .unwrap_or_default();
        let largest = core
            .decisions
            .iter()
            .filter(|one| one.memory.units == units);
        let time = largest.map(|one| one.time.fastest).fold(0.0, f64::max);
        let units = count(units);
        let goal = format!("the pure core decides about {units} units in at most 60 ms");
        row(&goal, format!("{} ms", figure(time)), time <= 60.0);
        let memory = core
            .decisions
            .iter()
            .map(|one| one.memory.ratio())
            .fold(0.0, f64::max);
        let goal = "and takes at most 4 times the memory of its input";
        row(goal, format!("{memory:.2} times"), memory <= 4.0);
    }
    let mut figures = results.scale.iter().flat_map(|scale| &scale.figures);
    if let Some(ours) = figures.find(|one| one.who == Who::Ours && one.hosts == GOALS_AT) {
        let goal = format!("{GOALS_AT} hosts one by one: at most 26 hook tools per host");
        let calls = ours.calls_per_host;
        row(&goal, format!("{calls:.1}"), calls <= 26.0);
    }
    markdown("goals", "goal | is | met", rows)
}

fn decisions(core: &Core) -> Table {
    let of = |world: World| {
        core.decisions
            .iter()
            .filter(move |one| one.memory.world == world)
    };
    let rows = of(World::Burst).map(|first| {
        let units = first.memory.units;
        let same = |&world: &World| of(world).find(|one| one.memory.units == units);
        let same: Vec<&Decision> = World::ALL.iter().filter_map(same).collect();
        let slowest = same.iter().map(|one| one.time.fastest).fold(0.0, f64::max);
        let most = same
            .iter()
            .map(|one| one.memory.ratio())
            .fold(0.0, f64::max);
        let times = same
            .iter()
            .map(|one| format!("{} ms", figure(one.time.fastest)));
        let times = times.collect::<Vec<_>>().join(" | ");
        let each = figure(slowest * 1e3 / units as f64);
        format!("{} | {times} | {each} µs | {most:.2} times", count(units))
    });
    let worlds = World::ALL.map(World::title).join(" | ");
    let header = format!("units | {worlds} | slowest, per unit | memory on top of the input");
    markdown("core", &header, rows)
}

fn nothing_new(hooks: &Hooks) -> Table {
    let rows = hooks.sizes.iter().map(|size| {
        let Figure {
            calls,
            fastest,
            median,
        } = size.nothing_new;
        let reference = REFERENCE.iter().find(|(units, ..)| *units == size.units);
        let reference = reference.map_or_else(
            || " |  | ".to_owned(),
            |(_, time, calls)| {
                let less = whole((time / median).floor());
                format!("{} | {} ms | {less} times", count(*calls), whole(*time))
            },
        );
        let times = [fastest, median, size.least].map(|time| format!("{} ms", figure(time)));
        format!(
            "{} | {} | {} | {reference}",
            count(size.units),
            count(calls),
            times.join(" | ")
        )
    });
    let header = "units | calls | fastest run | median | the least | Python charm: calls | time | \
        median is less by";
    markdown("hook", header, rows)
}

fn alone(hooks: &Hooks) -> Table {
    let rows = hooks.sizes.iter().map(|size| {
        let (units, bag) = (count(size.units), size.bag);
        format!(
            "{units} | {bag} B | {} | {}",
            processor_time(size),
            peak_memory(size)
        )
    });
    markdown(
        "alone",
        "units | application bag | processor time | memory at its peak",
        rows,
    )
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
        let Figure {
            calls,
            fastest,
            median,
        } = size.everything;
        let times = [calls as f64 * hooks.tool_ms, fastest, median];
        let times = times.map(|time| format!("{} ms", whole(time))).join(" | ");
        format!("{} | {} | {times}", count(size.units), count(calls))
    });
    markdown(
        "everything",
        "units | calls | the agent alone | fastest run | median",
        rows,
    )
}

fn trickle(scale: &Scale) -> Table {
    let hosts: BTreeSet<usize> = scale.figures.iter().map(|one| one.hosts).collect();
    let rows = hosts.into_iter().flat_map(|hosts| {
        let same = scale.figures.iter().filter(move |one| one.hosts == hosts);
        same.flat_map(move |one| {
            let least = (one.who == Who::Ours).then(|| {
                let Bound {
                    seconds,
                    writes,
                    provider_hooks,
                    calls_per_host,
                    consumer_hooks,
                } = bound(hosts);
                let [seconds, writes, hooks, theirs] =
                    [seconds, writes, provider_hooks, consumer_hooks].map(whole);
                format!(
                    "{} | *bound* | {seconds} s | {writes} | {hooks} | {calls_per_host:.1} | \
                     {theirs} | ",
                    count(hosts)
                )
            });
            [Some(played(one)), least].into_iter().flatten()
        })
    });
    let header = "hosts | distributor | all joined after | its writes | its hooks | \
        calls per host | consumer hooks | plays";
    markdown("trickle", header, rows)
}

fn played(one: &scale::Figure) -> String {
    let name = match one.who {
        Who::Ours => "**this charm**",
        Who::Pe => "Python, 0.8",
    };
    let seconds = one.seconds.map(|seconds| format!("{} s", whole(seconds)));
    let seconds = seconds.unwrap_or_else(|| "not within an hour".to_owned());
    let [writes, hooks, theirs] = [one.writes, one.provider_hooks, one.consumer_hooks].map(whole);
    format!(
        "{} | {name} | {seconds} | {writes} | {hooks} | {:.1} | {theirs} | {}",
        count(one.hosts),
        one.calls_per_host,
        one.plays
    )
}

/// Where the calls of the largest play go.
fn by_hook(scale: &Scale) -> Table {
    let ours = scale
        .figures
        .iter()
        .filter(|one| one.who == Who::Ours && one.hosts <= GOALS_AT);
    let largest = ours.max_by_key(|one| one.hosts);
    let calls = |kind: &HookKind| kind.tools.values().sum::<f64>();
    let mut kinds: Vec<_> = largest.iter().flat_map(|one| &one.by_hook).collect();
    kinds.sort_by(|(_, a), (_, b)| calls(b).total_cmp(&calls(a)));
    let rows = kinds
        .into_iter()
        .filter(|(_, kind)| calls(kind) >= 0.005)
        .map(|(hook, kind)| {
            let mut tools: Vec<_> = kind
                .tools
                .iter()
                .filter(|(_, calls)| **calls >= 0.005)
                .collect();
            tools.sort_by(|(a, more), (b, less)| less.total_cmp(more).then(a.cmp(b)));
            let tools = tools
                .iter()
                .map(|(tool, calls)| format!("{tool} {calls:.2}"));
            let tools = tools.collect::<Vec<_>>().join(", ");
            format!("{hook} | {:.2} | {:.2} | {tools}", kind.hooks, calls(kind))
        });
    markdown(
        "calls-trickle",
        "hook | hooks per host | calls per host | which",
        rows,
    )
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

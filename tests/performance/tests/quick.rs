//! The whole program on small sizes: that it works, and what has to hold on any machine.

use std::fs;
use std::path::Path;
use std::process::Command;

use performance::bound::bound;
use performance::core::{Core, Decision};
use performance::results::Results;
use performance::scale::Who;
use performance::tables::{fill, tables};
use performance::worlds::World;
use tempfile::TempDir;

fn kept() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Runs it into a folder that has a document with every place there is.
fn quick(folder: &Path) -> Results {
    fs::copy(kept().join("PERFORMANCE.md"), folder.join("PERFORMANCE.md")).expect("copied");
    let output = Command::new(env!("CARGO_BIN_EXE_performance"))
        .args(["--quick", "--into"])
        .arg(folder)
        .output()
        .expect("started");
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    Results::load(&folder.join("performance.json"))
}

#[test]
fn one_command_measures_and_writes_down() {
    let folder = TempDir::new().expect("a folder");
    let results = quick(folder.path());

    core_needs_memory_in_proportion(results.core.as_ref().expect("the core"));
    a_hook_without_news_costs_the_same_at_every_size(&results);
    deployments_end_in_one_cluster_and_never_below_the_bound(&results);
    every_table_has_its_place(folder.path(), &results);
}

#[test]
fn document_shows_what_was_kept_beside_it() {
    let document = fs::read_to_string(kept().join("PERFORMANCE.md")).expect("a document");
    let results = Results::load(&kept().join("performance.json"));
    assert_eq!(fill(&document, &tables(&results)), document);
}

fn core_needs_memory_in_proportion(core: &Core) {
    for world in World::ALL {
        let same = core.decisions.iter();
        let same: Vec<&Decision> = same.filter(|one| one.memory.world == world).collect();
        let [.., small, large] = same.as_slice() else {
            panic!("{world:?} at more than one size");
        };
        assert!(large.memory.ratio() < 4.0, "{:?}", large.memory);
        let per_unit = |one: &Decision| one.memory.added as f64 / one.memory.units as f64;
        assert!(
            per_unit(large) < 1.5 * per_unit(small),
            "{:?}, then {:?}",
            small.memory,
            large.memory
        );
    }
}

fn a_hook_without_news_costs_the_same_at_every_size(results: &Results) {
    let hooks = results.hooks.as_ref().expect("hooks");
    let units: Vec<usize> = hooks.sizes.iter().map(|size| size.units).collect();
    assert_eq!(units, [3, 100, 1000]);
    for size in &hooks.sizes {
        assert!(size.nothing_new.calls <= 3, "{size:?}");
        let everything = size.everything.calls - size.units;
        assert!(everything <= 12, "{size:?}");
        assert!(size.alone.memory > 0, "{size:?}");
    }
    let calls = |at: usize| hooks.sizes[at].nothing_new.calls;
    assert_eq!(calls(0), calls(2));
}

fn deployments_end_in_one_cluster_and_never_below_the_bound(results: &Results) {
    let scale = results.scale.as_ref().expect("deployments");
    for figure in &scale.figures {
        assert_eq!(figure.one_cluster, figure.plays, "{figure:?}");
        let least = bound(figure.hosts);
        if figure.who == Who::Ours {
            assert!(figure.calls_per_host >= least.calls_per_host, "{figure:?}");
            assert!(figure.writes >= least.writes, "{figure:?}");
            assert!(figure.consumer_hooks >= least.consumer_hooks, "{figure:?}");
        }
    }
    let of = |who| scale.figures.iter().any(|figure| figure.who == who);
    assert!(of(Who::Ours) && of(Who::Pe));
}

fn every_table_has_its_place(folder: &Path, results: &Results) {
    let document = fs::read_to_string(folder.join("PERFORMANCE.md")).expect("a document");
    for table in tables(results) {
        assert!(!table.text.trim().is_empty(), "{}", table.name);
        assert!(
            document.contains(&table.text),
            "no place for {}",
            table.name
        );
    }
}

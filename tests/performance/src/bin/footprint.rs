//! Prints the memory that the core takes, for the numbers of units on the command line.

use std::hint::black_box;

use microcluster_token_distributor::juju::document::encode;
use peak_alloc::PeakAlloc;
use performance::core::Footprint;
use performance::worlds::World;

#[global_allocator]
static MEMORY: PeakAlloc = PeakAlloc;

fn main() {
    let numbers: Vec<usize> = std::env::args()
        .skip(1)
        .filter_map(|word| word.parse().ok())
        .collect();
    let mut footprints = Vec::new();
    for world in World::ALL {
        footprints.extend(numbers.iter().map(|&units| footprint(world, units)));
    }
    println!("{}", serde_json::json!(footprints));
}

fn footprint(world: World, units: usize) -> Footprint {
    let before = MEMORY.current_usage();
    let facts = world.facts(units);
    let with_input = MEMORY.current_usage();
    MEMORY.reset_peak_usage();
    let plan = black_box(&facts).plan();
    drop(black_box(encode(&plan.ledger_changes())));
    for writes in plan.writes.values() {
        for changes in [&writes.app, &writes.unit] {
            drop(black_box(encode(changes)));
        }
    }
    Footprint {
        world,
        units,
        input: with_input - before,
        added: MEMORY.peak_usage() - with_input,
    }
}

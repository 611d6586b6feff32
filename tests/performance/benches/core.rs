//! The pure core and the encoder, by number of units.

use divan::{AllocProfiler, Bencher, black_box};
use microcluster_token_distributor::juju::document::encode;
use performance::worlds::{World, document};

#[global_allocator]
static ALLOCATIONS: AllocProfiler = AllocProfiler::system();

const UNITS: [usize; 6] = [3, 10, 100, 1_000, 10_000, 100_000];

fn decide(bencher: Bencher<'_, '_>, world: World, units: usize) {
    let facts = world.facts(units);
    bencher.bench_local(|| black_box(&facts).plan());
}

#[divan::bench(args = UNITS)]
fn everybody_announces_itself(bencher: Bencher<'_, '_>, units: usize) {
    decide(bencher, World::Burst, units);
}

#[divan::bench(args = UNITS)]
fn nothing_is_new(bencher: Bencher<'_, '_>, units: usize) {
    decide(bencher, World::AtRest, units);
}

#[divan::bench(args = UNITS)]
fn one_newcomer(bencher: Bencher<'_, '_>, units: usize) {
    decide(bencher, World::Newcomer, units);
}

#[divan::bench(args = UNITS)]
fn encode_placeholders(bencher: Bencher<'_, '_>, units: usize) {
    let changes = document(units);
    bencher.bench_local(|| encode(black_box(&changes)));
}

fn main() {
    divan::main();
}

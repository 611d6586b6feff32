//! Every target over its corpus and seeded mutations of it. `FUZZ_CASES` sets how many of them.

use std::fs;
use std::panic::catch_unwind;
use std::path::Path;

use fastrand::Rng;
use fuzz_targets::TARGETS;

/// What parsers stumble over.
const MORSELS: [&[u8]; 18] = [
    b"\"",
    b"{",
    b"}",
    b"[",
    b"]",
    b":",
    b",",
    b"\\u0000",
    b"\\",
    b"\n",
    b"\x1e",
    b"\x1e!",
    b"null",
    b"\xff",
    "😀".as_bytes(),
    b"SECRET",
    b"18446744073709551615",
    b"relation not found",
];

fn corpus(target: &str) -> Vec<Vec<u8>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../../fuzz/corpus")
        .join(target);
    let files = fs::read_dir(&folder).unwrap_or_else(|error| panic!("{folder:?}: {error}"));
    let mut paths: Vec<_> = files.map(|file| file.expect("readable").path()).collect();
    paths.sort();
    paths
        .iter()
        .map(|path| fs::read(path).expect("readable"))
        .collect()
}

fn mutated(random: &mut Rng, corpus: &[Vec<u8>]) -> Vec<u8> {
    let mut data = random.choice(corpus).expect("not empty").clone();
    for _ in 0..random.usize(1..6) {
        let at = random.usize(0..=data.len());
        let end = random.usize(at..=data.len().min(at + 16));
        match random.u8(0..5) {
            0 => drop(data.drain(at..end)),
            1 => drop(data.splice(at..end, random.choice(MORSELS).expect("not empty").to_vec())),
            2 => data.insert(at, random.u8(..)),
            3 => {
                let other = random.choice(corpus).expect("not empty");
                let from = random.usize(0..=other.len());
                data.truncate(at);
                data.extend(&other[from..]);
            }
            _ => {
                if let Some(byte) = data.get_mut(at) {
                    *byte ^= 1 << random.u8(0..8);
                }
            }
        }
    }
    data
}

#[test]
fn every_target_returns_whatever_it_reads() {
    #[expect(
        clippy::disallowed_methods,
        reason = "a long run is asked for this way"
    )]
    let cases = std::env::var("FUZZ_CASES").ok();
    let cases: u32 = cases.and_then(|cases| cases.parse().ok()).unwrap_or(1500);
    for (name, target) in TARGETS {
        let corpus = corpus(name);
        assert!(corpus.len() > 1, "{name} has no corpus");
        let mut random = Rng::with_seed(7);
        let mutations = std::iter::repeat_with(|| mutated(&mut random, &corpus));
        let mut cases = corpus.iter().cloned().chain(mutations.take(cases as usize));
        let failed = cases.find(|data| catch_unwind(|| target(data)).is_err());
        if let Some(data) = failed {
            panic!("{name} on b\"{}\"", data.escape_ascii());
        }
    }
}

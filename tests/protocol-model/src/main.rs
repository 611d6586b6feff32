//! Explores every bound that takes minutes, or those that are named, and prints what it found.

use std::process::ExitCode;

use protocol_model::bounds::{self, Bound};
use protocol_model::check::check;

fn main() -> ExitCode {
    let mut sound = true;
    println!(
        "{:<48} {:>8} {:>10} {:>6} {:>8}  verdict",
        "bound", "consumer", "states", "depth", "seconds"
    );
    // Words on the command line choose the bounds that contain them all.
    let words: Vec<String> = std::env::args().skip(1).collect();
    let chosen = |bound: &Bound| {
        let title = format!("{} {}", bound.setup.release, bound.name);
        words.iter().all(|word| title.contains(word))
    };
    let mut all = bounds::short();
    all.extend(bounds::long());
    if !words.is_empty() {
        all.extend(bounds::large());
    }
    for bound in all.into_iter().filter(chosen) {
        let consumer = bound.setup.release.to_string();
        let report = check(bound.setup, 2);
        let verdict = match report.broken.as_slice() {
            [] => "holds".to_owned(),
            broken => {
                sound = false;
                format!("broken: {broken:?}")
            }
        };
        println!(
            "{:<48} {consumer:>8} {:>10} {:>6} {:>8.1}  {verdict}",
            bound.name,
            report.states,
            report.depth,
            report.took.as_secs_f64(),
        );
    }
    match sound {
        true => ExitCode::SUCCESS,
        false => ExitCode::FAILURE,
    }
}

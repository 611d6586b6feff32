//! The consumer library in charms of real processes: a few of the formations that
//! `juju-emulator library` plays.

use std::io::{self, Write};
use std::process::Command;
use std::sync::Once;

use juju_emulator::deployment::Provider;
use juju_emulator::library::{self, Formation, Formed};
use juju_emulator::parallel;
use juju_emulator::python::Rules;

fn formation(seed: u64) -> Formation {
    Formation::new(seed, 2, Provider::Executable)
}

/// Nothing where there is no Python for it.
fn play(formations: &[Formation]) -> Vec<Formed> {
    if let Err(reason) = library::python() {
        // Once, and past the output that tests hold back, or it would not be seen.
        static NOTICE: Once = Once::new();
        let notice = format!("formations of the library are skipped: {reason}\n");
        NOTICE.call_once(|| io::stderr().write_all(notice.as_bytes()).expect("said"));
        return Vec::new();
    }
    let played = parallel::each(formations, None, Formation::play);
    let formed = played.into_iter().zip(formations);
    formed
        .map(|(formed, formation)| match formed {
            Ok(formed) => formed,
            Err(error) => panic!("{formation:?}: {error}"),
        })
        .collect()
}

#[test]
fn clusters_form_and_grow() {
    let python = Formation::new(1, 2, Provider::Python(Rules::E));
    let formations = [formation(0), python].map(|formation| Formation {
        later: 1,
        ..formation
    });
    for formed in play(&formations) {
        // A formation without tokens looks for nothing.
        assert!(formed.tokens >= 2, "{formed:?}");
    }
}

/// At rest, and at any time before: while a host waits for its token, with events put off, before
/// anybody bootstrapped.
#[test]
fn a_refresh_from_major_version_0_goes_on() {
    let after = |(seed, hooks)| Formation {
        refresh_after: Some(hooks),
        ..formation(seed)
    };
    let mut formations: Vec<_> = [(2, 0), (3, 4), (4, 8), (5, 12)].map(after).into();
    formations.push(Formation {
        later: 1,
        ..after((6, 500))
    });
    let formed = play(&formations);
    let hooks: Vec<_> = formed
        .iter()
        .map(|formed| formed.hooks_to_refresh)
        .collect();
    if let [before @ .., at_rest] = hooks.as_slice() {
        assert_eq!(before, [0, 4, 8, 12]);
        // It was refreshed when nothing was left to do.
        assert!((12..500).contains(at_rest), "{at_rest}");
    }
}

#[test]
fn an_existing_cluster_moves_to_the_distributor() {
    if let Err(reason) = library::python() {
        eprintln!("skipped: {reason}");
        return;
    }
    for provider in [Provider::Executable, Provider::Python(Rules::E)] {
        let moved = library::move_a_cluster(7, provider).expect("every promise is kept");
        let tokens = moved.map(|moment| moment.tokens);
        assert_eq!(tokens, [0, 1], "only the host that came later needed one");
    }
}

#[test]
fn the_command_says_what_it_played() {
    let mut command = Command::new(env!("CARGO_BIN_EXE_juju-emulator"));
    command.args("library --only formations --provider pe --seeds 1 --hosts 2".split(' '));
    let output = command.output().expect("it starts");
    let said = String::from_utf8_lossy(&output.stdout);
    if let Err(reason) = library::python() {
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert_eq!(stderr.trim_end(), format!("error: {reason}"));
        assert_eq!(output.status.code(), Some(1));
        return;
    }
    assert!(output.status.success(), "{said}");
    let rows: Vec<Vec<&str>> = said
        .lines()
        .map(|line| line.split_whitespace().collect())
        .collect();
    assert!(rows[0].ends_with(&["Python", "charm", "1"]), "{said}");
    assert!(rows.contains(&vec!["broken", "promises", "0"]), "{said}");
}

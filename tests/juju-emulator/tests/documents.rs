//! The parser behind `--file`, held against what Juju's own parser did.

use std::time::{Duration, Instant};

use juju_emulator::document::parse;
use juju_emulator::recorded::recorded_documents;

#[test]
fn nothing_is_accepted_that_juju_refuses_or_reads_differently() {
    for recorded in recorded_documents() {
        let Ok(settings) = parse(&recorded.document) else {
            continue;
        };
        assert_eq!(recorded.outcome, Ok(settings), "{}", recorded.name);
    }
}

#[test]
fn every_safe_document_gives_back_its_original() {
    let mut count = 0;
    for recorded in recorded_documents() {
        let Some(original) = recorded.original else {
            continue;
        };
        let settings = parse(&recorded.document)
            .unwrap_or_else(|error| panic!("{} is refused: {error}", recorded.name));
        assert_eq!(settings["k"], original, "{}", recorded.name);
        count += 1;
    }
    assert_eq!(count, 47, "all of them were looked at");
}

#[test]
fn most_of_what_juju_accepts_is_accepted() {
    let (mut accepted, mut all) = (0, 0);
    for recorded in recorded_documents() {
        if recorded.outcome.is_err() {
            continue;
        }
        all += 1;
        match parse(&recorded.document) {
            Ok(_) => accepted += 1,
            Err(error) => println!("{}: {error}", recorded.name),
        }
    }
    println!("{accepted} of {all} documents that Juju accepts");
    assert!(accepted >= 344, "only {accepted} of {all}");
}

#[test]
fn most_errors_have_the_text_that_juju_prints() {
    let (mut equal, mut all) = (0, 0);
    for recorded in recorded_documents() {
        let Err(expected) = recorded.outcome else {
            continue;
        };
        all += 1;
        let error = parse(&recorded.document).expect_err(&recorded.name);
        assert!(error.starts_with("yaml: "), "{}: {error}", recorded.name);
        if error == expected {
            equal += 1;
        } else {
            println!("{}: {error:?} for {expected:?}", recorded.name);
        }
    }
    println!("{equal} of {all} error texts are Juju's");
    assert!(equal >= 271, "only {equal} of {all}");
}

#[test]
fn time_grows_with_size_and_not_faster() {
    const SIZE: usize = 4 * 1024 * 1024;
    let value = format!(r#"{{"k":"{}"}}"#, "x".repeat(SIZE));
    let keys: String = (0..100_000)
        .map(|n| format!("key-{n}: value {n}\n"))
        .collect();
    let nested = "[".repeat(SIZE);

    let started = Instant::now();
    assert_eq!(parse(value.as_bytes()).unwrap()["k"].len(), SIZE);
    assert_eq!(parse(keys.as_bytes()).unwrap().len(), 100_000);
    parse(nested.as_bytes()).unwrap_err();
    parse((nested + "!").as_bytes()).unwrap_err();
    // Ten times what it takes without optimization, and far from anything quadratic.
    let elapsed = started.elapsed();
    assert!(elapsed < Duration::from_secs(60), "{elapsed:?}");
}

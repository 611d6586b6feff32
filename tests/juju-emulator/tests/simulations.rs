//! The consumer of the second protocol in whole deployments: alone, beside others, and after what
//! may happen to a cluster.

use std::time::Duration;

use clap::ValueEnum;
use juju_emulator::JujuGeneration::{Four, Three};
use juju_emulator::deployment::{Provider, Setup};
use juju_emulator::python::Rules;
use juju_emulator::simulation::{Act, Arrival, Relate, Report, Scenario, Trouble};
use microovn::microcluster::{Series, Settings};

const SEEDS: u64 = 5;
/// The Python charm's newest rules know only the first protocol; ours must serve both.
const PROVIDERS: [&str; 2] = ["ours", "python"];
const MINUTE: Duration = Duration::from_secs(60);
const HALF_A_MINUTE: Duration = Duration::from_secs(30);

/// What is said in words: `second, 4 hosts, python, then expire-token`.
fn scenario(words: &str) -> Scenario {
    let mut scenario = Scenario::from(Setup::default());
    let setup = &mut scenario.setup;
    for part in words.split(", ") {
        let (first, rest) = part.split_once(' ').unwrap_or((part, ""));
        let count = first.parse();
        match (first, rest) {
            ("ours", _) | ("together", _) | ("burst", _) | ("calm", _) => {}
            ("python", _) => {
                setup.distributor = Provider::Python(Rules::E);
                // It shows tokens at once, and a real cluster does not survive that.
                setup.cluster = Settings::tidy();
            }
            (_, "hosts") => setup.units = count.expect("a number"),
            (_, "apps") => setup.apps = count.expect("a number"),
            (_, "units") => setup.distributor_units = count.expect("a number"),
            ("beside", release) => setup.beside = Some(release.parse().expect("a release")),
            ("in", "turn") => scenario.relate = Relate::InTurn(MINUTE),
            ("at", "deployment") => scenario.relate = Relate::AtDeployment(MINUTE),
            ("one", "by one") => scenario.arrival = Arrival::Trickle(HALF_A_MINUTE),
            ("refresh", to) => {
                let (release, after) = to.split_once(" after ").expect("when");
                let after = Duration::from_secs(after.parse().expect("seconds"));
                scenario.refresh = Some((after, release.parse().expect("a release")));
            }
            ("then", act) => scenario
                .acts
                .push(Act::from_str(act, false).expect("an act")),
            ("trouble", trouble) => {
                let trouble = Trouble::from_str(trouble, false);
                scenario.troubles.push(trouble.expect("a trouble"));
            }
            // A name is taken for as long as a token lives that its host had no need of.
            ("patient", _) => scenario.patience = Duration::from_secs(4 * 3600),
            (release, _) => setup.consumer = release.parse().expect("a release"),
        }
    }
    scenario
}

/// Plays with some seeds on both generations of Juju.
fn play(words: &str) -> Vec<Report> {
    let seeds = [Three, Four]
        .into_iter()
        .flat_map(|juju| (0..SEEDS).map(move |seed| (juju, seed)));
    let played = seeds.map(|(juju, seed)| {
        let mut scenario = scenario(words);
        (scenario.setup.juju, scenario.setup.seed) = (juju, seed);
        scenario.play().expect("played")
    });
    played.collect()
}

/// One cluster comes of it each time, in which no hook of the second protocol fails: one of the
/// first is a hazard of that protocol.
fn calm(words: &str) -> Vec<Report> {
    let reports = play(words);
    for report in &reports {
        let is_calm = report.is_one_cluster() && report.second_protocol_failures == 0;
        assert!(is_calm, "{words}: {report:?}");
    }
    reports
}

/// Each combination of one of each.
fn every(lists: &[&[&str]]) -> Vec<String> {
    lists.iter().fold(vec![String::new()], |so_far, list| {
        let with = |words: &String| {
            list.iter()
                .map(|more| format!("{words}{}{more}", if words.is_empty() { "" } else { ", " }))
                .collect::<Vec<_>>()
        };
        so_far.iter().flat_map(with).collect()
    })
}

const SIZES: &[&str] = &[
    "1 apps, 1 units",
    "1 apps, 3 units",
    "2 apps, 1 units",
    "3 apps, 2 units",
];

#[test]
fn alone_it_forms_one_cluster_in_every_order_and_no_hook_fails() {
    let orders = &["together", "in turn", "at deployment"];
    let arrivals = &["burst", "one by one"];
    for words in every(&[&["second"], &PROVIDERS, SIZES, orders, arrivals]) {
        for report in calm(&words) {
            let crashes = report.consumer_crashes + report.provider_crashes;
            assert_eq!(crashes + report.stuck, 0, "{words}: {report:?}");
        }
    }
}

#[test]
fn beside_others_it_forms_one_cluster_and_its_hooks_do_not_fail() {
    let mixes = &[
        "newest, beside second",
        "second, beside newest",
        "released, beside second",
    ];
    for words in every(&[mixes, &PROVIDERS, SIZES]) {
        let asks =
            !words.contains("released") || words.contains("ours") || words.contains("1 apps");
        // An application that asks no other founds its own cluster there.
        if asks {
            calm(&words);
        }
    }
}

#[test]
fn a_refresh_in_mid_flight_leaves_one_cluster() {
    let after = |seconds: [u32; 4]| seconds.map(|it| format!("refresh second after {it}"));
    let times = after([1, 15, 30, 70]);
    let times: Vec<&str> = times.iter().map(String::as_str).collect();
    let orders = &[
        "together",
        "2 apps, 3 units, in turn",
        "3 units, at deployment",
    ];
    for words in every(&[&["newest", "released"], &PROVIDERS, orders, &times]) {
        let asks = words.contains("newest") || words.contains("ours") || !words.contains("apps");
        // An application that asks nobody founds its own cluster there.
        if asks {
            calm(&words);
        }
    }
    // Who goes back before there is a cluster has nothing deferred to bootstrap from.
    for words in every(&[&["second, refresh newest after 60"], &PROVIDERS]) {
        calm(&words);
    }
}

#[test]
fn every_host_joins_after_what_the_first_protocol_survives() {
    let acts = &[
        "then kill-communicator",
        "then kill-distributor",
        "then remake-relations",
    ];
    for words in every(&[&["second, 4 hosts"], &PROVIDERS, acts]) {
        calm(&words);
    }
}

#[test]
fn with_both_sides_of_the_second_protocol_every_host_joins_and_no_token_is_left() {
    let acts = &[
        "calm",
        "then kill-communicator",
        "then remake-relations",
        "then expire-token",
        "then redeploy",
        "then redeploy-lost",
    ];
    for words in every(&[
        &["second, 4 hosts, patient"],
        &["1 apps", "2 apps, 3 units"],
        acts,
    ]) {
        for report in calm(&words) {
            let left = report.tokens_left + report.consumer_tokens_left;
            let lost = left + report.live_tokens_replaced + report.stuck;
            assert_eq!(lost, 0, "{words}: {report:?}");
        }
    }
}

#[test]
fn a_token_that_expired_lets_no_host_join_while_the_provider_cannot_replace_it() {
    for words in every(&[
        &["released", "newest", "second"],
        &["python, then expire-token"],
    ]) {
        for report in play(&words) {
            let (joined, clusters) = (report.joined + 1, report.clusters);
            assert_eq!((joined, clusters), (report.hosts, 1), "{words}: {report:?}");
        }
    }
}

#[test]
fn a_member_that_is_removed_leaves_its_name_to_another_host() {
    // The token of the first host of that name is in the mirror, and is used.
    for words in every(&[
        &["second, 4 hosts, python"],
        &["then redeploy", "then redeploy-lost"],
    ]) {
        let reports = play(&words);
        assert!(
            reports
                .iter()
                .all(|report| (report.hosts, report.clusters) == (4, 1))
        );
        let joined = reports.iter().filter(|report| report.joined == 4).count();
        assert!(joined < reports.len(), "{words}: a used token is of no use");
    }
}

/// Hosts of the first protocol on a cluster that behaves as real ones do, with the Python charm,
/// which shows each token as soon as it has it.
fn real(words: &str, series: Series, seed: u64) -> Report {
    let mut scenario = scenario(words);
    scenario.setup.seed = seed;
    scenario.setup.cluster = Settings {
        series,
        ..Settings::default()
    };
    scenario.play().expect("played")
}

#[test]
fn hosts_that_are_shown_their_tokens_at_once_join_at_once_and_some_fail() {
    for series in [Series::V2, Series::V3] {
        let clusters: Vec<_> = (0..10)
            .map(|seed| real("python, 12 hosts", series, seed).cluster)
            .collect();
        assert!(clusters.iter().all(|cluster| cluster.joins_at_once > 4));
        assert!(clusters.iter().any(|cluster| cluster.failed_joins > 0));
        let spent = clusters.iter().any(|cluster| cluster.spent_in_vain > 0);
        assert_eq!(spent, series == Series::V2);
    }
}

#[test]
fn hosts_that_come_one_by_one_join_one_by_one_and_none_fails() {
    for series in [Series::V2, Series::V3] {
        for seed in 0..5 {
            let report = real("python, 8 hosts, one by one", series, seed);
            assert!(report.is_one_cluster(), "{report:?}");
            let cluster = report.cluster;
            assert_eq!((cluster.joins_at_once, cluster.failed_joins), (1, 0));
        }
    }
}

#[test]
fn a_host_that_cannot_join_is_excused_and_the_others_are_not() {
    for report in play("4 hosts, trouble agent-down") {
        assert_eq!((report.joined, report.hosts), (3, 4), "{report:?}");
        assert!(report.is_one_cluster());
        assert_eq!(report.cluster.failed_joins, 0);
    }
    for report in play("4 hosts, trouble wrong-network") {
        assert!(report.joined < report.hosts, "{report:?}");
        assert_eq!(report.is_one_cluster(), report.joined == 3);
        assert!(report.cluster.spent_in_vain > 0);
    }
}

#[test]
fn who_lets_hosts_in_beside_a_dead_member_loses_the_cluster() {
    let lost = |words: &str| -> usize {
        let lost = play(words)
            .into_iter()
            .map(|report| report.cluster.clusters_lost);
        lost.sum()
    };
    assert!(lost("python, 10 hosts, trouble dead-member") > 0);
    assert_eq!(lost("python, 10 hosts, trouble lose-communicator"), 0);
}

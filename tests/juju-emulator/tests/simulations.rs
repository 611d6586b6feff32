//! The consumer of the second protocol in whole deployments: alone, beside others, and after what
//! may happen to a cluster.

use std::time::Duration;

use juju_emulator::JujuGeneration::{Four, Three};
use juju_emulator::deployment::{Provider, Setup};
use juju_emulator::python::Rules;
use juju_emulator::simulation::{Act, Arrival, Relate, Report, Scenario, Trouble};
use microovn::consumer::Release::{self, Newest, Released, Second};
use microovn::microcluster::{Series, Settings};

const SEEDS: u64 = 5;
/// The Python charm's newest rules know only the first protocol; ours must serve both.
const PROVIDERS: [Provider; 2] = [Provider::Library, Provider::Python(Rules::E)];

fn scenario(setup: Setup) -> Scenario {
    let cluster = match setup.distributor {
        // It shows tokens at once, and a real cluster does not survive that.
        Provider::Python(_) => Settings::tidy(),
        _ => Settings::default(),
    };
    Setup { cluster, ..setup }.into()
}

/// Plays with some seeds on both generations of Juju.
fn play(scenario: &Scenario) -> Vec<Report> {
    let mut reports = Vec::new();
    for juju in [Three, Four] {
        for seed in 0..SEEDS {
            let mut scenario = scenario.clone();
            scenario.setup.juju = juju;
            scenario.setup.seed = seed;
            reports.push(scenario.play().expect("played"));
        }
    }
    reports
}

/// A failed hook of a consumer of the first protocol is a hazard of that protocol.
fn is_calm(report: &Report) -> bool {
    report.is_one_cluster() && report.second_protocol_failures == 0
}

fn setups(consumer: Release, beside: Option<Release>) -> Vec<Setup> {
    let mut setups = Vec::new();
    for distributor in PROVIDERS {
        for (apps, distributor_units) in [(1, 1), (1, 3), (2, 1), (3, 2)] {
            setups.push(Setup {
                apps,
                distributor_units,
                consumer,
                beside,
                distributor: distributor.clone(),
                ..Setup::default()
            });
        }
    }
    setups
}

#[test]
fn alone_it_forms_one_cluster_in_every_order_and_no_hook_fails() {
    let orders = [
        Relate::Together,
        Relate::InTurn(Duration::from_secs(60)),
        Relate::AtDeployment(Duration::from_secs(60)),
    ];
    for setup in setups(Second, None) {
        for relate in orders {
            for arrival in [Arrival::Burst, Arrival::Trickle(Duration::from_secs(30))] {
                let scenario = Scenario {
                    relate,
                    arrival,
                    ..scenario(setup.clone())
                };
                for report in play(&scenario) {
                    assert!(is_calm(&report), "{scenario:?}: {report:?}");
                    let crashes = report.consumer_crashes + report.provider_crashes;
                    assert_eq!(crashes + report.stuck, 0, "{scenario:?}: {report:?}");
                }
            }
        }
    }
}

#[test]
fn beside_others_it_forms_one_cluster_and_its_hooks_do_not_fail() {
    for (consumer, beside) in [(Newest, Second), (Second, Newest), (Released, Second)] {
        for setup in setups(consumer, Some(beside)) {
            if setup.distributor != Provider::Library && consumer == Released && setup.apps > 1 {
                continue; // An application that asks no other founds its own cluster there.
            }
            for report in play(&scenario(setup.clone())) {
                assert!(is_calm(&report), "{setup:?}: {report:?}");
            }
        }
    }
}

#[test]
fn a_refresh_in_mid_flight_leaves_one_cluster() {
    // Who goes back before there is a cluster has nothing deferred to bootstrap from.
    for (from, to, times) in [
        (Newest, Second, &[1, 15, 30, 70][..]),
        (Released, Second, &[1, 15, 30, 70]),
        (Second, Newest, &[60]),
    ] {
        for &after in times {
            for (apps, distributor_units, relate) in [
                (1, 1, Relate::Together),
                (2, 3, Relate::InTurn(Duration::from_secs(60))),
                (1, 3, Relate::AtDeployment(Duration::from_secs(60))),
            ] {
                // There is no cluster before all machines are up.
                if to == Newest && relate != Relate::Together {
                    continue;
                }
                for distributor in PROVIDERS {
                    // An application that asks nobody founds its own cluster there.
                    if apps > 1 && from == Released && distributor != Provider::Library {
                        continue;
                    }
                    let setup = Setup {
                        consumer: from,
                        apps,
                        distributor_units,
                        distributor,
                        ..Setup::default()
                    };
                    let scenario = Scenario {
                        relate,
                        refresh: Some((Duration::from_secs(after), to)),
                        ..scenario(setup)
                    };
                    for report in play(&scenario) {
                        assert!(is_calm(&report), "{scenario:?}: {report:?}");
                    }
                }
            }
        }
    }
}

#[test]
fn every_host_joins_after_what_the_first_protocol_survives() {
    for act in [
        Act::KillCommunicator,
        Act::KillDistributor,
        Act::RemakeRelations,
    ] {
        for distributor in PROVIDERS {
            let setup = Setup {
                consumer: Second,
                units: 4,
                distributor,
                ..Setup::default()
            };
            let scenario = Scenario {
                acts: vec![act],
                ..scenario(setup)
            };
            for report in play(&scenario) {
                assert!(is_calm(&report), "{scenario:?}: {report:?}");
            }
        }
    }
}

#[test]
fn with_both_sides_of_the_second_protocol_every_host_joins_and_no_token_is_left() {
    for (apps, distributor_units) in [(1, 1), (2, 3)] {
        for act in [
            None,
            Some(Act::KillCommunicator),
            Some(Act::RemakeRelations),
            Some(Act::ExpireToken),
            Some(Act::Redeploy),
            Some(Act::RedeployLost),
        ] {
            let setup = Setup {
                consumer: Second,
                units: 4,
                apps,
                distributor_units,
                ..Setup::default()
            };
            let scenario = Scenario {
                acts: act.into_iter().collect(),
                // A name is taken for as long as a token lives that its host had no need of.
                patience: Duration::from_secs(4 * 3600),
                ..scenario(setup)
            };
            for report in play(&scenario) {
                assert!(is_calm(&report), "{scenario:?}: {report:?}");
                let left = report.tokens_left + report.consumer_tokens_left;
                let lost = left + report.live_tokens_replaced + report.stuck;
                assert_eq!(lost, 0, "{scenario:?}: {report:?}");
            }
        }
    }
}

#[test]
fn a_token_that_expired_lets_no_host_join_while_the_provider_cannot_replace_it() {
    for consumer in Release::ALL {
        let setup = Setup {
            consumer,
            distributor: Provider::Python(Rules::E),
            ..Setup::default()
        };
        let scenario = Scenario {
            acts: vec![Act::ExpireToken],
            ..scenario(setup)
        };
        for report in play(&scenario) {
            assert_eq!(report.joined + 1, report.hosts, "{consumer}: {report:?}");
            assert_eq!(report.clusters, 1, "{consumer}: {report:?}");
        }
    }
}

#[test]
fn a_member_that_is_removed_leaves_its_name_to_another_host() {
    // The token of the first host of that name is in the mirror, and is used.
    let setup = Setup {
        consumer: Second,
        units: 4,
        distributor: Provider::Python(Rules::E),
        ..Setup::default()
    };
    for act in [Act::Redeploy, Act::RedeployLost] {
        let scenario = Scenario {
            acts: vec![act],
            ..scenario(setup.clone())
        };
        let reports = play(&scenario);
        assert!(reports.iter().all(|report| report.hosts == 4));
        assert!(reports.iter().all(|report| report.clusters == 1));
        let joined = reports.iter().filter(|report| report.joined == 4).count();
        assert!(joined < reports.len(), "{act:?}: a used token is of no use");
    }
}

/// Hosts of the first protocol on a cluster that behaves as real ones do, with the Python charm,
/// which shows each token as soon as it has it.
fn real(units: usize, arrival: Arrival, series: Series, seed: u64) -> Report {
    let cluster = Settings {
        series,
        ..Settings::default()
    };
    let setup = Setup {
        seed,
        units,
        cluster,
        distributor: Provider::Python(Rules::E),
        ..Setup::default()
    };
    let scenario = Scenario {
        arrival,
        ..setup.into()
    };
    scenario.play().expect("played")
}

#[test]
fn hosts_that_are_shown_their_tokens_at_once_join_at_once_and_some_fail() {
    for series in [Series::V2, Series::V3] {
        let reports: Vec<Report> = (0..10)
            .map(|seed| real(12, Arrival::Burst, series, seed))
            .collect();
        assert!(
            reports
                .iter()
                .all(|report| report.cluster.joins_at_once > 4)
        );
        assert!(reports.iter().any(|report| report.cluster.failed_joins > 0));
        let spent: usize = reports
            .iter()
            .map(|report| report.cluster.spent_in_vain)
            .sum();
        assert_eq!(spent > 0, series == Series::V2, "{spent}");
    }
}

#[test]
fn hosts_that_come_one_by_one_join_one_by_one_and_none_fails() {
    for series in [Series::V2, Series::V3] {
        for seed in 0..5 {
            let half_a_minute = Arrival::Trickle(Duration::from_secs(30));
            let report = real(8, half_a_minute, series, seed);
            assert!(report.is_one_cluster(), "{report:?}");
            let cluster = report.cluster;
            assert_eq!((cluster.joins_at_once, cluster.failed_joins), (1, 0));
        }
    }
}

#[test]
fn a_host_that_cannot_join_is_excused_and_the_others_are_not() {
    let setup = Setup {
        units: 4,
        ..Setup::default()
    };
    let troubled = |trouble| Scenario {
        troubles: vec![trouble],
        ..scenario(setup.clone())
    };
    for report in play(&troubled(Trouble::AgentDown)) {
        assert_eq!((report.joined, report.hosts), (3, 4), "{report:?}");
        assert!(report.is_one_cluster());
        assert_eq!(report.cluster.failed_joins, 0);
    }
    for report in play(&troubled(Trouble::WrongNetwork)) {
        assert!(report.joined < report.hosts, "{report:?}");
        assert_eq!(report.is_one_cluster(), report.joined == 3);
        assert!(report.cluster.spent_in_vain > 0);
    }
}

#[test]
fn who_lets_hosts_in_beside_a_dead_member_loses_the_cluster() {
    let setup = Setup {
        units: 10,
        distributor: Provider::Python(Rules::E),
        ..Setup::default()
    };
    let dead = Scenario {
        troubles: vec![Trouble::DeadMember],
        ..scenario(setup.clone())
    };
    let removed = Scenario {
        troubles: vec![Trouble::LoseCommunicator],
        ..scenario(setup)
    };
    let lost = |reports: Vec<Report>| -> usize {
        let lost = reports.iter().map(|report| report.cluster.clusters_lost);
        lost.sum()
    };
    assert!(lost(play(&dead)) > 0);
    assert_eq!(lost(play(&removed)), 0);
}

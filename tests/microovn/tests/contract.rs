//! What was measured on real daemons, line by line (`microcluster-contract.md`). `README.md` beside
//! this package's manifest says which test plays which line.

use std::time::Duration;

use microovn::command_line::microovn;
use microovn::microcluster::{
    Cloud, NotAdded, Refusal, Role, Series, Settings, Status, is_valid_name,
};

const SERIES: [Series; 2] = [Series::V2, Series::V3];
const ROUNDS: u64 = 200;

fn cloud(series: Series, seed: u64) -> Cloud {
    let settings = Settings {
        series,
        ..Settings::default()
    };
    Cloud::new(settings, seed)
}

/// Machines `h1` to `h<count>`, joined in this order, with roles at second 10.
fn cluster_of(count: usize, series: Series, seed: u64) -> Cloud {
    let mut cloud = cloud(series, seed);
    cloud.bootstrap("h1", 0).expect("bootstrapped");
    for number in 2..=count {
        let name = format!("h{number}");
        let token = cloud.add("h1", &name, None, 0).expect("minted");
        cloud.join(&name, &token, 0).expect("joined");
    }
    cloud.advance(10);
    cloud
}

fn at(milliseconds: u64) -> Duration {
    Duration::from_millis(milliseconds)
}

/// What became of some hosts that all joined `apart` milliseconds one after the other.
struct Burst {
    cloud: Cloud,
    joined: usize,
    failed: usize,
    /// How long the last one took.
    longest: Duration,
}

fn burst(hosts: usize, apart: u64, series: Series, seed: u64) -> Burst {
    let mut cloud = cluster_of(1, series, seed);
    let names: Vec<String> = (0..hosts).map(|number| format!("j{number}")).collect();
    let mut agenda = Vec::new();
    for (name, turn) in names.iter().zip(0..) {
        let token = cloud.add("h1", name, None, 10).expect("minted");
        agenda.push((at(10_000 + turn * apart), name, Some(token)));
    }
    let (mut joined, mut failed, mut longest) = (0, 0, Duration::ZERO);
    while !agenda.is_empty() {
        let next = (0..agenda.len()).min_by_key(|&place| agenda[place].0);
        let (now, name, token) = agenda.remove(next.expect("not empty"));
        match token {
            Some(token) => match cloud.begin_join(name, &token, now) {
                Ok(takes) => {
                    longest = longest.max(takes);
                    agenda.push((now + takes, name, None));
                }
                Err(_) => failed += 1,
            },
            None => match cloud.end_join(name, now) {
                Ok(()) => joined += 1,
                Err(_) => failed += 1,
            },
        }
    }
    Burst {
        cloud,
        joined,
        failed,
        longest,
    }
}

/// Of all joins of all rounds, how many failed, in percent.
fn percent_failed(hosts: usize, apart: u64, series: Series) -> usize {
    let failed = (0..ROUNDS).map(|seed| burst(hosts, apart, series, seed).failed);
    100 * failed.sum::<usize>() / (hosts * usize::try_from(ROUNDS).expect("small"))
}

#[test]
fn joins_one_after_the_other_never_fail() {
    for series in SERIES {
        for seed in 0..ROUNDS {
            let played = burst(30, 2001, series, seed);
            assert_eq!((played.joined, played.failed), (30, 0), "{series:?} {seed}");
            assert_eq!(played.cloud.tally().joins_at_once, 1);
            assert!(played.longest >= at(300) && played.longest < at(2000));
        }
    }
}

#[test]
fn nine_at_once_take_as_long_as_nine_in_a_row_and_one_in_twelve_fails() {
    for series in SERIES {
        let failed = percent_failed(9, 0, series);
        assert!((5..=13).contains(&failed), "{series:?}: {failed} %");
        let longest = (0..ROUNDS).map(|seed| burst(9, 0, series, seed).longest);
        let mean = longest.sum::<Duration>() / u32::try_from(ROUNDS).expect("small");
        assert!(mean > at(8 * 1150) && mean < at(10 * 1150), "{mean:?}");
    }
}

#[test]
fn of_sixteen_at_once_most_fail() {
    let failed = percent_failed(16, 0, Series::V2);
    assert!((65..=85).contains(&failed), "{failed} %");
}

#[test]
fn twenty_five_at_once_all_fail_in_v2_and_the_database_is_lost() {
    for seed in 0..ROUNDS {
        let Burst {
            mut cloud, joined, ..
        } = burst(25, 0, Series::V2, seed);
        assert_eq!(joined, 0);
        let tally = cloud.tally();
        assert_eq!((tally.spent_in_vain, tally.clusters_lost), (25, 1));
        assert_eq!(cloud.clusters(), [["h1"]]);
        let lost = Some(Refusal::NoLeader);
        assert_eq!(cloud.list("h1", 100).err(), lost);
        assert_eq!(cloud.add("h1", "x", None, 100).err(), lost);
        assert_eq!(cloud.remove("h1", "x", 100).err(), lost);
    }
}

#[test]
fn twenty_five_at_once_lose_no_database_in_v3() {
    let failed = percent_failed(25, 0, Series::V3);
    assert!((45..=65).contains(&failed), "{failed} %");
    for seed in 0..ROUNDS {
        let tally = burst(25, 0, Series::V3, seed).cloud.tally();
        assert_eq!((tally.clusters_lost, tally.spent_in_vain), (0, 0));
    }
}

#[test]
fn a_join_that_v3_refuses_keeps_its_token() {
    let refused = (0..ROUNDS).any(|seed| {
        let mut cloud = cluster_of(1, Series::V3, seed);
        let first = cloud.add("h1", "h2", None, 10).expect("minted");
        let second = cloud.add("h1", "h3", None, 10).expect("minted");
        cloud.begin_join("h2", &first, at(10_000)).expect("begun");
        cloud.begin_join("h3", &second, at(10_000)).expect("begun");
        let joined = cloud.end_join("h2", at(12_000));
        if joined != Err(Refusal::Disagreement) {
            return false;
        }
        assert!(cloud.is_live("h2", &first, 12));
        let _ = cloud.end_join("h3", at(14_000));
        true
    });
    assert!(refused);
}

/// A cluster of three and `j0`, whose join has failed in such a way.
fn after_a_failed_join(series: Series, wanted: impl Fn(&Cloud) -> bool) -> Cloud {
    let failed = (0..2000).map(|seed| {
        let mut cloud = cluster_of(3, series, seed);
        let tokens = ["j0", "j1"].map(|name| cloud.add("h1", name, None, 10).expect("minted"));
        cloud
            .begin_join("j0", &tokens[0], at(10_000))
            .expect("begun");
        cloud
            .begin_join("j1", &tokens[1], at(10_000))
            .expect("begun");
        let failed = cloud.end_join("j0", at(12_000)).is_err();
        let _ = cloud.end_join("j1", at(14_000));
        (failed && wanted(&cloud)).then_some(cloud)
    });
    failed.flatten().next().expect("some seed ends so")
}

fn half_joined(series: Series) -> Cloud {
    after_a_failed_join(series, |cloud| cloud.is_half_joined("j0"))
}

#[test]
fn on_a_half_joined_host_the_list_succeeds_without_its_own_name() {
    for series in SERIES {
        let mut cloud = half_joined(series);
        let listed = cloud.list("j0", 20).expect("succeeds");
        assert!(listed.len() >= 3);
        assert!(
            listed
                .iter()
                .all(|row| row.name != "j0" && row.status == Status::Unreachable)
        );
        let members = cloud.list("h1", 20).expect("succeeds");
        assert!(members.iter().all(|row| row.name != "j0"));
        assert!(!cloud.is_member("j0"));
        assert_eq!(
            cloud.join("j0", "whatever", 20),
            Err(Refusal::AlreadyInitialized)
        );
        assert_eq!(
            cloud.remove_by_force("h1", "j0", 20),
            Err(Refusal::NoSuchMember {
                name: "j0".to_owned()
            })
        );
    }
}

#[test]
fn a_half_joined_host_mints_a_worthless_token_in_v2_and_none_in_v3() {
    let mut cloud = half_joined(Series::V2);
    let token = cloud.add("j0", "h9", None, 20).expect("minted");
    assert_eq!(cloud.join("h9", &token, 20), Err(Refusal::NobodyAnswers));
    let mut cloud = half_joined(Series::V3);
    assert_eq!(cloud.add("j0", "h9", None, 20), Err(Refusal::Disagreement));
}

#[test]
fn a_half_joined_host_stops_a_v3_cluster_from_growing_until_a_person_repairs_it() {
    let mut cloud = half_joined(Series::V3);
    let disagrees = Err(Refusal::Disagreement);
    assert_eq!(cloud.add("h1", "h9", None, 20).map(drop), disagrees);
    assert!(cloud.took() >= Duration::from_secs(5));
    assert_eq!(cloud.remove("h1", "h3", 20), disagrees);
    assert_eq!(cloud.remove_by_force("h1", "h3", 20), Ok(()));
    cloud.repair("j0");
    let token = cloud.add("h1", "j0", None, 20).expect("minted");
    assert_eq!(cloud.join("j0", &token, 20), Ok(()));

    let mut cloud = half_joined(Series::V2);
    let token = cloud.add("h1", "h9", None, 20).expect("minted");
    assert_eq!(cloud.join("h9", &token, 20), Ok(()), "v2 looks at nothing");
}

#[test]
fn after_a_failed_join_the_own_name_is_pending_for_three_seconds_and_then_nothing_is_there() {
    let emptying = |cloud: &Cloud| !cloud.is_half_joined("j0") && cloud.tally().late_members == 0;
    let mut cloud = after_a_failed_join(Series::V2, emptying);
    let listed = cloud.list("j0", 14).expect("succeeds");
    let own = listed.iter().find(|row| row.name == "j0");
    assert_eq!(own.map(|row| row.role), Some(Role::Pending));
    assert_eq!(cloud.list("j0", 15).err(), Some(Refusal::NotInitialized));
    let token = cloud.add("h1", "j0", None, 15).expect("the first is spent");
    assert_eq!(cloud.join("j0", &token, 15), Ok(()));
}

#[test]
fn a_command_that_reports_failure_may_have_made_a_member_a_little_later() {
    let starting = |seed: u64| {
        let cloud = burst(24, 0, Series::V2, seed).cloud;
        let mut hosts = (0..24).map(|number| format!("j{number}"));
        hosts.find_map(|host| {
            let mut cloud = cloud.clone();
            let starts = cloud.list(&host, 38).err() == Some(Refusal::StillStarting);
            starts.then_some((cloud, host))
        })
    };
    let (mut cloud, host) = (0..ROUNDS).find_map(starting).expect("some host is late");
    assert_eq!(
        cloud.join(&host, "whatever", 38),
        Err(Refusal::AlreadyInitialized),
        "0.8 tries again, in vain"
    );
    cloud.advance(100);
    assert!(cloud.is_member(&host));
    let listed = cloud.list(&host, 110).expect("succeeds");
    assert!(
        listed
            .iter()
            .any(|row| row.name == host && row.role != Role::Pending)
    );
}

#[test]
fn two_joins_at_once_with_a_dead_member_end_a_v3_cluster_too() {
    let mut cloud = cluster_of(4, Series::V3, 1);
    let tokens = ["j0", "j1"].map(|name| cloud.add("h1", name, None, 10).expect("works"));
    cloud.kill("h4");
    for (name, token) in ["j0", "j1"].iter().zip(&tokens) {
        cloud.begin_join(name, token, at(10_000)).expect("begun");
    }
    for name in ["j0", "j1"] {
        assert!(cloud.end_join(name, at(40_000)).is_err());
    }
    assert_eq!(cloud.list("h1", 100).err(), Some(Refusal::NoLeader));
}

#[test]
fn a_host_that_removes_itself_is_told_of_failure_in_four_of_six_cases_and_has_left() {
    let mut failures = 0;
    for seed in 0..300 {
        let mut cloud = cluster_of(3, Series::V2, seed);
        match cloud.remove("h2", "h2", 10) {
            Ok(()) => {}
            Err(refusal) => {
                assert_eq!(refusal, Refusal::HungUp);
                failures += 1;
            }
        }
        assert_eq!(cloud.list("h2", 10).err(), Some(Refusal::NotInitialized));
        assert_eq!(cloud.clusters(), [["h1", "h3"]]);
        let token = cloud.add("h1", "h2", None, 10).expect("minted");
        assert_eq!(cloud.join("h2", &token, 10), Ok(()), "again at once");
    }
    assert!((160..=240).contains(&failures), "{failures} of 300");
}

#[test]
fn when_the_sole_voter_of_two_leaves_nobody_votes_for_up_to_two_heartbeats() {
    let mut waited = [false; 2];
    for seed in 0..20 {
        let mut cloud = cluster_of(2, Series::V2, seed);
        let votes = |cloud: &mut Cloud, now| {
            let listed = cloud.list("h2", now).expect("succeeds");
            listed.iter().any(|row| row.role == Role::Voter)
        };
        let _ = cloud.remove("h1", "h1", 12);
        assert!(!votes(&mut cloud, 12) && !votes(&mut cloud, 19));
        waited[usize::from(!votes(&mut cloud, 20))] = true;
        assert!(votes(&mut cloud, 30));
    }
    assert_eq!(waited, [true; 2], "one heartbeat, or two");
}

#[test]
fn the_seed_decides_what_becomes_of_overlapping_joins() {
    let played = |seed| {
        let Burst { cloud, joined, .. } = burst(12, 0, Series::V2, seed);
        (joined, cloud.tally(), cloud.clusters().concat().len())
    };
    assert_eq!(played(3), played(3));
    assert!((0..20).any(|seed| played(seed) != played(3)));
}

#[test]
fn names_are_what_a_dns_name_could_be_and_never_a_bare_number() {
    let label = "a".repeat(63);
    let name = [label.as_str(); 4].join(".");
    let (longer_label, longer_name) = (format!("{label}a"), format!("{name}.a"));
    let valid = [
        "h1",
        "juju-0a1b2c-0",
        "Node-1.maas",
        "1e3",
        "on",
        "a-b",
        &label,
        &name,
    ];
    let others = ["", "ä", "a b", &longer_label, &longer_name];
    let invalid = "1.a node.1.lan 1 10.0.0.1 . a. a..b a_b -a a- a.-b";
    let invalid = invalid.split(' ').chain(others);
    for (name, is_valid) in valid
        .map(|it| (it, true))
        .into_iter()
        .chain(invalid.map(|it| (it, false)))
    {
        assert_eq!(is_valid_name(name), is_valid, "{name:?}");
        let added = cluster_of(1, Series::V2, 7).add("h1", name, None, 10);
        let (name, reason) = (name.to_owned(), NotAdded::InvalidName);
        let refused = Err(Refusal::NotAdded { name, reason });
        assert!(
            added.is_ok() == is_valid && (is_valid || added == refused),
            "{added:?}"
        );
    }
}

#[test]
fn a_token_is_base64_of_compact_json() {
    use base64::Engine;
    let mut cloud = cluster_of(2, Series::V2, 7);
    let mut content = || {
        let token = cloud.add("h1", "joiner", Some(1), 10).unwrap();
        cloud.advance(1000);
        let json = base64::engine::general_purpose::STANDARD
            .decode(token)
            .unwrap();
        let json = String::from_utf8(json).unwrap();
        assert!(
            !json.contains(' ') && json.starts_with("{\"secret\":\""),
            "{json}"
        );
        serde_json::from_str::<serde_json::Value>(&json).unwrap()
    };
    let (first, second) = (content(), content());
    let addresses = serde_json::json!(["10.100.10.100:6443", "10.100.10.101:6443"]);
    assert_eq!(first["join_addresses"], addresses);
    assert_eq!(first["secret"].as_str().unwrap().len(), 64);
    assert_eq!(first["fingerprint"].as_str().unwrap().len(), 64);
    assert_eq!(first["fingerprint"], second["fingerprint"]);
    assert_ne!(first["secret"], second["secret"]);
}

#[test]
fn the_command_prints_lists_and_fails_with_one() {
    let mut cloud = cluster_of(2, Series::V2, 7);
    let mut run = |command: &str| {
        let args: Vec<&str> = command.split(' ').collect();
        let output = microovn(&mut cloud, "h1", &args, 10);
        (output.status, String::from_utf8(output.stdout).unwrap())
    };
    let (status, json) = run("cluster list -f json");
    let members: serde_json::Value = serde_json::from_str(&json).unwrap();
    let keys: Vec<&String> = members[1].as_object().unwrap().keys().collect();
    let known = "address certificate extensions last_heartbeat name role schema_external_version \
        schema_internal_version secret status";
    assert_eq!(
        (status, keys),
        (
            0,
            known
                .split(' ')
                .map(str::to_owned)
                .collect::<Vec<_>>()
                .iter()
                .collect()
        )
    );
    let shown = ["name", "role", "status"].map(|key| members[1][key].as_str().unwrap());
    assert_eq!(shown, ["h2", "spare", "ONLINE"]);
    assert!(run("cluster list").1.contains("h2"));
    for malformed in [
        "cluster",
        "cluster add",
        "cluster add --x",
        "cluster merge",
        "cluster add -h2",
    ] {
        assert_eq!(run(malformed).0, 1, "{malformed}");
    }
}

#[test]
fn the_table_of_the_contract_names_what_is_there() {
    let readme = include_str!("../README.md");
    let sources = [
        include_str!("contract.rs"),
        include_str!("stand_ins/stories/cloud.txt"),
    ]
    .concat();
    let rows = readme.lines().filter_map(|line| line.strip_suffix("` |"));
    let named: Vec<&str> = rows
        .filter_map(|row| Some(row.rsplit_once('`')?.1))
        .collect();
    assert!(named.len() > 30);
    for name in named {
        let is_there =
            |line: &str| line == format!("# {name}") || line == format!("fn {name}() {{");
        assert!(sources.lines().any(is_there), "{name}");
    }
}

//! What microcluster grants and refuses (wire protocol, section 6), in memory and as a command.

use microovn::command_line::microovn;
use microovn::microcluster::{Cloud, Listed, NotAdded, Refusal, Role, Settings, is_valid_name};

/// Machines `h1` to `h<count>`, joined in this order, with roles.
fn cluster_of(count: usize) -> Cloud {
    let mut cloud = Cloud::new(Settings::default(), 7);
    cloud.bootstrap("h1", 0).unwrap();
    for number in 2..=count {
        join(&mut cloud, &format!("h{number}"), 0);
    }
    cloud.advance(10);
    cloud
}

fn join(cloud: &mut Cloud, machine: &str, now: u64) {
    let token = cloud.add("h1", machine, None, now).unwrap();
    cloud.join(machine, &token, now).unwrap();
}

fn roles(cloud: &mut Cloud, now: u64) -> String {
    let members = cloud.list("h1", now).unwrap();
    let word = |member: &Listed<'_>| format!("{}:{}", member.name, member.role.as_str());
    members.iter().map(word).collect::<Vec<_>>().join(" ")
}

fn not_added(name: &str, reason: NotAdded) -> Refusal {
    let name = name.to_owned();
    Refusal::NotAdded { name, reason }
}

#[test]
fn names_are_what_a_dns_name_could_be_and_never_a_bare_number() {
    let long_label = "a".repeat(63);
    let long_name = [long_label.as_str(); 4].join(".");
    for (name, valid) in [
        ("h1", true),
        ("juju-0a1b2c-0", true),
        ("Node-1.maas", true),
        ("1e3", true),
        ("on", true),
        ("1.a", false),
        ("node.1.lan", false),
        ("1", false),
        ("10.0.0.1", false),
        ("", false),
        (".", false),
        ("a.", false),
        ("a..b", false),
        ("a_b", false),
        ("-a", false),
        ("a-", false),
        ("a.-b", false),
        ("a-b", true),
        ("ä", false),
        ("a b", false),
        (&long_label, true),
        (&format!("{long_label}a"), false),
        (&long_name, true),
        (&format!("{}.a", long_name), false),
    ] {
        assert_eq!(is_valid_name(name), valid, "{name:?}");
        let added = cluster_of(1).add("h1", name, None, 10);
        let refused = not_added(name, NotAdded::InvalidName);
        assert_eq!(added.is_ok(), valid, "{name:?}");
        assert!(added.is_ok() || added == Err(refused), "{name:?}");
    }
}

#[test]
fn a_token_grows_by_28_bytes_with_every_member_and_does_not_name_its_joiner() {
    for (members, length) in [(1, 264), (3, 320), (100, 3036), (1000, 28_236)] {
        let mut cloud = cluster_of(members);
        let token = cloud.add("h1", "joiner", None, 10).unwrap();
        assert_eq!(token.len(), length, "{members} members");
    }
}

#[test]
fn a_token_is_base64_of_compact_json() {
    use base64::Engine;
    let mut cloud = cluster_of(2);
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
fn a_token_lives_three_hours_or_as_long_as_asked() {
    for (timeout, life) in [(None, 10_800), (Some(60), 60)] {
        for (age, joins) in [
            (0, true),
            (life - 1, true),
            (life, false),
            (life + 1, false),
        ] {
            let mut cloud = cluster_of(1);
            let token = cloud.add("h1", "h2", timeout, 100).unwrap();
            let joined = cloud.join("h2", &token, 100 + age);
            assert_eq!(
                joined.is_ok(),
                joins,
                "{timeout:?} after {age} s: {joined:?}"
            );
        }
    }
}

#[test]
fn a_name_has_one_outstanding_token_at_a_time() {
    let mut cloud = cluster_of(1);
    let taken = not_added("h2", NotAdded::Outstanding);
    let first = cloud.add("h1", "h2", None, 100).unwrap();
    assert_eq!(
        cloud.add("h1", "h2", None, 100 + 10_799),
        Err(taken.clone())
    );
    let second = cloud.add("h1", "h2", None, 100 + 10_800).unwrap();
    assert_ne!(first, second, "the first has expired");
    cloud.join("h2", &second, 100 + 10_800).unwrap();
    cloud
        .add("h1", "h2", None, 100 + 10_801)
        .expect("the second was used; members are not asked");
    assert_eq!(taken.to_string(), "name \"h2\" is taken");
}

#[test]
fn a_redeployed_host_gets_in_once_its_former_self_is_removed() {
    let mut cloud = cluster_of(1);
    join(&mut cloud, "h2", 10);
    cloud.kill("h2");
    cloud.set_hostname("redeployed", "h2");
    let in_use = || {
        Err(Refusal::NameInUse {
            hostname: "h2".to_owned(),
        })
    };
    let token = cloud.add("h1", "h2", None, 100).expect("for a member too");
    assert_eq!(cloud.join("redeployed", &token, 100), in_use());
    assert_eq!(
        cloud.add("h1", "h2", None, 100 + 10_799),
        Err(not_added("h2", NotAdded::Outstanding)),
        "a refused token is as outstanding as any other"
    );
    let second = cloud.add("h1", "h2", None, 100 + 10_800).unwrap();
    assert_eq!(cloud.join("redeployed", &second, 20_000), in_use());
    cloud.remove_by_force("h1", "h2", 20_000).unwrap();
    assert_eq!(cloud.join("redeployed", &second, 20_000), Ok(()));
    assert_eq!(cloud.clusters(), [["h1", "h2"]]);
}

#[test]
fn only_a_token_that_its_host_can_still_use_is_live() {
    let mut cloud = cluster_of(1);
    let token = cloud.add("h1", "h2", None, 100).unwrap();
    let live = |cloud: &Cloud, name: &str, now| cloud.is_live(name, &token, now);
    assert!(live(&cloud, "h2", 100 + 10_799));
    assert!(!live(&cloud, "h2", 100 + 10_800), "expired");
    assert!(!live(&cloud, "h3", 100), "another's");
    assert!(!cloud.is_live("h2", "member", 100), "no token");
    cloud.join("h2", &token, 200).unwrap();
    assert!(!live(&cloud, "h2", 200), "used");
    let useless = cloud.add("h1", "h2", None, 200).unwrap();
    assert!(!cloud.is_live("h2", &useless, 200), "a member's");
}

#[test]
fn who_must_not_join_does_not() {
    let unknown = |hostname: &str| {
        let hostname = hostname.to_owned();
        Err(Refusal::UnknownToken { hostname })
    };
    let mut cloud = cluster_of(1);
    let token = cloud.add("h1", "h2", None, 10).unwrap();
    assert_eq!(
        cloud.join("h3", &token, 10),
        unknown("h3"),
        "minted for another name"
    );
    assert_eq!(
        cloud.join("h1", &token, 10),
        Err(Refusal::AlreadyInitialized)
    );
    for malformed in ["", "empty", "bm8ganNvbg==", "e30="] {
        let refused = Err(Refusal::MalformedToken);
        assert_eq!(cloud.join("h2", malformed, 10), refused, "{malformed:?}");
    }
    assert_eq!(cloud.join("h2", &format!("{token}\n"), 10), Ok(()));
    assert_eq!(
        cloud.join("h2", &token, 10),
        Err(Refusal::AlreadyInitialized)
    );

    cloud.set_hostname("redeployed", "h2");
    assert_eq!(
        cloud.join("redeployed", &token, 10),
        unknown("h2"),
        "used once (hazard 13)"
    );
    let again = cloud.add("h1", "h2", None, 10).unwrap();
    let in_use = Refusal::NameInUse {
        hostname: "h2".to_owned(),
    };
    assert_eq!(
        cloud.join("redeployed", &again, 10),
        Err(in_use),
        "its former self is a member"
    );
    cloud.remove("h1", "h2", 10).unwrap();
    assert_eq!(
        cloud.join("redeployed", &again, 10),
        Ok(()),
        "a refused join uses no token up"
    );
}

#[test]
fn a_joiner_tries_every_member_the_token_names() {
    let mut cloud = cluster_of(3);
    let old = cloud.add("h1", "h4", None, 10).unwrap();
    cloud.remove("h2", "h1", 10).unwrap();
    assert_eq!(cloud.join("h4", &old, 10), Ok(()), "h2 accepts");

    let mut cloud = cluster_of(1);
    let old = cloud.add("h1", "h2", None, 10).unwrap();
    join(&mut cloud, "h3", 10);
    cloud.remove("h3", "h1", 10).unwrap();
    assert_eq!(
        cloud.join("h2", &old, 10),
        Err(Refusal::NobodyAnswers),
        "h3 is not named"
    );
}

#[test]
fn tokens_can_be_kept_short_at_no_loss() {
    let settings = Settings {
        join_addresses: Some(1),
        ..Settings::default()
    };
    let mut cloud = Cloud::new(settings, 7);
    cloud.bootstrap("h1", 0).unwrap();
    join(&mut cloud, "h2", 0);
    let token = cloud.add("h1", "h3", None, 10).unwrap();
    assert_eq!(token.len(), 264);
    cloud.remove("h2", "h1", 10).unwrap();
    assert_eq!(cloud.join("h3", &token, 10), Ok(()));
}

#[test]
fn every_bootstrap_makes_a_cluster_of_its_own() {
    let mut cloud = cluster_of(2);
    assert_eq!(cloud.bootstrap("h1", 10), Err(Refusal::AlreadyInitialized));
    assert_eq!(cloud.bootstrap("h2", 10), Err(Refusal::AlreadyInitialized));
    cloud.bootstrap("h3", 10).unwrap();
    assert_eq!(cloud.clusters(), [vec!["h1", "h2"], vec!["h3"]]);
    let token = cloud.add("h3", "h4", None, 10).unwrap();
    cloud.join("h4", &token, 10).unwrap();
    assert_eq!(cloud.clusters(), [["h1", "h2"], ["h3", "h4"]]);
    assert_eq!(cloud.list("h3", 10).unwrap().len(), 2, "each sees its own");
}

#[test]
fn the_heartbeat_ends_pending_and_hands_out_three_votes_and_three_stand_bys() {
    let mut cloud = Cloud::new(Settings::default(), 7);
    cloud.bootstrap("h1", 3).unwrap();
    assert_eq!(cloud.next_heartbeat("h1", 3), Some(13));
    assert_eq!(roles(&mut cloud, 12), "h1:PENDING");
    assert!(cloud.census("h1", 12).unwrap().pending);
    assert_eq!(roles(&mut cloud, 13), "h1:voter");
    for number in 2..=8 {
        join(&mut cloud, &format!("h{number}"), 22);
    }
    assert!(roles(&mut cloud, 22).ends_with("h8:PENDING"));
    assert_eq!(
        roles(&mut cloud, 23),
        "h1:voter h2:voter h3:voter h4:stand-by h5:stand-by h6:stand-by h7:spare h8:spare"
    );
    assert_eq!(cloud.next_heartbeat("h5", 23), Some(33));
    assert_eq!(cloud.next_heartbeat("elsewhere", 23), None);
}

#[test]
fn a_member_is_pending_to_its_first_heartbeat_whoever_is_ahead() {
    let mut cloud = Cloud::new(Settings::default(), 7);
    cloud.bootstrap("h1", 0).unwrap();
    join(&mut cloud, "h2", 12);
    assert_eq!(roles(&mut cloud, 40), "h1:voter h2:spare");
    // h1 has waited and is ahead; h3 joins before the heartbeat that h1 has seen.
    join(&mut cloud, "h3", 13);
    assert_eq!(cloud.next_heartbeat("h3", 13), Some(20));
    assert_eq!(roles(&mut cloud, 13), "h1:voter h2:PENDING h3:PENDING");
    assert_eq!(roles(&mut cloud, 20), "h1:voter h2:voter h3:voter");
}

#[test]
fn a_dead_voter_is_replaced_at_the_next_heartbeat_and_a_dead_pending_member_never_leaves() {
    let mut cloud = cluster_of(5);
    cloud.kill("h2");
    assert_eq!(
        roles(&mut cloud, 19),
        "h1:voter h2:voter h3:voter h4:stand-by h5:stand-by"
    );
    assert_eq!(
        roles(&mut cloud, 20),
        "h1:voter h2:spare h3:voter h4:voter h5:stand-by"
    );
    let listed = cloud.list("h1", 20).unwrap();
    assert_eq!(listed[1].status.as_str(), "UNREACHABLE");
    assert_eq!(listed[0].status.as_str(), "ONLINE");

    let mut cloud = cluster_of(3);
    join(&mut cloud, "h4", 21);
    cloud.kill("h4");
    assert!(cloud.census("h1", 1000).unwrap().pending);
    cloud.revive("h4");
    assert!(!cloud.census("h1", 1010).unwrap().pending);
}

#[test]
fn the_communicator_is_the_smallest_living_voter_even_between_heartbeats() {
    let mut cloud = cluster_of(5);
    let communicator = |cloud: &mut Cloud, now| cloud.census("h4", now).unwrap().communicator;
    assert_eq!(communicator(&mut cloud, 19).as_deref(), Some("h1"));
    cloud.kill("h1");
    assert_eq!(communicator(&mut cloud, 19).as_deref(), Some("h2"));
    assert_eq!(communicator(&mut cloud, 20).as_deref(), Some("h2"));
    cloud.kill("h2");
    assert_eq!(
        communicator(&mut cloud, 20).as_deref(),
        Some("h3"),
        "h4 is a voter, too, since the heartbeat"
    );
}

#[test]
fn outside_a_cluster_only_bootstrap_and_join_work() {
    let mut cloud = cluster_of(1);
    assert_eq!(cloud.list("h2", 10), Err(Refusal::NotInitialized));
    assert_eq!(
        cloud.add("h2", "h3", None, 10),
        Err(Refusal::NotInitialized)
    );
    assert_eq!(cloud.remove("h2", "h1", 10), Err(Refusal::NotInitialized));
}

#[test]
fn remove_spares_the_last_member_and_refuses_strangers() {
    let mut cloud = cluster_of(2);
    let stranger = Refusal::NoSuchMember {
        name: "h9".to_owned(),
    };
    assert_eq!(cloud.remove("h1", "h9", 10), Err(stranger));
    assert_eq!(cloud.remove("h1", "h2", 10), Ok(()));
    assert_eq!(
        cloud.list("h2", 10),
        Err(Refusal::NotInitialized),
        "it forgot the cluster"
    );
    assert_eq!(cloud.remove("h1", "h1", 10), Err(Refusal::LastMember));
    join(&mut cloud, "h2", 10);
    assert_eq!(cloud.clusters(), [["h1", "h2"]], "and may come back");
}

#[test]
fn the_seed_decides_the_secrets() {
    let token = |seed| {
        let mut cloud = Cloud::new(Settings::default(), seed);
        cloud.bootstrap("h1", 0).unwrap();
        cloud.add("h1", "h2", None, 0).unwrap()
    };
    assert_eq!(token(1), token(1));
    assert_ne!(token(1), token(2));
}

#[test]
fn the_command_prints_tokens_and_lists_and_fails_with_one() {
    let mut cloud = Cloud::new(Settings::default(), 7);
    let mut run = |machine: &str, command: &str, now: u64| {
        let args: Vec<&str> = command.split(' ').collect();
        let output = microovn(&mut cloud, machine, &args, now);
        let text = |bytes| String::from_utf8(bytes).unwrap();
        (output.status, text(output.stdout), text(output.stderr))
    };
    let failed = |message: &str| (1, String::new(), format!("Error: {message}\n"));
    let list = "cluster list -f json";
    assert_eq!(
        run("h1", list, 0),
        failed("database is not yet initialized")
    );
    assert_eq!(
        run("h1", "cluster bootstrap", 0),
        (0, String::new(), String::new())
    );
    assert_eq!(run("h1", "cluster bootstrap", 0).0, 1);

    let (status, token, _) = run("h1", "cluster add h2 --timeout 60", 0);
    assert_eq!((status, token.len(), token.ends_with('\n')), (0, 265, true));
    assert_eq!(
        run("h1", "cluster add h2", 59),
        failed("name \"h2\" is taken")
    );
    assert_eq!(
        run("h1", "cluster add a_b", 59),
        failed("name \"a_b\" is taken")
    );
    assert_eq!(
        run("h2", &format!("cluster join {}", token.trim()), 59).0,
        0
    );

    let (status, json, _) = run("h2", list, 59);
    let members: serde_json::Value = serde_json::from_str(&json).unwrap();
    assert_eq!(status, 0);
    let keys: Vec<&String> = members[0].as_object().unwrap().keys().collect();
    assert_eq!(
        keys,
        [
            "address",
            "certificate",
            "extensions",
            "last_heartbeat",
            "name",
            "role",
            "schema_external_version",
            "schema_internal_version",
            "secret",
            "status",
        ]
    );
    let rows = members.as_array().unwrap().iter().map(|member| {
        let text = |key: &str| member[key].as_str().unwrap().to_owned();
        (text("name"), text("role"), text("status"))
    });
    let row = |name: &str, role: Role| (name.to_owned(), role.as_str().to_owned(), "ONLINE".into());
    let expected = [row("h1", Role::Voter), row("h2", Role::Pending)];
    assert_eq!(rows.collect::<Vec<_>>(), expected);

    assert!(run("h1", "cluster list", 60).1.contains("h2"));
    assert_eq!(
        run("h1", "cluster remove h9", 60),
        failed("no cluster member named \"h9\"")
    );
    assert_eq!(run("h1", "cluster remove h2", 60).0, 0);
    assert_eq!(
        run("h1", "cluster remove h1", 60),
        failed("cannot remove the last member")
    );
    for malformed in [
        "cluster",
        "cluster add",
        "cluster add --x",
        "cluster merge",
        "cluster add -h2",
    ] {
        assert_eq!(run("h1", malformed, 60).0, 1, "{malformed}");
    }
}

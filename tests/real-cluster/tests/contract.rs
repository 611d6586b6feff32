//! Lines of the contract of microcluster, measured on a real one. Each test names its section, and
//! `README.md` has the table.
//!
//! Where there can be no real cluster the tests are skipped, and say so.

use std::process::{Command, Output};
use std::time::{Duration, Instant};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use real_cluster::{Host, Member, Network, sandbox};

/// The tests make processes of their own; this says that this is one.
const INSIDE: &str = "REAL_CLUSTER_TEST";

const SHORT: Duration = Duration::from_secs(1);
/// For tests that look at what is true before a heartbeat.
const LONG: Duration = Duration::from_secs(20);

/// Has `body` play with hosts `a`, `b`, ... in a sandbox, in a process of its own.
fn on_hosts<F: Fn(&mut Network)>(hosts: usize, heartbeat: Duration, body: F) {
    // A closure's type has the name of the test around it.
    let test = std::any::type_name::<F>().rsplit("::").nth(1);
    let test = test.expect("a closure in a test");
    let program = sandbox::program(sandbox::VERSION);
    if std::env::var_os(INSIDE).is_some() {
        let names: Vec<String> = ('a'..).take(hosts).map(String::from).collect();
        let folder = sandbox::furnish().expect("a furnished sandbox");
        let network = Network::new(&names, &folder, &program, heartbeat);
        body(&mut network.expect("hosts"));
        return;
    }
    if let Some(obstacle) = sandbox::obstacle(&program) {
        println!("skipped: {obstacle}");
        return;
    }
    let executable = std::env::current_exe().expect("this test");
    let mut command = sandbox::command(&executable);
    command
        .args(["--exact", test, "--nocapture"])
        .env(INSIDE, "yes");
    let output = command.output().expect("a sandbox");
    let said = |text: &[u8]| String::from_utf8_lossy(text).into_owned();
    let (stdout, stderr) = (said(&output.stdout), said(&output.stderr));
    assert!(output.status.success(), "{stdout}{stderr}");
    assert!(
        stdout.contains("1 passed"),
        "{test} is not the name of a test"
    );
}

/// Status 1, and a text for people on standard error.
fn refused(output: &Output) -> String {
    let complaint = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(1), "{complaint}");
    assert!(complaint.starts_with("Error: "), "{complaint}");
    complaint
}

fn run(host: &Host, arguments: &[&str]) -> Output {
    host.cluster(arguments).expect("a command that starts")
}

fn must(host: &Host, arguments: &[&str]) -> String {
    host.must(arguments)
        .expect("a command that succeeds")
        .trim()
        .to_owned()
}

fn list(host: &Host) -> Vec<Member> {
    let members = host.members().expect("a command that starts");
    members.expect("a list")
}

fn names(host: &Host) -> Vec<String> {
    let members = list(host).into_iter();
    members.map(|member| member.name).collect()
}

fn role(host: &Host, name: &str) -> Option<String> {
    let mut members = list(host).into_iter();
    members
        .find(|member| member.name == name)
        .map(|member| member.role)
}

/// Waits for something that comes with a heartbeat or two.
fn eventually(what: &str, mut is_so: impl FnMut() -> bool) {
    let begun = Instant::now();
    while begun.elapsed() < Duration::from_secs(120) {
        if is_so() {
            return;
        }
        std::thread::sleep(Duration::from_millis(200));
    }
    panic!("never: {what}");
}

fn host<'a>(network: &'a Network, name: &str) -> &'a Host {
    network.host(name).expect("a host")
}

/// Founds a cluster on `a`, in which the others are let in one after the other.
fn form(network: &Network, others: &[&str]) {
    let first = host(network, "a");
    must(first, &["bootstrap"]);
    for name in others {
        let token = must(first, &["add", name]);
        must(host(network, name), &["join", &token]);
    }
    eventually("every member has a role", || {
        list(first).iter().all(|member| member.role != "PENDING")
    });
}

/// Section 4, "daemon not there" and "not in a cluster yet".
#[test]
fn a_host_in_no_cluster_refuses_list_add_and_remove() {
    on_hosts(1, SHORT, |network| {
        let commands: [&[&str]; 3] = [&["list"], &["add", "b"], &["remove", "a"]];
        for arguments in commands {
            refused(&run(host(network, "a"), arguments));
        }
        network
            .host_mut("a")
            .and_then(Host::kill_daemon)
            .expect("a dead daemon");
        for arguments in commands {
            refused(&run(host(network, "a"), arguments));
        }
    });
}

/// Section 4, `bootstrap` and `list`.
#[test]
fn the_bootstrapper_too_is_pending_until_a_heartbeat() {
    on_hosts(1, LONG, |network| {
        let a = host(network, "a");
        must(a, &["bootstrap"]);
        let before = list(a);
        assert_eq!(role(a, "a").as_deref(), Some("PENDING"));
        refused(&run(a, &["bootstrap"]));
        assert_eq!(list(a), before, "a second bootstrap changed something");
        // The last member, and one while all are pending.
        refused(&run(a, &["remove", "a"]));
        eventually("the bootstrapper has a role", || {
            role(a, "a").as_deref() == Some("voter")
        });
        refused(&run(a, &["remove", "a"]));
    });
}

/// Section 4, `add`.
#[test]
fn what_a_token_is_and_for_whom_there_is_one() {
    on_hosts(2, SHORT, |network| {
        form(network, &["b"]);
        let a = host(network, "a");
        let token = must(a, &["add", "c"]);
        let json = STANDARD.decode(&token).expect("base64");
        let fields: serde_json::Value = serde_json::from_slice(&json).expect("JSON");
        for field in ["secret", "fingerprint"] {
            assert!(fields[field].is_string(), "there is no {field}");
        }
        let addresses = fields["join_addresses"].as_array().map(Vec::len);
        assert_eq!(addresses, Some(2), "not all members' addresses are in it");
        refused(&run(a, &["add", "c"]));
        for member in ["a", "b"] {
            // Nothing is wrong with the name of a member, even one's own; the record blocks it.
            must(a, &["add", member]);
            refused(&run(a, &["add", member]));
        }
        refused(&run(a, &["add", "no_host_name!"]));
    });
}

/// Section 4, `join`.
#[test]
fn which_tokens_a_join_accepts() {
    on_hosts(4, SHORT, |network| {
        form(network, &["b"]);
        let [a, c, d] = ["a", "c", "d"].map(|name| host(network, name));
        let token = must(a, &["add", "c"]);
        refused(&run(d, &["join", &token]));
        refused(&run(d, &["join", "this is not base64"]));
        must(c, &["join", &token]);
        let another = must(a, &["add", "d"]);
        must(d, &["join", &another]);
        assert_eq!(names(a), ["a", "b", "c", "d"]);
        // A member joins no second time.
        refused(&run(d, &["join", &another]));
    });
}

/// Section 4, `add`: the addresses in a token are those of the members at that time. What follows
/// is not in the contract: nobody can let that name in until the token has expired.
#[test]
fn a_token_is_worthless_once_the_members_that_it_names_have_left() {
    on_hosts(4, SHORT, |network| {
        let [a, b, c, d] = ["a", "b", "c", "d"].map(|name| host(network, name));
        must(a, &["bootstrap"]);
        let early = must(a, &["add", "d"]);
        for (name, joiner) in [("b", b), ("c", c)] {
            let token = must(a, &["add", name]);
            must(joiner, &["join", &token]);
        }
        eventually("every member has a role", || {
            list(b).iter().all(|member| member.role != "PENDING")
        });
        must(b, &["remove", "a"]);
        refused(&run(d, &["join", &early]));
        refused(&run(b, &["add", "d"]));
        assert_eq!(names(b), ["b", "c"]);
    });
}

/// Section 4, `list`: a cluster of two has one voter.
#[test]
fn of_two_members_the_second_stays_spare() {
    on_hosts(2, SHORT, |network| {
        form(network, &["b"]);
        let a = host(network, "a");
        std::thread::sleep(SHORT * 5);
        let roles = ["a", "b"].map(|name| role(a, name).unwrap_or_default());
        assert_eq!(roles, ["voter", "spare"]);
    });
}

/// Section 4, `remove`, and section 5.5: the list decides, not the exit status.
#[test]
fn who_leaves_can_join_again_at_once() {
    on_hosts(3, SHORT, |network| {
        form(network, &["b", "c"]);
        let [a, b, c] = ["a", "b", "c"].map(|name| host(network, name));
        // The list decides: on a busy machine the command may report what is true no more.
        eventually("it is removed", || {
            let _ = run(a, &["remove", "b"]);
            names(a) == ["a", "c"]
        });
        eventually("the removed host lists nothing", || {
            matches!(b.members(), Ok(Err(_)))
        });
        b.wait_for_daemon().expect("a daemon");
        let token = must(a, &["add", "b"]);
        // The daemon that has left may still be on its way out.
        eventually("it joins again", || {
            run(b, &["join", &token]).status.success()
        });
        // Of itself: whatever the command says.
        let _ = run(c, &["remove", "c"]);
        eventually("it has left", || matches!(c.members(), Ok(Err(_))));
        eventually("the others see it", || names(a) == ["a", "b"]);
    });
}

/// Section 2: a command that is killed does no harm, and the list says so later.
#[test]
fn the_daemon_finishes_a_join_whose_command_was_killed() {
    on_hosts(3, SHORT, |network| {
        form(network, &["b"]);
        let [a, c] = ["a", "c"].map(|name| host(network, name));
        let token = must(a, &["add", "c"]);
        // The third join takes a second or two: a heartbeat of the leader has to pass.
        let mut join: Command = c.command(&["join", &token]);
        let mut join = join.spawn().expect("a command that starts");
        std::thread::sleep(Duration::from_millis(200));
        let ended = join.try_wait().expect("a process");
        join.kill().expect("a process");
        join.wait().expect("a process");
        println!("the command had ended: {}", ended.is_some());
        eventually("it is a member with a role", || {
            let own = c.members().ok().and_then(Result::ok);
            let own = own.and_then(|members| members.into_iter().find(|it| it.name == "c"));
            own.is_some_and(|own| own.role != "PENDING")
        });
        assert_eq!(names(a), ["a", "b", "c"]);
    });
}

/// Section 3, stopped.
#[test]
fn while_a_member_is_dead_every_join_fails_and_spends_its_token() {
    on_hosts(5, SHORT, |network| {
        form(network, &["b", "c"]);
        let dead = network.host_mut("c").and_then(Host::kill_daemon);
        dead.expect("a dead daemon");
        let a = host(network, "a");
        eventually("it is shown as unreachable", || {
            let members = list(a).into_iter();
            let status = |member: Member| (member.name, member.status);
            members
                .map(status)
                .any(|it| it == ("c".to_owned(), "UNREACHABLE".to_owned()))
        });
        for name in ["d", "e"] {
            let token = must(a, &["add", name]);
            refused(&run(a, &["add", name]));
            refused(&run(host(network, name), &["join", &token]));
            // While a token is outstanding there is no other for that name.
            must(a, &["add", name]);
        }
    });
}

/// Section 3, stopped, `remove`: before any join was tried.
#[test]
fn once_a_dead_member_is_removed_by_force_hosts_join_again() {
    on_hosts(4, SHORT, |network| {
        form(network, &["b", "c"]);
        network
            .host_mut("c")
            .and_then(Host::kill_daemon)
            .expect("a dead daemon");
        let a = host(network, "a");
        must(a, &["remove", "c", "--force"]);
        let token = must(a, &["add", "d"]);
        must(host(network, "d"), &["join", &token]);
        assert_eq!(names(a), ["a", "b", "d"]);
    });
}

/// Section 3, dark. Where two limits of 30 s meet, a command may report success or failure; what it
/// came to is in the list afterwards.
#[test]
fn a_dark_member_is_removed_by_force_alone() {
    on_hosts(4, SHORT, |network| {
        form(network, &["b", "c", "d"]);
        host(network, "d").darken().expect("a dark host");
        let a = host(network, "a");
        must(a, &["add", "e"]);
        refused(&run(a, &["remove", "d"]));
        let _ = run(a, &["remove", "d", "--force"]);
        eventually("it is gone", || {
            let members = a.members().expect("a command that starts");
            members.is_ok_and(|members| members.iter().all(|member| member.name != "d"))
        });
        assert_eq!(names(a), ["a", "b", "c"]);
    });
}

//! Plays the stories in `stories/`: what machines and consumers do, and what comes of it.
//!
//! ```text
//! # title                      a story; `[newest]` or `[v3]` before a line is for that one alone
//! for released newest          a line for each way to play it: consumers, or versions of microcluster
//! cluster 2                    h1 and h2 in a cluster, at second 10
//! h1$ add h3                   `microovn cluster add h3` on h1
//!   = $token                   what it prints is called so; `! text` is an error
//! host h3 leader               the consumer unit that is looked at is on h3, and leads
//! P/0: mirror=up mirror-h3=$token
//! run changed                  a hook; below it its commands, `says` with statuses, `fails`
//!   $ cluster join $token
//! own: hostname=h3             the whole bag
//! ```
//!
//! All other lines are in [`Player::act`] and [`Player::is`].

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

use microovn::command_line::microovn;
use microovn::consumer::{HANGS, Release, State};
use microovn::microcluster::{Cloud, Listed, Series, Settings};

use crate::support::{Unit, databag};

const CLOUD: &str = include_str!("stories/cloud.txt");
const CONSUMER: &str = include_str!("stories/consumer.txt");

#[test]
fn microcluster_grants_and_refuses_as_in_the_contract() {
    play(CLOUD, "");
}

#[test]
fn consumers_of_the_first_protocol_do_as_in_the_field() {
    play(CONSUMER, "");
}

#[test]
fn hazard_1_the_newest_leader_never_comes_back_to_an_empty_app_bag() {
    play(CONSUMER, "hazard_1_");
}

#[test]
fn hazard_6_a_second_released_application_splits_unless_some_value_is_there_at_joined() {
    play(CONSUMER, "hazard_6_");
}

#[test]
fn hazard_16_a_second_communicator_gets_no_token_while_the_first_ones_is_outstanding() {
    play(CONSUMER, "hazard_16_");
}

#[test]
fn a_former_communicator_takes_its_mirror_down() {
    play(CONSUMER, "a_former_communicator");
}

#[test]
fn only_an_unclustered_leader_bootstraps() {
    play(CONSUMER, "only_an_unclustered_leader");
}

#[test]
fn only_the_patched_release_recovers_a_join_that_was_forgotten() {
    play(CONSUMER, "only_the_patched_release_recovers_a_join");
}

#[test]
fn a_redeployed_host_gets_in_once_its_former_self_is_removed() {
    play(CLOUD, "a_redeployed_host");
}

/// Plays the stories whose titles begin so, each to its end whatever becomes of the others.
fn play(file: &str, title: &str) {
    let lines: Vec<(usize, &str)> = (1..).zip(file.lines()).collect();
    let begins: Vec<usize> = (0..lines.len())
        .filter(|&at| lines[at].1.starts_with(&format!("# {title}")))
        .collect();
    assert!(!begins.is_empty());
    let mut wrong = 0;
    for begin in begins {
        let story = lines[begin + 1..]
            .iter()
            .take_while(|(_, line)| !line.starts_with("# "));
        let story: Vec<(usize, &str)> = story
            .copied()
            .filter(|(_, line)| !line.is_empty())
            .collect();
        let ways = story[0].1.strip_prefix("for ").unwrap_or("v2").split(' ');
        for way in ways {
            let play = || Player::new(way).play(&story);
            wrong += usize::from(catch_unwind(AssertUnwindSafe(play)).is_err());
        }
    }
    assert_eq!(wrong, 0, "so many go otherwise");
}

struct Player {
    way: String,
    unit: Unit,
    /// Texts that were printed, by the names they were given.
    printed: BTreeMap<String, String>,
}

impl Player {
    fn new(way: &str) -> Self {
        let release = way.parse().unwrap_or(Release::Newest);
        let mut unit = Unit::new(release, "nobody");
        if way == "v3" {
            let settings = Settings {
                series: Series::V3,
                ..Settings::default()
            };
            unit.world.cloud = Cloud::new(settings, 1);
        }
        Player {
            way: way.to_owned(),
            unit,
            printed: BTreeMap::new(),
        }
    }

    /// The line as it is for this way, if it is.
    fn line(&self, line: &str) -> Option<String> {
        let mut text = line.trim_start();
        if let Some((way, rest)) = text.strip_prefix('[').and_then(|it| it.split_once("] ")) {
            if way != self.way {
                return None;
            }
            text = rest;
        }
        let known = self.printed.iter().rev();
        Some(known.fold(text.to_owned(), |text, (name, value)| {
            text.replace(name, value)
        }))
    }

    fn play(mut self, story: &[(usize, &str)]) {
        let mut at = 0;
        while at < story.len() {
            let (number, line) = story[at];
            let rest = &story[at + 1..];
            let count = rest
                .iter()
                .take_while(|(_, line)| line.starts_with(' '))
                .count();
            at += 1 + count;
            let Some(line) = self.line(line) else {
                continue;
            };
            let below = rest[..count].iter().filter_map(|(_, line)| self.line(line));
            let below: Vec<String> = below.collect();
            let place = format!("{} {number}: {line}", self.way);
            let words: Vec<&str> = line.split(' ').collect();
            if let Some((machine, command)) = line.split_once("$ ") {
                self.command(&place, machine, command, &below);
            } else if words[0] == "run" {
                self.run(&place, words[1], &below);
            } else if let Some((what, value)) = line.split_once(':') {
                let what: Vec<&str> = what.split(' ').collect();
                self.is(&place, &what, value.trim_start());
            } else {
                self.act(&place, words[0], &words[1..]);
            }
        }
    }

    fn command(&mut self, place: &str, machine: &str, command: &str, below: &[String]) {
        let world = &mut self.unit.world;
        let arguments: Vec<&str> = ["cluster"].into_iter().chain(command.split(' ')).collect();
        let output = microovn(&mut world.cloud, machine, &arguments, world.now);
        let [stdout, stderr] =
            [output.stdout, output.stderr].map(|it| String::from_utf8(it).unwrap());
        match below.first().map_or("", String::as_str).split_once(' ') {
            Some(("!", error)) => {
                let expected = (1, format!("Error: {error}\n"));
                assert_eq!((output.status, stderr), expected, "{place}");
            }
            Some(("=", name)) => {
                assert_eq!(output.status, 0, "{place}: {stderr}");
                self.printed
                    .insert(name.to_owned(), stdout.trim().to_owned());
            }
            _ => assert_eq!((output.status, &*stdout), (0, ""), "{place}: {stderr}"),
        }
    }

    fn run(&mut self, place: &str, hook: &str, below: &[String]) {
        let hook = match hook {
            "created" | "joined" | "changed" | "departed" => format!("cluster-relation-{hook}"),
            hook => hook.to_owned(),
        };
        let (now, before) = (self.unit.world.now, self.unit.state.clone());
        let status = self.unit.run(&hook);
        let (commands, statuses) = (self.unit.commands(), self.unit.statuses());
        let of = |kind: &str| -> Vec<&str> {
            let lines = below.iter().filter_map(|line| line.strip_prefix(kind));
            lines.map(str::trim).collect()
        };
        let fails = below.iter().any(|line| line == "fails");
        let hangs = below.iter().any(|line| line == "hangs");
        let expected = if hangs { HANGS } else { i32::from(fails) };
        assert_eq!(status, expected, "{place}: {:?}", self.unit.world.log);
        assert!(status == 0 || self.unit.state == before, "{place}");
        assert_eq!(commands, of("$ "), "{place}");
        let says = of("says");
        assert!(
            says.is_empty() || statuses.iter().map(|it| it.trim()).eq(says),
            "{place}: {statuses:?}"
        );
        for last in of("ends with") {
            assert_eq!(
                statuses.last().map_or("", |last| last.trim()),
                last,
                "{place}"
            );
        }
        for words in of("logs") {
            let log = &self.unit.world.log;
            assert!(
                log.iter().any(|line| line.contains(words)),
                "{place}: {log:?}"
            );
        }
        for seconds in of("waits") {
            assert_eq!((self.unit.world.now - now).to_string(), seconds, "{place}");
        }
    }

    /// How things are; bags are as they say from then on, but for the own one.
    fn is(&mut self, place: &str, what: &[&str], value: &str) {
        let words = value.split(' ').filter(|word| !word.is_empty());
        let bag: Vec<(&str, &str)> = words.filter_map(|word| word.split_once('=')).collect();
        let (state, world) = (&self.unit.state, &mut self.unit.world);
        let now = world.now;
        let yes = |is_so: bool| if is_so { "yes" } else { "no" }.to_owned();
        let found = match what {
            ["app"] => return world.app = databag(&bag),
            ["has"] => return world.own = databag(&bag),
            [unit] if unit.starts_with("P/") => {
                return drop(world.remote.insert((*unit).to_owned(), databag(&bag)));
            }
            ["own"] => return assert_eq!(world.own, databag(&bag), "{place}"),
            // Of bags with tokens that have no name here.
            ["keys"] => world
                .own
                .keys()
                .map(String::as_str)
                .collect::<Vec<_>>()
                .join(" "),
            ["mirror"] => world.own.get("mirror").cloned().unwrap_or_default(),
            ["in-cluster"] => yes(state.in_cluster),
            ["deferred"] => state.deferred.len().to_string(),
            ["writes"] => world.writes.to_string(),
            ["clusters"] => {
                let clusters = world.cloud.clusters().into_iter();
                clusters
                    .map(|members| members.join(" "))
                    .collect::<Vec<_>>()
                    .join(", ")
            }
            ["roles", machine] => {
                let word = |it: &Listed<'_>| match it.status.as_str() {
                    "ONLINE" => format!("{}:{}", it.name, it.role.as_str()),
                    status => format!("{}:{}:{status}", it.name, it.role.as_str()),
                };
                let listed = world
                    .cloud
                    .list(machine, now)
                    .map_err(|error| format!("! {error}"));
                match listed {
                    Ok(members) => members.iter().map(word).collect::<Vec<_>>().join(" "),
                    Err(error) => error,
                }
            }
            ["communicator", machine] => {
                let census = world.cloud.census(machine, now);
                census.expect(place).communicator.unwrap_or_default()
            }
            ["pending", machine] => yes(world.cloud.census(machine, now).expect(place).pending),
            ["heartbeat", machine] => {
                let next = world.cloud.next_heartbeat(machine, now);
                next.map_or("never".to_owned(), |next| next.to_string())
            }
            ["took"] => world.cloud.took().as_secs().to_string(),
            ["member", machine] => yes(world.cloud.is_member(machine)),
            ["half-in", machine] => yes(world.cloud.is_half_joined(machine)),
            ["live", name, token] => yes(world.cloud.is_live(name, token, now)),
            ["length", text] => text.len().to_string(),
            ["spent-in-vain"] => world.cloud.tally().spent_in_vain.to_string(),
            _ => panic!("{place}: nothing is called so"),
        };
        assert_eq!(found, value, "{place}");
    }

    /// What happens, and how a story begins.
    fn act(&mut self, place: &str, verb: &str, words: &[&str]) {
        let world = &mut self.unit.world;
        let seconds = |text: &str| text.parse::<u64>().expect(place);
        match (verb, words) {
            ("for", _) => {}
            ("at", [now]) => {
                world.now = seconds(now);
                world.cloud.advance(world.now);
            }
            ("cluster", [count]) => {
                let names: Vec<String> = (1..=seconds(count)).map(|it| format!("h{it}")).collect();
                form(&mut world.cloud, &names);
                world.now = 10;
                world.cloud.advance(10);
            }
            // The unit is new; the cluster beside it is one of these, with all roles handed out.
            ("host", [machine, rest @ ..]) => {
                let unit = Unit::new(self.unit.release, machine);
                self.unit = if rest.contains(&"leader") {
                    unit.leader()
                } else {
                    unit
                };
                if let Some(at) = rest.iter().position(|word| ["beside", "in"].contains(word)) {
                    let names: Vec<String> =
                        rest[at + 1..].iter().map(ToString::to_string).collect();
                    form(&mut self.unit.world.cloud, &names);
                    self.unit.world.now = 100;
                    self.unit.world.cloud.advance(100);
                    self.unit.state.in_cluster = rest[at] == "in";
                }
            }
            ("forget", []) => self.unit.state = State::default(),
            ("gone", []) => world.gone = true,
            ("back", []) => world.gone = false,
            ("no-distributors", []) => world.remote.clear(),
            ("refuse", []) => world.refuse.clear(),
            ("refuse", [command]) => {
                world.refuse.insert(match *command {
                    "list" => "cluster list",
                    _ => "cluster join",
                });
            }
            // Python walks its set of units the other way.
            ("backwards", []) => self.unit.tie = |n| n - 1,
            ("kill", [machine]) => world.cloud.kill(machine),
            ("kill-daemon", [machine]) => world.cloud.kill_daemon(machine, world.now),
            ("darken", [machine]) => world.cloud.darken(machine),
            ("revive", [machine]) => world.cloud.revive(machine),
            ("repair", [machine]) => world.cloud.repair(machine),
            ("call", [machine, hostname]) => world.cloud.set_hostname(machine, hostname),
            ("wrong-network", [machine]) => world.cloud.set_wrong_network(machine, true),
            // Its command is killed, and the daemon goes on.
            ("begin-join", [machine, token]) => {
                let now = Duration::from_secs(world.now);
                world.cloud.begin_join(machine, token, now).expect(place);
            }
            _ => panic!("{place}: nobody can"),
        }
    }
}

fn form(cloud: &mut Cloud, names: &[String]) {
    cloud.bootstrap(&names[0], 0).unwrap();
    for name in &names[1..] {
        let token = cloud.add(&names[0], name, None, 0).unwrap();
        cloud.join(name, &token, 0).unwrap();
    }
}

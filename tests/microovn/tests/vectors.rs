//! The consumer of the second protocol against the protocol as data, which the library in Python is
//! held to as well.

use std::collections::{BTreeMap, VecDeque};
use std::fs;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use microovn::consumer::{
    self, CommandOutput, Databag, Host, Refusal, Release, State, Tried, fingerprint,
};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::json;

const RELATION: &str = "cluster:1";

#[derive(Deserialize)]
struct Fingerprinted {
    value: String,
    fingerprint: String,
}

#[derive(Deserialize)]
struct Vectors {
    about: String,
    cases: Vec<Case>,
}

#[derive(Deserialize)]
struct Case {
    case: String,
    facts: Facts,
    steps: Vec<Step>,
    after: After,
}

#[derive(Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Facts {
    hostname: String,
    application: String,
    event: String,
    now: u64,
    leads: bool,
    in_cluster: bool,
    half_in: bool,
    own: Databag,
    remote_app: Databag,
    remote_units: BTreeMap<String, Databag>,
    tries: BTreeMap<String, Tried>,
    refusal: Option<Refusal>,
}

impl Default for Facts {
    fn default() -> Self {
        Facts {
            hostname: String::new(),
            application: String::new(),
            event: "changed".to_owned(),
            now: 0,
            leads: false,
            in_cluster: false,
            half_in: false,
            own: Databag::new(),
            remote_app: Databag::new(),
            remote_units: BTreeMap::new(),
            tries: BTreeMap::new(),
            refusal: None,
        }
    }
}

#[derive(Clone, Deserialize)]
#[serde(tag = "step", rename_all = "kebab-case")]
enum Step {
    AskList {
        answer: Vec<serde_json::Value>,
    },
    AskLeader {
        answer: bool,
    },
    Bootstrap {
        answer: bool,
    },
    Join {
        unit: String,
        answer: bool,
    },
    Mint {
        names: Vec<String>,
        answer: BTreeMap<String, String>,
    },
    // What these leave behind is seen in the end.
    Set {},
    Delete {},
    NoteInCluster {},
    TakeNoteBack {},
    // These are for the charm around a library.
    Emit {},
    Say {},
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct After {
    own: Databag,
    in_cluster: bool,
    #[serde(default)]
    half_in: bool,
    #[serde(default)]
    tries: BTreeMap<String, Tried>,
    #[serde(default)]
    refusal: Option<Refusal>,
}

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/vectors")
}

fn read<T: DeserializeOwned>(path: &Path) -> T {
    let json = fs::read(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    serde_json::from_slice(&json).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// The world of one case: it answers as the steps say, and complains of any other command.
struct World<'a> {
    name: String,
    facts: &'a Facts,
    own: Databag,
    /// Commands that the case expects, in order.
    expected: VecDeque<Step>,
    asked_leader: bool,
}

impl World<'_> {
    fn list(&mut self) -> CommandOutput {
        match self.expected.pop_front() {
            Some(Step::AskList { answer }) if answer.is_empty() => {
                CommandOutput::failure(1, "Error: no\n")
            }
            Some(Step::AskList { answer }) => CommandOutput::success(json!(answer).to_string()),
            _ => panic!("{}: nobody is to ask for the list", self.name),
        }
    }

    fn leads(&mut self) -> bool {
        if !self.asked_leader {
            self.asked_leader = true;
            return self.facts.leads;
        }
        match self.expected.pop_front() {
            Some(Step::AskLeader { answer }) => answer,
            _ => panic!("{}: leadership is not to be asked for again", self.name),
        }
    }

    fn add(&mut self, name: &str) -> CommandOutput {
        let Some(Step::Mint { names, answer }) = self.expected.front_mut() else {
            panic!("{}: nothing is to be minted, not {name}", self.name);
        };
        assert_eq!(names.remove(0), name, "{}", self.name);
        let minted = answer.remove(name);
        if names.is_empty() {
            self.expected.pop_front();
        }
        minted.map_or_else(
            || CommandOutput::failure(1, "Error: taken\n"),
            |token| CommandOutput::success(token + "\n"),
        )
    }
}

fn worked(worked: bool) -> CommandOutput {
    CommandOutput {
        status: i32::from(!worked),
        ..CommandOutput::default()
    }
}

impl Host for World<'_> {
    fn hook_tool(&mut self, tool: &str, args: &[String], stdin: Option<&[u8]>) -> CommandOutput {
        let own_unit = format!("{}/0", self.facts.application);
        let owner = args.last().map_or("", String::as_str);
        let answer = match tool {
            "is-leader" => json!(self.leads()),
            "relation-ids" => json!([RELATION]),
            "relation-list" if args.iter().any(|arg| arg == "--app") => json!("p"),
            "relation-list" => json!(self.facts.remote_units.keys().collect::<Vec<_>>()),
            "relation-get" if args.iter().any(|arg| arg == "--app") => json!(self.facts.remote_app),
            "relation-get" if owner == own_unit => json!(self.own),
            "relation-get" => json!(self.facts.remote_units[owner]),
            "relation-set" => {
                let written: Databag = serde_json::from_slice(stdin.unwrap()).unwrap();
                self.own.extend(written);
                self.own.retain(|_, value| !value.is_empty());
                json!(null)
            }
            _ => json!(null),
        };
        CommandOutput::success(answer.to_string())
    }

    fn microovn(&mut self, args: &[&str]) -> CommandOutput {
        match args {
            ["cluster", "list", ..] => self.list(),
            ["cluster", "add", name] => self.add(name),
            ["cluster", "bootstrap"] => match self.expected.pop_front() {
                Some(Step::Bootstrap { answer }) => worked(answer),
                _ => panic!("{}: nobody is to bootstrap", self.name),
            },
            ["cluster", "join", token] => match self.expected.pop_front() {
                Some(Step::Join { unit, answer }) => {
                    let key = format!("mirror-{}", self.facts.hostname);
                    assert_eq!(
                        self.facts.remote_units[&unit][&key], *token,
                        "{}",
                        self.name
                    );
                    worked(answer)
                }
                _ => panic!("{}: nobody is to join", self.name),
            },
            _ => panic!("{}: unexpected {args:?}", self.name),
        }
    }

    fn hostname(&self) -> String {
        self.facts.hostname.clone()
    }

    fn now(&self) -> u64 {
        self.facts.now
    }

    fn wait_for_pending(&mut self) -> ControlFlow<()> {
        ControlFlow::Continue(())
    }
}

fn hook(event: &str) -> String {
    match event {
        "created" | "joined" | "changed" | "departed" | "broken" => {
            format!("cluster-relation-{event}")
        }
        other => other.to_owned(),
    }
}

fn play(about: &str, case: &Case) {
    let name = format!("{about} {}", case.case);
    let mut world = World {
        name: name.clone(),
        facts: &case.facts,
        own: case.facts.own.clone(),
        expected: case
            .steps
            .iter()
            .filter(|step| is_command(step))
            .cloned()
            .collect(),
        asked_leader: false,
    };
    let mut state = State {
        in_cluster: case.facts.in_cluster,
        half_in: case.facts.half_in,
        tried: case.facts.tries.clone(),
        refusal: case.facts.refusal.clone(),
        ..State::default()
    };
    let environment = BTreeMap::from([
        (
            "JUJU_DISPATCH_PATH".to_owned(),
            format!("hooks/{}", hook(&case.facts.event)),
        ),
        (
            "JUJU_UNIT_NAME".to_owned(),
            format!("{}/0", case.facts.application),
        ),
        ("JUJU_RELATION_ID".to_owned(), RELATION.to_owned()),
        ("JUJU_REMOTE_APP".to_owned(), "p".to_owned()),
    ]);
    let status = consumer::dispatch(
        Release::Second,
        &environment,
        &mut state,
        &mut world,
        &mut |_| 0,
    );
    assert_eq!(status, 0, "{name}");
    assert!(world.expected.is_empty(), "{name}: something was not done");
    assert_eq!(world.own, case.after.own, "{name}");
    assert_eq!(state.in_cluster, case.after.in_cluster, "{name}");
    assert_eq!(state.half_in, case.after.half_in, "{name}");
    assert_eq!(state.tried, case.after.tries, "{name}");
    assert_eq!(state.refusal, case.after.refusal, "{name}");
}

fn is_command(step: &Step) -> bool {
    !matches!(
        step,
        Step::Set {}
            | Step::Delete {}
            | Step::NoteInCluster {}
            | Step::TakeNoteBack {}
            | Step::Emit {}
            | Step::Say {}
    )
}

#[test]
fn fingerprints() {
    let vectors: Vec<Fingerprinted> = read(&folder().join("fingerprints.json"));
    assert!(!vectors.is_empty());
    for vector in vectors {
        assert_eq!(fingerprint(&vector.value), vector.fingerprint);
    }
}

/// Plays the cases of a file.
fn plays(file: &str) {
    let vectors: Vectors = read(&folder().join("consumer").join(file));
    assert!(vectors.cases.len() > 3, "{file}");
    for case in &vectors.cases {
        play(&vectors.about, case);
    }
}

#[test]
fn rule_1_who_this_unit_is() {
    plays("announce.json");
}

#[test]
fn rule_2_one_leader_founds_the_cluster() {
    plays("bootstrap.json");
}

#[test]
fn rule_3_joining() {
    plays("join.json");
}

#[test]
fn rule_3_a_token_that_fails_is_refused() {
    plays("refused.json");
}

#[test]
fn rules_4_and_6_who_speaks_for_the_cluster() {
    plays("communicator.json");
}

#[test]
fn rule_5_for_whom_tokens_are_made() {
    plays("mint.json");
}

#[test]
fn rule_7_values_that_nobody_needs_any_more() {
    plays("prune.json");
}

#[test]
fn foreign_bags_are_never_an_error() {
    plays("foreign.json");
}

#[test]
fn no_step_is_due_in_departed_and_broken() {
    plays("stopped.json");
}

#[test]
fn every_file_is_played() {
    let files = fs::read_dir(folder().join("consumer")).expect("the vectors");
    assert_eq!(files.count(), 9);
}

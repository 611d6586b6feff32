//! Everything that reads text from outside, as functions of bytes that must return.
//!
//! `fuzz/` runs them under a fuzzer that looks for new ways through the code; a plain test runs
//! them over the same corpus with seeded mutations, so that they cannot rot.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::io;
use std::os::unix::process::ExitStatusExt;
use std::process::{ExitStatus, Output};
use std::time::Duration;

use juju_emulator::document::parse;
use microcluster_token_distributor::core::learn::Learned;
use microcluster_token_distributor::core::ledger::Ledger;
use microcluster_token_distributor::core::names::{ENDPOINT, PEER_ENDPOINT};
use microcluster_token_distributor::core::nudge::nudge;
use microcluster_token_distributor::core::plan;
use microcluster_token_distributor::core::queue::Moment;
use microcluster_token_distributor::core::turn::Occasion::{Departed, Heard};
use microcluster_token_distributor::core::wire::{Change, Changes, Databag};
use microcluster_token_distributor::juju::document::encode;
use microcluster_token_distributor::juju::environment::Hook;
use microcluster_token_distributor::juju::hook_tools::Agent;
use microcluster_token_distributor::life::actions::Action;
use microcluster_token_distributor::{chain, dispatch};

/// A target's name, as its corpus is called, and the target.
pub type Target = (&'static str, fn(&[u8]));

/// All of them.
pub const TARGETS: [Target; 7] = [
    ("hook_tools", hook_tools),
    ("environment", environment),
    ("ledger", ledger),
    ("nudge", nudges),
    ("encoder", encoder),
    ("decoder", decoder),
    ("parameters", parameters),
];

/// Between two answers of [`hook_tools`].
const NEXT: u8 = 0x1e;

/// The hooks that [`hook_tools`] runs, by its first byte.
const EVENTS: [(&str, &str); 9] = [
    ("hooks/leader-elected", ""),
    ("hooks/microcluster-cluster-relation-created", ""),
    ("hooks/microcluster-cluster-relation-joined", "a/0"),
    ("hooks/microcluster-cluster-relation-changed", "a/0"),
    ("hooks/microcluster-cluster-relation-departed", "a/0"),
    ("hooks/microcluster-cluster-relation-broken", ""),
    ("hooks/update-status", ""),
    ("actions/check", ""),
    ("hooks/cluster-relation-changed", ""),
];

/// What hook tools print, one after the other: whatever it is, the hook ends, and its error shows
/// nothing that was printed as data.
pub fn hook_tools(data: &[u8]) {
    let (first, answers) = data.split_first().unwrap_or((&0, &[]));
    let (path, remote) = EVENTS[usize::from(*first) % EVENTS.len()];
    let agent = Canned {
        answers: RefCell::new(answers.split(|byte| *byte == NEXT).collect()),
    };
    let variable = |name: &str| {
        let value = match name {
            "JUJU_DISPATCH_PATH" => path,
            "JUJU_ACTION_NAME" => path.strip_prefix("actions/")?,
            "JUJU_UNIT_NAME" => "d/0",
            "JUJU_REMOTE_UNIT" | "JUJU_DEPARTING_UNIT" => remote,
            "JUJU_RELATION_ID" if path.starts_with("hooks/cluster") => {
                return Some(format!("{PEER_ENDPOINT}:0"));
            }
            "JUJU_RELATION_ID" => return Some(format!("{ENDPOINT}:1")),
            _ => return None,
        };
        Some(value.to_owned())
    };
    if let Err(error) = dispatch(variable, &agent, 1000) {
        assert!(!chain(&error).contains("SECRET"), "{}", chain(&error));
    }
}

/// Prints what it was given, in that order, and fails where that begins with `!`.
struct Canned<'a> {
    answers: RefCell<Vec<&'a [u8]>>,
}

impl Agent for Canned<'_> {
    fn wait(&self, _pause: Duration) {}

    fn call(&self, tool: &str, arguments: &[String], _: Option<&[u8]>) -> io::Result<Output> {
        let silent = [
            "relation-set",
            "status-set",
            "juju-log",
            "action-set",
            "action-log",
        ];
        let mut answers = self.answers.borrow_mut();
        let answer = match silent.contains(&tool) || answers.is_empty() {
            true => usual(tool, arguments).as_bytes(),
            false => answers.remove(0),
        };
        let (status, stdout, stderr) = match answer.strip_prefix(b"!") {
            Some(complaint) => (1 << 8, &b""[..], complaint),
            None => (0, answer, &b""[..]),
        };
        // A complaint is Juju's own words and may be shown.
        let stderr = String::from_utf8_lossy(stderr).replace("SECRET", "");
        Ok(Output {
            status: ExitStatus::from_raw(status),
            stdout: stdout.to_vec(),
            stderr: stderr.into_bytes(),
        })
    }
}

/// What a tool prints on a quiet day.
fn usual(tool: &str, arguments: &[String]) -> &'static str {
    match tool {
        "is-leader" => "true",
        "relation-ids" if arguments.iter().any(|argument| argument == PEER_ENDPOINT) => {
            r#"["cluster:0"]"#
        }
        "relation-ids" => r#"["microcluster-cluster:1"]"#,
        "relation-list" if arguments.iter().any(|argument| argument == "--app") => "\"a\"",
        "relation-list" => r#"["a/0"]"#,
        "status-get" => r#"{"status":"active","message":""}"#,
        _ => "{}",
    }
}

/// The environment, one variable a line: a relation hook is recognized with its relation and unit,
/// or refused.
pub fn environment(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    let variable = |name: &str| {
        let mut lines = text.lines().filter_map(|line| line.split_once('='));
        lines
            .find(|(known, _)| *known == name)
            .map(|(_, value)| value.to_owned())
    };
    if let Ok(Hook::Event(Heard(relation, unit) | Departed(relation, unit))) =
        Hook::from_environment(variable)
    {
        assert_eq!(variable("JUJU_REMOTE_UNIT").as_deref(), Some(unit.as_str()));
        let id = variable("JUJU_RELATION_ID").expect("a relation hook has one");
        let (_, number) = id.rsplit_once(':').expect("endpoint and number");
        assert_eq!(number.parse(), Ok(relation.0));
    }
}

/// The ledger's databag, one `key=value` a line: whatever is there, what is understood of it is
/// written so that it is understood again, and a status can be made of it.
pub fn ledger(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    let lines = text.split('\n').filter_map(|line| line.split_once('='));
    let bag: Databag = lines
        .map(|(key, value)| (key.to_owned(), value.to_owned()))
        .collect();
    let ledger = Ledger::from(bag);
    let written = ledger.to_databag();
    let read = Ledger::from(written.clone());
    assert_eq!(read, ledger);
    assert_eq!(read.to_databag(), written);
    let plan = plan::of(&ledger, Learned::nothing(&ledger), None, &Moment::default());
    assert!(plan.is_idle());
    assert!(plan.applied(&[]).status().message.chars().count() <= 160);
}

/// The nudge that our unit bag holds: whatever it is, the next one differs.
pub fn nudges(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    let waiting = BTreeSet::from(["h0"]);
    let next = nudge(Some(&text), &waiting, 1000, true);
    assert!(next.is_some_and(|next| next != text));
    nudge(Some(&text), &waiting, u64::MAX, false);
}

/// Changes, one `key=value` a line: the document means them, and nothing else, to Juju.
pub fn encoder(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    let settings = text.split('\n').filter_map(|line| line.split_once('='));
    let settings = settings.filter(|(key, _)| !key.is_empty());
    let changes: Changes = settings
        .map(|(key, value)| {
            let change = match value {
                "" => Change::Remove,
                value => Change::Set(value.to_owned()),
            };
            (key.to_owned(), change)
        })
        .collect();
    let read = parse(encode(&changes).as_bytes()).expect("Juju reads every document of ours");
    let written = read.into_iter().map(|(key, value)| match value.as_str() {
        "" => (key, Change::Remove),
        _ => (key, Change::Set(value)),
    });
    assert!(written.eq(changes));
}

/// A document: the emulated Juju reads or refuses it, and what it read can be written again.
pub fn decoder(data: &[u8]) {
    if let Ok(settings) = parse(data) {
        let changes: Changes = settings
            .iter()
            .map(|(key, value)| (key.clone(), Change::Set(value.clone())))
            .collect();
        assert_eq!(parse(encode(&changes).as_bytes()), Ok(settings));
    }
}

/// The parameters of an action, after its name and a line break.
pub fn parameters(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    let (name, parameters) = text.split_once('\n').unwrap_or((&text, "{}"));
    if let Ok(parameters) = serde_json::from_str(parameters)
        && let Err(refusal) = Action::parse(name, &parameters)
    {
        assert!(!refusal.to_string().is_empty());
    }
}

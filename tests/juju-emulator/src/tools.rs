//! The hook tools: what a charm's calls are answered, with Juju's exit codes and error texts.

mod grammar;
mod relation;
mod unit;

use std::path::Path;

use serde_json::Value;

use crate::agent::Agent;
use crate::context::Context;
use crate::model::{Content, Model};
use crate::names::RelationId;
use crate::quirks::Complaint;
use grammar::{Arguments, BAG_FORMAT, FORMAT, Flag, GOAL_STATE_FORMAT, OUTPUT, RELATION, Takes};

/// Every hook tool that a charm here calls.
pub const TOOLS: [&str; 15] = [
    "action-fail",
    "action-get",
    "action-log",
    "action-set",
    "application-version-set",
    "config-get",
    "goal-state",
    "is-leader",
    "juju-log",
    "relation-get",
    "relation-ids",
    "relation-list",
    "relation-set",
    "status-get",
    "status-set",
];

/// What a tool leaves its caller.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ToolOutput {
    /// The exit status.
    pub code: i32,
    /// Standard output.
    pub stdout: Vec<u8>,
    /// Standard error.
    pub stderr: Vec<u8>,
    /// A databag that was asked for as [`SHARED`].
    pub bag: Option<Content>,
}

/// A format no Juju has: a databag is handed over as it is. Models of a thousand consumers in one
/// process would spend their time on printing and parsing the same bag.
pub const SHARED: &str = "shared";

impl ToolOutput {
    /// Failure with `ERROR <message>` on standard error.
    pub fn error(code: i32, message: &str) -> Self {
        Self {
            code,
            stderr: format!("ERROR {message}\n").into_bytes(),
            ..Self::default()
        }
    }
}

/// A tool called.
#[derive(Debug, Clone, Copy)]
pub struct ToolRequest<'a> {
    /// Its name.
    pub tool: &'a str,
    /// Its arguments, without the name.
    pub arguments: &'a [String],
    /// Standard input, once it has been read.
    pub stdin: Option<&'a [u8]>,
    /// The caller's working directory.
    pub directory: &'a Path,
}

/// What the agent answers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ToolAnswer {
    /// The tool is done.
    Done(ToolOutput),
    /// Call again with standard input.
    WantsStdin,
}

/// Why a tool did not get to print a value.
#[derive(Debug, PartialEq, Eq)]
enum Stop {
    Error { code: i32, message: String },
    WantsStdin,
    Help,
}

impl Stop {
    /// A bad flag or a failed argument check.
    fn usage(message: impl Into<String>) -> Self {
        Self::Error {
            code: 2,
            message: message.into(),
        }
    }

    /// A failure while running.
    fn failure(message: impl Into<String>) -> Self {
        Self::Error {
            code: 1,
            message: message.into(),
        }
    }
}

/// What a tool can print.
#[derive(Debug)]
enum Printable {
    Value(Value),
    /// A databag, not copied: they are big, and printed often.
    Bag(Content),
}

/// What a tool prints.
#[derive(Debug, Default)]
struct Reply {
    value: Option<Printable>,
    notice: Option<&'static str>,
}

impl From<Value> for Reply {
    fn from(value: Value) -> Self {
        Self {
            value: Some(Printable::Value(value)),
            notice: None,
        }
    }
}

impl From<Content> for Reply {
    fn from(content: Content) -> Self {
        Self {
            value: Some(Printable::Bag(content)),
            notice: None,
        }
    }
}

/// One call, with everything it may look at or change.
struct Call<'a> {
    context: &'a mut Context,
    agent: &'a mut Agent,
    model: &'a mut Model,
    stdin: Option<&'a [u8]>,
    directory: &'a Path,
}

impl Call<'_> {
    /// The document `--file` names, if it is given.
    fn document(&self, arguments: &Arguments) -> Result<Option<Vec<u8>>, Stop> {
        match arguments.option("file") {
            None | Some("") => Ok(None),
            Some("-") => self.stdin.map(|s| Some(s.to_vec())).ok_or(Stop::WantsStdin),
            Some(path) => std::fs::read(self.directory.join(path))
                .map(Some)
                .map_err(|error| {
                    let reason = match error.kind() {
                        std::io::ErrorKind::NotFound => "no such file or directory".to_owned(),
                        std::io::ErrorKind::PermissionDenied => "permission denied".to_owned(),
                        _ => error.to_string(),
                    };
                    let path = self.directory.join(path);
                    Stop::failure(format!("open {}: {reason}", path.display()))
                }),
        }
    }
}

type Run = fn(&mut Call<'_>, Arguments) -> Result<Reply, Stop>;

fn known_tool(name: &str) -> Option<(&'static [Flag], Run)> {
    const APP: Flag = Flag::switch("app");
    const APPLICATION: Flag = Flag::switch("application");
    const FILE: Flag = Flag::new("file", None, Takes::Text);
    const ANY_FORMAT: Flag = Flag::new("format", None, Takes::Text);
    let (flags, run): (&'static [Flag], Run) = match name {
        "relation-ids" => (const { &[FORMAT, OUTPUT] }, relation::ids),
        "relation-list" => (const { &[FORMAT, OUTPUT, RELATION, APP] }, relation::list),
        "relation-get" => (
            const { &[BAG_FORMAT, OUTPUT, RELATION, APP] },
            relation::get,
        ),
        "relation-set" => (const { &[RELATION, APP, FILE, ANY_FORMAT] }, relation::set),
        "is-leader" => (const { &[FORMAT, OUTPUT] }, unit::is_leader),
        "config-get" => (
            const { &[FORMAT, OUTPUT, Flag::new("all", Some('a'), Takes::Nothing)] },
            unit::config_get,
        ),
        "status-set" => (const { &[APPLICATION] }, unit::status_set),
        "status-get" => (
            const { &[FORMAT, OUTPUT, APPLICATION, Flag::switch("include-data")] },
            unit::status_get,
        ),
        "juju-log" => (
            const {
                &[
                    Flag::switch("debug"),
                    Flag::new("log-level", Some('l'), Takes::Text),
                    ANY_FORMAT,
                ]
            },
            unit::juju_log,
        ),
        "application-version-set" => (const { &[] }, unit::application_version_set),
        "action-get" => (const { &[FORMAT, OUTPUT] }, unit::action_get),
        "action-set" => (const { &[] }, unit::action_set),
        "action-fail" => (const { &[] }, unit::action_fail),
        "action-log" => (const { &[] }, unit::action_log),
        "goal-state" => (const { &[GOAL_STATE_FORMAT, OUTPUT] }, unit::goal_state),
        _ => return None,
    };
    Some((flags, run))
}

/// Answers a call made in `context`.
pub fn answer(
    request: ToolRequest<'_>,
    context: &mut Context,
    agent: &mut Agent,
    model: &mut Model,
) -> ToolAnswer {
    let Some((flags, run)) = known_tool(request.tool) else {
        let message = format!("bad request: unknown command: {}", request.tool);
        return ToolAnswer::Done(ToolOutput::error(1, &message));
    };
    let known = |id| {
        let id = RelationId(id);
        let unknown = model.complaint(id, &agent.unit) == Some(Complaint::UnknownNumber);
        agent.relations.contains_key(&id) && !unknown
    };
    let arguments = match grammar::parse(request.arguments, flags, &known) {
        Ok(arguments) => arguments,
        Err(stop) => return stopped(stop, request.tool),
    };
    let default_format = if request.tool == "goal-state" {
        "yaml"
    } else {
        "smart"
    };
    let format = arguments
        .option("format")
        .unwrap_or(default_format)
        .to_owned();
    let output = arguments.option("output").map(str::to_owned);
    let mut call = Call {
        context,
        agent,
        model,
        stdin: request.stdin,
        directory: request.directory,
    };
    let reply = match run(&mut call, arguments) {
        Ok(reply) => reply,
        Err(stop) => return stopped(stop, request.tool),
    };
    if let (Some(Printable::Bag(bag)), SHARED) = (&reply.value, format.as_str()) {
        return ToolAnswer::Done(ToolOutput {
            bag: Some(Content::clone(bag)),
            ..ToolOutput::default()
        });
    }
    let mut stdout = reply
        .value
        .map(|value| grammar::printed(&value, &format))
        .unwrap_or_default();
    if let Some(file) = output {
        let written = std::fs::write(request.directory.join(&file), &stdout);
        if let Err(error) = written {
            return ToolAnswer::Done(ToolOutput::error(1, &format!("open {file}: {error}")));
        }
        stdout.clear();
    }
    ToolAnswer::Done(ToolOutput {
        code: 0,
        stdout,
        stderr: reply.notice.unwrap_or_default().as_bytes().to_vec(),
        bag: None,
    })
}

fn stopped(stop: Stop, tool: &str) -> ToolAnswer {
    match stop {
        Stop::WantsStdin => ToolAnswer::WantsStdin,
        Stop::Error { code, message } => ToolAnswer::Done(ToolOutput::error(code, &message)),
        Stop::Help => ToolAnswer::Done(ToolOutput {
            code: 0,
            stdout: format!("Usage: {tool} [options]\n").into_bytes(),
            ..ToolOutput::default()
        }),
    }
}

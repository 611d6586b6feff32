//! Hooks of different units side by side, as on real machines.
//!
//! [`World::launch`] starts the process of a hook and returns. From then on a thread waits for the
//! process, and everything it comes to arrives as [`Progress`] on the caller's channel: a tool that
//! was called, the end. [`World::advance`] answers. So one thread has the model, whatever runs, and
//! each tool sees the model of the moment in which it is called.

use std::path::Path;
use std::sync::mpsc::{self, Sender};
use std::thread;
use std::time::{Duration, Instant};

use crate::context::Context;
use crate::names::UnitName;
use crate::process::{self, Ending, Finished, Served};
use crate::record::ToolCall;
use crate::wire::Request;

use super::{Again, Begun, Effect, Installed, OpenHook, Session, World};

/// A hook whose process runs.
pub struct RunningHook {
    unit: UnitName,
    context: Context,
    calls: Vec<ToolCall>,
    killed: Option<Ending>,
    held: Option<(String, Vec<Effect>)>,
    /// By the model's clock.
    started: Duration,
    begun: Instant,
}

impl RunningHook {
    /// Whose it is.
    pub fn unit(&self) -> &UnitName {
        &self.unit
    }

    /// The hook's name.
    pub fn name(&self) -> String {
        self.context.operation.name()
    }

    /// When it began, by the model's clock.
    pub fn started(&self) -> Duration {
        self.started
    }
}

/// What the process of a hook has come to.
pub struct Progress {
    unit: UnitName,
    what: What,
}

enum What {
    Called(Request, Sender<Served>),
    Ended(Finished),
}

impl Progress {
    /// Whose hook it is.
    pub fn unit(&self) -> &UnitName {
        &self.unit
    }
}

/// What [`World::launch`] did.
pub enum Launched {
    /// The unit has nothing to do.
    Nothing,
    /// The agent did something that takes no time and runs nothing of the charm.
    Internal,
    /// A charm in this process has run; see it through with [`World::finish`].
    Ran(Box<OpenHook>),
    /// The process runs; see it through with [`World::advance`].
    Running(Box<RunningHook>),
}

/// Where [`World::advance`] leaves a hook.
pub enum Step {
    /// It goes on.
    Running(Box<RunningHook>),
    /// Its process has ended; see it through with [`World::finish`].
    Ended(Box<OpenHook>),
}

impl World {
    /// Starts the next operation of `unit`, if anything is due; a failed hook only if `retry` says
    /// so. The process begins after `pause`, for charms that take longer to start than this one.
    pub fn launch(
        &mut self,
        unit: &UnitName,
        retry: bool,
        pause: Duration,
        progress: &Sender<Progress>,
    ) -> Launched {
        if !matches!(self.installed.get(unit), Some(Installed::Process(_))) {
            return match self.begin_with(unit, retry) {
                Begun::Nothing => Launched::Nothing,
                Begun::Internal => Launched::Internal,
                Begun::Open(open) => Launched::Ran(open),
            };
        }
        let again = Again {
            failed: retry,
            killed: retry,
        };
        let operation = match self.next(unit, again) {
            Ok(operation) => operation,
            Err(Begun::Internal) => return Launched::Internal,
            Err(_) => return Launched::Nothing,
        };
        let places = self.places_of(unit);
        let (agent, context) = self.prepare(unit, operation);
        self.agents.insert(unit.clone(), agent);
        let mut hook = Box::new(RunningHook {
            unit: unit.clone(),
            context,
            calls: Vec::new(),
            killed: None,
            held: None,
            started: self.model.now,
            begun: Instant::now(),
        });
        let prepared = self.in_session(&mut hook, |session| session.command(&places));
        let (socket, deadline) = (places.socket, self.deadline);
        let send = {
            let (unit, progress) = (unit.clone(), progress.clone());
            move |what| {
                let unit = unit.clone();
                // Whoever has stopped listening has ended the play.
                let _ = progress.send(Progress { unit, what });
            }
        };
        match prepared {
            Some(Ok(command)) => {
                thread::spawn(move || {
                    thread::sleep(pause);
                    let finished = run(command, &socket, deadline, &send);
                    send(What::Ended(finished));
                });
            }
            Some(Err(ending)) => send(What::Ended(Finished::without_output(ending))),
            None => send(What::Ended(Finished::without_output(Ending::killed()))),
        }
        Launched::Running(hook)
    }

    /// Answers a tool of `hook`, or takes its process's end.
    pub fn advance(&mut self, mut hook: Box<RunningHook>, progress: Progress) -> Step {
        match progress.what {
            What::Called(request, reply) => {
                let served = self.in_session(&mut hook, |session| session.serve(&request));
                // A unit that was lost meanwhile takes its hook with it.
                let served = served.unwrap_or(Served::Kill(Ending::killed()));
                // Whoever no longer waits for the answer has no use for it.
                let _ = reply.send(served);
                Step::Running(hook)
            }
            What::Ended(finished) => {
                let mut errors = self.model.log.iter().rev();
                let complaint = errors
                    .find(|line| line.unit == hook.unit && line.level == "ERROR")
                    .map(|line| line.text.clone());
                Step::Ended(Box::new(OpenHook {
                    unit: hook.unit,
                    context: hook.context,
                    finished,
                    calls: hook.calls,
                    complaint,
                    duration: hook.begun.elapsed(),
                    started: hook.started,
                    // A process waits by itself.
                    answers: Vec::new(),
                    pause: None,
                }))
            }
        }
    }

    /// Nothing if the unit is gone.
    fn in_session<T>(
        &mut self,
        hook: &mut RunningHook,
        act: impl FnOnce(&mut Session<'_>) -> T,
    ) -> Option<T> {
        let mut agent = self.agents.remove(&hook.unit)?;
        let name = hook.context.operation.name();
        let mut session = Session {
            model: &mut self.model,
            agent: &mut agent,
            context: &mut hook.context,
            faults: &mut self.faults,
            name: &name,
            detail: self.detail,
            calls: std::mem::take(&mut hook.calls),
            killed: hook.killed.take(),
            is_process: true,
            held: hook.held.take(),
            resumed: false,
            answers: Vec::new(),
            pause: None,
        };
        let answer = act(&mut session);
        hook.calls = session.calls;
        hook.killed = session.killed;
        hook.held = session.held;
        self.agents.insert(hook.unit.clone(), agent);
        Some(answer)
    }
}

/// Runs the process to its end, and has its tools answered elsewhere.
fn run(
    command: std::process::Command,
    socket: &Path,
    deadline: Duration,
    send: &impl Fn(What),
) -> Finished {
    let result = process::run(command, socket, deadline, &mut |request| {
        let (reply, replied) = mpsc::channel();
        send(What::Called(request.clone(), reply));
        replied.recv().unwrap_or(Served::Kill(Ending::killed()))
    });
    result.unwrap_or_else(Finished::unserved)
}

//! The charms of a deployment as Rust values, for models of many units.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::io;
use std::ops::ControlFlow;
use std::os::unix::process::ExitStatusExt;
use std::process::{ExitStatus, Output};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use fastrand::Rng;
use microcluster_token_distributor as distributor;
use microovn::command_line;
use microovn::consumer::{
    self, Census, CommandOutput, Crash, Databag, Host, Level, ListError, Release, Standing, State,
};
use microovn::microcluster::{Cloud, Refusal};

use crate::charm::{CallTool, InProcess};
use crate::model::EPOCH;
use crate::tools::{SHARED, ToolOutput};

/// The clock that all players share: the time since the model began.
///
/// It stands still during a hook, unless a [`Timeline`](crate::clock::Timeline) moves it. Then
/// whatever takes time in a hook is a pause, in which other hooks begin and end.
#[derive(Clone, Default)]
pub struct Clock {
    now: Rc<Cell<Duration>>,
    moves: Rc<Cell<bool>>,
    startup: Rc<Cell<Duration>>,
}

impl Clock {
    /// Whole seconds since the model began.
    pub fn now(&self) -> u64 {
        self.now.get().as_secs()
    }

    /// The time since the model began.
    pub fn time(&self) -> Duration {
        self.now.get()
    }

    /// Sets the time, in seconds.
    pub fn set(&self, now: u64) {
        self.now.set(Duration::from_secs(now));
    }

    /// Sets the time.
    pub fn set_time(&self, now: Duration) {
        self.now.set(now);
    }

    /// From now on it moves on while hooks pause.
    pub fn start(&self) {
        self.moves.set(true);
    }

    /// How long the consumer's hook that begins next takes until it looks at anything.
    pub fn set_startup(&self, startup: Duration) {
        self.startup.set(startup);
    }
}

/// The distributor, run as a library.
pub(crate) struct Distributor {
    pub(crate) clock: Clock,
    /// The hook under way, if it has paused.
    waited: Waited,
}

/// How far a hook of the distributor has come.
#[derive(Clone, Copy, Default)]
struct Waited {
    /// In seconds, when it began.
    began: u64,
    /// How often it has waited so far.
    times: usize,
    /// How long it waits now.
    pause: Option<Duration>,
}

impl Distributor {
    pub(crate) fn new(clock: Clock) -> Self {
        Distributor {
            clock,
            waited: Waited::default(),
        }
    }

    fn run(&mut self, environment: &BTreeMap<String, String>, tools: &mut CallTool<'_>) -> i32 {
        let agent = InHook {
            tools: RefCell::new(tools),
            clock: &self.clock,
            waits: Cell::new(self.waited.times),
            pause: Cell::new(None),
        };
        let variable = |name: &str| environment.get(name).cloned();
        let ended = distributor::dispatch(variable, &agent, EPOCH + self.waited.began);
        self.waited.pause = agent.pause.get();
        match ended {
            Ok(()) => 0,
            Err(_) => 1,
        }
    }
}

impl InProcess for Distributor {
    fn dispatch(
        &mut self,
        environment: &BTreeMap<String, String>,
        tools: &mut CallTool<'_>,
    ) -> i32 {
        self.waited = Waited {
            began: self.clock.now(),
            ..Waited::default()
        };
        self.run(environment, tools)
    }

    fn may_pause(&self) -> bool {
        self.clock.moves.get()
    }

    fn take_pause(&mut self) -> Option<Duration> {
        self.waited.pause.take()
    }

    fn resume(&mut self, environment: &BTreeMap<String, String>, tools: &mut CallTool<'_>) -> i32 {
        self.waited.times += 1;
        self.run(environment, tools)
    }
}

struct InHook<'a, 'b> {
    tools: RefCell<&'a mut CallTool<'b>>,
    clock: &'a Clock,
    /// Waits that are over.
    waits: Cell<usize>,
    /// The wait that is not.
    pause: Cell<Option<Duration>>,
}

impl distributor::juju::hook_tools::Agent for InHook<'_, '_> {
    fn call(&self, tool: &str, arguments: &[String], stdin: Option<&[u8]>) -> io::Result<Output> {
        if self.pause.get().is_some() {
            // The hook goes on after the pause; what is left of this run must come to nothing.
            return Err(io::ErrorKind::Interrupted.into());
        }
        let output = (self.tools.borrow_mut())(tool, arguments, stdin);
        Ok(Output {
            status: ExitStatus::from_raw(output.code << 8),
            stdout: output.stdout,
            stderr: output.stderr,
        })
    }

    fn wait(&self, pause: Duration) {
        if self.pause.get().is_some() {
            return;
        }
        match self.waits.get().checked_sub(1) {
            Some(rest) => self.waits.set(rest),
            None if self.clock.moves.get() => self.pause.set(Some(pause)),
            // Nothing else happens meanwhile.
            None => self.clock.set_time(self.clock.time() + pause),
        }
    }

    /// What a charm in this process prints is not read.
    fn complain(&self, _: &str) {}
}

/// A consumer unit on its machine.
pub(crate) struct Consumer {
    pub(crate) release: Release,
    /// It survives a refresh, as the charm's stored state does.
    pub(crate) state: Rc<RefCell<State>>,
    pub(crate) machine: String,
    pub(crate) cloud: Rc<RefCell<Cloud>>,
    pub(crate) clock: Clock,
    pub(crate) rng: Rng,
    /// The hook under way, if it has paused.
    pub(crate) progress: Progress,
}

/// How far a consumer's hook has come.
#[derive(Default)]
pub(crate) struct Progress {
    /// What its machine has answered so far.
    answers: Vec<Answer>,
    /// How long it pauses now.
    pause: Option<Duration>,
}

/// What a machine answers, beside the hook tools.
#[derive(Clone)]
enum Answer {
    Command(CommandOutput),
    /// `cluster join` has begun.
    Joining,
    Census(Result<Census, ListError>),
    Standing(Result<Standing, ListError>),
    /// It has waited for a heartbeat.
    Waited,
}

impl Consumer {
    fn run(&mut self, environment: &BTreeMap<String, String>, tools: &mut CallTool<'_>) -> i32 {
        let hostname = self.cloud.borrow_mut().hostname(&self.machine).to_owned();
        let answers = std::mem::take(&mut self.progress.answers);
        let mut machine = Machine {
            name: &self.machine,
            hostname,
            cloud: &self.cloud,
            clock: &self.clock,
            now: self.clock.now(),
            polls: 0,
            tools,
            given: 0,
            answers,
            pause: None,
        };
        // A run that is broken off by a pause leaves nothing.
        let mut rng = self.rng.clone();
        let mut state = self.state.borrow().clone();
        let mut tie = |candidates| rng.usize(..candidates);
        let status = consumer::dispatch(
            self.release,
            environment,
            &mut state,
            &mut machine,
            &mut tie,
        );
        let (answers, pause) = (machine.answers, machine.pause);
        if pause.is_none() {
            self.rng = rng;
            *self.state.borrow_mut() = state;
        }
        self.progress = Progress { answers, pause };
        status
    }
}

impl InProcess for Consumer {
    fn dispatch(
        &mut self,
        environment: &BTreeMap<String, String>,
        tools: &mut CallTool<'_>,
    ) -> i32 {
        self.progress = Progress::default();
        let startup = self.clock.startup.take();
        if self.may_pause() && startup > Duration::ZERO {
            self.progress.pause = Some(startup);
            return 0;
        }
        self.run(environment, tools)
    }

    fn may_pause(&self) -> bool {
        self.clock.moves.get()
    }

    fn take_pause(&mut self) -> Option<Duration> {
        self.progress.pause.take()
    }

    fn resume(&mut self, environment: &BTreeMap<String, String>, tools: &mut CallTool<'_>) -> i32 {
        self.run(environment, tools)
    }
}

fn plain(output: ToolOutput) -> CommandOutput {
    CommandOutput {
        status: output.code,
        stdout: output.stdout,
        stderr: output.stderr,
    }
}

struct Machine<'a, 'b> {
    name: &'a str,
    hostname: String,
    cloud: &'a RefCell<Cloud>,
    clock: &'a Clock,
    /// This hook's own time in seconds: where the clock does not move, it runs ahead of the model's
    /// while the hook waits.
    now: u64,
    polls: u32,
    tools: &'a mut CallTool<'b>,
    /// How many of the answers this run of the hook has been given.
    given: usize,
    answers: Vec<Answer>,
    pause: Option<Duration>,
}

/// Commands that take less are part of the hook's own time.
const WORTH_A_PAUSE: Duration = Duration::from_secs(1);

/// What a hook gets that has paused: it goes on later, and what is left of this run must come to
/// nothing.
fn broken_off() -> CommandOutput {
    CommandOutput::failure(1, "the hook has paused")
}

impl Machine<'_, '_> {
    /// The answer of an earlier run, or that of now; `None` once the hook has paused.
    fn answer(&mut self, ask: impl FnOnce(&mut Self) -> Answer) -> Option<Answer> {
        if self.pause.is_some() {
            return None;
        }
        if self.given == self.answers.len() {
            let answer = ask(self);
            self.answers.push(answer);
        }
        let answer = self.answers[self.given].clone();
        self.given += 1;
        self.pause.is_none().then_some(answer)
    }

    /// Only a clock that moves lets others act meanwhile.
    fn pause(&mut self, pause: Duration) {
        if self.clock.moves.get() && pause > Duration::ZERO {
            self.pause = Some(pause);
        }
    }

    /// Runs a command at this hook's time.
    fn at_once<T>(&mut self, run: impl FnOnce(&mut Cloud, &str, u64) -> T) -> T {
        let mut cloud = self.cloud.borrow_mut();
        let answer = run(&mut cloud, self.name, self.now);
        let took = cloud.took();
        drop(cloud);
        if took >= WORTH_A_PAUSE {
            self.pause(took);
        }
        answer
    }

    fn join(&mut self, token: &str) -> CommandOutput {
        if !self.clock.moves.get() {
            let args = ["cluster", "join", token];
            return self
                .at_once(|cloud, name, now| command_line::microovn(cloud, name, &args, now));
        }
        let said = |joined: Result<(), Refusal>| match joined {
            Ok(()) => CommandOutput::default(),
            Err(refusal) => CommandOutput::failure(1, format!("Error: {refusal}\n")),
        };
        let time = self.clock.time();
        let begun = self.answer(|machine| {
            let begun = machine
                .cloud
                .borrow_mut()
                .begin_join(machine.name, token, time);
            match begun {
                Ok(takes) => {
                    machine.pause(takes);
                    Answer::Joining
                }
                Err(refusal) => {
                    let took = machine.cloud.borrow().took();
                    machine.pause(took);
                    Answer::Command(said(Err(refusal)))
                }
            }
        });
        match begun {
            Some(Answer::Command(refused)) => return refused,
            Some(_) => {}
            None => return broken_off(),
        }
        let ended = self.answer(|machine| {
            let ended = machine.cloud.borrow_mut().end_join(machine.name, time);
            Answer::Command(said(ended))
        });
        match ended {
            Some(Answer::Command(output)) => output,
            _ => broken_off(),
        }
    }
}

impl Host for Machine<'_, '_> {
    fn hook_tool(&mut self, tool: &str, args: &[String], stdin: Option<&[u8]>) -> CommandOutput {
        match self.pause {
            None => plain((self.tools)(tool, args, stdin)),
            Some(_) => broken_off(),
        }
    }

    fn microovn(&mut self, args: &[&str]) -> CommandOutput {
        if let ["cluster", "join", token] = args {
            return self.join(token);
        }
        let answer = self.answer(|machine| {
            let run =
                |cloud: &mut Cloud, name: &str, now| command_line::microovn(cloud, name, args, now);
            Answer::Command(machine.at_once(run))
        });
        match answer {
            Some(Answer::Command(output)) => output,
            _ => broken_off(),
        }
    }

    fn hostname(&self) -> String {
        self.hostname.clone()
    }

    fn now(&self) -> u64 {
        self.now
    }

    /// A heartbeat ends the waiting, unless a member that has not come up is dead.
    fn wait_for_pending(&mut self) -> ControlFlow<()> {
        /// Longer than any orderly wait; then the hook counts as hanging.
        const PATIENCE: u32 = 30;

        self.polls += 1;
        if self.polls > PATIENCE {
            return ControlFlow::Break(());
        }
        let waited = self.answer(|machine| {
            let beat = machine
                .cloud
                .borrow()
                .next_heartbeat(machine.name, machine.now);
            let later = beat.unwrap_or(machine.now + 1).max(machine.now + 1);
            match machine.clock.moves.get() {
                // The library asks once a second.
                true => machine.pause(Duration::from_secs(later - machine.now)),
                false => machine.now = later,
            }
            Answer::Waited
        });
        match waited {
            Some(_) => ControlFlow::Continue(()),
            None => ControlFlow::Break(()),
        }
    }

    fn relation_get(
        &mut self,
        relation: &str,
        owner: &str,
        level: Level,
    ) -> Result<Arc<Databag>, Crash> {
        if self.pause.is_some() {
            return Err(Crash::Hangs);
        }
        let format = format!("--format={SHARED}");
        let mut args = vec![format, "-r".to_owned(), relation.to_owned()];
        args.extend((level == Level::Application).then(|| "--app".to_owned()));
        args.extend(["-".to_owned(), owner.to_owned()]);
        let mut output = (self.tools)("relation-get", &args, None);
        if let Some(bag) = output.bag.take() {
            return Ok(bag);
        }
        let gone = Crash::unless_relation_is_gone::<Databag>("relation-get", plain(output))?;
        Ok(Arc::new(gone.unwrap_or_default()))
    }

    fn census(&mut self) -> Result<Census, ListError> {
        let answer = self.answer(|machine| {
            let census = machine.at_once(|cloud, name, now| cloud.census(name, now));
            Answer::Census(census.map_err(|_| ListError::Refused(1)))
        });
        match answer {
            Some(Answer::Census(census)) => census,
            _ => Err(ListError::Refused(1)),
        }
    }

    fn standing(&mut self) -> Result<Standing, ListError> {
        let answer = self.answer(|machine| {
            let standing = machine.at_once(|cloud, name, now| cloud.standing(name, now));
            Answer::Standing(standing.map_err(|_| ListError::Refused(1)))
        });
        match answer {
            Some(Answer::Standing(standing)) => standing,
            _ => Err(ListError::Refused(1)),
        }
    }
}

#[cfg(test)]
mod tests {
    use microcluster_token_distributor::juju::hook_tools::Agent;

    use super::*;

    fn waits(clock: &Clock, over: usize) -> (Vec<bool>, Option<Duration>) {
        let mut tools = |_: &str, _: &[String], _: Option<&[u8]>| ToolOutput::default();
        let agent = InHook {
            tools: RefCell::new(&mut tools),
            clock,
            waits: Cell::new(over),
            pause: Cell::new(None),
        };
        let answered = (0..3).map(|_| {
            let answered = agent.call("goal-state", &[], None).is_ok();
            agent.wait(Duration::from_secs(1));
            answered
        });
        (answered.collect(), agent.pause.get())
    }

    #[test]
    fn the_distributor_waits_on_the_virtual_clock() {
        let clock = Clock::default();
        let second = Some(Duration::from_secs(1));
        assert_eq!(waits(&clock, 0), (vec![true; 3], None));
        assert_eq!(clock.now(), 3, "nobody moves it, so the wait does");
        clock.start();
        assert_eq!(waits(&clock, 0), (vec![true, false, false], second));
        assert_eq!(waits(&clock, 1), (vec![true, true, false], second));
        assert_eq!(waits(&clock, 3), (vec![true; 3], None));
        assert_eq!(clock.now(), 3, "somebody else moves it");
    }
}

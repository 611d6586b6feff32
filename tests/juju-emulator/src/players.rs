//! The charms of a deployment as Rust values, for models of many units.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::io;
use std::ops::ControlFlow;
use std::os::unix::process::ExitStatusExt;
use std::process::{ExitStatus, Output};
use std::rc::Rc;
use std::sync::Arc;

use fastrand::Rng;
use microcluster_token_distributor as distributor;
use microovn::command_line;
use microovn::consumer::{
    self, Census, CommandOutput, Crash, Databag, Host, Level, ListError, Release, Standing, State,
};
use microovn::microcluster::Cloud;

use crate::charm::{CallTool, InProcess};
use crate::model::EPOCH;
use crate::tools::{SHARED, ToolOutput};

/// The clock that all players share, in seconds since the model began.
#[derive(Clone, Default)]
pub struct Clock {
    now: Rc<Cell<u64>>,
    waited: Rc<Cell<u64>>,
}

impl Clock {
    /// Seconds since the model began.
    #[must_use]
    pub fn now(&self) -> u64 {
        self.now.get()
    }

    /// Sets the time.
    pub fn set(&self, now: u64) {
        self.now.set(now);
    }

    /// Seconds that the last hook spent waiting for its cluster, beyond the time it began at.
    #[must_use]
    pub fn take_waited(&self) -> u64 {
        self.waited.take()
    }
}

/// The distributor, run as a library.
pub(crate) struct Distributor {
    pub(crate) clock: Clock,
}

impl InProcess for Distributor {
    fn dispatch(
        &mut self,
        environment: &BTreeMap<String, String>,
        tools: &mut CallTool<'_>,
    ) -> i32 {
        let agent = InHook(RefCell::new(tools));
        let variable = |name: &str| environment.get(name).cloned();
        match distributor::dispatch(variable, &agent, EPOCH + self.clock.now()) {
            Ok(()) => 0,
            Err(_) => 1,
        }
    }
}

struct InHook<'a, 'b>(RefCell<&'a mut CallTool<'b>>);

impl distributor::juju::hook_tools::Agent for InHook<'_, '_> {
    fn call(&self, tool: &str, arguments: &[String], stdin: Option<&[u8]>) -> io::Result<Output> {
        let output = (self.0.borrow_mut())(tool, arguments, stdin);
        Ok(Output {
            status: ExitStatus::from_raw(output.code << 8),
            stdout: output.stdout,
            stderr: output.stderr,
        })
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
}

impl InProcess for Consumer {
    fn dispatch(
        &mut self,
        environment: &BTreeMap<String, String>,
        tools: &mut CallTool<'_>,
    ) -> i32 {
        let hostname = self.cloud.borrow_mut().hostname(&self.machine).to_owned();
        let mut machine = Machine {
            name: &self.machine,
            hostname,
            cloud: &self.cloud,
            clock: &self.clock,
            now: self.clock.now(),
            polls: 0,
            tools,
        };
        let rng = &mut self.rng;
        let mut tie = |candidates| rng.usize(..candidates);
        consumer::dispatch(
            self.release,
            environment,
            &mut self.state.borrow_mut(),
            &mut machine,
            &mut tie,
        )
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
    /// This hook's own time: it runs ahead of the model's while the hook waits.
    now: u64,
    polls: u32,
    tools: &'a mut CallTool<'b>,
}

impl Host for Machine<'_, '_> {
    fn hook_tool(&mut self, tool: &str, args: &[String], stdin: Option<&[u8]>) -> CommandOutput {
        plain((self.tools)(tool, args, stdin))
    }

    fn microovn(&mut self, args: &[&str]) -> CommandOutput {
        command_line::microovn(&mut self.cloud.borrow_mut(), self.name, args, self.now)
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
        let beat = self.cloud.borrow().next_heartbeat(self.name, self.now);
        self.now = beat.unwrap_or(self.now + 1).max(self.now + 1);
        self.clock.waited.set(self.now - self.clock.now());
        ControlFlow::Continue(())
    }

    fn relation_get(
        &mut self,
        relation: &str,
        owner: &str,
        level: Level,
    ) -> Result<Arc<Databag>, Crash> {
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
        let mut cloud = self.cloud.borrow_mut();
        let census = cloud.census(self.name, self.now);
        census.map_err(|_| ListError::Refused(1))
    }

    fn standing(&mut self) -> Result<Standing, ListError> {
        let mut cloud = self.cloud.borrow_mut();
        let standing = cloud.standing(self.name, self.now);
        standing.map_err(|_| ListError::Refused(1))
    }
}

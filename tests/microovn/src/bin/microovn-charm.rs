//! The stand-in for the MicroOVN charm: `dispatch` of a real process.
//!
//! Environment and hook tools are Juju's, the commands `hostname` and `microovn` are its machine's
//! (all found on `PATH`), and its memory is a file in the charm directory, where Juju starts it.

use std::collections::BTreeMap;
use std::env;
use std::fs;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::io::{self, Write};
use std::ops::ControlFlow;
use std::path::Path;
use std::process::{Command, ExitCode, Stdio};
use std::thread;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use microovn::consumer::{self, CommandOutput, Host, Release, State};
use microovn::layout::{REAL_TIME_FILE, RELEASE_FILE};

const STATE_FILE: &str = ".unit-state.json";

/// How long the second lasts that the library sleeps while a member is `PENDING`, if the cluster is
/// a stand-in: its clock moves by itself when it is asked, so this only lets other processes have
/// their turn.
const SECOND: Duration = Duration::from_millis(2);
/// A heartbeat takes ten of those seconds; whoever has waited for thirty heartbeats waits for one
/// that will not come.
const PATIENCE: u32 = 300;

fn main() -> ExitCode {
    match run() {
        Ok(status) => ExitCode::from(status as u8),
        Err(error) => {
            eprintln!("microovn-charm: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<i32, Box<dyn std::error::Error>> {
    let release: Release = fs::read_to_string(RELEASE_FILE)?.trim().parse()?;
    let mut state = read_state()?;
    let environment: BTreeMap<String, String> = env::vars().collect();
    let mut host = ProcessHost::new()?;
    let mut random = fastrand::Rng::with_seed(seed(&environment));
    let mut tie = |candidates: usize| random.usize(..candidates);
    let status = consumer::dispatch(release, &environment, &mut state, &mut host, &mut tie);
    if status == 0 {
        write_state(&state)?;
    }
    Ok(status)
}

/// Juju makes up a new context id for every hook. A model that makes them up from its own seed can
/// have a run again, ties included.
fn seed(environment: &BTreeMap<String, String>) -> u64 {
    let mut hasher = DefaultHasher::new();
    environment.get("JUJU_CONTEXT_ID").hash(&mut hasher);
    hasher.finish()
}

fn read_state() -> Result<State, Box<dyn std::error::Error>> {
    match fs::read(STATE_FILE) {
        Ok(json) => Ok(serde_json::from_slice(&json)?),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(State::default()),
        Err(error) => Err(error.into()),
    }
}

fn write_state(state: &State) -> Result<(), Box<dyn std::error::Error>> {
    let new = format!("{STATE_FILE}.new");
    fs::write(&new, serde_json::to_vec(state)?)?;
    Ok(fs::rename(new, STATE_FILE)?)
}

/// A host made of commands on `PATH`.
struct ProcessHost {
    hostname: String,
    second: Duration,
    waited: u32,
}

impl ProcessHost {
    fn new() -> Result<Self, io::Error> {
        let output = start("hostname", &[] as &[&str], None);
        if output.status != 0 {
            return Err(io::Error::other("`hostname` failed"));
        }
        let hostname = String::from_utf8_lossy(&output.stdout).trim().to_owned();
        let is_real = Path::new(REAL_TIME_FILE).exists();
        Ok(ProcessHost {
            hostname,
            second: if is_real {
                Duration::from_secs(1)
            } else {
                SECOND
            },
            waited: 0,
        })
    }
}

impl Host for ProcessHost {
    fn hook_tool(&mut self, tool: &str, args: &[String], stdin: Option<&[u8]>) -> CommandOutput {
        start(tool, args, stdin)
    }

    fn microovn(&mut self, args: &[&str]) -> CommandOutput {
        start("microovn", args, None)
    }

    fn hostname(&self) -> String {
        self.hostname.clone()
    }

    fn now(&self) -> u64 {
        let since = SystemTime::now().duration_since(UNIX_EPOCH);
        since.map_or(0, |since| since.as_secs())
    }

    fn wait_for_pending(&mut self) -> ControlFlow<()> {
        if self.waited == PATIENCE {
            return ControlFlow::Break(());
        }
        self.waited += 1;
        thread::sleep(self.second);
        ControlFlow::Continue(())
    }
}

/// Runs a command to its end; one that cannot be run answers as a shell would.
fn start(program: &str, args: &[impl AsRef<str>], stdin: Option<&[u8]>) -> CommandOutput {
    let run = || -> io::Result<CommandOutput> {
        let mut child = Command::new(program)
            .args(args.iter().map(AsRef::as_ref))
            .stdin(stdin.map_or_else(Stdio::null, |_| Stdio::piped()))
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()?;
        if let (Some(mut pipe), Some(document)) = (child.stdin.take(), stdin) {
            // A tool that exits before it has read everything says why itself.
            let _ = pipe.write_all(document);
        }
        let output = child.wait_with_output()?;
        Ok(CommandOutput {
            status: output.status.code().unwrap_or(1),
            stdout: output.stdout,
            stderr: output.stderr,
        })
    };
    run().unwrap_or_else(|error| CommandOutput::failure(127, format!("{program}: {error}")))
}

//! Runs a charm's executable as a real process and answers its hook tools over a unix socket.
//!
//! Whatever is waited for (a tool call, the process, its output) arrives as an event on one
//! channel, so that one tool at a time is answered, by the thread that owns the model.

use std::io::{self, Read};
use std::os::unix::net::{UnixListener, UnixStream};
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use crate::wire::{Request, Response};

/// How long the agent waits for output that comes after the process has ended.
const TRAILING_OUTPUT: Duration = Duration::from_millis(100);

/// A file that is open for writing cannot be executed, and a process inherits what another thread
/// has open until it becomes its own executable. So files are written and processes started in
/// turn.
pub(crate) static WRITE_OR_SPAWN: Mutex<()> = Mutex::new(());

/// How a hook's process ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ending {
    /// With an exit status.
    Exited(i32),
    /// By a signal.
    Signalled(i32),
    /// The charm has no such hook.
    Missing,
    /// It could not be started, or did not end in time.
    Failed(String),
}

impl Ending {
    /// Whether Juju takes it for an orderly end.
    pub fn is_success(&self) -> bool {
        matches!(self, Self::Exited(0) | Self::Missing)
    }

    /// Whether Juju runs the hook again at once, without calling it a failure.
    pub fn is_rerun(&self) -> bool {
        matches!(self, Self::Signalled(signal)
            if [Signal::KILL.as_raw(), Signal::TERM.as_raw()].contains(signal))
    }

    pub(crate) fn killed() -> Self {
        Self::Signalled(Signal::KILL.as_raw())
    }

    pub(crate) fn terminated() -> Self {
        Self::Signalled(Signal::TERM.as_raw())
    }
}

impl From<ExitStatus> for Ending {
    fn from(status: ExitStatus) -> Self {
        match (status.code(), status.signal()) {
            (Some(code), _) => Self::Exited(code),
            (None, Some(signal)) => Self::Signalled(signal),
            (None, None) => Self::Failed(status.to_string()),
        }
    }
}

/// What becomes of a tool call.
#[derive(Debug)]
pub(crate) enum Served {
    /// It is answered.
    Answer(Response),
    /// The charm's process is sent a signal and the call never answered.
    Kill(Ending),
}

/// A process that has ended.
#[derive(Debug)]
pub(crate) struct Finished {
    pub(crate) ending: Ending,
    pub(crate) stdout: Vec<u8>,
    pub(crate) stderr: Vec<u8>,
}

impl Finished {
    pub(crate) fn without_output(ending: Ending) -> Self {
        Self {
            ending,
            stdout: Vec::new(),
            stderr: Vec::new(),
        }
    }

    /// The agent could not listen for the tools of the process, so there is none.
    pub(crate) fn unserved(error: io::Error) -> Self {
        Self::without_output(Ending::Failed(format!("cannot serve hook tools: {error}")))
    }
}

enum Event {
    Called(Request, Sender<Response>),
    Ended(io::Result<ExitStatus>),
    OutputClosed,
}

/// Runs `command` with hook tools answered by `serve` at `socket`.
pub(crate) fn run(
    mut command: Command,
    socket: &Path,
    deadline: Duration,
    serve: &mut dyn FnMut(&Request) -> Served,
) -> io::Result<Finished> {
    let (events, received) = mpsc::channel();
    let listening = Listening::start(socket, events.clone())?;
    command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let spawned = {
        let _turn = WRITE_OR_SPAWN
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        command.spawn()
    };
    let mut child = match spawned {
        Ok(child) => child,
        Err(error) => {
            return Ok(Finished::without_output(Ending::Failed(error.to_string())));
        }
    };
    let stdout = Output::collect(child.stdout.take(), events.clone());
    let stderr = Output::collect(child.stderr.take(), events.clone());
    let process = Pid::from_child(&child);
    wait_for(child, events);
    let ending = follow(&received, process, deadline, serve);
    drop(listening);
    wait_for_output(&received);
    Ok(Finished {
        ending,
        stdout: stdout.taken(),
        stderr: stderr.taken(),
    })
}

fn follow(
    events: &Receiver<Event>,
    process: Pid,
    deadline: Duration,
    serve: &mut dyn FnMut(&Request) -> Served,
) -> Ending {
    let started = Instant::now();
    let mut overdue = None;
    // Output can be closed long before the end; `wait_for_output` has to know.
    loop {
        let left = deadline.saturating_sub(started.elapsed());
        match events.recv_timeout(left.max(Duration::from_millis(1))) {
            Ok(Event::Called(request, reply)) => match serve(&request) {
                // Whoever no longer waits for the answer has no use for it.
                Served::Answer(response) => drop(reply.send(response)),
                Served::Kill(ending) => signal(process, &ending),
            },
            Ok(Event::Ended(Ok(status))) => return overdue.unwrap_or_else(|| status.into()),
            Ok(Event::Ended(Err(error))) => return Ending::Failed(error.to_string()),
            Ok(Event::OutputClosed) => {}
            Err(RecvTimeoutError::Timeout) => {
                signal(process, &Ending::killed());
                overdue = Some(Ending::Failed(format!("did not end within {deadline:?}")));
            }
            Err(RecvTimeoutError::Disconnected) => {
                return Ending::Failed("lost sight of the process".to_owned());
            }
        }
    }
}

fn signal(process: Pid, ending: &Ending) {
    let signal = if *ending == Ending::terminated() {
        Signal::TERM
    } else {
        Signal::KILL
    };
    // A process that is gone already needs no signal.
    let _ = kill_process(process, signal);
}

/// Every sender but those of output that is still open is gone by now.
fn wait_for_output(events: &Receiver<Event>) {
    let ended = Instant::now();
    loop {
        let left = TRAILING_OUTPUT.saturating_sub(ended.elapsed());
        match events.recv_timeout(left) {
            Ok(_) => {}
            Err(_) => return,
        }
    }
}

fn wait_for(mut child: Child, events: Sender<Event>) {
    thread::spawn(move || {
        let ended = child.wait();
        // The receiver only goes away once it has this.
        let _ = events.send(Event::Ended(ended));
    });
}

/// What a process has written so far.
struct Output(Arc<Mutex<Vec<u8>>>);

impl Output {
    fn collect(pipe: Option<impl Read + Send + 'static>, events: Sender<Event>) -> Self {
        let collected = Arc::new(Mutex::new(Vec::new()));
        let shared = Arc::clone(&collected);
        thread::spawn(move || {
            let mut chunk = [0; 8192];
            let mut pipe = pipe;
            while let Some(pipe) = &mut pipe {
                match pipe.read(&mut chunk) {
                    Ok(0) | Err(_) => break,
                    Ok(read) => shared
                        .lock()
                        .unwrap_or_else(PoisonError::into_inner)
                        .extend_from_slice(&chunk[..read]),
                }
            }
            let _ = events.send(Event::OutputClosed);
        });
        Self(collected)
    }

    fn taken(&self) -> Vec<u8> {
        std::mem::take(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// The agent's socket, for as long as a hook runs.
struct Listening<'a> {
    socket: &'a Path,
    over: Arc<AtomicBool>,
}

impl<'a> Listening<'a> {
    fn start(socket: &'a Path, events: Sender<Event>) -> io::Result<Self> {
        let over = Arc::new(AtomicBool::new(false));
        // A left-over of a hook that was cut short.
        let _ = std::fs::remove_file(socket);
        let listener = UnixListener::bind(socket)?;
        let ends = Arc::clone(&over);
        thread::spawn(move || {
            for stream in listener.incoming() {
                if ends.load(Ordering::SeqCst) {
                    return;
                }
                if let Ok(stream) = stream {
                    let events = events.clone();
                    thread::spawn(move || converse(stream, &events));
                }
            }
        });
        Ok(Self { socket, over })
    }
}

impl Drop for Listening<'_> {
    fn drop(&mut self) {
        self.over.store(true, Ordering::SeqCst);
        // Wakes the thread that accepts, so that it sees the end.
        let _ = UnixStream::connect(self.socket);
        let _ = std::fs::remove_file(self.socket);
    }
}

/// Passes on the calls of one connection until either side is done.
fn converse(mut stream: UnixStream, events: &Sender<Event>) {
    while let Ok(request) = Request::read(&mut stream) {
        let (reply, replied) = mpsc::channel();
        if events.send(Event::Called(request, reply)).is_err() {
            return;
        }
        let Ok(response) = replied.recv() else { return };
        if response.write(&mut stream).is_err() {
            return;
        }
    }
}

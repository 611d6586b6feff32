//! Hosts: each has a network and a host name of its own, a daemon of microcluster, and a wire to
//! the same bridge.

use std::fs;
use std::io::{self, BufRead, BufReader, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use serde::Deserialize;

use crate::sandbox::run;

/// A daemon that is not there by then does not come.
const PATIENCE: Duration = Duration::from_secs(60);

/// What `cluster list` says of a member.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct Member {
    /// Its host's name.
    pub name: String,
    /// `PENDING`, `voter`, `stand-by` or `spare`.
    pub role: String,
    /// `ONLINE`, `UNREACHABLE`, ...
    pub status: String,
}

/// All hosts of a play, made together, because each knows the others' hardware addresses: whoever
/// sends something to a host that is dark must not be told so by a neighbour's silence.
pub struct Network {
    hosts: Vec<Host>,
}

/// A host.
pub struct Host {
    name: String,
    number: usize,
    /// The process that keeps the namespaces.
    keeper: Child,
    daemon: Option<Child>,
    folder: PathBuf,
    program: PathBuf,
    heartbeat: Duration,
}

impl Network {
    /// Makes a host for each name, with its daemon running. Their files are below `folder`.
    pub fn new(
        names: &[String],
        folder: &Path,
        program: &Path,
        heartbeat: Duration,
    ) -> io::Result<Self> {
        let mut network = Self { hosts: Vec::new() };
        for (number, name) in (1..).zip(names) {
            let folder = folder.join(name);
            let host = Host::new(name, number, folder, program, heartbeat)?;
            network.hosts.push(host);
        }
        for host in &network.hosts {
            host.connect(names.len())?;
        }
        for host in &mut network.hosts {
            host.start_daemon()?;
        }
        for host in &network.hosts {
            host.wait_for_daemon()?;
        }
        Ok(network)
    }

    /// All of them.
    pub fn hosts(&self) -> &[Host] {
        &self.hosts
    }

    /// The host of this name.
    pub fn host(&self, name: &str) -> io::Result<&Host> {
        let found = self.hosts.iter().find(|host| host.name == name);
        found.ok_or_else(|| no_host(name))
    }

    /// The host of this name, to do something to its daemon.
    pub fn host_mut(&mut self, name: &str) -> io::Result<&mut Host> {
        let found = self.hosts.iter_mut().find(|host| host.name == name);
        found.ok_or_else(|| no_host(name))
    }
}

fn no_host(name: &str) -> io::Error {
    io::Error::other(format!("there is no host {name}"))
}

impl Host {
    fn new(
        name: &str,
        number: usize,
        folder: PathBuf,
        program: &Path,
        heartbeat: Duration,
    ) -> io::Result<Self> {
        fs::create_dir_all(&folder)?;
        let mut keeper = Command::new("unshare")
            .args(["--net", "--uts", "--", "sh", "-c"])
            .arg("hostname \"$0\" && echo ready && exec sleep infinity")
            .arg(name)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()?;
        let mut word = String::new();
        if let Some(stdout) = keeper.stdout.take() {
            BufReader::new(stdout).read_line(&mut word)?;
        }
        if word.trim() != "ready" {
            return Err(io::Error::other(format!("cannot make the host {name}")));
        }
        Ok(Self {
            name: name.to_owned(),
            number,
            keeper,
            daemon: None,
            folder,
            program: program.to_owned(),
            heartbeat,
        })
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The file in which its commands and its daemon write down what happens.
    pub fn events(&self) -> PathBuf {
        self.folder.join("events")
    }

    fn state(&self) -> PathBuf {
        self.folder.join("state")
    }

    fn wire(&self) -> String {
        format!("wire{}", self.number)
    }

    /// Two of its bytes are the last ones of its address, too.
    fn hardware_address(number: usize) -> String {
        format!("02:00:0a:00:{:02x}:{:02x}", number / 256, number % 256)
    }

    fn address(number: usize) -> String {
        format!("10.0.{}.{}", number / 256, number % 256)
    }

    fn connect(&self, hosts: usize) -> io::Result<()> {
        let (wire, keeper) = (self.wire(), self.keeper.id());
        let own = Self::hardware_address(self.number);
        batch(
            Command::new("ip"),
            &format!(
                "link add {wire} type veth peer name eth0 address {own} netns {keeper}\n\
                 link set {wire} master bridge up\n"
            ),
        )?;
        let address = Self::address(self.number);
        let mut commands =
            format!("link set lo up\naddress add {address}/16 dev eth0\nlink set eth0 up\n");
        for number in (1..=hosts).filter(|number| *number != self.number) {
            let (address, other) = (Self::address(number), Self::hardware_address(number));
            commands += &format!("neighbour add {address} lladdr {other} dev eth0\n");
        }
        batch(self.enter("ip"), &commands)
    }

    /// `program`, on this host.
    fn enter(&self, program: impl AsRef<std::ffi::OsStr>) -> Command {
        let mut command = Command::new("nsenter");
        command
            .args(["--target", &self.keeper.id().to_string()])
            .args(["--net", "--uts", "--"])
            .arg(program);
        command
    }

    /// The text of a script that is this host's `microovn`, wherever it is called.
    pub fn microovn_script(&self) -> String {
        format!(
            "#!/bin/sh\nexec nsenter --target {} --net --uts -- '{}' --state-dir '{}' \"$@\"\n",
            self.keeper.id(),
            self.program.display(),
            self.state().display(),
        )
    }

    /// Runs `microovn cluster ...` on this host.
    pub fn cluster(&self, arguments: &[&str]) -> io::Result<Output> {
        self.command(arguments).output()
    }

    /// `microovn cluster ...` on this host, not started yet.
    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = self.enter(&self.program);
        command.arg("--state-dir").arg(self.state());
        command.arg("cluster").args(arguments);
        command.stdin(Stdio::null());
        command
    }

    /// Runs `microovn cluster ...` on this host, and gives what it prints.
    pub fn must(&self, arguments: &[&str]) -> io::Result<String> {
        let output = self.cluster(arguments)?;
        if output.status.success() {
            return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
        }
        let complaint = String::from_utf8_lossy(&output.stderr).trim().to_owned();
        // Not the arguments: one may be a token.
        Err(io::Error::other(format!("on {}: {complaint}", self.name)))
    }

    /// The members as this host lists them, or what the command complained about.
    pub fn members(&self) -> io::Result<Result<Vec<Member>, String>> {
        let output = self.cluster(&["list", "--format", "json"])?;
        if output.status.success() {
            return Ok(Ok(serde_json::from_slice(&output.stdout)?));
        }
        let complaint = String::from_utf8_lossy(&output.stderr).trim().to_owned();
        Ok(Err(complaint))
    }

    /// Starts its daemon; what it says goes to a file beside its state.
    pub fn start_daemon(&mut self) -> io::Result<()> {
        let path = self.folder.join("log");
        let log = fs::OpenOptions::new()
            .create(true)
            .append(true)
            .open(path)?;
        let daemon = self
            .enter(&self.program)
            .arg("--state-dir")
            .arg(self.state())
            .args([
                "daemon",
                "--heartbeat",
                &format!("{}ms", self.heartbeat.as_millis()),
            ])
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .spawn()?;
        self.daemon = Some(daemon);
        Ok(())
    }

    /// Waits until its daemon answers.
    pub fn wait_for_daemon(&self) -> io::Result<()> {
        let begun = Instant::now();
        while begun.elapsed() < PATIENCE {
            if UnixStream::connect(self.state().join("control.socket")).is_ok() {
                return Ok(());
            }
            thread::sleep(Duration::from_millis(20));
        }
        Err(io::Error::other(format!(
            "the daemon of {} does not answer",
            self.name
        )))
    }

    /// Kills its daemon: from now on others are refused.
    pub fn kill_daemon(&mut self) -> io::Result<()> {
        if let Some(mut daemon) = self.daemon.take() {
            daemon.kill()?;
            daemon.wait()?;
        }
        Ok(())
    }

    /// From now on nothing that is sent to it arrives, and nobody is told.
    pub fn darken(&self) -> io::Result<()> {
        // A queue without a place drops all.
        let limit = ["pfifo", "limit", "0"];
        run(Command::new("tc")
            .args(["qdisc", "replace", "dev", &self.wire(), "root"])
            .args(limit))
    }

    /// It is no longer dark.
    pub fn brighten(&self) -> io::Result<()> {
        run(Command::new("tc").args(["qdisc", "delete", "dev", &self.wire(), "root"]))
    }
}

impl Drop for Host {
    /// What is left is gone with the sandbox.
    fn drop(&mut self) {
        for process in self.daemon.iter_mut().chain([&mut self.keeper]) {
            let _ = process.kill();
            let _ = process.wait();
        }
    }
}

/// Has `ip` run many commands at once.
fn batch(mut ip: Command, commands: &str) -> io::Result<()> {
    let mut child = ip
        .args(["-batch", "-"])
        .stdin(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()?;
    if let Some(mut stdin) = child.stdin.take() {
        stdin.write_all(commands.as_bytes())?;
    }
    let output = child.wait_with_output()?;
    if output.status.success() {
        return Ok(());
    }
    let complaint = String::from_utf8_lossy(&output.stderr).trim().to_owned();
    Err(io::Error::other(format!("ip: {complaint}")))
}

//! A place of its own for each play: namespaces for network, mounts and processes.
//!
//! All processes of a play die with the first one, and with the last one go its network and its
//! files, which are in memory. So nothing is left behind, however a play ends.

use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use juju_emulator::executables::workspace;

/// Where the files of a play are. The system's folder of this name, which plays do not need, is
/// covered for them alone; the path is short, as those of sockets have to be.
const FILES: &str = "/run";

const TOOLS: [&str; 6] = ["hostname", "ip", "nsenter", "setpriv", "tc", "unshare"];

/// Which microcluster, if the caller does not say.
pub const VERSION: &str = "v2.2.0";

/// The program that `scripts/microcluster` has built.
pub fn program(version: &str) -> PathBuf {
    workspace().join(format!("target/real-cluster/microcluster-{version}"))
}

/// Why there can be no play here, in plain words.
pub fn obstacle(program: &Path) -> Option<String> {
    if !rustix::process::geteuid().is_root() {
        return Some("it needs root, for hosts with networks of their own".to_owned());
    }
    let is_missing = |tool: &&&str| {
        let path = std::env::var_os("PATH").unwrap_or_default();
        !std::env::split_paths(&path).any(|folder| folder.join(tool).exists())
    };
    if let Some(tool) = TOOLS.iter().find(is_missing) {
        return Some(format!("it needs the command `{tool}`"));
    }
    if !program.exists() {
        return Some("there is no microcluster: `scripts/microcluster` builds it".to_owned());
    }
    let mut try_out = command(Path::new("true"));
    let refused = match try_out.stderr(Stdio::piped()).output() {
        Ok(output) if output.status.success() => return None,
        Ok(output) => String::from_utf8_lossy(&output.stderr).trim().to_owned(),
        Err(error) => error.to_string(),
    };
    Some(format!("it needs namespaces: {refused}"))
}

/// A command that runs `program` in a new sandbox, as its first process. It calls [`furnish`].
pub fn command(program: &Path) -> Command {
    let mut command = Command::new("setpriv");
    command
        // An interrupted play takes its first process with it, and that one all others.
        .args(["--pdeathsig", "KILL", "--", "unshare"])
        .args(["--net", "--mount", "--pid", "--fork"])
        .args(["--kill-child", "--mount-proc", "--"])
        .arg(program)
        .env("TMPDIR", FILES);
    command
}

/// Puts into the sandbox what a play needs: a folder, and a bridge for its hosts.
pub fn furnish() -> io::Result<PathBuf> {
    run(Command::new("mount").args(["-t", "tmpfs", "-o", "mode=0755", "tmpfs", FILES]))?;
    run(Command::new("ip").args(["link", "add", "bridge", "type", "bridge"]))?;
    run(Command::new("ip").args(["link", "set", "bridge", "up"]))?;
    Ok(PathBuf::from(FILES))
}

/// Runs a command that has to succeed.
pub(crate) fn run(command: &mut Command) -> io::Result<()> {
    let output = command.stdin(Stdio::null()).output()?;
    if output.status.success() {
        return Ok(());
    }
    let program = command.get_program().to_string_lossy().into_owned();
    let complaint = String::from_utf8_lossy(&output.stderr).trim().to_owned();
    Err(io::Error::other(format!("{program}: {complaint}")))
}

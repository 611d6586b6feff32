//! Runs a program and appends what it took to a file: `meter FILE PROGRAM`.

use std::fs::{self, File};
use std::io::{self, Write};
use std::process::{Command, ExitCode};

use performance::executable::Taken;
use rustix::process::{Pid, WaitId, WaitIdOptions, waitid};
use wait4::Wait4;

fn main() -> io::Result<ExitCode> {
    let words: Vec<_> = std::env::args_os().skip(1).collect();
    let [report, program] = words.as_slice() else {
        return Err(io::ErrorKind::InvalidInput.into());
    };
    let mut child = Command::new(program).spawn()?;
    // An ended process that was not waited for still has its account in /proc, and that is its
    // own; what wait4 returns has those of the hook tools in it.
    let ended = WaitIdOptions::EXITED | WaitIdOptions::NOWAIT;
    waitid(WaitId::Pid(Pid::from_child(&child)), ended)?;
    let account = fs::read_to_string(format!("/proc/{}/schedstat", child.id())).ok();
    let used = child.wait4()?;
    let taken = Taken {
        processor: account.and_then(|account| account.split(' ').next()?.parse().ok()),
        memory: used.rusage.maxrss,
    };
    let mut report = File::options().append(true).create(true).open(report)?;
    writeln!(report, "{}", serde_json::to_string(&taken)?)?;
    let code = used.status.code().and_then(|code| u8::try_from(code).ok());
    Ok(ExitCode::from(code.unwrap_or(u8::MAX)))
}

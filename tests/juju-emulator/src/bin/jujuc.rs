//! Every hook tool: called as `relation-get`, it asks the agent that runs the hook to be
//! `relation-get`, and passes on what that prints.

use std::env;
use std::io::{self, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::ExitCode;

use juju_emulator::wire::{Request, Response};

fn main() -> ExitCode {
    match call() {
        Ok(code) => code,
        Err(message) => {
            eprintln!("ERROR {message}");
            ExitCode::FAILURE
        }
    }
}

fn call() -> Result<ExitCode, String> {
    let variable = |name: &str| {
        env::var(name)
            .ok()
            .filter(|value| !value.is_empty())
            .ok_or_else(|| format!("{name} not set"))
    };
    let mut arguments = env::args_os().map(|argument| argument.to_string_lossy().into_owned());
    let called_as = arguments.next().unwrap_or_default();
    let tool = Path::new(&called_as).file_name().unwrap_or_default();
    let mut request = Request {
        context: variable("JUJU_CONTEXT_ID")?,
        directory: env::current_dir()
            .map(|directory| directory.to_string_lossy().into_owned())
            .map_err(|error| error.to_string())?,
        tool: tool.to_string_lossy().into_owned(),
        stdin: None,
        arguments: arguments.collect(),
    };
    let address = variable("JUJU_AGENT_SOCKET_ADDRESS")?;
    let mut agent = UnixStream::connect(&address)
        .map_err(|error| format!("dial unix {address}: connect: {}", reason(&error)))?;
    loop {
        request
            .write(&mut agent)
            .map_err(|_| "connection is shut down")?;
        match Response::read(&mut agent).map_err(|_| "unexpected EOF")? {
            Response::WantsStdin => {
                let mut stdin = Vec::new();
                io::stdin()
                    .read_to_end(&mut stdin)
                    .map_err(|error| format!("cannot read stdin: {error}"))?;
                request.stdin = Some(stdin);
            }
            Response::Done {
                code,
                stdout,
                stderr,
            } => {
                // A caller that closed its end of the pipe still gets the exit status.
                let _ = io::stdout().write_all(&stdout);
                let _ = io::stdout().flush();
                let _ = io::stderr().write_all(&stderr);
                return Ok(ExitCode::from(u8::try_from(code).unwrap_or(u8::MAX)));
            }
        }
    }
}

/// The words Go has for it.
fn reason(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::NotFound => "no such file or directory".to_owned(),
        io::ErrorKind::ConnectionRefused => "connection refused".to_owned(),
        io::ErrorKind::PermissionDenied => "permission denied".to_owned(),
        _ => error.to_string(),
    }
}

//! The charm's executable: Juju's dispatcher, and a command line for people.

use std::process::ExitCode;
use std::time::{SystemTime, UNIX_EPOCH};

use microcluster_token_distributor::juju::hook_tools::Processes;
use microcluster_token_distributor::{chain, cli, dispatch};

fn main() -> ExitCode {
    // Juju gives no argument, and a hook has no time for a parser of them.
    if std::env::args_os().len() > 1 {
        return cli::run(std::env::args_os());
    }
    #[expect(clippy::disallowed_methods, reason = "the environment enters here")]
    let variable = |name: &str| std::env::var(name).ok();
    let now = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |since| since.as_secs());

    match dispatch(variable, &Processes, now) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {}", chain(&error));
            ExitCode::FAILURE
        }
    }
}

//! The stand-in for the MicroOVN snap's command, on one machine of a cloud kept in a folder.

use std::io::{self, Write};
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;
use microovn::cloud_directory::{CloudDirectory, CloudDirectoryError};
use microovn::command_line::Microovn;
use microovn::consumer::CommandOutput;

#[derive(Parser)]
struct Arguments {
    /// The machine this command runs on
    #[arg(long)]
    machine: String,
    /// The folder that holds the cloud
    #[arg(long)]
    cloud: PathBuf,
    #[command(flatten)]
    microovn: Microovn,
}

fn main() -> ExitCode {
    // Whatever is wrong with the arguments, the real command exits with 1.
    let arguments = match Arguments::try_parse() {
        Ok(arguments) => arguments,
        Err(error) => {
            // Nothing is left to do for a message that cannot be printed.
            let _ = error.print();
            return ExitCode::from(u8::from(error.use_stderr()));
        }
    };
    match run(&arguments) {
        Ok(output) => {
            let _ = io::stdout().write_all(&output.stdout);
            let _ = io::stderr().write_all(&output.stderr);
            ExitCode::from(output.status as u8)
        }
        Err(error) => {
            let cause = std::error::Error::source(&error);
            let cause = cause.map_or(String::new(), |cause| format!(": {cause}"));
            eprintln!("Error: {error}{cause}");
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: &Arguments) -> Result<CommandOutput, CloudDirectoryError> {
    let directory = CloudDirectory::open(&arguments.cloud);
    directory.run(&arguments.machine, &arguments.microovn.command)
}

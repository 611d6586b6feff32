//! The charm's executable, built as charmcraft builds it, and its dispatch under a meter.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;

use juju_emulator::charm::Charm;
use juju_emulator::executables::{executable, lay_out_charm, workspace};
use serde::{Deserialize, Serialize};

use crate::Measured;

const NAME: &str = "microcluster-token-distributor";

/// What one run of a hook took.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub struct Taken {
    /// Nanoseconds of a processor in the executable's only thread, hook tools not included, where
    /// the system reports.
    pub processor: Option<u64>,
    /// Bytes of memory at the peak of the executable or of a hook tool, whichever is more.
    pub memory: u64,
}

/// How the executable is built.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Build {
    /// Static and small, as charmcraft.yaml says.
    Packed,
    /// In the caller's profile, which tests have built already.
    Plain,
}

impl Build {
    /// The executable's path.
    pub fn executable(self) -> Measured<PathBuf> {
        match self {
            Build::Plain => Ok(executable(NAME, NAME)?),
            Build::Packed => packed(),
        }
    }
}

#[derive(Deserialize)]
struct Message {
    executable: Option<PathBuf>,
}

fn packed() -> Measured<PathBuf> {
    let recipe = fs::read_to_string(workspace().join("charmcraft.yaml"))?;
    let recipe: serde_yaml::Value = serde_yaml::from_str(&recipe)?;
    let environment = &recipe["parts"]["distributor"]["build-environment"];
    let environment: Vec<BTreeMap<String, String>> = serde_yaml::from_value(environment.clone())?;
    let output = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()))
        .current_dir(workspace())
        .args(["build", "--quiet", "--release", "--bins", "--package", NAME])
        .args(["--message-format", "json-render-diagnostics"])
        .envs(environment.into_iter().flatten())
        .output()?;
    let printed = String::from_utf8_lossy(&output.stdout);
    let mut built = printed
        .lines()
        .filter_map(|line| serde_json::from_str::<Message>(line).ok()?.executable);
    let complaint = || String::from_utf8_lossy(&output.stderr).into_owned().into();
    built.next_back().ok_or_else(complaint)
}

/// The charm around an executable, unpacked in `into`.
pub fn charm(executable: &Path, into: &Path) -> Measured<Charm> {
    lay_out_charm(&workspace(), executable, into)?;
    Ok(Charm::directory(into)?)
}

/// Lets an unpacked charm append what each of its hooks took to `report`, see [`read_report`].
pub fn put_under_meter(charm: &Path, report: &Path) -> Measured<()> {
    let meter = executable("performance", "meter")?;
    let script = format!(
        "#!/bin/sh\nexec '{}' '{}' ./bin/{NAME}\n",
        meter.display(),
        report.display()
    );
    Ok(fs::write(charm.join("dispatch"), script)?)
}

/// What the hooks took, in order.
pub fn read_report(report: &Path) -> io::Result<Vec<Taken>> {
    let text = fs::read_to_string(report)?;
    let lines = text.lines().map(serde_json::from_str);
    Ok(lines.collect::<Result<_, _>>()?)
}

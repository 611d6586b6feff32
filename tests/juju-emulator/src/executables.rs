//! Builds the executables that emulated machines run, with the cargo that runs the tests.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Mutex, PoisonError};

use serde::Deserialize;

use crate::Failure;
use crate::charm::Charm;
use crate::machines::{copy, copy_file};
use crate::process::WRITE_OR_SPAWN;

#[derive(Deserialize)]
struct Message {
    executable: Option<PathBuf>,
    target: Option<Target>,
}

#[derive(Deserialize)]
struct Target {
    name: String,
}

static BUILT: Mutex<BTreeMap<String, BTreeMap<String, PathBuf>>> = Mutex::new(BTreeMap::new());

/// The workspace's root.
pub fn workspace() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// The executable `name` of a workspace member, built in the caller's profile at most once per
/// process.
pub fn executable(package: &str, name: &str) -> Result<PathBuf, Failure> {
    let mut built = BUILT.lock().unwrap_or_else(PoisonError::into_inner);
    if !built.contains_key(package) {
        built.insert(package.to_owned(), build(package)?);
    }
    let found = built
        .get(package)
        .and_then(|executables| executables.get(name));
    Ok(found
        .cloned()
        .ok_or_else(|| format!("{package} has no executable {name}"))?)
}

fn build(package: &str) -> Result<BTreeMap<String, PathBuf>, Failure> {
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command
        .current_dir(workspace())
        .args(["build", "--quiet", "--bins", "--package", package])
        .args(["--message-format", "json-render-diagnostics"]);
    if !cfg!(debug_assertions) {
        command.arg("--release");
    }
    let output = command.output()?;
    if !output.status.success() {
        let stderr = String::from_utf8_lossy(&output.stderr);
        return Err(format!("cannot build {package}: {stderr}").into());
    }
    Ok(String::from_utf8_lossy(&output.stdout)
        .lines()
        .filter_map(|line| serde_json::from_str::<Message>(line).ok())
        .filter_map(|message| Some((message.target?.name, message.executable?)))
        .collect())
}

/// The executable behind every hook tool.
pub(crate) fn jujuc() -> Result<PathBuf, Failure> {
    executable("juju-emulator", "jujuc")
}

/// Lays out this repository's charm, unpacked, in `into`, with `executable` as its only one.
pub fn lay_out_charm(root: &Path, executable: &Path, into: &Path) -> io::Result<()> {
    let _turn = WRITE_OR_SPAWN
        .lock()
        .unwrap_or_else(PoisonError::into_inner);
    std::fs::create_dir_all(into.join("bin"))?;
    for name in ["metadata.yaml", "config.yaml", "actions.yaml", "dispatch"] {
        let source = root.join(name);
        if source.exists() {
            copy_file(&source, &into.join(name))?;
        }
    }
    copy(&root.join("hooks"), &into.join("hooks"))?;
    let name = executable.file_name().unwrap_or_default();
    copy_file(executable, &into.join("bin").join(name))
}

/// Builds the token distributor and lays it out, unpacked, in `into`.
pub fn distributor(into: &Path) -> Result<Charm, Failure> {
    let name = "microcluster-token-distributor";
    let executable = executable(name, name)?;
    lay_out_charm(&workspace(), &executable, into)?;
    Ok(Charm::directory(into)?)
}

//! Everything that was measured, as it is kept in a file.

use std::fs;
use std::io;
use std::path::Path;
use std::process::Command;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::Value;

use crate::core::Core;
use crate::hooks::Hooks;
use crate::scale::Scale;

/// What it was measured on.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Machine {
    /// The processor's name.
    pub processor: String,
    /// How many of its cores this process may use.
    pub cores: usize,
    /// How many processes wanted a core when measuring began, on average of a minute.
    pub load: String,
    /// The compiler's version.
    pub rust: String,
}

impl Machine {
    /// The one at hand.
    pub fn here() -> Self {
        let cpus = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
        let model = cpus.lines().find_map(|line| {
            let (key, value) = line.split_once(':')?;
            (key.trim() == "model name").then(|| value.trim().to_owned())
        });
        let load = fs::read_to_string("/proc/loadavg").unwrap_or_default();
        let rust = Command::new("rustc").arg("--version").output();
        let rust = rust.map_or_else(
            |_| "unknown".to_owned(),
            |output| String::from_utf8_lossy(&output.stdout).trim().to_owned(),
        );
        Machine {
            processor: model.unwrap_or_else(|| std::env::consts::ARCH.to_owned()),
            cores: std::thread::available_parallelism().map_or(1, usize::from),
            load: load.split(' ').next().unwrap_or_default().to_owned(),
            rust,
        }
    }
}

/// What is known so far.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Results {
    /// On what machine.
    pub machine: Machine,
    /// The pure core.
    #[serde(default, deserialize_with = "unless_outdated")]
    pub core: Option<Core>,
    /// Whole hooks.
    #[serde(default, deserialize_with = "unless_outdated")]
    pub hooks: Option<Hooks>,
    /// Deployments of many hosts.
    #[serde(default, deserialize_with = "unless_outdated")]
    pub scale: Option<Scale>,
}

/// A part that another version of this program has measured counts as not measured.
fn unless_outdated<'de, D, T>(deserializer: D) -> Result<Option<T>, D::Error>
where
    D: Deserializer<'de>,
    T: DeserializeOwned,
{
    let part = Value::deserialize(deserializer)?;
    Ok(serde_json::from_value(part).ok())
}

impl Results {
    /// What a file holds; nothing where there is none.
    pub fn load(path: &Path) -> Self {
        let text = fs::read_to_string(path).unwrap_or_default();
        serde_json::from_str(&text).unwrap_or_default()
    }

    /// Keeps it in a file.
    pub fn store(&self, path: &Path) -> io::Result<()> {
        let mut text = serde_json::to_string_pretty(self)?;
        text.push('\n');
        fs::write(path, text)
    }
}

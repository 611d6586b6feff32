//! A cloud in a file, for commands that are processes of their own.
//!
//! `cloud.json` is only ever replaced whole, under an exclusive lock on `cloud.lock`, so any number
//! of machines may run their commands at once.
//!
//! Its clock is part of the file and does not follow the world's, so that a run can be repeated.
//! It moves one second whenever `cluster list` shows a `PENDING` member, the second for which a
//! consumer sleeps before it asks again, and whenever a test says so.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::command_line::{self, ClusterCommand, Command};
use crate::consumer::CommandOutput;
use crate::microcluster::Cloud;

/// A folder that holds one cloud.
#[derive(Clone, Debug)]
pub struct CloudDirectory {
    path: PathBuf,
}

/// Content of `cloud.json`.
#[derive(Serialize, Deserialize)]
struct Stored {
    now: u64,
    cloud: Cloud,
    /// How often each machine ran `bootstrap` or `join`, whatever came of it.
    entries: BTreeMap<String, u32>,
}

/// What went wrong with a cloud's folder.
#[derive(Debug, thiserror::Error)]
pub enum CloudDirectoryError {
    /// A file could not be read, written or locked.
    #[error("cannot use {path}")]
    Io {
        /// The file.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// `cloud.json` holds something else.
    #[error("{path} is not a cloud")]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// Why not.
        source: serde_json::Error,
    },
}

impl CloudDirectory {
    /// Puts a cloud at time 0 into a folder, which is created if it is missing.
    pub fn create(path: &Path, cloud: Cloud) -> Result<Self, CloudDirectoryError> {
        fs::create_dir_all(path).map_err(in_file(path))?;
        let directory = CloudDirectory::open(path);
        let _lock = directory.lock()?;
        directory.write(&Stored {
            now: 0,
            cloud,
            entries: BTreeMap::new(),
        })?;
        Ok(directory)
    }

    /// The cloud that is in a folder.
    pub fn open(path: &Path) -> Self {
        CloudDirectory {
            path: path.to_owned(),
        }
    }

    /// Changes or reads the cloud, at its present time, alone.
    pub fn update<T>(
        &self,
        change: impl FnOnce(&mut Cloud, &mut u64) -> T,
    ) -> Result<T, CloudDirectoryError> {
        self.update_stored(|stored| change(&mut stored.cloud, &mut stored.now))
    }

    /// How often a machine ran `bootstrap` or `join`, whatever came of it.
    pub fn entries(&self, machine: &str) -> Result<u32, CloudDirectoryError> {
        self.update_stored(|stored| stored.entries.get(machine).copied().unwrap_or_default())
    }

    fn update_stored<T>(
        &self,
        change: impl FnOnce(&mut Stored) -> T,
    ) -> Result<T, CloudDirectoryError> {
        let _lock = self.lock()?;
        let mut stored = self.read()?;
        let answer = change(&mut stored);
        self.write(&stored)?;
        Ok(answer)
    }

    /// Lets some seconds pass.
    pub fn advance(&self, seconds: u64) -> Result<(), CloudDirectoryError> {
        self.update(|cloud, now| {
            *now += seconds;
            cloud.advance(*now);
        })
    }

    /// Runs one command on one machine.
    pub fn run(
        &self,
        machine: &str,
        command: &Command,
    ) -> Result<CommandOutput, CloudDirectoryError> {
        self.update_stored(
            |Stored {
                 now,
                 cloud,
                 entries,
             }| {
                let output = command_line::run(cloud, machine, command, *now);
                let Command::Cluster(command) = command;
                match command {
                    ClusterCommand::List { .. } => {
                        let census = cloud.census(machine, *now);
                        *now += u64::from(census.is_ok_and(|census| census.pending));
                    }
                    ClusterCommand::Bootstrap | ClusterCommand::Join { .. } => {
                        *entries.entry(machine.to_owned()).or_default() += 1;
                    }
                    ClusterCommand::Add { .. } | ClusterCommand::Remove { .. } => {}
                }
                output
            },
        )
    }

    fn read(&self) -> Result<Stored, CloudDirectoryError> {
        let path = self.path.join("cloud.json");
        let json = fs::read(&path).map_err(in_file(&path))?;
        serde_json::from_slice(&json)
            .map_err(|source| CloudDirectoryError::Unreadable { path, source })
    }

    fn write(&self, stored: &Stored) -> Result<(), CloudDirectoryError> {
        let (path, new) = (
            self.path.join("cloud.json"),
            self.path.join("cloud.json.new"),
        );
        let json = serde_json::to_vec(stored).expect("a cloud is always JSON");
        fs::write(&new, json).map_err(in_file(&new))?;
        fs::rename(&new, &path).map_err(in_file(&path))
    }

    /// Held until dropped, and let go by the system if the process dies.
    fn lock(&self) -> Result<File, CloudDirectoryError> {
        let path = self.path.join("cloud.lock");
        let file = File::create(&path).map_err(in_file(&path))?;
        file.lock().map_err(in_file(&path))?;
        Ok(file)
    }
}

fn in_file(path: &Path) -> impl FnOnce(io::Error) -> CloudDirectoryError {
    let path = path.to_owned();
    move |source| CloudDirectoryError::Io { path, source }
}

//! The files of units whose charms run as processes: a copy of the charm, the hook tools, and a
//! folder for executables of the machine, all under one temporary folder.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::sync::PoisonError;

use tempfile::TempDir;

use crate::context::Places;
use crate::names::UnitName;
use crate::process::WRITE_OR_SPAWN;
use crate::tools::TOOLS;

/// Files from this size on are executables and nothing a charm would write into; sharing one copy
/// among a thousand units keeps them affordable.
const SHARED_FROM: u64 = 256 << 10;

/// A unix socket's address has to fit into this, the closing NUL included.
const LONGEST_SOCKET: usize = 108;

/// The machines of one model.
#[derive(Debug)]
pub(crate) struct Machines {
    root: TempDir,
    jujuc: PathBuf,
    /// The files of the charm of each unit, relative to its folder.
    brought: BTreeMap<UnitName, Vec<PathBuf>>,
}

impl Machines {
    pub(crate) fn new(jujuc: &Path) -> io::Result<Self> {
        let named = |parent: &Path| tempfile::Builder::new().prefix("juju-").tempdir_in(parent);
        let mut root = named(&tempfile::env::temp_dir())?;
        let spare = "/agents/unit--00000/agent.socket".len() + 40;
        if root.path().as_os_str().len() + spare > LONGEST_SOCKET {
            root = named(Path::new("/tmp"))?;
        }
        Ok(Self {
            root,
            jujuc: jujuc.to_path_buf(),
            brought: BTreeMap::new(),
        })
    }

    /// Puts the charm in `directory` in place for `unit`, instead of one that is there already. As
    /// Juju does, it removes the files of that one, and nothing that was written since.
    pub(crate) fn install(
        &mut self,
        unit: &UnitName,
        machine: u32,
        directory: &Path,
    ) -> io::Result<Places> {
        let agent = self.root.path().join("agents").join(unit.tag());
        let places = Places {
            charm: agent.join("charm"),
            socket: agent.join("agent.socket"),
            tools: self.root.path().join("tools").join(unit.tag()),
            machine_bin: self.root.path().join(format!("machines/{machine}/bin")),
        };
        for file in self.brought.remove(unit).unwrap_or_default() {
            match fs::remove_file(places.charm.join(file)) {
                // The charm itself may have taken it away.
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
        }
        fs::create_dir_all(&places.machine_bin)?;
        {
            let _turn = WRITE_OR_SPAWN
                .lock()
                .unwrap_or_else(PoisonError::into_inner);
            copy(directory, &places.charm)?;
        }
        self.brought.insert(unit.clone(), files_of(directory)?);
        if !places.tools.exists() {
            fs::create_dir_all(&places.tools)?;
            for tool in TOOLS {
                symlink(&self.jujuc, places.tools.join(tool))?;
            }
        }
        Ok(places)
    }
}

/// The files in a folder and the folders in it, relative to it.
fn files_of(folder: &Path) -> io::Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let name = PathBuf::from(entry.file_name());
        if entry.file_type()?.is_dir() {
            let below = files_of(&entry.path())?;
            files.extend(below.iter().map(|file| name.join(file)));
        } else {
            files.push(name);
        }
    }
    Ok(files)
}

/// Copies a folder with everything in it.
pub(crate) fn copy(from: &Path, to: &Path) -> io::Result<()> {
    fs::create_dir_all(to)?;
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let (source, target) = (entry.path(), to.join(entry.file_name()));
        let kind = entry.file_type()?;
        if kind.is_dir() {
            copy(&source, &target)?;
        } else if kind.is_symlink() {
            symlink(fs::read_link(&source)?, &target)?;
        } else {
            copy_file(&source, &target)?;
        }
    }
    Ok(())
}

/// Copies a file, or shares a big one where the file system can.
pub(crate) fn copy_file(source: &Path, target: &Path) -> io::Result<()> {
    let big = fs::metadata(source)?.len() >= SHARED_FROM;
    if !big || fs::hard_link(source, target).is_err() {
        fs::copy(source, target)?;
    }
    Ok(())
}

/// Tools that are not there for a while.
pub(crate) struct HiddenTools {
    hidden: Vec<(PathBuf, PathBuf)>,
}

impl HiddenTools {
    pub(crate) fn new(directory: &Path, tools: &[String]) -> Self {
        let hidden = tools
            .iter()
            .map(|tool| (directory.join(tool), directory.join(format!(".{tool}"))))
            .filter(|(tool, aside)| fs::rename(tool, aside).is_ok())
            .collect();
        Self { hidden }
    }
}

impl Drop for HiddenTools {
    fn drop(&mut self) {
        for (tool, aside) in &self.hidden {
            // The whole folder may be gone by now.
            let _ = fs::rename(aside, tool);
        }
    }
}

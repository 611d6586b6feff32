//! Lays this crate's two executables out as Juju and a machine would find them.

use std::fs::{self, Permissions};
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, absolute};

use crate::consumer::Release;

/// The file in the charm directory that says which consumer the charm is, in one word.
pub const RELEASE_FILE: &str = "release";

/// A file of this name in the charm directory says that the clock of its cluster is the world's, so
/// that a second of waiting has to be one.
pub const REAL_TIME_FILE: &str = "real-time";

/// What the consumer charm declares: the text of its `metadata.yaml`.
pub const METADATA: &str = "\
name: microovn
summary: Stand-in for the MicroOVN charm
description: Forms a cluster through the token distributor, as MicroOVN does.
requires:
  cluster:
    interface: worker-cluster
    limit: 1
";

const DISPATCH: &str = "\
#!/bin/sh
exec \"${0%/*}/bin/microovn-charm\"
";

/// Makes `into` an unpacked consumer charm that runs `executable`, this crate's `microovn-charm`.
pub fn charm_directory(into: &Path, executable: &Path, release: Release) -> io::Result<()> {
    fs::create_dir_all(into.join("bin"))?;
    fs::write(into.join("metadata.yaml"), METADATA)?;
    fs::write(into.join(RELEASE_FILE), format!("{release}\n"))?;
    write_script(&into.join("dispatch"), DISPATCH)?;
    let installed = into.join("bin/microovn-charm");
    // A model has many units and a test build is large; a copy is for another file system.
    fs::hard_link(executable, &installed).or_else(|_| fs::copy(executable, &installed).map(drop))
}

/// Fills `into` with the commands `hostname` and `microovn` of one machine of a cloud, whose name is
/// its host name; `executable` is this crate's `microovn`.
pub fn machine_bin(into: &Path, executable: &Path, machine: &str, cloud: &Path) -> io::Result<()> {
    fs::create_dir_all(into)?;
    let print = format!("#!/bin/sh\nprintf '%s\\n' {}\n", quoted(machine));
    write_script(&into.join("hostname"), &print)?;
    let [executable, cloud] =
        [absolute(executable)?, absolute(cloud)?].map(|path| path.into_os_string().into_string());
    let not_text = |_| io::Error::new(io::ErrorKind::InvalidInput, "path is not UTF-8");
    let run = format!(
        "#!/bin/sh\nexec {} --machine {} --cloud {} \"$@\"\n",
        quoted(&executable.map_err(not_text)?),
        quoted(machine),
        quoted(&cloud.map_err(not_text)?),
    );
    write_script(&into.join("microovn"), &run)
}

fn write_script(path: &Path, text: &str) -> io::Result<()> {
    fs::write(path, text)?;
    fs::set_permissions(path, Permissions::from_mode(0o755))
}

/// One word for the shell, whatever is in it.
fn quoted(word: &str) -> String {
    format!("'{}'", word.replace('\'', r"'\''"))
}

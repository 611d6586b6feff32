//! What gets packed, and what was packed.
//!
//! `scripts/pack` makes a charm. The tests of its contents look at the one `CHARM_PATH` names, and
//! are ignored unless they are asked for:
//!
//! ```text
//! CHARM_PATH=$(scripts/pack) cargo test --test packaging -- --include-ignored
//! ```

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::Read;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use juju_emulator::deployment::{Form, Provider, Setup};
use object::elf::{DT_NEEDED, ET_DYN, PT_DYNAMIC, PT_INTERP};
use object::read::elf::{Dyn, ElfFile64, FileHeader, ProgramHeader};
use serde_yaml::Value;

const EXECUTABLE: &str = "bin/microcluster-token-distributor";
const HOOKS: [&str; 3] = ["hooks/install", "hooks/start", "hooks/upgrade-charm"];
const MB: usize = 1_000_000;

#[test]
fn metadata_keeps_the_published_names() {
    let metadata = yaml("metadata.yaml");
    assert_eq!(metadata["name"], "microcluster-token-distributor");
    let provides = metadata["provides"].as_mapping().unwrap();
    assert_eq!(provides.len(), 1);
    let cluster = &provides["microcluster-cluster"];
    assert_eq!(cluster["interface"], "worker-cluster");
    assert_eq!(cluster["optional"], true);
    assert_eq!(cluster.get("limit"), None);
    let peers = metadata["peers"].as_mapping().unwrap();
    assert_eq!(peers.len(), 1);
    assert_eq!(peers["cluster"]["interface"], "worker-cluster");
    assert_eq!(metadata.get("requires"), None);
}

#[test]
fn log_level_is_as_published() {
    let log_level = &yaml("config.yaml")["options"]["log-level"];
    assert_eq!(log_level["type"], "string");
    assert_eq!(log_level["default"], "info");
}

#[test]
fn options_are_what_juju_accepts() {
    // Neither packing nor analysing notices a mistake here.
    let config = yaml("config.yaml");
    for (name, option) in config["options"].as_mapping().unwrap() {
        let default = option.get("default");
        let fits = match option["type"].as_str().unwrap() {
            "string" => default.is_none_or(Value::is_string),
            "boolean" => default.is_none_or(Value::is_bool),
            "int" => default.is_none_or(Value::is_i64),
            "float" => default.is_none_or(Value::is_number),
            "secret" => default.is_none(),
            other => panic!("{name:?} has the type {other}"),
        };
        assert!(fits, "{name:?} defaults to {default:?}");
        assert!(option["description"].is_string(), "{name:?}");
    }
}

#[test]
fn actions_take_what_they_declare_and_nothing_else() {
    let actions = yaml("actions.yaml");
    for (name, action) in actions.as_mapping().unwrap() {
        assert_eq!(action["additionalProperties"], false, "{name:?}");
        assert!(action["description"].is_string(), "{name:?}");
        let none = serde_yaml::Mapping::new();
        let params = action.get("params").map_or(&none, |params| {
            params.as_mapping().expect("parameters by name")
        });
        for (param, schema) in params {
            assert!(schema["description"].is_string(), "{name:?} {param:?}");
            assert!(schema["type"].is_string(), "{name:?} {param:?}");
        }
        for required in action
            .get("required")
            .into_iter()
            .flat_map(Value::as_sequence)
        {
            assert!(required.iter().all(|param| params.contains_key(param)));
        }
    }
}

#[test]
fn charmcraft_yaml_holds_what_metadata_yaml_cannot() {
    let charmcraft = yaml("charmcraft.yaml");
    let keys: Vec<_> = charmcraft.as_mapping().unwrap().keys().collect();
    assert_eq!(keys, ["type", "platforms", "parts"]);
    assert_eq!(charmcraft["type"], "charm");

    let platforms = charmcraft["platforms"].as_mapping().unwrap();
    let platforms: BTreeSet<_> = platforms.keys().map(|key| key.as_str().unwrap()).collect();
    let mut expected = BTreeSet::new();
    for base in ["24.04", "26.04"] {
        for architecture in ["amd64", "arm64", "ppc64el", "riscv64", "s390x"] {
            expected.insert(format!("ubuntu@{base}:{architecture}"));
        }
    }
    assert_eq!(platforms, expected.iter().map(String::as_str).collect());

    let distributor = &charmcraft["parts"]["distributor"];
    assert_eq!(distributor["rust-channel"], "none", "no toolchain updates");
    assert_eq!(distributor["after"][0], "rust-deps");
}

/// The steps of `make ci`, on machines of their own.
#[test]
fn the_workflows_run_what_make_ci_runs() {
    let read = |path: &str| fs::read_to_string(in_repository(path)).unwrap();
    let workflows = fs::read_dir(in_repository(".github/workflows")).unwrap();
    let mut run: String = workflows
        .map(|workflow| fs::read_to_string(workflow.unwrap().path()).unwrap())
        .collect();
    assert!(run.contains("- run: make lint\n"));
    run.push_str(&read("Makefile"));
    let steps = read(".ci/run");
    let steps = steps.lines().filter_map(|line| line.strip_prefix("step "));
    let missing: Vec<&str> = steps.filter(|step| !run.contains(step)).collect();
    assert_eq!(missing, [""; 0]);
}

#[test]
fn dispatch_ends_with_the_executable() {
    // The last word is what charmcraft checks, and what other tests exchange for their own.
    let dispatch = fs::read_to_string(in_repository("dispatch")).unwrap();
    let last_word = dispatch.split_whitespace().last().unwrap();
    assert_eq!(last_word, format!("./{EXECUTABLE}"));
    let mode = fs::metadata(in_repository("dispatch"))
        .unwrap()
        .permissions();
    assert_eq!(mode.mode() & 0o111, 0o111);
}

#[test]
fn hooks_are_links_to_dispatch() {
    for hook in HOOKS {
        let target = fs::read_link(in_repository(hook)).unwrap();
        assert_eq!(target, Path::new("../dispatch"), "{hook}");
    }
    assert_eq!(
        fs::read_dir(in_repository("hooks")).unwrap().count(),
        HOOKS.len()
    );
}

#[test]
#[expect(clippy::disallowed_methods, reason = "no hook runs here")]
fn license_is_the_apache_license_to_the_byte() {
    let output = Command::new("sha256sum")
        .stdin(fs::File::open(in_repository("LICENSE")).unwrap())
        .output()
        .unwrap();
    let digest = String::from_utf8(output.stdout).unwrap();
    // That of apache.org/licenses/LICENSE-2.0.txt.
    let expected = "cfc7749b96f63bd31c3c42b5c471bf756814053e847c10f3eb003417bc523d30";
    assert_eq!(digest.split_whitespace().next(), Some(expected));
}

#[test]
#[ignore = "CHARM_PATH names no packed charm"]
fn the_charm_has_these_files_and_no_others() {
    let charm = PackedCharm::from_environment();
    let mut expected = BTreeSet::from([
        "LICENSE",
        "README.md",
        "actions.yaml",
        "config.yaml",
        "dispatch",
        "icon.svg",
        "manifest.yaml",
        "metadata.yaml",
        "version",
        EXECUTABLE,
    ]);
    expected.extend(HOOKS);
    let names = charm.files.keys().map(String::as_str);
    assert_eq!(names.collect::<BTreeSet<_>>(), expected);
}

#[test]
#[ignore = "CHARM_PATH names no packed charm"]
fn what_is_not_built_is_packed_as_it_is() {
    let charm = PackedCharm::from_environment();
    for (name, file) in &charm.files {
        if ![EXECUTABLE, "manifest.yaml", "version"].contains(&name.as_str()) {
            let original = fs::read(in_repository(name)).unwrap();
            assert!(file.content == original, "{name} differs from the tree");
        }
    }
    let version = str::from_utf8(&charm.files["version"].content).unwrap();
    assert_ne!(version.trim(), "");
    assert_ne!(version.trim(), "unknown");
}

#[test]
#[ignore = "CHARM_PATH names no packed charm"]
fn what_juju_runs_can_be_run() {
    let charm = PackedCharm::from_environment();
    for name in HOOKS.iter().chain(&["dispatch", EXECUTABLE]) {
        assert_eq!(charm.files[*name].mode & 0o111, 0o111, "{name}");
    }
}

#[test]
#[ignore = "CHARM_PATH names no packed charm"]
fn the_executable_is_a_static_pie() {
    let charm = PackedCharm::from_environment();
    // All five architectures have 64 bits; one of them is big endian.
    let executable: ElfFile64 = ElfFile64::parse(&*charm.files[EXECUTABLE].content).unwrap();
    let endian = executable.endian();
    let header = executable.elf_header();
    assert_eq!(header.e_type(endian), ET_DYN, "position independent");
    for segment in executable.elf_program_headers() {
        let kind = segment.p_type(endian);
        assert_ne!(kind, PT_INTERP, "needs no dynamic loader");
        if kind == PT_DYNAMIC {
            let entries = segment.dynamic(endian, executable.data()).unwrap().unwrap();
            let needed = |entry: &&_| Dyn::d_tag(*entry, endian) == DT_NEEDED;
            assert_eq!(entries.iter().filter(needed).count(), 0, "needs no library");
        }
    }
}

#[test]
#[ignore = "CHARM_PATH names no packed charm"]
fn the_charm_is_small() {
    let charm = PackedCharm::from_environment();
    let executable = charm.files[EXECUTABLE].content.len();
    assert!(
        executable <= 3 * MB,
        "the executable has {executable} bytes"
    );
    assert!(
        charm.size <= 3 * MB / 2,
        "the charm has {} bytes",
        charm.size
    );
}

#[test]
#[ignore = "CHARM_PATH names no packed charm"]
fn the_packed_charm_forms_a_cluster() {
    let path = charm_path();
    for (juju, consumer) in [("3", "released"), ("4", "newest")] {
        let setup = Setup {
            juju: juju.parse().unwrap(),
            distributor_units: 2,
            consumer: consumer.parse().unwrap(),
            distributor: Provider::Packed(path.clone()),
            consumers: Form::Processes,
            ..Setup::default()
        };
        let mut deployment = setup.deploy().unwrap();
        deployment.relate_all().unwrap();
        deployment.settle().unwrap();
        let outcome = deployment.outcome().unwrap().to_string();
        assert_eq!(outcome, "3 of 3 hosts in one cluster", "{consumer}");
    }
}

/// The contents of a `.charm`.
struct PackedCharm {
    size: usize,
    files: BTreeMap<String, PackedFile>,
}

struct PackedFile {
    mode: u32,
    content: Vec<u8>,
}

impl PackedCharm {
    /// The charm to look at.
    fn from_environment() -> Self {
        let path = charm_path();
        let file = fs::File::open(&path).unwrap_or_else(|error| panic!("{path:?}: {error}"));
        let size = file.metadata().unwrap().len() as usize;
        let mut archive = zip::ZipArchive::new(file).unwrap();
        let mut files = BTreeMap::new();
        for index in 0..archive.len() {
            let mut entry = archive.by_index(index).unwrap();
            let mut content = Vec::new();
            entry.read_to_end(&mut content).unwrap();
            let name = entry.name().unwrap().into_owned();
            let mode = entry.unix_mode().expect("packed on Unix");
            files.insert(name, PackedFile { mode, content });
        }
        Self { size, files }
    }
}

/// Where the charm to look at is.
fn charm_path() -> PathBuf {
    let path = std::env::var_os("CHARM_PATH");
    PathBuf::from(path.expect("CHARM_PATH names the charm to look at"))
}

fn in_repository(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

fn yaml(path: &str) -> Value {
    serde_yaml::from_slice(&fs::read(in_repository(path)).unwrap()).unwrap()
}

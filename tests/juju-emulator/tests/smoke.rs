//! A charm of either kind, from install to a settled model.

use std::collections::BTreeMap;
use std::os::unix::fs::PermissionsExt;

use juju_emulator::{CallTool, Charm, JujuGeneration, Metadata, World};

const PROVIDER: &str =
    "name: provider\nprovides: {db: {interface: sql}}\npeers: {p: {interface: x}}";
const REQUIRER: &str = "name: requirer\nrequires: {db: {interface: sql}}";

fn quiet(yaml: &str) -> Charm {
    let metadata = Metadata::parse(yaml, "", "").unwrap();
    Charm::in_process(metadata, |_| {
        |environment: &BTreeMap<String, String>, tools: &mut CallTool<'_>| {
            if environment["JUJU_HOOK_NAME"] == "db-relation-joined" {
                let unit = format!("me={}", environment["JUJU_UNIT_NAME"]);
                tools("relation-set", &[unit], None);
            }
            0
        }
    })
}

#[test]
fn in_process_charms_settle() {
    for generation in [JujuGeneration::Three, JujuGeneration::Four] {
        let mut world = World::new(generation, 1);
        world.deploy("p", &quiet(PROVIDER), 2, &[]).unwrap();
        world.deploy("r", &quiet(REQUIRER), 3, &[]).unwrap();
        let id = world.integrate("p:db", "r:db").unwrap();
        let steps = world.settle(1000).unwrap();
        println!("{steps} {:?}", world.hooks_of("p/0"));
        for unit in ["p/0", "p/1", "r/0", "r/2"] {
            assert_eq!(world.unit_bag(id, unit)["me"], unit);
        }
    }
}

#[test]
fn processes_settle() {
    let folder = tempfile::tempdir().unwrap();
    let charm = folder.path();
    std::fs::write(charm.join("metadata.yaml"), PROVIDER).unwrap();
    let script = "#!/bin/sh\nset -e\necho hello\nif [ \"$JUJU_HOOK_NAME\" = db-relation-joined ]; then\n\
        echo \"{\\\"me\\\": \\\"$JUJU_UNIT_NAME\\\"}\" | relation-set --file -\nfi\nis-leader --format=json >&2\n";
    std::fs::write(charm.join("dispatch"), script).unwrap();
    std::fs::set_permissions(
        charm.join("dispatch"),
        std::fs::Permissions::from_mode(0o755),
    )
    .unwrap();
    let mut world = World::new(JujuGeneration::Four, 1);
    world
        .deploy("p", &Charm::directory(charm).unwrap(), 1, &[])
        .unwrap();
    world.deploy("r", &quiet(REQUIRER), 1, &[]).unwrap();
    let id = world.integrate("p:db", "r:db").unwrap();
    world.settle(100).unwrap();
    assert_eq!(world.unit_bag(id, "p/0")["me"], "p/0");
    for run in world.runs().iter().filter(|r| r.unit.as_str() == "p/0") {
        println!(
            "{} {:?} {:?} {:?}",
            run.hook, run.ending, run.duration, run.tool_calls
        );
    }
    println!("{:?}", world.model().log);
}

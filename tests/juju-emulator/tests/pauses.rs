//! A hook that pauses: what others do meanwhile is there when it goes on, and nothing is done twice.

use std::collections::BTreeMap;
use std::time::Duration;

use juju_emulator::world::{Begun, OpenHook};
use juju_emulator::{CallTool, Charm, InProcess, JujuGeneration, Metadata, UnitName, World};

const PAUSE: Duration = Duration::from_secs(1);

/// Writes a log line, looks at its application's units, pauses, and looks again; twice.
#[derive(Default)]
struct Patient {
    paused: usize,
    pause: Option<Duration>,
}

impl Patient {
    fn run(&mut self, tools: &mut CallTool<'_>) -> i32 {
        for round in 0..=2 {
            let goal = tools("goal-state", &["--format=json".to_owned()], None);
            let goal: serde_json::Value = serde_json::from_slice(&goal.stdout).expect("JSON");
            let units = goal["units"].as_object().expect("units").len();
            let line = format!("round {round}: {units} units");
            tools("juju-log", &["--".to_owned(), line], None);
            if round == self.paused && round < 2 {
                self.pause = Some(PAUSE);
                return 1;
            }
        }
        0
    }
}

impl InProcess for Patient {
    fn dispatch(
        &mut self,
        environment: &BTreeMap<String, String>,
        tools: &mut CallTool<'_>,
    ) -> i32 {
        self.paused = 0;
        match environment.get("JUJU_HOOK_NAME").map(String::as_str) {
            Some("install") => self.run(tools),
            _ => 0,
        }
    }

    fn may_pause(&self) -> bool {
        true
    }

    fn take_pause(&mut self) -> Option<Duration> {
        self.pause.take()
    }

    fn resume(&mut self, _: &BTreeMap<String, String>, tools: &mut CallTool<'_>) -> i32 {
        self.paused += 1;
        self.run(tools)
    }
}

fn deployed() -> (World, UnitName) {
    let mut world = World::new(JujuGeneration::Four, 1);
    let metadata = Metadata::parse("name: patient", "", "").expect("metadata");
    let charm = Charm::in_process(metadata, |_| Patient::default());
    world.deploy("patient", &charm, 1, &[]).expect("deployed");
    let unit = world.model().units_of("patient").remove(0);
    (world, unit)
}

fn begin(world: &mut World, unit: &UnitName) -> Box<OpenHook> {
    loop {
        match world.begin(unit) {
            Begun::Open(open) => return open,
            Begun::Internal => {}
            Begun::Nothing => panic!("nothing to do"),
        }
    }
}

fn lines(world: &World) -> Vec<&str> {
    let lines = world.model().log.iter();
    let texts = lines.map(|line| line.text.as_str());
    texts.filter(|text| text.starts_with("round")).collect()
}

#[test]
fn a_hook_that_pauses_sees_what_is_true_afterwards_and_does_nothing_twice() {
    let (mut world, unit) = deployed();
    let mut open = *begin(&mut world, &unit);
    for _ in 0..2 {
        assert_eq!(open.pause(), Some(PAUSE));
        world.add_unit("patient").expect("added");
        open = world.resume(open);
    }
    assert_eq!(open.pause(), None);
    assert_eq!(open.calls().len(), 6, "three looks and three lines");
    world.finish(open);
    assert!(world.runs().last().expect("a run").failure.is_none());
    let expected = ["round 0: 1 units", "round 1: 2 units", "round 2: 3 units"];
    assert_eq!(lines(&world), expected);
}

#[test]
fn a_hook_whose_agent_dies_in_a_pause_does_not_go_on() {
    let (mut world, unit) = deployed();
    let open = *begin(&mut world, &unit);
    world.restart_agent(unit.as_str()).expect("there");
    let open = world.resume(open);
    assert_eq!(open.pause(), None);
    world.finish(open);
    assert!(world.runs().last().expect("a run").failure.is_some());
    assert_eq!(lines(&world), ["round 0: 1 units"]);

    let again = begin(&mut world, &unit);
    assert_eq!(again.pause(), Some(PAUSE), "from the beginning");
}

#[test]
fn a_hook_whose_unit_is_lost_in_a_pause_does_not_go_on() {
    let (mut world, unit) = deployed();
    let open = *begin(&mut world, &unit);
    world.lose_unit(unit.as_str()).expect("there");
    let open = world.resume(open);
    world.finish(open);
    assert!(world.runs().last().expect("a run").failure.is_some());
}

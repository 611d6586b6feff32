//! A model of two related applications whose charms do what the test says.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;

use juju_emulator::agent::{Hook, RelationEvent};
use juju_emulator::{
    CallTool, Charm, HookRun, JujuGeneration, Metadata, RelationId, ToolOutput, UnitName, World,
};

pub(crate) const BOTH: [JujuGeneration; 2] = [JujuGeneration::Three, JujuGeneration::Four];
pub(crate) const DB: RelationId = RelationId(1);
pub(crate) const PEER: RelationId = RelationId(0);

const PROVIDER: &str = "
name: provider
provides: {db: {interface: sql}, other: {interface: http}}
peers: {friends: {interface: friends}}
";
const REQUIRER: &str = "{name: requirer, requires: {db: {interface: sql}}}";
const CONFIG: &str = "
options:
  name: {type: string, default: <a & b>}
  count: {type: int}
  big: {type: boolean, default: false}
";
const ACTIONS: &str = "
backup:
  params:
    target: {type: string, enum: [disk, tape], default: disk}
    copies: {type: integer}
    plan: {type: object}
  required: [copies]
";

pub(crate) type Environment = BTreeMap<String, String>;
type Script = dyn FnMut(&UnitName, &Environment, &mut CallTool<'_>) -> i32;

/// Application `p` provides to application `r`; their charms run the current script.
pub(crate) struct Rig {
    pub(crate) world: World,
    script: Rc<RefCell<Box<Script>>>,
}

impl Rig {
    /// `providers` units of `p` and `requirers` of `r`, not related yet, nothing run yet.
    pub(crate) fn fresh(
        generation: JujuGeneration,
        seed: u64,
        providers: usize,
        requirers: usize,
    ) -> Self {
        let script: Rc<RefCell<Box<Script>>> = Rc::new(RefCell::new(Box::new(|_, _, _| 0)));
        let world = World::new(generation, seed);
        let mut rig = Self { world, script };
        let provider = rig.charm(PROVIDER, CONFIG, ACTIONS);
        let requirer = rig.charm(REQUIRER, "", "");
        rig.world.deploy("p", &provider, providers, &[]).unwrap();
        rig.world.deploy("r", &requirer, requirers, &[]).unwrap();
        rig
    }

    /// A charm that runs the current script.
    pub(crate) fn charm(&self, metadata: &str, config: &str, actions: &str) -> Charm {
        let metadata = Metadata::parse(metadata, config, actions).unwrap();
        let script = Rc::clone(&self.script);
        Charm::in_process(metadata, move |unit| {
            let (script, unit) = (Rc::clone(&script), unit.clone());
            move |environment: &Environment, tools: &mut CallTool<'_>| {
                let mut script = script.borrow_mut();
                (*script)(&unit, environment, tools)
            }
        })
    }

    /// As [`Rig::fresh`], related by `db` and settled; `p/0` and `r/0` lead. History is empty.
    pub(crate) fn settled(generation: JujuGeneration, providers: usize, requirers: usize) -> Self {
        let mut rig = Self::fresh(generation, 1, providers, requirers);
        rig.world.set_leader("p/0").unwrap();
        if requirers > 0 {
            rig.world.set_leader("r/0").unwrap();
        }
        assert_eq!(rig.world.integrate("p:db", "r:db").unwrap(), DB);
        rig.settle();
        rig.world.clear_history();
        rig
    }

    pub(crate) fn settle(&mut self) -> usize {
        self.world.settle(5000).unwrap()
    }

    /// What every charm does from now on.
    pub(crate) fn charms(
        &mut self,
        script: impl FnMut(&UnitName, &Environment, &mut CallTool<'_>) -> i32 + 'static,
    ) {
        *self.script.borrow_mut() = Box::new(script);
    }

    pub(crate) fn charms_do_nothing(&mut self) {
        self.charms(|_, _, _| 0);
    }

    /// Runs `hook` on `unit`, with `script` as the charm, which ends well.
    pub(crate) fn during(
        &mut self,
        unit: &str,
        hook: Hook,
        mut script: impl FnMut(&mut Tools<'_, '_>) + 'static,
    ) -> HookRun {
        self.charms(move |_, _, tools| {
            script(&mut Tools(tools));
            0
        });
        let run = self.world.run_hook(unit, hook).unwrap();
        self.charms_do_nothing();
        run
    }

    /// What `unit` is answered in a hook that is about no relation.
    pub(crate) fn ask(&mut self, unit: &str, line: &str) -> ToolOutput {
        let answer = Rc::new(RefCell::new(ToolOutput::default()));
        let (kept, line) = (Rc::clone(&answer), line.to_owned());
        self.during(unit, Hook::UpdateStatus, move |tools| {
            *kept.borrow_mut() = tools.call(&line)
        });
        answer.take()
    }

    /// `unit` writes into a bag of its own: `relation-set -r <id> ...`, committed, delivered.
    pub(crate) fn write(&mut self, unit: &str, id: RelationId, settings: &str) {
        let line = format!("relation-set -r {id} {settings}");
        assert_eq!(self.ask(unit, &line), ToolOutput::default(), "{line}");
    }
}

/// The hook tools, called as one types them.
pub(crate) struct Tools<'a, 'b>(pub(crate) &'a mut CallTool<'b>);

impl Tools<'_, '_> {
    /// Calls what `line` says; words are split at blanks, `''` is an empty one.
    pub(crate) fn call(&mut self, line: &str) -> ToolOutput {
        self.call_with(line, None)
    }

    pub(crate) fn call_with(&mut self, line: &str, stdin: Option<&[u8]>) -> ToolOutput {
        let mut words = line.split(' ').map(|word| match word {
            "''" => String::new(),
            word => word.to_owned(),
        });
        let tool = words.next().unwrap();
        let arguments: Vec<String> = words.collect();
        (self.0)(&tool, &arguments, stdin)
    }

    /// What a tool that succeeds prints.
    pub(crate) fn text(&mut self, line: &str) -> String {
        let output = self.call(line);
        assert_eq!(output.code, 0, "{line}: {output:?}");
        String::from_utf8(output.stdout).unwrap()
    }
}

pub(crate) fn relation_hook(endpoint: &str, event: RelationEvent) -> Hook {
    let (id, endpoint) = match endpoint {
        "friends" => (PEER, endpoint.to_owned()),
        _ => (DB, endpoint.to_owned()),
    };
    Hook::Relation {
        id,
        endpoint,
        event,
    }
}

pub(crate) fn stdout(output: &ToolOutput) -> String {
    String::from_utf8(output.stdout.clone()).unwrap()
}

//! One hook of a consumer as a function: the stand-in for MicroOVN's charm, on the cloud of the
//! model.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::ControlFlow;
use std::sync::Arc;

use microovn::consumer::{
    self, Census, CommandOutput, Databag, Host, Level, ListError, Refusal, RelationEvent,
    RelationEventKind, Release, Standing, State, Tried,
};

use crate::bag::Bag;
use crate::cloud::{Cloud, Machine, hostname};

const RELATION: &str = "cluster:1";
/// The time in every hook but update-status.
const HOOK: u64 = 100;
/// The distributor's name.
pub const DISTRIBUTOR: &str = "d";

/// What a consumer unit remembers from hook to hook.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Memory {
    /// It believes to be a member.
    pub in_cluster: bool,
    /// Its deferred events: whether the joined or the changed handler, and the distributor unit.
    pub deferred: Vec<(bool, Option<u8>)>,
    /// The tokens that joining failed with and that are still shown, by fingerprint, with the number
    /// of failures; the last to fail comes last.
    pub tried: Vec<(String, u32)>,
    /// The token of which it said last that it was refused.
    pub refused: Option<String>,
}

/// What the consumer's charm is started for.
#[derive(Clone, Copy, Debug)]
pub enum Event {
    /// `relation-created`
    Created,
    /// `leader-elected`
    Elected,
    /// `relation-joined`
    Joined(u8),
    /// `relation-changed` of a unit bag, or of the application bag
    Changed(Option<u8>),
    /// `relation-departed`
    Departed(u8),
    /// `update-status`
    UpdateStatus,
}

/// What a consumer unit sees in one hook.
pub struct View<'a> {
    /// Which consumer it is.
    pub release: Release,
    /// `application/number`
    pub unit: String,
    /// Its machine.
    pub machine: Machine,
    /// Whether it leads its application.
    pub is_leader: bool,
    /// Distributor units that have joined, with their bags as this unit's agent shows them.
    pub members: &'a BTreeMap<u8, Bag>,
    /// The distributor's application bag.
    pub app_bag: Arc<Databag>,
    /// Its own bag.
    pub own: Arc<Databag>,
}

/// What a hook left behind.
pub struct Ran {
    /// Its own bag and its memory, or nothing where the hook crashed.
    pub committed: Option<(Databag, Memory)>,
    /// The distributor units whose bags it read.
    pub reads: BTreeSet<u8>,
}

/// Runs a hook. What it does to the cloud is done even where it crashes.
pub fn run(view: &View<'_>, event: Event, memory: &Memory, cloud: &mut Cloud) -> Ran {
    let mut state = State {
        in_cluster: memory.in_cluster,
        deferred: memory.deferred.iter().map(full).collect(),
        tried: (0..).zip(&memory.tried).map(fared).collect(),
        refusal: memory.refused.clone().map(|fingerprint| Refusal {
            fingerprint,
            count: 1,
            last: HOOK,
        }),
        half_in: false,
    };
    let mut host = OneHook {
        view,
        event,
        cloud,
        own: (*view.own).clone(),
        reads: BTreeSet::new(),
    };
    let status = consumer::dispatch(
        view.release,
        &environment(view, event),
        &mut state,
        &mut host,
        &mut |_| 0,
    );
    let memory = Memory {
        in_cluster: state.in_cluster,
        deferred: state.deferred.iter().map(short).collect(),
        tried: in_order(state.tried),
        refused: state.refusal.map(|refusal| refusal.fingerprint),
    };
    Ran {
        committed: (status == 0).then_some((host.own, memory)),
        reads: host.reads,
    }
}

fn environment(view: &View<'_>, event: Event) -> BTreeMap<String, String> {
    let (hook, unit) = match event {
        Event::Joined(unit) => ("hooks/cluster-relation-joined", Some(unit)),
        Event::Changed(unit) => ("hooks/cluster-relation-changed", unit),
        Event::Created => ("hooks/cluster-relation-created", None),
        Event::Departed(unit) => ("hooks/cluster-relation-departed", Some(unit)),
        Event::Elected => ("hooks/leader-elected", None),
        Event::UpdateStatus => ("hooks/update-status", None),
    };
    let mut environment = BTreeMap::from([
        ("JUJU_DISPATCH_PATH".to_owned(), hook.to_owned()),
        ("JUJU_UNIT_NAME".to_owned(), view.unit.clone()),
        ("JUJU_RELATION_ID".to_owned(), RELATION.to_owned()),
        ("JUJU_REMOTE_APP".to_owned(), DISTRIBUTOR.to_owned()),
    ]);
    environment.extend(unit.map(|unit| ("JUJU_REMOTE_UNIT".to_owned(), distributor(unit))));
    environment
}

fn distributor(number: u8) -> String {
    format!("{DISTRIBUTOR}/{number}")
}

fn number(unit: &str) -> u8 {
    let number = unit
        .strip_prefix("d/")
        .and_then(|number| number.parse().ok());
    number.expect("a distributor unit")
}

fn full((joined, unit): &(bool, Option<u8>)) -> RelationEvent {
    RelationEvent {
        kind: match joined {
            true => RelationEventKind::Joined,
            false => RelationEventKind::Changed,
        },
        relation: RELATION.to_owned(),
        app: Some(DISTRIBUTOR.to_owned()),
        unit: unit.map(distributor),
    }
}

fn short(event: &RelationEvent) -> (bool, Option<u8>) {
    let joined = event.kind == RelationEventKind::Joined;
    (joined, event.unit.as_deref().map(number))
}

/// There is no time but the order of failures.
fn fared((order, (fingerprint, failures)): (u64, &(String, u32))) -> (String, Tried) {
    let tried = Tried {
        failures: *failures,
        last: order,
    };
    (fingerprint.clone(), tried)
}

fn in_order(tried: BTreeMap<String, Tried>) -> Vec<(String, u32)> {
    let mut tried: Vec<_> = tried.into_iter().collect();
    tried.sort_by_key(|(_, tried)| tried.last);
    let failures = tried.into_iter();
    failures
        .map(|(fingerprint, tried)| (fingerprint, tried.failures))
        .collect()
}

struct OneHook<'a> {
    view: &'a View<'a>,
    event: Event,
    cloud: &'a mut Cloud,
    own: Databag,
    reads: BTreeSet<u8>,
}

impl Host for OneHook<'_> {
    fn hook_tool(&mut self, tool: &str, args: &[String], stdin: Option<&[u8]>) -> CommandOutput {
        match tool {
            "is-leader" => CommandOutput::success(self.view.is_leader.to_string()),
            "relation-ids" => CommandOutput::success(serde_json::json!([RELATION]).to_string()),
            "relation-list" if args.iter().any(|arg| arg == "--app") => {
                CommandOutput::success(format!("{DISTRIBUTOR:?}"))
            }
            "relation-list" => {
                let members = self.view.members.keys();
                let units: Vec<String> = members.map(|number| distributor(*number)).collect();
                CommandOutput::success(serde_json::json!(units).to_string())
            }
            "relation-set" => {
                let document = stdin.and_then(|text| serde_json::from_slice::<Databag>(text).ok());
                self.own.extend(document.expect("the stand-in writes JSON"));
                // Juju removes what is set to nothing.
                self.own.retain(|_, value| !value.is_empty());
                CommandOutput::default()
            }
            "status-get" => CommandOutput::success(r#"{"status":"active","message":""}"#),
            "status-set" | "juju-log" => CommandOutput::default(),
            _ => CommandOutput::failure(1, format!("no {tool} in this model")),
        }
    }

    fn microovn(&mut self, args: &[&str]) -> CommandOutput {
        let machine = self.view.machine;
        let done = match args {
            ["cluster", "bootstrap"] => self.cloud.bootstrap(machine).map(|()| String::new()),
            ["cluster", "join", token] => self.cloud.join(machine, token).map(|()| String::new()),
            ["cluster", "add", name] => self.cloud.add(machine, name),
            _ => panic!("microovn {args:?} is not in this model"),
        };
        match done {
            Ok(printed) => CommandOutput::success(printed),
            Err(_) => CommandOutput::failure(1, ""),
        }
    }

    fn hostname(&self) -> String {
        hostname(self.view.machine)
    }

    /// Later than every failure. At update-status every pause is over, otherwise none.
    fn now(&self) -> u64 {
        const A_DAY: u64 = 24 * 60 * 60;
        match self.event {
            Event::UpdateStatus => A_DAY,
            _ => HOOK,
        }
    }

    fn wait_for_pending(&mut self) -> ControlFlow<()> {
        ControlFlow::Break(())
    }

    fn census(&mut self) -> Result<Census, ListError> {
        let census = self.cloud.census(self.view.machine);
        census.map_err(|_| ListError::Refused(1))
    }

    fn standing(&mut self) -> Result<Standing, ListError> {
        let standing = self.cloud.standing(self.view.machine);
        standing.map_err(|_| ListError::Refused(1))
    }

    fn relation_get(
        &mut self,
        _relation: &str,
        owner: &str,
        level: Level,
    ) -> Result<Arc<Databag>, consumer::Crash> {
        if level == Level::Application {
            return Ok(Arc::clone(&self.view.app_bag));
        }
        if owner == self.view.unit {
            return Ok(Arc::new(self.own.clone()));
        }
        let number = number(owner);
        self.reads.insert(number);
        Ok(self.view.members[&number].shared())
    }
}

//! One relation's trouble is that relation's: every refusal that Juju has, of each hook tool, in
//! each hook and action, on leader and standby.
//!
//! A case is one hook of a settled model with news in it, and one trouble that lasts. What the same
//! hook makes of the model without the trouble is known from a twin. The relation that is in no
//! trouble is *healthy* in a case if all that is refused is about the other relation, in words that
//! say that Juju does not serve that one, or is advice. It is *served* if the hook ends well and
//! leaves in its bags what the twin has there.
//!
//! Where more is refused nothing is healthy, and a hook must do all or nothing. Afterwards, when
//! nothing is refused any more, every model has to come to the end of its twin.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;

use crate::Failure;
use crate::agent::{Hook, RelationEvent};
use crate::charm::{CallTool, Charm, Metadata};
use crate::deployment::{Clock, Provider};
use crate::faults::{self, Effect, Injection};
use crate::model::{Flush, JujuGeneration};
use crate::names::{AppName, RelationId, UnitName};
use crate::quirks::{Complaint, Party, Unserved};
use crate::tools::TOOLS;
use crate::world::World;

const APP: &str = "mtd";
const LEADER: &str = "mtd/0";
const STANDBY: &str = "mtd/1";
const HEALTHY: &str = "healthy";
const AILING: &str = "ailing";
/// Related while the trouble lasts.
const FRESH: &str = "fresh";

/// What one unit does in a case.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Deed {
    Hook(&'static str),
    Relation(&'static str, &'static str),
    LedgerChanged,
    Action(&'static str),
    /// Everything that is due once another application is related.
    Everything,
}

const DEEDS: [Deed; 25] = [
    Deed::Hook("install"),
    Deed::Hook("leader-elected"),
    Deed::Hook("config-changed"),
    Deed::Hook("start"),
    Deed::Hook("upgrade-charm"),
    Deed::Hook("update-status"),
    Deed::Hook("stop"),
    Deed::Hook("remove"),
    Deed::Relation("created", HEALTHY),
    Deed::Relation("joined", "healthy/2"),
    Deed::Relation("changed", "healthy/0"),
    Deed::Relation("changed", HEALTHY),
    Deed::Relation("departed", "healthy/1"),
    Deed::Relation("created", AILING),
    Deed::Relation("joined", "ailing/0"),
    Deed::Relation("changed", "ailing/0"),
    Deed::Relation("departed", "ailing/0"),
    Deed::Relation("broken", AILING),
    Deed::LedgerChanged,
    Deed::Action("show-mirror"),
    Deed::Action("check"),
    Deed::Action("resync"),
    Deed::Action("retire-host"),
    Deed::Action("forget"),
    Deed::Everything,
];

/// What is refused, as long as the case lasts.
#[derive(Clone, Debug)]
enum Trouble {
    /// A tool is refused wherever it is asked, or only about one relation.
    Refused {
        tool: &'static str,
        about: Option<String>,
        effect: Effect,
        /// Whether the other relation is healthy.
        spares: bool,
    },
    /// Juju lists a relation and does not serve it: to nobody, or not to the unit that acts.
    Unserved(Complaint, Option<&'static str>),
}

impl Trouble {
    fn spares_the_healthy(&self) -> bool {
        match self {
            Trouble::Refused { spares, .. } => *spares,
            Trouble::Unserved(..) => true,
        }
    }

    fn begin(&self, stage: &mut Stage) -> Result<(), Failure> {
        match self {
            Trouble::Refused {
                tool,
                about: Some(relation),
                effect,
                ..
            } => {
                let injection = Injection::at_every_about(tool, relation, effect.clone());
                stage.world.inject(injection);
            }
            Trouble::Refused { tool, effect, .. } => {
                let injection = Injection::at_every(Some(tool), effect.clone());
                stage.world.inject(injection);
            }
            Trouble::Unserved(complaint, only) => {
                let unserved = Unserved {
                    complaint: *complaint,
                    only: only.and_then(UnitName::parse).map(Party::Unit),
                };
                let id = stage.relation(AILING);
                stage.world.model_mut().stop_serving(id, unserved)?;
            }
        }
        Ok(())
    }
}

/// All troubles there are for `unit`. The relations are `healthy`, `ailing` and that of the peers.
fn troubles(stage: &Stage, unit: &'static str) -> Vec<Trouble> {
    /// What the charm goes on without.
    const ADVICE: [&str; 6] = [
        "goal-state",
        "status-get",
        "status-set",
        "juju-log",
        "application-version-set",
        "action-log",
    ];

    let ailing = format!("microcluster-cluster:{}", stage.relation(AILING));
    let peer = format!("cluster:{}", stage.peer());
    let mut troubles: Vec<Trouble> = [None, Some(unit)]
        .into_iter()
        .flat_map(|only| Complaint::ALL.map(|complaint| Trouble::Unserved(complaint, only)))
        .collect();
    for tool in TOOLS {
        for effect in faults::refusals(tool, &ailing) {
            let is_of_relation = is_of_relation(&effect);
            troubles.push(Trouble::Refused {
                tool,
                about: None,
                effect: effect.clone(),
                spares: ADVICE.contains(&tool),
            });
            if tool.starts_with("relation-") && tool != "relation-ids" {
                troubles.push(Trouble::Refused {
                    tool,
                    about: Some(ailing.clone()),
                    effect,
                    spares: is_of_relation,
                });
            }
        }
        if tool.starts_with("relation-") && tool != "relation-ids" {
            let of_peer = faults::refusals(tool, &peer).into_iter();
            troubles.extend(of_peer.map(|effect| Trouble::Refused {
                tool,
                about: Some(peer.clone()),
                effect,
                spares: false,
            }));
        }
    }
    troubles
}

/// Whether the words are about the relation, and not about the agent.
fn is_of_relation(effect: &Effect) -> bool {
    match effect {
        Effect::Fail { message, .. } => {
            !message.contains("connection is shut down") && !message.starts_with("dial unix")
        }
        _ => false,
    }
}

/// How many cases were played.
#[derive(Clone, Copy, Debug, Default)]
pub struct Count {
    /// All.
    pub cases: usize,
    /// Those in which a relation was healthy.
    pub healthy: usize,
    /// Those in which the hook had something to write there.
    pub news: usize,
}

impl Count {
    /// Adds another count.
    pub fn add(&mut self, other: &Count) {
        self.cases += other.cases;
        self.healthy += other.healthy;
        self.news += other.news;
    }
}

/// A case in which the healthy relation was not served, or a model that did not recover.
#[derive(Clone, Debug)]
pub struct Neglect {
    /// Which case.
    pub case: String,
    /// What was wrong.
    pub what: String,
}

/// One hook or action of one unit on one Juju: a part of the campaign that one core can play.
#[derive(Clone, Copy, Debug)]
pub struct Part {
    juju: JujuGeneration,
    unit: &'static str,
    deed: Deed,
    /// The relation in trouble is the one with the lower number, whose application may bootstrap.
    ailing_first: bool,
}

/// All parts of the campaign.
pub fn parts() -> Vec<Part> {
    let mut parts = Vec::new();
    for juju in [JujuGeneration::Three, JujuGeneration::Four] {
        for unit in [LEADER, STANDBY] {
            for ailing_first in [false, true] {
                let part = |deed| Part {
                    juju,
                    unit,
                    deed,
                    ailing_first,
                };
                parts.extend(DEEDS.map(part));
            }
        }
    }
    parts
}

impl Part {
    /// Plays the part with every trouble that there is.
    pub fn play(&self) -> Result<(Count, Vec<Neglect>), Failure> {
        let mut twin = self.stage()?;
        let before = twin.shown();
        self.act(&mut twin)?;
        let tools = twin.tools_of_last(self);
        let after = twin.shown();
        self.recover(&mut twin, true)?;
        let end = twin.all_bags();

        let mut count = Count::default();
        let mut neglected = Vec::new();
        for trouble in troubles(&twin, self.unit) {
            if let Trouble::Refused { tool, .. } = &trouble
                && !tools.iter().any(|called| called == tool)
            {
                continue;
            }
            let mut stage = self.stage()?;
            trouble.begin(&mut stage)?;
            let ended_well = self.act(&mut stage)?;
            if self.waits_for_advice(&trouble) {
                stage
                    .world
                    .run_hook(self.unit, Hook::Named("update-status".to_owned()))?;
            }
            let shown = stage.shown();
            let mut neglect = |what: String| {
                let case = format!("{self:?} {trouble:?}");
                neglected.push(Neglect { case, what });
            };
            count.cases += 1;
            if trouble.spares_the_healthy() {
                count.healthy += 1;
                count.news += usize::from(after != before);
                if !ended_well {
                    neglect(format!("it failed: {}", stage.complaint()));
                } else if let Some(difference) = self.difference(&after, &shown) {
                    neglect(format!("it is not served: {difference}"));
                }
            } else if self.deed != Deed::Everything
                && self.difference(&before, &shown).is_some()
                && self.difference(&after, &shown).is_some()
            {
                neglect("it is served by half".to_owned());
            }
            self.recover(&mut stage, ended_well)?;
            if let Some(difference) = difference(&end, &stage.all_bags()) {
                neglect(format!("it does not recover: {difference}"));
            }
        }
        Ok((count, neglected))
    }

    fn stage(&self) -> Result<Stage, Failure> {
        Stage::new(self.juju, self.ailing_first)
    }

    /// Says whether all that was run ended well.
    fn act(&self, stage: &mut Stage) -> Result<bool, Failure> {
        let relation_hook = |id, endpoint: &str, event| Hook::Relation {
            id,
            endpoint: endpoint.to_owned(),
            event,
        };
        stage.world.clear_history();
        match self.deed {
            Deed::Hook(name) => {
                drop(
                    stage
                        .world
                        .run_hook(self.unit, Hook::Named(name.to_owned()))?,
                );
            }
            Deed::Relation(event, remote) => {
                let app = remote.split('/').next().unwrap_or_default();
                let id = stage.relation(app);
                let unit = || UnitName::parse(remote).ok_or("no unit");
                let event = match event {
                    "created" => RelationEvent::Created,
                    "joined" => RelationEvent::Joined {
                        unit: unit()?,
                        version: 0,
                    },
                    "changed" if remote == app => RelationEvent::AppChanged {
                        app: AppName::new(app),
                        version: 0,
                    },
                    "changed" => RelationEvent::UnitChanged {
                        unit: unit()?,
                        version: 0,
                    },
                    "departed" => RelationEvent::Departed { unit: unit()? },
                    _ => RelationEvent::Broken,
                };
                let hook = relation_hook(id, "microcluster-cluster", event);
                stage.world.run_hook(self.unit, hook)?;
            }
            Deed::LedgerChanged => {
                let event = RelationEvent::AppChanged {
                    app: AppName::new(APP),
                    version: 0,
                };
                let hook = relation_hook(stage.peer(), "cluster", event);
                stage.world.run_hook(self.unit, hook)?;
            }
            Deed::Action(name) => {
                let parameters: &[(&str, Value)] = match name {
                    "retire-host" => &[("host", "h-gone".into())],
                    "forget" => &[("force", true.into())],
                    _ => &[],
                };
                let owned = |(key, value): &(&str, Value)| ((*key).to_owned(), value.clone());
                let parameters = parameters.iter().map(owned).collect();
                stage.world.run_action(self.unit, name, parameters)?;
            }
            Deed::Everything => {
                stage.relate(FRESH, 1)?;
                stage.says("fresh/0", &[("hostname", "h-fresh")])?;
                stage.world.settle(1000)?;
            }
        }
        let ours = |run: &&crate::HookRun| run.unit.application() == APP;
        let mut runs = stage.world.runs().iter().filter(ours);
        Ok(runs.all(|run| run.committed))
    }

    /// Nothing is refused any more. Juju runs no action again, the operator does: one that failed,
    /// and the one that forgot what a relation that was not served still shows.
    fn recover(&self, stage: &mut Stage, ended_well: bool) -> Result<(), Failure> {
        stage.recover()?;
        if matches!(self.deed, Deed::Action(name) if !ended_well || name == "forget") {
            self.act(stage)?;
            stage.recover()?;
        }
        Ok(())
    }

    /// A unit that cannot learn whether it is leaving changes nothing in relation-broken; the next
    /// look at everything does.
    fn waits_for_advice(&self, trouble: &Trouble) -> bool {
        self.deed == Deed::Relation("broken", AILING)
            && matches!(
                trouble,
                Trouble::Refused {
                    tool: "goal-state",
                    ..
                }
            )
    }

    /// What is not as it is in the twin. Who forgets a cluster does not learn again of a relation
    /// that is not served.
    fn difference(&self, expected: &Bags, found: &Bags) -> Option<String> {
        let mut expected = expected.clone();
        let mut found = found.clone();
        for bag in expected.values_mut().chain(found.values_mut()) {
            if self.deed == Deed::Action("forget") {
                bag.remove("mirror-h-ailing");
            }
            // Of the update-status that came instead.
            if self.deed == Deed::Relation("broken", AILING) {
                bag.remove("nudge");
            }
        }
        difference(&expected, &found)
    }
}

type Bag = BTreeMap<String, String>;
/// Bags by relation and owner.
type Bags = BTreeMap<String, Bag>;

/// Owners and keys alone: a value may be a token.
fn difference(expected: &Bags, found: &Bags) -> Option<String> {
    let empty = Bag::new();
    let owners = expected.keys().chain(found.keys());
    let mut differing = owners.flat_map(|owner| {
        let expected = expected.get(owner).unwrap_or(&empty);
        let found = found.get(owner).unwrap_or(&empty);
        let keys = expected.keys().chain(found.keys());
        keys.filter(|key| expected.get(*key) != found.get(*key))
            .map(move |key| format!("{key} of {owner}"))
    });
    differing.next()
}

/// A model in which nothing but the distributor acts.
struct Stage {
    world: World,
    relations: BTreeMap<&'static str, RelationId>,
}

impl Stage {
    /// A leader that has taken over from the standby, which has not heard of it yet, and news of
    /// three hosts that no hook has seen.
    fn new(juju: JujuGeneration, ailing_first: bool) -> Result<Self, Failure> {
        let mut world = World::new(juju, 1);
        let clock = Clock::default();
        let charm = Provider::Library.charm(Path::new(""), &clock)?;
        world.deploy(APP, &charm, 2, &[])?;
        world.set_leader(STANDBY)?;
        world.set_automatic_retry(false);
        let mut stage = Stage {
            world,
            relations: BTreeMap::new(),
        };
        let mut apps = [(HEALTHY, 2), (AILING, 1)];
        if ailing_first {
            apps.reverse();
        }
        for (app, units) in apps {
            stage.relate(app, units)?;
        }
        stage.says("healthy/1", &[("hostname", "h-gone")])?;
        stage.says("ailing/0", &[("hostname", "h-ailing")])?;
        let up = [
            ("hostname", "h-up"),
            ("mirror", "up"),
            ("mirror-h-ailing", "token"),
        ];
        stage.says("healthy/0", &up)?;
        stage.world.settle(1000)?;

        // The turn of the first host has passed, whether goal-state answers or not.
        clock.set_time(Duration::from_secs(120));
        stage.world.set_leader(LEADER)?;
        stage.world.run_hook(LEADER, Hook::LeaderElected)?;
        stage.enter("healthy")?;
        stage.says("healthy/2", &[("hostname", "h-new")])?;
        stage.says("healthy/0", &[("mirror-h-new", "token")])?;
        for unit in [LEADER, STANDBY] {
            stage.world.restart_agent(unit)?;
        }
        Ok(stage)
    }

    fn relate(&mut self, app: &'static str, units: usize) -> Result<(), Failure> {
        let metadata =
            format!("{{name: {app}, requires: {{cluster: {{interface: worker-cluster}}}}}}");
        let hook = |_: &BTreeMap<String, String>, _: &mut CallTool<'_>| 0;
        let idle = Charm::in_process(Metadata::parse(&metadata, "", "")?, move |_| hook);
        self.world.deploy(app, &idle, 0, &[])?;
        let provider = format!("{APP}:microcluster-cluster");
        let id = self.world.integrate(&provider, &format!("{app}:cluster"))?;
        self.relations.insert(app, id);
        (0..units).try_for_each(|_| self.enter(app))
    }

    /// One more unit, of the model alone: no agent runs anything for it.
    fn enter(&mut self, app: &str) -> Result<(), Failure> {
        let id = self.relation(app);
        let model = self.world.model_mut();
        let unit = model.add_unit(app)?;
        model.enter_scope(id, &unit);
        Ok(())
    }

    fn says(&mut self, unit: &str, pairs: &[(&str, &str)]) -> Result<(), Failure> {
        let (name, _) = self.world.model().unit(unit)?;
        let id = self.relation(name.application());
        let mut bag = (*self.world.unit_bag(id, unit)).clone();
        let owned = |(key, value): &(&str, &str)| ((*key).to_owned(), (*value).to_owned());
        bag.extend(pairs.iter().map(owned));
        let flush = Flush {
            unit_bags: BTreeMap::from([(id, Arc::new(bag))]),
            ..Flush::default()
        };
        // A model that refuses what a consumer says shows in the twin, which then has no news.
        drop(self.world.model_mut().commit(&name, flush));
        Ok(())
    }

    fn relation(&self, app: &str) -> RelationId {
        self.relations[app]
    }

    fn peer(&self) -> RelationId {
        let mut relations = self.world.model().relations.values();
        let peer = relations.find(|relation| relation.is_peer());
        peer.map_or(RelationId(0), |peer| peer.id)
    }

    fn bags_of<'a>(&self, apps: impl Iterator<Item = &'a str>) -> Bags {
        let mut bags = Bags::new();
        for app in apps {
            let id = self.relation(app);
            for unit in [LEADER, STANDBY] {
                let bag = (*self.world.unit_bag(id, unit)).clone();
                bags.insert(format!("{unit} to {app}"), bag);
            }
            let bag = (*self.world.app_bag(id, APP)).clone();
            bags.insert(format!("{APP} to {app}"), bag);
        }
        bags
    }

    /// What is shown in relations that are in no trouble.
    fn shown(&self) -> Bags {
        let apps = self.relations.keys().copied();
        self.bags_of(apps.filter(|app| *app != AILING))
    }

    /// The same with the ledger and all relations. Whose turn it was and when rests on goal-state.
    fn all_bags(&self) -> Bags {
        let mut bags = self.bags_of(self.relations.keys().copied());
        let mut ledger = (*self.world.app_bag(self.peer(), APP)).clone();
        ledger.remove("let-in");
        bags.insert("the ledger".to_owned(), ledger);
        bags
    }

    /// The tools that the hooks of one part called.
    fn tools_of_last(&self, part: &Part) -> Vec<String> {
        let runs = self.world.runs().iter();
        let runs = runs.filter(|run| {
            run.unit.as_str() == part.unit
                || part.deed == Deed::Everything && run.unit.application() == APP
        });
        let calls = runs.flat_map(|run| &run.tool_calls);
        calls.map(|call| call.tool.clone()).collect()
    }

    fn complaint(&self) -> String {
        let runs = self.world.runs().iter();
        let mut failed = runs.filter(|run| !run.committed);
        let complaint = failed.next().and_then(|run| {
            let text = run.complaint.as_ref().or(run.failure.as_ref())?;
            Some(format!("{}: {text}", run.hook))
        });
        complaint.unwrap_or_default()
    }

    /// Nothing is refused any more: Juju runs what failed again, and everything that is due.
    fn recover(&mut self) -> Result<(), Failure> {
        self.world.clear_faults();
        let id = self.relation(AILING);
        self.world.model_mut().serve_again(id);
        for unit in [LEADER, STANDBY] {
            self.world.resolved(unit, true)?;
        }
        self.world.settle(1000)?;
        for unit in [LEADER, STANDBY] {
            self.world.fire_update_status(unit)?;
        }
        self.world.settle(1000)?;
        Ok(())
    }
}

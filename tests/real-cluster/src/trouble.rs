//! What goes wrong in a play, once, and what a person does about it.

use std::collections::BTreeSet;
use std::process::Command;
use std::sync::mpsc::{self, Receiver};
use std::thread;
use std::time::{Duration, Instant};

use juju_emulator::{Failure, World};
use serde::{Deserialize, Serialize};

use crate::events::{Event, What};
use crate::network::{Member, Network};
use crate::play::{DISTRIBUTOR, Hosts};

/// How long a host stays dark that loses its way in the middle of its join: longer than the command
/// waits.
const LOST_WAY: Duration = Duration::from_secs(40);

/// What goes wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub enum Trouble {
    /// Nothing sent to the last host arrives, so its join always fails
    WrongNetwork,
    /// The agent of the last host stops once it has announced itself
    AgentDown,
    /// The leading distributor unit's machine is gone once half of the hosts are in
    DistributorLost,
    /// The communicator's machine is gone once half are in; a person removes the dead member
    CommunicatorLost,
    /// The communicator's unit is removed once half are in
    CommunicatorLeaves,
    /// A member's daemon is killed once half are in; a person removes it
    DeadMember,
    /// A member goes dark once half are in; a person removes it
    DarkMember,
    /// A host goes dark in the middle of its join, for longer than the command waits
    HalfIn,
}

impl Trouble {
    /// Whether the cluster has to do without the host that it strikes.
    pub fn costs_a_host(self) -> bool {
        !matches!(self, Self::DistributorLost)
    }
}

/// A trouble and how far it has come.
pub(crate) struct Course {
    trouble: Trouble,
    repair_after: Duration,
    stage: Stage,
    /// The host that it strikes.
    pub(crate) host: Option<String>,
}

enum Stage {
    Coming,
    /// It has struck, and ends or is mended some time later.
    Struck(Instant),
    /// A person is at it.
    Mended(Receiver<Result<(), String>>),
    Over,
}

/// What a trouble may touch.
pub(crate) struct Scene<'a> {
    pub(crate) world: &'a mut World,
    pub(crate) network: &'a mut Network,
    pub(crate) hosts: &'a Hosts,
    pub(crate) events: &'a [Event],
    /// Hosts in the cluster.
    pub(crate) joined: usize,
}

impl Course {
    pub(crate) fn new(trouble: Trouble, repair_after: Duration) -> Self {
        Self {
            trouble,
            repair_after,
            stage: Stage::Coming,
            host: None,
        }
    }

    /// Whether it has run.
    pub(crate) fn is_over(&self) -> bool {
        matches!(self.stage, Stage::Over)
    }

    /// Units whose agent does nothing any more.
    pub(crate) fn is_off(&self, hostname: &str) -> bool {
        let off = matches!(self.trouble, Trouble::AgentDown | Trouble::DarkMember);
        off && self.host.as_deref() == Some(hostname)
    }

    /// Before hosts are related.
    pub(crate) fn prepare(&mut self, scene: Scene<'_>) -> Result<(), Failure> {
        if self.trouble == Trouble::WrongNetwork {
            let last = scene.hosts.last().to_owned();
            scene.network.host(&last)?.darken()?;
            self.host = Some(last);
            self.stage = Stage::Over;
        }
        Ok(())
    }

    /// Says what happens, if anything does now.
    pub(crate) fn go_on(&mut self, scene: Scene<'_>) -> Result<Option<String>, Failure> {
        match &self.stage {
            Stage::Coming => self.strike(scene),
            Stage::Struck(when) => self.mend(scene, *when),
            Stage::Mended(doing) => match doing.try_recv() {
                Ok(outcome) => Ok(self.mended(outcome)),
                Err(_) => Ok(None),
            },
            Stage::Over => Ok(None),
        }
    }

    fn strike(&mut self, scene: Scene<'_>) -> Result<Option<String>, Failure> {
        let Scene {
            world,
            network,
            hosts,
            events,
            joined,
        } = scene;
        let half = 2 * joined >= hosts.count();
        let last = hosts.last().to_owned();
        match self.trouble {
            Trouble::WrongNetwork => {}
            Trouble::AgentDown => {
                let unit = hosts.unit(&last);
                let announced = hosts.bag(world, unit).contains_key("hostname");
                if announced {
                    return Ok(self.over(last, "its agent stops"));
                }
            }
            Trouble::DistributorLost if half => {
                let units = world.model().units_of(DISTRIBUTOR);
                let leader = units.into_iter().find(|unit| world.model().is_leader(unit));
                if let Some(leader) = leader {
                    world.lose_unit(leader.as_str())?;
                    self.stage = Stage::Over;
                    return Ok(Some(format!("{leader} is lost")));
                }
            }
            Trouble::CommunicatorLost if half => {
                if let Some(communicator) = hosts.communicator(world) {
                    let host = network.host_mut(communicator)?;
                    host.kill_daemon()?;
                    world.lose_unit(hosts.unit(communicator))?;
                    return Ok(self.struck(communicator.to_owned(), "is lost"));
                }
            }
            Trouble::CommunicatorLeaves if half => {
                if let Some(communicator) = hosts.communicator(world) {
                    let communicator = communicator.to_owned();
                    world.remove_unit(hosts.unit(&communicator))?;
                    return Ok(self.over(communicator, "leaves"));
                }
            }
            Trouble::DeadMember | Trouble::DarkMember if half => {
                let communicator = hosts.communicator(world).map(str::to_owned);
                let mut members = events
                    .iter()
                    .filter(|event| event.what == What::DaemonHasJoined);
                let member = members.find(|event| Some(&event.host) != communicator.as_ref());
                if let (Some(member), Some(_)) = (member, &communicator) {
                    let member = member.host.clone();
                    let host = network.host_mut(&member)?;
                    return if self.trouble == Trouble::DeadMember {
                        host.kill_daemon()?;
                        Ok(self.struck(member, "is dead"))
                    } else {
                        host.darken()?;
                        Ok(self.struck(member, "is dark"))
                    };
                }
            }
            // The third and later joins take a second or more, so that there is a middle.
            Trouble::HalfIn if joined >= 2 => {
                let last = events.last();
                let joining = last.filter(|event| event.what == What::JoinBegins);
                if let Some(joiner) = joining.map(|event| event.host.clone())
                    && is_listed(network, events, &joiner)?
                {
                    network.host(&joiner)?.darken()?;
                    return Ok(self.struck(joiner, "loses its way in the middle of its join"));
                }
            }
            _ => {}
        }
        Ok(None)
    }

    fn mend(&mut self, scene: Scene<'_>, when: Instant) -> Result<Option<String>, Failure> {
        let Some(host) = self.host.clone() else {
            return Ok(None);
        };
        if self.trouble == Trouble::HalfIn {
            if when.elapsed() < LOST_WAY {
                return Ok(None);
            }
            scene.network.host(&host)?.brighten()?;
            return Ok(self.over(host, "finds its way again"));
        }
        if when.elapsed() < self.repair_after {
            return Ok(None);
        }
        let (done, doing) = mpsc::channel();
        let others = scene.network.hosts().iter().filter(|it| it.name() != host);
        let commands: Vec<[Command; 2]> = others
            .map(|other| {
                let remove = other.command(&["remove", &host, "--force"]);
                [remove, other.command(&["list", "--format", "json"])]
            })
            .collect();
        // A command may take its 30 s, and hooks go on meanwhile.
        thread::spawn(move || {
            // Whoever has stopped listening has ended the play.
            let _ = done.send(remove(&host, commands));
        });
        self.stage = Stage::Mended(doing);
        Ok(None)
    }

    fn mended(&mut self, outcome: Result<(), String>) -> Option<String> {
        let host = self.host.clone().unwrap_or_default();
        match outcome {
            Ok(()) => self.over(host, "is removed by a person"),
            Err(complaints) => {
                self.stage = Stage::Struck(Instant::now());
                Some(format!("{host} cannot be removed: {complaints}"))
            }
        }
    }

    fn struck(&mut self, host: String, what: &str) -> Option<String> {
        self.stage = Stage::Struck(Instant::now());
        let said = format!("{host} {what}");
        self.host = Some(host);
        Some(said)
    }

    fn over(&mut self, host: String, what: &str) -> Option<String> {
        let said = format!("{host}: {what}");
        self.stage = Stage::Over;
        self.host = Some(host);
        Some(said)
    }
}

/// Removes a member from any host that can: one in no cluster refuses, and where a command reports
/// failure, the list decides.
fn remove(host: &str, commands: Vec<[Command; 2]>) -> Result<(), String> {
    let mut complaints = BTreeSet::new();
    for [mut remove, mut list] in commands {
        let removed = match remove.output() {
            Ok(output) if output.status.success() => return Ok(()),
            Ok(output) => String::from_utf8_lossy(&output.stderr).trim().to_owned(),
            Err(error) => error.to_string(),
        };
        complaints.insert(removed);
        let listed = list.output().ok().filter(|output| output.status.success());
        let members: Option<Vec<Member>> =
            listed.and_then(|output| serde_json::from_slice(&output.stdout).ok());
        if members.is_some_and(|members| members.iter().all(|member| member.name != host)) {
            return Ok(());
        }
    }
    let complaints: Vec<String> = complaints.into_iter().collect();
    Err(complaints.join("; "))
}

/// Whether the founder of the cluster lists a host, which therefore has been let in.
fn is_listed(network: &Network, events: &[Event], host: &str) -> Result<bool, Failure> {
    let mut founders = events.iter().filter(|event| event.what == What::Bootstrap);
    let Some(founder) = founders.find(|event| event.error.is_none()) else {
        return Ok(false);
    };
    let members = network.host(&founder.host)?.members()?;
    Ok(members.is_ok_and(|members| members.iter().any(|member| member.name == host)))
}

//! Each host: what the ledger says of it, and what happens next.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;

use super::{View, listed};
use crate::core::evidence::World;
use crate::core::fingerprint::fingerprint;
use crate::core::ledger::Ledger;
use crate::core::status::{Help, needs_help};
use crate::core::wire::{self, Value, is_hostname, mirror_key, printable};
use crate::report::table::columns;

/// How far a host has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum State {
    /// It waits for a token: it has none, or one that was refused.
    Waiting,
    /// Its token is held back until its turn comes.
    Queued,
    /// It is in turn: its token was shown last, and it is not known to be in.
    LetIn,
    /// It has a token. A consumer of the first protocol does not say whether it used it.
    Token,
    /// It is in the cluster.
    Member,
    /// An operator retired its token.
    Retired,
    /// It never gets a token: microcluster refuses its name.
    Invalid,
    /// The input of the command line does not show whether it has a token.
    Unknown,
}

impl State {
    /// The word for it.
    pub fn as_str(self) -> &'static str {
        match self {
            State::Waiting => "waiting",
            State::Queued => "queued",
            State::LetIn => "let-in",
            State::Token => "token",
            State::Member => "member",
            State::Retired => "retired",
            State::Invalid => "invalid",
            State::Unknown => "unknown",
        }
    }
}

/// A value that one relation keeps although the ledger has another.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Other {
    /// The relation's number.
    pub relation: u64,
    /// See [`fingerprint`].
    pub fingerprint: String,
}

/// What is known of one host.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Host {
    /// Its name, as a person may see it.
    pub host: String,
    /// How far it has come.
    pub state: State,
    /// The units that announced the name and are there, first comer first.
    pub announced_by: Vec<String>,
    /// The unit whose own bag shows the same token: it minted it.
    pub given_by: Option<String>,
    /// The token's fingerprint.
    pub fingerprint: Option<String>,
    /// How many hosts are let in before it, the one in turn among them.
    pub behind: Option<usize>,
    /// How many of its tokens were refused, or taken away by an operator.
    pub spent: usize,
    /// Other tokens, which the Python charm left in relations.
    pub other_values: Vec<Other>,
}

/// All that is known of all hosts.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Report {
    /// The application that may bootstrap.
    pub bootstrap_app: Option<String>,
    /// The units that mint tokens: their mirror is up.
    pub communicators: Vec<String>,
    /// All hosts in the order of their names.
    pub hosts: Vec<Host>,
    /// Mirror keys that name no host.
    pub other_keys: Vec<String>,
    #[serde(skip)]
    knows_a_cluster: bool,
    #[serde(skip)]
    needs_help: BTreeMap<String, Help>,
}

impl Report {
    /// Everything about every host in `view`.
    pub fn of(view: &View) -> Self {
        let View { ledger, world, .. } = view;
        let communicators = ledger.communicators.keys();
        let mut report = Report {
            bootstrap_app: ledger.bootstrap_app.as_deref().map(printable),
            communicators: communicators.map(ToString::to_string).collect(),
            knows_a_cluster: crate::core::choose::ledger_shows_cluster(ledger),

            ..Report::default()
        };
        let mut givers: BTreeMap<&str, Vec<(&str, String)>> = BTreeMap::new();
        for relation in world.relations.values() {
            for (unit, bag) in &relation.units {
                for (name, value) in wire::mirror_values(bag) {
                    let offers = givers.entry(name).or_default();
                    offers.push((value, unit.to_string()));
                }
            }
        }
        let mut other_values: BTreeMap<&str, Vec<Other>> = BTreeMap::new();
        for (id, relation) in &world.relations {
            for (name, value) in relation.own_unit.iter().flat_map(wire::mirror_values) {
                if let (Value::Text(kept), Some(Value::Text(held))) =
                    (Value::from(value), ledger.mirror.get(name))
                    && kept != *held
                {
                    let fingerprint = fingerprint(&kept);
                    let relation = id.0;
                    let others = other_values.entry(name).or_default();
                    others.push(Other {
                        relation,
                        fingerprint,
                    });
                }
            }
        }
        let names: BTreeSet<&str> = ledger
            .mirror
            .keys()
            .chain(ledger.hosts.keys())
            .map(String::as_str)
            .collect();
        for name in names {
            let Some(mut host) = host(ledger, world, name) else {
                report.other_keys.push(printable(&mirror_key(name)));
                continue;
            };
            if let Some(Value::Text(token)) = ledger.mirror.get(name) {
                let offers = givers.get(name).into_iter().flatten();
                let mut giver = offers
                    .filter(|(value, _)| value == token)
                    .map(|(_, unit)| unit);
                host.given_by = giver.next().cloned();
                host.fingerprint = Some(fingerprint(token));
            }
            host.other_values = other_values.remove(name).unwrap_or_default();
            if let Some(help) = needs_help(ledger, name) {
                report.needs_help.insert(host.host.clone(), help);
            }
            report.hosts.push(host);
        }
        report
    }

    /// Takes back what rests on a ledger that was not seen: who waits, and who may bootstrap.
    pub fn leave_open(&mut self) {
        self.bootstrap_app = None;
        for host in &mut self.hosts {
            if host.state == State::Waiting {
                host.state = State::Unknown;
            }
        }
    }

    /// One host, by its name or as it is shown.
    pub fn host(&self, name: &str) -> Option<&Host> {
        let shown = printable(name);
        let mut hosts = self.hosts.iter();
        hosts.find(|host| host.host == name || host.host == shown)
    }

    /// How many hosts are in this state.
    pub fn count(&self, state: State) -> usize {
        let hosts = self.hosts.iter();
        hosts.filter(|host| host.state == state).count()
    }

    /// What happens next to `host`, and who can make it happen.
    pub fn next(&self, host: &Host) -> String {
        let name = &host.host;
        if let Some(Help::NoTokenServes { tokens }) = self.needs_help.get(name) {
            let units = host.announced_by.join(" and ");
            return format!("{tokens} of its tokens did not serve; the log of {units} says why");
        }
        match host.state {
            State::Waiting => self.next_of_waiting(host),
            State::Queued => format!(
                "its turn comes after {}: a cluster takes in one joining host at a time",
                match host.behind {
                    Some(1) | None => "1 other host".to_owned(),
                    Some(others) => format!("{others} other hosts"),
                }
            ),
            State::LetIn => format!(
                "it is its turn: {name} joins with this token, or is passed by after a minute or two"
            ),
            State::Token if host.announced_by.is_empty() => {
                format!("no unit announces {name} any more; run retire-host to remove its token")
            }
            State::Token if !host.other_values.is_empty() => format!(
                "relations show different tokens: {name} uses that of its own relation, and joins \
                 only if its cluster made that token"
            ),
            State::Token => {
                format!(
                    "{name} can join with this token once, within three hours after it was made"
                )
            }
            State::Member => "nothing: it is in the cluster".to_owned(),
            State::Retired => {
                format!("nothing, until another unit announces the name {name}")
            }
            State::Invalid => format!(
                "microcluster refuses this name, so it gets no token: remove {}, give the machine a \
                 name of letters, digits and hyphens, not of digits only, and add a unit there",
                host.announced_by.join(" and ")
            ),
            State::Unknown => format!("the input does not show whether {name} has a token"),
        }
    }

    fn next_of_waiting(&self, host: &Host) -> String {
        let name = &host.host;
        match (
            self.needs_help.get(name),
            self.communicators.first(),
            &self.bootstrap_app,
        ) {
            (Some(Help::NobodyMintsAgain), ..) => {
                "its token was refused, and the communicator's library makes only one token for a \
                 name: redeploy the host under another name"
                    .to_owned()
            }
            (_, Some(unit), _) => format!(
                "{}{unit} makes {}; if it does not, run cluster list on a member: remove a member \
                 that is unreachable and gone for good, or read the log of {unit}",
                if host.spent > 0 { "its token was refused, and " } else { "" },
                if host.spent > 0 { "another" } else { "a token" },
            ),
            (_, None, _) if self.knows_a_cluster => "no unit is communicator, so no \
                 token is made: repair the first voter of the cluster, and members that are PENDING or \
                 unreachable"
                .to_owned(),
            (_, None, Some(app)) => format!(
                "there is no cluster yet: the leader of {app} bootstraps it; if it is up and does \
                 not, as after a change of leader, add a unit to the token distributor, and {app} \
                 tries again"
            ),
            (_, None, None) => {
                "no application may bootstrap yet: add a unit to one, or set the \
                 option bootstrap-app"
                    .to_owned()
            }
        }
    }
}

/// What the ledger alone says of a host. `None`: the name is no host's.
fn host(ledger: &Ledger, world: &World, name: &str) -> Option<Host> {
    let claims = ledger.hosts.get(name).map_or(&[][..], Vec::as_slice);
    let state = match ledger.mirror.get(name) {
        _ if !is_hostname(name) && claims.is_empty() => return None,
        _ if !is_hostname(name) => State::Invalid,
        _ if ledger.waits(name) => State::Waiting,
        _ if ledger.has_member(name) => State::Member,
        None => State::Waiting,
        Some(Value::Member) => State::Member,
        Some(Value::Retired) => State::Retired,
        Some(_) if ledger.queue.iter().any(|queued| queued == name) => State::Queued,
        Some(_) if ledger.let_in.as_ref().is_some_and(|turn| turn.host == name) => State::LetIn,
        Some(_) => State::Token,
    };
    let place = ledger.queue.iter().position(|queued| queued == name);
    let in_turn = usize::from(ledger.let_in.is_some());
    let living = claims
        .iter()
        .filter(|claim| !claim.is_gone && !world.is_gone(&claim.unit));
    Some(Host {
        host: printable(name),
        state,
        announced_by: living.map(|claim| claim.unit.to_string()).collect(),
        given_by: None,
        fingerprint: None,
        behind: place.map(|before| before + in_turn),
        spent: ledger.spent.get(name).map_or(0, Vec::len),
        other_values: Vec::new(),
    })
}

/// A table of hosts, one line each.
pub fn table(hosts: &[&Host]) -> String {
    let head = ["HOST", "STATE", "ANNOUNCED BY", "GIVEN BY", "TOKEN"].map(str::to_owned);
    let line = |host: &&Host| {
        let others = host.other_values.iter();
        let others = others.map(|other| format!("{} in {}", other.fingerprint, other.relation));
        [
            host.host.clone(),
            host.state.as_str().to_owned(),
            listed(host.announced_by.iter().cloned()),
            listed(host.given_by.clone()),
            listed(host.fingerprint.clone().into_iter().chain(others)),
        ]
    };
    let rows: Vec<_> = std::iter::once(head)
        .chain(hosts.iter().map(line))
        .collect();
    columns(&rows)
}

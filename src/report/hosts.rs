//! Each host: what the ledger says of it, and what happens next.

use std::collections::BTreeSet;

use serde::Serialize;

use super::{View, listed};
use crate::core::choose::ledger_shows_cluster;
use crate::core::fingerprint::fingerprint;
use crate::core::names::UnitName;
use crate::core::status::{Help, needs_help};
use crate::core::wire::{self, Databag, Value, is_hostname, mirror_key, printable};
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
    #[serde(skip)]
    help: Option<Help>,
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
}

impl Report {
    /// Everything about every host in `view`.
    pub fn of(view: &View) -> Self {
        let ledger = &view.ledger;
        let communicators = ledger.communicators.keys();
        let mut report = Report {
            bootstrap_app: ledger.bootstrap_app.as_deref().map(printable),
            communicators: communicators.map(ToString::to_string).collect(),
            knows_a_cluster: ledger_shows_cluster(ledger),
            ..Report::default()
        };
        let relations = view.world.relations.values();
        let mut minters: Vec<(&UnitName, &Databag)> =
            relations.flat_map(|relation| &relation.units).collect();
        minters.retain(|(_, bag)| wire::mirror_values(bag).next().is_some());
        let names: BTreeSet<&String> = ledger.mirror.keys().chain(ledger.hosts.keys()).collect();
        for name in names {
            match host(view, &minters, name) {
                Some(host) => report.hosts.push(host),
                None => report.other_keys.push(printable(&mirror_key(name))),
            }
        }
        report
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
        if let Some(Help::NoTokenServes { tokens }) = host.help {
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
        }
    }

    fn next_of_waiting(&self, host: &Host) -> String {
        match (host.help, self.communicators.first(), &self.bootstrap_app) {
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

/// What is known of a host. `None`: the name is no host's.
fn host(view: &View, minters: &[(&UnitName, &Databag)], name: &str) -> Option<Host> {
    let View { ledger, world, .. } = view;
    let claims = ledger.hosts.get(name).map_or(&[][..], Vec::as_slice);
    let place = ledger.queue.iter().position(|queued| queued == name);
    let turn = ledger.let_in.as_ref();
    let state = match ledger.mirror.get(name) {
        _ if !is_hostname(name) && claims.is_empty() => return None,
        _ if !is_hostname(name) => State::Invalid,
        _ if ledger.waits(name) => State::Waiting,
        _ if ledger.has_member(name) => State::Member,
        None => State::Waiting,
        Some(Value::Member) => State::Member,
        Some(Value::Retired) => State::Retired,
        Some(_) if place.is_some() => State::Queued,
        Some(_) if turn.is_some_and(|turn| turn.host == name) => State::LetIn,
        Some(_) => State::Token,
    };
    let key = mirror_key(name);
    let token = ledger.mirror.get(name).and_then(Value::text);
    let shows = |bag: &Databag| token.is_some() && bag.get(&key).map(String::as_str) == token;
    let giver = minters.iter().find(|(_, bag)| shows(bag));
    let others = world.relations.iter().filter_map(|(id, relation)| {
        let kept = Value::from(relation.own_unit.as_ref()?.get(&key)?.as_str());
        let other = kept
            .text()
            .filter(|kept| token.is_some_and(|token| token != *kept))?;
        Some(Other {
            relation: id.0,
            fingerprint: fingerprint(other),
        })
    });
    let living = claims
        .iter()
        .filter(|claim| !claim.is_gone && !world.is_gone(&claim.unit));
    Some(Host {
        host: printable(name),
        state,
        announced_by: living.map(|claim| claim.unit.to_string()).collect(),
        given_by: giver.map(|(unit, _)| unit.to_string()),
        fingerprint: token.map(fingerprint),
        behind: place.map(|before| before + usize::from(turn.is_some())),
        spent: ledger.spent.get(name).map_or(0, Vec::len),
        other_values: others.collect(),
        help: needs_help(ledger, name),
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
    let rows: Vec<_> = [head].into_iter().chain(hosts.iter().map(line)).collect();
    columns(&rows)
}

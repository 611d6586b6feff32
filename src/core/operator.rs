//! What an operator asks for: to take a token away, or to begin anew. Only these, and the word of a
//! host that its token was refused, take a real value away.

use crate::core::everything;
use crate::core::evidence::World;
use crate::core::fingerprint::fingerprint;
use crate::core::learn::Learned;
use crate::core::ledger::{Because, Claim, Ledger};
use crate::core::names::UnitName;
use crate::core::note::Note;
use crate::core::wire::{self, MEMBER, MIRROR, Value, is_hostname, printable};

/// Whether it is done although a living unit speaks against it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Force {
    /// No.
    No,
    /// Yes: the operator knows better.
    Yes,
}

/// What an operator orders. Only the leader can carry it out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Order {
    /// Reconcile everything now.
    Resync,
    /// Take a host's token away.
    Retire {
        /// The host.
        host: String,
        /// Whether a living unit may lose it.
        force: Force,
    },
    /// Say whether a host is in the cluster.
    Resolve {
        /// The host.
        host: String,
        /// Whether it is.
        is_member: bool,
    },
    /// Empty the ledger.
    Forget {
        /// Whether a unit may say that it is a member.
        force: Force,
    },
}

/// Why an order is not carried out, as an operator is told it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// Another unit of this application leads.
    #[error("this unit is not leader: run {0} on {1}/leader")]
    NotLeader(&'static str, String),
    /// The mirror has no such host.
    #[error("no host {:?} in the mirror: show-mirror lists the hosts", printable(.0))]
    NoHost(String),
    /// A living unit announces the host, and may still need its token.
    #[error(
        "{host} is announced by {1}, which may still need its token: force=true overrides",
        host = printable(.0)
    )]
    Announced(String, UnitName),
    /// No unit announces the host any more.
    #[error("no unit announces {}: retire-host removes its token", printable(.0))]
    NotAnnounced(String),
    /// The unit knows better.
    #[error("{0} says itself that it is a member of the cluster: remove the unit first")]
    SaysMember(UnitName),
    /// A cluster may still be there.
    #[error("{0} is a member of the cluster: force=true forgets its cluster all the same")]
    IsMember(UnitName),
}

impl Order {
    /// The name of its action.
    pub fn name(&self) -> &'static str {
        match self {
            Order::Resync => "resync",
            Order::Retire { .. } => "retire-host",
            Order::Resolve { .. } => "resolve-host",
            Order::Forget { .. } => "forget",
        }
    }

    /// Carries it out. `learned` is everything that `world` shows to `unit`.
    ///
    /// # Errors
    /// Why it is not carried out; then nothing is to be written.
    pub fn carry_out(
        &self,
        learned: Learned,
        world: &World,
        unit: &UnitName,
    ) -> Result<(Learned, Outcome), Refused> {
        let ledger = &learned.ledger;
        let (host, (after, outcome)) = match self {
            Order::Resync => return Ok((learned, Outcome::Unchanged)),
            Order::Forget { force } => {
                let forgotten = forget(ledger, world, unit, *force)?;
                return Ok((forgotten, Outcome::Forgotten));
            }
            Order::Retire { host, force } => (host, retire(ledger, world, host, *force)?),
            Order::Resolve { host, is_member } => (host, resolve(ledger, world, host, *is_member)?),
        };
        let mut learned = match outcome {
            // The next token may be in a bag that will not change again.
            Outcome::Renewed => {
                let again = everything::learned(&after, world, unit);
                let notes = [learned.notes, again.notes].concat();
                Learned { notes, ..again }
            }
            _ => Learned {
                ledger: after,
                ..learned
            },
        };
        if outcome != Outcome::Unchanged {
            let host = printable(host);
            let outcome = outcome.as_str();
            let note = Note::info(format!("host {host}: {outcome} by an operator"));
            learned.notes.push(note);
        }
        Ok((learned, outcome))
    }
}

/// What became of a host's key, or of the ledger.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It has the constant `retired`.
    Retired,
    /// It has a placeholder: the unit that has the name now gets a token of its own.
    Renewed,
    /// It went: it had no value, and no unit announces the host.
    Removed,
    /// It has the constant `member`.
    Member,
    /// It was as it should be.
    Unchanged,
    /// The ledger was emptied.
    Forgotten,
}

impl Outcome {
    /// The word for it.
    pub fn as_str(self) -> &'static str {
        match self {
            Outcome::Retired => "retired",
            Outcome::Renewed => "renewed",
            Outcome::Removed => "removed",
            Outcome::Member => "member",
            Outcome::Unchanged => "unchanged",
            Outcome::Forgotten => "forgotten",
        }
    }
}

/// Takes the token of `host` away: it was used, has expired, or its host is gone. `ledger` has
/// learned everything in `world`.
///
/// A key that just went would come back as a placeholder, and then as another token; so a constant
/// takes the place of the token. The first unit that announced the name is taken for the one that
/// used the token. If it is gone and another has the name, that one gets a new token. A token that
/// was refused was used by nobody.
///
/// # Errors
/// When the host is unknown, or a living unit announces it and `force` does not say otherwise.
pub fn retire(
    ledger: &Ledger,
    world: &World,
    host: &str,
    force: Force,
) -> Result<(Ledger, Outcome), Refused> {
    let Some(held) = ledger.mirror.get(host) else {
        return Err(Refused::NoHost(host.to_owned()));
    };
    let mut after = ledger.clone();
    let was_used = held
        .text()
        .is_none_or(|token| !ledger.is_spent(host, token));
    after.spend(host);
    let claims = after.hosts.entry(host.to_owned()).or_default();
    if let (true, Some(first)) = (was_used, claims.first_mut()) {
        first.member.get_or_insert(Because::OperatorSays);
        first.refuses = None;
    }
    claims.retain(|claim| !claim.is_gone && !world.is_gone(&claim.unit));
    if let (Some(claim), Force::No) = (claims.first(), force) {
        return Err(Refused::Announced(host.to_owned(), claim.unit.clone()));
    }
    let is_announced = !claims.is_empty();
    let has_member = claims.iter().any(Claim::is_member);
    if !is_announced {
        after.hosts.remove(host);
    }
    after.end_refusals(host);
    let (outcome, value) = match held {
        Value::Placeholder if !is_announced => (Outcome::Removed, None),
        Value::Retired => (Outcome::Unchanged, Some(Value::Retired)),
        _ if is_announced && !has_member => (Outcome::Renewed, Some(Value::Placeholder)),
        _ => (Outcome::Retired, Some(Value::Retired)),
    };
    match value {
        Some(value) => drop(after.mirror.insert(host.to_owned(), value)),
        None => drop(after.mirror.remove(host)),
    }
    Ok((after, outcome))
}

/// Whether `host` is in the cluster, by the word of an operator: a name that a second unit announced
/// after the first was gone may be that of the same machine or of another. `ledger` has learned
/// everything in `world`.
///
/// If it is, its name becomes `member`. If it is not, its token is renewed.
///
/// # Errors
/// When no unit announces the host, or one says itself that it is a member and the operator not.
pub fn resolve(
    ledger: &Ledger,
    world: &World,
    host: &str,
    is_member: bool,
) -> Result<(Ledger, Outcome), Refused> {
    if !ledger.mirror.contains_key(host) || !is_hostname(host) {
        return Err(Refused::NoHost(host.to_owned()));
    }
    let mut after = ledger.clone();
    let claims = after.hosts.entry(host.to_owned()).or_default();
    claims.retain(|claim| !claim.is_gone && !world.is_gone(&claim.unit));
    let says_so = |claim: &&Claim| {
        let mut bags = world
            .relations
            .values()
            .filter_map(|relation| relation.units.get(&claim.unit));
        bags.any(|bag| bag.contains_key(MEMBER) || bag.contains_key(MIRROR))
    };
    if !is_member && let Some(claim) = claims.iter().find(says_so) {
        return Err(Refused::SaysMember(claim.unit.clone()));
    }
    if claims.is_empty() {
        return Err(Refused::NotAnnounced(host.to_owned()));
    }
    // A cluster has each name once: all who claim one that is in it are one machine, in a relation
    // that Juju goes on listing, too.
    for claim in &mut *claims {
        claim.member = is_member.then_some(Because::OperatorSays);
        claim.refuses = None;
    }
    if is_member {
        after.mirror.insert(host.to_owned(), Value::Member);
        after.end_refusals(host);
        return Ok((after, Outcome::Member));
    }
    after.spend(host);
    // The ledger has forgotten a token that was taken for used, and its communicator has it still.
    if !matches!(ledger.mirror.get(host), Some(Value::Text(_))) {
        let units = world
            .relations
            .values()
            .flat_map(|relation| relation.units.values());
        let offers = units
            .filter(|bag| wire::is_up(bag))
            .flat_map(wire::mirror_values);
        for (name, value) in offers {
            if let (true, Value::Text(token)) = (name == host, Value::from(value)) {
                after.spend_fingerprint(host, fingerprint(&token));
            }
        }
    }
    after.mirror.insert(host.to_owned(), Value::Placeholder);
    Ok((after, Outcome::Renewed))
}

/// Empties the ledger for a cluster that is lost as a whole, and learns anew what the units say.
/// `ledger` has learned everything in `world`.
///
/// # Errors
/// When a unit is a member, unless `force` says otherwise.
pub fn forget(
    ledger: &Ledger,
    world: &World,
    own_unit: &UnitName,
    force: Force,
) -> Result<Learned, Refused> {
    let mut claims = ledger.hosts.values().flatten();
    let member = claims.find(|claim| claim.is_member() && !world.is_gone(&claim.unit));
    if let (Some(member), Force::No) = (member, force) {
        return Err(Refused::IsMember(member.unit.clone()));
    }
    let mut units_alone = world.clone();
    for relation in units_alone.relations.values_mut() {
        relation.own_app = None;
        relation.own_unit = None;
        relation.siblings.clear();
    }
    let mut learned = everything::learned(&ledger.emptied(), &units_alone, own_unit);
    let note = Note::info("the ledger is emptied by an operator");
    learned.notes.insert(0, note);
    Ok(learned)
}

//! What an operator asks for: to take a token away, or to begin anew. Only these, and the word of a
//! host that its token was refused, take a real value away.

use crate::core::fingerprint::fingerprint;
use crate::core::learn::{self, Learned};
use crate::core::ledger::{Claim, Ledger};
use crate::core::names::UnitName;
use crate::core::wire::{self, MEMBER, MIRROR, Value, is_hostname};
use crate::core::world::World;

/// Whether it is done although a living unit speaks against it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Force {
    /// No.
    No,
    /// Yes: the operator knows better.
    Yes,
}

/// What became of a host's key.
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
        }
    }
}

/// Why a host cannot be retired.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NotRetired {
    /// The mirror has no such host.
    Unknown,
    /// A living unit announces it.
    Announced(UnitName),
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
) -> Result<(Ledger, Outcome), NotRetired> {
    let Some(held) = ledger.mirror.get(host) else {
        return Err(NotRetired::Unknown);
    };
    let mut after = ledger.clone();
    let was_used = held
        .text()
        .is_none_or(|token| !ledger.is_spent(host, token));
    after.spend(host);
    let claims = after.hosts.entry(host.to_owned()).or_default();
    if let (true, Some(first)) = (was_used, claims.first_mut()) {
        first.is_member = true;
        first.refuses = None;
    }
    claims.retain(|claim| !claim.is_gone && !world.is_gone(&claim.unit));
    if let (Some(claim), Force::No) = (claims.first(), force) {
        return Err(NotRetired::Announced(claim.unit.clone()));
    }
    let is_announced = !claims.is_empty();
    let has_member = claims.iter().any(|claim| claim.is_member);
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

/// Why it cannot be said whether a host is in the cluster.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NotResolved {
    /// The mirror has no such host.
    Unknown,
    /// No unit announces it any more.
    NotAnnounced,
    /// A unit says itself that it is in the cluster under this name.
    IsMember(UnitName),
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
) -> Result<(Ledger, Outcome), NotResolved> {
    if !ledger.mirror.contains_key(host) || !is_hostname(host) {
        return Err(NotResolved::Unknown);
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
        return Err(NotResolved::IsMember(claim.unit.clone()));
    }
    if claims.is_empty() {
        return Err(NotResolved::NotAnnounced);
    }
    let knows_member = is_member && claims.iter().any(|claim| claim.is_member);
    for claim in &mut *claims {
        claim.is_member &= is_member;
        claim.refuses = None;
    }
    if let Some(first) = claims.first_mut().filter(|_| !knows_member) {
        first.is_member = is_member;
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
/// The unit that says that it is a member, unless `force` says otherwise.
pub fn forget(
    ledger: &Ledger,
    world: &World,
    own_unit: &UnitName,
    force: Force,
) -> Result<Learned, UnitName> {
    let mut claims = ledger.hosts.values().flatten();
    let member = claims.find(|claim| claim.is_member && !world.is_gone(&claim.unit));
    if let (Some(member), Force::No) = (member, force) {
        return Err(member.unit.clone());
    }
    let mut units_alone = world.clone();
    for relation in units_alone.relations.values_mut() {
        relation.own_app = None;
        relation.own_unit = None;
        relation.siblings.clear();
    }
    Ok(learn::everything(
        &learn::emptied(ledger),
        &units_alone,
        own_unit,
    ))
}

//! What the second protocol adds on the distributor's side. Without it the rest of the core is the
//! first protocol: it calls the functions of this file and nothing else of it.
//!
//! A consumer says which name it has in the cluster (`member`) and which token did not serve
//! (`refused`). We say which tokens no longer serve (`spent-<hostname>`), and to each application
//! whether it may bootstrap (`may-bootstrap`).

use crate::core::bootstrap::may_bootstrap;
use crate::core::fingerprint::{fingerprint, is_fingerprint};
use crate::core::ledger::{Ledger, Protocol};
use crate::core::names::UnitName;
use crate::core::wire::{
    Databag, MAY_BOOTSTRAP, MEMBER, PROTOCOL, REFUSED, SECOND, SPENT_PREFIX, Value,
};

/// The name under which the unit that wrote `bag` is in the cluster.
pub fn member_name(bag: &Databag) -> Option<&str> {
    bag.get(MEMBER).map(String::as_str)
}

/// The fingerprint of the token that did not serve the unit that wrote `bag`.
///
/// A unit says it once and leaves it there, so it is noted whatever the mirror holds: a communicator
/// that has not heard of it may offer that token again. It counts only while the mirror holds that
/// token.
pub fn refused(bag: &Databag) -> Option<&String> {
    bag.get(REFUSED).filter(|refused| is_fingerprint(refused))
}

impl Ledger {
    /// Whether this value of `name` is known not to serve.
    pub fn is_spent(&self, name: &str, value: &str) -> bool {
        self.is_spent_fingerprint(name, &fingerprint(value))
    }

    /// The same of a fingerprint.
    pub fn is_spent_fingerprint(&self, name: &str, print: &String) -> bool {
        let spent = self.spent.get(name);
        spent.is_some_and(|spent| spent.contains(print))
    }

    /// Whether `offered` takes the place of the spent value that is held under `name`.
    pub fn replaces_spent(&self, name: &str, held: &Value, offered: &Value) -> bool {
        match (held, offered) {
            (Value::Text(held), Value::Text(offered)) => {
                self.is_spent(name, held) && !self.is_spent(name, offered)
            }
            _ => false,
        }
    }

    /// Whether the mirror holds the token with this fingerprint for `name`.
    pub fn holds(&self, name: &str, print: &String) -> bool {
        matches!(self.mirror.get(name), Some(Value::Text(token)) if fingerprint(token) == *print)
    }

    /// The unit that claims `name` and refuses the token that the mirror holds.
    pub fn refusing(&self, name: &str) -> Option<&UnitName> {
        let mut claims = self.hosts.get(name).into_iter().flatten();
        let refuses_it = |print: &String| self.holds(name, print);
        let claim = claims.find(|claim| claim.refuses.as_ref().is_some_and(refuses_it));
        claim.map(|claim| &claim.unit)
    }

    /// Notes that the token of `name` no longer serves.
    pub fn spend(&mut self, name: &str) {
        if let Some(Value::Text(token)) = self.mirror.get(name) {
            let print = fingerprint(token);
            self.spend_fingerprint(name, print);
        }
    }

    /// The same of any token of `name`.
    pub fn spend_fingerprint(&mut self, name: &str, print: String) {
        if !self.is_spent_fingerprint(name, &print) {
            for claim in self.hosts.get_mut(name).into_iter().flatten() {
                claim.refuses.take_if(|refused| *refused == print);
            }
            self.spent.entry(name.to_owned()).or_default().push(print);
        }
    }

    /// Forgets the spent tokens of `name` once each unit that claims it is its member: nobody tries a
    /// token any more.
    pub fn end_refusals(&mut self, name: &str) {
        let mut claims = self.hosts.get(name).into_iter().flatten();
        if claims.all(|claim| claim.is_member) {
            self.spent.remove(name);
        }
    }

    /// Why a person must look at the host of this name, if so. It stays so until the host is a
    /// member or nobody claims the name, whatever is shown meanwhile.
    pub fn needs_help(&self, name: &str) -> Option<Help> {
        let tokens = self.spent.get(name)?.len();
        let mut speak = self.communicators.values();
        let nobody_mints_again =
            !self.communicators.is_empty() && speak.all(|speaks| *speaks == Protocol::First);
        match tokens {
            _ if self.has_member(name) || self.claimants(name).next().is_none() => None,
            _ if self.waits(name) && nobody_mints_again => Some(Help::NobodyMintsAgain),
            0 | 1 => None,
            tokens => Some(Help::NoTokenServes { tokens }),
        }
    }
}

/// What a person must know of a host whose tokens were refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Help {
    /// Two tokens and more did not serve. The charm cannot see why, and the host's own log says it.
    NoTokenServes {
        /// How many.
        tokens: usize,
    },
    /// The communicator speaks the first protocol, and its library mints one token for a name.
    NobodyMintsAgain,
}

/// What the own application bag of a relation with `app` says of the second protocol.
pub fn application_keys(
    ledger: &Ledger,
    app: &str,
) -> impl Iterator<Item = (&'static str, &'static str)> + use<> {
    let word = may_bootstrap(ledger, app).map(|may| if may { "true" } else { "false" });
    let may = word.map(|word| (MAY_BOOTSTRAP, word));
    std::iter::once((PROTOCOL, SECOND)).chain(may)
}

/// What an own unit bag says of tokens that no longer serve.
pub fn unit_keys(ledger: &Ledger) -> impl Iterator<Item = (String, String)> {
    let spent = ledger.spent.iter();
    spent.map(|(name, fingerprints)| ([SPENT_PREFIX, name].concat(), fingerprints.join(" ")))
}

/// Whether a key of an own bag is one of those that this file writes.
pub fn is_ours(key: &str) -> bool {
    key == PROTOCOL || key == MAY_BOOTSTRAP || key.starts_with(SPENT_PREFIX)
}

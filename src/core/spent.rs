//! Tokens that no longer serve (second protocol): a host says which it tried in vain, the ledger
//! keeps the fingerprints, and each makes room for the next token.

use crate::core::fingerprint::{fingerprint, is_fingerprint};
use crate::core::ledger::{Claim, Ledger};
use crate::core::names::UnitName;
use crate::core::wire::{Databag, REFUSED, Value};

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
        if claims.all(Claim::is_member) {
            self.spent.remove(name);
        }
    }
}

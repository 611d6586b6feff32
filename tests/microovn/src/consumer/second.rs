//! The consumer of the second protocol: one pass from the present state, in every event.
//!
//! [`View`] is what one relation shows, and answers every question about it without asking anybody.
//! The pass asks it, runs the snap's commands, and writes the own bag once, at the end.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::ControlFlow;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::host::Standing;
use super::model::{MIRROR_PREFIX, PLACEHOLDER, mirror_key, mirrored};
use super::{BOOTSTRAP_APP, Charm, Crash, Databag, ENDPOINT};
use crate::microcluster::is_valid_name;

/// What a distributor of the second protocol shows for a host that needs no token.
const CONSTANTS: [&str; 2] = ["member", "retired"];
/// After the second failure of a token; every further one doubles it.
const FIRST_PAUSE: u64 = 5 * 60;
const LONGEST_PAUSE: u64 = 6 * 60 * 60;
/// How often a member that is still `PENDING` waits a second for its first heartbeat.
const PATIENCE: u32 = 30;

/// The token is refused for good, as far as its host can see.
const REFUSED: u32 = 2;

/// How a token fared.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tried {
    /// How often joining with it failed.
    pub failures: u32,
    /// When it failed last.
    pub last: u64,
}

impl Tried {
    /// A refused token is tried on, but only at update-status, and with longer and longer pauses.
    fn is_due(self, now: u64, at_update_status: bool) -> bool {
        let Some(doublings) = self.failures.checked_sub(REFUSED) else {
            return true;
        };
        let pause = (FIRST_PAUSE << doublings.min(16)).min(LONGEST_PAUSE);
        // A clock that was set back makes no host wait for longer.
        let since = now.checked_sub(self.last);
        at_update_status && since.is_none_or(|since| since >= pause)
    }
}

/// A short text by which tokens can be compared without showing them: FNV-1a, folded to 32 bits.
pub fn fingerprint(value: &str) -> String {
    let hash = value.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    });
    format!("{:08x}", (hash >> 32) ^ (hash & 0xffff_ffff))
}

/// What one relation shows, and what this unit says in it.
struct View {
    own: Arc<Databag>,
    /// Of every unit of the distributor.
    units: Vec<Arc<Databag>>,
    /// Of the distributor's application.
    app: Arc<Databag>,
}

impl View {
    fn up(&self) -> impl Iterator<Item = &Databag> {
        self.units.iter().map(|bag| &**bag).filter(|bag| is_up(bag))
    }

    /// What the mirrors show for a name.
    fn shown(&self, name: &str) -> impl Iterator<Item = &str> {
        let key = mirror_key(name);
        self.up()
            .filter_map(move |bag| bag.get(&key).map(String::as_str))
    }

    /// By the word of any mirror.
    fn is_spent(&self, name: &str, value: &str) -> bool {
        let (key, fingerprint) = (format!("spent-{name}"), fingerprint(value));
        let mut lists = self.up().filter_map(|bag| bag.get(&key));
        lists.any(|list| list.split_whitespace().any(|spent| spent == fingerprint))
    }

    fn shows_member(&self, name: &str) -> bool {
        self.shown(name).any(|value| CONSTANTS.contains(&value))
    }

    /// A value that serves is shown for the name.
    fn shows_live_value(&self, name: &str) -> bool {
        self.shown(name)
            .any(|value| value != PLACEHOLDER && !self.is_spent(name, value))
    }

    /// Some unit, its mirror up or not, shows a real value.
    fn shows_a_cluster(&self) -> bool {
        let mut values = self.units.iter().flat_map(|bag| mirrored(bag));
        values.any(|(_, _, value)| value != PLACEHOLDER)
    }

    fn permits_bootstrap(&self, own_app: &str) -> bool {
        match self.app.get("may-bootstrap").map(String::as_str) {
            Some("true") => true,
            Some("false") => false,
            _ => self
                .app
                .get(BOOTSTRAP_APP)
                .is_some_and(|app| app == own_app),
        }
    }

    /// The tokens shown for a name, with their fingerprints.
    fn tokens(&self, name: &str) -> Vec<(String, &str)> {
        let tokens = self.shown(name).filter(|value| is_token(value));
        tokens.map(|token| (fingerprint(token), token)).collect()
    }

    /// What to join with next: a token that no up unit calls spent, then the one that failed least.
    fn best_token(
        &self,
        name: &str,
        tried: &BTreeMap<String, Tried>,
    ) -> Option<(String, &str, Tried)> {
        let tokens = self.tokens(name).into_iter().map(|(fingerprint, token)| {
            let fared = tried.get(&fingerprint).copied().unwrap_or_default();
            (fingerprint, token, fared)
        });
        tokens.min_by_key(|(_, token, fared)| {
            (self.is_spent(name, token), fared.failures, fared.last)
        })
    }

    /// The names for which the communicator owes a token.
    fn to_mint(&self) -> BTreeSet<&str> {
        let names: BTreeSet<&str> = self
            .up()
            .flat_map(mirrored)
            .map(|(_, name, _)| name)
            .collect();
        let owed = |name: &&str| {
            let unanswered = |value: &str| value == PLACEHOLDER || self.is_spent(name, value);
            let own = self.own.get(&mirror_key(name));
            is_valid_name(name)
                && self.shown(name).all(unanswered)
                && own.is_none_or(|value| unanswered(value))
        };
        names.into_iter().filter(owed).collect()
    }

    /// The own keys that a distributor of the second protocol no longer needs.
    fn outlived(&self) -> impl Iterator<Item = &str> {
        let second = self
            .app
            .get("protocol")
            .is_some_and(|version| version == "2");
        let own = mirrored(&self.own);
        own.filter(move |(_, name, value)| {
            let replaced = self.is_spent(name, value) && self.shows_live_value(name);
            second && (replaced || self.shows_member(name))
        })
        .map(|(key, _, _)| key)
    }
}

fn is_up(bag: &Databag) -> bool {
    bag.get("mirror").is_some_and(|mirror| mirror == "up")
}

fn is_token(value: &str) -> bool {
    // What begins with a dash would be an option to the command.
    value != PLACEHOLDER && !CONSTANTS.contains(&value) && !value.starts_with('-')
}

impl Charm<'_> {
    /// One pass over every relation to a distributor; there is one, or none.
    pub(super) fn pass(&mut self, at_update_status: bool) -> Result<(), Crash> {
        // An earlier revision of the charm may have left some; the pass does what they were for.
        self.state.deferred.clear();
        for relation in self.model.relation_ids(ENDPOINT)? {
            self.pass_relation(&relation, at_update_status)?;
        }
        self.update_status()
    }

    fn pass_relation(&mut self, relation: &str, at_update_status: bool) -> Result<(), Crash> {
        let view = View {
            own: self.model.own_bag(relation)?,
            units: self.model.unit_bags_by_name(relation)?,
            app: self.model.remote_app_bag(relation)?,
        };
        let hostname = self.model.host.hostname();
        let mut bag = (*view.own).clone();
        bag.insert("hostname".to_owned(), hostname.clone());
        bag.insert("protocol".to_owned(), "2".to_owned());
        let entered = !self.state.in_cluster;
        if !self.state.in_cluster {
            self.bootstrap(&view)?;
        }
        if !self.state.in_cluster {
            self.join(&view, &hostname, at_update_status);
        }
        // The mirror says of who lost its note that it is a member.
        if !self.state.in_cluster && view.shown(&hostname).any(|value| value == "member") {
            self.state.in_cluster = self.cluster_answers();
        }
        if self.state.in_cluster {
            self.state.tried.clear();
            bag.remove("refused");
            bag.insert("member".to_owned(), hostname);
        } else if let Some(refused) = self.refused(&view, &hostname) {
            bag.insert("refused".to_owned(), refused);
        }
        for key in view.outlived() {
            bag.remove(key);
        }
        // The list asks every member, and at update-status every member would ask for it.
        let has_part = !view.to_mint().is_empty() || is_up(&bag);
        let standing = match at_update_status && !has_part && !entered {
            true => None,
            false => self.standing(),
        };
        match standing {
            Some(Standing::Communicator) => {
                bag.insert("mirror".to_owned(), "up".to_owned());
                self.mint_all(&view, &mut bag);
            }
            Some(Standing::Other) => lower_mirror(&view, &mut bag),
            Some(Standing::Pending) | None => {}
        }
        self.model.replace_own(relation, &bag)
    }

    /// Rule 2. Leadership is asked for again after the snap's command, which may have taken long.
    fn bootstrap(&mut self, view: &View) -> Result<(), Crash> {
        let is_due = view.up().next().is_some()
            && !view.shows_a_cluster()
            && view.permits_bootstrap(self.model.own_app()?)
            && self.model.is_leader()?;
        if !is_due {
            return Ok(());
        }
        if self.cluster_answers() {
            self.state.in_cluster = true;
        } else if self.model.is_leader_still()? {
            let bootstrapped = self.model.host.microovn(&["cluster", "bootstrap"]).status == 0;
            self.state.in_cluster = bootstrapped || self.cluster_answers();
            if !self.state.in_cluster {
                self.model.log("ERROR", "unable to bootstrap cluster");
            }
        }
        Ok(())
    }

    /// Rule 3.
    fn join(&mut self, view: &View, hostname: &str, at_update_status: bool) {
        let now = self.model.host.now();
        let Some((fingerprint, token, fared)) = view.best_token(hostname, &self.state.tried) else {
            return;
        };
        if !fared.is_due(now, at_update_status) {
            return;
        }
        let joined = self.cluster_answers()
            || self.model.host.microovn(&["cluster", "join", token]).status == 0
            || self.cluster_answers();
        if joined {
            self.state.in_cluster = true;
            return;
        }
        let line = format!("joining cluster failed with token {fingerprint}");
        self.model.log("ERROR", &line);
        let failed = Tried {
            failures: fared.failures + 1,
            last: now,
        };
        let tried = &mut self.state.tried;
        tried.insert(fingerprint, failed);
        let shown: BTreeSet<String> = view
            .tokens(hostname)
            .into_iter()
            .map(|(it, _)| it)
            .collect();
        tried.retain(|fingerprint, _| shown.contains(fingerprint));
    }

    /// The fingerprint of the token that was refused last, of those that are shown.
    fn refused(&self, view: &View, hostname: &str) -> Option<String> {
        let tokens = view.tokens(hostname).into_iter();
        let tried = tokens.filter_map(|(fingerprint, _)| {
            let tried = self.state.tried.get(&fingerprint)?;
            (tried.failures >= REFUSED).then_some((tried.last, fingerprint))
        });
        tried.max().map(|(_, fingerprint)| fingerprint)
    }

    /// Rule 4: what this member is in its cluster, once it has seen a heartbeat; nothing where the
    /// cluster cannot say now.
    fn standing(&mut self) -> Option<Standing> {
        if !self.state.in_cluster {
            return None;
        }
        for _ in 0..PATIENCE {
            match self.model.host.standing().ok()? {
                Standing::Pending => match self.model.host.wait_for_pending() {
                    ControlFlow::Continue(()) => {}
                    ControlFlow::Break(()) => return None,
                },
                settled => return Some(settled),
            }
        }
        None
    }

    /// Rule 5. A refusal changes nothing: the distributor's nudge runs another hook.
    fn mint_all(&mut self, view: &View, bag: &mut Databag) {
        for name in view.to_mint() {
            let output = self.model.host.microovn(&["cluster", "add", name]);
            let token = String::from_utf8_lossy(&output.stdout).trim().to_owned();
            if output.status == 0 && !token.is_empty() {
                bag.insert(mirror_key(name), token);
                self.model.log("INFO", &format!("added token for {name}"));
            } else {
                let line = format!("no token for {name}, code {}", output.status);
                self.model.log("INFO", &line);
            }
        }
    }
}

/// Rule 6: a former communicator stays up until everything it has is shown.
fn lower_mirror(view: &View, bag: &mut Databag) {
    let is_shown = |name| view.shown(name).any(|value| value != PLACEHOLDER);
    let mut names = bag.keys().filter_map(|key| key.strip_prefix(MIRROR_PREFIX));
    let all_shown = names.all(is_shown);
    if let Some(mirror) = bag.get_mut("mirror")
        && all_shown
    {
        *mirror = "down".to_owned();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fingerprints_are_those_of_the_distributor() {
        for (value, expected) in [("", "4fd0bfc1"), ("a", "296230c0"), ("foobar", "72ad2699")] {
            assert_eq!(fingerprint(value), expected, "{value:?}");
        }
    }

    #[test]
    fn pauses_double_from_five_minutes_to_six_hours() {
        for (failures, pause) in [(2, 300), (3, 600), (8, 19_200), (9, 21_600), (90, 21_600)] {
            let tried = Tried { failures, last: 50 };
            assert!(!tried.is_due(50 + pause - 1, true), "{failures}");
            assert!(tried.is_due(50 + pause, true), "{failures}");
            assert!(!tried.is_due(50 + pause, false), "{failures}");
        }
        assert!(
            Tried {
                failures: 1,
                last: 50
            }
            .is_due(50, false)
        );
    }
}

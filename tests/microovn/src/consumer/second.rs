//! The consumer of the second protocol: one pass from the present state, in every event.
//!
//! [`View`] is what one relation shows, and answers every question about it without asking anybody.
//! The pass asks it, runs the snap's commands, and writes the own bag once, at the end.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::host::{Own, Standing};
use super::model::{MIRROR_PREFIX, PLACEHOLDER, Status, mirror_key, mirrored};
use super::{BOOTSTRAP_APP, Charm, Crash, Databag, ENDPOINT};
use crate::microcluster::is_valid_name;

/// What a distributor of the second protocol shows for a host that needs no token.
const CONSTANTS: [&str; 2] = ["member", "retired"];
/// Of a host that is refused; every further one doubles it.
const FIRST_PAUSE: u64 = 5 * 60;
const LONGEST_PAUSE: u64 = 6 * 60 * 60;

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
        at_update_status && pause_is_over(doublings, self.last, now)
    }
}

/// What a unit said last in `refused`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Refusal {
    /// Of the token.
    pub fingerprint: String,
    /// How many tokens the host has refused since it is outside the cluster.
    pub count: u32,
    /// When it said so.
    pub last: u64,
}

fn pause_is_over(doublings: u32, since: u64, now: u64) -> bool {
    let pause = (FIRST_PAUSE << doublings.min(16)).min(LONGEST_PAUSE);
    // A clock that was set back makes no host wait for longer.
    let passed = now.checked_sub(since);
    passed.is_none_or(|passed| passed >= pause)
}

/// What `cluster list` said in this pass.
enum Listing {
    NotAsked,
    /// It says nothing.
    Failed,
    Shown(Standing),
}

impl Listing {
    fn own(&self) -> Option<Own> {
        match self {
            Listing::Shown(standing) => Some(standing.own),
            Listing::NotAsked | Listing::Failed => None,
        }
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
            match self.pass_relation(&relation, at_update_status) {
                // Juju lists it and no longer serves it, in whatever words: the next one is served.
                Err(Crash::Refused { tool, .. }) if tool.starts_with("relation-") => {
                    let line = format!("{tool} is refused for {relation}");
                    self.model.log("INFO", &line);
                }
                passed => passed?,
            }
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
        let was_in = self.state.in_cluster;
        let mut listing = Listing::NotAsked;
        if !was_in {
            listing = self.enter(&view, &hostname, at_update_status, &mut bag)?;
        }
        if self.state.in_cluster {
            self.state.tried.clear();
            self.state.refusal = None;
            bag.remove("refused");
            bag.insert("member".to_owned(), hostname.clone());
            for key in view.outlived() {
                bag.remove(key);
            }
            if let Listing::NotAsked = listing {
                listing = self.list();
                // The daemon of a host that has just come in may be behind for a moment.
                self.state.half_in &= was_in;
            }
            match (listing, self.state.half_in) {
                (Listing::Shown(_), true) => self.state.in_cluster = false,
                (Listing::Shown(standing), false) => {
                    self.serve(&view, &hostname, &standing, &mut bag);
                }
                (Listing::Failed | Listing::NotAsked, _) => {}
            }
        }
        if self.state.half_in {
            bag.remove("member");
            lower_mirror(&view, &mut bag);
        }
        self.model.replace_own(relation, &bag)
    }

    /// Rules 1 to 3. The list is asked before an attempt and after one that failed; where it works,
    /// the daemon has a database, and takes no bootstrap and no join.
    fn enter(
        &mut self,
        view: &View,
        hostname: &str,
        at_update_status: bool,
        bag: &mut Databag,
    ) -> Result<Listing, Crash> {
        let now = self.model.host.now();
        let bootstraps = self.may_bootstrap(view)?;
        let token = view
            .best_token(hostname, &self.state.tried)
            .filter(|(_, _, fared)| fared.is_due(now, at_update_status));
        let is_due = bootstraps || token.is_some();
        let asks = is_due || !self.state.tried.is_empty() || self.state.half_in || at_update_status;
        if !asks {
            return Ok(Listing::NotAsked);
        }
        let listing = self.list();
        if !matches!(listing, Listing::Failed) {
            return Ok(listing);
        }
        self.refuse(view, hostname, false, bag);
        if !is_due {
            return Ok(listing);
        }
        let worked = match &token {
            Some((_, token, _)) => self.works(&["cluster", "join", token]),
            // Asked again, after the snap's command that may have taken long.
            None if !self.model.is_leader_still()? => return Ok(listing),
            None => self.works(&["cluster", "bootstrap"]),
        };
        if worked {
            self.state.in_cluster = true;
            self.state.half_in = false;
            return Ok(Listing::NotAsked);
        }
        let deed = match token {
            Some((fingerprint, _, fared)) => {
                let line = format!("joining cluster failed with token {fingerprint}");
                self.note_failure(view, hostname, fingerprint, fared, now);
                line
            }
            None => "unable to bootstrap cluster".to_owned(),
        };
        self.model.log("ERROR", &deed);
        let listing = self.list();
        if let Listing::Failed = listing {
            self.refuse(view, hostname, true, bag);
        }
        Ok(listing)
    }

    /// Rule 2.
    fn may_bootstrap(&mut self, view: &View) -> Result<bool, Crash> {
        Ok(view.up().next().is_some()
            && !view.shows_a_cluster()
            && view.permits_bootstrap(self.model.own_app()?)
            && self.model.is_leader()?)
    }

    fn works(&mut self, command: &[&str]) -> bool {
        self.model.host.microovn(command).status == 0
    }

    /// Asks the list, and notes what it says of this host (rule 1).
    fn list(&mut self) -> Listing {
        let listing = match self.model.host.standing() {
            Ok(standing) => Listing::Shown(standing),
            Err(_) => Listing::Failed,
        };
        self.state.half_in = listing.own() == Some(Own::Absent);
        self.state.in_cluster |= listing.own() == Some(Own::In);
        listing
    }

    /// How a token fared is forgotten when it is no longer shown.
    fn note_failure(
        &mut self,
        view: &View,
        hostname: &str,
        fingerprint: String,
        fared: Tried,
        now: u64,
    ) {
        let failed = Tried {
            failures: fared.failures + 1,
            last: now,
        };
        let tokens = view.tokens(hostname).into_iter();
        let shown: BTreeSet<String> = tokens.map(|(fingerprint, _)| fingerprint).collect();
        self.state.tried.insert(fingerprint, failed);
        self.state.tried.retain(|tried, _| shown.contains(tried));
    }

    /// Rule 3: the first refusal is said at once, each further one after a pause, when a join has just
    /// failed. (Each new token runs a hook of every consumer.)
    fn refuse(&mut self, view: &View, hostname: &str, has_just_failed: bool, bag: &mut Databag) {
        let Some(refused) = self.refused(view, hostname) else {
            return;
        };
        if bag.get("refused") == Some(&refused) {
            return;
        }
        let now = self.model.host.now();
        let said = self.state.refusal.as_ref();
        let is_new = said.is_none_or(|said| said.fingerprint != refused);
        let is_due = said.is_none_or(|said| {
            has_just_failed && pause_is_over(said.count.saturating_sub(1), said.last, now)
        });
        if is_new && !is_due {
            return;
        }
        if is_new {
            self.state.refusal = Some(Refusal {
                fingerprint: refused.clone(),
                count: said.map_or(0, |said| said.count) + 1,
                last: now,
            });
        }
        bag.insert("refused".to_owned(), refused);
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

    /// Rules 4 to 6. While a member is not online every join fails, and the second one ends the
    /// cluster.
    fn serve(&mut self, view: &View, hostname: &str, standing: &Standing, bag: &mut Databag) {
        if !standing.is_communicator(hostname, is_up(bag)) {
            lower_mirror(view, bag);
            return;
        }
        bag.insert("mirror".to_owned(), "up".to_owned());
        if !standing.all_online {
            return;
        }
        for name in view.to_mint() {
            if name != hostname && !standing.members.contains(name) {
                self.mint_for(name, bag);
            }
        }
    }

    /// Rule 5. A refusal changes nothing: the distributor's nudge runs another hook.
    fn mint_for(&mut self, name: &str, bag: &mut Databag) {
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

    /// Leaves the cluster. The command often reports failure where it worked; the list decides.
    pub(super) fn leave(&mut self) -> Result<(), Crash> {
        let hostname = self.model.host.hostname();
        if self.state.in_cluster
            && !self.works(&["cluster", "remove", &hostname])
            && self.list().own().is_some_and(|own| own != Own::Absent)
        {
            let line = format!("failed removing {hostname} from cluster");
            self.model.log("ERROR", &line);
        }
        self.model.set_status(Status::maintenance("Cleanup"))
    }
}

/// Rule 6: a former communicator stays up until everything it has is shown.
fn lower_mirror(view: &View, bag: &mut Databag) {
    let is_shown = |name| view.shown(name).any(|value| value != PLACEHOLDER);
    let mut names = bag.keys().filter_map(|key| key.strip_prefix(MIRROR_PREFIX));
    if is_up(bag) && names.all(is_shown) {
        bag.insert("mirror".to_owned(), "down".to_owned());
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

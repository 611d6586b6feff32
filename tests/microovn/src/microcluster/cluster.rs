//! One cluster: its members, its tokens, who votes.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{Machine, Power, Role, Settings};

#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Cluster {
    pub(super) fingerprint: String,
    /// In the order they joined.
    pub(super) members: Vec<Member>,
    /// By the name they were minted for.
    pub(super) outstanding: BTreeMap<String, Outstanding>,
    pub(super) last_heartbeat: u64,
    /// Joins that have begun and not ended.
    pub(super) joins: Vec<Join>,
    /// Hosts whose command has reported failure and that become members at that second.
    pub(super) late: Vec<(usize, u64)>,
    /// Until when dqlite is busy with those that joined before, in milliseconds.
    pub(super) busy_until: u64,
    /// Hosts that are half in.
    pub(super) half_joined: usize,
    /// Joins that failed because a member was dead; dqlite counts each as a voter.
    pub(super) dead_joins: usize,
    /// Its database is gone for good.
    pub(super) lost: bool,
    /// After the only voter has left, nobody votes until then.
    pub(super) no_voter_before: u64,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Member {
    pub(super) name: String,
    pub(super) machine: usize,
    pub(super) address: String,
    pub(super) role: Role,
    /// When it sees its first heartbeat.
    pub(super) settles: u64,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Outstanding {
    pub(super) secret: String,
    pub(super) expires: u64,
}

/// A join under way; times in milliseconds.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Join {
    pub(super) machine: usize,
    /// When its turn in dqlite ends.
    pub(super) ends: u64,
    /// When its command gives up, or ends well before.
    pub(super) returns: u64,
    /// The most that were under way at any moment of it, itself among them.
    pub(super) crowd: usize,
    /// It cannot end well: a member is dead, or the host is in a wrong network.
    pub(super) hopeless: bool,
    /// The token it took, for whoever has to put it back.
    pub(super) token: Outstanding,
}

impl Cluster {
    pub(super) fn new(fingerprint: String, now: u64) -> Self {
        Cluster {
            fingerprint,
            members: Vec::new(),
            outstanding: BTreeMap::new(),
            last_heartbeat: now,
            joins: Vec::new(),
            late: Vec::new(),
            busy_until: 0,
            half_joined: 0,
            dead_joins: 0,
            lost: false,
            no_voter_before: 0,
        }
    }

    pub(super) fn names(&self) -> Vec<&str> {
        let names = self.members.iter().map(|member| member.name.as_str());
        names.collect()
    }

    /// The first heartbeat after `now`, which may be one that others have seen already.
    pub(super) fn heartbeat_after(&self, now: u64, interval: u64) -> u64 {
        let phase = self.last_heartbeat % interval;
        let beats = (now + interval - phase) / interval;
        beats * interval + phase
    }

    pub(super) fn addresses(&self) -> impl Iterator<Item = &str> {
        self.members.iter().map(|member| member.address.as_str())
    }

    pub(super) fn member(&self, name: &str) -> Option<&Member> {
        self.members.iter().find(|member| member.name == name)
    }

    /// Whether members, trust and dqlite disagree, which v3 looks at (contract 1 and 2).
    pub(super) fn disagrees(&self) -> bool {
        self.half_joined > 0 || self.dead_joins > 0
    }

    /// Whether a majority of the voters lives; while nobody votes yet, whether anybody does
    /// (contract 3, "two of three voters gone").
    pub(super) fn has_leader(&self, machines: &[Machine]) -> bool {
        let lives = |member: &&Member| machines[member.machine].power == Power::On;
        let votes = |member: &&Member| member.role == Role::Voter;
        let voters = self.members.iter().filter(votes).count();
        let living = self.members.iter().filter(votes).filter(lives).count();
        !self.lost
            && match voters {
                0 => self.members.iter().any(|member| lives(&member)),
                voters => 2 * living > voters,
            }
    }

    /// Living members are promoted, oldest first and stand-bys before spares, until there are
    /// enough of each role; a dead one that was replaced loses its role. A dead `PENDING` member
    /// stays what it is and keeps every consumer waiting.
    pub(super) fn hand_out_roles(&mut self, machines: &[Machine], settings: &Settings, now: u64) {
        let alive = |member: &Member| machines[member.machine].power == Power::On;
        for member in self.members.iter_mut().filter(|member| alive(member)) {
            if member.role == Role::Pending && member.settles <= now {
                member.role = Role::Spare;
            }
        }
        if now < self.no_voter_before {
            return;
        }
        // Contract 4: "In a cluster of two the second stays `spare`."
        let (voters, stand_bys) = match self.members.len() {
            0..=2 => (1, 0),
            _ => (settings.voters, settings.stand_bys),
        };
        let wanted = [
            (Role::Voter, voters, [Role::StandBy, Role::Spare].as_slice()),
            (Role::StandBy, stand_bys, &[Role::Spare]),
        ];
        for (role, wanted, from) in wanted {
            let holds = |member: &&mut Member| member.role == role;
            let held = self
                .members
                .iter_mut()
                .filter(holds)
                .filter(|m| alive(m))
                .count();
            let mut vacant = wanted.saturating_sub(held);
            for candidate in from {
                let candidates = self.members.iter_mut().filter(|m| m.role == *candidate);
                for member in candidates.filter(|m| alive(m)).take(vacant) {
                    member.role = role;
                    vacant -= 1;
                }
            }
            if vacant == 0 {
                for member in self.members.iter_mut().filter(holds).filter(|m| !alive(m)) {
                    member.role = Role::Spare;
                }
            }
        }
    }
}

//! Clusters and tokens without time and chance, so that histories that mean the same are equal.
//!
//! Held to [`microovn::microcluster::Cloud`] by a test, for up to three machines: three members all
//! vote, of one or two only the first does; tokens do not expire, no member is pending, because
//! hooks wait for that, and no two joins overlap. Who removes a lost machine's member by force does
//! it at once; where that is not possible, because no majority of the voters would be left, no
//! machine is lost.

use std::collections::{BTreeMap, BTreeSet};

use microovn::consumer::{Census, Standing};

/// A machine, by number.
pub type Machine = u8;

/// The machine's host name.
pub fn hostname(machine: Machine) -> String {
    format!("h{machine}")
}

/// All clusters.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Cloud {
    clusters: Vec<Cluster>,
    dead: BTreeSet<Machine>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
struct Cluster {
    members: BTreeSet<Machine>,
    voters: BTreeSet<Machine>,
    /// The token by which a name can join.
    outstanding: BTreeMap<String, String>,
    /// How many tokens a name was given.
    minted: BTreeMap<String, u8>,
}

impl Cluster {
    fn remove(&mut self, machine: Machine) {
        self.members.remove(&machine);
        self.voters.remove(&machine);
        self.hand_out_votes();
    }

    /// Nobody loses a vote.
    fn hand_out_votes(&mut self) {
        match self.members.len() {
            0..=2 if self.voters.is_empty() => self.voters.extend(self.members.first()),
            0..=2 => {}
            _ => self.voters.clone_from(&self.members),
        }
    }
}

/// A command failed; the consumer does not look why.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Refused;

impl Cloud {
    /// `cluster bootstrap`
    pub fn bootstrap(&mut self, machine: Machine) -> Result<(), Refused> {
        if self.cluster_of(machine).is_some() {
            return Err(Refused);
        }
        self.clusters.push(Cluster {
            members: [machine].into(),
            voters: [machine].into(),
            ..Cluster::default()
        });
        Ok(())
    }

    /// `cluster add NAME`
    pub fn add(&mut self, machine: Machine, name: &str) -> Result<String, Refused> {
        let at = self.cluster_of(machine).ok_or(Refused)?;
        let cluster = &mut self.clusters[at];
        if cluster.outstanding.contains_key(name) {
            return Err(Refused);
        }
        let serial = cluster.minted.entry(name.to_owned()).or_default();
        *serial += 1;
        let members: Vec<String> = cluster.members.iter().map(Machine::to_string).collect();
        let token = format!("{at} {name} {serial} {}", members.join(","));
        cluster.outstanding.insert(name.to_owned(), token.clone());
        Ok(token)
    }

    /// `cluster join TOKEN`
    pub fn join(&mut self, machine: Machine, token: &str) -> Result<(), Refused> {
        let name = hostname(machine);
        let at = match self.cluster_of(machine) {
            None => self.answering(token).ok_or(Refused)?,
            Some(_) => return Err(Refused),
        };
        let cluster = &mut self.clusters[at];
        if cluster.outstanding.get(&name).map(String::as_str) != Some(token) {
            return Err(Refused);
        }
        cluster.outstanding.remove(&name);
        cluster.members.insert(machine);
        cluster.hand_out_votes();
        Ok(())
    }

    /// `cluster list`, as far as it is looked at.
    pub fn census(&self, machine: Machine) -> Result<Census, Refused> {
        let cluster = &self.clusters[self.cluster_of(machine).ok_or(Refused)?];
        let communicator = cluster.voters.first();
        Ok(Census {
            pending: false,
            communicator: communicator.map(|member| hostname(*member)),
        })
    }

    /// The same, for the consumer of the second protocol.
    pub fn standing(&self, machine: Machine) -> Result<Standing, Refused> {
        let cluster = &self.clusters[self.cluster_of(machine).ok_or(Refused)?];
        let members = cluster.members.iter();
        let named = members.map(|member| (hostname(*member), cluster.voters.contains(member)));
        let named: Vec<(String, bool)> = named.collect();
        let role = |votes: bool| if votes { "voter" } else { "spare" };
        let rows = named
            .iter()
            .map(|(name, votes)| (name.as_str(), role(*votes), "ONLINE"));
        Ok(Standing::of(&hostname(machine), rows))
    }

    /// `cluster remove`, by the machine itself. The last living member stays.
    pub fn leave(&mut self, machine: Machine) {
        let at = self.cluster_of(machine);
        if let Some(at) = at.filter(|_| self.living() > 1) {
            self.clusters[at].remove(machine);
        }
    }

    /// The name's token expires.
    pub fn expire(&mut self, name: &str) {
        for cluster in &mut self.clusters {
            cluster.outstanding.remove(name);
        }
    }

    /// All tokens expire.
    pub fn expire_all(&mut self) {
        for cluster in &mut self.clusters {
            cluster.outstanding.clear();
        }
    }

    /// Whether a host of that name could join with the token now.
    pub fn is_live(&self, name: &str, token: &str) -> bool {
        let mut clusters = self.clusters.iter();
        self.answering(token).is_some()
            && clusters.any(|cluster| {
                let is_member = cluster
                    .members
                    .iter()
                    .any(|member| hostname(*member) == name);
                let minted = cluster.outstanding.get(name);
                minted.is_some_and(|minted| minted == token) && !is_member
            })
    }

    /// Whether the machine's cluster, if it is in one, goes on without it: most voters are left.
    pub fn survives_without(&self, machine: Machine) -> bool {
        self.cluster_of(machine).is_none_or(|at| {
            let voters = &self.clusters[at].voters;
            let left = voters.len() - usize::from(voters.contains(&machine));
            2 * left > voters.len()
        })
    }

    /// The machine is lost, and a person removes its member by force.
    pub fn kill(&mut self, machine: Machine) {
        if let Some(at) = self.cluster_of(machine) {
            self.clusters[at].remove(machine);
        }
        self.dead.insert(machine);
    }

    /// How many clusters there are; more than one is a split.
    pub fn clusters(&self) -> usize {
        self.clusters.len()
    }

    /// The token by which a name can join, and for as long as which nobody can mint another.
    pub fn outstanding(&self, name: &str) -> Option<&str> {
        let mut clusters = self.clusters.iter();
        clusters.find_map(|cluster| cluster.outstanding.get(name).map(String::as_str))
    }

    /// Whether the machine is a member of a cluster.
    pub fn is_member(&self, machine: Machine) -> bool {
        self.cluster_of(machine).is_some()
    }

    /// Living members of all clusters.
    pub fn living(&self) -> usize {
        let members = self.clusters.iter().flat_map(|cluster| &cluster.members);
        members.filter(|member| !self.dead.contains(member)).count()
    }

    /// The cluster that would answer to a token: one of the members that it names must live.
    pub fn answering(&self, token: &str) -> Option<usize> {
        let mut words = token.split(' ');
        let at: usize = words.next()?.parse().ok()?;
        let addresses = words.nth(2)?;
        let members = &self.clusters.get(at)?.members;
        let answers = addresses
            .split(',')
            .filter_map(|member| member.parse().ok())
            .any(|member: Machine| members.contains(&member) && !self.dead.contains(&member));
        answers.then_some(at)
    }

    /// The machine's cluster.
    fn cluster_of(&self, machine: Machine) -> Option<usize> {
        self.clusters
            .iter()
            .position(|cluster| cluster.members.contains(&machine))
    }
}

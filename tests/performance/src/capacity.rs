//! How large databags grow, and when the charm says that they are full.

use std::ops::Range;

use microcluster_token_distributor::core::ledger::{self, CAPACITY};
use microcluster_token_distributor::core::wire::{self, Changes, Databag};
use serde::{Deserialize, Serialize};

use crate::worlds::minted;

/// What Juju takes in one databag.
pub const JUJU: usize = 16 << 20;

/// A token that names no member; see [`MEMBER`].
const TOKEN: usize = 236;
/// What a token grows by with each member that it names, at 13 characters of IPv4 address.
const MEMBER: usize = 28;

/// When hosts got their tokens.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Minted {
    /// While the cluster had one member.
    Together,
    /// Each when all before it had joined.
    OneByOne,
    /// All anew, when all had joined.
    Anew,
}

impl Minted {
    /// All of them.
    pub const ALL: [Minted; 3] = [Minted::Together, Minted::OneByOne, Minted::Anew];

    fn token(self, number: usize, hosts: usize) -> usize {
        let members = match self {
            Minted::Together => 1,
            Minted::OneByOne => number.max(1),
            Minted::Anew => hosts,
        };
        TOKEN + MEMBER * members
    }

    /// Bytes of all tokens.
    fn tokens(self, hosts: usize) -> usize {
        (0..hosts).map(|number| self.token(number, hosts)).sum()
    }

    /// What the charm would write for so many hosts.
    fn written(self, hosts: usize) -> Written {
        let plan = minted(hosts, |number| self.token(number, hosts)).plan();
        let writes = plan.writes.into_values().next().unwrap_or_default();
        Written {
            ledger: plan.ledger.size().bytes,
            unit: size(&writes.unit),
            full: plan.ledger.left_out.is_some(),
        }
    }
}

struct Written {
    ledger: usize,
    unit: usize,
    full: bool,
}

/// The bag was empty.
fn size(changes: &Changes) -> usize {
    let mut bag = Databag::new();
    wire::apply(&mut bag, changes);
    ledger::Size::of(&bag).bytes
}

/// The bags of so many hosts.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Size {
    /// How many hosts.
    pub hosts: usize,
    /// Bytes in the ledger and the unit bag where tokens were minted as [`Minted::ALL`] says;
    /// nothing where they do not fit.
    pub bags: Vec<Option<(usize, usize)>>,
}

/// Everything about databags.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Capacity {
    /// What Juju takes.
    pub juju: usize,
    /// Below what the charm stays.
    pub ours: usize,
    /// By number of hosts.
    pub sizes: Vec<Size>,
    /// From about how many hosts on the status says that the databag is full, for [`Minted::ALL`].
    pub full_from: Vec<usize>,
}

/// Fills databags. The number of hosts that fills one is found up to one part of `precision`.
pub fn measure(hosts: &[usize], precision: usize) -> Capacity {
    let sizes = hosts.iter().map(|&hosts| Size {
        hosts,
        bags: Minted::ALL.map(|minted| bags(minted, hosts)).to_vec(),
    });
    Capacity {
        juju: JUJU,
        ours: CAPACITY,
        sizes: sizes.collect(),
        full_from: Minted::ALL
            .map(|minted| full_from(minted, precision))
            .to_vec(),
    }
}

fn bags(minted: Minted, hosts: usize) -> Option<(usize, usize)> {
    // Gigabytes that are refused show nothing more.
    if minted.tokens(hosts) > JUJU {
        return None;
    }
    let written = minted.written(hosts);
    (!written.full).then_some((written.ledger, written.unit))
}

/// About the smallest number of hosts that no longer fits.
fn full_from(minted: Minted, precision: usize) -> usize {
    // Tokens alone fill a bag here; keys may have filled it long before.
    let full = least(1..JUJU, 1, |hosts| minted.tokens(hosts) > CAPACITY);
    least(1..full, full / precision, |hosts| {
        bags(minted, hosts).is_none()
    })
}

/// Up to `precision` above the least number in `range` for which `holds`, as for all above it.
fn least(range: Range<usize>, precision: usize, holds: impl Fn(usize) -> bool) -> usize {
    let Range {
        start: mut below,
        end: mut above,
    } = range;
    while above - below > precision.max(1) {
        let middle = below.midpoint(above);
        if holds(middle) {
            above = middle;
        } else {
            below = middle;
        }
    }
    above
}

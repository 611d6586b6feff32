//! The least that any distributor could do under Juju's rules and those of the consumers, as
//! `PERFORMANCE.md` derives it. Consumer hooks take their mean here, so luck can be faster.

use juju_emulator::clock::Pace;
use microovn::microcluster::Settings;
use serde::{Deserialize, Serialize};

use crate::scale::BETWEEN;

/// Hook tools that a hook with news for everybody cannot do without: is-leader, the unit's bag, the
/// ledger, one relation-set for each of the two bags, juju-log, status-set.
const WRITING: f64 = 7.0;
/// Hooks of a consumer before it has anything from the distributor: relation-created,
/// relation-joined, the relation-changed that follows it.
const OF_ITS_OWN: f64 = 3.0;
/// Hooks of a consumer for one write: the ledger runs none.
const PER_WRITE: f64 = 1.0;
/// Placeholders, tokens.
const WRITES: f64 = 2.0;

/// The least.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Bound {
    /// Seconds until everybody has joined.
    pub seconds: f64,
    /// Hooks of the distributor that write.
    pub writes: f64,
    /// Hooks of the distributor.
    pub provider_hooks: f64,
    /// Hook tools that the distributor calls, per host.
    pub calls_per_host: f64,
    /// Hooks of consumers.
    pub consumer_hooks: f64,
}

struct Seconds {
    consumer: f64,
    distributor: f64,
    tool: f64,
    beat: f64,
}

impl Seconds {
    fn usual() -> Self {
        let pace = Pace::tidy();
        let consumer = pace.consumer.start + pace.consumer.end;
        Seconds {
            consumer: consumer.as_secs_f64() / 2.0,
            distributor: pace.distributor.as_secs_f64(),
            tool: pace.tool.as_secs_f64(),
            beat: Settings::default().heartbeat as f64,
        }
    }

    fn writing(&self) -> f64 {
        self.distributor + WRITING * self.tool
    }
}

/// For so many hosts that come one by one.
pub fn bound(hosts: usize) -> Bound {
    let hosts = hosts as f64;
    let Seconds { consumer, beat, .. } = Seconds::usual();
    let writing = Seconds::usual().writing();
    // Announce; placeholder; the communicator's two hooks; token; the host's two hooks, the second
    // of which waits for half a heartbeat on average.
    let last = 2.0 * consumer + writing + 2.0 * consumer + writing + 2.0 * consumer + beat / 2.0;
    Bound {
        seconds: (hosts - 1.0) * BETWEEN.as_secs_f64() + last,
        writes: WRITES * hosts,
        // Joined, changed with the bag still empty, changed with the host name, the token.
        provider_hooks: 4.0 * hosts,
        calls_per_host: 1.0 + WRITES * WRITING,
        // Each write runs a hook on each host that is there.
        consumer_hooks: OF_ITS_OWN * hosts + WRITES * PER_WRITE * hosts * (hosts + 1.0) / 2.0,
    }
}

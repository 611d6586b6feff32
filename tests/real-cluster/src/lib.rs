//! The emulated Juju model against a real microcluster: charms run as processes, hooks of different
//! hosts side by side, in real time.
//!
//! ```text
//! play ── launches hooks ──► world (one thread) ◄── hook tools ── charm ── microovn ──► host
//!   ▲                                                                                    │
//!   └──────────────────────────── events: joins that begin and end ◄── microcluster ◄────┘
//! ```
//!
//! `sandbox` makes a place of its own for each play, `network` the hosts in it, `events` counts
//! what happened on them, `play` is a play and what came of it.

pub mod events;
pub mod network;
pub mod play;
pub mod sandbox;
mod trouble;

pub use network::{Host, Member, Network};
pub use play::{Consumer, Play, Provider, Report};
pub use trouble::Trouble;

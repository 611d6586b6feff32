//! A Juju machine charm that mirrors join tokens between the units of microcluster charms.
//!
//! Juju starts this program once for every hook. It asks hook tools what is true, decides in one
//! pure function, writes the answer and exits; nothing survives between two hooks but databags.
//!
//! ```text
//!  hook tools ──observe──▶ Snapshot ──reconcile──▶ Plan ──apply──▶ hook tools
//!      ▲                     plain values, no I/O in here              │
//!      └──────────────── hook_tools: the only module that starts one ──┘
//! ```
//!
//! What Juju gives us: unit databags of remote units, which only they write, and our own unit and
//! application databags per relation. What we promise: every host finds its join token, a token
//! once mirrored is never lost, and nothing is written when nothing changed.
//!
//! Start reading at [`reconcile`]; the modules stand in the order in which a newcomer meets them.

pub mod databag;
pub mod snapshot;

mod entries;

pub mod bootstrap;
pub mod fingerprint;
pub mod hosts;
pub mod mirror;
pub mod nudge;
pub mod reconcile;
pub mod standby;
pub mod status;

pub mod hook;

pub mod actions;
pub mod check;
pub mod report;
pub mod retire;
pub mod table;

pub mod apply;
pub mod document;
pub mod hook_tools;
pub mod logging;
pub mod observe;

pub mod cli;
mod run;

pub use run::{RunError, chain, dispatch};

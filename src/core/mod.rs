//! The decisions, as plain functions on plain values.
//!
//! ```text
//!              ┌──────────── look further ◀───────────┐
//!              ▼                                      │
//!  ledger + evidence ──▶ turn ── learn, queue, show ──┴──▶ plan: what is written, or nothing
//! ```
//!
//! Nothing in this folder starts a process, reads the environment or a clock, or logs. Nothing can
//! fail. The same input gives the same bytes.
//!
//! | rule of the specification | where it stands |
//! | --- | --- |
//! | 1 who writes what | [`wire`], [`show`] |
//! | 2 the ledger | [`ledger`] |
//! | 3 what is learned | [`learn`], [`everything`]; tokens that no longer serve: [`spent`] |
//! | 4 `bootstrap-app`, the guard | [`choose`], [`show`] |
//! | 5 which hook does what | [`turn`], [`reasons`]; what it has looked at: [`evidence`] |
//! | 6 one host at a time, and nobody waits for ever | [`queue`], [`nudge`] |
//! | 7 failure | [`crate::life`]; what has no room: [`room`] |
//! | 8 words for people | [`status`] |
//! | what an operator orders | [`operator`] |

pub mod names;
pub mod shared;
pub mod time;
pub mod wire;

pub mod ledger;

pub mod evidence;
pub mod goal;

pub mod everything;
pub mod reasons;
pub mod turn;

pub mod choose;
pub mod learn;
pub mod nudge;
pub mod operator;
pub mod queue;
pub mod room;
pub mod spent;

pub mod plan;
pub mod show;

pub mod fingerprint;
pub mod note;
pub mod status;

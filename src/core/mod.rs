//! The decisions, as plain functions on plain values.
//!
//! ```text
//!  Databag ──read──▶ Ledger ──learn(evidence)──▶ Ledger ──publish──▶ what each relation shows
//!                      └────────── the difference of the two is the plan ──────────┘
//! ```
//!
//! Nothing in this folder starts a process, reads the environment or a clock, or logs. Nothing can
//! fail. The same input gives the same bytes.
//!
//! | rule of the specification | where it stands |
//! | --- | --- |
//! | 1 who writes what | [`wire`], [`publish`] |
//! | 2 the ledger | [`ledger`]; when it is emptied: [`learn::everything`] |
//! | 3 what is learned | [`learn`] |
//! | 4 `bootstrap-app`, the guard | [`bootstrap`]; who shows the guard: [`publish`], [`standby`] |
//! | 5 which hook does what | [`crate::life`] |
//! | 6 one host at a time, and nobody waits for ever | [`queue`], [`nudge`] |
//! | 7 failure | [`crate::life::look`], [`crate::juju::hook_tools`]; what has no room: [`learn`], [`plan`] |
//! | 8 words for people | [`status`] |
//! | the second protocol | [`second_protocol`]; what is learned by it: [`learn`] |
//! | what an operator asks for | [`operator`] |

pub mod names;
pub mod shared;
pub mod wire;

pub mod ledger;
pub mod world;

pub mod bootstrap;
pub mod learn;
pub mod second_protocol;

pub mod publish;
pub mod queue;
pub mod standby;

pub mod note;
pub mod plan;

pub mod fingerprint;
pub mod nudge;
pub mod operator;
pub mod status;

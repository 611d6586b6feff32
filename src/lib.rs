//! A Juju machine charm that mirrors join tokens between the units of microcluster charms.
//!
//! Juju starts this program once for every hook. It asks hook tools what is true, decides in one pure
//! function, writes the answer and exits. All that it remembers is one databag, the ledger.
//!
//! ```text
//!  hook tools ──life::look──▶ ledger, evidence ──core::turn──▶ plan ──life::apply──▶ hook tools
//!                  ▲                                │
//!                  └───────── look further ◀────────┘
//! ```
//!
//! What Juju gives us: unit databags of remote units, which only they write; our own unit and
//! application databags of each relation; and the application databag of the peer relation, which
//! every unit of ours can read. What we promise: every host finds its join token, a token is never
//! lost, and nothing is written when nothing changed.
//!
//! | folder | what may happen in it |
//! | --- | --- |
//! | [`core`] | decisions, on plain values: no process, environment, clock or log |
//! | [`report`] | what people and scripts see, from plain values |
//! | [`juju`] | the only door to the outside: hook tools, environment, documents, log |
//! | [`life`] | one hook or action from beginning to end |
//! | [`cli`] | the command line, which shows what the charm would do |
//!
//! Start reading at [`core::ledger`], then [`core::turn`].

pub mod core;

pub mod report;

pub mod juju;

pub mod life;

pub mod cli;

pub use life::{RunError, chain, dispatch};

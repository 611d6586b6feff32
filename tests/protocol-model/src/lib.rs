//! The protocol between the distributor and the microcluster charms, checked in every interleaving.
//!
//! ```text
//! bounds ──▶ check ──▶ steps ──▶ one-hook             the charm's whole library
//!                        │   └─▶ consumer ──▶ microovn::consumer::dispatch
//!                        └─────▶ cloud                an abstraction of microovn::microcluster
//! ```
//!
//! A hook reads when it starts and writes when it ends, and anything may happen between. Hooks of
//! the distributor fail and run again, its units are lost and added, leadership moves, unit bags
//! are cached as Juju's agents cache them. What is not modelled: time (a nudge is sent at departures
//! and in the closing rounds alone), the status shown, and consumer hooks that are killed.

pub mod cloud;
pub mod consumer;

pub mod setup;
pub mod state;

pub mod bag;
mod broken_rules;
mod hook_cache;
pub mod steps;

pub mod bounds;
pub mod check;

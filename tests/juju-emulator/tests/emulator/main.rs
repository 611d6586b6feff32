//! The emulated model against the contract it was written from.

mod chance;
mod faults;
mod open;
mod process;
mod quirks;
mod seen;
mod stories;
mod support;

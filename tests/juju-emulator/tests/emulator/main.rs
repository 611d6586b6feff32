//! The emulated model against the contract it was written from.

mod commit;
mod faults;
mod order;
mod peers;
mod process;
mod quirks;
mod seen;
mod support;
mod tools;

//! The emulated model against the contract it was written from.

mod commit;
mod faults;
mod order;
mod process;
mod support;
mod tools;

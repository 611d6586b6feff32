//! Stand-ins for the MicroOVN charm and for its command line.
//!
//! ```text
//! Juju hook -> consumer::dispatch -> Host -> hook tools          (databags)
//!                                         -> microovn cluster …  (microcluster::Cloud)
//! ```
//!
//! [`consumer`] is the library that MicroOVN's charm embeds, defects included, as a function from
//! environment and state to exit status. [`microcluster`] is what `microovn cluster` talks to: any
//! number of clusters on any number of machines, in memory, on the caller's clock.
//! [`command_line`] puts the arguments of the real command in front of it.
//!
//! All of that runs inside one process, by the hundreds. For models that start real processes,
//! [`cloud_directory`] keeps a cloud in a file and [`layout`] writes the charm directory and the
//! per-machine commands around this crate's two executables.

pub mod consumer;
pub mod microcluster;

pub mod command_line;

pub mod cloud_directory;
pub mod layout;

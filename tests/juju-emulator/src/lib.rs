//! A Juju model in one process, faithful to what a charm can observe.
//!
//! ```text
//! world ── begin ──► context ◄── tools ◄── charm (a process, or a Rust value)
//!   ▲  ◄── finish ──   │ flush
//!   └── agent ◄─────── model
//! ```
//!
//! The `model` is what the controller knows, an `agent` what one unit's agent remembers and does
//! next, a `context` what one hook has read and not committed yet. They are plain data; only the
//! modules below `world` start processes or touch files. A model's `quirks` are what only some
//! Jujus do, `faults` what goes wrong once.

pub mod names;

pub mod charm;
pub mod model;
pub mod quirks;
pub mod show_unit;

pub mod agent;
pub mod context;
pub mod document;
pub mod tools;

pub mod faults;
pub mod record;
pub mod world;

pub mod executables;
mod machines;
pub mod process;
pub mod wire;

pub mod deployment;
pub mod library;
mod players;
pub mod python;

pub mod clock;
pub mod simulation;

pub mod chaos;
pub mod parallel;
pub mod trouble;

pub mod recorded;

pub use charm::{CallTool, Charm, InProcess, Metadata};
pub use deployment::{Deployment, Setup};
pub use faults::{Effect, Fault, Injection};
pub use model::{JujuGeneration, Model};
pub use names::{AppName, RelationId, UnitName};
pub use quirks::{Complaint, ConsumedOffer, Omissions, Party, Quirks, Unserved};
pub use record::{Detail, HookRun};
pub use tools::ToolOutput;
pub use world::{World, WorldError};

/// Why something cannot be built, laid out, deployed or played; nobody looks at it but people.
pub type Failure = Box<dyn std::error::Error + Send + Sync>;

//! What the charm costs: measured, and compared with what it replaces and with the least that Juju
//! allows. The figures in `PERFORMANCE.md` come from here.

pub mod worlds;

pub mod core;
pub mod executable;
pub mod hooks;
pub mod scale;

pub mod bound;

pub mod results;
pub mod tables;

/// What was measured, or why it cannot be.
pub type Measured<T> = Result<T, Box<dyn std::error::Error + Send + Sync>>;

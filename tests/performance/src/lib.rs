//! What the charm costs: measured, compared with what it replaces and with the least that Juju
//! allows, and drawn. The figures in `PERFORMANCE.md` come from here.

pub mod worlds;

pub mod core;
pub mod executable;
pub mod hooks;
pub mod scale;

pub mod bound;
pub mod capacity;

pub mod chart;
pub mod results;
pub mod tables;

//! A Juju model in one process, faithful to what a charm can observe.

pub mod document;
pub mod recorded;

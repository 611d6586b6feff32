//! The only door to the outside: hook tools, the environment, documents, the log. Nothing is
//! decided here.

pub mod document;
pub mod environment;
pub mod hook_tools;
mod ledger;
pub mod log;

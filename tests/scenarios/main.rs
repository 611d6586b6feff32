//! The charm in a model, hook by hook: what it asks, writes, says, and what it makes of failures.

mod advice;
mod calls;
mod failures;
mod log;
mod mirror;
mod operator;
mod protocol;
mod refresh;
mod secrets;
mod stage;
mod unserved;

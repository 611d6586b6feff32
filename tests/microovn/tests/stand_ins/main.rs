//! The stand-ins as one meets them: in stories, and what stories cannot tell.

mod second;
mod stories;
mod support;

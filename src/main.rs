//! The charm's executable.
fn main() {}

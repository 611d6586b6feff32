//! `juju-emulator`: try the distributor out, and try to break it.
fn main() {}

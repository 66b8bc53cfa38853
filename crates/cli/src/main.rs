//! The one binary: every role of Surety from the command line.
fn main() {}

//! Run the project's chores: tests, soak, vectors and benches.
fn main() {}

//! How long the security services take.
fn main() {
    divan::main();
}

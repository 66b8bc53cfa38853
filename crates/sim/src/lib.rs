//! Keep the house in order and compare it with other programs, for developers.
//!
//! Development only. The tests keep the house in order (`tests/it`), the benches compare with other programs in one run
//! (`benches/peers.rs`). Scenarios that need one crate alone stand in that crate's tests: the ledger's random histories,
//! the node's simulated networks, the sidecar's interleavings.

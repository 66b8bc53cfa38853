//! Talk to a node and believe only what its proofs show.

//! The state machine: a pure function from a state and a block to receipts.

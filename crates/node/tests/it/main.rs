//! Nodes under a deterministic runtime and a simulated network: crashes, losses, partitions, faults of disks and seats.
//!
//! Every scenario takes a seed and prints it when it fails.
#![allow(clippy::unwrap_used, missing_docs)]

mod cluster;
mod equivocator;
mod scenarios;

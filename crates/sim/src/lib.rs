//! Drive the whole system from a seed: scenarios, faults and benches.

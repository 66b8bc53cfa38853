# The chores by name; `cargo xtask help` says what stands behind them.

# Type-check everything.
check:
    cargo clippy --workspace --all-targets

# Everything that must hold.
test:
    cargo xtask test

# What takes longer: many seeds, 100 kills, a million calls, fuzzing.
soak:
    cargo xtask soak

# Figures of docs/benchmarks.md.
bench *arguments:
    cargo run --release -- bench {{arguments}}

# Golden files, after a change of a wire format.
vectors:
    cargo xtask vectors

# Four operators on this machine.
devnet:
    cargo run --release -- devnet

# The whole story on an embedded network.
demo:
    cargo run --release -- demo

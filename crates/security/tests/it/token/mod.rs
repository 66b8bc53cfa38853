//! Tokens of every kind, honest and not, each with what must be said of it.

mod evasions;
mod fresh;
mod known;
mod oracles;
mod powers;
mod shut;
mod stage;
mod standards;
mod table;
mod vaults;

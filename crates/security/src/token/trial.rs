//! What a trial looks like from inside: addresses, purses, prices, gas and hashes that code cannot tell from those of any
//! other transaction.
//!
//! Always true: everything follows from the block and the contract, so that the same question gives the same bytes; and to
//! find it out, code would have to spend more gas than any transfer may (see [`ROUNDS`]).

use std::sync::LazyLock;

use alloy_primitives::{Address, B256, U256, keccak256};
use surety_evm::{Head, Limits, Session, Snapshot, StateError};
use surety_primitives::codec;
use surety_primitives::hash::Domain;

use super::Params;

/// Rounds of BLAKE3 between what code can know of a block and what a trial is made of. The EVM has no BLAKE3: a round costs
/// code some 10,000 gas, and all of them twice what makes a transfer abusive. Here they take ten microseconds.
const ROUNDS: usize = 128;
/// Instructions of one call.
const CALL_STEPS: u64 = 1_000_000;

static DOMAIN: LazyLock<Domain> = LazyLock::new(|| Domain::new("surety/security/trial/v1"));

/// What everything in one trial is derived from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Seed(B256);

impl Seed {
    /// The seed of a contract's trials on a snapshot.
    pub(crate) fn new(snapshot: &Snapshot, contract: Address) -> Result<Self, StateError> {
        let code_hash = snapshot.source.account(contract)?.unwrap_or_default().code_hash;
        let mut seed = DOMAIN.h(&[&codec::encode(&snapshot.head), contract.as_slice(), code_hash.as_slice()]);
        for _ in 0..ROUNDS {
            seed = DOMAIN.h(&[&seed.0]);
        }
        Ok(Self(seed.0.into()))
    }

    /// A seed for another environment of the same trial.
    pub(crate) fn nth(self, n: u64) -> Self {
        Self(self.hash(&format!("environment {n}")))
    }

    pub(crate) fn hash(self, what: &str) -> B256 {
        keccak256([self.0.as_slice(), what.as_bytes()].concat())
    }

    pub(crate) fn address(self, what: &str) -> Address {
        Address::from_word(self.hash(what))
    }

    /// A number from `least` up to and without `most`.
    pub(crate) fn within(self, what: &str, least: u64, most: u64) -> u64 {
        let span = U256::from(most.saturating_sub(least).max(1));
        let offset: U256 = U256::from_be_bytes(self.hash(what).0) % span;
        least.saturating_add(offset.to::<u64>())
    }

    /// An amount of wei with this many zeros in its magnitude: 17 is a tenth of an ether to a whole one.
    pub(crate) fn purse(self, what: &str, magnitude: u64) -> U256 {
        let unit = U256::from(10).pow(U256::from(magnitude));
        unit + U256::from_be_bytes(self.hash(what).0) % (unit * U256::from(9))
    }

    /// Wei a gas above the base fee, as wallets offer.
    pub(crate) fn tip(self) -> u128 {
        self.within("tip", 50_000_001, 1_999_999_999).into()
    }

    /// Gas of one trade. Who needs more is asked again with all the gas there is.
    pub(crate) fn trade_gas(self) -> u64 {
        self.within("trade gas", 2_400_000, 3_300_000)
    }

    /// Gas of one call, all there is.
    pub(crate) fn most_gas(self) -> u64 {
        self.within("gas", 11_000_000, 13_000_000)
    }

    /// What one assessment may cost.
    pub(crate) fn limits(self, params: &Params) -> Limits {
        Limits { gas: self.most_gas(), steps: CALL_STEPS, session_steps: params.steps }
    }
}

/// A session in a block such as ordinary transactions meet: code that behaves well only for simulations shows itself.
pub(crate) fn realistic(snapshot: &Snapshot, seed: Seed, limits: Limits) -> Session {
    let mut session = Session::new(snapshot, limits);
    session.imagine_blocks(seed.hash("blocks"));
    next_block(session.head_mut(), seed);
    session
}

/// The block after this one, with everything in it that nobody could know before.
fn next_block(head: &mut Head, seed: Seed) {
    head.advance_blocks(1);
    // A block's base fee is at most an eighth away from the one before.
    let part = seed.within("base fee", 875_001, 1_124_999);
    head.base_fee = (head.base_fee.max(1_000_000) / 1_000_000).saturating_mul(part);
    head.prevrandao = seed.hash("randomness");
    if head.coinbase.is_zero() {
        head.coinbase = seed.address("coinbase");
    }
}

/// Puts a session into another block of the same height and time, with other people in it.
pub(crate) fn elsewhere(session: &mut Session, seed: Seed) {
    session.imagine_blocks(seed.hash("blocks"));
    let head = session.head_mut();
    (head.coinbase, head.prevrandao) = (seed.address("coinbase"), seed.hash("randomness"));
    head.base_fee = head.base_fee.saturating_add(seed.within("base fee", 1, 1_000_000));
}

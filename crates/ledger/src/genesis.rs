//! The chain specification, and block 1, which writes it into an empty state.

use serde::{Deserialize, Serialize};
use surety_primitives::bls::{self, BlsKey, BlsSignature};
use surety_primitives::header::{Committee, MAX_SEATS, Seat};
use surety_primitives::typed_data::Bytes32;
use surety_primitives::{Address, Amount, Epoch, Hash32, Height, NetworkId, OperatorId, Seconds, codec, hash};

use crate::block::Outcome;
use crate::context::{BlockMeta, Context, Writes};
use crate::modules::fees::{self, FEES, Fees};
use crate::modules::operators::{self, Operator, Profile, possession_namespace};
use crate::modules::params::{OutOfRange, PARAMS, Params};
use crate::modules::{bank, epochs};
use crate::state::MemoryRows;

/// What a network starts from. Its hash names the network beside the id.
#[derive(Clone, Debug, PartialEq, Eq, borsh::BorshSerialize, borsh::BorshDeserialize, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Genesis {
    /// The network's id, the `chainId` of every signature.
    pub network: NetworkId,
    /// Wall clock of block 1 in milliseconds since 1970; also the ledger clock's first value.
    pub time_ms: u64,
    /// Who holds what.
    pub balances: Vec<Balance>,
    /// The first committee.
    pub operators: Vec<GenesisOperator>,
    /// The first parameters.
    #[serde(default)]
    pub params: Params,
}

/// A first balance.
#[derive(Clone, Debug, PartialEq, Eq, borsh::BorshSerialize, borsh::BorshDeserialize, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Balance {
    /// The account.
    pub account: Address,
    /// What it holds, in base units.
    pub amount: Amount,
}

/// A first operator.
#[derive(Clone, Debug, PartialEq, Eq, borsh::BorshSerialize, borsh::BorshDeserialize, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GenesisOperator {
    /// Its account.
    pub account: Address,
    /// Network identity (ed25519).
    pub peer: Bytes32,
    /// BLS key.
    pub bls_key: BlsKey,
    /// Proof that it has the key's secret.
    pub possession: BlsSignature,
    /// Its weight at AVS 0.
    pub weight: Amount,
    /// What it says of itself.
    pub profile: Profile,
}

/// Most accounts of a specification. Every node writes them all in block 1, within the time that a leader has.
pub const MAX_ACCOUNTS: usize = 100_000;

/// Why a specification starts no network.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// No operator, or too many.
    #[error("{0} operators: a committee has 1 to {MAX_SEATS} seats")]
    Seats(usize),
    /// Two operators share an account or a key.
    #[error("operator {0} shares its account or a key with another")]
    SharedKey(Address),
    /// A key without its secret.
    #[error("operator {0} has not proven possession of its BLS key: {1}")]
    NoPossession(Address, bls::Error),
    /// Profile texts too long.
    #[error("operator {0}: its profile is not acceptable")]
    BadProfile(Address),
    /// More accounts than block 1 may write.
    #[error("{0} accounts: a specification has at most {MAX_ACCOUNTS}; give the others theirs by transfers")]
    TooManyAccounts(usize),
    /// The balances do not fit the supply.
    #[error("the balances sum to the limit of the supply or more")]
    TooMuch,
    /// A parameter out of its range.
    #[error(transparent)]
    BadParams(#[from] OutOfRange),
}

impl Genesis {
    /// Names the network: what it starts from, hashed.
    #[must_use]
    pub fn hash(&self) -> Hash32 {
        hash::h("surety/genesis/v1", &[&codec::encode(self)])
    }

    /// The ledger clock of block 1.
    #[must_use]
    pub const fn clock(&self) -> Seconds {
        Seconds(self.time_ms / 1_000)
    }

    /// Refuses what could not run.
    ///
    /// # Errors
    /// See [`Error`].
    pub fn check(&self) -> Result<(), Error> {
        if self.operators.is_empty() || self.operators.len() > MAX_SEATS {
            return Err(Error::Seats(self.operators.len()));
        }
        self.params.check()?;
        if self.balances.len() > MAX_ACCOUNTS {
            return Err(Error::TooManyAccounts(self.balances.len()));
        }
        let supply = self.balances.iter().try_fold(Amount::ZERO, |sum, balance| sum.checked_add(balance.amount));
        if supply.is_none_or(|supply| supply >= Amount::SUPPLY_LIMIT) {
            return Err(Error::TooMuch);
        }
        let namespace = possession_namespace(self.network);
        for (i, operator) in self.operators.iter().enumerate() {
            let shares = |other: &GenesisOperator| {
                other.account == operator.account || other.peer == operator.peer || other.bls_key == operator.bls_key
            };
            if self.operators.iter().take(i).any(shares) {
                return Err(Error::SharedKey(operator.account));
            }
            operator.profile.check().map_err(|_| Error::BadProfile(operator.account))?;
            bls::verify_possession(&operator.bls_key, &namespace, &operator.possession)
                .map_err(|error| Error::NoPossession(operator.account, error))?;
        }
        Ok(())
    }

    fn seats(&self) -> Vec<epochs::SeatRecord> {
        let seat = |operator: &GenesisOperator| epochs::SeatRecord {
            operator: OperatorId(operator.account),
            seat: Seat { peer: operator.peer, key: operator.bls_key },
            weight: operator.weight,
        };
        let mut seats: Vec<_> = self.operators.iter().map(seat).collect();
        seats.sort_by_key(|record| record.seat.peer);
        seats
    }

    /// The committee of epoch 0, the trust root of light clients.
    #[must_use]
    pub fn committee(&self) -> Committee {
        epochs::committee(self.network, self.hash(), Epoch(0), &self.seats())
    }
}

pub(crate) fn write(spec: &Genesis) -> Outcome {
    let (rows, empty) = (MemoryRows::default(), Writes::new());
    let meta = BlockMeta { network: spec.network, height: Height(1), now: spec.clock() };
    let mut ctx = Context::new(&rows, &empty, meta, &spec.params, Address::ZERO);
    PARAMS.set(&mut ctx, &(), &spec.params);
    let params = &spec.params;
    let reward_rate = fees::reward_rate(params.reward_base_bps, params.reward_cap, params.provider_scale, 0);
    let epoch = fees::epoch_of(&ctx);
    FEES.set(&mut ctx, &(), &Fees { epoch, reward_rate, serving: 0, served_today: 0 });
    for balance in &spec.balances {
        bank::mint(&mut ctx, &balance.account, balance.amount);
    }
    for operator in &spec.operators {
        let entered = operators::enter(
            &mut ctx,
            &Operator {
                id: OperatorId(operator.account),
                peer: operator.peer,
                bls_key: operator.bls_key,
                profile: operator.profile.clone(),
            },
        );
        ctx.invariant(entered.is_ok(), "a checked specification names each operator once");
    }
    epochs::install(&mut ctx, spec.seats());
    let (writes, _) = ctx.into_effects();
    Outcome { writes, receipts: Vec::new() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{NETWORK, operator};

    #[test]
    fn a_specification_is_refused_for_each_parameter_out_of_range() {
        let (_, first) = operator(1, Amount::call(1));
        let mut genesis = Genesis {
            network: NETWORK,
            time_ms: 0,
            balances: Vec::new(),
            operators: vec![first],
            params: Params::default(),
        };
        assert_eq!(genesis.check(), Ok(()));
        genesis.params.take_bps = 10_001;
        let refused = OutOfRange { name: "take_bps", range: "0 to 10,000 basis points" };
        assert_eq!(genesis.check(), Err(Error::BadParams(refused)));
    }

    #[test]
    fn a_specification_has_no_more_accounts_than_block_1_may_write() {
        let (_, first) = operator(1, Amount::call(1));
        let balances = vec![Balance { account: first.account, amount: Amount(1) }; MAX_ACCOUNTS];
        let params = Params::default();
        let mut genesis = Genesis { network: NETWORK, time_ms: 0, balances, operators: vec![first], params };
        assert_eq!(genesis.check(), Ok(()));
        genesis.balances.push(genesis.balances[0].clone());
        assert_eq!(genesis.check(), Err(Error::TooManyAccounts(MAX_ACCOUNTS + 1)));
    }
}

//! Running one transaction and gathering what a report of it needs.

use std::collections::{BTreeMap, BTreeSet};

use alloy_primitives::{Address, U256};
use surety_evm::{AllowanceChange, Call, Session, Simulation, StateError, Status};

use crate::envelope::Reason;
use crate::views::{Named, balanceOfCall, named, view};

/// Most tokens whose names are read.
const MAX_NAMED: usize = 64;
/// Most allowances whose exposure is read.
const MAX_EXPOSED: usize = 64;

/// A transaction that was run, with what is shown beside its effects.
#[derive(Clone, Debug)]
pub struct Simulated {
    /// What was run.
    pub call: Call,
    /// What it did.
    pub simulation: Simulation,
    /// How the tokens that moved or were approved call themselves.
    pub names: BTreeMap<Address, Named>,
    /// Recipients and spenders without code after the transaction.
    pub wallets: BTreeSet<Address>,
    /// What spenders could take at once, by the granted allowance.
    pub exposures: Vec<Exposure>,
    /// Gas used times its price, in wei.
    pub fee: U256,
    /// The producer of the block that it ran in.
    pub coinbase: Address,
    /// What it does otherwise in another block, or why that is not known; nothing where it was not tried or need not be.
    pub elsewhere: Result<Vec<&'static str>, Reason>,
}

/// What a spender could take at once of what the owner holds, in base units.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Exposure {
    /// The allowance that was granted.
    pub granted: AllowanceChange,
    /// The smaller of allowance and balance.
    pub amount: U256,
}

impl Simulated {
    /// Whether the run came to an end at all.
    pub fn is_complete(&self) -> bool {
        self.simulation.outcome.status != Status::OutOfBudget
    }
}

/// Runs a transaction on a session, which keeps its effects.
///
/// # Errors
/// [`StateError`] when the state could not be read.
pub fn simulate(session: &mut Session, call: &Call) -> Result<Simulated, StateError> {
    let simulation = session.simulate(call)?;
    let price = call.gas_price.unwrap_or_else(|| u128::from(session.head().base_fee));
    let fee = U256::from(simulation.outcome.gas_used).saturating_mul(U256::from(price));
    let exposures = exposures(session, &simulation)?;
    let names = names(session, &simulation)?;
    let wallets = wallets(session, call, &simulation)?;
    let coinbase = session.head().coinbase;
    Ok(Simulated {
        call: call.clone(),
        simulation,
        names,
        wallets,
        exposures,
        fee,
        coinbase,
        elsewhere: Ok(Vec::new()),
    })
}

/// Allowances that grew.
pub(crate) fn granted(simulation: &Simulation) -> impl Iterator<Item = &AllowanceChange> {
    let grew = |change: &&AllowanceChange| change.after.unwrap_or_default() > change.before.unwrap_or_default();
    simulation.changes.allowances.iter().filter(grew)
}

fn exposures(session: &mut Session, simulation: &Simulation) -> Result<Vec<Exposure>, StateError> {
    let mut exposures = Vec::new();
    for granted in granted(simulation).take(MAX_EXPOSED) {
        let balance = view(session, granted.token, &balanceOfCall { owner: granted.owner })?;
        let Some(balance) = balance else { continue };
        let amount = balance.min(granted.after.unwrap_or_default());
        exposures.push(Exposure { granted: granted.clone(), amount });
    }
    Ok(exposures)
}

fn names(session: &mut Session, simulation: &Simulation) -> Result<BTreeMap<Address, Named>, StateError> {
    let changes = &simulation.changes;
    let tokens = changes.tokens.iter().map(|change| change.token);
    let nfts = changes.nfts.iter().map(|change| change.token);
    let multi = changes.multi_tokens.iter().map(|change| change.token);
    let allowances = changes.allowances.iter().map(|change| change.token);
    let operators = changes.operators.iter().map(|change| change.token);
    let all: BTreeSet<Address> = tokens.chain(nfts).chain(multi).chain(allowances).chain(operators).collect();
    all.into_iter().take(MAX_NAMED).map(|token| Ok((token, named(session, token)?))).collect()
}

fn wallets(session: &Session, call: &Call, simulation: &Simulation) -> Result<BTreeSet<Address>, StateError> {
    let changes = &simulation.changes;
    let spenders = changes.allowances.iter().map(|change| change.spender);
    let operators = changes.operators.iter().map(|change| change.operator);
    let asked: BTreeSet<Address> = spenders.chain(operators).chain(call.to).collect();
    let mut wallets = BTreeSet::new();
    for address in asked {
        if !session.account(address)?.is_some_and(|account| account.has_code()) {
            wallets.insert(address);
        }
    }
    Ok(wallets)
}

//! `deploy_scan`: what a contract will be able to do, before it is deployed (`security-services.md` section 3.7).
//!
//! The constructor runs first, so that immutables and first storage are in place.

use std::collections::BTreeMap;
use std::sync::Arc;

use alloy_primitives::{Address, B256, Bytes, U256};
use serde::Serialize;
use surety_evm::{
    Account, AccountChange, Call, Changes, Limits, Outcome, Session, Snapshot, Source, StateError, Status,
};

use crate::token::rugpull::{Rugpull, rugpull};
use crate::token::trial::{Seed, elsewhere, realistic};
use crate::token::{Params, Refused, Report, assess};

/// Init code longer than this is not deployed by any chain (EIP-3860).
pub const MOST_INIT_CODE: usize = 49_152;

/// Other blocks in which the constructor is run again.
const OTHER_BLOCKS: u64 = 4;

/// A contract that does not exist yet.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Scan {
    /// Where it would be.
    pub address: Address,
    /// Its code once it is there, in bytes.
    pub code_size: usize,
    /// What its keepers will be able to do.
    pub rugpull: Rugpull,
    /// As a token, where it has a supply and balances.
    pub token: Option<Report>,
}

/// Why there is nothing to say.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Failure {
    /// More than [`MOST_INIT_CODE`] bytes, or none.
    #[error("init code must be 1 to {MOST_INIT_CODE} bytes")]
    Size,
    /// The constructor fails: there will be no contract.
    #[error("the constructor fails: {0}")]
    Constructor(String),
    /// The constructor costs more than an answer may cost.
    #[error("the constructor costs more than an answer may cost")]
    Budget,
    /// The constructor leaves no code, or state could not be read.
    #[error(transparent)]
    Refused(#[from] Refused),
}

/// Runs the constructor and looks at what it leaves.
///
/// # Errors
/// [`Failure`], when there is no contract to look at.
pub fn deploy_scan(
    snapshot: &Snapshot,
    deployer: Address,
    value: U256,
    init_code: &Bytes,
    params: &Params,
) -> Result<Scan, Failure> {
    if init_code.is_empty() || init_code.len() > MOST_INIT_CODE {
        return Err(Failure::Size);
    }
    let seed = Seed::new(snapshot, deployer).map_err(Refused::from)?;
    let construct = |seed| construct(snapshot, seed, deployer, value, init_code, params);
    let (session, outcome) = construct(seed)?;
    let address = outcome.created.ok_or(Refused::NoContract)?;
    let code_size = session.code(address).map_err(Refused::from)?.len();
    let source = Arc::new(Deployed { below: Arc::clone(&snapshot.source), changes: session.changes().clone() });
    let after = Snapshot { head: snapshot.head.clone(), source };
    let mut rugpull = rugpull(&after, address, params, &[deployer])?;
    let history = crate::token::History { creator: Some(deployer), ..Default::default() };
    let mut report = assess(&after, address, params, Some(&history))?;
    let made = made(&session);
    // A constructor that makes something else in another block can make anything on the day.
    if (0..OTHER_BLOCKS).any(|n| construct(seed.nth(n)).map_or(true, |(other, _)| self::made(&other) != made)) {
        rugpull.doubt();
        report.doubt("constructor");
    }
    let token = report.probe.is_some().then_some(report);
    Ok(Scan { address, code_size, rugpull, token })
}

/// Runs the constructor in a block such as it will meet.
fn construct(
    snapshot: &Snapshot,
    seed: Seed,
    deployer: Address,
    value: U256,
    init_code: &Bytes,
    params: &Params,
) -> Result<(Session, Outcome), Failure> {
    let gas = seed.within("deployment", 27_000_000, 30_000_000);
    let limits = Limits { gas, session_steps: params.steps, ..Limits::default() };
    let mut session = realistic(snapshot, seed, limits);
    elsewhere(&mut session, seed);
    let funds = session.balance(deployer).map_err(Refused::from)?;
    session
        .set_balance(deployer, funds.max(value.saturating_add(seed.purse("deployer", 17))))
        .map_err(Refused::from)?;
    let price = u128::from(session.head().base_fee) + seed.tip();
    let call = Call { gas_price: Some(price), ..Call::create(deployer, init_code.clone()).value(value) };
    let outcome = session.run(&call).map_err(Refused::from)?;
    match &outcome.status {
        Status::Success => Ok((session, outcome)),
        Status::OutOfBudget => Err(Failure::Budget),
        Status::Revert => Err(Failure::Constructor(outcome.revert_reason().unwrap_or_else(|| "reverted".into()))),
        Status::Halt(name) => Err(Failure::Constructor(name.clone())),
    }
}

/// The codes and slots that a session wrote.
fn made(session: &Session) -> BTreeMap<Address, (Option<B256>, BTreeMap<U256, U256>)> {
    let made = |change: &AccountChange| (change.account.map(|account| account.code_hash), change.storage.clone());
    session.changes().accounts.iter().map(|(address, change)| (*address, made(change))).collect()
}

/// A state with what a constructor changed.
#[derive(Debug)]
struct Deployed {
    below: Arc<dyn Source>,
    changes: Changes,
}

impl Source for Deployed {
    fn account(&self, address: Address) -> Result<Option<Account>, StateError> {
        match self.changes.accounts.get(&address) {
            Some(change) => Ok(change.account),
            None => self.below.account(address),
        }
    }

    fn code(&self, address: Address, code_hash: B256) -> Result<Bytes, StateError> {
        match self.changes.codes.get(&code_hash) {
            Some(code) => Ok(code.clone()),
            None => self.below.code(address, code_hash),
        }
    }

    fn storage(&self, address: Address, slot: U256) -> Result<U256, StateError> {
        let Some(change) = self.changes.accounts.get(&address) else { return self.below.storage(address, slot) };
        match change.storage.get(&slot) {
            Some(value) => Ok(*value),
            None if change.cleared => Ok(U256::ZERO),
            None => self.below.storage(address, slot),
        }
    }

    fn block_hash(&self, number: u64) -> Result<B256, StateError> {
        self.below.block_hash(number)
    }
}

//! `deploy_scan`: what a contract will be able to do, before it is deployed (`security-services.md` section 3.7).
//!
//! The constructor runs first, so that immutables and first storage are in place.

use std::sync::Arc;

use alloy_primitives::{Address, B256, Bytes, U256};
use serde::Serialize;
use surety_evm::{Account, Call, Changes, Limits, Session, Snapshot, Source, StateError, Status};

use crate::token::rugpull::{Rugpull, rugpull};
use crate::token::{Params, Refused, Report, assess};

/// Init code longer than this is not deployed by any chain (EIP-3860).
pub const MOST_INIT_CODE: usize = 49_152;

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
    let mut session = Session::new(snapshot, Limits { session_steps: params.steps, ..Limits::default() });
    let funds = session.balance(deployer).map_err(Refused::from)?;
    session.set_balance(deployer, funds.max(value)).map_err(Refused::from)?;
    let outcome = session.run(&Call::create(deployer, init_code.clone()).value(value)).map_err(Refused::from)?;
    match &outcome.status {
        Status::Success => {}
        Status::OutOfBudget => return Err(Failure::Budget),
        Status::Revert => {
            return Err(Failure::Constructor(outcome.revert_reason().unwrap_or_else(|| "reverted".into())));
        }
        Status::Halt(name) => return Err(Failure::Constructor(name.clone())),
    }
    let address = outcome.created.ok_or(Refused::NoContract)?;
    let code_size = session.code(address).map_err(Refused::from)?.len();
    let source = Arc::new(Deployed { below: Arc::clone(&snapshot.source), changes: session.changes().clone() });
    let after = Snapshot { head: snapshot.head.clone(), source };
    let rugpull = rugpull(&after, address, params, &[deployer])?;
    let history = crate::token::History { creator: Some(deployer), ..Default::default() };
    let report = assess(&after, address, params, Some(&history))?;
    let token = report.probe.is_some().then_some(report);
    Ok(Scan { address, code_size, rugpull, token })
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

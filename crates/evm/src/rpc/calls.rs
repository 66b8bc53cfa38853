//! Calls that change nothing: `eth_call`, `eth_estimateGas`, `eth_createAccessList`.

use std::collections::{BTreeMap, BTreeSet};

use alloy_eips::eip2930::{AccessList, AccessListItem};
use alloy_eips::eip7702::SignedAuthorization;
use alloy_primitives::{Address, B256, Bytes, U256};
use serde::Deserialize;
use serde_json::{Value, json};

use super::answers::quantity;
use super::wire::RpcError;
use crate::chain::MAX_TX_GAS;
use crate::{Call, Limits, Outcome, Session, Snapshot, Status};

/// Gas of a call that names none, and the most that one may name.
const CALL_GAS: u64 = 50_000_000;

/// A transaction as clients write it. Fields that say nothing about a call are ignored.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct CallObject {
    from: Option<Address>,
    to: Option<Address>,
    gas: Option<U256>,
    gas_price: Option<U256>,
    max_fee_per_gas: Option<U256>,
    value: Option<U256>,
    data: Option<Bytes>,
    input: Option<Bytes>,
    access_list: Option<AccessList>,
    authorization_list: Option<Vec<SignedAuthorization>>,
    blob_versioned_hashes: Option<Vec<B256>>,
}

impl CallObject {
    fn into_call(self) -> Result<Call, RpcError> {
        if self.data.is_some() && self.input.is_some() && self.data != self.input {
            return Err(RpcError::params("both \"data\" and \"input\" are set and not equal"));
        }
        let gas_price = self.gas_price.or(self.max_fee_per_gas).map(u128::try_from).transpose();
        Ok(Call {
            from: self.from.unwrap_or_default(),
            to: self.to,
            value: self.value.unwrap_or_default(),
            data: self.input.or(self.data).unwrap_or_default(),
            gas: self.gas.map(|gas| u64::try_from(gas).unwrap_or(u64::MAX)),
            gas_price: gas_price.map_err(|_| RpcError::params("the gas price is too high"))?,
            access_list: self.access_list.unwrap_or_default(),
            authorizations: self.authorization_list.unwrap_or_default(),
            blob_hashes: self.blob_versioned_hashes.unwrap_or_default(),
        })
    }
}

/// Hostile code is bounded by gas, as in a block.
fn session(snapshot: &Snapshot) -> Session {
    Session::new(snapshot, Limits { gas: CALL_GAS, steps: u64::MAX, session_steps: u64::MAX })
}

fn peek(session: &mut Session, call: &Call) -> Result<Outcome, RpcError> {
    session.peek(call).map_err(RpcError::server)
}

pub(super) fn call(snapshot: &Snapshot, object: CallObject) -> Result<Value, RpcError> {
    let mut call = object.into_call()?;
    call.gas = Some(call.gas.unwrap_or(CALL_GAS).min(CALL_GAS));
    let outcome = peek(&mut session(snapshot), &call)?;
    check(&outcome)?;
    Ok(json!(outcome.output))
}

/// The least gas with which the call succeeds: code may behave otherwise with less, so that it is found by trying.
pub(super) fn estimate(snapshot: &Snapshot, object: CallObject) -> Result<Value, RpcError> {
    let mut call = object.into_call()?;
    let most = call.gas.unwrap_or(MAX_TX_GAS).min(snapshot.head.gas_limit).min(MAX_TX_GAS);
    let mut session = session(snapshot);
    call.gas = Some(most);
    let outcome = peek(&mut session, &call)?;
    if matches!(&outcome.status, Status::Halt(name) if name == "out_of_gas") {
        return Err(RpcError::server(format!("gas required exceeds allowance ({most})")));
    }
    check(&outcome)?;

    let (mut fails, mut succeeds) = (outcome.gas_used.saturating_sub(1), most);
    // Most calls need what they use, or little more for refunds and what callers hold back, so that this is tried first.
    let mut guess = outcome.gas_used;
    let mut tries = 0;
    while fails + 1 < succeeds {
        call.gas = Some(guess);
        if peek(&mut session, &call)?.is_success() {
            succeeds = guess;
        } else {
            fails = guess;
        }
        tries += 1;
        let near = if tries < 3 { fails.saturating_add(fails / 16 + 2_400) } else { u64::MAX };
        let middle = fails + (succeeds - fails) / 2;
        guess = middle.min(near).max(fails + 1);
    }
    Ok(quantity(succeeds))
}

/// The addresses and slots that the call touches, found again until the list itself changes nothing.
pub(super) fn access_list(snapshot: &Snapshot, object: CallObject) -> Result<Value, RpcError> {
    const ROUNDS: usize = 4;
    let mut call = object.into_call()?;
    call.gas = Some(call.gas.unwrap_or(CALL_GAS).min(CALL_GAS));
    let mut session = session(snapshot);
    let mut outcome = peek(&mut session, &call)?;
    for _ in 0..ROUNDS {
        let list = touched(snapshot, &call, &outcome);
        if list == call.access_list {
            break;
        }
        call.access_list = list;
        outcome = peek(&mut session, &call)?;
    }
    let mut answer = json!({ "accessList": call.access_list, "gasUsed": quantity(outcome.gas_used) });
    if let Err(error) = check(&outcome) {
        answer["error"] = json!(error.message);
    }
    Ok(answer)
}

/// Without the accounts that are warm in any case, unless they have slots.
fn touched(snapshot: &Snapshot, call: &Call, outcome: &Outcome) -> AccessList {
    let mut all: BTreeMap<Address, BTreeSet<B256>> = BTreeMap::new();
    for address in outcome.trace.accounts.keys().filter(|address| !is_precompile(address)) {
        all.entry(*address).or_default();
    }
    for (address, slot) in outcome.trace.reads.keys() {
        all.entry(*address).or_default().insert(B256::from(*slot));
    }
    let target = call.to.or(outcome.created);
    let warm = [Some(call.from), target, Some(snapshot.head.coinbase)];
    let items = all.into_iter().filter(|(address, slots)| !slots.is_empty() || !warm.contains(&Some(*address)));
    AccessList(
        items.map(|(address, slots)| AccessListItem { address, storage_keys: slots.into_iter().collect() }).collect(),
    )
}

/// The precompiles of Osaka: 1 to 17, and 256 for secp256r1.
fn is_precompile(address: &Address) -> bool {
    let number = U256::from_be_slice(address.as_slice());
    (U256::from(1)..=U256::from(17)).contains(&number) || number == U256::from(256)
}

fn check(outcome: &Outcome) -> Result<(), RpcError> {
    match &outcome.status {
        Status::Success => Ok(()),
        Status::Revert => Err(RpcError::reverted(outcome.revert_reason().as_deref(), outcome.output.clone())),
        Status::Halt(name) => Err(RpcError::server(name.replace('_', " "))),
        Status::OutOfBudget => Err(RpcError::server("out of gas")),
    }
}

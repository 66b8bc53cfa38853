//! What the logs of a call say about tokens.

use alloy_primitives::{Address, Log, U256};
use alloy_sol_types::SolEvent;

use super::abi;
use super::candidates::{Candidates, PERMIT2};

/// Ids read of one batch transfer; more make the answer incomplete.
const MAX_BATCH: usize = 64;

/// Notes one log. Logs that are not of a known event, or do not decode as it, are none of a token.
pub(super) fn note(candidates: &mut Candidates, log: &Log) {
    let Some(topic) = log.topics().first().copied() else {
        return;
    };
    if log.address == PERMIT2 {
        return note_permit2(candidates, log);
    }
    let token = log.address;
    match topic {
        abi::Transfer::SIGNATURE_HASH => note_transfer(candidates, log),
        abi::Approval::SIGNATURE_HASH => note_approval(candidates, log),
        abi::ApprovalForAll::SIGNATURE_HASH => {
            if let Ok(event) = abi::ApprovalForAll::decode_log_data(&log.data) {
                candidates.operator(token, event.owner, event.operator, None);
            }
        }
        abi::TransferSingle::SIGNATURE_HASH => {
            if let Ok(event) = abi::TransferSingle::decode_log_data(&log.data) {
                candidates.multi_transfer(token, event.id, event.from, event.to, event.value);
            }
        }
        abi::TransferBatch::SIGNATURE_HASH => note_batch(candidates, log),
        // Wrapped ether comes and goes by these, without a Transfer.
        abi::Deposit::SIGNATURE_HASH => {
            if let Ok(event) = abi::Deposit::decode_log_data(&log.data) {
                candidates.transfer(token, Address::ZERO, event.account, event.amount);
            }
        }
        abi::Withdrawal::SIGNATURE_HASH => {
            if let Ok(event) = abi::Withdrawal::decode_log_data(&log.data) {
                candidates.transfer(token, event.account, Address::ZERO, event.amount);
            }
        }
        _ => {}
    }
}

/// ERC-20 and ERC-721 share the event; the number of indexed fields tells them apart.
fn note_transfer(candidates: &mut Candidates, log: &Log) {
    match indexed(log) {
        Some([from, to, id]) => candidates.nft_transfer(log.address, id.into(), address(from), address(to)),
        None => {
            if let Ok(event) = abi::Transfer::decode_log_data(&log.data) {
                candidates.transfer(log.address, event.from, event.to, event.amount);
            }
        }
    }
}

fn note_approval(candidates: &mut Candidates, log: &Log) {
    match indexed(log) {
        Some([owner, operator, id]) => {
            candidates.operator(log.address, address(owner), address(operator), Some(id.into()));
        }
        None => {
            if let Ok(event) = abi::Approval::decode_log_data(&log.data) {
                candidates.allowance(log.address, event.owner, event.spender, None, Some(event.amount));
            }
        }
    }
}

fn note_batch(candidates: &mut Candidates, log: &Log) {
    let Ok(event) = abi::TransferBatch::decode_log_data(&log.data) else {
        return;
    };
    candidates.incomplete |= event.ids.len() > MAX_BATCH;
    for (id, value) in event.ids.into_iter().zip(event.values).take(MAX_BATCH) {
        candidates.multi_transfer(log.address, id, event.from, event.to, value);
    }
}

fn note_permit2(candidates: &mut Candidates, log: &Log) {
    use abi::permit2::{Approval, Lockdown, Permit};
    if let Ok(event) = Approval::decode_log_data(&log.data) {
        candidates.allowance(event.token, event.owner, event.spender, Some(PERMIT2), Some(U256::from(event.amount)));
    } else if let Ok(event) = Permit::decode_log_data(&log.data) {
        candidates.allowance(event.token, event.owner, event.spender, Some(PERMIT2), Some(U256::from(event.amount)));
    } else if let Ok(event) = Lockdown::decode_log_data(&log.data) {
        candidates.allowance(event.token, event.owner, event.spender, Some(PERMIT2), Some(U256::ZERO));
    }
}

/// The three indexed fields of a log, when it has as many.
fn indexed(log: &Log) -> Option<[alloy_primitives::B256; 3]> {
    match log.topics() {
        [_, first, second, third] => Some([*first, *second, *third]),
        _ => None,
    }
}

fn address(word: alloy_primitives::B256) -> Address {
    Address::from_word(word)
}

//! What stands in bytecode, without running it: functions, reachable instructions, addresses, and who writes what.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError};

use alloy_dyn_abi::DynSolType;
use alloy_primitives::{Address, B256, U256, keccak256};
use ops::{DELEGATECALL, JUMPDEST, PUSH1, PUSH32, SELFDESTRUCT, STOPS};

use super::abi::address_in;

/// Functions looked at in one contract.
pub(crate) const MOST_FUNCTIONS: usize = 160;

/// The few opcodes that matter here (yellow paper, appendix H).
mod ops {
    pub(super) const JUMPDEST: u8 = 0x5b;
    pub(super) const PUSH1: u8 = 0x60;
    pub(super) const PUSH32: u8 = 0x7f;
    pub(super) const DELEGATECALL: u8 = 0xf4;
    pub(super) const SELFDESTRUCT: u8 = 0xff;
    /// STOP, JUMP, RETURN, REVERT, INVALID, SELFDESTRUCT: nothing runs on behind them.
    pub(super) const STOPS: [u8; 6] = [0x00, 0x56, 0xf3, 0xfd, 0xfe, SELFDESTRUCT];
}

/// A function by its selector.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Function {
    pub(crate) selector: [u8; 4],
    /// The types of its arguments, as inferred.
    pub(crate) arguments: Vec<DynSolType>,
}

/// A variable or mapping in storage, as inferred.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Variable {
    pub(crate) slot: U256,
    pub(crate) readers: BTreeSet<[u8; 4]>,
    pub(crate) writers: BTreeSet<[u8; 4]>,
}

/// What one contract's code has.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Code {
    pub(crate) functions: Vec<Function>,
    pub(crate) variables: Vec<Variable>,
    /// 20-byte constants.
    pub(crate) addresses: BTreeSet<Address>,
    pub(crate) can_selfdestruct: bool,
    pub(crate) can_delegate: bool,
    /// Whether everything was read: not too many functions, nothing that the reader gave up on.
    pub(crate) complete: bool,
}

/// Codes that were read, by their hashes: reading depends on nothing else.
static READ: Mutex<BTreeMap<B256, Arc<Code>>> = Mutex::new(BTreeMap::new());
/// Codes remembered.
const MOST_READ: usize = 1_024;

/// Reads a contract's code, or remembers having done so.
pub(crate) fn known(code: &[u8]) -> Arc<Code> {
    let hash = keccak256(code);
    if let Some(code) = READ.lock().unwrap_or_else(PoisonError::into_inner).get(&hash) {
        return Arc::clone(code);
    }
    let fresh = Arc::new(read(code));
    let mut known = READ.lock().unwrap_or_else(PoisonError::into_inner);
    if known.len() >= MOST_READ {
        known.pop_first();
    }
    known.insert(hash, Arc::clone(&fresh));
    fresh
}

/// Reads a contract's code.
fn read(code: &[u8]) -> Code {
    let mut found = Code { complete: true, ..Code::default() };
    for (opcode, pushed) in reachable(code) {
        found.can_selfdestruct |= opcode == SELFDESTRUCT;
        found.can_delegate |= opcode == DELEGATECALL;
        if let Some(address) = pushed.and_then(address_in) {
            found.addresses.insert(address);
        }
    }
    // Inference walks hostile code; should it ever fail, nothing is known of the functions, and that is said.
    let inferred = std::panic::catch_unwind(|| {
        let arguments = evmole::ContractInfoArgs::new(code).with_selectors().with_arguments().with_storage();
        evmole::contract_info(arguments)
    });
    let Ok(info) = inferred else {
        found.complete = false;
        return found;
    };
    let functions = info.functions.unwrap_or_default();
    found.complete = functions.len() <= MOST_FUNCTIONS;
    let mut by_selector: BTreeMap<[u8; 4], Vec<DynSolType>> = BTreeMap::new();
    for function in functions.into_iter().take(MOST_FUNCTIONS) {
        by_selector.insert(function.selector, function.arguments.unwrap_or_default());
    }
    found.functions = by_selector.into_iter().map(|(selector, arguments)| Function { selector, arguments }).collect();
    for record in info.storage.unwrap_or_default() {
        found.variables.push(Variable {
            slot: U256::from_be_bytes(record.slot),
            readers: record.reads.into_iter().collect(),
            writers: record.writes.into_iter().collect(),
        });
    }
    found
}

/// The instructions that can run, with what they push. A jump may go to any label whose number the code pushes.
fn reachable(code: &[u8]) -> Vec<(u8, Option<U256>)> {
    let labels = labels(code);
    let mut seen = vec![false; code.len()];
    let mut open = vec![0];
    let mut found = Vec::new();
    while let Some(start) = open.pop() {
        let mut at = start;
        while let Some(opcode) = code.get(at).copied().filter(|_| !seen[at]) {
            seen[at] = true;
            let size = if (PUSH1..=PUSH32).contains(&opcode) { usize::from(opcode - PUSH1) + 1 } else { 0 };
            let pushed = (size > 0).then(|| U256::from_be_slice(code.get(at + 1..at + 1 + size).unwrap_or_default()));
            found.push((opcode, pushed));
            if let Some(target) =
                pushed.and_then(|pushed| usize::try_from(pushed).ok()).filter(|to| labels.contains(to))
            {
                open.push(target);
            }
            if STOPS.contains(&opcode) {
                break;
            }
            at += 1 + size;
        }
    }
    found
}

fn labels(code: &[u8]) -> BTreeSet<usize> {
    let mut labels = BTreeSet::new();
    let mut at = 0;
    while let Some(opcode) = code.get(at).copied() {
        if opcode == JUMPDEST {
            labels.insert(at);
        }
        at += 1 + if (PUSH1..=PUSH32).contains(&opcode) { usize::from(opcode - PUSH1) + 1 } else { 0 };
    }
    labels
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn data_behind_the_code_is_no_instruction() {
        // PUSH1 04 JUMP INVALID JUMPDEST STOP, then bytes that only look like SELFDESTRUCT.
        assert!(!read(&[0x60, 0x04, 0x56, 0xfe, 0x5b, 0x00, 0xff]).can_selfdestruct);
        assert!(read(&[0x60, 0x04, 0x56, 0xfe, 0x5b, 0xff]).can_selfdestruct);
        // Pushed, not run.
        assert!(!read(&[0x60, 0xff, 0x00]).can_selfdestruct);
    }

    proptest::proptest! {
        #![proptest_config(proptest::prelude::ProptestConfig::with_cases(256))]
        #[test]
        fn any_bytes_are_read(code in proptest::collection::vec(proptest::prelude::any::<u8>(), 0..600)) {
            let _ = read(&code);
        }
    }
}

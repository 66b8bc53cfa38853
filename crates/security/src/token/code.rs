//! What stands in bytecode, without running it: functions, reachable instructions, addresses, and who writes what.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError};

use alloy_dyn_abi::DynSolType;
use alloy_primitives::{Address, B256, U256, keccak256};
use ops::{DELEGATECALL, JUMPDEST, PUSH1, PUSH32, SELFDESTRUCT, STOPS, STORAGE};

use super::abi::address_in;

/// Functions looked at in one contract.
pub(crate) const MOST_FUNCTIONS: usize = 160;
/// Instructions that load, store and hash within reach of one function. The reader follows them along many paths, and each
/// costs it time and memory; compilers' output has a few dozen, and all functions of a large token together two thousand.
const MOST_STEPS_OF_ONE: usize = 512;
/// The same of all functions together.
const MOST_STEPS_OF_ALL: usize = 16_384;

/// The few opcodes that matter here (yellow paper, appendix H).
mod ops {
    pub(super) const JUMPDEST: u8 = 0x5b;
    pub(super) const PUSH1: u8 = 0x60;
    pub(super) const PUSH32: u8 = 0x7f;
    pub(super) const DELEGATECALL: u8 = 0xf4;
    /// KECCAK256, SLOAD, SSTORE, TLOAD, TSTORE.
    pub(super) const STORAGE: [u8; 5] = [0x20, 0x54, 0x55, 0x5c, 0x5d];
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
    /// Bytes of the slot behind it, and its own.
    pub(crate) offset: usize,
    pub(crate) size: usize,
    pub(crate) readers: BTreeSet<[u8; 4]>,
    pub(crate) writers: BTreeSet<[u8; 4]>,
}

impl Variable {
    /// Whether it has any of the bytes that a mask of the slot has.
    pub(crate) fn is_within(&self, mask: U256) -> bool {
        let own = (U256::MAX >> (256 - 8 * self.size.clamp(1, 32))) << (8 * self.offset);
        !(own & mask).is_zero()
    }

    /// Whether it has some of these bytes of its slot.
    pub(crate) const fn overlaps(&self, offset: usize, size: usize) -> bool {
        self.offset < offset + size && offset < self.offset + self.size
    }
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

/// Whether SELFDESTRUCT stands in code where it can run.
pub(crate) fn can_selfdestruct(code: &[u8]) -> bool {
    reachable(code, &labels(code), 0).iter().any(|(opcode, _)| *opcode == SELFDESTRUCT)
}

/// Reads a contract's code.
fn read(code: &[u8]) -> Code {
    let mut found = Code { complete: true, ..Code::default() };
    let labels = labels(code);
    for (opcode, pushed) in reachable(code, &labels, 0) {
        found.can_selfdestruct |= opcode == SELFDESTRUCT;
        found.can_delegate |= opcode == DELEGATECALL;
        if let Some(address) = pushed.and_then(address_in) {
            found.addresses.insert(address);
        }
    }
    // Inference walks hostile code; should it ever fail, nothing is known of the functions, and that is said.
    let Some(info) = std::panic::catch_unwind(|| inferred(code, &labels)).ok().flatten() else {
        found.complete = false;
        return found;
    };
    let functions = info.functions.unwrap_or_default();
    let mut by_selector: BTreeMap<[u8; 4], Vec<DynSolType>> = BTreeMap::new();
    for function in functions {
        by_selector.insert(function.selector, function.arguments.unwrap_or_default());
    }
    found.functions = by_selector.into_iter().map(|(selector, arguments)| Function { selector, arguments }).collect();
    for record in info.storage.unwrap_or_default() {
        found.variables.push(Variable {
            slot: U256::from_be_bytes(record.slot),
            offset: record.offset.into(),
            size: size_of(&record.r#type, record.offset.into()),
            readers: record.reads.into_iter().collect(),
            writers: record.writes.into_iter().collect(),
        });
    }
    found
}

/// The bytes that a variable takes: all from its offset on where its type does not say.
fn size_of(kind: &str, offset: usize) -> usize {
    let bits =
        kind.strip_prefix("uint").or_else(|| kind.strip_prefix("int")).and_then(|bits| bits.parse::<usize>().ok());
    let bytes = kind.strip_prefix("bytes").and_then(|size| size.parse().ok());
    let size = match kind {
        "bool" => Some(1),
        "address" => Some(20),
        _ => bits.map(|bits| bits / 8).or(bytes),
    };
    size.unwrap_or(32).min(32_usize.saturating_sub(offset)).max(1)
}

/// What the reader says of functions and storage; nothing of code that would keep it busy for long. What is too much depends
/// on the code alone, never on a clock: everybody must come to the same answer.
fn inferred(code: &[u8], labels: &BTreeSet<usize>) -> Option<evmole::Contract> {
    let found = evmole::contract_info(evmole::ContractInfoArgs::new(code).with_selectors()).functions?;
    if found.len() > MOST_FUNCTIONS {
        return None;
    }
    let mut all = 0;
    for function in &found {
        let within = reachable(code, labels, function.bytecode_offset);
        let one = within.iter().filter(|(opcode, _)| STORAGE.contains(opcode)).count();
        all += one;
        if one > MOST_STEPS_OF_ONE || all > MOST_STEPS_OF_ALL {
            return None;
        }
    }
    Some(evmole::contract_info(evmole::ContractInfoArgs::new(code).with_selectors().with_arguments().with_storage()))
}

/// The instructions that can run from here on, with what they push. A jump may go to any label whose number the code
/// pushes.
fn reachable(code: &[u8], labels: &BTreeSet<usize>, start: usize) -> Vec<(u8, Option<U256>)> {
    let mut seen = vec![false; code.len()];
    let mut open = vec![start];
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
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    /// Code with this many functions, all of one body: loads and stores at forks, as many as fit.
    fn maze(functions: usize) -> Vec<u8> {
        let body = 5 + functions * 11;
        let [high, low] = u16::try_from(body).unwrap().to_be_bytes();
        // PUSH0 CALLDATALOAD PUSH1 e0 SHR, then of each function DUP1 PUSH4 EQ PUSH2 JUMPI.
        let mut code = vec![0x5f, 0x35, 0x60, 0xe0, 0x1c];
        for n in 0..functions {
            let [a, b, c, d] = (0x1000_0000 + u32::try_from(n).unwrap() * 7_919).to_be_bytes();
            code.extend([0x80, 0x63, a, b, c, d, 0x14, 0x61, high, low, 0x57]);
        }
        code.push(JUMPDEST);
        while code.len() < 23_900 {
            let [high, low] = u16::try_from(code.len() + 20).unwrap().to_be_bytes();
            // Of an argument: PUSH2 CALLDATALOAD PUSH2 JUMPI; PUSH1 PUSH1 KECCAK256 SLOAD; PUSH1 SSTORE; JUMPDEST.
            code.extend([0x61, 0, low, 0x35, 0x61, high, low, 0x57, 0x60, 0x20, 0x60, 0, 0x20, 0x54]);
            code.extend([0x35, 0x60, 0, 0x55, 0x5f, 0x50, JUMPDEST]);
        }
        code
    }

    #[test]
    fn code_that_would_keep_the_reader_busy_is_not_read() {
        let start = std::time::Instant::now();
        for functions in [40, 160, 500, 1_500] {
            assert!(!read(&maze(functions)).complete, "{functions} functions");
        }
        // The reader itself would take minutes.
        assert!(start.elapsed().as_secs() < 20);
    }

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

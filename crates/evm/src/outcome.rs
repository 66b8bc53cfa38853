//! What a call did: how it ended, what it returned and logged, and everything it looked at and changed on the way.

use std::collections::{BTreeMap, BTreeSet};

use alloy_primitives::{Address, B256, Bytes, Log, U256};
use borsh::{BorshDeserialize, BorshSerialize};
use revm::bytecode::opcode;
use serde::{Deserialize, Serialize};

use crate::Account;

/// How a call ended.
#[derive(Clone, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Status {
    /// It returned; its effects hold.
    Success,
    /// It reverted with the output as the reason.
    Revert,
    /// It ended by a rule of the EVM (`out_of_gas`, `invalid_jump`, `out_of_funds`) or was not a valid transaction at all
    /// (`intrinsic_gas`, `nonce_too_low`). The names are stable.
    Halt(String),
    /// It used up what the session allows, so that nothing is known of how it would end.
    OutOfBudget,
}

impl Status {
    /// Whether the call's effects hold.
    pub const fn is_success(&self) -> bool {
        matches!(self, Self::Success)
    }
}

/// What a call did.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Outcome {
    /// How it ended.
    pub status: Status,
    /// Gas used after refunds, with the intrinsic cost of a transaction.
    pub gas_used: u64,
    /// What it returned or reverted with.
    pub output: Bytes,
    /// The contract created by a call without a recipient.
    pub created: Option<Address>,
    /// The logs that hold, in order.
    pub logs: Vec<Log>,
    /// What it looked at and changed.
    pub trace: Trace,
}

impl Outcome {
    /// Whether the call's effects hold.
    pub const fn is_success(&self) -> bool {
        self.status.is_success()
    }

    /// The text of `revert("…")` (`Error(string)`), when the output is one.
    pub fn revert_reason(&self) -> Option<String> {
        use alloy_sol_types::SolError;
        (self.status == Status::Revert)
            .then(|| alloy_sol_types::Revert::abi_decode(&self.output).ok())
            .flatten()
            .map(|revert| revert.reason)
    }

    /// The first word of what a successful call returned, for balances, allowances and the like.
    pub fn word(&self) -> Option<U256> {
        (self.is_success() && self.output.len() >= 32).then(|| U256::from_be_slice(&self.output[..32]))
    }
}

/// What a call looked at and changed. Lists are in order of execution, sets and maps in order of their keys.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Trace {
    /// Slots that were loaded (also to be overwritten, also in frames that reverted), with their values before the call.
    pub reads: BTreeMap<(Address, U256), U256>,
    /// Accounts that were loaded, as they were before the call; `None` did not exist.
    pub accounts: BTreeMap<Address, Option<Account>>,
    /// Slots whose values differ after the call, in order of address and slot.
    pub writes: Vec<Write>,
    /// Accounts whose native balance differs after the call: before and after.
    pub balances: BTreeMap<Address, (U256, U256)>,
    /// Calls and creations, the outermost first.
    pub frames: Vec<Frame>,
    /// Native value that moved, in frames whose effects hold.
    pub native: Vec<NativeTransfer>,
    /// What was hashed, by its hash, when it is 20 to 96 bytes: this names the slots of mappings.
    pub preimages: BTreeMap<B256, Bytes>,
    /// Which opcodes ran, by the address of the code.
    pub opcodes: BTreeMap<Address, Opcodes>,
    /// Addresses that the caller of a frame or the origin was compared with, wherever the code had them from: storage, its
    /// own constants, or a mask over either. At most 256.
    pub compared: BTreeSet<Address>,
    /// Pairs of words that any code compared or subtracted, in the order of the first time; only where the session watches
    /// for them ([`Session::watch_comparisons`](crate::Session::watch_comparisons)). At most 1,024.
    #[serde(skip)]
    pub comparisons: Vec<(U256, U256)>,
    /// Words on which code jumped or which it compared with zero, but for truth values and differences that
    /// `comparisons` shows; watched with those, in order. At most 1,024.
    #[serde(skip)]
    pub decided: Vec<U256>,
    /// Slots that were written in frames whose effects hold, also with the value that they had, in order. At most 8,192.
    #[serde(skip)]
    pub stored: Vec<(Address, U256)>,
    /// SELFDESTRUCTs in frames whose effects hold.
    pub selfdestructs: Vec<SelfDestruct>,
    /// Contracts created.
    pub created: BTreeSet<Address>,
    /// Instructions executed.
    pub steps: u64,
    /// Whether frames, hashes or transfers were too many to keep them all.
    pub truncated: bool,
}

impl Trace {
    /// What any code of the call asked of its environment.
    pub fn env(&self) -> EnvReads {
        let mut all = Opcodes::default();
        for opcodes in self.opcodes.values() {
            all.merge(opcodes);
        }
        all.env()
    }
}

/// A slot that a call changed.
#[derive(Clone, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize, Serialize, Deserialize)]
pub struct Write {
    /// Whose storage.
    pub address: Address,
    /// Which slot.
    pub slot: U256,
    /// The value before the call.
    pub before: U256,
    /// The value after it.
    pub after: U256,
}

/// How a frame was entered.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, BorshSerialize, BorshDeserialize, Serialize, Deserialize,
)]
#[serde(rename_all = "snake_case")]
pub enum FrameKind {
    /// CALL, or the outermost call.
    Call,
    /// CALLCODE.
    CallCode,
    /// DELEGATECALL.
    DelegateCall,
    /// STATICCALL.
    StaticCall,
    /// CREATE, or a transaction without a recipient.
    Create,
    /// CREATE2.
    Create2,
}

/// One call or creation.
#[derive(Clone, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize, Serialize, Deserialize)]
pub struct Frame {
    /// 0 for the outermost.
    pub depth: u16,
    /// How it was entered.
    pub kind: FrameKind,
    /// Who called.
    pub from: Address,
    /// Whose code ran; the new contract of a creation (zero when it failed early).
    pub to: Address,
    /// Whose storage and balance it ran on: other than `to` for delegate calls.
    pub context: Address,
    /// Native value sent, in wei; zero for delegate calls, which only see their caller's.
    pub value: U256,
    /// The beginning of the input, at most [`Frame::INPUT_KEPT`] bytes; empty for creations.
    pub input: Bytes,
    /// How long the whole input is, in bytes.
    pub input_len: u64,
    /// Whether it returned.
    pub ok: bool,
    /// Whether its effects hold: it and all frames around it returned.
    pub kept: bool,
}

impl Frame {
    /// Bytes kept of an input: a selector and eight words.
    pub const INPUT_KEPT: usize = 4 + 8 * 32;

    /// The function selector, when the input is long enough to have one.
    pub fn selector(&self) -> Option<[u8; 4]> {
        self.input.first_chunk().copied()
    }
}

/// Native value that moved from one account to another.
#[derive(Clone, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize, Serialize, Deserialize)]
pub struct NativeTransfer {
    /// Who paid.
    pub from: Address,
    /// Who received.
    pub to: Address,
    /// In wei, above zero.
    pub value: U256,
}

/// A contract that destroyed itself, or since EIP-6780 only sent all it had.
#[derive(Clone, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize, Serialize, Deserialize)]
pub struct SelfDestruct {
    /// The contract.
    pub contract: Address,
    /// Who received its balance.
    pub beneficiary: Address,
    /// In wei.
    pub value: U256,
}

/// A set of opcodes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, BorshSerialize, BorshDeserialize, Serialize, Deserialize)]
pub struct Opcodes([u64; 4]);

impl Opcodes {
    /// Whether the opcode is in the set.
    pub const fn contains(&self, opcode: u8) -> bool {
        self.0[(opcode >> 6) as usize] >> (opcode & 63) & 1 == 1
    }

    #[inline]
    pub(crate) const fn insert(&mut self, opcode: u8) {
        self.0[(opcode >> 6) as usize] |= 1 << (opcode & 63);
    }

    pub(crate) fn merge(&mut self, other: &Self) {
        for (mine, theirs) in self.0.iter_mut().zip(other.0) {
            *mine |= theirs;
        }
    }

    /// What these opcodes ask of their environment.
    pub const fn env(&self) -> EnvReads {
        EnvReads {
            timestamp: self.contains(opcode::TIMESTAMP),
            number: self.contains(opcode::NUMBER),
            coinbase: self.contains(opcode::COINBASE),
            gas_price: self.contains(opcode::GASPRICE),
            origin: self.contains(opcode::ORIGIN),
            base_fee: self.contains(opcode::BASEFEE),
            prevrandao: self.contains(opcode::DIFFICULTY),
            gas_limit: self.contains(opcode::GASLIMIT),
            gas: self.contains(opcode::GAS),
            block_hash: self.contains(opcode::BLOCKHASH),
            chain_id: self.contains(opcode::CHAINID),
            blob: self.contains(opcode::BLOBHASH) || self.contains(opcode::BLOBBASEFEE),
            code_of_others: self.contains(opcode::EXTCODESIZE)
                || self.contains(opcode::EXTCODEHASH)
                || self.contains(opcode::EXTCODECOPY),
            balances: self.contains(opcode::BALANCE) || self.contains(opcode::SELFBALANCE),
        }
    }
}

/// What code asked of its environment. Compilers put `gas` before most calls, so that it alone says little.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, BorshSerialize, BorshDeserialize, Serialize, Deserialize)]
pub struct EnvReads {
    /// TIMESTAMP.
    pub timestamp: bool,
    /// NUMBER.
    pub number: bool,
    /// COINBASE.
    pub coinbase: bool,
    /// GASPRICE.
    pub gas_price: bool,
    /// ORIGIN.
    pub origin: bool,
    /// BASEFEE.
    pub base_fee: bool,
    /// PREVRANDAO.
    pub prevrandao: bool,
    /// GASLIMIT.
    pub gas_limit: bool,
    /// GAS.
    pub gas: bool,
    /// BLOCKHASH.
    pub block_hash: bool,
    /// CHAINID.
    pub chain_id: bool,
    /// BLOBHASH or BLOBBASEFEE.
    pub blob: bool,
    /// EXTCODESIZE, EXTCODEHASH or EXTCODECOPY.
    pub code_of_others: bool,
    /// BALANCE or SELFBALANCE.
    pub balances: bool,
}

//! Running calls one after another on an overlay of a snapshot.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use alloy_eips::eip2930::AccessList;
use alloy_eips::eip7702::SignedAuthorization;
use alloy_primitives::{Address, B256, Bytes, KECCAK256_EMPTY, TxKind, U256};
use revm::context::result::{
    EVMError, ExecutionResult, HaltReason, InvalidTransaction, OutOfGasError, Output, ResultGas,
};
use revm::context::{CfgEnv, Context, Evm, TxEnv};
use revm::context_interface::FrameStack;
use revm::handler::instructions::EthInstructions;
use revm::handler::{EthPrecompiles, MainnetContext, MainnetEvm};
use revm::state::EvmState;
use revm::{ExecuteEvm, InspectEvm};

use crate::inspect::{GAS_PER_STEP, STEPS_PER_FRAME, Watch};
use crate::overlay::Overlay;
use crate::transaction::{self, ExecuteError, Transaction};
use crate::{Account, Changes, Head, Outcome, SPEC, Snapshot, StateError, Status, Trace, Write};

type Interpreted = (Result<ExecutionResult, EVMError<StateError>>, Watch, EvmState);

/// What a transaction costs before its first instruction.
const INTRINSIC_GAS: u64 = 21_000;
/// Accounts and slots of an access list that are fetched ahead.
const MOST_PREFETCHED: usize = 1_024;

/// How much hostile code may cost. What goes beyond ends as [`Status::OutOfBudget`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Gas of a call that names none.
    pub gas: u64,
    /// Work of one call, in instructions: what costs much gas counts as several.
    pub steps: u64,
    /// Work of all calls of the session together, likewise.
    pub session_steps: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self { gas: 30_000_000, steps: 4_000_000, session_steps: 100_000_000 }
    }
}

/// A call, or a creation when it has no recipient. Who sends it need not have signed it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Call {
    /// Who sends; contracts may send too.
    pub from: Address,
    /// Who receives; a contract is created when nobody does.
    pub to: Option<Address>,
    /// Native value, in wei; the sender must have it.
    pub value: U256,
    /// Calldata or init code.
    pub data: Bytes,
    /// Gas limit; [`Limits::gas`] when absent.
    pub gas: Option<u64>,
    /// What GASPRICE says, in wei; the block's base fee when absent. Fees are never charged.
    pub gas_price: Option<u128>,
    /// Addresses and slots that are warm from the start (EIP-2930).
    pub access_list: AccessList,
    /// Delegations set before the call (EIP-7702).
    pub authorizations: Vec<SignedAuthorization>,
    /// Versioned hashes of blobs (EIP-4844).
    pub blob_hashes: Vec<B256>,
}

impl Call {
    /// A call without value.
    pub fn new(from: Address, to: Address, data: impl Into<Bytes>) -> Self {
        Self { from, to: Some(to), data: data.into(), ..Self::default() }
    }

    /// The creation of a contract.
    pub fn create(from: Address, init_code: impl Into<Bytes>) -> Self {
        Self { from, data: init_code.into(), ..Self::default() }
    }

    /// The same with native value, in wei.
    #[must_use]
    pub const fn value(mut self, value: U256) -> Self {
        self.value = value;
        self
    }

    /// The same with a gas limit.
    #[must_use]
    pub const fn gas(mut self, gas: u64) -> Self {
        self.gas = Some(gas);
        self
    }
}

/// A point that a session can go back to, any number of times. Cheap: it shares what did not change since.
#[derive(Clone, Debug)]
pub struct Checkpoint {
    changes: Arc<Changes>,
    head: Head,
}

/// Calls one after another, each on what the ones before it left. The snapshot below never changes.
///
/// Nonce, base fee, balance for fees, code size and gas caps of real transactions are not enforced, so that any call can be
/// tried; [`Session::execute`] enforces them all.
#[derive(Clone, Debug)]
pub struct Session {
    overlay: Overlay,
    head: Head,
    limits: Limits,
    steps_left: u64,
    watches_comparisons: bool,
}

impl Session {
    /// A session without changes on a snapshot.
    pub fn new(snapshot: &Snapshot, limits: Limits) -> Self {
        let origin = (snapshot.head.number, snapshot.head.hash);
        Self {
            overlay: Overlay::new(Arc::clone(&snapshot.source), origin),
            head: snapshot.head.clone(),
            limits,
            steps_left: limits.session_steps,
            watches_comparisons: false,
        }
    }

    /// Runs a call and keeps its effects.
    ///
    /// # Errors
    /// When state could not be read. A call that fails is an [`Outcome`], not an error.
    pub fn run(&mut self, call: &Call) -> Result<Outcome, StateError> {
        let (outcome, state) = self.attempt(call)?;
        self.overlay.commit(state);
        Ok(outcome)
    }

    /// Runs a call and keeps nothing.
    ///
    /// # Errors
    /// As [`Session::run`].
    pub fn peek(&mut self, call: &Call) -> Result<Outcome, StateError> {
        Ok(self.attempt(call)?.0)
    }

    /// The point to go back to.
    pub fn checkpoint(&self) -> Checkpoint {
        Checkpoint { changes: Arc::clone(&self.overlay.changes), head: self.head.clone() }
    }

    /// Goes back (or forth) to a point of this session or of one on the same snapshot.
    pub fn restore(&mut self, checkpoint: &Checkpoint) {
        self.overlay.changes = Arc::clone(&checkpoint.changes);
        self.head.clone_from(&checkpoint.head);
    }

    /// Everything that changed since the snapshot.
    pub fn changes(&self) -> &Changes {
        &self.overlay.changes
    }

    /// The state as it is now, for what looks at a snapshot: a contract that a transaction not sent yet would create, or
    /// what is left after the earlier ones of a bundle. Later changes of the session are not in it.
    pub fn snapshot(&self) -> Snapshot {
        Snapshot { head: self.head.clone(), source: Arc::new(self.overlay.clone()) }
    }

    /// The block that calls see.
    pub const fn head(&self) -> &Head {
        &self.head
    }

    /// The block that calls see, to travel in time or to change its coinbase, base fee and the like.
    pub const fn head_mut(&mut self) -> &mut Head {
        &mut self.head
    }

    /// Makes the hashes of blocks that time travel imagines of this, instead of the snapshot's hash, which code can know.
    pub const fn imagine_blocks(&mut self, seed: B256) {
        self.overlay.imagined = seed;
    }

    /// Notes from now on what words are compared ([`Trace::comparisons`]), or does so no more.
    pub const fn watch_comparisons(&mut self, on: bool) {
        self.watches_comparisons = on;
    }

    /// Work that the session may still do, in instructions.
    pub const fn steps_left(&self) -> u64 {
        self.steps_left
    }

    /// An account, `None` when it does not exist.
    ///
    /// # Errors
    /// When state could not be read; so for all readers and writers below.
    pub fn account(&self, address: Address) -> Result<Option<Account>, StateError> {
        self.overlay.header(address)
    }

    /// Native balance, in wei.
    ///
    /// # Errors
    /// When state could not be read.
    pub fn balance(&self, address: Address) -> Result<U256, StateError> {
        Ok(self.account(address)?.unwrap_or_default().balance)
    }

    /// Nonce of an account.
    ///
    /// # Errors
    /// When state could not be read.
    pub fn nonce(&self, address: Address) -> Result<u64, StateError> {
        Ok(self.account(address)?.unwrap_or_default().nonce)
    }

    /// Code of an account; empty when it has none.
    ///
    /// # Errors
    /// When state could not be read.
    pub fn code(&self, address: Address) -> Result<Bytes, StateError> {
        self.overlay.code_of(address)
    }

    /// A storage slot.
    ///
    /// # Errors
    /// When state could not be read.
    pub fn storage(&self, address: Address, slot: U256) -> Result<U256, StateError> {
        self.overlay.slot(address, slot)
    }

    /// Gives an account a native balance, in wei.
    ///
    /// # Errors
    /// When the rest of the account could not be read.
    pub fn set_balance(&mut self, address: Address, balance: U256) -> Result<(), StateError> {
        self.overlay.change_mut(address)?.account.get_or_insert_default().balance = balance;
        Ok(())
    }

    /// Gives an account a nonce.
    ///
    /// # Errors
    /// When the rest of the account could not be read.
    pub fn set_nonce(&mut self, address: Address, nonce: u64) -> Result<(), StateError> {
        self.overlay.change_mut(address)?.account.get_or_insert_default().nonce = nonce;
        Ok(())
    }

    /// Places code at an address.
    ///
    /// # Errors
    /// When the rest of the account could not be read.
    pub fn set_code(&mut self, address: Address, code: impl Into<Bytes>) -> Result<(), StateError> {
        self.overlay.set_code(address, code.into())
    }

    /// Writes a storage slot.
    ///
    /// # Errors
    /// When the account could not be read.
    pub fn set_storage(&mut self, address: Address, slot: U256, value: U256) -> Result<(), StateError> {
        self.overlay.change_mut(address)?.storage.insert(slot, value);
        Ok(())
    }

    /// Runs a signed transaction under all rules of the chain (nonce, fees, base fee, intrinsic gas, caps) and keeps its
    /// effects: fees are paid and a failed transaction still costs.
    ///
    /// Its work is bounded by its gas alone, as in a block.
    ///
    /// # Errors
    /// [`ExecuteError::Refused`] when it may not be in a block with this head, or when state could not be read.
    pub fn execute(&mut self, transaction: &Transaction) -> Result<Outcome, ExecuteError> {
        let rules = transaction::strict(self.head.chain_id);
        let (result, watch, state) = self.interpret(transaction.environment(), rules, u64::MAX);
        match result {
            Ok(result) => {
                let outcome = conclude(result, watch, &state, true);
                self.overlay.commit(state);
                Ok(outcome)
            }
            Err(EVMError::Database(error)) => Err(error.into()),
            Err(EVMError::Transaction(reason)) => {
                Err(ExecuteError::Refused { rule: name_of_refusal(&reason), message: reason.to_string() })
            }
            Err(error) => Err(ExecuteError::Refused { rule: "engine_error", message: error.to_string() }),
        }
    }

    /// Lets a source far away fetch what an access list names in one go. Only a hint: what it lacks is fetched when read.
    pub fn prefetch(&self, list: &AccessList) {
        let slots = |keys: &[B256]| keys.iter().map(|key| U256::from_be_bytes(key.0)).collect();
        let wanted: Vec<_> = list.0.iter().map(|item| (item.address, slots(&item.storage_keys))).collect();
        self.overlay.source.prefetch(&wanted);
    }

    fn attempt(&mut self, call: &Call) -> Result<(Outcome, EvmState), StateError> {
        let named: usize = call.access_list.0.iter().map(|item| 1 + item.storage_keys.len()).sum();
        // A long list would keep a thread for longer than any answer may take.
        if (1..=MOST_PREFETCHED).contains(&named) {
            self.prefetch(&call.access_list);
        }
        let steps = self.limits.steps.min(self.steps_left);
        let (result, watch, state) =
            self.interpret(environment(&self.head, &self.limits, call), permissive(self.head.chain_id), steps);
        self.steps_left = self.steps_left.saturating_sub(watch.work);
        match result {
            Ok(result) => {
                // Where our bound was the lower one, nothing is known of the limit that was named.
                let is_theirs = call.gas.is_some_and(|gas| gas <= self.limits.gas);
                Ok((conclude(result, watch, &state, is_theirs), state))
            }
            Err(EVMError::Database(error)) => Err(error),
            Err(EVMError::Transaction(reason)) => Ok((refused(name_of_refusal(&reason)), EvmState::default())),
            Err(_) => Ok((refused("engine_error"), EvmState::default())),
        }
    }

    /// The first word that a call answers, without a trace, for balances, which are read before and after everything; `None`
    /// when it fails. Keeps nothing. Its gas is its only limit, and counts as the gas of precompiles does.
    ///
    /// # Errors
    /// As [`Session::run`].
    pub fn word(&mut self, call: &Call) -> Result<Option<U256>, StateError> {
        let before = self.steps_left;
        let answer = self.ask(call)?;
        let work = answer.tx_gas_used().saturating_sub(INTRINSIC_GAS) / GAS_PER_STEP;
        self.steps_left = before.saturating_sub(work.max(STEPS_PER_FRAME));
        let output = answer.output().filter(|output| answer.is_success() && output.len() >= 32);
        Ok(output.map(|output| U256::from_be_slice(&output[..32])))
    }

    /// What a call answers, without a trace: for reads, which are many. Keeps nothing; its gas is its only limit, and is
    /// taken from the session's instructions, as if each cost one.
    pub(crate) fn ask(&mut self, call: &Call) -> Result<ExecutionResult, StateError> {
        let exhausted = ExecutionResult::Halt {
            reason: HaltReason::OutOfGas(OutOfGasError::Basic),
            gas: ResultGas::default(),
            logs: Vec::new(),
        };
        if self.steps_left == 0 {
            return Ok(exhausted);
        }
        let context: MainnetContext<&mut Overlay> = Context::new(&mut self.overlay, SPEC);
        let transaction = environment(&self.head, &self.limits, call);
        let rules = permissive(self.head.chain_id);
        let mut evm = machine(context.with_block(self.head.environment()).with_cfg(rules), ());
        match evm.transact_one(transaction) {
            Ok(result) => {
                self.steps_left = self.steps_left.saturating_sub(result.tx_gas_used().saturating_sub(INTRINSIC_GAS));
                Ok(result)
            }
            Err(EVMError::Database(error)) => Err(error),
            Err(_) => Ok(exhausted),
        }
    }

    fn interpret(&mut self, transaction: TxEnv, rules: CfgEnv, steps: u64) -> Interpreted {
        let context: MainnetContext<&mut Overlay> = Context::new(&mut self.overlay, SPEC);
        let mut watch = Watch::new(steps);
        watch.comparisons = self.watches_comparisons.then(Vec::new);
        let mut evm = machine(context.with_block(self.head.environment()).with_cfg(rules), watch);
        let result = evm.inspect_one_tx(transaction);
        let state = evm.finalize();
        (result, evm.inspector, state)
    }
}

/// The interpreter with frames made as they are entered: most calls have one or two, and each is 32 kB of stack.
fn machine<I>(context: MainnetContext<&mut Overlay>, inspector: I) -> MainnetEvm<MainnetContext<&mut Overlay>, I> {
    Evm {
        ctx: context,
        inspector,
        instruction: EthInstructions::new_mainnet_with_spec(SPEC),
        precompiles: EthPrecompiles::new(SPEC),
        frame_stack: FrameStack::new(),
    }
}

fn environment(head: &Head, limits: &Limits, call: &Call) -> TxEnv {
    let mut transaction = TxEnv {
        tx_type: 0,
        caller: call.from,
        // Memory and precompiles are bounded by gas alone: nobody names more than ours.
        gas_limit: call.gas.map_or(limits.gas, |gas| gas.min(limits.gas)),
        gas_price: call.gas_price.unwrap_or_else(|| u128::from(head.base_fee)),
        kind: call.to.map_or(TxKind::Create, TxKind::Call),
        value: call.value,
        data: call.data.clone(),
        nonce: 0,
        chain_id: Some(head.chain_id),
        access_list: call.access_list.clone(),
        gas_priority_fee: None,
        blob_hashes: call.blob_hashes.clone(),
        max_fee_per_blob_gas: if call.blob_hashes.is_empty() { 0 } else { u128::MAX },
        authorization_list: Vec::new(),
    };
    transaction.set_signed_authorization(call.authorizations.clone());
    // A creation with blobs or delegations keeps its type and is refused by the rules of the fork.
    let _ = transaction.derive_tx_type();
    transaction
}

/// Rules for trying calls out: everything that only guards a block or a fee is off.
fn permissive(chain_id: u64) -> CfgEnv {
    let mut configuration = CfgEnv::new_with_spec(SPEC).with_chain_id(chain_id);
    configuration.disable_nonce_check = true;
    configuration.disable_base_fee = true;
    configuration.disable_fee_charge = true;
    configuration.disable_priority_fee_check = true;
    configuration.disable_block_gas_limit = true;
    configuration.disable_eip3607 = true;
    configuration.tx_gas_limit_cap = Some(u64::MAX);
    configuration.limit_contract_code_size = Some(usize::MAX);
    configuration
}

fn conclude(result: ExecutionResult, watch: Watch, state: &EvmState, gas_was_named: bool) -> Outcome {
    let gas_used = result.tx_gas_used();
    let (status, output, created, logs) = match result {
        ExecutionResult::Success { output, logs, .. } => {
            let created = match output {
                Output::Create(_, address) => address,
                Output::Call(_) => None,
            };
            (Status::Success, output.into_data(), created, logs)
        }
        ExecutionResult::Revert { output, .. } => (Status::Revert, output, None, Vec::new()),
        // Whoever named no gas limit learns that ours was too small, not that the call fails.
        ExecutionResult::Halt { reason: HaltReason::OutOfGas(_), .. } if !gas_was_named => {
            (Status::OutOfBudget, Bytes::new(), None, Vec::new())
        }
        ExecutionResult::Halt { reason, .. } => {
            (Status::Halt(name_of_halt(&reason).into()), Bytes::new(), None, Vec::new())
        }
    };
    let status = if watch.exhausted { Status::OutOfBudget } else { status };
    Outcome { status, gas_used, output, created, logs, trace: trace(watch, state) }
}

fn trace(watch: Watch, state: &EvmState) -> Trace {
    let mut trace = Trace {
        frames: watch.frames,
        native: watch.native,
        preimages: watch.preimages,
        opcodes: watch.opcodes,
        compared: watch.compared,
        comparisons: watch.comparisons.unwrap_or_default(),
        decided: watch.decided,
        stored: watch.stored,
        selfdestructs: watch.selfdestructs,
        steps: watch.steps,
        truncated: watch.truncated,
        reads: BTreeMap::new(),
        accounts: BTreeMap::new(),
        writes: Vec::new(),
        balances: BTreeMap::new(),
        created: BTreeSet::new(),
    };
    for (address, account) in state {
        let before = account.original_info();
        if before.balance != account.info.balance {
            trace.balances.insert(*address, (before.balance, account.info.balance));
        }
        let code_hash = if before.code_hash.is_zero() { KECCAK256_EMPTY } else { before.code_hash };
        let known = Account { nonce: before.nonce, balance: before.balance, code_hash };
        trace.accounts.insert(*address, (!known.is_empty()).then_some(known));
        if account.is_created() {
            trace.created.insert(*address);
        }
        for (slot, value) in &account.storage {
            trace.reads.insert((*address, *slot), value.original_value);
            if value.is_changed() {
                trace.writes.push(Write {
                    address: *address,
                    slot: *slot,
                    before: value.original_value,
                    after: value.present_value,
                });
            }
        }
    }
    trace.writes.sort_unstable_by_key(|write| (write.address, write.slot));
    trace
}

fn refused(name: &str) -> Outcome {
    Outcome {
        status: Status::Halt(name.into()),
        gas_used: 0,
        output: Bytes::new(),
        created: None,
        logs: Vec::new(),
        trace: Trace::default(),
    }
}

pub(crate) const fn name_of_halt(reason: &HaltReason) -> &'static str {
    match reason {
        HaltReason::OutOfGas(OutOfGasError::ReentrancySentry) => "out_of_gas_sentry",
        HaltReason::OutOfGas(_) => "out_of_gas",
        HaltReason::OpcodeNotFound => "unknown_opcode",
        HaltReason::InvalidFEOpcode => "invalid_opcode",
        HaltReason::InvalidJump => "invalid_jump",
        HaltReason::NotActivated => "not_activated",
        HaltReason::StackUnderflow => "stack_underflow",
        HaltReason::StackOverflow => "stack_overflow",
        HaltReason::OutOfOffset => "out_of_offset",
        HaltReason::CreateCollision => "create_collision",
        HaltReason::PrecompileError | HaltReason::PrecompileErrorWithContext(_) => "precompile_error",
        HaltReason::NonceOverflow => "nonce_overflow",
        HaltReason::CreateContractSizeLimit => "code_too_long",
        HaltReason::CreateContractStartingWithEF => "code_starts_with_ef",
        HaltReason::CreateInitCodeSizeLimit => "init_code_too_long",
        HaltReason::OverflowPayment => "overflow_payment",
        HaltReason::StateChangeDuringStaticCall => "state_change_in_static_call",
        HaltReason::CallNotAllowedInsideStatic => "value_in_static_call",
        HaltReason::OutOfFunds => "out_of_funds",
        HaltReason::CallTooDeep => "call_too_deep",
    }
}

pub(crate) const fn name_of_refusal(reason: &InvalidTransaction) -> &'static str {
    match reason {
        InvalidTransaction::CallGasCostMoreThanGasLimit { .. }
        | InvalidTransaction::GasFloorMoreThanGasLimit { .. } => "intrinsic_gas",
        InvalidTransaction::LackOfFundForMaxFee { .. } => "insufficient_funds",
        InvalidTransaction::NonceTooHigh { .. } => "nonce_too_high",
        InvalidTransaction::NonceTooLow { .. } => "nonce_too_low",
        InvalidTransaction::NonceOverflowInTransaction => "nonce_overflow",
        InvalidTransaction::GasPriceLessThanBasefee => "fee_below_base_fee",
        InvalidTransaction::PriorityFeeGreaterThanMaxFee => "tip_above_max_fee",
        InvalidTransaction::CallerGasLimitMoreThanBlock => "gas_above_block",
        InvalidTransaction::TxGasLimitGreaterThanCap { .. } => "gas_above_cap",
        InvalidTransaction::RejectCallerWithCode => "sender_has_code",
        InvalidTransaction::OverflowPaymentInTransaction => "overflow_payment",
        InvalidTransaction::CreateInitCodeSizeLimit => "init_code_too_long",
        InvalidTransaction::InvalidChainId | InvalidTransaction::MissingChainId => "wrong_chain",
        InvalidTransaction::BlobGasPriceGreaterThanMax { .. } => "blob_fee_too_low",
        InvalidTransaction::EmptyBlobs => "no_blobs",
        InvalidTransaction::TooManyBlobs { .. } => "too_many_blobs",
        InvalidTransaction::BlobVersionNotSupported => "blob_version",
        InvalidTransaction::BlobCreateTransaction => "blob_creation",
        InvalidTransaction::EmptyAuthorizationList => "no_authorizations",
        _ => "invalid_transaction",
    }
}

//! Watching a call: counts its work, stops it when that is too much, and notes what [`Trace`] shows.
//!
//! Work is counted as it is done, in instructions: one that costs much gas counts as many, a frame and a precompile too. Gas
//! that a failing frame forfeits is no work, and what it did before it failed is.
//!
//! Everything kept is bounded, whatever the code does: a list that is full sets [`Trace::truncated`].

use std::collections::{BTreeMap, BTreeSet};

use alloy_primitives::{Address, B256, Bytes, U256};
use revm::Inspector;
use revm::bytecode::opcode;
use revm::context_interface::{ContextTr, CreateScheme, Transaction as _};
use revm::interpreter::interpreter::EthInterpreter;
use revm::interpreter::interpreter_types::{InputsTr, Jumps};
use revm::interpreter::{
    CallInputs, CallOutcome, CallScheme, CreateInputs, CreateOutcome, InstructionResult, Interpreter, InterpreterResult,
};

use crate::{Frame, FrameKind, NativeTransfer, Opcodes, SelfDestruct};

/// Gas that counts like one more instruction, of hashing, copying, growing memory and precompiles.
pub(crate) const GAS_PER_STEP: u64 = 16;
/// Instructions that entering a frame counts like.
pub(crate) const STEPS_PER_FRAME: u64 = 32;
/// Frames kept of one call.
const MAX_FRAMES: usize = 8_192;
/// Hashed inputs kept of one call.
const MAX_PREIMAGES: usize = 8_192;
/// Native transfers kept of one call.
const MAX_TRANSFERS: usize = 8_192;
/// Bytes of a hashed input that is kept: a key and a slot are 64.
const MAX_PREIMAGE: usize = 96;
/// Values computed from a caller that are remembered of one call.
const MAX_MASKED: usize = 64;
/// Addresses kept that callers were compared with.
const MAX_COMPARED: usize = 256;
/// Slots kept that were written.
const MAX_STORED: usize = 8_192;
/// Pairs kept of words that were compared.
const MAX_COMPARISONS: usize = 1_024;

/// The inspector of one call.
#[derive(Debug)]
pub(crate) struct Watch {
    pub(crate) frames: Vec<Frame>,
    pub(crate) native: Vec<NativeTransfer>,
    pub(crate) selfdestructs: Vec<SelfDestruct>,
    pub(crate) preimages: BTreeMap<B256, Bytes>,
    pub(crate) opcodes: BTreeMap<Address, Opcodes>,
    pub(crate) compared: BTreeSet<Address>,
    masked: Vec<Masked>,
    /// What was compared with what, where that is watched.
    pub(crate) comparisons: Option<Vec<(U256, U256)>>,
    /// What code decided on by itself, where that is watched.
    pub(crate) decided: Vec<U256>,
    /// Words that were subtracted or told apart last.
    last: (U256, U256),
    /// Slots that were written.
    pub(crate) stored: Vec<(Address, U256)>,
    pub(crate) steps: u64,
    /// Work, in instructions.
    pub(crate) work: u64,
    pub(crate) truncated: bool,
    /// Set once the work was too much; every frame then ends at its next instruction.
    pub(crate) exhausted: bool,
    allowed_work: u64,
    open: Vec<Open>,
    /// What is being hashed; the next instruction finds the hash on the stack.
    hashing: Option<Preimage>,
}

/// The input of KECCAK256.
#[derive(Clone, Copy, Debug)]
struct Preimage {
    bytes: [u8; MAX_PREIMAGE],
    size: usize,
}

/// A value that code computed from its caller, and how an address is had back from what it is compared with.
#[derive(Clone, Copy, Debug)]
struct Masked {
    value: U256,
    mask: Mask,
}

#[derive(Clone, Copy, Debug)]
enum Mask {
    Nothing,
    Xor(U256),
    Plus(U256),
}

/// A frame that runs. The lengths say what is to be forgotten if it fails.
#[derive(Debug)]
struct Open {
    frame: Option<usize>,
    next_frame: usize,
    native: usize,
    selfdestructs: usize,
    stored: usize,
    opcodes: Opcodes,
    /// The instruction that ran last, and the gas that was left before it.
    last: Option<(u8, u64)>,
}

impl Open {
    /// What the instruction that ran last in this frame counts for beside the one that it is.
    fn settled(&self, gas_left: u64) -> u64 {
        match self.last {
            Some((opcode, had)) if !is_priced_otherwise(opcode) => had.saturating_sub(gas_left) / GAS_PER_STEP,
            _ => 0,
        }
    }
}

impl Watch {
    pub(crate) const fn new(allowed_work: u64) -> Self {
        Self {
            frames: Vec::new(),
            native: Vec::new(),
            selfdestructs: Vec::new(),
            preimages: BTreeMap::new(),
            opcodes: BTreeMap::new(),
            compared: BTreeSet::new(),
            masked: Vec::new(),
            comparisons: None,
            decided: Vec::new(),
            last: (U256::ZERO, U256::ZERO),
            stored: Vec::new(),
            steps: 0,
            work: 0,
            truncated: false,
            exhausted: false,
            allowed_work,
            open: Vec::new(),
            hashing: None,
        }
    }

    fn enter(&mut self, frame: impl FnOnce(u16) -> Frame) {
        let depth = u16::try_from(self.open.len()).unwrap_or(u16::MAX);
        let kept = self.frames.len() < MAX_FRAMES;
        self.open.push(Open {
            frame: kept.then_some(self.frames.len()),
            next_frame: self.frames.len(),
            native: self.native.len(),
            selfdestructs: self.selfdestructs.len(),
            stored: self.stored.len(),
            opcodes: Opcodes::default(),
            last: None,
        });
        if depth > 0 {
            self.work = self.work.saturating_add(STEPS_PER_FRAME);
        }
        if kept {
            self.frames.push(frame(depth));
        }
        self.truncated |= !kept;
    }

    fn leave(&mut self, code: Address, ok: bool) -> Option<&mut Frame> {
        self.hashing = None;
        let open = self.open.pop()?;
        self.opcodes.entry(code).or_default().merge(&open.opcodes);
        if !ok {
            self.native.truncate(open.native);
            self.selfdestructs.truncate(open.selfdestructs);
            self.stored.truncate(open.stored);
            for frame in &mut self.frames[open.next_frame..] {
                frame.kept = false;
            }
        }
        let frame = self.frames.get_mut(open.frame?)?;
        frame.ok = ok;
        Some(frame)
    }

    /// Counts an instruction, with what the one before it in the same frame cost.
    #[inline]
    fn count(&mut self, opcode: u8, gas_left: u64) {
        self.steps += 1;
        let mut work = 1;
        if let Some(open) = self.open.last_mut() {
            work += open.settled(gas_left);
            open.opcodes.insert(opcode);
            open.last = Some((opcode, gas_left));
        }
        self.work = self.work.saturating_add(work);
    }

    /// Counts what ended a call. A precompile, which has no instructions, costs what its work is worth, also where it
    /// fails; an instruction that fails is paid before anything is done for it, with all the gas there is.
    fn count_end(&mut self, result: &InterpreterResult) {
        let is_precompile = self.open.last().is_some_and(|open| open.last.is_none());
        let work = if is_precompile {
            result.gas.total_gas_spent() / GAS_PER_STEP
        } else if result.result.is_halt() {
            0
        } else {
            self.open.last().map_or(0, |open| open.settled(result.gas.remaining()))
        };
        self.work = self.work.saturating_add(work);
    }

    fn transfer(&mut self, from: Address, to: Address, value: U256) {
        if value.is_zero() {
            return;
        }
        if self.native.len() >= MAX_TRANSFERS {
            self.truncated = true;
            return;
        }
        self.native.push(NativeTransfer { from, to, value });
    }

    /// Notes whom the caller or the origin is compared with, also through a mask that hides the address.
    fn note_comparison(&mut self, opcode: u8, operands: (U256, U256), people: [Address; 2]) {
        // Most operands are offsets and counts.
        if self.masked.is_empty() && is_small(&operands.0) && is_small(&operands.1) {
            return;
        }
        let people = people.map(|person| U256::from_be_slice(person.as_slice()));
        let (a, b) = operands;
        for (known, other) in [(a, b), (b, a)] {
            let plain = people.contains(&known).then_some(Mask::Nothing);
            let mask =
                plain.or_else(|| self.masked.iter().find(|masked| masked.value == known).map(|masked| masked.mask));
            let Some(mask) = mask else { continue };
            let compared = match mask {
                Mask::Nothing => other,
                Mask::Xor(with) => other ^ with,
                Mask::Plus(with) => other.wrapping_sub(with),
            };
            let made = match (opcode, mask) {
                (opcode::XOR, Mask::Nothing) => Some(Masked { value: known ^ other, mask: Mask::Xor(other) }),
                (opcode::ADD, Mask::Nothing) => {
                    Some(Masked { value: known.wrapping_add(other), mask: Mask::Plus(other) })
                }
                _ => None,
            };
            if let Some(made) = made
                && self.masked.len() < MAX_MASKED
            {
                self.masked.push(made);
            }
            // ADD compares nothing.
            let is_address = !is_small(&compared) && compared.bit_len() <= 160;
            if opcode != opcode::ADD && is_address && !people.contains(&compared) && self.compared.len() < MAX_COMPARED
            {
                self.compared.insert(Address::from_word(compared.into()));
            }
        }
    }

    /// Notes two words that are compared, whatever they are.
    fn note_words(&mut self, words: (U256, U256)) {
        self.last = words;
        if let Some(all) = &mut self.comparisons
            && all.len() < MAX_COMPARISONS
            && !all.contains(&words)
        {
            all.push(words);
        }
    }

    /// Notes a word that code decides on.
    fn note_decision(&mut self, word: U256) {
        let (a, b) = self.last;
        let is_told = word <= U256::ONE || [a.wrapping_sub(b), a ^ b].contains(&word);
        if !is_told && self.decided.len() < MAX_COMPARISONS {
            self.decided.push(word);
        }
    }

    /// Notes what is about to be hashed, when it has the size of a mapping's key and slot.
    fn note_preimage(&mut self, interpreter: &Interpreter<EthInterpreter>) {
        let (Ok(offset), Ok(size)) = (interpreter.stack.peek(0), interpreter.stack.peek(1)) else {
            return;
        };
        let (Ok(offset), Ok(size)) = (usize::try_from(offset), usize::try_from(size)) else {
            return;
        };
        if !(20..=MAX_PREIMAGE).contains(&size) {
            return;
        }
        if self.preimages.len() >= MAX_PREIMAGES {
            self.truncated = true;
            return;
        }
        let mut bytes = [0; MAX_PREIMAGE];
        let memory = interpreter.memory.context_memory();
        // Memory that was not written yet reads as zero, and grows only once the instruction runs.
        let present = memory.get(offset.min(memory.len())..).unwrap_or_default();
        let taken = present.len().min(size);
        bytes[..taken].copy_from_slice(&present[..taken]);
        self.hashing = Some(Preimage { bytes, size });
    }

    /// Takes the hash of what was hashed from where the instruction left it.
    fn note_hash(&mut self, interpreter: &Interpreter<EthInterpreter>) {
        let Some(Preimage { bytes, size }) = self.hashing.take() else { return };
        let (Ok(hash), Some(input)) = (interpreter.stack.peek(0), bytes.get(..size)) else { return };
        self.preimages.entry(hash.into()).or_insert_with(|| Bytes::copy_from_slice(input));
    }
}

impl<CTX: ContextTr> Inspector<CTX, EthInterpreter> for Watch {
    #[inline]
    fn step(&mut self, interpreter: &mut Interpreter<EthInterpreter>, context: &mut CTX) {
        if self.hashing.is_some() {
            self.note_hash(interpreter);
        }
        if self.work >= self.allowed_work {
            self.exhausted = true;
            interpreter.halt(InstructionResult::OutOfGas);
            return;
        }
        let opcode = interpreter.bytecode.opcode();
        self.count(opcode, interpreter.gas.remaining());
        match opcode {
            opcode::KECCAK256 => self.note_preimage(interpreter),
            opcode::EQ | opcode::SUB | opcode::XOR | opcode::ADD => {
                if let (Ok(a), Ok(b)) = (interpreter.stack.peek(0), interpreter.stack.peek(1)) {
                    let people = [interpreter.input.caller_address(), context.tx().caller()];
                    self.note_comparison(opcode, (a, b), people);
                    if opcode != opcode::ADD && self.comparisons.is_some() {
                        self.note_words((a, b));
                    }
                }
            }
            opcode::LT | opcode::GT | opcode::SLT | opcode::SGT if self.comparisons.is_some() => {
                if let (Ok(a), Ok(b)) = (interpreter.stack.peek(0), interpreter.stack.peek(1)) {
                    self.note_words((a, b));
                }
            }
            opcode::ISZERO if self.comparisons.is_some() => {
                if let Ok(word) = interpreter.stack.peek(0) {
                    self.note_decision(word);
                }
            }
            opcode::JUMPI if self.comparisons.is_some() => {
                if let Ok(word) = interpreter.stack.peek(1) {
                    self.note_decision(word);
                }
            }
            opcode::SSTORE if self.stored.len() < MAX_STORED => {
                if let Ok(slot) = interpreter.stack.peek(0) {
                    self.stored.push((interpreter.input.target_address(), slot));
                }
            }
            _ => {}
        }
    }

    fn call(&mut self, context: &mut CTX, inputs: &mut CallInputs) -> Option<CallOutcome> {
        self.enter(|depth| {
            let input = inputs.input.as_bytes(context);
            Frame {
                depth,
                kind: kind_of_call(inputs.scheme),
                from: inputs.caller,
                to: inputs.bytecode_address,
                context: inputs.target_address,
                value: inputs.transfer_value().unwrap_or_default(),
                input: Bytes::copy_from_slice(&input[..input.len().min(Frame::INPUT_KEPT)]),
                input_len: input.len() as u64,
                ok: false,
                kept: true,
            }
        });
        self.transfer(inputs.transfer_from(), inputs.transfer_to(), inputs.transfer_value().unwrap_or_default());
        None
    }

    fn call_end(&mut self, _context: &mut CTX, inputs: &CallInputs, outcome: &mut CallOutcome) {
        self.count_end(&outcome.result);
        self.leave(inputs.bytecode_address, outcome.result.result.is_ok());
    }

    fn create(&mut self, _context: &mut CTX, inputs: &mut CreateInputs) -> Option<CreateOutcome> {
        self.enter(|depth| Frame {
            depth,
            kind: match inputs.scheme() {
                CreateScheme::Create2 { .. } => FrameKind::Create2,
                CreateScheme::Create | CreateScheme::Custom { .. } => FrameKind::Create,
            },
            from: inputs.caller(),
            to: Address::ZERO,
            context: Address::ZERO,
            value: inputs.value(),
            input: Bytes::new(),
            input_len: inputs.init_code().len() as u64,
            ok: false,
            kept: true,
        });
        // The recipient is known only at the end; the place in the order is this one.
        self.transfer(inputs.caller(), Address::ZERO, inputs.value());
        None
    }

    fn create_end(&mut self, _context: &mut CTX, inputs: &CreateInputs, outcome: &mut CreateOutcome) {
        let address = outcome.address.unwrap_or_default();
        let native = self.open.last().map(|open| open.native);
        let ok = outcome.result.result.is_ok();
        if let Some(frame) = self.leave(address, ok) {
            frame.to = address;
            frame.context = address;
        }
        if ok
            && !inputs.value().is_zero()
            && let Some(transfer) = native.and_then(|index| self.native.get_mut(index))
        {
            transfer.to = address;
        }
    }

    fn selfdestruct(&mut self, contract: Address, beneficiary: Address, value: U256) {
        self.transfer(contract, beneficiary, value);
        if self.selfdestructs.len() >= MAX_TRANSFERS {
            self.truncated = true;
            return;
        }
        self.selfdestructs.push(SelfDestruct { contract, beneficiary, value });
    }
}

/// Lengths, flags, offsets and precompiles; no address that somebody has the key of.
fn is_small(value: &U256) -> bool {
    value.bit_len() <= 80
}

/// Instructions whose gas prices the state's growth and what a frame inside did, which is counted there.
const fn is_priced_otherwise(opcode: u8) -> bool {
    matches!(
        opcode,
        opcode::SLOAD
            | opcode::SSTORE
            | opcode::CALL
            | opcode::CALLCODE
            | opcode::DELEGATECALL
            | opcode::STATICCALL
            | opcode::CREATE
            | opcode::CREATE2
    )
}

const fn kind_of_call(scheme: CallScheme) -> FrameKind {
    match scheme {
        CallScheme::Call => FrameKind::Call,
        CallScheme::CallCode => FrameKind::CallCode,
        CallScheme::DelegateCall => FrameKind::DelegateCall,
        CallScheme::StaticCall => FrameKind::StaticCall,
    }
}

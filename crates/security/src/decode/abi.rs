//! ABI decoding of hostile bytes: bounded in values and bytes, and exact about what does not belong there.
//!
//! Values are read as the EVM's own decoders read them, lenient ones included: an address with dirty upper bytes is still
//! an address to old contracts, so refusing it here would hide it. What is not the one canonical encoding is reported
//! beside the values.

use alloy_dyn_abi::{DynSolType, DynSolValue};
use alloy_primitives::{Address, B256, Function, I256, U256};

/// Bytes of an ABI word.
const WORD: usize = 32;

/// Deepest nesting of a type that is read.
pub const MAX_TYPE_DEPTH: usize = 12;

/// Most parts (elementary, array, tuple) that the types of one method may have.
pub const MAX_TYPE_PARTS: usize = 1_000;

/// What is left to spend on one subject, however many calls are inside each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Budget {
    /// Values, compound ones counted too.
    pub values: usize,
    /// Bytes copied out of the data into `bytes` and `string` values.
    pub bytes: usize,
}

impl Default for Budget {
    /// Enough for the largest bundle that fits into a transaction of 128 KiB, nested eight times.
    fn default() -> Self {
        Self { values: 100_000, bytes: 4 << 20 }
    }
}

/// Why bytes are not arguments of these types.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AbiError {
    /// A value lies beyond the end of the data.
    #[error("the data ends before the value at byte {at}")]
    Short {
        /// Offset into the arguments.
        at: usize,
    },
    /// The budget is spent.
    #[error("too many values or bytes")]
    Budget,
    /// The types are nested too deeply, have too many parts or a part of no size.
    #[error("types that no contract takes")]
    Types,
}

/// How the bytes stand to the canonical encoding of the values.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Encoding {
    /// Bytes after the last one that was read.
    pub left_over: usize,
    /// Whether all before them is the encoding that a compiler would have written.
    pub canonical: bool,
}

/// Reads the arguments of these types from the start of `data`.
///
/// # Errors
/// [`AbiError`] when the data is too short, the budget spent or a type out of bounds.
pub fn decode(
    types: &[DynSolType],
    data: &[u8],
    budget: &mut Budget,
) -> Result<(Vec<DynSolValue>, Encoding), AbiError> {
    check(types)?;
    let mut reader = Reader { data, budget, end: 0 };
    let values = reader.sequence(types.iter(), types.len(), 0)?;
    let end = reader.end;
    Ok(compared(values, data, end))
}

/// The values with what differs from their encoding.
fn compared(values: Vec<DynSolValue>, data: &[u8], end: usize) -> (Vec<DynSolValue>, Encoding) {
    let tuple = DynSolValue::Tuple(values);
    let encoded = tuple.abi_encode_params();
    let encoding = if data.starts_with(&encoded) {
        Encoding { left_over: data.len() - encoded.len(), canonical: true }
    } else {
        Encoding { left_over: data.len().saturating_sub(end), canonical: false }
    };
    let values = if let DynSolValue::Tuple(values) = tuple { values } else { Vec::new() };
    (values, encoding)
}

/// Whether types of a method are within bounds.
///
/// # Errors
/// [`AbiError::Types`] when not.
pub fn check(types: &[DynSolType]) -> Result<(), AbiError> {
    let mut parts = 0;
    types.iter().try_for_each(|kind| check_one(kind, 0, &mut parts))
}

fn check_one(kind: &DynSolType, depth: usize, parts: &mut usize) -> Result<(), AbiError> {
    *parts += 1;
    if depth > MAX_TYPE_DEPTH || *parts > MAX_TYPE_PARTS {
        return Err(AbiError::Types);
    }
    match kind {
        // A part of no size could be repeated without end in no data at all.
        DynSolType::FixedArray(_, 0) => Err(AbiError::Types),
        DynSolType::Array(inner) | DynSolType::FixedArray(inner, _) => check_one(inner, depth + 1, parts),
        DynSolType::Tuple(inner) | DynSolType::CustomStruct { tuple: inner, .. } => {
            if inner.is_empty() {
                return Err(AbiError::Types);
            }
            inner.iter().try_for_each(|kind| check_one(kind, depth + 1, parts))
        }
        _ => Ok(()),
    }
}

/// Words that a value takes in the head, nothing when it lies in the tail.
fn static_words(kind: &DynSolType) -> Option<usize> {
    match kind {
        DynSolType::Bytes | DynSolType::String | DynSolType::Array(_) => None,
        DynSolType::FixedArray(inner, count) => Some(static_words(inner)?.saturating_mul(*count)),
        DynSolType::Tuple(inner) | DynSolType::CustomStruct { tuple: inner, .. } => {
            inner.iter().try_fold(0_usize, |sum, kind| Some(sum.saturating_add(static_words(kind)?)))
        }
        _ => Some(1),
    }
}

struct Reader<'d, 'b> {
    data: &'d [u8],
    budget: &'b mut Budget,
    /// One past the furthest byte that was read.
    end: usize,
}

impl Reader<'_, '_> {
    /// Values one after the other, with offsets counted from `base`.
    fn sequence<'t>(
        &mut self,
        types: impl Iterator<Item = &'t DynSolType>,
        count: usize,
        base: usize,
    ) -> Result<Vec<DynSolValue>, AbiError> {
        let mut values = Vec::with_capacity(count.min(1_024));
        let mut head = base;
        for kind in types {
            if let Some(words) = static_words(kind) {
                values.push(self.value(kind, head)?);
                head = head.saturating_add(words.saturating_mul(WORD));
            } else {
                let at = base.checked_add(self.offset(head)?).ok_or(AbiError::Short { at: head })?;
                values.push(self.value(kind, at)?);
                head = head.saturating_add(WORD);
            }
        }
        Ok(values)
    }

    /// The value that begins at this byte.
    fn value(&mut self, kind: &DynSolType, at: usize) -> Result<DynSolValue, AbiError> {
        self.spend(1, 0)?;
        match kind {
            DynSolType::Array(inner) => {
                let count = self.offset(at)?;
                let base = at.saturating_add(WORD);
                self.repeated(inner, count, base).map(DynSolValue::Array)
            }
            DynSolType::FixedArray(inner, count) => self.repeated(inner, *count, at).map(DynSolValue::FixedArray),
            DynSolType::Tuple(inner) | DynSolType::CustomStruct { tuple: inner, .. } => {
                self.sequence(inner.iter(), inner.len(), at).map(DynSolValue::Tuple)
            }
            DynSolType::Bytes => self.bytes(at).map(|bytes| DynSolValue::Bytes(bytes.to_vec())),
            DynSolType::String => {
                self.bytes(at).map(|bytes| DynSolValue::String(String::from_utf8_lossy(bytes).into_owned()))
            }
            _ => Ok(elementary(kind, self.word(at)?)),
        }
    }

    fn repeated(&mut self, kind: &DynSolType, count: usize, base: usize) -> Result<Vec<DynSolValue>, AbiError> {
        // Each element takes at least a word of the head, so a count that the data cannot hold is refused at once.
        let words = static_words(kind).unwrap_or(1).saturating_mul(count);
        if words.saturating_mul(WORD) > self.data.len().saturating_sub(base) {
            return Err(AbiError::Short { at: base });
        }
        self.sequence(std::iter::repeat_n(kind, count), count, base)
    }

    fn bytes(&mut self, at: usize) -> Result<&[u8], AbiError> {
        let length = self.offset(at)?;
        let start = at.saturating_add(WORD);
        let end = start.checked_add(length).filter(|end| *end <= self.data.len()).ok_or(AbiError::Short { at })?;
        self.spend(0, length)?;
        // The padding belongs to the value where it is there.
        self.end = self.end.max(end.next_multiple_of(WORD).min(self.data.len()).max(end));
        Ok(&self.data[start..end])
    }

    /// A word that counts bytes or elements; what does not fit into memory lies beyond the end.
    fn offset(&mut self, at: usize) -> Result<usize, AbiError> {
        usize::try_from(U256::from_be_bytes(self.word(at)?.0)).map_err(|_| AbiError::Short { at })
    }

    fn word(&mut self, at: usize) -> Result<B256, AbiError> {
        let end = at.checked_add(WORD).ok_or(AbiError::Short { at })?;
        let word = self.data.get(at..end).ok_or(AbiError::Short { at })?;
        self.end = self.end.max(end);
        Ok(B256::from_slice(word))
    }

    fn spend(&mut self, values: usize, bytes: usize) -> Result<(), AbiError> {
        self.budget.values = self.budget.values.checked_sub(values).ok_or(AbiError::Budget)?;
        self.budget.bytes = self.budget.bytes.checked_sub(bytes).ok_or(AbiError::Budget)?;
        Ok(())
    }
}

/// A value of one word, cleaned as a contract would clean it.
fn elementary(kind: &DynSolType, word: B256) -> DynSolValue {
    let number = U256::from_be_bytes(word.0);
    match kind {
        DynSolType::Bool => DynSolValue::Bool(!number.is_zero()),
        DynSolType::Int(bits) => DynSolValue::Int(sign_extended(number, *bits), *bits),
        DynSolType::Uint(bits) => DynSolValue::Uint(low_bits(number, *bits), *bits),
        DynSolType::FixedBytes(size) => {
            let mut cleaned = B256::ZERO;
            let size = (*size).min(WORD);
            cleaned[..size].copy_from_slice(&word[..size]);
            DynSolValue::FixedBytes(cleaned, size)
        }
        DynSolType::Function => DynSolValue::Function(Function::from_word(word)),
        _ => DynSolValue::Address(Address::from_word(word)),
    }
}

fn low_bits(number: U256, bits: usize) -> U256 {
    if bits >= 256 { number } else { number & ((U256::ONE << bits) - U256::ONE) }
}

fn sign_extended(number: U256, bits: usize) -> I256 {
    let shift = 256_usize.saturating_sub(bits);
    I256::from_raw(number << shift).asr(shift)
}

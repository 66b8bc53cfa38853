//! Reading decoded arguments by position.

use alloy_dyn_abi::DynSolValue;
use alloy_primitives::{Address, B256, U256};

/// Values of a call or of a tuple. A position of another type is nothing, so a row of the table that does not fit its
/// meaning yields no action instead of a wrong one.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Args<'a>(pub(crate) &'a [DynSolValue]);

impl<'a> Args<'a> {
    pub(crate) fn address(self, at: usize) -> Option<Address> {
        self.0.get(at)?.as_address()
    }

    pub(crate) fn uint(self, at: usize) -> Option<U256> {
        self.0.get(at)?.as_uint().map(|(number, _)| number)
    }

    pub(crate) fn flag(self, at: usize) -> Option<bool> {
        self.0.get(at)?.as_bool()
    }

    pub(crate) fn bytes(self, at: usize) -> Option<&'a [u8]> {
        self.0.get(at)?.as_bytes()
    }

    pub(crate) fn word(self, at: usize) -> Option<B256> {
        self.0.get(at)?.as_fixed_bytes().map(|(bytes, _)| B256::from_slice(bytes))
    }

    pub(crate) fn tuple(self, at: usize) -> Option<Self> {
        self.0.get(at)?.as_tuple().map(Args)
    }

    /// The elements of an array; none for what is no array.
    pub(crate) fn list(self, at: usize) -> &'a [DynSolValue] {
        self.0.get(at).and_then(DynSolValue::as_array).unwrap_or_default()
    }

    /// The tuples of an array of tuples.
    pub(crate) fn tuples(self, at: usize) -> impl Iterator<Item = Self> {
        self.list(at).iter().filter_map(|value| value.as_tuple().map(Args))
    }
}

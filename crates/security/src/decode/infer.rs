//! Argument types inferred from bytecode, where no ABI is known. Always marked as inferred.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::method::{Method, Selector};

/// Longest code that is looked at, in bytes: EIP-170's limit. Longer code cannot be on the chain.
pub const MAX_CODE: usize = 24_576;

/// Most methods of a contract whose types are inferred. Each costs up to a millisecond where the code is made to be slow,
/// so a contract with more is not looked at; real ones have far fewer.
pub const MAX_METHODS: usize = 256;

/// The methods that a contract's code dispatches, with the types it takes them apart as.
///
/// Worth keeping per code hash: inferring takes milliseconds, looking up nanoseconds.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Inferred {
    methods: BTreeMap<Selector, Arc<Method>>,
}

impl Inferred {
    /// Looks through runtime code (evmole's symbolic execution, which has a bound on the steps of each method). Nothing is
    /// found in code of over [`MAX_CODE`] bytes or [`MAX_METHODS`] methods.
    pub fn of(code: &[u8]) -> Self {
        if code.len() > MAX_CODE {
            return Self::default();
        }
        let methods = evmole::contract_info(evmole::ContractInfoArgs::new(code).with_selectors()).functions;
        if methods.is_none_or(|methods| methods.len() > MAX_METHODS) {
            return Self::default();
        }
        let found = evmole::contract_info(evmole::ContractInfoArgs::new(code).with_arguments());
        let methods = found.functions.unwrap_or_default().into_iter().filter_map(|function| {
            let method = Method::inferred(function.selector, function.arguments?).ok()?;
            Some((function.selector, Arc::new(method)))
        });
        Self { methods: methods.collect() }
    }

    /// What this selector seems to take.
    pub fn method(&self, selector: Selector) -> Option<&Arc<Method>> {
        self.methods.get(&selector)
    }

    /// Whether nothing was found.
    pub fn is_empty(&self) -> bool {
        self.methods.is_empty()
    }
}

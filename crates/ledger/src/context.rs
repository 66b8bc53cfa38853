//! What an action sees while it runs: the state, the block, its signer.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};

use surety_primitives::{Address, Height, NetworkId, Seconds};

use crate::modules::Event;
use crate::modules::params::Params;
use crate::state::{Key, Row, Rows};

/// Rows that a block or an action writes: a value, or the row's end.
pub type Writes = BTreeMap<Key, Option<Vec<u8>>>;

/// Bytes that hold nearly every row: one allocation instead of one for each doubling.
const USUAL_ROW: usize = 256;

/// What all actions of a block share.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BlockMeta {
    /// The network.
    pub network: NetworkId,
    /// The block's height.
    pub height: Height,
    /// The ledger clock.
    pub now: Seconds,
}

/// The world of one action. Dropping it discards what was written.
pub struct Context<'a> {
    rows: &'a dyn Rows,
    block: &'a Writes,
    meta: BlockMeta,
    params: &'a Params,
    signer: Address,
    writes: Writes,
    events: Vec<Event>,
    missing: RefCell<BTreeSet<Key>>,
}

impl<'a> Context<'a> {
    pub(crate) fn new(
        rows: &'a dyn Rows,
        block: &'a Writes,
        meta: BlockMeta,
        params: &'a Params,
        signer: Address,
    ) -> Self {
        Self {
            rows,
            block,
            meta,
            params,
            signer,
            writes: Writes::new(),
            events: Vec::new(),
            missing: RefCell::default(),
        }
    }

    /// Who signed the action.
    #[must_use]
    pub const fn signer(&self) -> Address {
        self.signer
    }

    /// The ledger clock.
    #[must_use]
    pub const fn now(&self) -> Seconds {
        self.meta.now
    }

    /// The network.
    #[must_use]
    pub const fn network(&self) -> NetworkId {
        self.meta.network
    }

    /// The block's height.
    #[must_use]
    pub const fn height(&self) -> Height {
        self.meta.height
    }

    /// The parameters in force.
    #[must_use]
    pub const fn params(&self) -> &'a Params {
        self.params
    }

    /// Tells the world what happened; it stands in the receipt.
    pub fn emit(&mut self, event: impl Into<Event>) {
        self.events.push(event.into());
    }

    /// Whether a row was needed that nobody has read yet. What is computed then is thrown away and done again.
    #[must_use]
    pub fn is_incomplete(&self) -> bool {
        !self.missing.borrow().is_empty()
    }

    /// Stops the node if something is not true that always is.
    ///
    /// # Panics
    /// If `holds` is false and every row that was needed has been read.
    pub fn invariant(&self, holds: bool, sentence: &str) {
        assert!(holds || self.is_incomplete(), "broken invariant: {sentence}");
    }

    pub(crate) fn read<T>(&self, key: &Key, decode: impl FnOnce(&[u8]) -> T) -> Option<T> {
        if let Some(written) = self.writes.get(key).or_else(|| self.block.get(key)) {
            return written.as_deref().map(decode);
        }
        match self.rows.row(key) {
            Row::Present(value) => Some(decode(value)),
            Row::Absent => None,
            Row::Unknown => {
                self.missing.borrow_mut().insert(*key);
                None
            }
        }
    }

    /// Writes a row anew: `encode` gets its empty value.
    pub(crate) fn write(&mut self, key: Key, encode: impl FnOnce(&mut Vec<u8>)) {
        let value = self.writes.entry(key).or_default().get_or_insert_with(|| Vec::with_capacity(USUAL_ROW));
        value.clear();
        encode(value);
    }

    pub(crate) fn erase(&mut self, key: Key) {
        self.writes.insert(key, None);
    }

    pub(crate) fn missing(&self) -> Vec<Key> {
        self.missing.borrow().iter().copied().collect()
    }

    pub(crate) fn into_effects(self) -> (Writes, Vec<Event>) {
        (self.writes, self.events)
    }
}

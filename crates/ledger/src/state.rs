//! Rows and tables: typed access to a flat store of 32-byte keys.
//!
//! A row's key is a hash of (table, id), uniform in its first bytes as the store wants it. A row's value names its table
//! and id before the record, so that an export, an audit or a proof says what it is about.

use std::collections::BTreeMap;
use std::marker::PhantomData;
use std::sync::LazyLock;

use borsh::{BorshDeserialize, BorshSerialize};
use surety_primitives::hash::Domain;
use surety_primitives::{Hash32, codec};

use crate::context::Context;

/// Where a row lies in the store.
pub type Key = Hash32;

/// What is known of one row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Row<'a> {
    /// Its value.
    Present(&'a [u8]),
    /// There is none.
    Absent,
    /// Not read yet: whoever drives the ledger reads it and tries again.
    Unknown,
}

/// The state before a block, or the part of it that was read so far.
pub trait Rows {
    /// What is known of the row at `key`.
    fn row(&self, key: &Key) -> Row<'_>;
}

/// A whole state in memory.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MemoryRows(pub BTreeMap<Key, Vec<u8>>);

impl Rows for MemoryRows {
    fn row(&self, key: &Key) -> Row<'_> {
        self.0.get(key).map_or(Row::Absent, |value| Row::Present(value))
    }
}

impl MemoryRows {
    /// Takes over what a block wrote.
    pub fn absorb(&mut self, writes: BTreeMap<Key, Option<Vec<u8>>>) {
        for (key, value) in writes {
            match value {
                Some(value) => self.0.insert(key, value),
                None => self.0.remove(&key),
            };
        }
    }

    /// Every record of one table, in order of key.
    pub fn scan<K: BorshDeserialize, V: BorshDeserialize>(&self, table: Map<K, V>) -> Vec<(K, V)> {
        self.0.values().filter_map(|value| table.read_row(value)).collect()
    }
}

/// A table: id → record.
pub struct Map<K, V> {
    tag: u8,
    name: &'static str,
    types: PhantomData<fn(K) -> V>,
}

impl<K, V> Clone for Map<K, V> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<K, V> Copy for Map<K, V> {}

impl<K, V> Map<K, V> {
    /// The table with this number and name; both are unique and never change (see [`crate::modules::TABLES`]).
    #[must_use]
    pub const fn new(tag: u8, name: &'static str) -> Self {
        Self { tag, name, types: PhantomData }
    }

    /// Number and name.
    #[must_use]
    pub const fn label(&self) -> (u8, &'static str) {
        (self.tag, self.name)
    }
}

impl<K: BorshSerialize, V> Map<K, V> {
    /// Where the record of `id` lies.
    #[must_use]
    pub fn key(&self, id: &K) -> Key {
        static ROWS: LazyLock<Domain> = LazyLock::new(|| Domain::new("surety/row/v1"));
        ROWS.h(&[&[self.tag], &codec::encode(id)])
    }

    /// Whether `id` has a record.
    #[must_use]
    pub fn has(&self, ctx: &Context<'_>, id: &K) -> bool {
        ctx.read(&self.key(id), <[u8]>::is_empty).is_some()
    }

    /// Deletes the record of `id`.
    pub fn remove(&self, ctx: &mut Context<'_>, id: &K) {
        ctx.erase(self.key(id));
    }
}

impl<K: BorshSerialize, V: BorshSerialize> Map<K, V> {
    /// Sets the record of `id`.
    pub fn set(&self, ctx: &mut Context<'_>, id: &K, record: &V) {
        ctx.write(self.key(id), |row| self.encode_into(row, id, record));
    }

    /// The row's value: table, id, record.
    #[must_use]
    pub fn encode(&self, id: &K, record: &V) -> Vec<u8> {
        let mut row = Vec::new();
        self.encode_into(&mut row, id, record);
        row
    }

    fn encode_into(&self, row: &mut Vec<u8>, id: &K, record: &V) {
        row.push(self.tag);
        codec::encode_into(row, id);
        codec::encode_into(row, record);
    }
}

impl<K: BorshSerialize + BorshDeserialize, V: BorshDeserialize> Map<K, V> {
    /// The record of `id`.
    ///
    /// # Panics
    /// If the row is not a record of this table: the state is broken and the node must stop.
    #[must_use]
    pub fn get(&self, ctx: &Context<'_>, id: &K) -> Option<V> {
        ctx.read(&self.key(id), |value| {
            let record = self.read_row(value).map(|(_, record)| record);
            assert!(record.is_some(), "the row of table {} cannot be read", self.name);
            record
        })
        .flatten()
    }
}

impl<K: BorshDeserialize, V: BorshDeserialize> Map<K, V> {
    /// Id and record of a row's value; nothing if it belongs to another table or is no such record.
    #[must_use]
    pub fn read_row(&self, value: &[u8]) -> Option<(K, V)> {
        let (tag, mut rest) = value.split_first()?;
        if *tag != self.tag {
            return None;
        }
        let id = K::deserialize(&mut rest).ok()?;
        let record = V::deserialize(&mut rest).ok()?;
        rest.is_empty().then_some((id, record))
    }
}

/// A table with one record.
pub type Item<V> = Map<(), V>;

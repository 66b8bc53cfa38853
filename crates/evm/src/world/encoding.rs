//! A world in JSON (the `alloc` of a genesis file) and in borsh.

use std::collections::BTreeMap;
use std::io::{Error, ErrorKind, Read, Result, Write};
use std::sync::Arc;

use alloy_primitives::{Address, B256, Bytes, U256};
use borsh::{BorshDeserialize, BorshSerialize};
use serde::{Deserializer, Serializer};

use super::{World, WorldAccount};

/// One account as it stands in both encodings.
#[derive(Clone, serde::Serialize, serde::Deserialize, BorshSerialize, BorshDeserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Alloc {
    #[serde(default, skip_serializing_if = "U256::is_zero")]
    nonce: U256,
    #[serde(default)]
    balance: U256,
    #[serde(default, skip_serializing_if = "nothing")]
    code: Bytes,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    storage: BTreeMap<B256, B256>,
}

fn nothing(bytes: &Bytes) -> bool {
    bytes.is_empty()
}

impl From<WorldAccount> for Alloc {
    fn from(account: WorldAccount) -> Self {
        Self::from(&account)
    }
}

impl From<&WorldAccount> for Alloc {
    fn from(account: &WorldAccount) -> Self {
        let storage = account.storage.iter().map(|(slot, value)| (B256::from(*slot), B256::from(*value)));
        Self {
            nonce: U256::from(account.nonce),
            balance: account.balance,
            code: account.code.clone(),
            storage: storage.collect(),
        }
    }
}

impl TryFrom<Alloc> for WorldAccount {
    type Error = &'static str;

    fn try_from(alloc: Alloc) -> std::result::Result<Self, Self::Error> {
        let nonce = u64::try_from(alloc.nonce).map_err(|_| "the nonce does not fit in 64 bits")?;
        let storage =
            alloc.storage.into_iter().map(|(slot, value)| (U256::from_be_bytes(slot.0), U256::from_be_bytes(value.0)));
        Ok(Self {
            nonce,
            balance: alloc.balance,
            code: alloc.code,
            storage: storage.filter(|(_, value)| !value.is_zero()).collect(),
            ..Self::default()
        })
    }
}

impl serde::Serialize for World {
    fn serialize<S: Serializer>(&self, serializer: S) -> std::result::Result<S::Ok, S::Error> {
        serializer.collect_map(self.accounts())
    }
}

impl<'de> serde::Deserialize<'de> for World {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> std::result::Result<Self, D::Error> {
        let accounts = <BTreeMap<Address, WorldAccount> as serde::Deserialize>::deserialize(deserializer)?;
        let accounts = accounts.into_iter().map(|(address, account)| (address, Arc::new(account))).collect();
        Ok(Self { accounts, block_hashes: BTreeMap::new() })
    }
}

impl BorshSerialize for World {
    fn serialize<W: Write>(&self, writer: &mut W) -> Result<()> {
        let accounts: BTreeMap<Address, Alloc> =
            self.accounts().map(|(address, account)| (address, Alloc::from(account))).collect();
        BorshSerialize::serialize(&accounts, writer)?;
        BorshSerialize::serialize(&self.block_hashes, writer)
    }
}

impl BorshDeserialize for World {
    fn deserialize_reader<R: Read>(reader: &mut R) -> Result<Self> {
        let accounts = <BTreeMap<Address, Alloc> as BorshDeserialize>::deserialize_reader(reader)?;
        let account = |(address, alloc)| {
            let account = WorldAccount::try_from(alloc).map_err(|reason| Error::new(ErrorKind::InvalidData, reason))?;
            Ok((address, Arc::new(account)))
        };
        let accounts = accounts.into_iter().map(account).collect::<Result<_>>()?;
        Ok(Self { accounts, block_hashes: BorshDeserialize::deserialize_reader(reader)? })
    }
}

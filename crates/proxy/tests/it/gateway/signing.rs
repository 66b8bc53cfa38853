//! Transactions of every type, signed.

use alloy_consensus::{
    SignableTransaction, TxEip1559, TxEip2930, TxEip4844, TxEip4844Variant, TxEip7702, TxEnvelope, TxLegacy,
};
use alloy_eips::eip2718::Encodable2718;
use alloy_eips::eip2930::{AccessList, AccessListItem};
use alloy_eips::eip4844::{Blob, BlobTransactionSidecar, Bytes48};
use alloy_eips::eip7594::{BlobTransactionSidecarEip7594, BlobTransactionSidecarVariant};
use alloy_eips::eip7702::{Authorization, SignedAuthorization};
use alloy_primitives::{Address, B256, Bytes, Signature, TxKind, U256, hex};
use surety_primitives::Hash32;
use surety_primitives::wallet::AccountKey;

use super::node::CHAIN;

/// The recipient that the check refuses.
pub(crate) const BAD: Address = Address::repeat_byte(0xba);
/// Any other.
pub(crate) const GOOD: Address = Address::repeat_byte(0x60);

pub(crate) fn account() -> AccountKey {
    AccountKey::from_label("ana")
}

fn sign_with(key: &AccountKey, digest: B256) -> Signature {
    Signature::from_raw_array(&key.sign(&Hash32(digest.0)).0).unwrap()
}

fn sign<T: SignableTransaction<Signature>>(transaction: T) -> TxEnvelope
where
    TxEnvelope: From<alloy_consensus::Signed<T>>,
{
    let signature = sign_with(&account(), transaction.signature_hash());
    transaction.into_signed(signature).into()
}

pub(crate) fn raw(envelope: &TxEnvelope) -> String {
    hex::encode_prefixed(envelope.encoded_2718())
}

pub(crate) fn legacy_with(to: TxKind, chain_id: Option<u64>, nonce: u64, input: Bytes) -> TxEnvelope {
    sign(TxLegacy { chain_id, nonce, gas_price: 7, gas_limit: 21_000, to, value: U256::from(5), input })
}

pub(crate) fn legacy(to: Address) -> TxEnvelope {
    legacy_with(to.into(), Some(CHAIN), 0, Bytes::new())
}

pub(crate) fn deployment(init_code: Bytes) -> TxEnvelope {
    legacy_with(TxKind::Create, Some(CHAIN), 0, init_code)
}

fn access() -> AccessList {
    AccessList(vec![AccessListItem { address: GOOD, storage_keys: vec![B256::ZERO] }])
}

pub(crate) fn type1(to: Address) -> TxEnvelope {
    sign(TxEip2930 {
        chain_id: CHAIN,
        gas_price: 7,
        gas_limit: 30_000,
        to: to.into(),
        access_list: access(),
        ..TxEip2930::default()
    })
}

pub(crate) fn type2(to: Address) -> TxEnvelope {
    sign(TxEip1559 {
        chain_id: CHAIN,
        gas_limit: 30_000,
        max_fee_per_gas: 9,
        to: to.into(),
        access_list: access(),
        ..TxEip1559::default()
    })
}

fn type3(to: Address, hashes: Vec<B256>) -> TxEip4844 {
    TxEip4844 {
        chain_id: CHAIN,
        gas_limit: 30_000,
        max_fee_per_gas: 9,
        max_fee_per_blob_gas: 1,
        to,
        blob_versioned_hashes: hashes,
        ..TxEip4844::default()
    }
}

/// A blob transaction with an empty blob, whose proofs only a node looks at.
pub(crate) fn blobs(to: Address, cells: bool) -> TxEnvelope {
    let (blobs, commitments) = (vec![Blob::ZERO], vec![Bytes48::repeat_byte(0xc0)]);
    let sidecar = if cells {
        let cell_proofs = vec![Bytes48::repeat_byte(0xc0); 128];
        BlobTransactionSidecarVariant::Eip7594(BlobTransactionSidecarEip7594 { blobs, commitments, cell_proofs })
    } else {
        let proofs = vec![Bytes48::repeat_byte(0xc0)];
        BlobTransactionSidecarVariant::Eip4844(BlobTransactionSidecar { blobs, commitments, proofs })
    };
    let hashes = sidecar.versioned_hashes().collect();
    let variant: TxEip4844Variant = type3(to, hashes).with_sidecar(sidecar).into();
    sign(variant)
}

/// A blob transaction as blocks hold it.
pub(crate) fn without_blobs(to: Address) -> TxEnvelope {
    let variant: TxEip4844Variant = TxEip4844Variant::TxEip4844(type3(to, vec![B256::repeat_byte(1)]));
    sign(variant)
}

pub(crate) fn type4(to: Address, delegate: Address) -> TxEnvelope {
    let authorization = Authorization { chain_id: U256::from(CHAIN), address: delegate, nonce: 1 };
    let signature = sign_with(&account(), authorization.signature_hash());
    let authorization: SignedAuthorization = authorization.into_signed(signature);
    sign(TxEip7702 {
        chain_id: CHAIN,
        gas_limit: 60_000,
        max_fee_per_gas: 9,
        to,
        authorization_list: vec![authorization],
        ..TxEip7702::default()
    })
}

/// The other form of a transaction's signature, which recovers the same sender.
pub(crate) fn high_s(to: Address) -> TxEnvelope {
    let order = U256::from_be_bytes(
        alloy_primitives::b256!("fffffffffffffffffffffffffffffffebaaedce6af48a03bbfd25e8cd0364141").0,
    );
    let TxEnvelope::Legacy(signed) = legacy(to) else { panic!("a legacy transaction") };
    let low = signed.signature();
    let high = Signature::new(low.r(), order - low.s(), !low.v());
    signed.tx().clone().into_signed(high).into()
}

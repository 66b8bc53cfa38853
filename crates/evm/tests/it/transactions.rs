//! Signed transactions: all types decode, everything else is refused, and the rules of the chain hold.

use std::sync::Arc;

use alloy_consensus::crypto::secp256k1;
use alloy_consensus::{
    SignableTransaction, TxEip1559, TxEip2930, TxEip4844, TxEip4844Variant, TxEip4844WithSidecar, TxEip7702,
    TxEnvelope, TxLegacy,
};
use alloy_eips::eip2718::Encodable2718;
use alloy_eips::eip4844::builder::{SidecarBuilder, SimpleCoder};
use alloy_eips::eip7594::BlobTransactionSidecarVariant;
use alloy_eips::eip7702::Authorization;
use alloy_primitives::{Address, B256, Signature, TxKind, U256, hex};
use proptest::prelude::*;
use surety_evm::{ExecuteError, Head, Limits, Role, Session, Snapshot, Transaction, TransactionError, World};

const KEY: B256 = B256::repeat_byte(7);

fn sign(hash: B256) -> Signature {
    secp256k1::sign_message(KEY, hash).unwrap()
}

/// Whoever signs with the key.
fn sender() -> Address {
    secp256k1::recover_signer(&sign(B256::ZERO), B256::ZERO).unwrap()
}

fn transfer(nonce: u64, value: u64) -> TxEip1559 {
    TxEip1559 {
        chain_id: 1,
        nonce,
        gas_limit: 21_000,
        max_fee_per_gas: 2_000_000_000,
        max_priority_fee_per_gas: 1_000_000_000,
        to: TxKind::Call(Address::repeat_byte(0xbe)),
        value: U256::from(value),
        ..TxEip1559::default()
    }
}

fn raw(transaction: TxEip1559) -> Vec<u8> {
    let signature = sign(transaction.signature_hash());
    TxEnvelope::from(transaction.into_signed(signature)).encoded_2718()
}

fn funded() -> Session {
    let mut world = World::new();
    world.set_balance(sender(), U256::from(10u64.pow(18)));
    let snapshot = Snapshot { head: Head::default(), source: Arc::new(world) };
    Session::new(&snapshot, Limits::default())
}

#[test]
fn the_sender_is_who_signed() {
    let bytes = raw(transfer(0, 5));
    let transaction = Transaction::decode(&bytes).unwrap();
    assert_eq!(transaction.sender(), sender());
    assert_eq!(transaction.raw().as_ref(), bytes);
    assert_eq!(transaction.call(1_000_000_000).gas_price, Some(2_000_000_000));
}

#[test]
fn a_legacy_transaction_without_chain_id_decodes() {
    let transaction = TxLegacy { gas_limit: 21_000, to: TxKind::Call(Address::ZERO), ..TxLegacy::default() };
    let signature = sign(transaction.signature_hash());
    let bytes = TxEnvelope::from(transaction.into_signed(signature)).encoded_2718();
    let transaction = Transaction::decode(&bytes).unwrap();
    assert_eq!(transaction.sender(), sender());
}

#[test]
fn what_is_not_exactly_one_canonical_transaction_is_refused() {
    let good = raw(transfer(0, 5));
    let mut trailing = good.clone();
    trailing.push(0);
    assert!(matches!(Transaction::decode(&trailing), Err(TransactionError::Malformed(_))));
    assert!(matches!(Transaction::decode(&good[..good.len() - 1]), Err(TransactionError::Malformed(_))));
    assert!(matches!(Transaction::decode(&[]), Err(TransactionError::Malformed(_))));
    let mut unknown = good;
    unknown[0] = 5;
    assert!(matches!(Transaction::decode(&unknown), Err(TransactionError::Malformed(_))));
    assert!(matches!(Transaction::decode(&vec![0xff; 200_000]), Err(TransactionError::TooLong(200_000))));
    // An EIP-155 example whose list has a longer form of its length than it needs.
    let long = hex!("f900520180825208940000000000000000000000000000000000000000808025");
    assert!(Transaction::decode(&long).is_err());
}

#[test]
fn a_signature_in_the_upper_half_is_refused() {
    let transaction = transfer(0, 5);
    let signature = sign(transaction.signature_hash());
    let order = U256::from_be_bytes(hex!("fffffffffffffffffffffffffffffffebaaedce6af48a03bbfd25e8cd0364141"));
    let high = Signature::new(signature.r(), order - signature.s(), !signature.v());
    let bytes = TxEnvelope::from(transaction.into_signed(high)).encoded_2718();
    assert_eq!(Transaction::decode(&bytes).unwrap_err(), TransactionError::Signature);
}

fn with_blobs(sidecar: BlobTransactionSidecarVariant) -> Vec<u8> {
    let transaction = TxEip4844 {
        chain_id: 1,
        gas_limit: 21_000,
        max_fee_per_gas: 2_000_000_000,
        max_fee_per_blob_gas: 1_000,
        blob_versioned_hashes: sidecar.versioned_hashes().collect(),
        ..TxEip4844::default()
    };
    let signature = sign(transaction.signature_hash());
    let transaction = TxEip4844WithSidecar::from_tx_and_sidecar(transaction, sidecar);
    TxEnvelope::from(TxEip4844Variant::from(transaction).into_signed(signature)).encoded_2718()
}

#[test]
fn blobs_of_both_versions_are_read_and_checked() {
    let blobs = || SidecarBuilder::<SimpleCoder>::from_slice(b"rollup");
    let old = BlobTransactionSidecarVariant::Eip4844(blobs().build_4844().unwrap());
    let new = BlobTransactionSidecarVariant::Eip7594(blobs().build_7594().unwrap());
    for sidecar in [old.clone(), new] {
        let bytes = with_blobs(sidecar);
        let transaction = Transaction::decode(&bytes).unwrap();
        assert_eq!(transaction.raw().as_ref(), bytes);
        assert_eq!(transaction.sender(), sender());
        assert_eq!(transaction.check_blobs(), Ok(()));
        assert_eq!(transaction.call(1).blob_hashes.len(), 1);
        assert!(funded().execute(&transaction).unwrap().is_success());
    }
    let BlobTransactionSidecarVariant::Eip4844(mut wrong) = old else { unreachable!() };
    wrong.blobs[0][40] ^= 1;
    let transaction = Transaction::decode(&with_blobs(BlobTransactionSidecarVariant::Eip4844(wrong))).unwrap();
    assert!(matches!(transaction.check_blobs(), Err(TransactionError::Blobs(_))));
}

fn delegating() -> Vec<u8> {
    let authorization = Authorization { chain_id: U256::from(1), address: Address::repeat_byte(0xde), nonce: 1 };
    let signed = authorization.clone().into_signed(sign(authorization.signature_hash()));
    let transaction = TxEip7702 {
        chain_id: 1,
        gas_limit: 100_000,
        max_fee_per_gas: 2_000_000_000,
        to: sender(),
        authorization_list: vec![signed],
        ..TxEip7702::default()
    };
    let signature = sign(transaction.signature_hash());
    TxEnvelope::from(transaction.into_signed(signature)).encoded_2718()
}

/// One transaction of each type, those with blobs in both forms of their sidecar.
pub(crate) fn of_every_type() -> Vec<Vec<u8>> {
    let legacy = TxLegacy { chain_id: Some(1), gas_limit: 21_000, to: TxKind::Create, ..TxLegacy::default() };
    let listed = TxEip2930 { chain_id: 1, gas_limit: 21_000, input: vec![1; 40].into(), ..TxEip2930::default() };
    let (first, second) = (sign(legacy.signature_hash()), sign(listed.signature_hash()));
    let blobs = || SidecarBuilder::<SimpleCoder>::from_slice(b"rollup");
    vec![
        TxEnvelope::from(legacy.into_signed(first)).encoded_2718(),
        TxEnvelope::from(listed.into_signed(second)).encoded_2718(),
        raw(transfer(0, 5)),
        with_blobs(BlobTransactionSidecarVariant::Eip4844(blobs().build_4844().unwrap())),
        with_blobs(BlobTransactionSidecarVariant::Eip7594(blobs().build_7594().unwrap())),
        delegating(),
    ]
}

#[test]
fn a_delegation_is_set_and_shown() {
    let transaction = Transaction::decode(&delegating()).unwrap();
    let simulation = funded().simulate(&transaction.call(1_000_000_000)).unwrap();
    let change = &simulation.changes.ownership[0];
    assert_eq!((change.contract, change.role), (sender(), Role::Delegate));
    assert_eq!((change.before, change.after), (Address::ZERO, Address::repeat_byte(0xde)));
}

#[test]
fn fees_are_paid_and_nonces_count() {
    let mut session = funded();
    let transaction = Transaction::decode(&raw(transfer(0, 5))).unwrap();
    let outcome = session.execute(&transaction).unwrap();
    assert!(outcome.is_success());
    // 21,000 gas at base fee plus tip, two gwei together; the tip goes to the coinbase.
    let paid = U256::from(21_000u64) * U256::from(2_000_000_000u64);
    assert_eq!(session.balance(sender()).unwrap(), U256::from(10u64.pow(18)) - paid - U256::from(5));
    assert_eq!(session.balance(Address::ZERO).unwrap(), paid / U256::from(2));
    assert_eq!(session.nonce(sender()).unwrap(), 1);
    let again = session.execute(&transaction).unwrap_err();
    assert!(matches!(again, ExecuteError::Refused { rule: "nonce_too_low", .. }), "{again:?}");
}

#[test]
fn every_rule_of_the_chain_refuses_by_its_name() {
    let cases: [(&str, TxEip1559); 6] = [
        ("nonce_too_high", transfer(3, 5)),
        ("insufficient_funds", transfer(0, u64::MAX)),
        ("fee_below_base_fee", TxEip1559 { max_fee_per_gas: 1, max_priority_fee_per_gas: 0, ..transfer(0, 0) }),
        ("tip_above_max_fee", TxEip1559 { max_priority_fee_per_gas: 3_000_000_000, ..transfer(0, 0) }),
        ("intrinsic_gas", TxEip1559 { gas_limit: 20_999, ..transfer(0, 0) }),
        ("gas_above_cap", TxEip1559 { gas_limit: 20_000_000, ..transfer(0, 0) }),
    ];
    for (expected, transaction) in cases {
        let mut session = funded();
        let refused = session.execute(&Transaction::decode(&raw(transaction)).unwrap()).unwrap_err();
        let ExecuteError::Refused { rule, .. } = &refused else { panic!("{refused:?}") };
        assert_eq!(*rule, expected);
        assert!(session.changes().accounts.is_empty());
    }
    let wrong_chain = Transaction::decode(&raw(TxEip1559 { chain_id: 5, ..transfer(0, 0) })).unwrap();
    assert!(matches!(funded().execute(&wrong_chain), Err(ExecuteError::Refused { rule: "wrong_chain", .. })));
}

proptest! {
    #[test]
    fn any_bytes_are_a_transaction_or_an_error(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
        let _ = Transaction::decode(&bytes);
    }

    #[test]
    fn a_transaction_with_one_byte_changed_never_has_another_encoding(place in 0usize..100, byte in any::<u8>()) {
        let mut bytes = raw(transfer(0, 5));
        let place = place % bytes.len();
        bytes[place] = byte;
        if let Ok(transaction) = Transaction::decode(&bytes) {
            prop_assert_eq!(transaction.raw().as_ref(), bytes);
        }
    }
}

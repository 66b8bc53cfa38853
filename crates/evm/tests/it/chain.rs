//! The development chain: real blocks with real roots, the pool in geth's words, snapshots of the past.

use std::sync::Arc;

use alloy_consensus::crypto::secp256k1::{recover_signer, sign_message};
use alloy_consensus::proofs::{calculate_receipt_root, calculate_transaction_root};
use alloy_consensus::{SidecarBuilder, SignableTransaction, SimpleCoder, TxEip4844, TxEip4844WithSidecar, TxEnvelope};
use alloy_eips::eip1559::BaseFeeParams;
use alloy_eips::eip2718::Encodable2718;
use alloy_eips::eip7594::BlobTransactionSidecarVariant;
use alloy_primitives::{Address, B256, Bytes, U256, keccak256};
use alloy_trie::proof::verify_proof;
use alloy_trie::{Nibbles, TrieAccount};
use proptest::prelude::*;
use surety_evm::canonical::steps::{Terms, sign};
use surety_evm::chain::{Block, Clock, Config, DEV_ACCOUNTS, DEV_KEYS, DevChain, Refusal, fund};
use surety_evm::{Call, Chain, Limits, Session, StateError, World};

const ANA: Address = DEV_ACCOUNTS[0];
const BOB: Address = DEV_ACCOUNTS[1];
const GWEI: u128 = 1_000_000_000;

/// Stores the first word of its calldata in slot 1 and logs nothing: `sstore(1, calldataload(0))`, behind a constructor.
const STORE: &[u8] = &[0x65, 0x5f, 0x35, 0x60, 0x01, 0x55, 0x00, 0x5f, 0x52, 0x60, 0x06, 0x60, 0x1a, 0xf3];

pub(crate) fn config() -> Config {
    Config { clock: Clock::Step(12), ..Config::default() }
}

pub(crate) fn chain(config: Config) -> DevChain {
    let mut world = World::new();
    fund(&mut world);
    DevChain::new(config, world)
}

/// A transaction of one of the development accounts, signed.
pub(crate) fn signed(who: usize, nonce: u64, step: &Call) -> Bytes {
    with_fee(who, nonce, step, 100 * GWEI)
}

fn with_fee(who: usize, nonce: u64, step: &Call, max_fee: u128) -> Bytes {
    let terms = Terms { chain_id: 31_337, nonce, gas: 1_000_000, max_fee, tip: GWEI };
    sign(DEV_KEYS[who], step, terms).unwrap()
}

fn pay(to: Address, wei: u64) -> Call {
    Call::new(Address::ZERO, to, Bytes::new()).value(U256::from(wei)).gas(21_000)
}

fn assert_sound(chain: &DevChain, block: &Block) {
    let header = &block.header;
    let parent = chain.block(header.number - 1).unwrap();
    assert_eq!(header.hash_slow(), block.hash);
    assert_eq!(header.parent_hash, parent.hash);
    assert_eq!(header.base_fee_per_gas, parent.header.next_block_base_fee(BaseFeeParams::ethereum()));
    assert!(header.timestamp > parent.header.timestamp);
    assert_eq!(header.state_root, chain.world(header.number).unwrap().root());
    let envelopes: Vec<_> = block.transactions.iter().map(|mined| mined.tx.envelope.clone()).collect();
    let receipts: Vec<_> = block.transactions.iter().map(|mined| mined.receipt.clone()).collect();
    assert_eq!(header.transactions_root, calculate_transaction_root(&envelopes));
    assert_eq!(header.receipts_root, calculate_receipt_root(&receipts));
    assert_eq!(header.gas_used, block.transactions.iter().map(|mined| mined.gas_used).sum::<u64>());
}

#[test]
fn the_keys_are_those_of_the_accounts() {
    for (key, account) in DEV_KEYS.into_iter().zip(DEV_ACCOUNTS) {
        let signature = sign_message(key, B256::ZERO).unwrap();
        assert_eq!(recover_signer(&signature, B256::ZERO).unwrap(), account);
    }
}

#[test]
fn a_payment_is_mined_paid_for_and_committed_to() {
    let chain = chain(config());
    let before = chain.world(0).unwrap().get(ANA).unwrap().balance();
    let hash = chain.submit(&signed(0, 0, &pay(BOB, 7))).unwrap();
    let (block, index) = chain.find(&hash).unwrap();
    assert_eq!((block.header.number, index), (1, 0));
    assert_sound(&chain, &block);

    let mined = &block.transactions[0];
    assert_eq!(mined.gas_used, 21_000);
    let base_fee = u128::from(block.header.base_fee_per_gas.unwrap());
    assert_eq!(mined.gas_price, base_fee + GWEI);
    let world = chain.world(1).unwrap();
    let spent = before - world.get(ANA).unwrap().balance();
    assert_eq!(spent, U256::from(21_000 * mined.gas_price + 7));
    assert_eq!(world.get(ANA).unwrap().nonce(), 1);
    let tip = world.get(Address::ZERO).unwrap().balance();
    assert_eq!(tip, U256::from(21_000 * GWEI), "the coinbase receives the tip, the base fee is burnt");
}

#[test]
fn a_contract_is_created_called_and_seen_in_the_past() {
    let chain = chain(config());
    chain.submit(&signed(0, 0, &Call::create(ANA, STORE))).unwrap();
    let contract = ANA.create(0);
    assert_eq!(chain.newest().transactions[0].created, [(contract, ANA)]);
    assert_eq!(chain.index().unwrap().creation(contract, None).unwrap().creator, ANA);
    for value in [5u64, 6] {
        let data = B256::from(U256::from(value));
        chain.submit(&signed(0, value - 4, &Call::new(ANA, contract, data))).unwrap();
    }
    let slot = |number| {
        let session = Session::new(&chain.snapshot(Some(number)).unwrap(), Limits::default());
        session.storage(contract, U256::ONE).unwrap()
    };
    assert_eq!([slot(1), slot(2), slot(3)], [U256::ZERO, U256::from(5), U256::from(6)]);
    for number in 1..=3 {
        assert_sound(&chain, &chain.block(number).unwrap());
    }
}

#[test]
fn transactions_wait_for_the_nonces_before_them() {
    let chain = chain(config());
    let later = chain.submit(&signed(0, 1, &pay(BOB, 1))).unwrap();
    assert_eq!(chain.newest().header.number, 0);
    assert!(chain.waiting(&later).is_some());
    assert_eq!(chain.next_nonce(ANA), 0);
    chain.submit(&signed(0, 0, &pay(BOB, 1))).unwrap();
    let block = chain.newest();
    assert_eq!(block.header.number, 1);
    assert_eq!(block.transactions.len(), 2, "both are in the block that closed the gap");
    assert_eq!(block.transactions[1].receipt.cumulative_gas_used(), 42_000);
    assert!(chain.waiting(&later).is_none());
    assert_sound(&chain, &block);
}

#[test]
fn the_higher_tip_goes_first_and_a_replacement_pays_a_tenth_more() {
    let chain = chain(Config { automine: false, ..config() });
    chain.submit(&with_fee(0, 0, &pay(BOB, 1), 10 * GWEI)).unwrap();
    let generous = Terms { chain_id: 31_337, nonce: 0, gas: 21_000, max_fee: 100 * GWEI, tip: 2 * GWEI };
    chain.submit(&sign(DEV_KEYS[1], &pay(ANA, 1), generous).unwrap()).unwrap();
    let same = with_fee(0, 0, &pay(BOB, 2), 10 * GWEI);
    assert_eq!(chain.submit(&same), Err(Refusal::Underpriced));
    let better = Terms { nonce: 0, max_fee: 11 * GWEI, tip: 11 * GWEI / 10, ..generous };
    let better = chain.submit(&sign(DEV_KEYS[0], &pay(BOB, 3), better).unwrap()).unwrap();
    let block = chain.mine();
    let senders: Vec<_> = block.transactions.iter().map(|mined| mined.tx.sender).collect();
    assert_eq!(senders, [BOB, ANA]);
    assert_eq!(block.transactions[1].tx.hash(), better);
    assert!(chain.pool().is_empty());
}

#[test]
fn refusals_have_the_words_that_wallets_look_for() {
    let chain = chain(config());
    let first = signed(0, 0, &pay(BOB, 1));
    chain.submit(&first).unwrap();
    let refusal = |raw: &[u8]| chain.submit(raw).unwrap_err().to_string();
    assert_eq!(refusal(&first), "already known");
    assert_eq!(refusal(&signed(0, 0, &pay(BOB, 2))), "nonce too low: next nonce 1, tx nonce 0");
    let rich = Call::new(ANA, BOB, Bytes::new()).value(U256::from(10u64).pow(U256::from(30))).gas(21_000);
    assert!(refusal(&signed(0, 1, &rich)).starts_with("insufficient funds for gas * price + value: balance "));
    assert_eq!(
        refusal(&signed(0, 1, &pay(BOB, 1).gas(20_999))),
        "intrinsic gas too low: gas 20999, minimum needed 21000"
    );
    assert_eq!(refusal(&signed(0, 1, &pay(BOB, 1).gas(60_000_001))), "exceeds block gas limit");
    assert!(refusal(&signed(0, 1, &pay(BOB, 1).gas(16_777_217))).starts_with("transaction gas limit too high"));
    let elsewhere = Terms { chain_id: 1, nonce: 1, gas: 21_000, max_fee: GWEI, tip: 0 };
    assert_eq!(
        refusal(&sign(DEV_KEYS[0], &pay(BOB, 1), elsewhere).unwrap()),
        "invalid chain id for signer: have 1 want 31337"
    );
    let odd = Terms { chain_id: 31_337, tip: 2 * GWEI, ..elsewhere };
    assert_eq!(
        refusal(&sign(DEV_KEYS[0], &pay(BOB, 1), odd).unwrap()),
        "max priority fee per gas higher than max fee per gas"
    );
    assert_eq!(chain.newest().header.number, 1, "nothing of this made a block");
    assert!(chain.pool().is_empty());
}

#[test]
fn what_pays_less_than_the_base_fee_waits_until_it_has_fallen() {
    let chain = chain(config());
    let cheap = Terms { chain_id: 31_337, nonce: 0, gas: 21_000, max_fee: GWEI / 2, tip: 0 };
    let hash = chain.submit(&sign(DEV_KEYS[0], &pay(BOB, 1), cheap).unwrap()).unwrap();
    assert!(chain.waiting(&hash).is_some());
    while chain.find(&hash).is_none() {
        assert!(chain.mine().header.number < 10);
    }
}

#[test]
fn the_same_transactions_give_the_same_hashes() {
    let run = || {
        let chain = chain(config());
        for nonce in 0..5 {
            chain.submit(&signed(0, nonce, &pay(BOB, nonce))).unwrap();
        }
        chain.increase_time(100);
        chain.mine();
        chain.newest().hash
    };
    assert_eq!(run(), run());
}

#[test]
fn states_are_forgotten_blocks_are_not() {
    let chain = chain(Config { history: 3, ..config() });
    (0..5).for_each(|_| drop(chain.mine()));
    assert!(chain.block(1).is_some());
    assert!(chain.world(2).is_none());
    assert!(matches!(chain.snapshot(Some(2)), Err(StateError::Absent { .. })));
    assert!(chain.snapshot(Some(3)).is_ok());
    assert!(chain.snapshot(Some(6)).is_err());
}

#[test]
fn time_is_told_by_the_steps_the_jumps_and_the_hand() {
    let chain = chain(config());
    let start = chain.newest().header.timestamp;
    assert_eq!(chain.mine().header.timestamp, start + 12);
    chain.increase_time(1000);
    assert_eq!(chain.mine().header.timestamp, start + 1024);
    assert_eq!(chain.mine().header.timestamp, start + 1036);
    assert!(!chain.set_next_timestamp(start));
    assert!(chain.set_next_timestamp(start + 5000));
    assert_eq!(chain.mine().header.timestamp, start + 5000);
}

#[test]
fn an_edit_is_a_block_whose_root_has_it() {
    let chain = chain(config());
    let block = chain.edit(|world| world.set_balance(Address::repeat_byte(9), U256::from(3)));
    assert_eq!(block.header.number, 1);
    assert_sound(&chain, &block);
    let code = Bytes::from_static(&[0x43, 0x60, 0x01, 0x90, 0x03, 0x40, 0x5f, 0x52, 0x60, 0x20, 0x5f, 0xf3]);
    chain.edit(|world| world.set_code(Address::repeat_byte(8), code));
    let mut session = Session::new(&chain.snapshot(None).unwrap(), Limits::default());
    let parent = session.peek(&Call::new(ANA, Address::repeat_byte(8), Bytes::new())).unwrap();
    assert_eq!(parent.output.as_ref(), chain.block(1).unwrap().hash.as_slice(), "BLOCKHASH knows the real hash");
}

#[test]
fn proofs_hold_against_the_root_of_the_block() {
    let chain = chain(config());
    chain.submit(&signed(0, 0, &Call::create(ANA, STORE))).unwrap();
    let contract = ANA.create(0);
    chain.submit(&signed(0, 1, &Call::new(ANA, contract, B256::from(U256::from(77))))).unwrap();
    let world: Arc<World> = chain.world(2).unwrap();
    let root = chain.newest().header.state_root;

    let proof = world.prove(contract, &[U256::ONE, U256::from(2)]);
    let key = Nibbles::unpack(keccak256(contract));
    let account = TrieAccount::new(1, U256::ZERO, proof.storage_hash, proof.code_hash);
    verify_proof(root, key, Some(alloy_rlp::encode(account)), &proof.account_proof).unwrap();
    for slot in &proof.storage_proof {
        let key = Nibbles::unpack(keccak256(slot.key.to_be_bytes::<32>()));
        let value = (!slot.value.is_zero()).then(|| alloy_rlp::encode(slot.value));
        verify_proof(proof.storage_hash, key, value, &slot.proof).unwrap();
    }
    assert_eq!(proof.storage_proof[0].value, U256::from(77));

    let nobody = Address::repeat_byte(0x55);
    let proof = world.prove(nobody, &[U256::ZERO]);
    verify_proof(root, Nibbles::unpack(keccak256(nobody)), None, &proof.account_proof).unwrap();
    assert!(proof.storage_proof[0].proof.is_empty());
}

#[test]
fn a_blob_transaction_is_kept_without_its_blobs() {
    let chain = chain(config());
    let sidecar = SidecarBuilder::<SimpleCoder>::from_slice(b"rollup").build_7594().unwrap();
    let tx = TxEip4844 {
        chain_id: 31_337,
        nonce: 0,
        gas_limit: 21_000,
        max_fee_per_gas: 100 * GWEI,
        max_priority_fee_per_gas: GWEI,
        max_fee_per_blob_gas: GWEI,
        to: BOB,
        blob_versioned_hashes: sidecar.versioned_hashes().collect(),
        ..TxEip4844::default()
    };
    let bare = tx.clone();
    let tx = TxEip4844WithSidecar { tx, sidecar: BlobTransactionSidecarVariant::Eip7594(sidecar) };
    let signature = sign_message(DEV_KEYS[0], bare.signature_hash()).unwrap();
    let whole = TxEnvelope::from(tx.into_signed(signature)).encoded_2718();
    let bare = TxEnvelope::from(bare.into_signed(signature)).encoded_2718();
    assert!(chain.submit(&bare).unwrap_err().to_string().contains("blobs"), "blobs must come along");

    let hash = chain.submit(&whole).unwrap();
    let (block, _) = chain.find(&hash).unwrap();
    assert_sound(&chain, &block);
    assert_eq!(block.header.blob_gas_used, Some(131_072));
    assert_eq!(block.transactions[0].tx.envelope.encoded_2718(), bare);
    assert_eq!(chain.submit(&whole), Err(Refusal::Known));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn no_bytes_break_the_chain(raw in proptest::collection::vec(any::<u8>(), 0..300), kind in 0u8..6) {
        let chain = chain(config());
        let typed: Vec<u8> = std::iter::once(kind).chain(raw.iter().copied()).collect();
        prop_assert!(chain.submit(&raw).is_err());
        prop_assert!(chain.submit(&typed).is_err());
        prop_assert_eq!(chain.newest().header.number, 0);
    }
}

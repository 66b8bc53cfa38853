//! What a header's digest and a receipt's are, byte for byte, for other implementations.
//!
//! Set `SURETY_WRITE_VECTORS=1` to write `vectors/block.json` anew.

use serde_json::{Value, json};
use surety_ledger::bank;
use surety_ledger::block::Failure;
use surety_ledger::{Event, Receipt};
use surety_primitives::header::{Header, receipts_root, transactions_root};
use surety_primitives::typed_data::Bytes32;
use surety_primitives::{Address, Amount, Epoch, Hash32, Height, NetworkId, Seconds, codec};

fn receipts() -> [Receipt; 2] {
    let (from, to) = (Address::repeat_byte(0x11), Address::repeat_byte(0x22));
    let done = Receipt {
        hash: Hash32([1; 32]),
        signer: from,
        nonce: 3,
        action: 1,
        fee: Amount::milli(10),
        failure: None,
        events: vec![Event::Bank(bank::Event::Transferred { from, to, amount: Amount::call(5) })],
    };
    let failure = Failure { code: 101, name: "insufficient_funds".to_owned(), message: "for people".to_owned() };
    let refused = Receipt { hash: Hash32([2; 32]), nonce: 4, failure: Some(failure), events: Vec::new(), ..done };
    [done, refused]
}

fn header() -> Header {
    let digests: Vec<Hash32> = receipts().iter().map(Receipt::digest).collect();
    Header {
        network: NetworkId(1_337),
        epoch: Epoch(0),
        view: 9,
        parent_view: 8,
        leader: Bytes32([1; 32]),
        parent: Hash32([2; 32]),
        height: Height(7),
        time_ms: 1_790_000_000_123,
        clock: Seconds(1_790_000_000),
        transactions_root: transactions_root(&[Hash32([1; 32]), Hash32([2; 32])]),
        receipts_root: receipts_root(&digests),
        state_root: Hash32([3; 32]),
        ops_root: Hash32([4; 32]),
        range_start: 5,
        range_end: 60,
    }
}

fn golden() -> Value {
    let receipts: Vec<Value> =
        receipts().iter().map(|receipt| json!({"receipt": receipt, "digest": receipt.digest()})).collect();
    let header = header();
    let encoded = const_hex::encode_prefixed(codec::encode(&header));
    json!({"receipts": receipts, "header": header, "encoded": encoded, "digest": header.digest()})
}

#[test]
fn golden_vectors_of_a_block_hold() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../vectors/block.json");
    if std::env::var_os("SURETY_WRITE_VECTORS").is_some() {
        std::fs::write(path, format!("{:#}\n", golden())).unwrap();
    }
    let written: Value = serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap();
    assert_eq!(written, golden());
}

#[test]
fn a_receipt_s_words_may_change_and_nothing_else() {
    let [_, refused] = receipts();
    let mut reworded = refused.clone();
    reworded.failure = refused.failure.clone().map(|failure| Failure { message: "better".to_owned(), ..failure });
    assert_eq!(reworded.digest(), refused.digest());
    let recoded = refused.failure.clone().map(|failure| Failure { code: 102, ..failure });
    for other in [
        Receipt { failure: None, ..refused.clone() },
        Receipt { failure: recoded, ..refused.clone() },
        Receipt { nonce: 5, ..refused.clone() },
        Receipt { fee: Amount::milli(11), ..refused.clone() },
        Receipt { hash: Hash32([9; 32]), ..refused.clone() },
        Receipt { signer: Address::ZERO, ..refused.clone() },
        Receipt { action: 2, ..refused.clone() },
        Receipt { events: receipts()[0].events.clone(), ..refused.clone() },
    ] {
        assert_ne!(other.digest(), refused.digest(), "{other:?}");
    }
}

//! Every kind of bad input leaves the state as it was: what can stand in no block changes nothing at all, what fails in one
//! changes nothing but its signer's fee and nonce.

use surety_ledger::bank::Transfer;
use surety_ledger::market::state::Event;
use surety_ledger::market::{Claim, Error, KeyChain, Purchase, ReportFault, UpdateService};
use surety_ledger::testing::faults::{Said, host, list, publication, report};
use surety_ledger::testing::market::{Market, claim, events, key, public, terms, voucher};
use surety_ledger::testing::{Scenario, account};
use surety_ledger::transaction::MAX_BYTES;
use surety_ledger::{Action as _, Transaction};
use surety_primitives::access::{Grant, GrantFlags, SubGrant, SubGrantTerms};
use surety_primitives::answer::evidence::Evidence;
use surety_primitives::dataset::{DatasetTree, Entry};
use surety_primitives::typed_data::Blob;
use surety_primitives::wallet::Signature;
use surety_primitives::{Amount, Hash32, Lane, NetworkId, PurchaseId, Seconds, codec};

/// Where the action's number stands in an encoded transaction: behind network, nonce, expiry and fee.
const TAG_AT: usize = 4 + 8 + 8 + 16;

fn transfer(chain: &Scenario) -> Transaction {
    chain.draft("ana", Transfer { to: chain.address("max"), amount: Amount::call(1) })
}

fn signed(transaction: &Transaction) -> Vec<u8> {
    codec::encode(&transaction.clone().sign(&account("ana")))
}

/// What a chain says to a transfer of "ana" that was changed before it was signed.
fn changed(change: impl FnOnce(&mut Transaction)) -> String {
    let mut chain = Market::default().chain;
    let mut transaction = transfer(&chain);
    change(&mut transaction);
    chain.turns_away(&signed(&transaction)).name().to_owned()
}

#[test]
fn a_wrong_signature_changes_nothing() {
    let mut chain = Market::default().chain;
    let good = transfer(&chain).sign(&account("ana"));
    let mut none = good.clone();
    none.signature = Signature([0; 65]);
    assert_eq!(chain.turns_away(&codec::encode(&none)).name(), "BadSignature");
    // Anything else that was not signed names another account, which holds nothing.
    let mut other = good.clone();
    other.transaction.fee = Amount::call(2);
    assert_eq!(chain.turns_away(&codec::encode(&other)).name(), "CannotPayFee");
    for at in 0..64 {
        let mut flipped = good.clone();
        flipped.signature.0[at] ^= 1;
        let name = chain.turns_away(&codec::encode(&flipped)).name();
        assert!(matches!(name, "BadSignature" | "CannotPayFee"), "{at}: {name}");
    }
    assert_eq!(chain.balance("ana"), Amount::call(1_000));
}

#[test]
fn another_nonce_network_fee_or_time_changes_nothing() {
    assert_eq!(changed(|transaction| transaction.nonce = 1), "BadNonce");
    assert_eq!(changed(|transaction| transaction.nonce = u64::MAX), "BadNonce");
    assert_eq!(changed(|transaction| transaction.network = NetworkId(1)), "WrongNetwork");
    assert_eq!(changed(|transaction| transaction.fee = Amount::milli(9)), "FeeShort");
    assert_eq!(changed(|transaction| transaction.fee = Amount::call(1_001)), "CannotPayFee");
    assert_eq!(changed(|transaction| transaction.expires = Seconds(1)), "Expired");

    let mut chain = Market::default().chain;
    let once = signed(&transfer(&chain));
    chain.does("ana", Transfer { to: chain.address("max"), amount: Amount::call(1) });
    assert_eq!(chain.turns_away(&once).name(), "BadNonce");
    // Signed for another network and passed off as one of this.
    let mut abroad = transfer(&chain);
    abroad.network = NetworkId(1);
    let mut abroad = abroad.sign(&account("ana"));
    abroad.transaction.network = chain.network();
    assert!(matches!(chain.turns_away(&codec::encode(&abroad)).name(), "CannotPayFee" | "BadNonce"));
}

#[test]
fn bytes_that_are_no_transaction_change_nothing() {
    let mut chain = Market::default().chain;
    let good = signed(&transfer(&chain));
    assert_eq!(good[TAG_AT], transfer(&chain).action.tag());
    let mut unknown = good.clone();
    unknown[TAG_AT] = 0xff;
    assert_eq!(chain.turns_away(&unknown).name(), "Malformed");
    for cut in 0..good.len() {
        assert_eq!(chain.turns_away(&good[..cut]).name(), "Malformed", "{cut} bytes");
    }
    assert_eq!(chain.turns_away(&[&good[..], &[0]].concat()).name(), "Malformed");
    assert_eq!(chain.turns_away(&vec![0; MAX_BYTES + 1]).name(), "TooLarge");
}

#[test]
fn the_same_order_again_buys_nothing_more() {
    let mut market = Market::default();
    let order = market.order();
    market.buy();
    let receipt = market.chain.costs_only_the_fee("ana", order.clone());
    assert!(matches!(events(&receipt)[..], [Event::Purchased { existing: true, .. }]));
    market.chain.fails("ana", Purchase { lanes: 3, ..order }, Error::RefReused);
}

#[test]
fn a_stale_price_and_an_uncovered_package_change_nothing() {
    let mut market = Market::default();
    let order = market.order();
    let dearer = surety_ledger::market::state::Terms { price: Amount::call(101), ..terms() };
    market.does("vera", UpdateService { service: market.service, terms: dearer });
    market.chain.fails("ana", order.clone(), Error::VersionChanged { current: 2 });
    let price = Amount::call(101);
    market.chain.fails("ana", Purchase { version: 2, ..order }, Error::FeeAboveMax { price });

    let mut market = Market::new(|terms| {
        (terms.cover, terms.cover_cap, terms.cover_faults) = (Amount::call(625), Amount::call(625), 8);
    });
    let (free, needed) = (Amount::call(5_000), Amount::call(5_100));
    market.chain.fails("ana", market.order(), Error::CoverageShort { free, needed });
}

fn sub_grant(market: &Market, id: PurchaseId, to: &str, lanes: (u16, u16)) -> SubGrant {
    let record = market.purchase(id);
    let grant = Grant {
        network: market.chain.network(),
        purchase: id,
        key_version: 1,
        call_key: key("ana").public(),
        lanes: record.lanes.into(),
        quota: record.quota,
        not_before: record.not_before,
        end: record.end(),
    };
    SubGrantTerms {
        parent: grant.hash(),
        delegate: key(to).public(),
        first_lane: Lane(lanes.0),
        last_lane: Lane(lanes.1),
        max_calls: 500,
        valid_until: Seconds(0),
        rate: 0,
        scope: Hash32::default(),
        flags: GrantFlags::ALL,
    }
    .sign(&key("ana"))
}

fn delegated(market: &Market, id: PurchaseId, who: &str, lanes: (u16, u16), (lane, cum): (u16, u64)) -> Claim {
    let links = vec![sub_grant(market, id, who, lanes)];
    Claim {
        purchase: id,
        vouchers: vec![voucher(who, id, lane, cum, false)],
        signers: vec![0],
        chains: vec![KeyChain { key_version: 1, links }.to_blob()],
    }
}

#[test]
fn vouchers_above_the_package_or_outside_their_lanes_change_nothing() {
    let mut market = Market::default();
    let id = market.buy();
    for (lane, cum) in [(0, 1_001), (0, u64::MAX - 1), (2, 5), (u16::MAX, 5), (0, 0)] {
        market.chain.fails("vera", claim("ana", id, &[(lane, cum)]), Error::NothingNew);
    }
    let mut forged = claim("ana", id, &[(0, 5)]);
    forged.vouchers[0].0[135] ^= 1;
    market.chain.fails("vera", forged, Error::NothingNew);
    market.chain.fails("vera", claim("max", id, &[(0, 5)]), Error::NothingNew);

    // Of two sub-grants that overlap in a lane, the second is paid only for what the first was not.
    let outside = delegated(&market, id, "bob", (0, 0), (1, 5));
    market.chain.fails("vera", outside, Error::NothingNew);
    let first = delegated(&market, id, "bob", (0, 1), (0, 40));
    market.does("vera", first);
    for cum in [1, 40] {
        let second = delegated(&market, id, "eve", (0, 0), (0, cum));
        market.chain.fails("vera", second, Error::NothingNew);
    }
    let above = delegated(&market, id, "eve", (0, 0), (0, 501));
    market.chain.fails("vera", above, Error::NothingNew);
    assert_eq!(market.purchase(id).claimed, 40);
}

#[test]
fn the_same_claim_twice_changes_nothing() {
    let mut market = Market::default();
    let id = market.buy();
    let once = claim("ana", id, &[(0, 400), (1, 200)]);
    market.does("vera", once.clone());
    market.chain.fails("vera", once, Error::NothingNew);
    let twice = claim("ana", id, &[(0, 400), (0, 400), (1, 199)]);
    market.chain.fails("max", twice, Error::NothingNew);
}

fn listed() -> (Market, PurchaseId) {
    let mut market = Market::default();
    market.does("vera", publication(market.chain.now()));
    let id = market.buy();
    (market, id)
}

#[test]
fn forged_evidence_changes_nothing() {
    let (mut market, id) = listed();
    let said = Said::absent(&market, id, "bad.example");
    let good = report(id, &said.contradiction());
    let forged = report(id, &Said { signer: "max", ..said }.contradiction());
    assert_eq!(market.chain.refused("max", forged).name, "BadProof");
    let other = ReportFault { keys: vec![public("max")], ..good.clone() };
    market.chain.fails("max", other, Error::NotThisKey);
    // An honest answer is no fault.
    let honest = report(id, &Said::absent(&market, id, "good.example").contradiction());
    assert_eq!(market.chain.refused("max", honest).name, "BadProof");
    for at in 0..good.evidence.0.len() {
        let mut flipped = good.clone();
        flipped.evidence.0[at] ^= 1;
        // What cannot even be read comes into no block.
        if flipped.check().is_ok() {
            let name = market.chain.refused("max", flipped).name;
            assert!(matches!(name.as_str(), "BadProof" | "NotThisKey"), "byte {at}: {name}");
        }
    }
    market.does("max", good.clone());
    market.chain.fails("max", good, Error::Known);
}

#[test]
fn a_proof_against_another_root_changes_nothing() {
    let (mut market, id) = listed();
    let entry = |name: &str| Entry { key: host(name), label: b"deny".to_vec(), sources: 1 };
    let other = DatasetTree::build(vec![entry("bad.example"), entry("good.example")]).unwrap();
    // The Answer cites the published root; the proof is of a list that only its reporter knows.
    let Evidence::Contradiction(mut case) = Said::absent(&market, id, "good.example").contradiction() else {
        panic!("a contradiction")
    };
    case.proof = other.prove(&host("good.example"));
    let mine = report(id, &Evidence::Contradiction(case));
    assert_eq!(market.chain.refused("max", mine).name, "BadProof");
    // The Answer cites a root that was never published: that is another fault, not this one.
    let said = Said { root: other.root(), ..Said::absent(&market, id, "bad.example") };
    let unknown = report(id, &said.contradiction());
    assert_eq!(market.chain.refused("max", unknown).name, "BadProof");
    assert_ne!(list().root(), other.root());
    let empty = ReportFault { evidence: Blob(Vec::new()), ..report(id, &said.contradiction()) };
    assert!(empty.check().is_err());
}

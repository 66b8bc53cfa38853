//! Rows that nobody needs any more.

use surety_primitives::typed_data::Blob;
use surety_primitives::{Amount, Hash32, Lane, PurchaseId, Seconds};

use super::{DAY, SERVICE, VERA, bought, buy, key, market, vera};
use crate::action::{Action, AnyAction};
use crate::modules::market::state::{
    CALL_KEYS, FAULTS, Fault, LANES, PENALTIES, PROVIDERS, PURCHASES, Penalty, REVOCATIONS, SALES, SHOWN, Shown,
};
use crate::modules::market::{Error, RevokeKey, RotateCallKey, RowRef, Settle, Sweep};
use crate::testing::Scenario;
use crate::testing::market::Market;

const GRANT: Hash32 = Hash32([9; 32]);
const FAULT: Hash32 = Hash32([7; 32]);

fn sweep(rows: &[RowRef]) -> Sweep {
    Sweep { rows: rows.to_vec() }
}

fn rotate(purchase: PurchaseId, seed: u8) -> RotateCallKey {
    RotateCallKey { purchase, key: key(seed) }
}

/// A purchase with an earlier key and a revocation, settled and past its last deadline.
fn over() -> (Scenario, PurchaseId) {
    let mut chain = market();
    let purchase = buy(&mut chain, 1);
    chain.does("carl", rotate(purchase, 101));
    chain.does("carl", RevokeKey { purchase, hash: GRANT });
    chain.wait(4 * DAY);
    chain.does("eve", Settle { purchase });
    chain.wait(11 * DAY + 1);
    (chain, purchase)
}

fn parts(purchase: PurchaseId) -> [RowRef; 2] {
    [RowRef::to(CALL_KEYS, &(purchase, 1)), RowRef::to(REVOCATIONS, &(purchase, GRANT))]
}

#[test]
fn a_rotation_keeps_the_old_key_for_three_days_of_claims() {
    let mut chain = market();
    let purchase = buy(&mut chain, 1);
    chain.does("carl", rotate(purchase, 101));
    let row = bought(&chain, purchase);
    assert_eq!((row.call_key, row.key_version, row.rows), (key(101), 2, 3));
    let old = chain.get(CALL_KEYS, &(purchase, 1)).expect("kept");
    assert_eq!((old.key, old.until), (key(100), chain.now().after(Seconds(3 * DAY))));
    chain.fails("carl", rotate(purchase, 101), Error::Unchanged);
    assert!(RotateCallKey { purchase, key: Default::default() }.check().is_err());
    chain.assert_conserved();
}

#[test]
fn only_the_consumer_of_an_open_purchase_rotates_and_revokes() {
    let (mut chain, purchase) = over();
    let revoke = |hash| RevokeKey { purchase, hash };
    let nobody = PurchaseId([0; 16]);
    chain.fails("carl", rotate(nobody, 102), Error::UnknownPurchase);
    chain.fails("carl", RevokeKey { purchase: nobody, hash: GRANT }, Error::UnknownPurchase);
    chain.fails("carl", rotate(purchase, 102), Error::Settled);
    chain.fails("carl", revoke(FAULT), Error::Settled);
    let open = buy(&mut chain, 2);
    chain.fails("eve", rotate(open, 102), Error::NotConsumer);
    chain.fails("eve", RevokeKey { purchase: open, hash: GRANT }, Error::NotConsumer);
    chain.does("carl", RevokeKey { purchase: open, hash: GRANT });
    assert_eq!(chain.get(REVOCATIONS, &(open, GRANT)), Some(chain.now()));
    chain.fails("carl", RevokeKey { purchase: open, hash: GRANT }, Error::AlreadyDone);
    chain.assert_conserved();
}

#[test]
fn a_purchase_is_swept_with_all_its_rows_and_its_cover_is_promised_no_more() {
    let (mut chain, purchase) = over();
    assert_eq!(vera(&chain).promised, Amount::call(200));
    let before = chain.balance("eve");
    let mut rows = parts(purchase).to_vec();
    rows.push(RowRef::to(PURCHASES, &purchase));
    chain.does("eve", sweep(&rows));
    assert_eq!(vera(&chain).promised, Amount::ZERO);
    assert_eq!((chain.get(PURCHASES, &purchase), chain.get(SALES, &(VERA, 0))), (None, None));
    // Four rows of 0.01 for a fee of 0.01.
    assert_eq!(chain.balance("eve"), before.saturating_add(Amount::milli(30)));
    chain.assert_conserved();
}

#[test]
fn no_row_outlives_its_purchase() {
    let (mut chain, purchase) = over();
    let whole = RowRef::to(PURCHASES, &purchase);
    chain.fails("eve", sweep(std::slice::from_ref(&whole)), Error::NotDue { index: 0 });
    let [old_key, revocation] = parts(purchase);
    // In the wrong order nothing is swept at all.
    chain.fails("eve", sweep(&[old_key.clone(), whole.clone(), revocation.clone()]), Error::NotDue { index: 1 });
    chain.does("eve", sweep(std::slice::from_ref(&old_key)));
    chain.assert_conserved();
    chain.fails("eve", sweep(&[old_key]), Error::NotDue { index: 0 });
    chain.does("eve", sweep(&[revocation, whole]));
    chain.assert_conserved();
}

#[test]
fn nothing_is_swept_before_its_last_deadline() {
    let mut chain = market();
    let purchase = buy(&mut chain, 1);
    chain.does("carl", RevokeKey { purchase, hash: GRANT });
    let rows = [RowRef::to(REVOCATIONS, &(purchase, GRANT)), RowRef::to(PURCHASES, &purchase)];
    chain.wait(30 * DAY);
    chain.fails("eve", sweep(&rows), Error::NotDue { index: 0 });
    let mut chain = market();
    let purchase = buy(&mut chain, 1);
    chain.wait(4 * DAY);
    chain.does("eve", Settle { purchase });
    chain.wait(11 * DAY);
    let rows = [RowRef::to(PURCHASES, &purchase)];
    chain.fails("eve", sweep(&rows), Error::NotDue { index: 0 });
    chain.wait(1);
    chain.does("eve", sweep(&rows));
    chain.assert_conserved();
}

// Adds rows that only longer stories lead to, and counts them as those would.
fn attach(chain: &mut Scenario, id: PurchaseId, rows: u32) {
    let mut purchase = bought(chain, id);
    purchase.rows += rows;
    chain.put(PURCHASES, &id, &purchase);
}

#[test]
fn lanes_and_what_was_shown_are_swept_too() {
    let (mut chain, purchase) = over();
    chain.put(LANES, &(purchase, Lane(1)), &5);
    chain.put(SHOWN, &purchase, &Shown { entries: Vec::new() });
    attach(&mut chain, purchase, 2);
    let mut rows = parts(purchase).to_vec();
    rows.extend([RowRef::to(LANES, &(purchase, Lane(1))), RowRef::to(SHOWN, &purchase)]);
    rows.push(RowRef::to(PURCHASES, &purchase));
    chain.does("eve", sweep(&rows));
    chain.assert_conserved();
    assert_eq!(chain.totals().deposits, market().totals().deposits);
}

#[test]
fn of_a_served_package_nothing_stays_but_what_waits_for_release() {
    let mut market = Market::default();
    let before = market.chain.totals().deposits;
    let purchase = market.buy();
    market.claims(purchase, &[(0, 400), (1, 200)]);
    market.wait_days(33);
    market.settles(purchase);
    market.wait_days(12);
    let lane = |lane| RowRef::to(LANES, &(purchase, Lane(lane)));
    market.does("max", sweep(&[lane(0), lane(1), RowRef::to(PURCHASES, &purchase)]));
    assert_eq!(market.provider().exposure(), Amount::ZERO);
    // The tranche's deposit.
    assert_eq!(market.chain.totals().deposits, before.saturating_add(market.chain.params().row_deposit));
    market.chain.assert_conserved();
}

#[test]
fn a_fault_is_swept_when_its_cover_is_paid() {
    let (mut chain, purchase) = over();
    let mut fault = Fault { kind: 1, reporter: chain.address("eve"), unpaid: Amount::call(3), service: SERVICE };
    let mut some = vera(&chain);
    some.promised = some.promised.saturating_add(fault.unpaid);
    chain.put(PROVIDERS, &VERA, &some);
    chain.put(FAULTS, &(FAULT, purchase), &fault);
    attach(&mut chain, purchase, 1);
    chain.assert_conserved();
    let rows = [RowRef::to(FAULTS, &(FAULT, purchase))];
    chain.fails("eve", sweep(&rows), Error::NotDue { index: 0 });

    fault.unpaid = Amount::ZERO;
    some.promised = Amount::call(200);
    chain.put(PROVIDERS, &VERA, &some);
    chain.put(FAULTS, &(FAULT, purchase), &fault);
    chain.does("eve", sweep(&rows));
    chain.assert_conserved();
}

#[test]
fn a_penalty_is_swept_when_it_is_paid_and_no_package_of_its_time_is_left() {
    let mut chain = market();
    let mut penalty = Penalty {
        provider: VERA,
        reporter: chain.address("eve"),
        amount: Amount::call(5),
        unpaid: Amount::call(5),
        deposit: Amount::ZERO,
        proven: chain.now(),
    };
    chain.put(PENALTIES, &FAULT, &penalty);
    let rows = [RowRef::to(PENALTIES, &FAULT)];
    chain.wait(400 * DAY + 1);
    chain.fails("eve", sweep(&rows), Error::NotDue { index: 0 });
    penalty.unpaid = Amount::ZERO;
    chain.put(PENALTIES, &FAULT, &penalty);
    chain.does("eve", sweep(&rows));
    penalty.proven = chain.now();
    chain.put(PENALTIES, &FAULT, &penalty);
    chain.wait(400 * DAY);
    chain.fails("eve", sweep(&rows), Error::NotDue { index: 0 });
    chain.assert_conserved();
}

#[test]
fn a_wallet_sees_which_rows_are_swept() {
    let row = RowRef::to(PURCHASES, &PurchaseId([1; 16]));
    let (members, types, message) = AnyAction::from(sweep(&[row])).typed_parts();
    assert_eq!(members.first(), Some(&("rows", "RowRef[]".to_owned())));
    assert_eq!(types.get("RowRef").map(Vec::len), Some(2));
    assert_eq!(message["rows"][0]["table"], "65");
    assert_eq!(message["rows"][0]["id"], format!("0x{}", "01".repeat(16)));
}

#[test]
fn what_names_no_row_is_refused() {
    let purchase = PurchaseId([1; 16]);
    let row = RowRef::to(PURCHASES, &purchase);
    let count = Error::BadCount { field: "rows", least: 1, most: 32 };
    assert_eq!(sweep(&[]).check(), Err(count.clone().into()));
    assert_eq!(sweep(&vec![row.clone(); 33]).check(), Err(count.into()));
    let table = Error::BadRange { field: "table", rule: "one of those whose rows can be swept" };
    assert_eq!(sweep(&[RowRef { table: 61, ..row.clone() }]).check(), Err(table.into()));
    let short = RowRef { id: Blob(vec![1; 15]), ..row };
    assert_eq!(sweep(&[short]).check(), Err(Error::Malformed { field: "id" }.into()));
    let mut chain = market();
    chain.fails("eve", sweep(&[row]), Error::NotDue { index: 0 });
}

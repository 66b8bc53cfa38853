//! Providers: their stakes, keys, pauses and leaving.

use surety_primitives::typed_data::Bytes32;
use surety_primitives::{Address, Amount, ProviderId, Seconds};

use super::{DAY, VERA, buy, key, market, registration, vera};
use crate::action::Action;
use crate::modules::bank;
use crate::modules::market::state::{OWNERS, PENALTIES, PROVIDER_KEYS, PROVIDERS, Penalty, ProviderStatus};
use crate::modules::market::{
    Error, PauseProvider, Settle, StakeProvider, Sweep, UnstakeProvider, UpdateProvider, WithdrawStake,
};
use crate::modules::market::{RowRef, state::PURCHASES};
use crate::testing::Scenario;

fn pause(paused: bool) -> PauseProvider {
    PauseProvider { provider: VERA, paused }
}

fn unstake(call: u64) -> UnstakeProvider {
    UnstakeProvider { provider: VERA, amount: Amount::call(call) }
}

fn stake(call: u64) -> StakeProvider {
    StakeProvider { provider: VERA, amount: Amount::call(call) }
}

#[test]
fn a_provider_registers_with_its_stake_and_a_key_of_its_own() {
    let chain = market();
    let some = vera(&chain);
    assert_eq!((some.owner, some.payout), (chain.address("vera"), chain.address("vera")));
    assert_eq!((some.stake, some.key, some.status), (Amount::call(5_000), key(1), ProviderStatus::Active));
    assert_eq!(chain.totals().stake, Amount::call(5_000));
    let row = chain.get(PROVIDER_KEYS, &key(1)).expect("its key");
    assert_eq!((row.provider, row.from, row.until), (VERA, chain.now(), None));
    chain.assert_conserved();
}

#[test]
fn who_may_not_register() {
    let mut chain = market();
    chain.fails("vera", registration(2, 1_000), Error::AlreadyProvider);
    chain.fails("eve", registration(2, 999), Error::StakeBelowFixed { least: Amount::call(1_000) });
    chain.fails("eve", registration(1, 1_000), Error::KeyInUse);
    // Three fees and the deposit on the key's row are gone by then.
    let (balance, needed) = (Amount::milli(4_999_960), Amount::call(5_000));
    chain.fails("eve", registration(2, 5_000), bank::Error::InsufficientFunds { balance, needed });
    let weak = crate::modules::market::RegisterProvider { key: Bytes32([0; 32]), ..registration(2, 1_000) };
    assert_eq!(weak.check(), Err(Error::BadKey.into()));
    chain.assert_conserved();
}

#[test]
fn a_new_payout_and_the_end_of_an_old_key_come_two_days_later() {
    let mut chain = market();
    let payout = chain.address("eve");
    chain.does("vera", UpdateProvider { payout, key: key(2) });
    let (some, later) = (vera(&chain), chain.now().after(Seconds(2 * DAY)));
    assert_eq!(some.payout_at(chain.now()), chain.address("vera"));
    assert_eq!((some.payout_at(later), some.key), (payout, key(2)));
    assert_eq!(chain.get(PROVIDER_KEYS, &key(1)).and_then(|row| row.until), Some(later));
    assert_eq!(chain.get(PROVIDER_KEYS, &key(2)).map(|row| row.until), Some(None));

    // What has come to count is not lost when the next change begins.
    chain.wait(2 * DAY);
    chain.does("vera", UpdateProvider { payout: chain.address("carl"), key: Bytes32::default() });
    assert_eq!(vera(&chain).payout_at(chain.now()), payout);
    assert_eq!(vera(&chain).key, key(2));
    chain.assert_conserved();
}

#[test]
fn an_update_needs_a_provider_a_change_and_an_unused_key() {
    let mut chain = market();
    let update = |key: Bytes32| UpdateProvider { payout: Address::ZERO, key };
    chain.fails("eve", update(key(2)), Error::NotOwner);
    chain.fails("vera", update(key(1)), Error::KeyInUse);
    assert_eq!(update(Bytes32::default()).check(), Err(Error::Unchanged.into()));
    assert_eq!(update(Bytes32([0xff; 32])).check(), Err(Error::BadKey.into()));
    chain.assert_conserved();
}

#[test]
fn anyone_adds_stake_to_a_provider_that_lives() {
    let mut chain = market();
    chain.does("eve", stake(500));
    assert_eq!(vera(&chain).stake, Amount::call(5_500));
    let nobody = StakeProvider { provider: ProviderId(9), amount: Amount::call(1) };
    chain.fails("eve", nobody, Error::UnknownProvider);
    let nothing = Error::BadRange { field: "amount", rule: "above zero" };
    assert_eq!(stake(0).check(), Err(nothing.clone().into()));
    assert_eq!(unstake(0).check(), Err(nothing.into()));
    chain.assert_conserved();
}

#[test]
fn stake_leaves_after_unbonding_and_not_before() {
    let mut chain = market();
    chain.does("vera", unstake(1_000));
    assert_eq!(vera(&chain).stake, Amount::call(4_000));
    let withdraw = WithdrawStake { provider: VERA };
    chain.fails("vera", withdraw.clone(), Error::NotMature);
    chain.wait(21 * DAY);
    chain.fails("eve", withdraw.clone(), Error::NotOwner);
    let before = chain.balance("vera");
    chain.does("vera", withdraw);
    let after = Amount(before.0 + Amount::call(1_000).0 - chain.params().fee_other.0);
    assert_eq!(chain.balance("vera"), after);
    assert!(vera(&chain).unbonding.is_empty());
    chain.assert_conserved();
}

#[test]
fn nothing_is_withdrawn_while_penalties_are_owed() {
    let mut chain = market();
    chain.does("vera", unstake(1_000));
    chain.wait(21 * DAY);
    let mut some = vera(&chain);
    some.owed = Amount::call(5);
    chain.put(PROVIDERS, &VERA, &some);
    let penalty = Penalty {
        provider: VERA,
        reporter: chain.address("eve"),
        amount: some.owed,
        unpaid: some.owed,
        deposit: Amount::ZERO,
        proven: chain.now(),
    };
    chain.put(PENALTIES, &surety_primitives::Hash32([7; 32]), &penalty);
    chain.fails("vera", WithdrawStake { provider: VERA }, Error::DebtOpen { owed: Amount::call(5) });
    // What is owed counts against what is free: 4,000 - 5.
    let (free, needed) = (Amount::call(3_995), Amount::call(3_996));
    chain.fails("vera", unstake(3_996), Error::CoverageShort { free, needed });
    chain.assert_conserved();
}

#[test]
fn stake_that_backs_something_stays() {
    let mut chain = market();
    chain.fails("eve", unstake(1), Error::NotOwner);
    chain.fails("vera", unstake(4_001), Error::StakeNeeded { needed: Amount::call(1_000) });
    let (free, needed) = (Amount::call(5_000), Amount::call(5_001));
    chain.fails("vera", unstake(5_001), Error::CoverageShort { free, needed });
    for reference in 0..15 {
        buy(&mut chain, reference);
    }
    // 15 packages of 100 with 200 of cover: 500 are free.
    let (free, needed) = (Amount::call(500), Amount::call(501));
    chain.fails("vera", unstake(501), Error::CoverageShort { free, needed });
    for _ in 0..8 {
        chain.does("vera", unstake(1));
    }
    chain.fails("vera", unstake(1), Error::TooManyUnbondings);
    chain.assert_conserved();
}

#[test]
fn a_provider_leaves_when_nobody_can_claim_anything_from_it() {
    let mut chain = market();
    let purchase = buy(&mut chain, 1);
    chain.does("vera", pause(true));
    let needed = Amount::call(5_000);
    chain.fails("vera", unstake(5_000), Error::CoverageShort { free: Amount::call(4_700), needed });
    chain.wait(4 * DAY);
    chain.does("vera", Settle { purchase });
    chain.wait(15 * DAY);
    chain.does("vera", Sweep { rows: vec![RowRef::to(PURCHASES, &purchase)] });
    chain.does("vera", unstake(5_000));
    assert_eq!(vera(&chain).status, ProviderStatus::Left);

    chain.fails("eve", stake(1), Error::Stopped);
    chain.fails("vera", unstake(1), Error::Stopped);
    chain.fails("vera", pause(true), Error::Stopped);
    chain.fails("vera", UpdateProvider { payout: Address::ZERO, key: key(3) }, Error::NotOwner);
    chain.does("vera", registration(2, 1_000));
    assert_eq!(chain.get(OWNERS, &chain.address("vera")), Some(ProviderId(2)));
    chain.wait(21 * DAY);
    chain.does("vera", WithdrawStake { provider: VERA });
    assert_eq!(chain.totals().stake, Amount::call(1_000));
    chain.assert_conserved();
}

#[test]
fn leaving_without_a_pause_is_refused() {
    let mut chain = market();
    chain.fails("vera", unstake(5_000), Error::StakeNeeded { needed: Amount::call(1_000) });
    chain.assert_conserved();
}

#[test]
fn pauses_of_thirty_days_are_limited() {
    let mut chain = market();
    chain.fails("eve", pause(true), Error::NotOwner);
    chain.fails("vera", pause(false), Error::Unchanged);
    chain.does("vera", pause(true));
    chain.fails("vera", pause(true), Error::Unchanged);
    sells(&chain, false);
    chain.wait(7 * DAY);
    chain.does("vera", pause(false));
    sells(&chain, true);
    chain.fails("vera", pause(true), Error::PauseSpent);
    chain.wait(23 * DAY);
    chain.does("vera", pause(true));
    chain.assert_conserved();
}

fn sells(chain: &Scenario, yes: bool) {
    assert_eq!(vera(chain).status == ProviderStatus::Active, yes);
}

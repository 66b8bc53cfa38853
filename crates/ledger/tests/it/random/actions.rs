//! What the accounts of a random chain try: mostly what could work, often at its limits.

use std::sync::LazyLock;

use surety_ledger::bank::{Burn, Transfer};
use surety_ledger::market::state::{
    DATASET_VERSIONS, FAULTS, LANES, PENALTIES, PROVIDERS, PURCHASES, PurchaseRecord, PurchaseStatus, REVOCATIONS,
    SERVICES, SHOWN, TRANCHES, Terms,
};
use surety_ledger::market::{
    Claim, Collect, ContestShown, Debt, KeyChain, PauseProvider, PauseService, PublishDataset, Purchase,
    RegisterProvider, RegisterService, Release, ReportFault, RetireDataset, RevokeKey, RotateCallKey, RowRef, Settle,
    ShowAnswers, StakeProvider, Sweep, UnstakeProvider, UpdateProvider, UpdateService, WithdrawStake,
};
use surety_ledger::operators::{Profile, RegisterOperator, UpdateOperator, possession_namespace};
use surety_ledger::testing::faults::{Said, list, publication};
use surety_ledger::testing::market::{DAY, public, shown, terms, voucher};
use surety_ledger::testing::{NETWORK, Scenario, account};
use surety_ledger::{AnyAction, market};
use surety_primitives::answer::evidence::Evidence;
use surety_primitives::bls::BlsSecret;
use surety_primitives::typed_data::{Blob, Bytes16, Bytes32};
use surety_primitives::{Address, Amount, DatasetId, Hash32, Lane, ProviderId, PurchaseId, Seconds, ServiceId};

use super::Dice;

/// The accounts; the first three may sell, and every one buys. A call key goes by its buyer's name.
pub(super) const NAMES: [&str; 6] = ["vera", "otto", "pia", "ana", "ben", "max"];
const SELLERS: u64 = 3;

// Points of the curve are computed once: else they would be most of the test.
static ADDRESSES: LazyLock<[Address; 6]> = LazyLock::new(|| NAMES.map(|name| account(name).address()));

pub(super) fn address(name: &str) -> Address {
    NAMES.iter().position(|other| *other == name).and_then(|at| ADDRESSES.get(at)).copied().unwrap()
}

fn name_of(account: Address) -> Option<&'static str> {
    ADDRESSES.iter().position(|other| *other == account).and_then(|at| NAMES.get(at)).copied()
}

type Step = (&'static str, AnyAction);

/// Ledger time between blocks: seconds mostly, sometimes the length of a window.
pub(super) fn pause(dice: &mut Dice) -> u64 {
    match dice.below(10) {
        0..=5 => dice.below(100),
        6..=7 => dice.below(DAY),
        8 => dice.below(8 * DAY),
        _ => DAY * [1, 3, 5, 14, 30][usize::try_from(dice.below(5)).unwrap()],
    }
}

/// The next thing that someone tries.
pub(super) fn next(dice: &mut Dice, chain: &Scenario) -> Option<Step> {
    if chain.rows().scan(PROVIDERS).len() < 2 {
        return Some(begin(dice));
    }
    match dice.below(100) {
        0..=1 => Some(money(dice)),
        2..=3 => Some(operate(dice)),
        4..=15 => stakes(dice, chain),
        16..=23 => listing(dice, chain),
        24..=43 => buy(dice, chain),
        44..=46 => keys(dice, chain),
        47..=61 => claim(dice, chain),
        62..=66 => release(dice, chain),
        67..=73 => show(dice, chain),
        74..=79 => settle(dice, chain),
        80..=86 => report(dice, chain),
        87..=90 => collect(dice, chain),
        _ => sweep(dice, chain),
    }
}

fn anyone(dice: &mut Dice) -> &'static str {
    dice.pick(&NAMES).unwrap()
}

fn seller(dice: &mut Dice) -> &'static str {
    NAMES[usize::try_from(dice.below(SELLERS)).unwrap()]
}

fn amount(dice: &mut Dice, most: u64) -> Amount {
    Amount::milli(dice.below(most * 1_000 + 1))
}

fn begin(dice: &mut Dice) -> Step {
    let name = seller(dice);
    let stake = Amount::call(900).saturating_add(amount(dice, 4_000));
    (name, RegisterProvider { payout: Address::ZERO, key: public(name), stake }.into())
}

fn money(dice: &mut Dice) -> Step {
    let name = anyone(dice);
    if dice.once_in(4) {
        return (name, Burn { amount: amount(dice, 2) }.into());
    }
    let to = address(anyone(dice));
    (name, Transfer { to, amount: amount(dice, 100) }.into())
}

// Everyone has keys of one's own; sometimes another's are tried, which must not do.
fn operate(dice: &mut Dice) -> Step {
    let name = anyone(dice);
    let profile = Profile { name: format!("{name}'s"), url: String::new(), gateway: String::new() };
    if dice.once_in(2) {
        return (name, UpdateOperator { profile }.into());
    }
    let keys = if dice.once_in(8) { anyone(dice) } else { name };
    let seed = u8::try_from(NAMES.iter().position(|other| *other == keys).unwrap()).unwrap();
    let secret = BlsSecret::generate(&[seed; 32]).unwrap();
    let possession = secret.prove_possession(&possession_namespace(NETWORK));
    (name, RegisterOperator { peer: Bytes32([seed; 32]), bls_key: secret.key(), possession, profile }.into())
}

// A provider with the name of its owner; sometimes another name, which must not do.
fn provider(dice: &mut Dice, chain: &Scenario) -> Option<(&'static str, ProviderId, market::state::Provider)> {
    let (id, record) = dice.pick(&chain.rows().scan(PROVIDERS))?;
    let owner = name_of(record.owner)?;
    let name = if dice.once_in(20) { anyone(dice) } else { owner };
    Some((name, id, record))
}

fn stakes(dice: &mut Dice, chain: &Scenario) -> Option<Step> {
    let (name, provider, record) = provider(dice, chain)?;
    let action = match dice.below(12) {
        0..=2 => StakeProvider { provider, amount: amount(dice, 1_000) }.into(),
        3..=4 => UnstakeProvider { provider, amount: amount(dice, 800) }.into(),
        5 => UnstakeProvider { provider, amount: record.stake }.into(),
        6 => WithdrawStake { provider }.into(),
        7 => PauseProvider { provider, paused: dice.once_in(4) }.into(),
        8 => {
            let key = if dice.once_in(2) { public(&format!("{name} {}", dice.below(50))) } else { Bytes32::default() };
            UpdateProvider { payout: address(anyone(dice)), key }.into()
        }
        _ => return Some(begin(dice)),
    };
    Some((name, action))
}

fn offer(dice: &mut Dice) -> Terms {
    let calls = [1, 7, 1_000, 1_000_000][usize::try_from(dice.below(4)).unwrap()];
    let cover = amount(dice, 300);
    let cover_cap = cover.saturating_add(amount(dice, 200));
    Terms {
        calls,
        price: amount(dice, 200),
        refund_bps: [0, 1, 5_000, 10_000][usize::try_from(dice.below(4)).unwrap()],
        window: u32::try_from(calls / 10).unwrap().clamp(1, 64),
        cover,
        cover_cap,
        cover_faults: u16::try_from(1 + dice.below(8)).unwrap(),
        datasets: if dice.once_in(2) { vec![DatasetId(1)] } else { Vec::new() },
        ..terms()
    }
}

fn listing(dice: &mut Dice, chain: &Scenario) -> Option<Step> {
    let now = chain.now();
    let service = dice.pick(&chain.rows().scan(SERVICES)).map_or(ServiceId(1), |(id, _)| id);
    let (name, ..) = provider(dice, chain)?;
    let action = match dice.below(8) {
        0..=2 => RegisterService { terms: offer(dice) }.into(),
        3 => UpdateService { service, terms: offer(dice) }.into(),
        4 => PauseService { service, paused: dice.once_in(3) }.into(),
        5..=6 => {
            let valid_until = now.after(Seconds(dice.below(200 * DAY)));
            PublishDataset { valid_until, ..publication(now) }.into()
        }
        _ => {
            let ((dataset, version), _) = dice.pick(&chain.rows().scan(DATASET_VERSIONS))?;
            RetireDataset { dataset, version }.into()
        }
    };
    Some((name, action))
}

fn buy(dice: &mut Dice, chain: &Scenario) -> Option<Step> {
    let (service, record) = dice.pick(&chain.rows().scan(SERVICES))?;
    let name = anyone(dice);
    let mut client_ref = [0; 16];
    client_ref[..8].copy_from_slice(&dice.below(200).to_be_bytes());
    let order = Purchase {
        provider: if dice.once_in(30) { ProviderId(1) } else { record.provider },
        service,
        version: record.version - u32::from(dice.once_in(40)),
        max_fee: if dice.once_in(40) { Amount::ZERO } else { Amount::call(200) },
        client_ref: Bytes16(client_ref),
        call_key: public(name),
        lanes: if dice.once_in(30) { 0 } else { u16::try_from(1 + dice.below(3)).unwrap() },
        expires: chain.now().after(Seconds(DAY + dice.below(20 * DAY))),
    };
    Some((name, order.into()))
}

// A purchase with its consumer's name.
fn purchase(dice: &mut Dice, chain: &Scenario) -> Option<(&'static str, PurchaseId, PurchaseRecord)> {
    purchase_where(dice, chain, |_| true)
}

fn purchase_where(
    dice: &mut Dice,
    chain: &Scenario,
    wanted: impl Fn(&PurchaseRecord) -> bool,
) -> Option<(&'static str, PurchaseId, PurchaseRecord)> {
    let mut all = chain.rows().scan(PURCHASES);
    // Sometimes one that is not wanted, so that rejections are met as well.
    if !dice.once_in(8) {
        all.retain(|(_, record)| wanted(record));
    }
    let (id, record) = dice.pick(&all)?;
    let name = name_of(record.consumer)?;
    Some((name, id, record))
}

fn open(record: &PurchaseRecord) -> bool {
    record.status != PurchaseStatus::Settled
}

fn keys(dice: &mut Dice, chain: &Scenario) -> Option<Step> {
    let (name, id, record) = purchase_where(dice, chain, open)?;
    if dice.once_in(2) {
        let hash = Hash32([u8::try_from(dice.below(9)).unwrap(); 32]);
        return Some((name, RevokeKey { purchase: id, hash }.into()));
    }
    // Always the first key or one other, so that claims still find it.
    let key = if record.key_version % 2 == 1 { public(&format!("{name}'s other")) } else { public(name) };
    Some((name, RotateCallKey { purchase: id, key }.into()))
}

fn claim(dice: &mut Dice, chain: &Scenario) -> Option<Step> {
    let now = chain.now();
    let (name, purchase, record) = purchase_where(dice, chain, |record| open(record) && now < record.end())?;
    let vouchers: Vec<Blob> = (0..=dice.below(3))
        .map(|_| {
            let lane = u16::try_from(dice.below(u64::from(record.lanes) + 1)).unwrap();
            let claimed = chain.get(LANES, &(purchase, Lane(lane))).unwrap_or(0);
            let more = [1, record.quota / 9 + 1, record.quota][usize::try_from(dice.below(3)).unwrap()];
            voucher(name, purchase, lane, claimed.saturating_sub(2) + more, dice.once_in(9))
        })
        .collect();
    let key_version = if dice.once_in(9) { record.key_version } else { 1 };
    let signers = vec![0; vouchers.len()];
    let chains = vec![KeyChain::root(key_version).to_blob()];
    Some((anyone(dice), Claim { purchase, vouchers, signers, chains }.into()))
}

fn periods(dice: &mut Dice, chain: &Scenario, provider: ProviderId, most: usize) -> Vec<u64> {
    let all = chain.rows().scan(TRANCHES);
    let mut periods: Vec<u64> = all.iter().filter(|((id, _), _)| *id == provider).map(|((_, n), _)| *n).collect();
    periods.truncate(most);
    if periods.is_empty() || dice.once_in(9) {
        periods = vec![dice.below(9)];
    }
    periods
}

fn release(dice: &mut Dice, chain: &Scenario) -> Option<Step> {
    let (_, provider, _) = provider(dice, chain)?;
    Some((anyone(dice), Release { provider, periods: periods(dice, chain, provider, 32) }.into()))
}

fn show(dice: &mut Dice, chain: &Scenario) -> Option<Step> {
    let now = chain.now();
    if dice.once_in(3) {
        let mut all = chain.rows().scan(SHOWN);
        all.retain(|(_, shown)| shown.entries.iter().any(|entry| entry.accepted.is_none()));
        let (purchase, shown) = dice.pick(&all)?;
        let consumer = chain.get(PURCHASES, &purchase)?.consumer;
        let name = name_of(consumer)?;
        let accepted = 1 + dice.below(shown.entries.first()?.count);
        return Some((name, ContestShown { purchase, lane: Lane(0), accepted, signature: Blob::default() }.into()));
    }
    let (consumer, purchase, record) =
        purchase_where(dice, chain, |record| open(record) && now >= record.end() && record.lanes > 0)?;
    let owner = chain.get(PROVIDERS, &record.provider)?.owner;
    let name = name_of(owner)?;
    let from_cum = chain.get(LANES, &(purchase, Lane(0))).unwrap_or(0);
    let count = 1 + dice.below(u64::from(record.window));
    let entries = vec![shown(consumer, purchase, 0, from_cum, count)];
    Some((name, ShowAnswers { purchase, entries, signature: Blob::default() }.into()))
}

fn settle(dice: &mut Dice, chain: &Scenario) -> Option<Step> {
    let now = chain.now();
    let due = |record: &PurchaseRecord| open(record) && now >= record.end().after(Seconds(3 * DAY));
    let (_, purchase, _) = purchase_where(dice, chain, due)?;
    Some((anyone(dice), Settle { purchase }.into()))
}

// What a seller's first key says wrongly, or rightly.
fn evidence(dice: &mut Dice, said: &Said) -> Evidence {
    match dice.below(4) {
        0..=1 => said.contradiction(),
        2 => {
            let found = Some(Hash32([u8::try_from(dice.below(3)).unwrap(); 32]));
            said.equivocation(&Said { found, seq: 2, ..said.clone() })
        }
        _ => Said { version: 1 + dice.below(4), ..said.clone() }.bad_basis(),
    }
}

fn report(dice: &mut Dice, chain: &Scenario) -> Option<Step> {
    let (_, purchase, record) = purchase(dice, chain)?;
    let owner = chain.get(PROVIDERS, &record.provider)?.owner;
    let signer = name_of(owner)?;
    let hosts = ["bad.example", "evil.example", "good.example"].map(str::to_owned);
    let said = Said {
        provider: record.provider,
        signer,
        purchase,
        seq: 1,
        host: dice.pick(&hosts)?,
        found: dice.once_in(2).then_some(Hash32([9; 32])),
        time: if dice.once_in(3) { record.not_before } else { chain.now() },
        version: 1,
        root: list().root(),
    };
    let evidence = Blob(evidence(dice, &said).to_bytes());
    let periods = periods(dice, chain, record.provider, 8);
    Some((anyone(dice), ReportFault { purchase, keys: vec![public(signer)], periods, evidence }.into()))
}

fn collect(dice: &mut Dice, chain: &Scenario) -> Option<Step> {
    let mut debts: Vec<Debt> = chain
        .rows()
        .scan(FAULTS)
        .into_iter()
        .filter(|(_, fault)| !fault.unpaid.is_zero())
        .map(|((fault, purchase), _)| Debt { fault, purchase })
        .collect();
    let owed = chain.rows().scan(PENALTIES).into_iter().filter(|(_, penalty)| !penalty.unpaid.is_zero());
    debts.extend(owed.map(|(fault, _)| Debt { fault, purchase: PurchaseId::default() }));
    let first = dice.pick(&debts)?;
    let provider = chain.get(PURCHASES, &first.purchase).map(|record| record.provider);
    let provider = provider.or_else(|| chain.get(PENALTIES, &first.fault).map(|penalty| penalty.provider))?;
    let debts = vec![first.clone(), dice.pick(&debts)?, first];
    let periods = periods(dice, chain, provider, 8);
    Some((anyone(dice), Collect { provider, debts, periods }.into()))
}

fn sweep(dice: &mut Dice, chain: &Scenario) -> Option<Step> {
    if dice.once_in(9) {
        let (id, _) = dice.pick(&chain.rows().scan(PENALTIES))?;
        return Some((anyone(dice), Sweep { rows: vec![RowRef::to(PENALTIES, &id)] }.into()));
    }
    if dice.once_in(9) {
        let (id, _) = dice.pick(&chain.rows().scan(DATASET_VERSIONS))?;
        return Some((anyone(dice), Sweep { rows: vec![RowRef::to(DATASET_VERSIONS, &id)] }.into()));
    }
    let now = chain.now();
    let over = |record: &PurchaseRecord| !open(record) && now > record.end().after(Seconds(14 * DAY));
    let (_, purchase, record) = purchase_where(dice, chain, over)?;
    let mut rows: Vec<RowRef> = (0..record.lanes.min(8))
        .filter(|lane| chain.get(LANES, &(purchase, Lane(*lane))).is_some())
        .map(|lane| RowRef::to(LANES, &(purchase, Lane(lane))))
        .collect();
    let faults = chain.rows().scan(FAULTS).into_iter().filter(|((_, id), _)| *id == purchase);
    rows.extend(faults.map(|(id, _)| RowRef::to(FAULTS, &id)));
    let revoked = chain.rows().scan(REVOCATIONS).into_iter().filter(|((id, _), _)| *id == purchase);
    rows.extend(revoked.map(|(id, _)| RowRef::to(REVOCATIONS, &id)));
    let keys = 1..record.key_version;
    rows.extend(keys.map(|version| RowRef::to(market::state::CALL_KEYS, &(purchase, version))));
    rows.extend(chain.get(SHOWN, &purchase).map(|_| RowRef::to(SHOWN, &purchase)));
    if !dice.once_in(9) {
        rows.push(RowRef::to(PURCHASES, &purchase));
    }
    rows.truncate(32);
    Some((anyone(dice), Sweep { rows }.into()))
}

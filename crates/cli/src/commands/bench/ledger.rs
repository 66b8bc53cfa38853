//! Purchases that one core executes over a large state, with signatures already checked.

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};
use std::time::Instant;

use anyhow::{Result, bail};
use surety_ledger::bank::{ACCOUNTS, Account};
use surety_ledger::genesis::Balance;
use surety_ledger::market::{Purchase, RegisterProvider, RegisterService, StakeProvider};
use surety_ledger::{
    AnyAction, BlockMeta, BlockRun, Genesis, Key, Row, Rows, Transaction, VerifiedTransaction, prefetch,
};
use surety_primitives::keys::SecretKey;
use surety_primitives::typed_data::{Bytes16, Bytes32};
use surety_primitives::wallet::AccountKey;
use surety_primitives::{Address, Amount, Height, ProviderId, Seconds, ServiceId, hash};
use zeroize::Zeroizing;

use super::{Figure, rate, recovery};
use crate::commands::provider::template;
use crate::devnet::NETWORK;
use crate::output::Output;

const BLOCK: usize = 2_000;
const BUYERS: u64 = 2_000;

pub(super) fn measure(rows: u64, transactions: u64, output: &Output) -> Result<Vec<Figure>> {
    let mut world = World::new(rows)?;
    output.progress(format_args!("signing {transactions} purchases"));
    let signed = world.purchases(transactions)?;
    let start = Instant::now();
    for block in signed.chunks(BLOCK) {
        world.run(block)?;
    }
    let each = start.elapsed().as_secs_f64() / signed.len() as f64;
    let name = format!("purchases executed, one core, {rows} rows");
    Ok(vec![Figure::new(&name, rate(each), "signature recovery of each, one core", recovery() / each)])
}

/// Keys are hashes: their first bytes are as good as any hash of them.
#[derive(Default)]
struct FirstBytes(u64);

impl Hasher for FirstBytes {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        if let Some(first) = bytes.first_chunk() {
            self.0 = u64::from_be_bytes(*first);
        }
    }

    fn write_usize(&mut self, _: usize) {}
}

/// A whole state in a hash map.
#[derive(Default)]
struct World {
    rows: HashMap<[u8; 32], Vec<u8>, BuildHasherDefault<FirstBytes>>,
    height: u64,
    now: Seconds,
}

impl Rows for World {
    fn row(&self, key: &Key) -> Row<'_> {
        self.rows.get(&key.0).map_or(Row::Absent, |value| Row::Present(value))
    }
}

impl World {
    /// Accounts up to the wanted number of rows, one provider with one service.
    fn new(rows: u64) -> Result<Self> {
        let buyers = (0..BUYERS).map(|i| Balance { account: buyer(i).address(), amount: Amount::call(1_000_000) });
        let funds = Balance { account: owner().address(), amount: Amount::call(2_000_000_000) };
        let genesis = Genesis {
            network: NETWORK,
            time_ms: 1_700_000_000_000,
            balances: buyers.chain([funds]).collect(),
            operators: Vec::new(),
            params: surety_ledger::params::Params::default(),
        };
        let mut world = Self { now: genesis.clock(), height: 1, ..Self::default() };
        world.absorb(BlockRun::genesis(&genesis).writes);
        world.fill(rows);
        let key = SecretKey::from_seed(&Zeroizing::new([7; 32]));
        let (owner, stake) = (owner(), Amount::call(1_000_000_000));
        let register = RegisterProvider { payout: owner.address(), key: Bytes32(key.public().0), stake };
        let mut terms = template();
        terms.datasets.clear();
        let actions: [AnyAction; 3] = [
            register.into(),
            RegisterService { terms }.into(),
            StakeProvider { provider: ProviderId(1), amount: Amount::call(1) }.into(),
        ];
        for (nonce, action) in actions.into_iter().enumerate() {
            let transaction = world.sign(&owner, nonce as u64, action)?;
            world.run(&[transaction])?;
        }
        Ok(world)
    }

    fn fill(&mut self, rows: u64) {
        for i in self.rows.len() as u64..rows {
            let address = Address::from_slice(&hash::keccak(&[&i.to_be_bytes()]).0[12..]);
            let account = Account { balance: Amount::ZERO, nonce: 1 };
            self.rows.insert(ACCOUNTS.key(&address).0, ACCOUNTS.encode(&address, &account));
        }
    }

    fn purchases(&self, count: u64) -> Result<Vec<VerifiedTransaction>> {
        let key = SecretKey::from_seed(&Zeroizing::new([9; 32])).public();
        (0..count)
            .map(|i| {
                let purchase = Purchase {
                    provider: ProviderId(1),
                    service: ServiceId(1),
                    version: 1,
                    max_fee: Amount::call(10),
                    client_ref: Bytes16(hash::h("surety/bench/v1", &[&i.to_be_bytes()]).first16()),
                    call_key: Bytes32(key.0),
                    lanes: 1,
                    expires: self.now.after(Seconds(10 * 86_400)),
                };
                self.sign(&buyer(i % BUYERS), i / BUYERS, purchase.into())
            })
            .collect()
    }

    fn sign(&self, key: &AccountKey, nonce: u64, action: AnyAction) -> Result<VerifiedTransaction> {
        let fee = Amount::milli(20);
        let expires = self.now.after(Seconds(3_600));
        Ok(Transaction { network: NETWORK, nonce, expires, fee, action }.sign(key).verify(NETWORK)?)
    }

    fn run(&mut self, block: &[VerifiedTransaction]) -> Result<()> {
        self.height += 1;
        let meta = BlockMeta { network: NETWORK, height: Height(self.height), now: self.now };
        let Ok(mut run) = BlockRun::begin(self, meta) else { bail!("a state in memory is complete") };
        for transaction in block {
            // A node fetches these rows together; here it is part of the cost.
            std::hint::black_box(prefetch(transaction));
            if let Err(error) = run.apply(self, transaction) {
                bail!("not includable: {error:?}");
            }
        }
        let outcome = run.finish();
        if let Some(failure) = outcome.receipts.iter().find_map(|receipt| receipt.failure.as_ref()) {
            bail!("refused: {}", failure.message);
        }
        self.absorb(outcome.writes);
        Ok(())
    }

    fn absorb(&mut self, writes: std::collections::BTreeMap<Key, Option<Vec<u8>>>) {
        for (key, value) in writes {
            match value {
                Some(value) => self.rows.insert(key.0, value),
                None => self.rows.remove(&key.0),
            };
        }
    }
}

fn buyer(i: u64) -> AccountKey {
    AccountKey::from_label(&format!("bench-{i}"))
}

fn owner() -> AccountKey {
    AccountKey::from_label("bench-owner")
}

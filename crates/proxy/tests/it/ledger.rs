//! A ledger in memory that judges vouchers as the real one does.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Mutex;
use std::time::Duration;

use futures::future::{BoxFuture, FutureExt, ready};
use surety_primitives::access::{verify_chain, verify_voucher};
use surety_primitives::keys::PublicKey;
use surety_primitives::{Amount, Hash32, Lane, NetworkId, ProviderId, PurchaseId, Seconds, ServiceId};
use surety_proxy::error::LedgerError;
use surety_proxy::ledger::{Duty, LedgerClock, LedgerView, PurchaseView, ServiceView};

pub(crate) struct Rows {
    pub(crate) now: Seconds,
    pub(crate) age: Duration,
    pub(crate) provider_key: PublicKey,
    pub(crate) purchases: BTreeMap<PurchaseId, PurchaseView>,
    pub(crate) revoked: BTreeSet<Hash32>,
    pub(crate) claimed: BTreeMap<(PurchaseId, Lane), u64>,
    pub(crate) duties: Vec<&'static str>,
    /// Whether nothing can be asked.
    pub(crate) down: bool,
}

pub(crate) struct MemoryLedger(pub(crate) Mutex<Rows>);

impl MemoryLedger {
    pub(crate) fn new(provider_key: PublicKey) -> Self {
        Self(Mutex::new(Rows {
            now: Seconds(1_000_000),
            age: Duration::ZERO,
            provider_key,
            purchases: BTreeMap::new(),
            revoked: BTreeSet::new(),
            claimed: BTreeMap::new(),
            duties: Vec::new(),
            down: false,
        }))
    }

    fn read<T: Send + 'static>(
        &self,
        read: impl FnOnce(&mut Rows) -> Result<T, LedgerError>,
    ) -> BoxFuture<'_, Result<T, LedgerError>> {
        let mut rows = self.0.lock().unwrap();
        let down = Err(LedgerError::Unreachable("switched off".to_owned()));
        ready(if rows.down { down } else { read(&mut rows) }).boxed()
    }
}

impl LedgerView for MemoryLedger {
    fn network(&self) -> NetworkId {
        NetworkId(1)
    }

    fn clock(&self) -> LedgerClock {
        let rows = self.0.lock().unwrap();
        LedgerClock { now: rows.now, age: rows.age }
    }

    fn provider_key(&self, _: ProviderId) -> BoxFuture<'_, Result<Option<PublicKey>, LedgerError>> {
        self.read(|rows| Ok(Some(rows.provider_key)))
    }

    fn service(&self, _: ServiceId) -> BoxFuture<'_, Result<Option<ServiceView>, LedgerError>> {
        let view =
            ServiceView { version: 2, title: "Look-ups".into(), calls: 1_000, price: Amount::call(100), paused: false };
        self.read(|_| Ok(Some(view)))
    }

    fn purchase(&self, id: PurchaseId) -> BoxFuture<'_, Result<Option<PurchaseView>, LedgerError>> {
        self.read(move |rows| Ok(rows.purchases.get(&id).cloned()))
    }

    fn check_grant(&self, proof: Vec<u8>) -> BoxFuture<'_, Result<PurchaseView, LedgerError>> {
        self.read(move |rows| {
            let id = proof.as_slice().try_into().map(PurchaseId).ok();
            let view = id.and_then(|id| rows.purchases.get(&id)).cloned();
            view.ok_or_else(|| LedgerError::Unproven("no such row".to_owned()))
        })
    }

    fn revoked(&self, _: PurchaseId, links: Vec<Hash32>) -> BoxFuture<'_, Result<Vec<bool>, LedgerError>> {
        self.read(move |rows| Ok(links.iter().map(|link| rows.revoked.contains(link)).collect()))
    }

    fn claimed(&self, id: PurchaseId, lane: Lane) -> BoxFuture<'_, Result<u64, LedgerError>> {
        self.read(move |rows| Ok(rows.claimed.get(&(id, lane)).copied().unwrap_or(0)))
    }

    fn feed(&self, _: ProviderId, cursor: u64) -> BoxFuture<'_, Result<(Vec<PurchaseId>, u64), LedgerError>> {
        self.read(move |rows| {
            let sold: Vec<_> = rows.purchases.keys().copied().skip(cursor as usize).collect();
            Ok((sold, rows.purchases.len() as u64))
        })
    }

    fn submit(&self, duty: Duty) -> BoxFuture<'_, Result<(), LedgerError>> {
        self.read(move |rows| {
            rows.duties.push(duty.name());
            match duty {
                Duty::Claim { purchase, vouchers } => claim(rows, purchase, vouchers),
                Duty::Show { purchase, .. } => {
                    rows.purchases.get_mut(&purchase).unwrap().shown = true;
                    Ok(())
                }
                Duty::Settle { purchase } => {
                    rows.purchases.get_mut(&purchase).unwrap().settled = true;
                    Ok(())
                }
                Duty::Sweep { purchase, .. } => {
                    rows.purchases.remove(&purchase);
                    Ok(())
                }
            }
        })
    }
}

fn claim(
    rows: &mut Rows,
    purchase: PurchaseId,
    vouchers: Vec<surety_proxy::store::StoredVoucher>,
) -> Result<(), LedgerError> {
    let grant = rows.purchases[&purchase].grant;
    for stored in vouchers {
        let authority = verify_chain(&grant, &stored.chain).map_err(|error| LedgerError::Refused(error.to_string()))?;
        let cum =
            verify_voucher(&stored.voucher, &authority).map_err(|error| LedgerError::Refused(error.to_string()))?;
        let claimed = rows.claimed.entry((purchase, stored.voucher.head().lane)).or_default();
        let new = cum.saturating_sub(*claimed);
        *claimed += new;
        rows.purchases.get_mut(&purchase).unwrap().claimed += new;
    }
    assert!(rows.purchases[&purchase].claimed <= grant.quota);
    Ok(())
}

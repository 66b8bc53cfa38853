//! The ledger through a node that is not trusted: each row is proven, each action is signed by the sidecar's own account.

use std::sync::{Arc, PoisonError, RwLock};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use futures::FutureExt;
use surety_client::caller::grant;
use surety_client::{Error as ClientError, LightReader, Sender};
use surety_ledger::AnyAction;
use surety_ledger::market::state::{LANES, PURCHASES, PurchaseRecord, PurchaseStatus, REVOCATIONS, SHOWN};
use surety_ledger::market::{Claim, KeyChain, RowRef, Settle, ShowAnswers, ShownAnswers, Sweep};
use surety_ledger::state::Map;
use surety_primitives::api::ProvenRow;
use surety_primitives::keys::{PublicKey, SecretKey};
use surety_primitives::typed_data::Blob;
use surety_primitives::{Hash32, Lane, NetworkId, ProviderId, PurchaseId, Seconds, ServiceId, codec};
use tokio::task::JoinHandle;

use super::{Answered, Duty, LedgerClock, LedgerView, PurchaseView, ServiceView, ShowLane};
use crate::error::LedgerError;
use crate::store::StoredVoucher;

/// How long an action may take to be final.
const FINAL_WITHIN: Duration = Duration::from_secs(30);
/// How often the newest header is asked for.
const HEADER_EVERY: Duration = Duration::from_secs(1);
/// How long the node may hold back an empty feed.
const FEED_WAIT: Duration = Duration::ZERO;
/// Bytes of a row with its proof, as JSON or borsh.
const MAX_GRANT: usize = 256 << 10;
/// Most rows of a sweep.
const ROWS_MOST: usize = 32;

/// Ledger time and wall milliseconds of the newest header.
type Newest = Arc<RwLock<(Seconds, u64)>>;

/// The ledger behind a [`LightReader`], acted on by a [`Sender`].
pub struct ClientLedger {
    reader: LightReader,
    sender: Sender,
    /// Signs what is shown at the end of a purchase, so that the sender need not be the provider's owner.
    key: SecretKey,
    network: NetworkId,
    newest: Newest,
    follower: JoinHandle<()>,
}

impl ClientLedger {
    /// Reads the newest header and follows it from now on. `sender` pays the transactions' fees; any account will do.
    ///
    /// # Errors
    /// [`LedgerError`] when no node answers, or none is believed.
    pub async fn connect(reader: LightReader, sender: Sender, key: SecretKey) -> Result<Self, LedgerError> {
        let header = reader.header().await.map_err(told)?;
        let newest: Newest = Arc::new(RwLock::new((header.clock, header.time_ms)));
        let follower = tokio::spawn(follow(reader.clone(), Arc::clone(&newest)));
        Ok(Self { reader, sender, key, network: header.network, newest, follower })
    }

    async fn view(&self, id: PurchaseId, record: PurchaseRecord) -> Result<PurchaseView, LedgerError> {
        let over = self.clock().now >= record.end();
        let shown = over && self.reader.record(SHOWN, &id).await.map_err(told)?.value.is_some();
        Ok(PurchaseView {
            grant: grant(self.network, id, &record),
            provider: record.provider,
            service: record.service,
            price: record.price,
            window: record.window,
            cover: record.cover,
            rate: record.rate,
            claimed: record.claimed,
            settled: record.status == PurchaseStatus::Settled,
            shown,
        })
    }

    async fn act(&self, action: impl Into<AnyAction>) -> Result<(), LedgerError> {
        self.sender.send(action, FINAL_WITHIN).await.map(|_| ()).map_err(told)
    }

    fn show(&self, purchase: PurchaseId, entries: &[ShowLane]) -> ShowAnswers {
        let entries = entries.iter().map(shown_answers).collect();
        let mut show = ShowAnswers { purchase, entries, signature: Blob(Vec::new()) };
        show.signature = Blob(self.key.sign(&show.digest(self.network)).0.to_vec());
        show
    }

    async fn sweep(&self, purchase: PurchaseId, lanes: &[Lane], shown: bool) -> Result<(), LedgerError> {
        let mut rows: Vec<RowRef> = lanes.iter().map(|lane| row(LANES, &(purchase, *lane))).collect();
        if shown {
            rows.push(row(SHOWN, &purchase));
        }
        // The purchase goes last of its rows.
        rows.push(row(PURCHASES, &purchase));
        for rows in rows.chunks(ROWS_MOST) {
            self.act(Sweep { rows: rows.to_vec() }).await?;
        }
        Ok(())
    }
}

impl Drop for ClientLedger {
    fn drop(&mut self) {
        self.follower.abort();
    }
}

async fn follow(reader: LightReader, newest: Newest) {
    loop {
        tokio::time::sleep(HEADER_EVERY).await;
        match reader.header().await {
            Ok(header) => {
                let mut newest = newest.write().unwrap_or_else(PoisonError::into_inner);
                // A node that lags behind the one asked before takes no time back.
                if header.clock >= newest.0 {
                    *newest = (header.clock, header.time_ms);
                }
            }
            Err(error) => tracing::warn!(%error, code = error.code(), "no new header"),
        }
    }
}

impl LedgerView for ClientLedger {
    fn network(&self) -> NetworkId {
        self.network
    }

    fn clock(&self) -> LedgerClock {
        let (now, time_ms) = *self.newest.read().unwrap_or_else(PoisonError::into_inner);
        LedgerClock { now, age: Duration::from_millis(wall_ms().saturating_sub(time_ms)) }
    }

    fn provider_key(&self, provider: ProviderId) -> Answered<'_, Option<PublicKey>> {
        async move {
            let record = self.reader.provider(provider).await.map_err(told)?.value;
            Ok(record.map(|record| PublicKey(record.key.0)))
        }
        .boxed()
    }

    fn service(&self, service: ServiceId) -> Answered<'_, Option<ServiceView>> {
        async move {
            let record = self.reader.service(service).await.map_err(told)?.value;
            Ok(record.map(|record| ServiceView {
                version: record.version,
                title: record.terms.title,
                calls: record.terms.calls,
                price: record.terms.price,
                paused: record.paused,
            }))
        }
        .boxed()
    }

    fn purchase(&self, purchase: PurchaseId) -> Answered<'_, Option<PurchaseView>> {
        async move {
            match self.reader.purchase(purchase).await.map_err(told)?.value {
                Some(record) => self.view(purchase, record).await.map(Some),
                None => Ok(None),
            }
        }
        .boxed()
    }

    fn check_grant(&self, proof: Vec<u8>) -> Answered<'_, PurchaseView> {
        async move {
            let row = read_row(&proof).ok_or_else(|| LedgerError::Unproven("not a row with its proof".to_owned()))?;
            let value = row.value.as_ref().map_or(&[][..], |value| &value.0);
            let (id, _) =
                PURCHASES.read_row(value).ok_or_else(|| LedgerError::Unproven("the row is no purchase".to_owned()))?;
            let proven = self.reader.light().verify_record(PURCHASES, &id, &row, wall_ms());
            let proven = proven.map_err(|error| LedgerError::Unproven(error.to_string()))?;
            let record = proven.value.ok_or_else(|| LedgerError::Unproven("there is no such purchase".to_owned()))?;
            self.view(id, record).await
        }
        .boxed()
    }

    fn revoked(&self, purchase: PurchaseId, links: Vec<Hash32>) -> Answered<'_, Vec<bool>> {
        async move {
            let mut revoked = Vec::with_capacity(links.len());
            for link in links {
                let row = self.reader.record(REVOCATIONS, &(purchase, link)).await.map_err(told)?;
                revoked.push(row.value.is_some());
            }
            Ok(revoked)
        }
        .boxed()
    }

    fn claimed(&self, purchase: PurchaseId, lane: Lane) -> Answered<'_, u64> {
        async move { Ok(self.reader.record(LANES, &(purchase, lane)).await.map_err(told)?.value.unwrap_or(0)) }.boxed()
    }

    fn feed(&self, provider: ProviderId, cursor: u64) -> Answered<'_, (Vec<PurchaseId>, u64)> {
        async move {
            // The feed only says where to look: each purchase is then read with its proof.
            let feed = self.reader.client().sales(provider, cursor, FEED_WAIT).await.map_err(told)?;
            Ok((feed.items.iter().map(|sale| sale.purchase).collect(), feed.cursor))
        }
        .boxed()
    }

    fn submit(&self, duty: Duty) -> Answered<'_, ()> {
        async move {
            match duty {
                Duty::Claim { purchase, vouchers } => self.act(claim(purchase, &vouchers)).await,
                Duty::Show { purchase, entries } => self.act(self.show(purchase, &entries)).await,
                Duty::Settle { purchase } => self.act(Settle { purchase }).await,
                Duty::Sweep { purchase, lanes, shown } => self.sweep(purchase, &lanes, shown).await,
            }
        }
        .boxed()
    }
}

/// A claim with each chain once.
fn claim(purchase: PurchaseId, vouchers: &[StoredVoucher]) -> Claim {
    let (mut chains, mut signers) = (Vec::<Blob>::new(), Vec::new());
    for stored in vouchers {
        let chain = chain_of(stored);
        let at = chains.iter().position(|known| *known == chain).unwrap_or_else(|| {
            chains.push(chain);
            chains.len() - 1
        });
        signers.push(u16::try_from(at).unwrap_or(u16::MAX));
    }
    let vouchers = vouchers.iter().map(|stored| Blob(stored.voucher.to_bytes())).collect();
    Claim { purchase, vouchers, signers, chains }
}

fn shown_answers(entry: &ShowLane) -> ShownAnswers {
    ShownAnswers {
        lane: entry.lane,
        from_cum: entry.from_cum,
        count: entry.count,
        root: entry.root,
        opening: Blob(entry.opening.voucher.to_bytes()),
        chain: chain_of(&entry.opening),
    }
}

fn chain_of(stored: &StoredVoucher) -> Blob {
    KeyChain { key_version: stored.key_version, links: stored.chain.clone() }.to_blob()
}

fn row<K: borsh::BorshSerialize, V>(table: Map<K, V>, id: &K) -> RowRef {
    RowRef { table: u16::from(table.label().0), id: Blob(codec::encode(id)) }
}

/// As JSON, or as borsh.
fn read_row(bytes: &[u8]) -> Option<ProvenRow> {
    if bytes.first() == Some(&b'{') {
        return serde_json::from_slice(bytes).ok();
    }
    codec::decode(bytes, MAX_GRANT).ok()
}

fn told(error: ClientError) -> LedgerError {
    let text = error.to_string();
    match error {
        error if error.is_transient() => LedgerError::Unreachable(text),
        ClientError::Light(_) => LedgerError::Unproven(text),
        ClientError::NotFinal { .. } | ClientError::NoNode => LedgerError::Unreachable(text),
        _ => LedgerError::Refused(text),
    }
}

fn wall_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

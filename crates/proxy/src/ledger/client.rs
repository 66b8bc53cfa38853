//! The ledger through a node that is not trusted: each row is proven, each action is signed by the sidecar's own account.

use std::sync::{Arc, PoisonError, RwLock};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use futures::FutureExt;
use surety_client::caller::grant;
use surety_client::light::Proven;
use surety_client::{Error as ClientError, LightReader, Sender};
use surety_ledger::AnyAction;
use surety_ledger::market::state::{CALL_KEYS, LANES, PURCHASES, PurchaseRecord, PurchaseStatus, REVOCATIONS, SHOWN};
use surety_ledger::market::{Claim, KeyChain, RowRef, Settle, ShowAnswers, ShownAnswers, Sweep};
use surety_primitives::api::ProvenRow;
use surety_primitives::keys::{PublicKey, SecretKey};
use surety_primitives::typed_data::Blob;
use surety_primitives::{Hash32, Height, Lane, NetworkId, ProviderId, PurchaseId, Seconds, ServiceId, codec};
use tokio::task::JoinHandle;

use super::{Absence, Answered, Duty, LedgerClock, LedgerView, PurchaseView, ServiceView, ShowLane};
use crate::error::LedgerError;
use crate::store::StoredVoucher;

/// How long an action may take to be final.
const FINAL_WITHIN: Duration = Duration::from_secs(30);
/// How often the newest header is asked for.
const HEADER_EVERY: Duration = Duration::from_secs(1);
/// How long the node may hold back an empty feed.
const FEED_WAIT: Duration = Duration::ZERO;
/// Bytes of a row with its proof, as JSON or borsh.
pub(crate) const MAX_GRANT: usize = 256 << 10;
/// Most rows of a sweep.
const ROWS_MOST: usize = 32;
/// The rows that a purchase has to the end: itself and its sale.
const OWN_ROWS: usize = 2;

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

    async fn view(&self, id: PurchaseId, record: PurchaseRecord, height: Height) -> Result<PurchaseView, LedgerError> {
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
            rows: record.rows,
            height,
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

    /// Deletes the rows of a purchase that are known, and the purchase with its sale once nothing else is left of it.
    async fn sweep(&self, id: PurchaseId, lanes: &[Lane], revoked: &[Hash32], shown: bool) -> Result<(), LedgerError> {
        let Some(record) = self.reader.purchase(id).await.map_err(told)?.value else { return Ok(()) };
        let mut parts: Vec<RowRef> = revoked.iter().map(|link| RowRef::to(REVOCATIONS, &(id, *link))).collect();
        for version in 1..record.key_version {
            if self.reader.record(CALL_KEYS, &(id, version)).await.map_err(told)?.value.is_some() {
                parts.push(RowRef::to(CALL_KEYS, &(id, version)));
            }
        }
        parts.extend(shown.then(|| RowRef::to(SHOWN, &id)));
        parts.extend(lanes.iter().map(|lane| RowRef::to(LANES, &(id, *lane))));
        // Anyone may claim, for a lane that was never called here.
        for lane in (0..record.lanes).map(Lane).filter(|lane| !lanes.contains(lane)) {
            if missing(&record, parts.len()) == 0 {
                break;
            }
            if self.reader.record(LANES, &(id, lane)).await.map_err(told)?.value.is_some() {
                parts.push(RowRef::to(LANES, &(id, lane)));
            }
        }
        let missing = missing(&record, parts.len());
        for rows in sweeps(id, parts, missing == 0) {
            self.act(Sweep { rows }).await?;
        }
        if missing == 0 {
            return Ok(());
        }
        Err(LedgerError::Refused(format!("{missing} rows that belong to the purchase are not known here")))
    }
}

/// Rows of a purchase that `known` parts leave unnamed. As long as there is one, the purchase cannot be swept.
fn missing(record: &PurchaseRecord, known: usize) -> usize {
    usize::try_from(record.rows).unwrap_or(usize::MAX).saturating_sub(known.saturating_add(OWN_ROWS))
}

/// The rows of each action, all of which are deleted or none; the purchase goes last, if nothing else is left of it.
fn sweeps(id: PurchaseId, mut parts: Vec<RowRef>, is_last: bool) -> Vec<Vec<RowRef>> {
    parts.extend(is_last.then(|| RowRef::to(PURCHASES, &id)));
    parts.chunks(ROWS_MOST).map(<[RowRef]>::to_vec).collect()
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

    fn purchase(&self, purchase: PurchaseId) -> Answered<'_, Result<PurchaseView, Absence>> {
        async move {
            let Proven { value, header } = self.reader.purchase(purchase).await.map_err(told)?;
            match value {
                Some(record) => self.view(purchase, record, header.height).await.map(Ok),
                None => Ok(Err(Absence { height: header.height, clock: header.clock })),
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
            self.view(id, record, proven.header.height).await
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

    fn counts_until(
        &self,
        purchase: PurchaseId,
        key_version: u32,
        links: Vec<Hash32>,
        window: Seconds,
    ) -> Answered<'_, Option<Seconds>> {
        async move {
            // The present key has no such row.
            let replaced = self.reader.record(CALL_KEYS, &(purchase, key_version)).await.map_err(told)?.value;
            let mut until = replaced.map(|old| old.until);
            for link in links {
                let revoked = self.reader.record(REVOCATIONS, &(purchase, link)).await.map_err(told)?.value;
                let ends = revoked.map(|at| at.after(window));
                until = until.into_iter().chain(ends).min();
            }
            Ok(until)
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
                Duty::Claim { purchase, vouchers } => self.act(claim_of(purchase, &vouchers)).await,
                Duty::Show { purchase, entries } => self.act(self.show(purchase, &entries)).await,
                Duty::Settle { purchase } => self.act(Settle { purchase }).await,
                Duty::Sweep { purchase, lanes, revoked, shown } => self.sweep(purchase, &lanes, &revoked, shown).await,
            }
        }
        .boxed()
    }
}

/// A claim with each chain once.
pub(crate) fn claim_of(purchase: PurchaseId, vouchers: &[StoredVoucher]) -> Claim {
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
        // A node's refusal costs nothing, and may be that of a node that is behind.
        ClientError::Refused(_)
        | ClientError::NotFound(_)
        | ClientError::NotFinal { .. }
        | ClientError::Doubtful { .. }
        | ClientError::NoNode => LedgerError::Unreachable(text),
        _ => LedgerError::Refused(text),
    }
}

fn wall_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use surety_primitives::typed_data::Bytes32;
    use surety_primitives::{Address, Amount};

    use super::*;

    const ID: PurchaseId = PurchaseId([7; 16]);

    fn record(rows: u32) -> PurchaseRecord {
        PurchaseRecord {
            datasets: Vec::new(),
            rate: 0,
            consumer: Address::default(),
            call_key: Bytes32([2; 32]),
            key_version: 1,
            provider: ProviderId(5),
            service: ServiceId(3),
            version: 1,
            sale: 0,
            quota: 40,
            price: Amount::call(20),
            refund_bps: 0,
            window: 8,
            lanes: 4,
            cover: Amount::ZERO,
            cover_left: 0,
            not_before: Seconds(0),
            expires: Seconds(1),
            ended: None,
            claimed: 0,
            last_claim: Seconds(0),
            status: PurchaseStatus::Settled,
            rows,
            deposit: Amount::ZERO,
        }
    }

    #[test]
    fn a_purchase_is_swept_last_and_only_when_nothing_else_is_left_of_it() {
        assert_eq!((missing(&record(2), 0), missing(&record(5), 2), missing(&record(5), 3)), (0, 1, 0));
        let parts: Vec<RowRef> = (0..40).map(|lane| RowRef::to(LANES, &(ID, Lane(lane)))).collect();
        let last = sweeps(ID, parts.clone(), true);
        assert_eq!((last.len(), last[0].len(), last[1].len()), (2, 32, 9));
        assert_eq!(last[1].last(), Some(&RowRef::to(PURCHASES, &ID)));
        let parted = sweeps(ID, parts, false);
        assert!(!parted.concat().contains(&RowRef::to(PURCHASES, &ID)));
        // Nothing that can be deleted: nothing is sent, and nothing paid.
        assert!(sweeps(ID, Vec::new(), false).is_empty());
    }

    #[test]
    fn a_claim_carries_each_chain_once() {
        use surety_primitives::access::{Flags, Head, NO_REQUEST, SignedCall};
        let key = SecretKey::from_seed(&zeroize::Zeroizing::new([1; 32]));
        let voucher = |lane: u16, key_version: u32| {
            let head = Head { flags: Flags::NONE, purchase: ID, lane: Lane(lane), seq: 1, cum: 1, deadline: 0 };
            let voucher = SignedCall::sign(&key, head, None, &NO_REQUEST).unwrap().voucher(NO_REQUEST);
            StoredVoucher { voucher, key_version, chain: Vec::new() }
        };
        let claim = claim_of(ID, &[voucher(0, 1), voucher(1, 2), voucher(2, 1)]);
        assert_eq!((claim.vouchers.len(), claim.chains.len(), claim.signers), (3, 2, vec![0, 1, 0]));
    }

    #[test]
    fn only_what_the_ledger_took_and_refused_counts_as_refused() {
        let refused = ClientError::Rejected {
            hash: Hash32([0; 32]),
            code: 1,
            name: "not-due".to_owned(),
            message: "not due".to_owned(),
        };
        assert!(matches!(told(refused), LedgerError::Refused(_)));
        let late = ClientError::NotFinal { hash: Hash32([0; 32]), limit: FINAL_WITHIN };
        assert!(matches!(told(late), LedgerError::Unreachable(_)));
        let lost = ClientError::Doubtful { hash: Hash32([0; 32]), reason: "a number that is used".to_owned() };
        assert!(matches!(told(lost), LedgerError::Unreachable(_)));
        assert!(matches!(told(ClientError::NoNode), LedgerError::Unreachable(_)));
        let by_a_node = ClientError::NotFound("no such account".to_owned());
        assert!(matches!(told(by_a_node), LedgerError::Unreachable(_)));
    }
}

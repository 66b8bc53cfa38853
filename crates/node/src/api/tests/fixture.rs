//! A chain in memory behind the API.

use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::Body;
use axum::http::{Request, StatusCode};
use serde_json::Value;
use surety_ledger::bank::{ACCOUNTS, Transfer};
use surety_ledger::market::state::{
    COUNTERS, Counters, DATASET_VERSIONS, DATASETS, Dataset, DatasetVersion, OWNERS, PROVIDERS, PURCHASES, Provider,
    ProviderStatus, PurchaseRecord, PurchaseStatus, SALES, SERVICES, Service, Terms,
};
use surety_ledger::params::Params;
use surety_ledger::testing::{NETWORK, account, operator};
use surety_ledger::{
    ApplyError, BlockMeta, BlockRun, Event, Genesis, Key, Map, MemoryRows, Receipt, SignedTransaction, Transaction,
    VerifiedTransaction, market,
};
use surety_primitives::bls::BlsSignature;
use surety_primitives::header::{FinalHeader, Finality, Header, receipts_root, transactions_root};
use surety_primitives::typed_data::Bytes32;
use surety_primitives::{
    Address, Amount, DatasetId, Epoch, Hash32, Height, ProviderId, PurchaseId, Seconds, ServiceId, codec, hash,
};
use tokio::sync::{broadcast, watch};
use tower::ServiceExt as _;

use crate::api::{
    Answer, Api, Backend, Export, FinalBlock, Health, Limits, PlacedReceipt, ReadFailure, ReadRows, Refusal, RowAnswer,
};

pub(super) const START_MS: u64 = 1_700_000_000_000;

/// The chain. Transactions wait until [`Chain::make_block`] unless `eager`.
pub(super) struct Chain {
    genesis: Genesis,
    eager: bool,
    inner: Mutex<Inner>,
    sender: broadcast::Sender<Arc<FinalBlock>>,
}

struct Inner {
    rows: MemoryRows,
    blocks: Vec<FinalBlock>,
    waiting: Vec<VerifiedTransaction>,
    ready: bool,
    /// Blocks below are no longer kept.
    kept_from: u64,
    refuses_proofs: u32,
    offers_audits: bool,
    /// Receipts of this many newest blocks are not on disk yet.
    unwritten: usize,
}

impl Chain {
    pub(super) fn new(eager: bool) -> Self {
        let balance = |name: &str| surety_ledger::genesis::Balance {
            account: account(name).address(),
            amount: Amount::call(1_000),
        };
        let genesis = Genesis {
            network: NETWORK,
            time_ms: START_MS,
            balances: vec![balance("ana"), balance("ben")],
            operators: (1..=4).map(|seed| operator(seed, Amount::call(100)).1).collect(),
            params: Params::default(),
        };
        let mut rows = MemoryRows::default();
        rows.absorb(BlockRun::genesis(&genesis).writes);
        let inner = Inner {
            rows,
            blocks: Vec::new(),
            waiting: Vec::new(),
            ready: true,
            kept_from: 0,
            refuses_proofs: 0,
            offers_audits: true,
            unwritten: 0,
        };
        let chain = Self { genesis, eager, inner: Mutex::new(inner), sender: broadcast::channel(64).0 };
        chain.push(Vec::new(), Vec::new());
        chain
    }

    fn push(&self, transactions: Vec<SignedTransaction>, receipts: Vec<Receipt>) {
        let mut inner = self.inner.lock().unwrap();
        let height = inner.blocks.len() as u64 + 1;
        let parent = inner.blocks.last().map_or(self.genesis.hash(), |block| block.header.digest());
        let header = Header {
            network: NETWORK,
            epoch: Epoch(0),
            view: height,
            parent_view: height - 1,
            leader: Bytes32([1; 32]),
            parent,
            height: Height(height),
            time_ms: START_MS + height * 1_000,
            clock: Seconds(START_MS / 1_000 + height),
            transactions_root: transactions_root(&[]),
            receipts_root: receipts_root(&[]),
            state_root: root(&inner.rows),
            ops_root: Hash32([0; 32]),
            range_start: 0,
            range_end: height,
        };
        let block = FinalBlock { header, transactions, receipts: Some(Arc::new(receipts)) };
        inner.blocks.push(block.clone());
        drop(inner);
        let _ = self.sender.send(Arc::new(block));
    }

    /// Puts what waits into a block.
    pub(super) fn make_block(&self) {
        let mut inner = self.inner.lock().unwrap();
        let waiting = std::mem::take(&mut inner.waiting);
        let mut run = self.begin(&inner);
        for transaction in &waiting {
            run.apply(&inner.rows, transaction).unwrap();
        }
        let outcome = run.finish();
        inner.rows.absorb(outcome.writes);
        drop(inner);
        self.push(waiting.iter().map(|one| one.signed().clone()).collect(), outcome.receipts);
    }

    fn begin(&self, inner: &Inner) -> BlockRun {
        let height = Height(inner.blocks.len() as u64 + 1);
        let now = Seconds(START_MS / 1_000 + height.0);
        BlockRun::begin(&inner.rows, BlockMeta { network: NETWORK, height, now }).unwrap()
    }

    /// Writes a row and says in a block of its own what happened: the market's way of doing it does not matter here.
    pub(super) fn happens(&self, events: Vec<Event>) {
        let receipt = Receipt {
            hash: hash::h("test", &[&self.height().to_be_bytes()]),
            signer: account("ana").address(),
            nonce: 0,
            action: 10,
            fee: Amount::ZERO,
            failure: None,
            events,
        };
        self.push(Vec::new(), vec![receipt]);
    }

    pub(super) fn put<K: borsh::BorshSerialize, V: borsh::BorshSerialize>(&self, table: Map<K, V>, id: &K, value: &V) {
        self.inner.lock().unwrap().rows.0.insert(table.key(id), table.encode(id, value));
    }

    pub(super) fn remove<K: borsh::BorshSerialize, V>(&self, table: Map<K, V>, id: &K) {
        self.inner.lock().unwrap().rows.0.remove(&table.key(id));
    }

    pub(super) fn height(&self) -> u64 {
        self.inner.lock().unwrap().blocks.len() as u64
    }

    pub(super) fn state(&self) -> (Hash32, u64, usize) {
        let inner = self.inner.lock().unwrap();
        (root(&inner.rows), inner.blocks.len() as u64, inner.waiting.len())
    }

    pub(super) fn set_ready(&self, ready: bool) {
        self.inner.lock().unwrap().ready = ready;
    }

    pub(super) fn prune_below(&self, height: u64) {
        self.inner.lock().unwrap().kept_from = height;
    }

    pub(super) fn offer_audits(&self, offered: bool) {
        self.inner.lock().unwrap().offers_audits = offered;
    }

    /// Receipts of the newest so many blocks are not on disk yet.
    pub(super) fn leave_unwritten(&self, blocks: usize) {
        self.inner.lock().unwrap().unwritten = blocks;
    }

    /// The next so many proofs find no certificate.
    pub(super) fn refuse_proofs(&self, times: u32) {
        self.inner.lock().unwrap().refuses_proofs = times;
    }

    pub(super) fn add_provider(&self, id: u64, sales: u64) {
        self.put(PROVIDERS, &ProviderId(id), &provider(sales));
        self.put(OWNERS, &account("ana").address(), &ProviderId(id));
    }

    pub(super) fn add_service(&self, id: u64, service: &Service) {
        self.put(SERVICES, &ServiceId(id), service);
        self.put(COUNTERS, &(), &Counters { providers: 2, services: id, datasets: 1 });
    }

    /// A sale with its block.
    pub(super) fn sell(&self, provider_id: u64, n: u64) -> PurchaseId {
        let id = PurchaseId([n as u8 + 1; 16]);
        self.put(PURCHASES, &id, &purchase(provider_id));
        self.put(SALES, &(ProviderId(provider_id), n), &id);
        self.put(PROVIDERS, &ProviderId(provider_id), &provider(n + 1));
        self.happens(vec![
            market::Event::Purchased {
                purchase: id,
                consumer: account("ben").address(),
                provider: ProviderId(provider_id),
                service: ServiceId(1),
                sale: n,
                price: Amount::call(10),
                expires: Seconds(9),
                existing: false,
            }
            .into(),
            market::Event::KeyRotated { purchase: id, key_version: 2 }.into(),
        ]);
        id
    }
}

fn root(rows: &MemoryRows) -> Hash32 {
    hash::h("test-root", &[&codec::encode(&rows.0)])
}

fn final_header(header: &Header) -> FinalHeader {
    let finality = Finality {
        epoch: header.epoch,
        view: header.view,
        parent_view: header.parent_view,
        digest: header.digest(),
        signers: 0b111,
        signature: BlsSignature([7; 48]),
    };
    FinalHeader { header: header.clone(), path: Vec::new(), finality }
}

impl Backend for Chain {
    fn genesis(&self) -> &Genesis {
        &self.genesis
    }

    fn submit(&self, signed: SignedTransaction) -> Answer<'_, Result<Hash32, Refusal>> {
        Box::pin(async move {
            let invalid = |error: surety_ledger::Error| Refusal::Invalid {
                name: error.name().to_owned(),
                message: error.to_string(),
            };
            let verified = signed.verify(NETWORK).map_err(invalid)?;
            let hash = verified.hash();
            {
                let mut inner = self.inner.lock().unwrap();
                match self.begin(&inner).apply(&inner.rows, &verified) {
                    Ok(()) => inner.waiting.push(verified),
                    Err(ApplyError::Rejected(error)) => {
                        let (name, message) = (error.name().to_owned(), error.to_string());
                        return Err(Refusal::Ledger { name, message });
                    }
                    Err(ApplyError::Missing(_)) => return Err(Refusal::Unavailable),
                }
            }
            if self.eager {
                self.make_block();
            }
            Ok(hash)
        })
    }

    fn is_waiting(&self, hash: &Hash32) -> bool {
        self.inner.lock().unwrap().waiting.iter().any(|one| one.hash() == *hash)
    }

    fn next_nonce(&self, account: &Address, next: u64) -> u64 {
        next + self.inner.lock().unwrap().waiting.iter().filter(|one| one.signer() == *account).count() as u64
    }

    fn tip(&self) -> Option<Header> {
        let inner = self.inner.lock().unwrap();
        inner.blocks.last().filter(|_| inner.ready).map(|block| block.header.clone())
    }

    fn latest(&self) -> Answer<'_, Option<FinalHeader>> {
        Box::pin(async move { self.tip().as_ref().map(final_header) })
    }

    fn block(&self, height: Height) -> Answer<'_, Option<FinalBlock>> {
        Box::pin(async move {
            let inner = self.inner.lock().unwrap();
            let kept = height.0 >= inner.kept_from;
            let at = usize::try_from(height.0).ok()?.checked_sub(1)?;
            let block = inner.blocks.get(at).filter(|_| kept).cloned()?;
            let is_written = at + inner.unwritten < inner.blocks.len();
            Some(FinalBlock { receipts: block.receipts.filter(|_| is_written), ..block })
        })
    }

    fn prove_final<'a>(&'a self, header: &'a Header) -> Answer<'a, Option<FinalHeader>> {
        Box::pin(async move { Some(final_header(header)) })
    }

    fn receipt<'a>(&'a self, hash: &'a Hash32) -> Answer<'a, Option<PlacedReceipt>> {
        Box::pin(async move {
            let inner = self.inner.lock().unwrap();
            let written = inner.blocks.len() - inner.unwritten.min(inner.blocks.len());
            let mut all = inner.blocks[..written].iter().flat_map(|block| {
                let height = block.header.height;
                block.receipts.iter().flat_map(|receipts| receipts.iter()).map(move |receipt| (height, receipt))
            });
            let (height, receipt) = all.find(|(_, receipt)| receipt.hash == *hash)?;
            Some(PlacedReceipt { height, receipt: receipt.clone() })
        })
    }

    fn rows<'a>(&'a self, keys: &'a [Key]) -> Answer<'a, Result<ReadRows, ReadFailure>> {
        Box::pin(async move {
            let header = self.tip().ok_or(ReadFailure::NotReady)?;
            let inner = self.inner.lock().unwrap();
            Ok(ReadRows { values: keys.iter().map(|key| inner.rows.0.get(key).cloned()).collect(), header })
        })
    }

    fn row<'a>(&'a self, key: &'a Key) -> Answer<'a, Result<RowAnswer, ReadFailure>> {
        Box::pin(async move {
            let header = self.tip().ok_or(ReadFailure::NotReady)?;
            let mut inner = self.inner.lock().unwrap();
            if inner.refuses_proofs > 0 {
                inner.refuses_proofs -= 1;
                return Err(ReadFailure::NoCertificate);
            }
            let value = inner.rows.0.get(key).cloned();
            Ok(RowAnswer { value, proof: vec![1, 2, 3], header: final_header(&header) })
        })
    }

    fn export(&self) -> Option<Export<'_>> {
        let offered = self.inner.lock().unwrap().offers_audits;
        offered.then(|| -> Export<'_> {
            Box::pin(async move {
                let header = self.tip().ok_or(ReadFailure::NotReady)?;
                Ok((self.inner.lock().unwrap().rows.clone(), header))
            })
        })
    }

    fn subscribe(&self) -> broadcast::Receiver<Arc<FinalBlock>> {
        self.sender.subscribe()
    }

    fn health(&self) -> Health {
        Health { waiting_transactions: self.inner.lock().unwrap().waiting.len(), peers: 3, ..Health::default() }
    }

    fn metrics(&self) -> String {
        "height 1\n# EOF\n".to_owned()
    }
}

/// The API over a chain, and what the tests steer it with.
pub(super) struct Site {
    pub(super) chain: Arc<Chain>,
    pub(super) api: Arc<Api>,
    pub(super) stop: watch::Sender<bool>,
}

pub(super) fn site(eager: bool) -> Site {
    site_with(eager, Limits { rate: 0, ..Limits::default() })
}

pub(super) fn site_with(eager: bool, limits: Limits) -> Site {
    let chain = Arc::new(Chain::new(eager));
    let (stop, stopped) = watch::channel(false);
    let api = Api::new(Arc::clone(&chain) as Arc<dyn Backend>, limits, stopped);
    Site { chain, api, stop }
}

/// A chain with one provider, two services, a dataset and three sales.
pub(super) async fn market() -> Site {
    let site = site(true);
    let chain = &site.chain;
    chain.add_provider(1, 0);
    chain.add_service(1, &service("Phishing sites", "Checks domain names against lists", &["phishing"], 100));
    chain.add_service(2, &service("Address security", "Sanctions and malicious labels", &["address", "aml"], 50));
    chain.put(DATASETS, &DatasetId(1), &dataset());
    chain.put(DATASET_VERSIONS, &(DatasetId(1), 1), &dataset_version());
    for n in 0..3 {
        chain.sell(1, n);
    }
    site.api.index().rebuild(chain.as_ref()).await.unwrap();
    site
}

pub(super) fn service(title: &str, description: &str, tags: &[&str], price: u64) -> Service {
    let terms = Terms {
        category: 101,
        title: title.to_owned(),
        description: description.to_owned(),
        tags: tags.iter().map(|tag| (*tag).to_owned()).collect(),
        chains: vec![1, 59_144],
        region: "eu".to_owned(),
        endpoint: "https://api.example".to_owned(),
        schema_hash: Hash32([0; 32]),
        schema_url: String::new(),
        delivery: 0,
        calls: 1_000,
        price: Amount::call(price),
        life_least: Seconds(86_400),
        life_most: Seconds(864_000),
        refund_bps: 10_000,
        window: 64,
        rate: 0,
        cover: Amount::call(price * 2),
        cover_faults: 1,
        cover_cap: Amount::call(price * 4),
        datasets: vec![DatasetId(1)],
    };
    Service {
        provider: ProviderId(1),
        version: 1,
        paused: false,
        cover_epoch: Epoch(0),
        cover_paid: Amount::ZERO,
        deposit: Amount::ZERO,
        terms,
    }
}

fn provider(sales: u64) -> Provider {
    Provider {
        owner: account("ana").address(),
        payout: account("ana").address(),
        next_payout: None,
        key: Bytes32([5; 32]),
        status: ProviderStatus::Active,
        stake: Amount::call(1_000),
        unbonding: Vec::new(),
        open_value: Amount::call(10),
        promised: Amount::call(20),
        unreleased: Amount::ZERO,
        owed: Amount::ZERO,
        sales,
        services: 2,
        short_since: None,
        revenue: Amount::ZERO,
        revenue_day: 0,
        penalties: Amount::ZERO,
        penalty_since: Seconds(0),
        paused_for: Seconds(0),
        pause_since: Seconds(0),
        take_epoch: Epoch(0),
        take_today: Amount::ZERO,
    }
}

fn purchase(provider: u64) -> PurchaseRecord {
    PurchaseRecord {
        consumer: account("ben").address(),
        call_key: Bytes32([6; 32]),
        key_version: 1,
        provider: ProviderId(provider),
        service: ServiceId(1),
        version: 1,
        quota: 1_000,
        price: Amount::call(10),
        refund_bps: 10_000,
        window: 64,
        rate: 0,
        lanes: 2,
        cover: Amount::call(20),
        cover_left: 1,
        datasets: Vec::new(),
        not_before: Seconds(1),
        expires: Seconds(2),
        ended: None,
        claimed: 0,
        last_claim: Seconds(0),
        status: PurchaseStatus::Open,
        sale: 0,
        rows: 2,
        deposit: Amount::milli(20),
    }
}

fn dataset() -> Dataset {
    Dataset { publisher: ProviderId(1), name: "phishing".to_owned(), latest: 1, first_kept: 1, deposit: Amount::ZERO }
}

fn dataset_version() -> DatasetVersion {
    DatasetVersion {
        root: Hash32([3; 32]),
        count: 5,
        date: 1_700_000_000,
        licence: "CC0".to_owned(),
        published: Seconds(1),
        valid_until: Seconds(u64::MAX),
        retired: None,
        deposit: Amount::milli(10),
    }
}

/// A transfer of 1 CALL from ana to ben.
pub(super) fn transfer(site: &Site, nonce: u64) -> SignedTransaction {
    let clock = site.chain.tip().unwrap().clock;
    Transaction {
        network: NETWORK,
        nonce,
        expires: clock.after(Seconds(600)),
        fee: Params::default().fee_other,
        action: Transfer { to: account("ben").address(), amount: Amount::call(1) }.into(),
    }
    .sign(&account("ana"))
}

pub(super) fn nonce_of(site: &Site, name: &str) -> u64 {
    let inner = site.chain.inner.lock().unwrap();
    let row = inner.rows.0.get(&ACCOUNTS.key(&account(name).address())).unwrap();
    ACCOUNTS.read_row(row).unwrap().1.nonce
}

/// Status, content type and JSON of an answer.
pub(super) async fn ask(router: &Router, request: Request<Body>) -> (StatusCode, String, Value) {
    let response = router.clone().oneshot(request).await.unwrap();
    let status = response.status();
    let kind = response.headers().get("content-type").map(|kind| kind.to_str().unwrap().to_owned());
    let bytes = axum::body::to_bytes(response.into_body(), 1 << 24).await.unwrap();
    (status, kind.unwrap_or_default(), serde_json::from_slice(&bytes).unwrap_or(Value::Null))
}

pub(super) async fn get(site: &Site, path: &str) -> (StatusCode, Value) {
    let request = Request::get(path).body(Body::empty()).unwrap();
    let (status, _, body) = ask(&site.api.router(), request).await;
    (status, body)
}

pub(super) async fn post(site: &Site, path: &str, body: &Value) -> (StatusCode, Value) {
    let request = Request::post(path).header("content-type", "application/json");
    let request = request.body(Body::from(body.to_string())).unwrap();
    let (status, _, body) = ask(&site.api.router(), request).await;
    (status, body)
}

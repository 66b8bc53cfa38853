//! Purchases that four operator processes make final, on the cores of this machine, load generator included.
//!
//! A closed loop: so many buyers, each of whom sends the next purchase when the last is final. The latency is then that of
//! an agreement under this load, and not that of a queue that the generator filled.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use surety_client::{Client, Options, Sender};
use surety_ledger::market::{Purchase, RegisterProvider, RegisterService};
use surety_ledger::params::Params;
use surety_ledger::{AnyAction, SignedTransaction, Transaction};
use surety_primitives::keys::SecretKey;
use surety_primitives::typed_data::{Bytes16, Bytes32};
use surety_primitives::wallet::AccountKey;
use surety_primitives::{Amount, Hash32, Height, ProviderId, Seconds, ServiceId, hash};
use tokio::sync::oneshot;
use tokio::task::JoinSet;
use zeroize::Zeroizing;

use super::{Figure, recovery_on};
use crate::commands::buy::act_quietly;
use crate::commands::provider::template;
use crate::devnet::{Layout, NETWORK, Plan, Supervisor};
use crate::output::Output;

const OPERATORS: usize = 4;
/// A purchase that takes longer is lost, and the measurement void.
const PATIENCE: Duration = Duration::from_secs(60);
pub(super) async fn measure(transactions: u64, buyers: u64, output: &Output) -> Result<Vec<Figure>> {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let before = recovery_on(cores);
    let network = start("bench-network", OPERATORS, buyers).await?;
    let urls = network.layout().urls.clone();
    let measured = load(&urls, transactions, buyers, output).await;
    network.stop().await?;
    let (rate, latencies) = measured?;
    // A machine that others use too is not equally fast all the time.
    let recovery = f64::midpoint(before, recovery_on(cores));
    // Each operator recovers each signature once, and the cores are all at work.
    let bound = cores as f64 / (OPERATORS as f64 * recovery);
    let at = |share: f64| latencies[((latencies.len() - 1) as f64 * share) as usize].as_secs_f64() * 1e3;
    Ok(vec![
        Figure::new(
            &format!("purchases final, 4 operators, {buyers} buyers"),
            format!("{rate:.0} /s"),
            &format!("recovery on {cores} cores: {bound:.0} /s"),
            rate / bound,
        ),
        Figure::new("purchase to final, p50", format!("{:.0} ms", at(0.5)), "goal 1000 ms", at(0.5) / 1e3),
        Figure::new("purchase to final, p99", format!("{:.0} ms", at(0.99)), "goal 1000 ms", at(0.99) / 1e3),
    ])
}

/// A new network of so many operators, on which so many buyers have money.
pub(super) async fn start(name: &str, operators: usize, buyers: u64) -> Result<Supervisor> {
    let folder = PathBuf::from(".surety").join(name);
    if Layout::exists(&folder) {
        std::fs::remove_dir_all(&folder).context("cannot delete the last bench's network")?;
    }
    let accounts = (0..buyers).map(label).collect();
    let plan = Plan { folder, operators, port: None, accounts, params: Params::default() };
    let mut network = Supervisor::start(Layout::create(&plan)?)?;
    network.ready(Duration::from_secs(60)).await?;
    Ok(network)
}

fn label(i: u64) -> String {
    format!("bench-{i}")
}

/// Whom to tell that a transaction is seen in a final block.
type Waiting = Arc<Mutex<HashMap<Hash32, oneshot::Sender<()>>>>;

/// Purchases in the order in which their buyer sends them.
type Queue = Vec<(Hash32, SignedTransaction)>;

/// Makes so many purchases final; returns them by the second, and how long each took, shortest first.
pub(super) async fn load(
    urls: &[String],
    transactions: u64,
    buyers: u64,
    output: &Output,
) -> Result<(f64, Vec<Duration>)> {
    let client = Client::new(urls, Options::default())?;
    offer(&client).await?;
    output.progress(format_args!("signing {transactions} purchases"));
    let clock = client.finalized().await?.header.clock;
    let queues: Vec<Queue> = (0..buyers).map(|i| queue(i, transactions / buyers, clock)).collect::<Result<_>>()?;
    let waiting = Waiting::default();
    let first = client.finalized().await?.header.height.0 + 1;
    let count: usize = queues.iter().map(Vec::len).sum();
    let watcher = tokio::spawn(watch(Client::new(&urls[..1], Options::default())?, first, Arc::clone(&waiting)));
    output.progress("sending");
    let start = Instant::now();
    let mut senders = JoinSet::new();
    for (i, queue) in queues.into_iter().enumerate() {
        let client = Client::new(&urls[i % urls.len()..=i % urls.len()], Options::default())?;
        let waiting = Arc::clone(&waiting);
        senders.spawn(async move { send(&client, queue, &waiting).await });
    }
    let mut latencies = Vec::with_capacity(count);
    while let Some(done) = senders.join_next().await {
        latencies.extend(done??);
    }
    let elapsed = start.elapsed();
    watcher.abort();
    ensure!(latencies.len() == count, "{} of {count} purchases became final", latencies.len());
    let sales = Client::new(&urls[..1], Options::default())?.provider(ProviderId(1)).await?.record.sales;
    ensure!(sales == count as u64, "{sales} of {count} purchases were made");
    latencies.sort_unstable();
    Ok((count as f64 / elapsed.as_secs_f64(), latencies))
}

/// Sends one after the other, each when the last is final, and returns how long each took.
async fn send(client: &Client, queue: Queue, waiting: &Waiting) -> Result<Vec<Duration>> {
    let mut latencies = Vec::with_capacity(queue.len());
    for (hash, signed) in queue {
        let (tell, told) = oneshot::channel();
        waiting.lock().unwrap_or_else(PoisonError::into_inner).insert(hash, tell);
        let sent = Instant::now();
        loop {
            match client.submit(&signed).await {
                Ok(_) => break,
                // The pool is full: that is the back-pressure, and part of the time measured.
                Err(surety_client::Error::Refused(problem)) if matches!(problem.status, 429 | 503) => {
                    tokio::time::sleep(Duration::from_millis(20)).await;
                }
                Err(error) => return Err(error.into()),
            }
        }
        tokio::time::timeout(PATIENCE, told).await.context("a purchase did not become final")??;
        latencies.push(sent.elapsed());
    }
    Ok(latencies)
}

/// Follows final blocks and tells each purchase's sender.
async fn watch(client: Client, first: u64, waiting: Waiting) {
    let mut height = first;
    loop {
        let Ok(block) = client.block(Some(Height(height))).await else {
            tokio::time::sleep(Duration::from_millis(20)).await;
            continue;
        };
        height += 1;
        let mut waiting = waiting.lock().unwrap_or_else(PoisonError::into_inner);
        for tell in block.transactions.iter().filter_map(|hash| waiting.remove(hash)) {
            let _ = tell.send(());
        }
    }
}

/// One provider with stake enough for everything.
async fn offer(client: &Client) -> Result<()> {
    let sender = Sender::new(client.clone(), AccountKey::from_label("provider"), NETWORK);
    let key = SecretKey::from_seed(&Zeroizing::new([7; 32]));
    let stake = Amount::call(900_000);
    act_quietly(&sender, RegisterProvider { payout: sender.address(), key: Bytes32(key.public().0), stake }).await?;
    let mut terms = template();
    terms.datasets.clear();
    (terms.cover, terms.cover_cap, terms.price) = (Amount::milli(500), Amount::milli(500), Amount::milli(500));
    act_quietly(&sender, RegisterService { terms }).await
}

fn queue(buyer: u64, count: u64, clock: Seconds) -> Result<Queue> {
    let key = AccountKey::from_label(&label(buyer));
    let signed = (0..count).map(|nonce| purchase(&key, nonce, clock));
    signed.map(|signed| Ok((signed.clone().verify(NETWORK)?.hash(), signed))).collect()
}

fn purchase(buyer: &AccountKey, nonce: u64, clock: Seconds) -> SignedTransaction {
    let reference = hash::h("surety/bench/v1", &[buyer.address().as_slice(), &nonce.to_be_bytes()]).first16();
    let call_key = SecretKey::from_seed(&Zeroizing::new([9; 32])).public();
    let action: AnyAction = Purchase {
        provider: ProviderId(1),
        service: ServiceId(1),
        version: 1,
        max_fee: Amount::call(1),
        client_ref: Bytes16(reference),
        call_key: Bytes32(call_key.0),
        lanes: 1,
        expires: clock.after(Seconds(10 * 86_400)),
    }
    .into();
    let expires = clock.after(Seconds(3_600));
    Transaction { network: NETWORK, nonce, expires, fee: Amount::milli(20), action }.sign(buyer)
}

//! Purchases that four operator processes make final, on the cores of this machine, load generator included.

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
use tokio::task::JoinSet;
use zeroize::Zeroizing;

use super::{Figure, recovery};
use crate::commands::buy::act_quietly;
use crate::commands::provider::template;
use crate::devnet::{Layout, NETWORK, Plan, Supervisor};
use crate::output::Output;

const OPERATORS: usize = 4;
/// Accounts that buy, each with one transaction after the other.
const BUYERS: u64 = 256;

pub(super) async fn measure(transactions: u64, output: &Output) -> Result<Vec<Figure>> {
    let folder = PathBuf::from(".surety/bench-network");
    if Layout::exists(&folder) {
        std::fs::remove_dir_all(&folder).context("cannot delete the last bench's network")?;
    }
    let accounts = (0..BUYERS).map(label).collect();
    let plan = Plan { folder, operators: OPERATORS, port: None, accounts, params: Params::default() };
    let mut network = Supervisor::start(Layout::create(&plan)?)?;
    network.ready(Duration::from_secs(60)).await?;
    let urls = network.layout().urls.clone();
    let measured = load(&urls, transactions, output).await;
    network.stop().await?;
    let (rate, latencies) = measured?;
    let cores = std::thread::available_parallelism().map_or(1, usize::from) as f64;
    // Each operator recovers each signature once.
    let bound = cores / (OPERATORS as f64 * recovery());
    let at = |share: f64| latencies[((latencies.len() - 1) as f64 * share) as usize].as_secs_f64() * 1e3;
    Ok(vec![
        Figure::new(
            "purchases final, 4 operators",
            format!("{rate:.0} /s"),
            &format!("recovery on {cores} cores: {bound:.0} /s"),
            rate / bound,
        ),
        Figure::new("purchase to final, p50", format!("{:.0} ms", at(0.5)), "goal 1000 ms", at(0.5) / 1e3),
        Figure::new("purchase to final, p99", format!("{:.0} ms", at(0.99)), "goal 1000 ms", at(0.99) / 1e3),
    ])
}

fn label(i: u64) -> String {
    format!("bench-{i}")
}

/// When each transaction was sent, until it is seen in a final block.
type Waiting = Arc<Mutex<HashMap<Hash32, Instant>>>;

async fn load(urls: &[String], transactions: u64, output: &Output) -> Result<(f64, Vec<Duration>)> {
    let client = Client::new(urls, Options::default())?;
    offer(&client).await?;
    output.progress(format_args!("signing {transactions} purchases"));
    let clock = client.finalized().await?.header.clock;
    let queues: Vec<Vec<SignedTransaction>> =
        (0..BUYERS).map(|i| (0..transactions / BUYERS).map(|n| purchase(i, n, clock)).collect()).collect();
    let waiting = Waiting::default();
    let first = client.finalized().await?.header.height.0 + 1;
    let count = queues.iter().map(Vec::len).sum();
    let watcher = tokio::spawn(watch(Client::new(&urls[..1], Options::default())?, first, count, Arc::clone(&waiting)));
    output.progress("sending");
    let start = Instant::now();
    let mut senders = JoinSet::new();
    for (i, queue) in queues.into_iter().enumerate() {
        let client = Client::new(&urls[i % urls.len()..=i % urls.len()], Options::default())?;
        let waiting = Arc::clone(&waiting);
        senders.spawn(async move { send(&client, queue, &waiting).await });
    }
    while let Some(done) = senders.join_next().await {
        done??;
    }
    let latencies = watcher.await??;
    ensure!(latencies.len() == count, "{} of {count} purchases became final", latencies.len());
    Ok((count as f64 / start.elapsed().as_secs_f64(), latencies))
}

async fn send(client: &Client, queue: Vec<SignedTransaction>, waiting: &Waiting) -> Result<()> {
    for signed in queue {
        let hash = signed.clone().verify(NETWORK)?.hash();
        waiting.lock().unwrap_or_else(PoisonError::into_inner).insert(hash, Instant::now());
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
    }
    Ok(())
}

/// Follows final blocks and notes how long each purchase took.
async fn watch(client: Client, first: u64, count: usize, waiting: Waiting) -> Result<Vec<Duration>> {
    let (mut height, mut latencies, start) = (first, Vec::with_capacity(count), Instant::now());
    while latencies.len() < count && start.elapsed() < Duration::from_secs(300) {
        let Ok(block) = client.block(Some(Height(height))).await else {
            tokio::time::sleep(Duration::from_millis(20)).await;
            continue;
        };
        height += 1;
        let mut waiting = waiting.lock().unwrap_or_else(PoisonError::into_inner);
        latencies.extend(block.transactions.iter().filter_map(|hash| waiting.remove(hash)).map(|sent| sent.elapsed()));
    }
    latencies.sort_unstable();
    Ok(latencies)
}

/// One provider with stake enough for everything.
async fn offer(client: &Client) -> Result<()> {
    let sender = Sender::new(client.clone(), AccountKey::from_label("provider"), NETWORK);
    let key = SecretKey::from_seed(&Zeroizing::new([7; 32]));
    let stake = Amount::call(900_000);
    act_quietly(&sender, RegisterProvider { payout: sender.address(), key: Bytes32(key.public().0), stake }).await?;
    let mut terms = template();
    terms.datasets.clear();
    (terms.cover, terms.cover_cap, terms.price) = (Amount::call(1), Amount::call(1), Amount::call(1));
    act_quietly(&sender, RegisterService { terms }).await
}

fn purchase(buyer: u64, nonce: u64, clock: Seconds) -> SignedTransaction {
    let reference = hash::h("surety/bench/v1", &[&buyer.to_be_bytes(), &nonce.to_be_bytes()]).first16();
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
    Transaction { network: NETWORK, nonce, expires, fee: Amount::milli(20), action }
        .sign(&AccountKey::from_label(&label(buyer)))
}

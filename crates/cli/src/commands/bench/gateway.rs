//! The node gateway: verdicts in process, and transactions over HTTP at a steady rate, each beside a baseline of the same
//! run: the bare node, and nginx as a plain proxy where it is installed.

mod peers;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use alloy_primitives::{Address, B256, Bytes, U256};
use anyhow::{Context, Result, anyhow};
use futures::executor::block_on;
use serde_json::json;
use surety_evm::canonical::steps::{Terms, approve, sign, transfer};
use surety_evm::chain::{Config, DEV_ACCOUNTS, DEV_KEYS, DevChain, Genesis, fund};
use surety_evm::{Call, World};
use surety_primitives::hash::keccak;
use surety_primitives::wallet::AccountKey;
use surety_proxy::gateway::{
    CacheConfig, ChainRule, Check, Gateway, GatewayConfig, GatewayLimits, Plugs, Screened, Subject, UpstreamConfig,
};
use surety_security::lists::{Format, Semantics, Subject as About};
use surety_security::{Dataset, Lists, Source, SourceSpec};
use tokio::runtime::Builder;

use super::super::gateway::basis;
use super::Figure;
use crate::guard::{Head, checks};
use crate::output::Output;
use peers::{Nginx, Node, Wallet};

/// Addresses on the list.
const LISTED: u64 = 8_000;
/// Signed transactions that are judged in process.
const JUDGED: u64 = 10_000;
/// For how long transactions are sent over HTTP.
const SECONDS: u64 = 4;
/// Transactions a second with lists and decoding alone, and with the run of each: generator, node and gateway share the
/// machine, and latency says nothing once it is full.
const RATES: [(&str, u64); 2] = [("lists and decoding", 5_000), ("and simulation", 2_500)];
/// Wallets that share the rate, each on its own connection.
const WALLETS: u64 = 32;

/// Median and 99th percentile, in microseconds.
#[derive(Clone, Copy)]
struct Spread {
    p50: f64,
    p99: f64,
}

pub(super) async fn measure(output: &Output) -> Result<Vec<Figure>> {
    let chain_id = Config::default().chain_id;
    let lists = Arc::new(Lists::new(None, Some(listed()?)));
    let chain = DevChain::new(Config { automine: false, ..Config::default() }, genesis());
    let head = Head::follow(chain);
    let folder = std::env::temp_dir().join(format!("surety-bench-gateway-{}", std::process::id()));
    std::fs::create_dir_all(&folder).with_context(|| format!("cannot create {}", folder.display()))?;
    let mut figures = Vec::new();
    for ((what, rate), head) in RATES.into_iter().zip([None, Some(head)]) {
        let basis = head.as_ref().map(basis);
        let checks = checks(lists.clone(), head, chain_id, true);
        output.progress(format_args!("judging {JUDGED} signed transactions in process: {what}"));
        figures.extend(in_process(&checks, what, chain_id)?);
        output.progress(format_args!("{rate} transactions a second for {SECONDS} s over HTTP, each way in turn"));
        let plugs = || Plugs { checks: checks.clone(), basis: basis.clone(), ..Plugs::default() };
        figures.extend(over_http(plugs, rate, chain_id, &folder.join(rate.to_string()), output).await?);
    }
    // What the run wrote is worth nothing.
    let _ = std::fs::remove_dir_all(folder);
    Ok(figures)
}

/// Verdicts without HTTP.
fn in_process(checks: &[Arc<dyn Check>], what: &str, chain_id: u64) -> Result<[Figure; 2]> {
    let recovery = super::recovery() * 1e6;
    let spread = judge(checks, chain_id)?;
    Ok([("p50", spread.p50), ("p99", spread.p99)].map(|(name, value)| {
        let name = format!("gateway verdict, {what}, {name}");
        Figure::new(&name, us(value), "recovery of a signature", value / recovery)
    }))
}

/// Transactions through a gateway that answers once its record is on disk, through one that does not wait for that, through
/// nginx, and straight to the node.
async fn over_http(
    plugs: impl Fn() -> Plugs,
    rate: u64,
    chain_id: u64,
    folder: &std::path::Path,
    output: &Output,
) -> Result<Vec<Figure>> {
    std::fs::create_dir_all(folder).with_context(|| format!("cannot create {}", folder.display()))?;
    // On a thread of its own, as it is a process of its own: one scheduler for both would be what is measured.
    let nodes = Builder::new_multi_thread().worker_threads(1).enable_all().build().context("no thread for the node")?;
    let node = nodes.spawn(Node::start(chain_id)).await??;
    let nginx = Nginx::start(node.address(), folder)?;
    let transactions = transactions(rate, chain_id)?;
    let load = |address| {
        let transactions = transactions.clone();
        tokio::task::spawn_blocking(move || load(address, rate, &transactions))
    };
    let bare = load(node.address()).await??;
    let proxied = match &nginx {
        Some(nginx) => Some(load(nginx.address()).await??),
        None => None,
    };
    let sent: usize = transactions.iter().map(|bodies| bodies.len()).sum();
    let mut figures = Vec::new();
    for (wait_for_disk, how) in [(true, "record on disk"), (false, "record in memory")] {
        let data = folder.join(how.replace(' ', "-"));
        let gateway = Gateway::start(GatewayConfig { wait_for_disk, ..config(&node.url(), data) }, plugs()).await?;
        let taken = node.taken();
        let guarded = load(gateway.address()).await??;
        anyhow::ensure!(node.taken() - taken == sent as u64, "the gateway did not forward each transaction once");
        figures.extend(against("the bare node", rate, how, guarded, bare));
        figures.extend(proxied.into_iter().flat_map(|proxied| against("nginx", rate, how, guarded, proxied)));
        gateway.stop().await;
    }
    if proxied.is_none() {
        output.progress("nginx is not installed: no figure beside it");
    }
    drop(node);
    nodes.shutdown_background();
    Ok(figures)
}

fn against(baseline: &str, rate: u64, how: &str, guarded: Spread, other: Spread) -> [Figure; 2] {
    [("p50", guarded.p50, other.p50), ("p99", guarded.p99, other.p99)].map(|(name, guarded, other)| {
        let added = format!("{} (+{})", us(guarded), us(guarded - other));
        let name = format!("sent through the gateway at {rate}/s, {how}, {name}");
        Figure::new(&name, added, baseline, guarded / other)
    })
}

fn config(upstream: &str, data: std::path::PathBuf) -> GatewayConfig {
    GatewayConfig {
        listen: ([127, 0, 0, 1], 0).into(),
        admin: ([127, 0, 0, 1], 0).into(),
        upstreams: vec![UpstreamConfig { url: upstream.to_owned(), ws: None }],
        chain_id: None,
        data,
        policy: None,
        wait_for_disk: true,
        allow_unprotected: false,
        node_signs: false,
        client_header: None,
        limits: GatewayLimits::default(),
        cache: CacheConfig::default(),
        services: Vec::new(),
    }
}

/// From the raw bytes to the findings of all checks.
fn judge(checks: &[Arc<dyn Check>], chain_id: u64) -> Result<Spread> {
    let user = DEV_ACCOUNTS[1];
    let raws: Vec<Bytes> = (0..JUDGED)
        .map(|i| {
            let (token, other) = (address(i + LISTED), address(i + 2 * LISTED));
            let call = match i % 4 {
                0 => Call::new(user, other, Bytes::new()).value(U256::from(i)),
                1 => transfer(user, token, other, U256::from(i)),
                2 => approve(user, token, other, U256::from(i)),
                _ => approve(user, token, address(i % LISTED), U256::MAX),
            };
            signed(DEV_KEYS[1], &call, i, chain_id)
        })
        .collect::<Result<_>>()?;
    let rule = ChainRule { id: chain_id, allow_unprotected: false };
    let mut times = Vec::new();
    for raw in &raws {
        let start = Instant::now();
        let screened = Screened::read(raw, rule).context("a signed transaction is read")?;
        let subject = Subject::Transaction(Box::new(screened));
        for check in checks {
            std::hint::black_box(block_on(check.assess(&subject, &[])));
        }
        times.push(start.elapsed().as_secs_f64() * 1e6);
    }
    Ok(spread(times))
}

/// What each wallet sends: transfers of coins, in the order of their nonces.
fn transactions(rate: u64, chain_id: u64) -> Result<Vec<Arc<Vec<String>>>> {
    let of_wallet = |wallet: u64| {
        let key = wallet_key(wallet);
        let (from, secret) = (Address::from(key.address().0), B256::from(key.to_secret_bytes()));
        let each = (0..rate * SECONDS / WALLETS).map(|nonce| {
            let call = Call::new(from, address(LISTED + nonce), Bytes::new()).value(U256::from(nonce));
            let raw = signed(secret, &call, nonce, chain_id)?;
            let request = json!({"jsonrpc": "2.0", "id": nonce, "method": "eth_sendRawTransaction", "params": [raw]});
            Ok(request.to_string())
        });
        Ok(Arc::new(each.collect::<Result<_>>()?))
    };
    (0..WALLETS).map(of_wallet).collect()
}

/// How long each request takes at the steady rate. A thread for each wallet: a scheduler's timers would send them in bursts.
fn load(address: SocketAddr, rate: u64, transactions: &[Arc<Vec<String>>]) -> Result<Spread> {
    let pause = Duration::from_secs(1) / u32::try_from(rate)?;
    let between = pause * u32::try_from(transactions.len())?;
    let start = Instant::now() + Duration::from_millis(100);
    let times = std::thread::scope(|scope| {
        let send = |(bodies, turn): (&Arc<Vec<String>>, u32)| {
            let (bodies, first) = (bodies.clone(), start + pause * turn);
            scope.spawn(move || send_each(address, &bodies, first, between))
        };
        let wallets: Vec<_> = transactions.iter().zip(0..).map(send).collect();
        wallets
            .into_iter()
            .map(|wallet| wallet.join().map_err(|_| anyhow!("a wallet broke"))?)
            .collect::<Result<Vec<_>>>()
    })?;
    Ok(spread(times.concat()))
}

/// Microseconds of each request of one wallet.
fn send_each(address: SocketAddr, bodies: &[String], first: Instant, between: Duration) -> Result<Vec<f64>> {
    let mut wallet = Wallet::connect(address)?;
    let mut times = Vec::with_capacity(bodies.len());
    for (body, turn) in bodies.iter().zip(0..) {
        std::thread::sleep((first + between * turn).saturating_duration_since(Instant::now()));
        let sent = Instant::now();
        let reply = wallet.post(body)?;
        times.push(sent.elapsed().as_secs_f64() * 1e6);
        anyhow::ensure!(reply.contains("\"result\""), "not taken: {reply}");
    }
    Ok(times)
}

fn spread(mut times: Vec<f64>) -> Spread {
    times.sort_by(f64::total_cmp);
    let at = |share: usize| times.get(times.len() * share / 100).copied().unwrap_or_default();
    Spread { p50: at(50), p99: at(99) }
}

fn us(microseconds: f64) -> String {
    format!("{microseconds:.0} us")
}

fn address(i: u64) -> Address {
    Address::from_slice(&keccak(&[b"bench", &i.to_be_bytes()]).0[..20])
}

fn wallet_key(wallet: u64) -> AccountKey {
    AccountKey::from_label(&format!("bench wallet {wallet}"))
}

fn listed() -> Result<Dataset> {
    let spec = SourceSpec {
        name: "bench".to_owned(),
        version: "1".to_owned(),
        as_of: "2026-01-01".parse().map_err(|error| anyhow::anyhow!("{error}"))?,
        licence: "CC0-1.0".to_owned(),
        format: Format::Lines,
        subject: About::Address,
        semantics: Semantics::Label,
        label: "phish-hack|sanctioned".to_owned(),
    };
    let lines: String = (0..LISTED).map(|i| format!("{}\n", address(i))).collect();
    Ok(Dataset::merge("addresses", "1", Source::read(&spec, lines.as_bytes())?)?)
}

/// The development accounts and the wallets have coins.
fn genesis() -> Genesis {
    let mut world = World::default();
    fund(&mut world);
    for wallet in 0..WALLETS {
        world.set_balance(Address::from(wallet_key(wallet).address().0), U256::from(10_u64.pow(19)));
    }
    Genesis { world, ..Genesis::default() }
}

fn signed(key: B256, call: &Call, nonce: u64, chain_id: u64) -> Result<Bytes> {
    let terms = Terms { chain_id, nonce, gas: 100_000, max_fee: 10_000_000_000, tip: 1 };
    sign(key, call, terms).context("a key of the benchmark signs")
}

//! Verdicts of the gateway: in process, and over HTTP at a steady rate, beside the bare node in the same run.

use std::sync::Arc;
use std::time::{Duration, Instant};

use alloy_primitives::{Address, Bytes, U256};
use anyhow::{Context, Result};
use futures::executor::block_on;
use serde_json::json;
use surety_evm::canonical::steps::{Terms, approve, sign, transfer};
use surety_evm::chain::{Config, DEV_ACCOUNTS, DEV_KEYS, DevChain, Genesis, fund};
use surety_evm::{Call, World, rpc};
use surety_primitives::hash::keccak;
use surety_proxy::gateway::{
    CacheConfig, ChainRule, Check, Gateway, GatewayConfig, GatewayLimits, Screened, Subject, UpstreamConfig,
};
use surety_security::lists::{Format, Semantics, Subject as About};
use surety_security::{Dataset, Lists, Source, SourceSpec};
use tokio::task::JoinSet;

use super::Figure;
use crate::guard::checks;
use crate::output::Output;

/// Addresses on the list.
const LISTED: u64 = 8_000;
/// Signed transactions that are judged in process.
const JUDGED: u64 = 10_000;
/// Requests a second over HTTP, and for how many seconds.
const RATE: u64 = 5_000;
const SECONDS: u64 = 4;
/// Connections that share the rate.
const CONNECTIONS: u64 = 32;

pub(super) async fn measure(output: &Output) -> Result<Vec<Figure>> {
    let chain_id = Config::default().chain_id;
    let lists = Arc::new(Lists::new(None, Some(listed()?)));
    let local = checks(lists, None, chain_id, true);
    output.progress(format_args!("judging {JUDGED} signed transactions in process"));
    let mut times = judge(&local, chain_id)?;
    let (p50, p99) = percentiles(&mut times);
    let recovery = super::recovery() * 1e6;
    let mut figures = vec![
        Figure::new("gateway verdict, local checks, p50", us(p50), "recovery of a signature", p50 / recovery),
        Figure::new("gateway verdict, local checks, p99", us(p99), "recovery of a signature", p99 / recovery),
    ];
    output
        .progress(format_args!("{RATE} requests a second for {SECONDS} s over HTTP: the bare node, then the gateway"));
    let chain = Arc::new(DevChain::new(Config::default(), genesis()));
    let node = rpc::serve(([127, 0, 0, 1], 0).into(), chain, None).await?;
    let folder = std::env::temp_dir().join(format!("surety-bench-gateway-{}", std::process::id()));
    let gateway = Gateway::start(config(&node.url(), folder.clone()), local).await?;
    let read = json!({"jsonrpc": "2.0", "id": 1, "method": "eth_chainId", "params": []}).to_string();
    let raw = signed(&approve(DEV_ACCOUNTS[1], Address::repeat_byte(1), address(0), U256::MAX), 0)?;
    let send = json!({"jsonrpc": "2.0", "id": 1, "method": "eth_sendRawTransaction", "params": [raw]}).to_string();
    let (bare50, bare99) = percentiles(&mut load(&node.url(), &read).await?);
    let (gate50, gate99) = percentiles(&mut load(&format!("http://{}", gateway.address()), &send).await?);
    figures.push(Figure::new(
        "refusal over HTTP at 5,000/s, p50",
        us(gate50),
        "a read of the bare node",
        gate50 / bare50,
    ));
    figures.push(Figure::new(
        "refusal over HTTP at 5,000/s, p99",
        us(gate99),
        "a read of the bare node",
        gate99 / bare99,
    ));
    gateway.stop().await;
    node.stop().await;
    // What the run wrote is worth nothing.
    let _ = std::fs::remove_dir_all(folder);
    Ok(figures)
}

fn config(upstream: &str, data: std::path::PathBuf) -> GatewayConfig {
    GatewayConfig {
        listen: ([127, 0, 0, 1], 0).into(),
        admin: ([127, 0, 0, 1], 0).into(),
        upstreams: vec![UpstreamConfig { url: upstream.to_owned(), ws: None }],
        chain_id: None,
        data,
        policy: None,
        allow_unprotected: false,
        node_signs: false,
        client_header: None,
        limits: GatewayLimits::default(),
        cache: CacheConfig::default(),
    }
}

/// Microseconds from the raw bytes to the findings of all local checks.
fn judge(local: &[Arc<dyn Check>], chain_id: u64) -> Result<Vec<f64>> {
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
            signed(&call, i)
        })
        .collect::<Result<_>>()?;
    let rule = ChainRule { id: chain_id, allow_unprotected: false };
    let mut times = Vec::new();
    for raw in &raws {
        let start = Instant::now();
        let screened = Screened::read(raw, rule).context("a signed transaction is read")?;
        let subject = Subject::Transaction(Box::new(screened));
        for check in local {
            std::hint::black_box(block_on(check.assess(&subject, &[])));
        }
        times.push(start.elapsed().as_secs_f64() * 1e6);
    }
    Ok(times)
}

/// Microseconds of each request at the steady rate.
async fn load(url: &str, body: &str) -> Result<Vec<f64>> {
    let mut tasks = JoinSet::new();
    let start = Instant::now() + Duration::from_millis(100);
    for connection in 0..CONNECTIONS {
        let (url, body) = (url.to_owned(), body.to_owned());
        tasks.spawn(async move {
            let client = reqwest::Client::builder().pool_max_idle_per_host(1).build()?;
            let mut times = Vec::new();
            for i in (connection..RATE * SECONDS).step_by(usize::try_from(CONNECTIONS).unwrap_or(1)) {
                let due = start
                    + Duration::from_secs(1) * u32::try_from(i).unwrap_or(u32::MAX) / u32::try_from(RATE).unwrap_or(1);
                tokio::time::sleep_until(due.into()).await;
                let sent = Instant::now();
                let request = client.post(&url).header("content-type", "application/json").body(body.clone());
                request.send().await?.bytes().await?;
                times.push(sent.elapsed().as_secs_f64() * 1e6);
            }
            anyhow::Ok(times)
        });
    }
    let mut all = Vec::new();
    while let Some(done) = tasks.join_next().await {
        all.extend(done.context("a caller's task ended")??);
    }
    Ok(all)
}

fn percentiles(times: &mut [f64]) -> (f64, f64) {
    times.sort_by(f64::total_cmp);
    let at = |share: usize| times.get(times.len() * share / 100).copied().unwrap_or_default();
    (at(50), at(99))
}

fn us(microseconds: f64) -> String {
    format!("{microseconds:.0} us")
}

fn address(i: u64) -> Address {
    Address::from_slice(&keccak(&[b"bench", &i.to_be_bytes()]).0[..20])
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

fn genesis() -> Genesis {
    let mut world = World::default();
    fund(&mut world);
    Genesis { world, ..Genesis::default() }
}

fn signed(call: &Call, nonce: u64) -> Result<Bytes> {
    let terms = Terms { chain_id: Config::default().chain_id, nonce, gas: 100_000, max_fee: 10_000_000_000, tip: 1 };
    sign(DEV_KEYS[1], call, terms).context("a development key signs")
}

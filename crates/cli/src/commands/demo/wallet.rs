//! The wallet's act: a small EVM chain with a real exchange on it, a gateway before it, and what a wallet sends.
//!
//! Whether something passed is asked of the chain and not of the gateway.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::Arc;

use alloy_primitives::{Address, B256, Bytes, U256, keccak256};
use anyhow::{Context, Result, bail, ensure};
use serde_json::{Value, json};
use surety_evm::canonical::steps::{Terms, add_liquidity, approve, buy, sign};
use surety_evm::canonical::{self, V2_FACTORY, V2_ROUTER, WETH};
use surety_evm::chain::{Config, DEV_ACCOUNTS, DEV_KEYS, DevChain};
use surety_evm::{Call, rpc};
use surety_security::lists::{Format, Semantics, Subject};
use surety_security::{Dataset, Source, SourceSpec};
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::{Child, Command};

use super::Report;
use crate::commands::lists;
use crate::gather::{EXCHANGE, EXCHANGE_FILES, npm};
use crate::output::Output;

/// Who deploys and trades, and who uses the gateway.
const MAKER: usize = 0;
const USER: usize = 1;
/// An address that the demo's own list calls a drainer.
const DRAINER: Address = Address::repeat_byte(0xd4);
const ETHER: u64 = 1_000_000_000_000_000_000;
/// Gas for making the pool, and for what the wallet sends; unused gas is not paid.
const MAKING: u64 = 8_000_000;
const SENDING: u64 = 400_000;
/// A token of this project's own that can be bought and not sold.
const HONEYPOT: &str = "TrapPair";

/// The chain, and what stands before it.
struct Scene {
    server: rpc::Server,
    honeypot: Address,
    gateway: Child,
    url: String,
    folder: PathBuf,
    client: reqwest::Client,
}

/// One thing that the wallet sends.
struct Sent {
    what: &'static str,
    raw: Bytes,
    passes: bool,
}

/// Sends what a wallet sends, and looks at the chain.
pub(super) async fn play(home: &Path, report: &mut Report, output: &Output) -> Result<()> {
    output.progress("a wallet sends through a gateway: a transfer, an approval to a drainer, a buy of a honeypot");
    let mut scene = Scene::build(home).await?;
    let outcome = scene.send_all(report, output).await;
    drop(scene.gateway.stdin.take());
    let _ = tokio::time::timeout(std::time::Duration::from_secs(10), scene.gateway.wait()).await;
    scene.server.stop().await;
    outcome
}

impl Scene {
    async fn build(home: &Path) -> Result<Self> {
        let otherwise = "or leave this act out with --no-gateway";
        let packages = npm(&EXCHANGE, &EXCHANGE_FILES, otherwise)?;
        let (chain, honeypot) = tokio::task::spawn_blocking(move || build_chain(&packages)).await??;
        let server = rpc::serve(([127, 0, 0, 1], 0).into(), chain, None).await.context("no free port on 127.0.0.1")?;
        let folder = home.join("gateway");
        std::fs::create_dir_all(&folder).with_context(|| format!("cannot create {}", folder.display()))?;
        lists::save(&folder.join("addresses.dataset"), &drainers()?)?;
        let (gateway, url) = start_gateway(&folder, &server.url()).await?;
        Ok(Self { server, honeypot, gateway, url, folder, client: reqwest::Client::new() })
    }

    async fn send_all(&mut self, report: &mut Report, output: &Output) -> Result<()> {
        let user = DEV_ACCOUNTS[USER];
        let transfer = Call::new(user, DEV_ACCOUNTS[2], Bytes::new()).value(U256::from(ETHER));
        let sent = [
            ("a plain transfer", transfer, 0, true),
            ("an approval of all its WETH to a listed drainer", approve(user, WETH, DRAINER, U256::MAX), 1, false),
            ("a buy of a token that cannot be sold", buy(user, self.honeypot, U256::from(ETHER / 10)), 1, false),
        ];
        report.gateway_verified = true;
        for (what, call, nonce, passes) in sent {
            let sent = Sent { what, raw: signed(USER, &call, nonce, SENDING)?, passes };
            self.send(&sent, report, output).await?;
        }
        Ok(())
    }

    async fn send(&self, sent: &Sent, report: &mut Report, output: &Output) -> Result<()> {
        let (raw, hash) = (sent.raw.to_string(), keccak256(&sent.raw));
        let block = self.server.chain().newest().header.number;
        let reply = self.ask(&request("eth_sendRawTransaction", &raw)).await?;
        let verdict = reply["error"]["data"]["verdict"].as_str().unwrap_or("allow").to_owned();
        let reached = || self.server.chain().find(&hash).is_some() || self.server.chain().waiting(&hash).is_some();
        if sent.passes {
            ensure!(reply["result"] == hash.to_string(), "{} was refused: {reply}", sent.what);
            report.gateway_allowed += u64::from(reached());
        } else {
            ensure!(reply["error"]["code"] == -32_003, "{} was not refused by the policy: {reply}", sent.what);
            self.try_around(&raw).await?;
            report.gateway_blocked += 1;
            report.gateway_bypassed += u64::from(reached());
        }
        let rule = reply["error"]["data"]["rule"].as_str().unwrap_or_default();
        output.progress(format_args!("  {}: {verdict} {rule}", sent.what));
        let holds = self.recompute(&raw, block, sent.passes).await?;
        report.gateway_verified &= holds;
        Ok(())
    }

    /// The same transaction in other clothes.
    async fn try_around(&self, raw: &str) -> Result<()> {
        let escaped = request("eth_sendRawTransaction", raw).to_string().replace("eth_sendRaw", "eth_send\\u0052aw");
        for body in [
            json!([request("eth_chainId", ""), request("eth_sendRawTransaction", raw)]).to_string(),
            escaped,
            request("eth_sendRawTransactionSync", raw).to_string(),
            request("eth_sendPrivateRawTransaction", raw).to_string(),
        ] {
            self.post(body).await?;
        }
        Ok(())
    }

    /// Whether somebody with the lists and a node comes to the same verdict, and the answer holds when computed again.
    async fn recompute(&self, raw: &str, block: u64, passes: bool) -> Result<bool> {
        let file = self.folder.join(format!("verdict-{block}-{}.json", &raw[raw.len() - 8..]));
        let (block, node) = (block.to_string(), self.server.url());
        let place = self.folder.display().to_string();
        let save = file.display().to_string();
        let asked = ["check", "tx", raw, "--rpc", &node, "--block", &block, "--folder", &place, "--save", &save];
        let said = program(&asked)?.status().await.context("cannot start the check")?;
        if said.success() != passes {
            return Ok(false);
        }
        let verified = program(&["verify", "verdict", &save, "--folder", &place, "--rpc", &node])?.status().await?;
        Ok(verified.success())
    }

    async fn ask(&self, request: &Value) -> Result<Value> {
        let text = self.post(request.to_string()).await?;
        serde_json::from_str(&text).with_context(|| format!("the gateway answered: {text}"))
    }

    async fn post(&self, body: String) -> Result<String> {
        let reply = self.client.post(&self.url).header("content-type", "application/json").body(body).send().await;
        Ok(reply.context("the gateway does not answer")?.text().await?)
    }
}

fn request(method: &str, parameter: &str) -> Value {
    let params = if parameter.is_empty() { json!([]) } else { json!([parameter]) };
    json!({"jsonrpc": "2.0", "id": 1, "method": method, "params": params})
}

/// This program with other arguments, silent.
fn program(arguments: &[&str]) -> Result<Command> {
    let mut command = Command::new(std::env::current_exe().context("this program's own file is unknown")?);
    command.args(arguments).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).kill_on_drop(true);
    Ok(command)
}

async fn start_gateway(folder: &Path, upstream: &str) -> Result<(Child, String)> {
    let log = std::fs::File::create(folder.join("gateway.log")).context("cannot write the gateway's log")?;
    let arguments =
        ["gateway", "--supervised", "--no-sanctions", "--json", "--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0"];
    let mut child = program(&arguments)?
        .args(["--upstream", upstream, "--folder"])
        .arg(folder)
        .arg("--data")
        .arg(folder.join("data"))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(log)
        .spawn()
        .context("cannot start the gateway")?;
    let mut line = String::new();
    let said = child.stdout.take().context("the gateway says nothing")?;
    BufReader::new(said).read_line(&mut line).await?;
    let said: Value = serde_json::from_str(&line).unwrap_or_default();
    let Some(url) = said["url"].as_str() else {
        bail!("the gateway did not start: {line}see {}", folder.join("gateway.log").display());
    };
    Ok((child, url.to_owned()))
}

/// A list of one's own, as an administrator would write it.
fn drainers() -> Result<Dataset> {
    let spec = SourceSpec {
        name: "demo-drainers".to_owned(),
        version: "1".to_owned(),
        as_of: "2026-01-01".parse().map_err(|error| anyhow::anyhow!("{error}"))?,
        licence: "CC0-1.0".to_owned(),
        format: Format::Lines,
        subject: Subject::Address,
        semantics: Semantics::Label,
        label: "phish-hack".to_owned(),
    };
    let sources = Source::read(&spec, format!("{DRAINER}\n").as_bytes())?;
    Ok(Dataset::merge("addresses", "1", sources)?)
}

/// A chain with the exchange at its mainnet addresses, and a pool in which a honeypot can be bought.
fn build_chain(packages: &Path) -> Result<(Arc<DevChain>, Address)> {
    let config = Config::default();
    let world = canonical::build(packages, config.chain_id).context("the exchange's contracts")?;
    ensure!(
        world.has(V2_ROUTER) && world.has(V2_FACTORY),
        "the exchange's contracts are not in {}",
        packages.display()
    );
    let chain = Arc::new(DevChain::new(config, world.genesis));
    let maker = DEV_ACCOUNTS[MAKER];
    let first = chain.next_nonce(maker);
    let honeypot = maker.create(first);
    let liquidity = U256::from(100_000) * U256::from(ETHER);
    let steps = [
        Call::create(maker, honeypot_code()?),
        approve(maker, honeypot, V2_ROUTER, U256::MAX),
        add_liquidity(maker, honeypot, liquidity, U256::from(50) * U256::from(ETHER)),
    ];
    for (step, nonce) in steps.iter().zip(first..) {
        chain.submit(&signed(MAKER, step, nonce, MAKING)?).map_err(|refusal| anyhow::anyhow!("{refusal}"))?;
    }
    ensure!(chain.next_nonce(maker) == first + 3, "the pool was not made");
    Ok((chain, honeypot))
}

/// Init code of the honeypot with its arguments: the exchange's factory and what it trades against.
fn honeypot_code() -> Result<Bytes> {
    let artifacts: Value = serde_json::from_str(include_str!("../../../../../contracts/fixtures/artifacts.json"))?;
    let code = artifacts["contracts"][HONEYPOT]["bytecode"].as_str().context("the honeypot's code is missing")?;
    let code: Bytes = code.parse().context("the honeypot's code")?;
    Ok([code.as_ref(), V2_FACTORY.into_word().as_slice(), WETH.into_word().as_slice()].concat().into())
}

fn signed(who: usize, call: &Call, nonce: u64, gas: u64) -> Result<Bytes> {
    let terms = Terms { chain_id: Config::default().chain_id, nonce, gas, max_fee: 20_000_000_000, tip: 1 };
    let key: B256 = DEV_KEYS[who];
    sign(key, call, terms).context("a development key signs")
}

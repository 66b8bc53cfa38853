//! `surety gateway`: a firewall before an Ethereum node.

mod services;

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use serde_json::json;
use surety_evm::{Chain as _, Remote, RemoteConfig};
use surety_proxy::gateway::policy::Policy;
use surety_proxy::gateway::{
    Basis, CacheConfig, Gateway, GatewayConfig, GatewayLimits, List, Plugs, ServiceConfig, UpstreamConfig,
};
use surety_security::Lists;
use surety_security::service::engine;

use super::lists::FOLDER;
use crate::guard::{Head, checks, hash_of};
use crate::output::{Failure, Output};
use crate::settings::NetworkArguments;

/// Runs a JSON-RPC firewall before an Ethereum node: wallets connect to it instead of the node.
///
/// Every transaction is decoded, simulated on the newest state, and compared with your lists before the node sees it; what a
/// policy does not let pass is refused or held, with the reason and the evidence in the error. It needs no marketplace and
/// no account, unless the policy names remote services: each is called by a package bought before. Stop it with Ctrl-C or
/// SIGTERM: requests under way are finished first. SIGHUP reads the policy again at once.
#[derive(Debug, clap::Args)]
#[command(
    args_conflicts_with_subcommands = true,
    after_help = "Examples:
  surety lists build
  surety gateway --upstream http://127.0.0.1:8545 --listen 127.0.0.1:8546 --no-sanctions
  surety gateway check policy.toml
  surety gateway --upstream https://node.example --policy policy.toml --service orbit=0x…
  surety gateway --config gateway.toml          # everything in a file: limits, several upstreams, websockets"
)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    run: Run,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// Check a policy file, and print what it comes to.
    Check {
        /// The policy (TOML).
        file: PathBuf,
    },
}

#[derive(Debug, clap::Args)]
struct Run {
    /// The configuration file (TOML); the flags below are then not looked at.
    #[arg(long, conflicts_with_all = ["upstream", "policy"])]
    config: Option<PathBuf>,
    /// The node's JSON-RPC, by http or https; several are tried in turn.
    #[arg(long, value_delimiter = ',', required_unless_present = "config")]
    upstream: Vec<String>,
    /// The node's websocket, for subscriptions.
    #[arg(long)]
    upstream_ws: Option<String>,
    /// The policy (TOML); without one, each check's own rules decide. Changes count within a second, and at SIGHUP.
    #[arg(long)]
    policy: Option<PathBuf>,
    /// A remote service of the policy and the package that it is called by: NAME=PURCHASE.
    #[arg(long = "service", value_parser = services::parse)]
    services: Vec<ServiceConfig>,
    /// Where wallets connect.
    #[arg(long, default_value = "127.0.0.1:8546")]
    listen: SocketAddr,
    /// Where /health and /metrics are; not for the public.
    #[arg(long, default_value = "127.0.0.1:9546")]
    admin: SocketAddr,
    /// The folder of held transactions and of the audit log.
    #[arg(long, default_value = ".surety/gateway")]
    data: PathBuf,
    /// The folder with names.dataset and addresses.dataset.
    #[arg(long, default_value = FOLDER)]
    folder: PathBuf,
    /// Believe the node about state, for one that gives no proofs (eth_getProof).
    #[arg(long)]
    trust_rpc: bool,
    /// Do not simulate: lists and decoding only.
    #[arg(long)]
    no_simulation: bool,
    /// Screen nothing for sanctions. Without this, no list of sanctions is no start.
    #[arg(long)]
    no_sanctions: bool,
    #[command(flatten)]
    purse: services::Purse,
    #[command(flatten)]
    network: NetworkArguments,
    /// End when standard input closes, so that nothing outlives a supervisor.
    #[arg(long, hide = true)]
    supervised: bool,
}

pub(crate) async fn run(arguments: Arguments, output: &Output) -> Result<()> {
    match arguments.command {
        Some(Command::Check { file }) => check(&file, output),
        None => serve(arguments.run, output).await,
    }
}

fn check(file: &Path, output: &Output) -> Result<()> {
    let text = std::fs::read_to_string(file)
        .map_err(|error| Failure::environment(format!("cannot read {}: {error}", file.display())))?;
    let policy = Policy::load(&text).with_context(|| format!("{} is no usable policy", file.display()))?;
    let value = json!({"valid": true, "hash": policy.hash(), "name": policy.name(), "dry_run": policy.is_dry_run()});
    output.result(&value, || policy.describe())
}

async fn serve(run: Run, output: &Output) -> Result<()> {
    let config = config(&run)?;
    let lists = Arc::new(super::check::lists(&run.folder, output)?);
    if !lists.knows_sanctions() && !run.no_sanctions {
        let place = run.folder.display();
        let hint = "add one with `surety lists build`, or go without by --no-sanctions";
        return Err(Failure::environment(format!("no list of sanctions in {place}: {hint}")).into());
    }
    let url = config.upstreams.first().map(|node| node.url.clone()).unwrap_or_default();
    let remote = RemoteConfig { proofs: !run.trust_rpc, timeout: Duration::from_secs(5), ..RemoteConfig::new(&url) };
    // Reading a node blocks.
    let node = tokio::task::spawn_blocking(move || Remote::connect(&remote)).await?;
    let node = node.map_err(|error| Failure::environment(format!("{url}: {error}")))?;
    let chain_id = node.chain_id();
    let head = match run.no_simulation {
        true => None,
        false => Some(tokio::task::spawn_blocking(move || Head::follow(node)).await?),
    };
    let (lines, buyer) = services::open(&config, &run.purse, &run.network).await?;
    let plugs = Plugs {
        lists: described(&lists),
        basis: head.as_ref().map(basis),
        checks: checks(lists, head, chain_id, !run.no_sanctions),
        services: lines,
        buyer,
    };
    let gateway = Gateway::start(config, plugs).await.map_err(Failure::environment)?;
    let url = format!("http://{}", gateway.address());
    let value = json!({"url": url, "admin": format!("http://{}", gateway.admin()), "chain_id": chain_id});
    output.result(&value, || {
        format!("guarding chain {chain_id} at {url}; metrics at http://{}/metrics; end with Ctrl-C", gateway.admin())
    })?;
    tokio::select! {
        () = super::node::asked_to_stop(run.supervised) => {}
        () = follow_hangups(&gateway) => {}
    }
    gateway.stop().await;
    Ok(())
}

/// Reads the policy again whenever SIGHUP comes, for ever. What is wrong with it stands in the log and in /health.
async fn follow_hangups(gateway: &Gateway) {
    #[cfg(unix)]
    {
        use tokio::signal::unix::{SignalKind, signal};
        if let Ok(mut hangup) = signal(SignalKind::hangup()) {
            while hangup.recv().await.is_some() {
                let _ = gateway.reload().await;
            }
        }
    }
    std::future::pending().await
}

/// The lists for the gateway's records.
fn described(lists: &Lists) -> Vec<List> {
    let datasets = [lists.names(), lists.addresses()].into_iter().flatten();
    let described = datasets.map(|dataset| List {
        name: dataset.name().to_owned(),
        version: dataset.version().to_owned(),
        root: dataset.root(),
        as_of_s: dataset.as_of().start().0,
    });
    described.collect()
}

/// What the checks' findings rest on.
pub(crate) fn basis(head: &Arc<Head>) -> Basis {
    let head = Arc::clone(head);
    let block = move || head.newest().ok().map(|snapshot| hash_of(&snapshot));
    Basis { engine: engine(), block: Arc::new(block) }
}

fn config(run: &Run) -> Result<GatewayConfig> {
    if let Some(path) = &run.config {
        let text = std::fs::read_to_string(path)
            .map_err(|error| Failure::environment(format!("cannot read {}: {error}", path.display())))?;
        return Ok(GatewayConfig::from_toml(&text).map_err(Failure::environment)?);
    }
    let upstreams = run
        .upstream
        .iter()
        .zip(0..)
        .map(|(url, at)| UpstreamConfig { url: url.clone(), ws: run.upstream_ws.clone().filter(|_| at == 0) });
    Ok(GatewayConfig {
        listen: run.listen,
        admin: run.admin,
        upstreams: upstreams.collect(),
        chain_id: None,
        data: run.data.clone(),
        policy: run.policy.clone(),
        wait_for_disk: true,
        allow_unprotected: false,
        node_signs: false,
        client_header: None,
        limits: GatewayLimits::default(),
        cache: CacheConfig::default(),
        services: run.services.clone(),
    })
}

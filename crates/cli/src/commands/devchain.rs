//! `surety devchain`: a small EVM chain to try things on.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use serde_json::json;
use surety_evm::canonical;
use surety_evm::chain::{Config, DEV_ACCOUNTS, DevChain, Genesis, fund};
use surety_evm::{World, rpc};

use crate::output::{Failure, Output};

/// Runs a small EVM chain with JSON-RPC for wallets, libraries and the gateway: nothing on it is worth anything, and
/// nothing of it stays.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:
  surety devchain --listen 127.0.0.1:8545
  surety gateway --upstream http://127.0.0.1:8545 --listen 127.0.0.1:8546")]
pub(crate) struct Arguments {
    /// Where to listen.
    #[arg(long, default_value = "127.0.0.1:8545")]
    listen: SocketAddr,
    /// The EIP-155 chain id.
    #[arg(long, default_value_t = 31_337)]
    chain_id: u64,
    /// Seconds between blocks [default: a block as soon as a transaction comes].
    #[arg(long, value_name = "SECONDS")]
    block_time: Option<u64>,
    /// Begin with Uniswap, USDC and others at their mainnet addresses, from the npm packages in this node_modules folder.
    #[arg(long, value_name = "NODE_MODULES")]
    canonical: Option<PathBuf>,
    /// End when standard input closes, so that nothing outlives a supervisor.
    #[arg(long, hide = true)]
    supervised: bool,
}

pub(crate) async fn run(arguments: Arguments, output: &Output) -> Result<()> {
    let genesis = match arguments.canonical {
        None => funded(),
        Some(folder) => {
            let chain_id = arguments.chain_id;
            let built = tokio::task::spawn_blocking(move || canonical::build(&folder, chain_id)).await?;
            let built = built.context("the canonical world")?;
            for place in &built.places {
                let state = if place.code_hash.is_some() { "is there" } else { "is empty: no artifact" };
                output.progress(format_args!("  {} {} {state}", place.address, place.name));
            }
            built.genesis
        }
    };
    let automine = arguments.block_time.is_none();
    let chain =
        Arc::new(DevChain::new(Config { chain_id: arguments.chain_id, automine, ..Config::default() }, genesis));
    let interval = arguments.block_time.map(|seconds| Duration::from_secs(seconds.max(1)));
    let server = rpc::serve(arguments.listen, chain, interval)
        .await
        .map_err(|error| Failure::environment(format!("cannot listen on {}: {error}", arguments.listen)))?;
    let value = json!({"url": server.url(), "chain_id": arguments.chain_id, "accounts": DEV_ACCOUNTS});
    output.result(&value, || {
        let accounts: Vec<String> = DEV_ACCOUNTS.iter().map(|account| format!("  {account}\n")).collect();
        let from =
            "ten funded accounts, from the mnemonic \"test test test test test test test test test test test junk\"";
        format!("chain {} at {}; {from}:\n{}end with Ctrl-C", arguments.chain_id, server.url(), accounts.concat())
    })?;
    super::node::asked_to_stop(arguments.supervised).await;
    server.stop().await;
    Ok(())
}

fn funded() -> Genesis {
    let mut world = World::default();
    fund(&mut world);
    Genesis { world, ..Genesis::default() }
}

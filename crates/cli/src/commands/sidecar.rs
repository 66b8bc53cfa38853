//! `surety sidecar`: the checked door before a provider's API.

use std::path::PathBuf;
use std::sync::Arc;

use anyhow::{Context, Result};
use surety_client::wallet::load_or_create_key;
use surety_proxy::SidecarConfig;
use surety_proxy::ledger::ClientLedger;

use super::provider::PROVIDER_KEY;
use crate::output::{Failure, Output};
use crate::settings::{AccountArguments, NetworkArguments};

/// Runs a reverse proxy before any HTTP API: it checks each call's right, meters without trusting a meter, forwards, signs
/// the answer, claims by itself, and asks whoever has not paid for the price (402).
///
/// It needs no change to the API. Stop it with Ctrl-C or SIGTERM: calls under way are finished first. Killed at any point,
/// it loses no acknowledged call and serves none twice.
#[derive(Debug, clap::Args)]
#[command(after_help = "A configuration to begin with:
  listen = \"127.0.0.1:9100\"      # where callers come in
  admin = \"127.0.0.1:9101\"       # /health, /metrics and /claims
  authority = \"127.0.0.1:9100\"   # what callers write in their URLs
  data = \".surety/sidecar\"
  provider = 1
  [[service]]
  id = 1
  path = \"/api/v1/phishing_site\"
  upstream = \"http://127.0.0.1:9000\"")]
pub(crate) struct Arguments {
    /// The configuration file (TOML).
    #[arg(long)]
    config: PathBuf,
    /// The file of the provider's answering key.
    #[arg(long, default_value = PROVIDER_KEY)]
    key: PathBuf,
    /// End when standard input closes, so that nothing outlives a supervisor.
    #[arg(long, hide = true)]
    supervised: bool,
    #[command(flatten)]
    account: AccountArguments,
    #[command(flatten)]
    network: NetworkArguments,
}

pub(crate) async fn run(arguments: Arguments, output: &Output) -> Result<()> {
    let text = std::fs::read_to_string(&arguments.config)
        .map_err(|error| Failure::environment(format!("cannot read {}: {error}", arguments.config.display())))?;
    let config = SidecarConfig::from_toml(&text).map_err(Failure::environment)?;
    let key = load_or_create_key(&arguments.key)?;
    let session = arguments.network.session()?;
    let sender = arguments.account.sender(&session)?;
    output.progress(format_args!(
        "answering at {}://{} for provider {}",
        config.scheme, config.authority, config.provider
    ));
    let ledger = ClientLedger::connect(session.light, sender, key.clone()).await?;
    let stop = super::node::asked_to_stop(arguments.supervised);
    surety_proxy::run(config, key, Arc::new(ledger), stop).await.context("the sidecar ended")
}

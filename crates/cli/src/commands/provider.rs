//! `surety provider`: the seller's side.

use std::path::PathBuf;

use anyhow::{Context, Result};
use surety_client::wallet::load_or_create_key;
use surety_ledger::market;
use surety_ledger::market::state::Terms;
use surety_primitives::typed_data::Bytes32;
use surety_primitives::{Address, Amount, DatasetId, Hash32, ProviderId, Seconds, ServiceId};

use super::buy::act;
use crate::output::Output;
use crate::settings::{AccountArguments, NetworkArguments, address};

/// Where a provider's answering key lies unless another file is named.
pub(crate) const PROVIDER_KEY: &str = ".surety/provider.key";

/// Registers and runs a provider.
#[derive(Debug, clap::Subcommand)]
#[command(after_help = "From nothing to the first sale:
  surety lists build                                        # what the answers rest on
  surety provider register --account dev:provider --stake 5000
  surety lists publish .surety/datasets/names.dataset --provider 1 --account dev:provider
  surety provider template --json > service.json            # then edit it: endpoint, price, terms
  surety provider list service.json --account dev:provider
  surety provider serve --listen 127.0.0.1:9000             # the built-in services, or your own API
  surety sidecar --config sidecar.toml --account dev:provider   # the checked door before it; its --help shows a file")]
pub(crate) enum Command {
    /// Register the account as a provider, with stake and an answering key.
    Register {
        /// Stake in CALL, at least the fixed part.
        #[arg(long)]
        stake: Amount,
        /// Where released money goes [default: the account].
        #[arg(long)]
        payout: Option<String>,
        /// The file of the answering key; made if it is not there.
        #[arg(long, default_value = PROVIDER_KEY)]
        key: PathBuf,
        #[command(flatten)]
        who: Who,
    },
    /// Change payout address or answering key.
    Update {
        /// The new payout address; counts after a delay.
        #[arg(long)]
        payout: Option<String>,
        /// The file of the new answering key; the old one stays valid for a while.
        #[arg(long)]
        key: Option<PathBuf>,
        #[command(flatten)]
        who: Who,
    },
    /// Add stake to a provider; anyone may.
    Stake {
        /// The provider's number.
        provider: u64,
        /// How much, in CALL.
        amount: Amount,
        #[command(flatten)]
        who: Who,
    },
    /// Begin to take stake out.
    Unstake {
        /// The provider's number.
        provider: u64,
        /// How much, in CALL.
        amount: Amount,
        #[command(flatten)]
        who: Who,
    },
    /// Take out stake whose time is over.
    Withdraw {
        /// The provider's number.
        provider: u64,
        #[command(flatten)]
        who: Who,
    },
    /// Print a listing to begin with (TOML).
    Template,
    /// List a service, or change one with --service.
    List {
        /// The listing (TOML, or JSON in a .json file): what `surety provider template` prints.
        file: PathBuf,
        /// The service to change; a new one is listed if absent.
        #[arg(long)]
        service: Option<u64>,
        #[command(flatten)]
        who: Who,
    },
    /// Stop selling for a while, or go on: the provider, or one service.
    Pause {
        /// The provider's number, for all of it.
        #[arg(long, conflicts_with = "service", required_unless_present = "service")]
        provider: Option<u64>,
        /// One service.
        #[arg(long)]
        service: Option<u64>,
        /// Go on selling.
        #[arg(long)]
        resume: bool,
        #[command(flatten)]
        who: Who,
    },
    /// What the ledger says of a provider, with proof.
    Show {
        /// The provider's number.
        provider: u64,
        #[command(flatten)]
        network: NetworkArguments,
    },
    /// Serve the built-in security services from lists: an API for a sidecar to stand before.
    Serve(super::lists::Serve),
}

/// The account and the network.
#[derive(Debug, clap::Args)]
pub(crate) struct Who {
    #[command(flatten)]
    account: AccountArguments,
    #[command(flatten)]
    network: NetworkArguments,
}

pub(crate) async fn run(command: Command, output: &Output) -> Result<()> {
    match command {
        Command::Register { stake, payout, key, who } => {
            let owner = who.account.key()?.address();
            let payout = payout.map_or(Ok(owner), |payout| address(&payout))?;
            let key = Bytes32(load_or_create_key(&key)?.public().0);
            who.does(market::RegisterProvider { payout, key, stake }, output).await
        }
        Command::Update { payout, key, who } => {
            let payout = payout.map_or(Ok(Address::ZERO), |payout| address(&payout))?;
            let key = key
                .map_or(Ok(Bytes32::default()), |path| load_or_create_key(&path).map(|key| Bytes32(key.public().0)))?;
            who.does(market::UpdateProvider { payout, key }, output).await
        }
        Command::Stake { provider, amount, who } => {
            who.does(market::StakeProvider { provider: ProviderId(provider), amount }, output).await
        }
        Command::Unstake { provider, amount, who } => {
            who.does(market::UnstakeProvider { provider: ProviderId(provider), amount }, output).await
        }
        Command::Withdraw { provider, who } => {
            who.does(market::WithdrawStake { provider: ProviderId(provider) }, output).await
        }
        Command::Template => output.result(&template(), || toml::to_string_pretty(&template()).unwrap_or_default()),
        Command::List { file, service, who } => list(&file, service.map(ServiceId), &who, output).await,
        Command::Pause { provider, service, resume, who } => match (provider, service) {
            (Some(provider), _) => {
                who.does(market::PauseProvider { provider: ProviderId(provider), paused: !resume }, output).await
            }
            (None, service) => {
                let service = ServiceId(service.unwrap_or_default());
                who.does(market::PauseService { service, paused: !resume }, output).await
            }
        },
        Command::Show { provider, network } => show(ProviderId(provider), &network, output).await,
        Command::Serve(arguments) => super::lists::serve(arguments, output).await,
    }
}

impl Who {
    async fn does(&self, action: impl Into<surety_ledger::AnyAction>, output: &Output) -> Result<()> {
        let session = self.network.session()?;
        act(&self.account.sender(&session)?, action, output).await
    }
}

async fn list(file: &std::path::Path, service: Option<ServiceId>, who: &Who, output: &Output) -> Result<()> {
    let text = std::fs::read_to_string(file).with_context(|| format!("cannot read {}", file.display()))?;
    let is_json = file.extension().is_some_and(|extension| extension == "json");
    let terms: Terms = if is_json { serde_json::from_str(&text)? } else { toml::from_str(&text)? };
    match service {
        Some(service) => who.does(market::UpdateService { service, terms }, output).await,
        None => who.does(market::RegisterService { terms }, output).await,
    }
}

async fn show(id: ProviderId, network: &NetworkArguments, output: &Output) -> Result<()> {
    let session = network.session()?;
    let proven = session.light.provider(id).await?;
    let provider = proven.value.with_context(|| format!("there is no provider {id}"))?;
    output.result(&provider, || {
        format!(
            "provider {id} of {}, {:?}, as of block {}\n  stake       {:>14}\n  unreleased  {:>14}\n  sold, open  {:>14}\n  promised    {:>14}\n  owed        {:>14}\n  free        {:>14}\n  sales {}, services {}",
            provider.owner,
            provider.status,
            proven.header.height,
            provider.stake.to_string(),
            provider.unreleased.to_string(),
            provider.open_value.to_string(),
            provider.promised.to_string(),
            provider.owed.to_string(),
            provider.free().to_string(),
            provider.sales,
            provider.services
        )
    })
}

/// A listing to begin with.
pub(crate) fn template() -> Terms {
    Terms {
        category: 101,
        title: "Phishing sites".to_owned(),
        description: "Is this a phishing site? Answers rest on a published list and are paid for when wrong."
            .to_owned(),
        tags: vec!["phishing".to_owned(), "security".to_owned()],
        chains: vec![1],
        region: "eu".to_owned(),
        endpoint: "http://127.0.0.1:9100".to_owned(),
        schema_hash: Hash32::default(),
        schema_url: String::new(),
        delivery: 0,
        calls: 1_000,
        price: Amount::call(10),
        life_least: Seconds(86_400),
        life_most: Seconds(30 * 86_400),
        refund_bps: 10_000,
        window: 64,
        rate: 0,
        cover: Amount::call(20),
        cover_faults: 1,
        cover_cap: Amount::call(200),
        datasets: vec![DatasetId(1)],
    }
}

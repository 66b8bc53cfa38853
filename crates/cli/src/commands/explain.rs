//! `surety explain`: the rules, applied to a case.

use anyhow::{Context, Result};
use serde_json::json;
use surety_ledger::fees::Split;
use surety_ledger::market::state::{Provider, ProviderStatus, Service};
use surety_ledger::params::Params;
use surety_primitives::{Amount, Hash32, Seconds, ServiceId};

use crate::output::Output;
use crate::settings::NetworkArguments;

/// Says how a rule comes out, with the numbers that it used.
#[derive(Debug, clap::Subcommand)]
pub(crate) enum Command {
    /// Whether a service could be bought now, and why not.
    Purchase {
        /// The service's number.
        service: u64,
        #[command(flatten)]
        network: NetworkArguments,
    },
    /// Where each part of an acknowledged amount goes.
    Fee {
        /// The amount that a claim acknowledged, in CALL.
        amount: Amount,
        #[command(flatten)]
        network: NetworkArguments,
    },
    /// What became of a transaction, and what its rejection means.
    Transaction {
        /// The transaction's hash.
        hash: Hash32,
        #[command(flatten)]
        network: NetworkArguments,
    },
}

pub(crate) async fn run(command: Command, output: &Output) -> Result<()> {
    match command {
        Command::Purchase { service, network } => purchase(ServiceId(service), &network, output).await,
        Command::Fee { amount, network } => fee(amount, &network, output).await,
        Command::Transaction { hash, network } => transaction(hash, &network, output).await,
    }
}

async fn purchase(id: ServiceId, network: &NetworkArguments, output: &Output) -> Result<()> {
    let session = network.session()?;
    let service = session.light.service(id).await?;
    let clock = service.header.clock;
    let service = service.value.with_context(|| format!("there is no service {id}"))?;
    let provider = session.light.provider(service.provider).await?.value;
    let provider = provider.with_context(|| format!("service {id} names a provider that does not exist"))?;
    let params = session.client.params().await?;
    let reasons = refusals(&service, &provider, &params, clock);
    let needed = exposure_of(&service);
    let value = json!({
        "service": id, "can_be_bought": reasons.is_empty(), "reasons": reasons,
        "price": service.terms.price, "adds_exposure": needed, "provider_free": provider.free(),
        "stake": provider.stake, "required_stake": provider.required_stake(&params, clock),
    });
    output.result(&value, || {
        let mut text = if reasons.is_empty() {
            format!("service {id} can be bought for {} CALL\n", service.terms.price)
        } else {
            reasons.iter().map(|reason| format!("refused: {reason}\n")).collect()
        };
        text.push_str(&format!(
            "a purchase adds {needed} CALL of exposure (price, and {} x {} cover); {} of the provider's backing are free\n",
            service.terms.cover_faults,
            service.terms.cover,
            provider.free()
        ));
        text
    })
}

fn exposure_of(service: &Service) -> Amount {
    let covers = service.terms.cover.mul_div_down(u128::from(service.terms.cover_faults), 1);
    service.terms.price.saturating_add(covers.unwrap_or(Amount(u128::MAX)))
}

/// Every rule that a purchase of this service would break, whoever buys.
fn refusals(service: &Service, provider: &Provider, params: &Params, now: Seconds) -> Vec<String> {
    let mut reasons = Vec::new();
    if service.paused {
        reasons.push("the service is paused".to_owned());
    }
    match provider.status {
        ProviderStatus::Active => {}
        ProviderStatus::Paused { .. } => reasons.push("the provider is paused".to_owned()),
        ProviderStatus::Left => reasons.push("the provider has left".to_owned()),
    }
    if provider.is_past_grace(params, now) {
        let needed = provider.required_stake(params, now);
        reasons.push(format!("the provider has staked {} CALL of {needed} for longer than the grace", provider.stake));
    }
    let needed = exposure_of(service);
    if let Err(error) = provider.ensure_covers(needed) {
        reasons.push(error.to_string());
    }
    reasons
}

async fn fee(amount: Amount, network: &NetworkArguments, output: &Output) -> Result<()> {
    let session = network.session()?;
    let (params, fees) = (session.client.params().await?, session.client.fees().await?);
    let take = amount.bps_down(params.take_bps);
    let Split { rewards: pool, treasury, burned } = Split::of(amount, take, fees.reward_rate, params.treasury_bps);
    let provider = amount.saturating_sub(take);
    let value = json!({"acknowledged": amount, "provider": provider, "take": take, "operators_and_investors": pool,
        "treasury": treasury, "burned": burned, "epoch": fees.epoch});
    output.result(&value, || {
        format!(
            "of {amount} CALL acknowledged\n  {provider} to the provider, after the payout delay of {} s\n  {take} take ({} bps):\n    \
             {pool} to operators and investors\n    {treasury} to the treasury\n    {burned} burned\n",
            params.payout_delay, params.take_bps
        )
    })
}

async fn transaction(hash: Hash32, network: &NetworkArguments, output: &Output) -> Result<()> {
    let session = network.session()?;
    let report = session.client.transaction(&hash).await?;
    output.result(&report, || match (&report.receipt, report.height) {
        (Some(receipt), Some(height)) => {
            let outcome = receipt.failure.as_ref().map_or_else(
                || "done".to_owned(),
                |failure| format!("refused: {} ({} {})", failure.message, failure.code, failure.name),
            );
            let events: Vec<String> = receipt.events.iter().map(|event| format!("  {event:?}\n")).collect();
            format!("{outcome}, in block {height}, for a fee of {} CALL\n{}", receipt.fee, events.concat())
        }
        _ => "it waits in the pool".to_owned(),
    })
}

//! `surety claim`: what a sidecar does by itself, by hand.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use serde_json::json;
use surety_ledger::market;
use surety_ledger::market::state::{PROVIDERS, TRANCHES};
use surety_primitives::{ProviderId, PurchaseId};

use super::buy::{act, act_quietly};
use crate::output::Output;
use crate::settings::{AccountArguments, NetworkArguments, Session, read_json};

/// Claims, releases and settles by hand. A running sidecar does all of it by itself.
#[derive(Debug, clap::Subcommand)]
pub(crate) enum Command {
    /// Claim what vouchers acknowledge.
    Vouchers {
        /// The claims (JSON) that a sidecar prints at /claims of its admin address: `curl http://127.0.0.1:9101/claims`.
        file: PathBuf,
        #[command(flatten)]
        who: Who,
    },
    /// Pay out what was claimed long enough ago.
    Release {
        /// The provider's number.
        provider: u64,
        #[command(flatten)]
        who: Who,
    },
    /// End a purchase whose windows are over: pay what was shown, return the rest.
    Settle {
        /// The purchase.
        purchase: PurchaseId,
        #[command(flatten)]
        who: Who,
    },
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
    let (action, who): (surety_ledger::AnyAction, Who) = match command {
        Command::Vouchers { file, who } => return vouchers(&file, &who, output).await,
        Command::Settle { purchase, who } => (market::Settle { purchase }.into(), who),
        Command::Release { provider, who } => {
            let session = who.network.session()?;
            (release(ProviderId(provider), &session).await?.into(), who)
        }
    };
    let session = who.network.session()?;
    act(&who.account.sender(&session)?, action, output).await
}

async fn vouchers(file: &Path, who: &Who, output: &Output) -> Result<()> {
    let claims: Vec<market::Claim> = read_json(file)?;
    let sender = who.account.sender(&who.network.session()?)?;
    let purchases: Vec<PurchaseId> = claims.iter().map(|claim| claim.purchase).collect();
    for claim in claims {
        act_quietly(&sender, claim).await?;
    }
    output.result(&json!({"claimed": purchases}), || format!("{} claims are final", purchases.len()))
}

/// Names the tranches whose delay is over.
pub(crate) async fn release(provider: ProviderId, session: &Session) -> Result<market::Release> {
    let params = session.client.params().await?;
    let proven = session.light.record(PROVIDERS, &provider).await?;
    proven.value.with_context(|| format!("there is no provider {provider}"))?;
    let now = proven.header.clock;
    let length = params.tranche_period.0.max(1);
    // A tranche is due one delay after its last claim, which lies within its period: older ones were due before.
    let newest = now.since(params.payout_delay).0 / length;
    let mut periods = Vec::new();
    for period in newest.saturating_sub(64)..=newest {
        let tranche = session.light.record(TRANCHES, &(provider, period)).await?.value;
        if tranche.is_some_and(|tranche| tranche.last_claim.after(params.payout_delay) <= now) && periods.len() < 32 {
            periods.push(period);
        }
    }
    ensure!(
        !periods.is_empty(),
        "nothing is mature: claims are released {} s after they were made",
        params.payout_delay
    );
    Ok(market::Release { provider, periods })
}

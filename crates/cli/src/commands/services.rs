//! `surety services`: what is on offer.

use anyhow::Result;
use surety_client::types::ServiceView;
use surety_primitives::ProviderId;
use surety_primitives::api::ServiceQuery;

use crate::output::Output;
use crate::settings::NetworkArguments;

/// Searches the listings of a network.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  surety services phishing --sort price")]
pub(crate) struct Arguments {
    /// Words in title, description and tags.
    text: Option<String>,
    /// Category: root x 100 + leaf, or a root alone (1 proactive, 2 transactions, 3 incidents, 4 protection, 5 other).
    #[arg(long)]
    category: Option<u16>,
    /// A tag.
    #[arg(long)]
    tag: Option<String>,
    /// An EVM chain id.
    #[arg(long)]
    chain: Option<u64>,
    /// A provider's number.
    #[arg(long)]
    provider: Option<u64>,
    /// The order, such as price, cover or newest.
    #[arg(long)]
    sort: Option<String>,
    /// Most entries, at most 200.
    #[arg(long, default_value_t = 20)]
    limit: u32,
    /// Where to go on: `next` of the page before.
    #[arg(long)]
    cursor: Option<String>,
    #[command(flatten)]
    network: NetworkArguments,
}

pub(crate) async fn run(arguments: Arguments, output: &Output) -> Result<()> {
    let session = arguments.network.session()?;
    let query = ServiceQuery {
        text: arguments.text,
        category: arguments.category,
        tag: arguments.tag,
        chain: arguments.chain,
        provider: arguments.provider.map(ProviderId),
        sort: arguments.sort,
        limit: Some(arguments.limit),
        cursor: arguments.cursor,
    };
    let page = session.client.services(&query).await?;
    output.result(&page, || {
        if page.items.is_empty() {
            return "nothing on offer matches".to_owned();
        }
        let mut text = format!("{:>5} {:>8} {:>12} {:>10} {:>8}  title\n", "id", "provider", "calls", "price", "cover");
        page.items.iter().for_each(|service| text.push_str(&line(service)));
        if let Some(next) = &page.next {
            text.push_str(&format!("more: --cursor {next}\n"));
        }
        text
    })
}

fn line(service: &ServiceView) -> String {
    let terms = &service.record.terms;
    let paused = if service.record.paused { " (paused)" } else { "" };
    format!(
        "{:>5} {:>8} {:>12} {:>10} {:>8}  {}{paused}\n",
        service.id.0,
        service.record.provider.0,
        terms.calls,
        terms.price.to_string(),
        terms.cover.to_string(),
        terms.title
    )
}

//! The remote services of a gateway: packages bought before, and further ones within the policy's budget.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context, Result, ensure};
use surety_client::caller::{Options, Package};
use surety_client::{Caller, Sender, wallet};
use surety_ledger::market::state::PurchaseRecord;
use surety_primitives::access::decode_chain;
use surety_primitives::{Amount, PurchaseId, ServiceId};
use surety_proxy::gateway::remote::{Bought, BuyError, Buyer, Order, Service};
use surety_proxy::gateway::{GatewayConfig, ServiceConfig};

use super::super::buy::{CALL_KEYS, Wanted, buy, order_file};
use super::super::call::log_of;
use crate::output::Failure;
use crate::settings::{KEYSTORE, NetworkArguments, Session, read_json, unlock};

/// Name of the file, in the gateway's folder, that says which purchase followed on which.
const FOLLOWED: &str = "purchases.json";
/// One lane a process and provider: calls queue here, not there.
const LANES: u16 = 1;
/// Seconds that stand in a signed call as its deadline: the next whole ones, and one for clocks that differ. How long an
/// answer is waited for says the policy, in milliseconds.
const DEADLINE_S: u32 = 2;
/// Tries of one call: an opening, an acknowledgement, a clock that differed. More take longer than any deadline.
const ATTEMPTS: u32 = 4;

/// What the packages are called and bought with.
#[derive(Debug, clap::Args)]
pub(super) struct Purse {
    /// Folder of the purchases' call keys and logs.
    #[arg(long, default_value = CALL_KEYS)]
    calls: PathBuf,
    /// The account that buys further packages within the policy's budget; without one nothing is bought.
    #[arg(long)]
    account: Option<String>,
    /// Folder of the encrypted keys.
    #[arg(long, env = "SURETY_KEYSTORE", default_value = KEYSTORE)]
    keystore: PathBuf,
    /// File with the keystore's password; its first line counts.
    #[arg(long, env = "SURETY_PASSWORD_FILE")]
    password_file: Option<PathBuf>,
}

/// NAME=PURCHASE.
pub(super) fn parse(text: &str) -> Result<ServiceConfig, String> {
    let (name, purchase) = text.split_once('=').ok_or("NAME=PURCHASE is expected")?;
    let purchase = purchase.parse().map_err(|error| format!("the purchase: {error}"))?;
    Ok(ServiceConfig { name: name.to_owned(), purchase, key: None, chain: None })
}

/// The services that can be called, and who buys more of them. Without services no network is needed.
pub(super) async fn open(
    config: &GatewayConfig,
    purse: &Purse,
    network: &NetworkArguments,
) -> Result<(Vec<Service>, Option<Buyer>)> {
    if config.services.is_empty() {
        return Ok((Vec::new(), None));
    }
    let session = Arc::new(network.session()?);
    std::fs::create_dir_all(&config.data).with_context(|| format!("cannot make {}", config.data.display()))?;
    let followed = config.data.join(FOLLOWED);
    let mut services = Vec::new();
    let mut sold = BTreeMap::new();
    for entry in &config.services {
        let given = entry.purchase;
        let purchase = newest(&followed, given)?;
        let opened = line(&session, &purse.calls, purchase, Some(entry).filter(|_| purchase == given)).await;
        let (caller, record) = opened.with_context(|| format!("the remote service {}", entry.name))?;
        let earlier = sold.insert(entry.name.clone(), (record.service, purchase));
        ensure!(earlier.is_none(), Failure::environment(format!("two packages for the service {}", entry.name)));
        let must_claim = surety_security::required_claims;
        services.push(Service { name: entry.name.clone(), caller, price: price(&record), must_claim });
    }
    let Some(account) = &purse.account else { return Ok((services, None)) };
    let key = unlock(account, &purse.keystore, purse.password_file.as_deref())?;
    let sender = Sender::new(session.client.clone(), key, session.network);
    let shop = Shop { session, sender, calls: purse.calls.clone(), followed, sold };
    Ok((services, Some(buyer(shop))))
}

/// Who buys, and what.
struct Shop {
    session: Arc<Session>,
    sender: Sender,
    calls: PathBuf,
    followed: PathBuf,
    /// The service that each name stands for, and the purchase that the gateway was started with.
    sold: BTreeMap<String, (ServiceId, PurchaseId)>,
}

fn buyer(shop: Shop) -> Buyer {
    let shop = Arc::new(shop);
    Arc::new(move |order| {
        let shop = Arc::clone(&shop);
        Box::pin(async move { shop.buy(&order).await.map_err(|error| shop.unbought(&order, &error)) })
    })
}

impl Shop {
    async fn buy(&self, order: &Order) -> Result<Bought> {
        let (service, first) = *self.sold.get(&order.name).context("no package of it was bought before")?;
        let most = if self.is_open(order) { None } else { Some(self.price_within(service, order.most).await?) };
        let wanted = Wanted { service, most, lanes: LANES, life: None };
        let (purchase, record) = buy(&self.session, &self.sender, wanted, order.reference, &self.calls).await?;
        // What was paid is known before it is used: a restart goes on with it.
        follow(&self.followed, first, purchase)?;
        let (caller, _) = line(&self.session, &self.calls, purchase, None).await?;
        Ok(Bought { caller, cost: record.price, price: price(&record) })
    }

    async fn price_within(&self, service: ServiceId, most: Amount) -> Result<Amount> {
        let listed = self.session.light.service(service).await?.value.context("the service is listed no more")?;
        ensure!(listed.terms.price <= most, "a package costs {}, and {most} is left", listed.terms.price);
        Ok(listed.terms.price)
    }

    /// Whether something may have been bought by an order: then it is kept.
    fn is_open(&self, order: &Order) -> bool {
        let purchase = PurchaseId::derive(self.session.network, self.sender.address(), order.reference.0);
        order_file(&self.calls, purchase).exists()
    }

    fn unbought(&self, order: &Order, error: &anyhow::Error) -> BuyError {
        let reason = format!("{error:#}");
        if self.is_open(order) { BuyError::Doubtful(reason) } else { BuyError::Refused(reason) }
    }
}

/// A caller on a purchase, by its own key or by that of a sub-grant.
async fn line(
    session: &Session,
    calls: &Path,
    purchase: PurchaseId,
    by: Option<&ServiceConfig>,
) -> Result<(Caller, PurchaseRecord)> {
    let own = calls.join(format!("{purchase}.key"));
    let path = by.and_then(|entry| entry.key.as_deref()).unwrap_or(&own);
    ensure!(path.exists(), Failure::environment(format!("{} is missing: no key calls by {purchase}", path.display())));
    let key = wallet::load_or_create_key(path)?;
    let chain = by.and_then(|entry| entry.chain.as_deref()).map(decode_chain).transpose()?;
    let record = session.light.purchase(purchase).await?.value.context("there is no such purchase")?;
    let package = Package::fetch(&session.light, purchase).await?;
    let options =
        Options { lanes: LANES, deadline_s: DEADLINE_S, attempts: ATTEMPTS, ..Options::new(log_of(calls, purchase)) };
    let reader = Some(session.light.clone());
    let caller = Caller::with_chain(package, key, chain.unwrap_or_default(), None, reader, options)?;
    Ok((caller, record))
}

/// What one call of a package costs, base units.
fn price(record: &PurchaseRecord) -> Amount {
    Amount(record.price.0 / u128::from(record.quota.max(1)))
}

/// The purchase that followed on this one, or itself.
fn newest(followed: &Path, given: PurchaseId) -> Result<PurchaseId> {
    if !followed.exists() {
        return Ok(given);
    }
    let all: BTreeMap<PurchaseId, PurchaseId> = read_json(followed)?;
    Ok(all.get(&given).copied().unwrap_or(given))
}

/// Notes a purchase that follows on another; a death in between loses neither.
fn follow(followed: &Path, first: PurchaseId, purchase: PurchaseId) -> Result<()> {
    let mut all: BTreeMap<PurchaseId, PurchaseId> =
        if followed.exists() { read_json(followed)? } else { BTreeMap::new() };
    all.insert(first, purchase);
    wallet::replace(followed, &serde_json::to_vec_pretty(&all)?)
        .with_context(|| format!("cannot write {}", followed.display()))
}

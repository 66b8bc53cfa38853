//! `surety buy`: a package of calls.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, bail, ensure};
use serde_json::json;
use surety_client::types::TransactionReport;
use surety_client::{Error as ClientError, Proven, Sender, wallet};
use surety_ledger::market::{self, state::PURCHASES, state::PurchaseRecord};
use surety_ledger::{AnyAction, Receipt, SignedTransaction};
use surety_primitives::header::{FinalHeader, Finality, Header};
use surety_primitives::typed_data::{Blob, Bytes16, Bytes32};
use surety_primitives::{Amount, Height, PurchaseId, Seconds, ServiceId};

use crate::files::{GrantFile, ReceiptFile};
use crate::output::Output;
use crate::settings::{AccountArguments, FINAL, NetworkArguments, Session, read_json};

/// Where the keys of purchases lie unless another folder is named.
pub(crate) const CALL_KEYS: &str = ".surety/calls";
/// How long a block's proof is waited for.
const PROOF: Duration = Duration::from_secs(10);

/// Buys a package: the price goes into escrow, and a fresh call key is written to --calls.
///
/// What was bought is believed only with its proof. The same --reference buys at most once, so that a retry is safe.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Example:\n  surety buy 1 --account dev:consumer --save grant.json\n  surety explain purchase 1        # when it is refused"
)]
pub(crate) struct Arguments {
    /// The service's number.
    service: u64,
    /// The most to pay, in CALL [default: the price listed now].
    #[arg(long)]
    max_price: Option<Amount>,
    /// Independent counters, so that so many callers need not wait for each other.
    #[arg(long, default_value_t = 8)]
    lanes: u16,
    /// Seconds that the package shall last [default: the longest on offer].
    #[arg(long)]
    life: Option<u64>,
    /// Your own name for this purchase, 32 hex digits [default: random].
    #[arg(long)]
    reference: Option<Bytes16>,
    /// Folder of the purchases' call keys.
    #[arg(long, default_value = CALL_KEYS)]
    calls: PathBuf,
    /// Write the grant (the purchase's row with its proof) to this file.
    #[arg(long)]
    save: Option<PathBuf>,
    /// Write the transaction with its block's proof to this file.
    #[arg(long)]
    save_receipt: Option<PathBuf>,
    #[command(flatten)]
    account: AccountArguments,
    #[command(flatten)]
    network: NetworkArguments,
}

/// The package that somebody wants.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Wanted {
    /// The service.
    pub service: ServiceId,
    /// The most to pay, base units; nothing for the price that is listed.
    pub most: Option<Amount>,
    /// Independent counters.
    pub lanes: u16,
    /// Seconds; nothing for the longest on offer.
    pub life: Option<u64>,
}

/// Buys a package by the account of `sender`, once under one reference; its key is written to `calls` first. What was tried
/// before goes on under the terms that it was tried under.
///
/// Whatever the error: something may have been bought exactly where the order is still kept ([`order_file`]).
pub(crate) async fn buy(
    session: &Session,
    sender: &Sender,
    wanted: Wanted,
    reference: Bytes16,
    calls: &Path,
) -> Result<(PurchaseId, PurchaseRecord)> {
    let purchase = PurchaseId::derive(session.network, sender.address(), reference.0);
    let key = wallet::load_or_create_key(&calls.join(format!("{purchase}.key")))?;
    let file = order_file(calls, purchase);
    let is_again = file.exists();
    let wanted = Wanted { most: wanted.most.filter(|_| !is_again), ..wanted };
    let order = kept_order(wanted, session, &file, reference, Bytes32(key.public().0)).await?;
    if is_again {
        if let Some(record) = bought(session, purchase, &order).await? {
            return Ok((purchase, record));
        }
        if is_void(session, purchase, &order).await? {
            std::fs::remove_file(&file).with_context(|| format!("cannot delete {}", file.display()))?;
            bail!("the offer has changed, and nothing was bought under the old one");
        }
    }
    let (record, _) = send(session, sender, purchase, order, &file).await?;
    Ok((purchase, record))
}

/// Where the order of a purchase is kept: from before it is first sent, and until it is known that it came to nothing.
pub(crate) fn order_file(calls: &Path, purchase: PurchaseId) -> PathBuf {
    calls.join(format!("{purchase}.order"))
}

/// Whether the ledger has not taken this order and never will: it sells only what is listed, and versions only rise.
async fn is_void(session: &Session, id: PurchaseId, order: &market::Purchase) -> Result<bool> {
    // The listing first: what is not bought after it has changed never is.
    let listed = session.light.service(order.service).await?;
    let row = session.light.purchase(id).await?;
    let has_changed = listed.value.is_none_or(|service| service.version != order.version);
    // A row may be swept some time after the package has ended: then nobody can tell.
    let is_told = row.value.is_none() && row.header.clock < order.expires;
    Ok(has_changed && is_told && row.header.height >= listed.header.height)
}

pub(crate) async fn run(arguments: Arguments, output: &Output) -> Result<()> {
    let session = arguments.network.session()?;
    let sender = arguments.account.sender(&session)?;
    let reference = match arguments.reference {
        Some(reference) => reference,
        None => Bytes16(*wallet::random::<16>()?),
    };
    let purchase = PurchaseId::derive(session.network, sender.address(), reference.0);
    output.progress(format_args!(
        "purchase {purchase}; should this end early, --reference {reference} tries again safely"
    ));
    // The key is on disk before anything is paid: a crash in between loses nothing.
    let key = wallet::load_or_create_key(&arguments.calls.join(format!("{purchase}.key")))?;
    let file = order_file(&arguments.calls, purchase);
    let wanted = Wanted {
        service: ServiceId(arguments.service),
        most: arguments.max_price,
        lanes: arguments.lanes,
        life: arguments.life,
    };
    let order = kept_order(wanted, &session, &file, reference, Bytes32(key.public().0)).await?;
    let price = order.max_fee;
    // A receipt is that of a transaction of this run: the same terms again are taken for a fee.
    let before = if arguments.save_receipt.is_some() { None } else { bought(&session, purchase, &order).await? };
    let (record, sent) = match before {
        Some(record) => (record, None),
        None => send(&session, &sender, purchase, order, &file).await?,
    };
    let saved = save(&arguments, &session, purchase, sent.as_ref()).await;
    saved.with_context(|| format!("purchase {purchase} is made; what was to be saved of it is not"))?;
    let report = sent.map(|(report, _)| report);
    let value = json!({"purchase": purchase, "price": record.price, "calls": record.quota, "lanes": record.lanes,
        "expires": record.expires, "transaction": report.as_ref().map(|report| report.hash),
        "height": report.and_then(|report| report.height)});
    output.result(&value, || {
        format!(
            "bought {} calls for {} CALL (offered at most {price}): purchase {purchase}\nproven by its row; call with: \
             surety call --purchase {purchase} PATH",
            record.quota, record.price
        )
    })
}

/// A transaction that became final, and what became of it.
type Sent = (TransactionReport, SignedTransaction);

/// What was bought under this order, if it was. A purchase under other terms is left to the ledger to refuse.
async fn bought(session: &Session, id: PurchaseId, order: &market::Purchase) -> Result<Option<PurchaseRecord>> {
    let same = |record: &PurchaseRecord| {
        (record.provider, record.service, record.version) == (order.provider, order.service, order.version)
            && (record.call_key, record.lanes, record.expires) == (order.call_key, order.lanes, order.expires)
    };
    Ok(session.light.purchase(id).await?.value.filter(same))
}

/// Sends the order until it is on the ledger: by this transaction, or by that of a try before, which may have been under
/// way and have used the account's number.
async fn send(
    session: &Session,
    sender: &Sender,
    id: PurchaseId,
    order: market::Purchase,
    file: &Path,
) -> Result<(PurchaseRecord, Option<Sent>)> {
    let mut sent = sender.send_signed(order.clone(), FINAL).await;
    if matches!(sent, Err(ClientError::Doubtful { .. })) && matches!(bought(session, id, &order).await, Ok(None)) {
        // That transaction is lost, or is under way: the ledger takes the same terms once in any case.
        sent = sender.send_signed(order.clone(), FINAL).await;
    }
    let sent = match sent {
        Ok(sent) => Some(sent),
        Err(error @ ClientError::Rejected { .. }) => {
            // Final, and nothing was bought: the next try may offer other terms.
            std::fs::remove_file(file).with_context(|| format!("cannot delete {}", file.display()))?;
            return Err(error.into());
        }
        Err(error) => match bought(session, id, &order).await {
            Ok(Some(record)) => return Ok((record, None)),
            _ => {
                let again = format!("buying as {}; the same --reference tries again safely", order.client_ref);
                return Err(error).context(again);
            }
        },
    };
    let height = sent.as_ref().and_then(|(report, _)| report.height).unwrap_or_default();
    let record = row_at(session, id, height).await.with_context(|| format!("reading purchase {id}, which is paid"))?;
    Ok((record, sent))
}

/// The row of a purchase that is final at this height. The node that answers may not have that block yet.
async fn row_at(session: &Session, id: PurchaseId, height: Height) -> Result<PurchaseRecord> {
    let end = Instant::now() + FINAL;
    loop {
        let failure = match session.light.purchase(id).await {
            Ok(Proven { value: Some(record), .. }) => return Ok(record),
            Ok(proven) if proven.header.height >= height => bail!("the ledger proves that nothing was bought"),
            Ok(_) => anyhow!("no node has block {height} yet"),
            Err(error) => error.into(),
        };
        if Instant::now() >= end {
            return Err(failure);
        }
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
}

/// The order as it was first sent, if this purchase was tried before: then the ledger sees the same terms again, and a
/// retry is no second purchase and no refusal. Else a new one, on disk before it is sent.
async fn kept_order(
    wanted: Wanted,
    session: &Session,
    file: &Path,
    client_ref: Bytes16,
    call_key: Bytes32,
) -> Result<market::Purchase> {
    if !file.exists() {
        let order = order(wanted, session, client_ref, call_key).await?;
        match wallet::write_new(file, &serde_json::to_vec_pretty(&order)?) {
            Ok(()) => return Ok(order),
            // Another process buys under the same reference: its order counts.
            Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {}
            Err(error) => return Err(error).with_context(|| format!("cannot write {}", file.display())),
        }
    }
    let order: market::Purchase = read_json(file)?;
    let same = order.service == wanted.service
        && order.lanes == wanted.lanes
        && order.call_key == call_key
        && order.client_ref == client_ref
        && wanted.most.is_none_or(|most| most == order.max_fee);
    ensure!(
        same,
        "this reference was used for other terms, which {} keeps: choose another, or delete that file if nothing was bought",
        file.display()
    );
    Ok(order)
}

async fn order(wanted: Wanted, session: &Session, client_ref: Bytes16, call_key: Bytes32) -> Result<market::Purchase> {
    let id = wanted.service;
    let proven = session.light.service(id).await?;
    let service = proven.value.with_context(|| format!("there is no service {id}: `surety services` lists them"))?;
    let life = wanted.life.map_or(service.terms.life_most, Seconds);
    let (least, most) = (service.terms.life_least, service.terms.life_most);
    ensure!(least <= life && life <= most, "this package lasts {least} to {most} seconds, not {life}");
    Ok(market::Purchase {
        provider: service.provider,
        service: id,
        version: service.version,
        max_fee: wanted.most.unwrap_or(service.terms.price),
        client_ref,
        call_key,
        lanes: wanted.lanes,
        // A little less than the longest, as the ledger clock moves before the purchase stands in a block.
        expires: proven.header.clock.after(Seconds(life.0.saturating_sub(if life == most { 60 } else { 0 }))),
    })
}

async fn save(arguments: &Arguments, session: &Session, purchase: PurchaseId, sent: Option<&Sent>) -> Result<()> {
    if let Some(path) = &arguments.save {
        let row = session.client.row(&PURCHASES.key(&purchase)).await?;
        write_json(path, &GrantFile { purchase, row })?;
    }
    if let Some(path) = &arguments.save_receipt {
        let (report, signed) = sent.context("it was made by a try before, whose transaction is not known here")?;
        write_json(path, &receipt(session, signed, report).await?)?;
    }
    Ok(())
}

/// What proves the purchase to others. Certificate and receipts are on the node's disk a moment after the block is final.
async fn receipt(session: &Session, signed: &SignedTransaction, report: &TransactionReport) -> Result<ReceiptFile> {
    let height = report.height.context("the transaction is in no block yet")?;
    let until = Instant::now() + PROOF;
    loop {
        let block: BlockDocument = session.client.get(&format!("v1/blocks/{height}")).await?;
        if let (Some(finality), Some(receipts)) = (block.finality, block.receipts) {
            return Ok(ReceiptFile {
                transaction: Blob(surety_primitives::codec::encode(signed)),
                transactions: block.signed.iter().map(surety_node::block::travel_hash).collect(),
                receipt: report.receipt.clone().context("the node kept no receipt of it")?,
                receipts: receipts.iter().map(Receipt::digest).collect(),
                block: FinalHeader { header: block.header, path: block.path.unwrap_or_default(), finality },
            });
        }
        ensure!(Instant::now() < until, "the node has no certificate or no receipts of block {height}: ask another");
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
}

/// What of a block's document a receipt is made of.
#[derive(serde::Deserialize)]
struct BlockDocument {
    header: Header,
    path: Option<Vec<Header>>,
    finality: Option<Finality>,
    signed: Vec<SignedTransaction>,
    receipts: Option<Vec<Receipt>>,
}

pub(crate) fn write_json<T: serde::Serialize>(path: &std::path::Path, value: &T) -> Result<()> {
    let text = serde_json::to_vec_pretty(value)?;
    std::fs::write(path, text).with_context(|| format!("cannot write {}", path.display()))
}

/// Sends an action and waits until it is final and done.
pub(crate) async fn act_quietly(sender: &Sender, action: impl Into<AnyAction>) -> Result<()> {
    let action = action.into();
    let name = action.name();
    sender.send(action, FINAL).await.with_context(|| format!("{name} by {}", sender.address()))?;
    Ok(())
}

/// Sends an action, waits until it is final, and says so.
pub(crate) async fn act(sender: &Sender, action: impl Into<AnyAction>, output: &Output) -> Result<()> {
    let action = action.into();
    let name = action.name();
    let report = sender.send(action, FINAL).await?;
    output.result(&report, || {
        let height = report.height.map_or_else(String::new, |height| format!(" in block {height}"));
        let events = report.receipt.iter().flat_map(|receipt| &receipt.events);
        let events: Vec<String> = events.map(|event| format!("\n  {event:?}")).collect();
        format!("{name} is final{height}: {}{}", report.hash, events.concat())
    })
}

//! Events of final blocks as server-sent events.
//!
//! Always true: a stream goes block by block without leaving one out; what this node no longer keeps is told as `gap`.
//! After the events of a block comes `head`; the id of either is where to go on after a broken connection.

use std::collections::{BTreeMap, VecDeque};
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::sse::{Event as Message, Sse};
use axum::response::{IntoResponse, Response};
use futures::stream::{self, Stream};
use serde::Deserialize;
use serde_json::{Value, json};
use surety_ledger::market::state::PURCHASES;
use surety_ledger::{Event, Receipt};
use surety_primitives::{Address, DatasetId, Height, ProviderId, PurchaseId, ServiceId};
use tokio::sync::broadcast::Receiver;
use tokio::sync::broadcast::error::RecvError;
use tokio::sync::{OwnedSemaphorePermit, watch};

use super::backend::FinalBlock;
use super::chain::tip;
use super::extract::{Asked, parse};
use super::problem::{Problem, Result};
use super::{Api, Shared, stopped};

/// How far back a stream may begin, in blocks.
const MAX_BACK: u64 = 100_000;
/// After so long without a block a comment keeps the connection open.
const KEEP_ALIVE: Duration = Duration::from_secs(15);
/// Announced blocks that one stream keeps.
const MAX_LIVE: usize = 64;
/// How often a block near the tip is looked for before it counts as not kept.
const TRIES: u32 = 20;
/// Between two tries.
const TRY_AGAIN: Duration = Duration::from_millis(100);
/// What clients wait before they connect again.
const RETRY: Duration = Duration::from_secs(1);
/// Modules that emit events.
pub(crate) const MODULES: [&str; 3] = ["bank", "operators", "market"];

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Filters {
    provider: Option<u64>,
    account: Option<String>,
    module: Option<String>,
    from: Option<u64>,
}

struct Filter {
    provider: Option<ProviderId>,
    account: Option<Value>,
    module: Option<String>,
}

/// The next event to send: the height, and how many events of that block were sent before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Cursor {
    height: u64,
    skip: usize,
}

pub(crate) async fn events(
    State(api): State<Shared>,
    headers: HeaderMap,
    Asked(asked): Asked<Filters>,
) -> Result<Response> {
    let tip = tip(&api)?.height.0;
    let account = asked.account.map(|text| parse::<Address>("account", &text)).transpose()?;
    if let Some(module) = asked.module.as_ref().filter(|module| !MODULES.contains(&module.as_str())) {
        return Err(Problem::parameter("module", format!("'{module}' is none of {MODULES:?}")));
    }
    let cursor = match headers.get("last-event-id") {
        Some(id) => id.to_str().ok().and_then(after),
        None => Some(Cursor { height: asked.from.unwrap_or(tip.saturating_add(1)), skip: 0 }),
    };
    let cursor = cursor.ok_or_else(|| Problem::parameter("last-event-id", "not an id of this stream"))?;
    if cursor.height > tip.saturating_add(1) {
        return Err(Problem::parameter("from", format!("the newest final block is {tip}")));
    }
    let permit = api.place()?;
    let filter = Filter {
        provider: asked.provider.map(ProviderId),
        account: account.map(|account| json!(account)),
        module: asked.module,
    };
    let feed = Feed {
        blocks: api.backend.subscribe(),
        stop: api.stop.clone(),
        api,
        filter,
        cursor,
        live: BTreeMap::new(),
        tries: 0,
        pending: VecDeque::from([Message::default().retry(RETRY).comment("surety")]),
        _permit: permit,
    };
    Ok(Sse::new(feed.stream()).into_response())
}

/// Where to go on after the message with this id: `height` or `height:n`.
fn after(id: &str) -> Option<Cursor> {
    match id.split_once(':') {
        None => Some(Cursor { height: id.parse::<u64>().ok()?.checked_add(1)?, skip: 0 }),
        Some((height, n)) => {
            Some(Cursor { height: height.parse().ok()?, skip: n.parse::<usize>().ok()?.checked_add(1)? })
        }
    }
}

struct Feed {
    api: Shared,
    filter: Filter,
    cursor: Cursor,
    blocks: Receiver<Arc<FinalBlock>>,
    stop: watch::Receiver<bool>,
    /// Blocks that were announced and not told yet: they need not be read.
    live: BTreeMap<u64, Arc<FinalBlock>>,
    /// How often the current block was looked for without its receipts.
    tries: u32,
    pending: VecDeque<Message>,
    _permit: OwnedSemaphorePermit,
}

impl Feed {
    fn stream(self) -> impl Stream<Item = std::result::Result<Message, Infallible>> {
        stream::unfold(self, |mut feed| async move {
            loop {
                if let Some(message) = feed.pending.pop_front() {
                    return Some((Ok(message), feed));
                }
                if *feed.stop.borrow() {
                    return None;
                }
                feed.advance().await?;
            }
        })
    }

    /// Takes the next block in, or waits for it; `None` when there will be none.
    async fn advance(&mut self) -> Option<()> {
        let newest = self.api.backend.tip().map_or(0, |tip| tip.height.0);
        if self.cursor.height > newest {
            tokio::select! {
                block = self.blocks.recv() => match block {
                    Ok(block) => self.keep(block),
                    Err(RecvError::Lagged(_)) => {}
                    Err(RecvError::Closed) => return None,
                },
                () = tokio::time::sleep(KEEP_ALIVE) => self.pending.push_back(Message::default().comment("")),
                () = stopped(&mut self.stop) => return None,
            }
            return Some(());
        }
        let least = newest.saturating_sub(MAX_BACK);
        if self.cursor.height < least {
            self.gap(least);
            return Some(());
        }
        while let Ok(block) = self.blocks.try_recv() {
            self.keep(block);
        }
        match self.block(self.cursor.height).await {
            Some(block) if is_told(&block) => self.tell(&block).await,
            // The receipts of the newest blocks are on their way to the disk.
            _ if newest.saturating_sub(self.cursor.height) < MAX_LIVE as u64 && self.tries < TRIES => {
                self.tries = self.tries.saturating_add(1);
                tokio::time::sleep(TRY_AGAIN).await;
            }
            _ => {
                let mut to = self.cursor.height.saturating_add(1);
                while to <= newest && !self.block(to).await.is_some_and(|block| is_told(&block)) {
                    to = to.saturating_add(1);
                }
                self.gap(to);
            }
        }
        Some(())
    }

    async fn block(&self, height: u64) -> Option<Arc<FinalBlock>> {
        match self.live.get(&height) {
            Some(live) => Some(Arc::clone(live)),
            None => self.api.backend.block(Height(height)).await.map(Arc::new),
        }
    }

    fn keep(&mut self, block: Arc<FinalBlock>) {
        if is_told(&block) {
            self.live.insert(block.header.height.0, block);
        }
        if self.live.len() > MAX_LIVE {
            self.live.pop_first();
        }
    }

    fn go_on(&mut self, height: u64) {
        self.cursor = Cursor { height, skip: 0 };
        self.live = self.live.split_off(&height);
        self.tries = 0;
    }

    /// Says that the blocks before `to` are not kept here.
    fn gap(&mut self, to: u64) {
        let last = to.saturating_sub(1);
        let message = json!({"from": self.cursor.height, "to": last});
        self.pending.push_back(written("gap", last.to_string(), &message));
        self.go_on(to);
    }

    async fn tell(&mut self, block: &FinalBlock) {
        let height = block.header.height.0;
        for (n, (receipt, event)) in events_of(block).into_iter().enumerate().skip(self.cursor.skip) {
            let event = json!(event);
            let signer = json!(receipt.signer);
            if !self.filter.matches(&self.api, &event, &signer).await {
                continue;
            }
            let message = json!({
                "height": height,
                "clock": block.header.clock,
                "transaction": receipt.hash,
                "signer": signer,
                "event": event,
            });
            self.pending.push_back(written("event", format!("{height}:{n}"), &message));
        }
        let head = json!({"height": height, "clock": block.header.clock, "digest": block.header.digest()});
        self.pending.push_back(written("head", height.to_string(), &head));
        self.go_on(height.saturating_add(1));
    }
}

/// Whether the block says what its transactions did.
fn is_told(block: &FinalBlock) -> bool {
    block.receipts.is_some() || block.transactions.is_empty()
}

fn events_of(block: &FinalBlock) -> Vec<(&Receipt, &Event)> {
    let mut events = Vec::new();
    for receipt in block.receipts.iter().flat_map(|receipts| receipts.iter()) {
        events.extend(receipt.events.iter().map(|event| (receipt, event)));
    }
    events
}

fn written(kind: &str, id: String, message: &Value) -> Message {
    Message::default().event(kind).id(id).data(message.to_string())
}

impl Filter {
    async fn matches(&self, api: &Api, event: &Value, signer: &Value) -> bool {
        let module = self.module.as_ref().is_none_or(|module| event["module"] == module.as_str());
        let account = self.account.as_ref().is_none_or(|account| {
            signer == account || event.as_object().is_some_and(|fields| fields.values().any(|value| value == account))
        });
        module && account && self.concerns_provider(api, event).await
    }

    async fn concerns_provider(&self, api: &Api, event: &Value) -> bool {
        let Some(wanted) = self.provider else { return true };
        let number = |field: &str| event.get(field).and_then(Value::as_u64);
        if let Some(named) = number("provider").or_else(|| number("publisher")) {
            return named == wanted.0;
        }
        if let Some(service) = number("service") {
            return api.index.provider_of(ServiceId(service)) == Some(wanted);
        }
        if let Some(dataset) = number("dataset") {
            return api.index.publisher_of(DatasetId(dataset)) == Some(wanted);
        }
        let purchase = event.get("purchase").and_then(Value::as_str).and_then(|id| id.parse::<PurchaseId>().ok());
        let Some(purchase) = purchase else { return false };
        let record = api.get(PURCHASES, &purchase).await;
        record.is_ok_and(|(record, _)| record.is_some_and(|record| record.provider == wanted))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_say_where_to_go_on() {
        assert_eq!(after("7"), Some(Cursor { height: 8, skip: 0 }));
        assert_eq!(after("7:2"), Some(Cursor { height: 7, skip: 3 }));
        for bad in ["", ":", "7:", "x", "-1", "18446744073709551615"] {
            assert_eq!(after(bad), None, "{bad}");
        }
    }
}

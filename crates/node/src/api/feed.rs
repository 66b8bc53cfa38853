//! A provider's feed of sales (`market.md` B7): the cursor is the number of the sale, so that a gap would show.

use std::sync::Arc;

use axum::extract::State;
use serde::Deserialize;
use serde_json::{Value, json};
use surety_ledger::market::state::{PROVIDERS, PURCHASES, SALES};
use surety_primitives::api::Sale;
use surety_primitives::header::Header;
use surety_primitives::{ProviderId, PurchaseId};
use tokio::sync::OwnedSemaphorePermit;
use tokio::sync::broadcast::error::RecvError;
use tokio::time::{Duration, Instant};

use super::extract::{Asked, Flag, Reply, Segment, page, wait};
use super::problem::{Kind, Problem, Result};
use super::{Api, Shared, stopped};

/// Most sales of a page with proofs: each brings two.
const MAX_PROVEN: usize = 25;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct FeedPage {
    cursor: Option<u64>,
    wait: Option<u64>,
    limit: Option<u32>,
    #[serde(default)]
    proof: Flag,
}

impl Api {
    /// A place for a stream or a long poll, given back when dropped.
    pub(crate) fn place(&self) -> Result<OwnedSemaphorePermit> {
        let permit = Arc::clone(&self.streams).try_acquire_owned();
        permit.map_err(|_| Problem::new(Kind::TooManyStreams, "try again later, or without waiting"))
    }

    /// Streams and long polls that are open.
    pub(crate) fn open_streams(&self) -> usize {
        self.limits.streams.saturating_sub(self.streams.available_permits())
    }

    /// Asks again after every final block until there is something, the time is over or the node stops.
    pub(crate) async fn wait_for<T, F>(&self, time: Duration, mut ask: impl FnMut() -> F) -> Result<Option<T>>
    where
        F: Future<Output = Result<Option<T>>>,
    {
        let until = Instant::now() + time;
        let mut blocks = self.backend.subscribe();
        if let Some(found) = ask().await? {
            return Ok(Some(found));
        }
        if time.is_zero() {
            return Ok(None);
        }
        let _place = self.place()?;
        let mut stop = self.stop.clone();
        loop {
            let block = tokio::select! {
                block = blocks.recv() => block,
                () = tokio::time::sleep_until(until) => return Ok(None),
                () = stopped(&mut stop) => return Ok(None),
            };
            if matches!(block, Err(RecvError::Closed)) {
                return Ok(None);
            }
            if let Some(found) = ask().await? {
                return Ok(Some(found));
            }
        }
    }
}

pub(crate) async fn feed(
    State(api): State<Shared>,
    Segment(provider): Segment<ProviderId>,
    Asked(asked): Asked<FeedPage>,
) -> Result<Reply<Value>> {
    let time = wait(asked.wait, api.limits.wait_seconds)?;
    let mut limit = page(asked.limit, if asked.proof.0 { MAX_PROVEN as u32 } else { 100 })?;
    if asked.proof.0 {
        limit = limit.min(MAX_PROVEN);
    }
    let cursor = asked.cursor.unwrap_or(0);
    let sales = || async {
        let (record, _) = api.need(PROVIDERS, &provider, "provider").await?;
        Ok(Some(record.sales).filter(|sales| *sales > cursor))
    };
    let Some(sales) = api.wait_for(time, sales).await? else {
        let (record, header) = api.need(PROVIDERS, &provider, "provider").await?;
        return Ok(page_of(Vec::new(), cursor, record.sales, &header));
    };
    let next = sales.min(cursor.saturating_add(limit as u64));
    let numbers: Vec<(ProviderId, u64)> = (cursor..next).map(|n| (provider, n)).collect();
    let (ids, header) = api.get_many(SALES, &numbers).await?;
    let known = numbers.into_iter().zip(ids).filter_map(|(number, id)| Some((number, id?)));
    let (numbers, ids): (Vec<(ProviderId, u64)>, Vec<PurchaseId>) = known.unzip();
    let (records, _) = api.get_many(PURCHASES, &ids).await?;
    let mut items = Vec::with_capacity(ids.len());
    for ((number, purchase), record) in numbers.into_iter().zip(ids).zip(records) {
        // What was settled and swept is left out; its number stays free, so that the reader sees it was there.
        let Some(record) = record else { continue };
        let mut item = json!(Sale { n: number.1, purchase, record });
        if asked.proof.0 {
            item["sale_proof"] = json!(api.prove(SALES.key(&number)).await?);
            item["proof"] = json!(api.prove(PURCHASES.key(&purchase)).await?);
        }
        items.push(item);
    }
    Ok(page_of(items, next, sales, &header))
}

fn page_of(items: Vec<Value>, cursor: u64, sales: u64, header: &Header) -> Reply<Value> {
    Reply(json!({
        "items": items,
        "cursor": cursor,
        "clock": header.clock,
        "sales": sales,
        "height": header.height,
    }))
}

//! Blocks, proofs, committee, parameters, and how the node is.

use std::time::Duration;

use axum::extract::State;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Deserialize;
use serde_json::{Value, json};
use surety_ledger::epochs::{self, COMMITTEE, WEIGHTS};
use surety_ledger::fees::FEES;
use surety_ledger::operators::OPERATORS;
use surety_ledger::params::{PARAMS, Params};
use surety_ledger::{SignedTransaction, bank};
use surety_primitives::api::{AuditView, BlockView, CommitteeView, Page, StatusView};
use surety_primitives::header::Header;
use surety_primitives::{Address, Epoch, Hash32, Height, NetworkId, OperatorId};

use super::backend::FinalBlock;
use super::extract::{Asked, Nothing, Reply, Segment, page, parse};
use super::problem::{Kind, Problem, Result};
use super::read::{RowView, with};
use super::{Api, Shared};

/// Without a final block for so long, the network is at a halt or this node is cut off: idle blocks come every 10 s at least.
const STALLED: Duration = Duration::from_secs(45);

/// A block, the hashes of its transactions, what they did, and the proof that it is final.
async fn block_view(api: &Api, block: FinalBlock) -> Result<Value> {
    let proof = api.backend.prove_final(&block.header).await;
    let network = api.backend.genesis().network;
    let FinalBlock { header, transactions: signed, receipts } = block;
    let hashes = match &receipts {
        Some(receipts) => receipts.iter().map(|receipt| receipt.hash).collect(),
        None => hashes(signed.clone(), network).await?,
    };
    let view = BlockView { hash: header.digest(), header, transactions: hashes };
    let (path, finality) = proof.map(|proof| (proof.path, proof.finality)).unzip();
    Ok(with(
        &view,
        json!({
            "path": path,
            "finality": finality,
            "signed": signed,
            "receipts": receipts.as_deref(),
        }),
    ))
}

/// Transactions are named by their signers, so without receipts every signature is checked again.
async fn hashes(signed: Vec<SignedTransaction>, network: NetworkId) -> Result<Vec<Hash32>> {
    let verify = move || signed.into_iter().filter_map(|one| Some(one.verify(network).ok()?.hash())).collect();
    let verified = tokio::task::spawn_blocking(verify).await;
    verified.map_err(|_| Problem::new(Kind::NotReady, "the node is stopping"))
}

/// The newest final header that was applied here.
pub(crate) fn tip(api: &Api) -> Result<Header> {
    api.backend.tip().ok_or_else(|| Problem::new(Kind::NotReady, "the node has no state yet"))
}

pub(crate) async fn latest_block(State(api): State<Shared>, Asked(Nothing {}): Asked<Nothing>) -> Result<Reply<Value>> {
    let height = tip(&api)?.height;
    let block = api.backend.block(height).await;
    let block = block.ok_or_else(|| Problem::new(Kind::Pruned, "the newest block is not kept here yet"))?;
    Ok(Reply(block_view(&api, block).await?))
}

pub(crate) async fn block(
    State(api): State<Shared>,
    Segment(height): Segment<Height>,
    Asked(Nothing {}): Asked<Nothing>,
) -> Result<Reply<Value>> {
    if height > tip(&api)?.height || height == Height(0) {
        return Err(Problem::new(Kind::NotFound, "there is no such block yet"));
    }
    let block = api.backend.block(height).await;
    let block = block.ok_or_else(|| Problem::new(Kind::Pruned, "this node no longer keeps this block"))?;
    Ok(Reply(block_view(&api, block).await?))
}

pub(crate) async fn finalized(State(api): State<Shared>, Asked(Nothing {}): Asked<Nothing>) -> Result<Reply<Value>> {
    let latest = api.backend.latest().await;
    let latest = latest.ok_or_else(|| Problem::new(Kind::NotReady, "no block is known to be final yet"))?;
    Ok(Reply(with(&latest, json!({"hash": latest.header.digest()}))))
}

pub(crate) async fn row(
    State(api): State<Shared>,
    Segment(key): Segment<Hash32>,
    Asked(Nothing {}): Asked<Nothing>,
) -> Result<Reply<RowView>> {
    Ok(Reply(api.prove(key).await?))
}

pub(crate) async fn committee(State(api): State<Shared>, Asked(Nothing {}): Asked<Nothing>) -> Result<Reply<Value>> {
    let epoch = tip(&api)?.epoch;
    let (seats, header) = api.need(COMMITTEE, &epoch, "committee").await?;
    let genesis = api.backend.genesis();
    let committee = epochs::committee(genesis.network, genesis.hash(), epoch, &seats);
    let quorum = committee.quorum();
    let view = CommitteeView { committee, security: epochs::security(&seats), seats };
    Ok(Reply(with(&view, json!({"quorum": quorum, "height": header.height}))))
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct OperatorPage {
    cursor: Option<String>,
    limit: Option<u32>,
}

pub(crate) async fn operators(State(api): State<Shared>, Asked(asked): Asked<OperatorPage>) -> Result<Reply<Value>> {
    let limit = page(asked.limit, 100)?;
    let after = asked.cursor.map(|text| parse::<Address>("cursor", &text)).transpose()?.map(OperatorId);
    let ids = api.index.operators(after, limit);
    let (records, header) = api.get_many(OPERATORS, &ids).await?;
    let (weights, _) = api.get(WEIGHTS, &header.epoch).await?;
    let weights = weights.unwrap_or_default();
    let items: Vec<Value> = records
        .into_iter()
        .flatten()
        .map(|operator| {
            let weight = weights.iter().find(|row| row.operator == operator.id).map(|row| row.weight);
            with(&operator, json!({"weight": weight.unwrap_or_default()}))
        })
        .collect();
    let next = ids.last().filter(|_| ids.len() == limit).map(ToString::to_string);
    Ok(Reply(with(&Page { items, next }, json!({"height": header.height}))))
}

pub(crate) async fn params(State(api): State<Shared>, Asked(Nothing {}): Asked<Nothing>) -> Result<Reply<Params>> {
    let (params, _) = api.get(PARAMS, &()).await?;
    Ok(Reply(params.unwrap_or_default()))
}

pub(crate) async fn fees(State(api): State<Shared>, Asked(Nothing {}): Asked<Nothing>) -> Result<Reply<Value>> {
    let (params, header) = api.get(PARAMS, &()).await?;
    let params = params.unwrap_or_default();
    let (split, _) = api.need(FEES, &(), "split").await?;
    Ok(Reply(with(
        &split,
        json!({
            "height": header.height,
            "purchase": params.fee_purchase,
            "claim_per_voucher": params.fee_voucher,
            "other": params.fee_other,
            "row_deposit": params.row_deposit,
            "fee_burned_bps": params.fee_burned_bps,
            "take_bps": params.take_bps,
            "treasury_bps": params.treasury_bps,
        }),
    )))
}

pub(crate) async fn supply(State(api): State<Shared>, Asked(Nothing {}): Asked<Nothing>) -> Result<Reply<Value>> {
    let (totals, header) = api.get(bank::TOTALS, &()).await?;
    let totals = totals.unwrap_or_default();
    let supply = totals.minted.saturating_sub(totals.burned);
    Ok(Reply(with(
        &totals,
        json!({
            "height": header.height,
            "supply": supply,
            "in_pools": totals.in_pools(),
            "in_accounts": supply.saturating_sub(totals.in_pools()),
        }),
    )))
}

/// Adds the whole state up. What is wrong is an answer, not a failure of the request.
pub(crate) async fn audit(State(api): State<Shared>, Asked(Nothing {}): Asked<Nothing>) -> Result<Reply<AuditView>> {
    let export = api.backend.export();
    let export = export.ok_or_else(|| Problem::new(Kind::NotOffered, "audits are not switched on at this node"))?;
    let _one = api.auditing.try_acquire().map_err(|_| Problem::new(Kind::Busy, "an audit is under way"))?;
    let (rows, header) = export.await?;
    let count = rows.0.len() as u64;
    let audited = tokio::task::spawn_blocking(move || surety_ledger::audit::audit(&rows)).await;
    let audited = audited.map_err(|_| Problem::new(Kind::NotReady, "the node is stopping"))?;
    let (sums, failure) = match audited {
        Ok(sums) => (Some(sums), None),
        Err(failure) => (None, Some(failure.to_string())),
    };
    Ok(Reply(AuditView {
        height: header.height,
        state_root: header.state_root,
        rows: count,
        in_accounts: sums.map(|sums| sums.in_accounts).unwrap_or_default(),
        in_pools: sums.map(|sums| sums.in_pools).unwrap_or_default(),
        supply: sums.map(|sums| sums.supply).unwrap_or_default(),
        failure,
    }))
}

pub(crate) async fn status(State(api): State<Shared>, Asked(Nothing {}): Asked<Nothing>) -> Reply<Value> {
    let genesis = api.backend.genesis();
    let tip = api.backend.tip();
    let health = api.backend.health();
    let view = StatusView {
        network: genesis.network,
        genesis: genesis.hash(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        height: tip.as_ref().map(|tip| tip.height),
        clock: tip.as_ref().map(|tip| tip.clock),
        time_ms: tip.as_ref().map(|tip| tip.time_ms),
        state_root: tip.as_ref().map(|tip| tip.state_root),
        mempool: health.waiting_transactions as u64,
        peers: health.peers as u64,
    };
    let further = json!({
        "epoch": tip.map_or(Epoch(0), |tip| tip.epoch),
        "mempool_bytes": health.waiting_bytes,
        "mempool_accounts": health.waiting_accounts,
        "faults": health.faults,
        "voting": health.voting,
        "index": api.index.size(),
        "connections": api.meters.connections.get(),
        "streams": api.open_streams(),
    });
    Reply(with(&view, further))
}

pub(crate) async fn health(State(api): State<Shared>, Asked(Nothing {}): Asked<Nothing>) -> Response {
    let tip = api.backend.tip();
    let health = api.backend.health();
    let stopping = *api.stop.borrow();
    let stalled = health.since_block.is_some_and(|since| since > STALLED);
    let status = match (&tip, stopping) {
        (_, true) => "stopping",
        (None, _) => "starting",
        (Some(_), _) if stalled => "stalled",
        (Some(_), _) => "ok",
    };
    let height = tip.map(|tip| tip.height);
    let mut response = Reply(json!({"status": status, "height": height, "voting": health.voting})).into_response();
    if status != "ok" {
        *response.status_mut() = StatusCode::SERVICE_UNAVAILABLE;
    }
    response
}

pub(crate) async fn metrics(State(api): State<Shared>, Asked(Nothing {}): Asked<Nothing>) -> Response {
    let mut response =
        api.meters.text(&api.backend.metrics(), api.open_streams(), api.backend.health().voting).into_response();
    let text = HeaderValue::from_static("text/plain; version=0.0.4; charset=utf-8");
    response.headers_mut().insert(header::CONTENT_TYPE, text);
    response
}

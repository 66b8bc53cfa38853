//! The endpoints under `/.well-known/surety` (`market.md` D2).

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use hyper::body::Incoming;
use hyper::header::{CONTENT_TYPE, HeaderValue};
use hyper::{Method, Request, Response, Uri};
use serde::Serialize;
use serde::de::DeserializeOwned;
use surety_primitives::access::{
    CHAIN_HEADER, Call, Flags, NO_REQUEST, ProblemKind, SignedCall, check_deadline, decode_call, encode_b64,
    verify_signed_call,
};
use surety_primitives::api::{LaneStatus, SettleReply, SettleRequest, WellKnown};
use surety_primitives::{Lane, PurchaseId, Seconds};

use crate::admit::sent_bound;
use crate::body::{ReplyBody, read_request};
use crate::ledger::MAX_GRANT;
use crate::meter::Need;
use crate::package::{Bound, Package};
use crate::refusal::Refusal;
use crate::state::{State, store_down, wall};
use crate::store::StoredVoucher;

const BASE: &str = "/.well-known/surety";
/// Most signed heads in one request.
const MAX_CALLS: usize = 1_024;
/// Most Answers in one reply.
const MAX_ANSWERS: usize = 256;

/// Whether a path is one of these.
pub(crate) fn is_ours(path: &str) -> bool {
    path.strip_prefix(BASE).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

/// Answers one of these.
pub(crate) async fn handle(state: &Arc<State>, request: Request<Incoming>) -> Result<Response<ReplyBody>, Refusal> {
    let rest = request.uri().path().strip_prefix(BASE).unwrap_or_default();
    match (request.method(), rest) {
        (&Method::GET, "" | "/") => Ok(json(&who(state))),
        (&Method::POST, "/grants") => grants(state, request).await,
        (&Method::POST, "/settle") => settle(state, request).await,
        (&Method::POST, "/status") => status(state, request).await,
        (&Method::GET, "/answers") => answers(state, request).await,
        _ => Err(malformed("no such endpoint, or another method")),
    }
}

fn who(state: &State) -> WellKnown {
    WellKnown {
        network: state.ledger.network(),
        provider: state.config.provider,
        key: state.key.public(),
        authority: state.authority.clone(),
        services: state.config.services.iter().map(|service| service.id).collect(),
        clock: state.ledger.clock().now,
        server_time: wall(),
    }
}

#[derive(Serialize)]
struct Granted {
    purchase: PurchaseId,
    remaining: u64,
    end: Seconds,
}

async fn grants(state: &Arc<State>, request: Request<Incoming>) -> Result<Response<ReplyBody>, Refusal> {
    let proof = read_request(request.into_body(), MAX_GRANT, state.config.limits.read_timeout()).await?;
    state.ledger_now(false)?;
    let _permit = state.lookup_permit()?;
    let view = state.ledger.check_grant(proof.to_vec()).await.map_err(|error| {
        // What does not hold is the caller's; what cannot be asked is not.
        match error {
            crate::error::LedgerError::Unreachable(_) => {
                Refusal::new(ProblemKind::LedgerStale, "the ledger cannot be asked now").retry_after(2)
            }
            other => malformed(&format!("the grant does not hold: {other}")),
        }
    })?;
    let id = view.grant.purchase;
    let ours = view.provider == state.config.provider && !view.settled;
    if !ours {
        return Err(
            Refusal::new(ProblemKind::PaymentRequired, "this provider has sold no such package").needs("payment")
        );
    }
    let package = match state.packages.get(&id) {
        Some(package) => package,
        None => state.admit_package(id, view).await?,
    };
    let (view, remaining) = (package.view(), package.lock().meter.remaining());
    Ok(json(&Granted { purchase: id, remaining, end: view.grant.end }))
}

/// Acknowledgements without a call. The reply comes when they are durable.
async fn settle(state: &Arc<State>, request: Request<Incoming>) -> Result<Response<ReplyBody>, Refusal> {
    let (package, calls, bound) = signed_heads(state, request).await?;
    for call in &calls {
        let lane = call.head().lane;
        package.satisfy(Need::Lane, lane, state.store.as_ref()).await.map_err(|error| store_down(&error))?;
        let voucher = StoredVoucher {
            voucher: call.voucher(NO_REQUEST),
            key_version: bound.key_version,
            chain: bound.chain.clone(),
        };
        keep(state, &package, lane, voucher)?;
    }
    state.store.sync().await.map_err(|error| store_down(&error))?;
    let lanes: Vec<Lane> = calls.iter().map(|call| call.head().lane).collect();
    Ok(json(&told(&package, &lanes)))
}

fn keep(state: &State, package: &Package, lane: Lane, voucher: StoredVoucher) -> Result<(), Refusal> {
    let cum = voucher.voucher.head().cum;
    let mut inner = package.lock();
    let meter = &mut inner.meter;
    if meter.lane(lane).is_some_and(|known| cum < known.best()) {
        return Err(meter.problem(ProblemKind::CumBehind, lane).into());
    }
    let news = meter.acknowledge(lane, &voucher, state.now_ms()).map_err(|kind| meter.problem(kind, lane))?;
    if news {
        let fence = meter.lane(lane).map_or(0, |lane| lane.fence);
        state.store.put_voucher(package.id, lane, fence, voucher);
    }
    Ok(())
}

/// What is known of lanes, to whoever can sign for them.
async fn status(state: &Arc<State>, request: Request<Incoming>) -> Result<Response<ReplyBody>, Refusal> {
    let (package, calls, _) = signed_heads(state, request).await?;
    for call in &calls {
        // Without an owner a lane has no floor that could be told.
        let owned = package.satisfy(Need::Lane, call.head().lane, state.store.as_ref()).await;
        owned.map_err(|error| store_down(&error))?;
    }
    let lanes: Vec<Lane> = calls.iter().map(|call| call.head().lane).collect();
    Ok(json(&told(&package, &lanes)))
}

fn told(package: &Package, lanes: &[Lane]) -> SettleReply {
    let inner = package.lock();
    let known = |lane: &Lane| {
        inner.meter.lane(*lane).map(|meter| LaneStatus {
            lane: *lane,
            seq: meter.high(),
            cum: meter.best(),
            floor: meter.floor(),
        })
    };
    SettleReply {
        purchase: package.id,
        remaining: inner.meter.remaining(),
        lanes: lanes.iter().filter_map(known).collect(),
    }
}

/// Reads and checks signed voucher-only heads of one purchase, under one authority.
async fn signed_heads(
    state: &Arc<State>,
    request: Request<Incoming>,
) -> Result<(Arc<Package>, Vec<SignedCall>, Arc<Bound>), Refusal> {
    let limits = &state.config.limits;
    let (mut parts, body) = request.into_parts();
    let body = read_request(body, limits.body_bytes, limits.read_timeout()).await?;
    let SettleRequest { calls, chain } = read_json(&body)?;
    if calls.is_empty() || calls.len() > MAX_CALLS {
        return Err(malformed(&format!("1 to {MAX_CALLS} calls are expected")));
    }
    if let Some(chain) = chain {
        let value = HeaderValue::from_str(&chain).map_err(|_| malformed("the chain is not plain text"))?;
        parts.headers.insert(CHAIN_HEADER, value);
    }
    let calls = calls.iter().map(|text| voucher_only(text)).collect::<Result<Vec<_>, _>>()?;
    let purchase = calls[0].head().purchase;
    let Some(package) = state.package(purchase).await? else {
        return Err(
            Refusal::new(ProblemKind::PaymentRequired, "this provider has sold no such package").needs("payment")
        );
    };
    let bound = check_heads(state, &package, &calls, &parts.headers).await?;
    Ok((package, calls, bound))
}

fn voucher_only(text: &str) -> Result<SignedCall, Refusal> {
    match decode_call(text)? {
        Call::Signed(call) if call.head().flags.has(Flags::VOUCHER) => Ok(call),
        _ => Err(malformed("a signed voucher-only call is expected")),
    }
}

/// All under one authority: the chain's that came along, else the root key's, else that of the first lane's caller.
async fn check_heads(
    state: &State,
    package: &Arc<Package>,
    calls: &[SignedCall],
    headers: &hyper::HeaderMap,
) -> Result<Arc<Bound>, Refusal> {
    let first = calls[0].head().lane;
    let snapshot = package.snapshot(first);
    let sent = sent_bound(state, package, &snapshot, headers).await?;
    let was_sent = sent.is_some();
    let mut bound = sent.unwrap_or_else(|| Arc::clone(&snapshot.root));
    for (index, call) in calls.iter().enumerate() {
        check_deadline(call.head().deadline, wall())?;
        let result = verify_signed_call(call, &bound.authority, &NO_REQUEST);
        if result.is_err()
            && index == 0
            && !was_sent
            && let Some(own) = &snapshot.bound
        {
            verify_signed_call(call, &own.authority, &NO_REQUEST)?;
            bound = Arc::clone(own);
            continue;
        }
        result?;
    }
    if bound.is_revoked() {
        return Err(Refusal::new(ProblemKind::Revoked, "the key or a sub-grant above it is revoked"));
    }
    Ok(bound)
}

#[derive(Serialize)]
struct LoggedAnswer {
    seq: u64,
    answer: String,
}

/// Signed Answers of a lane, for whoever can sign for it: `?lane=&from=`, with a signed voucher-only head as call header.
async fn answers(state: &Arc<State>, request: Request<Incoming>) -> Result<Response<ReplyBody>, Refusal> {
    let text = request.headers().get(surety_primitives::access::CALL_HEADER).and_then(|value| value.to_str().ok());
    let call = voucher_only(text.ok_or_else(|| malformed("a signed voucher-only head is expected as call header"))?)?;
    let Some(package) = state.package(call.head().purchase).await? else {
        return Err(
            Refusal::new(ProblemKind::PaymentRequired, "this provider has sold no such package").needs("payment")
        );
    };
    let bound = check_heads(state, &package, &[call], request.headers()).await?;
    let lane = Lane(query(request.uri(), "lane")?);
    if !bound.authority.has_lane(lane) {
        return Err(Refusal::new(ProblemKind::LaneOutside, "the lane is outside what this key may use"));
    }
    let from: u64 = query(request.uri(), "from")?;
    let logged = state.store.answers(package.id, lane, from, MAX_ANSWERS).await.map_err(|error| store_down(&error))?;
    let logged: Vec<LoggedAnswer> = with_lost(state, &package, lane, from, logged)
        .into_iter()
        .map(|(seq, answer)| LoggedAnswer { seq, answer: encode_b64(&answer) })
        .collect();
    Ok(json(&logged))
}

/// What is written down, and what was given lately where nothing is: each call of a lane once, in order.
fn with_lost(
    state: &State,
    package: &Package,
    lane: Lane,
    from: u64,
    logged: Vec<(u64, Vec<u8>)>,
) -> Vec<(u64, Vec<u8>)> {
    let lost = package.lock().replies.of(lane, from);
    let mut all: BTreeMap<u64, Vec<u8>> =
        lost.into_iter().take(MAX_ANSWERS).map(|(seq, answer)| (seq, answer.sign(&state.key).to_bytes())).collect();
    all.extend(logged);
    all.into_iter().take(MAX_ANSWERS).collect()
}

fn query<T: std::str::FromStr>(uri: &Uri, name: &str) -> Result<T, Refusal> {
    let pairs = uri.query().unwrap_or_default().split('&').filter_map(|pair| pair.split_once('='));
    let value = pairs.filter(|(key, _)| *key == name).map(|(_, value)| value).next();
    value.and_then(|value| value.parse().ok()).ok_or_else(|| malformed(&format!("'{name}' is missing or no number")))
}

fn read_json<T: DeserializeOwned>(body: &Bytes) -> Result<T, Refusal> {
    serde_json::from_slice(body).map_err(|error| malformed(&format!("not the JSON that is expected: {error}")))
}

fn json<T: Serialize>(value: &T) -> Response<ReplyBody> {
    let body = serde_json::to_vec(value).unwrap_or_default();
    let mut response = Response::new(ReplyBody::full(Bytes::from(body)));
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}

fn malformed(detail: &str) -> Refusal {
    Refusal::new(ProblemKind::Malformed, detail)
}

//! A call's way from its bytes to its admission, in the order of `market.md` D3: steps 1 to 12. No state changes before
//! step 9.

use std::sync::Arc;

use bytes::Bytes;
use hyper::HeaderMap;
use hyper::http::request::Parts;
use surety_primitives::access::{
    CALL_HEADER, CHAIN_HEADER, Call, CallContext, Error as AccessError, Flags, Head, LaneKey, ProblemKind,
    SCOPE_HEADER, body_hash, check_deadline, decode_call, decode_chain, decode_scopes, request_hash, verify_call,
};
use surety_primitives::{Hash32, Lane, Seconds};

use crate::ledger::PurchaseView;
use crate::meter::{Admission, Ask, StoredReply};
use crate::package::{Bound, Package, Snapshot};
use crate::refusal::Refusal;
use crate::state::{Route, State, store_down, wall};
use crate::store::StoredVoucher;

/// How often a call may ask the store for something before it is told to come back: W and quota come in parts, which others
/// may use up first.
const MAX_ROUNDS: usize = 32;

/// A call that is to be forwarded, or was answered before.
pub(crate) enum Admitted {
    /// To be forwarded.
    New(Ticket),
    /// Answered before.
    Again(Arc<Package>, Lane, StoredReply),
}

/// What an admitted call carries to its reply.
pub(crate) struct Ticket {
    pub(crate) package: Arc<Package>,
    pub(crate) head: Head,
    pub(crate) request: Hash32,
    /// The key that the reply is tagged with, if there is one.
    pub(crate) key: Option<Arc<LaneKey>>,
    /// The purchase's row.
    pub(crate) view: Arc<PurchaseView>,
    /// Ledger time of the admission.
    pub(crate) now: Seconds,
}

/// Step 1: the call, or the price where there is none.
pub(crate) fn read_call(route: &Route, headers: &HeaderMap) -> Result<Call, Refusal> {
    let Some(text) = text(headers, CALL_HEADER)? else {
        return Err(route.unpaid(ProblemKind::PaymentRequired, "this API is paid: buy a package of calls"));
    };
    let call = decode_call(text)?;
    if call.head().flags.has(Flags::VOUCHER) {
        return Err(Refusal::new(
            ProblemKind::Malformed,
            "a voucher is no call: post it to /.well-known/surety/settle",
        ));
    }
    Ok(call)
}

/// Step 2: the purchase, and what can be said without the request's body.
pub(crate) async fn find_package(state: &State, route: &Route, call: &Call) -> Result<Arc<Package>, Refusal> {
    let Some(package) = state.package(call.head().purchase).await? else {
        return Err(
            route.unpaid(ProblemKind::PaymentRequired, "this provider has sold no such package, or it is settled")
        );
    };
    let service = package.view().service;
    if service != route.config.id {
        let detail = format!("the package is for service {service}, this path belongs to {}", route.config.id);
        return Err(Refusal::new(ProblemKind::OutOfScope, detail));
    }
    check_deadline(call.head().deadline, wall()).map_err(with_clock)?;
    Ok(package)
}

/// Steps 3 to 12.
pub(crate) async fn admit(
    state: &State,
    package: Arc<Package>,
    call: &Call,
    parts: &Parts,
    body: &Bytes,
) -> Result<Admitted, Refusal> {
    let (path, query) = (parts.uri.path(), parts.uri.query().unwrap_or_default());
    let body = body_hash(body);
    let public_path;
    let path_as_sent = if state.config.prefix.is_empty() {
        path
    } else {
        public_path = format!("{}{path}", state.config.prefix);
        &public_path
    };
    let request = request_hash(parts.method.as_str(), &state.authority, path_as_sent, query, &body);
    let now = state.ledger_now(true)?;
    let snapshot = package.snapshot(call.head().lane);
    let sent = sent_bound(state, &package, &snapshot, &parts.headers).await?;
    let check = |bound: &Arc<Bound>| {
        let context = CallContext {
            grant: &snapshot.view.grant,
            authority: &bound.authority,
            lane_key: snapshot.key.as_deref(),
            scopes: &bound.scopes,
            method: parts.method.as_str(),
            path: path_as_sent,
            request: &request,
            now,
            wall: wall(),
        };
        verify_call(call, &context, |_| bound.is_revoked())
    };
    let bound = authority_of(call, &snapshot, sent)
        .and_then(|sent| verified(&snapshot, sent, check))
        .map_err(|error| refuse(error, &package, call))?;
    let voucher = match call {
        Call::Mac(_) => None,
        Call::Signed(signed) => Some(StoredVoucher {
            voucher: signed.voucher(request),
            key_version: bound.key_version,
            chain: bound.chain.clone(),
        }),
    };
    let opened = open_key(state, call, &bound)?;
    let ticket = Ticket {
        head: *call.head(),
        request,
        key: reply_key(call, &snapshot, &bound, opened.as_ref()),
        view: Arc::clone(&snapshot.view),
        now,
        package,
    };
    count(state, ticket, voucher, &bound, opened).await
}

/// The authority whose chain came along, checked once and remembered (steps 4 and 5).
pub(crate) async fn sent_bound(
    state: &State,
    package: &Package,
    snapshot: &Snapshot,
    headers: &HeaderMap,
) -> Result<Option<Arc<Bound>>, Refusal> {
    let Some(chain) = text(headers, CHAIN_HEADER)? else { return Ok(None) };
    let name = body_hash(chain.as_bytes());
    if let Some(known) = package.bound_of(&name) {
        return Ok(Some(known));
    }
    let scopes = text(headers, SCOPE_HEADER)?.map(decode_scopes).transpose()?.unwrap_or_default();
    let bound = Arc::new(Bound::new(&snapshot.view.grant, decode_chain(chain)?, scopes)?);
    let revoked = state.ledger.revoked(package.id, bound.authority.links.clone()).await.map_err(|error| {
        tracing::warn!(%error, "revocations could not be read");
        Refusal::new(ProblemKind::LedgerStale, "revocations cannot be read now").retry_after(2)
    })?;
    if revoked.contains(&true) {
        bound.set_revoked();
    }
    package.keep_bound(name, &bound);
    Ok(Some(bound))
}

/// A tag is made with the key that the lane's opening agreed on, under its authority and no other: a chain that comes along
/// must be that authority's own.
fn authority_of(call: &Call, snapshot: &Snapshot, sent: Option<Arc<Bound>>) -> Result<Option<Arc<Bound>>, AccessError> {
    let (Call::Mac(_), Some(bound)) = (call, &sent) else { return Ok(sent) };
    let own = snapshot.bound.as_ref().ok_or(AccessError::NeedOpen)?;
    if own.authority.links == bound.authority.links { Ok(sent) } else { Err(AccessError::NeedOpen) }
}

/// Steps 3 to 7 under the authority that fits: the one sent, else the lane's, else the root key's.
fn verified(
    snapshot: &Snapshot,
    sent: Option<Arc<Bound>>,
    check: impl Fn(&Arc<Bound>) -> Result<(), AccessError>,
) -> Result<Arc<Bound>, AccessError> {
    let was_sent = sent.is_some();
    let first = sent.or_else(|| snapshot.bound.clone()).unwrap_or_else(|| Arc::clone(&snapshot.root));
    match check(&first) {
        Ok(()) => Ok(first),
        // The root key may sign in every lane, whoever opened it.
        Err(AccessError::BadSignature) if !was_sent && !Arc::ptr_eq(&first, &snapshot.root) => {
            check(&snapshot.root).map(|()| Arc::clone(&snapshot.root))
        }
        Err(error) => Err(error),
    }
}

fn refuse(error: AccessError, package: &Package, call: &Call) -> Refusal {
    let head = call.head();
    let mut refusal = match error {
        AccessError::Clock | AccessError::ExpiredCall => with_clock(error),
        // After a restart nobody here knows whose lane it was: a delegate must send its chain again.
        AccessError::BadSignature if !head.flags.has(Flags::OPEN) && package.snapshot(head.lane).bound.is_none() => {
            AccessError::BrokenChain(0).into()
        }
        other => Refusal::from(other),
    };
    if refusal.kind() == ProblemKind::NeedChain && refusal.problem.need.as_deref() == Some("chain") {
        refusal.problem.detail =
            "no key that is known for this lane has signed: send the chain of sub-grants".to_owned();
    }
    refusal.problem.purchase = Some(head.purchase);
    refusal.problem.lane = Some(head.lane);
    refusal
}

fn with_clock(error: AccessError) -> Refusal {
    let mut refusal = Refusal::from(error);
    refusal.problem.server_time = Some(wall());
    refusal
}

fn open_key(state: &State, call: &Call, bound: &Bound) -> Result<Option<LaneKey>, Refusal> {
    let Call::Signed(signed) = call else { return Ok(None) };
    let Some(ephemeral) = signed.ephemeral() else { return Ok(None) };
    let (head, delegate) = (signed.head(), bound.authority.key.public());
    Ok(Some(LaneKey::of_provider(&state.key, ephemeral, &head.purchase, head.lane, &delegate)?))
}

/// The key for a tag reply: the lane's, as long as the caller holds it too.
fn reply_key(call: &Call, snapshot: &Snapshot, bound: &Arc<Bound>, opened: Option<&LaneKey>) -> Option<Arc<LaneKey>> {
    if let Some(opened) = opened {
        return Some(Arc::new(opened.clone()));
    }
    let same = matches!(call, Call::Mac(_)) || snapshot.bound.as_ref().is_some_and(|own| Arc::ptr_eq(own, bound));
    snapshot.key.clone().filter(|_| same)
}

/// Steps 8 to 12, as often as something must be made durable first.
async fn count(
    state: &State,
    ticket: Ticket,
    voucher: Option<StoredVoucher>,
    bound: &Arc<Bound>,
    opened: Option<LaneKey>,
) -> Result<Admitted, Refusal> {
    let Ticket { package, head, .. } = &ticket;
    for _ in 0..MAX_ROUNDS {
        let now_ms = state.now_ms();
        let ask =
            Ask { lane: head.lane, seq: head.seq, request: ticket.request, voucher: voucher.as_ref(), bound, now_ms };
        let (verdict, fence) = {
            let mut inner = package.lock();
            let verdict = inner.meter.admit(&ask);
            (verdict, inner.meter.lane(head.lane).map_or(0, |lane| lane.fence))
        };
        let admitted = matches!(verdict.admission, Admission::Admitted { .. });
        if let Some(voucher) = &voucher
            && (verdict.keep_voucher || (admitted && opened.is_some()))
        {
            state.store.put_voucher(package.id, head.lane, fence, voucher.clone());
        }
        match verdict.admission {
            Admission::Refused(problem) => return Err((*problem).into()),
            Admission::Again(reply) => return Ok(Admitted::Again(Arc::clone(package), head.lane, reply)),
            Admission::Need(need) => {
                let made = package.satisfy(need, head.lane, state.store.as_ref()).await;
                made.map_err(|error| store_down(&error))?;
            }
            Admission::Admitted { ahead } => {
                package.touch(now_ms);
                if voucher.is_some() {
                    package.bind(head.lane, bound, opened);
                }
                if let Some(need) = ahead {
                    package.fetch_ahead(need, head.lane, &state.store);
                }
                return Ok(Admitted::New(ticket));
            }
        }
    }
    Err(Refusal::new(ProblemKind::WindowBusy, "many calls wait for the same counters").retry_after(1))
}

/// A header's text, if it is there once.
fn text<'a>(headers: &'a HeaderMap, name: &'static str) -> Result<Option<&'a str>, Refusal> {
    let mut values = headers.get_all(name).iter();
    let malformed = |detail: &str| Refusal::new(ProblemKind::Malformed, format!("{name} {detail}"));
    match (values.next(), values.next()) {
        (None, _) => Ok(None),
        (Some(_), Some(_)) => Err(malformed("stands there twice")),
        (Some(value), None) => value.to_str().map(Some).map_err(|_| malformed("is not plain text")),
    }
}

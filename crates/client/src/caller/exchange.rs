//! One request, from the first try to a reply that counts: sign, send, check, write down, or follow the provider's word.

use std::time::Duration;

use reqwest::header::{HeaderMap, HeaderValue};
use reqwest::{Response, StatusCode};
use surety_primitives::access::{
    ANSWER_HEADER, CALL_HEADER, CHAIN_HEADER, CLAIMS_HEADER, Call, Flags, Pending, Problem, ProblemKind, QUOTA_HEADER,
    QuotaState, SCOPE_HEADER, body_hash, encode_call, request_hash,
};
use surety_primitives::answer::claims::Claims;
use surety_primitives::answer::{Answer, Reply as SignedReply, SignedAnswer};
use surety_primitives::dataset::Key;
use surety_primitives::keys::DhSecret;
use surety_primitives::{Hash32, Lane, access};
use tokio::time::Instant;
use url::Url;

use super::log::{Entry, LoggedAnswer};
use super::pool::{Slot, Taken};
use super::recover::recover;
use super::{Inner, Reply, Request};
use crate::client::{read_body, transport};
use crate::error::Error;
use crate::wallet;

/// Longest pause that a provider is granted between two tries.
const LONGEST_PAUSE: Duration = Duration::from_secs(5);
/// First pause where the provider names none.
const PAUSE: Duration = Duration::from_millis(50);

/// A request as it is sent, with the hash that calls are bound to.
struct Prepared<'a> {
    request: &'a Request,
    url: Url,
    hash: Hash32,
}

/// What a try came to.
enum Outcome {
    Done(Box<Reply>),
    /// The provider refused and said why.
    Refused(Box<Problem>),
}

/// What a refusal asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Next {
    /// Again, signed.
    Sign,
    /// Again, as a new opening.
    Open,
    /// Again, above this number, as a new opening.
    Above(Option<u64>),
    /// Again after a pause, when other lanes have acknowledged.
    Free,
    /// Again after a pause.
    Pause,
    /// Again when the provider has seen the purchase.
    Show,
    /// Again with the provider's wall clock.
    Clock,
    /// Not again.
    Stop,
}

/// The same until `by`, after which no reply of any of its tries is accepted.
pub(super) async fn call_by(inner: &Inner, request: &Request, by: Instant) -> Result<Reply, Error> {
    let begun = Instant::now();
    let limit = by.saturating_duration_since(begun);
    match tokio::time::timeout_at(by, call(inner, request, Some(by))).await {
        Ok(outcome) => outcome,
        Err(_) => Err(Error::Timeout { url: inner.endpoint.to_string(), limit }),
    }
}

pub(super) async fn call(inner: &Inner, request: &Request, by: Option<Instant>) -> Result<Reply, Error> {
    let prepared = prepare(inner, request)?;
    let mut lane = inner.pool.take().await?;
    let mut sign = false;
    let mut pause = PAUSE;
    let mut attempt = 1;
    loop {
        let problem = match exchange(inner, &mut lane, &prepared, sign, by).await? {
            Outcome::Done(reply) => return Ok(*reply),
            Outcome::Refused(problem) => problem,
        };
        let next = next(&problem);
        if attempt >= inner.options.attempts.max(1) || next == Next::Stop {
            return Err(Error::Problem(problem));
        }
        attempt += 1;
        // Everything accepted was acknowledged, and the window is full all the same: replies were lost.
        let lost = sign && problem.kind == ProblemKind::VoucherDue;
        sign = next != Next::Pause;
        match next {
            Next::Sign if lost => {
                if recover(inner, &mut lane.slot).await? == 0 {
                    // Calls may still be under way at the provider, after their connection broke.
                    tokio::time::sleep(pause).await;
                    pause = pause.saturating_mul(2);
                }
            }
            Next::Open => lane.slot.client.forget_key(),
            Next::Above(floor) => lane.slot.client.raise_floor(floor.unwrap_or_default()),
            Next::Clock => inner.follow_wall(problem.server_time.unwrap_or_default()),
            Next::Free | Next::Pause => {
                let asked = problem.retry_after.map_or(pause, Duration::from_secs);
                if next == Next::Free {
                    // Idle lanes may hold the window: with lost replies, and with calls that they have not acknowledged yet.
                    for mut idle in inner.pool.idle() {
                        recover(inner, &mut idle).await?;
                    }
                    let calls = inner.pool.vouchers(inner.deadline(), false).await?;
                    inner.send_settlement(calls).await?;
                }
                tokio::time::sleep(asked.min(LONGEST_PAUSE)).await;
                pause = pause.saturating_mul(2);
            }
            Next::Show => {
                inner.show_purchase().await;
                tokio::time::sleep(pause).await;
                pause = pause.saturating_mul(2);
            }
            Next::Sign | Next::Stop => {}
        }
    }
}

fn prepare<'a>(inner: &Inner, request: &'a Request) -> Result<Prepared<'a>, Error> {
    let path = request.path.trim_start_matches('/');
    let url = inner.endpoint.join(path).map_err(|_| Error::BadUrl(request.path.clone()))?;
    // A path such as "//other.example" would send the paid call elsewhere.
    if url.origin() != inner.endpoint.origin() {
        return Err(Error::BadUrl(request.path.clone()));
    }
    let body = body_hash(&request.body);
    let hash =
        request_hash(request.method.as_str(), &inner.authority, url.path(), url.query().unwrap_or_default(), &body);
    Ok(Prepared { request, url, hash })
}

/// One try: a call of this lane, sent and judged.
async fn exchange(
    inner: &Inner,
    lane: &mut Taken<'_>,
    prepared: &Prepared<'_>,
    sign: bool,
    by: Option<Instant>,
) -> Result<Outcome, Error> {
    let slot = &mut *lane.slot;
    let (call, mut pending) = next_call(inner, slot, &prepared.hash, sign)?;
    // A reply that is lost with this process can be asked for again.
    let (lane_number, seq) = (slot.lane, call.head().seq);
    inner.with_log(|log| log.append(&Entry::Asked { lane: lane_number, seq, request: prepared.hash }))?;
    // A reply that nobody waits for any more must not pass as a lost one later either.
    let mut unwanted = Unwanted { inner, lane: lane_number, seq, by };
    let opening = call.head().flags.has(Flags::OPEN);
    let headers = headers(inner, &call, opening)?;
    let end = Instant::now() + Duration::from_secs(u64::from(inner.options.deadline_s.clamp(1, 120)));
    let end = by.map_or(end, |by| end.min(by));
    let response = send(inner, prepared, headers, end).await?;
    let (status, replied) = (response.status(), response.headers().clone());
    let body = read_body(&prepared.url, response, inner.options.max_body).await?;

    let Some(answer) = replied.get(ANSWER_HEADER) else {
        return match refusal(&prepared.url, status.as_u16(), &body) {
            Error::Problem(problem) => {
                // Of a replayed number there may be a reply that never came.
                if problem.kind != ProblemKind::Replay {
                    inner.with_log(|log| {
                        log.forget(lane_number, seq);
                        Ok(())
                    })?;
                }
                unwanted.by = None;
                Ok(Outcome::Refused(problem))
            }
            other => Err(other),
        };
    };
    if Instant::now() > end {
        return Err(Error::BadReply("it came after the call's deadline".to_owned()));
    }
    let answer = text(answer)?;
    if !matches!(call, Call::Mac(_)) {
        slot.signed = Instant::now();
    }
    match judge(inner, slot, &mut pending, prepared.request, status, answer, &replied, body).await {
        Ok(reply) => {
            unwanted.by = None;
            Ok(Outcome::Done(Box::new(reply)))
        }
        Err(error) => {
            unwanted.by = None;
            // It came and does not hold: it must not pass as a lost one later.
            inner.with_log(|log| log.append(&Entry::Rejected { lane: lane_number, seq }))?;
            Err(error)
        }
    }
}

/// A call under way that has a time: whatever ends it before a reply is judged, its reply is not accepted afterwards.
struct Unwanted<'a> {
    inner: &'a Inner,
    lane: Lane,
    seq: u64,
    by: Option<Instant>,
}

impl Drop for Unwanted<'_> {
    fn drop(&mut self) {
        if self.by.is_some() {
            let entry = Entry::Rejected { lane: self.lane, seq: self.seq };
            // What is not in the log must never be acknowledged: without a log this caller is at its end.
            if self.inner.with_log(|log| log.append(&entry)).is_err() {
                self.inner.pool.close();
            }
        }
    }
}

/// The next call of a lane: an opening, a signed one, or one with a tag.
fn next_call(inner: &Inner, slot: &mut Slot, request: &Hash32, sign: bool) -> Result<(Call, Pending), Error> {
    let used = slot.client.state().seq;
    if used >= slot.ceiling {
        slot.ceiling = inner.with_log(|log| log.reserve(slot.lane, used))?;
    }
    let flags = if inner.options.answers { Flags::ANSWER } else { Flags::NONE };
    let deadline = inner.deadline();
    if inner.options.tags && !slot.client.is_open() {
        let ephemeral = DhSecret::from_bytes(wallet::random::<32>()?);
        let (call, pending) = slot.client.open(*request, deadline, flags, &ephemeral)?;
        return Ok((Call::Signed(call), pending));
    }
    if !inner.options.tags || sign || inner.pool.must_sign(slot) {
        let (call, pending) = slot.client.signed(*request, deadline, flags)?;
        return Ok((Call::Signed(call), pending));
    }
    let (call, pending) = slot.client.tagged(*request, deadline, flags)?;
    Ok((Call::Mac(call), pending))
}

fn headers(inner: &Inner, call: &Call, opening: bool) -> Result<HeaderMap, Error> {
    let value = |text: &str| HeaderValue::from_str(text).map_err(|_| access::Error::Text("a header"));
    let mut headers = HeaderMap::new();
    headers.insert(CALL_HEADER, value(&encode_call(call))?);
    // Signed calls are checked from the root down where the provider does not know the chain yet.
    if opening || !inner.options.tags {
        if let Some(chain) = &inner.chain {
            headers.insert(CHAIN_HEADER, value(chain)?);
        }
        if let Some(scopes) = &inner.scopes {
            headers.insert(SCOPE_HEADER, value(scopes)?);
        }
    }
    Ok(headers)
}

/// Sends the call; a broken connection is tried once more with the same call, which the provider answers from its memory
/// if it served it already.
async fn send(inner: &Inner, prepared: &Prepared<'_>, headers: HeaderMap, end: Instant) -> Result<Response, Error> {
    let mut last = Error::NoNode;
    for _ in 0..2 {
        let left = end.saturating_duration_since(Instant::now());
        let request = inner.http.request(prepared.request.method.clone(), prepared.url.clone());
        let mut request = request.timeout(left).headers(headers.clone());
        if let Some(kind) = &prepared.request.content_type {
            request = request.header("content-type", kind);
        }
        match request.body(prepared.request.body.clone()).send().await {
            Ok(response) => return Ok(response),
            Err(error) => last = transport(&prepared.url, &error),
        }
    }
    Err(last)
}

/// Checks a reply, writes it down, and only then counts it.
#[allow(clippy::too_many_arguments, reason = "a reply in its parts")]
async fn judge(
    inner: &Inner,
    slot: &mut Slot,
    pending: &mut Pending,
    request: &Request,
    status: StatusCode,
    answer: &str,
    headers: &HeaderMap,
    body: Vec<u8>,
) -> Result<Reply, Error> {
    let head = *pending.head();
    let unusable = |error: surety_primitives::answer::Error| Error::BadReply(error.to_string());
    let claims = match headers.get(CLAIMS_HEADER) {
        Some(value) => Claims::from_header(text(value)?).map_err(unusable)?,
        None => Claims::default(),
    };
    let digest = body_hash(&body);
    let (said, signed) = match SignedReply::from_header(answer).map_err(unusable)? {
        SignedReply::Tag(tag) => {
            check_status(status, tag.status)?;
            (slot.client.accept_tag(pending, &tag, &digest)?, None)
        }
        SignedReply::Answer(signed) => {
            check_status(status, signed.answer.status)?;
            check_basis(inner, &signed.answer, &claims)?;
            check_claims(inner, request, &signed.answer, &claims)?;
            (accept_answer(inner, slot, pending, &signed, &digest, &claims).await?, Some(*signed))
        }
    };
    write_down(inner, slot, head.seq, said, signed.as_ref(), &digest, &claims)?;
    let quota = headers.get(QUOTA_HEADER).and_then(|value| value.to_str().ok());
    let quota = quota.and_then(|text| text.parse::<QuotaState>().ok());
    Ok(Reply { status: said, body, answer: signed, claims, quota, lane: slot.lane, seq: head.seq })
}

/// The HTTP status is not signed: the two must agree before anybody relies on it.
fn check_status(status: StatusCode, said: u16) -> Result<(), Error> {
    if status.as_u16() == said {
        return Ok(());
    }
    Err(Error::BadReply(format!("status {status} came with an answer of status {said}")))
}

async fn accept_answer(
    inner: &Inner,
    slot: &mut Slot,
    pending: &mut Pending,
    signed: &SignedAnswer,
    body: &Hash32,
    claims: &Claims,
) -> Result<u16, Error> {
    let root = claims.root();
    match slot.client.accept_answer(pending, signed, body, &root, inner.ledger_now()) {
        // This side may have lost track of the ledger clock, after a halt for instance: ask before accusing.
        Err(access::Error::AnswerMismatch("another time")) if inner.refresh_clock().await => {
            Ok(slot.client.accept_answer(pending, signed, body, &root, inner.ledger_now())?)
        }
        outcome => Ok(outcome?),
    }
}

/// Whether an Answer cites what the listing promises, and claims nothing beyond what it cites (`market.md` B6.2).
pub(super) fn check_basis(inner: &Inner, answer: &Answer, claims: &Claims) -> Result<(), Error> {
    let promised = &inner.package.datasets;
    let cited = answer.basis.datasets();
    if let Some(other) = cited.iter().find(|cited| !promised.contains(&cited.id)) {
        return Err(Error::BadReply(format!("dataset {} is not one that the listing names", other.id)));
    }
    if (200..300).contains(&answer.status) && cited.is_empty() && !promised.is_empty() {
        return Err(Error::BadReply("it cites none of the listing's datasets".to_owned()));
    }
    let beyond = claims.as_slice().iter().find(|claim| answer.basis.dataset(claim.dataset, claim.version).is_none());
    match beyond {
        Some(claim) => {
            Err(Error::BadReply(format!("it claims something of dataset {}, which it does not cite", claim.dataset)))
        }
        None => Ok(()),
    }
}

/// Whether an Answer that cover is promised for can be contradicted: it has a claim about each key that the question
/// needs, in each dataset that it cites (`market.md` B8, kind 1).
fn check_claims(inner: &Inner, request: &Request, answer: &Answer, claims: &Claims) -> Result<(), Error> {
    if inner.package.cover.is_zero() || !(200..300).contains(&answer.status) {
        return Ok(());
    }
    let claimed =
        |dataset, key: &Key| claims.as_slice().iter().any(|claim| claim.dataset == dataset && claim.key == *key);
    let cited = answer.basis.datasets();
    match request.must_claim.iter().find(|key| cited.iter().any(|cited| !claimed(cited.id, key))) {
        Some(key) => {
            Err(Error::BadReply(format!("it claims nothing about {key}, so that it could not be contradicted")))
        }
        None => Ok(()),
    }
}

fn write_down(
    inner: &Inner,
    slot: &Slot,
    seq: u64,
    status: u16,
    signed: Option<&SignedAnswer>,
    body: &Hash32,
    claims: &Claims,
) -> Result<(), Error> {
    let cum = slot.client.state().cum;
    let entry = match signed {
        None => Entry::Tagged { lane: slot.lane, seq, cum, status },
        Some(signed) => {
            let answer = LoggedAnswer { signed: signed.clone(), body: *body, claims: claims.clone() };
            Entry::Answered { cum, answer: Box::new(answer) }
        }
    };
    // What is not in the log must never be acknowledged: without a log this caller is at its end.
    inner.with_log(|log| log.append(&entry)).inspect_err(|_| inner.pool.close())
}

fn text(value: &HeaderValue) -> Result<&str, Error> {
    value.to_str().map_err(|_| Error::BadReply("a header is not text".to_owned()))
}

/// A refusal: the provider's problem, or what stands in its place.
pub(super) fn refusal(url: &Url, status: u16, body: &[u8]) -> Error {
    match serde_json::from_slice::<Problem>(body) {
        Ok(problem) => Error::Problem(Box::new(problem)),
        Err(_) => Error::Malformed {
            url: url.to_string(),
            reason: format!("status {status} without an Answer or a problem that this side knows"),
        },
    }
}

/// What to do about a refusal.
fn next(problem: &Problem) -> Next {
    match problem.kind {
        ProblemKind::VoucherDue | ProblemKind::CumBehind | ProblemKind::ExpiredCall => Next::Sign,
        ProblemKind::NeedOpen | ProblemKind::BadTag | ProblemKind::NeedChain => Next::Open,
        ProblemKind::Replay | ProblemKind::SeqBelowFloor | ProblemKind::LaneMoved => Next::Above(problem.seq_floor),
        ProblemKind::WindowBusy => Next::Free,
        ProblemKind::RateLimited | ProblemKind::StoreUnavailable | ProblemKind::LedgerStale => Next::Pause,
        // The package was read with its proof: a provider that does not know it has not seen its block yet.
        ProblemKind::PaymentRequired => Next::Show,
        ProblemKind::Clock if problem.server_time.is_some() => Next::Clock,
        _ => Next::Stop,
    }
}

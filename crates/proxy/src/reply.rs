//! From an admitted call to its reply: `market.md` D3, steps 13 and 14.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use bytes::Bytes;
use hyper::body::Incoming;
use hyper::header::{CONTENT_ENCODING, CONTENT_TYPE, HeaderName, HeaderValue, TRAILER};
use hyper::http::request::Parts;
use hyper::http::response::Parts as ReplyParts;
use hyper::{HeaderMap, Response};
use surety_primitives::access::{
    ANSWER_HEADER, BASIS_HEADER, CLAIMS_HEADER, Flags, ProblemKind, QUOTA_HEADER, body_hash, decode_b64, encode_b64,
};
use surety_primitives::answer::claims::Claims;
use surety_primitives::answer::{Answer, AnswerBy, Basis, CallRef, Version1, answer_digest};
use surety_primitives::{Hash32, Seconds, codec};

use crate::admit::Ticket;
use crate::body::{Collected, ReplyBody, StreamEnd};
use crate::forward::{strip, takes_trailers};
use crate::meter::{Meter, Outcome, Reply, StoredReply};
use crate::package::{Package, Room};
use crate::refusal::Refusal;
use crate::replies;
use crate::state::{Route, State, store_down};

const RATE_LIMIT: HeaderName = HeaderName::from_static("ratelimit");
/// Most bytes of a basis.
const MAX_BASIS: usize = 640;
/// Longest reply that a retry gets again.
const MAX_KEPT: usize = 64 << 10;
/// What a kept reply costs besides its body.
const KEPT_OVERHEAD: usize = 512;

/// Forwards an admitted call and makes its reply. Whatever happens here, the call ends: served, or not counted.
pub(crate) async fn serve(
    state: Arc<State>,
    route: usize,
    ticket: Ticket,
    parts: Parts,
    body: Bytes,
) -> Response<ReplyBody> {
    let began = std::time::Instant::now();
    let call = InFlight::begin(Arc::clone(&state), ticket);
    let route = &state.routes[route];
    let trailers = takes_trailers(&parts.headers);
    let within = Duration::from_secs(route.config.timeout_s);
    let response = match tokio::time::timeout(within, fetch(&state, route, parts, body)).await {
        Err(_) => {
            let detail = format!("the API behind took longer than {} s; not counted", within.as_secs());
            call.fail(Refusal::new(ProblemKind::UpstreamTimeout, detail))
        }
        Ok(Err(refusal)) => call.fail(refusal),
        Ok(Ok((head, Collected { bytes, rest: None }))) => call.answer(route, head, bytes).await,
        Ok(Ok((head, Collected { bytes, rest: Some(rest) }))) => {
            if trailers && !call.is_covered() {
                call.stream(route, head, bytes, rest)
            } else {
                call.fail(too_long(&state))
            }
        }
    };
    state.metrics.latency.observe(began.elapsed().as_secs_f64());
    response
}

async fn fetch(state: &State, route: &Route, parts: Parts, body: Bytes) -> Result<(ReplyParts, Collected), Refusal> {
    let failed = |detail: String| Refusal::new(ProblemKind::Upstream, detail + "; not counted").retry_after(1);
    let reply =
        state.upstream.send(route, parts, body).await.map_err(|_| failed("the API behind did not answer".into()))?;
    let (head, body) = reply.into_parts();
    if !(200..500).contains(&head.status.as_u16()) {
        return Err(failed(format!("the API behind answered {}", head.status.as_u16())));
    }
    match Collected::read(body, state.config.limits.reply_bytes).await {
        Ok(collected) => Ok((head, collected)),
        Err(_) => Err(failed("the API behind broke off".into())),
    }
}

fn too_long(state: &State) -> Refusal {
    let most = state.config.limits.reply_bytes;
    let detail = format!("the reply is longer than {most} bytes: send 'TE: trailers' where the service has no cover");
    Refusal::new(ProblemKind::Upstream, detail)
}

/// A reply that was given before.
pub(crate) fn again(
    state: &State,
    package: &Package,
    lane: surety_primitives::Lane,
    reply: StoredReply,
) -> Result<Response<ReplyBody>, Refusal> {
    let refused = |kind, detail: &str| {
        let mut problem = package.lock().meter.problem(kind, lane);
        problem.detail = detail.to_owned();
        Refusal::from(problem)
    };
    match reply {
        StoredReply::UnderWay => Err(refused(ProblemKind::Replay, "the same call is under way").retry_after(1)),
        StoredReply::Gone => Err(refused(ProblemKind::Replay, "the reply was given, and is too long to be kept")),
        StoredReply::Failed(kind) => {
            Err(refused(kind, "this call failed and was not counted: send it under a new seq"))
        }
        StoredReply::Served(reply) => {
            state.metrics.repeated.inc();
            let mut response = Response::new(ReplyBody::full(reply.body.clone()));
            *response.status_mut() = reply.status;
            let headers = response.headers_mut();
            let kept = [(CONTENT_TYPE, &reply.content_type), (CONTENT_ENCODING, &reply.content_encoding)];
            for (name, value) in kept {
                value.as_ref().map(|value| headers.insert(name, value.clone()));
            }
            headers.insert(ANSWER_HEADER, reply.answer.clone());
            reply.claims.as_ref().map(|claims| headers.insert(CLAIMS_HEADER, claims.clone()));
            let expires = package.view().grant.end;
            say_quota(headers, &package.lock().meter, lane, expires);
            Ok(response)
        }
    }
}

/// What the API behind says its answer rests on.
struct Grounds {
    basis: Basis,
    claims: Option<HeaderValue>,
    claims_root: Hash32,
}

impl Grounds {
    fn read(headers: &HeaderMap) -> Result<Self, Refusal> {
        let bad = |what: &str| {
            Refusal::new(ProblemKind::Upstream, format!("the API behind sent a {what} that cannot be read"))
        };
        let basis = match headers.get(BASIS_HEADER) {
            None => Basis::default(),
            Some(value) => value
                .to_str()
                .ok()
                .and_then(|text| decode_b64(text, MAX_BASIS, "a basis").ok())
                .and_then(|bytes| codec::decode(&bytes, MAX_BASIS).ok())
                .ok_or_else(|| bad("basis"))?,
        };
        let claims = headers.get(CLAIMS_HEADER).cloned();
        let claims_root = match &claims {
            None => Hash32::default(),
            Some(value) => {
                let read = value.to_str().ok().and_then(|text| Claims::from_header(text).ok());
                read.ok_or_else(|| bad("list of claims"))?.root()
            }
        };
        Ok(Self { basis, claims, claims_root })
    }
}

/// What an Answer of a service states besides.
#[derive(Clone, Copy)]
struct Terms {
    pinned: bool,
    valid: Seconds,
}

impl Terms {
    fn of(route: &Route) -> Self {
        Self { pinned: route.config.pinned, valid: Seconds(route.config.answer_valid_s) }
    }
}

/// An admitted call that is not finished.
pub(crate) struct InFlight {
    state: Arc<State>,
    ticket: Ticket,
}

impl InFlight {
    fn begin(state: Arc<State>, ticket: Ticket) -> Self {
        state.in_flight.fetch_add(1, Ordering::AcqRel);
        state.metrics.admitted.inc();
        Self { state, ticket }
    }

    fn is_covered(&self) -> bool {
        !self.ticket.view.cover.is_zero()
    }

    /// Whether the reply must be an Answer that others can check.
    fn must_sign(&self) -> bool {
        self.ticket.head.flags.has(Flags::ANSWER) || self.is_covered() || self.ticket.key.is_none()
    }

    /// Not counted: its unit of quota and its part of W are free again.
    fn fail(self, refusal: Refusal) -> Response<ReplyBody> {
        self.state.metrics.failed.inc();
        self.finish(Outcome::Failed(refusal.kind()), |_| ());
        let mut refusal = refusal;
        refusal.problem.purchase = Some(self.ticket.head.purchase);
        refusal.problem.lane = Some(self.ticket.head.lane);
        crate::serve::count_refusal(&self.state, &refusal);
        refusal.into_response()
    }

    async fn answer(self, route: &Route, mut head: ReplyParts, body: Bytes) -> Response<ReplyBody> {
        let grounds = match Grounds::read(&head.headers) {
            Ok(grounds) => grounds,
            Err(refusal) => return self.fail(refusal),
        };
        let status = head.status.as_u16();
        let hash = body_hash(&body);
        let signs = self.must_sign();
        let given = self.answer_of(status, &grounds, &hash, Terms::of(route));
        let answer = if signs {
            let bytes = self.sign(&given);
            if let Err(refusal) = self.write_down(&bytes).await {
                return self.fail(refusal);
            }
            encode_b64(&bytes)
        } else {
            self.tag(status, &hash)
        };
        let Ok(answer) = HeaderValue::from_maybe_shared(Bytes::from(answer)) else {
            return self.fail(Refusal::new(ProblemKind::Upstream, "the Answer fits no header"));
        };
        let claims = grounds.claims.filter(|_| signs);
        strip(&mut head.headers);
        head.headers.insert(ANSWER_HEADER, answer.clone());
        claims.as_ref().map(|claims| head.headers.insert(CLAIMS_HEADER, claims.clone()));
        let kept = self.keep(&head, &body, answer, claims);
        self.remember(given);
        let (lane, expires) = (self.ticket.head.lane, self.ticket.view.grant.end);
        self.state.metrics.served.inc();
        self.finish(Outcome::Served(kept), |meter| say_quota(&mut head.headers, meter, lane, expires));
        Response::from_parts(head, ReplyBody::full(body))
    }

    fn stream(self, route: &Route, mut head: ReplyParts, first: Bytes, rest: Incoming) -> Response<ReplyBody> {
        let grounds = match Grounds::read(&head.headers) {
            Ok(grounds) => grounds,
            Err(refusal) => return self.fail(refusal),
        };
        strip(&mut head.headers);
        head.headers.insert(TRAILER, HeaderValue::from_static(ANSWER_HEADER));
        if self.must_sign() {
            grounds.claims.as_ref().map(|claims| head.headers.insert(CLAIMS_HEADER, claims.clone()));
        }
        let (lane, expires) = (self.ticket.head.lane, self.ticket.view.grant.end);
        say_quota(&mut head.headers, &self.ticket.package.lock().meter, lane, expires);
        let end = StreamedCall { status: head.status.as_u16(), call: self, grounds, terms: Terms::of(route) };
        Response::from_parts(head, ReplyBody::stream(first, rest, Box::new(end)))
    }

    fn sign(&self, answer: &Answer) -> Vec<u8> {
        self.state.metrics.signed.inc();
        answer.clone().sign(&self.state.key).to_bytes()
    }

    fn answer_of(&self, status: u16, grounds: &Grounds, body: &Hash32, terms: Terms) -> Answer {
        let head = &self.ticket.head;
        Answer {
            ver: Version1,
            by: AnswerBy::Provider(self.ticket.view.provider),
            call: Some(CallRef { purchase: head.purchase, lane: head.lane, seq: head.seq }),
            request: self.ticket.request,
            status,
            basis: grounds.basis.clone(),
            pinned: terms.pinned,
            answer: answer_digest(body, &grounds.claims_root),
            time: self.ticket.now,
            expiry: self.ticket.now.after(terms.valid),
        }
    }

    /// Where no cover is promised nothing is written down; a caller whose reply is lost still finds its Answer for a while.
    fn remember(&self, answer: Answer) {
        if self.is_covered() {
            return;
        }
        let Ticket { package, head, view, .. } = &self.ticket;
        let Some(room) = Room::take(&self.state.cache_left, replies::BYTES) else { return };
        package.lock().replies.keep(head.lane, head.seq, answer, room, view.window);
    }

    fn tag(&self, status: u16, body: &Hash32) -> String {
        let Some(key) = &self.ticket.key else { return String::new() };
        let time = u32::try_from(self.ticket.now.0).unwrap_or(u32::MAX);
        encode_b64(&key.tag_reply(&self.ticket.head, &self.ticket.request, status, time, body).to_bytes())
    }

    /// Where cover is promised, nothing is answered that could not be shown later.
    async fn write_down(&self, answer: &[u8]) -> Result<(), Refusal> {
        if !self.is_covered() {
            return Ok(());
        }
        let Ticket { package, head, view, .. } = &self.ticket;
        let drop = package.lock().meter.lane_mut(head.lane).and_then(|lane| {
            lane.logged.push_back(head.seq);
            // More than W Answers of a purchase can never be shown.
            (lane.logged.len() > view.window as usize).then(|| lane.logged.pop_front()).flatten()
        });
        let written = self.state.store.log_answer(package.id, head.lane, head.seq, answer.to_vec(), drop).await;
        written.map_err(|error| store_down(&error))
    }

    fn keep(
        &self,
        head: &ReplyParts,
        body: &Bytes,
        answer: HeaderValue,
        claims: Option<HeaderValue>,
    ) -> Option<Arc<Reply>> {
        if body.len() > MAX_KEPT {
            return None;
        }
        let room = Room::take(&self.state.cache_left, body.len() + KEPT_OVERHEAD)?;
        Some(Arc::new(Reply {
            status: head.status,
            content_type: head.headers.get(CONTENT_TYPE).cloned(),
            content_encoding: head.headers.get(CONTENT_ENCODING).cloned(),
            answer,
            claims,
            body: body.clone(),
            _room: room,
        }))
    }

    fn finish(&self, outcome: Outcome, and: impl FnOnce(&Meter)) {
        let mut inner = self.ticket.package.lock();
        inner.meter.finish(self.ticket.head.lane, self.ticket.head.seq, outcome, self.state.now_ms());
        and(&inner.meter);
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        self.state.in_flight.fetch_sub(1, Ordering::AcqRel);
    }
}

/// A call whose reply is under way, longer than what is held back.
struct StreamedCall {
    call: InFlight,
    status: u16,
    grounds: Grounds,
    terms: Terms,
}

impl StreamedCall {
    fn answer(&self, body: &Hash32) -> Answer {
        self.call.answer_of(self.status, &self.grounds, body, self.terms)
    }
}

impl StreamEnd for StreamedCall {
    fn complete(self: Box<Self>, body: Hash32) -> HeaderMap {
        let (call, given) = (&self.call, self.answer(&body));
        let answer = if call.must_sign() { encode_b64(&call.sign(&given)) } else { call.tag(self.status, &body) };
        call.remember(given);
        call.state.metrics.served.inc();
        call.finish(Outcome::Served(None), |_| ());
        let mut trailers = HeaderMap::new();
        HeaderValue::from_maybe_shared(Bytes::from(answer)).ok().map(|answer| trailers.insert(ANSWER_HEADER, answer));
        trailers
    }

    fn broken(self: Box<Self>) {
        self.call.state.metrics.failed.inc();
        self.call.finish(Outcome::Failed(ProblemKind::Upstream), |_| ());
    }

    fn abandoned(self: Box<Self>, body: Hash32) {
        // The caller has had most of the reply: it stays unacknowledged, within W, until it asks for the Answer.
        self.call.remember(self.answer(&body));
        self.call.state.metrics.served.inc();
        self.call.finish(Outcome::Served(None), |_| ());
    }
}

fn say_quota(headers: &mut HeaderMap, meter: &Meter, lane: surety_primitives::Lane, expires: Seconds) {
    let text = meter.quota_state(lane, expires).to_string();
    HeaderValue::from_maybe_shared(Bytes::from(text)).ok().map(|quota| headers.insert(QUOTA_HEADER, quota));
    if let Some((limit, remaining)) = meter.rate().state() {
        let text = format!("limit={limit}, remaining={remaining}, reset=1");
        HeaderValue::from_maybe_shared(Bytes::from(text)).ok().map(|rate| headers.insert(RATE_LIMIT, rate));
    }
}

//! Lost replies: a call that was served and whose reply never came holds a part of the window (W) until it is acknowledged.
//!
//! A provider that promises cover keeps its signed Answers and hands them out (`market.md` D2). Such an Answer, to a call
//! that the log says was made, is accepted without its body: the call was served, and what it said is signed. Without it
//! a package of W = 1 would be dead after one broken connection.
//!
//! Always true: no more lost replies are accepted than replies came, and [`SPARE`] or W more. A provider that sends no
//! reply and hands out its Answers is not paid for the whole package.

use serde::Deserialize;
use surety_primitives::access::{CALL_HEADER, CHAIN_HEADER, Call, decode_b64, encode_call};
use surety_primitives::answer::SignedAnswer;
use surety_primitives::answer::claims::Claims;

use super::Inner;
use super::exchange::{check_basis, refusal};
use super::log::Entry;
use super::pool::Slot;
use crate::client::{read_body, transport};
use crate::error::Error;

/// Lost replies that are accepted before any reply came, at least.
const SPARE: u64 = 8;
/// Most replies with Answers that are read at a time; one has 256, and a window at most 65,536 calls.
const PAGES_MOST: usize = 256;
/// Most bytes of an Answer.
const MAX_ANSWER: usize = 2_048;

/// A signed Answer as a provider hands it out.
#[derive(Deserialize)]
struct KeptAnswer {
    seq: u64,
    answer: String,
}

/// Asks for the Answers to this lane's lost replies and accepts those that hold. Returns how many.
pub(super) async fn recover(inner: &Inner, slot: &mut Slot) -> Result<usize, Error> {
    let asked = inner.with_log(|log| Ok(log.asked(slot.lane)))?;
    let Some((first, _)) = asked.first_key_value() else { return Ok(0) };
    let mut from = *first;
    let mut recovered = 0_usize;
    for _ in 0..PAGES_MOST {
        let kept = fetch(inner, slot, from).await?;
        // A provider that goes in circles is not followed.
        let Some(last) = kept.iter().map(|kept| kept.seq).max().filter(|last| *last >= from) else { break };
        for kept in kept {
            let Some(request) = asked.get(&kept.seq) else { continue };
            let (received, so_far) = inner.with_log(|log| Ok(log.received_and_recovered()))?;
            if so_far >= received.saturating_add(SPARE.max(inner.package.window.into())) {
                return Ok(recovered);
            }
            // Once a call, however often it is listed.
            let waits = inner.with_log(|log| Ok(log.is_asked(slot.lane, kept.seq)))?;
            let Some(signed) = read(&kept.answer).filter(|_| waits) else { continue };
            if check_basis(inner, &signed.answer, &Claims::default()).is_err() {
                continue;
            }
            if slot.client.accept_lost(kept.seq, request, &signed).is_ok() {
                let entry = Entry::Recovered { cum: slot.client.state().cum, signed: Box::new(signed) };
                inner.with_log(|log| log.append(&entry)).inspect_err(|_| inner.pool.close())?;
                recovered = recovered.saturating_add(1);
            }
        }
        from = last.saturating_add(1);
    }
    Ok(recovered)
}

fn read(answer: &str) -> Option<SignedAnswer> {
    let bytes = decode_b64(answer, MAX_ANSWER, "an Answer").ok()?;
    SignedAnswer::from_bytes(&bytes).ok()
}

async fn fetch(inner: &Inner, slot: &Slot, from: u64) -> Result<Vec<KeptAnswer>, Error> {
    let path = format!("/.well-known/surety/answers?lane={}&from={from}", slot.lane);
    let url = inner.endpoint.join(&path).map_err(|_| Error::BadUrl(path))?;
    let head = encode_call(&Call::Signed(slot.client.inquiry(inner.deadline())?));
    let mut request = inner.http.get(url.clone()).timeout(std::time::Duration::from_secs(15)).header(CALL_HEADER, head);
    if let Some(chain) = &inner.chain {
        request = request.header(CHAIN_HEADER, chain);
    }
    let response = request.send().await.map_err(|error| transport(&url, &error))?;
    let status = response.status().as_u16();
    let body = read_body(&url, response, inner.options.max_body).await?;
    if !(200..300).contains(&status) {
        return Err(refusal(&url, status, &body));
    }
    serde_json::from_slice(&body).map_err(|error| Error::Malformed { url: url.to_string(), reason: error.to_string() })
}

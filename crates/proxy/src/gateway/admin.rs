//! `/health`, `/metrics` and the quarantine (`/holds`), on a listener of their own: whoever reaches it is the administrator.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use bytes::Bytes;
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::header::{CONTENT_TYPE, HeaderValue};
use hyper::{Method, Request, Response, StatusCode};
use serde::Serialize;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::sync::watch;

use super::core::Core;
use super::hold::{Held, HoldError, HoldId, Released, Releaser};
use super::metrics::{ListName, PolicyLabel};
use super::quarantine::{let_go, now_s, on_disk};
use crate::connections::serve_private;

/// Held transactions that are listed.
const LISTED: usize = 1_000;

#[derive(Serialize)]
struct Health {
    ok: bool,
    chain_id: u64,
    nodes: usize,
    nodes_in_use: usize,
    requests_in_flight: usize,
    held: usize,
    policy: String,
    /// What is wrong with the policy's file, which is not in force then.
    policy_error: Option<String>,
}

/// Serves until told to stop.
pub(crate) async fn serve(core: Arc<Core>, listener: TcpListener, stopped: watch::Receiver<bool>) {
    let answer = move |request| {
        let core = Arc::clone(&core);
        async move { answer(&core, &request).await }
    };
    serve_private(listener, stopped, answer).await;
}

async fn answer(core: &Core, request: &Request<Incoming>) -> Response<Full<Bytes>> {
    let path: Vec<&str> = request.uri().path().trim_matches('/').split('/').collect();
    match (request.method(), path.as_slice()) {
        (&Method::GET, ["metrics"]) => {
            let kind = "application/openmetrics-text; version=1.0.0; charset=utf-8";
            respond(StatusCode::OK, kind, metrics(core).await.into_bytes())
        }
        (&Method::GET, ["health"]) => {
            let health = health(core);
            let status = if health.ok { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
            respond(status, "application/json", serde_json::to_vec(&health).unwrap_or_default())
        }
        (&Method::GET, ["holds"]) => listed(core).await,
        (&Method::POST, ["holds", id, act @ ("release" | "drop")]) => changed(core, id, *act == "release").await,
        _ => respond(
            StatusCode::NOT_FOUND,
            "text/plain",
            b"GET /health, /metrics or /holds; POST /holds/<id>/release or /holds/<id>/drop".to_vec(),
        ),
    }
}

async fn listed(core: &Core) -> Response<Full<Bytes>> {
    match on_disk(core, |hold| hold.list(None, LISTED)).await {
        Ok(held) => json_reply(StatusCode::OK, &Value::Array(held.iter().map(shown).collect())),
        Err(error) => failed(&error),
    }
}

/// Lets a transaction go on the administrator's word, or drops it.
async fn changed(core: &Core, id: &str, is_release: bool) -> Response<Full<Bytes>> {
    let id: HoldId = match id.parse() {
        Ok(id) => id,
        Err(error) => return failed(&error),
    };
    if is_release {
        return match let_go(core, id, Releaser::Admin, None).await {
            Ok(Released::Gone(held)) => json_reply(StatusCode::OK, &json!({ "released": true, "held": shown(&held) })),
            Ok(Released::Kept(held)) => json_reply(StatusCode::OK, &json!({ "released": false, "held": shown(&held) })),
            Ok(Released::Pending(held, reason)) => {
                let value = json!({ "released": false, "sending": held.id, "reason": reason });
                json_reply(StatusCode::ACCEPTED, &value)
            }
            Err(error) => failed(&error),
        };
    }
    match on_disk(core, move |hold| hold.drop_held(id, "dropped by the administrator")).await {
        Ok(held) => {
            core.record_held(&held, &[]).await;
            json_reply(StatusCode::OK, &json!({ "dropped": true, "held": shown(&held) }))
        }
        Err(error) => failed(&error),
    }
}

/// Everything but the bytes, which would be the transaction itself.
fn shown(held: &Held) -> Value {
    let mut value = serde_json::to_value(held).unwrap_or_default();
    if let Value::Object(fields) = &mut value {
        fields.remove("raw");
    }
    value
}

fn failed(error: &HoldError) -> Response<Full<Bytes>> {
    let status = match error {
        HoldError::Unknown(_) | HoldError::NoId => StatusCode::NOT_FOUND,
        HoldError::Unavailable(_) => StatusCode::SERVICE_UNAVAILABLE,
        _ => StatusCode::CONFLICT,
    };
    json_reply(status, &json!({ "error": error.to_string() }))
}

fn json_reply(status: StatusCode, value: &Value) -> Response<Full<Bytes>> {
    respond(status, "application/json", value.to_string().into_bytes())
}

fn respond(status: StatusCode, kind: &'static str, body: Vec<u8>) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(Bytes::from(body)));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    response
}

async fn metrics(core: &Core) -> String {
    core.metrics.held.set(i64::try_from(core.hold.count().transactions).unwrap_or(i64::MAX));
    core.metrics.policy.clear();
    core.metrics.policy.get_or_create(&PolicyLabel { hash: core.policy().hash().to_string() }).set(1);
    let failures = core.live_policy().map_or(0, |live| live.failures());
    core.metrics.policy_failures.set(i64::try_from(failures).unwrap_or(i64::MAX));
    for list in &core.lists {
        let age_s = i64::try_from(now_s().saturating_sub(list.as_of_s)).unwrap_or(i64::MAX);
        core.metrics.list_age.get_or_create(&ListName { list: list.name.clone() }).set(age_s);
    }
    let paid = core.remote.paid().await;
    for (service, calls) in core.remote.calls() {
        core.metrics.learn(&service, &calls, paid.get(&service).copied().unwrap_or_default());
    }
    core.metrics.text()
}

fn health(core: &Core) -> Health {
    let upstreams = &core.forwarder.upstreams;
    Health {
        ok: upstreams.any_well(),
        chain_id: core.chain.id,
        nodes: upstreams.all().len(),
        nodes_in_use: upstreams.in_order().len(),
        requests_in_flight: core.in_flight.load(Ordering::Acquire),
        held: core.hold.count().transactions,
        policy: core.policy().hash().to_string(),
        policy_error: core.live_policy().and_then(|live| live.wrong()).map(|errors| errors.to_string()),
    }
}

//! `/health`, `/metrics` and `/claims`, on a listener of their own.

use std::sync::Arc;

use bytes::Bytes;
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::header::{CONTENT_TYPE, HeaderValue};
use hyper::{Request, Response, StatusCode};
use serde::Serialize;
use tokio::net::TcpListener;
use tokio::sync::watch;

use crate::connections::serve_private;
use crate::state::State;

#[derive(Serialize)]
struct Health {
    ok: bool,
    ledger_age_s: u64,
    ledger_clock: u64,
    store: bool,
    packages: usize,
    calls_in_flight: usize,
}

/// Serves until told to stop.
pub(crate) async fn serve(state: Arc<State>, listener: TcpListener, stopped: watch::Receiver<bool>) {
    let answer = move |request| {
        let state = Arc::clone(&state);
        async move { answer(&state, &request).await }
    };
    serve_private(listener, stopped, answer).await;
}

async fn answer(state: &State, request: &Request<Incoming>) -> Response<Full<Bytes>> {
    let (status, kind, body) = match request.uri().path() {
        "/metrics" => {
            state.metrics.packages.set(i64::try_from(state.packages.len()).unwrap_or(i64::MAX));
            (
                StatusCode::OK,
                "application/openmetrics-text; version=1.0.0; charset=utf-8",
                state.metrics.text().into_bytes(),
            )
        }
        "/health" => {
            let health = health(state).await;
            let status = if health.ok { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
            (status, "application/json", serde_json::to_vec(&health).unwrap_or_default())
        }
        "/claims" => match crate::duties::unclaimed(state).await {
            Ok(claims) => (StatusCode::OK, "application/json", serde_json::to_vec(&claims).unwrap_or_default()),
            Err(error) => (StatusCode::SERVICE_UNAVAILABLE, "text/plain", error.to_string().into_bytes()),
        },
        _ => (StatusCode::NOT_FOUND, "text/plain", b"/health, /metrics or /claims".to_vec()),
    };
    let mut response = Response::new(Full::new(Bytes::from(body)));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    response
}

async fn health(state: &State) -> Health {
    let clock = state.ledger.clock();
    let store = state.store.sync().await.is_ok();
    let fresh = state.ledger_now(false).is_ok();
    Health {
        ok: store && fresh,
        ledger_age_s: clock.age.as_secs(),
        ledger_clock: clock.now.0,
        store,
        packages: state.packages.len(),
        calls_in_flight: state.calls_in_flight(),
    }
}

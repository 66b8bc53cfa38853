//! A request's life, from the connection to the reply.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use hyper::body::Incoming;
use hyper::{Request, Response};
use surety_primitives::access::{ProblemKind, is_plain_path};

use crate::admit::{Admitted, admit, find_package, read_call};
use crate::body::{ReplyBody, read_request};
use crate::metrics::Name;
use crate::refusal::Refusal;
use crate::reply;
use crate::state::State;
use crate::wellknown;

/// Answers any request.
pub(crate) async fn handle(state: Arc<State>, request: Request<Incoming>) -> Response<ReplyBody> {
    let result = if wellknown::is_ours(request.uri().path()) {
        wellknown::handle(&state, request).await
    } else {
        call(&state, request).await
    };
    result.unwrap_or_else(|refusal| {
        count_refusal(&state, &refusal);
        refusal.into_response()
    })
}

async fn call(state: &Arc<State>, request: Request<Incoming>) -> Result<Response<ReplyBody>, Refusal> {
    let path = request.uri().path();
    // What was sold is decided on the path as sent: the API behind must not read another one in it.
    if !is_plain_path(path) {
        return Err(Refusal::new(
            ProblemKind::OutOfScope,
            "a path without dot segments or escaped separators is expected",
        ));
    }
    let Some(index) = state.routes.iter().position(|route| route.holds(path)) else {
        return Err(Refusal::new(ProblemKind::OutOfScope, "no service is sold under this path"));
    };
    let route = &state.routes[index];
    let call = read_call(route, request.headers())?;
    let package = find_package(state, route, &call).await?;
    let limits = &state.config.limits;
    let (parts, body) = request.into_parts();
    let body = read_request(body, limits.body_bytes, limits.read_timeout()).await?;
    match admit(state, package, &call, &parts, &body).await? {
        Admitted::Again(package, lane, stored) => reply::again(state, &package, lane, stored),
        Admitted::New(ticket) => Ok(Detached::new(reply::serve(Arc::clone(state), index, ticket, parts, body)).await),
    }
}

pub(crate) fn count_refusal(state: &State, refusal: &Refusal) {
    state.metrics.refused.get_or_create(&Name { name: refusal.kind().name() }).inc();
}

/// A future that goes on when the caller goes away: the call is counted, so its reply is made and kept for a retry.
pub(crate) struct Detached<F: Future + Send + 'static>(Option<Pin<Box<F>>>)
where
    F::Output: Send;

impl<F: Future + Send + 'static> Detached<F>
where
    F::Output: Send,
{
    pub(crate) fn new(future: F) -> Self {
        Self(Some(Box::pin(future)))
    }
}

impl<F: Future + Send + 'static> Future for Detached<F>
where
    F::Output: Send,
{
    type Output = F::Output;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        let Some(future) = self.0.as_mut() else { return Poll::Pending };
        let poll = future.as_mut().poll(cx);
        if poll.is_ready() {
            self.0 = None;
        }
        poll
    }
}

impl<F: Future + Send + 'static> Drop for Detached<F>
where
    F::Output: Send,
{
    fn drop(&mut self) {
        if let Some(future) = self.0.take() {
            // Without a runtime everything ends anyway.
            if let Ok(runtime) = tokio::runtime::Handle::try_current() {
                runtime.spawn(future);
            }
        }
    }
}

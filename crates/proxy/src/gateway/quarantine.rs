//! What is held, and how it leaves: by its sender's token, by the administrator, by time. On leaving it is assessed again.

use std::future::Future;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use futures::{StreamExt as _, stream};
use serde_json::json;
use tokio::sync::watch;

use super::assess::Assessed;
use super::core::{Client, Core};
use super::forward::{Repeat, Standing, standing};
use super::hold::{Held, Hold, HoldError, HoldId, Look, NewHold, Released, Releaser, Sent, release};
use super::json::Json;
use super::jsonrpc::{Answer, RpcError, code};
use super::judge::{Judged, Waiting};
use super::override_token::Override;
use super::policy::{Decision, PolicyHash};
use super::request::{Asked, assess};
use super::subject::{Screened, Subject};
use super::verdict::Verdict;

/// Between two looks for what may leave by time.
const LOOK: Duration = Duration::from_secs(1);
/// Most that leave at one look.
const AT_ONCE: usize = 32;
/// Looks between two sweeps.
const SWEEP_EVERY: u64 = 5;
/// Most that are sent again at one try, and most of them at a time.
const AGAIN_MOST: usize = 256;
const AGAIN_AT_ONCE: usize = 8;

/// Holds a transaction, and makes the token by which its sender may let it go.
pub(crate) async fn hold(
    core: &Core,
    asked: Asked<'_>,
    screened: &Screened,
    judged: &Judged,
) -> Result<Waiting, HoldError> {
    let new = NewHold {
        client: asked.client.0.to_string(),
        method: asked.method.to_owned(),
        hash: screened.hash,
        raw: screened.raw.clone(),
        decision: judged.decision.clone(),
        policy: judged.policy,
    };
    let held = on_disk(core, move |hold| hold.hold(new)).await?;
    let token = held.decision.release.token.then(|| {
        let expires_at_s = now_s().saturating_add(core.policy().hold().token_s);
        core.override_key.issue(&Override::of(&held, expires_at_s))
    });
    Ok(Waiting { held: Arc::new(held), token })
}

/// `surety_release`: a sender lets a held transaction go.
pub(crate) async fn release_by_token(core: &Core, client: &Client, params: &[Json<'_>]) -> Result<Answer, RpcError> {
    let [Json::Text(id), Json::Text(token)] = params else {
        return Err(RpcError::params("the hold_id and the override_token are expected"));
    };
    let id: HoldId = id.parse().map_err(|error: HoldError| RpcError::params(error.to_string()))?;
    let held = on_disk(core, move |hold| hold.get(id)).await.map_err(|error| refused(&error))?;
    let said = core
        .override_key
        .verify(token, &held, &client.0, now_s())
        .map_err(|error| RpcError::new(code::POLICY, error.to_string()))?;
    core.metrics.overrides.inc();
    let released = let_go(core, id, Releaser::Token, Some(said.checks)).await.map_err(|error| refused(&error))?;
    Ok(told(core, &released))
}

/// Lets a transaction go: assessed again, where what is overridden (by default, everything that holds it) counts as a
/// warning.
pub(crate) async fn let_go(
    core: &Core,
    id: HoldId,
    by: Releaser,
    overridden: Option<Vec<String>>,
) -> Result<Released, HoldError> {
    // What cannot be recorded is not sent.
    core.audit.check().map_err(|error| HoldError::Unavailable(error.to_string()))?;
    let named = overridden.as_deref();
    let assess = |held: Held| async move {
        let holders = held.decision.holders();
        again(core, &held, named.unwrap_or(&holders)).await
    };
    let released = release(&core.hold, id, by, assess, |held| deliver(core, held)).await?;
    record(core, &released, named.unwrap_or_default()).await;
    Ok(released)
}

/// Records where a transaction stands now, on disk when this ends.
async fn record(core: &Core, released: &Released, overridden: &[String]) {
    core.record_held(released.held(), overridden).await;
}

/// What is said of a held transaction by the present policy and head.
async fn again(core: &Core, held: &Held, overridden: &[String]) -> (Decision, PolicyHash) {
    let client = Client(held.client.as_str().into());
    let screened = match Screened::read(&held.raw, core.chain) {
        Ok(screened) => screened,
        Err(error) => {
            let block =
                Decision { verdict: Verdict::Block, rule: format!("unreadable: {error}"), ..Decision::default() };
            return (block, core.policy().hash());
        }
    };
    let subject = Arc::new(Subject::Transaction(Box::new(screened)));
    let asked = Asked { client: &client, method: &held.method, overridden };
    let judged = assess(core, asked, &[Assessed { subject, before: Arc::default() }]).await;
    (judged.decision, judged.policy)
}

/// What is known by now of a transaction whose sending came to no end: what a node has is not judged any more.
async fn look_again(core: &Core, held: Held) -> Look {
    match core.forwarder.has_transaction(held.hash, &core.metrics).await {
        Ok(true) => Look::Taken { answer: "a node has it".to_owned() },
        Ok(false) => {
            let (decision, policy) = again(core, &held, &held.decision.holders()).await;
            Look::Judged(decision, policy)
        }
        Err(reason) => Look::Silent { reason },
    }
}

/// Sends the held bytes, and only these.
async fn deliver(core: &Core, held: Held) -> Sent {
    let params = json!([held.raw]).to_string();
    let sent = core.forwarder.send(&held.method, &params, Repeat::Transaction(held.hash), &core.metrics).await;
    let error = match sent.answer {
        Answer::Result(answer) => return Sent::Accepted { answer: String::from_utf8_lossy(&answer).into_owned() },
        Answer::NodeError(error) => error,
        Answer::Error(error) => return Sent::Later { reason: error.to_string() },
    };
    let answer = String::from_utf8_lossy(&error).into_owned();
    if standing(&error) == Standing::Known {
        return Sent::Accepted { answer };
    }
    // It may have been sent before, and be mined by now: its own nonce is then too low.
    match (core.forwarder.has_transaction(held.hash, &core.metrics).await, standing(&error)) {
        (Ok(true), _) => Sent::Accepted { answer },
        (Ok(false), Standing::Never) => Sent::Refused { answer },
        _ => Sent::Later { reason: answer },
    }
}

fn told(core: &Core, released: &Released) -> Answer {
    let hash = |held: &Held| held.hash.to_string();
    match released {
        Released::Gone(held) => Answer::Result(json!({ "released": true, "tx_hash": hash(held) }).to_string().into()),
        Released::Kept(held) => {
            let judged = Judged { decision: held.decision.clone(), policy: core.policy().hash(), ..Judged::default() };
            let data = json!({ "released": false, "tx_hash": hash(held), "rule": judged.decision.rule });
            Answer::Error(
                RpcError::new(code::POLICY, "it was assessed again and does not leave").with(data.to_string()),
            )
        }
        Released::Pending(_, reason) => {
            let message = format!("no node has taken it yet; it is judged and sent again by itself: {reason}");
            Answer::Error(RpcError::new(code::UPSTREAM, message))
        }
    }
}

fn refused(error: &HoldError) -> RpcError {
    match error {
        HoldError::Unavailable(_) => RpcError::new(code::INTERNAL, error.to_string()),
        _ => RpcError::params(error.to_string()),
    }
}

/// Lets go what may leave by time, and sends again what no node took, until told to stop.
pub(crate) async fn run(core: Arc<Core>, mut stopped: watch::Receiver<bool>) {
    for look in 0_u64.. {
        send_again(&core).await;
        if look.is_multiple_of(SWEEP_EVERY) {
            sweep(&core).await;
        }
        for id in core.hold.due(AT_ONCE) {
            match let_go(&core, id, Releaser::Time, None).await {
                Ok(released) => tracing::info!(%id, outcome = released.word(), "a held transaction's time has come"),
                Err(error) => tracing::warn!(%id, %error, "a held transaction did not leave"),
            }
        }
        tokio::select! {
            _ = stopped.wait_for(|stopped| *stopped) => return,
            () = tokio::time::sleep(LOOK) => {}
        }
    }
}

/// Judges and sends once more what no node took.
async fn send_again(core: &Core) {
    if core.audit.check().is_err() {
        return;
    }
    let tries = core.hold.interrupted(AGAIN_MOST).into_iter().map(|id| async move {
        match core.hold.send_again(id, |held| look_again(core, held), |held| deliver(core, held)).await {
            Ok(Released::Pending(..)) => {}
            Ok(released) => record(core, &released, &[]).await,
            Err(error) => tracing::warn!(%id, %error, "a held transaction could not be sent again"),
        }
    });
    stream::iter(tries).buffer_unordered(AGAIN_AT_ONCE).collect::<()>().await;
}

async fn sweep(core: &Core) {
    core.hold.set_limits(core.policy().hold().clone());
    match on_disk(core, |hold| hold.sweep()).await {
        Ok(dropped) => {
            for held in &dropped {
                core.record_held(held, &[]).await;
            }
        }
        Err(error) => tracing::warn!(%error, "the quarantine could not be swept"),
    }
}

pub(crate) fn on_disk<T: Send + 'static>(
    core: &Core,
    act: impl FnOnce(&Hold) -> Result<T, HoldError> + Send + 'static,
) -> impl Future<Output = Result<T, HoldError>> {
    let hold = Arc::clone(&core.hold);
    async move {
        let done = tokio::task::spawn_blocking(move || act(&hold)).await;
        done.unwrap_or_else(|error| Err(HoldError::Unavailable(error.to_string())))
    }
}

/// Unix seconds.
pub(crate) fn now_s() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

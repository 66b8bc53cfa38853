//! What is held, and how it leaves: by its sender's token, by the administrator, by time. On leaving it is assessed again.

use std::future::Future;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde_json::json;
use tokio::sync::watch;

use super::assess::Assessed;
use super::core::{Client, Core};
use super::forward::Repeat;
use super::hold::{Held, Hold, HoldError, HoldId, NewHold, Released, Releaser, Sent, release};
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
/// Looks between two tries to send again what no node answered, and between two sweeps.
const AGAIN_EVERY: u64 = 5;

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
    let released = release(
        &core.hold,
        id,
        by,
        |held| async move {
            let overridden = overridden.unwrap_or_else(|| held.decision.holders());
            again(core, &held, &overridden).await
        },
        |held| deliver(core, held),
    )
    .await?;
    if let Released::Gone(held) | Released::Kept(held) = &released {
        core.record_held(held);
    }
    Ok(released)
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

/// Sends the held bytes, and only these.
async fn deliver(core: &Core, held: Held) -> Sent {
    let params = json!([held.raw]).to_string();
    let sent = core.forwarder.send(&held.method, &params, Repeat::Transaction(held.hash), &core.metrics).await;
    let answer = String::from_utf8_lossy(match &sent.answer {
        Answer::Result(text) | Answer::NodeError(text) => text,
        Answer::Error(_) => return Sent::Uncertain,
    })
    .into_owned();
    match sent.answer {
        Answer::Result(_) => Sent::Accepted { answer },
        // It may have been sent before, and be known or mined by now.
        _ if core.forwarder.has_transaction(held.hash, &core.metrics).await => Sent::Accepted { answer },
        _ => Sent::Refused { answer },
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
        Released::Pending(_) => {
            Answer::Error(RpcError::new(code::UPSTREAM, "no node answered: it is sent again by itself"))
        }
    }
}

fn refused(error: &HoldError) -> RpcError {
    match error {
        HoldError::Unavailable(_) => RpcError::new(code::INTERNAL, error.to_string()),
        _ => RpcError::params(error.to_string()),
    }
}

/// Lets go what may leave by time, and sends again what no node answered, until told to stop.
pub(crate) async fn run(core: Arc<Core>, mut stopped: watch::Receiver<bool>) {
    for look in 0_u64.. {
        if look.is_multiple_of(AGAIN_EVERY) {
            send_again(&core).await;
        }
        for id in core.hold.due(AT_ONCE) {
            match let_go(&core, id, Releaser::Time, None).await {
                Ok(released) => tracing::info!(%id, ?released, "a held transaction's time has come"),
                Err(error) => tracing::warn!(%id, %error, "a held transaction did not leave"),
            }
        }
        tokio::select! {
            _ = stopped.wait_for(|stopped| *stopped) => return,
            () = tokio::time::sleep(LOOK) => {}
        }
    }
}

async fn send_again(core: &Arc<Core>) {
    core.hold.set_limits(core.policy().hold().clone());
    let interrupted = on_disk(core, |hold| hold.interrupted()).await.unwrap_or_default();
    for held in interrupted {
        match core.hold.send_again(held.id, |held| deliver(core, held)).await {
            Ok(Released::Gone(held) | Released::Kept(held)) => core.record_held(&held),
            Ok(Released::Pending(_)) => {}
            Err(error) => tracing::warn!(id = %held.id, %error, "a held transaction could not be sent again"),
        }
    }
    match on_disk(core, |hold| hold.sweep()).await {
        Ok(dropped) => dropped.iter().for_each(|held| core.record_held(held)),
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

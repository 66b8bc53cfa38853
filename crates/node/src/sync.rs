//! State sync: fetches the store's operations from peers and serves them.
//!
//! The resolver that comes with the state layer takes fixed-size operations only; ours have variable values.
//! Always true: what a peer sends is decoded under the bounds of the request, checked against a final header by the
//! store, and a peer that sends anything else is blocked; no request above [`MAX_FETCH`] is answered.

use std::cmp::Ordering as Order;
use std::num::NonZeroU64;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use commonware_codec::{Decode as _, Encode as _};
use commonware_cryptography::ed25519::PublicKey;
use commonware_cryptography::sha256;
use commonware_glue::stateful::db::{AttachableResolver, Shared};
use commonware_p2p::{Blocker, Provider, Receiver, Sender};
use commonware_resolver::{self as resolver, Delivery, Fetch, Resolver as _, p2p};
use commonware_runtime::{Clock, Metrics, Spawner, Storage};
use commonware_storage::qmdb::sync::{Feedback, Request, Response, Source, source};
use commonware_utils::channel::{mpsc, oneshot};
use commonware_utils::sync::Mutex;
use commonware_utils::{NZDuration, NZU64, NZUsize};
use rand_core::Rng;

use crate::storage::{Database, Databases, Family, LogOperation, operation_cfg};

/// Most operations of one request. Asking for more than peers serve would hang the sync without a word, so both
/// sides use this one number.
pub(crate) const MAX_FETCH: NonZeroU64 = NZU64!(128);

/// Answers to peers that are read from the store at once; more are not answered, and the peer asks another.
const MAX_SERVING: u64 = 16;

type Answer = Response<Family, LogOperation, sha256::Digest>;

/// What a sync waits with: each answer comes with a way to judge it.
#[derive(Clone)]
pub(crate) struct Waiter {
    id: u64,
    reply: mpsc::Sender<(Answer, oneshot::Sender<bool>)>,
}

impl PartialEq for Waiter {
    fn eq(&self, other: &Self) -> bool {
        self.id == other.id
    }
}

impl Eq for Waiter {}

impl PartialOrd for Waiter {
    fn partial_cmp(&self, other: &Self) -> Option<Order> {
        Some(self.cmp(other))
    }
}

impl Ord for Waiter {
    fn cmp(&self, other: &Self) -> Order {
        self.id.cmp(&other.id)
    }
}

/// The node stopped before an answer came.
#[derive(Clone, Copy, Debug, thiserror::Error)]
#[error("state sync was stopped")]
pub(crate) struct Stopped;

struct Service<E: Spawner + Storage + Clock + Metrics> {
    context: Mutex<E>,
    database: Mutex<Option<Databases<E>>>,
    serving: AtomicU64,
    next: AtomicU64,
}

/// The side that fetches, and to which the store is attached once it is open.
pub(crate) struct StateSync<E: Spawner + Storage + Clock + Metrics> {
    service: Arc<Service<E>>,
    engine: p2p::Mailbox<Request<Family>, PublicKey, Waiter>,
}

/// The side that the resolver's engine calls.
struct Callbacks<E: Spawner + Storage + Clock + Metrics>(Arc<Service<E>>);

impl<E: Spawner + Storage + Clock + Metrics> Clone for StateSync<E> {
    fn clone(&self) -> Self {
        Self { service: Arc::clone(&self.service), engine: self.engine.clone() }
    }
}

impl<E: Spawner + Storage + Clock + Metrics> Clone for Callbacks<E> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<E: Spawner + Storage + Clock + Metrics + Rng> StateSync<E> {
    /// Starts fetching and serving over `net`.
    pub(crate) fn start<P, B, S, R>(context: E, me: PublicKey, peer_provider: P, blocker: B, net: (S, R)) -> Self
    where
        P: Provider<PublicKey = PublicKey>,
        B: Blocker<PublicKey = PublicKey>,
        S: Sender<PublicKey = PublicKey>,
        R: Receiver<PublicKey = PublicKey>,
    {
        let service = Arc::new(Service {
            context: Mutex::new(context.child("service")),
            database: Mutex::new(None),
            serving: AtomicU64::new(0),
            next: AtomicU64::new(0),
        });
        let callbacks = Callbacks(Arc::clone(&service));
        let (engine, mailbox) = p2p::Engine::new(
            context,
            p2p::Config {
                peer_provider,
                blocker,
                consumer: callbacks.clone(),
                producer: callbacks,
                mailbox_size: NZUsize!(1_024),
                me: Some(me),
                fetch_timeout: NZDuration!(Duration::from_secs(2)),
                fetch_retry_delay: Duration::from_millis(100),
                priority_requests: false,
                priority_responses: false,
            },
        );
        engine.start(net);
        Self { service, engine: mailbox }
    }
}

impl<E: Spawner + Storage + Clock + Metrics> resolver::Consumer for Callbacks<E> {
    type Key = Request<Family>;
    type Value = Bytes;
    type Subscriber = Waiter;
    type Outcome = bool;

    fn deliver(&mut self, delivery: Delivery<Self::Key, Waiter>, value: Bytes) -> oneshot::Receiver<bool> {
        let (verdict, judged) = oneshot::channel();
        let Some(answer) = decode(&delivery.key, value) else {
            let _ = verdict.send(false);
            return judged;
        };
        let mut waiting = delivery.subscribers.into_vec();
        waiting.retain(|(waiter, _)| !waiter.reply.is_closed());
        let count = waiting.len();
        let sent = waiting.into_iter().zip(std::iter::repeat_n(answer, count)).filter_map(|((waiter, _), answer)| {
            let (vote, voted) = oneshot::channel();
            waiter.reply.try_send((answer, vote)).ok().map(|()| voted)
        });
        let votes: Vec<oneshot::Receiver<bool>> = sent.collect();
        // All callers check against one history, so the first that judges speaks for all; one that left abstains.
        self.0.context.lock().child("judge").spawn(move |_| async move {
            for vote in votes {
                if let Ok(valid) = vote.await {
                    let _ = verdict.send(valid);
                    return;
                }
            }
        });
        judged
    }
}

/// Reads an answer under the bounds of its request, and only of the kind that was asked for.
fn decode(request: &Request<Family>, value: Bytes) -> Option<Answer> {
    let most = usize::try_from(request.max_ops().get()).ok()?;
    let answer = Answer::decode_cfg(value, &(most, operation_cfg())).ok()?;
    let fits = matches!(
        (request, &answer),
        (Request::Operations { .. }, Response::Operations { .. })
            | (Request::Boundary { .. }, Response::Boundary { .. })
    );
    fits.then_some(answer)
}

impl<E: Spawner + Storage + Clock + Metrics> p2p::Producer for Callbacks<E> {
    type Key = Request<Family>;

    fn produce(&mut self, key: Self::Key) -> oneshot::Receiver<Bytes> {
        let (response, receiver) = oneshot::channel();
        let database = self.0.database.lock().clone();
        let Some(database) = database.filter(|_| key.max_ops() <= MAX_FETCH) else { return receiver };
        if self.0.serving.fetch_add(1, Ordering::Relaxed) >= MAX_SERVING {
            self.0.serving.fetch_sub(1, Ordering::Relaxed);
            return receiver;
        }
        let service = Arc::clone(&self.0);
        self.0.context.lock().child("serve").spawn(move |_| async move {
            if let Ok((answer, _)) = database.serve(key).await {
                let _ = response.send(answer.encode());
            }
            service.serving.fetch_sub(1, Ordering::Relaxed);
        });
        receiver
    }
}

impl<E: Spawner + Storage + Clock + Metrics> Source for StateSync<E> {
    type Family = Family;
    type Digest = sha256::Digest;
    type Op = LogOperation;
    type Error = Stopped;

    async fn serve(&self, request: Request<Family>) -> source::Result<Self> {
        let (reply, mut answers) = mpsc::channel(1);
        let id = self.service.next.fetch_add(1, Ordering::Relaxed);
        let mut engine = self.engine.clone();
        let subscriber = Waiter { id, reply: reply.clone() };
        let _ = engine.fetch(Fetch { key: request, subscriber, span: tracing::Span::none() });
        // The caller drops its end when it is served or gives up; then the fetch must end too.
        self.service.context.lock().child("cancel").spawn(move |_| async move {
            reply.closed().await;
            let _ = engine.retain(move |_, waiter| waiter.id != id);
        });
        let (answer, verdict) = answers.recv().await.ok_or(Stopped)?;
        Ok((answer, Some(Feedback::new(verdict, answers))))
    }
}

impl<E: Spawner + Storage + Clock + Metrics> AttachableResolver<Database<E>> for StateSync<E> {
    async fn attach_database(&self, database: Shared<Database<E>>) {
        *self.service.database.lock() = Some(database);
    }
}

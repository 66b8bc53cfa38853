//! Websockets: the same phases for each frame, and news of subscriptions between them.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::{SinkExt as _, StreamExt as _};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::header::{CONNECTION, HeaderValue, SEC_WEBSOCKET_ACCEPT, SEC_WEBSOCKET_KEY, SEC_WEBSOCKET_VERSION, UPGRADE};
use hyper::upgrade::Upgraded;
use hyper::{HeaderMap, Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use tokio::sync::{Notify, Semaphore, mpsc};
use tokio::task::JoinHandle;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;
use tokio_tungstenite::tungstenite::protocol::{CloseFrame, Role, WebSocketConfig};
use tokio_tungstenite::tungstenite::{Message, Utf8Bytes};

use super::batch::{process, sends};
use super::core::{Client, Core};
use super::feed::{Command, Feed};
use super::jsonrpc::{self, code};
use super::methods::{self, Class};
use super::server::refusal;
use crate::connections::Place;

/// Between two pings; a client that says nothing for three of them is gone.
const PING: Duration = Duration::from_secs(30);
/// Commands that wait for the feed.
const COMMANDS: usize = 64;

type Socket = WebSocketStream<TokioIo<Upgraded>>;

/// Whether a request asks for a websocket.
pub(crate) fn is_upgrade(headers: &HeaderMap) -> bool {
    let names = |name, word: &str| {
        headers
            .get_all(name)
            .iter()
            .filter_map(|value| value.to_str().ok())
            .any(|value: &str| value.split(',').any(|part| part.trim().eq_ignore_ascii_case(word)))
    };
    names(UPGRADE, "websocket") && names(CONNECTION, "upgrade")
}

/// Answers the handshake and serves the websocket. No extension is agreed on, so no frame may be compressed.
pub(crate) fn upgrade(
    core: Arc<Core>,
    place: Arc<Place>,
    client: Client,
    request: Request<Incoming>,
) -> Response<Full<Bytes>> {
    let headers = request.headers();
    let is_13 = headers.get(SEC_WEBSOCKET_VERSION).is_some_and(|version| version == "13");
    let accept = headers.get(SEC_WEBSOCKET_KEY).map(|key| derive_accept_key(key.as_bytes()));
    let Some(accept) = accept.filter(|_| is_13).and_then(|accept| HeaderValue::from_str(&accept).ok()) else {
        return refusal(StatusCode::BAD_REQUEST, code::REQUEST, "a websocket handshake of version 13 is expected");
    };
    tokio::spawn(async move {
        let Ok(upgraded) = hyper::upgrade::on(request).await else { return };
        let most = core.config.limits.body_bytes;
        let config = WebSocketConfig::default().max_message_size(Some(most)).max_frame_size(Some(most));
        let socket = WebSocketStream::from_raw_socket(TokioIo::new(upgraded), Role::Server, Some(config)).await;
        serve(core, &place, client, socket).await;
    });
    let mut response = Response::new(Full::default());
    *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
    let headers = response.headers_mut();
    headers.insert(UPGRADE, HeaderValue::from_static("websocket"));
    headers.insert(CONNECTION, HeaderValue::from_static("Upgrade"));
    headers.insert(SEC_WEBSOCKET_ACCEPT, accept);
    response
}

/// What waits for a client. It never waits itself: a client for which too much waits is cut.
#[derive(Clone)]
pub(crate) struct Outbox {
    queue: mpsc::Sender<Message>,
    cut: Arc<Notify>,
}

impl Outbox {
    /// Gives the client a text, or cuts it.
    pub(crate) fn push(&self, text: Vec<u8>) {
        if text.is_empty() {
            return;
        }
        // It is made of JSON that was read as UTF-8.
        let message = match Utf8Bytes::try_from(Bytes::from(text)) {
            Ok(text) => Message::Text(text),
            Err(_) => return,
        };
        if self.queue.try_send(message).is_err() {
            self.cut();
        }
    }

    /// Ends the connection.
    pub(crate) fn cut(&self) {
        self.cut.notify_one();
    }
}

async fn serve(core: Arc<Core>, place: &Place, client: Client, socket: Socket) {
    let limits = &core.config.limits;
    let (sink, mut stream) = socket.split();
    let (queue, waiting) = mpsc::channel(limits.websocket_queue);
    let outbox = Outbox { queue, cut: Arc::new(Notify::new()) };
    let writer = tokio::spawn(write(sink, waiting, Duration::from_secs(limits.write_timeout_s)));
    let (commands, inbox) = mpsc::channel(COMMANDS);
    let feed = tokio::spawn(Feed::new(Arc::clone(&core), outbox.clone(), inbox).run());
    let room = Arc::new(Semaphore::new(limits.websocket_requests));
    let mut stopped = place.stopped.clone();
    let mut is_cut = false;
    let mut session = Session { core: Arc::clone(&core), client, outbox: outbox.clone(), commands, last_send: None };
    loop {
        // A client that asks faster than it is answered waits in its own socket.
        let Ok(permit) = Arc::clone(&room).acquire_owned().await else { break };
        let message = tokio::select! {
            message = tokio::time::timeout(PING * 3, stream.next()) => message,
            () = outbox.cut.notified() => {
                core.metrics.slow_clients.inc();
                is_cut = true;
                break;
            }
            _ = stopped.wait_for(|stopped| *stopped) => break,
        };
        match message {
            Ok(Some(Ok(Message::Text(text)))) => session.frame(text.into(), permit),
            Ok(Some(Ok(Message::Binary(bytes)))) => session.frame(bytes, permit),
            Ok(Some(Ok(Message::Ping(_) | Message::Pong(_) | Message::Frame(_)))) => {}
            Ok(Some(Ok(Message::Close(_)) | Err(_)) | None) | Err(_) => break,
        }
    }
    feed.abort();
    drop((session, outbox));
    let abort = writer.abort_handle();
    if is_cut {
        abort.abort();
    }
    // What is under way still goes out, if the client takes it.
    if tokio::time::timeout(Duration::from_secs(limits.drain_s), writer).await.is_err() {
        abort.abort();
    }
}

async fn write(
    mut sink: futures::stream::SplitSink<Socket, Message>,
    mut waiting: mpsc::Receiver<Message>,
    within: Duration,
) {
    loop {
        let message = match tokio::time::timeout(PING, waiting.recv()).await {
            Ok(Some(message)) => message,
            Ok(None) => break,
            Err(_) => Message::Ping(Bytes::new()),
        };
        if !matches!(tokio::time::timeout(within, sink.send(message)).await, Ok(Ok(()))) {
            waiting.close();
            return;
        }
    }
    let close = CloseFrame { code: 1001.into(), reason: Utf8Bytes::from_static("going away") };
    let _ = tokio::time::timeout(within, sink.send(Message::Close(Some(close)))).await;
}

/// One client's side of a websocket.
struct Session {
    core: Arc<Core>,
    client: Client,
    outbox: Outbox,
    commands: mpsc::Sender<Command>,
    /// The last frame that sent something: the next one waits for it.
    last_send: Option<JoinHandle<()>>,
}

impl Session {
    fn frame(&mut self, body: Bytes, permit: tokio::sync::OwnedSemaphorePermit) {
        if let Some(command) = subscription(&body, self.core.config.limits.batch) {
            // The feed is busy with a node that does not answer: the client is told so by silence no longer than a cut.
            if self.commands.try_send(command).is_err() {
                self.outbox.cut();
            }
            return;
        }
        let (core, client, outbox) = (Arc::clone(&self.core), self.client.clone(), self.outbox.clone());
        let in_order = sends(&body, core.config.limits.batch);
        let before = if in_order { self.last_send.take() } else { None };
        let task = tokio::spawn(async move {
            if let Some(before) = before {
                // One that panicked is over too.
                let _ = before.await;
            }
            outbox.push(process(&core, &client, &body).await.body);
            drop(permit);
        });
        if in_order {
            self.last_send = Some(task);
        }
    }
}

/// The command in a frame that asks for news or for an end of them.
fn subscription(body: &[u8], most: usize) -> Option<Command> {
    let Ok(jsonrpc::Message::One(Ok(request))) = jsonrpc::read(body, most) else { return None };
    let is_subscription = methods::find(&request.method).is_some_and(|method| method.class == Class::Subscribe);
    is_subscription.then(|| Command {
        id: request.id.map(str::to_owned),
        is_end: request.method == "eth_unsubscribe",
        params: request.params.map_or_else(|| "[]".to_owned(), |params| params.to_text()),
    })
}

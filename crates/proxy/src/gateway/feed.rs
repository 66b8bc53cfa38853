//! Subscriptions of one websocket: asked of a node, and asked again of the next one when it is lost.
//!
//! Always true: a client knows its subscriptions by numbers of the gateway, which outlive any node's.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use futures::{SinkExt as _, StreamExt as _};
use hyper::Uri;
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio_rustls::TlsConnector;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;
use tokio_tungstenite::{WebSocketStream, client_async_with_config};

use super::core::Core;
use super::json::Json;
use super::jsonrpc::{Answer, FromNode, RpcError, code, read_from_node, write_reply, write_request};
use super::tls::whole;
use super::websocket::Outbox;

/// Kinds of news that are passed on.
const KINDS: &[&str] = &["newHeads", "logs", "newPendingTransactions", "syncing"];
/// Longest parameters of a subscription, bytes.
const MAX_PARAMS: usize = 64 << 10;
/// For a node to take a connection.
const CONNECT: Duration = Duration::from_secs(3);
/// Between the first tries to find a node again; doubled up to [`MOST_PAUSE`].
const PAUSE: Duration = Duration::from_millis(50);
const MOST_PAUSE: Duration = Duration::from_secs(5);

type NodeSocket = WebSocketStream<Box<dyn Pipe>>;

/// A connection, with TLS or without.
trait Pipe: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Pipe for T {}

/// What a client asks of its feed.
#[derive(Debug)]
pub(crate) struct Command {
    pub(crate) id: Option<String>,
    pub(crate) is_end: bool,
    pub(crate) params: String,
}

#[derive(Debug)]
struct Subscription {
    params: String,
    /// The node's number, once it gave one.
    of_node: Option<String>,
}

/// Who waits for a node's answer.
#[derive(Debug)]
enum Waiting {
    /// A client, for its new subscription.
    New { id: Option<String>, number: u64 },
    /// Nobody: a subscription is made anew after a loss.
    Again { number: u64 },
    /// Nobody: an end needs no answer.
    End,
}

/// The subscriptions of one client.
pub(crate) struct Feed {
    core: Arc<Core>,
    outbox: Outbox,
    commands: mpsc::Receiver<Command>,
    subscriptions: BTreeMap<u64, Subscription>,
    waiting: BTreeMap<u64, Waiting>,
    next: u64,
}

impl Feed {
    pub(crate) fn new(core: Arc<Core>, outbox: Outbox, commands: mpsc::Receiver<Command>) -> Self {
        Self { core, outbox, commands, subscriptions: BTreeMap::new(), waiting: BTreeMap::new(), next: 1 }
    }

    /// Serves until the client is gone.
    pub(crate) async fn run(mut self) {
        while let Some(first) = self.commands.recv().await {
            let Some(mut socket) = self.connect().await else {
                self.reply(first.id, &Answer::Error(RpcError::new(code::UPSTREAM, "no node gives news")));
                continue;
            };
            if self.take(&mut socket, first).await.is_ok() && self.follow(&mut socket).await.is_none() {
                return;
            }
            if self.keep_up().await.is_none() {
                return;
            }
        }
    }

    /// Finds a node again, as often as it is lost, while there are subscriptions; `None` when the client is gone.
    async fn keep_up(&mut self) -> Option<()> {
        let mut pause = PAUSE;
        loop {
            self.lose();
            if self.subscriptions.is_empty() {
                return Some(());
            }
            if let Some(mut socket) = self.connect().await
                && self.ask_again(&mut socket).await.is_ok()
            {
                pause = PAUSE;
                self.follow(&mut socket).await?;
                continue;
            }
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(MOST_PAUSE);
            if self.commands.is_closed() {
                return None;
            }
        }
    }

    /// Nobody's answer will come from a node that is lost.
    fn lose(&mut self) {
        for waiting in std::mem::take(&mut self.waiting).into_values() {
            if let Waiting::New { id, number } = waiting {
                self.remove(number);
                self.reply(id, &Answer::Error(RpcError::new(code::UPSTREAM, "the node was lost")));
            }
        }
        for subscription in self.subscriptions.values_mut() {
            subscription.of_node = None;
        }
    }

    async fn connect(&self) -> Option<NodeSocket> {
        let upstreams = &self.core.forwarder.upstreams;
        for node in upstreams.in_order() {
            let Some(uri) = node.ws() else { continue };
            let opened = open(uri, upstreams.tls(), self.core.config.limits.reply_bytes);
            match tokio::time::timeout(CONNECT, opened).await {
                Ok(Ok(socket)) => return Some(socket),
                Ok(Err(reason)) => tracing::warn!(node = %uri, reason, "a node gives no websocket"),
                Err(_) => tracing::warn!(node = %uri, "a node gives no websocket in time"),
            }
        }
        None
    }

    /// Passes news and commands on until the node is lost, or returns `None` when the client is gone.
    async fn follow(&mut self, socket: &mut NodeSocket) -> Option<()> {
        loop {
            tokio::select! {
                command = self.commands.recv() => {
                    if self.take(socket, command?).await.is_err() {
                        return Some(());
                    }
                    if self.subscriptions.is_empty() && self.waiting.is_empty() {
                        return Some(());
                    }
                }
                message = socket.next() => match message {
                    Some(Ok(Message::Text(text))) => self.take_in(text.as_bytes()),
                    Some(Ok(Message::Binary(bytes))) => self.take_in(&bytes),
                    Some(Ok(Message::Ping(_) | Message::Pong(_) | Message::Frame(_))) => {}
                    Some(Ok(Message::Close(_)) | Err(_)) | None => return Some(()),
                },
            }
        }
    }

    /// Does what the client asks; fails when the node is lost.
    async fn take(&mut self, socket: &mut NodeSocket, command: Command) -> Result<(), ()> {
        if command.is_end {
            return self.end(socket, command).await;
        }
        if let Err(error) = self.check(&command.params) {
            self.reply(command.id, &Answer::Error(error));
            return Ok(());
        }
        let number = self.next();
        let subscription = Subscription { params: command.params.clone(), of_node: None };
        self.subscriptions.insert(number, subscription);
        self.core.metrics.subscriptions.inc();
        self.ask(socket, "eth_subscribe", &command.params, Waiting::New { id: command.id, number }).await
    }

    fn check(&self, params: &str) -> Result<(), RpcError> {
        if self.subscriptions.len() >= self.core.config.limits.subscriptions {
            return Err(RpcError::new(code::LIMIT, "too many subscriptions"));
        }
        let json = Json::read(params.as_bytes(), 16).map_err(|error| RpcError::params(error.to_string()))?;
        let kind = json.as_list().and_then(|params| params.first()?.as_str());
        if params.len() > MAX_PARAMS || !kind.is_some_and(|kind| KINDS.contains(&kind)) {
            return Err(RpcError::params(format!("a subscription is one of {}", KINDS.join(", "))));
        }
        Ok(())
    }

    async fn end(&mut self, socket: &mut NodeSocket, command: Command) -> Result<(), ()> {
        let json = Json::read(command.params.as_bytes(), 4).ok();
        let number = json.as_ref().and_then(|params| parse(params.as_list()?.first()?.as_str()?));
        let ended = number.and_then(|number| self.remove(number));
        self.reply(command.id, &Answer::Result(ended.is_some().to_string().into()));
        match ended.and_then(|subscription| subscription.of_node) {
            Some(of_node) => {
                let mut params = String::from("[");
                Json::Text(of_node.into()).write(&mut params);
                params.push(']');
                self.ask(socket, "eth_unsubscribe", &params, Waiting::End).await
            }
            None => Ok(()),
        }
    }

    async fn ask_again(&mut self, socket: &mut NodeSocket) -> Result<(), ()> {
        let all: Vec<_> = self.subscriptions.iter().map(|(number, its)| (*number, its.params.clone())).collect();
        for (number, params) in all {
            self.ask(socket, "eth_subscribe", &params, Waiting::Again { number }).await?;
        }
        Ok(())
    }

    async fn ask(&mut self, socket: &mut NodeSocket, method: &str, params: &str, waiting: Waiting) -> Result<(), ()> {
        let id = self.next();
        self.waiting.insert(id, waiting);
        let message = Message::Text(write_request(id, method, params).into());
        tokio::time::timeout(CONNECT, socket.send(message)).await.map_err(drop)?.map_err(drop)
    }

    fn take_in(&mut self, body: &[u8]) {
        match read_from_node(body) {
            Some(FromNode::Reply { id, answer }) => {
                let waiting = id.parse().ok().and_then(|id: u64| self.waiting.remove(&id));
                match waiting {
                    Some(Waiting::New { id, number }) => self.made(number, &answer, Some(id)),
                    Some(Waiting::Again { number }) => self.made(number, &answer, None),
                    Some(Waiting::End) | None => {}
                }
            }
            Some(FromNode::News { subscription, result }) => {
                let number = self.subscriptions.iter().find(|(_, its)| its.of_node.as_ref() == Some(&subscription));
                if let Some((number, _)) = number {
                    self.outbox.push(news(*number, result));
                }
            }
            None => {}
        }
    }

    /// A node took a subscription, or did not. `client` is who waits for it.
    fn made(&mut self, number: u64, answer: &Answer, client: Option<Option<String>>) {
        let of_node = match answer {
            Answer::Result(result) => Json::read(result, 1).ok().and_then(|id| id.as_str().map(str::to_owned)),
            _ => None,
        };
        let is_made = of_node.is_some();
        if let Some(subscription) = self.subscriptions.get_mut(&number).filter(|_| is_made) {
            subscription.of_node = of_node;
        } else {
            self.remove(number);
        }
        match (client, is_made) {
            (Some(id), true) => self.reply(id, &Answer::Result(format!("\"{number:#x}\"").into())),
            (Some(id), false) => self.reply(id, answer),
            // The client cannot be told that its subscription ended, except by its end.
            (None, false) => self.outbox.cut(),
            (None, true) => {}
        }
    }

    fn remove(&mut self, number: u64) -> Option<Subscription> {
        let removed = self.subscriptions.remove(&number);
        if removed.is_some() {
            self.core.metrics.subscriptions.dec();
        }
        removed
    }

    const fn next(&mut self) -> u64 {
        self.next += 1;
        self.next
    }

    fn reply(&self, id: Option<String>, answer: &Answer) {
        if let Some(id) = id {
            let mut text = Vec::new();
            write_reply(&id, answer, &mut text);
            self.outbox.push(text);
        }
    }
}

impl Drop for Feed {
    fn drop(&mut self) {
        self.core.metrics.subscriptions.dec_by(i64::try_from(self.subscriptions.len()).unwrap_or_default());
    }
}

async fn open(uri: &Uri, tls: &Arc<ClientConfig>, most: usize) -> Result<NodeSocket, String> {
    let host = uri.host().ok_or("its URL names no host")?.trim_start_matches('[').trim_end_matches(']');
    let is_secure = uri.scheme_str() == Some("wss");
    let port = uri.port_u16().unwrap_or(if is_secure { 443 } else { 80 });
    let stream = TcpStream::connect((host, port)).await.map_err(|error| error.to_string())?;
    let _ = stream.set_nodelay(true);
    let pipe: Box<dyn Pipe> = if is_secure {
        let name = ServerName::try_from(host.to_owned()).map_err(|error| error.to_string())?;
        let secured = TlsConnector::from(Arc::clone(tls)).connect(name, stream).await;
        Box::new(secured.map_err(|error| whole(&error))?)
    } else {
        Box::new(stream)
    };
    let config = WebSocketConfig::default().max_message_size(Some(most)).max_frame_size(Some(most));
    let opened = client_async_with_config(uri, pipe, Some(config)).await;
    opened.map(|(socket, _)| socket).map_err(|error| error.to_string())
}

fn parse(number: &str) -> Option<u64> {
    u64::from_str_radix(number.strip_prefix("0x")?, 16).ok()
}

fn news(number: u64, result: &str) -> Vec<u8> {
    let head = r#"{"jsonrpc":"2.0","method":"eth_subscription","params":{"subscription":""#;
    format!("{head}{number:#x}\",\"result\":{result}}}}}").into_bytes()
}

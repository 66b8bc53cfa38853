//! Brings requests to nodes: reads to whichever answers first, submissions to one.
//!
//! Invariant: nothing but a signed transaction is ever sent a second time, and that only after a node did not answer:
//! sent twice, it is still one transaction.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use alloy_primitives::B256;
use bytes::Bytes;
use futures::StreamExt as _;
use futures::stream::FuturesUnordered;

use super::cache::Reads;
use super::config::GatewayConfig;
use super::json::Json;
use super::jsonrpc::{Answer, RpcError, code};
use super::metrics::Metrics;
use super::upstream::{CallError, Node, Upstreams};
use crate::error::Error;

/// What nodes say of a transaction that they have already; the first words of each in lower case.
const ALREADY_KNOWN: &[&str] =
    &["already known", "alreadyknown", "known transaction", "transaction already imported", "already imported"];
/// What nodes say of a transaction that none will ever take; words of each in lower case (geth, Nethermind, Erigon, Besu,
/// Reth, Anvil). Whatever else they say may be otherwise later: a full pool, a low fee, an empty account.
const NEVER: &[&str] = &[
    "nonce too low",
    "nonce is too low",
    "oldnonce",
    "invalid sender",
    "invalid signature",
    "invalid chain id",
    "invalid chainid",
    "transaction type not supported",
    "intrinsic gas too low",
    "intrinsic gas exceeds gas limit",
    "oversized data",
    "initcode size exceeded",
    "priority fee per gas higher than max fee per gas",
    "tip higher than fee cap",
    "gas uint64 overflow",
    "nonce has max value",
];
/// Longer than a node waits for a block on its own.
const SYNC_EXTRA: Duration = Duration::from_secs(60);

/// The way to the nodes.
pub(crate) struct Forwarder {
    pub(crate) upstreams: Upstreams,
    reads: Reads,
    read_within: Duration,
    send_within: Duration,
    hedge: Option<Duration>,
    final_depth: Option<u64>,
    /// The last final block.
    last_final: AtomicU64,
}

/// What became of a submission.
#[derive(Clone, Debug)]
pub(crate) struct Forwarded {
    pub(crate) answer: Answer,
    /// Who answered.
    pub(crate) node: Option<String>,
    /// From the first try to the answer.
    pub(crate) took: Duration,
}

/// What a node's error says of a signed transaction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Standing {
    /// It has it already.
    Known,
    /// No node will ever take it.
    Never,
    /// It does not take it now.
    NotNow,
}

/// How a submission may be repeated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Repeat {
    /// It is one signed transaction with this hash, and its hash is what the method answers.
    Transaction(B256),
    /// Never.
    Never,
}

impl Forwarder {
    pub(crate) fn new(config: &GatewayConfig) -> Result<Self, Error> {
        let limits = &config.limits;
        Ok(Self {
            upstreams: Upstreams::new(config)?,
            reads: Reads::new(config.cache.bytes),
            read_within: Duration::from_millis(limits.read_ms),
            send_within: Duration::from_millis(limits.send_ms),
            hedge: (limits.hedge_ms > 0).then(|| Duration::from_millis(limits.hedge_ms)),
            final_depth: config.cache.final_depth,
            last_final: AtomicU64::new(0),
        })
    }

    /// Answers a read, from the cache or from the first node that answers.
    pub(crate) async fn read(&self, method: &str, params: &Json<'_>, metrics: &Metrics) -> Answer {
        let key = self.reads.key(method, params, self.last_final.load(Ordering::Relaxed));
        if let Some(result) = key.as_deref().and_then(|key| self.reads.get(key)) {
            metrics.hit("reads");
            return Answer::Result(result);
        }
        let answer = self.ask(method, &params.to_text(), metrics).await.unwrap_or_else(|error| absent(&error));
        if let (Some(key), Answer::Result(result)) = (key, &answer) {
            self.reads.keep(key, result);
        }
        answer
    }

    /// Asks the preferred node alone: it remembers something of the reader.
    pub(crate) async fn read_local(&self, method: &str, params: &str, metrics: &Metrics) -> Answer {
        let Some(node) = self.upstreams.all().first() else { return absent(&nobody()) };
        self.call(node, method, params, self.read_within, metrics).await.unwrap_or_else(|error| absent(&error))
    }

    async fn ask(&self, method: &str, params: &str, metrics: &Metrics) -> Result<Answer, CallError> {
        let mut left = self.upstreams.in_order().into_iter();
        let mut under_way = FuturesUnordered::new();
        let mut last = nobody();
        let start = |node| self.call(node, method, params, self.read_within, metrics);
        under_way.extend(left.next().map(start));
        loop {
            // A read that takes long is asked of one more node; the first answer counts.
            let hedge = async {
                match self.hedge.filter(|_| left.len() > 0) {
                    Some(after) => tokio::time::sleep(after).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                answered = under_way.next() => match answered {
                    None => return Err(last),
                    Some(Ok(answer)) => return Ok(answer),
                    Some(Err(error)) => {
                        last = error;
                        under_way.extend(left.next().map(start));
                    }
                },
                () = hedge => under_way.extend(left.next().map(start)),
            }
        }
    }

    /// Sends a submission to one node. A signed transaction goes to another one when the first does not answer.
    pub(crate) async fn send(&self, method: &str, params: &str, repeat: Repeat, metrics: &Metrics) -> Forwarded {
        let began = Instant::now();
        let (answer, node) = self.send_to_one(method, params, repeat, metrics).await;
        Forwarded { answer, node: node.map(|node| node.uri().to_string()), took: began.elapsed() }
    }

    /// Whether a node has a transaction, pending or mined.
    ///
    /// # Errors
    /// What the nodes say instead of yes or no.
    pub(crate) async fn has_transaction(&self, hash: B256, metrics: &Metrics) -> Result<bool, String> {
        match self.ask("eth_getTransactionByHash", &format!("[\"{hash}\"]"), metrics).await {
            Ok(Answer::Result(found)) => Ok(found.as_ref() != b"null"),
            Ok(Answer::NodeError(error)) => Err(String::from_utf8_lossy(&error).into_owned()),
            Ok(Answer::Error(error)) => Err(error.to_string()),
            Err(error) => Err(error.to_string()),
        }
    }

    /// A second node refuses what the first one took and has mined: whoever sent it would send it again as another.
    async fn mined_meanwhile(&self, answer: Answer, repeat: Repeat, reached: bool, metrics: &Metrics) -> Answer {
        match (&answer, repeat) {
            (Answer::NodeError(_), Repeat::Transaction(hash))
                if reached && self.has_transaction(hash, metrics).await == Ok(true) =>
            {
                Answer::Result(Bytes::from(format!("\"{hash}\"")))
            }
            _ => answer,
        }
    }

    async fn send_to_one(
        &self,
        method: &str,
        params: &str,
        repeat: Repeat,
        metrics: &Metrics,
    ) -> (Answer, Option<&Node>) {
        let within = if method.ends_with("Sync") { self.send_within + SYNC_EXTRA } else { self.send_within };
        let nodes = self.upstreams.in_order();
        let Some(first) = nodes.first().copied() else { return (absent(&nobody()), None) };
        let mut failure = match self.call(first, method, params, within, metrics).await {
            Ok(answer) => return (answer, Some(first)),
            Err(error) => error,
        };
        // The only node may have dropped a connection that was kept for long: it is asked once more.
        let others = if nodes.len() > 1 { &nodes[1..] } else { &nodes[..] };
        let mut reached = !matches!(failure, CallError::Unreachable(_));
        for node in others.iter().copied() {
            if repeat == Repeat::Never && reached {
                break;
            }
            match self.call(node, method, params, within, metrics).await {
                Ok(answer) => {
                    let answer = known(answer, repeat, reached);
                    return (self.mined_meanwhile(answer, repeat, reached, metrics).await, Some(node));
                }
                Err(error) => {
                    reached |= !matches!(error, CallError::Unreachable(_));
                    failure = error;
                }
            }
        }
        (absent(&failure), None)
    }

    async fn call(
        &self,
        node: &Node,
        method: &str,
        params: &str,
        within: Duration,
        metrics: &Metrics,
    ) -> Result<Answer, CallError> {
        let began = Instant::now();
        let answer = self.upstreams.call(node, method, params, within).await;
        metrics.upstream_seconds.observe(began.elapsed().as_secs_f64());
        if answer.is_err() {
            metrics.upstream_failures.inc();
        }
        answer
    }

    /// The chain that the nodes serve.
    ///
    /// # Errors
    /// [`CallError`] when none says it.
    pub(crate) async fn chain_id(&self) -> Result<u64, CallError> {
        let mut last = nobody();
        for node in self.upstreams.all() {
            match self.upstreams.call(node, "eth_chainId", "[]", self.read_within).await {
                Ok(answer) => match number(&answer) {
                    Some(id) => return Ok(id),
                    None => last = CallError::Broken("eth_chainId gave no number".to_owned()),
                },
                Err(error) => last = error,
            }
        }
        Err(last)
    }

    /// Looks at every node: whether it answers, which chain it serves, how far it is.
    pub(crate) async fn probe(&self, chain_id: u64, within: Duration) {
        let looks = self.upstreams.all().iter().map(|node| async move {
            let Ok(answer) = self.upstreams.call(node, "eth_chainId", "[]", within).await else { return };
            let is_foreign = number(&answer).is_some_and(|found| found != chain_id);
            if is_foreign {
                tracing::error!(node = %node.uri(), chain_id, "a node serves another chain: it is not used");
            }
            node.set_foreign(is_foreign);
            if let Ok(answer) = self.upstreams.call(node, "eth_blockNumber", "[]", within).await {
                node.head.store(number(&answer).unwrap_or_default(), Ordering::Relaxed);
            }
        });
        futures::future::join_all(looks).await;
        if let Some(last) = self.find_final(within).await {
            self.last_final.store(last, Ordering::Relaxed);
        }
    }

    /// The lowest block that every answering node has and that counts as final.
    async fn find_final(&self, within: Duration) -> Option<u64> {
        let nodes = self.upstreams.in_order();
        if let Some(depth) = self.final_depth {
            let heads = nodes.iter().map(|node| node.head.load(Ordering::Relaxed)).filter(|head| *head > 0);
            return heads.min()?.checked_sub(depth);
        }
        let answer = self.upstreams.call(nodes.first()?, "eth_getBlockByNumber", "[\"finalized\",false]", within).await;
        let Ok(Answer::Result(block)) = answer else { return None };
        let block = Json::read(&block, 16).ok()?;
        u64::try_from(super::hex::quantity(block.get("number")?.as_str()?).ok()?).ok()
    }
}

fn nobody() -> CallError {
    CallError::Unreachable("no node serves this chain".to_owned())
}

fn absent(error: &CallError) -> Answer {
    Answer::Error(RpcError::new(code::UPSTREAM, format!("the node did not answer: {error}")))
}

fn number(answer: &Answer) -> Option<u64> {
    let Answer::Result(result) = answer else { return None };
    let value = Json::read(result, 1).ok()?;
    u64::try_from(super::hex::quantity(value.as_str()?).ok()?).ok()
}

/// A node that has the transaction already has it from the first try.
fn known(answer: Answer, repeat: Repeat, reached: bool) -> Answer {
    let (Answer::NodeError(error), Repeat::Transaction(hash), true) = (&answer, repeat, reached) else { return answer };
    if standing(error) == Standing::Known {
        return Answer::Result(Bytes::from(format!("\"{hash}\"")));
    }
    answer
}

/// What a node's error, its JSON, says of the transaction that it was sent.
pub(crate) fn standing(error: &[u8]) -> Standing {
    let error = Json::read(error, 16).ok();
    let message = error.as_ref().and_then(|error| error.get("message")?.as_str()).unwrap_or_default().to_lowercase();
    if ALREADY_KNOWN.iter().any(|known| message.starts_with(known)) {
        return Standing::Known;
    }
    if NEVER.iter().any(|never| message.contains(never)) { Standing::Never } else { Standing::NotNow }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_no_node_will_ever_take_is_refused_for_good() {
        let said =
            |message: &str| standing(serde_json::json!({"code": -32000, "message": message}).to_string().as_bytes());
        for message in
            ["nonce too low: next nonce 5, tx nonce 3", "Nonce too low", "OldNonce, Current nonce: 7", "invalid sender"]
        {
            assert_eq!(said(message), Standing::Never, "{message}");
        }
        for message in ["already known", "Known transaction", "AlreadyKnown", "transaction already imported"] {
            assert_eq!(said(message), Standing::Known, "{message}");
        }
        let passing = [
            "txpool is full",
            "transaction underpriced",
            "insufficient funds for gas * price + value",
            "nonce too high",
            "",
        ];
        for message in passing {
            assert_eq!(said(message), Standing::NotNow, "{message}");
        }
        assert_eq!(standing(b"[]"), Standing::NotNow);
        assert_eq!(standing(b"nonsense"), Standing::NotNow);
    }
}

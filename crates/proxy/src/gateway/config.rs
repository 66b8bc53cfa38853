//! What an administrator states about a gateway: a TOML file, or the same struct.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use hyper::Uri;
use serde::{Deserialize, Serialize};
use surety_primitives::PurchaseId;

use crate::connections::Bounds;
use crate::error::Error;

/// A gateway. Unknown fields are refused: a misspelt limit would be no limit.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GatewayConfig {
    /// Where wallets connect, by HTTP and websocket.
    pub listen: SocketAddr,
    /// Where `/health` and `/metrics` are; not for the public.
    pub admin: SocketAddr,
    /// The nodes behind, at least one, the preferred one first.
    #[serde(rename = "upstream")]
    pub upstreams: Vec<UpstreamConfig>,
    /// The chain; asked of the nodes when it is left out.
    #[serde(default)]
    pub chain_id: Option<u64>,
    /// The folder of held transactions and of the audit log.
    pub data: PathBuf,
    /// The policy's file; without one the checks' own rules decide.
    #[serde(default)]
    pub policy: Option<PathBuf>,
    /// Whether the record of what is forwarded is on disk before anybody is told that it was: the wait is the disk's, some
    /// 0.05 to 5 ms, and runs beside the node's. Without it the record follows by as much. What is held or let go is on disk
    /// before the answer in any case.
    #[serde(default = "yes")]
    pub wait_for_disk: bool,
    /// Whether transactions that name no chain are taken.
    #[serde(default)]
    pub allow_unprotected: bool,
    /// Whether methods are screened that ask a node to sign; otherwise they are refused.
    #[serde(default)]
    pub node_signs: bool,
    /// Header that a trusted proxy before the gateway writes its client's name into; without one, the address counts.
    #[serde(default)]
    pub client_header: Option<String>,
    /// Bounds.
    #[serde(default)]
    pub limits: GatewayLimits,
    /// How reads are cached.
    #[serde(default)]
    pub cache: CacheConfig,
    /// Packages of remote services that the policy may name.
    #[serde(default, rename = "service")]
    pub services: Vec<ServiceConfig>,
}

/// By which right a remote service is called.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ServiceConfig {
    /// Its name in the policy.
    pub name: String,
    /// The purchase.
    pub purchase: PurchaseId,
    /// The file of the key that calls, where it is not that of the purchase: the last one of the chain.
    #[serde(default)]
    pub key: Option<PathBuf>,
    /// Sub-grants from the purchase to that key, base64 as in the header `Surety-Chain`; none where the purchase's own key
    /// calls.
    #[serde(default)]
    pub chain: Option<String>,
}

/// A node.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct UpstreamConfig {
    /// Its JSON-RPC, such as `http://127.0.0.1:8545` or `https://node.example`.
    pub url: String,
    /// Its websocket, such as "ws://127.0.0.1:8546" or "wss://node.example"; without one it gives no subscriptions.
    #[serde(default)]
    pub ws: Option<String>,
}

/// Bounds on what one client, and all of them, may hold.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct GatewayLimits {
    /// Connections at a time.
    pub connections: usize,
    /// Connections at a time of one IPv4 address or IPv6 /64 network; 0 for no limit.
    pub connections_per_address: usize,
    /// Requests a second of one client, batch elements counted one by one; 0 for no limit.
    pub requests_per_second: u32,
    /// Bytes of a request's headers.
    pub header_bytes: usize,
    /// Bytes of a request's body, before and after it is decompressed.
    pub body_bytes: usize,
    /// Elements of a batch.
    pub batch: usize,
    /// Bytes of a node's reply.
    pub reply_bytes: usize,
    /// Seconds for a request's headers, and again for its body, to arrive.
    pub read_timeout_s: u64,
    /// Seconds in which a client must read something of what waits for it.
    pub write_timeout_s: u64,
    /// Milliseconds for all checks together.
    pub assess_ms: u64,
    /// Heavy checks that run at a time.
    pub heavy_checks: usize,
    /// Milliseconds that a node may take for a read.
    pub read_ms: u64,
    /// Milliseconds that a node may take for a submission.
    pub send_ms: u64,
    /// Milliseconds after which a read is asked of a second node too; 0 for never.
    pub hedge_ms: u64,
    /// Milliseconds between two looks at each node.
    pub probe_ms: u64,
    /// Requests at a time of one websocket, or of one HTTP/2 connection.
    pub websocket_requests: usize,
    /// Subscriptions of one websocket.
    pub subscriptions: usize,
    /// Messages that may wait for the client of a websocket before it is cut.
    pub websocket_queue: usize,
    /// Seconds that requests in flight get at shutdown.
    pub drain_s: u64,
}

const fn yes() -> bool {
    true
}

impl Default for GatewayLimits {
    fn default() -> Self {
        Self {
            connections: 4_096,
            connections_per_address: 1_024,
            requests_per_second: 0,
            header_bytes: 16 << 10,
            body_bytes: 10 << 20,
            batch: 100,
            reply_bytes: 64 << 20,
            read_timeout_s: 10,
            write_timeout_s: 30,
            assess_ms: 200,
            heavy_checks: 64,
            read_ms: 30_000,
            send_ms: 10_000,
            hedge_ms: 0,
            probe_ms: 3_000,
            websocket_requests: 32,
            subscriptions: 64,
            websocket_queue: 1_024,
            drain_s: 20,
        }
    }
}

/// How immutable reads are cached.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct CacheConfig {
    /// Bytes of results; 0 for no cache.
    pub bytes: u64,
    /// Blocks below the head that count as final; without it, what the nodes call finalized does.
    pub final_depth: Option<u64>,
}

impl Default for CacheConfig {
    fn default() -> Self {
        Self { bytes: 64 << 20, final_depth: None }
    }
}

impl GatewayConfig {
    /// Reads a TOML file's text.
    ///
    /// # Errors
    /// [`Error::Config`] with the place and the reason.
    pub fn from_toml(text: &str) -> Result<Self, Error> {
        let config: Self = toml::from_str(text).map_err(|error| Error::Config(error.to_string()))?;
        config.check()?;
        Ok(config)
    }

    /// Whether the parts go together.
    ///
    /// # Errors
    /// [`Error::Config`].
    pub fn check(&self) -> Result<(), Error> {
        let limits = &self.limits;
        let rules = [
            (!self.upstreams.is_empty(), "name at least one [[upstream]]"),
            (
                self.upstreams.iter().all(|node| is_url(&node.url, &["http", "https"])),
                "an upstream's url begins with http:// or https://",
            ),
            (
                self.upstreams.iter().all(|node| node.ws.as_ref().is_none_or(|ws| is_url(ws, &["ws", "wss"]))),
                "an upstream's ws begins with ws:// or wss://",
            ),
            (limits.header_bytes >= 8_192, "limits.header_bytes is at least 8192"),
            (limits.connections > 0 && limits.batch > 0 && limits.heavy_checks > 0, "limits are above 0"),
            (limits.body_bytes > 0 && limits.reply_bytes > 0, "limits are above 0"),
            (limits.assess_ms > 0 && limits.read_ms > 0 && limits.send_ms > 0, "times are above 0"),
            (limits.read_timeout_s > 0 && limits.write_timeout_s > 0 && limits.probe_ms > 0, "times are above 0"),
            (limits.websocket_requests > 0 && limits.websocket_queue > 0, "limits are above 0"),
        ];
        match rules.into_iter().find(|(kept, _)| !kept) {
            Some((_, rule)) => Err(Error::Config(rule.to_owned())),
            None => Ok(()),
        }
    }
}

impl GatewayLimits {
    /// For headers, and again for the body.
    pub(crate) const fn read_timeout(&self) -> Duration {
        Duration::from_secs(self.read_timeout_s)
    }

    /// The part of them that is about connections.
    pub(crate) const fn bounds(&self) -> Bounds {
        Bounds {
            connections: self.connections,
            per_address: self.connections_per_address,
            header_bytes: self.header_bytes,
            read: self.read_timeout(),
            write: Duration::from_secs(self.write_timeout_s),
            drain: Duration::from_secs(self.drain_s),
        }
    }
}

fn is_url(url: &str, schemes: &[&str]) -> bool {
    let is_known = |uri: &Uri| uri.scheme_str().is_some_and(|scheme| schemes.contains(&scheme));
    url.parse::<Uri>().is_ok_and(|uri| is_known(&uri) && uri.authority().is_some())
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    const TEXT: &str = r#"
        listen = "127.0.0.1:8545"
        admin = "127.0.0.1:9545"
        data = "gateway"
        chain_id = 1
        [[upstream]]
        url = "http://127.0.0.1:18545"
        ws = "ws://127.0.0.1:18546"
        [limits]
        batch = 10
    "#;

    #[test]
    fn a_short_file_is_enough_and_the_rest_has_defaults() {
        let config = GatewayConfig::from_toml(TEXT).unwrap();
        assert_eq!((config.limits.batch, config.limits.connections, config.node_signs), (10, 4_096, false));
    }

    #[test]
    fn a_misspelt_limit_and_parts_that_do_not_go_together_are_refused_by_name() {
        for (from, to, word) in [
            ("batch", "bach", "bach"),
            ("http://", "ftp://", "url"),
            ("ws://", "http://", "ws"),
            ("batch = 10", "batch = 0", "limits"),
            ("[[upstream]]", "[[upstreams]]", "upstream"),
        ] {
            let error = GatewayConfig::from_toml(&TEXT.replace(from, to)).unwrap_err();
            assert!(error.to_string().contains(word), "{error}");
        }
    }
}

//! What an administrator states about a sidecar: a TOML file, or the same struct.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use surety_primitives::access::is_plain_path;
use surety_primitives::{Amount, CALL, ProviderId, ServiceId};

use crate::connections::Bounds;
use crate::error::Error;

/// A sidecar. Unknown fields are refused: a misspelt limit would be no limit.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SidecarConfig {
    /// Where calls come in.
    pub listen: SocketAddr,
    /// Where `/health` and `/metrics` are; not for the public.
    pub admin: SocketAddr,
    /// Public host, with its port unless that is the scheme's default: calls are bound to it.
    pub authority: String,
    /// Public scheme: "https" where something before the sidecar ends TLS.
    #[serde(default = "http")]
    pub scheme: String,
    /// What something before the sidecar cut off the front of each path, or nothing.
    #[serde(default)]
    pub prefix: String,
    /// The folder of the counters.
    pub data: PathBuf,
    /// The provider that sells.
    pub provider: ProviderId,
    /// What it sells, at least one.
    #[serde(rename = "service")]
    pub services: Vec<ServiceConfig>,
    /// Bounds.
    #[serde(default)]
    pub limits: Limits,
    /// When it claims.
    #[serde(default)]
    pub duties: DutyConfig,
}

/// One listing and the API behind it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ServiceConfig {
    /// The listing's number.
    pub id: ServiceId,
    /// Paths that belong to it, such as "/api/v1/phishing_site"; the longest match counts.
    #[serde(default = "root")]
    pub path: String,
    /// The API, such as "http://127.0.0.1:7001".
    pub upstream: String,
    /// Whether every answer follows from request and basis alone. Two different ones are then a fault that pays; leave it
    /// off for an API that reads a clock, as services do that know how old their lists are.
    #[serde(default)]
    pub pinned: bool,
    /// Seconds that a signed Answer may be relied on.
    #[serde(default = "answer_valid_s")]
    pub answer_valid_s: u64,
    /// Seconds that the API may take.
    #[serde(default = "timeout_s")]
    pub timeout_s: u64,
}

/// Bounds on what one caller, and all of them, may hold.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Limits {
    /// Connections at a time.
    pub connections: usize,
    /// Connections at a time of one IPv4 address or IPv6 /64 network; 0 where something before the sidecar brings all of
    /// them.
    pub connections_per_address: usize,
    /// Bytes of a request's headers.
    pub header_bytes: usize,
    /// Bytes of a request's body.
    pub body_bytes: usize,
    /// Bytes of a reply that are held back until its Answer is made; a longer reply is streamed with a trailer.
    pub reply_bytes: usize,
    /// Seconds for a request's headers, and again for its body, to arrive.
    pub read_timeout_s: u64,
    /// Seconds in which a caller must read something of what waits for it.
    pub write_timeout_s: u64,
    /// Bytes of replies kept for retries, over all purchases.
    pub retry_cache_bytes: usize,
    /// Purchases in memory.
    pub packages: usize,
    /// Seconds that calls in flight get at shutdown.
    pub drain_s: u64,
    /// Concurrent look-ups of purchases that are not known yet.
    pub lookups: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections: 4_096,
            connections_per_address: 1_024,
            header_bytes: 32 << 10,
            body_bytes: 1 << 20,
            reply_bytes: 1 << 20,
            read_timeout_s: 10,
            write_timeout_s: 30,
            retry_cache_bytes: 64 << 20,
            packages: 100_000,
            drain_s: 20,
            lookups: 32,
        }
    }
}

/// When the sidecar acts on the ledger (`market.md` D4, duties).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct DutyConfig {
    /// Milliseconds between two looks.
    pub tick_ms: u64,
    /// Unclaimed value that is claimed at once, base units.
    pub claim_above: Amount,
    /// Seconds after which anything unclaimed is claimed.
    pub claim_every_s: u64,
    /// Seconds (ledger time) after a package's end in which vouchers and Answers count.
    pub claim_window_s: u64,
    /// Seconds (ledger time) after its end in which the consumer may contest what was shown.
    pub contest_window_s: u64,
    /// Seconds (ledger time) after its end until its rows may be deleted.
    pub sweep_after_s: u64,
}

impl Default for DutyConfig {
    fn default() -> Self {
        Self {
            tick_ms: 2_000,
            claim_above: Amount(CALL.0 * 10),
            claim_every_s: 6 * 3_600,
            claim_window_s: 259_200,
            contest_window_s: 172_800,
            sweep_after_s: 1_209_600,
        }
    }
}

impl SidecarConfig {
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
        let rules = [
            (!self.services.is_empty(), "name at least one [[service]]"),
            (self.scheme == "http" || self.scheme == "https", "scheme is http or https"),
            (!self.authority.is_empty() && !self.authority.contains('/'), "authority is a host with its port"),
            (self.prefix.is_empty() || is_path(&self.prefix), "prefix begins with / and does not end with one"),
            (
                self.services.iter().all(|service| is_plain_path(&service.path)),
                "a service's path begins with / and has no dot segments",
            ),
            (self.limits.header_bytes >= 8_192, "limits.header_bytes is at least 8192: a chain and its scopes need it"),
            (self.limits.write_timeout_s > 0, "limits.write_timeout_s is above 0"),
            (self.limits.connections > 0 && self.limits.lookups > 0, "limits are above 0"),
            (self.services.iter().all(|service| service.timeout_s > 0), "a service's timeout_s is above 0"),
            (self.duties.tick_ms > 0, "duties.tick_ms is above 0"),
        ];
        match rules.into_iter().find(|(kept, _)| !kept) {
            Some((_, rule)) => Err(Error::Config(rule.to_owned())),
            None => Ok(()),
        }
    }
}

impl Limits {
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

fn is_path(text: &str) -> bool {
    text.starts_with('/') && !text.ends_with('/')
}

fn http() -> String {
    "http".to_owned()
}

fn root() -> String {
    "/".to_owned()
}

const fn answer_valid_s() -> u64 {
    600
}

const fn timeout_s() -> u64 {
    10
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    const TEXT: &str = r#"
        listen = "127.0.0.1:8080"
        admin = "127.0.0.1:9090"
        authority = "api.example"
        data = "sidecar"
        provider = 1
        [[service]]
        id = 3
        path = "/api/v1/phishing_site"
        upstream = "http://127.0.0.1:7001"
        pinned = true
        [limits]
        connections = 10
    "#;

    #[test]
    fn a_short_file_is_enough_and_the_rest_has_defaults() {
        let config = SidecarConfig::from_toml(TEXT).unwrap();
        assert_eq!((config.limits.connections, config.limits.body_bytes), (10, 1 << 20));
        assert_eq!((config.services[0].timeout_s, config.duties.claim_above), (10, Amount::call(10)));
    }

    #[test]
    fn a_misspelt_limit_and_parts_that_do_not_go_together_are_refused_by_name() {
        for (from, to, word) in [
            ("connections", "conections", "conections"),
            ("api.example", "https://api.example", "authority"),
            ("\"/api", "\"api", "path"),
            ("connections = 10", "header_bytes = 100", "header_bytes"),
        ] {
            let error = SidecarConfig::from_toml(&TEXT.replace(from, to)).unwrap_err();
            assert!(error.to_string().contains(word), "{error}");
        }
    }
}

//! Sign-in messages (EIP-4361): which site they are for.

use alloy_primitives::{Address, U256};
use serde::Serialize;

/// What a sign-in message says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct SignIn {
    /// The site's host, with its port where there is one; as written.
    pub domain: String,
    /// Who signs in.
    pub address: Option<Address>,
    /// The site's sentence.
    pub statement: Option<String>,
    /// What the session is for.
    pub uri: Option<String>,
    /// The chain that the session is bound to.
    pub chain_id: Option<U256>,
    /// Against replay.
    pub nonce: Option<String>,
    /// Whether all that the standard asks for is there, and in its order.
    pub is_whole: bool,
}

const GREETING: &str = " wants you to sign in with your Ethereum account:";

/// Reads a sign-in message; nothing for any other text. One that is not whole is still one: sites and wallets that are
/// lenient would take it.
pub fn parse(text: &str) -> Option<SignIn> {
    let mut lines = text.split('\n').map(|line| line.trim_end_matches('\r'));
    let first = lines.next()?;
    let domain = first.strip_suffix(GREETING)?;
    let domain = domain.split_once("://").map_or(domain, |(_, domain)| domain).to_owned();
    let address: Option<Address> = lines.next().and_then(|line| line.trim().parse().ok());
    let rest: Vec<&str> = lines.collect();
    let fields = rest.iter().position(|line| line.starts_with("URI: ")).unwrap_or(rest.len());
    let (before, after) = rest.split_at(fields);
    let statement = before.iter().find(|line| !line.is_empty()).map(|line| (*line).to_owned());
    let field =
        |name: &str| after.iter().find_map(|line| line.strip_prefix(name)?.strip_prefix(": ")).map(str::to_owned);
    let chain_id = field("Chain ID").and_then(|text| text.parse().ok());
    let (uri, nonce) = (field("URI"), field("Nonce"));
    let order = ["URI: ", "Version: 1", "Chain ID: ", "Nonce: ", "Issued At: "];
    let in_order = order.iter().zip(after).filter(|(name, line)| line.starts_with(*name)).count() == order.len();
    let is_whole = in_order && address.is_some() && chain_id.is_some() && !domain.is_empty();
    Some(SignIn { domain, address, statement, uri, chain_id, nonce, is_whole })
}

/// The host of an authority or URI, in lower case and without user info, port or final dot.
pub fn host(authority: &str) -> String {
    let authority = authority.split_once("://").map_or(authority, |(_, rest)| rest);
    let authority = authority.split(['/', '?', '#']).next().unwrap_or_default();
    let authority = authority.rsplit('@').next().unwrap_or_default();
    let is_port = |port: &str| port.bytes().all(|byte| byte.is_ascii_digit());
    let host = authority.rsplit_once(':').filter(|(_, port)| is_port(port)).map_or(authority, |(host, _)| host);
    host.trim_end_matches('.').to_ascii_lowercase()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    const TEXT: &str = "app.example.org wants you to sign in with your Ethereum account:\n\
        0x5aAeb6053F3E94C9b9A09f33669435E7Ef1BeAed\n\nI accept the terms.\n\nURI: https://app.example.org/login\nVersion: 1\n\
        Chain ID: 1\nNonce: 32891756\nIssued At: 2026-09-30T16:25:24Z";

    #[test]
    fn a_whole_message_is_read() {
        let read = parse(TEXT).unwrap();
        assert!(read.is_whole);
        assert_eq!((read.domain.as_str(), read.chain_id), ("app.example.org", Some(U256::ONE)));
        assert_eq!(read.statement.as_deref(), Some("I accept the terms."));
        assert_eq!(host(read.uri.as_deref().unwrap()), "app.example.org");
    }

    #[test]
    fn a_part_that_is_missing_is_seen_and_other_text_is_none() {
        assert!(!parse(&TEXT.replace("Nonce: 32891756\n", "")).unwrap().is_whole);
        assert!(!parse(&TEXT.replace("Version: 1", "Version: 2")).unwrap().is_whole);
        assert_eq!(parse("hello"), None);
    }

    #[test]
    fn a_host_has_no_user_port_or_path() {
        assert_eq!(host("https://user:word@Example.ORG.:8080/x@y"), "example.org");
        assert_eq!(host("example.org:443"), "example.org");
    }
}

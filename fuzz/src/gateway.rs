//! Decoders of the gateway in `surety-proxy`.

use surety_proxy::gateway::json::Json;
use surety_proxy::gateway::policy::Policy;
use surety_proxy::gateway::{ChainRule, GatewayConfig, Screened, jsonrpc};

/// Levels that a client's JSON may have.
const DEPTH: usize = 48;

/// JSON texts: what is taken is written anew as the same value, in this reader and in another one.
pub fn json(bytes: &[u8]) {
    let Ok(read) = Json::read(bytes, DEPTH) else { return };
    let written = read.to_text();
    assert_eq!(Json::read(written.as_bytes(), DEPTH).as_ref(), Ok(&read));
    let other = |text: &[u8]| serde_json::from_slice::<serde_json::Value>(text).ok();
    assert!(other(bytes).is_some() && other(bytes) == other(written.as_bytes()));
}

/// Requests and the answers of nodes.
pub fn rpc(bytes: &[u8]) {
    let _ = jsonrpc::read(bytes, 100);
    let _ = jsonrpc::read_from_node(bytes);
}

/// Policies and settings: refused with reasons or compiled, and the same text has the same hash.
pub fn policy(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    if let Ok(policy) = Policy::load(text) {
        assert_eq!(Policy::load(text).map(|again| again.hash()).ok(), Some(policy.hash()));
    }
    let _ = GatewayConfig::from_toml(text);
}

/// Raw transactions as clients send them: what is taken has one encoding.
pub fn submission(bytes: &[u8]) {
    for allow_unprotected in [false, true] {
        let raw = bytes.to_vec().into();
        if let Ok(screened) = Screened::read(&raw, ChainRule { id: 1, allow_unprotected }) {
            assert_eq!(screened.raw, raw);
        }
    }
}

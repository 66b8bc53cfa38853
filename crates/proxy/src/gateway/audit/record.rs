//! One record, and the line that it becomes.

use alloy_primitives::{B256, Bytes};
use serde::{Deserialize, Serialize};
use surety_primitives::Hash32;

use super::super::hold::{HoldId, Releaser};
use super::super::policy::{Decision, PolicyHash};
use super::super::verdict::{Finding, Outcome};

/// Bytes of a record; evidence beyond that is named by its hash.
const MOST_BYTES: usize = 64 << 10;
/// Characters of a text that came from outside.
const MOST_TEXT: usize = 1_024;
const CONTEXT: &str = "surety gateway audit line v1";

/// A list that a verdict rests on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ListRoot {
    /// Its name.
    pub name: String,
    /// Its version.
    pub version: String,
    /// The root of its entries.
    pub root: Hash32,
}

/// What a node answered.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct UpstreamAnswer {
    /// Which of the nodes, by its name.
    pub upstream: String,
    /// Whether it took the transaction.
    pub ok: bool,
    /// Its result or error, cut to 1,024 characters.
    pub answer: String,
    /// Microseconds until it came.
    pub micros: u64,
}

/// What a check said, without what only rules need.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FindingRecord {
    /// The check.
    pub check: String,
    /// How it ended.
    #[serde(flatten)]
    pub outcome: Outcome,
    /// Rules that it hit.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub rules: Vec<String>,
    /// What it said.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub message: String,
    /// What it rests on.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub evidence: Vec<serde_json::Value>,
}

impl From<&Finding> for FindingRecord {
    fn from(finding: &Finding) -> Self {
        Self {
            check: finding.check.clone(),
            outcome: finding.outcome.clone(),
            rules: finding.rules().map(str::to_owned).collect(),
            message: cut(&finding.message),
            evidence: finding.evidence.clone(),
        }
    }
}

/// One thing that the gateway decided. It has no place for a raw transaction or a key.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// When, Unix milliseconds.
    pub time_ms: u64,
    /// What happened: `submitted`, `held`, `released`, `dropped`, `reloaded` and the like.
    pub event: String,
    /// Whose request it was; empty when it was nobody's.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub client: String,
    /// By which method.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub method: String,
    /// The transaction's hash, if it is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tx_hash: Option<B256>,
    /// Its name in quarantine, if it is there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hold_id: Option<HoldId>,
    /// Who let it go, if it was held and somebody did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub released_by: Option<Releaser>,
    /// What whoever let it go took responsibility for by name.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub overridden: Vec<String>,
    /// What was decided.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub decision: Option<Decision>,
    /// What the checks said.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub findings: Vec<FindingRecord>,
    /// The policy that decided.
    pub policy: PolicyHash,
    /// The lists that were asked.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub lists: Vec<ListRoot>,
    /// What the node answered, if it was asked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub upstream: Option<UpstreamAnswer>,
}

impl Entry {
    /// Something of this name that happened at this time (Unix milliseconds) under this policy.
    #[must_use]
    pub fn new(event: &str, time_ms: u64, policy: PolicyHash) -> Self {
        Self {
            time_ms,
            event: event.to_owned(),
            client: String::new(),
            method: String::new(),
            tx_hash: None,
            hold_id: None,
            released_by: None,
            overridden: Vec::new(),
            decision: None,
            findings: Vec::new(),
            policy,
            lists: Vec::new(),
            upstream: None,
        }
    }

    /// The record as JSON, bounded: what stands in a line after number and chain.
    pub(super) fn body(&self) -> String {
        let mut entry = self.clone();
        entry.client = cut(&entry.client);
        entry.method = cut(&entry.method);
        if let Some(upstream) = &mut entry.upstream {
            upstream.answer = cut(&upstream.answer);
        }
        let text = json(&entry);
        if text.len() <= MOST_BYTES {
            return text;
        }
        // A record is never refused for its length: evidence goes by its hash, then whole findings do.
        for finding in &mut entry.findings {
            finding.evidence = vec![fingerprint(&finding.evidence)];
        }
        let text = json(&entry);
        if text.len() <= MOST_BYTES {
            return text;
        }
        let print = fingerprint(&entry.findings);
        entry.findings = vec![FindingRecord {
            check: "all".to_owned(),
            outcome: Outcome::Unknown { reason: "too long to record".to_owned() },
            rules: Vec::new(),
            message: String::new(),
            evidence: vec![print],
        }];
        entry.lists.truncate(64);
        json(&entry)
    }
}

fn json(value: &impl Serialize) -> String {
    // Nothing in a record has keys that are no texts, which is all that could fail.
    serde_json::to_string(value).unwrap_or_else(|error| format!(r#"{{"event":"unwritable","reason":"{error}"}}"#))
}

fn fingerprint(value: &impl Serialize) -> serde_json::Value {
    let text = json(value);
    let hash = Bytes::from(blake3::hash(text.as_bytes()).as_bytes().to_vec());
    serde_json::json!({ "kind": "hash", "blake3": hash, "bytes": text.len() })
}

fn cut(text: &str) -> String {
    text.chars().take(MOST_TEXT).collect()
}

/// A line: its number, the hash of the one before, the record.
pub(super) fn line(seq: u64, before: &Hash32, body: &str) -> String {
    format!(r#"{{"seq":{seq},"prev":"{before}","record":{body}}}"#)
}

/// What the next line says of this one.
pub(super) fn hash(line: &[u8]) -> Hash32 {
    Hash32(blake3::derive_key(CONTEXT, line))
}

/// A line as it is read back.
#[derive(Deserialize)]
pub(super) struct Line {
    pub(super) seq: u64,
    pub(super) prev: Hash32,
    #[serde(rename = "record")]
    pub(super) _record: Entry,
}

//! How an answer looks on the wire: GoPlus' envelope with one object of ours beside the result
//! (`security-services.md` section 1).

use borsh::BorshSerialize;
use serde::Serialize;
use serde_json::value::RawValue;
use surety_primitives::answer::Basis;
use surety_primitives::answer::claims::{Claim, Claims};
use surety_primitives::hash::h;
use surety_primitives::{Hash32, codec};

use crate::lists::{Dataset, Date, describe};
use crate::service::{ENGINE, Looked, Request, engine};

/// Success.
pub const SUCCESS: u16 = 1;
/// Something in `surety.unknown` may be known on a later call.
pub const PARTIAL: u16 = 2;

/// A request that makes no sense, with GoPlus' code for it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// Not a 20-byte address in hex.
    #[error("address malformed")]
    Address,
    /// A chain that no list is about.
    #[error("chain not supported")]
    Chain,
    /// A parameter is missing, given twice, too long or makes no sense.
    #[error("parameter error: {0}")]
    Parameter(String),
    /// The service could not answer.
    #[error("server error: {0}")]
    Server(String),
}

impl Refusal {
    /// The code in the envelope.
    pub const fn code(&self) -> u16 {
        match self {
            Self::Address => 2004,
            Self::Chain => 2018,
            Self::Server(_) => 5000,
            Self::Parameter(_) => 5006,
        }
    }

    /// The answer that says so.
    pub fn body(&self) -> String {
        let envelope = Envelope { code: self.code(), message: self.to_string(), result: None, surety: None };
        json(&envelope)
    }
}

/// Why a field is not known.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Reason {
    /// No list that is loaded can tell.
    NoSource,
    /// The list is not loaded.
    ListMissing,
    /// The list is older than the operator accepts.
    ListStale,
    /// It needs the chain's state.
    NoState,
    /// It needs the chain's history.
    NoHistory,
}

impl Reason {
    /// Whether a later call may know.
    const fn may_pass(self) -> bool {
        matches!(self, Self::ListMissing | Self::ListStale)
    }
}

/// A field that is not known.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Unknown {
    /// The field.
    pub field: &'static str,
    /// Why.
    pub reason: Reason,
}

/// Who can show that an answer is wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Standing {
    /// Anyone, by a proof against the cited root.
    Provable,
    /// Those who compute it again.
    Attested,
}

/// What a service says, before it is dressed.
#[derive(Debug)]
pub struct Verdict<'a> {
    /// The result in GoPlus' form.
    pub result: Box<RawValue>,
    /// What is not known.
    pub unknown: Vec<Unknown>,
    /// Whether a wrong answer could be proven.
    pub standing: Standing,
    /// The look-ups that it rests on.
    pub looked: Vec<Looked<'a>>,
}

/// An answer, ready to be sent, and what a signature over it commits to.
#[derive(Clone, Debug, PartialEq)]
pub struct Reply {
    /// The body: JSON.
    pub body: String,
    /// What it rests on: goes into the Answer.
    pub basis: Basis,
    /// Its look-ups: their root goes into the Answer. Empty for datasets that are not published.
    pub claims: Claims,
}

#[derive(Serialize)]
struct Envelope<'a> {
    code: u16,
    message: String,
    result: Option<&'a RawValue>,
    #[serde(skip_serializing_if = "Option::is_none")]
    surety: Option<Surety<'a>>,
}

#[derive(Serialize)]
struct Surety<'a> {
    engine: Engine,
    lists: Vec<ListRef<'a>>,
    unknown: &'a [Unknown],
    standing: Standing,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    evidence: Vec<Evidence>,
    evidence_root: Hash32,
    digest: Hash32,
}

#[derive(Serialize)]
struct Engine {
    name: &'static str,
    version: &'static str,
    hash: Hash32,
}

#[derive(Serialize)]
struct ListRef<'a> {
    name: &'a str,
    version: &'a str,
    as_of: Date,
    root: Hash32,
    count: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    published: Option<crate::lists::Pin>,
    sources: Vec<SourceRef<'a>>,
}

#[derive(Serialize)]
struct SourceRef<'a> {
    name: &'a str,
    version: &'a str,
    as_of: Date,
}

/// One look-up, shown. The key is both readable and, in `key_bytes`, as it is hashed.
#[derive(Serialize)]
struct Evidence {
    id: usize,
    kind: &'static str,
    name: String,
    root: Hash32,
    count: u64,
    key: String,
    key_bytes: String,
    label: Option<String>,
    found: Option<Hash32>,
    /// Borsh of the inclusion or neighbour proof, in hex.
    #[serde(skip_serializing_if = "Option::is_none")]
    proof: Option<String>,
}

/// What the digest of an answer covers; latency, operator and proofs stay outside.
#[derive(BorshSerialize)]
struct Fields<'a> {
    params_hash: Hash32,
    fields: &'a str,
    evidence_root: Hash32,
}

/// Dresses a verdict: envelope, evidence where `proof=1` asks for it, basis and claims. `datasets` are the service's.
///
/// # Errors
/// [`Refusal::Server`] when an answer would need more claims than one may have.
pub fn reply(service: &str, request: &Request, datasets: &[&Dataset], verdict: &Verdict<'_>) -> Result<Reply, Refusal> {
    let show = request.query.get("proof").is_some_and(|value| value == "1");
    let evidence_root = evidence_root(&verdict.looked);
    let fields = Fields { params_hash: request.params_hash(service), fields: verdict.result.get(), evidence_root };
    let digest = h("surety/security/answer/v1", &[&codec::encode(&fields)]);
    let surety = Surety {
        engine: Engine { name: ENGINE, version: env!("CARGO_PKG_VERSION"), hash: engine() },
        lists: datasets.iter().map(|dataset| list_ref(dataset)).collect(),
        unknown: &verdict.unknown,
        standing: verdict.standing,
        evidence: if show { verdict.looked.iter().zip(0..).map(evidence).collect() } else { Vec::new() },
        evidence_root,
        digest,
    };
    let partial = verdict.unknown.iter().any(|unknown| unknown.reason.may_pass());
    let (code, message) = if partial { (PARTIAL, "partial") } else { (SUCCESS, "ok") };
    let envelope = Envelope { code, message: message.to_owned(), result: Some(&verdict.result), surety: Some(surety) };
    let claims = claims(&verdict.looked)?;
    Ok(Reply { body: json(&envelope), basis: basis(datasets)?, claims })
}

/// Dresses a refusal. It rests on the service's datasets too: without them there would have been no question to refuse.
///
/// # Errors
/// [`Refusal::Server`] when a service has more datasets than a basis may name.
pub fn refused(refusal: &Refusal, datasets: &[&Dataset]) -> Result<Reply, Refusal> {
    Ok(Reply { body: refusal.body(), basis: basis(datasets)?, claims: Claims::default() })
}

fn list_ref(dataset: &Dataset) -> ListRef<'_> {
    let sources = dataset.sources().iter();
    ListRef {
        name: dataset.name(),
        version: dataset.version(),
        as_of: dataset.as_of(),
        root: dataset.root(),
        count: dataset.count(),
        published: dataset.pin(),
        sources: sources
            .map(|info| SourceRef { name: &info.name, version: &info.version, as_of: info.as_of })
            .collect(),
    }
}

fn evidence((looked, id): (&Looked<'_>, usize)) -> Evidence {
    Evidence {
        id,
        kind: "list",
        name: looked.dataset.name().to_owned(),
        root: looked.dataset.root(),
        count: looked.dataset.count(),
        key: describe(&looked.key),
        key_bytes: const_hex::encode_prefixed(looked.key.as_bytes()),
        label: looked.entry.map(|entry| String::from_utf8_lossy(&entry.label).into_owned()),
        found: looked.entry.map(|entry| entry.leaf()),
        proof: looked.dataset.prove(&looked.key).map(|proof| const_hex::encode_prefixed(codec::encode(&proof))),
    }
}

/// Commits to the look-ups whether or not the datasets are published.
fn evidence_root(looked: &[Looked<'_>]) -> Hash32 {
    let found =
        |looked: &Looked<'_>| (looked.dataset.root(), looked.key.clone(), looked.entry.map(|entry| entry.leaf()));
    h("surety/security/evidence/v1", &[&codec::encode(&looked.iter().map(found).collect::<Vec<_>>())])
}

fn basis(datasets: &[&Dataset]) -> Result<Basis, Refusal> {
    let references = datasets.iter().filter_map(|dataset| dataset.reference()).collect();
    Basis::new(references, None, engine()).map_err(|error| Refusal::Server(error.to_string()))
}

fn claims(looked: &[Looked<'_>]) -> Result<Claims, Refusal> {
    let claim = |looked: &Looked<'_>| {
        let pin = looked.dataset.pin()?;
        let found = looked.entry.map(|entry| entry.leaf());
        Some(Claim { dataset: pin.id, version: pin.version, key: looked.key.clone(), found })
    };
    Claims::new(looked.iter().filter_map(claim).collect()).map_err(|error| Refusal::Server(error.to_string()))
}

/// JSON of a value that has nothing which JSON cannot say.
fn json<T: Serialize>(value: &T) -> String {
    serde_json::to_string(value).unwrap_or_else(|error| unreachable!("texts, numbers and lists only: {error}"))
}

/// The result of a verdict as JSON, written once.
pub(crate) fn raw<T: Serialize>(value: &T) -> Box<RawValue> {
    serde_json::value::to_raw_value(value)
        .unwrap_or_else(|error| unreachable!("texts, numbers and lists only: {error}"))
}

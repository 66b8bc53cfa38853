//! How an answer looks on the wire: GoPlus' envelope with one object of ours beside the result
//! (`security-services.md` section 1).

use std::borrow::Cow;

use borsh::BorshSerialize;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use surety_primitives::answer::claims::{Claim, Claims};
use surety_primitives::answer::{Basis, BlockRef};
use surety_primitives::hash::h;
use surety_primitives::{Hash32, codec};

use crate::evidence::Item;
use crate::lists::{Dataset, Date, describe};
use crate::service::{ENGINE, Looked, Request, engine};
use crate::state::{Pinned, Replay, State};

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
    /// A chain that no list is about, or that no state is read from.
    #[error("chain not supported")]
    Chain,
    /// No code at the address.
    #[error("not a contract")]
    NotAContract,
    /// Nothing is known of the contract.
    #[error("nothing is known of the contract")]
    NothingKnown,
    /// No list knows the dApp.
    #[error("dApp not found")]
    Dapp,
    /// No interface of the contract is known.
    #[error("ABI not found")]
    Abi,
    /// The interface has no such function.
    #[error("function not supported")]
    Function,
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
            Self::NotAContract => 2020,
            Self::NothingKnown => 2021,
            Self::Dapp => 2026,
            Self::Abi => 2027,
            Self::Function => 2028,
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
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
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
    /// The code did more than is computed for one answer.
    OutOfGasBudget,
    /// The state did not come in time.
    Deadline,
    /// The contract is of a kind that is not computed.
    UnsupportedContract,
}

impl Reason {
    /// Whether a later call may know.
    const fn may_pass(self) -> bool {
        matches!(self, Self::ListMissing | Self::ListStale | Self::Deadline)
    }
}

/// A field that is not known.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Unknown {
    /// The field; in a map of several subjects with the subject before it: `0x….is_honeypot`.
    pub field: Cow<'static, str>,
    /// Why.
    pub reason: Reason,
}

impl Unknown {
    /// A field with a fixed name.
    pub const fn new(field: &'static str, reason: Reason) -> Self {
        Self { field: Cow::Borrowed(field), reason }
    }

    /// A field of one subject of several.
    pub fn of(subject: &str, field: &str, reason: Reason) -> Self {
        Self { field: Cow::Owned(format!("{subject}.{field}")), reason }
    }
}

/// Who can show that an answer is wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
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
    /// The fields that only those who compute them again can check, where the others are provable.
    pub attested: Vec<&'static str>,
    /// The look-ups that it rests on. The first [`MAX_CLAIMED`] are claimed.
    pub looked: Vec<Looked<'a>>,
    /// What else it rests on.
    pub items: Vec<Item>,
}

impl<'a> Verdict<'a> {
    /// A verdict that anyone can refute by a look-up.
    pub const fn provable(result: Box<RawValue>, unknown: Vec<Unknown>, looked: Vec<Looked<'a>>) -> Self {
        Self { result, unknown, standing: Standing::Provable, attested: Vec::new(), looked, items: Vec::new() }
    }

    /// A verdict that has to be computed again to be doubted.
    pub const fn attested(result: Box<RawValue>, unknown: Vec<Unknown>) -> Self {
        let standing = Standing::Attested;
        Self { result, unknown, standing, attested: Vec::new(), looked: Vec::new(), items: Vec::new() }
    }

    /// The same, resting on these look-ups too.
    #[must_use]
    pub fn resting_on(mut self, looked: Vec<Looked<'a>>, items: Vec<Item>) -> Self {
        self.looked.extend(looked);
        self.items.extend(items);
        self
    }
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
    #[serde(flatten)]
    place: Option<Place>,
    lists: Vec<ListRef<'a>>,
    unknown: &'a [Unknown],
    standing: Standing,
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    attested: &'a [&'static str],
    #[serde(skip_serializing_if = "Vec::is_empty")]
    evidence: Vec<Box<RawValue>>,
    /// Borsh of everything that was read of the chain, in hex.
    #[serde(skip_serializing_if = "Option::is_none")]
    replay: Option<String>,
    evidence_root: Hash32,
    digest: Hash32,
}

/// The block whose state was read, or why its chain gave none.
#[derive(Serialize)]
#[serde(untagged)]
enum Place {
    At { chain_id: u64, block_number: u64, block_hash: Hash32 },
    Silent { chain_id: u64, no_block: Reason },
}

impl Place {
    fn of(state: &State) -> Option<Self> {
        match state {
            State::None | State::Absent => None,
            State::Silent(silent) => Some(Self::Silent { chain_id: silent.chain_id, no_block: silent.reason }),
            State::At(pinned) => {
                let BlockRef { chain, number, hash } = pinned.block();
                Some(Self::At { chain_id: chain, block_number: number, block_hash: hash })
            }
        }
    }
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
    /// Bits of the sources that were over-age.
    #[serde(skip_serializing_if = "is_zero")]
    stale: u64,
}

#[allow(clippy::trivially_copy_pass_by_ref, reason = "serde hands fields over by reference")]
const fn is_zero(bits: &u64) -> bool {
    *bits == 0
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

/// A question's service, for dressing what it said.
#[derive(Clone, Copy, Debug)]
pub struct Asked<'a> {
    /// The service's name.
    pub service: &'static str,
    /// The question.
    pub request: &'a Request,
    /// The service's datasets.
    pub datasets: &'a [&'a Dataset],
}

/// Dresses a verdict: envelope, evidence where `proof=1` asks for it, basis and claims.
///
/// # Errors
/// [`Refusal::Server`] when an answer would need more claims than one may have.
pub fn reply(asked: Asked<'_>, state: &State, verdict: &Verdict<'_>) -> Result<Reply, Refusal> {
    let Asked { service, request, datasets } = asked;
    let show = request.get("proof") == Some("1");
    let replay = state.pinned().map(Pinned::replay);
    let state_root = match state {
        State::Silent(silent) => Some(silent.root()),
        _ => replay.as_ref().map(Replay::root),
    };
    let evidence_root = evidence_root(asked, state_root, verdict);
    let fields = Fields { params_hash: request.params_hash(service), fields: verdict.result.get(), evidence_root };
    let digest = h("surety/security/answer/v1", &[&codec::encode(&fields)]);
    let surety = Surety {
        engine: Engine { name: ENGINE, version: env!("CARGO_PKG_VERSION"), hash: engine() },
        place: Place::of(state),
        lists: datasets.iter().map(|dataset| list_ref(dataset, request)).collect(),
        unknown: &verdict.unknown,
        standing: verdict.standing,
        attested: &verdict.attested,
        evidence: if show { evidence(verdict) } else { Vec::new() },
        replay: replay.filter(|_| show).map(|replay| const_hex::encode_prefixed(codec::encode(&replay))),
        evidence_root,
        digest,
    };
    let partial = verdict.unknown.iter().any(|unknown| unknown.reason.may_pass());
    let (code, message) = if partial { (PARTIAL, "partial") } else { (SUCCESS, "ok") };
    let envelope = Envelope { code, message: message.to_owned(), result: Some(&verdict.result), surety: Some(surety) };
    let claims = claims(&verdict.looked)?;
    Ok(Reply { body: json(&envelope), basis: basis(datasets, state.pinned().map(Pinned::block))?, claims })
}

/// Dresses a refusal. It rests on the service's datasets too: without them there would have been no question to refuse.
///
/// # Errors
/// [`Refusal::Server`] when a service has more datasets than a basis may name.
pub fn refused(refusal: &Refusal, datasets: &[&Dataset]) -> Result<Reply, Refusal> {
    Ok(Reply { body: refusal.body(), basis: basis(datasets, None)?, claims: Claims::default() })
}

fn list_ref<'a>(dataset: &'a Dataset, request: &Request) -> ListRef<'a> {
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
        stale: request.stale_sources(dataset),
    }
}

/// The look-ups, then everything else, numbered through.
fn evidence(verdict: &Verdict<'_>) -> Vec<Box<RawValue>> {
    let looked = verdict.looked.iter().zip(0..).map(|looked| raw(&look_up(looked)));
    let items = verdict.items.iter().zip(verdict.looked.len()..).map(|(item, id)| item.numbered(id));
    looked.chain(items).collect()
}

fn look_up((looked, id): (&Looked<'_>, usize)) -> Evidence {
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

/// Commits to what was looked up (whether or not the datasets are published), to the lists' ages, to what was read of a
/// chain, and to the other evidence.
fn evidence_root(asked: Asked<'_>, state: Option<Hash32>, verdict: &Verdict<'_>) -> Hash32 {
    let found =
        |looked: &Looked<'_>| (looked.dataset.root(), looked.key.clone(), looked.entry.map(|entry| entry.leaf()));
    let looked: Vec<_> = verdict.looked.iter().map(found).collect();
    let lists: Vec<(Hash32, u64)> =
        asked.datasets.iter().map(|dataset| (dataset.root(), asked.request.stale_sources(dataset))).collect();
    let items: Vec<Hash32> = verdict.items.iter().map(Item::hash).collect();
    h("surety/security/evidence/v2", &[&codec::encode(&(looked, lists, items, state))])
}

fn basis(datasets: &[&Dataset], block: Option<BlockRef>) -> Result<Basis, Refusal> {
    let references = datasets.iter().filter_map(|dataset| dataset.reference()).collect();
    Basis::new(references, block, engine()).map_err(|error| Refusal::Server(error.to_string()))
}

/// Most look-ups of an answer that are claims on the ledger; the header that carries them has its limit.
pub const MAX_CLAIMED: usize = 48;

fn claims(looked: &[Looked<'_>]) -> Result<Claims, Refusal> {
    let claim = |looked: &Looked<'_>| {
        let pin = looked.dataset.pin()?;
        let found = looked.entry.map(|entry| entry.leaf());
        Some(Claim { dataset: pin.id, version: pin.version, key: looked.key.clone(), found })
    };
    let claims = looked.iter().take(MAX_CLAIMED).filter_map(claim).collect();
    Claims::new(claims).map_err(|error| Refusal::Server(error.to_string()))
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

//! Computing an answer again from its evidence: without the chain, without whoever gave it.
//!
//! Needed are the question, the body with its evidence (`proof=1`) and the lists that it cites. The state comes with the
//! answer; whether it is the chain's is another question, which [`reread`] asks a node of one's own.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::Value;
use surety_evm::{Chain, StateError};
use surety_primitives::{Hash32, codec};

use crate::envelope::{Refusal, Standing};
use crate::json;
use crate::router::answer;
use crate::service::{Chains, Lists, Request, Service, Sources, engine};
use crate::state::{MAX_REPLAY, Recorded, Replay};

/// Largest body that is computed again, in bytes: the record in hex, and the rest.
const MAX_ANSWER: usize = 2 * MAX_REPLAY + (8 << 20);

/// Why an answer could not be computed again, or is wrong.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// More bytes than are read.
    #[error("{0} bytes are more than is read of an answer")]
    TooLarge(usize),
    /// Not a body that a service here sends.
    #[error("not an answer of a security service: {0}")]
    NotAnAnswer(String),
    /// A refusal: it says nothing that could be wrong.
    #[error("the service refused with code {0}: there is nothing to compute again")]
    Refusal(u16),
    /// Another engine gave it.
    #[error("the answer was given by engine {said}, this one is {ours}")]
    Engine {
        /// The engine that the answer names.
        said: Hash32,
        /// This one.
        ours: Hash32,
    },
    /// A list that the answer cites is not at hand.
    #[error("the answer rests on {name} with root {root}, which is not loaded")]
    List {
        /// The list's name.
        name: String,
        /// Its root.
        root: Hash32,
    },
    /// The answer rests on state and does not show it.
    #[error("the answer rests on state that it does not show: ask with proof=1")]
    NoRecord,
    /// The record of the state cannot be read, or is of another block than the answer names.
    #[error("the record of the state: {0}")]
    Record(String),
    /// Computed again, the question is refused.
    #[error("computed again, the question is refused: {0}")]
    Refused(Refusal),
    /// Computed again, something else comes out.
    #[error("computed again, {field} is {computed}, and the answer says {said}")]
    Differs {
        /// Where.
        field: String,
        /// What the answer says, shortened.
        said: String,
        /// What comes out, shortened.
        computed: String,
    },
    /// The chain has other state than the record.
    #[error("the chain contradicts the record: {0}")]
    OtherState(String),
    /// The chain cannot be read.
    #[error(transparent)]
    State(#[from] StateError),
}

/// An answer that came out the same.
#[derive(Clone, Debug)]
pub struct Recomputed {
    /// Its digest.
    pub digest: Hash32,
    /// Who could show it wrong.
    pub standing: Standing,
    /// The state it rests on.
    pub replay: Option<Replay>,
}

#[derive(Deserialize)]
struct Body {
    code: u16,
    surety: Option<Said>,
}

#[derive(Deserialize)]
struct Said {
    engine: SaidEngine,
    block_hash: Option<Hash32>,
    lists: Vec<SaidList>,
    standing: Standing,
    replay: Option<String>,
    digest: Hash32,
}

#[derive(Deserialize)]
struct SaidEngine {
    hash: Hash32,
}

#[derive(Deserialize)]
struct SaidList {
    name: String,
    root: Hash32,
    #[serde(default)]
    stale: u64,
}

/// Most values of an answer: evidence is long.
const MAX_VALUES: u32 = 4_000_000;

/// What an answer says that must come out again.
const COMPARED: [&str; 11] = [
    "/code",
    "/result",
    "/surety/chain_id",
    "/surety/block_number",
    "/surety/block_hash",
    "/surety/unknown",
    "/surety/standing",
    "/surety/attested",
    "/surety/evidence",
    "/surety/evidence_root",
    "/surety/digest",
];

/// Computes an answer again and compares. `request` is the question as it was asked.
///
/// Which lists were over-age is taken from the answer: that depends on when it was given, and on what its giver accepts.
///
/// # Errors
/// [`Error`]; [`Error::Differs`] when the answer is wrong.
pub fn recompute(service: &dyn Service, lists: &Lists, request: &Request, body: &[u8]) -> Result<Recomputed, Error> {
    if body.len() > MAX_ANSWER {
        return Err(Error::TooLarge(body.len()));
    }
    // With a key given twice, two readers would see two answers.
    json::check_within(body, MAX_VALUES).map_err(|refusal| Error::NotAnAnswer(refusal.to_string()))?;
    let unreadable = |error: serde_json::Error| Error::NotAnAnswer(error.to_string());
    let read: Body = serde_json::from_slice(body).map_err(unreadable)?;
    let said = read.surety.ok_or(Error::Refusal(read.code))?;
    if said.engine.hash != engine() {
        return Err(Error::Engine { said: said.engine.hash, ours: engine() });
    }
    let lists = cited(lists, &said.lists)?;
    let replay = replay(&said)?;
    let stale = BTreeMap::from_iter(said.lists.iter().map(|list| (list.root, list.stale)));
    let request = Request { stale: Some(stale), ..request.clone() };
    let chains = replay.as_ref().map_or_else(Chains::new, Recorded::chains);
    let past = replay.as_ref().and_then(|replay| replay.past.as_ref());
    let sources = Sources { lists: &lists, chains: &chains, past };
    let computed = answer(service, sources, &request).map_err(Error::Refused)?;
    let said_body: Value = serde_json::from_slice(body).map_err(unreadable)?;
    compare(&said_body, &serde_json::from_str(&computed.body).map_err(unreadable)?)?;
    Ok(Recomputed { digest: said.digest, standing: said.standing, replay })
}

/// The lists that the answer cites, and no other: what it had not loaded it could not use.
fn cited(lists: &Lists, said: &[SaidList]) -> Result<Lists, Error> {
    let mut cited = Lists::default();
    for list in said {
        if lists.names().is_some_and(|names| names.root() == list.root) {
            cited.names.clone_from(&lists.names);
        } else if lists.addresses().is_some_and(|addresses| addresses.root() == list.root) {
            cited.addresses.clone_from(&lists.addresses);
        } else {
            return Err(Error::List { name: list.name.clone(), root: list.root });
        }
    }
    Ok(cited)
}

fn replay(said: &Said) -> Result<Option<Replay>, Error> {
    let Some(block_hash) = said.block_hash else { return Ok(None) };
    let text = said.replay.as_ref().ok_or(Error::NoRecord)?;
    let bytes = const_hex::decode(text).map_err(|error| Error::Record(error.to_string()))?;
    let replay: Replay = codec::decode(&bytes, MAX_REPLAY).map_err(|error| Error::Record(error.to_string()))?;
    if replay.head.hash.0 != block_hash.0 {
        return Err(Error::Record("it is of another block than the answer names".to_owned()));
    }
    Ok(Some(replay))
}

fn compare(said: &Value, computed: &Value) -> Result<(), Error> {
    for field in COMPARED {
        let (said, computed) = (said.pointer(field), computed.pointer(field));
        if said != computed {
            let field = field.trim_start_matches('/').replace('/', ".");
            return Err(differs(field, said.unwrap_or(&Value::Null), computed.unwrap_or(&Value::Null)));
        }
    }
    Ok(())
}

/// The innermost field that differs, which is what a reader can act on.
fn differs(field: String, said: &Value, computed: &Value) -> Error {
    if let (Value::Object(one), Value::Object(other)) = (said, computed) {
        let names = one.keys().chain(other.keys());
        let differing = names.filter(|name| one.get(*name) != other.get(*name)).min();
        if let Some(name) = differing {
            let of = |values: &serde_json::Map<String, Value>| values.get(name).cloned().unwrap_or(Value::Null);
            return differs(format!("{field}.{name}"), &of(one), &of(other));
        }
    }
    Error::Differs { field, said: short(said), computed: short(computed) }
}

fn short(value: &Value) -> String {
    const SHOWN: usize = 120;
    let text = value.to_string();
    if text.chars().count() <= SHOWN { text } else { text.chars().take(SHOWN).chain("…".chars()).collect() }
}

/// Whether a chain has the state that an answer rests on.
///
/// # Errors
/// [`Error::OtherState`] where it has another, [`Error::State`] where it does not say.
pub fn reread(replay: &Replay, chain: &dyn Chain) -> Result<(), Error> {
    let snapshot = chain.snapshot(Some(replay.head.number))?;
    if snapshot.head != replay.head {
        return Err(Error::OtherState(format!("block {} is {} there", replay.head.number, snapshot.head.hash)));
    }
    match replay.witness.difference(&*snapshot.source)? {
        Some(difference) => Err(Error::OtherState(difference)),
        None => Ok(()),
    }
}

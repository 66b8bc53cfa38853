//! Computing an answer again from its evidence: without the chain, without whoever gave it.
//!
//! Needed are the question, the body with its evidence (`proof=1`) and the lists that it cites. The state comes with the
//! answer; whether it is the chain's is another question, which [`reread`] asks a node of one's own.
//!
//! The body that comes out must be the same, byte for byte. Taken from the answer, because nobody else can know it, is only
//! what makes less known: which lists were over-age for its giver, and where reading the chain ended (`no_block`, and the
//! record's end) for want of time or of a node.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::Deserialize;
use serde_json::Value;
use surety_evm::{Chain, StateError};
use surety_primitives::{Hash32, codec};

use crate::envelope::{Reason, Refusal, Standing};
use crate::history::{History, Past};
use crate::json;
use crate::router::answer;
use crate::service::{Chains, Lists, Request, Service, Sources, engine};
use crate::state::{MAX_REPLAY, Recorded, Replay, Silent};

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
    /// It is about its giver: there is nothing that others could compute.
    #[error("what {0} says is about whoever says it")]
    OwnWord(&'static str),
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
    /// The chain tells no history of these blocks, so that what the record says of it stays unchecked.
    #[error("the record tells of blocks {0} to {1}, whose history this chain does not tell")]
    NoHistory(u64, u64),
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
    chain_id: Option<u64>,
    block_hash: Option<Hash32>,
    no_block: Option<Reason>,
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

/// Computes an answer again and compares. `request` is the question as it was asked.
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
    if service.card().is_own_word {
        return Err(Error::OwnWord(service.name()));
    }
    if said.engine.hash != engine() {
        return Err(Error::Engine { said: said.engine.hash, ours: engine() });
    }
    let lists = cited(lists, &said.lists)?;
    let replay = replay(&said)?;
    let stale = BTreeMap::from_iter(said.lists.iter().map(|list| (list.root, list.stale)));
    let request = Request { stale: Some(stale), ..request.clone() };
    let chains = chains(&said, replay.as_ref());
    let past = replay.as_ref().and_then(|replay| replay.past.as_ref());
    let sources = Sources { lists: &lists, chains: &chains, past };
    let computed = answer(service, sources, &request).map_err(Error::Refused)?;
    if computed.body.as_bytes() != body {
        let said: Value = serde_json::from_slice(body).map_err(unreadable)?;
        let computed: Value = serde_json::from_str(&computed.body).map_err(unreadable)?;
        return Err(differs(String::new(), Some(&said), Some(&computed)));
    }
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

/// The chain that the answer was given from: its record, or that it gave no state.
fn chains(said: &Said, replay: Option<&Replay>) -> Chains {
    match (replay, said.chain_id, said.no_block) {
        (Some(replay), ..) => Recorded::of(replay),
        (None, Some(chain_id), Some(reason)) => Recorded::silent(Silent { chain_id, reason }),
        _ => Chains::new(),
    }
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

/// The innermost field that differs, which is what a reader can act on.
fn differs(field: String, said: Option<&Value>, computed: Option<&Value>) -> Error {
    let inner = match (said, computed) {
        (Some(Value::Object(one)), Some(Value::Object(other))) => {
            let names = one.keys().chain(other.keys()).filter(|name| one.get(*name) != other.get(*name));
            names.min().map(|name| (name.clone(), one.get(name), other.get(name)))
        }
        (Some(Value::Array(one)), Some(Value::Array(other))) => (0..one.len().max(other.len()))
            .find(|at| one.get(*at) != other.get(*at))
            .map(|at| (at.to_string(), one.get(at), other.get(at))),
        _ => None,
    };
    match inner {
        Some((name, said, computed)) => {
            let field = if field.is_empty() { name } else { format!("{field}.{name}") };
            differs(field, said, computed)
        }
        // Other bytes with the same meaning are not what was said: a digest or signature over them is another.
        None if said == computed => {
            let (said, computed) = ("other bytes".to_owned(), "the same values".to_owned());
            Error::Differs { field: "the writing".to_owned(), said, computed }
        }
        None => Error::Differs { field, said: short(said), computed: short(computed) },
    }
}

fn short(value: Option<&Value>) -> String {
    const SHOWN: usize = 120;
    let text = value.map_or_else(|| "absent".to_owned(), Value::to_string);
    if text.chars().count() <= SHOWN { text } else { text.chars().take(SHOWN).chain("…".chars()).collect() }
}

/// Whether a chain has the state and the history that an answer rests on.
///
/// # Errors
/// [`Error::OtherState`] where it has others, [`Error::State`] and [`Error::NoHistory`] where it does not say.
pub fn reread(replay: &Replay, chain: &Arc<dyn Chain>) -> Result<(), Error> {
    let snapshot = chain.snapshot(Some(replay.head.number))?;
    if snapshot.head != replay.head {
        return Err(Error::OtherState(format!("block {} is {} there", replay.head.number, snapshot.head.hash)));
    }
    if let Some(difference) = replay.witness.difference(&*snapshot.source)? {
        return Err(Error::OtherState(difference));
    }
    replay.past.as_ref().map_or(Ok(()), |past| reread_past(past, replay.head.number, chain))
}

fn reread_past(past: &Past, block: u64, chain: &Arc<dyn Chain>) -> Result<(), Error> {
    if past.to_block != block {
        return Err(Error::OtherState(format!("its history ends at block {}", past.to_block)));
    }
    let history = History::of(chain, block).filter(|history| history.past().from_block == past.from_block);
    let history = history.ok_or(Error::NoHistory(past.from_block, past.to_block))?;
    history.difference(past).map_or(Ok(()), |difference| Err(Error::OtherState(difference)))
}

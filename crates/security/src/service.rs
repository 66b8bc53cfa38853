//! The services: what each is called, what it gathers, how it judges.

use std::any::Any;
use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use surety_evm::Chain;
use surety_primitives::dataset::{Entry, Key};
use surety_primitives::hash::h;
use surety_primitives::{Hash32, Seconds, codec};

use crate::envelope::{Refusal, Verdict};
use crate::history::Past;
use crate::lists::Dataset;
use crate::state::State;
use crate::{address, approvals, chains, dapp, input, phishing, prefix, screen, simulate, tokens};

/// Every service; a new one is its file and its line here.
pub static SERVICES: &[&dyn Service] = &[
    &phishing::PhishingSite,
    &address::AddressSecurity,
    &chains::SupportedChains,
    &dapp::DappSecurity,
    &simulate::TxSimulate,
    &input::InputDecoding,
    &screen::Screen,
    &tokens::TokenSecurity,
    &tokens::RugpullDetecting,
    &tokens::DeployScan,
    &approvals::TOKENS,
    &approvals::NFT_721,
    &approvals::NFT_1155,
    &approvals::ApprovalSecurity,
    &prefix::ADDRESSES,
    &prefix::NAMES,
];

/// Bumped whenever any answer could change; the engine's hash follows from it.
const RULES: u32 = 5;

/// The name of this engine.
pub const ENGINE: &str = "surety-security";

/// Hash of the engine's name, version and rules: the `engine` of an Answer's basis.
pub fn engine() -> Hash32 {
    h("surety/security/engine/v1", &[&codec::encode(&(ENGINE, env!("CARGO_PKG_VERSION"), RULES))])
}

/// One question to one service.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Request {
    /// The variable part of the path, where the service's path has one.
    pub segment: String,
    /// The parameters of the query; none twice.
    pub query: BTreeMap<String, String>,
    /// The body, as it was sent; empty for a `GET`.
    pub body: Vec<u8>,
    /// The time that the age of lists is judged at: the request's or the task's.
    pub at: Seconds,
    /// The over-age sources by root of their dataset, where they do not follow from the time: an answer that is computed
    /// again says which they were.
    pub stale: Option<BTreeMap<Hash32, u64>>,
}

impl Request {
    /// Hash of what was asked, without the time and without `proof`, which changes what is shown and not what is said.
    pub fn params_hash(&self, service: &str) -> Hash32 {
        let asked: Vec<(&String, &String)> = self.query.iter().filter(|(name, _)| *name != "proof").collect();
        h("surety/security/params/v2", &[&codec::encode(&(service, &self.segment, asked)), &self.body])
    }

    /// The parameter of the query.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.query.get(name).map(String::as_str)
    }

    /// Bits of the dataset's sources that are over-age.
    pub fn stale_sources(&self, dataset: &Dataset) -> u64 {
        match &self.stale {
            Some(said) => said.get(&dataset.root()).copied().unwrap_or_default(),
            None => dataset.stale_sources(self.at),
        }
    }

    /// The roots that the lists must have, where the request pins them (`lists=0x…,0x…`).
    ///
    /// # Errors
    /// [`Refusal::Parameter`] for what is no root.
    fn pinned_lists(&self) -> Result<Option<Vec<Hash32>>, Refusal> {
        let read = |root: &str| {
            root.parse().map_err(|_| Refusal::Parameter("lists: roots of 32 bytes in hex, joined by commas".to_owned()))
        };
        self.get("lists").map(|roots| roots.split(',').map(read).collect()).transpose()
    }

    /// Refuses a question that pins another engine: this one would answer another question.
    ///
    /// # Errors
    /// [`Refusal::Parameter`].
    pub(crate) fn check_engine(&self) -> Result<(), Refusal> {
        match self.get("engine") {
            Some(pinned) if pinned.parse() != Ok(engine()) => {
                Err(Refusal::Parameter(format!("engine: this one is {}", engine())))
            }
            _ => Ok(()),
        }
    }
}

/// The chains that state is read from, by chain id.
pub type Chains = BTreeMap<u64, Arc<dyn Chain>>;

static NO_CHAINS: Chains = BTreeMap::new();

/// Everything that a question can be answered from.
#[derive(Clone, Copy)]
pub struct Sources<'a> {
    /// The loaded datasets.
    pub lists: &'a Lists,
    /// The chains.
    pub chains: &'a Chains,
    /// What history said, where an answer is computed again from its evidence.
    pub past: Option<&'a Past>,
}

impl<'a> Sources<'a> {
    /// Lists and chains.
    pub const fn new(lists: &'a Lists, chains: &'a Chains) -> Self {
        Self { lists, chains, past: None }
    }
}

impl<'a> From<&'a Lists> for Sources<'a> {
    fn from(lists: &'a Lists) -> Self {
        Self::new(lists, &NO_CHAINS)
    }
}

impl fmt::Debug for Sources<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sources").field("chains", &self.chains.keys()).finish_non_exhaustive()
    }
}

/// A look-up and what it found.
#[derive(Clone, Debug)]
pub struct Looked<'a> {
    /// Where.
    pub dataset: &'a Dataset,
    /// What was asked for.
    pub key: Key,
    /// What is there.
    pub entry: Option<&'a Entry>,
}

impl<'a> Looked<'a> {
    /// Asks the dataset.
    pub fn up(dataset: &'a Dataset, key: Key) -> Self {
        let entry = dataset.get(&key);
        Self { dataset, key, entry }
    }
}

/// What an answer to a `GET` of this path and query must make claims about (see [`Service::required`]); nothing for a path
/// of no service here. The path may lie below another, as behind a sidecar.
pub fn required_claims(path_and_query: &str) -> Vec<Key> {
    let (path, query) = path_and_query.split_once('?').unwrap_or((path_and_query, ""));
    let asked = SERVICES.iter().find_map(|service| Some((service, segment_of(service.card().path, path)?)));
    let Some((service, segment)) = asked else { return Vec::new() };
    crate::router::request(segment, query, Seconds(0)).map_or_else(|_| Vec::new(), |request| service.required(&request))
}

/// The service of a path, which may lie below another, and the variable part of the path.
pub fn service_of(path: &str) -> Option<(&'static dyn Service, &str)> {
    SERVICES.iter().find_map(|service| Some((*service, segment_of(service.card().path, path)?)))
}

/// The variable part of a path that ends like `template`.
fn segment_of<'a>(template: &str, path: &'a str) -> Option<&'a str> {
    let (fixed, is_variable) = template.split_once("/{").map_or((template, false), |(fixed, _)| (fixed, true));
    let (before, segment) = if is_variable { path.rsplit_once('/')? } else { (path, "") };
    (before.rsplit('/').next() == fixed.rsplit('/').next()).then_some(segment)
}

/// Everything that a verdict may look at. Nothing in it changes any more: state is read at one block, and what is read is
/// recorded, so that the reading can be repeated without the chain.
#[derive(Debug)]
pub struct Gathered<'a> {
    /// The datasets, as loaded.
    pub lists: &'a Lists,
    /// What the question is about, normalised.
    pub subject: Subject,
    /// The look-ups that were made.
    pub looked: Vec<Looked<'a>>,
    /// Bits of the sources that are over-age at the request's time.
    pub stale: u64,
    /// The state that the question is about; [`State::None`] where it is about none.
    pub state: State,
}

impl<'a> Gathered<'a> {
    /// A question of a service's own type, before state.
    pub fn about<Q: Any + Send + Sync>(lists: &'a Lists, question: Q, state: State) -> Self {
        Self { lists, subject: Subject::Own(Arc::new(question)), looked: Vec::new(), stale: 0, state }
    }

    /// The question, as the service that gathered wrote it.
    pub fn question<Q: Any>(&self) -> Option<&Q> {
        match &self.subject {
            Subject::Own(question) => question.downcast_ref(),
            _ => None,
        }
    }
}

/// What a question is about.
#[derive(Clone, Debug)]
pub enum Subject {
    /// A host and what its URL says about it.
    Host(phishing::Host),
    /// An address.
    Address([u8; 20]),
    /// Nothing in particular.
    Nothing,
    /// A question of the service's own type.
    Own(Arc<dyn Any + Send + Sync>),
}

/// How a service is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Method {
    /// By path and query.
    Get,
    /// By a JSON body besides.
    Post,
}

/// The dataset that answers rest on, also where no single look-up decides.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RestsOn {
    /// The one about names.
    Names,
    /// The one about addresses.
    Addresses,
}

/// What is known of a service before it is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Card {
    /// Its name, as in the listing and in metrics.
    pub name: &'static str,
    /// Its path in axum's syntax, with at most one variable segment.
    pub path: &'static str,
    /// How it is asked.
    pub method: Method,
    /// Whether its answers may read state and run code, which is work for a thread that may wait.
    pub reads_state: bool,
    /// Whether its answers are about whoever gives them, so that nobody else can compute them again.
    pub is_own_word: bool,
    /// The dataset that its answers rest on, where there is one.
    pub rests_on: Option<RestsOn>,
}

impl Card {
    /// A service that is asked by path and query, and reads nothing but its question.
    pub const fn new(name: &'static str, path: &'static str) -> Self {
        Self { name, path, method: Method::Get, reads_state: false, is_own_word: false, rests_on: None }
    }
}

/// A security service.
pub trait Service: Sync {
    /// What is known of it before it is asked.
    fn card(&self) -> Card;

    /// Its name.
    fn name(&self) -> &'static str {
        self.card().name
    }

    /// The datasets that its answers rest on, of those that are loaded.
    fn datasets<'a>(&self, lists: &'a Lists) -> Vec<&'a Dataset> {
        let dataset = self.card().rests_on.and_then(|on| match on {
            RestsOn::Names => lists.names(),
            RestsOn::Addresses => lists.addresses(),
        });
        dataset.into_iter().collect()
    }

    /// The keys that an answer to this must make claims about, whatever it says, where its service has a list at all:
    /// without them a wrong answer could not be contradicted. None for a question that is refused.
    fn required(&self, _request: &Request) -> Vec<Key> {
        Vec::new()
    }

    /// Reads the request, pins the state and looks up what it asks for.
    ///
    /// # Errors
    /// [`Refusal`] when the request makes no sense.
    fn gather<'a>(&self, sources: Sources<'a>, request: &Request) -> Result<Gathered<'a>, Refusal>;

    /// The verdict: a function of what was gathered and of nothing else.
    ///
    /// # Errors
    /// [`Refusal`] when what was gathered shows that there is nothing to answer about.
    fn judge<'a>(&self, gathered: &Gathered<'a>) -> Result<Verdict<'a>, Refusal>;
}

/// The loaded datasets with their indexes. Never changed: a new version is a new value, swapped in whole.
#[derive(Clone, Debug, Default)]
pub struct Lists {
    pub(crate) names: Option<Arc<phishing::Names>>,
    pub(crate) addresses: Option<Arc<address::Addresses>>,
}

impl Lists {
    /// Makes datasets ready: one about names, one about addresses. What is missing is answered as unknown.
    pub fn new(names: Option<Dataset>, addresses: Option<Dataset>) -> Self {
        Self {
            names: names.map(phishing::Names::new).map(Arc::new),
            addresses: addresses.map(address::Addresses::new).map(Arc::new),
        }
    }

    /// The dataset about names.
    pub fn names(&self) -> Option<&Dataset> {
        self.names.as_deref().map(phishing::Names::dataset)
    }

    /// Whether a list of sanctions is loaded.
    pub fn knows_sanctions(&self) -> bool {
        self.addresses.as_deref().is_some_and(address::Addresses::knows_sanctions)
    }

    /// The dataset about addresses.
    pub fn addresses(&self) -> Option<&Dataset> {
        self.addresses.as_deref().map(address::Addresses::dataset)
    }

    /// These lists without the ones that the request does not pin: what is pinned and absent is unknown, never
    /// substituted.
    ///
    /// # Errors
    /// [`Refusal::Parameter`] for a pin that is none.
    pub(crate) fn pinned_by(&self, request: &Request) -> Result<Self, Refusal> {
        let mut lists = self.clone();
        if let Some(roots) = request.pinned_lists()? {
            lists.names = lists.names.filter(|names| roots.contains(&names.dataset().root()));
            lists.addresses = lists.addresses.filter(|addresses| roots.contains(&addresses.dataset().root()));
        }
        Ok(lists)
    }
}

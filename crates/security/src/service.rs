//! The services: what each is called, what it gathers, how it judges.

use std::collections::BTreeMap;

use surety_primitives::dataset::{Entry, Key};
use surety_primitives::hash::h;
use surety_primitives::{Hash32, Seconds, codec};

use crate::envelope::{Refusal, Verdict};
use crate::lists::Dataset;
use crate::{address, chains, phishing};

/// Every service; a new one is its file and its line here.
pub static SERVICES: &[&dyn Service] = &[&phishing::PhishingSite, &address::AddressSecurity, &chains::SupportedChains];

/// Bumped whenever any answer could change; the engine's hash follows from it.
const RULES: u32 = 1;

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
    /// The time that the age of lists is judged at: the request's or the task's.
    pub at: Seconds,
}

impl Request {
    /// Hash of what was asked, without the time and without `proof`, which changes what is shown and not what is said.
    pub fn params_hash(&self, service: &str) -> Hash32 {
        let asked: Vec<(&String, &String)> = self.query.iter().filter(|(name, _)| *name != "proof").collect();
        h("surety/security/params/v1", &[&codec::encode(&(service, &self.segment, asked))])
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
    let asked = SERVICES.iter().find_map(|service| Some((service, segment_of(service.path(), path)?)));
    let Some((service, segment)) = asked else { return Vec::new() };
    crate::router::request(segment, query, Seconds(0)).map_or_else(|_| Vec::new(), |request| service.required(&request))
}

/// The variable part of a path that ends like `template`.
fn segment_of<'a>(template: &str, path: &'a str) -> Option<&'a str> {
    let (fixed, is_variable) = template.split_once("/{").map_or((template, false), |(fixed, _)| (fixed, true));
    let (before, segment) = if is_variable { path.rsplit_once('/')? } else { (path, "") };
    (before.rsplit('/').next() == fixed.rsplit('/').next()).then_some(segment)
}

/// Everything that a verdict may look at. Nothing in it changes any more.
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
}

/// What a question is about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Subject {
    /// A host and what its URL says about it.
    Host(phishing::Host),
    /// An address.
    Address([u8; 20]),
    /// Nothing in particular.
    Nothing,
}

/// A security service.
pub trait Service: Sync {
    /// Its name, as in the listing and in metrics.
    fn name(&self) -> &'static str;

    /// Its path in axum's syntax, with at most one variable segment.
    fn path(&self) -> &'static str;

    /// The datasets that its answers rest on, also where no single look-up decides.
    fn datasets<'a>(&self, _lists: &'a Lists) -> Vec<&'a Dataset> {
        Vec::new()
    }

    /// The keys that an answer to this must make claims about, whatever it says, where its service has a list at all:
    /// without them a wrong answer could not be contradicted. None for a question that is refused.
    fn required(&self, _request: &Request) -> Vec<Key> {
        Vec::new()
    }

    /// Reads the request and looks up what it asks for.
    ///
    /// # Errors
    /// [`Refusal`] when the request makes no sense.
    fn gather<'a>(&self, lists: &'a Lists, request: &Request) -> Result<Gathered<'a>, Refusal>;

    /// The verdict: a function of what was gathered and of nothing else.
    fn judge<'a>(&self, gathered: &Gathered<'a>) -> Verdict<'a>;
}

/// The loaded datasets with their indexes. Never changed: a new version is a new value, swapped in whole.
#[derive(Debug, Default)]
pub struct Lists {
    pub(crate) names: Option<phishing::Names>,
    pub(crate) addresses: Option<address::Addresses>,
}

impl Lists {
    /// Makes datasets ready: one about names, one about addresses. What is missing is answered as unknown.
    pub fn new(names: Option<Dataset>, addresses: Option<Dataset>) -> Self {
        Self { names: names.map(phishing::Names::new), addresses: addresses.map(address::Addresses::new) }
    }

    /// The dataset about names.
    pub fn names(&self) -> Option<&Dataset> {
        self.names.as_ref().map(phishing::Names::dataset)
    }

    /// The dataset about addresses.
    pub fn addresses(&self) -> Option<&Dataset> {
        self.addresses.as_ref().map(address::Addresses::dataset)
    }
}

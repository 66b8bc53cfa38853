//! `phishing_site`: is a host listed, or made to look like something worth imitating?
//!
//! `phishing_site` and `compatible` follow eth-phishing-detect over the loaded lists (see [`compat`]); `type`, `match`,
//! `list` and `distance` are our own verdict (see [`own`]) and never reach into them.

pub mod compat;
pub mod distance;
pub mod own;

use serde::Serialize;
use serde_json::Value;
use serde_json::value::RawValue;
use surety_primitives::dataset::{Entry, Key, Prefix};
use url::Url;

use crate::envelope::{Reason, Refusal, Standing, Unknown, Verdict, raw};
use crate::lists::normal::{MAX_LABELS, domain, ip_literal, is_host};
use crate::lists::{Conflict, Dataset, Semantics, Subject as About, kind, merge};
use crate::prefix::Index;
use crate::service::{Card, Gathered, Looked, Request, RestsOn, Service, Sources, Subject};
use crate::state::State;
use compat::{Config, Configs, Detector, Kind, suffixes};
use own::{Brands, Own, OwnKind};

/// Longest URL that is read, in bytes.
const MAX_URL: usize = 2_048;

/// The host of a URL, normalised, and what else of the URL matters.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Host {
    /// Lower-case ASCII name without trailing dots, or an IP literal.
    pub name: String,
    /// Whether it is an IP literal: answered on lists only.
    pub is_ip: bool,
    /// The user part of the URL, which the eye takes for the host: `https://metamask.io@evil.example`.
    pub user: Option<String>,
}

impl Host {
    /// Reads a URL or a bare host.
    ///
    /// # Errors
    /// [`Refusal::Parameter`] when there is no host in it, or a scheme that is not of the web.
    pub fn parse(text: &str) -> Result<Self, Refusal> {
        let refused = |reason: &str| Refusal::Parameter(format!("url: {reason}"));
        if text.len() > MAX_URL {
            return Err(refused("longer than 2048 bytes"));
        }
        let text = text.trim();
        if is_plain(text) {
            return Ok(Self { name: text.to_owned(), is_ip: false, user: None });
        }
        let url = match text.split_once("://") {
            Some((scheme, _)) if scheme.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"+-.".contains(&byte)) => {
                Url::parse(text)
            }
            _ => Url::parse(&format!("http://{}", text.trim_start_matches('/'))),
        };
        let url = url.map_err(|error| refused(&error.to_string()))?;
        if !matches!(url.scheme(), "http" | "https" | "ws" | "wss" | "ftp") {
            return Err(refused("not a scheme of the web"));
        }
        let host = url.host_str().ok_or_else(|| refused("no host"))?;
        let name = domain(host).ok_or_else(|| refused("no host name"))?;
        let user = Some(url.username().to_ascii_lowercase()).filter(|user| !user.is_empty());
        Ok(Self { is_ip: ip_literal(&name).is_some(), name, user })
    }

    /// What a list would have to name: the host and what it lies under, the deepest first, at most [`MAX_LABELS`].
    ///
    /// Whoever checks an answer asks for the same names: a "clean" without a claim for each of them says nothing.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        let labels = self.name.split('.').count();
        let (skipped, taken) = if self.is_ip { (0, 1) } else { (labels.saturating_sub(MAX_LABELS), MAX_LABELS) };
        suffixes(&self.name).skip(skipped).take(taken)
    }

    /// The keys that an answer about this host must have a claim for, whatever it says.
    pub fn required_keys(&self) -> Vec<Key> {
        self.names().filter_map(|name| Key::new(DENY, name.as_bytes()).ok()).collect()
    }
}

/// A host as URLs mean it already: lower-case, no punycode to check, and no number that a URL parser takes for an IP.
fn is_plain(text: &str) -> bool {
    let last = text.rsplit('.').next().unwrap_or_default();
    is_host(text) && last.starts_with(|c: char| c.is_ascii_alphabetic()) && !text.contains("xn--")
}

/// A dataset about names with its indexes.
#[derive(Debug)]
pub(crate) struct Names {
    dataset: Dataset,
    detector: Detector,
    brands: Brands,
    denies: bool,
    by_prefix: Index,
}

impl Names {
    pub(crate) fn new(dataset: Dataset) -> Self {
        let configs = configs(&dataset);
        let brands = Brands::new(configs.list.iter().flat_map(|config| config.fuzzy.iter().map(String::as_str)));
        let denies = configs.list.iter().any(|config| !config.block.is_empty());
        let by_prefix = Index::of(&dataset, &[ALLOW, DENY]);
        Self { detector: Detector::new(configs), brands, denies, dataset, by_prefix }
    }

    /// What is listed under a prefix, as look-ups that found something.
    pub(crate) fn under(&self, prefix: Prefix) -> Vec<Looked<'_>> {
        self.by_prefix.under(&self.dataset, prefix)
    }

    pub(crate) const fn dataset(&self) -> &Dataset {
        &self.dataset
    }

    fn look_up(&self, semantics: Semantics, name: &str) -> Option<Looked<'_>> {
        let key = Key::new(kind(About::Domain, semantics), name.as_bytes()).ok()?;
        // The detector's index holds every listed name; only a listed one is worth a search of the tree.
        let entry =
            if semantics == Semantics::Fuzzy || self.detector.lists(name) { self.dataset.get(&key) } else { None };
        Some(Looked { dataset: &self.dataset, key, entry })
    }
}

/// One configuration a source, in the order of the sources, fuzzy targets in the order of their lists.
fn configs(dataset: &Dataset) -> Configs {
    let config = |info: &crate::lists::SourceInfo| Config {
        name: Some(info.name.clone()),
        version: Some(Value::String(info.version.clone())),
        tolerance: info.tolerance,
        ..Config::default()
    };
    let mut list: Vec<Config> = dataset.sources().iter().map(config).collect();
    let mut targets: Vec<Vec<(u32, String)>> = vec![Vec::new(); list.len()];
    for entry in dataset.entries() {
        let Ok(name) = std::str::from_utf8(entry.key.name()) else { continue };
        for (bit, config) in list.iter_mut().enumerate().filter(|(bit, _)| entry.sources >> bit & 1 == 1) {
            match entry.key.kind() {
                ALLOW => config.allow.push(name.to_owned()),
                DENY => config.block.push(name.to_owned()),
                FUZZY => targets[bit].push((position(entry, bit), name.to_owned())),
                _ => {}
            }
        }
    }
    for (config, mut targets) in list.iter_mut().zip(targets) {
        targets.sort_unstable();
        config.fuzzy = targets.into_iter().map(|(_, name)| name).collect();
    }
    Configs { list, legacy: false }
}

const ALLOW: u8 = kind(About::Domain, Semantics::Allow);
const DENY: u8 = kind(About::Domain, Semantics::Deny);
const FUZZY: u8 = kind(About::Domain, Semantics::Fuzzy);

/// Where a source's list has this target.
fn position(entry: &Entry, bit: usize) -> u32 {
    let label = merge::labels(entry).find(|(of, _)| *of as usize == bit);
    label.and_then(|(_, label)| label.parse().ok()).unwrap_or(u32::MAX)
}

/// The service.
#[derive(Debug)]
pub struct PhishingSite;

#[derive(Serialize)]
struct Site {
    #[serde(skip_serializing_if = "Option::is_none")]
    phishing_site: Option<u8>,
    // No list that is read ties contracts to hosts, and no page is fetched.
    website_contract_security: [(); 0],
    #[serde(rename = "type")]
    kind: OwnKind,
    #[serde(rename = "match", skip_serializing_if = "Option::is_none")]
    matched: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    list: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    distance: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    conflict: Option<Conflict>,
    #[serde(skip_serializing_if = "Option::is_none")]
    compatible: Option<Box<RawValue>>,
}

impl Service for PhishingSite {
    fn card(&self) -> Card {
        Card { rests_on: Some(RestsOn::Names), ..Card::new("phishing_site", "/api/v1/phishing_site") }
    }

    fn required(&self, request: &Request) -> Vec<Key> {
        let host = request.query.get("url").and_then(|url| Host::parse(url).ok());
        host.map_or_else(Vec::new, |host| host.required_keys())
    }

    fn gather<'a>(&self, sources: Sources<'a>, request: &Request) -> Result<Gathered<'a>, Refusal> {
        let url = request.query.get("url").ok_or_else(|| Refusal::Parameter("url is missing".to_owned()))?;
        let host = Host::parse(url)?;
        let lists = sources.lists;
        let mut looked = Vec::new();
        let mut stale = 0;
        if let Some(names) = &lists.names {
            stale = request.stale_sources(&names.dataset);
            looked.extend(host.names().filter_map(|name| names.look_up(Semantics::Deny, name)));
            let allowed = host.names().filter_map(|name| names.look_up(Semantics::Allow, name));
            looked.extend(allowed.filter(|looked| looked.entry.is_some()));
        }
        Ok(Gathered { lists, subject: Subject::Host(host), looked, stale, state: State::None })
    }

    fn judge<'a>(&self, gathered: &Gathered<'a>) -> Result<Verdict<'a>, Refusal> {
        Ok(match (&gathered.lists.names, &gathered.subject) {
            (Some(names), Subject::Host(host)) => judge(names, host, gathered),
            _ => no_list(),
        })
    }
}

/// Nothing is known of any name.
fn no_list() -> Verdict<'static> {
    let site = Site {
        phishing_site: None,
        website_contract_security: [],
        kind: OwnKind::None,
        matched: None,
        list: None,
        distance: None,
        conflict: None,
        compatible: None,
    };
    let unknown = ["phishing_site", "type", "website_contract_security"];
    let unknown = unknown.map(|field| Unknown::new(field, Reason::ListMissing)).to_vec();
    Verdict::attested(raw(&site), unknown)
}

fn judge<'a>(names: &'a Names, host: &Host, gathered: &Gathered<'a>) -> Verdict<'a> {
    let check = names.detector.check(&host.name);
    // Literals are answered on lists only.
    let by_list = matches!(check.kind, Kind::Allow | Kind::Block);
    let is_phishing = check.is_phishing() && (by_list || !host.is_ip);
    let own = by_lists(&gathered.looked).unwrap_or_else(|| own::judge(&names.brands, host));
    let mut looked = gathered.looked.clone();
    if let (Kind::Fuzzy, Some(target)) = (check.kind, check.matched) {
        looked.extend(names.look_up(Semantics::Fuzzy, target));
    }
    let mut unknown = vec![Unknown::new("website_contract_security", Reason::NoSource)];
    let reason = why_not_clean(names, gathered.stale).filter(|_| !is_phishing);
    if let Some(reason) = reason {
        unknown.insert(0, Unknown::new("phishing_site", reason));
    }
    let provable = by_list || check.kind == Kind::All;
    let site = Site {
        phishing_site: reason.is_none().then_some(u8::from(is_phishing)),
        website_contract_security: [],
        kind: own.kind,
        list: own.sources.map(|bits| source_names(&names.dataset, bits)),
        matched: own.matched,
        distance: own.distance,
        conflict: conflict(&gathered.looked),
        compatible: reason.is_none().then(|| raw(&check)),
    };
    let standing = if provable { Standing::Provable } else { Standing::Attested };
    Verdict { standing, ..Verdict::provable(raw(&site), unknown, looked) }
}

/// Why a host that nothing was found about is not called clean. A hit on an old list stays a hit, and says how old.
pub(crate) const fn why_not_clean(names: &Names, stale: u64) -> Option<Reason> {
    if stale != 0 {
        Some(Reason::ListStale)
    } else if !names.denies {
        Some(Reason::NoSource)
    } else {
        None
    }
}

/// The deepest listed name decides; where it is both allowed and denied, it is allowed.
fn by_lists(looked: &[Looked<'_>]) -> Option<Own> {
    let found = looked.iter().filter_map(|looked| looked.entry);
    let deepest = found.max_by_key(|entry| (entry.key.name().len(), entry.key.kind() == ALLOW))?;
    Some(Own {
        kind: if deepest.key.kind() == ALLOW { OwnKind::Allowlist } else { OwnKind::Blocklist },
        matched: std::str::from_utf8(deepest.key.name()).ok().map(str::to_owned),
        distance: None,
        sources: Some(deepest.sources),
    })
}

fn conflict(looked: &[Looked<'_>]) -> Option<Conflict> {
    let deepest = |kind: u8| {
        let found = looked.iter().filter_map(|looked| looked.entry).filter(move |entry| entry.key.kind() == kind);
        let key = found.map(|entry| entry.key.name()).max_by_key(|name| name.len())?;
        std::str::from_utf8(key).ok().map(str::to_owned)
    };
    let (denied, allowed) = (deepest(DENY)?, deepest(ALLOW)?);
    (denied.len() >= allowed.len()).then_some(Conflict { denied, allowed })
}

/// The names of the sources whose bits are set, joined as GoPlus joins them.
pub(crate) fn source_names(dataset: &Dataset, bits: u64) -> String {
    let named = dataset.sources().iter().enumerate().filter(|(bit, _)| bits >> bit & 1 == 1);
    named.map(|(_, info)| info.name.as_str()).collect::<Vec<_>>().join("/")
}

#[cfg(test)]
mod tests;

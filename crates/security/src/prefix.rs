//! `address_prefix` and `name_prefix`: what is listed under the first bits of a hash, so that whoever asks need not say about
//! what (`security-services.md` 7.6, as browsers ask about sites). The asker finds its own address or name in the answer.
//!
//! What the answer names is claimed, and so provable. That it names everything is what only those can check who compute it
//! again, with the lists that it cites.

use std::collections::BTreeMap;

use serde::Serialize;
use surety_primitives::dataset::Prefix;

use crate::address::{Security, flags};
use crate::envelope::{Reason, Refusal, Unknown, Verdict, raw};
use crate::lists::{Dataset, Semantics, Subject as About, kind};
use crate::phishing::{source_names, why_not_clean};
use crate::service::{Card, Gathered, Looked, Request, RestsOn, Service, Sources};
use crate::state::State;

/// Addresses under a prefix.
pub static ADDRESSES: ListPrefix =
    ListPrefix { name: "address_prefix", path: "/api/v1/address_prefix/{prefix}", about: About::Address };
/// Host names under a prefix. A list means what lies below a name too: its parents are asked about one by one.
pub static NAMES: ListPrefix =
    ListPrefix { name: "name_prefix", path: "/api/v1/name_prefix/{prefix}", about: About::Domain };

const DENY: u8 = kind(About::Domain, Semantics::Deny);
const ALLOW: u8 = kind(About::Domain, Semantics::Allow);

/// The service for one kind of name.
#[derive(Debug)]
pub struct ListPrefix {
    name: &'static str,
    path: &'static str,
    about: About,
}

/// Where the names under each prefix stand among a dataset's entries.
#[derive(Debug)]
pub(crate) struct Index(Vec<(Prefix, u32)>);

impl Index {
    /// Of the entries of these kinds.
    pub(crate) fn of(dataset: &Dataset, kinds: &[u8]) -> Self {
        let entries = dataset.tree().entries().iter().zip(0..);
        let listed = entries.filter(|(entry, _)| kinds.contains(&entry.key.kind()));
        let mut index: Vec<_> = listed.map(|(entry, at)| (Prefix::of(entry.key.name()), at)).collect();
        index.sort_unstable();
        Self(index)
    }

    /// The look-ups of what is listed under a prefix.
    pub(crate) fn under<'a>(&self, dataset: &'a Dataset, prefix: Prefix) -> Vec<Looked<'a>> {
        let first = self.0.partition_point(|(other, _)| *other < prefix);
        let under = self.0.get(first..).unwrap_or_default().iter().take_while(|(other, _)| *other == prefix);
        let entries = dataset.tree().entries();
        let looked = under.filter_map(|(_, at)| entries.get(usize::try_from(*at).ok()?));
        looked.map(|entry| Looked::up(dataset, entry.key.clone())).filter(|looked| looked.entry.is_some()).collect()
    }
}

/// The result: what is said of each name under the prefix that is listed, and of all others under it.
#[derive(Serialize)]
struct Under<T> {
    prefix: String,
    listed: BTreeMap<String, T>,
    others: T,
}

/// What lists say of a name.
#[derive(Default, Serialize)]
struct OnName {
    #[serde(skip_serializing_if = "Option::is_none")]
    blocklist: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    allowlist: Option<&'static str>,
    data_source: String,
}

#[derive(Serialize)]
struct Nothing {}

impl Service for ListPrefix {
    fn card(&self) -> Card {
        let rests_on = match self.about {
            About::Address => RestsOn::Addresses,
            About::Domain => RestsOn::Names,
        };
        Card { rests_on: Some(rests_on), ..Card::new(self.name, self.path) }
    }

    fn gather<'a>(&self, sources: Sources<'a>, request: &Request) -> Result<Gathered<'a>, Refusal> {
        let refused = |_| Refusal::Parameter("prefix: four hex digits".to_owned());
        let prefix: Prefix = request.segment.parse().map_err(refused)?;
        let lists = sources.lists;
        let looked = match self.about {
            About::Address => lists.addresses.as_deref().map(|addresses| addresses.under(prefix)),
            About::Domain => lists.names.as_deref().map(|names| names.under(prefix)),
        };
        let stale = self.datasets(lists).into_iter().fold(0, |bits, dataset| bits | request.stale_sources(dataset));
        Ok(Gathered { looked: looked.unwrap_or_default(), stale, ..Gathered::about(lists, prefix, State::None) })
    }

    fn judge<'a>(&self, gathered: &Gathered<'a>) -> Result<Verdict<'a>, Refusal> {
        let none = || Refusal::Server("no prefix was read".to_owned());
        let prefix = gathered.question::<Prefix>().ok_or_else(none)?.to_string();
        let said = match self.about {
            About::Address => addresses(prefix, gathered),
            About::Domain => names(prefix, gathered),
        };
        let Some((result, unknown)) = said else { return Ok(self.no_list(gathered)) };
        // Of what it names anyone can show that it is not so; of what it leaves out only who has the lists.
        let verdict = Verdict::provable(result, unknown, gathered.looked.clone());
        Ok(Verdict { attested: vec!["others"], ..verdict })
    }
}

impl ListPrefix {
    fn no_list<'a>(&self, gathered: &Gathered<'a>) -> Verdict<'a> {
        let prefix = gathered.question::<Prefix>().map(Prefix::to_string).unwrap_or_default();
        let fields = match self.about {
            About::Address => flags(),
            About::Domain => &["blocklist", "allowlist"],
        };
        let unknown = fields.iter().map(|field| Unknown::new(field, Reason::ListMissing)).collect();
        Verdict::attested(raw(&Under { prefix, listed: BTreeMap::new(), others: Nothing {} }), unknown)
    }
}

type Said = (Box<serde_json::value::RawValue>, Vec<Unknown>);

fn addresses(prefix: String, gathered: &Gathered<'_>) -> Option<Said> {
    let addresses = gathered.lists.addresses.as_deref()?;
    let (others, unknown) = addresses.security(None, gathered.stale);
    let mut listed: BTreeMap<String, Security> = BTreeMap::new();
    for looked in &gathered.looked {
        let Ok(address) = <[u8; 20]>::try_from(looked.key.name()) else { continue };
        let (security, _) = addresses.security(Some(&address), gathered.stale);
        listed.insert(const_hex::encode_prefixed(address), security);
    }
    Some((raw(&Under { prefix, listed, others }), unknown))
}

fn names(prefix: String, gathered: &Gathered<'_>) -> Option<Said> {
    let names = gathered.lists.names.as_deref()?;
    let reason = why_not_clean(names, gathered.stale);
    let others =
        || OnName { blocklist: reason.is_none().then_some("0"), allowlist: Some("0"), data_source: String::new() };
    let mut listed: BTreeMap<String, (OnName, u64)> = BTreeMap::new();
    for looked in &gathered.looked {
        let (Some(entry), Ok(name)) = (looked.entry, std::str::from_utf8(looked.key.name())) else { continue };
        let (said, sources) = listed.entry(name.to_owned()).or_insert_with(|| (others(), 0));
        *sources |= entry.sources;
        match looked.key.kind() {
            DENY => said.blocklist = Some("1"),
            ALLOW => said.allowlist = Some("1"),
            _ => {}
        }
    }
    let named = |(name, (said, sources)): (String, (OnName, u64))| {
        (name, OnName { data_source: source_names(names.dataset(), sources), ..said })
    };
    let listed = listed.into_iter().map(named).collect();
    let unknown = reason.map(|reason| Unknown::new("blocklist", reason)).into_iter().collect();
    Some((raw(&Under { prefix, listed, others: others() }), unknown))
}

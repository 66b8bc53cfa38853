//! `address_security`: what lists, and where a chain is named its state, say of an address (`security-services.md` 3.2).
//!
//! Three states: "1" when a list says so, "0" when a list that could say so does not, absent (and named in
//! `surety.unknown`) when no loaded list can tell.

mod contract;
mod rebirth;

use std::collections::HashMap;

use alloy_primitives::Address;
use serde::Serialize;
use serde::ser::{SerializeMap, Serializer};
use surety_primitives::dataset::{Entry, Key, Prefix};

use crate::chains::is_supported;
use crate::envelope::{Reason, Refusal, Unknown, Verdict, raw};
use crate::lists::{Dataset, Date, Semantics, Subject as About, address, kind, merge};
use crate::phishing::source_names;
use crate::prefix::Index;
use crate::service::{Card, Chains, Gathered, Lists, Looked, Request, RestsOn, Service, Sources, Subject};
use crate::state::{State, block_of, chain_of};
use contract::{OnChain, TOLD, Told, told};

/// The flags that labels set, in the order in which they are written.
const FLAGS: [&str; 14] = [
    "sanctioned",
    "mixer",
    "phishing_activities",
    "stealing_attack",
    "honeypot_related_address",
    "blacklist_doubt",
    "cybercrime",
    "money_laundering",
    "financial_crime",
    "darkweb_transactions",
    "blackmail_activities",
    "fake_kyc",
    "malicious_mining_activities",
    "fake_token",
];
const SANCTIONED: usize = 0;
const DOUBT: usize = 5;

/// What nothing here tells.
const BEYOND: Unknown = Unknown::new("number_of_malicious_contracts_created", Reason::NoHistory);

/// The flag of one word of a label. A word that no flag stands for is a doubt and not a verdict.
fn flag(word: &str) -> usize {
    let name = match word {
        "phish-hack" => "phishing_activities",
        "exploit" | "heist" => "stealing_attack",
        "unlabelled" => "blacklist_doubt",
        other => other,
    };
    FLAGS.iter().position(|flag| *flag == name || flag.replace('_', "-") == name).unwrap_or(DOUBT)
}

/// For each source whose labels set a flag: the source's bit, by flag.
fn bits_by_flag(entry: &Entry) -> [u64; FLAGS.len()] {
    let mut bits = [0; FLAGS.len()];
    for (bit, label) in merge::labels(entry).filter(|(bit, _)| *bit < 64) {
        for word in label.split('|').filter(|word| !word.is_empty()) {
            bits[flag(word)] |= 1u64 << bit;
        }
    }
    bits
}

const LABEL: u8 = kind(About::Address, Semantics::Label);
const DENY: u8 = kind(About::Address, Semantics::Deny);
const ALLOW: u8 = kind(About::Address, Semantics::Allow);
/// What an address may be listed as and be bad: an answer makes a claim about each.
const DECIDING: [u8; 2] = [LABEL, DENY];
/// What it may be listed as.
const LISTED: [u8; 3] = [LABEL, DENY, ALLOW];

/// The address that is asked about, on a chain that is known.
fn subject(request: &Request, chains: &Chains) -> Result<[u8; 20], Refusal> {
    let subject = address(&request.segment).ok_or(Refusal::Address)?;
    if request.get("chain_id").is_some_and(|chain_id| !is_supported(chain_id, chains)) {
        return Err(Refusal::Chain);
    }
    Ok(subject)
}

/// The state that the question names, where there is any.
fn state(sources: Sources<'_>, request: &Request) -> Result<State, Refusal> {
    let block = block_of(request.get("block"))?;
    match request.get("chain_id").and_then(|id| chain_of(id).ok()) {
        Some(chain_id) => State::of_any(sources, chain_id, block),
        None => Ok(State::Absent),
    }
}

/// A dataset about addresses with its indexes.
#[derive(Debug)]
pub(crate) struct Addresses {
    dataset: Dataset,
    /// What each listed address is labelled, by flag, so that no text is read when a question comes.
    labelled: HashMap<[u8; 20], [u64; FLAGS.len()]>,
    /// For each flag the sources that can set it.
    can_set: [u64; FLAGS.len()],
    /// Trusted addresses by their first and last two bytes.
    trusted: HashMap<[u8; 4], Vec<[u8; 20]>>,
    by_prefix: Index,
}

impl Addresses {
    pub(crate) fn new(dataset: Dataset) -> Self {
        let mut labelled = HashMap::new();
        let mut can_set = [0; FLAGS.len()];
        let mut trusted: HashMap<[u8; 4], Vec<[u8; 20]>> = HashMap::new();
        for entry in dataset.entries() {
            let Ok(address) = <[u8; 20]>::try_from(entry.key.name()) else { continue };
            let bits = match entry.key.kind() {
                LABEL => bits_by_flag(entry),
                // A list that only says "bad" raises a doubt.
                DENY => std::array::from_fn(|flag| if flag == DOUBT { entry.sources } else { 0 }),
                ALLOW => {
                    trusted.entry(ends(&address)).or_default().push(address);
                    continue;
                }
                _ => continue,
            };
            let known = labelled.entry(address).or_insert([0; FLAGS.len()]);
            for (flag, bits) in bits.into_iter().enumerate() {
                known[flag] |= bits;
                can_set[flag] |= bits;
            }
        }
        let by_prefix = Index::of(&dataset, &LISTED);
        Self { dataset, labelled, can_set, trusted, by_prefix }
    }

    /// Whether one of the sources tells of sanctions.
    pub(crate) const fn knows_sanctions(&self) -> bool {
        self.can_set[SANCTIONED] != 0
    }

    pub(crate) const fn dataset(&self) -> &Dataset {
        &self.dataset
    }

    /// The look-ups that decide what is said of an address, and that it is trusted where it is.
    pub(crate) fn look_up(&self, subject: &[u8; 20]) -> Vec<Looked<'_>> {
        let look_up = |kind| Key::new(kind, subject).ok().map(|key| Looked::up(&self.dataset, key));
        let trusted = look_up(ALLOW).filter(|looked| looked.entry.is_some());
        DECIDING.into_iter().filter_map(look_up).chain(trusted).collect()
    }

    /// What is listed under a prefix, as look-ups that found something.
    pub(crate) fn under(&self, prefix: Prefix) -> Vec<Looked<'_>> {
        self.by_prefix.under(&self.dataset, prefix)
    }

    /// What lists say of an address, or of one that none has, and which flags they cannot tell.
    pub(crate) fn security(&self, subject: Option<&[u8; 20]>, stale: u64) -> (Security, Vec<Unknown>) {
        let said = subject.and_then(|subject| self.labelled.get(subject)).copied().unwrap_or_default();
        let mut unknown = Vec::new();
        let mut flags = [None; FLAGS.len()];
        for (flag, known) in flags.iter_mut().enumerate() {
            match known_as(said[flag], self.can_set[flag], stale) {
                Ok(set) => *known = Some(set),
                Err(reason) => unknown.push(Unknown::new(FLAGS[flag], reason)),
            }
        }
        let is_stale = unknown.iter().any(|unknown| unknown.reason == Reason::ListStale);
        let nothing_known = flags.iter().all(Option::is_none);
        let security = Security {
            verdict: match flags.contains(&Some(true)) {
                true => Standpoint::Bad,
                false if is_stale || nothing_known => Standpoint::Unknown,
                false => Standpoint::NotFound,
            },
            flags,
            data_source: source_names(&self.dataset, said.iter().fold(0, |all, bits| all | bits)),
            sanctioned_as_of: flags[SANCTIONED].and_then(|_| oldest(&self.dataset, self.can_set[SANCTIONED])),
            look_alike_of: subject.and_then(|subject| self.look_alike(subject)),
            on_chain: None,
            told: [None; TOLD.len()],
        };
        (security, unknown)
    }

    /// What lists say of an address, in the words of the flags.
    pub(crate) fn standing_of(&self, subject: &[u8; 20], stale: u64) -> Standing {
        let said = self.labelled.get(subject).copied().unwrap_or_default();
        let flags = FLAGS.iter().zip(said).filter(|(_, bits)| *bits != 0).map(|(flag, _)| *flag);
        let is_trusted = self.trusted.get(&ends(subject)).is_some_and(|near| near.contains(subject));
        let can_say = self.can_set.iter().fold(0, |all, bits| all | bits);
        let why_unknown = match said.iter().all(|bits| *bits == 0) {
            true if can_say == 0 => Some(Reason::NoSource),
            true if can_say & stale != 0 => Some(Reason::ListStale),
            _ => None,
        };
        Standing { flags: flags.collect(), is_trusted, look_alike_of: self.look_alike(subject), why_unknown }
    }

    /// A trusted address with the same first and last four digits, which is what people compare.
    fn look_alike(&self, address: &[u8; 20]) -> Option<[u8; 20]> {
        let near = self.trusted.get(&ends(address))?;
        if near.contains(address) { None } else { near.first().copied() }
    }
}

const fn ends(address: &[u8; 20]) -> [u8; 4] {
    [address[0], address[1], address[18], address[19]]
}

/// What lists say of one address that takes part in something.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Standing {
    /// The flags that are set, in the order of the result's.
    pub flags: Vec<&'static str>,
    /// Whether a list of trusted addresses has it.
    pub is_trusted: bool,
    /// A trusted address that it resembles.
    pub look_alike_of: Option<[u8; 20]>,
    /// Why no flag being set says nothing.
    pub why_unknown: Option<Reason>,
}

impl Standing {
    /// Whether some list says that it is bad.
    pub const fn is_bad(&self) -> bool {
        !self.flags.is_empty()
    }

    /// Whether a list of sanctions has it.
    pub fn is_sanctioned(&self) -> bool {
        self.flags.contains(&FLAGS[SANCTIONED])
    }

    /// GoPlus' `malicious_address`: 1, 0, or nothing where nothing is known.
    pub fn malicious(&self) -> Option<u8> {
        if self.is_bad() { Some(1) } else { self.why_unknown.is_none().then_some(0) }
    }
}

/// The flags that lists can set.
pub(crate) const fn flags() -> &'static [&'static str] {
    &FLAGS
}

/// What these lists say of an address.
pub fn standing_of(lists: &Lists, subject: &[u8; 20], request: &Request) -> Standing {
    match &lists.addresses {
        Some(addresses) => addresses.standing_of(subject, request.stale_sources(&addresses.dataset)),
        None => Standing { why_unknown: Some(Reason::ListMissing), ..Standing::default() },
    }
}

#[derive(Serialize)]
#[serde(rename_all = "snake_case")]
enum Standpoint {
    Bad,
    NotFound,
    Unknown,
}

/// The result; absent flags are not written.
pub(crate) struct Security {
    flags: [Option<bool>; FLAGS.len()],
    data_source: String,
    sanctioned_as_of: Option<Date>,
    look_alike_of: Option<[u8; 20]>,
    on_chain: Option<OnChain>,
    told: [Option<bool>; TOLD.len()],
    verdict: Standpoint,
}

impl Serialize for Security {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        for (name, flag) in FLAGS.iter().zip(self.flags).chain(TOLD.iter().zip(self.told)) {
            if let Some(flag) = flag {
                map.serialize_entry(name, if flag { "1" } else { "0" })?;
            }
        }
        map.serialize_entry("data_source", &self.data_source)?;
        if let Some(date) = self.sanctioned_as_of {
            map.serialize_entry("sanctioned_as_of", &date)?;
        }
        if let Some(address) = self.look_alike_of {
            map.serialize_entry("look_alike_of", &const_hex::encode_prefixed(address))?;
        }
        if let Some(on_chain) = self.on_chain {
            map.serialize_entry("contract_address", if on_chain.is_contract { "1" } else { "0" })?;
        }
        if let Some(target) = self.on_chain.and_then(|on_chain| on_chain.delegates_to) {
            map.serialize_entry("delegates_to", &const_hex::encode_prefixed(target))?;
        }
        map.serialize_entry("verdict", &self.verdict)?;
        map.end()
    }
}

/// The service.
#[derive(Debug)]
pub struct AddressSecurity;

impl Service for AddressSecurity {
    fn card(&self) -> Card {
        Card {
            reads_state: true,
            rests_on: Some(RestsOn::Addresses),
            ..Card::new("address_security", "/api/v1/address_security/{address}")
        }
    }

    fn required(&self, request: &Request) -> Vec<Key> {
        let Ok(subject) = subject(request, &Chains::new()) else { return Vec::new() };
        DECIDING.into_iter().filter_map(|kind| Key::new(kind, &subject).ok()).collect()
    }

    fn gather<'a>(&self, sources: Sources<'a>, request: &Request) -> Result<Gathered<'a>, Refusal> {
        let subject = subject(request, sources.chains)?;
        let lists = sources.lists;
        let mut looked = Vec::new();
        let mut stale = 0;
        if let Some(addresses) = &lists.addresses {
            stale = request.stale_sources(&addresses.dataset);
            looked = addresses.look_up(&subject);
        }
        let state = state(sources, request)?;
        Ok(Gathered { lists, subject: Subject::Address(subject), looked, stale, state })
    }

    fn judge<'a>(&self, gathered: &Gathered<'a>) -> Result<Verdict<'a>, Refusal> {
        let Subject::Address(subject) = gathered.subject else { return Err(Refusal::Address) };
        Ok(match &gathered.lists.addresses {
            Some(addresses) => judge(addresses, &subject, gathered),
            None => no_list(&subject, gathered),
        })
    }
}

/// What neither lists nor the chain tell, and why.
fn untold(told: &Told) -> Vec<Unknown> {
    let flags = TOLD.into_iter().zip(told.flags).filter_map(|(field, flag)| Some(Unknown::new(field, flag.err()?)));
    let contract = told.on_chain.err().map(|reason| Unknown::new("contract_address", reason));
    std::iter::once(BEYOND).chain(flags).chain(contract).collect()
}

fn no_list<'a>(subject: &[u8; 20], gathered: &Gathered<'a>) -> Verdict<'a> {
    let told = told(&gathered.state, Address::from(subject));
    let security = Security {
        flags: [None; FLAGS.len()],
        data_source: String::new(),
        sanctioned_as_of: None,
        look_alike_of: None,
        on_chain: told.on_chain.ok(),
        told: told.flags.map(Result::ok),
        verdict: if told.flags.contains(&Ok(true)) { Standpoint::Bad } else { Standpoint::Unknown },
    };
    let missing = FLAGS.map(|field| Unknown::new(field, Reason::ListMissing));
    let unknown = missing.into_iter().chain(untold(&told)).collect();
    Verdict::attested(raw(&security), unknown).resting_on(Vec::new(), told.items)
}

fn judge<'a>(addresses: &'a Addresses, address: &[u8; 20], gathered: &Gathered<'a>) -> Verdict<'a> {
    let (mut security, mut unknown) = addresses.security(Some(address), gathered.stale);
    let told = told(&gathered.state, Address::from(address));
    let is_listed = security.flags.contains(&Some(true));
    if told.flags.contains(&Ok(true)) {
        security.verdict = Standpoint::Bad;
    }
    security.on_chain = told.on_chain.ok();
    security.told = told.flags.map(Result::ok);
    unknown.extend(untold(&told));
    let attested = attested(&told, is_listed);
    let verdict = Verdict { attested, ..Verdict::provable(raw(&security), unknown, gathered.looked.clone()) };
    verdict.resting_on(Vec::new(), told.items)
}

/// The fields that rest on the chain, which no list proves.
fn attested(told: &Told, is_listed: bool) -> Vec<&'static str> {
    if told.on_chain.is_err() {
        return Vec::new();
    }
    // What is bad by its code alone is not bad by any list.
    let verdict = (!is_listed && told.flags.contains(&Ok(true))).then_some("verdict");
    ["contract_address", "delegates_to"].into_iter().chain(TOLD).chain(verdict).collect()
}

/// The state of one flag: set by these sources, settable by those, of which some are over-age. A flag that is set stays
/// set however old the list, with its date beside it; one that is not set is "0" only if all that could set it are in date.
const fn known_as(said: u64, can_set: u64, stale: u64) -> Result<bool, Reason> {
    if said != 0 {
        Ok(true)
    } else if can_set == 0 {
        Err(Reason::NoSource)
    } else if can_set & stale != 0 {
        Err(Reason::ListStale)
    } else {
        Ok(false)
    }
}

/// The date of the oldest of these sources: the sanctions lists at hand are snapshots.
fn oldest(dataset: &Dataset, bits: u64) -> Option<Date> {
    let sources = dataset.sources().iter().enumerate().filter(|(bit, _)| bits >> bit & 1 == 1);
    sources.map(|(_, info)| info.as_of).min()
}

#[cfg(test)]
mod tests;

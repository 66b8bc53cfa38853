//! `address_security`: what lists say of an address (`security-services.md` 3.2).
//!
//! Three states: "1" when a list says so, "0" when a list that could say so does not, absent (and named in
//! `surety.unknown`) when no loaded list can tell.

use std::collections::HashMap;

use serde::Serialize;
use serde::ser::{SerializeMap, Serializer};
use surety_primitives::dataset::{Entry, Key};

use crate::chains::is_supported;
use crate::envelope::{Reason, Refusal, Standing, Unknown, Verdict, raw};
use crate::lists::{Dataset, Date, Semantics, Subject as About, address, kind, merge};
use crate::phishing::source_names;
use crate::service::{Gathered, Lists, Looked, Request, Service, Subject};

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

/// Fields that lists cannot tell, and what they would need.
const BEYOND_LISTS: [Unknown; 5] = [
    Unknown { field: "fake_standard_interface", reason: Reason::NoState },
    Unknown { field: "gas_abuse", reason: Reason::NoState },
    Unknown { field: "reinit", reason: Reason::NoState },
    Unknown { field: "contract_address", reason: Reason::NoState },
    Unknown { field: "number_of_malicious_contracts_created", reason: Reason::NoHistory },
];

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

/// The address that is asked about, on a chain that is known.
fn subject(request: &Request) -> Result<[u8; 20], Refusal> {
    let subject = address(&request.segment).ok_or(Refusal::Address)?;
    if request.query.get("chain_id").is_some_and(|chain_id| !is_supported(chain_id)) {
        return Err(Refusal::Chain);
    }
    Ok(subject)
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
        Self { dataset, labelled, can_set, trusted }
    }

    pub(crate) const fn dataset(&self) -> &Dataset {
        &self.dataset
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

#[derive(Serialize)]
#[serde(rename_all = "snake_case")]
enum Standpoint {
    Bad,
    NotFound,
    Unknown,
}

/// The result; absent flags are not written.
struct Security {
    flags: [Option<bool>; FLAGS.len()],
    data_source: String,
    sanctioned_as_of: Option<Date>,
    look_alike_of: Option<[u8; 20]>,
    verdict: Standpoint,
}

impl Serialize for Security {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        for (name, flag) in FLAGS.iter().zip(self.flags) {
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
        map.serialize_entry("verdict", &self.verdict)?;
        map.end()
    }
}

/// The service.
#[derive(Debug)]
pub struct AddressSecurity;

impl Service for AddressSecurity {
    fn name(&self) -> &'static str {
        "address_security"
    }

    fn path(&self) -> &'static str {
        "/api/v1/address_security/{address}"
    }

    fn datasets<'a>(&self, lists: &'a Lists) -> Vec<&'a Dataset> {
        lists.addresses().into_iter().collect()
    }

    fn required(&self, request: &Request) -> Vec<Key> {
        let Ok(subject) = subject(request) else { return Vec::new() };
        DECIDING.into_iter().filter_map(|kind| Key::new(kind, &subject).ok()).collect()
    }

    fn gather<'a>(&self, lists: &'a Lists, request: &Request) -> Result<Gathered<'a>, Refusal> {
        let subject = subject(request)?;
        let mut looked = Vec::new();
        let mut stale = 0;
        if let Some(addresses) = &lists.addresses {
            stale = addresses.dataset.stale_sources(request.at);
            let look_up = |kind| Key::new(kind, &subject).ok().map(|key| Looked::up(&addresses.dataset, key));
            looked.extend(DECIDING.into_iter().filter_map(look_up));
            looked.extend(look_up(ALLOW).filter(|looked| looked.entry.is_some()));
        }
        Ok(Gathered { lists, subject: Subject::Address(subject), looked, stale })
    }

    fn judge<'a>(&self, gathered: &Gathered<'a>) -> Verdict<'a> {
        match (&gathered.lists.addresses, &gathered.subject) {
            (Some(addresses), Subject::Address(address)) => judge(addresses, address, gathered),
            _ => no_list(),
        }
    }
}

fn no_list() -> Verdict<'static> {
    let security = Security {
        flags: [None; FLAGS.len()],
        data_source: String::new(),
        sanctioned_as_of: None,
        look_alike_of: None,
        verdict: Standpoint::Unknown,
    };
    let missing = FLAGS.map(|field| Unknown { field, reason: Reason::ListMissing });
    Verdict {
        result: raw(&security),
        unknown: missing.into_iter().chain(BEYOND_LISTS).collect(),
        standing: Standing::Attested,
        looked: Vec::new(),
    }
}

fn judge<'a>(addresses: &'a Addresses, address: &[u8; 20], gathered: &Gathered<'a>) -> Verdict<'a> {
    let said = addresses.labelled.get(address).copied().unwrap_or_default();
    let mut unknown = Vec::new();
    let mut flags = [None; FLAGS.len()];
    for (flag, known) in flags.iter_mut().enumerate() {
        match state(said[flag], addresses.can_set[flag], gathered.stale) {
            Ok(set) => *known = Some(set),
            Err(reason) => unknown.push(Unknown { field: FLAGS[flag], reason }),
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
        data_source: source_names(&addresses.dataset, said.iter().fold(0, |all, bits| all | bits)),
        sanctioned_as_of: flags[SANCTIONED].and_then(|_| oldest(&addresses.dataset, addresses.can_set[SANCTIONED])),
        look_alike_of: addresses.look_alike(address),
    };
    unknown.extend(BEYOND_LISTS);
    Verdict { result: raw(&security), unknown, standing: Standing::Provable, looked: gathered.looked.clone() }
}

/// The state of one flag: set by these sources, settable by those, of which some are over-age. A flag that is set stays
/// set however old the list, with its date beside it; one that is not set is "0" only if all that could set it are in date.
const fn state(said: u64, can_set: u64, stale: u64) -> Result<bool, Reason> {
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

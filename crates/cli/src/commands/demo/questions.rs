//! What the consumer asks about: real names and addresses, listed and not.

use surety_primitives::dataset::Entry;
use surety_security::lists::{Semantics, Subject, kind};
use surety_security::{Dataset, Lists};

/// Every so many questions, one is about an address.
const ADDRESS_EVERY: u64 = 4;

/// Names that nobody lists: what people visit.
const EVERYDAY: [&str; 16] = [
    "wikipedia.org",
    "rust-lang.org",
    "debian.org",
    "ietf.org",
    "w3.org",
    "python.org",
    "kernel.org",
    "mozilla.org",
    "archive.org",
    "ethereum.org",
    "nist.gov",
    "cern.ch",
    "un.org",
    "gnu.org",
    "letsencrypt.org",
    "openstreetmap.org",
];

/// One question.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Question {
    /// Is this host a phishing site?
    Name(String),
    /// What is known of this address?
    Address(String),
}

impl Question {
    /// Path and query of the call.
    pub(super) fn path(&self) -> String {
        match self {
            Self::Name(name) => {
                let mut url =
                    reqwest::Url::parse("http://host/api/v1/phishing_site").unwrap_or_else(|_| unreachable!());
                url.query_pairs_mut().append_pair("url", name);
                format!("{}?{}", url.path().trim_start_matches('/'), url.query().unwrap_or_default())
            }
            Self::Address(address) => format!("api/v1/address_security/{address}?chain_id=1"),
        }
    }
}

/// `count` questions in a fixed order: listed names, look-alikes, everyday and made-up names, and every fourth an address.
/// None is about the planted name, which is asked about once.
pub(super) fn questions(lists: &Lists, planted: &str, count: u64) -> Vec<Question> {
    let mut listed = names_of(lists.names(), Semantics::Deny);
    listed.retain(|name| !name.ends_with(planted));
    let brands = names_of(lists.names(), Semantics::Fuzzy);
    let labelled = addresses_of(lists.addresses());
    (0..count).map(|i| if i % ADDRESS_EVERY == 0 { address(&labelled, i) } else { name(&listed, &brands, i) }).collect()
}

fn name(listed: &[String], brands: &[String], i: u64) -> Question {
    let picked = |list: &[String]| pick(list, i).cloned();
    let name = match i % 5 {
        0 | 1 => picked(listed),
        2 => picked(brands).map(|brand| look_alike(&brand, i)),
        3 => Some(EVERYDAY[(i % 16) as usize].to_owned()),
        _ => None,
    };
    Question::Name(name.unwrap_or_else(|| format!("shop-{i}.example")))
}

fn address(labelled: &[String], i: u64) -> Question {
    let listed = if i.is_multiple_of(8) { pick(labelled, i).cloned() } else { None };
    Question::Address(listed.unwrap_or_else(|| {
        let hash = surety_primitives::hash::keccak(&[b"nobody's address", &i.to_be_bytes()]);
        const_hex::encode_prefixed(&hash.0[12..])
    }))
}

/// Spreads picks over a whole list.
fn pick<T>(list: &[T], i: u64) -> Option<&T> {
    let length = list.len() as u64;
    list.get(usize::try_from(i.wrapping_mul(7_919).checked_rem(length)?).ok()?)
}

/// Doubles one letter, or swaps two.
fn look_alike(brand: &str, i: u64) -> String {
    let mut letters: Vec<char> = brand.chars().collect();
    let at = 1 + (i as usize % letters.len().saturating_sub(2).max(1));
    match letters.get(at).copied() {
        Some(letter) if i.is_multiple_of(2) => letters.insert(at, letter),
        Some(_) if at + 1 < letters.len() => letters.swap(at, at + 1),
        _ => {}
    }
    letters.into_iter().collect()
}

/// The names that a dataset denies: also where the lie is planted.
pub(super) fn names_of(dataset: Option<&Dataset>, semantics: Semantics) -> Vec<String> {
    let kind = kind(Subject::Domain, semantics);
    let of_kind = |entry: &&Entry| entry.key.kind() == kind;
    let text = |entry: &Entry| String::from_utf8_lossy(entry.key.name()).into_owned();
    dataset.into_iter().flat_map(Dataset::entries).filter(of_kind).map(text).collect()
}

fn addresses_of(dataset: Option<&Dataset>) -> Vec<String> {
    let kind = kind(Subject::Address, Semantics::Label);
    let entries = dataset.into_iter().flat_map(Dataset::entries).filter(|entry| entry.key.kind() == kind);
    entries.map(|entry| const_hex::encode_prefixed(entry.key.name())).collect()
}

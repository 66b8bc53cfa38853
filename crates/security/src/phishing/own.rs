//! Our own verdicts on names that no list decides (`security-services.md` 5.2).
//!
//! They start from the registrable domain (public suffix list, private section included), because that is what somebody
//! had to register. Brands are the registrable domains among the fuzzy targets of the loaded lists.

use std::borrow::Cow;
use std::collections::HashMap;

use serde::Serialize;
use unicode_security::restriction_level::{RestrictionLevel, RestrictionLevelDetection};

use super::Host;
use super::distance::distance;

/// What kind of verdict it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum OwnKind {
    /// The deepest listed name is allowed.
    Allowlist,
    /// The deepest listed name is denied.
    Blocklist,
    /// Nearly a brand's name.
    Fuzzy,
    /// Looks like a brand's name, or mixes scripts as no language does.
    Homograph,
    /// A brand's name with bait: metamask-login.
    Combosquat,
    /// A brand's domain left of another one, or as the user of the URL.
    SubdomainBrand,
    /// Nothing of that.
    None,
}

/// A verdict with its reasons.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Own {
    /// Which kind.
    pub kind: OwnKind,
    /// The listed name or the brand.
    pub matched: Option<String>,
    /// Edits between the name and the brand's.
    pub distance: Option<u32>,
    /// The sources that list the name, as bits.
    pub sources: Option<u64>,
}

impl Own {
    fn of(kind: OwnKind, brand: &Brand, distance: Option<u32>) -> Self {
        Self { kind, matched: Some(brand.domain.clone()), distance, sources: None }
    }

    const NONE: Self = Self { kind: OwnKind::None, matched: None, distance: None, sources: None };
}

#[derive(Clone, Debug)]
struct Brand {
    domain: String,
    label: String,
    units: Vec<u16>,
    letters: Letters,
}

/// Which letters a label has, of 64 kinds. An edit changes two of them at most.
#[derive(Clone, Copy, Debug, Default)]
struct Letters(u64);

impl Letters {
    fn of(units: &[u16]) -> Self {
        Self(units.iter().fold(0, |all, unit| all | 1 << (unit % 64)))
    }

    const fn may_be_within(self, edits: u32, other: Self) -> bool {
        (self.0 ^ other.0).count_ones() <= 2 * edits
    }
}

/// What scams imitate, with the indexes that keep a verdict from looking at every brand.
#[derive(Clone, Debug, Default)]
pub struct Brands {
    brands: Vec<Brand>,
    /// Folded label → brand.
    folded: HashMap<String, usize>,
    /// Domain → brand.
    domains: HashMap<String, usize>,
    /// Label → the first brand with it.
    labels: HashMap<String, usize>,
    /// Brands by the length of their labels, in UTF-16 units.
    lengths: Vec<Vec<usize>>,
    /// Brands that are looked for inside longer words, by how their labels start.
    starts: HashMap<[u8; LEAST_EMBEDDED], Vec<usize>>,
}

/// Shortest brand that is looked for inside a longer word.
const LEAST_EMBEDDED: usize = 5;

/// Words that scams put beside a brand.
const BAIT: &[&str] = &[
    "account",
    "airdrop",
    "airdrops",
    "alert",
    "app",
    "apps",
    "auth",
    "bonus",
    "bridge",
    "claim",
    "claims",
    "com",
    "connect",
    "dapp",
    "desk",
    "earn",
    "event",
    "extension",
    "finance",
    "fix",
    "free",
    "gift",
    "giveaway",
    "help",
    "helpdesk",
    "home",
    "io",
    "live",
    "login",
    "mainnet",
    "migrate",
    "migration",
    "mint",
    "net",
    "nft",
    "official",
    "online",
    "org",
    "portal",
    "presale",
    "pro",
    "recover",
    "recovery",
    "refund",
    "register",
    "restore",
    "reward",
    "rewards",
    "sale",
    "secure",
    "security",
    "service",
    "sign",
    "signin",
    "site",
    "stake",
    "staking",
    "support",
    "swap",
    "sync",
    "team",
    "token",
    "tokens",
    "unlock",
    "update",
    "upgrade",
    "v2",
    "v3",
    "validate",
    "verification",
    "verify",
    "vip",
    "wallet",
    "wallets",
    "web",
    "web3",
];

impl Brands {
    /// The registrable domains among `targets`, in order.
    pub fn new<'a>(targets: impl IntoIterator<Item = &'a str>) -> Self {
        let mut brands = Self::default();
        for domain in targets {
            let Some(label) = registrable(domain).filter(|found| *found == domain).and_then(first_label) else {
                continue;
            };
            if brands.domains.contains_key(domain) {
                continue;
            }
            brands.add(domain, label);
        }
        brands
    }

    fn add(&mut self, domain: &str, label: &str) {
        let index = self.brands.len();
        let units: Vec<u16> = label.encode_utf16().collect();
        self.domains.insert(domain.to_owned(), index);
        self.folded.entry(fold(label)).or_insert(index);
        self.labels.entry(label.to_owned()).or_insert(index);
        if let Some(start) = label.as_bytes().first_chunk() {
            self.starts.entry(*start).or_default().push(index);
        }
        if self.lengths.len() <= units.len() {
            self.lengths.resize(units.len() + 1, Vec::new());
        }
        self.lengths[units.len()].push(index);
        let letters = Letters::of(&units);
        self.brands.push(Brand { domain: domain.to_owned(), label: label.to_owned(), units, letters });
    }

    /// The brands whose labels are so long that `edits` lead from one to a label of this length.
    fn about_as_long(&self, length: usize, edits: u32) -> impl Iterator<Item = (usize, &Brand)> {
        let edits = edits as usize;
        let (least, most) = (length.saturating_sub(edits), (length + edits).min(self.lengths.len().saturating_sub(1)));
        let found = self.lengths.get(least..=most).unwrap_or_default().iter().flatten();
        found.filter_map(|index| Some((*index, self.brands.get(*index)?)))
    }

    /// The brands that stand somewhere in a word, some more than once.
    fn within(&self, word: &str) -> impl Iterator<Item = (usize, &Brand)> {
        let places = word.as_bytes().windows(LEAST_EMBEDDED).enumerate();
        places.flat_map(move |(at, window)| {
            let start: Option<[u8; LEAST_EMBEDDED]> = window.try_into().ok();
            let found = start.and_then(|start| self.starts.get(&start)).into_iter().flatten();
            let found = found.filter_map(|index| Some((*index, self.brands.get(*index)?)));
            found.filter(move |(_, brand)| word.as_bytes()[at..].starts_with(brand.label.as_bytes()))
        })
    }

    fn by_domain(&self, domain: &str) -> Option<&Brand> {
        self.domains.get(domain).and_then(|index| self.brands.get(*index))
    }
}

fn registrable(host: &str) -> Option<&str> {
    psl::domain_str(host)
}

/// Whether the domain lies at a shared host. There the brand's own name is as likely its owner's (metamask.github.io).
fn is_shared(domain: &str) -> bool {
    psl::suffix(domain.as_bytes()).is_some_and(|suffix| suffix.typ() == Some(psl::Type::Private))
}

fn first_label(name: &str) -> Option<&str> {
    name.split('.').next()
}

/// The first rule that applies: homograph, fuzzy, combosquat, subdomain_brand.
pub fn judge(brands: &Brands, host: &Host) -> Own {
    let trick = host.user.as_deref().and_then(|user| brands.by_domain(user));
    if let Some(brand) = trick {
        return Own::of(OwnKind::SubdomainBrand, brand, None);
    }
    let domain = if host.is_ip { None } else { registrable(&host.name) };
    let Some((domain, label)) = domain.and_then(|domain| Some((domain, first_label(domain)?))) else {
        return Own::NONE;
    };
    if brands.domains.contains_key(domain) {
        return Own::NONE;
    }
    let shown = shown(label);
    homograph(brands, &shown)
        .or_else(|| fuzzy(brands, &shown).filter(|own| own.distance != Some(0) || !is_shared(domain)))
        .or_else(|| combosquat(brands, &shown))
        .or_else(|| subdomain_brand(brands, &host.name, domain))
        .unwrap_or(Own::NONE)
}

/// A label as the address bar may show it.
fn shown(label: &str) -> Cow<'_, str> {
    if label.starts_with("xn--") { Cow::Owned(idna::domain_to_unicode(label).0) } else { Cow::Borrowed(label) }
}

fn homograph(brands: &Brands, label: &str) -> Option<Own> {
    let brand = brands.folded.get(&fold(label)).and_then(|index| brands.brands.get(*index));
    if let Some(brand) = brand.filter(|brand| brand.label != label) {
        return Some(Own::of(OwnKind::Homograph, brand, None));
    }
    // Latin with Han, Kana or Hangul is how people write; Latin with Cyrillic is not.
    let mixed = !label.is_ascii() && label.detect_restriction_level() > RestrictionLevel::HighlyRestrictive;
    mixed.then_some(Own { kind: OwnKind::Homograph, ..Own::NONE })
}

/// What the eye keeps of a label: its UTS 39 skeleton, digits as the letters they resemble, rn as m, vv as w, cl as d.
fn fold(label: &str) -> String {
    let mut kept = String::with_capacity(label.len());
    if label.is_ascii() {
        label.chars().for_each(|letter| keep(&mut kept, letter));
    } else {
        // The skeleton writes m as rn.
        unicode_security::skeleton(label).flat_map(char::to_lowercase).for_each(|letter| keep(&mut kept, letter));
    }
    kept
}

/// Adds a letter, or makes one of it and the one before.
fn keep(kept: &mut String, letter: char) {
    let letter = fold_letter(letter);
    let joined = match (kept.chars().next_back(), letter) {
        (Some('r'), 'n') => 'm',
        (Some('v'), 'v') => 'w',
        (Some('c'), 'l') => 'd',
        _ => return kept.push(letter),
    };
    kept.pop();
    kept.push(joined);
}

const fn fold_letter(letter: char) -> char {
    match letter {
        '0' => 'o',
        '1' | 'i' | '|' => 'l',
        '3' => 'e',
        '4' => 'a',
        '5' => 's',
        '7' => 't',
        '8' => 'b',
        '9' => 'g',
        other => other,
    }
}

/// How many edits a brand of this length bears: short words have too many honest neighbours.
const fn tolerance(length: usize) -> u32 {
    match length {
        0..=4 => 0,
        5..=7 => 1,
        _ => MOST_EDITS,
    }
}

const MOST_EDITS: u32 = 2;

fn fuzzy(brands: &Brands, label: &str) -> Option<Own> {
    let units: Vec<u16> = label.encode_utf16().collect();
    let letters = Letters::of(&units);
    let near = brands.about_as_long(units.len(), MOST_EDITS).filter_map(|(index, brand)| {
        let most = tolerance(brand.units.len());
        let edits = brand.letters.may_be_within(most, letters).then(|| distance(&units, &brand.units, most))??;
        (edits < 2 || has_likely_slip(&units, &brand.units)).then_some((edits, index, brand))
    });
    let (edits, _, brand) = near.min_by_key(|(edits, index, _)| (*edits, *index))?;
    Some(Own::of(OwnKind::Fuzzy, brand, Some(edits)))
}

/// Whether two edits lead from `a` to `b` of which one is what a finger or an eye gets wrong: a look-alike or a
/// neighbouring letter, a doubled or undoubled one, or two swapped (which are both edits at once).
fn has_likely_slip(a: &[u16], b: &[u16]) -> bool {
    // Fewest edits to each pair of prefixes, without and with a likely slip among them.
    let width = b.len() + 1;
    let mut cells = vec![[u32::MAX / 2; 2]; (a.len() + 1) * width];
    cells[0][0] = 0;
    for i in 0..=a.len() {
        for j in 0..=b.len() {
            let mut best = cells[i * width + j];
            let mut step = |from: [u32; 2], cost: u32, likely: bool| {
                let (plain, slipped) = (from[0] + cost, from[1] + cost);
                best = if likely {
                    [best[0].min(plain), best[1].min(plain).min(slipped)]
                } else {
                    [best[0].min(plain), best[1].min(slipped)]
                };
            };
            if i > 0 && j > 0 {
                let (x, y) = (a[i - 1], b[j - 1]);
                step(cells[(i - 1) * width + j - 1], u32::from(x != y), x != y && are_alike(x, y));
            }
            if i > 0 {
                step(cells[(i - 1) * width + j], 1, i > 1 && a[i - 1] == a[i - 2]);
            }
            if j > 0 {
                step(cells[i * width + j - 1], 1, j > 1 && b[j - 1] == b[j - 2]);
            }
            if i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] {
                step(cells[(i - 2) * width + j - 2], 2, true);
            }
            cells[i * width + j] = best;
        }
    }
    cells.last().is_some_and(|cell| cell[1] <= 2)
}

/// Whether two letters look alike or lie side by side on a keyboard.
fn are_alike(x: u16, y: u16) -> bool {
    const ROWS: [&str; 4] = ["1234567890", "qwertyuiop", "asdfghjkl", "zxcvbnm"];
    let (Some(x), Some(y)) = (char::from_u32(x.into()), char::from_u32(y.into())) else { return false };
    let beside = |row: &&str| matches!((row.find(x), row.find(y)), (Some(x), Some(y)) if x.abs_diff(y) == 1);
    fold_letter(x) == fold_letter(y) || ROWS.iter().any(beside)
}

fn combosquat(brands: &Brands, label: &str) -> Option<Own> {
    let words = || label.split('-').filter(|word| !word.is_empty());
    let joined = if label.contains('-') { Cow::Owned(words().collect()) } else { Cow::Borrowed(label) };
    let embedded = brands.within(&joined).filter(|(_, brand)| is_brand_and_bait(&joined, &brand.label));
    let embedded = embedded.map(|(index, _)| index).min();
    // A word of its own needs another one beside it.
    let has_bait = joined.len() < label.len() && words().any(is_bait);
    let by_hyphen = words().filter(|_| has_bait).filter_map(|word| brands.labels.get(word).copied()).min();
    let index = embedded.into_iter().chain(by_hyphen).min()?;
    Some(Own::of(OwnKind::Combosquat, brands.brands.get(index)?, None))
}

fn is_bait(word: &str) -> bool {
    BAIT.binary_search(&word).is_ok()
}

/// Whether the word is the brand with bait and digits around it, and at least one word of bait.
fn is_brand_and_bait(word: &str, brand: &str) -> bool {
    let around = word.match_indices(brand).map(|(at, _)| (&word[..at], &word[at + brand.len()..]));
    let mut around = around.filter(|(before, after)| before.len() + after.len() > 0);
    around.any(|(before, after)| {
        let letters = before.bytes().chain(after.bytes()).any(|byte| byte.is_ascii_alphabetic());
        letters && is_all_bait(before) && is_all_bait(after)
    })
}

/// Whether a text consists of words of bait and digits: which prefixes do is known when the next one is looked at.
fn is_all_bait(text: &str) -> bool {
    let mut reached = vec![false; text.len() + 1];
    reached[0] = true;
    for end in 1..=text.len() {
        let ends_word = |start: usize| {
            text.get(start..end).is_some_and(|word| is_bait(word) || word.bytes().all(|byte| byte.is_ascii_digit()))
        };
        reached[end] = (end.saturating_sub(12)..end).any(|start| reached[start] && ends_word(start));
    }
    reached.last().copied().unwrap_or_default()
}

/// A brand's domain among the labels left of the registrable domain: `metamask.io.evil.example`.
fn subdomain_brand(brands: &Brands, host: &str, domain: &str) -> Option<Own> {
    let left = host.strip_suffix(domain)?.strip_suffix('.')?;
    let starts = std::iter::successors(Some(left), |rest| rest.split_once('.').map(|(_, rest)| rest));
    let mut parts = starts.flat_map(|start| {
        let ends = start.match_indices('.').map(|(at, _)| at).chain([start.len()]);
        // A registrable domain has two labels, or three under a suffix such as co.uk.
        ends.skip(1).take(2).map(move |end| &start[..end])
    });
    let brand = parts.find_map(|part| brands.by_domain(part))?;
    Some(Own::of(OwnKind::SubdomainBrand, brand, None))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn verdict(host: &str) -> (OwnKind, Option<String>) {
        let brands = Brands::new([
            "auctus.org",
            "etherscan.io",
            "metamask.io",
            "myetherwallet.com",
            "opensea.io",
            "uniswap.org",
            "aave.com",
            "launchpad.ethereum.org",
        ]);
        let own = judge(&brands, &Host::parse(host).unwrap());
        (own.kind, own.matched)
    }

    fn is(host: &str, kind: OwnKind, brand: &str) {
        assert_eq!(verdict(host), (kind, Some(brand.to_owned())), "{host}");
    }

    fn is_none(host: &str) {
        assert_eq!(verdict(host), (OwnKind::None, None), "{host}");
    }

    #[test]
    fn false_hits_of_the_original_pass() {
        for host in ["lucus.org", "autum.com", "openca.org", "betterscan.io", "tunaswap.com", "auctus.org"] {
            is_none(host);
        }
    }

    #[test]
    fn slips_of_finger_and_eye_are_fuzzy() {
        is("metamsk.io", OwnKind::Fuzzy, "metamask.io");
        is("metamaks.io", OwnKind::Fuzzy, "metamask.io");
        is("mettamassk.com", OwnKind::Fuzzy, "metamask.io");
        is("metamask.com", OwnKind::Fuzzy, "metamask.io");
        is("opnsea.io", OwnKind::Fuzzy, "opensea.io");
        is("metamsk.github.io", OwnKind::Fuzzy, "metamask.io");
        is_none("metamask.github.io");
        is_none("avve.com");
    }

    #[test]
    fn a_swap_counts_as_both_edits_and_three_edits_are_too_many() {
        assert!(has_likely_slip(&[1, 2, 3], &[1, 3, 2]));
        assert!(!has_likely_slip(&[1, 2, 3, 4], &[1, 3, 2, 5]));
        is_none("metamaksy.io");
    }

    #[test]
    fn look_alikes_are_homographs() {
        is("rnetamask.io", OwnKind::Homograph, "metamask.io");
        is("metam4sk.io", OwnKind::Homograph, "metamask.io");
        is("unlswap.org", OwnKind::Homograph, "uniswap.org");
        is("mеtаmask.io", OwnKind::Homograph, "metamask.io");
        assert_eq!(verdict("gооgleх-latin.com"), (OwnKind::Homograph, None));
        is_none("日本語abc.jp");
        is_none("пример.com");
    }

    #[test]
    fn brands_with_bait_are_combosquats() {
        is("metamask-login.com", OwnKind::Combosquat, "metamask.io");
        is("claim-aave.com", OwnKind::Combosquat, "aave.com");
        is("walletmetamask2.net", OwnKind::Combosquat, "metamask.io");
        is("metamaskairdropclaim.vercel.app", OwnKind::Combosquat, "metamask.io");
        is_none("aavewallet.com");
        is_none("metamaskfans.com");
        is_none("aave-research.com");
    }

    #[test]
    fn a_brand_left_of_another_domain_is_a_subdomain_brand() {
        is("metamask.io.evil.example", OwnKind::SubdomainBrand, "metamask.io");
        is("www.metamask.io.login.evil.co.uk", OwnKind::SubdomainBrand, "metamask.io");
        is("https://metamask.io@evil.example/", OwnKind::SubdomainBrand, "metamask.io");
        is_none("portfolio.metamask.io");
        is_none("metamask.evil.example");
    }

    #[test]
    fn bait_is_sorted_for_the_search() {
        assert!(BAIT.is_sorted());
    }

    #[test]
    fn literals_suffixes_and_single_labels_have_no_registrable_domain() {
        for host in ["127.0.0.1", "[::1]", "localhost", "github.io", "com"] {
            is_none(host);
        }
    }
}

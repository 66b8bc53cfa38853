//! What rules see of one submission: what it is, who sent it, and what the checks learned.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::ops::Bound;

use alloy_consensus::{Transaction as _, TxEnvelope, Typed2718 as _};
use alloy_primitives::{Address, B256, U256, hex};

use super::super::verdict::{Fact, Finding};
use super::vocabulary::Kind;

/// Longest text of a fact that rules see; a longer one counts as unknown.
const MOST_TEXT: usize = 4_096;

/// Facts of one submission that its sender states: a check cannot change them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Facts {
    stated: BTreeMap<String, Fact>,
    stake: Option<U256>,
}

impl Facts {
    /// Nothing yet, of a submission of this kind: `transaction`, `user_operation`, `typed_data`, `message`, `unsigned`.
    #[must_use]
    pub fn new(kind: &str) -> Self {
        Self::default().with("tx.kind", Fact::Text(kind.to_owned()))
    }

    /// What a transaction says of itself.
    #[must_use]
    pub fn transaction(envelope: &TxEnvelope, sender: Address, hash: B256) -> Self {
        let input = envelope.input();
        let fee = U256::from(envelope.gas_limit()).saturating_mul(U256::from(envelope.max_fee_per_gas()));
        let mut facts = Self::new("transaction")
            .with("tx.hash", Fact::Text(hex::encode_prefixed(hash)))
            .with("tx.type", Fact::Int(envelope.ty().into()))
            .with("tx.protected", Fact::Bool(envelope.chain_id().is_some()))
            .with("tx.from", Fact::Address(sender))
            .with("tx.create", Fact::Bool(envelope.is_create()))
            .with("tx.value", Fact::Amount(envelope.value()))
            .with("tx.nonce", int(envelope.nonce()))
            .with("tx.gas", int(envelope.gas_limit()))
            .with("tx.max_fee", Fact::Amount(U256::from(envelope.max_fee_per_gas())))
            .with("tx.priority_fee", Fact::Amount(U256::from(envelope.max_priority_fee_per_gas().unwrap_or_default())))
            .with("tx.fee", Fact::Amount(fee))
            .with("tx.data_size", int(input.len()))
            .with("tx.access_list", int(envelope.access_list().map_or(0, |list| list.len())))
            .with("tx.authorizations", int(envelope.authorization_list().map_or(0, <[_]>::len)))
            .with("tx.blobs", int(envelope.blob_versioned_hashes().map_or(0, <[_]>::len)));
        if let Some(chain_id) = envelope.chain_id() {
            facts = facts.with("tx.chain_id", int(chain_id));
        }
        if let Some(to) = envelope.to() {
            facts = facts.with("tx.to", Fact::Address(to));
        }
        if let (Some(selector), false) = (input.get(..4), envelope.is_create()) {
            facts = facts.with("tx.selector", Fact::Text(hex::encode_prefixed(selector)));
        }
        // Of a plain transfer everything is known; what a call moves only its simulation can tell.
        let is_plain = input.is_empty() && !envelope.is_create() && envelope.authorization_list().is_none();
        facts.stake = is_plain.then(|| envelope.value());
        if is_plain {
            facts = facts.with("decoded.kind", Fact::Text("native_transfer".to_owned()));
        } else if envelope.is_create() {
            facts = facts.with("decoded.kind", Fact::Text("deploy".to_owned()));
        }
        facts
    }

    /// The same with who sends it, and by which method.
    #[must_use]
    pub fn sent_by(self, client: &str, method: &str) -> Self {
        self.with("client.id", Fact::Text(client.to_owned())).with("tx.method", Fact::Text(method.to_owned()))
    }

    /// The same with one more fact.
    #[must_use]
    pub fn with(mut self, name: &str, fact: Fact) -> Self {
        self.stated.insert(name.to_owned(), fact);
        self
    }

    /// The same with a known value at stake, in wei: what failure rules compare with `limits.value`.
    #[must_use]
    pub fn worth(self, stake: U256) -> Self {
        Self { stake: Some(stake), ..self }
    }

    /// The value at stake, if it is known.
    #[must_use]
    pub const fn stake(&self) -> Option<U256> {
        self.stake
    }

    /// A stated fact.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&Fact> {
        self.stated.get(name)
    }

    /// The facts behind the names that a policy uses.
    pub(super) fn slots<'a>(&'a self, used: &[(String, Kind)], findings: &'a [Finding]) -> Vec<Option<Cow<'a, Fact>>> {
        used.iter().map(|(name, kind)| self.lookup(name, findings).filter(|fact| is_taken(*kind, fact))).collect()
    }

    fn lookup<'a>(&'a self, name: &str, findings: &'a [Finding]) -> Option<Cow<'a, Fact>> {
        match name.split_once('.')? {
            ("verdicts", "rules") => Some(Cow::Owned(Fact::words(findings.iter().flat_map(Finding::rules)))),
            ("verdicts", check) => {
                let found = findings.iter().find(|finding| finding.check == check);
                let word = found.map_or("none", |finding| finding.outcome.word());
                Some(Cow::Owned(Fact::Text(word.to_owned())))
            }
            ("lists", _) => labels(name, findings),
            ("decoded" | "diff", _) => {
                let learned = findings.iter().find_map(|finding| finding.facts.get(name));
                learned.or_else(|| self.stated.get(name)).map(Cow::Borrowed)
            }
            _ => self.stated.get(name).map(Cow::Borrowed),
        }
    }
}

/// Labels from every check that has lists. Where one of them looked, a role without labels has none; where none did, its
/// labels are unknown.
fn labels<'a>(name: &str, findings: &'a [Finding]) -> Option<Cow<'a, Fact>> {
    let mut looked = false;
    let mut found: Vec<&'a Fact> = Vec::new();
    for finding in findings {
        let bounds = (Bound::Included("lists."), Bound::Excluded("lists/"));
        let mut lists = finding.facts.range::<str, _>(bounds).peekable();
        looked |= lists.peek().is_some();
        found.extend(lists.filter(|(list, _)| *list == name).map(|(_, fact)| fact));
    }
    match found.as_slice() {
        [] if looked => Some(Cow::Owned(Fact::List(Vec::new()))),
        [] => None,
        [one] => Some(Cow::Borrowed(one)),
        several => {
            let entries = several.iter().flat_map(|fact| match fact {
                Fact::List(entries) => entries.as_slice(),
                _ => &[],
            });
            Some(Cow::Owned(Fact::List(entries.cloned().collect())))
        }
    }
}

/// A fact of another type, or a monstrous one, is as good as none: rules that need it block.
fn is_taken(kind: Kind, fact: &Fact) -> bool {
    let is_small = |fact: &Fact| !matches!(fact, Fact::Text(text) if text.len() > MOST_TEXT);
    let fits = match fact {
        Fact::List(entries) => entries.len() <= 4 * Fact::MOST && entries.iter().all(is_small),
        other => is_small(other),
    };
    fits && kind.admits(fact)
}

/// A count as rules see it: those beyond 63 bits are the greatest.
fn int(count: impl TryInto<i64>) -> Fact {
    Fact::Int(count.try_into().unwrap_or(i64::MAX))
}

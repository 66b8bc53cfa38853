//! A published list of two hosts, Answers about it, and evidence against them.

use surety_primitives::answer::claims::{Claim, Claims};
use surety_primitives::answer::evidence::{BadBasis, Contradiction, Equivocation, Evidence};
use surety_primitives::answer::{Answer, AnswerBy, Basis, CallRef, DatasetRef, Version1, answer_digest};
use surety_primitives::dataset::{DatasetTree, Entry, Key};
use surety_primitives::typed_data::Blob;
use surety_primitives::{DatasetId, Hash32, Lane, ProviderId, PurchaseId, Seconds};

use super::market::{DAY, Market, key, public};
use crate::modules::market::{PublishDataset, ReportFault};

/// A body's hash; what the body is does not matter to the ledger.
const BODY: Hash32 = Hash32([3; 32]);

/// The list: bad.example and evil.example.
#[must_use]
pub fn list() -> DatasetTree {
    let entry = |name: &str| Entry { key: host(name), label: b"deny".to_vec(), sources: 1 };
    DatasetTree::build(vec![entry("bad.example"), entry("evil.example")])
        .unwrap_or_else(|error| panic!("not a list: {error}"))
}

/// A host as the list's key.
#[must_use]
pub fn host(name: &str) -> Key {
    Key::new(1, name.as_bytes()).unwrap_or_else(|error| panic!("not a key: {error}"))
}

/// What "vera" does to publish the list, valid for 100 days.
#[must_use]
pub fn publication(now: Seconds) -> PublishDataset {
    let list = list();
    PublishDataset {
        name: "hosts".to_owned(),
        root: list.root(),
        count: list.count(),
        date: 0,
        licence: "CC0".to_owned(),
        valid_until: now.after(Seconds(100 * DAY)),
    }
}

/// What an Answer is about and says.
#[derive(Clone, Debug)]
pub struct Said {
    /// Who answers.
    pub provider: ProviderId,
    /// The label of the key that signs.
    pub signer: &'static str,
    /// The purchase that pays.
    pub purchase: PurchaseId,
    /// The call's number in lane 0.
    pub seq: u64,
    /// The host that was looked up.
    pub host: String,
    /// The leaf that is said to have been found.
    pub found: Option<Hash32>,
    /// Ledger time.
    pub time: Seconds,
    /// The cited version of dataset 1.
    pub version: u64,
    /// The cited root.
    pub root: Hash32,
}

impl Said {
    /// "There is no such host", said by "vera" now, of version 1.
    #[must_use]
    pub fn absent(market: &Market, purchase: PurchaseId, host: &str) -> Self {
        Self {
            provider: market.provider,
            signer: "vera",
            purchase,
            seq: 1,
            host: host.to_owned(),
            found: None,
            time: market.chain.now(),
            version: 1,
            root: list().root(),
        }
    }

    fn claims(&self) -> Claims {
        let claim = Claim { dataset: DatasetId(1), version: self.version, key: host(&self.host), found: self.found };
        Claims::new(vec![claim]).unwrap_or_else(|error| panic!("not claims: {error}"))
    }

    /// The Answer.
    #[must_use]
    pub fn answer(&self) -> Answer {
        let cited = DatasetRef { id: DatasetId(1), version: self.version, root: self.root };
        Answer {
            ver: Version1,
            by: AnswerBy::Provider(self.provider),
            call: Some(CallRef { purchase: self.purchase, lane: Lane(0), seq: self.seq }),
            request: Hash32([4; 32]),
            status: 200,
            basis: Basis::new(vec![cited], None, Hash32::default())
                .unwrap_or_else(|error| panic!("not a basis: {error}")),
            pinned: true,
            answer: answer_digest(&BODY, &self.claims().root()),
            time: self.time,
            expiry: self.time.after(Seconds(60)),
        }
    }

    /// Evidence of kind 1, with what the list says.
    #[must_use]
    pub fn contradiction(&self) -> Evidence {
        let opening = self.claims().open(0).unwrap_or_else(|| panic!("one claim"));
        let proof = list().prove(&host(&self.host));
        let answer = self.answer().sign(&key(self.signer));
        Evidence::Contradiction(Box::new(Contradiction { answer, body: BODY, opening, proof }))
    }

    /// Evidence of kind 2: this, and another that says something else.
    #[must_use]
    pub fn equivocation(&self, other: &Self) -> Evidence {
        let first = self.answer().sign(&key(self.signer));
        let second = other.answer().sign(&key(other.signer));
        Evidence::Equivocation(Box::new(Equivocation { first, second }))
    }

    /// Evidence of kind 3: what is cited was not in force.
    #[must_use]
    pub fn bad_basis(&self) -> Evidence {
        let answer = self.answer().sign(&key(self.signer));
        Evidence::Basis(Box::new(BadBasis { answer, index: 0 }))
    }
}

/// A report under "vera"'s first key that names no tranches.
#[must_use]
pub fn report(purchase: PurchaseId, evidence: &Evidence) -> ReportFault {
    ReportFault { purchase, keys: vec![public("vera")], periods: Vec::new(), evidence: Blob(evidence.to_bytes()) }
}

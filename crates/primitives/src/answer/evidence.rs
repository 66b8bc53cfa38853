//! Evidence: Answers that prove a fault by themselves, with what the ledger's rows say (`market.md` B8).
//!
//! What is checked here needs no state: signatures, openings, proofs, comparisons. What the ledger brings is the
//! provider's key of that time and the dataset's row; what it still has to check is that the purchase is this provider's,
//! deadlines, and that the fault was not paid for before.

use borsh::{BorshDeserialize, BorshSerialize};

use super::claims::{Claim, ClaimOpening};
use super::{Answer, AnswerBy, CallRef, DatasetRef, SignedAnswer, answer_digest};
use crate::dataset::{self, DatasetProof, Lookup};
use crate::hash::{Hash32, h};
use crate::ids::{ProviderId, Seconds};
use crate::keys::{self, PublicKey};

/// Most bytes of evidence.
pub const MAX_LEN: usize = 16 * 1_024;
/// Seconds by which an Answer may cite a version before its publication.
pub const EARLY: Seconds = Seconds(60);

const FAULT: &str = "surety/fault/v1";
const REFERENCE: &str = "surety/fault/reference/v1";

/// What a fault consists in. The number enters the fault's id.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, BorshSerialize, BorshDeserialize)]
#[borsh(use_discriminant = true)]
#[repr(u8)]
pub enum FaultKind {
    /// A claim that the cited dataset contradicts.
    Contradiction = 1,
    /// Two different answers to one question.
    Equivocation = 2,
    /// A dataset's version that does not exist, has another root, or was not in force.
    Basis = 3,
}

/// A proven fault.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// H("surety/fault/v1", provider | kind | what it is about): the same for every report of the same fault.
    pub id: Hash32,
    /// What it consists in.
    pub kind: FaultKind,
    /// Whose fault.
    pub provider: ProviderId,
    /// The calls that got the wrong answer; at most two.
    pub calls: Vec<CallRef>,
    /// Ledger time of the (first) wrong answer.
    pub time: Seconds,
}

/// What the ledger's row says of a dataset's version.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct VersionRecord {
    /// The published root.
    pub root: Hash32,
    /// The published number of entries.
    pub count: u64,
    /// When it was published.
    pub published: Seconds,
    /// Last moment that it may be cited.
    pub valid_until: Seconds,
    /// When it was retired.
    pub retired: Option<Seconds>,
}

/// An Answer with one of its claims opened, and a proof that the cited version says otherwise.
#[derive(Clone, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub struct Contradiction {
    /// The Answer.
    pub answer: SignedAnswer,
    /// BLAKE3 of its body.
    pub body: Hash32,
    /// The claim and its path.
    pub opening: ClaimOpening,
    /// What the dataset says of the claim's key.
    pub proof: DatasetProof,
}

impl Contradiction {
    /// Checks the fault. `record` is the row of the claim's dataset and version.
    ///
    /// # Errors
    /// [`Error::NotProvider`], [`Error::ClaimNotInAnswer`], [`Error::NotCited`], [`Error::OtherRoot`],
    /// [`Error::Proof`], [`Error::NoFault`], [`Error::Key`].
    pub fn check(&self, key: &PublicKey, record: &VersionRecord) -> Result<Fault, Error> {
        let answer = &self.answer.answer;
        let provider = provider_of(answer)?;
        let claim = &self.opening.claim;
        let root = self.opening.root().map_err(|_| Error::ClaimNotInAnswer)?;
        if answer_digest(&self.body, &root) != answer.answer {
            return Err(Error::ClaimNotInAnswer);
        }
        let cited = answer.basis.dataset(claim.dataset, claim.version).ok_or(Error::NotCited)?;
        if cited.root != record.root {
            return Err(Error::OtherRoot);
        }
        if claim_of(self.proof.verify(&record.root, record.count, &claim.key)?) == claim.found {
            return Err(Error::NoFault);
        }
        self.answer.verify(key)?;
        Ok(Fault {
            id: contradiction_id(provider, claim),
            kind: FaultKind::Contradiction,
            provider,
            calls: answer.call.into_iter().collect(),
            time: answer.time,
        })
    }
}

/// What a claim would say of this look-up.
const fn claim_of(lookup: Lookup) -> Option<Hash32> {
    match lookup {
        Lookup::Found { leaf } => Some(leaf),
        Lookup::Absent => None,
    }
}

/// Two Answers of one provider to one question that say different things.
#[derive(Clone, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub struct Equivocation {
    /// One Answer; its purchase is the one that is paid first.
    pub first: SignedAnswer,
    /// The other.
    pub second: SignedAnswer,
}

impl Equivocation {
    /// Checks the fault, each Answer under the key of its own time.
    ///
    /// # Errors
    /// [`Error::NotProvider`], [`Error::OtherQuestion`], [`Error::NoFault`], [`Error::Key`].
    pub fn check(&self, first_key: &PublicKey, second_key: &PublicKey) -> Result<Fault, Error> {
        let (first, second) = (&self.first.answer, &self.second.answer);
        let provider = provider_of(first)?;
        let reference = reference(first).ok_or(Error::OtherQuestion)?;
        let same = provider == provider_of(second)?
            && first.request == second.request
            && Some(&reference) == self::reference(second).as_ref();
        if !same {
            return Err(Error::OtherQuestion);
        }
        if (first.status, first.answer) == (second.status, second.answer) {
            return Err(Error::NoFault);
        }
        self.first.verify(first_key)?;
        self.second.verify(second_key)?;
        let mut calls: Vec<CallRef> = [first.call, second.call].into_iter().flatten().collect();
        calls.dedup();
        Ok(Fault {
            id: fault_id(provider, FaultKind::Equivocation, &[&first.request.0, &reference.0]),
            kind: FaultKind::Equivocation,
            provider,
            calls,
            time: first.time.min(second.time),
        })
    }
}

/// An Answer that cites a version which does not exist, has another root, or was not in force at its time.
#[derive(Clone, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub struct BadBasis {
    /// The Answer.
    pub answer: SignedAnswer,
    /// Which of its datasets, from 0.
    pub index: u8,
}

impl BadBasis {
    /// The dataset's version in question.
    ///
    /// # Errors
    /// [`Error::NotCited`].
    pub fn cited(&self) -> Result<&DatasetRef, Error> {
        self.answer.answer.basis.datasets().get(usize::from(self.index)).ok_or(Error::NotCited)
    }

    /// Checks the fault. `record` is the version's row, if there is one (the ledger does not ask about versions that it no
    /// longer keeps); `grace` is how long a version may be cited after its end.
    ///
    /// # Errors
    /// [`Error::NotProvider`], [`Error::NotCited`], [`Error::NoFault`], [`Error::Key`].
    pub fn check(&self, key: &PublicKey, record: Option<&VersionRecord>, grace: Seconds) -> Result<Fault, Error> {
        let answer = &self.answer.answer;
        let provider = provider_of(answer)?;
        let cited = self.cited()?;
        if record.is_some_and(|record| was_in_force(record, cited, answer.time, grace)) {
            return Err(Error::NoFault);
        }
        self.answer.verify(key)?;
        Ok(Fault {
            id: fault_id(provider, FaultKind::Basis, &[&cited.id.0.to_be_bytes(), &cited.version.to_be_bytes()]),
            kind: FaultKind::Basis,
            provider,
            calls: answer.call.into_iter().collect(),
            time: answer.time,
        })
    }
}

fn was_in_force(record: &VersionRecord, cited: &DatasetRef, time: Seconds, grace: Seconds) -> bool {
    let end = record.retired.map_or(record.valid_until, |retired| retired.min(record.valid_until));
    record.root == cited.root && record.published <= time.after(EARLY) && time <= end.after(grace)
}

/// Evidence of any kind, as it is sent to the ledger: borsh, at most 16 KiB.
#[derive(Clone, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub enum Evidence {
    /// Kind 1.
    Contradiction(Box<Contradiction>),
    /// Kind 2.
    Equivocation(Box<Equivocation>),
    /// Kind 3.
    Basis(Box<BadBasis>),
}

impl Evidence {
    /// The Answer that the evidence begins with.
    #[must_use]
    pub const fn answer(&self) -> &Answer {
        match self {
            Self::Contradiction(evidence) => &evidence.answer.answer,
            Self::Equivocation(evidence) => &evidence.first.answer,
            Self::Basis(evidence) => &evidence.answer.answer,
        }
    }

    /// Whose fault is said to be proven.
    ///
    /// # Errors
    /// [`Error::NotProvider`].
    pub const fn provider(&self) -> Result<ProviderId, Error> {
        provider_of(self.answer())
    }

    /// The bytes.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        crate::codec::encode(self)
    }

    /// Reads at most 16 KiB, to the last byte.
    ///
    /// # Errors
    /// [`Error::Malformed`].
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, Error> {
        crate::codec::decode(bytes, MAX_LEN).map_err(|error| Error::Malformed(error.to_string()))
    }
}

const fn provider_of(answer: &Answer) -> Result<ProviderId, Error> {
    match answer.by {
        AnswerBy::Provider(provider) => Ok(provider),
        AnswerBy::Avs { .. } => Err(Error::NotProvider),
    }
}

/// What an Answer is an answer to, besides its request: its basis where that alone decides, else its call.
fn reference(answer: &Answer) -> Option<Hash32> {
    if answer.pinned {
        return Some(h(REFERENCE, &[&[1], &crate::codec::encode(&answer.basis)]));
    }
    let call = answer.call?;
    Some(h(REFERENCE, &[&[0], &call.purchase.0, &call.lane.0.to_be_bytes(), &call.seq.to_be_bytes()]))
}

fn contradiction_id(provider: ProviderId, claim: &Claim) -> Hash32 {
    let about: [&[u8]; 3] = [&claim.dataset.0.to_be_bytes(), &claim.version.to_be_bytes(), claim.key.as_bytes()];
    fault_id(provider, FaultKind::Contradiction, &about)
}

fn fault_id(provider: ProviderId, kind: FaultKind, about: &[&[u8]]) -> Hash32 {
    h(FAULT, &[&provider.0.to_be_bytes(), &[kind as u8], &about.concat()])
}

/// Why evidence proves nothing.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// Not an encoding of evidence.
    #[error("malformed: {0}")]
    Malformed(String),
    /// The Answer is an AVS's; its faults are for `slashing`.
    #[error("the Answer is not a provider's")]
    NotProvider,
    /// A signature does not hold under the provider's key.
    #[error(transparent)]
    Key(#[from] keys::Error),
    /// Claim, path and body do not give the Answer's digest.
    #[error("the claim is not part of this Answer")]
    ClaimNotInAnswer,
    /// The Answer does not cite this dataset's version.
    #[error("the Answer does not cite this version")]
    NotCited,
    /// The Answer cites another root than the published one: that is a fault of kind 3.
    #[error("the Answer cites another root than was published")]
    OtherRoot,
    /// The dataset proof does not hold.
    #[error(transparent)]
    Proof(#[from] dataset::Error),
    /// The two Answers are not about one request with one reference, by one provider.
    #[error("the Answers are not about the same question")]
    OtherQuestion,
    /// Everything holds, and nothing is wrong.
    #[error("this proves no fault")]
    NoFault,
}

impl Error {
    /// The stable code of this error.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Malformed(_) => "evidence-malformed",
            Self::NotProvider => "evidence-not-provider",
            Self::Key(error) => error.code(),
            Self::ClaimNotInAnswer => "evidence-claim-not-in-answer",
            Self::NotCited => "evidence-not-cited",
            Self::OtherRoot => "evidence-other-root",
            Self::Proof(error) => error.code(),
            Self::OtherQuestion => "evidence-other-question",
            Self::NoFault => "evidence-no-fault",
        }
    }
}

//! Answers: what a provider or an AVS signs, and what it can be held to (`market.md` D1, design section 2).
//!
//! An Answer names who answers, the paid call if there is one, the request, what it rests on, and the digest of what was
//! said. Its look-ups are committed as [`claims`], so that each can be opened without the body. The same object is
//! receipt, task response and [`evidence`].

pub mod claims;
pub mod evidence;

use std::io;

use borsh::{BorshDeserialize, BorshSerialize};
use serde::{Deserialize, Serialize};

use crate::access::{Error as AccessError, TagReply, decode_b64, encode_b64};
use crate::hash::{Hash32, h};
use crate::ids::{DatasetId, Epoch, Lane, ProviderId, PurchaseId, Seconds};
use crate::keys::{self, PublicKey, SecretKey, Signature};

const ANSWER: &str = "surety/answer/v1";
const BODY: &str = "surety/answer/body/v1";

/// Most datasets that an Answer cites.
pub const MAX_DATASETS: usize = 8;
/// Most bytes of a signed Answer.
pub const MAX_LEN: usize = 768;

/// Who answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, BorshSerialize, BorshDeserialize, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AnswerBy {
    /// A provider, under its own key.
    Provider(ProviderId),
    /// An AVS, under a certificate of its operators.
    Avs {
        /// The AVS.
        id: u32,
        /// The epoch whose weight table signs.
        epoch: Epoch,
    },
}

/// The paid call that an Answer belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, BorshSerialize, BorshDeserialize, Serialize, Deserialize)]
pub struct CallRef {
    /// The purchase that pays.
    pub purchase: PurchaseId,
    /// The lane.
    pub lane: Lane,
    /// The number in the lane.
    pub seq: u64,
}

/// One version of a dataset, as it was used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, BorshSerialize, BorshDeserialize, Serialize, Deserialize)]
pub struct DatasetRef {
    /// The dataset.
    pub id: DatasetId,
    /// Its version.
    pub version: u64,
    /// The root that was used.
    pub root: Hash32,
}

/// A block of another chain.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, BorshSerialize, BorshDeserialize, Serialize, Deserialize)]
pub struct BlockRef {
    /// EVM chain id.
    pub chain: u64,
    /// Height.
    pub number: u64,
    /// Block hash.
    pub hash: Hash32,
}

/// What an Answer rests on.
#[derive(Clone, Debug, Default, PartialEq, Eq, BorshSerialize, Serialize)]
pub struct Basis {
    datasets: Vec<DatasetRef>,
    /// The block that chain state was read at.
    pub block: Option<BlockRef>,
    /// The engine: hash of name and version of what computed the answer.
    pub engine: Hash32,
}

impl Basis {
    /// A basis; sorts the datasets.
    ///
    /// # Errors
    /// [`Error::TooManyDatasets`], [`Error::DatasetTwice`].
    pub fn new(mut datasets: Vec<DatasetRef>, block: Option<BlockRef>, engine: Hash32) -> Result<Self, Error> {
        datasets.sort_unstable_by_key(|cited| (cited.id, cited.version));
        check_datasets(&datasets)?;
        Ok(Self { datasets, block, engine })
    }

    /// The datasets, at most 8, in order of (id, version), none twice.
    #[must_use]
    pub fn datasets(&self) -> &[DatasetRef] {
        &self.datasets
    }

    /// The cited version of a dataset.
    #[must_use]
    pub fn dataset(&self, id: DatasetId, version: u64) -> Option<&DatasetRef> {
        self.datasets.iter().find(|cited| cited.id == id && cited.version == version)
    }
}

fn check_datasets(datasets: &[DatasetRef]) -> Result<(), Error> {
    if datasets.len() > MAX_DATASETS {
        return Err(Error::TooManyDatasets(datasets.len()));
    }
    // Two roots for one version would make it open which one is meant.
    if !datasets.is_sorted_by(|a, b| (a.id, a.version) < (b.id, b.version)) {
        return Err(Error::DatasetTwice);
    }
    Ok(())
}

impl BorshDeserialize for Basis {
    fn deserialize_reader<R: io::Read>(reader: &mut R) -> io::Result<Self> {
        let len = u32::deserialize_reader(reader)? as usize;
        if len > MAX_DATASETS {
            return Err(invalid(Error::TooManyDatasets(len)));
        }
        let datasets = (0..len).map(|_| DatasetRef::deserialize_reader(reader)).collect::<io::Result<Vec<_>>>()?;
        check_datasets(&datasets).map_err(invalid)?;
        Ok(Self { datasets, block: Option::deserialize_reader(reader)?, engine: Hash32::deserialize_reader(reader)? })
    }
}

/// The layout's version: always 1 on the wire.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Version1;

impl BorshSerialize for Version1 {
    fn serialize<W: io::Write>(&self, writer: &mut W) -> io::Result<()> {
        writer.write_all(&[1])
    }
}

impl BorshDeserialize for Version1 {
    fn deserialize_reader<R: io::Read>(reader: &mut R) -> io::Result<Self> {
        match u8::deserialize_reader(reader)? {
            1 => Ok(Self),
            other => Err(invalid(Error::Version(other))),
        }
    }
}

impl Serialize for Version1 {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_u8(1)
    }
}

/// What was answered to whom, on which basis.
#[derive(Clone, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize, Serialize)]
pub struct Answer {
    /// The layout's version.
    pub ver: Version1,
    /// Who answers.
    pub by: AnswerBy,
    /// The paid call, if there is one.
    pub call: Option<CallRef>,
    /// The request's hash (see [`crate::access::Request::hash`]).
    pub request: Hash32,
    /// The HTTP status.
    pub status: u16,
    /// What it rests on.
    pub basis: Basis,
    /// Whether the answer is a function of request and basis alone, so that two different ones prove a fault.
    pub pinned: bool,
    /// [`answer_digest`] of body and claims.
    pub answer: Hash32,
    /// Ledger time of the answer.
    pub time: Seconds,
    /// Ledger time until which it may be relied on.
    pub expiry: Seconds,
}

impl Answer {
    /// H("surety/answer/v1", borsh): what is signed.
    #[must_use]
    pub fn digest(&self) -> Hash32 {
        h(ANSWER, &[&crate::codec::encode(self)])
    }

    /// Signs it.
    #[must_use]
    pub fn sign(self, key: &SecretKey) -> SignedAnswer {
        let signature = key.sign(&self.digest());
        SignedAnswer { answer: self, signature }
    }
}

/// H("surety/answer/body/v1", BLAKE3(body as sent, before transfer coding) | claims root).
#[must_use]
pub fn answer_digest(body: &Hash32, claims_root: &Hash32) -> Hash32 {
    h(BODY, &[&body.0, &claims_root.0])
}

/// An Answer with the signature of a provider's key: borsh, then 64 bytes.
#[derive(Clone, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize, Serialize)]
pub struct SignedAnswer {
    /// The Answer.
    pub answer: Answer,
    /// Over [`Answer::digest`].
    pub signature: Signature,
}

impl SignedAnswer {
    /// Checks the signature.
    ///
    /// # Errors
    /// [`keys::Error`].
    pub fn verify(&self, key: &PublicKey) -> Result<(), keys::Error> {
        key.verify(&self.answer.digest(), &self.signature)
    }

    /// The bytes.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        crate::codec::encode(self)
    }

    /// Reads at most 768 bytes, to the last one.
    ///
    /// # Errors
    /// [`Error::Malformed`].
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, Error> {
        crate::codec::decode(bytes, MAX_LEN).map_err(|error| Error::Malformed(error.to_string()))
    }
}

/// What stands in the reply's header.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reply {
    /// A signed Answer.
    Answer(Box<SignedAnswer>),
    /// A tag reply: exactly 46 bytes, fewer than any signed Answer has.
    Tag(TagReply),
}

impl Reply {
    /// The value of [`crate::access::ANSWER_HEADER`].
    #[must_use]
    pub fn to_header(&self) -> String {
        match self {
            Self::Answer(signed) => encode_b64(&signed.to_bytes()),
            Self::Tag(reply) => encode_b64(&reply.to_bytes()),
        }
    }

    /// Reads the value of [`crate::access::ANSWER_HEADER`].
    ///
    /// # Errors
    /// [`Error::Malformed`].
    pub fn from_header(text: &str) -> Result<Self, Error> {
        let malformed = |error: AccessError| Error::Malformed(error.to_string());
        let bytes = decode_b64(text, MAX_LEN, "a reply").map_err(malformed)?;
        match TagReply::from_bytes(&bytes) {
            Ok(reply) => Ok(Self::Tag(reply)),
            Err(_) => SignedAnswer::from_bytes(&bytes).map(|signed| Self::Answer(Box::new(signed))),
        }
    }
}

/// Why an Answer or its claims were refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// Not an encoding of an Answer or of claims.
    #[error("malformed: {0}")]
    Malformed(String),
    /// The layout's version is not 1.
    #[error("version {0} is not known")]
    Version(u8),
    /// More datasets than an Answer may cite.
    #[error("an Answer cites at most {MAX_DATASETS} datasets, not {0}")]
    TooManyDatasets(usize),
    /// A dataset's version is cited twice, or the datasets are not in order.
    #[error("datasets must be in order and none twice")]
    DatasetTwice,
    /// More claims than an Answer may commit to.
    #[error("an Answer has at most {max} claims, not {len}", max = claims::MAX_CLAIMS)]
    TooManyClaims {
        /// Claims given.
        len: usize,
    },
    /// Two claims about one key of one version.
    #[error("two claims are about one key")]
    ClaimTwice,
    /// The path does not lead from the claim to the root.
    #[error("the claim is not under this root")]
    ClaimPath,
}

impl Error {
    /// The stable code of this error.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Malformed(_) => "answer-malformed",
            Self::Version(_) => "answer-version",
            Self::TooManyDatasets(_) => "answer-too-many-datasets",
            Self::DatasetTwice => "answer-dataset-twice",
            Self::TooManyClaims { .. } => "answer-too-many-claims",
            Self::ClaimTwice => "answer-claim-twice",
            Self::ClaimPath => "answer-claim-path",
        }
    }
}

fn invalid(error: Error) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, error)
}

#[cfg(test)]
mod tests;

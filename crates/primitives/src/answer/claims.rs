//! Claims: the look-ups that an Answer rests on, as leaves of a small sorted Merkle tree (`market.md` D1).
//!
//! The root commits to the count, so that each claim has one position. Leaf, node and root are hashed in three domains; an
//! odd node moves up unchanged. No claims at all have the root zero.

use std::io;

use borsh::{BorshDeserialize, BorshSerialize};

use super::{Error, invalid};
use crate::access::{decode_b64, encode_b64};
use crate::dataset::Key;
use crate::hash::{Hash32, h};
use crate::ids::DatasetId;

/// Most claims of an Answer.
pub const MAX_CLAIMS: usize = 256;

const LEAF: &str = "surety/answer/claim/v1";
const NODE: &str = "surety/answer/claim-node/v1";
const ROOT: &str = "surety/answer/claims/v1";
/// Longest path: 2^8 claims.
const MAX_PATH: usize = 8;
/// Most bytes of claims in a header.
const MAX_HEADER: usize = 6_144;

/// "This key of this dataset's version has this leaf", or "is not in it".
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, BorshSerialize, BorshDeserialize)]
pub struct Claim {
    /// The dataset.
    pub dataset: DatasetId,
    /// Its version.
    pub version: u64,
    /// The key that was looked up.
    pub key: Key,
    /// The hash of the entry that was found.
    pub found: Option<Hash32>,
}

impl Claim {
    /// H("surety/answer/claim/v1", borsh).
    #[must_use]
    pub fn leaf(&self) -> Hash32 {
        h(LEAF, &[&crate::codec::encode(self)])
    }
}

/// All claims of an Answer, sorted by dataset, version and key, no key twice.
#[derive(Clone, Debug, Default, PartialEq, Eq, BorshSerialize)]
pub struct Claims(Vec<Claim>);

impl Claims {
    /// Sorts the claims.
    ///
    /// # Errors
    /// [`Error::TooManyClaims`], [`Error::ClaimTwice`].
    pub fn new(mut claims: Vec<Claim>) -> Result<Self, Error> {
        claims.sort_unstable();
        Self::checked(claims)
    }

    fn checked(claims: Vec<Claim>) -> Result<Self, Error> {
        if claims.len() > MAX_CLAIMS {
            return Err(Error::TooManyClaims { len: claims.len() });
        }
        let about = |claim: &Claim| (claim.dataset, claim.version, claim.key.clone());
        if !claims.is_sorted_by(|a, b| about(a) < about(b)) {
            return Err(Error::ClaimTwice);
        }
        Ok(Self(claims))
    }

    /// The claims in order.
    #[must_use]
    pub fn as_slice(&self) -> &[Claim] {
        &self.0
    }

    /// The root that enters [`answer_digest`](super::answer_digest); zero without claims.
    #[must_use]
    pub fn root(&self) -> Hash32 {
        let mut row: Vec<Hash32> = self.0.iter().map(Claim::leaf).collect();
        while row.len() > 1 {
            row = row_above(&row);
        }
        row.first().map_or(Hash32::default(), |top| seal(self.0.len() as u64, top))
    }

    /// Opens the claim at `index`.
    #[must_use]
    pub fn open(&self, index: usize) -> Option<ClaimOpening> {
        let claim = self.0.get(index)?.clone();
        let mut row: Vec<Hash32> = self.0.iter().map(Claim::leaf).collect();
        let (mut at, mut path) = (index, Vec::new());
        while row.len() > 1 {
            path.extend(row.get(at ^ 1));
            row = row_above(&row);
            at /= 2;
        }
        Some(ClaimOpening { claim, index: u32::try_from(index).ok()?, count: u32::try_from(self.0.len()).ok()?, path })
    }

    /// The value of [`crate::access::CLAIMS_HEADER`].
    #[must_use]
    pub fn to_header(&self) -> String {
        encode_b64(&crate::codec::encode(self))
    }

    /// Reads the value of [`crate::access::CLAIMS_HEADER`], up to 6,144 bytes.
    ///
    /// # Errors
    /// [`Error::Malformed`].
    pub fn from_header(text: &str) -> Result<Self, Error> {
        let bytes = decode_b64(text, MAX_HEADER, "claims").map_err(|error| Error::Malformed(error.to_string()))?;
        crate::codec::decode(&bytes, MAX_HEADER).map_err(|error| Error::Malformed(error.to_string()))
    }
}

impl BorshDeserialize for Claims {
    fn deserialize_reader<R: io::Read>(reader: &mut R) -> io::Result<Self> {
        let len = u32::deserialize_reader(reader)? as usize;
        if len > MAX_CLAIMS {
            return Err(invalid(Error::TooManyClaims { len }));
        }
        let claims = (0..len).map(|_| Claim::deserialize_reader(reader)).collect::<io::Result<Vec<_>>>()?;
        Self::checked(claims).map_err(invalid)
    }
}

/// One claim with its path to the root.
#[derive(Clone, Debug, PartialEq, Eq, BorshSerialize)]
pub struct ClaimOpening {
    /// The claim.
    pub claim: Claim,
    /// Its position, from 0.
    pub index: u32,
    /// How many claims there are.
    pub count: u32,
    /// Siblings from the leaf upwards; a row where the node is the odd last one has none.
    pub path: Vec<Hash32>,
}

impl ClaimOpening {
    /// The root that this claim stands under.
    ///
    /// # Errors
    /// [`Error::ClaimPath`] when index, count and length of the path do not fit.
    pub fn root(&self) -> Result<Hash32, Error> {
        if self.index >= self.count || self.count as usize > MAX_CLAIMS {
            return Err(Error::ClaimPath);
        }
        let mut siblings = self.path.iter();
        let (mut node, mut at, mut width) = (self.claim.leaf(), self.index, self.count);
        while width > 1 {
            if at ^ 1 < width {
                let sibling = siblings.next().ok_or(Error::ClaimPath)?;
                node = if at & 1 == 0 { inner(&node, sibling) } else { inner(sibling, &node) };
            }
            at /= 2;
            width = width.div_ceil(2);
        }
        if siblings.next().is_some() { Err(Error::ClaimPath) } else { Ok(seal(u64::from(self.count), &node)) }
    }
}

impl BorshDeserialize for ClaimOpening {
    fn deserialize_reader<R: io::Read>(reader: &mut R) -> io::Result<Self> {
        let claim = Claim::deserialize_reader(reader)?;
        let (index, count) = (u32::deserialize_reader(reader)?, u32::deserialize_reader(reader)?);
        let len = u32::deserialize_reader(reader)? as usize;
        if len > MAX_PATH {
            return Err(invalid(Error::ClaimPath));
        }
        let path = (0..len).map(|_| Hash32::deserialize_reader(reader)).collect::<io::Result<_>>()?;
        Ok(Self { claim, index, count, path })
    }
}

fn row_above(row: &[Hash32]) -> Vec<Hash32> {
    row.chunks(2)
        .filter_map(|pair| match pair {
            [left, right] => Some(inner(left, right)),
            _ => pair.first().copied(),
        })
        .collect()
}

fn inner(left: &Hash32, right: &Hash32) -> Hash32 {
    h(NODE, &[&left.0, &right.0])
}

fn seal(count: u64, top: &Hash32) -> Hash32 {
    h(ROOT, &[&count.to_be_bytes(), &top.0])
}

//! Grants and sub-grants: who may use which lanes of a purchase (`market.md` D1).
//!
//! Always true: a [`LaneAuthority`] gives no more lanes, calls, time, rate or flags than the grant and every link of the
//! chain that led to it.

use borsh::{BorshDeserialize, BorshSerialize};

use super::error::Error;
use crate::hash::{Hash32, h};
use crate::ids::{Lane, NetworkId, PurchaseId, Seconds};
use crate::keys::{PreparedKey, PublicKey, SecretKey, Signature};
use crate::typed_data::{Blob, TypedField};

/// Most sub-grants of a chain.
pub const MAX_DEPTH: usize = 4;

const GRANT: &str = "surety/access/grant/v1";
const SUBGRANT: &str = "surety/access/subgrant/v1";

/// A purchase, as the ledger's row says: the root of every right to call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Grant {
    /// The ledger that the purchase lies on.
    pub network: NetworkId,
    /// The purchase.
    pub purchase: PurchaseId,
    /// How often the root key was rotated.
    pub key_version: u32,
    /// The root key.
    pub call_key: PublicKey,
    /// Lanes 0 to `lanes` - 1 may be used; at most 65,536.
    pub lanes: u32,
    /// Calls bought.
    pub quota: u64,
    /// First moment of the package, ledger time.
    pub not_before: Seconds,
    /// The moment from which no call is admitted: expiry, or an earlier end.
    pub end: Seconds,
}

impl Grant {
    /// H("surety/access/grant/v1", network | purchase | key version | call key).
    #[must_use]
    pub fn hash(&self) -> Hash32 {
        h(GRANT, &[&self.network.0.to_be_bytes(), &self.purchase.0, &self.key_version.to_be_bytes(), &self.call_key.0])
    }
}

/// What a sub-grant allows besides calling.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, BorshSerialize)]
pub struct GrantFlags(u8);

impl GrantFlags {
    /// Signed calls only, nothing handed on.
    pub const NONE: Self = Self(0);
    /// May hand a part on.
    pub const DELEGATE: Self = Self(1);
    /// May call with tags.
    pub const MAC: Self = Self(1 << 1);
    /// Everything: what the root key has.
    pub const ALL: Self = Self(0b11);

    /// Both together.
    #[must_use]
    pub const fn with(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// Whether all of `other` is set.
    #[must_use]
    pub const fn has(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }

    /// The byte on the wire.
    #[must_use]
    pub const fn bits(self) -> u8 {
        self.0
    }
}

impl BorshDeserialize for GrantFlags {
    fn deserialize_reader<R: std::io::Read>(reader: &mut R) -> std::io::Result<Self> {
        let bits = u8::deserialize_reader(reader)?;
        if bits & !Self::ALL.0 != 0 {
            return Err(std::io::Error::new(std::io::ErrorKind::InvalidData, Error::Flags(bits)));
        }
        Ok(Self(bits))
    }
}

/// What a sub-grant gives, before it is signed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub struct SubGrantTerms {
    /// The grant's hash, or the hash of the sub-grant above.
    pub parent: Hash32,
    /// The key that may call.
    pub delegate: PublicKey,
    /// First lane.
    pub first_lane: Lane,
    /// Last lane, inclusive.
    pub last_lane: Lane,
    /// The highest `cum` of each of these lanes.
    pub max_calls: u64,
    /// Last moment, ledger time.
    pub valid_until: Seconds,
    /// Calls a second, 0 for no limit.
    pub rate: u32,
    /// Hash of the [`Scope`](super::Scope), zero for all requests.
    pub scope: Hash32,
    /// What else is allowed.
    pub flags: GrantFlags,
}

impl SubGrantTerms {
    /// Signs the terms with the parent's key.
    #[must_use]
    pub fn sign(self, parent_key: &SecretKey) -> SubGrant {
        let signature = parent_key.sign(&self.hash());
        SubGrant { terms: self, signature }
    }

    fn hash(&self) -> Hash32 {
        h(SUBGRANT, &[&crate::codec::encode(self)])
    }
}

/// A part of a purchase handed on offline: borsh, 185 bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub struct SubGrant {
    /// What it gives.
    pub terms: SubGrantTerms,
    /// The parent key's signature over [`Self::hash`].
    pub signature: Signature,
}

impl SubGrant {
    /// Bytes of a sub-grant.
    pub const LEN: usize = 185;

    /// H("surety/access/subgrant/v1", all but the signature): what is signed, revoked and named as parent.
    #[must_use]
    pub fn hash(&self) -> Hash32 {
        self.terms.hash()
    }

    /// Reads exactly 185 bytes.
    ///
    /// # Errors
    /// [`Error::Length`], [`Error::Text`].
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, Error> {
        if bytes.len() != Self::LEN {
            return Err(Error::Length { what: "a sub-grant", len: bytes.len() });
        }
        crate::codec::decode(bytes, Self::LEN).map_err(|_| Error::Text("a sub-grant"))
    }
}

impl TypedField for SubGrant {
    fn type_name() -> String {
        Blob::type_name()
    }

    fn word(&self) -> [u8; 32] {
        Blob(crate::codec::encode(self)).word()
    }

    fn message(&self) -> serde_json::Value {
        Blob(crate::codec::encode(self)).message()
    }
}

/// What a verified chain gives to the key at its end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LaneAuthority {
    /// The purchase.
    pub purchase: PurchaseId,
    /// The key that signs calls.
    pub key: PreparedKey,
    /// First lane.
    pub first_lane: Lane,
    /// Last lane, inclusive.
    pub last_lane: Lane,
    /// The highest `cum` of each of these lanes.
    pub max_calls: u64,
    /// Last moment by the chain, ledger time; nothing when the root key calls itself.
    pub valid_until: Option<Seconds>,
    /// Calls a second, 0 for no limit.
    pub rate: u32,
    /// What else is allowed.
    pub flags: GrantFlags,
    /// Hashes of the scopes that all must allow a request, at most [`MAX_DEPTH`].
    pub scopes: Vec<Hash32>,
    /// The grant's hash and those of the sub-grants, from the root on: what a revocation may name.
    pub links: Vec<Hash32>,
}

impl LaneAuthority {
    /// Whether a lane is inside.
    #[must_use]
    pub fn has_lane(&self, lane: Lane) -> bool {
        self.first_lane <= lane && lane <= self.last_lane
    }

    fn root(grant: &Grant) -> Result<Self, Error> {
        // A lane's number has 16 bits, so that a count above 65,536 means all of them.
        let last = grant.lanes.checked_sub(1).ok_or(Error::LaneOutside(Lane(0)))?;
        Ok(Self {
            purchase: grant.purchase,
            key: grant.call_key.prepare()?,
            first_lane: Lane(0),
            last_lane: Lane(u16::try_from(last).unwrap_or(u16::MAX)),
            max_calls: grant.quota,
            valid_until: None,
            rate: 0,
            flags: GrantFlags::ALL,
            scopes: Vec::new(),
            links: vec![grant.hash()],
        })
    }

    /// Goes one link down the chain.
    fn narrow(mut self, link: usize, grant: &SubGrant) -> Result<Self, Error> {
        let terms = &grant.terms;
        if self.links.last() != Some(&terms.parent) {
            return Err(Error::BrokenChain(link));
        }
        if !self.flags.has(GrantFlags::DELEGATE) {
            return Err(Error::NotDelegable(link));
        }
        if let Some(field) = self.widened_by(terms) {
            return Err(Error::Widened { link, field });
        }
        let hash = grant.hash();
        self.key.verify(&hash, &grant.signature)?;
        // Under a key of small order anyone could sign, hence acknowledge calls in the parent's name.
        terms.delegate.check_registrable()?;
        self.links.push(hash);
        if !terms.scope.is_zero() && !self.scopes.contains(&terms.scope) {
            self.scopes.push(terms.scope);
        }
        Ok(Self {
            key: terms.delegate.prepare()?,
            first_lane: terms.first_lane,
            last_lane: terms.last_lane,
            max_calls: terms.max_calls,
            valid_until: Some(terms.valid_until),
            rate: terms.rate,
            flags: terms.flags,
            ..self
        })
    }

    /// The first right of `terms` that this authority does not have.
    fn widened_by(&self, terms: &SubGrantTerms) -> Option<&'static str> {
        // A rate of 0 is no limit, hence above every other.
        let no_faster = self.rate == 0 || (terms.rate != 0 && terms.rate <= self.rate);
        let rules = [
            (terms.first_lane <= terms.last_lane, "lanes"),
            (self.has_lane(terms.first_lane) && self.has_lane(terms.last_lane), "lanes"),
            (terms.max_calls <= self.max_calls, "max_calls"),
            (self.valid_until.is_none_or(|end| terms.valid_until <= end), "valid_until"),
            (no_faster, "rate"),
            (self.flags.has(terms.flags), "flags"),
        ];
        rules.into_iter().find(|(kept, _)| !kept).map(|(_, field)| field)
    }
}

/// Checks a chain from the grant down: hashes, signatures, narrowing. At most five keys are decompressed and four
/// signatures checked.
///
/// Time is not looked at: a claim counts what was signed in time, whenever it is made. Sidecars go on with
/// [`verify_call`](super::verify_call), which does look.
///
/// # Errors
/// [`Error::TooDeep`], [`Error::BrokenChain`], [`Error::NotDelegable`], [`Error::Widened`], [`Error::BadSignature`],
/// [`Error::BadKey`], [`Error::LaneOutside`] for a grant without lanes.
pub fn verify_chain(grant: &Grant, chain: &[SubGrant]) -> Result<LaneAuthority, Error> {
    if chain.len() > MAX_DEPTH {
        return Err(Error::TooDeep { len: chain.len() });
    }
    let root = LaneAuthority::root(grant)?;
    chain.iter().enumerate().try_fold(root, |authority, (link, grant)| authority.narrow(link, grant))
}

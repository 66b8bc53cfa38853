//! The fixed layouts of calls and vouchers, big-endian and unpadded (`market.md` D1).

use borsh::{BorshDeserialize, BorshSerialize};

use super::error::Error;
use crate::hash::{Hash32, h};
use crate::ids::{Lane, PurchaseId};
use crate::keys::{SecretKey, Signature};
use crate::typed_data::{Blob, TypedField};

/// Bytes of a head.
pub const HEAD_LEN: usize = 40;
/// The request hash of a voucher that stands for no request.
pub const NO_REQUEST: Hash32 = Hash32([0; 32]);

const VERSION: u8 = 1;
const CALL: &str = "surety/access/call/v1";

const MAC_LEN: usize = HEAD_LEN + 32;
const SIGNED_LEN: usize = HEAD_LEN + 64;
const OPENING_LEN: usize = HEAD_LEN + 32 + 64;
const VOUCHER_LEN: usize = HEAD_LEN + 32 + 64;
const OPENING_VOUCHER_LEN: usize = HEAD_LEN + 32 + 32 + 64;

/// What kind of call a head begins.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Flags(u8);

impl Flags {
    /// A signed call like any other.
    pub const NONE: Self = Self(0);
    /// A tag follows, no signature.
    pub const MAC: Self = Self(1);
    /// An ephemeral key follows: this call opens its lane.
    pub const OPEN: Self = Self(1 << 1);
    /// A signed Answer is asked for, not a tag reply.
    pub const ANSWER: Self = Self(1 << 2);
    /// No call at all, only `cum`.
    pub const VOUCHER: Self = Self(1 << 3);

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

    /// Reads the byte. A tag neither opens nor acknowledges, and what is no call asks for nothing.
    const fn read(bits: u8) -> Result<Self, Error> {
        let flags = Self(bits);
        let unknown = bits >> 4 != 0;
        let mac = flags.has(Self::MAC) && (flags.has(Self::OPEN) || flags.has(Self::VOUCHER));
        let voucher = flags.has(Self::VOUCHER) && (flags.has(Self::OPEN) || flags.has(Self::ANSWER));
        if unknown || mac || voucher { Err(Error::Flags(bits)) } else { Ok(flags) }
    }
}

/// The first 40 bytes of every call.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Head {
    /// What kind of call this is.
    pub flags: Flags,
    /// The purchase that pays.
    pub purchase: PurchaseId,
    /// The lane it counts in.
    pub lane: Lane,
    /// The call's number in its lane, from 1, never used twice.
    pub seq: u64,
    /// How many calls of this lane the signer acknowledges, this one not among them.
    pub cum: u64,
    /// Wall time in seconds after which the call must not be served.
    pub deadline: u32,
}

impl Head {
    /// The 40 bytes: version, flags, purchase, lane, seq, cum, deadline.
    #[must_use]
    pub fn to_bytes(&self) -> [u8; HEAD_LEN] {
        let mut out = [0; HEAD_LEN];
        out[0] = VERSION;
        out[1] = self.flags.0;
        out[2..18].copy_from_slice(&self.purchase.0);
        out[18..20].copy_from_slice(&self.lane.0.to_be_bytes());
        out[20..28].copy_from_slice(&self.seq.to_be_bytes());
        out[28..36].copy_from_slice(&self.cum.to_be_bytes());
        out[36..40].copy_from_slice(&self.deadline.to_be_bytes());
        out
    }

    /// Reads 40 bytes.
    ///
    /// # Errors
    /// [`Error::Version`], [`Error::Flags`], [`Error::ZeroSeq`].
    pub fn from_bytes(bytes: &[u8; HEAD_LEN]) -> Result<Self, Error> {
        if bytes[0] != VERSION {
            return Err(Error::Version(bytes[0]));
        }
        let head = Self {
            flags: Flags::read(bytes[1])?,
            purchase: PurchaseId(array(&bytes[2..18])),
            lane: Lane(u16::from_be_bytes(array(&bytes[18..20]))),
            seq: u64::from_be_bytes(array(&bytes[20..28])),
            cum: u64::from_be_bytes(array(&bytes[28..36])),
            deadline: u32::from_be_bytes(array(&bytes[36..40])),
        };
        if head.seq == 0 { Err(Error::ZeroSeq) } else { Ok(head) }
    }
}

/// A call under the lane's key: 104 bytes, or 136 when it opens the lane.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SignedCall {
    head: Head,
    ephemeral: [u8; 32],
    signature: Signature,
}

impl SignedCall {
    /// Signs a call, with an X25519 public key when it opens its lane. The flags `OPEN` and `MAC` are set to fit.
    ///
    /// # Errors
    /// [`Error::Flags`] or [`Error::ZeroSeq`] when no reader would accept this head.
    pub fn sign(key: &SecretKey, head: Head, ephemeral: Option<[u8; 32]>, request: &Hash32) -> Result<Self, Error> {
        let open = if ephemeral.is_some() { Flags::OPEN.0 } else { 0 };
        let flags = Flags(head.flags.0 & !(Flags::MAC.0 | Flags::OPEN.0) | open);
        let head = Head::from_bytes(&Head { flags, ..head }.to_bytes())?;
        let unsigned = Self { head, ephemeral: ephemeral.unwrap_or_default(), signature: Signature([0; 64]) };
        Ok(Self { signature: key.sign(&unsigned.digest(request)), ..unsigned })
    }

    /// The head.
    #[must_use]
    pub const fn head(&self) -> &Head {
        &self.head
    }

    /// The ephemeral X25519 key, when this call opens its lane.
    #[must_use]
    pub fn ephemeral(&self) -> Option<&[u8; 32]> {
        self.head.flags.has(Flags::OPEN).then_some(&self.ephemeral)
    }

    /// The signature.
    #[must_use]
    pub const fn signature(&self) -> &Signature {
        &self.signature
    }

    /// What is signed: `H("surety/access/call/v1", head | [eph] | request hash)`.
    #[must_use]
    pub fn digest(&self, request: &Hash32) -> Hash32 {
        let head = self.head.to_bytes();
        match self.ephemeral() {
            Some(ephemeral) => h(CALL, &[&head, ephemeral, &request.0]),
            None => h(CALL, &[&head, &request.0]),
        }
    }

    /// The voucher that this call is, for the request that it was made for.
    #[must_use]
    pub const fn voucher(self, request: Hash32) -> Voucher {
        Voucher { call: self, request }
    }

    /// The 104 or 136 bytes.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        self.join(&[])
    }

    /// Reads 104 or 136 bytes.
    ///
    /// # Errors
    /// [`Error::Length`], and as [`Head::from_bytes`]; [`Error::Flags`] when flags and length contradict.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, Error> {
        let call = Self::split::<0>(bytes, [SIGNED_LEN, OPENING_LEN], "a signed call")?.0;
        Ok(call)
    }

    /// head | middle | [eph] | signature.
    fn join(&self, middle: &[u8]) -> Vec<u8> {
        let mut out = Vec::with_capacity(OPENING_VOUCHER_LEN);
        out.extend_from_slice(&self.head.to_bytes());
        out.extend_from_slice(middle);
        out.extend_from_slice(self.ephemeral().map_or(&[], |key| &key[..]));
        out.extend_from_slice(&self.signature.0);
        out
    }

    /// The reverse of [`Self::join`], for one of two lengths: without and with an ephemeral key.
    fn split<const MIDDLE: usize>(
        bytes: &[u8],
        [plain, opening]: [usize; 2],
        what: &'static str,
    ) -> Result<(Self, [u8; MIDDLE]), Error> {
        let length = || Error::Length { what, len: bytes.len() };
        if bytes.len() != plain && bytes.len() != opening {
            return Err(length());
        }
        let (head, rest) = bytes.split_first_chunk::<HEAD_LEN>().ok_or_else(length)?;
        let (middle, rest) = rest.split_first_chunk::<MIDDLE>().ok_or_else(length)?;
        let (rest, signature) = rest.split_last_chunk::<64>().ok_or_else(length)?;
        let head = Head::from_bytes(head)?;
        let opens = bytes.len() == opening;
        if head.flags.has(Flags::MAC) || head.flags.has(Flags::OPEN) != opens {
            return Err(Error::Flags(head.flags.0));
        }
        let ephemeral = if opens { array(rest) } else { [0; 32] };
        Ok((Self { head, ephemeral, signature: Signature(*signature) }, *middle))
    }
}

/// A call with a tag under the lane's agreed key: 72 bytes. It proves nothing to others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MacCall {
    /// The head; its `cum` is information only.
    pub head: Head,
    /// BLAKE3-keyed(m, head | request hash).
    pub tag: [u8; 32],
}

impl MacCall {
    /// The 72 bytes.
    #[must_use]
    pub fn to_bytes(&self) -> [u8; MAC_LEN] {
        let mut out = [0; MAC_LEN];
        out[..HEAD_LEN].copy_from_slice(&self.head.to_bytes());
        out[HEAD_LEN..].copy_from_slice(&self.tag);
        out
    }

    /// Reads 72 bytes.
    ///
    /// # Errors
    /// [`Error::Length`], and as [`Head::from_bytes`]; [`Error::Flags`] when the head does not announce a tag.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, Error> {
        let length = || Error::Length { what: "a call with a tag", len: bytes.len() };
        let (head, tag) = bytes.split_first_chunk::<HEAD_LEN>().ok_or_else(length)?;
        let tag = <[u8; 32]>::try_from(tag).map_err(|_| length())?;
        let head = Head::from_bytes(head)?;
        if head.flags.has(Flags::MAC) { Ok(Self { head, tag }) } else { Err(Error::Flags(head.flags.0)) }
    }
}

/// A call of either kind, as it stands in the request's header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Call {
    /// Signed: 104 or 136 bytes.
    Signed(SignedCall),
    /// With a tag: 72 bytes.
    Mac(MacCall),
}

impl Call {
    /// The head.
    #[must_use]
    pub const fn head(&self) -> &Head {
        match self {
            Self::Signed(call) => &call.head,
            Self::Mac(call) => &call.head,
        }
    }

    /// The bytes: 72, 104 or 136.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        match self {
            Self::Signed(call) => call.to_bytes(),
            Self::Mac(call) => call.to_bytes().to_vec(),
        }
    }

    /// Reads 72, 104 or 136 bytes.
    ///
    /// # Errors
    /// As [`SignedCall::from_bytes`] and [`MacCall::from_bytes`].
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, Error> {
        if bytes.len() == MAC_LEN {
            MacCall::from_bytes(bytes).map(Self::Mac)
        } else {
            SignedCall::from_bytes(bytes).map(Self::Signed)
        }
    }
}

/// A signed call with the hash of its request: what a provider shows to claim `cum` calls of a lane. 136 bytes, or 168
/// when the call opened its lane.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Voucher {
    /// The signed call.
    pub call: SignedCall,
    /// The hash of the request that it was made for, or [`NO_REQUEST`].
    pub request: Hash32,
}

impl Voucher {
    /// The head.
    #[must_use]
    pub const fn head(&self) -> &Head {
        &self.call.head
    }

    /// What was signed.
    #[must_use]
    pub fn digest(&self) -> Hash32 {
        self.call.digest(&self.request)
    }

    /// The 136 or 168 bytes.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        self.call.join(&self.request.0)
    }

    /// Reads 136 or 168 bytes.
    ///
    /// # Errors
    /// As [`SignedCall::from_bytes`].
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, Error> {
        let lengths = [VOUCHER_LEN, OPENING_VOUCHER_LEN];
        let (call, request) = SignedCall::split::<32>(bytes, lengths, "a voucher")?;
        Ok(Self { call, request: Hash32(request) })
    }
}

/// Borsh: the bytes with their length before them.
impl BorshSerialize for Voucher {
    fn serialize<W: std::io::Write>(&self, writer: &mut W) -> std::io::Result<()> {
        self.to_bytes().serialize(writer)
    }
}

impl BorshDeserialize for Voucher {
    fn deserialize_reader<R: std::io::Read>(reader: &mut R) -> std::io::Result<Self> {
        let invalid = |error: Error| std::io::Error::new(std::io::ErrorKind::InvalidData, error);
        let len = u32::deserialize_reader(reader)? as usize;
        if len > OPENING_VOUCHER_LEN {
            return Err(invalid(Error::Length { what: "a voucher", len }));
        }
        let mut bytes = vec![0; len];
        reader.read_exact(&mut bytes)?;
        Self::from_bytes(&bytes).map_err(invalid)
    }
}

impl TypedField for Voucher {
    fn type_name() -> String {
        Blob::type_name()
    }

    fn word(&self) -> [u8; 32] {
        Blob(self.to_bytes()).word()
    }

    fn message(&self) -> serde_json::Value {
        Blob(self.to_bytes()).message()
    }
}

/// The bytes as an array; callers pass slices of that length.
fn array<const N: usize>(bytes: &[u8]) -> [u8; N] {
    let mut out = [0; N];
    out.copy_from_slice(bytes);
    out
}

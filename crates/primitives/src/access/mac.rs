//! Tags: calls and replies under a key that an opening call agreed on (`market.md` D1). They cost a tenth of a
//! microsecond and convince nobody but the other side.

use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

use super::error::Error;
use super::head::{Flags, HEAD_LEN, Head, MacCall};
use crate::hash::{Hash32, h};
use crate::ids::{Lane, PurchaseId};
use crate::keys::{DhSecret, PublicKey, SecretKey, SharedSecret};

const MAC_KEY: &str = "surety/access/mac-key/v1";
const MAC_REPLY: &str = "surety/access/mac-reply/v1";

const TAG_REPLY_LEN: usize = 46;
const TAG_REPLY_HEAD: usize = 14;

/// The key that both sides of a lane share after its opening call. Wiped when dropped; not printed.
#[derive(Clone)]
pub struct LaneKey {
    call: Zeroizing<[u8; 32]>,
    reply: Zeroizing<[u8; 32]>,
}

impl core::fmt::Debug for LaneKey {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str("LaneKey")
    }
}

impl LaneKey {
    /// The caller's side: from the secret half of the ephemeral key and the provider's public key.
    ///
    /// # Errors
    /// [`Error::BadKey`] when the provider's key is no usable key.
    pub fn of_caller(
        ephemeral: &DhSecret,
        provider: &PublicKey,
        purchase: &PurchaseId,
        lane: Lane,
        delegate: &PublicKey,
    ) -> Result<Self, Error> {
        let shared = ephemeral.agree(&provider.to_x25519()?)?;
        Ok(Self::derive(&shared, purchase, lane, delegate, &ephemeral.public()))
    }

    /// The provider's side: from its secret key and the ephemeral key of the opening call.
    ///
    /// # Errors
    /// [`Error::BadKey`] when the ephemeral key has small order.
    pub fn of_provider(
        provider: &SecretKey,
        ephemeral: &[u8; 32],
        purchase: &PurchaseId,
        lane: Lane,
        delegate: &PublicKey,
    ) -> Result<Self, Error> {
        let shared = provider.to_x25519().agree(ephemeral)?;
        Ok(Self::derive(&shared, purchase, lane, delegate, ephemeral))
    }

    /// m = H("surety/access/mac-key/v1", X25519 | purchase | lane | delegate key | eph); replies have a key of their own
    /// below it, so that no call's tag can be sent back as a reply's.
    fn derive(
        shared: &SharedSecret,
        purchase: &PurchaseId,
        lane: Lane,
        delegate: &PublicKey,
        ephemeral: &[u8; 32],
    ) -> Self {
        let parts: [&[u8]; 5] = [shared.as_bytes(), &purchase.0, &lane.0.to_be_bytes(), &delegate.0, ephemeral];
        let call = Zeroizing::new(h(MAC_KEY, &parts).0);
        let reply = Zeroizing::new(h(MAC_REPLY, &[&call[..]]).0);
        Self { call, reply }
    }

    /// Tags a call. The head's flags are set to fit.
    ///
    /// # Errors
    /// [`Error::Flags`] or [`Error::ZeroSeq`] when no reader would accept this head.
    pub fn tag_call(&self, head: Head, request: &Hash32) -> Result<MacCall, Error> {
        let head = Head::from_bytes(&Head { flags: head.flags.with(Flags::MAC), ..head }.to_bytes())?;
        Ok(MacCall { head, tag: self.call_tag(&head, request) })
    }

    /// Checks a call's tag, in constant time.
    ///
    /// # Errors
    /// [`Error::BadTag`].
    pub fn check_call(&self, call: &MacCall, request: &Hash32) -> Result<(), Error> {
        require_equal(&call.tag, &self.call_tag(&call.head, request))
    }

    fn call_tag(&self, head: &Head, request: &Hash32) -> [u8; 32] {
        // One buffer of 72 bytes is two compressions; three updates would cost more than the hash.
        let mut bytes = [0; HEAD_LEN + 32];
        bytes[..HEAD_LEN].copy_from_slice(&head.to_bytes());
        bytes[HEAD_LEN..].copy_from_slice(&request.0);
        *blake3::keyed_hash(&self.call, &bytes).as_bytes()
    }

    /// Tags the reply to a call.
    #[must_use]
    pub fn tag_reply(&self, call: &Head, request: &Hash32, status: u16, time: u32, body: &Hash32) -> TagReply {
        let mut reply = TagReply { seq: call.seq, status, time, tag: [0; 32] };
        reply.tag = self.reply_tag(&reply, call, request, body);
        reply
    }

    /// Checks that a reply is the one to this call, with this body's hash.
    ///
    /// # Errors
    /// [`Error::WrongReply`] for another `seq`, [`Error::BadTag`].
    pub fn check_reply(&self, reply: &TagReply, call: &Head, request: &Hash32, body: &Hash32) -> Result<(), Error> {
        if reply.seq != call.seq {
            return Err(Error::WrongReply);
        }
        require_equal(&reply.tag, &self.reply_tag(reply, call, request, body))
    }

    fn reply_tag(&self, reply: &TagReply, call: &Head, request: &Hash32, body: &Hash32) -> [u8; 32] {
        let mut hasher = blake3::Hasher::new_keyed(&self.reply);
        hasher.update(&call.purchase.0);
        hasher.update(&call.lane.0.to_be_bytes());
        hasher.update(&request.0);
        hasher.update(&reply.to_bytes()[..TAG_REPLY_HEAD]);
        hasher.update(&body.0);
        *hasher.finalize().as_bytes()
    }
}

fn require_equal(given: &[u8; 32], expected: &[u8; 32]) -> Result<(), Error> {
    if bool::from(given.ct_eq(expected)) { Ok(()) } else { Err(Error::BadTag) }
}

/// What answers a call that asked for no signed Answer: 46 bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TagReply {
    /// The call's number.
    pub seq: u64,
    /// The HTTP status.
    pub status: u16,
    /// Ledger time in seconds.
    pub time: u32,
    /// Keyed hash over purchase, lane, request, the three fields above and the body's hash.
    pub tag: [u8; 32],
}

impl TagReply {
    /// The 46 bytes.
    #[must_use]
    pub fn to_bytes(&self) -> [u8; TAG_REPLY_LEN] {
        let mut out = [0; TAG_REPLY_LEN];
        out[..8].copy_from_slice(&self.seq.to_be_bytes());
        out[8..10].copy_from_slice(&self.status.to_be_bytes());
        out[10..14].copy_from_slice(&self.time.to_be_bytes());
        out[14..].copy_from_slice(&self.tag);
        out
    }

    /// Reads 46 bytes.
    ///
    /// # Errors
    /// [`Error::Length`].
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, Error> {
        let length = || Error::Length { what: "a tag reply", len: bytes.len() };
        let (seq, rest) = bytes.split_first_chunk().ok_or_else(length)?;
        let (status, rest) = rest.split_first_chunk().ok_or_else(length)?;
        let (time, tag) = rest.split_first_chunk().ok_or_else(length)?;
        Ok(Self {
            seq: u64::from_be_bytes(*seq),
            status: u16::from_be_bytes(*status),
            time: u32::from_be_bytes(*time),
            tag: tag.try_into().map_err(|_| length())?,
        })
    }
}

//! The caller's side: numbers, signs and tags calls, checks replies, and acknowledges only what came (`market.md` B6.2).

use std::sync::Arc;

use borsh::{BorshDeserialize, BorshSerialize};

use super::error::Error;
use super::grant::{Grant, GrantFlags, LaneAuthority, SubGrant, SubGrantTerms, verify_chain};
use super::head::{Flags, Head, MacCall, NO_REQUEST, SignedCall};
use super::mac::{LaneKey, TagReply};
use crate::answer::{AnswerBy, CallRef, SignedAnswer, answer_digest};
use crate::hash::Hash32;
use crate::ids::{Lane, ProviderId, Seconds};
use crate::keys::{DhSecret, PublicKey, SecretKey};

/// Seconds by which an Answer's time may differ from the ledger's (`market.md` D5).
const ANSWER_SKEW: Seconds = Seconds(60);

/// A key that may call, with the chain that says so and the provider that is called.
#[derive(Debug)]
pub struct CallSigner {
    key: SecretKey,
    chain: Vec<SubGrant>,
    authority: LaneAuthority,
    provider: ProviderId,
    provider_key: PublicKey,
}

impl CallSigner {
    /// Checks the chain and that `key` stands at its end.
    ///
    /// # Errors
    /// As [`verify_chain`]; [`Error::BadKey`] for another key.
    pub fn new(
        grant: &Grant,
        chain: Vec<SubGrant>,
        key: SecretKey,
        provider: ProviderId,
        provider_key: PublicKey,
    ) -> Result<Self, Error> {
        let authority = verify_chain(grant, &chain)?;
        if authority.key.public() != key.public() {
            return Err(Error::BadKey);
        }
        Ok(Self { key, chain, authority, provider, provider_key })
    }

    /// What the key may do.
    #[must_use]
    pub const fn authority(&self) -> &LaneAuthority {
        &self.authority
    }

    /// The chain that goes with an opening call.
    #[must_use]
    pub fn chain(&self) -> &[SubGrant] {
        &self.chain
    }

    /// Hands a part on: signs `terms` (their `parent` is filled in) and returns the delegate's whole chain.
    ///
    /// # Errors
    /// As [`verify_chain`] when the terms give more than this key has, or the chain grows too long.
    pub fn delegate(&self, grant: &Grant, terms: SubGrantTerms) -> Result<Vec<SubGrant>, Error> {
        let parent = self.authority.links.last().copied().unwrap_or_default();
        let mut chain = self.chain.clone();
        chain.push(SubGrantTerms { parent, ..terms }.sign(&self.key));
        verify_chain(grant, &chain)?;
        Ok(chain)
    }
}

/// What a lane must remember over restarts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub struct LaneState {
    /// The highest number used.
    pub seq: u64,
    /// Calls acknowledged: answered in time and validly.
    pub cum: u64,
    /// `seq` of the last signed call.
    pub signed_seq: u64,
}

/// A call that waits for its reply.
#[derive(Debug)]
pub struct Pending {
    head: Head,
    request: Hash32,
    key: Option<LaneKey>,
    settled: bool,
}

impl Pending {
    /// The call's head.
    #[must_use]
    pub const fn head(&self) -> &Head {
        &self.head
    }
}

/// One lane of a [`CallSigner`]. Whoever keeps it writes [`Self::state`] down before a call is sent.
#[derive(Debug)]
pub struct LaneClient {
    signer: Arc<CallSigner>,
    lane: Lane,
    state: LaneState,
    key: Option<LaneKey>,
}

impl LaneClient {
    /// A lane that goes on from `state`.
    ///
    /// # Errors
    /// [`Error::LaneOutside`].
    pub fn new(signer: Arc<CallSigner>, lane: Lane, state: LaneState) -> Result<Self, Error> {
        if !signer.authority.has_lane(lane) {
            return Err(Error::LaneOutside(lane));
        }
        Ok(Self { signer, lane, state, key: None })
    }

    /// What to remember.
    #[must_use]
    pub const fn state(&self) -> LaneState {
        self.state
    }

    /// Whether calls with tags can be made.
    #[must_use]
    pub const fn is_open(&self) -> bool {
        self.key.is_some()
    }

    /// Whether the next call should be signed, so that the provider's window of `window` calls never fills: true once
    /// half of it is sent since the last signature. (The other reason, 5 s without a signature, is the caller's clock.)
    #[must_use]
    pub const fn should_sign(&self, window: u32) -> bool {
        self.state.seq.saturating_sub(self.state.signed_seq) >= window as u64 / 2
    }

    /// Opens the lane: a signed call that agrees on a key for tags. `ephemeral` is used once.
    ///
    /// # Errors
    /// [`Error::LaneSpent`]; [`Error::BadKey`] when the provider's key is unusable.
    pub fn open(
        &mut self,
        request: Hash32,
        deadline: u32,
        flags: Flags,
        ephemeral: &DhSecret,
    ) -> Result<(SignedCall, Pending), Error> {
        let authority = &self.signer.authority;
        let delegate = authority.key.public();
        let key = LaneKey::of_caller(ephemeral, &self.signer.provider_key, &authority.purchase, self.lane, &delegate)?;
        let (call, mut pending) = self.sign(request, deadline, flags, Some(ephemeral.public()))?;
        pending.key = Some(key.clone());
        self.key = Some(key);
        Ok((call, pending))
    }

    /// A signed call: acknowledges everything accepted so far.
    ///
    /// # Errors
    /// [`Error::LaneSpent`], [`Error::Flags`].
    pub fn signed(&mut self, request: Hash32, deadline: u32, flags: Flags) -> Result<(SignedCall, Pending), Error> {
        self.sign(request, deadline, flags, None)
    }

    fn sign(
        &mut self,
        request: Hash32,
        deadline: u32,
        flags: Flags,
        ephemeral: Option<[u8; 32]>,
    ) -> Result<(SignedCall, Pending), Error> {
        let head = self.next_head(deadline, flags)?;
        let call = SignedCall::sign(&self.signer.key, head, ephemeral, &request)?;
        self.state.seq = head.seq;
        self.state.signed_seq = head.seq;
        Ok((call, self.pending(*call.head(), request)))
    }

    /// A call with a tag.
    ///
    /// # Errors
    /// [`Error::MacNotAllowed`], [`Error::NeedOpen`], [`Error::LaneSpent`], [`Error::Flags`].
    pub fn tagged(&mut self, request: Hash32, deadline: u32, flags: Flags) -> Result<(MacCall, Pending), Error> {
        if !self.signer.authority.flags.has(GrantFlags::MAC) {
            return Err(Error::MacNotAllowed);
        }
        let head = self.next_head(deadline, flags)?;
        let call = self.key.as_ref().ok_or(Error::NeedOpen)?.tag_call(head, &request)?;
        self.state.seq = head.seq;
        Ok((call, self.pending(call.head, request)))
    }

    /// The acknowledgement alone, for the provider's `settle`: no call, no new number. Nothing when nothing is accepted.
    ///
    /// # Errors
    /// [`Error::Flags`], [`Error::ZeroSeq`] never happen for a lane that has accepted something.
    pub fn voucher(&mut self, deadline: u32) -> Result<Option<SignedCall>, Error> {
        if self.state.cum == 0 {
            return Ok(None);
        }
        let head = Head { seq: self.state.seq, ..self.head(deadline, Flags::VOUCHER) };
        let call = SignedCall::sign(&self.signer.key, head, None, &NO_REQUEST)?;
        self.state.signed_seq = self.state.seq;
        Ok(Some(call))
    }

    /// A signed head without a call, to ask the provider about this lane: it acknowledges what is accepted, maybe nothing.
    ///
    /// # Errors
    /// None for a lane that [`Self::new`] made.
    pub fn inquiry(&self, deadline: u32) -> Result<SignedCall, Error> {
        let head = Head { seq: self.state.seq.max(1), ..self.head(deadline, Flags::VOUCHER) };
        SignedCall::sign(&self.signer.key, head, None, &NO_REQUEST)
    }

    /// Accepts a signed Answer whose reply was lost, and returns its status: about call `seq` of this lane and its
    /// `request`, signed by the provider's key. A status from 200 to 499 is acknowledged; the caller must see to it that
    /// this happens once a call.
    ///
    /// Body and claims are lost with the reply, so that their digest cannot be checked. Nor is the time: the call was
    /// served when it was asked for, and its number was used once.
    ///
    /// # Errors
    /// [`Error::WrongReply`], [`Error::AnswerMismatch`], [`Error::BadSignature`]. Nothing is acknowledged then.
    pub fn accept_lost(&mut self, seq: u64, request: &Hash32, signed: &SignedAnswer) -> Result<u16, Error> {
        let answer = &signed.answer;
        let purchase = self.signer.authority.purchase;
        if answer.call != Some(CallRef { purchase, lane: self.lane, seq }) || answer.request != *request {
            return Err(Error::WrongReply);
        }
        if answer.by != AnswerBy::Provider(self.signer.provider) {
            return Err(Error::AnswerMismatch("another provider"));
        }
        signed.verify(&self.signer.provider_key).map_err(|_| Error::BadSignature)?;
        if (200..500).contains(&answer.status) {
            self.state.cum = self.state.cum.saturating_add(1);
        }
        Ok(answer.status)
    }

    /// Accepts a tag reply and returns its status. A status from 200 to 499 is acknowledged, once.
    ///
    /// # Errors
    /// [`Error::WrongReply`], [`Error::BadTag`], [`Error::NeedOpen`] when the lane had no key at the call;
    /// [`Error::AnswerMismatch`] when a signed Answer was asked for. Nothing is acknowledged then.
    pub fn accept_tag(&mut self, pending: &mut Pending, reply: &TagReply, body: &Hash32) -> Result<u16, Error> {
        if pending.head.flags.has(Flags::ANSWER) {
            return Err(Error::AnswerMismatch("a signed Answer was asked for"));
        }
        pending.key.as_ref().ok_or(Error::NeedOpen)?.check_reply(reply, &pending.head, &pending.request, body)?;
        self.settle(pending, reply.status)
    }

    /// Accepts a signed Answer and returns its status: signed by the provider's key, about this call and request, with
    /// the digest of this body and these claims, at most 60 s from ledger time `now`. A status from 200 to 499 is
    /// acknowledged, once. Whether the basis is what the listing promises is the caller's to check before.
    ///
    /// # Errors
    /// [`Error::WrongReply`], [`Error::AnswerMismatch`], [`Error::BadSignature`]. Nothing is acknowledged then.
    pub fn accept_answer(
        &mut self,
        pending: &mut Pending,
        signed: &SignedAnswer,
        body: &Hash32,
        claims_root: &Hash32,
        now: Seconds,
    ) -> Result<u16, Error> {
        let answer = &signed.answer;
        let Head { purchase, lane, seq, .. } = pending.head;
        if answer.call != Some(CallRef { purchase, lane, seq }) || answer.request != pending.request {
            return Err(Error::WrongReply);
        }
        let skew = now.since(answer.time).max(answer.time.since(now));
        let rules = [
            (answer.by == AnswerBy::Provider(self.signer.provider), "another provider"),
            (answer.answer == answer_digest(body, claims_root), "another body or other claims"),
            (skew <= ANSWER_SKEW, "another time"),
        ];
        if let Some((_, what)) = rules.into_iter().find(|(holds, _)| !holds) {
            return Err(Error::AnswerMismatch(what));
        }
        signed.verify(&self.signer.provider_key).map_err(|_| Error::BadSignature)?;
        self.settle(pending, answer.status)
    }

    /// Follows a provider that refuses numbers up to `floor`: goes on above it, with a new opening.
    pub fn raise_floor(&mut self, floor: u64) {
        self.state.seq = self.state.seq.max(floor);
        self.forget_key();
    }

    /// Follows a provider that has no key for this lane: the next call must open it.
    pub fn forget_key(&mut self) {
        self.key = None;
    }

    fn settle(&mut self, pending: &mut Pending, status: u16) -> Result<u16, Error> {
        // A reply that comes twice, or is given twice, is one call.
        let ours = pending.head.lane == self.lane && pending.head.purchase == self.signer.authority.purchase;
        if pending.settled || !ours {
            return Err(Error::WrongReply);
        }
        pending.settled = true;
        if (200..500).contains(&status) {
            self.state.cum = self.state.cum.saturating_add(1);
        }
        Ok(status)
    }

    fn next_head(&self, deadline: u32, flags: Flags) -> Result<Head, Error> {
        let seq = self.state.seq.checked_add(1).ok_or(Error::LaneSpent)?;
        if self.state.cum >= self.signer.authority.max_calls {
            return Err(Error::BudgetSpent { cum: self.state.cum, max: self.signer.authority.max_calls });
        }
        Ok(Head { seq, ..self.head(deadline, flags) })
    }

    fn head(&self, deadline: u32, flags: Flags) -> Head {
        Head { flags, purchase: self.signer.authority.purchase, lane: self.lane, seq: 0, cum: self.state.cum, deadline }
    }

    fn pending(&self, head: Head, request: Hash32) -> Pending {
        Pending { head, request, key: self.key.clone(), settled: false }
    }
}

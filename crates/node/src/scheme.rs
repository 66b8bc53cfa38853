//! The certificate scheme of consensus, and its certificates in Surety's own form.

use commonware_codec::{Copying, DecodeExt as _, Encode as _};
use commonware_consensus::simplex::scheme::bls12381_multisig;
use commonware_consensus::simplex::types::Finalization;
use commonware_consensus::{Epochable as _, Viewable as _};
use commonware_cryptography::bls12381::primitives::group::{G2, Private};
use commonware_cryptography::bls12381::primitives::variant::MinSig;
use commonware_cryptography::{ed25519, sha256};
use commonware_utils::ordered::BiMap;
use surety_primitives::Hash32;
use surety_primitives::bls::BlsSignature;
use surety_primitives::header::{Committee, Finality};
use surety_primitives::ids::Epoch;

use crate::block::public_key;

/// BLS12-381 multi-signatures of ed25519 identities: votes stay attributable.
pub type Scheme = bls12381_multisig::Scheme<ed25519::PublicKey, MinSig>;

/// Why a committee cannot vote.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// A key does not decode.
    #[error("seat {0} has a key that is not valid")]
    Key(usize),
    /// Two seats share a key.
    #[error("two seats share a key")]
    Shared,
    /// The secret belongs to no seat.
    #[error("the consensus key belongs to no seat of the committee")]
    NoSeat,
}

fn participants(committee: &Committee) -> Result<BiMap<ed25519::PublicKey, G2>, Error> {
    let seats = committee.seats.iter().enumerate().map(|(index, seat)| {
        let peer = public_key(&seat.peer.0).ok_or(Error::Key(index))?;
        let key = G2::decode(Copying(seat.key.0.as_slice())).map_err(|_| Error::Key(index))?;
        Ok((peer, key))
    });
    let seats = seats.collect::<Result<Vec<_>, _>>()?;
    BiMap::try_from(seats).map_err(|_| Error::Shared)
}

/// The scheme of one who votes.
///
/// # Errors
/// See [`Error`].
pub fn signer(committee: &Committee, secret: Private) -> Result<Scheme, Error> {
    Scheme::signer(&committee.namespace(), participants(committee)?, secret).ok_or(Error::NoSeat)
}

/// The scheme of one who follows.
///
/// # Errors
/// See [`Error`].
pub fn verifier(committee: &Committee) -> Result<Scheme, Error> {
    Ok(Scheme::verifier(&committee.namespace(), participants(committee)?))
}

/// A finalization in the form that light clients check; `None` if its signature does not decode.
#[must_use]
pub fn finality(finalization: &Finalization<Scheme, sha256::Digest>) -> Option<Finality> {
    let certificate = &finalization.certificate;
    let mut signature = [0; 48];
    signature.copy_from_slice(certificate.signature.get()?.encode().get(..48)?);
    let mut signers = 0_u64;
    for seat in certificate.signers.iter() {
        signers |= 1_u64.checked_shl(seat.get())?;
    }
    Some(Finality {
        epoch: Epoch(finalization.proposal.epoch().get()),
        view: finalization.proposal.view().get(),
        parent_view: finalization.proposal.parent.get(),
        digest: Hash32(finalization.proposal.payload.0),
        signers,
        signature: BlsSignature(signature),
    })
}

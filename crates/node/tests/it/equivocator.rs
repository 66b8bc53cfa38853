//! A seat that votes twice: for what the leader proposed, and for something else in the same view.

use commonware_codec::{Decode as _, Encode as _};
use commonware_consensus::simplex::types::{Notarize, Proposal, Vote};
use commonware_cryptography::ed25519::PublicKey;
use commonware_cryptography::sha256;
use commonware_p2p::{Receiver, Recipients, Sender};
use surety_node::scheme::Scheme;

/// Answers every notarize vote of others with two of its own.
pub(crate) async fn run(
    scheme: Scheme,
    (mut sender, mut receiver): (impl Sender<PublicKey = PublicKey>, impl Receiver<PublicKey = PublicKey>),
) {
    let mut last = 0;
    while let Ok((_, message)) = receiver.recv().await {
        let Ok(Vote::Notarize(vote)) = Vote::<Scheme, sha256::Digest>::decode_cfg(message, &()) else { continue };
        let proposal = vote.proposal;
        let view = proposal.round.view().get();
        if view <= last {
            continue;
        }
        last = view;
        let mut other = proposal.payload;
        other.0[0] ^= 1;
        let false_one = Proposal { payload: other, ..proposal.clone() };
        for proposal in [proposal, false_one] {
            let vote = Notarize::sign(&scheme, proposal).unwrap();
            sender.send(Recipients::All, Vote::<Scheme, sha256::Digest>::Notarize(vote).encode(), true);
        }
    }
}

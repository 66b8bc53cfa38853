//! Block headers and the proof that one is final, checked without any consensus code.

use borsh::{BorshDeserialize, BorshSerialize};
use serde::{Deserialize, Serialize};

use crate::bls::{self, BlsKey, BlsSignature};
use crate::hash::{Hash32, sha256};
use crate::ids::{Epoch, Height, NetworkId, Seconds};
use crate::typed_data::Bytes32;

/// Most seats of a committee (`design.md` 6).
pub const MAX_SEATS: usize = 64;

/// What a block says of itself; its digest is what the operators sign.
#[derive(Clone, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize, Serialize, Deserialize)]
pub struct Header {
    /// The network.
    pub network: NetworkId,
    /// The committee's epoch.
    pub epoch: Epoch,
    /// The consensus view in which it was proposed.
    pub view: u64,
    /// The view of its parent.
    pub parent_view: u64,
    /// The proposer's network identity (ed25519).
    pub leader: Bytes32,
    /// Digest of the parent.
    pub parent: Hash32,
    /// Its height; the genesis block is 1, below it nothing but an empty state.
    pub height: Height,
    /// Wall clock of the proposer in milliseconds since 1970; above the parent's.
    pub time_ms: u64,
    /// The ledger clock; advances by min(elapsed, 10 s) a block (`design.md` 5).
    pub clock: Seconds,
    /// Root over the hashes of its transactions.
    pub transactions_root: Hash32,
    /// Root over the digests of their receipts, in the same order: what became of each.
    pub receipts_root: Hash32,
    /// Root of the state after it: what rows are proven against.
    pub state_root: Hash32,
    /// Root of the store's operations log, for state sync.
    pub ops_root: Hash32,
    /// First operation that a syncing node needs.
    pub range_start: u64,
    /// One past the last operation.
    pub range_end: u64,
}

impl Header {
    /// The block's digest.
    #[must_use]
    pub fn digest(&self) -> Hash32 {
        sha256(&[b"surety/block/v1", &crate::codec::encode(self)])
    }
}

/// The operators' signatures that make a block final: an aggregate by a quorum of seats.
#[derive(Clone, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize, Serialize, Deserialize)]
pub struct Finality {
    /// The committee's epoch.
    pub epoch: Epoch,
    /// The view.
    pub view: u64,
    /// The view of the parent.
    pub parent_view: u64,
    /// Digest of the final block.
    pub digest: Hash32,
    /// Bit i (lowest first) is set where seat i signed; seats are in order of their network keys.
    pub signers: u64,
    /// The aggregate signature.
    pub signature: BlsSignature,
}

/// One seat of a committee.
#[derive(Clone, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize, Serialize, Deserialize)]
pub struct Seat {
    /// Network identity (ed25519).
    pub peer: Bytes32,
    /// BLS key, whose possession the ledger has checked.
    pub key: BlsKey,
}

/// The seats of an epoch on one network: what a light client trusts.
#[derive(Clone, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize, Serialize, Deserialize)]
pub struct Committee {
    /// The network.
    pub network: NetworkId,
    /// Hash of the chain specification: a committee of a test network signs nothing for another.
    pub genesis: Hash32,
    /// The epoch.
    pub epoch: Epoch,
    /// The seats, in rising order of `peer`.
    pub seats: Vec<Seat>,
}

/// Most headers between a header and the certified one.
pub const MAX_PATH: usize = 64;

/// Proof that a header is final: a certificate for it, or for a descendant that the headers between lead to. A block
/// whose own certificate never formed became final with a descendant.
#[derive(Clone, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize, Serialize, Deserialize)]
pub struct FinalHeader {
    /// The header.
    pub header: Header,
    /// Its descendants in rising order up to the certified one; empty if the header itself is certified. At most
    /// [`MAX_PATH`].
    pub path: Vec<Header>,
    /// The certificate of the last of them.
    pub finality: Finality,
}

/// Why a header is not believed to be final.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// Signed for another header.
    #[error("the certificate is for another block")]
    OtherBlock,
    /// The header or the certificate is of another network or epoch.
    #[error("the block is of another network or epoch")]
    OtherCommittee,
    /// The headers do not lead from the header to the certified one.
    #[error("the headers between the block and its certificate are not a chain")]
    BrokenPath,
    /// The committee is empty, too large, or not in order.
    #[error("the committee is not well formed")]
    BadCommittee,
    /// Fewer seats signed than a quorum.
    #[error("{signed} of {seats} seats signed, {quorum} are needed")]
    NoQuorum {
        /// Seats that signed.
        signed: usize,
        /// Seats of the committee.
        seats: usize,
        /// Seats needed.
        quorum: usize,
    },
    /// The aggregate signature does not hold.
    #[error(transparent)]
    Signature(#[from] bls::Error),
}

impl Committee {
    /// Votes that make a block final: n - floor((n - 1) / 3).
    #[must_use]
    pub const fn quorum(&self) -> usize {
        let n = self.seats.len();
        n - n.saturating_sub(1) / 3
    }

    /// The namespace of consensus votes; it binds network and genesis.
    #[must_use]
    pub fn namespace(&self) -> Vec<u8> {
        namespace(self.network, &self.genesis)
    }

    /// Whether the seats are in strictly rising order and no more than [`MAX_SEATS`].
    #[must_use]
    pub fn is_well_formed(&self) -> bool {
        let sorted = self.seats.is_sorted_by(|a, b| a.peer < b.peer);
        sorted && !self.seats.is_empty() && self.seats.len() <= MAX_SEATS
    }

    /// Checks that a header is final, by its own certificate or by a descendant's.
    ///
    /// # Errors
    /// See [`Error`].
    pub fn verify_final(&self, proven: &FinalHeader) -> Result<(), Error> {
        let mut last = &proven.header;
        if proven.path.len() > MAX_PATH {
            return Err(Error::BrokenPath);
        }
        for next in &proven.path {
            let follows = next.parent == last.digest() && last.height.0.checked_add(1) == Some(next.height.0);
            if !follows || next.network != self.network {
                return Err(Error::BrokenPath);
            }
            last = next;
        }
        self.verify(last, &proven.finality)
    }

    /// Checks that `header` is final: a quorum of these seats signed it.
    ///
    /// # Errors
    /// See [`Error`].
    pub fn verify(&self, header: &Header, finality: &Finality) -> Result<(), Error> {
        if header.digest() != finality.digest || header.view != finality.view {
            return Err(Error::OtherBlock);
        }
        let ours = header.network == self.network && header.epoch == self.epoch && finality.epoch == self.epoch;
        if !ours || header.parent_view != finality.parent_view {
            return Err(Error::OtherCommittee);
        }
        if !self.is_well_formed() || finality.signers.checked_shr(self.seats.len() as u32).unwrap_or(0) != 0 {
            return Err(Error::BadCommittee);
        }
        let signed = finality.signers.count_ones() as usize;
        if signed < self.quorum() {
            return Err(Error::NoQuorum { signed, seats: self.seats.len(), quorum: self.quorum() });
        }
        let keys: Vec<BlsKey> =
            self.seats.iter().enumerate().filter(|(i, _)| finality.signers >> i & 1 == 1).map(|(_, s)| s.key).collect();
        let namespace = [self.namespace().as_slice(), b"_FINALIZE"].concat();
        Ok(bls::verify_aggregate(&keys, &namespace, &finality.proposal(), &finality.signature)?)
    }
}

impl Finality {
    /// varint epoch | varint view | varint parent view | digest: the proposal that was voted on (`engine.md` 11).
    fn proposal(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(62);
        for number in [self.epoch.0, self.view, self.parent_view] {
            bls::varint(number, &mut bytes);
        }
        bytes.extend_from_slice(&self.digest.0);
        bytes
    }
}

/// The namespace of consensus votes on one network with one genesis.
#[must_use]
pub fn namespace(network: NetworkId, genesis: &Hash32) -> Vec<u8> {
    [b"surety/consensus/v1".as_slice(), &network.0.to_be_bytes(), &genesis.0].concat()
}

/// Root over the transactions' hashes in order.
#[must_use]
pub fn transactions_root(hashes: &[Hash32]) -> Hash32 {
    list_root("surety/transactions/v1", hashes)
}

/// Root over the receipts' digests in order.
#[must_use]
pub fn receipts_root(digests: &[Hash32]) -> Hash32 {
    list_root("surety/receipts/v1", digests)
}

fn list_root(context: &str, hashes: &[Hash32]) -> Hash32 {
    let joined: Vec<u8> = hashes.iter().flat_map(|hash| hash.0).collect();
    crate::hash::h(context, &[&(hashes.len() as u64).to_be_bytes(), &joined])
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::bls::BlsSecret;
    use blst::min_sig::AggregateSignature;

    fn fixture(signers: &[usize]) -> (Committee, Header, Finality) {
        let header = Header {
            network: NetworkId(7),
            epoch: Epoch(0),
            view: 300,
            parent_view: 299,
            leader: Bytes32([1; 32]),
            parent: Hash32([2; 32]),
            height: Height(5),
            time_ms: 1,
            clock: Seconds(1),
            transactions_root: transactions_root(&[]),
            receipts_root: receipts_root(&[]),
            state_root: Hash32([3; 32]),
            ops_root: Hash32([4; 32]),
            range_start: 0,
            range_end: 9,
        };
        fixture_of(signers, header)
    }

    fn fixture_of(signers: &[usize], header: Header) -> (Committee, Header, Finality) {
        let secrets: Vec<BlsSecret> = (1..=4).map(|n| BlsSecret::generate(&[n; 32]).unwrap()).collect();
        let seats =
            secrets.iter().enumerate().map(|(i, s)| Seat { peer: Bytes32([i as u8; 32]), key: s.key() }).collect();
        let committee = Committee { network: NetworkId(7), genesis: Hash32([9; 32]), epoch: Epoch(0), seats };
        let mut finality = Finality {
            epoch: Epoch(0),
            view: 300,
            parent_view: 299,
            digest: header.digest(),
            signers: 0,
            signature: BlsSignature([0; 48]),
        };
        let namespace = [committee.namespace().as_slice(), b"_FINALIZE"].concat();
        let parts: Vec<_> = signers
            .iter()
            .map(|i| {
                finality.signers |= 1 << i;
                let signed = secrets[*i].sign(&namespace, &finality.proposal());
                blst::min_sig::Signature::from_bytes(&signed.0).unwrap()
            })
            .collect();
        let sum = AggregateSignature::aggregate(&parts.iter().collect::<Vec<_>>(), true).unwrap();
        finality.signature = BlsSignature(sum.to_signature().to_bytes());
        (committee, header, finality)
    }

    #[test]
    fn three_of_four_seats_make_a_block_final_and_two_do_not() {
        let (committee, header, finality) = fixture(&[0, 2, 3]);
        assert_eq!(committee.verify(&header, &finality), Ok(()));
        let (committee, header, finality) = fixture(&[0, 2]);
        assert_eq!(committee.verify(&header, &finality), Err(Error::NoQuorum { signed: 2, seats: 4, quorum: 3 }));
    }

    #[test]
    fn a_certified_descendant_proves_its_ancestors_and_no_other_header() {
        let (committee, header, finality) = fixture(&[0, 1, 2]);
        let parent = Header { height: Height(4), ..header };
        let child = Header { parent: parent.digest(), ..header };
        let (_, _, signed) = fixture_of(&[0, 1, 2], child.clone());
        let proven = FinalHeader { header: parent.clone(), path: vec![child.clone()], finality: signed };
        assert_eq!(committee.verify_final(&proven), Ok(()));
        let other = Header { state_root: Hash32([8; 32]), ..parent };
        let forged = FinalHeader { header: other, ..proven.clone() };
        assert_eq!(committee.verify_final(&forged), Err(Error::BrokenPath));
        let skipped = FinalHeader { path: vec![child; MAX_PATH + 1], ..proven.clone() };
        assert_eq!(committee.verify_final(&skipped), Err(Error::BrokenPath));
        let unsigned = FinalHeader { finality, ..proven };
        assert_eq!(committee.verify_final(&unsigned), Err(Error::OtherBlock));
    }

    #[test]
    fn another_header_another_network_and_added_signers_are_refused() {
        let (committee, header, finality) = fixture(&[0, 1, 2]);
        let changed = Header { state_root: Hash32([8; 32]), ..header };
        assert_eq!(committee.verify(&changed, &finality), Err(Error::OtherBlock));
        let elsewhere = Committee { network: NetworkId(8), ..committee.clone() };
        assert_eq!(elsewhere.verify(&header, &finality), Err(Error::OtherCommittee));
        let forked = Committee { genesis: Hash32([1; 32]), ..committee.clone() };
        assert_eq!(forked.verify(&header, &finality), Err(Error::Signature(bls::Error::Mismatch)));
        let padded = Finality { signers: 0b1111, ..finality };
        assert_eq!(committee.verify(&header, &padded), Err(Error::Signature(bls::Error::Mismatch)));
        let outside = Finality { signers: 0b1_0111, ..finality };
        assert_eq!(committee.verify(&header, &outside), Err(Error::BadCommittee));
    }
}

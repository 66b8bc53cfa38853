//! The block as consensus carries it: a header and its transactions, encoded once.
//!
//! Always true: the digest covers the header alone, and the header's transactions root covers the body, so that two
//! blocks with one digest are the same block. Bytes that break this do not decode.

use std::sync::Arc;

use borsh::{BorshDeserialize, BorshSerialize};
use bytes::{BufMut, Bytes};
use commonware_codec::{Buf, Copying, DecodeExt as _, EncodeSize, Error as CodecError, RangeCfg, Read, Write};
use commonware_consensus::simplex::types::Context;
use commonware_consensus::types::{Epoch, Height, Round, View};
use commonware_consensus::{Block as ConsensusBlock, BoundedBlock, CertifiableBlock, Heightable};
use commonware_cryptography::{Digestible, ed25519, sha256 as sha};
use surety_primitives::Hash32;
use surety_primitives::hash::sha256;
use surety_primitives::header::{Header, transactions_root};

use surety_ledger::SignedTransaction;

/// Most bytes of an encoded block: what bounds a proposal, a gossip message and a fetch.
pub const MAX_BLOCK_BYTES: usize = 1 << 20;

/// What simplex says about a proposal: round, leader, parent.
pub type ConsensusContext = Context<sha::Digest, ed25519::PublicKey>;

/// A header and the transactions that it names.
#[derive(Clone, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub struct Body {
    /// What the operators sign.
    pub header: Header,
    /// In the order of execution.
    pub transactions: Vec<SignedTransaction>,
}

/// A block whose body belongs to its header.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Block {
    body: Arc<Body>,
    leader: ed25519::PublicKey,
    bytes: Bytes,
    digest: Hash32,
}

/// Why bytes or parts are not a block.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The leader is not a key.
    #[error("the leader is not an ed25519 key")]
    Leader,
    /// The body is not what the header says.
    #[error("the transactions are not those of the header")]
    Transactions,
    /// Above [`MAX_BLOCK_BYTES`].
    #[error("{0} bytes are more than a block may have")]
    TooLarge(usize),
    /// Not borsh.
    #[error("not a block: {0}")]
    Malformed(String),
}

impl Block {
    /// Joins a header and its transactions.
    ///
    /// # Errors
    /// See [`Error`].
    pub fn new(body: Body) -> Result<Self, Error> {
        let bytes = surety_primitives::codec::encode(&body);
        Self::checked(body, bytes.into())
    }

    /// Reads a block from its encoding, as the store and the network hold it.
    ///
    /// # Errors
    /// See [`Error`].
    pub fn from_bytes(bytes: Bytes) -> Result<Self, Error> {
        if bytes.len() > MAX_BLOCK_BYTES {
            return Err(Error::TooLarge(bytes.len()));
        }
        let body = Body::try_from_slice(&bytes).map_err(|error| Error::Malformed(error.to_string()))?;
        Self::checked(body, bytes)
    }

    fn checked(body: Body, bytes: Bytes) -> Result<Self, Error> {
        if bytes.len() > MAX_BLOCK_BYTES {
            return Err(Error::TooLarge(bytes.len()));
        }
        if root_of(&body.transactions) != body.header.transactions_root {
            return Err(Error::Transactions);
        }
        let leader = public_key(&body.header.leader.0).ok_or(Error::Leader)?;
        let digest = body.header.digest();
        Ok(Self { body: Arc::new(body), leader, bytes, digest })
    }

    /// What the operators sign.
    #[must_use]
    pub fn header(&self) -> &Header {
        &self.body.header
    }

    /// In the order of execution.
    #[must_use]
    pub fn transactions(&self) -> &[SignedTransaction] {
        &self.body.transactions
    }

    /// The header's digest.
    #[must_use]
    pub const fn hash(&self) -> Hash32 {
        self.digest
    }

    /// The encoding.
    #[must_use]
    pub const fn bytes(&self) -> &Bytes {
        &self.bytes
    }
}

/// Hash of a transaction as it travels, signature included: the body must follow from the header to the last byte.
#[must_use]
pub fn travel_hash(transaction: &SignedTransaction) -> Hash32 {
    sha256(&[&surety_primitives::codec::encode(transaction)])
}

/// The transactions root of a block with these transactions.
#[must_use]
pub fn root_of(transactions: &[SignedTransaction]) -> Hash32 {
    let hashes: Vec<Hash32> = transactions.iter().map(travel_hash).collect();
    transactions_root(&hashes)
}

/// Reads a network identity.
pub(crate) fn public_key(bytes: &[u8; 32]) -> Option<ed25519::PublicKey> {
    ed25519::PublicKey::decode(Copying(bytes.as_slice())).ok()
}

/// The 32 bytes of a network identity.
pub(crate) fn key_bytes(key: &ed25519::PublicKey) -> [u8; 32] {
    let mut bytes = [0; 32];
    bytes.copy_from_slice(key.as_ref());
    bytes
}

impl Write for Block {
    fn write(&self, buf: &mut impl BufMut) {
        self.bytes.write(buf);
    }
}

impl EncodeSize for Block {
    fn encode_size(&self) -> usize {
        self.bytes.encode_size()
    }
}

impl Read for Block {
    type Cfg = ();

    fn read_cfg(buf: &mut impl Buf, (): &()) -> Result<Self, CodecError> {
        let bytes = Bytes::read_cfg(buf, &RangeCfg::from(..=MAX_BLOCK_BYTES))?;
        Self::from_bytes(bytes).map_err(|error| CodecError::Wrapped("block", error.into()))
    }
}

impl BoundedBlock for Block {
    fn max_encode_size((): &()) -> usize {
        // The length before the bytes takes up to five.
        MAX_BLOCK_BYTES + 5
    }
}

impl Digestible for Block {
    type Digest = sha::Digest;

    fn digest(&self) -> sha::Digest {
        sha::Digest(self.digest.0)
    }
}

impl Heightable for Block {
    fn height(&self) -> Height {
        Height::new(self.header().height.0)
    }
}

impl ConsensusBlock for Block {
    fn parent(&self) -> sha::Digest {
        sha::Digest(self.header().parent.0)
    }
}

impl CertifiableBlock for Block {
    type Context = ConsensusContext;

    fn context(&self) -> ConsensusContext {
        let header = self.header();
        Context {
            round: Round::new(Epoch::new(header.epoch.0), View::new(header.view)),
            leader: self.leader.clone(),
            parent: (View::new(header.parent_view), sha::Digest(header.parent.0)),
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use commonware_codec::{Decode as _, Encode as _};
    use commonware_cryptography::Signer as _;
    use surety_ledger::Transaction;
    use surety_ledger::bank::Transfer;
    use surety_primitives::ids::{Epoch, Height, NetworkId, Seconds};
    use surety_primitives::typed_data::Bytes32;
    use surety_primitives::wallet::AccountKey;
    use surety_primitives::{Amount, CALL};

    fn body() -> Body {
        let to = AccountKey::from_label("bob").address();
        let transaction = Transaction {
            network: NetworkId(7),
            nonce: 0,
            expires: Seconds(9),
            fee: CALL,
            action: Transfer { to, amount: Amount(1) }.into(),
        };
        let transactions = vec![transaction.sign(&AccountKey::from_label("ana"))];
        let leader = ed25519::PrivateKey::from_seed(1).public_key();
        let header = Header {
            network: NetworkId(7),
            epoch: Epoch(0),
            view: 3,
            parent_view: 2,
            leader: Bytes32(key_bytes(&leader)),
            parent: Hash32([2; 32]),
            height: Height(2),
            time_ms: 5,
            clock: Seconds(6),
            transactions_root: root_of(&transactions),
            receipts_root: Hash32::default(),
            state_root: Hash32([3; 32]),
            ops_root: Hash32([4; 32]),
            range_start: 0,
            range_end: 9,
        };
        Body { header, transactions }
    }

    #[test]
    fn a_block_reads_back_as_it_was_written() {
        let block = Block::new(body()).unwrap();
        let read = Block::decode_cfg(block.encode(), &()).unwrap();
        assert_eq!(read, block);
        assert_eq!(read.digest().0, block.header().digest().0);
        assert!(block.encode_size() <= Block::max_encode_size(&()));
    }

    #[test]
    fn a_body_that_is_not_the_headers_does_not_decode() {
        let swapped = Body { transactions: Vec::new(), ..body() };
        assert_eq!(Block::new(swapped.clone()), Err(Error::Transactions));
        let bytes = surety_primitives::codec::encode(&swapped);
        assert_eq!(Block::from_bytes(bytes.into()), Err(Error::Transactions));
        let mut resigned = body();
        resigned.transactions[0].signature.0[5] ^= 1;
        assert_eq!(Block::new(resigned), Err(Error::Transactions));
    }

    #[test]
    fn other_bytes_are_refused() {
        let mut bytes = Block::new(body()).unwrap().bytes().to_vec();
        bytes.push(0);
        assert!(matches!(Block::from_bytes(bytes.into()), Err(Error::Malformed(_))));
        assert!(matches!(Block::from_bytes(Bytes::new()), Err(Error::Malformed(_))));
        let large = vec![0; MAX_BLOCK_BYTES + 1];
        assert_eq!(Block::from_bytes(large.into()), Err(Error::TooLarge(MAX_BLOCK_BYTES + 1)));
        let mut headless = body();
        headless.header.leader = Bytes32([2; 32]);
        assert_eq!(Block::new(headless), Err(Error::Leader));
    }
}

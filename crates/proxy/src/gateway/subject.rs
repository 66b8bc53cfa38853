//! What is screened: transactions, user operations, and what a node would sign.
//!
//! Invariant: the bytes of a [`Screened`] transaction are the only encoding of what was decoded from them, so that a node
//! cannot read another transaction in them.

use alloy_consensus::{Transaction as _, TxEip4844Variant, TxEnvelope};
use alloy_eips::eip2718::{Decodable2718 as _, Encodable2718 as _};
use alloy_primitives::{Address, B256, Bytes, U256};
use surety_primitives::Hash32;
use surety_primitives::wallet;

/// Most bytes of a transaction: nine blobs and their proofs, and as much again.
pub const MAX_TRANSACTION: usize = 4 << 20;

/// What a check looks at.
#[derive(Clone, Debug)]
pub enum Subject {
    /// A signed transaction.
    Transaction(Box<Screened>),
    /// An operation of ERC-4337.
    UserOperation(Box<UserOperation>),
    /// Typed data of EIP-712 that somebody asks a key to sign.
    TypedData {
        /// Whose key.
        signer: Option<Address>,
        /// The typed data's JSON, in one plain form without duplicate keys.
        json: String,
    },
    /// Bytes that somebody asks a key to sign.
    Message {
        /// Whose key.
        signer: Option<Address>,
        /// The bytes.
        message: Bytes,
    },
    /// A transaction that is not signed yet.
    Unsigned(Box<Unsigned>),
}

/// A signed transaction that was decoded and whose sender is known.
#[derive(Clone, Debug)]
pub struct Screened {
    /// Its one encoding (EIP-2718), blobs included: what is forwarded.
    pub raw: Bytes,
    /// What was decoded.
    pub envelope: TxEnvelope,
    /// Who signed.
    pub sender: Address,
    /// Its hash.
    pub hash: B256,
    /// The chain it names; `None` for an old transaction that is valid on any chain.
    pub chain_id: Option<u64>,
}

/// An operation of ERC-4337, of any version of the entry point.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UserOperation {
    /// Where it goes.
    pub entry_point: Address,
    /// The account that acts.
    pub sender: Address,
    /// Its number.
    pub nonce: U256,
    /// What the account is called with.
    pub call_data: Bytes,
    /// Who deploys the account first, and with what.
    pub factory: Option<(Address, Bytes)>,
    /// Who pays, and with what.
    pub paymaster: Option<(Address, Bytes)>,
    /// Whose code the account takes on (EIP-7702).
    pub delegate: Option<Address>,
    /// The account's signature.
    pub signature: Bytes,
}

/// A transaction before it is signed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Unsigned {
    /// Who would sign; `None` where the node chooses.
    pub from: Option<Address>,
    /// To whom; `None` deploys.
    pub to: Option<Address>,
    /// Wei.
    pub value: U256,
    /// Call data, or init code.
    pub data: Bytes,
    /// Gas units.
    pub gas: Option<u64>,
    /// The account's next number.
    pub nonce: Option<u64>,
    /// The chain.
    pub chain_id: Option<u64>,
}

/// Why bytes are no transaction that can be screened.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SubjectError {
    /// Longer than is read.
    #[error("a transaction has at most {MAX_TRANSACTION} bytes")]
    Long,
    /// No known type, or not its fields.
    #[error("the transaction cannot be decoded: {0}")]
    Undecodable(String),
    /// Another encoding of the same transaction exists, and is the canonical one.
    #[error("the transaction is not in its canonical encoding")]
    NotCanonical,
    /// A blob transaction as blocks hold it: nodes take it with its blobs.
    #[error("a blob transaction comes with its sidecar")]
    NoSidecar,
    /// Commitments that are not those the transaction names.
    #[error("the blobs' commitments are not those that the transaction names")]
    OtherBlobs,
    /// The signature is malformed, or in its high-s form.
    #[error("the signature is refused: {0}")]
    Signature(wallet::Error),
    /// Signed for another chain.
    #[error("the transaction is for chain {found}, this gateway serves chain {expected}")]
    Chain {
        /// What the transaction says.
        found: u64,
        /// What the gateway serves.
        expected: u64,
    },
    /// Valid on any chain.
    #[error("the transaction names no chain: it could be replayed on every one")]
    AnyChain,
}

/// Which chain a transaction must name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ChainRule {
    /// The chain.
    pub id: u64,
    /// Whether old transactions that name none are taken (EIP-155).
    pub allow_unprotected: bool,
}

impl Screened {
    /// Decodes a transaction and recovers its sender.
    ///
    /// # Errors
    /// [`SubjectError`].
    pub fn read(raw: &Bytes, chain: ChainRule) -> Result<Self, SubjectError> {
        if raw.len() > MAX_TRANSACTION {
            return Err(SubjectError::Long);
        }
        let envelope =
            TxEnvelope::decode_2718_exact(raw).map_err(|error| SubjectError::Undecodable(error.to_string()))?;
        if envelope.encode_2718_len() != raw.len() || envelope.encoded_2718() != raw.as_ref() {
            return Err(SubjectError::NotCanonical);
        }
        check_blobs(&envelope)?;
        let chain_id = envelope.chain_id();
        match chain_id {
            Some(found) if found != chain.id => return Err(SubjectError::Chain { found, expected: chain.id }),
            None if !chain.allow_unprotected => return Err(SubjectError::AnyChain),
            _ => {}
        }
        let sender = sender_of(&envelope)?;
        Ok(Self { raw: raw.clone(), sender, hash: *envelope.tx_hash(), chain_id, envelope })
    }

    /// To whom; `None` deploys.
    #[must_use]
    pub fn to(&self) -> Option<Address> {
        self.envelope.to()
    }

    /// Wei.
    #[must_use]
    pub fn value(&self) -> U256 {
        self.envelope.value()
    }

    /// Call data, or init code.
    #[must_use]
    pub fn input(&self) -> &Bytes {
        self.envelope.input()
    }
}

fn check_blobs(envelope: &TxEnvelope) -> Result<(), SubjectError> {
    let TxEnvelope::Eip4844(signed) = envelope else { return Ok(()) };
    let TxEip4844Variant::TxEip4844WithSidecar(blobs) = signed.tx() else { return Err(SubjectError::NoSidecar) };
    let hashes = &blobs.tx.blob_versioned_hashes;
    let sidecar = &blobs.sidecar;
    let fits = sidecar.blobs().len() == hashes.len() && sidecar.versioned_hashes().eq(hashes.iter().copied());
    if fits { Ok(()) } else { Err(SubjectError::OtherBlobs) }
}

/// The signer, by libsecp256k1: five times as fast as the decoder's own recovery.
fn sender_of(envelope: &TxEnvelope) -> Result<Address, SubjectError> {
    let signature = envelope.signature();
    let mut bytes = [0; 65];
    bytes[..32].copy_from_slice(&signature.r().to_be_bytes::<32>());
    bytes[32..64].copy_from_slice(&signature.s().to_be_bytes::<32>());
    bytes[64] = u8::from(signature.v());
    let digest = Hash32(envelope.signature_hash().0);
    wallet::Signature(bytes).recover(&digest).map_err(SubjectError::Signature)
}

impl Subject {
    /// Whose assets are at stake.
    #[must_use]
    pub fn sender(&self) -> Option<Address> {
        match self {
            Self::Transaction(screened) => Some(screened.sender),
            Self::UserOperation(operation) => Some(operation.sender),
            Self::TypedData { signer, .. } | Self::Message { signer, .. } => *signer,
            Self::Unsigned(unsigned) => unsigned.from,
        }
    }

    /// The hash of a signed transaction.
    #[must_use]
    pub fn hash(&self) -> Option<B256> {
        match self {
            Self::Transaction(screened) => Some(screened.hash),
            _ => None,
        }
    }

    /// Wei that leave with it directly; `None` where that does not show in it.
    #[must_use]
    pub fn value(&self) -> Option<U256> {
        match self {
            Self::Transaction(screened) => Some(screened.value()),
            Self::Unsigned(unsigned) => Some(unsigned.value),
            _ => None,
        }
    }
}

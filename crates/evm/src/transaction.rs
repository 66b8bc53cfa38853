//! Signed transactions as they come over the wire, and running them under all rules of the chain.

use alloy_consensus::transaction::SignerRecoverable;
use alloy_consensus::{Transaction as _, TxEnvelope};
use alloy_eips::eip2718::{Decodable2718, Encodable2718};
use alloy_eips::eip4844::env_settings::EnvKzgSettings;
use alloy_primitives::{Address, B256, Bytes, TxKind};
use revm::context::{CfgEnv, TxEnv};

use crate::{Call, SPEC, StateError};

/// The longest transaction that is read, in bytes: nodes take no longer one without blobs.
pub const MAX_TRANSACTION_BYTES: usize = 128 * 1024;
/// The longest transaction with blobs that is read, in bytes: six blobs with their proofs.
pub const MAX_BLOB_TRANSACTION_BYTES: usize = 1024 * 1024;
/// Blobs that fit in one transaction since Osaka (EIP-7594).
pub const MAX_BLOBS: u64 = 6;

/// Why bytes are not a transaction that any node should see.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TransactionError {
    /// Longer than [`MAX_TRANSACTION_BYTES`], or with blobs than [`MAX_BLOB_TRANSACTION_BYTES`].
    #[error("a transaction of {0} bytes is too long")]
    TooLong(usize),
    /// Not an EIP-2718 transaction of type 0 to 4.
    #[error("not a transaction: {0}")]
    Malformed(String),
    /// Another encoding of the same transaction would be shorter or different: two readers could disagree on it.
    #[error("the encoding is not canonical")]
    NotCanonical,
    /// The signature recovers no sender, or its `s` is in the upper half (EIP-2).
    #[error("the signature is not valid")]
    Signature,
    /// The sidecar does not fit the blob hashes, or a proof is wrong.
    #[error("the blobs are not valid: {0}")]
    Blobs(String),
}

/// A signed transaction of type 0 to 4, with its sender.
#[derive(Clone, Debug)]
pub struct Transaction {
    envelope: TxEnvelope,
    sender: Address,
    hash: B256,
    raw: Bytes,
}

impl Transaction {
    /// Reads a transaction in its network form: blobs come with their sidecar, or without it from a block.
    ///
    /// # Errors
    /// When the bytes are anything but one canonical transaction with a good signature.
    pub fn decode(raw: &[u8]) -> Result<Self, TransactionError> {
        let limit = if raw.first() == Some(&3) { MAX_BLOB_TRANSACTION_BYTES } else { MAX_TRANSACTION_BYTES };
        if raw.len() > limit {
            return Err(TransactionError::TooLong(raw.len()));
        }
        let envelope =
            TxEnvelope::decode_2718_exact(raw).map_err(|error| TransactionError::Malformed(error.to_string()))?;
        // What goes on is encoded anew from what was read. That must be the very same bytes, or two readers may disagree.
        let encoded = envelope.encoded_2718();
        if encoded != raw {
            return Err(TransactionError::NotCanonical);
        }
        let sender = envelope.recover_signer().map_err(|_| TransactionError::Signature)?;
        Ok(Self { hash: *envelope.tx_hash(), envelope, sender, raw: encoded.into() })
    }

    /// A transaction that was read and whose sender was recovered elsewhere; `raw` is its one encoding.
    pub fn recovered(envelope: TxEnvelope, sender: Address, raw: Bytes) -> Self {
        Self { hash: *envelope.tx_hash(), envelope, sender, raw }
    }

    /// The transaction with all its fields, and with its sidecar if it came with one.
    pub const fn envelope(&self) -> &TxEnvelope {
        &self.envelope
    }

    /// Who signed it.
    pub const fn sender(&self) -> Address {
        self.sender
    }

    /// Its hash, which leaves the sidecar out.
    pub const fn hash(&self) -> B256 {
        self.hash
    }

    /// Its canonical encoding, made from what was read.
    pub const fn raw(&self) -> &Bytes {
        &self.raw
    }

    /// Checks blobs against their commitments, hashes and proofs: milliseconds, so it is not part of decoding.
    ///
    /// # Errors
    /// [`TransactionError::Blobs`] when they do not fit; never for transactions without blobs.
    pub fn check_blobs(&self) -> Result<(), TransactionError> {
        let TxEnvelope::Eip4844(signed) = &self.envelope else {
            return Ok(());
        };
        signed.tx().validate(EnvKzgSettings::Default.get()).map_err(|error| TransactionError::Blobs(error.to_string()))
    }

    /// The same as a call to try out, with the gas price that it pays at a base fee (in wei).
    pub fn call(&self, base_fee: u64) -> Call {
        Call {
            from: self.sender,
            to: self.envelope.to(),
            value: self.envelope.value(),
            data: self.envelope.input().clone(),
            gas: Some(self.envelope.gas_limit()),
            gas_price: Some(self.envelope.effective_gas_price(Some(base_fee))),
            access_list: self.envelope.access_list().cloned().unwrap_or_default(),
            authorizations: self.envelope.authorization_list().unwrap_or_default().to_vec(),
            blob_hashes: self.envelope.blob_versioned_hashes().unwrap_or_default().to_vec(),
        }
    }

    pub(crate) fn environment(&self) -> TxEnv {
        let envelope = &self.envelope;
        let mut transaction = TxEnv {
            tx_type: envelope.tx_type() as u8,
            caller: self.sender,
            gas_limit: envelope.gas_limit(),
            gas_price: envelope.max_fee_per_gas(),
            kind: envelope.to().map_or(TxKind::Create, TxKind::Call),
            value: envelope.value(),
            data: envelope.input().clone(),
            nonce: envelope.nonce(),
            chain_id: envelope.chain_id(),
            access_list: envelope.access_list().cloned().unwrap_or_default(),
            gas_priority_fee: envelope.max_priority_fee_per_gas(),
            blob_hashes: envelope.blob_versioned_hashes().unwrap_or_default().to_vec(),
            max_fee_per_blob_gas: envelope.max_fee_per_blob_gas().unwrap_or_default(),
            authorization_list: Vec::new(),
        };
        transaction.set_signed_authorization(envelope.authorization_list().unwrap_or_default().to_vec());
        transaction
    }
}

/// Why a signed transaction cannot be in a block now. It changed nothing.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ExecuteError {
    /// State could not be read.
    #[error(transparent)]
    State(#[from] StateError),
    /// A rule of the chain forbids it.
    #[error("{message}")]
    Refused {
        /// The rule's stable name, such as `nonce_too_low` or `insufficient_funds`.
        rule: &'static str,
        /// The same for people, with numbers.
        message: String,
    },
}

/// All rules of the chain.
pub(crate) fn strict(chain_id: u64) -> CfgEnv {
    let mut configuration = CfgEnv::new_with_spec(SPEC).with_chain_id(chain_id);
    configuration.max_blobs_per_tx = Some(MAX_BLOBS);
    configuration
}

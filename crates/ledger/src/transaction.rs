//! Transactions: an action with its signer's nonce, expiry and fee, signed as EIP-712 typed data.

use borsh::{BorshDeserialize, BorshSerialize};
use serde::{Deserialize, Serialize};
use surety_primitives::typed_data::{self, Member, TypedField};
use surety_primitives::wallet::{AccountKey, Signature};
use surety_primitives::{Address, Amount, Hash32, NetworkId, Seconds, hash};

use crate::action::AnyAction;
use crate::error::Result;

/// Most bytes of an encoded transaction.
pub const MAX_BYTES: usize = 64 * 1024;

errors! {
    /// Why a transaction cannot stand in a block, whatever its action.
    pub enum Error {
        /// Recovers to no account.
        #[error("the signature is not valid: {reason}")]
        1 => BadSignature {
            /// What is wrong with it.
            reason: surety_primitives::wallet::Error,
        },
        /// Signed for another network.
        #[error("signed for network {signed}, this is network {network}")]
        2 => WrongNetwork {
            /// The network it was signed for.
            signed: NetworkId,
            /// The network here.
            network: NetworkId,
        },
        /// Not the account's next transaction.
        #[error("the account's next nonce is {expected}, not {given}")]
        3 => BadNonce {
            /// The nonce that would do.
            expected: u64,
            /// The nonce in the transaction.
            given: u64,
        },
        /// Its time is over on the ledger clock.
        #[error("expired at {expires}, the ledger clock shows {now}")]
        4 => Expired {
            /// Its expiry.
            expires: Seconds,
            /// The ledger clock.
            now: Seconds,
        },
        /// Offers less than the action costs.
        #[error("a fee of {needed} CALL is needed, {offered} is offered")]
        5 => FeeShort {
            /// The least fee.
            needed: Amount,
            /// The fee in the transaction.
            offered: Amount,
        },
        /// The account does not hold the fee.
        #[error("the account holds {balance} CALL, the fee is {fee}")]
        6 => CannotPayFee {
            /// What it holds.
            balance: Amount,
            /// The fee.
            fee: Amount,
        },
        /// Not an encoding of a transaction.
        #[error("not a transaction: {reason}")]
        7 => Malformed {
            /// What the codec says.
            reason: String,
        },
        /// More bytes than a transaction may have.
        #[error("{bytes} bytes are more than the {limit} of a transaction", limit = MAX_BYTES)]
        8 => TooLarge {
            /// Its size.
            bytes: usize,
        },
    }
}

/// What is signed.
#[derive(Clone, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize, Serialize, Deserialize)]
pub struct Transaction {
    /// The network that it is for.
    pub network: NetworkId,
    /// The signer's transactions so far.
    pub nonce: u64,
    /// The last moment, on the ledger clock, at which it may stand in a block.
    pub expires: Seconds,
    /// What is paid for it, whatever it comes to; at least the action's fee.
    pub fee: Amount,
    /// What is asked.
    #[serde(flatten)]
    pub action: AnyAction,
}

/// The fields that every typed document carries behind the action's own. Their names begin with `tx_`, which no action's
/// field does: a wallet refuses a struct that has two fields of one name.
pub(crate) fn members() -> Vec<Member> {
    vec![("tx_nonce", u64::type_name()), ("tx_expires", Seconds::type_name()), ("tx_fee", Amount::type_name())]
}

impl Transaction {
    /// What the wallet signs (EIP-712).
    #[must_use]
    pub fn signing_hash(&self) -> Hash32 {
        let fields = [self.nonce.word(), self.expires.word(), self.fee.word()].concat();
        typed_data::signing_hash(&typed_data::domain_separator(self.network), &self.action.struct_hash(&fields))
    }

    /// The JSON for `eth_signTypedData_v4`.
    #[must_use]
    pub fn typed_data(&self) -> serde_json::Value {
        let (members, types, mut message) = self.action.typed_parts();
        if let Some(fields) = message.as_object_mut() {
            fields.insert("tx_nonce".to_owned(), self.nonce.message());
            fields.insert("tx_expires".to_owned(), self.expires.message());
            fields.insert("tx_fee".to_owned(), self.fee.message());
        }
        typed_data::document(self.network, self.action.name(), &members, &types, message)
    }

    /// Signs it.
    #[must_use]
    pub fn sign(self, key: &AccountKey) -> SignedTransaction {
        let signature = key.sign(&self.signing_hash());
        SignedTransaction { transaction: self, signature }
    }
}

/// A transaction with its signature, as it travels.
#[derive(Clone, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize, Serialize, Deserialize)]
pub struct SignedTransaction {
    /// What was signed.
    #[serde(flatten)]
    pub transaction: Transaction,
    /// By whom: the account is recovered from it.
    pub signature: Signature,
}

impl SignedTransaction {
    /// Reads one from bytes.
    ///
    /// # Errors
    /// [`Error::TooLarge`], [`Error::Malformed`].
    pub fn decode(bytes: &[u8]) -> std::result::Result<Self, Error> {
        ensure!(bytes.len() <= MAX_BYTES, Error::TooLarge { bytes: bytes.len() });
        surety_primitives::codec::decode(bytes, MAX_BYTES)
            .map_err(|error| Error::Malformed { reason: error.to_string() })
    }

    /// Checks signature and action, as far as that needs no state. The costly part: done once a node, in parallel.
    ///
    /// # Errors
    /// [`Error::BadSignature`], [`Error::WrongNetwork`], or the action's own rejection.
    pub fn verify(self, network: NetworkId) -> Result<VerifiedTransaction> {
        let signed = self.transaction.network;
        ensure!(signed == network, Error::WrongNetwork { signed, network });
        self.transaction.action.check()?;
        let digest = self.transaction.signing_hash();
        let signer = self.signature.recover(&digest).map_err(|reason| Error::BadSignature { reason })?;
        let hash = hash::h("surety/transaction/v1", &[&digest.0, signer.as_slice()]);
        let bytes = surety_primitives::codec::encode(&self).len();
        ensure!(bytes <= MAX_BYTES, Error::TooLarge { bytes });
        Ok(VerifiedTransaction { signed: self, signer, hash, bytes })
    }
}

/// A transaction whose signer is known. Only [`SignedTransaction::verify`] makes one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VerifiedTransaction {
    signed: SignedTransaction,
    signer: Address,
    hash: Hash32,
    bytes: usize,
}

impl VerifiedTransaction {
    /// The account that signed it.
    #[must_use]
    pub const fn signer(&self) -> Address {
        self.signer
    }

    /// Its name: what was signed and by whom, so that another form of the same signature is the same transaction.
    #[must_use]
    pub const fn hash(&self) -> Hash32 {
        self.hash
    }

    /// Its encoded size.
    #[must_use]
    pub const fn bytes(&self) -> usize {
        self.bytes
    }

    /// What was signed.
    #[must_use]
    pub const fn transaction(&self) -> &Transaction {
        &self.signed.transaction
    }

    /// As it travels.
    #[must_use]
    pub const fn signed(&self) -> &SignedTransaction {
        &self.signed
    }
}

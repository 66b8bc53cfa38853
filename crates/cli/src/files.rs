//! What can be carried away and checked without a network: grants, answers, receipts.

use std::collections::BTreeMap;

use anyhow::{Context, Result, bail, ensure};
use serde::{Deserialize, Serialize};
use surety_client::LightClient;
use surety_ledger::market::state::{PROVIDER_KEYS, PURCHASES, ProviderKey, PurchaseRecord};
use surety_ledger::{Error as LedgerError, Receipt, SignedTransaction, VerifiedTransaction};
use surety_primitives::access::{body_hash, request_hash};
use surety_primitives::answer::claims::Claims;
use surety_primitives::answer::{Answer, AnswerBy, SignedAnswer, answer_digest};
use surety_primitives::api::ProvenRow;
use surety_primitives::header::{FinalHeader, receipts_root, transactions_root};
use surety_primitives::keys::PublicKey;
use surety_primitives::typed_data::{Blob, Bytes32};
use surety_primitives::{Hash32, PurchaseId};

/// A purchase with the proof that it stands on the ledger.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct GrantFile {
    /// The purchase.
    pub purchase: PurchaseId,
    /// Its row.
    pub row: ProvenRow,
}

/// A signed Answer with what it answers, and the proof of the key that signed it.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct AnswerFile {
    /// The Answer and its signature, borsh.
    pub signed: Blob,
    /// What was asked.
    pub request: RequestFile,
    /// The body that came.
    pub body: Blob,
    /// The claims, as they stood in the header; empty for none.
    pub claims: String,
    /// The key that signed.
    pub key: Bytes32,
    /// The ledger's row of that key.
    pub key_row: ProvenRow,
}

/// The parts of a request that an Answer is bound to.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct RequestFile {
    /// Method.
    pub method: String,
    /// Host and port.
    pub authority: String,
    /// Path as sent.
    pub path: String,
    /// Query as sent.
    pub query: String,
    /// Body.
    pub body: Blob,
}

/// A question to a security service with the answer and its evidence: enough to compute it again.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct VerdictFile {
    /// The service's name.
    pub service: String,
    /// The variable part of its path.
    pub segment: String,
    /// The query.
    pub query: BTreeMap<String, String>,
    /// The body that was sent; empty for none.
    pub body: String,
    /// The body that came back, as it came.
    pub answer: String,
}

/// A transaction with the proof that it stands in a final block, and of what became of it.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct ReceiptFile {
    /// The signed transaction, borsh.
    pub transaction: Blob,
    /// Hashes of the block's transactions as they travel, in order.
    pub transactions: Vec<Hash32>,
    /// What it did.
    pub receipt: Receipt,
    /// Digests of the block's receipts, in order.
    pub receipts: Vec<Hash32>,
    /// The block's header with what makes it final.
    pub block: FinalHeader,
}

impl GrantFile {
    /// The purchase, if the proof holds.
    pub(crate) fn verify(&self, light: &LightClient) -> Result<PurchaseRecord> {
        let proven = light.verify_record(PURCHASES, &self.purchase, &self.row, crate::settings::wall_ms())?;
        proven.value.with_context(|| format!("the ledger proves that there is no purchase {}", self.purchase))
    }
}

impl AnswerFile {
    /// The Answer, if signature, key, request, body and claims all fit.
    pub(crate) fn verify(&self, light: &LightClient) -> Result<Answer> {
        let signed = SignedAnswer::from_bytes(&self.signed.0)?;
        let answer = &signed.answer;
        let row = light.verify_record(PROVIDER_KEYS, &self.key, &self.key_row, crate::settings::wall_ms())?;
        let owner = row.value.context("the ledger proves that no provider ever had this key")?;
        check_key(answer, &owner)?;
        signed.verify(&PublicKey(self.key.0)).context("the signature does not hold")?;
        let request = &self.request;
        let asked = request_hash(
            &request.method,
            &request.authority,
            &request.path,
            &request.query,
            &body_hash(&request.body.0),
        );
        ensure!(asked == answer.request, "the answer is to another request");
        let claims = if self.claims.is_empty() { Claims::default() } else { Claims::from_header(&self.claims)? };
        let said = answer_digest(&body_hash(&self.body.0), &claims.root());
        ensure!(said == answer.answer, "the answer is not over this body and these claims");
        Ok(signed.answer)
    }
}

/// Whether the key was its provider's when the Answer was given.
fn check_key(answer: &Answer, owner: &ProviderKey) -> Result<()> {
    let AnswerBy::Provider(provider) = answer.by else { bail!("the answer is an AVS's, not a provider's") };
    ensure!(owner.provider == provider, "the key is that of provider {}, not of {provider}", owner.provider);
    ensure!(owner.from <= answer.time, "the key was not yet the provider's at the time of the answer");
    ensure!(owner.until.is_none_or(|until| answer.time <= until), "the key was no longer the provider's then");
    Ok(())
}

impl ReceiptFile {
    /// The transaction, if it stands in a final block and the receipt is its own.
    pub(crate) fn verify(&self, light: &LightClient) -> Result<VerifiedTransaction> {
        light.verify_header(&self.block, crate::settings::wall_ms())?;
        let header = &self.block.header;
        ensure!(
            transactions_root(&self.transactions) == header.transactions_root,
            "the list of transactions is not that of block {}",
            header.height
        );
        ensure!(
            receipts_root(&self.receipts) == header.receipts_root,
            "the list of receipts is not that of block {}",
            header.height
        );
        let signed = SignedTransaction::decode(&self.transaction.0)?;
        let hash = surety_node::block::travel_hash(&signed);
        let place = self.transactions.iter().position(|other| *other == hash);
        let place = place.with_context(|| format!("the transaction is not in block {}", header.height))?;
        let committed = self.receipts.get(place) == Some(&self.receipt.digest());
        ensure!(committed, "the receipt is not what block {} says of this transaction", header.height);
        if let Some(failure) = &self.receipt.failure {
            let known = LedgerError::codes().contains(&(failure.code, failure.name.as_str()));
            ensure!(known, "a rejection with code {} is not called {}", failure.code, failure.name);
        }
        Ok(signed.verify(header.network)?)
    }
}

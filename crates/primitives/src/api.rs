//! What the node's HTTP API and a provider's own endpoints say in JSON: declared once for both sides.
//!
//! Records of the ledger stand here as type parameters, so that this needs nothing of the ledger. Numbers that may pass
//! 2^53 are decimal strings where their type says so ([`Amount`]); bytes are 0x-hex. Readers pass over fields that they do
//! not know.

use borsh::{BorshDeserialize, BorshSerialize};
use serde::{Deserialize, Serialize};

use crate::amount::Amount;
use crate::hash::Hash32;
use crate::header::{Committee, FinalHeader, Finality, Header};
use crate::ids::{Address, Height, Lane, NetworkId, ProviderId, PurchaseId, Seconds, ServiceId};
use crate::keys::PublicKey;
use crate::typed_data::Blob;

/// What a row's proof proves.
#[derive(Clone, Copy, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ProofKind {
    /// The row has this value.
    Inclusion,
    /// There is no such row.
    Exclusion,
}

/// A row of the state with its proof: `GET /v1/rows/{key}`.
#[derive(Clone, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize, Serialize, Deserialize)]
pub struct ProvenRow {
    /// Where the row lies.
    pub key: Hash32,
    /// What is proven.
    pub kind: ProofKind,
    /// Its value, for an inclusion.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub value: Option<Blob>,
    /// The store's proof against the header's state root.
    pub proof: Blob,
    /// The header.
    pub header: Header,
    /// See [`FinalHeader::path`].
    #[serde(default)]
    pub path: Vec<Header>,
    /// See [`FinalHeader::finality`].
    pub finality: Finality,
}

impl ProvenRow {
    /// The header with what makes it final.
    #[must_use]
    pub fn final_header(&self) -> FinalHeader {
        FinalHeader { header: self.header.clone(), path: self.path.clone(), finality: self.finality.clone() }
    }
}

/// `POST /v1/transactions`: a signed transaction as borsh. (The signed transaction's own JSON is accepted as well.)
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Submit {
    /// The bytes.
    pub transaction: Blob,
}

/// How far a transaction is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum TransactionStatus {
    /// It waits in the pool.
    Pending,
    /// It stands in a final block.
    Final,
}

/// The answer to a submission, and `GET /v1/transactions/{hash}`. `R` is the ledger's receipt.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TransactionView<R> {
    /// The transaction.
    pub hash: Hash32,
    /// How far it is.
    pub status: TransactionStatus,
    /// The block that it stands in.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub height: Option<Height>,
    /// What became of it.
    #[serde(default = "none", skip_serializing_if = "Option::is_none")]
    pub receipt: Option<R>,
}

const fn none<R>() -> Option<R> {
    None
}

/// `POST /v1/typed-data`: what a wallet shall sign. `A` is the ledger's action; what is left out, the node fills in.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TypedDataRequest<A> {
    /// Name and fields of the action.
    #[serde(flatten)]
    pub action: A,
    /// Who will sign.
    pub signer: Address,
    /// The signer's next nonce.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub nonce: Option<u64>,
    /// Last moment, ledger time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires: Option<Seconds>,
    /// Fee; by default the least.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fee: Option<Amount>,
}

/// The reply: the document for `eth_signTypedData_v4`. `T` is the ledger's unsigned transaction, to be sent back with the
/// signature.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TypedDataReply<T> {
    /// The EIP-712 document.
    pub document: serde_json::Value,
    /// The transaction, not signed.
    pub transaction: T,
    /// The 32 bytes that a wallet signs.
    pub signing_hash: Hash32,
}

/// `GET /v1/accounts/{address}`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AccountView {
    /// The account.
    pub address: Address,
    /// What it holds.
    pub balance: Amount,
    /// Its next nonce in a block.
    pub nonce: u64,
    /// Its next nonce after what waits in the pool.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next_nonce: Option<u64>,
}

/// A page of a list.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Page<T> {
    /// The entries.
    pub items: Vec<T>,
    /// Where the next page begins; absent on the last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<String>,
}

/// A record with the number that names it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Numbered<I, R> {
    /// The number.
    pub id: I,
    /// The record.
    #[serde(flatten)]
    pub record: R,
}

/// `GET /v1/services?…`: which listings, in which order. What is left out does not restrict.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct ServiceQuery {
    /// Words in title, description and tags.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub text: Option<String>,
    /// Category: root x 100 + leaf, or a root alone.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub category: Option<u16>,
    /// A tag.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tag: Option<String>,
    /// An EVM chain.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub chain: Option<u64>,
    /// A provider.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub provider: Option<ProviderId>,
    /// The order.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sort: Option<String>,
    /// Most entries of the page.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub limit: Option<u32>,
    /// Where the page begins: [`Page::next`] of the one before.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cursor: Option<String>,
}

/// One sale in a provider's feed. `R` is the ledger's purchase record.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sale<R> {
    /// Its number, from 0 and without gaps: the cursor.
    pub n: u64,
    /// The purchase.
    pub purchase: PurchaseId,
    /// Its record.
    pub record: R,
}

/// `GET /v1/providers/{id}/purchases?cursor=&wait=`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Feed<R> {
    /// Sales from the cursor on, in order.
    pub items: Vec<Sale<R>>,
    /// The cursor to go on from.
    pub cursor: u64,
    /// The ledger clock of the state that was read.
    pub clock: Seconds,
}

/// `GET /v1/committee`. `S` is what the ledger says of a seat, `L` what the committee withstands.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CommitteeView<S, L> {
    /// The committee as light clients state it.
    pub committee: Committee,
    /// Seats with operators and weights.
    pub seats: Vec<S>,
    /// Fewest operators and least stake that could halt, fork or steal.
    pub security: L,
}

/// `GET /v1/blocks/{height}`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BlockView {
    /// Its digest.
    pub hash: Hash32,
    /// Its header.
    pub header: Header,
    /// Hashes of its transactions in order.
    pub transactions: Vec<Hash32>,
}

/// `GET /v1/status`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StatusView {
    /// The network.
    pub network: NetworkId,
    /// Hash of the chain specification.
    pub genesis: Hash32,
    /// The node's version.
    pub version: String,
    /// Newest final height; absent while the node starts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub height: Option<Height>,
    /// The ledger clock there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub clock: Option<Seconds>,
    /// The proposer's wall clock there, in milliseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub time_ms: Option<u64>,
    /// State root there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub state_root: Option<Hash32>,
    /// Transactions that wait.
    #[serde(default)]
    pub mempool: u64,
    /// Peers that are connected.
    #[serde(default)]
    pub peers: u64,
}

/// `GET /v1/audit`: the whole state, added up. Only where the operator allows it: it reads every row.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AuditView {
    /// The height that was audited.
    pub height: Height,
    /// Its state root.
    pub state_root: Hash32,
    /// Rows of the state.
    pub rows: u64,
    /// Held by accounts.
    pub in_accounts: Amount,
    /// Held by the ledger's pools.
    pub in_pools: Amount,
    /// Created less destroyed.
    pub supply: Amount,
    /// What is not as it must be; absent when all is well.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failure: Option<String>,
}

/// What the node says when it refuses: `application/problem+json`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ApiProblem {
    /// `urn:surety:problem:<name>`.
    #[serde(rename = "type")]
    pub kind: String,
    /// A short sentence that never changes.
    #[serde(default)]
    pub title: String,
    /// The HTTP status.
    #[serde(default)]
    pub status: u16,
    /// A sentence about this case.
    #[serde(default)]
    pub detail: String,
    /// The stable number: the ledger's where it was the ledger that refused.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub code: Option<u16>,
    /// Seconds to wait before the next try.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry_after: Option<u64>,
}

impl ApiProblem {
    /// The stable name at the end of the type, such as `bad-nonce`; the whole type if it is not one of ours.
    #[must_use]
    pub fn name(&self) -> &str {
        self.kind.strip_prefix("urn:surety:problem:").unwrap_or(&self.kind)
    }
}

/// `GET /.well-known/surety` of a provider.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct WellKnown {
    /// The network it sells on.
    pub network: NetworkId,
    /// Who it is.
    pub provider: ProviderId,
    /// The key that signs its Answers.
    pub key: PublicKey,
    /// The authority that calls are bound to.
    pub authority: String,
    /// Its listings.
    pub services: Vec<ServiceId>,
    /// The ledger time that it knows.
    pub clock: Seconds,
    /// Its wall clock in seconds.
    pub server_time: u64,
}

/// `POST /.well-known/surety/settle`: the highest `cum` of each lane, signed, without a call.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SettleRequest {
    /// Signed voucher-only calls, base64url, as they would stand in the call header.
    pub calls: Vec<String>,
    /// The chain of sub-grants, as it would stand in the chain header, when the root key does not sign itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub chain: Option<String>,
}

/// The reply to a settlement or to `POST /.well-known/surety/status`: what the provider has written down.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SettleReply {
    /// The purchase.
    pub purchase: PurchaseId,
    /// What of it is left.
    pub remaining: u64,
    /// Its lanes.
    pub lanes: Vec<LaneStatus>,
}

/// One lane as the provider sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LaneStatus {
    /// The lane.
    pub lane: Lane,
    /// The highest number seen.
    pub seq: u64,
    /// The highest acknowledgement kept.
    pub cum: u64,
    /// Numbers up to here are refused.
    pub floor: u64,
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_view_reads_what_a_newer_node_writes_and_leaves_out_what_it_has_not() {
        let text = r#"{"hash":"0x0000000000000000000000000000000000000000000000000000000000000007","status":"final","later":1}"#;
        let view: TransactionView<u64> = serde_json::from_str(text).unwrap();
        assert_eq!((view.status, view.height, view.receipt), (TransactionStatus::Final, None, None));
        let problem: ApiProblem = serde_json::from_str(r#"{"type":"urn:surety:problem:not-found"}"#).unwrap();
        assert_eq!((problem.status, problem.code), (0, None));
    }

    #[test]
    fn an_action_stands_beside_the_other_fields_of_its_request() {
        #[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
        #[serde(tag = "action", content = "fields")]
        enum Any {
            Burn { amount: Amount },
        }
        let text = r#"{"action":"Burn","fields":{"amount":"5"},"signer":"0x0000000000000000000000000000000000000001"}"#;
        let request: TypedDataRequest<Any> = serde_json::from_str(text).unwrap();
        assert_eq!((request.action, request.nonce), (Any::Burn { amount: Amount(5) }, None));
    }
}

//! Submitting, what became of it, and the documents that wallets sign.

use std::sync::Arc;

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde::Deserialize;
use serde_json::{Value, json};
use surety_ledger::action::ACTIONS;
use surety_ledger::bank::ACCOUNTS;
use surety_ledger::params::PARAMS;
use surety_ledger::{SignedTransaction, Transaction};
use surety_primitives::api::{TransactionStatus, TransactionView, TypedDataReply};
use surety_primitives::{Address, Amount, Hash32, Seconds};
use tokio::sync::broadcast::Receiver;
use tokio::sync::broadcast::error::RecvError;
use tokio::time::{Duration, Instant};

use super::backend::{FinalBlock, PlacedReceipt, Refusal};
use super::extract::{Asked, Given, Nothing, Reply, Segment, wait};
use super::problem::{Kind, Problem, Result};
use super::{Api, Shared, stopped};

/// How long a transaction may wait for its block if its signer does not say, in ledger seconds.
const EXPIRES_AFTER: Seconds = Seconds(600);
/// Between two looks at the receipts on disk.
const LOOK_AGAIN: Duration = Duration::from_millis(250);
/// What a signed transaction has in JSON, and nothing else.
const FIELDS: [&str; 7] = ["network", "nonce", "expires", "fee", "action", "fields", "signature"];

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Waiting {
    wait: Option<u64>,
}

pub(crate) async fn submit(
    State(api): State<Shared>,
    Asked(asked): Asked<Waiting>,
    Given(body): Given,
) -> Result<Response> {
    let time = wait(asked.wait, api.limits.wait_seconds)?;
    let (signed, signer) = read(body)?;
    // From before the submission on, or its block could be missed.
    let blocks = api.backend.subscribe();
    let hash = match api.backend.submit(signed.clone()).await {
        Ok(hash) => hash,
        Err(refusal) => {
            let placed = recognise(&api, signed, signer, refusal).await?;
            return Ok(answer(placed.receipt.hash, Some(placed)));
        }
    };
    let placed = receipt_within(&api, blocks, &hash, time).await?;
    Ok(answer(hash, placed))
}

/// A receipt as soon as it is known: from the block itself when it is announced, else from where receipts are kept.
async fn receipt_within(
    api: &Api,
    mut blocks: Receiver<Arc<FinalBlock>>,
    hash: &Hash32,
    time: Duration,
) -> Result<Option<PlacedReceipt>> {
    if let Some(placed) = api.backend.receipt(hash).await {
        return Ok(Some(placed));
    }
    if time.is_zero() {
        return Ok(None);
    }
    // The transaction waits already: where nobody may wait with it, that is the answer.
    let Ok(_place) = api.place() else { return Ok(None) };
    let until = Instant::now() + time;
    let mut stop = api.stop.clone();
    loop {
        tokio::select! {
            block = blocks.recv() => match block {
                Ok(block) => if let Some(placed) = in_block(&block, hash) {
                    return Ok(Some(placed));
                },
                Err(RecvError::Lagged(_)) => {}
                Err(RecvError::Closed) => return Ok(None),
            },
            // What was announced before we listened reaches the disk soon.
            () = tokio::time::sleep(LOOK_AGAIN) => if let Some(placed) = api.backend.receipt(hash).await {
                return Ok(Some(placed));
            },
            () = tokio::time::sleep_until(until) => return Ok(api.backend.receipt(hash).await),
            () = stopped(&mut stop) => return Ok(None),
        }
    }
}

fn in_block(block: &FinalBlock, hash: &Hash32) -> Option<PlacedReceipt> {
    let mut receipts = block.receipts.iter().flat_map(|receipts| receipts.iter());
    let receipt = receipts.find(|receipt| receipt.hash == *hash)?.clone();
    Some(PlacedReceipt { height: block.header.height, receipt })
}

/// A refused transaction is told why by the ledger's own code; one that stood in a block already is no failure: its
/// sender lost our answer and asks again.
///
/// An altered transaction recovers to some other account, and would be refused for that account's nonce: a sender that
/// named itself hears the truth.
async fn recognise(
    api: &Api,
    signed: SignedTransaction,
    signer: Option<Address>,
    refusal: Refusal,
) -> Result<PlacedReceipt> {
    let verified = signed.verify(api.backend.genesis().network).map_err(|error| Problem::ledger(&error))?;
    if signer.is_some_and(|signer| signer != verified.signer()) {
        return Err(Problem::new(Kind::WrongSigner, format!("it recovers to {}", verified.signer())));
    }
    let placed = api.backend.receipt(&verified.hash()).await;
    placed.ok_or_else(|| refusal.into())
}

fn answer(hash: Hash32, placed: Option<PlacedReceipt>) -> Response {
    let (code, status) = match placed {
        Some(_) => (StatusCode::OK, TransactionStatus::Final),
        None => (StatusCode::ACCEPTED, TransactionStatus::Pending),
    };
    let (height, receipt) = placed.map(|placed| (placed.height, placed.receipt)).unzip();
    let mut response = Reply(TransactionView { hash, status, height, receipt }).into_response();
    *response.status_mut() = code;
    response
}

/// The transaction, and who its sender says has signed it.
fn read(body: Value) -> Result<(SignedTransaction, Option<Address>)> {
    let malformed = |reason: String| Problem::new(Kind::MalformedBody, reason);
    let Value::Object(mut fields) = body else { return Err(malformed("expected an object".to_owned())) };
    let signer = fields.remove("signer").map(serde_json::from_value).transpose();
    let signer = signer.map_err(|error| malformed(format!("signer: {error}")))?;
    if let Some(encoded) = fields.get("transaction") {
        let text = encoded.as_str().filter(|_| fields.len() == 1);
        let wanted = "expected {\"transaction\": \"0x…\"}, with the signer or without";
        let text = text.ok_or_else(|| malformed(wanted.to_owned()))?;
        let bytes = const_hex::decode(text).map_err(|error| malformed(format!("transaction: {error}")))?;
        let signed = SignedTransaction::decode(&bytes).map_err(|error| Problem::ledger(&error.into()))?;
        return Ok((signed, signer));
    }
    known_fields(&fields, &FIELDS)?;
    known_action(fields.get("action"))?;
    let signed = serde_json::from_value(Value::Object(fields)).map_err(|error| malformed(error.to_string()))?;
    Ok((signed, signer))
}

fn known_fields(fields: &serde_json::Map<String, Value>, allowed: &[&str]) -> Result<()> {
    match fields.keys().find(|field| !allowed.contains(&field.as_str())) {
        Some(field) => Err(Problem::new(Kind::MalformedBody, format!("unknown field `{field}`"))),
        None => Ok(()),
    }
}

fn known_action(name: Option<&Value>) -> Result<()> {
    match name {
        Some(Value::String(name)) if !ACTIONS.iter().any(|(_, known)| known == name) => {
            Err(Problem::new(Kind::UnknownAction, "see /v1/actions"))
        }
        _ => Ok(()),
    }
}

pub(crate) async fn receipt(
    State(api): State<Shared>,
    Segment(hash): Segment<Hash32>,
    Asked(asked): Asked<Waiting>,
) -> Result<Response> {
    let time = wait(asked.wait, api.limits.wait_seconds)?;
    let placed = receipt_within(&api, api.backend.subscribe(), &hash, time).await?;
    if placed.is_none() && !api.backend.is_waiting(&hash) {
        return Err(Problem::new(Kind::NotFound, "this node knows no such transaction"));
    }
    Ok(answer(hash, placed))
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Wanted {
    signer: Address,
    action: String,
    fields: Value,
    nonce: Option<u64>,
    expires: Option<Seconds>,
    fee: Option<Amount>,
}

/// What a browser wallet signs with `eth_signTypedData_v4`, and the transaction that the signature completes.
pub(crate) async fn typed_data(
    State(api): State<Shared>,
    Asked(Nothing {}): Asked<Nothing>,
    Given(body): Given,
) -> Result<Reply<TypedDataReply<Transaction>>> {
    let malformed = |error: serde_json::Error| Problem::new(Kind::MalformedBody, error.to_string());
    let wanted: Wanted = serde_json::from_value(body).map_err(malformed)?;
    known_action(Some(&Value::String(wanted.action.clone())))?;
    let action = json!({"action": wanted.action, "fields": wanted.fields});
    let action: surety_ledger::AnyAction = serde_json::from_value(action).map_err(malformed)?;
    action.check().map_err(|error| Problem::ledger(&error))?;

    let (params, header) = api.get(PARAMS, &()).await?;
    let (account, _) = api.get(ACCOUNTS, &wanted.signer).await?;
    let next = api.backend.next_nonce(&wanted.signer, account.unwrap_or_default().nonce);
    let transaction = Transaction {
        network: api.backend.genesis().network,
        nonce: wanted.nonce.unwrap_or(next),
        expires: wanted.expires.unwrap_or(header.clock.after(EXPIRES_AFTER)),
        fee: wanted.fee.unwrap_or_else(|| action.fee(&params.unwrap_or_default())),
        action,
    };
    Ok(Reply(TypedDataReply {
        document: transaction.typed_data(),
        signing_hash: transaction.signing_hash(),
        transaction,
    }))
}

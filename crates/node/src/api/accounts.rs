//! Accounts.

use axum::extract::State;
use serde_json::{Value, json};
use surety_ledger::bank::ACCOUNTS;
use surety_ledger::market::state::OWNERS;
use surety_primitives::Address;
use surety_primitives::api::AccountView;

use super::Shared;
use super::extract::{Asked, Reply, Segment, WithProof};
use super::problem::Result;
use super::read::with;

/// An account that was never used holds nothing: that is an answer, not a failure.
pub(crate) async fn account(
    State(api): State<Shared>,
    Segment(address): Segment<Address>,
    Asked(asked): Asked<WithProof>,
) -> Result<Reply<Value>> {
    let (account, header) = api.get(ACCOUNTS, &address).await?;
    let account = account.unwrap_or_default();
    let (provider, _) = api.get(OWNERS, &address).await?;
    let proof = api.prove_if(asked.proof.0, ACCOUNTS.key(&address)).await?;
    let view = AccountView {
        address,
        balance: account.balance,
        nonce: account.nonce,
        next_nonce: Some(api.backend.next_nonce(&address, account.nonce)),
    };
    Ok(Reply(with(&view, json!({"provider": provider, "height": header.height, "proof": proof}))))
}

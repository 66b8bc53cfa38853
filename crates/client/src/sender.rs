//! Turns actions into transactions: numbers, prices, signs, submits, and tries again where only the number was wrong.

use std::time::Duration;

use surety_ledger::params::Params;
use surety_ledger::{AnyAction, SignedTransaction, Transaction};
use surety_primitives::wallet::AccountKey;
use surety_primitives::{Address, NetworkId, Seconds};
use tokio::sync::Mutex;
use tokio::time::Instant;

use crate::client::{Client, POLL};
use crate::error::Error;
use crate::types::TransactionReport;

/// How long a transaction may wait for its block, on the ledger clock.
const LIFETIME: Seconds = Seconds(600);
/// How long clock and parameters are remembered.
const REMEMBER: Duration = Duration::from_secs(10);
/// How long what an account has waiting may take to become final, before this side numbers after it.
const SETTLE: Duration = Duration::from_secs(5);
/// How often a number is corrected before the node's word is passed on.
const ATTEMPTS: u32 = 4;

/// Sends one account's actions, in order. Several senders of one account correct each other.
#[derive(Debug)]
pub struct Sender {
    client: Client,
    key: AccountKey,
    network: NetworkId,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// The next nonce, unless it must be asked for.
    nonce: Option<u64>,
    view: Option<View>,
}

#[derive(Clone, Debug)]
struct View {
    clock: Seconds,
    params: Params,
    seen: Instant,
}

impl Sender {
    /// Sends for `key` on `network`; the network is the user's word, not the node's.
    #[must_use]
    pub fn new(client: Client, key: AccountKey, network: NetworkId) -> Self {
        Self { client, key, network, state: Mutex::default() }
    }

    /// The account.
    #[must_use]
    pub const fn address(&self) -> Address {
        self.key.address()
    }

    /// Sends an action and waits until it is final and done.
    ///
    /// # Errors
    /// [`Error::Action`] when no state would take it; [`Error::Refused`] by the node; [`Error::Rejected`] by the ledger, with
    /// the fee paid; [`Error::NotFinal`] and [`Error::Doubtful`], after which the action may have happened: a lost reply never
    /// makes this side sign a second transaction; and what [`Client`] says. `limit` counts from when it is submitted.
    pub async fn send(&self, action: impl Into<AnyAction>, limit: Duration) -> Result<TransactionReport, Error> {
        Ok(self.send_signed(action, limit).await?.0)
    }

    /// As [`Self::send`], and gives the transaction as well: for whoever keeps a receipt.
    ///
    /// # Errors
    /// As [`Self::send`].
    pub async fn send_signed(
        &self,
        action: impl Into<AnyAction>,
        limit: Duration,
    ) -> Result<(TransactionReport, SignedTransaction), Error> {
        let (report, signed) = self.submit_signed(action.into()).await?;
        let end = Instant::now() + limit;
        let report = self.client.follow(&signed, report, limit, end).await?;
        match report.receipt.as_ref().and_then(|receipt| receipt.failure.as_ref()) {
            None => Ok((report, signed)),
            Some(failure) => Err(Error::Rejected {
                hash: report.hash,
                code: failure.code,
                name: failure.name.clone(),
                message: failure.message.clone(),
            }),
        }
    }

    async fn submit_signed(&self, action: AnyAction) -> Result<(TransactionReport, SignedTransaction), Error> {
        action.check()?;
        // Held until the node has taken it, so that numbers reach the node in order.
        let mut state = self.state.lock().await;
        let mut attempt = 1;
        loop {
            let transaction = self.prepare(&mut state, action.clone()).await?;
            let nonce = transaction.nonce;
            let signed = transaction.sign(&self.key);
            let hash = signed.clone().verify(self.network)?.hash();
            let error = match self.client.submit(&signed).await {
                Ok(report) => {
                    state.nonce = nonce.checked_add(1);
                    return Ok((report, signed));
                }
                Err(error) => error,
            };
            // Whatever happened, the nodes know the next number and the clock better than this side.
            *state = State::default();
            if attempt == ATTEMPTS || !is_out_of_step(&error) {
                return Err(error);
            }
            // The node may have passed it on and refused it all the same.
            if let Ok(Some(report)) = self.client.find(&hash).await {
                return Ok((report, signed));
            }
            attempt += 1;
            // It may be the node that is behind.
            self.client.pass_over();
            tokio::time::sleep(POLL).await;
        }
    }

    async fn prepare(&self, state: &mut State, action: AnyAction) -> Result<Transaction, Error> {
        let view = self.view(state).await?;
        let nonce = match state.nonce {
            Some(nonce) => nonce,
            None => self.free_nonce().await?,
        };
        let elapsed = Seconds(view.seen.elapsed().as_secs());
        let fee = action.fee(&view.params);
        let expires = view.clock.after(elapsed).after(LIFETIME);
        Ok(Transaction { network: self.network, nonce, expires, fee, action })
    }

    /// The first nonce that nobody uses. What waits was signed by somebody who may be gone, at a node that may go too: a
    /// number after it would then never come due. So it is given a moment to become final.
    async fn free_nonce(&self) -> Result<u64, Error> {
        let end = Instant::now() + SETTLE;
        loop {
            let (nonce, next) = self.client.newest_nonces(&self.address()).await?;
            if next == nonce || Instant::now() >= end {
                return Ok(next);
            }
            tokio::time::sleep(POLL).await;
        }
    }

    async fn view(&self, state: &mut State) -> Result<View, Error> {
        if let Some(view) = state.view.as_ref().filter(|view| view.seen.elapsed() < REMEMBER) {
            return Ok(view.clone());
        }
        let (clock, params) = (self.client.clock().await?, self.client.params().await?);
        let view = View { clock, params, seen: Instant::now() };
        state.view = Some(view.clone());
        Ok(view)
    }
}

/// Whether only the number, the clock or the price were wrong.
fn is_out_of_step(error: &Error) -> bool {
    matches!(error, Error::Refused(problem) if matches!(problem.name(), "bad-nonce" | "underpriced" | "expired" | "fee-short"))
}

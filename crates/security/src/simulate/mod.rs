//! `tx_simulate`: what a transaction would do at a block (`security-services.md` 3.4).
//!
//! The result is attested and not provable: who doubts it runs the transaction again on the recorded state.

mod question;
mod report;
mod run;

use serde::Serialize;
use surety_evm::Limits;
use surety_primitives::Hash32;
use surety_primitives::hash::h;

use crate::envelope::{Reason, Refusal, Unknown, Verdict, raw};
use crate::evidence::{Item, Kind};
use crate::json;
use crate::parties::Parties;
use crate::screen::{Around, Asked, Grounds, Question, screen};
use crate::service::{Card, Gathered, Method, Request, RestsOn, Service, Sources};
use crate::state::{Pinned, State};
use crate::views::lower;

pub use question::{Quantity, Tried, Unsigned, Word};
pub use report::{Report, report};
pub(crate) use run::granted;
pub use run::{Exposure, Simulated, simulate};

/// What one simulation may cost: a transaction as large as blocks take, and the reading of its effects.
pub const LIMITS: Limits = Limits { gas: 30_000_000, steps: 4_000_000, session_steps: 40_000_000 };

/// The service.
#[derive(Debug)]
pub struct TxSimulate;

impl Service for TxSimulate {
    fn card(&self) -> Card {
        Card {
            method: Method::Post,
            reads_state: true,
            rests_on: Some(RestsOn::Addresses),
            ..Card::new("tx_simulate", "/api/v1/tx_simulate")
        }
    }

    fn gather<'a>(&self, sources: Sources<'a>, request: &Request) -> Result<Gathered<'a>, Refusal> {
        let body: question::Body = json::read(&request.body)?;
        let chain_id = body.chain_id.chain()?;
        let block = body.block.as_ref().map(Word::block).transpose()?.flatten();
        let tried = Tried::read(body.raw_tx.as_ref(), body.tx, chain_id)?;
        let state = sources.pin(chain_id, block)?;
        let base_fee = state.pinned().map_or(0, |pinned| pinned.head().base_fee);
        let question = Question::of_transaction(&tried, chain_id, base_fee)?;
        Ok(Asked { question, request: request.clone() }.gathered(sources, state))
    }

    fn judge<'a>(&self, gathered: &Gathered<'a>) -> Result<Verdict<'a>, Refusal> {
        let Asked { question, request } = Asked::of(gathered)?;
        let State::At(pinned) = &gathered.state else { return Ok(nothing(gathered.state.why_absent())) };
        let mut parties = Parties::new(gathered.lists, request);
        let grounds = screen(question, Around::of(&gathered.state), &mut parties);
        Ok(match &grounds.simulated {
            Ok(Some(simulated)) => said(simulated, &grounds, pinned, parties),
            Ok(None) => nothing(Reason::NoState),
            Err(reason) => nothing(*reason),
        })
    }
}

fn said<'a>(simulated: &Simulated, grounds: &Grounds, pinned: &Pinned, mut parties: Parties<'a>) -> Verdict<'a> {
    let (report, mut unknown) = report(simulated, &grounds.risks, &mut parties, pinned.head());
    unknown.extend(grounds.unknown.iter().filter(|unknown| unknown.field.contains('.')).cloned());
    Verdict::attested(raw(&report), unknown).resting_on(parties.into_looked(), vec![evidence(simulated)])
}

/// No state, no simulation: nothing at all is said of the transaction.
fn nothing(why: Reason) -> Verdict<'static> {
    let fields = [
        "asset_changes",
        "allowance_upgrades",
        "ownership_changes",
        "risk_type",
        "risky_txn",
        "logs",
        "transaction_fee",
        "exposures",
        "reads",
    ];
    Verdict::attested(raw(&()), fields.map(|field| Unknown::new(field, why)).to_vec())
}

#[derive(Serialize)]
struct Run<'a> {
    scenario: &'static str,
    txs: [Sent; 1],
    overrides: [(); 0],
    status: &'a surety_evm::Status,
    gas_used: u64,
    deltas: Vec<Delta>,
    logs_hash: Hash32,
    reads_root: Hash32,
}

#[derive(Serialize)]
struct Sent {
    from: String,
    to: Option<String>,
    value: String,
    data: String,
}

#[derive(Serialize)]
struct Delta {
    token: Option<String>,
    account: String,
    change: String,
}

/// The run as evidence of every field that rests on it.
pub(crate) fn evidence(simulated: &Simulated) -> Item {
    let Simulated { call, simulation, .. } = simulated;
    let outcome = &simulation.outcome;
    let native = simulation.changes.native.iter().map(|change| Delta {
        token: None,
        account: lower(change.account),
        change: report::signed(change.before, change.after),
    });
    let tokens = simulation.changes.tokens.iter().filter_map(|change| {
        let (before, after) = change.before.zip(change.after)?;
        let change_of = report::signed(before, after);
        Some(Delta { token: Some(lower(change.token)), account: lower(change.account), change: change_of })
    });
    let run = Run {
        scenario: "as asked",
        txs: [Sent {
            from: lower(call.from),
            to: call.to.map(lower),
            value: call.value.to_string(),
            data: const_hex::encode_prefixed(&call.data),
        }],
        overrides: [],
        status: &outcome.status,
        gas_used: outcome.gas_used,
        deltas: native.chain(tokens).collect(),
        logs_hash: hash_of("surety/security/logs/v1", &outcome.logs),
        reads_root: hash_of("surety/security/reads/v1", &outcome.trace.reads.iter().collect::<Vec<_>>()),
    };
    Item::new(Kind::Sim, &["asset_changes", "allowance_upgrades", "ownership_changes", "logs", "risky_txn"], &run)
}

fn hash_of<T: Serialize>(context: &str, value: &T) -> Hash32 {
    h(context, &[raw(value).get().as_bytes()])
}

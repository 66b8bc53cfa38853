//! The gateway's checks: the security services' screening, plugged into the proxy, which knows no check.
//!
//! Three, because they fail differently: `sanctions` (nothing overrides it), `lists` (deny lists and rules on what was
//! decoded: local, needs no state), `simulation` (the same on the chain's state, with what the run moved and bought).

mod facts;
mod head;

use std::sync::Arc;

use alloy_primitives::{Address, B256, U256};
use futures::FutureExt as _;
use futures::future::BoxFuture;
use serde_json::Value;
use surety_evm::{Call, Snapshot, Transaction};
use surety_primitives::Seconds;
use surety_proxy::gateway::verdict::{Failure, Finding, Outcome, Read, SANCTIONS, Verdict};
use surety_proxy::gateway::{Check, Screened, Subject, Unsigned, UserOperation};
use surety_security::Lists;
use surety_security::decode::Input;
use surety_security::envelope::Reason;
use surety_security::parties::Parties;
use surety_security::screen::{self, Around, Grounds, Question, Sent, What, screen};
use surety_security::service::Request;
use surety_security::simulate::Tried;
use surety_security::token::Cache;

pub(crate) use head::Head;

use crate::settings::wall_ms;

/// Slots that a verdict is bound to; one that read more is judged again before it is forwarded.
const MOST_READS: usize = 512;
/// Tokens whose reports are remembered.
const MOST_REPORTS: usize = 4_096;
/// Stands for reads that nobody compares: nothing is ever written there.
const CHANGED: Read = Read { address: Address::ZERO, slot: U256::MAX, value: U256::MAX };

/// What all checks look at.
#[derive(Clone)]
pub(crate) struct Guard {
    lists: Arc<Lists>,
    /// The newest state; nothing where no node gives any.
    head: Option<Arc<Head>>,
    chain_id: u64,
    /// What was found of tokens on the newest state.
    reports: Arc<Cache>,
}

/// Which part of the screening a check is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Part {
    Sanctions,
    Lists,
    Simulation,
}

struct Screening {
    guard: Guard,
    part: Part,
}

/// The checks of a gateway on these lists and this chain; with a check of sanctions, which blocks where its list is missing.
pub(crate) fn checks(
    lists: Arc<Lists>,
    head: Option<Arc<Head>>,
    chain_id: u64,
    sanctions: bool,
) -> Vec<Arc<dyn Check>> {
    let mut parts = vec![Part::Lists];
    if sanctions {
        parts.push(Part::Sanctions);
    }
    if head.is_some() {
        parts.push(Part::Simulation);
    }
    let guard = Guard { lists, head, chain_id, reports: Arc::new(Cache::new(MOST_REPORTS)) };
    parts.into_iter().map(|part| Arc::new(Screening { guard: guard.clone(), part }) as Arc<dyn Check>).collect()
}

impl Check for Screening {
    fn name(&self) -> &str {
        self.part.name()
    }

    fn assess<'a>(&'a self, subject: &'a Subject, before: &'a [Arc<Subject>]) -> BoxFuture<'a, Finding> {
        async move { self.look(subject, before) }.boxed()
    }

    fn still_holds<'a>(&'a self, finding: &'a Finding) -> BoxFuture<'a, bool> {
        // Most are sent on the block that they were judged on: that needs no thread that may wait.
        if self.part != Part::Simulation || self.guard.is_newest(finding.block) {
            return async { true }.boxed();
        }
        let (guard, reads) = (self.guard.clone(), finding.reads.clone());
        // Reading a node blocks.
        let compare = tokio::task::spawn_blocking(move || guard.is_unchanged(&reads));
        async move { compare.await.unwrap_or(false) }.boxed()
    }

    fn failure(&self) -> Failure {
        match self.part {
            Part::Sanctions => Failure::SANCTIONS,
            Part::Lists => Failure::LOCAL,
            Part::Simulation => Failure::SIMULATION,
        }
    }

    fn is_heavy(&self) -> bool {
        self.part == Part::Simulation
    }
}

impl Part {
    const fn name(self) -> &'static str {
        match self {
            Self::Sanctions => SANCTIONS,
            Self::Lists => "lists",
            Self::Simulation => "simulation",
        }
    }

    /// The checks of a screening that this one reports.
    fn reports(self, check: &screen::Check) -> bool {
        let needs_state = matches!(check.name, "simulation" | "token");
        match self {
            Self::Sanctions => false,
            Self::Lists => !needs_state,
            Self::Simulation => true,
        }
    }
}

impl Screening {
    fn look(&self, subject: &Subject, before: &[Arc<Subject>]) -> Finding {
        let name = self.part.name();
        if let Some(finding) = self.beyond(subject) {
            return finding;
        }
        let snapshot = match (self.part, &self.guard.head) {
            (Part::Simulation, Some(head)) => head.newest(),
            _ => Err(Reason::NoState),
        };
        let base_fee = snapshot.as_ref().map_or(0, |snapshot| snapshot.head.base_fee);
        let question = match self.guard.question(subject, base_fee) {
            Ok(question) => question,
            Err(error) => return Finding::failed(name, error),
        };
        let calls: Vec<Call> = before.iter().filter_map(|earlier| call_of(earlier, base_fee)).collect();
        let request = Request { at: Seconds(wall_ms() / 1_000), ..Request::default() };
        let mut parties = Parties::new(&self.guard.lists, &request);
        if let Subject::UserOperation(operation) = subject {
            let others = [operation.paymaster.as_ref(), operation.factory.as_ref()];
            for (address, _) in others.into_iter().flatten() {
                parties.ask(*address);
            }
        }
        let around = Around {
            snapshot: snapshot.as_ref().map_err(|reason| *reason),
            before: &calls,
            history: None,
            reports: Some(&self.guard.reports),
        };
        let grounds = screen(&question, around, &mut parties);
        match self.part {
            Part::Sanctions => sanctions(&parties),
            part => {
                let mut finding = found(part, &grounds);
                facts::tell(&mut finding, question.signer(), &grounds, &mut parties);
                // After others of the same bundle its reads are theirs, and on no chain yet.
                if before.is_empty() {
                    finding.reads = reads(&grounds);
                    finding.block = snapshot.as_ref().ok().map(hash_of);
                }
                finding
            }
        }
    }

    /// What of a user operation is not looked at: it is not run, and code that its account takes on is not judged.
    fn beyond(&self, subject: &Subject) -> Option<Finding> {
        let Subject::UserOperation(operation) = subject else { return None };
        if operation.delegate.is_some() {
            return Some(Finding::failed(self.part.name(), "an operation that delegates is not screened"));
        }
        (self.part == Part::Simulation).then(|| Finding::unknown(self.part.name(), "unsupported_contract"))
    }
}

impl Guard {
    fn question(&self, subject: &Subject, base_fee: u64) -> Result<Question, String> {
        let message = |signer, input| Question {
            chain_id: self.chain_id,
            signer,
            site: None,
            what: What::Message(Box::new(input)),
        };
        let call = |call| {
            let sent = Sent { call, transaction: None };
            Question { chain_id: self.chain_id, signer: None, site: None, what: What::Call(Box::new(sent)) }
        };
        match subject {
            Subject::Transaction(screened) => {
                let tried = Tried::Signed(Box::new(transaction(screened)));
                Question::of_transaction(&tried, self.chain_id, base_fee).map_err(|refusal| refusal.to_string())
            }
            Subject::Unsigned(unsigned) => Ok(call(unsigned_call(unsigned))),
            Subject::UserOperation(operation) => Ok(message(Some(operation.sender), user_operation(operation))),
            Subject::TypedData { signer, json } => Ok(message(*signer, Input::TypedData(json.clone()))),
            Subject::Message { signer, message: bytes } => Ok(message(*signer, Input::Personal(bytes.clone()))),
        }
    }

    /// Whether the newest state is that of this block.
    fn is_newest(&self, block: Option<B256>) -> bool {
        let newest = self.head.as_ref().and_then(|head| head.newest().ok());
        block.is_some() && newest.map(|snapshot| hash_of(&snapshot)) == block
    }

    /// Whether the newest state has the same in these slots.
    fn is_unchanged(&self, reads: &[Read]) -> bool {
        let Some(Ok(snapshot)) = self.head.as_ref().map(|head| head.newest()) else { return false };
        let same = |read: &Read| snapshot.source.storage(read.address, read.slot).is_ok_and(|now| now == read.value);
        reads.iter().all(same)
    }
}

/// The block of a snapshot.
pub(crate) fn hash_of(snapshot: &Snapshot) -> B256 {
    B256::from(snapshot.head.hash)
}

/// The gateway recovered the sender already; that is most of the time of a verdict.
fn transaction(screened: &Screened) -> Transaction {
    Transaction::recovered(screened.envelope.clone(), screened.sender, screened.raw.clone())
}

/// What runs before: a transaction or a call. A message that is signed changes no state.
fn call_of(earlier: &Subject, base_fee: u64) -> Option<Call> {
    match earlier {
        Subject::Transaction(screened) => Some(transaction(screened).call(base_fee)),
        Subject::Unsigned(unsigned) => Some(unsigned_call(unsigned)),
        _ => None,
    }
}

fn unsigned_call(unsigned: &Unsigned) -> Call {
    let from = unsigned.from.unwrap_or_default();
    let mut call = match unsigned.to {
        Some(to) => Call::new(from, to, unsigned.data.clone()),
        None => Call::create(from, unsigned.data.clone()),
    };
    call.value = unsigned.value;
    call.gas = unsigned.gas;
    call
}

fn user_operation(operation: &UserOperation) -> Input {
    let init_code = operation.factory.as_ref().map(|(factory, data)| [factory.as_slice(), data.as_ref()].concat());
    Input::UserOperation {
        entry_point: operation.entry_point,
        sender: operation.sender,
        init_code: init_code.unwrap_or_default().into(),
        call_data: operation.call_data.clone(),
    }
}

/// Whether anybody who takes part is under sanctions.
fn sanctions(parties: &Parties<'_>) -> Finding {
    let listed = parties.bad().find(|(_, standing)| standing.is_sanctioned());
    if let Some((address, _)) = listed {
        let message = format!("{address} is under sanctions");
        return Finding::hit(SANCTIONS, Verdict::Block, "lists.sanctioned", message);
    }
    match parties.unknown("sanctioned") {
        Some(unknown) => Finding::unknown(SANCTIONS, word(unknown.reason)),
        None => Finding::passed(SANCTIONS),
    }
}

/// The worst of the checks that this part reports. What could not be told outweighs a mere warning.
fn found(part: Part, grounds: &Grounds) -> Finding {
    let reported: Vec<&screen::Check> = grounds.screened.checks.iter().filter(|check| part.reports(check)).collect();
    let harmful = reported.iter().filter(|check| check.outcome == screen::Outcome::Unsafe);
    let worst = harmful.map(|check| verdict(check.severity)).max();
    let untold = reported.iter().find_map(|check| check.reason).map(word).or_else(|| failed_run(part, grounds));
    let outcome = match (worst, untold) {
        (Some(verdict), _) if verdict >= Verdict::Quarantine => Outcome::Unsafe { verdict },
        (_, Some(reason)) => Outcome::Unknown { reason },
        (Some(verdict), None) => Outcome::Unsafe { verdict },
        (None, None) => Outcome::Passed,
    };
    let mut finding = Finding::new(part.name(), outcome);
    let evidence = reported.iter().flat_map(|check| &check.evidence);
    finding.evidence = evidence.filter_map(|evidence| serde_json::from_str(evidence.get()).ok()).collect();
    finding.evidence.sort_by_key(|risk: &Value| std::cmp::Reverse(weight(risk)));
    let mut hit =
        finding.evidence.iter().filter(|risk| weight(risk) > 0).map(|risk| (text(risk, "id"), text(risk, "message")));
    if let Some((rule, message)) = hit.next() {
        let also = hit.map(|(rule, _)| rule).collect();
        (finding.rule, finding.message, finding.also) = (rule, message, also);
    }
    finding
}

/// A run that fails moved nothing: what it does once it succeeds is not known.
fn failed_run(part: Part, grounds: &Grounds) -> Option<String> {
    let Ok(Some(simulated)) = &grounds.simulated else { return None };
    let failed = part == Part::Simulation && !simulated.simulation.outcome.is_success();
    failed.then(|| "reverted".to_owned())
}

/// How much one risk says, from what stands in its evidence.
fn weight(risk: &Value) -> u8 {
    match risk["severity"].as_str() {
        Some("block") => 3,
        Some("quarantine") => 2,
        Some("warn") => 1,
        _ => 0,
    }
}

fn text(risk: &Value, field: &str) -> String {
    risk[field].as_str().unwrap_or_default().to_owned()
}

/// What the run depended on. More than is compared counts as changed: it is then judged again.
fn reads(grounds: &Grounds) -> Vec<Read> {
    let Ok(Some(simulated)) = &grounds.simulated else { return Vec::new() };
    let slots = &simulated.simulation.outcome.trace.reads;
    if slots.len() > MOST_READS {
        return vec![CHANGED];
    }
    slots.iter().map(|((address, slot), value)| Read { address: *address, slot: *slot, value: *value }).collect()
}

const fn verdict(severity: screen::Verdict) -> Verdict {
    match severity {
        screen::Verdict::Allow => Verdict::Allow,
        screen::Verdict::Warn => Verdict::Warn,
        screen::Verdict::Quarantine => Verdict::Quarantine,
        screen::Verdict::Block => Verdict::Block,
    }
}

/// The reason as it is on the wire.
fn word(reason: Reason) -> String {
    serde_json::to_value(reason).ok().and_then(|value| value.as_str().map(str::to_owned)).unwrap_or_default()
}

#[cfg(test)]
mod tests;

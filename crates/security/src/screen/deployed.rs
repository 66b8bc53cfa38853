//! The contracts that a transaction would bring into being, scanned on the state that it leaves
//! (`security-services.md` 5.5, `deploy.*`).

use std::collections::BTreeSet;

use alloy_primitives::Address;
use serde_json::Value;
use surety_evm::{Frame, FrameKind, Session};

use crate::parties::Parties;
use crate::rules::context::Deployment;
use crate::simulate::Simulated;
use crate::token::Params;
use crate::token::rugpull::{Rugpull, rugpull};

/// Most contracts of one transaction that are scanned.
const MAX_SCANNED: usize = 2;
/// Instructions of one scan.
const SCAN_STEPS: u64 = 20_000_000;

/// The contracts that came to be, with nothing for one that could not be scanned to the end. What a trusted contract makes
/// is made as its own code says, and what the sender's own pools of well-known exchanges do is known.
pub(super) fn deployments(
    session: &Session,
    simulated: &Simulated,
    parties: &mut Parties<'_>,
    pools: &BTreeSet<Address>,
) -> Vec<Option<Deployment>> {
    let outcome = &simulated.simulation.outcome;
    let mut made: BTreeSet<Address> = BTreeSet::new();
    let creations = outcome.trace.frames.iter().filter(|frame| is_creation(frame) && frame.kept && frame.ok);
    let fresh = creations
        .filter(|frame| made.insert(frame.to) && !pools.contains(&frame.to) && !parties.ask(frame.from).is_trusted);
    let all: Vec<&Frame> = fresh.collect();
    // A list of frames that was cut may leave out creations.
    let unseen = outcome.trace.truncated.then_some(None);
    let scanned = all
        .iter()
        .enumerate()
        .flat_map(|(at, frame)| if at < MAX_SCANNED { scan(session, simulated.call.from, frame) } else { vec![None] });
    scanned.chain(unseen).collect()
}

const fn is_creation(frame: &Frame) -> bool {
    matches!(frame.kind, FrameKind::Create | FrameKind::Create2)
}

/// What was found, and nothing besides where not all could be found out.
fn scan(session: &Session, sender: Address, frame: &Frame) -> Vec<Option<Deployment>> {
    let params = Params { steps: SCAN_STEPS, ..Params::default() };
    let Ok(found) = rugpull(&session.snapshot(), frame.to, &params, &[sender]) else { return vec![None] };
    // Source texts are nowhere, and no rule needs one.
    let is_partial = found.unknown.iter().any(|unknown| unknown.field != "is_open_source");
    let rest = is_partial.then_some(None);
    std::iter::once(Some(deployment(frame, &found))).chain(rest).collect()
}

fn deployment(frame: &Frame, found: &Rugpull) -> Deployment {
    let self_destructs = found.fields.get("selfdestruct") == Some(&Value::from(1));
    let effects: BTreeSet<String> = found
        .powers
        .iter()
        .filter_map(|power| serde_json::to_value(power.effect).ok()?.as_str().map(str::to_owned))
        .collect();
    Deployment {
        address: Some(frame.to),
        listed_in: None,
        self_destructs,
        // What was made by CREATE2 and can be destroyed can be made again, from code that reads as something else by then.
        changes_code: self_destructs && frame.kind == FrameKind::Create2,
        privileges: effects.into_iter().collect(),
    }
}

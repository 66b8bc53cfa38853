//! What was decoded, as named facts for the rules of a policy: `decoded.kind`, `decoded.amount` and their likes.

use std::collections::BTreeMap;

use alloy_primitives::{Address, U256};

use super::action::{Action, Extent, Means};
use super::call::{AbiSource, Note};
use super::{Decoded, MessageKind};

/// The value of a fact.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DecodedFact {
    /// A word.
    Text(String),
    /// Yes or no.
    Flag(bool),
    /// A count.
    Count(u64),
    /// An amount in base units.
    Amount(U256),
    /// An address.
    Address(Address),
    /// Addresses, in order, none twice.
    Addresses(Vec<Address>),
}

/// The facts, by name. Where there are several actions, `kind` and its details are those of the weightiest one: a grant
/// before an order, an order before a transfer, among grants the farthest.
///
/// | name | value |
/// |---|---|
/// | `decoded.kind` | `approve`, `permit`, `transfer`, `native_transfer`, `order`, `delegate`, `handover`, `claim`, `deploy`, `call`, or a kind of message |
/// | `decoded.method` | the method's name, where it is known |
/// | `decoded.amount`, `decoded.unlimited` | of a grant or transfer |
/// | `decoded.token`, `decoded.spender`, `decoded.recipient` | addresses of it |
/// | `decoded.calls`, `decoded.actions` | how many there are |
/// | `decoded.inferred`, `decoded.readable` | whether types were inferred; whether every call was understood |
/// | `decoded.addresses` | everybody who is named |
pub fn facts(decoded: &Decoded) -> BTreeMap<&'static str, DecodedFact> {
    let actions = decoded.actions();
    let calls = decoded.calls();
    let weightiest = actions.iter().max_by_key(|action| weight(action));
    let mut facts = BTreeMap::from([
        ("decoded.kind", DecodedFact::Text(kind(decoded, weightiest).to_owned())),
        ("decoded.calls", count(calls.len())),
        ("decoded.actions", count(actions.len())),
        ("decoded.addresses", DecodedFact::Addresses(decoded.addresses())),
    ]);
    let sources = || calls.iter().filter_map(|call| call.reading().map(|reading| reading.source));
    facts.insert("decoded.inferred", DecodedFact::Flag(sources().any(|source| source == AbiSource::Inferred)));
    let is_unread = |note: &Note| {
        matches!(
            note,
            Note::UnknownMethod | Note::Misfit | Note::NoSelector | Note::TooDeep | Note::TooMany | Note::Incomplete
        )
    };
    let is_readable = !calls.iter().any(|call| call.notes.iter().any(is_unread));
    let is_refused = decoded.message().is_some_and(|message| message.kind == MessageKind::Unreadable);
    facts.insert("decoded.readable", DecodedFact::Flag(is_readable && !is_refused));
    if let Decoded::Call(call) = decoded
        && let Some(reading) = call.reading().filter(|reading| !reading.method.name.is_empty())
    {
        facts.insert("decoded.method", DecodedFact::Text(reading.method.name.clone()));
    }
    weightiest.into_iter().for_each(|action| details(action, &mut facts));
    facts
}

fn count(number: usize) -> DecodedFact {
    DecodedFact::Count(number as u64)
}

/// Which of several actions a policy should see. Of equals the last is taken.
fn weight(action: &Action) -> (u8, U256) {
    match action {
        Action::Delegate(_) => (8, U256::ZERO),
        Action::Grant(grant) if !grant.extent.is_nothing() => (7, amount_of(grant.extent)),
        Action::Offer(_) => (6, U256::ZERO),
        Action::Handover(_) => (5, U256::ZERO),
        Action::Claim { value, .. } => (4, *value),
        Action::Move(movement) => (3, movement.item.amount),
        Action::Grant(_) => (2, U256::ZERO),
        Action::Deploy { .. } => (1, U256::ZERO),
    }
}

/// An amount that compares; everything is the largest.
const fn amount_of(extent: Extent) -> U256 {
    match extent {
        Extent::Amount(amount) => amount,
        Extent::Nft(_) => U256::ONE,
        Extent::Everything => U256::MAX,
    }
}

fn kind(decoded: &Decoded, weightiest: Option<&Action>) -> &'static str {
    if let Some(message) = decoded.message()
        && weightiest.is_none()
    {
        return match message.kind {
            MessageKind::SignIn => "sign_in",
            MessageKind::Text => "text",
            MessageKind::Hash | MessageKind::EthSign => "hash",
            MessageKind::Unreadable => "unreadable",
            _ => "typed_data",
        };
    }
    match weightiest {
        Some(Action::Grant(grant)) => match grant.means {
            Means::Approve | Means::Increase | Means::ApproveAll => "approve",
            _ => "permit",
        },
        Some(Action::Move(movement)) if movement.item.token.is_none() && is_plain(decoded) => "native_transfer",
        // Coins that go along with a call are not what the call is about.
        Some(Action::Move(movement)) if movement.item.token.is_none() => "call",
        Some(Action::Move(_)) => "transfer",
        Some(Action::Offer(_)) => "order",
        Some(Action::Delegate(_)) => "delegate",
        Some(Action::Handover(_)) => "handover",
        Some(Action::Claim { .. }) => "claim",
        Some(Action::Deploy { .. }) => "deploy",
        None => "call",
    }
}

fn is_plain(decoded: &Decoded) -> bool {
    matches!(decoded, Decoded::Call(call) if call.raw.data.is_empty())
}

fn details(action: &Action, facts: &mut BTreeMap<&'static str, DecodedFact>) {
    let mut address = |name, address: Option<Address>| {
        if let Some(address) = address {
            facts.insert(name, DecodedFact::Address(address));
        }
    };
    match action {
        Action::Grant(grant) => {
            address("decoded.token", grant.token);
            address("decoded.spender", Some(grant.spender));
            facts.insert("decoded.amount", DecodedFact::Amount(amount_of(grant.extent)));
            facts.insert("decoded.unlimited", DecodedFact::Flag(grant.extent.is_unlimited()));
        }
        Action::Move(movement) => {
            address("decoded.token", movement.item.token);
            address("decoded.recipient", Some(movement.to));
            facts.insert("decoded.amount", DecodedFact::Amount(movement.item.amount));
        }
        Action::Delegate(one) => address("decoded.spender", Some(one.code)),
        Action::Handover(one) => address("decoded.recipient", one.to),
        Action::Offer(offer) => address("decoded.recipient", offer.receiver),
        Action::Claim { contract, value, .. } => {
            address("decoded.recipient", Some(*contract));
            facts.insert("decoded.amount", DecodedFact::Amount(*value));
        }
        Action::Deploy { .. } => {}
    }
}

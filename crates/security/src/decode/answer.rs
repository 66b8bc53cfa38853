//! GoPlus' answer of `abi/input_decode` (`security-services.md` section 3.5): integers 1 and 0, absent is unknown.

use std::collections::{BTreeMap, BTreeSet};

use alloy_dyn_abi::{DynSolType, DynSolValue};
use alloy_primitives::Address;
use serde::Serialize;
use serde_json::{Value, json};

use super::call::{Call, Kind, Reading};
use super::message::Message;
use super::method::type_name;
use super::typed::{Base, Field, Fields};
use super::{Action, Decoded};
use crate::rules::{AddressFacts, BEYOND_INPUT, Judgement, Severity};

/// The answer, in GoPlus' words.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct InputDecode {
    /// The method's name, or the kind of message.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub method: Option<String>,
    /// The arguments of the likeliest reading, or the fields of the message.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub params: Option<Vec<Param>>,
    /// What the contract is called, where its ABI is known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub contract_name: Option<String>,
    /// What the contract is for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub contract_description: Option<String>,
    /// 1 when a list calls the contract malicious, 0 when the lists were asked and none does.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub malicious_contract: Option<u8>,
    /// The risks in words, each after its rule; empty when all rules about the input ran and none applies.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub risk: Option<String>,
    /// 1 when a rule at least warns, 0 when all rules about the input ran and none does.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub risky_signature: Option<u8>,
    /// What is asked for, in sentences.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub signature_detail: Option<String>,
}

/// An argument or field.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Param {
    /// Its name; may be empty.
    pub name: String,
    /// Its type, canonical for calls and as written for typed data.
    #[serde(rename = "type")]
    pub kind: String,
    /// The value: numbers in decimal digits, bytes and addresses in lower-case hex, tuples as lists of parameters.
    pub input: Value,
    /// Of an address: what is known of it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub address_info: Option<AddressInfo>,
}

/// What is known of an address among the arguments.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct AddressInfo {
    /// The token's name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// The token's symbol.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub symbol: Option<String>,
    /// The token's standard, as `erc20`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub standard: Option<String>,
    /// What the contract is called.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub contract_name: Option<String>,
    /// Whether there is code.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub is_contract: Option<u8>,
    /// Whether a list calls it malicious.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub malicious_address: Option<u8>,
}

impl AddressInfo {
    fn of(facts: &AddressFacts) -> Self {
        let token = facts.token.as_ref();
        Self {
            name: token.map(|token| token.name.clone()),
            symbol: token.map(|token| token.symbol.clone()),
            standard: token.map(|token| token.standard.clone()),
            contract_name: facts.contract_name.clone(),
            is_contract: facts.has_code.map(u8::from),
            malicious_address: facts.is_malicious().map(u8::from),
        }
    }
}

/// What is known of the addresses.
type Facts = BTreeMap<Address, AddressFacts>;

/// The answer about a decoded call or message, with what is known of its addresses and what the rules say.
pub fn answer(decoded: &Decoded, facts: &Facts, judgement: &Judgement) -> InputDecode {
    let contract = match decoded {
        Decoded::Call(call) => call.raw.to,
        Decoded::Message(message) => message.contract,
    };
    let known = contract.and_then(|contract| facts.get(&contract));
    let is_risky = judgement.worst().is_some_and(|severity| severity >= Severity::Warn);
    // A message's chain is part of what is signed; a call's is the transaction's.
    let is_open = |id: &&str| decoded.message().is_some() || !BEYOND_INPUT.contains(id);
    let is_settled = is_risky || (!judgement.unknown.iter().any(is_open) && is_readable(decoded));
    let (method, params) = match decoded {
        Decoded::Call(call) => of_call(call, facts),
        Decoded::Message(message) => of_message(message, facts),
    };
    let risks = judgement.risks.iter().filter(|risk| risk.severity >= Severity::Warn);
    let risk = risks.map(|risk| format!("{}: {}", risk.id, risk.message)).collect::<Vec<_>>().join("; ");
    InputDecode {
        method,
        params,
        contract_name: known.and_then(|known| known.contract_name.clone()),
        contract_description: known.and_then(|known| known.description.clone()),
        malicious_contract: known.and_then(AddressFacts::is_malicious).map(u8::from),
        risk: is_settled.then_some(risk),
        risky_signature: is_settled.then_some(u8::from(is_risky)),
        signature_detail: detail(decoded),
    }
}

/// Whether everything in it was understood.
fn is_readable(decoded: &Decoded) -> bool {
    let understood = |call: &&Call| !call.readings.is_empty() || call.raw.data.is_empty() || call.raw.to.is_none();
    decoded.calls().iter().all(understood)
}

/// What of ours goes beside the answer: the sources, the odd things, the calls inside, the actions.
pub fn extra(decoded: &Decoded) -> Value {
    match decoded {
        Decoded::Call(call) => json!({ "call": call_extra(call), "actions": decoded.actions() }),
        Decoded::Message(message) => json!({
            "kind": message.kind,
            "hash": message.hash,
            "chain_id": message.chain_id.map(|id| id.to_string()),
            "odd": message.odd,
            "sign_in": message.sign_in,
            "calls": message.calls.iter().map(call_extra).collect::<Vec<_>>(),
            "actions": message.actions,
        }),
    }
}

fn call_extra(call: &Call) -> Value {
    let signatures: Vec<&str> = call.readings.iter().map(|reading| reading.method.signature.as_str()).collect();
    json!({
        "from": call.raw.from,
        "to": call.raw.to,
        "value": call.raw.value.to_string(),
        "selector": call.selector().map(const_hex::encode_prefixed),
        "delegate": u8::from(call.raw.kind == Kind::Delegate),
        "source": call.reading().map(|reading| reading.source),
        "candidates": signatures,
        "notes": call.notes,
        "inner": call.inner.iter().map(call_extra).collect::<Vec<_>>(),
    })
}

fn of_call(call: &Call, facts: &Facts) -> (Option<String>, Option<Vec<Param>>) {
    let Some(reading) = call.reading() else { return (None, None) };
    let name = Some(reading.method.name.clone()).filter(|name| !name.is_empty());
    (name, Some(params_of(reading, facts)))
}

/// The arguments of a reading as the answer shows them.
pub fn params_of(reading: &Reading, facts: &Facts) -> Vec<Param> {
    params(&reading.method.names, &reading.method.kinds, &reading.values, facts)
}

fn params(names: &[String], kinds: &[DynSolType], values: &[DynSolValue], facts: &Facts) -> Vec<Param> {
    let pairs = kinds.iter().zip(values).enumerate();
    pairs
        .map(|(at, (kind, value))| Param {
            name: names.get(at).cloned().unwrap_or_default(),
            kind: type_name(kind),
            input: input(kind, value, facts),
            address_info: value.as_address().and_then(|address| facts.get(&address)).map(AddressInfo::of),
        })
        .collect()
}

fn input(kind: &DynSolType, value: &DynSolValue, facts: &Facts) -> Value {
    match (kind, value) {
        (_, DynSolValue::Bool(flag)) => json!(flag),
        (_, DynSolValue::Int(number, _)) => json!(number.to_string()),
        (_, DynSolValue::Uint(number, _)) => json!(number.to_string()),
        (_, DynSolValue::Address(address)) => json!(lower(*address)),
        (_, DynSolValue::String(text)) => json!(text),
        (_, DynSolValue::Bytes(bytes)) => json!(const_hex::encode_prefixed(bytes)),
        (_, DynSolValue::FixedBytes(word, size)) => json!(const_hex::encode_prefixed(&word[..(*size).min(32)])),
        (_, DynSolValue::Function(function)) => json!(const_hex::encode_prefixed(function)),
        (
            DynSolType::Array(inner) | DynSolType::FixedArray(inner, _),
            DynSolValue::Array(values) | DynSolValue::FixedArray(values),
        ) => values.iter().map(|value| input(inner, value, facts)).collect(),
        (DynSolType::CustomStruct { prop_names, tuple, .. }, DynSolValue::Tuple(values)) => {
            json!(params(prop_names, tuple, values, facts))
        }
        (DynSolType::Tuple(kinds), DynSolValue::Tuple(values)) => json!(params(&[], kinds, values, facts)),
        _ => Value::Null,
    }
}

fn lower(address: Address) -> String {
    const_hex::encode_prefixed(address)
}

fn of_message(message: &Message, facts: &Facts) -> (Option<String>, Option<Vec<Param>>) {
    let Some(data) = &message.typed else {
        let name = serde_json::to_value(message.kind).ok().and_then(|name| name.as_str().map(str::to_owned));
        return (name, None);
    };
    (Some(data.primary_type().to_owned()), Some(fields(data.message(), facts)))
}

fn fields(fields_of: Fields<'_>, facts: &Facts) -> Vec<Param> {
    let declared = fields_of.declared().iter();
    declared
        .map(|field| Param {
            name: field.name.clone(),
            kind: field.text.clone(),
            input: field_input(fields_of, field, facts),
            address_info: fields_of.address(&field.name).and_then(|address| facts.get(&address)).map(AddressInfo::of),
        })
        .collect()
}

fn field_input(fields_of: Fields<'_>, field: &Field, facts: &Facts) -> Value {
    if let Some(inner) = fields_of.inner(&field.name) {
        return json!(fields(inner, facts));
    }
    if let Some(number) = fields_of.uint(&field.name) {
        return json!(number.to_string());
    }
    match (&field.base, fields_of.value(&field.name)) {
        (Base::Address, Some(Value::String(text))) => json!(text.to_ascii_lowercase()),
        (Base::Struct(_), Some(_)) => {
            json!(fields_of.list(&field.name).into_iter().map(|one| fields(one, facts)).collect::<Vec<_>>())
        }
        (_, value) => value.cloned().unwrap_or_default(),
    }
}

/// Sentences about what is asked for; nothing when nothing is known to be.
fn detail(decoded: &Decoded) -> Option<String> {
    let sentences: Vec<String> = decoded.actions().iter().map(sentence).collect();
    (!sentences.is_empty()).then(|| sentences.join(" "))
}

/// What an action means, for a reader.
fn sentence(action: &Action) -> String {
    let named = |address: Option<Address>| address.map_or_else(|| "an unnamed contract".to_owned(), lower);
    match action {
        Action::Grant(grant) if grant.extent.is_nothing() => {
            format!("Takes back what {} may take of {}.", lower(grant.spender), named(grant.token))
        }
        Action::Grant(grant) if grant.extent.is_unlimited() => {
            format!("Lets {} take any amount of {}.", lower(grant.spender), named(grant.token))
        }
        Action::Grant(grant) => format!("Lets {} take from {}.", lower(grant.spender), named(grant.token)),
        Action::Move(movement) => {
            let item = movement.item;
            let what = item.token.map_or_else(|| "wei".to_owned(), |token| format!("of {}", lower(token)));
            format!("Sends {} {what} to {}.", item.amount, lower(movement.to))
        }
        Action::Offer(offer) => {
            format!("Offers {} for {} on {}.", items(offer.gives.len()), items(offer.gets.len()), offer.protocol)
        }
        Action::Delegate(one) if one.stays => format!("Lets the code of {} act as the account.", lower(one.code)),
        Action::Delegate(one) => format!("Runs the code of {} as the account.", lower(one.code)),
        Action::Handover(one) => format!("Hands power over {} to another.", named(one.contract)),
        Action::Claim { contract, method, value } => {
            format!("Calls {method} of {} and sends {value} wei along.", lower(*contract))
        }
        Action::Deploy { init_code } => format!("Deploys a contract from {init_code} bytes."),
    }
}

fn items(count: usize) -> String {
    match count {
        0 => "nothing".to_owned(),
        1 => "one item".to_owned(),
        count => format!("{count} items"),
    }
}

/// Collects every address of calls, arguments and actions.
pub(super) fn addresses_of(decoded: &Decoded, found: &mut BTreeSet<Address>) {
    for call in decoded.calls() {
        found.extend(call.raw.from);
        found.extend(call.raw.to);
        for reading in &call.readings {
            reading.values.iter().for_each(|value| in_value(value, found));
        }
    }
    if let Some(message) = decoded.message() {
        found.extend(message.contract);
    }
    for action in decoded.actions() {
        in_action(&action, found);
    }
}

fn in_value(value: &DynSolValue, found: &mut BTreeSet<Address>) {
    match value {
        DynSolValue::Address(address) => {
            found.insert(*address);
        }
        DynSolValue::Array(values) | DynSolValue::FixedArray(values) | DynSolValue::Tuple(values) => {
            values.iter().for_each(|value| in_value(value, found));
        }
        _ => {}
    }
}

fn in_action(action: &Action, found: &mut BTreeSet<Address>) {
    match action {
        Action::Grant(grant) => {
            found.extend([grant.owner, grant.token, Some(grant.spender)].into_iter().flatten());
        }
        Action::Move(movement) => {
            found.extend([movement.from, movement.item.token, Some(movement.to)].into_iter().flatten());
        }
        Action::Offer(offer) => {
            let items = offer.gives.iter().chain(&offer.gets).chain(offer.others.iter().map(|(_, item)| item));
            found.extend(items.filter_map(|item| item.token));
            found.extend(offer.others.iter().map(|(to, _)| *to).chain(offer.receiver).chain(offer.maker));
        }
        Action::Delegate(one) => {
            found.extend(one.account);
            found.insert(one.code);
        }
        Action::Handover(one) => found.extend(one.contract.into_iter().chain(one.to)),
        Action::Claim { contract, .. } => {
            found.insert(*contract);
        }
        Action::Deploy { .. } => {}
    }
}

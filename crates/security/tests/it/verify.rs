//! An answer holds when it is computed again, and with any byte altered it does not.

use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, LazyLock};

use alloy_primitives::{Address, B256, Bytes, U256};
use proptest::prelude::*;
use serde_json::{Value, json};
use surety_evm::{Account, Chain, Snapshot, Source, StateError};
use surety_primitives::Seconds;
use surety_primitives::dataset::Prefix;
use surety_security::lists::{Dataset, Format, Semantics, Source as Listed, SourceSpec, Subject};
use surety_security::router::{answer, request};
use surety_security::service::Request;
use surety_security::verify::{Error, recompute, reread};
use surety_security::{Chains, Lists, SERVICES, Service, Sources};

use crate::approvals;
use crate::town::{ALICE, BOB, CHAIN, DRAINER, Town, addresses, approve, asked, chains, transfer};

fn service(name: &str) -> &'static dyn Service {
    *SERVICES.iter().find(|service| service.name() == name).unwrap()
}

fn names() -> Dataset {
    let list = |name: &str, semantics, text: &str| {
        let spec = SourceSpec {
            name: name.to_owned(),
            version: "1".to_owned(),
            as_of: "2026-02-03".parse().unwrap(),
            licence: "MIT".to_owned(),
            format: Format::Lines,
            subject: Subject::Domain,
            semantics,
            label: "given".to_owned(),
        };
        Listed::read(&spec, text.as_bytes()).unwrap().remove(0)
    };
    let sources =
        vec![list("deny", Semantics::Deny, "evil.example\n"), list("allow", Semantics::Allow, "good.example\n")];
    Dataset::merge("names", "1", sources).unwrap()
}

static LISTS: LazyLock<Lists> = LazyLock::new(|| Lists::new(Some(names()), Some(addresses())));

fn get(segment: &str, query: &str) -> Request {
    request(segment, &format!("proof=1&{query}"), Seconds(0)).unwrap()
}

fn post(body: impl Into<Vec<u8>>) -> Request {
    Request { body: body.into(), ..request("", "proof=1", Seconds(0)).unwrap() }
}

/// A question to every service that can be computed again, with state or without.
fn questions(town: &Town) -> Vec<(&'static dyn Service, Request)> {
    let (chain, token) = (CHAIN.to_string(), town.token);
    let contracts = format!("contract_addresses={token}");
    let call = json!({"chain_id": CHAIN, "contract_address": token, "data": approve(DRAINER, U256::MAX)});
    // A contract of one STOP.
    let code = json!({"chain_id": CHAIN, "init_code": "0x60016000f3", "from": ALICE});
    let body = |value: Value| post(value.to_string());
    vec![
        (service("phishing_site"), get("", "url=https://a.evil.example/x")),
        (service("phishing_site"), get("", "url=nobody.example")),
        (service("dapp_security"), get("", "url=good.example")),
        (service("address_prefix"), get(&Prefix::of(DRAINER.as_slice()).to_string(), "")),
        (service("name_prefix"), get(&Prefix::of(b"evil.example").to_string(), "")),
        (service("address_security"), get(&DRAINER.to_string(), &format!("chain_id={chain}"))),
        (service("address_security"), get(&BOB.to_string(), "")),
        (service("tx_simulate"), post(asked(token, 0, &approve(DRAINER, U256::MAX)))),
        (service("screen"), post(asked(token, 0, &transfer(BOB, 5)))),
        (service("screen"), body(json!({"chain_id": CHAIN, "message": "0x11", "signer": ALICE}))),
        (service("input_decode"), body(call)),
        (service("token_security"), get(&chain, &contracts)),
        (service("rugpull_detecting"), get(&chain, &contracts)),
        (service("deploy_scan"), body(code)),
        (service("token_approval_security"), get(&chain, &format!("addresses={ALICE}"))),
        (service("nft721_approval_security"), get(&chain, &format!("addresses={ALICE}"))),
        (service("nft1155_approval_security"), get(&chain, &format!("addresses={ALICE}"))),
        (service("approval_security"), get(&chain, &format!("contract_addresses={DRAINER}"))),
    ]
}

/// A real answer.
pub(crate) struct Given {
    service: &'static dyn Service,
    request: Request,
    pub(crate) body: String,
}

impl Given {
    fn by(chains: &Chains, town: &Town) -> Vec<Self> {
        let given = questions(town).into_iter().filter_map(|(service, request)| {
            let reply = answer(service, Sources::new(&LISTS, chains), &request);
            Some(Self { service, request, body: reply.ok()?.body })
        });
        given.collect()
    }

    fn again(&self, body: &[u8]) -> Result<(), Error> {
        recompute(self.service, &LISTS, &self.request, body).map(|_| ())
    }
}

/// Answers with state, with history, and of a chain that gave none.
pub(crate) static GIVEN: LazyLock<Vec<Given>> = LazyLock::new(|| {
    let town = Town::new();
    let mut given = Given::by(&town.chains(), &town);
    assert_eq!(given.len(), questions(&town).len());
    given.extend(Given::by(&approvals::chains(&town), &town));
    for error in [StateError::Deadline, StateError::Unavailable("gone".to_owned())] {
        given.extend(Given::by(&Chains::from([(CHAIN, Arc::new(Mute(error)) as Arc<dyn Chain>)]), &town));
    }
    given.extend(Given::by(&Chains::new(), &town));
    given
});

/// A chain that is read and gives no block.
struct Mute(StateError);

impl Chain for Mute {
    fn chain_id(&self) -> u64 {
        CHAIN
    }

    fn snapshot(&self, _: Option<u64>) -> Result<Snapshot, StateError> {
        Err(self.0.clone())
    }
}

#[test]
fn every_answer_is_computed_again() {
    for given in GIVEN.iter() {
        given.again(given.body.as_bytes()).unwrap_or_else(|error| panic!("{}: {error}", given.body));
    }
    let of_its_own = get("", "");
    let reply = answer(service("supported_chains"), &*LISTS, &of_its_own).unwrap();
    let error = recompute(service("supported_chains"), &LISTS, &of_its_own, reply.body.as_bytes()).unwrap_err();
    assert_eq!(error, Error::OwnWord("supported_chains"));
}

/// A node that is too slow from some read on.
#[derive(Debug)]
struct Slow {
    below: Arc<dyn Source>,
    left: AtomicI64,
}

impl Slow {
    fn turn(&self) -> Result<(), StateError> {
        if self.left.fetch_sub(1, Ordering::Relaxed) > 0 { Ok(()) } else { Err(StateError::Deadline) }
    }
}

impl Source for Slow {
    fn account(&self, address: Address) -> Result<Option<Account>, StateError> {
        self.turn().and_then(|()| self.below.account(address))
    }

    fn code(&self, address: Address, hash: B256) -> Result<Bytes, StateError> {
        self.turn().and_then(|()| self.below.code(address, hash))
    }

    fn storage(&self, address: Address, slot: U256) -> Result<U256, StateError> {
        self.turn().and_then(|()| self.below.storage(address, slot))
    }

    fn block_hash(&self, number: u64) -> Result<B256, StateError> {
        self.turn().and_then(|()| self.below.block_hash(number))
    }
}

#[test]
fn an_answer_that_a_deadline_cut_off_is_computed_again() {
    let town = Town::new();
    let mut late = 0;
    for reads in (0..12).chain((12..60).step_by(8)) {
        for (service, request) in questions(&town) {
            let source = Slow { below: Arc::new(town.world.clone()), left: reads.into() };
            let chains = chains(Arc::new(source));
            let Ok(reply) = answer(service, Sources::new(&LISTS, &chains), &request) else { continue };
            late += usize::from(reply.body.contains("\"deadline\""));
            let again = recompute(service, &LISTS, &request, reply.body.as_bytes());
            again.unwrap_or_else(|error| panic!("{} after {reads} reads: {error}", service.name()));
        }
    }
    assert!(late > 20, "{late}");
}

/// The places of all values in a body.
fn places(value: &Value, at: &str, all: &mut Vec<String>) {
    match value {
        Value::Object(fields) => {
            fields.iter().for_each(|(name, inner)| places(inner, &format!("{at}/{}", escaped(name)), all))
        }
        Value::Array(items) => items.iter().enumerate().for_each(|(n, inner)| places(inner, &format!("{at}/{n}"), all)),
        _ => {}
    }
    all.push(at.to_owned());
}

fn escaped(name: &str) -> String {
    name.replace('~', "~0").replace('/', "~1")
}

fn altered(value: &Value) -> Value {
    match value {
        Value::Null => json!(0),
        Value::Bool(is) => json!(!is),
        Value::Number(number) => json!(number.as_u64().map_or(0, |number| number ^ 1)),
        Value::String(text) => match text.char_indices().next_back() {
            // The last digit of a number or hash stays one.
            Some((at, '0'..='8' | 'a'..='e')) => {
                json!(format!("{}{}", &text[..at], char::from(text.as_bytes()[at] + 1)))
            }
            Some((at, _)) => json!(&text[..at]),
            None => json!("0"),
        },
        Value::Array(items) => items.iter().skip(1).cloned().chain(items.is_empty().then(|| json!(0))).collect(),
        Value::Object(_) => json!({}),
    }
}

/// Whether the two say something different: an empty object in place of an empty one does not.
fn edited(said: &Value, place: &str, edit: u8) -> Option<Value> {
    let mut other = said.clone();
    match edit {
        0 => {
            let target = other.pointer_mut(place)?;
            *target = altered(target);
        }
        1 => match other.pointer_mut(place)? {
            Value::Object(fields) => drop(fields.insert("added".to_owned(), json!(1))),
            Value::Array(items) => items.push(items.last().cloned().unwrap_or_default()),
            _ => return None,
        },
        _ => {
            let (parent, name) = place.rsplit_once('/')?;
            match other.pointer_mut(parent)? {
                Value::Object(fields) => drop(fields.remove(&name.replace("~1", "/").replace("~0", "~"))),
                Value::Array(items) => drop(items.remove(name.parse().ok()?)),
                _ => return None,
            }
        }
    }
    (other != *said).then_some(other)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn an_answer_with_anything_altered_added_or_removed_is_refused(
        which in any::<prop::sample::Index>(),
        place in any::<prop::sample::Index>(),
        edit in 0u8..3,
    ) {
        let given = &GIVEN[which.index(GIVEN.len())];
        let said: Value = serde_json::from_str(&given.body).unwrap();
        let mut all = Vec::new();
        places(&said, "", &mut all);
        let place = &all[place.index(all.len())];
        let Some(other) = edited(&said, place, edit) else { return Ok(()) };
        let error = given.again(other.to_string().as_bytes()).unwrap_err();
        // Found out by what it says, and not because it is written in another order.
        let by_writing = matches!(&error, Error::Differs { field, .. } if field == "the writing");
        prop_assert!(!by_writing, "{place} {edit}: {error}\n{}", given.body);
    }

    #[test]
    fn an_answer_with_any_byte_altered_is_refused(which in any::<prop::sample::Index>(), at in any::<prop::sample::Index>(), bits in 1u8..) {
        let given = &GIVEN[which.index(GIVEN.len())];
        let mut body = given.body.clone().into_bytes();
        let at = at.index(body.len());
        body[at] ^= bits;
        prop_assert!(given.again(&body).is_err(), "byte {at} of {}", given.body);
    }
}

#[test]
fn the_same_values_in_other_bytes_are_another_answer() {
    let given = &GIVEN[0];
    let error = given.again(format!(" {}", given.body).as_bytes()).unwrap_err();
    assert!(matches!(&error, Error::Differs { field, .. } if field == "the writing"), "{error}");
}

#[test]
fn the_history_of_a_record_is_compared_with_the_chains() {
    let town = Town::new();
    let chains = approvals::chains(&town);
    let request = get(&CHAIN.to_string(), &format!("addresses={ALICE}"));
    let service = service("token_approval_security");
    let reply = answer(service, Sources::new(&LISTS, &chains), &request).unwrap();
    let replay = recompute(service, &LISTS, &request, reply.body.as_bytes()).unwrap().replay.unwrap();
    let chain = &chains[&CHAIN];
    reread(&replay, chain).unwrap();

    let with = |change: &dyn Fn(&mut surety_security::history::Past)| {
        let mut replay = replay.clone();
        change(replay.past.as_mut().unwrap());
        reread(&replay, chain).unwrap_err()
    };
    let given = |past: &mut surety_security::history::Past| past.approvals.get_mut(&ALICE.0.0).unwrap().take().unwrap();
    let shorter = with(&|past| {
        let mut less = given(past);
        less.list.pop();
        past.approvals.insert(ALICE.0.0, Some(less));
    });
    let other = with(&|past| {
        let mut other = given(past);
        other.list[0].last.transaction = [9; 32];
        past.approvals.insert(ALICE.0.0, Some(other));
    });
    let none = with(&|past| drop(past.approvals.insert(ALICE.0.0, None)));
    let made = with(&|past| assert_eq!(past.created.insert(town.token.0.0, Some(5)), None));
    let paid = with(&|past| drop(past.paid.insert(ALICE.0.0, Some(vec![BOB.0.0]))));
    for error in [shorter, other, none, made, paid] {
        assert!(matches!(error, Error::OtherState(_)), "{error}");
    }
    assert!(matches!(with(&|past| past.from_block = 3), Error::NoHistory(3, _)));
    assert!(matches!(with(&|past| past.to_block += 1), Error::OtherState(_)));
    // A chain without history does not say that the record is right.
    let forgetful: Arc<dyn Chain> = Arc::new(Forgetful(Arc::clone(chain)));
    assert!(matches!(reread(&replay, &forgetful), Err(Error::NoHistory(..))));
}

/// A chain that keeps no history.
struct Forgetful(Arc<dyn Chain>);

impl Chain for Forgetful {
    fn chain_id(&self) -> u64 {
        self.0.chain_id()
    }

    fn snapshot(&self, block: Option<u64>) -> Result<Snapshot, StateError> {
        self.0.snapshot(block)
    }
}

//! `token_security`, `rugpull_detecting` and `deploy_scan` as services; what they say is found out in [`crate::token`] and
//! [`crate::deploy`].

mod trusted;

use std::collections::BTreeMap;

use alloy_primitives::{Address, Bytes};
use serde::Deserialize;
use serde_json::Value;
use surety_evm::Snapshot;
use surety_primitives::codec;
use surety_primitives::hash::h;

use crate::deploy::{Failure, deploy_scan};
use crate::envelope::{Reason, Refusal, Unknown, Verdict, raw};
use crate::evidence::{Item, Kind};
use crate::history::Past;
use crate::json;
use crate::lists::address;
use crate::service::{Card, Gathered, Method, Request, RestsOn, Service, Sources};
use crate::simulate::{Quantity, Word};
use crate::state::{Pinned, place, reason};
use crate::token::privilege::Power;
use crate::token::rugpull::{Rugpull, rugpull};
use crate::token::{History, Params, Proxy, Refused, Report, Why, assess};
use crate::views::lower;
use trusted::Trusted;

/// Most tokens of one question.
const MAX_TOKENS: usize = 8;

impl From<Why> for Reason {
    fn from(why: Why) -> Self {
        match why {
            Why::NoSource => Self::NoSource,
            Why::NoState => Self::NoState,
            Why::NoHistory => Self::NoHistory,
            Why::OutOfGasBudget => Self::OutOfGasBudget,
            Why::UnsupportedContract => Self::UnsupportedContract,
        }
    }
}

/// The tokens that a question names, each once.
fn asked(request: &Request) -> Result<Vec<Address>, Refusal> {
    let text = request.get("contract_addresses");
    let text = text.ok_or_else(|| Refusal::Parameter("contract_addresses is missing".to_owned()))?;
    let addresses: Option<Vec<Address>> = text.split(',').map(|one| address(one).map(Address::from)).collect();
    let mut addresses = addresses.ok_or(Refusal::Address)?;
    addresses.sort_unstable();
    addresses.dedup();
    if addresses.len() > MAX_TOKENS {
        return Err(Refusal::Parameter(format!("contract_addresses: at most {MAX_TOKENS}")));
    }
    Ok(addresses)
}

struct Question {
    tokens: Vec<Address>,
    request: Request,
}

fn gather<'a>(sources: Sources<'a>, request: &Request) -> Result<Gathered<'a>, Refusal> {
    let (chain_id, block) = place(&request.segment, request)?;
    let tokens = asked(request)?;
    let state = sources.pin(chain_id, block)?;
    Ok(Gathered::about(sources.lists, Question { tokens, request: request.clone() }, state))
}

fn question<'g>(gathered: &'g Gathered<'_>) -> Result<&'g Question, Refusal> {
    gathered.question().ok_or_else(|| Refusal::Server("nothing was gathered".to_owned()))
}

/// The blocks that were searched, and what they say of each contract.
struct Searched {
    told: Vec<Option<History>>,
    item: Option<Item>,
}

fn search(pinned: &Pinned, contracts: &[Address]) -> Searched {
    #[derive(serde::Serialize)]
    struct Shown {
        from_block: u64,
        to_block: u64,
        logs_root: surety_primitives::Hash32,
    }
    let fields =
        ["creator_address", "honeypot_with_same_creator", "holders", "holder_count", "lp_holders", "lp_holder_count"];
    let Some(history) = pinned.history() else { return Searched { told: vec![None; contracts.len()], item: None } };
    let told: Vec<Option<History>> = contracts.iter().map(|contract| history.token(*contract)).collect();
    let Past { from_block, to_block, .. } = history.past();
    let logs_root = h("surety/security/made-and-held/v1", &[&codec::encode(&told)]);
    let item = Item::new(Kind::History, &fields, &Shown { from_block, to_block, logs_root });
    Searched { told, item: Some(item) }
}

/// `token_security`.
#[derive(Debug)]
pub struct TokenSecurity;

impl Service for TokenSecurity {
    fn card(&self) -> Card {
        Card {
            reads_state: true,
            rests_on: Some(RestsOn::Addresses),
            ..Card::new("token_security", "/api/v1/token_security/{chain_id}")
        }
    }

    fn gather<'a>(&self, sources: Sources<'a>, request: &Request) -> Result<Gathered<'a>, Refusal> {
        gather(sources, request)
    }

    fn judge<'a>(&self, gathered: &Gathered<'a>) -> Result<Verdict<'a>, Refusal> {
        let Question { tokens, request } = question(gathered)?;
        let Some(pinned) = gathered.state.pinned() else { return Ok(nothing(tokens, gathered.state.why_absent())) };
        let (mut result, mut unknown) = (BTreeMap::new(), Vec::new());
        let Searched { told, item } = search(pinned, tokens);
        let mut items: Vec<Item> = item.into_iter().collect();
        let mut trusted = Trusted::new(gathered.lists, request);
        let mut has_code = false;
        for (token, told) in tokens.iter().zip(&told) {
            let name = lower(token);
            match assess(pinned.snapshot(), *token, &Params::default(), told.as_ref()) {
                Ok(mut report) => {
                    has_code = true;
                    unknown
                        .extend(trusted.tell(*token, &mut report).map(|(field, why)| Unknown::of(&name, field, why)));
                    unknown.extend(report.unknown.iter().map(|one| Unknown::of(&name, one.field, one.reason.into())));
                    items.push(found(&name, &report));
                    result.insert(name, shown(report));
                }
                Err(Refused::NoContract) => unknown.push(Unknown::of(&name, "*", Reason::UnsupportedContract)),
                Err(Refused::State(error)) => unknown.push(Unknown::of(&name, "*", reason(&error))),
            }
        }
        let no_code = |one: &Unknown| one.reason == Reason::UnsupportedContract;
        if !has_code && unknown.iter().all(no_code) {
            return Err(Refusal::NotAContract);
        }
        Ok(Verdict::attested(raw(&result), unknown).resting_on(trusted.into_looked(), items))
    }
}

/// What keepers can do, as evidence.
fn kept(found: &Rugpull) -> Item {
    #[derive(serde::Serialize)]
    struct Kept<'a> {
        scenario: &'static str,
        powers: &'a [Power],
        proxy: &'a Proxy,
        delay_s: Option<u64>,
        weight: u32,
    }
    let Rugpull { powers, proxy, delay_s, weight, .. } = found;
    let kept = Kept { scenario: "powers of keepers", powers, proxy, delay_s: *delay_s, weight: *weight };
    Item::new(Kind::Sim, &["owner", "selectors"], &kept)
}

/// The fields, and what no field says.
fn shown(report: Report) -> BTreeMap<&'static str, Value> {
    let mut fields = report.fields;
    if !report.notes.is_empty() {
        fields.insert("note", Value::String(report.notes.join("; ")));
    }
    fields
}

/// The trades that were tried and the powers that were found.
fn found(token: &str, report: &Report) -> Item {
    #[derive(serde::Serialize)]
    struct Found<'a> {
        scenario: &'static str,
        token: &'a str,
        probe: &'a Option<crate::token::Probe>,
        powers: &'a Option<crate::token::Powers>,
        pools: &'a [crate::token::PoolSeen],
    }
    let Report { probe, powers, pools, .. } = report;
    Item::new(Kind::Sim, &[token], &Found { scenario: "token probe", token, probe, powers, pools })
}

fn nothing(tokens: &[Address], why: Reason) -> Verdict<'static> {
    let unknown = tokens.iter().map(|token| Unknown::of(&lower(token), "*", why)).collect();
    Verdict::attested(raw(&BTreeMap::<String, ()>::new()), unknown)
}

/// `rugpull_detecting`.
#[derive(Debug)]
pub struct RugpullDetecting;

impl Service for RugpullDetecting {
    fn card(&self) -> Card {
        Card { reads_state: true, ..Card::new("rugpull_detecting", "/api/v1/rugpull_detecting/{chain_id}") }
    }

    fn gather<'a>(&self, sources: Sources<'a>, request: &Request) -> Result<Gathered<'a>, Refusal> {
        gather(sources, request)
    }

    fn judge<'a>(&self, gathered: &Gathered<'a>) -> Result<Verdict<'a>, Refusal> {
        let [contract] = question(gathered)?.tokens.as_slice() else {
            return Err(Refusal::Parameter("contract_addresses: one".to_owned()));
        };
        let Some(pinned) = gathered.state.pinned() else {
            return Ok(nothing(&[*contract], gathered.state.why_absent()));
        };
        // Whoever made it may have kept a key that nothing names.
        let Searched { told, item } = search(pinned, &[*contract]);
        let hints: Vec<Address> = told.iter().flatten().filter_map(|history| history.creator).collect();
        match rugpull(pinned.snapshot(), *contract, &Params::default(), &hints) {
            Ok(found) => {
                let unknown = found.unknown.iter().map(|one| Unknown::new(one.field, one.reason.into())).collect();
                let items = std::iter::once(kept(&found)).chain(item).collect();
                Ok(Verdict::attested(raw(&found.fields), unknown).resting_on(Vec::new(), items))
            }
            Err(Refused::NoContract) => Err(Refusal::NotAContract),
            Err(Refused::State(error)) => Ok(nothing(&[*contract], reason(&error))),
        }
    }
}

/// `deploy_scan`.
#[derive(Debug)]
pub struct DeployScan;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Body {
    chain_id: Word,
    block: Option<Word>,
    init_code: Bytes,
    from: Option<Address>,
    value: Option<Quantity>,
}

impl Service for DeployScan {
    fn card(&self) -> Card {
        Card { method: Method::Post, reads_state: true, ..Card::new("deploy_scan", "/api/v1/deploy_scan") }
    }

    fn gather<'a>(&self, sources: Sources<'a>, request: &Request) -> Result<Gathered<'a>, Refusal> {
        let body: Body = json::read(&request.body)?;
        let block = body.block.as_ref().map(Word::block).transpose()?.flatten();
        let state = sources.pin(body.chain_id.chain()?, block)?;
        Ok(Gathered::about(sources.lists, body, state))
    }

    fn judge<'a>(&self, gathered: &Gathered<'a>) -> Result<Verdict<'a>, Refusal> {
        let body: &Body = gathered.question().ok_or_else(|| Refusal::Server("nothing was gathered".to_owned()))?;
        let why = match gathered.state.snapshot() {
            Ok(snapshot) => match scan(snapshot, body) {
                Ok(verdict) => return Ok(verdict),
                Err(Failure::Refused(Refused::NoContract)) => return Err(Refusal::NotAContract),
                Err(Failure::Refused(Refused::State(error))) => reason(&error),
                Err(Failure::Budget) => Reason::OutOfGasBudget,
                Err(failure) => return Err(Refusal::Parameter(format!("init_code: {failure}"))),
            },
            Err(why) => why,
        };
        Ok(Verdict::attested(raw(&()), vec![Unknown::new("rugpull", why), Unknown::new("token", why)]))
    }
}

fn scan(snapshot: &Snapshot, body: &Body) -> Result<Verdict<'static>, Failure> {
    let value = body.value.unwrap_or_default().0;
    let scan = deploy_scan(snapshot, body.from.unwrap_or_default(), value, &body.init_code, &Params::default())?;
    let mut unknown: Vec<Unknown> =
        scan.rugpull.unknown.iter().map(|one| Unknown::of("rugpull", one.field, one.reason.into())).collect();
    let of_token = scan.token.iter().flat_map(|token| &token.unknown);
    unknown.extend(of_token.map(|one| Unknown::of("token", one.field, one.reason.into())));
    let item = Item::new(Kind::Sim, &["rugpull", "token"], &scan);
    #[derive(serde::Serialize)]
    struct Shown {
        address: String,
        code_size: usize,
        weight: u32,
        rugpull: BTreeMap<&'static str, Value>,
        token: Option<BTreeMap<&'static str, Value>>,
    }
    let shown = Shown {
        address: lower(scan.address),
        code_size: scan.code_size,
        weight: scan.rugpull.weight,
        rugpull: scan.rugpull.fields,
        token: scan.token.map(shown),
    };
    Ok(Verdict::attested(raw(&shown), unknown).resting_on(Vec::new(), vec![item]))
}

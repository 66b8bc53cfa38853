#![allow(clippy::unwrap_used)]

use std::collections::{BTreeMap, BTreeSet};

use alloy_dyn_abi::DynSolValue;
use alloy_primitives::{Address, Bytes, I256, U256, address};

use super::*;
use crate::decode::action::{Extent, Power};
use crate::decode::call::Unread;
use crate::decode::{Input, Known, Method, decode};

const ME: Address = address!("1111111111111111111111111111111111111111");
const SPENDER: Address = address!("2222222222222222222222222222222222222222");
const TOKEN: Address = address!("3333333333333333333333333333333333333333");
const OTHER: Address = address!("4444444444444444444444444444444444444444");

const APPROVE: &str = "approve(address,uint256)";
const TRANSFER: &str = "transfer(address,uint256)";
const TRANSFER_FROM: &str = "transferFrom(address,address,uint256)";

/// A rule, a subject and facts to which it applies, and a subject and facts to which it does not.
struct Case {
    id: &'static str,
    severity: Severity,
    risky: (Decoded, Context),
    calm: (Decoded, Context),
}

fn case(id: &'static str, severity: Severity, risky: (Decoded, Context), calm: (Decoded, Context)) -> Case {
    Case { id, severity, risky, calm }
}

fn number(number: u64) -> DynSolValue {
    DynSolValue::Uint(U256::from(number), 256)
}

fn encoded(signature: &str, values: Vec<DynSolValue>) -> Vec<u8> {
    let method = Method::parse(signature).unwrap();
    [&method.selector[..], &DynSolValue::Tuple(values).abi_encode_params()].concat()
}

fn raw(value: u64, data: Vec<u8>) -> Decoded {
    let unread =
        Unread { from: Some(ME), to: Some(TOKEN), value: U256::from(value), data: data.into(), ..Unread::default() };
    decode(&Known::default(), Input::Call(unread))
}

fn call(signature: &str, values: Vec<DynSolValue>) -> Decoded {
    raw(0, encoded(signature, values))
}

fn approve(amount: u64) -> Decoded {
    call(APPROVE, vec![SPENDER.into(), number(amount)])
}

fn paying(to: Address, value: u64) -> Decoded {
    let unread = Unread { from: Some(ME), to: Some(to), value: U256::from(value), ..Unread::default() };
    decode(&Known::default(), Input::Call(unread))
}

fn deploying(bytes: usize) -> Decoded {
    decode(&Known::default(), Input::Call(Unread { from: Some(ME), data: vec![0; bytes].into(), ..Unread::default() }))
}

fn multicall(calls: Vec<Vec<u8>>) -> Decoded {
    let list = calls.into_iter().map(DynSolValue::Bytes).collect();
    call("multicall(bytes[])", vec![DynSolValue::Array(list)])
}

fn message(input: Input) -> Decoded {
    decode(&Known::default(), input)
}

fn delegation(chain_id: u64, code: Address) -> Decoded {
    message(Input::Delegation { account: Some(ME), chain_id: U256::from(chain_id), code, nonce: 0 })
}

fn personal(text: &str) -> Decoded {
    message(Input::Personal(Bytes::copy_from_slice(text.as_bytes())))
}

fn typed(types: &str, primary: &str, domain: &str, body: &str) -> Decoded {
    let text = format!(r#"{{"types":{{{types}}},"primaryType":"{primary}","domain":{domain},"message":{body}}}"#);
    message(Input::TypedData(text))
}

fn note(domain: &str, body: &str) -> Decoded {
    typed(r#""Note":[{"name":"x","type":"uint8"}]"#, "Note", domain, body)
}

fn cow(receiver: Address, buys: u64) -> Decoded {
    let names = [("sellToken", "address"), ("buyToken", "address"), ("receiver", "address"), ("sellAmount", "uint256")];
    let names = names.iter().chain(&[("buyAmount", "uint256"), ("feeAmount", "uint256")]);
    let fields: Vec<_> = names.map(|(name, kind)| format!(r#"{{"name":"{name}","type":"{kind}"}}"#)).collect();
    let body = format!(
        r#"{{"sellToken":"{TOKEN}","buyToken":"{OTHER}","receiver":"{receiver}","sellAmount":9,"buyAmount":{buys},"feeAmount":0}}"#
    );
    typed(&format!(r#""Order":[{}]"#, fields.join(",")), "Order", r#"{"chainId":1}"#, &body)
}

fn sign_in(site: &str) -> Decoded {
    personal(&format!(
        "{site} wants you to sign in with your Ethereum account:\n{ME}\n\nURI: https://{site}\nVersion: 1\nChain ID: 1\n\
         Nonce: 12345678\nIssued At: 2026-01-01T00:00:00Z"
    ))
}

/// An old contract that no list names.
fn old() -> AddressFacts {
    AddressFacts {
        has_code: Some(true),
        age_blocks: Some(1_000_000),
        is_unused: Some(false),
        labels: Some(Vec::new()),
        ..AddressFacts::default()
    }
}

fn with(change: impl FnOnce(&mut Context)) -> Context {
    let token = Token { standard: "erc20".to_owned(), decimals: Some(18), ..Token::default() };
    let mut addresses: BTreeMap<_, _> = [ME, SPENDER, TOKEN, OTHER].map(|address| (address, old())).into();
    addresses.entry(TOKEN).and_modify(|facts| facts.token = Some(token));
    let mut context = Context {
        chain_id: Some(1),
        signer: Some(ME),
        site: Some("example.org".to_owned()),
        addresses,
        counterparties: Some(BTreeSet::new()),
        outcome: Some(Outcome::default()),
        transaction: Some(Transaction { chain_id: Some(1), account_nonce: Some(0), ..Transaction::default() }),
        deployments: vec![Some(unremarkable())],
        ..Context::default()
    };
    change(&mut context);
    context
}

fn usual() -> Context {
    with(|_| {})
}

fn about(address: Address, change: impl FnOnce(&mut AddressFacts)) -> Context {
    with(|context| change(context.addresses.get_mut(&address).unwrap()))
}

fn listed(address: Address) -> Context {
    let label = Label { list: "test".to_owned(), name: "phishing".to_owned(), standing: Standing::Malicious };
    about(address, |facts| facts.labels = Some(vec![label]))
}

fn trusted(address: Address) -> Context {
    let label = Label { list: "test".to_owned(), name: "known".to_owned(), standing: Standing::Trusted };
    about(address, |facts| facts.labels = Some(vec![label]))
}

fn seeing(change: impl FnOnce(&mut Outcome)) -> Context {
    with(|context| change(context.outcome.as_mut().unwrap()))
}

fn sending(change: impl FnOnce(&mut Transaction)) -> Context {
    with(|context| change(context.transaction.as_mut().unwrap()))
}

fn scanning(change: impl FnOnce(&mut Deployment)) -> Context {
    with(|context| change(context.deployments[0].as_mut().unwrap()))
}

/// A deployment that was scanned and that no list names.
fn unremarkable() -> Deployment {
    Deployment { listed_in: Some(Vec::new()), ..Deployment::default() }
}

fn delta(owner: Address, token: Option<Address>, change: i64) -> Delta {
    Delta { owner, token, id: None, change: I256::try_from(change).unwrap() }
}

fn moved(deltas: &[(Address, i64)]) -> Context {
    seeing(|outcome| outcome.deltas = deltas.iter().map(|(owner, change)| delta(*owner, None, *change)).collect())
}

fn seen_grant(outcome: &mut Outcome) {
    outcome.grants = vec![SeenGrant { token: TOKEN, owner: ME, spender: SPENDER, left: Extent::Amount(U256::from(5)) }];
}

fn approvals() -> Vec<Case> {
    use Severity::{Block, Quarantine, Warn};
    let all = |given: bool| call("setApprovalForAll(address,bool)", vec![SPENDER.into(), given.into()]);
    let hash = call("approveHash(bytes32)", vec![DynSolValue::FixedBytes([7; 32].into(), 32)]);
    // Approves, then calls the spender, through an account.
    let step = |to: Address, data: Vec<u8>| DynSolValue::Tuple(vec![to.into(), number(0), DynSolValue::Bytes(data)]);
    let both = call(
        "executeBatch((address,uint256,bytes)[])",
        vec![DynSolValue::Array(vec![
            step(TOKEN, encoded(APPROVE, vec![SPENDER.into(), number(9)])),
            step(SPENDER, encoded("deposit()", vec![])),
        ])],
    );
    let unlimited = call(APPROVE, vec![SPENDER.into(), DynSolValue::Uint(U256::MAX, 256)]);
    let unused = about(SPENDER, |facts| (facts.has_code, facts.is_unused) = (Some(false), Some(true)));
    let seen = || seeing(seen_grant);
    vec![
        case("approve.listed", Block, (approve(5), listed(SPENDER)), (approve(0), listed(SPENDER))),
        case(
            "approve.look_alike",
            Block,
            (approve(5), about(SPENDER, |facts| facts.look_alike_of = Some(OTHER))),
            (approve(5), usual()),
        ),
        case(
            "approve.to_wallet",
            Quarantine,
            (approve(5), about(SPENDER, |facts| facts.has_code = Some(false))),
            (approve(5), usual()),
        ),
        case("approve.no_code", Quarantine, (approve(5), unused), (approve(5), usual())),
        case(
            "approve.young",
            Quarantine,
            (approve(5), about(SPENDER, |facts| facts.age_blocks = Some(3))),
            (approve(5), usual()),
        ),
        case("approve.unlimited", Warn, (unlimited, usual()), (approve(5), usual())),
        case("approve.everything", Warn, (all(true), usual()), (all(false), usual())),
        case("approve.hash", Warn, (hash, usual()), (approve(5), usual())),
        case(
            "approve.not_asked",
            Quarantine,
            (call(TRANSFER, vec![OTHER.into(), number(5)]), seen()),
            (approve(5), seen()),
        ),
        case("approve.left_over", Warn, (both.clone(), seen()), (both, usual())),
    ]
}

fn messages() -> Vec<Case> {
    use Severity::{Block, Quarantine, Warn};
    let fine = || (note("{}", r#"{"x":1}"#), usual());
    let permit = |domain: &str| {
        let names = [
            ("owner", "address"),
            ("spender", "address"),
            ("value", "uint256"),
            ("nonce", "uint256"),
            ("deadline", "uint256"),
        ];
        let fields: Vec<_> =
            names.iter().map(|(name, kind)| format!(r#"{{"name":"{name}","type":"{kind}"}}"#)).collect();
        let body = format!(r#"{{"owner":"{ME}","spender":"{SPENDER}","value":5,"nonce":0,"deadline":9}}"#);
        typed(&format!(r#""Permit":[{}]"#, fields.join(",")), "Permit", domain, &body)
    };
    let strange = typed(r#""Permit":[{"name":"x","type":"uint8"}]"#, "Permit", r#"{"chainId":1}"#, r#"{"x":1}"#);
    vec![
        case("sign.eth_sign", Block, (message(Input::EthSign(Bytes::from_static(&[1; 32]))), usual()), fine()),
        case(
            "sign.hash",
            Quarantine,
            (message(Input::Personal(Bytes::from_static(&[1; 32]))), usual()),
            (personal("hello"), usual()),
        ),
        case("sign.hidden_fields", Quarantine, (note("{}", r#"{"x":1,"y":2}"#), usual()), fine()),
        case("sign.incomplete", Quarantine, (strange, usual()), (permit(r#"{"chainId":1}"#), usual())),
        case("sign.unreadable", Quarantine, (message(Input::TypedData("[]".to_owned())), usual()), fine()),
        case("sign.other_site", Block, (sign_in("evil.org"), usual()), (sign_in("example.org"), usual())),
        case(
            "sign.other_account",
            Quarantine,
            (sign_in("example.org"), with(|context| context.signer = Some(OTHER))),
            (sign_in("example.org"), usual()),
        ),
        case("chain.wrong", Quarantine, (permit(r#"{"chainId":5}"#), usual()), (permit(r#"{"chainId":1}"#), usual())),
        case("chain.missing", Warn, (permit("{}"), usual()), (permit(r#"{"chainId":1}"#), usual())),
        case("drain.free_order", Block, (cow(ME, 0), usual()), (cow(ME, 7), usual())),
        case("drain.other_receiver", Warn, (cow(SPENDER, 7), usual()), (cow(ME, 7), usual())),
    ]
}

fn delegations() -> Vec<Case> {
    use Severity::{Block, Quarantine};
    let own = |chain: u64| delegation(chain, SPENDER);
    let no_code = || about(SPENDER, |facts| facts.has_code = Some(false));
    let young = || about(SPENDER, |facts| facts.age_blocks = Some(3));
    vec![
        case("delegate.listed", Block, (own(1), listed(SPENDER)), (own(1), usual())),
        case("delegate.any_chain", Quarantine, (own(0), usual()), (own(1), usual())),
        case("delegate.unknown_code", Quarantine, (own(1), usual()), (own(1), trusted(SPENDER))),
        case("delegate.no_code", Quarantine, (own(1), no_code()), (delegation(1, Address::ZERO), no_code())),
        case("delegate.fresh_code", Quarantine, (own(1), young()), (own(1), usual())),
    ]
}

fn outcomes() -> Vec<Case> {
    use Severity::{Block, Quarantine, Warn};
    let plain = || call("stake(uint256)", vec![number(5)]);
    let claim = || raw(5, encoded("claim()", vec![]));
    let gain = || moved(&[(ME, -5), (ME, 20_000_000_000_000)]);
    let from = |victim: Address| encoded(TRANSFER_FROM, vec![victim.into(), SPENDER.into(), number(5)]);
    let step = |to: u8| {
        let data = encoded(TRANSFER, vec![OTHER.into(), number(5)]);
        DynSolValue::Tuple(vec![Address::repeat_byte(to).into(), number(0), DynSolValue::Bytes(data)])
    };
    let batch = |steps: &[u8]| {
        let steps = steps.iter().map(|to| step(*to)).collect();
        call("executeBatch((address,uint256,bytes)[])", vec![DynSolValue::Array(steps)])
    };
    let owner = |outcome: &mut Outcome| outcome.handovers = vec![(OTHER, Power::Owner)];
    let fresh = with(|context| {
        context.outcome.as_mut().unwrap().deltas = vec![delta(ME, None, -5), delta(OTHER, None, 5)];
        context.addresses.get_mut(&OTHER).unwrap().is_unused = Some(true);
    });
    let to_listed = with(|context| {
        context.outcome.as_mut().unwrap().deltas = vec![delta(ME, None, -5), delta(OTHER, None, 5)];
        context.addresses.get_mut(&OTHER).unwrap().labels = listed(OTHER).addresses[&OTHER].labels.clone();
    });
    let split = |one: i64, other: i64| moved(&[(ME, -(one + other)), (SPENDER, one), (OTHER, other)]);
    vec![
        case("diff.nothing_in", Warn, (plain(), moved(&[(ME, -5)])), (paying(OTHER, 5), moved(&[(ME, -5)]))),
        case("diff.out_to_listed", Block, (plain(), to_listed), (plain(), moved(&[(ME, -5), (OTHER, 5)]))),
        case("diff.out_to_fresh", Quarantine, (plain(), fresh), (plain(), moved(&[(ME, -5), (OTHER, 5)]))),
        case(
            "diff.logs_disagree",
            Quarantine,
            (plain(), seeing(|outcome| outcome.disagreeing = vec![TOKEN])),
            (plain(), usual()),
        ),
        case("diff.owner_changed", Quarantine, (plain(), seeing(owner)), (plain(), usual())),
        case(
            "env.differs",
            Quarantine,
            (plain(), seeing(|outcome| outcome.environments = vec!["status"])),
            (plain(), usual()),
        ),
        case("drain.claim", Block, (claim(), moved(&[(ME, -5)])), (claim(), gain())),
        case("drain.listed", Block, (plain(), listed(TOKEN)), (plain(), listed(OTHER))),
        case(
            "drain.many_from_one",
            Quarantine,
            (multicall(vec![from(OTHER); 3]), usual()),
            (multicall(vec![from(OTHER); 2]), usual()),
        ),
        case("drain.sweep", Quarantine, (batch(&[5, 6, 7]), usual()), (batch(&[5, 5, 5]), usual())),
        case("drain.split", Quarantine, (plain(), split(200_000, 800_000)), (plain(), split(500_000, 500_000))),
    ]
}

fn poisonings() -> Vec<Case> {
    use Severity::{Note, Quarantine, Warn};
    let twin = address!("22220000000000000000000000000000000022ff");
    let real = address!("2222aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa22ff");
    let pay = |to: Address, amount: u64| call(TRANSFER, vec![to.into(), number(amount)]);
    let knows = |others: &[Address]| with(|context| context.counterparties = Some(others.iter().copied().collect()));
    let imitation = about(TOKEN, |facts| facts.token.as_mut().unwrap().imitates = Some(OTHER));
    let unit = 1_000_000_000_000_000_000;
    vec![
        case("poison.look_alike", Quarantine, (pay(twin, unit), knows(&[real])), (pay(real, unit), knows(&[real]))),
        case("poison.zero_value", Warn, (pay(OTHER, 0), usual()), (pay(OTHER, unit), usual())),
        case("poison.dust", Note, (pay(OTHER, 3), usual()), (pay(OTHER, unit), usual())),
        case("poison.token_look_alike", Quarantine, (pay(OTHER, unit), imitation), (pay(OTHER, unit), usual())),
    ]
}

fn transactions() -> Vec<Case> {
    use Severity::{Block, Note, Quarantine, Warn};
    let dear = |base_fee: Option<u128>| {
        sending(|one| (one.gas_limit, one.max_fee, one.base_fee) = (30_000_000, 10_u128.pow(12), base_fee))
    };
    let fine = || (approve(5), usual());
    let deploy = || (deploying(100), usual());
    vec![
        case("nonce.used", Note, (approve(5), sending(|one| one.account_nonce = Some(3))), fine()),
        case("nonce.gap", Note, (approve(5), sending(|one| one.nonce = 3)), fine()),
        case("nonce.replaces_held", Quarantine, (approve(5), sending(|one| one.replaces_held = true)), fine()),
        case("fee.absurd", Quarantine, (approve(5), dear(None)), (approve(5), dear(Some(1_000_000_000)))),
        case("chain.wrong", Block, (approve(5), sending(|one| one.chain_id = Some(5))), fine()),
        case("chain.missing", Quarantine, (approve(5), sending(|one| one.chain_id = None)), fine()),
        case("deploy.too_long", Block, (deploying(49_153), usual()), (deploying(49_152), usual())),
        case(
            "deploy.listed",
            Block,
            (deploying(1), scanning(|scan| scan.listed_in = Some(vec!["test".to_owned()]))),
            deploy(),
        ),
        case("deploy.changes_code", Quarantine, (deploying(1), scanning(|scan| scan.changes_code = true)), deploy()),
        case("deploy.self_destructs", Warn, (deploying(1), scanning(|scan| scan.self_destructs = true)), deploy()),
        case(
            "deploy.privileged",
            Warn,
            (deploying(1), scanning(|scan| scan.privileges = vec!["pause".to_owned()])),
            deploy(),
        ),
    ]
}

fn readings() -> Vec<Case> {
    use Severity::{Note, Quarantine, Warn};
    let fine = || (approve(5), usual());
    let of = |data: Vec<u8>| (raw(0, data), usual());
    let mut dirty = encoded(APPROVE, vec![SPENDER.into(), number(5)]);
    dirty[4] = 1;
    let longer = [encoded(APPROVE, vec![SPENDER.into(), number(5)]), vec![1]].concat();
    let two = vec![0xa9, 0x05, 0x9c, 0xbb].into_iter().chain([0; 32]).collect::<Vec<u8>>();
    let mut deep = vec![0xd0, 0xe3, 0x0d, 0xb0];
    for _ in 0..10 {
        deep = encoded("multicall(bytes[])", vec![DynSolValue::Array(vec![DynSolValue::Bytes(deep)])]);
    }
    let many = multicall(vec![vec![0xd0, 0xe3, 0x0d, 0xb0]; 1_001]);
    vec![
        case("decode.left_over", Warn, of(longer), fine()),
        case("decode.not_canonical", Warn, of(dirty), fine()),
        case("decode.misfit", Warn, of(vec![0x09, 0x5e, 0xa7, 0xb3]), fine()),
        case("decode.no_selector", Note, of(vec![1, 2, 3]), fine()),
        case("decode.unknown_method", Note, of(vec![1, 2, 3, 4]), fine()),
        case("decode.ambiguous", Note, ambiguous(), of(two)),
        case(
            "decode.incomplete",
            Quarantine,
            of(encoded("multiSend(bytes)", vec![DynSolValue::Bytes(vec![0; 9])])),
            fine(),
        ),
        case("decode.too_deep", Quarantine, of(deep), fine()),
        case("decode.too_many", Quarantine, (many, usual()), fine()),
    ]
}

/// Data that is the canonical encoding for two methods of one selector.
fn ambiguous() -> (Decoded, Context) {
    let value = DynSolValue::FixedBytes([0; 32].into(), 16);
    (call("sign_szabo_bytecode(bytes16,uint128)", vec![value, DynSolValue::Uint(U256::ONE, 128)]), usual())
}

fn cases() -> Vec<Case> {
    [approvals(), messages(), delegations(), outcomes(), poisonings(), transactions(), readings()]
        .into_iter()
        .flatten()
        .collect()
}

#[test]
fn every_rule_applies_where_it_should_and_not_where_it_should_not() {
    for case in cases() {
        let (decoded, context) = &case.risky;
        let judgement = judge(decoded, context);
        let found = judgement.risks.iter().filter(|risk| risk.id == case.id).map(|risk| risk.severity).max();
        assert_eq!(found, Some(case.severity), "{}: {judgement:?}", case.id);
        let (decoded, context) = &case.calm;
        let judgement = judge(decoded, context);
        assert!(!judgement.has(case.id), "{}: {judgement:?}", case.id);
    }
}

#[test]
fn every_id_has_a_case_and_no_case_an_id_of_its_own() {
    let shown: BTreeSet<&str> = cases().iter().map(|case| case.id).collect();
    assert_eq!(shown, IDS.iter().copied().collect());
    assert!(IDS.is_sorted());
}

#[test]
fn what_is_said_is_among_the_ids() {
    for case in cases() {
        for (decoded, context) in [&case.risky, &case.calm] {
            let judgement = judge(decoded, context);
            let known = |id: &str| IDS.contains(&id);
            assert!(judgement.risks.iter().all(|risk| known(risk.id)) && judgement.unknown.iter().all(|id| known(id)));
            let nothing = judge(decoded, &Context::default());
            assert!(nothing.unknown.iter().all(|id| known(id)), "{:?}", nothing.unknown);
        }
    }
}

#[test]
fn a_rule_without_its_facts_is_unknown_and_not_passed() {
    let judgement = judge(&approve(5), &Context::default());
    for id in ["approve.listed", "approve.to_wallet", "approve.young", "approve.not_asked", "chain.wrong", "fee.absurd"]
    {
        assert!(judgement.unknown.contains(id), "{id}");
    }
    assert_eq!(judge(&approve(5), &usual()).unknown, BTreeSet::new());
}

#[test]
fn a_deployment_that_was_not_scanned_is_unknown_and_not_passed() {
    let ids = ["deploy.listed", "deploy.self_destructs", "deploy.changes_code", "deploy.privileged"];
    let unscanned = |deployments| with(|context| context.deployments = deployments);
    for (subject, deployments) in [
        (deploying(1), Vec::new()),
        // Made by a contract that is called, beside one that was scanned.
        (approve(5), vec![Some(unremarkable()), None]),
    ] {
        let judgement = judge(&subject, &unscanned(deployments));
        assert!(ids.iter().all(|id| judgement.unknown.contains(id)), "{judgement:?}");
    }
    let unlisted = judge(&deploying(1), &unscanned(vec![Some(Deployment::default())]));
    assert_eq!(unlisted.unknown, BTreeSet::from(["deploy.listed"]));
}

#[test]
fn what_could_not_be_tried_elsewhere_is_unknown_and_not_passed() {
    let judgement = judge(&approve(5), &seeing(|outcome| outcome.is_elsewhere_unknown = true));
    assert_eq!(judgement.unknown, BTreeSet::from(["env.differs"]));
}

#[test]
fn two_addresses_that_look_alike_are_told_also_where_both_were_paid() {
    let twin = address!("22220000000000000000000000000000000022ff");
    let real = address!("2222aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa22ff");
    let knows = with(|context| context.counterparties = Some([twin, real].into()));
    for to in [twin, real] {
        let judgement = judge(&call(TRANSFER, vec![to.into(), number(1_000_000)]), &knows);
        let risk = judgement.risks.iter().find(|risk| risk.id == "poison.look_alike").unwrap();
        assert_eq!(risk.severity, Severity::Warn);
    }
}

#[test]
fn dust_that_comes_back_is_nothing() {
    let stake = || call("stake(uint256)", vec![number(5)]);
    let unit = 1_000_000_000_000_000_000;
    let back = |change: i64| {
        let mut context = moved(&[(ME, -unit)]);
        context.outcome.as_mut().unwrap().deltas.push(delta(ME, Some(TOKEN), change));
        context
    };
    assert!(judge(&stake(), &back(1)).has("diff.nothing_in"));
    assert!(!judge(&stake(), &back(unit)).has("diff.nothing_in"));
    // A token that does not say its decimals: nobody knows how little that is.
    let mut unknown = back(unit);
    unknown.addresses.get_mut(&TOKEN).unwrap().token = None;
    let judgement = judge(&stake(), &unknown);
    assert!(!judgement.has("diff.nothing_in") && judgement.unknown.contains("diff.nothing_in"), "{judgement:?}");
    // One NFT is no dust.
    let mut nft = back(1);
    nft.outcome.as_mut().unwrap().deltas[1].id = Some(U256::from(7));
    assert!(!judge(&stake(), &nft).has("diff.nothing_in"));
    // A claim that takes coins and gives dust takes coins.
    let claim = raw(5, encoded("claim()", vec![]));
    assert!(judge(&claim, &back(1)).has("drain.claim"));
}

#[test]
fn a_message_is_not_unknown_for_want_of_a_run() {
    let context = Context { outcome: None, transaction: None, deployments: Vec::new(), ..usual() };
    assert_eq!(judge(&note(r#"{"chainId":1}"#, r#"{"x":1}"#), &context), Judgement::default());
    assert!(judge(&approve(5), &context).unknown.iter().all(|id| BEYOND_INPUT.contains(id)));
    assert!(BEYOND_INPUT.iter().all(|id| IDS.contains(id)));
}

#[test]
fn a_grant_of_somebody_elses_is_not_the_signers_risk() {
    let permit = "permit(address,address,uint256,uint256,uint8,bytes32,bytes32)";
    let word = || DynSolValue::FixedBytes([0; 32].into(), 32);
    let of = |owner: Address| {
        let amount = DynSolValue::Uint(U256::MAX, 256);
        call(
            permit,
            vec![owner.into(), SPENDER.into(), amount, number(9), DynSolValue::Uint(U256::ZERO, 8), word(), word()],
        )
    };
    assert!(judge(&of(ME), &listed(SPENDER)).has("approve.listed"));
    assert!(!judge(&of(OTHER), &listed(SPENDER)).has("approve.listed"));
}

#[test]
fn the_worst_risk_stands_first() {
    let unlimited = call(APPROVE, vec![SPENDER.into(), DynSolValue::Uint(U256::MAX, 256)]);
    let judgement = judge(&unlimited, &listed(SPENDER));
    assert_eq!((judgement.risks[0].id, judgement.worst()), ("approve.listed", Some(Severity::Block)));
}

//! Ordinary calls and messages must pass: no rule of weight may apply to them.

use std::collections::BTreeMap;

use alloy_dyn_abi::DynSolValue;
use alloy_primitives::{Address, Bytes, U256, address};
use surety_security::decode::call::Unread;
use surety_security::decode::{Decoded, Input, Known, Method, decode};
use surety_security::rules::{AddressFacts, Context, Judgement, Severity, Token, Transaction, judge};

use crate::decode::samples;

const ME: Address = address!("1111111111111111111111111111111111111111");
const OTHER: Address = address!("2222222222222222222222222222222222222222");
const TOKEN: Address = address!("3333333333333333333333333333333333333333");
const ROUTER: Address = address!("4444444444444444444444444444444444444444");

/// An old contract that no list says anything about.
fn old_contract() -> AddressFacts {
    AddressFacts {
        has_code: Some(true),
        age_blocks: Some(1_000_000),
        is_unused: Some(false),
        labels: Some(Vec::new()),
        ..AddressFacts::default()
    }
}

/// Everything that is named is an old contract; the transaction is an ordinary one.
fn context(decoded: &Decoded) -> Context {
    let token = Token { standard: "erc20".to_owned(), decimals: Some(18), ..Token::default() };
    let mut addresses: BTreeMap<_, _> =
        decoded.addresses().into_iter().map(|address| (address, old_contract())).collect();
    addresses.entry(TOKEN).and_modify(|facts| facts.token = Some(token));
    Context {
        chain_id: Some(1),
        signer: Some(ME),
        addresses,
        transaction: Some(Transaction {
            chain_id: Some(1),
            account_nonce: Some(0),
            gas_limit: 300_000,
            max_fee: 60_000_000_000,
            max_priority_fee: 1_000_000_000,
            base_fee: Some(20_000_000_000),
            ..Transaction::default()
        }),
        ..Context::default()
    }
}

fn judged(decoded: &Decoded) -> Judgement {
    judge(decoded, &context(decoded))
}

fn heavy(judgement: &Judgement) -> Vec<String> {
    let heavy = judgement.risks.iter().filter(|risk| risk.severity >= Severity::Quarantine);
    heavy.map(|risk| format!("{}: {}", risk.id, risk.message)).collect()
}

#[test]
fn no_method_of_a_published_contract_is_held_or_blocked() {
    let Some(samples) = samples() else { return };
    let nothing = Known::default();
    for sample in samples {
        let decoded = decode(&nothing, Input::call(Some(ME), ROUTER, sample.data.clone()));
        let mut judgement = judged(&decoded);
        // Random bytes are no packed list of calls, and it is right to say so.
        judgement.risks.retain(|risk| risk.id != "decode.incomplete");
        assert_eq!(heavy(&judgement), Vec::<String>::new(), "{}", sample.signature);
    }
}

fn data(signature: &str, values: Vec<DynSolValue>) -> Bytes {
    let method = Method::parse(signature).unwrap();
    [&method.selector[..], &DynSolValue::Tuple(values).abi_encode_params()].concat().into()
}

fn number(number: u64) -> DynSolValue {
    DynSolValue::Uint(U256::from(number), 256)
}

#[test]
fn ordinary_flows_pass() {
    let approve = data("approve(address,uint256)", vec![ROUTER.into(), DynSolValue::Uint(U256::MAX, 256)]);
    let transfer = data("transfer(address,uint256)", vec![OTHER.into(), number(10_u64.pow(18))]);
    let path = DynSolValue::Array(vec![TOKEN.into(), OTHER.into()]);
    let swap = data(
        "swapExactTokensForTokens(uint256,uint256,address[],address,uint256)",
        vec![number(1_000), number(990), path, ME.into(), number(2_000_000_000)],
    );
    let pair = DynSolValue::Array(vec![
        DynSolValue::Bytes(swap.to_vec()),
        DynSolValue::Bytes(data("refundETH()", vec![]).to_vec()),
    ]);
    let calls = [
        (TOKEN, 0, approve.clone()),
        (TOKEN, 0, transfer),
        (TOKEN, 0, data("approve(address,uint256)", vec![ROUTER.into(), number(0)])),
        (TOKEN, 0, data("setApprovalForAll(address,bool)", vec![ROUTER.into(), true.into()])),
        (ROUTER, 10_u64.pow(18), swap),
        (ROUTER, 0, data("multicall(bytes[])", vec![pair])),
        (OTHER, 10_u64.pow(17), Bytes::new()),
        (TOKEN, 10_u64.pow(18), data("deposit()", vec![])),
        (ROUTER, 10_u64.pow(17), data("mint()", vec![])),
        (ROUTER, 0, data("claim()", vec![])),
        (
            ROUTER,
            0,
            data("execute(address,uint256,bytes)", vec![TOKEN.into(), number(0), DynSolValue::Bytes(approve.to_vec())]),
        ),
    ];
    let nothing = Known::default();
    for (to, value, data) in calls {
        let unread = Unread { from: Some(ME), to: Some(to), value: U256::from(value), data, ..Unread::default() };
        let judgement = judged(&decode(&nothing, Input::Call(unread)));
        assert_eq!(heavy(&judgement), Vec::<String>::new());
    }
}

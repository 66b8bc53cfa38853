//! Every kind of message and of call inside a call is known for what it is.

use std::collections::BTreeMap;

use alloy_dyn_abi::DynSolValue;
use alloy_primitives::{Address, B256, Bytes, U256, address, eip191_hash_message};
use serde_json::{Value, json};
use surety_security::decode::action::{Action, Extent, Means, Power};
use surety_security::decode::call::Kind;
use surety_security::decode::{
    Call, Decoded, DecodedFact, Input, Known, Message, MessageKind, Method, Note, Odd, Unread, answer, decode, facts,
};
use surety_security::rules::{AddressFacts, Context, Token, judge};

const ME: Address = address!("1111111111111111111111111111111111111111");
const SPENDER: Address = address!("2222222222222222222222222222222222222222");
const TOKEN: Address = address!("3333333333333333333333333333333333333333");
const CONTRACT: Address = address!("4444444444444444444444444444444444444444");

fn read(input: Input) -> Message {
    let Decoded::Message(message) = decode(&Known::default(), input) else { unreachable!() };
    *message
}

/// Typed data with these structs, `Name: field type, …`; the first is signed.
fn typed(structs: &[(&str, &[(&str, &str)])], message: Value) -> Message {
    let fields = |fields: &[(&str, &str)]| {
        fields.iter().map(|(name, kind)| json!({ "name": name, "type": kind })).collect::<Vec<_>>()
    };
    let types: BTreeMap<&str, Vec<Value>> = structs.iter().map(|(name, list)| (*name, fields(list))).collect();
    let data = json!({
        "types": types, "primaryType": structs[0].0, "message": message,
        "domain": { "name": "Test", "chainId": 1, "verifyingContract": CONTRACT },
    });
    read(Input::TypedData(data.to_string()))
}

fn grants(message: &Message) -> Vec<(Option<Address>, Address, Extent, Means)> {
    let grant = |action: &Action| match action {
        Action::Grant(grant) => Some((grant.token, grant.spender, grant.extent, grant.means)),
        _ => None,
    };
    message.actions.iter().filter_map(grant).collect()
}

const PERMIT: &[(&str, &str)] = &[
    ("owner", "address"),
    ("spender", "address"),
    ("value", "uint256"),
    ("nonce", "uint256"),
    ("deadline", "uint256"),
];

#[test]
fn a_permit() {
    let message = typed(
        &[("Permit", PERMIT)],
        json!({ "owner": ME, "spender": SPENDER, "value": "5", "nonce": 0, "deadline": "99" }),
    );
    assert_eq!(message.kind, MessageKind::Permit);
    let amount = Extent::Amount(U256::from(5));
    assert_eq!(grants(&message), [(Some(CONTRACT), SPENDER, amount, Means::Permit)]);
    assert_eq!((message.chain_id, message.odd), (Some(U256::ONE), vec![]));
}

#[test]
fn a_permit_of_dai_and_of_an_nft() {
    let dai = [
        ("holder", "address"),
        ("spender", "address"),
        ("nonce", "uint256"),
        ("expiry", "uint256"),
        ("allowed", "bool"),
    ];
    let message = json!({ "holder": ME, "spender": SPENDER, "nonce": 1, "expiry": 0, "allowed": true });
    let message = typed(&[("Permit", &dai)], message);
    assert_eq!(message.kind, MessageKind::DaiPermit);
    assert_eq!(grants(&message), [(Some(CONTRACT), SPENDER, Extent::Everything, Means::DaiPermit)]);

    let nft = [("spender", "address"), ("tokenId", "uint256"), ("nonce", "uint256"), ("deadline", "uint256")];
    let message = typed(&[("Permit", &nft)], json!({ "spender": SPENDER, "tokenId": 7, "nonce": 1, "deadline": 2 }));
    assert_eq!(message.kind, MessageKind::NftPermit);
    assert_eq!(grants(&message)[0].2, Extent::Nft(U256::from(7)));
}

#[test]
fn a_permit_by_another_name_still_grants() {
    let message = json!({ "owner": ME, "spender": SPENDER, "value": "5", "nonce": 0, "deadline": "99" });
    let message = typed(&[("PermitV9", PERMIT)], message);
    assert_eq!((message.kind, grants(&message).len()), (MessageKind::TypedData, 1));
}

#[test]
fn a_transfer_with_authorization() {
    let fields = [("from", "address"), ("to", "address"), ("value", "uint256"), ("nonce", "bytes32")];
    let value = json!({ "from": ME, "to": SPENDER, "value": 3, "nonce": B256::ZERO });
    let message = typed(&[("TransferWithAuthorization", &fields)], value);
    assert_eq!(message.kind, MessageKind::Authorization);
    assert!(
        matches!(&message.actions[..], [Action::Move(one)] if one.to == SPENDER && one.item.amount == U256::from(3))
    );
}

const DETAILS: &[(&str, &str)] =
    &[("token", "address"), ("amount", "uint160"), ("expiration", "uint48"), ("nonce", "uint48")];

#[test]
fn permit2_single_and_batch() {
    let detail = json!({ "token": TOKEN, "amount": "9", "expiration": 50, "nonce": 0 });
    let single = [("details", "PermitDetails"), ("spender", "address"), ("sigDeadline", "uint256")];
    let value = json!({ "details": detail, "spender": SPENDER, "sigDeadline": 60 });
    let message = typed(&[("PermitSingle", &single), ("PermitDetails", DETAILS)], value);
    assert_eq!(message.kind, MessageKind::Permit2Single);
    assert_eq!(grants(&message), [(Some(TOKEN), SPENDER, Extent::Amount(U256::from(9)), Means::Permit2)]);

    let batch = [("details", "PermitDetails[]"), ("spender", "address"), ("sigDeadline", "uint256")];
    let value = json!({ "details": [detail, detail], "spender": SPENDER, "sigDeadline": 60 });
    let message = typed(&[("PermitBatch", &batch), ("PermitDetails", DETAILS)], value);
    assert_eq!((message.kind, grants(&message).len()), (MessageKind::Permit2Batch, 2));
}

#[test]
fn permit2_transfer_with_and_without_witness() {
    let permitted = [("token", "address"), ("amount", "uint256")];
    let fields =
        [("permitted", "TokenPermissions"), ("spender", "address"), ("nonce", "uint256"), ("deadline", "uint256")];
    let value = json!({ "permitted": { "token": TOKEN, "amount": 4 }, "spender": SPENDER, "nonce": 1, "deadline": 2 });
    let message = typed(&[("PermitTransferFrom", &fields), ("TokenPermissions", &permitted)], value.clone());
    assert_eq!((message.kind, grants(&message)[0].3), (MessageKind::Permit2Transfer, Means::Permit2Transfer));

    let mut fields = fields.to_vec();
    fields.push(("witness", "Order"));
    let mut value = value;
    value["witness"] = json!({ "x": 1 });
    let structs: [(&str, &[(&str, &str)]); 3] =
        [("PermitWitnessTransferFrom", &fields), ("TokenPermissions", &permitted), ("Order", &[("x", "uint8")])];
    let message = typed(&structs, value);
    assert_eq!((message.kind, grants(&message).len()), (MessageKind::Permit2Witness, 1));

    let fields =
        [("permitted", "TokenPermissions[]"), ("spender", "address"), ("nonce", "uint256"), ("deadline", "uint256")];
    let value = json!({ "permitted": [{ "token": TOKEN, "amount": 4 }, { "token": ME, "amount": 1 }], "spender": SPENDER, "nonce": 1, "deadline": 2 });
    let message = typed(&[("PermitBatchTransferFrom", &fields), ("TokenPermissions", &permitted)], value);
    assert_eq!(grants(&message).len(), 2);
}

const ORDER: &[(&str, &str)] = &[
    ("offerer", "address"),
    ("zone", "address"),
    ("offer", "OfferItem[]"),
    ("consideration", "ConsiderationItem[]"),
    ("salt", "uint256"),
];
const OFFER_ITEM: &[(&str, &str)] = &[
    ("itemType", "uint8"),
    ("token", "address"),
    ("identifierOrCriteria", "uint256"),
    ("startAmount", "uint256"),
    ("endAmount", "uint256"),
];
const CONSIDERATION: &[(&str, &str)] = &[
    ("itemType", "uint8"),
    ("token", "address"),
    ("identifierOrCriteria", "uint256"),
    ("startAmount", "uint256"),
    ("endAmount", "uint256"),
    ("recipient", "address"),
];

fn listing(price: &str, to: Address) -> Value {
    let item = |kind: u8, amount: &str| json!({ "itemType": kind, "token": TOKEN, "identifierOrCriteria": "7", "startAmount": amount, "endAmount": amount });
    let mut paid = item(0, price);
    paid["recipient"] = json!(to);
    json!({ "offerer": ME, "zone": CONTRACT, "offer": [item(2, "1")], "consideration": [paid], "salt": 1 })
}

#[test]
fn a_seaport_order_and_a_bulk_order() {
    let structs: [(&str, &[(&str, &str)]); 3] =
        [("OrderComponents", ORDER), ("OfferItem", OFFER_ITEM), ("ConsiderationItem", CONSIDERATION)];
    let message = typed(&structs, listing("1000000000000000000", ME));
    assert_eq!(message.kind, MessageKind::SeaportOrder);
    let [Action::Offer(offer)] = &message.actions[..] else { panic!("{:?}", message.actions) };
    assert_eq!((offer.gives[0].id, offer.gets[0].amount), (Some(U256::from(7)), U256::from(10).pow(U256::from(18))));

    let mut bulk: Vec<(&str, &[(&str, &str)])> = vec![("BulkOrder", &[("tree", "OrderComponents[2][2]")])];
    bulk.extend(structs);
    let [one, other] = [listing("1", SPENDER), listing("2", ME)];
    let message = typed(&bulk, json!({ "tree": [[one, other], [one, other]] }));
    assert_eq!((message.kind, message.actions.len()), (MessageKind::SeaportBulk, 4));
    let judgement = judge(&Decoded::Message(Box::new(message)), &Context { signer: Some(ME), ..Context::default() });
    assert!(judgement.has("drain.free_order"));
}

#[test]
fn orders_of_0x_and_cow() {
    let fields = [
        ("makerToken", "address"),
        ("takerToken", "address"),
        ("makerAmount", "uint128"),
        ("takerAmount", "uint128"),
        ("maker", "address"),
    ];
    let value = json!({ "makerToken": TOKEN, "takerToken": SPENDER, "makerAmount": 5, "takerAmount": 6, "maker": ME });
    for name in ["LimitOrder", "RfqOrder", "OtcOrder"] {
        let message = typed(&[(name, &fields)], value.clone());
        assert_eq!((message.kind, message.actions.len()), (MessageKind::ZeroExOrder, 1));
    }
    let fields = [
        ("direction", "uint8"),
        ("maker", "address"),
        ("erc20Token", "address"),
        ("erc20TokenAmount", "uint256"),
        ("erc721Token", "address"),
        ("erc721TokenId", "uint256"),
    ];
    let value = json!({ "direction": 0, "maker": ME, "erc20Token": TOKEN, "erc20TokenAmount": 0, "erc721Token": SPENDER, "erc721TokenId": 3 });
    let message = typed(&[("ERC721Order", &fields)], value);
    assert!(matches!(&message.actions[..], [Action::Offer(offer)] if offer.gives[0].id == Some(U256::from(3))));

    let fields = [
        ("makerAddress", "address"),
        ("makerAssetAmount", "uint256"),
        ("takerAssetAmount", "uint256"),
        ("makerAssetData", "bytes"),
        ("takerAssetData", "bytes"),
    ];
    let asset = format!("0xf47261b0{}", const_hex::encode(TOKEN.into_word()));
    let value = json!({ "makerAddress": ME, "makerAssetAmount": 8, "takerAssetAmount": 9, "makerAssetData": asset, "takerAssetData": asset });
    let message = typed(&[("Order", &fields)], value);
    assert_eq!(message.kind, MessageKind::ZeroExOrder);
    assert!(matches!(&message.actions[..], [Action::Offer(offer)] if offer.gives[0].token == Some(TOKEN)));

    let fields = [
        ("sellToken", "address"),
        ("buyToken", "address"),
        ("receiver", "address"),
        ("sellAmount", "uint256"),
        ("buyAmount", "uint256"),
        ("feeAmount", "uint256"),
    ];
    let value = json!({ "sellToken": TOKEN, "buyToken": ME, "receiver": SPENDER, "sellAmount": 1, "buyAmount": 2, "feeAmount": 3 });
    let message = typed(&[("Order", &fields)], value);
    assert_eq!(message.kind, MessageKind::CowOrder);
    assert!(matches!(&message.actions[..], [Action::Offer(offer)] if offer.receiver == Some(SPENDER)));
}

fn data(signature: &str, values: Vec<DynSolValue>) -> Vec<u8> {
    let method = Method::parse(signature).unwrap();
    [&method.selector[..], &DynSolValue::Tuple(values).abi_encode_params()].concat()
}

fn approval() -> Vec<u8> {
    data("approve(address,uint256)", vec![SPENDER.into(), DynSolValue::Uint(U256::MAX, 256)])
}

#[test]
fn a_safe_transaction_is_read_to_the_call_inside() {
    let fields = [
        ("to", "address"),
        ("value", "uint256"),
        ("data", "bytes"),
        ("operation", "uint8"),
        ("safeTxGas", "uint256"),
        ("baseGas", "uint256"),
        ("gasPrice", "uint256"),
        ("gasToken", "address"),
        ("refundReceiver", "address"),
        ("nonce", "uint256"),
    ];
    let zero = Address::ZERO;
    let hex = const_hex::encode_prefixed(approval());
    let value = |operation: u8| {
        json!({ "to": TOKEN, "value": 0, "data": hex, "operation": operation, "safeTxGas": 1, "baseGas": 2, "gasPrice": operation,
            "gasToken": zero, "refundReceiver": SPENDER, "nonce": 0 })
    };
    let message = typed(&[("SafeTx", &fields)], value(0));
    assert_eq!((message.kind, message.odd.len()), (MessageKind::SafeTransaction, 0));
    assert_eq!(grants(&message), [(Some(TOKEN), SPENDER, Extent::Amount(U256::MAX), Means::Approve)]);
    let message = typed(&[("SafeTx", &fields)], value(1));
    assert!(
        message.actions.iter().any(|action| matches!(action, Action::Delegate(one) if one.code == TOKEN && !one.stays))
    );
    assert!(
        message.actions.iter().any(|action| matches!(action, Action::Move(one) if one.to == SPENDER)),
        "the refund"
    );
}

#[test]
fn a_safe_message_that_hides_a_hash() {
    let message = typed(&[("SafeMessage", &[("message", "bytes")])], json!({ "message": B256::repeat_byte(1) }));
    assert_eq!((message.kind, message.odd), (MessageKind::SafeMessage, vec![Odd::HashInside]));
}

#[test]
fn a_user_operation_in_typed_data_and_alone() {
    let fields = [("sender", "address"), ("nonce", "uint256"), ("initCode", "bytes"), ("callData", "bytes")];
    let inner = DynSolValue::Bytes(approval());
    let call_data =
        data("execute(address,uint256,bytes)", vec![TOKEN.into(), DynSolValue::Uint(U256::ZERO, 256), inner]);
    let value =
        json!({ "sender": ME, "nonce": 0, "initCode": "0x", "callData": const_hex::encode_prefixed(&call_data) });
    let message = typed(&[("PackedUserOperation", &fields)], value);
    assert_eq!((message.kind, grants(&message).len()), (MessageKind::UserOperation, 1));

    let factory = [CONTRACT.as_slice(), &[1, 2, 3, 4]].concat();
    let operation = Input::UserOperation {
        entry_point: CONTRACT,
        sender: ME,
        init_code: factory.into(),
        call_data: call_data.into(),
    };
    let message = read(operation);
    assert_eq!((message.calls.len(), grants(&message)[0].1), (2, SPENDER));
}

#[test]
fn a_delegation() {
    let message = read(Input::Delegation { account: Some(ME), chain_id: U256::ZERO, code: CONTRACT, nonce: 5 });
    assert_eq!(message.kind, MessageKind::Delegation);
    assert!(matches!(&message.actions[..], [Action::Delegate(one)] if one.stays && one.code == CONTRACT));
    // keccak256(0x05 ‖ rlp([0, address, 5])), put together by hand.
    let by_hand = const_hex::decode(format!("05d780{}{}05", "94", "44".repeat(20))).unwrap();
    assert_eq!(message.hash, Some(alloy_primitives::keccak256(by_hand)));
}

#[test]
fn sign_in_text_hash_and_eth_sign() {
    let text = format!(
        "example.org wants you to sign in with your Ethereum account:\n{ME}\n\nURI: https://example.org\nVersion: 1\n\
         Chain ID: 1\nNonce: 12345678\nIssued At: 2026-01-01T00:00:00Z"
    );
    let message = read(Input::Personal(text.clone().into_bytes().into()));
    assert_eq!((message.kind, message.hash), (MessageKind::SignIn, Some(eip191_hash_message(text))));
    assert!(message.sign_in.unwrap().is_whole);
    let kind = |bytes: &[u8]| read(Input::Personal(Bytes::copy_from_slice(bytes))).kind;
    assert_eq!(kind(b"hello"), MessageKind::Text);
    assert_eq!(kind(&[7; 32]), MessageKind::Hash);
    assert_eq!(kind("ab".repeat(32).as_bytes()), MessageKind::Hash);
    assert_eq!(read(Input::EthSign(Bytes::from_static(b"hello"))).kind, MessageKind::EthSign);
}

#[test]
fn a_field_that_is_not_signed_and_an_unusual_domain_are_seen() {
    let mut data = json!({
        "types": { "EIP712Domain": [{ "name": "name", "type": "string" }], "Mail": [{ "name": "text", "type": "string" }] },
        "primaryType": "Mail", "message": { "text": "x", "amount": "0" }, "domain": { "name": "Test" },
    });
    let message = read(Input::TypedData(data.to_string()));
    assert_eq!(message.odd, [Odd::UnsignedField("amount".to_owned())]);
    data["domain"]["chainId"] = json!(1);
    let message = read(Input::TypedData(data.to_string()));
    assert!(message.odd.contains(&Odd::DomainFields), "the declared domain has no chain, the values have one");
    assert!(message.odd.contains(&Odd::UnsignedField("chainId".to_owned())));
}

#[test]
fn typed_data_inside_a_json_string_and_inside_a_smart_accounts_is_the_same() {
    let types = json!({
        "TypedDataSign": [{ "name": "contents", "type": "Permit" }, { "name": "name", "type": "string" }],
        "Permit": PERMIT.iter().map(|(name, kind)| json!({ "name": name, "type": kind })).collect::<Vec<_>>(),
    });
    let permit = json!({ "owner": ME, "spender": SPENDER, "value": "5", "nonce": 0, "deadline": "99" });
    let data = json!({ "types": types, "primaryType": "TypedDataSign", "domain": { "chainId": 1, "verifyingContract": TOKEN },
        "message": { "contents": permit, "name": "Account" } });
    let plain = read(Input::TypedData(data.to_string()));
    assert_eq!((plain.kind, grants(&plain).len()), (MessageKind::Permit, 1));
    let quoted = read(Input::TypedData(json!(data.to_string()).to_string()));
    assert_eq!(plain.hash, quoted.hash);
}

/// The calls in a call's data.
fn inner(data: Vec<u8>) -> Vec<Call> {
    let Decoded::Call(call) = decode(&Known::default(), Input::call(Some(ME), CONTRACT, data)) else { unreachable!() };
    assert_eq!(call.notes, []);
    call.inner
}

fn bytes(data: &[u8]) -> DynSolValue {
    DynSolValue::Bytes(data.to_vec())
}

fn zero() -> DynSolValue {
    DynSolValue::Uint(U256::ZERO, 256)
}

#[test]
fn every_wrapper_is_opened() {
    let list = |values: Vec<DynSolValue>| DynSolValue::Array(values);
    let tuple = |values: Vec<DynSolValue>| DynSolValue::Tuple(values);
    let word = |byte: u8| DynSolValue::FixedBytes(B256::right_padding_from(&[byte]), 32);
    let a = &approval()[..];
    let packed = [TOKEN.as_slice(), &[0; 32], a].concat();
    let triple = || tuple(vec![TOKEN.into(), zero(), bytes(a)]);
    let batch = tuple(vec![list(vec![triple()])]).abi_encode_params();
    let operation = tuple(vec![
        ME.into(),
        zero(),
        bytes(&[]),
        bytes(&data("execute(address,uint256,bytes)", vec![TOKEN.into(), zero(), bytes(a)])),
        word(0),
        zero(),
        word(0),
        bytes(&[]),
        bytes(&[]),
    ]);
    let op = "(address,uint256,bytes,bytes,bytes32,uint256,bytes32,bytes,bytes)";
    let safe = vec![TOKEN.into(), zero(), bytes(a), DynSolValue::Uint(U256::ZERO, 8)];
    let wrapped = [
        data("multicall(bytes[])", vec![list(vec![bytes(a)])]),
        data("multicall(uint256,bytes[])", vec![zero(), list(vec![bytes(a)])]),
        data("aggregate((address,bytes)[])", vec![list(vec![tuple(vec![TOKEN.into(), bytes(a)])])]),
        data(
            "tryAggregate(bool,(address,bytes)[])",
            vec![true.into(), list(vec![tuple(vec![TOKEN.into(), bytes(a)])])],
        ),
        data("aggregate3((address,bool,bytes)[])", vec![list(vec![tuple(vec![TOKEN.into(), true.into(), bytes(a)])])]),
        data(
            "aggregate3Value((address,bool,uint256,bytes)[])",
            vec![list(vec![tuple(vec![TOKEN.into(), true.into(), zero(), bytes(a)])])],
        ),
        data("execute(address,uint256,bytes)", vec![TOKEN.into(), zero(), bytes(a)]),
        data("executeBatch(address[],bytes[])", vec![list(vec![TOKEN.into()]), list(vec![bytes(a)])]),
        data(
            "executeBatch(address[],uint256[],bytes[])",
            vec![list(vec![TOKEN.into()]), list(vec![zero()]), list(vec![bytes(a)])],
        ),
        data("executeBatch((address,uint256,bytes)[])", vec![list(vec![triple()])]),
        data("execute(bytes32,bytes)", vec![word(0), bytes(&packed)]),
        data("execute(bytes32,bytes)", vec![word(1), bytes(&batch)]),
        data("execTransactionFromModule(address,uint256,bytes,uint8)", safe),
        data(&format!("handleOps({op}[],address)"), vec![list(vec![operation.clone()]), ME.into()]),
        data(
            &format!("handleAggregatedOps(({op}[],address,bytes)[],address)"),
            vec![list(vec![tuple(vec![list(vec![operation]), ME.into(), bytes(&[])])]), ME.into()],
        ),
        data("execute(address,bytes)", vec![TOKEN.into(), bytes(a)]),
        data("multicall((address,uint256,bytes)[])", vec![list(vec![triple()])]),
        data(
            "execute((address,address,uint256,uint256,uint256,bytes),bytes)",
            vec![tuple(vec![ME.into(), TOKEN.into(), zero(), zero(), zero(), bytes(a)]), bytes(&[])],
        ),
        data("approveAndCall(address,uint256,bytes)", vec![TOKEN.into(), zero(), bytes(a)]),
    ];
    for data in wrapped {
        let found = inner(data.clone());
        let innermost = found.iter().flat_map(Call::walk).last().unwrap();
        assert_eq!(&innermost.raw.data[..], a, "{}", const_hex::encode(&data[..4]));
        assert_eq!(innermost.reading().unwrap().method.name, "approve");
    }
}

#[test]
fn multi_send_delegatecalls_and_batches_of_batches_are_opened() {
    let a = approval();
    let packed = |operation: u8| {
        [&[operation][..], TOKEN.as_slice(), &[0; 32], &U256::from(a.len()).to_be_bytes::<32>(), &a].concat()
    };
    let found = inner(data("multiSend(bytes)", vec![DynSolValue::Bytes([packed(0), packed(1)].concat())]));
    assert_eq!((found[0].raw.kind, found[1].raw.kind), (Kind::Call, Kind::Delegate));
    assert!(found.iter().all(|call| call.raw.data == a));

    let batch = |values: Vec<DynSolValue>| DynSolValue::Tuple(vec![DynSolValue::Array(values)]).abi_encode_params();
    let one = batch(vec![DynSolValue::Tuple(vec![Address::ZERO.into(), zero(), DynSolValue::Bytes(a)])]);
    let mode = const_hex::decode("01000000000078210002").unwrap();
    let mode = DynSolValue::FixedBytes(B256::right_padding_from(&mode), 32);
    let all = DynSolValue::Bytes(batch(vec![DynSolValue::Bytes(one.clone()), DynSolValue::Bytes(one)]));
    let found = inner(data("execute(bytes32,bytes)", vec![mode, all]));
    assert_eq!(found.len(), 2);
    assert_eq!(found[0].inner[0].raw.to, Some(CONTRACT), "the zero address is the account itself");
}

#[test]
fn a_multi_send_that_is_cut_off_is_made_all_the_same() {
    // The length says more than is there; the contract would take the rest from its memory.
    let a = approval();
    let packed = [&[0][..], TOKEN.as_slice(), &[0; 32], &U256::from(a.len() + 9).to_be_bytes::<32>(), &a].concat();
    let call = data("multiSend(bytes)", vec![DynSolValue::Bytes(packed)]);
    let Decoded::Call(call) = decode(&Known::default(), Input::call(Some(ME), CONTRACT, call)) else { unreachable!() };
    assert_eq!(
        (call.notes, call.inner[0].reading().unwrap().method.name.as_str()),
        (vec![Note::Incomplete], "approve")
    );
}

#[test]
fn the_universal_routers_permits_and_pulls_are_seen() {
    let number = |number: u64, bits: usize| DynSolValue::Uint(U256::from(number), bits);
    let details = DynSolValue::Tuple(vec![TOKEN.into(), number(5, 160), number(6, 48), number(0, 48)]);
    let single = DynSolValue::Tuple(vec![details, SPENDER.into(), number(9, 256)]);
    let permit = DynSolValue::Tuple(vec![single, DynSolValue::Bytes(vec![1; 65])]).abi_encode_params();
    let pull = DynSolValue::Tuple(vec![TOKEN.into(), SPENDER.into(), number(5, 160)]).abi_encode_params();
    let inputs = DynSolValue::Array(vec![DynSolValue::Bytes(permit), DynSolValue::Bytes(pull)]);
    let commands = DynSolValue::Bytes(vec![0x0a, 0x82]);
    let call = data("execute(bytes,bytes[],uint256)", vec![commands, inputs, number(1, 256)]);
    let decoded = decode(&Known::default(), Input::call(Some(ME), CONTRACT, call));
    let actions = decoded.actions();
    assert!(matches!(&actions[0], Action::Grant(grant) if grant.owner == Some(ME) && grant.spender == SPENDER));
    assert!(matches!(&actions[1], Action::Move(one) if one.from == Some(ME) && one.to == SPENDER));
}

#[test]
fn powers_that_are_handed_over_are_seen() {
    let powers = |data: Vec<u8>| {
        let decoded = decode(&Known::default(), Input::call(Some(ME), CONTRACT, data));
        let power = |action: Action| match action {
            Action::Handover(one) => Some(one.power),
            _ => None,
        };
        decoded.actions().into_iter().filter_map(power).collect::<Vec<_>>()
    };
    let one = |signature: &str| powers(data(signature, vec![SPENDER.into()]));
    assert_eq!(one("transferOwnership(address)"), [Power::Owner]);
    assert_eq!(one("upgradeTo(address)"), [Power::Code]);
    assert_eq!(one("changeAdmin(address)"), [Power::Admin]);
    assert_eq!(one("enableModule(address)"), [Power::Module]);
    let hash = B256::repeat_byte(3);
    assert_eq!(powers(data("approveHash(bytes32)", vec![DynSolValue::FixedBytes(hash, 32)])), [Power::Hash(hash)]);
    let uid = DynSolValue::Bytes([hash.as_slice(), &[0; 24]].concat());
    assert_eq!(powers(data("setPreSignature(bytes,bool)", vec![uid, true.into()])), [Power::Hash(hash)]);
}

#[test]
fn the_answer_has_goplus_names_and_leaves_out_what_is_unknown() {
    let decoded = decode(&Known::default(), Input::call(Some(ME), TOKEN, approval()));
    let judgement = judge(&decoded, &Context::default());
    let said = serde_json::to_value(answer::answer(&decoded, &BTreeMap::new(), &judgement)).unwrap();
    assert_eq!(said["method"], "approve");
    assert_eq!(
        said["params"][0],
        json!({ "name": "spender", "type": "address", "input": SPENDER.to_string().to_lowercase() })
    );
    assert_eq!(said["params"][1]["input"], U256::MAX.to_string());
    assert_eq!(said["risky_signature"], 1, "without a limit");
    assert!(said["risk"].as_str().unwrap().starts_with("approve.unlimited: "));
    assert!(said.get("malicious_contract").is_none() && said.get("contract_name").is_none());

    let small = data("transfer(address,uint256)", vec![SPENDER.into(), DynSolValue::Uint(U256::from(5), 256)]);
    let decoded = decode(&Known::default(), Input::call(Some(ME), TOKEN, small));
    let said = serde_json::to_value(answer::answer(&decoded, &BTreeMap::new(), &judge(&decoded, &Context::default())))
        .unwrap();
    assert!(said.get("risky_signature").is_none(), "rules that could not run are not clean: {said}");

    // With the lists asked and the parties known, what was read is settled without a simulation.
    let facts = AddressFacts {
        labels: Some(Vec::new()),
        token: Some(Token { decimals: Some(0), ..Token::default() }),
        ..AddressFacts::default()
    };
    let addresses: BTreeMap<_, _> = decoded.addresses().into_iter().map(|address| (address, facts.clone())).collect();
    let context =
        Context { addresses: addresses.clone(), counterparties: Some([SPENDER].into()), ..Context::default() };
    let said = serde_json::to_value(answer::answer(&decoded, &addresses, &judge(&decoded, &context))).unwrap();
    assert_eq!(
        (&said["risky_signature"], &said["risk"], &said["malicious_contract"]),
        (&json!(0), &json!(""), &json!(0))
    );
    assert_eq!(said["params"][0]["address_info"]["malicious_address"], 0);
}

#[test]
fn a_policy_sees_the_weightiest_action() {
    let fact = |decoded: &Decoded, name: &str| facts(decoded).get(name).cloned();
    let call = |data: Vec<u8>| decode(&Known::default(), Input::call(Some(ME), TOKEN, data));
    let approve = call(approval());
    assert_eq!(fact(&approve, "decoded.kind"), Some(DecodedFact::Text("approve".to_owned())));
    assert_eq!(fact(&approve, "decoded.amount"), Some(DecodedFact::Amount(U256::MAX)));
    assert_eq!(fact(&approve, "decoded.spender"), Some(DecodedFact::Address(SPENDER)));
    assert_eq!(fact(&approve, "decoded.unlimited"), Some(DecodedFact::Flag(true)));

    // An approval that is hidden behind a transfer in a multicall still decides.
    let transfer = data("transfer(address,uint256)", vec![SPENDER.into(), DynSolValue::Uint(U256::from(5), 256)]);
    let list = vec![DynSolValue::Bytes(transfer.clone()), DynSolValue::Bytes(approval())];
    let both = call(data("multicall(bytes[])", vec![DynSolValue::Array(list)]));
    assert_eq!(fact(&both, "decoded.kind"), Some(DecodedFact::Text("approve".to_owned())));
    assert_eq!(fact(&both, "decoded.calls"), Some(DecodedFact::Count(3)));

    assert_eq!(fact(&call(transfer), "decoded.kind"), Some(DecodedFact::Text("transfer".to_owned())));
    assert_eq!(fact(&call(vec![1, 2, 3, 4]), "decoded.readable"), Some(DecodedFact::Flag(false)));
    let plain = Unread { from: Some(ME), to: Some(SPENDER), value: U256::ONE, ..Unread::default() };
    let plain = decode(&Known::default(), Input::Call(plain));
    assert_eq!(fact(&plain, "decoded.kind"), Some(DecodedFact::Text("native_transfer".to_owned())));
    let text = decode(&Known::default(), Input::Personal(Bytes::from_static(b"hello")));
    assert_eq!(fact(&text, "decoded.kind"), Some(DecodedFact::Text("text".to_owned())));
}

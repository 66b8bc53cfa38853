//! Messages that a wallet is asked to sign, and what the signature would allow.

use alloy_primitives::{Address, B256, Bytes, U256, eip191_hash_message, keccak256};
use serde::Serialize;

use super::action::{Action, Delegation, Extent, Grant, Item, Means, Movement, of_call};
use super::call::{self, Call, Kind, Known, Unread};
use super::nested;
use super::order;
use super::signin::{self, SignIn};
use super::typed::{Fields, TypedData, TypedError};

/// What a message is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum MessageKind {
    /// An ERC-2612 permit.
    Permit,
    /// DAI's permit.
    DaiPermit,
    /// A permit for one NFT.
    NftPermit,
    /// An EIP-3009 transfer.
    Authorization,
    /// Permit2's allowance for one token.
    Permit2Single,
    /// Permit2's allowances for several tokens.
    Permit2Batch,
    /// Permit2's signed transfer.
    Permit2Transfer,
    /// Permit2's signed transfer, bound to further data.
    Permit2Witness,
    /// A Seaport order.
    SeaportOrder,
    /// A tree of Seaport orders under one signature.
    SeaportBulk,
    /// A 0x order.
    ZeroExOrder,
    /// A CoW order.
    CowOrder,
    /// A Safe's transaction.
    SafeTransaction,
    /// A message of a Safe.
    SafeMessage,
    /// An ERC-4337 user operation.
    UserOperation,
    /// An EIP-7702 authorization.
    Delegation,
    /// A sign-in (EIP-4361).
    SignIn,
    /// Typed data of no kind that is known here.
    TypedData,
    /// Text.
    Text,
    /// 32 bytes that may be the hash of anything, a transaction too.
    Hash,
    /// A bare hash that `eth_sign` signs without a prefix.
    EthSign,
    /// It is not accepted, and why is told beside it.
    Unreadable,
}

/// What about a message is odd.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Odd {
    /// Shown in the data, and not part of what is signed.
    UnsignedField(String),
    /// The domain's fields are declared otherwise than its values suggest: wallets sign different hashes.
    DomainFields,
    /// A known kind of message whose fields are not as its standard has them.
    Incomplete,
    /// A message that moves assets, on no chain in particular.
    NoChain,
    /// 32 bytes inside that may be a hash.
    HashInside,
    /// Why it is not accepted.
    Refused(String),
}

/// A message, as far as it could be read.
#[derive(Clone, Debug, PartialEq)]
pub struct Message {
    /// What it is.
    pub kind: MessageKind,
    /// The hash that is signed.
    pub hash: Option<B256>,
    /// The typed data, where it is some.
    pub typed: Option<TypedData>,
    /// The chain it is for, where it says so; 0 for all.
    pub chain_id: Option<U256>,
    /// The contract that takes the signature, where it says so.
    pub contract: Option<Address>,
    /// What it asks for; what the call inside asks for is included.
    pub actions: Vec<Action>,
    /// The calls that the signature would allow.
    pub calls: Vec<Call>,
    /// The sign-in, where it is one.
    pub sign_in: Option<SignIn>,
    /// The text, where it is one.
    pub text: Option<String>,
    /// What is odd about it.
    pub odd: Vec<Odd>,
}

impl Message {
    fn new(kind: MessageKind) -> Self {
        Self {
            kind,
            hash: None,
            typed: None,
            chain_id: None,
            contract: None,
            actions: Vec::new(),
            calls: Vec::new(),
            sign_in: None,
            text: None,
            odd: Vec::new(),
        }
    }
}

/// Reads the JSON of `eth_signTypedData_v4`. What is not accepted is a message too: unreadable, with the reason.
pub fn typed(known: &Known, json: &str) -> Message {
    match TypedData::parse(json) {
        Ok(data) => of_typed(known, data),
        Err(error) => refused(&error),
    }
}

fn refused(error: &TypedError) -> Message {
    Message { odd: vec![Odd::Refused(error.to_string())], ..Message::new(MessageKind::Unreadable) }
}

/// Reads typed data.
pub fn of_typed(known: &Known, data: TypedData) -> Message {
    let mut message = Message::new(MessageKind::TypedData);
    message.hash = Some(data.hash());
    message.chain_id = data.domain().uint("chainId");
    message.contract = data.domain().address("verifyingContract");
    message.odd.extend(data.unsigned_fields().into_iter().map(Odd::UnsignedField));
    if !data.domain_is_usual() {
        message.odd.push(Odd::DomainFields);
    }
    recognise(known, innermost(&data), &mut message);
    let moves_assets = !message.actions.is_empty() || !message.calls.is_empty();
    if moves_assets && message.chain_id.is_none() {
        message.odd.push(Odd::NoChain);
    }
    message.typed = Some(data);
    message
}

/// The struct that carries the meaning: a smart account signs another one around it (ERC-7739).
fn innermost(data: &TypedData) -> (&str, Fields<'_>) {
    let whole = (data.primary_type(), data.message());
    if data.primary_type() != "TypedDataSign" {
        return whole;
    }
    let contents = data.message().inner("contents");
    contents.map_or(whole, |contents| (contents.kind(), contents))
}

/// Kind and actions, by the names that the signature's contract has fixed.
fn recognise(known: &Known, (name, fields): (&str, Fields<'_>), message: &mut Message) {
    let contract = message.contract;
    let (kind, actions) = match name {
        "Permit" | "PermitForAll" => permit(fields, contract),
        "TransferWithAuthorization" | "ReceiveWithAuthorization" => {
            (MessageKind::Authorization, authorization(fields, contract).into_iter().collect())
        }
        "PermitSingle" | "PermitBatch" => permit2(name, fields),
        "PermitTransferFrom" | "PermitBatchTransferFrom" => (MessageKind::Permit2Transfer, permit2_transfer(fields)),
        "PermitWitnessTransferFrom" | "PermitBatchWitnessTransferFrom" => {
            (MessageKind::Permit2Witness, permit2_transfer(fields))
        }
        "OrderComponents" => (MessageKind::SeaportOrder, offers(order::seaport(fields))),
        "BulkOrder" => {
            let orders = fields.list("tree").into_iter().chain(fields.inner("tree"));
            (MessageKind::SeaportBulk, orders.filter_map(order::seaport).map(Action::Offer).collect())
        }
        "LimitOrder" | "RfqOrder" | "OtcOrder" => (MessageKind::ZeroExOrder, offers(order::zero_ex(fields))),
        "ERC721Order" | "ERC1155Order" => (MessageKind::ZeroExOrder, offers(order::zero_ex_nft(fields))),
        "Order" if fields.value("makerAssetData").is_some() => {
            (MessageKind::ZeroExOrder, offers(order::zero_ex_old(fields)))
        }
        "Order" if fields.value("sellToken").is_some() => (MessageKind::CowOrder, offers(order::cow(fields))),
        "SafeTx" => return safe(known, fields, message),
        "SafeMessage" => return safe_message(fields, message),
        "PackedUserOperation" | "UserOperation" => return user_operation(known, fields, message),
        _ => (MessageKind::TypedData, permit_like(fields, contract)),
    };
    if actions.is_empty() && kind != MessageKind::TypedData {
        message.odd.push(Odd::Incomplete);
    }
    message.kind = kind;
    message.actions = actions;
}

fn offers(offer: Option<super::action::Offer>) -> Vec<Action> {
    offer.map(Action::Offer).into_iter().collect()
}

fn permit(fields: Fields<'_>, token: Option<Address>) -> (MessageKind, Vec<Action>) {
    let grant = |owner, spender, extent, means, until| {
        vec![Action::Grant(Grant { owner, token, spender, extent, means, until })]
    };
    let Some(spender) = fields.address("spender").or_else(|| fields.address("operator")) else {
        return (MessageKind::Permit, Vec::new());
    };
    let owner = fields.address("owner").or_else(|| fields.address("holder"));
    let until = fields.uint("deadline").or_else(|| fields.uint("expiry"));
    if let Some(allowed) = fields.flag("allowed").or_else(|| fields.flag("approved")) {
        let extent = if allowed { Extent::Everything } else { Extent::Amount(U256::ZERO) };
        // DAI: an expiry of zero means for ever.
        return (
            MessageKind::DaiPermit,
            grant(owner, spender, extent, Means::DaiPermit, until.filter(|until| !until.is_zero())),
        );
    }
    if let Some(amount) = fields.uint("value").or_else(|| fields.uint("amount")) {
        return (MessageKind::Permit, grant(owner, spender, Extent::Amount(amount), Means::Permit, until));
    }
    let nft = fields.uint("tokenId").map(|id| grant(owner, spender, Extent::Nft(id), Means::NftPermit, until));
    (MessageKind::NftPermit, nft.unwrap_or_default())
}

/// Typed data of another name with the fields of a permit: tokens do vary the name.
fn permit_like(fields: Fields<'_>, token: Option<Address>) -> Vec<Action> {
    let has_owner = fields.address("owner").or_else(|| fields.address("holder")).is_some();
    if has_owner { permit(fields, token).1 } else { Vec::new() }
}

fn authorization(fields: Fields<'_>, token: Option<Address>) -> Option<Action> {
    let item = Item { token, id: None, amount: fields.uint("value")? };
    Some(Action::Move(Movement { item, from: fields.address("from"), to: fields.address("to")? }))
}

fn permit2(name: &str, fields: Fields<'_>) -> (MessageKind, Vec<Action>) {
    let kind = if name == "PermitBatch" { MessageKind::Permit2Batch } else { MessageKind::Permit2Single };
    let details = fields.inner("details").into_iter().chain(fields.list("details"));
    let grant = |details: Fields<'_>| {
        Some(Action::Grant(Grant {
            owner: None,
            token: details.address("token"),
            spender: fields.address("spender")?,
            extent: Extent::Amount(details.uint("amount")?),
            means: Means::Permit2,
            until: details.uint("expiration"),
        }))
    };
    (kind, details.filter_map(grant).collect())
}

fn permit2_transfer(fields: Fields<'_>) -> Vec<Action> {
    let permitted = fields.inner("permitted").into_iter().chain(fields.list("permitted"));
    let grant = |permitted: Fields<'_>| {
        Some(Action::Grant(Grant {
            owner: None,
            token: permitted.address("token"),
            spender: fields.address("spender")?,
            extent: Extent::Amount(permitted.uint("amount")?),
            means: Means::Permit2Transfer,
            until: fields.uint("deadline"),
        }))
    };
    permitted.filter_map(grant).collect()
}

fn safe(known: &Known, fields: Fields<'_>, message: &mut Message) {
    message.kind = MessageKind::SafeTransaction;
    let read = || {
        let is_delegate = fields.uint("operation")? == U256::ONE;
        Some(Unread {
            from: message.contract,
            to: Some(fields.address("to")?),
            value: if is_delegate { U256::ZERO } else { fields.uint("value")? },
            data: fields.bytes("data")?.into(),
            kind: if is_delegate { Kind::Delegate } else { Kind::Call },
        })
    };
    let unread = read();
    add_calls(known, unread.into_iter().collect(), message);
    // The refund is paid by the Safe, whatever the call does.
    if let Some(action) = refund(fields, message.contract) {
        message.actions.push(action);
    }
}

fn refund(fields: Fields<'_>, safe: Option<Address>) -> Option<Action> {
    let price = fields.uint("gasPrice").filter(|price| !price.is_zero())?;
    let gas = fields.uint("baseGas")?.saturating_add(fields.uint("safeTxGas")?);
    let token = fields.address("gasToken").filter(|token| !token.is_zero());
    let item = Item { token, id: None, amount: price.saturating_mul(gas) };
    Some(Action::Move(Movement { item, from: safe, to: fields.address("refundReceiver")? }))
}

fn safe_message(fields: Fields<'_>, message: &mut Message) {
    message.kind = MessageKind::SafeMessage;
    match fields.bytes("message") {
        Some(bytes) if bytes.len() == 32 => message.odd.push(Odd::HashInside),
        Some(_) => {}
        None => message.odd.push(Odd::Incomplete),
    }
}

fn user_operation(known: &Known, fields: Fields<'_>, message: &mut Message) {
    message.kind = MessageKind::UserOperation;
    let read = || Some((fields.address("sender")?, fields.bytes("initCode")?, fields.bytes("callData")?));
    let calls = read().map(|(sender, init, data)| nested::user_operation(message.contract, sender, &init, &data));
    add_calls(known, calls.unwrap_or_default(), message);
}

/// Reads the calls that a signature would allow, with what they ask for.
fn add_calls(known: &Known, calls: Vec<Unread>, message: &mut Message) {
    if calls.is_empty() {
        message.odd.push(Odd::Incomplete);
    }
    message.calls = calls.into_iter().map(|unread| call::decode(known, unread)).collect();
    message.actions = message.calls.iter().flat_map(of_call).collect();
}

/// A user operation as JSON-RPC has it, in the parts that decide: what it creates and what it calls.
pub fn operation(known: &Known, entry_point: Address, sender: Address, init_code: &[u8], call_data: &[u8]) -> Message {
    let mut message = Message::new(MessageKind::UserOperation);
    message.contract = Some(entry_point);
    add_calls(known, nested::user_operation(Some(entry_point), sender, init_code, call_data), &mut message);
    message
}

/// Reads the bytes of `personal_sign`, which signs them behind a prefix.
pub fn personal(bytes: &[u8]) -> Message {
    let mut message = Message::new(MessageKind::Text);
    message.hash = Some(eip191_hash_message(bytes));
    let text = std::str::from_utf8(bytes).ok();
    if bytes.len() == 32 || text.is_some_and(is_hash_in_hex) {
        // A Safe takes prefixed signatures of its transactions' hashes.
        message.kind = MessageKind::Hash;
    }
    if let Some(sign_in) = text.and_then(signin::parse) {
        message.kind = MessageKind::SignIn;
        message.chain_id = sign_in.chain_id;
        message.sign_in = Some(sign_in);
    }
    message.text = text.map(str::to_owned);
    message
}

fn is_hash_in_hex(text: &str) -> bool {
    let text = text.trim();
    let digits = text.strip_prefix("0x").unwrap_or(text);
    digits.len() == 64 && digits.bytes().all(|byte| byte.is_ascii_hexdigit())
}

/// Reads the bytes of `eth_sign`. They may be the hash of a transaction, so nothing about them is known.
pub fn eth_sign(bytes: &[u8]) -> Message {
    let mut message = Message::new(MessageKind::EthSign);
    message.hash = B256::try_from(bytes).ok();
    message.text = std::str::from_utf8(bytes).ok().map(str::to_owned);
    message
}

/// An EIP-7702 authorization: `code` will run as `account` until it authorises something else.
pub fn delegation(account: Option<Address>, chain_id: U256, code: Address, nonce: u64) -> Message {
    let mut message = Message::new(MessageKind::Delegation);
    message.chain_id = Some(chain_id);
    message.contract = Some(code);
    message.hash = Some(delegation_hash(chain_id, code, nonce));
    message.actions = vec![Action::Delegate(Delegation { account, code, stays: true, chain_id: Some(chain_id) })];
    message
}

/// keccak256(0x05 ‖ rlp([chain id, address, nonce])).
fn delegation_hash(chain_id: U256, code: Address, nonce: u64) -> B256 {
    let mut list = rlp_number(&chain_id.to_be_bytes_trimmed_vec());
    list.push(0x94);
    list.extend(code);
    list.extend(rlp_number(&U256::from(nonce).to_be_bytes_trimmed_vec()));
    // At most 33 + 21 + 9 bytes: over 55 the length takes a byte of its own.
    let head = match list.len() {
        length @ 0..=55 => vec![0x05, 0xc0 + length as u8],
        length => vec![0x05, 0xf8, length as u8],
    };
    keccak256([head, list].concat())
}

fn rlp_number(bytes: &[u8]) -> Vec<u8> {
    match bytes {
        [byte] if *byte < 0x80 => vec![*byte],
        _ => [&[0x80 + bytes.len() as u8], bytes].concat(),
    }
}

/// The bytes that JSON-RPC's `personal_sign` and `eth_sign` mean: hex with `0x`, or the text itself.
pub fn bytes_of(text: &str) -> Bytes {
    let decoded = text.strip_prefix("0x").and_then(|digits| const_hex::decode(digits).ok());
    decoded.unwrap_or_else(|| text.as_bytes().to_vec()).into()
}

//! Finds what a request carries, decodes it, and puts its one encoding in the place of what the client wrote.
//!
//! Invariant: a request that sends something holds nothing that is not known here: unknown fields and further parameters
//! are refused, for a node could find another transaction in them.

use std::borrow::Cow;

use alloy_primitives::{Address, Bytes, U256, hex as digits};

use super::hex::{self, HexError};
use super::json::Json;
use super::jsonrpc::RpcError;
use super::methods::{Carrier, Class, Method};
use super::subject::{ChainRule, Screened, Subject, Unsigned, UserOperation};

/// Most transactions, operations or calls of one request.
pub const MAX_CARRIED: usize = 100;
/// Levels of bundles in bundles.
const MAX_NESTED: usize = 4;
/// Most bytes of a name that a cancellation gives.
const MAX_NAME: usize = 128;

/// What a request carries.
#[derive(Clone, Debug, Default)]
pub struct Load {
    /// What is screened, in order.
    pub subjects: Vec<Subject>,
    /// What a later cancellation names, or what this one does: hashes and replacement ids.
    pub names: Vec<String>,
}

/// Takes the load of a request's parameters, and rewrites them.
///
/// # Errors
/// [`RpcError`] that says which parameter does not fit.
pub fn take(method: &Method, params: &mut Json<'_>, chain: ChainRule) -> Result<Load, RpcError> {
    let mut reader = Reader { chain, load: Load::default() };
    match reader.read(method.carrier, params) {
        Ok(()) => {}
        // What is only tried out may have a form that only the node knows: it passes without advice.
        Err(_) if method.class == Class::DryRun => return Ok(Load::default()),
        Err(error) => return Err(error),
    }
    if reader.load.subjects.is_empty() && method.class.sends() && method.class != Class::Cancel {
        return Err(RpcError::params("there is nothing to send"));
    }
    Ok(reader.load)
}

/// A transaction that is not signed, as wallets write it.
///
/// # Errors
/// [`RpcError`].
pub fn unsigned(value: &Json<'_>) -> Result<Unsigned, RpcError> {
    let members = value.as_map().ok_or_else(|| RpcError::params("a transaction is an object"))?;
    let mut unsigned = Unsigned::default();
    let mut input = None;
    for (key, value) in members {
        if matches!(value, Json::Null) {
            continue;
        }
        match key.as_ref() {
            "from" => unsigned.from = Some(address(value)?),
            // Some libraries write an empty recipient for a deployment; a node could read the zero address in it.
            "to" => unsigned.to = Some(address(value)?),
            "value" => unsigned.value = quantity(value)?,
            "gas" => unsigned.gas = Some(small(value)?),
            "nonce" => unsigned.nonce = Some(small(value)?),
            "chainId" => unsigned.chain_id = Some(small(value)?),
            "data" | "input" => {
                let bytes = bytes(value)?;
                if input.replace(bytes.clone()).is_some_and(|other| other != bytes) {
                    return Err(RpcError::params("data and input differ"));
                }
            }
            "gasPrice" | "maxFeePerGas" | "maxPriorityFeePerGas" | "type" => drop(quantity(value)?),
            "accessList" => {}
            other => return Err(RpcError::params(format!("the transaction's field {other:?} is not known"))),
        }
    }
    unsigned.data = input.unwrap_or_default();
    Ok(unsigned)
}

struct Reader {
    chain: ChainRule,
    load: Load,
}

impl Reader {
    fn read(&mut self, carrier: Carrier, params: &mut Json<'_>) -> Result<(), RpcError> {
        match carrier {
            Carrier::Nothing | Carrier::Closed => Ok(()),
            Carrier::Raw { most } => self.raw(&mut positions(params, 1, most)?[0]),
            Carrier::Field { field, others } => self.field(&mut positions(params, 1, 1)?[0], field, others),
            Carrier::Fields { field, others } => self.fields(&mut positions(params, 1, 1)?[0], field, others),
            Carrier::Named { field, others } => self.field(named(params)?, field, others),
            Carrier::NamedList { field, others } => self.fields(named(params)?, field, others),
            Carrier::Share => self.share(&mut positions(params, 1, 1)?[0], MAX_NESTED),
            Carrier::Operation => self.operation(positions(params, 2, 2)?),
            Carrier::Prepared => self.prepared(positions(params, 1, MAX_CARRIED)?),
            Carrier::Calls => self.calls(&positions(params, 1, 1)?[0]),
            Carrier::Call { most } => {
                let unsigned = unsigned(&positions(params, 1, most)?[0])?;
                self.check_chain(unsigned.chain_id)?;
                self.add(Subject::Unsigned(Box::new(unsigned)))
            }
            Carrier::Message { signer, message, most } => {
                let params = positions(params, 2, most)?;
                let subject =
                    Subject::Message { signer: Some(address(&params[signer])?), message: bytes(&params[message])? };
                self.add(subject)
            }
            Carrier::Typed { signer, message } => self.typed(positions(params, 2, 2)?, signer, message),
            Carrier::Names { field } => {
                let params = positions(params, 1, 1)?;
                let only = fields(&mut params[0], &[field])?;
                let name = only.iter().find(|(key, _)| key == field).and_then(|(_, value)| value.as_str());
                self.name(name.ok_or_else(|| RpcError::params(format!("the field {field:?} is expected")))?)
            }
        }
    }

    fn add(&mut self, subject: Subject) -> Result<(), RpcError> {
        if self.load.subjects.len() >= MAX_CARRIED {
            return Err(RpcError::params(format!("a request carries at most {MAX_CARRIED} transactions")));
        }
        self.load.subjects.push(subject);
        Ok(())
    }

    fn name(&mut self, name: &str) -> Result<(), RpcError> {
        if name.is_empty() || name.len() > MAX_NAME {
            return Err(RpcError::params("a name has 1 to 128 bytes"));
        }
        self.load.names.push(name.to_ascii_lowercase());
        Ok(())
    }

    fn check_chain(&self, found: Option<u64>) -> Result<(), RpcError> {
        match found {
            Some(found) if found != self.chain.id => Err(RpcError::params(format!(
                "chain {found} is asked for, this gateway serves chain {}",
                self.chain.id
            ))),
            _ => Ok(()),
        }
    }

    /// A signed transaction: what the client wrote gives way to the encoding of what was decoded.
    fn raw(&mut self, value: &mut Json<'_>) -> Result<(), RpcError> {
        let raw = bytes(value)?;
        *value = Json::Text(Cow::Owned(self.screen(&raw)?));
        Ok(())
    }

    fn screen(&mut self, raw: &Bytes) -> Result<String, RpcError> {
        let screened = Screened::read(raw, self.chain).map_err(|error| RpcError::params(error.to_string()))?;
        let text = digits::encode_prefixed(&screened.raw);
        self.load.names.push(screened.hash.to_string());
        self.add(Subject::Transaction(Box::new(screened)))?;
        Ok(text)
    }

    /// The same where the protocol writes hex without a prefix.
    fn bare(&mut self, value: &mut Json<'_>) -> Result<(), RpcError> {
        let text = text(value)?;
        let has_prefix = text.starts_with("0x");
        let raw = if has_prefix { hex::bytes(text) } else { hex::bare(text) }.map_err(refused)?;
        let text = self.screen(&raw)?;
        *value = Json::Text(Cow::Owned(if has_prefix { text } else { text[2..].to_owned() }));
        Ok(())
    }

    fn field(&mut self, value: &mut Json<'_>, field: &str, others: &[&str]) -> Result<(), RpcError> {
        let is_bare = field == "transaction" && !others.contains(&"chainId");
        for (key, value) in known(value, field, others)? {
            if key == field {
                if is_bare { self.bare(value)? } else { self.raw(value)? }
            }
        }
        Ok(())
    }

    fn fields(&mut self, value: &mut Json<'_>, field: &str, others: &[&str]) -> Result<(), RpcError> {
        let is_bare = field.starts_with("transaction");
        for (key, value) in known(value, field, others)? {
            if key == field {
                let Json::List(values) = value else { return Err(RpcError::params(format!("{field} is an array"))) };
                for value in values {
                    if is_bare { self.bare(value)? } else { self.raw(value)? }
                }
            } else if matches!(key.as_ref(), "replacementUuid" | "uuid") {
                self.name(text(value)?)?;
            }
        }
        Ok(())
    }

    fn share(&mut self, bundle: &mut Json<'_>, left: usize) -> Result<(), RpcError> {
        let left = left.checked_sub(1).ok_or_else(|| RpcError::params("bundles are nested too deeply"))?;
        for (key, value) in known(bundle, "body", &["version", "inclusion", "validity", "privacy", "metadata"])? {
            if key != "body" {
                continue;
            }
            let Json::List(elements) = value else { return Err(RpcError::params("body is an array")) };
            for element in elements {
                let members = fields(element, &["tx", "canRevert", "revertMode", "hash", "bundle"])?;
                for (key, value) in members {
                    match key.as_ref() {
                        "tx" => self.raw(value)?,
                        "bundle" => self.share(value, left)?,
                        // Somebody else's transaction, which is pending already.
                        "hash" => drop(hex::word(text(value)?).map_err(refused)?),
                        _ => {}
                    }
                }
            }
        }
        Ok(())
    }

    fn operation(&mut self, params: &mut [Json<'_>]) -> Result<(), RpcError> {
        let entry_point = address(&params[1])?;
        let operation = operation(&params[0], entry_point)?;
        self.add(Subject::UserOperation(Box::new(operation)))
    }

    fn prepared(&mut self, params: &mut [Json<'_>]) -> Result<(), RpcError> {
        for call in params {
            let members = fields(call, &["type", "chainId", "data", "signature", "capabilities"])?;
            let of = |key: &str| members.iter().find(|(name, _)| name == key).map(|(_, value)| value);
            let entry_point = match of("type").and_then(Json::as_str) {
                Some("user-operation-v060") => ENTRY_POINT_06,
                Some("user-operation-v070") => ENTRY_POINT_07,
                _ => return Err(RpcError::params("only prepared user operations are screened")),
            };
            self.check_chain(of("chainId").map(small).transpose()?)?;
            let data = of("data").ok_or_else(|| RpcError::params("data is expected"))?;
            let operation = operation(data, entry_point)?;
            self.add(Subject::UserOperation(Box::new(operation)))?;
        }
        Ok(())
    }

    /// EIP-5792: each call is screened as a transaction of the account.
    fn calls(&mut self, params: &Json<'_>) -> Result<(), RpcError> {
        let allowed = ["version", "chainId", "from", "calls", "capabilities", "atomicRequired", "id"];
        if params.as_map().is_none_or(|members| members.iter().any(|(key, _)| !allowed.contains(&key.as_ref()))) {
            return Err(RpcError::params("a field of wallet_sendCalls is not known"));
        }
        let from = params.get("from").map(address).transpose()?;
        let chain_id = params.get("chainId").map(small).transpose()?;
        self.check_chain(chain_id)?;
        let calls = params.get("calls").and_then(Json::as_list).ok_or_else(|| RpcError::params("calls is an array"))?;
        for call in calls {
            let members = call.as_map().ok_or_else(|| RpcError::params("a call is an object"))?;
            if members.iter().any(|(key, _)| !matches!(key.as_ref(), "to" | "data" | "value")) {
                return Err(RpcError::params("a call has to, data and value"));
            }
            self.add(Subject::Unsigned(Box::new(Unsigned { from, chain_id, ..unsigned(call)? })))?;
        }
        Ok(())
    }

    fn typed(&mut self, params: &[Json<'_>], signer: usize, message: usize) -> Result<(), RpcError> {
        let json = match &params[message] {
            // Wallets pass typed data as an object or as its text.
            Json::Text(text) => {
                Json::read(text.as_bytes(), 32).map_err(|error| RpcError::params(error.to_string()))?.to_text()
            }
            value @ (Json::Map(_) | Json::List(_)) => value.to_text(),
            _ => return Err(RpcError::params("typed data is an object")),
        };
        self.add(Subject::TypedData { signer: Some(address(&params[signer])?), json })
    }
}

const ENTRY_POINT_06: Address = alloy_primitives::address!("5FF137D4b0FDCD49DcA30c7CF57E578a026d2789");
const ENTRY_POINT_07: Address = alloy_primitives::address!("0000000071727De22E5E9d8BAf0edAc6f37da032");

const OPERATION: &[&str] = &[
    "sender",
    "nonce",
    "initCode",
    "callData",
    "callGasLimit",
    "verificationGasLimit",
    "preVerificationGas",
    "maxFeePerGas",
    "maxPriorityFeePerGas",
    "paymasterAndData",
    "signature",
    "factory",
    "factoryData",
    "paymaster",
    "paymasterVerificationGasLimit",
    "paymasterPostOpGasLimit",
    "paymasterData",
    "eip7702Auth",
];

fn operation(value: &Json<'_>, entry_point: Address) -> Result<UserOperation, RpcError> {
    let members = value.as_map().ok_or_else(|| RpcError::params("a user operation is an object"))?;
    if let Some((key, _)) = members.iter().find(|(key, _)| !OPERATION.contains(&key.as_ref())) {
        return Err(RpcError::params(format!("the user operation's field {key:?} is not known")));
    }
    let of = |key: &str| value.get(key).filter(|value| !matches!(value, Json::Null));
    let bytes_of = |key: &str| of(key).map_or_else(|| Ok(Bytes::new()), bytes);
    let missing = |key: &str| RpcError::params(format!("the user operation lacks {key}"));
    let delegate = match of("eip7702Auth") {
        Some(auth) => Some(address(auth.get("address").ok_or_else(|| missing("eip7702Auth.address"))?)?),
        None => None,
    };
    Ok(UserOperation {
        entry_point,
        sender: address(of("sender").ok_or_else(|| missing("sender"))?)?,
        nonce: quantity(of("nonce").ok_or_else(|| missing("nonce"))?)?,
        call_data: bytes(of("callData").ok_or_else(|| missing("callData"))?)?,
        factory: party(of("factory"), bytes_of("factoryData")?, bytes_of("initCode")?)?,
        paymaster: party(of("paymaster"), bytes_of("paymasterData")?, bytes_of("paymasterAndData")?)?,
        delegate,
        signature: bytes_of("signature")?,
    })
}

/// A factory or paymaster: in two fields since version 0.7, in one before.
fn party(named: Option<&Json<'_>>, its: Bytes, packed: Bytes) -> Result<Option<(Address, Bytes)>, RpcError> {
    match (named, packed.is_empty()) {
        (Some(_), false) => Err(RpcError::params("the user operation mixes two versions")),
        (Some(named), true) => Ok(Some((address(named)?, its))),
        (None, _) if !its.is_empty() => Err(RpcError::params("the user operation has data for nobody")),
        (None, true) => Ok(None),
        (None, false) if packed.len() < 20 => Err(RpcError::params("an address is expected first")),
        (None, false) => Ok(Some((Address::from_slice(&packed[..20]), packed.slice(20..)))),
    }
}

/// The parameters by position.
fn positions<'p, 'a>(params: &'p mut Json<'a>, least: usize, most: usize) -> Result<&'p mut [Json<'a>], RpcError> {
    match params {
        Json::List(values) if (least..=most).contains(&values.len()) => Ok(values),
        Json::List(_) if least == most => Err(RpcError::params(format!("{least} parameters are expected"))),
        Json::List(_) => Err(RpcError::params(format!("{least} to {most} parameters are expected"))),
        _ => Err(RpcError::params("the parameters are an array")),
    }
}

/// Parameters that are one object, or an array with one.
fn named<'p, 'a>(params: &'p mut Json<'a>) -> Result<&'p mut Json<'a>, RpcError> {
    match params {
        Json::List(_) => Ok(&mut positions(params, 1, 1)?[0]),
        params => Ok(params),
    }
}

type Members<'a> = Vec<(Cow<'a, str>, Json<'a>)>;

/// The members of an object that has no other fields than these.
fn fields<'p, 'a>(value: &'p mut Json<'a>, allowed: &[&str]) -> Result<&'p mut Members<'a>, RpcError> {
    let Json::Map(members) = value else { return Err(RpcError::params("an object is expected")) };
    match members.iter().find(|(key, _)| !allowed.contains(&key.as_ref())) {
        Some((key, _)) => Err(RpcError::params(format!("the field {key:?} is not known"))),
        None => Ok(members),
    }
}

/// The same, where one field must be there.
fn known<'p, 'a>(value: &'p mut Json<'a>, field: &str, others: &[&str]) -> Result<&'p mut Members<'a>, RpcError> {
    let Json::Map(members) = value else { return Err(RpcError::params("an object is expected")) };
    if let Some((key, _)) = members.iter().find(|(key, _)| key != field && !others.contains(&key.as_ref())) {
        return Err(RpcError::params(format!("the field {key:?} is not known")));
    }
    if !members.iter().any(|(key, _)| key == field) {
        return Err(RpcError::params(format!("the field {field:?} is expected")));
    }
    Ok(members)
}

fn text<'p>(value: &'p Json<'_>) -> Result<&'p str, RpcError> {
    value.as_str().ok_or_else(|| RpcError::params("a string is expected"))
}

fn bytes(value: &Json<'_>) -> Result<Bytes, RpcError> {
    hex::bytes(text(value)?).map_err(refused)
}

fn address(value: &Json<'_>) -> Result<Address, RpcError> {
    hex::address(text(value)?).map_err(refused)
}

fn quantity(value: &Json<'_>) -> Result<U256, RpcError> {
    hex::quantity(text(value)?).map_err(refused)
}

fn small(value: &Json<'_>) -> Result<u64, RpcError> {
    u64::try_from(quantity(value)?).map_err(|_| RpcError::params("a quantity is too large"))
}

fn refused(error: HexError) -> RpcError {
    RpcError::params(error.to_string())
}

//! EIP-712 typed data: what is in it, and the hash that would be signed.
//!
//! Always true: what is accepted is hashed like ethers and viem do. Where wallets differ (a field that is missing, a
//! number that JavaScript cannot hold, a type declared twice) the data is refused, because then what is shown need not
//! be what is signed. Work is linear in the text.

use std::collections::{BTreeMap, BTreeSet};

use alloy_primitives::{Address, B256, I256, U256, keccak256};
use serde_json::{Map, Value};

use super::json::{self, JsonError};

/// Most struct types.
pub const MAX_TYPES: usize = 64;

/// Most fields of all struct types together.
pub const MAX_FIELDS: usize = 256;

/// Longest name of a type or a field, in bytes.
pub const MAX_NAME: usize = 128;

/// Why typed data is not accepted.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TypedError {
    /// The text is no acceptable JSON.
    #[error(transparent)]
    Json(#[from] JsonError),
    /// A part that must be there is missing or of another kind.
    #[error("typed data without a proper `{0}`")]
    Part(&'static str),
    /// Too many types or fields, or names too long.
    #[error("too many types or fields")]
    TooLarge,
    /// A type that is neither elementary nor declared, or declared in an impossible way.
    #[error("the type {0:?} is not known")]
    Type(String),
    /// A value that is missing or does not fit its type.
    #[error("the value of {name:?} is no {kind}")]
    Value {
        /// The field.
        name: String,
        /// Its type.
        kind: String,
    },
}

/// An elementary type, or the name of a struct.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Base {
    Bool,
    Address,
    Bytes,
    Text,
    Uint(usize),
    Int(usize),
    FixedBytes(usize),
    Struct(String),
}

/// A field of a struct.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Field {
    pub(crate) name: String,
    /// The type as written: it is hashed like this.
    pub(crate) text: String,
    pub(crate) base: Base,
    /// Lengths of the arrays around the base, the innermost first; nothing for any length.
    pub(crate) arrays: Vec<Option<usize>>,
}

/// Typed data that is whole.
#[derive(Clone, Debug, PartialEq)]
pub struct TypedData {
    types: BTreeMap<String, Vec<Field>>,
    type_hashes: BTreeMap<String, B256>,
    primary: String,
    domain: Map<String, Value>,
    message: Map<String, Value>,
    domain_is_usual: bool,
    hash: B256,
}

const DOMAIN: &str = "EIP712Domain";

/// The domain's fields in the standard's order.
const DOMAIN_FIELDS: [(&str, &str); 5] = [
    ("name", "string"),
    ("version", "string"),
    ("chainId", "uint256"),
    ("verifyingContract", "address"),
    ("salt", "bytes32"),
];

impl TypedData {
    /// Reads the parameter of `eth_signTypedData_v4`: a JSON object, or a JSON string that holds one.
    ///
    /// # Errors
    /// [`TypedError`] when it is not whole, too large, or would be hashed differently by different wallets.
    pub fn parse(text: &str) -> Result<Self, TypedError> {
        match json::parse(text)? {
            Value::String(inner) => Self::from_value(json::parse(&inner)?),
            value => Self::from_value(value),
        }
    }

    /// Takes a value that was read with [`json::parse`].
    ///
    /// # Errors
    /// As [`TypedData::parse`].
    pub fn from_value(value: Value) -> Result<Self, TypedError> {
        let Value::Object(mut parts) = value else { return Err(TypedError::Part("object")) };
        let mut object = |name| match parts.remove(name) {
            Some(Value::Object(map)) => Ok(map),
            _ => Err(TypedError::Part(name)),
        };
        let (types, domain, message) = (object("types")?, object("domain")?, object("message")?);
        let Some(Value::String(primary)) = parts.remove("primaryType") else {
            return Err(TypedError::Part("primaryType"));
        };
        let mut types = read_types(&types)?;
        let usual = usual_domain(&domain);
        let declared = types.entry(DOMAIN.to_owned()).or_insert_with(|| usual.clone());
        let domain_is_usual = *declared == usual;
        if !types.contains_key(&primary) {
            return Err(TypedError::Type(primary));
        }
        let type_hashes = type_hashes(&types, &primary)?;
        let data = Self { types, type_hashes, primary, domain, message, domain_is_usual, hash: B256::ZERO };
        // What cannot be hashed cannot be signed: refused here, so that every value of this type has a hash.
        let hash = data.computed_hash()?;
        Ok(Self { hash, ..data })
    }

    /// The struct that is signed.
    pub fn primary_type(&self) -> &str {
        &self.primary
    }

    /// The hash that a wallet signs.
    pub const fn hash(&self) -> B256 {
        self.hash
    }

    /// The hash of the domain alone.
    pub fn domain_separator(&self) -> B256 {
        self.struct_hash(DOMAIN, &self.domain).unwrap_or_default()
    }

    fn computed_hash(&self) -> Result<B256, TypedError> {
        let mut bytes = vec![0x19, 0x01];
        bytes.extend(self.struct_hash(DOMAIN, &self.domain)?);
        if self.primary != DOMAIN {
            bytes.extend(self.struct_hash(&self.primary, &self.message)?);
        }
        Ok(keccak256(bytes))
    }

    /// Whether the declared fields of the domain are those that its values suggest. Where not, wallets that derive the
    /// fields sign another hash than wallets that take the declared ones.
    pub const fn domain_is_usual(&self) -> bool {
        self.domain_is_usual
    }

    /// Names in domain and message that no type declares: shown perhaps, signed never.
    pub fn unsigned_fields(&self) -> Vec<String> {
        let mut found = BTreeSet::new();
        self.undeclared(DOMAIN, &self.domain, &mut found);
        self.undeclared(&self.primary, &self.message, &mut found);
        found.into_iter().collect()
    }

    /// The domain, to be read by name.
    pub(crate) fn domain(&self) -> Fields<'_> {
        Fields { data: self, kind: DOMAIN, values: &self.domain }
    }

    /// The message, to be read by name.
    pub(crate) fn message(&self) -> Fields<'_> {
        Fields { data: self, kind: &self.primary, values: &self.message }
    }

    fn fields(&self, kind: &str) -> &[Field] {
        self.types.get(kind).map(Vec::as_slice).unwrap_or_default()
    }

    fn undeclared(&self, kind: &str, values: &Map<String, Value>, found: &mut BTreeSet<String>) {
        let fields = self.fields(kind);
        found.extend(values.keys().filter(|key| fields.iter().all(|field| field.name != **key)).cloned());
        for field in fields {
            let (Base::Struct(inner), Some(value)) = (&field.base, values.get(&field.name)) else { continue };
            for map in structs_in(value) {
                self.undeclared(inner, map, found);
            }
        }
    }

    fn struct_hash(&self, kind: &str, values: &Map<String, Value>) -> Result<B256, TypedError> {
        let hash = self.type_hashes.get(kind).ok_or_else(|| TypedError::Type(kind.to_owned()))?;
        let mut bytes = hash.to_vec();
        for field in self.fields(kind) {
            let value = values.get(&field.name).ok_or_else(|| misfit(field))?;
            bytes.extend(self.word(field, &field.arrays, value)?);
        }
        Ok(keccak256(bytes))
    }

    fn word(&self, field: &Field, arrays: &[Option<usize>], value: &Value) -> Result<B256, TypedError> {
        if let Some((length, inner)) = arrays.split_last() {
            let values = value.as_array().ok_or_else(|| misfit(field))?;
            if length.is_some_and(|length| length != values.len()) {
                return Err(misfit(field));
            }
            let mut bytes = Vec::with_capacity(values.len() * 32);
            for value in values {
                bytes.extend(self.word(field, inner, value)?);
            }
            return Ok(keccak256(bytes));
        }
        match &field.base {
            Base::Struct(kind) => self.struct_hash(kind, value.as_object().ok_or_else(|| misfit(field))?),
            base => elementary(base, value).ok_or_else(|| misfit(field)),
        }
    }
}

/// The objects in nested arrays of structs.
fn structs_in(value: &Value) -> Vec<&Map<String, Value>> {
    match value {
        Value::Object(map) => vec![map],
        Value::Array(values) => values.iter().flat_map(structs_in).collect(),
        _ => Vec::new(),
    }
}

fn misfit(field: &Field) -> TypedError {
    TypedError::Value { name: field.name.clone(), kind: field.text.clone() }
}

fn read_types(types: &Map<String, Value>) -> Result<BTreeMap<String, Vec<Field>>, TypedError> {
    let mut read = BTreeMap::new();
    let mut fields_left = MAX_FIELDS;
    if types.len() > MAX_TYPES {
        return Err(TypedError::TooLarge);
    }
    for (name, fields) in types {
        // A struct that is called like an elementary type, or an array, would be read as either.
        if !is_name(name) || base_of(name).is_none_or(|base| !matches!(base, Base::Struct(_))) {
            return Err(TypedError::Type(name.clone()));
        }
        let fields = fields.as_array().ok_or(TypedError::Part("types"))?;
        fields_left = fields_left.checked_sub(fields.len()).ok_or(TypedError::TooLarge)?;
        read.insert(name.clone(), read_fields(fields)?);
    }
    Ok(read)
}

fn read_fields(fields: &[Value]) -> Result<Vec<Field>, TypedError> {
    let mut names = BTreeSet::new();
    let mut read = Vec::with_capacity(fields.len());
    for field in fields {
        let (Some(name), Some(text)) = (field["name"].as_str(), field["type"].as_str()) else {
            return Err(TypedError::Part("types"));
        };
        let field = field_of(name, text).ok_or_else(|| TypedError::Type(text.chars().take(MAX_NAME).collect()))?;
        // Two fields of one name would be filled from one value.
        if !names.insert(name) {
            return Err(TypedError::Part("types"));
        }
        read.push(field);
    }
    Ok(read)
}

/// A name that cannot be taken for anything else in the text that is hashed.
fn is_name(name: &str) -> bool {
    let allowed = |c: char| !c.is_whitespace() && !c.is_control() && !matches!(c, '(' | ')' | '[' | ']' | ',');
    !name.is_empty() && name.len() <= MAX_NAME && name.chars().all(allowed)
}

fn field_of(name: &str, text: &str) -> Option<Field> {
    if !is_name(name) || text.len() > MAX_NAME {
        return None;
    }
    let (base, mut brackets) = text.find('[').map_or((text, ""), |at| text.split_at(at));
    let mut arrays = Vec::new();
    while !brackets.is_empty() {
        let (length, rest) = brackets.strip_prefix('[')?.split_once(']')?;
        let is_number = length.bytes().all(|byte| byte.is_ascii_digit()) && !length.starts_with('0');
        arrays.push(if length.is_empty() { None } else { Some(length.parse().ok().filter(|_| is_number)?) });
        brackets = rest;
    }
    if !is_name(base) || arrays.len() > 8 {
        return None;
    }
    Some(Field { name: name.to_owned(), text: text.to_owned(), base: base_of(base)?, arrays })
}

/// The type of this name; nothing for one that looks elementary and is not, as `uint7`.
fn base_of(name: &str) -> Option<Base> {
    let bits = |digits: &str| match digits {
        "" => Some(256),
        digits => {
            digits.parse().ok().filter(|bits| *bits != 0 && bits % 8 == 0 && *bits <= 256 && !digits.starts_with('0'))
        }
    };
    let is_numbered = |rest: &str| rest.bytes().all(|byte| byte.is_ascii_digit());
    match name {
        "bool" => return Some(Base::Bool),
        "address" => return Some(Base::Address),
        "bytes" => return Some(Base::Bytes),
        "string" => return Some(Base::Text),
        "function" => return None,
        _ => {}
    }
    if let Some(rest) = name.strip_prefix("uint").filter(|rest| is_numbered(rest)) {
        return bits(rest).map(Base::Uint);
    }
    if let Some(rest) = name.strip_prefix("int").filter(|rest| is_numbered(rest)) {
        return bits(rest).map(Base::Int);
    }
    if let Some(rest) = name.strip_prefix("bytes").filter(|rest| is_numbered(rest)) {
        return rest
            .parse()
            .ok()
            .filter(|size| (1..=32).contains(size) && !rest.starts_with('0'))
            .map(Base::FixedBytes);
    }
    Some(Base::Struct(name.to_owned()))
}

/// The domain's fields as ethers and viem derive them: those of the standard that have a value.
fn usual_domain(domain: &Map<String, Value>) -> Vec<Field> {
    let present = DOMAIN_FIELDS.iter().filter(|(name, _)| domain.get(*name).is_some_and(|value| !value.is_null()));
    present.filter_map(|(name, text)| field_of(name, text)).collect()
}

/// The type hashes of the domain and of all that the primary type needs.
fn type_hashes(types: &BTreeMap<String, Vec<Field>>, primary: &str) -> Result<BTreeMap<String, B256>, TypedError> {
    let mut needed = reachable(types, primary)?;
    needed.extend(reachable(types, DOMAIN)?);
    needed.into_iter().map(|name| Ok((name.to_owned(), keccak256(encode_type(types, name)?)))).collect()
}

/// Names of the structs that this one is made of, itself included.
fn reachable<'a>(types: &'a BTreeMap<String, Vec<Field>>, from: &'a str) -> Result<BTreeSet<&'a str>, TypedError> {
    let mut found = BTreeSet::from([from]);
    let mut open = vec![from];
    while let Some(name) = open.pop() {
        let fields = types.get(name).ok_or_else(|| TypedError::Type(name.to_owned()))?;
        for field in fields {
            if let Base::Struct(inner) = &field.base
                && found.insert(inner)
            {
                open.push(inner);
            }
        }
    }
    Ok(found)
}

/// EIP-712's `encodeType`: the struct, then those that it needs in the order of their names.
fn encode_type(types: &BTreeMap<String, Vec<Field>>, name: &str) -> Result<String, TypedError> {
    let mut needed = reachable(types, name)?;
    needed.remove(name);
    let mut text = String::new();
    for name in std::iter::once(name).chain(needed) {
        let fields = types.get(name).map(Vec::as_slice).unwrap_or_default();
        let fields = fields.iter().map(|field| format!("{} {}", field.text, field.name)).collect::<Vec<_>>().join(",");
        text += &format!("{name}({fields})");
    }
    Ok(text)
}

fn elementary(base: &Base, value: &Value) -> Option<B256> {
    Some(match base {
        Base::Bool => B256::with_last_byte(u8::from(value.as_bool()?)),
        Base::Address => address_of(value)?.into_word(),
        Base::Bytes => keccak256(bytes_of(value)?),
        Base::Text => keccak256(value.as_str()?),
        Base::Uint(bits) => unsigned(value).filter(|number| number.bit_len() <= *bits)?.into(),
        Base::Int(bits) => {
            // Two's complement: the sign takes a bit of its own.
            let number = signed(value)?;
            let shift = 256 - *bits;
            let fits = (number << shift).asr(shift) == number;
            fits.then(|| B256::from(number.into_raw()))?
        }
        Base::FixedBytes(size) => {
            let bytes = bytes_of(value).filter(|bytes| bytes.len() == *size)?;
            B256::right_padding_from(&bytes)
        }
        Base::Struct(_) => return None,
    })
}

/// Numbers above 2^53 are refused: JavaScript would round them before hashing, other languages would not.
const SAFE: u64 = (1 << 53) - 1;

fn unsigned(value: &Value) -> Option<U256> {
    match value {
        Value::Number(number) => number.as_u64().filter(|number| *number <= SAFE).map(U256::from),
        Value::String(text) => digits(text),
        _ => None,
    }
}

fn signed(value: &Value) -> Option<I256> {
    match value {
        Value::Number(number) => number
            .as_i64()
            .filter(|number| number.unsigned_abs() <= SAFE)
            .and_then(|number| I256::try_from(number).ok()),
        Value::String(text) => match text.strip_prefix('-') {
            Some(rest) if !rest.starts_with("0x") => {
                let number = digits(rest)?;
                (number <= U256::ONE << 255).then(|| I256::from_raw(number.wrapping_neg()))
            }
            Some(_) => None,
            None => I256::try_from(digits(text)?).ok(),
        },
        _ => None,
    }
}

/// A decimal number, or a hexadecimal one with `0x`.
fn digits(text: &str) -> Option<U256> {
    let (radix, digits) = text.strip_prefix("0x").map_or((10, text), |rest| (16, rest));
    let is_number =
        !digits.is_empty() && digits.len() <= 78 && digits.bytes().all(|byte| (byte as char).is_digit(radix));
    if is_number { U256::from_str_radix(digits, u64::from(radix)).ok() } else { None }
}

fn bytes_of(value: &Value) -> Option<Vec<u8>> {
    const_hex::decode(value.as_str()?.strip_prefix("0x")?).ok()
}

fn address_of(value: &Value) -> Option<Address> {
    Address::try_from(bytes_of(value)?.as_slice()).ok()
}

/// A struct's values, read by name and only as the declared type.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Fields<'a> {
    data: &'a TypedData,
    kind: &'a str,
    values: &'a Map<String, Value>,
}

impl<'a> Fields<'a> {
    /// The struct's name.
    pub(crate) const fn kind(self) -> &'a str {
        self.kind
    }

    pub(crate) fn declared(self) -> &'a [Field] {
        self.data.fields(self.kind)
    }

    pub(crate) fn value(self, name: &str) -> Option<&'a Value> {
        self.values.get(name)
    }

    fn plain(self, name: &str) -> Option<(&'a Base, &'a Value)> {
        let field = self.declared().iter().find(|field| field.name == name && field.arrays.is_empty())?;
        Some((&field.base, self.values.get(name)?))
    }

    pub(crate) fn address(self, name: &str) -> Option<Address> {
        self.plain(name).filter(|(base, _)| **base == Base::Address).and_then(|(_, value)| address_of(value))
    }

    pub(crate) fn uint(self, name: &str) -> Option<U256> {
        self.plain(name).filter(|(base, _)| matches!(base, Base::Uint(_))).and_then(|(_, value)| unsigned(value))
    }

    pub(crate) fn flag(self, name: &str) -> Option<bool> {
        self.plain(name).filter(|(base, _)| **base == Base::Bool).and_then(|(_, value)| value.as_bool())
    }

    pub(crate) fn bytes(self, name: &str) -> Option<Vec<u8>> {
        let is_bytes = |base: &Base| matches!(base, Base::Bytes | Base::FixedBytes(_));
        self.plain(name).filter(|(base, _)| is_bytes(base)).and_then(|(_, value)| bytes_of(value))
    }

    pub(crate) fn inner(self, name: &str) -> Option<Self> {
        match self.plain(name)? {
            (Base::Struct(kind), Value::Object(values)) => Some(Self { data: self.data, kind, values }),
            _ => None,
        }
    }

    /// All structs in a field that is an array of them, however deep the arrays are.
    pub(crate) fn list(self, name: &str) -> Vec<Self> {
        let field = self.declared().iter().find(|field| field.name == name && !field.arrays.is_empty());
        let Some((Base::Struct(kind), value)) = field.map(|field| &field.base).zip(self.values.get(name)) else {
            return Vec::new();
        };
        structs_in(value).into_iter().map(|values| Self { data: self.data, kind, values }).collect()
    }
}

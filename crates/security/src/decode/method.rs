//! A method of a contract: what it is called and what it takes.

use alloy_dyn_abi::DynSolType;
use alloy_json_abi::{Function, JsonAbi, Param};
use alloy_primitives::keccak256;
use std::collections::BTreeMap;
use std::sync::Arc;

use super::abi;

/// The four bytes that choose a method.
pub type Selector = [u8; 4];

/// A method, ready for decoding.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Method {
    /// Its name; empty for an inferred one.
    pub name: String,
    /// Name and types in canonical form, as hashed for the selector; types alone for an inferred one.
    pub signature: String,
    /// The first four bytes of the signature's hash.
    pub selector: Selector,
    /// What each parameter is called; may be empty.
    pub names: Vec<String>,
    /// What each parameter is; tuples are structs that carry the names of their fields.
    pub kinds: Vec<DynSolType>,
}

/// Why a text or ABI entry is no method.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MethodError {
    /// Not a signature.
    #[error("not a method's signature: {0}")]
    Signature(String),
    /// A type that does not exist or is out of bounds.
    #[error("type {0} cannot be decoded")]
    Type(String),
}

impl Method {
    /// Reads a human-readable signature such as `transfer(address to, uint256 amount)`.
    ///
    /// # Errors
    /// [`MethodError`] when it is none.
    pub fn parse(text: &str) -> Result<Self, MethodError> {
        let broken = || MethodError::Signature(text.chars().take(200).collect());
        let (name, rest) = text.trim().split_once('(').ok_or_else(broken)?;
        let inside = rest.strip_suffix(')').ok_or_else(broken)?;
        let (names, kinds): (Vec<_>, Vec<_>) = fields(inside, 0).ok_or_else(broken)?.into_iter().unzip();
        abi::check(&kinds).map_err(|_| broken())?;
        let types = kinds.iter().map(type_name).collect::<Vec<_>>().join(",");
        let signature = format!("{name}({types})");
        let [a, b, c, d, ..] = keccak256(&signature).0;
        Ok(Self { name: name.to_owned(), signature, selector: [a, b, c, d], names, kinds })
    }

    /// Takes an entry of a JSON ABI.
    ///
    /// # Errors
    /// [`MethodError::Type`] when a parameter has a type that cannot be decoded.
    pub fn from_abi(function: &Function) -> Result<Self, MethodError> {
        let kinds = function.inputs.iter().map(kind_of).collect::<Result<Vec<_>, _>>()?;
        abi::check(&kinds).map_err(|_| MethodError::Type(function.signature()))?;
        Ok(Self {
            name: function.name.clone(),
            signature: function.signature(),
            selector: function.selector().0,
            names: function.inputs.iter().map(|param| param.name.clone()).collect(),
            kinds,
        })
    }

    /// A method of which only selector and types are known, from bytecode.
    ///
    /// # Errors
    /// [`MethodError::Type`] when the types are out of bounds.
    pub fn inferred(selector: Selector, kinds: Vec<DynSolType>) -> Result<Self, MethodError> {
        let signature = format!("({})", kinds.iter().map(type_name).collect::<Vec<_>>().join(","));
        abi::check(&kinds).map_err(|_| MethodError::Type(signature.clone()))?;
        Ok(Self { name: String::new(), signature, selector, names: vec![String::new(); kinds.len()], kinds })
    }
}

/// Parameters or fields that are separated by commas: names and types.
fn fields(text: &str, depth: usize) -> Option<Vec<(String, DynSolType)>> {
    if text.trim().is_empty() {
        return Some(Vec::new());
    }
    let mut open = 0_usize;
    let is_between = |c: char| {
        match c {
            '(' => open += 1,
            ')' => open = open.saturating_sub(1),
            _ => {}
        }
        c == ',' && open == 0
    };
    text.split(is_between).map(|part| field(part.trim(), depth)).collect()
}

/// `type name` or `(fields)[] name`; the name may be missing.
fn field(text: &str, depth: usize) -> Option<(String, DynSolType)> {
    if depth > abi::MAX_TYPE_DEPTH {
        return None;
    }
    let Some(tuple) = text.strip_prefix('(') else {
        let (kind, name) = text.split_once(' ').unwrap_or((text, ""));
        return Some((name.trim().to_owned(), DynSolType::parse(kind).ok()?));
    };
    let (inside, after) = tuple.rsplit_once(')')?;
    let (brackets, name) = after.split_once(' ').unwrap_or((after, ""));
    let (prop_names, tuple) = fields(inside, depth + 1)?.into_iter().unzip();
    let whole = DynSolType::CustomStruct { name: String::new(), prop_names, tuple };
    Some((name.trim().to_owned(), in_arrays(brackets, whole)?))
}

/// The canonical name of a type, as in a signature.
pub fn type_name(kind: &DynSolType) -> String {
    match kind {
        DynSolType::Array(inner) => format!("{}[]", type_name(inner)),
        DynSolType::FixedArray(inner, count) => format!("{}[{count}]", type_name(inner)),
        DynSolType::Tuple(inner) | DynSolType::CustomStruct { tuple: inner, .. } => {
            format!("({})", inner.iter().map(type_name).collect::<Vec<_>>().join(","))
        }
        _ => kind.to_string(),
    }
}

/// The type of a parameter, where a tuple keeps the names of its fields.
fn kind_of(param: &Param) -> Result<DynSolType, MethodError> {
    let unknown = || MethodError::Type(param.ty.clone());
    let Some(suffix) = param.ty.strip_prefix("tuple") else {
        return DynSolType::parse(&param.ty).map_err(|_| unknown());
    };
    let fields = DynSolType::CustomStruct {
        name: String::new(),
        prop_names: param.components.iter().map(|field| field.name.clone()).collect(),
        tuple: param.components.iter().map(kind_of).collect::<Result<_, _>>()?,
    };
    in_arrays(suffix, fields).ok_or_else(unknown)
}

/// The type inside the arrays that these brackets mean.
fn in_arrays(brackets: &str, kind: DynSolType) -> Option<DynSolType> {
    // The brackets are read by the type parser, around a stand-in that is then replaced.
    Some(with_innermost(DynSolType::parse(&format!("bool{brackets}")).ok()?, kind))
}

fn with_innermost(kind: DynSolType, innermost: DynSolType) -> DynSolType {
    match kind {
        DynSolType::Array(inner) => DynSolType::Array(Box::new(with_innermost(*inner, innermost))),
        DynSolType::FixedArray(inner, count) => {
            DynSolType::FixedArray(Box::new(with_innermost(*inner, innermost)), count)
        }
        _ => innermost,
    }
}

/// A contract whose ABI is known.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Contract {
    /// What it is called.
    pub name: String,
    /// What it is for, in a sentence; empty when nobody said.
    pub description: String,
    methods: BTreeMap<Selector, Arc<Method>>,
}

impl Contract {
    /// Takes the methods of an ABI; those with types that cannot be decoded are left out, and their number is returned.
    pub fn new(name: &str, description: &str, abi: &JsonAbi) -> (Self, usize) {
        let read: Vec<_> = abi.functions().map(Method::from_abi).collect();
        let left_out = read.iter().filter(|method| method.is_err()).count();
        let methods = read.into_iter().flatten().map(|method| (method.selector, Arc::new(method))).collect();
        (Self { name: name.to_owned(), description: description.to_owned(), methods }, left_out)
    }

    /// The method that this selector chooses.
    pub fn method(&self, selector: Selector) -> Option<&Arc<Method>> {
        self.methods.get(&selector)
    }

    /// All methods, in the order of their selectors.
    pub fn methods(&self) -> impl Iterator<Item = &Arc<Method>> {
        self.methods.values()
    }
}

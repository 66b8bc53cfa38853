//! EIP-712 typed data: what an ordinary wallet shows and signs.
//!
//! A struct declared through [`typed_struct!`](crate::typed_struct) is at once the wire format (borsh), the JSON of the API (serde) and an
//! EIP-712 type, from one declaration. A general EIP-712 crate hashes JSON at run time, several times the cost of the
//! signature check that follows; the hashes here are computed from the fields and compared with other libraries in tests.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use alloy_primitives::{Address, U256};
use serde_json::{Value, json};

use crate::hash::{Hash32, keccak};
use crate::ids::NetworkId;

/// A field's name and EIP-712 type.
pub type Member = (&'static str, String);

/// The struct types that a value refers to, by name.
pub type Types = BTreeMap<String, Vec<Member>>;

/// A value that can stand in an EIP-712 struct.
pub trait TypedField {
    /// The Solidity name of the type.
    fn type_name() -> String;
    /// The 32 bytes that enter the struct's hash (EIP-712, `encodeData`).
    fn word(&self) -> [u8; 32];
    /// The value as wallets expect it in the JSON message: numbers as decimal strings, bytes as 0x-hex.
    fn message(&self) -> Value;
    /// Adds the struct types that this type refers to.
    fn collect(_types: &mut Types) {}
}

/// A struct of EIP-712.
pub trait TypedStruct: TypedField {
    /// The name of the type, which wallets show as the title.
    const NAME: &'static str;
    /// Its fields in order.
    fn members() -> Vec<Member>;
    /// The fields' words in order (EIP-712, `encodeData` without the type hash).
    fn encode_data(&self, out: &mut Vec<u8>);
}

/// A number as a 32-byte word.
#[must_use]
pub const fn uint_word(number: U256) -> [u8; 32] {
    number.to_be_bytes()
}

/// The full type string: the struct itself, then what it refers to in order of name (EIP-712, `encodeType`).
#[must_use]
pub fn encode_type(name: &str, members: &[Member], referenced: &Types) -> String {
    let mut text = one_type(name, members);
    for (other, members) in referenced.iter().filter(|(other, _)| *other != name) {
        text.push_str(&one_type(other, members));
    }
    text
}

fn one_type(name: &str, members: &[Member]) -> String {
    let fields: Vec<String> = members.iter().map(|(field, kind)| format!("{kind} {field}")).collect();
    format!("{name}({})", fields.join(","))
}

/// keccak-256 of the type string of `T`.
#[must_use]
pub fn type_hash<T: TypedStruct>() -> Hash32 {
    let mut types = Types::new();
    T::collect(&mut types);
    keccak(&[encode_type(T::NAME, &T::members(), &types).as_bytes()])
}

/// EIP-712 `hashStruct` with a type hash that the caller keeps.
#[must_use]
pub fn hash_struct(type_hash: &Hash32, data: &[u8]) -> Hash32 {
    keccak(&[&type_hash.0, data])
}

const DOMAIN_TYPE: &str = "EIP712Domain(string name,string version,uint256 chainId)";

/// The separator of Surety's domain on one network: name "Surety", version "1", the network's id as `chainId`.
#[must_use]
pub fn domain_separator(network: NetworkId) -> Hash32 {
    static SAME_EVERYWHERE: LazyLock<[Hash32; 3]> =
        LazyLock::new(|| [DOMAIN_TYPE, "Surety", "1"].map(|text| keccak(&[text.as_bytes()])));
    let [kind, name, version] = &*SAME_EVERYWHERE;
    keccak(&[&kind.0, &name.0, &version.0, &uint_word(U256::from(network.0))])
}

/// What the wallet's key signs: keccak(0x1901 | domain | struct hash).
#[must_use]
pub fn signing_hash(domain: &Hash32, struct_hash: &Hash32) -> Hash32 {
    keccak(&[&[0x19, 0x01], &domain.0, &struct_hash.0])
}

/// The JSON that `eth_signTypedData_v4` takes.
#[must_use]
pub fn document(network: NetworkId, primary: &str, members: &[Member], referenced: &Types, message: Value) -> Value {
    let list = |members: &[Member]| -> Value {
        members.iter().map(|(name, kind)| json!({"name": name, "type": kind})).collect()
    };
    let mut types = serde_json::Map::new();
    types.insert(
        "EIP712Domain".to_owned(),
        json!([{"name":"name","type":"string"},{"name":"version","type":"string"},{"name":"chainId","type":"uint256"}]),
    );
    types.insert(primary.to_owned(), list(members));
    for (name, members) in referenced {
        types.insert(name.clone(), list(members));
    }
    json!({
        "domain": {"name": "Surety", "version": "1", "chainId": network.0},
        "types": types,
        "primaryType": primary,
        "message": message,
    })
}

macro_rules! uints {
    ($($ty:ty => $name:literal),*) => {$(
        impl TypedField for $ty {
            fn type_name() -> String {
                $name.to_owned()
            }

            fn word(&self) -> [u8; 32] {
                uint_word(U256::from(*self))
            }

            fn message(&self) -> Value {
                self.to_string().into()
            }
        }
    )*};
}
uints!(u16 => "uint16", u32 => "uint32", u64 => "uint64", u128 => "uint128");

impl TypedField for bool {
    fn type_name() -> String {
        "bool".to_owned()
    }

    fn word(&self) -> [u8; 32] {
        uint_word(U256::from(u8::from(*self)))
    }

    fn message(&self) -> Value {
        (*self).into()
    }
}

impl TypedField for String {
    fn type_name() -> String {
        "string".to_owned()
    }

    fn word(&self) -> [u8; 32] {
        keccak(&[self.as_bytes()]).0
    }

    fn message(&self) -> Value {
        self.as_str().into()
    }
}

impl TypedField for Address {
    fn type_name() -> String {
        "address".to_owned()
    }

    fn word(&self) -> [u8; 32] {
        self.into_word().0
    }

    fn message(&self) -> Value {
        self.to_string().into()
    }
}

/// Bytes of any length, 0x-hex in JSON.
#[derive(Clone, Default, PartialEq, Eq, PartialOrd, Ord, Hash, borsh::BorshSerialize, borsh::BorshDeserialize)]
pub struct Blob(pub Vec<u8>);

impl core::fmt::Debug for Blob {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "Blob({} bytes)", self.0.len())
    }
}

impl serde::Serialize for Blob {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&const_hex::encode_prefixed(&self.0))
    }
}

impl<'de> serde::Deserialize<'de> for Blob {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = <std::borrow::Cow<'de, str> as serde::Deserialize>::deserialize(deserializer)?;
        const_hex::decode(text.as_bytes()).map(Self).map_err(serde::de::Error::custom)
    }
}

impl TypedField for Blob {
    fn type_name() -> String {
        "bytes".to_owned()
    }

    fn word(&self) -> [u8; 32] {
        keccak(&[&self.0]).0
    }

    fn message(&self) -> Value {
        const_hex::encode_prefixed(&self.0).into()
    }
}

macro_rules! fixed_bytes {
    ($($name:ident, $len:literal, $solidity:literal, $doc:literal;)*) => {$(
        #[doc = $doc]
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, borsh::BorshSerialize, borsh::BorshDeserialize)]
        pub struct $name(pub [u8; $len]);

        hex_bytes!($name, $len);

        impl Default for $name {
            fn default() -> Self {
                Self([0; $len])
            }
        }

        impl TypedField for $name {
            fn type_name() -> String {
                $solidity.to_owned()
            }

            // Solidity's short byte strings are padded on the right.
            fn word(&self) -> [u8; 32] {
                let mut word = [0; 32];
                word[..$len].copy_from_slice(&self.0);
                word
            }

            fn message(&self) -> Value {
                self.to_string().into()
            }
        }
    )*};
}
fixed_bytes! {
    Bytes16, 16, "bytes16", "16 bytes, such as a client's own reference.";
    Bytes32, 32, "bytes32", "32 bytes, such as an ed25519 public key.";
}

impl TypedField for crate::ids::PurchaseId {
    fn type_name() -> String {
        Bytes16::type_name()
    }

    fn word(&self) -> [u8; 32] {
        Bytes16(self.0).word()
    }

    fn message(&self) -> Value {
        self.to_string().into()
    }
}

impl<T: TypedField> TypedField for Vec<T> {
    fn type_name() -> String {
        format!("{}[]", T::type_name())
    }

    fn word(&self) -> [u8; 32] {
        let words: Vec<u8> = self.iter().flat_map(TypedField::word).collect();
        keccak(&[&words]).0
    }

    fn message(&self) -> Value {
        self.iter().map(TypedField::message).collect()
    }

    fn collect(types: &mut Types) {
        T::collect(types);
    }
}

/// Declares a struct once: borsh for the wire, serde for JSON, EIP-712 for wallets.
#[macro_export]
macro_rules! typed_struct {
    (
        $(#[$doc:meta])*
        pub struct $name:ident {
            $($(#[$field_doc:meta])* pub $field:ident: $ty:ty,)*
        }
    ) => {
        $(#[$doc])*
        #[derive(
            Clone, Debug, PartialEq, Eq, ::borsh::BorshSerialize, ::borsh::BorshDeserialize, ::serde::Serialize,
            ::serde::Deserialize,
        )]
        #[serde(deny_unknown_fields)]
        pub struct $name {
            $($(#[$field_doc])* pub $field: $ty,)*
        }

        impl $crate::typed_data::TypedStruct for $name {
            const NAME: &'static str = stringify!($name);

            fn members() -> Vec<$crate::typed_data::Member> {
                vec![$((stringify!($field), <$ty as $crate::typed_data::TypedField>::type_name()),)*]
            }

            fn encode_data(&self, out: &mut Vec<u8>) {
                $(out.extend_from_slice(&$crate::typed_data::TypedField::word(&self.$field));)*
                let _ = out;
            }
        }

        impl $crate::typed_data::TypedField for $name {
            fn type_name() -> String {
                stringify!($name).to_owned()
            }

            fn word(&self) -> [u8; 32] {
                static TYPE_HASH: ::std::sync::OnceLock<$crate::Hash32> = ::std::sync::OnceLock::new();
                let type_hash = TYPE_HASH.get_or_init($crate::typed_data::type_hash::<Self>);
                let mut data = Vec::new();
                $crate::typed_data::TypedStruct::encode_data(self, &mut data);
                $crate::typed_data::hash_struct(type_hash, &data).0
            }

            fn message(&self) -> ::serde_json::Value {
                ::serde_json::json!({$(stringify!($field): $crate::typed_data::TypedField::message(&self.$field)),*})
            }

            fn collect(types: &mut $crate::typed_data::Types) {
                $(<$ty as $crate::typed_data::TypedField>::collect(types);)*
                types.insert(
                    stringify!($name).to_owned(),
                    <Self as $crate::typed_data::TypedStruct>::members(),
                );
            }
        }
    };
}

#[cfg(test)]
#[allow(unreachable_pub)]
mod tests {
    use super::*;

    typed_struct! {
        /// A person of the EIP's example.
        pub struct Person {
            /// Name.
            pub name: String,
            /// Wallet.
            pub wallet: Address,
        }
    }

    typed_struct! {
        /// The EIP's example message.
        pub struct Mail {
            /// Sender.
            pub from: Person,
            /// Recipient.
            pub to: Person,
            /// Text.
            pub contents: String,
        }
    }

    #[test]
    fn the_example_of_the_eip_hashes_as_published() {
        let person =
            |name: &str, wallet: &str| Person { name: name.to_owned(), wallet: wallet.parse().expect("address") };
        let mail = Mail {
            from: person("Cow", "0xCD2a3d9F938E13CD947Ec05AbC7FE734Df8DD826"),
            to: person("Bob", "0xbBbBBBBbbBBBbbbBbbBbbbbBBbBbbbbBbBbbBBbB"),
            contents: "Hello, Bob!".to_owned(),
        };
        assert_eq!(
            type_hash::<Mail>().to_string(),
            "0xa0cedeb2dc280ba39b857546d74f5549c3a1d7bdc2dd96bf881f76108e23dac2"
        );
        assert_eq!(
            Hash32(mail.word()).to_string(),
            "0xc52c0ee5d84264471806290a3f2c4cecfc5490626bf912d01f240d7a274b371e"
        );
    }
}

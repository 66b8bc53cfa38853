//! JSON as strangers send it: bounded, and refused where two parsers could read it differently.

use std::cell::Cell;
use std::fmt;

use serde::de::{DeserializeSeed, Error as _, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Value};

/// Longest text that is read, in bytes.
pub const MAX_BYTES: usize = 1 << 20;

/// Deepest nesting that is read.
pub const MAX_DEPTH: usize = 32;

/// Most values, compound ones counted too.
pub const MAX_VALUES: usize = 50_000;

/// Why a text is not read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum JsonError {
    /// Longer than [`MAX_BYTES`].
    #[error("{0} bytes of JSON are too many")]
    TooLong(usize),
    /// Malformed, too deep, too many values, or a key twice.
    #[error("not acceptable JSON: {0}")]
    Malformed(String),
}

/// Reads one document and nothing after it. A key that is twice in an object is refused (also when it is escaped
/// differently): of two parsers one takes the first and the other the last.
///
/// # Errors
/// [`JsonError`] as above.
pub fn parse(text: &str) -> Result<Value, JsonError> {
    if text.len() > MAX_BYTES {
        return Err(JsonError::TooLong(text.len()));
    }
    let left = Cell::new(MAX_VALUES);
    let mut reader = serde_json::Deserializer::from_str(text);
    let malformed = |error: serde_json::Error| JsonError::Malformed(error.to_string());
    let value = Strict { depth: 0, left: &left }.deserialize(&mut reader).map_err(malformed)?;
    reader.end().map_err(malformed)?;
    Ok(value)
}

#[derive(Clone, Copy)]
struct Strict<'a> {
    depth: usize,
    left: &'a Cell<usize>,
}

impl<'de> DeserializeSeed<'de> for Strict<'_> {
    type Value = Value;

    fn deserialize<D: serde::Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        if self.depth >= MAX_DEPTH {
            return Err(D::Error::custom("nested too deeply"));
        }
        let Some(left) = self.left.get().checked_sub(1) else { return Err(D::Error::custom("too many values")) };
        self.left.set(left);
        deserializer.deserialize_any(Strict { depth: self.depth + 1, ..self })
    }
}

impl<'de> Visitor<'de> for Strict<'_> {
    type Value = Value;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a JSON value")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Bool(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_f64<E>(self, value: f64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(Value::String(value.to_owned()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut access: A) -> Result<Value, A::Error> {
        let mut values = Vec::new();
        while let Some(value) = access.next_element_seed(self)? {
            values.push(value);
        }
        Ok(Value::Array(values))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut access: A) -> Result<Value, A::Error> {
        let mut values = Map::new();
        while let Some(key) = access.next_key::<String>()? {
            if values.contains_key(&key) {
                return Err(A::Error::custom(format_args!("the key {key:?} is there twice")));
            }
            let value = access.next_value_seed(self)?;
            values.insert(key, value);
        }
        Ok(Value::Object(values))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_twice_is_refused_however_it_is_written() {
        assert!(parse(r#"{"a": 1, "b": {"a": 2}}"#).is_ok());
        assert!(parse(r#"{"a": 1, "a": 1}"#).is_err());
        assert!(parse(r#"{"ab": 1, "\u0061b": 1}"#).is_err());
        assert!(parse(r#"[{"x": [{"y": 1, "y": 2}]}]"#).is_err());
    }

    #[test]
    fn size_depth_and_a_second_document_are_refused() {
        assert!(parse(&"[".repeat(40)).is_err());
        assert!(parse(&format!("{}{}", "[".repeat(33), "]".repeat(33))).is_err());
        assert!(parse(&format!("{}{}", "[".repeat(32), "]".repeat(32))).is_ok());
        assert!(parse(&format!("[{}1]", "1,".repeat(MAX_VALUES))).is_err());
        assert_eq!(parse(&" ".repeat(MAX_BYTES + 1)), Err(JsonError::TooLong(MAX_BYTES + 1)));
        assert!(parse("{} {}").is_err());
    }
}

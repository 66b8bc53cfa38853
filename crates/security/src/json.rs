//! JSON bodies, read strictly: what two readers could understand differently is refused.

use std::collections::BTreeSet;
use std::fmt;

use serde::de::{DeserializeOwned, DeserializeSeed, Deserializer, Error as _, MapAccess, SeqAccess, Visitor};

use crate::envelope::Refusal;

/// Longest body, in bytes: a transaction with nine blobs in hex fits.
pub const MAX_BODY: usize = 4 << 20;
/// Deepest nesting.
const MAX_DEPTH: u32 = 32;
/// Most values in a body.
const MAX_VALUES: u32 = 100_000;

/// Reads a body.
///
/// # Errors
/// [`Refusal::Parameter`] for a body that is too long, too deep or too large, that has a key twice, or that is not what
/// the service asks for.
pub fn read<T: DeserializeOwned>(body: &[u8]) -> Result<T, Refusal> {
    check(body)?;
    serde_json::from_slice(body).map_err(|error| refused(&error.to_string()))
}

/// Whether a body is one JSON document within the limits and without a key that is given twice.
///
/// # Errors
/// [`Refusal::Parameter`].
pub fn check(body: &[u8]) -> Result<(), Refusal> {
    if body.len() > MAX_BODY {
        return Err(refused("longer than 4 MiB"));
    }
    check_within(body, MAX_VALUES)
}

/// The same for a body of any length that may hold so many values.
///
/// # Errors
/// [`Refusal::Parameter`].
pub(crate) fn check_within(body: &[u8], values: u32) -> Result<(), Refusal> {
    let mut left = values;
    let mut deserializer = serde_json::Deserializer::from_slice(body);
    Strict { depth: 0, left: &mut left }
        .deserialize(&mut deserializer)
        .and_then(|()| deserializer.end())
        .map_err(|error| refused(&error.to_string()))
}

fn refused(reason: &str) -> Refusal {
    Refusal::Parameter(format!("body: {reason}"))
}

struct Strict<'a> {
    depth: u32,
    left: &'a mut u32,
}

impl Strict<'_> {
    fn inner(&mut self) -> Strict<'_> {
        Strict { depth: self.depth + 1, left: self.left }
    }

    fn open<E: serde::de::Error>(&self) -> Result<(), E> {
        if self.depth >= MAX_DEPTH { Err(E::custom("nested too deeply")) } else { Ok(()) }
    }
}

impl<'de> DeserializeSeed<'de> for Strict<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        *self.left = self.left.checked_sub(1).ok_or_else(|| D::Error::custom("too many values"))?;
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Strict<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_bool<E>(self, _: bool) -> Result<(), E> {
        Ok(())
    }

    fn visit_i64<E>(self, _: i64) -> Result<(), E> {
        Ok(())
    }

    fn visit_u64<E>(self, _: u64) -> Result<(), E> {
        Ok(())
    }

    fn visit_f64<E>(self, _: f64) -> Result<(), E> {
        Ok(())
    }

    fn visit_str<E>(self, _: &str) -> Result<(), E> {
        Ok(())
    }

    fn visit_unit<E>(self) -> Result<(), E> {
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(mut self, mut items: A) -> Result<(), A::Error> {
        self.open()?;
        while items.next_element_seed(self.inner())?.is_some() {}
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(mut self, mut fields: A) -> Result<(), A::Error> {
        self.open()?;
        let mut seen = BTreeSet::new();
        while let Some(key) = fields.next_key::<String>()? {
            if seen.contains(&key) {
                return Err(A::Error::custom(format_args!("{} is given twice", key.escape_debug())));
            }
            seen.insert(key);
            fields.next_value_seed(self.inner())?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn what_two_readers_could_read_differently_is_refused() {
        for body in [
            r#"{"a":1,"a":2}"#,
            r#"{"a":1,"\u0061":2}"#,
            r#"{"x":[{"to":"1","to":"2"}]}"#,
            "{} {}",
            "",
            "{",
            "\u{feff}{}",
            "[1,]",
        ] {
            assert_eq!(check(body.as_bytes()).unwrap_err().code(), 5006, "{body}");
        }
        assert!(check(b"{\"a\":\xff}").is_err());
        assert!(check(br#"{"a":{"a":[1,-1,1.5,null,true,"x"]}}"#).is_ok());
    }

    #[test]
    fn size_depth_and_count_are_limited() {
        let deep = |depth: usize| format!("{}{}", "[".repeat(depth), "]".repeat(depth));
        assert!(check(deep(32).as_bytes()).is_ok());
        assert!(check(deep(33).as_bytes()).is_err());
        assert!(check(deep(100_000).as_bytes()).is_err());
        assert!(check(format!("[{}1]", "1,".repeat(99_998)).as_bytes()).is_ok());
        assert!(check(format!("[{}1]", "1,".repeat(100_000)).as_bytes()).is_err());
        assert!(check(&vec![b' '; MAX_BODY + 1]).is_err());
    }

    proptest! {
        #[test]
        fn random_bytes_are_read_or_refused(body in prop::collection::vec(any::<u8>(), 0..256)) {
            let _ = check(&body);
        }

        #[test]
        fn what_is_accepted_is_json(body in r#"[\[\]{}",:a0 \\]{0,24}"#) {
            if check(body.as_bytes()).is_ok() {
                prop_assert!(serde_json::from_str::<serde_json::Value>(&body).is_ok());
            }
        }
    }
}

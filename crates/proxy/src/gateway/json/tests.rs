use proptest::prelude::*;

use super::*;

fn read(text: &str) -> Result<Json<'_>, JsonError> {
    Json::read(text.as_bytes(), 64)
}

#[test]
fn what_two_parsers_could_read_differently_is_refused() {
    for (text, error) in [
        (r#"{"a":1,"a":2}"#, JsonError::Twice),
        (r#"{"method":1,"\u006dethod":2}"#, JsonError::Twice),
        (r#"{"a":{"b":1,"\u0062":1}}"#, JsonError::Twice),
        (r#""\ud800""#, JsonError::Surrogate),
        (r#""\udc00\ud800""#, JsonError::Surrogate),
        ("\u{feff}{}", JsonError::Encoding),
        ("{} {}", JsonError::Syntax(3)),
        ("[1,]", JsonError::Syntax(3)),
        ("01", JsonError::Syntax(1)),
        ("{'a':1}", JsonError::Syntax(1)),
        ("NaN", JsonError::Syntax(0)),
        ("", JsonError::Syntax(0)),
        ("\"\u{1}\"", JsonError::Syntax(1)),
    ] {
        assert_eq!(read(text), Err(error), "{text}");
    }
    assert_eq!(Json::read(b"\xff", 8), Err(JsonError::Encoding));
    assert_eq!(Json::read(b"{\0}\0", 8), Err(JsonError::Syntax(1)));
    let many = format!("{{{}}}", (0..40).map(|n| format!("\"k{}\":0", n % 39)).collect::<Vec<_>>().join(","));
    assert_eq!(read(&many), Err(JsonError::Twice));
}

#[test]
fn depth_is_bounded_before_the_stack_is() {
    let deep = |levels: usize| "[".repeat(levels) + &"]".repeat(levels);
    assert!(Json::read(deep(64).as_bytes(), 64).is_ok());
    assert_eq!(Json::read(deep(65).as_bytes(), 64), Err(JsonError::Deep(64)));
    assert_eq!(Json::read("[".repeat(1 << 20).as_bytes(), 64), Err(JsonError::Deep(64)));
    assert_eq!(Json::read("{\"a\":".repeat(1 << 18).as_bytes(), 64), Err(JsonError::Deep(64)));
    assert!(members(format!("{{\"a\":{}}}", deep(64)).as_bytes(), 64).is_ok());
    assert!(members(format!("{{\"a\":{}}}", deep(65)).as_bytes(), 64).is_err());
}

#[test]
fn numbers_keep_every_digit_and_strings_lose_their_escapes() {
    let value = read(r#"{"id":9007199254740993123,"f":1.50e+3,"m":"eth_send\u0052aw","x":"\ud83d\ude00\n"}"#).unwrap();
    assert_eq!(value.to_text(), "{\"id\":9007199254740993123,\"f\":1.50e+3,\"m\":\"eth_sendRaw\",\"x\":\"😀\\u000a\"}");
    assert_eq!(value.get("m").and_then(Json::as_str), Some("eth_sendRaw"));
}

#[test]
fn a_number_that_no_double_holds_is_refused() {
    for wrong in ["1e999", "-1E+309", "[1e99999999999]", &"9".repeat(310)] {
        assert!(matches!(read(wrong), Err(JsonError::Range(_))), "{wrong}");
        assert!(members(format!("{{\"a\":{wrong}}}").as_bytes(), 8).is_err(), "{wrong}");
    }
    for right in ["1e308", "-1.7e308", "1e-999", "0e999", &"9".repeat(300), &"1".repeat(309)] {
        assert!(read(right).is_ok(), "{right}");
    }
}

#[test]
fn members_are_given_as_they_were_written() {
    let found = members(br#" {"result" : {"a": [1, "x"]} , "id":1} "#, 8).unwrap();
    assert_eq!(found, [(Cow::Borrowed("result"), r#"{"a": [1, "x"]}"#), (Cow::Borrowed("id"), "1")]);
    assert!(members(b"[]", 8).is_err());
}

fn any_json() -> impl Strategy<Value = serde_json::Value> {
    let leaf = prop_oneof![
        Just(serde_json::Value::Null),
        any::<bool>().prop_map(Into::into),
        any::<i64>().prop_map(Into::into),
        any::<String>().prop_map(Into::into),
    ];
    leaf.prop_recursive(4, 64, 8, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..6).prop_map(serde_json::Value::from),
            prop::collection::btree_map(any::<String>(), inner, 0..6)
                .prop_map(|map| serde_json::Value::Object(map.into_iter().collect())),
        ]
    })
}

/// Texts that are almost JSON: a value's text with some bytes changed.
fn almost_json() -> impl Strategy<Value = Vec<u8>> {
    let piece = prop::sample::select(vec![
        "{", "}", "[", "]", ",", ":", "\"", "\\", "\\u0061", "\\ud800", "0", "-", "1e5", "1e999", ".5", "null", "true",
        " ", "\t", "a", "é", "\u{0}",
    ]);
    let noise = prop::collection::vec(piece, 0..12).prop_map(|pieces| pieces.concat().into_bytes());
    (any_json(), noise, any::<prop::sample::Index>(), 0..4_usize).prop_map(|(value, noise, at, cut)| {
        let mut text = value.to_string().into_bytes();
        let at = at.index(text.len() + 1);
        let end = (at + cut).min(text.len());
        text.splice(at..end, noise);
        text
    })
}

proptest! {
    #[test]
    fn random_bytes_end_in_an_answer(bytes in prop::collection::vec(any::<u8>(), 0..512)) {
        let _ = Json::read(&bytes, 16);
        let _ = members(&bytes, 16);
    }

    /// Whatever is taken, another parser takes too and reads the same in it, before and after it is written anew.
    #[test]
    fn another_parser_reads_the_same(text in almost_json()) {
        if let Ok(value) = Json::read(&text, 64) {
            let other: serde_json::Value = serde_json::from_slice(&text).map_err(|error| TestCaseError::fail(error.to_string()))?;
            let again: serde_json::Value = serde_json::from_str(&value.to_text()).map_err(|error| TestCaseError::fail(error.to_string()))?;
            prop_assert_eq!(other, again);
        }
    }

    #[test]
    fn whatever_another_parser_writes_is_taken(value in any_json()) {
        let text = value.to_string();
        let read = Json::read(text.as_bytes(), 64).map_err(|error| TestCaseError::fail(error.to_string()))?;
        prop_assert_eq!(serde_json::from_str::<serde_json::Value>(&read.to_text()).unwrap(), value);
    }
}

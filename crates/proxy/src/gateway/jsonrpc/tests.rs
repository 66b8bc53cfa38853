use proptest::prelude::*;

use super::*;

fn one(text: &str) -> Result<Request<'_>, (String, RpcError)> {
    match read(text.as_bytes(), 100).unwrap() {
        Message::One(one) => one,
        Message::Batch(_) => panic!("a batch: {text}"),
    }
}

fn refusal(text: &str) -> (String, i32) {
    one(text).map_err(|(id, error)| (id, error.code)).unwrap_err()
}

#[test]
fn ids_are_kept_to_the_letter() {
    for id in ["1", "9007199254740993", "-1.50e+10", "1.0", "null", "\"a\"", "\"\"", "\"é😀\"", "\"\\u0061\\/\""] {
        let text = format!("{{\"jsonrpc\":\"2.0\",\"id\":{id},\"method\":\"m\"}}");
        assert_eq!(one(&text).unwrap().id, Some(id));
    }
    assert_eq!(one(r#"{"jsonrpc":"2.0","method":"m"}"#).unwrap().id, None);
    for id in ["true", "[]", "{}", &format!("\"{}\"", "x".repeat(300))] {
        assert_eq!(refusal(&format!("{{\"id\":{id},\"method\":\"m\"}}")), ("null".to_owned(), code::REQUEST));
    }
}

#[test]
fn the_version_is_2_0_or_left_out() {
    assert!(one(r#"{"id":1,"method":"m"}"#).is_ok());
    for version in ["\"1.0\"", "2", "2.0", "null", "\"2.0 \""] {
        let text = format!("{{\"jsonrpc\":{version},\"id\":7,\"method\":\"m\"}}");
        assert_eq!(refusal(&text), ("7".to_owned(), code::REQUEST), "{version}");
    }
}

#[test]
fn params_are_an_array_an_object_or_nothing() {
    for (params, taken) in
        [("[]", true), ("{}", true), ("null", true), ("1", false), ("\"0x\"", false), ("true", false)]
    {
        assert_eq!(one(&format!("{{\"id\":1,\"method\":\"m\",\"params\":{params}}}")).is_ok(), taken, "{params}");
    }
    for method in ["1", "null", "[\"m\"]", &format!("\"{}\"", "m".repeat(100))] {
        assert_eq!(refusal(&format!("{{\"id\":1,\"method\":{method}}}")).1, code::REQUEST, "{method}");
    }
}

#[test]
fn batches_are_bounded_and_their_elements_stand_alone() {
    let code_of = |text: &'static str| read(text.as_bytes(), 2).map_err(|error| error.code);
    assert_eq!(code_of("[]"), Err(code::REQUEST));
    assert_eq!(code_of("[1,1,1]"), Err(code::LIMIT));
    assert_eq!(code_of("[1"), Err(code::PARSE));
    let Ok(Message::Batch(elements)) = read(br#"[[{"id":1,"method":"m"}],{"id":2,"method":"m"}]"#, 2) else { panic!() };
    assert!(elements[0].is_err() && elements[1].is_ok());
}

#[test]
fn a_node_may_say_null_beside_an_error_but_not_both_or_neither() {
    let answer = |text: &str| match read_from_node(text.as_bytes()) {
        Some(FromNode::Reply { answer, .. }) => Some(answer),
        _ => None,
    };
    assert_eq!(answer(r#"{"id":1,"result":null}"#), Some(Answer::Result("null".into())));
    assert_eq!(answer(r#"{"id":1,"result":1,"error":null}"#), Some(Answer::Result("1".into())));
    assert_eq!(answer(r#"{"id":1,"result":null,"error":{"code":3}}"#), Some(Answer::NodeError("{\"code\":3}".into())));
    for text in
        [r#"{"id":1}"#, r#"{"id":1,"error":"x"}"#, r#"{"id":1,"result":1,"error":{}}"#, r#"{"result":1}"#, "[]", "x"]
    {
        assert_eq!(answer(text), None, "{text}");
    }
}

#[test]
fn news_name_their_subscription() {
    let text = r#"{"jsonrpc":"2.0","method":"eth_subscription","params":{"subscription":"0x1","result":{"n":1}}}"#;
    let expected = FromNode::News { subscription: "0x1".to_owned(), result: "{\"n\":1}" };
    assert_eq!(read_from_node(text.as_bytes()), Some(expected));
}

#[test]
fn an_error_is_written_with_its_data() {
    let mut out = Vec::new();
    let error = RpcError::new(code::POLICY, "blocked \"x\"").with("{\"a\":1}".to_owned());
    write_reply("\"i\"", &Answer::Error(error), &mut out);
    let expected = r#"{"jsonrpc":"2.0","id":"i","error":{"code":-32003,"message":"blocked \"x\"","data":{"a":1}}}"#;
    assert_eq!(String::from_utf8(out).unwrap(), expected);
}

proptest! {
    #[test]
    fn random_bytes_end_in_an_answer(bytes in prop::collection::vec(any::<u8>(), 0..512)) {
        let _ = read(&bytes, 4);
        let _ = read_from_node(&bytes);
    }

    #[test]
    fn what_is_written_to_a_node_is_read_alike(method in "\\PC{0,20}", number in any::<u64>()) {
        let text = write_request(number, &method, "[1]");
        let request = match read(text.as_bytes(), 1) {
            Ok(Message::One(Ok(request))) => request,
            // Only a name that is too long is refused.
            _ => { prop_assert!(method.len() > MAX_METHOD); return Ok(()); }
        };
        prop_assert_eq!(request.method, method);
        let number = number.to_string();
        prop_assert_eq!(request.id, Some(number.as_str()));
    }
}

//! JSON-RPC 2.0 as it is spoken to Ethereum nodes: requests, batches, replies.
//!
//! Invariant: an id goes back in exactly the bytes it came in.

use std::borrow::Cow;
use std::fmt::Write as _;

use super::json::{Document, Json, JsonError, Member, document, members, write_text};

/// Levels of a request's JSON. Typed data of EIP-712 is among the deepest, with some ten.
const REQUEST_DEPTH: usize = 48;
/// Levels of a node's reply. A trace nests two a call, and calls nest to 1,024.
const REPLY_DEPTH: usize = 2_100;
/// Most bytes of an id.
const MAX_ID: usize = 256;
/// Most bytes of a method's name.
const MAX_METHOD: usize = 64;

/// Stable codes of errors.
pub mod code {
    /// Not JSON.
    pub const PARSE: i32 = -32_700;
    /// JSON, but no request.
    pub const REQUEST: i32 = -32_600;
    /// Not a method of this gateway, or one that it refuses.
    pub const METHOD: i32 = -32_601;
    /// The parameters do not fit the method.
    pub const PARAMS: i32 = -32_602;
    /// The gateway itself failed.
    pub const INTERNAL: i32 = -32_603;
    /// No node answers.
    pub const UPSTREAM: i32 = -32_002;
    /// Blocked or held by the policy.
    pub const POLICY: i32 = -32_003;
    /// More than a limit allows.
    pub const LIMIT: i32 = -32_005;
}

/// Why a request is answered with an error.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct RpcError {
    /// One of [`code`].
    pub code: i32,
    /// For people.
    pub message: String,
    /// JSON of `data`, if there is any.
    pub data: Option<String>,
}

impl RpcError {
    /// An error without data.
    #[must_use]
    pub fn new(code: i32, message: impl Into<String>) -> Self {
        Self { code, message: message.into(), data: None }
    }

    /// The parameters do not fit.
    #[must_use]
    pub fn params(message: impl Into<String>) -> Self {
        Self::new(code::PARAMS, message)
    }

    /// The same with this JSON as data.
    #[must_use]
    pub fn with(self, data: String) -> Self {
        Self { data: Some(data), ..self }
    }
}

impl From<JsonError> for RpcError {
    fn from(error: JsonError) -> Self {
        match error {
            // The text may be JSON to others: it is the request that is refused.
            JsonError::Twice | JsonError::Deep(_) | JsonError::Many => Self::new(code::REQUEST, error.to_string()),
            _ => Self::new(code::PARSE, error.to_string()),
        }
    }
}

/// One request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request<'a> {
    /// The id's own text; `None` for a notification, which gets no reply.
    pub id: Option<&'a str>,
    /// The method, unescaped.
    pub method: Cow<'a, str>,
    /// The parameters; `None` when there are none or null.
    pub params: Option<Json<'a>>,
}

/// What one body or frame holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Message<'a> {
    /// One request, or why it is none and what id to say it to.
    One(Result<Request<'a>, (String, RpcError)>),
    /// A batch: each element on its own.
    Batch(Vec<Result<Request<'a>, (String, RpcError)>>),
}

/// Reads a body.
///
/// # Errors
/// [`RpcError`] for what is answered as a whole: not JSON, an empty batch, more than `most` elements.
pub fn read(body: &[u8], most: usize) -> Result<Message<'_>, RpcError> {
    match document(body, REQUEST_DEPTH)? {
        Document::Array(elements) if elements.is_empty() => Err(RpcError::new(code::REQUEST, "an empty batch")),
        Document::Array(elements) if elements.len() > most => {
            Err(RpcError::new(code::LIMIT, format!("a batch has at most {most} elements")))
        }
        Document::Array(elements) => Ok(Message::Batch(elements.into_iter().map(element).collect())),
        Document::Object(members) => Ok(Message::One(request(members))),
        Document::Other => Ok(Message::One(element(None))),
    }
}

type Element<'a> = Result<Request<'a>, (String, RpcError)>;

fn refuse<'a>(id: &str, message: &str) -> Element<'a> {
    Err((id.to_owned(), RpcError::new(code::REQUEST, message)))
}

fn element(members: Option<Vec<Member<'_>>>) -> Element<'_> {
    members.map_or_else(|| refuse("null", "a request is an object"), request)
}

fn request(members: Vec<Member<'_>>) -> Element<'_> {
    let (mut id, mut method, mut params, mut version) = (None, None, None, None);
    for member in members {
        match member.key.as_ref() {
            "id" => id = Some(member),
            "method" => method = Some(member.value),
            "params" => params = Some(member.value),
            "jsonrpc" => version = Some(member.value),
            // Nothing else is forwarded, so nothing else can say something.
            _ => {}
        }
    }
    if !id.as_ref().is_none_or(is_id) {
        return refuse("null", "an id is a short string, a number or null");
    }
    let id = id.map(|id| id.text);
    let shown = id.unwrap_or("null");
    // Old clients leave the version out; 1.0 and others have other rules for notifications.
    if version.is_some_and(|version| version.as_str() != Some("2.0")) {
        return refuse(shown, "jsonrpc is \"2.0\"");
    }
    let method = match method {
        Some(Json::Text(method)) if method.len() <= MAX_METHOD => method,
        _ => return refuse(shown, "method is a short string"),
    };
    let params = match params {
        None | Some(Json::Null) => None,
        Some(params @ (Json::List(_) | Json::Map(_))) => Some(params),
        Some(_) => return refuse(shown, "params is an array or an object"),
    };
    Ok(Request { id, method, params })
}

fn is_id(id: &Member<'_>) -> bool {
    matches!(id.value, Json::Null | Json::Number(_) | Json::Text(_)) && id.text.len() <= MAX_ID
}

/// What answers a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// A result's JSON.
    Result(bytes::Bytes),
    /// A node's error, its JSON.
    NodeError(bytes::Bytes),
    /// An error of the gateway.
    Error(RpcError),
}

/// Writes the reply to a request.
pub fn write_reply(id: &str, answer: &Answer, out: &mut Vec<u8>) {
    out.extend_from_slice(b"{\"jsonrpc\":\"2.0\",\"id\":");
    out.extend_from_slice(id.as_bytes());
    match answer {
        Answer::Result(result) => {
            out.extend_from_slice(b",\"result\":");
            out.extend_from_slice(result);
        }
        Answer::NodeError(error) => {
            out.extend_from_slice(b",\"error\":");
            out.extend_from_slice(error);
        }
        Answer::Error(error) => {
            out.extend_from_slice(b",\"error\":");
            out.extend_from_slice(error_text(error).as_bytes());
        }
    }
    out.push(b'}');
}

fn error_text(error: &RpcError) -> String {
    let mut text = String::new();
    // Writing to a string does not fail.
    let _ = write!(text, "{{\"code\":{},\"message\":", error.code);
    write_text(&error.message, &mut text);
    if let Some(data) = &error.data {
        text.push_str(",\"data\":");
        text.push_str(data);
    }
    text.push('}');
    text
}

/// Writes a request to a node.
#[must_use]
pub fn write_request(id: u64, method: &str, params: &str) -> String {
    let mut text = String::with_capacity(params.len() + method.len() + 64);
    // Writing to a string does not fail.
    let _ = write!(text, "{{\"jsonrpc\":\"2.0\",\"id\":{id},\"method\":");
    write_text(method, &mut text);
    text.push_str(",\"params\":");
    text.push_str(params);
    text.push('}');
    text
}

/// What a node sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FromNode<'a> {
    /// The answer to the request with this id.
    Reply {
        /// The id's text.
        id: &'a str,
        /// What it answered.
        answer: Answer,
    },
    /// News of a subscription.
    News {
        /// The node's number of the subscription.
        subscription: String,
        /// The news' JSON.
        result: &'a str,
    },
}

/// Reads what a node sent; `None` if it is neither a reply nor news.
#[must_use]
pub fn read_from_node(body: &[u8]) -> Option<FromNode<'_>> {
    let found = members(body, REPLY_DEPTH).ok()?;
    let get = |key: &str| found.iter().find(|(name, _)| name == key).map(|(_, value)| *value);
    if let Some(method) = get("method") {
        let params = members(get("params")?.as_bytes(), REPLY_DEPTH).ok()?;
        let of = |key: &str| params.iter().find(|(name, _)| name == key).map(|(_, value)| *value);
        let Json::Text(subscription) = Json::read(of("subscription")?.as_bytes(), 1).ok()? else { return None };
        let known = method == "\"eth_subscription\"" && subscription.len() <= MAX_ID;
        return known.then_some(FromNode::News { subscription: subscription.into_owned(), result: of("result")? });
    }
    let own = |text: &str| bytes::Bytes::copy_from_slice(text.as_bytes());
    let answer = match (get("result"), get("error").filter(|error| *error != "null")) {
        (None | Some("null"), Some(error)) if error.starts_with('{') => Answer::NodeError(own(error)),
        (Some(result), None) => Answer::Result(own(result)),
        _ => return None,
    };
    Some(FromNode::Reply { id: get("id")?, answer })
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests;

//! JSON-RPC 2.0 over one body: single requests, batches, notifications, and the errors of each.

use alloy_primitives::Bytes;
use serde_json::{Value, json};

/// How many requests one batch may have.
const MAX_BATCH: usize = 1000;

/// An error object as the client sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct RpcError {
    pub(super) code: i64,
    pub(super) message: String,
    pub(super) data: Option<Bytes>,
}

impl RpcError {
    fn new(code: i64, message: impl Into<String>) -> Self {
        Self { code, message: message.into(), data: None }
    }

    /// The body is not JSON.
    pub(super) fn parse(reason: impl std::fmt::Display) -> Self {
        Self::new(-32700, format!("parse error: {reason}"))
    }

    /// JSON, but no request.
    pub(super) fn request(reason: &str) -> Self {
        Self::new(-32600, format!("invalid request: {reason}"))
    }

    /// The method does not exist here.
    pub(super) fn method(name: &str) -> Self {
        let name: String = name.chars().take(64).collect();
        Self::new(-32601, format!("the method {name} does not exist/is not available"))
    }

    /// A parameter is missing or is not what it must be.
    pub(super) fn params(reason: impl Into<String>) -> Self {
        Self::new(-32602, reason)
    }

    /// The request is fine and cannot be fulfilled.
    pub(super) fn server(reason: impl std::fmt::Display) -> Self {
        Self::new(-32000, reason.to_string())
    }

    /// It would be too much.
    pub(super) fn limit(reason: impl Into<String>) -> Self {
        Self::new(-32005, reason)
    }

    /// A call reverted; the data is what it reverted with.
    pub(super) fn reverted(reason: Option<&str>, data: Bytes) -> Self {
        let message =
            reason.map_or_else(|| "execution reverted".into(), |reason| format!("execution reverted: {reason}"));
        Self { code: 3, message, data: Some(data) }
    }

    fn to_json(&self) -> Value {
        let mut error = json!({ "code": self.code, "message": self.message });
        if let Some(data) = &self.data {
            error["data"] = json!(data);
        }
        error
    }
}

/// Answers a body with `call`, which is given a method and its parameters. Nothing comes back for notifications alone.
pub(super) fn answer(body: &[u8], call: impl Fn(&str, &[Value]) -> Result<Value, RpcError>) -> Option<Value> {
    let parsed = match serde_json::from_slice::<Value>(body) {
        Ok(parsed) => parsed,
        Err(error) => return Some(failure(Value::Null, &RpcError::parse(error))),
    };
    let Value::Array(requests) = parsed else { return answer_one(&parsed, &call) };
    if requests.is_empty() {
        return Some(failure(Value::Null, &RpcError::request("the batch is empty")));
    }
    if requests.len() > MAX_BATCH {
        let error = RpcError::request(&format!("the batch has more than {MAX_BATCH} requests"));
        return Some(failure(Value::Null, &error));
    }
    let answers: Vec<Value> = requests.iter().filter_map(|request| answer_one(request, &call)).collect();
    (!answers.is_empty()).then_some(Value::Array(answers))
}

fn answer_one(request: &Value, call: &impl Fn(&str, &[Value]) -> Result<Value, RpcError>) -> Option<Value> {
    let id = request.get("id").filter(|id| id.is_string() || id.is_number() || id.is_null());
    let result = match split(request) {
        Ok((method, params)) => {
            let result = call(method, params);
            // A notification is carried out, and nobody waits for the outcome.
            request.get("id")?;
            result
        }
        Err(error) => Err(error),
    };
    let id = id.cloned().unwrap_or(Value::Null);
    Some(match result {
        Ok(result) => json!({ "jsonrpc": "2.0", "id": id, "result": result }),
        Err(error) => failure(id, &error),
    })
}

fn split(request: &Value) -> Result<(&str, &[Value]), RpcError> {
    let object = request.as_object().ok_or_else(|| RpcError::request("it is no object"))?;
    if object.get("jsonrpc").and_then(Value::as_str) != Some("2.0") {
        return Err(RpcError::request("jsonrpc is not \"2.0\""));
    }
    if object.get("id").is_some_and(|id| !(id.is_string() || id.is_number() || id.is_null())) {
        return Err(RpcError::request("the id is neither text nor number"));
    }
    let method = object.get("method").and_then(Value::as_str);
    let method = method.ok_or_else(|| RpcError::request("there is no method"))?;
    match object.get("params") {
        None | Some(Value::Null) => Ok((method, &[])),
        Some(Value::Array(params)) => Ok((method, params)),
        Some(_) => Err(RpcError::params("params must be an array")),
    }
}

fn failure(id: Value, error: &RpcError) -> Value {
    json!({ "jsonrpc": "2.0", "id": id, "error": error.to_json() })
}

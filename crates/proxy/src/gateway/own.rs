//! Methods that the gateway answers itself.

use std::sync::Arc;

use bytes::Bytes;

use super::assess::Assessed;
use super::carry;
use super::core::{Client, Core};
use super::hex;
use super::json::Json;
use super::jsonrpc::{Answer, RpcError, code};
use super::quarantine;
use super::request::{Asked, assess};
use super::subject::{Screened, Subject};

/// Answers `surety_*`.
pub(crate) async fn answer(core: &Core, client: &Client, method: &str, params: &Json<'_>) -> Answer {
    let params = params.as_list().unwrap_or_default();
    let result = match method {
        "surety_screen" => screen(core, client, params).await,
        "surety_verdict" => verdict(core, client, params),
        "surety_release" => match quarantine::release_by_token(core, client, params).await {
            Ok(answer) => return answer,
            Err(error) => Err(error),
        },
        _ => Err(RpcError::new(code::METHOD, format!("the method {method} is not known"))),
    };
    result.map_or_else(Answer::Error, Answer::Result)
}

/// What would be said of a transaction, signed or not. Nothing is forwarded.
async fn screen(core: &Core, client: &Client, params: &[Json<'_>]) -> Result<Bytes, RpcError> {
    let subject = match params {
        [Json::Text(text)] => {
            let raw = hex::bytes(text).map_err(|error| RpcError::params(error.to_string()))?;
            let screened = Screened::read(&raw, core.chain).map_err(|error| RpcError::params(error.to_string()))?;
            Subject::Transaction(Box::new(screened))
        }
        [value @ Json::Map(_)] => Subject::Unsigned(Box::new(carry::unsigned(value)?)),
        _ => return Err(RpcError::params("one parameter is expected: a raw transaction, or its fields")),
    };
    let assessed = Assessed { subject: Arc::new(subject), before: Arc::default() };
    let asked = Asked { client, method: "surety_screen", overridden: &[] };
    Ok(Bytes::from(assess(core, asked, &[assessed]).await.to_json()))
}

/// What was said of a transaction that this client sent lately; null when that is not known.
fn verdict(core: &Core, client: &Client, params: &[Json<'_>]) -> Result<Bytes, RpcError> {
    let [Json::Text(hash)] = params else { return Err(RpcError::params("a transaction's hash is expected")) };
    let hash = hex::word(hash).map_err(|error| RpcError::params(error.to_string()))?;
    let known = core.recent.get(&hash).filter(|(owner, _)| owner == client);
    Ok(known.map_or_else(|| Bytes::from_static(b"null"), |(_, json)| Bytes::copy_from_slice(json.as_bytes())))
}

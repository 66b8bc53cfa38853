//! The OpenAPI document, written from the table of routes.
//!
//! Written by hand and not derived, because most of what answers carry are the ledger's own records, and the ledger
//! knows nothing of HTTP; a test holds every answer against the document.

use std::sync::LazyLock;

use axum::extract::State;
use serde_json::{Map, Value, json};

use super::extract::{Asked, Nothing, Reply};
use super::problem::MEDIA;
use super::routes::{Parameter, Route, routes};
use super::{Shared, schema};

/// The document of this version's API.
#[must_use]
pub fn document() -> Value {
    let mut paths = Map::new();
    for route in routes() {
        let path = paths.entry(route.path).or_insert_with(|| json!({}));
        path[route.method] = operation(&route);
    }
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "Surety node",
            "version": env!("CARGO_PKG_VERSION"),
            "description": "Amounts are base units (10^-18 CALL) in decimal digits. Times are seconds of the ledger \
                clock unless the name says otherwise. Bytes are 0x-hex. Every failure is a problem document whose \
                `type` and `code` are stable; see /v1/errors.",
            "license": {"name": "MIT OR Apache-2.0", "identifier": "MIT OR Apache-2.0"},
        },
        "servers": [{"url": "/"}],
        "paths": paths,
        "components": {"schemas": schema::schemas()},
    })
}

fn operation(route: &Route) -> Value {
    let words = route.path.split('/').filter(|word| !word.is_empty() && *word != "v1");
    let words: Vec<String> = words.map(|word| word.replace(['{', '}', '.'], "_").replace('-', "_")).collect();
    let failure = json!({"description": "Refused.", "content": {MEDIA: {"schema": reference("Problem")}}});
    let mut responses = Map::new();
    for status in statuses(route) {
        responses.insert(status.to_owned(), failure.clone());
    }
    responses.insert("200".to_owned(), success(route));
    if route.answer == "TransactionView" {
        responses.insert("202".to_owned(), success(route));
    }
    if route.answer == "Health" {
        responses.insert("503".to_owned(), success(route));
    }
    let mut operation = json!({
        "operationId": format!("{}_{}", route.method, words.join("_").replace("__", "_").trim_matches('_')),
        "summary": route.summary,
        "parameters": route.parameters.iter().map(parameter).collect::<Vec<Value>>(),
        "responses": responses,
    });
    if let Some(body) = route.body {
        operation["requestBody"] =
            json!({"required": true, "content": {"application/json": {"schema": reference(body)}}});
    }
    operation
}

fn statuses(route: &Route) -> Vec<&'static str> {
    let mut statuses = vec!["400", "405", "429", "431", "503"];
    if route.parameters.iter().any(|parameter| parameter.place == "path") {
        statuses.push("404");
    }
    if route.answer == "Audit" {
        statuses.push("404");
    }
    if route.body.is_some() {
        statuses.extend(["408", "409", "413", "415", "422"]);
    }
    statuses
}

fn success(route: &Route) -> Value {
    let content = if route.answer.contains('/') {
        json!({route.answer: {"schema": {"type": "string"}}})
    } else {
        json!({"application/json": {"schema": reference(route.answer)}})
    };
    json!({"description": "The answer.", "content": content})
}

fn parameter(parameter: &Parameter) -> Value {
    json!({
        "name": parameter.name,
        "in": parameter.place,
        "required": parameter.place == "path",
        "description": parameter.says,
        "schema": reference(parameter.schema),
    })
}

fn reference(name: &str) -> Value {
    json!({"$ref": format!("#/components/schemas/{name}")})
}

pub(crate) async fn answer(State(_): State<Shared>, Asked(Nothing {}): Asked<Nothing>) -> Reply<&'static Value> {
    static DOCUMENT: LazyLock<Value> = LazyLock::new(document);
    Reply(&DOCUMENT)
}

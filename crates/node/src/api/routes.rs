//! The table of routes: the router and the OpenAPI document both follow from it. A new endpoint is one entry here.

use axum::Router;
use axum::handler::Handler;
use axum::routing::{self, MethodRouter};

use super::Shared;
use super::{accounts, actions, chain, events, feed, market, openapi, transactions};

/// One route.
pub(crate) struct Route {
    pub(crate) path: &'static str,
    pub(crate) method: &'static str,
    pub(crate) summary: &'static str,
    pub(crate) parameters: Vec<Parameter>,
    /// Name of the body's schema.
    pub(crate) body: Option<&'static str>,
    /// Name of the answer's schema, or a media type where the answer is not JSON.
    pub(crate) answer: &'static str,
    handler: MethodRouter<Shared>,
}

/// A parameter in path or query.
pub(crate) struct Parameter {
    pub(crate) name: &'static str,
    /// Name of its schema.
    pub(crate) schema: &'static str,
    pub(crate) place: &'static str,
    pub(crate) says: &'static str,
}

impl Route {
    fn get<T: 'static, H: Handler<T, Shared>>(path: &'static str, answer: &'static str, handler: H) -> Self {
        Self::new("get", path, answer, routing::get(handler))
    }

    fn post<T: 'static, H: Handler<T, Shared>>(path: &'static str, answer: &'static str, handler: H) -> Self {
        Self::new("post", path, answer, routing::post(handler))
    }

    fn new(method: &'static str, path: &'static str, answer: &'static str, handler: MethodRouter<Shared>) -> Self {
        Self { path, method, summary: "", parameters: Vec::new(), body: None, answer, handler }
    }

    fn says(mut self, summary: &'static str) -> Self {
        self.summary = summary;
        self
    }

    fn path(self, name: &'static str, schema: &'static str, says: &'static str) -> Self {
        self.parameter("path", name, schema, says)
    }

    fn query(self, name: &'static str, schema: &'static str, says: &'static str) -> Self {
        self.parameter("query", name, schema, says)
    }

    fn header(self, name: &'static str, schema: &'static str, says: &'static str) -> Self {
        self.parameter("header", name, schema, says)
    }

    fn parameter(mut self, place: &'static str, name: &'static str, schema: &'static str, says: &'static str) -> Self {
        self.parameters.push(Parameter { name, schema, place, says });
        self
    }

    fn body(mut self, schema: &'static str) -> Self {
        self.body = Some(schema);
        self
    }

    fn proof(self) -> Self {
        self.query("proof", "Flag", "1 adds the row's proof against a final header.")
    }

    fn wait(self) -> Self {
        self.query("wait", "Wait", "Seconds to wait for it.")
    }

    fn limit(self) -> Self {
        self.query("limit", "PageSize", "Most entries of the page.")
    }
}

/// Every route.
pub(crate) fn routes() -> Vec<Route> {
    [transactions(), market(), ledger(), chain(), node()].into_iter().flatten().collect()
}

fn transactions() -> Vec<Route> {
    vec![
        Route::post("/v1/transactions", "TransactionView", transactions::submit)
            .says("Submits a signed transaction, in bytes or in JSON, and may wait for its receipt. Safe to repeat.")
            .wait()
            .body("Submission"),
        Route::get("/v1/transactions/{hash}", "TransactionView", transactions::receipt)
            .says("What became of a transaction.")
            .path("hash", "Hash32", "The transaction's hash, as the submission returned it.")
            .wait(),
        Route::post("/v1/typed-data", "TypedDataReply", transactions::typed_data)
            .says("Writes an action as EIP-712 typed data, for a wallet to sign; fills in nonce, expiry and fee.")
            .body("TypedDataRequest"),
    ]
}

fn market() -> Vec<Route> {
    vec![
        Route::get("/v1/services", "Services", market::services)
            .says("Searches the listings.")
            .query("text", "Text", "Words; each must begin a word of title, tags, region or description.")
            .query("category", "Small", "A root (1 to 5), or root x 100 + leaf.")
            .query("tag", "Text", "A tag.")
            .query("chain", "Number", "An EVM chain id.")
            .query("region", "Text", "A region.")
            .query("provider", "Number", "Who offers it.")
            .query("max_price", "Amount", "Most that a package may cost, in base units.")
            .query("min_cover", "Amount", "Least cover per fault, in base units.")
            .query("paused", "Flag", "1 also shows what is paused.")
            .query("sort", "Sort", "The order; without a text, relevance is newest first.")
            .query("cursor", "Cursor", "`next` of the page before.")
            .limit(),
        Route::get("/v1/services/{id}", "Service", market::service)
            .says("One listing.")
            .path("id", "Number", "The service.")
            .proof(),
        Route::get("/v1/providers/{id}", "Provider", market::provider)
            .says("One provider: stake, sales, what backs its promises.")
            .path("id", "Number", "The provider.")
            .proof(),
        Route::get("/v1/providers/{id}/purchases", "Feed", feed::feed)
            .says("The provider's sales from number `cursor` on, without gaps; may wait for the next.")
            .path("id", "Number", "The provider.")
            .query("cursor", "Number", "The first sale wanted, from 0; `next` of the page before.")
            .wait()
            .limit()
            .query("proof", "Flag", "1 adds the proofs of both rows; then at most 25 sales a page."),
        Route::get("/v1/purchases/{id}", "Purchase", market::purchase)
            .says("One purchase; with its proof this is the grant.")
            .path("id", "PurchaseId", "The purchase.")
            .proof(),
        Route::get("/v1/datasets", "Datasets", market::datasets)
            .says("Published datasets with their newest version.")
            .query("publisher", "Number", "Of this provider only.")
            .query("cursor", "Number", "`next` of the page before.")
            .limit(),
        Route::get("/v1/datasets/{id}", "Dataset", market::dataset)
            .says("One dataset with its newest version.")
            .path("id", "Number", "The dataset.")
            .proof(),
        Route::get("/v1/datasets/{id}/{version}", "DatasetVersion", market::dataset_version)
            .says("One version of a dataset; the proof is of that version's row.")
            .path("id", "Number", "The dataset.")
            .path("version", "Number", "The version, from 1.")
            .proof(),
    ]
}

fn ledger() -> Vec<Route> {
    vec![
        Route::get("/v1/accounts/{address}", "Account", accounts::account)
            .says("What an account holds, and its next nonce.")
            .path("address", "Address", "The account.")
            .proof(),
        Route::get("/v1/params", "Params", chain::params).says("The parameters in force."),
        Route::get("/v1/fees", "Fees", chain::fees).says("What is paid for using the network, and its split."),
        Route::get("/v1/supply", "Supply", chain::supply).says("Supply, pools, what was burned."),
        Route::get("/v1/actions", "Actions", actions::actions).says("Every action with its EIP-712 members."),
        Route::get("/v1/errors", "Errors", actions::errors).says("Every code that a problem may carry."),
    ]
}

fn chain() -> Vec<Route> {
    vec![
        Route::get("/v1/operators", "Operators", chain::operators)
            .says("Operators with their weights.")
            .query("cursor", "Address", "`next` of the page before.")
            .limit(),
        Route::get("/v1/committee", "Committee", chain::committee)
            .says("The seats, and the fewest operators and least stake that could halt, fork or steal."),
        Route::get("/v1/blocks/latest", "Block", chain::latest_block).says("The newest final block."),
        Route::get("/v1/blocks/{height}", "Block", chain::block)
            .says("A final block with its receipts and the proof that it is final.")
            .path("height", "Number", "Its height, from 1."),
        Route::get("/v1/finalized", "FinalHeader", chain::finalized)
            .says("The newest header that can be proven final, with the proof."),
        Route::get("/v1/rows/{key}", "RowProof", chain::row)
            .says("Any row, or its absence, with the proof against a final header.")
            .path("key", "Hash32", "The row's key."),
        Route::get("/v1/events", "text/event-stream", events::events)
            .says("Events of final blocks: `event`, after each block `head`, and `gap` for what is not kept.")
            .query("provider", "Number", "What concerns this provider only.")
            .query("account", "Address", "What this account signed, or what names it.")
            .query("module", "Module", "Of this module only.")
            .query("from", "Number", "First block wanted; else the next one.")
            .header("last-event-id", "EventId", "Goes on after this event; stands above `from`."),
    ]
}

fn node() -> Vec<Route> {
    vec![
        Route::get("/v1/audit", "Audit", chain::audit)
            .says("Adds the whole state up: is value conserved, is all covered? Only where the operator allows it."),
        Route::get("/v1/status", "Status", chain::status).says("How the node is."),
        Route::get("/health", "Health", chain::health).says("200 when the node has a state and serves, else 503."),
        Route::get("/metrics", "text/plain", chain::metrics).says("Counters in Prometheus' text form."),
        Route::get("/openapi.json", "Document", openapi::answer).says("This document."),
    ]
}

/// The routes without their guards.
pub(crate) fn router() -> Router<Shared> {
    routes().into_iter().fold(Router::new(), |router, route| router.route(route.path, route.handler))
}

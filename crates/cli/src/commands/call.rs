//! `surety call`: paid calls with a bought package.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use serde_json::{Value, json};
use surety_client::caller::{self, Package, Request};
use surety_client::{Caller, wallet};
use surety_ledger::market::state::PROVIDER_KEYS;
use surety_primitives::PurchaseId;
use surety_primitives::typed_data::{Blob, Bytes32};
use surety_security::required_claims;

use super::buy::{CALL_KEYS, write_json};
use crate::files::{AnswerFile, RequestFile};
use crate::output::Output;
use crate::settings::{NetworkArguments, Session};

/// Calls a provider's API with a package bought before.
///
/// Each reply is checked (signature or tag, request, body, time, datasets) and only then acknowledged; what was accepted is
/// kept in a log beside the call key: that is your evidence. At the end the acknowledgement is sent, so that the provider
/// can claim; with --keep-open that waits for a later call.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Example:\n  surety call --purchase 0x… 'api/v1/phishing_site?url=metamask.io' --save answer.json\n  surety verify answer answer.json"
)]
pub(crate) struct Arguments {
    /// The purchase.
    #[arg(long)]
    purchase: PurchaseId,
    /// Paths with queries below the provider's endpoint; one call each.
    #[arg(required = true)]
    paths: Vec<String>,
    /// Body of a POST (a file of JSON); without it, GET.
    #[arg(long)]
    body: Option<PathBuf>,
    /// Folder of the call keys and logs.
    #[arg(long, default_value = CALL_KEYS)]
    calls: PathBuf,
    /// Write the last signed answer, with what it takes to check it offline, to this file.
    #[arg(long)]
    save: Option<PathBuf>,
    /// Do not send the acknowledgement yet.
    #[arg(long)]
    keep_open: bool,
    #[command(flatten)]
    network: NetworkArguments,
}

pub(crate) async fn run(arguments: Arguments, output: &Output) -> Result<()> {
    let session = arguments.network.session()?;
    let caller = open(&session, arguments.purchase, &arguments.calls, 1).await?;
    let mut replies = Vec::new();
    for path in &arguments.paths {
        let request = request(path, arguments.body.as_deref())?;
        let reply = caller.call(&request).await.with_context(|| format!("calling {path}"))?;
        if let Some(file) = &arguments.save {
            write_json(file, &answer_file(&session, &caller, &request, &reply).await?)?;
        }
        replies.push(describe(path, &reply));
    }
    let settled = if arguments.keep_open { None } else { caller.settle().await? };
    let acknowledged = caller.acknowledged().await;
    let value =
        json!({"replies": replies, "acknowledged": acknowledged, "remaining": settled.as_ref().map(|s| s.remaining)});
    output.result(&value, || {
        let bodies: Vec<String> = replies
            .iter()
            .map(|reply| {
                format!("{} {}\n{}\n", reply["status"], reply["path"].as_str().unwrap_or_default(), reply["body"])
            })
            .collect();
        let left = settled.map_or_else(String::new, |settled| format!(", {} calls are left", settled.remaining));
        format!("{}{acknowledged} answers acknowledged{left}", bodies.concat())
    })
}

/// A caller on the purchase's own key and log.
pub(crate) async fn open(session: &Session, purchase: PurchaseId, folder: &Path, lanes: u16) -> Result<Caller> {
    let path = folder.join(format!("{purchase}.key"));
    if !path.exists() {
        bail!("no call key of {purchase} in {}: it was bought elsewhere, or is not yours", folder.display());
    }
    let key = wallet::load_or_create_key(&path)?;
    let package = Package::fetch(&session.light, purchase).await?;
    let options = caller::Options { lanes, ..caller::Options::new(log_of(folder, purchase)) };
    Ok(Caller::new(package, key, Some(session.light.clone()), options)?)
}

/// Where the answers of a purchase are kept.
pub(crate) fn log_of(folder: &Path, purchase: PurchaseId) -> PathBuf {
    folder.join(format!("{purchase}.log"))
}

fn request(path: &str, body: Option<&Path>) -> Result<Request> {
    let path = path.trim_start_matches('/');
    match body {
        None => Ok(Request::get(path).claiming(required_claims(path))),
        Some(file) => Ok(Request::post_json(path, &crate::settings::read_json::<Value>(file)?)),
    }
}

fn describe(path: &str, reply: &caller::Reply) -> Value {
    let body: Value =
        serde_json::from_slice(&reply.body).unwrap_or_else(|_| String::from_utf8_lossy(&reply.body).into());
    json!({"path": path, "status": reply.status, "lane": reply.lane, "seq": reply.seq,
        "signed": reply.answer.is_some(), "body": body})
}

/// A signed answer with everything that checks it.
pub(crate) async fn answer_file(
    session: &Session,
    caller: &Caller,
    request: &Request,
    reply: &caller::Reply,
) -> Result<AnswerFile> {
    let signed = reply.answer.as_ref().context("the reply carries a tag, which proves nothing to others")?;
    let package = caller.package();
    let key = Bytes32(package.provider_key.0);
    let key_row = session.client.row(&PROVIDER_KEYS.key(&key)).await?;
    let url =
        reqwest::Url::parse(&package.endpoint).context("the listing's endpoint is no URL")?.join(&request.path)?;
    let port = url.port().map_or_else(String::new, |port| format!(":{port}"));
    Ok(AnswerFile {
        signed: Blob(signed.to_bytes()),
        request: RequestFile {
            method: request.method.to_string(),
            authority: format!("{}{port}", url.host_str().unwrap_or_default()),
            path: url.path().to_owned(),
            query: url.query().unwrap_or_default().to_owned(),
            body: Blob(request.body.clone()),
        },
        body: Blob(reply.body.clone()),
        claims: if reply.claims.as_slice().is_empty() { String::new() } else { reply.claims.to_header() },
        key,
        key_row,
    })
}

//! `surety lists`: from what others publish to a dataset with a root on the ledger.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context, Result};
use serde_json::{Value, json};
use surety_evm::{Chain as _, Remote, RemoteConfig};
use surety_ledger::market;
use surety_ledger::market::state::DATASET_NAMES;
use surety_primitives::{ProviderId, Seconds};
use surety_security::lists::{Pin, address, describe, domain, kind};
use surety_security::{Chains, Dataset, Lists};

use crate::gather::{Gathered, Sources};
use crate::output::{Failure, Output};
use crate::settings::{AccountArguments, FINAL, NetworkArguments, Session};

/// Where datasets lie unless another folder is named.
pub(crate) const FOLDER: &str = ".surety/datasets";
/// How long a published version may be cited.
const VALID: Seconds = Seconds(90 * 86_400);

/// Builds sorted Merkle trees from lists, publishes their roots, shows what is in them.
#[derive(Debug, clap::Subcommand)]
pub(crate) enum Command {
    /// Read lists, normalise and merge them, and write datasets with their roots.
    Build {
        #[command(flatten)]
        sources: Sources,
        /// The folder for names.dataset and addresses.dataset.
        #[arg(long, default_value = FOLDER)]
        folder: PathBuf,
    },
    /// Publish a dataset's root on the ledger, and note its number and version in the file.
    Publish {
        /// The dataset file.
        file: PathBuf,
        /// Your provider's number.
        #[arg(long)]
        provider: u64,
        #[command(flatten)]
        account: AccountArguments,
        #[command(flatten)]
        network: NetworkArguments,
    },
    /// A dataset's version, date, sources and root; or what it says of one name or address, with the proof.
    Show {
        /// The dataset file.
        file: PathBuf,
        /// A name or an address.
        key: Option<String>,
    },
}

/// Serve the built-in services.
#[derive(Debug, clap::Args)]
pub(crate) struct Serve {
    /// Where to listen; a sidecar shall stand before it.
    #[arg(long, default_value = "127.0.0.1:9000")]
    listen: SocketAddr,
    /// The folder with names.dataset and addresses.dataset.
    #[arg(long, default_value = FOLDER)]
    folder: PathBuf,
    /// Days after which a list's word counts no more: what rests on it is answered as unknown [default: no limit].
    #[arg(long, value_name = "DAYS")]
    max_age: Option<u32>,
    /// A node's JSON-RPC, for the services that look at a chain's state; several chains are several nodes.
    #[arg(long, value_delimiter = ',')]
    rpc: Vec<String>,
    /// Believe the nodes about state, where they give no proofs (eth_getProof).
    #[arg(long)]
    trust_rpc: bool,
}

pub(crate) async fn run(command: Command, output: &Output) -> Result<()> {
    match command {
        Command::Build { sources, folder } => build(&sources.gather().await?, &folder, output),
        Command::Publish { file, provider, account, network } => {
            let session = network.session()?;
            let mut dataset = load(&file)?;
            let pin = publish(&session, &account.sender(&session)?, ProviderId(provider), &dataset).await?;
            dataset = dataset.with_pin(pin);
            save(&file, &dataset)?;
            let value = json!({"dataset": pin.id, "version": pin.version, "root": dataset.root()});
            output.result(&value, || {
                format!("published as dataset {} version {}, root {}", pin.id, pin.version, dataset.root())
            })
        }
        Command::Show { file, key } => show(&load(&file)?, key.as_deref(), output),
    }
}

fn build(gathered: &Gathered, folder: &Path, output: &Output) -> Result<()> {
    std::fs::create_dir_all(folder).with_context(|| format!("cannot create {}", folder.display()))?;
    let mut built = Vec::new();
    for dataset in [&gathered.names, &gathered.addresses].into_iter().flatten() {
        save(&folder.join(format!("{}.dataset", dataset.name())), dataset)?;
        built.push(summary(dataset));
    }
    let reports: Vec<Value> = gathered
        .reports
        .iter()
        .map(|(name, report)| {
            json!({"source": name, "read": report.read, "kept": report.kept, "duplicates": report.duplicates, "dropped": report.dropped})
        })
        .collect();
    output.result(&json!({"datasets": built, "sources": reports}), || {
        let sources: Vec<String> = gathered
            .reports
            .iter()
            .map(|(name, report)| {
                format!(
                    "  {name}: {} read, {} kept, {} dropped\n",
                    report.read,
                    report.kept,
                    report.dropped.values().sum::<u64>()
                )
            })
            .collect();
        let sets: Vec<String> = [&gathered.names, &gathered.addresses].into_iter().flatten().map(line).collect();
        format!("read\n{}built in {}\n{}", sources.concat(), folder.display(), sets.concat())
    })
}

/// Publishes a root and says under which number and version it stands.
pub(crate) async fn publish(
    session: &Session,
    sender: &surety_client::Sender,
    provider: ProviderId,
    dataset: &Dataset,
) -> Result<Pin> {
    let clock = session.light.header().await?.clock;
    let action = market::PublishDataset {
        name: dataset.name().to_owned(),
        root: dataset.root(),
        count: dataset.count(),
        date: dataset.as_of().start().0,
        licence: dataset.licence(),
        valid_until: clock.after(VALID),
    };
    sender.send(action, FINAL).await?;
    let name = (provider, dataset.name().to_owned());
    let id = session.light.record(DATASET_NAMES, &name).await?.value;
    let id = id.with_context(|| format!("provider {provider} is not this account's: nothing stands under its name"))?;
    let version = session.client.dataset(id).await?.record.latest;
    let proven = session.light.dataset_version(id, version).await?.value.context("the new version has no row")?;
    anyhow::ensure!(proven.root == dataset.root(), "version {version} of dataset {id} has another root");
    Ok(Pin { id, version })
}

fn show(dataset: &Dataset, key: Option<&str>, output: &Output) -> Result<()> {
    let Some(text) = key else {
        return output.result(&summary(dataset), || line(dataset));
    };
    let keys = keys_of(text)?;
    let found: Vec<Value> = keys
        .iter()
        .filter_map(|key| {
            let entry = dataset.get(key)?;
            let proof = dataset.prove(key).map(|proof| const_hex::encode_prefixed(surety_primitives::codec::encode(&proof)));
            Some(json!({"key": describe(key), "label": String::from_utf8_lossy(&entry.label), "leaf": entry.leaf(), "proof": proof}))
        })
        .collect();
    output.result(&json!({"root": dataset.root(), "count": dataset.count(), "entries": found}), || {
        if found.is_empty() {
            return format!("{text} is not in this dataset");
        }
        found
            .iter()
            .map(|entry| format!("{} {}\n", entry["key"].as_str().unwrap_or_default(), entry["label"]))
            .collect()
    })
}

/// Every key under which a name or an address may stand.
fn keys_of(text: &str) -> Result<Vec<surety_primitives::dataset::Key>> {
    use surety_security::lists::{Semantics, Subject};
    let (subject, bytes) = match (address(text), domain(text)) {
        (Some(address), _) => (Subject::Address, address.to_vec()),
        (None, Some(name)) => (Subject::Domain, name.into_bytes()),
        (None, None) => return Err(Failure::environment(format!("'{text}' is neither a name nor an address")).into()),
    };
    let all = [Semantics::Deny, Semantics::Allow, Semantics::Label, Semantics::Fuzzy];
    all.iter()
        .map(|semantics| surety_primitives::dataset::Key::new(kind(subject, *semantics), &bytes).map_err(Into::into))
        .collect()
}

fn summary(dataset: &Dataset) -> Value {
    json!({"name": dataset.name(), "version": dataset.version(), "as_of": dataset.as_of().to_string(), "root": dataset.root(),
        "count": dataset.count(), "licence": dataset.licence(),
        "published": dataset.pin().map(|pin| json!({"dataset": pin.id, "version": pin.version})),
        "sources": dataset.sources().iter().map(|source| json!({"name": source.name, "version": source.version,
            "as_of": source.as_of.to_string(), "licence": source.licence})).collect::<Vec<_>>()})
}

fn line(dataset: &Dataset) -> String {
    let sources: Vec<String> =
        dataset.sources().iter().map(|source| format!("    {} as of {}\n", source.name, source.as_of)).collect();
    let pin = dataset
        .pin()
        .map_or_else(|| "not published".to_owned(), |pin| format!("dataset {} version {}", pin.id, pin.version));
    format!(
        "  {}: {} entries, {pin}\n    root {}\n{}",
        dataset.name(),
        dataset.count(),
        dataset.root(),
        sources.concat()
    )
}

/// Reads a dataset file; its root is computed anew.
pub(crate) fn load(path: &Path) -> Result<Dataset> {
    let bytes = std::fs::read(path).with_context(|| format!("cannot read {}", path.display()))?;
    Dataset::from_bytes(&bytes).with_context(|| format!("{} is not usable", path.display()))
}

/// Writes a dataset file, whole or not at all.
pub(crate) fn save(path: &Path, dataset: &Dataset) -> Result<()> {
    let partial = path.with_extension("partial");
    std::fs::write(&partial, dataset.to_bytes()).with_context(|| format!("cannot write {}", partial.display()))?;
    std::fs::rename(&partial, path).with_context(|| format!("cannot write {}", path.display()))
}

/// The chains behind these nodes.
async fn chains(urls: Vec<String>, proofs: bool) -> Result<Chains> {
    // Reading a node blocks.
    let connect = move || {
        let mut chains = Chains::new();
        for url in urls {
            let node = Remote::connect(&RemoteConfig { proofs, ..RemoteConfig::new(&url) });
            let node = node.map_err(|error| Failure::environment(format!("{url}: {error}")))?;
            chains.insert(node.chain_id(), Arc::new(node));
        }
        Ok(chains)
    };
    tokio::task::spawn_blocking(connect).await?
}

/// `surety provider serve`.
pub(crate) async fn serve(arguments: Serve, output: &Output) -> Result<()> {
    let part = |name: &str| -> Result<Option<Dataset>> {
        let path = arguments.folder.join(name);
        if !path.exists() {
            return Ok(None);
        }
        let dataset = load(&path)?;
        Ok(Some(match arguments.max_age {
            Some(days) => dataset.with_max_age(None, Seconds(u64::from(days) * 86_400)),
            None => dataset,
        }))
    };
    let (names, addresses) = (part("names.dataset")?, part("addresses.dataset")?);
    if names.is_none() && addresses.is_none() {
        let reason = format!("no dataset in {}: `surety lists build` makes some", arguments.folder.display());
        return Err(Failure::environment(reason).into());
    }
    for (missing, what) in [(names.is_none(), "names"), (addresses.is_none(), "addresses")] {
        if missing {
            output.progress(format_args!("no dataset of {what}: questions about them are answered as unknown"));
        }
    }
    let chains = chains(arguments.rpc, !arguments.trust_rpc).await?;
    let router = surety_security::router_on(Arc::new(Lists::new(names, addresses)), chains);
    let listener = tokio::net::TcpListener::bind(arguments.listen)
        .await
        .map_err(|error| Failure::environment(format!("cannot listen on {}: {error}", arguments.listen)))?;
    let url = format!("http://{}", listener.local_addr()?);
    output.result(&json!({"url": url}), || format!("serving at {url}; end with Ctrl-C"))?;
    axum::serve(listener, router).with_graceful_shutdown(super::devnet::stopped()).await.context("the server ended")
}

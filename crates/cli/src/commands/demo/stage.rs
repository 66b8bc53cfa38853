//! The stage: four operators, the provider's API with its sidecar, and who buys.

use std::path::PathBuf;
use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use surety_client::wallet::load_or_create_key;
use surety_client::{Client, LightClient, LightReader, Options, Sender};
use surety_ledger::market::state::{OWNERS, PURCHASES, Terms};
use surety_ledger::market::{Purchase, RegisterProvider, RegisterService};
use surety_ledger::params::Params;
use surety_primitives::typed_data::{Bytes16, Bytes32};
use surety_primitives::wallet::AccountKey;
use surety_primitives::{Amount, DatasetId, ProviderId, PurchaseId, Seconds, ServiceId};
use surety_security::faulty::Lying;
use surety_security::lists::Semantics;
use surety_security::{Dataset, Lists};
use tokio::process::{Child, Command};

use super::questions::names_of;
use super::{Arguments, eventually};
use crate::commands::buy::{act_quietly, write_json};
use crate::commands::{lists, provider};
use crate::devnet::{Layout, Plan, Supervisor};
use crate::files::GrantFile;
use crate::gather::Gathered;
use crate::output::{Failure, Output};
use crate::settings::{FINAL, Session};

const OPERATORS: usize = 4;
/// What is sold: titles and categories.
const SERVICES: [(&str, u16); 2] = [("Phishing sites", 101), ("Address security", 201)];
/// What a wrong answer costs the provider at once.
const COVER: Amount = Amount::call(5);
/// Seconds of ledger time after a purchase's end until it can be settled: days on a real network.
const CLAIM_WINDOW: Seconds = Seconds(5);

/// Everything that runs.
pub(super) struct Stage {
    pub network: Supervisor,
    pub session: Session,
    pub consumer: Sender,
    pub lists: Gathered,
    /// The name of which the provider says "clean" although its own list denies it.
    pub planted: String,
    pub calls: u64,
    provider: Sender,
    folder: PathBuf,
    sidecar: Option<Child>,
    upstream: Option<tokio::task::JoinHandle<()>>,
}

/// One package that was bought.
pub(super) struct Package {
    pub purchase: PurchaseId,
    pub grant: PathBuf,
}

/// Who sold what.
pub(super) struct Sold {
    pub names: Package,
    pub addresses: Package,
    /// What of each dataset is published: with number and version.
    pub datasets: Vec<Dataset>,
    /// What the provider ought to answer.
    pub honest: Arc<Lists>,
}

impl Stage {
    /// Reads the lists and starts the network.
    pub(super) async fn build(arguments: &Arguments, output: &Output) -> Result<Self> {
        output.progress("reading lists");
        let lists = arguments.sources.gather().await?;
        describe(&lists, output);
        let denied = names_of(lists.names.as_ref(), Semantics::Deny);
        let middle = denied.get(denied.len() / 2).cloned();
        let planted = middle.ok_or_else(|| Failure::environment("the demo needs a list that denies names"))?;

        output.progress("starting 4 operators");
        let network = start(arguments).await?;
        let layout = network.layout().clone();
        let session = session(&layout)?;
        let sender = |label: &str| Sender::new(session.client.clone(), AccountKey::from_label(label), session.network);
        let (provider, consumer) = (sender("provider"), sender("consumer"));
        for url in &layout.urls {
            output.progress(format_args!("  {url}"));
        }
        let folder = layout.folder;
        let (calls, sidecar, upstream) = (arguments.calls, None, None);
        Ok(Self { network, session, consumer, lists, planted, calls, provider, folder, sidecar, upstream })
    }

    pub(super) const fn operators(&self) -> usize {
        OPERATORS
    }

    pub(super) fn urls(&self) -> Vec<String> {
        self.network.layout().urls.clone()
    }

    pub(super) fn folder(&self) -> &std::path::Path {
        &self.folder
    }

    /// Where the consumer's call keys and logs are.
    pub(super) fn call_folder(&self) -> PathBuf {
        self.folder.join("calls")
    }

    /// The provider registers, publishes and lists; the consumer buys.
    pub(super) async fn sell(&mut self, output: &Output) -> Result<Sold> {
        output.progress("the provider stakes, publishes its lists' roots and lists two services");
        let provider = self.register().await?;
        let (names, addresses) = self.publish(provider).await?;
        let pins: Vec<Dataset> = [&names, &addresses].into_iter().flatten().cloned().collect();
        let [endpoint, admin] = free_ports()?;
        let services = self.list(&endpoint, [names.as_ref(), addresses.as_ref()]).await?;

        let honest = Arc::new(Lists::new(names.clone(), addresses.clone()));
        let lying = names.map(|names| Lying::new(names).says_clean_of_host(&self.planted).into_dataset());
        let upstream = self.serve(Lists::new(lying, addresses)).await?;
        self.start_sidecar(provider, services, &endpoint, &admin, &upstream).await?;

        output.progress("the consumer buys two packages and checks each row's proof");
        let names = self.buy(provider, services[0], "names").await?;
        let addresses = self.buy(provider, services[1], "addresses").await?;
        Ok(Sold { names, addresses, datasets: pins, honest })
    }

    async fn register(&self) -> Result<ProviderId> {
        let key = load_or_create_key(&self.key_file())?;
        let owner = self.provider.address();
        let action = RegisterProvider { payout: owner, key: Bytes32(key.public().0), stake: Amount::call(5_000) };
        act_quietly(&self.provider, action).await?;
        let id = self.session.light.record(OWNERS, &owner).await?.value;
        id.context("the ledger proves that the provider is not registered")
    }

    async fn publish(&self, provider: ProviderId) -> Result<(Option<Dataset>, Option<Dataset>)> {
        let mut published = Vec::new();
        for dataset in [&self.lists.names, &self.lists.addresses] {
            published.push(match dataset {
                None => None,
                Some(dataset) => {
                    let pin = lists::publish(&self.session, &self.provider, provider, dataset).await?;
                    Some(dataset.clone().with_pin(pin))
                }
            });
        }
        let addresses = published.pop().flatten();
        Ok((published.pop().flatten(), addresses))
    }

    /// A service answers for its own list alone; one without a list promises no cover.
    async fn list(&self, endpoint: &str, datasets: [Option<&Dataset>; 2]) -> Result<[ServiceId; 2]> {
        for ((title, category), dataset) in SERVICES.into_iter().zip(datasets) {
            let pinned: Vec<DatasetId> = dataset.and_then(Dataset::pin).map(|pin| pin.id).into_iter().collect();
            let cover = if pinned.is_empty() { Amount::ZERO } else { COVER };
            let terms = Terms {
                title: title.to_owned(),
                category,
                endpoint: format!("http://{endpoint}"),
                calls: self.calls,
                price: Amount::call(100),
                window: 512.min(u32::try_from(self.calls / 10).unwrap_or(u32::MAX)).max(1),
                cover,
                cover_cap: Amount(cover.0.saturating_mul(20)),
                datasets: pinned,
                ..provider::template()
            };
            act_quietly(&self.provider, RegisterService { terms }).await?;
        }
        Ok([ServiceId(1), ServiceId(2)])
    }

    /// The provider's API, in this process.
    async fn serve(&mut self, lists: Lists) -> Result<String> {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.context("no free port on 127.0.0.1")?;
        let url = format!("http://{}", listener.local_addr()?);
        let router = surety_security::router(Arc::new(lists));
        self.upstream = Some(tokio::spawn(async move {
            if let Err(error) = axum::serve(listener, router).await {
                tracing::error!(%error, "the provider's API ended");
            }
        }));
        Ok(url)
    }

    async fn start_sidecar(
        &mut self,
        provider: ProviderId,
        services: [ServiceId; 2],
        endpoint: &str,
        admin: &str,
        upstream: &str,
    ) -> Result<()> {
        let home = self.folder.join("sidecar");
        std::fs::create_dir_all(&home).with_context(|| format!("cannot create {}", home.display()))?;
        let paths = ["/api/v1/phishing_site", "/api/v1/address_security"];
        let service = |(id, path): (&ServiceId, &str)| {
            format!("[[service]]\nid = {id}\npath = \"{path}\"\nupstream = \"{upstream}\"\n")
        };
        let listed: Vec<String> = services.iter().zip(paths).map(service).collect();
        let text = format!(
            "listen = \"{endpoint}\"\nadmin = \"{admin}\"\nauthority = \"{endpoint}\"\ndata = \"{}\"\nprovider = {provider}\n{}\
             [duties]\ntick_ms = 250\nclaim_every_s = 1\nclaim_window_s = {CLAIM_WINDOW}\ncontest_window_s = {CLAIM_WINDOW}\n",
            home.join("data").display(),
            listed.concat()
        );
        let config = home.join("sidecar.toml");
        std::fs::write(&config, text).with_context(|| format!("cannot write {}", config.display()))?;
        let log = std::fs::File::create(home.join("sidecar.log")).context("cannot write the sidecar's log")?;
        let layout = self.network.layout();
        let child = Command::new(std::env::current_exe().context("this program's own file is unknown")?)
            .args(["sidecar", "--supervised", "--account", "dev:provider", "--config"])
            .arg(&config)
            .arg("--key")
            .arg(self.key_file())
            .arg("--devnet")
            .arg(&layout.folder)
            .stdin(Stdio::piped())
            .stdout(log.try_clone()?)
            .stderr(log)
            .kill_on_drop(true)
            .spawn()
            .context("cannot start the sidecar")?;
        self.sidecar = Some(child);
        let health = format!("http://{admin}/health");
        eventually("the sidecar answers", Duration::from_secs(20), || async {
            let reply = reqwest::get(&health).await;
            Ok(reply.is_ok_and(|reply| reply.status().is_success()).then_some(()))
        })
        .await
        .with_context(|| format!("see {}", home.join("sidecar.log").display()))
    }

    async fn buy(&self, provider: ProviderId, service: ServiceId, name: &str) -> Result<Package> {
        let reference = Bytes16(surety_primitives::hash::h("surety/demo/v1", &[name.as_bytes()]).first16());
        let purchase = PurchaseId::derive(self.session.network, self.consumer.address(), reference.0);
        let key = load_or_create_key(&self.call_folder().join(format!("{purchase}.key")))?;
        let listing = self.session.light.service(service).await?;
        let expires = listing.header.clock.after(Seconds(7 * 86_400));
        let listing = listing.value.with_context(|| format!("there is no service {service}"))?;
        let order = Purchase {
            provider,
            service,
            version: listing.version,
            max_fee: listing.terms.price,
            client_ref: reference,
            call_key: Bytes32(key.public().0),
            lanes: 16,
            expires,
        };
        act_quietly(&self.consumer, order).await?;
        let grant = self.folder.join(format!("grant-{name}.json"));
        let row = self.session.client.row(&PURCHASES.key(&purchase)).await?;
        let file = GrantFile { purchase, row };
        file.verify(self.session.light.light()).context("the grant's proof")?;
        write_json(&grant, &file)?;
        Ok(Package { purchase, grant })
    }

    fn key_file(&self) -> PathBuf {
        self.folder.join("provider.key")
    }

    /// Ends everything that runs.
    pub(super) async fn strike(mut self) -> Result<()> {
        if let Some(mut sidecar) = self.sidecar.take() {
            drop(sidecar.stdin.take());
            if tokio::time::timeout(Duration::from_secs(25), sidecar.wait()).await.is_err() {
                sidecar.kill().await.context("cannot end the sidecar")?;
            }
        }
        if let Some(upstream) = self.upstream.take() {
            upstream.abort();
        }
        self.network.stop().await
    }
}

async fn start(arguments: &Arguments) -> Result<Supervisor> {
    let folder = &arguments.folder;
    if Layout::exists(folder) {
        std::fs::remove_dir_all(folder).with_context(|| format!("cannot delete {}", folder.display()))?;
    } else if folder.read_dir().is_ok_and(|mut entries| entries.next().is_some()) {
        bail!(Failure::environment(format!(
            "{} is not empty and holds no demo: name another folder",
            folder.display()
        )));
    }
    let params = Params { claim_window: CLAIM_WINDOW, contest_window: CLAIM_WINDOW, ..Params::default() };
    let plan = Plan { folder: folder.clone(), operators: OPERATORS, port: None, accounts: Vec::new(), params };
    let mut network = Supervisor::start(Layout::create(&plan)?)?;
    network.ready(Duration::from_secs(60)).await?;
    Ok(network)
}

fn session(layout: &Layout) -> Result<Session> {
    let client = Client::new(&layout.urls, Options::default())?;
    let genesis = layout.genesis()?;
    let light = LightClient::from_genesis(&genesis, Some(Duration::from_secs(120)))?;
    Ok(Session { light: LightReader::new(client.clone(), light), client, network: genesis.network })
}

fn describe(lists: &Gathered, output: &Output) {
    for dataset in [&lists.names, &lists.addresses].into_iter().flatten() {
        for source in dataset.sources() {
            output.progress(format_args!("  {} as of {}", source.name, source.as_of));
        }
        output.progress(format_args!(
            "  {}: {} entries under root {}",
            dataset.name(),
            dataset.count(),
            dataset.root()
        ));
    }
    if lists.addresses.is_none() {
        output.progress("  no list of addresses here: what they would say is answered as unknown (see --lists)");
    }
}

/// Two free loopback addresses.
fn free_ports() -> Result<[String; 2]> {
    let held = [std::net::TcpListener::bind("127.0.0.1:0")?, std::net::TcpListener::bind("127.0.0.1:0")?];
    Ok([held[0].local_addr()?.to_string(), held[1].local_addr()?.to_string()])
}

/// How long the ledger may take for one action.
pub(super) const PATIENCE: Duration = FINAL;

//! A network with a seller's whole side on it.

use std::path::Path;

use serde_json::Value;

use crate::harness::{Running, eventually, folder, free, works, write};

/// What a list is about, what it means, and its lines.
const NAMES: (&str, &str, &str) = ("names", "deny,2026-02-03", "evil.example\nworse.example");

/// Everything that runs in a story.
pub(crate) struct Market {
    pub(crate) home: tempfile::TempDir,
    pub(crate) devnet: Running,
    _api: Running,
    sidecar: Running,
    door: String,
    /// Where the sidecar shows its health and what it could claim.
    pub(crate) admin: String,
}

impl Market {
    /// A devnet, a provider with one list and one service, its API, its sidecar that claims each second.
    pub(crate) fn open() -> Self {
        Self::with(NAMES, "claim_every_s = 1")
    }

    /// The same with a list of one address instead of names, which calls it a drainer.
    pub(crate) fn of_addresses(listed: &str) -> Self {
        Self::with(("addresses", "label,2026-02-03,phish-hack", listed), "claim_every_s = 1")
    }

    /// The same, with a sidecar that leaves claims to its owner.
    pub(crate) fn claiming_by_hand() -> Self {
        Self::with(NAMES, "claim_every_s = 86400\nclaim_above = \"1000000000000000000000000\"")
    }

    fn with((about, meaning, lines): (&str, &str, &str), duty: &str) -> Self {
        let home = folder();
        let at = home.path();
        let devnet = Running::start(at, &["devnet", "--operators", "4"]);
        let list = write(at, "list.txt", &format!("{lines}\n"));
        let source = format!("{},{about},{meaning}", list.display());
        works(at, &["lists", "build", "--no-npm", "--lists", at.to_str().unwrap(), "--source", &source]);
        works(at, &["provider", "register", "--account", "dev:provider", "--stake", "5000"]);
        let dataset = format!(".surety/datasets/{about}.dataset");
        let published = works(at, &["lists", "publish", &dataset, "--provider", "1", "--account", "dev:provider"]);
        assert_eq!(published["dataset"], 1);
        let (api, door, admin) = (free(), free(), free());
        let template = works(at, &["provider", "template"]);
        let listing = listing(&template, &door);
        write(at, "service.json", &listing.to_string());
        works(at, &["provider", "list", "service.json", "--account", "dev:provider"]);
        let served = Running::start(at, &["provider", "serve", "--listen", &api]);
        let config = format!(
            "listen = \"{door}\"\nadmin = \"{admin}\"\nauthority = \"{door}\"\ndata = \"sidecar\"\nprovider = 1\n\
             [[service]]\nid = 1\npath = \"/api/v1\"\nupstream = \"http://{api}\"\n[duties]\ntick_ms = 200\n{duty}\n",
        );
        write(at, "sidecar.toml", &config);
        let sidecar = start_sidecar(at, &door);
        Self { home, devnet, _api: served, sidecar, door, admin }
    }

    /// kill -9 and a new one.
    pub(crate) fn restart_sidecar(&mut self) {
        self.sidecar.kill();
        self.sidecar = start_sidecar(self.home.path(), &self.door);
    }
}

fn start_sidecar(at: &Path, door: &str) -> Running {
    let running = Running::silent(at, &["sidecar", "--config", "sidecar.toml", "--account", "dev:provider"]);
    eventually("the sidecar answers", 30, || std::net::TcpStream::connect(door).ok());
    running
}

fn listing(template: &Value, door: &str) -> Value {
    let mut listing = template.clone();
    listing["endpoint"] = format!("http://{door}").into();
    listing
}

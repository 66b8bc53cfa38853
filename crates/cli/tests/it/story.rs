//! A seller and a buyer, command by command.

use std::path::Path;

use serde_json::Value;

use crate::harness::{Running, eventually, folder, free, run, works, write};

/// Everything that runs in a story.
struct Market {
    home: tempfile::TempDir,
    _devnet: Running,
    _api: Running,
    sidecar: Running,
    config: String,
}

impl Market {
    /// A devnet, a provider with one list and one service, its API, its sidecar.
    fn open() -> Self {
        let home = folder();
        let at = home.path();
        let devnet = Running::start(at, &["devnet", "--operators", "4"]);
        let names = write(at, "names.txt", "evil.example\nworse.example\n");
        let source = format!("{},names,deny,2026-02-03", names.display());
        works(at, &["lists", "build", "--no-npm", "--lists", at.to_str().unwrap(), "--source", &source]);
        works(at, &["provider", "register", "--account", "dev:provider", "--stake", "5000"]);
        let published = works(
            at,
            &["lists", "publish", ".surety/datasets/names.dataset", "--provider", "1", "--account", "dev:provider"],
        );
        assert_eq!(published["dataset"], 1);
        let (api, door) = (free(), free());
        let template = works(at, &["provider", "template"]);
        let listing = listing(&template, &door);
        write(at, "service.json", &listing.to_string());
        works(at, &["provider", "list", "service.json", "--account", "dev:provider"]);
        let served = Running::start(at, &["provider", "serve", "--listen", &api]);
        let config = format!(
            "listen = \"{door}\"\nadmin = \"{}\"\nauthority = \"{door}\"\ndata = \"sidecar\"\nprovider = 1\n\
             [[service]]\nid = 1\npath = \"/api/v1\"\nupstream = \"http://{api}\"\n[duties]\ntick_ms = 200\nclaim_every_s = 1\n",
            free()
        );
        write(at, "sidecar.toml", &config);
        let sidecar = start_sidecar(at, &door);
        Self { home, _devnet: devnet, _api: served, sidecar, config: door }
    }

    fn restart_sidecar(&mut self) {
        self.sidecar.kill();
        self.sidecar = start_sidecar(self.home.path(), &self.config);
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

#[test]
fn a_newcomer_sells_buys_calls_verifies_and_explains() {
    let mut market = Market::open();
    let at = market.home.path().to_owned();
    let found = works(&at, &["services", "phishing"]);
    assert_eq!(found["items"][0]["id"], 1, "{found}");
    assert_eq!(works(&at, &["explain", "purchase", "1"])["can_be_bought"], true);
    assert_eq!(works(&at, &["explain", "fee", "100"])["take"], "5000000000000000000");

    let bought = works(
        &at,
        &["buy", "1", "--account", "dev:consumer", "--save", "grant.json", "--save-receipt", "receipt.json"],
    );
    let purchase = bought["purchase"].as_str().unwrap().to_owned();
    let call = |path: &str| works(&at, &["call", "--purchase", &purchase, path, "--save", "answer.json"]);
    let bad = call("api/v1/phishing_site?url=evil.example");
    assert_eq!(bad["replies"][0]["body"]["result"]["phishing_site"], 1, "{bad}");

    // What was acknowledged survives the sidecar's sudden end.
    market.restart_sidecar();
    let good = call("api/v1/phishing_site?url=wikipedia.org");
    assert_eq!(good["replies"][0]["body"]["result"]["phishing_site"], 0, "{good}");
    assert_eq!(good["acknowledged"], 2, "{good}");

    for (kind, file) in [("grant", "grant.json"), ("answer", "answer.json"), ("receipt", "receipt.json")] {
        assert_eq!(works(&at, &["verify", kind, file])["valid"], true);
        let text = std::fs::read_to_string(at.join(file)).unwrap();
        let other = text.replacen("0x0", "0x1", 1).replacen("\"height\": ", "\"height\": 1", 1);
        write(&at, "altered.json", &other);
        let (code, said) = run(&at, &["verify", kind, "altered.json"]);
        assert_eq!(code, 1, "an altered {kind} holds: {said}");
        assert!(said["error"].as_str().is_some_and(|reason| !reason.is_empty()));
    }
    let (code, said) = run(&at, &["buy", "7", "--account", "dev:consumer"]);
    assert_eq!(code, 1);
    assert!(said["error"].as_str().unwrap().contains("no service 7"), "{said}");
    let show = eventually("the sidecar has claimed", 30, || {
        let show = works(&at, &["provider", "show", "1"]);
        (show["unreleased"] != "0").then_some(show)
    });
    assert_eq!(show["sales"], 1, "{show}");
}

#[test]
fn keys_are_made_listed_and_refused_without_their_password() {
    let home = folder();
    let at = home.path();
    write(at, "password", "correct horse\n");
    let made = works(at, &["keys", "new", "--password-file", "password"]);
    let listed = works(at, &["keys", "list"]);
    assert_eq!(listed["accounts"][0], made["address"]);
    let (code, said) = run(at, &["keys", "new"]);
    assert_eq!(code, 2, "{said}");
    assert!(said["error"].as_str().unwrap().contains("--password-file"), "{said}");
}

#[test]
fn a_command_without_a_network_says_how_to_get_one() {
    let home = folder();
    let (code, said) = run(home.path(), &["services"]);
    assert_eq!(code, 2);
    assert!(said["error"].as_str().unwrap().contains("surety devnet"), "{said}");
    assert_eq!(run(home.path(), &["no-such-command"]).0, 2);
}

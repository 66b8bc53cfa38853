//! The gateway before a real node, with an unmodified wallet library, and what `check` and `verify` say of the same.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use serde_json::Value;

use crate::harness::{Running, eventually, folder, get, run, signal, works, write};
use crate::market::Market;

const DRAINER: &str = "0xd4d4d4d4d4d4d4d4d4d4d4d4d4d4d4d4d4d4d4d4";

/// anvil on a port of its own; ends with its owner.
struct Anvil {
    process: Child,
    url: String,
}

impl Anvil {
    /// Nothing (with a word why) where it is not installed; a failure where npm is required.
    fn start() -> Option<Self> {
        let program = js().join("node_modules/@foundry-rs/anvil-linux-amd64/bin/anvil");
        if !program.is_file() {
            let required = std::env::var_os("SURETY_REQUIRE_NPM").is_some_and(|value| value == "1");
            assert!(!required, "anvil is not installed: cargo xtask js");
            eprintln!("SKIPPED: anvil is not installed: cargo xtask js");
            return None;
        }
        let mut command = Command::new(program);
        command.args(["--port", "0", "--hardfork", "osaka"]).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut process = command.spawn().unwrap();
        let mut lines = BufReader::new(process.stdout.take().unwrap()).lines();
        let address = lines.find_map(|line| line.unwrap().strip_prefix("Listening on ").map(str::to_owned));
        // Whatever else it says must go somewhere, or it would wait for a reader.
        std::thread::spawn(move || lines.for_each(drop));
        Some(Self { process, url: format!("http://{}", address.unwrap()) })
    }
}

impl Drop for Anvil {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn js() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/js")
}

/// A list that calls one address a drainer.
fn list(at: &Path) {
    let file = write(at, "drainers.txt", &format!("{DRAINER}\n"));
    let source = format!("{},addresses,label,2026-02-03,phish-hack", file.display());
    works(at, &["lists", "build", "--no-npm", "--lists", at.to_str().unwrap(), "--source", &source]);
}

#[test]
fn an_unmodified_wallet_works_through_the_gateway_and_is_kept_from_a_drainer() {
    let Some(anvil) = Anvil::start() else { return };
    let home = folder();
    let at = home.path();
    list(at);
    let ports = ["--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0"];
    let gateway = Running::start(
        at,
        &[&["gateway", "--upstream", &anvil.url, "--trust-rpc", "--no-sanctions"][..], &ports].concat(),
    );
    let url = gateway.said["url"].as_str().unwrap();
    let output = Command::new("node").args(["gateway.cjs", url, DRAINER]).current_dir(js()).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let said: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(said["refused"]["verdict"], "block", "{said}");
    assert!(said["refused"]["rule"].as_str().is_some_and(|rule| !rule.is_empty()), "{said}");
    let token = said["deployed"].as_str().unwrap();

    // The same questions by hand, with evidence that holds and does not bend.
    let rpc = ["--rpc", anvil.url.as_str(), "--trust-rpc"];
    let (code, listed) = run(at, &[&["check", "address", DRAINER][..], &rpc].concat());
    assert_eq!((code, &listed["result"]["phishing_activities"]), (1, &"1".into()), "{listed}");
    let (_, checked) = run(at, &[&["check", "token", token, "--save", "token.json"][..], &rpc].concat());
    let fields = &checked["result"][token.to_lowercase()];
    assert_eq!((&fields["is_honeypot"], &fields["token_symbol"]), (&"0".into(), &"PLN".into()), "{checked}");
    let verified = works(at, &["verify", "verdict", "token.json"]);
    assert_eq!(verified["digest"], checked["surety"]["digest"]);
    let text = std::fs::read_to_string(at.join("token.json")).unwrap();
    write(at, "altered.json", &text.replacen("\\\"is_honeypot\\\":\\\"0\\\"", "\\\"is_honeypot\\\":\\\"1\\\"", 1));
    let (code, said) = run(at, &["verify", "verdict", "altered.json"]);
    assert_eq!(code, 1, "{said}");
    assert!(said["error"].as_str().unwrap().contains("is_honeypot"), "{said}");
}

#[test]
fn a_gateway_without_a_node_and_a_check_without_a_chain_say_what_is_missing() {
    let home = folder();
    let at = home.path();
    let (code, said) = run(at, &["gateway", "--upstream", "http://127.0.0.1:9", "--no-sanctions"]);
    assert_eq!(code, 2, "{said}");
    let (code, said) = run(at, &["gateway", "--upstream", "http://127.0.0.1:9"]);
    assert_eq!(code, 2, "without a list of sanctions nothing starts by itself: {said}");
    let (code, said) = run(at, &["check", "token", DRAINER]);
    assert_eq!(code, 2, "{said}");
    assert!(said["error"].as_str().unwrap().contains("--rpc"), "{said}");
    write(at, "policy.toml", "[[rule]]\nid = \"x\"\nwhen = \"gt(decoded.amount, 5)\"\nthen = \"block\"\n");
    let (code, said) = run(at, &["gateway", "check", "policy.toml"]);
    assert_eq!(code, 1, "a plain number against an amount is refused when the file is read: {said}");
}

#[test]
fn sighup_brings_another_policy_into_force_and_a_bad_one_changes_nothing() {
    let home = folder();
    let at = home.path();
    let chain = Running::start(at, &["devchain", "--listen", "127.0.0.1:0"]);
    write(at, "policy.toml", "name = \"one\"\n");
    let ports = ["--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0", "--policy", "policy.toml"];
    let upstream = ["gateway", "--upstream", chain.said["url"].as_str().unwrap(), "--trust-rpc", "--no-sanctions"];
    let gateway = Running::start(at, &[&upstream[..], &ports].concat());
    let admin = gateway.said["admin"].as_str().unwrap().trim_start_matches("http://").to_owned();
    let health = || serde_json::from_str::<Value>(&get(&admin, "/health")).unwrap();
    let first = health()["policy"].clone();
    write(at, "policy.toml", "name = 2\n");
    signal("HUP", gateway.id());
    eventually("the mistake is told", 20, || health()["policy_error"].is_string().then_some(()));
    assert_eq!(health()["policy"], first);
    write(at, "policy.toml", "name = \"two\"\n");
    signal("HUP", gateway.id());
    eventually("the policy is another", 20, || (health()["policy"] != first).then_some(()));
    assert!(health()["policy_error"].is_null());
}

#[test]
fn a_gateway_asks_a_service_of_the_market_by_a_package_that_was_bought() {
    let market = Market::of_addresses(DRAINER);
    let at = market.home.path();
    let bought = works(at, &["buy", "1", "--account", "dev:consumer"]);
    let purchase = bought["purchase"].as_str().unwrap();
    let chain = Running::start(at, &["devchain", "--listen", "127.0.0.1:0"]);
    // The service has a list of addresses; the gateway asks by a prefix, and has no list of its own.
    let policy = "[[remote]]\nname = \"orbit\"\nsees = [\"address\"]\ndeadline_ms = 9000\n\
                  path = \"api/v1/address_prefix/{prefix}\"\nflags = [\"/phishing_activities\"]\n";
    write(at, "policy.toml", policy);
    let url = chain.said["url"].as_str().unwrap();
    let config = format!(
        "listen = \"127.0.0.1:0\"\nadmin = \"127.0.0.1:0\"\ndata = \"gateway\"\npolicy = \"policy.toml\"\n\
         [[upstream]]\nurl = \"{url}\"\n[limits]\nassess_ms = 10000\n"
    );
    write(at, "gateway.toml", &config);
    let bare = ["gateway", "--config", "gateway.toml", "--trust-rpc", "--no-sanctions", "--folder", "no-lists"];
    let (code, said) = run(at, &bare);
    assert_eq!(code, 2, "{said}");
    assert!(said["error"].as_str().is_some_and(|error| error.contains("no grant")), "{said}");
    let grant = format!("[[service]]\nname = \"orbit\"\npurchase = \"{purchase}\"\n");
    write(at, "gateway.toml", &format!("{config}{grant}"));
    let gateway = Running::start(at, &bare);
    let door = gateway.said["url"].as_str().unwrap().trim_start_matches("http://").to_owned();
    for (to, outcome) in [(DRAINER, "unsafe"), ("0x00000000000000000000000000000000000a11ce", "passed")] {
        let asked = format!(r#"{{"id":1,"method":"surety_screen","params":[{{"to":"{to}","value":"0x1"}}]}}"#);
        let said: Value = serde_json::from_str(&post(&door, &asked)).unwrap();
        let checks = said["result"]["checks"].as_array().unwrap_or_else(|| panic!("{said}"));
        let remote = checks.iter().find(|check| check["name"] == "remote").unwrap_or_else(|| panic!("{said}"));
        assert_eq!(
            (&remote["outcome"], &remote["evidence"][0]["service"]),
            (&outcome.into(), &"orbit".into()),
            "{remote}"
        );
        assert!(remote["evidence"][0]["call"]["seq"].is_u64(), "it was called and paid for: {remote}");
    }
    let admin = gateway.said["admin"].as_str().unwrap().trim_start_matches("http://").to_owned();
    let metrics = get(&admin, "/metrics");
    let count = "gateway_remote_calls_total{service=\"orbit\",outcome=\"answered\"} 2";
    assert!(metrics.contains(count), "{metrics}");
}

/// Section 9, last line. A deadline is not what this is about: the machine may be busy with other tests.
#[test]
fn nothing_that_honest_people_do_is_blocked_or_held() {
    let modules = js().join("node_modules");
    if !modules.join("ethers").is_dir() {
        let required = std::env::var_os("SURETY_REQUIRE_NPM").is_some_and(|value| value == "1");
        assert!(!required, "the npm packages are not installed: cargo xtask js");
        eprintln!("SKIPPED: the npm packages are not installed: cargo xtask js");
        return;
    }
    let home = folder();
    let at = home.path();
    trusting(at);
    let canonical = modules.canonicalize().unwrap();
    let listen = ["devchain", "--listen", "127.0.0.1:0", "--canonical", canonical.to_str().unwrap()];
    let chain = Running::start(at, &listen);
    let node = chain.said["url"].as_str().unwrap();
    let policy = std::fs::read_to_string(js().join("../../docs/policy.toml")).unwrap();
    write(at, "policy.toml", &policy.replace("deadline_ms = 50\n", "deadline_ms = 8000\n"));
    let config = format!(
        "listen = \"127.0.0.1:0\"\nadmin = \"127.0.0.1:0\"\ndata = \"gateway\"\npolicy = \"policy.toml\"\n\
         [[upstream]]\nurl = \"{node}\"\n[limits]\nassess_ms = 10000\n"
    );
    write(at, "gateway.toml", &config);
    let gateway = Running::start(at, &["gateway", "--config", "gateway.toml", "--trust-rpc"]);
    let url = gateway.said["url"].as_str().unwrap();
    let output = Command::new("node").args(["benign.cjs", url, node]).current_dir(js()).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let said: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(said["refused"], Value::Array(Vec::new()), "{said:#}");
    assert!(said["passed"].as_u64().is_some_and(|passed| passed >= 32), "{said}");
}

/// The body of the answer to a POST.
fn post(address: &str, body: &str) -> String {
    let mut stream = std::net::TcpStream::connect(address).unwrap();
    let head = format!("POST / HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\ncontent-length: {}\r\n", body.len());
    write!(stream, "{head}\r\n{body}").unwrap();
    let mut text = String::new();
    stream.read_to_string(&mut text).unwrap();
    text.split_once("\r\n\r\n").unwrap().1.to_owned()
}

/// Lists of a gateway that knows the great contracts, and one address under sanctions.
fn trusting(at: &Path) {
    let contracts = [
        "0xC02aaA39b223FE8D0A0e5C4F27eAD9083C756Cc2",
        "0xA0b86991c6218b36c1d19D4a2e9Eb0cE3606eB48",
        "0x7a250d5630B4cF539739dF2C5dAcb4c659F2488D",
        "0xE592427A0AEce92De3Edee1F18E0157C05861564",
        "0xC36442b4a4522E871399CD717aBDD847Ab11FE88",
    ];
    let trust = write(at, "trust.txt", &contracts.join("\n"));
    let sanctions = write(at, "sanctions.txt", "0x8589427373D6D84E98730D7795D8f6f8731FDA16\n");
    let trust = format!("{},addresses,allow,2026-02-03", trust.display());
    let sanctions = format!("{},addresses,label,2026-02-03,sanctioned", sanctions.display());
    let lists = ["lists", "build", "--no-npm", "--lists", at.to_str().unwrap()];
    works(at, &[&lists[..], &["--source", &trust, "--source", &sanctions]].concat());
}

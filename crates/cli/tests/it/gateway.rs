//! The gateway before a real node, with an unmodified wallet library, and what `check` and `verify` say of the same.

use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use serde_json::Value;

use crate::harness::{Running, folder, run, works, write};

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

//! What a seller does by hand: claim, manage its stake, pause, limit the age of its lists, take over keys.

use std::io::{BufRead as _, BufReader, Write as _};
use std::path::Path;

use serde_json::Value;

use crate::harness::{Running, eventually, folder, free, get, run, works, write};
use crate::market::Market;

#[test]
fn a_seller_claims_by_hand_what_its_sidecar_could_claim() {
    let market = Market::claiming_by_hand();
    let at = market.home.path();
    eventually("the listing is found", 10, || {
        (works(at, &["services", "phishing"])["items"][0]["id"] == 1).then_some(())
    });
    let bought = works(at, &["buy", "1", "--account", "dev:consumer"]);
    let purchase = bought["purchase"].as_str().unwrap().to_owned();
    works(at, &["call", "--purchase", &purchase, "api/v1/phishing_site?url=evil.example"]);

    let claims = get(&market.admin, "/claims");
    let listed: Value = serde_json::from_str(&claims).unwrap();
    assert_eq!(listed.as_array().unwrap().len(), 1, "{claims}");
    assert_eq!(works(at, &["provider", "show", "1"])["unreleased"], "0");
    write(at, "claims.json", &claims);
    let claimed = works(at, &["claim", "vouchers", "claims.json", "--account", "dev:provider"]);
    assert_eq!(claimed["claimed"][0], bought["purchase"]);
    eventually("the claim shows", 10, || (works(at, &["provider", "show", "1"])["unreleased"] != "0").then_some(()));
    // What was claimed is claimed once.
    let (code, said) = run(at, &["claim", "vouchers", "claims.json", "--account", "dev:provider"]);
    assert_eq!(code, 1, "{said}");
    let (code, said) = run(at, &["claim", "release", "1", "--account", "dev:provider"]);
    assert_eq!(code, 1, "{said}");
    assert!(said["error"].as_str().unwrap().contains("nothing is mature"), "{said}");
    // Nothing was shown, so there is nothing to contest.
    let (code, said) = run(at, &["evidence", "contest", &purchase, "--account", "dev:consumer"]);
    assert_eq!(code, 1, "{said}");
    assert!(said["error"].as_str().unwrap().contains("shows nothing"), "{said}");

    manages_its_stake(at);
    limits_the_age_of_its_lists(at);
}

fn manages_its_stake(at: &Path) {
    let stake = |at: &Path| works(at, &["provider", "show", "1"])["stake"].clone();
    let before = stake(at);
    let done = works(at, &["provider", "stake", "1", "10", "--account", "dev:consumer"]);
    let hash = done["hash"].as_str().unwrap();
    let explained = works(at, &["explain", "transaction", hash]);
    assert_eq!(explained["receipt"]["failure"], Value::Null, "{explained}");
    eventually("the stake has grown", 10, || (stake(at) != before).then_some(()));
    works(at, &["provider", "unstake", "1", "10", "--account", "dev:provider"]);
    let (code, said) = run(at, &["provider", "withdraw", "1", "--account", "dev:provider"]);
    assert_eq!(code, 1, "what was unstaked a moment ago cannot be taken out: {said}");

    let payout = "0x00000000000000000000000000000000000000aa";
    works(at, &["provider", "update", "--payout", payout, "--account", "dev:provider"]);
    works(at, &["provider", "pause", "--provider", "1", "--account", "dev:provider"]);
    let paused = eventually("the pause shows", 10, || {
        let explained = works(at, &["explain", "purchase", "1"]);
        (explained["can_be_bought"] == false).then_some(explained)
    });
    assert!(paused["reasons"].to_string().contains("paused"), "{paused}");
    let (code, said) = run(at, &["buy", "1", "--account", "dev:consumer"]);
    assert_eq!(code, 1, "a paused provider sells: {said}");
    works(at, &["provider", "pause", "--provider", "1", "--resume", "--account", "dev:provider"]);
    eventually("it sells again", 10, || {
        (works(at, &["explain", "purchase", "1"])["can_be_bought"] == true).then_some(())
    });
}

/// The list is of February: to whom a day is too old it says nothing any more, but what it denies stays denied.
fn limits_the_age_of_its_lists(at: &Path) {
    let listen = free();
    let _api = Running::start(at, &["provider", "serve", "--listen", &listen, "--max-age", "1"]);
    let ask = |name: &str| -> Value {
        serde_json::from_str(&get(&listen, &format!("/api/v1/phishing_site?url={name}"))).unwrap()
    };
    let unlisted = ask("wikipedia.org");
    assert_eq!(unlisted["result"]["phishing_site"], Value::Null, "{unlisted}");
    assert!(unlisted["surety"]["unknown"].to_string().contains("list_stale"), "{unlisted}");
    assert_eq!(ask("evil.example")["result"]["phishing_site"], 1);
}

#[test]
fn keys_of_other_wallets_are_taken_over() {
    let home = folder();
    let at = home.path();
    write(at, "password", "correct horse\n");
    // The address of this key is the best known one of the development chains.
    write(at, "raw", "ac0974bec39a17e36ba4a6b4d238ff944bacb478cbed5efcae784d7bf4f2ff80\n");
    let taken = works(at, &["keys", "import", "raw", "--password-file", "password"]);
    assert_eq!(taken["address"].as_str().unwrap().to_lowercase(), "0xf39fd6e51aad88f6f4ce6ab8827279cfffb92266");
    let file = std::fs::read_dir(at.join(".surety/keys")).unwrap().flatten().next().unwrap().path();
    let other = ["keys", "import", file.to_str().unwrap(), "--password-file", "password", "--keystore", "other"];
    assert_eq!(works(at, &other)["address"], taken["address"]);
    write(at, "wrong", "battery staple\n");
    let mut wrong = other;
    (wrong[4], wrong[6]) = ("wrong", "third");
    let (code, said) = run(at, &wrong);
    assert_ne!(code, 0, "{said}");
    assert!(!said.to_string().contains("ac0974"), "{said}");
}

#[test]
fn a_list_is_read_from_a_url() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let place = listener.local_addr().unwrap();
    let server = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let mut asked = BufReader::new(stream.try_clone().unwrap());
        let mut line = String::new();
        while asked.read_line(&mut line).unwrap() > 2 {
            line.clear();
        }
        let list = "evil.example\nworse.example\n";
        write!(stream, "HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{list}", list.len()).unwrap();
    });
    let home = folder();
    let at = home.path();
    let source = format!("http://{place}/names.txt,names,deny,2026-02-03");
    let built = works(at, &["lists", "build", "--no-npm", "--lists", at.to_str().unwrap(), "--source", &source]);
    server.join().unwrap();
    assert_eq!(built["sources"][0]["kept"], 2, "{built}");
    let shown = works(at, &["lists", "show", ".surety/datasets/names.dataset", "evil.example"]);
    assert_eq!(shown["entries"].as_array().unwrap().len(), 1, "{shown}");
}

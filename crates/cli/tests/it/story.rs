//! A seller and a buyer, command by command.

use crate::harness::{eventually, folder, run, works, write};
use crate::market::Market;

#[test]
fn a_newcomer_sells_buys_calls_verifies_and_explains() {
    let mut market = Market::open();
    let at = market.home.path().to_owned();
    // The node that is asked may be a block behind the one that took the listing.
    eventually("the listing is found", 10, || {
        let found = works(&at, &["services", "phishing"]);
        (found["items"][0]["id"] == 1).then_some(())
    });
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
    // A receipt says what became of the action, and not anything else.
    assert_eq!(works(&at, &["verify", "receipt", "receipt.json"])["succeeded"], true);
    let text = std::fs::read_to_string(at.join("receipt.json")).unwrap();
    let mut receipt: serde_json::Value = serde_json::from_str(&text).unwrap();
    receipt["receipt"]["failure"] = serde_json::json!({"code": 101, "name": "none", "message": "it was refused"});
    write(&at, "altered.json", &receipt.to_string());
    let (code, said) = run(&at, &["verify", "receipt", "altered.json"]);
    assert_eq!(code, 1, "{said}");
    assert!(said["error"].as_str().unwrap().contains("not what block"), "{said}");

    // The same reference buys once, and never on other terms.
    let again = ["buy", "1", "--account", "dev:consumer", "--reference", "0x000000000000000000000000000000aa"];
    let first = works(&at, &again);
    assert_eq!(works(&at, &again)["purchase"], first["purchase"]);
    let (code, said) = run(&at, &[&again[..], &["--lanes", "3"]].concat());
    assert_eq!(code, 1, "{said}");
    assert!(said["error"].as_str().unwrap().contains("other terms"), "{said}");
    let (code, said) = run(&at, &["buy", "7", "--account", "dev:consumer"]);
    assert_eq!(code, 1);
    assert!(said["error"].as_str().unwrap().contains("no service 7"), "{said}");
    let show = eventually("the sidecar has claimed", 30, || {
        let show = works(&at, &["provider", "show", "1"]);
        (show["unreleased"] != "0").then_some(show)
    });
    assert_eq!(show["sales"], 2, "{show}");
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

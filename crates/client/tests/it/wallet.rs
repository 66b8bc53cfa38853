//! The independent wallet: ethers signs every action from its document alone, and the ledger takes exactly what it signed.

use std::collections::BTreeSet;
use std::io::Write as _;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use serde::Deserialize;
use serde_json::{Value, json};
use surety_client::wallet::{Cost, decrypt, encrypt};
use surety_ledger::action::ACTIONS;
use surety_ledger::{AnyAction, SignedTransaction, Transaction};
use surety_primitives::wallet::{AccountKey, Signature};
use surety_primitives::{Address, Amount, Hash32, NetworkId, Seconds, codec};

use crate::samples::{self, Style};

const NETWORK: NetworkId = NetworkId(31_337);

#[derive(Deserialize)]
struct Report {
    address: Address,
    signed: Vec<Signed>,
    keystore: Option<Opened>,
}

#[derive(Deserialize)]
struct Signed {
    hash: Hash32,
    signature: Signature,
}

#[derive(Deserialize)]
struct Opened {
    address: Address,
    written: String,
}

/// What the library makes of a request; nothing, with a word why, where it is not installed.
fn ethers(request: &Value) -> Option<Report> {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../tests/js");
    if !folder.join("node_modules/ethers").exists() {
        let reason = "ethers is not installed; run `cargo xtask js` first";
        assert!(std::env::var_os("SURETY_REQUIRE_NPM").is_none_or(|value| value != "1"), "{reason}");
        eprintln!("SKIPPED: {reason}");
        return None;
    }
    let mut child = Command::new("node")
        .arg("wallet.cjs")
        .current_dir(folder)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("node runs where its packages are installed");
    let mut input = child.stdin.take().unwrap();
    let body = request.to_string();
    let writer = std::thread::spawn(move || input.write_all(body.as_bytes()));
    let output = child.wait_with_output().unwrap();
    writer.join().unwrap().unwrap();
    assert!(output.status.success(), "wallet.cjs failed");
    Some(serde_json::from_slice(&output.stdout).unwrap())
}

fn secret(key: &AccountKey) -> String {
    const_hex::encode_prefixed(key.to_secret_bytes())
}

fn transactions() -> Vec<(Style, Transaction)> {
    let styles = [Style::Zero, Style::Plain, Style::Most].into_iter().chain((0..40).map(Style::Noise));
    let with_terms = |style: Style, action: AnyAction| {
        let (nonce, expires, fee) = match style {
            Style::Zero => (0, Seconds(0), Amount::ZERO),
            Style::Most => (u64::MAX, Seconds(u64::MAX), Amount(u128::MAX)),
            Style::Plain | Style::Noise(_) => (7, Seconds(1_800_000_000), Amount::milli(10)),
        };
        (style, Transaction { network: NETWORK, nonce, expires, fee, action })
    };
    styles.flat_map(|style| samples::all(style).into_iter().map(move |action| with_terms(style, action))).collect()
}

#[test]
fn ethers_signs_every_action_and_the_ledger_takes_exactly_that() {
    let key = AccountKey::from_label("independent");
    let transactions = transactions();
    assert_eq!(transactions.len(), ACTIONS.len() * 43);
    let documents: Vec<Value> = transactions.iter().map(|(_, transaction)| transaction.typed_data()).collect();
    let Some(report) = ethers(&json!({"secret": secret(&key), "documents": documents})) else { return };
    assert_eq!(report.address, key.address());
    assert_eq!(report.signed.len(), transactions.len());

    let mut accepted = BTreeSet::new();
    for ((style, transaction), Signed { hash, signature }) in transactions.into_iter().zip(report.signed) {
        let name = transaction.action.name();
        assert_eq!(transaction.signing_hash(), hash, "{name} {style:?}");
        assert_eq!(signature.recover(&hash), Ok(key.address()), "{name} {style:?}");
        assert_eq!(key.sign(&hash), signature, "both sign deterministically: {name} {style:?}");
        let allowed = transaction.action.check();
        let signed = SignedTransaction { transaction, signature };
        let travelled = SignedTransaction::decode(&codec::encode(&signed));
        assert_eq!(travelled, Ok(signed.clone()), "{name} {style:?}");
        // Whatever an action's own rules refuse is refused for that reason, and nothing else is refused.
        match signed.verify(NETWORK) {
            Ok(verified) => {
                assert_eq!(verified.signer(), key.address());
                accepted.insert(name);
            }
            Err(error) => assert_eq!(allowed, Err(error), "{name} {style:?}"),
        }
    }
    let missing: Vec<&str> = ACTIONS.iter().map(|(_, name)| *name).filter(|name| !accepted.contains(name)).collect();
    assert!(missing.is_empty(), "no sample of these passes its own rules: {missing:?}");
}

#[test]
fn no_document_has_two_fields_of_one_name() {
    for action in samples::all(Style::Zero) {
        let (members, types, _) = action.typed_parts();
        for members in types.values().chain([&members]) {
            let names: BTreeSet<&str> = members.iter().map(|(name, _)| *name).collect();
            assert_eq!(names.len(), members.len(), "{}: {members:?}", action.name());
        }
    }
}

#[test]
fn what_was_signed_holds_for_nothing_else() {
    let key = AccountKey::from_label("independent");
    for action in samples::all(Style::Plain) {
        let name = action.name();
        let transaction = Transaction { network: NETWORK, nonce: 3, expires: Seconds(9), fee: Amount(5), action };
        let signed = transaction.clone().sign(&key);
        let verified = signed.clone().verify(NETWORK).unwrap();
        let others = [
            Transaction { nonce: 4, ..transaction.clone() },
            Transaction { expires: Seconds(10), ..transaction.clone() },
            Transaction { fee: Amount(6), ..transaction.clone() },
        ];
        for other in others {
            let forged = SignedTransaction { transaction: other, signature: signed.signature };
            assert_ne!(forged.verify(NETWORK).map(|forged| forged.signer()), Ok(verified.signer()), "{name}");
        }
        assert!(signed.verify(NetworkId(1)).is_err(), "{name} on another network");
    }
}

#[test]
fn every_action_survives_its_json() {
    for (_, transaction) in transactions() {
        let signed = transaction.sign(&AccountKey::from_label("independent"));
        let text = serde_json::to_string(&signed).unwrap();
        assert_eq!(serde_json::from_str::<SignedTransaction>(&text).unwrap(), signed);
    }
}

#[test]
fn keystore_files_go_both_ways() {
    let key = AccountKey::from_label("independent");
    let password = "correct horse battery staple";
    let text = encrypt(&key, password, Cost::LIGHT).unwrap();
    let request = json!({"secret": secret(&key), "documents": [], "keystore": {"json": text, "password": password}});
    let Some(report) = ethers(&request) else { return };
    let opened = report.keystore.unwrap();
    assert_eq!(opened.address, key.address());
    assert_eq!(decrypt(&opened.written, password).unwrap().to_secret_bytes(), key.to_secret_bytes());
    assert!(decrypt(&opened.written, "wrong").is_err());
}

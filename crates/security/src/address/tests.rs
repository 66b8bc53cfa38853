#![allow(clippy::unwrap_used)]

use serde_json::{Value, json};
use surety_primitives::Seconds;

use super::*;
use crate::faulty::Lying;
use crate::lists::{Format, Source, SourceSpec};
use crate::router::{answer, request};

const TORNADO: &str = "0x12d66f87a04a9e220743712ce6d9bb1b5616b8fc";
const PHISHER: &str = "0x00000000000000000000000000000000000000aa";
const NOBODY: &str = "0x00000000000000000000000000000000000000bb";

fn source(name: &str, semantics: Semantics, label: &str, text: &str) -> Source {
    let spec = SourceSpec {
        name: name.to_owned(),
        version: "1".to_owned(),
        as_of: "2024-09-27".parse().unwrap(),
        licence: "MIT".to_owned(),
        format: Format::Csv,
        subject: About::Address,
        semantics,
        label: label.to_owned(),
    };
    Source::read(&spec, text.as_bytes()).unwrap().remove(0)
}

fn dataset() -> Dataset {
    let ofac = source("ofac", Semantics::Label, "sanctioned", TORNADO);
    let forta = format!("address,tag\n{PHISHER},heist|phish-hack\n{TORNADO},mixer\n");
    let forta = source("forta", Semantics::Label, "unlabelled", &forta);
    Dataset::merge("address", "1", vec![ofac, forta]).unwrap()
}

fn asked(dataset: Option<Dataset>, address: &str, query: &str, at: u64) -> Value {
    let lists = Lists::new(None, dataset);
    let request = request(address, query, Seconds(at)).unwrap();
    let body = answer(&AddressSecurity, &lists, &request).map_or_else(|refusal| refusal.body(), |reply| reply.body);
    serde_json::from_str(&body).unwrap()
}

fn reason(answer: &Value, field: &str) -> Value {
    let unknown = answer["surety"]["unknown"].as_array().unwrap();
    unknown.iter().find(|unknown| unknown["field"] == field).map_or(Value::Null, |unknown| unknown["reason"].clone())
}

#[test]
fn labels_become_flags_and_sources_stay_apart() {
    let answer = asked(Some(dataset()), &TORNADO.to_uppercase().replace("0X", "0x"), "chain_id=1", 0);
    assert_eq!(answer["code"], 1);
    let result = &answer["result"];
    assert_eq!(result["sanctioned"], "1");
    assert_eq!(result["mixer"], "1");
    assert_eq!(result["phishing_activities"], "0");
    assert_eq!(result["data_source"], "ofac/forta");
    assert_eq!(result["sanctioned_as_of"], "2024-09-27");
    assert_eq!(result["verdict"], "bad");
    let result = asked(Some(dataset()), PHISHER, "", 0)["result"].clone();
    assert_eq!(result["phishing_activities"], "1");
    assert_eq!(result["stealing_attack"], "1");
    assert_eq!(result["sanctioned"], "0");
    assert_eq!(result["data_source"], "forta");
}

#[test]
fn a_flag_that_no_list_can_set_is_absent_and_named() {
    let answer = asked(Some(dataset()), NOBODY, "", 0);
    assert_eq!(answer["result"]["verdict"], "not_found");
    for (field, why) in
        [("fake_kyc", "no_source"), ("gas_abuse", "no_state"), ("number_of_malicious_contracts_created", "no_history")]
    {
        assert!(answer["result"].get(field).is_none());
        assert_eq!(reason(&answer, field), why);
    }
}

#[test]
fn without_a_list_everything_is_unknown_and_nothing_clean() {
    let answer = asked(None, NOBODY, "", 0);
    assert_eq!(answer["code"], 2);
    assert_eq!(answer["result"], json!({"data_source": "", "verdict": "unknown"}));
    assert_eq!(reason(&answer, "sanctioned"), "list_missing");
}

#[test]
fn stale_list_is_unknown() {
    let day = 86_400;
    let published = "2024-09-27".parse::<Date>().unwrap().start().0;
    let aged = || dataset().with_max_age(Some("ofac"), Seconds(30 * day));
    let fresh = asked(Some(aged()), NOBODY, "", published + 30 * day);
    assert_eq!(fresh["result"]["sanctioned"], "0");
    let stale = asked(Some(aged()), NOBODY, "", published + 30 * day + 1);
    assert_eq!(stale["code"], 2);
    assert!(stale["result"].get("sanctioned").is_none());
    assert_eq!(reason(&stale, "sanctioned"), "list_stale");
    assert_eq!(stale["result"]["phishing_activities"], "0");
    assert_eq!(stale["result"]["verdict"], "unknown");
    // A hit stays a hit, and says how old the list is.
    let hit = asked(Some(aged()), TORNADO, "", published + 31 * day);
    assert_eq!(hit["result"]["sanctioned"], "1");
}

#[test]
fn malformed_addresses_and_unknown_chains_have_goplus_codes() {
    for bad in ["", "0x", "abc", "0x00000000000000000000000000000000000000zz"] {
        assert_eq!(asked(Some(dataset()), bad, "", 0)["code"], 2004, "{bad}");
    }
    assert_eq!(asked(Some(dataset()), NOBODY, "chain_id=999", 0)["code"], 2018);
}

#[test]
fn look_alikes_of_trusted_addresses_are_named() {
    let trusted = source("trust", Semantics::Allow, "", "0xabcd000000000000000000000000000000001234");
    let dataset = || Dataset::merge("address", "1", vec![trusted.clone()]).unwrap();
    let near = asked(Some(dataset()), "0xabcdffffffffffffffffffffffffffffffff1234", "", 0);
    assert_eq!(near["result"]["look_alike_of"], "0xabcd000000000000000000000000000000001234");
    for other in ["0xabcd000000000000000000000000000000001234", "0xabceffffffffffffffffffffffffffffffff1234"] {
        assert!(asked(Some(dataset()), other, "", 0)["result"].get("look_alike_of").is_none());
    }
}

#[test]
fn a_liar_denies_what_its_own_tree_holds() {
    let honest = dataset();
    let root = honest.root();
    let lying = Lying::new(honest).says_clean_of_address(TORNADO).into_dataset();
    assert_eq!(lying.root(), root);
    let answer = asked(Some(lying), TORNADO, "proof=1", 0);
    assert_eq!(answer["result"]["verdict"], "not_found");
    assert_eq!(answer["surety"]["evidence"][0]["found"], Value::Null);
    assert!(answer["surety"]["evidence"][0].get("proof").is_none());
}

#[test]
fn code_at_the_address_is_told_where_the_chain_is_read() {
    use std::sync::Arc;

    use alloy_primitives::{Bytes, U256};
    use surety_evm::{Chain, Head, Snapshot, StateError, World};

    struct OneBlock(World);

    impl Chain for OneBlock {
        fn chain_id(&self) -> u64 {
            31_337
        }

        fn snapshot(&self, _: Option<u64>) -> Result<Snapshot, StateError> {
            Ok(Snapshot { head: Head::default(), source: Arc::new(self.0.clone()) })
        }
    }

    let at = |last: u8| Address::with_last_byte(last);
    let mut world = World::default();
    world.insert(at(0xaa), 1, U256::ZERO, Bytes::from_static(&[0xfe]));
    let delegation = [&[0xef, 0x01, 0x00][..], at(7).as_slice()].concat();
    world.insert(at(0xbb), 1, U256::ZERO, Bytes::from(delegation));
    let chain: Arc<dyn Chain> = Arc::new(OneBlock(world));
    let (lists, chains) = (Lists::new(None, Some(dataset())), Chains::from([(31_337, chain)]));
    let ask = |address: &str, query: &str| -> Value {
        let reply =
            answer(&AddressSecurity, Sources::new(&lists, &chains), &request(address, query, Seconds(0)).unwrap());
        serde_json::from_str(&reply.unwrap().body).unwrap()
    };
    let contract = ask(PHISHER, "chain_id=31337");
    assert_eq!((&contract["result"]["contract_address"], &contract["result"]["verdict"]), (&json!("1"), &json!("bad")));
    assert_eq!(contract["surety"]["standing"], "provable");
    assert_eq!(
        contract["surety"]["attested"],
        json!(["contract_address", "delegates_to", "fake_standard_interface", "gas_abuse", "reinit"])
    );
    let wallet = ask(NOBODY, "chain_id=31337");
    assert_eq!(wallet["result"]["contract_address"], "0");
    assert_eq!(wallet["result"]["delegates_to"], format!("{:#x}", at(7)));
    let elsewhere = ask(NOBODY, "chain_id=1");
    assert_eq!(elsewhere["result"].get("contract_address"), None);
    assert_eq!(reason(&elsewhere, "contract_address"), "no_state");
}

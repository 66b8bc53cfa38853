//! `vectors/access.json`: inputs, bytes and hashes of every object of the call protocol, for other implementations.
//! Set `SURETY_WRITE_VECTORS=1` to write it anew.

#![allow(clippy::unwrap_used)]

use serde_json::{Value, json};
use zeroize::Zeroizing;

use super::*;
use crate::answer::claims::{Claim, Claims};
use crate::answer::evidence::{Contradiction, Equivocation};
use crate::answer::{Answer, AnswerBy, Basis, BlockRef, CallRef, DatasetRef, SignedAnswer, Version1, answer_digest};
use crate::codec::encode;
use crate::dataset::{DatasetTree, Entry, Key};
use crate::hash::Hash32;
use crate::ids::{DatasetId, Lane, NetworkId, ProviderId, PurchaseId, Seconds};
use crate::keys::{DhSecret, SecretKey};

const PURCHASE: PurchaseId = PurchaseId([0xab; 16]);

fn key(n: u8) -> SecretKey {
    SecretKey::from_seed(&Zeroizing::new([n; 32]))
}

fn hex(bytes: &[u8]) -> String {
    const_hex::encode_prefixed(bytes)
}

fn grant() -> Grant {
    Grant {
        network: NetworkId(7_777),
        purchase: PURCHASE,
        key_version: 1,
        call_key: key(1).public(),
        lanes: 16,
        quota: 1_000,
        not_before: Seconds(1_000),
        end: Seconds(9_000_000),
    }
}

fn head(flags: Flags, seq: u64, cum: u64) -> Head {
    Head { flags, purchase: PURCHASE, lane: Lane(3), seq, cum, deadline: 1_767_225_600 }
}

fn scope() -> Scope {
    Scope::new(&[("POST", "/v1/check"), ("GET", "/v1/site/")]).unwrap()
}

/// Two links: all lanes with tags and further delegation, then one lane, scoped, tags only.
fn chain() -> [SubGrant; 2] {
    let first = SubGrantTerms {
        parent: grant().hash(),
        delegate: key(2).public(),
        first_lane: Lane(0),
        last_lane: Lane(15),
        max_calls: 1_000,
        valid_until: Seconds(100_000),
        rate: 0,
        scope: Hash32::default(),
        flags: GrantFlags::ALL,
    }
    .sign(&key(1));
    let second = SubGrantTerms {
        parent: first.hash(),
        delegate: key(3).public(),
        first_lane: Lane(3),
        last_lane: Lane(3),
        max_calls: 50,
        valid_until: Seconds(1_600),
        rate: 20,
        scope: scope().hash(),
        flags: GrantFlags::MAC,
    };
    [first, second.sign(&key(2))]
}

fn tree() -> DatasetTree {
    let entry = |name: &str| Entry::new(Key::new(1, name.as_bytes()).unwrap(), b"phish".to_vec(), 1).unwrap();
    DatasetTree::build(vec![entry("evil.example"), entry("scam.example")]).unwrap()
}

fn claims() -> Claims {
    let claim = |name: &str, found| Claim {
        dataset: DatasetId(3),
        version: 2,
        key: Key::new(1, name.as_bytes()).unwrap(),
        found,
    };
    let scam = tree().entries()[1].leaf();
    Claims::new(vec![claim("scam.example", Some(scam)), claim("evil.example", None), claim("ok.example", None)])
        .unwrap()
}

fn answer(request: Hash32, body: &Hash32) -> SignedAnswer {
    let cited = DatasetRef { id: DatasetId(3), version: 2, root: tree().root() };
    let block = BlockRef { chain: 1, number: 21_000_000, hash: Hash32([0xbb; 32]) };
    Answer {
        ver: Version1,
        by: AnswerBy::Provider(ProviderId(5)),
        call: Some(CallRef { purchase: PURCHASE, lane: Lane(3), seq: 2 }),
        request,
        status: 200,
        basis: Basis::new(vec![cited], Some(block), Hash32([0xee; 32])).unwrap(),
        pinned: true,
        answer: answer_digest(body, &claims().root()),
        time: Seconds(1_500),
        expiry: Seconds(2_100),
    }
    .sign(&key(4))
}

fn chain_vectors() -> Value {
    let links = chain().map(|link| json!({"bytes": hex(&encode(&link)), "hash": link.hash()}));
    json!({
        "grant": {"network": 7_777, "purchase": PURCHASE, "key_version": 1, "call_key": key(1).public(),
                  "hash": grant().hash()},
        "links": links,
        "header": encode_chain(&chain()),
        "scope": {"text": scope().text(), "hash": scope().hash(), "header": encode_scopes(&[scope()])},
    })
}

fn call_vectors(request: &Hash32) -> Value {
    let ephemeral = DhSecret::from_bytes(Zeroizing::new([9; 32]));
    let delegate = key(3).public();
    let lane_key = LaneKey::of_caller(&ephemeral, &key(4).public(), &PURCHASE, Lane(3), &delegate).unwrap();
    let signed = |flags, seq, cum, eph, request: &Hash32| {
        let call = SignedCall::sign(&key(3), head(flags, seq, cum), eph, request).unwrap();
        json!({"header": encode_call(&Call::Signed(call)), "bytes": hex(&call.to_bytes()), "digest": call.digest(request),
               "voucher": hex(&call.voucher(*request).to_bytes())})
    };
    let tagged = lane_key.tag_call(head(Flags::NONE, 2, 1), request).unwrap();
    let reply = lane_key.tag_reply(&tagged.head, request, 200, 1_500, &body_hash(b"{\"ok\":true}"));
    json!({
        "signer_seed": hex(&key(3).seed()[..]),
        "provider_seed": hex(&key(4).seed()[..]),
        "provider_x25519": hex(&key(4).public().to_x25519().unwrap()),
        "ephemeral_secret": hex(&[9; 32]),
        "ephemeral_public": hex(&ephemeral.public()),
        "signed": signed(Flags::ANSWER, 4, 2, None, request),
        "opening": signed(Flags::NONE, 1, 0, Some(ephemeral.public()), request),
        "voucher_only": signed(Flags::VOUCHER, 4, 3, None, &NO_REQUEST),
        "mac": {"header": encode_call(&Call::Mac(tagged)), "bytes": hex(&tagged.to_bytes())},
        "tag_reply": {"body": "{\"ok\":true}", "bytes": hex(&reply.to_bytes())},
    })
}

fn answer_vectors(request: Hash32) -> Value {
    let body = body_hash(b"{\"ok\":true}");
    let signed = answer(request, &body);
    let contradiction = Contradiction {
        answer: signed.clone(),
        body,
        opening: claims().open(0).unwrap(),
        proof: tree().prove(&claims().as_slice()[0].key),
    };
    let record = crate::answer::evidence::VersionRecord {
        root: tree().root(),
        count: 2,
        published: Seconds(1_000),
        valid_until: Seconds(9_000),
        retired: None,
    };
    let public = key(4).public();
    let other = Answer { status: 404, ..signed.answer.clone() }.sign(&key(4));
    let equivocation = Equivocation { first: signed.clone(), second: other };
    json!({
        "claims": {"bytes": hex(&encode(&claims())), "header": claims().to_header(), "root": claims().root(),
                   "leaves": claims().as_slice().iter().map(Claim::leaf).collect::<Vec<_>>(),
                   "opening_0": hex(&encode(&contradiction.opening))},
        "signed": {"bytes": hex(&signed.to_bytes()), "digest": signed.answer.digest(), "answer": signed.answer.answer},
        "contradiction": {"bytes": hex(&encode(&contradiction)),
                          "fault_id": contradiction.check(&public, &record).unwrap().id},
        "equivocation": {"bytes": hex(&encode(&equivocation)),
                         "fault_id": equivocation.check(&public, &public).unwrap().id},
    })
}

fn golden() -> Value {
    let (query, body) = ("full=1&x=%20", b"{\"site\":\"evil.example\"}");
    let request = request_hash("POST", "api.example:8443", "/v1/check", query, &body_hash(body));
    json!({
        "request": {"method": "POST", "authority": "api.example:8443", "path": "/v1/check", "query": query,
                    "body": String::from_utf8_lossy(body), "body_hash": body_hash(body), "hash": request},
        "chain": chain_vectors(),
        "calls": call_vectors(&request),
        "answer": answer_vectors(request),
    })
}

#[test]
fn golden_vectors_hold() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../vectors/access.json");
    if std::env::var_os("SURETY_WRITE_VECTORS").is_some() {
        std::fs::write(path, format!("{:#}\n", golden())).unwrap();
    }
    let written: Value = serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap();
    assert_eq!(written, golden());
}

#[test]
fn what_the_vectors_say_verifies() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../vectors/access.json");
    let written: Value = serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap();
    let text = |pointer: &str| written.pointer(pointer).unwrap().as_str().unwrap().to_owned();
    let authority = verify_chain(&grant(), &decode_chain(&text("/chain/header")).unwrap()).unwrap();
    assert_eq!((authority.max_calls, authority.rate, authority.key.public()), (50, 20, key(3).public()));
    let request = text("/request/hash").parse().unwrap();

    let Call::Signed(opening) = decode_call(&text("/calls/opening/header")).unwrap() else { panic!("signed") };
    verify_signed_call(&opening, &authority, &request).unwrap();
    let eph = opening.ephemeral().unwrap();
    let lane_key = LaneKey::of_provider(&key(4), eph, &PURCHASE, Lane(3), &key(3).public()).unwrap();
    let Call::Mac(tagged) = decode_call(&text("/calls/mac/header")).unwrap() else { panic!("tagged") };
    verify_mac_call(&tagged, &authority, &lane_key, &request).unwrap();
    for (name, cum) in [("signed", 2), ("opening", 0), ("voucher_only", 3)] {
        let bytes = const_hex::decode(text(&format!("/calls/{name}/voucher"))).unwrap();
        assert_eq!(verify_voucher(&Voucher::from_bytes(&bytes).unwrap(), &authority), Ok(cum));
    }
    let signed = SignedAnswer::from_bytes(&const_hex::decode(text("/answer/signed/bytes")).unwrap()).unwrap();
    assert_eq!(signed.verify(&key(4).public()), Ok(()));
}

#![allow(clippy::unwrap_used)]

use proptest::prelude::*;
use zeroize::Zeroizing;

use super::claims::{Claim, ClaimOpening, Claims, MAX_CLAIMS};
use super::evidence::{
    BadBasis, Contradiction, Equivocation, Error as EvidenceError, Evidence, FaultKind, VersionRecord,
};
use super::*;
use crate::access::body_hash;
use crate::codec::{decode, encode};
use crate::dataset::{DatasetTree, Entry, Key};

const PROVIDER: ProviderId = ProviderId(5);
const LIST: DatasetId = DatasetId(3);
const GRACE: Seconds = Seconds(600);

fn key(n: u8) -> SecretKey {
    SecretKey::from_seed(&Zeroizing::new([n; 32]))
}

fn name(text: &str) -> Key {
    Key::new(1, text.as_bytes()).unwrap()
}

fn list() -> DatasetTree {
    let entry = |text| Entry::new(name(text), b"phishing".to_vec(), 1).unwrap();
    DatasetTree::build(vec![entry("bad.example"), entry("evil.example"), entry("scam.example")]).unwrap()
}

fn record() -> VersionRecord {
    VersionRecord {
        root: list().root(),
        count: list().count(),
        published: Seconds(500),
        valid_until: Seconds(5_000),
        retired: None,
    }
}

fn claim(text: &str, found: Option<Hash32>) -> Claim {
    Claim { dataset: LIST, version: 2, key: name(text), found }
}

fn answer(body: &Hash32, claims: &Claims) -> Answer {
    let cited = DatasetRef { id: LIST, version: 2, root: list().root() };
    Answer {
        ver: Version1,
        by: AnswerBy::Provider(PROVIDER),
        call: Some(CallRef { purchase: PurchaseId([7; 16]), lane: Lane(1), seq: 9 }),
        request: Hash32([2; 32]),
        status: 200,
        basis: Basis::new(vec![cited], None, Hash32([4; 32])).unwrap(),
        pinned: true,
        answer: answer_digest(body, &claims.root()),
        time: Seconds(1_000),
        expiry: Seconds(1_600),
    }
}

/// Evidence that the provider said `found` of `text`, with what the list says.
fn contradiction(text: &str, found: Option<Hash32>) -> Contradiction {
    let body = body_hash(b"{}");
    let claims = Claims::new(vec![claim(text, found), claim("other.example", None)]).unwrap();
    let index = claims.as_slice().iter().position(|claim| claim.key == name(text)).unwrap();
    Contradiction {
        answer: answer(&body, &claims).sign(&key(1)),
        body,
        opening: claims.open(index).unwrap(),
        proof: list().prove(&name(text)),
    }
}

#[test]
fn an_answer_reads_back_and_a_reply_is_told_from_a_tag_by_its_length() {
    let signed = answer(&Hash32::default(), &Claims::default()).sign(&key(1));
    assert_eq!(SignedAnswer::from_bytes(&signed.to_bytes()).unwrap(), signed);
    assert_eq!(signed.verify(&key(1).public()), Ok(()));
    assert_eq!(signed.verify(&key(2).public()), Err(keys::Error::BadSignature));
    let reply = Reply::Answer(Box::new(signed));
    assert_eq!(Reply::from_header(&reply.to_header()).unwrap(), reply);
    let tag = Reply::Tag(TagReply { seq: 1, status: 200, time: 3, tag: [4; 32] });
    assert_eq!(Reply::from_header(&tag.to_header()).unwrap(), tag);
    assert!(Reply::from_header("").is_err());
}

#[test]
fn the_longest_answer_fits_and_one_more_dataset_does_not() {
    let cite = |version| DatasetRef { id: LIST, version, root: Hash32([1; 32]) };
    let block = Some(BlockRef { chain: 1, number: 2, hash: Hash32([3; 32]) });
    let by = AnswerBy::Avs { id: 1, epoch: Epoch(2) };
    let basis = Basis::new((0..8).map(cite).collect(), block, Hash32([4; 32])).unwrap();
    let longest = Answer { by, basis, ..answer(&Hash32::default(), &Claims::default()) }.sign(&key(1));
    assert_eq!(SignedAnswer::from_bytes(&longest.to_bytes()).unwrap(), longest);
    assert_eq!(Basis::new((0..9).map(cite).collect(), None, Hash32::default()), Err(Error::TooManyDatasets(9)));
    assert_eq!(Basis::new(vec![cite(1), cite(1)], None, Hash32::default()), Err(Error::DatasetTwice));
    let mut bytes = encode(&Basis::new(vec![cite(1), cite(2)], None, Hash32::default()).unwrap());
    bytes.swap(12, 60);
    assert!(decode::<Basis>(&bytes, 1_000).is_err(), "unsorted datasets");
}

#[test]
fn a_claim_opens_under_the_root_of_any_number_of_claims() {
    assert!(Claims::default().root().is_zero());
    let many = |count: usize| Claims::new((0..count).map(|n| claim(&format!("{n}.example"), None)).collect());
    for count in [1, 2, 3, 7, 8, 9, MAX_CLAIMS] {
        let claims = many(count).unwrap();
        for index in [0, count / 2, count - 1] {
            let opening = claims.open(index).unwrap();
            assert_eq!(opening.root(), Ok(claims.root()), "{index} of {count}");
            assert_eq!(decode::<ClaimOpening>(&encode(&opening), 2_000).unwrap(), opening);
            for other in [
                ClaimOpening { count: opening.count + 1, ..opening.clone() },
                ClaimOpening { index: opening.index ^ 1, ..opening.clone() },
                ClaimOpening { claim: claim("else", None), ..opening.clone() },
            ] {
                assert_ne!(other.root(), Ok(claims.root()));
            }
        }
        assert_eq!(claims.open(count), None);
    }
    assert_eq!(many(MAX_CLAIMS + 1), Err(Error::TooManyClaims { len: MAX_CLAIMS + 1 }));
    let both = vec![claim("a", None), claim("a", Some(Hash32::default()))];
    assert_eq!(Claims::new(both), Err(Error::ClaimTwice));
    let claims = many(5).unwrap();
    assert_eq!(Claims::from_header(&claims.to_header()).unwrap(), claims);
}

#[test]
fn a_claim_that_its_own_list_contradicts_is_a_fault() {
    let leaf = list().get(&name("evil.example")).unwrap().leaf();
    let public = key(1).public();
    let said_clean = contradiction("evil.example", None).check(&public, &record()).unwrap();
    assert_eq!(said_clean.kind, FaultKind::Contradiction);
    assert_eq!((said_clean.provider, said_clean.calls.len()), (PROVIDER, 1));
    let other_leaf = contradiction("evil.example", Some(Hash32([9; 32]))).check(&public, &record()).unwrap();
    assert_eq!(other_leaf.id, said_clean.id, "one key of one version is one fault");
    let said_listed = contradiction("good.example", Some(leaf)).check(&public, &record()).unwrap();
    assert_ne!(said_listed.id, said_clean.id);
    for truth in [contradiction("evil.example", Some(leaf)), contradiction("good.example", None)] {
        assert_eq!(truth.check(&public, &record()), Err(EvidenceError::NoFault));
    }
}

#[test]
fn forged_evidence_of_a_contradiction_is_refused() {
    let good = contradiction("evil.example", None);
    let check = |evidence: &Contradiction| evidence.check(&key(1).public(), &record()).unwrap_err();
    assert_eq!(good.check(&key(2).public(), &record()).unwrap_err().code(), "bad-signature");
    let other = VersionRecord { root: Hash32([1; 32]), ..record() };
    assert_eq!(good.check(&key(1).public(), &other), Err(EvidenceError::OtherRoot));

    let mut forged = good.clone();
    forged.opening.claim.key = name("scam.example");
    assert_eq!(check(&forged), EvidenceError::ClaimNotInAnswer);
    let mut forged = good.clone();
    forged.body = Hash32([1; 32]);
    assert_eq!(check(&forged), EvidenceError::ClaimNotInAnswer);
    let mut forged = good.clone();
    forged.answer.answer.basis = Basis::default();
    assert_eq!(check(&forged), EvidenceError::NotCited);
    let mut forged = good.clone();
    forged.proof = list().prove(&name("bad.example"));
    assert_eq!(check(&forged).code(), "dataset-wrong-key");
    let mut forged = good.clone();
    forged.answer.answer.by = AnswerBy::Avs { id: 1, epoch: Epoch(1) };
    assert_eq!(check(&forged), EvidenceError::NotProvider);
    let mut forged = good;
    forged.answer.answer.time = Seconds(1);
    assert_eq!(check(&forged).code(), "bad-signature");
}

#[test]
fn two_answers_to_one_question_are_a_fault_only_when_they_differ() {
    let base = answer(&Hash32::default(), &Claims::default());
    let other = Answer { answer: Hash32([8; 32]), call: None, time: Seconds(1_200), ..base.clone() };
    let check = |first: &Answer, second: &Answer| {
        let evidence = Equivocation { first: first.clone().sign(&key(1)), second: second.clone().sign(&key(2)) };
        evidence.check(&key(1).public(), &key(2).public())
    };
    let fault = check(&base, &other).unwrap();
    assert_eq!((fault.kind, fault.calls.len(), fault.time), (FaultKind::Equivocation, 1, Seconds(1_000)));
    assert_eq!(check(&other, &base).unwrap().id, fault.id);
    let status = Answer { status: 404, ..base.clone() };
    assert_eq!(check(&base, &status).unwrap().id, fault.id);
    let later = Answer { time: Seconds(2_000), ..base.clone() };
    assert_eq!(check(&base, &later), Err(EvidenceError::NoFault));

    let unpinned = |answer: &Answer| Answer { pinned: false, ..answer.clone() };
    let call = base.call.unwrap();
    let next = Answer { call: Some(CallRef { seq: call.seq + 1, ..call }), ..other.clone() };
    for question in [
        Answer { request: Hash32([9; 32]), ..other.clone() },
        Answer { by: AnswerBy::Provider(ProviderId(6)), ..other.clone() },
        Answer { basis: Basis::default(), ..other.clone() },
        unpinned(&other),
    ] {
        assert_eq!(check(&base, &question), Err(EvidenceError::OtherQuestion));
    }
    assert_eq!(check(&unpinned(&base), &unpinned(&next)), Err(EvidenceError::OtherQuestion));
    let same_call = Answer { call: base.call, ..unpinned(&other) };
    assert_eq!(check(&unpinned(&base), &same_call).unwrap().calls, [call]);
    let evidence = Equivocation { first: base.sign(&key(1)), second: other.sign(&key(2)) };
    assert_eq!(evidence.check(&key(1).public(), &key(1).public()).unwrap_err().code(), "bad-signature");
}

#[test]
fn a_version_that_was_not_in_force_is_a_fault() {
    let cited = answer(&Hash32::default(), &Claims::default());
    let at = |time| BadBasis { answer: Answer { time: Seconds(time), ..cited.clone() }.sign(&key(1)), index: 0 };
    let check = |time, record: Option<&VersionRecord>| at(time).check(&key(1).public(), record, GRACE);
    let retired = VersionRecord { retired: Some(Seconds(2_000)), ..record() };
    for (time, record) in [(440, record()), (1_000, record()), (5_600, record()), (2_600, retired)] {
        assert_eq!(check(time, Some(&record)), Err(EvidenceError::NoFault), "{time}");
    }
    for (time, record) in [(439, record()), (5_601, record()), (2_601, retired)] {
        assert_eq!(check(time, Some(&record)).unwrap().kind, FaultKind::Basis, "{time}");
    }
    let other_root = VersionRecord { root: Hash32([1; 32]), ..record() };
    assert_eq!(check(1_000, Some(&other_root)).unwrap().id, check(1_000, None).unwrap().id);
    let beyond = BadBasis { index: 1, ..at(1_000) };
    assert_eq!(beyond.check(&key(1).public(), None, GRACE), Err(EvidenceError::NotCited));
}

#[test]
fn evidence_reads_back_and_is_bounded() {
    let evidence = Evidence::Contradiction(Box::new(contradiction("evil.example", None)));
    assert_eq!(Evidence::from_bytes(&evidence.to_bytes()).unwrap(), evidence);
    assert_eq!(evidence.provider(), Ok(PROVIDER));
    let mut long = evidence.to_bytes();
    long.push(0);
    assert!(Evidence::from_bytes(&long).is_err());
    assert!(Evidence::from_bytes(&vec![0; evidence::MAX_LEN + 1]).is_err());
}

proptest! {
    #[test]
    fn random_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..900)) {
        if let Ok(signed) = SignedAnswer::from_bytes(&bytes) {
            prop_assert_eq!(signed.to_bytes(), bytes.clone());
        }
        let text = String::from_utf8_lossy(&bytes);
        let _ = (Evidence::from_bytes(&bytes), decode::<Claims>(&bytes, 900), Claims::from_header(&text), Reply::from_header(&text));
    }

    #[test]
    fn a_flipped_bit_makes_an_answer_invalid(at in any::<prop::sample::Index>()) {
        let mut bytes = answer(&Hash32::default(), &Claims::default()).sign(&key(1)).to_bytes();
        let bit = at.index(bytes.len() * 8);
        bytes[bit / 8] ^= 1 << (bit % 8);
        if let Ok(signed) = SignedAnswer::from_bytes(&bytes) {
            prop_assert!(signed.verify(&key(1).public()).is_err());
        }
    }

    #[test]
    fn mangled_evidence_never_panics_and_proves_nothing_new(at in any::<prop::sample::Index>(), to in any::<u8>()) {
        let good = contradiction("evil.example", None);
        let fault = good.check(&key(1).public(), &record()).unwrap();
        let mut bytes = Evidence::Contradiction(Box::new(good)).to_bytes();
        let index = at.index(bytes.len());
        bytes[index] = to;
        if let Ok(Evidence::Contradiction(evidence)) = Evidence::from_bytes(&bytes)
            && let Ok(found) = evidence.check(&key(1).public(), &record())
        {
            prop_assert_eq!(found, fault);
        }
    }
}

#![allow(clippy::unwrap_used)]

use std::sync::Arc;

use proptest::prelude::*;
use zeroize::Zeroizing;

use super::*;
use crate::answer::{Answer, AnswerBy, Basis, CallRef, Version1, answer_digest};
use crate::codec::{decode, encode};
use crate::hash::Hash32;
use crate::ids::{Lane, NetworkId, ProviderId, PurchaseId, Seconds};
use crate::keys::{DhSecret, PublicKey, SecretKey};

const NOW: Seconds = Seconds(1_000_000);
const WALL: u64 = 1_800_000_000;
const DEADLINE: u32 = 1_800_000_030;
const PURCHASE: PurchaseId = PurchaseId([7; 16]);

fn key(n: u8) -> SecretKey {
    SecretKey::from_seed(&Zeroizing::new([n; 32]))
}

fn grant() -> Grant {
    Grant {
        network: NetworkId(1),
        purchase: PURCHASE,
        key_version: 0,
        call_key: key(1).public(),
        lanes: 8,
        quota: 1_000,
        not_before: Seconds(999_000),
        end: Seconds(2_000_000),
    }
}

/// The terms that give everything the grant has.
fn all() -> SubGrantTerms {
    SubGrantTerms {
        parent: grant().hash(),
        delegate: key(2).public(),
        first_lane: Lane(0),
        last_lane: Lane(7),
        max_calls: 1_000,
        valid_until: Seconds(1_000_600),
        rate: 0,
        scope: Hash32::default(),
        flags: GrantFlags::ALL,
    }
}

fn head(seq: u64, cum: u64) -> Head {
    Head { flags: Flags::NONE, purchase: PURCHASE, lane: Lane(3), seq, cum, deadline: DEADLINE }
}

fn request() -> Hash32 {
    request_hash("GET", "api.example", "/v1/site/a", "", &body_hash(b""))
}

fn ephemeral() -> DhSecret {
    DhSecret::from_bytes(Zeroizing::new([9; 32]))
}

fn lane_client(state: LaneState) -> LaneClient {
    let signer = CallSigner::new(&grant(), Vec::new(), key(1), ProviderId(5), key(3).public()).unwrap();
    LaneClient::new(Arc::new(signer), Lane(3), state).unwrap()
}

fn provider_key(eph: &[u8; 32]) -> LaneKey {
    LaneKey::of_provider(&key(3), eph, &PURCHASE, Lane(3), &key(1).public()).unwrap()
}

fn context<'a>(grant: &'a Grant, authority: &'a LaneAuthority, request: &'a Hash32) -> CallContext<'a> {
    CallContext {
        grant,
        authority,
        lane_key: None,
        scopes: &[],
        method: "GET",
        path: "/v1/site/a",
        request,
        now: NOW,
        wall: WALL,
    }
}

fn check(call: SignedCall, change: impl FnOnce(&mut CallContext<'_>)) -> Result<(), Error> {
    let (grant, request) = (grant(), request());
    let authority = verify_chain(&grant, &[]).unwrap();
    let mut context = context(&grant, &authority, &request);
    change(&mut context);
    verify_call(&Call::Signed(call), &context, |_| false)
}

#[test]
fn the_layouts_have_the_sizes_of_the_sheet() {
    let signed = SignedCall::sign(&key(1), head(1, 0), None, &request()).unwrap();
    let opening = SignedCall::sign(&key(1), head(1, 0), Some([4; 32]), &request()).unwrap();
    let tagged = provider_key(&ephemeral().public()).tag_call(head(2, 0), &request()).unwrap();
    assert_eq!(signed.to_bytes().len(), 104);
    assert_eq!(opening.to_bytes().len(), 136);
    assert_eq!(tagged.to_bytes().len(), 72);
    assert_eq!(signed.voucher(request()).to_bytes().len(), 136);
    assert_eq!(opening.voucher(request()).to_bytes().len(), 168);
    assert_eq!(encode(&all().sign(&key(1))).len(), SubGrant::LEN);
    assert_eq!(encode_call(&Call::Signed(signed)).len(), 139);
    assert_eq!(encode_call(&Call::Signed(opening)).len(), 182);
    assert_eq!(encode_call(&Call::Mac(tagged)).len(), 96);
}

#[test]
fn a_head_is_refused_for_what_no_sender_writes() {
    let good = head(1, 0).to_bytes();
    let with = |at: usize, byte: u8| {
        let mut bytes = good;
        bytes[at] = byte;
        Head::from_bytes(&bytes)
    };
    assert_eq!(with(0, 2), Err(Error::Version(2)));
    for flags in [0x10, 0x80, 0b0011, 0b1001, 0b1010, 0b1100] {
        assert_eq!(with(1, flags), Err(Error::Flags(flags)));
    }
    assert_eq!(with(27, 0), Err(Error::ZeroSeq));
    // Flags that the length denies.
    let mut bytes = SignedCall::sign(&key(1), head(1, 0), None, &request()).unwrap().to_bytes();
    bytes[1] = Flags::OPEN.bits();
    assert_eq!(Call::from_bytes(&bytes), Err(Error::Flags(Flags::OPEN.bits())));
    bytes[1] = Flags::MAC.bits();
    assert_eq!(Call::from_bytes(&bytes), Err(Error::Flags(Flags::MAC.bits())));
    bytes[1] = 0;
    assert_eq!(Call::from_bytes(&bytes[..72]), Err(Error::Flags(0)));
    assert!(matches!(Call::from_bytes(&bytes[..103]), Err(Error::Length { len: 103, .. })));
}

#[test]
fn a_signed_call_holds_in_its_time_lane_and_purchase_only() {
    let call = |head: Head| SignedCall::sign(&key(1), head, None, &request()).unwrap();
    let good = call(head(1, 0));
    assert_eq!(check(good, |_| ()), Ok(()));
    assert_eq!(check(good, |c| c.wall = u64::from(DEADLINE) + 5), Ok(()));
    assert_eq!(check(good, |c| c.wall = u64::from(DEADLINE) + 6), Err(Error::ExpiredCall));
    assert_eq!(check(good, |c| c.wall = u64::from(DEADLINE) - 120), Ok(()));
    assert_eq!(check(good, |c| c.wall = u64::from(DEADLINE) - 121), Err(Error::Clock));
    assert_eq!(check(good, |c| c.now = Seconds(998_970)), Ok(()));
    assert!(matches!(check(good, |c| c.now = Seconds(998_969)), Err(Error::OutsidePackage { .. })));
    assert_eq!(check(good, |c| c.now = Seconds(1_999_999)), Ok(()));
    assert!(matches!(check(good, |c| c.now = Seconds(2_000_000)), Err(Error::OutsidePackage { .. })));
    assert_eq!(check(good, |c| c.request = &NO_REQUEST), Err(Error::BadSignature));
    assert_eq!(check(call(Head { lane: Lane(8), ..head(1, 0) }), |_| ()), Err(Error::LaneOutside(Lane(8))));
    assert_eq!(check(call(Head { purchase: PurchaseId([8; 16]), ..head(1, 0) }), |_| ()), Err(Error::WrongPurchase));
    assert_eq!(check(call(head(1, 1_001)), |_| ()), Err(Error::BudgetSpent { cum: 1_001, max: 1_000 }));
    let stranger = SignedCall::sign(&key(9), head(1, 0), None, &request()).unwrap();
    assert_eq!(check(stranger, |_| ()), Err(Error::BadSignature));
}

#[test]
fn a_revocation_of_any_link_ends_everything_below_it() {
    let (grant, request) = (grant(), request());
    let first = all().sign(&key(1));
    let second = SubGrantTerms { parent: first.hash(), delegate: key(4).public(), ..all() }.sign(&key(2));
    let authority = verify_chain(&grant, &[first, second]).unwrap();
    let call = Call::Signed(SignedCall::sign(&key(4), head(1, 0), None, &request).unwrap());
    let context = context(&grant, &authority, &request);
    assert_eq!(verify_call(&call, &context, |_| false), Ok(()));
    for link in [grant.hash(), first.hash(), second.hash()] {
        assert_eq!(verify_call(&call, &context, |hash| *hash == link), Err(Error::Revoked));
    }
    // The chain ends 30 s after its time, in admission; a claim does not look at time at all.
    let late = CallContext { now: Seconds(1_000_631), ..context };
    assert_eq!(verify_call(&call, &late, |_| false), Err(Error::ExpiredGrant(Seconds(1_000_600))));
    let Call::Signed(signed) = call else { panic!("signed") };
    assert_eq!(verify_voucher(&signed.voucher(request), &authority), Ok(0));
}

#[test]
fn scopes_of_all_levels_must_allow_the_request() {
    let (grant, request) = (grant(), request());
    let wide = Scope::new(&[("GET", "/v1"), ("POST", "/v1")]).unwrap();
    let narrow = Scope::new(&[("GET", "/v1/site"), ("GET", "/v2")]).unwrap();
    let first = SubGrantTerms { scope: wide.hash(), ..all() }.sign(&key(1));
    let terms = SubGrantTerms { parent: first.hash(), delegate: key(4).public(), scope: narrow.hash(), ..all() };
    let authority = verify_chain(&grant, &[first, terms.sign(&key(2))]).unwrap();
    let call = Call::Signed(SignedCall::sign(&key(4), head(1, 0), None, &request).unwrap());
    let both = [narrow, wide];
    let context = CallContext { scopes: &both, ..context(&grant, &authority, &request) };
    assert_eq!(verify_call(&call, &context, |_| false), Ok(()));
    for (method, path) in [("POST", "/v1/site/a"), ("GET", "/v2/a"), ("GET", "/v1/other")] {
        let outside = CallContext { method, path, ..context };
        assert_eq!(verify_call(&call, &outside, |_| false), Err(Error::OutOfScope), "{method} {path}");
    }
    for missing in [&both[..1], &both[1..], &[]] {
        let missing = CallContext { scopes: missing, ..context };
        assert_eq!(verify_call(&call, &missing, |_| false), Err(Error::NeedScope));
    }
    assert_eq!(decode_scopes(&encode_scopes(&both)).unwrap(), both);
}

#[test]
fn a_chain_is_refused_for_each_right_that_it_widens() {
    let parent = SubGrantTerms {
        first_lane: Lane(2),
        last_lane: Lane(5),
        max_calls: 100,
        rate: 10,
        flags: GrantFlags::DELEGATE,
        ..all()
    }
    .sign(&key(1));
    let child = SubGrantTerms { parent: parent.hash(), delegate: key(4).public(), ..parent.terms };
    let verify = |terms: SubGrantTerms| verify_chain(&grant(), &[parent, terms.sign(&key(2))]).map(|a| a.max_calls);
    assert_eq!(verify(child), Ok(100));
    for (terms, field) in [
        (SubGrantTerms { first_lane: Lane(1), ..child }, "lanes"),
        (SubGrantTerms { last_lane: Lane(6), ..child }, "lanes"),
        (SubGrantTerms { first_lane: Lane(5), last_lane: Lane(4), ..child }, "lanes"),
        (SubGrantTerms { max_calls: 101, ..child }, "max_calls"),
        (SubGrantTerms { valid_until: Seconds(1_000_601), ..child }, "valid_until"),
        (SubGrantTerms { rate: 11, ..child }, "rate"),
        (SubGrantTerms { rate: 0, ..child }, "rate"),
        (SubGrantTerms { flags: GrantFlags::ALL, ..child }, "flags"),
    ] {
        assert_eq!(verify(terms), Err(Error::Widened { link: 1, field }));
    }
}

#[test]
fn a_chain_is_refused_when_it_is_broken_too_deep_or_not_delegable() {
    let first = all().sign(&key(1));
    assert_eq!(verify_chain(&grant(), &[all().sign(&key(9))]).unwrap_err(), Error::BadSignature);
    assert_eq!(verify_chain(&grant(), &[first, all().sign(&key(2))]).unwrap_err(), Error::BrokenChain(1));
    let rotated = Grant { key_version: 1, ..grant() };
    assert_eq!(verify_chain(&rotated, &[first]).unwrap_err(), Error::BrokenChain(0));
    let other_net = Grant { network: NetworkId(2), ..grant() };
    assert_eq!(verify_chain(&other_net, &[first]).unwrap_err(), Error::BrokenChain(0));
    let last = SubGrantTerms { flags: GrantFlags::MAC, ..all() }.sign(&key(1));
    let below = SubGrantTerms { parent: last.hash(), flags: GrantFlags::NONE, ..all() }.sign(&key(2));
    assert_eq!(verify_chain(&grant(), &[last, below]).unwrap_err(), Error::NotDelegable(1));
    let mut neutral = PublicKey([0; 32]);
    neutral.0[0] = 1;
    let weak = SubGrantTerms { delegate: neutral, ..all() }.sign(&key(1));
    assert_eq!(verify_chain(&grant(), &[weak]).unwrap_err(), Error::BadKey);
    assert_eq!(verify_chain(&Grant { lanes: 0, ..grant() }, &[]).unwrap_err(), Error::LaneOutside(Lane(0)));
    assert_eq!(verify_chain(&Grant { lanes: 65_536, ..grant() }, &[]).unwrap().last_lane, Lane(u16::MAX));

    let mut chain = vec![all().sign(&key(1))];
    while chain.len() < MAX_DEPTH {
        let parent = chain.last().unwrap().hash();
        chain.push(SubGrantTerms { parent, ..all() }.sign(&key(2)));
    }
    assert_eq!(verify_chain(&grant(), &chain).unwrap().links.len(), 5);
    assert_eq!(decode_chain(&encode_chain(&chain)).unwrap(), chain);
    chain.push(chain[3]);
    assert_eq!(verify_chain(&grant(), &chain).unwrap_err(), Error::TooDeep { len: 5 });
    assert!(decode_chain(&encode_chain(&chain)).is_err());
    assert!(decode_chain("").is_err());
}

#[test]
fn a_lane_is_opened_then_called_with_tags_then_acknowledged() {
    let mut lane = lane_client(LaneState::default());
    assert_eq!(lane.tagged(request(), DEADLINE, Flags::NONE).unwrap_err(), Error::NeedOpen);
    let (opening, mut pending) = lane.open(request(), DEADLINE, Flags::NONE, &ephemeral()).unwrap();
    let authority = verify_chain(&grant(), &[]).unwrap();
    verify_signed_call(&opening, &authority, &request()).unwrap();
    let theirs = provider_key(opening.ephemeral().unwrap());

    let body = body_hash(b"{}");
    let reply = theirs.tag_reply(opening.head(), &request(), 200, 1_000_000, &body);
    assert_eq!(lane.accept_tag(&mut pending, &reply, &body_hash(b"[]")), Err(Error::BadTag));
    assert_eq!(lane.accept_tag(&mut pending, &reply, &body), Ok(200));
    assert_eq!(lane.accept_tag(&mut pending, &reply, &body), Err(Error::WrongReply));
    assert_eq!(lane.state().cum, 1);

    let (tagged, mut pending) = lane.tagged(request(), DEADLINE, Flags::NONE).unwrap();
    verify_mac_call(&tagged, &authority, &theirs, &request()).unwrap();
    assert_eq!(verify_mac_call(&tagged, &authority, &theirs, &NO_REQUEST), Err(Error::BadTag));
    let failed = theirs.tag_reply(&tagged.head, &request(), 502, 1_000_000, &body);
    assert_eq!(lane.accept_tag(&mut pending, &reply, &body), Err(Error::WrongReply));
    assert_eq!(lane.accept_tag(&mut pending, &failed, &body), Ok(502));
    assert_eq!(lane.state(), LaneState { seq: 2, cum: 1, signed_seq: 1 });

    let settled = lane.voucher(DEADLINE).unwrap().unwrap();
    assert_eq!((settled.head().seq, settled.head().cum), (2, 1));
    assert_eq!(verify_voucher(&settled.voucher(NO_REQUEST), &authority), Ok(1));
    lane.raise_floor(1_024);
    assert!(!lane.is_open());
    assert_eq!(lane.signed(request(), DEADLINE, Flags::NONE).unwrap().0.head().seq, 1_025);
}

#[test]
fn a_client_asks_for_a_signature_before_the_window_fills() {
    let mut lane = lane_client(LaneState::default());
    lane.open(request(), DEADLINE, Flags::NONE, &ephemeral()).unwrap();
    let mut sent = 0;
    while !lane.should_sign(64) {
        lane.tagged(request(), DEADLINE, Flags::NONE).unwrap();
        sent += 1;
    }
    assert_eq!(sent, 32);
}

#[test]
fn a_spent_lane_or_budget_makes_no_more_calls() {
    let mut spent = lane_client(LaneState { seq: u64::MAX, cum: 3, signed_seq: 0 });
    assert_eq!(spent.signed(request(), DEADLINE, Flags::NONE).unwrap_err(), Error::LaneSpent);
    let mut used = lane_client(LaneState { seq: 1_200, cum: 1_000, signed_seq: 0 });
    assert_eq!(
        used.signed(request(), DEADLINE, Flags::NONE).unwrap_err(),
        Error::BudgetSpent { cum: 1_000, max: 1_000 }
    );
    assert!(used.voucher(DEADLINE).unwrap().is_some());
}

#[test]
fn a_signed_answer_is_accepted_only_for_its_own_call_body_and_provider() {
    let mut lane = lane_client(LaneState::default());
    let (call, mut pending) = lane.signed(request(), DEADLINE, Flags::ANSWER).unwrap();
    let (body, claims) = (body_hash(b"{}"), Hash32::default());
    let answer = Answer {
        ver: Version1,
        by: AnswerBy::Provider(ProviderId(5)),
        call: Some(CallRef { purchase: PURCHASE, lane: Lane(3), seq: call.head().seq }),
        request: request(),
        status: 200,
        basis: Basis::default(),
        pinned: false,
        answer: answer_digest(&body, &claims),
        time: NOW,
        expiry: NOW,
    };
    let good = answer.clone().sign(&key(3));
    let mismatch = |what| Err(Error::AnswerMismatch(what));
    let tag = provider_key(&ephemeral().public()).tag_reply(call.head(), &request(), 200, 0, &body);
    assert_eq!(lane.accept_tag(&mut pending, &tag, &body), mismatch("a signed Answer was asked for"));
    let mut accept = |signed, now| lane.accept_answer(&mut pending, &signed, &body, &claims, now);
    assert_eq!(accept(answer.clone().sign(&key(4)), NOW), Err(Error::BadSignature));
    let other = Answer { by: AnswerBy::Provider(ProviderId(6)), ..answer.clone() };
    assert_eq!(accept(other.sign(&key(3)), NOW), mismatch("another provider"));
    let other = Answer { answer: answer_digest(&body, &body), ..answer.clone() };
    assert_eq!(accept(other.sign(&key(3)), NOW), mismatch("another body or other claims"));
    assert_eq!(accept(good.clone(), Seconds(1_000_061)), mismatch("another time"));
    assert_eq!(accept(Answer { request: NO_REQUEST, ..answer }.sign(&key(3)), NOW), Err(Error::WrongReply));
    assert_eq!(accept(good.clone(), Seconds(1_000_060)), Ok(200));
    assert_eq!(accept(good, NOW), Err(Error::WrongReply));
    assert_eq!(lane.state().cum, 1);
}

#[test]
fn a_delegate_gets_no_more_than_its_parent_and_a_tag_only_where_allowed() {
    let root = CallSigner::new(&grant(), Vec::new(), key(1), ProviderId(5), key(3).public()).unwrap();
    let terms = SubGrantTerms { flags: GrantFlags::NONE, parent: Hash32::default(), ..all() };
    let chain = root.delegate(&grant(), terms).unwrap();
    assert!(root.delegate(&grant(), SubGrantTerms { max_calls: 1_001, ..terms }).is_err());
    let wrong = CallSigner::new(&grant(), chain.clone(), key(1), ProviderId(5), key(3).public());
    assert_eq!(wrong.unwrap_err(), Error::BadKey);
    let user = CallSigner::new(&grant(), chain, key(2), ProviderId(5), key(3).public()).unwrap();
    let authority = user.authority().clone();
    let mut lane = LaneClient::new(Arc::new(user), Lane(3), LaneState::default()).unwrap();
    lane.open(request(), DEADLINE, Flags::NONE, &ephemeral()).unwrap();
    assert_eq!(lane.tagged(request(), DEADLINE, Flags::NONE).unwrap_err(), Error::MacNotAllowed);
    let lane_key = LaneKey::of_caller(&ephemeral(), &key(3).public(), &PURCHASE, Lane(3), &key(2).public()).unwrap();
    let call = lane_key.tag_call(head(2, 0), &request()).unwrap();
    assert_eq!(verify_mac_call(&call, &authority, &lane_key, &request()), Err(Error::MacNotAllowed));
}

fn any_head() -> impl Strategy<Value = Head> {
    let flags = prop_oneof![Just(Flags::NONE), Just(Flags::ANSWER), Just(Flags::VOUCHER)];
    (flags, any::<[u8; 16]>(), any::<u16>(), 1..=u64::MAX, any::<u64>(), any::<u32>()).prop_map(
        |(flags, purchase, lane, seq, cum, deadline)| Head {
            flags,
            purchase: PurchaseId(purchase),
            lane: Lane(lane),
            seq,
            cum,
            deadline,
        },
    )
}

fn any_terms() -> impl Strategy<Value = SubGrantTerms> {
    let lanes = (0..10_u16, 0..10_u16);
    (lanes, 0..1_200_u64, 1_000_000..1_001_000_u64, 0..4_u32, any::<bool>(), 0..4_u8).prop_map(
        |((first, last), max_calls, valid_until, rate, scoped, flags)| SubGrantTerms {
            parent: Hash32::default(),
            delegate: key(2).public(),
            first_lane: Lane(first),
            last_lane: Lane(last),
            max_calls,
            valid_until: Seconds(valid_until),
            rate,
            scope: if scoped { Hash32([1; 32]) } else { Hash32::default() },
            flags: decode(&[flags], 1).unwrap(),
        },
    )
}

proptest! {
    #[test]
    fn random_bytes_never_panic_and_what_is_read_writes_the_same(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        let text = String::from_utf8_lossy(&bytes);
        if let Ok(call) = Call::from_bytes(&bytes) {
            prop_assert_eq!(call.to_bytes(), bytes.clone());
        }
        if let Ok(voucher) = Voucher::from_bytes(&bytes) {
            prop_assert_eq!(voucher.to_bytes(), bytes.clone());
        }
        if let Ok(grant) = SubGrant::from_bytes(&bytes) {
            prop_assert_eq!(encode(&grant), bytes.clone());
        }
        if let Ok(reply) = TagReply::from_bytes(&bytes) {
            prop_assert_eq!(reply.to_bytes().to_vec(), bytes.clone());
        }
        if let Ok(scope) = Scope::parse(&text) {
            prop_assert_eq!(scope.text(), text.as_ref());
        }
        let _ = (decode::<Voucher>(&bytes, 200), decode_call(&text), decode_chain(&text), decode_scopes(&text), text.parse::<QuotaState>());
    }

    #[test]
    fn what_is_written_is_read_back(head in any_head(), opens in any::<bool>(), request in any::<[u8; 32]>(), status in any::<u16>()) {
        let request = Hash32(request);
        let opens = opens && head.flags == Flags::NONE;
        let call = SignedCall::sign(&key(1), head, opens.then_some([4; 32]), &request).unwrap();
        prop_assert_eq!(decode_call(&encode_call(&Call::Signed(call))), Ok(Call::Signed(call)));
        let voucher = call.voucher(request);
        prop_assert_eq!(Voucher::from_bytes(&voucher.to_bytes()), Ok(voucher));
        prop_assert_eq!(decode::<Voucher>(&encode(&voucher), 200), Ok(voucher));
        let lane_key = provider_key(&ephemeral().public());
        if head.flags != Flags::VOUCHER {
            let tagged = Call::Mac(lane_key.tag_call(head, &request).unwrap());
            prop_assert_eq!(decode_call(&encode_call(&tagged)), Ok(tagged));
        }
        let reply = lane_key.tag_reply(&head, &request, status, 5, &request);
        prop_assert_eq!(TagReply::from_bytes(&reply.to_bytes()), Ok(reply));
    }

    #[test]
    fn a_flipped_bit_makes_calls_vouchers_and_sub_grants_invalid(at in any::<prop::sample::Index>(), opens in any::<bool>()) {
        let authority = verify_chain(&grant(), &[]).unwrap();
        let flip = |bytes: &[u8]| {
            let mut bytes = bytes.to_vec();
            let bit = at.index(bytes.len() * 8);
            bytes[bit / 8] ^= 1 << (bit % 8);
            bytes
        };
        let call = SignedCall::sign(&key(1), head(5, 3), opens.then_some([4; 32]), &request()).unwrap();
        if let Ok(call) = SignedCall::from_bytes(&flip(&call.to_bytes())) {
            prop_assert!(verify_signed_call(&call, &authority, &request()).is_err());
        }
        if let Ok(voucher) = Voucher::from_bytes(&flip(&call.voucher(request()).to_bytes())) {
            prop_assert!(verify_voucher(&voucher, &authority).is_err());
        }
        let lane_key = provider_key(&ephemeral().public());
        let tagged = lane_key.tag_call(head(5, 3), &request()).unwrap();
        if let Ok(tagged) = MacCall::from_bytes(&flip(&tagged.to_bytes())) {
            prop_assert!(verify_mac_call(&tagged, &authority, &lane_key, &request()).is_err());
        }
        let reply = lane_key.tag_reply(&tagged.head, &request(), 200, 7, &NO_REQUEST);
        let reply = TagReply::from_bytes(&flip(&reply.to_bytes())).unwrap();
        prop_assert!(lane_key.check_reply(&reply, &tagged.head, &request(), &NO_REQUEST).is_err());
        if let Ok(grant_below) = SubGrant::from_bytes(&flip(&encode(&all().sign(&key(1))))) {
            prop_assert!(verify_chain(&grant(), &[grant_below]).is_err());
        }
    }

    #[test]
    fn no_chain_gives_more_than_any_of_its_links(terms in proptest::collection::vec(any_terms(), 1..=4)) {
        let mut chain: Vec<SubGrant> = Vec::new();
        for terms in &terms {
            let parent = chain.last().map_or(grant().hash(), SubGrant::hash);
            chain.push(SubGrantTerms { parent, ..*terms }.sign(&key(if chain.is_empty() { 1 } else { 2 })));
        }
        if let Ok(authority) = verify_chain(&grant(), &chain) {
            prop_assert!(authority.max_calls <= 1_000 && authority.last_lane <= Lane(7));
            let last = terms.len() - 1;
            for (link, terms) in terms.iter().enumerate() {
                prop_assert!(terms.first_lane <= authority.first_lane && authority.last_lane <= terms.last_lane);
                prop_assert!(authority.max_calls <= terms.max_calls);
                prop_assert!(authority.valid_until <= Some(terms.valid_until));
                prop_assert!(terms.rate == 0 || (1..=terms.rate).contains(&authority.rate));
                prop_assert!(terms.flags.has(authority.flags));
                prop_assert!(terms.scope.is_zero() || authority.scopes.contains(&terms.scope));
                prop_assert!(link == last || terms.flags.has(GrantFlags::DELEGATE));
            }
        }
    }
}

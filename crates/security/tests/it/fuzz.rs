//! The bodies of the fuzz targets, on random bytes and on sound ones with something changed.

use std::sync::LazyLock;

use proptest::prelude::*;

use crate::town::addresses;
use crate::verify::GIVEN;

#[path = "../../../../fuzz/src/security.rs"]
#[allow(unreachable_pub, reason = "public where the fuzz targets call them")]
mod bodies;

const TEXTS: [&str; 6] = [
    // EIP-712 JSON.
    r#"{"types":{"EIP712Domain":[{"name":"chainId","type":"uint256"}],"Mail":[{"name":"to","type":"Person[2]"},{"name":"n","type":"int8"}],"Person":[{"name":"wallet","type":"address"}]},"primaryType":"Mail","domain":{"chainId":1},"message":{"to":[{"wallet":"0x0000000000000000000000000000000000000001"},{"wallet":"0x0000000000000000000000000000000000000002"}],"n":"-5"}}"#,
    // A sign-in.
    "example.org wants you to sign in with your Ethereum account:\n0x0000000000000000000000000000000000000001\n\nURI: https://example.org\nVersion: 1\nChain ID: 1\nNonce: 12345678\nIssued At: 2026-01-01T00:00:00Z",
    "https://user:secret@xn--bcher-kva.B\u{fc}cher.example.:8443/a?b#c",
    // Lists.
    "# a list\nEvil.example\n0.0.0.0 hosts.example # as in a hosts file\nb\u{fc}cher.example\n",
    r#"{"version":2,"tolerance":2,"fuzzylist":["metamask.io"],"whitelist":["good.example"],"blacklist":["evil.example"]}"#,
    // A question.
    r#"{"chain_id":1,"tx":{"from":"0x0000000000000000000000000000000000000001","to":null,"value":"0x1","data":"0x00"},"block":"latest"}"#,
];

/// Those texts, a multicall of an approval, a dataset file and code that calls, hashes and destroys itself.
static SOUND: LazyLock<Vec<Vec<u8>>> = LazyLock::new(|| {
    let mut sound: Vec<Vec<u8>> = TEXTS.iter().map(|text| text.as_bytes().to_vec()).collect();
    let approve = [&[0x09, 0x5e, 0xa7, 0xb3][..], &[0; 31], &[7], &[0xff; 32]].concat();
    let word = |n: u8| [&[0; 31][..], &[n]].concat();
    // The first byte says that it is a call; then multicall(bytes[]) with one call of 68 bytes.
    let head = [&[0, 0xac, 0x96, 0x50, 0xd8][..], &word(32), &word(1), &word(32), &word(68)].concat();
    sound.push([&head[..], &approve, &[0; 28]].concat());
    sound.push(addresses().to_bytes());
    sound.push(vec![
        0x5f, 0x35, 0x60, 0xe0, 0x1c, 0x63, 1, 2, 3, 4, 0x14, 0x60, 16, 0x57, 0x5f, 0xfd, 0x5b, 0x33, 0x5f, 0x52, 0x60,
        32, 0x5f, 0x20, 0x54, 0xff,
    ]);
    sound
});

fn all(bytes: &[u8]) {
    bodies::call(bytes);
    bodies::message(bytes);
    bodies::host(bytes);
    bodies::list(bytes);
    bodies::question(bytes);
    bodies::verdict(bytes);
}

fn spliced(sound: &[u8], at: &prop::sample::Index, cut: usize, put: &[u8]) -> Vec<u8> {
    let at = at.index(sound.len());
    [&sound[..at], put, &sound[(at + cut).min(sound.len())..]].concat()
}

proptest! {
    #[test]
    fn random_bytes_are_read_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        all(&bytes);
    }

    #[test]
    fn random_names_are_read_or_refused(text in r"[a-z0-9.:/@%?#\[\]\-_ \u{fc}\u{430}\u{200b}\u{3002}]{0,40}") {
        all(text.as_bytes());
    }

    #[test]
    fn sound_bytes_with_something_changed_are_read_or_refused(
        which in any::<prop::sample::Index>(),
        at in any::<prop::sample::Index>(),
        cut in 0usize..4,
        put in prop::collection::vec(any::<u8>(), 0..4),
    ) {
        all(&spliced(&SOUND[which.index(SOUND.len())], &at, cut, &put));
    }

    #[test]
    fn answers_with_something_changed_end_in_a_reason(
        which in any::<prop::sample::Index>(),
        at in any::<prop::sample::Index>(),
        cut in 0usize..4,
        put in prop::collection::vec(any::<u8>(), 0..4),
    ) {
        bodies::verdict(&spliced(GIVEN[which.index(GIVEN.len())].body.as_bytes(), &at, cut, &put));
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn any_bytecode_is_read_and_tried(
        random in prop::collection::vec(any::<u8>(), 0..300),
        at in any::<prop::sample::Index>(),
        put in prop::collection::vec(any::<u8>(), 0..4),
    ) {
        bodies::bytecode(&random);
        bodies::bytecode(&spliced(&SOUND[SOUND.len() - 1], &at, 1, &put));
    }
}

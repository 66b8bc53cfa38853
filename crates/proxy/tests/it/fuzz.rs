//! The bodies of the fuzz targets of the gateway, on random bytes and on sound ones with something changed.

use proptest::prelude::*;

#[path = "../../../../fuzz/src/gateway.rs"]
#[allow(unreachable_pub, reason = "public where the fuzz targets call them")]
mod bodies;

const SOUND: [&str; 5] = [
    include_str!("../../../../docs/policy.toml"),
    r#"{"jsonrpc":"2.0","id":9007199254740993,"method":"eth_sendRaw\u0054ransaction","params":["0x02f8"]}"#,
    r#"[{"jsonrpc":"2.0","id":"a","method":"eth_call","params":[{"to":"0x1","data":null},"latest"]},{"id":null}]"#,
    r#"{"jsonrpc":"2.0","id":1,"error":{"code":-32000,"message":"\ud83d\ude00","data":[1e3,-0.5,true]}}"#,
    "[gateway]\nlisten = \"127.0.0.1:8545\"\n[[upstream]]\nurl = \"http://127.0.0.1:1\"\n",
];

/// The example of EIP-155.
const SIGNED: &[u8] = &alloy_primitives::hex!(
    "f86c098504a817c800825208943535353535353535353535353535353535353535880de0b6b3a76400008025a028ef61340bd939bc2195fe537567866003e1a15d3c71ff63e1590620aa636276a067cbe9d8997f761aecb703304b3800ccf555c9f3dc64214b297fb1966a3b6d83"
);

fn all(bytes: &[u8]) {
    bodies::json(bytes);
    bodies::rpc(bytes);
    bodies::policy(bytes);
    bodies::submission(bytes);
}

proptest! {
    #[test]
    fn random_bytes_are_read_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        all(&bytes);
    }

    #[test]
    fn random_json_is_read_or_refused(text in r#"[\[\]{}",:0-9eE.+\-utrf\\/ a-d]{0,60}"#) {
        all(text.as_bytes());
    }

    #[test]
    fn sound_bytes_with_something_changed_are_read_or_refused(
        which in 0usize..6,
        at in any::<prop::sample::Index>(),
        cut in 0usize..4,
        put in prop::collection::vec(any::<u8>(), 0..4),
    ) {
        let mut bytes = SOUND.get(which).map_or(SIGNED, |text| text.as_bytes()).to_vec();
        let at = at.index(bytes.len());
        let end = (at + cut).min(bytes.len());
        bytes.splice(at..end, put);
        all(&bytes);
    }
}

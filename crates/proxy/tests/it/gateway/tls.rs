//! A node behind TLS. What is trusted is a matter of the process, so that one of its own is started for it.
//!
//! The key beside this file is a test's: it protects nothing.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use serde_json::json;
use surety_proxy::gateway::code;
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;

use super::node::Node;
use super::signing::{GOOD, legacy, raw};
use super::websocket::Wallet;
use super::world::World;

const URL: &str = "SURETY_TEST_HTTPS";
const WS_URL: &str = "SURETY_TEST_WSS";

fn fixture(name: &str) -> PathBuf {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/it/gateway/tls")).join(name)
}

/// TLS before a node's socket, at the port that this returns.
async fn cover(behind: SocketAddr) -> u16 {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let certificate = CertificateDer::from_pem_file(fixture("leaf.pem")).unwrap();
    let key = PrivateKeyDer::from_pem_file(fixture("leaf.key")).unwrap();
    let config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![certificate], key)
        .unwrap();
    let acceptor = TlsAcceptor::from(Arc::new(config));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let acceptor = acceptor.clone();
            tokio::spawn(async move {
                let Ok(mut secured) = acceptor.accept(stream).await else { return };
                let mut plain = TcpStream::connect(behind).await.unwrap();
                let _ = tokio::io::copy_bidirectional(&mut secured, &mut plain).await;
            });
        }
    });
    port
}

/// Not a test of its own: a gateway in a process that trusts the certificate.
#[tokio::test]
#[ignore = "started by the tests below"]
async fn trusting_process() {
    if let Ok(url) = std::env::var(URL) {
        let world = World::with(1, |config| config.upstreams[0].url = url).await;
        assert_eq!(world.send_raw(&raw(&legacy(GOOD))).await.code(), 0);
    }
    if let Ok(ws) = std::env::var(WS_URL) {
        let world = World::with(1, |config| config.upstreams[0].ws = Some(ws)).await;
        let mut wallet = Wallet::connect(&world).await;
        assert!(wallet.call("eth_subscribe", json!(["newHeads"])).await["result"].is_string());
        assert_eq!(wallet.news().await, json!({"number": "0x7"}));
    }
}

/// Runs that process with a variable set; gives what it wrote where it failed.
async fn trusts(variable: &'static str, url: String) -> Result<(), String> {
    let mut trusting = Command::new(std::env::current_exe().unwrap());
    trusting.args(["--ignored", "--exact", "--nocapture", "gateway::tls::trusting_process"]);
    trusting.env(variable, url).env("SSL_CERT_FILE", fixture("ca.pem"));
    let output = tokio::task::spawn_blocking(move || trusting.output().unwrap()).await.unwrap();
    if output.status.success() { Ok(()) } else { Err(String::from_utf8_lossy(&output.stderr).into_owned()) }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_behind_tls_is_reached_when_its_certificate_is_trusted_and_else_named() {
    let node = Node::start().await;
    let port = cover(node.address).await;
    for host in ["localhost", "127.0.0.1"] {
        assert_eq!(trusts(URL, format!("https://{host}:{port}")).await, Ok(()));
    }
    assert_eq!(node.count("eth_sendRawTransaction"), 2);
    let url = format!("https://localhost:{port}");
    let doubting = World::with(1, |config| config.upstreams[0].url = url).await;
    let got = doubting.send_raw(&raw(&legacy(GOOD))).await;
    assert_eq!(got.code(), i64::from(code::UPSTREAM));
    assert!(got.text.contains("certificate"), "{got:?}");
    assert_eq!(node.count("eth_sendRawTransaction"), 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn news_come_from_a_node_behind_tls_when_its_certificate_is_trusted_and_else_none_do() {
    let node = Node::start().await;
    let url = format!("wss://localhost:{}", cover(node.ws).await);
    let trusting = tokio::spawn(trusts(WS_URL, url.clone()));
    // News again and again: the other process subscribes when it is ready.
    let teller = node.clone();
    let telling = tokio::spawn(async move {
        loop {
            if teller.count("eth_subscribe") > 0 {
                let _ = teller.news.send(Some(json!({"number": "0x7"})));
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    });
    assert_eq!(trusting.await.unwrap(), Ok(()));
    let asked = node.count("eth_subscribe");
    assert!(asked > 0);
    telling.abort();
    let doubting = World::with(1, |config| config.upstreams[0].ws = Some(url)).await;
    let refused = Wallet::connect(&doubting).await.call("eth_subscribe", json!(["newHeads"])).await;
    assert_eq!(refused["error"]["code"], code::UPSTREAM, "{refused}");
    assert_eq!(node.count("eth_subscribe"), asked, "nothing is asked of a node that nobody vouches for");
}

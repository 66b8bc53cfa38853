//! What is sold is what the path says, however the API behind reads it.

use hyper::{Method, StatusCode};
use surety_primitives::access::{Flags, ProblemKind};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::world::{Lanes, World};

#[tokio::test]
async fn a_path_that_an_api_may_read_as_another_is_refused_and_not_counted() {
    let world = World::new().await;
    let mut lane = Lanes::new(1);
    lane.open(&world).await;
    for path in [
        "/api/../admin.txt",
        "/api/%2e%2e/admin.txt",
        "/api/%2E./admin.txt",
        "/api/..;x/admin.txt",
        "/api/x/%2f../admin.txt",
        "/api//x",
        "/api/./x",
        "/api/%5c..%5cadmin.txt",
    ] {
        let (call, _) = lane.signed(path, Flags::NONE);
        let call = surety_primitives::access::encode_call(&call);
        // As bytes: a client's library may tidy the path up.
        let mut stream = TcpStream::connect(world.address).await.unwrap();
        let text = format!("GET {path} HTTP/1.1\r\nhost: a\r\nconnection: close\r\nsurety-call: {call}\r\n\r\n");
        stream.write_all(text.as_bytes()).await.unwrap();
        let mut reply = String::new();
        stream.read_to_string(&mut reply).await.unwrap();
        assert!(reply.starts_with("HTTP/1.1 403") && reply.contains("out-of-scope"), "{path}: {reply}");
    }
    assert_eq!((world.reached(), world.metric("calls_admitted").await), (1, 1));
    let plain = world.raw(Method::GET, "/elsewhere", hyper::HeaderMap::new(), b"").await;
    assert_eq!(plain.kind(), ProblemKind::OutOfScope);
    assert_eq!(lane.sign(&world, "/api/a%20b/c.txt").await.status, StatusCode::OK);
}

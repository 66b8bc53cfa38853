//! What one caller may hold of the sidecar.

use std::time::Duration;

use hyper::{HeaderMap, Method, StatusCode};
use surety_primitives::access::ProblemKind;

use crate::world::{PURCHASE, World};

#[tokio::test]
async fn only_so_many_grants_are_checked_at_a_time() {
    let world = World::with(|config, _| config.limits.lookups = 1).await;
    world.ledger.0.lock().unwrap().slow_check = Duration::from_millis(500);
    let post = || world.raw(Method::POST, "/.well-known/surety/grants", HeaderMap::new(), &PURCHASE.0);
    let (first, second) = tokio::join!(post(), async {
        tokio::time::sleep(Duration::from_millis(100)).await;
        post().await
    });
    assert_eq!(first.status, StatusCode::OK);
    assert_eq!(second.kind(), ProblemKind::RateLimited);
    assert_eq!(post().await.status, StatusCode::OK);
}

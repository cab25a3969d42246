//! Many requests at once.

use std::time::Duration;

use drowse_e2e::http::RawConnection;
use drowse_e2e::{DEADLINE, Drowse, DrowseSpec, Site, Workload};
use futures::StreamExt;
use rustix::process::{Resource, getrlimit};

use super::NEVER;

/// Whatever the engine is asked for one wake: far fewer than there are waiters.
const CALLS: usize = 30;

#[tokio::test]
async fn row_13_five_hundred_requests_are_one_start() {
    let site = Site::new().await;
    herd(&site, 500, DrowseSpec::default()).await;
}

/// It has one thread then, for the engine, the watcher and all clients.
#[tokio::test]
async fn row_13_five_hundred_requests_are_one_start_on_one_core() {
    let site = Site::new().await;
    let mut drowse = herd(&site, 500, DrowseSpec::default().on_one_core()).await;
    let status = drowse.terminate(DEADLINE).await;
    assert!(status.success(), "{status}");
}

#[tokio::test]
async fn row_13_eight_thousand_requests_are_one_start() {
    // Two descriptors for each in drowse, at worst; where the limit is lower, as many as it allows.
    let limit = getrlimit(Resource::Nofile).current.unwrap_or(20_000);
    let most = usize::try_from(limit.saturating_sub(1000) / 2).unwrap_or(usize::MAX);
    let site = Site::new().await;
    herd(&site, most.min(8000), DrowseSpec::default()).await;
}

async fn herd(site: &Site, size: usize, spec: DrowseSpec) -> Drowse {
    let app = site.container("herd").env("READY_DELAY_MS", 2000).create().await;
    let drowse = spec.config(&site.config(&[Workload::of(&app).idle(NEVER)])).start().await;
    drowse.wait_until_read(app.name()).await;
    let request = format!("GET /status/200 HTTP/1.1\r\nHost: {}\r\n\r\n", app.host());
    site.relay.forget();

    let all = futures::stream::iter(0..size).map(|_| async {
        let mut connection = RawConnection::open(drowse.address()).await;
        connection.send(&request).await;
        connection
    });
    // All have asked before the first answer is read.
    let asked: Vec<_> = all.buffer_unordered(256).collect().await;
    let answers = asked.into_iter().map(|mut connection| async move {
        let head = connection.read_head(Duration::from_mins(1)).await;
        assert!(head.starts_with("HTTP/1.1 200"), "{head}");
        connection.read_until("200 OK\n", DEADLINE).await;
    });
    futures::future::join_all(answers).await;
    assert_eq!(site.relay.count(|request| request.is_order("start")), 1);
    assert_eq!(site.starts(&app).await, 1);
    let calls = site.relay.requests();
    assert!(calls.len() <= CALLS, "{} calls of the engine: {calls:#?}", calls.len());
    drowse
}

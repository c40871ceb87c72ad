//! More than fits.

use std::time::Duration;

use futures_util::future::join_all;
use serde_json::json;
use tokio::time::{Instant, sleep, timeout};

use crate::harness::{
    Answer, KEY, TestApp,
    wire::{PATIENCE, Wire, status},
};

const MIB: usize = 1024 * 1024;
/// Three times what is kept at a time.
const SENDERS: usize = 200;

async fn resident_bytes(app: &TestApp) -> f64 {
    let metrics = app.get("/metrics", None).await;
    let line = metrics
        .body
        .as_str()
        .unwrap()
        .lines()
        .find(|line| line.starts_with("process_resident_memory_bytes "));
    line.unwrap().rsplit(' ').next().unwrap().parse().unwrap()
}

async fn large(app: &TestApp) -> Answer {
    let body = format!("\"{}\"", "x".repeat(MIB - 2));
    app.send(
        app.http.post(app.path("/verify")).header("content-type", "application/json").body(body),
        Some(KEY),
    )
    .await
}

/// Bodies that lack only their last byte fill the room for bodies. Further large ones are turned away and memory stops
/// growing; payments go on, and so does everything once the senders have gone.
#[tokio::test(flavor = "multi_thread")]
async fn bodies_that_fill_the_memory() {
    let app = TestApp::start().await;
    let before = resident_bytes(&app).await;
    let unfinished = "x".repeat(MIB - 1);
    let head = "POST /verify HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ncontent-length: 1048576\r\n\r\n";
    let senders = join_all((0..SENDERS).map(async |_| {
        let mut wire = Wire::to(&app.url).await;
        wire.send(head).await;
        wire.try_send(&unfinished).await;
        wire
    }))
    .await;
    let refused = large(&app).await;
    assert_eq!((refused.status, refused.code()), (503, "OVERLOADED"), "{refused:?}");
    assert!(refused.headers.contains_key("retry-after"));
    let grown = resident_bytes(&app).await - before;
    assert!(grown < 128.0 * 1024.0 * 1024.0, "{grown} bytes more");
    app.verify(&app.proof(&app.pay_merchant(), "n")).await.assert_valid();

    // All that were turned away were told so.
    let mut told = 0;
    for mut wire in senders {
        if let Ok(answer) = timeout(Duration::from_millis(1), wire.read_until("\r\n\r\n")).await {
            told += usize::from(status(&answer) == 503);
        }
    }
    assert!(told > SENDERS / 4, "{told} were told to come back");
    let deadline = Instant::now() + PATIENCE;
    while large(&app).await.status == 503 {
        assert!(Instant::now() < deadline, "the room is not given back");
        sleep(Duration::from_millis(10)).await;
    }
    let metrics = app.get("/metrics", None).await;
    assert!(metrics.body.as_str().unwrap().contains(r#"errors_total{code="OVERLOADED",type="server"}"#));
}

/// What is announced and not sent takes no room.
#[tokio::test(flavor = "multi_thread")]
async fn announcing_much_keeps_nobody_out() {
    let app = TestApp::start().await;
    let head = "POST /verify HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ncontent-length: 1048576\r\n\r\n{";
    let _senders = join_all((0..SENDERS).map(async |_| {
        let mut wire = Wire::to(&app.url).await;
        wire.send(head).await;
        wire
    }))
    .await;
    assert_eq!(large(&app).await.status, 400);
    app.issue(KEY, &json!({"amount": "0.05", "currency": "USDC"})).await;
}

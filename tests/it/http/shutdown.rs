//! Ending in order: what is in flight is answered, over either version.

use std::{path::Path, time::Duration};

use tokio::time::sleep;

use super::h2c::post_verify;
use crate::harness::{
    Answer, KEY, TestApp,
    process::ServiceProcess,
    wire::{PREFACE, Wire, status},
    x402::{settled, while_slots_pass},
};

/// A verification that waits for the chain when the service is told to end.
#[tokio::test(flavor = "multi_thread")]
async fn requests_in_flight_are_answered() {
    for client in [reqwest::Client::builder(), reqwest::Client::builder().http2_prior_knowledge()] {
        let app = TestApp::start().await;
        let client = client.build().unwrap();
        let proof = app.proof(&app.pay_merchant(), "n");
        let faults = app.chain.sandbox.faults();
        faults.latency("getTransaction", Duration::from_secs(2));
        let request = client.post(app.path("/verify")).header("x-api-key", KEY).json(&proof);
        let answer = tokio::spawn(async move { Answer::of(request.send().await.unwrap()).await });
        while faults.calls("getTransaction") == 0 {
            sleep(Duration::from_millis(5)).await;
        }
        let url = app.url.clone();
        app.stop().await;
        answer.await.unwrap().assert_valid();
        assert!(reqwest::get(&url).await.is_err(), "nobody listens any more");
    }
}

/// A settlement in flight is finished first, and who waits for it is told.
#[tokio::test(flavor = "multi_thread")]
async fn settlements_in_flight_are_finished_and_answered() {
    let app = TestApp::settling().await;
    let (order, sandbox, url) = (app.order(), app.chain.sandbox.clone(), app.url.clone());
    let client = reqwest::Client::new();
    let request = client.post(app.path("/settle")).json(&app.paid(&order));
    let answer = tokio::spawn(async move { Answer::of(request.send().await.unwrap()).await });
    while sandbox.faults().calls("sendTransaction") == 0 {
        sleep(Duration::from_millis(5)).await;
    }
    let stopping = tokio::spawn(app.stop());
    while reqwest::get(&url).await.is_ok() {
        sleep(Duration::from_millis(5)).await;
    }
    settled(&while_slots_pass(&sandbox, answer).await.unwrap(), &order);
    stopping.await.unwrap();
}

/// A body that is still arriving. That the head has arrived shows in the service asking for the body.
#[tokio::test(flavor = "multi_thread")]
async fn bodies_that_are_arriving_are_read() {
    let app = TestApp::start().await;
    let mut first = Wire::to(&app.url).await;
    first
        .send(
            "POST /verify HTTP/1.1\r\nhost: x\r\nexpect: 100-continue\r\ncontent-type: application/json\r\n\
             content-length: 2\r\n\r\n",
        )
        .await;
    first.read_until("100 Continue\r\n\r\n").await;
    let mut second = Wire::to(&app.url).await;
    second.send(PREFACE).await;
    second.send_frame(1, 4, 1, &post_verify()).await;
    // The answer to another request on the connection comes after the head was read.
    second.send_frame(1, 5, 3, &[0x82, 0x86, 0x84]).await;
    second.read_until("NOT_FOUND").await;

    let stopping = tokio::spawn(app.stop());
    first.send("{").await;
    second.send_frame(0, 0, 1, b"{").await;
    first.send("}").await;
    second.send_frame(0, 1, 1, b"}").await;
    let answer = first.read_to_end().await;
    assert_eq!(status(&answer), 400, "{answer}");
    assert!(answer.contains("VALIDATION_FAILED"), "{answer}");
    second.read_until("VALIDATION_FAILED").await;
    // A client of HTTP/2 hangs up when it was told to.
    drop(second);
    stopping.await.unwrap();
}

/// Less than what is granted to work in flight.
const SOON: Duration = Duration::from_secs(20);

async fn process(folder: &Path) -> ServiceProcess {
    ServiceProcess::start(folder, |command| {
        command.env("SOLANA_RPC_URL", "http://127.0.0.1:1");
    })
    .await
}

/// Those who do nothing, or have begun to ask, or do not answer, cost a shutdown no time.
#[tokio::test(flavor = "multi_thread")]
async fn idle_connections_are_closed_at_once() {
    let folder = tempfile::tempdir().unwrap();
    let mut service = process(folder.path()).await;
    let mut first = Wire::to(&service.url).await;
    first.send("GET /health HTTP/1.1\r\nhost: x\r\n\r\n").await;
    first.read_until("}").await;
    let mut second = Wire::to(&service.url).await;
    second.send(PREFACE).await;
    second.send_frame(1, 5, 1, &[0x82, 0x86, 0x84]).await;
    second.read_until("NOT_FOUND").await;
    let _silent = Wire::to(&service.url).await;
    let mut begun = Wire::to(&service.url).await;
    begun.send("GET /health HT").await;
    service.process.signal("TERM");
    assert_eq!(first.read_to_end().await, "");
    second.read_to_end().await;
    assert!(service.process.ended(SOON).await.success());
}

/// Nor do those who do not read.
#[tokio::test(flavor = "multi_thread")]
async fn readers_that_have_stalled_are_not_waited_for() {
    let folder = tempfile::tempdir().unwrap();
    let mut service = process(folder.path()).await;
    let mut first = Wire::to(&service.url).await;
    let bundle = "GET /docs/swagger-ui-bundle.js HTTP/1.1\r\nhost: x\r\n\r\n";
    first.send(bundle.repeat(20)).await;
    first.read_until("200 OK").await;
    let mut second = Wire::to(&service.url).await;
    second.send(PREFACE).await;
    let head = b"\x82\x86\x04\x1a/docs/swagger-ui-bundle.js";
    second.send_frame(1, 5, 1, head).await;
    second.read_some().await;
    service.process.signal("TERM");
    assert!(service.process.ended(SOON).await.success());
}

/// A request in flight is answered, whoever else does not read, and its connection ends with the answer.
#[tokio::test(flavor = "multi_thread")]
async fn a_request_in_flight_is_answered_beside_a_stalled_reader() {
    for tries_left in (0..5).rev() {
        let answer = answered_beside_a_stalled_reader().await;
        assert_eq!(status(&answer), 400, "{answer}");
        assert!(answer.contains("VALIDATION_FAILED"), "{answer}");
        if answer.contains("connection: close") {
            return;
        }
        // One connection may hear of the shutdown a moment before another does.
        assert!(tries_left > 0, "{answer}");
    }
}

async fn answered_beside_a_stalled_reader() -> String {
    let folder = tempfile::tempdir().unwrap();
    let mut service = process(folder.path()).await;
    let mut stalled = Wire::to(&service.url).await;
    stalled.send("GET /docs/swagger-ui-bundle.js HTTP/1.1\r\nhost: x\r\n\r\n".repeat(20)).await;
    let mut idle = Wire::to(&service.url).await;
    idle.send("GET /health HTTP/1.1\r\nhost: x\r\n\r\n").await;
    idle.read_until("}").await;
    let mut asking = Wire::to(&service.url).await;
    asking
        .send(
            "POST /verify HTTP/1.1\r\nhost: x\r\nexpect: 100-continue\r\ncontent-type: application/json\r\n\
             content-length: 2\r\n\r\n",
        )
        .await;
    asking.read_until("100 Continue\r\n\r\n").await;
    service.process.signal("TERM");
    idle.read_to_end().await;
    asking.send("{}").await;
    let answer = asking.read_to_end().await;
    assert!(service.process.ended(SOON).await.success());
    answer
}

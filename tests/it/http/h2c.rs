//! HTTP/2 without TLS, as behind a proxy that speaks it.

use std::{process::Command, time::Duration};

use reqwest::Version;
use tokio::time::{Instant, sleep};

use crate::harness::{
    KEY, TestApp,
    wire::{PATIENCE, PREFACE, Wire, exchange, status},
};

async fn start() -> TestApp {
    let mut app = TestApp::start().await;
    app.http = reqwest::Client::builder().http2_prior_knowledge().build().unwrap();
    app
}

#[tokio::test]
async fn a_payment_over_http2() {
    let app = start().await;
    let response = app.http.get(app.path("/health")).send().await.unwrap();
    assert_eq!((response.version(), response.status().as_u16()), (Version::HTTP_2, 200));
    let proof = app.proof(&app.pay_merchant(), "n");
    app.verify(&proof).await.assert_valid();
    app.verify(&proof).await.assert_refused("REPLAY_ATTACK");
    assert_eq!(app.booked().await, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn curl_speaks_both() {
    let app = start().await;
    let url = app.path("/health");
    for (option, version) in [("--http2-prior-knowledge", "2"), ("--http1.1", "1.1"), ("--http2", "1.1")] {
        let output = Command::new("curl")
            .args(["-s", "-o", "/dev/null", "-w", "%{http_code} %{http_version}", option, &url])
            .output()
            .unwrap();
        let told = String::from_utf8(output.stdout).unwrap();
        assert_eq!(told, format!("200 {version}"), "{option}");
    }
}

#[tokio::test]
async fn limits_hold_over_http2() {
    let app = start().await;
    let post = |size: usize| {
        let body = format!("\"{}\"", "x".repeat(size - 2));
        app.http.post(app.path("/verify")).header("content-type", "application/json").body(body)
    };
    assert_eq!(app.send(post(1024 * 1024), Some(KEY)).await.status, 400);
    assert_eq!(app.send(post(1024 * 1024 + 1), Some(KEY)).await.code(), "BODY_TOO_LARGE");
    let long = app.http.get(app.path("/health")).header("x-long", "x".repeat(17 * 1024));
    assert_eq!(long.send().await.unwrap().status(), 431);
    assert_eq!(app.get("/verify", None).await.headers["allow"], "POST");
}

/// A body that never ends, in either version, is given up.
#[tokio::test]
async fn slow_bodies() {
    let app = TestApp::start().await;
    let head = "POST /verify HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\nconnection: close\r\n";
    let first = exchange(&app.url, format!("{head}content-length: 9\r\n\r\n{{"));
    let chunked = exchange(&app.url, format!("{head}transfer-encoding: chunked\r\n\r\n1\r\n{{\r\n"));
    let second = async {
        let mut wire = Wire::to(&app.url).await;
        wire.send(PREFACE).await;
        wire.send_frame(1, 4, 1, &post_verify()).await;
        wire.send_frame(0, 0, 1, b"{").await;
        wire.read_until("BODY_TIMEOUT").await
    };
    let (first, chunked, _) = tokio::join!(first, chunked, second);
    for answer in [first, chunked] {
        assert_eq!(status(&answer), 408, "{answer}");
        assert!(answer.contains("BODY_TIMEOUT"), "{answer}");
    }
}

/// A byte now and then is no body either, however long it goes on.
#[tokio::test]
async fn bodies_byte_by_byte() {
    let app = TestApp::start().await;
    let mut first = Wire::to(&app.url).await;
    first
        .send(
            "POST /verify HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\nconnection: close\r\n\
             transfer-encoding: chunked\r\n\r\n",
        )
        .await;
    let mut second = Wire::to(&app.url).await;
    second.send(PREFACE).await;
    second.send_frame(1, 4, 1, &post_verify()).await;
    let until = Instant::now() + PATIENCE;
    let (mut told_first, mut told_second) = (String::new(), String::new());
    while !told_first.contains("BODY_TIMEOUT") || !told_second.contains("BODY_TIMEOUT") {
        assert!(Instant::now() < until, "they are listened to for ever");
        first.try_send("1\r\n \r\n").await;
        second.send_frame(0, 0, 1, b" ").await;
        sleep(Duration::from_millis(20)).await;
        told_first.push_str(&first.read_now());
        told_second.push_str(&second.read_now());
    }
}

/// What HTTP/2 has no words for is not passed on as if it had.
#[tokio::test]
async fn requests_that_http2_does_not_know() {
    let app = TestApp::start().await;
    let literal = |name: &str, value: &str| {
        let sized = |text: &str| [&[u8::try_from(text.len()).unwrap()], text.as_bytes()].concat();
        [vec![0], sized(name), sized(value)].concat()
    };
    let reset = "\0\0\x04\x03";
    for (name, value) in
        [("transfer-encoding", "chunked"), ("connection", "close"), ("host", "a\r\nb: c"), ("Upper", "x")]
    {
        let mut wire = Wire::to(&app.url).await;
        wire.send(PREFACE).await;
        let head = [vec![0x82, 0x86, 0x84], literal(name, value)].concat();
        wire.send_frame(1, 5, 1, &head).await;
        let answer = wire.read_past(reset, "\x07\0\0\0\0\0").await;
        assert!(!answer.contains("requestId"), "{name}: {answer}");
    }
    // A body that is not as long as was said.
    for (said, body) in [("4", &b"{}"[..]), ("1", b"{}")] {
        let mut wire = Wire::to(&app.url).await;
        wire.send(PREFACE).await;
        let head = [post_verify(), literal("content-length", said)].concat();
        wire.send_frame(1, 4, 1, &head).await;
        wire.send_frame(0, 1, 1, body).await;
        let answer = wire.read_past(reset, "BODY_UNREADABLE").await;
        assert!(!answer.contains("VALIDATION_FAILED"), "{said}: {answer}");
    }
    // A tunnel to elsewhere: CONNECT has no scheme and no path.
    let mut wire = Wire::to(&app.url).await;
    wire.send(PREFACE).await;
    let head = [literal(":method", "CONNECT"), literal(":authority", "elsewhere:443")].concat();
    wire.send_frame(1, 4, 1, &head).await;
    wire.read_until("NOT_FOUND").await;
}

/// One head of 16 KiB that unfolds to 40 MB: each byte names a header of 4000 bytes.
#[tokio::test]
async fn heads_that_unfold_without_end() {
    let app = TestApp::start().await;
    let mut wire = Wire::to(&app.url).await;
    wire.send(PREFACE).await;
    let value = [b'y'; 4000];
    let bomb =
        [&[0x82, 0x86, 0x84, 0x40, 0x01, b'x', 0x7f, 0xa1, 0x1e][..], &value, &[0xbe; 10_000]].concat();
    wire.send_frame(1, 5, 1, &bomb).await;
    // Whoever does that is not talked to any more.
    let answer = wire.read_to_end().await;
    assert!(!answer.contains("requestId"), "{answer}");
    assert_eq!(app.get("/health", None).await.status, 200);
}

/// The head of a `POST /verify` with JSON: HPACK without compression.
pub fn post_verify() -> Vec<u8> {
    let mut head = vec![0x83, 0x86, 0x04, 7];
    head.extend(b"/verify");
    head.extend([0x0f, 0x10, 16]);
    head.extend(b"application/json");
    head
}

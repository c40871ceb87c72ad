//! HTTP/2 without TLS, as behind a proxy that speaks it.

use std::process::Command;

use reqwest::Version;

use crate::harness::{
    KEY, TestApp,
    wire::{PREFACE, Wire, exchange, status},
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

/// The head of a `POST /verify` with JSON: HPACK without compression.
pub fn post_verify() -> Vec<u8> {
    let mut head = vec![0x83, 0x86, 0x04, 7];
    head.extend(b"/verify");
    head.extend([0x0f, 0x10, 16]);
    head.extend(b"application/json");
    head
}

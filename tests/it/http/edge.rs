//! Whatever is sent: one envelope, the right status, a request id.

use std::time::Duration;

use futures_util::future::join_all;
use serde_json::json;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::timeout,
};

use crate::harness::{Answer, KEY, TestApp};

#[track_caller]
fn assert_envelope(answer: &Answer, status: u16, code: &str) {
    assert_eq!((answer.status, answer.code()), (status, code), "{answer:?}");
    assert_eq!(answer.body["requestId"], answer.headers["x-request-id"].to_str().unwrap());
    assert!(!answer.body["error"].as_str().unwrap().is_empty());
    assert_eq!(answer.headers["content-type"], "application/json");
}

#[tokio::test]
async fn unknown_paths_and_methods() {
    let app = TestApp::start().await;
    for path in
        ["/", "/nothing", "/verify/", "/payments/a/b", "/%ff", "/payments/%ff%fe", "/docs/%ff", "/docs/%00"]
    {
        assert_envelope(&app.get(path, Some(KEY)).await, 404, "NOT_FOUND");
    }
    let answer = app.get("/verify", None).await;
    assert_envelope(&answer, 405, "METHOD_NOT_ALLOWED");
    assert_eq!(answer.headers["allow"], "POST");
    let answer = app.send(app.http.delete(app.path("/health")), None).await;
    assert_envelope(&answer, 405, "METHOD_NOT_ALLOWED");
}

#[tokio::test]
async fn bodies_of_the_wrong_kind_or_size() {
    let app = TestApp::start().await;
    let post = || app.http.post(app.path("/verify"));
    for content_type in ["text/plain", "application/x-www-form-urlencoded", "application/jsonx", ""] {
        let answer = app.send(post().header("content-type", content_type).body("{}"), None).await;
        assert_envelope(&answer, 415, "UNSUPPORTED_MEDIA_TYPE");
    }
    assert_envelope(&app.send(post().body("{}"), None).await, 415, "UNSUPPORTED_MEDIA_TYPE");
    for content_type in ["application/json", "Application/JSON; charset=utf-8"] {
        let answer = app.send(post().header("content-type", content_type).body("{}"), None).await;
        assert_envelope(&answer, 400, "VALIDATION_FAILED");
    }
    let json = |size: usize| {
        post().header("content-type", "application/json").body(format!("\"{}\"", "x".repeat(size - 2)))
    };
    assert_envelope(&app.send(json(1024 * 1024), None).await, 400, "VALIDATION_FAILED");
    assert_envelope(&app.send(json(1024 * 1024 + 1), None).await, 413, "BODY_TOO_LARGE");
}

#[tokio::test]
async fn request_ids() {
    let app = TestApp::start().await;
    let health = || app.http.get(app.path("/health"));
    let own = app.send(health().header("x-request-id", "my-id.1_a"), None).await;
    assert_eq!(own.headers["x-request-id"], "my-id.1_a");
    for bad in ["", "a b", "x<script>", &"x".repeat(65)] {
        let answer = app.send(health().header("x-request-id", bad), None).await;
        assert!(answer.headers["x-request-id"].to_str().unwrap().starts_with("req_"), "{bad:?}");
    }
    let refused = app.verify(&json!({})).await;
    assert_envelope(&refused, 400, "VALIDATION_FAILED");
}

/// A connection that does not send a whole head is not kept: not an empty one, not one that begins.
#[tokio::test(flavor = "multi_thread")]
async fn connections_that_stay_silent_are_closed() {
    let app = TestApp::start().await;
    let address = app.url.strip_prefix("http://").unwrap();
    let closed =
        ["", "GET /health HT", "GET /health HTTP/1.1\r\nhost: x\r\n", "PRI * HTTP/2"].map(async |sent| {
            let mut stream = TcpStream::connect(address).await.unwrap();
            stream.write_all(sent.as_bytes()).await.unwrap();
            let mut rest = Vec::new();
            timeout(Duration::from_mins(1), stream.read_to_end(&mut rest)).await.map(|read| read.is_ok())
        });
    for ended in join_all(closed).await {
        assert_eq!(ended, Ok(true));
    }
}

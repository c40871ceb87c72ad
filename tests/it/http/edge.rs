//! Whatever is sent: one envelope, the right status, a request id.

use serde_json::json;

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
    for path in ["/", "/nothing", "/verify/", "/payments/a/b", "/%ff", "/payments/%ff%fe"] {
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

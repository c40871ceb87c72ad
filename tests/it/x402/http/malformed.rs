//! What cannot be read, or is turned away before it is: in x402's shape and in the envelope's.

use serde_json::{Value, json};

use super::{assert_settle_trouble, assert_verify_trouble};
use crate::harness::{Answer, KEY, TestApp};

const MALFORMED: (u16, &str, &str) = (400, "VALIDATION_FAILED", "invalid_payload");

#[tokio::test]
async fn every_bad_field_is_named_in_both_shapes() {
    let app = TestApp::settling().await;
    let order = app.order();
    let mut request = app.paid(&order);
    request["paymentRequirements"]["payTo"] = json!("me");
    request["paymentPayload"]["payload"] = Value::Null;
    let fields = ["paymentPayload.payload", "paymentRequirements.payTo"];
    let verified = app.verify_x402(&request).await;
    assert_verify_trouble(&verified, MALFORMED);
    assert_eq!(verified.fields(), fields);
    let said = verified.body["invalidMessage"].as_str().unwrap();
    assert!(fields.iter().all(|field| said.contains(field)), "{said}");
    let settled = app.settle(None, &request).await;
    assert_settle_trouble(&settled, "solana:EtWTRABZaYq6iMfeYKouRu166VU2xqa1", MALFORMED);
    assert_eq!(settled.fields(), fields);
    for body in [json!({"x402Version": 2}), json!({"paymentHeader": "!", "paymentRequirements": {}})] {
        assert_verify_trouble(&app.verify_x402(&body).await, MALFORMED);
    }
    for body in [json!({}), json!([]), json!(7), json!({"x402Version": 3})] {
        assert_settle_trouble(&app.settle(None, &body).await, "", MALFORMED);
    }
}

#[tokio::test]
async fn null_stands_for_what_is_optional() {
    let app = TestApp::settling().await;
    let mut request = app.paid(&app.order());
    for name in ["resource", "extensions"] {
        request["paymentPayload"][name] = Value::Null;
    }
    request["paymentRequirements"]["unknown"] = json!([1]);
    request["unknown"] = json!({});
    assert_eq!(app.verify_x402(&request).await.body["isValid"], json!(true));
}

async fn raw(app: &TestApp, path: &str, content_type: &str, body: impl Into<reqwest::Body>) -> Answer {
    let request = app.http.post(app.path(path)).header("content-type", content_type).body(body);
    app.send(request, None).await
}

#[tokio::test]
async fn what_is_no_json_is_no_surprise_to_a_client() {
    let app = TestApp::settling().await;
    for body in ["", "{", "x402Version", r#"{"x402Version":2"#] {
        assert_settle_trouble(&raw(&app, "/settle", "application/json", body).await, "", MALFORMED);
    }
    let verified = raw(&app, "/verify", "application/json", r#"{"x402Version":2"#).await;
    assert_verify_trouble(&verified, MALFORMED);
    let unsupported = (415, "UNSUPPORTED_MEDIA_TYPE", "invalid_payload");
    assert_settle_trouble(&raw(&app, "/settle", "text/plain", "{}").await, "", unsupported);
    assert_verify_trouble(&raw(&app, "/verify", "text/plain", "{}").await, unsupported);
    let large = (413, "BODY_TOO_LARGE", "invalid_payload");
    let body = vec![b' '; 1024 * 1024 + 1];
    assert_settle_trouble(&raw(&app, "/settle", "application/json", body.clone()).await, "", large);
    assert_verify_trouble(&raw(&app, "/verify", "application/json", body).await, large);
}

#[tokio::test]
async fn a_proof_is_answered_in_its_own_shape() {
    let app = TestApp::settling().await;
    let answer = app.post("/verify", None, &json!({"signature": "x"})).await;
    assert_eq!((answer.status, answer.code()), (400, "VALIDATION_FAILED"));
    assert_eq!((&answer.body["isValid"], &answer.body["invalidReason"]), (&Value::Null, &Value::Null));
}

#[tokio::test]
async fn who_may_not_ask_is_told_in_both_shapes() {
    let app = TestApp::settling_with(&[("RATE_LIMIT_VERIFICATION", "1")]).await;
    let made = app.post("/api-keys", Some(KEY), &json!({"name": "n", "permissions": ["agents:read"]})).await;
    let key = made.body["key"].as_str().unwrap().to_owned();
    let request = app.paid(&app.order());
    let refused = |status, code| (status, code, "unexpected_settle_error");
    let unauthorized = app.settle(Some("nonsense"), &request).await;
    assert_settle_trouble(&unauthorized, "", refused(401, "INVALID_API_KEY"));
    let forbidden = app.settle(Some(&key), &request).await;
    assert_settle_trouble(&forbidden, "", refused(403, "INSUFFICIENT_SCOPE"));
    app.verify_x402(&request).await;
    let limited = app.settle(None, &request).await;
    assert_settle_trouble(&limited, "", refused(429, "RATE_LIMIT_EXCEEDED"));
    assert!(limited.headers.contains_key("retry-after"));
    let limited = (429, "RATE_LIMIT_EXCEEDED", "unexpected_verify_error");
    assert_verify_trouble(&app.verify_x402(&request).await, limited);
}

/// Clients strip the slash, and follow no redirect.
#[tokio::test]
async fn nothing_redirects() {
    let app = TestApp::settling().await;
    for path in ["/settle/", "/verify/"] {
        assert_eq!(app.post(path, None, &json!({})).await.status, 404);
    }
    assert_eq!(app.get("/supported/", None).await.status, 404);
    assert_eq!(app.get("/settle", None).await.status, 405);
}

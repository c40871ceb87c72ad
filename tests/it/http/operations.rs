//! `/health`, `/ready`, `/metrics`.

use serde_json::json;

use crate::harness::{KEY, TestApp};

#[tokio::test]
async fn health_says_who_and_when() {
    let app = TestApp::start().await;
    app.chain.sandbox.faults().error("*", -32603, "down", u32::MAX);
    let answer = app.get("/health", None).await;
    assert_eq!(answer.status, 200);
    let expected = json!({
        "status": "ok", "service": "402pay-facilitator", "version": env!("CARGO_PKG_VERSION"),
        "timestamp": app.now(), "environment": "development",
    });
    assert_eq!(answer.body, expected);
}

#[tokio::test]
async fn ready_lists_the_components() {
    let app = TestApp::start().await;
    let answer = app.get("/ready", None).await;
    assert_eq!((answer.status, &answer.body["status"]), (200, &json!("ready")), "{answer:?}");
    for component in ["database", "redis", "solana", "fee_payer"] {
        assert_eq!(answer.body["components"][component]["status"], "up");
    }
    assert_eq!(answer.body["degraded"], json!([]));
}

/// The value of a series in Prometheus' text, `None` where it is not there.
fn sample(text: &str, series: &str) -> Option<f64> {
    text.lines().find_map(|line| line.strip_prefix(series)?.strip_prefix(' ')?.parse().ok())
}

#[tokio::test]
async fn metrics_count_what_happened() {
    let app = TestApp::start().await;
    let paid = app.pay_merchant();
    let proof = app.proof(&paid, "n");
    app.verify(&proof).await.assert_valid();
    app.verify(&proof).await.assert_refused("REPLAY_ATTACK");
    let mut old = proof.clone();
    old["timestamp"] = json!(0);
    app.verify(&old).await.assert_refused("PAYMENT_EXPIRED");
    let mut forged = app.proof(&app.pay(&app.merchant(), 1, pay402::money::Currency::Sol), "m");
    forged["nonce"] = json!("other");
    app.verify(&forged).await.assert_refused("INVALID_SIGNATURE");
    app.get("/payments/unknown", Some(KEY)).await;
    app.get("/no/such/path", None).await;

    let text = app.get("/metrics", None).await.body.as_str().unwrap().to_owned();
    let expected = [
        (r#"payment_verification_total{currency="USDC",status="success"}"#, 1.0),
        (r#"payment_verification_total{currency="USDC",status="replay"}"#, 1.0),
        (r#"payment_verification_total{currency="USDC",status="expired"}"#, 1.0),
        (r#"payment_verification_total{currency="SOL",status="failure"}"#, 1.0),
        (r#"payment_verification_duration_seconds_count{currency="USDC"}"#, 3.0),
        (r#"payment_amount_total{currency="USDC"}"#, 0.05),
        (r#"http_requests_total{method="POST",route="/verify",status_code="200"}"#, 1.0),
        (r#"http_requests_total{method="POST",route="/verify",status_code="402"}"#, 3.0),
        (r#"http_requests_total{method="GET",route="/payments/{id}",status_code="404"}"#, 1.0),
        (r#"http_requests_total{method="GET",route="unmatched",status_code="404"}"#, 1.0),
        (r#"blockchain_request_total{method="getTransaction",network="sandbox",status="success"}"#, 1.0),
        (r#"blockchain_request_duration_seconds_count{method="getTransaction",network="sandbox"}"#, 1.0),
        (r#"database_query_total{operation="record",table="transactions"}"#, 1.0),
        (r#"errors_total{code="REPLAY_ATTACK",type="client"}"#, 1.0),
    ];
    for (series, value) in expected {
        assert_eq!(sample(&text, series), Some(value), "{series}\n{text}");
    }
    assert!(sample(&text, "active_connections").is_some_and(|open| open >= 1.0));
    assert!(sample(&text, "process_resident_memory_bytes").is_some_and(|bytes| bytes > 0.0));
}

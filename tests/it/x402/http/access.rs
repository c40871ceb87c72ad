//! Who may verify and settle, and who hears how a settlement stands.

use std::time::Duration;

use serde_json::{Value, json};

use super::{assert_settle_trouble, assert_verify_trouble};
use crate::harness::{
    KEY, OTHER_KEY, TestApp,
    x402::{settled, signature_of, signed},
};

#[tokio::test]
async fn where_keys_are_required_nothing_opens_without_one() {
    let app = TestApp::settling_with(&[("REQUIRE_API_KEY", "true")]).await;
    let order = app.order();
    let request = app.paid(&order);
    let unauthorized = (401, "INVALID_API_KEY", "unexpected_verify_error");
    assert_verify_trouble(&app.verify_x402(&request).await, unauthorized);
    let unauthorized = (401, "INVALID_API_KEY", "unexpected_settle_error");
    assert_settle_trouble(&app.settle(None, &request).await, "", unauthorized);
    assert_eq!(app.post("/verify", None, &json!({})).await.status, 401);
    assert_eq!(app.get("/payments/x", None).await.status, 401);
    assert_eq!(app.post("/verify", Some(KEY), &request).await.body["isValid"], json!(true));
    settled(&app.settle(Some(KEY), &request).await, &order);
    // Who serves what is no secret.
    assert_eq!(app.get("/supported", None).await.status, 200);
}

#[tokio::test]
async fn a_settlement_is_seen_by_whose_it_is_and_nobodys_by_all() {
    let app = TestApp::settling().await;
    let own = settled(&app.settle(Some(KEY), &app.paid(&app.order())).await, &app.order());
    let nobodys = settled(&app.settle(None, &app.paid(&app.order())).await, &app.order());
    let seen = async |transaction: &dyn ToString, key| {
        app.get(&format!("/payments/{}", transaction.to_string()), key).await
    };
    for (key, sees_own) in [(None, 404), (Some(OTHER_KEY), 404), (Some(KEY), 200)] {
        assert_eq!(seen(&own, key).await.status, sees_own);
        let answer = seen(&nobodys, key).await;
        assert_eq!((answer.status, &answer.body["state"]), (200, &json!("settled")), "{answer:?}");
        assert_eq!(answer.body["transactionId"], nobodys.to_string());
        // By its transaction, and not by what only the books know.
        assert_eq!(seen(&answer.body["id"].as_str().unwrap(), None).await.status, 404);
    }
    // A proof that was shown anonymously is not a settlement.
    let paid = app.pay_merchant();
    app.post("/verify", None, &app.proof(&paid, "n")).await.assert_valid();
    assert_eq!(seen(&paid.transaction, None).await.status, 404);
    assert_eq!(app.get("/payments", None).await.status, 401);
}

#[tokio::test]
async fn every_state_is_told_with_its_deadline() {
    let app = TestApp::settling().await;
    let order = app.order();
    let transaction = signed(&app.chain.sandbox, &order);
    let signature = signature_of(&app.chain.sandbox, &transaction);
    app.chain.sandbox.faults().drop_sends(u32::MAX);
    let request = order.request(&transaction);
    let asked = tokio::spawn(app.http.post(app.path("/settle")).json(&request).send());
    let path = format!("/payments/{signature}");
    let pending = loop {
        let answer = app.get(&path, None).await;
        if answer.status == 200 {
            break answer.body;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    };
    assert_eq!((&pending["state"], &pending["slot"]), (&json!("pending"), &Value::Null));
    let last = pending["lastValidBlockHeight"].as_u64().unwrap();
    assert!(last >= app.chain.sandbox.slot() && last < app.chain.sandbox.slot() + 300, "{last}");
    app.chain.sandbox.advance_slots(400);
    app.chain.clock.advance(Duration::from_mins(2));
    // The one who asked hears it too.
    let answer: Value = asked.await.unwrap().unwrap().json().await.unwrap();
    assert_eq!(answer["errorReason"], "settle_exact_svm_block_height_exceeded", "{answer}");
    let expired = app.get(&path, None).await.body;
    assert_eq!((&expired["state"], &expired["lastValidBlockHeight"]), (&json!("expired"), &json!(last)));
}

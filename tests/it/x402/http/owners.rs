//! Whose a payment is, when a stranger who has seen it asks first: on both databases.

use std::sync::Arc;

use pay402::sandbox::faults::ALWAYS;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::{
    conformance::{Backend, on_both},
    harness::{
        Answer, KEY, OTHER_KEY, TestApp,
        x402::{settled, signature_of, signed},
    },
    sandbox::setup::start,
};

on_both!(
    a_stranger_without_a_key_does_not_take_a_payment_away,
    a_payment_in_flight_is_its_merchants_too,
    whoever_has_a_key_first_keeps_the_payment,
);

async fn open(backend: &Backend) -> TestApp {
    let url = backend.database_url();
    let folder = Arc::new(TempDir::new().unwrap());
    TestApp::settling_on(start().await, folder, &[("DATABASE_URL", url.as_str())]).await
}

async fn listed(app: &TestApp, key: &str) -> Vec<Value> {
    let mut books = app.get("/payments", Some(key)).await.body;
    serde_json::from_value(books["payments"].take()).unwrap()
}

async fn found(app: &TestApp, transaction: &str, key: Option<&str>) -> Answer {
    app.get(&format!("/payments/{transaction}"), key).await
}

async fn a_stranger_without_a_key_does_not_take_a_payment_away(backend: Backend) {
    let app = open(&backend).await;
    let order = app.order();
    let request = app.paid(&order);
    let before = app.received();
    let stranger = app.settle(None, &request).await;
    let transaction = settled(&stranger, &order).to_string();
    assert_eq!(listed(&app, KEY).await, Vec::<Value>::new());
    // Not for another resource.
    let mut other = request.clone();
    other["paymentPayload"]["resource"]["url"] = json!("https://shop.example/dogs");
    assert_eq!(app.settle(Some(KEY), &other).await.body["errorReason"], "duplicate_settlement");
    assert_eq!(listed(&app, KEY).await, Vec::<Value>::new());
    // The merchant is told what the stranger was, and has it in its books.
    assert_eq!(app.settle(Some(KEY), &request).await.body, stranger.body);
    assert_eq!(app.received() - before, order.units);
    let books = listed(&app, KEY).await;
    assert_eq!((books.len(), &books[0]["transactionId"]), (1, &json!(transaction)));
    let own = found(&app, &transaction, Some(KEY)).await;
    assert_eq!((own.status, &own.body["resource"]), (200, &json!(order.resource)));
    // Who asked without a key may still ask how it stands, but not what was bought.
    for key in [None, Some(OTHER_KEY)] {
        let seen = found(&app, &transaction, key).await;
        assert_eq!((seen.status, &seen.body["state"]), (200, &json!("settled")));
        assert_eq!(seen.body["resource"], Value::Null);
    }
}

async fn a_payment_in_flight_is_its_merchants_too(backend: Backend) {
    let app = open(&backend).await;
    let order = app.order();
    let transaction = signed(&app.chain.sandbox, &order);
    let request = order.request(&transaction);
    let signature = signature_of(&app.chain.sandbox, &transaction).to_string();
    app.chain.sandbox.faults().drop_sends(ALWAYS);
    let stranger = tokio::spawn(app.http.post(app.path("/settle")).json(&request).send());
    while found(&app, &signature, None).await.status != 200 {
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
    let asking = app.settle(Some(KEY), &request);
    let landing = async {
        app.chain.sandbox.faults().clear();
    };
    let (merchant, ()) = tokio::join!(asking, landing);
    settled(&merchant, &order);
    assert_eq!(stranger.await.unwrap().unwrap().json::<Value>().await.unwrap(), merchant.body);
    assert_eq!(listed(&app, KEY).await.len(), 1);
}

async fn whoever_has_a_key_first_keeps_the_payment(backend: Backend) {
    let app = open(&backend).await;
    let order = app.order();
    let request = app.paid(&order);
    let first = app.settle(Some(KEY), &request).await;
    let transaction = settled(&first, &order).to_string();
    for key in [Some(OTHER_KEY), None] {
        assert_eq!(app.settle(key, &request).await.body, first.body);
        assert_eq!(found(&app, &transaction, key).await.status, 404);
    }
    assert_eq!((listed(&app, KEY).await.len(), listed(&app, OTHER_KEY).await.len()), (1, 0));
}

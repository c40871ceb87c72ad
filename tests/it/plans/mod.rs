//! `/plans`: every field, every code, on both databases.

mod changes;
mod routes;

use serde_json::{Value, json};

use crate::harness::{Answer, KEY, TestApp};

fn pro() -> Value {
    json!({"name": "pro", "pricePerMonth": "25.5", "currency": "USDC"})
}

async fn make(app: &TestApp, plan: &Value) -> Value {
    let answer = app.post("/plans", Some(KEY), plan).await;
    assert_eq!(answer.status, 201, "{answer:?}");
    answer.body
}

async fn change(app: &TestApp, key: &str, plan: &Value, change: &Value) -> Answer {
    let path = format!("/plans/{}", plan["id"].as_str().unwrap());
    app.send(app.http.patch(app.path(&path)).json(change), Some(key)).await
}

async fn remove(app: &TestApp, key: &str, plan: &Value) -> Answer {
    let path = format!("/plans/{}", plan["id"].as_str().unwrap());
    app.send(app.http.delete(app.path(&path)), Some(key)).await
}

//! The HTTP surface around the payments.

mod attacks;
mod attempts;
mod authorization;
mod books;
mod browser;
mod capacity;
mod connections;
mod edge;
mod h2c;
mod idempotency;
mod json;
mod keys;
mod leaks;
mod load;
mod operations;
mod rate_limits;
mod shutdown;

use serde_json::{Value, json};

use crate::harness::{KEY, TestApp};

/// What is answered at the greatest length: as much usage as one request may tell, of a subscription made for it.
async fn largest_usage(app: &TestApp) -> Value {
    let made = async |path: &str, body: Value| {
        let answer = app.post(path, Some(KEY), &body).await;
        assert_eq!(answer.status, 201, "{answer:?}");
        answer.body["id"].clone()
    };
    let plan = made("/plans", json!({"name": "n", "pricePerMonth": 1, "currency": "USDC"})).await;
    let agent = made("/agents", json!({"name": "n", "publicKey": app.agent_address()})).await;
    let subscription = made("/subscriptions", json!({"planId": plan, "agentId": agent})).await;
    let one = json!({"subscriptionId": subscription, "quantity": 1, "metadata": {"a": "x".repeat(4000)}});
    json!({"usage": vec![one; 100]})
}

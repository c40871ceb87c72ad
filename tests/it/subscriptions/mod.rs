//! `/subscriptions` and `/usage`, on both databases, under a clock that moves only when told to.

mod cancel;
mod killed;
mod limits;
mod model;
mod payments;
mod routes;
mod story;
mod time;
mod usage;
mod usage_model;

use std::time::Duration;

use pay402::clock::UnixMs;
use serde_json::{Value, json};

use crate::harness::{Answer, KEY, TestApp, with};

const DAY: Duration = Duration::from_hours(24);

/// A plan for 10 USDC a month with these limits.
async fn plan(app: &TestApp, limits: Value) -> Value {
    let body = json!({"name": "pro", "pricePerMonth": "10", "currency": "USDC", "limits": limits});
    let answer = app.post("/plans", Some(KEY), &body).await;
    assert_eq!(answer.status, 201, "{answer:?}");
    answer.body
}

/// The sandbox's agent, registered.
async fn agent(app: &TestApp) -> Value {
    let body = json!({"name": "agent", "publicKey": app.agent_address()});
    let answer = app.post("/agents", Some(KEY), &body).await;
    assert_eq!(answer.status, 201, "{answer:?}");
    answer.body
}

async fn subscribe(app: &TestApp, body: &Value) -> Value {
    let answer = app.post("/subscriptions", Some(KEY), body).await;
    assert_eq!(answer.status, 201, "{answer:?}");
    answer.body
}

/// The agent on a plan with these limits, its first period free of charge.
async fn subscribed(app: &TestApp, limits: Value) -> Value {
    let (plan, agent) = (plan(app, limits).await, agent(app).await);
    subscribe(app, &json!({"planId": plan["id"], "agentId": agent["id"]})).await
}

/// The same, to be paid first.
async fn subscribed_to_pay(app: &TestApp) -> Value {
    let (plan, agent) = (plan(app, json!({})).await, agent(app).await);
    subscribe(app, &json!({"planId": plan["id"], "agentId": agent["id"], "requirePayment": true})).await
}

/// As it is now.
async fn now(app: &TestApp, subscription: &Value) -> Value {
    let answer =
        app.get(&format!("/subscriptions/{}", subscription["id"].as_str().unwrap()), Some(KEY)).await;
    assert_eq!(answer.status, 200, "{answer:?}");
    answer.body
}

async fn cancel(app: &TestApp, subscription: &Value, body: &Value) -> Answer {
    let path = format!("/subscriptions/{}/cancel", subscription["id"].as_str().unwrap());
    app.post(&path, Some(KEY), body).await
}

/// Uses so much.
async fn consume(app: &TestApp, subscription: &Value, quantity: u64) -> Answer {
    let body = json!({"subscriptionId": subscription["id"], "quantity": quantity});
    app.post("/usage", Some(KEY), &body).await
}

/// Advances the clock to this time.
fn wait_until(app: &TestApp, at: &Value) {
    let wait = at.as_i64().unwrap() - app.now().0;
    app.chain.clock.advance(Duration::from_millis(wait.try_into().expect("it is still to come")));
}

/// `value` with these members changed.
fn altered(value: &Value, members: &[(&str, Value)]) -> Value {
    members.iter().fold(value.clone(), |value, (member, new)| with(value, member, new.clone()))
}

fn plus(at: &Value, by: Duration) -> Value {
    json!(UnixMs(at.as_i64().unwrap()) + by)
}

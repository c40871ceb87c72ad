//! Agents: registering and changing them, and what they may spend. On both databases.

mod housekeeping;
mod limits;
mod races;
mod reputation;
mod routes;
mod series;
mod x402;
mod x402_refusals;
mod x402_units;

use pay402::config::Environment;
use serde_json::{Value, json};
use solana_pubkey::Pubkey;

use crate::{
    conformance::Backend,
    harness::{Answer, KEY, TestApp},
};

/// The service on this database.
async fn app(backend: &Backend) -> TestApp {
    TestApp::with(|environment, _| on(backend, environment)).await
}

fn on(backend: &Backend, environment: Environment) -> Environment {
    match backend.url() {
        Some(url) => environment.with("DATABASE_URL", url),
        None => environment,
    }
}

fn wallet(number: u8) -> String {
    Pubkey::new_from_array([number; 32]).to_string()
}

/// Registers an agent; must succeed.
async fn register(app: &TestApp, body: &Value) -> Value {
    let answer = app.post("/agents", Some(KEY), body).await;
    assert_eq!(answer.status, 201, "{answer:?}");
    answer.body
}

/// Registers the agent of this number with these limits.
async fn limited(app: &TestApp, public_key: &str, limit: Value) -> Value {
    register(app, &json!({"name": "agent", "publicKey": public_key, "spendingLimit": limit})).await
}

async fn patch(app: &TestApp, id: &Value, body: &Value) -> Answer {
    let path = app.path(&format!("/agents/{}", id.as_str().unwrap()));
    app.send(app.http.patch(path).json(body), Some(KEY)).await
}

async fn agent(app: &TestApp, id: &Value, part: &str) -> Value {
    let answer = app.get(&format!("/agents/{}{part}", id.as_str().unwrap()), Some(KEY)).await;
    assert_eq!(answer.status, 200, "{answer:?}");
    answer.body
}

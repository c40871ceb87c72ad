//! API keys on the real service: made, used, rotated, revoked; and keys that are none.

mod checks;
mod flood;
mod lines;
mod processes;
mod rotation;
mod routes;
mod scopes;

use serde_json::Value;

use crate::harness::{Answer, KEY, TestApp};

/// Makes a key with the usual one; must succeed.
async fn make(app: &TestApp, body: &Value) -> Value {
    let answer = app.post("/api-keys", Some(KEY), body).await;
    assert_eq!(answer.status, 201, "{answer:?}");
    answer.body
}

/// The plain key in an answer.
fn plain(made: &Value) -> &str {
    made["key"].as_str().unwrap_or_else(|| panic!("{made}"))
}

async fn revoke(app: &TestApp, by: &str, id: &Value) -> Answer {
    let path = app.path(&format!("/api-keys/{}", id.as_str().unwrap()));
    app.send(app.http.delete(path), Some(by)).await
}

/// What a caller who may list payments gets.
async fn status(app: &TestApp, key: &str) -> u16 {
    app.get("/payments", Some(key)).await.status
}

/// The text with another character at the end.
fn spoilt(key: &str) -> String {
    let last = if key.ends_with('1') { '2' } else { '1' };
    format!("{}{last}", &key[..key.len() - 1])
}

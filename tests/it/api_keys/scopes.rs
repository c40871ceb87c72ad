//! What a key may do, and that no key comes to more through another.

use serde_json::{Value, json};

use super::{make, plain};
use crate::harness::{KEY, TestApp};

const SCOPES: [&str; 10] = [
    "verify",
    "settle",
    "agents:read",
    "agents:write",
    "subscriptions:read",
    "subscriptions:write",
    "plans:write",
    "usage:write",
    "analytics:read",
    "keys:manage",
];

/// An answer that is kept for one key of a user is not given to another that may not ask for it.
#[tokio::test]
async fn a_kept_answer_wants_the_scope_too() {
    let app = TestApp::start().await;
    let narrow = make(&app, &json!({"name": "n", "permissions": ["settle"]})).await;
    let body = json!({"amount": "1", "currency": "USDC"});
    let request = || app.http.post(app.path("/requirements")).header("idempotency-key", "k").json(&body);
    assert_eq!(app.send(request(), Some(KEY)).await.status, 201);
    assert_eq!(app.send(request(), Some(plain(&narrow))).await.status, 403);
    assert_eq!(app.send(request(), Some(KEY)).await.headers["idempotent-replayed"], "true");
}

#[tokio::test]
async fn a_key_gives_no_scope_that_it_lacks() {
    let app = TestApp::start().await;
    let all = make(&app, &json!({"name": "n", "permissions": SCOPES})).await;
    let few = make(&app, &json!({"name": "n", "permissions": ["verify", "keys:manage"]})).await;
    for (by, wanted, lacks) in [
        (&few, json!(["verify", "settle", "keys:manage"]), "settle"),
        (&few, json!(["*"]), "*"),
        (&few, json!(SCOPES), "settle"),
        // All there are today is less than everything.
        (&all, json!(["*"]), "*"),
    ] {
        let body = json!({"name": "n", "permissions": wanted});
        let answer = app.post("/api-keys", Some(plain(by)), &body).await;
        assert_eq!((answer.status, answer.code()), (403, "INSUFFICIENT_SCOPE"), "{answer:?}");
        assert!(answer.body["error"].as_str().unwrap().ends_with(&format!(" {lacks}")), "{answer:?}");
    }
    for (body, expected) in [
        (json!({"name": "n", "permissions": ["verify"]}), json!(["verify"])),
        (json!({"name": "n"}), json!(["verify", "keys:manage"])),
    ] {
        let answer = app.post("/api-keys", Some(plain(&few)), &body).await;
        assert_eq!((answer.status, &answer.body["permissions"]), (201, &expected), "{answer:?}");
    }
    // Nor does it get one by rotating a key that has more: the answer would hold that key's successor.
    for id in [&all["id"], &all["keyPrefix"]] {
        let path = format!("/api-keys/{}/rotate", id.as_str().unwrap());
        let answer = app.post(&path, Some(plain(&few)), &json!({})).await;
        assert_eq!((answer.status, answer.code()), (403, "INSUFFICIENT_SCOPE"), "{answer:?}");
    }
    let path = format!("/api-keys/{}/rotate", few["id"].as_str().unwrap());
    assert_eq!(app.post(&path, Some(plain(&all)), &json!({})).await.status, 200);
}

#[tokio::test]
async fn a_key_is_not_outlived_by_what_it_makes() {
    let app = TestApp::start().await;
    let expires_at = app.now().0 + 60_000;
    let lasting = make(&app, &json!({"name": "n"})).await;
    let brief = make(&app, &json!({"name": "n", "expiresAt": expires_at})).await;
    let create = async |body: Value| app.post("/api-keys", Some(plain(&brief)), &body).await;

    let beyond = create(json!({"name": "n", "expiresAt": expires_at + 1})).await;
    assert_eq!((beyond.status, beyond.fields()), (400, vec!["expiresAt"]), "{beyond:?}");
    for body in [json!({"name": "n"}), json!({"name": "n", "expiresAt": null})] {
        assert_eq!(create(body).await.body["expiresAt"], json!(expires_at));
    }
    assert_eq!(create(json!({"name": "n", "expiresAt": expires_at - 1})).await.status, 201);

    let path = format!("/api-keys/{}/rotate", lasting["id"].as_str().unwrap());
    let rotated = app.post(&path, Some(plain(&brief)), &json!({})).await;
    assert_eq!((rotated.status, &rotated.body["expiresAt"]), (200, &json!(expires_at)), "{rotated:?}");
}

#[tokio::test]
async fn a_key_passes_its_recipients_on() {
    let app = TestApp::start().await;
    let wallets = json!([app.agent_address()]);
    let parent = make(&app, &json!({"name": "n", "recipients": wallets})).await;
    let child = app.post("/api-keys", Some(plain(&parent)), &json!({"name": "n"})).await;
    assert_eq!((child.status, &child.body["recipients"]), (201, &wallets), "{child:?}");
}

//! `POST /api-keys/{…}/rotate`.

use std::{sync::Arc, time::Duration};

use futures_util::future::join_all;
use pay402::{
    api_keys::{
        ApiKeyRecord, Environment, NewKey, Scopes,
        service::{Actor, ApiKeys},
    },
    app::key_foundations,
    chain::assets::Network,
    clock::{Clock, SystemClock},
    ids::{Entropy, OsEntropy},
    metrics::Metrics,
};
use serde_json::{Value, json};

use super::{make, plain, revoke, status};
use crate::{
    conformance::{Backend, on_both},
    harness::{Answer, KEY, TestApp},
};

on_both!(a_key_of_the_other_environment_does_not_exist);

async fn rotate(app: &TestApp, by: &str, id: &Value, body: &Value) -> Answer {
    app.post(&format!("/api-keys/{}/rotate", id.as_str().unwrap()), Some(by), body).await
}

#[tokio::test]
async fn the_old_key_works_until_the_overlap_is_over() {
    let app = TestApp::start().await;
    let wallets = json!([app.agent_address()]);
    let old = make(&app, &json!({"name": "n", "permissions": ["verify"], "recipients": wallets})).await;
    let answer = rotate(&app, KEY, &old["keyPrefix"], &json!({"overlapSeconds": 60})).await;
    assert_eq!(answer.status, 200, "{answer:?}");
    assert_eq!(answer.headers["cache-control"], "no-store");
    let new = &answer.body;
    for same in ["name", "userId", "environment", "permissions", "recipients", "expiresAt"] {
        assert_eq!(new[same], old[same], "{same}");
    }
    assert_ne!(plain(new), plain(&old));
    // As a new key is told, and with it the old one as a list tells it.
    let expected = json!({
        "id": new["id"], "key": plain(new), "keyPrefix": plain(new)[..16], "name": "n", "userId": "key:sk_test_merc",
        "environment": "test", "livemode": false, "permissions": ["verify"], "recipients": wallets,
        "createdAt": app.now(), "expiresAt": null, "lastUsedAt": null, "revokedAt": null, "replacedBy": null,
        "createdBy": "sk_test_merc", "replaces": new["replaces"],
    });
    assert_eq!(*new, expected);
    let list = app.get("/api-keys", Some(KEY)).await.body;
    let listed = list["apiKeys"].as_array().unwrap().iter().find(|key| key["id"] == old["id"]);
    assert_eq!(Some(&new["replaces"]), listed);
    assert_eq!(new["replaces"]["id"], old["id"]);
    assert_eq!(new["replaces"]["replacedBy"], new["id"]);
    assert_eq!(new["replaces"]["expiresAt"], json!(app.now().0 + 60_000));

    for (seconds, expected) in [(0, (200, 200)), (59, (200, 200)), (1, (401, 200)), (3600, (401, 200))] {
        app.chain.clock.advance(Duration::from_secs(seconds));
        let found = (status(&app, plain(&old)).await, status(&app, plain(new)).await);
        assert_eq!(found, expected, "after {seconds} s more");
    }
}

#[tokio::test]
async fn overlaps() {
    let app = TestApp::start().await;
    for (body, seconds) in [
        (json!({}), 86_400),
        (json!({"overlapSeconds": null}), 86_400),
        (json!({"overlapSeconds": 604_800}), 604_800),
        (json!({"overlapSeconds": 0}), 0),
    ] {
        let old = make(&app, &json!({"name": "n"})).await;
        let answer = rotate(&app, plain(&old), &old["id"], &body).await;
        assert_eq!(answer.body["replaces"]["expiresAt"], json!(app.now().0 + seconds * 1000), "{answer:?}");
        assert_eq!(status(&app, plain(&old)).await, if seconds == 0 { 401 } else { 200 }, "{body}");
    }
    // An end of its own comes first.
    let expires_at = app.now().0 + 1000;
    let old = make(&app, &json!({"name": "n", "expiresAt": expires_at})).await;
    let answer = rotate(&app, KEY, &old["id"], &json!({})).await;
    assert_eq!(answer.body["replaces"]["expiresAt"], json!(expires_at));
    assert_eq!(answer.body["expiresAt"], json!(expires_at), "a rotation prolongs nothing");

    let old = make(&app, &json!({"name": "n"})).await;
    for wrong in [json!(-1), json!(604_801), json!(1.5), json!("60"), json!(u64::MAX)] {
        let answer = rotate(&app, KEY, &old["id"], &json!({"overlapSeconds": wrong})).await;
        assert_eq!((answer.status, answer.fields()), (400, vec!["overlapSeconds"]), "{answer:?}");
    }
}

#[tokio::test]
async fn what_has_ended_or_was_rotated_is_not_rotated() {
    let app = TestApp::start().await;
    let revoked = make(&app, &json!({"name": "n"})).await;
    assert_eq!(revoke(&app, KEY, &revoked["id"]).await.status, 200);
    let expired = make(&app, &json!({"name": "n", "expiresAt": app.now().0 + 1})).await;
    app.chain.clock.advance(Duration::from_millis(1));
    let rotated = make(&app, &json!({"name": "n"})).await;
    assert_eq!(rotate(&app, KEY, &rotated["id"], &json!({})).await.status, 200);
    for (old, code) in
        [(revoked, "API_KEY_REVOKED"), (expired, "API_KEY_EXPIRED"), (rotated, "API_KEY_ROTATED")]
    {
        let answer = rotate(&app, KEY, &old["id"], &json!({})).await;
        assert_eq!((answer.status, answer.code()), (409, code), "{answer:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn of_rotations_at_once_one_comes_about() {
    let app = TestApp::start().await;
    let old = make(&app, &json!({"name": "n"})).await;
    let none = json!({});
    let answers = join_all((0..4).map(|_| rotate(&app, KEY, &old["id"], &none))).await;
    let (won, lost): (Vec<_>, Vec<_>) = answers.iter().partition(|answer| answer.status == 200);
    assert_eq!(won.len(), 1, "{answers:?}");
    assert!(lost.iter().all(|answer| answer.code() == "API_KEY_ROTATED"), "{lost:?}");
    assert_eq!(app.get("/api-keys", Some(KEY)).await.body["total"], 2);
}

/// A live key of the usual user's, made by the operator.
async fn make_live(backend: &Backend) -> ApiKeyRecord {
    let (clock, entropy): (Arc<dyn Clock>, Arc<dyn Entropy>) = (Arc::new(SystemClock), Arc::new(OsEntropy));
    let (books, metrics) = (backend.open().await, Arc::new(Metrics::new()));
    let foundations = key_foundations(&books, Network::MainnetBeta, &clock, &entropy, &metrics);
    let live = NewKey {
        name: "live".to_owned(),
        user: "key:sk_test_merc".to_owned(),
        environment: Environment::Live,
        scopes: Scopes::EVERYTHING,
        recipients: Vec::new(),
        expires_at: None,
    };
    ApiKeys::new(foundations, entropy, None, None).issue(live, Actor::Operator).await.unwrap().record
}

/// Instances on two networks may share a database: who has a test key has no live ones by it.
async fn a_key_of_the_other_environment_does_not_exist(backend: Backend) {
    let app = backend.app().await;
    let live = make_live(&backend).await;
    let test = make(&app, &json!({"name": "test"})).await;
    for id in [json!(live.id.as_str()), json!(live.prefix)] {
        for by in [KEY, plain(&test)] {
            let with_line = app.path(&format!("/api-keys/{}?descendants=true", id.as_str().unwrap()));
            let answers = [
                rotate(&app, by, &id, &json!({"overlapSeconds": 0})).await,
                revoke(&app, by, &id).await,
                app.send(app.http.delete(with_line), Some(by)).await,
            ];
            for answer in answers {
                assert_eq!((answer.status, answer.code()), (404, "NOT_FOUND"), "{answer:?}");
            }
        }
    }
    let list = app.get("/api-keys", Some(KEY)).await.body;
    assert_eq!((&list["total"], &list["apiKeys"][0]["id"]), (&json!(1), &test["id"]), "{list}");
    let found = backend.open().await.api_keys.find_key(live.id.as_str()).await.unwrap();
    assert_eq!(found, Some(live), "and nothing became of it");
}

//! What comes from a key: who made it, how it ends with it, and how much of it there may be.

use futures_util::future::join_all;
use serde_json::{Value, json};
use sqlx::SqlitePool;

use super::{make, plain, revoke, status};
use crate::harness::{Answer, KEY, OTHER_KEY, TestApp, logs};

/// A key made with another.
async fn make_with(app: &TestApp, by: &Value) -> Value {
    let answer = app.post("/api-keys", Some(plain(by)), &json!({"name": "made"})).await;
    assert_eq!(answer.status, 201, "{answer:?}");
    answer.body
}

async fn rotate(app: &TestApp, by: &str, id: &Value, body: &Value) -> Answer {
    app.post(&format!("/api-keys/{}/rotate", id.as_str().unwrap()), Some(by), body).await
}

async fn revoke_line(app: &TestApp, by: &str, id: &Value, query: &str) -> Answer {
    let path = app.path(&format!("/api-keys/{}?descendants={query}", id.as_str().unwrap()));
    app.send(app.http.delete(path), Some(by)).await
}

async fn database(app: &TestApp) -> SqlitePool {
    let url = format!("sqlite://{}", app.folder.path().join("pay402.db").display());
    SqlitePool::connect(&url).await.unwrap()
}

#[tokio::test]
async fn what_comes_from_a_key_is_told_and_ends_with_it_on_request() {
    let app = TestApp::start().await;
    let root = make(&app, &json!({"name": "root"})).await;
    let child = make_with(&app, &root).await;
    app.chain.clock.advance(std::time::Duration::from_millis(1));
    let grandchild = make_with(&app, &child).await;
    app.chain.clock.advance(std::time::Duration::from_millis(1));
    let successor = rotate(&app, KEY, &root["id"], &json!({})).await.body;
    let beside = make(&app, &json!({"name": "beside"})).await;
    assert_eq!((&root["createdBy"], &child["createdBy"]), (&json!("sk_test_merc"), &root["id"]));
    assert_eq!((&grandchild["createdBy"], &successor["createdBy"]), (&child["id"], &json!("sk_test_merc")));
    assert_eq!(successor["replaces"]["replacedBy"], successor["id"]);
    let list = app.get("/api-keys", Some(KEY)).await.body;
    let listed = |id: &Value| {
        let keys = list["apiKeys"].as_array().unwrap();
        keys.iter().find(|key| key["id"] == *id).unwrap().clone()
    };
    assert_eq!(listed(&grandchild["id"])["createdBy"], child["id"]);
    assert_eq!(listed(&root["id"])["replacedBy"], successor["id"]);

    // By default only the key.
    let line = json!([child["id"], grandchild["id"], successor["id"]]);
    for answer in [revoke(&app, KEY, &root["id"]).await, revoke_line(&app, KEY, &root["id"], "false").await] {
        let told = (answer.status, &answer.body["revokedDescendants"], &answer.body["activeDescendants"]);
        assert_eq!(told, (200, &json!([]), &line), "{answer:?}");
    }
    for key in [&child, &grandchild, &successor, &beside] {
        assert_eq!(status(&app, plain(key)).await, 200);
    }
    for wrong in ["1", "", "yes"] {
        let answer = revoke_line(&app, KEY, &root["id"], wrong).await;
        assert_eq!((answer.status, answer.fields()), (400, vec!["descendants"]), "{answer:?}");
    }
    assert_eq!(revoke_line(&app, OTHER_KEY, &root["id"], "true").await.status, 404);
    // Of a key that has ended too, and with a key of the line. Each is logged by its prefix.
    logs::listen();
    let answer = revoke_line(&app, plain(&grandchild), &root["keyPrefix"], "true").await;
    let told = (answer.status, &answer.body["revokedDescendants"], &answer.body["activeDescendants"]);
    assert_eq!(told, (200, &line, &json!([])), "{answer:?}");
    let log = logs::heard();
    for (key, count) in [(&root, 0), (&child, 1), (&grandchild, 1), (&successor, 1)] {
        assert_eq!(status(&app, plain(key)).await, 401, "at once where it was revoked");
        let told = format!(
            r#""message":"API key revoked","key":{},"user":"key:sk_test_merc","actor":{}"#,
            key["keyPrefix"], grandchild["keyPrefix"]
        );
        assert_eq!(log.matches(&told).count(), count, "{log}");
    }
    assert_eq!(status(&app, plain(&beside)).await, 200);
}

/// Keys are made a quarter of a second each: whoever is revoked while theirs wait gets none of them.
#[tokio::test(flavor = "multi_thread")]
async fn a_key_that_is_revoked_while_it_makes_others() {
    let app = TestApp::start().await;
    let leaked = make(&app, &json!({"name": "leaked"})).await;
    assert_eq!(status(&app, plain(&leaked)).await, 200);
    let hashed = r#"api_key_bcrypt_duration_seconds_count{operation="hash"}"#;
    let before = app.count(hashed).await;
    let body = json!({"name": "made"});
    let making = join_all((0..4).map(|_| app.post("/api-keys", Some(plain(&leaked)), &body)));
    let revoking = async {
        while app.count(hashed).await == before {
            tokio::task::yield_now().await;
        }
        revoke_line(&app, KEY, &leaked["id"], "true").await
    };
    let (made, revoked) = tokio::join!(making, revoking);
    assert_eq!(revoked.status, 200, "{revoked:?}");
    let refused = made.iter().filter(|answer| answer.status == 401).count();
    let kept: Vec<&Answer> = made.iter().filter(|answer| answer.status == 201).collect();
    assert!(refused > 0 && refused + kept.len() == 4, "{made:?}");
    assert!(made.iter().all(|answer| answer.status == 201 || answer.code() == "INVALID_API_KEY"));
    for answer in kept {
        assert_eq!(status(&app, plain(&answer.body)).await, 401, "it ended with the line");
    }
    let list = app.get("/api-keys", Some(KEY)).await.body;
    assert!(list["apiKeys"].as_array().unwrap().iter().all(|key| !key["revokedAt"].is_null()), "{list}");
}

/// A hundred rows, which would take half a minute to make in order.
const KEYS: &str = "\
    INSERT INTO api_keys (id, prefix, environment, name, user_id, permissions, recipients, hash, created_at_ms) \
    WITH RECURSIVE up (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM up WHERE n < 100) \
    SELECT 'key_' || n, 'sk_test_' || (10000000 + n), 'test', 'n', 'key:sk_test_merc', '*', '', \
        '$2b$12$01234567890123456789012345678901234567890123456789012', 1 FROM up";

/// And what they are rotated to.
const SUCCESSORS: &str = "\
    INSERT INTO api_keys (id, prefix, environment, name, user_id, permissions, recipients, hash, created_at_ms) \
    SELECT 'next_' || substr(id, 5), replace(prefix, '_1', '_2'), environment, name, user_id, permissions, recipients, \
        hash, 1 FROM api_keys WHERE length(id) < 8";

#[tokio::test]
async fn a_user_has_a_hundred_active_keys() {
    let app = TestApp::start().await;
    let database = database(&app).await;
    let spare = make(&app, &json!({"name": "n"})).await;
    sqlx::query(KEYS).execute(&database).await.unwrap();
    let create = async |key: &str| app.post("/api-keys", Some(key), &json!({"name": "n"})).await;
    let assert_full = |answer: Answer| {
        assert_eq!((answer.status, answer.code()), (409, "API_KEY_LIMIT_REACHED"), "{answer:?}");
        assert!(answer.body["error"].as_str().unwrap().contains("100"), "{answer:?}");
    };
    let hashed = r#"api_key_bcrypt_duration_seconds_count{operation="hash"}"#;
    let before = app.count(hashed).await;
    assert_full(create(KEY).await);
    assert_full(create(plain(&spare)).await);
    assert_eq!(app.count(hashed).await, before, "nothing was hashed for it");
    assert_eq!(create(OTHER_KEY).await.status, 201, "another user is another");
    // Whoever has too many can still replace them.
    let rotated = rotate(&app, KEY, &json!("key_1"), &json!({})).await;
    assert_eq!(rotated.status, 200, "{rotated:?}");
    for id in ["key_2", "key_3"] {
        assert_eq!(revoke(&app, KEY, &json!(id)).await.status, 200);
    }
    // 99 that stand, and one that was rotated and still works: room for one.
    assert_eq!(create(KEY).await.status, 201);
    assert_full(create(KEY).await);

    // As many may be rotated and work on.
    sqlx::query(SUCCESSORS).execute(&database).await.unwrap();
    let overlap = "UPDATE api_keys SET expires_at_ms = $1, revoked_at_ms = NULL, replaced_by = 'next_' || substr(id, 5) \
                   WHERE id LIKE 'key%' AND length(id) < 8";
    let rotated = sqlx::query(overlap).bind(app.now().0 + 1000).execute(&database).await.unwrap();
    assert_eq!(rotated.rows_affected(), 100);
    assert_full(rotate(&app, KEY, &spare["id"], &json!({"overlapSeconds": 1})).await);
    assert_eq!(rotate(&app, KEY, &spare["id"], &json!({"overlapSeconds": 0})).await.status, 200);
}

/// A thousand rows of today, all ended.
const MADE_TODAY: &str = "\
    INSERT INTO api_keys (id, prefix, environment, name, user_id, permissions, recipients, hash, created_at_ms, \
        revoked_at_ms) \
    WITH RECURSIVE up (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM up WHERE n < 1000) \
    SELECT 'key_' || n, 'sk_test_' || (10000000 + n), 'test', 'n', 'key:sk_test_merc', '*', '', \
        '$2b$12$01234567890123456789012345678901234567890123456789012', $1, $1 FROM up";

#[tokio::test]
async fn a_user_is_made_a_thousand_keys_a_day() {
    let app = TestApp::start().await;
    let made = make(&app, &json!({"name": "n"})).await;
    sqlx::query(MADE_TODAY).bind(app.now().0).execute(&database(&app).await).await.unwrap();
    app.chain.clock.advance(std::time::Duration::from_hours(23));
    let hashed = r#"api_key_bcrypt_duration_seconds_count{operation="hash"}"#;
    let before = app.count(hashed).await;
    for answer in [
        app.post("/api-keys", Some(KEY), &json!({"name": "n"})).await,
        rotate(&app, KEY, &made["id"], &json!({"overlapSeconds": 0})).await,
    ] {
        assert_eq!((answer.status, answer.code()), (409, "API_KEY_LIMIT_REACHED"), "{answer:?}");
        assert!(answer.body["error"].as_str().unwrap().contains("within a day"), "{answer:?}");
    }
    assert_eq!(app.count(hashed).await, before, "nothing was hashed for it");
    app.chain.clock.advance(std::time::Duration::from_hours(1));
    assert_eq!(rotate(&app, KEY, &made["id"], &json!({})).await.status, 200);
}

/// What was revoked is told to be, also where what comes from it cannot be read.
#[tokio::test]
async fn a_revocation_does_not_fail_after_it_is_done() {
    let app = TestApp::start().await;
    let [one, two] = [make(&app, &json!({"name": "n"})).await, make(&app, &json!({"name": "n"})).await];
    sqlx::query("DROP TABLE past_api_key_events").execute(&database(&app).await).await.unwrap();
    for _ in 0..2 {
        let answer = revoke(&app, KEY, &one["id"]).await;
        assert_eq!((answer.status, &answer.body["revokedAt"]), (200, &json!(app.now())), "{answer:?}");
        assert!(answer.body.get("activeDescendants").is_none(), "{answer:?}");
    }
    assert_eq!(status(&app, plain(&one)).await, 401);
    // The line cannot be read, so nothing of it ends.
    assert_eq!(revoke_line(&app, KEY, &two["id"], "true").await.status, 503);
    assert_eq!(status(&app, plain(&two)).await, 200);
}

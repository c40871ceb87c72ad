//! `/api-keys`: every field, every code.

use std::time::Duration;

use pay402::clock::UnixMs;
use serde_json::{Value, json};
use tokio::time::{Instant, sleep};

use super::{make, plain, revoke, status};
use crate::harness::{KEY, OTHER_KEY, TestApp, wire::PATIENCE, with};

#[tokio::test]
async fn a_key_is_made_used_listed_and_revoked() {
    let app = TestApp::start().await;
    let answer = app.post("/api-keys", Some(KEY), &json!({"name": "shop", "future": 1})).await;
    assert_eq!(answer.status, 201, "{answer:?}");
    assert_eq!(answer.headers["cache-control"], "no-store");
    let (made, key) = (&answer.body, plain(&answer.body));
    let prefix = made["keyPrefix"].as_str().unwrap();
    assert!(key.starts_with(prefix) && prefix.len() == 16 && key.len() > 50, "{made}");
    assert!(made["id"].as_str().unwrap().starts_with("key_"));
    let expected = json!({
        "id": made["id"], "keyPrefix": prefix, "name": "shop", "userId": "key:sk_test_merc", "environment": "test",
        "livemode": false, "permissions": ["*"], "recipients": [], "createdAt": app.now(), "expiresAt": null,
        "lastUsedAt": null, "revokedAt": null, "replacedBy": null, "createdBy": "sk_test_merc",
    });
    assert_eq!(*made, with(expected.clone(), "key", key));

    let list = app.get("/api-keys", Some(key)).await;
    let page = json!({"apiKeys": [expected], "total": 1, "limit": 50, "offset": 0});
    assert_eq!((list.status, &list.body), (200, &page), "it works, and is not shown again");

    app.chain.clock.advance(Duration::from_millis(5));
    let revoked = revoke(&app, KEY, &made["keyPrefix"]).await;
    let ended = with(expected, "revokedAt", app.now().0);
    let ended = with(with(ended, "revokedDescendants", json!([])), "activeDescendants", json!([]));
    assert_eq!((revoked.status, &revoked.body), (200, &ended));
    assert_eq!(status(&app, key).await, 401, "at once where it was revoked");
    app.chain.clock.advance(Duration::from_secs(5));
    let again = revoke(&app, KEY, &made["id"]).await;
    assert_eq!((again.status, &again.body), (200, &ended), "once revoked, it stays so");
}

#[tokio::test]
async fn a_key_with_everything() {
    let app = TestApp::start().await;
    let expires_at = app.now().0 + 60_000;
    let recipients = json!([app.agent_address(), app.merchant().to_string()]);
    let body = json!({
        "name": "é \u{1f680}", "environment": "test", "permissions": ["keys:manage", "verify", "verify"],
        "recipients": recipients, "expiresAt": expires_at,
    });
    let made = make(&app, &body).await;
    assert_eq!(made["permissions"], json!(["verify", "keys:manage"]));
    assert_eq!((&made["recipients"], &made["expiresAt"]), (&recipients, &json!(expires_at)));

    // The key's first recipient is who is paid.
    let body = json!({"amount": 1, "currency": "USDC"});
    let issued = app.issue(plain(&made), &body).await;
    assert_eq!((&issued["recipient"], &issued["livemode"]), (&recipients[0], &json!(false)));
    app.chain.clock.advance(Duration::from_millis(59_999));
    assert_eq!(status(&app, plain(&made)).await, 200);
    app.chain.clock.advance(Duration::from_millis(1));
    assert_eq!(status(&app, plain(&made)).await, 401);
}

#[tokio::test]
async fn every_field_that_is_wrong_is_named() {
    let app = TestApp::start().await;
    let now = app.now().0;
    let good = json!({"name": "n"});
    let too_many = vec![app.agent_address(); 17];
    let cases = [
        ("name", json!(null)),
        ("name", json!("")),
        ("name", json!("x".repeat(101))),
        ("name", json!("a\u{0}b")),
        ("name", json!(1)),
        ("environment", json!("live")),
        ("environment", json!("prod")),
        ("permissions", json!([])),
        ("permissions", json!("verify")),
        ("permissions", json!(["verify", "root"])),
        ("recipients", json!(["nobody"])),
        ("recipients", json!(too_many)),
        ("expiresAt", json!(now)),
        ("expiresAt", json!("tomorrow")),
    ];
    for (field, value) in cases {
        let answer = app.post("/api-keys", Some(KEY), &with(good.clone(), field, value)).await;
        assert_eq!((answer.status, answer.code()), (400, "VALIDATION_FAILED"), "{answer:?}");
        if field != "name" || answer.fields() != ["name"] {
            assert_eq!(answer.fields(), [field], "{answer:?}");
        }
    }
    let all = json!({"environment": 1, "permissions": 1, "recipients": 1, "expiresAt": 1});
    let answer = app.post("/api-keys", Some(KEY), &all).await;
    let fields = ["name", "environment", "permissions", "recipients", "expiresAt"];
    assert_eq!((answer.status, answer.fields()), (400, fields.to_vec()), "{answer:?}");
    assert_eq!(app.get("/api-keys", Some(KEY)).await.body["total"], 0);
}

#[tokio::test]
async fn lists_hold_the_own_users_keys_newest_first() {
    let app = TestApp::start().await;
    let mut ids = Vec::new();
    for number in 1..=3 {
        app.chain.clock.advance(Duration::from_millis(5));
        ids.insert(0, make(&app, &json!({"name": format!("{number}")})).await["id"].clone());
    }
    let page = async |query: &str, key| {
        let body = app.get(&format!("/api-keys{query}"), Some(key)).await.body;
        let found = body["apiKeys"].as_array().unwrap().iter().map(|key| key["id"].clone());
        (found.collect::<Vec<Value>>(), body["total"].clone(), body["limit"].clone(), body["offset"].clone())
    };
    assert_eq!(page("", KEY).await, (ids.clone(), json!(3), json!(50), json!(0)));
    assert_eq!(page("?limit=1&offset=1", KEY).await, (ids[1..2].to_vec(), json!(3), json!(1), json!(1)));
    assert_eq!(page("", OTHER_KEY).await, (vec![], json!(0), json!(50), json!(0)));
    assert_eq!(app.get("/api-keys?limit=0", Some(KEY)).await.fields(), ["limit"]);
}

#[tokio::test]
async fn anothers_key_does_not_exist() {
    let app = TestApp::start().await;
    let made = make(&app, &json!({"name": "n"})).await;
    let unknown = json!("key_00000000000000000000000000");
    let bootstrap = json!("sk_test_merc");
    for (by, id) in [
        (OTHER_KEY, &made["id"]),
        (OTHER_KEY, &made["keyPrefix"]),
        (KEY, &unknown),
        // Of the configuration's keys none is in the database.
        (KEY, &bootstrap),
    ] {
        let revoked = revoke(&app, by, id).await;
        let path = format!("/api-keys/{}/rotate", id.as_str().unwrap());
        let rotated = app.post(&path, Some(by), &json!({})).await;
        for answer in [revoked, rotated] {
            assert_eq!((answer.status, answer.code()), (404, "NOT_FOUND"), "{answer:?}");
        }
    }
    assert_eq!(status(&app, plain(&made)).await, 200);
}

#[tokio::test]
async fn a_key_may_revoke_itself() {
    let app = TestApp::start().await;
    let made = make(&app, &json!({"name": "n"})).await;
    assert_eq!(revoke(&app, plain(&made), &made["id"]).await.status, 200);
    assert_eq!(revoke(&app, plain(&made), &made["id"]).await.status, 401);
}

/// Under an `Idempotency-Key` one key is made, and shown the first time only: what is kept does not hold it.
#[tokio::test]
async fn a_key_is_shown_once_even_when_asked_for_twice() {
    let app = TestApp::start().await;
    let post = async |path: &str, body: &Value| {
        let request = app.http.post(app.path(path)).header("idempotency-key", "once").json(body);
        app.send(request, Some(KEY)).await
    };
    let first = post("/api-keys", &json!({"name": "n"})).await;
    let again = post("/api-keys", &json!({"name": "n"})).await;
    let mut expected = first.body.clone();
    expected.as_object_mut().unwrap().remove("key").expect("the first time");
    assert_eq!((again.status, &again.body), (201, &expected));
    assert_eq!(again.headers["idempotent-replayed"], "true");
    assert_eq!(app.get("/api-keys", Some(KEY)).await.body["total"], 1);
    assert_eq!(status(&app, plain(&first.body)).await, 200);

    let request = || {
        let path = app.path(&format!("/api-keys/{}/rotate", first.body["keyPrefix"].as_str().unwrap()));
        app.http.post(path).header("idempotency-key", "rotate").json(&json!({}))
    };
    let first = app.send(request(), Some(KEY)).await;
    let again = app.send(request(), Some(KEY)).await;
    let mut expected = first.body.clone();
    expected.as_object_mut().unwrap().remove("key").expect("the first time");
    assert_eq!((again.status, &again.body), (200, &expected), "it is not rotated twice");
}

/// The plain key is in no file of the database's.
#[tokio::test]
async fn the_plain_key_is_nowhere() {
    let app = TestApp::start().await;
    let request = app.http.post(app.path("/api-keys")).header("idempotency-key", "once");
    let made = app.send(request.json(&json!({"name": "findable"})), Some(KEY)).await.body;
    let path = format!("/api-keys/{}/rotate", made["id"].as_str().unwrap());
    let rotated = app.post(&path, Some(plain(&made)), &json!({})).await.body;
    let keys = [plain(&made).to_owned(), plain(&rotated).to_owned(), KEY.to_owned()];
    let search = |folder: &std::path::Path, text: &str| {
        std::fs::read_dir(folder).unwrap().any(|file| {
            let bytes = std::fs::read(file.unwrap().path()).unwrap();
            bytes.windows(text.len()).any(|window| window == text.as_bytes())
        })
    };
    assert!(search(app.folder.path(), "findable"), "what is there is found");
    for key in &keys {
        assert!(!search(app.folder.path(), key));
        // Nor the secret part of it alone.
        assert!(!search(app.folder.path(), &key[16..]));
    }
    let (_chain, folder) = app.stop().await;
    assert!(keys.iter().all(|key| !search(folder.path(), key)));
}

#[tokio::test]
async fn when_a_key_was_last_used() {
    let app = TestApp::start().await;
    let made = make(&app, &json!({"name": "n"})).await;
    app.chain.clock.advance(Duration::from_secs(7));
    assert_eq!(status(&app, plain(&made)).await, 200);
    // Behind the request: first it is not there, then it is.
    let last_used = async || app.get("/api-keys", Some(KEY)).await.body["apiKeys"][0]["lastUsedAt"].clone();
    let deadline = Instant::now() + Duration::from_mins(1);
    while last_used().await != json!(app.now()) {
        assert!(Instant::now() < deadline, "it is not written");
        sleep(Duration::from_millis(50)).await;
    }
    app.chain.clock.advance(Duration::from_secs(7));
    assert_eq!(status(&app, plain(&made)).await, 200);
    let used_at = app.now();
    let (chain, folder) = app.stop().await;
    let app = TestApp::on(chain, folder, |environment, _| environment).await;
    let list = app.get("/api-keys", Some(KEY)).await.body;
    assert_eq!(
        list["apiKeys"][0]["lastUsedAt"],
        json!(used_at),
        "written at the latest when the service ends"
    );
    assert_eq!(status(&app, plain(&made)).await, 200, "keys outlive the service");
}

/// However often keys are used, in one statement; and once more as long as the database does not take it.
#[tokio::test]
async fn what_is_noted_of_the_use_of_keys_is_written_together_and_not_lost() {
    let app = TestApp::start().await;
    let mut keys = Vec::new();
    for _ in 0..4 {
        let made = make(&app, &json!({"name": "n"})).await;
        assert_eq!(status(&app, plain(&made)).await, 200);
        keys.push(made);
    }
    let all_used_at = async |at: UnixMs| {
        let list = app.get("/api-keys", Some(KEY)).await.body;
        list["apiKeys"].as_array().unwrap().iter().filter(|key| key["lastUsedAt"] == json!(at)).count() == 4
    };
    let deadline = Instant::now() + PATIENCE;
    while !all_used_at(app.now()).await {
        assert!(Instant::now() < deadline, "it is not written");
        sleep(Duration::from_millis(50)).await;
    }
    let url = format!("sqlite://{}", app.folder.path().join("pay402.db").display());
    let database = sqlx::SqlitePool::connect(&url).await.unwrap();
    sqlx::query(
        "CREATE TRIGGER refuse BEFORE UPDATE OF last_used_at_ms ON api_keys BEGIN SELECT RAISE(ABORT, 'no'); END",
    )
    .execute(&database)
    .await
    .unwrap();
    let statements = r#"database_query_total{operation="update",table="api_keys"}"#;
    app.chain.clock.advance(Duration::from_secs(7));
    for _ in 0..5 {
        for key in &keys {
            assert_eq!(status(&app, plain(key)).await, 200);
        }
    }
    let (used_at, before) = (app.now(), app.count(statements).await);
    while app.count(statements).await < before + 2 {
        assert!(Instant::now() < deadline, "it is not tried again");
        sleep(Duration::from_millis(50)).await;
    }
    assert!(!all_used_at(used_at).await);
    sqlx::query("DROP TRIGGER refuse").execute(&database).await.unwrap();
    let before = app.count(statements).await;
    while !all_used_at(used_at).await {
        assert!(Instant::now() < deadline, "it is lost");
        sleep(Duration::from_millis(50)).await;
    }
    assert!(app.count(statements).await <= before + 1, "twenty uses are one statement");
}

//! How a presented key is told to be good: what it costs, what it shows, and what stands in the way.

use std::time::Duration;

use futures_util::future::join_all;
use serde_json::{Value, json};
use tokio::time::{Instant, sleep};

use super::{make, plain, revoke, spoilt, status};
use crate::harness::{KEY, OTHER_KEY, TestApp, postgres::PostgresServer};

const LOOK_UPS: &str = r#"database_query_total{operation="select",table="api_keys"}"#;
const BCRYPT: &str = r#"api_key_bcrypt_duration_seconds_count{operation="verify"}"#;
const HASHED: &str = r#"api_key_bcrypt_duration_seconds_count{operation="hash"}"#;
const INVENTED: &str = r#"api_key_checks_total{result="invented"}"#;
const SECRETS: &str = r#"database_query_total{operation="select",table="server_secrets"}"#;
const KEEPS: &str = r#"database_query_total{operation="insert",table="server_secrets"}"#;
const REFUSED: &str = r#"api_key_checks_total{result="refused"}"#;

/// Whatever is invented is turned away by arithmetic: no look-up, no bcrypt; one that looks like a key in the database no
/// less than one that looks like nothing.
#[tokio::test]
async fn nothing_is_looked_up_for_an_invented_key() {
    let app = TestApp::start().await;
    let made = make(&app, &json!({"name": "n"})).await;
    let key = plain(&made);
    let body = &key["sk_test_".len()..];
    let counts = async || (app.count(LOOK_UPS).await, app.count(BCRYPT).await);
    let before = counts().await;
    let invented = [
        spoilt(key),
        // The public part of a key that there is, and another secret.
        format!("{}{}", &key[..16], key[16..].chars().rev().collect::<String>()),
        format!("sk_live_{body}"),
        format!("sk_test_{}", bs58::encode([7; 38]).into_string()),
        format!("{key}1"),
        key[..key.len() - 1].to_owned(),
        key.to_uppercase(),
        spoilt(KEY),
        made["keyPrefix"].as_str().unwrap().to_owned(),
        "x".repeat(73),
        "x".repeat(5000),
    ];
    for text in &invented {
        assert_eq!(status(&app, text).await, 401, "{text}");
    }
    assert_eq!(counts().await, before);
    assert_eq!(app.count(INVENTED).await, invented.len() as u64);
    assert_eq!(status(&app, key).await, 200);
    assert_eq!(counts().await, (before.0 + 1, before.1 + 1), "and a good one is seen in the counters");
}

/// Of a key that once was, too: it is looked up, but never given to bcrypt, and remembered like a good one.
#[tokio::test]
async fn every_401_is_the_same() {
    let app = TestApp::start().await;
    let revoked = make(&app, &json!({"name": "n"})).await;
    revoke(&app, KEY, &revoked["id"]).await;
    let expired = make(&app, &json!({"name": "n", "expiresAt": app.now().0 + 1})).await;
    let bcrypt = app.count(BCRYPT).await;
    let gone = make(&app, &json!({"name": "n"})).await;
    let url = format!("sqlite://{}", app.folder.path().join("pay402.db").display());
    let database = sqlx::SqlitePool::connect(&url).await.unwrap();
    for statement in ["DELETE FROM api_key_events WHERE key_id = $1", "DELETE FROM api_keys WHERE id = $1"] {
        sqlx::query(statement).bind(gone["id"].as_str()).execute(&database).await.unwrap();
    }
    app.chain.clock.advance(Duration::from_millis(1));
    let told = |answer: &crate::harness::Answer| {
        let mut headers: Vec<_> = answer.headers.iter().collect();
        headers.retain(|(name, _)| !["x-request-id", "date", "ratelimit-remaining"].contains(&name.as_str()));
        let mut body = answer.body.clone();
        assert!(body.as_object_mut().unwrap().remove("requestId").is_some());
        format!("{} {headers:?} {body}", answer.status)
    };
    let look = async |key: &str| told(&app.get("/payments", Some(key)).await);
    let invented = look("sk_test_nobody_at_all_0123456789").await;
    assert!(invented.starts_with("401"), "{invented}");
    let lookups = app.count(LOOK_UPS).await;
    let ended = [plain(&revoked), plain(&expired), plain(&gone)];
    for seconds in [0, 1, 58] {
        app.chain.clock.advance(Duration::from_secs(seconds));
        // What this instance changes does not have them be read again either.
        make(&app, &json!({"name": "n"})).await;
        for key in ended {
            assert_eq!(look(key).await, invented, "{seconds} s later");
        }
    }
    let made = 3;
    assert_eq!(app.count(LOOK_UPS).await, lookups + 3 + made, "once for each within a minute");
    assert_eq!((app.count(BCRYPT).await, app.count(REFUSED).await), (bcrypt, 9));
    app.chain.clock.advance(Duration::from_secs(1));
    for key in ended {
        assert_eq!(look(key).await, invented);
    }
    assert_eq!(app.count(LOOK_UPS).await, lookups + 6 + made);
    // A good tag under another environment, no tag, another secret under the prefix of a key that there is; no key at all.
    let lookups = app.count(LOOK_UPS).await;
    let revoked = plain(&revoked);
    for text in [
        &spoilt(revoked),
        &revoked.replacen("sk_test_", "sk_live_", 1),
        &format!("{}{}", &revoked[..16], revoked[16..].chars().rev().collect::<String>()),
        "x",
        &"x".repeat(73),
    ] {
        assert_eq!(look(text).await, invented, "{text}");
    }
    for unreadable in ["Bearer", "Basic eDp4", "Digest x", "sk_test_x"] {
        let request = app.http.get(app.path("/payments")).header("authorization", unreadable);
        assert_eq!(told(&app.send(request, None).await), invented, "{unreadable}");
    }
    assert_eq!((app.count(LOOK_UPS).await, app.count(BCRYPT).await), (lookups, bcrypt));
}

/// Making keys has a bcrypt of its own: those that are presented for the first time meanwhile do not stand in its queue.
#[tokio::test(flavor = "multi_thread")]
async fn making_keys_does_not_keep_others_from_being_checked() {
    let app = TestApp::start().await;
    let made = make(&app, &json!({"name": "n"})).await;
    let before = app.count(HASHED).await;
    let body = json!({"name": "n"});
    let making = join_all((0..8).map(|number| {
        let by = if number % 2 == 0 { KEY } else { OTHER_KEY };
        app.post("/api-keys", Some(by), &body)
    }));
    let checking = async {
        while app.count(HASHED).await == before {
            tokio::task::yield_now().await;
        }
        assert_eq!(status(&app, plain(&made)).await, 200);
        app.count(HASHED).await - before
    };
    let (answers, hashed) = tokio::join!(making, checking);
    assert!(answers.iter().all(|answer| answer.status == 201), "{answers:?}");
    assert!(hashed < 8, "it was checked after all of them");
}

/// bcrypt reads 72 bytes; what differs only after them must not pass for the key.
#[tokio::test]
async fn what_bcrypt_would_not_read_is_read() {
    let longest = format!("sk_test_{}", "k".repeat(64));
    let app = TestApp::with(|environment, _| environment.with("VALID_API_KEYS", &longest)).await;
    assert_eq!(status(&app, &longest).await, 200);
    for more in ["x", "y", "~~"] {
        let answer = app.send(app.http.get(app.path("/payments")), Some(&format!("{longest}{more}"))).await;
        assert_eq!(answer.status, 401);
    }
    assert_eq!(status(&app, &longest[..71]).await, 401);
}

#[tokio::test(flavor = "multi_thread")]
async fn concurrent_requests_with_one_key_share_the_work() {
    let app = TestApp::start().await;
    let made = make(&app, &json!({"name": "n"})).await;
    let statuses = join_all((0..64).map(|_| status(&app, plain(&made)))).await;
    assert_eq!(statuses, [200; 64]);
    assert_eq!(app.count(BCRYPT).await, 1);
    assert!(app.count(LOOK_UPS).await <= 2);
    // The row is read again in time, and bcrypt is not run for it.
    for _ in 0..3 {
        app.chain.clock.advance(Duration::from_millis(900));
        assert_eq!(status(&app, plain(&made)).await, 200);
    }
    assert_eq!(app.count(BCRYPT).await, 1);
    assert!(app.count(LOOK_UPS).await >= 4);
}

/// Whoever asked first and hung up has not stopped it for the others.
#[tokio::test(flavor = "multi_thread")]
async fn a_caller_who_hangs_up_stops_nobody() {
    let app = TestApp::start().await;
    let made = make(&app, &json!({"name": "n"})).await;
    let hang_up = async || {
        let client = reqwest::Client::new();
        let request = client.get(app.path("/payments")).header("x-api-key", plain(&made)).send();
        let _ = tokio::time::timeout(Duration::from_millis(30), request).await;
    };
    let (_, statuses) = tokio::join!(
        join_all((0..8).map(|_| hang_up())),
        join_all((0..8).map(|_| status(&app, plain(&made))))
    );
    assert_eq!(statuses, [200; 8]);
    assert_eq!(app.count(BCRYPT).await, 1);
}

/// bcrypt has a queue. A key that ends while it waits there opens nothing: the row is read again before it is judged.
#[tokio::test(flavor = "multi_thread")]
async fn a_key_that_ends_while_bcrypt_is_waited_for() {
    let app = TestApp::start().await;
    let url = format!("sqlite://{}", app.folder.path().join("pay402.db").display());
    let database = sqlx::SqlitePool::connect(&url).await.unwrap();
    let mut keys = Vec::new();
    for _ in 0..5 {
        keys.push(make(&app, &json!({"name": "n"})).await);
    }
    let [here, elsewhere, beside] = [&keys[2], &keys[3], &keys[4]];
    // Two run at a time, in the order they came. The first two take seconds each, and are no matches: no key has such a
    // hash.
    let mut connection = database.acquire().await.unwrap();
    sqlx::query("PRAGMA ignore_check_constraints = ON").execute(&mut *connection).await.unwrap();
    let dear = "UPDATE api_keys SET hash = '$2b$15$' || substr(hash, 8) WHERE id IN ($1, $2)";
    let dear = sqlx::query(dear).bind(keys[0]["id"].as_str()).bind(keys[1]["id"].as_str());
    assert_eq!(dear.execute(&mut *connection).await.unwrap().rows_affected(), 2);
    let before = app.count(BCRYPT).await;
    let revoking = async {
        while app.count(LOOK_UPS).await < 5 {
            tokio::task::yield_now().await;
        }
        revoke(&app, KEY, &here["id"]).await;
        // By another instance, and a second passes.
        let update = sqlx::query("UPDATE api_keys SET revoked_at_ms = 1 WHERE id = $1");
        update.bind(elsewhere["id"].as_str()).execute(&mut *connection).await.unwrap();
        app.chain.clock.advance(Duration::from_secs(1));
        assert_eq!(app.count(BCRYPT).await, before, "it was too late");
    };
    let first = join_all(keys[..2].iter().map(|key| status(&app, plain(key))));
    let last = async {
        while app.count(LOOK_UPS).await < 2 {
            tokio::task::yield_now().await;
        }
        join_all([here, elsewhere, beside].map(|key| status(&app, plain(key)))).await
    };
    let (first, last, ()) = tokio::join!(first, last, revoking);
    assert_eq!((first, last), (vec![401; 2], vec![401, 401, 200]));
}

/// Changed behind the service's back, as another instance or the operator would.
#[tokio::test]
async fn a_change_made_elsewhere_holds_within_a_second() {
    let app = TestApp::start().await;
    let url = format!("sqlite://{}", app.folder.path().join("pay402.db").display());
    let database = sqlx::SqlitePool::connect(&url).await.unwrap();
    let made = make(&app, &json!({"name": "n"})).await;
    let key = plain(&made);
    assert_eq!(status(&app, key).await, 200);
    let (hash, no_hash) = (format!("$2b$12${}", ".".repeat(53)), format!("$2b$12${}", "0".repeat(53)));
    // Nobody takes back that a key has ended; whoever does in the database waits a minute.
    let (second, minute) = (900, 60_000);
    let changes = [
        ("UPDATE api_keys SET permissions = 'settle', hash = hash || $1", "", second, 403),
        ("UPDATE api_keys SET permissions = '*', hash = hash || $1", "", second, 200),
        ("UPDATE api_keys SET expires_at_ms = 1, hash = hash || $1", "", second, 401),
        ("UPDATE api_keys SET expires_at_ms = NULL, hash = hash || $1", "", second, 401),
        ("UPDATE api_keys SET expires_at_ms = NULL, hash = hash || $1", "", minute, 200),
        ("UPDATE api_keys SET revoked_at_ms = 1, hash = hash || $1", "", second, 401),
        ("UPDATE api_keys SET revoked_at_ms = NULL, hash = hash || $1", "", minute, 200),
        // Another secret under the same prefix.
        ("UPDATE api_keys SET hash = $1", &hash, second, 401),
        ("UPDATE api_keys SET hash = $1", &no_hash, second, 401),
        ("DELETE FROM api_key_events WHERE id <> $1", "", second, 401),
        ("DELETE FROM api_keys WHERE id <> $1", "", second, 401),
    ];
    for (change, value, wait_ms, expected) in changes {
        let query = sqlx::query(change).bind(value);
        assert_eq!(query.execute(&database).await.unwrap().rows_affected(), 1, "{change}");
        app.chain.clock.advance(Duration::from_millis(wait_ms));
        assert_eq!(status(&app, key).await, expected, "{change}");
    }
}

#[tokio::test]
async fn a_key_of_the_other_environment_opens_nothing() {
    let app = TestApp::start().await;
    let url = format!("sqlite://{}", app.folder.path().join("pay402.db").display());
    let database = sqlx::SqlitePool::connect(&url).await.unwrap();
    let made = make(&app, &json!({"name": "n"})).await;
    assert_eq!(status(&app, plain(&made)).await, 200);
    let live = "UPDATE api_keys SET environment = 'live', prefix = replace(prefix, 'sk_test_', 'sk_live_')";
    sqlx::query(live).execute(&database).await.unwrap();
    app.chain.clock.advance(Duration::from_secs(1));
    for text in [plain(&made).to_owned(), plain(&made).replacen("sk_test_", "sk_live_", 1)] {
        assert_eq!(status(&app, &text).await, 401);
    }
}

/// While the database does not answer, what was read last stands for a minute; after that nobody can tell.
#[tokio::test(flavor = "multi_thread")]
async fn without_the_database_a_row_stands_for_a_minute() {
    let mut server = PostgresServer::start().await;
    let app = TestApp::with(|environment, _| environment.with("DATABASE_URL", server.url())).await;
    let made = make(&app, &json!({"name": "n"})).await;
    let unseen = make(&app, &json!({"name": "n"})).await;
    let revoked = make(&app, &json!({"name": "n"})).await;
    assert_eq!(status(&app, plain(&made)).await, 200);
    revoke(&app, KEY, &revoked["id"]).await;
    assert_eq!(status(&app, plain(&revoked)).await, 401);

    server.stop().await;
    // Refused before the database is asked for anything else, so that only the key counts.
    let ask = async |key: &str| {
        let answer = app.post("/requirements", Some(key), &json!({})).await;
        (answer.status, answer.code().to_owned())
    };
    let malformed = (400, "VALIDATION_FAILED".to_owned());
    let away = (503, "DATABASE_UNAVAILABLE".to_owned());
    let wrong = (401, "INVALID_API_KEY".to_owned());
    for seconds in [0, 30, 29] {
        app.chain.clock.advance(Duration::from_secs(seconds));
        assert_eq!(ask(plain(&made)).await, malformed, "{seconds} s later");
        assert_eq!(ask(plain(&revoked)).await, wrong);
        assert_eq!(ask(KEY).await, malformed, "of the configuration's keys nothing is in the database");
        assert_eq!(ask(&spoilt(plain(&made))).await, wrong);
    }
    assert_eq!(ask(plain(&unseen)).await, away);
    app.chain.clock.advance(Duration::from_secs(2));
    assert_eq!(ask(plain(&made)).await, away);
    assert_eq!(ask(plain(&revoked)).await, away, "nothing is told of what cannot be known");

    server.restart().await;
    let deadline = Instant::now() + Duration::from_mins(1);
    for (key, expected) in [(&made, &malformed), (&unseen, &malformed), (&revoked, &wrong)] {
        let told = loop {
            app.chain.clock.advance(Duration::from_secs(1));
            let told = ask(plain(key)).await;
            // A connection of before is noticed to be gone by whoever uses it next, and nobody tries again at once.
            if told != away || Instant::now() > deadline {
                break told;
            }
        };
        assert_eq!(told, *expected);
    }
    assert_eq!(app.count(BCRYPT).await, 2, "nothing was forgotten meanwhile");
}

/// What this instance has ended opens nothing here from then on, also when the database goes away before the row is read
/// again.
#[tokio::test(flavor = "multi_thread")]
async fn what_was_ended_here_stays_so_without_the_database() {
    let mut server = PostgresServer::start().await;
    let app = TestApp::with(|environment, _| environment.with("DATABASE_URL", server.url())).await;
    let mut made = Vec::new();
    for _ in 0..4 {
        made.push(make(&app, &json!({"name": "n"})).await);
    }
    let [revoked, parent, rotated, beside] = <[Value; 4]>::try_from(made).unwrap();
    let child = app.post("/api-keys", Some(plain(&parent)), &json!({"name": "n"})).await.body;
    for key in [&revoked, &rotated, &beside, &child] {
        assert_eq!(status(&app, plain(key)).await, 200);
    }
    revoke(&app, KEY, &revoked["id"]).await;
    let path = app.path(&format!("/api-keys/{}?descendants=true", parent["id"].as_str().unwrap()));
    assert_eq!(app.send(app.http.delete(path), Some(KEY)).await.status, 200);
    let path = format!("/api-keys/{}/rotate", rotated["id"].as_str().unwrap());
    let body = json!({"overlapSeconds": 1});
    assert_eq!(app.post(&path, Some(KEY), &body).await.status, 200);

    server.stop().await;
    let ask = async |key: &Value| app.post("/requirements", Some(plain(key)), &json!({})).await.status;
    assert_eq!((ask(&revoked).await, ask(&child).await), (401, 401));
    assert_eq!((ask(&rotated).await, ask(&beside).await), (400, 400), "they stand");
    app.chain.clock.advance(Duration::from_secs(1));
    assert_eq!((ask(&rotated).await, ask(&beside).await), (401, 400), "its overlap is over");
}

/// A database that takes seconds to answer is waited for by nobody whose row stands, and its answers count all the same.
#[tokio::test(flavor = "multi_thread")]
async fn a_slow_database_is_read_behind_the_requests() {
    let server = PostgresServer::start().await;
    let app = TestApp::with(|environment, _| environment.with("DATABASE_URL", server.url())).await;
    let made = make(&app, &json!({"name": "n"})).await;
    assert_eq!(status(&app, plain(&made)).await, 200);
    let ask = async || app.post("/requirements", Some(plain(&made)), &json!({})).await.status;
    let mut operator = server.connect().await;
    let mut waited = 0;
    for _ in 0..4 {
        app.chain.clock.advance(Duration::from_secs(40));
        sqlx::query("BEGIN").execute(&mut operator).await.unwrap();
        sqlx::query("LOCK TABLE api_keys IN ACCESS EXCLUSIVE MODE").execute(&mut operator).await.unwrap();
        let before = app.count(LOOK_UPS).await;
        let started = Instant::now();
        assert_eq!(ask().await, 400, "what was read at most 40 s ago stands");
        waited += started.elapsed().as_millis();
        assert_eq!(ask().await, 400, "and is not waited for again at once");
        assert_eq!(app.count(LOOK_UPS).await, before);
        sqlx::query("ROLLBACK").execute(&mut operator).await.unwrap();
        let deadline = Instant::now() + Duration::from_secs(30);
        while app.count(LOOK_UPS).await == before {
            assert!(Instant::now() < deadline, "the reading was given up");
            sleep(Duration::from_millis(10)).await;
        }
        // Its answer may not have been taken in yet, unlike that of another.
        app.chain.clock.advance(Duration::from_secs(1));
        assert_eq!(ask().await, 400);
    }
    assert!(waited >= 4 * 1000, "{waited} ms: it was waited for");
}

/// Before anybody presents a key the service can tell those that were made here.
#[tokio::test(flavor = "multi_thread")]
async fn the_secret_is_there_before_it_is_needed() {
    let mut server = PostgresServer::start().await;
    let app = TestApp::with(|environment, _| environment.with("DATABASE_URL", server.url())).await;
    let deadline = Instant::now() + Duration::from_secs(30);
    while app.count(SECRETS).await == 0 || app.count(KEEPS).await == 0 {
        assert!(Instant::now() < deadline, "nobody asks for it");
        sleep(Duration::from_millis(10)).await;
    }
    server.stop().await;
    assert_eq!(status(&app, &invented(1)).await, 401);
}

/// A key of the right shape that was never made.
fn invented(number: u8) -> String {
    format!("sk_test_{}", bs58::encode([number; 38]).into_string())
}

/// While the secret cannot be had, nobody asks the database for every key that is presented, and whoever presents too many
/// is told so without.
#[tokio::test(flavor = "multi_thread")]
async fn without_the_secret_nothing_piles_up() {
    let app = TestApp::with(|environment, _| {
        environment.with("AUTO_MIGRATE", "false").with("RATE_LIMIT_PUBLIC", "150")
    })
    .await;
    let answers = join_all((0..100).map(async |number| {
        let answer = app.get("/payments", Some(&invented(number))).await;
        (answer.status, answer.code().to_owned())
    }));
    assert_eq!(answers.await, vec![(503, "DATABASE_UNAVAILABLE".to_owned()); 100]);
    let asked = app.count(SECRETS).await;
    assert!(asked <= 10, "{asked} questions for 100 keys");
    let mut refused = 0;
    for number in 0..60 {
        refused += usize::from(status(&app, &invented(number)).await == 429);
    }
    assert_eq!(refused, 10, "the others were counted");
    let unavailable = app.count(r#"api_key_checks_total{result="unavailable"}"#).await;
    assert!((150..153).contains(&unavailable), "{unavailable}: those who were refused were not looked at");

    let config = pay402::config::DatabaseUrl::Sqlite(app.folder.path().join("pay402.db"));
    let books = pay402::app::open_books(&config, &std::sync::Arc::default()).await;
    books.unwrap().database.migrate().await.unwrap();
    app.chain.clock.advance(Duration::from_mins(2));
    let deadline = Instant::now() + Duration::from_mins(1);
    while status(&app, &invented(1)).await != 401 {
        assert!(Instant::now() < deadline, "the secret is not asked for again");
        sleep(Duration::from_millis(100)).await;
        app.chain.clock.advance(Duration::from_secs(1));
    }
}

#[tokio::test]
async fn livemode_is_told() {
    let app = TestApp::start().await;
    let answer = app.verify(&app.proof(&app.pay_merchant(), "n")).await;
    answer.assert_valid();
    assert_eq!(answer.body["payment"]["livemode"], Value::Bool(false), "{answer:?}");
    let live = "merchant_0123456789abcdefghijklmnopqrst";
    let app = TestApp::with(|environment, _| {
        environment.with("SOLANA_NETWORK", "mainnet-beta").with("VALID_API_KEYS", live)
    })
    .await;
    let plan = json!({"name": "n", "pricePerMonth": 1, "currency": "USDC"});
    let request = || app.http.post(app.path("/plans")).json(&plan);
    // In a task of its own, too.
    for request in [request(), request().header("idempotency-key", "k")] {
        let answer = app.send(request, Some(live)).await;
        assert_eq!((answer.status, &answer.body["livemode"]), (201, &Value::Bool(true)), "{answer:?}");
    }
}

//! `Idempotency-Key`.

use std::{sync::Arc, time::Duration};

use pay402::{
    housekeeping::Housekeeping,
    metrics::Metrics,
    sandbox::{
        Hold,
        faults::{ALWAYS, ANY},
    },
    store::sqlite::SqliteStore,
};
use serde_json::{Value, json};
use solana_signature::Signature;
use tokio::time::{Instant, sleep};

use super::largest_usage;
use crate::harness::{
    Answer, KEY, OTHER_KEY, Paid, TestApp,
    process::{output, pay402},
    wire::PATIENCE,
    with,
};

async fn post(app: &TestApp, path: &str, key: Option<&str>, idempotency: &str, body: &Value) -> Answer {
    let request = app.http.post(app.path(path)).header("idempotency-key", idempotency).json(body);
    app.send(request, key).await
}

fn is_replayed(answer: &Answer) -> bool {
    answer.headers.get("idempotent-replayed").is_some_and(|value| value == "true")
}

#[tokio::test]
async fn the_same_request_gets_the_same_answer() {
    let app = TestApp::start().await;
    let proof = app.proof(&app.pay_merchant(), "n");
    let first = post(&app, "/verify", Some(KEY), "once", &proof).await;
    first.assert_valid();
    assert!(!is_replayed(&first));
    for _ in 0..2 {
        let again = post(&app, "/verify", Some(KEY), "once", &proof).await;
        assert!(is_replayed(&again), "{again:?}");
        assert_eq!((again.status, &again.body), (200, &first.body));
        assert_ne!(again.headers["x-request-id"], first.headers["x-request-id"]);
    }
    app.verify(&proof).await.assert_refused("REPLAY_ATTACK");
    assert_eq!(app.booked().await, 1);

    let body = json!({"amount": "1", "currency": "USDC"});
    let issued = post(&app, "/requirements", Some(KEY), "issue", &body).await;
    let again = post(&app, "/requirements", Some(KEY), "issue", &body).await;
    assert_eq!((again.status, &again.body), (201, &issued.body), "no second requirement is issued");
}

#[tokio::test]
async fn a_refusal_is_an_answer_too() {
    let app = TestApp::start().await;
    let proof = with(app.proof(&app.pay_merchant(), "n"), "amount", "0.06");
    let first = post(&app, "/verify", Some(KEY), "once", &proof).await;
    first.assert_refused("INSUFFICIENT_AMOUNT");
    let again = post(&app, "/verify", Some(KEY), "once", &proof).await;
    assert!(is_replayed(&again));
    assert_eq!(again.body, first.body);
}

#[tokio::test]
async fn another_request_under_the_same_key_is_a_conflict() {
    let app = TestApp::start().await;
    let proof = app.proof(&app.pay_merchant(), "n");
    post(&app, "/verify", Some(KEY), "once", &proof).await.assert_valid();
    let other = with(proof.clone(), "resource", "/b");
    for (path, body) in [("/verify", &other), ("/requirements", &proof)] {
        let answer = post(&app, path, Some(KEY), "once", body).await;
        assert_eq!((answer.status, answer.code()), (409, "IDEMPOTENCY_CONFLICT"));
    }
    // Other callers have keys of their own.
    post(&app, "/verify", Some(OTHER_KEY), "once", &proof).await.assert_refused("REPLAY_ATTACK");
    post(&app, "/verify", None, "once", &other).await.assert_refused("REPLAY_ATTACK");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_twin_that_is_still_running() {
    let app = TestApp::start().await;
    let proof = app.proof(&app.pay_merchant(), "n");
    let held = app.chain.sandbox.faults().hold("getTransaction", Hold::Before, 1);
    let (first, twins) = tokio::join!(post(&app, "/verify", Some(KEY), "once", &proof), async {
        held.arrived(1).await;
        let twins = (0..8).map(|_| post(&app, "/verify", Some(KEY), "once", &proof));
        let twins = futures_util::future::join_all(twins).await;
        held.release();
        twins
    });
    first.assert_valid();
    for twin in twins {
        assert_eq!((twin.status, twin.code()), (409, "IDEMPOTENCY_IN_PROGRESS"));
        assert!(twin.headers.contains_key("retry-after"));
    }
    let again = post(&app, "/verify", Some(KEY), "once", &proof).await;
    assert_eq!((is_replayed(&again), &again.body), (true, &first.body));
}

/// Whoever waited longer than is allowed is told what may have been done, and finds it under the same key.
#[tokio::test(flavor = "multi_thread")]
async fn a_request_that_takes_too_long_goes_on() {
    let app = TestApp::with(|environment, _| environment.with("REQUEST_TIMEOUT_SECONDS", "2")).await;
    let proof = app.proof(&app.pay_merchant(), "n");
    let held = app.chain.sandbox.faults().hold(ANY, Hold::Before, ALWAYS);
    let answer = post(&app, "/verify", Some(KEY), "once", &proof).await;
    assert_eq!((answer.status, answer.code()), (503, "OUTCOME_UNKNOWN"), "{answer:?}");
    assert!(answer.headers.contains_key("retry-after"), "{answer:?}");
    assert!(answer.headers.contains_key("ratelimit-remaining"), "{answer:?}");
    // What changes nothing has no outcome.
    let looked = app.get("/ready", None).await;
    assert_eq!((looked.status, looked.code()), (503, "TIMED_OUT"), "{looked:?}");
    held.release();
    let deadline = Instant::now() + PATIENCE;
    let settled = loop {
        let again = post(&app, "/verify", Some(KEY), "once", &proof).await;
        if again.status == 200 {
            break again;
        }
        assert!([409, 503].contains(&again.status) && Instant::now() < deadline, "{again:?}");
        sleep(Duration::from_millis(20)).await;
    };
    settled.assert_valid();
    assert_eq!(app.booked().await, 1);
}

#[tokio::test]
async fn trouble_of_ours_is_not_kept() {
    let app = TestApp::start().await;
    let unknown = Paid { transaction: Signature::from([7; 64]), ..app.pay_merchant() };
    let proof = app.proof(&unknown, "n");
    for _ in 0..2 {
        let answer = post(&app, "/verify", Some(KEY), "once", &proof).await;
        assert_eq!((answer.status, is_replayed(&answer)), (503, false));
    }
    let good = app.proof(&app.pay(&app.merchant(), 1, pay402::money::Currency::Sol), "n");
    post(&app, "/verify", Some(KEY), "once", &good).await.assert_valid();
}

#[tokio::test]
async fn answers_are_kept_for_a_day() {
    let app = TestApp::start().await;
    let body = json!({"amount": "1", "currency": "USDC"});
    let issued = post(&app, "/requirements", Some(KEY), "issue", &body).await;
    app.chain.clock.advance(Duration::from_hours(24) - Duration::from_secs(1));
    assert!(is_replayed(&post(&app, "/requirements", Some(KEY), "issue", &body).await));
    app.chain.clock.advance(Duration::from_secs(2));
    let anew = post(&app, "/requirements", Some(KEY), "issue", &body).await;
    assert_eq!((anew.status, is_replayed(&anew)), (201, false));
    assert_ne!(anew.body["nonce"], issued.body["nonce"]);
}

#[tokio::test]
async fn keys_out_of_range() {
    let app = TestApp::start().await;
    let body = json!({"amount": "1", "currency": "USDC"});
    assert_eq!(post(&app, "/requirements", Some(KEY), &"k".repeat(255), &body).await.status, 201);
    for key in ["", "a b", "a\tb", &"k".repeat(256)] {
        let answer = post(&app, "/requirements", Some(KEY), key, &body).await;
        assert_eq!((answer.status, answer.fields()), (400, vec!["Idempotency-Key"]));
    }
}

/// What was never decided is not kept: mended, the request can be sent under the same key.
#[tokio::test]
async fn what_could_not_be_read_is_not_kept() {
    let app = TestApp::start().await;
    let body = json!({"amount": "1", "currency": "USDC"});
    assert_eq!(post(&app, "/requirements", None, "k", &body).await.status, 401);
    assert_eq!(post(&app, "/requirements", Some(KEY), "k", &json!({"amount": 0})).await.status, 400);
    let issued = post(&app, "/requirements", Some(KEY), "k", &body).await;
    assert_eq!((issued.status, is_replayed(&issued)), (201, false));
}

/// The payment was booked and the process died before its answer was kept: sent again, the request gets the payment it
/// made, not a replay. Somebody else's request does not.
#[tokio::test]
async fn an_answer_that_was_lost() {
    let app = TestApp::start().await;
    let proof = app.proof(&app.pay_merchant(), "n");
    let first = post(&app, "/verify", Some(KEY), "once", &proof).await;
    first.assert_valid();
    let path = app.folder.path().join("pay402.db");
    let database = sqlx::SqlitePool::connect(&format!("sqlite://{}", path.display())).await.unwrap();
    let lost = sqlx::query("DELETE FROM idempotency_keys").execute(&database).await.unwrap();
    assert_eq!(lost.rows_affected(), 1);
    post(&app, "/verify", Some(KEY), "another", &proof).await.assert_refused("REPLAY_ATTACK");
    post(&app, "/verify", Some(OTHER_KEY), "once", &proof).await.assert_refused("REPLAY_ATTACK");
    let again = post(&app, "/verify", Some(KEY), "once", &proof).await;
    assert_eq!((again.status, is_replayed(&again), &again.body), (200, true, &first.body));

    // However late it is sent again.
    sqlx::query("DELETE FROM idempotency_keys").execute(&database).await.unwrap();
    app.chain.clock.advance(Duration::from_hours(1));
    app.verify(&proof).await.assert_refused("PAYMENT_EXPIRED");
    assert_eq!(post(&app, "/verify", Some(KEY), "once", &proof).await.body, first.body);
    assert_eq!(app.booked().await, 1);
}

/// Nobody's name is an address of somebody else's.
#[tokio::test]
async fn a_user_named_like_an_address_has_keys_of_their_own() {
    let app = TestApp::start().await;
    let proof = app.proof(&app.pay_merchant(), "n");
    post(&app, "/verify", None, "once", &proof).await.assert_valid();
    for user in ["127.0.0.1", "ip:127.0.0.1"] {
        let mut command = pay402(app.folder.path());
        command.args(["keys", "create", "--name", "n", "--user", user]).env("SOLANA_NETWORK", "sandbox");
        command.env("DATABASE_URL", format!("sqlite://{}", app.folder.path().join("pay402.db").display()));
        let made = output(&mut command);
        assert!(made.status.success(), "{made:?}");
        let key = String::from_utf8(made.stdout).unwrap();
        post(&app, "/verify", Some(key.trim()), "once", &proof).await.assert_refused("REPLAY_ATTACK");
    }
}

/// As much as can be sent comes back, and is kept.
#[tokio::test]
async fn the_largest_answer_is_kept() {
    let app = TestApp::start().await;
    let body = largest_usage(&app).await;
    let first = post(&app, "/usage", Some(KEY), "once", &body).await;
    assert_eq!((first.status, is_replayed(&first)), (201, false), "{}", first.code());
    let again = post(&app, "/usage", Some(KEY), "once", &body).await;
    assert_eq!((is_replayed(&again), &again.body), (true, &first.body));
}

/// What has run out is removed, and what it protected stays protected.
#[tokio::test]
async fn housekeeping_removes_what_has_run_out() {
    let app = TestApp::start().await;
    let path = app.folder.path().join("pay402.db");
    let store = Arc::new(SqliteStore::open(&path, Arc::new(Metrics::new())).await.unwrap());
    let clock = app.chain.clock.clone();
    let housekeeping = Housekeeping {
        payments: store.clone(),
        idempotency: store.clone(),
        agents: store.clone(),
        api_keys: store,
        clock,
    };
    let paid = app.pay_merchant();
    post(&app, "/verify", Some(KEY), "once", &app.proof(&paid, "n")).await.assert_valid();
    assert_eq!(housekeeping.round().await.unwrap(), 0);
    app.chain.clock.advance(Duration::from_hours(25));
    assert_eq!(housekeeping.round().await.unwrap(), 2, "the answer and the nonce");
    assert_eq!(housekeeping.round().await.unwrap(), 0);
    app.chain.sandbox.advance_slots(1);
    let again = app.pay(&app.merchant(), 1, pay402::money::Currency::Usdc);
    app.verify(&app.proof(&again, "n")).await.assert_refused("REPLAY_ATTACK");
    app.verify(&app.proof(&paid, "m")).await.assert_refused("REPLAY_ATTACK");
}

//! Requests that hold what others need, most of them under an `Idempotency-Key`.

use std::time::Duration;

use futures_util::future::join_all;
use pay402::{money::Currency, sandbox::Hold};
use serde_json::{Value, json};
use tokio::{
    task::JoinHandle,
    time::{Instant, sleep},
};

use crate::harness::{Answer, KEY, OTHER_KEY, Paid, TestApp, wire::PATIENCE, with};

/// More than there is room for, whosever it is.
const MANY: usize = 300;
/// More than one caller may have under way, under an `Idempotency-Key` or without.
const FLOOD: usize = 400;
const CREATED: &str = r#"api_key_bcrypt_duration_seconds_count{operation="hash"}"#;
const BEGUN: &str = r#"database_query_total{operation="insert",table="idempotency_keys"}"#;

/// Sends a request under a key of its own, and does not wait for the answer.
fn send(app: &TestApp, path: &str, key: Option<&str>, number: usize, body: &Value) -> JoinHandle<Answer> {
    let request = app.http.post(app.path(path)).json(body).header("idempotency-key", format!("k{number}"));
    let request = match key {
        Some(key) => request.header("x-api-key", key),
        None => request,
    };
    tokio::spawn(async move { Answer::of(request.send().await.unwrap()).await })
}

async fn all(sent: Vec<JoinHandle<Answer>>) -> Vec<Answer> {
    join_all(sent).await.into_iter().map(Result::unwrap).collect()
}

/// Those for whom there was no room, who are told when to come back.
#[track_caller]
fn turned_away(answers: &[Answer]) -> usize {
    let turned_away: Vec<&Answer> = answers.iter().filter(|answer| answer.code() == "OVERLOADED").collect();
    for answer in &turned_away {
        assert_eq!(answer.status, 503, "{answer:?}");
        assert!(answer.headers.contains_key("retry-after"), "{answer:?}");
    }
    turned_away.len()
}

/// Returns once somebody was turned away: there is no room left.
async fn room_is_full(app: &TestApp) {
    let deadline = Instant::now() + PATIENCE;
    while app.count(r#"errors_total{code="OVERLOADED",type="server"}"#).await == 0 {
        assert!(Instant::now() < deadline, "nobody is turned away");
        sleep(Duration::from_millis(20)).await;
    }
}

/// Making a key takes a quarter of a second of one thread. Whoever asks for many at once keeps nobody else from anything.
#[tokio::test(flavor = "multi_thread")]
async fn making_many_keys_at_once_keeps_nobody_out() {
    let app = TestApp::start().await;
    let body = json!({"name": "n"});
    let flood: Vec<_> = (0..MANY).map(|number| send(&app, "/api-keys", Some(KEY), number, &body)).collect();
    while app.count(CREATED).await == 0 {
        tokio::task::yield_now().await;
    }
    let issued = json!({"amount": "1", "currency": "USDC"});
    for key in [KEY, OTHER_KEY] {
        let answer = send(&app, "/requirements", Some(key), MANY, &issued).await.unwrap();
        assert_eq!(answer.status, 201, "{answer:?}");
    }
    // Nor from making a key of their own.
    let made = app.post("/api-keys", Some(OTHER_KEY), &body).await;
    assert_eq!(made.status, 201, "{made:?}");
    let answers = all(flood).await;
    let made = answers.iter().filter(|answer| answer.status == 201).count();
    assert_eq!(made + turned_away(&answers), MANY);
    assert!((4..MANY / 2).contains(&made), "{made} were made");
    // Room is given back.
    assert_eq!(app.post("/api-keys", Some(KEY), &body).await.status, 201);
}

/// Without an `Idempotency-Key` no less, whoever asks; and those who are turned away are told so at once.
#[tokio::test(flavor = "multi_thread")]
async fn the_queue_for_new_keys_is_short() {
    const USERS: usize = 8;
    let keys: Vec<String> =
        (0..USERS).map(|user| format!("user_{user}_0123456789abcdefghijklmnop")).collect();
    let app = TestApp::with(|environment, _| environment.with("VALID_API_KEYS", keys.join(","))).await;
    let body = json!({"name": "n"});
    let answers =
        join_all((0..10 * USERS).map(|number| app.post("/api-keys", Some(&keys[number % USERS]), &body)));
    let answers = answers.await;
    let away = turned_away(&answers);
    let made = answers.iter().filter(|answer| answer.status == 201).count();
    assert_eq!(made + away, answers.len(), "{answers:?}");
    assert!((1..3 * USERS).contains(&made), "{made} were made");
    let by_one = join_all((0..12).map(|_| app.post("/api-keys", Some(&keys[0]), &body))).await;
    let made = by_one.iter().filter(|answer| answer.status == 201).count();
    assert!(made < 8 && made + turned_away(&by_one) == 12, "one user's share is smaller: {made}");
}

/// A proof sent many times at once under different keys: one is judged, and few wait for it.
#[tokio::test(flavor = "multi_thread")]
async fn twins_of_strangers_do_not_fill_the_room() {
    let app = TestApp::start().await;
    let (proof, other) = (app.proof(&app.pay_merchant(), "n"), app.pay(&app.merchant(), 7, Currency::Usdc));
    let other = app.proof(&other, "other");
    let held = app.chain.sandbox.faults().hold("getTransaction", Hold::Before, 1);
    let twins: Vec<_> = (0..MANY).map(|number| send(&app, "/verify", None, number, &proof)).collect();
    room_is_full(&app).await;
    // Another of this very stranger, and one with a key.
    send(&app, "/verify", None, MANY, &other).await.unwrap().assert_valid();
    let issued = json!({"amount": "1", "currency": "USDC"});
    let answer = send(&app, "/requirements", Some(KEY), MANY, &issued).await.unwrap();
    assert_eq!(answer.status, 201, "{answer:?}");
    drop(held);
    let answers = all(twins).await;
    let away = turned_away(&answers);
    assert!((1..MANY).contains(&away), "{away} of {MANY} were turned away");
    assert_eq!(answers.iter().filter(|answer| answer.status == 200).count(), 1);
    assert_eq!(app.booked().await, 0, "a stranger's payment is nobody's");
}

/// One caller from one address sends many proofs at once, all of which have to be looked up: another is judged
/// meanwhile. `once`: under an `Idempotency-Key` each.
async fn one_of_many(once: bool, key: Option<&'static str>, another: Option<&'static str>) {
    let app = TestApp::with(|environment, _| environment.with("TRUSTED_PROXIES", "127.0.0.1")).await;
    let [paid, others] = [1, 2].map(|units| app.pay(&app.merchant(), units, Currency::Usdc));
    app.verify(&app.proof(&others, "used")).await.assert_valid();
    let post = |paid: &Paid, number: usize, key: Option<&str>, address: &str| {
        let request = app.http.post(app.path("/verify")).json(&app.proof(paid, &format!("n{number}")));
        let request = request.header("x-forwarded-for", address);
        let request = if once { request.header("idempotency-key", format!("k{number}")) } else { request };
        match key {
            Some(key) => request.header("x-api-key", key),
            None => request,
        }
    };
    // One waits for the chain, and the others for that one. Of another's the books know enough.
    let held = app.chain.sandbox.faults().hold("getTransaction", Hold::Before, u32::MAX);
    let flood = (0..FLOOD).map(|number| tokio::spawn(post(&paid, number, key, "203.0.113.1").send()));
    let flood: Vec<_> = flood.collect();
    held.arrived(1).await;
    room_is_full(&app).await;
    let answer = Answer::of(post(&others, FLOOD, another, "203.0.113.3").send().await.unwrap()).await;
    answer.assert_refused("REPLAY_ATTACK");
    held.release();
    let mut answers = Vec::new();
    for sent in flood {
        answers.push(Answer::of(sent.await.unwrap().unwrap()).await);
    }
    let away = turned_away(&answers);
    assert!((1..FLOOD).contains(&away), "{away} were turned away");
}

#[tokio::test(flavor = "multi_thread")]
async fn no_stranger_fills_the_room_alone() {
    for once in [true, false] {
        one_of_many(once, None, None).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn no_key_fills_the_room_alone() {
    for once in [true, false] {
        one_of_many(once, Some(KEY), Some(OTHER_KEY)).await;
    }
}

/// What is malformed, or not signed by the payer, is refused to a stranger before anything is looked up or kept for it.
#[tokio::test]
async fn nothing_is_kept_of_a_strangers_nonsense() {
    let app = TestApp::start().await;
    let good = app.proof(&app.pay_merchant(), "n");
    let before = app.count(BEGUN).await;
    for (number, body, expected) in [
        (0, json!({}), (400, "VALIDATION_FAILED")),
        (1, with(good.clone(), "payer", "nobody"), (400, "VALIDATION_FAILED")),
        (2, with(good.clone(), "nonce", "another"), (402, "INVALID_SIGNATURE")),
    ] {
        for _ in 0..2 {
            let answer = send(&app, "/verify", None, number, &body).await.unwrap();
            assert_eq!((answer.status, answer.code()), expected, "{answer:?}");
        }
    }
    assert_eq!(app.count(BEGUN).await, before);
    send(&app, "/verify", None, 3, &good).await.unwrap().assert_valid();
    assert_eq!(app.count(BEGUN).await, before + 1);
    // However late: what was kept is given again for a day.
    app.chain.clock.advance(Duration::from_hours(1));
    let again = send(&app, "/verify", None, 3, &good).await.unwrap();
    again.assert_valid();
    assert_eq!(again.headers["idempotent-replayed"], "true");
}

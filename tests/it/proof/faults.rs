//! Trouble of our own is never a refusal, and never an acceptance: 503, and the nonce is left unused.

use std::{sync::Arc, time::Duration};

use pay402::{money::Currency, sandbox::faults::ANY};
use serde_json::{Value, json};
use solana_signature::Signature;

use crate::harness::{Answer, KEY, Paid, TestApp};

#[track_caller]
fn assert_unavailable(answer: &Answer, code: &str) {
    assert_eq!((answer.status, answer.code()), (503, code), "{answer:?}");
    assert!(answer.headers.contains_key("retry-after"), "{answer:?}");
    assert!(answer.body["valid"].is_null(), "{answer:?}");
}

#[tokio::test]
async fn a_transaction_nobody_knows() {
    let app = TestApp::start().await;
    let unknown = Paid { transaction: Signature::from([7; 64]), currency: Currency::Usdc, units: 50_000 };
    assert_unavailable(&app.verify(&app.proof(&unknown, "n")).await, "TRANSACTION_NOT_FOUND");
    app.verify(&app.proof(&app.pay_merchant(), "n")).await.assert_valid();
}

#[tokio::test]
async fn a_transaction_not_confirmed_yet() {
    let app = TestApp::start().await;
    let transfer = app.transfer(&app.merchant(), 50_000, Currency::Usdc);
    let transaction = app.chain.sandbox.send(&app.chain.legacy(&transfer, &[app.agent()])).unwrap();
    let proof = app.proof(&Paid { transaction, currency: Currency::Usdc, units: 50_000 }, "n");
    assert_unavailable(&app.verify(&proof).await, "TRANSACTION_NOT_FOUND");
    app.chain.sandbox.advance_slots(2);
    app.verify(&proof).await.assert_valid();
}

/// A node that lags behind does not see what has happened; that is no reason to refuse.
#[tokio::test]
async fn a_node_that_lags() {
    let app = TestApp::start().await;
    let proof = app.proof(&app.pay_merchant(), "n");
    app.chain.sandbox.faults().lag(10);
    assert_unavailable(&app.verify(&proof).await, "TRANSACTION_NOT_FOUND");
    app.chain.sandbox.faults().clear();
    app.verify(&proof).await.assert_valid();
}

#[tokio::test]
async fn a_fork_that_drops_the_payment() {
    let app = TestApp::start().await;
    let paid = app.pay_merchant();
    assert!(app.chain.sandbox.drop_by_fork(&paid.transaction));
    assert_unavailable(&app.verify(&app.proof(&paid, "n")).await, "TRANSACTION_NOT_FOUND");
    assert_eq!(app.booked().await, 0);
}

#[tokio::test]
async fn a_node_that_answers_with_errors() {
    let app = TestApp::start().await;
    let proof = app.proof(&app.pay_merchant(), "n");
    let faults = app.chain.sandbox.faults();
    faults.error("getTransaction", -32603, "internal error", 2);
    assert_unavailable(&app.verify(&proof).await, "BLOCKCHAIN_UNAVAILABLE");
    faults.disconnect("getTransaction", pay402::sandbox::Disconnect::After, 2);
    assert_unavailable(&app.verify(&proof).await, "BLOCKCHAIN_UNAVAILABLE");
    app.verify(&proof).await.assert_valid();
}

#[tokio::test]
async fn a_node_that_hangs() {
    let app = TestApp::start().await;
    let proof = app.proof(&app.pay_merchant(), "n");
    app.chain.sandbox.faults().latency(ANY, Duration::from_mins(1));
    assert_unavailable(&app.verify(&proof).await, "BLOCKCHAIN_UNAVAILABLE");
    app.chain.sandbox.faults().clear();
    app.verify(&proof).await.assert_valid();
}

/// What a node makes up is found out where it can be: the message is signed, and the answer has to hang together.
#[tokio::test]
async fn a_node_that_lies() {
    type Tamper = fn(Value) -> Value;
    let lies: [(&str, Tamper); 8] = [
        ("about nothing", |_| json!({})),
        ("with the wrong type", |_| json!("yes")),
        ("without a status", |mut answer| {
            answer["meta"] = Value::Null;
            answer
        }),
        ("without token balances", |mut answer| {
            answer["meta"]["preTokenBalances"] = Value::Null;
            answer
        }),
        ("with too few balances", |mut answer| {
            answer["meta"]["postBalances"].as_array_mut().unwrap().pop();
            answer
        }),
        ("with a balance of no account", |mut answer| {
            answer["meta"]["postTokenBalances"][0]["accountIndex"] = json!(200);
            answer
        }),
        ("with an amount that is none", |mut answer| {
            answer["meta"]["postTokenBalances"][0]["uiTokenAmount"]["amount"] = json!("-1");
            answer
        }),
        ("with a transaction that cannot be decoded", |mut answer| {
            answer["transaction"][0] = json!("AAAA");
            answer
        }),
    ];
    let app = TestApp::start().await;
    let proof = app.proof(&app.pay_merchant(), "n");
    for (what, tamper) in lies {
        app.chain.sandbox.faults().lie("getTransaction", Box::new(tamper));
        let answer = app.verify(&proof).await;
        assert_eq!(answer.status, 503, "{what}: {answer:?}");
        assert_unavailable(&answer, "BLOCKCHAIN_UNAVAILABLE");
        app.chain.sandbox.faults().clear();
    }
    app.verify(&proof).await.assert_valid();
}

/// A node that answers with another transaction than the one asked for, a good one even.
#[tokio::test]
async fn a_node_that_shows_another_transaction() {
    let app = TestApp::start().await;
    let good = app.pay_merchant();
    let params = json!([good.transaction.to_string(), {"encoding": "base64", "commitment": "confirmed"}]);
    let request = json!({"jsonrpc": "2.0", "id": 1, "method": "getTransaction", "params": params});
    let answer = app.http.post(app.chain.sandbox.rpc_url()).json(&request).send().await.unwrap();
    let shown = answer.json::<Value>().await.unwrap()["result"].clone();
    assert!(shown["meta"].is_object(), "{shown}");
    app.chain.sandbox.faults().lie("getTransaction", Box::new(move |_| shown.clone()));

    let small = app.pay(&app.merchant(), 1, Currency::Usdc);
    let claimed = Paid { units: 50_000, ..small };
    assert_unavailable(&app.verify(&app.proof(&claimed, "n")).await, "BLOCKCHAIN_UNAVAILABLE");
}

#[tokio::test]
async fn the_next_endpoint_answers_for_a_dead_one() {
    let app = TestApp::with(|environment, chain| {
        environment.with("SOLANA_RPC_URL", format!("http://127.0.0.1:1, {}", chain.sandbox.rpc_url()))
    })
    .await;
    app.verify(&app.proof(&app.pay_merchant(), "n")).await.assert_valid();
    let ready = app.get("/ready", None).await;
    assert_eq!(ready.status, 200, "{ready:?}");
}

#[tokio::test]
async fn a_chain_out_of_reach() {
    let app = TestApp::with(|environment, _| environment.with("SOLANA_RPC_URL", "http://127.0.0.1:1")).await;
    assert_unavailable(&app.verify(&app.proof(&app.pay_merchant(), "n")).await, "BLOCKCHAIN_UNAVAILABLE");
    let ready = app.get("/ready", None).await;
    assert_eq!((ready.status, &ready.body["status"]), (503, &json!("not_ready")));
    assert_eq!(ready.body["degraded"], json!(["solana"]));
    assert_eq!(ready.body["components"]["database"]["status"], "up");
}

/// Another process holds the write lock: nothing is accepted, `/ready` says why, and all is well once it lets go.
#[tokio::test(flavor = "multi_thread")]
async fn a_database_that_cannot_be_written() {
    let app = TestApp::start().await;
    let proof = app.proof(&app.pay_merchant(), "n");
    let path = app.folder.path().join("pay402.db");
    let lock = sqlx::SqlitePool::connect(&format!("sqlite://{}", path.display())).await.unwrap();
    let held = lock.begin_with("BEGIN IMMEDIATE").await.unwrap();
    assert_unavailable(&app.verify(&proof).await, "DATABASE_UNAVAILABLE");
    let ready = app.get("/ready", None).await;
    assert_eq!((ready.status, &ready.body["degraded"]), (503, &json!(["database"])));
    held.rollback().await.unwrap();
    app.verify(&proof).await.assert_valid();
    assert_eq!(app.booked().await, 1);
}

/// A shutdown waits for what is being decided.
#[tokio::test(flavor = "multi_thread")]
async fn a_shutdown_in_the_middle() {
    let app = TestApp::start().await;
    let paid = app.pay_merchant();
    let proof = app.proof(&paid, "n");
    app.chain.sandbox.faults().latency("getTransaction", Duration::from_millis(500));
    let request = app.http.post(app.path("/verify")).header("x-api-key", KEY).json(&proof);
    let calls = app.chain.sandbox.faults().calls("getTransaction");
    let verifying = tokio::spawn(request.send());
    while app.chain.sandbox.faults().calls("getTransaction") == calls {
        tokio::task::yield_now().await;
    }
    let (chain, folder) = app.stop().await;
    Answer::of(verifying.await.unwrap().unwrap()).await.assert_valid();
    let app = TestApp::on(chain, Arc::clone(&folder), |environment, _| environment).await;
    assert_eq!(app.booked().await, 1);
}

/// A preferred endpoint that accepts connections and never answers, in front of one that works.
#[tokio::test]
async fn a_hanging_endpoint_does_not_take_the_service_down() {
    let hanging = crate::sandbox::setup::start().await;
    hanging.sandbox.faults().latency(ANY, Duration::from_mins(5));
    let app = TestApp::with(|environment, chain| {
        let urls = format!("{},{}", hanging.sandbox.rpc_url(), chain.sandbox.rpc_url());
        environment.with("SOLANA_RPC_URL", urls)
    })
    .await;
    let ready = app.get("/ready", None).await;
    assert_eq!(ready.status, 200, "{ready:?}");
    app.verify(&app.proof(&app.pay_merchant(), "n")).await.assert_valid();
    assert_eq!(hanging.sandbox.faults().calls("getTransaction"), 0, "the one that answered is asked first");
}

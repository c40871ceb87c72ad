//! How often the chain is asked.

use std::{sync::Arc, time::Duration};

use pay402::config::Environment;
use serde_json::json;
use tokio::time::{Instant, sleep};

use crate::harness::{TestApp, redis::RedisServer, wire::PATIENCE, with};

const LOOKUPS: &str =
    "blockchain_request_total{method=\"getTransaction\",network=\"sandbox\",status=\"success\"}";

#[track_caller]
fn assert_count(found: f64, expected: u32) {
    assert!((found - f64::from(expected)).abs() < 0.1, "{found} instead of {expected}");
}

/// What the chain said stands for the next attempt, and nothing is less strict for it.
#[tokio::test]
async fn a_refused_payment_is_tried_again_without_asking_the_chain() {
    let app = TestApp::start().await;
    let proof = app.proof(&app.pay_merchant(), "n");
    let dearer = with(app.requirement(), "recipient", app.agent_address());
    app.verify(&with(proof.clone(), "requirement", dearer)).await.assert_refused("RECIPIENT_MISMATCH");
    assert_count(app.metric(LOOKUPS).await, 1);
    app.verify(&with(proof.clone(), "amount", json!("0.04"))).await.assert_refused("AMOUNT_MISMATCH");
    app.chain.sandbox.faults().lie("getTransaction", Box::new(|_| json!("nonsense")));
    app.verify(&proof).await.assert_valid();
    assert_count(app.metric(LOOKUPS).await, 1);
    assert_count(app.metric("payment_cache_total{result=\"hit\"}").await, 2);
    app.verify(&proof).await.assert_refused("REPLAY_ATTACK");
}

/// What is not visible yet may become visible.
#[tokio::test]
async fn a_transaction_that_is_not_there_is_asked_for_again() {
    let app = TestApp::start().await;
    let paid = app.pay_merchant();
    let proof = app.proof(&paid, "n");
    app.chain.sandbox.faults().lie("getTransaction", Box::new(|_| json!(null)));
    for _ in 0..2 {
        let answer = app.verify(&proof).await;
        assert_eq!((answer.status, answer.code()), (503, "TRANSACTION_NOT_FOUND"));
    }
    app.chain.sandbox.faults().clear();
    app.verify(&proof).await.assert_valid();
    assert_count(app.metric(LOOKUPS).await, 3);
    assert_count(app.metric("payment_cache_total{result=\"miss\"}").await, 3);
}

/// A restarted instance, or another one, finds in Redis what was looked up before.
#[tokio::test(flavor = "multi_thread")]
async fn instances_share_what_the_chain_said() {
    let redis = RedisServer::start();
    let first = TestApp::with(|environment, _| environment.with("REDIS_URL", redis.url())).await;
    let proof = first.proof(&first.pay_merchant(), "n");
    // A busy machine may need a few tries until Redis answers one in time; it is left alone for a second after a bad one.
    let deadline = Instant::now() + PATIENCE;
    while !redis.keys().iter().any(|key| key.starts_with("payment:")) {
        assert!(Instant::now() < deadline, "nothing is shared");
        first.verify(&with(proof.clone(), "amount", json!("0.04"))).await.assert_refused("AMOUNT_MISMATCH");
        sleep(Duration::from_millis(600)).await;
    }
    let (chain, folder) = first.stop().await;
    chain.sandbox.faults().lie("getTransaction", Box::new(|_| json!("nonsense")));

    let adapt = |environment: Environment, _: &_| environment.with("REDIS_URL", redis.url());
    let second = TestApp::on(chain, Arc::clone(&folder), adapt).await;
    while let answer = second.verify(&proof).await
        && answer.status != 200
    {
        assert!(answer.status == 503 && Instant::now() < deadline, "{answer:?}");
        sleep(Duration::from_millis(600)).await;
    }
    assert_count(second.metric(LOOKUPS).await, 0);
}

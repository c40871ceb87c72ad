//! Trouble of our own, which says nothing about a payment.

use std::{sync::Arc, time::Duration};

use pay402::sandbox::{Disconnect, faults::ALWAYS};
use serde_json::json;
use solana_keypair::Keypair;
use solana_signer::Signer;

use super::{assert_settle_trouble, assert_unsettled, assert_verify_trouble};
use crate::harness::{
    Answer, KEY, TestApp,
    x402::{Order, PATIENCE, settled},
};

const DEVNET: &str = "solana:EtWTRABZaYq6iMfeYKouRu166VU2xqa1";

#[track_caller]
fn assert_trouble(verified: &Answer, unsettled: &Answer, code: &str) {
    assert_verify_trouble(verified, (503, code, "unexpected_verify_error"));
    assert_settle_trouble(unsettled, DEVNET, (503, code, "unexpected_settle_error"));
    assert!(verified.headers.contains_key("retry-after") && unsettled.headers.contains_key("retry-after"));
}

#[tokio::test]
async fn a_chain_out_of_reach_decides_nothing() {
    let app = TestApp::settling().await;
    let order = app.order();
    let request = app.paid(&order);
    app.chain.sandbox.faults().error("*", -32603, "down", ALWAYS);
    let (verified, unsettled) = (app.verify_x402(&request).await, app.settle(None, &request).await);
    assert_trouble(&verified, &unsettled, "BLOCKCHAIN_UNAVAILABLE");
    app.chain.sandbox.faults().clear();
    // Nothing is held against the payment.
    settled(&app.settle(None, &request).await, &order);
}

/// The only endpoint there is loses each call once: nobody hears of it.
#[tokio::test]
async fn a_chain_that_fails_in_passing_holds_up_no_payment() {
    let app = TestApp::settling().await;
    let faults = app.chain.sandbox.faults();
    for round in 0..6 {
        for method in ["simulateTransaction", "getLatestBlockhash"] {
            match round % 3 {
                0 => faults.error(method, -32603, "internal error", 1),
                1 => faults.disconnect(method, Disconnect::Before, 1),
                _ => faults.disconnect(method, Disconnect::After, 1),
            }
        }
        let order = app.order();
        let request = app.paid(&order);
        if round < 3 {
            assert_eq!(app.verify_x402(&request).await.body["isValid"], json!(true));
        }
        settled(&app.settle(None, &request).await, &order);
    }
}

/// Until the balance has been read, it stops nothing.
async fn until_short(app: &TestApp) {
    let waiting = async {
        while !app.get("/ready", None).await.body.to_string().contains("settles nothing") {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(PATIENCE, waiting).await.expect("the balance is read");
}

#[tokio::test]
async fn a_fee_payer_below_its_floor_settles_nothing_but_knows_what_it_settled() {
    let app = TestApp::settling().await;
    let order = app.order();
    let before = app.paid(&order);
    let first = app.settle(None, &before).await;
    settled(&first, &order);
    let (chain, folder) = app.stop().await;
    let app = TestApp::settling_on(chain, folder, &[("FEE_PAYER_MIN_LAMPORTS", "1000000000000000")]).await;
    until_short(&app).await;
    let simulations = app.chain.sandbox.faults().calls("simulateTransaction");
    let request = app.paid(&app.order());
    let (verified, unsettled) = (app.verify_x402(&request).await, app.settle(None, &request).await);
    assert_trouble(&verified, &unsettled, "FEE_PAYER_UNAVAILABLE");
    assert!(unsettled.body["errorMessage"].as_str().unwrap().contains(&order.fee_payer.to_string()));
    assert_eq!(app.chain.sandbox.faults().calls("simulateTransaction"), simulations);
    assert_eq!(app.settle(None, &before).await.body, first.body);
}

/// The chain knows better than the last reading.
#[tokio::test]
async fn a_fee_payer_that_turns_out_to_be_empty_is_our_trouble() {
    let empty = Keypair::new();
    let app = TestApp::settling_with(&[
        ("FEE_PAYER_KEYPAIR", &empty.to_base58_string()),
        ("FEE_PAYER_MIN_LAMPORTS", "0"),
    ])
    .await;
    let order = Order { fee_payer: empty.pubkey(), ..app.order() };
    let request = app.paid(&order);
    let (verified, unsettled) = (app.verify_x402(&request).await, app.settle(None, &request).await);
    assert_trouble(&verified, &unsettled, "FEE_PAYER_UNAVAILABLE");
    app.chain.sandbox.airdrop(&empty.pubkey(), 1_000_000_000).unwrap();
    let request = app.paid(&order);
    settled(&app.settle(None, &request).await, &order);
}

/// Verified a moment ago, so that nothing looks before it is sent: it never lands, and is called neither paid nor failed.
#[tokio::test]
async fn a_fee_payer_that_runs_dry_after_the_verify_leaves_no_payment_unknown() {
    let purse = Keypair::new();
    let app = TestApp::settling_with(&[
        ("FEE_PAYER_KEYPAIR", &purse.to_base58_string()),
        ("FEE_PAYER_MIN_LAMPORTS", "0"),
    ])
    .await;
    app.chain.sandbox.airdrop(&purse.pubkey(), 1_000_000_000).unwrap();
    let order = Order { fee_payer: purse.pubkey(), ..app.order() };
    let request = app.paid(&order);
    assert_eq!(app.verify_x402(&request).await.body["isValid"], json!(true));
    let elsewhere = Keypair::new().pubkey();
    let rest = 1_000_000_000 - 5_000;
    let drain = solana_system_interface::instruction::transfer(&purse.pubkey(), &elsewhere, rest);
    app.land_instructions(&[drain], &[&purse]);
    assert_eq!(app.chain.sandbox.balance(&purse.pubkey()), 0);
    let before = app.received();
    let asked = tokio::spawn(app.http.post(app.path("/settle")).json(&request).send());
    let sent = async {
        while app.chain.sandbox.faults().calls("sendTransaction") == 0 {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(PATIENCE, sent).await.expect("it is sent");
    app.chain.clock.advance(Duration::from_mins(2));
    app.chain.sandbox.advance_slots(400);
    let told = Answer::of(asked.await.unwrap().unwrap()).await;
    assert_eq!(told.body["errorReason"], "settle_exact_svm_block_height_exceeded", "{told:?}");
    assert_eq!((app.received(), app.chain.sandbox.balance(&purse.pubkey())), (before, 0));
    assert_eq!(app.settle(None, &request).await.body, told.body);
}

/// A signature is the missing part of a transaction: nobody hears of one that is not in the books.
#[tokio::test]
async fn what_was_not_journalled_is_not_listened_for() {
    let app = TestApp::settling_with(&[("SPONSORED_LAMPORTS_WITHOUT_KEY", "0")]).await;
    let listened = || app.chain.sandbox.faults().calls("signatureSubscribe");
    // Held up, so that there is time to be heard of.
    app.chain.sandbox.faults().latency("getLatestBlockhash", Duration::from_millis(200));
    let settle_one = async |already: u64| {
        let order = app.order();
        let request = app.paid(&order);
        app.chain.sandbox.faults().drop_sends(ALWAYS);
        let heard = async {
            while listened() < already + 1 {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
            app.chain.sandbox.faults().clear();
        };
        let (answer, ()) = tokio::join!(app.settle(Some(KEY), &request), heard);
        settled(&answer, &order);
    };
    settle_one(0).await;
    app.chain.sandbox.faults().latency("getLatestBlockhash", Duration::from_millis(200));
    for _ in 0..5 {
        let order = app.order();
        let answer = app.settle(None, &app.paid(&order)).await;
        assert_unsettled(&answer, &order, "anonymous_sponsorship_used_up", "use a key");
    }
    settle_one(1).await;
    assert_eq!(listened(), 2);
}

#[tokio::test]
async fn without_a_fee_payer_every_payment_is_for_another_facilitator() {
    let app = TestApp::start().await;
    let request = app.paid(&app.order());
    let answer = app.verify_x402(&request).await;
    let reason = "invalid_exact_svm_fee_payer_not_managed_by_facilitator";
    assert_eq!((answer.status, &answer.body["invalidReason"]), (200, &json!(reason)));
    let answer = app.settle(None, &request).await;
    assert_eq!((answer.status, &answer.body["errorReason"]), (200, &json!(reason)));
}

#[tokio::test]
async fn every_answer_is_counted_by_its_reason() {
    let app = Arc::new(TestApp::settling().await);
    let order = app.order();
    let request = app.paid(&order);
    app.verify_x402(&request).await;
    settled(&app.settle(None, &request).await, &order);
    app.verify_x402(&json!({"x402Version": 1})).await;
    app.chain.sandbox.faults().error("simulateTransaction", -32603, "down", ALWAYS);
    app.verify_x402(&app.paid(&app.order())).await;
    for (series, count) in [
        (r#"x402_verify_total{reason="valid",version="2"}"#, 1),
        (r#"x402_verify_total{reason="unexpected_verify_error",version="2"}"#, 1),
        (r#"x402_verify_total{reason="invalid_payload",version="unknown"}"#, 1),
        (r#"x402_settle_total{reason="settled",version="2"}"#, 1),
        (r#"x402_verify_duration_seconds_count{version="2"}"#, 2),
        (r#"x402_settle_duration_seconds_count{version="2"}"#, 1),
        (r#"payment_verification_total{currency="USDC",status="success"}"#, 0),
    ] {
        assert_eq!(app.count(series).await, count, "{series}");
    }
}

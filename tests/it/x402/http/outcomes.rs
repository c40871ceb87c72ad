//! What became of a settlement, told again and again: on both databases.

use std::{sync::Arc, time::Duration};

use futures_util::future::join_all;
use pay402::{
    payments::x402::Version,
    sandbox::{USDC, faults::ALWAYS},
};
use serde_json::{Value, json};
use solana_keypair::Keypair;
use solana_signature::Signature;
use solana_signer::Signer;
use tempfile::TempDir;

use super::{assert_invalid, assert_unsettled, in_words};
use crate::{
    conformance::{Backend, on_both},
    harness::{
        Answer, KEY, OTHER_KEY, TestApp,
        x402::{Order, settled, signature_of, signed, while_slots_pass},
    },
    sandbox::setup::{Fixture, start},
};

on_both!(
    what_was_settled_is_told_again_also_after_a_restart,
    what_is_in_the_books_is_told_whatever_the_rules_say_now,
    one_payment_is_for_one_resource,
    an_identical_request_gets_the_outcome_of_the_first,
    what_is_over_is_good_no_more_whatever_the_chain_says,
    a_long_resource_is_told_apart_to_its_end_and_kept_by_its_beginning,
    whoever_changes_the_first_signature_pays_for_nothing_new,
    twins_at_two_instances_get_one_outcome,
    what_fails_on_chain_is_a_failure_and_what_never_lands_expires,
    fees_are_paid_up_to_the_caps,
    strangers_cannot_use_up_what_keys_need,
);

struct Market {
    backend: Backend,
    chain: Fixture,
}

impl Market {
    async fn open(backend: Backend) -> Self {
        Self { backend, chain: start().await }
    }

    async fn app(&self) -> TestApp {
        self.app_with(&[]).await
    }

    async fn app_with(&self, variables: &[(&str, &str)]) -> TestApp {
        let url = self.backend.database_url();
        let variables: Vec<_> = [("DATABASE_URL", url.as_str())].iter().chain(variables).copied().collect();
        let folder = Arc::new(TempDir::new().unwrap());
        TestApp::settling_on(self.chain.again(), folder, &variables).await
    }
}

async fn what_was_settled_is_told_again_also_after_a_restart(backend: Backend) {
    let market = Market::open(backend).await;
    let app = market.app().await;
    let orders = Version::ALL.map(|version| Order { version, ..app.order() });
    let before = app.received();
    let mut told = Vec::new();
    for order in &orders {
        let request = app.paid(order);
        let answer = app.settle(Some(KEY), &request).await;
        settled(&answer, order);
        told.push((request, answer.body));
    }
    app.stop().await;
    let app = market.app().await;
    // Nothing but the books is asked.
    app.chain.sandbox.faults().error("*", -32603, "down", ALWAYS);
    for (request, body) in &told {
        let again = app.settle(Some(KEY), request).await;
        assert_eq!((again.status, &again.body), (200, body));
        // Whoever asks.
        assert_eq!(app.settle(None, request).await.body, *body);
    }
    assert_eq!(app.received() - before, 100_000);
}

/// A fee payer may be taken away and a bound made tighter while something is in flight.
async fn what_is_in_the_books_is_told_whatever_the_rules_say_now(backend: Backend) {
    let market = Market::open(backend).await;
    let app = market.app().await;
    let another = Keypair::new().to_base58_string();
    for (variable, reason) in [
        (("FEE_PAYER_KEYPAIR", another.as_str()), "invalid_exact_svm_fee_payer_not_managed_by_facilitator"),
        (
            ("X402_MAX_COMPUTE_UNITS", "19999"),
            "invalid_exact_svm_payload_transaction_instructions_compute_limit_instruction_too_high",
        ),
    ] {
        let order = app.order();
        let request = app.paid(&order);
        let first = app.settle(None, &request).await;
        let signature = settled(&first, &order);
        let strict = market.app_with(&[variable]).await;
        assert_eq!(strict.settle(Some(KEY), &request).await.body, first.body);
        let own = strict.get(&format!("/payments/{signature}"), Some(KEY)).await.body;
        assert_eq!(own["resource"], order.resource, "it has found its owner");
        in_flight_is_told(&app, &strict).await;
        // What is not in the books is refused, and so is what is there for something else.
        let order = app.order();
        let refused = strict.settle(None, &app.paid(&order)).await;
        assert_eq!(
            (&refused.body["errorReason"], &refused.body["transaction"]),
            (&json!(reason), &json!(""))
        );
        let mut other = request;
        other["paymentPayload"]["resource"]["url"] = json!("https://shop.example/dogs");
        let refused = strict.settle(None, &other).await;
        assert_eq!(
            (&refused.body["errorReason"], &refused.body["transaction"]),
            (&json!(reason), &json!(""))
        );
    }
}

/// Sent by one instance, asked for at another one with stricter rules.
async fn in_flight_is_told(app: &TestApp, strict: &TestApp) {
    let order = app.order();
    let transaction = signed(&app.chain.sandbox, &order);
    let (request, signature) = (order.request(&transaction), signature_of(&app.chain.sandbox, &transaction));
    app.chain.sandbox.faults().drop_sends(ALWAYS);
    let first = tokio::spawn(app.http.post(app.path("/settle")).json(&request).send());
    while strict.get(&format!("/payments/{signature}"), None).await.status != 200 {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let landing = async { app.chain.sandbox.faults().clear() };
    let (told, ()) = tokio::join!(strict.settle(None, &request), landing);
    assert_eq!(settled(&told, &order), signature);
    assert_eq!(first.await.unwrap().unwrap().json::<Value>().await.unwrap(), told.body);
}

/// In version 2 the buyer says what is paid for: one who asks for two things at once may say the same of both.
async fn an_identical_request_gets_the_outcome_of_the_first(backend: Backend) {
    let market = Market::open(backend).await;
    let app = market.app().await;
    for version in Version::ALL {
        let order = Order { version, ..app.order() };
        let request = app.paid(&order);
        let before = app.received();
        for _ in 0..2 {
            assert_eq!(app.verify_x402(&request).await.body["isValid"], json!(true));
        }
        let first = app.settle(None, &request).await;
        settled(&first, &order);
        assert_eq!(app.settle(None, &request).await.body, first.body);
        assert_eq!(app.received() - before, 50_000);
    }
}

async fn what_is_over_is_good_no_more_whatever_the_chain_says(backend: Backend) {
    let market = Market::open(backend).await;
    let app = market.app().await;
    let order = app.order();
    let transaction = signed(&app.chain.sandbox, &order);
    let done = order.request(&transaction);
    settled(&app.settle(None, &done).await, &order);
    let expired = never_lands(&app, Version::V2).await;
    // A node that lags behind, or lies.
    let lie = |mut answer: Value| {
        answer["value"]["err"] = Value::Null;
        answer
    };
    app.chain.sandbox.faults().lie("simulateTransaction", Box::new(lie));
    let reason = "invalid_exact_svm_transaction_simulation_failed";
    assert_invalid(&app.verify_x402(&done).await, reason, "has landed before");
    assert_invalid(&app.verify_x402(&expired).await, reason, "did not land in time");
    let other = Order { resource: "https://shop.example/dogs".to_owned(), ..order };
    let other = app.verify_x402(&other.request(&transaction)).await;
    assert_invalid(&other, "duplicate_settlement", "another payment's");
    assert_eq!(app.verify_x402(&app.paid(&app.order())).await.body["isValid"], json!(true));
}

async fn a_long_resource_is_told_apart_to_its_end_and_kept_by_its_beginning(backend: Backend) {
    let market = Market::open(backend).await;
    let app = market.app().await;
    for version in Version::ALL {
        let resource = format!("https://shop.example/cats?q={}", "é".repeat(3_000));
        let order = Order { version, resource, ..app.order() };
        let transaction = signed(&app.chain.sandbox, &order);
        assert_eq!(app.verify_x402(&order.request(&transaction)).await.body["isValid"], json!(true));
        let signature = settled(&app.settle(Some(KEY), &order.request(&transaction)).await, &order);
        let booked = app.get(&format!("/payments/{signature}"), Some(KEY)).await.body;
        let kept = booked["resource"].as_str().unwrap();
        assert!(order.resource.starts_with(kept) && (2_047..=2_048).contains(&kept.len()), "{kept}");
        let other = Order { resource: format!("{}e", order.resource), ..order };
        let second = app.settle(None, &other.request(&transaction)).await;
        assert_unsettled(&second, &other, "duplicate_settlement", "another payment's");
    }
}

async fn one_payment_is_for_one_resource(backend: Backend) {
    let market = Market::open(backend).await;
    let app = market.app().await;
    for version in Version::ALL {
        let order = Order { version, ..app.order() };
        let transaction = signed(&app.chain.sandbox, &order);
        let before = app.received();
        let first = app.settle(None, &order.request(&transaction)).await;
        settled(&first, &order);
        let other = Order { resource: "https://shop.example/dogs".to_owned(), ..order };
        let second = app.settle(None, &other.request(&transaction)).await;
        assert_eq!(assert_unsettled(&second, &other, "duplicate_settlement", "another payment's"), "");
        assert_eq!(app.received() - before, 50_000);
    }
}

async fn whoever_changes_the_first_signature_pays_for_nothing_new(backend: Backend) {
    let market = Market::open(backend).await;
    let app = market.app().await;
    let order = app.order();
    let mut transaction = signed(&app.chain.sandbox, &order);
    let before = app.received();
    let first = app.settle(None, &order.request(&transaction)).await;
    settled(&first, &order);
    for byte in 1..4 {
        transaction.signatures[0] = Signature::from([byte; 64]);
        assert_eq!(app.settle(None, &order.request(&transaction)).await.body, first.body);
    }
    let other = Order { resource: "https://shop.example/dogs".to_owned(), ..order };
    let second = app.settle(None, &other.request(&transaction)).await;
    assert_unsettled(&second, &other, "duplicate_settlement", "another payment's");
    assert_eq!(app.received() - before, 50_000);
}

async fn twins_at_two_instances_get_one_outcome(backend: Backend) {
    let market = Market::open(backend).await;
    let apps = [market.app().await, market.app().await];
    let order = apps[0].order();
    let mut transaction = signed(&market.chain.sandbox, &order);
    let (before, fees) = (apps[0].received(), market.chain.sandbox.balance(&order.fee_payer));
    // The first signature is anybody's to change.
    let requests: Vec<Value> = (0..12)
        .map(|number| {
            transaction.signatures[0] = Signature::from([number; 64]);
            order.request(&transaction)
        })
        .collect();
    let twins =
        requests.iter().enumerate().map(|(number, twin)| apps[number % 2].post("/settle", None, twin));
    let answers: Vec<Answer> = while_slots_pass(&market.chain.sandbox, join_all(twins)).await;
    settled(&answers[0], &order);
    assert!(answers.iter().all(|answer| answer.body == answers[0].body), "{answers:?}");
    assert_eq!(apps[0].received() - before, 50_000);
    // One fee: two signatures, and one lamport of priority fee.
    assert_eq!(fees - market.chain.sandbox.balance(&order.fee_payer), 10_001);
}

async fn what_fails_on_chain_is_a_failure_and_what_never_lands_expires(backend: Backend) {
    let market = Market::open(backend).await;
    let app = market.app().await;
    for version in Version::ALL {
        fails_on_chain(&app, version).await;
        never_lands(&app, version).await;
    }
}

/// Good when it is verified; then the money goes elsewhere.
async fn fails_on_chain(app: &TestApp, version: Version) {
    let sandbox = &app.chain.sandbox;
    let payer = Keypair::new();
    sandbox.mint_tokens(&USDC, &payer.pubkey(), 50_000).unwrap();
    let order = Order { version, payer: payer.insecure_clone(), ..app.order() };
    let transaction = signed(sandbox, &order);
    let request = order.request(&transaction);
    assert_eq!(app.verify_x402(&request).await.body["isValid"], json!(true));
    sandbox.airdrop(&payer.pubkey(), 10_000_000).unwrap();
    let amount = pay402::money::Amount::from_atomic(20_000).unwrap();
    let elsewhere = pay402::sandbox::agent::transfer(
        &payer.pubkey(),
        &app.merchant(),
        amount,
        pay402::money::Currency::Usdc,
    );
    app.land_instructions(&elsewhere.unwrap(), &[&payer]);
    let (before, signature) = (app.received(), signature_of(sandbox, &transaction).to_string());
    let answer = app.settle(None, &request).await;
    let reason = in_words(version, "invalid_exact_svm_transaction_failed");
    assert_eq!(assert_unsettled(&answer, &order, &reason, "landed in slot"), signature);
    assert_eq!(app.settle(None, &request).await.body, answer.body);
    assert_eq!(app.received(), before);
    let booked = app.get(&format!("/payments/{signature}"), None).await.body;
    assert_eq!(booked["state"], "failed");
    assert!(booked["slot"].as_u64().is_some_and(|slot| slot > 0));
    assert!(booked["lastValidBlockHeight"].is_u64(), "{booked}");
}

/// What was asked for.
async fn never_lands(app: &TestApp, version: Version) -> Value {
    let order = Order { version, ..app.order() };
    let transaction = signed(&app.chain.sandbox, &order);
    let (request, signature) = (order.request(&transaction), signature_of(&app.chain.sandbox, &transaction));
    let before = app.received();
    app.chain.sandbox.faults().drop_sends(ALWAYS);
    let expiring = async {
        while app.get(&format!("/payments/{signature}"), None).await.status != 200 {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        app.chain.clock.advance(Duration::from_mins(2));
        app.chain.sandbox.advance_slots(400);
    };
    let (answer, ()) = tokio::join!(app.post("/settle", None, &request), expiring);
    let reason = "settle_exact_svm_block_height_exceeded";
    assert_eq!(assert_unsettled(&answer, &order, reason, "safe to pay again"), signature.to_string());
    app.chain.sandbox.faults().clear();
    assert_eq!(app.settle(None, &request).await.body, answer.body);
    assert_eq!(app.received(), before);
    // And so it is.
    let again = Order { version, ..app.order() };
    settled(&app.settle(None, &app.paid(&again)).await, &again);
    request
}

async fn fees_are_paid_up_to_the_caps(backend: Backend) {
    let market = Market::open(backend).await;
    let caps = [("SPONSORED_LAMPORTS", "30010"), ("SPONSORED_LAMPORTS_PER_KEY", "15000")];
    let app = market.app_with(&caps).await;
    let order = app.order();
    let attempt = async |key: Option<&str>| {
        let order = app.order();
        app.settle(key, &app.paid(&order)).await
    };
    settled(&attempt(Some(KEY)).await, &order);
    let answer = attempt(Some(KEY)).await;
    assert_eq!(assert_unsettled(&answer, &order, "key_sponsorship_used_up", "midnight UTC"), "");
    settled(&attempt(Some(OTHER_KEY)).await, &order);
    settled(&attempt(None).await, &order);
    let answer = attempt(None).await;
    assert_eq!(assert_unsettled(&answer, &order, "sponsorship_used_up", "midnight UTC"), "");
    // A day later there is more, but not for a priority fee that goes beyond it.
    app.chain.clock.advance(Duration::from_hours(24));
    let dear = Order { compute_unit_price: 1_000_000, ..app.order() };
    let answer = app.settle(Some(KEY), &app.paid(&dear)).await;
    assert_unsettled(&answer, &dear, "key_sponsorship_used_up", "midnight UTC");
    settled(&attempt(Some(KEY)).await, &order);
}

async fn strangers_cannot_use_up_what_keys_need(backend: Backend) {
    let market = Market::open(backend).await;
    let app = market.app_with(&[("SPONSORED_LAMPORTS_WITHOUT_KEY", "20002")]).await;
    let order = app.order();
    for _ in 0..2 {
        settled(&app.settle(None, &app.paid(&app.order())).await, &order);
    }
    let request = app.paid(&order);
    let answer = app.settle(None, &request).await;
    assert_eq!(assert_unsettled(&answer, &order, "anonymous_sponsorship_used_up", "use a key"), "");
    // The same payment is settled for one who has a key.
    settled(&app.settle(Some(KEY), &request).await, &order);
}

/// Nobody knows within the time that clients wait.
#[tokio::test]
async fn what_is_not_known_in_time_is_pending_and_then_what_it_became() {
    let app = TestApp::settling().await;
    let order = app.order();
    let transaction = signed(&app.chain.sandbox, &order);
    let (request, signature) = (order.request(&transaction), signature_of(&app.chain.sandbox, &transaction));
    app.chain.sandbox.faults().drop_sends(ALWAYS);
    let answer = app.post("/settle", None, &request).await;
    let said = assert_unsettled(&answer, &order, "settlement_pending", "do not pay again");
    assert_eq!(said, signature.to_string());
    app.chain.sandbox.faults().clear();
    let again: Value = app.settle(None, &request).await.body;
    assert_eq!((&again["success"], &again["transaction"]), (&json!(true), &json!(signature.to_string())));
}

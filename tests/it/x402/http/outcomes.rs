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

use super::{assert_unsettled, in_words};
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
    one_payment_is_for_one_resource,
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
    let request = apps[0].paid(&order);
    let (before, fees) = (apps[0].received(), market.chain.sandbox.balance(&order.fee_payer));
    let twins = (0..12).map(|number| apps[number % 2].post("/settle", None, &request));
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
}

async fn never_lands(app: &TestApp, version: Version) {
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

//! Proofs that pay periods.

use futures_util::future::join_all;
use pay402::money::Currency;
use serde_json::{Value, json};
use solana_keypair::Keypair;
use solana_signer::Signer;

use super::{DAY, altered, cancel, consume, now, plan, subscribe, subscribed, subscribed_to_pay, wait_until};
use crate::{
    conformance::{Backend, on_both},
    harness::{Answer, KEY, OTHER_KEY, TestApp, with},
};

on_both!(
    the_first_payment_activates,
    payments_renew_before_and_after_the_end,
    more_than_the_price_pays_one_period,
    what_is_paid_ahead_costs_what_was_paid,
    a_refused_proof_uses_nothing_up,
    what_takes_no_payments,
    a_year_ahead_and_no_more,
    many_payments_at_once_each_pay_a_period,
    one_payment_pays_once,
);

/// What a plan of the tests costs, in atomic units of USDC.
pub(super) const PRICE: u64 = 10_000_000;

/// Pays on chain, and has the proof of it verified for the subscription.
pub(super) async fn pay(app: &TestApp, subscription: &Value, units: u64, nonce: &str) -> Answer {
    let paid = app.pay(&app.merchant(), units, Currency::Usdc);
    let proof = with(app.proof(&paid, nonce), "subscriptionId", subscription["id"].clone());
    app.verify(&proof).await
}

async fn the_first_payment_activates(backend: Backend) {
    let app = backend.app().await;
    let made = subscribed_to_pay(&app).await;
    app.chain.clock.advance(DAY);
    let answer = pay(&app, &made, PRICE, "first").await;
    answer.assert_valid();
    assert_eq!(answer.body["payment"]["subscriptionId"], made["id"]);
    assert_eq!(answer.body["payment"]["agentId"], made["agentId"]);
    let mut active = altered(
        &made,
        &[
            ("status", json!("active")),
            ("paidUntil", made["currentPeriodEnd"].clone()),
            ("updatedAt", answer.body["verifiedAt"].clone()),
        ],
    );
    active.as_object_mut().unwrap().remove("expiresAt");
    assert_eq!(now(&app, &made).await, active);
    assert_eq!(consume(&app, &made, 1).await.status, 201);
    let id = answer.body["payment"]["id"].as_str().unwrap();
    let found = app.get(&format!("/payments/{id}"), Some(KEY)).await.body;
    assert_eq!(found, answer.body["payment"], "the books know what it paid");
    let listed = app.get("/payments", Some(KEY)).await.body;
    assert_eq!(listed["payments"], json!([found]));
    let told = backend
        .select("SELECT type, count(*) FROM analytics_events WHERE payment_id IS NOT NULL GROUP BY type ORDER BY type")
        .await;
    assert_eq!(told, [("payment.verified".to_owned(), 1), ("subscription.paid".to_owned(), 1)]);
}

async fn payments_renew_before_and_after_the_end(backend: Backend) {
    let app = backend.app().await;
    let made = subscribed(&app, json!({"requestsPerMonth": 1})).await;
    assert_eq!(consume(&app, &made, 1).await.status, 201);
    pay(&app, &made, PRICE, "ahead").await.assert_valid();
    let paid = now(&app, &made).await;
    let second_end = paid["paidUntil"].clone();
    assert!(second_end.as_i64() > made["currentPeriodEnd"].as_i64(), "{paid}");
    assert_eq!(paid["currentPeriodEnd"], made["currentPeriodEnd"]);
    assert_eq!(
        consume(&app, &made, 1).await.code(),
        "USAGE_LIMIT_EXCEEDED",
        "it pays the next period, not more of this"
    );

    wait_until(&app, &made["currentPeriodEnd"]);
    let renewed = now(&app, &made).await;
    assert_eq!((&renewed["status"], &renewed["currentPeriodEnd"]), (&json!("active"), &second_end));
    assert_eq!(consume(&app, &made, 1).await.status, 201, "a period has its own count");

    wait_until(&app, &second_end);
    assert_eq!(now(&app, &made).await["status"], "past_due");
    wait_until(&app, &json!(now(&app, &made).await["expiresAt"].as_i64().unwrap() - 60_000));
    pay(&app, &made, PRICE, "late").await.assert_valid();
    let late = now(&app, &made).await;
    assert_eq!((&late["status"], &late["currentPeriodStart"]), (&json!("active"), &second_end));
    assert_eq!(late["paidUntil"], late["currentPeriodEnd"], "a late payment pays the whole period, no more");
}

async fn more_than_the_price_pays_one_period(backend: Backend) {
    let app = backend.app().await;
    let made = subscribed_to_pay(&app).await;
    pay(&app, &made, 3 * PRICE, "more").await.assert_valid();
    assert_eq!(now(&app, &made).await["paidUntil"], made["currentPeriodEnd"]);
}

async fn a_refused_proof_uses_nothing_up(backend: Backend) {
    let app = backend.app().await;
    let made = subscribed_to_pay(&app).await;
    let named = |proof: Value, id: &Value| with(proof, "subscriptionId", id.clone());

    let little = app.pay(&app.merchant(), PRICE - 1, Currency::Usdc);
    let proof = app.proof(&little, "little");
    let refused = app.verify(&named(proof.clone(), &made["id"])).await;
    refused.assert_refused("INSUFFICIENT_AMOUNT");
    assert!(refused.body["error"].as_str().unwrap().contains("10 USDC"), "{refused:?}");
    let other = app.pay(&app.merchant(), PRICE, Currency::Usdt);
    app.verify(&named(app.proof(&other, "other"), &made["id"])).await.assert_refused("CURRENCY_MISMATCH");

    let good = app.pay(&app.merchant(), PRICE, Currency::Usdc);
    let good = app.proof(&good, "good");
    let unknown = json!("sub_00000000000000000000000000");
    app.verify(&named(good.clone(), &unknown)).await.assert_refused("SUBSCRIPTION_NOT_FOUND");
    let named_well = named(good.clone(), &made["id"]);
    for key in [Some(OTHER_KEY), None] {
        app.post("/verify", key, &named_well).await.assert_refused("SUBSCRIPTION_NOT_FOUND");
    }
    let malformed = app.verify(&named(good.clone(), &json!(7))).await;
    assert_eq!((malformed.status, malformed.fields()), (400, vec!["subscriptionId"]), "{malformed:?}");

    // Somebody else's money.
    let (plan, agent) = (plan(&app, json!({})).await, made["agentId"].clone());
    let wallet = Keypair::new().pubkey().to_string();
    let body =
        json!({"planId": plan["id"], "agentId": agent, "walletAddress": wallet, "requirePayment": true});
    let others = subscribe(&app, &body).await;
    let refused = app.verify(&named(good.clone(), &others["id"])).await;
    refused.assert_refused("INVALID_PAYMENT");
    assert!(refused.body["error"].as_str().unwrap().contains(&wallet), "{refused:?}");
    assert_eq!(now(&app, &others).await, others);

    // Each of those that were not good costs their agent, as every bad proof does.
    let lost = "SELECT type, occurred_at_ms FROM analytics_events WHERE type = 'payment.refused'";
    assert_eq!(backend.select(lost).await.len(), 3);

    // The chain has the last word: the money that is told of has not moved.
    let told = with(app.proof(&little, "told"), "amount", "10");
    let refused = app.verify(&named(told, &made["id"])).await;
    assert_eq!(refused.status, 402, "{refused:?}");
    assert_eq!(now(&app, &made).await, made);

    app.verify(&named_well).await.assert_valid();
    app.verify(&proof).await.assert_valid();
    assert_eq!(now(&app, &made).await["paidUntil"], made["currentPeriodEnd"]);
}

async fn what_takes_no_payments(backend: Backend) {
    let app = backend.app().await;
    let planned = subscribed(&app, json!({})).await;
    let body = json!({"planId": planned["planId"], "agentId": planned["agentId"]});
    let [cancelled, expired] =
        [subscribe(&app, &body).await, subscribe(&app, &with(body, "requirePayment", true)).await];
    cancel(&app, &planned, &json!({})).await;
    cancel(&app, &cancelled, &json!({"atPeriodEnd": false})).await;
    wait_until(&app, &expired["expiresAt"]);
    let paid = app.pay(&app.merchant(), PRICE, Currency::Usdc);
    for (one, what) in [(&planned, "takes no more"), (&cancelled, "cancelled"), (&expired, "expired")] {
        let before = now(&app, one).await;
        let refused = app.verify(&with(app.proof(&paid, "n"), "subscriptionId", one["id"].clone())).await;
        refused.assert_refused("SUBSCRIPTION_INACTIVE");
        assert!(refused.body["error"].as_str().unwrap().contains(what), "{refused:?}");
        assert_eq!(now(&app, one).await, before);
    }
    app.verify(&app.proof(&paid, "n")).await.assert_valid();
}

async fn a_year_ahead_and_no_more(backend: Backend) {
    let app = backend.app().await;
    let made = subscribed_to_pay(&app).await;
    for number in 0..13 {
        pay(&app, &made, PRICE, &format!("period {number}")).await.assert_valid();
    }
    // From 21 September 2026 to 21 October 2027.
    let until = now(&app, &made).await["paidUntil"].clone();
    assert_eq!(until, json!(made["createdAt"].as_i64().unwrap() + 395 * 86_400_000));
    let paid = app.pay(&app.merchant(), PRICE, Currency::Usdc);
    let proof = with(app.proof(&paid, "too far"), "subscriptionId", made["id"].clone());
    app.verify(&proof).await.assert_refused("SUBSCRIPTION_ALREADY_PAID");
    assert_eq!(now(&app, &made).await["paidUntil"], until);
    // What is paid is not lost by cancelling.
    cancel(&app, &made, &json!({})).await;
    wait_until(&app, &json!(until.as_i64().unwrap() - 1));
    let last = now(&app, &made).await;
    assert_eq!((&last["status"], &last["currentPeriodEnd"]), (&json!("active"), &until));
    wait_until(&app, &until);
    assert_eq!(now(&app, &made).await["status"], "cancelled");
}

async fn many_payments_at_once_each_pay_a_period(backend: Backend) {
    let app = backend.app().await;
    let made = subscribed_to_pay(&app).await;
    let proofs: Vec<Value> = (0..16)
        .map(|number| {
            let paid = app.pay(&app.merchant(), PRICE + number, Currency::Usdc);
            let proof = app.proof(&paid, &format!("at once {number}"));
            with(proof, "subscriptionId", made["id"].clone())
        })
        .collect();
    let answers = join_all(proofs.iter().map(|proof| app.verify(proof))).await;
    let good = answers.iter().filter(|answer| answer.status == 200).count();
    let ahead = answers.iter().filter(|answer| answer.code() == "SUBSCRIPTION_ALREADY_PAID").count();
    assert_eq!((good, ahead), (13, 3), "{answers:?}");
    let periods =
        backend.select("SELECT subscription_id, start_ms FROM subscription_periods ORDER BY start_ms").await;
    assert_eq!(periods.len(), 13);
    assert!(periods.is_sorted_by(|(_, one), (_, next)| one < next), "{periods:?}");
    assert_eq!(app.booked().await, 13);
}

async fn one_payment_pays_once(backend: Backend) {
    let app = backend.app().await;
    let made = subscribed_to_pay(&app).await;
    let paid = app.pay(&app.merchant(), PRICE, Currency::Usdc);
    let proof = with(app.proof(&paid, "twins"), "subscriptionId", made["id"].clone());
    let answers = join_all((0..8).map(|_| app.verify(&proof))).await;
    assert_eq!(answers.iter().filter(|answer| answer.status == 200).count(), 1, "{answers:?}");
    assert!(answers.iter().all(|answer| answer.status == 200 || answer.code() == "REPLAY_ATTACK"));
    assert_eq!(now(&app, &made).await["paidUntil"], made["currentPeriodEnd"]);

    // Under an Idempotency-Key, the answer is the first one, and pays nothing more.
    let paid = app.pay(&app.merchant(), PRICE, Currency::Usdc);
    let proof = with(app.proof(&paid, "again"), "subscriptionId", made["id"].clone());
    let verify = || {
        app.send(app.http.post(app.path("/verify")).header("idempotency-key", "k").json(&proof), Some(KEY))
    };
    let (first, again) = (verify().await, verify().await);
    first.assert_valid();
    assert_eq!(again.body, first.body);
    let after = now(&app, &made).await["paidUntil"].as_i64().unwrap();
    assert_eq!(after, made["currentPeriodEnd"].as_i64().unwrap() + 31 * 86_400_000);
}

async fn what_is_paid_ahead_costs_what_was_paid(backend: Backend) {
    let app = backend.app().await;
    let made = subscribed(&app, json!({})).await;
    let change = async |price: &str| {
        let path = app.path(&format!("/plans/{}", made["planId"].as_str().unwrap()));
        let answer = app.send(app.http.patch(path).json(&json!({"pricePerMonth": price})), Some(KEY)).await;
        assert_eq!(answer.status, 200, "{answer:?}");
    };
    pay(&app, &made, PRICE, "second").await.assert_valid();
    change("20").await;
    pay(&app, &made, 2 * PRICE, "third").await.assert_valid();
    change("30").await;
    let mut seen = now(&app, &made).await;
    for price in [10, 20] {
        wait_until(&app, &seen["currentPeriodEnd"]);
        seen = now(&app, &made).await;
        assert_eq!((&seen["status"], &seen["price"]), (&json!("active"), &json!(price)));
        // Written down, and listed.
        assert_eq!(consume(&app, &made, 1).await.status, 201);
        let listed = app.get("/subscriptions", Some(KEY)).await.body["subscriptions"][0].clone();
        assert_eq!((&listed["price"], &now(&app, &made).await["price"]), (&json!(price), &json!(price)));
    }
    wait_until(&app, &seen["currentPeriodEnd"]);
    let due = now(&app, &made).await;
    assert_eq!((&due["status"], &due["price"]), (&json!("past_due"), &json!(30)));
}

//! What agents earn and lose, and what is told of them.

use std::time::Duration;

use pay402::money::Currency;
use serde_json::{Value, json};
use solana_keypair::Keypair;
use solana_signer::Signer;

use super::{agent, limited, patch};
use crate::{
    conformance::{Backend, on_both},
    harness::{KEY, OTHER_KEY, Paid, TestApp, with},
    x402::kit::memo,
};

on_both!(
    trust_grows_point_by_point_to_the_best,
    what_tells_against_an_agent_costs_five_and_nothing_else_does,
    what_happens_to_agents_is_told,
);

macro_rules! scored {
    ($score:literal) => {
        concat!(
            "UPDATE agents SET reputation_score = ",
            $score,
            " RETURNING id, CAST(reputation_score AS BIGINT)"
        )
    };
}

fn pay(app: &TestApp, units: u64, nonce: &str) -> Value {
    let paid = app.pay(&app.merchant(), units, Currency::Usdc);
    app.proof(&paid, nonce)
}

async fn trust_grows_point_by_point_to_the_best(backend: Backend) {
    let app = backend.app().await;
    let made = limited(&app, &app.agent_address(), json!({"perTransaction": "0.05"})).await;
    let steps = [
        (scored!(98), 99, "new"),
        (scored!(99), 100, "verified"),
        (scored!(498), 499, "verified"),
        (scored!(499), 500, "trusted"),
        (scored!(798), 799, "trusted"),
        (scored!(799), 800, "premium"),
        (scored!(998), 999, "premium"),
        (scored!(999), 1000, "premium"),
        (scored!(1000), 1000, "premium"),
    ];
    for (count, (before, score, level)) in (1..).zip(steps) {
        assert_eq!(backend.select(before).await.len(), 1);
        app.verify(&pay(&app, 1, &format!("n{count}"))).await.assert_valid();
        let expected = json!({"score": score, "trustLevel": level, "transactionCount": count});
        assert_eq!(agent(&app, &made["id"], "").await["reputation"], expected);
        let told = agent(&app, &made["id"], "/reputation").await;
        for member in ["score", "trustLevel", "transactionCount"] {
            assert_eq!(told[member], expected[member], "{told}");
        }
    }
    // A failure takes as much from the best as from any other.
    app.verify(&pay(&app, 50_001, "much")).await.assert_refused("SPENDING_LIMIT_EXCEEDED");
    assert_eq!(agent(&app, &made["id"], "").await["reputation"]["score"], 995);
}

/// Every code that a proof is refused with, each under a nonce of its own, since a nonce costs once.
async fn what_tells_against_an_agent_costs_five_and_nothing_else_does(backend: Backend) {
    let app = backend.app().await;
    let body = json!({
        "name": "a", "publicKey": app.agent_address(), "spendingLimit": {"perTransaction": "0.05"},
        "allowedServices": ["/cats/*"],
    });
    let made = app.post("/agents", Some(KEY), &body).await.body;
    assert_eq!(backend.select(scored!(500)).await.len(), 1);
    let score = async || agent(&app, &made["id"], "/reputation").await["score"].as_u64().unwrap();
    // Good in every way, until something about it is changed.
    let fresh = |nonce: &str| with(app.proof(&app.pay_merchant(), nonce), "resource", "/cats/1");

    let (bystander, stranger) = (Keypair::new(), Keypair::new());
    app.chain.sandbox.airdrop(&bystander.pubkey(), 1_000_000_000).unwrap();
    let of = |transaction, units| Paid { transaction, currency: Currency::Usdc, units };
    let failed = app.transfer(&app.merchant(), 2_000_000_000, Currency::Usdc);
    let failed = of(app.land_instructions(&failed, &[app.agent()]), 50_000);
    let anothers = of(app.land_instructions(&[memo(b"mine")], &[&bystander]), 50_000);
    let elsewhere = app.pay(&stranger.pubkey(), 50_000, Currency::Usdc);
    let much = app.pay(&app.merchant(), 50_001, Currency::Usdc);
    let proof = |paid: &Paid, nonce: &str| with(app.proof(paid, nonce), "resource", "/cats/1");
    let costly = [
        ("INVALID_PAYMENT", proof(&anothers, "c1")),
        (
            "INSUFFICIENT_AMOUNT",
            proof(&Paid { units: 50_000, ..app.pay(&app.merchant(), 49_999, Currency::Usdc) }, "c2"),
        ),
        ("TRANSACTION_FAILED", proof(&failed, "c3")),
        ("AMOUNT_MISMATCH", with(fresh("c4"), "amount", "0.049999")),
        ("RECIPIENT_MISMATCH", proof(&elsewhere, "c5")),
        ("CURRENCY_MISMATCH", with(fresh("c6"), "currency", "USDT")),
        ("SPENDING_LIMIT_EXCEEDED", proof(&much, "c7")),
        ("SERVICE_NOT_ALLOWED", with(fresh("c8"), "resource", "/dogs/1")),
    ];
    for (number, (code, bad)) in (1..).zip(costly) {
        for _ in 0..2 {
            app.verify(&bad).await.assert_refused(code);
            assert_eq!(score().await, 500 - 5 * number, "{code}");
        }
    }

    let used = fresh("used");
    app.verify(&used).await.assert_valid();
    let before = score().await;
    let foreign = app.issue(OTHER_KEY, &app.requirement()).await["nonce"].as_str().unwrap().to_owned();
    let plan = json!({"name": "p", "pricePerMonth": "0.01", "currency": "USDC"});
    let plan = app.post("/plans", Some(KEY), &plan).await.body["id"].clone();
    let subscribe = async || {
        let body = json!({"planId": plan, "agentId": made["id"]});
        app.post("/subscriptions", Some(KEY), &body).await.body["id"].as_str().unwrap().to_owned()
    };
    let (ended, ahead) = (subscribe().await, subscribe().await);
    let cancelled =
        app.post(&format!("/subscriptions/{ended}/cancel"), Some(KEY), &json!({"atPeriodEnd": false})).await;
    assert_eq!(cancelled.body["status"], "cancelled", "{cancelled:?}");
    for number in 0..12 {
        app.verify(&with(fresh(&format!("ahead {number}")), "subscriptionId", ahead.as_str()))
            .await
            .assert_valid();
    }
    assert_eq!(score().await, before + 12);
    let free = [
        ("PAYMENT_EXPIRED", with(fresh("f1"), "timestamp", 1)),
        ("INVALID_SIGNATURE", with(fresh("f2"), "nonce", "another")),
        ("NONCE_MISMATCH", fresh(&foreign)),
        ("SUBSCRIPTION_NOT_FOUND", with(fresh("f4"), "subscriptionId", "sub_x")),
        ("SUBSCRIPTION_INACTIVE", with(fresh("f5"), "subscriptionId", ended)),
        ("SUBSCRIPTION_ALREADY_PAID", with(fresh("f6"), "subscriptionId", ahead)),
        ("AGENT_NOT_FOUND", with(fresh("f7"), "agentId", "agent_x")),
        ("REPLAY_ATTACK", used),
    ];
    for (code, bad) in free {
        app.verify(&bad).await.assert_refused(code);
        assert_eq!(score().await, before + 12, "{code}");
    }
}

/// When it happened, newest first.
async fn told(app: &TestApp, key: &str, kind: &str) -> Vec<i64> {
    let answer = app.get(&format!("/analytics/events?type={kind}"), Some(key)).await;
    assert_eq!(answer.status, 200, "{answer:?}");
    let events = answer.body["events"].as_array().unwrap().clone();
    assert_eq!(answer.body["total"], events.len());
    events.iter().map(|event| event["occurredAt"].as_i64().unwrap()).collect()
}

async fn what_happens_to_agents_is_told(backend: Backend) {
    const KINDS: [&str; 4] = ["agent.created", "agent.updated", "agent.deleted", "payment.refused"];
    let app = backend.app().await;
    let mut expected: [Vec<i64>; 4] = Default::default();
    let made = limited(&app, &app.agent_address(), json!({"perTransaction": "0.05"})).await;
    expected[0].insert(0, app.now().0);
    let wait = || app.chain.clock.advance(Duration::from_millis(7));
    for number in 0..2 {
        wait();
        let changed = patch(&app, &made["id"], &json!({"name": format!("name {number}")})).await;
        assert_eq!(changed.status, 200, "{changed:?}");
        expected[1].insert(0, app.now().0);
    }
    let refused = patch(&app, &made["id"], &json!({"name": ""})).await;
    assert_eq!(refused.status, 400, "{refused:?}");
    let taken = json!({"name": "again", "publicKey": app.agent_address()});
    assert_eq!(app.post("/agents", Some(KEY), &taken).await.code(), "AGENT_EXISTS");

    wait();
    let much = pay(&app, 50_001, "much");
    for _ in 0..2 {
        app.verify(&much).await.assert_refused("SPENDING_LIMIT_EXCEEDED");
    }
    expected[3].insert(0, app.now().0);
    wait();
    let wrong = with(pay(&app, 10, "wrong"), "amount", "0.02");
    app.verify(&wrong).await.assert_refused("INSUFFICIENT_AMOUNT");
    expected[3].insert(0, app.now().0);
    // What is stale, and what others prove, is not this agent's doing.
    let stale = with(pay(&app, 10, "stale"), "timestamp", 1);
    app.verify(&stale).await.assert_refused("PAYMENT_EXPIRED");
    app.post("/verify", Some(OTHER_KEY), &wrong).await.assert_refused("INSUFFICIENT_AMOUNT");

    wait();
    let path = format!("/agents/{}", made["id"].as_str().unwrap());
    for status in [200, 404] {
        assert_eq!(app.send(app.http.delete(app.path(&path)), Some(KEY)).await.status, status);
    }
    expected[2].insert(0, app.now().0);
    for (kind, expected) in KINDS.into_iter().zip(expected) {
        assert_eq!(told(&app, KEY, kind).await, expected, "{kind}");
        assert_eq!(told(&app, OTHER_KEY, kind).await, [0_i64; 0], "{kind}");
    }
}

//! What agents earn and lose, and what is told of them.

use std::time::Duration;

use pay402::money::Currency;
use serde_json::{Value, json};

use super::{agent, limited, patch};
use crate::{
    conformance::{Backend, on_both},
    harness::{KEY, OTHER_KEY, TestApp, with},
};

on_both!(trust_grows_point_by_point_to_the_best, what_happens_to_agents_is_told);

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

//! What time makes of subscriptions, with the worker and without.

use std::{sync::Arc, time::Duration};

use pay402::subscriptions::{GRACE, worker::Worker};
use serde_json::{Value, json};
use tokio::time::{Instant, sleep};

use super::{
    DAY, altered, cancel, consume, now,
    payments::{PRICE, pay},
    plus, subscribe, subscribed, subscribed_to_pay, wait_until,
};
use crate::{
    conformance::{Backend, on_both},
    harness::{TestApp, x402::PATIENCE},
};

on_both!(
    an_unpaid_period_is_past_due_and_then_expires,
    a_first_payment_that_never_comes,
    a_worker_that_was_away_tells_all_that_happened_when_it_did,
    two_workers_do_it_once,
    two_workers_tell_of_a_renewal_once,
    what_makes_no_sense_is_in_nobodys_way,
    a_service_looks_after_what_is_due,
);

const EVENTS: &str = "SELECT type, occurred_at_ms FROM analytics_events WHERE subscription_id IS NOT NULL \
                      ORDER BY occurred_at_ms, id";

async fn worker(backend: &Backend, app: &TestApp) -> Worker {
    let store = backend.books().await.subscriptions;
    Worker { store, clock: Arc::clone(&app.chain.clock) as _ }
}

/// Until nothing is left to do, in the service's own worker neither; what the last round did.
async fn rounds(worker: &Worker) -> u32 {
    let mut advanced = worker.round().await.unwrap();
    for _ in 0..100 {
        if advanced == 0 {
            break;
        }
        advanced = worker.round().await.unwrap();
    }
    advanced
}

fn event(kind: &str, at: &Value) -> (String, i64) {
    (format!("subscription.{kind}"), at.as_i64().unwrap())
}

/// Nobody asks for it.
async fn a_service_looks_after_what_is_due(backend: Backend) {
    let made = subscribed(&backend.app().await, json!({})).await;
    // 40 days ago.
    backend
        .execute(
            "UPDATE subscriptions SET current_period_start_ms = current_period_start_ms - 3456000000, \
             current_period_end_ms = current_period_end_ms - 3456000000, due_at_ms = due_at_ms - 3456000000, \
             paid_until_ms = paid_until_ms - 3456000000",
        )
        .await;
    let _app = backend.app().await;
    let deadline = Instant::now() + PATIENCE;
    while !backend.select(EVENTS).await.iter().any(|(kind, _)| kind == "subscription.past_due") {
        assert!(Instant::now() < deadline, "{made} is left as it was");
        sleep(Duration::from_millis(10)).await;
    }
}

async fn an_unpaid_period_is_past_due_and_then_expires(backend: Backend) {
    let app = backend.app().await;
    let made = subscribed(&app, json!({})).await;
    let worker = worker(&backend, &app).await;
    assert_eq!(worker.round().await.unwrap(), 0, "nothing is due");
    let end = made["currentPeriodEnd"].clone();
    wait_until(&app, &(json!(end.as_i64().unwrap() - 1)));
    assert_eq!((now(&app, &made).await, worker.round().await.unwrap()), (made.clone(), 0));

    wait_until(&app, &end);
    let expires_at = plus(&end, GRACE);
    let past_due = altered(
        &made,
        &[
            ("status", json!("past_due")),
            ("currentPeriodStart", end.clone()),
            // October has 31 days.
            ("currentPeriodEnd", plus(&end, 31 * DAY)),
            ("expiresAt", expires_at.clone()),
            ("updatedAt", end.clone()),
        ],
    );
    assert_eq!(now(&app, &made).await, past_due, "at once, without the worker");
    assert_eq!(rounds(&worker).await, 0);
    assert_eq!(now(&app, &made).await, past_due, "and with it");
    let refused = consume(&app, &made, 1).await;
    assert_eq!((refused.status, refused.code()), (409, "SUBSCRIPTION_INACTIVE"), "{refused:?}");

    wait_until(&app, &expires_at);
    let mut expired = altered(
        &past_due,
        &[("status", json!("expired")), ("endedAt", expires_at.clone()), ("updatedAt", expires_at.clone())],
    );
    expired.as_object_mut().unwrap().remove("expiresAt");
    assert_eq!(now(&app, &made).await, expired);
    assert_eq!(rounds(&worker).await, 0);
    assert_eq!(now(&app, &made).await, expired);
    app.chain.clock.advance(100 * DAY);
    assert_eq!((worker.round().await.unwrap(), now(&app, &made).await), (0, expired));
    let told = [event("created", &made["createdAt"]), event("past_due", &end), event("expired", &expires_at)];
    assert_eq!(backend.select(EVENTS).await, told);
}

async fn a_first_payment_that_never_comes(backend: Backend) {
    let app = backend.app().await;
    let made = subscribed_to_pay(&app).await;
    assert_eq!(consume(&app, &made, 1).await.code(), "SUBSCRIPTION_INACTIVE");
    wait_until(&app, &json!(made["expiresAt"].as_i64().unwrap() - 1));
    assert_eq!(now(&app, &made).await, made);
    wait_until(&app, &made["expiresAt"]);
    assert_eq!(now(&app, &made).await["status"], "expired");
    // What was noticed late is told all the same: by whoever changes it first.
    assert_eq!(cancel(&app, &made, &json!({})).await.body["status"], "expired");
    let told = [event("created", &made["createdAt"]), event("expired", &made["expiresAt"])];
    assert_eq!(backend.select(EVENTS).await, told);
}

async fn a_worker_that_was_away_tells_all_that_happened_when_it_did(backend: Backend) {
    let app = backend.app().await;
    let made = subscribed(&app, json!({})).await;
    let body = json!({"planId": made["planId"], "agentId": made["agentId"]});
    let cancelled = subscribe(&app, &body).await;
    cancel(&app, &cancelled, &json!({})).await;
    app.chain.clock.advance(400 * DAY);
    let worker = worker(&backend, &app).await;
    assert_eq!(rounds(&worker).await, 0);
    let (start, end) = (&made["createdAt"], &made["currentPeriodEnd"]);
    let mut told = backend.select(EVENTS).await;
    let mut expected = [
        event("created", start),
        event("created", start),
        event("cancel_scheduled", start),
        event("cancelled", end),
        event("past_due", end),
        event("expired", &plus(end, GRACE)),
    ];
    told.sort();
    expected.sort();
    assert_eq!(told, expected);
    assert_eq!(now(&app, &cancelled).await["status"], "cancelled");
    assert_eq!(now(&app, &made).await["status"], "expired");
}

async fn two_workers_do_it_once(backend: Backend) {
    let app = backend.app().await;
    let made = subscribed(&app, json!({})).await;
    let body = json!({"planId": made["planId"], "agentId": made["agentId"]});
    // More than share a database transaction.
    for _ in 1..130 {
        subscribe(&app, &body).await;
    }
    let workers = [worker(&backend, &app).await, worker(&backend, &app).await];
    wait_until(&app, &made["currentPeriodEnd"]);
    // What the other one has in hand is left to it, so each goes round until nothing is left.
    tokio::join!(rounds(&workers[0]), rounds(&workers[1]));
    let told = backend.select(EVENTS).await;
    let past_due = told.iter().filter(|(kind, _)| kind == "subscription.past_due").count();
    assert_eq!(past_due, 130);
}

async fn two_workers_tell_of_a_renewal_once(backend: Backend) {
    let app = backend.app().await;
    let made = subscribed(&app, json!({})).await;
    for nonce in ["second", "third"] {
        pay(&app, &made, PRICE, nonce).await.assert_valid();
    }
    let workers = [worker(&backend, &app).await, worker(&backend, &app).await];
    let mut told = vec![event("created", &made["createdAt"])];
    told.extend([event("paid", &json!(app.now())), event("paid", &json!(app.now()))]);
    for _ in 0..2 {
        let before = now(&app, &made).await;
        wait_until(&app, &before["currentPeriodEnd"]);
        let renewed = now(&app, &made).await;
        tokio::join!(rounds(&workers[0]), rounds(&workers[1]));
        told.push(event("renewed", &before["currentPeriodEnd"]));
        assert_eq!(by_time(backend.select(EVENTS).await), by_time(told.clone()));
        let written = backend.select("SELECT status, current_period_start_ms FROM subscriptions").await;
        assert_eq!(written, [("active".to_owned(), before["currentPeriodEnd"].as_i64().unwrap())]);
        assert_eq!(now(&app, &made).await, renewed, "nobody sees that it was written down");
    }
}

fn by_time(mut told: Vec<(String, i64)>) -> Vec<(String, i64)> {
    told.sort_by(|(one, at), (other, later)| (at, one).cmp(&(later, other)));
    told
}

/// A hundred rows that nothing can be made of, due before all others.
async fn what_makes_no_sense_is_in_nobodys_way(backend: Backend) {
    let app = backend.app().await;
    let first = subscribed(&app, json!({})).await;
    let body = json!({"planId": first["planId"], "agentId": first["agentId"]});
    for _ in 1..100 {
        subscribe(&app, &body).await;
    }
    // No key is written with zeros.
    let spoilt = backend
        .select(
            "UPDATE subscriptions SET wallet_address = '00000000000000000000000000000000' \
             RETURNING id, CAST(1 AS BIGINT)",
        )
        .await;
    assert_eq!(spoilt.len(), 100);
    app.chain.clock.advance(DAY);
    let mut last = Value::Null;
    for _ in 0..5 {
        last = subscribe(&app, &body).await;
    }
    wait_until(&app, &last["currentPeriodEnd"]);
    worker(&backend, &app).await.round().await.unwrap();
    let told = backend.select(EVENTS).await;
    let past_due = told.iter().filter(|(kind, _)| kind == "subscription.past_due").count();
    assert_eq!(past_due, 5);
}

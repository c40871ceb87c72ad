//! Cancelling.

use std::time::Duration;

use serde_json::json;

use super::{DAY, altered, cancel, consume, now, subscribed, subscribed_to_pay, wait_until};
use crate::{
    conformance::{Backend, on_both},
    harness::KEY,
};

on_both!(
    with_the_period,
    at_once,
    what_is_past_due_ends_at_once,
    what_has_ended_stays_as_it_is,
    a_wrong_field_is_named,
);

async fn with_the_period(backend: Backend) {
    let app = backend.app().await;
    let made = subscribed(&app, json!({})).await;
    app.chain.clock.advance(DAY);
    let planned = altered(&made, &[("cancelAtPeriodEnd", json!(true)), ("updatedAt", json!(app.now()))]);
    for body in [json!({}), json!({"atPeriodEnd": true}), json!({"atPeriodEnd": null, "future": 1})] {
        let answer = cancel(&app, &made, &body).await;
        assert_eq!((answer.status, &answer.body), (200, &planned));
        app.chain.clock.advance(Duration::from_secs(1));
    }
    assert_eq!(consume(&app, &made, 1).await.status, 201, "until then it may be used");
    wait_until(&app, &made["currentPeriodEnd"]);
    let end = made["currentPeriodEnd"].clone();
    let over = [("status", json!("cancelled")), ("endedAt", end.clone()), ("updatedAt", end)];
    assert_eq!(now(&app, &made).await, altered(&planned, &over));
    assert_eq!(consume(&app, &made, 1).await.code(), "SUBSCRIPTION_INACTIVE");
}

async fn at_once(backend: Backend) {
    let app = backend.app().await;
    let made = subscribed(&app, json!({})).await;
    app.chain.clock.advance(DAY);
    let over =
        [("status", json!("cancelled")), ("endedAt", json!(app.now())), ("updatedAt", json!(app.now()))];
    let cancelled = cancel(&app, &made, &json!({"atPeriodEnd": false})).await;
    assert_eq!((cancelled.status, &cancelled.body), (200, &altered(&made, &over)));
    assert_eq!(consume(&app, &made, 1).await.code(), "SUBSCRIPTION_INACTIVE");

    // Also one that was to run until the end of its period.
    let body = json!({"planId": made["planId"], "agentId": made["agentId"]});
    let second = super::subscribe(&app, &body).await;
    assert_eq!(cancel(&app, &second, &json!({})).await.body["status"], "active");
    let cancelled = cancel(&app, &second, &json!({"atPeriodEnd": false})).await.body;
    assert_eq!((&cancelled["status"], &cancelled["cancelAtPeriodEnd"]), (&json!("cancelled"), &json!(false)));
}

async fn what_is_past_due_ends_at_once(backend: Backend) {
    let app = backend.app().await;
    let made = subscribed_to_pay(&app).await;
    app.chain.clock.advance(DAY);
    let cancelled = cancel(&app, &made, &json!({"atPeriodEnd": true})).await.body;
    assert_eq!((&cancelled["status"], &cancelled["endedAt"]), (&json!("cancelled"), &json!(app.now())));
    assert_eq!(cancelled.get("expiresAt"), None);
}

async fn what_has_ended_stays_as_it_is(backend: Backend) {
    let app = backend.app().await;
    let made = subscribed(&app, json!({})).await;
    cancel(&app, &made, &json!({"atPeriodEnd": false})).await;
    let body = json!({"planId": made["planId"], "agentId": made["agentId"], "requirePayment": true});
    let unpaid = super::subscribe(&app, &body).await;
    app.chain.clock.advance(8 * DAY);
    for (one, status) in [(&made, "cancelled"), (&unpaid, "expired")] {
        let before = now(&app, one).await;
        assert_eq!(before["status"], status);
        for body in [json!({}), json!({"atPeriodEnd": false})] {
            let answer = cancel(&app, one, &body).await;
            assert_eq!((answer.status, &answer.body), (200, &before));
        }
    }
}

async fn a_wrong_field_is_named(backend: Backend) {
    let app = backend.app().await;
    let made = subscribed(&app, json!({})).await;
    let answer = cancel(&app, &made, &json!({"atPeriodEnd": "no"})).await;
    assert_eq!((answer.status, answer.fields()), (400, vec!["atPeriodEnd"]), "{answer:?}");
    let path = format!("/subscriptions/{}/cancel", made["id"].as_str().unwrap());
    let answer = app.send(app.http.post(app.path(&path)), Some(KEY)).await;
    assert_eq!(answer.status, 415, "{answer:?}");
    assert_eq!(now(&app, &made).await, made);
}

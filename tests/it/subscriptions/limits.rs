//! Limits of a day and of a period.

use std::{sync::Arc, time::Duration};

use futures_util::future::join_all;
use pay402::{
    analytics::{Rollup, SETTLED_AFTER},
    calendar::DAY_MS,
};
use serde_json::{Value, json};

use super::{
    DAY, consume,
    payments::{PRICE, pay},
    subscribed, wait_until,
};
use crate::{
    conformance::{Backend, on_both},
    harness::{Answer, KEY, OTHER_KEY, TestApp, with},
};

on_both!(
    a_day_has_its_limit_and_the_next_another,
    a_period_has_its_limit_whatever_the_day,
    limits_that_change_hold_at_once,
    many_at_once_get_what_there_is,
    a_limit_that_is_reached_is_told_once_for_each_window,
    usage_is_refused_though_it_cannot_be_told,
);

async fn a_day_has_its_limit_and_the_next_another(backend: Backend) {
    let app = backend.app().await;
    let made = subscribed(&app, json!({"requestsPerDay": 5})).await;
    assert_eq!(consume(&app, &made, 3).await.status, 201);
    let midnight = (app.now().0 / DAY_MS + 1) * DAY_MS;
    let refused = consume(&app, &made, 3).await;
    assert_eq!((refused.status, refused.code()), (429, "USAGE_LIMIT_EXCEEDED"), "{refused:?}");
    let quota = json!({"window": "day", "limit": 5, "used": 3, "left": 2, "resetsAt": midnight});
    assert_eq!(refused.body["quota"], quota);
    let wait: i64 = refused.headers["retry-after"].to_str().unwrap().parse().unwrap();
    assert_eq!(
        wait,
        (midnight - app.now().0).div_euclid(1000) + i64::from((midnight - app.now().0) % 1000 != 0)
    );
    assert_eq!(consume(&app, &made, 2).await.status, 201, "what is left can be used");
    let empty = consume(&app, &made, 1).await;
    assert_eq!(empty.body["quota"], with(with(quota, "used", 5), "left", 0));

    super::wait_until(&app, &json!(midnight - 1));
    assert_eq!(consume(&app, &made, 1).await.status, 429);
    super::wait_until(&app, &json!(midnight));
    assert_eq!(consume(&app, &made, 5).await.status, 201);
    // Told late, it counts on its own day, which is full.
    let late = json!({"subscriptionId": made["id"], "quantity": 1, "timestamp": midnight - 1});
    let refused = app.post("/usage", Some(KEY), &late).await;
    assert_eq!((refused.status, &refused.body["quota"]["resetsAt"]), (429, &json!(midnight)), "{refused:?}");
    assert_eq!(refused.headers.get("retry-after"), None, "it will not be any emptier");
}

async fn a_period_has_its_limit_whatever_the_day(backend: Backend) {
    let app = backend.app().await;
    let made = subscribed(&app, json!({"requestsPerMonth": 10, "requestsPerDay": 6})).await;
    assert_eq!(consume(&app, &made, 6).await.status, 201);
    app.chain.clock.advance(DAY);
    let refused = consume(&app, &made, 5).await;
    let end = &made["currentPeriodEnd"];
    let quota = json!({"window": "period", "limit": 10, "used": 6, "left": 4, "resetsAt": end});
    assert_eq!((refused.status, &refused.body["quota"]), (429, &quota));
    assert_eq!(consume(&app, &made, 4).await.status, 201);
    app.chain.clock.advance(DAY);
    assert_eq!(consume(&app, &made, 1).await.body["quota"]["left"], 0);
}

async fn limits_that_change_hold_at_once(backend: Backend) {
    let app = backend.app().await;
    let made = subscribed(&app, json!({"requestsPerDay": 5})).await;
    assert_eq!(consume(&app, &made, 5).await.status, 201);
    let change = async |limits| {
        let path = app.path(&format!("/plans/{}", made["planId"].as_str().unwrap()));
        let answer = app.send(app.http.patch(path).json(&json!({"limits": limits})), Some(KEY)).await;
        assert_eq!(answer.status, 200, "{answer:?}");
    };
    change(json!({"requestsPerDay": 6})).await;
    assert_eq!(consume(&app, &made, 1).await.status, 201);
    change(json!({"requestsPerDay": 2})).await;
    let refused = consume(&app, &made, 1).await;
    assert_eq!(refused.body["quota"]["left"], 0, "{refused:?}");
    change(json!(null)).await;
    assert_eq!(consume(&app, &made, 1_000_000).await.status, 201);
}

/// Sent again under its own key, everything counts once. [`conformance`](crate::conformance) asks two instances.
async fn many_at_once_get_what_there_is(backend: Backend) {
    let app = backend.app().await;
    let made = subscribed(&app, json!({"requestsPerDay": 20})).await;
    let answers = (0..64).map(|n| {
        let body =
            json!({"subscriptionId": made["id"], "quantity": 1, "idempotencyKey": format!("key {}", n % 32)});
        let app = &app;
        async move { app.post("/usage", Some(KEY), &body).await }
    });
    let answers = join_all(answers).await;
    let counted = answers.iter().filter(|answer| answer.body["usage"][0]["repeated"] == false).count();
    assert_eq!(counted, 20);
    assert!(answers.iter().all(|answer| answer.status == 201 || answer.code() == "USAGE_LIMIT_EXCEEDED"));
    app.chain.clock.advance(Duration::from_secs(1));
    let path = format!("/subscriptions/{}/usage", made["id"].as_str().unwrap());
    let report = app.get(&path, Some(KEY)).await.body;
    assert_eq!((&report["today"]["used"], &report["total"]), (&json!(20), &json!(20)));
    assert_eq!(told(&app, KEY).await.len(), 1);
}

/// That limits were reached, the last first, as often as it is counted.
async fn told(app: &TestApp, key: &str) -> Vec<Value> {
    let answer = app.get("/analytics/events?type=usage.limit_reached", Some(key)).await;
    assert_eq!(answer.status, 200, "{answer:?}");
    let events = answer.body["events"].as_array().unwrap().clone();
    assert_eq!(answer.body["total"], events.len(), "{answer:?}");
    events
}

#[track_caller]
fn assert_in_the_way(refused: &Answer, window: &str) {
    assert_eq!((refused.status, &refused.body["quota"]["window"]), (429, &json!(window)), "{refused:?}");
}

async fn a_limit_that_is_reached_is_told_once_for_each_window(backend: Backend) {
    let app = backend.app().await;
    let made = subscribed(&app, json!({"requestsPerDay": 5, "requestsPerMonth": 8})).await;
    let mut expected: Vec<i64> = Vec::new();
    let check = async |expected: &[i64]| {
        let told = told(&app, KEY).await;
        let times: Vec<i64> = told.iter().map(|event| event["occurredAt"].as_i64().unwrap()).collect();
        assert_eq!(times, expected, "{told:?}");
        for event in &told {
            assert_eq!((&event["subscriptionId"], &event["agentId"]), (&made["id"], &made["agentId"]));
        }
    };
    assert_eq!(consume(&app, &made, 5).await.status, 201);
    check(&expected).await;
    expected.insert(0, app.now().0);
    for _ in 0..3 {
        assert_in_the_way(&consume(&app, &made, 1).await, "day");
        check(&expected).await;
        app.chain.clock.advance(Duration::from_millis(7));
    }
    // Of the day before it is told already, late as it is; the period has another limit.
    let midnight = (app.now().0 / DAY_MS + 1) * DAY_MS;
    wait_until(&app, &json!(midnight));
    assert_eq!(consume(&app, &made, 2).await.status, 201);
    let late = json!({"subscriptionId": made["id"], "quantity": 1, "timestamp": midnight - 1});
    assert_in_the_way(&app.post("/usage", Some(KEY), &late).await, "day");
    check(&expected).await;
    expected.insert(0, app.now().0);
    for _ in 0..2 {
        assert_in_the_way(&consume(&app, &made, 2).await, "period");
        app.chain.clock.advance(DAY);
    }
    check(&expected).await;
    // Sums of what is long past hold it too.
    let rollup = Rollup::new(backend.books().await.analytics, Arc::clone(&app.chain.clock) as _);
    app.chain.clock.advance(SETTLED_AFTER);
    assert!(rollup.round().await.unwrap());
    check(&expected).await;

    wait_until(&app, &made["currentPeriodEnd"]);
    pay(&app, &made, PRICE, "renewal").await.assert_valid();
    check(&expected).await;
    for (more, window) in [(6, "day"), (9, "period")] {
        app.chain.clock.advance(Duration::from_millis(7));
        expected.insert(0, app.now().0);
        for _ in 0..2 {
            assert_in_the_way(&consume(&app, &made, more).await, window);
        }
        check(&expected).await;
    }
    assert!(told(&app, OTHER_KEY).await.is_empty());
}

async fn usage_is_refused_though_it_cannot_be_told(backend: Backend) {
    let app = backend.app().await;
    let made = subscribed(&app, json!({"requestsPerDay": 2})).await;
    backend.execute("ALTER TABLE subscriptions DROP COLUMN day_limit_told_ms").await;
    for left in [2, 1, 0] {
        let refused = consume(&app, &made, 3).await;
        assert_in_the_way(&refused, "day");
        assert_eq!(refused.body["quota"]["left"], left);
        assert_eq!(consume(&app, &made, 1).await.status, if left > 0 { 201 } else { 429 });
    }
    assert_eq!(told(&app, KEY).await.len(), 0);
}

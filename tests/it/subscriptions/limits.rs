//! Limits of a day and of a period.

use std::time::Duration;

use futures_util::future::join_all;
use pay402::calendar::DAY_MS;
use serde_json::json;

use super::{DAY, consume, subscribed};
use crate::{
    conformance::{Backend, on_both},
    harness::{KEY, with},
};

on_both!(
    a_day_has_its_limit_and_the_next_another,
    a_period_has_its_limit_whatever_the_day,
    limits_that_change_hold_at_once,
    many_at_once_get_what_there_is,
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
}

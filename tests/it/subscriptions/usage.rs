//! Counting usage: fields, batches, keys, and what is reported of it.

use std::time::Duration;

use serde_json::{Value, json};

use super::{DAY, altered, cancel, consume, subscribe, subscribed};
use crate::{
    conformance::{Backend, on_both},
    harness::{Answer, KEY, OTHER_KEY, TestApp, with},
};

on_both!(
    usage_is_counted_and_listed,
    every_field_that_is_wrong_is_named,
    a_batch_counts_as_a_whole_or_not_at_all,
    under_one_key_it_counts_once,
    sums_by_day_and_by_resource,
    reports_of_other_periods,
    what_has_ended_is_not_used,
    a_request_counts_once_however_large_its_answer,
    a_request_whose_answer_was_lost_counts_once,
    a_refused_batch_is_not_part_of_what_is_used,
);

async fn send(app: &TestApp, body: &Value) -> Answer {
    app.post("/usage", Some(KEY), body).await
}

/// The subscription's report.
async fn report(app: &TestApp, subscription: &Value, query: &str) -> Value {
    let path = format!("/subscriptions/{}/usage{query}", subscription["id"].as_str().unwrap());
    let answer = app.get(&path, Some(KEY)).await;
    assert_eq!(answer.status, 200, "{answer:?}");
    answer.body
}

async fn usage_is_counted_and_listed(backend: Backend) {
    let app = backend.app().await;
    let made = subscribed(&app, json!({"requestsPerMonth": 10})).await;
    app.chain.clock.advance(Duration::from_secs(10));
    let at = app.now().0 - 5000;
    let full = json!({
        "subscriptionId": made["id"], "quantity": 3, "resource": "/weather", "timestamp": at, "idempotencyKey": "k 1",
        "metadata": {"a": [1.50]}, "future": 1,
    });
    let answer = send(&app, &full).await;
    assert_eq!(answer.status, 201, "{answer:?}");
    let first = &answer.body["usage"][0];
    assert!(first["id"].as_str().unwrap().starts_with("usage_"), "{answer:?}");
    let mut expected = with(full, "id", first["id"].clone());
    expected.as_object_mut().unwrap().remove("future");
    let expected = with(with(expected, "recordedAt", app.now().0), "livemode", false);
    assert_eq!(answer.body, json!({"usage": [with(expected.clone(), "repeated", false)]}));

    // By the other path, and with no more than there must be.
    let least = json!({"subscriptionId": made["id"], "quantity": 1, "resource": null, "timestamp": null});
    let answer = app.post("/subscriptions/usage", Some(KEY), &least).await;
    let second = answer.body["usage"][0].clone();
    let plain = json!({
        "id": second["id"], "subscriptionId": made["id"], "quantity": 1, "timestamp": app.now(), "recordedAt": app.now(),
        "livemode": false,
    });
    assert_eq!((answer.status, &second), (201, &with(plain.clone(), "repeated", false)));

    let midnight = (app.now().0 / 86_400_000 + 1) * 86_400_000;
    let report = report(&app, &made, "").await;
    assert_eq!(
        report,
        json!({
            "period": {
                "start": made["currentPeriodStart"], "end": made["currentPeriodEnd"], "used": 4, "limit": 10, "left": 6,
                "resetsAt": made["currentPeriodEnd"],
            },
            "today": {"date": "2026-09-21", "used": 4, "limit": null, "left": null, "resetsAt": midnight},
            "usage": [plain, expected], "total": 2, "limit": 50, "offset": 0, "livemode": false,
            "byDay": [{"date": "2026-09-21", "quantity": 4, "records": 2}],
            "byResource": [
                {"resource": "/weather", "quantity": 3, "records": 1},
                {"resource": null, "quantity": 1, "records": 1},
            ],
        })
    );
}

async fn every_field_that_is_wrong_is_named(backend: Backend) {
    let app = backend.app().await;
    let made = subscribed(&app, json!({})).await;
    let good = json!({"subscriptionId": made["id"], "quantity": 1});
    let cases = [
        ("subscriptionId", json!(null)),
        ("subscriptionId", json!("")),
        ("subscriptionId", json!(1)),
        ("quantity", json!(null)),
        ("quantity", json!(0)),
        ("quantity", json!(-1)),
        ("quantity", json!(1.5)),
        ("quantity", json!("1")),
        ("quantity", json!(1_000_000_001)),
        ("resource", json!("")),
        ("resource", json!("x".repeat(2049))),
        ("timestamp", json!("now")),
        ("timestamp", json!(app.now().0 + 60_001)),
        ("timestamp", json!(made["currentPeriodStart"].as_i64().unwrap() - 1)),
        ("timestamp", json!(-1)),
        ("idempotencyKey", json!("")),
        ("idempotencyKey", json!("x".repeat(256))),
        // As those that the service gives.
        ("idempotencyKey", json!("\u{1}request x 0")),
        ("metadata", json!([])),
        ("metadata", json!({"a": "x".repeat(4096)})),
    ];
    for (field, value) in cases {
        let wrong = with(good.clone(), field, value);
        let answer = send(&app, &wrong).await;
        assert_eq!((answer.status, answer.code()), (400, "VALIDATION_FAILED"), "{field} {answer:?}");
        assert_eq!(answer.fields(), [field], "{answer:?}");
        let answer = send(&app, &json!({"usage": [good, wrong]})).await;
        assert_eq!(
            (answer.status, answer.fields()),
            (400, vec![format!("usage.1.{field}").as_str()]),
            "{answer:?}"
        );
    }
    for (body, field) in [
        (json!({"usage": []}), "usage"),
        (json!({"usage": {}}), "usage"),
        (json!({"usage": [1]}), "usage.0"),
        (json!({"usage": vec![good.clone(); 101]}), "usage"),
        (json!({"usage": [good], "quantity": 1}), "usage"),
    ] {
        let answer = send(&app, &body).await;
        assert_eq!((answer.status, answer.fields()), (400, vec![field]), "{answer:?}");
    }
    let answer = send(&app, &json!({"usage": [{}, {"quantity": 0}]})).await;
    let fields = ["usage.0.subscriptionId", "usage.0.quantity", "usage.1.subscriptionId", "usage.1.quantity"];
    assert_eq!(answer.fields(), fields, "{answer:?}");

    // At the edges it is counted; what is a little ahead counts as now.
    for timestamp in [made["currentPeriodStart"].clone(), json!(app.now().0 + 60_000)] {
        let answer = send(&app, &with(good.clone(), "timestamp", timestamp)).await;
        assert_eq!((answer.status, &answer.body["usage"][0]["timestamp"]), (201, &json!(app.now())));
    }
    let large = altered(&good, &[("quantity", json!(1_000_000_000)), ("resource", json!("é".repeat(1024)))]);
    assert_eq!(send(&app, &large).await.status, 201);
    assert_eq!(report(&app, &made, "").await["total"], 3);
}

async fn a_batch_counts_as_a_whole_or_not_at_all(backend: Backend) {
    let app = backend.app().await;
    let first = subscribed(&app, json!({"requestsPerDay": 150})).await;
    let body = json!({"planId": first["planId"], "agentId": first["agentId"]});
    let second = subscribe(&app, &body).await;
    let one = |subscription: &Value| json!({"subscriptionId": subscription["id"], "quantity": 1});
    // The larger id first: locks are not taken in this order.
    let many: Vec<Value> = (0..100).map(|n| one(if n % 2 == 0 { &second } else { &first })).collect();
    let answer = send(&app, &json!({"usage": many})).await;
    assert_eq!((answer.status, answer.body["usage"].as_array().unwrap().len()), (201, 100), "{answer:?}");
    let ids: Vec<&Value> = many.iter().map(|one| &one["subscriptionId"]).collect();
    let counted = answer.body["usage"].as_array().unwrap();
    assert_eq!(counted.iter().map(|one| &one["subscriptionId"]).collect::<Vec<_>>(), ids, "in its order");

    let unknown = json!({"subscriptionId": "sub_00000000000000000000000000", "quantity": 1});
    let over = json!({"subscriptionId": first["id"], "quantity": 101});
    let early = with(one(&first), "timestamp", 0);
    for (wrong, status, code, field) in [
        (unknown, 404, "SUBSCRIPTION_NOT_FOUND", "usage.2"),
        (over, 429, "USAGE_LIMIT_EXCEEDED", "usage.2"),
        (early, 400, "VALIDATION_FAILED", "usage.2.timestamp"),
    ] {
        let answer = send(&app, &json!({"usage": [one(&first), one(&second), wrong, one(&first)]})).await;
        assert_eq!(
            (answer.status, answer.code(), answer.fields()),
            (status, code, vec![field]),
            "{answer:?}"
        );
    }
    for one in [&first, &second] {
        let report = report(&app, one, "?limit=1").await;
        assert_eq!((&report["today"]["used"], &report["total"]), (&json!(50), &json!(50)));
        assert_eq!(
            (&report["byDay"][0]["quantity"], &report["byResource"][0]["records"]),
            (&json!(50), &json!(50))
        );
    }
    let other = app.post("/usage", Some(OTHER_KEY), &one(&first)).await;
    assert_eq!((other.status, other.code()), (404, "SUBSCRIPTION_NOT_FOUND"), "{other:?}");
}

async fn under_one_key_it_counts_once(backend: Backend) {
    let app = backend.app().await;
    let made = subscribed(&app, json!({"requestsPerDay": 2})).await;
    let keyed = json!({"subscriptionId": made["id"], "quantity": 2, "resource": "/a", "idempotencyKey": "k"});
    let first = send(&app, &keyed).await;
    assert_eq!(first.body["usage"][0]["repeated"], false);
    app.chain.clock.advance(Duration::from_secs(100));
    // Though nothing is left, and later still though it has ended.
    let again = altered(&first.body["usage"][0], &[("repeated", json!(true))]);
    let repeated = send(&app, &keyed).await;
    assert_eq!((repeated.status, &repeated.body), (201, &json!({"usage": [again]})));
    for (member, value) in [
        ("quantity", json!(1)),
        ("resource", json!("/b")),
        ("timestamp", json!(app.now())),
        ("metadata", json!({})),
    ] {
        let answer = send(&app, &with(keyed.clone(), member, value)).await;
        assert_eq!((answer.status, answer.code()), (409, "IDEMPOTENCY_CONFLICT"), "{answer:?}");
    }
    assert_eq!(report(&app, &made, "").await["period"]["used"], 2);

    // Twins in one batch; the key is the subscription's own.
    app.chain.clock.advance(DAY);
    let body = json!({"planId": made["planId"], "agentId": made["agentId"]});
    let second = subscribe(&app, &body).await;
    let others = with(keyed.clone(), "subscriptionId", second["id"].clone());
    let answer = send(&app, &json!({"usage": [others, keyed, others]})).await;
    let marks: Vec<&Value> =
        answer.body["usage"].as_array().unwrap().iter().map(|one| &one["repeated"]).collect();
    assert_eq!(marks, [&json!(false), &json!(true), &json!(true)]);
    let answer = send(&app, &json!({"usage": [others, with(others.clone(), "quantity", 1)]})).await;
    assert_eq!((answer.code(), answer.fields()), ("IDEMPOTENCY_CONFLICT", vec!["usage.1"]), "{answer:?}");
    assert_eq!(report(&app, &second, "").await["period"]["used"], 2);

    cancel(&app, &made, &json!({"atPeriodEnd": false})).await;
    assert_eq!(send(&app, &keyed).await.body, repeated.body);
}

async fn sums_by_day_and_by_resource(backend: Backend) {
    let app = backend.app().await;
    let made = subscribed(&app, json!({})).await;
    for (day, resource, quantity) in
        [(0, "/a", 5), (0, "/b", 1), (1, "/b", 1), (1, "/b", 2), (3, "/c", 4), (3, "/b", 1)]
    {
        let timestamp = made["createdAt"].as_i64().unwrap() + day * 86_400_000;
        if timestamp > app.now().0 {
            super::wait_until(&app, &json!(timestamp));
        }
        let body = json!({"subscriptionId": made["id"], "quantity": quantity, "resource": resource});
        assert_eq!(send(&app, &body).await.status, 201);
    }
    // Told late, it counts on the day it was used.
    let late = json!({
        "subscriptionId": made["id"], "quantity": 10, "resource": "/a", "timestamp": made["createdAt"],
    });
    assert_eq!(send(&app, &late).await.status, 201);
    let all = report(&app, &made, "").await;
    let day = |date: &str, quantity: u64, records: u64| json!({"date": date, "quantity": quantity, "records": records});
    assert_eq!(
        all["byDay"],
        json!([day("2026-09-21", 16, 3), day("2026-09-22", 3, 2), day("2026-09-24", 5, 2)])
    );
    let of = |resource: &str, quantity: u64, records: u64| json!({"resource": resource, "quantity": quantity, "records": records});
    assert_eq!(all["byResource"], json!([of("/a", 15, 2), of("/b", 5, 4), of("/c", 4, 1)]));
    assert_eq!(
        (&all["total"], &all["period"]["used"], &all["today"]["used"]),
        (&json!(7), &json!(24), &json!(5))
    );
    let times: Vec<i64> =
        all["usage"].as_array().unwrap().iter().map(|one| one["timestamp"].as_i64().unwrap()).collect();
    assert!(times.is_sorted_by(|newer, older| newer >= older), "{times:?}");

    let part = report(&app, &made, "?limit=2&offset=1").await;
    assert_eq!(part["usage"].as_array().unwrap(), &all["usage"].as_array().unwrap()[1..3]);
    assert_eq!(part["byResource"], json!([of("/b", 5, 4), of("/c", 4, 1)]));
    assert_eq!((&part["byDay"], &part["total"], &part["limit"]), (&all["byDay"], &json!(7), &json!(2)));
}

async fn reports_of_other_periods(backend: Backend) {
    let app = backend.app().await;
    let made = subscribed(&app, json!({"requestsPerDay": 9})).await;
    assert_eq!(consume(&app, &made, 7).await.status, 201);
    let first = report(&app, &made, "").await;
    super::wait_until(&app, &made["currentPeriodEnd"]);
    let second = report(&app, &made, "").await;
    assert_eq!((&second["period"]["start"], &second["total"]), (&made["currentPeriodEnd"], &json!(0)));
    assert_eq!((&second["today"]["used"], &second["usage"]), (&json!(0), &json!([])));

    let past = report(&app, &made, &format!("?at={}", made["createdAt"])).await;
    let mut expected = first.clone();
    expected.as_object_mut().unwrap().remove("today");
    assert_eq!(past, expected, "but for today");
    let before = report(&app, &made, "?at=0").await;
    assert_eq!((&before["total"], &before["byDay"]), (&json!(0), &json!([])));
    for wrong in ["-1", "x", "4102444800001", "1.5"] {
        let path = format!("/subscriptions/{}/usage?at={wrong}", made["id"].as_str().unwrap());
        let answer = app.get(&path, Some(KEY)).await;
        assert_eq!((answer.status, answer.fields()), (400, vec!["at"]), "{answer:?}");
    }
    // Once it has ended, its last period is reported.
    app.chain.clock.advance(100 * DAY);
    let last = report(&app, &made, "").await;
    assert_eq!((&last["period"]["start"], last.get("today")), (&made["currentPeriodEnd"], None));
}

async fn what_has_ended_is_not_used(backend: Backend) {
    let app = backend.app().await;
    let made = subscribed(&app, json!({})).await;
    cancel(&app, &made, &json!({"atPeriodEnd": false})).await;
    let answer = consume(&app, &made, 1).await;
    assert_eq!((answer.status, answer.code()), (409, "SUBSCRIPTION_INACTIVE"), "{answer:?}");
    assert!(answer.body["error"].as_str().unwrap().contains("cancelled"), "{answer:?}");
    assert_eq!(report(&app, &made, "").await["total"], 0);
}

async fn send_once(app: &TestApp, path: &str, key: &str, body: &Value) -> Answer {
    app.send(app.http.post(app.path(path)).header("idempotency-key", key).json(body), Some(KEY)).await
}

fn is_replayed(answer: &Answer) -> bool {
    answer.headers.get("idempotent-replayed").is_some_and(|value| value == "true")
}

/// As large as there is: all fields at their longest.
async fn a_request_counts_once_however_large_its_answer(backend: Backend) {
    let app = backend.app().await;
    let made = subscribed(&app, json!({})).await;
    let one = json!({
        "subscriptionId": made["id"], "quantity": 1, "resource": "\"".repeat(2048),
        "metadata": {"a": "x".repeat(4000)},
    });
    let body = json!({"usage": vec![one; 100]});
    let first = send_once(&app, "/usage", "large", &body).await;
    assert_eq!((first.status, is_replayed(&first)), (201, false), "{first:?}");
    assert!(first.body.to_string().len() > 800_000);
    let again = send_once(&app, "/usage", "large", &body).await;
    assert_eq!((again.status, is_replayed(&again), &again.body), (201, true, &first.body));
    let report = report(&app, &made, "?limit=1").await;
    assert_eq!((&report["period"]["used"], &report["total"]), (&json!(100), &json!(100)));
    assert_eq!(report["usage"][0].get("idempotencyKey"), None, "it came without one");
}

/// The service died before the answer was kept.
async fn a_request_whose_answer_was_lost_counts_once(backend: Backend) {
    let app = backend.app().await;
    let made = subscribed(&app, json!({"requestsPerDay": 8})).await;
    let plain = json!({"subscriptionId": made["id"], "quantity": 2});
    let keyed = with(plain.clone(), "idempotencyKey", "k");
    for (path, key, body) in [
        ("/usage", "one", &plain),
        ("/subscriptions/usage", "many", &json!({"usage": [plain, keyed, plain]})),
    ] {
        let first = send_once(&app, path, key, body).await;
        assert_eq!(first.status, 201, "{first:?}");
        app.chain.clock.advance(Duration::from_secs(200));
        backend.select("DELETE FROM idempotency_keys RETURNING key, CAST(1 AS BIGINT)").await;
        let mut expected = first.body.clone();
        for one in expected["usage"].as_array_mut().unwrap() {
            // Only what has a key of its own is marked.
            one["repeated"] = json!(one.get("idempotencyKey").is_some());
        }
        let again = send_once(&app, path, key, body).await;
        assert_eq!((again.status, is_replayed(&again), &again.body), (201, true, &expected));
    }
    assert_eq!(report(&app, &made, "").await["today"]["used"], 8);
    // Another request is another, under whichever key.
    assert_eq!(send_once(&app, "/usage", "two", &plain).await.code(), "USAGE_LIMIT_EXCEEDED");
    app.chain.clock.advance(DAY);
    for key in ["two", "three"] {
        let answer = send_once(&app, "/usage", key, &plain).await;
        assert_eq!((answer.status, is_replayed(&answer)), (201, false), "{answer:?}");
    }
    assert_eq!(report(&app, &made, "").await["today"]["used"], 4);
}

async fn a_refused_batch_is_not_part_of_what_is_used(backend: Backend) {
    let app = backend.app().await;
    let made = subscribed(&app, json!({"requestsPerDay": 5, "requestsPerMonth": 7})).await;
    let one = |quantity: u64| json!({"subscriptionId": made["id"], "quantity": quantity});
    assert_eq!(send(&app, &one(1)).await.status, 201);
    let refused = send(&app, &json!({"usage": [one(2), one(2), one(1)]})).await;
    assert_eq!((refused.code(), refused.fields()), ("USAGE_LIMIT_EXCEEDED", vec!["usage.2"]), "{refused:?}");
    let told = |refused: &Answer| {
        let quota = &refused.body["quota"];
        (quota["window"].clone(), quota["used"].clone(), quota["left"].clone())
    };
    assert_eq!(told(&refused), (json!("day"), json!(1), json!(4)));
    app.chain.clock.advance(DAY);
    let refused = send(&app, &json!({"usage": [one(3), one(2), one(2)]})).await;
    assert_eq!(told(&refused), (json!("period"), json!(1), json!(6)));
    assert_eq!(report(&app, &made, "").await["period"]["used"], 1);
}

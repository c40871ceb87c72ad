//! Making, finding, listing and removing plans.

use std::time::Duration;

use serde_json::{Value, json};

use super::{make, pro, remove};
use crate::{
    conformance::{Backend, on_both},
    harness::{KEY, OTHER_KEY, with},
};

on_both!(
    a_plan_is_made_and_found,
    a_plan_with_everything,
    every_field_that_is_wrong_is_named,
    lists_hold_everybodys_plans_newest_first,
    a_plan_that_nobody_subscribed_to_is_deleted,
    anothers_plan_can_be_read_and_not_removed,
    the_same_request_makes_one_plan,
);

async fn a_plan_is_made_and_found(backend: Backend) {
    let app = backend.app().await;
    let made = make(&app, &with(pro(), "future", 1)).await;
    assert!(made["id"].as_str().unwrap().starts_with("plan_"), "{made}");
    let expected = json!({
        "id": made["id"], "name": "pro", "pricePerMonth": 25.5, "currency": "USDC", "features": [], "limits": {},
        "livemode": false, "createdAt": app.now(), "updatedAt": app.now(), "retiredAt": null,
    });
    assert_eq!(made, expected);
    let id = made["id"].as_str().unwrap();
    for path in [format!("/plans/{id}"), format!("/subscriptions/plans/{id}")] {
        for key in [None, Some(KEY), Some(OTHER_KEY)] {
            let found = app.get(&path, key).await;
            assert_eq!((found.status, &found.body), (200, &expected), "{path}");
        }
    }
    for unknown in ["plan_00000000000000000000000000", "x"] {
        let answer = app.get(&format!("/plans/{unknown}"), None).await;
        assert_eq!((answer.status, answer.code()), (404, "NOT_FOUND"), "{answer:?}");
    }
}

async fn a_plan_with_everything(backend: Backend) {
    let app = backend.app().await;
    let body = json!({
        "name": "é \u{1f680}", "description": "for all", "pricePerMonth": 0.000_000_001, "currency": "SOL",
        "features": ["a", "b c"], "limits": {"requestsPerMonth": 1_000_000_000_000_u64, "requestsPerDay": 1},
        "metadata": {"tier": 2, "a": [1.50]},
    });
    let made = make(&app, &body).await;
    for member in ["name", "description", "currency", "features", "limits", "metadata", "pricePerMonth"] {
        assert_eq!(made[member], body[member], "{member}");
    }
    let nothing = json!({
        "name": "n", "description": null, "pricePerMonth": "9223372036854.775807", "currency": "PYUSD", "features": null,
        "limits": {"requestsPerDay": null}, "metadata": null,
    });
    let made = make(&app, &nothing).await;
    assert_eq!((&made["features"], &made["limits"]), (&json!([]), &json!({})));
    let text = app.http.get(app.path(&format!("/plans/{}", made["id"].as_str().unwrap())));
    let text = text.send().await.unwrap().text().await.unwrap();
    assert!(text.contains("\"pricePerMonth\":9223372036854.775807,"), "to the digit: {text}");
}

async fn every_field_that_is_wrong_is_named(backend: Backend) {
    let app = backend.app().await;
    let cases = [
        ("name", json!(null)),
        ("name", json!("")),
        ("name", json!("x".repeat(101))),
        ("name", json!("a\nb")),
        ("name", json!(7)),
        ("description", json!("")),
        ("description", json!("x".repeat(1001))),
        ("pricePerMonth", json!(null)),
        ("pricePerMonth", json!(0)),
        ("pricePerMonth", json!(-1)),
        ("pricePerMonth", json!("0.0000001")),
        ("pricePerMonth", json!("9223372036854.775808")),
        ("pricePerMonth", json!([1])),
        ("currency", json!("EUR")),
        ("currency", json!(null)),
        ("features", json!("a")),
        ("features", json!([1])),
        ("features", json!([""])),
        ("features", json!(vec!["a"; 51])),
        ("features", json!(["x".repeat(201)])),
        ("limits", json!([])),
        ("limits.requestsPerDay", json!({"requestsPerDay": 0})),
        ("limits.requestsPerDay", json!({"requestsPerDay": "1"})),
        ("limits.requestsPerDay", json!({"requestsPerDay": 1.5})),
        ("limits.requestsPerMonth", json!({"requestsPerMonth": 1_000_000_000_001_u64})),
        ("metadata", json!([])),
        ("metadata", json!({"a": "x".repeat(4096)})),
    ];
    for (field, value) in cases {
        let member = field.split('.').next().unwrap();
        let answer = app.post("/plans", Some(KEY), &with(pro(), member, value)).await;
        assert_eq!((answer.status, answer.code()), (400, "VALIDATION_FAILED"), "{field} {answer:?}");
        assert_eq!(answer.fields(), [field], "{answer:?}");
    }
    let all = json!({"description": 1, "features": 1, "limits": {"requestsPerDay": []}, "metadata": 1});
    let answer = app.post("/plans", Some(KEY), &all).await;
    let fields =
        ["name", "description", "currency", "pricePerMonth", "features", "limits.requestsPerDay", "metadata"];
    assert_eq!((answer.status, answer.fields()), (400, fields.to_vec()), "{answer:?}");
    assert_eq!(app.get("/plans", None).await.body["total"], 0);
}

async fn lists_hold_everybodys_plans_newest_first(backend: Backend) {
    let app = backend.app().await;
    let mut plans = Vec::new();
    for (number, key) in [KEY, OTHER_KEY, KEY].into_iter().enumerate() {
        app.chain.clock.advance(Duration::from_millis(5));
        let answer = app.post("/plans", Some(key), &with(pro(), "name", format!("{number}"))).await;
        plans.insert(0, answer.body);
    }
    let page = async |query: &str, key| {
        let body = app.get(query, key).await.body;
        let found = body["plans"].as_array().unwrap().clone();
        (found, body["total"].clone(), body["limit"].clone(), body["offset"].clone())
    };
    for path in ["/plans", "/subscriptions/plans"] {
        for key in [None, Some(OTHER_KEY)] {
            assert_eq!(page(path, key).await, (plans.clone(), json!(3), json!(50), json!(0)));
        }
        let part = page(&format!("{path}?limit=1&offset=1"), None).await;
        assert_eq!(part, (plans[1..2].to_vec(), json!(3), json!(1), json!(1)));
        assert_eq!(app.get(&format!("{path}?limit=201"), None).await.fields(), ["limit"]);
    }
}

async fn a_plan_that_nobody_subscribed_to_is_deleted(backend: Backend) {
    let app = backend.app().await;
    let made = make(&app, &pro()).await;
    let removed = remove(&app, KEY, &made).await;
    assert_eq!((removed.status, &removed.body), (200, &with(made.clone(), "deleted", true)));
    assert_eq!(app.get("/plans", None).await.body["plans"], json!([]));
    for answer in [remove(&app, KEY, &made).await, super::change(&app, KEY, &made, &json!({})).await] {
        assert_eq!((answer.status, answer.code()), (404, "NOT_FOUND"), "{answer:?}");
    }
}

async fn anothers_plan_can_be_read_and_not_removed(backend: Backend) {
    let app = backend.app().await;
    let made = make(&app, &pro()).await;
    let removed = remove(&app, OTHER_KEY, &made).await;
    assert_eq!((removed.status, removed.code()), (404, "NOT_FOUND"), "{removed:?}");
    let listed = app.get("/plans", Some(OTHER_KEY)).await;
    assert_eq!(listed.body["plans"], json!([made]));
}

async fn the_same_request_makes_one_plan(backend: Backend) {
    let app = backend.app().await;
    let post = async |body: &Value| {
        let request = app.http.post(app.path("/plans")).header("idempotency-key", "once").json(body);
        app.send(request, Some(KEY)).await
    };
    let (first, again) = (post(&pro()).await, post(&pro()).await);
    assert_eq!((again.status, &again.body), (201, &first.body));
    assert_eq!(again.headers["idempotent-replayed"], "true");
    let other = post(&with(pro(), "name", "other")).await;
    assert_eq!((other.status, other.code()), (409, "IDEMPOTENCY_CONFLICT"), "{other:?}");
    assert_eq!(app.get("/plans", None).await.body["total"], 1);
}

//! Making, finding and listing subscriptions; plans that are in use.

use std::time::Duration;

use serde_json::{Value, json};
use solana_pubkey::Pubkey;

use super::{DAY, agent, altered, now, plan, subscribe, subscribed};
use crate::{
    conformance::{Backend, on_both},
    harness::{KEY, OTHER_KEY, with},
};

on_both!(
    a_subscription_is_made_and_found,
    a_subscription_with_everything,
    every_field_that_is_wrong_is_named,
    nobody_is_subscribed_to_what_is_not_theirs,
    lists_hold_the_own_users_subscriptions_newest_first,
    the_same_request_makes_one_subscription,
    a_plan_in_use_is_retired_and_goes_on,
    a_price_is_that_of_the_periods_beginning,
    a_period_that_has_begun_keeps_its_price_though_nobody_has_noticed,
    a_retired_plan_is_its_owners_to_read,
);

async fn a_subscription_is_made_and_found(backend: Backend) {
    let app = backend.app().await;
    let (plan, agent) = (plan(&app, json!({})).await, agent(&app).await);
    // Monday, 21 September 2026; the month has 30 days.
    let made = subscribe(&app, &json!({"planId": plan["id"], "agentId": agent["id"], "future": 1})).await;
    assert!(made["id"].as_str().unwrap().starts_with("sub_"), "{made}");
    let end = app.now() + 30 * DAY;
    let expected = json!({
        "id": made["id"], "planId": plan["id"], "agentId": agent["id"], "walletAddress": app.agent_address(),
        "status": "active", "currentPeriodStart": app.now(), "currentPeriodEnd": end, "cancelAtPeriodEnd": false,
        "price": 10, "currency": "USDC", "paidUntil": end, "endedAt": null, "livemode": false,
        "createdAt": app.now(), "updatedAt": app.now(),
    });
    assert_eq!(made, expected);
    app.chain.clock.advance(Duration::from_secs(5));
    assert_eq!(now(&app, &made).await, expected);
}

async fn a_subscription_with_everything(backend: Backend) {
    let app = backend.app().await;
    let (plan, agent) = (plan(&app, json!({})).await, agent(&app).await);
    let wallet = Pubkey::new_from_array([9; 32]).to_string();
    let metadata = json!({"customer": 17, "a": [1.50]});
    let body = json!({
        "planId": plan["id"], "agentId": agent["publicKey"], "walletAddress": wallet, "requirePayment": true,
        "metadata": metadata,
    });
    let made = subscribe(&app, &body).await;
    assert_eq!((&made["agentId"], &made["walletAddress"]), (&agent["id"], &json!(wallet)));
    assert_eq!((&made["status"], &made["metadata"]), (&json!("past_due"), &metadata));
    assert_eq!((&made["paidUntil"], &made["expiresAt"]), (&json!(app.now()), &json!(app.now() + 7 * DAY)));
    assert_eq!(now(&app, &made).await, made);
    let nothing = json!({
        "planId": plan["id"], "agentId": agent["id"], "walletAddress": null, "requirePayment": null, "metadata": null,
    });
    assert_eq!(subscribe(&app, &nothing).await["status"], "active");
}

async fn every_field_that_is_wrong_is_named(backend: Backend) {
    let app = backend.app().await;
    let (plan, agent) = (plan(&app, json!({})).await, agent(&app).await);
    let good = json!({"planId": plan["id"], "agentId": agent["id"]});
    let cases = [
        ("planId", json!(null)),
        ("planId", json!("")),
        ("planId", json!(1)),
        ("planId", json!("x".repeat(65))),
        ("agentId", json!(null)),
        ("agentId", json!("a\tb")),
        ("walletAddress", json!("nobody")),
        ("requirePayment", json!("true")),
        ("requirePayment", json!(1)),
        ("metadata", json!("x")),
        ("metadata", json!({"a": "x".repeat(4096)})),
    ];
    for (field, value) in cases {
        let answer = app.post("/subscriptions", Some(KEY), &with(good.clone(), field, value)).await;
        assert_eq!((answer.status, answer.code()), (400, "VALIDATION_FAILED"), "{field} {answer:?}");
        assert_eq!(answer.fields(), [field], "{answer:?}");
    }
    let all = json!({"walletAddress": 1, "requirePayment": 2, "metadata": 3});
    let answer = app.post("/subscriptions", Some(KEY), &all).await;
    let fields = ["planId", "agentId", "walletAddress", "requirePayment", "metadata"];
    assert_eq!(answer.fields(), fields, "{answer:?}");
    assert_eq!(app.get("/subscriptions", Some(KEY)).await.body["total"], 0);
}

async fn nobody_is_subscribed_to_what_is_not_theirs(backend: Backend) {
    let app = backend.app().await;
    let (plan, agent) = (plan(&app, json!({})).await, agent(&app).await);
    let good = json!({"planId": plan["id"], "agentId": agent["id"]});
    let unknown_plan = with(good.clone(), "planId", "plan_00000000000000000000000000");
    let unknown_agent = with(good.clone(), "agentId", "agent_00000000000000000000000000");
    for (key, body, code) in [
        (KEY, &unknown_plan, "NOT_FOUND"),
        (KEY, &unknown_agent, "AGENT_NOT_FOUND"),
        (OTHER_KEY, &good, "AGENT_NOT_FOUND"),
    ] {
        let answer = app.post("/subscriptions", Some(key), body).await;
        assert_eq!((answer.status, answer.code()), (404, code), "{answer:?}");
    }
    let wallet = json!({"name": "other", "publicKey": app.merchant().to_string()});
    let others = app.post("/agents", Some(OTHER_KEY), &wallet).await.body;
    let mixed = with(good.clone(), "agentId", others["id"].clone());
    let answer = app.post("/subscriptions", Some(OTHER_KEY), &mixed).await;
    assert_eq!((answer.status, answer.code()), (404, "NOT_FOUND"), "another's plan: {answer:?}");

    let path = app.path(&format!("/agents/{}", agent["id"].as_str().unwrap()));
    assert_eq!(app.send(app.http.delete(path), Some(KEY)).await.status, 200);
    let answer = app.post("/subscriptions", Some(KEY), &good).await;
    assert_eq!((answer.status, answer.code()), (404, "AGENT_NOT_FOUND"), "{answer:?}");
}

async fn lists_hold_the_own_users_subscriptions_newest_first(backend: Backend) {
    let app = backend.app().await;
    let first = subscribed(&app, json!({})).await;
    let body = json!({"planId": first["planId"], "agentId": first["agentId"]});
    let mut made = vec![first];
    for _ in 0..2 {
        app.chain.clock.advance(Duration::from_millis(5));
        made.insert(0, subscribe(&app, &body).await);
    }
    let page = async |query: &str, key| {
        let body = app.get(&format!("/subscriptions{query}"), Some(key)).await.body;
        let found = body["subscriptions"].as_array().unwrap().clone();
        (found, body["total"].clone(), body["limit"].clone(), body["offset"].clone())
    };
    assert_eq!(page("", KEY).await, (made.clone(), json!(3), json!(50), json!(0)));
    assert_eq!(page("?limit=1&offset=1", KEY).await, (made[1..2].to_vec(), json!(3), json!(1), json!(1)));
    assert_eq!(page("", OTHER_KEY).await, (vec![], json!(0), json!(50), json!(0)));
    assert_eq!(app.get("/subscriptions?offset=-1", Some(KEY)).await.fields(), ["query"]);

    let id = made[0]["id"].as_str().unwrap();
    for (method, path) in [
        ("GET", format!("/subscriptions/{id}")),
        ("GET", format!("/subscriptions/{id}/usage")),
        ("POST", format!("/subscriptions/{id}/cancel")),
        ("GET", "/subscriptions/sub_00000000000000000000000000".to_owned()),
    ] {
        let key = if path.contains("000000") { KEY } else { OTHER_KEY };
        let request = app.http.request(method.parse().unwrap(), app.path(&path)).json(&json!({}));
        let answer = app.send(request, Some(key)).await;
        assert_eq!((answer.status, answer.code()), (404, "NOT_FOUND"), "{path}: {answer:?}");
    }
}

async fn the_same_request_makes_one_subscription(backend: Backend) {
    let app = backend.app().await;
    let (plan, agent) = (plan(&app, json!({})).await, agent(&app).await);
    let body = json!({"planId": plan["id"], "agentId": agent["id"]});
    let post = async |body: &Value| {
        let request = app.http.post(app.path("/subscriptions")).header("idempotency-key", "once").json(body);
        app.send(request, Some(KEY)).await
    };
    let (first, again) = (post(&body).await, post(&body).await);
    assert_eq!((again.status, &again.body), (201, &first.body));
    assert_eq!(again.headers["idempotent-replayed"], "true");
    let other = post(&with(body, "requirePayment", true)).await;
    assert_eq!((other.status, other.code()), (409, "IDEMPOTENCY_CONFLICT"), "{other:?}");
    assert_eq!(app.get("/subscriptions", Some(KEY)).await.body["total"], 1);
}

async fn a_plan_in_use_is_retired_and_goes_on(backend: Backend) {
    let app = backend.app().await;
    let made = subscribed(&app, json!({"requestsPerDay": 5})).await;
    let path = format!("/plans/{}", made["planId"].as_str().unwrap());
    let before = app.get(&path, None).await.body;
    app.chain.clock.advance(Duration::from_secs(5));
    let retired_at = json!(app.now());
    let retired = altered(&before, &[("retiredAt", retired_at)]);
    for _ in 0..2 {
        let removed = app.send(app.http.delete(app.path(&path)), Some(KEY)).await;
        assert_eq!((removed.status, &removed.body), (200, &with(retired.clone(), "deleted", false)));
        assert_eq!(app.get("/plans", None).await.body["total"], 0);
        assert_eq!(app.get(&path, Some(KEY)).await.body, retired);
        app.chain.clock.advance(Duration::from_secs(5));
    }
    let body = json!({"planId": made["planId"], "agentId": made["agentId"]});
    let refused = app.post("/subscriptions", Some(KEY), &body).await;
    assert_eq!((refused.status, refused.code()), (409, "PLAN_RETIRED"), "{refused:?}");
    assert_eq!(super::consume(&app, &made, 5).await.status, 201);
    assert_eq!(super::consume(&app, &made, 1).await.code(), "USAGE_LIMIT_EXCEEDED");
    assert_eq!(now(&app, &made).await, made);
}

async fn a_price_is_that_of_the_periods_beginning(backend: Backend) {
    let app = backend.app().await;
    let made = subscribed(&app, json!({})).await;
    let path = app.path(&format!("/plans/{}", made["planId"].as_str().unwrap()));
    let changed = app.http.patch(path).json(&json!({"pricePerMonth": "12.5"}));
    assert_eq!(app.send(changed, Some(KEY)).await.status, 200);
    assert_eq!(now(&app, &made).await["price"], 10);
    super::wait_until(&app, &made["currentPeriodEnd"]);
    assert_eq!(now(&app, &made).await["price"], json!(12.5));
}

async fn a_period_that_has_begun_keeps_its_price_though_nobody_has_noticed(backend: Backend) {
    let app = backend.app().await;
    let made = subscribed(&app, json!({})).await;
    super::wait_until(&app, &made["currentPeriodEnd"]);
    let path = app.path(&format!("/plans/{}", made["planId"].as_str().unwrap()));
    let changed = app.http.patch(path).json(&json!({"pricePerMonth": "12.5"}));
    assert_eq!(app.send(changed, Some(KEY)).await.body["pricePerMonth"], json!(12.5));
    let begun = now(&app, &made).await;
    assert_eq!((&begun["status"], &begun["price"]), (&json!("past_due"), &json!(10)));
    super::payments::pay(&app, &made, super::payments::PRICE, "begun").await.assert_valid();
    let paid = now(&app, &made).await;
    assert_eq!((&paid["status"], &paid["price"]), (&json!("active"), &json!(10)));
    super::wait_until(&app, &paid["currentPeriodEnd"]);
    assert_eq!(now(&app, &made).await["price"], json!(12.5));
}

async fn a_retired_plan_is_its_owners_to_read(backend: Backend) {
    let app = backend.app().await;
    let made = subscribed(&app, json!({})).await;
    let id = made["planId"].as_str().unwrap();
    let paths = [format!("/plans/{id}"), format!("/subscriptions/plans/{id}")];
    for path in &paths {
        for key in [None, Some(OTHER_KEY), Some(KEY)] {
            assert_eq!(app.get(path, key).await.status, 200, "anybody may subscribe to their own");
        }
    }
    let removed = app.send(app.http.delete(app.path(&paths[0])), Some(KEY)).await;
    assert_eq!(removed.body["deleted"], false, "{removed:?}");
    for path in &paths {
        for key in [None, Some(OTHER_KEY)] {
            let hidden = app.get(path, key).await;
            assert_eq!((hidden.status, hidden.code()), (404, "NOT_FOUND"), "{hidden:?}");
        }
        assert_eq!(app.get(path, Some(KEY)).await.body["retiredAt"], json!(app.now()));
    }
}

//! Changing plans.

use std::time::Duration;

use futures_util::future::join_all;
use serde_json::{Map, Value, json};

use super::{change, make, pro};
use crate::{
    conformance::{Backend, on_both},
    harness::{KEY, OTHER_KEY, with},
};

on_both!(
    members_change_one_by_one,
    what_cannot_be_changed_is_refused,
    anothers_plan_cannot_be_changed,
    changes_made_at_once_are_all_made,
    whatever_a_plan_may_cost_it_may_be_made_to_cost,
    a_price_with_too_much_to_be_done_before_is_for_later,
);

/// Of the one subscription that there is, by the numbers from 1 on: 5499 that no version can read, of which the first 499 are
/// the plan's and come first there, and 25 like it. All are as old, and due at the end of its period, those that cannot be read
/// a second before: the worker, which is left alone with more of them than it looks at, does not get to the others.
const SUBSCRIPTIONS: &str = "\
    WITH RECURSIVE up (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM up WHERE n < 5524), \
    all_of_them (n, bad) AS (SELECT n, CASE WHEN n < 5500 THEN 1 ELSE 0 END FROM up) \
    INSERT INTO subscriptions (id, owner, plan_id, agent_id, wallet_address, status, anchor_day, \
        current_period_start_ms, current_period_end_ms, period_price, paid_until_ms, due_at_ms, created_at_ms, \
        updated_at_ms) \
    SELECT 'sub_' || (1 - bad) || (10000 + n), s.owner, \
        CASE WHEN n < 500 OR bad = 0 THEN s.plan_id \
            ELSE (SELECT id FROM subscription_plans WHERE name = 'another') END, \
        s.agent_id, CASE WHEN bad = 1 THEN '00000000000000000000000000000000' ELSE s.wallet_address END, s.status, \
        s.anchor_day, s.current_period_start_ms, s.current_period_end_ms - 1000 * bad, s.period_price, \
        s.paid_until_ms - 1000 * bad, s.due_at_ms - 1000 * bad, s.created_at_ms, s.updated_at_ms \
    FROM subscriptions s CROSS JOIN all_of_them";

/// A request brings so many subscriptions to the present, and no more; the next one goes on from there.
async fn a_price_with_too_much_to_be_done_before_is_for_later(backend: Backend) {
    let app = backend.app().await;
    make(&app, &with(pro(), "name", "another")).await;
    let plan = make(&app, &pro()).await;
    let agent = json!({"name": "a", "publicKey": app.agent_address()});
    let agent = app.post("/agents", Some(KEY), &agent).await.body["id"].clone();
    let made = app.post("/subscriptions", Some(KEY), &json!({"planId": plan["id"], "agentId": agent})).await;
    backend.execute(SUBSCRIPTIONS).await;
    let wait = made.body["currentPeriodEnd"].as_i64().unwrap() - app.now().0;
    app.chain.clock.advance(Duration::from_millis(wait.try_into().unwrap()));

    let dearer = json!({"pricePerMonth": 30});
    let refused = change(&app, KEY, &plan, &dearer).await;
    assert_eq!((refused.status, refused.code()), (503, "OVERLOADED"), "{refused:?}");
    assert!(refused.headers.contains_key("retry-after"), "{refused:?}");
    let path = format!("/plans/{}", plan["id"].as_str().unwrap());
    assert_eq!(app.get(&path, None).await.body, plan, "nothing has changed");
    assert_eq!(change(&app, KEY, &plan, &json!({"name": "other"})).await.status, 200, "names concern nobody");
    assert_eq!(change(&app, KEY, &plan, &dearer).await.body["pricePerMonth"], 30);
    // What had begun by then costs what the plan cost.
    let prices = "SELECT status, period_price FROM subscriptions \
        WHERE wallet_address <> '00000000000000000000000000000000' GROUP BY status, period_price";
    assert_eq!(backend.select(prices).await, [("past_due".to_owned(), 25_500_000)]);
}

async fn members_change_one_by_one(backend: Backend) {
    let app = backend.app().await;
    let mut plan = make(&app, &pro()).await;
    let created_at = app.now();
    let steps = [
        (json!({}), json!({})),
        (json!({"name": "new"}), json!({"name": "new"})),
        (json!({"description": "d"}), json!({"description": "d"})),
        (json!({"pricePerMonth": "30.000001"}), json!({"pricePerMonth": 30.000_001})),
        (json!({"features": ["a", "b"]}), json!({"features": ["a", "b"]})),
        (json!({"limits": {"requestsPerDay": 5}}), json!({"limits": {"requestsPerDay": 5}})),
        (
            json!({"limits": {"requestsPerMonth": 50}}),
            json!({"limits": {"requestsPerDay": 5, "requestsPerMonth": 50}}),
        ),
        (json!({"limits": {"requestsPerDay": null}}), json!({"limits": {"requestsPerMonth": 50}})),
        (json!({"metadata": {"a": 1, "b": {"c": 2}}}), json!({"metadata": {"a": 1, "b": {"c": 2}}})),
        (json!({"metadata": {"a": null, "b": 3, "d": null}, "unknown": 1}), json!({"metadata": {"b": 3}})),
        (json!({"limits": null, "features": null}), json!({"limits": {}, "features": []})),
        (json!({"description": null, "metadata": null}), json!({"description": null, "metadata": null})),
    ];
    for (sent, changed) in steps {
        app.chain.clock.advance(Duration::from_secs(1));
        let answer = change(&app, KEY, &plan, &sent).await;
        assert_eq!(answer.status, 200, "{sent}: {answer:?}");
        plan["updatedAt"] = json!(app.now());
        for (member, value) in changed.as_object().unwrap() {
            plan[member] = value.clone();
        }
        // What there is none of is left out, but for the time of retirement.
        let there: Map<String, Value> = plan.as_object().unwrap().clone();
        let there = there.into_iter().filter(|(member, value)| !value.is_null() || member == "retiredAt");
        plan = Value::Object(there.collect());
        assert_eq!(answer.body, plan, "{sent}");
        let found = app.get(&format!("/plans/{}", plan["id"].as_str().unwrap()), None).await;
        assert_eq!(found.body, plan);
    }
    assert_eq!(plan["createdAt"], json!(created_at));
}

async fn what_cannot_be_changed_is_refused(backend: Backend) {
    let app = backend.app().await;
    let plan = make(&app, &with(pro(), "metadata", json!({"a": "x".repeat(3000)}))).await;
    let cases = [
        ("name", json!(null)),
        ("name", json!("")),
        ("description", json!("x".repeat(1001))),
        ("pricePerMonth", json!(null)),
        ("pricePerMonth", json!(0)),
        // Nine digits are too many for this plan's currency, though not for every one.
        ("pricePerMonth", json!("0.000000001")),
        ("currency", json!("SOL")),
        ("currency", json!("USDC")),
        ("features", json!({})),
        ("limits", json!(1)),
        ("limits.requestsPerDay", json!({"requestsPerDay": 0})),
        ("metadata", json!("x")),
        ("metadata", json!({"b": "x".repeat(2000)})),
    ];
    for (field, value) in cases {
        let member = field.split('.').next().unwrap();
        let answer = change(&app, KEY, &plan, &with(json!({"description": "not kept"}), member, value)).await;
        assert_eq!((answer.status, answer.code()), (400, "VALIDATION_FAILED"), "{field} {answer:?}");
        if member != "description" {
            assert_eq!(answer.fields(), [field], "{answer:?}");
        }
    }
    let found = app.get(&format!("/plans/{}", plan["id"].as_str().unwrap()), None).await;
    assert_eq!(found.body, plan);
}

async fn anothers_plan_cannot_be_changed(backend: Backend) {
    let app = backend.app().await;
    let plan = make(&app, &pro()).await;
    let unknown = with(plan.clone(), "id", "plan_00000000000000000000000000");
    for (key, plan) in [(OTHER_KEY, &plan), (KEY, &unknown)] {
        let answer = change(&app, key, plan, &json!({"name": "mine"})).await;
        assert_eq!((answer.status, answer.code()), (404, "NOT_FOUND"), "{answer:?}");
    }
    let found = app.get(&format!("/plans/{}", plan["id"].as_str().unwrap()), None).await;
    assert_eq!(found.body, plan);
}

async fn changes_made_at_once_are_all_made(backend: Backend) {
    let app = backend.app().await;
    let plan = make(&app, &pro()).await;
    let changes =
        (0..16).map(|number| {
            let (app, plan) = (&app, &plan);
            async move {
                change(app, KEY, plan, &json!({"metadata": {format!("m{number}"): number}})).await.status
            }
        });
    assert_eq!(join_all(changes).await, [200; 16]);
    let found = app.get(&format!("/plans/{}", plan["id"].as_str().unwrap()), None).await;
    assert_eq!(found.body["metadata"].as_object().unwrap().len(), 16, "{found:?}");
}

/// The more decimals a currency has, the less is the most of it.
async fn whatever_a_plan_may_cost_it_may_be_made_to_cost(backend: Backend) {
    let app = backend.app().await;
    for (currency, prices) in [
        ("USDC", ["9223372036854.775807", "9223372037", "0.000001"]),
        ("SOL", ["9223372036.854775807", "9223372036", "0.000000001"]),
    ] {
        for price in prices {
            let dear = with(with(pro(), "currency", currency), "pricePerMonth", price);
            let dear = make(&app, &dear).await;
            let plan = make(&app, &with(pro(), "currency", currency)).await;
            let changed = change(&app, KEY, &plan, &json!({"pricePerMonth": price})).await;
            assert_eq!(changed.status, 200, "{price} {currency}: {changed:?}");
            assert_eq!(changed.body["pricePerMonth"], dear["pricePerMonth"]);
        }
    }
    let plan = make(&app, &with(pro(), "currency", "SOL")).await;
    for price in ["9223372036.854775808", "9223372036854.775808", "1e400"] {
        let refused = change(&app, KEY, &plan, &json!({"pricePerMonth": price})).await;
        assert_eq!((refused.status, refused.fields()), (400, vec!["pricePerMonth"]), "{refused:?}");
    }
}

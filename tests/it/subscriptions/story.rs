//! The whole story: an agent with a daily limit subscribes, pays, uses the service to its limit, is refused, renews and
//! cancels.

use pay402::money::Currency;
use serde_json::json;

use super::{cancel, consume, now, payments::PRICE, payments::pay, plan, subscribe, wait_until};
use crate::{
    conformance::{Backend, on_both},
    harness::{KEY, with},
};

on_both!(from_registration_to_cancellation);

async fn from_registration_to_cancellation(backend: Backend) {
    let app = backend.app().await;
    let body = json!({
        "name": "research", "publicKey": app.agent_address(), "spendingLimit": {"daily": 15},
    });
    let agent = app.post("/agents", Some(KEY), &body).await;
    assert_eq!(agent.status, 201, "{agent:?}");
    let plan = plan(&app, json!({"requestsPerMonth": 3})).await;
    let body = json!({"planId": plan["id"], "agentId": agent.body["id"], "requirePayment": true});
    let made = subscribe(&app, &body).await;
    assert_eq!(consume(&app, &made, 1).await.code(), "SUBSCRIPTION_INACTIVE", "not before it is paid");

    // The first period, on chain. Another one on the same day would be more than the agent may spend.
    pay(&app, &made, PRICE, "first").await.assert_valid();
    let paid = app.pay(&app.merchant(), PRICE, Currency::Usdc);
    let second = with(app.proof(&paid, "second"), "subscriptionId", made["id"].clone());
    app.verify(&second).await.assert_refused("SPENDING_LIMIT_EXCEEDED");
    assert_eq!(now(&app, &made).await["paidUntil"], made["currentPeriodEnd"]);

    // To the limit, and no further.
    for _ in 0..3 {
        assert_eq!(consume(&app, &made, 1).await.status, 201);
    }
    let refused = consume(&app, &made, 1).await;
    assert_eq!((refused.status, refused.code()), (429, "USAGE_LIMIT_EXCEEDED"), "{refused:?}");
    assert_eq!(refused.body["quota"]["left"], 0);

    // The next month: past due, until it is paid.
    wait_until(&app, &made["currentPeriodEnd"]);
    assert_eq!(consume(&app, &made, 1).await.code(), "SUBSCRIPTION_INACTIVE");
    pay(&app, &made, PRICE, "renewal").await.assert_valid();
    assert_eq!(consume(&app, &made, 1).await.status, 201);

    let planned = cancel(&app, &made, &json!({})).await.body;
    assert_eq!((&planned["status"], &planned["cancelAtPeriodEnd"]), (&json!("active"), &json!(true)));
    wait_until(&app, &planned["currentPeriodEnd"]);
    assert_eq!(now(&app, &made).await["status"], "cancelled");
    assert_eq!(consume(&app, &made, 1).await.code(), "SUBSCRIPTION_INACTIVE");
    assert_eq!(app.booked().await, 2);
    // Whatever the worker has seen to by now, what was changed by a request is told.
    let told = backend
        .select("SELECT type, count(*) FROM analytics_events WHERE subscription_id IS NOT NULL GROUP BY type")
        .await;
    for (kind, count) in [("created", 1), ("paid", 2), ("past_due", 1), ("cancel_scheduled", 1)] {
        assert!(told.contains(&(format!("subscription.{kind}"), count)), "{kind}: {told:?}");
    }
}

//! The whole story: an agent with a daily limit subscribes, pays, uses the service to its limit, is refused, renews and
//! cancels. Analytics show each step.

use std::{collections::BTreeMap, sync::Arc};

use pay402::{money::Currency, subscriptions::worker::Worker};
use serde_json::{Value, json};

use super::{DAY, cancel, consume, now, payments::PRICE, payments::pay, plan, subscribe, wait_until};
use crate::{
    conformance::{Backend, on_both},
    harness::{KEY, TestApp, with},
};

on_both!(from_registration_to_cancellation);

/// What the analytics have to show.
struct Shown<'a> {
    app: &'a TestApp,
    since: i64,
    /// Of 10 USDC each.
    payments: u64,
    events: BTreeMap<&'static str, u64>,
    /// The subscription, and what was used of its period.
    used: Option<(Value, u64)>,
}

impl Shown<'_> {
    /// As before, and with one more of each of these.
    async fn with(&mut self, happened: &[&'static str]) {
        for kind in happened {
            *self.events.entry(kind).or_default() += 1;
        }
        self.payments +=
            u64::try_from(happened.iter().filter(|kind| **kind == "payment.verified").count()).unwrap();
        self.check().await;
    }

    async fn check(&self) {
        let transactions = self.get("transactions", "").await;
        let total = json!(10 * self.payments);
        assert_eq!(transactions["payments"], self.payments, "{transactions}");
        assert_eq!(transactions["states"]["settled"], self.payments, "{transactions}");
        assert_eq!(transactions["sources"], json!({"proof": self.payments, "x402": 0}));
        let revenue = self.get("revenue", "&period=month").await;
        assert_eq!(revenue["payments"], self.payments, "{revenue}");
        if self.payments > 0 {
            let settled = &transactions["currencies"][0]["settled"];
            assert_eq!(*settled, json!({"payments": self.payments, "amount": total}));
            let usdc = &revenue["currencies"][0];
            assert_eq!((&usdc["currency"], &usdc["total"]), (&json!("USDC"), &total));
            let series = usdc["series"].as_array().unwrap();
            assert_eq!(
                series.iter().map(|point| point["payments"].as_u64().unwrap()).sum::<u64>(),
                self.payments
            );
        } else {
            assert_eq!((&transactions["currencies"], &revenue["currencies"]), (&json!([]), &json!([])));
        }
        let top = self.get("top-agents", "").await;
        let ranked = top["agents"].as_array().unwrap();
        assert_eq!(ranked.len(), usize::from(self.payments > 0), "{top}");
        assert!(ranked.iter().all(|agent| agent["transactionCount"] == self.payments), "{top}");
        let all = self.get("events", "").await;
        let types = all["types"].as_array().unwrap().iter();
        let types: BTreeMap<&str, u64> =
            types.map(|one| (one["type"].as_str().unwrap(), one["events"].as_u64().unwrap())).collect();
        assert_eq!(types, self.events);
        assert_eq!(all["total"], self.events.values().sum::<u64>());
        for (kind, count) in &self.events {
            let listed = self.get("events", &format!("&type={kind}")).await;
            assert_eq!(
                (&listed["total"], listed["events"].as_array().unwrap().len()),
                (&json!(count), usize::try_from(*count).unwrap())
            );
        }
        if let Some((subscription, used)) = &self.used {
            let path = format!("/subscriptions/{}/usage", subscription.as_str().unwrap());
            let report = self.app.get(&path, Some(KEY)).await.body;
            let period = &report["period"];
            assert_eq!((&period["used"], &period["left"]), (&json!(used), &json!(3 - used)), "{report}");
        }
    }

    async fn get(&self, what: &str, query: &str) -> Value {
        let answer = self.app.get(&format!("/analytics/{what}?from={}{query}", self.since), Some(KEY)).await;
        assert_eq!(answer.status, 200, "{answer:?}");
        answer.body
    }
}

async fn from_registration_to_cancellation(backend: Backend) {
    let app = backend.app().await;
    let mut shown = Shown { app: &app, since: app.now().0, payments: 0, events: BTreeMap::new(), used: None };
    shown.check().await;
    let body = json!({
        "name": "research", "publicKey": app.agent_address(), "spendingLimit": {"daily": 15},
    });
    let agent = app.post("/agents", Some(KEY), &body).await;
    assert_eq!(agent.status, 201, "{agent:?}");
    shown.with(&["agent.created"]).await;
    let plan = plan(&app, json!({"requestsPerMonth": 3})).await;
    let body = json!({"planId": plan["id"], "agentId": agent.body["id"], "requirePayment": true});
    let made = subscribe(&app, &body).await;
    shown.used = Some((made["id"].clone(), 0));
    shown.with(&["subscription.created"]).await;
    assert_eq!(consume(&app, &made, 1).await.code(), "SUBSCRIPTION_INACTIVE", "not before it is paid");
    shown.check().await;

    // The first period, on chain. Another one on the same day would be more than the agent may spend.
    pay(&app, &made, PRICE, "first").await.assert_valid();
    shown.with(&["payment.verified", "subscription.paid"]).await;
    let paid = app.pay(&app.merchant(), PRICE, Currency::Usdc);
    let second = with(app.proof(&paid, "second"), "subscriptionId", made["id"].clone());
    app.verify(&second).await.assert_refused("SPENDING_LIMIT_EXCEEDED");
    shown.with(&["payment.refused"]).await;
    assert_eq!(now(&app, &made).await["paidUntil"], made["currentPeriodEnd"]);

    // To the limit, and no further.
    for used in 1..=3 {
        assert_eq!(consume(&app, &made, 1).await.status, 201);
        shown.used = Some((made["id"].clone(), used));
        shown.check().await;
    }
    for told in [&["usage.limit_reached"][..], &[]] {
        let refused = consume(&app, &made, 1).await;
        assert_eq!((refused.status, refused.code()), (429, "USAGE_LIMIT_EXCEEDED"), "{refused:?}");
        assert_eq!(refused.body["quota"]["left"], 0);
        shown.with(told).await;
    }

    // The next month: past due, until it is paid.
    wait_until(&app, &made["currentPeriodEnd"]);
    assert_eq!(consume(&app, &made, 1).await.code(), "SUBSCRIPTION_INACTIVE");
    write_down(&backend, &app, &made, "past_due").await;
    shown.used = Some((made["id"].clone(), 0));
    shown.with(&["subscription.past_due"]).await;
    pay(&app, &made, PRICE, "renewal").await.assert_valid();
    shown.with(&["payment.verified", "subscription.paid"]).await;
    assert_eq!(consume(&app, &made, 1).await.status, 201);
    shown.used = Some((made["id"].clone(), 1));

    // Paid ahead, on another day of the agent's, the third month begins by itself.
    app.chain.clock.advance(DAY);
    pay(&app, &made, PRICE, "ahead").await.assert_valid();
    shown.with(&["payment.verified", "subscription.paid"]).await;
    wait_until(&app, &now(&app, &made).await["currentPeriodEnd"]);
    write_down(&backend, &app, &made, "active").await;
    shown.used = Some((made["id"].clone(), 0));
    shown.with(&["subscription.renewed"]).await;
    assert_eq!(consume(&app, &made, 3).await.status, 201);
    shown.used = Some((made["id"].clone(), 3));

    let planned = cancel(&app, &made, &json!({})).await.body;
    assert_eq!((&planned["status"], &planned["cancelAtPeriodEnd"]), (&json!("active"), &json!(true)));
    shown.with(&["subscription.cancel_scheduled"]).await;
    wait_until(&app, &planned["currentPeriodEnd"]);
    assert_eq!(now(&app, &made).await["status"], "cancelled");
    assert_eq!(consume(&app, &made, 1).await.code(), "SUBSCRIPTION_INACTIVE");
    assert_eq!(app.booked().await, 3);
    write_down(&backend, &app, &made, "cancelled").await;
    shown.with(&["subscription.cancelled"]).await;
}

/// Until what time has made of it is written down, by the service's own worker or by this one.
async fn write_down(backend: &Backend, app: &TestApp, made: &Value, status: &str) {
    let worker =
        Worker { store: backend.books().await.subscriptions, clock: Arc::clone(&app.chain.clock) as _ };
    worker.round().await.unwrap();
    // Whatever the service's own has in hand is left to it.
    while worker.store.advance_due(app.now(), 0, 1).await.unwrap().advanced > 0 {}
    assert_eq!(now(app, made).await["status"], status);
}

//! What an x402 payment costs an agent that may not make it: once for each message, wherever it is found out.

use std::time::Duration;

use serde_json::{Value, json};

use super::{
    limited, register,
    x402::{app, assert_invalid, assert_unsettled, score, verify},
};
use crate::{
    conformance::{Backend, on_both},
    harness::{
        KEY, TestApp,
        x402::{Order, settled},
    },
};

on_both!(
    every_refusal_by_a_limit_costs_once_wherever_it_is_found_out,
    a_service_that_is_not_allowed_costs_once_whoever_asks,
);

/// What a payment is asked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Asked {
    Verify,
    Settle,
}

/// An agent's reputation, and how often that it was refused was told and counted.
async fn cost(app: &TestApp, made: &Value) -> (u64, usize, u64) {
    let id = made["id"].as_str().unwrap();
    let refused = app.get("/analytics/events?type=payment.refused", Some(KEY)).await.body;
    let events = refused["events"].as_array().unwrap();
    assert!(events.iter().all(|event| event["agentId"] == id), "{refused}");
    assert_eq!(refused["total"], events.len(), "{refused}");
    let series = format!("agent_requests_total{{agent_id=\"{id}\",status=\"failure\"}}");
    (score(app, made).await.0, events.len(), app.count(&series).await)
}

/// Fails unless it is refused for this reason, each time it is asked for.
async fn refused_thrice(app: &TestApp, asked: Asked, request: &Value, reason: &str) {
    for _ in 0..3 {
        match asked {
            Asked::Verify => assert_invalid(&verify(app, request).await, reason),
            Asked::Settle => assert_unsettled(&app.settle(Some(KEY), request).await, reason),
        }
        // Later it is the same failure.
        app.chain.clock.advance(Duration::from_millis(7));
    }
}

async fn every_refusal_by_a_limit_costs_once_wherever_it_is_found_out(backend: Backend) {
    let app = app(&backend).await;
    let made = limited(&app, &app.agent_address(), json!({"daily": "0.07", "perTransaction": "0.05"})).await;
    backend.execute("UPDATE agents SET reputation_score = 100").await;
    let order = app.order();
    settled(&app.settle(Some(KEY), &app.paid(&order)).await, &order);
    assert_eq!(score(&app, &made).await, (101, 1));
    // More than ever, and more than is left of the day: that is only known where it would be held.
    let (much, over) = (50_001, 50_000);
    let mut last = Value::Null;
    for (count, asked, units) in [
        (1_usize, Asked::Verify, much),
        (2, Asked::Verify, over),
        (3, Asked::Settle, much),
        (4, Asked::Settle, over),
    ] {
        let request = app.paid(&Order { units, ..app.order() });
        refused_thrice(&app, asked, &request, "spending_limit_exceeded").await;
        let expected = (101 - 5 * count as u64, count, 3 * count as u64);
        assert_eq!(cost(&app, &made).await, expected, "{asked:?} {units}");
        last = request;
    }
    // What was to be settled costs no more when it is to be verified.
    refused_thrice(&app, Asked::Verify, &last, "spending_limit_exceeded").await;
    assert_eq!(cost(&app, &made).await, (81, 4, 15));
}

async fn a_service_that_is_not_allowed_costs_once_whoever_asks(backend: Backend) {
    let app = app(&backend).await;
    let services = json!(["https://shop.example/dogs"]);
    let body = json!({"name": "a", "publicKey": app.agent_address(), "allowedServices": services});
    let made = register(&app, &body).await;
    backend.execute("UPDATE agents SET reputation_score = 100").await;
    for (count, asked) in [(1_usize, Asked::Verify), (2, Asked::Settle)] {
        let request = app.paid(&app.order());
        refused_thrice(&app, asked, &request, "service_not_allowed").await;
        let expected = (100 - 5 * count as u64, count, 3 * count as u64);
        assert_eq!(cost(&app, &made).await, expected, "{asked:?}");
    }
}

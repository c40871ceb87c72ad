//! What an agent may spend by proofs, and what it may not.

use std::time::Duration;

use pay402::{money::Currency, sandbox::Hold};
use serde_json::{Value, json};

use super::{agent, app, limited, patch, register};
use crate::{
    conformance::{Backend, on_both},
    harness::{Answer, KEY, OTHER_KEY, TestApp, logs, with},
};

on_both!(
    more_at_once_than_allowed_is_refused_and_uses_nothing,
    what_is_left_is_what_could_be_paid,
    a_day_has_an_end,
    stablecoins_count_together,
    sol_is_spent_by_its_own_limit,
    only_allowed_services_are_paid,
    a_proof_may_name_its_agent,
    a_proof_that_names_another_agent_is_refused,
    others_callers_are_not_concerned,
    without_a_key_the_issuers_agent_is_bound_all_the_same,
    a_wallet_registered_anew_meanwhile_is_bound_by_its_new_limits,
    a_deleted_agent_has_no_limits,
    a_success_earns_a_point,
    a_failure_costs_five_once,
    what_others_can_cause_costs_nothing,
    an_agent_without_limits_is_counted,
    metrics_tell_of_agents,
);

const DAY: Duration = Duration::from_hours(24);

/// The agent pays the merchant so many units of it and proves it, under a nonce of its own.
async fn pay(app: &TestApp, units: u64, currency: Currency, nonce: &str) -> Answer {
    let paid = app.pay(&app.merchant(), units, currency);
    app.verify(&app.proof(&paid, nonce)).await
}

#[track_caller]
fn assert_limit(answer: &Answer, left: &str, resets_at: Option<i64>) {
    answer.assert_refused("SPENDING_LIMIT_EXCEEDED");
    let limit = &answer.body["limit"];
    assert_eq!(limit["left"].to_string(), left, "{answer:?}");
    assert_eq!(limit["resetsAt"].as_i64(), resets_at, "{answer:?}");
}

fn midnight(app: &TestApp) -> i64 {
    let day = 86_400_000;
    (app.now().0 / day + 1) * day
}

async fn spending(app: &TestApp, made: &Value) -> (String, String, String) {
    let spending = agent(app, &made["id"], "/spending").await;
    assert_eq!(spending["reserved"], 0);
    (spending["spent"].to_string(), spending["left"].to_string(), spending["sol"]["spent"].to_string())
}

async fn more_at_once_than_allowed_is_refused_and_uses_nothing(backend: Backend) {
    let app = app(&backend).await;
    let made = limited(&app, &app.agent_address(), json!({"perTransaction": "0.05"})).await;
    let proof = app.proof(&app.pay(&app.merchant(), 50_001, Currency::Usdc), "much");
    for _ in 0..2 {
        assert_limit(&app.verify(&proof).await, "0.05", None);
    }
    assert_eq!(app.booked().await, 0);
    pay(&app, 50_000, Currency::Usdc, "just").await.assert_valid();
    let raised = patch(&app, &made["id"], &json!({"spendingLimit": {"perTransaction": "0.050001"}})).await;
    assert_eq!(raised.status, 200);
    let answer = app.verify(&proof).await;
    answer.assert_valid();
    assert_eq!(answer.body["payment"]["agentId"], made["id"]);
    assert_eq!(spending(&app, &made).await, ("0.100001".to_owned(), "null".to_owned(), "0".to_owned()));
    let payments = app.get("/payments", Some(KEY)).await.body["payments"].clone();
    assert!(
        payments.as_array().unwrap().iter().all(|payment| payment["agentId"] == made["id"]),
        "{payments}"
    );
}

/// Of two limits that are in the way, what both leave.
async fn what_is_left_is_what_could_be_paid(backend: Backend) {
    let app = app(&backend).await;
    limited(&app, &app.agent_address(), json!({"daily": "0.1", "perTransaction": "0.06"})).await;
    let more = app.proof(&app.pay(&app.merchant(), 60_001, Currency::Usdc), "more");
    assert_limit(&app.verify(&more).await, "0.06", None);
    pay(&app, 30_000, Currency::Usdc, "a").await.assert_valid();
    assert_limit(&app.verify(&more).await, "0.06", None);
    pay(&app, 30_000, Currency::Usdc, "b").await.assert_valid();
    assert_limit(&app.verify(&more).await, "0.04", Some(midnight(&app)));
}

async fn a_day_has_an_end(backend: Backend) {
    let app = app(&backend).await;
    let made = limited(&app, &app.agent_address(), json!({"daily": "0.1"})).await;
    // To within a second of the end of the day.
    let rest = u64::try_from(midnight(&app) - app.now().0).unwrap();
    app.chain.clock.advance(Duration::from_millis(rest - 1000));
    pay(&app, 60_000, Currency::Usdc, "a").await.assert_valid();
    let proof = app.proof(&app.pay(&app.merchant(), 40_001, Currency::Usdc), "b");
    assert_limit(&app.verify(&proof).await, "0.04", Some(midnight(&app)));
    pay(&app, 40_000, Currency::Usdc, "c").await.assert_valid();
    assert_limit(&pay(&app, 1, Currency::Usdc, "d").await, "0", Some(midnight(&app)));
    assert_eq!(spending(&app, &made).await, ("0.1".to_owned(), "0".to_owned(), "0".to_owned()));
    app.chain.clock.advance(Duration::from_millis(999));
    assert_limit(&app.verify(&proof).await, "0", Some(midnight(&app)));
    app.chain.clock.advance(Duration::from_millis(1));
    assert_eq!(spending(&app, &made).await, ("0".to_owned(), "0.1".to_owned(), "0".to_owned()));
    app.verify(&proof).await.assert_valid();
    assert_eq!(spending(&app, &made).await, ("0.040001".to_owned(), "0.059999".to_owned(), "0".to_owned()));
    app.chain.clock.advance(DAY);
    assert_eq!(spending(&app, &made).await.0, "0");
}

async fn stablecoins_count_together(backend: Backend) {
    let app = app(&backend).await;
    let made = limited(&app, &app.agent_address(), json!({"daily": "0.1"})).await;
    for (currency, units) in [(Currency::Usdc, 40_000), (Currency::Usdt, 30_000), (Currency::Pyusd, 30_000)] {
        pay(&app, units, currency, currency.as_str()).await.assert_valid();
    }
    for currency in [Currency::Usdc, Currency::Usdt, Currency::Pyusd] {
        let answer = pay(&app, 1, currency, &format!("more {currency}")).await;
        assert_limit(&answer, "0", Some(midnight(&app)));
    }
    assert_limit(&pay(&app, 1, Currency::Sol, "sol").await, "0", None);
    assert_eq!(spending(&app, &made).await, ("0.1".to_owned(), "0".to_owned(), "0".to_owned()));
}

async fn sol_is_spent_by_its_own_limit(backend: Backend) {
    let app = app(&backend).await;
    let limit = json!({"daily": 0, "sol": {"daily": "0.002", "perTransaction": "0.001500001"}});
    let made = limited(&app, &app.agent_address(), limit).await;
    assert_limit(&pay(&app, 1_500_002, Currency::Sol, "a").await, "0.001500001", None);
    pay(&app, 1_500_001, Currency::Sol, "b").await.assert_valid();
    assert_limit(&pay(&app, 500_000, Currency::Sol, "c").await, "0.000499999", Some(midnight(&app)));
    assert_limit(&pay(&app, 1, Currency::Usdc, "d").await, "0", Some(midnight(&app)));
    let spending = agent(&app, &made["id"], "/spending").await;
    assert_eq!(spending["sol"], json!({"spent": 0.001_500_001, "reserved": 0, "left": 0.000_499_999}));
}

async fn only_allowed_services_are_paid(backend: Backend) {
    let app = app(&backend).await;
    let body = json!({
        "name": "a", "publicKey": app.agent_address(), "allowedServices": ["https://api.example.com/v1/*", "/articles/*"],
    });
    register(&app, &body).await;
    let proof = app.proof(&app.pay_merchant(), "n");
    app.verify(&proof).await.assert_refused("SERVICE_NOT_ALLOWED");
    for resource in
        ["https://api.example.com/v2/x", "/articles/../admin", "/articles/%2e%2e/admin", "articles"]
    {
        app.verify(&with(proof.clone(), "resource", resource)).await.assert_refused("SERVICE_NOT_ALLOWED");
    }
    // What the merchant asks to be paid for counts, not what the proof says.
    let required = |resource: &str| {
        let mut requirement = app.requirement();
        requirement["resource"] = json!(resource);
        with(with(proof.clone(), "resource", "/articles/1"), "requirement", requirement)
    };
    app.verify(&required("/admin")).await.assert_refused("SERVICE_NOT_ALLOWED");
    assert_eq!(app.booked().await, 0);
    app.verify(&required("https://API.example.com:443/v1/x?y")).await.assert_valid();
    let proof = app.proof(&app.pay_merchant(), "m");
    app.verify(&with(proof, "resource", "/articles/7")).await.assert_valid();
}

/// On one thread, because that is whose log is read.
#[tokio::test]
async fn services_that_cannot_be_read_are_told_of_where_they_may_be_the_reason() {
    logs::listen();
    let backend = Backend::sqlite();
    let app = backend.app().await;
    let body = json!({"name": "a", "publicKey": app.agent_address(), "allowedServices": ["/articles/*"]});
    let made = register(&app, &body).await;
    backend.execute("UPDATE agents SET allowed_services = '[\"regex:.*\", \"/articles/*\"]'").await;
    let proof = app.proof(&app.pay_merchant(), "n");
    let told = || logs::heard().matches("this version cannot read").count();
    app.verify(&with(proof.clone(), "resource", "/admin")).await.assert_refused("SERVICE_NOT_ALLOWED");
    assert_eq!(told(), 1);
    let warning = logs::heard();
    let warning = warning.lines().find(|line| line.contains("this version cannot read")).unwrap();
    assert!(warning.contains(made["id"].as_str().unwrap()), "{warning}");
    app.verify(&with(proof, "resource", "/articles/7")).await.assert_valid();
    assert_eq!(told(), 1, "nothing was in the way");
}

async fn a_proof_may_name_its_agent(backend: Backend) {
    let app = app(&backend).await;
    let made = register(&app, &json!({"name": "a", "publicKey": app.agent_address()})).await;
    let names = [made["id"].clone(), json!(app.agent_address()), Value::Null];
    for (number, name) in names.into_iter().enumerate() {
        let proof = app.proof(&app.pay_merchant(), &format!("n{number}"));
        let answer = app.verify(&with(proof, "agentId", name)).await;
        answer.assert_valid();
        assert_eq!(answer.body["payment"]["agentId"], made["id"]);
    }
}

async fn a_proof_that_names_another_agent_is_refused(backend: Backend) {
    let app = app(&backend).await;
    let stranger = register(&app, &json!({"name": "a", "publicKey": super::wallet(7)})).await;
    let own = json!({"name": "a", "publicKey": app.agent_address()});
    let others = app.post("/agents", Some(OTHER_KEY), &own).await.body;
    let proof = app.proof(&app.pay_merchant(), "n");
    let answer = app.verify(&with(proof.clone(), "agentId", stranger["id"].clone())).await;
    answer.assert_refused("INVALID_PAYMENT");
    assert!(answer.body["error"].as_str().unwrap().contains(&super::wallet(7)), "{answer:?}");
    for name in [others["id"].clone(), json!(app.agent_address()), json!("agent_nobody")] {
        app.verify(&with(proof.clone(), "agentId", name)).await.assert_refused("AGENT_NOT_FOUND");
    }
    let anonymous = app.post("/verify", None, &with(proof.clone(), "agentId", others["id"].clone())).await;
    anonymous.assert_refused("AGENT_NOT_FOUND");
    let answer = app.verify(&proof).await;
    answer.assert_valid();
    assert_eq!(answer.body["payment"].get("agentId"), None);
}

/// Anybody can register any wallet: for others it means nothing.
async fn others_callers_are_not_concerned(backend: Backend) {
    let app = app(&backend).await;
    let made = limited(&app, &app.agent_address(), json!({"daily": 0})).await;
    assert_limit(&pay(&app, 1, Currency::Usdc, "own").await, "0", Some(midnight(&app)));
    for (number, key) in [Some(OTHER_KEY), None].into_iter().enumerate() {
        let proof = app.proof(&app.pay_merchant(), &format!("n{number}"));
        let answer = app.post("/verify", key, &proof).await;
        answer.assert_valid();
        assert_eq!(answer.body["payment"].get("agentId"), None);
    }
    assert_eq!(spending(&app, &made).await.0, "0");
}

async fn a_deleted_agent_has_no_limits(backend: Backend) {
    let app = app(&backend).await;
    let made = limited(&app, &app.agent_address(), json!({"daily": "0.05"})).await;
    pay(&app, 50_000, Currency::Usdc, "a").await.assert_valid();
    app.chain.clock.advance(Duration::from_millis(5));
    let proof = app.proof(&app.pay_merchant(), "b");
    assert_limit(&app.verify(&proof).await, "0", Some(midnight(&app)));
    let path = app.path(&format!("/agents/{}", made["id"].as_str().unwrap()));
    assert_eq!(app.send(app.http.delete(path), Some(KEY)).await.status, 200);
    app.verify(&with(proof.clone(), "agentId", made["id"].clone())).await.assert_refused("AGENT_NOT_FOUND");
    app.verify(&proof).await.assert_valid();
    // The history stays.
    let first = app.get("/payments?offset=1", Some(KEY)).await.body["payments"][0].clone();
    assert_eq!((&first["nonce"], &first["agentId"]), (&json!("a"), &made["id"]));
    // Registered anew it begins anew.
    let again = limited(&app, &app.agent_address(), json!({"daily": "0.05"})).await;
    pay(&app, 50_000, Currency::Usdc, "c").await.assert_valid();
    assert_eq!(agent(&app, &again["id"], "").await["reputation"]["transactionCount"], 1);
}

async fn a_success_earns_a_point(backend: Backend) {
    let app = app(&backend).await;
    let made = register(&app, &json!({"name": "a", "publicKey": app.agent_address()})).await;
    for number in 1..=3 {
        pay(&app, 1, Currency::Usdc, &format!("n{number}")).await.assert_valid();
        let expected = json!({"score": number, "transactionCount": number, "trustLevel": "new"});
        assert_eq!(agent(&app, &made["id"], "").await["reputation"], expected);
    }
}

/// The score of the agent after `points` payments and what `spoil` does.
async fn score(app: &TestApp, made: &Value) -> (u64, u64) {
    let reputation = agent(app, &made["id"], "/reputation").await;
    (reputation["score"].as_u64().unwrap(), reputation["transactionCount"].as_u64().unwrap())
}

async fn a_failure_costs_five_once(backend: Backend) {
    let app = app(&backend).await;
    let made = limited(&app, &app.agent_address(), json!({"perTransaction": "0.05"})).await;
    for number in 0..13 {
        pay(&app, 1, Currency::Usdc, &format!("n{number}")).await.assert_valid();
    }
    assert_eq!(score(&app, &made).await, (13, 13));
    let proof = app.proof(&app.pay_merchant(), "bad");
    for _ in 0..3 {
        app.verify(&with(proof.clone(), "amount", "0.04")).await.assert_refused("AMOUNT_MISMATCH");
        assert_eq!(score(&app, &made).await, (8, 13));
    }
    // Made of the same signature: the same failure.
    app.verify(&with(proof.clone(), "currency", "USDT")).await.assert_refused("CURRENCY_MISMATCH");
    assert_eq!(score(&app, &made).await, (8, 13));
    app.verify(&proof).await.assert_valid();
    assert_eq!(score(&app, &made).await, (9, 14));
    assert_limit(&pay(&app, 50_001, Currency::Usdc, "much").await, "0.05", None);
    assert_eq!(score(&app, &made).await, (4, 14));
    assert_limit(&pay(&app, 50_001, Currency::Usdc, "more").await, "0.05", None);
    assert_eq!(score(&app, &made).await, (0, 14), "it does not fall below 0");
}

async fn what_others_can_cause_costs_nothing(backend: Backend) {
    let app = app(&backend).await;
    let made = register(&app, &json!({"name": "a", "publicKey": app.agent_address()})).await;
    let mut used = Value::Null;
    for number in 0..6 {
        used = app.proof(&app.pay(&app.merchant(), 1, Currency::Usdc), &format!("n{number}"));
        app.verify(&used).await.assert_valid();
    }
    app.verify(&used).await.assert_refused("REPLAY_ATTACK");
    app.verify(&with(used.clone(), "amount", "0.5")).await.assert_refused("REPLAY_ATTACK");
    let fresh = app.proof(&app.pay_merchant(), "fresh");
    app.verify(&with(fresh.clone(), "timestamp", 1)).await.assert_refused("PAYMENT_EXPIRED");
    app.verify(&with(fresh.clone(), "nonce", "other")).await.assert_refused("INVALID_SIGNATURE");
    app.verify(&with(fresh.clone(), "agentId", "agent_x")).await.assert_refused("AGENT_NOT_FOUND");
    let unknown = with(fresh.clone(), "transactionId", fresh["signature"].clone());
    assert_eq!(app.verify(&unknown).await.code(), "TRANSACTION_NOT_FOUND");
    app.chain.sandbox.faults().error("getTransaction", -32603, "down", 100);
    assert_eq!(app.verify(&fresh).await.code(), "BLOCKCHAIN_UNAVAILABLE");
    assert_eq!(score(&app, &made).await, (6, 6));
}

async fn an_agent_without_limits_is_counted(backend: Backend) {
    let app = app(&backend).await;
    let made = register(&app, &json!({"name": "a", "publicKey": app.agent_address()})).await;
    pay(&app, 70_000, Currency::Usdt, "a").await.assert_valid();
    pay(&app, 3, Currency::Sol, "b").await.assert_valid();
    let expected = ("0.07".to_owned(), "null".to_owned(), "3e-9".to_owned());
    assert_eq!(spending(&app, &made).await, expected);
}

async fn metrics_tell_of_agents(backend: Backend) {
    let app = app(&backend).await;
    let made = limited(&app, &app.agent_address(), json!({"daily": "0.1"})).await;
    let id = made["id"].as_str().unwrap();
    pay(&app, 60_000, Currency::Usdc, "a").await.assert_valid();
    assert_limit(&pay(&app, 60_000, Currency::Usdc, "b").await, "0.04", Some(midnight(&app)));
    let series = |status: &str| format!("agent_requests_total{{agent_id=\"{id}\",status=\"{status}\"}}");
    assert_eq!((app.count(&series("success")).await, app.count(&series("failure")).await), (1, 1));
    // The same once more is no other payment.
    let paid = app.pay(&app.merchant(), 10_000, Currency::Usdc);
    let proof = app.proof(&paid, "c");
    app.verify(&proof).await.assert_valid();
    for nonce in ["c", "d"] {
        app.verify(&app.proof(&paid, nonce)).await.assert_refused("REPLAY_ATTACK");
    }
    assert_eq!((app.count(&series("success")).await, app.count(&series("failure")).await), (2, 1));
    let spent = app.metric(&format!("agent_spending_total{{agent_id=\"{id}\",currency=\"USDC\"}}")).await;
    assert!((spent - 0.07).abs() < 1e-9, "{spent}");
}

/// The payment belongs to whoever issued the requirement, and so does the agent.
async fn without_a_key_the_issuers_agent_is_bound_all_the_same(backend: Backend) {
    let app = app(&backend).await;
    let body = json!({
        "name": "a", "publicKey": app.agent_address(), "spendingLimit": {"daily": "0.07"}, "allowedServices": ["/v1/*"],
    });
    let made = register(&app, &body).await;
    let issued = async |resource: &str| {
        let nonce = app.issue(KEY, &with(app.requirement(), "resource", resource)).await["nonce"].clone();
        app.proof(&app.pay_merchant(), nonce.as_str().unwrap())
    };
    let proof = issued("/v1/a").await;
    let answer = app.post("/verify", None, &proof).await;
    answer.assert_valid();
    assert_eq!(answer.body["payment"]["agentId"], made["id"]);
    assert_eq!(spending(&app, &made).await.0, "0.05");
    assert_eq!(score(&app, &made).await, (1, 1));

    let much = issued("/v1/b").await;
    assert_limit(&app.post("/verify", None, &much).await, "0.02", Some(midnight(&app)));
    let elsewhere = issued("/v2/a").await;
    app.post("/verify", None, &elsewhere).await.assert_refused("SERVICE_NOT_ALLOWED");
    assert_eq!(score(&app, &made).await, (1, 1), "nobody without a key can spoil it");
    let id = made["id"].as_str().unwrap();
    let refused = format!("agent_requests_total{{agent_id=\"{id}\",status=\"failure\"}}");
    assert_eq!(app.count(&refused).await, 2, "what is refused is counted all the same");
    assert_eq!(app.booked().await, 1);
    // It may be named, and no other.
    let named = |name: &Value| with(much.clone(), "agentId", name.clone());
    assert_limit(&app.post("/verify", None, &named(&made["id"])).await, "0.02", Some(midnight(&app)));
    app.post("/verify", None, &named(&json!("agent_x"))).await.assert_refused("AGENT_NOT_FOUND");
    assert_eq!(patch(&app, &made["id"], &json!({"spendingLimit": {"daily": "0.1"}})).await.status, 200);
    app.post("/verify", None, &much).await.assert_valid();
    assert_eq!(spending(&app, &made).await.0, "0.1");
}

/// Deleted and registered again between the look-up and the booking.
async fn a_wallet_registered_anew_meanwhile_is_bound_by_its_new_limits(backend: Backend) {
    let app = app(&backend).await;
    let mut made = limited(&app, &app.agent_address(), json!({"daily": 1})).await;
    // Before it is deleted, nothing is in the way.
    let open = async |made: &Value| {
        let patched = patch(&app, &made["id"], &json!({"spendingLimit": {"daily": 1}})).await;
        assert_eq!(patched.status, 200, "{patched:?}");
    };
    for (nonce, daily) in [("fits", "0.05"), ("does not", "0.049999")] {
        open(&made).await;
        let proof = app.proof(&app.pay_merchant(), nonce);
        let held = app.chain.sandbox.faults().hold("getTransaction", Hold::Before, 1);
        let (answer, again) = tokio::join!(app.verify(&proof), async {
            held.arrived(1).await;
            let path = app.path(&format!("/agents/{}", made["id"].as_str().unwrap()));
            assert_eq!(app.send(app.http.delete(path), Some(KEY)).await.status, 200);
            let again = limited(&app, &app.agent_address(), json!({"daily": daily})).await;
            held.release();
            again
        });
        made = again;
        if nonce == "fits" {
            answer.assert_valid();
            assert_eq!(answer.body["payment"]["agentId"], made["id"]);
            assert_eq!(spending(&app, &made).await.0, "0.05");
        } else {
            assert_limit(&answer, "0.049999", Some(midnight(&app)));
            assert_eq!(spending(&app, &made).await.0, "0");
        }
    }
    // Only deleted, it binds nobody.
    open(&made).await;
    let proof = app.proof(&app.pay_merchant(), "free");
    let held = app.chain.sandbox.faults().hold("getTransaction", Hold::Before, 1);
    let (answer, ()) = tokio::join!(app.verify(&proof), async {
        held.arrived(1).await;
        let path = app.path(&format!("/agents/{}", made["id"].as_str().unwrap()));
        assert_eq!(app.send(app.http.delete(path), Some(KEY)).await.status, 200);
        held.release();
    });
    answer.assert_valid();
    assert_eq!(answer.body["payment"].get("agentId"), None);
}

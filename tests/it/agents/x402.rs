//! What an agent may spend by x402: a verify holds it, a settle spends it, and what comes to nothing is free again.

use std::{sync::Arc, time::Duration};

use pay402::{payments::x402::Version, sandbox::Hold};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::time::{Instant, sleep};

use super::{agent, limited, patch, register, wallet};
use crate::{
    conformance::{Backend, on_both},
    harness::{
        Answer, KEY, OTHER_KEY, TestApp, away_from_midnight,
        x402::{Order, PATIENCE, paid, settled, settling_process, signature_of, signed, while_slots_pass},
    },
    sandbox::setup::start,
};

on_both!(
    a_verify_holds_and_a_settle_spends,
    what_is_held_counts_until_it_runs_out,
    a_settle_without_a_verify_is_held_by_its_journal,
    only_allowed_services_are_settled,
    a_long_resource_is_matched_to_its_end,
    a_wallet_registered_anew_meanwhile_is_held_for_under_its_new_limits,
    a_payment_that_fails_is_released_and_costs_five,
    others_settle_as_they_like,
    settles_at_once_stay_within_the_limit,
    a_kill_between_reserving_and_spending_loses_nothing,
);

pub(super) async fn app(backend: &Backend) -> TestApp {
    let url = backend.database_url();
    TestApp::settling_on(start().await, Arc::new(TempDir::new().unwrap()), &[("DATABASE_URL", &url)]).await
}

pub(super) async fn verify(app: &TestApp, request: &Value) -> Answer {
    app.post("/verify", Some(KEY), request).await
}

#[track_caller]
pub(super) fn assert_valid(answer: &Answer) {
    assert_eq!((answer.status, &answer.body["isValid"]), (200, &json!(true)), "{answer:?}");
}

#[track_caller]
pub(super) fn assert_invalid(answer: &Answer, reason: &str) {
    let told = (answer.status, &answer.body["isValid"], &answer.body["invalidReason"]);
    assert_eq!(told, (200, &json!(false), &json!(reason)), "{answer:?}");
    assert!(answer.body["payer"].is_string(), "{answer:?}");
}

#[track_caller]
pub(super) fn assert_unsettled(answer: &Answer, reason: &str) {
    let told = (answer.status, &answer.body["success"], &answer.body["errorReason"]);
    assert_eq!(told, (200, &json!(false), &json!(reason)), "{answer:?}");
    assert_eq!(answer.body["transaction"], "", "nothing was sent: {answer:?}");
}

/// Spent, reserved and left.
pub(super) async fn day(app: &TestApp, made: &Value) -> [String; 3] {
    let spending = agent(app, &made["id"], "/spending").await;
    ["spent", "reserved", "left"].map(|member| spending[member].to_string())
}

pub(super) async fn score(app: &TestApp, made: &Value) -> (u64, u64) {
    let reputation = agent(app, &made["id"], "/reputation").await;
    (reputation["score"].as_u64().unwrap(), reputation["transactionCount"].as_u64().unwrap())
}

async fn a_verify_holds_and_a_settle_spends(backend: Backend) {
    let app = app(&backend).await;
    let made = limited(&app, &app.agent_address(), json!({"daily": "0.12"})).await;
    for (version, before) in Version::ALL.into_iter().zip([0, 50_000]) {
        let order = Order { version, ..app.order() };
        let request = app.paid(&order);
        let tokens = |units: u64| (f64::from(u32::try_from(units).unwrap()) / 1e6).to_string();
        for _ in 0..3 {
            assert_valid(&verify(&app, &request).await);
            let [spent, reserved, left] = day(&app, &made).await;
            assert_eq!((spent, reserved), (tokens(before), "0.05".to_owned()));
            assert_eq!(left, tokens(70_000 - before));
        }
        settled(&app.settle(Some(KEY), &request).await, &order);
        assert_eq!(
            day(&app, &made).await,
            [tokens(before + 50_000), "0".to_owned(), tokens(70_000 - before)]
        );
        // Sent again it is told again, and costs nothing.
        settled(&app.settle(Some(KEY), &request).await, &order);
        assert_eq!(day(&app, &made).await[0], tokens(before + 50_000));
    }
    assert_eq!(score(&app, &made).await, (2, 2));
    let payments = app.get("/payments", Some(KEY)).await.body["payments"].clone();
    assert!(
        payments.as_array().unwrap().iter().all(|payment| payment["agentId"] == made["id"]),
        "{payments}"
    );
    let id = made["id"].as_str().unwrap();
    let spent = app.metric(&format!("agent_spending_total{{agent_id=\"{id}\",currency=\"USDC\"}}")).await;
    assert!((spent - 0.1).abs() < 1e-9, "{spent}");
    assert_eq!(app.count(&format!("agent_requests_total{{agent_id=\"{id}\",status=\"success\"}}")).await, 2);
}

async fn what_is_held_counts_until_it_runs_out(backend: Backend) {
    let app = app(&backend).await;
    let made = limited(&app, &app.agent_address(), json!({"daily": "0.1"})).await;
    // More than ever, and than what the one that is held leaves.
    let much = Order { units: 100_001, ..app.order() };
    let proof = app.proof(&app.pay(&app.merchant(), 100_001, pay402::money::Currency::Usdc), "much");
    for left in ["0.1", "0.05"] {
        let refused = verify(&app, &app.paid(&much)).await;
        assert_invalid(&refused, "spending_limit_exceeded");
        let said = refused.body["invalidMessage"].as_str().unwrap();
        assert!(said.contains(&format!("of which {left} is left until 20")), "{said}");
        assert_eq!(app.verify(&proof).await.body["limit"]["left"].to_string(), left);
        assert_valid(&verify(&app, &app.paid(&app.order())).await);
    }
    let request = app.paid(&app.order());
    assert_invalid(&verify(&app, &request).await, "spending_limit_exceeded");
    assert_unsettled(&app.settle(Some(KEY), &request).await, "spending_limit_exceeded");
    // A proof of the same agent meets the same holds.
    let proof = app.proof(&app.pay(&app.merchant(), 1, pay402::money::Currency::Usdc), "n");
    let refused = app.verify(&proof).await;
    refused.assert_refused("SPENDING_LIMIT_EXCEEDED");
    assert_eq!(refused.body["limit"]["left"], 0);
    assert_eq!(day(&app, &made).await, ["0", "0.1", "0"]);
    app.chain.clock.advance(Duration::from_secs(89));
    assert_eq!(day(&app, &made).await, ["0", "0.1", "0"]);
    app.chain.clock.advance(Duration::from_secs(1));
    assert_eq!(day(&app, &made).await, ["0", "0", "0.1"]);
    app.verify(&proof).await.assert_valid();
    let order = app.order();
    settled(&app.settle(Some(KEY), &app.paid(&order)).await, &order);
    assert_eq!(day(&app, &made).await, ["0.050001", "0", "0.049999"]);
}

async fn a_settle_without_a_verify_is_held_by_its_journal(backend: Backend) {
    let app = app(&backend).await;
    let made = limited(&app, &app.agent_address(), json!({"daily": "0.07", "perTransaction": "0.05"})).await;
    let before = app.received();
    let order = app.order();
    settled(&app.settle(Some(KEY), &app.paid(&order)).await, &order);
    let (over, much) = (app.order(), Order { units: 50_001, ..app.order() });
    for (order, limit) in [(&over, "of which 0.02 is left"), (&much, "at most 0.05")] {
        let request = app.paid(order);
        let refused = app.settle(Some(KEY), &request).await;
        assert_unsettled(&refused, "spending_limit_exceeded");
        let said = refused.body["errorMessage"].as_str().unwrap();
        assert!(said.contains(limit), "{said}");
        assert_invalid(&verify(&app, &request).await, "spending_limit_exceeded");
    }
    assert_eq!(app.received() - before, 50_000);
    assert_eq!(day(&app, &made).await, ["0.05", "0", "0.02"]);
    // Each message costs once, however often it is tried; there was one point to lose.
    assert_eq!(score(&app, &made).await, (0, 1));
    let request = app.paid(&over);
    assert_unsettled(&app.settle(Some(KEY), &request).await, "spending_limit_exceeded");
    assert_eq!(patch(&app, &made["id"], &json!({"spendingLimit": {"daily": "0.1"}})).await.status, 200);
    settled(&app.settle(Some(KEY), &request).await, &over);
    assert_eq!(day(&app, &made).await, ["0.1", "0", "0"]);
}

async fn only_allowed_services_are_settled(backend: Backend) {
    let app = app(&backend).await;
    let services = json!(["https://shop.example/cats"]);
    register(&app, &json!({"name": "a", "publicKey": app.agent_address(), "allowedServices": services}))
        .await;
    for version in Version::ALL {
        let good = Order { version, ..app.order() };
        let resource = "https://shop.example/cats/../dogs".to_owned();
        let request = app.paid(&Order { version, resource, ..app.order() });
        assert_invalid(&verify(&app, &request).await, "service_not_allowed");
        assert_unsettled(&app.settle(Some(KEY), &request).await, "service_not_allowed");
        let request = app.paid(&good);
        assert_valid(&verify(&app, &request).await);
        settled(&app.settle(Some(KEY), &request).await, &good);
    }
}

/// However little of it the books keep.
async fn a_long_resource_is_matched_to_its_end(backend: Backend) {
    let app = app(&backend).await;
    let services = json!(["https://shop.example/*/cats"]);
    register(&app, &json!({"name": "a", "publicKey": app.agent_address(), "allowedServices": services}))
        .await;
    let long = |end: &str| format!("https://shop.example/{}/{end}", "x".repeat(3_000));
    for version in Version::ALL {
        let request = app.paid(&Order { version, resource: long("dogs"), ..app.order() });
        assert_invalid(&verify(&app, &request).await, "service_not_allowed");
        assert_unsettled(&app.settle(Some(KEY), &request).await, "service_not_allowed");
        for verified_before in [true, false] {
            let good = Order { version, resource: long("cats"), ..app.order() };
            let request = app.paid(&good);
            if verified_before {
                assert_valid(&verify(&app, &request).await);
            }
            settled(&app.settle(Some(KEY), &request).await, &good);
        }
    }
}

/// Deleted and registered again while the chain is asked about a payment of its.
async fn a_wallet_registered_anew_meanwhile_is_held_for_under_its_new_limits(backend: Backend) {
    let app = app(&backend).await;
    let mut made = limited(&app, &app.agent_address(), json!({"daily": 1})).await;
    for (daily, held) in [("0.05", "0.05"), ("0.049999", "0")] {
        assert_eq!(patch(&app, &made["id"], &json!({"spendingLimit": {"daily": 1}})).await.status, 200);
        let request = app.paid(&app.order());
        let holding = app.chain.sandbox.faults().hold("simulateTransaction", Hold::Before, 1);
        let (answer, again) = tokio::join!(verify(&app, &request), async {
            holding.arrived(1).await;
            let path = app.path(&format!("/agents/{}", made["id"].as_str().unwrap()));
            assert_eq!(app.send(app.http.delete(path), Some(KEY)).await.status, 200);
            let again = limited(&app, &app.agent_address(), json!({"daily": daily})).await;
            holding.release();
            again
        });
        made = again;
        assert_eq!(day(&app, &made).await[1], held);
        let id = made["id"].as_str().unwrap();
        let failures =
            app.count(&format!("agent_requests_total{{agent_id=\"{id}\",status=\"failure\"}}")).await;
        if held == "0" {
            assert_invalid(&answer, "spending_limit_exceeded");
            assert_eq!(failures, 1, "it is the new one's");
        } else {
            assert_valid(&answer);
            assert_eq!(failures, 0);
        }
    }
}

/// The money is gone between a verify and its settle, so that the transaction lands and fails.
async fn a_payment_that_fails_is_released_and_costs_five(backend: Backend) {
    let app = app(&backend).await;
    let made = limited(&app, &app.agent_address(), json!({"daily": 2_000_000})).await;
    for _ in 0..7 {
        let order = app.order();
        settled(&app.settle(Some(KEY), &app.paid(&order)).await, &order);
    }
    let all = app.chain.sandbox.token_balance(&pay402::sandbox::USDC, &app.agent_address().parse().unwrap());
    let request = app.paid(&app.order());
    assert_valid(&verify(&app, &request).await);
    let transfer = app.transfer(&app.merchant(), all, pay402::money::Currency::Usdc);
    app.land_instructions(&transfer, &[app.agent()]);
    let failed = app.settle(Some(KEY), &request).await;
    assert_eq!(failed.body["errorReason"], "invalid_exact_svm_transaction_failed", "{failed:?}");
    assert_eq!(day(&app, &made).await[..2], ["0.35", "0"]);
    assert_eq!(score(&app, &made).await, (2, 7));
    // Counted once, however often it is told.
    let again = app.settle(Some(KEY), &request).await;
    assert_eq!(again.body, failed.body);
    let id = made["id"].as_str().unwrap();
    let count = async |status: &str| {
        app.count(&format!("agent_requests_total{{agent_id=\"{id}\",status=\"{status}\"}}")).await
    };
    assert_eq!((count("success").await, count("failure").await), (7, 1));
    assert_eq!(verify(&app, &request).await.body["isValid"], false);
    assert_eq!((count("success").await, count("failure").await), (7, 1), "it was before");
    // What would fail is counted as it is asked for, and costs nothing.
    let broke = app.paid(&app.order());
    assert_eq!(verify(&app, &broke).await.body["isValid"], false);
    assert_eq!(app.settle(Some(KEY), &broke).await.body["success"], false);
    assert_eq!((count("success").await, count("failure").await), (7, 3));
    assert_eq!(score(&app, &made).await, (2, 7));
}

async fn others_settle_as_they_like(backend: Backend) {
    let app = app(&backend).await;
    let made = limited(&app, &app.agent_address(), json!({"daily": 0})).await;
    limited(&app, &wallet(9), json!({"daily": 0})).await;
    let mut requests = Vec::new();
    for key in [Some(OTHER_KEY), None] {
        let order = app.order();
        let request = app.paid(&order);
        assert_valid(&app.post("/verify", key, &request).await);
        settled(&app.settle(key, &request).await, &order);
        requests.push((request, order));
    }
    assert_invalid(&verify(&app, &app.paid(&app.order())).await, "spending_limit_exceeded");
    assert_eq!((day(&app, &made).await[0].as_str(), score(&app, &made).await), ("0", (0, 0)));
    // What a stranger had settled, and is the user's after all, counts: its money has moved.
    for (request, order) in &requests {
        settled(&app.settle(Some(KEY), request).await, order);
    }
    assert_eq!((day(&app, &made).await[0].as_str(), score(&app, &made).await), ("0.05", (1, 1)));
}

async fn settles_at_once_stay_within_the_limit(backend: Backend) {
    let app = app(&backend).await;
    let made = limited(&app, &app.agent_address(), json!({"daily": "0.18"})).await;
    let requests: Vec<Value> = (0..8).map(|_| app.paid(&app.order())).collect();
    let before = app.received();
    let answers = while_slots_pass(
        &app.chain.sandbox,
        futures_util::future::join_all(requests.iter().enumerate().map(async |(n, request)| {
            if n % 2 == 0 {
                verify(&app, request).await;
            }
            loop {
                let answer = app.post("/settle", Some(KEY), request).await;
                if answer.body["errorReason"] != "settlement_pending" {
                    return answer;
                }
            }
        })),
    )
    .await;
    let paid = answers.iter().filter(|answer| answer.body["success"] == true).count();
    for refused in answers.iter().filter(|answer| answer.body["success"] != true) {
        // On a busy machine a blockhash may die first, which is no payment either.
        let reason = refused.body["errorReason"].as_str().unwrap();
        let known = ["spending_limit_exceeded", "settle_exact_svm_block_height_exceeded"];
        assert!(known.contains(&reason) || reason.contains("simulation_failed"), "{refused:?}");
    }
    // A verify whose settle came too late holds what another could have had.
    assert!(paid <= 3, "{answers:?}");
    assert_eq!(app.received() - before, 50_000 * paid as u64);
    let spending = agent(&app, &made["id"], "/spending").await;
    let exact = 0.05 * f64::from(u32::try_from(paid).unwrap());
    assert!((spending["spent"].as_f64().unwrap() - exact).abs() < 1e-9, "{spending}");
    assert_eq!(score(&app, &made).await.1, paid as u64);
}

/// The service dies (-9) after it has journalled and sent, and before it knows what became of it.
async fn a_kill_between_reserving_and_spending_loses_nothing(backend: Backend) {
    away_from_midnight();
    let chain = start().await;
    let folder = TempDir::new().unwrap();
    let url = backend.database_url();
    let start = || {
        settling_process(&chain.sandbox, folder.path(), |command| {
            command.env("DATABASE_URL", &url).env("VALID_API_KEYS", KEY);
        })
    };
    let service = start().await;
    let order = Order::of(&chain.sandbox);
    let ask = async |request: reqwest::RequestBuilder| {
        Answer::of(request.header("x-api-key", KEY).send().await.unwrap()).await.body
    };
    let http = reqwest::Client::new();
    let body = json!({
        "name": "a", "publicKey": solana_signer::Signer::pubkey(&order.payer).to_string(), "spendingLimit": {"daily": "0.07"},
    });
    let made = ask(http.post(format!("{}/agents", service.url)).json(&body)).await;
    let path = format!("/agents/{}/spending", made["id"].as_str().unwrap());
    let day = async |url: &str| {
        let spending = ask(http.get(format!("{url}{path}"))).await;
        [spending["spent"].to_string(), spending["reserved"].to_string()]
    };
    let transaction = signed(&chain.sandbox, &order);
    let request = order.request(&transaction);
    let settle = http.post(format!("{}/settle", service.url)).header("x-api-key", KEY).json(&request);
    let settling = tokio::spawn(settle.send());
    let deadline = Instant::now() + PATIENCE;
    while chain.status(&signature_of(&chain.sandbox, &transaction)).await.is_none() {
        assert!(Instant::now() < deadline, "it is not sent");
        sleep(Duration::from_millis(20)).await;
    }
    service.kill9();
    assert!(settling.await.unwrap().is_err(), "nobody was answered");
    let service = start().await;
    assert_eq!(day(&service.url).await, ["0", "0.05"]);
    chain.sandbox.advance_slots(40);
    // The lease of the one that died runs out first.
    let deadline = Instant::now() + 3 * PATIENCE;
    while day(&service.url).await != ["0.05", "0"] {
        assert!(Instant::now() < deadline, "nobody goes on with it");
        sleep(Duration::from_millis(50)).await;
    }
    let answer = http.post(format!("{}/settle", service.url)).json(&request).send().await.unwrap();
    settled(&Answer::of(answer).await, &order);
    let again = paid(&chain.sandbox, &Order::of(&chain.sandbox));
    let refused = ask(http.post(format!("{}/settle", service.url)).json(&again)).await;
    assert_eq!(refused["errorReason"], "spending_limit_exceeded", "{refused}");
    service.kill9();
}

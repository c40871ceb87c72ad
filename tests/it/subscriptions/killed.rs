//! The service is killed (-9) while usage is counted: sent again under its key, a request counts once.

use std::{sync::Arc, time::Duration};

use futures_util::future::join_all;
use pay402::{
    clock::{Clock, SystemClock},
    sandbox::{Sandbox, SandboxConfig},
};
use serde_json::{Value, json};
use solana_signer::Signer;

use crate::{
    conformance::{Backend, on_both},
    harness::{Answer, KEY, process::ServiceProcess, rounds},
};

on_both!(a_request_counts_once_whatever_became_of_its_answer);

const PER_ROUND: usize = 24;
const FORGET: &str = "DELETE FROM idempotency_keys RETURNING key, CAST(1 AS BIGINT)";

/// A connection of its own, so that none outlives the process. `None`: no answer, or none to its end.
async fn post(url: &str, path: &str, key: Option<&str>, body: &Value) -> Option<Answer> {
    let client = reqwest::Client::builder().pool_max_idle_per_host(0).build().unwrap();
    let request = client.post(format!("{url}{path}")).header("x-api-key", KEY).json(body);
    let request = key.into_iter().fold(request, |request, key| request.header("idempotency-key", key));
    let sent = tokio::time::timeout(Duration::from_secs(30), request.send()).await.ok()?;
    Answer::whole(sent.ok()?).await
}

async fn made(url: &str, path: &str, body: &Value) -> Value {
    let answer = post(url, path, None, body).await.unwrap();
    assert_eq!(answer.status, 201, "{answer:?}");
    answer.body["id"].clone()
}

async fn a_request_counts_once_whatever_became_of_its_answer(backend: Backend) {
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let config = SandboxConfig { slot_time: None, ..SandboxConfig::new(clock) };
    let chain = Sandbox::start(config).await.unwrap();
    let folder = tempfile::tempdir().unwrap();
    let start = || {
        ServiceProcess::start(folder.path(), |command| {
            command.env("DATABASE_URL", backend.database_url());
            command.env("SOLANA_NETWORK", "sandbox");
            command.env("SOLANA_RPC_URL", chain.rpc_url());
            command.env("VALID_API_KEYS", KEY);
        })
    };
    let mut service = start().await;
    let plan = json!({"name": "pro", "pricePerMonth": 1, "currency": "USDC"});
    let agent = json!({"name": "a", "publicKey": chain.wallets().agent.pubkey().to_string()});
    let body = json!({
        "planId": made(&service.url, "/plans", &plan).await, "agentId": made(&service.url, "/agents", &agent).await,
    });
    let id = made(&service.url, "/subscriptions", &body).await;
    let one = json!({"subscriptionId": id, "quantity": 1});
    // Two things at once, so that half of a request would show.
    let body = json!({"usage": [one, one]});
    let (all, mut unanswered) = (rounds(10), 0);
    for round in 0..all {
        let keys: Vec<String> = (0..PER_ROUND).map(|n| format!("{round}-{n}")).collect();
        let url = service.url.clone();
        let load = join_all(keys.iter().map(|key| post(&url, "/usage", Some(key), &body)));
        let delay = Duration::from_micros((round as u64 * 7919) % 60_000);
        let (answers, ()) = tokio::join!(load, async {
            tokio::time::sleep(delay).await;
            service.kill9();
        });
        unanswered += answers.iter().filter(|answer| answer.is_none()).count();
        // Whatever it had answered is lost.
        backend.select(FORGET).await;
        service = start().await;
        for key in &keys {
            let mut answer = post(&service.url, "/usage", Some(key), &body).await.unwrap();
            // A claim that the database took in after the process had died: as if its lease had run out. What that one had
            // begun may keep the database for a while.
            while answer.code() == "IDEMPOTENCY_IN_PROGRESS" || answer.status == 503 {
                tokio::time::sleep(Duration::from_millis(20)).await;
                backend.select(FORGET).await;
                answer = post(&service.url, "/usage", Some(key), &body).await.unwrap();
            }
            assert_eq!(answer.status, 201, "{answer:?}");
        }
    }
    service.kill9();
    assert!(unanswered > 0, "the process never died in the middle");
    let counted = backend
        .select(
            "SELECT subscription_id, CAST(sum(quantity) AS BIGINT) FROM usage_days GROUP BY subscription_id",
        )
        .await;
    let expected = i64::try_from(2 * PER_ROUND * all).unwrap();
    assert_eq!(counted, [(id.as_str().unwrap().to_owned(), expected)]);
    let listed =
        backend.select("SELECT subscription_id, count(*) FROM usage_records GROUP BY subscription_id").await;
    assert_eq!(listed, counted);
}

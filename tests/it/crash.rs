//! The service is killed (-9) under load, again and again.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use futures_util::future::join_all;
use pay402::{
    clock::{Clock, SystemClock},
    money::{Amount, Currency},
    sandbox::{Sandbox, SandboxConfig, agent::Agent, agent::transfer},
};
use serde_json::Value;
use solana_message::{Message, VersionedMessage};
use solana_signer::Signer;
use solana_transaction::versioned::VersionedTransaction;
use sqlx::Row;

use crate::harness::{Answer, process::ServiceProcess, rounds};

/// Payments in flight when the process dies.
const PER_ROUND: usize = 24;

/// Proofs of payments that are on chain, by nonce.
fn make_payments(chain: &Sandbox, clock: &dyn Clock, round: usize) -> BTreeMap<String, Value> {
    let wallets = chain.wallets();
    let agent = Agent::new(wallets.agent.insecure_clone(), chain.rpc_url());
    let merchant = wallets.merchant.pubkey();
    (0..PER_ROUND)
        .map(|n| {
            let amount = Amount::from_atomic((1 + round * PER_ROUND + n) as u64).unwrap();
            let instructions = transfer(&agent.address(), &merchant, amount, Currency::Usdc).unwrap();
            let blockhash = chain.latest_blockhash();
            let message = Message::new_with_blockhash(&instructions, Some(&agent.address()), &blockhash);
            let transaction =
                VersionedTransaction::try_new(VersionedMessage::Legacy(message), &[&wallets.agent]).unwrap();
            let signature = chain.send(&transaction).unwrap();
            let nonce = format!("{round}-{n}");
            (nonce.clone(), agent.prove(&signature, amount, Currency::Usdc, &nonce, clock.now()))
        })
        .collect()
}

/// After every restart nothing that was answered valid is missing or accepted again, and nothing is there twice.
#[tokio::test(flavor = "multi_thread")]
async fn a_service_killed_under_load_keeps_its_books() {
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let config = SandboxConfig { slot_time: None, ..SandboxConfig::new(Arc::clone(&clock)) };
    let chain = Sandbox::start(config).await.unwrap();
    let folder = tempfile::tempdir().unwrap();
    let start = || {
        ServiceProcess::start(folder.path(), |command| {
            command.env("SOLANA_NETWORK", "sandbox");
            command.env("SOLANA_RPC_URL", chain.rpc_url());
            command.env("MERCHANT_WALLETS", chain.wallets().merchant.pubkey().to_string());
        })
    };
    let post = async |url: &str, proof: &Value| {
        // A connection of its own, so that none outlives the process.
        let client = reqwest::Client::builder().pool_max_idle_per_host(0).build().unwrap();
        match client.post(format!("{url}/verify")).json(proof).send().await {
            Ok(response) => Answer::whole(response).await,
            Err(_) => None,
        }
    };

    let mut accepted: BTreeMap<String, Value> = BTreeMap::new();
    let mut unanswered = 0;
    let mut service = start().await;
    for round in 0..rounds(50) {
        let proofs = make_payments(&chain, clock.as_ref(), round);
        chain.advance_slots(2);
        let url = service.url.clone();
        let load = join_all(proofs.iter().map(async |(nonce, proof)| {
            // Answers cut off half way count as none.
            let answer =
                tokio::time::timeout(Duration::from_secs(20), post(&url, proof)).await.ok().flatten();
            (nonce, answer)
        }));
        // From before the first answer to after the last one.
        let delay = Duration::from_micros((round as u64 * 7919) % 60_000);
        let (answers, ()) = tokio::join!(load, async {
            tokio::time::sleep(delay).await;
            service.kill9();
        });
        service = start().await;
        for (nonce, answer) in answers {
            match answer {
                Some(answer) if answer.status == 200 => {
                    answer.assert_valid();
                    accepted.insert(nonce.clone(), proofs[nonce].clone());
                }

                Some(answer) => panic!("{answer:?}"),
                None => unanswered += 1,
            }
        }
        // What was not answered may or may not be in the books: asked again, it is accepted or a replay.
        for (nonce, proof) in &proofs {
            let answer = post(&service.url, proof).await.unwrap();
            if answer.status == 200 {
                assert!(!accepted.contains_key(nonce), "{nonce} was accepted twice");
                accepted.insert(nonce.clone(), proof.clone());
            } else {
                answer.assert_refused("REPLAY_ATTACK");
            }
        }
    }
    service.kill9();
    assert!(unanswered > 0, "the process never died in the middle");

    let path = folder.path().join("data/pay402.db");
    let database = sqlx::SqlitePool::connect(&format!("sqlite://{}", path.display())).await.unwrap();
    let count =
        sqlx::query("SELECT count(*), count(DISTINCT nonce), count(DISTINCT signature) FROM transactions");
    let row = count.fetch_one(&database).await.unwrap();
    let (all, nonces, signatures): (i64, i64, i64) = (row.get(0), row.get(1), row.get(2));
    assert_eq!((all, all), (nonces, signatures));
    assert_eq!(all, i64::try_from(rounds(50) * PER_ROUND).unwrap());
    for nonce in accepted.keys() {
        let booked = sqlx::query_scalar("SELECT count(*) FROM transactions WHERE nonce = $1").bind(nonce);
        assert_eq!(booked.fetch_one(&database).await.unwrap_or(0_i64), 1, "{nonce} is missing");
    }
}

//! The service is killed (-9) under load, again and again, on either database.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

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

use crate::harness::{Answer, postgres::PostgresServer, process::ServiceProcess, rounds, x402::PATIENCE};

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

/// After every restart nothing that was answered valid is missing or accepted again. Gives back all that was accepted.
async fn kill_under_load(
    chain: &Sandbox,
    clock: &dyn Clock,
    rounds: usize,
    database: &str,
) -> BTreeSet<String> {
    let folder = tempfile::tempdir().unwrap();
    let start = || {
        ServiceProcess::start(folder.path(), |command| {
            command.env("DATABASE_URL", database);
            command.env("SOLANA_NETWORK", "sandbox");
            command.env("SOLANA_RPC_URL", chain.rpc_url());
            command.env("MERCHANT_WALLETS", chain.wallets().merchant.pubkey().to_string());
        })
    };
    let mut accepted = BTreeSet::new();
    let mut unanswered = 0;
    let mut service = start().await;
    for round in 0..rounds {
        let proofs = make_payments(chain, clock, round);
        chain.advance_slots(2);
        let url = service.url.clone();
        let load = join_all(proofs.iter().map(async |(nonce, proof)| {
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
                Some(answer) => {
                    answer.assert_valid();
                    accepted.insert(nonce.clone());
                }
                None => unanswered += 1,
            }
        }
        // What was not answered may or may not be in the books: asked again, it is accepted or a replay.
        for (nonce, proof) in &proofs {
            let answer = decided(&service.url, proof).await;
            if answer.status == 200 {
                assert!(accepted.insert(nonce.clone()), "{nonce} was accepted twice");
            } else {
                answer.assert_refused("REPLAY_ATTACK");
            }
        }
    }
    service.kill9();
    assert!(unanswered > 0, "the process never died in the middle");
    accepted
}

/// A connection of its own, so that none outlives the process. `None`: no answer, or none to its end.
async fn post(url: &str, proof: &Value) -> Option<Answer> {
    let client = reqwest::Client::builder().pool_max_idle_per_host(0).build().unwrap();
    let response = client.post(format!("{url}/verify")).json(proof).send().await.ok()?;
    Answer::whole(response).await
}

/// Asks until it is decided: what the dead process had begun may hold the database up for a moment.
async fn decided(url: &str, proof: &Value) -> Answer {
    let asking = async {
        loop {
            let answer = post(url, proof).await.unwrap();
            if answer.status != 503 {
                return answer;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    tokio::time::timeout(PATIENCE, asking).await.expect("it is decided")
}

/// Everything that was paid is there once: all nonces, and no transaction twice.
fn assert_books(booked: &[(String, String)], accepted: &BTreeSet<String>, rounds: usize) {
    let nonces: BTreeSet<&String> = booked.iter().map(|(nonce, _)| nonce).collect();
    let signatures: BTreeSet<&String> = booked.iter().map(|(_, signature)| signature).collect();
    assert_eq!((booked.len(), booked.len()), (nonces.len(), signatures.len()), "something is there twice");
    assert_eq!(booked.len(), rounds * PER_ROUND);
    assert!(accepted.iter().all(|nonce| nonces.contains(nonce)), "something accepted is missing");
}

const BOOKED: &str = "SELECT nonce, signature FROM transactions";

fn stepped_chain(clock: &Arc<dyn Clock>) -> SandboxConfig {
    SandboxConfig { slot_time: None, ..SandboxConfig::new(Arc::clone(clock)) }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_service_killed_under_load_keeps_its_books_in_sqlite() {
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let chain = Sandbox::start(stepped_chain(&clock)).await.unwrap();
    let folder = tempfile::tempdir().unwrap();
    let url = format!("sqlite://{}", folder.path().join("books.db").display());
    let rounds = rounds(50);
    let accepted = kill_under_load(&chain, clock.as_ref(), rounds, &url).await;
    let database = sqlx::SqlitePool::connect(&url).await.unwrap();
    assert_books(&sqlx::query_as(BOOKED).fetch_all(&database).await.unwrap(), &accepted, rounds);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_service_killed_under_load_keeps_its_books_in_postgres() {
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let chain = Sandbox::start(stepped_chain(&clock)).await.unwrap();
    let server = PostgresServer::start().await;
    let rounds = rounds(50);
    let accepted = kill_under_load(&chain, clock.as_ref(), rounds, &server.url()).await;
    let mut database = server.connect().await;
    assert_books(&sqlx::query_as(BOOKED).fetch_all(&mut database).await.unwrap(), &accepted, rounds);
}

//! What `POST /verify` of a transaction that has been looked up before costs, on both sets of backends:
//!
//! ```text
//! cargo bench --bench verify
//! ```
//!
//! Everything is real: the service as a process of its own, PostgreSQL with fsync, Redis, payments on the sandbox chain.
//! The load comes from this process, on the same cores, so compare the lines of one run with each other: the first is
//! `GET /health`, which is what HTTP alone costs.

use std::{
    process::Command,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use futures_util::future::join_all;
use pay402::{
    clock::{Clock, SystemClock},
    money::{Amount, Currency, decimal_text},
    sandbox::{Sandbox, SandboxConfig, agent::transfer},
};
use serde_json::{Value, json};
use solana_message::{Message, VersionedMessage};
use solana_signer::Signer;
use solana_transaction::versioned::VersionedTransaction;
use tempfile::TempDir;

#[expect(dead_code, reason = "the tests do more with it")]
#[path = "../tests/it/harness/logs.rs"]
mod logs;
#[path = "../tests/it/harness/port.rs"]
mod port;
#[expect(dead_code, reason = "the tests do more to it")]
#[path = "../tests/it/harness/postgres.rs"]
mod postgres;
#[expect(dead_code, reason = "the tests do more to it")]
#[path = "../tests/it/harness/process.rs"]
mod process;
#[expect(dead_code, reason = "the tests do more to it")]
#[path = "../tests/it/harness/redis.rs"]
mod redis;
#[expect(dead_code, reason = "the tests do more with it")]
#[path = "../tests/it/harness/secrets.rs"]
mod secrets;

/// What `process` starts services with: more requests a minute than any bench sends.
const HIGH_LIMITS: [(&str, &str); 3] = [
    ("RATE_LIMIT_PUBLIC", "1000000"),
    ("RATE_LIMIT_AUTHENTICATED", "1000000"),
    ("RATE_LIMIT_VERIFICATION", "1000000"),
];
const PAYMENTS: usize = 4000;
/// Requests under way at a time.
const CALLERS: usize = 32;

/// A service, and what is asked of it.
struct Bench {
    _folder: TempDir,
    service: process::ServiceProcess,
    http: reqwest::Client,
    proofs: Vec<Value>,
}

impl Bench {
    async fn start(chain: &Sandbox, proofs: &[Value], adapt: impl FnOnce(&mut Command)) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let merchant = chain.wallets().merchant.pubkey().to_string();
        let service = process::ServiceProcess::start(folder.path(), |command| {
            command
                .env("SOLANA_NETWORK", "sandbox")
                .env("SOLANA_RPC_URL", chain.rpc_url())
                .env("MERCHANT_WALLETS", merchant)
                .env("LOG_LEVEL", "warn,pay402::cli=info");
            adapt(command);
        })
        .await;
        let bench = Self { _folder: folder, service, http: reqwest::Client::new(), proofs: proofs.to_vec() };
        // Each is looked up, and refused: it states another amount.
        let refused = bench.run(|bench, n| bench.verify(n, "0.5", 402)).await;
        assert_eq!(refused.len(), PAYMENTS);
        bench
    }

    fn verify(&self, number: usize, amount: &str, expected: u16) -> impl Future<Output = ()> + use<> {
        let mut proof = self.proofs[number].clone();
        if expected != 200 {
            proof["amount"] = json!(amount);
        }
        let request = self.http.post(format!("{}/verify", self.service.url)).json(&proof);
        async move {
            let answer = request.send().await.unwrap();
            let status = answer.status().as_u16();
            let body = answer.text().await.unwrap();
            assert_eq!(status, expected, "{body}");
        }
    }

    fn health(&self) -> impl Future<Output = ()> + use<> {
        let request = self.http.get(format!("{}/health", self.service.url));
        async move {
            assert_eq!(request.send().await.unwrap().status().as_u16(), 200);
        }
    }

    /// Does it once for every payment; how long each took.
    async fn run<F: Future<Output = ()>>(&self, work: impl Fn(&Self, usize) -> F) -> Vec<Duration> {
        let next = AtomicUsize::new(0);
        let callers = (0..CALLERS).map(async |_| {
            let mut taken = Vec::new();
            loop {
                let number = next.fetch_add(1, Ordering::Relaxed);
                if number >= PAYMENTS {
                    return taken;
                }
                let started = Instant::now();
                work(self, number).await;
                taken.push(started.elapsed());
            }
        });
        join_all(callers).await.concat()
    }

    /// The sum of a metric's samples.
    async fn metric(&self, name: &str) -> f64 {
        let metrics = self.http.get(format!("{}/metrics", self.service.url)).send().await.unwrap();
        let text = metrics.text().await.unwrap();
        let samples = text
            .lines()
            .filter(|line| line.strip_prefix(name).is_some_and(|rest| rest.starts_with(['{', ' '])));
        samples.filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok()).sum()
    }

    async fn report(&self, name: &str) {
        self.line(name, "GET /health", async || self.run(|bench, _| bench.health()).await).await;
        self.line(name, "POST /verify", async || self.run(|bench, n| bench.verify(n, "", 200)).await).await;
    }

    async fn line(&self, name: &str, what: &str, work: impl AsyncFnOnce() -> Vec<Duration>) {
        const COUNTS: [&str; 3] =
            ["redis_operation_duration_seconds_count", "database_query_total", "blockchain_request_total"];
        let before = join_all(COUNTS.map(|count| self.metric(count))).await;
        let started = Instant::now();
        let mut taken = work().await;
        let elapsed = started.elapsed();
        let after = join_all(COUNTS.map(|count| self.metric(count))).await;
        taken.sort_unstable();
        let at = |percent: usize| taken[taken.len() * percent / 100].as_secs_f64() * 1000.0;
        let payments = f64::from(u32::try_from(PAYMENTS).unwrap());
        let per_request: Vec<String> = after
            .iter()
            .zip(&before)
            .map(|(after, before)| format!("{:.2}", (after - before) / payments))
            .collect();
        println!(
            "{name:<18} {what:<13} {:>6.0} requests/s   p50 {:>6.2} ms   p99 {:>6.2} ms   Redis, database, RPC calls a \
             request: {}",
            payments / elapsed.as_secs_f64(),
            at(50),
            at(99),
            per_request.join(", "),
        );
    }
}

/// As many payments as are needed, each of another amount, and their proofs.
fn pay(chain: &Sandbox, clock: &dyn Clock) -> Vec<Value> {
    let (agent, merchant) = (&chain.wallets().agent, chain.wallets().merchant.pubkey());
    let proofs = (0..PAYMENTS).map(|number| {
        let units = 1000 + u64::try_from(number).unwrap();
        let amount = Amount::from_atomic(units).unwrap();
        let instructions = transfer(&agent.pubkey(), &merchant, amount, Currency::Usdc).unwrap();
        let message =
            Message::new_with_blockhash(&instructions, Some(&agent.pubkey()), &chain.latest_blockhash());
        let transaction = VersionedTransaction::try_new(VersionedMessage::Legacy(message), &[agent]).unwrap();
        let signature = chain.send(&transaction).unwrap();
        if number % 500 == 0 {
            chain.advance_slots(1);
        }
        let nonce = format!("bench-{number}");
        json!({
            "signature": agent.sign_message(nonce.as_bytes()).to_string(),
            "payer": agent.pubkey().to_string(),
            "amount": decimal_text(units, 6),
            "currency": "USDC",
            "nonce": nonce,
            "timestamp": clock.now(),
            "transactionId": signature.to_string(),
        })
    });
    let proofs = proofs.collect();
    chain.advance_slots(2);
    proofs
}

#[tokio::main]
async fn main() {
    // `cargo test --benches` asks for nothing to be measured.
    if !std::env::args().any(|argument| argument == "--bench") {
        return;
    }
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let config = SandboxConfig { slot_time: None, ..SandboxConfig::new(Arc::clone(&clock)) };
    let chain = Sandbox::start(config).await.unwrap();
    let proofs = pay(&chain, clock.as_ref());

    Bench::start(&chain, &proofs, |_| {}).await.report("memory+SQLite").await;
    let (postgres, redis) = (postgres::PostgresServer::start().await, redis::RedisServer::start());
    let adapt = |command: &mut Command| {
        command.env("DATABASE_URL", postgres.url()).env("REDIS_URL", redis.url());
    };
    Bench::start(&chain, &proofs, adapt).await.report("Redis+PostgreSQL").await;
}

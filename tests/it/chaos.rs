//! Several instances on one PostgreSQL and one Redis, and trouble in the middle.

use std::{sync::Arc, time::Duration};

use futures_util::future::join_all;
use pay402::{
    clock::{Clock, SystemClock},
    money::{Amount, Currency},
    sandbox::{Sandbox, SandboxConfig, agent::Agent},
};
use serde_json::Value;
use solana_signer::Signer;
use tempfile::TempDir;
use tokio::time::{Instant, sleep};

use crate::harness::{
    Answer, KEY, postgres::PostgresServer, process::ServiceProcess, redis::RedisServer, wire::PATIENCE,
};

/// The same proof, so often to each instance.
const TWINS: usize = 50;

struct Cluster {
    clock: Arc<dyn Clock>,
    chain: Sandbox,
    agent: Agent,
    postgres: PostgresServer,
    redis: RedisServer,
    instances: Vec<ServiceProcess>,
    http: reqwest::Client,
    paid: u64,
    _folder: TempDir,
}

impl Cluster {
    async fn start() -> Self {
        let clock: Arc<dyn Clock> = Arc::new(SystemClock);
        let chain = Sandbox::start(SandboxConfig::new(Arc::clone(&clock))).await.unwrap();
        let agent = Agent::new(chain.wallets().agent.insecure_clone(), chain.rpc_url());
        let (postgres, redis) = (PostgresServer::start().await, RedisServer::start());
        let folder = tempfile::tempdir().unwrap();
        let start = || {
            ServiceProcess::start(folder.path(), |command| {
                command.env("DATABASE_URL", postgres.url_with_password());
                command.env("VALID_API_KEYS", KEY);
                command.env("REDIS_URL", redis.url());
                command.env("SOLANA_NETWORK", "sandbox");
                command.env("SOLANA_RPC_URL", chain.rpc_url());
                command.env("MERCHANT_WALLETS", chain.wallets().merchant.pubkey().to_string());
            })
        };
        // Both at once, so that both migrate at once.
        let (first, second) = tokio::join!(start(), start());
        Self {
            clock,
            chain,
            agent,
            postgres,
            redis,
            instances: vec![first, second],
            http: reqwest::Client::new(),
            paid: 0,
            _folder: folder,
        }
    }

    /// The proof of a payment that has just been made, and its nonce.
    async fn pay(&mut self) -> (Value, String) {
        self.paid += 1;
        let amount = Amount::from_atomic(self.paid).unwrap();
        let merchant = self.chain.wallets().merchant.pubkey();
        let transaction = self.agent.pay(&merchant, amount, Currency::Usdc).await.unwrap();
        let nonce = format!("nonce-{}", self.paid);
        let proof = self.agent.prove(&transaction, amount, Currency::Usdc, &nonce, self.clock.now());
        (proof, nonce)
    }

    async fn post(&self, instance: usize, proof: &Value) -> Answer {
        let url = format!("{}/verify", self.instances[instance].url);
        Answer::of(self.http.post(url).json(proof).send().await.unwrap()).await
    }

    /// The answer of a service whose database is back. A connection of before, used a moment ago, is noticed to be gone by
    /// whoever uses it next.
    async fn decided(&self, instance: usize, proof: &Value) -> Answer {
        for _ in 0..200 {
            let answer = self.post(instance, proof).await;
            if answer.status != 503 {
                return answer;
            }
            sleep(Duration::from_millis(50)).await;
        }
        panic!("instance {instance} does not recover");
    }

    async fn ready(&self) -> Answer {
        let url = format!("{}/ready", self.instances[0].url);
        Answer::of(self.http.get(url).send().await.unwrap()).await
    }

    /// Sends the proof to every instance many times at once; every answer is a success, a replay or 503.
    async fn twins(&self, proof: &Value) -> Vec<Answer> {
        let answers = join_all((0..2 * TWINS).map(|n| self.post(n % 2, proof))).await;
        for answer in &answers {
            match answer.status {
                200 => answer.assert_valid(),
                402 => answer.assert_refused("REPLAY_ATTACK"),
                status => assert_eq!(status, 503, "{answer:?}"),
            }
        }
        answers
    }

    async fn booked(&self, nonce: &str) -> i64 {
        let count = sqlx::query_scalar("SELECT count(*) FROM transactions WHERE nonce = $1").bind(nonce);
        count.fetch_one(&mut self.postgres.connect().await).await.unwrap()
    }

    /// Holds the verifications up at the chain, so that what happens meanwhile happens in the middle of them.
    fn slow_chain(&self) {
        self.chain.faults().latency("getTransaction", Duration::from_millis(400));
    }

    /// Returns once the chain has been asked, that is, once a verification is under way.
    async fn under_way(&self, calls_before: u64) {
        while self.chain.faults().calls("getTransaction") == calls_before {
            sleep(Duration::from_millis(1)).await;
        }
    }
}

fn successes(answers: &[Answer]) -> usize {
    answers.iter().filter(|answer| answer.status == 200).count()
}

type Trouble = fn(&mut RedisServer);

#[tokio::test(flavor = "multi_thread")]
async fn two_instances_say_yes_once_whatever_redis_does() {
    let mut cluster = Cluster::start().await;
    cluster.slow_chain();
    // A busy machine may need a few looks until Redis answers one in time.
    let deadline = Instant::now() + PATIENCE;
    while let ready = cluster.ready().await
        && (ready.status, &ready.body["components"]["redis"]["status"]) != (200, &"up".into())
    {
        assert!(Instant::now() < deadline, "{ready:?}");
        sleep(Duration::from_millis(200)).await;
    }

    let troubles: [(&str, Trouble, Trouble); 5] = [
        ("none", |_| {}, |_| {}),
        ("killed", RedisServer::kill9, RedisServer::restart),
        ("paused", |redis| redis.pause(), |redis| redis.resume()),
        ("flushed", |redis| redis.flush(), |_| {}),
        ("restarted empty", RedisServer::restart, |_| {}),
    ];
    for (what, trouble, mend) in troubles {
        let (proof, nonce) = cluster.pay().await;
        let calls = cluster.chain.faults().calls("getTransaction");
        // The server is taken out of the cluster while the requests borrow that.
        let mut redis = std::mem::replace(&mut cluster.redis, RedisServer::start());
        let (answers, ()) = tokio::join!(cluster.twins(&proof), async {
            cluster.under_way(calls).await;
            trouble(&mut redis);
        });
        assert_eq!(successes(&answers), 1, "redis {what}");
        assert_eq!(cluster.booked(&nonce).await, 1, "redis {what}");
        // With the trouble still there, and to both instances.
        for instance in [0, 1] {
            cluster.post(instance, &proof).await.assert_refused("REPLAY_ATTACK");
        }
        mend(&mut redis);
        cluster.redis = redis;
    }
    let (proof, _) = cluster.pay().await;
    assert_eq!(successes(&cluster.twins(&proof).await), 1, "after all that");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_postgres_restarted_in_the_middle_has_the_payment_once() {
    let mut cluster = Cluster::start().await;
    cluster.slow_chain();
    for kill in [false, true, false, true] {
        let (proof, nonce) = cluster.pay().await;
        let calls = cluster.chain.faults().calls("getTransaction");
        let mut postgres = std::mem::replace(&mut cluster.postgres, PostgresServer::start().await);
        let (answers, ()) = tokio::join!(cluster.twins(&proof), async {
            cluster.under_way(calls).await;
            if kill {
                postgres.kill9();
            }
            postgres.restart().await;
        });
        cluster.postgres = postgres;
        assert!(successes(&answers) <= 1);
        // Whatever was told, the proof is good for one payment, and the service has recovered by itself.
        let mut settled = 0;
        for instance in [0, 1] {
            let answer = cluster.decided(instance, &proof).await;
            if answer.status == 200 {
                settled += 1;
            } else {
                answer.assert_refused("REPLAY_ATTACK");
            }
        }
        assert!(successes(&answers) + settled <= 1, "it was accepted twice");
        assert_eq!(cluster.booked(&nonce).await, 1);
    }
}

/// PostgreSQL gone: nothing is accepted and `/ready` says why. Back again: all is well, without a restart.
#[tokio::test(flavor = "multi_thread")]
async fn a_postgres_that_is_gone_stops_acceptance_until_it_is_back() {
    let mut cluster = Cluster::start().await;
    let (proof, nonce) = cluster.pay().await;
    cluster.postgres.stop().await;
    let (answer, ready) = tokio::join!(cluster.post(0, &proof), cluster.ready());
    assert_eq!((answer.status, answer.code()), (503, "DATABASE_UNAVAILABLE"), "{answer:?}");
    // What is slow of a busy machine may be there too.
    let degraded = ready.body["degraded"].as_array().unwrap();
    assert!(ready.status == 503 && degraded.contains(&"database".into()), "{ready:?}");
    assert!(!degraded.contains(&"solana".into()), "{ready:?}");
    cluster.postgres.restart().await;
    cluster.decided(0, &proof).await.assert_valid();
    cluster.decided(1, &proof).await.assert_refused("REPLAY_ATTACK");
    assert_eq!(cluster.booked(&nonce).await, 1);
}

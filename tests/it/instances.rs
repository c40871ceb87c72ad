//! Two instances on one Redis: one limit, and what becomes of it when Redis goes.

use std::{
    sync::atomic::{AtomicU32, Ordering},
    time::{Duration, Instant},
};

use futures_util::{StreamExt, stream};
use tempfile::TempDir;

use crate::harness::{Answer, process::ServiceProcess, redis::RedisServer};

const LIMIT: usize = 40;
/// Requests at a time to each instance: few enough for each to get one of its connections to Redis.
const AT_A_TIME: usize = 8;
/// How long what must happen may take on a busy machine.
const BOUND: Duration = Duration::from_mins(1);
/// A machine may be so busy that Redis seems away for a moment, and then memory answers. So often it is tried again.
const ROUNDS: u32 = 10;

struct Pair {
    redis: RedisServer,
    instances: Vec<ServiceProcess>,
    http: reqwest::Client,
    clients: AtomicU32,
    _folder: TempDir,
}

impl Pair {
    async fn start() -> Self {
        let redis = RedisServer::start();
        let folder = tempfile::tempdir().unwrap();
        let start = |database: &str| {
            let database = format!("sqlite://{}", folder.path().join(database).display());
            ServiceProcess::start(folder.path(), |command| {
                command.env("DATABASE_URL", database);
                command.env("REDIS_URL", redis.url());
                command.env("SOLANA_RPC_URL", "http://127.0.0.1:1");
                command.env("RATE_LIMIT_PUBLIC", LIMIT.to_string());
                command.env("TRUSTED_PROXIES", "127.0.0.1");
            })
        };
        let (first, second) = tokio::join!(start("first.db"), start("second.db"));
        let http = reqwest::Client::new();
        Self { redis, instances: vec![first, second], http, clients: AtomicU32::new(0), _folder: folder }
    }

    /// An address that has not asked yet.
    fn client(&self) -> String {
        format!("203.0.113.{}", self.clients.fetch_add(1, Ordering::Relaxed))
    }

    async fn get(&self, instance: usize, path: &str, client: &str) -> Answer {
        let url = format!("{}{path}", self.instances[instance].url);
        Answer::of(self.http.get(url).header("x-forwarded-for", client).send().await.unwrap()).await
    }

    /// How many of so many requests are admitted; the others must be refused as too many.
    async fn admitted(&self, client: &str, requests: usize) -> usize {
        let answers = stream::iter(0..requests)
            .map(|n| self.get(n % 2, "/nothing", client))
            .buffer_unordered(2 * AT_A_TIME)
            .collect::<Vec<_>>()
            .await;
        let admitted = answers.iter().filter(|answer| answer.status == 404).count();
        let refused = answers.iter().filter(|answer| answer.code() == "RATE_LIMIT_EXCEEDED").count();
        assert_eq!(admitted + refused, requests, "{answers:?}");
        admitted
    }

    /// How often either decided without Redis.
    async fn fallbacks(&self) -> Vec<String> {
        let mut found = Vec::new();
        for instance in 0..self.instances.len() {
            let metrics = self.get(instance, "/metrics", &self.client()).await;
            let text = metrics.body.as_str().unwrap_or_else(|| panic!("{metrics:?}")).to_owned();
            let sample = "redis_fallback_total{operation=\"rate_limit\"}";
            found.extend(text.lines().filter(|line| line.starts_with(sample)).map(str::to_owned));
        }
        found
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn two_instances_share_one_limit_exactly() {
    let pair = Pair::start().await;
    for _ in 0..ROUNDS {
        let before = pair.fallbacks().await;
        let started = Instant::now();
        let admitted = pair.admitted(&pair.client(), 4 * LIMIT).await;
        // Within one window, and with Redis deciding.
        if started.elapsed() < Duration::from_secs(50) && pair.fallbacks().await == before {
            assert_eq!(admitted, LIMIT);
            return;
        }
        // Redis is left alone for a second after an answer that was late.
        tokio::time::sleep(Duration::from_millis(1100)).await;
    }
    panic!("Redis never answered all of a round in time");
}

/// Killed in the middle: every request is answered, and what was used up before stays so. Back again: one limit again.
#[tokio::test(flavor = "multi_thread")]
async fn a_redis_killed_in_the_middle_gives_no_fresh_quota() {
    let mut pair = Pair::start().await;
    let client = pair.client();
    let started = Instant::now();
    let mut admitted = pair.admitted(&client, LIMIT / 2).await;
    assert_eq!(admitted, LIMIT / 2);
    pair.redis.kill9();
    admitted += pair.admitted(&client, 6 * LIMIT).await;
    assert!(started.elapsed() < Duration::from_mins(1), "too slow to tell");
    // Each instance has seen a quarter, and gives the rest of what it knows of.
    assert_eq!(admitted, LIMIT / 2 + 2 * (LIMIT - LIMIT / 4));

    pair.redis.restart();
    let deadline = Instant::now() + BOUND;
    loop {
        let before = pair.fallbacks().await;
        let admitted = pair.admitted(&pair.client(), 4 * LIMIT).await;
        if pair.fallbacks().await == before {
            assert_eq!(admitted, LIMIT);
            return;
        }
        assert!(Instant::now() < deadline, "it does not return");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

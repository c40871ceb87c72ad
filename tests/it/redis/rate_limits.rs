//! What every rate limit store does, whatever it is made of; and what only the one in Redis has to.

use std::{
    num::NonZeroU32,
    sync::Arc,
    time::{Duration, Instant},
};

use deadpool_redis::redis;
use futures_util::future::join_all;
use pay402::{
    clock::{Clock, ManualClock, UnixMs},
    metrics::Metrics,
    rate_limit::{Action, Decision, RateLimitStore, Subject},
    store::{
        memory::MemoryRateLimits,
        redis::{Limits, Redis, RedisRateLimits},
    },
};

use super::PATIENT;
use crate::harness::redis::RedisServer;

const ACTION: Action = Action::Public;
const NO_RETURN: Limits = Limits { pause: Duration::from_hours(1), ..PATIENT };
const QUICK_TO_RETURN: Limits = Limits { pause: Duration::from_millis(50), ..PATIENT };
const BOUND: Duration = Duration::from_secs(20);

/// Stores that must agree, and how to let time pass for them.
struct Scene {
    clock: Arc<ManualClock>,
    metrics: Arc<Metrics>,
    stores: Vec<Box<dyn RateLimitStore>>,
    server: Option<RedisServer>,
}

impl Scene {
    fn memory() -> Self {
        let clock = Arc::new(ManualClock::new(UnixMs(1_700_000_000_000)));
        let store = MemoryRateLimits::new(clock.clone());
        Self { clock, metrics: Arc::default(), stores: vec![Box::new(store)], server: None }
    }

    fn redis(instances: usize) -> Self {
        let server = RedisServer::start();
        Self::on(server, instances, PATIENT)
    }

    fn on(server: RedisServer, instances: usize, limits: Limits) -> Self {
        let clock = Arc::new(ManualClock::new(UnixMs(1_700_000_000_000)));
        let metrics = Arc::new(Metrics::new());
        let store = || {
            let redis = Redis::with_limits(&server.url(), limits, metrics.clone()).unwrap();
            let told: Arc<dyn Clock> = clock.clone();
            Box::new(RedisRateLimits::new(Arc::new(redis), told)) as Box<dyn RateLimitStore>
        };
        let stores = (0..instances).map(|_| store()).collect();
        Self { clock, metrics, stores, server: Some(server) }
    }

    fn store(&self, n: usize) -> &dyn RateLimitStore {
        self.stores[n % self.stores.len()].as_ref()
    }

    fn server(&self) -> &RedisServer {
        self.server.as_ref().unwrap()
    }

    /// Redis keeps its own time, so there everything stored becomes as much older.
    fn let_pass(&self, secs: u64) {
        self.clock.advance(Duration::from_secs(secs));
        let Some(server) = &self.server else { return };
        for key in server.keys() {
            let buckets: Vec<(i64, i64)> = server.ask(redis::cmd("HGETALL").arg(&key));
            server.ask::<()>(redis::cmd("DEL").arg(&key));
            for (second, packed) in buckets {
                let older = second - i64::try_from(secs).unwrap();
                server.ask::<()>(redis::cmd("HSET").arg(&key).arg(older).arg(packed));
            }
        }
    }

    async fn admit(&self, subject: &Subject, limit: u32) -> Decision {
        self.store(0).admit(subject, ACTION, nonzero(limit)).await
    }

    /// How many of so many requests at once, spread over the stores, are admitted.
    async fn burst(&self, subject: &Subject, limit: u32, requests: usize) -> usize {
        let ask = |n| self.store(n).admit(subject, ACTION, nonzero(limit));
        let decisions = join_all((0..requests).map(ask)).await;
        decisions.iter().filter(|decision| decision.admitted).count()
    }

    fn fallbacks(&self) -> bool {
        self.metrics.render().unwrap().contains("redis_fallback_total{operation=\"rate_limit\"}")
    }
}

fn nonzero(limit: u32) -> NonZeroU32 {
    NonZeroU32::new(limit).unwrap()
}

fn subject(text: &str) -> Subject {
    Subject::address(text.parse().unwrap())
}

/// Runs each check on memory, on Redis, and on two instances that share one Redis.
macro_rules! conformance {
    ($($check:ident),* $(,)?) => {
        mod memory {
            $(#[tokio::test]
            async fn $check() {
                super::$check(&super::Scene::memory()).await;
            })*
        }
        mod redis_alone {
            $(#[tokio::test(flavor = "multi_thread")]
            async fn $check() {
                let scene = super::Scene::redis(1);
                super::$check(&scene).await;
                assert!(!scene.fallbacks(), "memory answered");
            })*
        }
        mod two_instances {
            $(#[tokio::test(flavor = "multi_thread")]
            async fn $check() {
                let scene = super::Scene::redis(2);
                super::$check(&scene).await;
                assert!(!scene.fallbacks(), "memory answered");
            })*
        }
    };
}

conformance!(
    the_limit_is_exact_under_concurrency,
    the_minutes_edge_doubles_nothing,
    subjects_and_actions_are_counted_apart,
    a_decision_says_where_the_subject_stands,
    a_refusal_costs_nothing_and_stands,
    sustained_use_gets_the_limit_again_and_again,
);

async fn the_limit_is_exact_under_concurrency(scene: &Scene) {
    for (round, limit) in [1_u32, 7, 60].into_iter().enumerate() {
        let client = subject(&format!("192.0.2.{round}"));
        // Few enough at a time for each to get a connection.
        let mut admitted = 0;
        for _ in 0..8 {
            admitted += scene.burst(&client, limit, 16).await;
        }
        assert_eq!(admitted, limit as usize);
    }
}

async fn the_minutes_edge_doubles_nothing(scene: &Scene) {
    let client = subject("192.0.2.1");
    assert_eq!(scene.burst(&client, 10, 12).await, 10);
    // Redis' own clock moves on too, by what the test takes.
    for _ in 0..5 {
        scene.let_pass(8);
        assert_eq!(scene.burst(&client, 10, 12).await, 0);
    }
    scene.let_pass(20);
    assert_eq!(scene.burst(&client, 10, 12).await, 10);
}

async fn subjects_and_actions_are_counted_apart(scene: &Scene) {
    let store = scene.store(0);
    let subjects =
        [subject("192.0.2.1"), subject("192.0.2.2"), subject("2001:db8::1"), Subject::key("a b:c*\r\n")];
    let actions =
        [Action::Public, Action::Operations, Action::Supported, Action::Verification, Action::Authenticated];
    for subject in &subjects {
        for action in actions {
            assert!(store.admit(subject, action, nonzero(1)).await.admitted, "{subject} {action:?}");
        }
    }
    for subject in &subjects {
        for action in actions {
            assert!(!store.admit(subject, action, nonzero(1)).await.admitted, "{subject} {action:?}");
        }
    }
    let neighbour = subject("2001:db8::ffff");
    assert!(!store.admit(&neighbour, ACTION, nonzero(1)).await.admitted, "the same /64");
}

async fn a_decision_says_where_the_subject_stands(scene: &Scene) {
    let client = subject("192.0.2.1");
    for remaining in [2, 1, 0] {
        let told = scene.admit(&client, 3).await;
        assert_eq!((told.admitted, told.limit, told.remaining), (true, 3, remaining));
        assert_eq!((told.reset_secs(), told.retry_after_secs()), (60, 0));
        scene.let_pass(10);
    }
    let told = scene.admit(&client, 3).await;
    assert_eq!((told.admitted, told.limit, told.remaining), (false, 3, 0));
    // Redis' own clock has moved on by what the test took.
    assert!((40..=50).contains(&told.reset_secs()), "{told:?}");
    // And its seconds are others than memory's.
    assert!((20..=31).contains(&told.retry_after_secs()), "{told:?}");
    scene.let_pass(31);
    let told = scene.admit(&client, 3).await;
    assert_eq!((told.admitted, told.remaining), (true, 0), "one of three is out");
}

async fn a_refusal_costs_nothing_and_stands(scene: &Scene) {
    let client = subject("192.0.2.1");
    assert_eq!(scene.burst(&client, 2, 2).await, 2);
    let standing = || scene.store(0).standing_refusal(&client, ACTION, nonzero(2));
    assert_eq!(standing(), None, "nobody was refused yet");
    for _ in 0..20 {
        assert!(!scene.admit(&client, 2).await.admitted);
    }
    let refusal = standing().unwrap();
    assert!(!refusal.admitted && refusal.retry_after_secs() > 30, "{refusal:?}");
    assert_eq!(scene.store(0).standing_refusal(&client, Action::Verification, nonzero(2)), None);
    scene.let_pass(61);
    assert_eq!(standing(), None);
    assert_eq!(scene.burst(&client, 2, 3).await, 2);
}

async fn sustained_use_gets_the_limit_again_and_again(scene: &Scene) {
    let client = subject("192.0.2.1");
    let mut admitted = 0;
    for _ in 0..18 {
        admitted += scene.burst(&client, 5, 3).await;
        scene.let_pass(10);
    }
    // Three minutes and what the test took.
    assert!((15..=20).contains(&admitted), "{admitted}");
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_and_lifetimes_are_the_contracts() {
    let scene = Scene::redis(1);
    let store = scene.store(0);
    store.admit(&subject("192.0.2.1"), Action::Public, nonzero(5)).await;
    store.admit(&subject("2001:db8:1:2:3::4"), Action::Public, nonzero(5)).await;
    store.admit(&Subject::key("k"), Action::Verification, nonzero(5)).await;
    store.admit(&Subject::key("k"), Action::Authenticated, nonzero(5)).await;
    let keys = scene.server().keys();
    assert_eq!(
        keys,
        [
            "ratelimit:ip:192.0.2.1:public",
            "ratelimit:ip:2001:db8:1:2::/64:public",
            "ratelimit:key:k:authenticated",
            "ratelimit:key:k:verification",
        ]
    );
    for key in keys {
        let lifetime = scene.server().lifetime(&key);
        assert!(lifetime <= Duration::from_mins(1) && lifetime > Duration::from_secs(40), "{lifetime:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_out_of_the_window_is_removed() {
    let scene = Scene::redis(1);
    let client = subject("192.0.2.1");
    for _ in 0..30 {
        scene.admit(&client, 1000).await;
        scene.let_pass(5);
    }
    let buckets: usize = scene.server().ask(redis::cmd("HLEN").arg("ratelimit:ip:192.0.2.1:public"));
    assert!((10..=13).contains(&buckets), "{buckets}");
}

/// A Redis whose clock was set back, such as another one after a failover.
#[tokio::test(flavor = "multi_thread")]
async fn counts_from_the_future_lock_nobody_out() {
    let scene = Scene::redis(1);
    let client = subject("192.0.2.1");
    assert_eq!(scene.burst(&client, 3, 5).await, 3);
    let key = "ratelimit:ip:192.0.2.1:public";
    let buckets: Vec<(i64, i64)> = scene.server().ask(redis::cmd("HGETALL").arg(key));
    scene.server().flush();
    for (second, packed) in buckets {
        scene.server().ask::<()>(redis::cmd("HSET").arg(key).arg(second + 3600).arg(packed));
    }
    scene.clock.advance(Duration::from_secs(61));
    assert_eq!(scene.burst(&client, 3, 5).await, 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_decision_is_one_round_trip_and_a_refusal_of_ones_own_none() {
    let scene = Scene::redis(1);
    scene.admit(&subject("192.0.2.1"), 1).await;
    scene.server().ask::<()>(redis::cmd("CONFIG").arg("RESETSTAT"));
    for _ in 0..20 {
        assert!(scene.admit(&subject("192.0.2.2"), 20).await.admitted);
    }
    for _ in 0..50 {
        assert!(!scene.admit(&subject("192.0.2.2"), 20).await.admitted);
    }
    let told: String = scene.server().ask(redis::cmd("INFO").arg("commandstats"));
    assert!(told.contains("cmdstat_evalsha:calls=20,"), "{told}");
    assert!(!told.contains("cmdstat_eval:"), "{told}");
}

/// One load balancer probes all instances, and `/health` asks nobody; no more does what is supported.
#[tokio::test(flavor = "multi_thread")]
async fn some_are_counted_by_each_instance_without_redis() {
    let scene = Scene::redis(2);
    let prober = subject("192.0.2.1");
    for action in [Action::Operations, Action::Supported] {
        for n in 0..2 {
            let store = scene.store(n);
            let ask = async || store.admit(&prober, action, nonzero(1)).await.admitted;
            assert_eq!((ask().await, ask().await), (true, false), "{action:?}, instance {n}");
        }
    }
    assert_eq!(scene.server().keys(), [""; 0]);
}

/// Killed and restarted empty: always an answer, memory counts on, and Redis decides again when it is back, but for what
/// was admitted meanwhile.
#[tokio::test(flavor = "multi_thread")]
async fn without_redis_memory_counts_on_from_where_it_was() {
    let mut server = RedisServer::start();
    let url = server.url();
    let redis = Arc::new(Redis::with_limits(&url, QUICK_TO_RETURN, Arc::default()).unwrap());
    let clock = Arc::new(ManualClock::new(UnixMs(1_700_000_000_000)));
    let store = RedisRateLimits::new(redis.clone(), clock.clone());
    let client = subject("192.0.2.1");
    for _ in 0..6 {
        assert!(store.admit(&client, ACTION, nonzero(10)).await.admitted);
    }
    server.kill9();
    let mut admitted = 0;
    for _ in 0..20 {
        admitted += usize::from(store.admit(&client, ACTION, nonzero(10)).await.admitted);
    }
    assert_eq!(admitted, 4, "six of ten were used up before");
    server.restart();
    let deadline = Instant::now() + BOUND;
    let another = subject("192.0.2.9");
    while !server.keys().contains(&"ratelimit:ip:192.0.2.9:public".to_owned()) {
        assert!(Instant::now() < deadline, "it does not return");
        store.admit(&another, ACTION, nonzero(1_000_000)).await;
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    assert!(!store.admit(&client, ACTION, nonzero(10)).await.admitted, "memory has not forgotten");
    clock.advance(Duration::from_secs(61));
    assert!(store.admit(&client, ACTION, nonzero(10)).await.admitted);
}

/// Redis and memory count in seconds of their own clocks: whoever waits as long as one of them says, and asks the other
/// then, is admitted.
#[tokio::test(flavor = "multi_thread")]
async fn whoever_waits_as_long_as_told_is_admitted_by_redis_too() {
    let scene = Scene::redis(1);
    let (client, key) = (subject("192.0.2.1"), "ratelimit:ip:192.0.2.1:public");
    // At the end of one second here, and in the course of the next: in one and the same second there.
    scene.clock.advance(Duration::from_millis(999));
    assert!(scene.admit(&client, 2).await.admitted);
    scene.clock.advance(Duration::from_millis(900));
    assert!(scene.admit(&client, 2).await.admitted);
    scene.clock.advance(Duration::from_millis(100));
    let told = scene.admit(&client, 2).await;
    assert!(!told.admitted, "{told:?}");
    let waits = Duration::from_secs(told.retry_after_secs());
    scene.clock.advance(waits);
    let (secs, micros): (i64, i64) = scene.server().ask(&redis::cmd("TIME"));
    let asked = secs * 1000 + micros / 1000 - i64::try_from(waits.as_millis()).unwrap();
    let last = asked - 100;
    scene.server().ask::<()>(redis::cmd("DEL").arg(key));
    scene.server().ask::<()>(redis::cmd("HSET").arg(key).arg(last / 1000).arg(2000 + last % 1000));
    let again = scene.admit(&client, 2).await;
    assert!(again.admitted, "after {waits:?}: {again:?}");
}

/// What one instance has admitted itself, it does not admit again because Redis has forgotten it.
#[tokio::test(flavor = "multi_thread")]
async fn an_empty_redis_doubles_nothing_on_one_instance() {
    let scene = Scene::redis(1);
    let client = subject("192.0.2.1");
    assert_eq!(scene.burst(&client, 5, 3).await, 3);
    scene.server().flush();
    let told = scene.admit(&client, 5).await;
    assert_eq!((told.admitted, told.remaining), (true, 1), "Redis knows of one, memory of four");
    assert_eq!(scene.burst(&client, 5, 9).await, 1);
    scene.server().flush();
    assert_eq!(scene.burst(&client, 5, 9).await, 0);
    scene.let_pass(61);
    assert_eq!(scene.burst(&client, 5, 9).await, 5);
}

/// On several instances each lets through what it has not itself: as many times the limit as there are instances at most.
#[tokio::test(flavor = "multi_thread")]
async fn an_empty_redis_gives_no_more_than_the_limit_to_each_instance() {
    let scene = Scene::redis(2);
    let client = subject("192.0.2.1");
    for n in 0..2 {
        for _ in 0..5 {
            assert!(scene.store(n).admit(&client, ACTION, nonzero(5)).await.admitted, "instance {n}");
        }
        scene.server().flush();
    }
    assert_eq!(scene.burst(&client, 5, 12).await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_redis_that_was_never_there_is_asked_once() {
    let mut server = RedisServer::start();
    server.stop();
    let scene = Scene::on(server, 1, NO_RETURN);
    assert_eq!(scene.burst(&subject("192.0.2.1"), 5, 9).await, 5);
    assert!(scene.fallbacks());
}

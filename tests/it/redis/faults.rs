//! Redis killed, paused, flushed, restarted empty, or talking nonsense: claims keep answering, and find back.

use std::{
    io::Write,
    sync::Arc,
    time::{Duration, Instant},
};

use deadpool_redis::redis;
use pay402::{
    ids::{Entropy, OsEntropy},
    payments::{ClaimOutcome, ClaimStore},
    store::redis::{InvalidRedisUrl, Limits, Redis},
};

use super::{Instance, PATIENT, claim};
use crate::harness::{logs, redis::RedisServer, secrets};

/// As in the service, but Redis is left alone for so long that no test sees the end of it.
const NO_RETURN: Limits = Limits { pause: Duration::from_hours(1), ..IMPATIENT };
/// As in the service, and tried again soon.
const IMPATIENT: Limits =
    Limits { call_timeout: pay402::store::redis::CALL_TIMEOUT, pause: Duration::from_millis(50) };
/// Tried again soon, too, but with so much time for each call that only a Redis that is gone fails one.
const QUICK_TO_RETURN: Limits = Limits { pause: IMPATIENT.pause, ..PATIENT };
/// How long what must happen may take on a busy machine.
const BOUND: Duration = Duration::from_secs(20);

/// Whole numbers, for comparing.
fn count(value: f64) -> u64 {
    value.to_string().parse().unwrap()
}

/// Claims for as long as `done` says no, each time something nobody else claims.
async fn claims_until(instance: &Instance, done: impl Fn() -> bool) {
    let deadline = Instant::now() + BOUND;
    while !done() {
        assert!(Instant::now() < deadline, "it does not happen");
        claim_another(instance).await;
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

async fn claim_another(instance: &Instance) {
    let mut another = claim("another", 99, 0);
    OsEntropy.fill(&mut another.request);
    assert_eq!(instance.claims.claim(&another).await, ClaimOutcome::Claimed);
    instance.claims.release(&another).await;
}

/// Everything a caller can see is as in memory.
async fn assert_memory_serves(instance: &Instance) {
    let claims = &instance.claims;
    assert_eq!(claims.claim(&claim("a", 1, 1)).await, ClaimOutcome::Claimed);
    assert_eq!(claims.claim(&claim("a", 1, 1)).await, ClaimOutcome::InFlight);
    assert_eq!(claims.claim(&claim("a", 1, 2)).await, ClaimOutcome::Claimed);
    claims.release(&claim("a", 1, 1)).await;
    assert_eq!(claims.claim(&claim("a", 1, 1)).await, ClaimOutcome::Claimed);
    claims.mark_used(&claim("a", 1, 1)).await;
    assert_eq!(claims.claim(&claim("a", 2, 3)).await, ClaimOutcome::Used);
    assert_eq!(claims.claim(&claim("b", 1, 4)).await, ClaimOutcome::Used);
    assert_eq!(claims.claim(&claim("b", 2, 5)).await, ClaimOutcome::Claimed);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_redis_that_was_never_there() {
    let mut server = RedisServer::start();
    server.stop();
    let instance = Instance::with(&server.url(), NO_RETURN);
    assert_eq!(instance.up(), None, "nobody has asked it yet");
    assert_memory_serves(&instance).await;
    assert_eq!(instance.up(), Some(false));
    assert_eq!(count(instance.asked("claim")), 1, "only the first call asks");
    assert_eq!(count(instance.asked("release") + instance.asked("mark_used")), 0);
    assert_eq!(
        ["claim", "release", "mark_used"].map(|operation| count(instance.fallbacks(operation))),
        [4, 1, 1]
    );
    assert!(!instance.redis.health().await);
    assert_eq!(count(instance.asked("ping")), 0, "it is left alone");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_redis() {
    let mut server = RedisServer::start();
    let instance = Instance::with(&server.url(), NO_RETURN);
    assert_eq!(instance.claims.claim(&claim("before", 50, 50)).await, ClaimOutcome::Claimed);
    instance.claims.mark_used(&claim("before", 50, 50)).await;
    server.kill9();
    let asked = count(instance.asked("claim"));
    assert_memory_serves(&instance).await;
    assert!(count(instance.asked("claim")) <= asked + 1, "only the first call asks");
    assert_eq!(instance.up(), Some(false));
    assert_eq!(instance.claims.claim(&claim("before", 51, 51)).await, ClaimOutcome::Used);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_paused_redis_costs_one_timeout() {
    let server = RedisServer::start();
    let instance =
        Instance::with(&server.url(), Limits { call_timeout: Duration::from_secs(3), ..NO_RETURN });
    assert!(instance.redis.health().await);
    server.pause();
    let started = Instant::now();
    assert_memory_serves(&instance).await;
    assert!(started.elapsed() < BOUND);
    assert_eq!(count(instance.asked("claim")), 1, "only the first call waits");
    assert_eq!(instance.up(), Some(false));
    assert!(!instance.redis.health().await);
}

/// New connections are accepted by the operating system, and nothing is ever said on them.
#[tokio::test(flavor = "multi_thread")]
async fn a_redis_paused_before_the_first_call() {
    let server = RedisServer::start();
    server.pause();
    let instance = Instance::with(&server.url(), NO_RETURN);
    assert_memory_serves(&instance).await;
    assert_eq!(count(instance.asked("claim")), 1);
    assert_eq!(instance.up(), Some(false));
}

#[tokio::test(flavor = "multi_thread")]
async fn it_returns_by_itself() {
    let mut server = RedisServer::start();
    let instance = Instance::with(&server.url(), IMPATIENT);
    let [other, third] = [(); 2].map(|()| Instance::with(&server.url(), QUICK_TO_RETURN));
    claims_until(&instance, || instance.up() == Some(true)).await;
    for round in 0..3_u8 {
        if round == 1 {
            server.pause();
        } else {
            server.kill9();
        }
        claims_until(&instance, || instance.up() == Some(false)).await;
        assert!(instance.fallbacks("claim") + instance.fallbacks("release") > 0.0);
        if round == 1 {
            server.resume();
        } else {
            server.restart();
        }
        claims_until(&instance, || instance.up() == Some(true)).await;
    }
    // What one learns, the others know again.
    for instance in [&other, &third] {
        claims_until(instance, || instance.up() == Some(true)).await;
    }
    other.claims.mark_used(&claim("late", 60, 60)).await;
    assert!(server.keys().contains(&"nonce:late".to_owned()));
    assert_eq!(third.claims.claim(&claim("late", 61, 61)).await, ClaimOutcome::Used);
}

/// Nobody claims: asking for its health is enough to find back.
#[tokio::test(flavor = "multi_thread")]
async fn asking_for_its_health_finds_it_again() {
    let mut server = RedisServer::start();
    let instance = Instance::with(&server.url(), IMPATIENT);
    for _ in 0..2 {
        for up in [true, false] {
            if up {
                server.restart();
            } else {
                server.kill9();
            }
            let deadline = Instant::now() + BOUND;
            while instance.redis.health().await != up {
                assert!(Instant::now() < deadline);
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
            assert_eq!(instance.up(), Some(up));
        }
    }
    assert_eq!(count(instance.fallbacks("ping")), 0, "nothing answers a ping in Redis' stead");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_flushed_or_empty_redis_does_not_make_an_instance_forget() {
    let mut server = RedisServer::start();
    let instance = Instance::on(&server);
    for (round, restart) in [(1, false), (2, true)] {
        let paid = claim(&format!("nonce-{round}"), round, round);
        claims_until(&instance, || instance.up() == Some(true)).await;
        assert_eq!(instance.claims.claim(&paid).await, ClaimOutcome::Claimed);
        let running = claim("running", 70 + round, 70 + round);
        assert_eq!(instance.claims.claim(&running).await, ClaimOutcome::Claimed);
        instance.claims.mark_used(&paid).await;
        if restart {
            server.restart();
        } else {
            server.flush();
        }
        assert_eq!(server.keys(), [""; 0]);
        assert_eq!(instance.claims.claim(&paid).await, ClaimOutcome::Used);
        assert_eq!(instance.claims.claim(&running).await, ClaimOutcome::InFlight);
    }
}

/// Killed under 64 callers: each gets its answer.
#[tokio::test(flavor = "multi_thread")]
async fn killed_in_the_middle_of_it() {
    let mut server = RedisServer::start();
    let instance = Arc::new(Instance::with(&server.url(), QUICK_TO_RETURN));
    let callers: Vec<_> = (0..64_u8)
        .map(|caller| {
            let instance = instance.clone();
            tokio::spawn(async move {
                for round in 0..50 {
                    let mut paid = claim(&format!("nonce-{caller}-{round}"), caller, caller);
                    paid.request[0] = round;
                    paid.transaction = [[caller; 32], [round; 32]].concat().try_into().unwrap();
                    assert_eq!(instance.claims.claim(&paid).await, ClaimOutcome::Claimed);
                    instance.claims.mark_used(&paid).await;
                    assert_eq!(instance.claims.claim(&paid).await, ClaimOutcome::Used);
                }
            })
        })
        .collect();
    let deadline = Instant::now() + BOUND;
    while instance.asked("mark_used") < 100.0 {
        assert!(Instant::now() < deadline);
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    server.kill9();
    for caller in callers {
        tokio::time::timeout(BOUND, caller).await.expect("each answers in time").unwrap();
    }
    assert!(instance.fallbacks("claim") > 0.0, "it was killed before they were done");
    server.restart();
    claims_until(&instance, || instance.up() == Some(true)).await;
}

/// What ended while Redis did not listen keeps nobody waiting when it listens again.
#[tokio::test(flavor = "multi_thread")]
async fn redis_hears_late_of_what_ended_meanwhile() {
    let server = RedisServer::start();
    let (instance, other) =
        (Instance::with(&server.url(), IMPATIENT), Instance::with(&server.url(), QUICK_TO_RETURN));
    let [refused, paid] = [claim("refused", 1, 1), claim("paid", 2, 2)];
    claims_until(&instance, || instance.up() == Some(true)).await;
    for claim in [&refused, &paid] {
        assert_eq!(instance.claims.claim(claim).await, ClaimOutcome::Claimed);
    }
    server.pause();
    instance.claims.release(&refused).await;
    instance.claims.mark_used(&paid).await;
    server.resume();
    // Shorter than the lease, which is not what ends them.
    let deadline = Instant::now() + BOUND;
    for ended in [&refused, &paid] {
        loop {
            claim_another(&instance).await;
            if other.claims.claim(ended).await != ClaimOutcome::InFlight {
                break;
            }
            assert!(Instant::now() < deadline);
            tokio::time::sleep(IMPATIENT.pause).await;
        }
    }
}

/// The same where the instance that owes it has nothing more to ask.
#[tokio::test(flavor = "multi_thread")]
async fn redis_hears_late_though_nobody_claims() {
    let server = RedisServer::start();
    let (instance, other) =
        (Instance::with(&server.url(), IMPATIENT), Instance::with(&server.url(), QUICK_TO_RETURN));
    claims_until(&instance, || instance.up() == Some(true)).await;
    let refused = claim("refused", 1, 1);
    assert_eq!(instance.claims.claim(&refused).await, ClaimOutcome::Claimed);
    server.pause();
    instance.claims.release(&refused).await;
    server.resume();
    let deadline = Instant::now() + BOUND;
    while other.claims.claim(&refused).await == ClaimOutcome::InFlight {
        assert!(Instant::now() < deadline, "it is held until its lease runs out");
        tokio::time::sleep(IMPATIENT.pause).await;
    }
}

/// Whoever gives up waiting holds nothing.
#[tokio::test(flavor = "multi_thread")]
async fn a_caller_who_gives_up_holds_nothing() {
    let server = RedisServer::start();
    let instance = Instance::on(&server);
    assert!(instance.redis.health().await);
    server.pause();
    let twin = claim("a", 1, 1);
    let patience = Duration::from_millis(20);
    assert!(tokio::time::timeout(patience, instance.claims.claim(&twin)).await.is_err());
    server.resume();
    assert_eq!(instance.claims.claim(&twin).await, ClaimOutcome::Claimed);
}

#[tokio::test(flavor = "multi_thread")]
async fn errors_fall_back_each_and_open_the_breaker_in_a_row() {
    let server = RedisServer::start();
    let instance = Instance::with(&server.url(), Limits { pause: NO_RETURN.pause, ..PATIENT });
    assert!(instance.redis.health().await);
    // A full Redis that may evict nothing refuses every write.
    server.ask::<()>(redis::cmd("CONFIG").arg("SET").arg("maxmemory").arg("1"));
    for request in 1..=10 {
        let paid = claim(&format!("nonce-{request}"), request, request);
        assert_eq!(instance.claims.claim(&paid).await, ClaimOutcome::Claimed);
        assert_eq!(instance.up(), Some(request < 3));
    }
    assert_eq!(count(instance.asked("claim")), 3);
    assert_eq!(count(instance.fallbacks("claim")), 10);
}

/// On one thread, because that is whose log is read.
#[tokio::test]
async fn a_wrong_password_is_an_outage_that_is_not_told_to_anybody() {
    let server = RedisServer::start();
    let url = format!("redis://somebody:hunter2@{}", server.address());
    secrets::register("hunter2");
    logs::listen();
    let instance = Instance::with(&url, NO_RETURN);
    assert_memory_serves(&instance).await;
    assert_eq!(instance.up(), Some(false));
    let told = format!("{} {:?} {:?}", logs::heard(), instance.redis, instance.claims);
    assert!(told.contains("WARN") && !told.contains("hunter2"), "{told}");
}

/// A server that does not speak TLS, and one that speaks something else altogether.
#[tokio::test(flavor = "multi_thread")]
async fn the_wrong_protocol_is_an_outage() {
    let server = RedisServer::start();
    let instance = Instance::with(&server.url().replace("redis://", "rediss://"), NO_RETURN);
    assert_memory_serves(&instance).await;
    assert_eq!(instance.up(), Some(false));

    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("redis://{}", listener.local_addr().unwrap());
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let _ = stream.unwrap().write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n");
        }
    });
    let instance = Instance::with(&url, NO_RETURN);
    assert_memory_serves(&instance).await;
    assert_eq!(instance.up(), Some(false));
}

#[test]
fn an_address_that_is_none_is_refused_without_being_repeated() {
    for url in ["", "localhost", "http://user:hunter2@localhost", "redis://user:hunter2@host:99999"] {
        let refused = Redis::open(url, Arc::default()).unwrap_err();
        assert_eq!(refused, InvalidRedisUrl, "{url}");
        assert!(!refused.to_string().contains("hunter2"));
    }
}

/// On one thread, because that is whose log is read.
#[tokio::test]
async fn one_warning_and_one_notice_of_its_end() {
    let mut server = RedisServer::start();
    logs::listen();
    let instance = Instance::with(&server.url(), QUICK_TO_RETURN);
    claims_until(&instance, || instance.up() == Some(true)).await;
    server.kill9();
    claims_until(&instance, || instance.fallbacks("claim") > 20.0 && instance.asked("claim") > 4.0).await;
    server.restart();
    claims_until(&instance, || instance.up() == Some(true)).await;
    let text = logs::heard();
    assert_eq!(text.matches("WARN").count(), 1, "{text}");
    assert_eq!(text.matches("Redis answers again").count(), 1, "{text}");
}

//! What is in Redis: the keys and lifetimes of the contract, and nothing else.

use std::time::Duration;

use deadpool_redis::redis;
use pay402::payments::{ClaimOutcome, ClaimStore};

use super::{Instance, claim};
use crate::harness::redis::RedisServer;

/// Set a moment ago with this lifetime. A busy machine may take its time to look.
#[track_caller]
fn assert_lifetime(server: &RedisServer, key: &str, secs: u64) {
    let (lifetime, set) = (server.lifetime(key), Duration::from_secs(secs));
    assert!(lifetime <= set && lifetime + Duration::from_secs(20) > set, "{key}: {lifetime:?}");
}

fn in_flight(request: u8) -> String {
    format!("inflight:{}", format!("{request:02x}").repeat(32))
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_and_lifetimes_are_the_contracts() {
    let server = RedisServer::start();
    let instance = Instance::on(&server);
    let paid = claim("the nonce", 7, 10);
    assert_eq!(instance.claims.claim(&paid).await, ClaimOutcome::Claimed);
    assert_eq!(server.keys(), [in_flight(10)]);
    assert_lifetime(&server, &in_flight(10), 30);

    instance.claims.mark_used(&paid).await;
    let payment = format!("payment:{}", paid.transaction);
    assert_eq!(server.keys(), ["nonce:the nonce".to_owned(), payment.clone()]);
    assert_lifetime(&server, "nonce:the nonce", 900);
    assert_lifetime(&server, &payment, 3600);

    let refused = claim("b", 8, 11);
    assert_eq!(instance.claims.claim(&refused).await, ClaimOutcome::Claimed);
    instance.claims.release(&refused).await;
    assert_eq!(server.keys().len(), 2, "nothing is left of a released claim");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_release_ends_no_other_instances_claim() {
    let server = RedisServer::start();
    let (first, second) = (Instance::on(&server), Instance::on(&server));
    let twin = claim("a", 1, 1);
    assert_eq!(first.claims.claim(&twin).await, ClaimOutcome::Claimed);
    // The first one's lease runs out.
    server.ask::<()>(redis::cmd("DEL").arg(in_flight(1)));
    assert_eq!(second.claims.claim(&twin).await, ClaimOutcome::Claimed);
    first.claims.release(&twin).await;
    assert_eq!(server.keys(), [in_flight(1)]);
    assert_eq!(first.claims.claim(&twin).await, ClaimOutcome::InFlight);
    second.claims.release(&twin).await;
    assert_eq!(server.keys(), [""; 0]);
}

/// What is left in Redis of a claim that could not be released is no obstacle to the instance that left it.
#[tokio::test(flavor = "multi_thread")]
async fn an_instance_gets_again_what_it_left_behind() {
    let server = RedisServer::start();
    let instance = Instance::on(&server);
    let twin = claim("a", 1, 1);
    assert_eq!(instance.claims.claim(&twin).await, ClaimOutcome::Claimed);
    server.ask::<()>(redis::cmd("PEXPIRE").arg(in_flight(1)).arg(9000));
    // In memory the lease is over; Redis keeps its own time.
    instance.clock.advance(Duration::from_secs(31));
    assert_eq!(instance.claims.claim(&twin).await, ClaimOutcome::Claimed);
    assert_lifetime(&server, &in_flight(1), 30);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_decision_is_one_round_trip() {
    let server = RedisServer::start();
    let instance = Instance::on(&server);
    // The connection is made and the scripts are loaded.
    instance.claims.claim(&claim("a", 1, 1)).await;
    instance.claims.mark_used(&claim("a", 1, 1)).await;
    server.ask::<()>(redis::cmd("CONFIG").arg("RESETSTAT"));
    for request in 2..22 {
        let paid = claim(&format!("nonce-{request}"), request, request);
        assert_eq!(instance.claims.claim(&paid).await, ClaimOutcome::Claimed);
        instance.claims.mark_used(&paid).await;
    }
    let told: String = server.ask(redis::cmd("INFO").arg("commandstats"));
    assert!(told.contains("cmdstat_evalsha:calls=40,"), "{told}");
    assert!(!told.contains("cmdstat_eval:") && !told.contains("cmdstat_script"), "{told}");
}

#[tokio::test(flavor = "multi_thread")]
async fn hits_and_misses_are_what_redis_found() {
    let server = RedisServer::start();
    let (first, second) = (Instance::on(&server), Instance::on(&server));
    first.claims.claim(&claim("a", 1, 1)).await;
    first.claims.mark_used(&claim("a", 1, 1)).await;
    assert_eq!(second.claims.claim(&claim("a", 2, 2)).await, ClaimOutcome::Used);
    assert_eq!(second.claims.claim(&claim("b", 2, 3)).await, ClaimOutcome::Claimed);
    assert_eq!(first.claims.claim(&claim("b", 2, 3)).await, ClaimOutcome::InFlight);
    let counts = |instance: &Instance| {
        ["hits", "misses"].map(|what| instance.metric(&format!("redis_cache_{what}_total")).to_string())
    };
    assert_eq!(counts(&first), ["0", "2"]);
    assert_eq!(counts(&second), ["1", "1"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn scripts_that_redis_forgot_are_loaded_again() {
    let server = RedisServer::start();
    let instance = Instance::on(&server);
    assert_eq!(instance.claims.claim(&claim("a", 1, 1)).await, ClaimOutcome::Claimed);
    server.ask::<()>(redis::cmd("SCRIPT").arg("FLUSH"));
    assert_eq!(instance.claims.claim(&claim("b", 2, 2)).await, ClaimOutcome::Claimed);
    assert!(instance.fallbacks("claim") < 0.5);
    assert_eq!(server.keys().len(), 2);
}

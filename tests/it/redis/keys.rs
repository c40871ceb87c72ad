//! What is in Redis: the keys and lifetimes of the contract, and nothing else.

use std::time::Duration;

use deadpool_redis::redis;
use pay402::payments::{ClaimOutcome, ClaimStore};

use super::{Instance, claim, confirmed};
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
    assert_lifetime(&server, &in_flight(10), 60);

    instance.claims.mark_used(&paid).await;
    let payment = format!("payment:{}", paid.transaction);
    assert_eq!(server.keys(), ["nonce:the nonce".to_owned(), payment.clone()]);
    assert_lifetime(&server, "nonce:the nonce", 900);
    assert_lifetime(&server, &payment, 3600);

    let refused = claim("b", 8, 11);
    assert_eq!(instance.claims.claim(&refused).await, ClaimOutcome::Claimed);
    instance.claims.release(&refused).await;
    assert_eq!(server.keys().len(), 2, "nothing is left of a released claim");

    let looked_up = claim("c", 9, 12);
    assert_eq!(instance.claims.claim(&looked_up).await, ClaimOutcome::Claimed);
    instance.claims.learn(confirmed(9));
    instance.claims.release(&looked_up).await;
    assert_eq!(server.keys().len(), 3, "but for what the chain said");
    assert_lifetime(&server, &format!("payment:{}", looked_up.transaction), 3600);
}

/// Whoever can write to Redis cannot tell this service what the chain said.
#[tokio::test(flavor = "multi_thread")]
async fn only_what_an_instance_wrote_is_believed() {
    let server = RedisServer::start();
    let (writer, reader) = (Instance::on(&server), Instance::on(&server));
    for transaction in [1, 2] {
        let looked_up = claim("a", transaction, transaction);
        assert_eq!(writer.claims.claim(&looked_up).await, ClaimOutcome::Claimed);
        writer.claims.learn(confirmed(transaction));
        writer.claims.release(&looked_up).await;
    }
    let key = |transaction: u8| format!("payment:{}", claim("", transaction, 0).transaction);
    server.ask::<()>(redis::cmd("COPY").arg(key(1)).arg(key(3)));
    server.ask::<()>(redis::cmd("APPEND").arg(key(2)).arg("x"));
    server.ask::<()>(redis::cmd("SET").arg(key(4)).arg("0"));
    for (transaction, known) in [(1, Some(confirmed(1))), (2, None), (3, None), (4, None)] {
        let next = claim("b", transaction, transaction);
        assert_eq!(reader.claims.claim(&next).await, ClaimOutcome::Claimed);
        assert_eq!(reader.claims.known(&next.transaction), known, "{transaction}");
    }
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
    instance.clock.advance(Duration::from_secs(61));
    assert_eq!(instance.claims.claim(&twin).await, ClaimOutcome::Claimed);
    assert_lifetime(&server, &in_flight(1), 60);
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

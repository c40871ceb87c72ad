//! What every claim store does, whatever it is made of.

use std::{sync::Arc, time::Duration};

use futures_util::future::join_all;
use pay402::{
    clock::{ManualClock, UnixMs},
    payments::{ClaimOutcome, ClaimStore},
    store::memory::MemoryClaims,
};

use super::{Instance, claim, confirmed};
use crate::harness::redis::RedisServer;

/// Runs each check on a fresh store of either kind, and on two instances that share one Redis.
macro_rules! conformance {
    ($($check:ident),* $(,)?) => {
        mod memory {
            $(#[tokio::test(flavor = "multi_thread")]
            async fn $check() {
                let claims = super::in_memory();
                super::$check(&claims, &claims).await;
            })*
        }

        mod redis {
            $(#[tokio::test(flavor = "multi_thread")]
            async fn $check() {
                let server = super::RedisServer::start();
                let instance = super::Instance::on(&server);
                super::$check(&instance.claims, &instance.claims).await;
                super::assert_redis_answered(&instance);
            })*
        }

        mod two_instances {
            $(#[tokio::test(flavor = "multi_thread")]
            async fn $check() {
                let server = super::RedisServer::start();
                let (first, second) = (super::Instance::on(&server), super::Instance::on(&server));
                super::$check(&first.claims, &second.claims).await;
                super::assert_redis_answered(&first);
            })*
        }
    };
}

conformance!(
    twins_wait_and_strangers_do_not,
    either_key_alone_is_enough_to_be_used,
    a_late_release_undoes_nothing,
    of_many_concurrent_twins_one_claims,
    concurrent_strangers_all_claim,
    a_key_is_taken_as_it_is,
    what_the_chain_said_is_known_to_who_claims_next,
);

fn in_memory() -> MemoryClaims {
    MemoryClaims::new(Arc::new(ManualClock::new(UnixMs(0))))
}

fn assert_redis_answered(instance: &Instance) {
    assert!(instance.asked("claim") > 0.0);
    for operation in ["claim", "release", "mark_used"] {
        assert!(instance.fallbacks(operation) < 0.5, "{operation} fell back to memory");
    }
}

async fn twins_wait_and_strangers_do_not(here: &dyn ClaimStore, there: &dyn ClaimStore) {
    assert_eq!(here.claim(&claim("a", 1, 1)).await, ClaimOutcome::Claimed);
    assert_eq!(here.claim(&claim("a", 1, 1)).await, ClaimOutcome::InFlight);
    assert_eq!(there.claim(&claim("a", 1, 1)).await, ClaimOutcome::InFlight);
    assert_eq!(there.claim(&claim("a", 1, 2)).await, ClaimOutcome::Claimed, "another request");
    here.release(&claim("a", 1, 1)).await;
    assert_eq!(there.claim(&claim("a", 1, 1)).await, ClaimOutcome::Claimed);
    assert_eq!(here.claim(&claim("a", 1, 1)).await, ClaimOutcome::InFlight);
}

async fn either_key_alone_is_enough_to_be_used(here: &dyn ClaimStore, there: &dyn ClaimStore) {
    assert_eq!(here.claim(&claim("a", 1, 1)).await, ClaimOutcome::Claimed);
    here.mark_used(&claim("a", 1, 1)).await;
    for store in [here, there] {
        assert_eq!(store.claim(&claim("a", 1, 1)).await, ClaimOutcome::Used, "the same request");
        assert_eq!(store.claim(&claim("a", 2, 2)).await, ClaimOutcome::Used, "the nonce");
        assert_eq!(store.claim(&claim("b", 1, 3)).await, ClaimOutcome::Used, "the transaction");
        assert_eq!(store.claim(&claim("c", 3, 4)).await, ClaimOutcome::Claimed, "neither");
        store.release(&claim("c", 3, 4)).await;
    }
}

async fn a_late_release_undoes_nothing(here: &dyn ClaimStore, there: &dyn ClaimStore) {
    assert_eq!(here.claim(&claim("a", 1, 1)).await, ClaimOutcome::Claimed);
    here.mark_used(&claim("a", 1, 1)).await;
    here.release(&claim("a", 1, 1)).await;
    there.release(&claim("a", 1, 1)).await;
    for store in [here, there] {
        assert_eq!(store.claim(&claim("a", 1, 1)).await, ClaimOutcome::Used);
    }
}

async fn of_many_concurrent_twins_one_claims(here: &dyn ClaimStore, there: &dyn ClaimStore) {
    for round in 0..8 {
        let twin = claim(&format!("nonce-{round}"), round, round);
        let outcomes = join_all((0..64).map(|n| if n % 2 == 0 { here } else { there }.claim(&twin))).await;
        let count = |wanted| outcomes.iter().filter(|outcome| **outcome == wanted).count();
        assert_eq!((count(ClaimOutcome::Claimed), count(ClaimOutcome::InFlight)), (1, 63));
    }
}

async fn concurrent_strangers_all_claim(here: &dyn ClaimStore, there: &dyn ClaimStore) {
    let claims: Vec<_> = (0..64).map(|request| claim("a", 1, request)).collect();
    let stores = [here, there].into_iter().cycle();
    let outcomes = join_all(claims.iter().zip(stores).map(|(claim, store)| store.claim(claim))).await;
    assert!(outcomes.iter().all(|outcome| *outcome == ClaimOutcome::Claimed), "{outcomes:?}");
    here.mark_used(&claims[0]).await;
    there.mark_used(&claims[1]).await;
    assert_eq!(there.claim(&claims[2]).await, ClaimOutcome::Used);
}

/// A nonce is the caller's text: nothing in it means anything to the store.
async fn a_key_is_taken_as_it_is(here: &dyn ClaimStore, there: &dyn ClaimStore) {
    let nonces =
        ["", " ", "*", "a\r\nDEL nonce:b\r\n", "'); redis.call('FLUSHALL') --", "\u{0}", "{x}", "🦀"];
    for (number, nonce) in (1..).zip(nonces) {
        assert_eq!(here.claim(&claim(nonce, number, number)).await, ClaimOutcome::Claimed, "{nonce:?}");
        here.mark_used(&claim(nonce, number, number)).await;
    }
    for nonce in nonces {
        assert_eq!(there.claim(&claim(nonce, 200, 200)).await, ClaimOutcome::Used, "{nonce:?}");
    }
}

async fn what_the_chain_said_is_known_to_who_claims_next(here: &dyn ClaimStore, there: &dyn ClaimStore) {
    let (first, next) = (claim("a", 1, 1), claim("b", 1, 2));
    assert_eq!(here.claim(&first).await, ClaimOutcome::Claimed);
    assert_eq!(here.known(&first.transaction), None);
    here.learn(confirmed(1));
    assert_eq!(here.known(&first.transaction), Some(confirmed(1)));
    here.release(&first).await;

    assert_eq!(there.claim(&next).await, ClaimOutcome::Claimed, "knowing it is not having used it");
    assert_eq!(there.known(&next.transaction), Some(confirmed(1)));
    assert_eq!(there.known(&claim("a", 2, 1).transaction), None);
    there.mark_used(&next).await;
    for store in [here, there] {
        assert_eq!(store.claim(&first).await, ClaimOutcome::Used);
    }
    // Too late: it stays used.
    here.learn(confirmed(1));
    here.release(&first).await;
    assert_eq!(there.claim(&claim("c", 1, 3)).await, ClaimOutcome::Used);
}

/// Memory forgets by the service's clock. What Redis forgets by its own is in the keys' lifetimes.
#[tokio::test]
async fn memory_forgets_in_time() {
    let clock = Arc::new(ManualClock::new(UnixMs(0)));
    let claims = MemoryClaims::new(clock.clone());
    claims.mark_used(&claim("a", 1, 1)).await;
    assert_eq!(claims.claim(&claim("b", 2, 2)).await, ClaimOutcome::Claimed);
    clock.advance(Duration::from_secs(61));
    assert_eq!(claims.claim(&claim("b", 2, 2)).await, ClaimOutcome::Claimed);
    clock.advance(Duration::from_mins(15));
    assert_eq!(claims.claim(&claim("a", 2, 3)).await, ClaimOutcome::Claimed);
    assert_eq!(claims.claim(&claim("c", 1, 4)).await, ClaimOutcome::Used);
    clock.advance(Duration::from_mins(45));
    assert_eq!(claims.claim(&claim("c", 1, 5)).await, ClaimOutcome::Claimed);
}

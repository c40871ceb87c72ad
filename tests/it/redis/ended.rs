//! Keys that have ended, as instances on one Redis tell each other.

use std::{num::NonZeroU32, sync::Arc, time::Duration};

use pay402::{
    api_keys::{
        Environment, Herald, NewKey, Scopes,
        service::{Actor, ApiKeys},
    },
    app::key_foundations,
    chain::assets::Network,
    clock::{Clock, ManualClock, SystemClock},
    ids::{ApiKeyId, Entropy, OsEntropy},
    metrics::Metrics,
    rate_limit::{Action, Limits, RateLimitStore, RateLimiter, Subject},
    store::redis::{Redis, RedisHerald, RedisRateLimits},
};

use super::PATIENT;
use crate::{conformance::Backend, harness::redis::RedisServer};

fn redis(server: &RedisServer) -> Arc<Redis> {
    Arc::new(Redis::with_limits(&server.url(), PATIENT, Arc::default()).unwrap())
}

fn herald(server: &RedisServer) -> RedisHerald {
    RedisHerald::new(redis(server))
}

fn counts(server: &RedisServer) -> RedisRateLimits {
    RedisRateLimits::new(redis(server), Arc::new(SystemClock))
}

fn id(number: u32) -> ApiKeyId {
    ApiKeyId::from_stored(format!("key_{number}"))
}

async fn has_ended(counts: &RedisRateLimits, key: &ApiKeyId) -> bool {
    let limit = NonZeroU32::new(10).unwrap();
    let decision = counts.admit(&Subject::key(key.as_str()), Action::Authenticated, limit).await;
    assert_eq!(decision.admitted, !decision.ended, "{decision:?}");
    decision.ended
}

/// From its end on, on every instance; no other key, nor an address of its name.
#[tokio::test(flavor = "multi_thread")]
async fn a_key_that_has_ended_is_not_admitted() {
    let server = RedisServer::start();
    let (herald, instances) = (herald(&server), [counts(&server), counts(&server)]);
    for instance in &instances {
        assert!(!has_ended(instance, &id(1)).await);
    }
    herald.ended(&[id(1), id(2)], Duration::ZERO).await;
    herald.ended(&[id(3)], Duration::from_hours(1)).await;
    for instance in &instances {
        assert!(has_ended(instance, &id(1)).await && has_ended(instance, &id(2)).await);
        assert!(!has_ended(instance, &id(3)).await && !has_ended(instance, &id(4)).await);
    }
    // It is revoked before its overlap is over.
    herald.ended(&[id(3)], Duration::ZERO).await;
    assert!(has_ended(&instances[0], &id(3)).await);
    let lifetime = server.lifetime("ended:key_1");
    assert!(lifetime <= Duration::from_mins(2) && lifetime > Duration::from_mins(1), "{lifetime:?}");
    assert!(server.lifetime("ended:key_3") > Duration::from_mins(59), "the later end is one as well");
}

/// It is revoked while it is rotated, and that is told first.
#[tokio::test(flavor = "multi_thread")]
async fn an_end_is_not_put_off() {
    let server = RedisServer::start();
    let (herald, counts) = (herald(&server), counts(&server));
    herald.ended(&[id(1)], Duration::ZERO).await;
    herald.ended(&[id(1)], Duration::from_hours(1)).await;
    assert!(has_ended(&counts, &id(1)).await);
}

/// Where nothing is counted, that a key has ended is heard of all the same.
#[tokio::test(flavor = "multi_thread")]
async fn a_key_that_has_ended_is_not_admitted_without_limits() {
    let server = RedisServer::start();
    let limits = Limits { public: 0, authenticated: 0, verification: 0 };
    let limiter = RateLimiter { limits, store: Arc::new(counts(&server)) };
    let ask = async |subject: &Subject, action| limiter.admit(subject, action).await;
    let (key, address) = (Subject::key("key_1"), Subject::address([192, 0, 2, 1].into()));
    for action in [Action::Authenticated, Action::Verification] {
        assert_eq!(ask(&key, action).await, None, "{action:?}");
    }
    herald(&server).ended(&[id(1)], Duration::ZERO).await;
    for action in [Action::Authenticated, Action::Verification] {
        let decision = ask(&key, action).await.expect("it has ended");
        assert!(decision.ended && !decision.admitted, "{decision:?}");
        assert_eq!(ask(&Subject::key("key_2"), action).await, None, "{action:?}");
        assert_eq!(ask(&address, action).await, None, "{action:?}");
    }
}

/// The clocks of those who tell it, of Redis and of those who hear of it are never the same.
#[tokio::test(flavor = "multi_thread")]
async fn a_revocation_holds_at_once_whatever_the_clock_of_who_revokes() {
    let (server, backend) = (RedisServer::start(), Backend::sqlite());
    let (counts, books) = (counts(&server), backend.open().await);
    books.database.migrate().await.unwrap();
    for ahead in [Duration::ZERO, Duration::from_mins(5)] {
        let clock: Arc<dyn Clock> = Arc::new(ManualClock::new(SystemClock.now() + ahead));
        let (entropy, metrics): (Arc<dyn Entropy>, _) = (Arc::new(OsEntropy), Arc::new(Metrics::new()));
        let foundations = key_foundations(&books, Network::Devnet, &clock, &entropy, &metrics);
        let keys = ApiKeys::new(foundations, entropy, None, Some(Arc::new(herald(&server))));
        let new = NewKey {
            name: "n".to_owned(),
            user: "u".to_owned(),
            environment: Environment::Test,
            scopes: Scopes::EVERYTHING,
            recipients: Vec::new(),
            expires_at: None,
        };
        let made = keys.issue(new, Actor::Operator).await.unwrap().record;
        let (next, _) =
            keys.replace(Actor::Operator, made.id.as_str(), Duration::from_hours(1)).await.unwrap();
        assert!(!has_ended(&counts, &made.id).await && !has_ended(&counts, &next.record.id).await);
        for key in [&made, &next.record] {
            keys.revoke(Actor::Operator, key.id.as_str()).await.unwrap();
            assert!(has_ended(&counts, &key.id).await, "{ahead:?} ahead");
        }
    }
}

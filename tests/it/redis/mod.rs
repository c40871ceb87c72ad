//! Claims and counts in Redis: the same as in memory to whoever calls, and never in the way.

mod conformance;
mod ended;
mod faults;
mod keys;
mod rate_limits;

use std::{sync::Arc, time::Duration};

use pay402::{
    chain::{ConfirmedTransaction, LamportBalance},
    clock::{Clock, ManualClock, UnixMs},
    ids::OsEntropy,
    metrics::Metrics,
    payments::Claim,
    store::redis::{Limits, Redis, RedisClaims},
};
use solana_pubkey::Pubkey;
use solana_signature::Signature;

use crate::harness::redis::RedisServer;

/// Patient enough for a busy machine: where Redis works, a slow answer must not look like none.
const PATIENT: Limits = Limits { call_timeout: Duration::from_secs(20), pause: Duration::from_secs(1) };

/// What one instance of the service has of Redis.
struct Instance {
    redis: Arc<Redis>,
    claims: RedisClaims,
    metrics: Arc<Metrics>,
    clock: Arc<ManualClock>,
}

impl Instance {
    fn on(server: &RedisServer) -> Self {
        Self::with(&server.url(), PATIENT)
    }

    fn with(url: &str, limits: Limits) -> Self {
        let metrics = Arc::new(Metrics::new());
        let clock = Arc::new(ManualClock::new(UnixMs(1_700_000_000_000)));
        let redis = Arc::new(Redis::with_limits(url, limits, metrics.clone()).unwrap());
        let told: Arc<dyn Clock> = clock.clone();
        let claims = RedisClaims::new(redis.clone(), told, &OsEntropy, &[42; 32], metrics.clone());
        Self { redis, claims, metrics, clock }
    }

    /// A sample's value, 0 where there is none.
    fn metric(&self, sample: &str) -> f64 {
        self.sample(sample).unwrap_or_default()
    }

    fn sample(&self, sample: &str) -> Option<f64> {
        let text = self.metrics.render().unwrap();
        text.lines().find_map(|line| line.strip_prefix(sample)?.strip_prefix(' ')?.parse().ok())
    }

    fn up(&self) -> Option<bool> {
        self.sample("redis_up").map(|value| value > 0.5)
    }

    /// How often Redis was asked to do this, in vain or not.
    fn asked(&self, operation: &str) -> f64 {
        self.metric(&format!("redis_operation_duration_seconds_count{{operation=\"{operation}\"}}"))
    }

    /// How often memory did this without Redis.
    fn fallbacks(&self, operation: &str) -> f64 {
        self.metric(&format!("redis_fallback_total{{operation=\"{operation}\"}}"))
    }
}

/// What the chain said of the claimed transaction with this number.
fn confirmed(transaction: u8) -> Arc<ConfirmedTransaction> {
    Arc::new(ConfirmedTransaction {
        signature: Signature::from([transaction; 64]),
        slot: 7,
        block_time: UnixMs(1_700_000_000_000),
        failure: None,
        signers: vec![Pubkey::new_from_array([5; 32])],
        fee: 5000,
        lamports: vec![LamportBalance { account: Pubkey::new_from_array([5; 32]), before: 2, after: 1 }],
        tokens_before: Vec::new(),
        tokens_after: Vec::new(),
    })
}

fn claim(nonce: &str, transaction: u8, request: u8) -> Claim {
    Claim { nonce: nonce.to_owned(), transaction: Signature::from([transaction; 64]), request: [request; 32] }
}

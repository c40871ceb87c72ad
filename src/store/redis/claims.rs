//! [`ClaimStore`] in Redis, on top of the one in memory.
//!
//! Memory is asked first and told everything, so this is never weaker than memory alone: twins on one instance are
//! kept apart, and what this instance saw used is remembered, while Redis is away and after it lost its keys. Redis
//! adds what the other instances know.

use std::{
    fmt::Write,
    sync::{Arc, LazyLock},
};

use async_trait::async_trait;
use deadpool_redis::redis::{Script, ScriptInvocation};
use solana_signature::Signature;

use super::{
    Redis,
    debts::{Debts, release},
    seal::Seal,
};
use crate::{
    chain::ConfirmedTransaction,
    clock::Clock,
    ids::Entropy,
    metrics::Metrics,
    payments::{Claim, ClaimOutcome, ClaimStore},
    store::memory::{LEASE, MemoryClaims, NONCE_LIFETIME, TRANSACTION_LIFETIME, used_keys},
};

const USED: u8 = 0;
const CLAIMED: u8 = 1;

/// What a claim is answered with, and what is known of its transaction, sealed.
type Answer = (u8, Option<Vec<u8>>);

/// Keys: the nonce's, the transaction's, the request's. The first argument of every script: who claims.
///
/// A transaction's key holds `1` once it has paid, before that what the chain said of it.
///
/// What this instance holds already it gets again. Memory keeps apart those who run here, so this is the rest of a
/// claim that could not be released.
static CLAIM: LazyLock<Script> = LazyLock::new(|| {
    Script::new(
        "local known = redis.call('GET', KEYS[2])
        if known == '1' or redis.call('EXISTS', KEYS[1]) > 0 then return {0, false} end
        if not redis.call('SET', KEYS[3], ARGV[1], 'NX', 'PX', ARGV[2]) then
            if redis.call('GET', KEYS[3]) ~= ARGV[1] then return {2, false} end
            redis.call('PEXPIRE', KEYS[3], ARGV[2])
        end
        return {1, known}",
    )
});
/// Keys as for a claim. Leaves behind what the chain said of the transaction.
static RELEASE_KNOWN: LazyLock<Script> = LazyLock::new(|| {
    Script::new(
        "redis.call('SET', KEYS[2], ARGV[2], 'NX', 'PX', ARGV[3])
        if redis.call('GET', KEYS[3]) == ARGV[1] then redis.call('DEL', KEYS[3]) end
        return 0",
    )
});
/// Keys as for a claim.
static MARK_USED: LazyLock<Script> = LazyLock::new(|| {
    Script::new(
        "redis.call('SET', KEYS[1], '1', 'PX', ARGV[2])
        redis.call('SET', KEYS[2], '1', 'PX', ARGV[3])
        return redis.call('DEL', KEYS[3])",
    )
});

/// Claims that the instances on one Redis share.
#[derive(Debug)]
pub struct RedisClaims {
    redis: Arc<Redis>,
    memory: MemoryClaims,
    /// The value of this instance's claims.
    instance: String,
    debts: Arc<Debts>,
    seal: Seal,
    metrics: Arc<Metrics>,
}

impl RedisClaims {
    /// `secret` is the same for all instances, and nobody else's: what the chain said is believed only where it is sealed
    /// with it.
    #[must_use]
    pub fn new(
        redis: Arc<Redis>,
        clock: Arc<dyn Clock>,
        entropy: &dyn Entropy,
        secret: &[u8; 32],
        metrics: Arc<Metrics>,
    ) -> Self {
        let mut instance = [0; 16];
        entropy.fill(&mut instance);
        let instance = hex(&instance);
        Self {
            debts: Arc::new(Debts::new(Arc::clone(&redis), instance.clone())),
            redis,
            memory: MemoryClaims::new(clock),
            instance,
            seal: Seal::new(secret),
            metrics,
        }
    }

    fn prepare<'a>(&self, script: &'a Script, claim: &Claim) -> ScriptInvocation<'a> {
        let mut invocation = script.prepare_invoke();
        for key in used_keys(claim) {
            invocation.key(key);
        }
        invocation.key(in_flight_key(&claim.request)).arg(&self.instance);
        invocation
    }

    /// Tells Redis that a request ended, now or when it answers again.
    async fn end(&self, operation: &'static str, claim: &Claim, script: &ScriptInvocation<'_>) {
        if self.redis.decide::<u8>(operation, script).await.is_none() {
            self.debts.owe(claim.request);
        }
    }
}

#[async_trait]
impl ClaimStore for RedisClaims {
    async fn claim(&self, claim: &Claim) -> ClaimOutcome {
        let here = self.memory.claim(claim).await;
        if here != ClaimOutcome::Claimed {
            return here;
        }
        self.debts.forgive(&claim.request);
        let held = HeldHere { memory: &self.memory, claim };
        let mut script = self.prepare(&CLAIM, claim);
        script.arg(LEASE.as_millis());
        let answer = self.redis.decide::<Answer>("claim", &script).await;
        if answer.is_some() {
            self.debts.pay().await;
        }
        let outcome = match answer {
            None => ClaimOutcome::Claimed,
            Some((USED, _)) => {
                self.metrics.redis_cache(true);
                ClaimOutcome::Used
            }
            Some((answer, known)) => {
                self.metrics.redis_cache(false);
                if let Some(known) = known.and_then(|sealed| self.seal.open(&claim.transaction, &sealed)) {
                    self.memory.learn(Arc::new(known));
                }
                if answer == CLAIMED { ClaimOutcome::Claimed } else { ClaimOutcome::InFlight }
            }
        };
        if outcome == ClaimOutcome::Claimed {
            held.keep();
        }
        outcome
    }

    /// In Redis first: while that takes, twins here still wait, so none of them can have claimed there what this ends.
    async fn release(&self, claim: &Claim) {
        let _held = HeldHere { memory: &self.memory, claim };
        let script = match self.memory.known(&claim.transaction) {
            None => release(&self.instance, [claim.request]),
            Some(known) => {
                let mut script = self.prepare(&RELEASE_KNOWN, claim);
                script.arg(self.seal.close(&known)).arg(TRANSACTION_LIFETIME.as_millis());
                script
            }
        };
        self.end("release", claim, &script).await;
    }

    /// In memory first: it cannot fail, and nobody here need ask Redis any more.
    async fn mark_used(&self, claim: &Claim) {
        self.memory.mark_used(claim).await;
        let mut script = self.prepare(&MARK_USED, claim);
        script.arg(NONCE_LIFETIME.as_millis()).arg(TRANSACTION_LIFETIME.as_millis());
        self.end("mark_used", claim, &script).await;
    }

    fn known(&self, transaction: &Signature) -> Option<Arc<ConfirmedTransaction>> {
        self.memory.known(transaction)
    }

    /// Other instances hear of it when the claim ends.
    fn learn(&self, transaction: Arc<ConfirmedTransaction>) {
        self.memory.learn(transaction);
    }
}

/// A claim in memory that ends with this value, also when whoever waits for Redis gives up waiting.
struct HeldHere<'a> {
    memory: &'a MemoryClaims,
    claim: &'a Claim,
}

impl HeldHere<'_> {
    fn keep(self) {
        std::mem::forget(self);
    }
}

impl Drop for HeldHere<'_> {
    fn drop(&mut self) {
        self.memory.forget(self.claim);
    }
}

pub(super) fn in_flight_key(request: &[u8; 32]) -> String {
    format!("inflight:{}", hex(request))
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
        // Writing to a string cannot fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}

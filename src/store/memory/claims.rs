//! [`ClaimStore`] in memory.

use std::{
    collections::{HashMap, VecDeque},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use async_trait::async_trait;
use moka::{policy::EvictionPolicy, sync::Cache};
use solana_signature::Signature;

use crate::{
    chain::ConfirmedTransaction,
    clock::{Clock, UnixMs},
    payments::{Claim, ClaimOutcome, ClaimStore},
};

/// How long a claim holds when nobody releases it: longer than any verification may take.
pub(in crate::store) const LEASE: Duration = Duration::from_mins(1);
/// How long a used nonce is remembered.
pub(in crate::store) const NONCE_LIFETIME: Duration = Duration::from_mins(15);
/// How long a used transaction is remembered.
pub(in crate::store) const TRANSACTION_LIFETIME: Duration = Duration::from_hours(1);
/// How many used keys are remembered. Past that the oldest are forgotten, and the database answers for them.
const MAX_USED: usize = 200_000;
/// How many balances the remembered transactions have together: some 50 MB. Past that the ones not asked for longest are
/// forgotten.
const MAX_KNOWN_BALANCES: u64 = 500_000;
/// How many claims there can be at a time. Past that one is granted without being held.
const MAX_IN_FLIGHT: usize = 20_000;

#[derive(Debug, Default)]
struct Keys {
    /// The requests being verified, and until when each is held.
    in_flight: HashMap<[u8; 32], UnixMs>,
    /// Nonces and transactions, and until when each is remembered.
    used: HashMap<String, UnixMs>,
    /// The used keys, oldest first.
    used_order: VecDeque<String>,
}

#[derive(Debug)]
pub struct MemoryClaims {
    keys: Mutex<Keys>,
    known: Cache<Signature, Arc<ConfirmedTransaction>>,
    clock: Arc<dyn Clock>,
}

impl MemoryClaims {
    #[must_use]
    pub fn new(clock: Arc<dyn Clock>) -> Self {
        let balances = |_: &Signature, transaction: &Arc<ConfirmedTransaction>| {
            let tokens = transaction.tokens_before.len() + transaction.tokens_after.len();
            u32::try_from(1 + transaction.lamports.len() + tokens).unwrap_or(u32::MAX)
        };
        let known = Cache::builder()
            .weigher(balances)
            .max_capacity(MAX_KNOWN_BALANCES)
            .time_to_live(TRANSACTION_LIFETIME)
            .eviction_policy(EvictionPolicy::lru())
            .build();
        Self { keys: Mutex::default(), known, clock }
    }

    /// Nobody holds the request any more.
    pub(in crate::store) fn forget(&self, claim: &Claim) {
        self.with(|keys| {
            keys.in_flight.remove(&claim.request);
        });
    }

    fn with<T>(&self, work: impl FnOnce(&mut Keys) -> T) -> T {
        work(&mut self.keys.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

#[async_trait]
impl ClaimStore for MemoryClaims {
    async fn claim(&self, claim: &Claim) -> ClaimOutcome {
        let now = self.clock.now();
        self.with(|keys| {
            let current = |until: &UnixMs| *until >= now;
            if used_keys(claim).iter().any(|name| keys.used.get(name).is_some_and(current)) {
                return ClaimOutcome::Used;
            }
            if keys.in_flight.get(&claim.request).is_some_and(current) {
                return ClaimOutcome::InFlight;
            }
            if keys.in_flight.len() >= MAX_IN_FLIGHT {
                // Only what a panicking verification left behind can have run out.
                keys.in_flight.retain(|_, until| current(until));
            }
            if keys.in_flight.len() < MAX_IN_FLIGHT {
                keys.in_flight.insert(claim.request, now + LEASE);
            }
            ClaimOutcome::Claimed
        })
    }

    async fn release(&self, claim: &Claim) {
        self.forget(claim);
    }

    async fn mark_used(&self, claim: &Claim) {
        let now = self.clock.now();
        self.known.invalidate(&claim.transaction);
        self.with(|keys| {
            keys.in_flight.remove(&claim.request);
            for (name, lifetime) in used_keys(claim).into_iter().zip([NONCE_LIFETIME, TRANSACTION_LIFETIME]) {
                if keys.used.insert(name.clone(), now + lifetime).is_none() {
                    keys.used_order.push_back(name);
                }
            }
            while let Some(oldest) = keys.used_order.front() {
                let current = keys.used.get(oldest).is_some_and(|until| *until >= now);
                if current && keys.used.len() <= MAX_USED {
                    break;
                }
                keys.used.remove(oldest);
                keys.used_order.pop_front();
            }
        });
    }

    fn known(&self, transaction: &Signature) -> Option<Arc<ConfirmedTransaction>> {
        self.known.get(transaction)
    }

    fn learn(&self, transaction: Arc<ConfirmedTransaction>) {
        self.known.insert(transaction.signature, transaction);
    }
}

/// The nonce's key and the transaction's, in every store.
pub(in crate::store) fn used_keys(claim: &Claim) -> [String; 2] {
    [format!("nonce:{}", claim.nonce), format!("payment:{}", claim.transaction)]
}

#[cfg(test)]
mod tests {
    use std::{sync::Arc, time::Duration};

    use solana_signature::Signature;

    use super::MemoryClaims;
    use crate::{
        clock::{ManualClock, UnixMs},
        payments::{Claim, ClaimOutcome, ClaimStore},
    };

    fn claim(nonce: &str, transaction: u8, request: u8) -> Claim {
        Claim {
            nonce: nonce.to_owned(),
            transaction: Signature::from([transaction; 64]),
            request: [request; 32],
        }
    }

    #[tokio::test]
    async fn twins_wait_and_strangers_do_not() {
        let clock = Arc::new(ManualClock::new(UnixMs(0)));
        let claims = MemoryClaims::new(clock.clone());
        assert_eq!(claims.claim(&claim("a", 1, 1)).await, ClaimOutcome::Claimed);
        assert_eq!(claims.claim(&claim("a", 1, 1)).await, ClaimOutcome::InFlight);
        assert_eq!(claims.claim(&claim("a", 1, 2)).await, ClaimOutcome::Claimed);
        claims.release(&claim("a", 1, 1)).await;
        assert_eq!(claims.claim(&claim("a", 1, 1)).await, ClaimOutcome::Claimed);
    }

    #[tokio::test]
    async fn either_key_alone_is_enough_to_be_used() {
        let clock = Arc::new(ManualClock::new(UnixMs(0)));
        let claims = MemoryClaims::new(clock.clone());
        assert_eq!(claims.claim(&claim("a", 1, 1)).await, ClaimOutcome::Claimed);
        claims.mark_used(&claim("a", 1, 1)).await;
        assert_eq!(claims.claim(&claim("a", 2, 2)).await, ClaimOutcome::Used);
        assert_eq!(claims.claim(&claim("b", 1, 3)).await, ClaimOutcome::Used);
        claims.release(&claim("a", 1, 1)).await;
        assert_eq!(
            claims.claim(&claim("a", 1, 1)).await,
            ClaimOutcome::Used,
            "a late release undoes nothing"
        );
        clock.advance(Duration::from_mins(16));
        assert_eq!(claims.claim(&claim("a", 2, 2)).await, ClaimOutcome::Claimed);
        assert_eq!(claims.claim(&claim("b", 1, 3)).await, ClaimOutcome::Used);
    }

    #[tokio::test]
    async fn a_claim_nobody_released_ends_with_its_lease() {
        let clock = Arc::new(ManualClock::new(UnixMs(0)));
        let claims = MemoryClaims::new(clock.clone());
        assert_eq!(claims.claim(&claim("a", 1, 1)).await, ClaimOutcome::Claimed);
        clock.advance(Duration::from_secs(61));
        assert_eq!(claims.claim(&claim("a", 1, 1)).await, ClaimOutcome::Claimed);
    }
}

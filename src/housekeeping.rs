//! Removing what has run out, in bounded batches. Every instance does it; doing it twice is doing it once.

use std::{sync::Arc, time::Duration};

use crate::{
    agents::AgentStore,
    api_keys::{ApiKeyStore, ENDED_KEPT_FOR},
    clock::Clock,
    idempotency::{self, IdempotencyStore},
    payments::PaymentStore,
    store_error::StoreError,
};

/// How often it is looked after.
const INTERVAL: Duration = Duration::from_mins(1);
/// How many rows one statement removes.
const BATCH: u32 = 500;
/// How many statements of a kind one round makes.
const BATCHES: u32 = 20;
/// How long a used nonce is kept apart from its payment, which keeps it for ever.
const NONCE_LIFETIME: Duration = Duration::from_hours(24);

/// How long it is known for which bad payments an agent has answered.
const FAILURE_LIFETIME: Duration = Duration::from_hours(30 * 24);

#[derive(Clone, Debug)]
pub struct Housekeeping {
    pub payments: Arc<dyn PaymentStore>,
    pub idempotency: Arc<dyn IdempotencyStore>,
    pub agents: Arc<dyn AgentStore>,
    pub api_keys: Arc<dyn ApiKeyStore>,
    pub clock: Arc<dyn Clock>,
}

impl Housekeeping {
    /// Goes round from now on.
    pub async fn run(self) {
        loop {
            if let Err(error) = self.round().await {
                tracing::warn!(error = &error as &dyn std::error::Error, "housekeeping failed");
            }
            tokio::time::sleep(INTERVAL).await;
        }
    }

    /// One round; how many rows it removed.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn round(&self) -> Result<u64, StoreError> {
        let now = self.clock.now();
        let mut removed = 0;
        for _ in 0..BATCHES {
            let answers = self.idempotency.purge(now - idempotency::LIFETIME, BATCH).await?;
            let nonces = self.payments.purge_nonces(now - NONCE_LIFETIME, BATCH).await?;
            let agents = self.agents.forget(now, now - FAILURE_LIFETIME, BATCH).await?;
            let keys = self.api_keys.purge_ended_keys(now - ENDED_KEPT_FOR, BATCH).await?;
            let round = answers + nonces + agents + keys;
            removed += round;
            if round == 0 {
                break;
            }
        }
        Ok(removed)
    }
}

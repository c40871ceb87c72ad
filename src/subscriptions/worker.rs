//! Writing down what time has made of subscriptions. Every instance does it; doing it twice is doing it once.

use std::{sync::Arc, time::Duration};

use super::{Seen, SubscriptionStore};
use crate::{clock::Clock, store_error::StoreError};

/// How often it is looked after.
const INTERVAL: Duration = Duration::from_secs(30);
/// How many subscriptions share a database transaction.
const BATCH: u32 = 100;
/// How many database transactions one round makes; what is left waits for the next.
const BATCHES: u32 = 50;

#[derive(Clone, Debug)]
pub struct Worker {
    pub store: Arc<dyn SubscriptionStore>,
    pub clock: Arc<dyn Clock>,
}

impl Worker {
    /// Goes round from now on.
    pub async fn run(self) {
        loop {
            if let Err(error) = self.round().await {
                tracing::warn!(
                    error = &error as &dyn std::error::Error,
                    "subscriptions could not be looked after"
                );
            }
            tokio::time::sleep(INTERVAL).await;
        }
    }

    /// One round; how many subscriptions it brought to the present.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn round(&self) -> Result<u32, StoreError> {
        let now = self.clock.now();
        let mut seen = Seen::default();
        for _ in 0..BATCHES {
            // What was left alone stays due the longest.
            let batch = self.store.advance_due(now, seen.left_alone, BATCH).await?;
            seen.advanced += batch.advanced;
            seen.left_alone += batch.left_alone;
            if batch.all() < BATCH {
                break;
            }
        }
        Ok(seen.advanced)
    }
}

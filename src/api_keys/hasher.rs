//! bcrypt, which takes a quarter of a second on purpose: off the async threads, and few runs at a time.

use std::sync::Arc;

use tokio::{sync::Semaphore, time::Instant};

use super::PlainKey;
use crate::metrics::Metrics;

/// bcrypt's work factor.
const COST: u32 = 12;
/// How many keys may be compared at a time. Further ones wait, in the order they came.
const COMPARED: usize = 2;
/// How many keys may be hashed at a time: making many must not keep others' keys from being checked.
const HASHED: usize = 1;

/// A hash could not be made or compared, which says nothing about the key.
#[derive(Debug, thiserror::Error)]
#[error("bcrypt did not come to its end")]
pub struct HashFailure(#[source] Box<dyn std::error::Error + Send + Sync>);

#[derive(Debug)]
pub struct Hasher {
    comparing: Arc<Semaphore>,
    hashing: Arc<Semaphore>,
    metrics: Arc<Metrics>,
}

impl Hasher {
    #[must_use]
    pub fn new(metrics: Arc<Metrics>) -> Self {
        let [comparing, hashing] = [COMPARED, HASHED].map(|runs| Arc::new(Semaphore::new(runs)));
        Self { comparing, hashing, metrics }
    }

    pub(super) async fn hash(&self, key: &PlainKey) -> Result<String, HashFailure> {
        let key = key.clone();
        self.run("hash", &self.hashing, move || bcrypt::non_truncating_hash(key.expose(), COST)).await
    }

    /// A hash that is none belongs to no key.
    pub(super) async fn matches(&self, key: &PlainKey, hash: &str) -> Result<bool, HashFailure> {
        let (key, hash) = (key.clone(), hash.to_owned());
        let compare = move || match bcrypt::non_truncating_verify(key.expose(), &hash) {
            Ok(matches) => Ok(matches),
            Err(error) => {
                let error = &error as &dyn std::error::Error;
                tracing::error!(
                    error,
                    key = key.prefix(),
                    "the database holds an API key's hash that is none"
                );
                Ok(false)
            }
        };
        self.run("verify", &self.comparing, compare).await
    }

    async fn run<T: Send + 'static>(
        &self,
        operation: &'static str,
        slots: &Arc<Semaphore>,
        work: impl FnOnce() -> Result<T, bcrypt::BcryptError> + Send + 'static,
    ) -> Result<T, HashFailure> {
        let slot = Arc::clone(slots).acquire_owned().await.map_err(|error| HashFailure(error.into()))?;
        let started = Instant::now();
        let done = tokio::task::spawn_blocking(move || {
            // Held until bcrypt is done, also when the caller is gone by then.
            let _slot = slot;
            work()
        });
        let done = done.await.map_err(|error| HashFailure(error.into()))?;
        self.metrics.api_key_bcrypt(operation, started.elapsed());
        done.map_err(|error| HashFailure(error.into()))
    }
}

/// A task that did not come to its end either.
impl From<tokio::task::JoinError> for HashFailure {
    fn from(error: tokio::task::JoinError) -> Self {
        Self(error.into())
    }
}

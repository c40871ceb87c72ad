//! bcrypt, which takes a quarter of a second on purpose: off the async threads, and few runs at a time.

use std::sync::Arc;

use tokio::{sync::Semaphore, time::Instant};

use super::PlainKey;
use crate::metrics::Metrics;

/// bcrypt's work factor.
const COST: u32 = 12;
/// How many keys may be compared at a time.
const COMPARED: usize = 2;
/// How many keys may be hashed at a time: making many must not keep others' keys from being checked.
const HASHED: usize = 1;

/// How many more may wait to be compared: half a minute's work.
const COMPARE_QUEUE: usize = 256;
/// How many more may wait to be hashed: some seconds' work.
const HASH_QUEUE: usize = 16;

/// A hash could not be made or compared, which says nothing about the key.
#[derive(Debug, thiserror::Error)]
pub enum HashFailure {
    #[error("too many keys wait for bcrypt")]
    Busy,
    #[error("bcrypt did not come to its end")]
    Failed(#[source] Box<dyn std::error::Error + Send + Sync>),
}

#[derive(Debug)]
pub struct Hasher {
    comparing: Pool,
    hashing: Pool,
    metrics: Arc<Metrics>,
}

/// Runs at a time, in the order they came, and a queue that ends.
#[derive(Debug)]
struct Pool {
    runs: Arc<Semaphore>,
    /// Those that run and those that wait.
    inside: Arc<Semaphore>,
}

impl Pool {
    fn new(runs: usize, queue: usize) -> Self {
        let [runs, inside] = [runs, runs + queue].map(|permits| Arc::new(Semaphore::new(permits)));
        Self { runs, inside }
    }

    /// To be held until bcrypt is done.
    async fn turn(&self) -> Result<impl Send + 'static, HashFailure> {
        let inside = Arc::clone(&self.inside).try_acquire_owned().map_err(|_| HashFailure::Busy)?;
        let run = Arc::clone(&self.runs).acquire_owned().await;
        Ok((run.map_err(|error| HashFailure::Failed(error.into()))?, inside))
    }
}

impl Hasher {
    #[must_use]
    pub fn new(metrics: Arc<Metrics>) -> Self {
        let (comparing, hashing) = (Pool::new(COMPARED, COMPARE_QUEUE), Pool::new(HASHED, HASH_QUEUE));
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
        pool: &Pool,
        work: impl FnOnce() -> Result<T, bcrypt::BcryptError> + Send + 'static,
    ) -> Result<T, HashFailure> {
        let turn = pool.turn().await?;
        let started = Instant::now();
        let done = tokio::task::spawn_blocking(move || {
            // Held until bcrypt is done, also when the caller is gone by then.
            let _turn = turn;
            work()
        });
        let done = done.await?;
        self.metrics.api_key_bcrypt(operation, started.elapsed());
        done.map_err(|error| HashFailure::Failed(error.into()))
    }
}

/// A task that did not come to its end either.
impl From<tokio::task::JoinError> for HashFailure {
    fn from(error: tokio::task::JoinError) -> Self {
        Self::Failed(error.into())
    }
}

#[cfg(test)]
mod tests {
    use std::{
        pin::pin,
        sync::{Arc, mpsc},
    };

    use futures_util::poll;
    use tokio::{
        runtime::Builder,
        task::{spawn_blocking, unconstrained},
    };

    use super::{COMPARE_QUEUE, COMPARED, HASH_QUEUE, HASHED, HashFailure, Hasher};
    use crate::{
        api_keys::{Environment, PlainKey, key::TagSecret},
        ids::OsEntropy,
        metrics::Metrics,
        server_secrets::ServerSecret,
    };

    /// A key and a cheap hash of it.
    fn key() -> (PlainKey, String) {
        let secret = TagSecret::new(ServerSecret::new([7; 32]));
        let key = PlainKey::generate(Environment::Test, &secret, &OsEntropy);
        let hash = bcrypt::non_truncating_hash(key.expose(), 4).unwrap();
        (key, hash)
    }

    /// While the one other thread there is does something else, nothing is hashed or compared.
    #[test]
    fn bcrypt_runs_off_the_async_threads() {
        let hasher = Hasher::new(Arc::new(Metrics::new()));
        let (key, hash) = key();
        let runtime = Builder::new_current_thread().max_blocking_threads(1).build().unwrap();
        runtime.block_on(async {
            let (go, gone) = mpsc::channel::<()>();
            let busy = spawn_blocking(move || gone.recv());
            let (mut comparing, mut hashing) = (pin!(hasher.matches(&key, &hash)), pin!(hasher.hash(&key)));
            assert!(poll!(&mut comparing).is_pending() && poll!(&mut hashing).is_pending());
            go.send(()).unwrap();
            busy.await.unwrap().unwrap();
            assert!(comparing.await.unwrap());
            assert!(hasher.matches(&key, &hashing.await.unwrap()).await.unwrap());
        });
    }

    #[tokio::test]
    async fn few_run_few_more_wait_and_neither_kind_keeps_the_other_out() {
        let hasher = Hasher::new(Arc::new(Metrics::new()));
        let (key, hash) = key();
        let pools = [(&hasher.comparing, COMPARED, COMPARE_QUEUE), (&hasher.hashing, HASHED, HASH_QUEUE)];
        let mut held = Vec::new();
        for (pool, runs, queue) in pools {
            let mut running = Vec::new();
            for _ in 0..runs {
                running.push(pool.turn().await.unwrap());
            }
            let mut waiting: Vec<_> = (0..queue).map(|_| Box::pin(pool.turn())).collect();
            for turn in &mut waiting {
                assert!(unconstrained(async { poll!(turn).is_pending() }).await);
            }
            held.push((running, waiting));
            if held.len() == 1 {
                assert!(matches!(hasher.matches(&key, &hash).await, Err(HashFailure::Busy)));
            }
        }
        assert!(matches!(hasher.hash(&key).await, Err(HashFailure::Busy)));
        drop(held);
        assert!(hasher.matches(&key, &hash).await.unwrap());
    }
}

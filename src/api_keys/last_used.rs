//! When keys were last used: noted in memory on the request's path, written behind it.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use tokio::time::{sleep, timeout};

use super::ApiKeyStore;
use crate::{clock::UnixMs, ids::ApiKeyId, store_error::StoreError};

/// How often it is written.
const INTERVAL: Duration = Duration::from_secs(5);
/// How many keys are noted between two writes. What is beyond is not noted until the next.
const MAX_NOTED: usize = 10_000;
/// How many keys one statement writes.
const BATCH: usize = 500;
/// How long the last write may take.
const LAST_WRITE: Duration = Duration::from_secs(3);

#[derive(Debug)]
pub struct LastUsed {
    store: Arc<dyn ApiKeyStore>,
    noted: Mutex<HashMap<ApiKeyId, UnixMs>>,
}

impl LastUsed {
    #[must_use]
    pub fn new(store: Arc<dyn ApiKeyStore>) -> Self {
        Self { store, noted: Mutex::default() }
    }

    pub(super) fn note(&self, key: &ApiKeyId, at: UnixMs) {
        let mut noted = self.noted.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(latest) = noted.get_mut(key) {
            *latest = at.max(*latest);
        } else if noted.len() < MAX_NOTED {
            noted.insert(key.clone(), at);
        }
    }

    /// Writes every few seconds from now on.
    pub async fn run(self: Arc<Self>) {
        loop {
            sleep(INTERVAL).await;
            self.write_and_tell().await;
        }
    }

    /// Writes what is noted, at the end.
    pub async fn finish(&self) {
        if timeout(LAST_WRITE, self.write_and_tell()).await.is_err() {
            tracing::warn!("when API keys were last used could not be noted in time");
        }
    }

    async fn write_and_tell(&self) {
        if let Err(error) = self.write().await {
            let error = &error as &dyn std::error::Error;
            tracing::warn!(error, "when API keys were last used could not be noted");
        }
    }

    /// Writes what is noted, in batches. What could not be written is noted again.
    async fn write(&self) -> Result<(), StoreError> {
        let noted = std::mem::take(&mut *self.noted.lock().unwrap_or_else(PoisonError::into_inner));
        let noted: Vec<(ApiKeyId, UnixMs)> = noted.into_iter().collect();
        let mut batches = noted.chunks(BATCH);
        while let Some(batch) = batches.next() {
            if let Err(error) = self.store.note_use(batch).await {
                batch.iter().chain(batches.flatten()).for_each(|(key, at)| self.note(key, *at));
                return Err(error);
            }
        }
        Ok(())
    }
}

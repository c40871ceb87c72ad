//! What is known of the keys that are in use.
//!
//! bcrypt is run once for a key. The key's row is read anew about every second, whoever may have changed it and whether
//! or not a Redis is there, by one reader for all who wait.

use std::{
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use moka::{future::Cache, policy::EvictionPolicy};
use tokio::time::timeout;

use super::{
    ApiKeyRecord, ApiKeyStore, Environment, HashFailure, Hasher, PlainKey, Standing, StoredKey,
    digest::Digest,
};
use crate::{
    clock::{Clock, UnixMs},
    store_error::StoreError,
};

/// How many keys are remembered; the one that was not used for longest is forgotten for another. Only keys that were made
/// here are ever remembered.
const MAX_REMEMBERED: u64 = 10_000;
/// How long a row is taken to be as it was read.
const FRESH_FOR: Duration = Duration::from_millis(900);
/// How long a row stands while the database cannot say otherwise.
const STANDS_FOR: Duration = Duration::from_mins(1);
/// How long the database is waited for where there is a row that stands.
const READ_TIMEOUT: Duration = Duration::from_secs(1);
/// The same where there is none: longer than a store takes to give up by itself.
const FIRST_READ_TIMEOUT: Duration = Duration::from_secs(15);

/// Why a key could not be checked now, which says nothing about the key.
#[derive(Debug, thiserror::Error)]
pub enum KeyCheckError {
    #[error("the API keys cannot be read")]
    Store(#[from] StoreError),
    /// As found a moment ago, and not tried again since.
    #[error("the API keys cannot be read")]
    Away,
    #[error(transparent)]
    Hash(#[from] HashFailure),
}

#[derive(Debug)]
pub(super) struct Remembered {
    slots: Cache<[u8; 16], Arc<Slot>>,
    reader: Arc<Reader>,
}

/// Where a key's row comes from, and what it must be like.
#[derive(Debug)]
pub(super) struct Reader {
    pub store: Arc<dyn ApiKeyStore>,
    pub hasher: Arc<Hasher>,
    pub environment: Environment,
    pub clock: Arc<dyn Clock>,
    /// Counts what this instance changed: what was read before holds no longer.
    pub changes: AtomicU64,
}

/// The place of one key.
struct Slot {
    digest: Digest,
    seen: Mutex<Option<Seen>>,
    /// How many readings were begun.
    begun: AtomicU64,
    /// Held by whoever reads.
    reading: Arc<tokio::sync::Mutex<()>>,
}

impl std::fmt::Debug for Slot {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Slot").finish_non_exhaustive()
    }
}

/// What the last reading came to.
#[derive(Clone)]
struct Seen {
    /// Which reading it was.
    number: u64,
    changes: u64,
    /// When it began, if it succeeded; else when it failed.
    at: UnixMs,
    /// What the last successful one found.
    found: Option<Found>,
}

#[derive(Clone)]
struct Found {
    at: UnixMs,
    row: Option<Arc<StoredKey>>,
    /// Whether the key is the one that was hashed. `None`: not asked, since the row opens nothing.
    matches: Option<bool>,
}

impl Remembered {
    pub fn new(reader: Reader) -> Self {
        let slots =
            Cache::builder().max_capacity(MAX_REMEMBERED).eviction_policy(EvictionPolicy::lru()).build();
        Self { slots, reader: Arc::new(reader) }
    }

    /// Has every row be read anew.
    pub fn something_changed(&self) {
        self.reader.changes.fetch_add(1, Ordering::SeqCst);
    }

    /// The record of a key whose tag is good; `None` if it opens nothing.
    pub async fn look(&self, key: PlainKey, digest: Digest) -> Result<Option<ApiKeyRecord>, KeyCheckError> {
        let slot = self.slots.get_with(digest.slot, async move { Arc::new(Slot::new(digest)) }).await;
        if !slot.digest.is(&digest) {
            return Ok(None);
        }
        let (reader, now) = (&self.reader, self.reader.clock.now());
        if let Some(seen) = slot.seen().filter(|seen| reader.is_fresh(seen, now)) {
            return reader.judge(&seen, now);
        }
        let begun_before = slot.begun.load(Ordering::SeqCst);
        let turn = Arc::clone(&slot.reading).lock_owned().await;
        // A reading that began after this one asked is as good as its own.
        let shared = |seen: &Seen| seen.number > begun_before || reader.is_fresh(seen, now);
        if let Some(seen) = slot.seen().filter(shared) {
            return reader.judge(&seen, reader.clock.now());
        }
        let reader = Arc::clone(reader);
        // In a task of its own: a caller who hangs up must not stop it for those who wait.
        let reading = tokio::spawn(async move {
            let result = reader.read(&slot, &key).await;
            drop(turn);
            result
        });
        reading.await.map_err(HashFailure::from)?
    }
}

impl Slot {
    fn new(digest: Digest) -> Self {
        Self { digest, seen: Mutex::default(), begun: AtomicU64::new(0), reading: Arc::default() }
    }

    fn seen(&self) -> Option<Seen> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Reader {
    fn is_fresh(&self, seen: &Seen, now: UnixMs) -> bool {
        seen.changes == self.changes.load(Ordering::SeqCst) && is_within(seen.at, now, FRESH_FOR)
    }

    fn judge(&self, seen: &Seen, now: UnixMs) -> Result<Option<ApiKeyRecord>, KeyCheckError> {
        let stands = |found: &&Found| is_within(found.at, now, STANDS_FOR);
        let found = seen.found.as_ref().filter(stands).ok_or(KeyCheckError::Away)?;
        let opens = |row: &&Arc<StoredKey>| found.matches == Some(true) && self.opens(row, now);
        Ok(found.row.as_ref().filter(opens).map(|row| row.record.clone()))
    }

    fn opens(&self, row: &StoredKey, now: UnixMs) -> bool {
        row.record.environment == self.environment && row.record.standing(now) == Standing::Active
    }

    /// Reads the row and keeps what it found.
    async fn read(&self, slot: &Slot, key: &PlainKey) -> Result<Option<ApiKeyRecord>, KeyCheckError> {
        let number = slot.begun.fetch_add(1, Ordering::SeqCst) + 1;
        let changes = self.changes.load(Ordering::SeqCst);
        let (began, before) = (self.clock.now(), slot.seen().and_then(|seen| seen.found));
        let result = self.find(key, before.as_ref(), began).await;
        let now = self.clock.now();
        let (seen, failure) = match result {
            Ok(found) => (Seen { number, changes, at: began, found: Some(found) }, None),
            // The row was read: what was read before holds no longer.
            Err(error @ KeyCheckError::Hash(_)) => {
                (Seen { number, changes, at: now, found: None }, Some(error))
            }
            Err(error) => (Seen { number, changes, at: now, found: before }, Some(error)),
        };
        *slot.seen.lock().unwrap_or_else(PoisonError::into_inner) = Some(seen.clone());
        match (self.judge(&seen, now), failure) {
            (Err(_), Some(failure)) => Err(failure),
            (judged, Some(failure)) => {
                let failure = &failure as &dyn std::error::Error;
                tracing::warn!(error = failure, key = key.prefix(), "an API key stands as it was last read");
                judged
            }
            (judged, None) => judged,
        }
    }

    async fn find(&self, key: &PlainKey, before: Option<&Found>, at: UnixMs) -> Result<Found, KeyCheckError> {
        let patience = if before.is_some() { READ_TIMEOUT } else { FIRST_READ_TIMEOUT };
        let read = timeout(patience, self.store.key_by_prefix(key.prefix())).await;
        let row = read.map_err(|_| KeyCheckError::Away)??.map(Arc::new);
        let matches = match &row {
            Some(row) if self.opens(row, at) => match before.and_then(|before| before.verdict_on(row)) {
                Some(matches) => Some(matches),
                None => Some(self.hasher.matches(key, &row.hash).await?),
            },
            _ => None,
        };
        Ok(Found { at, row, matches })
    }
}

impl Found {
    /// What bcrypt said, if it was asked about the same hash.
    fn verdict_on(&self, row: &StoredKey) -> Option<bool> {
        self.matches.filter(|_| self.row.as_ref().is_some_and(|before| before.hash == row.hash))
    }
}

/// Whether `at` is less than `span` ago. What seems to lie ahead is not: the clock was set back since.
fn is_within(at: UnixMs, now: UnixMs, span: Duration) -> bool {
    at <= now && now < at + span
}

//! What is known of the keys that are in use.
//!
//! bcrypt is run once for a key. The key's row is read anew about every second, whoever may have changed it and whether
//! or not a Redis is there, by one reader for all who wait. A key that opens nothing never will again, so its row is read
//! once a minute only, however often it is presented.

use std::{
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use moka::{future::Cache, policy::EvictionPolicy, sync::Cache as SyncCache};
use tokio::time::timeout;

use super::{
    ApiKeyRecord, ApiKeyStore, Environment, HashFailure, Hasher, PlainKey, Standing, StoredKey,
    digest::Digest,
};
use crate::{
    clock::{Clock, UnixMs},
    ids::ApiKeyId,
    store_error::StoreError,
};

/// How many keys are remembered; the one that was not used for longest is forgotten for another. Only keys that were made
/// here are ever remembered.
const MAX_REMEMBERED: u64 = 10_000;
/// How long a row is taken to be as it was read.
const FRESH_FOR: Duration = Duration::from_millis(900);
/// How long a row stands while the database cannot say otherwise, and how long one that opens nothing is not read again.
const STANDS_FOR: Duration = Duration::from_mins(1);
/// How long a reading is waited for where there is a row that stands. It goes on all the same, for the next request.
const PATIENCE: Duration = Duration::from_secs(1);
/// How long a reading may take: longer than a store takes to give up by itself.
const READ_TIMEOUT: Duration = Duration::from_secs(15);
/// How often a row is read for one check: again where bcrypt's turn came late, and once more if the hash is another then.
const READINGS: u32 = 3;
/// How many keys are known to have ended here: those of the last minute matter.
const MAX_ENDED: u64 = 10_000;

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
    store: Arc<dyn ApiKeyStore>,
    hasher: Arc<Hasher>,
    environment: Environment,
    clock: Arc<dyn Clock>,
    changes: Changes,
}

/// What this instance changed itself.
#[derive(Debug)]
struct Changes {
    /// Counts them: what was read before holds no longer.
    count: AtomicU64,
    /// Keys that it ended. Should their rows not be read again, nothing that was read before the change makes them good.
    ended: SyncCache<ApiKeyId, Ended>,
}

/// When a key ends, and which change said so.
#[derive(Clone, Copy, Debug)]
struct Ended {
    at: UnixMs,
    change: u64,
}

impl Changes {
    fn new() -> Self {
        let ended = SyncCache::builder().max_capacity(MAX_ENDED).time_to_live(2 * STANDS_FOR).build();
        Self { count: AtomicU64::new(0), ended }
    }

    fn count(&self) -> u64 {
        self.count.load(Ordering::SeqCst)
    }

    fn ended(&self, keys: &[ApiKeyId], at: UnixMs) {
        let change = self.count.fetch_add(1, Ordering::SeqCst) + 1;
        for key in keys {
            // Of several ends the first stands.
            self.ended.entry_by_ref(key).and_upsert_with(|told| {
                let at = told.map_or(at, |told| told.into_value().at.min(at));
                Ended { at, change }
            });
        }
    }

    /// Whether the key has ended by a change that came after those that `changes` counts.
    fn has_ended(&self, key: &ApiKeyId, changes: u64, now: UnixMs) -> bool {
        self.ended.get(key).is_some_and(|ended| ended.change > changes && ended.at <= now)
    }
}

/// The place of one key.
struct Slot {
    digest: Digest,
    seen: Mutex<Option<Seen>>,
    /// How many readings were begun.
    begun: AtomicU64,
    /// Held by whoever reads.
    reading: Arc<tokio::sync::Mutex<()>>,
    /// Whether the row was read and bcrypt is at work.
    hashing: AtomicBool,
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
    changes: u64,
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
        self.reader.changes.count.fetch_add(1, Ordering::SeqCst);
    }

    /// Has these keys end at this moment, also where their rows cannot be read anew.
    pub fn ended(&self, keys: &[ApiKeyId], at: UnixMs) {
        self.reader.changes.ended(keys, at);
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
        let standing = slot.seen().filter(|seen| reader.judge(seen, now).is_ok());
        let reading = read_in_turn(Arc::clone(reader), Arc::clone(&slot), key, now);
        let Some(standing) = standing else { return reading.await };
        tokio::pin!(reading);
        if let Ok(result) = timeout(PATIENCE, &mut reading).await {
            return result;
        }
        if slot.hashing.load(Ordering::SeqCst) {
            // The database has answered, and it is another row than the one that stands.
            return reading.await;
        }
        let now = reader.clock.now();
        slot.put_off(&standing, reader.changes.count(), now);
        reader.judge(&standing, now)
    }
}

/// Waits for who is reading, or for the turn to read. `asked` is when.
async fn read_in_turn(
    reader: Arc<Reader>,
    slot: Arc<Slot>,
    key: PlainKey,
    asked: UnixMs,
) -> Result<Option<ApiKeyRecord>, KeyCheckError> {
    let begun_before = slot.begun.load(Ordering::SeqCst);
    let turn = Arc::clone(&slot.reading).lock_owned().await;
    // A reading that began after this one asked is as good as its own.
    let shared = |seen: &Seen| seen.number > begun_before || reader.is_fresh(seen, asked);
    if let Some(seen) = slot.seen().filter(shared) {
        return reader.judge(&seen, reader.clock.now());
    }
    // In a task of its own: a caller who hangs up, or does not wait, must not stop it for the others.
    let reading = tokio::spawn(async move {
        let result = reader.read(&slot, &key).await;
        drop(turn);
        result
    });
    reading.await.map_err(HashFailure::from)?
}

impl Slot {
    fn new(digest: Digest) -> Self {
        Self {
            digest,
            seen: Mutex::default(),
            begun: AtomicU64::new(0),
            reading: Arc::default(),
            hashing: AtomicBool::new(false),
        }
    }

    fn seen(&self) -> Option<Seen> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Has what stands do for a while, since the reading takes long; unless that has come to its end.
    fn put_off(&self, standing: &Seen, changes: u64, now: UnixMs) {
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(seen) = seen.as_mut().filter(|seen| seen.number == standing.number) {
            (seen.changes, seen.at) = (changes, now);
        }
    }
}

impl Reader {
    pub fn new(
        store: Arc<dyn ApiKeyStore>,
        hasher: Arc<Hasher>,
        environment: Environment,
        clock: Arc<dyn Clock>,
    ) -> Self {
        Self { store, hasher, environment, clock, changes: Changes::new() }
    }

    fn is_fresh(&self, seen: &Seen, now: UnixMs) -> bool {
        seen.found.as_ref().is_some_and(|found| found.is_final(now))
            || seen.changes == self.changes.count() && is_within(seen.at, now, FRESH_FOR)
    }

    fn judge(&self, seen: &Seen, now: UnixMs) -> Result<Option<ApiKeyRecord>, KeyCheckError> {
        let stands = |found: &&Found| is_within(found.at, now, STANDS_FOR);
        let found = seen.found.as_ref().filter(stands).ok_or(KeyCheckError::Away)?;
        let opens = |row: &&Arc<StoredKey>| {
            found.matches == Some(true)
                && self.opens(row, now)
                && !self.changes.has_ended(&row.record.id, found.changes, now)
        };
        Ok(found.row.as_ref().filter(opens).map(|row| row.record.clone()))
    }

    fn opens(&self, row: &StoredKey, now: UnixMs) -> bool {
        row.record.environment == self.environment && row.record.standing(now) == Standing::Active
    }

    /// Reads the row and keeps what it found.
    async fn read(&self, slot: &Slot, key: &PlainKey) -> Result<Option<ApiKeyRecord>, KeyCheckError> {
        let number = slot.begun.fetch_add(1, Ordering::SeqCst) + 1;
        let changes = self.changes.count();
        let before = slot.seen().and_then(|seen| seen.found);
        let result = self.find(key, before.clone(), &slot.hashing).await;
        slot.hashing.store(false, Ordering::SeqCst);
        let now = self.clock.now();
        let (seen, failure) = match result {
            Ok(found) => {
                let (changes, at) = (found.changes, found.at);
                (Seen { number, changes, at, found: Some(found) }, None)
            }
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

    async fn find(
        &self,
        key: &PlainKey,
        mut before: Option<Found>,
        hashing: &AtomicBool,
    ) -> Result<Found, KeyCheckError> {
        for _ in 0..READINGS {
            let (at, changes) = (self.clock.now(), self.changes.count());
            let read = timeout(READ_TIMEOUT, self.store.key_by_prefix(key.prefix())).await;
            let row = read.map_err(|_| KeyCheckError::Away)??.map(Arc::new);
            let Some(opens) = row.as_ref().filter(|row| self.opens(row, at)) else {
                return Ok(Found { at, changes, row, matches: None });
            };
            if let Some(matches) = before.as_ref().and_then(|before| before.verdict_on(opens)) {
                return Ok(Found { at, changes, row, matches: Some(matches) });
            }
            hashing.store(true, Ordering::SeqCst);
            let matches = Some(self.hasher.matches(key, &opens.hash).await?);
            let found = Found { at, changes, row, matches };
            if self.changes.count() == changes && is_within(at, self.clock.now(), FRESH_FOR) {
                return Ok(found);
            }
            // It had to wait for its turn, and the key may have ended meanwhile.
            before = Some(found);
        }
        Err(KeyCheckError::Away)
    }
}

impl Found {
    /// Whether the row was revoked, expired, or not there: a key is shown after its row is committed, so one that is
    /// presented is not about to get one.
    fn is_final(&self, now: UnixMs) -> bool {
        self.matches.is_none() && is_within(self.at, now, STANDS_FOR)
    }

    /// What bcrypt said, if it was asked about the same hash.
    fn verdict_on(&self, row: &StoredKey) -> Option<bool> {
        self.matches.filter(|_| self.row.as_ref().is_some_and(|before| before.hash == row.hash))
    }
}

/// Whether `at` is less than `span` ago. What seems to lie ahead is not: the clock was set back since.
fn is_within(at: UnixMs, now: UnixMs, span: Duration) -> bool {
    at <= now && now < at + span
}

#[cfg(test)]
mod tests {
    use super::Changes;
    use crate::{clock::UnixMs, ids::ApiKeyId};

    #[test]
    fn a_key_ends_when_the_first_of_its_ends_has_come() {
        let changes = Changes::new();
        let [revoked, rotated] = ["key_1", "key_2"].map(|id| ApiKeyId::from_stored(id.to_owned()));
        for (key, ends) in [(&revoked, [10, 3600]), (&rotated, [3600, 10])] {
            for at in ends {
                changes.ended(std::slice::from_ref(key), UnixMs(at));
            }
            assert!(!changes.has_ended(key, 0, UnixMs(9)));
            assert!(changes.has_ended(key, 0, UnixMs(10)), "{ends:?}");
        }
        assert!(!changes.has_ended(&revoked, changes.count(), UnixMs(3600)), "its row was read since");
    }
}

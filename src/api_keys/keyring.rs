//! The keys of `VALID_API_KEYS`: hashed with bcrypt when the service starts, the plain text dropped.
//!
//! bcrypt takes a quarter of a second on purpose, so it runs off the async threads, on a bounded number of threads,
//! and once per good key: a key that has passed is remembered by a digest that is worth nothing outside this process.

use std::{
    fmt,
    sync::{Arc, OnceLock},
};

use secrecy::{ExposeSecret, SecretString};
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;
use tokio::sync::Semaphore;

use super::Caller;
use crate::ids::Entropy;

/// bcrypt's work factor.
const BCRYPT_COST: u32 = 12;
/// How many bcrypt runs there may be at a time.
const BCRYPT_THREADS: usize = 2;
/// How much of a key is public: enough to tell keys apart, and to find one in the log.
const PREFIX_LENGTH: usize = 12;

/// The shortest key accepted, in bytes.
pub const MIN_KEY_LENGTH: usize = 24;
/// The longest key accepted, in bytes: bcrypt reads no more than 72.
pub const MAX_KEY_LENGTH: usize = 72;

/// A plain API key. Never printed.
#[derive(Clone, Debug)]
pub struct ApiKey(SecretString);

/// Why a text cannot be an API key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("an API key has {MIN_KEY_LENGTH} to {MAX_KEY_LENGTH} visible ASCII characters")]
pub struct InvalidApiKey;

impl ApiKey {
    /// # Errors
    /// When the length or a character is out of range.
    pub fn new(text: &str) -> Result<Self, InvalidApiKey> {
        let fits = (MIN_KEY_LENGTH..=MAX_KEY_LENGTH).contains(&text.len());
        let visible = text.bytes().all(|byte| byte.is_ascii_graphic());
        (fits && visible).then(|| Self(text.into())).ok_or(InvalidApiKey)
    }

    fn prefix(&self) -> &str {
        &self.0.expose_secret()[..PREFIX_LENGTH]
    }
}

/// Why keys cannot be checked now.
#[derive(Debug, thiserror::Error)]
#[error("API keys could not be checked")]
pub struct KeyRingError(#[source] Box<dyn std::error::Error + Send + Sync>);

/// The keys that open the service.
pub struct KeyRing {
    entries: Vec<Arc<Entry>>,
    bcrypt_slots: Arc<Semaphore>,
    digest_secret: [u8; 32],
}

struct Entry {
    prefix: String,
    caller: Caller,
    hash: String,
    /// Digest of the plain key, once it has passed bcrypt.
    remembered: OnceLock<[u8; 32]>,
}

impl KeyRing {
    /// Hashes the keys, off the async threads.
    ///
    /// # Errors
    /// When bcrypt fails, or two keys share their public prefix.
    pub async fn hash(keys: Vec<ApiKey>, entropy: &dyn Entropy) -> Result<Self, KeyRingError> {
        let mut digest_secret = [0; 32];
        entropy.fill(&mut digest_secret);
        let mut hashing = Vec::new();
        for key in keys {
            hashing.push(tokio::task::spawn_blocking(move || {
                let hash = bcrypt::hash(key.0.expose_secret(), BCRYPT_COST)?;
                Ok::<_, bcrypt::BcryptError>(Arc::new(Entry {
                    prefix: key.prefix().to_owned(),
                    caller: Caller { user: format!("key:{}", key.prefix()), recipients: Vec::new() },
                    hash,
                    remembered: OnceLock::new(),
                }))
            }));
        }
        let mut entries: Vec<Arc<Entry>> = Vec::new();
        for task in hashing {
            let entry = task
                .await
                .map_err(|error| KeyRingError(error.into()))?
                .map_err(|error| KeyRingError(error.into()))?;
            if entries.iter().any(|other| other.prefix == entry.prefix) {
                return Err(KeyRingError(format!("two API keys start with {}", entry.prefix).into()));
            }
            entries.push(entry);
        }
        Ok(Self { entries, bcrypt_slots: Arc::new(Semaphore::new(BCRYPT_THREADS)), digest_secret })
    }

    /// Who the key belongs to; `None` for a key that opens nothing.
    ///
    /// # Errors
    /// When the check could not be made, which says nothing about the key.
    pub async fn caller(&self, presented: &str) -> Result<Option<Caller>, KeyRingError> {
        let Ok(key) = ApiKey::new(presented) else { return Ok(None) };
        let Some(entry) = self.entries.iter().find(|entry| entry.prefix == key.prefix()) else {
            return Ok(None);
        };
        let digest = self.digest(&key);
        if let Some(known) = entry.remembered.get() {
            return Ok(bool::from(known.ct_eq(&digest)).then(|| entry.caller.clone()));
        }
        let slots = Arc::clone(&self.bcrypt_slots);
        let slot = slots.acquire_owned().await.map_err(|error| KeyRingError(error.into()))?;
        if let Some(known) = entry.remembered.get() {
            // Another request with the same key was checked meanwhile.
            return Ok(bool::from(known.ct_eq(&digest)).then(|| entry.caller.clone()));
        }
        let stored = Arc::clone(entry);
        let checked = tokio::task::spawn_blocking(move || {
            // Held until bcrypt is done, also when the caller is gone by then.
            let _slot = slot;
            bcrypt::verify(key.0.expose_secret(), &stored.hash)
        });
        let good = checked
            .await
            .map_err(|error| KeyRingError(error.into()))?
            .map_err(|error| KeyRingError(error.into()))?;
        if !good {
            return Ok(None);
        }
        entry.remembered.get_or_init(|| digest);
        Ok(Some(entry.caller.clone()))
    }

    fn digest(&self, key: &ApiKey) -> [u8; 32] {
        Sha256::new().chain_update(self.digest_secret).chain_update(key.0.expose_secret()).finalize().into()
    }
}

/// Silent about hashes and digests.
impl fmt::Debug for KeyRing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KeyRing").field("keys", &self.entries.len()).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use futures_util::future::join_all;
    use tokio::time::Instant;

    use super::{ApiKey, KeyRing};
    use crate::ids::OsEntropy;

    #[tokio::test]
    async fn only_the_whole_key_opens() {
        let key = format!("sk_test_{}", "a".repeat(40));
        let ring = KeyRing::hash(vec![ApiKey::new(&key).unwrap()], &OsEntropy).await.unwrap();
        let caller = ring.caller(&key).await.unwrap().expect("the key is good");
        assert_eq!(ring.caller(&key).await.unwrap(), Some(caller), "and stays good once remembered");
        assert_eq!(ring.caller(&format!("{key}a")).await.unwrap(), None);
        assert_eq!(ring.caller(&key[..key.len() - 1]).await.unwrap(), None);
        assert_eq!(ring.caller("").await.unwrap(), None);
        assert_eq!(ring.caller(&"x".repeat(5000)).await.unwrap(), None);
        assert!(!format!("{ring:?}").contains("aaaa"));
    }

    #[tokio::test]
    async fn many_first_uses_at_once_cost_a_few_checks() {
        let keys = ["sk_test_one_0123456789abcdef", "sk_test_two_0123456789abcdef"];
        let parsed = keys.map(|key| ApiKey::new(key).unwrap()).to_vec();
        let ring = KeyRing::hash(parsed, &OsEntropy).await.unwrap();
        let started = Instant::now();
        assert!(ring.caller(keys[0]).await.unwrap().is_some());
        let one_check = started.elapsed();
        let started = Instant::now();
        let callers = join_all((0..64).map(|_| ring.caller(keys[1]))).await;
        assert!(callers.into_iter().all(|caller| caller.unwrap().is_some()));
        assert!(started.elapsed() < 10 * one_check, "{:?} and {one_check:?}", started.elapsed());
    }

    #[test]
    fn a_key_past_bcrypts_limit_is_refused() {
        assert!(ApiKey::new(&"k".repeat(72)).is_ok());
        assert!(ApiKey::new(&"k".repeat(73)).is_err());
        assert!(ApiKey::new("short").is_err());
        assert!(ApiKey::new(&format!("{}\n", "k".repeat(30))).is_err());
    }
}

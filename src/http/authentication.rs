//! Who calls: the key a request presents, checked once, and what handlers see of it.

use std::{
    collections::HashSet,
    hash::{BuildHasher, RandomState},
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use axum::{
    extract::{FromRequestParts, OptionalFromRequestParts},
    http::{HeaderMap, request::Parts},
};
use tokio::{sync::Semaphore, time::timeout};

use super::{error::ApiError, router::AppState};
use crate::api_keys::Caller;

/// How long checking a key may take, waiting for its turn included.
const CHECK_TIMEOUT: Duration = Duration::from_secs(30);
/// How many good keys are known at a time.
const MAX_GOOD_KEYS: usize = 10_000;

/// Whose key the request presents; `None` where it presents none. `suspect`: its address has shown so many bad keys that
/// it may show no more now.
pub(super) async fn authenticate(
    state: &AppState,
    headers: &HeaderMap,
    suspect: bool,
) -> Result<Option<Caller>, ApiError> {
    let Some(key) = presented_key(headers)? else { return Ok(None) };
    let checks = &state.key_checks;
    let _turn = if suspect && !checks.known(&key) {
        Some(checks.suspects.try_acquire().map_err(|_| ApiError::rate_limited(1))?)
    } else {
        None
    };
    let checked = timeout(CHECK_TIMEOUT, state.keys.caller(&key)).await;
    let caller = checked.map_err(|_| ApiError::timed_out())??;
    checks.learn(&key, caller.is_some());
    caller.map(Some).ok_or_else(|| ApiError::unauthorized("the API key is not valid"))
}

/// What keeps a flood of bad keys cheap. Checking a key that was not good before may take a quarter of a second of
/// bcrypt, and still a right key must be let in from an address that has sent too many bad ones. So such addresses, all
/// together, have one key checked at a time; keys that were good before need not wait for that.
#[derive(Debug)]
pub struct KeyChecks {
    /// Digests of keys that were good when they were last seen. They are worth nothing outside this process, and two
    /// keys with the same one would do no harm.
    good: Mutex<HashSet<u64>>,
    digest: RandomState,
    suspects: Semaphore,
}

impl Default for KeyChecks {
    fn default() -> Self {
        Self { good: Mutex::default(), digest: RandomState::new(), suspects: Semaphore::new(1) }
    }
}

impl KeyChecks {
    fn good(&self) -> MutexGuard<'_, HashSet<u64>> {
        self.good.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn known(&self, key: &str) -> bool {
        self.good().contains(&self.digest.hash_one(key))
    }

    fn learn(&self, key: &str, is_good: bool) {
        let digest = self.digest.hash_one(key);
        let mut good = self.good();
        if !is_good {
            good.remove(&digest);
        } else if good.len() < MAX_GOOD_KEYS || good.contains(&digest) {
            good.insert(digest);
        }
    }
}

/// A handler that takes a [`Caller`] is closed to requests without a key; one that takes an `Option` is open. Bad keys
/// are refused before any handler.
impl<S: Send + Sync> FromRequestParts<S> for Caller {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Self, ApiError> {
        parts.extensions.get::<Self>().cloned().ok_or_else(|| {
            ApiError::unauthorized("an API key is required: send it as Authorization: Bearer or X-API-Key")
        })
    }
}

impl<S: Send + Sync> OptionalFromRequestParts<S> for Caller {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Option<Self>, ApiError> {
        Ok(parts.extensions.get::<Self>().cloned())
    }
}

fn presented_key(headers: &HeaderMap) -> Result<Option<String>, ApiError> {
    let unreadable = || ApiError::unauthorized("the API key is not valid");
    let text =
        |name: &str| headers.get(name).map(|value| value.to_str().map_err(|_| unreadable())).transpose();
    let bearer = match text("authorization")? {
        None => None,
        Some(value) => {
            let (scheme, key) = value.split_once(' ').ok_or_else(unreadable)?;
            if !scheme.eq_ignore_ascii_case("bearer") {
                return Err(unreadable());
            }
            Some(key.trim())
        }
    };
    match (bearer, text("x-api-key")?) {
        (Some(bearer), Some(header)) if bearer != header => {
            Err(ApiError::unauthorized("Authorization and X-API-Key hold different keys: send one"))
        }
        (bearer, header) => Ok(bearer.or(header).map(str::to_owned)),
    }
}

#[cfg(test)]
mod tests {
    use super::{KeyChecks, MAX_GOOD_KEYS};

    #[test]
    fn good_keys_are_known_until_they_are_bad() {
        let checks = KeyChecks::default();
        assert!(!checks.known("a"));
        checks.learn("a", true);
        checks.learn("b", false);
        assert!(checks.known("a") && !checks.known("b"));
        checks.learn("a", false);
        assert!(!checks.known("a"));
    }

    #[test]
    fn no_more_keys_are_known_than_there_is_room_for() {
        let checks = KeyChecks::default();
        for number in 0..=MAX_GOOD_KEYS {
            checks.learn(&number.to_string(), true);
        }
        assert!(checks.known("0") && !checks.known(&MAX_GOOD_KEYS.to_string()));
    }
}

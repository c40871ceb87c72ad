//! Who calls: the key a request presents, checked once, and what handlers see of it.

use axum::{
    extract::{FromRequestParts, OptionalFromRequestParts},
    http::{HeaderMap, request::Parts},
};
use secrecy::{ExposeSecret, SecretString};

use super::{
    error::{ApiError, INVALID_KEY},
    router::AppState,
};
use crate::api_keys::Caller;

/// Whose key the request presents; `None` where it presents none.
pub(super) async fn authenticate(state: &AppState, headers: &HeaderMap) -> Result<Option<Caller>, ApiError> {
    let Some(key) = presented_key(headers)? else { return Ok(None) };
    let caller = state.keys.caller(key.expose_secret()).await?;
    caller.map(Some).ok_or_else(|| ApiError::unauthorized(INVALID_KEY))
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

/// Whether it presents anything as a key.
pub(super) fn presents_key(headers: &HeaderMap) -> bool {
    headers.contains_key("authorization") || headers.contains_key("x-api-key")
}

fn presented_key(headers: &HeaderMap) -> Result<Option<SecretString>, ApiError> {
    let unreadable = || ApiError::unauthorized(INVALID_KEY);
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
        (bearer, header) => Ok(bearer.or(header).map(SecretString::from)),
    }
}

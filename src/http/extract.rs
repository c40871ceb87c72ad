//! What handlers ask of a request: a JSON body, who calls, which page.

use std::{
    net::{IpAddr, Ipv4Addr},
    sync::Arc,
    time::Duration,
};

use axum::{
    body::Bytes,
    extract::{FromRef, FromRequest, FromRequestParts, OptionalFromRequestParts, Path, Query, Request},
    http::{Extensions, HeaderMap, StatusCode, header, request::Parts},
    response::IntoResponse,
};
use serde::Deserialize;
use tokio::time::timeout;
use validator::Validate;

use super::error::ApiError;
use crate::{
    api_keys::{Authenticator, Caller},
    input::FieldErrors,
};

/// How long a body may take to arrive.
const BODY_TIMEOUT: Duration = Duration::from_secs(10);

/// A body sent as JSON, not yet parsed.
pub(super) struct JsonBody(pub Bytes);

impl<S: Send + Sync> FromRequest<S> for JsonBody {
    type Rejection = ApiError;

    async fn from_request(request: Request, state: &S) -> Result<Self, ApiError> {
        if !is_json(request.headers()) {
            return Err(ApiError::unsupported_media_type());
        }
        let read = timeout(BODY_TIMEOUT, Bytes::from_request(request, state)).await;
        match read.map_err(|_| ApiError::body_too_slow())? {
            Ok(body) => Ok(Self(body)),
            Err(rejection) => Err(match rejection.into_response().status() {
                StatusCode::PAYLOAD_TOO_LARGE => ApiError::body_too_large(),
                _ => ApiError::body_unreadable(),
            }),
        }
    }
}

fn is_json(headers: &HeaderMap) -> bool {
    let content_type = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or("");
    let essence = content_type.split(';').next().unwrap_or("").trim();
    essence.eq_ignore_ascii_case("application/json")
}

/// A handler that takes a [`Caller`] is closed to requests without a good key; one that takes an `Option` is open,
/// but a bad key is refused all the same.
impl<S> FromRequestParts<S> for Caller
where
    S: Send + Sync,
    Arc<Authenticator>: FromRef<S>,
{
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, ApiError> {
        let caller = <Self as OptionalFromRequestParts<S>>::from_request_parts(parts, state).await?;
        caller.ok_or_else(|| {
            ApiError::unauthorized("an API key is required: send it as Authorization: Bearer or X-API-Key")
        })
    }
}

impl<S> OptionalFromRequestParts<S> for Caller
where
    S: Send + Sync,
    Arc<Authenticator>: FromRef<S>,
{
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Option<Self>, ApiError> {
        let Some(key) = presented_key(&parts.headers)? else { return Ok(None) };
        let keys = Arc::<Authenticator>::from_ref(state);
        let caller = keys.caller(&key).await?;
        caller.map(Some).ok_or_else(|| ApiError::unauthorized("the API key is not valid"))
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

/// The address a connection comes from.
#[derive(Clone, Copy, Debug)]
pub(super) struct Peer(pub IpAddr);

impl Peer {
    /// Every connection has one; without a connection it is nobody.
    pub(super) fn of(extensions: &Extensions) -> IpAddr {
        extensions.get::<Self>().map_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED), |peer| peer.0)
    }
}

/// The one name in a path. One that is not text names nothing.
pub(super) struct PathName(pub String);

impl<S: Send + Sync> FromRequestParts<S> for PathName {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, ApiError> {
        let Path(name) = <Path<String> as FromRequestParts<S>>::from_request_parts(parts, state)
            .await
            .map_err(|_| ApiError::not_found("this path"))?;
        Ok(Self(name))
    }
}

/// Which part of a list is wanted.
#[derive(Clone, Copy, Debug, Deserialize, Validate)]
pub(super) struct Page {
    /// 1 to 200.
    #[serde(default = "Page::default_limit")]
    #[validate(range(min = 1, max = 200, message = "must be a whole number from 1 to 200"))]
    pub limit: u32,
    /// How many to leave out at the start.
    #[serde(default)]
    #[validate(range(max = 1_000_000, message = "must be a whole number from 0 to 1000000"))]
    pub offset: u32,
}

impl Page {
    const fn default_limit() -> u32 {
        50
    }
}

impl<S: Send + Sync> FromRequestParts<S> for Page {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Self, ApiError> {
        let Query(page) = Query::<Self>::try_from_uri(&parts.uri).map_err(|rejection| {
            FieldErrors::one(
                "query",
                format!("limit and offset are whole numbers: {}", rejection.body_text()),
            )
        })?;
        page.validate().map_err(|problems| {
            let mut errors = FieldErrors::default();
            for (field, problems) in problems.field_errors() {
                for problem in problems {
                    errors.add(&field, problem.message.clone().unwrap_or_default());
                }
            }
            ApiError::from(errors)
        })?;
        Ok(page)
    }
}

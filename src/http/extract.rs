//! What handlers ask of a request: a JSON body, a name, which page. Who calls is in `authentication`.

use std::time::Duration;

use axum::{
    body::Bytes,
    extract::{FromRequest, FromRequestParts, Path, Query, Request},
    http::{HeaderMap, StatusCode, header, request::Parts},
    response::IntoResponse,
};
use serde::Deserialize;
use tokio::time::timeout;
use validator::Validate;

use super::error::ApiError;
use crate::input::FieldErrors;

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

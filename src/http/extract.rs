//! What handlers ask of a request: a JSON body, a name, which page. Who calls is in `authentication`.

use axum::{
    extract::{FromRequestParts, Path, Query},
    http::request::Parts,
};
use serde::{Deserialize, de::DeserializeOwned};
use utoipa::IntoParams;
use validator::Validate;

pub(super) use super::body::JsonBody;
use super::error::ApiError;
use crate::input::FieldErrors;

/// The one name in a path. One that is not text, or holds a character that no name has, names nothing.
pub(super) struct PathName(pub String);

impl<S: Send + Sync> FromRequestParts<S> for PathName {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, ApiError> {
        let Path(name) = <Path<String> as FromRequestParts<S>>::from_request_parts(parts, state)
            .await
            .map_err(|_| ApiError::not_found("this path"))?;
        if name.chars().any(char::is_control) {
            return Err(ApiError::not_found("this path"));
        }
        Ok(Self(name))
    }
}

/// What is asked for behind the `?`, as text: each question reads its own.
pub(super) struct Parameters<T>(pub T);

impl<S: Send + Sync, T: DeserializeOwned> FromRequestParts<S> for Parameters<T> {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Self, ApiError> {
        let Query(parameters) = Query::<T>::try_from_uri(&parts.uri).map_err(|rejection| {
            FieldErrors::one("query", format!("cannot be read: {}", rejection.body_text()))
        })?;
        Ok(Self(parameters))
    }
}

/// Which part of a list is wanted.
#[derive(Clone, Copy, Debug, Deserialize, IntoParams, Validate)]
#[into_params(parameter_in = Query)]
pub(super) struct Page {
    /// How many to list, 1 to 200.
    #[param(minimum = 1, maximum = 200, default = 50)]
    #[serde(default = "Page::default_limit")]
    #[validate(range(min = 1, max = 200, message = "must be a whole number from 1 to 200"))]
    pub limit: u32,
    /// How many to leave out at the start, 0 to 1000000.
    #[param(maximum = 1_000_000, default = 0)]
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

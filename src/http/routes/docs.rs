//! `GET /openapi.json`, and `GET /docs` to read it with. Public.

use std::{
    borrow::Cow,
    sync::{Arc, LazyLock},
};

use axum::{
    Extension,
    http::{HeaderValue, header},
    response::{IntoResponse, Redirect, Response},
};
use utoipa_swagger_ui::Config;

use crate::http::{
    error::ApiError, extract::PathName, headers::PAGE_CONTENT_POLICY, load::ThereOnce, openapi::openapi_json,
};

/// Whatever this page is shown with comes from this service: no validator of somebody else's is asked.
static PAGE: LazyLock<Arc<Config<'static>>> = LazyLock::new(|| {
    let config = Config::new(["/openapi.json"]).validator_url("none").use_base_layout();
    Arc::new(config.display_operation_id(true).deep_linking(true).default_models_expand_depth(0))
});

/// This document.
#[utoipa::path(
    get,
    path = "/openapi.json",
    operation_id = "getOpenApi",
    tag = "Operations",
    responses((status = 200, description = "OpenAPI 3.1.", body = Object)),
)]
pub(in crate::http) async fn openapi() -> impl IntoResponse {
    (Extension(ThereOnce), [(header::CONTENT_TYPE, "application/json")], openapi_json())
}

pub(in crate::http) async fn docs() -> Redirect {
    Redirect::permanent("/docs/")
}

pub(in crate::http) async fn docs_page() -> Result<Response, ApiError> {
    file("")
}

pub(in crate::http) async fn docs_file(PathName(name): PathName) -> Result<Response, ApiError> {
    file(&name)
}

/// A file of the page; the page itself where none is named.
fn file(name: &str) -> Result<Response, ApiError> {
    let file = utoipa_swagger_ui::serve(name, Arc::clone(&PAGE)).map_err(|error| {
        tracing::error!(error = &*error, "the page for the OpenAPI document cannot be made");
        ApiError::internal()
    })?;
    let file = file.ok_or_else(|| ApiError::not_found("this file"))?;
    let content_type = HeaderValue::try_from(file.content_type).map_err(|_| ApiError::internal())?;
    let headers = [(header::CONTENT_TYPE, content_type), PAGE_CONTENT_POLICY];
    Ok(match file.bytes {
        Cow::Borrowed(bytes) => (Extension(ThereOnce), headers, bytes).into_response(),
        Cow::Owned(bytes) => (headers, bytes).into_response(),
    })
}

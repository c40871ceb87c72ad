//! Around every request: its id, its span in the log, its metrics.

use std::sync::Arc;

use axum::{
    extract::{MatchedPath, Request, State},
    http::{HeaderName, HeaderValue},
    middleware::Next,
    response::Response,
};
use tokio::time::Instant;
use tracing::Instrument;

use super::{error::ErrorCode, router::AppState};
use crate::ids::RequestId;

const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
/// Longest id a caller may bring along.
const MAX_REQUEST_ID: usize = 64;

/// What every answer to a request may have to tell.
#[derive(Clone, Debug, Default)]
struct Current {
    request_id: String,
    livemode: bool,
}

tokio::task_local! {
    static CURRENT: Current;
}

/// The id of the request this task answers.
pub(super) fn current_request_id() -> String {
    CURRENT.try_with(|current| current.request_id.clone()).unwrap_or_default()
}

/// Whether real money moves here: objects say so.
pub(super) fn livemode() -> bool {
    CURRENT.try_with(|current| current.livemode).unwrap_or_default()
}

/// Work for the request this task answers, to be run in a task of its own.
pub(super) fn for_current_request<T>(work: impl Future<Output = T>) -> impl Future<Output = T> {
    CURRENT.scope(CURRENT.try_with(Clone::clone).unwrap_or_default(), work)
}

/// Outermost layer: everything inside knows the request's id, every answer carries it.
pub(super) async fn observe(State(state): State<AppState>, request: Request, next: Next) -> Response {
    let started = Instant::now();
    let id = request_id(&request, &state);
    let header = HeaderValue::from_str(&id).unwrap_or_else(|_| HeaderValue::from_static(""));
    let method = known_method(&request);
    let route = request
        .extensions()
        .get::<MatchedPath>()
        .map_or_else(|| Arc::from("unmatched"), |path| Arc::<str>::from(path.as_str()));
    let span = tracing::info_span!("request", id, method, route = &*route);

    let current = Current { request_id: id, livemode: state.key_environment.livemode() };
    let mut response = CURRENT.scope(current, next.run(request).instrument(span.clone())).await;

    let status = response.status();
    let elapsed = started.elapsed();
    state.metrics.http_request(method, &route, status.as_u16(), elapsed);
    let code = response.extensions().get::<ErrorCode>().map(|code| code.0);
    if let Some(code) = code {
        let kind = if status.is_server_error() { "server" } else { "client" };
        state.metrics.error(kind, code);
    }
    span.in_scope(|| {
        let elapsed_us = u64::try_from(elapsed.as_micros()).unwrap_or(u64::MAX);
        tracing::info!(status = status.as_u16(), code, elapsed_us, "answered");
    });
    response.headers_mut().insert(REQUEST_ID, header);
    response
}

/// The caller's own id where it is harmless, else a new one.
fn request_id(request: &Request, state: &AppState) -> String {
    request
        .headers()
        .get(REQUEST_ID)
        .and_then(|value| value.to_str().ok())
        .filter(|id| (1..=MAX_REQUEST_ID).contains(&id.len()))
        .filter(|id| id.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte)))
        .map_or_else(|| RequestId::new(state.clock.now(), state.entropy.as_ref()).to_string(), str::to_owned)
}

/// Methods are free text in HTTP; labels are not.
fn known_method(request: &Request) -> &'static str {
    match request.method().as_str() {
        "GET" => "GET",
        "HEAD" => "HEAD",
        "POST" => "POST",
        "PUT" => "PUT",
        "PATCH" => "PATCH",
        "DELETE" => "DELETE",
        "OPTIONS" => "OPTIONS",
        _ => "other",
    }
}

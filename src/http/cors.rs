//! Which pages in browsers may call the service.
//!
//! Keys travel in headers of their own, never in cookies, so no answer allows credentials.

use std::time::Duration;

use axum::{
    extract::{Request, State},
    http::{HeaderName, HeaderValue, Method, header},
    middleware::Next,
    response::Response,
};
use tower::{Layer, ServiceExt};
use tower_http::cors::{AllowOrigin, Any, CorsLayer};

/// How long a browser may remember what it was allowed.
const MAX_AGE: Duration = Duration::from_hours(1);
/// Every method a route has.
const METHODS: [Method; 5] = [Method::GET, Method::HEAD, Method::POST, Method::PATCH, Method::DELETE];
/// What callers send.
const REQUEST_HEADERS: [&str; 7] = [
    "authorization",
    "content-type",
    "idempotency-key",
    "payment-signature",
    "x-api-key",
    "x-payment",
    "x-request-id",
];
/// What pages may read of an answer, besides what they always may.
const RESPONSE_HEADERS: [&str; 6] = [
    "idempotent-replayed",
    "ratelimit-limit",
    "ratelimit-remaining",
    "ratelimit-reset",
    "retry-after",
    "x-request-id",
];

/// The rules for these origins; `*` is every one. `None` without any.
pub(super) fn rules(origins: &[String]) -> Option<CorsLayer> {
    if origins.is_empty() {
        return None;
    }
    let rules = CorsLayer::new()
        .allow_methods(METHODS)
        .allow_headers(REQUEST_HEADERS.map(HeaderName::from_static))
        .expose_headers(RESPONSE_HEADERS.map(HeaderName::from_static))
        .max_age(MAX_AGE);
    if origins.iter().any(|origin| origin == "*") {
        return Some(rules.allow_origin(Any));
    }
    let listed = origins.iter().filter_map(|origin| HeaderValue::from_str(origin).ok());
    Some(rules.allow_origin(AllowOrigin::list(listed)))
}

/// Answers preflights, and marks the answers that pages may read.
pub(super) async fn cors(State(rules): State<CorsLayer>, request: Request, next: Next) -> Response {
    // The layer would answer every OPTIONS request, browsers' or not.
    let preflight = request.headers().contains_key(header::ACCESS_CONTROL_REQUEST_METHOD);
    if request.method() == Method::OPTIONS && !preflight {
        return next.run(request).await;
    }
    let Ok(response) = rules.layer(next).oneshot(request).await;
    response
}

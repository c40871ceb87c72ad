//! Requests whose head leaves open what is meant. hyper refuses lengths that contradict each other; this, the rest.

use axum::{
    extract::Request,
    http::{HeaderMap, StatusCode, Version, header},
    middleware::Next,
    response::Response,
};

use super::error::ApiError;

/// A request of which nothing is known but that its head cannot be read, and the status that says why.
#[derive(Clone, Copy, Debug)]
pub(super) struct Unreadable(pub StatusCode);

/// Headers that say one thing. A proxy may have looked at the first line and this service at the last.
const SINGLE: [&str; 4] = ["Authorization", "Content-Type", "Idempotency-Key", "X-API-Key"];

/// Refuses heads that could not be read, HTTP/1.1 requests without a Host header or with several, as proxies may disagree about whom they are for, and
/// requests that say twice who asks or what is sent.
pub(super) async fn refuse_ambiguous(request: Request, next: Next) -> Result<Response, ApiError> {
    if let Some(&Unreadable(status)) = request.extensions().get() {
        return Err(ApiError::head_unreadable(status));
    }
    let hosts = lines(request.headers(), header::HOST.as_str());
    let needed = usize::from(request.version() == Version::HTTP_11);
    if hosts > 1 || hosts < needed {
        return Err(ApiError::host_missing());
    }
    if let Some(name) = SINGLE.into_iter().find(|name| lines(request.headers(), name) > 1) {
        return Err(ApiError::repeated_header(name));
    }
    Ok(next.run(request).await)
}

fn lines(headers: &HeaderMap, name: &str) -> usize {
    headers.get_all(name).iter().count()
}

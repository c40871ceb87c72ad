//! Requests whose head leaves open what is meant. hyper refuses lengths that contradict each other; this, the rest.

use axum::{
    extract::Request,
    http::{Version, header},
    middleware::Next,
    response::Response,
};

use super::error::ApiError;

/// Refuses HTTP/1.1 requests without a Host header or with several: proxies may disagree about whom they are for.
pub(super) async fn refuse_ambiguous(request: Request, next: Next) -> Result<Response, ApiError> {
    let hosts = request.headers().get_all(header::HOST).iter().count();
    let needed = usize::from(request.version() == Version::HTTP_11);
    if hosts > 1 || hosts < needed {
        return Err(ApiError::host_missing());
    }
    Ok(next.run(request).await)
}

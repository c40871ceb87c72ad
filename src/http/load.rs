//! Turning requests away before memory grows.
//!
//! Two bounds: how many requests are handled at a time, and how many bytes of their bodies are kept. Bytes count as they
//! arrive, not as they are announced, so that announcing much and sending little keeps nobody out. The start of every
//! body is free: large bodies that fill the room do not keep payments out, which are small.

use std::sync::Arc;

use axum::{
    extract::{Request, State},
    middleware::Next,
    response::Response,
};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::error::ApiError;

/// Requests handled at a time.
const MAX_REQUESTS: usize = 4096;
/// Bytes of bodies kept at a time, beyond what is free.
const MAX_BODY_BYTES: usize = 64 * 1024 * 1024;
/// How much of a body is free, in bytes: with [`MAX_REQUESTS`], another 64 MiB at most.
const FREE_BODY_BYTES: usize = 16 * 1024;
/// Paths that are answered whatever the load: the operator must be able to look.
const EXEMPT: [&str; 2] = ["/health", "/metrics"];

/// What is left of both bounds.
#[derive(Debug)]
pub struct Load {
    requests: Arc<Semaphore>,
    body_bytes: Arc<Semaphore>,
}

impl Load {
    fn with(requests: usize, body_bytes: usize) -> Self {
        Self {
            requests: Arc::new(Semaphore::new(requests)),
            body_bytes: Arc::new(Semaphore::new(body_bytes)),
        }
    }

    /// Room for a body of which nothing has arrived yet.
    pub(super) fn room(&self) -> Room {
        Room { body_bytes: Arc::clone(&self.body_bytes), taken: None }
    }
}

impl Default for Load {
    fn default() -> Self {
        Self::with(MAX_REQUESTS, MAX_BODY_BYTES)
    }
}

/// The room that one body takes. Dropping it gives it back.
#[derive(Debug)]
pub(super) struct Room {
    body_bytes: Arc<Semaphore>,
    taken: Option<OwnedSemaphorePermit>,
}

impl Room {
    /// Grows to a body of `bytes`.
    pub(super) fn grow(&mut self, bytes: usize) -> Result<(), ApiError> {
        let taken = self.taken.as_ref().map_or(0, OwnedSemaphorePermit::num_permits);
        let more = bytes.saturating_sub(FREE_BODY_BYTES).saturating_sub(taken);
        if more == 0 {
            return Ok(());
        }
        let more = u32::try_from(more).map_err(|_| ApiError::body_too_large())?;
        let more =
            Arc::clone(&self.body_bytes).try_acquire_many_owned(more).map_err(|_| ApiError::overloaded())?;
        match &mut self.taken {
            Some(taken) => taken.merge(more),
            taken => *taken = Some(more),
        }
        Ok(())
    }
}

/// Turns a request away where too many are being handled.
pub(super) async fn shed(
    State(load): State<Arc<Load>>,
    request: Request,
    next: Next,
) -> Result<Response, ApiError> {
    if EXEMPT.contains(&request.uri().path()) {
        return Ok(next.run(request).await);
    }
    let _slot = load.requests.try_acquire().map_err(|_| ApiError::overloaded())?;
    Ok(next.run(request).await)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use axum::{
        Router, body::Body, extract::Request, http::StatusCode, middleware::from_fn_with_state, routing::get,
    };
    use tokio::sync::Notify;
    use tower::ServiceExt;

    use super::{FREE_BODY_BYTES, Load, shed};

    #[test]
    fn room_is_given_back() {
        let load = Load::with(1, 100);
        let mut large = load.room();
        large.grow(FREE_BODY_BYTES).unwrap();
        large.grow(FREE_BODY_BYTES + 60).unwrap();
        large.grow(FREE_BODY_BYTES + 100).unwrap();
        let mut other = load.room();
        other.grow(FREE_BODY_BYTES).unwrap();
        assert!(other.grow(FREE_BODY_BYTES + 1).is_err());
        assert!(large.grow(FREE_BODY_BYTES + 101).is_err());
        drop(large);
        other.grow(FREE_BODY_BYTES + 100).unwrap();
    }

    #[tokio::test]
    async fn requests_beyond_the_bound_are_turned_away_until_others_end() {
        let load = Arc::new(Load::with(1, 0));
        let (began, end) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
        let slow = {
            let (began, end) = (Arc::clone(&began), Arc::clone(&end));
            async move || {
                began.notify_one();
                end.notified().await;
            }
        };
        let app = Router::new()
            .route("/slow", get(slow))
            .route("/quick", get(async || ()))
            .route("/health", get(async || ()))
            .layer(from_fn_with_state(load, shed));
        let ask = async |path: &str| {
            let request = Request::get(path).body(Body::empty()).unwrap();
            app.clone().oneshot(request).await.unwrap()
        };
        let running = tokio::spawn(app.clone().oneshot(Request::get("/slow").body(Body::empty()).unwrap()));
        began.notified().await;
        let refused = ask("/quick").await;
        assert_eq!(refused.status(), StatusCode::SERVICE_UNAVAILABLE);
        assert!(refused.headers().contains_key("retry-after"));
        assert_eq!(ask("/health").await.status(), StatusCode::OK);
        end.notify_one();
        assert_eq!(running.await.unwrap().unwrap().status(), StatusCode::OK);
        assert_eq!(ask("/quick").await.status(), StatusCode::OK);
    }
}

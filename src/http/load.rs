//! Turning requests away before memory grows.
//!
//! Three bounds: how many requests are handled at a time, how many bytes of their bodies are kept, and how many of their
//! answers. Bytes of bodies count as they arrive, not as they are announced, so that announcing much and sending little
//! keeps nobody out. The start of every body is free: large bodies that fill the room do not keep payments out, which are
//! small.
//!
//! Requests that present a key and those that do not have rooms of their own, and so have their answers, which wait for
//! clients to read them; and of both one caller has a share only. A request's place is free once its answer is there: what is
//! not read must not cost a place that others need. Small answers are free, errors among them, of which there are few for
//! each stream of a connection.

use std::sync::Arc;

use axum::{
    extract::{MatchedPath, Request, State},
    middleware::Next,
    response::Response,
};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::{admission::keys_matter, authentication::presents_key, error::ApiError};
use crate::shares::{Share, Shares};

/// Requests handled at a time: with a key, and as many without.
const MAX_REQUESTS: usize = 2048;
/// Of one caller.
const MAX_REQUESTS_EACH: usize = 1024;
/// Bytes of bodies kept at a time, beyond what is free.
const MAX_BODY_BYTES: usize = 64 * 1024 * 1024;
/// How much of a body is free, in bytes: with [`MAX_REQUESTS`], another 64 MiB at most.
const FREE_BODY_BYTES: usize = 16 * 1024;
/// Bytes of answers kept for clients that have not read them: all, and of one caller; with a key, and as many without.
const ANSWER_BYTES: (usize, usize) = (64 * 1024 * 1024, 16 * 1024 * 1024);
/// An answer of at most so many bytes is free.
const FREE_ANSWER_BYTES: usize = 4 * 1024;
/// Paths that are answered whatever the load: the operator must be able to look.
pub(super) const EXEMPT: [&str; 2] = ["/health", "/metrics"];

/// What is left of the bounds.
#[derive(Debug)]
pub struct Load {
    keyed: Semaphore,
    anonymous: Semaphore,
    callers: Arc<Shares>,
    body_bytes: Arc<Semaphore>,
    keyed_answers: Arc<Shares>,
    anonymous_answers: Arc<Shares>,
}

impl Load {
    fn with(requests: usize, body_bytes: usize, answer_bytes: (usize, usize)) -> Self {
        let answers = || Shares::new(answer_bytes.0, answer_bytes.1);
        Self {
            keyed: Semaphore::new(requests),
            anonymous: Semaphore::new(requests),
            callers: Shares::new(2 * requests, MAX_REQUESTS_EACH),
            body_bytes: Arc::new(Semaphore::new(body_bytes)),
            keyed_answers: answers(),
            anonymous_answers: answers(),
        }
    }

    /// One caller's place for a request.
    pub(super) fn share(&self, party: &str) -> Result<Share, ApiError> {
        self.callers.take(party).ok_or_else(ApiError::overloaded)
    }

    /// Room for an answer of `bytes` until the client has read it; `None` where it needs none.
    pub(super) fn answer_room(
        &self,
        party: &str,
        has_key: bool,
        bytes: u64,
    ) -> Result<Option<AnswerRoom>, ApiError> {
        let bytes = usize::try_from(bytes).unwrap_or(usize::MAX);
        if bytes <= FREE_ANSWER_BYTES {
            return Ok(None);
        }
        let answers = if has_key { &self.keyed_answers } else { &self.anonymous_answers };
        let room = answers.take_many(party, bytes).ok_or_else(ApiError::overloaded)?;
        Ok(Some(AnswerRoom(Arc::new(room))))
    }

    /// Room for a body of which nothing has arrived yet.
    pub(super) fn room(&self) -> Room {
        Room { body_bytes: Arc::clone(&self.body_bytes), taken: None }
    }
}

impl Default for Load {
    fn default() -> Self {
        Self::with(MAX_REQUESTS, MAX_BODY_BYTES, ANSWER_BYTES)
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

/// Marks an answer whose body is there once for all who ask, and takes no room.
#[derive(Clone, Copy, Debug)]
pub(super) struct ThereOnce;

/// The room that one answer takes. The connection holds it for as long as it holds the answer.
#[derive(Clone, Debug)]
pub(super) struct AnswerRoom(#[expect(dead_code, reason = "held, and given back when dropped")] Arc<Share>);

/// Turns a request away where too many are being handled.
pub(super) async fn shed(
    State(load): State<Arc<Load>>,
    request: Request,
    next: Next,
) -> Result<Response, ApiError> {
    if EXEMPT.contains(&request.uri().path()) {
        return Ok(next.run(request).await);
    }
    let route = request.extensions().get::<MatchedPath>().map(MatchedPath::as_str);
    // A key that nobody will look at opens no room.
    let has_key = presents_key(request.headers()) && keys_matter(route);
    let room = if has_key { &load.keyed } else { &load.anonymous };
    let _place = room.try_acquire().map_err(|_| ApiError::overloaded())?;
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

    use super::{FREE_ANSWER_BYTES, FREE_BODY_BYTES, Load, shed};

    #[test]
    fn room_is_given_back() {
        let load = Load::with(1, 100, (0, 0));
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

    #[test]
    fn answers_take_room_until_they_are_read() {
        let load = Load::with(1, 0, (10 * FREE_ANSWER_BYTES, 6 * FREE_ANSWER_BYTES));
        let free = u64::try_from(FREE_ANSWER_BYTES).unwrap();
        let room = |party, has_key, bytes| load.answer_room(party, has_key, bytes).map(|room| room.is_some());
        assert!(matches!(room("a", false, free), Ok(false)));
        let held = load.answer_room("a", false, 5 * free).unwrap().unwrap();
        assert!(room("a", false, 2 * free).is_err(), "its share");
        let _other = load.answer_room("b", false, 5 * free).unwrap();
        assert!(room("c", false, 2 * free).is_err(), "the room");
        assert!(matches!(room("c", false, free), Ok(false)), "small ones are answered all the same");
        assert!(matches!(room("c", true, 2 * free), Ok(true)), "callers with keys have their own");
        let held_twice = held.clone();
        drop(held);
        assert!(room("c", false, 2 * free).is_err(), "part of it is still there");
        drop(held_twice);
        assert!(matches!(room("c", false, 2 * free), Ok(true)));
    }

    #[tokio::test]
    async fn requests_beyond_the_bound_are_turned_away_until_others_end() {
        let load = Arc::new(Load::with(1, 0, (0, 0)));
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
        let ask_with = async |path: &str, header: &str| {
            let request = Request::get(path).header(header, "x").body(Body::empty()).unwrap();
            app.clone().oneshot(request).await.unwrap()
        };
        let ask = async |path: &str| ask_with(path, "x-other").await;
        let running = tokio::spawn(app.clone().oneshot(Request::get("/slow").body(Body::empty()).unwrap()));
        began.notified().await;
        let refused = ask("/quick").await;
        assert_eq!(refused.status(), StatusCode::SERVICE_UNAVAILABLE);
        assert!(refused.headers().contains_key("retry-after"));
        assert_eq!(ask("/health").await.status(), StatusCode::OK);
        // Strangers leave room for callers with keys.
        for header in ["authorization", "x-api-key"] {
            assert_eq!(ask_with("/quick", header).await.status(), StatusCode::OK);
        }
        end.notify_one();
        assert_eq!(running.await.unwrap().unwrap().status(), StatusCode::OK);
        assert_eq!(ask("/quick").await.status(), StatusCode::OK);
    }
}

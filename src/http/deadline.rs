//! The longest a request may take, from its head to its answer's head, whatever it waits for.

use std::time::Duration;

use axum::{
    extract::{Request, State},
    middleware::Next,
    response::{IntoResponse, Response},
};
use tokio::time::{Instant, timeout_at};

use super::error::ApiError;

#[derive(Clone, Copy, Debug)]
struct Deadline(Instant);

/// The outer layer: from here on time counts. What is not let in by then has done nothing.
pub(super) async fn set_deadline(
    State(limit): State<Duration>,
    mut request: Request,
    next: Next,
) -> Response {
    let deadline = Instant::now() + limit;
    request.extensions_mut().insert(Deadline(deadline));
    let answer = timeout_at(deadline, next.run(request)).await;
    answer.unwrap_or_else(|_| ApiError::timed_out().into_response())
}

/// The inner layer, around the handlers: work that goes on without its caller may still be done.
pub(super) async fn keep_deadline(request: Request, next: Next) -> Response {
    let Some(&Deadline(deadline)) = request.extensions().get() else { return next.run(request).await };
    let changes = !request.method().is_safe();
    let answer = timeout_at(deadline, next.run(request)).await;
    answer.unwrap_or_else(|_| {
        if changes { ApiError::outcome_unknown() } else { ApiError::timed_out() }.into_response()
    })
}

#[cfg(test)]
mod tests {
    use std::{future::pending, time::Duration};

    use axum::{
        Router,
        body::{Body, to_bytes},
        extract::Request,
        middleware::{Next, from_fn, from_fn_with_state},
        routing::get,
    };
    use tokio::time::sleep;
    use tower::ServiceExt;

    use super::{keep_deadline, set_deadline};

    const LIMIT: Duration = Duration::from_millis(50);

    /// What a handler that takes too long is answered with, after so long before it.
    async fn answered(method: &str, before: Duration, handler: Option<Duration>) -> String {
        let handle = async move || match handler {
            Some(time) => sleep(time).await,
            None => pending().await,
        };
        let app = Router::new()
            .route("/", get(handle).post(handle))
            .layer(from_fn(keep_deadline))
            .layer(from_fn(move |request: Request, next: Next| async move {
                sleep(before).await;
                next.run(request).await
            }))
            .layer(from_fn_with_state(LIMIT, set_deadline));
        let request = Request::builder().method(method).uri("/").body(Body::empty()).unwrap();
        let body = app.oneshot(request).await.unwrap().into_body();
        String::from_utf8(to_bytes(body, 4096).await.unwrap().to_vec()).unwrap()
    }

    #[tokio::test(start_paused = true)]
    async fn what_may_have_been_done_is_unknown() {
        assert!(answered("POST", Duration::ZERO, None).await.contains("OUTCOME_UNKNOWN"));
        assert!(answered("GET", Duration::ZERO, None).await.contains("TIMED_OUT"));
    }

    #[tokio::test(start_paused = true)]
    async fn what_came_before_the_handler_counts() {
        assert!(answered("POST", LIMIT * 100, None).await.contains("TIMED_OUT"));
        let most = LIMIT.mul_f64(0.7);
        assert!(answered("POST", most, Some(most)).await.contains("OUTCOME_UNKNOWN"));
    }
}

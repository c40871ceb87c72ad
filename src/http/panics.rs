//! A panic while a request is handled: an answer, a count, and no word about it to the caller.
//!
//! What panicked and where is in the log already, by the panic hook.

use std::{any::Any, sync::Arc};

use axum::response::{IntoResponse, Response};
use tower_http::catch_panic::{CatchPanicLayer, ResponseForPanic};

use super::error::ApiError;
use crate::metrics::Metrics;

/// Counts a panic that was caught, and says what to answer.
pub(super) fn caught(metrics: &Metrics) -> ApiError {
    metrics.http_panic();
    ApiError::internal()
}

/// Catches what panics in the handling of a request itself.
pub(super) fn catch_panics(metrics: Arc<Metrics>) -> CatchPanicLayer<Answer> {
    CatchPanicLayer::custom(Answer(metrics))
}

#[derive(Clone, Debug)]
pub(super) struct Answer(Arc<Metrics>);

impl ResponseForPanic for Answer {
    type ResponseBody = axum::body::Body;

    fn response_for_panic(&mut self, _panic: Box<dyn Any + Send>) -> Response {
        caught(&self.0).into_response()
    }
}

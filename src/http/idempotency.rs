//! The layer that gives a request with an `Idempotency-Key` the answer of the first time.

use axum::{
    body::{Body, to_bytes},
    extract::{FromRequest, Request, State},
    http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header},
    middleware::Next,
    response::{IntoResponse, Response},
};

use super::{
    error::ApiError,
    extract::{JsonBody, Peer},
    middleware::{current_request_id, with_request_id},
    router::AppState,
};
use crate::{
    api_keys::Caller,
    idempotency::{Attempt, Begun, MAX_KEY, StoredAnswer},
    ids::RequestId,
    input::FieldErrors,
};

const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");
const REPLAYED: HeaderName = HeaderName::from_static("idempotent-replayed");
/// Largest answer kept, in bytes; ours are far smaller.
const MAX_ANSWER: usize = 64 * 1024;

/// Names the request in what it writes, see [`Attempt::tag`].
#[derive(Clone, Debug)]
pub(super) struct RequestTag(pub String);

pub(super) async fn idempotent(
    State(state): State<AppState>,
    caller: Option<Caller>,
    request: Request,
    next: Next,
) -> Result<Response, ApiError> {
    let Some(key) = idempotency_key(request.headers())? else { return Ok(next.run(request).await) };
    let (mut parts, body) = request.into_parts();
    let JsonBody(body) = JsonBody::from_request(Request::from_parts(parts.clone(), body), &state).await?;
    let caller = caller.map_or_else(|| Peer::of(&parts.extensions).to_string(), |caller| caller.user);
    let now = state.clock.now();
    let holder = RequestId::new(now, state.entropy.as_ref()).to_string();
    let attempt = Attempt::new(caller, key, (parts.method.as_str(), parts.uri.path(), &body), holder, now);
    match state.idempotency.begin(&attempt).await? {
        Begun::Conflict => return Err(ApiError::idempotency_conflict()),
        Begun::Running => return Err(ApiError::still_running()),
        Begun::Answered(answer) => return Ok(replay(answer)),
        Begun::Fresh => {}
    }
    parts.extensions.insert(RequestTag(attempt.tag()));
    let request = Request::from_parts(parts, Body::from(body));
    // In a task of its own: a caller who hangs up must not leave the key held.
    let handled = state.tasks.spawn(with_request_id(current_request_id(), {
        let state = state.clone();
        async move { keep(&state, &attempt, next.run(request).await).await }
    }));
    handled.await.map_err(|_| ApiError::internal())
}

fn idempotency_key(headers: &HeaderMap) -> Result<Option<String>, ApiError> {
    let Some(value) = headers.get(IDEMPOTENCY_KEY) else { return Ok(None) };
    let key = value.to_str().ok().filter(|key| (1..=MAX_KEY).contains(&key.len()));
    let key = key.ok_or_else(|| {
        FieldErrors::one("Idempotency-Key", format!("must be 1 to {MAX_KEY} visible ASCII characters"))
    })?;
    Ok(Some(key.to_owned()))
}

/// Keeps the answer for the next attempt. Trouble of ours is not kept, so that the next one may fare better.
async fn keep(state: &AppState, attempt: &Attempt, response: Response) -> Response {
    let (parts, body) = response.into_parts();
    let Ok(body) = to_bytes(body, MAX_ANSWER).await else { return ApiError::internal().into_response() };
    let kept = if parts.status.is_server_error() {
        state.idempotency.abandon(attempt).await
    } else {
        let answer = StoredAnswer { status: parts.status.as_u16(), body: body.to_vec() };
        state.idempotency.finish(attempt, &answer).await
    };
    if let Err(error) = kept {
        // The answer stands all the same. Sent again, the request finds what it wrote by its tag.
        tracing::warn!(error = &error as &dyn std::error::Error, "an idempotent answer could not be kept");
    }
    Response::from_parts(parts, Body::from(body))
}

fn replay(answer: StoredAnswer) -> Response {
    let status = StatusCode::from_u16(answer.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let json = HeaderValue::from_static("application/json");
    let headers = [(header::CONTENT_TYPE, json), (REPLAYED, HeaderValue::from_static("true"))];
    (status, headers, answer.body).into_response()
}

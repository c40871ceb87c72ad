//! The layer that gives a request with an `Idempotency-Key` the answer of the first time.

use std::{panic::AssertUnwindSafe, sync::Arc};

use axum::{
    body::{Body, to_bytes},
    extract::{FromRequest, Request, State},
    http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header},
    middleware::Next,
    response::{IntoResponse, Response},
};
use futures_util::FutureExt;
use serde::Serialize;
use tracing::Instrument;
use utoipa::IntoParams;

use super::{
    admission::{ClientAddress, party},
    allowed::{Admitted, Allowed, RequiredScope},
    body::MAX_BODY,
    error::ApiError,
    extract::JsonBody,
    middleware::for_current_request,
    panics::caught,
    router::AppState,
    routes::verify,
};
use crate::{
    api_keys::{Caller, Scope},
    idempotency::{Attempt, Begun, MAX_KEY, StoredAnswer},
    ids::RequestId,
    input::FieldErrors,
};

const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");
/// Marks an answer that was given before.
pub(super) const REPLAYED: (HeaderName, HeaderValue) =
    (HeaderName::from_static("idempotent-replayed"), HeaderValue::from_static("true"));
/// Largest answer kept, in bytes: it repeats what was sent, and says a little more of each part.
const MAX_ANSWER: usize = 2 * MAX_BODY;

/// The header, for the OpenAPI document.
#[derive(IntoParams)]
#[into_params(parameter_in = Header)]
#[expect(dead_code, reason = "the header is read where it is needed")]
pub(super) struct IdempotencyKey {
    /// Sent again under the same key, the same request gets the same answer, for 24 hours. 1 to 255 visible ASCII
    /// characters; do not derive it from what the payer chooses.
    #[param(
        rename = "Idempotency-Key",
        required = false,
        min_length = 1,
        max_length = 255,
        pattern = "^[!-~]+$"
    )]
    key: String,
}

/// Names the request in what it writes, see [`Attempt::tag`].
#[derive(Clone, Debug)]
pub(super) struct RequestTag(pub String);

/// What is kept in the stead of an answer that holds a secret: the rest of it. Given again, it shows the secret no more.
#[derive(Clone, Debug)]
pub(super) struct KeptInstead(Vec<u8>);

impl KeptInstead {
    pub fn json(answer: &impl Serialize) -> Result<Self, ApiError> {
        serde_json::to_vec(answer).map(Self).map_err(|_| ApiError::internal())
    }
}

/// Marks a decision that is not kept.
#[derive(Clone, Copy, Debug)]
pub(super) struct Unkept;

/// For routes that are open to those without a key too, unless the operator demands keys.
pub(super) async fn idempotent<R: RequiredScope>(
    state: State<AppState>,
    Admitted { caller, .. }: Admitted<R>,
    request: Request,
    next: Next,
) -> Result<Response, ApiError> {
    handle(state, caller, R::SCOPE, request, next).await
}

/// For routes that need a key with the scope: without one, nothing is looked up or kept.
pub(super) async fn idempotent_for_callers<R: RequiredScope>(
    state: State<AppState>,
    Allowed { caller, .. }: Allowed<R>,
    request: Request,
    next: Next,
) -> Result<Response, ApiError> {
    handle(state, Some(caller), R::SCOPE, request, next).await
}

async fn handle(
    State(state): State<AppState>,
    caller: Option<Caller>,
    scope: Scope,
    request: Request,
    next: Next,
) -> Result<Response, ApiError> {
    let Some(key) = idempotency_key(request.headers())? else { return Ok(next.run(request).await) };
    let (mut parts, body) = request.into_parts();
    let JsonBody(body) = JsonBody::from_request(Request::from_parts(parts.clone(), body), &state).await?;
    parts.extensions.insert(JsonBody(body.clone()));
    if caller.is_none() && !passes_free_checks(parts.uri.path(), &body) {
        // The handler says what is wrong, at no cost. Nothing is looked up or kept for it.
        return Ok(next.run(Request::from_parts(parts, Body::empty())).await);
    }
    let address = ClientAddress::of(&parts.extensions);
    let name = party(caller.as_ref(), address);
    let user = caller.map(|caller| caller.user);
    let now = state.clock.now();
    let holder = RequestId::new(now, state.entropy.as_ref()).to_string();
    let request_line = (parts.method.as_str(), parts.uri.path(), &*body);
    let attempt = Attempt::new(name, key, request_line, holder, now);
    let place = match (&user, scope) {
        (Some(user), Scope::KeysManage) => state.attempts.of_manager(user),
        (Some(user), _) => state.attempts.of_user(user),
        (None, _) => state.attempts.of_stranger(address, &attempt.fingerprint),
    };
    let place = place.ok_or_else(ApiError::overloaded)?;
    // In a task of its own: a caller who hangs up must not leave the key held.
    let (tasks, metrics) = (state.tasks.clone(), Arc::clone(&state.metrics));
    let handled = tasks.spawn(for_current_request(
        async move {
            let answer = once(&state, attempt, Request::from_parts(parts, Body::empty()), next).await;
            drop(place);
            answer
        }
        .in_current_span(),
    ));
    handled.await.map_err(|_| caught(&metrics))?
}

async fn once(
    state: &AppState,
    attempt: Attempt,
    mut request: Request,
    next: Next,
) -> Result<Response, ApiError> {
    match state.idempotency.begin(&attempt).await? {
        Begun::Conflict => return Err(ApiError::idempotency_conflict()),
        Begun::Running => return Err(ApiError::still_running()),
        Begun::Answered(answer) => return Ok(replay(answer)),
        Begun::Fresh => {}
    }
    request.extensions_mut().insert(RequestTag(attempt.tag()));
    // Caught here, since a panic must not leave the key held either.
    let handled = AssertUnwindSafe(next.run(request)).catch_unwind().await;
    let response = handled.unwrap_or_else(|_| caught(&state.metrics).into_response());
    Ok(keep(state, &attempt, response).await)
}

/// Whether a request without a key is worth a look into the database. What is asked here costs nothing and does not change
/// with time: an answer that was kept is given again for as long as it is kept.
fn passes_free_checks(path: &str, body: &[u8]) -> bool {
    path != "/verify" || verify::passes_free_checks(body)
}

fn idempotency_key(headers: &HeaderMap) -> Result<Option<String>, ApiError> {
    let Some(value) = headers.get(IDEMPOTENCY_KEY) else { return Ok(None) };
    let good =
        |key: &&str| (1..=MAX_KEY).contains(&key.len()) && key.bytes().all(|byte| byte.is_ascii_graphic());
    let key = value.to_str().ok().filter(good);
    let key = key.ok_or_else(|| {
        FieldErrors::one("Idempotency-Key", format!("must be 1 to {MAX_KEY} visible ASCII characters"))
    })?;
    Ok(Some(key.to_owned()))
}

/// Keeps a decision for the next attempt. Trouble of ours is not kept, so that the next one may fare better, and neither
/// is what was never a request.
async fn keep(state: &AppState, attempt: &Attempt, response: Response) -> Response {
    let (parts, body) = response.into_parts();
    let body = to_bytes(body, MAX_ANSWER).await.ok();
    let decided = parts.status.is_success() || parts.status == StatusCode::PAYMENT_REQUIRED;
    let decided = decided && parts.extensions.get::<Unkept>().is_none();
    let kept = match &body {
        Some(body) if decided => {
            let instead = parts.extensions.get::<KeptInstead>().map(|kept| kept.0.clone());
            let body = instead.unwrap_or_else(|| body.to_vec());
            let answer = StoredAnswer { status: parts.status.as_u16(), body };
            state.idempotency.finish(attempt, &answer).await
        }
        _ => state.idempotency.abandon(attempt).await,
    };
    if let Err(error) = kept {
        // The answer stands all the same. Sent again, a request finds the payment or the usage that it wrote by its tag.
        tracing::warn!(error = &error as &dyn std::error::Error, "an idempotent answer could not be kept");
    }
    match body {
        Some(body) => Response::from_parts(parts, Body::from(body)),
        None => ApiError::internal().into_response(),
    }
}

fn replay(answer: StoredAnswer) -> Response {
    let status = StatusCode::from_u16(answer.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let json = HeaderValue::from_static("application/json");
    let headers = [(header::CONTENT_TYPE, json), REPLAYED];
    (status, headers, answer.body).into_response()
}

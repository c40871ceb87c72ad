//! x402: `GET /supported`, `POST /settle`, and what `POST /verify` does with x402's requests.

use axum::{
    Json,
    body::Bytes,
    extract::State,
    response::{IntoResponse, Response},
};
use tracing::Instrument;

use crate::{
    api_keys::Caller,
    http::{
        allowed::{Admitted, Settle},
        error::ApiError,
        extract::JsonBody,
        idempotency::Unkept,
        panics::caught,
        router::AppState,
        x402::{SettleTrouble, malformed_settle, malformed_verify, settle_trouble, verify_trouble},
    },
    payments::x402::{Facilitator, SettleReply, Supported, X402Body, X402Request},
    shares::Share,
};

/// What can be paid through this service.
///
/// One fee payer is advertised, the same for as long as it can pay; payments made for any of `signers` are accepted. Without one
/// nothing is supported.
#[utoipa::path(
    get,
    path = "/supported",
    operation_id = "getSupported",
    tag = "x402",
    responses((status = 200, description = "Versions, network and fee payers.", body = Supported)),
    security(),
)]
pub(in crate::http) async fn supported(State(facilitator): State<Facilitator>) -> Json<Supported> {
    Json(facilitator.supported())
}

/// Make a payment final.
///
/// 200 for every decision, good or bad. Settled once: sent again, the same request gets the outcome of the first, also
/// after `settlement_pending`. An `Idempotency-Key` is not needed and not looked at.
#[utoipa::path(
    post,
    path = "/settle",
    operation_id = "settlePayment",
    tag = "x402",
    request_body = X402Body,
    responses(
        (status = 200, description = "Settled, refused, failed, or not known yet.", body = SettleReply),
        (status = 400, description = "Cannot be read: `details` names every bad field.", body = SettleTrouble),
        (status = 503, description = "This request sent nothing: send it again after `Retry-After` seconds. What an earlier one sent stands.", body = SettleTrouble),
    ),
    security((), ("bearer" = ["settle"]), ("apiKey" = ["settle"])),
)]
pub(in crate::http) async fn settle(
    State(state): State<AppState>,
    Admitted { caller, .. }: Admitted<Settle>,
    JsonBody(body): JsonBody,
) -> Response {
    let request = match X402Request::parse(&body) {
        Ok(request) => request,
        Err(malformed) => {
            state.metrics.x402.settle_malformed();
            return malformed_settle(malformed);
        }
    };
    let network = request.payload.network.clone();
    let facilitator = state.facilitator.clone();
    // In a task of its own, so that a caller who hangs up does not stop it half way.
    let task = state
        .tasks
        .spawn(async move { facilitator.settle(&request, caller.as_ref()).await }.in_current_span());
    match task.await {
        Ok(Ok(reply)) => Json(reply).into_response(),
        Ok(Err(undecided)) => settle_trouble(&network, undecided.into()),
        Err(_) => settle_trouble(&network, caught(&state.metrics)),
    }
}

/// For `POST /verify`. Its answers are not kept: what was good a moment ago need not be now.
pub(super) async fn verify(
    state: &AppState,
    caller: Option<&Caller>,
    place: Option<Share>,
    body: &Bytes,
) -> Response {
    let mut response = decide(state, caller, place, body).await;
    response.extensions_mut().insert(Unkept);
    response
}

async fn decide(state: &AppState, caller: Option<&Caller>, place: Option<Share>, body: &Bytes) -> Response {
    let request = match X402Request::parse(body) {
        Ok(request) => request,
        Err(malformed) => {
            state.metrics.x402.verify_malformed();
            return malformed_verify(malformed);
        }
    };
    let Some(_place) = place else { return verify_trouble(ApiError::overloaded()) };
    match state.facilitator.verify(&request, caller).await {
        Ok(reply) => Json(reply).into_response(),
        Err(undecided) => verify_trouble(undecided.into()),
    }
}

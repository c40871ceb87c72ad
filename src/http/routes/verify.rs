//! `POST /verify`. Public: an API key is optional, and decides who must have been paid and who owns the payment.

use std::sync::Arc;

use axum::{
    Extension, Json,
    extract::State,
    response::{IntoResponse, Response},
};
use serde::Serialize;
use tracing::Instrument;
use utoipa::ToSchema;

use super::payments::PaymentView;
use crate::{
    clock::UnixMs,
    http::{
        allowed::{Allowed, Verify},
        error::{ApiError, Envelope},
        extract::JsonBody,
        idempotency::{IdempotencyKey, REPLAYED, RequestTag},
        panics::caught,
        router::AppState,
    },
    payments::{
        Entry, Payment, Verdict,
        proof::{ProofEcho, ProofMembers, ProofRequest},
    },
};

/// A payment that is good, and in the books.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(in crate::http) struct Accepted {
    /// `true`.
    valid: bool,
    proof: ProofEcho,
    verified_at: UnixMs,
    payment: PaymentView,
}

impl Accepted {
    fn new(request: ProofRequest, payment: Payment) -> Json<Self> {
        Json(Self {
            valid: true,
            proof: request.proof.into(),
            verified_at: payment.verified_at,
            payment: Entry::from(payment).into(),
        })
    }
}

/// Whether the body is a proof, signed by the payer.
pub(in crate::http) fn passes_free_checks(body: &[u8]) -> bool {
    ProofRequest::parse(body).is_ok_and(|request| request.is_signed_by_payer())
}

/// Is this payment good?
///
/// A key decides who must have been paid, where no requirement does, and who owns the payment. With a 402 or a 503
/// nothing is used up, `OUTCOME_UNKNOWN` apart.
#[utoipa::path(
    post,
    path = "/verify",
    operation_id = "verifyPayment",
    tag = "Verification",
    params(IdempotencyKey),
    request_body = ProofMembers,
    responses(
        (status = 200, description = "Good, and committed to the books.", body = Accepted),
        (status = 402, description = "Refused.", body = Envelope),
    ),
    security((), ("bearer" = ["verify"]), ("apiKey" = ["verify"])),
)]
pub(in crate::http) async fn verify(
    State(state): State<AppState>,
    allowed: Option<Allowed<Verify>>,
    tag: Option<Extension<RequestTag>>,
    JsonBody(body): JsonBody,
) -> Result<Response, ApiError> {
    let request = ProofRequest::parse(&body)?;
    let verifier = Arc::clone(&state.verifier);
    let slot = Arc::clone(&state.verifications).try_acquire_owned().map_err(|_| ApiError::overloaded())?;
    // In a task of its own, so that a caller who hangs up does not stop it half way.
    let task = state.tasks.spawn(
        async move {
            let tag = tag.as_ref().map(|Extension(tag)| tag.0.as_str());
            let verdict =
                verifier.verify(&request, allowed.as_ref().map(|allowed| &allowed.caller), tag).await;
            drop(slot);
            (request, verdict)
        }
        .in_current_span(),
    );
    let (request, verdict) = task.await.map_err(|_| caught(&state.metrics))?;
    match verdict? {
        Verdict::Accepted(payment) => Ok(Accepted::new(request, *payment).into_response()),
        Verdict::AcceptedBefore(payment) => {
            Ok(([REPLAYED], Accepted::new(request, *payment)).into_response())
        }
        Verdict::Refused(refusal) => Err(refusal.into()),
    }
}

//! `POST /verify`, for payment proofs and for x402's requests. Public: an API key is optional, and decides who must have been
//! paid and who owns the payment.

use std::sync::Arc;

use axum::{
    Extension, Json,
    body::Bytes,
    extract::State,
    response::{IntoResponse, Response},
};
use serde::Serialize;
use tracing::Instrument;
use utoipa::ToSchema;

use super::payments::PaymentView;
use crate::{
    api_keys::Caller,
    clock::UnixMs,
    http::{
        allowed::{Admitted, Verify},
        error::{ApiError, Envelope},
        extract::JsonBody,
        idempotency::{IdempotencyKey, REPLAYED, RequestTag},
        panics::caught,
        router::AppState,
        x402::not_x402,
    },
    payments::{
        Entry, Payment, Verdict,
        proof::{ProofEcho, ProofMembers, ProofRequest},
        x402::{VerifyReply, X402Body, is_x402},
    },
    shares::Share,
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

#[derive(ToSchema)]
#[schema(as = VerifyRequest)]
#[serde(untagged)]
#[expect(dead_code, reason = "says what the document says, and is never made")]
enum VerifyBody<'a> {
    Proof(ProofMembers<'a>),
    X402(X402Body),
}

#[derive(ToSchema)]
#[schema(as = VerifyAnswer)]
#[serde(untagged)]
#[expect(dead_code, clippy::large_enum_variant, reason = "says what the document says, and is never made")]
enum VerifyAnswer {
    Proof(Accepted),
    X402(VerifyReply),
}

/// Whether the body is a proof, signed by the payer.
pub(in crate::http) fn passes_free_checks(body: &[u8]) -> bool {
    ProofRequest::parse(body).is_ok_and(|request| request.is_signed_by_payer())
}

/// Is this payment good?
///
/// Takes 402pay payment proofs and x402's requests, told apart by x402's own members (`x402Version`, `paymentPayload`,
/// `paymentHeader`). An x402 payment is judged and not settled: 200 either way, with `isValid`; a 400 or 503 then has
/// x402's members besides. What follows is about proofs.
///
/// A key decides who must have been paid, where no requirement does, and who owns the payment. With a 402 or a 503
/// nothing is used up, `OUTCOME_UNKNOWN` apart.
#[utoipa::path(
    post,
    path = "/verify",
    operation_id = "verifyPayment",
    tag = "Verification",
    params(IdempotencyKey),
    request_body = VerifyBody<'_>,
    responses(
        (
            status = 200,
            description = "A proof that is good, and committed to the books; or x402's decision, good or bad.",
            body = VerifyAnswer,
        ),
        (status = 402, description = "A proof that is refused.", body = Envelope),
    ),
    security((), ("bearer" = ["verify"]), ("apiKey" = ["verify"])),
)]
pub(in crate::http) async fn verify(
    State(state): State<AppState>,
    Admitted { caller, address, .. }: Admitted<Verify>,
    tag: Option<Extension<RequestTag>>,
    JsonBody(body): JsonBody,
) -> Response {
    let place = state.verifications.place(caller.as_ref().map(|caller| &*caller.user), address);
    if is_x402(&body) {
        return super::x402::verify(&state, caller.as_ref(), place, &body).await;
    }
    not_x402(verify_proof(&state, caller, place, tag, &body).await.into_response())
}

async fn verify_proof(
    state: &AppState,
    caller: Option<Caller>,
    place: Option<Share>,
    tag: Option<Extension<RequestTag>>,
    body: &Bytes,
) -> Result<Response, ApiError> {
    let request = ProofRequest::parse(body)?;
    let verifier = Arc::clone(&state.verifier);
    let place = place.ok_or_else(ApiError::overloaded)?;
    // In a task of its own, so that a caller who hangs up does not stop it half way.
    let task = state.tasks.spawn(
        async move {
            let tag = tag.as_ref().map(|Extension(tag)| tag.0.as_str());
            let verdict = verifier.verify(&request, caller.as_ref(), tag).await;
            drop(place);
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

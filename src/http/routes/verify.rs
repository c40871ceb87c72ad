//! `POST /verify`. Public: an API key is optional, and decides who must have been paid and who owns the payment.

use std::sync::Arc;

use axum::{
    Extension, Json,
    extract::State,
    response::{IntoResponse, Response},
};
use serde::Serialize;
use tracing::Instrument;

use super::payments::PaymentView;
use crate::{
    api_keys::Caller,
    clock::UnixMs,
    http::{
        error::ApiError,
        extract::JsonBody,
        idempotency::{REPLAYED, RequestTag},
        router::AppState,
    },
    payments::{
        Entry, Payment, Verdict,
        proof::{ProofEcho, ProofRequest},
    },
};

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(in crate::http) struct Accepted {
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

pub(in crate::http) async fn verify(
    State(state): State<AppState>,
    caller: Option<Caller>,
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
            let verdict = verifier.verify(&request, caller.as_ref(), tag).await;
            drop(slot);
            (request, verdict)
        }
        .in_current_span(),
    );
    let (request, verdict) = task.await.map_err(|_| ApiError::internal())?;
    match verdict? {
        Verdict::Accepted(payment) => Ok(Accepted::new(request, *payment).into_response()),
        Verdict::AcceptedBefore(payment) => {
            Ok(([REPLAYED], Accepted::new(request, *payment)).into_response())
        }
        Verdict::Refused(refusal) => Err(refusal.into()),
    }
}

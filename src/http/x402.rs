//! Answers on x402's routes that are no decisions: they say what is wrong in x402's shape, which its clients read whatever
//! the status, and in the envelope's, both in one object.

use axum::{
    body::{Body, to_bytes},
    extract::{MatchedPath, Request},
    http::{Method, StatusCode, header},
    middleware::Next,
    response::Response,
};
use serde::Serialize;
use serde_json::{Map, Value};
use utoipa::ToSchema;

use super::error::{ApiError, Envelope, ErrorCode};
use crate::payments::x402::{Malformed, Reason, SettleReply, VerifyReply};

/// Largest envelope, in bytes; ours are far smaller.
const MAX_ENVELOPE: usize = 64 * 1024;

/// Why nothing was decided about a payment: as x402 says it, and as every other error is told.
#[derive(Serialize, ToSchema)]
pub(super) struct VerifyTrouble {
    #[serde(flatten)]
    reply: VerifyReply,
    #[serde(flatten)]
    envelope: Envelope,
}

/// Why nothing was settled: as x402 says it, and as every other error is told. Nothing was sent.
#[derive(Serialize, ToSchema)]
pub(super) struct SettleTrouble {
    #[serde(flatten)]
    reply: SettleReply,
    #[serde(flatten)]
    envelope: Envelope,
}

/// Marks an answer that is in the shape of what was asked.
#[derive(Clone, Copy, Debug)]
pub(super) struct Shaped;

fn shaped(mut response: Response) -> Response {
    response.extensions_mut().insert(Shaped);
    response
}

pub(super) fn malformed_verify(malformed: Malformed) -> Response {
    let reply = VerifyReply::malformed(&malformed);
    shaped(ApiError::from(malformed.errors).respond_with(|envelope| VerifyTrouble { reply, envelope }))
}

pub(super) fn malformed_settle(malformed: Malformed) -> Response {
    let reply = SettleReply::malformed(&malformed);
    shaped(ApiError::from(malformed.errors).respond_with(|envelope| SettleTrouble { reply, envelope }))
}

pub(super) fn verify_trouble(error: ApiError) -> Response {
    let reply = VerifyReply::undecided(Reason::UnexpectedVerifyError, error.message());
    shaped(error.respond_with(|envelope| VerifyTrouble { reply, envelope }))
}

/// `network` as the request spells it.
pub(super) fn settle_trouble(network: &str, error: ApiError) -> Response {
    let reply = SettleReply::undecided(network, Reason::UnexpectedSettleError, error.message());
    shaped(error.respond_with(|envelope| SettleTrouble { reply, envelope }))
}

/// An answer to a request that is none of x402's.
pub(super) fn not_x402(response: Response) -> Response {
    shaped(response)
}

/// Adds x402's shape to what was refused before anybody knew what was asked: bad keys, rate limits, bodies too large.
pub(super) async fn add_shape(request: Request, next: Next) -> Response {
    let path = request.extensions().get::<MatchedPath>().map(MatchedPath::as_str);
    let settle = match path {
        Some("/verify") if request.method() == Method::POST => false,
        Some("/settle") if request.method() == Method::POST => true,
        _ => return next.run(request).await,
    };
    let response = next.run(request).await;
    let extensions = response.extensions();
    if extensions.get::<ErrorCode>().is_none() || extensions.get::<Shaped>().is_some() {
        return response;
    }
    let (mut parts, body) = response.into_parts();
    let envelope = to_bytes(body, MAX_ENVELOPE).await.unwrap_or_default();
    let body = merged(&envelope, settle, parts.status).unwrap_or_else(|| envelope.to_vec());
    parts.headers.remove(header::CONTENT_LENGTH);
    Response::from_parts(parts, Body::from(body))
}

fn merged(envelope: &[u8], settle: bool, status: StatusCode) -> Option<Vec<u8>> {
    let mut body: Map<String, Value> = serde_json::from_slice(envelope).ok()?;
    let message = body.get("error")?.as_str()?.to_owned();
    let unreadable = matches!(status.as_u16(), 400 | 408 | 413 | 415);
    let shape = match (settle, unreadable) {
        (true, true) => json(SettleReply::undecided("", Reason::InvalidPayload, message)),
        (true, false) => json(SettleReply::undecided("", Reason::UnexpectedSettleError, message)),
        (false, true) => json(VerifyReply::undecided(Reason::InvalidPayload, message)),
        (false, false) => json(VerifyReply::undecided(Reason::UnexpectedVerifyError, message)),
    };
    body.extend(shape?);
    serde_json::to_vec(&body).ok()
}

fn json(reply: impl Serialize) -> Option<Map<String, Value>> {
    match serde_json::to_value(reply).ok()? {
        Value::Object(members) => Some(members),
        _ => None,
    }
}

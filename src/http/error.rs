//! The one error envelope, and the one place where errors become status codes.

mod mapping;

use axum::{
    Json,
    http::{HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use serde::Serialize;
use serde_json::value::RawValue;
use utoipa::ToSchema;

use super::{middleware::current_request_id, openapi::Code};
use crate::{
    clock::UnixMs,
    input::{FieldError, FieldErrors},
    money::decimal_json,
    payments::LimitFacts,
    schema,
    usage::OverLimit,
};

/// Seconds after which trouble of ours is worth another try.
const RETRY_AFTER_SECS: u64 = 2;

/// The code of a request that was one too many.
pub(super) const RATE_LIMIT_EXCEEDED: &str = "RATE_LIMIT_EXCEEDED";

/// What is told of every key that opens nothing.
pub(super) const INVALID_KEY: &str = "the API key is not valid";

/// Why a request was not answered as asked.
#[derive(Debug)]
pub struct ApiError {
    status: StatusCode,
    code: &'static str,
    message: String,
    details: Vec<FieldError>,
    limit: Option<Box<LimitFacts>>,
    /// `valid: false`, for refusals.
    refused: bool,
    retry_after_secs: Option<u64>,
    quota: Option<Box<QuotaView>>,
}

/// The limit that is in the way.
#[derive(Clone, Copy, Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = ExceededQuota)]
pub(super) struct QuotaView {
    /// `period` or `day`.
    window: &'static str,
    limit: u64,
    used: u64,
    left: u64,
    resets_at: UnixMs,
}

impl From<OverLimit> for QuotaView {
    fn from(over: OverLimit) -> Self {
        let OverLimit { window, limit, used, resets_at } = over;
        Self { window: window.as_str(), limit, used, left: limit.saturating_sub(used), resets_at }
    }
}

/// The code of a failed request, for the metrics and the log.
#[derive(Clone, Copy, Debug)]
pub(super) struct ErrorCode(pub &'static str);

/// Why a request was not answered as asked.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(
    as = Error,
    example = json!({
        "error": "nonce is required",
        "code": "VALIDATION_FAILED",
        "requestId": "req_01K0B9M2T8Q5W7Y3XN4VZC6RDE",
        "details": [{"field": "nonce", "message": "is required"}],
    }),
)]
pub(super) struct Envelope {
    /// `false` where a payment was refused; absent otherwise.
    #[schema(nullable = false)]
    #[serde(skip_serializing_if = "Option::is_none")]
    valid: Option<bool>,
    /// A sentence for a person: what is wrong, and what would be right.
    #[schema(example = "nonce is required")]
    error: String,
    #[schema(value_type = Code)]
    code: &'static str,
    /// As in `X-Request-Id`.
    #[schema(example = "req_01K0B9M2T8Q5W7Y3XN4VZC6RDE")]
    request_id: String,
    /// Every field that is wrong, with `VALIDATION_FAILED`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    details: Vec<FieldError>,
    /// With `USAGE_LIMIT_EXCEEDED`.
    #[schema(nullable = false)]
    #[serde(skip_serializing_if = "Option::is_none")]
    quota: Option<QuotaView>,
    /// The limit that is in the way, with `SPENDING_LIMIT_EXCEEDED`.
    #[schema(nullable = false)]
    #[serde(skip_serializing_if = "Option::is_none")]
    limit: Option<LimitView>,
}

/// What a limit leaves, and until when.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = LimitLeft)]
struct LimitView {
    /// The most that could be paid now, in whole tokens.
    #[schema(value_type = schema::SumOut)]
    left: Box<RawValue>,
    /// When it will be more. Left out: waiting does not help.
    #[schema(nullable = false)]
    #[serde(skip_serializing_if = "Option::is_none")]
    resets_at: Option<UnixMs>,
}

impl From<LimitFacts> for LimitView {
    fn from(facts: LimitFacts) -> Self {
        Self { left: decimal_json(facts.left, facts.decimals), resets_at: facts.resets_at }
    }
}

impl ApiError {
    fn new(status: StatusCode, code: &'static str, message: impl Into<String>) -> Self {
        Self {
            status,
            code,
            message: message.into(),
            details: Vec::new(),
            limit: None,
            refused: false,
            retry_after_secs: None,
            quota: None,
        }
    }

    pub(super) fn not_found(what: &str) -> Self {
        Self::new(StatusCode::NOT_FOUND, "NOT_FOUND", format!("{what} does not exist"))
    }

    pub(super) fn method_not_allowed() -> Self {
        Self::new(StatusCode::METHOD_NOT_ALLOWED, "METHOD_NOT_ALLOWED", "this path has no such method")
    }

    pub(super) fn unsupported_media_type() -> Self {
        let message = "the body must be sent as content-type application/json";
        Self::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "UNSUPPORTED_MEDIA_TYPE", message)
    }

    pub(super) fn body_too_large() -> Self {
        Self::new(StatusCode::PAYLOAD_TOO_LARGE, "BODY_TOO_LARGE", "the body is larger than 1 MiB")
    }

    pub(super) fn body_too_slow() -> Self {
        Self::new(StatusCode::REQUEST_TIMEOUT, "BODY_TIMEOUT", "the body did not arrive within 10 seconds")
    }

    pub(super) fn body_unreadable() -> Self {
        Self::new(StatusCode::BAD_REQUEST, "BODY_UNREADABLE", "the body could not be read to its end")
    }

    pub(super) fn host_missing() -> Self {
        Self::new(
            StatusCode::BAD_REQUEST,
            "INVALID_REQUEST",
            "an HTTP/1.1 request has exactly one Host header",
        )
    }

    /// `status` is 400, or says what of it is too large.
    pub(super) fn head_unreadable(status: StatusCode) -> Self {
        if status == StatusCode::BAD_REQUEST {
            return Self::new(
                status,
                "INVALID_REQUEST",
                "the request cannot be read: its head breaks the rules of HTTP",
            );
        }
        let message = "the request's head is too large: at most 32 KiB and 100 headers";
        Self::new(status, "HEAD_TOO_LARGE", message)
    }

    pub(super) fn repeated_header(name: &str) -> Self {
        let message = format!("the header {name} is there more than once: send it once");
        Self::new(StatusCode::BAD_REQUEST, "INVALID_REQUEST", message)
    }

    pub(super) fn timed_out() -> Self {
        Self::unavailable("TIMED_OUT", "the request took too long")
    }

    /// For what may have been done all the same.
    pub(super) fn outcome_unknown() -> Self {
        let message = "it is not known whether this was done: send it again under the same Idempotency-Key, or look \
                       it up";
        Self::unavailable("OUTCOME_UNKNOWN", message)
    }

    pub(super) fn overloaded() -> Self {
        Self::unavailable("OVERLOADED", "too many requests are being handled: try again")
    }

    pub(super) fn internal() -> Self {
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, "INTERNAL_ERROR", "something went wrong on our side")
    }

    pub(super) fn idempotency_conflict() -> Self {
        let message = "the Idempotency-Key was used for another request: take a new one";
        Self::new(StatusCode::CONFLICT, "IDEMPOTENCY_CONFLICT", message)
    }

    pub(super) fn still_running() -> Self {
        let message = "the request with this Idempotency-Key is being handled: try again";
        let error = Self::new(StatusCode::CONFLICT, "IDEMPOTENCY_IN_PROGRESS", message);
        Self { retry_after_secs: Some(RETRY_AFTER_SECS), ..error }
    }

    pub(super) fn unauthorized(message: &str) -> Self {
        Self::new(StatusCode::UNAUTHORIZED, "INVALID_API_KEY", message)
    }

    pub(super) fn rate_limited(retry_after_secs: u64) -> Self {
        let message = format!("too many requests: try again in {retry_after_secs} s");
        let error = Self::new(StatusCode::TOO_MANY_REQUESTS, RATE_LIMIT_EXCEEDED, message);
        Self { retry_after_secs: Some(retry_after_secs), ..error }
    }

    pub(super) fn insufficient_scope(scope: &str) -> Self {
        let message = format!("the API key does not have the permission {scope}");
        Self::new(StatusCode::FORBIDDEN, "INSUFFICIENT_SCOPE", message)
    }

    fn over_limit(over: OverLimit, now: UnixMs) -> Self {
        let quota = QuotaView::from(over);
        let message = format!(
            "the plan allows {} in a {}, of which {} are left",
            quota.limit, quota.window, quota.left
        );
        // A day that is over stays as full as it is.
        let wait_ms = u64::try_from(over.resets_at.0 - now.0).ok().filter(|wait_ms| *wait_ms > 0);
        let retry_after_secs = wait_ms.map(|wait_ms| wait_ms.div_ceil(1000));
        let error = Self::new(StatusCode::TOO_MANY_REQUESTS, "USAGE_LIMIT_EXCEEDED", message);
        Self { quota: Some(Box::new(quota)), retry_after_secs, ..error }
    }

    fn unavailable(code: &'static str, message: &str) -> Self {
        let error = Self::new(StatusCode::SERVICE_UNAVAILABLE, code, message);
        Self { retry_after_secs: Some(RETRY_AFTER_SECS), ..error }
    }
}

impl ApiError {
    pub(super) fn message(&self) -> &str {
        &self.message
    }

    /// The answer with what `body` makes of the envelope.
    pub(super) fn respond_with<B: Serialize>(self, body: impl FnOnce(Envelope) -> B) -> Response {
        let envelope = Envelope {
            valid: self.refused.then_some(false),
            error: self.message,
            code: self.code,
            request_id: current_request_id(),
            details: self.details,
            quota: self.quota.map(|quota| *quota),
            limit: self.limit.map(|limit| LimitView::from(*limit)),
        };
        let mut response = (self.status, Json(body(envelope))).into_response();
        let headers = response.headers_mut();
        if let Some(secs) = self.retry_after_secs {
            headers.insert(header::RETRY_AFTER, HeaderValue::from(secs));
        }
        if self.status == StatusCode::UNAUTHORIZED {
            headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        response.extensions_mut().insert(ErrorCode(self.code));
        response
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        self.respond_with(|envelope| envelope)
    }
}

impl From<FieldErrors> for ApiError {
    fn from(errors: FieldErrors) -> Self {
        let details = errors.into_details();
        let message = match details.as_slice() {
            [only] => format!("{} {}", only.field, only.message),
            several => format!("{} fields are wrong", several.len()),
        };
        Self { details, ..Self::new(StatusCode::BAD_REQUEST, "VALIDATION_FAILED", message) }
    }
}

//! The codes of errors and refusals. A test compares them with those that the sources give.

use std::borrow::Cow;

use utoipa::{
    PartialSchema, ToSchema,
    openapi::{RefOr, Schema, Type, schema::ObjectBuilder},
};

const CODES: &[&str] = &[
    "AGENT_EXISTS",
    "AGENT_NOT_FOUND",
    "AMOUNT_MISMATCH",
    "API_KEY_EXPIRED",
    "API_KEY_LIMIT_REACHED",
    "API_KEY_REVOKED",
    "API_KEY_ROTATED",
    "BLOCKCHAIN_UNAVAILABLE",
    "BODY_TIMEOUT",
    "BODY_TOO_LARGE",
    "BODY_UNREADABLE",
    "CURRENCY_MISMATCH",
    "DATABASE_UNAVAILABLE",
    "FEE_PAYER_UNAVAILABLE",
    "HEAD_TOO_LARGE",
    "IDEMPOTENCY_CONFLICT",
    "IDEMPOTENCY_IN_PROGRESS",
    "INSUFFICIENT_AMOUNT",
    "INSUFFICIENT_SCOPE",
    "INTERNAL_ERROR",
    "INVALID_API_KEY",
    "INVALID_PAYMENT",
    "INVALID_REQUEST",
    "INVALID_SIGNATURE",
    "METHOD_NOT_ALLOWED",
    "NONCE_MISMATCH",
    "NOT_FOUND",
    "OUTCOME_UNKNOWN",
    "OVERLOADED",
    "PAYMENT_EXPIRED",
    "PLAN_RETIRED",
    "RATE_LIMIT_EXCEEDED",
    "RECIPIENT_MISMATCH",
    "REPLAY_ATTACK",
    "SERVICE_NOT_ALLOWED",
    "SETTLEMENT_UNAVAILABLE",
    "SPENDING_LIMIT_EXCEEDED",
    "SUBSCRIPTION_ALREADY_PAID",
    "SUBSCRIPTION_INACTIVE",
    "SUBSCRIPTION_NOT_FOUND",
    "TIMED_OUT",
    "TRANSACTION_FAILED",
    "TRANSACTION_NOT_FOUND",
    "UNSUPPORTED_MEDIA_TYPE",
    "USAGE_LIMIT_EXCEEDED",
    "VALIDATION_FAILED",
    "VERIFICATION_IN_PROGRESS",
];

/// What an error is, for programs.
pub(in crate::http) enum Code {}

impl PartialSchema for Code {
    fn schema() -> RefOr<Schema> {
        ObjectBuilder::new()
            .schema_type(Type::String)
            .enum_values(Some(CODES.iter().copied()))
            .description(Some("What went wrong, for programs."))
            .into()
    }
}

impl ToSchema for Code {
    fn name() -> Cow<'static, str> {
        Cow::Borrowed("ErrorCode")
    }
}

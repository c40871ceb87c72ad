//! `POST /requirements` and `GET /requirements/{nonce}`.

use std::sync::Arc;

use axum::{Json, extract::State, http::StatusCode};
use serde::Serialize;
use serde_json::value::RawValue;
use utoipa::ToSchema;

use crate::{
    clock::{Clock, UnixMs},
    http::{
        allowed::{Allowed, Verify},
        error::ApiError,
        extract::{JsonBody, PathName},
        idempotency::IdempotencyKey,
        middleware::livemode,
    },
    money::Currency,
    requirements::{
        IssuedRequirement, NewRequirementMembers, RequirementState, SchemeName, service::Requirements,
    },
    schema,
};

/// An issued requirement on the wire. As it is, it can be put into a 402 answer and into a proof's `requirement`.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = IssuedRequirement)]
pub(in crate::http) struct RequirementView {
    #[schema(value_type = schema::AmountOut)]
    amount: Box<RawValue>,
    /// With the scheme `range`.
    #[schema(value_type = schema::AmountOut)]
    #[serde(skip_serializing_if = "Option::is_none")]
    max_amount: Option<Box<RawValue>>,
    currency: Currency,
    #[schema(value_type = schema::PublicKey)]
    recipient: String,
    #[schema(value_type = schema::Resource)]
    #[serde(skip_serializing_if = "Option::is_none")]
    resource: Option<String>,
    /// Names the requirement. The payer signs it.
    #[schema(value_type = schema::Nonce)]
    nonce: String,
    expires_at: Option<UnixMs>,
    #[schema(value_type = SchemeName)]
    scheme: &'static str,
    #[schema(value_type = Object)]
    #[serde(skip_serializing_if = "Option::is_none")]
    metadata: Option<Box<RawValue>>,
    state: RequirementState,
    /// Whether it is about real money.
    livemode: bool,
    /// The payment that met it.
    #[schema(nullable = false, example = "pay_01K0B9M2T8Q5W7Y3XN4VZC6RDE")]
    #[serde(skip_serializing_if = "Option::is_none")]
    payment_id: Option<String>,
    created_at: UnixMs,
}

impl RequirementView {
    fn new(issued: IssuedRequirement, now: UnixMs) -> Self {
        let state = issued.state(now);
        let requirement = issued.requirement;
        let decimals = requirement.currency.decimals();
        Self {
            amount: requirement.amount.to_json(decimals),
            max_amount: requirement.scheme.max_amount().map(|max| max.to_json(decimals)),
            currency: requirement.currency,
            recipient: requirement.recipient.to_string(),
            resource: requirement.resource,
            nonce: issued.nonce,
            expires_at: requirement.expires_at,
            scheme: requirement.scheme.as_str(),
            metadata: issued.metadata.and_then(|json| RawValue::from_string(json).ok()),
            state,
            livemode: livemode(),
            payment_id: issued.payment_id,
            created_at: issued.created_at,
        }
    }
}

/// Issues a requirement under a fresh nonce, to be put into a 402 answer.
#[utoipa::path(
    post,
    path = "/requirements",
    operation_id = "issueRequirement",
    tag = "Requirements",
    params(IdempotencyKey),
    request_body = NewRequirementMembers,
    responses((status = 201, description = "Issued.", body = RequirementView)),
    security(("bearer" = ["verify"]), ("apiKey" = ["verify"])),
)]
pub(in crate::http) async fn issue(
    State(requirements): State<Arc<Requirements>>,
    State(clock): State<Arc<dyn Clock>>,
    Allowed { caller, .. }: Allowed<Verify>,
    JsonBody(body): JsonBody,
) -> Result<(StatusCode, Json<RequirementView>), ApiError> {
    let issued = requirements.issue(&caller, &body).await?;
    Ok((StatusCode::CREATED, Json(RequirementView::new(issued, clock.now()))))
}

/// A requirement that the key's user had issued, and whether it was paid.
#[utoipa::path(
    get,
    path = "/requirements/{nonce}",
    operation_id = "getRequirement",
    tag = "Requirements",
    params(("nonce" = String, Path, description = "The nonce it was issued under.")),
    responses((status = 200, description = "The requirement.", body = RequirementView)),
    security(("bearer" = ["verify"]), ("apiKey" = ["verify"])),
)]
pub(in crate::http) async fn find(
    State(requirements): State<Arc<Requirements>>,
    State(clock): State<Arc<dyn Clock>>,
    Allowed { caller, .. }: Allowed<Verify>,
    PathName(nonce): PathName,
) -> Result<Json<RequirementView>, ApiError> {
    let issued = requirements.find(&caller, &nonce).await?;
    let issued = issued.ok_or_else(|| ApiError::not_found("this requirement"))?;
    Ok(Json(RequirementView::new(issued, clock.now())))
}

//! `POST /requirements` and `GET /requirements/{nonce}`.

use std::sync::Arc;

use axum::{Json, extract::State, http::StatusCode};
use serde::Serialize;
use serde_json::value::RawValue;

use crate::{
    api_keys::Environment,
    clock::{Clock, UnixMs},
    http::{
        allowed::{Allowed, Verify},
        error::ApiError,
        extract::{JsonBody, PathName},
    },
    money::Currency,
    requirements::{IssuedRequirement, RequirementState, service::Requirements},
};

/// An issued requirement on the wire. As it is, it can be put into a 402 answer and into a proof's `requirement`.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(in crate::http) struct RequirementView {
    amount: Box<RawValue>,
    #[serde(skip_serializing_if = "Option::is_none")]
    max_amount: Option<Box<RawValue>>,
    currency: Currency,
    recipient: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    resource: Option<String>,
    nonce: String,
    expires_at: Option<UnixMs>,
    scheme: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    metadata: Option<Box<RawValue>>,
    state: RequirementState,
    livemode: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    payment_id: Option<String>,
    created_at: UnixMs,
}

impl RequirementView {
    fn new(issued: IssuedRequirement, environment: Environment, now: UnixMs) -> Self {
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
            livemode: environment.livemode(),
            payment_id: issued.payment_id,
            created_at: issued.created_at,
        }
    }
}

pub(in crate::http) async fn issue(
    State(requirements): State<Arc<Requirements>>,
    State(clock): State<Arc<dyn Clock>>,
    State(environment): State<Environment>,
    Allowed { caller, .. }: Allowed<Verify>,
    JsonBody(body): JsonBody,
) -> Result<(StatusCode, Json<RequirementView>), ApiError> {
    let issued = requirements.issue(&caller, &body).await?;
    Ok((StatusCode::CREATED, Json(RequirementView::new(issued, environment, clock.now()))))
}

pub(in crate::http) async fn find(
    State(requirements): State<Arc<Requirements>>,
    State(clock): State<Arc<dyn Clock>>,
    State(environment): State<Environment>,
    Allowed { caller, .. }: Allowed<Verify>,
    PathName(nonce): PathName,
) -> Result<Json<RequirementView>, ApiError> {
    let issued = requirements.find(&caller, &nonce).await?;
    let issued = issued.ok_or_else(|| ApiError::not_found("this requirement"))?;
    Ok(Json(RequirementView::new(issued, environment, clock.now())))
}

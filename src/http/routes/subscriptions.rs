//! `/subscriptions`: those of the calling key's user.

use std::sync::Arc;

use axum::{Json, extract::State, http::StatusCode};
use serde::Serialize;
use serde_json::value::RawValue;
use utoipa::ToSchema;

use crate::{
    clock::UnixMs,
    http::{
        allowed::{Allowed, SubscriptionsRead, SubscriptionsWrite},
        error::{ApiError, Envelope},
        extract::{JsonBody, Page, PathName},
        idempotency::IdempotencyKey,
        middleware::livemode,
    },
    money::Currency,
    schema,
    subscriptions::{CancelMembers, CreateMembers, Standing, Subscribed, service::Subscriptions},
};

/// Where a subscription stands.
#[derive(Clone, Copy, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
#[schema(as = SubscriptionStatus)]
pub(in crate::http) enum Status {
    /// May be used.
    Active,
    /// The current period is not paid, and nothing may be used.
    PastDue,
    Cancelled,
    /// It was not paid in time.
    Expired,
}

impl From<Standing> for Status {
    fn from(standing: Standing) -> Self {
        match standing {
            Standing::Active { .. } => Self::Active,
            Standing::PastDue { .. } => Self::PastDue,
            Standing::Cancelled { .. } => Self::Cancelled,
            Standing::Expired { .. } => Self::Expired,
        }
    }
}

/// An agent's subscription to a plan.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = Subscription)]
pub(in crate::http) struct SubscriptionView {
    #[schema(example = "sub_01K0B9M2T8Q5W7Y3XN4VZC6RDE")]
    id: String,
    #[schema(example = "plan_01K0B9M2T8Q5W7Y3XN4VZC6RDE")]
    plan_id: String,
    #[schema(example = "agent_01K0B9M2T8Q5W7Y3XN4VZC6RDE")]
    agent_id: String,
    /// The wallet that pays.
    #[schema(value_type = schema::PublicKey)]
    wallet_address: String,
    status: Status,
    /// When the current period began; of one that has ended, its last.
    current_period_start: UnixMs,
    current_period_end: UnixMs,
    /// It ends with the time that is paid.
    cancel_at_period_end: bool,
    /// What the current period costs.
    #[schema(value_type = schema::AmountOut)]
    price: Box<RawValue>,
    currency: Currency,
    /// The end of the last period that is paid, or was free of charge. The next payment pays the period that begins then.
    paid_until: UnixMs,
    /// From then on a payment comes too late, with the status `past_due`.
    #[schema(nullable = false)]
    #[serde(skip_serializing_if = "Option::is_none")]
    expires_at: Option<UnixMs>,
    /// When it was cancelled or expired.
    ended_at: Option<UnixMs>,
    /// Whether real money moves.
    livemode: bool,
    created_at: UnixMs,
    updated_at: UnixMs,
    #[schema(value_type = Object)]
    #[serde(skip_serializing_if = "Option::is_none")]
    metadata: Option<Box<RawValue>>,
}

impl From<Subscribed> for SubscriptionView {
    fn from(subscribed: Subscribed) -> Self {
        let Subscribed { subscription, price, .. } = subscribed;
        let standing = subscription.standing;
        Self {
            id: subscription.id.to_string(),
            plan_id: subscription.plan.to_string(),
            agent_id: subscription.agent.to_string(),
            wallet_address: subscription.wallet.to_string(),
            status: standing.into(),
            current_period_start: subscription.period.start,
            current_period_end: subscription.period.end,
            cancel_at_period_end: standing.cancel_at_period_end(),
            price: subscription.price.to_json(price.currency.decimals()),
            currency: price.currency,
            paid_until: subscription.paid_until,
            expires_at: match standing {
                Standing::PastDue { expires_at } => Some(expires_at),
                _ => None,
            },
            ended_at: standing.ended_at(),
            livemode: livemode(),
            created_at: subscription.created_at,
            updated_at: subscription.updated_at,
            metadata: subscription.metadata.and_then(|json| RawValue::from_string(json).ok()),
        }
    }
}

#[derive(Serialize, ToSchema)]
pub(in crate::http) struct SubscriptionList {
    subscriptions: Vec<SubscriptionView>,
    total: u64,
    limit: u32,
    offset: u32,
}

/// Subscribes an agent to a plan, from now on, month by month.
#[utoipa::path(
    post,
    path = "/subscriptions",
    operation_id = "createSubscription",
    tag = "Subscriptions",
    params(IdempotencyKey),
    request_body = CreateMembers,
    responses(
        (status = 201, description = "Made.", body = SubscriptionView),
        (
            status = 404,
            description = "You have no such plan (`NOT_FOUND`) or agent (`AGENT_NOT_FOUND`).",
            body = Envelope,
        ),
        (
            status = 409,
            description = "The plan takes no new subscriptions (`PLAN_RETIRED`); or see `Idempotency-Key`.",
            body = Envelope,
        ),
    ),
    security(("bearer" = ["subscriptions:write"]), ("apiKey" = ["subscriptions:write"])),
)]
pub(in crate::http) async fn create(
    State(subscriptions): State<Arc<Subscriptions>>,
    Allowed { caller, .. }: Allowed<SubscriptionsWrite>,
    JsonBody(body): JsonBody,
) -> Result<(StatusCode, Json<SubscriptionView>), ApiError> {
    Ok((StatusCode::CREATED, Json(subscriptions.create(&caller, &body).await?.into())))
}

/// The subscriptions of the key's user, newest first, ended ones too.
#[utoipa::path(
    get,
    path = "/subscriptions",
    operation_id = "listSubscriptions",
    tag = "Subscriptions",
    params(Page),
    responses((status = 200, description = "One page of them.", body = SubscriptionList)),
    security(("bearer" = ["subscriptions:read"]), ("apiKey" = ["subscriptions:read"])),
)]
pub(in crate::http) async fn list(
    State(subscriptions): State<Arc<Subscriptions>>,
    Allowed { caller, .. }: Allowed<SubscriptionsRead>,
    page: Page,
) -> Result<Json<SubscriptionList>, ApiError> {
    let found = subscriptions.list(&caller, page.limit, page.offset).await?;
    Ok(Json(SubscriptionList {
        subscriptions: found.subscriptions.into_iter().map(SubscriptionView::from).collect(),
        total: found.total,
        limit: page.limit,
        offset: page.offset,
    }))
}

/// One subscription of the key's user.
#[utoipa::path(
    get,
    path = "/subscriptions/{id}",
    operation_id = "getSubscription",
    tag = "Subscriptions",
    params(("id" = String, Path, description = "The subscription's id.")),
    responses((status = 200, description = "The subscription.", body = SubscriptionView)),
    security(("bearer" = ["subscriptions:read"]), ("apiKey" = ["subscriptions:read"])),
)]
pub(in crate::http) async fn find(
    State(subscriptions): State<Arc<Subscriptions>>,
    Allowed { caller, .. }: Allowed<SubscriptionsRead>,
    PathName(id): PathName,
) -> Result<Json<SubscriptionView>, ApiError> {
    Ok(Json(subscriptions.find(&caller, &id).await?.into()))
}

/// Cancels a subscription, with the time that is paid or at once.
///
/// One that is past due ends at once. One that has ended stays as it is. Nothing is paid back.
#[utoipa::path(
    post,
    path = "/subscriptions/{id}/cancel",
    operation_id = "cancelSubscription",
    tag = "Subscriptions",
    params(("id" = String, Path, description = "The subscription's id."), IdempotencyKey),
    request_body = CancelMembers,
    responses((status = 200, description = "The subscription as it is now.", body = SubscriptionView)),
    security(("bearer" = ["subscriptions:write"]), ("apiKey" = ["subscriptions:write"])),
)]
pub(in crate::http) async fn cancel(
    State(subscriptions): State<Arc<Subscriptions>>,
    Allowed { caller, .. }: Allowed<SubscriptionsWrite>,
    PathName(id): PathName,
    JsonBody(body): JsonBody,
) -> Result<Json<SubscriptionView>, ApiError> {
    Ok(Json(subscriptions.cancel(&caller, &id, &body).await?.into()))
}

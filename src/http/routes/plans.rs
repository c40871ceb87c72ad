//! `/plans`, and `/subscriptions/plans` for reading. Open to all but for changes.

use std::sync::Arc;

use axum::{Json, extract::State, http::StatusCode};
use serde::Serialize;
use serde_json::value::RawValue;
use utoipa::ToSchema;

use crate::{
    api_keys::Caller,
    clock::UnixMs,
    http::{
        allowed::{Allowed, PlansWrite},
        error::{ApiError, Envelope},
        extract::{JsonBody, Page, PathName},
        idempotency::IdempotencyKey,
        middleware::livemode,
    },
    money::Currency,
    plans::{CreateMembers, Plan, UpdateMembers, service::Plans},
    schema,
};

/// How much may be used under a subscription. What is missing is not limited.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = PlanLimits)]
pub(in crate::http) struct LimitsView {
    /// In a subscription's period, which is a month.
    #[schema(nullable = false)]
    #[serde(skip_serializing_if = "Option::is_none")]
    requests_per_month: Option<u64>,
    /// In a UTC day.
    #[schema(nullable = false)]
    #[serde(skip_serializing_if = "Option::is_none")]
    requests_per_day: Option<u64>,
}

/// A plan on the wire.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = Plan)]
pub(in crate::http) struct PlanView {
    #[schema(example = "plan_01K0B9M2T8Q5W7Y3XN4VZC6RDE")]
    id: String,
    name: String,
    #[schema(nullable = false)]
    #[serde(skip_serializing_if = "Option::is_none")]
    description: Option<String>,
    #[schema(value_type = schema::AmountOut)]
    price_per_month: Box<RawValue>,
    currency: Currency,
    features: Vec<String>,
    limits: LimitsView,
    #[schema(value_type = Object)]
    #[serde(skip_serializing_if = "Option::is_none")]
    metadata: Option<Box<RawValue>>,
    /// Whether real money moves.
    livemode: bool,
    created_at: UnixMs,
    updated_at: UnixMs,
    /// Since when it takes no new subscriptions.
    retired_at: Option<UnixMs>,
}

impl From<Plan> for PlanView {
    fn from(plan: Plan) -> Self {
        Self {
            id: plan.id.to_string(),
            name: plan.name,
            description: plan.description,
            price_per_month: plan.price_per_month.to_json(plan.currency.decimals()),
            currency: plan.currency,
            features: plan.features,
            limits: LimitsView {
                requests_per_month: plan.limits.requests_per_month,
                requests_per_day: plan.limits.requests_per_day,
            },
            metadata: plan.metadata.and_then(|json| RawValue::from_string(json).ok()),
            livemode: livemode(),
            created_at: plan.created_at,
            updated_at: plan.updated_at,
            retired_at: plan.retired_at,
        }
    }
}

#[derive(Serialize, ToSchema)]
pub(in crate::http) struct PlanList {
    plans: Vec<PlanView>,
    total: u64,
    limit: u32,
    offset: u32,
}

/// What became of a plan that was removed.
#[derive(Serialize, ToSchema)]
#[schema(as = RemovedPlan)]
pub(in crate::http) struct RemovedView {
    #[serde(flatten)]
    plan: PlanView,
    /// Whether it is gone. If not, it was subscribed to before and is retired.
    deleted: bool,
}

/// Makes a plan, which is on offer at once.
#[utoipa::path(
    post,
    path = "/plans",
    operation_id = "createPlan",
    tag = "Plans",
    params(IdempotencyKey),
    request_body = CreateMembers,
    responses((status = 201, description = "Made.", body = PlanView)),
    security(("bearer" = ["plans:write"]), ("apiKey" = ["plans:write"])),
)]
pub(in crate::http) async fn create(
    State(plans): State<Arc<Plans>>,
    Allowed { caller, .. }: Allowed<PlansWrite>,
    JsonBody(body): JsonBody,
) -> Result<(StatusCode, Json<PlanView>), ApiError> {
    Ok((StatusCode::CREATED, Json(plans.create(&caller, &body).await?.into())))
}

/// The plans that can be subscribed to, of all users, newest first.
#[utoipa::path(
    get,
    path = "/plans",
    operation_id = "listPlans",
    tag = "Plans",
    params(Page),
    responses(
        (status = 200, description = "One page of them.", body = PlanList),
        (status = 401, description = "A key was sent, which is not needed, and it is not valid.", body = Envelope),
    ),
)]
pub(in crate::http) async fn list(
    State(plans): State<Arc<Plans>>,
    page: Page,
) -> Result<Json<PlanList>, ApiError> {
    let found = plans.on_offer(page.limit, page.offset).await?;
    Ok(Json(PlanList {
        plans: found.plans.into_iter().map(PlanView::from).collect(),
        total: found.total,
        limit: page.limit,
        offset: page.offset,
    }))
}

/// As `GET /plans`.
#[utoipa::path(
    get,
    path = "/subscriptions/plans",
    operation_id = "listSubscriptionPlans",
    tag = "Plans",
    params(Page),
    responses(
        (status = 200, description = "One page of them.", body = PlanList),
        (status = 401, description = "A key was sent, which is not needed, and it is not valid.", body = Envelope),
    ),
)]
pub(in crate::http) async fn list_below_subscriptions(
    plans: State<Arc<Plans>>,
    page: Page,
) -> Result<Json<PlanList>, ApiError> {
    list(plans, page).await
}

/// One plan. A retired one is there for its owner, with a key.
#[utoipa::path(
    get,
    path = "/plans/{id}",
    operation_id = "getPlan",
    tag = "Plans",
    params(("id" = String, Path, description = "The plan's id.")),
    responses(
        (status = 200, description = "The plan.", body = PlanView),
        (status = 401, description = "A key was sent, which is not needed, and it is not valid.", body = Envelope),
    ),
)]
pub(in crate::http) async fn find(
    State(plans): State<Arc<Plans>>,
    caller: Option<Caller>,
    PathName(id): PathName,
) -> Result<Json<PlanView>, ApiError> {
    Ok(Json(plans.find(caller.as_ref(), &id).await?.into()))
}

/// As `GET /plans/{id}`.
#[utoipa::path(
    get,
    path = "/subscriptions/plans/{id}",
    operation_id = "getSubscriptionPlan",
    tag = "Plans",
    params(("id" = String, Path, description = "The plan's id.")),
    responses(
        (status = 200, description = "The plan.", body = PlanView),
        (status = 401, description = "A key was sent, which is not needed, and it is not valid.", body = Envelope),
    ),
)]
pub(in crate::http) async fn find_below_subscriptions(
    plans: State<Arc<Plans>>,
    caller: Option<Caller>,
    id: PathName,
) -> Result<Json<PlanView>, ApiError> {
    find(plans, caller, id).await
}

/// Changes a plan of the key's user.
///
/// A new price holds for periods that begin from now on, new limits at once. The currency stays.
#[utoipa::path(
    patch,
    path = "/plans/{id}",
    operation_id = "changePlan",
    tag = "Plans",
    params(("id" = String, Path, description = "The plan's id.")),
    request_body = UpdateMembers,
    responses((status = 200, description = "The plan as it is now.", body = PlanView)),
    security(("bearer" = ["plans:write"]), ("apiKey" = ["plans:write"])),
)]
pub(in crate::http) async fn change(
    State(plans): State<Arc<Plans>>,
    Allowed { caller, .. }: Allowed<PlansWrite>,
    PathName(id): PathName,
    JsonBody(body): JsonBody,
) -> Result<Json<PlanView>, ApiError> {
    Ok(Json(plans.change(&caller, id, &body).await?.into()))
}

/// Removes a plan of the key's user.
///
/// One that nobody ever subscribed to is deleted. Any other is retired: its subscriptions go on, it takes no new ones, it
/// is in no list, and only its owner can still read it, by its id. Retired again, it stays as it is.
#[utoipa::path(
    delete,
    path = "/plans/{id}",
    operation_id = "removePlan",
    tag = "Plans",
    params(("id" = String, Path, description = "The plan's id.")),
    responses((status = 200, description = "The plan as it is now, or was.", body = RemovedView)),
    security(("bearer" = ["plans:write"]), ("apiKey" = ["plans:write"])),
)]
pub(in crate::http) async fn remove(
    State(plans): State<Arc<Plans>>,
    Allowed { caller, .. }: Allowed<PlansWrite>,
    PathName(id): PathName,
) -> Result<Json<RemovedView>, ApiError> {
    let (plan, deleted) = plans.remove(&caller, id).await?;
    Ok(Json(RemovedView { plan: plan.into(), deleted }))
}

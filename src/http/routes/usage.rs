//! `/usage`, also as `/subscriptions/usage`, and what was used of a subscription.

use std::sync::Arc;

use axum::{
    Extension, Json,
    extract::{FromRequestParts, Query, State},
    http::{StatusCode, request::Parts},
    response::{IntoResponse, Response},
};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use utoipa::{IntoParams, ToSchema};

use crate::{
    calendar::Day,
    clock::UnixMs,
    http::{
        allowed::{Allowed, SubscriptionsRead, UsageWrite},
        error::{ApiError, Envelope},
        extract::{JsonBody, Page, PathName},
        idempotency::{IdempotencyKey, REPLAYED, RequestTag},
        middleware::livemode,
    },
    input::FieldErrors,
    schema,
    usage::{
        Counted, DayCount, Quota, ResourceSum, UsageBody, UsageRecord,
        service::{Report, Usage},
    },
};

/// Something that was used.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = UsageRecord)]
pub(in crate::http) struct RecordView {
    #[schema(example = "usage_01K0B9M2T8Q5W7Y3XN4VZC6RDE")]
    id: String,
    subscription_id: String,
    quantity: u64,
    #[schema(value_type = Option<schema::Resource>, nullable = false)]
    #[serde(skip_serializing_if = "Option::is_none")]
    resource: Option<String>,
    /// When it was used.
    timestamp: UnixMs,
    recorded_at: UnixMs,
    #[schema(value_type = Option<schema::UsageKey>, nullable = false)]
    #[serde(skip_serializing_if = "Option::is_none")]
    idempotency_key: Option<String>,
    /// Whether real money moves.
    livemode: bool,
    #[schema(value_type = Object)]
    #[serde(skip_serializing_if = "Option::is_none")]
    metadata: Option<Box<RawValue>>,
}

impl From<UsageRecord> for RecordView {
    fn from(record: UsageRecord) -> Self {
        Self {
            idempotency_key: record.key_of_caller().map(str::to_owned),
            id: record.id.to_string(),
            subscription_id: record.subscription.to_string(),
            quantity: record.quantity,
            resource: record.resource,
            timestamp: record.used_at,
            recorded_at: record.recorded_at,
            livemode: livemode(),
            metadata: record.metadata.and_then(|json| RawValue::from_string(json).ok()),
        }
    }
}

/// Something that was used and is counted.
#[derive(Serialize, ToSchema)]
#[schema(as = CountedUsage)]
pub(in crate::http) struct CountedView {
    #[serde(flatten)]
    record: RecordView,
    /// It had been counted before, under its key.
    repeated: bool,
}

#[derive(Serialize, ToSchema)]
#[schema(as = CountedUsageList)]
pub(in crate::http) struct CountedList {
    /// In the order it was sent.
    usage: Vec<CountedView>,
}

impl From<Vec<Counted>> for CountedList {
    fn from(counted: Vec<Counted>) -> Self {
        let view =
            |counted: Counted| CountedView { record: counted.record.into(), repeated: counted.repeated };
        Self { usage: counted.into_iter().map(view).collect() }
    }
}

/// How much of a period is used.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = PeriodUsage)]
pub(in crate::http) struct PeriodView {
    start: UnixMs,
    end: UnixMs,
    #[serde(flatten)]
    quota: QuotaView,
}

/// How much of a UTC day is used.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = DayUsage)]
pub(in crate::http) struct TodayView {
    #[schema(example = "2028-02-29")]
    date: String,
    #[serde(flatten)]
    quota: QuotaView,
}

#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = UsageQuota)]
pub(in crate::http) struct QuotaView {
    used: u64,
    /// What the plan allows now; `null`: as much as there is.
    limit: Option<u64>,
    left: Option<u64>,
    resets_at: UnixMs,
}

impl From<Quota> for QuotaView {
    fn from(quota: Quota) -> Self {
        Self { used: quota.used, limit: quota.limit, left: quota.left(), resets_at: quota.resets_at }
    }
}

/// What was used on a UTC day.
#[derive(Serialize, ToSchema)]
#[schema(as = UsageByDay)]
pub(in crate::http) struct DayView {
    #[schema(example = "2028-02-29")]
    date: String,
    quantity: u64,
    /// How many records there are of it.
    records: u64,
}

impl From<DayCount> for DayView {
    fn from(count: DayCount) -> Self {
        Self { date: count.day.iso(), quantity: count.quantity, records: count.records }
    }
}

/// What was used of a resource.
#[derive(Serialize, ToSchema)]
#[schema(as = UsageByResource)]
pub(in crate::http) struct ResourceView {
    /// `null`: none was named.
    resource: Option<String>,
    quantity: u64,
    /// How many records there are of it.
    records: u64,
}

impl From<ResourceSum> for ResourceView {
    fn from(sum: ResourceSum) -> Self {
        Self { resource: sum.resource, quantity: sum.quantity, records: sum.records }
    }
}

/// What was used in one period of a subscription.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = UsageReport)]
pub(in crate::http) struct ReportView {
    period: PeriodView,
    /// Today, where that is in the period.
    #[schema(nullable = false)]
    #[serde(skip_serializing_if = "Option::is_none")]
    today: Option<TodayView>,
    /// One page of the period's records, newest first.
    usage: Vec<RecordView>,
    /// How many records there are on all pages.
    total: u64,
    limit: u32,
    offset: u32,
    /// All days of the period on which anything was used.
    by_day: Vec<DayView>,
    /// One page, of the same limit and offset, of the period's resources, the most used first.
    by_resource: Vec<ResourceView>,
    /// Whether real money moves.
    livemode: bool,
}

impl ReportView {
    fn new(report: Report, page: Page) -> Self {
        let today = |(day, quota): (Day, Quota)| TodayView { date: day.iso(), quota: quota.into() };
        Self {
            period: PeriodView {
                start: report.period.start,
                end: report.period.end,
                quota: report.in_period.into(),
            },
            today: report.today.map(today),
            usage: report.records.into_iter().map(RecordView::from).collect(),
            total: report.total,
            limit: page.limit,
            offset: page.offset,
            by_day: report.by_day.into_iter().map(DayView::from).collect(),
            by_resource: report.by_resource.into_iter().map(ResourceView::from).collect(),
            livemode: livemode(),
        }
    }
}

/// Which period is wanted.
#[derive(Clone, Copy, Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(in crate::http) struct PeriodQuery {
    /// Any time in the period, in Unix milliseconds from 0 to 4102444800000. Left out: the current period, or the last.
    #[param(minimum = 0, maximum = 4_102_444_800_000_i64)]
    at: Option<i64>,
}

/// The latest time that can be asked for: the end of 2099.
const LATEST_MS: i64 = 4_102_444_800_000;

impl<S: Send + Sync> FromRequestParts<S> for PeriodQuery {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Self, ApiError> {
        let wrong =
            || FieldErrors::one("at", format!("must be a time in Unix milliseconds from 0 to {LATEST_MS}"));
        let Query(query) = Query::<Self>::try_from_uri(&parts.uri).map_err(|_| wrong())?;
        if query.at.is_some_and(|at| !(0..=LATEST_MS).contains(&at)) {
            return Err(wrong().into());
        }
        Ok(query)
    }
}

/// Counts what was used: one thing or up to 100, all of them or none.
///
/// Under one `idempotencyKey` a subscription counts once, whichever route is asked and however often. So does what has none
/// in a request with an `Idempotency-Key`, which may be sent again whatever became of its answer. The subscription must be
/// `active`.
#[utoipa::path(
    post,
    path = "/usage",
    operation_id = "recordUsage",
    tag = "Subscriptions",
    params(IdempotencyKey),
    request_body = UsageBody,
    responses(
        (status = 201, description = "Counted.", body = CountedList),
        (status = 404, description = "You have no such subscription (`SUBSCRIPTION_NOT_FOUND`).", body = Envelope),
        (
            status = 409,
            description = "The subscription is not active (`SUBSCRIPTION_INACTIVE`), or the `idempotencyKey` stands for \
                           other usage (`IDEMPOTENCY_CONFLICT`); or see `Idempotency-Key`.",
            body = Envelope,
        ),
        (
            status = 429,
            description = "More than the plan allows (`USAGE_LIMIT_EXCEEDED`, with `quota`), or too many requests: wait \
                           `Retry-After` seconds.",
            body = Envelope,
        ),
    ),
    security(("bearer" = ["usage:write"]), ("apiKey" = ["usage:write"])),
)]
pub(in crate::http) async fn record(
    State(usage): State<Arc<Usage>>,
    Allowed { caller, .. }: Allowed<UsageWrite>,
    tag: Option<Extension<RequestTag>>,
    JsonBody(body): JsonBody,
) -> Result<Response, ApiError> {
    let tag = tag.as_ref().map(|Extension(tag)| tag.0.as_str());
    let recorded = usage.record(&caller, &body, tag).await?;
    let answer = (StatusCode::CREATED, Json(CountedList::from(recorded.usage)));
    Ok(if recorded.before { ([REPLAYED], answer).into_response() } else { answer.into_response() })
}

/// As `POST /usage`.
#[utoipa::path(
    post,
    path = "/subscriptions/usage",
    operation_id = "recordSubscriptionUsage",
    tag = "Subscriptions",
    params(IdempotencyKey),
    request_body = UsageBody,
    responses(
        (status = 201, description = "Counted.", body = CountedList),
        (status = 404, description = "You have no such subscription (`SUBSCRIPTION_NOT_FOUND`).", body = Envelope),
        (status = 409, description = "As of `POST /usage`.", body = Envelope),
        (status = 429, description = "As of `POST /usage`.", body = Envelope),
    ),
    security(("bearer" = ["usage:write"]), ("apiKey" = ["usage:write"])),
)]
pub(in crate::http) async fn record_below_subscriptions(
    usage: State<Arc<Usage>>,
    allowed: Allowed<UsageWrite>,
    tag: Option<Extension<RequestTag>>,
    body: JsonBody,
) -> Result<Response, ApiError> {
    record(usage, allowed, tag, body).await
}

/// What was used of a subscription in one period, listed, and summed by day and by resource.
#[utoipa::path(
    get,
    path = "/subscriptions/{id}/usage",
    operation_id = "getUsage",
    tag = "Subscriptions",
    params(("id" = String, Path, description = "The subscription's id."), Page, PeriodQuery),
    responses((status = 200, description = "The period's usage.", body = ReportView)),
    security(("bearer" = ["subscriptions:read"]), ("apiKey" = ["subscriptions:read"])),
)]
pub(in crate::http) async fn report(
    State(usage): State<Arc<Usage>>,
    Allowed { caller, .. }: Allowed<SubscriptionsRead>,
    PathName(id): PathName,
    page: Page,
    query: PeriodQuery,
) -> Result<Json<ReportView>, ApiError> {
    let report = usage.report(&caller, &id, query.at.map(UnixMs), page.limit, page.offset).await?;
    Ok(Json(ReportView::new(report, page)))
}

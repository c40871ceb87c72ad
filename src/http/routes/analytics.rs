//! `/analytics`: what the books of the calling key's user come to.

mod views;

use std::sync::Arc;

use axum::{Json, extract::State};
use serde::Deserialize;
use utoipa::IntoParams;

use self::views::{EventList, RevenueView, TopAgentsView, TransactionsView};
use crate::{
    analytics::{
        Period, Ranking,
        service::{Analytics, Asked},
    },
    http::{
        allowed::{Allowed, AnalyticsRead},
        error::ApiError,
        extract::{Page, Parameters},
    },
};

/// A stretch of time.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(in crate::http) struct Between {
    /// Unix milliseconds, rounded down to a whole UTC hour.
    #[param(value_type = Option<i64>, minimum = 0, maximum = 253_402_300_800_000_i64, nullable = false)]
    from: Option<String>,
    /// Unix milliseconds, rounded up to a whole UTC hour, which does not belong to it any more.
    #[param(value_type = Option<i64>, minimum = 1, maximum = 253_402_300_800_000_i64, nullable = false)]
    to: Option<String>,
}

impl Between {
    fn asked(&self) -> Asked<'_> {
        Asked { from: self.from.as_deref(), to: self.to.as_deref() }
    }
}

/// A stretch of time and what it is divided into.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(in crate::http) struct ByPeriod {
    /// UTC; weeks begin on Mondays.
    #[param(value_type = Option<Period>, inline, nullable = false)]
    period: Option<String>,
    /// Unix milliseconds, rounded down to a whole period. Without it there are 24 hours, 30 days, 12 weeks or 12 months.
    #[param(value_type = Option<i64>, minimum = 0, maximum = 253_402_300_800_000_i64, nullable = false)]
    from: Option<String>,
    /// Unix milliseconds, rounded up to a whole period. Without it the current one is the last.
    #[param(value_type = Option<i64>, minimum = 1, maximum = 253_402_300_800_000_i64, nullable = false)]
    to: Option<String>,
}

/// What agents are ranked by.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(rename_all = "camelCase")]
#[into_params(parameter_in = Query)]
pub(in crate::http) struct RankedBy {
    /// By default `stablecoins`: what they spent in USDC, USDT and PYUSD together, at par.
    #[param(value_type = Option<Ranking>, inline, nullable = false)]
    rank_by: Option<String>,
}

/// What happened.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(in crate::http) struct OfType {
    /// List these alone, such as `payment.verified`.
    #[param(min_length = 1, max_length = 64, nullable = false)]
    r#type: Option<String>,
    /// List what is before this event: the last one of a page goes on where that ended, however far back.
    #[param(min_length = 1, max_length = 64, nullable = false, example = "evt_01K0B9M2T8Q5W7Y3XN4VZC6RDE")]
    before: Option<String>,
}

/// Payments of the key's user: how many, in which state, from where, and what they come to in each currency.
///
/// Those verified from `from` to before `to`, with x402 payments by when they ended, or began where they are pending. By
/// default the last 30 days.
#[utoipa::path(
    get,
    path = "/analytics/transactions",
    operation_id = "getTransactionAnalytics",
    tag = "Analytics",
    params(Between),
    responses((status = 200, description = "What they come to.", body = TransactionsView)),
    security(("bearer" = ["analytics:read"]), ("apiKey" = ["analytics:read"])),
)]
pub(in crate::http) async fn transactions(
    State(analytics): State<Arc<Analytics>>,
    Allowed { caller, .. }: Allowed<AnalyticsRead>,
    Parameters(between): Parameters<Between>,
) -> Result<Json<TransactionsView>, ApiError> {
    let summary = analytics.transactions(&caller.user, between.asked()).await?;
    Ok(Json(summary.into()))
}

/// What was settled for the key's user, in each currency, with a point for every hour, day, week or month.
#[utoipa::path(
    get,
    path = "/analytics/revenue",
    operation_id = "getRevenue",
    tag = "Analytics",
    params(ByPeriod),
    responses((status = 200, description = "The revenue: at most 1000 points a series.", body = RevenueView)),
    security(("bearer" = ["analytics:read"]), ("apiKey" = ["analytics:read"])),
)]
pub(in crate::http) async fn revenue(
    State(analytics): State<Arc<Analytics>>,
    Allowed { caller, .. }: Allowed<AnalyticsRead>,
    Parameters(ByPeriod { period, from, to }): Parameters<ByPeriod>,
) -> Result<Json<RevenueView>, ApiError> {
    let asked = Asked { from: from.as_deref(), to: to.as_deref() };
    let revenue = analytics.revenue(&caller.user, period.as_deref(), asked).await?;
    Ok(Json(revenue.into()))
}

/// The agents of the key's user that spent the most, first.
///
/// What was settled from `from` to before `to`, proofs by when they were verified and x402 payments by when they ended. By
/// default the last 30 days. Agents that made no payment in that time are left out, deleted ones are not.
#[utoipa::path(
    get,
    path = "/analytics/top-agents",
    operation_id = "getTopAgents",
    tag = "Analytics",
    params(RankedBy, Between, Page),
    responses((status = 200, description = "One page of them.", body = TopAgentsView)),
    security(("bearer" = ["analytics:read"]), ("apiKey" = ["analytics:read"])),
)]
pub(in crate::http) async fn top_agents(
    State(analytics): State<Arc<Analytics>>,
    Allowed { caller, .. }: Allowed<AnalyticsRead>,
    Parameters(RankedBy { rank_by }): Parameters<RankedBy>,
    Parameters(between): Parameters<Between>,
    page: Page,
) -> Result<Json<TopAgentsView>, ApiError> {
    let (rank_by, asked) = (rank_by.as_deref(), between.asked());
    let found = analytics.top_agents(&caller.user, rank_by, asked, page.limit, page.offset).await?;
    Ok(Json(TopAgentsView::of(found, page)))
}

/// What happened, newest first, and how often what happened. By default ever.
#[utoipa::path(
    get,
    path = "/analytics/events",
    operation_id = "listEvents",
    tag = "Analytics",
    params(OfType, Between, Page),
    responses((status = 200, description = "One page of them.", body = EventList)),
    security(("bearer" = ["analytics:read"]), ("apiKey" = ["analytics:read"])),
)]
pub(in crate::http) async fn events(
    State(analytics): State<Arc<Analytics>>,
    Allowed { caller, .. }: Allowed<AnalyticsRead>,
    Parameters(OfType { r#type: kind, before }): Parameters<OfType>,
    Parameters(between): Parameters<Between>,
    page: Page,
) -> Result<Json<EventList>, ApiError> {
    let kind = kind.as_deref();
    let (before, asked) = (before.as_deref(), between.asked());
    let found = analytics.events(&caller.user, kind, before, asked, page.limit, page.offset).await?;
    Ok(Json(EventList::of(found, kind, page)))
}

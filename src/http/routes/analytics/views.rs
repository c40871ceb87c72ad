//! Analytics on the wire.

use serde::Serialize;
use serde_json::value::RawValue;
use utoipa::ToSchema;

use crate::{
    analytics::{
        ByState, CurrencyRevenue, CurrencySummary, Event, EventPage, Period, Point, Revenue, Summary, Tally,
    },
    clock::UnixMs,
    http::{extract::Page, middleware::livemode},
    money::{Currency, Sum},
    schema,
};

/// How many payments there are in each state.
#[derive(Serialize, ToSchema)]
pub(in crate::http) struct StateCounts {
    pending: u64,
    settled: u64,
    failed: u64,
    expired: u64,
}

impl From<ByState<u64>> for StateCounts {
    fn from(counts: ByState<u64>) -> Self {
        let ByState { pending, settled, failed, expired } = counts;
        Self { pending, settled, failed, expired }
    }
}

/// How many payments came from where.
#[derive(Serialize, ToSchema)]
pub(in crate::http) struct SourceCounts {
    /// Made by the payer and proved.
    proof: u64,
    /// Settled by the service.
    x402: u64,
}

/// Payments of one currency and state.
#[derive(Serialize, ToSchema)]
#[schema(as = PaymentTally)]
pub(in crate::http) struct TallyView {
    payments: u64,
    #[schema(value_type = schema::SumOut)]
    amount: Box<RawValue>,
}

impl TallyView {
    fn of(tally: Tally, currency: Currency) -> Self {
        Self { payments: tally.payments, amount: tally.amount.to_json(currency.decimals()) }
    }
}

/// Payments of one currency.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = CurrencyTransactions)]
pub(in crate::http) struct CurrencyTransactionsView {
    currency: Currency,
    payments: u64,
    pending: TallyView,
    settled: TallyView,
    failed: TallyView,
    expired: TallyView,
    /// What a settled payment comes to, to the nearest atomic unit; missing where there is none.
    #[schema(value_type = Option<schema::SumOut>, nullable = false)]
    #[serde(skip_serializing_if = "Option::is_none")]
    average_settled: Option<Box<RawValue>>,
}

fn written(sum: Option<Sum>, currency: Currency) -> Option<Box<RawValue>> {
    sum.map(|sum| sum.to_json(currency.decimals()))
}

impl From<CurrencySummary> for CurrencyTransactionsView {
    fn from(summary: CurrencySummary) -> Self {
        let CurrencySummary { currency, states } = summary;
        Self {
            currency,
            payments: summary.payments(),
            pending: TallyView::of(states.pending, currency),
            settled: TallyView::of(states.settled, currency),
            failed: TallyView::of(states.failed, currency),
            expired: TallyView::of(states.expired, currency),
            average_settled: written(summary.average(), currency),
        }
    }
}

/// What payments come to. Amounts of different currencies are never added together.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = TransactionAnalytics)]
pub(in crate::http) struct TransactionsView {
    /// As it was rounded.
    from: UnixMs,
    to: UnixMs,
    /// How many there are in all.
    payments: u64,
    states: StateCounts,
    sources: SourceCounts,
    /// Those that anything was paid in.
    currencies: Vec<CurrencyTransactionsView>,
    /// In mints that are none of the currencies: counted, without an amount.
    other_assets: StateCounts,
    /// Whether real money moves.
    livemode: bool,
}

impl From<Summary> for TransactionsView {
    fn from(summary: Summary) -> Self {
        Self {
            from: summary.window.from,
            to: summary.window.to,
            payments: summary.states.total(),
            states: summary.states.into(),
            sources: SourceCounts { proof: summary.proofs, x402: summary.settlements },
            currencies: summary.currencies.into_iter().map(Into::into).collect(),
            other_assets: summary.other_assets.into(),
            livemode: livemode(),
        }
    }
}

/// What was settled in one period.
#[derive(Serialize, ToSchema)]
#[schema(as = RevenuePoint)]
pub(in crate::http) struct PointView {
    start: UnixMs,
    /// When the next one starts.
    end: UnixMs,
    #[schema(value_type = schema::SumOut)]
    amount: Box<RawValue>,
    payments: u64,
}

impl PointView {
    fn of(point: Point, currency: Currency) -> Self {
        Self {
            start: point.start,
            end: point.end,
            amount: point.tally.amount.to_json(currency.decimals()),
            payments: point.tally.payments,
        }
    }
}

/// What was settled in one currency.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = CurrencyRevenue)]
pub(in crate::http) struct CurrencyRevenueView {
    currency: Currency,
    #[schema(value_type = schema::SumOut)]
    total: Box<RawValue>,
    payments: u64,
    /// What a payment comes to, to the nearest atomic unit.
    #[schema(value_type = Option<schema::SumOut>, nullable = false)]
    #[serde(skip_serializing_if = "Option::is_none")]
    average: Option<Box<RawValue>>,
    /// Every period, the first one first.
    series: Vec<PointView>,
}

impl From<CurrencyRevenue> for CurrencyRevenueView {
    fn from(revenue: CurrencyRevenue) -> Self {
        let currency = revenue.currency;
        Self {
            currency,
            total: revenue.total.amount.to_json(currency.decimals()),
            payments: revenue.total.payments,
            average: written(revenue.average(), currency),
            series: revenue.series.into_iter().map(|point| PointView::of(point, currency)).collect(),
        }
    }
}

/// What was settled. Amounts of different currencies are never added together.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = Revenue)]
pub(in crate::http) struct RevenueView {
    period: Period,
    /// As it was rounded.
    from: UnixMs,
    to: UnixMs,
    /// How many were settled in all currencies.
    payments: u64,
    /// Those in which anything was settled.
    currencies: Vec<CurrencyRevenueView>,
    /// In mints that are none of the currencies: counted, without an amount.
    other_payments: u64,
    /// Whether real money moves.
    livemode: bool,
}

impl From<Revenue> for RevenueView {
    fn from(revenue: Revenue) -> Self {
        Self {
            period: revenue.period,
            from: revenue.window.from,
            to: revenue.window.to,
            payments: revenue.payments,
            currencies: revenue.currencies.into_iter().map(Into::into).collect(),
            other_payments: revenue.other_payments,
            livemode: livemode(),
        }
    }
}

/// Something that happened.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = Event)]
pub(in crate::http) struct EventView {
    #[schema(example = "evt_01K0B9M2T8Q5W7Y3XN4VZC6RDE")]
    id: String,
    #[schema(example = "payment.verified")]
    r#type: String,
    /// The payment that it is about.
    #[schema(nullable = false, example = "pay_01K0B9M2T8Q5W7Y3XN4VZC6RDE")]
    #[serde(skip_serializing_if = "Option::is_none")]
    payment_id: Option<String>,
    /// Whether real money moves.
    livemode: bool,
    occurred_at: UnixMs,
}

impl From<Event> for EventView {
    fn from(event: Event) -> Self {
        Self {
            id: event.id.to_string(),
            r#type: event.kind,
            payment_id: event.payment.map(|payment| payment.to_string()),
            livemode: livemode(),
            occurred_at: event.occurred_at,
        }
    }
}

/// How often something happened.
#[derive(Serialize, ToSchema)]
#[schema(as = EventCount)]
pub(in crate::http) struct TypeCountView {
    #[schema(example = "payment.verified")]
    r#type: String,
    events: u64,
}

#[derive(Serialize, ToSchema)]
pub(in crate::http) struct EventList {
    events: Vec<EventView>,
    /// How many there are on all pages.
    total: u64,
    limit: u32,
    offset: u32,
    /// Of every type in that time, whatever is listed.
    types: Vec<TypeCountView>,
}

impl EventList {
    pub(super) fn of(found: EventPage, kind: Option<&str>, page: Page) -> Self {
        let listed = found.types.iter().filter(|count| kind.is_none_or(|kind| kind == count.kind));
        Self {
            total: listed.map(|count| count.events).sum(),
            events: found.events.into_iter().map(Into::into).collect(),
            limit: page.limit,
            offset: page.offset,
            types: found
                .types
                .into_iter()
                .map(|count| TypeCountView { r#type: count.kind, events: count.events })
                .collect(),
        }
    }
}

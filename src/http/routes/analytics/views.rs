//! Analytics on the wire.

use serde::Serialize;
use serde_json::value::RawValue;
use utoipa::ToSchema;

use crate::{
    agents::SpendingUnit,
    analytics::{
        AgentPage, ByState, CurrencyRevenue, CurrencySummary, Event, EventPage, Period, Point, Ranking,
        Revenue, Summary, Tally, TopAgent, Window,
    },
    clock::UnixMs,
    http::{extract::Page, middleware::livemode, routes::agents::ReputationView},
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

/// What an agent spent in one currency.
#[derive(Serialize, ToSchema)]
#[schema(as = AgentCurrency)]
pub(in crate::http) struct AgentCurrencyView {
    currency: Currency,
    #[serde(flatten)]
    spent: TallyView,
}

/// An agent and what it spent.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = TopAgent)]
pub(in crate::http) struct TopAgentView {
    #[schema(example = "agent_01K0B9M2T8Q5W7Y3XN4VZC6RDE")]
    agent_id: String,
    name: String,
    #[schema(value_type = schema::PublicKey)]
    public_key: String,
    /// As it is now, and not of that time alone.
    reputation: ReputationView,
    /// How many of its payments were settled in that time, in all currencies and other mints.
    transaction_count: u64,
    /// What it spent in USDC, USDT and PYUSD together, at par.
    #[schema(value_type = schema::SumOut)]
    stablecoins: Box<RawValue>,
    /// Those in which it spent anything.
    currencies: Vec<AgentCurrencyView>,
    /// In mints that are none of the currencies: counted, without an amount.
    other_payments: u64,
    /// Of one that was deleted since.
    #[schema(nullable = false)]
    #[serde(skip_serializing_if = "Option::is_none")]
    deleted_at: Option<UnixMs>,
}

impl From<TopAgent> for TopAgentView {
    fn from(agent: TopAgent) -> Self {
        let currency = |currency| {
            let spent = TallyView::of(agent.spent_in(Some(currency))?, currency);
            Some(AgentCurrencyView { currency, spent })
        };
        Self {
            agent_id: agent.id.to_string(),
            public_key: agent.public_key.to_string(),
            transaction_count: agent.payments(),
            stablecoins: agent.stablecoins().to_json(SpendingUnit::Stable.decimals()),
            currencies: Currency::ALL.into_iter().filter_map(currency).collect(),
            other_payments: agent.spent_in(None).map_or(0, |spent| spent.payments),
            deleted_at: agent.deleted_at,
            reputation: agent.reputation.into(),
            name: agent.name,
        }
    }
}

#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = TopAgents)]
pub(in crate::http) struct TopAgentsView {
    /// As it was rounded.
    from: UnixMs,
    to: UnixMs,
    #[schema(inline)]
    ranked_by: Ranking,
    /// Whether real money moves.
    livemode: bool,
    /// Those that spent the most, first.
    agents: Vec<TopAgentView>,
    /// How many there are on all pages.
    total: u64,
    limit: u32,
    offset: u32,
}

impl TopAgentsView {
    pub(super) fn of((window, ranked_by, found): (Window, Ranking, AgentPage), page: Page) -> Self {
        Self {
            from: window.from,
            to: window.to,
            ranked_by,
            livemode: livemode(),
            agents: found.agents.into_iter().map(Into::into).collect(),
            total: found.total,
            limit: page.limit,
            offset: page.offset,
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
    /// The agent that it is about, or whose payment or subscription that is.
    #[schema(nullable = false, example = "agent_01K0B9M2T8Q5W7Y3XN4VZC6RDE")]
    #[serde(skip_serializing_if = "Option::is_none")]
    agent_id: Option<String>,
    /// The subscription that it is about.
    #[schema(nullable = false, example = "sub_01K0B9M2T8Q5W7Y3XN4VZC6RDE")]
    #[serde(skip_serializing_if = "Option::is_none")]
    subscription_id: Option<String>,
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
            agent_id: event.agent.map(|agent| agent.to_string()),
            subscription_id: event.subscription.map(|subscription| subscription.to_string()),
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

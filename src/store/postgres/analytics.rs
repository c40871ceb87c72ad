//! [`AnalyticsStore`] in PostgreSQL.

use async_trait::async_trait;

use super::{Lease, PostgresStore, unstorable};
use crate::{
    analytics::{AgentPage, AnalyticsStore, EventPage, Log, PaymentSum, Ranking, RevenueSum, Rolled, Window},
    clock::UnixMs,
    ids::EventId,
    store::{
        analytics::{
            self, AGENT_SUMS, EVENTS, NOTE_ENDS, PAYMENT_SUMS, all, event_columns, ranked, type_counts, types,
        },
        rows::TRANSACTIONS,
    },
    store_error::StoreError,
};

/// A page of the owner's ($1) events of all types, with ids from $3 to $4: the newest ($2) of each type, one of which has
/// whatever is on the page.
pub const LIST_ALL_EVENTS: &str = concat!(
    types!(),
    event_columns!(),
    "(SELECT newest.id FROM types CROSS JOIN LATERAL (\
            SELECT e.id FROM analytics_events e \
            WHERE e.owner = $1 AND e.type = types.type AND e.id >= $3 AND e.id < $4 ORDER BY e.id DESC LIMIT $2) newest \
        ORDER BY newest.id DESC LIMIT $5 OFFSET $6) ORDER BY id DESC"
);

pub(super) mod transactions {
    use sqlx::PgConnection;

    crate::store::analytics::analytics_transactions!(
        PgConnection,
        "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY",
        "BEGIN",
        " FOR SHARE",
        super::LIST_ALL_EVENTS
    );
}

#[async_trait]
impl AnalyticsStore for PostgresStore {
    async fn payments(&self, owner: &str, window: Window) -> Result<Vec<PaymentSum>, StoreError> {
        let rows = self.timed("select", PAYMENT_SUMS, async {
            let mut lease = Lease::from(&self.pool).await?;
            let rows = transactions::payments(&mut lease, owner, window).await;
            lease.end(rows)
        });
        all(rows.await?)
    }

    async fn revenue(
        &self,
        owner: &str,
        span_ms: i64,
        window: Window,
    ) -> Result<Vec<RevenueSum>, StoreError> {
        let rows = self.timed("select", PAYMENT_SUMS, async {
            let mut lease = Lease::from(&self.pool).await?;
            let rows = transactions::revenue(&mut lease, owner, span_ms, window).await;
            lease.end(rows)
        });
        all(rows.await?)
    }

    async fn agents(
        &self,
        owner: &str,
        window: Window,
        ranking: Ranking,
        limit: u32,
        offset: u32,
    ) -> Result<AgentPage, StoreError> {
        let rows = self.timed("select", AGENT_SUMS, async {
            let mut lease = Lease::from(&self.pool).await?;
            let rows = transactions::agents(&mut lease, owner, window, ranking, (limit, offset)).await;
            lease.end(rows)
        });
        ranked(rows.await?)
    }

    async fn events(
        &self,
        owner: &str,
        kind: Option<&str>,
        window: Window,
        before: Option<&EventId>,
        limit: u32,
        offset: u32,
    ) -> Result<EventPage, StoreError> {
        if kind.is_some_and(unstorable) || before.is_some_and(|before| unstorable(before.as_str())) {
            return Ok(EventPage::default());
        }
        let found = self.timed("select", EVENTS, async {
            let mut lease = Lease::from(&self.pool).await?;
            let found = transactions::events(&mut lease, owner, kind, window, before, (limit, offset)).await;
            lease.end(found)
        });
        let (events, types) = found.await?;
        Ok(EventPage { events: events.into_iter().map(Into::into).collect(), types: type_counts(types)? })
    }

    async fn note_ends(&self, limit: u32) -> Result<u64, StoreError> {
        self.execute("update", TRANSACTIONS, sqlx::query(NOTE_ENDS).bind(i64::from(limit))).await
    }

    async fn take_back(&self, log: Log, beyond: UnixMs, to: UnixMs) -> Result<bool, StoreError> {
        self.timed("delete", analytics::sums(log), async {
            let mut lease = Lease::from(&self.pool).await?;
            let taken = transactions::take_back(&mut lease, log, beyond, to).await;
            lease.end(taken)
        })
        .await
    }

    async fn roll(&self, log: Log, until: UnixMs, limit: u32) -> Result<Rolled, StoreError> {
        self.timed("roll", analytics::sums(log), async {
            let mut lease = Lease::from(&self.pool).await?;
            let rolled = transactions::roll(&mut lease, log, until, limit).await;
            lease.end(rolled)
        })
        .await
    }
}

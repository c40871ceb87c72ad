//! [`AnalyticsStore`] in SQLite.

use async_trait::async_trait;

use super::SqliteStore;
use crate::{
    analytics::{AgentPage, AnalyticsStore, EventPage, Log, PaymentSum, Ranking, RevenueSum, Rolled, Window},
    clock::UnixMs,
    ids::EventId,
    store::{
        analytics::{
            self, AGENT_SUMS, EVENTS, NOTE_ENDS, PAYMENT_SUMS, all, event_columns, ranked, type_counts,
        },
        rows::TRANSACTIONS,
    },
    store_error::StoreError,
};

/// A page of the owner's ($1) events of all types, with ids from $3 to $4. SQLite does not look at the newest of each type
/// ($2) first; it goes through what is newest of all, which is the owner's where there is one file for one shop.
pub const LIST_ALL_EVENTS: &str = concat!(
    event_columns!(),
    "(SELECT id FROM analytics_events WHERE +owner = $1 AND $2 > 0 AND id >= $3 AND id < $4 \
        ORDER BY id DESC LIMIT $5 OFFSET $6) ORDER BY id DESC"
);

pub(super) mod transactions {
    use sqlx::SqliteConnection;

    crate::store::analytics::analytics_transactions!(
        SqliteConnection,
        "BEGIN",
        "BEGIN IMMEDIATE",
        "",
        super::LIST_ALL_EVENTS
    );
}

#[async_trait]
impl AnalyticsStore for SqliteStore {
    async fn payments(&self, owner: &str, window: Window) -> Result<Vec<PaymentSum>, StoreError> {
        let rows =
            self.read(PAYMENT_SUMS, async |reader| transactions::payments(reader, owner, window).await);
        all(rows.await?)
    }

    async fn revenue(
        &self,
        owner: &str,
        span_ms: i64,
        window: Window,
    ) -> Result<Vec<RevenueSum>, StoreError> {
        let rows = self
            .read(PAYMENT_SUMS, async |reader| transactions::revenue(reader, owner, span_ms, window).await);
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
        let rows = self.read(AGENT_SUMS, async |reader| {
            transactions::agents(reader, owner, window, ranking, (limit, offset)).await
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
        let found = self.read(EVENTS, async |reader| {
            transactions::events(reader, owner, kind, window, before, (limit, offset)).await
        });
        let (events, types) = found.await?;
        Ok(EventPage { events: events.into_iter().map(Into::into).collect(), types: type_counts(types)? })
    }

    async fn note_ends(&self, limit: u32) -> Result<u64, StoreError> {
        self.execute("update", TRANSACTIONS, sqlx::query(NOTE_ENDS).bind(i64::from(limit))).await
    }

    async fn take_back(&self, log: Log, beyond: UnixMs, to: UnixMs) -> Result<bool, StoreError> {
        self.write("delete", analytics::sums(log), async |writer| {
            transactions::take_back(writer, log, beyond, to).await
        })
        .await
    }

    async fn roll(&self, log: Log, until: UnixMs, limit: u32) -> Result<Rolled, StoreError> {
        self.write("roll", analytics::sums(log), async |writer| {
            transactions::roll(writer, log, until, limit).await
        })
        .await
    }
}

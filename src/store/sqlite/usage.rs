//! [`UsageStore`] in SQLite.

use std::sync::atomic::{AtomicBool, Ordering};

use async_trait::async_trait;

use super::SqliteStore;
use crate::{
    clock::UnixMs,
    ids::{EventId, SubscriptionId},
    store::{
        subscriptions::SUBSCRIPTIONS,
        usage::{USAGE, usage_page},
    },
    store_error::StoreError,
    subscriptions::Period,
    usage::{NewUsage, Outcome, OverLimit, UsagePage, UsageStore},
};

mod transactions {
    use sqlx::SqliteConnection;

    crate::store::usage::usage_transactions!(
        SqliteConnection,
        "BEGIN IMMEDIATE",
        "BEGIN",
        crate::store::sqlite::subscriptions::transactions
    );
}

#[async_trait]
impl UsageStore for SqliteStore {
    async fn record_usage(
        &self,
        owner: &str,
        batch: &[NewUsage],
        now: UnixMs,
    ) -> Result<Outcome, StoreError> {
        let committing = AtomicBool::new(false);
        let counted = self.write("insert", USAGE, async |writer| {
            transactions::record(writer, owner, batch, now, &committing).await
        });
        let unknown = |error| if committing.load(Ordering::Relaxed) { StoreError::Unknown } else { error };
        counted.await.map_err(unknown)?
    }

    async fn tell_of_limit(
        &self,
        owner: &str,
        subscription: &str,
        reached: OverLimit,
        at: UnixMs,
        event: &EventId,
    ) -> Result<bool, StoreError> {
        self.write("update", SUBSCRIPTIONS, async |writer| {
            transactions::tell_of_limit(writer, owner, subscription, reached, at, event).await
        })
        .await
    }

    async fn usage(
        &self,
        subscription: &SubscriptionId,
        period: Period,
        limit: u32,
        offset: u32,
    ) -> Result<UsagePage, StoreError> {
        let found = self.read(USAGE, async |reader| {
            transactions::read(reader, subscription, period, limit, offset).await
        });
        usage_page(found.await?)
    }
}

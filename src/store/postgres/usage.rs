//! [`UsageStore`] in PostgreSQL.

use std::sync::atomic::{AtomicBool, Ordering};

use async_trait::async_trait;

use super::{Lease, PostgresStore};
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
    use sqlx::PgConnection;

    crate::store::usage::usage_transactions!(
        PgConnection,
        "BEGIN",
        "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY",
        crate::store::postgres::subscriptions::transactions
    );
}

#[async_trait]
impl UsageStore for PostgresStore {
    async fn record_usage(
        &self,
        owner: &str,
        batch: &[NewUsage],
        now: UnixMs,
    ) -> Result<Outcome, StoreError> {
        let committing = AtomicBool::new(false);
        let counted = self.timed("insert", USAGE, async {
            let mut lease = Lease::from(&self.pool).await?;
            let counted = transactions::record(&mut lease, owner, batch, now, &committing).await;
            lease.end(counted)
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
        self.timed("update", SUBSCRIPTIONS, async {
            let mut lease = Lease::from(&self.pool).await?;
            let told = transactions::tell_of_limit(&mut lease, owner, subscription, reached, at, event).await;
            lease.end(told)
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
        let found = self.timed("select", USAGE, async {
            let mut lease = Lease::from(&self.pool).await?;
            let found = transactions::read(&mut lease, subscription, period, limit, offset).await;
            lease.end(found)
        });
        usage_page(found.await?)
    }
}

//! [`SubscriptionStore`] in SQLite.

use async_trait::async_trait;

use super::{Lease, SqliteStore};
use crate::{
    clock::UnixMs,
    store::subscriptions::{self, SUBSCRIPTIONS, SubscribedRow, subscription_page},
    store_error::StoreError,
    subscriptions::{Begun, NewSubscription, Seen, Subscribed, SubscriptionPage, SubscriptionStore, When},
};

/// One writer at a time: nothing else needs to be locked.
pub(super) mod transactions {
    use sqlx::SqliteConnection;

    crate::store::subscriptions::subscription_transactions!(
        SqliteConnection,
        "BEGIN IMMEDIATE",
        "BEGIN",
        "",
        "",
        ""
    );
}

#[async_trait]
impl SubscriptionStore for SqliteStore {
    async fn begin_subscription(&self, new: &NewSubscription, at: UnixMs) -> Result<Begun, StoreError> {
        self.timed("insert", SUBSCRIPTIONS, async {
            let mut lease = Lease::from(&self.writer).await?;
            let begun = transactions::begin(&mut lease, new, at).await;
            lease.end(begun)
        })
        .await?
    }

    async fn find_subscription(&self, owner: &str, id: &str) -> Result<Option<Subscribed>, StoreError> {
        let select =
            sqlx::query_as::<_, SubscribedRow>(subscriptions::FIND_SUBSCRIPTION).bind(id).bind(owner);
        let row = self.timed("select", SUBSCRIPTIONS, select.fetch_optional(&self.readers)).await?;
        row.map(Subscribed::try_from).transpose()
    }

    async fn list_subscriptions(
        &self,
        owner: &str,
        limit: u32,
        offset: u32,
    ) -> Result<SubscriptionPage, StoreError> {
        let found = self.timed("select", SUBSCRIPTIONS, async {
            let mut lease = Lease::from(&self.readers).await?;
            let found = transactions::list(&mut lease, owner, limit, offset).await;
            lease.end(found)
        });
        let (rows, total) = found.await?;
        subscription_page(rows, total)
    }

    async fn cancel_subscription(
        &self,
        owner: &str,
        id: &str,
        when: When,
        now: UnixMs,
    ) -> Result<Option<Subscribed>, StoreError> {
        self.timed("update", SUBSCRIPTIONS, async {
            let mut lease = Lease::from(&self.writer).await?;
            let cancelled = transactions::cancel(&mut lease, owner, id, when, now).await;
            lease.end(cancelled)
        })
        .await?
    }

    async fn advance_due(&self, now: UnixMs, skip: u32, limit: u32) -> Result<Seen, StoreError> {
        let any = sqlx::query_scalar::<_, bool>(subscriptions::ANY_DUE).bind(now.0);
        if !self.timed("select", SUBSCRIPTIONS, any.fetch_one(&self.readers)).await? {
            return Ok(Seen::default());
        }
        self.timed("update", SUBSCRIPTIONS, async {
            let mut lease = Lease::from(&self.writer).await?;
            let advanced = transactions::advance_due(&mut lease, now, skip, limit).await;
            lease.end(advanced)
        })
        .await
    }
}

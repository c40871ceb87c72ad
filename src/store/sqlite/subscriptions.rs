//! [`SubscriptionStore`] in SQLite.

use async_trait::async_trait;

use super::SqliteStore;
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
        self.write("insert", SUBSCRIPTIONS, async |writer| transactions::begin(writer, new, at).await).await?
    }

    async fn find_subscription(&self, owner: &str, id: &str) -> Result<Option<Subscribed>, StoreError> {
        let select =
            sqlx::query_as::<_, SubscribedRow>(subscriptions::FIND_SUBSCRIPTION).bind(id).bind(owner);
        let row = self.read(SUBSCRIPTIONS, async |reader| select.fetch_optional(reader).await).await?;
        row.map(Subscribed::try_from).transpose()
    }

    async fn list_subscriptions(
        &self,
        owner: &str,
        limit: u32,
        offset: u32,
    ) -> Result<SubscriptionPage, StoreError> {
        let found =
            self.read(SUBSCRIPTIONS, async |reader| transactions::list(reader, owner, limit, offset).await);
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
        self.write("update", SUBSCRIPTIONS, async |writer| {
            transactions::cancel(writer, owner, id, when, now).await
        })
        .await?
    }

    async fn advance_due(&self, now: UnixMs, skip: u32, limit: u32) -> Result<Seen, StoreError> {
        let any = sqlx::query_scalar::<_, bool>(subscriptions::ANY_DUE).bind(now.0);
        if !self.read(SUBSCRIPTIONS, async |reader| any.fetch_one(reader).await).await? {
            return Ok(Seen::default());
        }
        self.write("update", SUBSCRIPTIONS, async |writer| {
            transactions::advance_due(writer, now, skip, limit).await
        })
        .await
    }
}

//! Where subscriptions are kept.

use async_trait::async_trait;

use super::{NewSubscription, Subscribed, When};
use crate::{clock::UnixMs, store_error::StoreError};

/// What became of a new subscription.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Begun {
    Kept(Box<Subscribed>),
    /// Nothing was written: the owner has no such plan.
    NoPlan,
    /// Nothing was written: the plan takes no new subscriptions.
    PlanRetired,
}

/// Subscriptions that were due.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Seen {
    /// Brought to the present.
    pub advanced: u32,
    /// Of no meaning to this version.
    pub left_alone: u32,
}

impl Seen {
    #[must_use]
    pub const fn all(self) -> u32 {
        self.advanced + self.left_alone
    }
}

/// One page of a user's subscriptions, newest first, as they were left: not brought to the present.
#[derive(Clone, Debug)]
pub struct SubscriptionPage {
    pub subscriptions: Vec<Subscribed>,
    /// How many there are on all pages.
    pub total: u64,
}

/// What is written is written with its events. Whatever changes a subscription brings
/// it to the present first.
#[async_trait]
pub trait SubscriptionStore: std::fmt::Debug + Send + Sync {
    /// Begins a subscription at what its plan costs now.
    ///
    /// # Errors
    /// When the database did not confirm the commit.
    async fn begin_subscription(&self, new: &NewSubscription, at: UnixMs) -> Result<Begun, StoreError>;

    /// The owner's subscription, as it was left.
    ///
    /// # Errors
    /// When the database does not answer.
    async fn find_subscription(&self, owner: &str, id: &str) -> Result<Option<Subscribed>, StoreError>;

    /// # Errors
    /// When the database does not answer.
    async fn list_subscriptions(
        &self,
        owner: &str,
        limit: u32,
        offset: u32,
    ) -> Result<SubscriptionPage, StoreError>;

    /// Cancels the owner's subscription; what it is then.
    ///
    /// # Errors
    /// When the database did not confirm the commit.
    async fn cancel_subscription(
        &self,
        owner: &str,
        id: &str,
        when: When,
        now: UnixMs,
    ) -> Result<Option<Subscribed>, StoreError>;

    /// Brings up to `limit` subscriptions to the present, those first that are due the longest but for the first `skip` of
    /// them. One that another instance has in hand is left to it.
    ///
    /// # Errors
    /// When the database did not confirm the commit.
    async fn advance_due(&self, now: UnixMs, skip: u32, limit: u32) -> Result<Seen, StoreError>;
}

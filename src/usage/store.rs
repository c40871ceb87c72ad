//! Where usage is kept.

use async_trait::async_trait;

use super::{Counted, DayCount, NewUsage, OverLimit, Refused, UsageRecord};
use crate::{
    clock::UnixMs,
    ids::{EventId, SubscriptionId},
    store_error::StoreError,
    subscriptions::Period,
};

/// What became of usage that was to be counted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// All of it, in its order.
    Counted(Vec<Counted>),
    /// None of it, because of this one.
    Refused { index: usize, why: Refused },
}

/// What of a resource was used in a period.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ResourceSum {
    pub resource: Option<String>,
    pub quantity: u64,
    pub records: u64,
}

/// Usage of one period.
#[derive(Clone, Debug)]
pub struct UsagePage {
    /// One page of it, newest first.
    pub records: Vec<UsageRecord>,
    /// One page of its resources, the most used first.
    pub resources: Vec<ResourceSum>,
    /// All days of the period, and what else was counted on the first and the last of them.
    pub days: Vec<DayCount>,
}

#[async_trait]
pub trait UsageStore: std::fmt::Debug + Send + Sync {
    /// Counts usage of the owner's subscriptions, all or nothing. What was counted before under its key is not counted
    /// again.
    ///
    /// # Errors
    /// When the database did not confirm the commit: [`StoreError::Unknown`] when it may have taken place.
    async fn record_usage(&self, owner: &str, batch: &[NewUsage], now: UnixMs)
    -> Result<Outcome, StoreError>;

    /// Lets it be told that a limit of the owner's subscription is reached, once for each window: not for one that ends before
    /// another of which that was told. Whether it is told now.
    ///
    /// # Errors
    /// When the database did not confirm the commit.
    async fn tell_of_limit(
        &self,
        owner: &str,
        subscription: &str,
        reached: OverLimit,
        at: UnixMs,
        event: &EventId,
    ) -> Result<bool, StoreError>;

    /// What was used in a period.
    ///
    /// # Errors
    /// When the database does not answer.
    async fn usage(
        &self,
        subscription: &SubscriptionId,
        period: Period,
        limit: u32,
        offset: u32,
    ) -> Result<UsagePage, StoreError>;
}

//! Where the books are summed up.

use async_trait::async_trait;

use super::{AgentPage, EIGHT_DAYS_MS, EventPage, PaymentSum, Ranking, RevenueSum, Window};
use crate::{calendar::DAY_MS, clock::UnixMs, ids::EventId, store_error::StoreError};

/// What is summed up, each by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Log {
    Payments,
    /// The same payments, by the agents that made them.
    Agents,
    Events,
}

impl Log {
    pub const ALL: [Self; 3] = [Self::Payments, Self::Agents, Self::Events];

    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Payments => "payments",
            Self::Agents => "agents",
            Self::Events => "events",
        }
    }

    /// The longest that it is summed up by. Of agents there may be many, so that a day of them is many sums.
    #[must_use]
    pub const fn longest_span_ms(self) -> i64 {
        match self {
            Self::Payments | Self::Events => DAY_MS,
            Self::Agents => EIGHT_DAYS_MS,
        }
    }
}

/// What one step of summing up came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rolled {
    /// There is nothing left to be summed up.
    All,
    /// Some was, by this call or by another instance meanwhile. There is more.
    Some,
}

#[async_trait]
pub trait AnalyticsStore: std::fmt::Debug + Send + Sync {
    /// The owner's payments of that time, those under way by when they began.
    ///
    /// # Errors
    /// When the database does not answer.
    async fn payments(&self, owner: &str, window: Window) -> Result<Vec<PaymentSum>, StoreError>;

    /// What was settled for the owner, by spans of `span_ms`: an hour or a day, which the window is made of.
    ///
    /// # Errors
    /// When the database does not answer.
    async fn revenue(&self, owner: &str, span_ms: i64, window: Window)
    -> Result<Vec<RevenueSum>, StoreError>;

    /// The owner's agents by what was settled for them in that time.
    ///
    /// # Errors
    /// When the database does not answer.
    async fn agents(
        &self,
        owner: &str,
        window: Window,
        ranking: Ranking,
        limit: u32,
        offset: u32,
    ) -> Result<AgentPage, StoreError>;

    /// The owner's events of that time, of one type or of all; listed are those before one of them.
    ///
    /// # Errors
    /// When the database does not answer.
    async fn events(
        &self,
        owner: &str,
        kind: Option<&str>,
        window: Window,
        before: Option<&EventId>,
        limit: u32,
        offset: u32,
    ) -> Result<EventPage, StoreError>;

    /// Notes when up to `limit` payments ended that an instance of an earlier version has ended without saying; how many
    /// they were.
    ///
    /// # Errors
    /// When the database does not answer.
    async fn note_ends(&self, limit: u32) -> Result<u64, StoreError>;

    /// Where the sums reach beyond that time, in one database transaction: removes those from `to` on, where a span begins,
    /// and lets them reach to there. What is newer is then counted where it stands again. Whether there was anything to do.
    ///
    /// # Errors
    /// When the database did not confirm the commit.
    async fn take_back(&self, log: Log, beyond: UnixMs, to: UnixMs) -> Result<bool, StoreError>;

    /// In one database transaction: adds about `limit` lines from before `until` to the sums, and moves the time up to
    /// which these reach; events no further than the first subscription that is due, which will write its own of that time
    /// yet. Where another instance has done so meanwhile it does nothing.
    ///
    /// # Errors
    /// When the database did not confirm the commit. Nothing is added twice if it took place.
    async fn roll(&self, log: Log, until: UnixMs, limit: u32) -> Result<Rolled, StoreError>;
}

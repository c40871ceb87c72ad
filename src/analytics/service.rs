//! Questions about a user's books.

use std::sync::Arc;

use super::{
    AgentPage, AnalyticsStore, Buckets, EventPage, Ranking, Revenue, Summary, UnknownRanking, Window,
    query::both,
};
use crate::{
    clock::Clock,
    ids::EventId,
    input::{FieldErrors, plain_text},
    store_error::StoreError,
};

/// How many days are summed up where nothing else is asked for.
const DAYS: i64 = 30;
/// Longest type of an event, and longest id, in bytes.
const MAX_TYPE: usize = 64;

/// Why a question was not answered.
#[derive(Debug, thiserror::Error)]
pub enum AnalyticsError {
    #[error("the question cannot be read")]
    Malformed(FieldErrors),
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl From<FieldErrors> for AnalyticsError {
    fn from(errors: FieldErrors) -> Self {
        Self::Malformed(errors)
    }
}

/// A stretch of time as it is asked about: Unix milliseconds.
#[derive(Clone, Copy, Debug, Default)]
pub struct Asked<'a> {
    pub from: Option<&'a str>,
    pub to: Option<&'a str>,
}

#[derive(Debug)]
pub struct Analytics {
    store: Arc<dyn AnalyticsStore>,
    clock: Arc<dyn Clock>,
}

impl Analytics {
    #[must_use]
    pub fn new(store: Arc<dyn AnalyticsStore>, clock: Arc<dyn Clock>) -> Self {
        Self { store, clock }
    }

    /// # Errors
    /// When the question is malformed, or the database does not answer.
    pub async fn transactions(&self, owner: &str, asked: Asked<'_>) -> Result<Summary, AnalyticsError> {
        let window = Window::of_days(DAYS, asked.from, asked.to, self.clock.now())?;
        Ok(Summary::of(window, &self.store.payments(owner, window).await?))
    }

    /// # Errors
    /// When the question is malformed, or the database does not answer.
    pub async fn revenue(
        &self,
        owner: &str,
        period: Option<&str>,
        asked: Asked<'_>,
    ) -> Result<Revenue, AnalyticsError> {
        let buckets = Buckets::read(period, asked.from, asked.to, self.clock.now())?;
        let sums = self.store.revenue(owner, buckets.period.span_ms(), buckets.window()).await?;
        Ok(Revenue::of(&buckets, &sums))
    }

    /// The agents that spent the most, which time that is of, and how they are ranked.
    ///
    /// # Errors
    /// When the question is malformed, or the database does not answer.
    pub async fn top_agents(
        &self,
        owner: &str,
        rank_by: Option<&str>,
        asked: Asked<'_>,
        limit: u32,
        offset: u32,
    ) -> Result<(Window, Ranking, AgentPage), AnalyticsError> {
        let ranking = rank_by.map_or(Ok(Ranking::Stablecoins), str::parse);
        let ranking =
            ranking.map_err(|unknown: UnknownRanking| FieldErrors::one("rankBy", format!("{unknown}")));
        let window = Window::of_days(DAYS, asked.from, asked.to, self.clock.now());
        let (ranking, window) = both(ranking, window)?;
        let page = self.store.agents(owner, window, ranking, limit, offset).await?;
        Ok((window, ranking, page))
    }

    /// # Errors
    /// When the question is malformed, or the database does not answer.
    pub async fn events(
        &self,
        owner: &str,
        kind: Option<&str>,
        before: Option<&str>,
        asked: Asked<'_>,
        limit: u32,
        offset: u32,
    ) -> Result<EventPage, AnalyticsError> {
        let kind = kind.map(|kind| plain_text(kind.to_owned(), MAX_TYPE)).transpose();
        let kind = kind.map_err(|problem| FieldErrors::one("type", problem));
        let before = before
            .map(|before| plain_text(before.to_owned(), MAX_TYPE).map(EventId::from_stored))
            .transpose();
        let before = before.map_err(|problem| FieldErrors::one("before", problem));
        let (listed, window) = both(both(kind, before), Window::of_all(asked.from, asked.to))?;
        let (kind, before) = listed;
        Ok(self.store.events(owner, kind.as_deref(), window, before.as_ref(), limit, offset).await?)
    }
}

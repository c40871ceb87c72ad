//! Counting usage and reporting it.

use std::sync::Arc;

use super::{
    Counted, DayCount, Meter, Outcome, OverLimit, Quota, Refused, ResourceSum, UsageRecord, UsageStore,
    key_of_request, wire::Batch,
};
use crate::{
    api_keys::Caller,
    calendar::Day,
    clock::{Clock, UnixMs},
    ids::{Entropy, EventId},
    input::FieldErrors,
    store_error::StoreError,
    subscriptions::{Period, SubscriptionStore},
};

/// Why nothing was counted, or nothing can be reported.
#[derive(Debug, thiserror::Error)]
pub enum UsageError {
    #[error("the request cannot be read")]
    Malformed(FieldErrors),
    /// Of a batch, the first that is refused.
    #[error("usage is refused")]
    Refused { index: Option<usize>, why: Refused, now: UnixMs },
    #[error("there is no such subscription")]
    NotFound,
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// What was counted.
#[derive(Clone, Debug)]
pub struct Recorded {
    /// In the order it was sent.
    pub usage: Vec<Counted>,
    /// By an earlier attempt of the same request, whose answer was lost.
    pub before: bool,
}

/// What was used in a period of a subscription.
#[derive(Clone, Debug)]
pub struct Report {
    pub period: Period,
    pub in_period: Quota,
    /// Of today, where that is in the period.
    pub today: Option<(Day, Quota)>,
    /// One page of the period's records, newest first.
    pub records: Vec<UsageRecord>,
    /// How many there are on all pages.
    pub total: u64,
    /// Those days of the period on which anything was used.
    pub by_day: Vec<DayCount>,
    /// One page of the period's resources, the most used first.
    pub by_resource: Vec<ResourceSum>,
}

#[derive(Debug)]
pub struct Usage {
    store: Arc<dyn UsageStore>,
    subscriptions: Arc<dyn SubscriptionStore>,
    clock: Arc<dyn Clock>,
    entropy: Arc<dyn Entropy>,
}

impl Usage {
    #[must_use]
    pub fn new(
        store: Arc<dyn UsageStore>,
        subscriptions: Arc<dyn SubscriptionStore>,
        clock: Arc<dyn Clock>,
        entropy: Arc<dyn Entropy>,
    ) -> Self {
        Self { store, subscriptions, clock, entropy }
    }

    /// Counts what the caller says was used, all or nothing. `tag` names the request: under it everything counts once,
    /// with a key of its own or without.
    ///
    /// # Errors
    /// When the request is malformed, some of it is refused, or the database does not take it.
    pub async fn record(
        &self,
        caller: &Caller,
        body: &[u8],
        tag: Option<&str>,
    ) -> Result<Recorded, UsageError> {
        let now = self.clock.now();
        let entropy = self.entropy.as_ref();
        let mut batch = Batch::parse(body, now, entropy).map_err(UsageError::Malformed)?;
        for (index, new) in batch.usage.iter_mut().enumerate() {
            let of_request = || tag.map(|tag| key_of_request(tag, index));
            new.idempotency_key = new.idempotency_key.take().or_else(of_request);
        }
        match self.store.record_usage(&caller.user, &batch.usage, now).await? {
            Outcome::Counted(usage) => Ok(recorded(usage)),
            Outcome::Refused { index, why } => {
                if let (Refused::OverLimit(reached), Some(new)) = (&why, batch.usage.get(index)) {
                    self.tell_of_limit(&caller.user, &new.subscription, *reached, now).await;
                }
                Err(UsageError::Refused { index: batch.is_batch.then_some(index), why, now })
            }
        }
    }

    /// Usage is refused all the same where that cannot be told.
    async fn tell_of_limit(&self, owner: &str, subscription: &str, reached: OverLimit, now: UnixMs) {
        let event = EventId::new(now, self.entropy.as_ref());
        if let Err(error) = self.store.tell_of_limit(owner, subscription, reached, now, &event).await {
            let error = &error as &dyn std::error::Error;
            tracing::warn!(error, "that a limit is reached could not be told");
        }
    }

    /// What was used of the caller's subscription in the period that `at` lies in; in its current one, or its last, where
    /// that is not said.
    ///
    /// # Errors
    /// When the caller has no such subscription, or the database does not answer.
    pub async fn report(
        &self,
        caller: &Caller,
        id: &str,
        at: Option<UnixMs>,
        limit: u32,
        offset: u32,
    ) -> Result<Report, UsageError> {
        let now = self.clock.now();
        let found = self.subscriptions.find_subscription(&caller.user, id).await?;
        let found = found.ok_or(UsageError::NotFound)?.at(now);
        let subscription = found.subscription;
        let period = at.map_or(subscription.period, |at| subscription.anchor.period(at));
        let page = self.store.usage(&subscription.id, period, limit, offset).await?;
        let meter = Meter::new(found.limits, period, &page.days);
        let today = Day::of(now);
        let by_day = page.days.into_iter().filter(|count| count.period_start == period.start);
        let by_day: Vec<DayCount> = by_day.collect();
        Ok(Report {
            period,
            in_period: meter.period(),
            today: period.contains(now).then(|| (today, meter.day(today))),
            records: page.records,
            total: by_day.iter().map(|count| count.records).sum(),
            by_day,
            by_resource: page.resources,
        })
    }
}

/// What a request gave its key to is answered as it was the first time.
fn recorded(mut usage: Vec<Counted>) -> Recorded {
    let mut before = false;
    for one in usage.iter_mut().filter(|one| one.record.key_of_caller().is_none()) {
        before |= std::mem::take(&mut one.repeated);
    }
    Recorded { usage, before }
}

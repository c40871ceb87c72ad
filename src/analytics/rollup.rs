//! Summing the books up, so that a question about a year does not have to go through a year of payments.
//!
//! Every instance does it, in the background. What is in the books from before some time is added to the sums of its
//! hour and day, a bounded number of lines at a time, and in the same database transaction that time moves on; of two
//! instances at the same step one finds it done. After a downtime, or with a database that was never summed up, they
//! catch up; until then what is not summed up is counted where it stands, which is as exact and takes longer.
//!
//! A line that is committed longer after its time than that is passed by. Three kinds are not: subscriptions that are due and
//! make sense hold the summing up of events, a payment that finds its owner late is added where it finds it, and where a clock
//! was wrong the sums are taken back.

use std::{sync::Arc, time::Duration};

use super::{AnalyticsStore, Log, Rolled};
use crate::{
    clock::{Clock, UnixMs},
    store_error::StoreError,
};

/// How long a line of the books is left alone: far longer than from the time it bears to its commit, which may take 20 s to
/// be confirmed and at most a minute at all, with as much again for clocks that differ.
pub const SETTLED_AFTER: Duration = Duration::from_mins(15);

/// How much of that the sums may be ahead of another instance's clock: the rest is for what is on its way.
const AHEAD: Duration = Duration::from_mins(14);
/// How often it is looked after.
const INTERVAL: Duration = Duration::from_mins(1);
/// How many lines are summed up in one database transaction, about.
const BATCH: u32 = 5_000;
/// How many such transactions of a log one round makes: a million lines take four rounds.
const BATCHES: u32 = 50;
/// How many ends of payments one statement notes.
const ENDS: u32 = 500;

#[derive(Clone, Debug)]
pub struct Rollup {
    pub store: Arc<dyn AnalyticsStore>,
    pub clock: Arc<dyn Clock>,
    /// How many lines are summed up in one database transaction, about.
    pub batch: u32,
}

impl Rollup {
    /// In batches that take a tenth of a second, in which what finds its owner late waits.
    #[must_use]
    pub fn new(store: Arc<dyn AnalyticsStore>, clock: Arc<dyn Clock>) -> Self {
        Self { store, clock, batch: BATCH }
    }

    /// Goes round from now on. While there is more to be summed up it does not rest, since until then every question has to
    /// go through that.
    pub async fn run(self) {
        loop {
            match self.round().await {
                Ok(true) => {}
                Ok(false) => continue,
                Err(error) => tracing::warn!(
                    error = &error as &dyn std::error::Error,
                    "the books could not be summed up"
                ),
            }
            tokio::time::sleep(INTERVAL).await;
        }
    }

    /// One round; whether everything is summed up that can be. A log that fails keeps no other one from being summed up.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn round(&self) -> Result<bool, StoreError> {
        let until = self.clock.now() - SETTLED_AFTER;
        if !self.note_ends().await? {
            // What has no end yet is not summed up: the sums must not pass it by.
            return Ok(false);
        }
        let mut all = Ok(true);
        for log in Log::ALL {
            let done = self.sum_up(log, until).await;
            all = all.and_then(|all| Ok(all & done?));
        }
        all
    }

    async fn sum_up(&self, log: Log, until: UnixMs) -> Result<bool, StoreError> {
        self.take_back(log, until).await?;
        self.catch_up(log, until).await
    }

    /// Sums that reach past what is booked now would never hold it: this clock has been set back, or another instance's is
    /// ahead. They are made anew from the day on, or the days.
    async fn take_back(&self, log: Log, until: UnixMs) -> Result<(), StoreError> {
        let start = UnixMs(until.0 - until.0.rem_euclid(log.longest_span_ms()));
        if self.store.take_back(log, until + AHEAD, start).await? {
            tracing::warn!(
                log = log.as_str(),
                "the books were summed up to a time that is still to come: look after the clocks"
            );
        }
        Ok(())
    }

    async fn note_ends(&self) -> Result<bool, StoreError> {
        for _ in 0..BATCHES {
            if self.store.note_ends(ENDS).await? == 0 {
                return Ok(true);
            }
        }
        Ok(false)
    }

    async fn catch_up(&self, log: Log, until: UnixMs) -> Result<bool, StoreError> {
        for _ in 0..BATCHES {
            if self.store.roll(log, until, self.batch).await? == Rolled::All {
                return Ok(true);
            }
        }
        Ok(false)
    }
}

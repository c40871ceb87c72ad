//! Counting against limits. Pure: the counts of the moment go in.

use std::collections::BTreeMap;

use super::{NewUsage, Refused, UsageRecord};
use crate::{
    calendar::Day,
    clock::UnixMs,
    plans::Limits,
    subscriptions::{Advanced, Period, Standing, Subscribed},
};

/// What a limit is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Window {
    Period,
    Day,
}

impl Window {
    /// As on the wire.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Period => "period",
            Self::Day => "day",
        }
    }
}

/// How much of a window is used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Quota {
    pub used: u64,
    /// `None`: as much as there is.
    pub limit: Option<u64>,
    pub resets_at: UnixMs,
}

impl Quota {
    /// A limit may have been lowered below what is used.
    #[must_use]
    pub fn left(self) -> Option<u64> {
        self.limit.map(|limit| limit.saturating_sub(self.used))
    }
}

/// More than a limit allows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OverLimit {
    pub window: Window,
    pub limit: u64,
    /// Without what came before it in the same batch.
    pub used: u64,
    pub resets_at: UnixMs,
}

/// What was counted on a day, in the period that began at `period_start`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DayCount {
    pub day: Day,
    pub period_start: UnixMs,
    pub quantity: u64,
    pub records: u64,
}

/// Counts of a period and of its days.
#[derive(Clone, Debug)]
pub struct Meter {
    limits: Limits,
    period: Period,
    in_period: u64,
    /// Days on which periods begin belong to two; the limit of a day knows no periods.
    by_day: BTreeMap<Day, u64>,
}

impl Meter {
    #[must_use]
    pub fn new(limits: Limits, period: Period, counts: &[DayCount]) -> Self {
        let mut by_day = BTreeMap::new();
        for count in counts {
            *by_day.entry(count.day).or_default() += count.quantity;
        }
        let own = counts.iter().filter(|count| count.period_start == period.start);
        Self { limits, period, in_period: own.map(|count| count.quantity).sum(), by_day }
    }

    #[must_use]
    pub const fn period(&self) -> Quota {
        let limit = self.limits.requests_per_month;
        Quota { used: self.in_period, limit, resets_at: self.period.end }
    }

    #[must_use]
    pub fn day(&self, day: Day) -> Quota {
        let used = self.by_day.get(&day).copied().unwrap_or_default();
        Quota { used, limit: self.limits.requests_per_day, resets_at: day.next().start() }
    }

    /// Counts, or says which limit is in the way; of two, the one that is there longer.
    fn count(&mut self, day: Day, quantity: u64) -> Result<(), OverLimit> {
        for (window, quota) in [(Window::Period, self.period()), (Window::Day, self.day(day))] {
            let Quota { used, resets_at, .. } = quota;
            if let Some(limit) = quota.limit.filter(|limit| used.saturating_add(quantity) > *limit) {
                return Err(OverLimit { window, limit, used, resets_at });
            }
        }
        self.in_period += quantity;
        *self.by_day.entry(day).or_default() += quantity;
        Ok(())
    }
}

/// Sums to be added to those that are kept.
pub type Sums<K> = BTreeMap<K, (u64, u64)>;

/// A subscription while usage is counted under it: brought to the present, and held against others.
#[derive(Clone, Debug)]
pub struct Held {
    pub advanced: Advanced,
    meter: Meter,
    days: Sums<Day>,
    resources: Sums<String>,
}

impl Held {
    /// `counts` are those of the days of the subscription's period.
    #[must_use]
    pub fn new(subscribed: &Subscribed, advanced: Advanced, counts: &[DayCount]) -> Self {
        let meter = Meter::new(subscribed.limits, advanced.subscription.period, counts);
        Self { advanced, meter, days: Sums::new(), resources: Sums::new() }
    }

    /// Counts what was used; what is to be kept of it.
    ///
    /// # Errors
    /// Why it is not counted.
    pub fn count(&mut self, new: &NewUsage, now: UnixMs) -> Result<UsageRecord, Refused> {
        let subscription = &self.advanced.subscription;
        let Standing::Active { .. } = subscription.standing else {
            return Err(Refused::Inactive(subscription.standing));
        };
        // A caller's clock may be ahead; nothing is counted on days to come.
        let used_at = new.timestamp.map_or(now, |at| at.min(now));
        let period_start = subscription.period.start;
        if used_at < period_start {
            return Err(Refused::TooEarly { period_start });
        }
        let day = Day::of(used_at);
        self.meter
            .count(day, new.quantity)
            .map_err(|over| Refused::OverLimit(self.without_own(over, day)))?;
        let add = |sums: &mut (u64, u64)| *sums = (sums.0 + new.quantity, sums.1 + 1);
        add(self.days.entry(day).or_default());
        add(self.resources.entry(new.resource.clone().unwrap_or_default()).or_default());
        Ok(UsageRecord {
            id: new.id.clone(),
            subscription: subscription.id.clone(),
            quantity: new.quantity,
            resource: new.resource.clone(),
            used_at,
            recorded_at: now,
            idempotency_key: new.idempotency_key.clone(),
            metadata: new.metadata.clone(),
        })
    }

    /// Where something is refused, nothing is kept of what was counted here before it.
    fn without_own(&self, over: OverLimit, day: Day) -> OverLimit {
        let own: u64 = match over.window {
            Window::Period => self.days.values().map(|(quantity, _)| quantity).sum(),
            Window::Day => self.days.get(&day).map_or(0, |(quantity, _)| *quantity),
        };
        OverLimit { used: over.used - own, ..over }
    }

    /// Quantity and number of records by day, counted here.
    #[must_use]
    pub const fn days(&self) -> &Sums<Day> {
        &self.days
    }

    /// Quantity and number of records by resource, counted here; '' where none was named.
    #[must_use]
    pub const fn resources(&self) -> &Sums<String> {
        &self.resources
    }
}

#[cfg(test)]
mod tests {
    use super::{DayCount, Meter, OverLimit, Window};
    use crate::{
        calendar::{DAY_MS, Day},
        clock::UnixMs,
        plans::Limits,
        subscriptions::Period,
    };

    const PERIOD: Period = Period { start: UnixMs(10 * DAY_MS + 5), end: UnixMs(40 * DAY_MS + 5) };

    fn meter(per_month: Option<u64>, per_day: Option<u64>) -> Meter {
        let count = |day, period_start, quantity| DayCount {
            day: Day(day),
            period_start: UnixMs(period_start),
            quantity,
            records: 1,
        };
        let limits = Limits { requests_per_month: per_month, requests_per_day: per_day };
        Meter::new(
            limits,
            PERIOD,
            &[count(10, 7, 3), count(10, PERIOD.start.0, 2), count(11, PERIOD.start.0, 4)],
        )
    }

    #[test]
    fn a_day_counts_whatever_the_period_and_a_period_its_own_days() {
        let meter = meter(Some(10), Some(6));
        assert_eq!((meter.period().used, meter.period().left()), (6, Some(4)));
        assert_eq!((meter.day(Day(10)).used, meter.day(Day(10)).left()), (5, Some(1)));
        assert_eq!(meter.day(Day(12)).left(), Some(6));
        assert_eq!(meter.day(Day(12)).resets_at, UnixMs(13 * DAY_MS));
    }

    #[test]
    fn nothing_is_counted_past_a_limit() {
        let mut meter = meter(Some(10), Some(6));
        let day = OverLimit { window: Window::Day, limit: 6, used: 5, resets_at: UnixMs(11 * DAY_MS) };
        assert_eq!(meter.count(Day(10), 2), Err(day));
        assert_eq!(meter.count(Day(10), 1), Ok(()));
        let period = OverLimit { window: Window::Period, limit: 10, used: 7, resets_at: PERIOD.end };
        assert_eq!(meter.count(Day(11), 4), Err(period), "the day would be over too, but is over sooner");
        assert_eq!(meter.count(Day(12), 3), Ok(()));
        assert_eq!(meter.count(Day(13), u64::MAX), Err(OverLimit { used: 10, ..period }));
        assert_eq!(meter.period().left(), Some(0));
    }

    #[test]
    fn without_limits_everything_is_counted() {
        let mut meter = meter(None, None);
        assert_eq!(meter.count(Day(11), 1_000_000_000), Ok(()));
        assert_eq!((meter.period().used, meter.period().left()), (1_000_000_006, None));
        let mut lowered = super::tests::meter(Some(1), None);
        assert_eq!(lowered.period().left(), Some(0));
        assert!(lowered.count(Day(11), 1).is_err());
    }
}
